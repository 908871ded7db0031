//! Reading policies: Cedar's own checks, and the names that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Schema, ValidationMode,
    ValidationWarning, Validator,
};

use situs_model::doc::{Diagnostic, nearest, whole_file};
use situs_model::{Class, FieldClass, PurposeId, RuleId, Scenario, TableName};

use super::places::{self, Statement};
use super::{ReaderEntry, question};
use crate::policy::Place;

/// What policies can speak of.
const SCHEMA: &str = include_str!("schema.cedarschema");
/// The namespace of everything in the schema.
const NAMESPACE: &str = "Situs";
/// Annotations that a policy may have.
const ANNOTATIONS: &[&str] = &["id", "reference"];

/// The policies, valid by the schema.
#[derive(Debug)]
pub(super) struct Rules {
    /// Name of their file, for messages.
    pub(super) file: Arc<str>,
    pub(super) schema: Schema,
    pub(super) policies: PolicySet,
    /// In the order of the text.
    pub(super) entries: Vec<RuleEntry>,
    /// What Cedar warns of.
    pub(super) warnings: Vec<Diagnostic>,
    /// Entities that are always the same.
    pub(super) constants: Vec<Entity>,
}

/// A policy.
#[derive(Debug)]
pub(super) struct RuleEntry {
    pub(super) id: String,
    pub(super) place: Place,
    /// The entities that it names, each with its place.
    pub(super) named: Vec<Named>,
}

/// An entity that a policy names.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The type without its namespace, such as `Zone`.
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) place: Place,
}

/// The names that the file of readers gives.
#[derive(Debug)]
pub(super) struct Known {
    names: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Known {
    pub(super) fn new(purposes: &BTreeSet<PurposeId>, readers: &[ReaderEntry]) -> Self {
        let readers = || readers.iter().map(|entry| &entry.reader);
        let names = BTreeMap::from([
            ("Purpose", purposes.iter().map(ToString::to_string).collect()),
            ("Reader", readers().map(|reader| reader.id.to_string()).collect()),
            ("Role", readers().flat_map(|reader| &reader.roles).map(ToString::to_string).collect()),
            (
                "Organisation",
                readers()
                    .filter_map(|reader| reader.organisation.as_ref())
                    .map(ToString::to_string)
                    .collect(),
            ),
        ]);
        Self { names }
    }
}

/// The types of the schema. Cedar reads a name with a parser, which is too slow for each question.
static TYPES: LazyLock<BTreeMap<&str, EntityTypeName>> = LazyLock::new(|| {
    let kinds = [
        "Action",
        "Class",
        "FieldClass",
        "Kind",
        "Organisation",
        "Pipeline",
        "Purpose",
        "Reader",
        "Role",
        "Scenario",
        "SystemTable",
        "Table",
        "Zone",
    ];
    let named = |kind| Some((kind, EntityTypeName::from_str(&format!("{NAMESPACE}::{kind}")).ok()?));
    kinds.into_iter().filter_map(named).collect()
});

/// An entity of the schema.
pub(super) fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let name = TYPES.get(kind).cloned().ok_or_else(|| format!("`{kind}` is no type of the schema"))?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

/// Reads policies. What the readers are called is compared if it is known.
pub(super) fn parse(file: &str, text: &str, known: Option<&Known>) -> Result<Rules, Vec<Diagnostic>> {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA)
        .map_err(|error| vec![whole_file("schema.cedarschema", error.to_string())])?;
    let constants = question::constants().map_err(|error| vec![whole_file("schema.cedarschema", error)])?;
    let reading = Reading { file: file.into(), text, statements: places::statements(text) };
    let parsed = match PolicySet::from_str(text) {
        Ok(parsed) => parsed,
        Err(errors) => {
            return Err(errors.iter().map(|error| reading.told(error, &error.to_string())).collect());
        }
    };

    let mut problems = Vec::new();
    for template in parsed.templates() {
        let statement = reading.statement(template.id());
        let message = "a policy must not have slots such as `?principal`: nobody would fill them";
        problems.push(reading.problem(reading.start(statement), message.to_owned(), None));
    }
    let mut numbered: Vec<(Option<usize>, &cedar_policy::Policy)> =
        parsed.policies().map(|policy| (number(policy.id()), policy)).collect();
    numbered.sort_by_key(|(number, _)| *number);
    let mut policies = PolicySet::new();
    let mut entries: Vec<RuleEntry> = Vec::new();
    for (_, policy) in numbered {
        let statement = reading.statement(policy.id());
        let start = reading.start(statement);
        for (name, _) in policy.annotations().filter(|(name, _)| !ANNOTATIONS.contains(name)) {
            let message = format!("unknown annotation `@{name}` of a policy");
            problems.push(reading.problem(start, message, nearest(name, ANNOTATIONS.iter().copied())));
        }
        let id = match policy.annotation("id") {
            Some(id) if id.parse::<RuleId>().is_ok() => id.to_owned(),
            Some(id) => {
                let found: String = id.chars().take(60).collect();
                let message = format!(
                    "`@id` of a policy: expected lower-case letters, digits or `-`, beginning with a letter, found `{}`",
                    found.escape_default()
                );
                problems.push(reading.problem(start, message, None));
                continue;
            }
            None => {
                let message =
                    "a policy needs an id, such as `@id(\"home-only\")` before `permit` or `forbid`";
                problems.push(reading.problem(start, message.to_owned(), None));
                continue;
            }
        };
        let named: Vec<Named> =
            policy.entity_literals().iter().map(|literal| reading.named(statement, literal)).collect();
        for named in &named {
            problems.extend(reading.unknown(&id, named, known));
        }
        if policies.add(policy.new_id(PolicyId::new(&id))).is_err() {
            problems.push(reading.problem(start, format!("policy id `{id}` is given twice"), None));
            continue;
        }
        entries.push(RuleEntry { id, place: start, named });
    }

    let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    problems.extend(result.validation_errors().map(|error| reading.told(error, &error.to_string())));
    let mut warnings = Vec::new();
    for warning in result.validation_warnings() {
        let told = reading.told(warning, &warning.to_string());
        match warning {
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                warnings.push(told);
            }
            // Characters that look like others, or change the direction of the text, have no use here.
            _ => problems.push(told),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Rules { file: reading.file, schema, policies, entries, warnings, constants })
}

/// The number that Cedar gave a policy: its place among the statements.
fn number(id: &PolicyId) -> Option<usize> {
    id.to_string().strip_prefix("policy")?.parse().ok()
}

/// A text that is being read.
struct Reading<'t> {
    file: Arc<str>,
    text: &'t str,
    statements: Vec<Statement>,
}

impl Reading<'_> {
    fn statement(&self, id: &PolicyId) -> Option<&Statement> {
        self.statements.get(number(id)?)
    }

    fn start(&self, statement: Option<&Statement>) -> Place {
        statement.map_or(Place { line: 0, column: 0 }, |found| places::place(self.text, found.start))
    }

    fn problem(&self, place: Place, message: String, suggestion: Option<String>) -> Diagnostic {
        Diagnostic { file: self.file.clone(), line: place.line, column: place.column, message, suggestion }
    }

    /// A problem that Cedar found, at the place that it tells.
    fn told(&self, error: &dyn miette::Diagnostic, message: &str) -> Diagnostic {
        let label = error.labels().and_then(|mut labels| labels.next());
        let place = match &label {
            Some(label) => places::place(self.text, label.offset()),
            None => Place { line: 0, column: 0 },
        };
        let mut message = message.to_owned();
        for more in [label.as_ref().and_then(|label| label.label()).map(str::to_owned), help(error)]
            .into_iter()
            .flatten()
        {
            if !message.contains(&more) {
                message = format!("{message}: {more}");
            }
        }
        self.problem(place, message, None)
    }

    fn named(&self, statement: Option<&Statement>, literal: &EntityUid) -> Named {
        let (kind, id) = (literal.type_name().to_string(), literal.id().unescaped().to_owned());
        let found = statement
            .into_iter()
            .flat_map(|statement| &statement.literals)
            .find(|found| found.kind == kind && found.id == id);
        let place = match found {
            Some(found) => places::place(self.text, found.start),
            None => self.start(statement),
        };
        let kind = kind.strip_prefix(NAMESPACE).and_then(|kind| kind.strip_prefix("::")).unwrap_or(&kind);
        Named { kind: kind.to_owned(), id, place }
    }

    /// The problem of a name that nobody has, as far as the readers and the words of Situs tell.
    fn unknown(&self, policy: &str, named: &Named, known: Option<&Known>) -> Option<Diagnostic> {
        let fixed = |words: Vec<&str>| Some(words.into_iter().map(str::to_owned).collect::<BTreeSet<_>>());
        let valid = match named.kind.as_str() {
            "Class" => fixed(Class::WORDS.iter().map(|(word, _)| *word).collect()),
            "FieldClass" => fixed(FieldClass::WORDS.iter().map(|(word, _)| *word).collect()),
            "Scenario" => fixed(Scenario::WORDS.iter().map(|(word, _)| *word).collect()),
            "Kind" => Some(TableName::reserved().iter().map(ToString::to_string).collect()),
            kind => known.and_then(|known| known.names.get(kind)).cloned(),
        }?;
        let why = match named.kind.as_str() {
            "Purpose" => "which is none of `purposes`",
            "Reader" => "whom `readers` does not have",
            "Role" => "which no reader has",
            "Organisation" => "to which no reader belongs",
            _ => "which does not exist",
        };
        self.check(policy, named, &valid, why)
    }

    fn check(&self, policy: &str, named: &Named, valid: &BTreeSet<String>, why: &str) -> Option<Diagnostic> {
        let (message, suggestion) = unknown_name(policy, named, valid, why)?;
        Some(self.problem(named.place, message, suggestion))
    }
}

/// The message about a name that is none of `valid`, and the nearest one that is.
pub(super) fn unknown_name(
    policy: &str,
    named: &Named,
    valid: &BTreeSet<String>,
    why: &str,
) -> Option<(String, Option<String>)> {
    if valid.contains(&named.id) {
        return None;
    }
    let shown: String = named.id.chars().take(60).collect();
    let message =
        format!("policy `{policy}` names {NAMESPACE}::{}::\"{}\", {why}", named.kind, shown.escape_default());
    Some((message, nearest(&named.id, valid.iter().map(String::as_str))))
}

/// What Cedar advises.
fn help(error: &dyn miette::Diagnostic) -> Option<String> {
    error.help().map(|help| help.to_string())
}
