//! What a worker has read of a pipeline and not yet handed over to a flush.

use std::collections::BTreeMap;
use std::time::Instant;

use situs_model::store::RowEncoder;
use situs_model::{Counts, DecodeNotes, OffsetRange, Quarantined, Source, ZoneId};

/// Rows of one pipeline, encoded, with the offsets that they account for.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) shares: BTreeMap<Source, ShareBuffer>,
    /// The encoders of each zone: one until buffers of several workers are put together.
    pub(crate) resident: BTreeMap<ZoneId, Vec<Box<dyn RowEncoder>>>,
    pub(crate) quarantined: Vec<Quarantined>,
    quarantined_bytes: u64,
    /// When the oldest message came.
    pub(crate) since: Option<Instant>,
    /// The latest broker time, ms since the epoch.
    pub(crate) newest_broker_ms: Option<i64>,
}

/// One partition's part.
#[derive(Debug)]
pub(crate) struct ShareBuffer {
    pub(crate) range: OffsetRange,
    pub(crate) counts: Counts,
    pub(crate) notes: DecodeNotes,
}

impl Buffer {
    /// Adds what was read of `range` of `source` since `since`, but for the rows themselves.
    pub(crate) fn add(
        &mut self,
        source: &Source,
        share: ShareBuffer,
        quarantined: Vec<Quarantined>,
        since: Instant,
        newest_broker_ms: Option<i64>,
    ) {
        self.quarantined_bytes += quarantined.iter().map(|message| message.memory_size() as u64).sum::<u64>();
        self.quarantined.extend(quarantined);
        match self.shares.get_mut(source) {
            Some(there) => {
                there.range.end = share.range.end;
                there.counts.add(&share.counts);
                there.notes.add(&share.notes);
            }
            None => {
                self.shares.insert(source.clone(), share);
            }
        }
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        self.newest_broker_ms = self.newest_broker_ms.max(newest_broker_ms);
    }

    /// Puts the buffer of another worker, which holds other partitions, to this one.
    pub(crate) fn merge(&mut self, other: Self) {
        self.shares.extend(other.shares);
        for (zone, encoders) in other.resident {
            self.resident.entry(zone).or_default().extend(encoders);
        }
        self.quarantined.extend(other.quarantined);
        self.quarantined_bytes += other.quarantined_bytes;
        self.since = self.since.into_iter().chain(other.since).min();
        self.newest_broker_ms = self.newest_broker_ms.max(other.newest_broker_ms);
    }

    /// Rows and quarantined messages.
    pub(crate) fn rows(&self) -> u64 {
        let rows = self.resident.values().flatten().map(|encoder| encoder.rows()).sum::<u64>();
        rows + self.quarantined.len() as u64
    }

    /// Offsets that it covers.
    pub(crate) fn offsets(&self) -> u64 {
        self.shares.values().map(|share| share.range.len()).sum()
    }

    /// The bytes of the files that it would become.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.resident.values().flatten().map(|encoder| encoder.encoded_size()).sum()
    }

    /// What all of it holds in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.resident.values().flatten().map(|encoder| encoder.memory_size()).sum::<u64>();
        rows + self.quarantined_bytes
    }

    /// Whether there is nothing to flush.
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }
}
