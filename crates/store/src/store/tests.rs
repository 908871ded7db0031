//! The store against its promises: every row exactly once, whatever is repeated, lost or raced.

mod checkpoints;
mod compaction;
mod fate;
mod faults;
mod history;
mod home;
mod mounts;
mod support;
mod tables;
mod vacuum;
