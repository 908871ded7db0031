//! Leases: who writes to a store, and who maintains it.
//!
//! A writer stages files before a commit names them, so a file that no log entry names may be rubbish of
//! a dead process or the work of a live one. Each process that writes keeps a file in `_situs_leases` and
//! renews it; a file's age is compared with what the leases say ([`WriterLease::may_have_staged`]).
//!
//! A process can be stopped for hours between staging and commit, and then go on. So the lease of a
//! process that was not heard of for long is *revoked* before anything that it staged is removed:
//!
//! | the writer | whoever revokes |
//! |---|---|
//! | 1. writes the entry's bytes under a temporary name in the log folder | a. removes the lease file |
//! | 2. looks whether its lease file is there | b. removes the temporary files of the log folders |
//! | 3. links the entry's name to the temporary file | c. lists files, reads the log, removes what it does not name |
//!
//! If 2 comes before a, then b finds the temporary file: either 3 has happened, and c reads the entry, or
//! it fails for want of the file. If 2 comes after a, it fails. Either way no entry names a removed file.
//! A live writer that loses its temporary file to b commits again.
//!
//! Times are those of the file system that holds the store: when a lease was renewed is the time of its
//! file, and what it tells in its text are ages. Clocks of hosts are compared with nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::durable::{self, FileError};
use crate::{disk, names};

/// Bytes of a lease file: it is written in place, always as long.
const LENGTH: usize = 256;
/// How far times of one file system, and ages, may be off.
const MARGIN: Duration = Duration::from_secs(60);
/// After this time without renewal a maintainer is taken for dead. Two at once would waste work, not more.
const MAINTAINER_EXPIRES: Duration = Duration::from_secs(10 * 60);

/// What a lease file says.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    format: u32,
    process: String,
    /// Milliseconds since the lease was taken.
    held_ms: u64,
    /// Milliseconds since the oldest append that is under way began to stage files.
    staging_ms: Option<u64>,
}

/// The lease of this process on one store, and the appends that are under way.
#[derive(Debug)]
pub(crate) struct Leases {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing is committed without a lease.
    wanted: bool,
    held: Option<Held>,
    staging: BTreeMap<u64, Instant>,
    next: u64,
}

#[derive(Debug)]
struct Held {
    process: String,
    path: PathBuf,
    taken: Instant,
}

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease goes on.
    Renewed,
    /// There was none, or it had been revoked; this is a new one.
    Taken,
}

/// Files are being staged, from before the first until after the commit. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Staging {
    leases: Arc<Leases>,
    number: u64,
    lease: Lease,
}

/// Under which lease files are staged.
#[derive(Debug)]
enum Lease {
    /// The store was opened without.
    NotWanted,
    Missing,
    At(PathBuf),
}

impl Leases {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is committed without a lease.
    pub(crate) fn require(&self) {
        self.state().wanted = true;
    }

    /// Takes the lease, or renews it. From the first call on nothing is committed without.
    pub(crate) fn renew(&self) -> Result<Renewal, FileError> {
        let mut state = self.state();
        state.wanted = true;
        if let Some(held) = &state.held {
            let text = state.text(held);
            // In place and never anew: a lease that was revoked must not come back, since files that
            // were staged under it may be gone.
            match disk::overwrite(&held.path, &text) {
                Ok(()) => return Ok(Renewal::Renewed),
                Err(error) if error.kind() == io::ErrorKind::NotFound => state.held = None,
                Err(error) => return Err(FileError::new("renew", &held.path)(error)),
            }
        }
        let process = uuid::Uuid::now_v7().to_string();
        let held = Held { path: names::writer_lease(&self.root, &process), process, taken: Instant::now() };
        durable::ensure_folder(&names::leases(&self.root))?;
        durable::create(&held.path, &state.text(&held))?;
        state.held = Some(held);
        Ok(Renewal::Taken)
    }

    /// Gives the lease up, for a process that ends.
    pub(crate) fn release(&self) -> Result<(), FileError> {
        let held = self.state().held.take();
        held.map_or(Ok(()), |held| durable::remove(&held.path).map(|_| ()))
    }

    /// Notes that files are about to be staged.
    pub(crate) fn stage(self: &Arc<Self>) -> Arc<Staging> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.staging.insert(number, Instant::now());
        let lease = match &state.held {
            Some(held) => Lease::At(held.path.clone()),
            None if state.wanted => Lease::Missing,
            None => Lease::NotWanted,
        };
        Arc::new(Staging { leases: self.clone(), number, lease })
    }
}

impl State {
    fn text(&self, held: &Held) -> Vec<u8> {
        let millis = |since: &Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let text = Text {
            format: 1,
            process: held.process.clone(),
            held_ms: millis(&held.taken),
            staging_ms: self.staging.values().min().map(millis),
        };
        padded(&text)
    }
}

/// As long as every lease, so that the new text covers the old one.
fn padded(text: &Text) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(text).unwrap_or_default();
    bytes.resize(LENGTH - 1, b' ');
    bytes.push(b'\n');
    bytes
}

impl Staging {
    /// Whether what was staged may still be committed: the lease under which it was is not revoked.
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let missing = |path: &Path| {
            let gone = io::Error::new(io::ErrorKind::NotFound, "the lease is not held");
            Err(FileError::new("commit under", path)(gone))
        };
        match &self.lease {
            Lease::NotWanted => Ok(()),
            Lease::Missing => missing(&names::leases(&self.leases.root)),
            Lease::At(path) => match disk::look(path) {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing(path),
                Err(error) => Err(FileError::new("look at", path)(error)),
            },
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.leases.state().staging.remove(&self.number);
    }
}

/// The lease of some process, as its file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriterLease {
    path: PathBuf,
    /// When it was renewed.
    renewed: SystemTime,
    /// When it was taken; `None` if the file cannot be read, so that any time is possible.
    taken: Option<SystemTime>,
    /// When the oldest append that was under way at the renewal began; `None` if none was.
    staging: Option<SystemTime>,
}

impl WriterLease {
    /// All leases of a store. That a file is half written makes a lease that protects everything.
    pub(crate) fn list(root: &Path) -> Result<Vec<Self>, FileError> {
        let mut found = Vec::new();
        for name in durable::list(&names::leases(root))? {
            let Some(process) = names::lease_process(&name) else { continue };
            let path = names::writer_lease(root, process);
            // The time first: a renewal in between makes everything seem older than it is, so that
            // more is protected.
            let Some(renewed) = time_of(&path)? else { continue };
            let Some(bytes) = durable::read(&path)? else { continue };
            let text: Option<Text> = serde_json::from_slice(&bytes).ok();
            let before = |ms: u64| renewed.checked_sub(Duration::from_millis(ms));
            let taken = text.as_ref().and_then(|text| before(text.held_ms));
            let staging = match &text {
                Some(text) => text.staging_ms.map(|ms| before(ms).unwrap_or(SystemTime::UNIX_EPOCH)),
                None => Some(SystemTime::UNIX_EPOCH),
            };
            found.push(Self { path, renewed, taken, staging });
        }
        Ok(found)
    }

    /// Whether its process may have staged a file of this time that it has not committed yet.
    pub(crate) fn may_have_staged(&self, modified: SystemTime) -> bool {
        let modified = modified + MARGIN;
        if self.taken.is_some_and(|taken| modified < taken) {
            // The process was not there yet.
            return false;
        }
        if self.renewed <= modified {
            // Nothing was heard of it since.
            return true;
        }
        self.staging.is_some_and(|staging| staging <= modified)
    }

    /// Whether it was last renewed longer ago than this.
    pub(crate) fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        now.duration_since(self.renewed).is_ok_and(|found| found > age)
    }

    /// Takes it from its process: step a of the table above.
    pub(crate) fn revoke(&self) -> Result<(), FileError> {
        durable::remove(&self.path)?;
        if let Some(folder) = self.path.parent() {
            durable::sync_folder(folder)?;
        }
        Ok(())
    }
}

/// When a file was last written; `None` if there is none.
fn time_of(path: &Path) -> Result<Option<SystemTime>, FileError> {
    match disk::look(path).and_then(|found| found.modified()) {
        Ok(time) => Ok(Some(time)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("look at", path)(error)),
    }
}

/// The right to maintain a store, over all processes. Dropping it gives it back.
///
/// The lease with the greatest number counts; whoever finds it expired creates the next one, which can be
/// created once only.
#[derive(Debug)]
pub(crate) struct Maintainer {
    root: PathBuf,
    number: u64,
    path: PathBuf,
}

impl Maintainer {
    /// Takes the right, unless another process has it.
    pub(crate) fn acquire(root: &Path) -> Result<Option<Self>, FileError> {
        let folder = names::leases(root);
        durable::ensure_folder(&folder)?;
        let now = now_of(&folder)?;
        let newest = newest_maintainer(root)?;
        if let Some(number) = newest
            && let Some(renewed) = time_of(&names::maintainer_lease(root, number))?
            && now.duration_since(renewed).unwrap_or_default() < MAINTAINER_EXPIRES
        {
            return Ok(None);
        }
        let number = newest.map_or(1, |number| number + 1);
        let path = names::maintainer_lease(root, number);
        let text =
            Text { format: 1, process: uuid::Uuid::now_v7().to_string(), held_ms: 0, staging_ms: None };
        if !durable::create(&path, &padded(&text))? {
            return Ok(None);
        }
        for older in numbers(root)?.into_iter().filter(|older| *older < number) {
            durable::remove(&names::maintainer_lease(root, older))?;
        }
        Ok(Some(Self { root: root.to_owned(), number, path }))
    }

    /// Goes on; `false` if another process has taken the right.
    pub(crate) fn renew(&self) -> Result<bool, FileError> {
        if newest_maintainer(&self.root)? != Some(self.number) {
            return Ok(false);
        }
        // The first byte of the text: only the file's time matters.
        match disk::overwrite(&self.path, b"{") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(FileError::new("renew", &self.path)(error)),
        }
    }

    /// Now, by the clock of the store's file system.
    pub(crate) fn now(&self) -> Result<SystemTime, FileError> {
        now_of(&names::leases(&self.root))
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        // Best effort: it expires otherwise.
        let _ = durable::remove(&self.path);
    }
}

fn numbers(root: &Path) -> Result<Vec<u64>, FileError> {
    let names = durable::list(&names::leases(root))?;
    Ok(names.iter().filter_map(|name| names::maintainer_number(name)).collect())
}

fn newest_maintainer(root: &Path) -> Result<Option<u64>, FileError> {
    Ok(numbers(root)?.into_iter().max())
}

/// Now, by the clock of the file system that holds a folder.
fn now_of(folder: &Path) -> Result<SystemTime, FileError> {
    let temporary = durable::write_temporary(folder, b"now")?;
    let path = temporary.path();
    disk::look(path).and_then(|found| found.modified()).map_err(FileError::new("look at", path))
}

#[cfg(test)]
mod tests;
