//! Rows of a table as far as their reader may see them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties};
use futures::StreamExt as _;
use situs_model::ReadGrant;
use situs_model::columns::seen_codes;

/// What is done to each batch.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) grant: Arc<ReadGrant>,
    /// The column of the input with the class of each row, if rows are to be left out by it.
    pub(crate) class: Option<usize>,
    /// The columns of the input, of which the first are passed on.
    pub(crate) passed: usize,
    /// The column with the codes of quality, if some of them may be of columns that are not seen.
    pub(crate) quality: Option<usize>,
    /// The columns that are seen.
    pub(crate) seen: Arc<BTreeSet<String>>,
}

/// Passes on what may be seen, and lets nothing through in the other direction: conditions of a statement
/// are evaluated on what comes out of here, never on rows that the reader may not see. So neither their
/// errors nor any pruning or counting by them can tell of such rows.
#[derive(Debug)]
pub(crate) struct PermittedExec {
    input: Arc<dyn ExecutionPlan>,
    limits: Limits,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl PermittedExec {
    /// # Errors
    /// If the input has fewer columns than are to be passed on.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, limits: Limits) -> Result<Self> {
        let columns: Vec<usize> = (0..limits.passed).collect();
        let schema = Arc::new(input.schema().project(&columns)?);
        let of_input = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            datafusion::physical_expr::Partitioning::UnknownPartitioning(
                of_input.output_partitioning().partition_count(),
            ),
            of_input.emission_type,
            of_input.boundedness,
        );
        Ok(Self { input, limits, schema, properties: Arc::new(properties) })
    }
}

impl DisplayAs for PermittedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PermittedExec")
    }
}

impl ExecutionPlan for PermittedExec {
    fn name(&self) -> &str {
        "PermittedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::new(input, self.limits.clone())?)),
            Err(_) => Err(DataFusionError::Internal("PermittedExec has one input".to_owned())),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (limits, schema) = (self.limits.clone(), self.schema.clone());
        let batches =
            self.input.execute(partition, context)?.map(move |batch| limits.apply(&batch?, &schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }
}

impl Limits {
    fn apply(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let filtered = match self.class {
            Some(column) => filter_record_batch(batch, &self.rows(batch.column(column))?)?,
            None => batch.clone(),
        };
        let mut columns = filtered.columns()[..self.passed].to_vec();
        if let Some(column) = self.quality.and_then(|index| columns.get_mut(index)) {
            *column = self.codes(column)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(filtered.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }

    fn rows(&self, classes: &ArrayRef) -> Result<BooleanArray> {
        let classes = classes.as_string_view_opt().ok_or_else(no_text)?;
        Ok(classes.iter().map(|class| Some(self.grant.sees_rows_of(class))).collect())
    }

    /// The codes of the columns that are seen. A code of one that is not seen would tell that it is there.
    fn codes(&self, quality: &ArrayRef) -> Result<ArrayRef> {
        let quality = quality.as_string_view_opt().ok_or_else(no_text)?;
        let mut builder = StringViewBuilder::with_capacity(quality.len());
        for notes in quality.iter() {
            builder.append_option(
                notes.and_then(|notes| seen_codes(notes, |column| self.seen.contains(column))),
            );
        }
        Ok(Arc::new(builder.finish()))
    }
}

fn no_text() -> DataFusionError {
    DataFusionError::Execution("a column of tags is no text".to_owned())
}
