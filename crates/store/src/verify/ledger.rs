//! The receipts, and what they say should lie in the tables.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, Int64Array, RecordBatch, StringArray};
use situs_model::{TableName, ZoneId, app_id};

use super::files;
use super::report::{Finding, Kind, Report};
use super::roots::{self, Store};
use super::sign::Keys;
use crate::chain::{self, Canonical, Chained};
use crate::error::Fault;
use crate::history::History;
use crate::receipts::{StoreText, ZoneText};
use crate::{names, scan};

/// Everything that the receipts say.
///
/// # Memory
/// Some hundred bytes for each receipt, and a name and a hash for each file.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Partitions in order.
    pub(super) lanes: Vec<Lane>,
    /// Their index by topic and partition.
    by_place: HashMap<(String, i32), usize>,
    /// Ids of flushes.
    pub(super) flushes: Vec<String>,
    /// Policies of receipts.
    pub(super) policies: Vec<String>,
    /// The files that receipts name, by zone, table and path.
    pub(super) files: BTreeMap<(String, String, String), Named>,
    /// Quarantine reasons that receipts or quarantine name.
    pub(super) reasons: Vec<String>,
    /// Flushes of which a file is damaged: their counts cannot be checked.
    pub(super) damaged_flushes: HashSet<u32>,
    /// Tables (zone and name) of which a file that no receipt names is damaged.
    pub(super) damaged_tables: HashSet<(String, String)>,
}

/// A file as a receipt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) flush: u32,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) sha256: String,
}

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The cluster; empty if only receipts without one and no offset are there.
    pub(super) cluster: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The settled offset.
    pub(super) settled: Option<i64>,
    /// The receipts by their ranges.
    pub(super) receipts: Vec<Entry>,
    /// Ranges that no receipt covers.
    pub(super) gaps: Vec<(i64, i64)>,
}

impl Lane {
    /// The name under which tables keep its offset.
    pub(super) fn app_id(&self) -> String {
        app_id(&self.cluster, &self.topic, self.partition)
    }

    pub(super) fn finding(&self, offset: i64, what: impl Into<String>) -> Finding {
        Finding::new(what).at(&self.topic, self.partition, offset)
    }
}

/// A receipt.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) flush: u32,
    /// The index of its policy.
    pub(super) policy: u16,
    pub(super) previous: Option<[u8; 32]>,
    pub(super) hash: Option<[u8; 32]>,
    /// The topic that its offsets are of, if it says so.
    pub(super) topic_id: Option<String>,
    /// Whether counts can be checked against it: its content is what was hashed, and its rows are in one
    /// place only.
    pub(super) sound: bool,
    pub(super) tallies: Vec<Tally>,
    /// Rows of quarantined messages: said, and found.
    pub(super) quarantined_rows: (u64, u64),
}

/// Where messages and rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bin {
    /// A zone's table, by the index of the zone's store.
    Zone(u16),
    /// Quarantine, by the index of the reason.
    Quarantine(u16),
    /// A zone that has no store here.
    Elsewhere,
}

/// Messages and rows of a receipt in one place: said, and found.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) bin: Bin,
    pub(super) messages: (u64, u64),
    pub(super) rows: (u64, u64),
}

impl Entry {
    /// The tally of a bin; one that expects nothing if the receipt says nothing of it.
    pub(super) fn tally(&mut self, bin: Bin) -> &mut Tally {
        let at = self.tallies.iter().position(|tally| tally.bin == bin).unwrap_or_else(|| {
            self.tallies.push(Tally { bin, messages: (0, 0), rows: (0, 0) });
            self.tallies.len() - 1
        });
        &mut self.tallies[at]
    }
}

impl Ledger {
    /// Reads the receipts of the home store.
    pub(super) fn read(stores: &[Store], home: &ZoneId, keys: &Keys, report: &mut Report) -> Self {
        let mut ledger = Self::default();
        let Some(store) = stores.iter().find(|store| store.zone == *home) else {
            report.violation(Kind::Ranges, Finding::new(format!("the home zone {home} has no store")));
            return ledger;
        };
        let table = TableName::receipts();
        let folder = names::table(&store.root, &table);
        let history = match History::read(&folder) {
            Ok(history) => history,
            Err(fault) => {
                let finding = Finding::in_file(home.as_str(), table.as_str(), "_delta_log", fault.message);
                report.violation(Kind::Files, finding);
                return ledger;
            }
        };
        for (app_id, offset) in &history.offsets {
            if let Some((cluster, topic, partition)) = parts(app_id) {
                ledger.lane(Some(cluster), topic, partition).settled = Some(*offset);
            }
        }
        let mut reading = Reading { ledger: &mut ledger, stores, keys, report, strange: HashSet::new() };
        for path in roots::files_inside(store, &table, &history, reading.report) {
            let Some(added) = history.files.get(&path) else { continue };
            if let Some(what) = files::faults_of(&folder.join(&path), added, None).what {
                let finding = Finding::in_file(home.as_str(), table.as_str(), &path, what);
                reading.report.violation(Kind::Files, finding);
                continue;
            }
            let read = File::open(folder.join(&path))
                .map_err(|error| format!("cannot be opened: {error}"))
                .and_then(|file| reading.file(file));
            if let Err(what) = read {
                let finding = Finding::in_file(home.as_str(), table.as_str(), &path, what);
                reading.report.violation(Kind::Files, finding);
            }
        }
        roots::orphans(store, &table, &history, report);
        for lane in &mut ledger.lanes {
            lane.receipts.sort_by_key(|receipt| (receipt.start, receipt.end));
        }
        ledger
    }

    /// The partition of this name, made if it is new.
    pub(super) fn lane(&mut self, cluster: Option<&str>, topic: &str, partition: i32) -> &mut Lane {
        let key = (topic.to_owned(), partition);
        let known = self.by_place.get(&key).copied().filter(|at| {
            let lane = &self.lanes[*at];
            cluster.is_none_or(|cluster| lane.cluster == cluster || lane.cluster.is_empty())
        });
        let others = || {
            let same = |lane: &Lane| lane.topic == topic && lane.partition == partition;
            self.lanes.iter().position(|lane| same(lane) && cluster.is_some_and(|name| name == lane.cluster))
        };
        let at = known.or_else(others).unwrap_or_else(|| {
            self.lanes.push(Lane { topic: topic.to_owned(), partition, ..Lane::default() });
            self.by_place.entry(key).or_insert(self.lanes.len() - 1);
            self.lanes.len() - 1
        });
        let lane = &mut self.lanes[at];
        if lane.cluster.is_empty() {
            lane.cluster = cluster.unwrap_or_default().to_owned();
        }
        lane
    }

    /// The index of the partition whose rows name this topic and partition; rows do not name the cluster.
    pub(super) fn lane_of_rows(&mut self, topic: &str, partition: i32) -> usize {
        let key = (topic.to_owned(), partition);
        if let Some(at) = self.by_place.get(&key) {
            return *at;
        }
        self.lane(None, topic, partition);
        self.by_place.get(&key).copied().unwrap_or_default()
    }

    /// Notes that rows are damaged: those of a flush, or if no receipt names the file, of a table.
    pub(super) fn damaged(&mut self, flush: Option<u32>, zone: &str, table: &str) {
        match flush {
            Some(flush) => {
                self.damaged_flushes.insert(flush);
            }
            None => {
                self.damaged_tables.insert((zone.to_owned(), table.to_owned()));
            }
        }
    }

    /// The index of a quarantine reason.
    pub(super) fn reason(&mut self, reason: &str) -> u16 {
        let at = self.reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
            self.reasons.push(reason.to_owned());
            self.reasons.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// The index of a policy.
    fn policy(&mut self, version: &str) -> u16 {
        let at = self.policies.iter().rposition(|known| known == version).unwrap_or_else(|| {
            self.policies.push(version.to_owned());
            self.policies.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn flush(&mut self, id: &str) -> u32 {
        // Receipts of a flush lie side by side.
        if self.flushes.last().is_none_or(|last| last != id) {
            self.flushes.push(id.to_owned());
        }
        u32::try_from(self.flushes.len() - 1).unwrap_or(u32::MAX)
    }
}

/// Cluster, topic and partition of an application id.
fn parts(app_id: &str) -> Option<(&str, &str, i32)> {
    let mut parts = app_id.strip_prefix("situs/")?.split('/');
    let found = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(found)
}

/// Receipts while they are read.
struct Reading<'a> {
    ledger: &'a mut Ledger,
    stores: &'a [Store],
    keys: &'a Keys,
    report: &'a mut Report,
    /// Stores that receipts name and that are not here, which are told once each.
    strange: HashSet<String>,
}

/// The columns of receipts that are needed one by one.
struct ReceiptColumns<'a> {
    batch: &'a RecordBatch,
}

impl<'a> ReceiptColumns<'a> {
    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        let column: &StringArray = self.batch.column_by_name(name)?.as_string_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn number(&self, name: &str, row: usize) -> Option<i64> {
        let column: &Int64Array = self.batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn count(&self, name: &str, row: usize) -> Option<u64> {
        u64::try_from(self.number(name, row)?).ok()
    }

    fn partition(&self, row: usize) -> Option<i32> {
        let column = self.batch.column_by_name("partition")?.as_primitive_opt::<Int32Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }
}

const NO_RECEIPTS: &str = "cannot be read as receipts";

impl Reading<'_> {
    fn file(&mut self, file: File) -> Result<(), String> {
        for batch in scan::columns(file, &[]).map_err(|_| NO_RECEIPTS)? {
            let batch = batch.map_err(|_| NO_RECEIPTS)?;
            let canonical =
                Canonical::new(Chained::Receipts, &batch).map_err(|fault: Fault| fault.message)?;
            for row in 0..batch.num_rows() {
                self.receipt(&ReceiptColumns { batch: &batch }, &canonical, row).ok_or(NO_RECEIPTS)?;
            }
        }
        Ok(())
    }

    /// `None` if a column is missing or null that no receipt lacks.
    fn receipt(&mut self, columns: &ReceiptColumns<'_>, canonical: &Canonical<'_>, row: usize) -> Option<()> {
        let (topic, partition) = (columns.text("topic", row)?, columns.partition(row)?);
        let (start, end) = (columns.number("start_offset", row)?, columns.number("end_offset", row)?);
        let flush_id = columns.text("flush_id", row)?;
        let place = |what: &str| Finding::new(what).at(topic, partition, start).receipt(flush_id);
        self.report.count(Kind::Ranges, "receipts", 1);

        let said = columns.text(chain::HASH, row);
        let hash = said.and_then(chain::unhex::<32>);
        let mut sound = true;
        if let Some(said) = said {
            self.report.count(Kind::Chain, "receipts", 1);
            if canonical.hash(row) != said {
                sound = false;
                self.report.violation(Kind::Chain, place("its hash is not that of its content"));
            }
        } else {
            self.report.count(Kind::Chain, "receipts from before the chain", 1);
        }
        if let Some(hash) = &hash {
            let (key_id, signature) = (columns.text(chain::KEY_ID, row), columns.text(chain::SIGNATURE, row));
            self.keys.check(hash, key_id, signature, &place, self.report);
        }

        let count = |name: &str| columns.count(name, row);
        let messages = count("messages")?;
        let (stored, quarantined) = (count("stored_messages")?, count("quarantined_messages")?);
        let (decoded, rejected, without) = (count("decoded")?, count("rejected")?, count("without_rows")?);
        let rows_add_up = count("stored_rows")?.checked_add(count("quarantined_rows")?) == count("rows");
        if sound && decoded.saturating_add(without).saturating_add(rejected) != messages {
            self.report.violation(
                Kind::Counts,
                place("EO-1: decoded, rejected and without rows are not all messages"),
            );
        }
        if sound && !(rows_add_up && stored.saturating_add(quarantined).saturating_add(without) == messages) {
            let what = "EO-2: what is stored, quarantined and without rows is not all that was read";
            self.report.violation(Kind::Counts, place(what));
        }
        self.report.count(Kind::Counts, "messages in receipts", messages);

        let flush = self.ledger.flush(flush_id);
        let mut tallies = Vec::new();
        let zones: BTreeMap<String, ZoneText> = serde_json::from_str(columns.text("zones", row)?).ok()?;
        for (zone, said) in zones {
            let at = self.stores.iter().position(|store| store.zone.as_str() == zone);
            let bin = at.and_then(|at| u16::try_from(at).ok()).map_or(Bin::Elsewhere, Bin::Zone);
            tallies.push(Tally { bin, messages: (said.messages, 0), rows: (said.rows, 0) });
        }
        let reasons: BTreeMap<String, u64> = serde_json::from_str(columns.text("quarantine", row)?).ok()?;
        for (reason, said) in reasons {
            let bin = Bin::Quarantine(self.ledger.reason(&reason));
            tallies.push(Tally { bin, messages: (said, 0), rows: (0, 0) });
        }
        let pipeline = columns.text("pipeline", row)?.parse().ok()?;
        let stores: Vec<StoreText> = serde_json::from_str(columns.text("stores", row)?).ok()?;
        for store in stores {
            self.files(store, TableName::of(&pipeline).as_str(), flush, &place);
        }
        if let Some(text) = columns.text("quarantine_store", row) {
            let store: StoreText = serde_json::from_str(text).ok()?;
            self.files(store, TableName::quarantine().as_str(), flush, &place);
        }
        let previous = columns.text(chain::PREVIOUS, row).and_then(chain::unhex::<32>);
        let quarantined_rows = (count("quarantined_rows")?, 0);
        let topic_id = columns.text(chain::TOPIC_ID, row).map(str::to_owned);
        let policy = self.ledger.policy(columns.text("policy", row)?);
        let entry =
            Entry { start, end, flush, policy, previous, hash, topic_id, sound, tallies, quarantined_rows };
        self.ledger.lane(columns.text("cluster", row), topic, partition).receipts.push(entry);
        Some(())
    }

    /// Notes the files that a receipt names of a store.
    fn files(&mut self, store: StoreText, table: &str, flush: u32, place: &dyn Fn(&str) -> Finding) {
        let here = self.stores.iter().find(|here| here.zone.as_str() == store.zone);
        match here.map(|here| &here.identity) {
            Some(Some(identity)) if identity.store_id != store.store => {
                if self.strange.insert(store.store.clone()) {
                    let what = format!(
                        "it was written to store {} of zone {}, but the marker there is that of store {}",
                        store.store, store.zone, identity.store_id
                    );
                    self.report.violation(Kind::Markers, place(&what));
                }
            }
            // That there is no marker is told already.
            Some(_) => {}
            None => {
                if self.strange.insert(store.store.clone()) {
                    let what =
                        format!("zone {} has no store here, so its rows cannot be checked", store.zone);
                    self.report.violation(Kind::Counts, place(&what));
                }
                return;
            }
        }
        for file in store.files {
            let named = Named { flush, bytes: file.bytes, rows: file.rows, sha256: file.sha256 };
            self.ledger.files.entry((store.zone.clone(), table.to_owned(), file.path)).or_insert(named);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_partitions_and_of_nothing_else_are_taken_apart() {
        assert_eq!(parts("situs/kafka/cnc.state/12"), Some(("kafka", "cnc.state", 12)));
        for id in ["situs/kafka/cnc.state", "situs/kafka/cnc.state/x", "situs/a/b/1/2", "other/a/b/1"] {
            assert_eq!(parts(id), None, "{id}");
        }
    }

    #[test]
    fn receipts_that_do_not_name_their_cluster_belong_to_the_one_that_is_known() {
        let mut ledger = Ledger::default();
        ledger.lane(Some("plant"), "t", 0).settled = Some(5);
        assert_eq!(ledger.lane(None, "t", 0).cluster, "plant");
        assert_eq!(ledger.lane(Some("other"), "t", 0).cluster, "other");
        assert_eq!(ledger.lane(Some("plant"), "t", 0).settled, Some(5));
        assert_eq!(ledger.lane(Some("other"), "t", 0).settled, None);
        assert_eq!(ledger.lanes.len(), 2);
    }
}
