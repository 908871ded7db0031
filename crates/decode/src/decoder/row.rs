//! Making one row: every column gets exactly one value.

use simd_json::{Node, StaticNode};
use situs_model::RejectCode;

use super::block::BlockRow;
use super::lists::Codes;
use super::read::{self, Code, Reading};
use super::walk::ExtraName;
use super::{Context, State, Step, fault};
use crate::plan::{ABSENT, Kind, Leaf, Op, Target, TextTarget};
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
                Some(device) => {
                    self.spent += device.len();
                    self.builders.dictionary[at].push(device)?;
                }
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
        if row > 0 && self.spent > context.envelope.budget {
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
    pub(super) fn note(&mut self, name: &str, code: Code) {
        read::add_note(&mut self.quality, name, code);
    }

    /// Notes a missing value and counts it.
    pub(super) fn missing(&mut self, name: &str, code: Code) {
        self.notes.sentinels += 1;
        self.note(name, code);
    }

    fn null(&mut self, leaf: &Leaf) -> Step {
        for target in &leaf.targets {
            self.builders.null(*target)?;
        }
        Ok(())
    }

    pub(super) fn put_missing(&mut self, leaf: &Leaf, code: Code) -> Step {
        self.missing(&leaf.name, code);
        self.null(leaf)
    }

    /// Puts a text into a column, and remembers its key if that is a dictionary.
    pub(super) fn put_text(&mut self, leaf: &Leaf, target: TextTarget, text: &str, at: usize) -> Step {
        match target {
            TextTarget::Utf8(column) => self.builders.utf8[column].push(text)?,
            TextTarget::Dictionary(column) => {
                let key = self.builders.dictionary[column].push(text)?;
                self.memos[leaf.number] = (at as u32, key);
            }
        }
        Ok(())
    }

    /// Fills the columns of a leaf from the value at `at`.
    #[inline]
    fn put(&mut self, leaf: &Leaf, message: &mut Message<'_, '_>, at: usize) -> Step {
        if let Kind::Text(TextTarget::Dictionary(column)) = &leaf.kind
            && let (known, key) = self.memos[leaf.number]
            && known == at as u32
        {
            self.builders.dictionary[*column].push_key(key);
            return Ok(());
        }
        if self.memos[leaf.number].0 != at as u32 {
            self.spent += message.text(at).map_or(0, str::len);
        }
        match &leaf.kind {
            Kind::Float64(column) => match read::double(leaf, message, at)? {
                Reading::Value(value) => self.builders.float64[*column].push(value),
                Reading::Missing(code) => self.put_missing(leaf, code)?,
            },
            Kind::Text(target) => match read::text(leaf, message, at)? {
                Reading::Value(text) => self.put_text(leaf, *target, text, at)?,
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
                _ => {
                    let text = message.source(at);
                    self.spent += text.len();
                    self.put_text(leaf, *target, text, at)?;
                }
            },
            Kind::Numbers(column) => self.numbers(leaf, message, at, *column)?,
            Kind::Texts(column) => self.texts(leaf, message, at, *column)?,
            Kind::Value(kind) => self.value_or_text(leaf, kind, message, at)?,
            Kind::Pairs(kind) => self.pairs(leaf, kind, message, at)?,
        }
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
        let envelope = &context.envelope;
        let (time, code) = read::outside_time(envelope.raw.broker_time_ms, envelope.received_us);
        self.note("event_time", code);
        match time {
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
        self.spent += text.len();
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
                Some(name) => {
                    self.builders.dictionary[at].push(name)?;
                }
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
        if let Some(matrix) = row.matrix {
            // Runs are of rows that follow each other.
            let first = row.rows.first().map_or(0, |(number, _)| *number as usize);
            let list = &mut self.builders.numbers[columns.samples];
            let sample = |number| matrix.values[number * matrix.width + row.column];
            list.extend(|values| values.extend((first..first + row.rows.len()).map(sample)));
            list.end()?;
            return Ok(());
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
