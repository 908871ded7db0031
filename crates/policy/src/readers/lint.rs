//! What can be said of readers once policy and pipelines are known, and what is hardly meant.

use std::collections::BTreeSet;

use situs_model::doc::{Diagnostic, nearest};

use super::cedar::unknown_name;
use super::question::Questions;
use super::{Readers, TableFacts};
use crate::facts::PipelineFacts;
use crate::policy::{Place, Policy};

/// Up to how many tables times readers times purposes all questions are asked to see who and what is idle.
const LIMIT: usize = 2000;

/// Names of the policy and of pipelines that do not exist.
pub(super) fn check(readers: &Readers, policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let zones: BTreeSet<String> = policy.zones().map(|zone| zone.id.to_string()).collect();
    for entry in &readers.readers {
        let zone = entry.reader.zone.as_str();
        if !zones.contains(zone) {
            problems.push(Diagnostic {
                file: readers.file.clone(),
                line: entry.zone_place.line,
                column: entry.zone_place.column,
                message: format!("reader `{}`: the policy does not know zone `{zone}`", entry.reader.id),
                suggestion: nearest(zone, zones.iter().map(String::as_str)),
            });
        }
    }
    let tables = TableFacts::all(policy, pipelines);
    let names = |kept: bool| -> BTreeSet<String> {
        tables.iter().filter(|table| table.pipeline.is_none() == kept).map(TableFacts::full_name).collect()
    };
    let (filled, kept) = (names(false), names(true));
    let pipelines: BTreeSet<String> = pipelines.iter().map(|facts| facts.name.to_string()).collect();
    for entry in &readers.rules.entries {
        for named in &entry.named {
            let (valid, why) = match named.kind.as_str() {
                "Zone" => (&zones, "which the policy does not know"),
                "Pipeline" => (&pipelines, "which does not exist"),
                "Table" => (&filled, "which no pipeline fills in that zone"),
                "SystemTable" => (&kept, "which does not exist"),
                _ => continue,
            };
            if let Some((message, suggestion)) = unknown_name(&entry.id, named, valid, why) {
                problems.push(Diagnostic { suggestion, ..problem(readers, named.place, message) });
            }
        }
    }
    problems
}

/// A problem of the policies.
fn problem(readers: &Readers, place: Place, message: String) -> Diagnostic {
    Diagnostic {
        file: readers.rules.file.clone(),
        line: place.line,
        column: place.column,
        message,
        suggestion: None,
    }
}

pub(super) fn lint(readers: &Readers, policy: &Policy, pipelines: &[PipelineFacts]) -> Vec<Diagnostic> {
    let mut warnings = readers.rules.warnings.clone();
    let tables = TableFacts::all(policy, pipelines);
    if tables.len() * readers.readers.len() * readers.purposes.len() > LIMIT {
        return warnings;
    }
    let mut deciding = BTreeSet::new();
    for entry in &readers.readers {
        // A reader or a table that cannot be an entity is a bug, which the first session reports.
        let Ok(questions) = Questions::new(readers, &entry.reader, &tables) else { continue };
        let mut reads = false;
        for (table, purpose) in tables.iter().flat_map(|t| readers.purposes().map(move |p| (t, p))) {
            let Ok(answer) = questions.about(table, purpose) else { continue };
            reads |= answer.is_allowed();
            deciding.extend(answer.rows.iter().flat_map(|answer| answer.policies.clone()));
            deciding.extend(answer.fields.iter().flat_map(|answer| answer.policies.clone()));
        }
        if !reads {
            warnings.push(Diagnostic {
                file: readers.file.clone(),
                line: entry.place.line,
                column: entry.place.column,
                message: format!("reader `{}` may read no table for any purpose", entry.reader.id),
                suggestion: None,
            });
        }
    }
    for entry in &readers.rules.entries {
        let told = readers
            .rules
            .warnings
            .iter()
            .any(|w| w.line >= entry.place.line && w.message.contains(&format!("`{}`", entry.id)));
        if !deciding.contains(&entry.id) && !told && !readers.readers.is_empty() {
            let message = format!(
                "policy `{}` decides nothing: it applies to no reader, or others forbid whatever it permits",
                entry.id
            );
            warnings.push(problem(readers, entry.place, message));
        }
    }
    warnings.sort();
    warnings.dedup();
    warnings
}
