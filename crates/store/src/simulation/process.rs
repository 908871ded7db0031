//! A process as `ingest` is one towards its stores: it takes partitions over, flushes, and tries again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;

use arrow_schema::SchemaRef;
use situs_model::store::{
    Advice, Append, AppendQuarantine, Appended, HomeStore as _, RowEncoder, Share, StoreError, Tenure, Text,
    Unsettled, ZoneStore as _,
};
use situs_model::{
    ContentVersion, Counts, Decision, NextOffset, OffsetRange, Receipt, Source, StoreReceipt, TableName,
    ZoneId, permit,
};

use super::plant::{Plant, Promise, TABLE, ZONES};
use crate::store::DeltaStore;
use crate::store::tests::support::{MARCH, rows, source};

/// How a flush ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Settled,
    /// A partition belongs to another process.
    Yielded,
    /// The stores did not take it, however often it was tried; what they have of it is not known.
    GaveUp,
    /// A store says that going on would break a promise.
    Stopped(String),
}

impl Ended {
    fn of(error: &StoreError) -> Self {
        match error.advice {
            Advice::Retry => Self::GaveUp,
            Advice::Yield => Self::Yielded,
            Advice::Stop => Self::Stopped(error.message.clone()),
        }
    }
}

/// What an owner before left unfinished: a range, and by which policy it must be finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) partition: i32,
    pub(crate) range: OffsetRange,
    pub(crate) policy: u64,
}

/// A process with store objects of its own.
#[derive(Debug)]
pub(crate) struct Process<'a> {
    plant: &'a Plant,
    /// In the order of [`ZONES`].
    stores: Vec<DeltaStore>,
    /// Begins the ids of its flushes.
    name: String,
    flushes: u64,
    /// How often a store is asked before the process gives up.
    tries: u64,
    pub(crate) policy: u64,
    owned: BTreeMap<i32, Tenure>,
    /// What its appends met with, in numbers.
    seen: RefCell<BTreeMap<&'static str, u64>>,
}

impl<'a> Process<'a> {
    /// Opens the stores.
    pub(crate) async fn start(plant: &'a Plant, name: &str, policy: u64, tries: u64) -> Option<Self> {
        let mut stores = Vec::new();
        for zone in ZONES {
            stores.push(plant.open(zone).await.ok()?);
        }
        let (owned, seen) = (BTreeMap::new(), RefCell::default());
        Some(Self { plant, stores, name: name.to_owned(), flushes: 0, tries, policy, owned, seen })
    }

    fn home(&self) -> &DeltaStore {
        &self.stores[0]
    }

    /// Keeps the policy's text at home.
    pub(crate) async fn archive(&self) -> Result<(), Ended> {
        let text = Plant::policy_text(self.policy);
        let version = ContentVersion::of(text.as_bytes());
        self.persist(|| self.home().archive(Text::Policy, &version, &text)).await
    }

    /// Takes the leases on the stores, or renews them.
    pub(crate) async fn renew(&self) -> Result<(), Ended> {
        for store in &self.stores {
            self.persist(|| store.renew_lease()).await?;
        }
        Ok(())
    }

    pub(crate) fn owned(&self) -> Vec<i32> {
        self.owned.keys().copied().collect()
    }

    /// Where a partition that it owns goes on.
    pub(crate) fn next(&self, partition: i32) -> Option<NextOffset> {
        let first = NextOffset(self.plant.first(partition));
        self.owned.get(&partition).map(|tenure| tenure.settled.unwrap_or(first))
    }

    pub(crate) fn forget(&mut self, partition: i32) {
        self.owned.remove(&partition);
    }

    /// Becomes the owner of partitions: the receipts' table gives the epochs, and every other table is told of
    /// them. What owners before left unfinished.
    pub(crate) async fn take_over(&mut self, partitions: &[i32]) -> Result<Vec<Unfinished>, Ended> {
        let sources: Vec<Source> = partitions.iter().map(|partition| source(*partition)).collect();
        let tenures = self.persist(|| self.home().take_over(&sources)).await?;
        let tenures: Vec<(Source, Tenure)> =
            sources.iter().map(|source| (source.clone(), tenures[source])).collect();
        let (table, columns): (TableName, SchemaRef) = (TABLE.parse().unwrap(), rows(0, 0..1, "CN").schema());
        let mut found: Vec<(Source, Unsettled)> = Vec::new();
        for store in &self.stores {
            found.extend(self.persist(|| store.fence(&table, &columns, &tenures)).await?);
        }
        found.extend(self.persist(|| self.home().fence_quarantine(&tenures)).await?);

        let mut unfinished: BTreeMap<i32, Unfinished> = BTreeMap::new();
        for (source, Unsettled { until, versions, .. }) in found {
            let tenure = tenures.iter().find(|(other, _)| *other == source).unwrap().1;
            let start = tenure.settled.unwrap_or(NextOffset(self.plant.first(source.partition)));
            let policy = Plant::policy_of(&versions.policy).unwrap();
            let partition = source.partition;
            let new = || Unfinished { partition, range: OffsetRange::new(start, until), policy };
            let there = unfinished.entry(partition).or_insert_with(new);
            if there.policy != policy {
                return Err(Ended::Stopped(format!("partition {partition} was begun by two policies")));
            }
            there.range.end = there.range.end.max(until);
        }
        self.owned.extend(tenures.into_iter().map(|(source, tenure)| (source.partition, tenure)));
        Ok(unfinished.into_values().collect())
    }

    /// One whole flush of ranges of partitions that it owns: each zone's rows, quarantine, and then the
    /// receipts.
    pub(crate) async fn flush(&mut self, ranges: &[(i32, OffsetRange)], policy: u64) -> Ended {
        let receipts = match self.append(ranges, policy, None).await {
            Ok(receipts) => receipts,
            Err(ended) => return ended,
        };
        if let Err(ended) = self.persist(|| self.home().settle(&receipts)).await {
            return ended;
        }
        for Receipt { source, range, flush_id, .. } in receipts {
            if let Some(tenure) = self.owned.get_mut(&source.partition) {
                tenure.settled = Some(range.end);
            }
            self.plant.promise(Promise { partition: source.partition, range, flush: flush_id });
        }
        Ended::Settled
    }

    /// Appends ranges to the table of one zone, and does no more of the flush.
    pub(crate) async fn begin(&mut self, ranges: &[(i32, OffsetRange)], zone: usize) {
        self.append(ranges, self.policy, Some(zone)).await.expect("an append without faults");
    }

    /// All of a flush but for the receipts, which it gives; or what one zone has of it.
    async fn append(
        &mut self,
        ranges: &[(i32, OffsetRange)],
        policy: u64,
        only: Option<usize>,
    ) -> Result<Vec<Receipt>, Ended> {
        self.flushes += 1;
        let facts = Plant::facts(&format!("{}-{}", self.name, self.flushes), policy);
        let mut encoders: BTreeMap<ZoneId, Box<dyn RowEncoder>> = BTreeMap::new();
        let (mut shares, mut counts, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for (partition, range) in ranges {
            let Tenure { epoch, settled, topic_id } = self.owned[partition];
            shares.push(Share { source: source(*partition), range: *range, settled, epoch, topic_id });
            let split = self.plant.split(policy, *partition, *range);
            counts.push(split.counts);
            messages.extend(split.quarantined.into_iter().filter(|_| only.is_none()));
            for batch in split.resident {
                let store = self.store(batch.zone());
                if only.is_some_and(|only| ZONES[only] != batch.zone().as_str()) {
                    continue;
                }
                let batch = permit(batch, store.identity()).unwrap();
                let encoder =
                    encoders.entry(store.identity().zone.clone()).or_insert_with(|| store.encoder());
                encoder.write(batch).unwrap();
            }
        }
        // One after the other, since `ingest` lets them race and a race is not drawn from a seed; none is left
        // out because another failed.
        let mut stores: Vec<Result<StoreReceipt, Ended>> = Vec::new();
        for (zone, encoder) in encoders {
            let store = self.store(&zone);
            let rows = store.finish(vec![encoder], &facts).unwrap();
            let table = TABLE.parse().unwrap();
            let append = Append { table, shares: shares.clone(), rows, facts: facts.clone() };
            let appended = self.persist(|| store.append(&append)).await;
            stores.push(appended.map(|appended| self.receipt_of(store, appended)));
        }
        let mut quarantine = None;
        if !messages.is_empty() {
            let append = AppendQuarantine { shares: shares.clone(), messages, facts: facts.clone() };
            let appended = self.persist(|| self.home().quarantine(&append)).await;
            quarantine = Some(appended.map(|appended| self.receipt_of(self.home(), appended)));
        }
        let stores: Vec<StoreReceipt> = stores.into_iter().collect::<Result<_, _>>()?;
        let quarantine = quarantine.transpose()?;
        let receipt = |(share, counts): (&Share, Counts)| Receipt {
            topic_id: share.topic_id,
            flush_id: facts.flush_id.clone(),
            source: share.source.clone(),
            epoch: share.epoch,
            range: share.range,
            pipeline: facts.pipeline.clone(),
            policy: facts.policy.clone(),
            schema: facts.schema.clone(),
            definition: facts.definition.clone(),
            counts,
            stores: stores.clone(),
            quarantine: quarantine.clone(),
            created_us: MARCH,
        };
        Ok(shares.iter().zip(counts).map(receipt).collect())
    }

    /// Settles everything up to these ends, however often it must be tried; why it cannot.
    pub(crate) async fn bring(&mut self, ends: &[i64]) -> Result<(), String> {
        for _ in 0..20 {
            match self.try_to_bring(ends).await {
                Ended::Settled => return Ok(()),
                // As a process that starts again: it asks anew what is settled and what is unfinished.
                Ended::Yielded | Ended::GaveUp => self.owned.clear(),
                Ended::Stopped(reason) => return Err(format!("stopped: {reason}")),
            }
        }
        Err("gave up".to_owned())
    }

    async fn try_to_bring(&mut self, ends: &[i64]) -> Ended {
        let new: Vec<i32> =
            self.plant.partitions().filter(|partition| !self.owned.contains_key(partition)).collect();
        if !new.is_empty() {
            match self.take_over(&new).await {
                Ok(unfinished) => {
                    for Unfinished { partition, range, policy } in unfinished {
                        if policy != self.policy {
                            match self.flush(&[(partition, range)], policy).await {
                                Ended::Settled => {}
                                other => return other,
                            }
                        }
                    }
                }
                Err(ended) => return ended,
            }
        }
        let ranges = self.ranges_to(ends);
        if ranges.is_empty() { Ended::Settled } else { self.flush(&ranges, self.policy).await }
    }

    /// What is left of the partitions that it owns up to these ends.
    pub(crate) fn ranges_to(&self, ends: &[i64]) -> Vec<(i32, OffsetRange)> {
        let to = |(partition, end): (i32, &i64)| {
            let range = OffsetRange::new(self.next(partition)?, NextOffset(*end));
            (!range.is_empty()).then_some((partition, range))
        };
        self.plant.partitions().zip(ends).filter_map(to).collect()
    }

    fn store(&self, zone: &ZoneId) -> &DeltaStore {
        &self.stores[ZONES.iter().position(|name| *name == zone.as_str()).unwrap()]
    }

    /// Tries until it is done, or until trying makes no sense any more.
    async fn persist<T, F, Fut>(&self, mut attempt: F) -> Result<T, Ended>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tries += 1;
            if error.advice != Advice::Retry || tries >= self.tries {
                return Err(Ended::of(&error));
            }
            super::rest();
        }
    }

    fn receipt_of(&self, store: &DeltaStore, appended: Appended) -> StoreReceipt {
        let mut seen = self.seen.borrow_mut();
        *seen.entry("conflicts").or_default() += appended.conflicts;
        for (_, decision) in &appended.decisions {
            let name = match decision {
                Decision::AlreadyCommitted => "shares that were there",
                Decision::Overlap { .. } => "shares that overlapped",
                _ => "shares appended",
            };
            *seen.entry(name).or_default() += 1;
        }
        StoreReceipt { store: store.identity().clone(), version: appended.version, files: appended.files }
    }

    /// What its appends have met with since this was asked last, in numbers.
    pub(crate) fn seen(&self) -> BTreeMap<&'static str, u64> {
        self.seen.take()
    }
}
