//! What re-taggings say: which rows have the tags of another policy than that of their receipt, in which files.
//! Rows of which none says so were changed by somebody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use situs_model::columns::names as columns;
use situs_model::{LedgerKind, TableName};

use super::deleted::Deletions;
use super::files::{TableFiles, sha256_of};
use super::ledger::{Ledger, Named};
use super::report::{Finding, Kind, Report};
use super::roots::Store;
use super::zone_ledgers::{Entry, ZoneLedgers};
use crate::history::History;
use crate::maintain::retag::{RetagBody, TagCounts, count_tags};
use crate::scan;

/// A table: its zone and its name.
type TableKey = (String, String);

/// What the ledgers say of re-taggings.
#[derive(Debug, Default)]
pub(super) struct Retags {
    told: Vec<Told>,
    /// Files that they removed, by zone, table and path: the SHA-256.
    removed: HashMap<(String, String, String), String>,
    /// Files that they wrote.
    written: HashMap<(String, String, String), Named>,
}

/// A re-tagging.
#[derive(Debug)]
struct Told {
    id: String,
    zone: String,
    by: String,
    policy: String,
    /// As it stands in the ledger.
    text: String,
    body: RetagBody,
    /// Whether the ledger tells of it; else only a commit does.
    in_ledger: bool,
}

impl Retags {
    /// Reads what the ledgers say.
    pub(super) fn read(stores: &[Store], ledgers: &ZoneLedgers, report: &mut Report) -> Self {
        let mut retags = Self::default();
        for (store, read) in stores.iter().zip(&ledgers.of_store) {
            let zone = store.zone.as_str();
            for entry in read.entries.iter().filter(|entry| entry.kind == Some(LedgerKind::Retagged)) {
                report.count(Kind::Retags, "re-taggings", 1);
                let place = |what: &str| {
                    let number = entry.number;
                    Finding::in_zone(zone, format!("entry {number} of the ledger: {what}"))
                };
                let Ok(body) = serde_json::from_str::<RetagBody>(&entry.body) else {
                    report.violation(Kind::Retags, place("its body cannot be understood"));
                    continue;
                };
                report.count(Kind::Retags, "rows tagged again", body.found.retagged);
                if let Some(what) = impossible(&body, &entry.policy) {
                    report.violation(Kind::Retags, place(what));
                }
                retags.take(zone, entry, body);
            }
        }
        retags
    }

    fn take(&mut self, zone: &str, entry: &Entry, body: RetagBody) {
        self.add(Told {
            id: entry.subject.clone(),
            zone: zone.to_owned(),
            by: entry.said_by.clone(),
            policy: entry.policy.clone(),
            text: entry.body.clone(),
            body,
            in_ledger: true,
        });
    }

    fn add(&mut self, told: Told) {
        let table = &told.body.found.table;
        for file in &told.body.removed {
            let key = (told.zone.clone(), table.clone(), file.path.clone());
            self.removed.insert(key, file.sha256.clone());
        }
        for file in &told.body.written {
            let (bytes, rows, sha256) = (file.bytes, file.rows, file.sha256.clone());
            let key = (told.zone.clone(), table.clone(), file.path.clone());
            self.written.insert(key, Named { flush: u32::MAX, bytes, rows, sha256 });
        }
        self.told.push(told);
    }

    /// Compares with what the log of a table says of itself. What only the log tells of is told once, here, and
    /// taken as said from then on.
    pub(super) fn compare_log(
        &mut self,
        zone: &str,
        table: &TableName,
        history: &History,
        report: &mut Report,
    ) {
        let place =
            |what: String| Finding { table: Some(table.as_str().to_owned()), ..Finding::in_zone(zone, what) };
        let mut new = Vec::new();
        let mut seen = HashSet::new();
        for (version, commit) in &history.retags {
            let id = &commit.id;
            if !seen.insert(id.as_str()) {
                let what =
                    format!("version {version} says that it is re-tagging {id}, as one before it does");
                report.violation(Kind::Retags, place(what));
                continue;
            }
            let is = |told: &&Told| told.zone == zone && told.id == *id;
            match self.told.iter().find(is) {
                Some(told) => {
                    let same = told.text == commit.body
                        && told.policy == commit.policy
                        && told.by == commit.by
                        && told.body.version == *version
                        && told.body.found.table == table.as_str();
                    if !same {
                        let what =
                            format!("the ledger tells otherwise of re-tagging {id} than version {version}");
                        report.violation(Kind::Retags, place(what));
                    }
                }
                None => {
                    let what = format!(
                        "version {version} changed tags by re-tagging {id}, of which the ledger does not tell; `situs store retag --finish` enters it"
                    );
                    report.violation(Kind::Retags, place(what));
                    let body = serde_json::from_str::<RetagBody>(&commit.body).ok();
                    new.extend(body.filter(|body| body.found.table == table.as_str()).map(|body| Told {
                        id: id.clone(),
                        zone: zone.to_owned(),
                        by: commit.by.clone(),
                        policy: commit.policy.clone(),
                        text: commit.body.clone(),
                        body,
                        in_ledger: false,
                    }));
                }
            }
        }
        let oldest = history.oldest.unwrap_or(u64::MAX);
        for told in self.of_table(zone, table.as_str()).filter(|told| told.in_ledger) {
            let version = told.body.version;
            if version >= oldest && !seen.contains(told.id.as_str()) {
                let what = format!(
                    "the ledger tells of re-tagging {} in version {version}, and that version is none",
                    told.id
                );
                report.violation(Kind::Retags, place(what));
            }
        }
        new.into_iter().for_each(|told| self.add(told));
    }

    fn of_table<'a>(&'a self, zone: &'a str, table: &'a str) -> impl Iterator<Item = &'a Told> {
        self.told.iter().filter(move |told| told.zone == zone && told.body.found.table == table)
    }

    /// The SHA-256 of a file that a re-tagging says it removed.
    pub(super) fn removed(&self, zone: &str, table: &TableName, path: &str) -> Option<&str> {
        let key = (zone.to_owned(), table.as_str().to_owned(), path.to_owned());
        self.removed.get(&key).map(String::as_str)
    }

    /// A file that a re-tagging wrote, as its entry says.
    pub(super) fn written(&self, zone: &str, table: &TableName, path: &str) -> Option<&Named> {
        self.written.get(&(zone.to_owned(), table.as_str().to_owned(), path.to_owned()))
    }

    /// Counts the tags of the files again, as far as they lie there: those that were written while all of them are
    /// part of the table, those that were removed until vacuum has taken one.
    pub(super) fn recount(&self, table: &TableFiles, report: &mut Report) {
        for told in self.of_table(&table.zone, table.name.as_str()) {
            let written: Vec<&str> = told.body.written.iter().map(|file| file.path.as_str()).collect();
            let live = written.iter().all(|path| table.readable.iter().any(|known| known == path));
            let path = |path: &str| table.folder.join(path);
            let same = |file: &crate::maintain::delete::GoneFile| {
                crate::reader::is_inside(&file.path)
                    && sha256_of(&path(&file.path)).is_ok_and(|sha256| sha256 == file.sha256)
            };
            let before: Vec<&str> = told.body.removed.iter().map(|file| file.path.as_str()).collect();
            let there = told.body.removed.iter().all(same);
            for (looked, files, said, when, figure) in [
                (live, written, &told.body.found.after, "afterwards", "counts checked afterwards"),
                (there, before, &told.body.found.before, "before", "counts checked before"),
            ] {
                if !looked {
                    continue;
                }
                let files: Vec<_> = files.into_iter().map(path).collect();
                let Some(found) = tally(&files) else { continue };
                report.count(Kind::Retags, figure, 1);
                if found != *said {
                    let what = format!("re-tagging {} counts other tags {when} than its files have", told.id);
                    let table = Some(table.name.as_str().to_owned());
                    report.violation(Kind::Retags, Finding { table, ..Finding::in_zone(&told.zone, what) });
                }
            }
        }
    }

    /// What became of the policies of a table's rows by re-tagging: how many more rows have each of them.
    pub(super) fn flows(&self) -> BTreeMap<TableKey, BTreeMap<String, i64>> {
        let mut flows: BTreeMap<TableKey, BTreeMap<String, i64>> = BTreeMap::new();
        for told in &self.told {
            let of_table = flows.entry((told.zone.clone(), told.body.found.table.clone())).or_default();
            for (counts, sign) in [(&told.body.found.after, 1), (&told.body.found.before, -1)] {
                for (policy, rows) in counts.values(columns::POLICY) {
                    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
                    let sum = of_table.entry(policy.to_owned()).or_default();
                    *sum = sum.saturating_add(sign * rows);
                }
            }
        }
        flows
    }

    /// Whether a re-tagging of the table gave rows this policy.
    pub(super) fn gave(&self, zone: &str, table: &str, policy: &str) -> bool {
        self.of_table(zone, table).any(|told| told.policy == policy)
    }
}

/// What cannot be of the numbers of an entry.
fn impossible(body: &RetagBody, policy: &str) -> Option<&'static str> {
    let found = &body.found;
    let of_each = [columns::CLASS, columns::TRAINING, columns::POLICY];
    let whole = |counts: &TagCounts| of_each.iter().all(|tag| counts.rows(tag) == found.rows);
    let written = body.written.iter().fold(0_u64, |sum, file| sum.saturating_add(file.rows));
    let of_policy = [&found.before, &found.after].map(|counts| counts.of(columns::POLICY, policy));
    if !whole(&found.before) || !whole(&found.after) || written != found.rows {
        Some("its counts are not of all rows of its files")
    } else if of_policy[0].checked_add(found.retagged) != Some(of_policy[1]) || found.retagged == 0 {
        Some("another number of rows have its policy than it says it tagged again")
    } else {
        None
    }
}

/// The tags of all rows of files; `None` if one cannot be read, which is told elsewhere.
fn tally(files: &[impl AsRef<Path>]) -> Option<TagCounts> {
    let mut counts = TagCounts::default();
    for file in files {
        let opened = File::open(file).ok()?;
        for batch in scan::columns(opened, &[]).ok()? {
            count_tags(&batch.ok()?, &mut counts).ok()?;
        }
    }
    Some(counts)
}

/// The policies of rows, against those of what accounts for them.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// How many more rows of a table have a policy than receipts and releases say.
    flows: BTreeMap<TableKey, BTreeMap<String, i64>>,
    /// Tables of which not every row could be looked at.
    unsure: HashSet<TableKey>,
}

/// The rows of a file with a policy that nothing accounts for: how many, the first of them, and the policy.
#[derive(Debug, Default)]
pub(super) struct Strange(pub(super) Option<(u64, usize, i64, String)>);

impl Policies {
    /// Takes a row in, of which a receipt or release says this policy.
    pub(super) fn row(
        &mut self,
        table: &TableFiles,
        (lane, offset): (usize, i64),
        said: &str,
        found: &str,
        retags: &Retags,
        strange: &mut Strange,
    ) {
        if said == found {
            return;
        }
        let (zone, name) = (table.zone.as_str(), table.name.as_str());
        if !retags.gave(zone, name, found) {
            let first = || (0, lane, offset, found.to_owned());
            strange.0.get_or_insert_with(first).0 += 1;
            return;
        }
        let flows = self.flows.entry((zone.to_owned(), name.to_owned())).or_default();
        *flows.entry(found.to_owned()).or_default() += 1;
        *flows.entry(said.to_owned()).or_default() -= 1;
    }

    /// Not every row of a table could be looked at.
    pub(super) fn unsure(&mut self, zone: &str, table: &str) {
        self.unsure.insert((zone.to_owned(), table.to_owned()));
    }

    /// Compares with what re-taggings say, where every row is there that they tagged.
    pub(super) fn compare(
        mut self,
        retags: &Retags,
        deletions: &Deletions,
        ledger: &Ledger,
        report: &mut Report,
    ) {
        let mut said = retags.flows();
        let keys: BTreeSet<TableKey> = said.keys().chain(self.flows.keys()).cloned().collect();
        for key in keys {
            let (said, found) = (said.remove(&key), self.flows.remove(&key));
            let (said, found) = (said.unwrap_or_default(), found.unwrap_or_default());
            let sure = !self.unsure.contains(&key)
                && !ledger.damaged_tables.contains(&key)
                && !deletions.took_from(&key.0, &key.1);
            if !sure {
                continue;
            }
            report.count(Kind::Retags, "tables whose policies were counted", 1);
            let of = |flows: &BTreeMap<String, i64>, policy: &String| flows.get(policy).copied().unwrap_or(0);
            let differs = |policy: &&String| of(&said, policy) != of(&found, policy);
            for policy in said.keys().chain(found.keys()).filter(differs).take(1) {
                let what = format!(
                    "re-taggings say that {} more rows have policy {policy} than receipts say, and {} have",
                    of(&said, policy),
                    of(&found, policy)
                );
                let finding = Finding { table: Some(key.1.clone()), ..Finding::in_zone(&key.0, what) };
                report.violation(Kind::Retags, finding);
            }
        }
    }
}
