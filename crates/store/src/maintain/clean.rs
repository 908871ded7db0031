//! Log clean-up: old entries that a checkpoint stands for.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::checkpoint::Expected;
use crate::disk;
use crate::durable;
use crate::error::Fault;
use crate::log::newest_checkpoint;
use crate::names::{self, LogFile};

/// What log clean-up removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Entries of the log.
    pub entries: u64,
    /// Files of checkpoints.
    pub checkpoints: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// Removes the entries and checkpoints below the newest checkpoint whose own entry is older than
/// `retention`, as the Delta protocol says: every version from that one on can still be read. `day` is the
/// column of days.
///
/// Before, that checkpoint is compared once more with what the entries say that it stands for. Entries go
/// in ascending order, so a committer that stands on a version of which the next one is gone does not
/// find its own either, and loads anew ([`crate::log::TableState::refresh`]).
///
/// # Errors
/// Stops if the checkpoint does not say what the entries say; nothing is removed then.
pub(super) fn clean(
    folder: &Path,
    day: &str,
    retention: Duration,
    now: SystemTime,
) -> Result<Cleaned, Fault> {
    let log = names::log(folder);
    let found = durable::list(&log)?;
    let is_old = |name: &str| {
        let modified = disk::look(&log.join(name)).and_then(|found| found.modified());
        modified.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age >= retention))
    };
    let entries: BTreeSet<u64> = found
        .iter()
        .filter_map(|name| match names::log_file(name)? {
            LogFile::Entry(version) => Some(version),
            LogFile::Checkpoint(_) => None,
        })
        .collect();
    let entry_is_old = |version: u64| {
        names::log_entry(folder, version).file_name().and_then(|name| name.to_str()).is_some_and(is_old)
    };
    // From the newest down, the first that is old, and its entry too if it is there.
    let mut until = u64::MAX;
    let kept = loop {
        let Some((version, files)) = newest_checkpoint(&found, until) else { return Ok(Cleaned::default()) };
        if files.iter().all(|name| is_old(name)) && (!entries.contains(&version) || entry_is_old(version)) {
            break version;
        }
        let Some(below) = version.checked_sub(1) else { return Ok(Cleaned::default()) };
        until = below;
    };
    let mut gone: Vec<(u64, &String, bool)> = Vec::new();
    for name in &found {
        match names::log_file(name) {
            Some(LogFile::Entry(version)) if version < kept && is_old(name) => {
                gone.push((version, name, true))
            }
            Some(LogFile::Checkpoint(version)) if version < kept && is_old(name) => {
                gone.push((version, name, false));
            }
            _ => {}
        }
    }
    if gone.is_empty() {
        return Ok(Cleaned::default());
    }
    if is_whole(&found, &entries, kept) {
        let expected = Expected::of(folder, day, kept)?;
        let (_, files) = newest_checkpoint(&found, kept)
            .ok_or_else(|| Fault::retry(format!("{}: a checkpoint has vanished", folder.display())))?;
        // Checkpoints in several parts are other writers'; they are not believed.
        let [file] = files.as_slice() else { return Ok(Cleaned::default()) };
        expected.check(&log.join(file), day)?;
    }
    gone.sort_unstable();
    let mut cleaned = Cleaned::default();
    for (_, name, is_entry) in gone {
        let Some(bytes) = durable::remove(&log.join(name))? else { continue };
        let count = if is_entry { &mut cleaned.entries } else { &mut cleaned.checkpoints };
        *count += 1;
        cleaned.bytes += bytes;
    }
    durable::sync_folder(&log)?;
    Ok(cleaned)
}

/// Whether what a checkpoint stands for can be told without it. If not, a clean-up was cut off before, and
/// the rest is of no use to anybody.
fn is_whole(names: &[String], entries: &BTreeSet<u64>, checkpoint: u64) -> bool {
    let below = checkpoint.checked_sub(1).and_then(|below| newest_checkpoint(names, below));
    let first = below.map_or(0, |(version, _)| version + 1);
    (first..=checkpoint).all(|version| entries.contains(&version))
}
