//! Transfers against the pipelines: what is wrong with their columns and conditions, and the condition made ready
//! for rows as a table holds them.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef};
use situs_model::columns::{is_reserved, names};
use situs_model::doc::{Diagnostic, Diagnostics, nearest};
use situs_model::transfer::{Cargo, Transfer, field_stays};
use situs_model::{FieldClass, PipelineName};

use crate::check::misfit;
use crate::condition::{Answer, CompileError, Compiled, Scope};
use crate::facts::{LINE, PipelineFacts, SUBDIVISION};
use crate::policy::{Policy, TransferEntry};

/// Key of a column's metadata under which `decode` writes its class.
const CLASS: &str = "situs.class";

/// What tables hold, which is not all that a rule may ask: nothing of the registry but the site.
const NOT_STORED: [&str; 2] = [SUBDIVISION, LINE];

/// What no transfer may ask, since which rows went would tell of it.
const UNASKED: [&str; 2] = [names::EXTRA, names::CLAIMED];

/// Problems of a policy's transfers with these pipelines.
pub(crate) fn check(policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for entry in &policy.transfers {
        let id = &entry.transfer.id;
        let named: Vec<&PipelineName> = match &entry.transfer.cargo {
            Cargo::Rows { pipeline, .. } => vec![pipeline],
            Cargo::Derived { pipelines } => pipelines.iter().collect(),
        };
        let mut found = None;
        for (name, place) in named.into_iter().zip(&entry.pipeline_places) {
            found = pipelines.iter().find(|facts| facts.name == *name);
            if found.is_none() {
                let message = format!("transfer `{id}`: there is no pipeline `{name}`");
                let valid = pipelines.iter().map(|facts| facts.name.as_str());
                problems.push(policy.problem(*place, message, nearest(name.as_str(), valid)));
            }
        }
        if let (Some(facts), Cargo::Rows { columns, .. }) = (found, &entry.transfer.cargo) {
            check_columns(policy, entry, columns, facts, &mut problems);
            check_condition(policy, entry, facts, &mut problems);
        }
    }
    problems
}

fn check_columns(
    policy: &Policy,
    entry: &TransferEntry,
    columns: &[String],
    facts: &PipelineFacts,
    problems: &mut Vec<Diagnostic>,
) {
    let (id, pipeline) = (&entry.transfer.id, &facts.name);
    for (column, place) in columns.iter().zip(&entry.column_places) {
        let (message, suggestion) = if column == names::EXTRA {
            let what = "holds what nobody has classified, and never leaves its zone";
            (format!("transfer `{id}`: column `{column}` {what}"), None)
        } else if is_reserved(column) {
            let what = "is one that Situs adds: it goes along, or never";
            (format!("transfer `{id}`: column `{column}` {what}"), None)
        } else if let Ok(field) = facts.schema.field_with_name(column) {
            let Some(class) = class_of(field).filter(|class| field_stays(*class)) else { continue };
            let what = format!("is of class `{class}`, which never leaves its zone");
            (format!("transfer `{id}`: column `{column}` {what}"), None)
        } else {
            let valid = facts.schema.fields().iter().map(|field| field.name().as_str());
            let nearest = nearest(column, valid.filter(|name| !is_reserved(name)));
            (format!("transfer `{id}`: pipeline `{pipeline}` has no column `{column}`"), nearest)
        };
        problems.push(policy.problem(*place, message, suggestion));
    }
}

fn check_condition(
    policy: &Policy,
    entry: &TransferEntry,
    facts: &PipelineFacts,
    problems: &mut Vec<Diagnostic>,
) {
    let Some(condition) = &entry.condition else { return };
    let what = format!("`where` in transfer `{}`", entry.transfer.id);
    let unstored = condition.columns.iter().find(|name| NOT_STORED.contains(&name.as_str()));
    let message = if let Some(name) = unstored {
        format!("{what}: `{name}` is not stored with the rows; name `{}` instead", names::SITE)
    } else if condition.names(names::CLASS) {
        format!("{what}: which classes go is said by `ceiling`")
    } else if let Some(name) = UNASKED.into_iter().find(|name| condition.names(name)) {
        format!("{what}: `{name}` holds what nobody has classified, so which rows go cannot depend on it")
    } else {
        let scope = stored(facts);
        match condition.compile(&scope) {
            Ok(Compiled::Never) => format!("{what} holds for no record"),
            Ok(_) => return,
            Err(error) => {
                problems.extend(misfit(policy, &what, condition, facts, &scope, error));
                return;
            }
        }
    };
    problems.push(policy.problem(condition.place, message, None));
}

/// The class of a column, if its schema gives it one.
fn class_of(field: &Field) -> Option<FieldClass> {
    let word = field.metadata().get(CLASS)?;
    FieldClass::WORDS.iter().find(|(known, _)| known == word).map(|(_, class)| *class)
}

/// The names of conditions as a table's files hold them: text that was a dictionary in memory is text.
fn stored(facts: &PipelineFacts) -> Scope {
    Scope::new(facts).map_fields(|field| {
        let kept = !NOT_STORED.contains(&field.name().as_str());
        kept.then(|| match field.data_type() {
            DataType::Dictionary(_, value) => {
                Arc::new(Field::new(field.name(), value.as_ref().clone(), field.is_nullable()))
            }
            _ => field,
        })
    })
}

/// A transfer of rows, made ready for the rows of its pipeline's table.
#[derive(Debug)]
pub struct RowFilter {
    condition: Compiled,
    columns: Vec<FieldRef>,
    claims_go: bool,
}

impl RowFilter {
    /// Makes a transfer's condition ready.
    ///
    /// # Errors
    /// If it means nothing on the pipeline's columns.
    pub(crate) fn new(
        policy: &Policy,
        entry: &TransferEntry,
        facts: &PipelineFacts,
    ) -> Result<Self, Diagnostics> {
        let mut problems = Vec::new();
        if let Cargo::Rows { columns, .. } = &entry.transfer.cargo {
            check_columns(policy, entry, columns, facts, &mut problems);
        }
        check_condition(policy, entry, facts, &mut problems);
        let scope = stored(facts);
        let condition = match &entry.condition {
            None => Ok(Compiled::Always),
            Some(condition) => condition.compile(&scope),
        };
        match condition {
            Ok(condition) if problems.is_empty() => {
                let columns = match &condition {
                    Compiled::Ask(question) => question.fields(),
                    Compiled::Always | Compiled::Never => Vec::new(),
                };
                Ok(Self { condition, columns, claims_go: claims_go(facts) })
            }
            Err(CompileError::Invalid(message)) if problems.is_empty() => {
                Err(Diagnostics(vec![policy.problem(entry.place, message, None)]))
            }
            _ => Err(Diagnostics(problems)),
        }
    }

    /// The columns that it looks at, with the types in which it takes them.
    pub fn columns(&self) -> &[FieldRef] {
        &self.columns
    }

    /// Whether what the records say of their own origin may go along: not if a field that says it never goes.
    pub fn claims_go(&self) -> bool {
        self.claims_go
    }

    /// Whether it holds for each row of a batch that has its columns. `None` is no answer, as of a division
    /// by zero: such a row does not go.
    pub fn ask(&self, rows: &RecordBatch) -> Vec<Option<bool>> {
        let question = match &self.condition {
            Compiled::Always => return vec![Some(true); rows.num_rows()],
            Compiled::Never => return vec![Some(false); rows.num_rows()],
            Compiled::Ask(question) => question,
        };
        let columns: Option<Vec<ArrayRef>> =
            self.columns.iter().map(|field| rows.column_by_name(field.name()).cloned()).collect();
        let Some(columns) = columns else { return vec![None; rows.num_rows()] };
        debug_assert!(columns.iter().all(|column| column.len() == rows.num_rows()));
        let answer = |answer| match answer {
            Answer::Yes => Some(true),
            Answer::No => Some(false),
            Answer::Failed => None,
        };
        question.ask(&columns, rows.num_rows()).into_iter().map(answer).collect()
    }
}

impl Policy {
    /// The transfers in the order of the text.
    pub fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.iter().map(|entry| &entry.transfer)
    }

    /// The transfer of this id.
    pub fn transfer(&self, id: &str) -> Option<&Transfer> {
        self.transfers().find(|transfer| transfer.id.as_str() == id)
    }

    /// What goes of a transfer of this policy, for rows as the table of its pipeline holds them.
    ///
    /// # Errors
    /// Columns that the pipeline lacks or that never go, and a condition that does not fit its columns, each
    /// with its place. None for a transfer that the policy does not have.
    pub fn row_filter(&self, id: &str, facts: &PipelineFacts) -> Result<RowFilter, Diagnostics> {
        let entry = self.transfers.iter().find(|entry| entry.transfer.id.as_str() == id);
        match entry {
            Some(entry) => RowFilter::new(self, entry, facts),
            None => Err(Diagnostics(Vec::new())),
        }
    }
}

fn claims_go(facts: &PipelineFacts) -> bool {
    let stays = |column: &String| {
        let field = facts.schema.field_with_name(column).ok();
        field.and_then(class_of).is_some_and(field_stays)
    };
    !facts.claim_columns.iter().any(stays)
}
