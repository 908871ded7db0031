//! How many files a table consists of and how large they are, and how much room a store has: for gauges.

use std::path::Path;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use serde::Deserialize;
use situs_model::store::StoreError;

use crate::error::Fault;
use crate::log::{self, newest_checkpoint, not_a_checkpoint};
use crate::names::{self, LogFile};
use crate::{DeltaStore, disk, durable, root, tables};

/// The files of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) files: i64,
    pub(crate) bytes: i64,
}

impl Size {
    /// Of a table at its newest version; `None` if there is no such table.
    ///
    /// From the sizes in the newest checkpoint and the entries behind it. No list of files is made, so it takes
    /// no memory that grows with their number. A removal without a size, which other programs may write, takes
    /// its file and none of the bytes.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>, Fault> {
        let names = durable::list(&names::log(folder))?;
        let versions = names.iter().filter_map(|name| match names::log_file(name)? {
            LogFile::Entry(version) | LogFile::Checkpoint(version) => Some(version),
        });
        let Some(newest) = versions.max() else { return Ok(None) };
        let (mut size, mut next) = (Self::default(), 0);
        if let Some((checkpoint, parts)) = newest_checkpoint(&names, newest) {
            for part in parts {
                size.read_checkpoint(&names::log(folder).join(part))?;
            }
            next = checkpoint + 1;
        }
        for version in next..=newest {
            let entry = durable::read(&names::log_entry(folder, version))?;
            let applied = entry.and_then(|bytes| size.apply(&bytes));
            applied.ok_or_else(|| {
                Fault::retry(format!("{}: entry {version} of the log cannot be read", folder.display()))
            })?;
        }
        Ok(Some(size))
    }

    fn read_checkpoint(&mut self, path: &Path) -> Result<(), Fault> {
        let bad = || not_a_checkpoint(path);
        for batch in log::checkpoint(path, &["add.size"])? {
            let batch = batch?;
            let Some(add) = batch.column_by_name("add").and_then(|column| column.as_struct_opt()) else {
                continue;
            };
            let sizes = add.column_by_name("size").and_then(|sizes| sizes.as_primitive_opt::<Int64Type>());
            let sizes = sizes.ok_or_else(bad)?;
            let rows = (0..add.len()).filter(|row| add.is_valid(*row) && sizes.is_valid(*row));
            rows.for_each(|row| self.add(1, sizes.value(row)));
        }
        Ok(())
    }

    fn apply(&mut self, entry: &[u8]) -> Option<()> {
        for line in entry.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).ok()?;
            if let Some(add) = line.add {
                self.add(1, add.size.unwrap_or(0));
            }
            if let Some(remove) = line.remove {
                self.add(-1, -remove.size.unwrap_or(0));
            }
        }
        Some(())
    }

    fn add(&mut self, files: i64, bytes: i64) {
        self.files += files;
        self.bytes += bytes;
    }
}

#[derive(Deserialize)]
struct Line {
    add: Option<File>,
    remove: Option<File>,
}

#[derive(Deserialize)]
struct File {
    size: Option<i64>,
}

impl DeltaStore {
    /// Sets the gauges of the store's room.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn measure_space(&self) -> Result<(), StoreError> {
        let root = self.root.to_owned();
        let space = disk::blocking(move || disk::space(&root)).await;
        let space = space.and_then(|space| {
            space.map_err(|error| Fault::from(durable::FileError::new("look at", &self.root)(error)))
        });
        let (free, size) = space.map_err(|fault| fault.at(&self.identity))?;
        let labels = [self.identity.zone.as_str()];
        let clamped = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.store_free_bytes.with_label_values(&labels).set(clamped(free));
        self.metrics.store_size_bytes.with_label_values(&labels).set(clamped(size));
        Ok(())
    }

    /// Sets the gauges of the tables' files.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). The gauges of the tables before the one that could not be
    /// read are set.
    pub async fn measure_tables(&self) -> Result<(), StoreError> {
        self.measure().await.map_err(|fault| fault.at(&self.identity))
    }

    async fn measure(&self) -> Result<(), Fault> {
        let (path, identity) = (self.root.to_owned(), self.identity.clone());
        let names = disk::blocking(move || {
            root::expect_store(&path, &identity)?;
            Ok::<_, Fault>(tables::list(&path)?)
        })
        .await??;
        for table in names {
            let folder = names::table(&self.root, &table);
            let Some(Size { files, bytes }) = disk::blocking(move || Size::of(&folder)).await?? else {
                continue;
            };
            let labels = [self.identity.zone.as_str(), table.as_str()];
            self.metrics.table_files.with_label_values(&labels).set(files);
            self.metrics.table_bytes.with_label_values(&labels).set(bytes);
        }
        Ok(())
    }
}
