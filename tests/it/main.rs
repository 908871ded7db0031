//! Tests over several crates, and over the built binary.

mod command;
mod deletion;
mod end_to_end;
mod explain;
mod graph;
mod home;
mod policy;
mod quarantine;
mod requirements;
mod transfers;
mod upkeep;
mod verify;
