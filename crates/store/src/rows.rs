//! The rows of a table at one version, batch by batch, as its files hold them.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, Date32Array, ListArray, RecordBatch, new_null_array};
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use situs_model::store::StoreError;
use situs_model::{Date, StoreIdentity, TableName};

use crate::durable::FileError;
use crate::error::Fault;
use crate::reader::{DataFile, StoreReader, TableSnapshot};
use crate::{disk, names, scan};

/// The rows of a table, in batches of some thousands that all have the columns that were asked for, in order.
///
/// Text is text, whether the file has a dictionary or not. A column that a file lacks is null in its rows.
/// The day by which the table is partitioned is a column like others.
#[derive(Debug)]
pub struct TableRows {
    identity: StoreIdentity,
    folder: PathBuf,
    files: std::vec::IntoIter<DataFile>,
    schema: SchemaRef,
    open: Option<Open>,
}

/// The file that is being read.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// The partition columns' values.
    days: Vec<(String, Option<i32>)>,
}

impl StoreReader {
    /// Reads these columns of a table as it was at a version. It reads files: use it where blocking is allowed.
    pub fn rows(&self, table: &TableName, snapshot: &TableSnapshot, columns: Vec<FieldRef>) -> TableRows {
        TableRows {
            identity: self.identity().clone(),
            folder: names::table(self.root(), table),
            files: snapshot.files.clone().into_iter(),
            schema: Arc::new(Schema::new(columns)),
            open: None,
        }
    }
}

impl TableRows {
    fn try_next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        loop {
            if let Some(open) = &mut self.open {
                match open.reader.next() {
                    Some(batch) => {
                        let batch = batch.map_err(|_| scan::unreadable(&open.path))?;
                        return aligned(open, &batch, &self.schema).map(Some);
                    }
                    None => self.open = None,
                }
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            let path = self.folder.join(&file.path);
            let opened = disk::open(&path).map_err(FileError::new("open", &path))?;
            let mut wanted: Vec<&str> =
                self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            // So that rows are counted even if the file has none of the columns.
            wanted.push(situs_model::columns::names::OFFSET);
            let reader = scan::columns(opened, &wanted).map_err(|_| scan::unreadable(&path))?;
            let day = |value: Option<String>| value.and_then(|text| Some(text.parse::<Date>().ok()?.days()));
            let days = file.partition_values.into_iter().map(|(name, value)| (name, day(value))).collect();
            self.open = Some(Open { path, reader, days });
        }
    }
}

impl Iterator for TableRows {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().map_err(|fault| fault.at(&self.identity)).transpose()
    }
}

fn aligned(open: &Open, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Fault> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let day = open.days.iter().find(|(name, _)| name == field.name());
        let column = match (day, batch.column_by_name(field.name())) {
            (Some((_, day)), _) => {
                Arc::new(std::iter::repeat_n(*day, rows).collect::<Date32Array>()) as ArrayRef
            }
            (None, Some(column)) => column.clone(),
            (None, None) => new_null_array(field.data_type(), rows),
        };
        let column = as_type(&column, field.data_type()).ok_or_else(|| {
            let (path, name) = (open.path.display(), field.name());
            Fault::stop(format!("{path}: column `{name}` is of another type than the table's"))
        })?;
        columns.push(column);
    }
    let unfit = |_| Fault::stop(format!("{}: its columns are not those of the table", open.path.display()));
    RecordBatch::try_new(schema.clone(), columns).map_err(unfit)
}

/// The column, if it is of the type but for what lists call their entries.
fn as_type(column: &ArrayRef, wanted: &DataType) -> Option<ArrayRef> {
    if column.data_type() == wanted {
        return Some(column.clone());
    }
    let (DataType::List(field), Some(list)) = (wanted, column.as_list_opt::<i32>()) else { return None };
    let values = as_type(list.values(), field.data_type())?;
    let list = ListArray::try_new(field.clone(), list.offsets().clone(), values, list.nulls().cloned());
    Some(Arc::new(list.ok()?))
}
