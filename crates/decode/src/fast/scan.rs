//! Finding where the values of a message stand, by what stood between them before.
//!
//! A JSON object is a run of values with text between them: brackets, commas, keys, colons, blanks.
//! Where a reader is in a message is told by the key whose value it has just read, since that key has
//! one place in the schema and so a known way of open objects around it. The text that follows the
//! value therefore leads to the same next key whenever it is the same. So each key ([`Node`])
//! remembers the texts that followed its value ([`Edge`]) and where they led: a known one is
//! recognized by one comparison of sixteen bytes, another is read character by character and remembered.
//! Both ways say the same, since the memory holds only what the reading found.
//!
//! What is not plain (escapes, fields given twice, empty objects, wrong types) is not judged here: the
//! message is left to the general path.

use std::collections::HashMap;

use super::plan::{Layout, Taken};
use super::window::{self, Window};
use crate::syntax;

/// Rows that are worked on together.
pub(super) const ROWS: usize = 64;

/// What kind of value a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
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
    Absent = 7,
}

/// A value's place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    /// The kind in the upper three bits, the length below them.
    rest: u32,
}

const LEN_BITS: u32 = 29;
/// Longer messages are left to the general path.
pub(super) const MAX_LEN: usize = 1 << LEN_BITS;

impl Span {
    pub(super) const ABSENT: Self = Self { start: 0, rest: (Kind::Absent as u32) << LEN_BITS };

    #[inline(always)]
    pub(super) fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self { start: start as u32, rest: (kind as u32) << LEN_BITS | (end - start) as u32 }
    }

    #[inline(always)]
    pub(super) fn kind(self) -> Kind {
        match self.rest >> LEN_BITS {
            0 => Kind::Number,
            1 => Kind::String,
            2 => Kind::List,
            3 => Kind::Null,
            4 => Kind::Boolean,
            5 => Kind::Json,
            _ => Kind::Absent,
        }
    }

    #[inline(always)]
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    #[inline(always)]
    pub(super) fn end(self) -> usize {
        self.start as usize + (self.rest & ((1 << LEN_BITS) - 1)) as usize
    }
}

/// A field that the schema does not know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown {
    pub(super) row: u8,
    /// Its node.
    pub(super) node: u16,
    /// Its value as it was sent.
    pub(super) value: Span,
}

/// The most edges that a node remembers.
const EDGES: usize = 4;
/// Longer texts between values are read anew each time.
const LITERAL: usize = 32;
/// More unknown keys than these are not remembered; messages with others go the general way.
const UNKNOWN_KEYS: usize = 256;
/// Objects that one edge may enter.
const ENTERED: usize = 4;

/// The node before the first key.
const START: u16 = 0;
/// Not a node: the message is over.
const END: u16 = u16::MAX;

/// A text that followed a value, and the key that it led to.
#[derive(Debug, Clone, Copy)]
struct Edge {
    literal: [Window; LITERAL / 16],
    /// Bytes of the first and the second window that do not belong to the literal.
    rest: [u32; LITERAL / 16],
    len: u32,
    target: u16,
    /// How many objects are entered.
    enters: u16,
    entered: [u32; ENTERED],
}

impl Edge {
    const NONE: Self = Self {
        literal: [[0; 16]; LITERAL / 16],
        rest: [0; LITERAL / 16],
        // Longer than any text.
        len: u32::MAX,
        target: END,
        enters: 0,
        entered: [0; ENTERED],
    };

    #[inline(always)]
    fn fits(&self, window: &Window, text: &[u8], at: usize) -> bool {
        if window::equal(window, &self.literal[0]) | self.rest[0] != 0xffff {
            return false;
        }
        self.len <= 16
            || self.len as usize <= LITERAL
                && window::at(text, at + 16)
                    .is_some_and(|window| window::equal(window, &self.literal[1]) | self.rest[1] == 0xffff)
    }
}

/// A key and what followed its value.
#[derive(Debug)]
struct Node {
    /// The shape of the object that the key is in.
    shape: u16,
    taken: Taken,
    edges: [Edge; EDGES],
    /// The edge to be forgotten for the next new one.
    oldest: u8,
    /// The key as it was sent, with its second quote, if the schema does not know it.
    unknown: Option<Box<str>>,
}

impl Node {
    fn new(shape: u16, taken: Taken, unknown: Option<Box<str>>) -> Self {
        Self { shape, taken, edges: [Edge::NONE; EDGES], oldest: 0, unknown }
    }
}

/// What is found in the texts of one pipeline.
#[derive(Debug)]
pub(super) struct Scanner {
    nodes: Vec<Node>,
    unknown: HashMap<(u16, Box<[u8]>), u16>,
}

/// The message being read.
struct Reader<'t> {
    text: &'t [u8],
    start: usize,
    end: usize,
    /// Its bytes are known to be UTF-8, which matters only where they are not ASCII.
    is_utf8: bool,
}

/// First bytes of values.
const FIRST: [u8; 256] = {
    let mut classes = [OTHER; 256];
    classes[b'"' as usize] = STRING;
    classes[b'[' as usize] = LIST;
    classes[b'-' as usize] = NUMBER;
    let mut digit = b'0';
    while digit <= b'9' {
        classes[digit as usize] = NUMBER;
        digit += 1;
    }
    classes
};
const NUMBER: u8 = 0;
const STRING: u8 = 1;
const LIST: u8 = 2;
const OTHER: u8 = 3;

impl Reader<'_> {
    /// Whether the message is UTF-8, found out at the first byte that is not ASCII.
    #[cold]
    fn utf8(&mut self) -> bool {
        self.is_utf8 =
            self.is_utf8 || self.text.get(self.start..self.end).is_some_and(|text| std::str::from_utf8(text).is_ok());
        self.is_utf8
    }

    /// Where the string ends whose first character is at `at`: the place of its second quote.
    #[inline(always)]
    fn string(&mut self, mut at: usize) -> Option<usize> {
        loop {
            let stops = window::string_stops(window::at(self.text, at)?);
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

    /// The same from a byte that is not ASCII.
    #[cold]
    fn odd_string(&mut self, mut at: usize) -> Option<usize> {
        loop {
            match *self.text.get(at)? {
                b'"' => return Some(at),
                b'\\' | 0..0x20 => return None,
                0x80.. if at >= self.end || !self.utf8() => return None,
                _ => at += 1,
            }
        }
    }

    /// Where the number or literal ends that begins at `at`.
    #[inline(always)]
    fn scalar(&self, mut at: usize) -> Option<usize> {
        loop {
            let stops = window::scalar_stops(window::at(self.text, at)?);
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
    fn list(&self, mut at: usize) -> Option<usize> {
        loop {
            let ends = window::places(window::at(self.text, at)?, b']');
            if ends != 0 {
                return Some(at + ends.trailing_zeros() as usize + 1);
            }
            at += 16;
            if at > self.end {
                return None;
            }
        }
    }

    fn blanks(&self, mut at: usize) -> usize {
        while at < self.end && matches!(self.text[at], b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Where any value ends that begins at `at`, having checked it.
    fn any(&mut self, at: usize, depth: usize) -> Option<usize> {
        let rest = self.text.get(at..self.end)?;
        let end = at + syntax::first_value(rest, depth)?;
        let is_text = self.text[at..end].is_ascii() || self.utf8();
        is_text.then_some(end)
    }
}

/// Text between two values, as it was read.
struct Between {
    target: u16,
    len: usize,
    enters: u16,
    entered: [u32; ENTERED],
}

impl Scanner {
    pub(super) fn new(layout: &Layout) -> Self {
        let mut nodes = vec![Node::new(0, Taken::Nowhere, None)];
        for key in &layout.keys {
            nodes.push(Node::new(key.shape, key.taken, None));
        }
        Self { nodes, unknown: HashMap::new() }
    }

    /// The key of a node that the schema does not know, with its second quote, and its shape.
    pub(super) fn unknown_key(&self, node: u16) -> (&str, usize) {
        let node = &self.nodes[usize::from(node)];
        (node.unknown.as_deref().unwrap_or("\""), usize::from(node.shape))
    }

    /// Notes where the values of the message in `text[start..end]` stand, in column `row` of `spans`,
    /// whose entries there must be absent. `false` leaves the message to the general path; the
    /// entries may then be filled in part.
    ///
    /// The text must go on behind the message, by what does not matter: nothing counts that would
    /// not count if it ended there, since a message is taken only if its last bracket is its last
    /// byte but blanks.
    #[inline]
    pub(super) fn scan(
        &mut self,
        layout: &Layout,
        text: &[u8],
        (start, end): (usize, usize),
        row: usize,
        spans: &mut [[Span; ROWS]],
        unknown: &mut Vec<Unknown>,
    ) -> bool {
        let mut reader = Reader { text, start, end, is_utf8: false };
        let mut node = START;
        let mut at = start;
        loop {
            // From the value to the next key's value.
            let Some(window) = window::at(text, at) else { return false };
            let here = &self.nodes[usize::from(node)];
            let known = here.edges.iter().find(|edge| edge.fits(window, text, at));
            let (target, len) = match known {
                Some(edge) => {
                    for slot in &edge.entered[..usize::from(edge.enters)] {
                        if !enter(&mut spans[*slot as usize][row], at) {
                            return false;
                        }
                    }
                    (edge.target, edge.len as usize)
                }
                None => {
                    let Some(between) = self.read(layout, &mut reader, node, at) else { return false };
                    for slot in &between.entered[..usize::from(between.enters)] {
                        if !enter(&mut spans[*slot as usize][row], at) {
                            return false;
                        }
                    }
                    (between.target, between.len)
                }
            };
            at += len;
            if target == END {
                break;
            }

            // The value.
            node = target;
            let taken = self.nodes[usize::from(node)].taken;
            let Some(first) = text.get(at) else { return false };
            let span = match (FIRST[usize::from(*first)], taken) {
                (_, Taken::Checked { .. } | Taken::Unknown) => {
                    let Some(end) = reader.any(at, layout.max_depth) else { return false };
                    match &text[at..end] {
                        b"null" => Span::new(Kind::Null, at, end),
                        _ => Span::new(Kind::Json, at, end),
                    }
                }
                (STRING, _) => {
                    let Some(end) = reader.string(at + 1) else { return false };
                    Span::new(Kind::String, at + 1, end)
                }
                (NUMBER, _) => {
                    let Some(end) = reader.scalar(at) else { return false };
                    Span::new(Kind::Number, at, end)
                }
                (LIST, Taken::Value { lists: true, .. }) => {
                    let Some(end) = reader.list(at) else { return false };
                    Span::new(Kind::List, at, end)
                }
                _ => {
                    let Some(end) = reader.scalar(at) else { return false };
                    match &text[at..end] {
                        b"null" => Span::new(Kind::Null, at, end),
                        b"true" | b"false" => Span::new(Kind::Boolean, at, end),
                        _ => return false,
                    }
                }
            };
            at = span.end() + usize::from(span.kind() == Kind::String);
            match taken {
                Taken::Value { slot, .. } | Taken::Checked { slot } => {
                    let place = &mut spans[slot as usize][row];
                    if *place != Span::ABSENT {
                        return false;
                    }
                    *place = span;
                }
                // Only `null` stands for an object.
                Taken::Object { slot } => {
                    let place = &mut spans[slot as usize][row];
                    if *place != Span::ABSENT || span.kind() != Kind::Null {
                        return false;
                    }
                    *place = span;
                }
                Taken::Unknown => unknown.push(Unknown { row: row as u8, node, value: span }),
                Taken::Nowhere => return false,
            }
        }
        let is_there = |slot: u32| {
            let kind = spans[slot as usize][row].kind();
            kind != Kind::Absent && kind != Kind::Null
        };
        let complete = layout
            .required
            .iter()
            .all(|(object, slot)| is_there(*slot) || object.is_some_and(|object| !is_there(object)));
        complete && at <= end && (at == end || reader.blanks(at) == end)
    }

    /// Reads from the end of a value to the beginning of the next, and remembers it.
    #[inline(never)]
    fn read(&mut self, layout: &Layout, reader: &mut Reader<'_>, node: u16, from: usize) -> Option<Between> {
        let mut shape = self.nodes[usize::from(node)].shape;
        let mut between = Between { target: END, len: 0, enters: 0, entered: [0; ENTERED] };
        let mut at = reader.blanks(from);
        // Objects are closed until there is a comma.
        if node == START {
            (*reader.text.get(at)? == b'{').then_some(())?;
        } else {
            loop {
                match reader.text.get(at)? {
                    b',' => break,
                    b'}' if shape == 0 => {
                        between.len = at + 1 - from;
                        self.remember(reader.text, node, from, &between);
                        return Some(between);
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
            let quote = reader.string(at + 1)?;
            let name = reader.text.get(at + 1..quote)?;
            at = reader.blanks(quote + 1);
            (*reader.text.get(at)? == b':').then_some(())?;
            at = reader.blanks(at + 1);
            match layout.find(shape, name) {
                Some(key) => {
                    let is_object = *reader.text.get(at)? == b'{';
                    match layout.keys[key].child {
                        Some(child) if is_object => {
                            *between.entered.get_mut(usize::from(between.enters))? = layout.keys[key].slot;
                            between.enters += 1;
                            shape = child;
                        }
                        _ => {
                            between.target = key as u16 + 1;
                            break;
                        }
                    }
                }
                None => {
                    between.target = self.unknown_node(shape, name)?;
                    break;
                }
            }
        }
        (at < reader.end).then_some(())?;
        between.len = at - from;
        self.remember(reader.text, node, from, &between);
        Some(between)
    }

    fn unknown_node(&mut self, shape: u16, name: &[u8]) -> Option<u16> {
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

    fn remember(&mut self, text: &[u8], node: u16, from: usize, between: &Between) {
        let Some(literal) = text.get(from..from + between.len).filter(|literal| literal.len() <= LITERAL) else {
            return;
        };
        let mut edge = Edge {
            len: between.len as u32,
            target: between.target,
            enters: between.enters,
            entered: between.entered,
            ..Edge::NONE
        };
        for (i, window) in edge.literal.iter_mut().enumerate() {
            let part = literal.get(16 * i..).unwrap_or_default();
            let len = part.len().min(16);
            window[..len].copy_from_slice(&part[..len]);
            edge.rest[i] = 0xffff & !((1 << len) - 1);
        }
        let here = &mut self.nodes[usize::from(node)];
        here.edges[usize::from(here.oldest)] = edge;
        here.oldest = (here.oldest + 1) % EDGES as u8;
    }
}

/// Marks an object as there; `false` if it was.
#[inline(always)]
fn enter(place: &mut Span, at: usize) -> bool {
    let is_new = *place == Span::ABSENT;
    *place = Span::new(Kind::Json, at, at);
    is_new
}
