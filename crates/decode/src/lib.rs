//! Turns JSON payloads into Arrow rows and rejects, following a schema (docs/schemas.md).
//!
//! A [`Schema`] is compiled once from its text; a [`Decoder`] works on the raw batches of several
//! partitions, one after the other. The crate knows no policy, no I/O and no runtime.

mod builders;
mod columns;
mod decoder;
mod drift;
mod fast;
mod number;
mod plan;
mod schema;
mod syntax;
mod tape;
mod time;

pub use decoder::{Decoder, Remembered};
pub use schema::{CLASS_METADATA, Classes, ColumnInfo, Schema, UNIT_METADATA};
