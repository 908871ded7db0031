//! Reads Kafka partitions and moves batches through decode, policy and the stores, with
//! back-pressure.
//!
//! One thread owns the consumer: it follows the group's assignments and starts flushes. Workers own
//! partitions: each fetches, decodes, judges, splits and encodes what they deliver, and shares nothing
//! with the others. A flush (files, commits, receipt) runs on the async runtime meanwhile, at most one
//! per pipeline, so that a partition's ranges are committed in order. This crate knows stores only as
//! the traits of `situs_model::store`: no Delta and no Parquet.

mod assignment;
mod brokers;
mod buffer;
pub mod client;
mod config;
mod definition;
mod error;
mod flush;
mod held;
pub mod host;
mod intake;
mod kafka;
mod lag;
mod pace;
mod partition;
mod properties;
mod queue;
mod refuse;
mod reload;
mod replay;
mod shadow;
mod stage;
mod takeover;
mod topics;
mod turn;
mod worker;
mod workers;

pub use config::{Config, FlushLimits, Past, Stores};
pub use error::IngestError;
pub use intake::{Control, Summary, run, run_with};
pub use lag::{Flushed, Standing, Stands};
pub use properties::{PropertyProblem, check_properties};
pub use shadow::{Change, Decision, Shadow, ShadowCounts, ShadowReport};
pub use stage::{Fault, Stage, StageError, Step};
