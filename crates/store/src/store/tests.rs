//! The store against its promises: every row exactly once, whatever is repeated, lost or raced.

mod chain;
mod fate;
mod faults;
mod fence;
mod home;
mod mounts;
mod releases;
mod support;
mod tables;
mod verify;
mod verify_history;
