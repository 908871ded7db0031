//! The binary: arguments, configuration, HTTP; builds the parts and runs them until told to stop.
//!
//! Only this crate knows the environment, configuration files and `anyhow`.

pub mod cases;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod demo;
mod gauges;
mod http;
pub mod inspect;
pub mod library;
mod past;
pub mod process;
pub mod release;
mod reload;
pub mod run;
mod shadow;
pub mod site;
pub mod transfer;
pub mod upkeep;
