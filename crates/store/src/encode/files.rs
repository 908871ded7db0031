//! Files of encoded rows: their bytes in memory, cutting them, and writing them where they stay, synced,
//! before any commit names them.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, Date32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use situs_model::Class;
use situs_model::store::EncodedRows;
use situs_model::{FileFact, Source, StoreIdentity};

use super::{Encoded, Encoder};
use crate::error::Fault;
use crate::names;
use crate::stats::{date_text, delta_statistics};
use crate::work::{Keep, Layout};
use crate::{disk, durable};

/// The bytes of a file of one day, not written yet.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(super) day: i32,
    /// The day as `YYYY-MM-DD`.
    date: String,
    pub(super) bytes: bytes::Bytes,
    sha256: String,
    rows: u64,
    statistics: String,
    /// Whose rows they are, in order: an index into [`Encoded::sources`], and a number of rows.
    runs: Vec<(u32, usize)>,
    /// The highest class of the rows.
    class: Option<Class>,
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
    /// The highest class of the rows; `None` if they have none.
    pub(crate) class: Option<Class>,
}

impl Image {
    pub(super) fn new(
        day: i32,
        bytes: Vec<u8>,
        metadata: &ParquetMetaData,
        columns: &Schema,
        runs: Vec<(u32, usize)>,
        class: Option<Class>,
    ) -> Result<Self, Fault> {
        let date = date_text(day)
            .ok_or_else(|| Fault::stop("a column of days has a year that is not of four digits"))?;
        Ok(Self {
            day,
            date,
            sha256: situs_model::sha256_hex(&bytes),
            bytes: bytes.into(),
            rows: u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0),
            statistics: delta_statistics(metadata, columns),
            runs,
            class,
        })
    }
}

impl Encoded {
    /// In the form in which they leave this crate.
    pub(crate) fn into_rows(self) -> EncodedRows {
        let bytes = self.images.iter().map(|image| image.bytes.len() as u64).sum();
        EncodedRows::new(bytes, self)
    }

    /// The number of rows.
    pub(crate) fn row_count(&self) -> u64 {
        self.images.iter().map(|image| image.rows).sum()
    }

    /// The same with those rows only that are to be written. Where nothing is cut, which is always so
    /// but after a crash, that costs nothing; else the files are read and encoded anew.
    pub(crate) fn kept(
        &self,
        keep_of: impl Fn(&Source) -> Keep,
        layout: Layout,
        store: &StoreIdentity,
        facts: &[(String, String)],
    ) -> Result<Cow<'_, Self>, Fault> {
        let keeps: Vec<Keep> = self.sources.iter().map(|(source, ..)| keep_of(source)).collect();
        if keeps.iter().all(|keep| *keep == Keep::All) {
            return Ok(Cow::Borrowed(self));
        }
        let mut encoder = Encoder::new(store.clone(), layout);
        for image in &self.images {
            image.for_each_run(|source, rows| {
                let (source, ..) = &self.sources[source];
                let Some(rows) = cut(rows, keep_of(source), layout)? else { return Ok(()) };
                encoder.add(source, &with_day(&rows, layout.day, image.day, self.rows.as_deref())?)
            })?;
        }
        let mut whole = super::finish(store, vec![Box::new(encoder)], facts)?;
        // What was read back has plain text where the rows had dictionaries; a table knows no difference.
        whole.rows.clone_from(&self.rows);
        Ok(Cow::Owned(whole))
    }

    /// Writes all files. They, and the folders that name them, are synced when this returns.
    ///
    /// # Errors
    /// Nothing is left behind then, as far as the file system allows.
    pub(crate) fn write(
        &self,
        folder: &Path,
        partition_column: &str,
        flush_id: &str,
    ) -> Result<Vec<Written>, Fault> {
        let mut written = Vec::with_capacity(self.images.len());
        for image in &self.images {
            match image.write(folder, partition_column, flush_id) {
                Ok(file) => written.push(file),
                Err(fault) => {
                    discard(folder, &written);
                    return Err(fault);
                }
            }
        }
        Ok(written)
    }
}

impl Image {
    /// Reads the rows back, partition by partition as they were taken in.
    fn for_each_run(
        &self,
        mut each: impl FnMut(usize, &RecordBatch) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let unreadable = || Fault::stop("encoded rows cannot be read back");
        let reader = ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone())
            .and_then(|reader| reader.with_batch_size(1024).build())
            .map_err(|_| unreadable())?;
        let mut runs = self.runs.iter();
        let (mut source, mut left) = (0, 0);
        for batch in reader {
            let batch = batch.map_err(|_| unreadable())?;
            let mut at = 0;
            while at < batch.num_rows() {
                if left == 0 {
                    let (next, rows) = runs.next().ok_or_else(unreadable)?;
                    (source, left) = (*next as usize, *rows);
                    continue;
                }
                let count = left.min(batch.num_rows() - at);
                each(source, &batch.slice(at, count))?;
                at += count;
                left -= count;
            }
        }
        Ok(())
    }

    fn write(&self, folder: &Path, partition_column: &str, flush_id: &str) -> Result<Written, Fault> {
        let in_table = names::partition_folder(partition_column, &self.date);
        let of_day = folder.join(&in_table);
        durable::ensure_folder(&of_day)?;
        let temporary = durable::write_temporary(&of_day, &self.bytes)?;

        let name = link_free(&temporary, &of_day, flush_id)?;
        drop(temporary);
        let fact = FileFact {
            path: format!("{in_table}/{name}"),
            rows: self.rows,
            bytes: self.bytes.len() as u64,
            sha256: self.sha256.clone(),
        };
        let (date, statistics) = (self.date.clone(), self.statistics.clone());
        let written = Written { fact, date, statistics, class: self.class };
        // The table's folder too: whoever made the day's folder may not have lived to sync its name.
        if let Err(error) = durable::sync_folder(&of_day).and_then(|()| durable::sync_folder(folder)) {
            discard(folder, std::slice::from_ref(&written));
            return Err(error.into());
        }
        Ok(written)
    }
}

/// Gives a synced file the first name of a flush that is free; the name. Never over another file: it may
/// be part of a commit whose answer was lost.
pub(super) fn link_free(
    temporary: &durable::Temporary,
    folder: &Path,
    flush_id: &str,
) -> Result<String, durable::FileError> {
    let mut n = 0;
    loop {
        let name = names::data_file(flush_id, n);
        if temporary.link(&folder.join(&name))? {
            return Ok(name);
        }
        n += 1;
    }
}

/// Removes files that no commit names. Best effort: what stays behind is nobody's and goes with the
/// next vacuum.
pub(crate) fn discard(folder: &Path, files: &[Written]) {
    for file in files {
        let _ = disk::remove(&folder.join(&file.fact.path));
    }
}

/// The rows that are to be written; `None` if there are none.
fn cut(rows: &RecordBatch, keep: Keep, layout: Layout) -> Result<Option<RecordBatch>, Fault> {
    let kept = match keep {
        Keep::Nothing => return Ok(None),
        Keep::All => rows.clone(),
        Keep::From(from) => {
            let bug = || Fault::stop("rows could not be cut at an offset");
            let offsets = rows.column_by_name(layout.offset).ok_or_else(bug)?;
            let offsets = offsets.as_primitive_opt::<Int64Type>().ok_or_else(bug)?.values();
            let mask: BooleanArray = offsets.iter().map(|offset| Some(*offset >= from.0)).collect();
            filter_record_batch(rows, &mask).map_err(|_| bug())?
        }
    };
    Ok((kept.num_rows() > 0).then_some(kept))
}

/// The rows with the column of days, which files do not hold, and with what `before` says of the columns'
/// classes, which they do not hold either.
fn with_day(
    rows: &RecordBatch,
    column: &str,
    day: i32,
    before: Option<&Schema>,
) -> Result<RecordBatch, Fault> {
    let classed = |field: &Arc<Field>| {
        let known = before.and_then(|before| before.field_with_name(field.name()).ok());
        let metadata = known.map(|known| known.metadata().clone()).unwrap_or_default();
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    };
    let mut fields: Vec<_> = rows.schema_ref().fields().iter().map(classed).collect();
    let mut columns = rows.columns().to_vec();
    fields.push(Field::new(column, DataType::Date32, false).into());
    columns.push(Arc::new(Date32Array::from_value(day, rows.num_rows())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|_| Fault::stop("rows that were read back do not take their day"))
}

/// The hash of a file as it lies there, in the form of [`FileFact::sha256`].
#[cfg(test)]
pub(crate) fn hash_of(path: &Path) -> String {
    situs_model::sha256_hex(&std::fs::read(path).unwrap())
}
