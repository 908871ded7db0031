//! Files that survive a power cut once a function has returned. `object_store`'s local files are
//! never synced, so nothing that a store writes goes through it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::{disk, names};

/// What could not be done to which path. Its text carries paths and codes of the system only.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub(crate) struct FileError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// Bits of a mode that let others than the owner in.
pub(crate) const OTHERS: u32 = 0o077;

/// The mode of what a path leads to. `action` is what an error says could not be done.
pub(crate) fn mode_of(action: &'static str, path: &Path) -> Result<u32, FileError> {
    let metadata = fs::metadata(path).map_err(FileError::new(action, path))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

/// Syncs a folder, so that the names in it survive.
pub(crate) fn sync_folder(path: &Path) -> Result<(), FileError> {
    disk::sync_folder(path).map_err(FileError::new("sync", path))
}

/// Makes sure that `path` is a real folder (0700), not a symlink to one elsewhere (RES-2), and that
/// its name survives. The parent must exist.
pub(crate) fn ensure_folder(path: &Path) -> Result<(), FileError> {
    match disk::look(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            return Err(FileError::new("use", path)(io::Error::other("a store's folder must be a folder")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FileError::new("look at", path)(error)),
    }
    match disk::create_folder(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
        // Somebody else was faster; look at what they made.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => ensure_folder(path),
        Err(error) => Err(FileError::new("create", path)(error)),
    }
}

/// Opens a fresh file (0600) for writing.
pub(crate) fn open_temporary(folder: &Path) -> Result<(File, Temporary), FileError> {
    let path = names::temporary(folder);
    let file = disk::create_new(&path).map_err(FileError::new("create", &path))?;
    Ok((file, Temporary { path }))
}

/// Writes these bytes into a fresh file (0600) and syncs them.
pub(crate) fn write_temporary(folder: &Path, bytes: &[u8]) -> Result<Temporary, FileError> {
    let (mut file, temporary) = open_temporary(folder)?;
    disk::write_all(&mut file, &temporary.path, bytes).map_err(FileError::new("write", &temporary.path))?;
    disk::sync(&file, &temporary.path).map_err(FileError::new("sync", &temporary.path))?;
    Ok(temporary)
}

/// A file that has no name that stays. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a synced file its final name unless that is taken, in which case `false` is returned.
    /// The name does not survive before its folder was synced.
    pub(crate) fn link(&self, target: &Path) -> Result<bool, FileError> {
        match disk::link(&self.path, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(FileError::new("create", target)(error)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort: what stays behind is skipped by every reader and removed by `maintain`.
        let _ = disk::remove(&self.path);
    }
}

/// Creates `target` with these bytes unless it exists, in which case `false` is returned. The bytes
/// are synced before the name appears, so a reader never sees half of them, even after a power cut.
/// When this returns `Ok(true)`, name and bytes survive.
pub(crate) fn create(target: &Path, bytes: &[u8]) -> Result<bool, FileError> {
    create_if(target, bytes, || Ok(()))
}

/// As [`create`], provided that `check` passes between the writing of the bytes and the appearance of
/// the name. Whoever makes the check fail and then removes the folder's temporary files knows that
/// the name does not appear any more (see [`crate::lease`]).
pub(crate) fn create_if(
    target: &Path,
    bytes: &[u8],
    check: impl FnOnce() -> Result<(), FileError>,
) -> Result<bool, FileError> {
    let folder = target.parent().unwrap_or(target);
    let temporary = write_temporary(folder, bytes)?;
    check()?;
    let created = temporary.link(target)?;
    drop(temporary);
    if created {
        sync_folder(folder)?;
    }
    Ok(created)
}

/// Writes `target` with these bytes, over what was there. Whoever reads sees the one or the other,
/// also after a power cut.
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = target.parent().unwrap_or(target);
    let temporary = write_temporary(folder, bytes)?;
    disk::rename(temporary.path(), target).map_err(FileError::new("replace", target))?;
    sync_folder(folder)
}

/// Removes a file; that it is gone already is no error. Its bytes, or `None` if it was gone.
pub(crate) fn remove(path: &Path) -> Result<Option<u64>, FileError> {
    let size = disk::look(path).map_or(0, |found| found.len());
    match disk::remove(path) {
        Ok(()) => Ok(Some(size)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("remove", path)(error)),
    }
}

/// Reads a whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match disk::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path)(error)),
    }
}

/// The names in a folder, in order; none if there is no such folder. Names that are not UTF-8 are
/// nobody's.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, FileError> {
    let paths = match disk::list(folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::new("list", folder)(error)),
    };
    let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let mut found: Vec<String> = paths.into_iter().filter_map(name).collect();
    found.sort_unstable();
    Ok(found)
}
