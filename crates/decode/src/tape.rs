//! JSON text to tape, and from the tape back to places in the text.

use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, StaticNode, Tape, fill_tape_padded};
use situs_model::RejectCode;

use crate::syntax;

/// Buffers larger than this are given back after a batch, in bytes; a large message is rare, and
/// its tape takes up to 24 bytes per byte of text.
pub(crate) const KEEP: usize = 4 << 20;

/// What parsing needs, reused from message to message.
pub(crate) struct Workspace {
    buffers: Buffers,
    max_depth: usize,
    /// The payload is copied here, since simd-json unescapes texts in place.
    scratch: Vec<u8>,
    tape: Tape<'static>,
    /// Where each node of the tape stands in the text; made when first asked for.
    places: Vec<u32>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("capacity", &self.scratch.capacity()).finish_non_exhaustive()
    }
}

/// A fault in the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadText {
    pub(crate) code: RejectCode,
    /// Position in the payload.
    pub(crate) byte: Option<u64>,
}

impl Workspace {
    pub(crate) fn new(max_depth: usize) -> Self {
        Self {
            buffers: Buffers::with_max_depth(4096, max_depth),
            max_depth,
            scratch: Vec::new(),
            tape: Tape(Vec::new()),
            places: Vec::new(),
        }
    }

    /// Parses `payload` and hands its tape to `work`.
    pub(crate) fn parse<T>(
        &mut self,
        payload: &[u8],
        work: impl FnOnce(&mut Message<'_, '_>) -> T,
    ) -> Result<T, BadText> {
        self.scratch.clear();
        self.scratch.extend_from_slice(payload);
        self.scratch.extend_from_slice(&[b' '; INPUT_PADDING]);
        self.places.clear();
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = fill_tape_padded(&mut self.scratch, payload.len(), &mut self.buffers, &mut tape);
        let result = match parsed {
            Ok(()) => Ok(work(&mut Message {
                nodes: &tape.0,
                payload,
                structurals: self.buffers.structural_indexes(),
                places: &mut self.places,
            })),
            Err(error) => Err(explain(payload, error.error(), self.max_depth)),
        };
        self.tape = tape.reset();
        result
    }

    /// Gives back buffers that a large message has left.
    pub(crate) fn shrink(&mut self) {
        if self.scratch.capacity() > KEEP || self.tape.0.capacity() > KEEP / size_of::<Node<'_>>() {
            *self = Self::new(self.max_depth);
        }
    }
}

/// Finds out why simd-json refused a text, and where. Its own positions are not used: errors of the
/// first pass have none, and those in texts count from the text's beginning.
fn explain(payload: &[u8], error: &ErrorType, max_depth: usize) -> BadText {
    if let Err(error) = std::str::from_utf8(payload) {
        return BadText { code: RejectCode::InvalidUtf8, byte: Some(error.valid_up_to() as u64) };
    }
    match syntax::check(payload, max_depth) {
        syntax::Verdict::TooDeep(byte) => BadText { code: RejectCode::TooDeep, byte: Some(byte as u64) },
        syntax::Verdict::Invalid(byte) => BadText { code: RejectCode::InvalidJson, byte: Some(byte as u64) },
        // The grammar allows numbers of any size; we hold 64 bits.
        syntax::Verdict::TooLarge(byte) => {
            BadText { code: RejectCode::NumberOutOfRange, byte: Some(byte as u64) }
        }
        syntax::Verdict::Valid => {
            let code = match error {
                ErrorType::InputTooLarge => RejectCode::TooLarge,
                _ => RejectCode::InvalidJson,
            };
            BadText { code, byte: None }
        }
    }
}

/// A parsed message.
pub(crate) struct Message<'m, 'n> {
    pub(crate) nodes: &'m [Node<'n>],
    /// The text as it came.
    payload: &'m [u8],
    structurals: &'m [u32],
    places: &'m mut Vec<u32>,
}

impl<'m, 'n> Message<'m, 'n> {
    /// The node at an index; null beyond the end, which no valid tape asks for.
    pub(crate) fn node(&self, at: usize) -> Node<'n> {
        self.nodes.get(at).copied().unwrap_or(Node::Static(StaticNode::Null))
    }

    /// The text at a node that is one.
    pub(crate) fn text(&self, at: usize) -> Option<&'n str> {
        match self.nodes.get(at) {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The index after a value.
    pub(crate) fn after(&self, at: usize) -> usize {
        match self.nodes.get(at) {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => at + 1 + count,
            _ => at + 1,
        }
    }

    /// Where a node stands in the payload. Nodes and structural characters come in the same order,
    /// so what is left after the separators and closing brackets are the nodes.
    pub(crate) fn place(&mut self, at: usize) -> Option<usize> {
        if self.places.is_empty() {
            let payload = self.payload;
            self.places.extend(
                self.structurals
                    .iter()
                    .filter(|at| !matches!(payload.get(**at as usize), Some(b',' | b':' | b']' | b'}'))),
            );
        }
        self.places.get(at).map(|place| *place as usize)
    }

    /// The text of a value exactly as it was sent.
    pub(crate) fn source(&mut self, at: usize) -> &'m str {
        let payload = self.payload;
        let Some(start) = self.place(at) else { return "" };
        let rest = &payload[start..];
        let len = match self.nodes.get(at) {
            Some(Node::String(_)) => {
                let mut escaped = false;
                let end = rest.iter().skip(1).position(|byte| {
                    let ends = !escaped && *byte == b'"';
                    escaped = !escaped && *byte == b'\\';
                    ends
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            Some(Node::Static(_)) => rest
                .iter()
                .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'))
                .unwrap_or(rest.len()),
            _ => {
                let first = self.structurals.partition_point(|at| (*at as usize) < start);
                let mut depth = 0_usize;
                let end = self.structurals[first..].iter().find(|at| {
                    match payload.get(**at as usize) {
                        Some(b'{' | b'[') => depth += 1,
                        Some(b'}' | b']') => depth -= 1,
                        _ => {}
                    }
                    depth == 0
                });
                end.map_or(rest.len(), |end| *end as usize + 1 - start)
            }
        };
        // The cut is at ASCII characters of a text that was checked to be UTF-8.
        std::str::from_utf8(&rest[..len]).unwrap_or_default()
    }

    /// RFC 6901 pointer to the value at `target`.
    pub(crate) fn pointer(&self, target: usize) -> String {
        let mut pointer = String::new();
        let mut at = 0;
        while at < target {
            let (is_object, end) = match self.node(at) {
                Node::Object { .. } => (true, self.after(at)),
                Node::Array { .. } => (false, self.after(at)),
                _ => break,
            };
            let mut index = 0;
            let mut child = at + 1;
            loop {
                let value = if is_object { child + 1 } else { child };
                if value >= end {
                    return pointer;
                }
                if target < self.after(value) {
                    pointer.push('/');
                    match self.text(child).filter(|_| is_object) {
                        Some(key) => push_token(&mut pointer, key),
                        None => pointer.push_str(&index.to_string()),
                    }
                    at = value;
                    break;
                }
                index += 1;
                child = self.after(value);
            }
        }
        pointer
    }
}

/// Adds a token to a pointer, escaped.
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
