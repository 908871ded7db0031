//! The right to write a batch to a root, as a value that only the check can make (RES-3).

use std::fmt;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};

use crate::batch::ResidentBatch;
use crate::columns::names;
use crate::words::ZoneId;

/// Whose a store is, as its marker file says (RES-8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreIdentity {
    /// The zone whose tables the store holds.
    pub zone: ZoneId,
    /// A random id given at `store init`.
    pub store_id: String,
}

impl fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.zone, self.store_id)
    }
}

/// A batch that may be written to one store: it was checked, row by row, against that store's zone.
#[derive(Debug, Clone)]
pub struct PermittedBatch {
    batch: ResidentBatch,
    store: StoreIdentity,
}

impl PermittedBatch {
    /// The batch.
    pub fn batch(&self) -> &ResidentBatch {
        &self.batch
    }

    /// The store that it may be written to.
    pub fn store(&self) -> &StoreIdentity {
        &self.store
    }
}

/// Why a write was refused. Names zones only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The batch is of another zone than the store.
    #[error("a batch of zone {batch} must not be written to a store of zone {store}")]
    OtherZone {
        /// The batch's zone.
        batch: ZoneId,
        /// The store's zone.
        store: ZoneId,
    },
    /// A row's `_zone` is not the batch's (RES-1).
    #[error("a batch of zone {batch} holds a row that is tagged for another zone or for none")]
    ForeignRow {
        /// The batch's zone.
        batch: ZoneId,
    },
    /// Its pseudonyms were made with keys that are no secret.
    #[error("a batch of zone {batch} was masked with the keys of a trial")]
    OnTrial {
        /// The batch's zone.
        batch: ZoneId,
    },
}

/// Checks that every row of `batch` is of the store's zone, and gives the right to write it there.
///
/// # Errors
/// [`Refused`] if the zones differ or a row's `_zone` says otherwise.
pub fn permit(batch: ResidentBatch, store: &StoreIdentity) -> Result<PermittedBatch, Refused> {
    if batch.zone() != &store.zone {
        return Err(Refused::OtherZone { batch: batch.zone().clone(), store: store.zone.clone() });
    }
    if !all_rows_of(batch.rows(), batch.zone()) {
        return Err(Refused::ForeignRow { batch: batch.zone().clone() });
    }
    if batch.on_trial() {
        return Err(Refused::OnTrial { batch: batch.zone().clone() });
    }
    Ok(PermittedBatch { batch, store: store.clone() })
}

/// RES-1: the `_zone` column of every row names `zone`.
pub fn all_rows_of(rows: &RecordBatch, zone: &ZoneId) -> bool {
    let Some(column) = rows.column_by_name(names::ZONE) else { return false };
    let Some(zones) = column.as_dictionary_opt::<Int32Type>() else { return false };
    let Some(values) = zones.values().as_string_opt::<i32>() else { return false };
    let is_zone: Vec<bool> = values.iter().map(|value| value == Some(zone.as_str())).collect();
    zones.null_count() == 0
        && zones
            .keys()
            .values()
            .iter()
            .all(|key| usize::try_from(*key).ok().and_then(|key| is_zone.get(key)).copied().unwrap_or(false))
}
