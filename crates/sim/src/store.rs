//! Stores that keep the traits' promises over a disk that keeps none.
//!
//! Each operation is a look at the table, a decision on what was seen, and a commit that succeeds only if
//! nothing was committed since. Any of them may be refused, take long, or land though the answer is an
//! error; a commit whose answer was an error may land later still.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_schema::SchemaRef;
use situs_model::columns::names;
use situs_model::store::{
    Advice, Append, AppendQuarantine, Appended, BoxFuture, EncodedRows, FlushFacts, HomeStore, RowEncoder,
    Share, StoreError, Tenure, Text, Unsettled, Versions, ZoneStore,
};
use situs_model::{
    ContentVersion, Decision, Epoch, NextOffset, OffsetRange, PermittedBatch, QuarantineReason, Receipt,
    Source, Standing, StoreIdentity, TableName, TopicId, decide,
};

use crate::host::nap;
use crate::world::world;

/// How often a commit is tried when others come between.
const TRIES: u32 = 10;

/// A row: topic, partition, offset, number within the message.
pub(crate) type RowId = (String, i32, i64, i32);

/// What a table has of a row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// As the row's tag says.
    pub(crate) zone: Option<String>,
    /// The policy that placed it.
    pub(crate) policy: String,
    /// When the broker got its message, ms since the epoch.
    pub(crate) time_ms: i64,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    next: Option<NextOffset>,
    flush: String,
    versions: Option<Versions>,
    topic_id: Option<TopicId>,
}

/// A table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    version: u64,
    progress: BTreeMap<Source, Progress>,
    epochs: BTreeMap<Source, Epoch>,
    /// Every row, as often as it was written.
    pub(crate) rows: BTreeMap<RowId, Vec<Row>>,
    /// Quarantined messages by topic, partition and offset: why, and when the broker got them.
    pub(crate) quarantined: BTreeMap<(String, i32, i64), Vec<(QuarantineReason, i64)>>,
    /// Receipts in the order of their commits.
    pub(crate) receipts: Vec<(Source, OffsetRange, Option<TopicId>)>,
}

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Health {
    /// Nothing can be written.
    pub(crate) refuses: bool,
    /// Percent of operations that go wrong one way or another.
    pub(crate) faulty: u64,
    /// Longest time that an operation takes.
    pub(crate) slow: Duration,
}

/// What a store holds.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Its tables.
    pub(crate) tables: BTreeMap<String, Table>,
    /// How well it is.
    pub(crate) health: Health,
    /// Commits that landed.
    pub(crate) commits: u64,
    /// Commits that others were faster than.
    pub(crate) conflicts: u64,
}

thread_local! {
    static DISKS: RefCell<Vec<Rc<RefCell<Disk>>>> = const { RefCell::new(Vec::new()) };
}

/// Makes the disks of a world.
pub(crate) fn begin(count: usize) -> Vec<Rc<RefCell<Disk>>> {
    let disks: Vec<Rc<RefCell<Disk>>> = (0..count).map(|_| Rc::default()).collect();
    DISKS.with_borrow_mut(|there| there.clone_from(&disks));
    disks
}

fn disk(number: usize) -> Rc<RefCell<Disk>> {
    DISKS.with_borrow(|disks| disks[number].clone())
}

/// What is settled of a partition; 0 if nothing is.
pub(crate) fn settled_offset(source: &Source) -> i64 {
    let home = disk(0);
    let home = home.borrow();
    let progress = home.tables.get("receipts").and_then(|table| table.progress.get(source));
    progress.and_then(|progress| progress.next).map_or(0, |next| next.0)
}

/// A process's access to a disk.
#[derive(Debug)]
pub(crate) struct SimStore {
    disk: usize,
    identity: StoreIdentity,
}

impl SimStore {
    /// To the disk with this number.
    pub(crate) fn new(disk: usize, zone: &str) -> Self {
        let zone = zone.parse().expect("a zone's name");
        Self { disk, identity: StoreIdentity { zone, store_id: format!("store-{disk}") } }
    }

    fn disk(&self) -> Rc<RefCell<Disk>> {
        disk(self.disk)
    }

    fn error(&self, advice: Advice, message: &str) -> StoreError {
        StoreError { advice, store: self.identity.clone(), message: message.to_owned() }
    }

    /// An operation that changes nothing.
    async fn look<T>(&self, look: impl FnOnce(&Disk) -> T) -> Result<T, StoreError> {
        self.take_time().await;
        if self.goes_wrong() {
            return Err(self.error(Advice::Retry, "cannot be read"));
        }
        Ok(look(&self.disk().borrow()))
    }

    fn take_time(&self) -> impl Future<Output = ()> + Send + use<> {
        let health = self.disk().borrow().health;
        let longest = Duration::from_millis(4).max(health.slow);
        nap(Duration::from_micros(50), longest)
    }

    fn goes_wrong(&self) -> bool {
        let health = self.disk().borrow().health;
        world().chance(health.faulty)
    }

    /// Commits on what was seen at `version`; `None` if others were faster.
    async fn commit(
        &self,
        table: &str,
        version: u64,
        apply: impl FnOnce(&mut Table) + Send + 'static,
    ) -> Result<Option<u64>, StoreError> {
        // Staging, then the entry.
        self.take_time().await;
        if self.disk().borrow().health.refuses {
            return Err(self.error(Advice::Retry, "no space left"));
        }
        self.take_time().await;
        let name = table.to_owned();
        let number = self.disk;
        let land = move || {
            let disk = disk(number);
            let mut disk = disk.borrow_mut();
            let table = disk.tables.entry(name).or_default();
            if table.version != version {
                disk.conflicts += 1;
                return None;
            }
            table.version += 1;
            apply(table);
            world().note(&format!("store {number} has commit {}", disk.commits));
            disk.commits += 1;
            Some(version + 1)
        };
        if !self.goes_wrong() {
            return Ok(land());
        }
        let way = world().below(4);
        match way {
            0 => Err(self.error(Advice::Retry, "refused")),
            1 => {
                self.take_time().await;
                Err(self.error(Advice::Retry, "timed out, and did not happen"))
            }
            2 => {
                land();
                self.take_time().await;
                Err(self.error(Advice::Retry, "timed out, though it happened"))
            }
            _ => {
                let late = world().between(Duration::ZERO, Duration::from_millis(500));
                world().after(late, move || {
                    land();
                });
                Err(self.error(Advice::Retry, "timed out, and happens yet"))
            }
        }
    }

    async fn snapshot(&self, table: &str) -> Result<Table, StoreError> {
        self.look(|disk| {
            let table = disk.tables.get(table);
            let seen = |table: &Table| Table {
                version: table.version,
                progress: table.progress.clone(),
                epochs: table.epochs.clone(),
                ..Table::default()
            };
            table.map(seen).unwrap_or_default()
        })
        .await
    }

    async fn pause(&self) {
        nap(Duration::from_micros(500), Duration::from_millis(5)).await;
    }

    /// Decides each share on a look at the table and commits what is to be kept.
    async fn append_to(
        &self,
        table: &str,
        claims: &[Claim],
        facts: &FlushFacts,
        write: impl Fn(&mut Table, &[(Source, Decision)]) + Send + Clone + 'static,
    ) -> Result<Appended, StoreError> {
        for _ in 0..TRIES {
            let seen = self.snapshot(table).await?;
            let mut decisions = Vec::new();
            for Claim { source, range, settled, epoch, .. } in claims {
                let progress = seen.progress.get(source);
                let committed = progress.and_then(|progress| progress.next);
                let known = seen.epochs.get(source).copied().unwrap_or_default();
                let standing = Standing { committed, epoch: known };
                let decision = match settled {
                    Settled::Told(settled) => decide(standing, *epoch, *settled, *range),
                    Settled::Here => {
                        let mine =
                            progress.is_some_and(|p| p.next == Some(range.end) && p.flush == facts.flush_id);
                        if mine {
                            Decision::AlreadyCommitted
                        } else {
                            decide(standing, *epoch, committed, *range)
                        }
                    }
                };
                match decision {
                    Decision::Gap { .. } => return Err(self.error(Advice::Stop, "a gap")),
                    Decision::Fenced { .. } | Decision::Superseded { .. } => {
                        return Err(self.error(Advice::Yield, "another's"));
                    }
                    _ => decisions.push((source.clone(), decision)),
                }
            }
            let done = |version| Appended {
                version,
                files: Vec::new(),
                decisions: decisions.clone(),
                conflicts: 0,
                commit: Duration::ZERO,
            };
            if decisions.iter().all(|(_, decision)| *decision == Decision::AlreadyCommitted) {
                return Ok(done(None));
            }
            let (write, kept) = (write.clone(), decisions.clone());
            let (name, claims) = (table.to_owned(), claims.to_vec());
            let facts = facts.clone();
            let apply = move |table: &mut Table| {
                write(table, &kept);
                for (claim, (_, decision)) in claims.into_iter().zip(&kept) {
                    let (source, range) = (&claim.source, claim.range);
                    world()
                        .note(&format!("{name}: {source} {range} {decision:?} for epoch {}", claim.epoch.0));
                    if *decision != Decision::AlreadyCommitted {
                        let progress = Progress {
                            next: Some(claim.range.end),
                            flush: facts.flush_id.clone(),
                            versions: Some(facts.versions()),
                            topic_id: claim.topic_id,
                        };
                        table.progress.insert(claim.source, progress);
                    }
                }
            };
            match self.commit(table, seen.version, apply).await? {
                Some(version) => return Ok(done(Some(version))),
                None => self.pause().await,
            }
        }
        Err(self.error(Advice::Retry, "crowded"))
    }

    async fn tell(
        &self,
        table: &str,
        owners: impl Fn(&Table) -> Vec<(Source, Epoch)>,
    ) -> Result<(Vec<(Source, Epoch)>, Table), StoreError> {
        for _ in 0..TRIES {
            let seen = self.snapshot(table).await?;
            let owners = owners(&seen);
            let known = |source: &Source| seen.epochs.get(source).copied().unwrap_or_default();
            if owners.iter().any(|(source, epoch)| known(source) > *epoch) {
                return Err(self.error(Advice::Yield, "another's"));
            }
            if owners.iter().all(|(source, epoch)| known(source) == *epoch) {
                return Ok((owners, seen));
            }
            let news = owners.clone();
            let apply = move |table: &mut Table| table.epochs.extend(news);
            match self.commit(table, seen.version, apply).await? {
                Some(_) => return Ok((owners, seen)),
                None => self.pause().await,
            }
        }
        Err(self.error(Advice::Retry, "crowded"))
    }

    async fn fence_table(
        &self,
        table: &str,
        tenures: &[(Source, Tenure)],
    ) -> Result<HashMap<Source, Unsettled>, StoreError> {
        let owners =
            |_: &Table| tenures.iter().map(|(source, tenure)| (source.clone(), tenure.epoch)).collect();
        let (_, seen) = self.tell(table, owners).await?;
        let beyond = |(source, tenure): &(Source, Tenure)| {
            let progress = seen.progress.get(source)?;
            let until = progress.next.filter(|next| tenure.settled.is_none_or(|settled| *next > settled))?;
            let (versions, topic_id) = (progress.versions.clone()?, progress.topic_id);
            Some((source.clone(), Unsettled { until, versions, topic_id }))
        };
        Ok(tenures.iter().filter_map(beyond).collect())
    }
}

/// Against what a range must continue.
#[derive(Debug, Clone, Copy)]
enum Settled {
    Told(Option<NextOffset>),
    Here,
}

/// A partition that moves with a commit.
#[derive(Debug, Clone)]
struct Claim {
    source: Source,
    range: OffsetRange,
    settled: Settled,
    epoch: Epoch,
    topic_id: Option<TopicId>,
}

impl Claim {
    fn of(share: &Share) -> Self {
        Self {
            source: share.source.clone(),
            range: share.range,
            settled: Settled::Told(share.settled),
            epoch: share.epoch,
            topic_id: share.topic_id,
        }
    }
}

fn keeps(decisions: &[(Source, Decision)], topic: &str, partition: i32, offset: i64) -> bool {
    let of = |(source, _): &&(Source, Decision)| &*source.topic == topic && source.partition == partition;
    match decisions.iter().find(of) {
        Some((_, Decision::Append)) => true,
        Some((_, Decision::Overlap { keep_from })) => offset >= keep_from.0,
        _ => false,
    }
}

/// Rows in memory.
#[derive(Debug, Default)]
struct Encoder {
    rows: Vec<(RowId, Row)>,
}

impl RowEncoder for Encoder {
    fn write(&mut self, batch: PermittedBatch) -> Result<(), StoreError> {
        let source = batch.batch().source().clone();
        let rows = batch.batch().rows();
        let column = |name: &str| rows.column_by_name(name).expect("a column of every row");
        let word = |name: &str, row: usize| {
            let words = column(name).as_dictionary::<Int32Type>();
            words.key(row).map(|key| words.values().as_string::<i32>().value(key).to_owned())
        };
        let offsets = column(names::OFFSET).as_primitive::<Int64Type>();
        let numbers = column(names::ROW).as_primitive::<Int32Type>();
        let times = column(names::BROKER_TIME).as_primitive::<TimestampMicrosecondType>();
        for row in 0..rows.num_rows() {
            let id = (source.topic.to_string(), source.partition, offsets.value(row), numbers.value(row));
            let policy = word(names::POLICY, row).unwrap_or_default();
            let time_ms = times.value(row) / 1000;
            self.rows.push((id, Row { zone: word(names::ZONE, row), policy, time_ms }));
        }
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    fn memory_size(&self) -> u64 {
        self.rows() * 100
    }

    fn encoded_size(&self) -> u64 {
        self.rows() * 30
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl ZoneStore for SimStore {
    fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    fn fence<'a>(
        &'a self,
        table: &'a TableName,
        _: &'a SchemaRef,
        tenures: &'a [(Source, Tenure)],
    ) -> BoxFuture<'a, Result<HashMap<Source, Unsettled>, StoreError>> {
        Box::pin(self.fence_table(table.as_str(), tenures))
    }

    fn encoder(&self) -> Box<dyn RowEncoder> {
        Box::new(Encoder::default())
    }

    fn finish(&self, encoders: Vec<Box<dyn RowEncoder>>, _: &FlushFacts) -> Result<EncodedRows, StoreError> {
        let mut rows: Vec<(RowId, Row)> = Vec::new();
        for encoder in encoders {
            let encoder = encoder.into_any().downcast::<Encoder>();
            rows.extend(encoder.map_err(|_| self.error(Advice::Stop, "another kind of store"))?.rows);
        }
        Ok(EncodedRows::new(rows.len() as u64 * 30, rows))
    }

    fn append<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<Appended, StoreError>> {
        let rows: Vec<(RowId, Row)> = append.rows.inner::<Vec<(RowId, Row)>>().cloned().unwrap_or_default();
        let claims: Vec<Claim> = append.shares.iter().map(Claim::of).collect();
        let write = move |table: &mut Table, decisions: &[(Source, Decision)]| {
            for (id, row) in &rows {
                if keeps(decisions, &id.0, id.1, id.2) {
                    table.rows.entry(id.clone()).or_default().push(row.clone());
                }
            }
        };
        Box::pin(async move { self.append_to(append.table.as_str(), &claims, &append.facts, write).await })
    }
}

impl HomeStore for SimStore {
    fn settled<'a>(
        &'a self,
        sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, NextOffset>, StoreError>> {
        Box::pin(async move {
            let seen = self.snapshot("receipts").await?;
            let next = |source: &Source| Some((source.clone(), seen.progress.get(source)?.next?));
            Ok(sources.iter().filter_map(next).collect())
        })
    }

    fn take_over<'a>(
        &'a self,
        sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, Tenure>, StoreError>> {
        Box::pin(async move {
            let next = |seen: &Table| {
                let epoch = |source: &Source| seen.epochs.get(source).copied().unwrap_or_default().next();
                sources.iter().map(|source| (source.clone(), epoch(source))).collect()
            };
            let (owners, seen) = self.tell("receipts", next).await?;
            let tenure = |(source, epoch): (Source, Epoch)| {
                let progress = seen.progress.get(&source);
                let settled = progress.and_then(|progress| progress.next);
                let topic_id = progress.and_then(|progress| progress.topic_id);
                (source, Tenure { epoch, settled, topic_id })
            };
            Ok(owners.into_iter().map(tenure).collect())
        })
    }

    fn fence_quarantine<'a>(
        &'a self,
        tenures: &'a [(Source, Tenure)],
    ) -> BoxFuture<'a, Result<HashMap<Source, Unsettled>, StoreError>> {
        Box::pin(self.fence_table("quarantine", tenures))
    }

    fn quarantine<'a>(&'a self, append: &'a AppendQuarantine) -> BoxFuture<'a, Result<Appended, StoreError>> {
        let messages: Vec<_> = append
            .messages
            .iter()
            .map(|m| {
                let time_ms = m.broker_time_ms.unwrap_or_default();
                ((m.source.topic.to_string(), m.source.partition, m.offset), (m.reason, time_ms))
            })
            .collect();
        let claims: Vec<Claim> = append.shares.iter().map(Claim::of).collect();
        let write = move |table: &mut Table, decisions: &[(Source, Decision)]| {
            for (id, reason) in &messages {
                if keeps(decisions, &id.0, id.1, id.2) {
                    table.quarantined.entry(id.clone()).or_default().push(*reason);
                }
            }
        };
        Box::pin(async move { self.append_to("quarantine", &claims, &append.facts, write).await })
    }

    fn settle<'a>(&'a self, receipts: &'a [Receipt]) -> BoxFuture<'a, Result<Appended, StoreError>> {
        let claims: Vec<_> = receipts
            .iter()
            .map(|receipt| Claim {
                source: receipt.source.clone(),
                range: receipt.range,
                settled: Settled::Here,
                epoch: receipt.epoch,
                topic_id: receipt.topic_id,
            })
            .collect();
        let kept = receipts.iter().map(|receipt| (receipt.source.clone(), receipt.range, receipt.topic_id));
        let kept: Vec<_> = kept.collect();
        let write = move |table: &mut Table, decisions: &[(Source, Decision)]| {
            for ((_, decision), receipt) in decisions.iter().zip(&kept) {
                if *decision != Decision::AlreadyCommitted {
                    table.receipts.push(receipt.clone());
                }
            }
        };
        Box::pin(async move {
            let Some(first) = receipts.first() else {
                return Err(self.error(Advice::Stop, "no receipt"));
            };
            let facts = FlushFacts {
                flush_id: first.flush_id.clone(),
                pipeline: first.pipeline.clone(),
                policy: first.policy.clone(),
                schema: first.schema.clone(),
                definition: first.definition.clone(),
            };
            self.append_to("receipts", &claims, &facts, write).await
        })
    }

    fn archive<'a>(
        &'a self,
        _: Text,
        _: &'a ContentVersion,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        // The plant knows all texts that there are.
        Box::pin(async { Ok(()) })
    }

    fn archived<'a>(
        &'a self,
        _: Text,
        _: &'a ContentVersion,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async { Ok(None) })
    }
}
