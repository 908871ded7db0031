//! What the simulation's processes write, and what must be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use situs_model::store::FlushFacts;
use situs_model::{
    ContentVersion, DecodeNotes, DecodedBatch, NextOffset, OffsetRange, RawBatch, Reject, RejectCode, Split,
    TableName, TaggedBatch, UndeterminedReason, Verdict, ZoneId, split,
};

use super::chance::hash_of;
use crate::key::ReceiptKey;
use crate::root;
use crate::store::DeltaStore;
use crate::store::tests::support::{MARCH, facts, metrics, read, rows_of, source, zone};
use crate::verify::{Subject, verify};

/// The zones; the first one is at home.
pub(crate) const ZONES: [&str; 2] = ["CN", "EU"];
/// The table of the rows.
pub(crate) const TABLE: &str = "cnc_state";
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
    seed: u64,
    /// The first offset of each partition.
    firsts: Vec<i64>,
    promises: Mutex<Vec<Promise>>,
}

impl Plant {
    /// Two empty stores, and so many partitions. A day of their rows ends soon after their first offsets.
    pub(crate) fn new(seed: u64, partitions: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(ReceiptKey::create(&dir.path().join("key.pem")).unwrap());
        for name in ZONES {
            root::init(&dir.path().join(name), &zone(name)).unwrap();
        }
        let firsts = (0..partitions).map(|partition| 282 - 3 * partition as i64).collect();
        Self { dir, key, seed, firsts, promises: Mutex::default() }
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
        let store = DeltaStore::open(&self.root(name), &zone(name), metrics()).await?;
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
        let mut raw = RawBatch::new(source(partition), range.start, MARCH);
        let (mut message_of_row, mut verdict_of_row, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
        for offset in offsets().filter(|offset| place(*offset) != Place::Nowhere) {
            let message = u32::try_from(raw.len()).unwrap();
            raw.push(offset, Some(MARCH / 1000), None, Some(b"{}"), std::iter::empty());
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
        split(TaggedBatch { decoded, verdicts, verdict_of_row }, &zones).unwrap()
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
            allow_unsigned: false,
            public_keys: vec![self.key.public().clone()],
            releases: situs_model::Ledger::default(),
        });
        let findings = report.checks.iter().flat_map(|check| {
            check.found.iter().map(move |found| format!("verify, {}: {found}", check.check.as_str()))
        });
        let mut wrong: Vec<String> = findings.collect();
        let receipts = self.receipts().await;
        let mut expected: [Vec<(i32, i64, i32)>; 3] = Default::default();
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
                Some(zone) => self.keys(zone, TABLE, ["_partition", "_offset", "_row"]).await,
                None => self.keys(ZONES[0], "quarantine", ["partition", "offset", ""]).await,
            };
            if found != *expected {
                let name = name.unwrap_or("quarantine");
                wrong.push(format!("{name} {}", difference(expected, &found)));
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
        if !self.root(ZONES[0]).join("receipts").exists() {
            return receipts;
        }
        for (_, batch) in read(&self.root(ZONES[0]), "receipts").await {
            let numbers =
                |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
            let words = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let partitions = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
            let (starts, ends) = (numbers("start_offset"), numbers("end_offset"));
            let (policies, flushes) = (words("policy"), words("flush_id"));
            for row in 0..batch.num_rows() {
                let range = OffsetRange::new(NextOffset(starts.value(row)), NextOffset(ends.value(row)));
                let policy = Self::policy_of(&policies.value(row).parse().unwrap()).unwrap();
                let receipt = (range, policy, flushes.value(row).to_owned());
                receipts.entry(partitions.value(row)).or_default().push(receipt);
            }
        }
        receipts.values_mut().for_each(|all| all.sort_by_key(|(range, ..)| range.start));
        receipts
    }

    /// Partition, offset and number of all rows of a table, in order; the number is 0 where there is none.
    async fn keys(&self, zone: &str, table: &str, columns: [&str; 3]) -> Vec<(i32, i64, i32)> {
        let name: TableName = table.parse().unwrap_or_else(|_| TableName::quarantine());
        let mut keys = Vec::new();
        if !self.root(zone).join(name.as_str()).exists() {
            return keys;
        }
        for (_, batch) in read(&self.root(zone), table).await {
            let small = |name: &str| Some(batch.column_by_name(name)?.as_primitive::<Int32Type>().clone());
            let (partitions, rows) = (small(columns[0]).unwrap(), small(columns[2]));
            let offsets = batch.column_by_name(columns[1]).unwrap().as_primitive::<Int64Type>();
            let row = |at: usize| rows.as_ref().map_or(0, |rows| rows.value(at));
            keys.extend((0..batch.num_rows()).map(|at| (partitions.value(at), offsets.value(at), row(at))));
        }
        keys.sort_unstable();
        keys
    }
}

/// What one list of rows has and the other has not, in few words.
fn difference(expected: &[(i32, i64, i32)], found: &[(i32, i64, i32)]) -> String {
    let count = |all: &[(i32, i64, i32)]| {
        let mut counts: BTreeMap<(i32, i64, i32), i64> = BTreeMap::new();
        all.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
        counts
    };
    let (expected, found) = (count(expected), count(found));
    let more = |one: &BTreeMap<(i32, i64, i32), i64>,
                other: &BTreeMap<(i32, i64, i32), i64>|
     -> Vec<(i32, i64, i32)> {
        let of = |key: &(i32, i64, i32)| other.get(key).copied().unwrap_or_default();
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
