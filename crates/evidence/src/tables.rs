//! Which tables of a store are looked at, and why one could not be.

use situs_model::TableName;
use situs_model::store::StoreError;
use situs_store::RootError;

/// Why stores could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A root cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a table holds rows of a pipeline: its own, or those that came from another zone by a transfer.
pub(crate) fn holds_rows(table: &TableName) -> bool {
    !table.is_reserved() || table.is_received()
}

/// The table of the pipeline whose rows a table holds: of received rows that which they came from.
pub(crate) fn of_pipeline(table: &TableName) -> TableName {
    let source = table.as_str().strip_suffix("_received").filter(|_| table.is_received());
    source.and_then(|name| name.parse().ok()).unwrap_or_else(|| table.clone())
}
