//! What a session may read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use situs_model::{ReadGrant, TableName, ZoneId};
use situs_store::{RootError, identify};

use crate::error::QueryError;

/// What a session may read: which zones' stores, and for a reader which tables, rows and columns of them.
/// The only way to name stores in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    roots: BTreeSet<PathBuf>,
    /// `None` is the owner of the files, who may read everything.
    grants: Option<BTreeMap<(ZoneId, TableName), ReadGrant>>,
}

impl Permit {
    /// A permit to read the stores at these roots whole, as the owner of the files can. Whether they are
    /// stores is checked when a session is opened.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { roots: roots.into_iter().collect(), grants: None }
    }

    /// A permit for a reader: of the stores at these roots no more than these grants give. Two grants of
    /// one table are taken for one, the last.
    pub fn of_reader(
        roots: impl IntoIterator<Item = PathBuf>,
        grants: impl IntoIterator<Item = ReadGrant>,
    ) -> Self {
        let key = |grant: ReadGrant| ((grant.zone.clone(), grant.table.clone()), grant);
        Self { roots: roots.into_iter().collect(), grants: Some(grants.into_iter().map(key).collect()) }
    }

    /// Whether it is a reader's, and not the owner's.
    pub(crate) fn is_of_reader(&self) -> bool {
        self.grants.is_some()
    }

    /// How much of a table may be read; `None` if it does not exist for the session.
    pub(crate) fn part(&self, zone: &ZoneId, table: &TableName) -> Option<Part> {
        match &self.grants {
            None => Some(Part::Whole),
            Some(grants) => {
                grants.get(&(zone.clone(), table.clone())).cloned().map(Arc::new).map(Part::Granted)
            }
        }
    }

    /// The roots, in order.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(PathBuf::as_path)
    }
}

/// How much of a table a session may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The rows and columns of a grant.
    Granted(Arc<ReadGrant>),
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
