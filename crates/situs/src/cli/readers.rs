//! Arguments about readers.

use std::path::PathBuf;

use clap::Args;

use super::LibraryArgs;

/// Arguments of `policy permits`.
#[derive(Debug, Args)]
pub struct PolicyPermitsArgs {
    /// The reader, as `readers.yaml` names them.
    #[arg(long)]
    pub reader: String,
    /// What the tables are read for.
    #[arg(long)]
    pub purpose: String,
    /// The site's configuration; without it the definitions named below are taken.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Definitions, where no configuration names them.
    #[command(flatten)]
    pub library: LibraryArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// As whom `sql` reads.
#[derive(Debug, Args)]
pub struct ReaderArgs {
    /// Read as this reader of `readers.yaml`, within what `readers.cedar` permits; without it as the owner of the
    /// files, who can read them anyway.
    #[arg(long, requires_all = ["purpose", "config"])]
    pub reader: Option<String>,
    /// What the tables are read for.
    #[arg(long, requires = "reader")]
    pub purpose: Option<String>,
    /// The configuration of the site whose stores are queried, in place of a data directory.
    #[arg(long, conflicts_with = "data")]
    pub config: Option<PathBuf>,
}
