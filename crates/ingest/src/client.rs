//! What the intake needs of a Kafka client.
//!
//! `kafka` has the real one, librdkafka. What its answers mean is written here; a simulation has another
//! client that keeps to the same.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use situs_model::{Source, TopicId};

/// Where a partition begins to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first offset that the broker has.
    Beginning,
    /// At an offset.
    At(i64),
    /// Behind everything that is there.
    End,
}

/// A partition and where it begins.
pub type Begin = (Source, Start);

/// A change of the assignment that the group asks for: topics and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These come.
    Assign(Vec<(String, i32)>),
    /// These go.
    Revoke(Vec<(String, i32)>),
}

/// Something that the client refused or could not do; what it says of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(pub String);

/// What a poll gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// Nothing for the intake; rebalances and statistics are asked for by other calls.
    Nothing,
    /// A message of this topic and partition came, outside of every queue.
    Message(String, i32),
    /// The client can do nothing more.
    Fatal(String),
}

/// How long the broker may take to tell the ids of topics, at a time. At a take-over the group waits meanwhile.
pub(crate) const IDS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a broker says of the topic that has a name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is the one with this id.
    Id(TopicId),
    /// It is there, but this broker gives no ids (before Kafka 2.8), or may not give them to us.
    NoId,
    /// There is none.
    NoTopic,
}

/// Asks the broker which topics have names now. Used by any thread.
pub trait TopicIds: Send + Sync + fmt::Debug {
    /// What the broker says of each of these topics, in their order; each may be named once.
    ///
    /// # Errors
    /// If it does not answer within `limit`, or cannot tell at the moment.
    fn topic_ids(&self, topics: &[Arc<str>], limit: Duration) -> Result<Vec<Told>, ClientError>;
}

/// A member of a consumer group. Used by one thread, but for its queues and what [`TopicIds`] asks.
pub trait Client: TopicIds + Sized + 'static {
    /// Into which partitions deliver.
    type Queue: Queue;

    /// Joins the group for these topics.
    ///
    /// # Errors
    /// If the client refuses.
    fn subscribe(&self, topics: &[&str]) -> Result<(), ClientError>;

    /// Waits a moment for news of the group.
    fn poll(&self, limit: Duration) -> Polled;

    /// The next change of the assignment to carry out: the group waits for the answer, which is a call of
    /// [`assign`](Self::assign) or [`unassign`](Self::unassign).
    fn next_rebalance(&self) -> Option<Rebalance>;

    /// Whether the group moves partitions one by one instead of taking all from everybody first.
    fn is_cooperative(&self) -> bool;

    /// Whether the partitions that go were lost: another member may own them already.
    fn has_lost(&self) -> bool;

    /// Answers that partitions come, each with its beginning. In a cooperative group these are added to
    /// those that there are; the client then stops all of them and starts again at its own idea of what was
    /// read.
    ///
    /// # Errors
    /// If the client refuses.
    fn assign(&self, partitions: &[Begin]) -> Result<(), ClientError>;

    /// Answers that partitions go: these, or all if the group is not cooperative.
    ///
    /// # Errors
    /// If the client refuses.
    fn unassign(&self, partitions: &[Source]) -> Result<(), ClientError>;

    /// Delivers nothing of partitions until [`resume`](Self::resume).
    ///
    /// # Errors
    /// If the client refuses.
    fn pause(&self, partitions: &[Source]) -> Result<(), ClientError>;

    /// Delivers them again.
    ///
    /// # Errors
    /// If the client refuses.
    fn resume(&self, partitions: &[Source]) -> Result<(), ClientError>;

    /// Moves an assigned partition. Nothing of it from before comes afterwards.
    ///
    /// # Errors
    /// If it was assigned a moment ago and the client cannot yet, or refuses.
    fn seek(&self, partition: &Source, to: Start, limit: Duration) -> Result<(), ClientError>;

    /// Asks the broker for the offset after the last one of a partition.
    ///
    /// # Errors
    /// If it does not answer.
    fn end_of(&self, partition: &Source, limit: Duration) -> Result<i64, ClientError>;

    /// First offset and end of a partition as the broker last told; `None` if it has not yet.
    fn bounds(&self, partition: &Source) -> Option<(i64, i64)>;

    /// Where the client itself stands in each of these partitions, past offsets that hold no message;
    /// `None` where it has not begun.
    fn positions(&self, partitions: &[Source]) -> Vec<Option<i64>>;

    /// Tells the group offsets, for lag tools only; waits for the answer if `now`. The error of a call that
    /// does not wait is the client's own affair.
    ///
    /// # Errors
    /// If the client refuses, or the group if it is waited for.
    fn tell_group(&self, offsets: &[(Source, i64)], now: bool) -> Result<(), ClientError>;

    /// An error after which the client can do nothing more.
    fn fatal(&self) -> Option<String>;

    /// Whether the group's coordinator is there and no rebalance is under way, as far as is known.
    fn is_steady(&self) -> bool;

    /// A new queue; `None` if there is no room for it.
    fn queue(self: &Arc<Self>) -> Option<Self::Queue>;

    /// A client of the same cluster that is in no group and reads what it assigns itself.
    ///
    /// # Errors
    /// If it cannot be made.
    fn reader(&self) -> Result<Arc<Self>, ClientError>;

    /// Nobody asks for rebalances any more: the client answers by itself until it is dropped, which leaves
    /// the group.
    fn close(&self);
}

/// A queue into which partitions deliver.
pub trait Queue: Send + Sync + fmt::Debug + 'static {
    /// Its reader.
    type Reader: Reader;

    /// Makes a partition deliver here and nowhere else, now and whenever it is assigned again. Whether it
    /// could be done.
    fn take_over(&self, partition: &Source) -> bool;

    /// The first offset that a partition has at the broker, as the client last heard.
    fn start_of(&self, partition: &Source) -> Option<i64>;

    /// Makes a read that waits return.
    fn wake(&self);

    /// Counts an error that came in the place of a partition's messages, and warns of it.
    fn note_error(&self, code: i32, topic: &str, partition: i32);

    /// Reads it.
    fn reader(self: &Arc<Self>) -> Self::Reader;
}

/// Reads a queue, many messages at a time.
pub trait Reader: fmt::Debug {
    /// What it reads.
    type Message: Message;

    /// Reads what is there; if that is little, waits up to `limit` for more. The messages before are given
    /// back.
    fn read(&mut self, limit: Duration) -> &[Self::Message];

    /// Gives the messages back.
    fn clear(&mut self);
}

/// The code of an error that tells that a batch of records is damaged, as librdkafka numbers them
/// (`RD_KAFKA_RESP_ERR__BAD_MSG`).
pub const BAD_MESSAGE: i32 = -199;

/// A message, or an error that took a message's place.
pub trait Message: fmt::Debug {
    /// The code of an error, as librdkafka numbers them; `None` if this is a message.
    fn error(&self) -> Option<i32>;

    /// What tells topics apart while messages of them are held.
    fn topic_handle(&self) -> usize;

    /// The topic's name; empty if an error names none.
    fn topic(&self) -> &str;

    /// The partition.
    fn partition(&self) -> i32;

    /// The offset.
    fn offset(&self) -> i64;

    /// The key; `None` if it is null.
    fn key(&self) -> Option<&[u8]>;

    /// The payload; `None` if it is null.
    fn payload(&self) -> Option<&[u8]>;

    /// The timestamp, ms since the epoch.
    fn timestamp_ms(&self) -> Option<i64>;

    /// The headers in order.
    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)>;
}
