//! The signatures of receipts and of ledgers' entries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::report::{Finding, Kind, Report};
use crate::key::{PublicKey, SignatureState};
use crate::{durable, names};

/// The keys that may have signed, by id.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    known: BTreeMap<String, PublicKey>,
    /// The store whose archive they are from.
    home: Option<PathBuf>,
    /// Whether no archive counts.
    pinned: bool,
    allow_unsigned: bool,
}

impl Keys {
    /// The keys that are pinned, or else those that the home store has archived.
    pub(super) fn new(
        pinned: &[PublicKey],
        home: Option<&Path>,
        allow_unsigned: bool,
        report: &mut Report,
    ) -> Self {
        let mut known: BTreeMap<String, PublicKey> =
            pinned.iter().map(|key| (key.id().to_owned(), key.clone())).collect();
        let archive = home.filter(|_| pinned.is_empty());
        if let Some(home) = archive {
            read_archive(home, &mut known, report);
        }
        report.count(
            Kind::Signatures,
            if pinned.is_empty() { "keys archived" } else { "keys pinned" },
            known.len() as u64,
        );
        Self { known, home: home.map(Path::to_owned), pinned: !pinned.is_empty(), allow_unsigned }
    }

    /// These and those that another store has archived, unless keys are pinned.
    pub(super) fn with_archive(&self, root: &Path, report: &mut Report) -> Self {
        let mut keys = self.clone();
        if !self.pinned && self.home.as_deref() != Some(root) {
            read_archive(root, &mut keys.known, report);
        }
        keys
    }

    /// Checks the signature of the hash of a receipt or of an entry of a ledger.
    pub(super) fn check(
        &self,
        hash: &[u8; 32],
        key_id: Option<&str>,
        signature: Option<&str>,
        place: &dyn Fn(&str) -> Finding,
        report: &mut Report,
    ) {
        let state = SignatureState::of(Some(hash), key_id, signature, |id| self.known.get(id));
        let signed = if state == SignatureState::Unsigned { "unsigned" } else { "signed" };
        report.count(Kind::Signatures, signed, 1);
        let problem = match state {
            SignatureState::Unsigned if !self.allow_unsigned => "it is not signed".to_owned(),
            SignatureState::Unsigned | SignatureState::Holds(_) => return,
            SignatureState::UnknownKey(id) => format!("it is signed with key {id}, which is not known"),
            SignatureState::Broken(id) => format!("its signature is not that of key {id}"),
        };
        report.violation(Kind::Signatures, place(&problem));
    }
}

/// Takes in the keys that a store has archived, each under its own name.
fn read_archive(root: &Path, known: &mut BTreeMap<String, PublicKey>, report: &mut Report) {
    let archive = names::keys(root);
    for name in durable::list(&archive).unwrap_or_default() {
        let file = format!("{}/{name}", archive.file_name().unwrap_or_default().display());
        let text = durable::read(&archive.join(&name)).ok().flatten().unwrap_or_default();
        match String::from_utf8(text).ok().and_then(|text| PublicKey::parse(&text)) {
            _ if names::is_temporary(&name) => {}
            Some(key) if format!("{}.pem", key.id()) == name => {
                known.insert(key.id().to_owned(), key);
            }
            Some(_) => report.violation(
                Kind::Signatures,
                Finding { file: Some(file), ..Finding::new("is the public key of another id") },
            ),
            None => report.violation(
                Kind::Signatures,
                Finding { file: Some(file), ..Finding::new("is no Ed25519 public key") },
            ),
        }
    }
}
