//! The arguments of `store retag`.

use std::path::PathBuf;

use clap::Args;
use situs_model::{PipelineName, ZoneId};

/// Arguments of `store retag`.
#[derive(Debug, Args)]
pub struct RetagArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone; may be repeated; all of the site if absent.
    #[arg(long = "zone", value_name = "ZONE")]
    pub zones: Vec<ZoneId>,
    /// Only the table of this pipeline; may be repeated; all pipelines if absent.
    #[arg(long = "pipeline", value_name = "PIPELINE")]
    pub pipelines: Vec<PipelineName>,
    /// Who asks for it. It is written down as said, and not checked.
    #[arg(long, value_name = "NAME", required_unless_present = "finish")]
    pub by: Option<String>,
    /// Why. It is written down as said.
    #[arg(long, value_name = "TEXT", required_unless_present = "finish")]
    pub reason: Option<String>,
    /// Only enter in the ledgers what was tagged again before its process died.
    #[arg(long, conflicts_with_all = ["pipelines", "by", "reason", "dry_run"])]
    pub finish: bool,
    /// Only count what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object a table.
    #[arg(long)]
    pub json: bool,
}
