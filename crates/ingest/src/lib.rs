//! Reads Kafka partitions and moves batches through decode, policy and the stores, with
//! back-pressure.
//!
//! One thread owns the consumer and everything that is not yet in a flush: it polls, decodes,
//! judges and splits. A flush (Parquet, commits, receipt) runs on the async runtime meanwhile, at
//! most one per pipeline, so that a partition's ranges are committed in order. This crate knows
//! stores only as the traits of `situs_model::store`: no Delta and no Parquet.

mod assignment;
mod buffer;
mod config;
mod flush;
mod intake;
mod kafka;
mod partition;
mod stage;

pub use config::{Config, FlushLimits, Stores};
pub use intake::{Control, IngestError, Summary, run};
pub use stage::{Stage, StageError};
