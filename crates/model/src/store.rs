//! What `ingest` knows of stores: traits, so that it links no Delta and no Parquet.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;

use crate::batch::Quarantined;
use crate::commit::Decision;
use crate::offset::{Epoch, NextOffset, OffsetRange, Source, TopicId};
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
    /// The epoch in which this process owns the partition.
    pub epoch: Epoch,
    /// The topic that the offsets are of; `None` if nobody has told.
    pub topic_id: Option<TopicId>,
}

/// That a process owns a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tenure {
    /// In which epoch.
    pub epoch: Epoch,
    /// The settled offset at which it begins; `None` before the first receipt.
    pub settled: Option<NextOffset>,
    /// The topic that the settled offset is of, as the last receipt says; `None` if it does not.
    pub topic_id: Option<TopicId>,
}

/// By which texts messages became rows: they decide what a message gives and where it must live.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Versions {
    /// Version of the policy.
    pub policy: ContentVersion,
    /// Version of the schema.
    pub schema: ContentVersion,
    /// Version of the pipeline's definition; `None` if the commit was written before it was noted.
    pub definition: Option<ContentVersion>,
}

impl Versions {
    /// Whether both can be the same texts, as far as they are known.
    pub fn may_be(&self, other: &Self) -> bool {
        let definitions = self.definition.as_ref().zip(other.definition.as_ref());
        self.policy == other.policy
            && self.schema == other.schema
            && definitions.is_none_or(|(one, other)| one == other)
    }
}

/// What a table has of a partition beyond its settled offset, since a flush did not come to its end. It
/// must be completed by the same texts: by others a record could come to lie in two zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// The offset after the last one that the table has.
    pub until: NextOffset,
    /// The texts by which it was written.
    pub versions: Versions,
    /// The topic that it was read from; `None` if the commit does not say.
    pub topic_id: Option<TopicId>,
}

/// The kinds of texts that the home store keeps by their versions, for replaying and for explaining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// A policy.
    Policy,
    /// A pipeline's definition.
    Pipeline,
    /// A schema.
    Schema,
    /// Who may read, with the policies that say so.
    Readers,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "policy",
            Self::Pipeline => "pipeline's definition",
            Self::Schema => "schema",
            Self::Readers => "readers",
        })
    }
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
    /// Version of the pipeline's definition.
    pub definition: ContentVersion,
}

impl FlushFacts {
    /// By which texts the rows were made.
    pub fn versions(&self) -> Versions {
        Versions {
            policy: self.policy.clone(),
            schema: self.schema.clone(),
            definition: Some(self.definition.clone()),
        }
    }
}

/// Takes rows of one table in and encodes them at once, while they are warm, into memory.
///
/// Nothing of it is in the store before [`ZoneStore::append`] has committed it; dropping an encoder
/// leaves nothing behind.
pub trait RowEncoder: Send + fmt::Debug {
    /// Encodes a batch.
    ///
    /// # Errors
    /// If the batch has a permit for another store, or other columns than those before. Nothing more
    /// may be written then.
    fn write(&mut self, batch: PermittedBatch) -> Result<(), StoreError>;

    /// The rows taken in so far.
    fn rows(&self) -> u64;

    /// What it holds in memory, in bytes.
    fn memory_size(&self) -> u64;

    /// The bytes that would be written now.
    fn encoded_size(&self) -> u64;

    /// Itself, for the store that made it.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// Rows of one table in the form in which the store that encoded them writes them. Nobody else can
/// look into them.
#[derive(Clone)]
pub struct EncodedRows {
    bytes: u64,
    inner: Arc<dyn Any + Send + Sync>,
}

impl EncodedRows {
    /// For stores: `inner` is theirs.
    pub fn new<T: Any + Send + Sync>(bytes: u64, inner: T) -> Self {
        Self { bytes, inner: Arc::new(inner) }
    }

    /// The bytes of the files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the store put in; `None` if it was another kind of store.
    pub fn inner<T: Any>(&self) -> Option<&T> {
        self.inner.downcast_ref()
    }
}

impl fmt::Debug for EncodedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedRows").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Rows to append to a table, with the offsets that they account for.
#[derive(Debug, Clone)]
pub struct Append {
    /// The table.
    pub table: TableName,
    /// The partitions whose offsets move with this commit, each at most once.
    pub shares: Vec<Share>,
    /// The rows, all of the shares' partitions, as [`ZoneStore::finish`] gave them.
    pub rows: EncodedRows,
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

    /// Tells a table who owns partitions now, so that it takes nothing more from owners before: what one
    /// of them has under way comes before this commit and is seen by it, or is refused. Creates the table
    /// if it is not there, or such an owner could make it later. `columns` are those of its rows, as
    /// encoders get them. Gives what the table has beyond the settled offsets.
    ///
    /// # Errors
    /// See [`Advice`]; `Yield` if the table knows a later owner of one of them.
    fn fence<'a>(
        &'a self,
        table: &'a TableName,
        columns: &'a SchemaRef,
        tenures: &'a [(Source, Tenure)],
    ) -> BoxFuture<'a, Result<HashMap<Source, Unsettled>, StoreError>>;

    /// Begins to encode rows of a table.
    fn encoder(&self) -> Box<dyn RowEncoder>;

    /// Ends the encoding of rows of one table, which several encoders of this store may have taken in.
    /// Without encoders these are no rows, and an append moves offsets only. Takes CPU time, and waits
    /// for nothing.
    ///
    /// # Errors
    /// If they cannot be encoded, or an encoder is another store's.
    fn finish(
        &self,
        encoders: Vec<Box<dyn RowEncoder>>,
        facts: &FlushFacts,
    ) -> Result<EncodedRows, StoreError>;

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

    /// Takes partitions over, each in an epoch after all those before.
    ///
    /// # Errors
    /// See [`Advice`].
    fn take_over<'a>(
        &'a self,
        sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, Tenure>, StoreError>>;

    /// [`ZoneStore::fence`] for quarantine.
    ///
    /// # Errors
    /// As there.
    fn fence_quarantine<'a>(
        &'a self,
        tenures: &'a [(Source, Tenure)],
    ) -> BoxFuture<'a, Result<HashMap<Source, Unsettled>, StoreError>>;

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

    /// Keeps a text under its version, for replaying and for explaining old decisions. Idempotent.
    ///
    /// # Errors
    /// See [`Advice`].
    fn archive<'a>(
        &'a self,
        kind: Text,
        version: &'a ContentVersion,
        text: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The text that was kept under a version; `None` if none was.
    ///
    /// # Errors
    /// See [`Advice`]; `Stop` if it is not the text of that version.
    fn archived<'a>(
        &'a self,
        kind: Text,
        version: &'a ContentVersion,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
}
