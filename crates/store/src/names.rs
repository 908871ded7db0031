//! The names of everything that lies in a store. No other module formats a path of a store.

use std::path::{Path, PathBuf};

use situs_model::store::Text;
use situs_model::{ContentVersion, TableName};

/// The marker that says whose a root is (RES-8).
const MARKER: &str = "_situs_store.json";
/// Where texts are archived by version: folder and ending.
fn archive_of(kind: Text) -> (&'static str, &'static str) {
    match kind {
        Text::Policy => ("_situs_policies", "yaml"),
        Text::Pipeline => ("_situs_pipelines", "yaml"),
        Text::Schema => ("_situs_schemas", "json"),
        Text::Readers => ("_situs_readers", "yaml"),
    }
}

/// Where the public keys that check receipts are archived by id.
const KEYS: &str = "_situs_keys";
/// Where processes say that they write here.
const LEASES: &str = "_situs_leases";
/// Where deletions say which rows they take.
const DELETIONS: &str = "_situs_deletions";
/// Begins the name of every file that is still being written. Delta readers and vacuum skip names
/// with a leading `_`.
const TEMPORARY: &str = "_tmp_";
/// Delta's log folder.
const LOG: &str = "_delta_log";

/// The marker of a root.
pub(crate) fn marker(root: &Path) -> PathBuf {
    root.join(MARKER)
}

/// Where texts of a kind are archived.
pub(crate) fn archive(root: &Path, kind: Text) -> PathBuf {
    root.join(archive_of(kind).0)
}

/// An archived text.
pub(crate) fn archived(root: &Path, kind: Text, version: &ContentVersion) -> PathBuf {
    archive(root, kind).join(format!("{version}.{}", archive_of(kind).1))
}

/// Where public keys are archived.
pub(crate) fn keys(root: &Path) -> PathBuf {
    root.join(KEYS)
}

/// The archived public key of this id.
pub(crate) fn key(root: &Path, id: &str) -> PathBuf {
    keys(root).join(format!("{id}.pem"))
}

/// Where the leases lie.
pub(crate) fn leases(root: &Path) -> PathBuf {
    root.join(LEASES)
}

/// The lease of a process that writes; `process` is a UUID.
pub(crate) fn writer_lease(root: &Path, process: &str) -> PathBuf {
    leases(root).join(format!("{process}.json"))
}

/// The process whose lease a file in the folder of leases is; `None` for any other file.
pub(crate) fn lease_process(name: &str) -> Option<&str> {
    let process = name.strip_suffix(".json")?;
    uuid::Uuid::parse_str(process).is_ok().then_some(process)
}

/// The `n`-th lease of a maintainer.
pub(crate) fn maintainer_lease(root: &Path, n: u64) -> PathBuf {
    leases(root).join(format!("maintainer-{n:020}.json"))
}

/// Which maintainer's lease a file in the folder of leases is; `None` for any other file.
pub(crate) fn maintainer_number(name: &str) -> Option<u64> {
    name.strip_prefix("maintainer-")?.strip_suffix(".json")?.parse().ok()
}

/// Where deletions say which rows they take.
pub(crate) fn deletions(root: &Path) -> PathBuf {
    root.join(DELETIONS)
}

/// The coordinates of the rows that a deletion takes, relative to the root.
pub(crate) fn deleted_coordinates_in_root(id: &str) -> String {
    format!("{DELETIONS}/{id}.parquet")
}

/// The coordinates of the rows that a deletion takes.
pub(crate) fn deleted_coordinates(root: &Path, id: &str) -> PathBuf {
    root.join(deleted_coordinates_in_root(id))
}

/// The plan of a deletion that is under way.
pub(crate) fn deletion_plan(root: &Path, id: &str) -> PathBuf {
    deletions(root).join(format!("{id}.json"))
}

/// The deletion that a file in the folder of deletions belongs to, and whether it is a plan; `None` for any
/// other file.
pub(crate) fn deletion_of(name: &str) -> Option<(&str, bool)> {
    let plan = name.strip_suffix(".json").map(|id| (id, true));
    let (id, is_plan) = plan.or_else(|| name.strip_suffix(".parquet").map(|id| (id, false)))?;
    uuid::Uuid::parse_str(id).is_ok().then_some((id, is_plan))
}

/// A table's folder.
pub(crate) fn table(root: &Path, table: &TableName) -> PathBuf {
    root.join(table.as_str())
}

/// A table's log folder.
pub(crate) fn log(table: &Path) -> PathBuf {
    table.join(LOG)
}

/// The log entry of a version.
pub(crate) fn log_entry(table: &Path, version: u64) -> PathBuf {
    log(table).join(format!("{version:020}.json"))
}

/// The file that points at the newest checkpoint.
pub(crate) fn last_checkpoint(table: &Path) -> PathBuf {
    log(table).join("_last_checkpoint")
}

/// A fresh name for a file that is still being written, in the folder that it will stay in or one on
/// the same file system.
pub(crate) fn temporary(folder: &Path) -> PathBuf {
    folder.join(format!("{TEMPORARY}{}", uuid::Uuid::now_v7().simple()))
}

/// Whether a name is that of a file that is still being written.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

/// The folder of a partition, relative to the table; `date` is `YYYY-MM-DD`.
pub(crate) fn partition_folder(column: &str, date: &str) -> String {
    format!("{column}={date}")
}

/// The day of a partition's folder, if it is one of this column.
pub(crate) fn day_of_folder<'a>(column: &str, folder: &'a str) -> Option<&'a str> {
    folder.strip_prefix(column)?.strip_prefix('=')
}

/// The checkpoint of a version.
pub(crate) fn checkpoint(table: &Path, version: u64) -> PathBuf {
    log(table).join(format!("{version:020}.checkpoint.parquet"))
}

/// The name of the `n`-th file of a flush within its partition's folder.
pub(crate) fn data_file(flush_id: &str, n: usize) -> String {
    format!("{flush_id}-{n}.parquet")
}

/// What a name in a log folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFile {
    /// The entry of a version.
    Entry(u64),
    /// A whole checkpoint of a version, or a part of one.
    Checkpoint(u64),
}

/// Reads a name in a log folder; `None` for anything that is neither entry nor checkpoint.
pub(crate) fn log_file(name: &str) -> Option<LogFile> {
    let (digits, rest) = name.split_at_checked(20)?;
    let version = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    if rest == ".json" {
        Some(LogFile::Entry(version))
    } else if rest.starts_with(".checkpoint") && rest.ends_with(".parquet") {
        Some(LogFile::Checkpoint(version))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_log_folder() {
        assert_eq!(log_file("00000000000000000012.json"), Some(LogFile::Entry(12)));
        assert_eq!(log_file("00000000000000000012.checkpoint.parquet"), Some(LogFile::Checkpoint(12)));
        let part = "00000000000000000012.checkpoint.0000000001.0000000002.parquet";
        assert_eq!(log_file(part), Some(LogFile::Checkpoint(12)));
        for name in ["_last_checkpoint", "00000000000000000012.json#1", "12.json", "_tmp_x", "é"] {
            assert_eq!(log_file(name), None, "{name}");
        }
    }
}
