//! What a power cut takes: names whose folder was not synced since they were given, and bytes that were not
//! synced since they were written. It takes all of them, which is the most that it can.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Answer, Op};

/// What was done and is not durable.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// In the order in which they came.
    names: Vec<PathBuf>,
    /// Files, by the number of their inode.
    bytes: HashSet<u64>,
}

impl Unsynced {
    /// A step is about to be made, of which this shall become.
    pub(crate) fn note(&mut self, op: Op, path: &Path, answer: Answer) {
        let is_done = matches!(answer, Answer::Done | Answer::Lost(_));
        let inode = || path.metadata().map(|found| found.ino());
        match op {
            Op::Create | Op::Link | Op::CreateFolder if is_done && path.symlink_metadata().is_err() => {
                self.names.push(path.to_owned());
            }
            Op::Write | Op::Overwrite if !matches!(answer, Answer::Refused(_)) => {
                self.bytes.extend(inode());
            }
            Op::Sync if is_done => {
                if let Ok(inode) = inode() {
                    self.bytes.remove(&inode);
                }
            }
            Op::SyncFolder if is_done => self.names.retain(|name| name.parent() != Some(path)),
            _ => {}
        }
    }

    /// The power is cut.
    pub(crate) fn cut(&mut self, root: &Path) {
        for name in self.names.drain(..).rev() {
            // What is gone already was removed since.
            let _ = if name.is_dir() { fs::remove_dir_all(&name) } else { fs::remove_file(&name) };
        }
        empty(root, &self.bytes);
        self.bytes.clear();
    }
}

/// Empties these files wherever they lie.
fn empty(folder: &Path, inodes: &HashSet<u64>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            empty(&entry.path(), inodes);
        } else if inodes.contains(&metadata.ino()) {
            fs::OpenOptions::new().write(true).open(entry.path()).unwrap().set_len(0).unwrap();
        }
    }
}
