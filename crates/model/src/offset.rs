//! Places in Kafka partitions. An offset that was read and the offset to read next are different
//! numbers; only the second has a type here, since it is the only one that is ever stored.

use std::fmt::{self, Write as _};
use std::str::FromStr;
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

/// The [`Source::app_id`] of a partition that is known by its words only.
pub fn app_id(cluster: &str, topic: &str, partition: i32) -> String {
    format!("situs/{cluster}/{topic}/{partition}")
}

impl Source {
    /// The application id under which a store keeps this partition's offset (Delta `txn`).
    ///
    /// Topic names cannot contain `/` (Kafka allows letters, digits, `.`, `_` and `-`), so ids of
    /// different sources never collide.
    pub fn app_id(&self) -> String {
        app_id(self.cluster.as_str(), &self.topic, self.partition)
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

/// The digits of base 64 for URLs (RFC 4648, section 5), as Kafka writes ids.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id that a topic gets when it is created (KIP-516, Kafka 2.8). A topic that is deleted and created
/// again has the name of the one before, and another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(u128);

impl TopicId {
    /// Digits of its text: 128 bits, six at a time.
    const LENGTH: usize = 22;

    /// The id of these bits, the most significant first; `None` if all are 0, which is nobody's.
    pub fn of_bits(bits: u128) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }
}

/// As Kafka's own tools write it.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in 1..=Self::LENGTH {
            // The last digit has the last two bits only.
            let digit = match 128_usize.checked_sub(6 * place) {
                Some(shift) => self.0 >> shift,
                None => self.0 << (6 * place - 128),
            };
            f.write_char(char::from(DIGITS[(digit & 63) as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no topic's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTopicId;

impl fmt::Display for NoTopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic's id has 22 digits of base 64, as Kafka's tools write it")
    }
}

impl std::error::Error for NoTopicId {}

impl FromStr for TopicId {
    type Err = NoTopicId;

    fn from_str(text: &str) -> Result<Self, NoTopicId> {
        if text.len() != Self::LENGTH {
            return Err(NoTopicId);
        }
        let mut bits: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = DIGITS.iter().position(|digit| *digit == byte).ok_or(NoTopicId)? as u128;
            bits = match place + 1 {
                Self::LENGTH if digit & 15 != 0 => return Err(NoTopicId),
                Self::LENGTH => bits << 2 | digit >> 4,
                _ => bits << 6 | digit,
            };
        }
        Self::of_bits(bits).ok_or(NoTopicId)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of `org.apache.kafka.common.Uuid.toString`.
    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        let id = TopicId::of_bits(1).unwrap();
        assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let all = TopicId::of_bits(u128::MAX).unwrap();
        assert_eq!(all.to_string(), "_____________________w");
        let some = TopicId::of_bits(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210).unwrap();
        assert_eq!(some.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        for id in [id, all, some] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn nothing_else_is_an_id() {
        assert_eq!(TopicId::of_bits(0), None);
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAR",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAQ",
            "AAAAAAAAAAAAAAAAAAAAAQ==",
            "01234567-89ab-cdef-fedc",
        ] {
            assert_eq!(text.parse::<TopicId>(), Err(NoTopicId), "{text}");
        }
    }
}
