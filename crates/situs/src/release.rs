//! Sending messages of quarantine through today's pipeline and policy (docs/quarantine.md).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use situs_decode::Schema;
use situs_ingest::{Stage, StageError};
use situs_model::store::{Advice, FlushFacts, HomeStore as _, StoreError, Text, ZoneStore as _};
use situs_model::{
    Coordinates, KeyRing, Ledger, NextOffset, PipelineName, RawBatch, Release, ReleaseEntry, ReleaseState,
    ResidentBatch, Source, StoreIdentity, ZoneId, permit,
};
use situs_observe::Metrics;
use situs_policy::Policy;
use situs_store::{Content, DeltaStore, LedgerStep, QuarantineEntry, QuarantineFilter, StoreReader};

use crate::catalog::{Catalog, Loaded};
use crate::site::Site;

/// Messages of one release at most, and the bytes that their rows may take in memory.
const RECORDS: usize = 1000;
const BYTES: usize = 64 << 20;
/// How often a store that cannot be written now is asked again, and how long the first pause is.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which messages.
    pub filter: QuarantineFilter,
    /// How many at most.
    pub limit: Option<usize>,
    /// Who asks. Without a name nothing is changed: it is only told what would become of each.
    pub by: Option<String>,
}

/// What became of a message, or would become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The message.
    pub record: Coordinates,
    /// Why it was in quarantine.
    pub reason: String,
    /// What became of it.
    pub fate: Fate,
}

/// See [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its rows go to these zones.
    Released {
        /// Rows of each zone.
        zones: BTreeMap<ZoneId, u64>,
        /// The release; `None` if it is only told.
        release: Option<String>,
    },
    /// It cannot be placed today either, for this reason.
    Stays(String),
    /// It was released before.
    Earlier(String),
    /// Another release has begun with it and is not finished.
    Begun(String),
    /// It cannot be released now.
    Refused(&'static str),
}

/// How often each thing became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Released, or to be released.
    pub released: u64,
    /// Rows of these.
    pub rows: u64,
    /// Still in quarantine alone.
    pub stay: u64,
    /// Released before, or begun.
    pub earlier: u64,
}

impl Tally {
    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Released { zones, .. } => {
                self.released += 1;
                self.rows += zones.values().sum::<u64>();
            }
            Fate::Stays(_) | Fate::Refused(_) => self.stay += 1,
            Fate::Earlier(_) | Fate::Begun(_) => self.earlier += 1,
        }
    }
}

/// What today's pipeline and policy make of a message.
pub(crate) enum Judged {
    Placed(Vec<ResidentBatch>),
    Stays(String),
}

/// A message that can be placed.
struct Candidate {
    record: Coordinates,
    reason: String,
    batches: Vec<ResidentBatch>,
}

impl Candidate {
    fn zones(&self) -> BTreeMap<ZoneId, u64> {
        let mut zones = BTreeMap::new();
        for batch in &self.batches {
            *zones.entry(batch.zone().clone()).or_default() += batch.rows().num_rows() as u64;
        }
        zones
    }

    fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows().get_array_memory_size()).sum()
    }
}

/// Releases messages of a home.
#[derive(Debug)]
pub struct Releaser<'a> {
    site: &'a Site,
    catalog: &'a Catalog,
    home: Arc<DeltaStore>,
    stores: BTreeMap<ZoneId, Arc<DeltaStore>>,
    zones: BTreeSet<ZoneId>,
    reader: StoreReader,
    stages: HashMap<PipelineName, Stage>,
    keys: Arc<KeyRing>,
}

impl<'a> Releaser<'a> {
    /// Opens the stores of a home.
    ///
    /// # Errors
    /// If one of them is not there, or is not what the site says.
    pub async fn open(site: &'a Site, catalog: &'a Catalog) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let keys = site.key_ring(catalog)?;
        site.check_roots()?;
        let mut stores = BTreeMap::new();
        for (zone, root) in &site.stores {
            let store = DeltaStore::open(root, zone, metrics.clone()).await?;
            stores.insert(zone.clone(), Arc::new(store));
        }
        let no_store = || format!("the home zone `{}` has no store", site.home_zone);
        let home = stores.get(&site.home_zone).cloned().with_context(no_store)?;
        let reader = StoreReader::open(site.stores.get(&site.home_zone).with_context(no_store)?)?;
        let zones = stores.keys().cloned().collect();
        Ok(Self { site, catalog, home, stores, zones, reader, stages: HashMap::new(), keys })
    }

    /// The pipeline that reads a topic at this home today.
    fn pipeline_of(&self, topic: &str) -> Option<&'a Loaded> {
        let enabled = &self.site.enabled;
        self.catalog.pipelines.iter().find(|loaded| {
            let name = &loaded.pipeline.name;
            (enabled.is_empty() || enabled.contains(name))
                && loaded.pipeline.topics.iter().any(|read| &**read == topic)
        })
    }

    fn source(&self, record: &Coordinates) -> Source {
        let cluster = self.site.kafka.cluster.clone();
        Source { cluster, topic: record.topic.clone(), partition: record.partition }
    }

    /// Releases messages, and tells of each when it is decided.
    ///
    /// # Errors
    /// If a store cannot be read or written. What had begun by then stands in the ledger and is finished by
    /// [`resume`](Self::resume).
    pub async fn release(
        &mut self,
        request: &Request,
        mut tell: impl FnMut(&Outcome),
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut tell = |outcome: Outcome| {
            tally.add(&outcome.fate);
            tell(&outcome);
        };
        let (chosen, twice) = self.choose(request).await?;
        if chosen.is_empty() {
            return Ok(Tally::default());
        }
        let sources: HashSet<Source> = chosen.iter().map(|record| self.source(record)).collect();
        let sources: Vec<Source> = sources.into_iter().collect();
        let settled = self.home.settled(&sources).await?;
        let ledger = self.home.ledger().await?;
        let filter = QuarantineFilter { records: chosen, ..QuarantineFilter::default() };
        let mut scan = self.reader.quarantine(filter, true).await?;
        let mut waiting: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
        while let Some(messages) = scan.next_batch()? {
            for (entry, content) in messages {
                let QuarantineEntry { record, reason, .. } = &entry;
                let is_settled =
                    settled.get(&self.source(record)).is_some_and(|settled| record.offset < settled.0);
                let loaded = self.pipeline_of(&record.topic);
                let fate = match (ledger.state(record), loaded) {
                    (ReleaseState::Released(release), _) => Fate::Earlier(release.id.clone()),
                    (ReleaseState::Begun(release), _) => Fate::Begun(release.id.clone()),
                    _ if twice.contains(record) => {
                        Fate::Refused("two messages in quarantine have these coordinates")
                    }
                    _ if !is_settled => Fate::Refused("the flush that quarantined it is not settled"),
                    (ReleaseState::Held, None) => Fate::Refused("no pipeline reads its topic at this home"),
                    (ReleaseState::Held, Some(loaded)) => match self.judge(loaded, &entry, &content)? {
                        Judged::Stays(reason) => Fate::Stays(reason),
                        Judged::Placed(batches) => {
                            let name = loaded.pipeline.name.as_str();
                            let candidates = waiting.entry(name).or_default();
                            candidates.push(Candidate {
                                record: record.clone(),
                                reason: reason.clone(),
                                batches,
                            });
                            let bytes: usize = candidates.iter().map(Candidate::bytes).sum();
                            if candidates.len() >= RECORDS || bytes >= BYTES {
                                let candidates = waiting.remove(name).unwrap_or_default();
                                self.commit(loaded, candidates, request, &mut tell).await?;
                            }
                            continue;
                        }
                    },
                };
                tell(Outcome { record: record.clone(), reason: reason.clone(), fate });
            }
        }
        for (name, candidates) in waiting {
            self.commit(self.catalog.pipeline(name)?, candidates, request, &mut tell).await?;
        }
        Ok(tally)
    }

    /// The messages that are meant, and those that share their coordinates with another.
    async fn choose(
        &self,
        request: &Request,
    ) -> anyhow::Result<(BTreeSet<Coordinates>, BTreeSet<Coordinates>)> {
        let (mut seen, mut twice) = (HashSet::new(), BTreeSet::new());
        let mut chosen = BTreeSet::new();
        let mut scan = self.reader.quarantine(QuarantineFilter::default(), false).await?;
        while let Some(messages) = scan.next_batch()? {
            for (entry, _) in messages {
                let room = request.limit.is_none_or(|limit| chosen.len() < limit);
                if room && request.filter.takes(&entry) {
                    chosen.insert(entry.record.clone());
                }
                if !seen.insert(entry.record.clone()) {
                    twice.insert(entry.record);
                }
            }
        }
        Ok((chosen, twice))
    }

    fn judge(
        &mut self,
        loaded: &Loaded,
        entry: &QuarantineEntry,
        content: &Content,
    ) -> anyhow::Result<Judged> {
        let source = self.source(&entry.record);
        let name = &loaded.pipeline.name;
        if !self.stages.contains_key(name) {
            self.stages.insert(name.clone(), loaded.stage(&self.catalog.policy, &self.keys)?);
        }
        let stage = self.stages.get_mut(name).context("a stage that was just made")?;
        judge(stage, source, entry, content, &self.zones)
    }

    /// Begins and finishes a release of messages of one pipeline; without a name, only tells.
    async fn commit(
        &self,
        loaded: &Loaded,
        mut candidates: Vec<Candidate>,
        request: &Request,
        tell: &mut impl FnMut(Outcome),
    ) -> anyhow::Result<()> {
        let told = |candidate: &Candidate, fate| Outcome {
            record: candidate.record.clone(),
            reason: candidate.reason.clone(),
            fate,
        };
        let released = |candidate: &Candidate, release| {
            told(candidate, Fate::Released { zones: candidate.zones(), release })
        };
        let Some(by) = &request.by else {
            candidates.iter().for_each(|candidate| tell(released(candidate, None)));
            return Ok(());
        };
        let policy = &self.catalog.policy;
        let schema = self
            .site
            .library
            .schema(&loaded.pipeline.schema)
            .map_err(|problem| situs_model::doc::Diagnostics(vec![problem]))?;
        let version = loaded.schema.version();
        if situs_model::ContentVersion::of(schema.text.as_bytes()) != *version {
            bail!("{} changed while it was in use; try again", schema.name);
        }
        // What it takes to finish the release after a crash, under other definitions.
        self.home.archive(Text::Policy, policy.version(), policy.text()).await?;
        self.home.archive(Text::Schema, version, &schema.text).await?;
        let id = format!("release-{}", uuid::Uuid::now_v7());
        let facts = FlushFacts {
            flush_id: id.clone(),
            pipeline: loaded.pipeline.name.clone(),
            policy: policy.version().clone(),
            schema: version.clone(),
            definition: loaded.pipeline.version.clone(),
        };
        let release = loop {
            let ledger = self.home.ledger().await?;
            if let Some(ours) = ledger.release(&id) {
                // It had begun, and the answer was lost.
                break ours.clone();
            }
            candidates.retain(|candidate| {
                let fate = match ledger.state(&candidate.record) {
                    ReleaseState::Held => return true,
                    ReleaseState::Begun(other) => Fate::Begun(other.id.clone()),
                    ReleaseState::Released(other) => Fate::Earlier(other.id.clone()),
                };
                tell(told(candidate, fate));
                false
            });
            if candidates.is_empty() {
                return Ok(());
            }
            let release = self.release_of(&id, by, &facts, &candidates)?;
            self.expect_no_deletion()?;
            let begin = async || self.home.begin_release(&ledger, &release, &facts).await;
            if persist(begin).await? == LedgerStep::Written {
                // A deletion writes its plan and then looks for releases, so one of both sees the other.
                self.expect_no_deletion()?;
                break release;
            }
        };
        let batches = candidates.iter().flat_map(|candidate| candidate.batches.iter().cloned()).collect();
        self.finish(&release, batches, &facts).await?;
        candidates.iter().for_each(|candidate| tell(released(candidate, Some(id.clone()))));
        Ok(())
    }

    /// Refuses while a deletion of the home store is not finished: it may be about these messages.
    fn expect_no_deletion(&self) -> anyhow::Result<()> {
        if let Some(id) = self.home.deletions_under_way()?.first() {
            anyhow::bail!(
                "deletion {id} of the home store is not finished: `situs store delete --finish` finishes it, then release again"
            );
        }
        Ok(())
    }

    fn release_of(
        &self,
        id: &str,
        by: &str,
        facts: &FlushFacts,
        candidates: &[Candidate],
    ) -> anyhow::Result<Release> {
        let mut entries = Vec::new();
        for candidate in candidates {
            for (zone, rows) in candidate.zones() {
                let target = self.target(&zone)?.identity().clone();
                let (record, reason) = (candidate.record.clone(), candidate.reason.clone());
                entries.push(ReleaseEntry { record, reason, target, rows });
            }
        }
        Ok(Release {
            id: id.to_owned(),
            pipeline: facts.pipeline.clone(),
            policy: facts.policy.to_string(),
            schema: facts.schema.to_string(),
            by: by.to_owned(),
            begun_us: chrono::Utc::now().timestamp_micros(),
            entries,
            done_us: None,
        })
    }

    fn target(&self, zone: &ZoneId) -> anyhow::Result<&Arc<DeltaStore>> {
        self.stores.get(zone).with_context(|| format!("zone {zone} has no store at this home"))
    }

    /// Puts the rows of a release that has begun where they are not yet, and ends it.
    async fn finish(
        &self,
        release: &Release,
        batches: Vec<ResidentBatch>,
        facts: &FlushFacts,
    ) -> anyhow::Result<()> {
        let unfinished =
            || format!("release {} has begun; `situs quarantine release --resume` finishes it", release.id);
        let mut of_zone: BTreeMap<ZoneId, Vec<ResidentBatch>> = BTreeMap::new();
        for batch in batches {
            of_zone.entry(batch.zone().clone()).or_default().push(batch);
        }
        let mut placed = Vec::new();
        for target in release.targets() {
            let StoreIdentity { zone, store_id } = &target;
            let store = self.target(zone).with_context(unfinished)?;
            if store.identity() != &target {
                return Err(anyhow::anyhow!("the store of zone {zone} is not {store_id} any more"))
                    .with_context(unfinished);
            }
            let mut encoder = store.encoder();
            for batch in of_zone.remove(zone).unwrap_or_default() {
                encoder.write(permit(batch, store.identity())?)?;
            }
            let rows = store.finish(vec![encoder], facts)?;
            let cluster = &self.site.kafka.cluster;
            let append = async || store.append_released(release, cluster, &rows, facts).await;
            placed.push(persist(append).await.with_context(unfinished)?);
        }
        loop {
            let ledger = self.home.ledger().await.with_context(unfinished)?;
            let now = chrono::Utc::now().timestamp_micros();
            let end = async || self.home.end_release(&ledger, release, &placed, now, facts).await;
            if persist(end).await.with_context(unfinished)? == LedgerStep::Written {
                return Ok(());
            }
        }
    }

    /// Finishes the releases that began and were cut off, under the policy and the schema that they began
    /// with, and tells of each by its id and number of messages.
    ///
    /// # Errors
    /// If one cannot be finished; nothing of it is lost, and it can be tried again.
    pub async fn resume(&self, mut tell: impl FnMut(&str, usize)) -> anyhow::Result<u64> {
        let ledger: Ledger = self.home.ledger().await?;
        let mut count = 0;
        for release in ledger.unfinished() {
            self.expect_no_deletion()?;
            self.resume_one(release)
                .await
                .with_context(|| format!("release {} of {} cannot be finished", release.id, release.by))?;
            tell(&release.id, release.entries.len());
            count += 1;
        }
        Ok(count)
    }

    async fn resume_one(&self, release: &Release) -> anyhow::Result<()> {
        let loaded = self.catalog.pipeline(release.pipeline.as_str())?;
        let policy = if self.catalog.policy.version().as_str() == release.policy {
            self.catalog.policy.clone()
        } else {
            let text = self.home.archived(Text::Policy, &release.policy.parse()?).await?;
            let text = text.with_context(|| format!("its policy {} is not archived", release.policy))?;
            Arc::new(Policy::parse("the archived policy", &text)?)
        };
        let schema = if loaded.schema.version().as_str() == release.schema {
            loaded.schema.clone()
        } else {
            let text = self.home.archived(Text::Schema, &release.schema.parse()?).await?;
            let text = text.with_context(|| format!("its schema {} is not archived", release.schema))?;
            Arc::new(Schema::parse("the archived schema", &text, &loaded.pipeline.device)?)
        };
        let facts = FlushFacts {
            flush_id: release.id.clone(),
            pipeline: release.pipeline.clone(),
            policy: policy.version().clone(),
            schema: schema.version().clone(),
            definition: loaded.pipeline.version.clone(),
        };
        let mut stage = Loaded { schema, ..loaded.clone() }.stage(&policy, &self.keys)?;
        let mut expected: BTreeMap<(Coordinates, ZoneId), u64> = BTreeMap::new();
        for entry in &release.entries {
            expected.insert((entry.record.clone(), entry.target.zone.clone()), entry.rows);
        }
        let records = release.entries.iter().map(|entry| entry.record.clone()).collect();
        let filter = QuarantineFilter { records, ..QuarantineFilter::default() };
        let mut scan = self.reader.quarantine(filter, true).await?;
        let mut batches = Vec::new();
        while let Some(messages) = scan.next_batch()? {
            for (entry, content) in messages {
                let source = self.source(&entry.record);
                let Judged::Placed(placed) = judge(&mut stage, source, &entry, &content, &self.zones)? else {
                    bail!("{} can no longer be placed", entry.record);
                };
                let candidate = Candidate { record: entry.record, reason: entry.reason, batches: placed };
                for (zone, rows) in candidate.zones() {
                    let key = (candidate.record.clone(), zone);
                    if expected.remove(&key) != Some(rows) {
                        bail!("{} is placed otherwise than when the release began", key.0);
                    }
                }
                batches.extend(candidate.batches);
            }
        }
        if let Some(((record, zone), _)) = expected.pop_first() {
            bail!("{record} gives no rows for zone {zone} any more");
        }
        self.finish(release, batches, &facts).await
    }
}

/// Sends one message through a stage, alone: what becomes of it must not depend on which others are
/// released with it.
pub(crate) fn judge(
    stage: &mut Stage,
    source: Source,
    entry: &QuarantineEntry,
    content: &Content,
    zones: &BTreeSet<ZoneId>,
) -> anyhow::Result<Judged> {
    stage.forget(&source);
    let offset = entry.record.offset;
    let mut raw = RawBatch::new(source, NextOffset(offset), entry.ingest_time_us);
    let broker_time_ms = entry.broker_time_us.map(|micros| micros.div_euclid(1000));
    let headers = content.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
    raw.push(offset, broker_time_ms, content.key.as_deref(), content.payload.as_deref(), headers);
    let split = match stage.turn(raw, zones) {
        Ok((split, _)) => split,
        Err(StageError::TooMuchPoison { .. }) => return Ok(Judged::Stays("poison".to_owned())),
        Err(error) => return Err(error.into()),
    };
    if let Some(message) = split.quarantined.first() {
        return Ok(Judged::Stays(message.reason.to_string()));
    }
    if split.resident.is_empty() {
        let kind = split.notes.without_rows.keys().next().map_or("no rows", |kind| kind);
        return Ok(Judged::Stays(format!("gives no row: {kind}")));
    }
    Ok(Judged::Placed(split.resident))
}

/// Tries again for a while where a store says that it may get better.
async fn persist<T>(mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) -> anyhow::Result<T> {
    let mut tries = 1;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if error.advice == Advice::Retry && tries < TRIES => {
                tracing::warn!(event = "store-retry", "{error}");
                tokio::time::sleep(PAUSE * tries).await;
                tries += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
