//! Finds one record in a store: the receipts that cover its offset, and the rows that have its coordinates.
//!
//! Nothing is taken on trust that can be read: a row is found by its own coordinates, not by what a receipt or a
//! commit says of where it should be. Row groups are left out only where their statistics rule the offset out.

mod receipt;

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use chrono::NaiveDate;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use situs_model::columns::names as columns;
use situs_model::store::{StoreError, Text};
use situs_model::{ContentVersion, Coordinates, TableName};

use crate::durable::{self, FileError};
use crate::error::Fault;
use crate::quarantine::read::{Content, QuarantineEntry, QuarantineFilter, messages};
use crate::reader::StoreReader;
use crate::scan::{self, Rows};
use crate::verify::sha256_of;
use crate::{disk, names};
pub use receipt::{Coverage, FoundReceipt, StoreOfReceipt};

/// Where a row lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, relative to the table's folder.
    pub file: String,
    /// The row's number in the file, from 0.
    pub position: u64,
}

/// Rows of one record in one file.
#[derive(Debug, Clone)]
pub struct FoundRows {
    /// The file, relative to the table's folder.
    pub file: String,
    /// The number of each row in the file, from 0.
    pub positions: Vec<u64>,
    /// The rows, with the columns of the file and the partition column.
    pub rows: RecordBatch,
}

/// The columns that hold the coordinates of a table's rows.
struct KeyColumns {
    topic: &'static str,
    partition: &'static str,
    offset: &'static str,
}

const OF_ROWS: KeyColumns =
    KeyColumns { topic: columns::TOPIC, partition: columns::PARTITION, offset: columns::OFFSET };
const OF_QUARANTINE: KeyColumns = KeyColumns { topic: "topic", partition: "partition", offset: "offset" };

impl StoreReader {
    /// The rows of a pipeline's table that have these coordinates. Reads the footer of every file, and of
    /// the row groups that may hold the record the coordinates. Takes CPU time and reads files.
    ///
    /// # Errors
    /// If the table's log or one of its files cannot be read. No table gives no rows.
    pub async fn find_rows(
        &self,
        table: &TableName,
        record: &Coordinates,
    ) -> Result<Vec<FoundRows>, StoreError> {
        let found = async {
            let mut found = Vec::new();
            for file in self.files_of(table).await? {
                let day = file.partition_values.iter().find(|(column, _)| column == columns::EVENT_DATE);
                let day = day.and_then(|(_, day)| day.as_deref()).and_then(day_of_text);
                if let Some(rows) = self.rows_in(table, &file.path, record, &OF_ROWS)? {
                    found.push(FoundRows { rows: with_day(rows.rows, day)?, ..rows });
                }
            }
            Ok::<_, Fault>(found)
        };
        found.await.map_err(|fault| fault.at(self.identity()))
    }

    /// The messages in quarantine that have these coordinates, with what they hold.
    ///
    /// # Errors
    /// As [`find_rows`](Self::find_rows).
    pub async fn find_quarantined(
        &self,
        record: &Coordinates,
    ) -> Result<Vec<(Place, QuarantineEntry, Content)>, StoreError> {
        let table = TableName::quarantine();
        let filter = QuarantineFilter { records: [record.clone()].into(), ..QuarantineFilter::default() };
        let found = async {
            let mut found = Vec::new();
            for file in self.files_of(&table).await? {
                let Some(rows) = self.rows_in(&table, &file.path, record, &OF_QUARANTINE)? else { continue };
                let path = names::table(self.root(), &table).join(&rows.file);
                let read = messages(&Rows::new(&path, &rows.rows), rows.rows.num_rows(), &filter, true)?;
                for (position, (entry, content)) in rows.positions.iter().zip(read) {
                    found.push((Place { file: rows.file.clone(), position: *position }, entry, content));
                }
            }
            Ok::<_, Fault>(found)
        };
        found.await.map_err(|fault| fault.at(self.identity()))
    }

    /// The SHA-256 of a table's file, in hexadecimal; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn sha256_of_file(&self, table: &TableName, file: &str) -> Result<Option<String>, StoreError> {
        let path = names::table(self.root(), table).join(file);
        match sha256_of(&path) {
            Ok(hash) => Ok(Some(hash)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::from(FileError::new("read", &path)(error)).at(self.identity())),
        }
    }

    /// The text that this store has archived under a version; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is not the text of that version.
    pub fn archived_text(&self, kind: Text, version: &ContentVersion) -> Result<Option<String>, StoreError> {
        let read = || {
            let path = names::archived(self.root(), kind, version);
            let Some(bytes) = durable::read(&path)? else { return Ok(None) };
            text_of_version(&path, bytes, version).map(Some)
        };
        read().map_err(|fault: Fault| fault.at(self.identity()))
    }

    /// The rows of a file that have these coordinates; `None` if there are none.
    fn rows_in(
        &self,
        table: &TableName,
        file: &str,
        record: &Coordinates,
        key: &KeyColumns,
    ) -> Result<Option<FoundRows>, Fault> {
        let path = names::table(self.root(), table).join(file);
        let unreadable = || scan::unreadable(&path);
        let open = || disk::open(&path).map_err(FileError::new("open", &path));
        let builder = ParquetRecordBatchReaderBuilder::try_new(open()?).map_err(|_| unreadable())?;
        let (groups, numbers) = groups_that_may_hold(&builder, key.offset, record.offset);
        if groups.is_empty() {
            return Ok(None);
        }
        let positions = positions(builder, &path, record, key, groups, numbers)?;
        if positions.is_empty() {
            return Ok(None);
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(open()?).map_err(|_| unreadable())?;
        let selection = selection(&positions);
        let reader = builder
            .with_row_selection(selection)
            .with_batch_size(positions.len())
            .build()
            .map_err(|_| unreadable())?;
        let schema = arrow_array::RecordBatchReader::schema(&reader);
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|_| unreadable())?;
        let rows = arrow_select::concat::concat_batches(&schema, &batches).map_err(|_| unreadable())?;
        if rows.num_rows() != positions.len() {
            return Err(unreadable());
        }
        Ok(Some(FoundRows { file: file.to_owned(), positions, rows }))
    }
}

/// The row groups whose statistics do not rule the offset out, and the numbers of the rows of each.
fn groups_that_may_hold(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    column: &str,
    offset: i64,
) -> (Vec<usize>, Vec<Range<u64>>) {
    let (mut groups, mut numbers, mut next) = (Vec::new(), Vec::new(), 0_u64);
    for (index, group) in builder.metadata().row_groups().iter().enumerate() {
        let end = next + u64::try_from(group.num_rows()).unwrap_or(0);
        if may_hold(group, column, offset) {
            groups.push(index);
            numbers.push(next..end);
        }
        next = end;
    }
    (groups, numbers)
}

fn may_hold(group: &RowGroupMetaData, column: &str, offset: i64) -> bool {
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column);
    let Some(Statistics::Int64(statistics)) = chunk.and_then(|chunk| chunk.statistics()) else { return true };
    match (statistics.min_opt(), statistics.max_opt()) {
        (Some(min), Some(max)) => (*min..=*max).contains(&offset),
        _ => true,
    }
}

/// The numbers of the rows in the file that have these coordinates.
fn positions(
    builder: ParquetRecordBatchReaderBuilder<File>,
    path: &Path,
    record: &Coordinates,
    key: &KeyColumns,
    groups: Vec<usize>,
    numbers: Vec<Range<u64>>,
) -> Result<Vec<u64>, Fault> {
    let fields = builder.parquet_schema().root_schema().get_fields();
    let wanted = [key.topic, key.partition, key.offset];
    let roots = fields.iter().enumerate().filter(|(_, field)| wanted.contains(&field.name()));
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.map(|(index, _)| index));
    let reader =
        builder.with_projection(mask).with_row_groups(groups).build().map_err(|_| scan::unreadable(path))?;
    let mut found = Vec::new();
    let mut numbers = numbers.into_iter().flatten();
    for batch in reader {
        let batch = batch.map_err(|_| scan::unreadable(path))?;
        let rows = Rows::new(path, &batch);
        let (topics, partitions, offsets) =
            (rows.texts(key.topic)?, rows.ints(key.partition)?, rows.longs(key.offset)?);
        // The rows come first, or a number would be lost at the end of each batch.
        for (row, number) in (0..batch.num_rows()).zip(numbers.by_ref()) {
            if offsets[row] == Some(record.offset)
                && partitions[row] == record.partition
                && scan::text(&topics, row) == Some(&*record.topic)
            {
                found.push(number);
            }
        }
    }
    Ok(found)
}

/// A day as it stands in a path, in days since the epoch.
pub(crate) fn day_of_text(text: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// An archived text, if it is that of its version.
pub(crate) fn text_of_version(
    path: &Path,
    bytes: Vec<u8>,
    version: &ContentVersion,
) -> Result<String, Fault> {
    if ContentVersion::of(&bytes) != *version {
        return Err(Fault::stop(format!("{} is not the text of that version", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| Fault::stop(format!("{} is not text", path.display())))
}

/// Exactly these rows, which ascend.
fn selection(positions: &[u64]) -> RowSelection {
    let mut selectors = Vec::with_capacity(2 * positions.len());
    let mut next = 0;
    for position in positions {
        let skipped = usize::try_from(position - next).unwrap_or(usize::MAX);
        if skipped > 0 {
            selectors.push(RowSelector::skip(skipped));
        }
        selectors.push(RowSelector::select(1));
        next = position + 1;
    }
    selectors.into()
}

/// The rows with the partition column, whose value stands in the path and not in the file.
pub(crate) fn with_day(rows: RecordBatch, day: Option<i32>) -> Result<RecordBatch, Fault> {
    if rows.column_by_name(columns::EVENT_DATE).is_some() {
        return Ok(rows);
    }
    let days: ArrayRef = Arc::new(Date32Array::from(vec![day; rows.num_rows()]));
    let fields = rows.schema_ref().fields().iter().cloned();
    let field = Arc::new(Field::new(columns::EVENT_DATE, DataType::Date32, true));
    let schema = Schema::new(fields.chain([field]).collect::<Vec<_>>());
    let all = rows.columns().iter().cloned().chain([days]).collect();
    RecordBatch::try_new(Arc::new(schema), all)
        .map_err(|_| Fault::stop("a column of days does not fit its rows"))
}
