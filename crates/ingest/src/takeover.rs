//! How a process becomes the owner of partitions: the tables are told, and what an owner before left
//! unfinished is found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use situs_model::planted::{self, Bug};
use situs_model::store::{Advice, StoreError, Tenure, Unsettled, Versions};
use situs_model::{NextOffset, Source, ZoneId};

use crate::client::{Client, Told};
use crate::error::IngestError;
use crate::intake::Intake;
use crate::replay::{Range, Replayed};

/// How long the stores may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an assignment is tried before its partitions wait. The whole group waits meanwhile, and nothing
/// is read of the partitions that this process owns already.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// First pause before partitions that wait are tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause if another process disputes them: each take-over makes it read again.
pub(crate) const DISPUTE_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause if a store cannot be written, as in a flush.
const STORE_PAUSE: Duration = Duration::from_secs(10);

/// A partition that the group has given to this process, and that it does not own: a table cannot be
/// told now, or has been told of another owner, or the policy has just changed. Nothing is read of it.
///
/// If another owner came, one of the two does not know the group's latest word. Whoever is told that the
/// partition is gone forgets it; the other takes it over again after a while. To do so at once would make
/// two processes take it from each other all the time.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) source: Source,
    again_at: Instant,
}

/// Partitions that are being taken over.
struct Taking {
    wanted: Vec<Source>,
    /// Those of which the broker has nothing any more that could come to lie elsewhere.
    over: BTreeSet<Source>,
}

/// What an attempt to take partitions over came to.
enum Attempt {
    /// They are owned.
    Taken(BTreeMap<Source, Tenure>),
    /// Something was done that changes what is to be done.
    Again,
    /// It cannot be done now.
    NotNow(String),
}

/// What is to be finished before a partition goes on, by pipeline and by the texts that began it.
type Unfinished = Vec<((usize, Versions), Vec<Range>)>;

impl<C: Client> Intake<'_, C> {
    /// Becomes the owner of partitions. Afterwards no table takes anything more from the owners before, and
    /// nothing that they began is left that today's texts could continue otherwise. Those that cannot be
    /// taken over within `patience` wait, and those that must not be read are refused; neither is in what
    /// this gives.
    pub(crate) fn take_over(
        &mut self,
        sources: &[Source],
        patience: Duration,
    ) -> Result<BTreeMap<Source, Tenure>, IngestError> {
        let deadline = self.host.now() + patience;
        let mut taking = Taking { wanted: sources.to_vec(), over: BTreeSet::new() };
        while !taking.wanted.is_empty() {
            let reason = match self.try_to_take_over(&mut taking)? {
                Attempt::Taken(tenures) => return Ok(tenures),
                Attempt::Again => continue,
                Attempt::NotNow(reason) => reason,
            };
            tracing::warn!(event = "take-over-failed", partitions = taking.wanted.len(), "{reason}");
            if self.host.now() > deadline || self.control.is_stopping() {
                self.let_wait(&taking.wanted, STORE_PAUSE);
                break;
            }
            self.host.pause(Duration::from_millis(200));
        }
        Ok(BTreeMap::new())
    }

    fn try_to_take_over(&mut self, taking: &mut Taking) -> Result<Attempt, IngestError> {
        // Before anything is read.
        let ids = match self.ids_of(&taking.wanted) {
            Ok(ids) => ids,
            Err(error) => return Ok(Attempt::NotNow(error.to_string())),
        };
        let is_gone = |source: &Source| ids.get(&source.topic) == Some(&Told::NoTopic);
        let gone: Vec<Source> = taking.wanted.extract_if(.., |source| is_gone(source)).collect();
        if !gone.is_empty() {
            tracing::warn!(event = "no-topic", partitions = gone.len(), "the broker has no such topics now");
            self.let_wait(&gone, STORE_PAUSE);
            if taking.wanted.is_empty() {
                return Ok(Attempt::Taken(BTreeMap::new()));
            }
        }
        let told = self.host.timeout(TIMEOUT, self.tell_tables(&taking.wanted));
        let (mut tenures, mut unsettled) = match self.host.block_on(told) {
            Some(Ok(found)) => found,
            Some(Err(error)) if error.advice == Advice::Stop => return Err(error.into()),
            Some(Err(error)) => return Ok(Attempt::NotNow(error.to_string())),
            None => return Ok(Attempt::NotNow("the stores do not answer".to_owned())),
        };
        self.compare_ids(&ids, &mut tenures, &unsettled);
        taking.wanted.retain(|source| tenures.contains_key(source));
        unsettled.retain(|(source, _)| tenures.contains_key(source) && !taking.over.contains(source));
        let unfinished = self.by_other_texts(&tenures, unsettled)?;
        if unfinished.is_empty() {
            return Ok(Attempt::Taken(tenures));
        }
        match self.replay_all(unfinished) {
            // Once more: what was replayed is settled now.
            Ok(Replayed::But(without)) => {
                taking.over.extend(without);
                Ok(Attempt::Again)
            }
            Ok(Replayed::NotNow(reason)) => Ok(Attempt::NotNow(reason)),
            Err(error) => {
                let Some(source) = error.refused().cloned() else { return Err(error) };
                taking.wanted.retain(|wanted| *wanted != source);
                self.refuse(source, error);
                Ok(Attempt::Again)
            }
        }
    }

    fn replay_all(&mut self, unfinished: Unfinished) -> Result<Replayed, IngestError> {
        let mut without = Vec::new();
        for ((stage, versions), ranges) in unfinished {
            match self.replay(stage, &versions, &ranges)? {
                Replayed::But(more) => without.extend(more),
                not_now @ Replayed::NotNow(_) => return Ok(not_now),
            }
        }
        Ok(Replayed::But(without))
    }

    /// Lets partitions wait until the next turn of the loop.
    pub(crate) fn let_wait_a_moment(&mut self, sources: &[Source]) {
        let now = self.host.now();
        sources.iter().for_each(|source| self.waits_until(source, now));
    }

    fn waits_until(&mut self, source: &Source, again_at: Instant) {
        self.waiting.retain(|waiting| waiting.source != *source);
        self.waiting.push(Waiting { source: source.clone(), again_at });
        self.metrics.waiting_partitions.set(i64::try_from(self.waiting.len()).unwrap_or(i64::MAX));
    }

    /// Lets partitions wait, each time longer until something of them is settled.
    pub(crate) fn let_wait(&mut self, sources: &[Source], longest: Duration) {
        for source in sources {
            let pause = self.pauses.entry(source.clone()).or_insert(FIRST_PAUSE);
            // Two that dispute a partition must not try at the same time again and again.
            let random = self.host.random();
            let again_at = self.host.now() + (*pause).min(longest).mul_f64(1.0 + random);
            *pause = (*pause * 2).min(longest.max(*pause));
            self.waits_until(source, again_at);
        }
    }

    /// Forgets that partitions wait, which were given up or taken over.
    pub(crate) fn wait_no_more(&mut self, sources: &[Source]) {
        self.waiting.retain(|waiting| !sources.contains(&waiting.source));
        self.metrics.waiting_partitions.set(i64::try_from(self.waiting.len()).unwrap_or(i64::MAX));
    }

    /// Takes partitions over that have waited long enough.
    ///
    /// Not while the broker is away or the group is rebalanced: nothing could be read of them, and the group
    /// would wait for an answer.
    pub(crate) fn take_over_waiting(&mut self) -> Result<(), IngestError> {
        if !self.client.is_steady() {
            return Ok(());
        }
        let now = self.host.now();
        let due = self.waiting.iter().filter(|waiting| waiting.again_at <= now);
        let sources: Vec<Source> = due.map(|waiting| waiting.source.clone()).collect();
        if sources.is_empty() {
            return Ok(());
        }
        let tenures = self.take_over(&sources, Duration::ZERO)?;
        if tenures.is_empty() {
            return Ok(());
        }
        self.wait_no_more(&Vec::from_iter(tenures.keys().cloned()));
        self.workers.hold()?;
        let list = self.adopt(&tenures)?;
        self.start_at(&list)?;
        let adopted: Vec<Source> = list.into_iter().map(|(source, _)| source).collect();
        self.client.resume(&adopted)?;
        self.workers.go();
        tracing::info!(
            event = "taken-over",
            partitions = adopted.len(),
            "partitions that waited are taken over"
        );
        Ok(())
    }

    /// Takes partitions over in the home store, and tells every table into which their rows may go. What
    /// tables have of them beyond the settled offsets.
    async fn tell_tables(
        &self,
        sources: &[Source],
    ) -> Result<(BTreeMap<Source, Tenure>, Vec<(Source, Unsettled)>), StoreError> {
        let stores = &self.flusher.stores;
        let home = &stores.home.identity().zone;
        let tenures: BTreeMap<Source, Tenure> =
            self.told(home, stores.home.take_over(sources).await)?.into_iter().collect();
        let all: Vec<(Source, Tenure)> =
            tenures.iter().map(|(source, tenure)| (source.clone(), *tenure)).collect();
        let of_stages: Vec<_> = self
            .definitions
            .iter()
            .map(|definition| {
                let reads = |source: &Source| definition.pipeline.topics.contains(&source.topic);
                let mine: Vec<_> = all.iter().filter(|(source, _)| reads(source)).cloned().collect();
                (definition.pipeline.table(), &definition.columns, mine)
            })
            .filter(|(.., mine)| !mine.is_empty())
            .collect();
        let tables = of_stages.iter().flat_map(|(table, columns, mine)| {
            stores.zones.iter().map(move |(zone, store)| async move {
                self.told(zone, store.fence(table, columns, mine).await)
            })
        });
        let quarantine = async { self.told(home, stores.home.fence_quarantine(&all).await) };
        let (tables, quarantine) = futures::try_join!(try_join_all(tables), quarantine)?;
        let unsettled = tables.into_iter().chain([quarantine]).flatten().collect();
        Ok((tenures, unsettled))
    }

    /// Notes whether a zone's store took what it was told: each take-over writes to every table.
    fn told<T>(&self, zone: &ZoneId, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.flusher.note_writable(zone, true),
            Err(error) if error.advice == Advice::Retry => self.flusher.note_writable(zone, false),
            Err(_) => {}
        }
        result
    }

    /// Of what is unfinished, that which today's texts must not finish.
    fn by_other_texts(
        &self,
        tenures: &BTreeMap<Source, Tenure>,
        unsettled: Vec<(Source, Unsettled)>,
    ) -> Result<Unfinished, IngestError> {
        let mut of_source: BTreeMap<Source, (NextOffset, Vec<Versions>)> = BTreeMap::new();
        for (source, Unsettled { until, versions, .. }) in unsettled {
            let (furthest, all) = of_source.entry(source).or_insert_with(|| (until, Vec::new()));
            *furthest = until.max(*furthest);
            match all.iter_mut().find(|other| other.may_be(&versions)) {
                Some(other) => other.definition = other.definition.take().or(versions.definition),
                None => all.push(versions),
            }
        }
        let mut unfinished = Unfinished::new();
        for (source, (until, mut versions)) in of_source {
            let Some(stage) = self.stage_of_topic.get(&source.topic).copied() else { continue };
            let Some(tenure) = tenures.get(&source).copied() else { continue };
            let Some(of) = versions.pop() else { continue };
            if !versions.is_empty() {
                // Whoever takes over finishes first what it finds, so only a release that knew nothing of
                // epochs can have left this.
                let reason = "by texts of several versions".to_owned();
                return Err(IngestError::Replay { partition: source, until, reason });
            }
            if self.definitions[stage].is_of(&of) || planted::is(Bug::NoBarrier) {
                continue;
            }
            let range = Range { source, tenure, until };
            let key = (stage, of);
            match unfinished.iter_mut().find(|(other, _)| *other == key) {
                Some((_, ranges)) => ranges.push(range),
                None => unfinished.push((key, vec![range])),
            }
        }
        Ok(unfinished)
    }
}
