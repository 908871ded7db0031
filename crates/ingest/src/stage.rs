//! The pure middle of the way of a record: raw batch in, batches per zone out.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use situs_decode::{Decoder, Schema};
use situs_model::{ContentVersion, Pipeline, RawBatch, Source, Split, ZoneId, split};
use situs_policy::{Judge, JudgeError};

/// A pipeline ready to run: its decoder and its judge.
#[derive(Debug)]
pub struct Stage {
    pipeline: Pipeline,
    schema: Arc<Schema>,
    decoder: Decoder,
    judge: Judge,
}

/// A step failed on a whole batch. Nothing of the batch was stored.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The policy could not be evaluated.
    #[error("{source}: judging the messages {range}: {error}", source = .place.0, range = .place.1)]
    Judge {
        /// Partition and offsets.
        place: Box<(Source, situs_model::OffsetRange)>,
        /// What happened.
        error: JudgeError,
    },
    /// The rows could not be divided by zone.
    #[error("{source}: splitting the messages {range} by zone failed: {error}", source = .place.0, range = .place.1)]
    Split {
        /// Partition and offsets.
        place: Box<(Source, situs_model::OffsetRange)>,
        /// What happened.
        error: String,
    },
}

impl Stage {
    /// Builds the stage of a pipeline.
    pub fn new(pipeline: Pipeline, schema: Arc<Schema>, judge: Judge) -> Self {
        let decoder = Decoder::new(schema.clone(), pipeline.max_message_bytes);
        Self { pipeline, schema, decoder, judge }
    }

    /// The pipeline's definition.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Version of the schema.
    pub fn schema_version(&self) -> &ContentVersion {
        self.schema.version()
    }

    /// Version of the policy.
    pub fn policy_version(&self) -> &ContentVersion {
        self.judge.policy_version()
    }

    /// The columns of the rows that it makes.
    pub fn columns(&self) -> &SchemaRef {
        self.judge.schema()
    }

    /// Decodes, judges and splits a batch. `stores` are the zones that have a store here. Gives the raw
    /// batch back, whose room can be used again.
    ///
    /// # Errors
    /// [`StageError`] if a step fails on the batch as a whole, which is a bug or a broken policy;
    /// malformed messages are no error.
    pub fn turn(
        &mut self,
        raw: RawBatch,
        stores: &BTreeSet<ZoneId>,
    ) -> Result<(Split, Option<RawBatch>), StageError> {
        let place = Box::new((raw.source().clone(), raw.range()));
        let raw = Arc::new(raw);
        let decoded = self.decoder.decode(raw.clone());
        let tagged = match self.judge.judge(decoded) {
            Ok(tagged) => tagged,
            Err(error) => return Err(StageError::Judge { place, error }),
        };
        let split =
            split(tagged, stores).map_err(|error| StageError::Split { place, error: error.to_string() })?;
        Ok((split, Arc::into_inner(raw)))
    }

    /// Forgets what was remembered of a partition that is no longer assigned.
    pub fn forget(&mut self, source: &Source) {
        self.decoder.forget(source);
    }
}
