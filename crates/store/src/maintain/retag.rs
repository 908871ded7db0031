//! Giving stored rows the tags of another policy (docs/retagging.md).
//!
//! A table's rows are read twice. First all of them are judged, to know which messages could not be placed at all
//! any more; then the files in which a row's tags may change are judged again and written anew, each as one file
//! with the same rows in the same order. One commit puts the new files in the place of the old ones. It carries
//! all that the ledger's entry says, signed where receipts are, so whoever finds a commit of which the ledger does
//! not tell enters it, and needs nothing else. A process that dies before the commit leaves files that nobody
//! names; after it, an entry to be made.

mod body;
pub(crate) mod commit;
mod look;
mod tags;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use situs_model::store::StoreError;
use situs_model::{ContentVersion, StoreIdentity, TableName, TaggedBatch};

pub use body::{RetagBody, Retagging, Stays, TagCounts};

use super::compact::{self, Replaced};
use super::delete::keys::KeySet;
use super::delete::{GoneFile, Hold, Work, WrittenFile};
use super::live::Live;
use super::{Maintenance, Place};
use crate::encode::files;
use crate::encode::files::Written;
use crate::error::Fault;
use crate::history::History;
use crate::lease::Staging;
use crate::{entry, names, reader, tables};
use commit::RetagCommit;
use look::Look;
use write::Rewritten;

/// How often it is begun anew since others changed the files meanwhile.
const PASSES: u32 = 10;

/// Why rows were not judged again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotJudged {
    /// The table does not hold what they would be judged by.
    Unfit,
    /// It failed on one of them.
    Failed,
}

/// Judges rows again as they lie in a table. A store knows no policy: whoever has one does this for it.
pub trait JudgeAgain: Send {
    /// Rows of one topic with the tags that they would have now, and a verdict for each.
    ///
    /// # Errors
    /// If they cannot be judged: none of them then.
    fn judge(&mut self, rows: &RecordBatch, topic: &str, partition: i32) -> Result<TaggedBatch, NotJudged>;
}

/// A re-tagging of a table, as it is asked for.
#[derive(Debug, Clone)]
pub struct RetagRequest {
    /// The table.
    pub table: TableName,
    /// The pipeline.
    pub pipeline: String,
    /// Version of the policy that gives the tags.
    pub policy: ContentVersion,
    /// Version of the schema that the rows are judged with.
    pub schema: ContentVersion,
    /// Version of the pipeline's definition.
    pub definition: ContentVersion,
    /// Who is said to have asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The settled offset of each partition. Rows from there on are not final and stay.
    pub settled: BTreeMap<(String, i32), i64>,
    /// The holds on the store.
    pub holds: Vec<Hold>,
    /// The column that holds the device.
    pub device_column: String,
}

impl RetagRequest {
    /// The holds that other tags could take a row from. Any other is on a row whatever its tags.
    pub(crate) fn holds_by_tags(&self, table: &TableName) -> impl Iterator<Item = &Hold> {
        let by_tags = |hold: &&Hold| {
            let criterion = &hold.criterion;
            (criterion.class.is_some() || criterion.site.is_some()) && criterion.may_mean_table(table)
        };
        self.holds.iter().filter(by_tags)
    }
}

/// Files with other tags that no commit names yet. Dropped, they go.
pub(crate) struct Prepared {
    place: Place,
    /// The table as it was read.
    live: Live,
    pub(crate) found: Retagging,
    id: String,
    files: Vec<Rewritten>,
    /// Until after the commit, so that no vacuum takes the new files for rubbish.
    staging: Arc<Staging>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("id", &self.id).field("found", &self.found).finish_non_exhaustive()
    }
}

impl Prepared {
    fn written(&self) -> Vec<Written> {
        self.files.iter().map(|file| file.written.clone()).collect()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        files::discard(&self.place.folder, &self.written());
    }
}

impl Work {
    fn prepare(
        &mut self,
        request: &RetagRequest,
        judge: &mut dyn JudgeAgain,
        writes: bool,
    ) -> Result<Prepared, Fault> {
        let place = self.place(&request.table);
        if request.table.is_reserved() {
            let what = format!("table `{}` is Situs's own, and nothing tags its rows again", request.table);
            return Err(Fault::stop(what));
        }
        let live = Live::load(&place.folder, place.day())?.unwrap_or_default();
        let names = |table: &TableName| table.as_str().to_owned();
        let found = Retagging {
            pipeline: request.pipeline.clone(),
            table: names(&request.table),
            ..Retagging::default()
        };
        let id = uuid::Uuid::now_v7().to_string();
        let staging = self.leases.stage();
        let mut prepared = Prepared { place: place.clone(), live, found, id, files: Vec::new(), staging };
        if let Some(path) = prepared.live.files.keys().find(|path| !reader::is_inside(path)) {
            let what = format!("table `{}` names a file outside of its root: {path}", place.table);
            return Err(Fault::stop(what));
        }
        let mut look = Look { place: &place, request, judge, torn: KeySet::default(), whole: false };
        let mut candidates = Vec::new();
        for (path, file) in &prepared.live.files {
            self.alive()?;
            let of_file = write::file(&mut look, path, file, None, &mut || self.alive())?.found;
            prepared.found.looked += of_file.looked;
            if of_file.retagged > 0 {
                candidates.push((path.clone(), file.clone()));
            } else {
                prepared.found.stays.merge(&of_file.stays);
            }
        }
        look.whole = true;
        for (path, file) in candidates {
            self.alive()?;
            let writes = writes.then_some(prepared.id.as_str());
            let of_file = write::file(&mut look, &path, &file, writes, &mut || self.alive())?;
            prepared.found.stays.merge(&of_file.found.stays);
            if of_file.found.retagged > 0 {
                prepared.found.retagged += of_file.found.retagged;
                prepared.found.rows += of_file.found.rows;
                prepared.found.before.merge(&of_file.found.before);
                prepared.found.after.merge(&of_file.found.after);
            }
            prepared.files.extend(of_file.rewritten);
        }
        Ok(prepared)
    }

    /// Puts the files in the place of those whose rows they hold; `None` if others have changed these meanwhile.
    fn commit_retag(
        &mut self,
        request: &RetagRequest,
        mut prepared: Prepared,
    ) -> Result<Option<RetagCommit>, Fault> {
        self.alive()?;
        let told = std::mem::take(&mut prepared.files);
        let written: Vec<Written> = told.iter().map(|file| file.written.clone()).collect();
        let Prepared { place, found, id, staging, .. } = &prepared;
        let mut live = prepared.live.clone();
        let discard = || files::discard(&place.folder, &written);
        let at_us = crate::columns::now_us();
        let identity = place.identity.clone();
        let key = self.key.clone();
        let commit_of = |version: u64| -> Result<RetagCommit, Fault> {
            let gone = |file: &Rewritten| GoneFile {
                path: file.path.clone(),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
            };
            let came = |file: &Rewritten| WrittenFile {
                path: file.written.fact.path.clone(),
                rows: file.written.fact.rows,
                bytes: file.written.fact.bytes,
                sha256: file.written.fact.sha256.clone(),
            };
            let body = RetagBody {
                reason: request.reason.clone(),
                schema: request.schema.to_string(),
                definition: request.definition.to_string(),
                version,
                found: found.clone(),
                removed: told.iter().map(gone).collect(),
                written: told.iter().map(came).collect(),
            };
            RetagCommit::new(id, request, at_us, &body, &identity, key.as_deref())
        };
        let decide = |live: &Live| {
            let there = |file: &Rewritten| live.files.get(&file.path).is_some_and(|of| of.size == file.bytes);
            if !told.iter().all(there) {
                return Ok(None);
            }
            let removed = told.iter().map(|file| entry::Gone {
                path: &file.path,
                day: &file.day,
                bytes: file.bytes,
                rows: file.rows,
                sha256: &file.sha256,
            });
            let version = live.version + 1;
            let commit = commit_of(version)?;
            entry::retag(version, place.shape.layout, &commit, removed, &written).map(Some)
        };
        match compact::commit(place, &mut live, staging, decide, discard)? {
            Replaced::Committed(version) => commit_of(version).map(Some),
            Replaced::Outdated => Ok(None),
        }
    }

    /// The commits of re-taggings that the logs of all tables name, table by table in the order of versions.
    fn retag_commits(&mut self) -> Result<Vec<(TableName, u64, RetagCommit)>, Fault> {
        let mut all = Vec::new();
        for table in tables::list(&self.root)?.into_iter().filter(|table| !table.is_reserved()) {
            self.alive()?;
            let history = History::read(&names::table(&self.root, &table))?;
            all.extend(history.retags.into_iter().map(|(version, commit)| (table.clone(), version, commit)));
        }
        Ok(all)
    }
}

impl Maintenance {
    /// Judges a table's rows again; with `writes` files with the new tags lie in it afterwards, which
    /// [`commit_retag`](Self::commit_retag) makes part of it.
    pub(crate) async fn prepare_retag(
        &self,
        request: &RetagRequest,
        mut judge: Box<dyn JudgeAgain>,
        writes: bool,
    ) -> Result<(Prepared, Box<dyn JudgeAgain>), StoreError> {
        let request = request.clone();
        self.step(move |work| Ok((work.prepare(&request, &mut *judge, writes)?, judge))).await
    }

    /// Makes the new files part of the table; `None` if others have changed the files meanwhile.
    pub(crate) async fn commit_retag(
        &self,
        request: &RetagRequest,
        prepared: Prepared,
    ) -> Result<Option<RetagCommit>, StoreError> {
        let request = request.clone();
        self.step(move |work| work.commit_retag(&request, prepared)).await
    }

    /// The commits of re-taggings that the logs of the store's tables name.
    pub(crate) async fn retag_commits(&self) -> Result<Vec<(TableName, u64, RetagCommit)>, StoreError> {
        self.step(Work::retag_commits).await
    }

    /// How often a re-tagging is begun anew.
    pub(crate) const RETAG_PASSES: u32 = PASSES;
}

/// Adds the tags of rows to counts, as an entry of the ledger counts them.
pub(crate) fn count_tags(rows: &RecordBatch, counts: &mut TagCounts) -> Result<(), Fault> {
    for tag in tags::of_batch(rows)? {
        tag.count(&tag.old, counts);
    }
    Ok(())
}

/// Whose store a commit is of, as it is signed.
pub(crate) fn signed_for(store: &StoreIdentity) -> String {
    format!("situs re-tagging of {store}\n")
}

#[cfg(test)]
pub(crate) mod tests;
