//! From rows to Parquet files that lie where they stay, synced, before any commit names them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Date32Type;
use arrow_array::{Array as _, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::take::take_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest as _, Sha256};
use situs_model::FileFact;
use situs_model::columns::names as columns;

use crate::durable::{self, FileError};
use crate::error::Fault;
use crate::names;
use crate::stats::{date_text, delta_statistics};

/// Rows of a row group: what an engine reads at once.
const ROWS_OF_A_GROUP: usize = 1 << 20;
/// Bytes of a row group.
const BYTES_OF_A_GROUP: usize = 128 << 20;

/// What to write.
#[derive(Debug)]
pub(crate) struct Job {
    /// The table's folder.
    pub(crate) folder: PathBuf,
    /// The column of days by which files are divided.
    pub(crate) partition_column: &'static str,
    /// Begins the names of the files.
    pub(crate) flush_id: String,
    /// Facts for the files' own metadata.
    pub(crate) facts: Vec<(String, String)>,
    /// The rows; all batches have the same columns.
    pub(crate) batches: Vec<RecordBatch>,
}

/// A file that lies where it stays but is named by no commit yet.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Path, rows, size and hash.
    pub(crate) fact: FileFact,
    /// Its day, `YYYY-MM-DD`.
    pub(crate) date: String,
    /// Delta's statistics.
    pub(crate) statistics: String,
}

/// Writes one file per day. All files, and the folders that name them, are synced when this returns.
///
/// # Errors
/// Nothing is left behind then, as far as the file system allows.
pub(crate) fn encode(job: &Job) -> Result<Vec<Written>, Fault> {
    let mut by_day: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
    for batch in &job.batches {
        divide(batch, job.partition_column, &mut by_day)?;
    }
    let mut written = Vec::with_capacity(by_day.len());
    for (day, batches) in by_day {
        match encode_day(job, day, &batches) {
            Ok(file) => written.push(file),
            Err(fault) => {
                discard(&job.folder, &written);
                return Err(fault);
            }
        }
    }
    Ok(written)
}

/// Removes files that no commit names. Best effort: what stays behind is nobody's and goes with the
/// next vacuum.
pub(crate) fn discard(folder: &Path, files: &[Written]) {
    for file in files {
        let _ = std::fs::remove_file(folder.join(&file.fact.path));
    }
}

/// Adds the rows of a batch to those of their days, without the column of days itself.
fn divide(
    batch: &RecordBatch,
    column: &'static str,
    by_day: &mut BTreeMap<i32, Vec<RecordBatch>>,
) -> Result<(), Fault> {
    let bug = |what: &str| Fault::stop(format!("column `{column}` {what}"));
    let index = batch.schema().index_of(column).map_err(|_| bug("is missing"))?;
    let days = batch.column(index).as_primitive_opt::<Date32Type>().ok_or_else(|| bug("is no date"))?.clone();
    if days.null_count() > 0 {
        return Err(bug("has a null"));
    }
    let mut batch = batch.clone();
    batch.remove_column(index);
    let Some(first) = days.values().first() else { return Ok(()) };
    // By far the commonest case: all rows of a batch are of one day.
    if days.values().iter().all(|day| day == first) {
        by_day.entry(*first).or_default().push(batch);
        return Ok(());
    }
    let mut rows_of: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    for (row, day) in (0u32..).zip(days.values()) {
        rows_of.entry(*day).or_default().push(row);
    }
    for (day, rows) in rows_of {
        let rows = take_record_batch(&batch, &UInt32Array::from(rows))
            .map_err(|_| bug("could not divide the rows by day"))?;
        by_day.entry(day).or_default().push(rows);
    }
    Ok(())
}

fn encode_day(job: &Job, day: i32, batches: &[RecordBatch]) -> Result<Written, Fault> {
    let date = date_text(day).ok_or_else(|| {
        Fault::stop(format!("column `{}` has a year that is not of four digits", job.partition_column))
    })?;
    let Some(first) = batches.first() else { return Err(Fault::stop("a day has no rows")) };
    let schema = first.schema();
    let options = ArrowWriterOptions::new()
        .with_properties(properties(&schema, &job.facts)?)
        // Readers shall see text where there was a dictionary.
        .with_skip_arrow_metadata(true);
    let in_table = names::partition_folder(job.partition_column, &date);
    let folder = job.folder.join(&in_table);
    durable::ensure_folder(&folder)?;
    let (file, temporary) = durable::create_temporary(&folder)?;
    let failed = |error: ParquetError| parquet_fault(error, temporary.path());
    let mut hashed = Hashed { file, hash: Sha256::new(), bytes: 0 };
    let mut writer =
        ArrowWriter::try_new_with_options(&mut hashed, schema.clone(), options).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    let metadata = writer.close().map_err(failed)?;
    let statistics = delta_statistics(&metadata, &schema);
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let Hashed { file, hash, bytes } = hashed;
    file.sync_all().map_err(FileError::new("sync", temporary.path()))?;

    // Never over another file: it may be part of a commit whose answer was lost.
    let mut n = 0;
    let name = loop {
        let name = names::data_file(&job.flush_id, n);
        if temporary.link(&folder.join(&name))? {
            break name;
        }
        n += 1;
    };
    drop(temporary);
    let path = format!("{in_table}/{name}");
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let written = Written { fact: FileFact { path, rows, bytes, sha256 }, date, statistics };
    // The table's folder too: whoever made the day's folder may not have lived to sync its name.
    if let Err(error) = durable::sync_folder(&folder).and_then(|()| durable::sync_folder(&job.folder)) {
        discard(&job.folder, std::slice::from_ref(&written));
        return Err(error.into());
    }
    Ok(written)
}

/// How files are written. Dictionaries pay where values repeat, which is what a dictionary type and
/// lists of words say; elsewhere they cost time while writing and are given up anyway. Statistics per
/// page only where queries cut: time and offset.
fn properties(schema: &Schema, facts: &[(String, String)]) -> Result<WriterProperties, Fault> {
    let level = ZstdLevel::try_new(1).map_err(|_| Fault::stop("zstd has no level 1"))?;
    let facts = facts.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let mut properties = WriterProperties::builder()
        // In the form that other readers parse; some distrust statistics of writers they cannot parse.
        .set_created_by(concat!("situs version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROWS_OF_A_GROUP))
        .set_max_row_group_bytes(Some(BYTES_OF_A_GROUP))
        // Lists get the names that the Parquet format prescribes.
        .set_coerce_types(true)
        .set_key_value_metadata(Some(facts));
    for column in [columns::EVENT_TIME, columns::OFFSET] {
        properties =
            properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Page);
    }
    for field in schema.fields() {
        if let Some(path) = dictionary_path(field) {
            properties = properties.set_column_dictionary_enabled(path, true);
        }
    }
    Ok(properties.build())
}

/// The path of the leaf that is worth a dictionary.
fn dictionary_path(field: &Field) -> Option<ColumnPath> {
    let path = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    match field.data_type() {
        DataType::Dictionary(..) => Some(path(&[field.name()])),
        DataType::List(element) if *element.data_type() == DataType::Utf8 => {
            Some(path(&[field.name(), "list", "element"]))
        }
        _ => None,
    }
}

/// Parquet's errors may quote values, so only those of the file system are told in full.
fn parquet_fault(error: ParquetError, path: &Path) -> Fault {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => FileError::new("write", path)(*source).into(),
            Err(_) => Fault::retry(format!("cannot write {}", path.display())),
        },
        _ => Fault::stop(format!("cannot encode {} as Parquet", path.display())),
    }
}

/// A file that is hashed while it is written.
struct Hashed {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The hash of a file as it lies there, in the form of [`FileFact::sha256`].
#[cfg(test)]
pub(crate) fn hash_of(path: &Path) -> String {
    situs_model::sha256_hex(&std::fs::read(path).unwrap())
}
