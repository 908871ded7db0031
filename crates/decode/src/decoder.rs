//! Raw batches to rows.

use std::sync::Arc;

use arrow_array::RecordBatch;
use situs_model::{DecodeNotes, DecodedBatch, RawBatch, Source};

use crate::schema::Schema;

/// Decodes the batches of a pipeline.
#[derive(Debug)]
pub struct Decoder {
    schema: Arc<Schema>,
    max_message_bytes: usize,
}

impl Decoder {
    /// A decoder for this schema that rejects payloads longer than `max_message_bytes`.
    pub fn new(schema: Arc<Schema>, max_message_bytes: usize) -> Self {
        Self { schema, max_message_bytes }
    }

    /// Decodes a batch.
    pub fn decode(&mut self, raw: Arc<RawBatch>) -> DecodedBatch {
        let _ = self.max_message_bytes;
        DecodedBatch {
            raw,
            rows: RecordBatch::new_empty(self.schema.arrow_schema().clone()),
            message_of_row: Vec::new(),
            rejects: Vec::new(),
            notes: DecodeNotes::default(),
        }
    }

    /// Drops what is remembered of a partition.
    pub fn forget(&mut self, source: &Source) {
        let _ = source;
    }
}
