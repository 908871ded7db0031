//! What becomes of single messages, and why: for `try` and for the pipelines' cases.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::{Map, Value};
use situs_decode::{Decoder, Schema};
use situs_model::doc::Diagnostics;
use situs_model::{
    ClockBounds, ClusterName, KeyRing, Masks, NextOffset, RawBatch, Reject, Source, TaggedBatch, Verdict,
};
use situs_policy::{Judge, Policy};

use crate::catalog::Loaded;

/// A message as it would come from Kafka.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The cluster; `kafka` if absent.
    pub cluster: Option<ClusterName>,
    /// The topic; the pipeline's first if absent.
    pub topic: Option<String>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The broker's timestamp, ms since the epoch.
    pub broker_time_ms: Option<i64>,
}

/// What became of a message.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It could not be decoded.
    Rejected(Reject),
    /// It gives no row by design; the word that it is counted under.
    WithoutRows(String),
    /// Its rows, each with its verdict.
    Rows(Vec<(Map<String, Value>, Verdict)>),
}

/// Decodes, judges and masks one message at a time, with the code that `run` uses, but with keys that anybody
/// can compute: a pseudonym that is shown is not the one that a zone would get.
#[derive(Debug)]
pub struct Inspector {
    default_topic: Arc<str>,
    schema: Arc<Schema>,
    max_message_bytes: usize,
    clock: ClockBounds,
    decoder: Decoder,
    judge: Judge,
    masks: Masks,
    next: i64,
}

impl Inspector {
    /// An inspector for a pipeline under a policy.
    ///
    /// # Errors
    /// If the policy's expressions do not fit the pipeline's columns.
    pub fn new(loaded: &Loaded, policy: &Arc<Policy>) -> Result<Self, Diagnostics> {
        let judge = policy.judge(&loaded.facts())?;
        Ok(Self {
            default_topic: loaded.pipeline.topics.first().cloned().unwrap_or_else(|| "none".into()),
            schema: loaded.schema.clone(),
            max_message_bytes: loaded.pipeline.max_message_bytes,
            clock: loaded.pipeline.clock,
            decoder: Decoder::new(loaded.schema.clone(), loaded.pipeline.max_message_bytes)
                .with_clock(loaded.pipeline.clock),
            masks: judge.masks(Arc::new(KeyRing::trial())),
            judge,
            next: 0,
        })
    }

    /// Forgets all messages seen so far.
    pub fn reset(&mut self) {
        self.decoder = Decoder::new(self.schema.clone(), self.max_message_bytes).with_clock(self.clock);
        self.next = 0;
    }

    /// Looks at one message.
    ///
    /// # Errors
    /// If the policy or Arrow fails on it, which would be a bug.
    pub fn look(&mut self, message: &Message) -> anyhow::Result<Fate> {
        let topic = message.topic.as_deref().map_or_else(|| self.default_topic.clone(), Into::into);
        let cluster = match &message.cluster {
            Some(cluster) => cluster.clone(),
            None => "kafka".parse()?,
        };
        let source = Source { cluster, topic, partition: 0 };
        let received_us = message.broker_time_ms.unwrap_or_default() * 1000;
        let mut raw = RawBatch::new(source, NextOffset(self.next), received_us);
        let headers = message.headers.iter().map(|(name, value)| (name.as_bytes(), Some(&value[..])));
        raw.push(
            self.next,
            message.broker_time_ms,
            message.key.as_deref(),
            message.payload.as_deref(),
            headers,
        );
        self.next += 1;
        let mut decoded = self.decoder.decode(Arc::new(raw));
        if let Some(reject) = decoded.rejects.pop() {
            return Ok(Fate::Rejected(reject));
        }
        if let Some(kind) = decoded.notes.without_rows.keys().next() {
            return Ok(Fate::WithoutRows(kind.to_string()));
        }
        let tagged = self.judge.judge(decoded)?;
        let mut rows = rows_as_json(&tagged.decoded.rows)?;
        if !self.masks.is_empty() {
            self.mask(&tagged, &mut rows)?;
        }
        let verdicts =
            tagged.verdict_of_row.iter().map(|verdict| tagged.verdicts[usize::from(*verdict)].clone());
        Ok(Fate::Rows(rows.into_iter().zip(verdicts).collect()))
    }

    /// Masks the rows that a zone would get. Others go to quarantine, which keeps the message as it is.
    fn mask(&self, tagged: &TaggedBatch, rows: &mut [Map<String, Value>]) -> anyhow::Result<()> {
        for (index, verdict) in (0..).zip(&tagged.verdicts) {
            let Verdict::Resident(zone) = verdict else { continue };
            let masked = rows_as_json(&self.masks.apply(&tagged.decoded.rows, zone)?)?;
            for ((row, masked), of_row) in rows.iter_mut().zip(masked).zip(&tagged.verdict_of_row) {
                if *of_row == index {
                    *row = masked;
                }
            }
        }
        Ok(())
    }
}

/// The rows of a batch as JSON objects, nulls included.
///
/// # Errors
/// If Arrow cannot write a column as JSON.
pub fn rows_as_json(batch: &RecordBatch) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut text = Vec::new();
    let mut writer = arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::LineDelimited>(&mut text);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}
