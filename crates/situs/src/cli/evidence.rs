//! The arguments of `evidence`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use situs_model::{Jurisdiction, PipelineName, ZoneId};

use super::CriterionArgs;

/// Verbs of `evidence`.
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Say where the rows of a source lie, what they feed, and what deletions and transfers did with them.
    ///
    /// Each line is marked: measured, declared, or not assessed. Exit code 0 if all was looked at, 1 if a store
    /// cannot be read.
    ///
    /// Example: situs evidence trace --config site.yaml --site nanning-1
    Trace(TraceArgs),
    /// Say which jurisdictions' rows models may learn from, with their shares, and where the models are deployed.
    ///
    /// Rows are counted by their tags over all stores of the site. Those that were collected in one jurisdiction and
    /// feed a model deployed outside of their zone are marked as in scope. Exit code 0 if all was looked at, 1 if a
    /// store cannot be read.
    ///
    /// Example: situs evidence shares --config site.yaml --market DE
    Shares(SharesArgs),
}

/// Arguments of `evidence shares`.
#[derive(Debug, Args)]
pub struct SharesArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only this model.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Only models that are or were deployed in this jurisdiction, such as `DE`.
    #[arg(long, value_name = "JURISDICTION")]
    pub market: Option<Jurisdiction>,
    /// Only rows of this pipeline; may be repeated.
    #[arg(long = "pipeline", value_name = "PIPELINE")]
    pub pipelines: Vec<PipelineName>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `evidence trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone; all of the site if absent.
    #[arg(long)]
    pub zone: Option<ZoneId>,
    /// Which rows.
    #[command(flatten)]
    pub criterion: CriterionArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
