//! Who may read which table, for which purpose: `readers.yaml` names the readers, `readers.cedar` says
//! what they may (docs/readers.md).
//!
//! The policies are asked once when a session is opened, for each class of rows and each class of fields of
//! each table. What comes out is plain data ([`Permitted`]) that names the policies which decided.

mod cedar;
mod lint;
mod places;
mod question;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use situs_model::columns::names;
use situs_model::doc::{Diagnostic, Diagnostics};
use situs_model::{
    Class, ColumnClasses, ContentVersion, FieldClass, OrganisationId, PipelineName, PurposeId, ReadGrant,
    ReaderId, RoleId, Scenario, TableName, ZoneId,
};

use crate::facts::PipelineFacts;
use crate::policy::{Place, Policy};
use cedar::Rules;

/// Somebody or something that reads tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The name.
    pub id: ReaderId,
    /// From where they read. This is declared, not measured.
    pub zone: ZoneId,
    /// Whom they belong to.
    pub organisation: Option<OrganisationId>,
    /// What they do.
    pub roles: BTreeSet<RoleId>,
}

/// The readers, the purposes, and the policies.
///
/// ```
/// use situs_policy::Readers;
/// let readers = "
/// purposes: [training]
/// readers: { ana: { zone: EU, roles: [data-science] } }
/// ";
/// let policies = r#"
/// @id("home")
/// permit (principal, action == Situs::Action::"read", resource is Situs::Table)
/// when { resource.zone == principal.zone && context.class in Situs::Class::"general" };
/// "#;
/// let readers = Readers::parse_files("readers.yaml", readers, "readers.cedar", policies).unwrap();
/// assert_eq!(readers.readers().count(), 1);
/// let again = Readers::parse("archive.yaml", readers.text()).unwrap();
/// assert_eq!(again.version(), readers.version());
/// ```
#[derive(Debug)]
pub struct Readers {
    /// Name of the file of readers, for messages.
    file: Arc<str>,
    text: String,
    version: ContentVersion,
    readers: Vec<ReaderEntry>,
    purposes: BTreeSet<PurposeId>,
    rules: Rules,
}

#[derive(Debug)]
struct ReaderEntry {
    reader: Reader,
    place: Place,
    zone_place: Place,
}

/// A table as the policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// The zone whose store holds it.
    pub zone: ZoneId,
    /// Its name.
    pub name: TableName,
    /// What fills it; `None` if Situs keeps it itself.
    pub pipeline: Option<TablePipeline>,
}

/// What is to be known of the pipeline that fills a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePipeline {
    /// The pipeline.
    pub name: PipelineName,
    /// What its telemetry is used for.
    pub scenario: Scenario,
    /// The columns whose fields have a class, by today's schema, and those that it drops.
    pub columns: BTreeMap<String, ColumnClasses>,
}

impl TableFacts {
    /// Every table that may be in a store of these zones: those of the pipelines, and those that Situs keeps.
    pub fn all(policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Self> {
        let mut tables = Vec::new();
        for zone in policy.zones() {
            for facts in pipelines {
                tables.push(Self {
                    zone: zone.id.clone(),
                    name: TableName::of(&facts.name),
                    pipeline: Some(TablePipeline {
                        name: facts.name.clone(),
                        scenario: facts.scenario,
                        columns: classes_of_columns(facts),
                    }),
                });
            }
            let kept = |name| Self { zone: zone.id.clone(), name, pipeline: None };
            tables.extend(TableName::reserved().map(kept));
        }
        tables
    }

    /// The name that a statement and a policy would write, such as `eu.cnc_state`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.zone.schema_name(), self.name)
    }

    /// The class of all rows of a table that Situs keeps itself. Quarantine holds messages whole, and nobody
    /// has said what they are.
    fn class_of_kept(&self) -> Class {
        if [TableName::receipts(), TableName::releases()].contains(&self.name) {
            Class::General
        } else {
            Class::Unclassified
        }
    }
}

fn classes_of_columns(facts: &PipelineFacts) -> BTreeMap<String, ColumnClasses> {
    let fields = facts.schema.fields().iter();
    let mut columns: BTreeMap<String, ColumnClasses> =
        fields.map(|field| (field.name().clone(), ColumnClasses::of_column(field))).collect();
    // A table still holds what it got before the schema dropped it.
    for name in facts.dropped() {
        columns.insert(name.to_owned(), ColumnClasses::of(FieldClass::Personal));
    }
    // It repeats what the columns of claims hold.
    let mut claimed = ColumnClasses::default();
    for classes in facts.claim_columns.iter().filter_map(|name| columns.get(name)) {
        claimed.stored.extend(&classes.stored);
        // What is masked in the column of the claim is not masked there.
        claimed.stored.extend(classes.personal_is_null.then_some(FieldClass::Personal));
    }
    columns.insert(names::CLAIMED.to_owned(), claimed);
    columns.retain(|_, classes| !classes.is_empty());
    columns
}

/// An answer to one question, and the policies that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub of: T,
    /// Whether it is permitted.
    pub allowed: bool,
    /// The ids of the deciding policies: those that permit, or those that forbid. None if no policy applies,
    /// which denies.
    pub policies: Vec<String>,
    /// The ids of policies that failed. If there is one, nothing is permitted.
    pub failed: Vec<String>,
}

/// What a reader may see of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableAnswer {
    /// The table.
    pub table: TableFacts,
    /// An answer for each class of rows that the table can have.
    pub rows: Vec<Answer<Class>>,
    /// An answer for each class of fields; none for tables that Situs keeps itself.
    pub fields: Vec<Answer<FieldClass>>,
}

impl TableAnswer {
    /// Whether the table exists for the reader: rows of some class are permitted.
    pub fn is_allowed(&self) -> bool {
        self.rows.iter().any(|answer| answer.allowed)
    }

    /// The columns that today's schema knows and the reader does not see.
    pub fn hidden_columns(&self) -> Vec<&str> {
        let denied = |class: &FieldClass| !self.fields.iter().any(|a| a.of == *class && a.allowed);
        let columns = self.table.pipeline.iter().flat_map(|pipeline| &pipeline.columns);
        columns
            .filter(|(_, classes)| classes.stored.iter().any(denied))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The right that the answer gives; `None` if there is none.
    pub fn grant(&self) -> Option<ReadGrant> {
        if !self.is_allowed() {
            return None;
        }
        let pipeline = self.table.pipeline.as_ref();
        Some(ReadGrant {
            zone: self.table.zone.clone(),
            table: self.table.name.clone(),
            classes: match pipeline {
                Some(_) => self.rows.iter().filter(|answer| answer.allowed).map(|answer| answer.of).collect(),
                // Their rows have no class of their own.
                None => Class::WORDS.iter().map(|(_, class)| *class).collect(),
            },
            fields: match pipeline {
                Some(_) => {
                    self.fields.iter().filter(|answer| answer.allowed).map(|answer| answer.of).collect()
                }
                None => FieldClass::WORDS.iter().map(|(_, class)| *class).collect(),
            },
            columns: pipeline.map(|pipeline| pipeline.columns.clone()).unwrap_or_default(),
        })
    }
}

/// What a reader may see for a purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// The reader.
    pub reader: Reader,
    /// The purpose.
    pub purpose: PurposeId,
    /// The version of the readers and their policies.
    pub version: ContentVersion,
    /// An answer for each table that was asked for, in that order.
    pub tables: Vec<TableAnswer>,
}

impl Permitted {
    /// The rights that the answers give.
    pub fn grants(&self) -> Vec<ReadGrant> {
        self.tables.iter().filter_map(TableAnswer::grant).collect()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// Nobody of this name is registered.
    #[error("there is no reader `{name}`{}", hint(nearest.as_deref()))]
    UnknownReader {
        /// The name, as far as it fits a message.
        name: String,
        /// The nearest reader.
        nearest: Option<String>,
    },
    /// No such purpose is registered.
    #[error("there is no purpose `{name}`{}", hint(nearest.as_deref()))]
    UnknownPurpose {
        /// The name, as far as it fits a message.
        name: String,
        /// The nearest purpose.
        nearest: Option<String>,
    },
    /// The policies cannot be asked, which is a bug.
    #[error("the policies of readers cannot be asked: {0}")]
    Engine(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

impl Readers {
    /// Reads the two files. The names are those to show in messages.
    ///
    /// # Errors
    /// Every problem that can be seen without policy and pipelines, by file and place: of the form, of
    /// Cedar's grammar, of the schema (validated strictly), and names that nobody has.
    pub fn parse_files(file: &str, text: &str, cedar_file: &str, cedar: &str) -> Result<Self, Diagnostics> {
        text::parse_files(file, text, cedar_file, cedar)
    }

    /// Reads what [`text`](Self::text) gave. Places of problems in policies are those of `file`.
    ///
    /// # Errors
    /// As [`parse_files`](Self::parse_files).
    pub fn parse(file: &str, whole: &str) -> Result<Self, Diagnostics> {
        text::parse_whole(file, whole)
    }

    /// The hash of [`text`](Self::text). It is no part of the policy's version: who may read changes
    /// nothing about where records live.
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// Both files as one: the readers, and behind them the policies in lines that begin with `#@`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The readers in the order of the text.
    pub fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.readers.iter().map(|entry| &entry.reader)
    }

    /// The purposes, in order.
    pub fn purposes(&self) -> impl Iterator<Item = &PurposeId> {
        self.purposes.iter()
    }

    /// The ids of the policies, in the order of the text.
    pub fn policy_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.entries.iter().map(|entry| entry.id.as_str())
    }

    /// Checks everything that needs the policy and the pipelines: zones, pipelines and tables that are named.
    pub fn check(&self, policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
        lint::check(self, policy, pipelines)
    }

    /// Warns of what is allowed and hardly meant: policies that can never apply or decide nothing, readers
    /// who may read nothing. For readers without problems ([`check`](Self::check)).
    pub fn lint(&self, policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
        lint::lint(self, policy, pipelines)
    }

    /// What a reader may see of these tables for a purpose. What no policy permits is denied; what one
    /// forbids is denied whatever others permit; and while a policy fails, everything that it might have
    /// decided is denied.
    ///
    /// # Errors
    /// [`PermitError`].
    pub fn permit(
        &self,
        reader: &str,
        purpose: &str,
        tables: &[TableFacts],
    ) -> Result<Permitted, PermitError> {
        question::permit(self, reader, purpose, tables)
    }
}

#[cfg(test)]
mod tests;
