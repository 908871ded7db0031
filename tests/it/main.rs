//! Tests over several crates, and over the built binary.

mod command;
mod end_to_end;
mod graph;
mod home;
mod policy;
mod quarantine;
mod upkeep;
mod verify;
