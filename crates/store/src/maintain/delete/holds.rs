//! What must stay: holds, and how long rows are kept at least.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use situs_model::{Date, TableName};

use super::criterion::Criterion;
use crate::error::Fault;

/// Rows that nothing deletes until the hold is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: String,
    /// Which rows.
    pub criterion: Criterion,
    /// Who is said to have set it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, µs since the epoch.
    pub at_us: i64,
}

/// How long rows are kept at least, as of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The tables whose rows are kept; all if empty.
    pub tables: BTreeSet<TableName>,
    /// Only rows of this class.
    pub class: Option<String>,
    /// Rows of this day and later ones stay.
    pub keep_from: Date,
    /// What says so, for a person.
    pub rule: String,
}

impl Floor {
    pub(super) fn is_of(&self, table: &TableName) -> bool {
        (self.tables.is_empty() || self.tables.contains(table))
            // Messages of quarantine have no class, and no pipeline's rule is theirs.
            && !(*table == TableName::quarantine() && (self.class.is_some() || self.tables.is_empty()))
    }
}

/// Why a deletion is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A hold is on rows that it would take.
    Held {
        /// The hold.
        hold: Hold,
        /// How many rows.
        rows: u64,
    },
    /// Rows are younger than they are kept at least.
    TooYoung {
        /// What keeps them.
        floor: Floor,
        /// How many rows.
        rows: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { hold, rows } => {
                write!(f, "hold `{}` is on {rows} of these rows ({}): lift it first", hold.id, hold.criterion)
            }
            Self::TooYoung { floor, rows } => write!(
                f,
                "{rows} of these rows are of {} or later, and {} keeps them: `--despite-minimum REASON` deletes them and says so in the ledger",
                floor.keep_from, floor.rule
            ),
        }
    }
}

/// Which holds are on rows of a batch: each with a flag for every row. The one place where it is asked
/// what holds rows back; `means` says which rows a criterion means.
pub(super) fn held_by<'a>(
    holds: &[&'a Hold],
    means: impl Fn(&Criterion) -> Result<Option<Vec<bool>>, Fault>,
) -> Result<Vec<(&'a str, Vec<bool>)>, Fault> {
    let mut held = Vec::new();
    for hold in holds {
        held.extend(means(&hold.criterion)?.map(|rows| (hold.id.as_str(), rows)));
    }
    Ok(held)
}
