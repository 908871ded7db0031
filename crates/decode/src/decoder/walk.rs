//! From the message to its rows: noting where values stand.

use simd_json::{Node, StaticNode};
use situs_model::RejectCode;

use super::{Context, Fault, State, Step, fault};
use crate::plan::{ABSENT, Shape};
use crate::tape::Message;

/// A field that the schema does not know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extra {
    /// The shape of the object around it.
    pub(super) shape: usize,
    /// Its key on the tape, or its position in an array.
    pub(super) name: ExtraName,
    pub(super) value: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ExtraName {
    Key(usize),
    Position(usize),
}

/// The value of a field of the object at `at`; the last one if it is given twice.
pub(super) fn field(message: &Message<'_, '_>, at: usize, name: &str) -> Option<usize> {
    let end = message.after(at);
    let mut key = at + 1;
    let mut found = None;
    while key < end {
        if message.text(key) == Some(name) {
            found = Some(key + 1);
        }
        key = message.after(key + 1);
    }
    found
}

impl State {
    /// Reads the message, or an entry of a container; `key` is the entry's key in an object.
    pub(super) fn level(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        number: usize,
        at: usize,
        key: Option<&str>,
    ) -> Step {
        let level = &context.plan.levels[number];
        let extras = self.extras.len();
        self.slots[level.slots.clone()].fill(ABSENT);
        match level.shape {
            Some(shape)
                if level.value.is_none()
                    || self.holds_any(context, message, &context.plan.shapes[shape], at) =>
            {
                if !matches!(message.node(at), Node::Object { .. }) {
                    return fault(RejectCode::WrongType, at);
                }
                self.object(context, message, shape, at)?;
            }
            _ => {
                if let Some(slot) = level.value {
                    self.slots[slot] = at as u32;
                }
            }
        }
        match level.container {
            None => self.row(context, message, key, None)?,
            Some(slot) => self.entries(context, message, number, self.slots[slot])?,
        }
        self.extras.truncate(extras);
        Ok(())
    }

    /// Reads the entries of the container at `at`.
    fn entries(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        number: usize,
        at: u32,
    ) -> Step {
        if at == ABSENT {
            return Ok(());
        }
        let at = at as usize;
        let (len, is_object) = match message.node(at) {
            Node::Static(StaticNode::Null) => return Ok(()),
            Node::Array { len, .. } => (len, false),
            Node::Object { len, .. } => (len, true),
            _ => return fault(RejectCode::WrongType, at),
        };
        if number + 1 == context.plan.levels.len() {
            return match &context.plan.block {
                Some(block) => self.block(context, message, block, at),
                None => Ok(()),
            };
        }
        let is_last = number + 2 == context.plan.levels.len() && context.plan.block.is_none();
        if is_last && self.rows_of_message + len > context.program.max_rows {
            return fault(RejectCode::TooManyRows, at);
        }
        let end = message.after(at);
        let mut entry = at + 1;
        while entry < end {
            let key = if is_object { message.text(entry) } else { None };
            let value = entry + usize::from(is_object);
            self.level(context, message, number + 1, value, key)?;
            entry = message.after(value);
        }
        Ok(())
    }

    /// Whether the value at `at` is an object with a key of the shape.
    fn holds_any(
        &mut self,
        context: &Context<'_>,
        message: &Message<'_, '_>,
        shape: &Shape,
        at: usize,
    ) -> bool {
        if !matches!(message.node(at), Node::Object { .. }) {
            return false;
        }
        let end = message.after(at);
        let mut key = at + 1;
        while key < end {
            let name = message.text(key).unwrap_or_default();
            if shape.find(&mut self.successors[context.number], 0, name).is_some() {
                return true;
            }
            key = message.after(key + 1);
        }
        false
    }

    /// Notes where the values of an object stand.
    fn object(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        shape_number: usize,
        at: usize,
    ) -> Step {
        let shape = &context.plan.shapes[shape_number];
        let end = message.after(at);
        let mut previous = 0;
        let mut key = at + 1;
        while key < end {
            let value = key + 1;
            let name = message.text(key).unwrap_or_default();
            match shape.find(&mut self.successors[context.number], previous, name) {
                Some(found) => {
                    previous = found + 1;
                    self.value(context, message, shape, found, value)?;
                }
                None => self.unknown(context, shape_number, ExtraName::Key(key), value),
            }
            key = message.after(value);
        }
        for (slot, name) in &shape.required {
            let value = self.slots[*slot];
            let is_null = || matches!(message.node(value as usize), Node::Static(StaticNode::Null));
            if value == ABSENT || is_null() {
                return Err(Box::new(Fault {
                    code: RejectCode::MissingField,
                    node: at as u32,
                    field: Some(name.clone()),
                }));
            }
        }
        Ok(())
    }

    /// Notes where the value of a key stands, and what is in it.
    fn value(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        shape: &Shape,
        found: usize,
        at: usize,
    ) -> Step {
        let key = &shape.keys[found];
        let repeated = self.slots[key.slot] != ABSENT;
        self.slots[key.slot] = at as u32;
        if repeated {
            if key.critical {
                return fault(RejectCode::DuplicateKey, at);
            }
            self.notes.duplicate_keys += 1;
            if let Some(child) = key.child {
                self.slots[context.plan.shapes[child].slots.clone()].fill(ABSENT);
            }
            if let Some(slot) = key.or_value {
                self.slots[slot] = ABSENT;
            }
        }
        let Some(child) = key.child else { return Ok(()) };
        if let Some(slot) = key.or_value
            && !self.holds_any(context, message, &context.plan.shapes[child], at)
        {
            self.slots[slot] = at as u32;
            return Ok(());
        }
        match message.node(at) {
            Node::Object { .. } => self.object(context, message, child, at),
            Node::Array { .. } if !context.plan.shapes[child].positions.is_empty() => {
                self.array(context, message, child, at)
            }
            // A leaf under the same key takes it, and null is as good as absent.
            Node::Static(StaticNode::Null) => Ok(()),
            Node::String(_) | Node::Static(_) if key.has_leaf => Ok(()),
            _ => fault(RejectCode::WrongType, at),
        }
    }

    /// Notes where the entries of an array stand that the schema reads by position.
    fn array(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        shape_number: usize,
        at: usize,
    ) -> Step {
        let shape = &context.plan.shapes[shape_number];
        let end = message.after(at);
        let mut entry = at + 1;
        let mut position = 0;
        while entry < end {
            match shape.positions.iter().find(|(known, _)| *known == position) {
                Some((_, key)) => self.value(context, message, shape, usize::from(*key), entry)?,
                None => self.unknown(context, shape_number, ExtraName::Position(position), entry),
            }
            position += 1;
            entry = message.after(entry);
        }
        Ok(())
    }

    fn unknown(&mut self, context: &Context<'_>, shape: usize, name: ExtraName, value: usize) {
        self.notes.unknown_fields += 1;
        if context.program.keep_unknown {
            self.extras.push(Extra { shape, name, value });
        }
    }
}
