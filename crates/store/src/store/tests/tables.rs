//! Tables of pipelines.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use serde_json::Value;
use situs_model::Decision;

use super::super::*;
use super::support::*;
use crate::encode::files::hash_of;
use crate::reader::StoreReader;
use crate::root::init;

#[tokio::test]
async fn append_reopen_append() {
    let (dir, store) = fresh().await;
    let first = store.append(&append(store.identity(), "f1", 0, 0, 10)).await.unwrap();
    assert_eq!((first.version, first.conflicts), (Some(1), 0));
    assert_eq!(first.decisions, [(source(0), Decision::Append)]);
    let second = store.append(&append(store.identity(), "f2", 0, 10, 15)).await.unwrap();
    assert_eq!(second.version, Some(2));

    let store = open(&dir).await;
    let third = store.append(&append(store.identity(), "f3", 0, 15, 20)).await.unwrap();
    assert_eq!(third.version, Some(3));
    assert_eq!(keys(dir.path()).await, expected(0, 0..20));

    for file in first.files.iter().chain(&third.files) {
        let path = dir.path().join("cnc_state").join(&file.path);
        assert_eq!(hash_of(&path), file.sha256);
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (file.bytes, 0o600));
    }
    assert_eq!(first.files[0].path, "event_date=2026-03-01/f1-0.parquet");
    assert_eq!(first.files[0].rows, 20);
}

#[tokio::test]
async fn the_reader_sees_columns_days_and_counts() {
    let (dir, store) = fresh().await;
    // 300 offsets reach over midnight.
    store.append(&append(store.identity(), "f1", 0, 0, 300)).await.unwrap();
    let reader = StoreReader::open(dir.path()).unwrap();
    assert_eq!(reader.identity(), store.identity());
    let table: TableName = "cnc_state".parse().unwrap();
    assert_eq!(reader.tables().unwrap(), std::slice::from_ref(&table));
    let snapshot = reader.snapshot(&table).await.unwrap();
    assert_eq!(
        (snapshot.version, snapshot.partition_columns.as_slice()),
        (1, &["event_date".to_owned()][..])
    );
    let files: Vec<_> =
        snapshot.files.iter().map(|f| (f.rows, f.partition_values[0].1.clone().unwrap())).collect();
    assert_eq!(files, [(Some(576), "2026-03-01".to_owned()), (Some(24), "2026-03-02".to_owned())]);
    let field = |name: &str| snapshot.schema.field_with_name(name).unwrap();
    assert_eq!(field("x").metadata()["unit"], "MILLIMETER");
    assert_eq!(field("_zone").data_type(), &arrow_schema::DataType::Utf8);
    assert!(field("event_date").data_type() == &arrow_schema::DataType::Date32);
    // The files hold the table's own types, without the partition column.
    for (_, batch) in read(dir.path(), "cnc_state").await {
        assert!(batch.column_by_name("event_date").is_none());
        for column in batch.schema_ref().fields() {
            assert_eq!(column.data_type(), field(column.name()).data_type(), "{}", column.name());
        }
    }
    let missing = reader.snapshot(&"nothing".parse().unwrap()).await.unwrap_err();
    assert_eq!(missing.advice, Advice::Stop);
}

#[tokio::test]
async fn what_was_committed_is_not_committed_again() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 0, 10)).await.unwrap();
    let files = parquet_files(dir.path());
    for flush in ["f1", "f2"] {
        let again = store.append(&append(store.identity(), flush, 0, 0, 10)).await.unwrap();
        assert_eq!((again.version, again.files.len()), (None, 0));
        assert_eq!(again.decisions, [(source(0), Decision::AlreadyCommitted)]);
    }
    assert_eq!(keys(dir.path()).await, expected(0, 0..10));
    assert_eq!(parquet_files(dir.path()), files);
}

#[tokio::test]
async fn an_overlap_appends_exactly_what_is_missing() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 0, 7)).await.unwrap();
    // After a crash the range is cut elsewhere; another partition is new in the same flush.
    let mut both = append(store.identity(), "f2", 0, 0, 12);
    let other = append_settled(store.identity(), "f2", 1, 100, 103, None);
    both.shares.extend(other.shares);
    let batches = [(0, 0..12), (1, 100..103)]
        .map(|(partition, offsets)| permitted(partition, rows(partition, offsets, "CN"), store.identity()));
    both.rows = encoded(store.identity(), "f2", batches.into());
    let appended = store.append(&both).await.unwrap();
    let keep_from = NextOffset(7);
    assert_eq!(
        appended.decisions,
        [(source(0), Decision::Overlap { keep_from }), (source(1), Decision::Append)]
    );
    assert_eq!(keys(dir.path()).await, [expected(0, 0..12), expected(1, 100..103)].concat());
    let settled = store.append(&append(store.identity(), "f3", 0, 12, 13)).await.unwrap();
    assert_eq!(settled.decisions, [(source(0), Decision::Append)]);
}

#[tokio::test]
async fn gaps_and_zombies_are_refused_and_gaps_counted() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 0, 10)).await.unwrap();
    let gap = store.append(&append_settled(store.identity(), "f2", 0, 12, 15, Some(10))).await.unwrap_err();
    assert_eq!(gap.advice, Advice::Stop);
    assert!(gap.to_string().contains("cnc.state/0") && gap.to_string().contains("10..12"), "{gap}");
    let fenced = store.append(&append_settled(store.identity(), "f3", 0, 5, 15, Some(10))).await.unwrap_err();
    assert_eq!(fenced.advice, Advice::Yield);
    // Fencing a zombie keeps the promise; only a gap breaks it.
    assert_eq!(Metrics::sum(&store.metrics.invariant_violations), 1);
    assert_eq!(keys(dir.path()).await, expected(0, 0..10));
    assert_eq!(parquet_files(dir.path()), 1);
}

#[tokio::test]
async fn statistics_are_those_of_the_rows() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 250, 330)).await.unwrap();
    let entry = std::fs::read_to_string(names::log_entry(&dir.path().join("cnc_state"), 1)).unwrap();
    let adds: BTreeMap<String, Value> = entry
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|action| action["add"].is_object())
        .map(|action| {
            let stats = serde_json::from_str(action["add"]["stats"].as_str().unwrap()).unwrap();
            (action["add"]["path"].as_str().unwrap().to_owned(), stats)
        })
        .collect();
    assert_eq!(adds.len(), 2);
    for (file, batch) in read(dir.path(), "cnc_state").await {
        let stats = &adds[&file.path];
        assert_eq!(stats["numRecords"], batch.num_rows());
        let x = batch.column_by_name("x").unwrap().as_primitive::<Float64Type>();
        let n = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
        assert_eq!(stats["nullCount"]["x"], x.null_count());
        assert_eq!(stats["minValues"]["x"], x.iter().flatten().fold(f64::INFINITY, f64::min));
        assert_eq!(stats["maxValues"]["x"], x.iter().flatten().fold(f64::NEG_INFINITY, f64::max));
        assert_eq!(stats["minValues"]["n"], n.values().iter().copied().min().unwrap());
        assert_eq!(stats["maxValues"]["n"], n.values().iter().copied().max().unwrap());
        let (first, last) = (offsets.value(0), offsets.value(batch.num_rows() - 1));
        for (bound, offset) in [("minValues", first), ("maxValues", last)] {
            let time = chrono::DateTime::parse_from_rfc3339(stats[bound]["event_time"].as_str().unwrap());
            assert_eq!(time.unwrap().timestamp_micros(), time_of(offset));
        }
        for column in ["word", "_zone", "samples", "event_date"] {
            assert!(stats["minValues"][column].is_null(), "{column}");
        }
    }
}

#[tokio::test]
async fn tables_take_new_columns_and_no_other_type() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 0, 5)).await.unwrap();

    let with = |start: i64, column: &str, array: arrow_array::ArrayRef| {
        let rows = rows(0, start..start + 5, "CN");
        let mut fields: Vec<_> = rows.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut columns = rows.columns().to_vec();
        let field = arrow_schema::Field::new(column, array.data_type().clone(), true);
        match fields.iter().position(|field| field.name() == column) {
            Some(at) => (fields[at], columns[at]) = (field, array),
            None => (fields.push(field), columns.push(array)).0,
        }
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        let rows = arrow_array::RecordBatch::try_new(schema, columns).unwrap();
        let mut append = append(store.identity(), "f2", 0, start, start + 5);
        append.rows = encoded(store.identity(), "f2", vec![permitted(0, rows, store.identity())]);
        append
    };
    let numbers = Arc::new(arrow_array::Int32Array::from(vec![7; 10]));
    assert_eq!(store.append(&with(5, "later", numbers.clone())).await.unwrap().version, Some(2));
    let refused = store.append(&with(10, "x", numbers)).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    assert!(refused.to_string().contains("`cnc_state`") && refused.to_string().contains("`x`"), "{refused}");
    // The old form still fits.
    store.append(&append(store.identity(), "f3", 0, 10, 15)).await.unwrap();
    assert_eq!(keys(dir.path()).await, expected(0, 0..15));
    let snapshot =
        StoreReader::open(dir.path()).unwrap().snapshot(&"cnc_state".parse().unwrap()).await.unwrap();
    assert!(snapshot.schema.field_with_name("later").unwrap().is_nullable());
    assert_eq!(snapshot.schema.field_with_name("x").unwrap().metadata()["unit"], "MILLIMETER");
}

#[tokio::test]
async fn a_permit_for_another_store_is_refused() {
    let (dir, store) = fresh().await;
    let other = init(&tempfile::tempdir().unwrap().path().join("cn"), &zone("CN")).unwrap();
    let refused = store.append(&append(&other, "f1", 0, 0, 5)).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    assert_eq!(Metrics::sum(&store.metrics.permits_refused), 1);
    assert_eq!(parquet_files(dir.path()), 0);
}

#[tokio::test]
async fn a_root_of_another_zone_is_refused() {
    let (dir, _) = fresh().await;
    let refused = DeltaStore::open(dir.path(), &zone("EU"), metrics()).await.unwrap_err();
    assert!(matches!(refused, RootError::OtherZone { .. }));
    let empty = tempfile::tempdir().unwrap();
    let refused = DeltaStore::open(empty.path(), &zone("CN"), metrics()).await.unwrap_err();
    assert!(matches!(refused, RootError::NoMarker { .. }));
}

#[tokio::test]
async fn appends_that_contradict_themselves_are_refused() {
    let (_dir, store) = fresh().await;
    let good = append(store.identity(), "f1", 0, 0, 5);
    let mut twice = good.clone();
    twice.shares.extend(twice.shares.clone());
    let mut outside = good.clone();
    outside.shares[0].range = range(0, 4);
    let mut without_share = good.clone();
    without_share.shares[0].source = source(1);
    let mut reserved = good.clone();
    reserved.table = TableName::receipts();
    for bad in [twice, outside, without_share, reserved] {
        assert_eq!(store.append(&bad).await.unwrap_err().advice, Advice::Stop);
    }
    let mut nothing = good.clone();
    nothing.rows = encoded(store.identity(), "f1", Vec::new());
    assert_eq!(store.append(&nothing).await.unwrap().version, None, "no rows and no table");
    assert_eq!(store.append(&good).await.unwrap().version, Some(1));
    let mut nothing = append(store.identity(), "f2", 0, 5, 9);
    nothing.rows = encoded(store.identity(), "f2", Vec::new());
    assert_eq!(store.append(&nothing).await.unwrap().version, Some(2), "the offset moves");
}
