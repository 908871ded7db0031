//! Vacuum: files that no reader needs and no writer will commit.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use situs_model::{Date, TableName};

use super::live::Live;
use super::{Place, Vacuum};
use crate::disk;
use crate::durable::{self, FileError};
use crate::error::Fault;
use crate::history::History;
use crate::lease::WriterLease;
use crate::{names, root, tables};

/// How long checkpoints tell of a removal: Delta's own default, which Situs does not change. Later, a file
/// that was removed is one that nobody names.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What a vacuum did to a table, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files that the table had removed longer ago than the retention.
    pub replaced: Tally,
    /// Files that no log entry names and no writer will commit any more.
    pub orphans: Tally,
    /// Files that no log entry names, but a writer may still commit.
    pub staged: u64,
    /// Files that would go if they were not protected.
    pub protected: u64,
    /// The paths of the files that went, or would go, relative to the root, in order.
    pub paths: Vec<String>,
}

/// A file that lies in a table's folder of a day.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to the table.
    pub(super) path: String,
    bytes: u64,
    modified: SystemTime,
}

/// Which files may be removed, as a vacuum would: those that the table removed long enough ago, and those that
/// nobody names and no writer may commit.
#[derive(Debug)]
pub(super) struct Removable<'a> {
    kept: HashSet<Cow<'a, str>>,
    removed: HashMap<Cow<'a, str>, i64>,
    settings: &'a Vacuum,
    leases: &'a [WriterLease],
    now: SystemTime,
    /// What the log tells are times of the hosts that wrote it.
    now_ms: i64,
    retention_ms: i64,
}

/// Whether a file may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// It is part of the table, or readers of older versions may need it.
    Needed,
    /// No log entry names it, but a writer may still commit it.
    Staged,
    /// The table has removed it.
    Replaced,
    /// No log entry names it.
    Orphan,
}

impl<'a> Removable<'a> {
    /// As of a state of the log that was read after the files were listed.
    pub(super) fn new(
        live: &'a Live,
        settings: &'a Vacuum,
        leases: &'a [WriterLease],
        now: SystemTime,
    ) -> Self {
        Self {
            kept: live.files.keys().map(|path| decoded(path)).collect(),
            removed: live.removed.iter().map(|(path, time)| (decoded(path), *time)).collect(),
            settings,
            leases,
            now,
            now_ms: chrono::Utc::now().timestamp_millis(),
            retention_ms: i64::try_from(settings.retention.as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn right(&self, file: &Found) -> Right {
        let path = file.path.as_str();
        if self.kept.contains(path) {
            return Right::Needed;
        }
        match self.removed.get(path) {
            Some(time) if self.now_ms.saturating_sub(*time) < self.retention_ms => Right::Needed,
            Some(_) => Right::Replaced,
            None => {
                let age = self.now.duration_since(file.modified).unwrap_or_default();
                let may_come = self.leases.iter().any(|lease| lease.may_have_staged(file.modified));
                if age < self.settings.orphans_after || may_come { Right::Staged } else { Right::Orphan }
            }
        }
    }

    /// Whether a file may be removed, and is not protected.
    pub(super) fn may_go(&self, file: &Found, in_root: &str) -> bool {
        matches!(self.right(file), Right::Replaced | Right::Orphan)
            && !is_protected(&self.settings.protected, in_root)
    }
}

/// Makes sure that processes which were not heard of for `dead_after` do not commit what they have staged:
/// steps a and b of [`crate::lease`]. The leases that are left.
pub(super) fn fence(
    root: &Path,
    dead_after: Duration,
    now: SystemTime,
    dry_run: bool,
) -> Result<Vec<WriterLease>, Fault> {
    let (dead, alive): (Vec<_>, Vec<_>) =
        WriterLease::list(root)?.into_iter().partition(|lease| lease.is_older_than(dead_after, now));
    if dead.is_empty() || dry_run {
        return Ok(alive);
    }
    for lease in &dead {
        lease.revoke()?;
    }
    for table in tables::list(root)? {
        let log = names::log(&names::table(root, &table));
        for name in durable::list(&log)?.iter().filter(|name| names::is_temporary(name)) {
            durable::remove(&log.join(name))?;
        }
    }
    Ok(alive)
}

/// Removes a table's files that nobody needs. `leases` are those of living processes; `now` is the time of
/// the store's file system.
///
/// Files are listed before the log is read: what is committed in between is named by the log, and what is
/// staged after the list is not in it.
pub(super) fn vacuum(
    place: &Place,
    settings: &Vacuum,
    leases: &[WriterLease],
    now: SystemTime,
) -> Result<Vacuumed, Fault> {
    let candidates = list(place)?;
    let Some(mut live) = Live::load(&place.folder, place.shape.layout.day)? else {
        return Ok(Vacuumed::default());
    };
    if settings.retention > REMEMBERED
        && let Some(since) = now.checked_sub(settings.retention)
    {
        live.remember(&place.folder, since)?;
    }
    let removable = Removable::new(&live, settings, leases, now);
    let records = Records::of(place, settings)?;
    // RES-8: what was read counts only if this store was there.
    root::expect_store(&place.root, &place.identity)?;
    let mut vacuumed = Vacuumed::default();
    for file in candidates {
        let path = file.path.as_str();
        let was_removed = match removable.right(&file) {
            Right::Needed => continue,
            Right::Staged => {
                vacuumed.staged += 1;
                continue;
            }
            Right::Replaced => true,
            Right::Orphan => false,
        };
        let in_root = format!("{}/{path}", place.table);
        let is_record = records.as_ref().is_some_and(|records| records.holds(place, path, was_removed));
        if is_record || is_protected(&settings.protected, &in_root) {
            vacuumed.protected += 1;
            continue;
        }
        let bytes = if settings.dry_run {
            file.bytes
        } else {
            match durable::remove(&place.folder.join(path))? {
                Some(bytes) => bytes,
                None => continue,
            }
        };
        if was_removed { &mut vacuumed.replaced } else { &mut vacuumed.orphans }.add(bytes);
        vacuumed.paths.push(in_root);
    }
    Ok(vacuumed)
}

/// What a vacuum leaves of receipts and ledgers, so that nobody can get rid of them by removing them from
/// their table and waiting.
#[derive(Debug)]
struct Records {
    /// Files of this day and later stay.
    keep_from: Date,
    /// Files that the table removed, and whether their rows went with them.
    removed: HashMap<String, bool>,
}

impl Records {
    /// `None` for a table that holds other things.
    fn of(place: &Place, settings: &Vacuum) -> Result<Option<Self>, Fault> {
        let tables = [TableName::receipts(), TableName::releases(), TableName::ledger()];
        if !tables.contains(&place.table) {
            return Ok(None);
        }
        let today = Date::of_us(chrono::Utc::now().timestamp_micros());
        let removed = History::read(&place.folder)?.removed;
        Ok(Some(Self { keep_from: settings.keep_ledgers.before(today), removed }))
    }

    /// Whether a file stays although nobody names it: it is young, and its rows may lie nowhere else. Those of a
    /// file that a compaction replaced do.
    fn holds(&self, place: &Place, path: &str, was_removed: bool) -> bool {
        let day = path.split('/').next().and_then(|folder| names::day_of_folder(place.day(), folder));
        let day = day.and_then(|day| day.parse::<Date>().ok());
        let is_young = day.is_none_or(|day| day >= self.keep_from);
        is_young
            && match was_removed {
                true => self.removed.get(path) != Some(&false),
                false => !place.shape.compacted,
            }
    }
}

/// The data files in the folders of days. Nothing else is looked at, and no symlink is followed.
pub(super) fn list(place: &Place) -> Result<Vec<Found>, FileError> {
    let mut found = Vec::new();
    for folder in durable::list(&place.folder)? {
        let of_day = place.folder.join(&folder);
        let is_day = names::day_of_folder(place.shape.layout.day, &folder).is_some();
        if !is_day || !disk::look(&of_day).is_ok_and(|found| found.is_dir()) {
            continue;
        }
        for name in durable::list(&of_day)? {
            if names::is_temporary(&name) || !name.ends_with(".parquet") {
                continue;
            }
            // A file that is gone is nobody's concern.
            let Ok(metadata) = disk::look(&of_day.join(&name)) else { continue };
            if let (true, Ok(modified)) = (metadata.is_file(), metadata.modified()) {
                found.push(Found { path: format!("{folder}/{name}"), bytes: metadata.len(), modified });
            }
        }
    }
    Ok(found)
}

/// Whether a path is protected itself, or lies in a folder that is.
fn is_protected(protected: &BTreeSet<String>, path: &str) -> bool {
    let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    protected.contains(path) || folders.any(|folder| protected.contains(folder))
}

/// A path of the log as the file system knows it. Situs writes no path that differs; others may.
fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (*first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_log_are_decoded() {
        assert_eq!(decoded("event_date=2026-03-01/a-0.parquet"), "event_date=2026-03-01/a-0.parquet");
        assert_eq!(decoded("a%20b%3Dc/%C3%A9%zz%2"), "a b=c/é%zz%2");
    }

    #[test]
    fn protected_paths_are_files_or_folders() {
        let protected = BTreeSet::from(["t/event_date=2026-03-01".to_owned(), "t/d/x.parquet".to_owned()]);
        assert!(is_protected(&protected, "t/event_date=2026-03-01/f-0.parquet"));
        assert!(is_protected(&protected, "t/d/x.parquet"));
        for path in ["t/event_date=2026-03-010/f-0.parquet", "t/d/y.parquet", "t/x.parquet"] {
            assert!(!is_protected(&protected, path), "{path}");
        }
    }
}
