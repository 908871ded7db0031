//! A policy as it was read.

use std::sync::Arc;

use situs_model::doc::{Diagnostic, Diagnostics};
use situs_model::{
    BasisKind, ContentVersion, Jurisdiction, ModelId, PipelineName, RuleId, SiteId, Training, ZoneId,
};

use crate::condition::Condition;
use crate::facts::PipelineFacts;
use crate::judge::Judge;
use crate::registry::Registry;

/// A named set of jurisdictions whose records share one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub id: ZoneId,
    /// Its jurisdictions; no other zone has them.
    pub jurisdictions: Vec<Jurisdiction>,
}

/// A plant or line in one jurisdiction, as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub id: SiteId,
    /// Where it is.
    pub jurisdiction: Jurisdiction,
    /// The topics that it sends on; `None` is any topic.
    pub topics: Option<Vec<Arc<str>>>,
    /// The ids of the devices registered here.
    pub devices: Vec<Arc<str>>,
    /// Whether its topics alone say that a record is from here.
    pub any_device: bool,
}

/// A rule: which records must live in which zone, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// The zone that it gives.
    pub zone: ZoneId,
    /// What it rests on.
    pub basis: BasisKind,
    /// The law or contract that it rests on.
    pub reference: Option<String>,
    /// Whether models may learn from the records.
    pub training: Training,
    /// The SQL condition; `None` is always.
    pub when: Option<String>,
}

/// A registered model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub id: ModelId,
    /// Its version.
    pub version: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// The pipelines that it learns from.
    pub pipelines: Vec<PipelineName>,
    /// The SQL condition on the records that it learns from; `None` is all of them.
    pub filter: Option<String>,
    /// Where it is deployed.
    pub markets: Vec<Jurisdiction>,
}

/// Where something stands in the policy's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A zone and the places of its jurisdictions, in the same order.
#[derive(Debug)]
pub(crate) struct ZoneEntry {
    pub(crate) zone: Zone,
    pub(crate) places: Vec<Place>,
}

#[derive(Debug)]
pub(crate) struct SiteEntry {
    pub(crate) site: Site,
    pub(crate) place: Place,
    pub(crate) topic_places: Vec<Place>,
}

#[derive(Debug)]
pub(crate) struct RuleEntry {
    pub(crate) rule: Rule,
    pub(crate) when: Option<Condition>,
    /// Index of its zone.
    pub(crate) zone: usize,
}

#[derive(Debug)]
pub(crate) struct ModelEntry {
    pub(crate) model: Model,
    pub(crate) filter: Option<Condition>,
    pub(crate) pipeline_places: Vec<Place>,
}

/// The versioned rules: zones, site registry, rules and models.
///
/// # Memory
/// The text is kept, and every device id twice (100,000 devices: about 20 MB).
///
/// ```
/// use situs_policy::Policy;
/// let text = "
/// zones: { CN: { jurisdictions: [CN] } }
/// sites: { nanning-1: { jurisdiction: CN, devices: [nn-cnc-001] } }
/// rules: [ { id: cn-resident, when: _jurisdiction = 'CN', zone: CN, basis: law, training: in-zone } ]
/// ";
/// let policy = Policy::parse("policy.yaml", text).unwrap();
/// assert_eq!(policy.rule("cn-resident").unwrap().zone.as_str(), "CN");
/// ```
#[derive(Debug)]
pub struct Policy {
    pub(crate) file: Arc<str>,
    pub(crate) text: String,
    pub(crate) version: ContentVersion,
    pub(crate) zones: Vec<ZoneEntry>,
    pub(crate) sites: Vec<SiteEntry>,
    pub(crate) rules: Vec<RuleEntry>,
    pub(crate) models: Vec<ModelEntry>,
    pub(crate) registry: Registry,
}

impl Policy {
    /// Reads a policy. `file` is its name in messages.
    ///
    /// # Errors
    /// Every problem in it that can be seen without the pipelines, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        crate::parse::parse(file, text)
    }

    /// The hash of the policy's text.
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// The text that was read, which [`parse`](Self::parse) reads into the same policy.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The zones in the order of the text.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().map(|entry| &entry.zone)
    }

    /// The rule of this name.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules().find(|rule| rule.id.as_str() == id)
    }

    /// The rules in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|entry| &entry.rule)
    }

    /// The site registry in the order of the text.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().map(|entry| &entry.site)
    }

    /// The registered models in the order of the text.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter().map(|entry| &entry.model)
    }

    /// Checks everything that needs the pipelines: the columns and types of conditions, the
    /// pipelines of models, topics of sites that no pipeline reads, jurisdictions that no rule can
    /// place. `pipelines` are all pipelines of this installation.
    pub fn check(&self, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
        crate::check::check(self, pipelines)
    }

    /// Makes the policy ready for the rows of one pipeline.
    ///
    /// # Errors
    /// A condition that does not fit the pipeline's columns, a model's condition that names a
    /// column which the pipeline lacks, a device or claim column that is absent or no text, a
    /// decoded column named like a tag column.
    pub fn judge(self: &Arc<Self>, facts: &PipelineFacts) -> Result<Judge, Diagnostics> {
        Judge::new(self.clone(), facts)
    }

    /// A problem at a place of the policy's text.
    pub(crate) fn problem(&self, place: Place, message: String, suggestion: Option<String>) -> Diagnostic {
        Diagnostic { file: self.file.clone(), line: place.line, column: place.column, message, suggestion }
    }
}
