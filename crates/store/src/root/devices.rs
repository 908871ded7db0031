//! Roots on devices of their own, for sites that ask for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use situs_model::ZoneId;

use super::{RootError, resolve};
use crate::durable::FileError;

/// The device (`st_dev`) that each root lies on, behind symlinks. A root that does not exist yet is judged by
/// the folder in which it would be made.
///
/// # Errors
/// If a path cannot be resolved.
fn devices(roots: &[(ZoneId, PathBuf)]) -> Result<Vec<(&ZoneId, PathBuf, u64)>, RootError> {
    let device_of = |(zone, root)| {
        let resolved = resolve(root)?;
        let there = |path: &&Path| fs::symlink_metadata(path).is_ok();
        let existing = resolved.ancestors().find(there).unwrap_or(&resolved);
        let found = fs::metadata(existing).map_err(FileError::new("look at", existing))?;
        Ok((zone, resolved, found.dev()))
    };
    roots.iter().map(|(zone, root)| device_of((zone, root))).collect()
}

/// Checks that no two roots lie on the same device.
///
/// A device is what the system calls one (`st_dev`): a mounted file system. So a folder of it that is bound to
/// another place is on the same device, while partitions, volumes of LVM and subvolumes of btrfs are devices of
/// their own though they may share a disk (docs/stores.md).
///
/// # Errors
/// [`RootError::SameDevice`] for the first pair found, or if a path cannot be resolved.
pub fn check_separate(roots: &[(ZoneId, PathBuf)]) -> Result<(), RootError> {
    let mut first_on = BTreeMap::new();
    for (zone, root, device) in devices(roots)? {
        if let Some((first, first_root)) = first_on.insert(device, (zone, root.clone())) {
            let first: &ZoneId = first;
            return Err(RootError::SameDevice {
                first: first.clone(),
                first_root,
                second: zone.clone(),
                second_root: root,
                device,
            });
        }
    }
    Ok(())
}

/// How many devices the roots lie on; `None` if one of them cannot be looked at.
pub(crate) fn count(roots: &[(ZoneId, PathBuf)]) -> Option<u64> {
    let found = devices(roots).ok()?;
    let distinct: std::collections::BTreeSet<u64> = found.iter().map(|(.., device)| *device).collect();
    Some(distinct.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(cn: &Path, eu: &Path) -> Result<(), RootError> {
        let zone = |name: &str| name.parse::<ZoneId>().unwrap();
        check_separate(&[(zone("CN"), cn.to_owned()), (zone("EU"), eu.to_owned())])
    }

    #[test]
    fn roots_on_one_device_are_refused_with_both_zones_and_roots() {
        let dir = tempfile::tempdir().unwrap();
        let (cn, eu) = (dir.path().join("cn"), dir.path().join("eu"));
        fs::create_dir(&cn).unwrap();
        // The other one does not exist yet: it would be made on the same device.
        let refused = check(&cn, &eu).unwrap_err();
        let RootError::SameDevice { first, second, first_root, second_root, .. } = &refused else {
            panic!("{refused}")
        };
        assert_eq!((first.as_str(), second.as_str()), ("CN", "EU"));
        let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
        assert_eq!((first_root, second_root), (&at("cn"), &at("eu")));
        let text = refused.to_string();
        for part in ["zones CN and EU", &at("cn").display().to_string(), &at("eu").display().to_string()] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            check_separate(&[("CN".parse().unwrap(), cn)]).is_ok(),
            "one root has no other to share with"
        );
    }

    /// Where two devices can be had without being root: a temporary folder, and memory.
    #[test]
    fn roots_on_two_devices_are_accepted_and_symlinks_do_not_make_two_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        let memory = Path::new("/dev/shm");
        let there = device(memory).ok().filter(|found| *found != device(dir.path()).unwrap());
        assert!(
            there.is_some() || std::env::var_os("SITUS_ONE_DEVICE").is_some(),
            "this test needs two devices, and /dev/shm is none beside that of temporary folders: set TMPDIR to a \
             folder on another device, or SITUS_ONE_DEVICE to say that it is left out"
        );
        if there.is_none() {
            return;
        }
        let other = tempfile::tempdir_in(memory).unwrap();
        let (cn, eu) = (dir.path().join("cn"), other.path().join("eu"));
        check(&cn, &eu).unwrap();
        fs::create_dir(&cn).unwrap();
        fs::create_dir(&eu).unwrap();
        check(&cn, &eu).unwrap();
        // A path that only looks as if it led to the other device.
        let alias = other.path().join("alias");
        symlink(dir.path(), &alias).unwrap();
        for eu in [alias.join("eu"), alias.join("not/yet")] {
            let refused = check(&cn, &eu).unwrap_err();
            assert!(matches!(refused, RootError::SameDevice { .. }), "{refused}");
        }
    }
}
