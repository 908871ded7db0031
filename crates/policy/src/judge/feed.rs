//! Which models every row feeds.
//!
//! Each model gives a bitmap of rows, and 64 of them at a time are turned into one word per row. Rows that have
//! had the same tag and have the same word have the same tag again.

use arrow_buffer::BooleanBuffer;
use arrow_schema::ArrowError;
use hashbrown::HashMap;

use super::JudgedModel;
use super::calendar::among;
use super::evaluate::{Batch, Decision, Decisions, Tag, Tags};
use crate::condition::{Answer, Compiled};

/// Models of a word.
const WORD: usize = 64;

/// What the models of a word are to the records of a decision; the first model is the lowest bit.
#[derive(Debug, Clone, Copy, Default)]
struct OfDecision {
    /// Those that they may feed, by their columns.
    eligible: u64,
    /// Those that they all feed.
    fed: u64,
    /// Whether one has no answer for them.
    failed: bool,
}

/// What the models of a word say by the columns of rows.
#[derive(Debug, Default)]
struct OfRows {
    /// For each row the models whose conditions hold; nothing if none reads columns.
    words: Option<Vec<u64>>,
    /// For each row whether a condition fails that must be asked; nothing if none does.
    failed: Option<Vec<bool>>,
}

/// A tag as the tag before it and a word more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Link {
    before: u32,
    models: u64,
    failed: bool,
}

impl Batch<'_> {
    /// The models that every row feeds.
    pub(super) fn feed(&self, decisions: Decisions) -> Result<Tags, ArrowError> {
        let Decisions { decisions, of_row: decision_of_row } = decisions;
        let mut tags: Vec<Tag> = (0..decisions.len()).map(Tag::of).collect();
        let mut of_row = decision_of_row.clone();
        let any_may_feed = decisions.iter().any(|decision| decision.may_feed);
        let words = (0..).step_by(WORD).zip(self.judge.models.chunks(WORD));
        for (first, models) in words.filter(|_| any_may_feed) {
            let of_decisions = self.of_decisions(&decisions, models);
            let rows = self.of_rows(models, &decision_of_row, &of_decisions)?;
            let Some(words) = rows.words else {
                for tag in &mut tags {
                    let OfDecision { fed, failed, .. } = of_decisions[tag.decision];
                    tag.add(first, fed, failed);
                }
                continue;
            };
            let mut links: HashMap<Link, u32> = HashMap::new();
            let mut linked: Vec<Tag> = Vec::new();
            let mut last = (Link { before: u32::MAX, models: 0, failed: false }, 0);
            for (row, tag) in of_row.iter_mut().enumerate() {
                let of = of_decisions[decision_of_row[row] as usize];
                let failed = of.failed || rows.failed.as_ref().is_some_and(|failed| failed[row]);
                let models = (words[row] & of.eligible) | of.fed;
                let link = Link { before: *tag, models: if failed { 0 } else { models }, failed };
                if last.0 != link {
                    let number = *links.entry(link).or_insert_with(|| {
                        let mut next = tags[link.before as usize].clone();
                        next.add(first, link.models, failed);
                        linked.push(next);
                        // There are no more tags than rows.
                        linked.len() as u32 - 1
                    });
                    last = (link, number);
                }
                *tag = last.1;
            }
            tags = linked;
        }
        Ok(Tags { decisions, tags, of_row })
    }

    /// What these models are to each decision.
    fn of_decisions(&self, decisions: &[Decision], models: &[JudgedModel]) -> Vec<OfDecision> {
        let mut of_decisions = vec![OfDecision::default(); decisions.len()];
        for (bit, model) in models.iter().enumerate().map(|(place, model)| (1 << place, model)) {
            let mut of_sets: Option<Vec<Answer>> = None;
            for (decision, of) in decisions.iter().zip(&mut of_decisions).filter(|(one, _)| one.may_feed) {
                match among(&model.days, self.facts.sets[decision.set as usize].period) {
                    Answer::Yes => {}
                    Answer::No => continue,
                    Answer::Failed => {
                        of.failed = true;
                        continue;
                    }
                }
                match &model.filter {
                    Compiled::Never => {}
                    Compiled::Always => of.fed |= bit,
                    Compiled::Ask(question) if question.only_facts() => {
                        let answers = of_sets.get_or_insert_with(|| self.ask_sets(question));
                        match answers[decision.set as usize] {
                            Answer::No => {}
                            Answer::Yes => of.fed |= bit,
                            Answer::Failed => of.failed = true,
                        }
                    }
                    Compiled::Ask(_) => of.eligible |= bit,
                }
            }
        }
        of_decisions
    }

    /// Asks those of the models that read columns, and that some row may feed.
    fn of_rows(
        &self,
        models: &[JudgedModel],
        decision_of_row: &[u32],
        of_decisions: &[OfDecision],
    ) -> Result<OfRows, ArrowError> {
        let mut bitmaps: Vec<(usize, BooleanBuffer)> = Vec::new();
        let mut failed: Option<Vec<bool>> = None;
        for (place, model) in models.iter().enumerate() {
            let Compiled::Ask(question) = &model.filter else { continue };
            let may = |decision: usize| of_decisions[decision].eligible >> place & 1 == 1;
            if !(0..of_decisions.len()).any(may) {
                continue;
            }
            if let Some(holds) = self.hold(&model.terms) {
                bitmaps.push((place, holds));
                continue;
            }
            let rows: Vec<u32> = (0u32..)
                .zip(decision_of_row)
                .filter(|(_, decision)| may(**decision as usize))
                .map(|(row, _)| row)
                .collect();
            let mut holds = vec![false; decision_of_row.len()];
            for (row, answer) in rows.iter().zip(self.ask_rows(question, &rows)?) {
                match answer {
                    Answer::No => {}
                    Answer::Yes => holds[*row as usize] = true,
                    Answer::Failed => {
                        let failed = failed.get_or_insert_with(|| vec![false; decision_of_row.len()]);
                        failed[*row as usize] = true;
                    }
                }
            }
            bitmaps.push((place, holds.into()));
        }
        let words = (!bitmaps.is_empty()).then(|| words(&bitmaps, decision_of_row.len()));
        Ok(OfRows { words, failed })
    }
}

/// For each row the bits that bitmaps have there, each at its place.
fn words(bitmaps: &[(usize, BooleanBuffer)], rows: usize) -> Vec<u64> {
    let chunks: Vec<_> = bitmaps.iter().map(|(place, bits)| (*place, bits.bit_chunks())).collect();
    let mut columns: Vec<_> = chunks.iter().map(|(place, chunks)| (*place, chunks.iter_padded())).collect();
    let mut words = Vec::with_capacity(rows.next_multiple_of(WORD));
    while words.len() < rows {
        let mut block = [0; WORD];
        for (place, column) in &mut columns {
            block[*place] = column.next().unwrap_or_default();
        }
        transpose(&mut block);
        words.extend(block);
    }
    words.truncate(rows);
    words
}

/// Swaps rows and columns of 64 by 64 bits, the lowest bit being the first column, by swapping the halves off the
/// diagonal and then doing the same within each half (Warren, Hacker's Delight, 2nd edition, 7-3).
fn transpose(block: &mut [u64; WORD]) {
    let mut half = WORD / 2;
    let mut low = u64::MAX >> half;
    while half > 0 {
        let mut row = 0;
        while row < WORD {
            let swapped = ((block[row] >> half) ^ block[row + half]) & low;
            block[row] ^= swapped << half;
            block[row + half] ^= swapped;
            row = (row + half + 1) & !half;
        }
        half /= 2;
        low ^= low << half;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn each_row_has_the_bits_that_the_bitmaps_have_there() {
        let mut random = Random(7);
        for rows in [0, 1, 63, 64, 65, 1000] {
            let bitmaps: Vec<(usize, BooleanBuffer)> = (0..WORD)
                .filter(|place| place % 3 != 1)
                .map(|place| {
                    // They may begin anywhere in their memory.
                    let all: BooleanBuffer = (0..rows + place).map(|_| random.one_in(3)).collect();
                    (place, all.slice(place, rows))
                })
                .collect();
            let words = words(&bitmaps, rows);
            assert_eq!(words.len(), rows);
            for (row, word) in words.iter().enumerate() {
                for place in 0..WORD {
                    let bit =
                        bitmaps.iter().find(|(at, _)| *at == place).is_some_and(|(_, bits)| bits.value(row));
                    assert_eq!(word >> place & 1 == 1, bit, "row {row}, bit {place}");
                }
            }
        }
    }
}
