//! How much is held in memory, and by whom: written by workers, read by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::host::Host;

/// A drain or an assignment takes a minute at most; `max.poll.interval.ms` is five unless set.
const ABANDONED_MS: u64 = 180_000;

/// What one worker holds of one pipeline, not yet in a flush.
#[derive(Debug, Default)]
struct Gauge {
    /// Rows and quarantined messages.
    rows: AtomicU64,
    /// Bytes in memory.
    bytes: AtomicU64,
    /// Bytes of the files that it would become.
    encoded: AtomicU64,
    /// When the oldest message came, ms after [`Held::started`], plus 1; 0 if there is none.
    since: AtomicU64,
    /// Offsets that it covers.
    offsets: AtomicU64,
}

/// What is held for messages that are not settled.
#[derive(Debug)]
pub(crate) struct Held {
    host: Arc<dyn Host>,
    started: Instant,
    /// Bound on the bytes of all.
    bound: u64,
    /// Reading stops at the bound, and goes on below three quarters of it.
    full: AtomicBool,
    /// When the intake last went round, ms after `started`.
    beat: AtomicU64,
    /// Bytes of raw batches, of all workers.
    raw: AtomicU64,
    /// Bytes of flushes under way.
    pub(crate) flushing: AtomicU64,
    /// Per worker, per pipeline.
    gauges: Vec<Vec<Gauge>>,
}

impl Held {
    pub(crate) fn new(host: Arc<dyn Host>, bound: u64, workers: usize, pipelines: usize) -> Self {
        let gauges = || (0..pipelines).map(|_| Gauge::default()).collect();
        Self {
            started: host.now(),
            host,
            bound,
            full: AtomicBool::new(false),
            beat: AtomicU64::new(0),
            raw: AtomicU64::new(0),
            flushing: AtomicU64::new(0),
            gauges: (0..workers).map(|_| gauges()).collect(),
        }
    }

    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> u64 {
        let load = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        let buffers = self.gauges.iter().flatten().map(|gauge| load(&gauge.bytes)).sum::<u64>();
        load(&self.raw) + load(&self.flushing) + buffers
    }

    /// Whether no more may be read now.
    pub(crate) fn is_full(&self) -> bool {
        let bytes = self.bytes();
        let was = self.full.load(Ordering::Relaxed);
        let full = if was { bytes >= self.bound / 4 * 3 } else { bytes >= self.bound };
        if full != was {
            self.full.store(full, Ordering::Relaxed);
        }
        full
    }

    /// The intake goes round.
    pub(crate) fn beat(&self) {
        self.beat.store(self.millis(self.host.now()), Ordering::Relaxed);
    }

    /// Whether the intake hangs. Workers stop to read then, so that the client notices that nobody polls
    /// and gives the partitions to another process; their reading would count as polling.
    pub(crate) fn is_abandoned(&self) -> bool {
        let beat = self.beat.load(Ordering::Relaxed);
        self.millis(self.host.now()).saturating_sub(beat) > ABANDONED_MS
    }

    /// Bytes were read (or given up, if negative).
    pub(crate) fn add_raw(&self, bytes: i64) {
        self.raw.fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
    }

    /// Notes what a worker holds of a pipeline.
    pub(crate) fn set(&self, worker: usize, stage: usize, buffer: &Buffer) {
        let gauge = &self.gauges[worker][stage];
        let since = buffer.since.map_or(0, |since| self.millis(since) + 1);
        gauge.rows.store(buffer.rows(), Ordering::Relaxed);
        gauge.bytes.store(buffer.bytes(), Ordering::Relaxed);
        gauge.encoded.store(buffer.encoded_bytes(), Ordering::Relaxed);
        gauge.offsets.store(buffer.offsets(), Ordering::Relaxed);
        gauge.since.store(since, Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// What all workers hold of a pipeline.
    pub(crate) fn of_stage(&self, stage: usize) -> OfStage {
        let mut sum = OfStage::default();
        let mut oldest: Option<u64> = None;
        for worker in &self.gauges {
            let gauge = &worker[stage];
            sum.rows += gauge.rows.load(Ordering::Relaxed);
            sum.encoded += gauge.encoded.load(Ordering::Relaxed);
            sum.offsets += gauge.offsets.load(Ordering::Relaxed);
            if let Some(since) = gauge.since.load(Ordering::Relaxed).checked_sub(1) {
                oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
            }
        }
        let now = self.millis(self.host.now());
        sum.age = oldest.map(|oldest| Duration::from_millis(now.saturating_sub(oldest)));
        sum
    }
}

/// What is held of a pipeline.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfStage {
    /// Rows and quarantined messages.
    pub(crate) rows: u64,
    /// Bytes of the files that it would become.
    pub(crate) encoded: u64,
    /// Age of the oldest message; `None` if there is none.
    pub(crate) age: Option<Duration>,
    /// Offsets that it covers.
    pub(crate) offsets: u64,
}
