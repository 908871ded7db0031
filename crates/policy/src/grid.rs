//! What the rules of a policy may say of records of which only the facts are known: jurisdiction, class and
//! pipeline. Lint and diff look at all combinations of them.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use situs_model::columns::names;
use situs_model::{Class, Jurisdiction};

use crate::condition::{CompileError, Compiled, Condition, Scope};
use crate::facts::{PIPELINE, PipelineFacts};
use crate::policy::{Policy, Rule};

/// Whether a rule matches records of some facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// None of them.
    Never,
    /// Those for which its condition holds.
    Maybe,
    /// All of them, on its days.
    Always,
}

/// The facts that a combination consists of. The scenario follows from the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Facts {
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) class: Class,
    /// Index among the pipelines.
    pub(crate) pipeline: usize,
}

/// A rule, and what of the facts its condition looks at.
type Key = (usize, Option<Jurisdiction>, Option<Class>, usize);

/// A policy over the pipelines of an installation.
///
/// # Cost
/// A condition is compiled once per value of each fact that it names, and per pipeline if it names columns.
#[derive(Debug)]
pub(crate) struct Grid<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) pipelines: &'a [PipelineFacts],
    scopes: Vec<Scope>,
    known: RefCell<HashMap<Key, Hold>>,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(policy: &'a Policy, pipelines: &'a [PipelineFacts]) -> Self {
        let scopes = pipelines.iter().map(Scope::new).collect();
        Self { policy, pipelines, scopes, known: RefCell::default() }
    }

    /// The jurisdictions that the policy names in zones, sites and rules.
    pub(crate) fn jurisdictions(&self) -> BTreeSet<Jurisdiction> {
        let zones = self.policy.zones().flat_map(|zone| &zone.jurisdictions);
        let rules = self.policy.rules().flat_map(|rule| rule.jurisdictions.iter().flatten());
        let sites = self.policy.sites().map(|site| &site.jurisdiction);
        zones.chain(rules).chain(sites).copied().collect()
    }

    /// All combinations of these jurisdictions with the pipelines, each with its own class.
    pub(crate) fn combinations(&self, of: &BTreeSet<Jurisdiction>) -> Vec<Facts> {
        let of_one = |jurisdiction: Jurisdiction| {
            let pipelines = self.pipelines.iter().enumerate();
            pipelines.map(move |(pipeline, facts)| Facts { jurisdiction, class: facts.class, pipeline })
        };
        of.iter().copied().flat_map(of_one).collect()
    }

    /// The same with every class, whichever the pipelines have today.
    pub(crate) fn with_every_class(&self, of: &BTreeSet<Jurisdiction>) -> Vec<Facts> {
        let classes =
            |facts: Facts| Class::WORDS.iter().map(move |(_, class)| Facts { class: *class, ..facts });
        self.combinations(of).into_iter().flat_map(classes).collect()
    }

    /// Whether a rule matches records of these facts. Its days are not looked at.
    pub(crate) fn hold(&self, rule: usize, facts: Facts) -> Hold {
        let Some(entry) = self.policy.rules.get(rule) else { return Hold::Never };
        if !entry.rule.is_for(facts.jurisdiction) {
            return Hold::Never;
        }
        let Some(condition) = &entry.when else { return Hold::Always };
        // What it reads beside the facts differs between pipelines.
        let only_facts =
            condition.columns.iter().all(|name| [names::JURISDICTION, names::CLASS].contains(&name.as_str()));
        let key = (
            rule,
            condition.names(names::JURISDICTION).then_some(facts.jurisdiction),
            condition.names(names::CLASS).then_some(facts.class),
            if only_facts { 0 } else { facts.pipeline },
        );
        if let Some(hold) = self.known.borrow().get(&key) {
            return *hold;
        }
        let hold = self.ask(condition, facts);
        self.known.borrow_mut().insert(key, hold);
        hold
    }

    fn ask(&self, condition: &Condition, facts: Facts) -> Hold {
        let Some(scope) = self.scopes.get(facts.pipeline) else { return Hold::Maybe };
        let scope = scope
            .clone()
            .with_constant(names::JURISDICTION, facts.jurisdiction.as_str())
            .with_constant(names::CLASS, facts.class.as_str());
        match condition.compile(&scope) {
            Ok(Compiled::Always) => Hold::Always,
            Ok(Compiled::Never) | Err(CompileError::Missing(_)) => Hold::Never,
            // What cannot be compiled is reported by the check.
            Ok(Compiled::Ask(_)) | Err(CompileError::Invalid(_)) => Hold::Maybe,
        }
    }

    /// The facts in words.
    pub(crate) fn describe(&self, facts: Facts) -> String {
        let Facts { jurisdiction, class, pipeline } = facts;
        let pipeline = self.pipelines.get(pipeline).map_or("none", |facts| facts.name.as_str());
        format!(
            "{} `{jurisdiction}`, {} `{class}`, {PIPELINE} `{pipeline}`",
            names::JURISDICTION,
            names::CLASS
        )
    }
}

/// Whether the days of a rule are all among those of another.
pub(crate) fn days_within(inner: &Rule, outer: &Rule) -> bool {
    let begins = outer.from.is_none_or(|from| inner.from.is_some_and(|inner| inner >= from));
    begins && outer.until.is_none_or(|until| inner.until.is_some_and(|inner| inner <= until))
}

/// Whether two rules have a day in common.
pub(crate) fn days_meet(a: &Rule, b: &Rule) -> bool {
    let before = |a: &Rule, b: &Rule| a.until.zip(b.from).is_some_and(|(until, from)| until < from);
    !before(a, b) && !before(b, a)
}

/// Whether a rule is for all records of some facts, whatever else is true of them.
pub(crate) fn is_catch_all(rule: &Rule) -> bool {
    rule.when.is_none() && rule.jurisdictions.is_none()
}
