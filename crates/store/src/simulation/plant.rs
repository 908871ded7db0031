//! What the simulation's processes write, and what must be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{RecordBatch, StringArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use situs_model::Masks;
use situs_model::mask::Outside;
use situs_model::store::FlushFacts;
use situs_model::{
    ContentVersion, DecodeNotes, DecodedBatch, NextOffset, OffsetRange, RawBatch, Reject, RejectCode, Split,
    TableName, TaggedBatch, UndeterminedReason, Verdict, ZoneId, split,
};
use situs_observe::Metrics;

use super::canaries;
use super::chance::hash_of;
use crate::key::ReceiptKey;
use crate::reader::StoreReader;
use crate::root;
use crate::store::DeltaStore;
use crate::store::tests::support::{MARCH, facts, metrics, rows_of, source, zone};
use crate::verify::{Subject, verify};

/// The zones; the first one is at home.
pub(crate) const ZONES: [&str; 2] = ["CN", "EU"];
/// The table of the rows.
pub(crate) const TABLE: &str = "cnc_state";
/// The place of what lies in quarantine, which is at home.
const QUARANTINE: &str = "quarantine";
/// The place of what may lie nowhere.
const NO_ZONE: &str = "nowhere";
/// How many versions of the policy there are.
pub(crate) const POLICIES: u64 = 2;

/// Where a message belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The offset has no message, as those of control records have none.
    Nowhere,
    /// To the zone with this index.
    Zone(usize),
    /// To quarantine, since it cannot be decoded.
    Rejected,
    /// To quarantine, since the policy does not know its zone.
    Undetermined,
}

/// A flush that was said to be settled: what was said must hold for good.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) partition: i32,
    pub(crate) range: OffsetRange,
    pub(crate) flush: String,
}

/// Two stores in a folder that goes with it, and a log of messages of which everything is known.
#[derive(Debug)]
pub(crate) struct Plant {
    dir: tempfile::TempDir,
    key: Arc<ReceiptKey>,
    metrics: Arc<Metrics>,
    seed: u64,
    /// The first offset of each partition.
    firsts: Vec<i64>,
    promises: Mutex<Vec<Promise>>,
}

impl Plant {
    /// Two empty stores, and so many partitions. A day of their rows ends soon after their first offsets.
    pub(crate) fn new(seed: u64, partitions: usize) -> Self {
        // In memory where that can be had: what is swept or drawn are faults, not the disk's own.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let key = Arc::new(ReceiptKey::create(&dir.path().join("key.pem")).unwrap());
        for name in ZONES {
            root::init(&dir.path().join(name), &zone(name)).unwrap();
        }
        let firsts = (0..partitions).map(|partition| 282 - 3 * partition as i64).collect();
        Self { dir, key, metrics: metrics(), seed, firsts, promises: Mutex::default() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn root(&self, zone: &str) -> PathBuf {
        self.dir.path().join(zone)
    }

    /// The partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> + use<> {
        0..i32::try_from(self.firsts.len()).unwrap()
    }

    /// The first offset of a partition.
    pub(crate) fn first(&self, partition: i32) -> i64 {
        self.firsts[usize::try_from(partition).unwrap()]
    }

    /// Opens the store of a zone; that of home signs receipts.
    pub(crate) async fn open(&self, name: &str) -> Result<DeltaStore, root::RootError> {
        let store = DeltaStore::open(&self.root(name), &zone(name), self.metrics.clone()).await?;
        Ok(if name == ZONES[0] { store.with_receipt_key(self.key.clone()) } else { store })
    }

    /// The text of a policy.
    pub(crate) fn policy_text(policy: u64) -> String {
        format!("policy {policy}")
    }

    /// The policy of a version.
    pub(crate) fn policy_of(version: &ContentVersion) -> Option<u64> {
        (0..POLICIES).find(|policy| ContentVersion::of(Self::policy_text(*policy).as_bytes()) == *version)
    }

    /// The facts of a flush by a policy.
    pub(crate) fn facts(flush: &str, policy: u64) -> FlushFacts {
        FlushFacts { policy: ContentVersion::of(Self::policy_text(policy).as_bytes()), ..facts(flush) }
    }

    /// Where a policy says that a message belongs. Whether it can be read is the same for all of them.
    fn place(&self, policy: u64, partition: i32, offset: i64) -> Place {
        let of_message = [self.seed, partition as u64, offset as u64];
        match hash_of(&of_message) % 16 {
            0 => return Place::Nowhere,
            1 => return Place::Rejected,
            _ => {}
        }
        match hash_of(&[of_message[0], of_message[1], of_message[2], policy + 1]) % 8 {
            0 => Place::Undetermined,
            other => Place::Zone((other % 2) as usize),
        }
    }

    /// What `decode` and `policy` make of a range, divided by zone.
    pub(crate) fn split(&self, policy: u64, partition: i32, range: OffsetRange) -> Split {
        let offsets = || range.start.0..range.end.0;
        let place = |offset: i64| self.place(policy, partition, offset);
        let readable = |offset: &i64| !matches!(place(*offset), Place::Nowhere | Place::Rejected);
        let verdict = |offset: i64| match place(offset) {
            Place::Zone(zone) => zone,
            _ => ZONES.len(),
        };
        let mut verdicts: Vec<Verdict> = ZONES.map(|name| Verdict::Resident(zone(name))).to_vec();
        verdicts.push(Verdict::Undetermined(UndeterminedReason::UnknownDevice));
        let rows = rows_of(partition, offsets().filter(readable), |offset| {
            ZONES.get(verdict(offset)).copied().unwrap_or("")
        });
        let text = |offset: i64| {
            let zone = ZONES.get(verdict(offset)).copied().unwrap_or(NO_ZONE);
            canaries::token(zone, partition, offset)
        };
        let texts = offsets().filter(readable).flat_map(|offset| [text(offset), text(offset)]);
        let rows = with_words(&rows, texts.collect());
        let rows = with_policy(&rows, &Self::facts("", policy).policy);
        let mut raw = RawBatch::new(source(partition), range.start, MARCH);
        let (mut message_of_row, mut verdict_of_row, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
        for offset in offsets().filter(|offset| place(*offset) != Place::Nowhere) {
            let message = u32::try_from(raw.len()).unwrap();
            // Of what is stored as rows, the payload may lie nowhere.
            let held = matches!(place(offset), Place::Rejected | Place::Undetermined);
            let payload = canaries::token(if held { QUARANTINE } else { NO_ZONE }, partition, offset);
            raw.push(offset, Some(MARCH / 1000), None, Some(payload.as_bytes()), std::iter::empty());
            if readable(&offset) {
                message_of_row.extend([message; 2]);
                verdict_of_row.extend([u16::try_from(verdict(offset)).unwrap(); 2]);
            } else {
                rejects.push(Reject { message, code: RejectCode::InvalidJson, pointer: None, byte: None });
            }
        }
        raw.extend_to(range.end);
        let notes = DecodeNotes::default();
        let decoded = DecodedBatch { raw: Arc::new(raw), rows, message_of_row, rejects, notes };
        let zones: BTreeSet<ZoneId> = ZONES.map(zone).into();
        let masks = Masks::new(decoded.rows.schema(), Outside::new(), Arc::default());
        split(TaggedBatch { decoded, verdicts, verdict_of_row }, &zones, &masks).unwrap()
    }

    /// Notes that a flush was said to be settled.
    pub(crate) fn promise(&self, promise: Promise) {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).push(promise);
    }

    /// Looks whether everything below these ends is in its one place, once, and accounted for, and nothing
    /// else is there; what does not hold.
    pub(crate) async fn check(&self, ends: &[i64]) -> Vec<String> {
        let report = verify(&Subject {
            stores: ZONES.map(|name| (zone(name), self.root(name))).into(),
            home: zone(ZONES[0]),
            separate_devices: false,
            allow_unsigned: false,
            public_keys: vec![self.key.public().clone()],
            releases: situs_model::Ledger::default(),
        });
        let findings = report.checks.iter().flat_map(|check| {
            check.found.iter().map(move |found| format!("verify, {}: {found}", check.check.as_str()))
        });
        let mut wrong: Vec<String> = findings.collect();
        let receipts = self.receipts().await;
        let mut expected: [Vec<Key>; 3] = Default::default();
        for (partition, end) in self.partitions().zip(ends) {
            let mut next = self.first(partition);
            for (range, policy, _) in receipts.get(&partition).into_iter().flatten() {
                if range.start.0 != next {
                    wrong.push(format!("partition {partition}: {range} is settled after {next}"));
                }
                next = range.end.0;
                for offset in range.start.0..range.end.0 {
                    match self.place(*policy, partition, offset) {
                        Place::Nowhere => {}
                        Place::Zone(zone) => {
                            expected[zone].extend([(partition, offset, 0), (partition, offset, 1)]);
                        }
                        Place::Rejected | Place::Undetermined => expected[2].push((partition, offset, 0)),
                    }
                }
            }
            if next != *end {
                wrong.push(format!("partition {partition} is settled to {next} and should be to {end}"));
            }
        }
        for (place, expected) in expected.iter_mut().enumerate() {
            expected.sort_unstable();
            let name = ZONES.get(place).copied();
            let found = match name {
                Some(zone) => {
                    self.keys(zone, TABLE.parse().unwrap(), &["_partition", "_offset", "_row"]).await
                }
                None => self.keys(ZONES[0], TableName::quarantine(), &["partition", "offset"]).await,
            };
            if found != *expected {
                let name = name.unwrap_or("quarantine");
                wrong.push(format!("{name} {}", difference(expected, &found)));
            }
        }
        for (zone, allowed) in [(ZONES[0], &[ZONES[0], QUARANTINE][..]), (ZONES[1], &[ZONES[1]])] {
            let (strays, tokens) = canaries::search(&self.root(zone), allowed);
            wrong.extend(strays);
            if tokens == 0 && !expected[ZONES.iter().position(|name| *name == zone).unwrap()].is_empty() {
                wrong.push(format!("no text of {zone} was found in its store, so the search finds nothing"));
            }
        }
        for Promise { partition, range, flush } in
            self.promises.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let kept =
                receipts.get(partition).into_iter().flatten().any(|(r, _, f)| r == range && f == flush);
            if !kept {
                wrong.push(format!("partition {partition}: {range} was said to be settled by {flush}"));
            }
        }
        wrong
    }

    /// The receipts of each partition in order: range, policy, flush.
    async fn receipts(&self) -> BTreeMap<i32, Vec<(OffsetRange, u64, String)>> {
        let mut receipts: BTreeMap<i32, Vec<_>> = BTreeMap::new();
        let columns = ["partition", "start_offset", "end_offset", "policy", "flush_id"];
        for batch in self.read(ZONES[0], TableName::receipts(), &columns).await {
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let number =
                |name: &str, row: usize| NextOffset(column(name).as_primitive::<Int64Type>().value(row));
            let word = |name: &str, row: usize| column(name).as_string::<i32>().value(row).to_owned();
            for row in 0..batch.num_rows() {
                let range = OffsetRange::new(number("start_offset", row), number("end_offset", row));
                let policy = Self::policy_of(&word("policy", row).parse().unwrap()).unwrap();
                let partition = column("partition").as_primitive::<Int32Type>().value(row);
                receipts.entry(partition).or_default().push((range, policy, word("flush_id", row)));
            }
        }
        receipts.values_mut().for_each(|all| all.sort_by_key(|(range, ..)| range.start));
        receipts
    }

    /// Partition, offset and number of all rows of a table, in order; the number is 0 where there is none.
    async fn keys(&self, zone: &str, table: TableName, columns: &[&str]) -> Vec<Key> {
        let mut keys = Vec::new();
        for batch in self.read(zone, table, columns).await {
            let small = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone();
            let (partitions, rows) = (small(columns[0]), columns.get(2).map(|name| small(name)));
            let offsets = batch.column_by_name(columns[1]).unwrap().as_primitive::<Int64Type>();
            let row = |at: usize| rows.as_ref().map_or(0, |rows| rows.value(at));
            keys.extend((0..batch.num_rows()).map(|at| (partitions.value(at), offsets.value(at), row(at))));
        }
        keys.sort_unstable();
        keys
    }

    /// These columns of a table, whose files delta-rs names.
    async fn read(&self, zone: &str, table: TableName, columns: &[&str]) -> Vec<RecordBatch> {
        let reader = StoreReader::open(&self.root(zone)).unwrap();
        if !reader.tables().unwrap().contains(&table) {
            return Vec::new();
        }
        let folder = crate::names::table(reader.root(), &table);
        let mut batches = Vec::new();
        for file in reader.snapshot(&table).await.unwrap().files {
            // A file that is named and gone is told by `verify`.
            let Ok(file) = std::fs::File::open(folder.join(&file.path)) else { continue };
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            batches.extend(builder.with_projection(mask).build().unwrap().map(Result::unwrap));
        }
        batches
    }
}

/// The rows with the policy that judged them, which their receipt must name.
fn with_policy(rows: &RecordBatch, policy: &ContentVersion) -> RecordBatch {
    let index = rows.schema_ref().index_of(situs_model::columns::names::POLICY).unwrap();
    let words = (0..rows.num_rows()).map(|_| Some(policy.as_str()));
    let mut columns = rows.columns().to_vec();
    columns[index] = Arc::new(words.collect::<arrow_array::DictionaryArray<arrow_array::types::Int32Type>>());
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

/// The same rows with other texts in the column `word`.
fn with_words(rows: &RecordBatch, words: Vec<String>) -> RecordBatch {
    let at = rows.schema_ref().index_of("word").unwrap();
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(StringArray::from(words));
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

/// Partition, offset, number of the row in its message.
type Key = (i32, i64, i32);

/// What one list of rows has and the other has not, in few words.
fn difference(expected: &[Key], found: &[Key]) -> String {
    let count = |all: &[Key]| {
        let mut counts: BTreeMap<Key, i64> = BTreeMap::new();
        all.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
        counts
    };
    let (expected, found) = (count(expected), count(found));
    let more = |one: &BTreeMap<Key, i64>, other: &BTreeMap<Key, i64>| -> Vec<Key> {
        let of = |key: &Key| other.get(key).copied().unwrap_or_default();
        one.iter().filter(|(key, count)| **count > of(key)).map(|(key, _)| *key).collect()
    };
    let (missing, extra) = (more(&expected, &found), more(&found, &expected));
    format!(
        "lacks {} rows, from {:?} on, and has {} too many, from {:?} on",
        missing.len(),
        missing.first(),
        extra.len(),
        extra.first()
    )
}
