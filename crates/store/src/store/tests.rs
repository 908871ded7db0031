//! The store against its promises: every row exactly once, whatever is repeated, lost or raced.

mod fate;
mod faults;
mod home;
mod mounts;
mod releases;
mod support;
mod tables;
