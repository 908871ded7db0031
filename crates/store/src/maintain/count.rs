//! What rows there are, by partition: what a compaction must leave as it was.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, RecordBatch, StringArray};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Shape;
use crate::disk;
use crate::durable::FileError;
use crate::error::Fault;

/// The rows of each topic and partition, with their smallest and greatest offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Census(BTreeMap<(String, i32), Rows>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    count: u64,
    low: i64,
    high: i64,
}

/// A column of text without nulls.
enum Texts<'a> {
    Plain(&'a StringArray),
    Words(&'a [i32], &'a StringArray),
}

impl Texts<'_> {
    fn value(&self, row: usize) -> &str {
        match self {
            Self::Plain(texts) => texts.value(row),
            Self::Words(keys, texts) => texts.value(keys[row] as usize),
        }
    }
}

impl Census {
    /// Counts the rows of a batch.
    pub(crate) fn add(&mut self, rows: &RecordBatch, shape: &Shape) -> Result<(), Fault> {
        let column = |name: &str| {
            let column = rows.column_by_name(name).filter(|column| column.null_count() == 0);
            column.ok_or_else(|| Fault::stop(format!("column `{name}` is missing or has a null")))
        };
        let odd = |name: &str| Fault::stop(format!("column `{name}` is of another type"));
        let topics = column(shape.topic)?;
        let partitions = column(shape.partition)?;
        let offsets = column(shape.layout.offset)?;
        let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(|| odd(shape.partition))?;
        let offsets = offsets.as_primitive_opt::<Int64Type>().ok_or_else(|| odd(shape.layout.offset))?;
        let topics = match topics.data_type() {
            DataType::Utf8 => Texts::Plain(topics.as_string()),
            DataType::Dictionary(..) => {
                let words = topics.as_dictionary_opt::<Int32Type>().ok_or_else(|| odd(shape.topic))?;
                let texts = words.values().as_string_opt().ok_or_else(|| odd(shape.topic))?;
                Texts::Words(words.keys().values(), texts)
            }
            _ => return Err(odd(shape.topic)),
        };
        // Neighbours are mostly of the same partition.
        let mut row = 0;
        while row < rows.num_rows() {
            let (topic, partition) = (topics.value(row), partitions.value(row));
            let mut run = Rows { count: 0, low: i64::MAX, high: i64::MIN };
            while row < rows.num_rows() && partitions.value(row) == partition && topics.value(row) == topic {
                let offset = offsets.value(row);
                run = Rows { count: run.count + 1, low: run.low.min(offset), high: run.high.max(offset) };
                row += 1;
            }
            self.merge((topic.to_owned(), partition), run);
        }
        Ok(())
    }

    fn merge(&mut self, key: (String, i32), run: Rows) {
        self.0
            .entry(key)
            .and_modify(|rows| {
                rows.count += run.count;
                rows.low = rows.low.min(run.low);
                rows.high = rows.high.max(run.high);
            })
            .or_insert(run);
    }

    /// Counts the rows of a file as it lies there.
    pub(crate) fn of_file(path: &Path, shape: &Shape) -> Result<Self, Fault> {
        let bad = |_| Fault::stop(format!("{} cannot be read back", path.display()));
        let file = disk::open(path).map_err(FileError::new("open", path))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(bad)?;
        let columns = [shape.topic, shape.partition, shape.layout.offset];
        let mask = ProjectionMask::columns(reader.parquet_schema(), columns);
        let mut census = Self::default();
        for batch in reader.with_projection(mask).build().map_err(bad)? {
            let batch = batch.map_err(|_| Fault::stop(format!("{} cannot be read back", path.display())))?;
            census.add(&batch, shape)?;
        }
        Ok(census)
    }

    /// All rows.
    pub(crate) fn rows(&self) -> u64 {
        self.0.values().map(|rows| rows.count).sum()
    }

    /// The first partition in which another census differs, with what both say.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let text = |rows: Option<&Rows>| match rows {
            Some(Rows { count, low, high }) => format!("{count} rows of offsets {low} to {high}"),
            None => "no rows".to_owned(),
        };
        self.0.keys().chain(other.0.keys()).find_map(|key| {
            let (here, there) = (self.0.get(key), other.0.get(key));
            (here != there).then(|| format!("{}/{}: {}, not {}", key.0, key.1, text(there), text(here)))
        })
    }
}
