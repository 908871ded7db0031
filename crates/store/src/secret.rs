//! Files that hold secrets: who may read them.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::durable::FileError;
use crate::key::KeyError;

/// Bits of a mode that let others than the owner in.
const NOT_OWNER: u32 = 0o077;
/// The same without the group's right to read.
const NOT_OWNER_OR_READER: u32 = 0o037;

/// Who may read a file that holds a secret, for it to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretAccess {
    /// Its owner only: the mode 0600 or 0400.
    #[default]
    Owner,
    /// A group of this process beside, which may read it and nothing else, while the file is root's or this
    /// process's user's: what Kubernetes makes of a Secret for a pod with an `fsGroup` (root's, 0440).
    OwnerAndGroup,
}

/// The user and the groups of this process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    user: u32,
    groups: Vec<u32>,
}

impl Process {
    /// `None` where the system does not tell (it has no `/proc`).
    fn this() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let numbers = |label: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(label))?;
            line.split_whitespace().map(|number| number.parse().ok()).collect()
        };
        // Real, effective, saved, and that of the file system, by which files are opened.
        let (user, group) = (*numbers("Uid:")?.get(3)?, *numbers("Gid:")?.get(3)?);
        let mut groups = numbers("Groups:")?;
        groups.push(group);
        Some(Self { user, groups })
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
struct Facts {
    mode: u32,
    owner: u32,
    group: u32,
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, owner: metadata.uid(), group: metadata.gid() }
    }
}

/// Whether a file may be taken, or what is wrong with it.
fn judge(
    facts: Facts,
    access: SecretAccess,
    process: impl FnOnce() -> Option<Process>,
) -> Result<(), &'static str> {
    if facts.mode & NOT_OWNER == 0 {
        return Ok(());
    }
    if access == SecretAccess::Owner {
        return Err("group or others may use it");
    }
    if facts.mode & NOT_OWNER_OR_READER != 0 {
        return Err("others may use it, or its group may do more than read it");
    }
    let Some(process) = process() else {
        return Err("its group may read it, and the system does not tell the groups of this process");
    };
    if facts.owner != 0 && facts.owner != process.user {
        return Err("its group may read it, and its owner is neither root nor the user of this process");
    }
    if !process.groups.contains(&facts.group) {
        return Err("its group may read it, and this process is not in that group");
    }
    Ok(())
}

/// Reads a file that holds a secret, if nobody may read it who is not meant to. Links are followed, and what is
/// judged is what is read.
///
/// # Errors
/// If the file cannot be read, or more may read it than `access` allows.
pub fn read_secret(path: &Path, access: SecretAccess) -> Result<Vec<u8>, KeyError> {
    let mut file = File::open(path).map_err(FileError::new("read", path))?;
    let facts = Facts::of(&file.metadata().map_err(FileError::new("read", path))?);
    judge(facts, access, Process::this).map_err(|why| KeyError::Exposed {
        path: path.to_owned(),
        why,
        mode: facts.mode,
        expected: match access {
            SecretAccess::Owner => "0600 or 0400",
            SecretAccess::OwnerAndGroup => "0600 or 0400, or 0640 or 0440 with a group of this process",
        },
    })?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(FileError::new("read", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn process() -> Option<Process> {
        Process::parse("Name:\tsitus\nUid:\t10\t10\t10\t10\nGid:\t20\t20\t20\t20\nGroups:\t30 65532 \n")
    }

    fn judged(mode: u32, owner: u32, group: u32, access: SecretAccess) -> bool {
        judge(Facts { mode, owner, group }, access, process).is_ok()
    }

    #[test]
    fn a_process_has_its_user_and_all_of_its_groups() {
        assert_eq!(process(), Some(Process { user: 10, groups: vec![30, 65532, 20] }));
        assert_eq!(Process::parse("Uid:\t10\n"), None);
    }

    /// Over all modes: what may be taken is a short list.
    #[test]
    fn the_modes_that_are_taken() {
        let taken = |owner, group, access| -> Vec<u32> {
            (0..0o1000).filter(|mode| judged(*mode, owner, group, access) && mode & 0o300 != 0o300).collect()
        };
        let owners = [0, 0o100, 0o200, 0o400, 0o500, 0o600];
        let group_readable = [0, 0o040, 0o100, 0o140, 0o200, 0o240, 0o400, 0o440, 0o500, 0o540, 0o600, 0o640];
        assert_eq!(taken(10, 30, SecretAccess::Owner), owners);
        assert_eq!(taken(0, 65532, SecretAccess::Owner), owners);
        assert_eq!(taken(10, 20, SecretAccess::OwnerAndGroup), group_readable);
        // As Kubernetes mounts them: root's, of the group that `fsGroup` names.
        assert_eq!(taken(0, 65532, SecretAccess::OwnerAndGroup), group_readable);
        // A group whose members are others, and an owner who could write something else into it.
        assert_eq!(taken(0, 31, SecretAccess::OwnerAndGroup), owners);
        assert_eq!(taken(11, 30, SecretAccess::OwnerAndGroup), owners);
        assert!(
            judge(Facts { mode: 0o440, owner: 0, group: 30 }, SecretAccess::OwnerAndGroup, || None).is_err()
        );
    }

    /// The layout of a volume that Kubernetes mounts: the name leads to `..data`, and that to a folder of a time.
    #[test]
    fn what_links_lead_to_is_judged_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("..2026_12_01");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("password"), "hunter2\n").unwrap();
        symlink("..2026_12_01", folder.path().join("..data")).unwrap();
        let path = folder.path().join("password");
        symlink("..data/password", &path).unwrap();
        let mode =
            |mode| fs::set_permissions(data.join("password"), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o440);
        let refused = read_secret(&path, SecretAccess::Owner).unwrap_err().to_string();
        assert!(refused.contains("(mode 0440), expected 0600 or 0400"), "{refused}");
        assert_eq!(read_secret(&path, SecretAccess::OwnerAndGroup).unwrap(), b"hunter2\n");
        for exposed in [0o444, 0o460, 0o644] {
            mode(exposed);
            let refused = read_secret(&path, SecretAccess::OwnerAndGroup).unwrap_err().to_string();
            assert!(refused.contains("others may use it") && !refused.contains("hunter2"), "{refused}");
        }
        mode(0o400);
        assert_eq!(read_secret(&path, SecretAccess::Owner).unwrap(), b"hunter2\n");
    }
}
