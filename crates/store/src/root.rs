//! A store's root and the marker in it that says whose it is.

pub(crate) mod devices;

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use situs_model::{StoreIdentity, ZoneId};

use crate::durable::{self, FileError};
use crate::error::Fault;
use crate::names;

/// The format of stores that this version writes and reads.
const FORMAT: u32 = 1;
/// What a fresh volume may hold without being somebody's.
const LOST_AND_FOUND: &str = "lost+found";

/// Why a root is refused, or cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no marker (RES-8).
    #[error("{} is not a store: it has no marker; `situs store init` makes one", root.display())]
    NoMarker {
        /// The root.
        root: PathBuf,
    },
    /// The marker cannot be understood.
    #[error("the marker of {} cannot be understood: {reason}", root.display())]
    BadMarker {
        /// The root.
        root: PathBuf,
        /// Why.
        reason: String,
    },
    /// The marker names another zone (RES-8).
    #[error("{} is the store of zone {found}, not of zone {expected}", root.display())]
    OtherZone {
        /// The root.
        root: PathBuf,
        /// The zone that it should be of.
        expected: ZoneId,
        /// The zone that its marker names.
        found: ZoneId,
    },
    /// `init` found files that are not a store's.
    #[error("{} is not empty and has no marker", root.display())]
    NotEmpty {
        /// The root.
        root: PathBuf,
    },
    /// Others than the owner may use the root.
    #[error("{}: group or others may use it (mode {mode:04o}), expected 0700; `chmod 700` it", root.display())]
    Exposed {
        /// The root.
        root: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The path is relative in a way that cannot be resolved, or leads to something else than a folder.
    #[error("{} cannot be a root: {reason}", root.display())]
    NotAFolder {
        /// The root.
        root: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// Two zones have the same root (RES-2).
    #[error("zones {first} and {second} have the same root, {}", root.display())]
    SameRoot {
        /// One zone.
        first: ZoneId,
        /// The other zone.
        second: ZoneId,
        /// The root, with symlinks resolved.
        root: PathBuf,
    },
    /// One root lies inside another (RES-2).
    #[error("{} lies inside another store's root, {}", inner.display(), outer.display())]
    Nested {
        /// The inner root, with symlinks resolved.
        inner: PathBuf,
        /// The outer root, with symlinks resolved.
        outer: PathBuf,
    },
    /// Two roots lie on the same device, and the site asks for one each.
    #[error(
        "zones {first} and {second} have their roots on the same device ({device}), {} and {}, but \
         `separate-devices` asks for a device for each; is a volume not mounted?",
        first_root.display(), second_root.display()
    )]
    SameDevice {
        /// One zone.
        first: ZoneId,
        /// Its root, with symlinks resolved.
        first_root: PathBuf,
        /// The other zone.
        second: ZoneId,
        /// Its root, with symlinks resolved.
        second_root: PathBuf,
        /// The device's number, as `stat` shows it.
        device: u64,
    },
}

impl From<FileError> for RootError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

/// The marker file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    format: u32,
    zone: String,
    store_id: String,
    created: String,
}

/// Makes `root` the store of `zone`: creates it (0700) and writes the marker. A folder that is there and empty
/// is closed to others first. A root that already is the zone's store is left as it is, and its identity returned.
///
/// # Errors
/// If the root has another zone's marker, is not empty without a marker, lies inside another store,
/// or cannot be written.
pub fn init(root: &Path, zone: &ZoneId) -> Result<StoreIdentity, RootError> {
    DirBuilder::new().mode(0o700).recursive(true).create(root).map_err(FileError::new("create", root))?;
    let root = canonical(root)?;
    for outer in root.ancestors().skip(1) {
        if names::marker(outer).exists() {
            return Err(RootError::Nested { inner: root.clone(), outer: outer.to_owned() });
        }
    }
    if durable::read(&names::marker(&root))?.is_none() {
        let foreign = |name: &String| !names::is_temporary(name) && name != LOST_AND_FOUND;
        if durable::list(&root)?.iter().any(foreign) {
            return Err(RootError::NotEmpty { root });
        }
        if durable::mode_of("look at", &root)? & durable::OTHERS != 0 {
            let closed = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&root, closed).map_err(FileError::new("close to others", &root))?;
        }
        let marker = Marker {
            format: FORMAT,
            zone: zone.as_str().to_owned(),
            store_id: uuid::Uuid::now_v7().to_string(),
            created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        let bytes = serde_json::to_vec_pretty(&marker)
            .map_err(|error| RootError::BadMarker { root: root.clone(), reason: error.to_string() })?;
        // If another process wrote its marker first, that one is read below.
        durable::create(&names::marker(&root), &bytes)?;
        if let Some(parent) = root.parent() {
            durable::sync_folder(parent)?;
        }
    }
    expect_zone(&root, zone)
}

/// Reads the marker of a root.
///
/// # Errors
/// If there is no marker, or none that can be understood.
pub fn identify(root: &Path) -> Result<StoreIdentity, RootError> {
    let bad = |reason: String| RootError::BadMarker { root: root.to_owned(), reason };
    let bytes =
        durable::read(&names::marker(root))?.ok_or_else(|| RootError::NoMarker { root: root.to_owned() })?;
    let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    if marker.format != FORMAT {
        return Err(bad(format!("format {} is not known here, only {FORMAT}", marker.format)));
    }
    let zone = marker.zone.parse().map_err(|error: situs_model::InvalidWord| bad(error.to_string()))?;
    Ok(StoreIdentity { zone, store_id: marker.store_id })
}

/// Reads the marker of a root and checks that it names `zone` (RES-8).
pub(crate) fn expect_zone(root: &Path, zone: &ZoneId) -> Result<StoreIdentity, RootError> {
    let identity = identify(root)?;
    if identity.zone != *zone {
        return Err(RootError::OtherZone {
            root: root.to_owned(),
            expected: zone.clone(),
            found: identity.zone,
        });
    }
    Ok(identity)
}

/// Checks that a root which is in use is still the store that was opened (RES-8): a volume can be
/// unmounted or another mounted in its place, and an empty mount point looks like a store without tables.
pub(crate) fn expect_store(root: &Path, store: &StoreIdentity) -> Result<(), Fault> {
    let found = expect_zone(root, &store.zone)?;
    if found.store_id != store.store_id {
        return Err(Fault::stop(format!(
            "{} is the store {} now, not {}",
            root.display(),
            found.store_id,
            store.store_id
        )));
    }
    Ok(())
}

/// Checks that nobody but its owner may use a root: what a store writes is 0600 and 0700 whatever the umask
/// says, but whoever may write into the root could rename its folders.
pub(crate) fn expect_closed(root: &Path) -> Result<(), RootError> {
    let mode = durable::mode_of("look at", root)?;
    if mode & durable::OTHERS != 0 { Err(RootError::Exposed { root: root.to_owned(), mode }) } else { Ok(()) }
}

/// Resolves symlinks.
pub(crate) fn canonical(root: &Path) -> Result<PathBuf, RootError> {
    Ok(fs::canonicalize(root).map_err(FileError::new("resolve", root))?)
}

/// Checks that no two roots are the same folder and none lies inside another (RES-2), whatever
/// symlinks and mounts say. Roots that do not exist yet are judged by the folders that do.
///
/// # Errors
/// [`RootError::SameRoot`] or [`RootError::Nested`] for the first pair found, or if a path cannot be
/// resolved.
pub fn check_disjoint(roots: &[(ZoneId, PathBuf)]) -> Result<(), RootError> {
    let mut resolved: Vec<(&ZoneId, PathBuf)> = Vec::new();
    for (zone, root) in roots {
        resolved.push((zone, resolve(root)?));
    }
    for (i, (zone, root)) in resolved.iter().enumerate() {
        for (other, other_root) in &resolved[i + 1..] {
            if root == other_root {
                return Err(RootError::SameRoot {
                    first: (*zone).clone(),
                    second: (*other).clone(),
                    root: root.clone(),
                });
            }
        }
    }
    // The same folder can have several paths without symlinks (bind mounts), so folders are also
    // compared by what the file system says they are.
    let mut roots_by_inode: HashMap<(u64, u64), usize> = HashMap::new();
    for (i, (zone, root)) in resolved.iter().enumerate() {
        let Ok(metadata) = fs::metadata(root) else { continue };
        if let Some(first) = roots_by_inode.insert((metadata.dev(), metadata.ino()), i) {
            return Err(RootError::SameRoot {
                first: resolved[first].0.clone(),
                second: (*zone).clone(),
                root: root.clone(),
            });
        }
    }
    for (_, inner) in &resolved {
        for above in inner.ancestors().skip(1) {
            let by_inode = fs::metadata(above)
                .ok()
                .and_then(|metadata| roots_by_inode.get(&(metadata.dev(), metadata.ino())))
                .map(|outer| resolved[*outer].1.clone());
            let by_path =
                || resolved.iter().find(|(_, outer)| outer == above).map(|(_, outer)| outer.clone());
            if let Some(outer) = by_inode.or_else(by_path) {
                return Err(RootError::Nested { inner: inner.clone(), outer });
            }
        }
    }
    Ok(())
}

/// Resolves symlinks of the part of a path that exists; the rest is appended as it stands.
fn resolve(root: &Path) -> Result<PathBuf, RootError> {
    let absolute = std::path::absolute(root).map_err(FileError::new("resolve", root))?;
    let mut rest: Vec<&std::ffi::OsStr> = Vec::new();
    let mut existing = absolute.as_path();
    // A symlink to nowhere "does not exist" but must not be taken for a name that is free.
    while fs::symlink_metadata(existing).is_err() {
        let refused = |reason| RootError::NotAFolder { root: root.to_owned(), reason };
        match existing.components().next_back() {
            Some(Component::Normal(name)) => rest.push(name),
            _ => return Err(refused("`..` after a folder that does not exist")),
        }
        existing = existing.parent().ok_or_else(|| refused("nothing of it exists"))?;
    }
    let mut resolved = canonical(existing)?;
    resolved.extend(rest.iter().rev());
    Ok(resolved)
}

#[cfg(test)]
mod tests;
