//! The ledger of each store: entries without a gap, each what was hashed and signed, in the chain of the one before.

use std::collections::BTreeMap;
use std::fs::File;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch, StringArray};
use situs_model::{LedgerKind, TableName};

use super::files;
use super::report::{Finding, Kind, Report};
use super::roots::{self, Store};
use super::sign::Keys;
use crate::chain::{self, Canonical, Chained};
use crate::history::History;
use crate::{names, scan, zone_ledger};

/// The ledgers of all stores, in the order of the stores.
#[derive(Debug)]
pub(super) struct ZoneLedgers {
    pub(super) of_store: Vec<Read>,
}

/// What was read of a ledger.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The entries by their numbers.
    pub(super) entries: Vec<Entry>,
    /// How many the log counts; `None` if not all that it names could be read.
    counted: Option<i64>,
}

/// An entry, by what it says.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: i64,
    /// `None` for a kind that this version does not know.
    pub(super) kind: Option<LedgerKind>,
    pub(super) subject: String,
    pub(super) policy: String,
    pub(super) said_by: String,
    pub(super) body: String,
    previous: Option<String>,
    hash: Option<String>,
}

impl ZoneLedgers {
    /// Reads the ledger of every store, and checks each entry by itself. `keys` are those that may have signed; the archive of each
    /// store knows more, unless keys are pinned.
    pub(super) fn read(stores: &[Store], keys: &Keys, report: &mut Report) -> Self {
        let of_store = stores.iter().map(|store| {
            if store.tables.contains(&TableName::ledger()) {
                let keys = keys.with_archive(&store.root, report);
                read_one(store, &keys, report)
            } else {
                Read { counted: Some(0), ..Read::default() }
            }
        });
        Self { of_store: of_store.collect() }
    }

    /// Checks that each ledger is a chain without a gap.
    pub(super) fn check(&self, stores: &[Store], report: &mut Report) {
        for (store, read) in stores.iter().zip(&self.of_store) {
            if let Some(counted) = read.counted {
                check_chain(store.zone.as_str(), &read.entries, counted, report);
            }
        }
    }
}

fn read_one(store: &Store, keys: &Keys, report: &mut Report) -> Read {
    let (zone, table) = (store.zone.as_str(), TableName::ledger());
    let folder = names::table(&store.root, &table);
    // That a log or a file cannot be read is told where files are checked.
    let Ok(history) = History::read(&folder) else { return Read::default() };
    report.count(Kind::Ledgers, "ledgers", 1);
    let mut reading = Reading { zone, keys, report, entries: BTreeMap::new() };
    let mut whole = true;
    for path in roots::paths_inside(&history) {
        let Some(added) = history.files.get(&path) else { continue };
        if files::faults_of(&folder.join(&path), added, None).damaged {
            whole = false;
            continue;
        }
        let read = File::open(folder.join(&path)).map_err(|error| format!("cannot be opened: {error}"));
        if let Err(what) = read.and_then(|file| reading.file(file)) {
            whole = false;
            let finding = Finding::in_file(zone, table.as_str(), &path, what);
            reading.report.violation(Kind::Ledgers, finding);
        }
    }
    let counted = history.offsets.get(zone_ledger::APP_ID).copied().unwrap_or(0);
    Read { entries: reading.entries.into_values().collect(), counted: whole.then_some(counted) }
}

fn place(zone: &str, what: impl Into<String>) -> Finding {
    Finding { table: Some(TableName::ledger().as_str().to_owned()), ..Finding::in_zone(zone, what) }
}

/// Numbers without a gap, each entry in the chain of the one before, as many as the log counts.
fn check_chain(zone: &str, entries: &[Entry], counted: i64, report: &mut Report) {
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let number = entry.number;
        report.count(Kind::Ledgers, entry.kind.map_or("of unknown kinds", LedgerKind::as_str), 1);
        if !matches!(serde_json::from_str(&entry.body), Ok(serde_json::Value::Object(_))) {
            let what = format!("entry {number}, of {}: its body is no JSON object", entry.subject);
            report.violation(Kind::Ledgers, place(zone, what));
        }
        let next = before.map_or(0, |before| before.number + 1);
        if number > next {
            let missing = if number == next + 1 {
                format!("entry {next} is missing")
            } else {
                format!("entries {next} to {} are missing", number - 1)
            };
            report.violation(Kind::Ledgers, place(zone, missing));
        } else if entry.previous.as_deref() == before.and_then(|before| before.hash.as_deref()) {
            report.count(Kind::Ledgers, "links", 1);
        } else {
            let what = format!("entry {number} does not continue the entry before it");
            report.violation(Kind::Ledgers, place(zone, what));
        }
        before = Some(entry);
    }
    let end = before.map_or(0, |before| before.number + 1);
    if end < counted {
        let what = format!("the log counts {counted} entries, but there is none from {end} on");
        report.violation(Kind::Ledgers, place(zone, what));
    } else if end > counted {
        let what = format!("there are entries up to {}, but the log counts {counted}", end - 1);
        report.violation(Kind::Ledgers, place(zone, what));
    }
}

/// A ledger while it is read.
struct Reading<'a> {
    zone: &'a str,
    keys: &'a Keys,
    report: &'a mut Report,
    /// By number.
    entries: BTreeMap<i64, Entry>,
}

const NO_LEDGER: &str = "cannot be read as a ledger";

impl Reading<'_> {
    fn file(&mut self, file: File) -> Result<(), String> {
        for batch in scan::columns(file, &[]).map_err(|_| NO_LEDGER)? {
            let batch = batch.map_err(|_| NO_LEDGER)?;
            let canonical = Canonical::new(Chained::Ledger, &batch).map_err(|fault| fault.message)?;
            for row in 0..batch.num_rows() {
                self.entry(&batch, &canonical, row).ok_or(NO_LEDGER)?;
            }
        }
        Ok(())
    }

    /// `None` if a column is missing or null that no entry lacks.
    fn entry(&mut self, batch: &RecordBatch, canonical: &Canonical<'_>, row: usize) -> Option<()> {
        let text = |name: &str| -> Option<&str> {
            let column: &StringArray = batch.column_by_name(name)?.as_string_opt()?;
            column.is_valid(row).then(|| column.value(row))
        };
        let numbers = batch.column_by_name("number")?.as_primitive_opt::<Int64Type>()?;
        let number = numbers.is_valid(row).then(|| numbers.value(row))?;
        let zone = self.zone;
        let finding = |what: &str| place(zone, format!("entry {number}: {what}"));
        self.report.count(Kind::Ledgers, "entries", 1);
        let said = text(chain::HASH);
        match said {
            Some(said) if canonical.hash(row) == said => {}
            Some(_) => {
                let what = "its hash is not that of its content";
                self.report.violation(Kind::Ledgers, finding(what));
            }
            None => self.report.violation(Kind::Ledgers, finding("it has no hash")),
        }
        if let Some(hash) = said.and_then(chain::unhex::<32>) {
            let (key_id, signature) = (text(chain::KEY_ID), text(chain::SIGNATURE));
            self.keys.check(&hash, key_id, signature, &finding, self.report);
        }
        let word = text("kind")?;
        let entry = Entry {
            number,
            kind: LedgerKind::WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind),
            subject: text("subject")?.to_owned(),
            policy: text("policy")?.to_owned(),
            said_by: text("said_by")?.to_owned(),
            body: text("body")?.to_owned(),
            previous: text(chain::PREVIOUS).map(str::to_owned),
            hash: said.map(str::to_owned),
        };
        if self.entries.insert(number, entry).is_some() {
            self.report.violation(Kind::Ledgers, finding("it is there twice"));
        }
        Some(())
    }
}
