//! What deletions say: which rows went, from which files, into which others. A row that a receipt counts and
//! that a deletion names is accounted for; one that is there again is not.

use std::collections::{BTreeSet, HashMap};

use situs_model::{LedgerKind, TableName};

use super::ledger::{Ledger, Named};
use super::report::{Finding, Kind, Report};
use super::roots::Store;
use super::zone_ledgers::ZoneLedgers;
use crate::maintain::delete::{CoordinatesFile, Criterion, DeletionBody, TableDeleted, plan};
use crate::{durable, names};

/// A file of a table: its zone, its table and its path.
type FileKey = (String, String, String);

/// What the ledgers say of deletions.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Those whose coordinates are what was noted.
    pub(super) sound: Vec<Deletion>,
    /// Files that they removed: the deletion, and the SHA-256.
    removed: HashMap<FileKey, (String, String)>,
    /// Files that they wrote.
    written: HashMap<FileKey, Named>,
    /// Tables (zone and name) of deletions that are not finished, so that files may have gone.
    under_way: BTreeSet<(String, String)>,
    /// Tables of those that the ledger tells of.
    tables: BTreeSet<(String, String)>,
    /// Tables of those that could not name every file that they removed.
    cut: BTreeSet<(String, String)>,
}

/// A deletion whose rows are looked for.
#[derive(Debug)]
pub(super) struct Deletion {
    pub(super) id: String,
    /// The index of its store.
    pub(super) store: usize,
    pub(super) coordinates: CoordinatesFile,
    /// Which rows were meant.
    pub(super) criterion: Criterion,
    /// What is said of each table.
    pub(super) tables: Vec<TableDeleted>,
}

impl Deletion {
    pub(super) fn finding(&self, zone: &str, what: impl Into<String>) -> Finding {
        Finding { file: Some(self.coordinates.path.clone()), ..Finding::in_zone(zone, what) }
    }
}

impl Deletions {
    /// Reads what the ledgers say, and looks for deletions that were begun and not ended. Counts of tables
    /// whose coordinates cannot be relied upon are not compared.
    pub(super) fn read(
        stores: &[Store],
        ledgers: &ZoneLedgers,
        ledger: &mut Ledger,
        report: &mut Report,
    ) -> Self {
        let mut deletions = Self::default();
        for (at, (store, read)) in stores.iter().zip(&ledgers.of_store).enumerate() {
            let zone = store.zone.as_str();
            let mut told = BTreeSet::new();
            for entry in read.entries.iter().filter(|entry| entry.kind == Some(LedgerKind::Deleted)) {
                report.count(Kind::Deletions, "deletions", 1);
                told.insert(entry.subject.clone());
                let Ok(body) = serde_json::from_str::<DeletionBody>(&entry.body) else {
                    let what = format!("entry {} of the ledger: its body cannot be understood", entry.number);
                    report.violation(Kind::Deletions, Finding::in_zone(zone, what));
                    continue;
                };
                deletions.take(at, store, &entry.subject, body, ledger, report);
            }
            for entry in read.entries.iter().filter(|entry| entry.kind == Some(LedgerKind::BytesGone)) {
                report.count(Kind::Deletions, "of which the bytes are gone", 1);
                if !told.contains(&entry.subject) {
                    let what = format!("entry {} of the ledger is of no deletion", entry.number);
                    report.violation(Kind::Deletions, Finding::in_zone(zone, what));
                }
            }
            deletions.look_for_unfinished(store, &told, ledger, report);
        }
        deletions
    }

    fn take(
        &mut self,
        at: usize,
        store: &Store,
        id: &str,
        body: DeletionBody,
        ledger: &mut Ledger,
        report: &mut Report,
    ) {
        let zone = store.zone.as_str();
        for table in &body.tables {
            let key = |path: &str| (zone.to_owned(), table.table.clone(), path.to_owned());
            let of_table = (zone.to_owned(), table.table.clone());
            if table.log_is_cut {
                self.cut.insert(of_table.clone());
            }
            self.tables.insert(of_table);
            for file in &table.removed {
                self.removed.insert(key(&file.path), (id.to_owned(), file.sha256.clone()));
            }
            for file in &table.written {
                let named = Named {
                    flush: u32::MAX,
                    bytes: file.bytes,
                    rows: file.rows,
                    sha256: file.sha256.clone(),
                };
                self.written.insert(key(&file.path), named);
            }
        }
        let DeletionBody { criterion, coordinates, tables, .. } = body;
        let deletion = Deletion { id: id.to_owned(), store: at, coordinates, criterion, tables };
        for table in &deletion.tables {
            for one in &table.partitions {
                // More may have come since; that as many stayed as should is what is said.
                if one.after.saturating_add(one.deleted) < one.before || table.found > 0 {
                    let what = format!(
                        "deletion {id} says of {} {}/{} that of {} rows {} went and {} are left, and that {} were found which had gone",
                        table.table,
                        one.topic,
                        one.partition,
                        one.before,
                        one.deleted,
                        one.after,
                        table.found
                    );
                    report.violation(Kind::Deletions, deletion.finding(zone, what));
                }
            }
        }
        let fault = match deletion.coordinates.fault(&store.root) {
            Ok(fault) => fault.map(str::to_owned),
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        match fault {
            None => self.sound.push(deletion),
            Some(fault) => {
                let what = format!("the coordinates of deletion {id}: {fault}");
                report.violation(Kind::Deletions, deletion.finding(zone, what));
                let of = |table: &TableDeleted| (zone.to_owned(), table.table.clone());
                ledger.damaged_tables.extend(deletion.tables.iter().map(of));
            }
        }
    }

    /// Deletions that were begun and of which the ledger does not tell, and coordinates of none.
    fn look_for_unfinished(
        &mut self,
        store: &Store,
        told: &BTreeSet<String>,
        ledger: &mut Ledger,
        report: &mut Report,
    ) {
        let zone = store.zone.as_str();
        let mut known = told.clone();
        match plan::unfinished(&store.root) {
            Ok(plans) => {
                for plan in plans.into_iter().filter(|plan| !told.contains(&plan.id)) {
                    let what = format!(
                        "deletion {} was begun and is not finished; `situs store delete --finish` finishes it",
                        plan.id
                    );
                    report.violation(Kind::Deletions, Finding::in_zone(zone, what));
                    for table in plan.tables {
                        ledger.damaged_tables.insert((zone.to_owned(), table.table.clone()));
                        self.under_way.insert((zone.to_owned(), table.table));
                    }
                    known.insert(plan.id);
                }
            }
            Err(fault) => report.violation(Kind::Deletions, Finding::in_zone(zone, fault.message)),
        }
        for name in durable::list(&names::deletions(&store.root)).unwrap_or_default() {
            if names::deletion_of(&name).is_some_and(|(id, _)| !known.contains(id)) {
                report.count(Kind::Deletions, "coordinates of no deletion", 1);
            }
        }
    }

    /// Whether a deletion took, or may have taken, rows of a table.
    pub(super) fn took_from(&self, zone: &str, table: &str) -> bool {
        let key = (zone.to_owned(), table.to_owned());
        self.tables.contains(&key) || self.under_way.contains(&key)
    }

    /// Whether a deletion says that it removed a file, or may have done so.
    pub(super) fn may_have_removed(&self, zone: &str, table: &str, path: &str) -> bool {
        let key = (zone.to_owned(), table.to_owned());
        self.cut.contains(&key)
            || self.under_way.contains(&key)
            || self.removed.contains_key(&(key.0, key.1, path.to_owned()))
    }

    /// What a deletion says of a file that a receipt names and that was removed: `None` if none removed it.
    pub(super) fn removed(&self, zone: &str, table: &TableName, path: &str, sha256: &str) -> Option<Removal> {
        let key = (zone.to_owned(), table.as_str().to_owned(), path.to_owned());
        match self.removed.get(&key) {
            Some((_, said)) if said == sha256 => Some(Removal::Told),
            Some((id, _)) => Some(Removal::Other(id.clone())),
            None if self.under_way.contains(&(key.0, key.1)) => Some(Removal::UnderWay),
            None => None,
        }
    }

    /// A file that a deletion wrote, as its entry says.
    pub(super) fn written(&self, zone: &str, table: &TableName, path: &str) -> Option<&Named> {
        self.written.get(&(zone.to_owned(), table.as_str().to_owned(), path.to_owned()))
    }
}

/// What a deletion says of a file that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// That it removed this file.
    Told,
    /// That it removed another file of this name.
    Other(String),
    /// Nothing yet: it is not finished.
    UnderWay,
}
