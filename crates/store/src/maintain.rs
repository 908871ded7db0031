//! What keeps tables quick to open, outside the commit path.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deltalake::checkpoints::create_checkpoint_from_table_url_and_cleanup;
use situs_model::StoreIdentity;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use url::Url;

use crate::durable::{self, FileError};
use crate::error::{Fault, delta};
use crate::names::{self, LogFile};
use crate::{root, tables};

/// After this time a file that is still being written is one whose writer has died.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Checkpoints the tables of a root that have had `every` commits since their last checkpoint, and
/// removes what dead writers left. Returns how many tables were checkpointed.
pub(crate) async fn maintain(root: &Path, identity: &StoreIdentity, every: u64) -> Result<u64, Fault> {
    let (root, identity) = (root.to_owned(), identity.clone());
    // delta-rs writes checkpoints with calls that block, so all of it runs where blocking is allowed.
    spawn_blocking(move || {
        root::expect_store(&root, &identity)?;
        remove_abandoned(&root)?;
        let mut count = 0;
        for table in tables::list(&root)? {
            let folder = names::table(&root, &table);
            // The log folder and those of the days.
            for name in durable::list(&folder)? {
                if folder.join(&name).symlink_metadata().is_ok_and(|found| found.is_dir()) {
                    remove_abandoned(&folder.join(&name))?;
                }
            }
            if let Some(version) = due(&folder, every)? {
                checkpoint(&folder, version)?;
                count += 1;
            }
        }
        Ok(count)
    })
    .await?
}

/// The newest version, if there were `every` commits since the last checkpoint.
fn due(folder: &Path, every: u64) -> Result<Option<u64>, Fault> {
    let (mut newest, mut checkpointed) = (None, None);
    for name in durable::list(&names::log(folder))? {
        match names::log_file(&name) {
            Some(LogFile::Entry(version)) => newest = newest.max(Some(version)),
            Some(LogFile::Checkpoint(version)) => checkpointed = checkpointed.max(Some(version)),
            None => {}
        }
    }
    let since = |newest: u64| newest + 1 - checkpointed.map_or(0, |version: u64| version.min(newest) + 1);
    Ok(newest.filter(|newest| since(*newest) >= every.max(1)))
}

fn checkpoint(folder: &Path, version: u64) -> Result<(), Fault> {
    let url = Url::from_directory_path(folder)
        .map_err(|()| Fault::stop(format!("{} is not an absolute path", folder.display())))?;
    Handle::current()
        .block_on(create_checkpoint_from_table_url_and_cleanup(url, version, Some(false), None))
        .map_err(delta("write a checkpoint"))?;
    let log = names::log(folder);
    let of_version = |name: &String| names::log_file(name) == Some(LogFile::Checkpoint(version));
    let mut files: Vec<PathBuf> =
        durable::list(&log)?.iter().filter(|name| of_version(name)).map(|name| log.join(name)).collect();
    files.push(names::last_checkpoint(folder));
    for path in &files {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(FileError::new("protect", path))?;
        File::open(path).and_then(|file| file.sync_all()).map_err(FileError::new("sync", path))?;
    }
    durable::sync_folder(&log)?;
    Ok(())
}

fn remove_abandoned(folder: &Path) -> Result<(), Fault> {
    for name in durable::list(folder)?.iter().filter(|name| names::is_temporary(name)) {
        let path = folder.join(name);
        let age = path.symlink_metadata().and_then(|found| found.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > ABANDONED) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_old_temporary_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |age: Duration| {
            let path = names::temporary(dir.path());
            File::create(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let (old, young) = (make(2 * ABANDONED), make(ABANDONED / 2));
        let kept = dir.path().join("f-0.parquet");
        File::create(&kept).unwrap().set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        remove_abandoned(dir.path()).unwrap();
        assert!(!old.exists() && young.exists() && kept.exists());
    }
}
