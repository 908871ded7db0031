//! The file that says which rows a deletion takes: coordinates and codes, nothing of what the rows hold.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, Int32Array, Int64Array, RecordBatch};
use serde::{Deserialize, Serialize};

use super::keys::Key;
use crate::columns::Columns;
use crate::disk;
use crate::durable::{self, FileError};
use crate::encode::stream::Streamed;
use crate::error::Fault;
use crate::names;
use crate::scan::{self, Rows};
use crate::verify::sha256_of;

/// Rows that are held before they are written.
const ROWS_OF_A_BATCH: usize = 8192;
const COLUMNS: [&str; 7] = ["table", "topic", "partition", "offset", "row", "reason", "rows"];

/// A file of coordinates, as the ledger names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatesFile {
    /// Its path, relative to the store's root.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A row, or a message of quarantine, that a deletion takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doomed<'a> {
    pub(crate) table: &'a str,
    pub(crate) key: Key<'a>,
    /// Of a message of quarantine: why it was there, and the rows that it was decoded into.
    pub(crate) quarantined: Option<(&'a str, i32)>,
}

/// Writes a file of coordinates. Nothing stays of it before [`Writer::finish`].
pub(crate) struct Writer {
    file: Streamed,
    waiting: Waiting,
}

/// Rows that are not written yet.
#[derive(Default)]
struct Waiting {
    tables: StringDictionaryBuilder<Int32Type>,
    topics: StringDictionaryBuilder<Int32Type>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    rows: Vec<i32>,
    reasons: StringDictionaryBuilder<Int32Type>,
    row_counts: Vec<Option<i32>>,
}

impl Waiting {
    fn add(&mut self, doomed: &Doomed<'_>) -> Result<(), Fault> {
        let many = |_| Fault::stop("a file of coordinates has too many words");
        self.tables.append(doomed.table).map_err(many)?;
        self.topics.append(doomed.key.topic).map_err(many)?;
        self.partitions.push(doomed.key.partition);
        self.offsets.push(doomed.key.offset);
        self.rows.push(doomed.key.row);
        match doomed.quarantined {
            Some((reason, rows)) => {
                self.reasons.append(reason).map_err(many)?;
                self.row_counts.push(Some(rows));
            }
            None => {
                self.reasons.append_null();
                self.row_counts.push(None);
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<RecordBatch, Fault> {
        let mut all = std::mem::take(self);
        let mut columns = Columns::default();
        columns
            .add("table", false, Arc::new(all.tables.finish()))
            .add("topic", false, Arc::new(all.topics.finish()))
            .add("partition", false, Arc::new(Int32Array::from(all.partitions)))
            .add("offset", false, Arc::new(Int64Array::from(all.offsets)))
            .add("row", false, Arc::new(Int32Array::from(all.rows)))
            .add("reason", true, Arc::new(all.reasons.finish()))
            .add("rows", true, Arc::new(Int32Array::from(all.row_counts)));
        columns.build()
    }
}

impl Writer {
    /// Begins the file of a store's deletion.
    pub(crate) fn create(root: &Path) -> Result<Self, Fault> {
        let folder = names::deletions(root);
        durable::ensure_folder(&folder)?;
        let columns = Waiting::default().take()?.schema();
        Ok(Self { file: Streamed::create(&folder, &columns)?, waiting: Waiting::default() })
    }

    pub(crate) fn add(&mut self, doomed: &Doomed<'_>) -> Result<(), Fault> {
        self.waiting.add(doomed)?;
        if self.waiting.offsets.len() >= ROWS_OF_A_BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if !self.waiting.offsets.is_empty() {
            self.file.write(&self.waiting.take()?)?;
        }
        Ok(())
    }

    /// Gives the file its name, synced.
    pub(crate) fn finish(mut self, root: &Path, id: &str) -> Result<CoordinatesFile, Fault> {
        self.flush()?;
        let path = names::deleted_coordinates(root, id);
        let facts = [("situs.deletion".to_owned(), id.to_owned())];
        let (rows, bytes, sha256) = self.file.finish_as(&path, &facts)?;
        Ok(CoordinatesFile { path: names::deleted_coordinates_in_root(id), rows, bytes, sha256 })
    }
}

impl CoordinatesFile {
    /// What is wrong with the file as it lies there; `None` if it is the one that was written.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn fault(&self, root: &Path) -> std::io::Result<Option<&'static str>> {
        let path = root.join(&self.path);
        if !crate::reader::is_inside(&self.path) {
            return Ok(Some("lies outside of the store"));
        }
        match sha256_of(&path) {
            Ok(found) if found == self.sha256 => Ok(None),
            Ok(_) => Ok(Some("its SHA-256 is not the one that was noted")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some("is missing")),
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with all that it names. It must be the file that was written.
    pub(crate) fn read(
        &self,
        root: &Path,
        mut each: impl FnMut(&Doomed<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let path = root.join(&self.path);
        match self.fault(root).map_err(FileError::new("read", &path))? {
            Some(fault) => Err(Fault::stop(format!("{}: {fault}", path.display()))),
            None => read(&path, &mut each),
        }
    }
}

fn read(path: &Path, each: &mut dyn FnMut(&Doomed<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
    let file = disk::open(path).map_err(FileError::new("open", path))?;
    for batch in scan::columns(file, &COLUMNS).map_err(|_| scan::unreadable(path))? {
        let batch = batch.map_err(|_| scan::unreadable(path))?;
        let rows = Rows::new(path, &batch);
        let (tables, topics, reasons) = (rows.texts("table")?, rows.texts("topic")?, rows.texts("reason")?);
        let (partitions, offsets) = (rows.ints("partition")?, rows.longs("offset")?);
        let (numbers, counts) = (rows.ints("row")?, rows.ints("rows")?);
        for at in 0..batch.num_rows() {
            let key = Key {
                topic: topics.value(at),
                partition: partitions[at],
                offset: offsets[at].unwrap_or_default(),
                row: numbers[at],
            };
            let quarantined = reasons.is_valid(at).then(|| (reasons.value(at), counts[at]));
            each(&Doomed { table: tables.value(at), key, quarantined })?;
        }
    }
    Ok(())
}
