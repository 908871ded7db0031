//! `receipts` in `site.yaml`: the key that signs them, or that nothing does.

use std::path::Path;

use situs_model::doc::{Diagnostics, Document, Map, Node};
use situs_store::{ReceiptKey, SecretAccess};

use super::key_file::KeyFile;
use super::keys::keys_of;

/// How receipts are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipts {
    /// With the key in a file.
    Signed(KeyFile),
    /// Not at all: whoever can write the store can then write receipts that nobody can tell from true ones.
    AllowUnsigned,
}

impl Receipts {
    /// Reads the key; `None` if receipts are not signed.
    ///
    /// # Errors
    /// What is wrong with the file, at the place that names it.
    pub fn key(&self) -> Result<Option<ReceiptKey>, Diagnostics> {
        let Self::Signed(key) = self else { return Ok(None) };
        ReceiptKey::read(&key.path, key.access).map(Some).map_err(|error| {
            Diagnostics(vec![key.place.problem(format!("`signing-key` in receipts: {}", key.told(&error)))])
        })
    }
}

/// Reads `receipts` of the site: how they are signed, and the keys that are trusted beside.
pub(super) fn read(
    doc: &Document,
    site: &Map<'_>,
    folder: &Path,
    access: SecretAccess,
) -> Option<(Receipts, Vec<KeyFile>)> {
    let Some(node) = site.optional("receipts") else {
        doc.report(
            site.node(),
            "the site needs a key `receipts`: expected `receipts: { signing-key: FILE }`, a file that \
             `situs store key FILE` makes, or `receipts: { allow-unsigned: true }`",
        );
        return None;
    };
    let receipts = doc.map(node, "receipts", &keys_of("receipts"))?;
    let path = receipts.optional_string("signing-key");
    let unsigned = receipts.optional_bool("allow-unsigned");
    let key_file = |at: &Node, path: String| KeyFile::new(doc, at, folder.join(path), access);
    let trusted = receipts.optional_strings("trusted-keys");
    let trusted = trusted.into_iter().map(|(at, path)| key_file(at, path)).collect();
    if let (Some(at), None) = (receipts.optional("trusted-keys"), receipts.optional("signing-key")) {
        doc.report(at, "`trusted-keys` in receipts: expected only beside `signing-key`");
    }
    let signed = match (receipts.optional("signing-key"), receipts.optional("allow-unsigned")) {
        (Some(_), Some(at)) if unsigned == Some(true) => {
            doc.report(at, "`allow-unsigned` in receipts: expected `false` or nothing beside `signing-key`");
            None
        }
        (Some(at), _) => path.map(|path| Receipts::Signed(key_file(at, path))),
        (None, Some(_)) if unsigned == Some(true) => Some(Receipts::AllowUnsigned),
        // That it is no boolean is reported already.
        (None, Some(_)) if unsigned.is_none() => None,
        (None, _) => {
            doc.report(node, "receipts needs a key `signing-key`, or else `allow-unsigned: true`");
            None
        }
    };
    signed.map(|signed| (signed, trusted))
}
