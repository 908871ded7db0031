//! What `ingest` knows of stores: traits, so that it links no Delta and no Parquet.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::batch::Quarantined;
use crate::commit::Decision;
use crate::offset::{NextOffset, OffsetRange, Source};
use crate::permit::{PermittedBatch, StoreIdentity};
use crate::receipt::{FileFact, Receipt};
use crate::words::{ContentVersion, PipelineName, TableName};

/// A boxed future, so that stores can be trait objects without a runtime in this crate.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One partition's part in a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The partition.
    pub source: Source,
    /// The offsets covered.
    pub range: OffsetRange,
    /// The partition's settled offset as this process knows it; `None` before the first receipt.
    pub settled: Option<NextOffset>,
}

/// Facts that are constant for a flush; they go into file and commit metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushFacts {
    /// Id of the flush (UUID v7, so that ids sort by time).
    pub flush_id: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Version of the policy that tagged the rows.
    pub policy: ContentVersion,
    /// Version of the schema that decoded them.
    pub schema: ContentVersion,
}

/// Rows to append to a table, with the offsets that they account for.
#[derive(Debug, Clone)]
pub struct Append {
    /// The table.
    pub table: TableName,
    /// The partitions whose offsets move with this commit, each at most once.
    pub shares: Vec<Share>,
    /// The rows, each batch of one of the shares' partitions.
    pub batches: Vec<PermittedBatch>,
    /// Facts for metadata.
    pub facts: FlushFacts,
}

/// Messages to append to quarantine, with the offsets that they account for.
#[derive(Debug, Clone)]
pub struct AppendQuarantine {
    /// The partitions whose offsets move with this commit, each at most once.
    pub shares: Vec<Share>,
    /// The messages.
    pub messages: Vec<Quarantined>,
    /// Facts for metadata.
    pub facts: FlushFacts,
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The table's version after the commit; `None` if every share was already committed.
    pub version: Option<u64>,
    /// The files written.
    pub files: Vec<FileFact>,
    /// What was decided for each share.
    pub decisions: Vec<(Source, Decision)>,
    /// Commits by others that came in between.
    pub conflicts: u64,
    /// Time spent encoding Parquet.
    pub encode: Duration,
    /// Time spent writing files and committing.
    pub commit: Duration,
}

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Try again later; nothing is lost. The store may or may not have the commit: the next attempt
    /// reads that first.
    Retry,
    /// Drop the partition's buffered work and give it up: it belongs to another process now.
    Yield,
    /// Stop: a person must look, since going on would break a promise.
    Stop,
}

/// Why a store did not do what it was asked. Carries coordinates and codes, never payload.
#[derive(Debug)]
pub struct StoreError {
    /// What to do about it.
    pub advice: Advice,
    /// Which store.
    pub store: StoreIdentity,
    /// What happened.
    pub message: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {}: {}", self.store, self.message)
    }
}

impl std::error::Error for StoreError {}

/// The store of one zone: the only way to write its tables.
pub trait ZoneStore: Send + Sync + fmt::Debug {
    /// Whose store it is.
    fn identity(&self) -> &StoreIdentity;

    /// Appends rows and moves the partitions' offsets in one atomic commit. For each share the
    /// store decides by [`decide`](crate::commit::decide) on the snapshot that it commits against,
    /// and drops what it already has. When this returns `Ok`, data and progress are durable.
    ///
    /// # Errors
    /// See [`Advice`]. After an error the same append may be tried again.
    fn append<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<Appended, StoreError>>;
}

/// The home zone's store: it also keeps quarantine, the receipts and the archive of policies.
pub trait HomeStore: ZoneStore {
    /// The settled offset of each of these partitions; those without one are not in the map.
    fn settled<'a>(
        &'a self,
        sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, NextOffset>, StoreError>>;

    /// Appends messages to quarantine, as [`ZoneStore::append`] does rows.
    ///
    /// # Errors
    /// See [`Advice`].
    fn quarantine<'a>(&'a self, append: &'a AppendQuarantine) -> BoxFuture<'a, Result<Appended, StoreError>>;

    /// Commits the receipts of a flush; their ranges' ends become the settled offsets.
    ///
    /// # Errors
    /// See [`Advice`].
    fn settle<'a>(&'a self, receipts: &'a [Receipt]) -> BoxFuture<'a, Result<Appended, StoreError>>;

    /// Keeps the text of a policy under its version, for explaining old decisions. Idempotent.
    ///
    /// # Errors
    /// See [`Advice`].
    fn archive_policy<'a>(
        &'a self,
        version: &'a ContentVersion,
        text: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
