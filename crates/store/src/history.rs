//! What a table's log says of its files and offsets, read without delta-rs: also of a table that names
//! files where there should be none, and of files that are there no more.

use std::collections::HashMap;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, MapArray, RecordBatch, StructArray};
use serde::Deserialize;
use situs_model::Class;

use crate::durable;
use crate::encode::CLASS;
use crate::error::Fault;
use crate::log::{self, newest_checkpoint};
use crate::maintain::retag::commit::RetagCommit;
use crate::names::{self, LogFile};

/// A table's files and offsets at its newest version.
///
/// # Memory
/// A name and some numbers for each file.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The newest version; `None` if the log is empty.
    pub(crate) version: Option<u64>,
    /// The oldest version of which there is an entry. If it is not 0, log clean-up has been here.
    pub(crate) oldest: Option<u64>,
    /// The files of the newest version.
    pub(crate) files: HashMap<String, Added>,
    /// Files that were removed and are not part of the table any more; `true` if a commit said that the
    /// table's data changed with it.
    pub(crate) removed: HashMap<String, bool>,
    /// The offset to append next by application id.
    pub(crate) offsets: HashMap<String, i64>,
    /// The versions that say of themselves that they are re-taggings, in order, as far as there are entries.
    pub(crate) retags: Vec<(u64, RetagCommit)>,
}

/// What the log says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its number of rows, if the statistics say so.
    pub(crate) rows: Option<u64>,
    /// The smallest and the greatest `end_offset`, if the statistics say so.
    pub(crate) ends: Option<(i64, i64)>,
    /// Whether it brought data, and not only held differently what was there.
    pub(crate) data_change: bool,
    /// The highest class of its rows, if it says so; a word that is no class is the strictest.
    pub(crate) class: Option<Class>,
}

impl History {
    /// Reads a table's log: from the first entry if all entries are there, else from the newest checkpoint.
    /// A table without a log has an empty history.
    ///
    /// # Errors
    /// If a file of the log cannot be read or understood.
    pub(crate) fn read(folder: &Path) -> Result<Self, Fault> {
        let names = durable::list(&names::log(folder))?;
        let of_entry = |name: &String| match names::log_file(name)? {
            LogFile::Entry(version) => Some(version),
            LogFile::Checkpoint(_) => None,
        };
        let entries: Vec<u64> = names.iter().filter_map(of_entry).collect();
        let checkpoint = newest_checkpoint(&names, u64::MAX);
        let (first, last) = (entries.first().copied(), entries.last().copied());
        let mut history = Self { oldest: first, ..Self::default() };
        history.version = last.max(checkpoint.as_ref().map(|(version, _)| *version));
        let whole = first == Some(0) && last.is_some_and(|last| entries.len() as u64 == last + 1);
        let mut next = first.unwrap_or(0);
        if !whole && let Some((version, parts)) = checkpoint {
            // Checkpoints need not say which removals changed data; entries below do.
            for entry in entries.iter().filter(|entry| **entry <= version) {
                let actions = read_entry(folder, *entry)?;
                history.note_retags(*entry, &actions);
                history.note_removals(&actions);
            }
            for part in parts {
                history.read_checkpoint(&names::log(folder).join(part))?;
            }
            next = version + 1;
        }
        if let Some(last) = last {
            for version in next..=last {
                let actions = read_entry(folder, version)?;
                history.note_retags(version, &actions);
                history.apply(actions);
            }
        }
        let files = &history.files;
        history.removed.retain(|path, _| !files.contains_key(path));
        Ok(history)
    }

    /// Whether entries of the log are gone, so that it cannot tell what became of every file.
    pub(crate) fn is_cut(&self) -> bool {
        self.oldest != Some(0)
    }

    fn apply(&mut self, actions: Vec<Line>) {
        for action in actions {
            if let Some(remove) = action.remove {
                self.files.remove(&remove.path);
                self.removed.insert(remove.path, remove.data_change);
            }
            if let Some(add) = action.add {
                self.removed.remove(&add.path);
                let statistics = add.stats.as_deref().and_then(Statistics::parse).unwrap_or_default();
                let class = add.tags.as_ref().and_then(|tags| class_of(tags.get(CLASS)?.as_deref()?));
                self.files.insert(add.path, statistics.added(add.size, add.data_change, class));
            }
            if let Some(txn) = action.txn {
                self.offsets.insert(txn.app_id, txn.version);
            }
        }
    }

    fn note_retags(&mut self, version: u64, actions: &[Line]) {
        for info in actions.iter().filter_map(|action| action.commit_info.as_ref()) {
            // What cannot be understood is no re-tagging; what it removed is then told by nothing.
            let said = info.retag.clone().and_then(|said| serde_json::from_value(said).ok());
            self.retags.extend(said.map(|commit| (version, commit)));
        }
    }

    fn note_removals(&mut self, actions: &[Line]) {
        for remove in actions.iter().filter_map(|action| action.remove.as_ref()) {
            self.removed.insert(remove.path.clone(), remove.data_change);
        }
    }

    fn read_checkpoint(&mut self, path: &Path) -> Result<(), Fault> {
        let columns = [
            "add.path",
            "add.size",
            "add.dataChange",
            "add.stats",
            "add.tags",
            "remove.path",
            "remove.dataChange",
            "txn.appId",
            "txn.version",
        ];
        for batch in log::checkpoint(path, &columns)? {
            self.take_checkpoint(&batch?).ok_or_else(|| log::not_a_checkpoint(path))?;
        }
        Ok(())
    }

    /// `None` if the columns are of other types than checkpoints have.
    fn take_checkpoint(&mut self, batch: &RecordBatch) -> Option<()> {
        let rows = |group: &StructArray| -> Vec<usize> {
            (0..group.len()).filter(|row| group.is_valid(*row)).collect()
        };
        let group = |name: &str| batch.column_by_name(name).and_then(|column| column.as_struct_opt());
        if let Some(add) = group("add") {
            let paths = add.column_by_name("path")?.as_string_opt::<i32>()?;
            let sizes = add.column_by_name("size")?.as_primitive_opt::<Int64Type>()?;
            let stats = add.column_by_name("stats").and_then(|column| column.as_string_opt::<i32>());
            let tags = add.column_by_name("tags").and_then(|column| column.as_map_opt());
            for row in rows(add).into_iter().filter(|row| paths.is_valid(*row)) {
                let class = tags.filter(|tags| tags.is_valid(row)).and_then(|tags| tagged(tags, row));
                let text = stats.filter(|stats| stats.is_valid(row)).map(|stats| stats.value(row));
                let statistics = text.and_then(Statistics::parse).unwrap_or_default();
                // What a checkpoint says of data changes means nothing: readers need not know it.
                let added = statistics.added(sizes.value(row), true, class);
                self.files.insert(paths.value(row).to_owned(), added);
            }
        }
        if let Some(remove) = group("remove") {
            let paths = remove.column_by_name("path")?.as_string_opt::<i32>()?;
            let changes = remove.column_by_name("dataChange").and_then(|column| column.as_boolean_opt());
            for row in rows(remove).into_iter().filter(|row| paths.is_valid(*row)) {
                let change = changes.is_some_and(|changes| changes.is_valid(row) && changes.value(row));
                self.removed.entry(paths.value(row).to_owned()).or_insert(change);
            }
        }
        if let Some(txn) = group("txn") {
            let ids = txn.column_by_name("appId")?.as_string_opt::<i32>()?;
            let versions = txn.column_by_name("version")?.as_primitive_opt::<Int64Type>()?;
            for row in rows(txn).into_iter().filter(|row| ids.is_valid(*row)) {
                self.offsets.insert(ids.value(row).to_owned(), versions.value(row));
            }
        }
        Some(())
    }
}

/// The class that a word names.
fn class_of(word: &str) -> Option<Class> {
    Some(Class::from_word(word).unwrap_or(Class::Unclassified))
}

/// The class among the tags of a file in a checkpoint.
fn tagged(tags: &MapArray, row: usize) -> Option<Class> {
    let entries = tags.value(row);
    let keys = entries.column(0).as_string_opt::<i32>()?;
    let values = entries.column(1).as_string_opt::<i32>()?;
    let at = (0..keys.len()).find(|at| keys.value(*at) == CLASS && values.is_valid(*at))?;
    class_of(values.value(at))
}

/// The files that the commit of a version added; none if its entry is gone.
pub(crate) fn files_of(folder: &Path, version: u64) -> Result<Vec<String>, Fault> {
    let path = names::log_entry(folder, version);
    if durable::read(&path)?.is_none() {
        return Ok(Vec::new());
    }
    let adds = read_entry(folder, version)?.into_iter().filter_map(|action| action.add);
    Ok(adds.map(|add| add.path).collect())
}

/// The actions of an entry. What was wrong with one is not told, since an entry holds values.
fn read_entry(folder: &Path, version: u64) -> Result<Vec<Line>, Fault> {
    let bad = || Fault::retry(format!("{}: entry {version} of the log cannot be read", folder.display()));
    let bytes = durable::read(&names::log_entry(folder, version))?.ok_or_else(bad)?;
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|_| bad()))
        .collect()
}

#[derive(Debug, Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    txn: Option<Txn>,
    #[serde(rename = "commitInfo")]
    commit_info: Option<CommitInfo>,
}

#[derive(Debug, Deserialize)]
struct CommitInfo {
    /// As [`log::RETAG`] names it.
    #[serde(rename = "situs.retag")]
    retag: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    path: String,
    size: i64,
    data_change: bool,
    stats: Option<String>,
    tags: Option<HashMap<String, Option<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remove {
    path: String,
    data_change: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    num_records: Option<u64>,
    #[serde(default)]
    min_values: Ends,
    #[serde(default)]
    max_values: Ends,
}

#[derive(Debug, Default, Deserialize)]
struct Ends {
    end_offset: Option<i64>,
}

impl Statistics {
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn added(&self, size: i64, data_change: bool, class: Option<Class>) -> Added {
        Added {
            size: u64::try_from(size).unwrap_or(0),
            rows: self.num_records,
            ends: self.min_values.end_offset.zip(self.max_values.end_offset),
            data_change,
            class,
        }
    }
}
