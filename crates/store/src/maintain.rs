//! What keeps tables quick to open, read and store, outside the commit path: checkpoints, log clean-up,
//! compaction and vacuum (docs/stores.md).
//!
//! One process at a time maintains a store ([`crate::lease::Maintainer`]), one table at a time. Two at once
//! would waste work and break nothing: every commit is decided on the newest version, and every removal on
//! what the log says.

pub(crate) mod checkpoint;
mod clean;
pub(crate) mod compact;
pub(crate) mod count;
pub(crate) mod delete;
pub(crate) mod live;
pub(crate) mod retag;
pub(crate) mod rewrite;
pub(crate) mod seal;
mod source;
mod vacuum;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use situs_model::store::StoreError;
use situs_model::{Age, StoreIdentity, TableName};
use situs_observe::Metrics;
use tokio::sync::RwLock;

pub use checkpoint::Checkpointed;
pub use clean::Cleaned;
pub use vacuum::{Tally, Vacuumed};

use crate::disk;
use crate::durable;
use crate::error::Fault;
use crate::key::ReceiptKey;
use crate::lease::{Leases, Maintainer};
use crate::work::Layout;
use crate::{names, quarantine, receipts, received, releases, root, store, tables, zone_ledger};
use compact::Replaced;
use live::Live;

/// After this time a file that is still being written is one whose writer has died.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How files are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optimize {
    /// Bytes of a file that is as large as it should be.
    pub target_size: u64,
    /// How long no file must have been added to a day that is over.
    pub sealed_after: Duration,
    /// Bytes of rows that may be held to sort them; what is written comes on top, up to 64 MiB.
    pub memory: u64,
    /// Whether to rest as long as was worked, to leave the CPU to others.
    pub rest: bool,
}

impl Default for Optimize {
    fn default() -> Self {
        Self {
            target_size: 512 << 20,
            sealed_after: Duration::from_secs(60 * 60),
            memory: 128 << 20,
            rest: false,
        }
    }
}

/// Which files are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vacuum {
    /// How long a file is kept after a table has removed it, for readers of older versions.
    pub retention: Duration,
    /// How old a file must be that no log entry names.
    pub orphans_after: Duration,
    /// After this time without a renewal a writer's lease is revoked.
    pub dead_after: Duration,
    /// Only find out what would go.
    pub dry_run: bool,
    /// How long receipts and entries of ledgers are kept at least, whoever removed them from their table.
    pub keep_ledgers: Age,
    /// What never goes: paths of files or folders, relative to the root, such as `cnc_state/event_date=2026-03-01`.
    pub protected: BTreeSet<String>,
}

impl Default for Vacuum {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self {
            retention: days(7),
            orphans_after: days(1),
            dead_after: Duration::from_secs(60 * 60),
            dry_run: false,
            keep_ledgers: Age::Days(184),
            protected: BTreeSet::new(),
        }
    }
}

/// What compaction did to a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Optimized {
    /// Files that were replaced.
    pub replaced: Tally,
    /// Files that hold their rows now.
    pub written: Tally,
    /// The rows.
    pub rows: u64,
    /// Files written that are sorted by device and time. The others lack the columns, or their rows did not
    /// fit into memory.
    pub sorted: u64,
    /// Files that were written for nothing, since somebody else had removed what they replace.
    pub outdated: u64,
}

/// Where a table keeps what maintenance needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    layout: Layout,
    topic: &'static str,
    partition: &'static str,
    /// Whether every row names its zone.
    zoned: bool,
    /// Whether small files are put together.
    compacted: bool,
}

impl Shape {
    /// That of a pipeline's table.
    fn of_rows() -> Self {
        use situs_model::columns::names::{PARTITION, TOPIC};
        Self { layout: store::LAYOUT, topic: TOPIC, partition: PARTITION, zoned: true, compacted: true }
    }
}

/// A table to maintain.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: PathBuf,
    folder: PathBuf,
    table: TableName,
    identity: StoreIdentity,
    shape: Shape,
}

impl Place {
    pub(crate) fn new(root: &Path, identity: &StoreIdentity, table: &TableName) -> Self {
        let own =
            |layout| Shape { layout, topic: "topic", partition: "partition", zoned: false, compacted: true };
        let shape = if *table == TableName::quarantine() {
            own(quarantine::LAYOUT)
        } else if *table == TableName::receipts() {
            own(receipts::LAYOUT)
        } else if *table == TableName::releases() {
            own(releases::LAYOUT)
        } else if *table == TableName::ledger() {
            // An entry is a deed of a person: there are few, and the files stay as they were written.
            Shape { compacted: false, ..own(zone_ledger::LAYOUT) }
        } else if table.is_received() {
            // The ledgers of two stores name these files.
            Shape { compacted: false, ..own(received::LAYOUT) }
        } else {
            Shape::of_rows()
        };
        Self {
            root: root.to_owned(),
            folder: names::table(root, table),
            table: table.clone(),
            identity: identity.clone(),
            shape,
        }
    }

    /// Where the rows of messages are found: in received tables too, which have the columns of a pipeline's.
    pub(crate) fn shape_of_messages(&self) -> Shape {
        if self.table.is_received() { Shape::of_rows() } else { self.shape }
    }

    fn day(&self) -> &'static str {
        self.shape.layout.day
    }
}

/// Checkpoints the tables of a root that have had `every` commits since their last checkpoint, and
/// removes what dead writers left. Returns how many tables were checkpointed.
pub(crate) async fn maintain(root: &Path, identity: &StoreIdentity, every: u64) -> Result<u64, Fault> {
    let (root, identity) = (root.to_owned(), identity.clone());
    // delta-rs makes checkpoints with calls that block, so all of it runs where blocking is allowed.
    disk::blocking(move || {
        root::expect_store(&root, &identity)?;
        remove_abandoned(&root)?;
        remove_abandoned(&names::leases(&root))?;
        let mut count = 0;
        for table in tables::list(&root)? {
            let place = Place::new(&root, &identity, &table);
            count += u64::from(checkpoint_if_due(&place, every)?.is_some());
        }
        Ok(count)
    })
    .await?
}

fn checkpoint_if_due(place: &Place, every: u64) -> Result<Option<Checkpointed>, Fault> {
    // The log folder and those of the days.
    for name in durable::list(&place.folder)? {
        let folder = place.folder.join(&name);
        if disk::look(&folder).is_ok_and(|found| found.is_dir()) {
            remove_abandoned(&folder)?;
        }
    }
    let due = checkpoint::due(&place.folder, every)?;
    due.map(|version| checkpoint::write(&place.folder, place.day(), version)).transpose()
}

fn remove_abandoned(folder: &Path) -> Result<(), Fault> {
    for name in durable::list(folder)?.iter().filter(|name| names::is_temporary(name)) {
        let path = folder.join(name);
        let age = disk::look(&path).and_then(|found| found.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > ABANDONED) {
            let _ = disk::remove(&path);
        }
    }
    Ok(())
}

/// A step of maintenance, as metrics and logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Checkpoint,
    Optimize,
    CleanUp,
    Vacuum,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Optimize => "optimize",
            Self::CleanUp => "log-clean-up",
            Self::Vacuum => "vacuum",
        }
    }
}

/// The right to maintain a store, until it is dropped.
#[derive(Debug)]
pub struct Maintenance {
    root: PathBuf,
    identity: StoreIdentity,
    leases: Arc<Leases>,
    maintained: Arc<RwLock<()>>,
    metrics: Arc<Metrics>,
    right: Arc<Maintainer>,
    /// Signs plans of deletions, and what commits of re-taggings say.
    receipt_key: Option<Arc<ReceiptKey>>,
}

/// Tells work that goes on in the background that nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Maintenance {
    /// Takes the right; `None` if another process has it.
    pub(crate) async fn begin(
        root: &Path,
        identity: &StoreIdentity,
        leases: Arc<Leases>,
        maintained: Arc<RwLock<()>>,
        metrics: Arc<Metrics>,
        receipt_key: Option<Arc<ReceiptKey>>,
    ) -> Result<Option<Self>, Fault> {
        let (root, identity) = (root.to_owned(), identity.clone());
        disk::blocking(move || {
            root::expect_store(&root, &identity)?;
            let right = Maintainer::acquire(&root)?;
            let right = right.map(Arc::new);
            Ok(right.map(|right| Self { root, identity, leases, maintained, metrics, right, receipt_key }))
        })
        .await?
    }

    /// Whose store it is.
    pub fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// The store's tables, in order.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn tables(&self) -> Result<Vec<TableName>, StoreError> {
        tables::list(&self.root).map_err(|error| Fault::from(error).at(&self.identity))
    }

    /// Checkpoints a table if it has had `every` commits since its last checkpoint. `None` if it has not.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if the checkpoint does not say what the log says.
    pub async fn checkpoint(
        &self,
        table: &TableName,
        every: u64,
    ) -> Result<Option<Checkpointed>, StoreError> {
        self.carry_out(Step::Checkpoint, table, move |place, _, _| checkpoint_if_due(place, every)).await
    }

    /// Puts the small files of sealed days together.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if a file does not hold what the log says, or a row
    /// is of another zone. What was committed before stays.
    pub async fn optimize(&self, table: &TableName, settings: &Optimize) -> Result<Optimized, StoreError> {
        let (settings, leases) = (settings.clone(), self.leases.clone());
        let optimized = self
            .carry_out(Step::Optimize, table, move |place, right, stop| {
                optimize(place, &settings, &leases, right, stop)
            })
            .await?;
        let labels = [self.identity.zone.as_str(), table.as_str()];
        self.metrics.files_compacted.with_label_values(&labels).inc_by(optimized.replaced.files);
        Ok(optimized)
    }

    /// Removes the entries of a table's log that are older than `retention` and that a checkpoint stands for.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if the checkpoint does not say what they say.
    pub async fn clean_up(&self, table: &TableName, retention: Duration) -> Result<Cleaned, StoreError> {
        let cleaned = self
            .carry_out(Step::CleanUp, table, move |place, right, _| {
                clean::clean(&place.folder, place.day(), retention, right.now()?)
            })
            .await?;
        let labels = [self.identity.zone.as_str(), table.as_str()];
        self.metrics.log_entries_removed.with_label_values(&labels).inc_by(cleaned.entries);
        Ok(cleaned)
    }

    /// Removes the files of a table that no reader needs and no writer will commit.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). What was removed before stays removed.
    pub async fn vacuum(&self, table: &TableName, settings: &Vacuum) -> Result<Vacuumed, StoreError> {
        let (settings, dry_run) = (settings.clone(), settings.dry_run);
        let vacuumed = self
            .carry_out(Step::Vacuum, table, move |place, right, _| {
                let now = right.now()?;
                let leases = vacuum::fence(&place.root, settings.dead_after, now, settings.dry_run)?;
                vacuum::vacuum(place, &settings, &leases, now)
            })
            .await?;
        if !dry_run {
            let labels = [self.identity.zone.as_str(), table.as_str()];
            let Vacuumed { replaced, orphans, .. } = &vacuumed;
            self.metrics.files_removed.with_label_values(&labels).inc_by(replaced.files + orphans.files);
            self.metrics.file_bytes_removed.with_label_values(&labels).inc_by(replaced.bytes + orphans.bytes);
        }
        Ok(vacuumed)
    }

    /// Carries a step out where blocking is allowed, and counts it.
    async fn carry_out<T: Send + 'static>(
        &self,
        step: Step,
        table: &TableName,
        work: impl FnOnce(&Place, &Maintainer, &AtomicBool) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Place::new(&self.root, &self.identity, table);
        let right = self.right.clone();
        let stop = StopOnDrop(Arc::default());
        let stopped = stop.0.clone();
        let working = self.maintained.clone().read_owned().await;
        let done = disk::blocking(move || {
            let _working = working;
            if !right.renew()? {
                return Err(Fault::retry("another process has taken the maintenance over"));
            }
            root::expect_store(&place.root, &place.identity)?;
            if !tables::exists(&place.folder)? {
                return Err(Fault::stop(format!("there is no table `{}`", place.table)));
            }
            work(&place, &right, &stopped)
        });
        let result = done.await.flatten();
        drop(stop);
        let labels = [self.identity.zone.as_str(), step.as_str()];
        match &result {
            Ok(_) => self.metrics.maintenance_steps.with_label_values(&labels).inc(),
            Err(_) => self.metrics.maintenance_failures.with_label_values(&labels).inc(),
        }
        result.map_err(|fault| fault.at(&self.identity))
    }
}

fn optimize(
    place: &Place,
    settings: &Optimize,
    leases: &Arc<Leases>,
    right: &Maintainer,
    stop: &AtomicBool,
) -> Result<Optimized, Fault> {
    let mut optimized = Optimized::default();
    if !place.shape.compacted {
        return Ok(optimized);
    }
    let Some(mut live) = Live::load(&place.folder, place.day())? else { return Ok(optimized) };
    for bin in seal::plan(&live, settings, chrono::Utc::now()) {
        // Until after the commit, so that no vacuum takes the new file for rubbish.
        let staging = leases.stage();
        let rewritten = rewrite::rewrite(place, &live, &bin, settings, stop)?;
        match compact::replace(place, &mut live, &rewritten, &staging)? {
            Replaced::Committed(_) => {
                optimized.replaced.files += bin.files.len() as u64;
                optimized.replaced.bytes += bin.bytes;
                optimized.written.add(rewritten.written.fact.bytes);
                optimized.rows += rewritten.written.fact.rows;
                optimized.sorted += u64::from(rewritten.sorted);
            }
            Replaced::Outdated => optimized.outdated += 1,
        }
        if !right.renew()? {
            return Err(Fault::retry("another process has taken the maintenance over"));
        }
    }
    Ok(optimized)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_old_temporary_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |age: Duration| {
            let path = names::temporary(dir.path());
            File::create(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let (old, young) = (make(2 * ABANDONED), make(ABANDONED / 2));
        let kept = dir.path().join("f-0.parquet");
        File::create(&kept).unwrap().set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        remove_abandoned(dir.path()).unwrap();
        assert!(!old.exists() && young.exists() && kept.exists());
    }
}
