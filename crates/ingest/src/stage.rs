//! The pure middle of the way of a record: raw batch in, batches per zone out.

mod isolate;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use situs_decode::{Decoder, Schema};
use situs_model::{
    ContentVersion, KeyRing, Masks, OffsetRange, Pipeline, RawBatch, Source, Split, ZoneId, split,
};
use situs_observe::Panicked;
use situs_policy::{Judge, JudgeError};

use crate::shadow::Shadow;

/// A pipeline ready to run: its decoder and its judge.
#[derive(Debug)]
pub struct Stage {
    pipeline: Pipeline,
    schema: Arc<Schema>,
    decoder: Decoder,
    judge: Judge,
    /// A second policy that is only compared.
    shadow: Option<Shadow>,
    masks: Masks,
    keys: Arc<KeyRing>,
    /// Poison since the last message that became rows.
    poison_in_a_row: u32,
    /// What shall go wrong, for tests.
    #[cfg(test)]
    trap: Option<tests::Trap>,
}

/// A step failed, and no single message is to blame. Nothing of the batch was stored.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// It fails whatever the messages are.
    #[error("{source}: the messages {range}: {fault}", source = .place.0, range = .place.1)]
    Batch {
        /// Partition and offsets.
        place: Box<(Source, OffsetRange)>,
        /// What happened.
        fault: Fault,
    },
    /// It failed on too many messages with none between them that passed.
    #[error(
        "{source}: {count} messages in a row made a step fail, the last of them within {range}, so it is hardly \
         they who are to blame; none of that batch was quarantined: {fault}",
        source = .place.0, range = .place.1
    )]
    TooMuchPoison {
        /// Partition and offset of the last one.
        place: Box<(Source, OffsetRange)>,
        /// How many.
        count: u32,
        /// What happened with the last one.
        fault: Fault,
    },
}

/// How a step failed. Tells codes and places in the source code, never payload.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The policy could not be evaluated.
    #[error("judging failed: {0}")]
    Judge(#[from] JudgeError),
    /// Fields must not be stored as they come, and a zone has no key to mask them with.
    #[error("pipeline `{pipeline}` has fields that need the pseudonym keys of these zones: {zones}")]
    NoKey {
        /// The pipeline.
        pipeline: String,
        /// The zones, with commas between.
        zones: String,
    },
    /// The rows could not be divided by zone.
    #[error("splitting by zone failed: {0}")]
    Split(String),
    /// A step panicked.
    #[error("{step} {panicked}")]
    Panicked {
        /// Which one.
        step: Step,
        /// Where.
        panicked: Panicked,
    },
}

/// The steps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Payloads to rows.
    Decode,
    /// Rows to verdicts.
    Judge,
    /// Rows to batches per zone.
    Split,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Decode => "decoding",
            Self::Judge => "judging",
            Self::Split => "splitting by zone",
        })
    }
}

impl Fault {
    /// The error of a batch that it happened to.
    fn at(self, raw: &RawBatch) -> StageError {
        StageError::Batch { place: Box::new((raw.source().clone(), raw.range())), fault: self }
    }
}

impl Stage {
    /// Builds the stage of a pipeline. `keys` are those with which its classed fields are masked.
    pub fn new(pipeline: Pipeline, schema: Arc<Schema>, judge: Judge, keys: Arc<KeyRing>) -> Self {
        let decoder = Decoder::new(schema.clone(), pipeline.max_message_bytes).with_clock(pipeline.clock);
        let masks = judge.masks(keys.clone());
        Self {
            pipeline,
            schema,
            decoder,
            judge,
            shadow: None,
            masks,
            keys,
            poison_in_a_row: 0,
            #[cfg(test)]
            trap: None,
        }
    }

    /// Lets a second policy judge the same rows, and tell what it would change.
    #[must_use]
    pub fn with_shadow(mut self, shadow: Option<Shadow>) -> Self {
        self.shadow = shadow;
        self
    }

    /// The pipeline's definition.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What becomes of its classed fields.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Version of the schema.
    pub fn schema_version(&self) -> &ContentVersion {
        self.schema.version()
    }

    /// Version of the policy.
    pub fn policy_version(&self) -> &ContentVersion {
        self.judge.policy_version()
    }

    /// Judges by another policy from the next batch on. Only at a barrier (RES-7).
    pub(crate) fn judge_by(&mut self, judge: Judge) {
        self.masks = judge.masks(self.keys.clone());
        if let Some(shadow) = &self.shadow {
            shadow.begin_again(judge.policy_version());
        }
        self.judge = judge;
    }

    /// The columns of the rows that it makes.
    pub fn columns(&self) -> &SchemaRef {
        self.judge.schema()
    }

    /// Decodes, judges and splits a batch. `stores` are the zones that have a store here. Gives the raw
    /// batch back, whose room can be used again.
    ///
    /// A message on which a step fails or panics goes to quarantine as poison; its neighbours become what
    /// they would have become without it (docs/quarantine.md).
    ///
    /// # Errors
    /// [`StageError`] if a step fails whatever the messages are, which is a bug or a broken policy;
    /// malformed messages are no error.
    pub fn turn(
        &mut self,
        raw: RawBatch,
        stores: &BTreeSet<ZoneId>,
    ) -> Result<(Split, Option<RawBatch>), StageError> {
        // No message is to blame for it, so none must become poison by it.
        let lacking = self.masks.zones_without_keys(stores);
        if !lacking.is_empty() {
            let zones = lacking.iter().map(ZoneId::as_str).collect::<Vec<_>>().join(", ");
            return Err(Fault::NoKey { pipeline: self.pipeline.name.to_string(), zones }.at(&raw));
        }
        let raw = Arc::new(raw);
        let before = self.decoder.remembered(raw.source());
        let split = match self.attempt(raw.clone(), stores) {
            Ok(split) => split,
            Err(fault) => {
                self.decoder.renew(raw.source(), before);
                self.isolate(&raw, fault, stores)?
            }
        };
        Ok((split, Arc::into_inner(raw)))
    }

    /// Tries all steps on a batch as a whole. After a fault the decoder must be renewed; the judge keeps
    /// nothing from one batch to the next.
    fn attempt(&mut self, raw: Arc<RawBatch>, stores: &BTreeSet<ZoneId>) -> Result<Split, Fault> {
        let mut step = Step::Decode;
        let result = situs_observe::catch(|| -> Result<Split, Fault> {
            #[cfg(test)]
            self.spring(step, &raw)?;
            let fast_before = self.decoder.fast_rows();
            let mut decoded = self.decoder.decode(raw);
            // A step behind it may fail, and then it is decoded once more, by a decoder that counts from 0.
            decoded.notes.fast_rows = self.decoder.fast_rows() - fast_before;
            step = Step::Judge;
            #[cfg(test)]
            self.spring(step, &decoded.raw)?;
            let tagged = self.judge.judge(decoded)?;
            let found = self.shadow.as_mut().map(|shadow| shadow.compare(&tagged, stores));
            step = Step::Split;
            #[cfg(test)]
            self.spring(step, &tagged.decoded.raw)?;
            let split =
                split(tagged, stores, &self.masks).map_err(|error| Fault::Split(error.to_string()))?;
            if let Some((shadow, found)) = self.shadow.as_ref().zip(found) {
                shadow.note(found);
            }
            Ok(split)
        });
        let split = result.unwrap_or_else(|panicked| Err(Fault::Panicked { step, panicked }))?;
        if split.counts.decoded > 0 {
            self.poison_in_a_row = 0;
        }
        Ok(split)
    }

    /// Forgets what was remembered of a partition that is no longer assigned.
    pub fn forget(&mut self, source: &Source) {
        self.decoder.forget(source);
    }
}
