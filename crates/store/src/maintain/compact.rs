//! The commit that puts a file in the place of others.

use std::time::Duration;

use super::Place;
use super::live::Live;
use super::rewrite::Rewritten;
use crate::encode::files;
use crate::error::Fault;
use crate::lease::Staging;
use crate::log::{self, Fate};
use crate::{disk, durable, entry, names, root};

/// How often the commit is tried when others come between. Appends come all the time, and each look costs
/// little; the work that would be lost is large.
const TRIES: u32 = 200;

/// What became of a rewritten file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// It is in the table, and those that it replaces are not, since this version.
    Committed(u64),
    /// Somebody else had removed one of them, so nothing was changed.
    Outdated,
}

/// Puts a rewritten file in the place of those whose rows it holds, in one commit on the newest version.
///
/// An append that comes between changes nothing but the version. If one of the old files is gone, the new
/// one is removed. Whatever the error, the log is asked for the very entry, as with an append.
///
/// # Errors
/// If it cannot be committed. The new file is removed then, unless the log may name it.
pub(crate) fn replace(
    place: &Place,
    live: &mut Live,
    rewritten: &Rewritten,
    staging: &Staging,
) -> Result<Replaced, Fault> {
    let discard = || files::discard(&place.folder, std::slice::from_ref(&rewritten.written));
    commit(place, live, staging, |live| decide(place, live, rewritten), discard)
}

/// Makes an entry that removes files, decided on the newest version; `decide` gives `None` if one of them is
/// not in the table any more. Whatever the error, the log is asked for the very entry.
///
/// # Errors
/// If it cannot be committed. What was written for it is discarded then, unless the log may name it.
pub(super) fn commit(
    place: &Place,
    live: &mut Live,
    staging: &Staging,
    decide: impl Fn(&Live) -> Result<Option<Vec<u8>>, Fault>,
    discard: impl Fn(),
) -> Result<Replaced, Fault> {
    let mut newest = || {
        root::expect_store(&place.root, &place.identity)?;
        live.refresh(&place.folder, place.shape.layout.day)?;
        Ok((live.version + 1, decide(live)?))
    };
    for tries in 0..TRIES {
        let (version, bytes) = match newest() {
            Ok((version, Some(bytes))) => (version, bytes),
            Ok((_, None)) => {
                discard();
                return Ok(Replaced::Outdated);
            }
            Err(fault) => {
                discard();
                return Err(fault);
            }
        };
        let target = names::log_entry(&place.folder, version);
        let fault = match durable::create_if(&target, &bytes, || staging.check()) {
            Ok(true) => return Ok(Replaced::Committed(version)),
            Ok(false) => Fault::retry(format!("table `{}`: entry {version} is there", place.table)),
            Err(error) => error.into(),
        };
        match fate(place, version, &bytes) {
            Ok(Fate::Landed) => return Ok(Replaced::Committed(version)),
            Ok(Fate::Taken) => {
                disk::rest(Duration::from_millis(u64::from(tries.min(20))));
            }
            Ok(Fate::Absent) => {
                #[cfg(test)]
                crate::simulation::told_failed(&target, &bytes);
                discard();
                return Err(fault);
            }
            // The files stay: a commit may name them.
            Err(unread) => return Err(fault.then(unread)),
        }
    }
    discard();
    Err(Fault::retry(format!("table `{}`: others commit all the time", place.table)))
}

/// The entry after the newest version; `None` if a file that it would remove is not in the table any more.
fn decide(place: &Place, live: &Live, rewritten: &Rewritten) -> Result<Option<Vec<u8>>, Fault> {
    let mut removed = Vec::with_capacity(rewritten.replaced.len());
    for path in &rewritten.replaced {
        let Some(file) = live.files.get(path) else { return Ok(None) };
        removed.push((path.as_str(), rewritten.written.date.as_str(), file.size));
    }
    let entry =
        entry::compaction(live.version + 1, place.shape.layout, removed.into_iter(), &rewritten.written)?;
    Ok(Some(entry))
}

fn fate(place: &Place, version: u64, bytes: &[u8]) -> Result<Fate, Fault> {
    let fate = log::fate(&place.folder, version, bytes)?;
    root::expect_store(&place.root, &place.identity)?;
    Ok(fate)
}
