//! Every row of every table once: whose it is, where it lies, and which receipt accounts for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow_array::{Array as _, PrimitiveArray, RecordBatch, StringArray};
use situs_model::columns::{highest_class, names as columns};
use situs_model::{Class, TableName};

use super::deleted::Deletion;
use super::files::{TableFiles, told_class};
use super::ledger::{Bin, Ledger};
use super::released::{Released, Short};
use super::report::{Finding, Kind, Report};
use super::retagged::{Policies, Retags, Strange};
use super::roots::Store;
use super::seen::{Layer, Seen};
use crate::maintain::delete::coordinates::Doomed;
use crate::scan;

/// What is known of the rows so far.
pub(super) struct Rows<'a> {
    ledger: &'a mut Ledger,
    report: &'a mut Report,
    seen: Seen,
    /// Names of the places: the zones, and quarantine after them.
    places: Vec<String>,
    /// Rows that wait for a receipt, by partition.
    unsettled: BTreeMap<usize, u64>,
    released: Released,
    /// What deletions took.
    gone: Seen,
    retags: &'a Retags,
    policies: Policies,
}

/// A partition in a table: table, topic, partition.
type Lane = (String, String, i32);

/// How many rows coordinates name of each partition of a table. Neighbours are mostly of the same.
#[derive(Debug, Default)]
struct Counts {
    all: Vec<(Lane, u64)>,
    last: usize,
}

impl Counts {
    fn add(&mut self, doomed: &Doomed<'_>) {
        let key = &doomed.key;
        let is = |((table, topic, partition), _): &(Lane, u64)| {
            *partition == key.partition && *topic == key.topic && *table == doomed.table
        };
        if !self.all.get(self.last).is_some_and(is) {
            self.last = self.all.iter().position(is).unwrap_or_else(|| {
                self.all.push(((doomed.table.to_owned(), key.topic.to_owned(), key.partition), 0));
                self.all.len() - 1
            });
        }
        self.all[self.last].1 += 1;
    }

    fn total(&self) -> u64 {
        self.all.iter().map(|(_, count)| count).sum()
    }
}

/// The rows of a file that share a fault: how many, and the first offset and row.
type Faults = BTreeMap<(usize, Fault), (u64, i64, i32)>;

/// What can be wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// It lies in this place too.
    Double(u16),
    /// It is beyond the settled offset, and beyond what the table itself accounts for.
    Beyond,
    /// It lies before the first receipt.
    Unaccounted,
    /// A deletion took it.
    Back,
}

/// A message or row of a table.
struct Key {
    lane: usize,
    offset: i64,
    row: i32,
}

impl<'a> Rows<'a> {
    /// Begins; `zones` are the names of the stores' zones, in order.
    pub(super) fn new(
        ledger: &'a mut Ledger,
        report: &'a mut Report,
        zones: &[String],
        released: Released,
        retags: &'a Retags,
    ) -> Self {
        let places = zones.iter().cloned().chain(["quarantine".to_owned()]).collect();
        let (seen, gone) = (Seen::default(), Seen::default());
        let (unsettled, policies) = (BTreeMap::new(), Policies::default());
        Self { ledger, report, seen, places, unsettled, released, gone, retags, policies }
    }

    /// Reads a table: quarantine, or that of a pipeline in the `zone`-th store.
    pub(super) fn table(&mut self, table: &TableFiles, zone: u16) {
        let quarantine = table.name == TableName::quarantine();
        if !table.whole {
            self.policies.unsure(&table.zone, table.name.as_str());
        }
        for file in &table.readable {
            let read =
                File::open(table.folder.join(file)).map_err(|error| format!("cannot be opened: {error}"));
            let read = read.and_then(|opened| {
                if quarantine {
                    self.quarantine(table, file, opened)
                } else {
                    self.rows(table, file, zone, opened)
                }
            });
            if let Err(what) = read {
                let finding = Finding::in_file(&table.zone, table.name.as_str(), file, what);
                self.damaged(table, file, finding);
            }
        }
    }

    /// Whether a release put this row into its zone's table: `Some(false)` if it is there twice.
    fn released(&mut self, key: &Key, zone: &str) -> Option<bool> {
        if self.released.is_empty() {
            return None;
        }
        let lane = &self.ledger.lanes[key.lane];
        self.released.take(&lane.topic, lane.partition, key.offset, zone, key.row)
    }

    /// Tells what waits for a receipt, and what releases promise and tables lack; what was seen of policies.
    pub(super) fn finish(self) -> Policies {
        for Short { topic, partition, offset, what } in self.released.short() {
            self.report.violation(Kind::Counts, Finding::new(what).at(&topic, partition, offset));
        }
        for (lane, rows) in self.unsettled {
            let lane = &self.ledger.lanes[lane];
            self.report.count(Kind::Ranges, "unsettled rows", rows);
            let what = format!("{rows} rows or messages from here on are committed, but not settled yet");
            self.report.note(Kind::Ranges, lane.finding(lane.settled.unwrap_or(0), what));
        }
        self.policies
    }

    /// Notes that a file cannot be read, so that nothing is concluded from the rows that are not seen.
    fn damaged(&mut self, table: &TableFiles, file: &str, finding: Finding) {
        let key = (table.zone.clone(), table.name.as_str().to_owned(), file.to_owned());
        let flush = self.ledger.files.get(&key).map(|named| named.flush);
        self.report.violation(Kind::Files, finding);
        self.ledger.damaged(flush, &table.zone, table.name.as_str());
        self.policies.unsure(&table.zone, table.name.as_str());
    }

    fn rows(&mut self, table: &TableFiles, file: &str, zone: u16, opened: File) -> Result<(), String> {
        let names = [
            columns::TOPIC,
            columns::PARTITION,
            columns::OFFSET,
            columns::ROW,
            columns::ZONE,
            columns::CLASS,
            columns::POLICY,
        ];
        let mut strange = Strange::default();
        let told = told_class(&opened).map_err(|_| UNREADABLE)?;
        let mut class = None;
        let (mut faults, mut foreign) = (Faults::new(), None);
        let zone_name = self.places.get(usize::from(zone)).cloned().unwrap_or_default();
        for batch in scan::columns(opened, &names).map_err(|_| UNREADABLE)? {
            let batch = batch.map_err(|_| UNREADABLE)?;
            let lanes = self.lanes(&batch, columns::TOPIC, columns::PARTITION)?;
            let offsets = numbers::<Int64Type>(&batch, columns::OFFSET)?;
            let rows = numbers::<Int32Type>(&batch, columns::ROW)?;
            let zones = text(&batch, columns::ZONE)?;
            let policies = text(&batch, columns::POLICY)?;
            for (at, lane) in lanes.into_iter().enumerate() {
                let key = Key { lane, offset: offsets.value(at), row: rows.value(at) };
                if zones.is_null(at) || zones.value(at) != zone_name {
                    let (count, ..) = foreign.get_or_insert((0_u64, lane, key.offset));
                    *count += 1;
                }
                if self.is_back(&key, Layer::Row(key.row)) {
                    note(&mut faults, &key, Fault::Back);
                    continue;
                }
                let policy = if policies.is_null(at) { "" } else { policies.value(at) };
                match self.released(&key, &zone_name) {
                    None => {
                        if let Some(receipt) = self.row(table, zone, &key, &mut faults) {
                            let receipt = &self.ledger.lanes[lane].receipts[receipt];
                            let said = self.ledger.policies.get(usize::from(receipt.policy));
                            let said = said.map_or("", String::as_str);
                            let place = (lane, key.offset);
                            self.policies.row(table, place, said, policy, self.retags, &mut strange);
                        }
                    }
                    Some(true) => {
                        self.report.count(Kind::Once, "released rows", 1);
                        let of = &self.ledger.lanes[lane];
                        let said = self.released.policy(&of.topic, of.partition, key.offset, &zone_name);
                        let (said, place) = (said.unwrap_or_default(), (lane, key.offset));
                        self.policies.row(table, place, said, policy, self.retags, &mut strange);
                    }
                    Some(false) => {
                        let fault = (key.lane, Fault::Double(zone));
                        faults.entry(fault).or_insert((0, key.offset, key.row)).0 += 1;
                    }
                }
            }
            class = class.max(highest_class(&batch));
            self.report.count(Kind::Zones, "rows", batch.num_rows() as u64);
            self.report.count(Kind::Once, "rows", batch.num_rows() as u64);
        }
        if let Some((count, lane, offset)) = foreign {
            let what = format!("{count} rows are tagged for another zone than {zone_name}, or for none");
            let finding = Finding::in_file(&table.zone, table.name.as_str(), file, what);
            self.report.violation(Kind::Zones, self.at(finding, lane, offset));
        }
        if !faults.is_empty() || strange.0.is_some() {
            self.policies.unsure(&table.zone, table.name.as_str());
        }
        self.tell(table, file, faults);
        if let Some((count, lane, offset, policy)) = strange.0 {
            let what = format!(
                "{count} rows have policy {policy}, which neither their receipt nor a re-tagging says"
            );
            let finding = Finding::in_file(&table.zone, table.name.as_str(), file, what);
            self.report.violation(Kind::Retags, self.at(finding, lane, offset));
        }
        self.class(table, file, told, class);
        Ok(())
    }

    /// A file has the highest class of its rows, in the log as in its footer.
    fn class(&mut self, table: &TableFiles, file: &str, footer: Option<Class>, rows: Option<Class>) {
        let Some(rows) = rows else { return };
        let log = table.classes.get(file).copied();
        if footer.is_none() && log.is_none() {
            self.report.count(Kind::Files, "without a class", 1);
            return;
        }
        for (place, told) in [("footer", footer), ("log", log)] {
            let told = told.map_or("none", Class::as_str);
            if told != rows.as_str() {
                let what = format!("its class is {told} by the {place}, that of its rows is {rows}");
                let finding = Finding::in_file(&table.zone, table.name.as_str(), file, what);
                self.report.violation(Kind::Files, finding);
            }
        }
    }

    fn quarantine(&mut self, table: &TableFiles, file: &str, opened: File) -> Result<(), String> {
        let names = ["topic", "partition", "offset", "reason", "rows"];
        let mut faults = Faults::new();
        for batch in scan::columns(opened, &names).map_err(|_| UNREADABLE)? {
            let batch = batch.map_err(|_| UNREADABLE)?;
            let lanes = self.lanes(&batch, "topic", "partition")?;
            let offsets = numbers::<Int64Type>(&batch, "offset")?;
            let rows = numbers::<Int32Type>(&batch, "rows")?;
            let reasons = text(&batch, "reason")?;
            for (at, lane) in lanes.into_iter().enumerate() {
                let bin = Bin::Quarantine(self.ledger.reason(reasons.value(at)));
                let key = Key { lane, offset: offsets.value(at), row: 0 };
                let place = self.quarantine_place();
                if self.is_back(&key, Layer::Place(place)) {
                    note(&mut faults, &key, Fault::Back);
                } else if let Some(other) = self.double(place, &key, Layer::Place(place)) {
                    note(&mut faults, &key, Fault::Double(other));
                    self.disturb(&key);
                } else if let Some(receipt) = self.receipt(table, &key, &mut faults) {
                    let receipt = &mut self.ledger.lanes[lane].receipts[receipt];
                    receipt.tally(bin).messages.1 += 1;
                    receipt.quarantined_rows.1 += u64::try_from(rows.value(at)).unwrap_or(0);
                }
            }
            self.report.count(Kind::Once, "quarantined messages", batch.num_rows() as u64);
        }
        self.tell(table, file, faults);
        Ok(())
    }

    /// Takes in what a deletion took, of quarantine or of the tables of pipelines: receipts count it still.
    pub(super) fn deleted(&mut self, deletion: &Deletion, store: &Store, is_home: bool, quarantine: bool) {
        let zone = store.zone.as_str();
        let place = u16::try_from(deletion.store).unwrap_or(u16::MAX);
        let mut counts = Counts::default();
        let (mut twice, mut without, mut not_meant) = (0_u64, 0_u64, 0_u64);
        let read = deletion.coordinates.read(&store.root, |doomed| {
            if (doomed.table == TableName::quarantine().as_str()) != quarantine {
                return Ok(());
            }
            counts.add(doomed);
            not_meant += u64::from(!deletion.criterion.may_mean(doomed.table, &doomed.key));
            let lane = self.ledger.lane_of_rows(doomed.key.topic, doomed.key.partition);
            let key = Key { lane, offset: doomed.key.offset, row: doomed.key.row };
            let layer = if quarantine { Layer::Place(self.quarantine_place()) } else { Layer::Row(key.row) };
            let number = u32::try_from(lane).unwrap_or(u32::MAX);
            if self.gone.insert(number, layer, key.offset) {
                twice += 1;
                return Ok(());
            }
            let counted = match doomed.quarantined {
                Some((reason, rows)) => self.deleted_message(&key, reason, rows),
                None => self.deleted_row(&key, place, zone),
            };
            without += u64::from(!counted);
            Ok(())
        });
        let mut violation =
            |what: String| self.report.violation(Kind::Deletions, deletion.finding(zone, what));
        if let Err(fault) = read {
            violation(fault.message);
            return;
        }
        if twice > 0 {
            violation(format!("it names {twice} rows that were deleted before, or names them twice"));
        }
        if without > 0 {
            violation(format!("it names {without} rows of which no receipt and no release tells"));
        }
        if not_meant > 0 {
            violation(format!("it names {not_meant} rows that the deletion's criterion does not mean"));
        }
        if quarantine && !is_home && counts.total() > 0 {
            violation("it names messages of quarantine, which lies in another store".to_owned());
        }
        let mut said: BTreeMap<Lane, u64> = BTreeMap::new();
        for table in &deletion.tables {
            if (table.table == TableName::quarantine().as_str()) != quarantine {
                continue;
            }
            for one in &table.partitions {
                let of = (table.table.clone(), one.topic.clone(), one.partition);
                *said.entry(of).or_default() += one.deleted;
            }
        }
        let found: BTreeMap<Lane, u64> = counts.all.iter().cloned().collect();
        let all: BTreeSet<&Lane> = said.keys().chain(found.keys()).collect();
        for of in all {
            let count = |counts: &BTreeMap<Lane, u64>| counts.get(of).copied().unwrap_or(0);
            let (said, found) = (count(&said), count(&found));
            let ((table, topic, partition), id) = (of, &deletion.id);
            if said != found {
                violation(format!(
                    "deletion {id} says {said} rows of table {table}, {topic}/{partition}, its coordinates name {found}"
                ));
            }
        }
        self.report.count(Kind::Deletions, "rows and messages deleted", counts.total());
    }

    /// Whether something accounts for a deleted message of quarantine.
    fn deleted_message(&mut self, key: &Key, reason: &str, rows: i32) -> bool {
        let bin = Bin::Quarantine(self.ledger.reason(reason));
        let place = self.quarantine_place();
        self.double(place, key, Layer::Place(place));
        let Some(receipt) = self.receipt_of(key) else { return false };
        let receipt = &mut self.ledger.lanes[key.lane].receipts[receipt];
        receipt.tally(bin).messages.1 += 1;
        receipt.quarantined_rows.1 += u64::try_from(rows).unwrap_or(0);
        true
    }

    /// Whether something accounts for a deleted row of a zone's table.
    fn deleted_row(&mut self, key: &Key, zone: u16, zone_name: &str) -> bool {
        if self.released(key, zone_name).is_some() {
            return true;
        }
        let lane = u32::try_from(key.lane).unwrap_or(u32::MAX);
        self.seen.insert(lane, Layer::Row(key.row), key.offset);
        let new_message = !self.seen.insert(lane, Layer::Place(zone), key.offset);
        let Some(receipt) = self.receipt_of(key) else { return false };
        let tally = self.ledger.lanes[key.lane].receipts[receipt].tally(Bin::Zone(zone));
        tally.rows.1 += 1;
        tally.messages.1 += u64::from(new_message);
        true
    }

    fn is_back(&mut self, key: &Key, layer: Layer) -> bool {
        self.gone.contains(u32::try_from(key.lane).unwrap_or(u32::MAX), layer, key.offset)
    }

    fn quarantine_place(&self) -> u16 {
        u16::try_from(self.places.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// Takes a row in; the receipt that accounts for it.
    fn row(&mut self, table: &TableFiles, zone: u16, key: &Key, faults: &mut Faults) -> Option<usize> {
        if let Some(other) = self.double(zone, key, Layer::Row(key.row)) {
            note(faults, key, Fault::Double(other));
            self.disturb(key);
            return None;
        }
        let lane = u32::try_from(key.lane).unwrap_or(u32::MAX);
        let new_message = !self.seen.insert(lane, Layer::Place(zone), key.offset);
        let receipt = self.receipt(table, key, faults)?;
        let tally = self.ledger.lanes[key.lane].receipts[receipt].tally(Bin::Zone(zone));
        tally.rows.1 += 1;
        tally.messages.1 += u64::from(new_message);
        Some(receipt)
    }

    /// Takes a row or message in; another place where it lies, or its own if it was seen there before.
    fn double(&mut self, place: u16, key: &Key, layer: Layer) -> Option<u16> {
        let lane = u32::try_from(key.lane).unwrap_or(u32::MAX);
        let places = u16::try_from(self.places.len()).unwrap_or(u16::MAX);
        let elsewhere = (0..places).find(|other| *other != place && self.seen.has(lane, *other, key.offset));
        let again = self.seen.insert(lane, layer, key.offset);
        elsewhere.or(again.then_some(place))
    }

    /// The receipt whose range a row is in.
    fn receipt_of(&self, key: &Key) -> Option<usize> {
        let lane = &self.ledger.lanes[key.lane];
        let after = lane.receipts.partition_point(|receipt| receipt.start <= key.offset);
        after.checked_sub(1).filter(|at| key.offset < lane.receipts[*at].end)
    }

    /// The receipt that accounts for a row; `None` if there is none, which is noted if nothing explains it.
    fn receipt(&mut self, table: &TableFiles, key: &Key, faults: &mut Faults) -> Option<usize> {
        let found = self.receipt_of(key);
        if found.is_some() {
            return found;
        }
        let lane = &self.ledger.lanes[key.lane];
        if lane.settled.is_none_or(|settled| key.offset >= settled) {
            // Committed here, and the receipt is still to come: a flush under way, or one cut off by a crash.
            if table.offsets.get(&lane.app_id()).is_some_and(|next| key.offset < *next)
                || lane.cluster.is_empty() && table.next_of_any(&lane.topic, lane.partition) > key.offset
            {
                *self.unsettled.entry(key.lane).or_default() += 1;
            } else {
                note(faults, key, Fault::Beyond);
            }
        } else if lane.gaps.iter().any(|(from, to)| (*from..*to).contains(&key.offset)) {
            // That the offsets are without a receipt is told already.
            self.report.count(Kind::Ranges, "rows without a receipt", 1);
        } else {
            note(faults, key, Fault::Unaccounted);
        }
        None
    }

    /// The receipt of a row that is told to be double says nothing of counts any more.
    fn disturb(&mut self, key: &Key) {
        let receipts = &mut self.ledger.lanes[key.lane].receipts;
        let after = receipts.partition_point(|receipt| receipt.start <= key.offset);
        if let Some(receipt) = after.checked_sub(1).and_then(|at| receipts.get_mut(at)) {
            receipt.sound = false;
        }
    }

    /// The partition of each row, by index.
    fn lanes(&mut self, batch: &RecordBatch, topic: &str, partition: &str) -> Result<Vec<usize>, String> {
        let topics = text(batch, topic)?;
        let partitions = numbers::<Int32Type>(batch, partition)?;
        if topics.null_count() > 0 {
            return Err(NO_COORDINATES.to_owned());
        }
        let mut lanes = Vec::with_capacity(batch.num_rows());
        let mut last: Option<(&str, i32, usize)> = None;
        for at in 0..batch.num_rows() {
            let (topic, partition) = (topics.value(at), partitions.value(at));
            let lane = match last {
                Some((known, number, lane)) if known == topic && number == partition => lane,
                _ => self.ledger.lane_of_rows(topic, partition),
            };
            last = Some((topic, partition, lane));
            lanes.push(lane);
        }
        Ok(lanes)
    }

    fn at(&self, finding: Finding, lane: usize, offset: i64) -> Finding {
        let lane = &self.ledger.lanes[lane];
        finding.at(&lane.topic, lane.partition, offset)
    }

    fn tell(&mut self, table: &TableFiles, file: &str, faults: Faults) {
        for ((lane, fault), (count, offset, row)) in faults {
            let quarantine = table.name == TableName::quarantine();
            let thing = if quarantine { "messages" } else { "rows" };
            let (kind, what) = match fault {
                Fault::Double(place) => {
                    let name = self.places.get(usize::from(place)).map_or("?", String::as_str);
                    let other = if place == self.quarantine_place() && !quarantine {
                        "in quarantine too".to_owned()
                    } else if place == self.quarantine_place() || !quarantine && name == table.zone {
                        "in another place of this table too".to_owned()
                    } else {
                        format!("in zone {name} too")
                    };
                    let first = if quarantine { String::new() } else { format!(" (first: row {row})") };
                    (Kind::Once, format!("{count} {thing} lie {other}{first}"))
                }
                Fault::Beyond => {
                    let what = "are beyond the settled offset, and beyond the table's own";
                    (Kind::Ranges, format!("{count} {thing} {what}"))
                }
                Fault::Unaccounted => (Kind::Ranges, format!("{count} {thing} lie before the first receipt")),
                Fault::Back => (
                    Kind::Deletions,
                    format!("{count} {thing} are there of which a deletion says that they are gone"),
                ),
            };
            let finding = Finding::in_file(&table.zone, table.name.as_str(), file, what);
            self.report.violation(kind, self.at(finding, lane, offset));
        }
    }
}

/// Compares what receipts say with what was found.
pub(super) fn compare(ledger: &Ledger, zones: &[String], report: &mut Report) {
    let damaged: Vec<bool> = zones
        .iter()
        .map(|zone| ledger.damaged_tables.iter().any(|(of, name)| of == zone && !is_own(name)))
        .collect();
    let quarantine_damaged = ledger.damaged_tables.iter().any(|(_, name)| name == "quarantine");
    for lane in &ledger.lanes {
        for receipt in &lane.receipts {
            if !receipt.sound || ledger.damaged_flushes.contains(&receipt.flush) {
                report.count(Kind::Counts, "receipts not compared", 1);
                continue;
            }
            report.count(Kind::Counts, "receipts compared", 1);
            let flush = ledger.flushes.get(receipt.flush as usize).map_or("", String::as_str);
            let place = |what: String| lane.finding(receipt.start, what).receipt(flush);
            for tally in &receipt.tallies {
                let (where_, skip) = match tally.bin {
                    Bin::Zone(zone) => {
                        let zone = usize::from(zone);
                        let name = zones.get(zone).map_or("?", String::as_str);
                        (format!("in zone {name}"), damaged.get(zone).copied().unwrap_or(true))
                    }
                    Bin::Quarantine(reason) => {
                        let reason = ledger.reasons.get(usize::from(reason)).map_or("?", String::as_str);
                        (format!("in quarantine as {reason}"), quarantine_damaged)
                    }
                    Bin::Elsewhere => (String::new(), true),
                };
                let differs = tally.messages.0 != tally.messages.1 || tally.rows.0 != tally.rows.1;
                if differs && !skip {
                    let rows = |rows: u64| match tally.bin {
                        Bin::Zone(_) => format!(" with {rows} rows"),
                        Bin::Quarantine(_) | Bin::Elsewhere => String::new(),
                    };
                    let what = format!(
                        "it counts {} messages{} {where_}, the tables hold {}{}",
                        tally.messages.0,
                        rows(tally.rows.0),
                        tally.messages.1,
                        rows(tally.rows.1)
                    );
                    report.violation(Kind::Counts, place(what));
                }
            }
            let (said, found) = receipt.quarantined_rows;
            if said != found && !quarantine_damaged {
                let what = format!("it counts {said} quarantined rows, quarantine holds {found}");
                report.violation(Kind::Counts, place(what));
            }
        }
    }
}

/// Whether Situs keeps the table of this name itself, so that it holds no rows of a zone.
fn is_own(table: &str) -> bool {
    table.parse::<TableName>().is_ok_and(|name| name.is_reserved())
}

fn note(faults: &mut Faults, key: &Key, fault: Fault) {
    faults.entry((key.lane, fault)).or_insert((0, key.offset, key.row)).0 += 1;
}

pub(super) const UNREADABLE: &str = "cannot be read as Parquet";
const NO_COORDINATES: &str = "lacks a column that says where its rows come from";

pub(super) fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, String> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt());
    column.ok_or_else(|| NO_COORDINATES.to_owned())
}

/// A column of whole numbers without nulls.
pub(super) fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, String> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.filter(|column| column.null_count() == 0).ok_or_else(|| NO_COORDINATES.to_owned())
}
