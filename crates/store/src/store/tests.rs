//! The store against its promises: every row exactly once, whatever is repeated, lost or raced.

mod faults;
mod home;
mod support;
mod tables;
