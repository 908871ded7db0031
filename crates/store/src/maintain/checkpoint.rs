//! Checkpoints: written beside, read back and compared with the log, and only then given their name.
//!
//! delta-rs's kernel replays the log in a stream, so what is in memory is the names of files and one batch
//! of actions (delta-rs#2628 held every file's statistics). It writes a checkpoint under its final name
//! before anybody has looked at it; here a checkpoint that forgot a file (delta-rs#3049), or was cut off by
//! a crash (delta-rs#2258), never gets that name.

use std::fs::File;
use std::path::Path;

use delta_kernel::Snapshot;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use url::Url;

use super::live::Live;
use crate::disk;
use crate::durable::{self, FileError};
use crate::error::Fault;
use crate::log::{self, Partitions};
use crate::names::{self, LogFile};

/// Rows of a row group: what the writer holds at once.
const ACTIONS_OF_A_GROUP: usize = 10_000;

/// A checkpoint that was written and found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// The table's version.
    pub version: u64,
    /// The files that it lists.
    pub files: u64,
    /// Their rows; `None` if a file does not say.
    pub rows: Option<u64>,
    /// The partitions whose offsets it keeps.
    pub partitions: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The newest version, if there were `every` commits since the last checkpoint.
pub(super) fn due(folder: &Path, every: u64) -> Result<Option<u64>, Fault> {
    let (mut newest, mut checkpointed) = (None, None);
    for name in durable::list(&names::log(folder))? {
        match names::log_file(&name) {
            Some(LogFile::Entry(version)) => newest = newest.max(Some(version)),
            Some(LogFile::Checkpoint(version)) => checkpointed = checkpointed.max(Some(version)),
            None => {}
        }
    }
    let since = |newest: u64| newest + 1 - checkpointed.map_or(0, |version: u64| version.min(newest) + 1);
    Ok(newest.filter(|newest| since(*newest) >= every.max(1)))
}

/// Writes the checkpoint of a version, where `day` is the column of days.
///
/// # Errors
/// Stops if the checkpoint does not say what the log says; nothing is left of it then.
pub(super) fn write(folder: &Path, day: &str, version: u64) -> Result<Checkpointed, Fault> {
    let log_folder = names::log(folder);
    // What the log says, before anything new is in it.
    let expected = Expected::of(folder, day, version)?;
    let (file, temporary) = durable::open_temporary(&log_folder)?;
    let actions = write_actions(folder, version, &file)?;
    disk::sync(&file, temporary.path()).map_err(FileError::new("sync", temporary.path()))?;
    let bytes = file.metadata().map_err(FileError::new("look at", temporary.path()))?.len();
    expected.check(temporary.path(), day)?;
    // That it is there already is no error: somebody was faster.
    temporary.link(&names::checkpoint(folder, version))?;
    drop(temporary);
    durable::sync_folder(&log_folder)?;
    let files = expected.live.files.len() as u64;
    let hint = json!({ "version": version, "size": actions, "sizeInBytes": bytes, "numOfAddFiles": files });
    durable::replace(&names::last_checkpoint(folder), hint.to_string().as_bytes())?;
    Ok(Checkpointed {
        version,
        files,
        rows: expected.live.rows(),
        partitions: expected.partitions.len() as u64,
        bytes,
    })
}

/// Lets delta-rs's kernel make the actions; how many there are.
fn write_actions(folder: &Path, version: u64, file: &File) -> Result<u64, Fault> {
    let failed = |_| Fault::retry(format!("{}: delta-rs cannot make a checkpoint", folder.display()));
    let unwritable = |_| Fault::retry(format!("{}: a checkpoint cannot be written", folder.display()));
    let url = Url::from_directory_path(folder)
        .map_err(|()| Fault::stop(format!("{} is not an absolute path", folder.display())))?;
    let engine = disk::log_store(folder)?.engine(None);
    let snapshot = Snapshot::builder_for(url).at_version(version).build(engine.as_ref()).map_err(failed)?;
    let writer = snapshot.create_checkpoint_writer(engine.as_ref()).map_err(failed)?;
    let mut parquet: Option<ArrowWriter<&File>> = None;
    let mut actions = 0;
    for batch in writer.checkpoint_data(engine.as_ref()).map_err(failed)? {
        let data = batch.and_then(|batch| batch.apply_selection_vector()).map_err(failed)?;
        let data = ArrowEngineData::try_from_engine_data(data).map_err(failed)?;
        let batch = data.record_batch();
        let parquet = match &mut parquet {
            Some(parquet) => parquet,
            none => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ACTIONS_OF_A_GROUP))
                    .build();
                none.insert(ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(unwritable)?)
            }
        };
        actions += batch.num_rows() as u64;
        parquet.write(batch).map_err(unwritable)?;
    }
    parquet
        .ok_or_else(|| Fault::retry(format!("{}: delta-rs made an empty checkpoint", folder.display())))?
        .close()
        .map_err(unwritable)?;
    Ok(actions)
}

/// What a checkpoint must say.
#[derive(Debug)]
pub(crate) struct Expected {
    folder: std::path::PathBuf,
    live: Live,
    partitions: Partitions,
}

impl Expected {
    /// What the log says at a version.
    pub(crate) fn of(folder: &Path, day: &str, version: u64) -> Result<Self, Fault> {
        let live = Live::load_at(folder, day, version)?
            .ok_or_else(|| Fault::retry(format!("{} has no log", folder.display())))?;
        let partitions = log::replay(folder, version)?;
        Ok(Self { folder: folder.to_owned(), live, partitions })
    }

    /// Compares a file with it: as many files and rows, the very same files, and every partition's offset.
    pub(crate) fn check(&self, checkpoint: &Path, day: &str) -> Result<(), Fault> {
        let version = self.live.version;
        let differs = |what: String| {
            Err(Fault::stop(format!(
                "{}: the checkpoint of version {version} would have {what}",
                self.folder.display()
            )))
        };
        let found = Live::of_checkpoint(checkpoint, version, day)?;
        let count = |live: &Live| (live.files.len(), live.rows());
        if count(&found) != count(&self.live) {
            let ((files, rows), (of_log, rows_of_log)) = (count(&found), count(&self.live));
            let text = |rows: Option<u64>| rows.map_or_else(|| "some".to_owned(), |rows| rows.to_string());
            return differs(format!(
                "{files} files with {} rows, but the log has {of_log} with {}",
                text(rows),
                text(rows_of_log)
            ));
        }
        if let Some(path) = self.live.files.keys().find(|path| !found.files.contains_key(*path)) {
            return differs(format!("no {path}"));
        }
        let mut partitions = Partitions::default();
        log::read_checkpoint(checkpoint, &mut partitions)?;
        if let Some(id) = self.partitions.difference(&partitions) {
            return differs(format!("another offset or epoch of {id} than the log"));
        }
        Ok(())
    }
}
