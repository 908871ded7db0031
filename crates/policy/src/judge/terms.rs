//! The terms of conditions, asked once per batch of all rows.
//!
//! Rules and models of a policy have many terms in common, and a bitmap of a batch costs less than to look
//! which rows need to be asked. A term is asked of records that it is not for, too, which changes nothing: it can
//! do no more than fail. Where it fails on some row, conditions with it are asked of the rows that come to them
//! and of no others ([`Batch::ask_rows`]). Conditions that call functions have no terms and always go that way.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int32Array};
use arrow_buffer::BooleanBuffer;

use super::evaluate::Batch;
use crate::condition::{Answer, Question};

/// What a batch says to the judge's terms, as far as they were asked.
#[derive(Debug)]
pub(super) struct Asked(Vec<OnceCell<Option<BooleanBuffer>>>);

impl Asked {
    /// Nothing was asked yet.
    pub(super) fn new(terms: usize) -> Self {
        Self(vec![OnceCell::new(); terms])
    }
}

impl Batch<'_> {
    /// For each row whether all of these terms hold; `None` if one of them fails somewhere, or there are none.
    pub(super) fn hold(&self, terms: &[usize]) -> Option<BooleanBuffer> {
        let mut all: Option<BooleanBuffer> = None;
        for term in terms {
            let asked = self.asked.0.get(*term)?;
            let holds = asked.get_or_init(|| self.ask_all(self.judge.terms.get(*term)?)).as_ref()?;
            all = Some(match all {
                None => holds.clone(),
                Some(all) => &all & holds,
            });
        }
        all
    }

    /// The answers of all rows; `None` if one has none.
    fn ask_all(&self, term: &Arc<Question>) -> Option<BooleanBuffer> {
        let rows = self.rows.num_rows();
        if term.only_facts() {
            let answers = self.ask_sets(term);
            let holds = |row: usize| answers[self.facts.set_of_row[row] as usize] == Answer::Yes;
            return (!answers.contains(&Answer::Failed)).then(|| BooleanBuffer::collect_bool(rows, holds));
        }
        let columns =
            term.columns().iter().map(|index| self.column(*index).ok()).collect::<Option<Vec<_>>>()?;
        if let [column] = columns.as_slice()
            && let Some(holds) = by_value(term, column)
        {
            return Some(holds);
        }
        term.holds(&columns, rows)
    }
}

/// Asks a dictionary's values in place of its rows. `None` if there are too many, or if it fails on one, which
/// may be in no row.
fn by_value(term: &Question, column: &ArrayRef) -> Option<BooleanBuffer> {
    let dictionary = column.as_dictionary_opt::<Int32Type>()?;
    let values = dictionary.values();
    if values.len() > column.len() / 4 {
        return None;
    }
    // The last one is for rows without a value.
    let keys: Int32Array = (0..).take(values.len()).map(Some).chain([None]).collect();
    let each: ArrayRef = Arc::new(DictionaryArray::try_new(keys, values.clone()).ok()?);
    let holds: Vec<bool> = term.holds(&[each], values.len() + 1)?.iter().collect();
    let keys = dictionary.keys();
    let of_key =
        |key: i32| usize::try_from(key).ok().and_then(|key| holds.get(key)).copied().unwrap_or(false);
    Some(match keys.nulls() {
        None => BooleanBuffer::collect_bool(keys.len(), |row| of_key(keys.values()[row])),
        Some(valid) => {
            let of_null = holds.last().copied()?;
            let holds = |row: usize| if valid.is_valid(row) { of_key(keys.values()[row]) } else { of_null };
            BooleanBuffer::collect_bool(keys.len(), holds)
        }
    })
}
