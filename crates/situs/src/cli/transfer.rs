//! The arguments of `transfer`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Verbs of `transfer`.
///
/// Exit codes: 0 done; 1 refused, or something failed; 2 the arguments or the configuration are wrong.
#[derive(Debug, Subcommand)]
pub enum TransferCommand {
    /// Ask for a transfer that the policy defines, and print the id of this one time.
    ///
    /// Example: situs transfer request --config site.yaml wear-study --by "Li Wei"
    Request(TransferRequestArgs),
    /// Approve a transfer that somebody else requested.
    ///
    /// Example: situs transfer approve --config site.yaml wear-study.3f9a2c1e77d0 --by "Anna Berg"
    Approve(TransferApproveArgs),
    /// Carry an approved transfer out, exactly once, or finish one that was cut off.
    ///
    /// It is decided before a byte moves: whether it is requested and approved by two persons, unexpired, defined
    /// as it was, and not of more rows or of a stricter class than it may be. A refusal stands in the ledger, and
    /// the exit code is 1.
    ///
    /// Example: situs transfer run --config site.yaml wear-study.3f9a2c1e77d0 --by "Li Wei"
    Run(TransferRunArgs),
    /// List the transfers that the ledgers of this home's stores tell of.
    ///
    /// Example: situs transfer list --config site.yaml
    List(TransferListArgs),
    /// Show all that the ledgers tell of one transfer.
    ///
    /// Example: situs transfer show --config site.yaml wear-study.3f9a2c1e77d0
    Show(TransferShowArgs),
}

/// Arguments of `transfer request`.
#[derive(Debug, Args)]
pub struct TransferRequestArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// The transfer, as the policy names it.
    #[arg(value_name = "TRANSFER")]
    pub transfer: String,
    /// Who requests it; the ledger keeps the name.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `transfer approve`.
#[derive(Debug, Args)]
pub struct TransferApproveArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// The id that `transfer request` printed.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Who approves it, who is not who requested it; the ledger keeps the name.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `transfer run`.
#[derive(Debug, Args)]
pub struct TransferRunArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// The id that `transfer request` printed.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Who carries it out; the ledgers keep the name.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// The file that leaves, for a transfer of something that was made of rows. Its name, size and hash are
    /// entered; it is not copied.
    #[arg(long, value_name = "FILE")]
    pub artifact: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `transfer list`.
#[derive(Debug, Args)]
pub struct TransferListArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// Print one JSON object a transfer.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `transfer show`.
#[derive(Debug, Args)]
pub struct TransferShowArgs {
    /// The site's configuration.
    #[arg(long)]
    pub config: PathBuf,
    /// The id that `transfer request` printed.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
