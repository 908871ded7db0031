//! Why an intake ends, or refuses a partition.

use situs_model::store::StoreError;
use situs_model::{NextOffset, Refused, Source, TopicId, ZoneId};

use crate::client::ClientError;
use crate::stage::StageError;

/// Why the intake ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The Kafka client refused something.
    #[error("kafka: {0}")]
    Kafka(#[from] ClientError),
    /// The Kafka client can do nothing more.
    #[error("kafka: fatal: {0}")]
    KafkaFatal(String),
    /// A step failed on a batch as a whole.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A store could not be read at an assignment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A flush could not be settled; what it held is read again after the next start.
    #[error("flush of {pipeline} not settled: {reason}")]
    Flush {
        /// The pipeline.
        pipeline: String,
        /// Why.
        reason: String,
    },
    /// A row was about to be written where it must not be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A zone has no store here, though rows were placed in it.
    #[error("zone {0} has no store at this home")]
    NoStore(ZoneId),
    /// A worker cannot go on.
    #[error("a worker {0}")]
    Worker(&'static str),
    /// The client found a batch of records damaged.
    #[error("{0}: a batch of records is damaged; it was not skipped")]
    Corrupt(Source),
    /// A message came by another way than its worker's, so others may be missing there.
    #[error("{0}: a message came outside of its worker's queue")]
    Misdelivered(Source),
    /// Another topic has the name of the one that was read before.
    #[error(
        "{partition}: the topic was deleted and created again: what is stored is of the topic with id {before}, the one that the \
         broker has now has id {now}. Use a new topic name or a new cluster alias; nothing was mixed"
    )]
    Recreated {
        /// The partition.
        partition: Source,
        /// The topic of which rows or receipts are stored.
        before: TopicId,
        /// The topic that the broker has.
        now: TopicId,
    },
    /// A partition is shorter than what is stored of it.
    #[error(
        "{partition}: it ends at offset {end} at the broker, but {next} is to come next: was the topic deleted and created again, \
         or has the broker lost records? Use a new topic name or a new cluster alias; nothing was mixed"
    )]
    Shrunk {
        /// The partition.
        partition: Source,
        /// Its end at the broker.
        end: i64,
        /// The offset that is to come next: the settled one, or one after it of which rows are stored.
        next: NextOffset,
    },
    /// A range that an earlier process left unfinished cannot be finished.
    #[error("{partition}: the range up to {until} was begun by other texts and cannot be finished: {reason}")]
    Replay {
        /// The partition.
        partition: Source,
        /// The end of the range.
        until: NextOffset,
        /// Why.
        reason: String,
    },
    /// Partitions went to another process while catching up.
    #[error("not caught up: partitions were given up to another process of the group")]
    Interrupted,
    /// A partition's offsets went back.
    #[error(
        "{partition}: the broker sent offset {offset}, but {next} was to come next: was the topic deleted and created again? \
         Use a new topic name or a new cluster alias; nothing was mixed"
    )]
    OffsetRegression {
        /// The partition.
        partition: Source,
        /// The offset that came.
        offset: i64,
        /// The offset that was expected, or a later one.
        next: NextOffset,
    },
}

impl IngestError {
    /// The partition that cannot be read any more, though all others can.
    pub(crate) fn refused(&self) -> Option<&Source> {
        match self {
            Self::Recreated { partition, .. }
            | Self::Shrunk { partition, .. }
            | Self::OffsetRegression { partition, .. } => Some(partition),
            _ => None,
        }
    }
}
