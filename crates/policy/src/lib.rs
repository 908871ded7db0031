//! Decides where a record must live and who may learn from it, from `policy.yaml`
//! (docs/policy.md).
//!
//! A [`Policy`] is read once; a [`Judge`] is the policy made ready for one pipeline. It gives every
//! row of a decoded batch its tag columns and a verdict, working on whole columns: the device is
//! looked up once per distinct value, claims once per distinct combination, and conditions that
//! name only facts are evaluated once per distinct set of facts.
//!
//! Who may read is said by [`Readers`] (docs/readers.md), which has a version of its own.
//!
//! This crate knows no I/O and no async, and it links DataFusion's expressions without its query
//! engine. A verdict depends on the record and on the policy alone: not on the clock, not on other
//! records, not on how messages are cut into batches. A batch that is replayed with the same policy
//! gets the same verdicts.

mod check;
mod condition;
mod devices;
mod diff;
mod ends;
mod facts;
mod factsets;
mod grid;
mod intern;
mod judge;
mod lint;
mod parse;
mod policy;
mod readers;
mod registry;
mod tags;
#[cfg(test)]
mod testing;
mod transfers;

pub use devices::DevicesFile;
pub use diff::{Change, ChangeKind, Effect, Moved, PolicyDiff};
pub use facts::PipelineFacts;
pub use judge::{Judge, JudgeError};
pub use policy::{Model, Policy, Retention, Rule, Site, Zone};
pub use readers::{Answer, PermitError, Permitted, Reader, Readers, TableAnswer, TableFacts, TablePipeline};
pub use transfers::RowFilter;
