//! librdkafka as the intake's client: its settings, and a context that turns callbacks into events for the
//! intake loop.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{Message as _, Offset};
use situs_model::Source;
use situs_observe::Metrics;

use crate::brokers::Brokers;
use crate::client::{Begin, Client, ClientError, Polled, Rebalance, Start};
use crate::config::Config;
use crate::properties::{settings, told};
use crate::queue::DeliveryQueue;

/// First offset and end of each partition of a topic as the broker last told, by the partition's number.
type PartitionEnds = HashMap<i32, (i64, i64)>;

/// Receives librdkafka's callbacks.
///
/// A rebalance is only noted here and carried out by the intake loop after the poll returns, where
/// the buffers are: librdkafka waits until `assign` or `unassign` is called, wherever that is.
#[derive(Debug)]
pub(crate) struct Context {
    rebalances: Mutex<VecDeque<Rebalance>>,
    ends: Mutex<HashMap<String, PartitionEnds>>,
    fatal: Mutex<Option<String>>,
    steady: AtomicBool,
    closing: AtomicBool,
    logged: Mutex<HashMap<String, Instant>>,
    brokers: Mutex<Brokers>,
    metrics: Arc<Metrics>,
}

impl Context {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            rebalances: Mutex::default(),
            ends: Mutex::default(),
            fatal: Mutex::default(),
            steady: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            logged: Mutex::default(),
            brokers: Mutex::default(),
            metrics,
        }
    }

    /// Whether an event of this kind may be logged now: an absent broker is reported twenty times a
    /// second, and one line in ten seconds says the same.
    fn may_log(&self, kind: &str) -> bool {
        let mut logged = lock(&self.logged);
        let now = Instant::now();
        let may = logged.get(kind).is_none_or(|last| now.duration_since(*last) >= Duration::from_secs(10));
        if may {
            logged.insert(kind.to_owned(), now);
        }
        may
    }

    /// Counts an error; whether it may be logged now.
    fn note_error(&self, code: &str) -> bool {
        self.metrics.kafka_errors.with_label_values(&[code]).inc();
        self.may_log(code)
    }

    /// Counts an error that came in the place of a partition's messages, and warns of it.
    pub(crate) fn fetch_error(&self, code: i32, topic: &str, partition: i32) {
        // A broker may send a code that librdkafka does not know.
        let error = RDKafkaRespErr::try_from(code)
            .map_or_else(|_| code.to_string(), |code| format!("{:?}", RDKafkaErrorCode::from(code)));
        if self.note_error(&error) {
            tracing::warn!(
                event = "fetch-error",
                code = error,
                topic,
                partition,
                "the client goes on trying"
            );
        }
    }

    /// Whether the group's coordinator is there and no rebalance is under way, as far as is known.
    pub(crate) fn is_steady(&self) -> bool {
        self.steady.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(event = "kafka-client", facility, "{message}");
            }
            _ if self.may_log(facility) => tracing::warn!(event = "kafka-client", facility, "{message}"),
            _ => {}
        }
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(group) = &statistics.cgrp {
            self.steady.store(group.state == "up" && group.join_state == "steady", Ordering::Relaxed);
        }
        // A reader is closed to the group from its beginning.
        let is_main = !self.closing.load(Ordering::Relaxed);
        lock(&self.brokers).take(&statistics, is_main, &self.metrics);
        let mut ends = lock(&self.ends);
        for (topic, facts) in statistics.topics {
            let ends = ends.entry(topic).or_default();
            for (partition, facts) in facts.partitions {
                // -1 is librdkafka's own "any"; ls_offset is what a read_committed consumer can reach.
                let end = if facts.ls_offset >= 0 { facts.ls_offset } else { facts.hi_offset };
                if partition >= 0 && end >= 0 {
                    ends.insert(partition, (facts.lo_offset.max(0), end));
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code =
            error.rdkafka_error_code().map_or_else(|| "unknown".to_owned(), |code| format!("{code:?}"));
        if self.note_error(&code) {
            tracing::warn!(event = "kafka-error", code, "{reason}");
        }
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AllBrokersDown)) {
            self.steady.store(false, Ordering::Relaxed);
        }
        if matches!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::Fatal)) {
            *lock(&self.fatal) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            let answer = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = answer {
                tracing::debug!(event = "unassign-failed", "{error}");
            }
            return;
        }
        let partitions =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let rebalance = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assign(partitions)
        } else {
            Rebalance::Revoke(partitions)
        };
        self.steady.store(false, Ordering::Relaxed);
        lock(&self.rebalances).push_back(rebalance);
    }

    fn commit_callback(&self, result: rdkafka::error::KafkaResult<()>, _: &TopicPartitionList) {
        // The group's offsets serve lag tools only; Situs never resumes from them.
        if let Err(error) = result {
            tracing::debug!(event = "group-commit-failed", "{error}");
        }
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(100))
    }
}

/// librdkafka's consumer.
pub(crate) struct Kafka {
    consumer: BaseConsumer<Context>,
    /// For readers of the same cluster.
    config: Config,
    metrics: Arc<Metrics>,
    /// The cluster's controller was among its brokers once.
    pub(crate) controller_seen: AtomicBool,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").finish_non_exhaustive()
    }
}

impl Kafka {
    /// Makes the client, whose messages so many workers will read.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub(crate) fn new(config: &Config, workers: usize, metrics: Arc<Metrics>) -> Result<Self, ClientError> {
        let consumer = consumer(config, workers, Context::new(metrics.clone()))?;
        Ok(Self { consumer, config: config.clone(), metrics, controller_seen: AtomicBool::new(false) })
    }

    /// The consumer itself.
    pub(crate) fn consumer(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }
}

impl From<KafkaError> for ClientError {
    fn from(error: KafkaError) -> Self {
        Self(told(&error))
    }
}

impl From<Start> for Offset {
    fn from(start: Start) -> Self {
        match start {
            Start::Beginning => Self::Beginning,
            Start::At(offset) => Self::Offset(offset),
            Start::End => Self::End,
        }
    }
}

/// Partitions without offsets, as librdkafka takes them.
fn list_of(partitions: &[Source]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for Source { topic, partition, .. } in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

impl Client for Kafka {
    type Queue = DeliveryQueue;

    fn subscribe(&self, topics: &[&str]) -> Result<(), ClientError> {
        Ok(self.consumer.subscribe(topics)?)
    }

    fn poll(&self, limit: Duration) -> Polled {
        match self.consumer.poll(limit) {
            None => Polled::Nothing,
            // Another process came with the same static id, say. rdkafka tells it by no other way.
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                Polled::Fatal(format!("{code:?}: {code}"))
            }
            // The context has counted and logged it.
            Some(Err(error)) => {
                tracing::debug!(event = "poll-error", "{error}");
                Polled::Nothing
            }
            Some(Ok(message)) => Polled::Message(message.topic().to_owned(), message.partition()),
        }
    }

    fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.consumer.context().rebalances).pop_front()
    }

    fn is_cooperative(&self) -> bool {
        matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    fn has_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    fn assign(&self, partitions: &[Begin]) -> Result<(), ClientError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (Source { topic, partition, .. }, start) in partitions {
            list.add_partition_offset(topic, *partition, (*start).into())?;
        }
        if self.is_cooperative() {
            self.consumer.incremental_assign(&list)?;
        } else {
            self.consumer.assign(&list)?;
        }
        Ok(())
    }

    fn unassign(&self, partitions: &[Source]) -> Result<(), ClientError> {
        if self.is_cooperative() {
            self.consumer.incremental_unassign(&list_of(partitions))?;
        } else {
            self.consumer.unassign()?;
        }
        Ok(())
    }

    fn pause(&self, partitions: &[Source]) -> Result<(), ClientError> {
        Ok(self.consumer.pause(&list_of(partitions))?)
    }

    fn resume(&self, partitions: &[Source]) -> Result<(), ClientError> {
        Ok(self.consumer.resume(&list_of(partitions))?)
    }

    fn seek(&self, partition: &Source, to: Start, limit: Duration) -> Result<(), ClientError> {
        Ok(self.consumer.seek(&partition.topic, partition.partition, to.into(), limit)?)
    }

    fn end_of(&self, partition: &Source, limit: Duration) -> Result<i64, ClientError> {
        let (_, end) = self.consumer.fetch_watermarks(&partition.topic, partition.partition, limit)?;
        Ok(end)
    }

    fn bounds(&self, partition: &Source) -> Option<(i64, i64)> {
        let ends = lock(&self.consumer.context().ends);
        ends.get(&*partition.topic)?.get(&partition.partition).copied()
    }

    fn positions(&self, partitions: &[Source]) -> Vec<Option<i64>> {
        let positions = self.consumer.position().ok();
        let position = |Source { topic, partition, .. }: &Source| match positions
            .as_ref()?
            .find_partition(topic, *partition)?
            .offset()
        {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        partitions.iter().map(position).collect()
    }

    fn tell_group(&self, offsets: &[(Source, i64)], now: bool) -> Result<(), ClientError> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (Source { topic, partition, .. }, next) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
        Ok(self.consumer.commit(&list, if now { CommitMode::Sync } else { CommitMode::Async })?)
    }

    fn fatal(&self) -> Option<String> {
        lock(&self.consumer.context().fatal).clone()
    }

    fn is_steady(&self) -> bool {
        self.consumer.context().is_steady()
    }

    fn queue(self: &Arc<Self>) -> Option<DeliveryQueue> {
        DeliveryQueue::new(self.clone())
    }

    fn reader(&self) -> Result<Arc<Self>, ClientError> {
        let reader = Self::new(&self.config, 1, self.metrics.clone())?;
        // It is in no group that could ask anything.
        reader.close();
        Ok(Arc::new(reader))
    }

    fn close(&self) {
        self.consumer.context().closing.store(true, Ordering::Relaxed);
    }
}

/// The consumer with its settings.
///
/// # Errors
/// If librdkafka refuses a property.
fn consumer(config: &Config, workers: usize, context: Context) -> Result<BaseConsumer<Context>, KafkaError> {
    let mut client = settings(&config.properties, config.memory_bytes, workers);
    client.set("bootstrap.servers", &config.brokers).set("group.id", &config.group);
    client.create_with_context(context)
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::ConsumerGroup;

    use super::*;

    fn group(state: &str, join_state: &str) -> Statistics {
        let group = ConsumerGroup {
            state: state.to_owned(),
            join_state: join_state.to_owned(),
            ..ConsumerGroup::default()
        };
        Statistics { cgrp: Some(group), ..Statistics::default() }
    }

    #[test]
    fn the_group_is_steady_only_while_its_coordinator_is_there() {
        let context = Context::new(Arc::new(Metrics::new().unwrap()));
        assert!(!context.is_steady(), "nothing has been told yet");
        context.stats(group("up", "wait-join"));
        assert!(!context.is_steady());
        context.stats(group("up", "steady"));
        assert!(context.is_steady());
        context.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert!(!context.is_steady());
        // The client still takes itself for a member.
        context.stats(group("query-coord", "steady"));
        assert!(!context.is_steady());
    }
}
