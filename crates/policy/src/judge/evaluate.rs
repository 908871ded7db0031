//! Judges one batch: sets of facts, then rules, then models, then columns.
//!
//! Each step numbers the distinct outcomes so far: sets of facts, decisions (a set of facts and
//! what the rules gave), tags (a decision and the models fed). Rules and models that ask for facts
//! alone are asked once per set; a step goes through the rows only where a condition reads a
//! column.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use situs_model::{Jurisdiction, Source, Training, UndeterminedReason, Verdict};

use super::calendar::among;
use super::terms::Asked;
use super::{Judge, JudgedRule};
use crate::condition::{Answer, Compiled, Question};
use crate::factsets::{FactSet, FactSets};
use crate::intern::Pairs;
use crate::policy::Site;
use crate::tags::{Spread, dictionary, lists};

/// What judging adds to a batch.
pub(super) struct Tagged {
    /// The tag columns, in order.
    pub(super) columns: Vec<ArrayRef>,
    /// The distinct verdicts.
    pub(super) verdicts: Vec<Verdict>,
    /// For each row the index of its verdict.
    pub(super) verdict_of_row: Vec<u16>,
}

/// Judges the rows of one partition.
pub(super) fn tag(judge: &Judge, rows: &RecordBatch, source: &Source) -> Result<Tagged, ArrowError> {
    let policy = &judge.policy;
    let device = judge.device.map(|index| rows.column(index));
    let claims: Vec<ArrayRef> = judge.claims.iter().map(|index| rows.column(*index).clone()).collect();
    let registry = policy.registry.on_topic(&policy.sites, &source.cluster, &source.topic);
    let periods = match judge.time {
        // Without a column of times no record has one.
        None if !judge.calendar.is_empty() => Some(vec![0; rows.num_rows()]),
        None => None,
        Some(index) => Some(judge.calendar.periods(rows.column(index)).ok_or_else(bug)?),
    };
    let facts = FactSets::read(rows.num_rows(), device, &claims, periods.as_deref(), &registry);
    let batch = Batch::new(judge, rows, &source.topic, facts.ok_or_else(bug)?);
    let decisions = batch.decide()?;
    let tags = batch.feed(decisions)?;
    batch.finish(tags)
}

fn bug() -> ArrowError {
    ArrowError::ComputeError("numbers that do not fit together".to_owned())
}

/// No rule has matched yet; at the end: none does.
const PENDING: u32 = 0;
/// The facts leave no zone to be asked for.
const UNDETERMINED: u32 = 1;
/// A condition failed.
const FAILED: u32 = 2;
/// Rule `n` matched: `FIRST_RULE + n`.
const FIRST_RULE: u32 = 3;

/// A batch with its facts.
pub(super) struct Batch<'a> {
    pub(super) judge: &'a Judge,
    pub(super) rows: &'a RecordBatch,
    topic: &'a str,
    pub(super) facts: FactSets,
    /// The values of [`ADDED`](crate::facts::ADDED) of each set of facts.
    of_set: [ArrayRef; 5],
    /// The same of each row, once a condition asks for them together with columns.
    of_row: [OnceCell<ArrayRef>; 5],
    /// Answers of terms.
    pub(super) asked: Asked,
}

/// The distinct decisions of a batch.
pub(super) struct Decisions {
    pub(super) decisions: Vec<Decision>,
    /// For each row the index of its decision.
    pub(super) of_row: Vec<u32>,
}

pub(super) struct Decision {
    pub(super) set: u32,
    /// Rule and zone, as indices into the policy.
    outcome: Result<(usize, usize), UndeterminedReason>,
    /// Whether models may learn from such records at all.
    pub(super) may_feed: bool,
}

/// The distinct tags of a batch.
pub(super) struct Tags {
    pub(super) decisions: Vec<Decision>,
    pub(super) tags: Vec<Tag>,
    pub(super) of_row: Vec<u32>,
}

/// A decision with the models fed.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    pub(super) decision: usize,
    /// Indices into the judge's models, in order.
    models: Vec<usize>,
    /// Whether a model's condition failed.
    failed: bool,
}

impl Tag {
    /// Of a decision, without models.
    pub(super) fn of(decision: usize) -> Self {
        Self { decision, models: Vec::new(), failed: false }
    }

    /// Adds models, which are bits; `first` is the number of the lowest.
    pub(super) fn add(&mut self, first: usize, mut models: u64, failed: bool) {
        while models != 0 {
            self.models.push(first + models.trailing_zeros() as usize);
            models &= models - 1;
        }
        self.failed |= failed;
    }
}

impl<'a> Batch<'a> {
    fn new(judge: &'a Judge, rows: &'a RecordBatch, topic: &'a str, facts: FactSets) -> Self {
        let site = |set: &FactSet| site_of(judge, set);
        let line = |set: &FactSet| Some(site(set)?.lines.get(set.spot?.line?)?.0.as_str());
        let of_set = [
            dictionary(facts.sets.iter().map(|set| Some(site(set)?.jurisdiction.as_str()))),
            dictionary(facts.sets.iter().map(|set| Some(site(set)?.id.as_str()))),
            dictionary(facts.sets.iter().map(|set| facts.claimed.get(set.claims)?.as_deref())),
            dictionary(facts.sets.iter().map(|set| Some(site(set)?.subdivision.as_ref()?.as_str()))),
            dictionary(facts.sets.iter().map(line)),
        ];
        let asked = Asked::new(judge.terms.len());
        Self { judge, rows, topic, facts, of_set, of_row: Default::default(), asked }
    }

    /// A column of all rows that conditions read, by its index among the pipeline's fields.
    pub(super) fn column(&self, index: usize) -> Result<ArrayRef, ArrowError> {
        let Some(fact) = index.checked_sub(self.rows.num_columns()) else {
            return Ok(self.rows.column(index).clone());
        };
        if let Some(known) = self.of_row[fact].get() {
            return Ok(known.clone());
        }
        let set_of_row = UInt32Array::from(self.facts.set_of_row.clone());
        let column = take(&self.of_set[fact], &set_of_row, None)?;
        Ok(self.of_row[fact].get_or_init(|| column).clone())
    }

    /// Answers of a question that asks for facts alone, one per set of facts.
    pub(super) fn ask_sets(&self, question: &Question) -> Vec<Answer> {
        let sets = self.facts.sets.len();
        let column = |index: &usize| match index.checked_sub(self.rows.num_columns()) {
            Some(fact) => self.of_set[fact].clone(),
            None => dictionary(std::iter::repeat_n(Some(self.topic), sets)),
        };
        let columns: Vec<ArrayRef> = question.columns().iter().map(column).collect();
        question.ask(&columns, sets)
    }

    /// Answers for the rows at `selected`, in that order, where its terms do not answer for all.
    pub(super) fn ask_rows(&self, question: &Question, selected: &[u32]) -> Result<Vec<Answer>, ArrowError> {
        let selected = UInt32Array::from_iter_values(selected.iter().copied());
        let column = |index: &usize| take(&self.column(*index)?, &selected, None);
        let columns = question.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        Ok(question.ask(&columns, selected.len()))
    }

    /// The jurisdiction of a set of facts.
    fn jurisdiction(&self, set: &FactSet) -> Option<Jurisdiction> {
        Some(site_of(self.judge, set)?.jurisdiction)
    }

    /// For each set of facts whether the rule of this index is for such records, before columns are read: by
    /// jurisdiction, then by day, then by its condition if that asks for facts alone.
    fn of_sets(&self, rule: &JudgedRule, index: usize) -> Vec<Answer> {
        let entry = &self.judge.policy.rules[index].rule;
        let gate = |set: &FactSet| match self.jurisdiction(set) {
            Some(jurisdiction) if set.reason.is_none() && entry.is_for(jurisdiction) => {
                among(&rule.days, set.period)
            }
            _ => Answer::No,
        };
        let mut answers: Vec<Answer> = self.facts.sets.iter().map(gate).collect();
        let open = |answer: &&mut Answer| **answer == Answer::Yes;
        match &rule.when {
            Compiled::Never => answers.iter_mut().filter(open).for_each(|answer| *answer = Answer::No),
            Compiled::Ask(question) if question.only_facts() && answers.contains(&Answer::Yes) => {
                for (answer, asked) in answers.iter_mut().zip(self.ask_sets(question)) {
                    if *answer == Answer::Yes {
                        *answer = asked;
                    }
                }
            }
            Compiled::Always | Compiled::Ask(_) => {}
        }
        answers
    }

    /// The first rule that matches, for every row.
    fn decide(&self) -> Result<Decisions, ArrowError> {
        let FactSets { sets, set_of_row, .. } = &self.facts;
        let mut codes: Vec<u32> =
            sets.iter().map(|set| if set.reason.is_some() { UNDETERMINED } else { PENDING }).collect();
        // The codes are those of sets of facts until a rule reads a column.
        let mut by_row = false;
        for (index, rule) in self.judge.rules.iter().enumerate() {
            // A record without a time has no answer to a rule with days, even if its condition never holds.
            if rule.lacks || matches!(rule.when, Compiled::Never) && rule.days.is_none() {
                continue;
            }
            if !codes.contains(&PENDING) {
                break;
            }
            // Most rules are for no record of a batch, which is seen without looking at rows.
            let of_sets = self.of_sets(rule, index);
            if of_sets.iter().all(|answer| *answer == Answer::No) {
                continue;
            }
            let column_question = match &rule.when {
                Compiled::Ask(question) if !question.only_facts() => Some(question),
                _ => None,
            };
            let holds = column_question.and_then(|_| self.hold(&rule.terms));
            let failed = of_sets.contains(&Answer::Failed);
            // Most conditions on columns hold for no record of a batch.
            if !failed && holds.as_ref().is_some_and(|holds| holds.count_set_bits() == 0) {
                continue;
            }
            if column_question.is_some() && !by_row {
                codes = set_of_row.iter().map(|set| codes[*set as usize]).collect();
                by_row = true;
            }
            // There are fewer rules than bytes in a policy.
            let matched = FIRST_RULE + index as u32;
            let mut open = Vec::new();
            for (unit, code) in (0u32..).zip(&mut codes).filter(|(_, code)| **code == PENDING) {
                let set = if by_row { set_of_row[unit as usize] } else { unit };
                match (of_sets[set as usize], &holds) {
                    (Answer::No, _) => {}
                    (Answer::Failed, _) => *code = FAILED,
                    (Answer::Yes, Some(holds)) if !holds.value(unit as usize) => {}
                    (Answer::Yes, None) if column_question.is_some() => open.push(unit),
                    (Answer::Yes, _) => *code = matched,
                }
            }
            if let Some(question) = column_question.filter(|_| !open.is_empty()) {
                let answers = self.ask_rows(question, &open)?;
                for (unit, answer) in open.into_iter().zip(answers) {
                    match answer {
                        Answer::No => {}
                        Answer::Yes => codes[unit as usize] = matched,
                        Answer::Failed => codes[unit as usize] = FAILED,
                    }
                }
            }
        }
        let (pairs, of_row) = if by_row {
            let mut pairs = Pairs::new();
            let of_row = set_of_row.iter().zip(&codes).map(|(set, code)| pairs.number(*set, *code)).collect();
            (pairs.into_pairs(), of_row)
        } else {
            ((0u32..).zip(codes).collect(), set_of_row.clone())
        };
        let decisions = pairs.into_iter().map(|(set, code)| self.decision(set, code)).collect();
        Ok(Decisions { decisions, of_row })
    }

    /// What a set of facts and a code of [`decide`](Self::decide) mean.
    fn decision(&self, set: u32, code: u32) -> Decision {
        let policy = &self.judge.policy;
        let facts = &self.facts.sets[set as usize];
        let outcome = match (facts.reason, code.checked_sub(FIRST_RULE)) {
            (Some(reason), _) => Err(reason),
            (None, Some(rule)) => {
                let rule = rule as usize;
                let zone =
                    self.jurisdiction(facts).and_then(|jurisdiction| policy.placed(rule, jurisdiction));
                zone.map(|zone| (rule, zone)).ok_or(UndeterminedReason::OutsideZone)
            }
            (None, None) if code == FAILED => Err(UndeterminedReason::ConditionFailed),
            (None, None) => Err(UndeterminedReason::NoRule),
        };
        let may_feed =
            outcome.is_ok_and(|(rule, _)| policy.rules[rule].rule.training != Training::Prohibited);
        Decision { set, outcome, may_feed }
    }

    /// The tag columns and the verdicts.
    fn finish(self, tags: Tags) -> Result<Tagged, ArrowError> {
        let judge = self.judge;
        let policy = &judge.policy;
        let Tags { decisions, tags, of_row } = tags;
        let outcome = |tag: &Tag| match decisions[tag.decision].outcome {
            Ok(_) if tag.failed => Err(UndeterminedReason::ConditionFailed),
            outcome => outcome,
        };

        let mut verdicts: Vec<Verdict> = Vec::new();
        let mut verdict_of_tag: Vec<u16> = Vec::with_capacity(tags.len());
        for tag in &tags {
            let verdict = match outcome(tag) {
                Ok((_, zone)) => Verdict::Resident(policy.zones[zone].zone.id.clone()),
                Err(reason) => Verdict::Undetermined(reason),
            };
            let known = verdicts.iter().position(|known| *known == verdict);
            let index = known.unwrap_or_else(|| {
                verdicts.push(verdict);
                verdicts.len() - 1
            });
            // There are fewer zones than a policy has lines of text. The highest number is no verdict's.
            verdict_of_tag.push(u16::try_from(index).ok().filter(|index| *index < u16::MAX).ok_or_else(bug)?);
        }
        let verdict_of_row = of_row.iter().map(|tag| verdict_of_tag[*tag as usize]).collect();

        let set = |tag: &Tag| &self.facts.sets[decisions[tag.decision].set as usize];
        let site = |tag: &Tag| site_of(judge, set(tag));
        let model = |index: &usize| &policy.models[judge.models[*index].index].model;
        let markets = |tag: &Tag| -> BTreeSet<Jurisdiction> {
            tag.models.iter().flat_map(|index| &model(index).markets).copied().collect()
        };
        let markets: Vec<BTreeSet<Jurisdiction>> = tags.iter().map(markets).collect();
        let training = |tag: &Tag| match outcome(tag) {
            Ok((rule, zone)) => judge.training(rule, zone, &tag.models),
            Err(_) => Training::Prohibited,
        };
        let class = |tag: &Tag| {
            let of_rule = outcome(tag).ok().and_then(|(rule, _)| policy.rules[rule].rule.class);
            of_rule.map_or(judge.class, |class| class.max(judge.class))
        };
        let resident = |tag: &Tag| outcome(tag).ok();
        let fed = |tag: &Tag| resident(tag).is_some() && !tag.models.is_empty();
        // In the order of `columns::tag_fields`.
        let of_tags = [
            dictionary(tags.iter().map(|tag| Some(site(tag)?.jurisdiction.as_str()))),
            dictionary(tags.iter().map(|tag| Some(site(tag)?.id.as_str()))),
            dictionary(tags.iter().map(|tag| self.facts.claimed.get(set(tag).claims)?.as_deref())),
            dictionary(tags.iter().map(|tag| Some(policy.zones[resident(tag)?.1].zone.id.as_str()))),
            dictionary(tags.iter().map(|tag| Some(policy.rules[resident(tag)?.0].rule.id.as_str()))),
            dictionary(tags.iter().map(|_| Some(policy.version.as_str()))),
            dictionary(tags.iter().map(|tag| Some(class(tag).as_str()))),
            dictionary(tags.iter().map(|tag| Some(training(tag).as_str()))),
            lists(
                tags.iter()
                    .map(|tag| fed(tag).then(|| tag.models.iter().map(|index| model(index).id.as_str()))),
            )?,
            lists(
                tags.iter()
                    .zip(&markets)
                    .map(|(tag, markets)| fed(tag).then(|| markets.iter().map(Jurisdiction::as_str))),
            )?,
        ];
        let mut spread = Spread::new(&of_row, tags.len());
        let columns = of_tags.iter().map(|of_tag| spread.column(of_tag)).collect::<Result<_, _>>()?;
        Ok(Tagged { columns, verdicts, verdict_of_row })
    }
}

/// The site of a set of facts.
fn site_of<'a>(judge: &'a Judge, set: &FactSet) -> Option<&'a Site> {
    Some(&judge.policy.sites.get(set.site()?)?.site)
}
