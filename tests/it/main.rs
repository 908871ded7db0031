//! Tests over several crates, and over the built binary.

mod clocks;
mod command;
mod deletion;
mod end_to_end;
mod explain;
mod fields;
mod graph;
mod home;
mod policy;
mod quarantine;
mod readers;
mod reload;
mod requirements;
mod retag;
mod transfers;
mod upkeep;
mod verify;
