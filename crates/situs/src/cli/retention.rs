//! The arguments of `store delete`, `store hold` and `store retain`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use situs_model::{Date, TableName, ZoneId};

/// Which rows: those for which everything that is given holds.
#[derive(Debug, Args)]
pub struct CriterionArgs {
    /// Rows of this site.
    #[arg(long)]
    pub site: Option<String>,
    /// Rows of this device.
    #[arg(long)]
    pub device: Option<String>,
    /// Rows of messages of this topic, and its messages in quarantine.
    #[arg(long)]
    pub topic: Option<String>,
    /// Only this partition of the topic.
    #[arg(long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Only offsets from this one on.
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    pub from_offset: Option<i64>,
    /// Only offsets before this one.
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    pub to_offset: Option<i64>,
    /// Rows whose `event_date` is before this day, and messages quarantined before it (UTC).
    #[arg(long, value_name = "DAY")]
    pub before: Option<Date>,
    /// Only rows of this class.
    #[arg(long)]
    pub class: Option<String>,
    /// Only this table.
    #[arg(long)]
    pub table: Option<TableName>,
}

/// Arguments of `store delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone; all of the site if absent.
    #[arg(long)]
    pub zone: Option<ZoneId>,
    /// Which rows.
    #[command(flatten)]
    pub criterion: CriterionArgs,
    /// Who asks for it. It is written down as said, and not checked.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["finish", "abandon"])]
    pub by: Option<String>,
    /// Why. It is written down as said.
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["finish", "abandon"])]
    pub reason: Option<String>,
    /// Delete rows too that are younger than the policy keeps them at least, and say this reason in the ledger.
    #[arg(long, value_name = "REASON")]
    pub despite_minimum: Option<String>,
    /// Remove the files that hold the rows now, whoever may still read an older version of the table. Without
    /// it they go when the site's `retention` is over.
    #[arg(long)]
    pub now: bool,
    /// Only finish what was begun: deletions that were cut off, and the removal of bytes.
    #[arg(long, conflicts_with_all = [
        "site", "device", "topic", "before", "class", "table", "by", "reason", "despite_minimum", "dry_run"
    ])]
    pub finish: bool,
    /// Only drop the plan of this deletion, if no row went by it yet; else it must be finished.
    #[arg(long, value_name = "ID", conflicts_with_all = [
        "site", "device", "topic", "before", "class", "table", "by", "reason", "despite_minimum", "dry_run",
        "finish", "now"
    ])]
    pub abandon: Option<String>,
    /// Only count what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object a store.
    #[arg(long)]
    pub json: bool,
}

/// Verbs of `store hold`.
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Put rows under a hold: no deletion takes them until it is lifted. Without a criterion, every row.
    ///
    /// A hold on a device is entered only where its rows may lie: in the zones that have the jurisdiction of its
    /// site, and where rows of it are. A device that the policy does not register needs `--zone`.
    ///
    /// Example: situs store hold set --config site.yaml --id case-7 --site nanning-1 --by counsel --reason "claim 7"
    Set(HoldSetArgs),
    /// Lift a hold.
    ///
    /// Example: situs store hold lift --config site.yaml --id case-7 --by counsel --reason "claim 7 is settled"
    Lift(HoldLiftArgs),
    /// List the holds that stand.
    ///
    /// Example: situs store hold list --config site.yaml
    List(HoldListArgs),
}

/// Arguments of `store hold set`.
#[derive(Debug, Args)]
pub struct HoldSetArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone. If absent, all of the site, or with `--device` those where its rows may lie.
    #[arg(long)]
    pub zone: Option<ZoneId>,
    /// The name of the hold. It is used once, also after the hold was lifted.
    #[arg(long)]
    pub id: String,
    /// Which rows.
    #[command(flatten)]
    pub criterion: CriterionArgs,
    /// Who asks for it. It is written down as said, and not checked.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Arguments of `store hold lift`.
#[derive(Debug, Args)]
pub struct HoldLiftArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only in the store of this zone; wherever it stands if absent.
    #[arg(long)]
    pub zone: Option<ZoneId>,
    /// The name of the hold.
    #[arg(long)]
    pub id: String,
    /// Who asks for it. It is written down as said, and not checked.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Arguments of `store hold list`.
#[derive(Debug, Args)]
pub struct HoldListArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone; all of the site if absent.
    #[arg(long)]
    pub zone: Option<ZoneId>,
    /// Print one JSON object a hold.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `store retain`.
#[derive(Debug, Args)]
pub struct RetainArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone; all of the site if absent.
    #[arg(long)]
    pub zone: Option<ZoneId>,
    /// Who asks for it. It is written down as said, and not checked.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Only count what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object a store and entry of the policy.
    #[arg(long)]
    pub json: bool,
}
