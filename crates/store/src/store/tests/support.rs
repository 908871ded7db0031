//! Stores in temporary folders, and rows to fill them with.

use std::collections::BTreeSet;

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    Array as _, ArrayRef, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use situs_model::Masks;
use situs_model::columns::{identity_fields, number_list_type, tag_fields, time_fields};
use situs_model::mask::Outside;
use situs_model::store::{FlushFacts, RowEncoder, Share};
use situs_model::{
    DecodeNotes, DecodedBatch, Epoch, OffsetRange, PermittedBatch, RawBatch, TaggedBatch, Verdict, permit,
    split,
};

use super::super::*;
use crate::entry::file_facts;
use crate::reader::StoreReader;
use crate::root::init;

/// 2026-03-01T00:00:00Z.
pub(crate) const MARCH: i64 = 1_772_323_200_000_000;
pub(crate) const DAY: i64 = 86_400_000_000;

pub(crate) fn zone(name: &str) -> ZoneId {
    name.parse().unwrap()
}

pub(crate) fn source(partition: i32) -> Source {
    Source { cluster: "kafka".parse().unwrap(), topic: "cnc.state".into(), partition }
}

pub(crate) fn range(start: i64, end: i64) -> OffsetRange {
    OffsetRange::new(NextOffset(start), NextOffset(end))
}

pub(crate) fn facts(flush: &str) -> FlushFacts {
    FlushFacts {
        flush_id: flush.to_owned(),
        pipeline: "cnc-state".parse().unwrap(),
        policy: ContentVersion::of(b"policy"),
        schema: ContentVersion::of(b"schema"),
        definition: ContentVersion::of(b"definition"),
    }
}

pub(crate) fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

/// An initialised root of `CN` and its store.
pub(crate) async fn fresh() -> (tempfile::TempDir, DeltaStore) {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), &zone("CN")).unwrap();
    let store = open(&dir).await;
    (dir, store)
}

pub(crate) async fn open(dir: &tempfile::TempDir) -> DeltaStore {
    DeltaStore::open(dir.path(), &zone("CN"), metrics()).await.unwrap()
}

/// The event time of the rows of an offset: five minutes apart, so that a day holds 288 offsets.
pub(crate) fn time_of(offset: i64) -> i64 {
    MARCH + offset * 300_000_001
}

/// Rows of `offsets`, two per offset, as `decode` and `policy` would make them, with the schema's
/// columns `x` (null in row 1 of odd offsets), `n`, `word` and `samples`.
pub(crate) fn rows(partition: i32, offsets: std::ops::Range<i64>, zone: &str) -> RecordBatch {
    rows_of(partition, offsets, |_| zone)
}

/// The same with a zone for each offset.
pub(crate) fn rows_of<'a>(
    partition: i32,
    offsets: impl IntoIterator<Item = i64>,
    zone_of: impl Fn(i64) -> &'a str,
) -> RecordBatch {
    let each: Vec<(i64, i32)> = offsets.into_iter().flat_map(|offset| [(offset, 0), (offset, 1)]).collect();
    let word = |text: &str| -> ArrayRef {
        Arc::new(each.iter().map(|_| text).collect::<DictionaryArray<Int32Type>>())
    };
    let times = || -> ArrayRef {
        let times: TimestampMicrosecondArray =
            each.iter().map(|(offset, _)| Some(time_of(*offset))).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let x: Float64Array =
        each.iter().map(|(o, r)| (o % 2 == 0 || *r == 0).then_some(*o as f64 * 0.1 - 7.0)).collect();
    let mut samples =
        ListBuilder::new(Float64Builder::new()).with_field(Field::new("element", DataType::Float64, true));
    let mut markets =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    let mut models =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for (offset, _) in &each {
        samples.append_value([Some(*offset as f64), None]);
        markets.append_value([Some("EU")]);
        models.append_null();
    }
    let unit = [("unit".to_owned(), "MILLIMETER".to_owned())].into();
    let mut fields = vec![
        Field::new("x", DataType::Float64, true).with_metadata(unit),
        Field::new("n", DataType::Int64, false),
        Field::new("word", DataType::Utf8, true),
        Field::new("samples", number_list_type(), true),
    ];
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(x),
        Arc::new(each.iter().map(|(o, _)| Some(i64::MAX - o)).collect::<Int64Array>()),
        Arc::new(each.iter().map(|(o, _)| Some(format!("w{o}"))).collect::<arrow_array::StringArray>()),
        Arc::new(samples.finish()),
    ];
    fields.extend(identity_fields());
    arrays.extend([
        word("cnc.state"),
        Arc::new(each.iter().map(|_| Some(partition)).collect::<Int32Array>()) as ArrayRef,
        Arc::new(each.iter().map(|(o, _)| Some(*o)).collect::<Int64Array>()),
        Arc::new(each.iter().map(|(_, r)| Some(*r)).collect::<Int32Array>()),
        times(),
        times(),
    ]);
    fields.extend(time_fields(false));
    let days = |o: i64| i32::try_from(time_of(o).div_euclid(DAY)).unwrap();
    arrays.extend([
        times(),
        Arc::new(each.iter().map(|(o, _)| Some(days(*o))).collect::<Date32Array>()) as ArrayRef,
        word("x:null"),
    ]);
    fields.extend(tag_fields());
    // As receipts say.
    let policy = facts("f").policy.to_string();
    let zones: DictionaryArray<Int32Type> = each.iter().map(|(offset, _)| zone_of(*offset)).collect();
    arrays.extend([word("CN"), word("nanning-1"), word("CN"), Arc::new(zones), word("cn"), word(&policy)]);
    arrays.extend([word("general"), word("in-zone")]);
    // Each row has an entry of its own in the dictionary, which may be null.
    for lists in [models.finish(), markets.finish()] {
        let keys = Int32Array::from_iter_values(0..i32::try_from(lists.len()).unwrap());
        arrays.push(Arc::new(DictionaryArray::try_new(keys, Arc::new(lists)).unwrap()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Lets `split` and `permit` make a permitted batch of these rows.
pub(crate) fn permitted(partition: i32, rows: RecordBatch, store: &StoreIdentity) -> PermittedBatch {
    permitted_of(source(partition), rows, store)
}

/// The same of a partition of any cluster.
pub(crate) fn permitted_of(source: Source, rows: RecordBatch, store: &StoreIdentity) -> PermittedBatch {
    let offsets: Vec<i64> =
        rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values().to_vec();
    let mut raw = RawBatch::new(source, NextOffset(offsets[0]), 0);
    let mut message_of_row = Vec::new();
    for offset in &offsets {
        if raw.range().end.0 <= *offset {
            raw.push(*offset, None, None, Some(b"{}"), std::iter::empty());
        }
        message_of_row.push(u32::try_from(raw.len() - 1).unwrap());
    }
    let tagged = TaggedBatch {
        verdict_of_row: vec![0; rows.num_rows()],
        verdicts: vec![Verdict::Resident(store.zone.clone())],
        decoded: DecodedBatch {
            raw: Arc::new(raw),
            rows,
            message_of_row,
            rejects: Vec::new(),
            notes: DecodeNotes::default(),
        },
    };
    let masks = Masks::new(tagged.decoded.rows.schema(), Outside::new(), Arc::default());
    let mut split = split(tagged, &BTreeSet::from([store.zone.clone()]), &masks).unwrap();
    permit(split.resident.remove(0), store).unwrap()
}

/// Lets an encoder of a store with this identity take batches in.
pub(crate) fn encoded(store: &StoreIdentity, flush: &str, batches: Vec<PermittedBatch>) -> EncodedRows {
    let mut encoder: Box<dyn RowEncoder> = Box::new(Encoder::new(store.clone(), LAYOUT));
    batches.into_iter().for_each(|batch| encoder.write(batch).unwrap());
    encode::finish(store, vec![encoder], &file_facts(store, &facts(flush))).unwrap().into_rows()
}

/// An append of one partition's range, settled at its start.
pub(crate) fn append(store: &StoreIdentity, flush: &str, partition: i32, start: i64, end: i64) -> Append {
    append_settled(store, flush, partition, start, end, Some(start))
}

pub(crate) fn append_settled(
    store: &StoreIdentity,
    flush: &str,
    partition: i32,
    start: i64,
    end: i64,
    settled: Option<i64>,
) -> Append {
    let batch = permitted(partition, rows(partition, start..end, store.zone.as_str()), store);
    Append {
        table: "cnc_state".parse().unwrap(),
        shares: vec![Share {
            source: source(partition),
            range: range(start, end),
            settled: settled.map(NextOffset),
            epoch: Epoch::default(),
            topic_id: None,
        }],
        rows: encoded(store, flush, vec![batch]),
        facts: facts(flush),
    }
}

/// All rows of a table, file by file, as a Parquet reader sees them.
pub(crate) async fn read(root: &Path, table: &str) -> Vec<(crate::DataFile, RecordBatch)> {
    let reader = StoreReader::open(root).unwrap();
    let table: TableName = table.parse().unwrap();
    let snapshot = reader.snapshot(&table).await.unwrap();
    let mut found = Vec::new();
    for file in snapshot.files {
        let path = names::table(reader.root(), &table).join(&file.path);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), file.size);
        let opened = std::fs::File::open(&path).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().build().unwrap() {
            found.push((file.clone(), batch.unwrap()));
        }
    }
    found
}

/// (partition, offset, row) of all rows of the table, in order.
pub(crate) async fn keys(root: &Path) -> Vec<(i32, i64, i32)> {
    let mut keys = Vec::new();
    for (_, batch) in read(root, "cnc_state").await {
        let partitions = batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>().clone();
        let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().clone();
        let rows = batch.column_by_name("_row").unwrap().as_primitive::<Int32Type>().clone();
        keys.extend((0..batch.num_rows()).map(|i| (partitions.value(i), offsets.value(i), rows.value(i))));
    }
    keys.sort_unstable();
    keys
}

/// What [`keys`] should give for these offsets of a partition.
pub(crate) fn expected(partition: i32, offsets: std::ops::Range<i64>) -> Vec<(i32, i64, i32)> {
    offsets.flat_map(|offset| [(partition, offset, 0), (partition, offset, 1)]).collect()
}

/// The names of all files below a folder that end in `.parquet`, log folders left out.
pub(crate) fn parquet_files(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("_delta_log") {
            count += parquet_files(&path);
        } else if path.extension().is_some_and(|end| end == "parquet") {
            count += 1;
        }
    }
    count
}
