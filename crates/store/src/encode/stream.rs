//! Files that are written row group by row group, for rows that do not have to be held until the end.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;
use sha2::{Digest as _, Sha256};
use situs_model::columns::highest_class;
use situs_model::{Class, FileFact};

use super::files::{Written, link_free};
use super::{Form, Group};
use crate::disk;
use crate::durable::{self, FileError, Temporary};
use crate::error::Fault;
use crate::stats::delta_statistics;

/// Encoded bytes of a row group: what is in memory at once.
const BYTES_OF_A_GROUP: usize = 64 << 20;

/// A file of one day that is being written. It has no name that stays before [`Streamed::finish`]; dropping
/// it removes it.
///
/// # Memory
/// One row group as it is encoded: up to 64 MiB, and the buffers of its columns.
pub(crate) struct Streamed {
    form: Form,
    writer: SerializedFileWriter<Hashing>,
    open: Option<Group>,
    groups: usize,
    rows: u64,
    class: Option<Class>,
    temporary: Temporary,
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streamed").field("temporary", &self.temporary).finish_non_exhaustive()
    }
}

impl Streamed {
    /// Begins a file with these columns, without that of days, in a table's folder of a day.
    pub(crate) fn create(of_day: &Path, columns: &SchemaRef) -> Result<Self, Fault> {
        let form = Form::of(columns.clone(), columns.clone())?;
        durable::ensure_folder(of_day)?;
        let (file, temporary) = durable::open_temporary(of_day)?;
        let sink = Hashing { file, hash: Sha256::new(), bytes: 0 };
        let writer = SerializedFileWriter::new(sink, form.parquet.clone(), form.properties.clone())
            .map_err(|error| failed(&temporary, error))?;
        Ok(Self { form, writer, open: None, groups: 0, rows: 0, class: None, temporary })
    }

    /// Writes rows with the columns of the file, in their order.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), Fault> {
        let group = match &mut self.open {
            Some(group) => group,
            none => none.insert(Group::new(&self.form, self.groups)?),
        };
        group.write(&self.form, rows)?;
        self.rows += rows.num_rows() as u64;
        self.class = self.class.max(highest_class(rows));
        if group.is_full(BYTES_OF_A_GROUP) { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), Fault> {
        let Some(group) = self.open.take() else { return Ok(()) };
        let chunks = group.close()?;
        let write = |writer: &mut SerializedFileWriter<Hashing>| -> Result<(), ParquetError> {
            let mut row_group = writer.next_row_group()?;
            for chunk in chunks {
                chunk.append(&mut row_group)?;
            }
            row_group.close()?;
            Ok(())
        };
        write(&mut self.writer).map_err(|error| failed(&self.temporary, error))?;
        self.groups += 1;
        Ok(())
    }

    /// Ends the file, with these facts in its footer, and syncs it; its bytes and their hash.
    fn end(&mut self, facts: &[(String, String)]) -> Result<(ParquetMetaData, u64, String), Fault> {
        self.close_group()?;
        for fact in self.form.facts(facts, self.class) {
            self.writer.append_key_value_metadata(fact);
        }
        let metadata = self.writer.finish().map_err(|error| failed(&self.temporary, error))?;
        let sink = self.writer.inner_mut();
        disk::sync(&sink.file, self.temporary.path())
            .map_err(FileError::new("sync", self.temporary.path()))?;
        Ok((metadata, sink.bytes, format!("{:x}", sink.hash.finalize_reset())))
    }

    /// Ends a file of no table and gives it this name in its folder, never over another file. It and the
    /// folder are synced when this returns; its rows, its bytes and their SHA-256.
    pub(crate) fn finish_as(
        mut self,
        path: &Path,
        facts: &[(String, String)],
    ) -> Result<(u64, u64, String), Fault> {
        let (_, bytes, sha256) = self.end(facts)?;
        if !self.temporary.link(path)? {
            return Err(Fault::stop(format!("{} is there already", path.display())));
        }
        durable::sync_folder(path.parent().unwrap_or(path))?;
        Ok((self.rows, bytes, sha256))
    }

    /// Ends the file, with these facts in its footer, and gives it a name of `id` in the folder of its day.
    /// The file and the folders that name it are synced when this returns.
    pub(crate) fn finish(
        mut self,
        table: &Path,
        in_table: &str,
        date: &str,
        id: &str,
        facts: &[(String, String)],
    ) -> Result<Written, Fault> {
        let (metadata, bytes, sha256) = self.end(facts)?;
        let of_day = table.join(in_table);
        let name = link_free(&self.temporary, &of_day, id)?;
        let written = Written {
            fact: FileFact { path: format!("{in_table}/{name}"), rows: self.rows, bytes, sha256 },
            date: date.to_owned(),
            statistics: delta_statistics(&metadata, &self.form.columns),
            class: self.class,
        };
        if let Err(error) = durable::sync_folder(&of_day).and_then(|()| durable::sync_folder(table)) {
            super::files::discard(table, std::slice::from_ref(&written));
            return Err(error.into());
        }
        Ok(written)
    }
}

/// The world's errors are worth another try, and say where and with which code; parquet's own are not.
fn failed(temporary: &Temporary, error: ParquetError) -> Fault {
    if let ParquetError::External(source) = error
        && let Ok(source) = source.downcast::<io::Error>()
    {
        return FileError::new("write", temporary.path())(*source).into();
    }
    Fault::stop("encoded rows do not make a Parquet file")
}

/// A file, and the hash of what was written to it.
#[derive(Debug)]
struct Hashing {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buf)?;
        self.hash.update(&buf[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
