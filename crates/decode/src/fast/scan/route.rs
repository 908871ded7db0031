//! Whole messages that came before.

use super::super::plan::{Layout, Taken};
use super::super::simd::{Base, Simd, window};
use super::super::span::{Kind, Span};
use super::reader::Reader;
use super::{Between, END, Found, Literal, ROWS, START, Unknown};
use crate::fast::bits;

/// More routes than these are not kept: when they are full and still many messages leave them, they
/// are learned anew.
const ROUTES: usize = 64;
/// So many messages may leave the routes before they are learned anew.
const STRAYED: u32 = 4096;
/// Ways that came once; each forgets the one before it in its place.
const ONCE: usize = 256;
/// How many steps may be left out at one place.
const SKIPS: usize = 3;
/// Longer ways are not learned: keys that the schema does not know may come any number of times.
const STEPS: usize = 1024;
/// No route.
const NONE: u8 = u8::MAX;

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

    /// Whether the text of a message that ends at `end` goes on with this step at `at`, as far as the
    /// first byte of its value. If so, the step will be taken or the message is odd.
    fn is_next(&self, text: &[u8], at: usize, end: usize) -> bool {
        let value = at + self.literal.len as usize;
        let begins_well = match self.reads {
            Reads::Number => text.get(value).is_some_and(|first| begins_number(*first)),
            Reads::End => value == end,
            Reads::String => true,
            // More blanks than the text has are another way to write, and an object where the schema has
            // one is entered by another step.
            Reads::Other => {
                text.get(value).is_some_and(|first| *first > b' ' && !self.taken.is_entered(*first))
            }
        };
        begins_well && self.literal.is_at::<Base>(text, at)
    }
}

/// Whether a value that begins so may be a number.
#[inline(always)]
fn begins_number(first: u8) -> bool {
    first.wrapping_sub(b'-') <= b'9' - b'-'
}

#[derive(Debug)]
struct Route {
    steps: Vec<Step>,
    /// The slots that its strings and numbers fill.
    slots: Vec<u32>,
    /// Other routes, by the number of steps at the beginning that are the same.
    branches: Vec<(usize, u8)>,
    /// The route of the message after the last that took this one.
    next: u8,
    hash: u64,
}

/// Messages, by their rows, on one route from one of its steps on.
#[derive(Debug, Clone, Copy)]
struct Convoy {
    route: u8,
    step: usize,
    rows: u64,
}

/// A message whose routes ended before it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stray {
    pub(super) row: usize,
    /// Where it is: behind the value of `node`.
    pub(super) at: usize,
    pub(super) node: u16,
    /// The route that it left, and behind which step.
    route: u8,
    steps: usize,
}

/// The routes that are known.
#[derive(Debug)]
pub(super) struct Routes {
    routes: Vec<Route>,
    /// The route of the last message.
    last: u8,
    once: Box<[u64; ONCE]>,
    strayed: u32,
    /// Where each message of the chunk is.
    at: [u32; ROWS],
    /// Where each message ends.
    ends: [u32; ROWS],
    /// The route of each.
    taken: [u8; ROWS],
    /// Messages that left out steps, so that their way is not known in full.
    skipped: u64,
    /// Messages that are left to the general path.
    odd: u64,
    convoys: Vec<Convoy>,
    strays: Vec<Stray>,
    /// Some message of the chunk did not take the route that was expected.
    deviated: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            last: 0,
            once: Box::new([0; ONCE]),
            strayed: 0,
            at: [0; ROWS],
            ends: [0; ROWS],
            taken: [NONE; ROWS],
            skipped: 0,
            odd: 0,
            convoys: Vec::new(),
            strays: Vec::new(),
            deviated: false,
        }
    }
}

impl Routes {
    /// Takes a message of the chunk: row, begin and end.
    #[inline(always)]
    pub(super) fn enter(&mut self, row: usize, (start, end): (usize, usize)) {
        self.at[row & (ROWS - 1)] = start as u32;
        self.ends[row & (ROWS - 1)] = end as u32;
    }

    /// Follows the routes that are expected for the messages entered. Gives those that are odd; those
    /// that strayed wait for [`next_stray`](Self::next_stray).
    #[inline(always)]
    pub(super) fn follow<S: Simd>(
        &mut self,
        layout: &Layout,
        text: &[u8],
        entered: u64,
        found: &mut Found,
    ) -> u64 {
        (self.skipped, self.odd) = (0, 0);
        self.deviated = self.routes.is_empty();
        self.taken = [NONE; ROWS];
        self.strays.clear();
        self.convoys.clear();
        self.expect(entered);
        while let Some(convoy) = self.convoys.pop() {
            self.run::<S>(layout, text, convoy, found);
        }
        self.odd
    }

    /// Groups the messages by the routes that are expected.
    fn expect(&mut self, mut rows: u64) {
        if self.routes.is_empty() {
            while let Some(row) = bits::next(&mut rows) {
                let at = self.at[row] as usize;
                self.strays.push(Stray { row, at, node: START, route: NONE, steps: 0 });
            }
            return;
        }
        let mut by_route = [0_u64; ROUTES];
        let mut route = self.last;
        while let Some(row) = bits::next(&mut rows) {
            route = self.routes[usize::from(route)].next;
            self.taken[row] = route;
            by_route[usize::from(route) % ROUTES] |= 1 << row;
        }
        self.last = route;
        for (route, rows) in by_route.iter().enumerate().filter(|(_, rows)| **rows != 0) {
            self.convoys.push(Convoy { route: route as u8, step: 0, rows: *rows });
        }
    }

    /// Brings a convoy to the end of its route, step by step.
    #[inline(always)]
    fn run<S: Simd>(&mut self, layout: &Layout, text: &[u8], convoy: Convoy, found: &mut Found) {
        let Convoy { route: number, step: first, mut rows } = convoy;
        // Taken out for the time, so that messages can be sent to other routes meanwhile.
        let steps = std::mem::take(&mut self.routes[usize::from(number)].steps);
        for slot in &self.routes[usize::from(number)].slots {
            found.present[*slot as usize] = true;
        }
        for (place, step) in steps.iter().enumerate().skip(first) {
            let len = step.literal.len as usize;
            let (mut strayed, mut odd) = (0_u64, 0_u64);
            let mut left = rows;
            match step.reads {
                Reads::String => {
                    let cells = &mut found.cells[step.cells as usize..][..ROWS];
                    while let Some(row) = bits::next(&mut left) {
                        let at = self.at[row] as usize;
                        if !step.literal.is_at::<S>(text, at) {
                            strayed |= 1 << row;
                            continue;
                        }
                        let value = at + len;
                        let stops = window(text, value).map_or(0, S::string_stops);
                        let mut end = value + stops.trailing_zeros() as usize;
                        // Thirty-two zeros, if nothing stops it here.
                        if stops == 0 || text[end] != b'"' {
                            let reader = Reader::new(text, self.ends[row] as usize);
                            match reader.far_string(value) {
                                Some(quote) => end = quote,
                                None => {
                                    odd |= 1 << row;
                                    continue;
                                }
                            }
                        }
                        cells[row] = Span::new(Kind::String, value, end);
                        self.at[row] = end as u32 + 1;
                    }
                }
                Reads::Number => {
                    let cells = &mut found.cells[step.cells as usize..][..ROWS];
                    while let Some(row) = bits::next(&mut left) {
                        let at = self.at[row] as usize;
                        let value = at + len;
                        if !step.literal.is_at::<S>(text, at)
                            || !text.get(value).is_some_and(|first| begins_number(*first))
                        {
                            strayed |= 1 << row;
                            continue;
                        }
                        let stops = window(text, value).map_or(0, S::scalar_stops);
                        let mut end = value + stops.trailing_zeros() as usize;
                        if stops == 0 {
                            let reader = Reader::new(text, self.ends[row] as usize);
                            match reader.far_scalar(value) {
                                Some(stop) => end = stop,
                                None => {
                                    odd |= 1 << row;
                                    continue;
                                }
                            }
                        }
                        cells[row] = Span::new(Kind::Number, value, end);
                        self.at[row] = end as u32;
                    }
                }
                Reads::Other => {
                    while let Some(row) = bits::next(&mut left) {
                        let at = self.at[row] as usize;
                        if !step.is_next(text, at, self.ends[row] as usize) {
                            strayed |= 1 << row;
                            continue;
                        }
                        let reader = Reader::new(text, self.ends[row] as usize);
                        match other_value::<S>(layout, &reader, step, at + len, row, found) {
                            Some(behind) => self.at[row] = behind as u32,
                            None => odd |= 1 << row,
                        }
                    }
                }
                Reads::End => {
                    while let Some(row) = bits::next(&mut left) {
                        let at = self.at[row] as usize;
                        if !step.literal.is_at::<S>(text, at) || at + len != self.ends[row] as usize {
                            strayed |= 1 << row;
                        }
                    }
                }
            }
            if strayed | odd != 0 {
                self.odd |= odd;
                rows &= !(strayed | odd);
                if strayed != 0 {
                    let node = place.checked_sub(1).map_or(START, |before| steps[before].node);
                    self.branch(text, &steps, (number, place, node), strayed);
                }
                if rows == 0 {
                    break;
                }
            }
        }
        self.routes[usize::from(number)].steps = steps;
        while let Some(row) = bits::next(&mut rows) {
            self.taken[row] = number;
        }
    }

    /// Finds out how messages go on that left a route before the step at `place`: on another route
    /// that began in the same way, on this one without some steps, or on none.
    #[inline(never)]
    fn branch(
        &mut self,
        text: &[u8],
        steps: &[Step],
        (number, place, node): (u8, usize, u16),
        mut rows: u64,
    ) {
        self.deviated = true;
        let first = self.convoys.len();
        while let Some(row) = bits::next(&mut rows) {
            let (at, end) = (self.at[row] as usize, self.ends[row] as usize);
            let is_next = |(same, other): &&(usize, u8)| {
                *same == place
                    && self.routes[usize::from(*other)]
                        .steps
                        .get(place)
                        .is_some_and(|step| step.is_next(text, at, end))
            };
            let other = self.routes[usize::from(number)].branches.iter().find(is_next);
            let (route, step) = match other {
                Some((_, other)) => (*other, place),
                None => match without_some(steps, place, text, at, end) {
                    Some(step) => {
                        self.skipped |= 1 << row;
                        (number, step)
                    }
                    None => {
                        self.strays.push(Stray { row, at, node, route: number, steps: place });
                        continue;
                    }
                },
            };
            let same = |convoy: &&mut Convoy| convoy.route == route && convoy.step == step;
            match self.convoys[first..].iter_mut().find(same) {
                Some(convoy) => convoy.rows |= 1 << row,
                None => self.convoys.push(Convoy { route, step, rows: 1 << row }),
            }
        }
    }

    /// The next message that no route took.
    pub(super) fn next_stray(&mut self) -> Option<Stray> {
        self.strays.pop()
    }

    /// Says that a stray is left to the general path.
    pub(super) fn lost(&mut self, stray: &Stray) {
        self.taken[stray.row] = NONE;
    }

    /// Learns the way of a stray behind the route that it left.
    pub(super) fn learn(&mut self, layout: &Layout, text: &[u8], stray: &Stray, way: &[Trace]) {
        self.strayed += 1;
        self.taken[stray.row] = NONE;
        if self.skipped >> stray.row & 1 == 1 {
            // Its way is not known in full; likely it comes from where its route comes from.
            self.taken[stray.row] = stray.route;
            return;
        }
        let begun =
            self.routes.get(usize::from(stray.route)).and_then(|route| route.steps.get(..stray.steps));
        let begun = begun.unwrap_or_default();
        if begun.len() + way.len() > STEPS {
            return;
        }
        let begun_hash = begun.last().map_or(0, |step| step.hash);
        let hash = way.iter().fold(begun_hash, |hash, trace| trace.hash(hash));
        if let Some(known) = self.routes.iter().position(|route| route.hash == hash) {
            self.taken[stray.row] = known as u8;
            return;
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
        let new = self.routes.len() as u8;
        let mut branches = Vec::new();
        for (number, route) in self.routes.iter_mut().enumerate() {
            let same =
                route.steps.iter().zip(&steps).take_while(|(one, other)| one.hash == other.hash).count();
            route.branches.push((same, new));
            branches.push((same, number as u8));
        }
        self.routes.push(Route { steps, slots, branches, next: new, hash });
        self.taken[stray.row] = new;
    }

    /// Remembers which route followed which, when all messages of the chunk are through.
    pub(super) fn settle(&mut self, before: u8) {
        if !self.deviated {
            return;
        }
        let mut last = before;
        for taken in self.taken.iter().filter(|taken| **taken != NONE) {
            if let Some(route) = self.routes.get_mut(usize::from(last)) {
                route.next = *taken;
            }
            last = *taken;
        }
        self.last = last;
        if self.strayed > STRAYED {
            self.strayed = 0;
            if self.routes.len() == ROUTES {
                self.routes.clear();
                self.last = 0;
            }
        }
    }

    /// Where the message of a row ends.
    pub(super) fn end(&self, row: usize) -> usize {
        self.ends[row] as usize
    }

    /// The route of the last message.
    pub(super) fn last(&self) -> u8 {
        self.last
    }
}

/// The step that the text goes on with at `at`, if only steps were left out that may be.
fn without_some(steps: &[Step], place: usize, text: &[u8], at: usize, end: usize) -> Option<usize> {
    let is_left_out = |step: &Step| step.is_loose && step.is_optional;
    let left_out = steps[place..].iter().take(SKIPS).take_while(|step| is_left_out(step)).count();
    let fits = |step: &Step| step.is_loose && step.is_next(text, at, end);
    (place + 1..=place + left_out).find(|other| steps.get(*other).is_some_and(fits))
}

/// Reads a value that is no plain string or number; gives the place behind it.
#[inline(never)]
fn other_value<S: Simd>(
    layout: &Layout,
    reader: &Reader<'_>,
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
