//! The policy made ready for one pipeline.

mod calendar;
mod evaluate;
mod feed;
mod terms;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use datafusion_expr::Expr;
use situs_model::columns;
use situs_model::doc::{Diagnostics, list, nearest, whole_file};
use situs_model::{Class, ContentVersion, DecodedBatch, KeyRing, Masks, PipelineName, TaggedBatch, Training};

use self::calendar::{Calendar, Days};
use crate::check::misfit;
use crate::condition::{CompileError, Compiled, Condition, Question, Scope, Term};
use crate::facts::PipelineFacts;
use crate::factsets::is_text;
use crate::policy::Policy;

/// Why a batch could not be judged. The texts hold no payload.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The rows do not have the columns that the judge was made for.
    #[error("the rows do not have the columns of pipeline `{pipeline}` that the policy was made ready for")]
    Columns {
        /// The pipeline.
        pipeline: PipelineName,
    },
    /// The tag columns could not be put together, which would be a bug.
    #[error("the tag columns of pipeline `{pipeline}` could not be put together")]
    Internal {
        /// The pipeline.
        pipeline: PipelineName,
    },
}

/// A policy made ready for the rows of one pipeline.
///
/// # Memory
/// Nothing is kept from one batch to the next. While a batch is judged, a few numbers per row, a bit per row
/// for each distinct term on columns, and the tag columns: ten columns of 4 bytes per row, and the lists of
/// models and markets.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    pipeline: PipelineName,
    class: Class,
    /// The schema of the rows that come in.
    decoded: SchemaRef,
    /// The same with the tag columns.
    tagged: SchemaRef,
    device: Option<usize>,
    claims: Vec<usize>,
    calendar: Calendar,
    /// The column of the broker's time, where the policy names days.
    time: Option<usize>,
    /// One per rule of the policy, in order.
    rules: Vec<JudgedRule>,
    /// The models that learn from this pipeline.
    models: Vec<JudgedModel>,
    /// The terms of the conditions that read columns, each once.
    terms: Vec<Arc<Question>>,
}

#[derive(Debug)]
struct JudgedRule {
    /// [`Compiled::Never`] too where the pipeline lacks a column that the condition names.
    when: Compiled,
    /// Indices of its terms among the judge's.
    terms: Vec<usize>,
    /// Whether it does.
    lacks: bool,
    days: Days,
}

#[derive(Debug)]
struct JudgedModel {
    /// Index in the policy.
    index: usize,
    filter: Compiled,
    /// Indices of its terms among the judge's.
    terms: Vec<usize>,
    days: Days,
    /// For each zone of the policy, whether the model is deployed outside it.
    leaves_zone: Vec<bool>,
}

impl Judge {
    pub(crate) fn new(policy: Arc<Policy>, facts: &PipelineFacts) -> Result<Self, Diagnostics> {
        let scope = Scope::new(facts);
        let mut problems = Vec::new();
        let mut report = |message: String| problems.push(whole_file(&policy.file, message));

        for field in columns::tag_fields() {
            if facts.schema.column_with_name(field.name()).is_some() {
                let name = field.name();
                report(format!("pipeline `{}`: a decoded column may not be named `{name}`", facts.name));
            }
        }
        let mut text_column = |name: &str, role: &str| {
            let Some((index, field)) = facts.schema.column_with_name(name) else {
                let valid = facts.schema.fields().iter().map(|field| field.name().as_str());
                let mut message = format!("pipeline `{}` has no {role} column `{name}`", facts.name);
                if let Some(word) = nearest(name, valid) {
                    message.push_str(&format!("; did you mean `{word}`?"));
                }
                report(message);
                return None;
            };
            if !is_text(field.data_type()) {
                report(format!(
                    "pipeline `{}`: the {role} column `{name}` must be {}",
                    facts.name,
                    list(&["utf8", "dictionary"])
                ));
            }
            Some(index)
        };
        let device = facts.device_column.as_ref().and_then(|name| text_column(name, "device"));
        let claims = facts.claim_columns.iter().filter_map(|name| text_column(name, "claim")).collect();

        let calendar = Calendar::new(&policy);
        let mut terms = Terms::default();
        let mut rules = Vec::with_capacity(policy.rules.len());
        for entry in &policy.rules {
            let compiled = compile(entry.when.as_ref(), &scope);
            let lacks = matches!(&compiled, Err((_, CompileError::Missing(_))));
            let when = compiled.unwrap_or_else(|(condition, error)| {
                // A rule that names a column which this pipeline lacks matches none of its records.
                if !matches!(error, CompileError::Missing(_)) {
                    let what = format!("`when` in rule `{}`", entry.rule.id);
                    problems.extend(misfit(&policy, &what, condition, facts, &scope, error));
                }
                Compiled::Never
            });
            let terms = terms.of(&when);
            let days = calendar.days(entry.rule.from, entry.rule.until);
            rules.push(JudgedRule { when, terms, lacks, days });
        }
        let mut models = Vec::new();
        for (index, entry) in policy.models.iter().enumerate() {
            if !entry.model.pipelines.contains(&facts.name) {
                continue;
            }
            let filter = compile(entry.filter.as_ref(), &scope).unwrap_or_else(|(condition, error)| {
                let what = format!("`where` in model `{}`", entry.model.id);
                problems.extend(misfit(&policy, &what, condition, facts, &scope, error));
                Compiled::Never
            });
            let leaves_zone = policy
                .zones()
                .map(|zone| entry.model.markets.iter().any(|market| !zone.jurisdictions.contains(market)))
                .collect();
            let days = calendar.days(None, entry.model.until);
            let terms = terms.of(&filter);
            models.push(JudgedModel { index, filter, terms, days, leaves_zone });
        }
        if !problems.is_empty() {
            problems.sort();
            problems.dedup();
            return Err(Diagnostics(problems));
        }
        let fields = facts.schema.fields().iter().cloned();
        let tags = columns::tag_fields().into_iter().map(Arc::new);
        let tagged = Schema::new_with_metadata(
            fields.chain(tags).collect::<Vec<_>>(),
            facts.schema.metadata().clone(),
        );
        let time = facts.schema.column_with_name(columns::names::BROKER_TIME).map(|(index, _)| index);
        let time = time.filter(|_| !calendar.is_empty());
        Ok(Self {
            policy,
            pipeline: facts.name.clone(),
            class: facts.class,
            decoded: facts.schema.clone(),
            tagged: Arc::new(tagged),
            device,
            claims,
            calendar,
            time,
            rules,
            models,
            terms: terms.questions,
        })
    }

    /// The schema of tagged rows: the decoded columns, then
    /// [`tag_fields`](situs_model::columns::tag_fields).
    pub fn schema(&self) -> &SchemaRef {
        &self.tagged
    }

    /// The pipeline that it was made for.
    pub fn pipeline(&self) -> &PipelineName {
        &self.pipeline
    }

    /// The version of the policy, as in `_policy`.
    pub fn policy_version(&self) -> &ContentVersion {
        &self.policy.version
    }

    /// What becomes of the classed values of rows that it has judged, with the keys of the zones.
    pub fn masks(&self, keys: Arc<KeyRing>) -> Masks {
        self.policy.masks(self.tagged.clone(), keys)
    }

    /// Whether a verdict or a tag may depend on this column, by its index among the decoded ones.
    pub fn reads(&self, column: usize) -> bool {
        let conditions =
            self.rules.iter().map(|rule| &rule.when).chain(self.models.iter().map(|model| &model.filter));
        let asks = |condition: &Compiled| matches!(condition, Compiled::Ask(asked) if asked.columns().contains(&column));
        self.device == Some(column)
            || self.claims.contains(&column)
            || self.time == Some(column)
            || conditions.into_iter().any(asks)
    }

    /// Gives every row its tag columns and a verdict. Rows, messages, rejects and notes stay as
    /// they are.
    ///
    /// # Errors
    /// Only if the rows do not have the columns that the judge was made for, or by a bug: no
    /// content of a record makes judging fail.
    pub fn judge(&mut self, decoded: DecodedBatch) -> Result<TaggedBatch, JudgeError> {
        let incoming = decoded.rows.schema_ref();
        let same = Arc::ptr_eq(incoming, &self.decoded) || same_columns(incoming, &self.decoded);
        if !same {
            return Err(JudgeError::Columns { pipeline: self.pipeline.clone() });
        }
        let tagged = evaluate::tag(self, &decoded.rows, decoded.raw.source())
            .map_err(|_| JudgeError::Internal { pipeline: self.pipeline.clone() })?;
        let evaluate::Tagged { columns, verdicts, verdict_of_row } = tagged;
        let all = decoded.rows.columns().iter().cloned().chain(columns).collect();
        let rows = RecordBatch::try_new(self.tagged.clone(), all)
            .map_err(|_: ArrowError| JudgeError::Internal { pipeline: self.pipeline.clone() })?;
        Ok(TaggedBatch { decoded: DecodedBatch { rows, ..decoded }, verdicts, verdict_of_row })
    }

    /// The strictest that a rule and the models fed allow.
    fn training(&self, rule: usize, zone: usize, models: &[usize]) -> Training {
        let training = self.policy.rules.get(rule).map_or(Training::Prohibited, |entry| entry.rule.training);
        let leaves = |model: &usize| {
            self.models.get(*model).is_some_and(|model| model.leaves_zone.get(zone) == Some(&true))
        };
        if models.iter().any(leaves) { training.min(Training::InZone) } else { training }
    }
}

/// The terms of a policy's conditions, each with its number.
#[derive(Debug, Default)]
struct Terms {
    numbers: HashMap<Arc<Expr>, usize>,
    questions: Vec<Arc<Question>>,
}

impl Terms {
    /// The numbers of a condition's terms.
    fn of(&mut self, condition: &Compiled) -> Vec<usize> {
        let Compiled::Ask(question) = condition else { return Vec::new() };
        let mut number = |term: &Term| {
            *self.numbers.entry(term.planned.clone()).or_insert_with(|| {
                self.questions.push(term.question.clone());
                self.questions.len() - 1
            })
        };
        question.terms().iter().map(&mut number).collect()
    }
}

/// Whether two schemas have the same columns in the same order; metadata does not matter.
fn same_columns(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().zip(b.fields()).all(|(a, b)| {
            a.name() == b.name() && a.data_type() == b.data_type() && (b.is_nullable() || !a.is_nullable())
        })
}

/// A condition for the scope; no condition holds always.
fn compile<'a>(
    condition: Option<&'a Condition>,
    scope: &Scope,
) -> Result<Compiled, (&'a Condition, CompileError)> {
    match condition {
        None => Ok(Compiled::Always),
        Some(condition) => condition.compile(scope).map_err(|error| (condition, error)),
    }
}

#[cfg(test)]
mod tests;
