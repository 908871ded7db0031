//! Fields of several values, or of several columns.

use super::read::missing_text;
use super::{About, Cells, Done, Given, Maker, Odd, Rows};
use crate::builders::Builders;
use crate::columns::{Full, NumberLists};
use crate::decoder::read::{Code, not_finite, sentinel};
use crate::fast::scan::ROWS;
use crate::fast::simd::Base;
use crate::fast::span::{Kind, Span};
use crate::fast::{digits, entry, list as flat};
use crate::plan::{Leaf, NumericStrings, TextTarget, ValueKind};

impl Maker {
    /// A flat list of numbers; each code is noted once.
    #[inline(always)]
    pub(super) fn number_list(
        &mut self,
        given: Given<'_>,
        builders: &mut Builders,
        leaf: &Leaf,
        column: usize,
        span: Span,
        row: usize,
    ) -> Done {
        let list = &mut builders.numbers[column];
        let mut nulls = 0;
        let mut at = flat::blanks(given.text, span.start() + 1);
        let mut is_over = at + 1 == span.end();
        while !is_over {
            let next = list.extend(|values| entry::numbers(given.level, given.text, at, span.end(), values));
            at = next.ok_or(Odd(row))?;
            is_over = at == span.end();
            if !is_over {
                // A null, or the general path knows.
                let null = given.text.get(at..at + 4) == Some(b"null");
                let mut behind = flat::blanks(given.text, at + 4);
                is_over = behind + 1 == span.end();
                if !null || !(is_over || given.text.get(behind) == Some(&b',')) {
                    return Err(Odd(row));
                }
                behind = flat::blanks(given.text, behind + 1);
                list.push_null();
                nulls += 1;
                at = behind;
            }
        }
        list.end().map_err(|Full| Odd(row))?;
        if nulls > 0 {
            // Each null counts, and the note below counts as one.
            self.counts.sentinels += nulls - 1;
            self.note(row, About::Leaf(leaf.number as u32), Code::Null);
        }
        Ok(())
    }

    /// Numbers, texts and lists of one field, each in its own column.
    pub(super) fn values(
        &mut self,
        given: Given<'_>,
        builders: &mut Builders,
        leaf: &Leaf,
        kind: &ValueKind,
        cells: &Cells,
        rows: Rows,
    ) -> Done {
        let full = |Full| Odd(rows.start);
        let mut doubles = [0.0; ROWS];
        let plain = entry::doubles(given.level, given.text, &cells[rows.clone()], true, &mut doubles);
        let mut numbers = 0_u64;
        let mut texts = [Span::ABSENT; ROWS];
        let mut lists = 0;
        for (i, row) in rows.clone().enumerate() {
            let span = cells[row];
            let plain = if plain >> i & 1 == 1 { Some(doubles[i]) } else { None };
            match value(given, leaf, kind, span, row, plain) {
                Valued::Number(value) => {
                    doubles[i] = value;
                    numbers |= 1 << i;
                }
                Valued::Text => texts[i] = span,
                Valued::Truth(value) => {
                    doubles[i] = f64::from(u8::from(value));
                    numbers |= 1 << i;
                    texts[i] = span;
                }
                Valued::List => lists += 1,
                Valued::Absent => {}
                Valued::Missing(code) => self.note(row, About::Leaf(leaf.number as u32), code),
                Valued::Odd => return Err(Odd(row)),
            }
        }
        if let Some(column) = kind.number {
            builders.float64[column].extend(&doubles[..rows.len()], numbers);
        }
        match kind.list {
            Some(column) if lists == 0 => builders.numbers[column].nulls(rows.len()),
            Some(column) => {
                for row in rows.clone() {
                    if cells[row].is(Kind::List) {
                        let list = &mut builders.numbers[column];
                        if !plain_list(given, list, cells[row]) {
                            return Err(Odd(row));
                        }
                        list.end().map_err(full)?;
                    } else {
                        builders.numbers[column].null().map_err(full)?;
                    }
                }
            }
            None => {}
        }
        for span in &texts[..rows.len()] {
            match (*span == Span::ABSENT, kind.text) {
                (true, target) => builders.text_null(target).map_err(full)?,
                (false, TextTarget::Utf8(column)) => {
                    builders.utf8[column].push_part(given.text, span.start(), span.end()).map_err(full)?;
                }
                (false, TextTarget::Dictionary(column)) => {
                    let column = &mut builders.dictionary[column];
                    let key = column.key(given.text, span.start(), span.end()).map_err(full)?;
                    column.push_key(key);
                }
            }
        }
        Ok(())
    }
}

/// What a value is that may be a number or a text.
enum Valued {
    Number(f64),
    /// As it is written.
    Text,
    /// A number and a text.
    Truth(bool),
    /// Perhaps a list of numbers; not read yet.
    List,
    Absent,
    Missing(Code),
    Odd,
}

/// What a value is; `plain` is the number that it is if it is written plainly.
#[inline(always)]
fn value(
    given: Given<'_>,
    leaf: &Leaf,
    kind: &ValueKind,
    span: Span,
    row: usize,
    plain: Option<f64>,
) -> Valued {
    let read = || plain.or_else(|| digits::double::<Base>(given.text, span.start(), span.end()));
    match span.kind() {
        Kind::Absent => Valued::Absent,
        Kind::Null => Valued::Missing(Code::Null),
        Kind::Boolean => Valued::Truth(given.text[span.start()] == b't'),
        Kind::Number => match read() {
            Some(value) if kind.number.is_some() => Valued::Number(value),
            Some(_) => Valued::Text,
            None => Valued::Odd,
        },
        Kind::String => {
            let Some(is_numeric) = is_numeric(given, &kind.numeric_strings, row) else { return Valued::Odd };
            // Sentinels that are numbers come first.
            if let Some(value) = plain
                && is_numeric
                && kind.number.is_some()
                && leaf.sentinels.is_empty()
            {
                return Valued::Number(value);
            }
            let Some(text) = given.str(span) else { return Valued::Odd };
            if let Some(code) = sentinel(leaf, text) {
                return Valued::Missing(code);
            }
            if !is_numeric {
                return Valued::Text;
            }
            if let Some(code) = not_finite(text) {
                return Valued::Missing(code);
            }
            match read() {
                Some(value) if kind.number.is_some() => Valued::Number(value),
                _ => Valued::Text,
            }
        }
        Kind::List if kind.list.is_some() => Valued::List,
        Kind::List | Kind::Json | Kind::Object => Valued::Odd,
    }
}

/// Adds a list of numbers; `false` if it is anything else, and then some may have been added.
fn plain_list(given: Given<'_>, list: &mut NumberLists, span: Span) -> bool {
    let first = flat::blanks(given.text, span.start() + 1);
    if first + 1 == span.end() {
        return true;
    }
    list.extend(|values| entry::numbers(given.level, given.text, first, span.end(), values))
        == Some(span.end())
}

/// Whether a number in a string is a number in this row; `None` if the general path must tell.
#[inline(always)]
fn is_numeric(given: Given<'_>, numeric: &NumericStrings, row: usize) -> Option<bool> {
    let conditions = match numeric {
        NumericStrings::Always => return Some(true),
        NumericStrings::Never => return Some(false),
        NumericStrings::Any(conditions) => conditions,
    };
    for (slot, words) in conditions {
        let Some(span) = given.cells(*slot).map(|cells| cells[row]) else { continue };
        let text = match span.kind() {
            Kind::String => given.bytes(span),
            Kind::Json => match given.bytes(span) {
                [b'"', text @ .., b'"'] if !text.contains(&b'\\') => text,
                [b'"', ..] => return None,
                _ => continue,
            },
            _ => continue,
        };
        if words.iter().any(|word| word.as_bytes() == text) {
            return Some(true);
        }
    }
    Some(false)
}

/// A flat list of texts without doubtful ones.
pub(super) fn text_list(
    given: Given<'_>,
    builders: &mut Builders,
    leaf: &Leaf,
    column: usize,
    span: Span,
    row: usize,
) -> Done {
    let list = &mut builders.texts[column];
    flat::texts::<Base>(given.text, span.start(), span.end(), |start, end| {
        let is_plain = missing_text(given, leaf, Span::new(Kind::String, start, end)).is_none();
        is_plain && list.push_part(given.text, start, end).is_ok()
    })
    .ok_or(Odd(row))?;
    list.end().map_err(|Full| Odd(row))
}
