//! What the commit of a re-tagging says: all that the ledger's entry is made of.

use serde::{Deserialize, Serialize};
use situs_model::{ContentVersion, LedgerFact, LedgerKind, StoreIdentity};

use super::body::RetagBody;
use super::{RetagRequest, signed_for};
use crate::chain;
use crate::error::Fault;
use crate::key::ReceiptKey;

/// What a commit says of the re-tagging that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetagCommit {
    pub(crate) id: String,
    /// Version of the policy that gave the tags.
    pub(crate) policy: String,
    /// Who is said to have asked for it.
    pub(crate) by: String,
    /// When, µs since the epoch.
    pub(crate) at_us: i64,
    /// The body of the ledger's entry, to the byte.
    pub(crate) body: String,
    /// The key that signed it, where receipts are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl RetagCommit {
    pub(super) fn new(
        id: &str,
        request: &RetagRequest,
        at_us: i64,
        body: &RetagBody,
        store: &StoreIdentity,
        key: Option<&ReceiptKey>,
    ) -> Result<Self, Fault> {
        let no_json = || Fault::stop("an entry has no JSON form");
        let mut commit = Self {
            id: id.to_owned(),
            policy: request.policy.to_string(),
            by: request.by.clone(),
            at_us,
            // By way of a `Value`, so that what has no JSON form is an error here.
            body: serde_json::to_value(body).map_err(|_| no_json())?.to_string(),
            key: None,
            signature: None,
        };
        if let Some(key) = key {
            let signature = key.sign(&commit.signed_bytes(store)?);
            commit.key = Some(key.public().id().to_owned());
            commit.signature = Some(chain::hex(&signature));
        }
        Ok(commit)
    }

    /// What is signed. It is longer than a hash and begins with other words than a plan, so it is never what
    /// another signature is of.
    fn signed_bytes(&self, store: &StoreIdentity) -> Result<Vec<u8>, Fault> {
        let bare = Self { key: None, signature: None, ..self.clone() };
        let mut bytes = signed_for(store).into_bytes();
        serde_json::to_writer(&mut bytes, &bare).map_err(|_| Fault::stop("a commit has no JSON form"))?;
        Ok(bytes)
    }

    /// What does not hold of a commit that this store should have made; `None` if all does. Where there is a key,
    /// it must be signed with it: whoever may write the folder could have written it.
    pub(crate) fn fault(
        &self,
        table: &str,
        version: u64,
        store: &StoreIdentity,
        key: Option<&ReceiptKey>,
    ) -> Option<&'static str> {
        let Ok(body) = serde_json::from_str::<RetagBody>(&self.body) else {
            return Some("what it says cannot be understood");
        };
        if body.found.table != table || body.version != version {
            return Some("it says that it is another commit");
        }
        let key = key?;
        let Some((id, signature)) = self.key.as_ref().zip(self.signature.as_ref()) else {
            return Some("it is not signed");
        };
        if id != key.public().id() {
            return Some("it is signed with another key than this site's");
        }
        let signature = chain::unhex::<64>(signature);
        match signature.zip(self.signed_bytes(store).ok()) {
            Some((signature, bytes)) if key.public().verifies(&bytes, &signature) => None,
            _ => Some("its signature is not that of its key"),
        }
    }

    /// The entry of the ledger.
    pub(crate) fn fact(&self) -> Result<LedgerFact, Fault> {
        let policy: Result<ContentVersion, _> = self.policy.parse();
        Ok(LedgerFact {
            kind: LedgerKind::Retagged,
            subject: self.id.clone(),
            policy: policy.map_err(|_| Fault::stop("a re-tagging names no policy"))?,
            said_by: self.by.clone(),
            at_us: self.at_us,
            body: self.body.clone(),
        })
    }
}
