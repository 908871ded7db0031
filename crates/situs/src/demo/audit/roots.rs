//! What the audit sees of the roots: where they lie, what lies below them, and whose they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use situs_model::ZoneId;
use situs_store::{check_disjoint, identify};

use super::NotAssessed;

/// RES-2: roots that are not apart, symlinks that lead out of their root, and entries of the tables' logs that
/// name a file outside of its table.
///
/// The logs are read as text and not through the store's reader, which would refuse such a table.
pub(super) fn paths(stores: &BTreeMap<ZoneId, PathBuf>) -> Result<u64, NotAssessed> {
    let roots: Vec<(ZoneId, PathBuf)> =
        stores.iter().map(|(zone, root)| (zone.clone(), root.clone())).collect();
    let mut broken = u64::from(check_disjoint(&roots).is_err());
    for (_, root) in &roots {
        let root = fs::canonicalize(root).map_err(unreadable)?;
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let is_log = folder.file_name().is_some_and(|name| name == "_delta_log");
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let (kind, path) = (entry.file_type().map_err(unreadable)?, entry.path());
                if kind.is_symlink() {
                    // One that leads nowhere could lead anywhere tomorrow.
                    let inside = fs::canonicalize(&path).is_ok_and(|target| target.starts_with(&root));
                    broken += u64::from(!inside);
                } else if kind.is_dir() {
                    folders.push(path);
                } else if is_log && path.extension().is_some_and(|extension| extension == "json") {
                    broken += outside(&path)?;
                }
            }
        }
    }
    Ok(broken)
}

/// Entries of a log file that name a file outside of its table.
fn outside(log: &Path) -> Result<u64, NotAssessed> {
    let mut broken = 0;
    for line in BufReader::new(fs::File::open(log).map_err(unreadable)?).lines() {
        let line = line.map_err(unreadable)?;
        let entry: Value = serde_json::from_str(&line)
            .map_err(|_| NotAssessed("the log of a table cannot be understood"))?;
        let added = entry.pointer("/add/path").and_then(Value::as_str);
        broken += u64::from(added.is_some_and(|path| !is_inside(path)));
    }
    Ok(broken)
}

/// Whether a path of a log stays below its table, also once its escapes are read.
fn is_inside(path: &str) -> bool {
    let mut plain = path.to_owned();
    for (escape, character) in
        [("%2e", "."), ("%2E", "."), ("%2f", "/"), ("%2F", "/"), ("%3a", ":"), ("%3A", ":")]
    {
        plain = plain.replace(escape, character);
    }
    let below = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    !path.is_empty() && !plain.contains("://") && below(path) && below(&plain)
}

/// RES-8: stores whose marker is missing or names another zone.
pub(super) fn markers(stores: &BTreeMap<ZoneId, PathBuf>) -> u64 {
    let wrong =
        |(zone, root): &(&ZoneId, &PathBuf)| identify(root).map_or(true, |found| found.zone != **zone);
    stores.iter().filter(wrong).count() as u64
}

fn unreadable(_: std::io::Error) -> NotAssessed {
    NotAssessed("a root cannot be read")
}
