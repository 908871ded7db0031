//! The arguments of `quarantine`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use situs_model::Coordinates;

/// Verbs of `quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List messages in quarantine, the newest first, without what they hold.
    ///
    /// Example: situs quarantine list --config site.yaml --reason unknown-device
    List(QuarantineListArgs),
    /// Show everything that is known of a message in quarantine.
    ///
    /// Example: situs quarantine show --config site.yaml cnc.state/0/1742
    Show(QuarantineShowArgs),
    /// Send messages of quarantine through today's pipeline and policy, each once for ever.
    ///
    /// Those that can be placed go to the table of their zone and are entered in the ledger; the others stay.
    /// Releases that were cut off are finished first.
    ///
    /// Example: situs quarantine release --config site.yaml --reason unknown-device --dry-run
    Release(QuarantineReleaseArgs),
}

/// Which messages.
#[derive(Debug, Args)]
pub struct QuarantineFilterArgs {
    /// Only those that went through this pipeline.
    #[arg(long)]
    pub pipeline: Option<String>,
    /// Only those of this topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Only those of this partition.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Only those that are there for this reason, such as `unknown-device` or `invalid-json`.
    #[arg(long)]
    pub reason: Option<String>,
    /// Only those quarantined since this time (RFC 3339), or since the beginning of this day (UTC).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// Arguments of `quarantine list`.
#[derive(Debug, Args)]
pub struct QuarantineListArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Which messages.
    #[command(flatten)]
    pub filter: QuarantineFilterArgs,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// Print one JSON object a message.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `quarantine show`.
#[derive(Debug, Args)]
pub struct QuarantineShowArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// The message.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub record: Coordinates,
    /// Show the key and the headers too; they may hold personal data.
    #[arg(long)]
    pub headers: bool,
    /// Write the payload to standard output as it came, and nothing else; it may hold personal data.
    #[arg(long, conflicts_with_all = ["headers", "json"])]
    pub payload: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `quarantine release`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").multiple(true).required(true)
    .args(["records", "pipeline", "topic", "partition", "reason", "since", "all", "resume"]))]
pub struct QuarantineReleaseArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// These messages.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub records: Vec<Coordinates>,
    /// Which messages.
    #[command(flatten)]
    pub filter: QuarantineFilterArgs,
    /// All messages.
    #[arg(long, conflicts_with_all = ["records", "resume"])]
    pub all: bool,
    /// Only finish releases that were cut off.
    #[arg(long, conflicts_with_all = ["records", "pipeline", "topic", "partition", "reason", "since", "dry_run"])]
    pub resume: bool,
    /// At most so many.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Who releases them; the ledger keeps the name.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["dry_run", "resume"])]
    pub by: Option<String>,
    /// Say what would become of each, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object a message.
    #[arg(long)]
    pub json: bool,
}
