//! `verify` against stores that the store's own code wrote, and that somebody then tampered with: each fault is
//! found where it is, and nothing else.

use std::fs;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use situs_model::store::Share;
use situs_model::{
    Counts, QuarantineReason, Quarantined, RejectCode, StoreReceipt, TopicId, UndeterminedReason, ZoneCount,
};

use super::super::*;
use super::support::*;
use crate::chain::{Canonical, Chained};
use crate::key::{PublicKey, ReceiptKey};
use crate::scan;
use crate::verify::{Kind, Report, Subject, verify};

/// A home with two zones: of three messages one goes to CN, one to EU, and one to quarantine.
pub(super) struct Plant {
    pub(super) dir: tempfile::TempDir,
    pub(super) cn: DeltaStore,
    pub(super) eu: DeltaStore,
    pub(super) key: Arc<ReceiptKey>,
    pub(super) allow_unsigned: bool,
    pub(super) pinned: Vec<PublicKey>,
    /// What receipts say of their topic.
    pub(super) topic_id: Option<TopicId>,
}

impl Plant {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(ReceiptKey::create(&dir.path().join("key.pem")).unwrap());
        for name in ["CN", "EU"] {
            crate::root::init(&dir.path().join(name), &zone(name)).unwrap();
        }
        let cn = DeltaStore::open(&dir.path().join("CN"), &zone("CN"), metrics()).await.unwrap();
        let cn = cn.with_receipt_key(key.clone());
        let eu = DeltaStore::open(&dir.path().join("EU"), &zone("EU"), metrics()).await.unwrap();
        let eu = eu.with_receipt_key(key.clone());
        Self { dir, cn, eu, key, allow_unsigned: false, pinned: Vec::new(), topic_id: None }
    }

    /// A plant with three flushes of one partition and one of another.
    pub(super) async fn filled() -> Self {
        let plant = Self::new().await;
        for (flush, partition, start, end) in
            [("f1", 0, 0, 10), ("f2", 0, 10, 25), ("f3", 1, 100, 103), ("f4", 0, 25, 31)]
        {
            plant.flush(flush, partition, start, end).await;
        }
        plant
    }

    pub(super) fn root(&self, zone: &str) -> PathBuf {
        self.dir.path().join(zone)
    }

    /// Commits a range everywhere, and its receipt.
    pub(super) async fn flush(&self, flush: &str, partition: i32, start: i64, end: i64) {
        self.flush_of(flush, partition, start, end, start).await;
    }

    /// The same where the offsets below `first` were never given to a message.
    async fn flush_of(&self, flush: &str, partition: i32, start: i64, end: i64, first: i64) {
        let mut stores = Vec::new();
        for (store, rest) in [(&self.cn, 0), (&self.eu, 1)] {
            stores.push(self.append(store, flush, partition, start, end, first, rest).await);
        }
        let offsets: Vec<i64> = (first..end).filter(|offset| offset % 3 == 2).collect();
        let append = AppendQuarantine {
            shares: vec![share(partition, start, end)],
            messages: offsets.iter().map(|offset| message(partition, *offset)).collect(),
            facts: facts(flush),
        };
        let quarantined = self.eu.quarantine(&append).await.unwrap();
        let count = |rest: i64| (first..end).filter(|offset| offset % 3 == rest).count() as u64;
        let rejected = offsets.iter().filter(|offset| is_reject(**offset)).count() as u64;
        let undetermined = count(2) - rejected;
        let zone_count = |rest: i64| ZoneCount { messages: count(rest), rows: 2 * count(rest) };
        let messages = u64::try_from(end - first).unwrap();
        let counts = Counts {
            messages,
            decoded: messages - rejected,
            rejected,
            rows: 2 * (messages - rejected),
            stored: [(zone("CN"), zone_count(0)), (zone("EU"), zone_count(1))].into(),
            quarantined: [
                (QuarantineReason::Rejected(RejectCode::InvalidJson), rejected),
                (QuarantineReason::Undetermined(UndeterminedReason::UnknownDevice), undetermined),
            ]
            .into(),
            quarantined_rows: 2 * undetermined,
            ..Counts::default()
        };
        let quarantine = StoreReceipt {
            store: self.eu.identity().clone(),
            version: quarantined.version,
            files: quarantined.files,
        };
        let receipt = Receipt {
            flush_id: flush.to_owned(),
            source: source(partition),
            epoch: situs_model::Epoch::default(),
            topic_id: self.topic_id,
            range: range(start, end),
            pipeline: "cnc-state".parse().unwrap(),
            policy: ContentVersion::of(b"policy"),
            schema: ContentVersion::of(b"schema"),
            definition: ContentVersion::of(b"definition"),
            counts,
            stores,
            quarantine: Some(quarantine),
            created_us: MARCH,
        };
        self.eu.settle(&[receipt]).await.unwrap();
    }

    /// Appends the messages of one rest modulo three to a zone's table.
    #[expect(clippy::too_many_arguments, reason = "a range of a partition, and which of it")]
    async fn append(
        &self,
        store: &DeltaStore,
        flush: &str,
        partition: i32,
        start: i64,
        end: i64,
        first: i64,
        rest: i64,
    ) -> StoreReceipt {
        let identity = store.identity();
        let batches = (first..end).filter(|offset| offset % 3 == rest).map(|offset| {
            permitted(partition, rows(partition, offset..offset + 1, identity.zone.as_str()), identity)
        });
        let append = Append {
            table: "cnc_state".parse().unwrap(),
            shares: vec![share(partition, start, end)],
            rows: encoded(identity, flush, batches.collect()),
            facts: facts(flush),
        };
        let appended = store.append(&append).await.unwrap();
        StoreReceipt { store: identity.clone(), version: appended.version, files: appended.files }
    }

    pub(super) fn verify(&self) -> Report {
        verify(&Subject {
            stores: ["CN", "EU"].map(|name| (zone(name), self.root(name))).into(),
            home: zone("EU"),
            separate_devices: false,
            allow_unsigned: self.allow_unsigned,
            public_keys: self.pinned.clone(),
            releases: situs_model::Ledger::default(),
        })
    }

    /// Exactly these violations: of which check, and what the text begins or ends with.
    pub(super) fn assert_found(&self, expected: &[(Kind, &str)]) {
        let report = self.verify();
        let found: Vec<(Kind, String)> = report
            .checks
            .iter()
            .flat_map(|check| check.found.iter().map(|finding| (check.check, finding.to_string())))
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        assert_eq!(report.violations(), expected.len() as u64);
        for (kind, text) in expected {
            let is_it = |(of, found): &&(Kind, String)| of == kind && found.contains(text);
            assert!(found.iter().any(|found| is_it(&found)), "{kind:?}: {text}: {found:#?}");
        }
    }

    /// The files of a table by the log's own order of names.
    pub(super) fn files(&self, zone: &str, table: &str) -> Vec<String> {
        let history = crate::history::History::read(&self.root(zone).join(table)).unwrap();
        let mut files: Vec<String> = history.files.into_keys().collect();
        files.sort_unstable();
        files
    }

    /// Adds an entry to a table's log.
    pub(super) fn commit(&self, zone: &str, table: &str, actions: &[Value]) {
        let folder = self.root(zone).join(table);
        let version = crate::history::History::read(&folder).unwrap().version.unwrap() + 1;
        let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
        fs::write(names::log_entry(&folder, version), text).unwrap();
    }

    /// The action that added a file.
    pub(super) fn add(&self, zone: &str, table: &str, file: &str) -> Value {
        let log = names::log(&self.root(zone).join(table));
        for name in crate::durable::list(&log).unwrap() {
            for line in fs::read_to_string(log.join(name)).unwrap().lines() {
                let action: Value = serde_json::from_str(line).unwrap();
                if action["add"]["path"] == file {
                    return action;
                }
            }
        }
        panic!("{file} was never added")
    }

    /// Changes all receipts, as somebody would who may write the store and knows how: the log says what
    /// the files are then.
    pub(super) fn rewrite_receipts(&self, change: impl Fn(RecordBatch) -> RecordBatch) {
        self.rewrite("EU", "receipts", change);
    }

    /// The same with all rows of any table.
    pub(super) fn rewrite(&self, zone: &str, table: &str, change: impl Fn(RecordBatch) -> RecordBatch) {
        let folder = self.root(zone).join(table);
        for file in self.files(zone, table) {
            let path = folder.join(&file);
            let batches: Vec<RecordBatch> =
                scan::columns(fs::File::open(&path).unwrap(), &[]).unwrap().map(Result::unwrap).collect();
            let batch = change(concat_batches(batches[0].schema_ref(), &batches).unwrap());
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            let bytes = writer.into_inner().unwrap();
            let size = bytes.len();
            fs::write(&path, bytes).unwrap();
            let log = names::log(&folder);
            for name in crate::durable::list(&log).unwrap() {
                let text = fs::read_to_string(log.join(&name)).unwrap();
                let text: String = text
                    .lines()
                    .map(|line| {
                        let mut action: Value = serde_json::from_str(line).unwrap();
                        if action["add"]["path"] == file.as_str() {
                            action["add"]["size"] = size.into();
                        }
                        format!("{action}\n")
                    })
                    .collect();
                fs::write(log.join(&name), text).unwrap();
            }
        }
    }
}

fn share(partition: i32, start: i64, end: i64) -> Share {
    Share {
        source: source(partition),
        range: range(start, end),
        settled: Some(NextOffset(start)),
        epoch: situs_model::Epoch::default(),
        topic_id: None,
    }
}

fn is_reject(offset: i64) -> bool {
    offset % 2 == 0
}

fn message(partition: i32, offset: i64) -> Quarantined {
    let reason = if is_reject(offset) {
        QuarantineReason::Rejected(RejectCode::InvalidJson)
    } else {
        QuarantineReason::Undetermined(UndeterminedReason::UnknownDevice)
    };
    Quarantined {
        source: source(partition),
        offset,
        broker_time_ms: None,
        received_us: MARCH,
        key: None,
        headers: Vec::new(),
        payload: Some(vec![7; 20]),
        reason,
        pointer: None,
        byte: None,
        rows: if is_reject(offset) { 0 } else { 2 },
    }
}

/// The receipt of partition 0 that starts here, in a batch.
pub(super) fn row_of(batch: &RecordBatch, start: i64) -> Option<usize> {
    let starts = batch.column_by_name("start_offset").unwrap().as_primitive::<Int64Type>();
    let partitions = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
    (0..batch.num_rows()).find(|row| starts.value(*row) == start && partitions.value(*row) == 0)
}

/// The batch with another column of this name.
fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema_ref().index_of(name).unwrap()] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn with_number(batch: &RecordBatch, name: &str, row: usize, value: i64) -> RecordBatch {
    let column = batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
    let changed: Int64Array =
        (0..batch.num_rows()).map(|at| Some(if at == row { value } else { column.value(at) })).collect();
    with(batch, name, Arc::new(changed))
}

pub(super) fn with_text(batch: &RecordBatch, name: &str, row: usize, value: Option<&str>) -> RecordBatch {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    let old = |at: usize| column.is_valid(at).then(|| column.value(at));
    let changed: StringArray =
        (0..batch.num_rows()).map(|at| if at == row { value } else { old(at) }).collect();
    with(batch, name, Arc::new(changed))
}

pub(super) fn with_hash(batch: &RecordBatch, row: usize) -> RecordBatch {
    let hash = Canonical::new(Chained::Receipts, batch).unwrap().hash(row);
    with_text(batch, "hash", row, Some(&hash))
}

fn figure(report: &Report, kind: Kind, name: &str) -> u64 {
    report.checks.iter().find(|check| check.check == kind).unwrap().figures.get(name).copied().unwrap_or(0)
}

#[tokio::test]
async fn a_healthy_home_holds_and_the_figures_are_what_was_written() {
    let plant = Plant::filled().await;
    let report = plant.verify();
    plant.assert_found(&[]);
    assert!(report.holds());
    // 34 messages: 11 to CN, 12 to EU, 11 to quarantine.
    assert_eq!(figure(&report, Kind::Once, "rows"), 2 * 23);
    assert_eq!(figure(&report, Kind::Zones, "rows"), 2 * 23);
    assert_eq!(figure(&report, Kind::Once, "quarantined messages"), 11);
    assert_eq!(figure(&report, Kind::Counts, "messages in receipts"), 34);
    assert_eq!(figure(&report, Kind::Counts, "receipts compared"), 4);
    assert_eq!(figure(&report, Kind::Ranges, "offsets"), 34);
    assert_eq!(figure(&report, Kind::Ranges, "partitions"), 2);
    assert_eq!(figure(&report, Kind::Chain, "links"), 2);
    assert_eq!(figure(&report, Kind::Signatures, "signed"), 4);
    assert_eq!(figure(&report, Kind::Signatures, "keys archived"), 1);
    assert_eq!(figure(&report, Kind::Files, "named by receipts"), figure(&report, Kind::Files, "files"));
    assert_eq!(figure(&report, Kind::Markers, "roots"), 2);
}

#[tokio::test]
async fn a_changed_byte_is_found() {
    let plant = Plant::filled().await;
    let file = &plant.files("CN", "cnc_state")[1];
    let path = plant.root("CN").join("cnc_state").join(file);
    let mut bytes = fs::read(&path).unwrap();
    for at in [4, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let what = format!("CN/cnc_state/{file}: its SHA-256 is not that of its receipt");
        plant.assert_found(&[(Kind::Files, &what)]);
        bytes[at] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    plant.assert_found(&[]);
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    plant.assert_found(&[(
        Kind::Files,
        &format!("CN/cnc_state/{file}: has {} bytes, the log says", bytes.len()),
    )]);
}

#[tokio::test]
async fn a_deleted_file_is_found() {
    let plant = Plant::filled().await;
    let file = &plant.files("EU", "quarantine")[0];
    fs::remove_file(plant.root("EU").join("quarantine").join(file)).unwrap();
    plant.assert_found(&[(Kind::Files, &format!("EU/quarantine/{file}: is missing"))]);
}

#[tokio::test]
async fn a_deleted_table_is_found() {
    let plant = Plant::filled().await;
    fs::remove_dir_all(plant.root("CN").join("cnc_state")).unwrap();
    plant.assert_found(&[(
        Kind::Files,
        "CN/cnc_state: receipts name files of this table, which is not there",
    )]);
}

#[tokio::test]
async fn a_row_in_two_zones_is_found() {
    let plant = Plant::filled().await;
    let file = plant.files("CN", "cnc_state").remove(1);
    let mut add = plant.add("CN", "cnc_state", &file);
    let copy = file.replace("-0.parquet", "-9.parquet");
    fs::copy(plant.root("CN").join("cnc_state").join(&file), plant.root("EU").join("cnc_state").join(&copy))
        .unwrap();
    add["add"]["path"] = copy.as_str().into();
    plant.commit("EU", "cnc_state", &[add]);
    let twice = format!("EU/cnc_state/{copy}, cnc.state/0/12: 10 rows lie in zone CN too (first: row 0)");
    let foreign = format!("EU/cnc_state/{copy}, cnc.state/0/12: 10 rows are tagged for another zone than EU");
    plant.assert_found(&[(Kind::Once, &twice), (Kind::Zones, &foreign)]);
}

#[tokio::test]
async fn a_row_twice_in_a_table_is_found() {
    let plant = Plant::filled().await;
    let file = plant.files("CN", "cnc_state").remove(0);
    let mut add = plant.add("CN", "cnc_state", &file);
    let copy = file.replace("-0.parquet", "-9.parquet");
    let folder = plant.root("CN").join("cnc_state");
    fs::copy(folder.join(&file), folder.join(&copy)).unwrap();
    add["add"]["path"] = copy.as_str().into();
    plant.commit("CN", "cnc_state", &[add]);
    plant.assert_found(&[(
        Kind::Once,
        "cnc.state/0/0: 8 rows lie in another place of this table too (first: row 0)",
    )]);
}

#[tokio::test]
async fn a_message_in_quarantine_and_in_a_zone_is_found() {
    let plant = Plant::filled().await;
    // Offset 31 is one of EU's; nobody settles it.
    plant.append(&plant.eu, "f9", 0, 31, 32, 31, 1).await;
    let append = AppendQuarantine {
        shares: vec![share(0, 31, 32)],
        messages: vec![message(0, 31)],
        facts: facts("f9"),
    };
    plant.eu.quarantine(&append).await.unwrap();
    plant.assert_found(&[(Kind::Once, "cnc.state/0/31: 2 rows lie in quarantine too (first: row 0)")]);
}

#[tokio::test]
async fn what_waits_for_its_receipt_is_no_violation() {
    let plant = Plant::filled().await;
    plant.append(&plant.cn, "f9", 0, 31, 40, 31, 0).await;
    plant.assert_found(&[]);
    let report = plant.verify();
    assert_eq!(figure(&report, Kind::Ranges, "unsettled rows"), 6);
    let notes: Vec<String> =
        report.checks.iter().flat_map(|check| check.notes.iter().map(ToString::to_string)).collect();
    assert_eq!(notes, ["cnc.state/0/31: 6 rows or messages from here on are committed, but not settled yet"]);
    // Rows that the table's own offset does not account for are another matter.
    let file = plant.files("CN", "cnc_state").into_iter().find(|file| file.contains("f9")).unwrap();
    let add = plant.add("CN", "cnc_state", &file);
    let entry = names::log_entry(&plant.root("CN").join("cnc_state"), 5);
    fs::write(entry, format!("{add}\n")).unwrap();
    let beyond = "cnc.state/0/33: 6 rows are beyond the settled offset, and beyond the table's own";
    plant.assert_found(&[(Kind::Ranges, beyond)]);
}

#[tokio::test]
async fn a_changed_count_in_a_receipt_is_found() {
    let plant = Plant::filled().await;
    plant.rewrite_receipts(|batch| match row_of(&batch, 10) {
        Some(row) => with_number(&batch, "messages", row, 14),
        None => batch,
    });
    let what = "cnc.state/0/10, receipt of flush f2: its hash is not that of its content";
    plant.assert_found(&[(Kind::Chain, what)]);
}

/// Whoever makes the hash fit breaks the signature, and the link of the next receipt.
#[tokio::test]
async fn a_receipt_that_was_made_to_fit_is_found() {
    let plant = Plant::filled().await;
    plant.rewrite_receipts(|batch| match row_of(&batch, 10) {
        Some(row) => {
            let batch = with_text(
                &batch,
                "zones",
                row,
                Some(r#"{"CN":{"messages":5,"rows":9},"EU":{"messages":5,"rows":10}}"#),
            );
            with_hash(&batch, row)
        }
        None => batch,
    });
    let signature = format!(
        "cnc.state/0/10, receipt of flush f2: its signature is not that of key {}",
        plant.key.public().id()
    );
    let link = "cnc.state/0/25, receipt of flush f4: it does not continue the receipt before it";
    let counts =
        "receipt of flush f2: it counts 5 messages with 9 rows in zone CN, the tables hold 5 with 10 rows";
    plant.assert_found(&[(Kind::Signatures, &signature), (Kind::Chain, link), (Kind::Counts, counts)]);
}

#[tokio::test]
async fn a_wrong_signature_is_found() {
    let plant = Plant::filled().await;
    let wrong = crate::chain::hex(&plant.key.sign(b"something else"));
    plant.rewrite_receipts(|batch| match row_of(&batch, 25) {
        Some(row) => with_text(&batch, "signature", row, Some(&wrong)),
        None => batch,
    });
    plant.assert_found(&[(
        Kind::Signatures,
        "cnc.state/0/25, receipt of flush f4: its signature is not that of key",
    )]);
}

#[tokio::test]
async fn a_receipt_taken_out_is_found() {
    let without = |start: i64| {
        move |batch: RecordBatch| {
            let out = row_of(&batch, start);
            filter_record_batch(&batch, &(0..batch.num_rows()).map(|row| Some(Some(row) != out)).collect())
                .unwrap()
        }
    };
    let plant = Plant::filled().await;
    plant.rewrite_receipts(without(10));
    let what = "cnc.state/0/10: no receipt covers offsets 10..25, and the receipt after them continues one that is not there";
    plant.assert_found(&[(Kind::Ranges, what)]);

    let plant = Plant::filled().await;
    plant.rewrite_receipts(without(25));
    plant.assert_found(&[(
        Kind::Ranges,
        "cnc.state/0/25: no receipt covers offsets 25..31, up to the settled offset",
    )]);

    let plant = Plant::filled().await;
    plant.rewrite_receipts(without(0));
    let first = "cnc.state/0/10, receipt of flush f2: it is the first there is, but it continues another";
    let report = plant.verify();
    assert!(report.checks.iter().flat_map(|check| &check.found).any(|finding| finding.to_string() == first));
}

/// A writer that skips offsets, and chains and hashes what it says of the rest.
#[tokio::test]
async fn a_gap_between_receipts_is_found() {
    let mut plant = Plant::filled().await;
    plant.flush_of("f5", 0, 31, 40, 34).await;
    plant.assert_found(&[]);
    plant.allow_unsigned = true;
    plant.rewrite_receipts(|batch| match row_of(&batch, 31) {
        Some(row) => {
            let batch = with_number(&batch, "start_offset", row, 34);
            let batch = with_text(&batch, "key_id", row, None);
            with_hash(&with_text(&batch, "signature", row, None), row)
        }
        None => batch,
    });
    plant.assert_found(&[(Kind::Ranges, "cnc.state/0/31: no receipt covers offsets 31..34")]);
}

#[tokio::test]
async fn a_receipt_twice_is_found() {
    let plant = Plant::filled().await;
    plant.rewrite_receipts(|batch| match row_of(&batch, 10) {
        Some(_) => concat_batches(batch.schema_ref(), [&batch, &batch]).unwrap(),
        None => batch,
    });
    let again = "cnc.state/0/10, receipt of flush f2: it covers 10..25 again, from the receipt of flush f2";
    let report = plant.verify();
    assert!(report.checks.iter().flat_map(|check| &check.found).any(|finding| finding.to_string() == again));
}

#[tokio::test]
async fn a_foreign_marker_is_found() {
    let plant = Plant::filled().await;
    let marker = names::marker(&plant.root("CN"));
    let mine = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, mine.replace(&plant.cn.identity().store_id, "another")).unwrap();
    plant.assert_found(&[(Kind::Markers, "of zone CN, but the marker there is that of store another")]);
    fs::write(&marker, mine.replace("\"CN\"", "\"EU\"")).unwrap();
    plant.assert_found(&[(Kind::Markers, "is the store of zone EU, not of zone CN")]);
    fs::remove_file(&marker).unwrap();
    plant.assert_found(&[(Kind::Markers, "it has no marker")]);
}

#[tokio::test]
async fn a_symlinked_table_is_found() {
    let plant = Plant::filled().await;
    let (table, away) = (plant.root("CN").join("cnc_state"), plant.dir.path().join("away"));
    fs::rename(&table, &away).unwrap();
    std::os::unix::fs::symlink(&away, &table).unwrap();
    plant.assert_found(&[(Kind::Roots, "CN/cnc_state: is a symlink")]);
}

#[tokio::test]
async fn a_file_outside_of_its_table_is_found_and_not_read() {
    let plant = Plant::filled().await;
    let file = plant.files("EU", "cnc_state").remove(0);
    let mut add = plant.add("EU", "cnc_state", &file);
    let outside = format!("../../CN/cnc_state/{file}");
    add["add"]["path"] = outside.as_str().into();
    plant.commit("EU", "cnc_state", &[add]);
    plant.assert_found(&[(Kind::Roots, "the log names a file outside of its table")]);
}
