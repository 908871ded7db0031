//! Values that fill several columns, or lists.

use simd_json::{Node, StaticNode};
use situs_model::RejectCode;

use super::read::{self, Code, Reading};
use super::{Fault, State, Step, fault};
use crate::number;
use crate::plan::{ABSENT, Leaf, NumericStrings, PairsKind, TextTarget, ValueKind};
use crate::tape::Message;

impl State {
    /// Whether a scalar stands where a list is expected, and may.
    fn scalar_for_list(&mut self, leaf: &Leaf, message: &Message<'_, '_>, at: usize) -> Step<Option<Code>> {
        match message.node(at) {
            Node::Static(StaticNode::Null) => Ok(Some(Code::Null)),
            Node::String(text) if read::sentinel(leaf, text).is_some() => Ok(read::sentinel(leaf, text)),
            Node::Object { .. } => fault(RejectCode::WrongType, at),
            _ if leaf.scalar_as_list => Ok(None),
            _ => fault(RejectCode::WrongType, at),
        }
    }

    pub(super) fn numbers(
        &mut self,
        leaf: &Leaf,
        message: &mut Message<'_, '_>,
        at: usize,
        column: usize,
    ) -> Step {
        let entries = match message.node(at) {
            Node::Array { .. } => at + 1..message.after(at),
            _ => match self.scalar_for_list(leaf, message, at)? {
                Some(code) => return self.put_missing(leaf, code),
                None => at..at + 1,
            },
        };
        let mut codes = Codes::default();
        let mut entry = entries.start;
        self.spent += size_of::<f64>() * entries.len();
        while entry < entries.end {
            self.spent += message.text(entry).map_or(0, str::len);
            match read::double(leaf, message, entry)? {
                Reading::Value(value) => self.builders.numbers[column].push(value),
                Reading::Missing(code) => {
                    self.builders.numbers[column].push_null();
                    codes.add(self, &leaf.name, code);
                }
            }
            entry = message.after(entry);
        }
        self.builders.numbers[column].end()?;
        Ok(())
    }

    pub(super) fn texts(
        &mut self,
        leaf: &Leaf,
        message: &mut Message<'_, '_>,
        at: usize,
        column: usize,
    ) -> Step {
        let entries = match message.node(at) {
            Node::Array { .. } => at + 1..message.after(at),
            _ => match self.scalar_for_list(leaf, message, at)? {
                Some(code) => return self.put_missing(leaf, code),
                None => at..at + 1,
            },
        };
        let mut codes = Codes::default();
        let mut entry = entries.start;
        self.spent += size_of::<i32>() * entries.len();
        while entry < entries.end {
            self.spent += message.text(entry).map_or(0, str::len);
            match read::text(leaf, message, entry)? {
                Reading::Value(text) => self.builders.texts[column].push(text)?,
                Reading::Missing(code) => {
                    self.builders.texts[column].push_null()?;
                    codes.add(self, &leaf.name, code);
                }
            }
            entry = message.after(entry);
        }
        self.builders.texts[column].end()?;
        Ok(())
    }

    /// A number, a text or a list, each in its own column.
    pub(super) fn value_or_text(
        &mut self,
        leaf: &Leaf,
        kind: &ValueKind,
        message: &mut Message<'_, '_>,
        at: usize,
    ) -> Step {
        let node = message.node(at);
        if let TextTarget::Dictionary(column) = kind.text
            && let (known, key) = self.memos[leaf.number]
            && known == at as u32
        {
            if let Some(column) = kind.number {
                match node {
                    Node::Static(StaticNode::Bool(value)) => {
                        self.builders.float64[column].push(f64::from(u8::from(value)));
                    }
                    _ => self.builders.float64[column].null(),
                }
            }
            if let Some(column) = kind.list {
                self.builders.numbers[column].null()?;
            }
            self.builders.dictionary[column].push_key(key);
            return Ok(());
        }
        let mut number = match node {
            Node::Static(StaticNode::Null) => return self.put_missing(leaf, Code::Null),
            Node::Static(StaticNode::F64(value)) => Some(value),
            Node::Static(StaticNode::U64(value)) => number::double_of_u64(value),
            Node::Static(StaticNode::I64(value)) => number::double_of_negative(value),
            Node::Static(StaticNode::Bool(value)) => Some(f64::from(u8::from(value))),
            Node::String(text) => {
                // `NaN` is a missing number wherever numbers may stand in strings, and a text else.
                let numeric = self.numeric_string(&kind.numeric_strings, message);
                if let Some(code) = read::sentinel(leaf, text) {
                    return self.put_missing(leaf, code);
                }
                if numeric && let Some(code) = read::not_finite(text) {
                    return self.put_missing(leaf, code);
                }
                number::written(text.as_bytes())
                    .filter(|_| numeric)
                    .and_then(|written| number::double(text, written))
            }
            _ => None,
        };
        if kind.number.is_none() {
            number = None;
        }
        let is_list = match (kind.list, node) {
            (Some(column), Node::Array { .. }) => self.list_of_numbers(column, message, at)?,
            _ => false,
        };
        if let (Some(column), false) = (kind.list, is_list) {
            self.builders.numbers[column].null()?;
        }
        if let Some(column) = kind.number {
            match number {
                Some(value) => self.builders.float64[column].push(value),
                None => self.builders.float64[column].null(),
            }
        }
        let is_bool = matches!(node, Node::Static(StaticNode::Bool(_)));
        match node {
            _ if is_list || (number.is_some() && !is_bool) => self.builders.text_null(kind.text)?,
            Node::String(text) => self.put_text(leaf, kind.text, text, at)?,
            _ => {
                let text = message.source(at);
                self.spent += text.len();
                self.put_text(leaf, kind.text, text, at)?;
            }
        }
        Ok(())
    }

    /// Fills the list column if every entry is a number that a double holds.
    fn list_of_numbers(&mut self, column: usize, message: &Message<'_, '_>, at: usize) -> Step<bool> {
        let list = &mut self.builders.numbers[column];
        self.spent += size_of::<f64>() * (message.after(at) - at);
        for entry in at + 1..message.after(at) {
            let value = match message.node(entry) {
                Node::Static(StaticNode::F64(value)) => Some(value),
                Node::Static(StaticNode::U64(value)) => number::double_of_u64(value),
                Node::Static(StaticNode::I64(value)) => number::double_of_negative(value),
                _ => None,
            };
            match value {
                Some(value) => list.push(value),
                // What was pushed is dropped by the null that follows.
                None => return Ok(false),
            }
        }
        list.end()?;
        Ok(true)
    }

    fn numeric_string(&self, numeric: &NumericStrings, message: &Message<'_, '_>) -> bool {
        match numeric {
            NumericStrings::Always => true,
            NumericStrings::Never => false,
            NumericStrings::Any(conditions) => conditions.iter().any(|(slot, words)| {
                let text = match self.slots.get(*slot) {
                    Some(at) if *at != ABSENT => message.text(*at as usize),
                    _ => None,
                };
                text.is_some_and(|text| words.iter().any(|word| **word == *text))
            }),
        }
    }

    /// A list of name and value as two lists.
    pub(super) fn pairs(
        &mut self,
        leaf: &Leaf,
        kind: &PairsKind,
        message: &mut Message<'_, '_>,
        at: usize,
    ) -> Step {
        if !matches!(message.node(at), Node::Array { .. }) {
            return match message.node(at) {
                Node::Static(StaticNode::Null) => self.put_missing(leaf, Code::Null),
                _ => fault(RejectCode::WrongType, at),
            };
        }
        let mut codes = Codes::default();
        let end = message.after(at);
        let mut entry = at + 1;
        while entry < end {
            let Node::Object { .. } = message.node(entry) else { return fault(RejectCode::WrongType, entry) };
            let (mut name, mut value) = (None, None);
            self.spent += size_of::<f64>();
            let entry_end = message.after(entry);
            let mut key = entry + 1;
            while key < entry_end {
                let slot = match message.text(key) {
                    Some(text) if *text == *kind.name_key => &mut name,
                    Some(text) if *text == *kind.value_key => &mut value,
                    _ => {
                        self.notes.unknown_fields += 1;
                        key = message.after(key + 1);
                        continue;
                    }
                };
                self.notes.duplicate_keys += u64::from(slot.is_some());
                *slot = Some(key + 1);
                key = message.after(key + 1);
            }
            let missing = |field: &str| {
                let field = Some(field.into());
                Err(Box::new(Fault { code: RejectCode::MissingField, node: entry as u32, field }))
            };
            match name.map(|name| (name, message.node(name))) {
                Some((_, Node::String(text))) => {
                    self.spent += text.len();
                    self.builders.texts[kind.names].push(text)?;
                }
                None | Some((_, Node::Static(StaticNode::Null))) => return missing(&kind.name_key),
                Some((name, _)) => return fault(RejectCode::WrongType, name),
            }
            let reading = match value {
                Some(value) => {
                    self.spent += message.text(value).map_or(0, str::len);
                    read::double(leaf, message, value)?
                }
                None => Reading::Missing(Code::Null),
            };
            match reading {
                Reading::Value(value) => self.builders.numbers[kind.values].push(value),
                Reading::Missing(code) => {
                    self.builders.numbers[kind.values].push_null();
                    codes.add(self, &kind.values_name, code);
                }
            }
            entry = entry_end;
        }
        self.builders.texts[kind.names].end()?;
        self.builders.numbers[kind.values].end()?;
        Ok(())
    }
}

/// The codes already noted for a list.
#[derive(Default)]
pub(super) struct Codes(u16);

impl Codes {
    /// Counts a missing entry; its code is noted once per list.
    pub(super) fn add(&mut self, state: &mut State, name: &str, code: Code) {
        state.notes.sentinels += 1;
        let bit = 1 << code as u16;
        if self.0 & bit == 0 {
            self.0 |= bit;
            state.note(name, code);
        }
    }
}
