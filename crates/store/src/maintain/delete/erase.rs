//! The bytes of deleted rows: every file in a table's folder that holds one of them, part of the table or not.

use std::time::{Duration, SystemTime};

use super::super::live::Live;
use super::super::vacuum::{self, Removable};
use super::super::{Place, Vacuum};
use super::keys::KeySet;
use super::reduce;
use crate::error::Fault;
use crate::lease::WriterLease;
use crate::{disk, durable, names, root};

/// Where the bytes of deleted rows still are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Files in which the rows were looked for.
    pub looked: u64,
    /// Files that held deleted rows and were removed, relative to the root.
    pub removed: Vec<String>,
    /// Files that hold deleted rows still, or may hold some, relative to the root.
    pub left: Vec<String>,
}

/// Looks for the rows of a set in all files of a table's folders of days, and removes those that hold some,
/// if readers had their time (`settings.retention`) and no writer may commit them.
pub(super) fn erase(
    place: &Place,
    set: &mut KeySet,
    settings: &Vacuum,
    leases: &[WriterLease],
    now: SystemTime,
    deleted: SystemTime,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Erased, Fault> {
    let mut erased = Erased::default();
    let found = vacuum::list(place)?;
    // Without its log nothing was looked at, and nothing may be said of its files.
    let Some(live) = Live::load(&place.folder, place.day())? else {
        return Err(Fault::retry(format!("table `{}` has vanished", place.table)));
    };
    root::expect_store(&place.root, &place.identity)?;
    let removable = Removable::new(&live, settings, leases, now);
    for file in &found {
        alive()?;
        let in_root = format!("{}/{}", place.table, file.path);
        let on_disk = place.folder.join(&file.path);
        erased.looked += 1;
        let holds = match reduce::count(&on_disk, place, set) {
            Ok((rows, _)) => rows > 0,
            // It went meanwhile.
            Err(_) if disk::look(&on_disk).is_err() => false,
            // What cannot be read may hold anything; a file of the table must be readable.
            Err(fault) if live.files.contains_key(&file.path) => return Err(fault),
            Err(_) => true,
        };
        if !holds {
            continue;
        }
        if !settings.dry_run && removable.may_go(file, &in_root) {
            durable::remove(&on_disk)?;
            erased.removed.push(in_root);
        } else {
            erased.left.push(in_root);
        }
    }
    abandoned(place, deleted, &mut erased)?;
    Ok(erased)
}

/// Files that were being written when the rows went may hold them, and have no footer to be read by. They
/// go by maintenance, a day old.
fn abandoned(place: &Place, deleted: SystemTime, erased: &mut Erased) -> Result<(), Fault> {
    for folder in durable::list(&place.folder)? {
        if names::day_of_folder(place.day(), &folder).is_none() {
            continue;
        }
        for name in
            durable::list(&place.folder.join(&folder))?.iter().filter(|name| names::is_temporary(name))
        {
            let modified =
                disk::look(&place.folder.join(&folder).join(name)).and_then(|found| found.modified());
            if modified.is_ok_and(|modified| modified < deleted + Duration::from_secs(60)) {
                erased.left.push(format!("{}/{folder}/{name}", place.table));
            }
        }
    }
    Ok(())
}
