//! What is allowed in a policy and yet is hardly meant: warnings of `situs check`.
//!
//! What is wrong for certain, so that nothing can run with it, is an error, and found by
//! [`parse`](crate::Policy::parse) and [`check`](crate::Policy::check).

use std::collections::{BTreeMap, BTreeSet};

use situs_model::doc::Diagnostic;
use situs_model::transfer::{Cargo, TransferUse};
use situs_model::{Class, Date, Jurisdiction, Training};

use crate::facts::PipelineFacts;
use crate::grid::{Facts, Grid, Hold, days_meet, days_within, is_catch_all};
use crate::policy::{Place, Policy};

/// How many names a warning lists.
const LISTED: usize = 10;

/// The warnings, in the order of the text.
pub(crate) fn lint(policy: &Policy, pipelines: &[PipelineFacts], today: Date) -> Vec<Diagnostic> {
    let grid = Grid::new(policy, pipelines);
    let mut linter = Linter { policy, grid: &grid, today, warnings: Vec::new() };
    linter.ended();
    linter.sites();
    linter.reach();
    linter.coverage();
    linter.transfers();
    let mut warnings = linter.warnings;
    warnings.sort();
    warnings.dedup();
    warnings
}

struct Linter<'a> {
    policy: &'a Policy,
    grid: &'a Grid<'a>,
    today: Date,
    warnings: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn warn(&mut self, place: Place, message: String) {
        self.warnings.push(self.policy.problem(place, message, None));
    }

    /// Rules and models whose last day has passed.
    fn ended(&mut self) {
        for entry in &self.policy.rules {
            if let Some(until) = entry.rule.until.filter(|until| *until < self.today) {
                let message = format!(
                    "rule `{}` ended on {until}: records of later days go on to the next rule",
                    entry.rule.id
                );
                self.warn(entry.place, message);
            }
        }
        for entry in &self.policy.models {
            if let Some(until) = entry.model.until.filter(|until| *until < self.today) {
                let message =
                    format!("model `{}` ended on {until}: no record of later days feeds it", entry.model.id);
                self.warn(entry.place, message);
            }
        }
    }

    /// Transfers that ended, and those by which no rule lets anything go.
    fn transfers(&mut self) {
        for entry in &self.policy.transfers {
            let transfer = &entry.transfer;
            if let Some(until) = transfer.until.filter(|until| *until < self.today) {
                self.warn(entry.place, format!("transfer `{}` ended on {until}: it is refused", transfer.id));
            }
            let Cargo::Rows { pipeline, .. } = &transfer.cargo else { continue };
            let zone = self.policy.zones.iter().position(|zone| zone.zone.id == transfer.from);
            let Some(zone) = zone else { continue };
            let jurisdictions = self.policy.zones[zone].zone.jurisdictions.iter().copied().collect();
            let facts: Vec<Facts> = self
                .grid
                .combinations(&jurisdictions)
                .into_iter()
                .filter(|facts| self.grid.pipelines[facts.pipeline].name == *pipeline)
                .collect();
            if facts.is_empty() {
                // That there is no such pipeline is an error of its own.
                continue;
            }
            let goes = |rule: usize, facts: &Facts| {
                let given = &self.policy.rules[rule].rule;
                let class = given.class.map_or(facts.class, |class: Class| class.max(facts.class));
                self.policy.placed(rule, facts.jurisdiction) == Some(zone)
                    && transfer.lets(class, given.training).is_ok()
                    && self.grid.hold(rule, *facts) != Hold::Never
            };
            let any = (0..self.policy.rules.len()).any(|rule| facts.iter().any(|facts| goes(rule, facts)));
            if !any {
                let training = match transfer.usage {
                    TransferUse::Training => {
                        format!(" that may be learned from elsewhere (`{}` at least)", Training::WithApproval)
                    }
                    TransferUse::Operation => String::new(),
                };
                let message = format!(
                    "transfer `{}`: no rule of zone `{}` gives records of pipeline `{pipeline}` of class `{}` or \
                     less{training}, so nothing ever goes",
                    transfer.id, transfer.from, transfer.ceiling
                );
                self.warn(entry.place, message);
            }
        }
    }

    /// Sites that no record can come from.
    fn sites(&mut self) {
        for entry in &self.policy.sites {
            let site = &entry.site;
            if !site.any_device && site.all_devices().next().is_none() {
                let message = format!(
                    "site `{}` has no device and no `any-device`, so no record is from there",
                    site.id
                );
                self.warn(entry.place, message);
            }
        }
    }

    /// Rules that are never reached, that come to the same records and say something else, and that place
    /// records where they cannot live, or not in the innermost zone.
    fn reach(&mut self) {
        let facts = self.grid.with_every_class(&self.grid.jurisdictions());
        if facts.is_empty() {
            return;
        }
        for later in 0..self.policy.rules.len() {
            let entry = &self.policy.rules[later];
            let id = &entry.rule.id;
            let matched: Vec<Facts> =
                facts.iter().copied().filter(|facts| self.grid.hold(later, *facts) != Hold::Never).collect();
            let (reached, takers) = self.reached(later, &matched);
            if matched.is_empty() {
                let message = format!(
                    "rule `{id}` matches no record, whatever the jurisdiction, class and pipeline ({} were tried)",
                    facts.len()
                );
                self.warn(entry.place, message);
            } else if reached.is_empty() {
                let takers: Vec<String> =
                    takers.iter().map(|rule| format!("`{}`", self.policy.rules[*rule].rule.id)).collect();
                let message = format!(
                    "rule `{id}` is never reached: all its records are matched by {} before it",
                    listed(&takers)
                );
                self.warn(entry.place, message);
            } else {
                let overlaps = self.overlaps(later, &reached);
                self.places(later, &reached, overlaps);
            }
        }
    }

    /// Of the facts that a rule matches those at which it is reached, and the rules that take the others.
    fn reached(&self, later: usize, matched: &[Facts]) -> (Vec<Facts>, BTreeSet<usize>) {
        let rules = &self.policy.rules;
        let entry = &rules[later];
        // Rules that hold on all days of this one, and whether they have its condition.
        let before: Vec<(usize, bool)> = (0..later)
            .filter(|earlier| days_within(&entry.rule, &rules[*earlier].rule))
            .map(|earlier| {
                let same =
                    rules[earlier].when.as_ref().zip(entry.when.as_ref()).is_some_and(|(a, b)| a.same(b));
                (earlier, same)
            })
            .collect();
        let mut takers = BTreeSet::new();
        let mut reached = Vec::new();
        for facts in matched {
            let takes = |(earlier, same): &&(usize, bool)| match self.grid.hold(*earlier, *facts) {
                Hold::Never => false,
                Hold::Always => true,
                Hold::Maybe => *same,
            };
            match before.iter().find(takes) {
                Some((taker, _)) => {
                    takers.insert(*taker);
                }
                None => reached.push(*facts),
            }
        }
        (reached, takers)
    }

    /// Warns of each rule before that matches some of the records and places them otherwise; whether there
    /// is one.
    fn overlaps(&mut self, later: usize, reached: &[Facts]) -> bool {
        let policy = self.policy;
        let rule = &policy.rules[later].rule;
        if is_catch_all(rule) {
            return false;
        }
        let mut any = false;
        for earlier in 0..later {
            let before = &policy.rules[earlier].rule;
            let differ = |facts: &&Facts| {
                self.grid.hold(earlier, **facts) != Hold::Never
                    && policy.placed(earlier, facts.jurisdiction) != policy.placed(later, facts.jurisdiction)
            };
            let Some(example) = reached.iter().find(differ).filter(|_| days_meet(before, rule)) else {
                continue;
            };
            any = true;
            let (first, second) = (self.place_name(earlier, *example), self.place_name(later, *example));
            let message = format!(
                "rules `{}` and `{}` may match the same records, and the order decides where they live; such as {}: {first} by the first, {second} by the second",
                before.id,
                rule.id,
                self.grid.describe(*example)
            );
            self.warn(policy.rules[later].place, message);
        }
        any
    }

    /// Warns of records for which a rule gives a zone that does not have them, or not the innermost one.
    fn places(&mut self, later: usize, reached: &[Facts], overlaps: bool) {
        let policy = self.policy;
        let entry = &policy.rules[later];
        let outside = |facts: &&Facts| policy.placed(later, facts.jurisdiction).is_none();
        if let Some(example) =
            reached.iter().find(outside).filter(|_| !overlaps && !is_catch_all(&entry.rule))
        {
            let message = format!(
                "rule `{}` may match records that its zone `{}` does not have, and they go to quarantine; such as {}",
                entry.rule.id,
                entry.rule.zone_name(),
                self.grid.describe(*example)
            );
            self.warn(entry.place, message);
        }
        let not_inner = |facts: &&Facts| {
            let placed = policy.placed(later, facts.jurisdiction);
            placed.is_some() && placed != policy.innermost(facts.jurisdiction)
        };
        if let Some(example) = reached.iter().find(not_inner)
            && let Some(inner) = policy.innermost(example.jurisdiction)
        {
            let message = format!(
                "rule `{}` places records of jurisdiction `{}` in zone `{}`, though zone `{}` within it has them; write `zone: innermost` if they shall live there",
                entry.rule.id,
                example.jurisdiction,
                entry.rule.zone_name(),
                policy.zones[inner].zone.id
            );
            self.warn(entry.place, message);
        }
    }

    fn place_name(&self, rule: usize, facts: Facts) -> String {
        match self.policy.placed(rule, facts.jurisdiction) {
            Some(zone) => format!("zone `{}`", self.policy.zones[zone].zone.id),
            None => "quarantine".to_owned(),
        }
    }

    /// Records of sites and zones that no rule matches today, whatever their columns hold.
    fn coverage(&mut self) {
        let policy = self.policy;
        let zones = policy.zones().flat_map(|zone| &zone.jurisdictions);
        let known: BTreeSet<Jurisdiction> =
            zones.chain(policy.sites().map(|site| &site.jurisdiction)).copied().collect();
        let today = |rule: &usize| {
            let rule = &policy.rules[*rule].rule;
            rule.until.is_none_or(|until| until >= self.today)
                && rule.from.is_none_or(|from| from <= self.today)
        };
        let rules: Vec<usize> = (0..policy.rules.len()).filter(today).collect();
        let mut missed: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for facts in self.grid.combinations(&known) {
            if rules.iter().all(|rule| self.grid.hold(*rule, facts) == Hold::Never) {
                missed.entry(facts.pipeline).or_default().push(format!("`{}`", facts.jurisdiction));
            }
        }
        for (pipeline, jurisdictions) in missed {
            let facts = &self.grid.pipelines[pipeline];
            let message = format!(
                "on pipeline `{}`, of class `{}`, no rule matches records of {} today: they go to quarantine",
                facts.name,
                facts.class,
                listed(&jurisdictions)
            );
            self.warn(Place { line: 0, column: 0 }, message);
        }
    }
}

/// The first names of a list, and how many there are more.
pub(crate) fn listed(names: &[String]) -> String {
    match names.len().checked_sub(LISTED) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..LISTED].join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
