//! Compaction: the same rows in fewer files, whatever happens meanwhile.

use std::sync::atomic::AtomicBool;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;

use super::super::*;
use super::support::*;
use crate::maintain::compact::{self, Replaced};
use crate::maintain::live::Live;
use crate::maintain::rewrite::{REPLACES, rewrite};
use crate::maintain::seal::{self, Bin};
use crate::maintain::{Optimize, Place, Vacuum};

/// Days need not be at rest.
pub(crate) fn at_once() -> Optimize {
    Optimize { sealed_after: std::time::Duration::ZERO, ..Optimize::default() }
}

pub(crate) fn table() -> TableName {
    "cnc_state".parse().unwrap()
}

/// Every row with all its columns, as text, in order.
pub(crate) async fn contents(root: &Path, table: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for (file, batch) in read(root, table).await {
        let schema = batch.schema();
        let mut order: Vec<usize> = (0..batch.num_columns()).collect();
        order.sort_by_key(|at| schema.field(*at).name().clone());
        for row in 0..batch.num_rows() {
            let text =
                |at: &usize| format!("{}={:?}", schema.field(*at).name(), batch.column(*at).slice(row, 1));
            let columns: Vec<String> = order.iter().map(text).collect();
            rows.push(format!("{:?} {}", file.partition_values, columns.join(" ")));
        }
    }
    rows.sort_unstable();
    rows
}

/// Six flushes of two partitions over two days.
async fn filled() -> (tempfile::TempDir, DeltaStore) {
    let (dir, store) = fresh().await;
    for (n, start) in (0..).zip([0, 100, 200]) {
        for partition in 0..2 {
            let flush = format!("f{n}-{partition}");
            store.append(&append(store.identity(), &flush, partition, start, start + 100)).await.unwrap();
        }
    }
    (dir, store)
}

async fn optimize(store: &DeltaStore, settings: &Optimize) -> crate::Optimized {
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    maintenance.optimize(&table(), settings).await.unwrap()
}

fn entry(root: &Path, version: u64) -> Vec<Value> {
    let text = std::fs::read_to_string(names::log_entry(&root.join("cnc_state"), version)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn compaction_keeps_every_row_with_all_its_columns() {
    let (dir, store) = filled().await;
    let before = contents(dir.path(), "cnc_state").await;
    assert_eq!(before.len(), 1200);
    let optimized = optimize(&store, &at_once()).await;
    // 288 offsets are of the first day, so the third flush of each partition lies in two.
    assert_eq!((optimized.replaced.files, optimized.written.files), (8, 2));
    assert_eq!((optimized.rows, optimized.sorted), (1200, 0), "there is no device to sort by");
    assert_eq!(contents(dir.path(), "cnc_state").await, before);
    let snapshot = crate::StoreReader::open(dir.path()).unwrap().snapshot(&table()).await.unwrap();
    assert_eq!(snapshot.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [Some(1152), Some(48)]);

    let actions = [entry(dir.path(), 7), entry(dir.path(), 8)].concat();
    let of = |kind: &'static str| {
        actions.iter().map(move |action| &action[kind]).filter(|action| action.is_object())
    };
    assert_eq!((of("remove").count(), of("add").count(), of("txn").count()), (8, 2, 0));
    assert!(of("remove").chain(of("add")).all(|action| action["dataChange"] == false));
    for add in of("add") {
        let path = dir.path().join("cnc_state").join(add["path"].as_str().unwrap());
        assert_eq!(add["tags"]["situs.sha256"], crate::encode::files::hash_of(&path));
        let file = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let facts = file.metadata().file_metadata().key_value_metadata().unwrap();
        let fact = |key: &str| facts.iter().find(|fact| fact.key == key).unwrap().value.clone().unwrap();
        assert_eq!(fact("situs.zone"), "CN");
        assert_eq!(fact("situs.policy"), ContentVersion::of(b"policy").as_str());
        assert!(fact(REPLACES).lines().any(|name| name.starts_with("f2-0")), "{}", fact(REPLACES));
    }

    // Nothing is left to do, and appends go on where they were.
    assert_eq!(optimize(&store, &at_once()).await, crate::Optimized::default());
    store.append(&append(store.identity(), "f9", 0, 300, 310)).await.unwrap();
    assert_eq!(keys(dir.path()).await, [expected(0, 0..310), expected(1, 0..300)].concat());
}

/// A day of which the log says less of a file than is in it, or more, is a day with something wrong.
#[tokio::test]
async fn a_file_that_does_not_hold_what_the_log_says_stops_compaction() {
    let (dir, store) = filled().await;
    let path = names::log_entry(&dir.path().join("cnc_state"), 2);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\\\"numRecords\\\":200", "\\\"numRecords\\\":201")).unwrap();
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    let files = parquet_files(dir.path());
    let refused = maintenance.optimize(&table(), &at_once()).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    assert!(refused.to_string().contains("has 200 rows, but the log says 201"), "{refused}");
    assert_eq!(parquet_files(dir.path()), files);
    assert_eq!(Metrics::sum(&store.metrics.maintenance_failures), 1);
}

/// What a store must do by itself once is done for it here: find out what may be put together.
fn plan(root: &Path, store: &DeltaStore) -> (Place, Live, Vec<Bin>) {
    let place = Place::new(root, store.identity(), &table());
    let live = Live::load(&root.join("cnc_state"), "event_date").unwrap().unwrap();
    let bins = seal::plan(&live, &at_once(), chrono::Utc::now());
    (place, live, bins)
}

#[tokio::test]
async fn rows_of_another_zone_are_not_compacted() {
    let (dir, store) = filled().await;
    let (_, live, bins) = plan(dir.path(), &store);
    let identity = StoreIdentity { zone: zone("EU"), ..store.identity().clone() };
    let place = Place::new(dir.path(), &identity, &table());
    let files = parquet_files(dir.path());
    let refused = rewrite(&place, &live, &bins[0], &at_once(), &AtomicBool::default()).unwrap_err();
    assert!(refused.message.contains("`_zone` is not EU"), "{}", refused.message);
    assert_eq!(parquet_files(dir.path()), files, "nothing is left behind");
}

#[tokio::test]
async fn a_crash_leaves_the_old_files_or_the_new_ones() {
    let (dir, store) = filled().await;
    let before = contents(dir.path(), "cnc_state").await;
    let (place, mut live, bins) = plan(dir.path(), &store);
    let stop = AtomicBool::default();

    // After the new file was written, before the commit: the old state, and a file that is nobody's.
    let lost = rewrite(&place, &live, &bins[0], &at_once(), &stop).unwrap();
    assert_eq!(contents(dir.path(), "cnc_state").await, before);
    assert_eq!(parquet_files(dir.path()), 9);

    // It is done again, and after the commit it is the new state.
    let rewritten = rewrite(&place, &live, &bins[0], &at_once(), &stop).unwrap();
    assert_ne!(lost.written.fact.path, rewritten.written.fact.path);
    let staging = store.leases.stage();
    let replaced = compact::replace(&place, &mut live, &rewritten, &staging).unwrap();
    assert_eq!(replaced, Replaced::Committed(7));
    assert_eq!(contents(dir.path(), "cnc_state").await, before);

    // The first one is not committed any more, as its rows are there.
    let late = compact::replace(&place, &mut live, &lost, &staging).unwrap();
    assert_eq!(late, Replaced::Outdated);
    assert!(!place_file(&dir, &lost.written.fact.path).exists());
    assert_eq!(contents(dir.path(), "cnc_state").await, before);
}

fn place_file(dir: &tempfile::TempDir, path: &str) -> PathBuf {
    dir.path().join("cnc_state").join(path)
}

/// The process is told to stop in the middle: no file is left, and nothing is committed.
#[tokio::test]
async fn a_compaction_that_is_stopped_leaves_nothing() {
    let (dir, store) = filled().await;
    let (place, live, bins) = plan(dir.path(), &store);
    let refused = rewrite(&place, &live, &bins[0], &at_once(), &AtomicBool::new(true)).unwrap_err();
    assert_eq!(refused.advice, Advice::Retry);
    assert_eq!(parquet_files(dir.path()), 8);
    let of_day = dir.path().join("cnc_state/event_date=2026-03-01");
    assert!(!durable::list(&of_day).unwrap().iter().any(|name| names::is_temporary(name)));
}

/// An entry that landed although the answer was an error, and one that another process took.
#[tokio::test]
async fn an_append_in_between_changes_nothing_but_the_version() {
    let (dir, store) = filled().await;
    let (place, mut live, bins) = plan(dir.path(), &store);
    let rewritten = rewrite(&place, &live, &bins[0], &at_once(), &AtomicBool::default()).unwrap();
    store.append(&append(store.identity(), "late", 0, 300, 305)).await.unwrap();
    let replaced = compact::replace(&place, &mut live, &rewritten, &store.leases.stage()).unwrap();
    assert_eq!(replaced, Replaced::Committed(8));
    assert_eq!(keys(dir.path()).await, [expected(0, 0..305), expected(1, 0..300)].concat());
}

/// delta-rs#3736: ten writers lost commits. Here they race with each other and with compaction and vacuum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_writers_race_with_compaction_and_nothing_is_lost_or_doubled() {
    let (dir, store) = fresh().await;
    store.renew_lease().await.unwrap();
    let mut writers = Vec::new();
    for partition in 0..10 {
        let store = open(&dir).await;
        store.renew_lease().await.unwrap();
        writers.push(tokio::spawn(async move {
            for step in 0..12 {
                let flush = format!("f{partition}-{step}");
                let append = append(store.identity(), &flush, partition, step * 3, step * 3 + 3);
                let mut tries = 0;
                while let Err(error) = store.append(&append).await {
                    assert_eq!(error.advice, Advice::Retry, "{error}");
                    tries += 1;
                    assert!(tries < 100, "{error}");
                }
            }
        }));
    }
    let retention = std::time::Duration::ZERO;
    let vacuum = Vacuum { retention, orphans_after: retention, ..Vacuum::default() };
    let (mut compacted, mut removed) = (0, 0);
    while writers.iter().any(|writer| !writer.is_finished()) {
        let maintenance = store.begin_maintenance().await.unwrap().unwrap();
        if maintenance.tables().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        }
        compacted += maintenance.optimize(&table(), &at_once()).await.unwrap().replaced.files;
        removed += maintenance.vacuum(&table(), &vacuum).await.unwrap().replaced.files;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(compacted > 0 && removed > 0, "{compacted} files compacted, {removed} removed");
    let all: Vec<_> = (0..10).flat_map(|partition| expected(partition, 0..36)).collect();
    assert_eq!(keys(dir.path()).await, all);
}

/// Columns that came later are null in older rows, and stay what they are in newer ones.
#[tokio::test]
async fn files_with_other_columns_are_put_together() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let with = |start: i64, column: &str, array: ArrayRef| {
        let rows = with_column(rows(0, start..start + 5, "CN"), column, array);
        let mut append = append(store.identity(), "f1", 0, start, start + 5);
        append.rows = encoded(store.identity(), "f1", vec![permitted(0, rows, store.identity())]);
        append
    };
    let numbers = Arc::new(arrow_array::Int32Array::from(vec![7; 10]));
    store.append(&with(5, "later", numbers)).await.unwrap();
    let words: arrow_array::DictionaryArray<Int32Type> = (0..10).map(|_| "w").collect();
    store.append(&with(10, "word_later", Arc::new(words))).await.unwrap();
    let optimized = optimize(&store, &at_once()).await;
    assert_eq!((optimized.replaced.files, optimized.rows), (3, 30));
    let [(_, batch)] = &read(dir.path(), "cnc_state").await[..] else { panic!("one file") };
    for (column, values) in [("later", 10), ("word_later", 10), ("_zone", 30)] {
        let found = batch.column_by_name(column).unwrap();
        assert_eq!(found.len() - found.null_count(), values, "{column}");
    }
    assert_eq!(keys(dir.path()).await, expected(0, 0..15));
}

fn with_column(rows: RecordBatch, name: &str, array: ArrayRef) -> RecordBatch {
    let mut fields: Vec<Field> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns = rows.columns().to_vec();
    fields.push(Field::new(name, array.data_type().clone(), true));
    columns.push(array);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Two devices that speak in turn, in two files.
#[tokio::test]
async fn rows_are_sorted_by_device_and_time_if_they_fit() {
    for (memory, sorted) in [(64 << 20, 1), (1, 0)] {
        let (dir, store) = fresh().await;
        for (flush, start) in [("f0", 0), ("f1", 50)] {
            let rows = rows(0, start..start + 50, "CN");
            let mut devices = StringDictionaryBuilder::<Int32Type>::new();
            (0..100).for_each(|row| {
                if row % 10 == 9 {
                    devices.append_null()
                } else {
                    devices.append_value(["b", "a"][row / 2 % 2])
                }
            });
            let rows = with_column(rows, "device", Arc::new(devices.finish()));
            let mut append = append(store.identity(), flush, 0, start, start + 50);
            append.rows = encoded(store.identity(), flush, vec![permitted(0, rows, store.identity())]);
            store.append(&append).await.unwrap();
        }
        let before = contents(dir.path(), "cnc_state").await;
        let optimized = optimize(&store, &Optimize { memory, ..at_once() }).await;
        assert_eq!((optimized.rows, optimized.sorted), (200, sorted));
        assert_eq!(contents(dir.path(), "cnc_state").await, before);
        let mut order: Vec<(Option<String>, i64)> = Vec::new();
        for (_, batch) in read(dir.path(), "cnc_state").await {
            let devices = batch.column_by_name("device").unwrap().as_string::<i32>().clone();
            let times = batch
                .column_by_name("event_time")
                .unwrap()
                .as_primitive::<TimestampMicrosecondType>()
                .clone();
            order.extend(
                devices.iter().zip(times.values()).map(|(device, time)| (device.map(str::to_owned), *time)),
            );
        }
        assert_eq!(order.is_sorted(), sorted == 1, "{order:?}");
    }
}

#[tokio::test]
async fn quarantine_and_receipts_are_compacted_too() {
    let (dir, store) = fresh().await;
    for n in 0..4_i64 {
        let quarantine =
            super::home::quarantine(&format!("q{n}"), n * 10, n * 10 + 10, &[n * 10 + 1, n * 10 + 3]);
        store.quarantine(&quarantine).await.unwrap();
        store
            .settle(&[super::home::receipt(&store, &format!("r{n}"), 0, n * 10, n * 10 + 10)])
            .await
            .unwrap();
    }
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    // Quarantine's days are those on which it was written, so today's is not over.
    let today = maintenance.optimize(&TableName::quarantine(), &at_once()).await.unwrap();
    assert_eq!(today.replaced.files, 0);
    let before = contents(dir.path(), "receipts").await;
    let receipts = maintenance.optimize(&TableName::receipts(), &at_once()).await.unwrap();
    assert_eq!((receipts.replaced.files, receipts.written.files, receipts.rows), (4, 1, 4));
    assert_eq!(contents(dir.path(), "receipts").await, before);
    assert_eq!(store.settled(&[source(0)]).await.unwrap()[&source(0)], NextOffset(40));

    // And quarantine, once its day is over.
    let before = contents(dir.path(), "quarantine").await;
    let place = Place::new(dir.path(), store.identity(), &TableName::quarantine());
    let mut live = Live::load(&dir.path().join("quarantine"), "quarantine_date").unwrap().unwrap();
    let tomorrow = chrono::Utc::now() + chrono::TimeDelta::days(2);
    let bins = seal::plan(&live, &at_once(), tomorrow);
    assert_eq!(bins.len(), 1);
    let rewritten = rewrite(&place, &live, &bins[0], &at_once(), &AtomicBool::default()).unwrap();
    compact::replace(&place, &mut live, &rewritten, &store.leases.stage()).unwrap();
    assert_eq!(contents(dir.path(), "quarantine").await, before);
    assert_eq!(read(dir.path(), "quarantine").await.len(), 1);
}
