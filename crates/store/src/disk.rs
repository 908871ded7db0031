//! Every input and output of a store that must go well for a promise to be kept: nothing below this module
//! but the operating system, nothing of the store beside it but the contents of open files.
//!
//! In this crate's own tests each of these steps can be watched and made to fail (`simulation`). Anywhere else
//! they are the calls that they name: nothing of a simulation is compiled into what ships, nor into other
//! crates' tests.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use deltalake::logstore::{LogStoreRef, StorageConfig};
use situs_observe::{Synced, observe_sync};
use url::Url;

use crate::error::{Fault, delta};

/// What is done to a path.
#[cfg_attr(not(test), expect(dead_code, reason = "only a simulation looks at it"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Op {
    /// A file is created and opened.
    Create,
    /// Bytes are written into a file that was created.
    Write,
    /// Bytes are written over others, in place.
    Overwrite,
    /// A file's bytes are made durable.
    Sync,
    /// The names in a folder are made durable.
    SyncFolder,
    /// A folder is created.
    CreateFolder,
    /// A file gets one more name, which must be free.
    Link,
    /// A file gets another name, over whatever has it.
    Rename,
    /// A name is taken from a file.
    Remove,
    /// A file is read.
    Read,
    /// A file is opened to be read in parts.
    Open,
    /// A file's length and times are looked at.
    Look,
    /// The names in a folder are listed.
    List,
    /// delta-rs reads a file of the log.
    DeltaRead,
    /// delta-rs lists the files of the log.
    DeltaList,
    /// Nothing is done; others are given the time to do something.
    Rest,
}

#[cfg(not(test))]
#[inline(always)]
fn act<T>(_op: Op, _path: &Path, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    step()
}

#[cfg(test)]
use crate::simulation::{act, act_on_bytes, act_sync};

#[cfg(not(test))]
#[inline(always)]
fn act_sync(_op: Op, _path: &Path, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    step()
}

#[cfg(not(test))]
#[inline(always)]
fn act_on_bytes(
    _op: Op,
    _path: &Path,
    bytes: &[u8],
    step: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    step(bytes)
}

/// Creates a file (0600) whose name is free.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    act(Op::Create, path, || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))
}

/// Writes all of these bytes into a fresh file.
pub(crate) fn write_all(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    act_on_bytes(Op::Write, path, bytes, |bytes| file.write_all(bytes))
}

/// Writes these bytes over the first ones of a file that is there.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    act_on_bytes(Op::Overwrite, path, bytes, |bytes| {
        OpenOptions::new().write(true).open(path)?.write_all_at(bytes, 0)
    })
}

/// Makes a file's bytes durable.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    act_sync(Op::Sync, path, || timed(Synced::File, || file.sync_all()))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    act_sync(Op::SyncFolder, path, || {
        let folder = File::open(path)?;
        timed(Synced::Folder, || folder.sync_all())
    })
}

/// Syncs, and notes how long that took: a slow disk shows here before it shows anywhere else.
fn timed(what: Synced, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let started = Instant::now();
    let result = sync();
    observe_sync(what, started.elapsed());
    result
}

/// Bytes that are free for us in a path's file system, and all that it has.
pub(crate) fn space(path: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(path)?;
    Ok((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

/// Creates a folder (0700).
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    act(Op::CreateFolder, path, || DirBuilder::new().mode(0o700).create(path))
}

/// Gives a file one more name, which must be free.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    act(Op::Link, to, || fs::hard_link(from, to))
}

/// Gives a file another name, over whatever has it.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    act(Op::Rename, to, || fs::rename(from, to))
}

/// Takes a file's name.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    act(Op::Remove, path, || fs::remove_file(path))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    act(Op::Read, path, || fs::read(path))
}

/// Opens a file to read parts of it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    act(Op::Open, path, || File::open(path))
}

/// What a name is, without following a symlink.
pub(crate) fn look(path: &Path) -> io::Result<Metadata> {
    act(Op::Look, path, || path.symlink_metadata())
}

/// The paths in a folder, in no order.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    act(Op::List, folder, || fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect())
}

/// Lets a thread wait for others.
pub(crate) fn rest(duration: Duration) {
    // Whoever plays the others decides how long it is.
    #[cfg(test)]
    if crate::simulation::rest() {
        return;
    }
    std::thread::sleep(duration);
}

/// Lets a task wait for others.
pub(crate) async fn pause(duration: Duration) {
    #[cfg(test)]
    if crate::simulation::rest() {
        return;
    }
    tokio::time::sleep(duration).await;
}

/// Carries out work where blocking is allowed.
///
/// # Errors
/// If it panics, which is a bug, or is cancelled.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    // Whoever is watched makes one step after the other.
    #[cfg(test)]
    if crate::simulation::is_watched() {
        return Ok(work());
    }
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// delta-rs's access to a table's folder.
pub(crate) fn log_store(folder: &Path) -> Result<LogStoreRef, Fault> {
    let url = Url::from_directory_path(folder)
        .map_err(|()| Fault::stop(format!("{} is not an absolute path", folder.display())))?;
    #[cfg(test)]
    if let Some(store) = crate::simulation::object_store() {
        return deltalake::logstore::logstore_with(store, &url, StorageConfig::default())
            .map_err(delta("open the table's folder"));
    }
    deltalake::logstore::logstore_for(&url, StorageConfig::default())
        .map_err(delta("open the table's folder"))
}
