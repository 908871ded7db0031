//! An assigned partition and the messages that it has collected.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use situs_model::{NextOffset, RawBatch, Source};
use situs_observe::Metrics;

use crate::flush::now_us;
use crate::intake::IngestError;
use crate::kafka::Context;

/// An assigned partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) source: Source,
    pub(crate) stage: usize,
    /// The offset to read next; `None` until the first message of a partition without receipts.
    pub(crate) next: Option<NextOffset>,
    pub(crate) settled: Option<NextOffset>,
    /// Nothing has been read since it was taken up.
    pub(crate) fresh: bool,
    pub(crate) raw: Option<RawBatch>,
    pub(crate) raw_since: Instant,
    pub(crate) newest_broker_ms: Option<i64>,
    /// With `until_caught_up`: where the partition ended at the assignment.
    pub(crate) target: Option<i64>,
}

/// Finds the partition that a message belongs to, trying the last one first.
pub(crate) fn find(
    partitions: &[Partition],
    index: &HashMap<(Arc<str>, i32), usize>,
    last: usize,
    message: &BorrowedMessage<'_>,
) -> Option<usize> {
    let (topic, number) = (message.topic(), message.partition());
    let is_it = |p: &Partition| p.source.partition == number && *p.source.topic == *topic;
    if partitions.get(last).is_some_and(is_it) {
        return Some(last);
    }
    index.get(&(topic.into(), number)).copied()
}

/// Copies a message into its partition's raw batch; the bytes it added.
pub(crate) fn take(partition: &mut Partition, message: &BorrowedMessage<'_>) -> Result<u64, IngestError> {
    let offset = message.offset();
    let next = partition.next.unwrap_or(NextOffset(offset));
    if offset < next.0 {
        return Err(IngestError::OffsetRegression { partition: partition.source.clone(), offset, next });
    }
    let raw = partition.raw.get_or_insert_with(|| {
        partition.raw_since = Instant::now();
        RawBatch::new(partition.source.clone(), next, now_us())
    });
    let before = raw.payload_bytes();
    let time = message.timestamp().to_millis();
    let (key, payload) = (message.key(), message.payload());
    match message.headers() {
        None => raw.push(offset, time, key, payload, std::iter::empty()),
        Some(headers) => {
            // rdkafka panics on a header name that is not UTF-8; such headers are left out rather than
            // the process brought down by one message.
            let list: Vec<(&[u8], Option<&[u8]>)> = catch_unwind(AssertUnwindSafe(|| {
                headers.iter().map(|header| (header.key.as_bytes(), header.value)).collect()
            }))
            .unwrap_or_default();
            raw.push(offset, time, key, payload, list.into_iter());
        }
    }
    partition.newest_broker_ms = partition.newest_broker_ms.max(time);
    partition.next = Some(NextOffset(offset + 1));
    Ok((raw.payload_bytes() - before) as u64)
}

/// Where the client itself stands in a partition.
pub(crate) fn client_position(positions: Option<&TopicPartitionList>, partition: &Partition) -> Option<i64> {
    let element = positions?.find_partition(&partition.source.topic, partition.source.partition)?;
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
    partition: &Partition,
    message: &BorrowedMessage<'_>,
) {
    let Some(next) = partition.next.filter(|next| message.offset() > next.0) else { return };
    let (topic, number) = (&partition.source.topic, partition.source.partition);
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
