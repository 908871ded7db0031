//! One turn of the crank: rows become files, one commit per store, then the receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::channel::oneshot::{self, Canceled};
use futures::future::join_all;
use situs_model::invariant::{self, Invariant};
use situs_model::planted::{self, Bug};
use situs_model::store::{
    Advice, Append, AppendQuarantine, Appended, FlushFacts, HomeStore, RowEncoder, Share, StoreError,
    ZoneStore,
};
use situs_model::{
    Counts, DecodeNotes, Quarantined, Receipt, ResidentBatch, StoreIdentity, StoreReceipt, TableName,
    TopicId, ZoneId, permit,
};
use situs_observe::Metrics;

use crate::client::{ClientError, IDS_TIMEOUT, Told, TopicIds};
use crate::config::Stores;
use crate::error::IngestError;
use crate::host::Host;

/// A buffer taken for flushing.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) facts: FlushFacts,
    pub(crate) table: TableName,
    pub(crate) shares: Vec<(Share, Counts, DecodeNotes)>,
    pub(crate) resident: BTreeMap<ZoneId, Vec<Box<dyn RowEncoder>>>,
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) bytes: u64,
    pub(crate) newest_broker_ms: Option<i64>,
}

/// How a flush ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything is in its store and the receipts are committed.
    Settled,
    /// A partition belongs to another process now; nothing may be assumed of any share.
    Yielded(String),
    /// These topics are not there any more, or others have their names, so nobody can say of which topic what
    /// was read of them is. Nothing was stored.
    OtherTopics(Vec<Arc<str>>),
    /// Going on would break a promise, or the process was told to stop while a store was not
    /// writable. What was not settled is read again after the next start.
    Stopped(String),
}

/// A flush that ended, with what it carried.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stage: usize,
    pub(crate) shares: Vec<Share>,
    pub(crate) counts: Counts,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) steps: Steps,
    pub(crate) outcome: Outcome,
}

/// How long the steps of a flush took: of those that its zones do side by side, the slowest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Steps {
    pub(crate) encode: Duration,
    pub(crate) commit: Duration,
    pub(crate) receipt: Duration,
}

/// Shared by all flushes of a process.
#[derive(Debug)]
pub(crate) struct Flusher {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) stores: Stores,
    pub(crate) metrics: Arc<Metrics>,
    /// Whom to ask for the ids of topics; it is gone when the intake ends.
    pub(crate) topics: Weak<dyn TopicIds>,
    /// Set when retrying must end: the drain time is over.
    pub(crate) give_up: AtomicBool,
}

/// For how long a broker must say that a topic is not there before it is believed: one that comes back does
/// not know all topics at once.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// First and longest pause between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl Flusher {
    /// Carries out a flush to its end.
    pub(crate) async fn run(&self, stage: usize, job: Job) -> Ended {
        let started = self.host.now();
        let shares: Vec<Share> = job.shares.iter().map(|(share, ..)| share.clone()).collect();
        let mut counts = Counts::default();
        job.shares.iter().for_each(|(_, share, _)| counts.add(share));
        let bytes = job.bytes;
        let mut steps = Steps::default();
        let outcome = match self.settle(job, &mut steps).await {
            Ok(()) => {
                self.metrics
                    .flush_seconds
                    .with_label_values(&["total"])
                    .observe(self.host.since(started).as_secs_f64());
                Outcome::Settled
            }
            Err(outcome) => outcome,
        };
        Ended { stage, shares, counts, bytes, took: self.host.since(started), steps, outcome }
    }

    async fn settle(&self, job: Job, steps: &mut Steps) -> Result<(), Outcome> {
        let Job { facts, table, shares, resident, quarantined, newest_broker_ms, .. } = job;
        let only_shares: Vec<Share> = shares.iter().map(|(share, ..)| share.clone()).collect();
        self.confirm_topics(&only_shares).await?;
        for share in &only_shares {
            if !invariant::eo3(share.settled, share.range) {
                self.broken(Invariant::Eo3);
            }
        }

        let zones = join_all(
            resident
                .into_iter()
                .map(|(zone, encoders)| self.append_zone(zone, encoders, &table, &only_shares, &facts)),
        );
        let quarantine = async {
            if quarantined.is_empty() {
                return Ok(None);
            }
            let append =
                AppendQuarantine { shares: only_shares.clone(), messages: quarantined, facts: facts.clone() };
            let home = &self.stores.home;
            self.persist(home.identity(), || home.quarantine(&append)).await.map(Some)
        };
        let (zones, quarantine) = futures::join!(zones, quarantine);

        let mut store_receipts = Vec::new();
        for appended in zones {
            let (identity, appended, encode) = appended?;
            steps.encode = steps.encode.max(encode);
            steps.commit = steps.commit.max(appended.commit);
            self.observe_append(&appended);
            store_receipts.push(receipt_of(&identity, appended));
        }
        let quarantine = quarantine?.map(|appended| {
            steps.commit = steps.commit.max(appended.commit);
            self.observe_append(&appended);
            receipt_of(self.stores.home.identity(), appended)
        });

        let created_us = self.host.now_us();
        let receipts: Vec<Receipt> = shares
            .iter()
            .map(|(share, counts, _)| Receipt {
                flush_id: facts.flush_id.clone(),
                source: share.source.clone(),
                topic_id: share.topic_id,
                epoch: share.epoch,
                range: share.range,
                pipeline: facts.pipeline.clone(),
                policy: facts.policy.clone(),
                schema: facts.schema.clone(),
                definition: facts.definition.clone(),
                counts: counts.clone(),
                stores: store_receipts.clone(),
                quarantine: quarantine.clone(),
                created_us,
            })
            .collect();
        let home: &dyn HomeStore = &*self.stores.home;
        let started = self.host.now();
        self.persist(home.identity(), || home.settle(&receipts)).await?;
        steps.receipt = self.host.since(started);
        self.metrics.flush_seconds.with_label_values(&["receipt"]).observe(steps.receipt.as_secs_f64());
        for (_, counts, notes) in &shares {
            self.count_settled(&facts, counts, notes);
        }
        self.metrics.flushes.with_label_values(&[facts.pipeline.as_str()]).inc();
        if let Some(newest) = newest_broker_ms {
            let gauge = self.metrics.valid_through.with_label_values(&[facts.pipeline.as_str()]);
            // A producer's clock may be wrong; nothing is valid through the future.
            let newest = newest.min(self.host.now_us() / 1000) as f64 / 1000.0;
            gauge.set(gauge.get().max(newest));
        }
        Ok(())
    }

    /// Makes sure that what was read is of the topics that it is taken for.
    ///
    /// The broker was asked for their ids before anything was read of the partitions. No two topics ever have
    /// the same id, so if they are the same now, all that came between is of these topics. The client itself
    /// does not notice a topic that was deleted and created again if the new one is longer: it reads on.
    async fn confirm_topics(&self, shares: &[Share]) -> Result<(), Outcome> {
        if planted::is(Bug::TrustTopicNames) {
            return Ok(());
        }
        let mut expected: BTreeMap<Arc<str>, BTreeSet<TopicId>> = BTreeMap::new();
        for share in shares {
            if let Some(id) = share.topic_id {
                expected.entry(share.source.topic.clone()).or_default().insert(id);
            }
        }
        let names: Vec<Arc<str>> = expected.keys().cloned().collect();
        let (started, mut pause) = (self.host.now(), BACKOFF.0);
        while !names.is_empty() {
            let problem = match self.ask_for_ids(names.clone()).await {
                Ok(told) => {
                    let told = || names.iter().zip(&told);
                    let gone = told().any(|(_, told)| *told == Told::NoTopic);
                    let sure = !gone || self.host.since(started) >= GONE_AFTER;
                    let is_other = |(name, told): (&Arc<str>, &Told)| match told {
                        Told::Id(id) => expected[name].iter().any(|expected| expected != id),
                        Told::NoTopic => sure,
                        // A broker that gives no ids cannot be asked.
                        Told::NoId => false,
                    };
                    let others: Vec<Arc<str>> =
                        told().filter(|told| is_other(*told)).map(|(name, _)| name.clone()).collect();
                    if !others.is_empty() {
                        return Err(Outcome::OtherTopics(others));
                    }
                    if !gone {
                        return Ok(());
                    }
                    "a topic is not there".to_owned()
                }
                Err(error) => error.to_string(),
            };
            tracing::warn!(
                event = "topics-not-confirmed",
                topics = names.join(","),
                pause_ms = pause.as_millis() as u64,
                "{problem}"
            );
            self.pause(pause, &problem).await?;
            pause = (pause * 2).min(IDS_TIMEOUT);
        }
        Ok(())
    }

    /// Asks the broker for the ids of topics, which blocks a thread.
    async fn ask_for_ids(&self, names: Vec<Arc<str>>) -> Result<Vec<Told>, ClientError> {
        let topics = self.topics.clone();
        let ask = move || match topics.upgrade() {
            Some(topics) => topics.topic_ids(&names, IDS_TIMEOUT),
            None => Err(ClientError("the client is gone".to_owned())),
        };
        let told = self.computed(ask).await;
        told.unwrap_or_else(|_| Err(ClientError("the client does not answer".to_owned())))
    }

    /// Carries out work where blocking is allowed; an error if it panicked.
    async fn computed<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Canceled> {
        let (done, computed) = oneshot::channel();
        // Whoever waits may have been ended.
        self.host.compute(Box::new(move || drop(done.send(work())))).await;
        computed.await
    }

    /// Ends the encoding of a zone's rows and appends them.
    async fn append_zone(
        &self,
        zone: ZoneId,
        encoders: Vec<Box<dyn RowEncoder>>,
        table: &TableName,
        shares: &[Share],
        facts: &FlushFacts,
    ) -> Result<(StoreIdentity, Appended, Duration), Outcome> {
        let store = self.store(&zone).map_err(|error| Outcome::Stopped(error.to_string()))?.clone();
        let started = self.host.now();
        let finish = {
            let (store, facts) = (store.clone(), facts.clone());
            move || store.finish(encoders, &facts)
        };
        let rows = match self.computed(finish).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return Err(Outcome::Stopped(error.to_string())),
            // A panic's text could hold anything, so it is not repeated.
            Err(_) => return Err(Outcome::Stopped("encoding the rows panicked".to_owned())),
        };
        let encode = self.host.since(started);
        self.metrics.flush_seconds.with_label_values(&["encode"]).observe(encode.as_secs_f64());
        let append = Append { table: table.clone(), shares: shares.to_vec(), rows, facts: facts.clone() };
        let appended = self.persist(store.identity(), || store.append(&append)).await?;
        Ok((store.identity().clone(), appended, encode))
    }

    fn store(&self, zone: &ZoneId) -> Result<&Arc<dyn ZoneStore>, IngestError> {
        // `split` only makes batches of zones that have a store, so this is a bug; it stops the process
        // rather than let a row lie in the wrong place.
        self.stores.zones.get(zone).ok_or_else(|| IngestError::NoStore(zone.clone()))
    }

    /// Gets the permit for a batch, and encodes it with the rows of its zone.
    pub(crate) fn encode(
        &self,
        batch: ResidentBatch,
        encoders: &mut BTreeMap<ZoneId, Vec<Box<dyn RowEncoder>>>,
    ) -> Result<(), IngestError> {
        let store = self.store(batch.zone())?;
        let zone = store.identity().zone.clone();
        let permitted = permit(batch, store.identity()).inspect_err(|_| {
            self.metrics.permits_refused.with_label_values(&[zone.as_str()]).inc();
            self.broken(Invariant::Res1);
        })?;
        let encoders = encoders.entry(zone).or_default();
        match encoders.first_mut() {
            Some(encoder) => encoder.write(permitted)?,
            None => {
                let mut encoder = store.encoder();
                encoder.write(permitted)?;
                encoders.push(encoder);
            }
        }
        Ok(())
    }

    /// Tries until it is done, or until trying makes no sense any more. Each attempt reads first
    /// what the last one may have left behind, so trying again never stores anything twice.
    async fn persist<'a, F, Fut>(&self, store: &StoreIdentity, mut attempt: F) -> Result<Appended, Outcome>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Appended, StoreError>> + 'a,
    {
        let zone = store.zone.as_str();
        let mut pause = BACKOFF.0;
        loop {
            let error = match attempt().await {
                Ok(appended) => {
                    self.note_writable(&store.zone, true);
                    return Ok(appended);
                }
                Err(error) => error,
            };
            match error.advice {
                Advice::Stop => return Err(Outcome::Stopped(error.to_string())),
                Advice::Yield => return Err(Outcome::Yielded(error.to_string())),
                Advice::Retry => {}
            }
            self.note_writable(&store.zone, false);
            self.metrics.flush_retries.with_label_values(&[zone]).inc();
            tracing::warn!(event = "store-retry", zone, pause_ms = pause.as_millis() as u64, "{error}");
            self.pause(pause, &error).await?;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Waits before the next attempt, unless there is to be none any more.
    async fn pause(&self, time: Duration, problem: &(dyn Display + Sync)) -> Result<(), Outcome> {
        let until = self.host.now() + time;
        while self.host.now() < until {
            if self.give_up.load(Ordering::Relaxed) {
                return Err(Outcome::Stopped(format!("gave up at the end of the drain time: {problem}")));
            }
            self.host.sleep(Duration::from_millis(50).min(time)).await;
        }
        Ok(())
    }

    /// Notes whether a zone's store could be written at the last attempt.
    pub(crate) fn note_writable(&self, zone: &ZoneId, writable: bool) {
        self.metrics.store_writable.with_label_values(&[zone.as_str()]).set(i64::from(writable));
    }

    fn observe_append(&self, appended: &Appended) {
        self.metrics.flush_seconds.with_label_values(&["commit"]).observe(appended.commit.as_secs_f64());
    }

    fn count_settled(&self, facts: &FlushFacts, counts: &Counts, notes: &DecodeNotes) {
        let metrics = &self.metrics;
        let pipeline = facts.pipeline.as_str();
        metrics.messages_decoded.with_label_values(&[pipeline]).inc_by(counts.decoded);
        for (zone, count) in &counts.stored {
            let labels = [pipeline, zone.as_str()];
            metrics.messages_stored.with_label_values(&labels).inc_by(count.messages);
            metrics.rows_stored.with_label_values(&labels).inc_by(count.rows);
        }
        for (reason, count) in &counts.quarantined {
            let labels = [pipeline, reason.as_str()];
            metrics.messages_quarantined.with_label_values(&labels).inc_by(*count);
            if matches!(reason, situs_model::QuarantineReason::Rejected(_)) {
                metrics.messages_rejected.with_label_values(&labels).inc_by(*count);
            }
        }
        for (kind, count) in &notes.without_rows {
            metrics.messages_without_rows.with_label_values(&[pipeline, kind]).inc_by(*count);
        }
        let fast = notes.fast_rows.min(counts.rows);
        metrics.rows_decoded.with_label_values(&[pipeline, "fast"]).inc_by(fast);
        metrics.rows_decoded.with_label_values(&[pipeline, "general"]).inc_by(counts.rows - fast);
        metrics.unknown_fields.with_label_values(&[pipeline]).inc_by(notes.unknown_fields);
        metrics.duplicate_keys.with_label_values(&[pipeline]).inc_by(notes.duplicate_keys);
        metrics.boms.with_label_values(&[pipeline]).inc_by(notes.boms);
        metrics.sentinels.with_label_values(&[pipeline]).inc_by(notes.sentinels);
        metrics.clocks_off.with_label_values(&[pipeline]).inc_by(notes.clocks_off);
    }

    pub(crate) fn broken(&self, invariant: Invariant) {
        self.metrics.invariant_violations.with_label_values(&[invariant.as_str()]).inc();
        tracing::error!(
            event = "invariant-broken",
            invariant = invariant.as_str(),
            "an invariant was found broken"
        );
    }
}

fn receipt_of(store: &StoreIdentity, appended: Appended) -> StoreReceipt {
    StoreReceipt { store: store.clone(), version: appended.version, files: appended.files }
}
