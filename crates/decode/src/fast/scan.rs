//! Finding where the values of a message stand, by what stood between them before.
//!
//! A JSON object is a run of values with text between them: brackets, commas, keys, colons, blanks.
//! Where a reader is in a message is told by the key whose value it has just read, since that key has
//! one place in the schema and so a known way of open objects around it. The text that follows the
//! value therefore leads to the same next key whenever it is the same.
//!
//! * Each key ([`Node`]) remembers the texts that followed its value ([`Edge`]) and where they led: a
//!   known one is recognized by one comparison of sixteen bytes, another is read character by
//!   character and remembered. Both ways say the same, since the memory holds only what the reading found.
//! * A whole message that came twice in this way becomes a [`Route`]: its texts one after the other,
//!   with what was found out about them (that no key came twice, that what is required is there), so
//!   that the next such message is a run of comparisons. Fields that are optional may be left out of it.
//!
//! What is not plain (escapes, fields given twice, empty objects, wrong types) is not judged here: the
//! message is left to the general path.

mod reader;
mod route;

use std::collections::HashMap;

use self::reader::Reader;
use self::route::{Routes, Stray, Trace};
use super::bits;
use super::plan::{Layout, Taken};
use super::simd::{Base, Simd, Window, window};
use super::span::{Kind, Span};

/// Rows that are worked on together.
pub(super) const ROWS: usize = 64;

/// A field that the schema does not know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown {
    pub(super) row: u8,
    /// Its node.
    pub(super) node: u16,
    /// Its value as it was sent.
    pub(super) value: Span,
}

/// Where the values of up to [`ROWS`] messages stand.
#[derive(Debug)]
pub(super) struct Found {
    /// By slot and row: that of row `r` in slot `s` is at `s * ROWS + r`.
    cells: Vec<Span>,
    /// The slots in which a row may have a value.
    present: Vec<bool>,
    pub(super) unknown: Vec<Unknown>,
}

impl Found {
    pub(super) fn new(slots: usize) -> Self {
        Self { cells: vec![Span::ABSENT; slots * ROWS], present: vec![false; slots], unknown: Vec::new() }
    }

    /// The values of a slot, `None` if no row has one.
    #[inline]
    pub(super) fn slot(&self, slot: usize) -> Option<&[Span; ROWS]> {
        if !*self.present.get(slot)? {
            return None;
        }
        self.cells.get(slot * ROWS..)?.first_chunk()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.unknown.clear();
        for (slot, present) in self.present.iter_mut().enumerate().filter(|(_, present)| **present) {
            self.cells[slot * ROWS..][..ROWS].fill(Span::ABSENT);
            *present = false;
        }
    }

    /// Forgets one row.
    fn forget(&mut self, row: usize) {
        self.cells.iter_mut().skip(row).step_by(ROWS).for_each(|cell| *cell = Span::ABSENT);
        self.unknown.retain(|unknown| usize::from(unknown.row) != row);
    }

    /// Gives back what a large message has left.
    pub(super) fn shrink(&mut self) {
        if self.unknown.capacity() > KEPT {
            self.unknown = Vec::new();
        }
    }

    fn put(&mut self, slot: u32, row: usize, span: Span) -> bool {
        let cell = &mut self.cells[slot as usize * ROWS + row];
        let is_new = *cell == Span::ABSENT;
        *cell = span;
        self.present[slot as usize] = true;
        is_new
    }

    fn is_there(&self, slot: u32, row: usize) -> bool {
        !matches!(self.cells[slot as usize * ROWS + row].kind(), Kind::Absent | Kind::Null)
    }
}

/// More entries than these are not kept from batch to batch.
const KEPT: usize = 1 << 16;
/// The most edges that a node remembers.
const EDGES: usize = 4;
/// A node whose edges fit too rarely does without them for so many messages, and then tries again.
const MISSES: u8 = 64;
/// Longer texts between values are read anew each time.
const LITERAL: usize = 32;
/// More unknown keys than these are not remembered; messages with others go the general way.
const UNKNOWN_KEYS: usize = 256;
/// Nor are longer ones.
const UNKNOWN_NAME: usize = 256;
/// Objects that one edge may enter.
const ENTERED: usize = 4;

/// The node before the first key.
const START: u16 = 0;
/// Not a node: the message is over.
const END: u16 = u16::MAX;

/// Up to 32 bytes to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Literal {
    windows: [Window; LITERAL / 16],
    /// The bytes of each window that do not belong to it.
    rest: [u32; LITERAL / 16],
    len: u32,
}

impl Literal {
    fn new(text: &[u8]) -> Option<Self> {
        let mut literal = Self { windows: [[0; 16]; 2], rest: [0; 2], len: u32::try_from(text.len()).ok()? };
        if text.len() > LITERAL {
            return None;
        }
        for (i, window) in literal.windows.iter_mut().enumerate() {
            let part = text.get(16 * i..).unwrap_or_default();
            let len = part.len().min(16);
            window[..len].copy_from_slice(&part[..len]);
            literal.rest[i] = 0xffff & !((1 << len) - 1);
        }
        Some(literal)
    }

    /// Whether the text goes on with it at `at`.
    #[inline(always)]
    fn is_at<S: Simd>(&self, text: &[u8], at: usize) -> bool {
        window(text, at).is_some_and(|here| self.fits::<S>(here, text, at))
    }

    /// The same, where `here` is the window at `at`.
    #[inline(always)]
    fn fits<S: Simd>(&self, here: &Window, text: &[u8], at: usize) -> bool {
        if S::equal(here, &self.windows[0]) | self.rest[0] != 0xffff {
            return false;
        }
        self.len <= 16
            || window(text, at + 16)
                .is_some_and(|here| S::equal(here, &self.windows[1]) | self.rest[1] == 0xffff)
    }
}

/// What a text between two values led to.
#[derive(Debug, Clone, Copy)]
struct Between {
    target: u16,
    /// How many objects are entered, and their slots.
    enters: u16,
    entered: [u32; ENTERED],
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    literal: Literal,
    between: Between,
}

/// A key and what followed its value.
#[derive(Debug)]
struct Node {
    /// The shape of the object that the key is in.
    shape: u16,
    taken: Taken,
    edges: [Option<Edge>; EDGES],
    /// The edge to be forgotten for the next new one.
    oldest: u8,
    /// Rises with messages that had no edge here and falls by two with each that had one.
    misses: u8,
    /// The key as it was sent, with its second quote, if the schema does not know it.
    unknown: Option<Box<str>>,
}

impl Node {
    fn new(shape: u16, taken: Taken, unknown: Option<Box<str>>) -> Self {
        Self { shape, taken, edges: [None; EDGES], oldest: 0, misses: 0, unknown }
    }
}

/// What was learned of the messages of one pipeline.
#[derive(Debug)]
pub(super) struct Scanner {
    nodes: Vec<Node>,
    unknown: HashMap<(u16, Box<[u8]>), u16>,
    routes: Routes,
    /// The way of the present message as far as it did not follow a route.
    way: Vec<Trace>,
}

impl Scanner {
    pub(super) fn new(layout: &Layout) -> Self {
        let mut nodes = vec![Node::new(0, Taken::Nowhere, None)];
        nodes.extend(layout.keys.iter().map(|key| Node::new(key.shape, key.taken, None)));
        Self { nodes, unknown: HashMap::new(), routes: Routes::default(), way: Vec::new() }
    }

    /// The key of a node that the schema does not know, with its second quote, and its shape.
    pub(super) fn unknown_key(&self, node: u16) -> (&str, usize) {
        let node = &self.nodes[usize::from(node)];
        (node.unknown.as_deref().unwrap_or("\""), usize::from(node.shape))
    }

    /// Takes a message to be searched, as row `row` of the chunk: its begin and end in the text.
    #[inline(always)]
    pub(super) fn enter(&mut self, row: usize, place: (usize, usize)) {
        self.routes.enter(row, place);
    }

    /// Notes where the values of the messages stand that were entered, by the bits of their rows. Gives
    /// the bits of those that are left to the general path, of which nothing is noted.
    ///
    /// The text must go on behind the messages, by what does not matter: nothing counts that would
    /// not count if a message ended the text, since it is taken only if its last bracket is its last
    /// byte but blanks.
    #[inline(always)]
    pub(super) fn scan<S: Simd>(
        &mut self,
        layout: &Layout,
        text: &[u8],
        entered: u64,
        found: &mut Found,
    ) -> u64 {
        let before = self.routes.last();
        let mut odd = self.routes.follow::<S>(layout, text, entered, found);
        while let Some(stray) = self.routes.next_stray() {
            if self.walk(layout, text, &stray, found).is_none() {
                odd |= 1 << stray.row;
                self.routes.lost(&stray);
            }
        }
        let mut forgotten = odd;
        while let Some(row) = bits::next(&mut forgotten) {
            found.forget(row);
        }
        self.routes.settle(before);
        // Each row's are in the order of the text.
        found.unknown.sort_by_key(|unknown| unknown.row);
        odd
    }

    /// Gives back what a large message has left.
    pub(super) fn shrink(&mut self) {
        if self.way.capacity() > KEPT {
            self.way = Vec::new();
        }
    }

    /// Goes on key by key, from behind the value of `node` at `at`.
    #[inline(never)]
    fn walk(&mut self, layout: &Layout, text: &[u8], stray: &Stray, found: &mut Found) -> Option<()> {
        let Stray { row, mut at, mut node, .. } = *stray;
        let reader = Reader::new(text, self.routes.end(row));
        let reader = &reader;
        self.way.clear();
        loop {
            let here = window(text, at)?;
            let from = &mut self.nodes[usize::from(node)];
            let mut known = None;
            if from.misses < MISSES {
                known = from
                    .edges
                    .iter()
                    .flatten()
                    .find(|edge| {
                        edge.literal.fits::<Base>(here, text, at)
                            && !layout.is_entered(edge.between.target, || {
                                text.get(reader.blanks(at + edge.literal.len as usize)).copied()
                            })
                    })
                    .map(|edge| (edge.between, edge.literal.len as usize));
            }
            let (between, len) = match known {
                Some(known) => {
                    from.misses = from.misses.saturating_sub(2);
                    known
                }
                None => {
                    from.misses = if from.misses < 2 * MISSES { from.misses + 1 } else { MISSES - 1 };
                    self.read(layout, reader, node, at)?
                }
            };
            for slot in &between.entered[..usize::from(between.enters)] {
                if !found.put(*slot, row, Span::new(Kind::Object, at, at)) {
                    return None;
                }
            }
            let begin = at;
            at += len;
            let target = between.target;
            if target == END {
                let literal = (begin, at);
                let same_object = self.nodes[usize::from(node)].shape == 0;
                self.way.push(Trace {
                    literal,
                    between,
                    taken: Taken::Nowhere,
                    kind: Kind::Absent,
                    same_object,
                });
                break;
            }
            // What was remembered may lack blanks that another writer puts here.
            at = reader.blanks(at);
            let literal = (begin, at);
            let taken = self.nodes[usize::from(target)].taken;
            let span = reader.value::<Base>(layout, taken, at)?;
            let is_new = match taken {
                Taken::Value { slot, .. } | Taken::Checked { slot } => found.put(slot, row, span),
                // Only `null` stands for an object.
                Taken::Object { slot } => span.kind() == Kind::Null && found.put(slot, row, span),
                Taken::Unknown => {
                    found.unknown.push(Unknown { row: row as u8, node: target, value: span });
                    true
                }
                Taken::Nowhere => false,
            };
            if !is_new {
                return None;
            }
            let same_object = between.enters == 0
                && node != START
                && self.nodes[usize::from(target)].shape == self.nodes[usize::from(node)].shape;
            self.way.push(Trace { literal, between, taken, kind: span.kind(), same_object });
            at = span.end() + usize::from(span.kind() == Kind::String);
            node = target;
        }
        let complete = layout.required.iter().all(|(object, slot)| {
            found.is_there(*slot, row) || object.is_some_and(|object| !found.is_there(object, row))
        });
        (complete && at <= reader.end && (at == reader.end || reader.blanks(at) == reader.end))
            .then_some(())?;
        self.routes.learn(layout, text, stray, &self.way);
        Some(())
    }

    /// Reads from the end of a value to the beginning of the next, and remembers it.
    #[inline(never)]
    fn read(
        &mut self,
        layout: &Layout,
        reader: &Reader<'_>,
        node: u16,
        from: usize,
    ) -> Option<(Between, usize)> {
        let mut shape = self.nodes[usize::from(node)].shape;
        let mut between = Between { target: END, enters: 0, entered: [0; ENTERED] };
        let mut at = reader.blanks(from);
        // Objects are closed until there is a comma.
        if node == START {
            (*reader.text.get(at)? == b'{').then_some(())?;
        } else {
            loop {
                match reader.text.get(at)? {
                    b',' => break,
                    b'}' if shape == 0 => {
                        let len = at + 1 - from;
                        self.remember(reader, node, from, len, between);
                        return Some((between, len));
                    }
                    b'}' => {
                        shape = layout.parents[usize::from(shape)];
                        at = reader.blanks(at + 1);
                    }
                    _ => return None,
                }
            }
        }
        loop {
            at = reader.blanks(at + 1);
            (*reader.text.get(at)? == b'"').then_some(())?;
            let quote = reader.string::<Base>(at + 1)?;
            let name = (at + 1, quote);
            at = reader.blanks(quote + 1);
            (*reader.text.get(at)? == b':').then_some(())?;
            at = reader.blanks(at + 1);
            match layout.find(shape, reader.text, name.0, name.1) {
                Some(key) => {
                    let is_object = *reader.text.get(at)? == b'{';
                    match layout.keys[key].child {
                        Some(child) if is_object => {
                            *between.entered.get_mut(usize::from(between.enters))? = layout.keys[key].slot;
                            between.enters += 1;
                            shape = child;
                        }
                        _ => {
                            between.target = Layout::node(key);
                            break;
                        }
                    }
                }
                None => {
                    between.target = self.unknown_node(shape, reader.text.get(name.0..name.1)?)?;
                    break;
                }
            }
        }
        (at < reader.end).then_some(())?;
        let len = at - from;
        self.remember(reader, node, from, len, between);
        Some((between, len))
    }

    fn unknown_node(&mut self, shape: u16, name: &[u8]) -> Option<u16> {
        if name.len() > UNKNOWN_NAME {
            return None;
        }
        if let Some(node) = self.unknown.get(&(shape, Box::from(name))) {
            return Some(*node);
        }
        if self.unknown.len() >= UNKNOWN_KEYS {
            return None;
        }
        let node = u16::try_from(self.nodes.len()).ok().filter(|node| *node != END)?;
        let key = format!("{}\"", std::str::from_utf8(name).ok()?);
        self.nodes.push(Node::new(shape, Taken::Unknown, Some(key.into())));
        self.unknown.insert((shape, name.into()), node);
        Some(node)
    }

    fn remember(&mut self, reader: &Reader<'_>, node: u16, from: usize, len: usize, between: Between) {
        let here = &mut self.nodes[usize::from(node)];
        if here.misses > MISSES {
            return;
        }
        let Some(literal) = reader.text.get(from..from + len).and_then(Literal::new) else { return };
        here.edges[usize::from(here.oldest)] = Some(Edge { literal, between });
        here.oldest = (here.oldest + 1) % EDGES as u8;
    }
}
