//! What the client knows of partitions.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use situs_model::{NextOffset, Source};
use situs_observe::Metrics;

use crate::kafka::Context;

/// Where the client itself stands in a partition.
pub(crate) fn client_position(positions: Option<&TopicPartitionList>, source: &Source) -> Option<i64> {
    let element = positions?.find_partition(&source.topic, source.partition)?;
    match element.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Alarms if the broker deleted records between the settled offset and the first message that came:
/// retention was shorter than the time that nobody read. Holes that compaction or transactions left
/// are no loss.
pub(crate) fn look_for_deleted(
    consumer: &BaseConsumer<Context>,
    metrics: &Metrics,
    source: &Source,
    settled: Option<NextOffset>,
    first: i64,
) {
    let Some(next) = settled.filter(|next| first > next.0) else { return };
    let (topic, number) = (&source.topic, source.partition);
    let Ok((start, _)) = consumer.fetch_watermarks(topic, number, Duration::from_secs(10)) else { return };
    let deleted = u64::try_from(start - next.0).unwrap_or(0);
    if deleted > 0 {
        metrics.deleted_offsets.with_label_values(&[&**topic]).inc_by(deleted);
        tracing::error!(
            event = "records-deleted",
            topic = &**topic,
            partition = number,
            from = next.0,
            to = start,
            "the broker had deleted records that were not settled"
        );
    }
}
