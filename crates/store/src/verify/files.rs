//! The files of the tables against what commits and receipts say of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use sha2::{Digest as _, Sha256};
use situs_model::{Class, TableName};

use super::deleted::{Deletions, Removal};
use super::ledger::{Ledger, Named};
use super::report::{Finding, Kind, Report};
use super::retagged::Retags;
use super::roots::{self, Store};
use crate::chain::hex;
use crate::encode::CLASS;
use crate::history::{Added, History};
use crate::names;

/// A table whose files were looked at.
#[derive(Debug)]
pub(super) struct TableFiles {
    /// The zone of its store.
    pub(super) zone: String,
    pub(super) name: TableName,
    pub(super) folder: PathBuf,
    /// Its files whose rows can be looked for.
    pub(super) readable: Vec<String>,
    /// Whether these are all of its files.
    pub(super) whole: bool,
    /// The class of each file, as the log says.
    pub(super) classes: HashMap<String, Class>,
    /// Its own offsets, by application id.
    pub(super) offsets: HashMap<String, i64>,
}

impl TableFiles {
    /// The furthest offset of a partition, whatever its cluster; `i64::MIN` if it has none.
    pub(super) fn next_of_any(&self, topic: &str, partition: i32) -> i64 {
        let end = format!("/{topic}/{partition}");
        let of_it = self.offsets.iter().filter(|(id, _)| id.starts_with("situs/") && id.ends_with(&end));
        of_it.map(|(_, offset)| *offset).max().unwrap_or(i64::MIN)
    }
}

/// Checks the files of a table of a store. `None` if its log cannot be read.
pub(super) fn check(
    store: &Store,
    name: &TableName,
    ledger: &mut Ledger,
    deletions: &Deletions,
    retags: &mut Retags,
    report: &mut Report,
) -> Option<TableFiles> {
    let zone = store.zone.as_str();
    let folder = names::table(&store.root, name);
    let history = match History::read(&folder) {
        Ok(history) => history,
        Err(fault) => {
            let finding = Finding::in_file(zone, name.as_str(), "_delta_log", fault.message);
            report.violation(Kind::Files, finding);
            ledger.damaged_tables.insert((zone.to_owned(), name.as_str().to_owned()));
            return None;
        }
    };
    report.count(Kind::Files, "tables", 1);
    retags.compare_log(zone, name, &history, report);
    let mut readable = Vec::new();
    for path in roots::files_inside(store, name, &history, report) {
        let Some(added) = history.files.get(&path) else { continue };
        let key = (zone.to_owned(), name.as_str().to_owned(), path.clone());
        let named = ledger.files.get(&key).cloned();
        let by_deletion = deletions.written(zone, name, &path);
        let by_retag = retags.written(zone, name, &path);
        report.count(Kind::Files, "files", 1);
        report.count(Kind::Files, "bytes", added.size);
        match &named {
            Some(_) => report.count(Kind::Files, "named by receipts", 1),
            None if by_deletion.is_some() => report.count(Kind::Files, "written by deletions", 1),
            None if by_retag.is_some() => report.count(Kind::Files, "written by re-taggings", 1),
            None if !added.data_change => report.count(Kind::Files, "rewritten", 1),
            None => report.count(Kind::Files, "not named by receipts", 1),
        }
        let faults = faults_of(&folder.join(&path), added, named.as_ref().or(by_deletion).or(by_retag));
        if faults.damaged {
            ledger.damaged(named.map(|named| named.flush), zone, name.as_str());
        }
        if let Some(what) = faults.what {
            report.violation(Kind::Files, Finding::in_file(zone, name.as_str(), &path, what));
        }
        if !faults.damaged {
            readable.push(path);
        }
    }
    check_named(store, name, &history, ledger, (deletions, retags), report);
    check_removed(store, name, &history, ledger, (deletions, retags), report);
    roots::orphans(store, name, &history, report);
    let classes =
        history.files.iter().filter_map(|(path, added)| Some((path.clone(), added.class?))).collect();
    let (zone, name) = (zone.to_owned(), name.clone());
    let whole = readable.len() == history.files.len();
    Some(TableFiles { zone, name, folder, readable, whole, classes, offsets: history.offsets })
}

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) what: Option<String>,
    /// Its rows are not what they were, so that they say nothing.
    pub(super) damaged: bool,
}

pub(super) fn faults_of(path: &Path, added: &Added, named: Option<&Named>) -> Faults {
    let damaged = |what: String| Faults { what: Some(what), damaged: true };
    let size = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return damaged("is no file".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return damaged("is missing".to_owned());
        }
        Err(error) => return damaged(format!("cannot be looked at: {error}")),
    };
    if size != added.size {
        return damaged(format!("has {size} bytes, the log says {}", added.size));
    }
    let Some(named) = named else { return Faults::default() };
    if size != named.bytes {
        return damaged(format!("has {size} bytes, its receipt says {}", named.bytes));
    }
    match sha256_of(path) {
        Ok(found) if found == named.sha256 => {}
        Ok(_) => return damaged("its SHA-256 is not that of its receipt".to_owned()),
        Err(error) => return damaged(format!("cannot be read: {error}")),
    }
    match added.rows {
        Some(rows) if rows != named.rows => {
            let what = format!("has {rows} rows by the log, {} by its receipt", named.rows);
            Faults { what: Some(what), damaged: false }
        }
        _ => Faults::default(),
    }
}

/// Files that receipts name and that are not part of the table.
fn check_named(
    store: &Store,
    name: &TableName,
    history: &History,
    ledger: &mut Ledger,
    (deletions, retags): (&Deletions, &Retags),
    report: &mut Report,
) {
    let zone = store.zone.as_str();
    let first = (zone.to_owned(), name.as_str().to_owned(), String::new());
    let mut lost = Vec::new();
    for ((of_zone, of_table, path), named) in ledger.files.range(first..) {
        if of_zone != zone || of_table != name.as_str() {
            break;
        }
        if history.files.contains_key(path) {
            if retags.removed(zone, name, path).is_some() {
                let what = "a re-tagging says that it removed this file, and it is part of the table";
                report.violation(Kind::Retags, Finding::in_file(zone, name.as_str(), path, what));
            }
            continue;
        }
        let what = match history.removed.get(path) {
            Some(false) => {
                report.count(Kind::Files, "replaced", 1);
                continue;
            }
            None if history.is_cut() => {
                report.count(Kind::Files, "replaced before the log begins", 1);
                continue;
            }
            Some(true) if retags.removed(zone, name, path).is_some() => {
                if retags.removed(zone, name, path) == Some(named.sha256.as_str()) {
                    report.count(Kind::Files, "removed by re-taggings", 1);
                    continue;
                }
                "a re-tagging says that it removed a file of another SHA-256 than its receipt's".to_owned()
            }
            Some(true) => match deletions.removed(zone, name, path, &named.sha256) {
                Some(Removal::Told) => {
                    report.count(Kind::Files, "removed by deletions", 1);
                    continue;
                }
                // That it is not finished is told already.
                Some(Removal::UnderWay) => continue,
                Some(Removal::Other(id)) => {
                    format!("deletion {id} says that it removed a file of another SHA-256 than its receipt's")
                }
                None => "was removed by a commit that changes the table's data".to_owned(),
            },
            None => "is named by a receipt and by no commit".to_owned(),
        };
        report.violation(Kind::Files, Finding::in_file(zone, name.as_str(), path, what));
        lost.push(named.flush);
    }
    ledger.damaged_flushes.extend(lost);
}

/// Files that no receipt names, such as compacted ones, and that a commit removed with their data: only deletions
/// and re-taggings do that.
fn check_removed(
    store: &Store,
    name: &TableName,
    history: &History,
    ledger: &Ledger,
    (deletions, retags): (&Deletions, &Retags),
    report: &mut Report,
) {
    let zone = store.zone.as_str();
    let mut removed: Vec<&String> =
        history.removed.iter().filter(|(_, changes)| **changes).map(|(path, _)| path).collect();
    removed.sort();
    for path in removed {
        let key = (zone.to_owned(), name.as_str().to_owned(), path.clone());
        let told = ledger.files.contains_key(&key)
            || retags.removed(zone, name, path).is_some()
            || deletions.may_have_removed(zone, name.as_str(), path);
        if !told {
            let what = "was removed by a commit that changes the table's data, of which no ledger tells";
            report.violation(Kind::Files, Finding::in_file(zone, name.as_str(), path, what));
        }
    }
}

/// Files that receipts name of tables that are not there.
pub(super) fn check_missing_tables(stores: &[Store], ledger: &mut Ledger, report: &mut Report) {
    let there = |zone: &str, table: &str| {
        let of_zone = stores.iter().find(|store| store.zone.as_str() == zone);
        of_zone.is_none_or(|store| store.tables.iter().any(|name| name.as_str() == table))
    };
    let mut lost = Vec::new();
    let mut told = std::collections::BTreeSet::new();
    for ((zone, table, _), named) in &ledger.files {
        if !there(zone, table) {
            lost.push(named.flush);
            told.insert((zone.clone(), table.clone()));
        }
    }
    ledger.damaged_flushes.extend(lost);
    for (zone, table) in told {
        let what = "receipts name files of this table, which is not there";
        let finding = Finding { table: Some(table), ..Finding::in_zone(&zone, what) };
        report.violation(Kind::Files, finding);
    }
}

/// The SHA-256 of a file's bytes, in lower-case hexadecimal. It reads the file: call it where blocking is allowed.
///
/// # Errors
/// If it cannot be read.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The class that a file's footer says; a word that is no class is the strictest.
pub(super) fn told_class(file: &File) -> Result<Option<Class>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let facts = metadata.metadata().file_metadata().key_value_metadata();
    let told = facts.into_iter().flatten().find(|fact| fact.key == CLASS);
    Ok(told.map(|fact| fact.value.as_deref().and_then(Class::from_word).unwrap_or(Class::Unclassified)))
}
