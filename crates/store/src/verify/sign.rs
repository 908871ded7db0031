//! The signatures of receipts.

use std::collections::BTreeMap;
use std::path::Path;

use super::report::{Finding, Kind, Report};
use crate::key::{PublicKey, SignatureState};
use crate::{durable, names};

/// The keys that may have signed, by id.
#[derive(Debug)]
pub(super) struct Keys {
    known: BTreeMap<String, PublicKey>,
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
        let archive = home.filter(|_| pinned.is_empty()).map(names::keys);
        if let Some(archive) = archive {
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
        report.count(
            Kind::Signatures,
            if pinned.is_empty() { "keys archived" } else { "keys pinned" },
            known.len() as u64,
        );
        Self { known, allow_unsigned }
    }

    /// Checks the signature of a receipt's hash.
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
