//! Making one row: every column gets exactly one value.

use simd_json::{Node, StaticNode};
use situs_model::RejectCode;

use super::block::BlockRow;
use super::read::{self, Code, Reading};
use super::walk::ExtraName;
use super::{Context, Fault, State, Step, fault};
use crate::number;
use crate::plan::{ABSENT, Kind, Leaf, NumericStrings, Op, PairsKind, Target, ValueKind};
use crate::tape::Message;
use crate::time::Instant;

impl State {
    /// Makes a row of the values noted in the slots.
    pub(super) fn row(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        key: Option<&str>,
        block: Option<&BlockRow<'_>>,
    ) -> Step {
        let plan = context.plan;
        if self.rows_of_message >= context.program.max_rows {
            return fault(RejectCode::TooManyRows, 0);
        }
        self.quality.clear();
        for op in &plan.ops {
            match op {
                Op::One(leaf) => {
                    let leaf = &plan.leaves[*leaf];
                    match self.present(leaf, message) {
                        Some(at) => self.put(leaf, message, at)?,
                        None => self.null(leaf)?,
                    }
                }
                Op::Shared { leaves, targets } => self.shared(context, message, leaves, targets)?,
                Op::Key { dictionary, leaves } => {
                    let field = self.last_present(context, leaves, message, usize::MAX);
                    match (key, field) {
                        (Some(key), field) => {
                            self.notes.duplicate_keys += u64::from(field.is_some());
                            self.builders.dictionary[*dictionary].push(key)?;
                        }
                        (None, Some((leaf, at))) => self.put(leaf, message, at)?,
                        (None, None) => self.builders.dictionary[*dictionary].null(),
                    }
                }
            }
        }
        for target in &plan.empty {
            self.builders.null(*target)?;
        }
        if let Some(at) = context.program.outside_device {
            match context.envelope.device {
                Some(device) => self.builders.dictionary[at].push(device)?,
                None => {
                    self.builders.dictionary[at].null();
                    self.missing("device", Code::Null);
                }
            }
        }
        if let Some(block) = block {
            self.samples(message, block)?;
        }
        let time = self.event_time(context, message)?;
        if let Some(column) = &mut self.builders.event_time_ns {
            match time.nanoseconds() {
                Some(ns) => column.push(ns),
                None => column.null(),
            }
        }
        self.extra(context, message)?;
        if self.quality.is_empty() {
            self.builders.quality.null();
        } else {
            self.builders.quality.push(&self.quality)?;
        }
        // Bounded by `max-rows`.
        let row = self.rows_of_message as i32;
        self.builders.end_row(time.microseconds(), context.envelope.index, row);
        self.rows_of_message += 1;
        if row > 0 && self.builders.bytes() > context.envelope.max_bytes {
            return fault(RejectCode::TooManyRows, 0);
        }
        Ok(())
    }

    /// Where the value of a leaf stands, if it is there.
    fn present(&self, leaf: &Leaf, message: &Message<'_, '_>) -> Option<usize> {
        let at = self.slots[leaf.slot];
        if at == ABSENT {
            return None;
        }
        let at = at as usize;
        if leaf.scalar_only && matches!(message.node(at), Node::Object { .. } | Node::Array { .. }) {
            return None;
        }
        Some(at)
    }

    /// Fills columns that several leaves share. Of two leaves for one column the last in the text
    /// wins, as with keys given twice.
    fn shared(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        leaves: &[usize],
        targets: &[Target],
    ) -> Step {
        // Taken out for the time; empty again when it is put back.
        let mut taken = std::mem::take(&mut self.taken);
        let mut before = usize::MAX;
        while let Some((leaf, at)) = self.last_present(context, leaves, message, before) {
            before = at;
            if leaf.targets.iter().any(|target| taken.contains(target)) {
                if leaf.critical {
                    return fault(RejectCode::DuplicateKey, at);
                }
                self.notes.duplicate_keys += 1;
                continue;
            }
            taken.extend(&leaf.targets);
            self.put(leaf, message, at)?;
        }
        for target in targets.iter().filter(|target| !taken.contains(target)) {
            self.builders.null(*target)?;
        }
        taken.clear();
        self.taken = taken;
        Ok(())
    }

    /// The leaf whose value is the last in the text that stands before `before`.
    fn last_present<'l>(
        &self,
        context: &Context<'l>,
        leaves: &[usize],
        message: &Message<'_, '_>,
        before: usize,
    ) -> Option<(&'l Leaf, usize)> {
        leaves
            .iter()
            .filter_map(|leaf| {
                let leaf = &context.plan.leaves[*leaf];
                Some((leaf, self.present(leaf, message)?))
            })
            .filter(|(_, at)| *at < before)
            .max_by_key(|(_, at)| *at)
    }

    /// Notes the quality of a value that is missing or doubtful.
    fn note(&mut self, name: &str, code: Code) {
        if !self.quality.is_empty() {
            self.quality.push(';');
        }
        self.quality.push_str(name);
        self.quality.push(':');
        self.quality.push_str(code.word());
    }

    /// Notes a missing value and counts it.
    fn missing(&mut self, name: &str, code: Code) {
        self.notes.sentinels += 1;
        self.note(name, code);
    }

    fn null(&mut self, leaf: &Leaf) -> Step {
        for target in &leaf.targets {
            self.builders.null(*target)?;
        }
        Ok(())
    }

    fn put_missing(&mut self, leaf: &Leaf, code: Code) -> Step {
        self.missing(&leaf.name, code);
        self.null(leaf)
    }

    /// Fills the columns of a leaf from the value at `at`.
    #[inline]
    fn put(&mut self, leaf: &Leaf, message: &mut Message<'_, '_>, at: usize) -> Step {
        match &leaf.kind {
            Kind::Float64(column) => match read::double(leaf, message, at)? {
                Reading::Value(value) => self.builders.float64[*column].push(value),
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Text(target) => match read::text(leaf, message, at)? {
                Reading::Value(text) => self.builders.text(*target, text)?,
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Int64(column) => match read::integer(leaf, message, at)? {
                Reading::Value(value) => self.builders.int64[*column].push(value),
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Int32(column) => match read::integer(leaf, message, at)? {
                Reading::Value(value) => match i32::try_from(value) {
                    Ok(value) => self.builders.int32[*column].push(value),
                    Err(_) => return fault(RejectCode::NumberOutOfRange, at),
                },
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Boolean(column) => match read::boolean(leaf, message, at)? {
                Reading::Value(value) => self.builders.boolean[*column].push(value),
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Timestamp(column) => match self.time(leaf, message, at)? {
                Reading::Value((time, assumed)) => {
                    self.builders.timestamp[*column].push(time.microseconds());
                    if assumed {
                        self.note(&leaf.name, Code::ZoneAssumed);
                    }
                }
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Nothing => match self.time(leaf, message, at)? {
                Reading::Value((_, true)) => self.note(&leaf.name, Code::ZoneAssumed),
                Reading::Value(_) => {}
                Reading::Missing(code) => self.missing(&leaf.name, code),
            },
            Kind::Json(target) => match message.node(at) {
                Node::Static(StaticNode::Null) => self.put_missing(leaf, Code::Null)?,
                _ => self.builders.text(*target, message.source(at))?,
            },
            Kind::Numbers(column) => self.numbers(leaf, message, at, *column)?,
            Kind::Texts(column) => self.texts(leaf, message, at, *column)?,
            Kind::Value(kind) => self.value_or_text(leaf, kind, message, at)?,
            Kind::Pairs(kind) => self.pairs(leaf, kind, message, at)?,
        }
        Ok(())
    }

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

    fn numbers(&mut self, leaf: &Leaf, message: &mut Message<'_, '_>, at: usize, column: usize) -> Step {
        let entries = match message.node(at) {
            Node::Array { .. } => at + 1..message.after(at),
            _ => match self.scalar_for_list(leaf, message, at)? {
                Some(code) => return self.put_missing(leaf, code),
                None => at..at + 1,
            },
        };
        let mut codes = Codes::default();
        let mut entry = entries.start;
        while entry < entries.end {
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

    fn texts(&mut self, leaf: &Leaf, message: &mut Message<'_, '_>, at: usize, column: usize) -> Step {
        let entries = match message.node(at) {
            Node::Array { .. } => at + 1..message.after(at),
            _ => match self.scalar_for_list(leaf, message, at)? {
                Some(code) => return self.put_missing(leaf, code),
                None => at..at + 1,
            },
        };
        let mut codes = Codes::default();
        let mut entry = entries.start;
        while entry < entries.end {
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
    fn value_or_text(
        &mut self,
        leaf: &Leaf,
        kind: &ValueKind,
        message: &mut Message<'_, '_>,
        at: usize,
    ) -> Step {
        let node = message.node(at);
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
            Node::String(text) => self.builders.text(kind.text, text)?,
            _ => self.builders.text(kind.text, message.source(at))?,
        }
        Ok(())
    }

    /// Fills the list column if every entry is a number that a double holds.
    fn list_of_numbers(&mut self, column: usize, message: &Message<'_, '_>, at: usize) -> Step<bool> {
        let list = &mut self.builders.numbers[column];
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
    fn pairs(&mut self, leaf: &Leaf, kind: &PairsKind, message: &mut Message<'_, '_>, at: usize) -> Step {
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
                Some((_, Node::String(text))) => self.builders.texts[kind.names].push(text)?,
                None | Some((_, Node::Static(StaticNode::Null))) => return missing(&kind.name_key),
                Some((name, _)) => return fault(RejectCode::WrongType, name),
            }
            let reading = match value {
                Some(value) => read::double(leaf, message, value)?,
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

    /// The time of the row: that of the best field that has one, else the broker's.
    fn event_time(&mut self, context: &Context<'_>, message: &mut Message<'_, '_>) -> Step<Instant> {
        for (_, leaf) in &context.plan.event_times {
            let leaf = &context.plan.leaves[*leaf];
            let Some(at) = self.present(leaf, message) else { continue };
            match self.time(leaf, message, at)? {
                Reading::Value((time, assumed)) => {
                    if assumed && !matches!(leaf.kind, Kind::Timestamp(_) | Kind::Nothing) {
                        self.note(&leaf.name, Code::ZoneAssumed);
                    }
                    return Ok(time);
                }
                Reading::Missing(_) => {}
            }
        }
        self.notes.times_from_broker += 1;
        let broker = context.envelope.raw.broker_time_ms.and_then(|ms| ms.checked_mul(1000));
        if let Some(time) = broker.and_then(Instant::from_microseconds) {
            self.note("event_time", Code::Broker);
            return Ok(time);
        }
        self.note("event_time", Code::Ingest);
        match Instant::from_microseconds(context.envelope.received_us) {
            Some(time) => Ok(time),
            None => fault(RejectCode::BadTime, 0),
        }
    }

    /// Unknown fields as one JSON object.
    fn extra(&mut self, context: &Context<'_>, message: &mut Message<'_, '_>) -> Step {
        let Some(column) = &mut self.builders.extra else { return Ok(()) };
        if self.extras.is_empty() {
            column.null()?;
            return Ok(());
        }
        let text = &mut self.scratch;
        text.clear();
        for extra in &self.extras {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push('"');
            text.push_str(&context.plan.shapes[extra.shape].path);
            match extra.name {
                // The key as it was sent, without its first quote.
                ExtraName::Key(key) => text.push_str(message.source(key).get(1..).unwrap_or("\"")),
                ExtraName::Position(position) => {
                    text.push_str(&position.to_string());
                    text.push('"');
                }
            }
            text.push(':');
            text.push_str(message.source(extra.value));
        }
        text.push('}');
        column.push(text)?;
        Ok(())
    }

    /// The columns that a block adds to a row.
    fn samples(&mut self, message: &Message<'_, '_>, row: &BlockRow<'_>) -> Step {
        let columns = &row.block.columns;
        let signal = row.block.signals.get(row.index);
        if let Some(at) = columns.index {
            // A row of numbers has fewer entries than a payload has bytes.
            self.builders.int32[at].push(row.index as i32);
        }
        if let Some(at) = columns.signal {
            match signal {
                Some(name) => self.builders.dictionary[at].push(name)?,
                None => self.builders.dictionary[at].null(),
            }
        }
        if let Some(at) = columns.first {
            self.builders.int64[at].push(row.first);
        }
        if let Some(at) = columns.count {
            self.builders.int32[at].push(row.rows.len() as i32);
        }
        if let (Some(at), Some(period)) = (columns.period, row.block.period) {
            self.builders.int64[at].push(period);
        }
        if let Some(at) = columns.gap {
            match row.gap {
                Some(gap) => self.builders.int64[at].push(gap),
                None => self.builders.int64[at].null(),
            }
        }
        let mut codes = Codes::default();
        for (start, _) in row.rows {
            let at = *start as usize + row.column;
            match read::double(row.leaf, message, at)? {
                Reading::Value(value) => self.builders.numbers[columns.samples].push(value),
                Reading::Missing(code) => {
                    self.builders.numbers[columns.samples].push_null();
                    codes.add(self, &row.block.name, code);
                }
            }
        }
        self.builders.numbers[columns.samples].end()?;
        Ok(())
    }
}

/// The codes already noted for a list.
#[derive(Default)]
struct Codes(u16);

impl Codes {
    /// Counts a missing entry; its code is noted once per list.
    fn add(&mut self, state: &mut State, name: &str, code: Code) {
        state.notes.sentinels += 1;
        let bit = 1 << code as u16;
        if self.0 & bit == 0 {
            self.0 |= bit;
            state.note(name, code);
        }
    }
}
