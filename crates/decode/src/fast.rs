//! The fast path: messages that look as others did before, many at a time.
//!
//! A message is first only searched: [`scan`] notes where its values stand. When some dozens have
//! been searched, [`rows`] makes their columns, one after the other. Whatever is not plain sends the
//! message to the general path ([`crate::decoder`]), at its place in the order; so the fast path
//! decides nothing by itself, and can only find the same rows sooner.

mod clock;
mod digits;
mod list;
mod plan;
mod rows;
mod scan;
mod window;

use situs_model::{DeviceSource, RawBatch};

use self::plan::Layout;
use self::rows::{Chunk, Counts, Given, Maker, Odd};
use self::scan::{Kind, MAX_LEN, ROWS, Scanner, Span};
use crate::builders::Builders;
use crate::plan::{Outcome, Plan, Program};

/// The search looks at up to so many bytes behind what it reads.
const PADDING: usize = 64;

/// A message that was not plain costs the search so many that were, before the path is given up.
const COST: i32 = 8;
const MAX_CREDIT: i32 = 256;
/// After that, so many messages go the general way until the fast path is tried anew.
const REST: u32 = 1024;

/// The fast path of one decoder.
#[derive(Debug)]
pub(crate) struct Fast {
    layout: Layout,
    scanner: Scanner,
    chunk: Chunk,
    maker: Maker,
    /// The last message of a batch, with room behind it.
    tail: Vec<u8>,
    /// The chunk's text is the tail and not the batch.
    in_tail: bool,
    /// Rises with plain messages and falls with others; below 0 the path is not tried for a while.
    credit: i32,
    rest: u32,
    /// Rows that were made here, for tests and benchmarks.
    pub(crate) rows: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Searched {
    /// Its values are noted; [`Fast::make`] makes its row.
    Noted,
    /// The general path must decode it, when what was noted before it is made.
    Odd,
}

impl Fast {
    /// `None` if no message of this schema is plain.
    pub(crate) fn new(program: &Program) -> Option<Self> {
        let layout = Layout::new(program)?;
        let plan = plan_of(program)?;
        Some(Self {
            scanner: Scanner::new(&layout),
            chunk: Chunk {
                spans: vec![[Span::ABSENT; ROWS]; layout.slots],
                unknown: Vec::new(),
                rows: 0,
                messages: [0; ROWS],
                devices: [Span::ABSENT; ROWS],
            },
            maker: Maker::new(plan),
            tail: Vec::new(),
            in_tail: false,
            credit: MAX_CREDIT,
            rest: 0,
            rows: 0,
            layout,
        })
    }

    /// Whether the rows noted must be made before the message at `index` can be searched.
    #[inline]
    pub(crate) fn is_full(&self, raw: &RawBatch, index: usize) -> bool {
        self.chunk.rows == ROWS || (self.chunk.rows > 0 && index + 1 == raw.len())
    }

    /// Searches the message at `index`.
    #[inline]
    pub(crate) fn search(&mut self, program: &Program, raw: &RawBatch, index: usize, max_bytes: usize) -> Searched {
        if self.rest > 0 {
            self.rest -= 1;
            return Searched::Odd;
        }
        let Some(payload) = raw.payload_range(index) else { return Searched::Odd };
        if payload.len() > max_bytes.min(MAX_LEN - 1) || raw.bytes().len() > u32::MAX as usize {
            return Searched::Odd;
        }
        let mut place = (payload.start, payload.end);
        let device = match &program.device {
            DeviceSource::Payload => None,
            DeviceSource::Key => raw.key_range(index),
            DeviceSource::Header(name) => raw.header_range(index, name),
        };
        let mut device = device.filter(|range| !range.is_empty() && range.len() < MAX_LEN);
        // Only the last message may lack bytes behind it.
        self.in_tail = index + 1 == raw.len();
        let text = if self.in_tail {
            self.tail.clear();
            self.tail.extend_from_slice(&[b' '; PADDING]);
            self.tail.extend_from_slice(&raw.bytes()[payload.clone()]);
            place = (PADDING, self.tail.len());
            if let Some(range) = &mut device {
                let start = self.tail.len();
                self.tail.extend_from_slice(&raw.bytes()[range.clone()]);
                *range = start..self.tail.len();
            }
            self.tail.extend_from_slice(&[b' '; PADDING]);
            &self.tail
        } else {
            raw.bytes()
        };
        let row = self.chunk.rows;
        let unknown = self.chunk.unknown.len();
        let (spans, fields) = (&mut self.chunk.spans, &mut self.chunk.unknown);
        if !self.scanner.scan(&self.layout, text, place, row, spans, fields) {
            self.chunk.spans.iter_mut().for_each(|cells| cells[row] = Span::ABSENT);
            self.chunk.unknown.truncate(unknown);
            self.failed();
            return Searched::Odd;
        }
        self.chunk.messages[row] = index as u32;
        self.chunk.devices[row] = device.map_or(Span::ABSENT, |range| Span::new(Kind::String, range.start, range.end));
        self.chunk.rows += 1;
        self.credit = (self.credit + 1).min(MAX_CREDIT);
        Searched::Noted
    }

    fn failed(&mut self) {
        self.credit -= COST;
        if self.credit < 0 {
            self.rest = REST;
            self.credit = COST;
        }
    }

    /// Makes the rows that are noted, from the one at `from` on. Gives the row and the message of the
    /// first that is not plain after all; those before it are made then.
    pub(crate) fn make(
        &mut self,
        program: &Program,
        raw: &RawBatch,
        builders: &mut Builders,
        from: usize,
    ) -> Option<(usize, u32)> {
        let plan = plan_of(program)?;
        let mut to = self.chunk.rows;
        let given = Given {
            layout: &self.layout,
            plan,
            text: if self.in_tail { &self.tail } else { raw.bytes() },
            chunk: &self.chunk,
            scanner: &self.scanner,
            outside_device: program.outside_device,
            raw,
        };
        let before = builders.rows();
        let counts = self.maker.counts;
        while from < to {
            builders.mark();
            match self.maker.make(given, builders, from..to) {
                Ok(()) => break,
                Err(Odd(row)) => {
                    builders.truncate(before);
                    self.maker.counts = counts;
                    to = row;
                }
            }
        }
        self.rows += (to - from) as u64;
        if to < self.chunk.rows {
            self.failed();
            return Some((to, self.chunk.messages[to]));
        }
        None
    }

    /// Forgets the rows noted, when all of them are made.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.chunk.rows = 0;
        self.chunk.unknown.clear();
        self.chunk.spans.iter_mut().for_each(|cells| *cells = [Span::ABSENT; ROWS]);
    }

    /// Whether no rows are noted.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.chunk.rows == 0
    }

    /// What was counted since the last call: unknown fields, sentinels, times from the broker.
    pub(crate) fn counts(&mut self) -> (u64, u64, u64) {
        let Counts { unknown_fields, sentinels, times_from_broker } = std::mem::take(&mut self.maker.counts);
        (unknown_fields, sentinels, times_from_broker)
    }
}

/// The plan of the schemas that [`Layout::new`] takes.
fn plan_of(program: &Program) -> Option<&Plan> {
    match &program.alternatives.first()?.outcome {
        Outcome::Rows(plan) => Some(plan),
        Outcome::None(_) => None,
    }
}
