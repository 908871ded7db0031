//! Prints what can be proved of the records of a home, from its stores alone: no broker, no process that runs.
//!
//! Everything that is printed is marked: *measured* (read from a store, or recomputed), *declared* (somebody
//! wrote it into the policy, or a machine into its payload) or *not assessed*. Payload is never printed:
//! coordinates, tags, codes and texts of the policy only.
//!
//! This crate knows no JSON payload and no Kafka. What needs the decoder, to judge a message of quarantine
//! again, is asked of whoever has one ([`Past`]).

mod explain;
mod rejudge;
mod shares;
mod statement;
mod tables;
mod trace;

pub use shares::{
    Collected, Jurisdictional, ModelShares, Part, Shares, SharesError, SharesSubject, TableTotal, shares,
};
pub use statement::Statement;
pub use tables::ReadError;
pub use trace::{TableTrace, Trace, TraceSubject, trace};

pub use rejudge::{Judgement, Rejudge};

pub use explain::{
    DeletionPart, ExplainError, Explanation, Mark, Past, QuarantinedMessage, ReceiptPart, ReleasePart,
    Request, RetagPart, RowGroup, State, Subject, Verdict, explain, time_text,
};
