//! Judging rows again as they lie in a table: what `explain` compares with, and what re-tagging writes.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_cast::cast;
use situs_model::{ClusterName, DecodeNotes, DecodedBatch, NextOffset, RawBatch, Source, TaggedBatch};
use situs_policy::{Judge, PipelineFacts, Policy};

/// A policy and a pipeline, of some time.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What it needs to know of the pipeline.
    pub facts: PipelineFacts,
}

/// A policy made ready for the rows of a table, which it judges by their stored columns and their origin.
///
/// # Limits
/// Columns that the table does not hold as they came, personal fields and trade secrets, decide nothing: no
/// condition may name them.
#[derive(Debug)]
pub struct Rejudge {
    judge: Judge,
    facts: PipelineFacts,
    cluster: ClusterName,
}

impl Rejudge {
    /// For rows that came from this cluster.
    ///
    /// # Errors
    /// If the policy does not fit the pipeline, for a person.
    pub fn new(judgement: &Judgement, cluster: &ClusterName) -> Result<Self, String> {
        let judge = judgement.policy.judge(&judgement.facts).map_err(|problems| problems.to_string())?;
        Ok(Self { judge, facts: judgement.facts.clone(), cluster: cluster.clone() })
    }

    /// The rows of one partition with the tags that the policy gives them, and a verdict for each. Every row is
    /// judged by itself, whatever became of others of its message.
    ///
    /// # Errors
    /// If the table lacks what they were judged by. The text names columns, and no value.
    pub fn judge(&mut self, rows: &RecordBatch, topic: &str, partition: i32) -> Result<TaggedBatch, String> {
        let decoded = self.decoded(rows)?;
        let source = Source { cluster: self.cluster.clone(), topic: topic.into(), partition };
        let batch = DecodedBatch {
            // Only its source is asked for.
            raw: Arc::new(RawBatch::new(source, NextOffset(0), 0)),
            message_of_row: vec![0; decoded.num_rows()],
            rows: decoded,
            rejects: Vec::new(),
            notes: DecodeNotes::default(),
        };
        self.judge.judge(batch).map_err(|error| error.to_string())
    }

    /// The rows with the columns that they had when they were judged.
    fn decoded(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        let schema = &self.facts.schema;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().enumerate() {
            let unfit = || format!("column `{}` is of another type", field.name());
            columns.push(match rows.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => column.clone(),
                Some(column) => cast(column, field.data_type()).map_err(|_| unfit())?,
                // To judge by nothing where there was something else could make tags looser than they ought to be.
                None if field.is_nullable() && !self.judge.reads(index) => {
                    new_null_array(field.data_type(), rows.num_rows())
                }
                None => return Err(format!("column `{}` is missing", field.name())),
            });
        }
        RecordBatch::try_new(schema.clone(), columns)
            .map_err(|_| "a column has nulls that must have none".to_owned())
    }
}
