//! The ledger of a zone's store: what was done with its rows beside taking them in, and who is said to have
//! done it (docs/stores.md). Releases from quarantine have a ledger of their own ([`crate::release`]).

use crate::permit::StoreIdentity;
use crate::words::{ContentVersion, words};

words! {
    /// What an entry of a store's ledger tells.
    LedgerKind {
        /// Somebody asked for a transfer of the policy.
        TransferRequested = "transfer-requested",
        /// Another person approved it.
        TransferApproved = "transfer-approved",
        /// Its rows are in the other zone; this store is the one that they came from.
        TransferSent = "transfer-sent",
        /// Its rows are here; they came from another zone.
        TransferReceived = "transfer-received",
        /// It was refused, and nothing was moved.
        TransferRefused = "transfer-refused",
        /// Something that was made of this store's rows left, and no row did.
        DerivedSent = "derived-sent",
        /// Something that was made of another zone's rows came.
        DerivedReceived = "derived-received",
        /// Rows were deleted.
        Deleted = "deleted",
        /// No file holds the bytes of deleted rows any more.
        BytesGone = "bytes-gone",
        /// Rows were put under a hold.
        HoldSet = "hold-set",
        /// A hold was lifted.
        HoldLifted = "hold-lifted",
        /// Tags of rows were changed.
        Retagged = "retagged",
    }
}

/// What an entry tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFact {
    /// What was done.
    pub kind: LedgerKind,
    /// The id of the transfer, deletion, hold and so on. A kind is told of a subject once.
    pub subject: String,
    /// The policy at the time.
    pub policy: ContentVersion,
    /// Who is said to have done it: declared, and not authenticated.
    pub said_by: String,
    /// When, µs since the epoch.
    pub at_us: i64,
    /// The facts, as a JSON object.
    pub body: String,
}

/// An entry of a store's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its number, from 0 and without a gap.
    pub number: i64,
    /// What it tells.
    pub fact: LedgerFact,
    /// The hash of its content and, through the entry before it, of all before it.
    pub hash: String,
    /// The id of the key that signed it, whose signature holds; `None` if it is not signed.
    pub signed_by: Option<String>,
}

/// Entries of a ledger that are not numbered as they were written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("where entry {expected} of the ledger should be is {}", found.map_or_else(|| "none".to_owned(), |n| format!("entry {n}")))]
pub struct LedgerGap {
    /// The number that should come.
    pub expected: i64,
    /// The number that comes.
    pub found: Option<i64>,
}

/// The ledger of a store, at one version of its table.
///
/// # Memory
/// All of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneLedger {
    store: StoreIdentity,
    entries: Vec<LedgerEntry>,
}

impl ZoneLedger {
    /// The ledger of a store with these entries, in whatever order they were read.
    ///
    /// # Errors
    /// If a number is missing or there twice: nothing may be decided on such a ledger.
    pub fn new(store: StoreIdentity, mut entries: Vec<LedgerEntry>) -> Result<Self, LedgerGap> {
        entries.sort_by_key(|entry| entry.number);
        for (expected, entry) in (0_i64..).zip(&entries) {
            if entry.number != expected {
                return Err(LedgerGap { expected, found: Some(entry.number) });
            }
        }
        Ok(Self { store, entries })
    }

    /// Whose ledger it is.
    pub fn store(&self) -> &StoreIdentity {
        &self.store
    }

    /// The entries in their order.
    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    /// The number that comes next.
    pub fn next(&self) -> i64 {
        i64::try_from(self.entries.len()).unwrap_or(i64::MAX)
    }

    /// The hash of the newest entry.
    pub fn head(&self) -> Option<&str> {
        self.entries.last().map(|entry| entry.hash.as_str())
    }

    /// What it tells of a subject, in order.
    pub fn of_subject<'a>(&'a self, subject: &'a str) -> impl Iterator<Item = &'a LedgerEntry> {
        self.entries.iter().filter(move |entry| entry.fact.subject == subject)
    }

    /// The entry of this kind of a subject.
    pub fn find(&self, kind: LedgerKind, subject: &str) -> Option<&LedgerEntry> {
        self.entries.iter().find(|entry| entry.fact.kind == kind && entry.fact.subject == subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64, kind: LedgerKind, subject: &str) -> LedgerEntry {
        let fact = LedgerFact {
            kind,
            subject: subject.to_owned(),
            policy: ContentVersion::of(b"policy"),
            said_by: "somebody".to_owned(),
            at_us: number,
            body: "{}".to_owned(),
        };
        LedgerEntry { number, fact, hash: format!("hash-{number}"), signed_by: None }
    }

    fn store() -> StoreIdentity {
        StoreIdentity { zone: "CN".parse().unwrap(), store_id: "s".to_owned() }
    }

    #[test]
    fn entries_are_ordered_by_their_numbers_which_have_no_gap() {
        use LedgerKind::{Deleted, HoldSet};
        let entries = vec![entry(2, Deleted, "a"), entry(0, HoldSet, "a"), entry(1, HoldSet, "b")];
        let ledger = ZoneLedger::new(store(), entries.clone()).unwrap();
        assert_eq!((ledger.next(), ledger.head()), (3, Some("hash-2")));
        assert_eq!(ledger.of_subject("a").map(|entry| entry.number).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(ledger.find(HoldSet, "b").unwrap().number, 1);
        assert_eq!(ledger.find(Deleted, "b"), None);

        for gone in 0..2 {
            let mut entries = entries.clone();
            entries.retain(|entry| entry.number != gone);
            let gap = ZoneLedger::new(store(), entries).unwrap_err();
            assert_eq!(gap.expected, gone);
        }
        let twice = entries.iter().cloned().chain([entry(1, Deleted, "c")]).collect();
        let gap = ZoneLedger::new(store(), twice).unwrap_err();
        assert_eq!(gap.to_string(), "where entry 2 of the ledger should be is entry 1");
        assert_eq!(ZoneLedger::new(store(), Vec::new()).unwrap().next(), 0);
    }
}
