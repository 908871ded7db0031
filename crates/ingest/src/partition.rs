//! Looking partitions up, and what happened to them at the broker.

use std::collections::HashMap;
use std::sync::Arc;

use situs_model::{NextOffset, Source};
use situs_observe::Metrics;

use crate::client::Queue;

/// Places in a list of partitions, by topic and number.
pub(crate) type Index = HashMap<(Arc<str>, i32), usize>;

/// The places of partitions that stand in this order.
pub(crate) fn index<'a>(sources: impl Iterator<Item = &'a Source>) -> Index {
    sources.enumerate().map(|(place, source)| ((source.topic.clone(), source.partition), place)).collect()
}

/// Alarms if the broker deleted records between the offset that was to come next and the message that came:
/// retention was shorter than the time that nobody read. It may delete records at any time, also while they are
/// being read. Holes that compaction or transactions left are no loss.
#[inline]
pub(crate) fn look_for_deleted(
    queue: &impl Queue,
    metrics: &Metrics,
    source: &Source,
    next: NextOffset,
    came: i64,
) {
    if came > next.0 {
        alarm_of_deleted(queue, metrics, source, next, came);
    }
}

fn alarm_of_deleted(queue: &impl Queue, metrics: &Metrics, source: &Source, next: NextOffset, came: i64) {
    let Some(start) = queue.start_of(source) else { return };
    let deleted = u64::try_from(start.min(came) - next.0).unwrap_or(0);
    if deleted > 0 {
        metrics.deleted_offsets.with_label_values(&[&*source.topic]).inc_by(deleted);
        tracing::error!(
            event = "records-deleted",
            topic = &*source.topic,
            partition = source.partition,
            from = next.0,
            to = start.min(came),
            "the broker had deleted records that were not settled"
        );
    }
}
