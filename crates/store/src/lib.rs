//! Owns one zone's Delta tables: append with offsets, quarantine, receipts, the archive of policies,
//! the read side, and what maintains them (docs/stores.md).
//!
//! A store knows no Kafka and no JSON of messages: it is handed rows with the offsets that they
//! account for, and makes both durable in one atomic commit, or neither.

mod chain;
mod columns;
mod disk;
mod durable;
mod encode;
mod entry;
mod error;
mod field_key;
mod find;
mod history;
mod key;
mod lease;
mod log;
mod maintain;
mod names;
mod quarantine;
mod reader;
mod receipts;
mod received;
mod releases;
mod root;
mod rows;
mod scan;
mod schema;
mod secret;
mod shares;
#[cfg(test)]
mod simulation;
mod stats;
mod store;
mod table;
mod tables;
mod trace;
pub mod verify;
mod work;
mod zone_ledger;

pub use field_key::{create_field_key, read_field_key};
pub use find::{Coverage, FoundReceipt, FoundRows, Place, StoreOfReceipt};
pub use key::{KeyError, PublicKey, ReceiptKey, SignatureState};
pub use lease::Renewal;
pub use maintain::delete::{
    Abandoned, BytesGoneBody, CoordinatesFile, Criterion, Decided, DeletionBody, DeletionRequest, Despite,
    Erased, Floor, GoneFile, Hold, PartitionDeleted, PartitionPlan, Plan, PlanSignature, Refusal,
    TableDeleted, TablePlan, WrittenFile,
};
pub use maintain::retag::{JudgeAgain, NotJudged, RetagBody, RetagRequest, Retagging, Stays, TagCounts};
pub use maintain::{Checkpointed, Cleaned, Maintenance, Optimize, Optimized, Tally, Vacuum, Vacuumed};
pub use quarantine::read::{Content, Header, QuarantineEntry, QuarantineFilter, QuarantineScan};
pub use reader::{DataFile, StoreReader, TableSnapshot};
pub use received::{Arrival, Arrived, Receiving, transferred_columns};
pub use root::devices::check_separate;
pub use root::{RootError, check_disjoint, identify, init};
pub use rows::TableRows;
pub use secret::{SecretAccess, read_secret};
pub use shares::{Tagged, TaggedRows, Tags};
pub use store::DeltaStore;
pub use store::deletion::{Deletion, FoundDeleted};
pub use store::release::{LedgerStep, Placed};
pub use store::retag::{Retag, Retagged};
pub use trace::{Traced, TracedFile};
pub use verify::{Subject, sha256_of, verify};
