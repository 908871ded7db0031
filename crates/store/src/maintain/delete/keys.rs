//! The coordinates of rows, and sets of them.

use std::collections::HashMap;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, Int32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use situs_model::columns::names::ROW;

use super::super::Shape;
use crate::disk;
use crate::durable::FileError;
use crate::error::Fault;
use crate::scan::{self, Rows};
use crate::verify::seen::{Layer, Seen};

/// The coordinates of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// 0 for a message of quarantine.
    pub(crate) row: i32,
}

impl Key<'_> {
    /// The message, `TOPIC/PARTITION/OFFSET`.
    pub(crate) fn record(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// The coordinates of the rows of a batch.
#[derive(Debug)]
pub(crate) struct Keys {
    topics: StringArray,
    partitions: Int32Array,
    offsets: Int64Array,
    /// `None` in quarantine, whose messages are whole.
    rows: Option<Int32Array>,
}

/// Names of the columns of coordinates.
pub(crate) fn columns(shape: &Shape) -> Vec<&'static str> {
    let mut names = vec![shape.topic, shape.partition, shape.layout.offset];
    names.extend(shape.zoned.then_some(ROW));
    names
}

/// Opens a data file to read its coordinates and some further columns.
pub(crate) fn open(path: &Path, shape: &Shape, further: &[&str]) -> Result<ParquetRecordBatchReader, Fault> {
    let file = disk::open(path).map_err(FileError::new("open", path))?;
    let names: Vec<&str> = columns(shape).into_iter().chain(further.iter().copied()).collect();
    scan::columns(file, &names).map_err(|_| scan::unreadable(path))
}

impl Keys {
    /// The coordinates of a batch of a file.
    pub(crate) fn of(path: &Path, batch: &RecordBatch, shape: &Shape) -> Result<Self, Fault> {
        let odd = |name: &str| {
            Fault::stop(format!(
                "{}: column `{name}` is missing, has a null or is of another type",
                path.display()
            ))
        };
        let topics = Rows::new(path, batch).texts(shape.topic)?;
        if topics.null_count() > 0 {
            return Err(odd(shape.topic));
        }
        let int = |name: &str| {
            let column = batch.column_by_name(name).filter(|column| column.null_count() == 0);
            column.and_then(|column| column.as_primitive_opt::<Int32Type>()).cloned().ok_or_else(|| odd(name))
        };
        let offsets = batch.column_by_name(shape.layout.offset).filter(|column| column.null_count() == 0);
        let offsets = offsets.and_then(|column| column.as_primitive_opt::<Int64Type>()).cloned();
        Ok(Self {
            topics,
            partitions: int(shape.partition)?,
            offsets: offsets.ok_or_else(|| odd(shape.layout.offset))?,
            rows: shape.zoned.then(|| int(ROW)).transpose()?,
        })
    }

    /// The coordinates of a row of the batch.
    pub(crate) fn at(&self, row: usize) -> Key<'_> {
        Key {
            topic: self.topics.value(row),
            partition: self.partitions.value(row),
            offset: self.offsets.value(row),
            row: self.rows.as_ref().map_or(0, |rows| rows.value(row)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }
}

/// A set of coordinates.
///
/// # Memory
/// As [`Seen`]: about a bit for each row where they are dense.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    lanes: HashMap<String, Vec<(i32, u32)>>,
    next: u32,
    seen: Seen,
    count: u64,
}

impl KeySet {
    fn lane(&self, topic: &str, partition: i32) -> Option<u32> {
        let lanes = self.lanes.get(topic)?;
        lanes.iter().find(|(known, _)| *known == partition).map(|(_, lane)| *lane)
    }

    /// Takes coordinates in; whether they were there before.
    pub(crate) fn insert(&mut self, key: &Key<'_>) -> bool {
        let lane = self.lane(key.topic, key.partition).unwrap_or_else(|| {
            let lane = self.next;
            self.next += 1;
            self.lanes.entry(key.topic.to_owned()).or_default().push((key.partition, lane));
            lane
        });
        let was = self.seen.insert(lane, Layer::Row(key.row), key.offset);
        self.count += u64::from(!was);
        was
    }

    pub(crate) fn contains(&mut self, key: &Key<'_>) -> bool {
        self.lane(key.topic, key.partition)
            .is_some_and(|lane| self.seen.contains(lane, Layer::Row(key.row), key.offset))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }
}
