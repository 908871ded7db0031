//! Whole messages that came before.

use super::super::plan::{Layout, Taken};
use super::super::simd::{Base, Simd, window};
use super::super::span::{Kind, Span};
use super::reader::Reader;
use super::{Between, END, Found, Literal, ROWS, START, Unknown};

/// More routes than these are not kept: when they are full and still many messages leave them, they
/// are learned anew.
const ROUTES: usize = 64;
/// So many messages may leave the routes before they are learned anew.
const STRAYED: u32 = 4096;
/// Ways that came once; each forgets the one before it in its place.
const ONCE: usize = 256;
/// How many steps may be left out at one place.
const SKIPS: usize = 3;

/// A step that a message took outside its route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    /// Where the text before the value begins and ends.
    pub(super) literal: (usize, usize),
    pub(super) between: Between,
    pub(super) taken: Taken,
    pub(super) kind: Kind,
    /// The value before it, if there is one, is of the same object.
    pub(super) same_object: bool,
}

impl Trace {
    fn hash(&self, before: u64) -> u64 {
        let (start, end) = self.literal;
        let own = u64::from(self.between.target) << 32 | ((end - start) as u64) << 8 | self.kind as u64;
        (before ^ own).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }
}

/// One text of a route and the value behind it.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// With a string's first quote.
    literal: Literal,
    reads: Reads,
    /// Where its value goes: the first cell of its slot.
    cells: u32,
    /// The node whose value is read.
    node: u16,
    /// It stands behind another value of the same object, so that what stands before it does not matter.
    is_loose: bool,
    /// It may be left out.
    is_optional: bool,
    between: Between,
    taken: Taken,
    /// This step and all before it.
    hash: u64,
}

/// What a step expects behind its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    String,
    Number,
    /// Anything, or a value in an object that is entered by this step.
    Other,
    End,
}

impl Step {
    /// `None` if the text is too long.
    fn new(layout: &Layout, text: &[u8], trace: &Trace, hash: u64) -> Option<Self> {
        let Trace { literal: (start, end), between, taken, kind, same_object } = *trace;
        let slot = match taken {
            Taken::Value { slot, .. } | Taken::Checked { slot } | Taken::Object { slot } => Some(slot),
            Taken::Unknown | Taken::Nowhere => None,
        };
        let reads = match (taken, kind) {
            _ if between.target == END => Reads::End,
            _ if between.enters > 0 => Reads::Other,
            (Taken::Value { .. }, Kind::String) => Reads::String,
            (Taken::Value { .. }, Kind::Number) => Reads::Number,
            _ => Reads::Other,
        };
        let entered = &between.entered[..usize::from(between.enters)];
        let is_required = |slot: &u32| layout.required.iter().any(|(_, required)| required == slot);
        Some(Self {
            literal: Literal::new(text.get(start..end + usize::from(reads == Reads::String))?)?,
            reads,
            cells: slot.unwrap_or_default() * ROWS as u32,
            node: between.target,
            is_loose: same_object,
            is_optional: reads != Reads::End && !slot.iter().chain(entered).any(is_required),
            between,
            taken,
            hash,
        })
    }
}

#[derive(Debug)]
struct Route {
    steps: Vec<Step>,
    /// The slots that its strings and numbers fill.
    slots: Vec<u32>,
    /// The last chunk in which a message took it.
    chunk: u64,
    /// The route of the message after the last that took this one.
    next: usize,
    hash: u64,
}

/// The routes that are known.
#[derive(Debug)]
pub(super) struct Routes {
    routes: Vec<Route>,
    /// The route of the last message.
    last: usize,
    /// The route that the present message began on, and whether it left out steps of it.
    tried: usize,
    skipped: bool,
    once: Box<[u64; ONCE]>,
    chunk: u64,
    strayed: u32,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            last: 0,
            tried: 0,
            skipped: false,
            once: Box::new([0; ONCE]),
            chunk: 1,
            strayed: 0,
        }
    }
}

/// How far a message followed its route.
pub(super) enum Followed {
    /// To its end: everything is noted.
    Whole,
    /// Up to `at`, behind the value of `node`, which is so many steps.
    Part { at: usize, node: u16, steps: usize },
}

impl Routes {
    pub(super) fn begin(&mut self) {
        self.chunk += 1;
    }

    /// Follows the route that is expected for the next message.
    #[inline(always)]
    pub(super) fn follow<S: Simd>(
        &mut self,
        layout: &Layout,
        text: &[u8],
        (start, end): (usize, usize),
        row: usize,
        found: &mut Found,
    ) -> Followed {
        let (mut at, mut node, mut next) = (start, START, 0);
        self.skipped = false;
        let Some(expected) = self.routes.get(self.last).map(|last| last.next) else {
            return Followed::Part { at, node, steps: 0 };
        };
        self.tried = expected;
        let route = &mut self.routes[expected];
        if route.chunk != self.chunk {
            route.chunk = self.chunk;
            route.slots.iter().for_each(|slot| found.present[*slot as usize] = true);
        }
        let steps = route.steps.as_slice();
        let mut reader = Reader::new(text, start, end);
        while let (Some(here), Some(mut step)) = (window(text, at), steps.get(next)) {
            if !step.literal.fits::<S>(here, text, at) {
                let Some(other) = without_some(steps, next, text, at) else { break };
                self.skipped = true;
                step = &steps[other];
                next = other;
            }
            let value = at + step.literal.len as usize;
            match step.reads {
                Reads::String => {
                    let Some(quote) = reader.string::<S>(value) else { break };
                    found.cells[step.cells as usize + row] = Span::new(Kind::String, value, quote);
                    at = quote + 1;
                }
                Reads::Number => {
                    let first = text.get(value).copied().unwrap_or_default();
                    if first.wrapping_sub(b'-') > b'9' - b'-' {
                        break;
                    }
                    let Some(end) = reader.scalar::<S>(value) else { break };
                    found.cells[step.cells as usize + row] = Span::new(Kind::Number, value, end);
                    at = end;
                }
                Reads::Other => {
                    let Some(behind) = other_value::<S>(layout, &mut reader, step, value, row, found) else { break };
                    at = behind;
                }
                Reads::End if value == end => {
                    self.last = expected;
                    return Followed::Whole;
                }
                Reads::End => break,
            }
            node = step.node;
            next += 1;
        }
        Followed::Part { at, node, steps: next }
    }

    /// Learns the way of a message that followed its route for so many steps, and then went its own.
    pub(super) fn learn(&mut self, layout: &Layout, text: &[u8], steps: usize, way: &[Trace]) {
        self.strayed += 1;
        if self.strayed > STRAYED {
            self.strayed = 0;
            if self.routes.len() == ROUTES {
                self.routes.clear();
                self.last = 0;
                return;
            }
        }
        if self.skipped {
            // Its way is not known in full; likely it comes from where its route comes from.
            self.last = self.tried;
            return;
        }
        let begun = self.routes.get(self.tried).and_then(|route| route.steps.get(..steps)).unwrap_or_default();
        let begun_hash = begun.last().map_or(0, |step| step.hash);
        let hash = way.iter().fold(begun_hash, |hash, trace| trace.hash(hash));
        if let Some(known) = self.routes.iter().position(|route| route.hash == hash) {
            return self.arrived(known);
        }
        let once = &mut self.once[(hash >> 32) as usize % ONCE];
        if *once != hash || self.routes.len() == ROUTES {
            *once = hash;
            return;
        }
        let mut steps = begun.to_vec();
        let mut before = begun_hash;
        for trace in way {
            before = trace.hash(before);
            let Some(step) = Step::new(layout, text, trace, before) else { return };
            steps.push(step);
        }
        let slots = steps
            .iter()
            .filter(|step| matches!(step.reads, Reads::String | Reads::Number))
            .map(|step| step.cells / ROWS as u32)
            .collect();
        self.routes.push(Route { steps, slots, chunk: 0, next: self.routes.len(), hash });
        self.arrived(self.routes.len() - 1);
    }

    /// Notes that a message took this route.
    fn arrived(&mut self, route: usize) {
        if let Some(last) = self.routes.get_mut(self.last) {
            last.next = route;
        }
        self.last = route;
    }
}

/// The step that the text goes on with at `at`, if only steps were left out that may be.
#[cold]
#[inline(never)]
fn without_some(steps: &[Step], next: usize, text: &[u8], at: usize) -> Option<usize> {
    let here = window(text, at)?;
    let is_left_out = |step: &Step| step.is_loose && step.is_optional;
    let left_out = steps[next..].iter().take(SKIPS).take_while(|step| is_left_out(step)).count();
    let fits = |step: &Step| step.is_loose && step.literal.fits::<Base>(here, text, at);
    (next + 1..=next + left_out).find(|other| steps.get(*other).is_some_and(fits))
}

/// Reads a value that is no plain string or number; gives the place behind it.
#[inline(never)]
fn other_value<S: Simd>(
    layout: &Layout,
    reader: &mut Reader<'_>,
    step: &Step,
    at: usize,
    row: usize,
    found: &mut Found,
) -> Option<usize> {
    let span = reader.value::<S>(layout, step.taken, at)?;
    if span.kind() == Kind::Null && !step.is_optional {
        return None;
    }
    match step.taken {
        Taken::Unknown => found.unknown.push(Unknown { row: row as u8, node: step.node, value: span }),
        Taken::Object { .. } if span.kind() != Kind::Null => return None,
        _ => {
            found.put(step.cells / ROWS as u32, row, span);
        }
    }
    for slot in &step.between.entered[..usize::from(step.between.enters)] {
        found.put(*slot, row, Span::new(Kind::Object, at, at));
    }
    Some(span.end() + usize::from(span.kind() == Kind::String))
}
