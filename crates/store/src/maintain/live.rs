//! Which files a table consists of, and which it has removed, as the log says: from the newest
//! checkpoint, then entry by entry.
//!
//! delta-rs could tell too. But what a checkpoint is checked against must not come from the code that
//! wrote it, and a vacuum may need removals that checkpoints have forgotten.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::SystemTime;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array, StructArray};
use serde::Deserialize;

use crate::disk;
use crate::durable;
use crate::error::Fault;
use crate::log::{self, newest_checkpoint};
use crate::names::{self, LogFile};

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveFile {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its rows, if its statistics say so.
    pub(crate) rows: Option<u64>,
    /// The day of its rows, `YYYY-MM-DD`.
    pub(crate) day: Option<String>,
    /// When it was added, in milliseconds since the epoch.
    pub(crate) added_ms: i64,
}

/// The files of a table at a version.
///
/// # Memory
/// A few hundred bytes for each file and each removal that the log tells of; nothing is kept between uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) version: u64,
    /// By path, as the log writes it.
    pub(crate) files: BTreeMap<String, LiveFile>,
    /// When files were removed, by path, in milliseconds since the epoch.
    pub(crate) removed: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct Line {
    add: Option<AddLine>,
    remove: Option<RemoveLine>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddLine {
    path: String,
    #[serde(default)]
    partition_values: HashMap<String, Option<String>>,
    size: u64,
    modification_time: i64,
    stats: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemoveLine {
    path: String,
    deletion_timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(rename = "numRecords")]
    records: Option<u64>,
}

/// The rows of a file by its statistics.
fn rows_of(statistics: Option<&str>) -> Option<u64> {
    serde_json::from_str::<Statistics>(statistics?).ok()?.records
}

impl Live {
    /// The newest version, where `day` is the column of days; `None` if there is no such table.
    pub(crate) fn load(folder: &Path, day: &str) -> Result<Option<Self>, Fault> {
        Self::replay(folder, day, None)
    }

    /// Takes in removals that the checkpoint has forgotten, from entries that are not older than `since`.
    /// There may be very many entries, so this is for those who need it.
    pub(crate) fn remember(&mut self, folder: &Path, since: SystemTime) -> Result<(), Fault> {
        for name in durable::list(&names::log(folder))? {
            let Some(LogFile::Entry(version)) = names::log_file(&name) else { continue };
            let path = names::log_entry(folder, version);
            let modified = disk::look(&path).and_then(|found| found.modified());
            if version > self.version || modified.is_ok_and(|time| time < since) {
                continue;
            }
            let Some(bytes) = durable::read(&path)? else { continue };
            self.note_removals(&bytes).map_err(|()| unreadable(folder, version))?;
        }
        Ok(())
    }

    /// A version as the log says without a checkpoint of that very version.
    pub(crate) fn load_at(folder: &Path, day: &str, version: u64) -> Result<Option<Self>, Fault> {
        Self::replay(folder, day, Some(version))
    }

    fn replay(folder: &Path, day: &str, version: Option<u64>) -> Result<Option<Self>, Fault> {
        let names = durable::list(&names::log(folder))?;
        let newest = names
            .iter()
            .filter_map(|name| match names::log_file(name)? {
                LogFile::Entry(version) | LogFile::Checkpoint(version) => Some(version),
            })
            .max();
        let Some(newest) = version.or(newest) else { return Ok(None) };
        let (mut live, mut next) = (Self::default(), 0);
        // Of a version that is asked for, a checkpoint is not believed what it shall be compared with.
        let below = version.map_or(Some(newest), |version| version.checked_sub(1));
        if let Some((checkpoint, parts)) = below.and_then(|below| newest_checkpoint(&names, below)) {
            for part in parts {
                live.read_checkpoint(&names::log(folder).join(part), day)?;
            }
            (live.version, next) = (checkpoint, checkpoint + 1);
        }
        for version in next..=newest {
            let bytes = durable::read(&names::log_entry(folder, version))?
                .ok_or_else(|| Fault::retry(format!("{}: entry {version} is missing", folder.display())))?;
            live.apply(&bytes, day).map_err(|()| unreadable(folder, version))?;
            live.version = version;
        }
        Ok(Some(live))
    }

    /// What one checkpoint says.
    pub(crate) fn of_checkpoint(path: &Path, version: u64, day: &str) -> Result<Self, Fault> {
        let mut live = Self { version, ..Self::default() };
        live.read_checkpoint(path, day)?;
        Ok(live)
    }

    /// Takes in what was committed since.
    pub(crate) fn refresh(&mut self, folder: &Path, day: &str) -> Result<(), Fault> {
        while let Some(bytes) = durable::read(&names::log_entry(folder, self.version + 1))? {
            self.apply(&bytes, day).map_err(|()| unreadable(folder, self.version + 1))?;
            self.version += 1;
        }
        if disk::look(&names::log_entry(folder, self.version)).is_err() {
            // Log clean-up was here, so what is there may be newer than it looks.
            return Err(Fault::retry(format!("{}: the log was cleaned up meanwhile", folder.display())));
        }
        Ok(())
    }

    /// The rows of all files; `None` if a file does not say.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.files.values().map(|file| file.rows).sum()
    }

    fn apply(&mut self, entry: &[u8], day: &str) -> Result<(), ()> {
        // Within an entry removals and additions are of different files.
        for line in lines(entry) {
            let line: Line = serde_json::from_slice(line).map_err(|_| ())?;
            if let Some(RemoveLine { path, deletion_timestamp }) = line.remove {
                self.files.remove(&path);
                self.removed.insert(path, deletion_timestamp.unwrap_or(0));
            }
            if let Some(mut add) = line.add {
                let file = LiveFile {
                    size: add.size,
                    rows: rows_of(add.stats.as_deref()),
                    day: add.partition_values.remove(day).flatten(),
                    added_ms: add.modification_time,
                };
                self.removed.remove(&add.path);
                self.files.insert(add.path, file);
            }
        }
        Ok(())
    }

    fn note_removals(&mut self, entry: &[u8]) -> Result<(), ()> {
        for line in lines(entry) {
            let line: Line = serde_json::from_slice(line).map_err(|_| ())?;
            if let Some(RemoveLine { path, deletion_timestamp }) = line.remove
                && !self.files.contains_key(&path)
            {
                self.removed.entry(path).or_insert(deletion_timestamp.unwrap_or(0));
            }
        }
        Ok(())
    }

    fn read_checkpoint(&mut self, path: &Path, day: &str) -> Result<(), Fault> {
        let bad = || log::not_a_checkpoint(path);
        let columns = [
            "add.path",
            "add.size",
            "add.modificationTime",
            "add.stats",
            "add.partitionValues",
            "remove.path",
            "remove.deletionTimestamp",
        ];
        for batch in log::checkpoint(path, &columns)? {
            let batch = batch?;
            let group = |name: &str| batch.column_by_name(name).and_then(|column| column.as_struct_opt());
            if let Some(adds) = group("add") {
                self.take_adds(adds, day).ok_or_else(bad)?;
            }
            if let Some(removes) = group("remove") {
                self.take_removes(removes).ok_or_else(bad)?;
            }
        }
        Ok(())
    }

    fn take_adds(&mut self, adds: &StructArray, day: &str) -> Option<()> {
        let paths = adds.column_by_name("path")?.as_string_opt::<i32>()?;
        let sizes = adds.column_by_name("size")?.as_primitive_opt::<Int64Type>()?;
        let times = adds.column_by_name("modificationTime")?.as_primitive_opt::<Int64Type>()?;
        let statistics = adds.column_by_name("stats").and_then(|column| column.as_string_opt::<i32>());
        let values = adds.column_by_name("partitionValues")?.as_map_opt()?;
        let keys = values.keys().as_string_opt::<i32>()?;
        let texts = values.values().as_string_opt::<i32>()?;
        for row in (0..adds.len()).filter(|row| adds.is_valid(*row) && paths.is_valid(*row)) {
            let offsets = values.value_offsets();
            let mut entries = offsets[row] as usize..offsets[row + 1] as usize;
            let of_day = entries.find(|entry| keys.value(*entry) == day);
            let file = LiveFile {
                size: u64::try_from(sizes.value(row)).ok()?,
                rows: statistics.and_then(|s| rows_of(s.is_valid(row).then(|| s.value(row)))),
                day: of_day.and_then(|at| texts.is_valid(at).then(|| texts.value(at).to_owned())),
                added_ms: times.value(row),
            };
            self.files.insert(paths.value(row).to_owned(), file);
        }
        Some(())
    }

    fn take_removes(&mut self, removes: &StructArray) -> Option<()> {
        let paths = removes.column_by_name("path")?.as_string_opt::<i32>()?;
        let times = removes.column_by_name("deletionTimestamp")?.as_primitive_opt::<Int64Type>()?;
        for row in (0..removes.len()).filter(|row| removes.is_valid(*row) && paths.is_valid(*row)) {
            let time = if times.is_valid(row) { times.value(row) } else { 0 };
            self.removed.insert(paths.value(row).to_owned(), time);
        }
        Some(())
    }
}

fn lines(entry: &[u8]) -> impl Iterator<Item = &[u8]> {
    entry.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

fn unreadable(folder: &Path, version: u64) -> Fault {
    Fault::retry(format!("{}: entry {version} of the log cannot be read", folder.display()))
}
