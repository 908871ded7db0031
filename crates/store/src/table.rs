//! One table and its one committer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use situs_model::invariant::Invariant;
use situs_model::store::{Appended, EncodedRows, Tenure, Unsettled, Versions};
use situs_model::{Decision, Epoch, FileFact, NextOffset, Source, StoreIdentity, TableName};
use situs_observe::Metrics;
use tokio::sync::Mutex;

use crate::chain::{self, Hash, Head};
use crate::encode::files::{self, Written};
use crate::encode::{self, Encoded, Encoder};
use crate::entry;
use crate::error::Fault;
use crate::lease::{Leases, Staging};
use crate::log::{self, CommitId, Fate, Freshness, Partitions, Progress, TableState};
use crate::names;
use crate::root;
use crate::schema;
use crate::work::{Claim, Keep, Layout, Rows, Work, refusal, superseded};
use crate::{disk, durable};

/// How often a commit is tried when others come between before the caller is told to wait.
const TRIES: u64 = 10;

/// A table of a store. Appends to it wait for each other.
#[derive(Debug)]
pub(crate) struct Table {
    name: TableName,
    root: PathBuf,
    folder: PathBuf,
    identity: StoreIdentity,
    metrics: Arc<Metrics>,
    leases: Arc<Leases>,
    /// The table as it was after the last look; `None` if it must be loaded, or does not exist.
    state: Mutex<Option<TableState>>,
    /// What shall go wrong with the next commit, for tests.
    #[cfg(test)]
    pub(crate) mishap: std::sync::Mutex<Option<Mishap>>,
}

/// What can go wrong with a commit that no file system does on request.
#[cfg(test)]
pub(crate) struct Mishap {
    pub(crate) kind: MishapKind,
    /// What happens before the log is looked at again.
    pub(crate) meanwhile: situs_model::store::BoxFuture<'static, ()>,
}

/// See [`Mishap`].
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MishapKind {
    /// The entry is written, but the answer is an error.
    LostAnswer,
    /// The entry is not written.
    Refused,
    /// Others act between the look that found no table and its creation.
    Outrun,
    /// Others act between the staging of the files and the commit, as if this process were stopped.
    Stopped,
}

#[cfg(test)]
impl std::fmt::Debug for Mishap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

/// Files that were written for an outcome of the decisions.
struct Placed {
    keeps: Vec<Keep>,
    /// What the receipts in them continue.
    previous: Vec<Option<Hash>>,
    /// The newest receipts once the files are committed, by application id.
    heads: Vec<(String, Head)>,
    files: Vec<Written>,
    /// Since before the first of the files.
    staging: Arc<Staging>,
}

/// What a try to commit came to.
enum Outcome {
    Committed(u64),
    Conflict,
    /// It failed and certainly is not in the log.
    Failed(Fault),
    /// Whether it is in the log could not be found out.
    Unknown(Fault),
}

impl Table {
    pub(crate) fn new(
        root: &Path,
        name: TableName,
        identity: StoreIdentity,
        metrics: Arc<Metrics>,
        leases: Arc<Leases>,
    ) -> Self {
        Self {
            leases,
            root: root.to_owned(),
            folder: names::table(root, &name),
            name,
            identity,
            metrics,
            state: Mutex::new(None),
            #[cfg(test)]
            mishap: std::sync::Mutex::default(),
        }
    }

    /// Makes a process the owner of partitions, each in an epoch after all those before, in a table that
    /// settles; in which epoch, and what was settled.
    pub(crate) async fn take_over(
        &self,
        layout: Layout,
        columns: &SchemaRef,
        sources: &[Source],
    ) -> Result<Vec<Tenure>, Fault> {
        let mut state = self.state.lock().await;
        let next =
            |state: &TableState| sources.iter().map(|s| (s, state.partitions.epoch(s).next())).collect();
        let owners = self.tell(&mut state, layout, columns, next).await?;
        let settled = |source: &Source| Some(state.as_ref()?.partitions.progress(&source.app_id())?.next);
        Ok(owners.into_iter().map(|(source, epoch)| Tenure { epoch, settled: settled(source) }).collect())
    }

    /// Tells the table who owns partitions; what it has of them beyond their settled offsets.
    pub(crate) async fn fence(
        &self,
        layout: Layout,
        columns: &SchemaRef,
        tenures: &[(Source, Tenure)],
    ) -> Result<HashMap<Source, Unsettled>, Fault> {
        let mut state = self.state.lock().await;
        let owners = |_: &TableState| tenures.iter().map(|(source, tenure)| (source, tenure.epoch)).collect();
        self.tell(&mut state, layout, columns, owners).await?;
        let Some(state) = state.as_ref() else { return Err(self.vanished()) };
        let mut unsettled = HashMap::new();
        for (source, tenure) in tenures {
            let Some(progress) = state.partitions.progress(&source.app_id()) else { continue };
            if tenure.settled.is_some_and(|settled| progress.next <= settled) {
                continue;
            }
            let versions = self.versions_of(state, source, progress).await?;
            unsettled.insert(source.clone(), Unsettled { until: progress.next, versions });
        }
        Ok(unsettled)
    }

    /// By which texts a partition was brought to where it is.
    async fn versions_of(
        &self,
        state: &TableState,
        source: &Source,
        progress: &Progress,
    ) -> Result<Versions, Fault> {
        let mut commit = progress.commit.clone();
        if commit.is_none() {
            let (folder, version, id) = (self.folder.clone(), state.version, source.app_id());
            commit = disk::blocking(move || log::commit_of(&folder, version, &id)).await??;
        }
        let versions = commit.and_then(|commit| commit.versions);
        versions.map(|versions| versions.as_ref().clone()).ok_or_else(|| {
            Fault::stop(format!(
                "table `{}`: {source} is at {} here, which no receipt settles, and the log does not say any \
                 more by which policy it was written",
                self.name, progress.next
            ))
        })
    }

    /// Tells the table of owners, unless it knows of them; who they are, by the state that it was told on.
    async fn tell<'a>(
        &self,
        state: &mut Option<TableState>,
        layout: Layout,
        columns: &SchemaRef,
        owners: impl Fn(&TableState) -> Vec<(&'a Source, Epoch)>,
    ) -> Result<Vec<(&'a Source, Epoch)>, Fault> {
        let result = self.try_to_tell(state, layout, columns, owners).await;
        if result.is_err() {
            *state = None;
        }
        result
    }

    async fn try_to_tell<'a>(
        &self,
        state: &mut Option<TableState>,
        layout: Layout,
        columns: &SchemaRef,
        owners: impl Fn(&TableState) -> Vec<(&'a Source, Epoch)>,
    ) -> Result<Vec<(&'a Source, Epoch)>, Fault> {
        for conflicts in 0..TRIES {
            if conflicts > 0 {
                self.metrics.commit_conflicts.with_label_values(&[self.identity.zone.as_str()]).inc();
                disk::pause(pause(conflicts)).await;
            }
            self.freshen(state).await?;
            if state.is_none() {
                self.create(columns, layout).await?;
                self.freshen(state).await?;
            }
            let Some(current) = state.as_ref() else { return Err(self.vanished()) };
            let owners = owners(current);
            let mut news = Vec::new();
            for (source, epoch) in &owners {
                let known = current.partitions.epoch(source);
                if known > *epoch {
                    return Err(superseded(source, known));
                }
                if known < *epoch {
                    news.push((*source, *epoch));
                }
            }
            if news.is_empty() {
                return Ok(owners);
            }
            let bytes = entry::fence(current, layout, &news)?;
            let apply = |partitions: &mut Partitions, _| {
                news.iter().for_each(|(source, epoch)| partitions.take(&source.epoch_id(), epoch.0, None));
            };
            match self.commit(state, bytes, false, self.leases.stage(), apply).await {
                Outcome::Committed(_) => return Ok(owners),
                Outcome::Conflict => {}
                Outcome::Failed(fault) | Outcome::Unknown(fault) => return Err(fault),
            }
        }
        Err(self.crowded())
    }

    fn crowded(&self) -> Fault {
        Fault::retry(format!("table `{}`: others commit all the time", self.name))
    }

    fn vanished(&self) -> Fault {
        Fault::retry(format!("table `{}` has vanished", self.name))
    }

    /// The offsets that partitions have reached, of those that have one.
    pub(crate) async fn progress(&self, app_ids: &[String]) -> Result<Vec<Option<NextOffset>>, Fault> {
        let mut state = self.state.lock().await;
        self.freshen(&mut state).await?;
        let next = |id: &String| Some(state.as_ref()?.partitions.progress(id)?.next);
        Ok(app_ids.iter().map(next).collect())
    }

    /// Appends rows and moves offsets in one commit, or finds that this was done before.
    pub(crate) async fn append(&self, work: &Work) -> Result<Appended, Fault> {
        let rows = match &work.rows {
            Rows::Encoded(rows) => Some(rows.clone()),
            Rows::Batches(batches) => Some(self.encode(work, batches.clone()).await?),
            Rows::Receipts(_) => None,
        };
        let encoded = match &rows {
            Some(rows) => Some(rows.inner::<Encoded>().ok_or_else(other_kind)?),
            None => None,
        };
        if let Some(encoded) = encoded
            && encoded.store != self.identity
        {
            self.metrics.permits_refused.with_label_values(&[self.identity.zone.as_str()]).inc();
            return Err(Fault::stop(format!("rows have a permit for {}", encoded.store)));
        }
        work.check(encoded)?;
        let columns = match &work.rows {
            Rows::Receipts(receipts) => receipts.columns(),
            Rows::Encoded(_) | Rows::Batches(_) => encoded.and_then(|encoded| encoded.rows.clone()),
        };
        let mut state = self.state.lock().await;
        let result = self.append_to(&mut state, work, rows.as_ref(), columns.as_ref()).await;
        if result.is_err() {
            // After an error nothing that is remembered is trusted.
            *state = None;
        }
        result
    }

    async fn append_to(
        &self,
        state: &mut Option<TableState>,
        work: &Work,
        rows: Option<&EncodedRows>,
        columns: Option<&SchemaRef>,
    ) -> Result<Appended, Fault> {
        let mut placed: Option<Placed> = None;
        let started = Instant::now();
        let mut conflicts = 0;
        loop {
            let step = self.try_once(state, work, rows, columns, &mut placed).await;
            let (decisions, outcome) = match step {
                Ok(step) => step,
                Err(fault) => {
                    self.discard(placed);
                    return Err(fault);
                }
            };
            let done = |version, files: Vec<FileFact>| Appended {
                version,
                files,
                decisions,
                conflicts,
                commit: started.elapsed(),
            };
            match outcome {
                None => {
                    self.discard(placed);
                    return Ok(done(None, Vec::new()));
                }
                Some(Outcome::Committed(version)) => {
                    let files = placed.map(|placed| placed.files).unwrap_or_default();
                    self.count(&files);
                    return Ok(done(Some(version), files.into_iter().map(|file| file.fact).collect()));
                }
                Some(Outcome::Failed(fault)) => {
                    self.discard(placed);
                    return Err(fault);
                }
                // The files stay: a commit may name them.
                Some(Outcome::Unknown(fault)) => return Err(fault),
                Some(Outcome::Conflict) => {
                    conflicts += 1;
                    self.metrics.commit_conflicts.with_label_values(&[self.identity.zone.as_str()]).inc();
                    if conflicts >= TRIES {
                        self.discard(placed);
                        return Err(self.crowded());
                    }
                    disk::pause(pause(conflicts)).await;
                }
            }
        }
    }

    /// Reads the newest state, decides on it, and commits against it and no other. `None` if there is
    /// nothing to commit.
    async fn try_once(
        &self,
        state: &mut Option<TableState>,
        work: &Work,
        rows: Option<&EncodedRows>,
        columns: Option<&SchemaRef>,
        placed: &mut Option<Placed>,
    ) -> Result<(Vec<(Source, Decision)>, Option<Outcome>), Fault> {
        self.freshen(state).await?;
        let mut decisions = self.decide(state.as_ref(), work)?;
        if state.is_none() && keeps(&decisions).any(|keep| keep != Keep::Nothing) {
            let Some(columns) = columns else {
                // No rows and no table: the receipts say how far the partitions are.
                return Ok((decisions, None));
            };
            self.create(columns, work.layout).await?;
            // Ours or another's, the table is there now; and whoever made it may have committed too.
            self.freshen(state).await?;
            decisions = self.decide(state.as_ref(), work)?;
        }
        let keeps: Vec<Keep> = keeps(&decisions).collect();
        if keeps.iter().all(|keep| *keep == Keep::Nothing) {
            return Ok((decisions, None));
        }
        let previous = self.previous(state.as_mut(), work, &keeps).await?;
        let Some(current) = state.as_ref() else {
            return Err(self.vanished());
        };
        let widened = match columns {
            Some(columns) => schema::widened(&current.schema, columns)
                .map_err(|fault| Fault::stop(format!("table `{}`: {}", self.name, fault.message)))?,
            None => None,
        };
        if placed.as_ref().is_none_or(|placed| placed.keeps != keeps || placed.previous != previous) {
            self.discard(placed.take());
            *placed = Some(self.place_new(work, rows, &keeps, previous).await?);
        }
        let Some(Placed { files, staging, .. }) = placed else {
            return Err(Fault::stop("nothing was staged"));
        };
        let bytes = entry::append(current, widened.as_ref(), work, &keeps, files)?;
        let staging = staging.clone();
        let flush: Arc<str> = work.facts.flush_id.as_str().into();
        let versions = Some(Arc::new(work.facts.versions()));
        let apply = |partitions: &mut Partitions, version| {
            let commit = CommitId { version, flush: Some(flush), versions };
            for (claim, keep) in work.claims.iter().zip(&keeps) {
                if *keep != Keep::Nothing {
                    partitions.take(&claim.app_id, claim.range.end.0, Some(&commit));
                }
            }
        };
        let outcome = self.commit(state, bytes, widened.is_some(), staging, apply).await;
        if let (Outcome::Committed(_), Some(state), Some(placed)) = (&outcome, state, placed) {
            state.heads.extend(placed.heads.iter().cloned());
        }
        Ok((decisions, Some(outcome)))
    }

    /// The hashes of the receipts that those of this append continue, one for each claim; empty if it
    /// appends none. Decided on the state that the commit is made against, since another process may have
    /// settled between.
    async fn previous(
        &self,
        state: Option<&mut TableState>,
        work: &Work,
        keeps: &[Keep],
    ) -> Result<Vec<Option<Hash>>, Fault> {
        let (Rows::Receipts(_), Some(state)) = (&work.rows, state) else { return Ok(Vec::new()) };
        let mut unknown = Vec::new();
        for (claim, keep) in work.claims.iter().zip(keeps) {
            if let (Some(progress), false) =
                (state.partitions.progress(&claim.app_id), *keep == Keep::Nothing)
                && state.heads.get(&claim.app_id).is_none_or(|head| head.end != progress.next)
            {
                unknown.push((claim.app_id.clone(), claim.source.clone(), progress.clone()));
            }
        }
        if !unknown.is_empty() {
            let folder = self.folder.clone();
            state.heads.extend(disk::blocking(move || chain::heads(&folder, &unknown)).await??);
        }
        let previous = |claim: &Claim| {
            let next = state.partitions.progress(&claim.app_id)?.next;
            state.heads.get(&claim.app_id).filter(|head| head.end == next)?.hash.clone()
        };
        Ok(work.claims.iter().map(previous).collect())
    }

    /// Writes the files of an outcome of the decisions.
    async fn place_new(
        &self,
        work: &Work,
        rows: Option<&EncodedRows>,
        keeps: &[Keep],
        previous: Vec<Option<Hash>>,
    ) -> Result<Placed, Fault> {
        let staging = self.leases.stage();
        let (files, heads) = match (&work.rows, rows) {
            (Rows::Receipts(receipts), _) => {
                let linked = receipts.link(&previous)?;
                let rows = self.encode(work, linked.rows).await?;
                let head = |(claim, hash): (&Claim, Hash)| {
                    (claim.app_id.clone(), Head { end: claim.range.end, hash: Some(hash) })
                };
                let heads = work.claims.iter().zip(linked.hashes).zip(keeps);
                let heads = heads.filter(|(_, keep)| **keep != Keep::Nothing).map(|(new, _)| head(new));
                (self.place(work, &rows, keeps).await?, heads.collect())
            }
            (_, Some(rows)) => (self.place(work, rows, keeps).await?, Vec::new()),
            (_, None) => return Err(other_kind()),
        };
        Ok(Placed { keeps: keeps.to_vec(), previous, heads, files, staging })
    }

    /// Brings the state to the newest version, and makes sure that it is still this store's (RES-8).
    async fn freshen(&self, state: &mut Option<TableState>) -> Result<(), Fault> {
        // Taken out, so that nothing half refreshed stays if this fails or is dropped.
        if let Some(mut current) = state.take() {
            let folder = self.folder.clone();
            let (current, freshness) = disk::blocking(move || {
                let freshness = current.refresh(&folder);
                (current, freshness)
            })
            .await?;
            if freshness? == Freshness::Fresh {
                self.expect_store().await?;
                *state = Some(current);
                return Ok(());
            }
        }
        let loaded = log::load(&self.folder).await?;
        // Afterwards, since what was read counts only if this store was there: no table, above all.
        self.expect_store().await?;
        *state = loaded;
        Ok(())
    }

    async fn expect_store(&self) -> Result<(), Fault> {
        let (root, identity) = (self.root.clone(), self.identity.clone());
        disk::blocking(move || root::expect_store(&root, &identity)).await?
    }

    fn decide(&self, state: Option<&TableState>, work: &Work) -> Result<Vec<(Source, Decision)>, Fault> {
        let mut decisions = Vec::with_capacity(work.claims.len());
        for claim in &work.claims {
            let progress = state.and_then(|state| state.partitions.progress(&claim.app_id));
            let epoch = state.map_or_else(Epoch::default, |state| state.partitions.epoch(&claim.source));
            let decision = claim.decide(progress, epoch, &work.facts.flush_id);
            if let Some(fault) = refusal(&claim.source, claim.range, decision) {
                // A zombie that is fenced is the promise kept; only a gap would break it.
                if matches!(decision, Decision::Gap { .. }) {
                    self.metrics.invariant_violations.with_label_values(&[Invariant::Eo3.as_str()]).inc();
                }
                return Err(fault);
            }
            decisions.push((claim.source.clone(), decision));
        }
        Ok(decisions)
    }

    /// Creates the table; that another was faster is no error.
    async fn create(&self, columns: &SchemaRef, layout: Layout) -> Result<(), Fault> {
        #[cfg(test)]
        let outrun = self.mishap.lock().unwrap().take_if(|mishap| mishap.kind == MishapKind::Outrun);
        #[cfg(test)]
        if let Some(outrun) = outrun {
            outrun.meanwhile.await;
        }
        let bytes = entry::create(&self.name, &schema::table_schema(columns)?, layout)?;
        let (root, folder, identity) = (self.root.clone(), self.folder.clone(), self.identity.clone());
        disk::blocking(move || {
            root::expect_store(&root, &identity)?;
            durable::ensure_folder(&folder)?;
            durable::ensure_folder(&names::log(&folder))?;
            durable::create(&names::log_entry(&folder, 0), &bytes)?;
            Ok(())
        })
        .await?
    }

    /// Rows of an append, encoded.
    async fn encode(&self, work: &Work, batches: Vec<(Source, RecordBatch)>) -> Result<EncodedRows, Fault> {
        let (identity, layout) = (self.identity.clone(), work.layout);
        let facts = entry::file_facts(&self.identity, &work.facts);
        disk::blocking(move || {
            let mut encoder = Encoder::new(identity.clone(), layout);
            for (source, rows) in &batches {
                encoder.add(source, rows)?;
            }
            encode::finish(&identity, vec![Box::new(encoder)], &facts).map(Encoded::into_rows)
        })
        .await?
    }

    /// Writes those rows that are to be kept into files that no commit names yet.
    async fn place(&self, work: &Work, rows: &EncodedRows, keeps: &[Keep]) -> Result<Vec<Written>, Fault> {
        let keep_of: HashMap<Source, Keep> =
            work.claims.iter().zip(keeps).map(|(claim, keep)| (claim.source.clone(), *keep)).collect();
        let keep_of = move |source: &Source| keep_of.get(source).copied().unwrap_or(Keep::Nothing);
        let facts = entry::file_facts(&self.identity, &work.facts);
        let (identity, layout, folder) = (self.identity.clone(), work.layout, self.folder.clone());
        let (rows, flush_id) = (rows.clone(), work.facts.flush_id.clone());
        disk::blocking(move || {
            let rows = rows.inner::<Encoded>().ok_or_else(other_kind)?;
            rows.kept(keep_of, layout, &identity, &facts)?.write(&folder, layout.day, &flush_id)
        })
        .await?
    }

    /// Makes the entry the next version after the state that it was decided on, or finds that another
    /// commit is that version. Whatever the error, the log is asked for that very entry.
    async fn commit(
        &self,
        state: &mut Option<TableState>,
        bytes: Vec<u8>,
        changes_table: bool,
        staging: Arc<Staging>,
        apply: impl FnOnce(&mut Partitions, u64),
    ) -> Outcome {
        let Some(current) = state.as_mut() else { return Outcome::Failed(Fault::retry("no state")) };
        let version = current.version + 1;
        let target = names::log_entry(&self.folder, version);
        #[cfg(test)]
        let mishap = self.mishap.lock().unwrap().take();
        #[cfg(test)]
        let refused = mishap.as_ref().is_some_and(|mishap| mishap.kind == MishapKind::Refused);
        #[cfg(test)]
        let target = if refused { self.folder.join("no/entry") } else { target };
        #[cfg(test)]
        let mishap = match mishap {
            Some(Mishap { kind: MishapKind::Stopped, meanwhile }) => {
                meanwhile.await;
                None
            }
            other => other,
        };
        let bytes: Arc<[u8]> = bytes.into();
        let entry = bytes.clone();
        // The staging goes along: it lasts until the commit is decided, whoever still waits for it.
        let created = disk::blocking(move || durable::create_if(&target, &entry, || staging.check())).await;
        #[cfg(test)]
        let created = match mishap {
            Some(mishap) => {
                mishap.meanwhile.await;
                let timeout = std::io::Error::from(std::io::ErrorKind::TimedOut);
                let lost = || Ok(Err(durable::FileError::new("sync", &self.folder)(timeout)));
                if matches!(created, Ok(Ok(true))) { lost() } else { created }
            }
            None => created,
        };
        let fault: Fault = match created {
            // On a network's file system even this can be the answer to a creation that was repeated.
            Ok(Ok(false)) => Fault::retry(format!("table `{}`: entry {version} is there", self.name)),
            Ok(Ok(true)) => {
                current.version = version;
                apply(&mut current.partitions, version);
                if changes_table {
                    // The new columns are best known from the log.
                    *state = None;
                }
                return Outcome::Committed(version);
            }
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        // The state stays at the version before: the next look takes in whatever is there now.
        match self.fate(version, bytes).await {
            Ok(Fate::Landed) => Outcome::Committed(version),
            Ok(Fate::Taken) => Outcome::Conflict,
            Ok(Fate::Absent) => Outcome::Failed(fault),
            Err(unread) => Outcome::Unknown(fault.then(unread)),
        }
    }

    /// What became of an entry, provided that the log is still this store's.
    async fn fate(&self, version: u64, bytes: Arc<[u8]>) -> Result<Fate, Fault> {
        let (root, folder, identity) = (self.root.clone(), self.folder.clone(), self.identity.clone());
        disk::blocking(move || {
            let fate = log::fate(&folder, version, &bytes)?;
            root::expect_store(&root, &identity)?;
            Ok(fate)
        })
        .await?
    }

    fn discard(&self, placed: Option<Placed>) {
        if let Some(placed) = placed {
            files::discard(&self.folder, &placed.files);
        }
    }

    fn count(&self, files: &[Written]) {
        let labels = [self.identity.zone.as_str(), self.name.as_str()];
        self.metrics.files_written.with_label_values(&labels).inc_by(files.len() as u64);
        let bytes = files.iter().map(|file| file.fact.bytes).sum();
        self.metrics.file_bytes_written.with_label_values(&labels).inc_by(bytes);
    }
}

fn other_kind() -> Fault {
    Fault::stop("the rows were encoded for another kind of store")
}

/// Which rows the decisions keep.
fn keeps(decisions: &[(Source, Decision)]) -> impl Iterator<Item = Keep> {
    decisions.iter().map(|(_, decision)| (*decision).into())
}

/// A pause that grows with the number of conflicts and differs between those who wait.
fn pause(conflicts: u64) -> Duration {
    let most = 1_u64 << conflicts.min(7);
    let random = uuid::Uuid::now_v7().as_u128() as u64;
    Duration::from_micros(500 * most + random % (1000 * most))
}
