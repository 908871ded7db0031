//! The record of a flush.

use crate::batch::Counts;
use crate::offset::{Epoch, OffsetRange, Source, TopicId};
use crate::permit::StoreIdentity;
use crate::words::{ContentVersion, PipelineName};

/// A file that a flush wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// Path relative to the table's root.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What one store did with a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReceipt {
    /// Which store.
    pub store: StoreIdentity,
    /// The table's version after the commit; `None` if the store already had everything.
    pub version: Option<u64>,
    /// The files written, for all partitions of the flush together.
    pub files: Vec<FileFact>,
}

/// The record of one partition's share of a flush.
///
/// The home store links it to the partition's receipt before and signs it when it commits it, since only
/// then it is known which receipt that is (docs/stores.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The flush, shared by the partitions that were flushed together.
    pub flush_id: String,
    /// The partition.
    pub source: Source,
    /// The topic that its offsets are of; `None` if the broker has never told.
    pub topic_id: Option<TopicId>,
    /// The epoch in which the process that flushed owned it.
    pub epoch: Epoch,
    /// The offsets covered.
    pub range: OffsetRange,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Version of the policy.
    pub policy: ContentVersion,
    /// Version of the schema.
    pub schema: ContentVersion,
    /// Version of the pipeline's definition.
    pub definition: ContentVersion,
    /// Where every message and row went.
    pub counts: Counts,
    /// What each zone's store did, and quarantine as the home store did it.
    pub stores: Vec<StoreReceipt>,
    /// What quarantine did, if the flush had anything for it.
    pub quarantine: Option<StoreReceipt>,
    /// When the receipt was made, µs since the epoch.
    pub created_us: i64,
}
