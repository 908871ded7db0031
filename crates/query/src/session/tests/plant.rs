//! Small stores, written the way a flush writes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{
    ArrayRef, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use situs_model::Masks;
use situs_model::columns::{dictionary_type, names, number_list_type, timestamp_type};
use situs_model::mask::Outside;
use situs_model::store::{Append, AppendQuarantine, FlushFacts, HomeStore as _, Share, ZoneStore as _};
use situs_model::{
    ContentVersion, DecodeNotes, DecodedBatch, Epoch, NextOffset, OffsetRange, QuarantineReason, Quarantined,
    RawBatch, Receipt, RejectCode, Source, TaggedBatch, Verdict, ZoneId, permit, split,
};
use situs_observe::Metrics;
use situs_store::DeltaStore;

/// A row of the tests' tables.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) device: &'static str,
    pub(super) load: Option<f64>,
    /// Days since the epoch.
    pub(super) day: i32,
}

pub(super) fn row(device: &'static str, load: f64, day: i32) -> Row {
    Row { device, load: Some(load), day }
}

/// 2026-01-01 as days since the epoch.
pub(super) const NEW_YEAR: i32 = 20_454;

/// A store that is written to.
pub(super) struct Plant {
    pub(super) root: PathBuf,
    zone: ZoneId,
    store: DeltaStore,
}

fn source() -> Source {
    Source { cluster: "kafka".parse().unwrap(), topic: "cnc.state".into(), partition: 0 }
}

fn facts(flush_id: &str) -> FlushFacts {
    FlushFacts {
        flush_id: flush_id.to_owned(),
        pipeline: "cnc-state".parse().unwrap(),
        policy: ContentVersion::of(b"policy"),
        schema: ContentVersion::of(b"schema"),
        definition: ContentVersion::of(b"definition"),
    }
}

fn share(start: i64, count: usize) -> Share {
    let range = OffsetRange::new(NextOffset(start), NextOffset(start + count as i64));
    Share { source: source(), range, settled: None, epoch: Epoch::default(), topic_id: None }
}

impl Plant {
    pub(super) async fn new(data: &Path, zone: &str) -> Self {
        let zone: ZoneId = zone.parse().unwrap();
        let root = data.join(zone.schema_name());
        situs_store::init(&root, &zone).unwrap();
        let store = DeltaStore::open(&root, &zone, Arc::new(Metrics::new().unwrap())).await.unwrap();
        Self { root, zone, store }
    }

    /// Appends one message per row, from offset `start` on.
    pub(super) async fn append(&self, table: &str, flush_id: &str, start: i64, rows: &[Row]) {
        self.append_columns(table, flush_id, start, columns(&self.zone, start, rows)).await;
    }

    /// Appends one message per row of these columns, which are those of [`columns`] and others.
    pub(super) async fn append_columns(&self, table: &str, flush_id: &str, start: i64, rows: RecordBatch) {
        let count = rows.num_rows();
        let mut raw = RawBatch::new(source(), NextOffset(start), 7);
        for index in 0..count {
            raw.push(start + index as i64, Some(5), None, Some(b"{}"), std::iter::empty());
        }
        let tagged = TaggedBatch {
            decoded: DecodedBatch {
                raw: Arc::new(raw),
                rows,
                message_of_row: (0..count as u32).collect(),
                rejects: Vec::new(),
                notes: DecodeNotes::default(),
            },
            verdicts: vec![Verdict::Resident(self.zone.clone())],
            verdict_of_row: vec![0; count],
        };
        let masks = Masks::new(tagged.decoded.rows.schema(), Outside::new(), Arc::default());
        let split = split(tagged, &BTreeSet::from([self.zone.clone()]), &masks).unwrap();
        let mut encoder = self.store.encoder();
        for batch in split.resident {
            encoder.write(permit(batch, self.store.identity()).unwrap()).unwrap();
        }
        let facts = facts(flush_id);
        let append = Append {
            table: table.parse().unwrap(),
            shares: vec![share(start, count)],
            rows: self.store.finish(vec![encoder], &facts).unwrap(),
            facts,
        };
        self.store.append(&append).await.unwrap();
    }

    /// Puts one message into quarantine.
    pub(super) async fn quarantine(&self, payload: &[u8]) {
        let message = Quarantined {
            source: source(),
            offset: 5,
            broker_time_ms: Some(5),
            received_us: 7,
            key: None,
            headers: vec![(b"h".to_vec(), None)],
            payload: Some(payload.to_vec()),
            reason: QuarantineReason::Rejected(RejectCode::InvalidJson),
            pointer: None,
            byte: Some(3),
            rows: 0,
        };
        let append =
            AppendQuarantine { shares: vec![share(5, 1)], messages: vec![message], facts: facts("flush-q") };
        self.store.quarantine(&append).await.unwrap();
    }

    /// Commits a receipt.
    pub(super) async fn settle(&self) {
        let facts = facts("flush-r");
        let receipt = Receipt {
            flush_id: facts.flush_id,
            source: source(),
            epoch: Epoch::default(),
            topic_id: None,
            range: share(0, 6).range,
            pipeline: facts.pipeline,
            policy: facts.policy,
            schema: facts.schema,
            definition: facts.definition,
            counts: situs_model::Counts::default(),
            stores: Vec::new(),
            quarantine: None,
            created_us: 1_767_225_600_000_000,
        };
        self.store.settle(&[receipt]).await.unwrap();
    }

    /// The data files of a table, in order.
    pub(super) fn files(&self, table: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for day in std::fs::read_dir(self.root.join(table)).unwrap().map(Result::unwrap) {
            if day.file_name().to_string_lossy().contains('=') {
                files.extend(std::fs::read_dir(day.path()).unwrap().map(|file| file.unwrap().path()));
            }
        }
        files.sort();
        files
    }
}

/// The columns of the tests' tables.
pub(super) fn columns(zone: &ZoneId, start: i64, rows: &[Row]) -> RecordBatch {
    let word = |value: &str| -> ArrayRef {
        Arc::new(rows.iter().map(|_| Some(value)).collect::<DictionaryArray<Int32Type>>())
    };
    let each = || rows.iter();
    let times: TimestampMicrosecondArray =
        each().map(|row| Some(i64::from(row.day) * 86_400_000_000)).collect();
    let samples =
        ListArray::from_iter_primitive::<Float64Type, _, _>(each().map(|row| Some(vec![row.load; 3])));
    let samples = arrow_cast::cast(&samples, &number_list_type()).unwrap();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("device", dictionary_type(), false),
            Arc::new(each().map(|row| Some(row.device)).collect::<DictionaryArray<Int32Type>>()),
        ),
        (
            Field::new("load", arrow_schema::DataType::Float64, true),
            Arc::new(each().map(|row| row.load).collect::<Float64Array>()),
        ),
        (Field::new("samples", number_list_type(), true), samples),
        (Field::new(names::TOPIC, dictionary_type(), false), word("cnc.state")),
        (
            Field::new(names::PARTITION, arrow_schema::DataType::Int32, false),
            Arc::new(Int32Array::from(vec![0; rows.len()])),
        ),
        (
            Field::new(names::OFFSET, arrow_schema::DataType::Int64, false),
            Arc::new((start..).take(rows.len()).collect::<Int64Array>()),
        ),
        (
            Field::new(names::ROW, arrow_schema::DataType::Int32, false),
            Arc::new(Int32Array::from(vec![0; rows.len()])),
        ),
        (Field::new(names::EVENT_TIME, timestamp_type(), false), Arc::new(times.with_timezone("UTC"))),
        (
            Field::new(names::EVENT_DATE, arrow_schema::DataType::Date32, false),
            Arc::new(each().map(|row| Some(row.day)).collect::<Date32Array>()),
        ),
        (Field::new(names::ZONE, dictionary_type(), true), word(zone.as_str())),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}
