//! What the policy must know of a pipeline, and the columns that conditions may name.

use std::sync::Arc;

use arrow_schema::{Field, SchemaRef};
use situs_model::columns::{CLASS_METADATA, DROPPED_METADATA, dictionary_type, names};
use situs_model::{Class, FieldClass, PipelineName, Scenario};

/// Name of the constant that holds the pipeline's name in conditions.
pub(crate) const PIPELINE: &str = "_pipeline";
/// Name of the constant that holds the scenario in conditions.
pub(crate) const SCENARIO: &str = "_scenario";

/// Name of the site's subdivision in conditions.
pub(crate) const SUBDIVISION: &str = "_subdivision";
/// Name of the device's line in conditions.
pub(crate) const LINE: &str = "_line";
/// The facts that the registry and the claims add, in the order of
/// [`fields`](PipelineFacts::fields) behind the decoded columns.
pub(crate) const ADDED: [&str; 5] = [names::JURISDICTION, names::SITE, names::CLAIMED, SUBDIVISION, LINE];

/// What the policy must know of a pipeline.
#[derive(Debug, Clone)]
pub struct PipelineFacts {
    /// Its name; `_pipeline` in conditions.
    pub name: PipelineName,
    /// What its telemetry is used for; `_scenario` in conditions.
    pub scenario: Scenario,
    /// The class of its records; `_class` in conditions and the tag column of that name.
    pub class: Class,
    /// The topics that it reads.
    pub topics: Vec<Arc<str>>,
    /// The schema of [`DecodedBatch::rows`](situs_model::DecodedBatch::rows).
    pub schema: SchemaRef,
    /// The column that holds the device id: `Utf8` or a dictionary of it. Without one no record has
    /// a device id.
    pub device_column: Option<String>,
    /// The columns in which the payload says something of its own origin: `Utf8` or dictionaries.
    pub claim_columns: Vec<String>,
}

/// The class of a column whose values are not all stored as they come.
fn guarded(field: &Field) -> Option<FieldClass> {
    let class = field.metadata().get(CLASS_METADATA).and_then(|word| FieldClass::from_word(word))?;
    class.is_guarded().then_some(class)
}

impl PipelineFacts {
    /// The columns that conditions may not name since their values are not all stored as they come, so that a
    /// decision by them could not be derived again: each with its class.
    pub(crate) fn guarded(&self) -> Vec<(String, FieldClass)> {
        let columns = self.schema.fields().iter();
        let stored = columns.filter_map(|field| Some((field.name().clone(), guarded(field)?)));
        stored.chain(self.dropped().map(|name| (name.to_owned(), FieldClass::Personal))).collect()
    }

    /// The columns that the schema drops since their fields are personal.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = &str> {
        let dropped = self.schema.metadata().get(DROPPED_METADATA);
        dropped.into_iter().flat_map(|names| names.split(','))
    }

    /// The constants of the pipeline in conditions.
    pub(crate) fn constants(&self) -> Vec<(&'static str, String)> {
        vec![
            (names::CLASS, self.class.to_string()),
            (PIPELINE, self.name.to_string()),
            (SCENARIO, self.scenario.to_string()),
        ]
    }

    /// The columns that conditions may name, constants apart: what was decoded, and the facts that
    /// the registry adds. `None` stands for a decoded column that conditions may not name, so that
    /// indices agree with the decoded batch.
    ///
    /// `_ingest_time` is left out because it changes when a range of offsets is replayed, and a
    /// replayed record must get the verdict that it got before; [`guarded`](Self::guarded) columns because they
    /// are not stored as they come.
    pub(crate) fn fields(&self) -> Vec<Option<Arc<Field>>> {
        let decoded = self.schema.fields().iter().map(|field| {
            let usable = field.name() != names::INGEST_TIME && guarded(field).is_none();
            usable.then(|| field.clone())
        });
        let added = ADDED.map(|name| Some(Arc::new(Field::new(name, dictionary_type(), true))));
        decoded.chain(added).collect()
    }
}
