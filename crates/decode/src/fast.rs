//! The fast path: messages that look as others did before, many at a time.
//!
//! A message is first only searched: [`scan`] notes where its values stand. When some dozens have
//! been searched, [`rows`] makes their columns, one after the other. Whatever is not plain sends the
//! message to the general path ([`crate::decoder`]), at its place in the order; so the fast path
//! decides nothing by itself, and can only find the same rows sooner.

mod bits;
mod clock;
mod digits;
mod entry;
mod list;
mod matrix;
mod plan;
mod rows;
mod scan;
mod simd;
mod span;

use situs_model::{DeviceSource, RawBatch};

pub(crate) use self::matrix::{Matrix, Shortened};
pub(crate) use self::simd::Level;

use self::plan::Layout;
use self::rows::{Chunk, Counts, Given, Maker, Odd};
use self::scan::{Found, ROWS, Scanner};
use self::simd::Simd;
use self::span::{Kind, MAX_TEXT, Span};
use crate::builders::Builders;
use crate::plan::{Outcome, Plan, Program};
use crate::tape::KEEP;

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
    level: Level,
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

/// Where a message and the device id outside of it stand in a text: begin and end.
type Places = ((usize, usize), Option<(usize, usize)>);

/// A search in the messages of a batch.
struct Filling<'f> {
    layout: &'f Layout,
    scanner: &'f mut Scanner,
    chunk: &'f mut Chunk,
    raw: &'f RawBatch,
    text: &'f [u8],
    /// The only message of the text, if it is not that of the batch.
    alone: Option<Places>,
    device: &'f DeviceSource,
    max_bytes: usize,
    /// Where to end: behind the last message of the text.
    end: usize,
}

impl Filling<'_> {
    /// Searches messages from the one at `from` on; gives the first that did not go into the chunk.
    #[inline(always)]
    fn fill<S: Simd>(self, from: usize) -> usize {
        let Self { layout, scanner, chunk, raw, text, alone, device, max_bytes, end } = self;
        let to = end.min(from + ROWS);
        let mut entered = 0_u64;
        if alone.is_none() {
            let first = (from..to).find_map(|index| raw.payload_range(index));
            let last = (from..to).rev().find_map(|index| raw.payload_range(index));
            if let (Some(first), Some(last)) = (first, last) {
                touch(&text[first.start..last.end]);
            }
        }
        for (row, index) in (from..to).enumerate() {
            let row = row & (ROWS - 1);
            chunk.messages[row] = index as u32;
            let places = match alone {
                Some(alone) => Some(alone),
                None => places(raw, device, index),
            };
            let Some((payload, outside)) = places else { continue };
            if payload.1 - payload.0 <= max_bytes {
                entered |= 1 << row;
                scanner.enter(row, payload);
            }
            if *device != DeviceSource::Payload {
                chunk.devices[row] =
                    outside.map_or(Span::ABSENT, |(start, end)| Span::new(Kind::String, start, end));
            }
        }
        chunk.rows = to - from;
        let all = bits::first(chunk.rows);
        chunk.odd = (all & !entered) | scanner.scan::<S>(layout, text, entered, &mut chunk.found);
        to
    }
}

/// Brings a text near. The messages are read side by side, a field of each at a time, which no
/// processor foresees; read once from the beginning to the end, it does.
#[inline(always)]
fn touch(text: &[u8]) {
    const LINE: usize = 64;
    let lines = text.iter().step_by(LINE).fold(0, |sum, byte| sum ^ byte);
    std::hint::black_box(lines);
}

/// Where a message of a batch stands; `None` if it has no payload.
#[inline(always)]
fn places(raw: &RawBatch, device: &DeviceSource, index: usize) -> Option<Places> {
    let payload = raw.payload_range(index)?;
    let device = match device {
        DeviceSource::Payload => None,
        DeviceSource::Key => raw.key_range(index),
        DeviceSource::Header(name) => raw.header_range(index, name),
    };
    let device = device.filter(|range| !range.is_empty());
    Some(((payload.start, payload.end), device.map(|range| (range.start, range.end))))
}

impl Fast {
    /// `None` if no message of this schema is plain.
    pub(crate) fn new(program: &Program) -> Option<Self> {
        let layout = Layout::new(program)?;
        let plan = plan_of(program)?;
        Some(Self {
            level: Level::best(),
            scanner: Scanner::new(&layout),
            chunk: Chunk {
                found: Found::new(layout.slots),
                rows: 0,
                odd: 0,
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

    /// Searches messages from the one at `from` on, as many as go into a chunk; gives the first that
    /// did not. `None` leaves the one at `from` to the general path.
    pub(crate) fn fill(
        &mut self,
        program: &Program,
        raw: &RawBatch,
        from: usize,
        max_bytes: usize,
    ) -> Option<usize> {
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        if raw.bytes().len() >= MAX_TEXT - 3 * PADDING {
            return None;
        }
        // Only the last message may lack bytes behind it, so it is searched elsewhere.
        self.in_tail = from + 1 == raw.len();
        let mut alone = None;
        if self.in_tail {
            let (payload, device) = places(raw, &program.device, from)?;
            let tail = &mut self.tail;
            tail.clear();
            let mut copy = |(start, end): (usize, usize)| {
                tail.extend_from_slice(&[b' '; PADDING]);
                tail.extend_from_slice(&raw.bytes()[start..end]);
                (tail.len() - (end - start), tail.len())
            };
            alone = Some((copy(payload), device.map(&mut copy)));
            tail.extend_from_slice(&[b' '; PADDING]);
        }
        let filling = Filling {
            layout: &self.layout,
            scanner: &mut self.scanner,
            chunk: &mut self.chunk,
            raw,
            text: if self.in_tail { &self.tail } else { raw.bytes() },
            alone,
            device: &program.device,
            max_bytes,
            end: raw.len() - usize::from(!self.in_tail),
        };
        let next = entry::fill(self.level, filling, from);
        let odd = self.chunk.odd.count_ones() as i32;
        self.credit = (self.credit + self.chunk.rows as i32 - odd).min(MAX_CREDIT);
        self.failed(odd);
        Some(next)
    }

    /// Notes that messages were not plain.
    fn failed(&mut self, count: i32) {
        self.credit -= COST * count;
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
        let odd = self.chunk.odd.checked_shr(from as u32).unwrap_or(0);
        let mut to = self.chunk.rows.min(from + odd.trailing_zeros() as usize);
        let given = Given {
            layout: &self.layout,
            plan,
            text: if self.in_tail { &self.tail } else { raw.bytes() },
            chunk: &self.chunk,
            scanner: &self.scanner,
            outside_device: program.outside_device,
            raw,
            level: self.level,
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
            self.failed(i32::from(self.chunk.odd >> to & 1 == 0));
            return Some((to, self.chunk.messages[to]));
        }
        None
    }

    /// Forgets the rows noted, when all of them are made.
    pub(crate) fn clear(&mut self) {
        if self.chunk.rows > 0 {
            self.chunk.rows = 0;
            self.chunk.found.clear();
        }
    }

    /// Gives back what a large message has left.
    pub(crate) fn shrink(&mut self) {
        if self.tail.capacity() > KEEP {
            self.tail = Vec::new();
        }
        self.chunk.found.shrink();
        self.scanner.shrink();
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
