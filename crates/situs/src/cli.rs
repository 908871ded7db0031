//! The arguments.

mod config;
mod evidence;
mod explain;
mod quarantine;
mod readers;
mod retag;
mod retention;
mod transfer;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use config::{ConfigCommand, ConfigShowArgs};
pub use evidence::{EvidenceCommand, SharesArgs, TraceArgs};
pub use explain::ExplainArgs;
pub use quarantine::{
    QuarantineCommand, QuarantineFilterArgs, QuarantineListArgs, QuarantineReleaseArgs, QuarantineShowArgs,
};
pub use transfer::{
    TransferApproveArgs, TransferCommand, TransferListArgs, TransferRequestArgs, TransferRunArgs,
    TransferShowArgs,
};

pub use retention::{
    CriterionArgs, DeleteArgs, HoldCommand, HoldLiftArgs, HoldListArgs, HoldSetArgs, RetainArgs,
};

pub use readers::{PolicyPermitsArgs, ReaderArgs};

pub use retag::RetagArgs;

/// Telemetry stream processor that keeps every record in its jurisdiction's store.
///
/// Exit codes: 0 all went well; 1 something failed while running, a transfer was refused, or `store verify` or `explain` found something;
/// 2 the arguments or the configuration are wrong, or `check --deny-warnings` has warnings; 3 `check` found a case that does not hold.
#[derive(Debug, Parser)]
#[command(name = "situs", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, on an embedded broker with generated telemetry.
    ///
    /// Example: situs demo --seconds 30 --data ./situs-data
    Demo(DemoArgs),
    /// Read Kafka and fill the stores until told to stop (SIGTERM or Ctrl-C drain and flush).
    ///
    /// A policy whose files change, or SIGHUP, takes effect without a restart, once everything that was read
    /// is settled. SIGHUP also takes the log's filter anew from the configuration, and the log names what else has
    /// changed there and needs a restart.
    ///
    /// Example: situs run --config site.yaml
    Run(RunArgs),
    /// Check configuration, policy, schemas, pipelines and their cases, offline.
    ///
    /// Errors are what `run` refuses too (exit code 2). Warnings are what is allowed and hardly meant, such as
    /// a rule that is never reached: they begin with `warning:` and leave the exit code at 0.
    ///
    /// Example: situs check --config site.yaml
    Check(CheckArgs),
    /// Show the configuration as a process takes it, and what a configuration may have.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Decode and judge messages from a file or standard input, and show what each becomes and why.
    ///
    /// Example: echo '{"device":"st-cnc-001"}' | situs try --pipeline cnc-state
    Try(TryArgs),
    /// Compare policies, and ask what a reader may see.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Query the stores of a data directory or of a site with SQL.
    ///
    /// Without `--reader` everything is read that the files' owner can read.
    ///
    /// Example: situs sql "select _zone, count(*) from cn.cnc_state group by 1"
    ///
    /// Example: situs sql --config site.yaml --reader ana --purpose training "show tables"
    Sql(SqlArgs),
    /// Send the lines of a file to a topic.
    ///
    /// Example: situs produce --brokers 127.0.0.1:9092 --topic cnc.state messages.ndjson
    Produce(ProduceArgs),
    /// Look after stores.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Look into quarantine, and release what can be placed today.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Move data that the policy names from one zone to another, approved by two persons and told in both ledgers.
    #[command(subcommand)]
    Transfer(TransferCommand),
    /// Tell where a record lies and why, and judge it again by the policy of the time. Shows no payload.
    ///
    /// Exit code 0 if it lies where it should and the decision is the same again; 1 if something differs, or the
    /// record is not settled yet.
    ///
    /// Example: situs explain --config site.yaml cnc.state/0/1742
    Explain(ExplainArgs),
    /// Print what the stores can prove.
    #[command(subcommand)]
    Evidence(EvidenceCommand),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long to generate telemetry.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Where the stores, the configuration and the policy are written.
    #[arg(long, default_value = "situs-data")]
    pub data: PathBuf,
    /// Messages per second to generate; as many as the machine takes if absent.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the HTTP endpoints listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// Print the final report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Stop by itself once everything that is in the topics now is settled.
    #[arg(long)]
    pub until_caught_up: bool,
    /// Write the address that the HTTP endpoints listen on to this file.
    #[arg(long, value_name = "FILE")]
    pub http_address_file: Option<PathBuf>,
    /// Create the stores that do not exist yet, as `store init` does.
    #[arg(long)]
    pub init_stores: bool,
    /// Let this policy judge the same records, and tell what it would change: at `/shadow` while it runs, and
    /// at its end. Nothing is written by it.
    #[arg(long, value_name = "FILE")]
    pub shadow_policy: Option<PathBuf>,
}

/// Where definitions are taken from.
#[derive(Debug, Args)]
pub struct LibraryArgs {
    /// Folder of the pipelines [default: ./pipelines if it exists, else those that ship].
    #[arg(long, value_name = "DIR")]
    pub pipelines: Option<PathBuf>,
    /// Folder of the schemas [default: schemas beside the pipelines].
    #[arg(long, value_name = "DIR")]
    pub schemas: Option<PathBuf>,
    /// The policy [default: policy.yaml in the pipelines' folder].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The site's configuration; without it only pipelines, schemas, policy and cases are checked.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Definitions, where no configuration names them.
    #[command(flatten)]
    pub library: LibraryArgs,
    /// End with exit code 2 if there are warnings.
    #[arg(long)]
    pub deny_warnings: bool,
    /// Print problems as JSON, one a line; `severity` is `error`, `warning` or `case`.
    #[arg(long)]
    pub json: bool,
}

/// Verbs of `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say in words how a policy differs from another, and for which records that means another zone,
    /// training or class.
    ///
    /// Example: situs policy diff policy.yaml new-policy.yaml
    Diff(PolicyDiffArgs),
    /// Say which tables, rows and columns a reader may see for a purpose, and by which policies.
    ///
    /// Exit code 0 whatever the answer; 2 if there is no such reader or purpose, or a definition is wrong.
    ///
    /// Example: situs policy permits --reader stuttgart-service --purpose maintenance
    Permits(PolicyPermitsArgs),
}

/// Arguments of `policy diff`.
#[derive(Debug, Args)]
pub struct PolicyDiffArgs {
    /// The policy as it is; files of devices are looked for beside it.
    pub old: PathBuf,
    /// The policy as it shall be.
    pub new: PathBuf,
    /// Folder of the pipelines [default: ./pipelines if it exists, else those that ship].
    #[arg(long, value_name = "DIR")]
    pub pipelines: Option<PathBuf>,
    /// Folder of the schemas [default: schemas beside the pipelines].
    #[arg(long, value_name = "DIR")]
    pub schemas: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// The pipeline that the messages go through.
    #[arg(long)]
    pub pipeline: String,
    /// Messages, one a line; standard input if absent.
    pub file: Option<PathBuf>,
    /// The whole file is one message.
    #[arg(long)]
    pub whole: bool,
    /// Definitions.
    #[command(flatten)]
    pub library: LibraryArgs,
    /// The cluster that the messages pretend to come from [default: kafka].
    #[arg(long)]
    pub cluster: Option<String>,
    /// The topic that the messages pretend to come from [default: the pipeline's first].
    #[arg(long)]
    pub topic: Option<String>,
    /// The key of every message.
    #[arg(long)]
    pub key: Option<String>,
    /// A header of every message, as NAME=VALUE; may be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Only count, and list rejects.
    #[arg(long)]
    pub summary: bool,
    /// Print one JSON object a message.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// One read-only statement; `show tables` lists the tables.
    pub statement: String,
    /// The data directory whose stores are queried.
    #[arg(long, default_value = "situs-data")]
    pub data: PathBuf,
    /// Only these zones' stores; all of the directory if absent.
    #[arg(long = "zone", value_name = "ZONE")]
    pub zones: Vec<String>,
    /// As whom.
    #[command(flatten)]
    pub reader: ReaderArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = SqlFormat::Table)]
    pub format: SqlFormat,
}

/// Formats of `sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    /// For people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON array, an object a line.
    Json,
    /// A Parquet file on standard output.
    Parquet,
}

/// Arguments of `produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// `bootstrap.servers` of the cluster.
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub brokers: String,
    /// The topic.
    #[arg(long)]
    pub topic: String,
    /// Messages, one a line; standard input if absent.
    pub file: Option<PathBuf>,
    /// The whole file is one message.
    #[arg(long)]
    pub whole: bool,
    /// The key of every message.
    #[arg(long)]
    pub key: Option<String>,
    /// A header of every message, as NAME=VALUE; may be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Create the topic first, with this many partitions.
    #[arg(long, value_name = "PARTITIONS")]
    pub create: Option<i32>,
    /// A further property of the Kafka client, as NAME=VALUE; may be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
}

/// Verbs of `store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Create a zone's store: the root and its marker.
    ///
    /// Example: situs store init --zone EU --root /data/eu
    Init {
        /// The zone.
        #[arg(long)]
        zone: String,
        /// The root.
        #[arg(long)]
        root: PathBuf,
    },
    /// List the stores of a data directory with their tables.
    ///
    /// Example: situs store list --data ./situs-data
    List {
        /// The data directory.
        #[arg(long, default_value = "situs-data")]
        data: PathBuf,
        /// Print one JSON object a table.
        #[arg(long)]
        json: bool,
    },
    /// Make a key that signs receipts, in a new file that only its owner may read, and print its public half.
    ///
    /// Example: situs store key receipts-key.pem
    Key {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Make the key of a zone with which personal fields become pseudonyms, in a new file that only its owner
    /// may read, and print its id. Whoever has it can find out whose a pseudonym is: keep it in the zone.
    ///
    /// Example: situs store pseudonym-key keys/eu.key
    PseudonymKey {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Recompute from the stores alone that every row is in one place, that receipts account for all of them
    /// in an unbroken chain, and that no file was changed.
    ///
    /// Example: situs store verify --config site.yaml
    Verify(VerifyArgs),
    /// Put the small files of days that are over together, without changing a row.
    ///
    /// Example: situs store optimize --config site.yaml --zone EU --table cnc_state
    Optimize(OptimizeArgs),
    /// Remove files that no reader needs any more and no writer will commit.
    ///
    /// Example: situs store vacuum --config site.yaml --dry-run
    Vacuum(VacuumArgs),
    /// Delete rows by source, site, device, class or age, prove that they are gone, and say so in the ledger.
    ///
    /// All of `--site`, `--device`, `--topic`, `--before` and `--class` that are given must hold. What is under
    /// a hold, or younger than the policy keeps it, is refused before anything is changed. What was cut off
    /// is finished first. Exit code 0 if it is done or nothing was there to be deleted, 1 if it was refused or
    /// failed.
    ///
    /// Example: situs store delete --config site.yaml --device st-cnc-001 --by "J. Doe" --reason "sold" --dry-run
    Delete(DeleteArgs),
    /// Holds: rows that nothing deletes.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Delete what the policy's `retention` keeps no longer.
    ///
    /// Exit code 0 if it is done, 1 if something was refused or failed.
    ///
    /// Example: situs store retain --config site.yaml --by "J. Doe" --dry-run
    Retain(RetainArgs),
    /// Give stored rows the tags that today's policy gives them, in one commit for each table, and say so in the
    /// ledger with counts before and after.
    ///
    /// Rows are judged again by what their table holds. What today's policy would place in another zone or cannot
    /// place is not moved: it keeps its tags and is counted. Exit code 0 if it is done or nothing was to be
    /// changed, 1 if it failed.
    ///
    /// Example: situs store retag --config site.yaml --by "J. Doe" --reason "policy of March" --dry-run
    Retag(RetagArgs),
}

/// Arguments of `store verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The configuration of the site whose stores these are.
    #[arg(long)]
    pub config: PathBuf,
    /// A public key, as PEM, that may have signed receipts; may be repeated. Without it, those that the home
    /// store has archived.
    #[arg(long = "public-key", value_name = "FILE")]
    pub public_keys: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Which stores and tables are maintained.
#[derive(Debug, Args)]
pub struct StoresArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Only the store of this zone; all of the site if absent.
    #[arg(long)]
    pub zone: Option<String>,
    /// Only this table; all if absent.
    #[arg(long)]
    pub table: Option<String>,
    /// Print one JSON object a table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `store optimize`.
#[derive(Debug, Args)]
pub struct OptimizeArgs {
    /// Where.
    #[command(flatten)]
    pub stores: StoresArgs,
}

/// Arguments of `store vacuum`.
#[derive(Debug, Args)]
pub struct VacuumArgs {
    /// Where.
    #[command(flatten)]
    pub stores: StoresArgs,
    /// Only list what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// How long files are kept after a table has removed them, such as `7d` [default: the site's].
    #[arg(long, value_name = "DURATION")]
    pub retention: Option<String>,
}
