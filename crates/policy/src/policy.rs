//! A policy as it was read.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use situs_model::doc::{Diagnostic, Diagnostics};
use situs_model::mask::Outside;
use situs_model::transfer::Transfer;
use situs_model::{
    Age, BasisKind, Class, ClusterName, ContentVersion, Date, Jurisdiction, KeyRing, LineId, Masks, ModelId,
    PipelineName, RuleId, SiteId, Subdivision, Training, ZoneId,
};

use crate::condition::Condition;
use crate::devices::DevicesFile;
use crate::diff::PolicyDiff;
use crate::facts::PipelineFacts;
use crate::judge::Judge;
use crate::registry::Registry;

/// A named set of jurisdictions whose records share one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub id: ZoneId,
    /// Its jurisdictions, groups resolved. Of other zones only those that it is nested in, and those that
    /// are nested in it, have some of them.
    pub jurisdictions: Vec<Jurisdiction>,
    /// The zone that it is nested in.
    pub within: Option<ZoneId>,
}

/// A plant or line in one jurisdiction, as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub id: SiteId,
    /// Where it is.
    pub jurisdiction: Jurisdiction,
    /// The part of the jurisdiction.
    pub subdivision: Option<Subdivision>,
    /// The cluster that it sends to; `None` is any.
    pub cluster: Option<ClusterName>,
    /// The topics that it sends on; `None` is any topic.
    pub topics: Option<Vec<Arc<str>>>,
    /// The ids of the devices registered here, on no line.
    pub devices: Vec<Arc<str>>,
    /// Its lines with the ids of their devices.
    pub lines: Vec<(LineId, Vec<Arc<str>>)>,
    /// The file that some of its devices come from.
    pub devices_file: Option<String>,
    /// Whether its topics alone say that a record is from here.
    pub any_device: bool,
}

impl Site {
    /// All devices, each with its line.
    pub fn all_devices(&self) -> impl Iterator<Item = (Option<&LineId>, &Arc<str>)> {
        let of_lines =
            self.lines.iter().flat_map(|(line, devices)| devices.iter().map(move |d| (Some(line), d)));
        self.devices.iter().map(|device| (None, device)).chain(of_lines)
    }
}

/// A rule: which records must live in which zone, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// The zone that it gives; `None` is the innermost that has the record's jurisdiction.
    pub zone: Option<ZoneId>,
    /// The jurisdictions of the records that it is for, groups resolved, in order; `None` is all.
    pub jurisdictions: Option<Vec<Jurisdiction>>,
    /// The first day on which it matches, by the broker's time in UTC.
    pub from: Option<Date>,
    /// The last day on which it matches.
    pub until: Option<Date>,
    /// The class that its records have at least.
    pub class: Option<Class>,
    /// What it rests on.
    pub basis: BasisKind,
    /// The law or contract that it rests on.
    pub reference: Option<String>,
    /// Whether models may learn from the records.
    pub training: Training,
    /// The SQL condition; `None` is always.
    pub when: Option<String>,
}

impl Rule {
    /// Whether it is for records of this jurisdiction, as far as its `jurisdictions` say.
    pub fn is_for(&self, jurisdiction: Jurisdiction) -> bool {
        self.jurisdictions.as_ref().is_none_or(|list| list.binary_search(&jurisdiction).is_ok())
    }

    /// The zone that it gives, as it stands in the policy.
    pub fn zone_name(&self) -> &str {
        self.zone.as_ref().map_or(INNERMOST, ZoneId::as_str)
    }
}

/// The word that stands in a rule for the innermost zone that has the record's jurisdiction.
pub(crate) const INNERMOST: &str = "innermost";

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
    /// The last day, by the broker's time in UTC, whose records it learns from.
    pub until: Option<Date>,
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
    /// Indices of the zones that it is nested in, from the inside out.
    pub(crate) around: Vec<usize>,
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
    pub(crate) place: Place,
    pub(crate) when: Option<Condition>,
    /// Index of its zone; `None` is the innermost.
    pub(crate) zone: Option<usize>,
}

/// How long rows are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The pipelines whose rows they are; all if empty.
    pub pipelines: Vec<PipelineName>,
    /// Only rows of this class.
    pub class: Option<Class>,
    /// Rows that are younger are not deleted.
    pub at_least: Option<Age>,
    /// Rows that are older are to be deleted.
    pub at_most: Option<Age>,
}

impl Retention {
    /// Whether there may be rows that both are for.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let classes = self.class.is_none() || other.class.is_none() || self.class == other.class;
        let all = self.pipelines.is_empty() || other.pipelines.is_empty();
        classes && (all || self.pipelines.iter().any(|pipeline| other.pipelines.contains(pipeline)))
    }
}

#[derive(Debug)]
pub(crate) struct RetentionEntry {
    pub(crate) retention: Retention,
    pub(crate) place: Place,
    pub(crate) pipeline_places: Vec<Place>,
}

#[derive(Debug)]
pub(crate) struct ModelEntry {
    pub(crate) model: Model,
    pub(crate) place: Place,
    pub(crate) filter: Option<Condition>,
    pub(crate) pipeline_places: Vec<Place>,
}

#[derive(Debug)]
pub(crate) struct TransferEntry {
    pub(crate) transfer: Transfer,
    pub(crate) place: Place,
    pub(crate) condition: Option<Condition>,
    pub(crate) pipeline_places: Vec<Place>,
    /// Of the columns that go, in their order.
    pub(crate) column_places: Vec<Place>,
}

/// The versioned rules: zones, site registry, rules, models and transfers.
///
/// # Memory
/// The text is kept, with all devices that came from files, and every device id once more (100,000 devices:
/// about 15 MB).
///
/// ```
/// use situs_policy::Policy;
/// let text = "
/// zones: { CN: { jurisdictions: [CN] } }
/// sites: { nanning-1: { jurisdiction: CN, devices: [nn-cnc-001] } }
/// rules: [ { id: cn-resident, when: _jurisdiction = 'CN', zone: CN, basis: law, training: in-zone } ]
/// ";
/// let policy = Policy::parse("policy.yaml", text).unwrap();
/// assert_eq!(policy.rule("cn-resident").unwrap().zone_name(), "CN");
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
    pub(crate) transfers: Vec<TransferEntry>,
    pub(crate) retention: Vec<RetentionEntry>,
    pub(crate) registry: Registry,
}

impl Policy {
    /// Reads a policy that needs no other files. `file` is its name in messages.
    ///
    /// # Errors
    /// Every problem in it that can be seen without the pipelines, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        crate::parse::parse(file, text, Vec::new())
    }

    /// Reads a policy with the files that it names (see [`devices_files`](Self::devices_files)).
    ///
    /// # Errors
    /// As [`parse`](Self::parse); a file that is named and not given.
    pub fn parse_with(file: &str, text: &str, files: Vec<DevicesFile>) -> Result<Self, Diagnostics> {
        crate::parse::parse(file, text, files)
    }

    /// The names of the files that the sites of this text want their devices from, as they stand there.
    /// None if the text is no policy, or holds their rows already as [`text`](Self::text) does.
    pub fn devices_files(text: &str) -> Vec<String> {
        crate::parse::devices_files(text)
    }

    /// The hash of [`text`](Self::text).
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// The text that was read, and behind it the rows of all files that it names (docs/policy.md).
    /// [`parse`](Self::parse) reads it into the same policy, without the files.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The zones in the order of the text.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().map(|entry| &entry.zone)
    }

    /// Index of the innermost zone that has the jurisdiction.
    pub(crate) fn innermost(&self, jurisdiction: Jurisdiction) -> Option<usize> {
        let has = |(_, entry): &(usize, &ZoneEntry)| entry.zone.jurisdictions.contains(&jurisdiction);
        let zones = self.zones.iter().enumerate().filter(has);
        zones.max_by_key(|(_, entry)| entry.around.len()).map(|(index, _)| index)
    }

    /// Index of the zone in which a rule places records of a jurisdiction; `None` if the rule's zone does
    /// not have it.
    pub(crate) fn placed(&self, rule: usize, jurisdiction: Jurisdiction) -> Option<usize> {
        match self.rules.get(rule)?.zone {
            Some(zone) => self.zones[zone].zone.jurisdictions.contains(&jurisdiction).then_some(zone),
            None => self.innermost(jurisdiction),
        }
    }

    /// Per zone, its jurisdictions that a zone within it has, with the innermost of these: the plant's zone.
    /// Zones without such jurisdictions are left out, and so are those in which no rule places them.
    pub fn outside(&self) -> Outside {
        let mut outside = Outside::new();
        for (index, entry) in self.rules.iter().enumerate() {
            let Some(zone) = entry.zone.and_then(|zone| self.zones.get(zone)) else { continue };
            for jurisdiction in &zone.zone.jurisdictions {
                let plant = self.innermost(*jurisdiction).and_then(|plant| self.zones.get(plant));
                let Some(plant) = plant.filter(|plant| plant.zone.id != zone.zone.id) else { continue };
                if entry.rule.is_for(*jurisdiction) && self.placed(index, *jurisdiction).is_some() {
                    let of_zone = outside.entry(zone.zone.id.clone()).or_default();
                    of_zone.insert(*jurisdiction, plant.zone.id.clone());
                }
            }
        }
        outside
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

    /// How long rows are kept, in the order of the text, each with the line in which it stands.
    pub fn retention(&self) -> impl Iterator<Item = (&Retention, u32)> {
        self.retention.iter().map(|entry| (&entry.retention, entry.place.line))
    }

    /// Checks everything that needs the pipelines: the columns and types of conditions, the
    /// pipelines of models and transfers, columns that never leave their zone, topics of sites that no pipeline reads, jurisdictions that no rule can
    /// place. `pipelines` are all pipelines of this installation.
    pub fn check(&self, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
        crate::check::check(self, pipelines)
    }

    /// Warns of what is allowed and yet is hardly meant: rules that are never reached, rules that come to the
    /// same records and place them differently, records that no rule matches, rules and models that ended
    /// before `today`, transfers that ended or that no rule lets anything go by, sites that no record can come from. For a policy without problems
    /// ([`check`](Self::check)).
    pub fn lint(&self, pipelines: &[PipelineFacts], today: Date) -> Vec<Diagnostic> {
        crate::lint::lint(self, pipelines, today)
    }

    /// What differs in `new`, and what that means for records of these pipelines.
    pub fn diff(&self, new: &Self, pipelines: &[PipelineFacts]) -> PolicyDiff {
        PolicyDiff::between(self, new, pipelines)
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

    /// What becomes of the classed values of rows with these columns, with the keys of the zones.
    pub fn masks(&self, schema: SchemaRef, keys: Arc<KeyRing>) -> Masks {
        Masks::new(schema, self.outside(), keys)
    }

    /// A problem at a place of the policy's text.
    pub(crate) fn problem(&self, place: Place, message: String, suggestion: Option<String>) -> Diagnostic {
        Diagnostic { file: self.file.clone(), line: place.line, column: place.column, message, suggestion }
    }
}
