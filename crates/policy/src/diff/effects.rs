//! What a new policy means: for each combination of jurisdiction, class and pipeline, where its records live
//! and what may learn from them, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use situs_model::{Class, Jurisdiction};

use crate::facts::PipelineFacts;
use crate::grid::{Facts, Grid, Hold};
use crate::lint::listed;
use crate::policy::{Policy, Rule};

/// Records of some facts that another zone, training or class awaits than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Their jurisdictions, in the order of the alphabet.
    pub jurisdictions: Vec<Jurisdiction>,
    /// The pipelines' class.
    pub class: Class,
    /// The pipelines, in the order of the alphabet.
    pub pipelines: Vec<String>,
    /// What became of them: one part per rule that may match, in order.
    pub before: String,
    /// What becomes of them.
    pub after: String,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<String> = self.jurisdictions.iter().map(Jurisdiction::to_string).collect();
        let Self { class, pipelines, before, after, .. } = self;
        write!(
            f,
            "records of {} of class `{class}` on {}:\n    before: {before}\n    after:  {after}",
            listed(&codes),
            listed(pipelines)
        )
    }
}

/// The combinations whose outcome differs, those with the same outcomes together.
pub(super) fn effects(old: &Policy, new: &Policy, pipelines: &[PipelineFacts]) -> Vec<Effect> {
    let (old, new) = (Grid::new(old, pipelines), Grid::new(new, pipelines));
    let jurisdictions: BTreeSet<Jurisdiction> = &old.jurisdictions() | &new.jurisdictions();
    // By class, outcomes and jurisdiction the pipelines; then by those the jurisdictions.
    let mut pipelines_of: BTreeMap<(Class, String, String, Jurisdiction), Vec<String>> = BTreeMap::new();
    for facts in old.combinations(&jurisdictions) {
        let (before, after) = (outcome(&old, facts), outcome(&new, facts));
        if before != after {
            let key = (facts.class, before, after, facts.jurisdiction);
            pipelines_of.entry(key).or_default().push(pipelines[facts.pipeline].name.to_string());
        }
    }
    let mut grouped: BTreeMap<(Class, String, String, Vec<String>), Vec<Jurisdiction>> = BTreeMap::new();
    for ((class, before, after, jurisdiction), mut pipelines) in pipelines_of {
        pipelines.sort();
        grouped.entry((class, before, after, pipelines)).or_default().push(jurisdiction);
    }
    let effect = |((class, before, after, pipelines), jurisdictions)| Effect {
        jurisdictions,
        class,
        pipelines,
        before,
        after,
    };
    grouped.into_iter().map(effect).collect()
}

/// What the rules say of records of these facts, without the rules' names.
fn outcome(grid: &Grid<'_>, facts: Facts) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (index, entry) in grid.policy.rules.iter().enumerate() {
        let rule = &entry.rule;
        let hold = grid.hold(index, facts);
        if hold == Hold::Never {
            continue;
        }
        let place = match grid.policy.placed(index, facts.jurisdiction) {
            Some(zone) => {
                let class = rule.class.filter(|class| *class > facts.class);
                let class = class.map_or_else(String::new, |class| format!(", class {class}"));
                format!("zone {}, training {}{class}", grid.policy.zones[zone].zone.id, rule.training)
            }
            None => "quarantine".to_owned(),
        };
        let condition = conditions(rule, hold);
        parts.push(if condition.is_empty() { place.clone() } else { format!("{place} {condition}") });
        if condition.is_empty() {
            return parts.join("; otherwise ");
        }
    }
    parts.push("quarantine, as no rule matches".to_owned());
    parts.join("; otherwise ")
}

/// What is open about a rule once the facts are known.
fn conditions(rule: &Rule, hold: Hold) -> String {
    let mut parts = Vec::new();
    if let Some(from) = rule.from {
        parts.push(format!("from {from}"));
    }
    if let Some(until) = rule.until {
        parts.push(format!("until {until}"));
    }
    if let (Hold::Maybe, Some(when)) = (hold, &rule.when) {
        parts.push(format!("where `{}`", super::condition(Some(when))));
    }
    parts.join(" ")
}
