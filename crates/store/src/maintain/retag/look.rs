//! Which rows of a batch get other tags, and why the others do not.

use std::path::Path;

use arrow_array::RecordBatch;
use situs_model::columns::names;
use situs_model::{Class, TaggedBatch, Verdict};

use super::super::Place;
use super::super::delete::Hold;
use super::super::delete::criterion::Criterion;
use super::super::delete::keys::{Key, KeySet, Keys};
use super::super::rewrite::check_zone;
use super::body::Stays;
use super::tags::{self, CHANGES, Tag};
use super::{JudgeAgain, NotJudged, RetagRequest};
use crate::error::Fault;
use crate::find::{day_of_text, with_day};
use crate::scan::Rows;

/// Judges the rows of a table again.
pub(super) struct Look<'a> {
    pub(super) place: &'a Place,
    pub(super) request: &'a RetagRequest,
    pub(super) judge: &'a mut dyn JudgeAgain,
    /// Messages of which a row cannot be placed, so that no row of them would be.
    pub(super) torn: KeySet,
    /// Whether all rows of the table were seen, so that `torn` is complete.
    pub(super) whole: bool,
}

/// A batch that was judged again.
pub(super) struct Judged {
    /// The columns that are written: where a row keeps its tags, what shall be is what is.
    pub(super) tags: Vec<Tag>,
    /// Whether a row's tags change.
    pub(super) retag: Vec<bool>,
    pub(super) stays: Stays,
}

/// What judging said of the rows so far.
struct Said {
    tags: Vec<Tag>,
    claimed: Tag,
    /// `None` if a row was not judged.
    verdicts: Vec<Option<Verdict>>,
}

impl Said {
    fn push(&mut self, tagged: &TaggedBatch) -> Result<(), Fault> {
        let column = |name: &str| {
            let column = tagged.decoded.rows.column_by_name(name);
            column.ok_or_else(|| Fault::stop(format!("rows that were judged again have no `{name}`")))
        };
        for tag in self.tags.iter_mut().chain([&mut self.claimed]) {
            tag.push_new(column(tag.name)?)?;
        }
        let verdict = |at: &u16| tagged.verdicts.get(usize::from(*at)).cloned();
        self.verdicts.extend(tagged.verdict_of_row.iter().map(verdict));
        Ok(())
    }

    fn skip(&mut self, rows: usize) {
        self.tags.iter_mut().chain([&mut self.claimed]).for_each(|tag| tag.keep(rows));
        self.verdicts.extend(std::iter::repeat_n(None, rows));
    }
}

impl Look<'_> {
    /// Judges a batch of a file.
    pub(super) fn batch(&mut self, path: &Path, day: &str, rows: &RecordBatch) -> Result<Judged, Fault> {
        check_zone(self.place, rows)?;
        let keys = Keys::of(path, rows, &self.place.shape)?;
        let tags = tags::of_batch(rows)?;
        let mut claimed = Tag::new(names::CLAIMED);
        match rows.column_by_name(names::CLAIMED) {
            Some(column) => claimed.push_old(column)?,
            None => claimed.old = vec![None; rows.num_rows()],
        }
        let mut said = Said { tags, claimed, verdicts: Vec::with_capacity(rows.num_rows()) };
        let dated = with_day(rows.clone(), day_of_text(day))?;
        let mut from = 0;
        while from < rows.num_rows() {
            // The registry asks for the topic.
            let topic = keys.at(from).topic;
            let until = (from..rows.num_rows()).find(|row| keys.at(*row).topic != topic);
            let count = until.unwrap_or(rows.num_rows()) - from;
            self.judge_run(&dated.slice(from, count), &keys.at(from), &mut said)?;
            from += count;
        }
        self.decide(path, rows, &keys, day, said)
    }

    /// Judges rows of one topic; where that fails on a row, the others are judged without it.
    fn judge_run(&mut self, rows: &RecordBatch, first: &Key<'_>, said: &mut Said) -> Result<(), Fault> {
        match self.judge.judge(rows, first.topic, first.partition) {
            Ok(tagged) if tagged.verdict_of_row.len() == rows.num_rows() => said.push(&tagged),
            Ok(_) => Err(Fault::stop("judging again gave another number of rows")),
            Err(NotJudged::Failed) if rows.num_rows() > 1 => {
                let half = rows.num_rows() / 2;
                self.judge_run(&rows.slice(0, half), first, said)?;
                self.judge_run(&rows.slice(half, rows.num_rows() - half), first, said)
            }
            Err(NotJudged::Failed | NotJudged::Unfit) => {
                said.skip(rows.num_rows());
                Ok(())
            }
        }
    }

    fn decide(
        &mut self,
        path: &Path,
        rows: &RecordBatch,
        keys: &Keys,
        day: &str,
        said: Said,
    ) -> Result<Judged, Fault> {
        let Said { mut tags, claimed, verdicts } = said;
        let zone = &self.place.identity.zone;
        let (changing, policy) = tags.split_at(CHANGES.len());
        let policies = &policy[0];
        let mut stays = Stays::default();
        let mut retag = vec![false; rows.num_rows()];
        let mut settled = (String::new(), -1, None);
        for (row, verdict) in verdicts.iter().enumerate() {
            let key = keys.at(row);
            if settled.0 != key.topic || settled.1 != key.partition {
                let of = (key.topic.to_owned(), key.partition);
                let found = self.request.settled.get(&of).copied();
                settled = (of.0, of.1, found);
            }
            if let Some(Verdict::Undetermined(_)) = verdict
                && !self.whole
            {
                self.torn.insert(&message(&key));
            }
            let changes = || changing.iter().any(|tag| tag.old[row] != tag.new[row]);
            if settled.2.is_none_or(|settled| key.offset >= settled) {
                stays.unsettled += 1;
            } else if policies.text(policies.old[row]) == Some(self.request.policy.as_str()) {
                stays.already += 1;
            } else {
                match verdict {
                    None => stays.not_judged += 1,
                    // What the payload says does not change. If it seems to, it is not what was judged.
                    Some(_) if claimed.old[row] != claimed.new[row] => stays.not_judged += 1,
                    Some(Verdict::Undetermined(reason)) => {
                        *stays.quarantine.entry(reason.as_str().to_owned()).or_default() += 1;
                    }
                    Some(Verdict::Resident(other)) if other != zone => {
                        *stays.moves.entry(other.to_string()).or_default() += 1;
                    }
                    Some(Verdict::Resident(_)) if !changes() => stays.same += 1,
                    Some(Verdict::Resident(_)) if self.whole && self.torn.contains(&message(&key)) => {
                        stays.with_message += 1;
                    }
                    Some(Verdict::Resident(_)) => retag[row] = true,
                }
            }
        }
        if retag.contains(&true) {
            let batch = Rows::new(path, rows);
            stays.held = self.leave_held(rows, &batch, keys, day, changing, &mut retag)?;
        }
        let version = self.request.policy.to_string();
        let of_policy = tags[CHANGES.len()].number(vec![version]);
        for (at, tag) in tags.iter_mut().enumerate() {
            for (row, retag) in retag.iter().enumerate() {
                match (retag, at == CHANGES.len()) {
                    (false, _) => tag.new[row] = tag.old[row],
                    (true, true) => tag.new[row] = Some(of_policy),
                    (true, false) => {}
                }
            }
        }
        Ok(Judged { tags, retag, stays })
    }

    /// Leaves rows alone that a hold is on by their site or class and would not be on any more: how many.
    fn leave_held(
        &self,
        rows: &RecordBatch,
        batch: &Rows<'_>,
        keys: &Keys,
        day: &str,
        tags: &[Tag],
        retag: &mut [bool],
    ) -> Result<u64, Fault> {
        let (mut left, day) = (0, day.parse().ok());
        let tag = |name: &str| tags.iter().find(|tag| tag.name == name);
        let changes = |name: &str, row: usize| tag(name).is_some_and(|tag| tag.old[row] != tag.new[row]);
        for Hold { criterion, .. } in self.request.holds_by_tags(&self.place.table) {
            if !criterion.may_mean_day(day) {
                continue;
            }
            let means = |criterion: &Criterion| {
                criterion.means(rows, batch, keys, &self.request.device_column, &self.place.shape)
            };
            let mut held = means(criterion)?;
            if criterion.class.is_some() {
                // A row whose class nobody has said may be of this one.
                let class = Some(Class::Unclassified.to_string());
                let unclassified = means(&Criterion { class, ..criterion.clone() })?;
                held.iter_mut().zip(unclassified).for_each(|(held, of)| *held |= of);
            }
            for (row, retag) in retag.iter_mut().enumerate().filter(|(row, _)| held[*row]) {
                let class = tag(names::CLASS).and_then(|tag| tag.text(tag.new[row]));
                let of_class = criterion.class.is_none()
                    || class == criterion.class.as_deref()
                    || class == Some(Class::Unclassified.as_str());
                let of_site = criterion.site.is_none() || !changes(names::SITE, row);
                if *retag && !(of_class && of_site) {
                    *retag = false;
                    left += 1;
                }
            }
        }
        Ok(left)
    }
}

/// The key of a row's message.
fn message<'a>(key: &Key<'a>) -> Key<'a> {
    Key { row: 0, ..*key }
}
