//! `situs config`.

use std::process::ExitCode;

use crate::cli::ConfigCommand;
use crate::site::{as_yaml, json_schema, table};

pub(super) fn config(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Show(args) => {
            let effective = super::load_site(&args.config)?.effective();
            if args.json {
                println!("{}", serde_json::to_string_pretty(&effective)?);
            } else {
                println!("# What is {} is secret and not shown.", crate::site::MASK);
                print!("{}", as_yaml(&effective));
            }
        }
        ConfigCommand::Schema => println!("{}", serde_json::to_string_pretty(&json_schema())?),
        ConfigCommand::Reference => print!("{}", table()),
    }
    Ok(ExitCode::SUCCESS)
}
