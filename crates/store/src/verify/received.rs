//! Rows that came from other zones by transfers: they are there exactly as the ledgers of both stores tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use arrow_array::types::Int64Type;
use serde::Deserialize;
use situs_model::columns::names as columns;
use situs_model::transfer::{TransferUse, same_person};
use situs_model::{Class, LedgerKind, Training};

use super::files::{TableFiles, sha256_of};
use super::report::{Finding, Kind, Report};
use super::roots::Store;
use super::rows::{UNREADABLE, numbers, text};
use super::zone_ledgers::ZoneLedgers;
use crate::scan;

/// What the entry of a transfer tells, as far as it can be measured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Told {
    from: StoreText,
    to: StoreText,
    table: String,
    definition: String,
    ceiling: String,
    #[serde(rename = "use")]
    usage: String,
    rows: u64,
    bytes: u64,
    columns: Vec<String>,
    classes: BTreeMap<String, u64>,
    source_version: u64,
    files: Vec<FileText>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct StoreText {
    zone: String,
    store: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct FileText {
    path: String,
    rows: u64,
    bytes: u64,
    sha256: String,
}

/// The rows of a transfer in a table, as they were found.
#[derive(Debug, Default)]
struct Found {
    rows: u64,
    /// Rows by the zone that they name.
    zones: BTreeMap<String, u64>,
    /// Rows by their class.
    classes: BTreeMap<String, u64>,
    /// Rows by what they allow models to learn.
    trainings: BTreeMap<String, u64>,
    /// The files that hold them, and the rows of it in each.
    files: BTreeMap<String, u64>,
    /// A bit for each number of a row that was seen.
    seen: Vec<u64>,
    /// Rows whose number was seen before, or is no number of a row.
    double: u64,
}

/// The rows of all transfers, by zone, table and transfer.
#[derive(Debug, Default)]
pub(super) struct Received {
    found: BTreeMap<(String, String, String), Found>,
    /// Tables (zone and name) of which a file cannot be read, so that rows are not counted.
    damaged: BTreeSet<(String, String)>,
}

impl Received {
    /// Reads a table of received rows.
    pub(super) fn table(&mut self, table: &TableFiles, report: &mut Report) {
        for file in &table.readable {
            let read =
                File::open(table.folder.join(file)).map_err(|error| format!("cannot be opened: {error}"));
            if let Err(what) = read.and_then(|opened| self.file(table, file, opened, report)) {
                self.damage(&table.zone, table.name.as_str());
                let finding = Finding::in_file(&table.zone, table.name.as_str(), file, what);
                report.violation(Kind::Files, finding);
            }
        }
    }

    /// Notes that rows of a table cannot be counted.
    pub(super) fn damage(&mut self, zone: &str, table: &str) {
        self.damaged.insert((zone.to_owned(), table.to_owned()));
    }

    fn file(
        &mut self,
        table: &TableFiles,
        file: &str,
        opened: File,
        report: &mut Report,
    ) -> Result<(), String> {
        let names =
            [columns::TRANSFER, columns::TRANSFER_ROW, columns::ZONE, columns::CLASS, columns::TRAINING];
        for batch in scan::columns(opened, &names).map_err(|_| UNREADABLE)? {
            let batch = batch.map_err(|_| UNREADABLE)?;
            let (ids, zones) = (text(&batch, columns::TRANSFER)?, text(&batch, columns::ZONE)?);
            let (classes, trainings) = (text(&batch, columns::CLASS)?, text(&batch, columns::TRAINING)?);
            let rows = numbers::<Int64Type>(&batch, columns::TRANSFER_ROW)?;
            for at in 0..batch.num_rows() {
                let id = scan::text(ids, at).unwrap_or_default();
                let key = (table.zone.clone(), table.name.as_str().to_owned(), id.to_owned());
                let found = self.found.entry(key).or_default();
                found.rows += 1;
                tally(&mut found.zones, scan::text(zones, at).unwrap_or_default());
                tally(&mut found.classes, scan::text(classes, at).unwrap_or_default());
                tally(&mut found.trainings, scan::text(trainings, at).unwrap_or_default());
                tally(&mut found.files, file);
                found.see(rows.value(at));
            }
            report.count(Kind::Transfers, "received rows", batch.num_rows() as u64);
        }
        Ok(())
    }

    /// Compares what was found with what the ledgers tell, and these with each other.
    pub(super) fn check(&self, stores: &[Store], ledgers: &ZoneLedgers, report: &mut Report) {
        let sent = told(stores, ledgers, LedgerKind::TransferSent, report);
        let received = told(stores, ledgers, LedgerKind::TransferReceived, report);
        report.count(Kind::Transfers, "transfers", received.len() as u64);
        for ((zone, id), told) in &received {
            self.check_one(stores, zone, id, told, report);
            if !is_here(stores, &told.from) {
                report.count(Kind::Transfers, "from stores that are not here", 1);
                continue;
            }
            let place = |what: String| at(zone, &told.table, id, what);
            match sent.get(&(told.from.zone.clone(), id.clone())) {
                Some(other) if other == told => {}
                Some(_) => {
                    let what = format!("the ledger of zone {} tells otherwise of it", told.from.zone);
                    report.violation(Kind::Transfers, place(what));
                }
                None => {
                    let what = format!(
                        "the ledger of zone {} does not tell that it was sent; if it was cut off, `situs transfer \
                         run {id}` finishes it",
                        told.from.zone
                    );
                    report.violation(Kind::Transfers, place(what));
                }
            }
        }
        for ((zone, id), told) in &sent {
            let there = (told.to.zone.clone(), id.clone());
            if is_here(stores, &told.to) && !received.contains_key(&there) {
                let what = format!("it was sent from zone {zone}, but the ledger here does not tell of it");
                report.violation(Kind::Transfers, at(&told.to.zone, &told.table, id, what));
            }
        }
        check_derived(stores, ledgers, report);
        check_approvals(stores, ledgers, report);
        for ((zone, table, id), found) in &self.found {
            if received.get(&(zone.clone(), id.clone())).is_none_or(|told| told.table != *table) {
                let what = format!(
                    "{} rows are of it, and the ledger here does not tell of it; if it was cut off, `situs transfer \
                     run {id}` finishes it",
                    found.rows
                );
                report.violation(Kind::Transfers, at(zone, table, id, what));
            }
        }
    }

    fn check_one(&self, stores: &[Store], zone: &str, id: &str, told: &Told, report: &mut Report) {
        let table = told.table.as_str();
        let mut violation = |what: String| report.violation(Kind::Transfers, at(zone, table, id, what));
        let folder =
            stores.iter().find(|store| store.zone.as_str() == zone).map(|store| store.root.join(table));
        let mut whole = !self.damaged.contains(&(zone.to_owned(), table.to_owned()));
        for file in &told.files {
            let Some(path) = folder.as_ref().map(|folder| folder.join(&file.path)) else { continue };
            let what = match (crate::reader::is_inside(&file.path), sha256_of(&path)) {
                (false, _) => "lies outside of the table".to_owned(),
                (_, Ok(sha256)) if sha256 == file.sha256 => continue,
                (_, Ok(_)) => "its SHA-256 is not that which the ledger tells".to_owned(),
                (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => "is missing".to_owned(),
                (_, Err(error)) => format!("cannot be read: {error}"),
            };
            // Its rows say nothing then.
            whole = false;
            violation(format!("file {} {what}", file.path));
        }
        if !whole {
            return;
        }
        let none = Found::default();
        let key = (zone.to_owned(), table.to_owned(), id.to_owned());
        let found = self.found.get(&key).unwrap_or(&none);
        let of_files: u64 = told.files.iter().map(|file| file.rows).sum();
        if found.rows != told.rows || of_files != told.rows {
            violation(format!("the ledger tells of {} rows, the table holds {}", told.rows, found.rows));
        } else if found.double > 0 {
            violation(format!("{} of its rows are there twice", found.double));
        }
        let foreign: u64 =
            found.zones.iter().filter(|(of, _)| **of != told.from.zone).map(|(_, rows)| rows).sum();
        if foreign > 0 {
            violation(format!("{foreign} rows are tagged for another zone than {}", told.from.zone));
        }
        if found.classes != told.classes {
            violation("its rows are of other classes than the ledger tells".to_owned());
        }
        let ceiling = word_of(Class::WORDS, &told.ceiling);
        let over = |class: &str| word_of(Class::WORDS, class).is_none_or(|class| Some(class) > ceiling);
        let stricter = sum_of(&found.classes, over);
        if stricter > 0 {
            violation(format!(
                "{stricter} rows are of a stricter class than `{}`, its ceiling",
                told.ceiling
            ));
        }
        let usage = word_of(TransferUse::WORDS, &told.usage);
        let under = |may: &str| word_of(Training::WORDS, may).is_none_or(|may| may < Training::WithApproval);
        let unlearned = sum_of(&found.trainings, under);
        if unlearned > 0 && usage != Some(TransferUse::Operation) {
            violation(format!("it is for `{}`, and {unlearned} rows must not be learned from", told.usage));
        }
        let files = told.files.iter().map(|file| (file.path.clone(), file.rows));
        if found.rows == told.rows && found.files != files.collect() {
            violation("its rows lie in other files than the ledger names".to_owned());
        }
    }
}

impl Found {
    fn see(&mut self, row: i64) {
        // More numbers than there are rows mean that one is missing, which the count tells.
        let Some(at) = usize::try_from(row).ok().filter(|at| *at < 1 << 40) else {
            self.double += 1;
            return;
        };
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        if word >= self.seen.len() {
            // A number far beyond the rows seen so far is none: rows are numbered as they are written.
            if word > self.seen.len() + (1 << 20) {
                self.double += 1;
                return;
            }
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.double += 1;
        }
        self.seen[word] |= bit;
    }
}

fn tally(counts: &mut BTreeMap<String, u64>, word: &str) {
    match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => {
            counts.insert(word.to_owned(), 1);
        }
    }
}

fn sum_of(counts: &BTreeMap<String, u64>, which: impl Fn(&str) -> bool) -> u64 {
    counts.iter().filter(|(word, _)| which(word)).map(|(_, rows)| rows).sum()
}

fn word_of<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

/// Whatever left was requested before, and approved by another person, as it was defined when it left.
fn check_approvals(stores: &[Store], ledgers: &ZoneLedgers, report: &mut Report) {
    #[derive(Deserialize)]
    struct Defined {
        definition: String,
    }
    let definition = |body: &str| serde_json::from_str(body).ok().map(|Defined { definition }| definition);
    for (store, read) in stores.iter().zip(&ledgers.of_store) {
        for sent in &read.entries {
            if !matches!(sent.kind, Some(LedgerKind::TransferSent | LedgerKind::DerivedSent)) {
                continue;
            }
            // That it cannot be understood is told elsewhere.
            let Some(defined) = definition(&sent.body) else { continue };
            let before = |kind: LedgerKind, end: i64| {
                read.entries.iter().find(|entry| {
                    entry.kind == Some(kind)
                        && entry.subject == sent.subject
                        && entry.number < end
                        && definition(&entry.body).as_ref() == Some(&defined)
                })
            };
            let approval = before(LedgerKind::TransferApproved, sent.number);
            let end = approval.map_or(sent.number, |approval| approval.number);
            let what = match (before(LedgerKind::TransferRequested, end), approval) {
                (None, _) => "nobody requested it as it was carried out",
                (_, None) => "nobody approved it as it was carried out",
                (Some(request), Some(approval)) if same_person(&request.said_by, &approval.said_by) => {
                    "whoever requested it approved it"
                }
                (Some(_), Some(_)) => {
                    report.count(Kind::Transfers, "approved by another person", 1);
                    continue;
                }
            };
            let finding = at(store.zone.as_str(), "ledger", &sent.subject, what.to_owned());
            report.violation(Kind::Transfers, finding);
        }
    }
}

/// What one ledger tells of something that was made of rows, the other tells too.
fn check_derived(stores: &[Store], ledgers: &ZoneLedgers, report: &mut Report) {
    #[derive(Deserialize)]
    struct Ends {
        from: StoreText,
        to: StoreText,
    }
    let all = || {
        let of_store = stores.iter().zip(&ledgers.of_store);
        of_store.flat_map(|(store, read)| read.entries.iter().map(move |entry| (store.zone.as_str(), entry)))
    };
    for (zone, entry) in all() {
        let (other, word) = match entry.kind {
            Some(LedgerKind::DerivedSent) => (LedgerKind::DerivedReceived, "was received"),
            Some(LedgerKind::DerivedReceived) => (LedgerKind::DerivedSent, "was sent"),
            _ => continue,
        };
        report.count(Kind::Transfers, "entries of derived things", 1);
        let place = |what: String| at(zone, "ledger", &entry.subject, what);
        let Ok(Ends { from, to }) = serde_json::from_str(&entry.body) else {
            report.violation(Kind::Transfers, place("what its entry tells cannot be understood".to_owned()));
            continue;
        };
        let end = if other == LedgerKind::DerivedSent { from } else { to };
        if !is_here(stores, &end) {
            continue;
        }
        let there = all().find(|(of, found)| {
            *of == end.zone && found.kind == Some(other) && found.subject == entry.subject
        });
        let what = match there {
            Some((_, found)) if found.body == entry.body => continue,
            Some(_) => format!("the ledger of zone {} tells otherwise of it", end.zone),
            None => format!(
                "the ledger of zone {} does not tell that it {word}; if it was cut off, `situs transfer run {}` \
                 finishes it",
                end.zone, entry.subject
            ),
        };
        report.violation(Kind::Transfers, place(what));
    }
}

fn at(zone: &str, table: &str, id: &str, what: String) -> Finding {
    let what = format!("transfer {id}: {what}");
    Finding { table: Some(table.to_owned()), ..Finding::in_zone(zone, what) }
}

/// Whether the store that an entry names is among those that are verified.
fn is_here(stores: &[Store], named: &StoreText) -> bool {
    let same = |store: &&Store| {
        store.zone.as_str() == named.zone
            && store.identity.as_ref().is_some_and(|identity| identity.store_id == named.store)
    };
    stores.iter().any(|store| same(&store))
}

/// What the ledgers tell in entries of a kind, by zone and transfer.
fn told(
    stores: &[Store],
    ledgers: &ZoneLedgers,
    kind: LedgerKind,
    report: &mut Report,
) -> BTreeMap<(String, String), Told> {
    let mut all = BTreeMap::new();
    for (store, read) in stores.iter().zip(&ledgers.of_store) {
        let zone = store.zone.as_str();
        for entry in read.entries.iter().filter(|entry| entry.kind == Some(kind)) {
            let place = |what: &str| at(zone, "ledger", &entry.subject, what.to_owned());
            let Ok(told) = serde_json::from_str::<Told>(&entry.body) else {
                report.violation(Kind::Transfers, place("what its entry tells cannot be understood"));
                continue;
            };
            let own = if kind == LedgerKind::TransferSent { &told.from } else { &told.to };
            if own.zone != zone {
                report.violation(Kind::Transfers, place("its entry stands in the ledger of another zone"));
            }
            if all.insert((zone.to_owned(), entry.subject.clone()), told).is_some() {
                report.violation(Kind::Transfers, place("it is told of twice"));
            }
        }
    }
    all
}
