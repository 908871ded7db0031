//! Row-major blocks of plain numbers, read without a tape.

use super::digits;
use super::list::{blanks, scalar};
use super::simd::Simd;
use crate::tape::KEEP;

/// A block as it was read.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    /// The samples, row by row, and a place without meaning for each counter.
    pub(crate) values: Vec<f64>,
    /// The counter of each row, 0 where rows have none.
    pub(crate) counters: Vec<i64>,
    /// Numbers in a row, the counter among them.
    pub(crate) width: usize,
}

impl Matrix {
    /// Reads the block that begins at `start`; gives the place behind its last bracket. The entry at
    /// `counter` of each row is its counter. `None` if there is anything but rows of one length, at
    /// least one, of numbers that doubles hold, or if the text does not go on a bit behind the block.
    #[inline(always)]
    pub(super) fn read<S: Simd>(
        &mut self,
        text: &[u8],
        start: usize,
        counter: Option<usize>,
    ) -> Option<usize> {
        self.values.clear();
        self.counters.clear();
        let mut at = blanks(text, start + 1);
        loop {
            let first = self.values.len();
            at = self.row::<S>(text, at, counter)?;
            let width = self.values.len() - first;
            if first == 0 {
                self.width = width;
            }
            if width != self.width || counter.is_some_and(|counter| counter >= width) {
                return None;
            }
            at = blanks(text, at);
            match text.get(at)? {
                b',' => at = blanks(text, at + 1),
                b']' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Reads a row of at least one number; gives the place behind its bracket.
    #[inline(always)]
    fn row<S: Simd>(&mut self, text: &[u8], start: usize, counter: Option<usize>) -> Option<usize> {
        (*text.get(start)? == b'[').then_some(())?;
        let mut at = blanks(text, start + 1);
        let mut column = 0;
        if counter.is_none() {
            self.counters.push(0);
        }
        loop {
            if counter == Some(column) {
                let end = scalar::<S>(text, at)?;
                self.counters.push(digits::integer::<S>(text, at, end)?);
                self.values.push(0.0);
                at = end;
            } else {
                let (value, end) = digits::leading_double::<S>(text, at)?;
                self.values.push(value);
                at = end;
            }
            column += 1;
            if *text.get(at)? <= b' ' {
                at = blanks(text, at);
            }
            match text.get(at)? {
                b',' => at += 1,
                b']' => return Some(at + 1),
                _ => return None,
            }
            if *text.get(at)? <= b' ' {
                at = blanks(text, at);
            }
        }
    }
}

/// A block found in a message, and the message without it.
#[derive(Debug, Default)]
pub(crate) struct Shortened {
    pub(crate) matrix: Matrix,
    /// The message, with an empty row for the block.
    pub(crate) text: Vec<u8>,
    /// The message where it lacks bytes behind it.
    tail: Vec<u8>,
    /// Where blocks stood so far.
    pub(crate) place: Option<usize>,
    /// The rows of the present message are made of the matrix.
    pub(crate) is_ready: bool,
    pub(crate) is_used: bool,
}

/// What stands for a block, as deep as it is.
const EMPTY_ROW: &[u8] = b"[[]]";

impl Shortened {
    /// Reads the block of the message at `text[start..end]`, if it stands where blocks stood. If so,
    /// [`text`](Self::text) is the message without it, whose rows may be made of the matrix: if they
    /// are, and nothing in it is at fault, the message is what it is without this detour.
    pub(crate) fn find(
        &mut self,
        level: super::simd::Level,
        text: &[u8],
        (mut start, mut end): (usize, usize),
        counter: Option<usize>,
    ) -> bool {
        self.is_ready = false;
        let Some(place) = self.place else { return false };
        let mut text = text;
        if text.len() < end + super::PADDING {
            self.tail.clear();
            self.tail.extend_from_slice(&text[start..end]);
            (start, end) = (0, self.tail.len());
            self.tail.extend_from_slice(&[b' '; super::PADDING]);
            text = &self.tail;
        }
        // No number leads the search further than this.
        text = &text[..end + super::PADDING];
        let block = start + place;
        if block >= end || text[block] != b'[' {
            return false;
        }
        let Some(behind) = super::entry::matrix(level, &mut self.matrix, text, block, counter) else {
            return false;
        };
        if behind > end {
            return false;
        }
        self.text.clear();
        for part in [&text[start..block], EMPTY_ROW, &text[behind..end]] {
            self.text.extend_from_slice(part);
        }
        self.is_ready = true;
        self.is_used = false;
        true
    }

    /// Gives back what a large message has left.
    pub(crate) fn shrink(&mut self) {
        if self.tail.capacity() + self.text.capacity() + 8 * self.matrix.values.capacity() > KEEP {
            *self = Self { place: self.place, ..Self::default() };
        }
    }

    /// Whether the block at this place of the shortened text is the one that was read.
    pub(crate) fn is_at(&self, place: Option<usize>) -> bool {
        self.is_ready && !self.is_used && place.is_some() && place == self.place
    }
}
