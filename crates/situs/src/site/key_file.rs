//! Files that hold keys and other secrets, and who may read them.

use std::path::PathBuf;

use situs_model::doc::{Diagnostics, Document, Map, Node};
use situs_store::{KeyError, PublicKey, SecretAccess};

use super::keys::keys_of;
use super::place::Place;

/// A key's file, and where the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// The file.
    pub path: PathBuf,
    /// Who may read it, if what it holds is secret.
    pub access: SecretAccess,
    pub(super) place: Place,
}

impl KeyFile {
    /// That which `node` names.
    pub(super) fn new(doc: &Document, node: &Node, path: PathBuf, access: SecretAccess) -> Self {
        Self { path, access, place: Place::of(doc, node) }
    }

    /// Reads a key of `trusted-keys`.
    ///
    /// # Errors
    /// What is wrong with the file, at the place that names it.
    pub fn public(&self) -> Result<PublicKey, Diagnostics> {
        PublicKey::read(&self.path).map_err(|error| {
            Diagnostics(vec![self.place.problem(format!("`trusted-keys` in receipts: {error}"))])
        })
    }

    /// An error in words, with the setting that may be what is missing.
    pub(super) fn told(&self, error: &KeyError) -> String {
        match error {
            // What Kubernetes mounts has such a mode, and the owner of the volume cannot change it.
            KeyError::Exposed { mode, .. } if self.access == SecretAccess::Owner && mode & 0o037 == 0 => {
                format!(
                    "{error}; a file that Kubernetes mounts wants `key-files: {{ group-readable: true }}`"
                )
            }
            _ => error.to_string(),
        }
    }
}

/// Reads `key-files` of the site.
pub(super) fn access(doc: &Document, site: &Map<'_>) -> SecretAccess {
    let files = site.optional("key-files").and_then(|node| doc.map(node, "key-files", &keys_of("key-files")));
    match files.and_then(|files| files.optional_bool("group-readable")) {
        Some(true) => SecretAccess::OwnerAndGroup,
        _ => SecretAccess::Owner,
    }
}
