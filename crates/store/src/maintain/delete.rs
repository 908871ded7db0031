//! Deleting rows so that it can be proven (docs/retention.md).
//!
//! No commit is atomic across tables, and none across a table and a ledger, so a deletion has steps, of which
//! each can be cut off and found again:
//!
//! 1. what goes is decided by reading, and written down: a file of coordinates, then a plan that names it;
//! 2. each table gets commits that put files without these rows in the place of those with them;
//! 3. every row's coordinates are read again: none of those that went is there, and no other is missing;
//! 4. the ledger tells of it (the caller), and the plan goes;
//! 5. the bytes go, when readers had their time; a second entry says so, once no file holds such a row.
//!
//! Whoever finds a plan takes up 2 again: rows are found by their coordinates, so what is gone is not looked
//! for twice. What was done before is told by the tables' logs, whose entries name the deletion.

mod abandon;
pub(crate) mod body;
pub(crate) mod coordinates;
pub(crate) mod criterion;
mod erase;
mod found;
pub(crate) mod holds;
pub(crate) mod keys;
mod meant;
pub(crate) mod plan;
mod prove;
mod reduce;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use situs_model::store::StoreError;
use situs_model::{StoreIdentity, TableName};

pub use abandon::Abandoned;
pub use body::{BytesGoneBody, DeletionBody, GoneFile, PartitionDeleted, TableDeleted, WrittenFile};
pub use coordinates::CoordinatesFile;
pub use criterion::Criterion;
pub use erase::Erased;
pub use holds::{Floor, Hold, Refusal};
pub use plan::{Decided, DeletionRequest, Despite, PartitionPlan, Plan, PlanSignature, TablePlan};

use super::compact::Replaced;
use super::live::Live;
use super::{Maintenance, Place, StopOnDrop, Vacuum, vacuum};
use crate::encode::files;
use crate::error::Fault;
use crate::key::ReceiptKey;
use crate::lease::{Leases, Maintainer};
use crate::{disk, reader, root, tables};
use keys::KeySet;
use reduce::Reduced;

/// Files that are looked at for a commit.
const FILES_OF_A_COMMIT: usize = if cfg!(test) { 3 } else { 32 };
/// How often what others did meanwhile is taken in before the caller is told to wait.
const PASSES: u32 = 10;
/// How often the right to maintain is renewed.
const RENEW: Duration = Duration::from_secs(30);

/// What a step of a deletion or a re-tagging works with.
pub(super) struct Work {
    pub(super) root: PathBuf,
    identity: StoreIdentity,
    pub(super) leases: Arc<Leases>,
    right: Arc<Maintainer>,
    pub(super) key: Option<Arc<ReceiptKey>>,
    stop: Arc<AtomicBool>,
    renewed: Instant,
}

impl Work {
    pub(super) fn alive(&mut self) -> Result<(), Fault> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Fault::retry("the process is stopping"));
        }
        if self.renewed.elapsed() > RENEW {
            self.renewed = Instant::now();
            if !self.right.renew()? {
                return Err(Fault::retry("another process has taken the maintenance over"));
            }
        }
        Ok(())
    }

    /// The tables that hold messages: those of pipelines, and quarantine. What came by a transfer stays as the
    /// ledgers of both stores tell.
    fn places(&self) -> Result<Vec<Place>, Fault> {
        let quarantine = TableName::quarantine();
        let of_messages =
            |name: &TableName| !name.is_reserved() && !name.is_received() || *name == quarantine;
        let tables = tables::list(&self.root)?.into_iter().filter(of_messages);
        Ok(tables.map(|name| Place::new(&self.root, &self.identity, &name)).collect())
    }

    pub(super) fn place(&self, table: &TableName) -> Place {
        Place::new(&self.root, &self.identity, table)
    }

    /// The rows of a table that a file of coordinates names.
    fn set(&self, coordinates: &CoordinatesFile, table: &str) -> Result<KeySet, Fault> {
        let mut set = KeySet::default();
        coordinates.read(&self.root, |doomed| {
            if doomed.table == table && set.insert(&doomed.key) {
                return Err(Fault::stop(format!("{} names a row twice", coordinates.path)));
            }
            Ok(())
        })?;
        Ok(set)
    }

    /// Decides what a deletion takes; with `writes` there is a plan afterwards.
    fn decide(&mut self, request: &DeletionRequest, writes: bool) -> Result<Decided, Fault> {
        let expect_none = |root: &std::path::Path| match plan::ids(root)?.first() {
            Some(id) if writes => {
                Err(Fault::stop(format!("deletion {id} of this store is not finished: finish it first")))
            }
            _ => Ok(()),
        };
        expect_none(&self.root)?;
        let (root, places) = (self.root.clone(), self.places()?);
        let decided = plan::decide(&root, &places, request, writes, || self.alive())?;
        let Decided::Planned(mut plan) = decided else { return Ok(decided) };
        if writes {
            // Reading may have taken longer than the right lasts.
            if !self.right.renew()? {
                return Err(Fault::retry("another process has taken the maintenance over"));
            }
            expect_none(&self.root)?;
            plan::write(&self.root, &self.identity, &mut plan, self.key.as_deref())?;
        }
        Ok(Decided::Planned(plan))
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<DeletionBody, Fault> {
        plan.expect_own(&self.identity, self.key.as_deref())?;
        plan.expect_coordinates(&self.root)?;
        let mut tables = Vec::with_capacity(plan.tables.len());
        for table in &plan.tables {
            let place = self.place(&prove::name_of(table)?);
            let mut set = self.set(&plan.coordinates, &table.table)?;
            if set.len() != table.deleted() {
                return Err(Fault::stop(format!(
                    "deletion {}: its plan takes {} rows of table `{}`, its coordinates name {}",
                    plan.id,
                    table.deleted(),
                    table.table,
                    set.len()
                )));
            }
            let mut passes = 0;
            let proof = loop {
                self.remove(&plan.id, &place, table, &mut set)?;
                let proof = prove::look(&place, table, &plan.criterion, &mut set, &mut || self.alive())?;
                if proof.left == 0 {
                    break proof;
                }
                // A compaction of a day that was not looked at, by another process.
                passes += 1;
                if passes == PASSES {
                    return Err(Fault::retry(format!(
                        "table `{}`: rows come back all the time",
                        table.table
                    )));
                }
            };
            tables.push(prove::conclude(&place, &plan.id, table, &proof)?);
        }
        Ok(DeletionBody {
            criterion: plan.criterion.clone(),
            reason: plan.reason.clone(),
            decided_us: plan.at_us,
            despite_minimum: plan.despite_minimum.clone(),
            coordinates: plan.coordinates.clone(),
            tables,
        })
    }

    /// Removes the rows of a set from a table, commit by commit.
    fn remove(&mut self, id: &str, place: &Place, plan: &TablePlan, set: &mut KeySet) -> Result<(), Fault> {
        let days: BTreeSet<Option<String>> = plan.days.iter().cloned().collect();
        for _ in 0..PASSES {
            let Some(mut live) = Live::load(&place.folder, place.day())? else { return Ok(()) };
            let of_days = live.files.iter().filter(|(_, file)| reduce::is_of_days(&days, file));
            let files: Vec<_> = of_days.map(|(path, file)| (path.clone(), file.clone())).collect();
            let mut outdated = false;
            for chunk in files.chunks(FILES_OF_A_COMMIT) {
                // Until after the commit, so that no vacuum takes the new files for rubbish.
                let staging = self.leases.stage();
                let mut batch = Batch { place, files: Vec::new() };
                for (path, file) in chunk {
                    self.alive()?;
                    if !reader::is_inside(path) {
                        let what = format!("table `{}` names a file outside of its root", place.table);
                        return Err(Fault::stop(what));
                    }
                    batch.files.extend(reduce::reduce(place, path, file, set, &mut || self.alive())?);
                }
                if batch.files.is_empty() {
                    continue;
                }
                let reduced = std::mem::take(&mut batch.files);
                let replaced = reduce::commit(place, &mut live, id, &reduced, &staging)?;
                outdated |= replaced == Replaced::Outdated;
            }
            if !outdated {
                return Ok(());
            }
        }
        Err(Fault::retry(format!("table `{}`: others rewrite its files all the time", place.table)))
    }

    fn erase(
        &mut self,
        coordinates: &CoordinatesFile,
        of_tables: &[String],
        settings: &Vacuum,
        deleted: SystemTime,
    ) -> Result<Erased, Fault> {
        let now = self.right.now()?;
        let leases = vacuum::fence(&self.root, settings.dead_after, now, settings.dry_run)?;
        let mut all = Erased::default();
        for table in of_tables {
            let name = table.parse().map_err(|_| Fault::stop(format!("`{table}` is no name of a table")))?;
            let (place, mut set) = (self.place(&name), self.set(coordinates, table)?);
            let erased =
                erase::erase(&place, &mut set, settings, &leases, now, deleted, &mut || self.alive())?;
            all.looked += erased.looked;
            all.removed.extend(erased.removed);
            all.left.extend(erased.left);
        }
        Ok(all)
    }
}

/// Files that were reduced for a commit that was not tried yet. Dropped, they go.
struct Batch<'a> {
    place: &'a Place,
    files: Vec<Reduced>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        files::discard(
            &self.place.folder,
            &self.files.iter().filter_map(Reduced::written).collect::<Vec<_>>(),
        );
    }
}

impl Maintenance {
    /// Decides what a deletion takes; with `writes` it begins by that, and must be carried out.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). Nothing is changed then.
    pub async fn decide_deletion(
        &self,
        request: &DeletionRequest,
        writes: bool,
    ) -> Result<Decided, StoreError> {
        let request = request.clone();
        self.step(move |work| work.decide(&request, writes)).await
    }

    /// Drops the plan of a deletion by which nothing was done yet, whoever wrote it.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if entries of a log are gone that may have told of it.
    pub async fn abandon_deletion(&self, id: &str) -> Result<Abandoned, StoreError> {
        let id = id.to_owned();
        self.step(move |work| work.abandon(&id)).await
    }

    /// The deletions of this store that were begun and not ended.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn unfinished_deletions(&self) -> Result<Vec<Plan>, StoreError> {
        self.step(|work| plan::unfinished(&work.root)).await
    }

    /// Removes the rows of a plan that are still there, reads the tables again, and says what was done. May
    /// be repeated at any time before [`end_deletion`](Self::end_deletion).
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if a file does not hold what the log says, or
    /// a row is missing that should have stayed.
    pub async fn carry_out_deletion(&self, plan: &Plan) -> Result<DeletionBody, StoreError> {
        let plan = plan.clone();
        self.step(move |work| work.carry_out(&plan)).await
    }

    /// Takes the plan away, once the ledger tells of the deletion.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn end_deletion(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.step(move |work| plan::forget(&work.root, &id)).await
    }

    /// Looks for the bytes of a deletion's rows in every file of its tables' folders, and removes the files
    /// that hold some, if readers had their time (`settings.retention`).
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). What was removed stays removed.
    pub async fn erase_deleted(
        &self,
        body: &DeletionBody,
        settings: &Vacuum,
        deleted: SystemTime,
    ) -> Result<Erased, StoreError> {
        let (coordinates, settings) = (body.coordinates.clone(), settings.clone());
        let of_tables: Vec<String> = body.tables.iter().map(|table| table.table.clone()).collect();
        self.step(move |work| work.erase(&coordinates, &of_tables, &settings, deleted)).await
    }

    /// Carries a step out where blocking is allowed.
    pub(super) async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Work) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stop = StopOnDrop(Arc::default());
        let mut work = Work {
            root: self.root.clone(),
            identity: self.identity.clone(),
            leases: self.leases.clone(),
            right: self.right.clone(),
            key: self.receipt_key.clone(),
            stop: stop.0.clone(),
            renewed: Instant::now(),
        };
        let working = self.maintained.clone().read_owned().await;
        let done = disk::blocking(move || {
            let _working = working;
            if !work.right.renew()? {
                return Err(Fault::retry("another process has taken the maintenance over"));
            }
            root::expect_store(&work.root, &work.identity)?;
            step(&mut work)
        });
        let result = done.await.flatten();
        drop(stop);
        result.map_err(|fault| fault.at(&self.identity))
    }
}

#[cfg(test)]
mod tests;
