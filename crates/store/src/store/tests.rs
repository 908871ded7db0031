//! The store against its promises: every row exactly once, whatever is repeated, lost or raced.

mod chain;
mod checkpoints;
mod classes;
pub(crate) mod compaction;
mod deletion;
pub(crate) mod dies;
mod fate;
mod faults;
mod fence;
mod find;
mod history;
pub(crate) mod home;
mod ledger;
mod mounts;
mod releases;
mod retags;
mod sizes;
pub(crate) mod support;
mod tables;
mod topics;
mod transfers;
mod vacuum;
mod verify;
mod verify_history;
