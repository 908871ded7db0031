//! The read side of quarantine.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use situs_model::store::StoreError;
use situs_model::{Coordinates, StoreIdentity, TableName};

use crate::error::Fault;
use crate::reader::StoreReader;
use crate::scan::{self, Rows, octets, text};
use crate::stats::date_text;
use crate::{columns, names};

/// The column of days, which a file does not hold itself.
const DAY: &str = "quarantine_date";

/// Columns that tell of a message without quoting it; the payload is read for its length.
const ABOUT: &[&str] = &[
    "topic",
    "partition",
    "offset",
    "broker_time",
    "ingest_time",
    "quarantined_at",
    "pipeline",
    "reason",
    "pointer",
    "byte_position",
    "rows",
    "payload",
    "policy",
    "schema",
    "flush_id",
];
/// What else a message consists of.
const CONTENT: &[&str] = &["key", "headers"];

/// Which messages of quarantine are meant. What is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineFilter {
    /// The pipeline that the message went through.
    pub pipeline: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Its partition.
    pub partition: Option<i32>,
    /// Why it is there.
    pub reason: Option<String>,
    /// Not before this time, µs since the epoch.
    pub since_us: Option<i64>,
    /// Only these; all if empty.
    pub records: BTreeSet<Coordinates>,
}

impl QuarantineFilter {
    /// Whether a message is meant.
    pub fn takes(&self, entry: &QuarantineEntry) -> bool {
        let same =
            |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        same(&self.pipeline, &entry.pipeline)
            && same(&self.topic, &entry.record.topic)
            && self.partition.is_none_or(|partition| partition == entry.record.partition)
            && same(&self.reason, &entry.reason)
            && self.since_us.is_none_or(|since| entry.quarantined_us >= since)
            && (self.records.is_empty() || self.records.contains(&entry.record))
    }

    /// Whether a file of this day may hold such messages.
    fn takes_day(&self, day: Option<&str>) -> bool {
        let since = self.since_us.and_then(|since| date_text(columns::day_of(since)));
        match (day, since) {
            // Days are written so that their order is that of their texts.
            (Some(day), Some(since)) => day >= since.as_str(),
            _ => true,
        }
    }
}

/// What is known of a message in quarantine, but for its content. The pointer may quote a name of the
/// payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Where it lies in Kafka.
    pub record: Coordinates,
    /// The broker's timestamp, µs since the epoch.
    pub broker_time_us: Option<i64>,
    /// When a process of Situs took it, µs since the epoch.
    pub ingest_time_us: i64,
    /// When it was quarantined, µs since the epoch.
    pub quarantined_us: i64,
    /// The pipeline that it went through.
    pub pipeline: String,
    /// Why it is there.
    pub reason: String,
    /// Pointer to the value at fault, where known.
    pub pointer: Option<String>,
    /// Byte position of the fault, where known.
    pub byte: Option<i64>,
    /// Rows that it was decoded into.
    pub rows: i32,
    /// Length of the payload; `None` is a tombstone.
    pub payload_bytes: Option<usize>,
    /// Version of the policy.
    pub policy: String,
    /// Version of the schema.
    pub schema: String,
    /// The flush that brought it.
    pub flush_id: String,
}

/// Name and value of a header, both as bytes.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// What a message consists of.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<Header>,
    /// Its payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
}

impl std::fmt::Debug for Content {
    /// Never the content itself (RES-5).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("bytes", &self.payload.as_ref().map(Vec::len)).finish_non_exhaustive()
    }
}

/// Goes through quarantine, the newest day first.
///
/// # Memory
/// A few hundred messages at a time.
pub struct QuarantineScan {
    identity: StoreIdentity,
    filter: QuarantineFilter,
    with_content: bool,
    files: VecDeque<PathBuf>,
    open: Option<(PathBuf, ParquetRecordBatchReader)>,
}

impl std::fmt::Debug for QuarantineScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuarantineScan").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl StoreReader {
    /// Looks through quarantine as it is now. Without `with_content` the contents stay empty.
    ///
    /// # Errors
    /// If the table's log cannot be read.
    pub async fn quarantine(
        &self,
        filter: QuarantineFilter,
        with_content: bool,
    ) -> Result<QuarantineScan, StoreError> {
        let table = TableName::quarantine();
        let folder = names::table(self.root(), &table);
        let mut files = self.files_of(&table).await.map_err(|fault| fault.at(self.identity()))?;
        let day = |file: &crate::DataFile| {
            file.partition_values.iter().find(|(column, _)| column == DAY).and_then(|(_, day)| day.clone())
        };
        files.retain(|file| filter.takes_day(day(file).as_deref()));
        files.sort_by_key(|file| std::cmp::Reverse((day(file), file.path.clone())));
        let files = files.into_iter().map(|file| folder.join(file.path)).collect();
        Ok(QuarantineScan { identity: self.identity().clone(), filter, with_content, files, open: None })
    }
}

impl QuarantineScan {
    /// The next messages; `None` after the last. Reads files, so it takes its time.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<Vec<(QuarantineEntry, Content)>>, StoreError> {
        self.step().map_err(|fault| fault.at(&self.identity))
    }

    fn step(&mut self) -> Result<Option<Vec<(QuarantineEntry, Content)>>, Fault> {
        loop {
            let (path, reader) = match &mut self.open {
                Some(open) => open,
                None => {
                    let Some(path) = self.files.pop_front() else { return Ok(None) };
                    let more = if self.with_content { CONTENT } else { &[] };
                    let reader = scan::open(&path, &[ABOUT, more].concat())?;
                    self.open.insert((path, reader))
                }
            };
            let Some(batch) = reader.next() else {
                self.open = None;
                continue;
            };
            let batch = batch.map_err(|_| scan::unreadable(path))?;
            let found =
                messages(&Rows::new(path, &batch), batch.num_rows(), &self.filter, self.with_content)?;
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
    }
}

pub(crate) fn messages(
    rows: &Rows<'_>,
    count: usize,
    filter: &QuarantineFilter,
    with_content: bool,
) -> Result<Vec<(QuarantineEntry, Content)>, Fault> {
    let (topics, partitions, offsets) =
        (rows.texts("topic")?, rows.ints("partition")?, rows.longs("offset")?);
    let broker_times = rows.times("broker_time")?;
    let (ingest_times, quarantined) = (rows.times("ingest_time")?, rows.times("quarantined_at")?);
    let (pipelines, reasons) = (rows.texts("pipeline")?, rows.texts("reason")?);
    let (pointers, bytes, row_counts) =
        (rows.texts("pointer")?, rows.longs("byte_position")?, rows.ints("rows")?);
    let payloads = rows.bytes("payload")?;
    let (policies, schemas, flushes) =
        (rows.texts("policy")?, rows.texts("schema")?, rows.texts("flush_id")?);
    let content = if with_content { Some((rows.bytes("key")?, rows.column("headers")?)) } else { None };
    let mut found = Vec::new();
    let mut topic: Arc<str> = "".into();
    for row in 0..count {
        if *topic != *topics.value(row) {
            topic = topics.value(row).into();
        }
        let record = Coordinates {
            topic: topic.clone(),
            partition: partitions[row],
            offset: offsets[row].unwrap_or(-1),
        };
        let entry = QuarantineEntry {
            record,
            broker_time_us: broker_times[row],
            ingest_time_us: ingest_times[row].unwrap_or_default(),
            quarantined_us: quarantined[row].unwrap_or_default(),
            pipeline: pipelines.value(row).to_owned(),
            reason: reasons.value(row).to_owned(),
            pointer: text(&pointers, row).map(str::to_owned),
            byte: bytes[row],
            rows: row_counts[row],
            payload_bytes: octets(&payloads, row).map(<[u8]>::len),
            policy: policies.value(row).to_owned(),
            schema: schemas.value(row).to_owned(),
            flush_id: flushes.value(row).to_owned(),
        };
        if !filter.takes(&entry) {
            continue;
        }
        let content = match &content {
            None => Content::default(),
            Some((keys, headers)) => Content {
                key: octets(keys, row).map(<[u8]>::to_vec),
                headers: headers_of(headers, row).ok_or_else(|| {
                    Fault::stop(format!("{}: the headers in quarantine are of another type", entry.record))
                })?,
                payload: octets(&payloads, row).map(<[u8]>::to_vec),
            },
        };
        found.push((entry, content));
    }
    Ok(found)
}

/// The headers of a message; `None` if the column is of another type.
fn headers_of(column: &arrow_array::ArrayRef, row: usize) -> Option<Vec<Header>> {
    let headers = column.as_list_opt::<i32>()?.value(row);
    let headers = headers.as_struct_opt()?;
    let keys = headers.column_by_name("key")?.as_binary_opt::<i32>()?;
    let values = headers.column_by_name("value")?.as_binary_opt::<i32>()?;
    let header = |at| (keys.value(at).to_vec(), octets(values, at).map(<[u8]>::to_vec));
    Some((0..headers.len()).map(header).collect())
}
