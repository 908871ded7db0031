//! From a raw batch to encoded rows in a buffer.

use std::collections::BTreeSet;
use std::time::Instant;

use situs_model::invariant::{self, Invariant};
use situs_model::{RawBatch, Split, ZoneId};

use crate::buffer::{Buffer, ShareBuffer};
use crate::error::IngestError;
use crate::flush::Flusher;
use crate::stage::Stage;

/// A raw batch of a partition.
#[derive(Debug)]
pub(crate) struct Coming {
    pub(crate) raw: RawBatch,
    /// When its first message came.
    pub(crate) since: Instant,
    /// The latest broker time, ms since the epoch.
    pub(crate) newest_broker_ms: Option<i64>,
}

/// Decodes, judges, divides by zone and encodes what came of a partition. Gives the raw batch back, whose
/// room can be used again.
pub(crate) fn turn(
    flusher: &Flusher,
    stage: &mut Stage,
    zones: &BTreeSet<ZoneId>,
    coming: Coming,
    buffer: &mut Buffer,
) -> Result<Option<RawBatch>, IngestError> {
    let Coming { raw, since, newest_broker_ms } = coming;
    let metrics = &flusher.metrics;
    let pipeline = stage.pipeline().name.as_str();
    metrics.messages_read.with_label_values(&[pipeline]).inc_by(raw.len() as u64);
    metrics.bytes_read.with_label_values(&[pipeline]).inc_by(raw.payload_bytes() as u64);
    let (source, range) = (raw.source().clone(), raw.range());
    let skipped = range.len() - raw.len() as u64;
    if skipped > 0 {
        metrics.skipped_offsets.with_label_values(&[&*source.topic]).inc_by(skipped);
    }
    let (split, raw) = stage.turn(raw, zones)?;
    let Split { resident, quarantined, counts, notes } = split;
    if !invariant::eo1(&counts) {
        flusher.broken(Invariant::Eo1);
    }
    if !invariant::eo2(&counts) {
        flusher.broken(Invariant::Eo2);
    }
    for batch in resident {
        flusher.encode(batch, &mut buffer.resident)?;
    }
    buffer.add(&source, ShareBuffer { range, counts, notes }, quarantined, since, newest_broker_ms);
    Ok(raw)
}
