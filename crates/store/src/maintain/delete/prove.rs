//! What came of a deletion, read again from the table: that the rows are gone and no other is.

use situs_model::TableName;

use super::super::Place;
use super::super::live::Live;
use super::body::{GoneFile, PartitionDeleted, TableDeleted, WrittenFile};
use super::criterion::Criterion;
use super::keys::KeySet;
use super::meant;
use super::plan::{PartitionPlan, TablePlan};
use crate::entry::{self, DeletionCommits};
use crate::error::Fault;
use crate::{durable, names};

/// What a table holds after a deletion.
#[derive(Debug, Default)]
pub(super) struct Proof {
    version: u64,
    files: u64,
    rows: u64,
    /// Rows that should be gone and are there.
    pub(super) left: u64,
    /// Rows that the criterion means and that came after the deletion was decided.
    later: u64,
    /// Settled rows of the plan's partitions, in their order.
    after: Vec<u64>,
}

/// Reads every row's coordinates.
pub(super) fn look(
    place: &Place,
    plan: &TablePlan,
    criterion: &Criterion,
    set: &mut KeySet,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Proof, Fault> {
    let live = Live::load(&place.folder, place.day())?;
    let live = live.ok_or_else(|| Fault::retry(format!("table `{}` has vanished", place.table)))?;
    let further = criterion.columns(&plan.device_column);
    let mut proof = Proof { version: live.version, ..Proof::default() };
    let mut after = vec![0_u64; plan.partitions.len()];
    // Neighbours are mostly of the same partition.
    let mut last = 0;
    meant::each_batch(place, &live, criterion, &plan.device_column, &further, alive, &mut |batch| {
        proof.rows += batch.keys.len() as u64;
        for (row, meant) in batch.meant.into_iter().enumerate() {
            let key = batch.keys.at(row);
            if set.contains(&key) {
                proof.left += 1;
                continue;
            }
            let is = |one: &PartitionPlan| one.partition == key.partition && one.topic == key.topic;
            if !plan.partitions.get(last).is_some_and(is) {
                match plan.partitions.iter().position(is) {
                    Some(at) => last = at,
                    None => continue,
                }
            }
            if key.offset < plan.partitions[last].settled {
                proof.later += u64::from(meant);
                after[last] += 1;
            }
        }
        Ok(())
    })?;
    proof.files = live.files.len() as u64;
    proof.after = after;
    Ok(proof)
}

/// What the deletion did to a table, from the entries of its log and from what is there.
///
/// # Errors
/// `Stop` if a row is missing that should have stayed.
pub(super) fn conclude(
    place: &Place,
    id: &str,
    plan: &TablePlan,
    proof: &Proof,
) -> Result<TableDeleted, Fault> {
    let mut commits = DeletionCommits::default();
    let mut log_is_cut = false;
    for version in plan.version + 1..=proof.version {
        match durable::read(&names::log_entry(&place.folder, version))? {
            Some(bytes) => entry::note_deletion(&bytes, version, id, &mut commits).ok_or_else(|| {
                Fault::stop(format!(
                    "table `{}`: entry {version} of the log cannot be understood",
                    place.table
                ))
            })?,
            None => log_is_cut = true,
        }
    }
    let mut partitions = Vec::with_capacity(plan.partitions.len());
    for (one, after) in plan.partitions.iter().zip(&proof.after) {
        let after = *after;
        if after + one.deleted < one.before {
            return Err(Fault::stop(format!(
                "table `{}`: {}/{} had {} rows, {} were deleted and {after} are left: rows are missing",
                place.table, one.topic, one.partition, one.before, one.deleted
            )));
        }
        partitions.push(PartitionDeleted {
            topic: one.topic.clone(),
            partition: one.partition,
            settled: one.settled,
            before: one.before,
            deleted: one.deleted,
            after,
        });
    }
    let written: u64 = commits.written.iter().map(|file| file.rows).sum();
    let gone = commits.removed.iter().map(|file| file.rows).sum::<u64>().saturating_sub(written);
    // Each row went once: what the commits took is what was planned, or somebody else took the rest.
    if !log_is_cut && commits.tells_rows && gone != plan.deleted() {
        return Err(Fault::stop(format!(
            "table `{}`: deletion {id} planned to take {} rows, and its commits took {gone}",
            place.table,
            plan.deleted()
        )));
    }
    // A file that one commit wrote and a later one removed was only ever on the way.
    let removed = commits.removed.into_iter();
    let removed = removed.map(|file| GoneFile { path: file.path, bytes: file.bytes, sha256: file.sha256 });
    let written = commits.written.into_iter().map(|file| WrittenFile {
        path: file.path,
        rows: file.rows,
        bytes: file.bytes,
        sha256: file.sha256,
    });
    Ok(TableDeleted {
        table: plan.table.clone(),
        read_version: plan.version,
        versions: commits.versions,
        log_is_cut,
        partitions,
        removed: removed.collect(),
        written: written.collect(),
        looked_version: proof.version,
        looked_files: proof.files,
        looked_rows: proof.rows,
        found: proof.left,
        came_later: proof.later.saturating_sub(plan.held),
        unsettled: plan.unsettled,
        held: plan.held,
    })
}

/// The table of a plan.
pub(super) fn name_of(plan: &TablePlan) -> Result<TableName, Fault> {
    let name: TableName =
        plan.table.parse().map_err(|_| Fault::stop(format!("`{}` is no name of a table", plan.table)))?;
    // Whoever wrote the plan: receipts and ledgers are what deletions are proven with.
    if name.is_reserved() && name != TableName::quarantine() {
        return Err(Fault::stop(format!("table `{name}` is Situs's own, and nothing deletes from it")));
    }
    Ok(name)
}
