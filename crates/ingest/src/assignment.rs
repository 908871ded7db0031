//! What happens when the group gives partitions and takes them away.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::{Offset, TopicPartitionList};
use situs_model::store::Advice;
use situs_model::{NextOffset, Source};

use crate::intake::{IngestError, Intake};
use crate::kafka::Rebalance;
use crate::partition::Partition;

/// How long an assignment waits for the settled offsets: well below `max.poll.interval.ms`.
const SETTLED_TIMEOUT: Duration = Duration::from_secs(60);

impl Intake<'_> {
    /// Starts partitions again at their settled offsets, dropping what is buffered of them.
    pub(crate) fn rewind(&mut self, sources: &[Source]) -> Result<(), IngestError> {
        let list: Vec<(String, i32)> = sources
            .iter()
            .filter(|source| self.place(source).is_some())
            .map(|source| (source.topic.to_string(), source.partition))
            .collect();
        self.drop_partitions(&list);
        let assignment = self.settled_assignment(&list)?;
        for element in assignment.elements() {
            self.consumer.seek(
                element.topic(),
                element.partition(),
                element.offset(),
                Duration::from_secs(10),
            )?;
        }
        Ok(())
    }

    pub(crate) fn carry_out_rebalances(&mut self) -> Result<(), IngestError> {
        while let Some(rebalance) = self.consumer.context().next_rebalance() {
            match rebalance {
                Rebalance::Assign(list) => self.assign(&list)?,
                Rebalance::Revoke(list) => self.revoke(&list)?,
            }
            self.metrics.assigned_partitions.set(i64::try_from(self.partitions.len()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    fn assign(&mut self, list: &[(String, i32)]) -> Result<(), IngestError> {
        self.metrics.rebalances.with_label_values(&["assign"]).inc();
        let cooperative = self.is_cooperative();
        if !cooperative {
            let all: Vec<_> =
                self.partitions.iter().map(|p| (p.source.topic.to_string(), p.source.partition)).collect();
            self.drop_partitions(&all);
        }
        // The group waits for an answer, whatever happens here; without one the consumer cannot even
        // be closed.
        let (assignment, result) = match self.settled_assignment(list) {
            Ok(assignment) => (assignment, Ok(())),
            Err(error) => (TopicPartitionList::new(), Err(error)),
        };
        if cooperative {
            self.consumer.incremental_assign(&assignment)?;
        } else {
            self.consumer.assign(&assignment)?;
        }
        // The client remembers that a partition was paused, even over a revocation.
        if self.paused {
            self.consumer.pause(&assignment)?;
        } else {
            self.consumer.resume(&assignment)?;
        }
        result?;
        self.control.assigned.store(true, Ordering::Relaxed);
        tracing::info!(event = "assigned", partitions = list.len(), "partitions assigned");
        Ok(())
    }

    /// Reads the settled offsets, as often as the store says that it is worth trying again.
    fn settled_offsets(&self, sources: &[Source]) -> Result<HashMap<Source, NextOffset>, IngestError> {
        let deadline = Instant::now() + SETTLED_TIMEOUT;
        let mut pause = Duration::from_millis(100);
        loop {
            match self.runtime.block_on(self.flusher.stores.home.settled(sources)) {
                Ok(settled) => return Ok(settled),
                Err(error) => {
                    let over = Instant::now() + pause > deadline || self.control.is_stopping();
                    if error.advice != Advice::Retry || over {
                        return Err(error.into());
                    }
                    tracing::warn!(event = "store-retry", pause_ms = pause.as_millis() as u64, "{error}");
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// The offset after the last one that a partition has now.
    fn end_of(&self, source: &Source) -> Result<i64, IngestError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.consumer.fetch_watermarks(&source.topic, source.partition, Duration::from_secs(10)) {
                Ok((_, end)) => return Ok(end),
                Err(error) if tries >= 5 => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// Takes partitions up at their settled offsets; the list to assign or to seek to.
    fn settled_assignment(&mut self, list: &[(String, i32)]) -> Result<TopicPartitionList, IngestError> {
        let sources: Vec<Source> = list
            .iter()
            .map(|(topic, partition)| Source {
                cluster: self.config.cluster.clone(),
                topic: self.topic(topic),
                partition: *partition,
            })
            .collect();
        let settled = self.settled_offsets(&sources)?;
        let mut assignment = TopicPartitionList::new();
        for source in sources {
            let Some(stage) = self.stage_of_topic.get(&source.topic).copied() else { continue };
            let settled = settled.get(&source).copied();
            let offset = settled.map_or(Offset::Beginning, |settled| Offset::Offset(settled.0));
            assignment.add_partition_offset(&source.topic, source.partition, offset)?;
            let target = if self.config.until_caught_up { Some(self.end_of(&source)?) } else { None };
            if let Some(settled) = settled {
                let partition = source.partition.to_string();
                self.metrics
                    .settled_offset
                    .with_label_values(&[&*source.topic, partition.as_str()])
                    .set(settled.0);
            }
            self.index.insert((source.topic.clone(), source.partition), self.partitions.len());
            self.partitions.push(Partition {
                source,
                stage,
                next: settled,
                settled,
                fresh: true,
                raw: None,
                raw_since: Instant::now(),
                newest_broker_ms: None,
                target,
            });
        }
        Ok(assignment)
    }

    fn is_cooperative(&self) -> bool {
        matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    fn topic(&self, name: &str) -> Arc<str> {
        self.stage_of_topic.get_key_value(name).map_or_else(|| name.into(), |(topic, _)| topic.clone())
    }

    /// Flushes what is buffered of revoked partitions, within the drain time, and gives them up.
    fn revoke(&mut self, list: &[(String, i32)]) -> Result<(), IngestError> {
        let lost = self.consumer.assignment_lost();
        let kind = if lost { "lost" } else { "revoke" };
        self.metrics.rebalances.with_label_values(&[kind]).inc();
        tracing::info!(event = "revoked", partitions = list.len(), lost, "partitions revoked");
        // The group waits for an answer, whatever happens here.
        let result = self.let_go(list, lost);
        self.drop_partitions(list);
        let mut assignment = TopicPartitionList::new();
        for (topic, partition) in list {
            assignment.add_partition(topic, *partition);
        }
        if self.is_cooperative() {
            self.consumer.incremental_unassign(&assignment)?;
        } else {
            self.consumer.unassign()?;
        }
        self.control.assigned.store(!self.partitions.is_empty(), Ordering::Relaxed);
        result
    }

    /// Settles what can be settled of partitions before they are given up, and ends what is still
    /// under way then. An attempt that has reached the disk may still land after it was ended here;
    /// the next owner then finds it committed and stores nothing twice (`model::decide`).
    fn let_go(&mut self, list: &[(String, i32)], lost: bool) -> Result<(), IngestError> {
        if !lost {
            self.turn_all()?;
            let deadline = Instant::now() + self.config.drain_timeout;
            if !self.flush_all(deadline)? {
                tracing::warn!(event = "drain-timeout", "not everything was flushed before the revocation");
            }
        }
        let stages: BTreeSet<usize> =
            list.iter().filter_map(|(topic, _)| self.stage_of_topic.get(topic.as_str()).copied()).collect();
        for stage in &stages {
            if let Some((task, _)) = self.tasks.get_mut(stage) {
                task.abort();
                self.runtime.block_on(task).ok();
            }
        }
        // Those that ended before they were told to are in the channel.
        while let Ok(ended) = self.ended.try_recv() {
            self.on_ended(ended)?;
        }
        for stage in stages {
            let Some((_, bytes)) = self.tasks.remove(&stage) else { continue };
            self.flushing[stage] = false;
            self.flushing_bytes = self.flushing_bytes.saturating_sub(bytes);
            // Its partitions that stay assigned have to be read again from their settled offsets.
            let leaves = |source: &Source| {
                list.iter().any(|(topic, number)| **topic == *source.topic && *number == source.partition)
            };
            let staying: Vec<Source> = self
                .partitions
                .iter()
                .filter(|partition| partition.stage == stage && !leaves(&partition.source))
                .map(|partition| partition.source.clone())
                .collect();
            self.rewind(&staying)?;
        }
        Ok(())
    }

    /// Forgets partitions and drops what is buffered of them.
    fn drop_partitions(&mut self, list: &[(String, i32)]) {
        for (topic, number) in list {
            let Some(place) = self
                .partitions
                .iter()
                .position(|p| *p.source.topic == **topic && p.source.partition == *number)
            else {
                continue;
            };
            let partition = self.partitions.swap_remove(place);
            if let Some(raw) = &partition.raw {
                self.raw_bytes = self.raw_bytes.saturating_sub(raw.payload_bytes() as u64);
            }
            self.buffers[partition.stage].drop_source(&partition.source);
            self.stages[partition.stage].forget(&partition.source);
            let number = number.to_string();
            let labels = [topic.as_str(), number.as_str()];
            self.metrics.lag.remove_label_values(&labels).ok();
            self.metrics.settled_offset.remove_label_values(&labels).ok();
        }
        self.last = 0;
        self.index = self
            .partitions
            .iter()
            .enumerate()
            .map(|(place, p)| ((p.source.topic.clone(), p.source.partition), place))
            .collect();
    }
}
