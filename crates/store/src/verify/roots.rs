//! Whose the roots are, and what lies in them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use situs_model::{StoreIdentity, TableName, ZoneId};

use super::report::{Finding, Kind, Report};
use crate::history::History;
use crate::{durable, names, reader, root, tables};

/// An orphan of this age is no file of a commit under way.
const OLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A store as it lies there.
#[derive(Debug)]
pub(super) struct Store {
    /// The zone that it should be of.
    pub(super) zone: ZoneId,
    /// Its root.
    pub(super) root: PathBuf,
    /// Whose it is, if its marker names that zone.
    pub(super) identity: Option<StoreIdentity>,
    /// Its tables.
    pub(super) tables: Vec<TableName>,
}

/// Looks at every root: markers, symlinks, tables.
pub(super) fn look(
    stores: &BTreeMap<ZoneId, PathBuf>,
    separate_devices: bool,
    report: &mut Report,
) -> Vec<Store> {
    let roots: Vec<(ZoneId, PathBuf)> =
        stores.iter().map(|(zone, root)| (zone.clone(), root.clone())).collect();
    if let Err(error) = root::check_disjoint(&roots) {
        report.violation(Kind::Roots, Finding::new(error.to_string()));
    }
    if separate_devices && let Err(error) = root::devices::check_separate(&roots) {
        report.violation(Kind::Roots, Finding::new(error.to_string()));
    }
    // Told whatever the site asks for. A root that cannot be looked at is told by its marker.
    if let Some(devices) = root::devices::count(&roots) {
        report.count(Kind::Roots, "devices", devices);
    }
    report.count(Kind::Markers, "roots", roots.len() as u64);
    report.count(Kind::Roots, "roots", roots.len() as u64);
    roots.into_iter().map(|(zone, root)| look_at(zone, root, report)).collect()
}

fn look_at(zone: ZoneId, root: PathBuf, report: &mut Report) -> Store {
    let identity = match root::expect_zone(&root, &zone) {
        Ok(identity) => Some(identity),
        Err(error) => {
            report.violation(Kind::Markers, Finding::in_zone(zone.as_str(), error.to_string()));
            None
        }
    };
    let mut found = Vec::new();
    // That there is no root is told by its marker.
    if let Err(error) = walk(&root, Path::new(""), zone.as_str(), report)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        report.violation(Kind::Roots, Finding::in_zone(zone.as_str(), format!("cannot be listed: {error}")));
    }
    for name in crate::durable::list(&root).unwrap_or_default() {
        // Tables behind symlinks are found and read too: that they are there is one violation and no more.
        if let Ok(table) = name.parse::<TableName>()
            && tables::exists(&names::table(&root, &table)).unwrap_or(false)
        {
            found.push(table);
        }
    }
    Store { zone, root, identity, tables: found }
}

/// Finds symlinks below a root (RES-2), wherever they lead.
fn walk(root: &Path, below: &Path, zone: &str, report: &mut Report) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, below.join(entry.file_name()));
        report.count(Kind::Roots, "objects", 1);
        if kind.is_symlink() {
            let finding =
                Finding { file: Some(path.display().to_string()), ..Finding::in_zone(zone, "is a symlink") };
            report.violation(Kind::Roots, finding);
        } else if entry.metadata().is_ok_and(|found| found.permissions().mode() & durable::OTHERS != 0) {
            report.count(Kind::Roots, "open to others", 1);
        }
        if kind.is_dir() {
            walk(root, &path, zone, report)?;
        }
    }
    Ok(())
}

/// The files of a table that lie inside of it; others are violations and are not followed (RES-2).
pub(super) fn files_inside(
    store: &Store,
    table: &TableName,
    history: &History,
    report: &mut Report,
) -> Vec<String> {
    let mut files = Vec::with_capacity(history.files.len());
    for path in history.files.keys() {
        report.count(Kind::Roots, "files named by logs", 1);
        if stays_inside(path) {
            files.push(path.clone());
        } else {
            let what = "the log names a file outside of its table";
            report.violation(Kind::Roots, Finding::in_file(store.zone.as_str(), table.as_str(), path, what));
        }
    }
    files.sort_unstable();
    files
}

/// The files of a table that lie inside of it, in order; the others are told by [`files_inside`].
pub(super) fn paths_inside(history: &History) -> Vec<String> {
    let mut files: Vec<String> = history.files.keys().filter(|path| stays_inside(path)).cloned().collect();
    files.sort_unstable();
    files
}

/// Delta writes paths percent-encoded, so they are judged with and without.
fn stays_inside(path: &str) -> bool {
    let mut plain = path.to_ascii_lowercase();
    for (escape, character) in [("%2e", "."), ("%2f", "/"), ("%3a", ":")] {
        plain = plain.replace(escape, character);
    }
    !path.is_empty() && reader::is_inside(path) && reader::is_inside(&plain)
}

/// Files in a table's folder that its log does not name: left by a writer that died, or about to be named.
pub(super) fn orphans(store: &Store, table: &TableName, history: &History, report: &mut Report) {
    let folder = names::table(&store.root, table);
    for day in crate::durable::list(&folder).unwrap_or_default() {
        if folder.join(&day) == names::log(&folder) || !folder.join(&day).is_dir() {
            continue;
        }
        for name in crate::durable::list(&folder.join(&day)).unwrap_or_default() {
            let path = format!("{day}/{name}");
            if history.files.contains_key(&path) {
                continue;
            }
            let metadata = fs::metadata(folder.join(&path));
            let bytes = metadata.as_ref().map_or(0, fs::Metadata::len);
            if names::is_temporary(&name) {
                report.count(Kind::Files, "temporary", 1);
            } else if history.removed.contains_key(&path) {
                report.count(Kind::Files, "removed but still there", 1);
            } else {
                report.count(Kind::Files, "orphans", 1);
                report.count(Kind::Files, "bytes of orphans", bytes);
                let age = metadata.and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
                if matches!(age, Ok(Ok(age)) if age > OLD) {
                    let what = "no commit names it, and it is older than a week";
                    report.note(
                        Kind::Files,
                        Finding::in_file(store.zone.as_str(), table.as_str(), &path, what),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_share_a_device_are_found_where_the_site_forbids_it() {
        let dir = tempfile::tempdir().unwrap();
        let stores: BTreeMap<ZoneId, PathBuf> =
            ["CN", "EU"].map(|name| (name.parse().unwrap(), dir.path().join(name.to_lowercase()))).into();
        for (zone, root) in &stores {
            root::init(root, zone).unwrap();
        }
        for separate in [false, true] {
            let mut report = Report::default();
            look(&stores, separate, &mut report);
            let roots = report.checks.iter().find(|check| check.check == Kind::Roots).unwrap();
            assert_eq!(roots.violations, u64::from(separate), "{roots:?}");
            assert_eq!(roots.figures["devices"], 1);
        }
    }

    #[test]
    fn escapes_do_not_hide_where_a_path_leads() {
        assert!(stays_inside("event_date=2026-03-01/f-0.parquet"));
        for path in ["", "%2e%2e/x", "..%2Fx", "a/%2E%2e/%2e./x", "s3%3A//bucket/x", "%2Fetc/passwd", "/x"] {
            assert!(!stays_inside(path), "{path}");
        }
    }
}
