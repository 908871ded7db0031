//! A table's log as the committer needs it: the version, the columns, and how far each partition has
//! come. The list of files is not kept, so a commit costs the same however many files there are.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use deltalake::kernel::{Metadata, Snapshot, StructType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use situs_model::NextOffset;

use crate::durable::{self, FileError};
use crate::error::{Fault, delta};
use crate::names::{self, LogFile};
use crate::tables;

/// The reader and writer versions of the Delta protocol that every engine knows.
pub(crate) const READER_VERSION: i32 = 1;
/// See [`READER_VERSION`].
pub(crate) const WRITER_VERSION: i32 = 2;
/// Begins the application ids of partitions; other applications' ids are not kept.
const APP_ID: &str = "situs/";
/// Where a commit's entry names its flush.
pub(crate) const FLUSH: &str = "situs.flush";

/// How far a partition has come in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The offset to append next.
    pub(crate) next: NextOffset,
    /// The commit that said so; `None` where only a checkpoint remembers.
    pub(crate) commit: Option<CommitId>,
}

/// Which commit it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitId {
    /// Its version.
    pub(crate) version: u64,
    /// Its flush, if it was a flush.
    pub(crate) flush: Option<Arc<str>>,
}

/// A table at a version.
#[derive(Debug)]
pub(crate) struct TableState {
    pub(crate) version: u64,
    pub(crate) schema: Arc<StructType>,
    pub(crate) metadata: Metadata,
    pub(crate) progress: HashMap<String, Progress>,
}

/// What a look for newer commits found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The state is that of the newest version now.
    Fresh,
    /// The table changed in a way that only loading it tells.
    Stale,
}

/// Reads the newest state of a table; `None` if there is no such table.
pub(crate) async fn load(folder: &Path) -> Result<Option<TableState>, Fault> {
    if !tables::exists(folder)? {
        return Ok(None);
    }
    let log_store = tables::log_store(folder)?;
    let snapshot =
        Snapshot::try_new(log_store.as_ref(), None).await.map_err(delta("read the table's log"))?;
    let protocol = snapshot.protocol();
    if protocol.min_reader_version() > READER_VERSION || protocol.min_writer_version() > WRITER_VERSION {
        return Err(Fault::stop(format!(
            "{} needs reader version {} and writer version {}; Situs writes {READER_VERSION} and {WRITER_VERSION}",
            folder.display(),
            protocol.min_reader_version(),
            protocol.min_writer_version(),
        )));
    }
    let version = snapshot.version();
    let (schema, metadata) = (snapshot.schema(), snapshot.metadata().clone());
    let folder = folder.to_owned();
    let progress = tokio::task::spawn_blocking(move || {
        // What others wrote is built upon from here on, so it must not vanish in a power cut.
        // The log folder, the table's, and the root.
        for folder in names::log(&folder).ancestors().take(3) {
            durable::sync_folder(folder)?;
        }
        replay(&folder, version)
    })
    .await??;
    Ok(Some(TableState { version, schema, metadata, progress }))
}

impl TableState {
    /// Takes in what was committed since. Costs two look-ups of a file if nothing was.
    pub(crate) fn refresh(&mut self, folder: &Path) -> Result<Freshness, Fault> {
        let before = self.version;
        while let Some(bytes) = durable::read(&names::log_entry(folder, self.version + 1))? {
            let entry = Entry::parse(&bytes).map_err(|()| unreadable(folder, self.version + 1))?;
            if entry.changes_table {
                return Ok(Freshness::Stale);
            }
            self.version += 1;
            entry.apply(self.version, &mut self.progress);
        }
        if self.version > before {
            durable::sync_folder(&names::log(folder))?;
        } else if !names::log_entry(folder, self.version).exists() {
            // Log clean-up took the version that we stand on, and may have taken newer ones too. To
            // create our next version now could bury a commit in the past.
            return Ok(Freshness::Stale);
        }
        Ok(Freshness::Fresh)
    }
}

/// The offset of every partition at a version: from the newest checkpoint, then entry by entry. One
/// pass for all partitions, where delta-rs would take one for each.
pub(crate) fn replay(folder: &Path, version: u64) -> Result<HashMap<String, Progress>, Fault> {
    let mut progress = HashMap::new();
    let mut next = 0;
    if let Some((checkpoint, parts)) = newest_checkpoint(&durable::list(&names::log(folder))?, version) {
        for part in parts {
            read_checkpoint(&names::log(folder).join(part), &mut progress)?;
        }
        next = checkpoint + 1;
    }
    for version in next..=version {
        let bytes = durable::read(&names::log_entry(folder, version))?
            .ok_or_else(|| Fault::retry(format!("{}: entry {version} is missing", folder.display())))?;
        Entry::parse(&bytes).map_err(|()| unreadable(folder, version))?.apply(version, &mut progress);
    }
    Ok(progress)
}

/// What became of an entry of which it is not known whether it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there, and its name survives.
    Landed,
    /// Another entry is that version.
    Taken,
    /// No entry is that version.
    Absent,
}

/// Looks at one version of the log, and at no state that was made of it: neither what was committed on
/// top nor a checkpoint may hide an entry.
///
/// # Errors
/// If it cannot be found out. Then the entry may be there.
pub(crate) fn fate(folder: &Path, version: u64, bytes: &[u8]) -> Result<Fate, Fault> {
    let path = names::log_entry(folder, version);
    let look = || -> Result<Option<Fate>, Fault> {
        let Some(there) = durable::read(&path)? else { return Ok(None) };
        if there == bytes {
            durable::sync_folder(&names::log(folder))?;
            return Ok(Some(Fate::Landed));
        }
        Entry::parse(&there).map_err(|()| unreadable(folder, version))?;
        Ok(Some(Fate::Taken))
    };
    if let Some(fate) = look()? {
        return Ok(fate);
    }
    // That it is not found proves nothing if log clean-up may have taken it or the folder is gone.
    let newest = durable::list(&names::log(folder))?
        .iter()
        .filter_map(|name| match names::log_file(name)? {
            LogFile::Entry(version) | LogFile::Checkpoint(version) => Some(version),
        })
        .max();
    if newest.is_some_and(|newest| newest.checked_add(1) == Some(version)) {
        return Ok(Fate::Absent);
    }
    look()?.ok_or_else(|| {
        Fault::retry(format!("{}: whether entry {version} was there cannot be told", folder.display()))
    })
}

/// The newest complete checkpoint up to a version, and its files.
pub(crate) fn newest_checkpoint(names: &[String], version: u64) -> Option<(u64, Vec<&String>)> {
    let mut checkpoints: BTreeMap<u64, Vec<&String>> = BTreeMap::new();
    for name in names {
        if let Some(LogFile::Checkpoint(of)) = names::log_file(name)
            && of <= version
        {
            checkpoints.entry(of).or_default().push(name);
        }
    }
    checkpoints.into_iter().rev().find_map(|(version, files)| {
        if let Some(whole) = files.iter().find(|name| name.ends_with(".checkpoint.parquet")) {
            return Some((version, vec![*whole]));
        }
        // `<version>.checkpoint.<part>.<parts>.parquet`
        let parts: usize = files.first()?.split('.').nth(3)?.parse().ok()?;
        (files.len() == parts).then_some((version, files))
    })
}

/// Reads the transactions of a checkpoint and nothing else of it.
pub(crate) fn read_checkpoint(path: &Path, progress: &mut HashMap<String, Progress>) -> Result<(), Fault> {
    let bad = || Fault::retry(format!("{} cannot be read as a checkpoint", path.display()));
    let file = File::open(path).map_err(FileError::new("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|_| bad())?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), ["txn.appId", "txn.version"]);
    for batch in reader.with_projection(mask).build().map_err(|_| bad())? {
        let batch = batch.map_err(|_| bad())?;
        // A table without transactions may have no such column.
        let Some(txn) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else {
            continue;
        };
        let ids =
            txn.column_by_name("appId").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(bad)?;
        let versions = txn
            .column_by_name("version")
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .ok_or_else(bad)?;
        for row in 0..batch.num_rows() {
            if txn.is_valid(row) && ids.is_valid(row) && ids.value(row).starts_with(APP_ID) {
                let next = NextOffset(versions.value(row));
                progress.insert(ids.value(row).to_owned(), Progress { next, commit: None });
            }
        }
    }
    Ok(())
}

fn unreadable(folder: &Path, version: u64) -> Fault {
    Fault::retry(format!("{}: entry {version} of the log cannot be read", folder.display()))
}

/// What a committer needs of a log entry.
#[derive(Debug, Default)]
struct Entry {
    offsets: Vec<(String, NextOffset)>,
    flush: Option<Arc<str>>,
    changes_table: bool,
}

#[derive(Deserialize)]
struct Line {
    txn: Option<Txn>,
    #[serde(rename = "commitInfo")]
    commit_info: Option<Info>,
    #[serde(rename = "metaData")]
    metadata: Option<IgnoredAny>,
    protocol: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "situs.flush")]
    flush: Option<String>,
}

impl Entry {
    /// Fails if a line is no action. What was wrong is not told, since an entry holds values.
    fn parse(bytes: &[u8]) -> Result<Self, ()> {
        let mut entry = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|_| ())?;
            if let Some(Txn { app_id, version }) = line.txn
                && app_id.starts_with(APP_ID)
            {
                entry.offsets.push((app_id, NextOffset(version)));
            }
            if let Some(info) = line.commit_info {
                entry.flush = info.flush.map(Into::into);
            }
            entry.changes_table |= line.metadata.is_some() || line.protocol.is_some();
        }
        Ok(entry)
    }

    fn apply(self, version: u64, progress: &mut HashMap<String, Progress>) {
        for (app_id, next) in self.offsets {
            let commit = Some(CommitId { version, flush: self.flush.clone() });
            progress.insert(app_id, Progress { next, commit });
        }
    }
}

#[cfg(test)]
mod tests;
