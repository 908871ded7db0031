//! What happens when the group gives partitions and takes them away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::{Offset, TopicPartitionList};
use situs_model::Source;

use crate::intake::{Intake, IngestError};
use crate::kafka::Rebalance;
use crate::partition::Partition;

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
            self.consumer.seek(element.topic(), element.partition(), element.offset(), Duration::from_secs(10))?;
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
        let assignment = self.settled_assignment(list)?;
        if cooperative {
            self.consumer.incremental_assign(&assignment)?;
        } else {
            self.consumer.assign(&assignment)?;
        }
        if self.paused {
            self.consumer.pause(&assignment)?;
        }
        self.control.assigned.store(true, Ordering::Relaxed);
        tracing::info!(event = "assigned", partitions = list.len(), "partitions assigned");
        Ok(())
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
        let settled = self.runtime.block_on(self.flusher.stores.home.settled(&sources))?;
        let mut assignment = TopicPartitionList::new();
        for source in sources {
            let Some(stage) = self.stage_of_topic.get(&source.topic).copied() else { continue };
            let settled = settled.get(&source).copied();
            let offset = settled.map_or(Offset::Beginning, |settled| Offset::Offset(settled.0));
            assignment.add_partition_offset(&source.topic, source.partition, offset)?;
            let target = if self.config.until_caught_up {
                let timeout = Duration::from_secs(30);
                Some(self.consumer.fetch_watermarks(&source.topic, source.partition, timeout)?.1)
            } else {
                None
            };
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
        if !lost {
            self.turn_all()?;
            let deadline = Instant::now() + self.config.drain_timeout;
            if !self.flush_all(deadline)? {
                tracing::warn!(event = "drain-timeout", "not everything was flushed before the revocation");
            }
        }
        // Whatever is still under way must not commit after the revocation is acknowledged (EO-7).
        let stages: BTreeSet<usize> =
            list.iter().filter_map(|(topic, _)| self.stage_of_topic.get(topic.as_str()).copied()).collect();
        for stage in stages {
            if let Some(task) = self.tasks.remove(&stage) {
                task.abort();
                self.runtime.block_on(task).ok();
                self.flushing[stage] = false;
                // Its partitions that stay assigned have to be read again from their settled offsets.
                let staying: Vec<Source> = self
                    .partitions
                    .iter()
                    .filter(|p| p.stage == stage && !list.iter().any(|(t, n)| **t == *p.source.topic && *n == p.source.partition))
                    .map(|p| p.source.clone())
                    .collect();
                while let Ok(ended) = self.ended.try_recv() {
                    if ended.stage != stage {
                        self.on_ended(ended)?;
                    }
                }
                self.rewind(&staying)?;
            }
        }
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
        Ok(())
    }

    /// Forgets partitions and drops what is buffered of them.
    fn drop_partitions(&mut self, list: &[(String, i32)]) {
        for (topic, number) in list {
            let Some(place) =
                self.partitions.iter().position(|p| *p.source.topic == **topic && p.source.partition == *number)
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
