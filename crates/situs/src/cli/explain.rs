//! The arguments of `explain`.

use std::path::PathBuf;

use clap::Args;
use situs_model::Coordinates;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration of the site whose stores these are.
    #[arg(long)]
    pub config: PathBuf,
    /// The record, as TOPIC/PARTITION/OFFSET.
    pub record: Coordinates,
    /// Only this row of it, from 0.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub row: Option<i32>,
    /// A public key, as PEM, that may have signed receipts; may be repeated. Without it, those that the home
    /// store has archived.
    #[arg(long = "public-key", value_name = "FILE")]
    pub public_keys: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
