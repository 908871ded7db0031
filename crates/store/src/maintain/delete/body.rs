//! What the ledger says of a deletion.

use serde::{Deserialize, Serialize};

use super::coordinates::CoordinatesFile;
use super::criterion::Criterion;
use super::plan::Despite;

/// What the ledger says of a deletion: the body of its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionBody {
    /// Which rows were meant.
    pub criterion: Criterion,
    /// Why, as it was said.
    pub reason: String,
    /// When it was decided, µs since the epoch. Rows that came later are not its own.
    pub decided_us: i64,
    /// That rows were younger than they are kept at least, and why they went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub despite_minimum: Option<Despite>,
    /// The file that names every row.
    pub coordinates: CoordinatesFile,
    /// The tables.
    pub tables: Vec<TableDeleted>,
}

impl DeletionBody {
    /// Rows, and messages of quarantine, that went.
    pub fn deleted(&self) -> u64 {
        self.tables.iter().map(TableDeleted::deleted).sum()
    }
}

/// What a deletion did to a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDeleted {
    /// The table.
    pub table: String,
    /// The version on which it was decided.
    pub read_version: u64,
    /// The versions that removed the rows.
    pub versions: Vec<u64>,
    /// Whether entries of the log were gone when this was gathered, so that files may be missing here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_is_cut: bool,
    /// The partitions that lost rows.
    pub partitions: Vec<PartitionDeleted>,
    /// The files that held the rows.
    pub removed: Vec<GoneFile>,
    /// The files that hold what stayed of these.
    pub written: Vec<WrittenFile>,
    /// The version that was read afterwards.
    pub looked_version: u64,
    /// Files that were read.
    pub looked_files: u64,
    /// Rows whose coordinates were read.
    pub looked_rows: u64,
    /// Deleted rows that were found there: none.
    pub found: u64,
    /// Rows that are meant and came after it was decided: releases from quarantine.
    pub came_later: u64,
    /// Rows that were meant and not settled, so that they stayed.
    pub unsettled: u64,
    /// Rows that were meant and under a hold, so that they stayed.
    #[serde(default)]
    pub held: u64,
}

impl TableDeleted {
    /// Rows that went.
    pub fn deleted(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.deleted).sum()
    }
}

/// What a partition lost in a table. Only rows below the settled offset are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDeleted {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The settled offset when it was decided.
    pub settled: i64,
    /// Rows before.
    pub before: u64,
    /// Rows that went.
    pub deleted: u64,
    /// Rows afterwards, counted again.
    pub after: u64,
}

/// A file that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneFile {
    /// Its path, relative to the table.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A file that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Its path, relative to the table.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What the ledger says of the bytes of deleted rows, once they are gone: the body of its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytesGoneBody {
    /// Files of the tables' folders, part of the table or not, in which the rows were looked for.
    pub looked_files: u64,
    /// Files that still hold a deleted row: none.
    pub found: u64,
    /// Files that were removed when it was looked, relative to the root; others had gone before.
    pub removed: Vec<String>,
}
