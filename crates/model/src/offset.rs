//! Places in Kafka partitions. An offset that was read and the offset to read next are different
//! numbers; only the second has a type here, since it is the only one that is ever stored.

use std::fmt;
use std::sync::Arc;

use crate::words::ClusterName;

/// A partition of a topic of a cluster: the unit of order and of progress.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The cluster's alias.
    pub cluster: ClusterName,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl Source {
    /// The application id under which a store keeps this partition's offset (Delta `txn`).
    ///
    /// Topic names cannot contain `/` (Kafka allows letters, digits, `.`, `_` and `-`), so ids of
    /// different sources never collide.
    pub fn app_id(&self) -> String {
        format!("situs/{}/{}/{}", self.cluster, self.topic, self.partition)
    }

    /// The application id under which a table keeps this partition's [`Epoch`].
    pub fn epoch_id(&self) -> String {
        format!("situs-epoch/{}/{}/{}", self.cluster, self.topic, self.partition)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.topic, self.partition)
    }
}

/// How often a partition was taken over by a process. Each owner counts one up, and tells every table
/// that it may append to; a table takes nothing more from the owners before (a *zombie* is one that does
/// not know yet that it is none any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub i64);

impl Epoch {
    /// That of the next owner.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The offset to read next: one more than the last one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(pub i64);

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open range of offsets, `start..end`. It may hold fewer messages than offsets, since
/// compaction and transactions leave holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetRange {
    /// The first offset of the range.
    pub start: NextOffset,
    /// The offset after the last one.
    pub end: NextOffset,
}

impl OffsetRange {
    /// The range `start..end`; an end before the start gives the empty range at `start`.
    pub fn new(start: NextOffset, end: NextOffset) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The number of offsets covered.
    pub fn len(&self) -> u64 {
        u64::try_from(self.end.0 - self.start.0).unwrap_or(0)
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the record at `offset` lies in the range.
    pub fn contains(&self, offset: i64) -> bool {
        (self.start.0..self.end.0).contains(&offset)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}
