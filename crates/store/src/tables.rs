//! Where tables lie and how delta-rs gets at them.

use std::path::Path;

use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_for};
use situs_model::TableName;
use url::Url;

use crate::durable::{self, FileError};
use crate::error::{Fault, delta};
use crate::names;

/// The tables of a root: the folders that have a Delta log. Folders reached through symlinks are not
/// the store's (RES-2).
pub(crate) fn list(root: &Path) -> Result<Vec<TableName>, FileError> {
    let mut tables = Vec::new();
    for name in durable::list(root)? {
        let Ok(table) = name.parse::<TableName>() else { continue };
        let folder = names::table(root, &table);
        let is_folder = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_folder && exists(&folder)? {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// Whether a table's folder has a log with something in it.
pub(crate) fn exists(folder: &Path) -> Result<bool, FileError> {
    Ok(durable::list(&names::log(folder))?.iter().any(|name| names::log_file(name).is_some()))
}

/// delta-rs's access to a table's folder.
pub(crate) fn log_store(folder: &Path) -> Result<LogStoreRef, Fault> {
    let url = Url::from_directory_path(folder)
        .map_err(|()| Fault::stop(format!("{} is not an absolute path", folder.display())))?;
    logstore_for(&url, StorageConfig::default()).map_err(delta("open the table's folder"))
}
