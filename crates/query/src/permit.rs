//! Which stores a session may read.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use situs_store::{RootError, identify};

use crate::error::QueryError;

/// Which zones' stores a session may read. The only way to name stores in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    roots: BTreeSet<PathBuf>,
}

impl Permit {
    /// A permit to read the stores at these roots. Whether they are stores is checked when a
    /// session is opened.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { roots: roots.into_iter().collect() }
    }

    /// The roots, in order.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(PathBuf::as_path)
    }
}

/// How many directories deep below a data directory a store is looked for.
const DEPTH: usize = 2;

/// Finds the stores directly below (or one level deeper in) a data directory, or the directory
/// itself if it is a store. Their order is that of their paths.
///
/// Symbolic links below the directory are not followed, since they may lead into another zone's
/// volume; a store's own directories are not searched.
///
/// # Errors
/// [`QueryError::Io`] if a directory cannot be listed, [`QueryError::NoStore`] if there is none.
pub fn find_stores(data: &Path) -> Result<Vec<PathBuf>, QueryError> {
    let mut found = Vec::new();
    search(data, DEPTH, &mut found)?;
    if found.is_empty() {
        return Err(QueryError::NoStore { path: data.to_owned() });
    }
    found.sort();
    Ok(found)
}

fn search(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), QueryError> {
    // A marker that cannot be understood is found too: opening it says what is wrong with it.
    if !matches!(identify(directory), Err(RootError::NoMarker { .. } | RootError::Io { .. })) {
        found.push(directory.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let failed = |source| QueryError::Io { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        // A volume has directories that are not ours, such as `lost+found`.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && depth < DEPTH => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            search(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
