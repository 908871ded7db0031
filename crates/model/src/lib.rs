//! The project's words and the pure decisions made with them: zones, offsets, batches, commit
//! decisions, permits, invariants.
//!
//! This crate knows no runtime and no I/O. What it decides, it decides from its arguments.

pub mod batch;
pub mod clock;
pub mod columns;
pub mod commit;
pub mod date;
pub mod doc;
pub mod groups;
pub mod invariant;
mod iso3166;
pub mod ledger;
pub mod mask;
pub mod offset;
pub mod permit;
pub mod pipeline;
pub mod planted;
pub mod raw;
pub mod reader;
pub mod receipt;
pub mod release;
pub mod store;
pub mod transfer;
pub mod words;

pub use batch::{
    Counts, DecodeNotes, DecodedBatch, QuarantineReason, Quarantined, Reject, RejectCode, ResidentBatch,
    Split, TaggedBatch, UndeterminedReason, Verdict, ZoneCount, split,
};
pub use clock::ClockBounds;
pub use commit::{Decision, Standing, decide};
pub use date::{Age, Date};
pub use ledger::{LedgerEntry, LedgerFact, LedgerGap, LedgerKind, ZoneLedger};
pub use mask::{ClassBy, FieldKey, KeyRing, Masks};
pub use offset::{Epoch, NextOffset, NoTopicId, OffsetRange, Source, TopicId, app_id};
pub use permit::{PermittedBatch, Refused, StoreIdentity, permit};
pub use pipeline::{DeviceSource, Pipeline};
pub use raw::{RawBatch, RawMessage};
pub use reader::{ColumnClasses, ReadGrant};
pub use receipt::{FileFact, Receipt, StoreReceipt};
pub use release::{Coordinates, Ledger, LedgerRow, Release, ReleaseEntry, ReleaseState, ReleaseStep};
pub use words::{
    BasisKind, Class, ClusterName, ContentVersion, FieldClass, InvalidWord, Jurisdiction, LineId, ModelId,
    OrganisationId, PipelineName, PurposeId, ReaderId, RoleId, RuleId, Scenario, SiteId, Subdivision,
    TableName, Training, TransferName, ZoneId, sha256_hex,
};
