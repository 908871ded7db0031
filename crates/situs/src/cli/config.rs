//! The arguments of `config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what a process takes from a site's configuration: defaults filled in, variables of the environment
    /// replaced, paths absolute, secrets masked. It is a configuration again, but for what is masked.
    ///
    /// Example: situs config show --config site.yaml
    Show(ConfigShowArgs),
    /// Print a JSON Schema of site.yaml, for editors.
    ///
    /// Example: situs config schema > site.schema.json
    Schema,
    /// Print the table of all keys of site.yaml, in Markdown, as docs/config.md has it.
    Reference,
}

/// Arguments of `config show`.
#[derive(Debug, Args)]
pub struct ConfigShowArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
