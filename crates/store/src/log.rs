//! A table's log as the committer needs it: the version, the columns, and how far each partition has
//! come. The list of files is not kept, so a commit costs the same however many files there are.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};
use deltalake::kernel::{Metadata, Snapshot, StructType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use situs_model::store::Versions;
use situs_model::{Epoch, NextOffset, Source, TopicId};

use crate::chain::Head;
use crate::durable::{self, FileError};
use crate::error::{Fault, delta};
use crate::names::{self, LogFile};
use crate::{disk, tables};

/// The reader and writer versions of the Delta protocol that every engine knows.
pub(crate) const READER_VERSION: i32 = 1;
/// See [`READER_VERSION`].
pub(crate) const WRITER_VERSION: i32 = 2;
/// Begins the application ids of partitions; other applications' ids are not kept.
const APP_ID: &str = "situs/";
/// Begins the application ids under which the epochs of partitions stand; the rest is as in theirs.
const EPOCH_ID: &str = "situs-epoch/";
/// Where a commit's entry names its flush.
pub(crate) const FLUSH: &str = "situs.flush";
/// Where it names the topics that partitions' offsets are of, by application id.
pub(crate) const TOPIC_IDS: &str = "situs.topic-ids";
/// Where the commit of a re-tagging says all that the ledger will.
pub(crate) const RETAG: &str = "situs.retag";

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
    /// By which texts its rows were made, if it says so.
    pub(crate) versions: Option<Arc<Versions>>,
    /// The topics that the offsets are of, by application id, as far as it says so.
    pub(crate) topic_ids: Arc<HashMap<String, TopicId>>,
}

/// What a table's transactions say of partitions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Partitions {
    /// By application id.
    progress: HashMap<String, Progress>,
    /// By the part of the application id that follows the prefix.
    epochs: HashMap<String, Epoch>,
}

impl Partitions {
    /// How far a partition has come, by its application id.
    pub(crate) fn progress(&self, app_id: &str) -> Option<&Progress> {
        self.progress.get(app_id)
    }

    /// The newest owner of a partition that the table was told of.
    pub(crate) fn epoch(&self, source: &Source) -> Epoch {
        let id = source.epoch_id();
        id.strip_prefix(EPOCH_ID).and_then(|name| self.epochs.get(name)).copied().unwrap_or_default()
    }

    /// Partitions that have come somewhere.
    pub(crate) fn len(&self) -> usize {
        self.progress.len()
    }

    /// A partition of which the other says something else; which commit said so does not matter.
    pub(crate) fn difference(&self, other: &Self) -> Option<&str> {
        let next = |of: &Self, id: &String| of.progress.get(id).map(|progress| progress.next);
        let moved = self.progress.keys().find(|id| next(self, id) != next(other, id));
        let owned = || self.epochs.keys().find(|id| self.epochs.get(*id) != other.epochs.get(*id));
        moved.or_else(owned).map(String::as_str)
    }

    /// Takes a transaction in, which may be another application's.
    pub(crate) fn take(&mut self, app_id: &str, version: i64, commit: Option<&CommitId>) {
        if let Some(name) = app_id.strip_prefix(EPOCH_ID) {
            self.epochs.insert(name.to_owned(), Epoch(version));
        } else if app_id.starts_with(APP_ID) {
            let progress = Progress { next: NextOffset(version), commit: commit.cloned() };
            self.progress.insert(app_id.to_owned(), progress);
        }
    }
}

/// A table at a version.
#[derive(Debug)]
pub(crate) struct TableState {
    pub(crate) version: u64,
    pub(crate) schema: Arc<StructType>,
    pub(crate) metadata: Metadata,
    pub(crate) partitions: Partitions,
    /// The newest receipts, as far as they were needed, by application id. Only the receipts table has any.
    pub(crate) heads: HashMap<String, Head>,
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
    let log_store = disk::log_store(folder)?;
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
    let partitions = disk::blocking(move || {
        // What others wrote is built upon from here on, so it must not vanish in a power cut.
        // The log folder, the table's, and the root.
        for folder in names::log(&folder).ancestors().take(3) {
            durable::sync_folder(folder)?;
        }
        replay(&folder, version)
    })
    .await??;
    Ok(Some(TableState { version, schema, metadata, partitions, heads: HashMap::new() }))
}

impl TableState {
    /// The newest receipt of a partition, if it was needed before and is the newest still.
    pub(crate) fn head(&self, app_id: &str) -> Option<&Head> {
        let next = self.partitions.progress(app_id)?.next;
        self.heads.get(app_id).filter(|head| head.end == next)
    }

    /// Takes in what was committed since. Costs two look-ups of a file if nothing was.
    pub(crate) fn refresh(&mut self, folder: &Path) -> Result<Freshness, Fault> {
        let before = self.version;
        while let Some(bytes) = durable::read(&names::log_entry(folder, self.version + 1))? {
            let entry = Entry::parse(&bytes).map_err(|()| unreadable(folder, self.version + 1))?;
            if entry.changes_table {
                return Ok(Freshness::Stale);
            }
            self.version += 1;
            entry.apply(self.version, &mut self.partitions);
        }
        if self.version > before {
            durable::sync_folder(&names::log(folder))?;
        } else if disk::look(&names::log_entry(folder, self.version)).is_err() {
            // Log clean-up took the version that we stand on, and may have taken newer ones too. To
            // create our next version now could bury a commit in the past.
            return Ok(Freshness::Stale);
        }
        Ok(Freshness::Fresh)
    }
}

/// What is known of every partition at a version: from the newest checkpoint, then entry by entry. One
/// pass for all partitions, where delta-rs would take one for each.
pub(crate) fn replay(folder: &Path, version: u64) -> Result<Partitions, Fault> {
    let mut partitions = Partitions::default();
    let mut next = 0;
    if let Some((checkpoint, parts)) = newest_checkpoint(&durable::list(&names::log(folder))?, version) {
        for part in parts {
            read_checkpoint(&names::log(folder).join(part), &mut partitions)?;
        }
        next = checkpoint + 1;
    }
    for version in next..=version {
        let bytes = durable::read(&names::log_entry(folder, version))?
            .ok_or_else(|| Fault::retry(format!("{}: entry {version} is missing", folder.display())))?;
        Entry::parse(&bytes).map_err(|()| unreadable(folder, version))?.apply(version, &mut partitions);
    }
    Ok(partitions)
}

/// The commit that moved a partition to where it is at `version`, if its entry is still there.
pub(crate) fn commit_of(folder: &Path, version: u64, app_id: &str) -> Result<Option<CommitId>, Fault> {
    for version in (0..=version).rev() {
        let Some(bytes) = durable::read(&names::log_entry(folder, version))? else { return Ok(None) };
        let entry = Entry::parse(&bytes).map_err(|()| unreadable(folder, version))?;
        if entry.transactions.iter().any(|(id, _)| id == app_id) {
            return Ok(Some(entry.commit_id(version)));
        }
    }
    Ok(None)
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

/// The columns of these names of a checkpoint's actions, batch by batch.
pub(crate) fn checkpoint(
    path: &Path,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, Fault>>, Fault> {
    let file = disk::open(path).map_err(FileError::new("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|_| not_a_checkpoint(path))?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
    let batches = reader.with_projection(mask).build().map_err(|_| not_a_checkpoint(path))?;
    Ok(batches.map(|batch| batch.map_err(|_| not_a_checkpoint(path))))
}

/// A checkpoint that is none, or holds other types than checkpoints do.
pub(crate) fn not_a_checkpoint(path: &Path) -> Fault {
    Fault::retry(format!("{} cannot be read as a checkpoint", path.display()))
}

/// Reads the transactions of a checkpoint and nothing else of it.
pub(crate) fn read_checkpoint(path: &Path, partitions: &mut Partitions) -> Result<(), Fault> {
    let bad = || not_a_checkpoint(path);
    for batch in checkpoint(path, &["txn.appId", "txn.version"])? {
        let batch = batch?;
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
            if txn.is_valid(row) && ids.is_valid(row) {
                partitions.take(ids.value(row), versions.value(row), None);
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
    transactions: Vec<(String, i64)>,
    flush: Option<Arc<str>>,
    versions: Option<Arc<Versions>>,
    topic_ids: Arc<HashMap<String, TopicId>>,
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
    #[serde(rename = "situs.policy")]
    policy: Option<String>,
    #[serde(rename = "situs.schema")]
    schema: Option<String>,
    #[serde(rename = "situs.definition")]
    definition: Option<String>,
    #[serde(rename = "situs.topic-ids", default)]
    topic_ids: HashMap<String, String>,
}

impl Info {
    /// By which texts the rows were made; `None` if the commit is not of a flush.
    fn versions(&self) -> Result<Option<Versions>, ()> {
        let (Some(policy), Some(schema)) = (&self.policy, &self.schema) else { return Ok(None) };
        let version = |text: &String| text.parse().map_err(|_| ());
        let definition = self.definition.as_ref().map(version).transpose()?;
        Ok(Some(Versions { policy: version(policy)?, schema: version(schema)?, definition }))
    }

    /// The topics of partitions, by application id.
    fn topic_ids(&self) -> Result<HashMap<String, TopicId>, ()> {
        let id = |(app_id, text): (&String, &String)| Ok((app_id.clone(), text.parse().map_err(|_| ())?));
        self.topic_ids.iter().map(id).collect()
    }
}

impl Entry {
    /// Fails if a line is no action. What was wrong is not told, since an entry holds values.
    fn parse(bytes: &[u8]) -> Result<Self, ()> {
        let mut entry = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|_| ())?;
            if let Some(Txn { app_id, version }) = line.txn {
                entry.transactions.push((app_id, version));
            }
            if let Some(info) = line.commit_info {
                entry.versions = info.versions()?.map(Arc::new);
                entry.topic_ids = Arc::new(info.topic_ids()?);
                entry.flush = info.flush.map(Into::into);
            }
            entry.changes_table |= line.metadata.is_some() || line.protocol.is_some();
        }
        Ok(entry)
    }

    fn commit_id(&self, version: u64) -> CommitId {
        CommitId {
            version,
            flush: self.flush.clone(),
            versions: self.versions.clone(),
            topic_ids: self.topic_ids.clone(),
        }
    }

    fn apply(self, version: u64, partitions: &mut Partitions) {
        let commit = self.commit_id(version);
        for (app_id, at) in &self.transactions {
            partitions.take(app_id, *at, Some(&commit));
        }
    }
}

#[cfg(test)]
mod tests;
