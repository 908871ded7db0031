//! How far behind each partition is, and what the last flushes took: for metrics and for whoever looks on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use situs_model::{Counts, NextOffset, Source};
use situs_observe::Metrics;

use crate::client::Client;
use crate::flush::Steps;
use crate::intake::{Control, Intake};

/// How often the lag is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Flushes that are remembered.
const FLUSHES: usize = 60;
/// The label of all partitions of a topic that have no series of their own.
const OTHERS: &str = "others";

/// How a partition that the group gave to this process stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// Whether it is read.
    pub stands: Stands,
    /// Messages between the settled offset and the end; `None` while the end is not known.
    pub lag: Option<u64>,
    /// Age of the oldest message that is not settled.
    pub age: Duration,
    /// The settled offset.
    pub settled: Option<i64>,
}

/// Whether a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stands {
    /// It is read.
    Owned,
    /// It cannot be taken over yet.
    Waiting,
    /// It is not read until a person has decided what to do.
    Refused,
}

impl Stands {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// A flush that settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed {
    /// Counts all flushes of the process.
    pub number: u64,
    /// Its pipeline.
    pub pipeline: String,
    /// When it ended, in µs since the epoch.
    pub ended_us: i64,
    /// How long it took.
    pub took: Duration,
    /// How long its files took.
    pub encode: Duration,
    /// How long its commits took.
    pub commit: Duration,
    /// How long its receipt took.
    pub receipt: Duration,
    /// The messages that it settled.
    pub messages: u64,
    /// The rows that it settled.
    pub rows: u64,
}

impl Control {
    /// The partitions that the group gave to this process, in order; looked at twice a second.
    pub fn standings(&self) -> Arc<[Standing]> {
        self.standings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last flushes that settled, the newest last.
    pub fn flushes(&self) -> Vec<Flushed> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Which partitions have series of their own.
#[derive(Debug)]
pub(crate) struct Series {
    most: usize,
    own: BTreeSet<(Arc<str>, i32)>,
    /// The topics of all partitions.
    topics: BTreeSet<Arc<str>>,
    metrics: Arc<Metrics>,
}

impl Series {
    pub(crate) fn new(most: usize, metrics: Arc<Metrics>) -> Self {
        Self { most, own: BTreeSet::new(), topics: BTreeSet::new(), metrics }
    }

    /// These are the partitions now. The first of them, by name, have series of their own: a choice that does
    /// not depend on the order in which they came.
    pub(crate) fn choose<'a>(&mut self, partitions: impl Iterator<Item = (&'a Source, Option<NextOffset>)>) {
        let settled: BTreeMap<(Arc<str>, i32), Option<NextOffset>> =
            partitions.map(|(source, settled)| ((source.topic.clone(), source.partition), settled)).collect();
        let own: BTreeSet<_> = settled.keys().take(self.most).cloned().collect();
        for (topic, partition) in self.own.difference(&own) {
            self.remove(topic, &partition.to_string());
        }
        self.topics.iter().for_each(|topic| self.remove(topic, OTHERS));
        self.topics = settled.keys().map(|(topic, _)| topic.clone()).collect();
        self.own = own;
        for (topic, partition) in &self.own {
            if let Some(Some(settled)) = settled.get(&(topic.clone(), *partition)) {
                let number = partition.to_string();
                self.metrics.settled_offset.with_label_values(&[&**topic, number.as_str()]).set(settled.0);
            }
        }
    }

    fn remove(&self, topic: &str, partition: &str) {
        let labels = [topic, partition];
        self.metrics.lag.remove_label_values(&labels).ok();
        self.metrics.lag_seconds.remove_label_values(&labels).ok();
        self.metrics.settled_offset.remove_label_values(&labels).ok();
    }

    fn is_own(&self, topic: &Arc<str>, partition: i32) -> bool {
        self.own.contains(&(topic.clone(), partition))
    }

    /// A partition is settled up to here.
    pub(crate) fn settled(&self, source: &Source, settled: NextOffset) {
        if self.is_own(&source.topic, source.partition) {
            let number = source.partition.to_string();
            self.metrics.settled_offset.with_label_values(&[&*source.topic, number.as_str()]).set(settled.0);
        }
    }

    /// Shows how the partitions stand: of those without series of their own the sum of the messages, and the
    /// greatest age.
    fn show(&self, standings: &[Standing]) {
        let mut others: BTreeMap<&Arc<str>, (i64, f64)> = BTreeMap::new();
        for standing in standings.iter().filter(|standing| standing.stands == Stands::Owned) {
            let Some(lag) = standing.lag else { continue };
            let lag = i64::try_from(lag).unwrap_or(i64::MAX);
            let age = standing.age.as_secs_f64();
            if self.is_own(&standing.topic, standing.partition) {
                let number = standing.partition.to_string();
                let labels = [&*standing.topic, number.as_str()];
                self.metrics.lag.with_label_values(&labels).set(lag);
                self.metrics.lag_seconds.with_label_values(&labels).set(age);
            } else {
                let (sum, oldest) = others.entry(&standing.topic).or_default();
                *sum = sum.saturating_add(lag);
                *oldest = oldest.max(age);
            }
        }
        for (topic, (lag, age)) in others {
            let labels = [&**topic, OTHERS];
            self.metrics.lag.with_label_values(&labels).set(lag);
            self.metrics.lag_seconds.with_label_values(&labels).set(age);
        }
    }
}

impl<C: Client> Intake<'_, C> {
    pub(crate) fn update_lag(&mut self) {
        if self.host.since(self.lag_at) < LOOK {
            return;
        }
        self.lag_at = self.host.now();
        let (now, now_ms) = (self.host.now(), self.host.now_us() / 1000);
        let positions = self.client_positions();
        // What waits to be taken over has a lag that nobody knows.
        let mut sum = self.waiting.is_empty().then_some(0_u64);
        let mut standings = Vec::with_capacity(self.partitions.len());
        self.pace.iter_mut().for_each(|pace| pace.unread = 0);
        for (partition, read) in self.partitions.iter_mut().zip(positions) {
            let settled = partition.tenure.settled;
            let oldest = partition.position.oldest(settled);
            let mut age = oldest.map_or(0, |oldest| u64::try_from(now_ms - oldest).unwrap_or(0));
            let mut lag = None;
            if let Some((start, end)) = self.client.bounds(&partition.source) {
                let from = settled.map_or(start, |settled| settled.0.max(start));
                // Offsets at the end may hold no message (transaction markers): all is settled that the
                // client has gone past, if nothing waits. (A message that is on its way from the client to its
                // worker's note is left out for a moment.)
                let next = partition.position.next();
                let unread = u64::try_from(end - next.unwrap_or(start)).unwrap_or(0);
                self.pace[partition.stage].unread += unread;
                let idle = next.is_none_or(|next| settled == Some(NextOffset(next)));
                let from = if idle { from.max(read.unwrap_or(from)) } else { from };
                let behind = u64::try_from(end - from).unwrap_or(0);
                sum = sum.map(|sum| sum + behind);
                lag = Some(behind);
                // How old a message is that was not read nobody here knows: at least as old as this is known.
                partition.unread = (behind > 0 && oldest.is_none()).then(|| partition.unread.unwrap_or(now));
                if let Some(since) = partition.unread {
                    let since = now.saturating_duration_since(since).as_millis();
                    age = age.max(u64::try_from(since).unwrap_or(u64::MAX));
                }
            } else {
                sum = None;
            }
            standings.push(Standing {
                topic: partition.source.topic.clone(),
                partition: partition.source.partition,
                stands: Stands::Owned,
                lag,
                age: Duration::from_millis(age),
                settled: settled.map(|settled| settled.0),
            });
        }
        let idle = |source: &Source, stands| Standing {
            topic: source.topic.clone(),
            partition: source.partition,
            stands,
            lag: None,
            age: Duration::ZERO,
            settled: None,
        };
        standings.extend(self.waiting.iter().map(|waiting| idle(&waiting.source, Stands::Waiting)));
        standings.extend(self.refused.keys().map(|source| idle(source, Stands::Refused)));
        standings.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.series.show(&standings);
        *self.control.lag.write().unwrap_or_else(PoisonError::into_inner) = sum;
        *self.control.standings.write().unwrap_or_else(PoisonError::into_inner) = standings.into();
    }

    /// Remembers a flush that settled.
    pub(crate) fn note_flush(&self, pipeline: &str, counts: &Counts, took: Duration, steps: Steps) {
        let mut flushes = self.control.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = flushes.back().map_or(1, |last| last.number + 1);
        if flushes.len() >= FLUSHES {
            flushes.pop_front();
        }
        flushes.push_back(Flushed {
            number,
            pipeline: pipeline.to_owned(),
            ended_us: self.host.now_us(),
            took,
            encode: steps.encode,
            commit: steps.commit,
            receipt: steps.receipt,
            messages: counts.messages,
            rows: counts.rows,
        });
    }
}

#[cfg(test)]
mod tests;
