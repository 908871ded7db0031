//! Where tables lie.

use std::io;
use std::path::Path;

use situs_model::TableName;

use crate::durable::{self, FileError};
use crate::{disk, names};

/// The tables of a root: the folders that have a Delta log. Folders reached through symlinks are not
/// the store's (RES-2).
pub(crate) fn list(root: &Path) -> Result<Vec<TableName>, FileError> {
    let mut tables = Vec::new();
    for name in durable::list(root)? {
        let Ok(table) = name.parse::<TableName>() else { continue };
        let folder = names::table(root, &table);
        let is_folder = match disk::look(&folder) {
            Ok(found) => found.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // Whoever revokes leases must not overlook a table.
            Err(error) => return Err(FileError::new("look at", &folder)(error)),
        };
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
