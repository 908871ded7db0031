//! Payloads as they came from Kafka.

use std::ops::Range;

use crate::offset::{NextOffset, OffsetRange, Source};

/// The payloads of one partition over a half-open offset range.
///
/// # Memory
/// All bytes lie one after the other in one buffer; a message costs its bytes plus about 64 bytes.
/// No allocation is made per message once the buffers have grown.
///
/// # Limits
/// Offsets are added in increasing order; the range is contiguous with what was read before, so it
/// may begin before the first message's offset.
///
/// ```
/// use situs_model::{NextOffset, RawBatch, Source};
/// let source = Source { cluster: "kafka".parse().unwrap(), topic: "t".into(), partition: 0 };
/// let mut batch = RawBatch::new(source, NextOffset(40), 0);
/// batch.push(42, Some(1_700_000_000_000), Some(b"key"), Some(b"{}"), std::iter::empty());
/// assert_eq!(batch.range().to_string(), "40..43");
/// assert_eq!(batch.get(0).payload, Some(&b"{}"[..]));
/// ```
#[derive(Debug, Clone)]
pub struct RawBatch {
    source: Source,
    range: OffsetRange,
    received_us: i64,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

#[derive(Debug, Clone)]
struct Entry {
    offset: i64,
    broker_time_ms: Option<i64>,
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    headers: Range<usize>,
}

/// One message of a [`RawBatch`].
#[derive(Debug, Clone, Copy)]
pub struct RawMessage<'a> {
    /// Its offset.
    pub offset: i64,
    /// The broker's (or producer's) timestamp, ms since the epoch.
    pub broker_time_ms: Option<i64>,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The payload; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    batch: &'a RawBatch,
    index: usize,
}

impl<'a> RawMessage<'a> {
    /// The headers in order, as name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let batch = self.batch;
        batch.headers[batch.entries[self.index].headers.clone()]
            .iter()
            .map(|(name, value)| (&batch.bytes[name.clone()], value.clone().map(|value| &batch.bytes[value])))
    }

    /// The value of the last header of this name that has a value (Kafka allows repeats).
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().filter(|(key, _)| *key == name.as_bytes()).filter_map(|(_, value)| value).last()
    }
}

impl RawBatch {
    /// An empty batch that begins at `start`, received at `received_us` (µs since the epoch).
    pub fn new(source: Source, start: NextOffset, received_us: i64) -> Self {
        Self {
            source,
            range: OffsetRange::new(start, start),
            received_us,
            bytes: Vec::new(),
            entries: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Begins anew as [`new`](Self::new) does, with the room that there is.
    pub fn restart(&mut self, source: Source, start: NextOffset, received_us: i64) {
        self.bytes.clear();
        self.entries.clear();
        self.headers.clear();
        self.source = source;
        self.range = OffsetRange::new(start, start);
        self.received_us = received_us;
    }

    /// Adds a message and extends the range past its offset.
    pub fn push<'h>(
        &mut self,
        offset: i64,
        broker_time_ms: Option<i64>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) {
        debug_assert!(offset >= self.range.end.0, "offsets increase");
        let key = key.map(|bytes| self.store(bytes));
        let payload = payload.map(|bytes| self.store(bytes));
        let first_header = self.headers.len();
        for (name, value) in headers {
            let name = self.store(name);
            let value = value.map(|bytes| self.store(bytes));
            self.headers.push((name, value));
        }
        let headers = first_header..self.headers.len();
        self.entries.push(Entry { offset, broker_time_ms, key, payload, headers });
        self.extend_to(NextOffset(offset + 1));
    }

    /// A batch of its own with some of the messages, by their indices.
    ///
    /// # Panics
    /// If there is no message at one of them.
    pub fn part(&self, messages: Range<usize>) -> Self {
        let start = messages.clone().next().map_or(self.range.start, |first| NextOffset(self.offset(first)));
        let mut part = Self::new(self.source.clone(), start, self.received_us);
        for message in messages.map(|index| self.get(index)) {
            let RawMessage { offset, broker_time_ms, key, payload, .. } = message;
            part.push(offset, broker_time_ms, key, payload, message.headers());
        }
        part
    }

    /// Extends the range over offsets that hold no message (holes left by compaction or
    /// transactions).
    pub fn extend_to(&mut self, end: NextOffset) {
        self.range.end = self.range.end.max(end);
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// The partition.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The offsets covered.
    pub fn range(&self) -> OffsetRange {
        self.range
    }

    /// When this process took it, µs since the epoch (`_ingest_time`).
    pub fn received_us(&self) -> i64 {
        self.received_us
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of payloads, keys and headers together.
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What the batch holds in memory, in bytes.
    pub fn memory_size(&self) -> usize {
        self.bytes.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.headers.capacity() * size_of::<(Range<usize>, Option<Range<usize>>)>()
    }

    /// The offset of the message at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len); so do the methods below.
    #[inline]
    pub fn offset(&self, index: usize) -> i64 {
        self.entries[index].offset
    }

    /// The broker's timestamp of the message at `index`, ms since the epoch.
    #[inline]
    pub fn broker_time_ms(&self, index: usize) -> Option<i64> {
        self.entries[index].broker_time_ms
    }

    /// All bytes of the batch: those of a message's key, payload and headers, and then those of the next.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the payload of the message at `index` stands in [`bytes`](Self::bytes).
    #[inline]
    pub fn payload_range(&self, index: usize) -> Option<Range<usize>> {
        self.entries[index].payload.clone()
    }

    /// Where the key of the message at `index` stands in [`bytes`](Self::bytes).
    #[inline]
    pub fn key_range(&self, index: usize) -> Option<Range<usize>> {
        self.entries[index].key.clone()
    }

    /// Where the value of the last header of this name stands that has a value.
    pub fn header_range(&self, index: usize, name: &str) -> Option<Range<usize>> {
        self.headers[self.entries[index].headers.clone()]
            .iter()
            .filter(|(key, _)| self.bytes[key.clone()] == *name.as_bytes())
            .filter_map(|(_, value)| value.clone())
            .next_back()
    }

    /// The message at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> RawMessage<'_> {
        let entry = &self.entries[index];
        RawMessage {
            offset: entry.offset,
            broker_time_ms: entry.broker_time_ms,
            key: entry.key.clone().map(|range| &self.bytes[range]),
            payload: entry.payload.clone().map(|range| &self.bytes[range]),
            batch: self,
            index,
        }
    }

    /// All messages in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RawMessage<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }
}
