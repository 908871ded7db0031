//! Raw batches to rows.

mod block;
mod lists;
pub(crate) mod read;
mod row;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use situs_model::{
    ClockBounds, DecodeNotes, DecodedBatch, DeviceSource, RawBatch, RawMessage, Reject, RejectCode, Source,
};

use crate::builders::Builders;
use crate::decoder::block::Counters;
use crate::decoder::read::TimeReading;
use crate::drift::Drift;
use crate::fast::{Fast, Level, Shortened};
use crate::plan::{ABSENT, Outcome, Plan, Program, Target};
use crate::schema::Schema;
use crate::tape::{BadText, Message, Workspace, push_token};

/// Decodes the batches of a pipeline's partitions, one after the other.
///
/// Every message of a batch ends as one or more rows, as one reject, or in the counts of messages
/// without rows (EO-1). A message is taken whole or not at all: if one of its rows is bad, none of
/// its rows stands in the columns, and none of its texts in a dictionary.
///
/// # Memory
/// Buffers are reused. While a message is parsed they hold about 30 bytes per byte of its text at
/// the worst (`[0,0,0,…]`); those that a large message leaves are given back after the batch.
///
/// # Limits
/// A message gives at most `max-rows` rows of the schema; texts and lists that its rows repeat come
/// to 64 MiB and the message's own length at most, and a column holds 2 GiB of text per batch. What
/// goes beyond is rejected as `too-many-rows`.
#[derive(Debug)]
pub struct Decoder {
    schema: Arc<Schema>,
    max_message_bytes: usize,
    workspace: Workspace,
    state: State,
    counters: HashMap<Source, Counters>,
    /// Where the schema allows it and it is wanted.
    fast: Option<Fast>,
    /// How blocks are read without a tape: the instructions, and the place of the counter in a row.
    blocks: Option<(Level, Option<usize>)>,
    /// Whether it was asked to do without both.
    is_plain: bool,
    /// How far the rows' times may lie from the broker's, if that is looked at.
    drift: Option<Drift>,
}

/// What the rows of a partition's next message take from the messages before it.
#[derive(Debug, Clone, Default)]
pub struct Remembered(Option<Counters>);

/// What is fixed while one message is decoded.
struct Context<'c> {
    program: &'c Program,
    plan: &'c Plan,
    /// The alternative of the plan.
    number: usize,
    envelope: Envelope<'c>,
}

/// What Kafka says of a message.
#[derive(Clone, Copy)]
struct Envelope<'c> {
    index: u32,
    raw: RawMessage<'c>,
    received_us: i64,
    /// The device id of the key or header, if that is where it comes from and it is text.
    device: Option<&'c str>,
    counters: Option<&'c Counters>,
    /// What its rows may spend on texts and lists.
    budget: usize,
}

/// What changes while messages are decoded.
#[derive(Debug)]
struct State {
    builders: Builders,
    /// Where the value of each slot stands on the tape.
    slots: Vec<u32>,
    /// For each alternative and key, the key that followed it last.
    successors: Vec<Vec<u16>>,
    /// For each time of the plan, the value last read and what it was.
    times: Vec<(u32, TimeReading)>,
    /// For each leaf, the text last put into a dictionary, by its place on the tape, and its key
    /// there: rows that repeat it need not look at it again.
    memos: Vec<(u32, i32)>,
    /// Bytes of texts and lists that the rows of the present message have taken. A text around many
    /// rows counts in each of them, so that a small message cannot ask for endless work.
    spent: usize,
    /// Unknown fields of the message and of the entries around the present row.
    extras: Vec<walk::Extra>,
    /// The quality of the present row.
    quality: String,
    scratch: String,
    /// Columns already filled among those that leaves share.
    taken: Vec<Target>,
    /// The rows of numbers of the present block.
    block_rows: Vec<(u32, i64)>,
    /// The block of the present message, if it was read without the tape.
    shortened: Shortened,
    /// The counters after the blocks of the present message.
    pending: Vec<(Option<Box<str>>, i64)>,
    notes: Notes,
    rows_of_message: usize,
    /// Why the present message gives no row, if it does not.
    without: Option<Arc<str>>,
    no_entries: Arc<str>,
}

/// Counts of the present message; they count only if it is not rejected.
#[derive(Debug, Default, Clone, Copy)]
struct Notes {
    unknown_fields: u64,
    duplicate_keys: u64,
    sentinels: u64,
    times_from_broker: u64,
}

/// Why a message is rejected, by its place on the tape.
#[derive(Debug)]
struct Fault {
    code: RejectCode,
    node: u32,
    /// A field that should be in the object at `node`.
    field: Option<Box<str>>,
}

/// What a step gives. Faults are rare, so they are kept small where they are not.
type Step<T = ()> = Result<T, Box<Fault>>;

fn fault<T>(code: RejectCode, node: usize) -> Step<T> {
    Err(Box::new(Fault { code, node: u32::try_from(node).unwrap_or(ABSENT), field: None }))
}

/// A column is full: the batch cannot take this message.
impl From<crate::columns::Full> for Box<Fault> {
    fn from(_: crate::columns::Full) -> Self {
        Box::new(Fault { code: RejectCode::TooManyRows, node: ABSENT, field: None })
    }
}

/// What becomes of messages beside their rows.
struct Outcomes {
    rejects: Vec<Reject>,
    notes: DecodeNotes,
}

/// A reject before it knows its message.
type Refusal = (RejectCode, Option<String>, Option<u64>);

/// Texts and lists that the rows of one message may repeat, beyond the message's own length.
const MAX_REPEATED: usize = 64 << 20;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Decoder {
    /// A decoder for this schema that rejects payloads longer than `max_message_bytes`.
    pub fn new(schema: Arc<Schema>, max_message_bytes: usize) -> Self {
        let workspace = Workspace::new(schema.program.max_depth);
        let state = State::new(&schema.program);
        let fast = Fast::new(&schema.program);
        let blocks = schema.program.only_block().map(|block| (Level::best(), block.counter));
        let counters = HashMap::new();
        Self {
            schema,
            max_message_bytes,
            workspace,
            state,
            counters,
            fast,
            blocks,
            is_plain: false,
            drift: None,
        }
    }

    /// The same, which flags rows whose time lies further from the broker's. Without this none is flagged.
    #[must_use]
    pub fn with_clock(mut self, bounds: ClockBounds) -> Self {
        self.drift = Drift::new(bounds);
        self
    }

    /// The same without the fast path: to compare with.
    #[must_use]
    pub fn without_fast_path(mut self) -> Self {
        self.fast = None;
        self.blocks = None;
        self.is_plain = true;
        self
    }

    /// Rows that the fast path made so far. The rest came by the general path.
    pub fn fast_rows(&self) -> u64 {
        self.fast.as_ref().map_or(0, |fast| fast.rows)
    }

    /// Decodes by the fast path what it takes and the rest by the general one, in order.
    fn by_both_paths(&mut self, program: &Program, raw: &RawBatch, fast: &mut Fast, outcome: &mut Outcomes) {
        let mut index = 0;
        while index < raw.len() {
            match fast.fill(program, raw, index, self.max_message_bytes) {
                Some(next) => {
                    self.make(program, raw, fast, outcome);
                    index = next;
                }
                None => {
                    self.one(program, raw, index, outcome);
                    index += 1;
                }
            }
        }
        let (unknown_fields, sentinels, times_from_broker) = fast.counts();
        outcome.notes.unknown_fields += unknown_fields;
        outcome.notes.sentinels += sentinels;
        outcome.notes.times_from_broker += times_from_broker;
    }

    /// Makes the rows that the fast path has noted.
    fn make(&mut self, program: &Program, raw: &RawBatch, fast: &mut Fast, outcome: &mut Outcomes) {
        let mut from = 0;
        while let Some((row, message)) = fast.make(program, raw, &mut self.state.builders, from) {
            self.one(program, raw, message as usize, outcome);
            from = row + 1;
        }
        fast.clear();
    }

    /// Decodes one message by the general path.
    fn one(&mut self, program: &Program, raw: &RawBatch, index: usize, outcome: &mut Outcomes) {
        let rows = self.state.builders.rows();
        self.state.builders.mark();
        match self.message(program, raw, index as u32, raw.get(index), &mut outcome.notes) {
            Ok(None) => {}
            Ok(Some(word)) => *outcome.notes.without_rows.entry(word).or_default() += 1,
            Err((code, pointer, byte)) => {
                self.state.builders.truncate(rows);
                outcome.rejects.push(Reject { message: index as u32, code, pointer, byte });
            }
        }
    }

    /// Decodes a batch. Batches of one partition are expected in the order of their offsets; the
    /// partitions may come in any order.
    pub fn decode(&mut self, raw: Arc<RawBatch>) -> DecodedBatch {
        let schema = self.schema.clone();
        let mut outcome = Outcomes { rejects: Vec::new(), notes: DecodeNotes::default() };
        let fast = self.fast.take();
        match fast {
            Some(mut fast) => {
                self.by_both_paths(&schema.program, &raw, &mut fast, &mut outcome);
                self.fast = Some(fast);
            }
            None => (0..raw.len()).for_each(|index| self.one(&schema.program, &raw, index, &mut outcome)),
        }
        let Outcomes { rejects, mut notes } = outcome;
        let finished = self.state.builders.finish(schema.arrow_schema(), &schema.program, &raw, self.drift);
        self.workspace.shrink();
        self.state.shortened.shrink();
        self.fast.iter_mut().for_each(Fast::shrink);
        match finished {
            Ok((rows, message_of_row, clocks_off)) => {
                notes.clocks_off = clocks_off;
                DecodedBatch { raw, rows, message_of_row, rejects, notes }
            }
            // Only a bug in the builders leads here. The messages are kept: all of them are rejects.
            Err(_) => {
                self.state = State::new(&schema.program);
                let poison =
                    |message| Reject { message, code: RejectCode::Poison, pointer: None, byte: None };
                DecodedBatch {
                    rows: RecordBatch::new_empty(schema.arrow_schema().clone()),
                    message_of_row: Vec::new(),
                    rejects: (0..raw.len() as u32).map(poison).collect(),
                    notes: DecodeNotes::default(),
                    raw,
                }
            }
        }
    }

    /// What is remembered of a partition now. Costs a look-up where the schema has no counted blocks.
    pub fn remembered(&self, source: &Source) -> Remembered {
        Remembered(self.counters.get(source).cloned())
    }

    /// Begins anew after a batch of a partition that came to nothing, or to a panic, which may have left
    /// anything half done. Of that partition is remembered what was before, of the others what is.
    pub fn renew(&mut self, source: &Source, before: Remembered) {
        let mut fresh = Self::new(self.schema.clone(), self.max_message_bytes);
        if self.is_plain {
            fresh = fresh.without_fast_path();
        }
        fresh.drift = self.drift;
        fresh.counters = std::mem::take(&mut self.counters);
        match before.0 {
            Some(counters) => fresh.counters.insert(source.clone(), counters),
            None => fresh.counters.remove(source),
        };
        *self = fresh;
    }

    /// Drops what is remembered of a partition: the counters of its blocks.
    pub fn forget(&mut self, source: &Source) {
        self.counters.remove(source);
    }

    /// Decodes a message into rows, or gives the word under which it is counted for having none.
    fn message(
        &mut self,
        program: &Program,
        batch: &RawBatch,
        index: u32,
        raw: RawMessage<'_>,
        notes: &mut DecodeNotes,
    ) -> Result<Option<Arc<str>>, Refusal> {
        let payload = raw.payload.ok_or((RejectCode::Tombstone, None, None))?;
        let raw_place = batch.payload_range(index as usize);
        if payload.len() > self.max_message_bytes {
            return Err((RejectCode::TooLarge, None, None));
        }
        let text = payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(payload);
        let skipped = (payload.len() - text.len()) as u64;
        notes.boms += u64::from(skipped > 0);
        if text.is_empty() {
            return Err((RejectCode::Empty, None, None));
        }
        let device = match &program.device {
            DeviceSource::Payload => None,
            DeviceSource::Key => raw.key,
            DeviceSource::Header(name) => raw.header(name),
        };
        let envelope = Envelope {
            index,
            raw,
            received_us: batch.received_us(),
            device: device.and_then(|bytes| std::str::from_utf8(bytes).ok()).filter(|id| !id.is_empty()),
            counters: self.counters.get(batch.source()),
            budget: MAX_REPEATED + payload.len(),
        };
        let state = &mut self.state;
        // A block is read by itself where that can be done; whatever is odd about the rest of the
        // message is found out with the whole of it.
        let payload_start = raw_place.map_or(0, |range| range.start) + skipped as usize;
        let place = (payload_start, payload_start + text.len());
        let mut done = false;
        if let Some((level, counter)) = self.blocks
            && state.shortened.find(level, batch.bytes(), place, counter)
        {
            let rows = state.builders.rows();
            let shortened = std::mem::take(&mut state.shortened.text);
            let taken =
                self.workspace.parse(&shortened, |message| state.message(program, envelope, message).is_ok());
            state.shortened.text = shortened;
            done = taken == Ok(true) && state.shortened.is_used;
            state.shortened.is_ready = false;
            if !done {
                state.builders.truncate(rows);
            }
        }
        let result = if done {
            Ok(Ok(()))
        } else {
            self.workspace.parse(text, |message| {
                state.message(program, envelope, message).map_err(|fault| {
                    let known = fault.node != ABSENT;
                    let node = fault.node as usize;
                    let mut pointer = known.then(|| message.pointer(node));
                    if let (Some(pointer), Some(field)) = (&mut pointer, &fault.field) {
                        pointer.push('/');
                        push_token(pointer, field);
                    }
                    let byte = if known { message.place(node) } else { None };
                    (fault.code, pointer, byte.map(|byte| byte as u64 + skipped))
                })
            })
        };
        match result {
            Err(BadText { code, byte }) => Err((code, None, byte.map(|byte| byte + skipped))),
            Ok(Err(refusal)) => Err(refusal),
            Ok(Ok(())) => {
                let Notes { unknown_fields, duplicate_keys, sentinels, times_from_broker } = self.state.notes;
                notes.unknown_fields += unknown_fields;
                notes.duplicate_keys += duplicate_keys;
                notes.sentinels += sentinels;
                notes.times_from_broker += times_from_broker;
                if !self.state.pending.is_empty() {
                    let counters = self.counters.entry(batch.source().clone()).or_default();
                    counters.apply(self.state.pending.drain(..));
                }
                Ok((self.state.rows_of_message == 0)
                    .then(|| self.state.without.take().unwrap_or_else(|| self.state.no_entries.clone())))
            }
        }
    }
}

impl State {
    fn new(program: &Program) -> Self {
        let plans = || {
            program.alternatives.iter().map(|alternative| match &alternative.outcome {
                Outcome::Rows(plan) => Some(plan.as_ref()),
                Outcome::None(_) => None,
            })
        };
        let most = |size: fn(&Plan) -> usize| plans().flatten().map(size).max().unwrap_or(0);
        let successors = plans()
            .map(|plan| {
                let mut successors = vec![0; plan.map_or(0, |plan| plan.successors)];
                // At first, keys are expected in the order of the schema.
                for shape in plan.iter().flat_map(|plan| &plan.shapes) {
                    for previous in 0..=shape.keys.len() {
                        successors[shape.base + previous] = previous as u16;
                    }
                }
                successors
            })
            .collect();
        Self {
            builders: Builders::new(program),
            slots: vec![ABSENT; most(|plan| plan.slots)],
            successors,
            times: vec![(ABSENT, TimeReading::NONE); most(|plan| plan.times)],
            memos: vec![(ABSENT, 0); most(|plan| plan.leaves.len())],
            spent: 0,
            extras: Vec::new(),
            quality: String::new(),
            scratch: String::new(),
            taken: Vec::new(),
            block_rows: Vec::new(),
            shortened: Shortened::default(),
            pending: Vec::new(),
            notes: Notes::default(),
            rows_of_message: 0,
            without: None,
            no_entries: Arc::from("no-entries"),
        }
    }

    /// Makes the rows of a message.
    fn message(&mut self, program: &Program, envelope: Envelope<'_>, message: &mut Message<'_, '_>) -> Step {
        self.notes = Notes::default();
        self.rows_of_message = 0;
        self.without = None;
        self.extras.clear();
        self.pending.clear();
        self.spent = 0;
        self.times.iter_mut().for_each(|(at, _)| *at = ABSENT);
        self.memos.iter_mut().for_each(|(at, _)| *at = ABSENT);
        match message.node(0) {
            simd_json::Node::Array { .. } if program.batch => {
                let end = message.after(0);
                let mut at = 1;
                while at < end {
                    self.element(program, envelope, message, at)?;
                    at = message.after(at);
                }
                Ok(())
            }
            _ => self.element(program, envelope, message, 0),
        }
    }

    /// Makes the rows of a message, or of one that stands in an array with others.
    fn element(
        &mut self,
        program: &Program,
        envelope: Envelope<'_>,
        message: &mut Message<'_, '_>,
        at: usize,
    ) -> Step {
        if !matches!(message.node(at), simd_json::Node::Object { .. }) {
            return fault(RejectCode::WrongType, at);
        }
        let chosen = program.alternatives.iter().position(|alternative| match &alternative.condition {
            None => true,
            Some((field, equals)) => walk::field(message, at, field)
                .is_some_and(|value| equals.as_deref().is_none_or(|text| message.text(value) == Some(text))),
        });
        let Some(number) = chosen else { return fault(RejectCode::NoRows, at) };
        match &program.alternatives[number].outcome {
            Outcome::None(word) => {
                self.without.get_or_insert_with(|| word.clone());
                Ok(())
            }
            Outcome::Rows(plan) => {
                self.level(&Context { program, plan, number, envelope }, message, 0, at, None)
            }
        }
    }
}
