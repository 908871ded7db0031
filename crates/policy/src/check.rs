//! What can be said of a policy only when the pipelines are known.

use std::collections::BTreeSet;

use situs_model::columns::{names, tag_fields};
use situs_model::doc::{Diagnostic, list, nearest};

use crate::condition::{CompileError, Compiled, Condition, Scope};
use crate::facts::{PIPELINE, PipelineFacts, SCENARIO};
use crate::policy::{Place, Policy};

/// Every problem of the policy with these pipelines, in the order of the text.
pub(crate) fn check(policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
    let scopes = pipelines.iter().map(|facts| (facts, Scope::new(facts))).collect();
    let mut checker = Checker { policy, pipelines: scopes, problems: Vec::new() };
    checker.topics();
    checker.rules();
    checker.models();
    checker.retention();
    checker.coverage();
    let mut problems = checker.problems;
    problems.extend(crate::transfers::check(policy, pipelines));
    problems.sort();
    problems.dedup();
    problems
}

/// The problem of a condition that does not fit a pipeline.
pub(crate) fn misfit(
    policy: &Policy,
    what: &str,
    condition: &Condition,
    facts: &PipelineFacts,
    scope: &Scope,
    error: CompileError,
) -> Vec<Diagnostic> {
    match error {
        CompileError::Missing(columns) => columns
            .iter()
            .map(|column| {
                let message = format!("{what}: pipeline `{}` has no column `{column}`", facts.name);
                missing(policy, condition.place, message, column, scope.names())
            })
            .collect(),
        CompileError::Invalid(message) => {
            vec![policy.problem(
                condition.place,
                format!("{what}, on pipeline `{}`: {message}", facts.name),
                None,
            )]
        }
    }
}

fn missing<'a>(
    policy: &Policy,
    place: Place,
    mut message: String,
    column: &str,
    valid: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    if column == names::INGEST_TIME {
        message.push_str(" for conditions: it changes when a record is replayed");
        return policy.problem(place, message, None);
    }
    if tag_fields().iter().any(|field| field.name() == column) {
        message.push_str(" for conditions: it is what the policy decides");
        return policy.problem(place, message, None);
    }
    let suggestion = nearest(column, valid);
    // Only in double quotes can a name have capitals.
    if suggestion.is_none() && column.chars().any(char::is_uppercase) {
        message.push_str(" (text stands in single quotes)");
    }
    policy.problem(place, message, suggestion)
}

struct Checker<'a> {
    policy: &'a Policy,
    pipelines: Vec<(&'a PipelineFacts, Scope)>,
    problems: Vec<Diagnostic>,
}

impl Checker<'_> {
    /// A site that sends on a topic which nobody reads is most likely misspelt.
    fn topics(&mut self) {
        let read: BTreeSet<&str> =
            self.pipelines.iter().flat_map(|(facts, _)| &facts.topics).map(AsRef::as_ref).collect();
        for entry in &self.policy.sites {
            for (topic, place) in entry.site.topics.iter().flatten().zip(&entry.topic_places) {
                if !read.contains(&**topic) {
                    let message = format!("site `{}`: no pipeline reads topic `{topic}`", entry.site.id);
                    self.problems.push(self.policy.problem(
                        *place,
                        message,
                        nearest(topic, read.iter().copied()),
                    ));
                }
            }
        }
    }

    /// A rule may name columns that some pipelines lack, but not columns that all lack.
    fn rules(&mut self) {
        if self.pipelines.is_empty() {
            return;
        }
        let names = self.pipelines.iter().flat_map(|(_, scope)| scope.names());
        let all: BTreeSet<&str> = names.collect();
        // These are told of for themselves.
        let guarded: BTreeSet<&str> = self.pipelines.iter().flat_map(|(_, scope)| scope.guarded()).collect();
        for entry in &self.policy.rules {
            let Some(condition) = &entry.when else { continue };
            let what = format!("`when` in rule `{}`", entry.rule.id);
            let unknown =
                |column: &&String| !all.contains(column.as_str()) && !guarded.contains(column.as_str());
            for column in condition.columns.iter().filter(unknown) {
                let message = format!("{what}: no pipeline has a column `{column}`");
                let problem = missing(self.policy, condition.place, message, column, all.iter().copied());
                self.problems.push(problem);
            }
            let depends_on_pipeline =
                [names::CLASS, PIPELINE, SCENARIO].iter().any(|name| condition.names(name));
            let mut asked = 0;
            let mut never = 0;
            for (facts, scope) in &self.pipelines {
                match condition.compile(scope) {
                    Ok(compiled) => {
                        asked += 1;
                        never += usize::from(matches!(compiled, Compiled::Never));
                    }
                    Err(CompileError::Missing(_)) => {}
                    Err(error) => {
                        self.problems.extend(misfit(self.policy, &what, condition, facts, scope, error));
                    }
                }
            }
            // A rule for a class that no pipeline has today is foresight; one that contradicts
            // itself is a mistake.
            if never > 0 && never == asked && !depends_on_pipeline {
                let message = format!("{what} holds for no record");
                self.problems.push(self.policy.problem(condition.place, message, None));
            }
        }
    }

    /// A model needs the columns of its condition in each of its pipelines.
    fn models(&mut self) {
        let valid: Vec<&str> = self.pipelines.iter().map(|(facts, _)| facts.name.as_str()).collect();
        for entry in &self.policy.models {
            for (name, place) in entry.model.pipelines.iter().zip(&entry.pipeline_places) {
                let Some((facts, scope)) = self.pipelines.iter().find(|(facts, _)| facts.name == *name)
                else {
                    let message = format!("model `{}`: there is no pipeline `{name}`", entry.model.id);
                    let suggestion = nearest(name.as_str(), valid.iter().copied());
                    self.problems.push(self.policy.problem(*place, message, suggestion));
                    continue;
                };
                if let Some(condition) = &entry.filter
                    && let Err(error) = condition.compile(scope)
                {
                    let what = format!("`where` in model `{}`", entry.model.id);
                    self.problems.extend(misfit(self.policy, &what, condition, facts, scope, error));
                }
            }
        }
    }

    /// Pipelines whose rows are kept for a time must be there.
    fn retention(&mut self) {
        let valid: Vec<&str> = self.pipelines.iter().map(|(facts, _)| facts.name.as_str()).collect();
        for entry in &self.policy.retention {
            for (name, place) in entry.retention.pipelines.iter().zip(&entry.pipeline_places) {
                if !valid.contains(&name.as_str()) {
                    let message = format!("`retention`: there is no pipeline `{name}`");
                    let suggestion = nearest(name.as_str(), valid.iter().copied());
                    self.problems.push(self.policy.problem(*place, message, suggestion));
                }
            }
        }
    }

    /// Jurisdictions whose records can only end in quarantine.
    fn coverage(&mut self) {
        let policy = self.policy;
        for entry in &policy.sites {
            let jurisdiction = entry.site.jurisdiction;
            if !policy.zones().any(|zone| zone.jurisdictions.contains(&jurisdiction)) {
                let zones: Vec<&str> = policy.zones().map(|zone| zone.id.as_str()).collect();
                let message = format!(
                    "site `{}`: jurisdiction `{jurisdiction}` is in no zone ({}), so its records can live nowhere",
                    entry.site.id,
                    list(&zones)
                );
                self.problems.push(policy.problem(entry.place, message, None));
            }
        }
        for (index, entry) in policy.rules.iter().enumerate() {
            let Some(list) = &entry.rule.jurisdictions else { continue };
            if !list.is_empty() && !list.iter().any(|code| policy.placed(index, *code).is_some()) {
                let message = format!(
                    "rule `{}`: none of its jurisdictions is in zone `{}`, so all its records go to quarantine",
                    entry.rule.id,
                    entry.rule.zone_name()
                );
                self.problems.push(policy.problem(entry.place, message, None));
            }
        }
        for (index, entry) in policy.zones.iter().enumerate() {
            for (jurisdiction, place) in entry.zone.jurisdictions.iter().zip(&entry.places) {
                // Of zones in each other the inner one speaks for the jurisdiction.
                if policy.innermost(*jurisdiction) != Some(index) {
                    continue;
                }
                let mut rules = policy.rules.iter().enumerate();
                let placed = rules.any(|(index, rule)| {
                    rule.rule.is_for(*jurisdiction)
                        && policy.placed(index, *jurisdiction).is_some()
                        && self.may_match(rule.when.as_ref(), jurisdiction.as_str())
                });
                if !placed {
                    let zone = &entry.zone.id;
                    let around = if entry.around.is_empty() { "" } else { ", or one around it," };
                    let message = format!(
                        "no rule that gives zone `{zone}`{around} can match records of jurisdiction `{jurisdiction}`"
                    );
                    self.problems.push(policy.problem(*place, message, None));
                }
            }
        }
    }

    /// Whether the condition may hold for records of a jurisdiction on some pipeline. A condition
    /// that has problems of its own counts as one that may.
    fn may_match(&self, condition: Option<&Condition>, jurisdiction: &str) -> bool {
        let Some(condition) = condition else { return true };
        if !condition.names(names::JURISDICTION) {
            return true;
        }
        let compiled = self.pipelines.iter().map(|(_, scope)| {
            let scope = scope.clone().with_constant(names::JURISDICTION, jurisdiction);
            condition.compile(&scope)
        });
        let mut lacking = true;
        for result in compiled {
            match result {
                Ok(Compiled::Never) => lacking = false,
                Err(CompileError::Missing(_)) => {}
                Ok(_) | Err(CompileError::Invalid(_)) => return true,
            }
        }
        // Columns that no pipeline has are reported for themselves.
        lacking
    }
}

#[cfg(test)]
mod tests;
