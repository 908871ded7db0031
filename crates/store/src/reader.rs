//! The read side: which files a table consists of, for `query`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use deltalake::kernel::Snapshot;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use futures::TryStreamExt as _;
use situs_model::store::StoreError;
use situs_model::{Class, StoreIdentity, TableName};

use crate::error::{Fault, delta};
use crate::history::History;
use crate::root::{self, RootError};
use crate::{disk, names, tables};

/// Reads a store. It has no write path.
#[derive(Debug)]
pub struct StoreReader {
    root: PathBuf,
    identity: StoreIdentity,
}

/// A table as it was at one version.
#[derive(Debug, Clone)]
pub struct TableSnapshot {
    /// The version.
    pub version: u64,
    /// The columns, partition columns included.
    pub schema: SchemaRef,
    /// The columns whose values stand in the paths and not in the files.
    pub partition_columns: Vec<String>,
    /// The files, in the order of their paths.
    pub files: Vec<DataFile>,
}

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path relative to the table's root.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Rows in it, if its statistics say so.
    pub rows: Option<u64>,
    /// The partition columns' values as text, in their order; `None` is null.
    pub partition_values: Vec<(String, Option<String>)>,
}

impl StoreReader {
    /// Opens a store for reading.
    ///
    /// # Errors
    /// If the root has no marker that can be understood.
    pub fn open(root: &Path) -> Result<Self, RootError> {
        let root = root::canonical(root)?;
        let identity = root::identify(&root)?;
        Ok(Self { root, identity })
    }

    /// Whose store it is.
    pub fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// The root, with symlinks resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The tables, in order: the folders that have a Delta log.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn tables(&self) -> Result<Vec<TableName>, RootError> {
        Ok(tables::list(&self.root)?)
    }

    /// The newest version of a table.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if there is no such table or a file of it
    /// lies outside of it.
    pub async fn snapshot(&self, table: &TableName) -> Result<TableSnapshot, StoreError> {
        self.read(table).await.map_err(|fault| fault.at(&self.identity))
    }

    pub(crate) fn has_table(&self, table: &TableName) -> Result<bool, Fault> {
        Ok(tables::exists(&names::table(&self.root, table))?)
    }

    /// The highest class of a table's rows, as the log tells of its files. A file of which it does not tell
    /// counts as the strictest; `None` if the table has no file, or is one of those that Situs keeps itself,
    /// whose rows have no class.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn class(&self, table: &TableName) -> Result<Option<Class>, StoreError> {
        if table.is_reserved() {
            return Ok(None);
        }
        let history =
            History::read(&names::table(&self.root, table)).map_err(|fault| fault.at(&self.identity))?;
        let classes = history.files.values().map(|file| file.class.unwrap_or(Class::Unclassified));
        Ok(classes.max())
    }

    pub(crate) async fn read(&self, table: &TableName) -> Result<TableSnapshot, Fault> {
        self.find(table).await?.ok_or_else(|| Fault::stop(format!("there is no table `{table}`")))
    }

    /// The files of a table; none if there is no such table.
    pub(crate) async fn files_of(&self, table: &TableName) -> Result<Vec<DataFile>, Fault> {
        Ok(self.find(table).await?.map(|snapshot| snapshot.files).unwrap_or_default())
    }

    async fn find(&self, table: &TableName) -> Result<Option<TableSnapshot>, Fault> {
        let folder = names::table(&self.root, table);
        if !tables::exists(&folder)? {
            return Ok(None);
        }
        let log_store = disk::log_store(&folder)?;
        let snapshot =
            Snapshot::try_new(log_store.as_ref(), None).await.map_err(delta("read the table's log"))?;
        let schema: Schema = snapshot
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|_| Fault::stop(format!("table `{table}` has a column that Arrow does not know")))?;
        let partition_columns = snapshot.metadata().partition_columns().to_vec();
        let views: Vec<_> = snapshot
            .file_views(log_store.as_ref(), None)
            .try_collect()
            .await
            .map_err(delta("list the table's files"))?;
        let mut files = Vec::with_capacity(views.len());
        for view in views {
            let path = view.path().into_owned();
            if !is_inside(&path) {
                return Err(Fault::stop(format!("table `{table}` names a file outside of its root")));
            }
            let mut values = view.partition_values_map();
            files.push(DataFile {
                path,
                size: u64::try_from(view.size()).unwrap_or(0),
                rows: view.num_records().map(|rows| rows as u64),
                partition_values: partition_columns
                    .iter()
                    .map(|column| (column.clone(), values.remove(column).flatten()))
                    .collect(),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let version = snapshot.version();
        Ok(Some(TableSnapshot { version, schema: Arc::new(schema), partition_columns, files }))
    }
}

/// RES-2, RES-6: a log may name files by absolute paths or URLs, or climb out with `..`; Situs never
/// writes such names and does not follow them.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.contains("://")
        && Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::is_inside;

    #[test]
    fn files_outside_of_the_table_are_not_followed() {
        assert!(is_inside("event_date=2026-01-02/x-0.parquet"));
        for path in ["/etc/passwd", "../eu/x.parquet", "a/../../x", "s3://bucket/x", "file:///x", "./x"] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
