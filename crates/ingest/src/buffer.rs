//! What a pipeline has read and not yet flushed.

use std::collections::BTreeMap;
use std::time::Instant;

use situs_model::{Counts, DecodeNotes, OffsetRange, Quarantined, ResidentBatch, Source, Split, ZoneId};

/// Batches of one pipeline, with the offsets that they account for.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) shares: BTreeMap<Source, ShareBuffer>,
    pub(crate) resident: BTreeMap<ZoneId, Vec<ResidentBatch>>,
    pub(crate) quarantined: Vec<Quarantined>,
    /// Rows and quarantined messages.
    pub(crate) rows: u64,
    /// What all of it holds in memory.
    pub(crate) bytes: u64,
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
    /// Adds a split batch that covers `range` of `source`, read at `since`.
    pub(crate) fn add(
        &mut self,
        source: &Source,
        range: OffsetRange,
        split: Split,
        since: Instant,
        newest_broker_ms: Option<i64>,
    ) {
        let Split { resident, quarantined, counts, notes } = split;
        self.rows += counts.stored_rows() + quarantined.len() as u64;
        for batch in resident {
            self.bytes += batch.rows().get_array_memory_size() as u64;
            self.resident.entry(batch.zone().clone()).or_default().push(batch);
        }
        self.bytes += quarantined.iter().map(|message| message.memory_size() as u64).sum::<u64>();
        self.quarantined.extend(quarantined);
        match self.shares.get_mut(source) {
            Some(share) => {
                share.range.end = range.end;
                share.counts.add(&counts);
                share.notes.add(&notes);
            }
            None => {
                self.shares.insert(source.clone(), ShareBuffer { range, counts, notes });
            }
        }
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        self.newest_broker_ms = self.newest_broker_ms.max(newest_broker_ms);
    }

    /// Drops everything of one partition.
    pub(crate) fn drop_source(&mut self, source: &Source) {
        if self.shares.remove(source).is_none() {
            return;
        }
        for batches in self.resident.values_mut() {
            batches.retain(|batch| batch.source() != source);
        }
        self.resident.retain(|_, batches| !batches.is_empty());
        self.quarantined.retain(|message| &message.source != source);
        if self.shares.is_empty() {
            *self = Self::default();
        } else {
            self.recount();
        }
    }

    fn recount(&mut self) {
        let batches = || self.resident.values().flatten();
        self.rows = batches().map(|batch| batch.rows().num_rows() as u64).sum::<u64>()
            + self.quarantined.len() as u64;
        self.bytes = batches().map(|batch| batch.rows().get_array_memory_size() as u64).sum::<u64>()
            + self.quarantined.iter().map(|message| message.memory_size() as u64).sum::<u64>();
    }

    /// Whether there is nothing to flush.
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }
}
