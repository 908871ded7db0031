//! Tests over several crates, and over the built binary.

mod command;
mod end_to_end;
mod explain;
mod graph;
mod home;
mod policy;
mod quarantine;
mod readers;
mod requirements;
mod upkeep;
mod verify;
