//! Reading a message's values.

use super::super::plan::{Layout, Taken};
use super::super::simd::{Base, Simd, window};
use super::super::span::{Kind, Span};
use crate::syntax;

/// The message being read.
pub(super) struct Reader<'t> {
    pub(super) text: &'t [u8],
    pub(super) end: usize,
}

impl<'t> Reader<'t> {
    #[inline(always)]
    pub(super) fn new(text: &'t [u8], end: usize) -> Self {
        Self { text, end }
    }

    /// Where the string ends whose first character is at `at`: the place of its second quote.
    #[inline(always)]
    pub(super) fn string<S: Simd>(&self, mut at: usize) -> Option<usize> {
        loop {
            let stops = S::string_stops(window(self.text, at)?);
            if stops != 0 {
                at += stops.trailing_zeros() as usize;
                return if self.text[at] == b'"' { Some(at) } else { self.odd_string(at) };
            }
            at += 16;
            if at > self.end {
                return None;
            }
        }
    }

    /// [`string`](Self::string) where it is not over at once.
    #[inline(never)]
    pub(super) fn far_string(&self, at: usize) -> Option<usize> {
        self.string::<Base>(at)
    }

    /// [`scalar`](Self::scalar) where it is not over at once.
    #[inline(never)]
    pub(super) fn far_scalar(&self, at: usize) -> Option<usize> {
        self.scalar::<Base>(at)
    }

    /// The same from a byte that is not ASCII.
    #[cold]
    fn odd_string(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            match *self.text.get(at)? {
                b'"' => break,
                b'\\' | 0..0x20 => return None,
                _ if at >= self.end => return None,
                _ => at += 1,
            }
        }
        // What comes before is ASCII.
        std::str::from_utf8(&self.text[from..at]).is_ok().then_some(at)
    }

    /// Where the number or literal ends that begins at `at`.
    #[inline(always)]
    pub(super) fn scalar<S: Simd>(&self, mut at: usize) -> Option<usize> {
        loop {
            let stops = S::scalar_stops(window(self.text, at)?);
            if stops != 0 {
                return Some(at + stops.trailing_zeros() as usize);
            }
            at += 16;
            if at > self.end {
                return None;
            }
        }
    }

    /// Where the list ends that begins at `at`, if no other is in it: after its bracket.
    #[inline(always)]
    fn list<S: Simd>(&self, mut at: usize) -> Option<usize> {
        loop {
            let ends = S::places(window(self.text, at)?, b']');
            if ends != 0 {
                return Some(at + ends.trailing_zeros() as usize + 1);
            }
            at += 16;
            if at > self.end {
                return None;
            }
        }
    }

    #[inline(always)]
    pub(super) fn blanks(&self, at: usize) -> usize {
        match self.text.get(at) {
            Some(byte) if *byte > b' ' => at,
            _ => self.some_blanks(at),
        }
    }

    #[inline(never)]
    fn some_blanks(&self, mut at: usize) -> usize {
        while at < self.end && matches!(self.text[at], b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Where any value ends that begins at `at`, having checked it.
    fn any(&self, at: usize, depth: usize) -> Option<usize> {
        let rest = self.text.get(at..self.end)?;
        let end = at + syntax::first_value(rest, depth)?;
        std::str::from_utf8(&self.text[at..end]).is_ok().then_some(end)
    }

    /// The value that begins at `at`, as far as it is plain. Strings come without their quotes.
    #[inline(always)]
    pub(super) fn value<S: Simd>(&self, layout: &Layout, taken: Taken, at: usize) -> Option<Span> {
        let lists = match taken {
            Taken::Checked { .. } | Taken::Unknown => {
                let end = self.any(at, layout.max_depth)?;
                let is_null = &self.text[at..end] == b"null";
                return Some(Span::new(if is_null { Kind::Null } else { Kind::Json }, at, end));
            }
            Taken::Value { lists, .. } => lists,
            Taken::Object { .. } | Taken::Nowhere => false,
        };
        Some(match *self.text.get(at)? {
            b'"' => Span::new(Kind::String, at + 1, self.string::<S>(at + 1)?),
            b'-' | b'0'..=b'9' => Span::new(Kind::Number, at, self.scalar::<S>(at)?),
            b'[' if lists => Span::new(Kind::List, at, self.list::<S>(at)?),
            _ => {
                let end = self.scalar::<S>(at)?;
                let kind = match &self.text[at..end] {
                    b"null" => Kind::Null,
                    b"true" | b"false" => Kind::Boolean,
                    _ => return None,
                };
                Span::new(kind, at, end)
            }
        })
    }
}
