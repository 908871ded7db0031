//! Reading some columns of Parquet files: of whoever wrote them, and the rows of the tables that Situs keeps
//! itself.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_select::take::take;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use situs_model::Date;

use crate::disk;
use crate::durable::FileError;
use crate::error::Fault;
use crate::reader::DataFile;

/// Rows of a batch.
const BATCH: usize = 8192;

/// Reads the columns of these names, or all if none is named; a column that the file lacks is left out.
///
/// The types are those that the Parquet schema says, whatever an engine notes about its own: text is always
/// `Utf8`.
pub(crate) fn columns(file: File, names: &[&str]) -> Result<ParquetRecordBatchReader, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?.with_batch_size(BATCH);
    if names.is_empty() {
        return builder.build();
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    builder.with_projection(mask).build()
}

/// Rows that are read at a time. A message in quarantine may have 16 MiB, so few.
const ROWS: usize = 256;

/// Opens a data file to read these columns of it, as far as it has them.
pub(crate) fn open(path: &Path, columns: &[&str]) -> Result<ParquetRecordBatchReader, Fault> {
    let file = disk::open(path).map_err(FileError::new("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|_| unreadable(path))?;
    let fields = reader.parquet_schema().root_schema().get_fields();
    let wanted = fields.iter().enumerate().filter(|(_, field)| columns.contains(&field.name()));
    let mask = ProjectionMask::roots(reader.parquet_schema(), wanted.map(|(index, _)| index));
    reader.with_projection(mask).with_batch_size(ROWS).build().map_err(|_| unreadable(path))
}

/// Opens a data file to read these columns of it whole, lists with their elements, as far as it has them.
fn whole_columns(path: &Path, names: &[&str]) -> Result<ParquetRecordBatchReader, Fault> {
    let file = disk::open(path).map_err(FileError::new("open", path))?;
    // Lists of texts are lists of texts, whatever an engine notes about them.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|_| unreadable(path))?;
    let fields = builder.parquet_schema().root_schema().get_fields();
    let roots = fields.iter().enumerate().filter(|(_, field)| names.contains(&field.name()));
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.map(|(index, _)| index));
    builder.with_projection(mask).with_batch_size(BATCH).build().map_err(|_| unreadable(path))
}

/// A file that is surveyed.
pub(crate) struct Surveyed<'a> {
    pub(crate) file: &'a DataFile,
    /// Its day as the log has it.
    pub(crate) day: Option<&'a str>,
    /// Where it lies.
    pub(crate) path: &'a Path,
}

/// Reads some columns of all files of a table in `folder`, one batch after the other, of those days that `may`
/// be of interest. So no more than a batch is in memory, whatever the table holds.
///
/// # Errors
/// If a file cannot be read; what `each` says.
pub(crate) fn survey(
    folder: &Path,
    files: &[DataFile],
    columns: &[&str],
    may: impl Fn(Option<Date>) -> bool,
    mut each: impl FnMut(&Surveyed<'_>, &RecordBatch) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for file in files {
        let day = file.partition_values.first().and_then(|(_, day)| day.as_deref());
        if !may(day.and_then(|day| day.parse().ok())) {
            continue;
        }
        let path = folder.join(&file.path);
        let surveyed = Surveyed { file, day, path: &path };
        for batch in whole_columns(&path, columns)? {
            each(&surveyed, &batch.map_err(|_| unreadable(&path))?)?;
        }
    }
    Ok(())
}

/// A file that is no Parquet file. What was wrong is not told, since a file holds values.
pub(crate) fn unreadable(path: &Path) -> Fault {
    Fault::stop(format!("{} cannot be read as Parquet", path.display()))
}

/// The columns of a batch by name and type.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    path: &'a Path,
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(path: &'a Path, batch: &'a RecordBatch) -> Self {
        Self { path, batch }
    }

    fn missing(&self, name: &str) -> Fault {
        Fault::stop(format!("{}: column `{name}` is missing or of another type", self.path.display()))
    }

    pub(crate) fn column(&self, name: &str) -> Result<&'a ArrayRef, Fault> {
        self.batch.column_by_name(name).ok_or_else(|| self.missing(name))
    }

    /// Text, whether it is a dictionary or not.
    pub(crate) fn texts(&self, name: &str) -> Result<StringArray, Fault> {
        let column = self.column(name)?;
        let taken;
        let plain = match column.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => {
                taken = take(dictionary.values(), dictionary.keys(), None).map_err(|_| self.missing(name))?;
                &taken
            }
            None => column,
        };
        plain.as_string_opt::<i32>().cloned().ok_or_else(|| self.missing(name))
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<BinaryArray, Fault> {
        self.column(name)?.as_binary_opt::<i32>().cloned().ok_or_else(|| self.missing(name))
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Vec<i32>, Fault> {
        let column = self.column(name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| self.missing(name))?;
        Ok(column.values().to_vec())
    }

    pub(crate) fn longs(&self, name: &str) -> Result<Vec<Option<i64>>, Fault> {
        let column = self.column(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| self.missing(name))?;
        Ok(column.iter().collect())
    }

    pub(crate) fn times(&self, name: &str) -> Result<Vec<Option<i64>>, Fault> {
        let column = self.column(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        Ok(column.ok_or_else(|| self.missing(name))?.iter().collect())
    }
}

/// The value at `row`; `None` if it is null.
pub(crate) fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The value at `row`; `None` if it is null.
pub(crate) fn octets(column: &BinaryArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row))
}
