//! Where values stand.

use crate::decoder::read::may_be_missing;

/// What kind of value a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// What may be a number; not checked yet.
    Number = 0,
    /// The characters of a string without escapes.
    String = 1,
    /// From `[` to the first `]`; not checked yet.
    List = 2,
    Null = 3,
    Boolean = 4,
    /// Any JSON, checked, as it was sent.
    Json = 5,
    /// An object of the schema, whose values have spans of their own.
    Object = 6,
    Absent = 7,
}

/// A value's place in the text: its start in the lower half, its end in the upper, whose first three
/// bits are the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(u64);

const KIND: u32 = 61;
/// Batches with more bytes are left to the general path.
pub(super) const MAX_TEXT: usize = 1 << (KIND - 32);

impl Span {
    pub(super) const ABSENT: Self = Self((Kind::Absent as u64) << KIND);

    /// Both places must be below [`MAX_TEXT`].
    #[inline(always)]
    pub(super) fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self((kind as u64) << KIND | (end as u64) << 32 | start as u64)
    }

    #[inline(always)]
    pub(super) fn kind(self) -> Kind {
        match self.0 >> KIND {
            0 => Kind::Number,
            1 => Kind::String,
            2 => Kind::List,
            3 => Kind::Null,
            4 => Kind::Boolean,
            5 => Kind::Json,
            6 => Kind::Object,
            _ => Kind::Absent,
        }
    }

    #[inline(always)]
    pub(super) fn is(self, kind: Kind) -> bool {
        self.0 >> KIND == kind as u64
    }

    #[inline(always)]
    pub(super) fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    pub(super) fn end(self) -> usize {
        (self.0 >> 32) as usize & (MAX_TEXT - 1)
    }

    /// Start and length of a string that has up to sixteen bytes and means a text without doubt. Anything
    /// else has the length 0.
    #[inline(always)]
    pub(super) fn short_text(self) -> (usize, usize) {
        let len = self.end().wrapping_sub(self.start());
        let is_plain = self.is(Kind::String) & (len <= 16) & !may_be_missing(len);
        (self.start(), if is_plain { len } else { 0 })
    }
}
