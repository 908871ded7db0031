//! A schema in the form that the decoder works with.
//!
//! For each alternative of `rows` there is a [`Plan`]. A message is walked once; the walk notes, for
//! every key that the plan knows, where its value stands on the tape (its *slot*). Rows are then made
//! column by column from the slots, so that the order of keys in the text does not matter.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use situs_model::DeviceSource;

use crate::time::TimeFormat;

/// A slot without a value.
pub(crate) const ABSENT: u32 = u32::MAX;

/// What is done with a message.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) alternatives: Vec<Alternative>,
    /// The top value may be an array of messages.
    pub(crate) batch: bool,
    pub(crate) max_rows: usize,
    pub(crate) max_depth: usize,
    /// Unknown fields go to `_extra`.
    pub(crate) keep_unknown: bool,
    /// `_event_time_ns` is wanted.
    pub(crate) nanoseconds: bool,
    /// Where the columns of the payload are built, in the order of the Arrow schema.
    pub(crate) columns: Vec<Target>,
    /// Where the device id comes from.
    pub(crate) device: DeviceSource,
    /// The dictionary for the device id, where it comes with the key or a header.
    pub(crate) outside_device: Option<usize>,
}

impl Program {
    /// The block of the one alternative that has one, if nothing else reads it.
    pub(crate) fn only_block(&self) -> Option<&Block> {
        let mut plans = self.alternatives.iter().filter_map(|alternative| match &alternative.outcome {
            Outcome::Rows(plan) => Some((plan, plan.block.as_ref()?)),
            Outcome::None(_) => None,
        });
        let (plan, block) = plans.next()?;
        // A column that reads what holds the block needs it as it was sent.
        let is_read = |leaf: &Leaf| {
            !leaf.scalar_only && plan.levels.iter().any(|level| level.container == Some(leaf.slot))
        };
        (plans.next().is_none() && !plan.leaves.iter().any(is_read)).then_some(block)
    }
}

/// One way in which a message may give rows.
#[derive(Debug)]
pub(crate) struct Alternative {
    /// The field that must be there, and the text that it must have.
    pub(crate) condition: Option<(Box<str>, Option<Box<str>>)>,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// No row by design, counted under this word.
    None(Arc<str>),
    Rows(Box<Plan>),
}

/// How messages of one alternative become rows.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// From the message itself to the entries that are rows.
    pub(crate) levels: Vec<Level>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) leaves: Vec<Leaf>,
    /// What is done for each row, in the order of columns.
    pub(crate) ops: Vec<Op>,
    /// The number of slots.
    pub(crate) slots: usize,
    /// The number of entries that the shapes need in the table of successors.
    pub(crate) successors: usize,
    /// Columns that stay null in these rows.
    pub(crate) empty: Vec<Target>,
    /// The leaves that carry the event time with their ranks, best first.
    pub(crate) event_times: Vec<(i64, usize)>,
    /// The number of leaves that are times.
    pub(crate) times: usize,
    /// The leaves that carry the device id.
    pub(crate) devices: Vec<usize>,
    pub(crate) block: Option<Block>,
}

/// The message, or the entries of a container on the way to the rows.
#[derive(Debug)]
pub(crate) struct Level {
    /// The fields of an entry that is an object.
    pub(crate) shape: Option<usize>,
    /// The slot for an entry that is itself a value.
    pub(crate) value: Option<usize>,
    /// The slots of this level.
    pub(crate) slots: Range<usize>,
    /// The slot of the container whose entries are the next level; the last level has none.
    pub(crate) container: Option<usize>,
}

/// The keys that an object may have.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    pub(crate) keys: Vec<Key>,
    pub(crate) index: HashMap<Box<str>, u16, BuildHasherDefault<Fnv>>,
    /// Where an array stands for the object: position and key.
    pub(crate) positions: Vec<(usize, u16)>,
    /// Slots that must have a value, and the names of their fields.
    pub(crate) required: Vec<(usize, Box<str>)>,
    /// The way from the message or entry to this object, for `_extra`: `a/b/` or nothing, escaped.
    pub(crate) path: String,
    /// The slots of the whole subtree.
    pub(crate) slots: Range<usize>,
    /// Its place in the table of successors.
    pub(crate) base: usize,
}

impl Shape {
    /// The key of this name. `previous` is the key found before it plus one, 0 at the start: keys of
    /// one writer come in one order, so what followed last time is tried first.
    pub(crate) fn find(&self, successors: &mut [u16], previous: usize, name: &str) -> Option<usize> {
        let guess = &mut successors[self.base + previous];
        if let Some(key) = self.keys.get(usize::from(*guess))
            && &*key.name == name
        {
            return Some(usize::from(*guess));
        }
        let found = *self.index.get(name)?;
        *guess = found;
        Some(usize::from(found))
    }
}

/// A key of an object.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: Box<str>,
    pub(crate) slot: usize,
    /// The shape of a value that is an object.
    pub(crate) child: Option<usize>,
    /// The slot for a value that is not such an object (`or-value`).
    pub(crate) or_value: Option<usize>,
    /// Given twice, the message is rejected.
    pub(crate) critical: bool,
    /// A leaf takes values that are not objects.
    pub(crate) has_leaf: bool,
}

/// Where a column is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Float64(usize),
    Int64(usize),
    Int32(usize),
    Boolean(usize),
    Timestamp(usize),
    Utf8(usize),
    Dictionary(usize),
    Numbers(usize),
    Texts(usize),
}

/// Where text is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTarget {
    Utf8(usize),
    Dictionary(usize),
}

impl From<TextTarget> for Target {
    fn from(target: TextTarget) -> Self {
        match target {
            TextTarget::Utf8(at) => Self::Utf8(at),
            TextTarget::Dictionary(at) => Self::Dictionary(at),
        }
    }
}

/// A value that the plan reads.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Its place in the plan.
    pub(crate) number: usize,
    pub(crate) slot: usize,
    pub(crate) kind: Kind,
    /// The columns it fills.
    pub(crate) targets: Vec<Target>,
    /// The name under which its quality is noted.
    pub(crate) name: Box<str>,
    pub(crate) sentinels: Vec<Box<str>>,
    /// The formats, and its place among the times, if it is a time.
    pub(crate) time: Option<(Vec<TimeFormat>, usize)>,
    /// A scalar is a list of one.
    pub(crate) scalar_as_list: bool,
    /// Numbers and booleans are taken as text.
    pub(crate) takes_numbers: bool,
    pub(crate) takes_booleans: bool,
    /// Objects and arrays under its key belong to a shape.
    pub(crate) scalar_only: bool,
    /// Two values for it in one row reject the message.
    pub(crate) critical: bool,
}

/// What becomes of a value.
#[derive(Debug)]
pub(crate) enum Kind {
    Float64(usize),
    Int64(usize),
    Int32(usize),
    Boolean(usize),
    Timestamp(usize),
    Text(TextTarget),
    Json(TextTarget),
    Numbers(usize),
    Texts(usize),
    Value(Box<ValueKind>),
    Pairs(Box<PairsKind>),
    /// Read for its role only.
    Nothing,
}

/// A number or a text.
#[derive(Debug)]
pub(crate) struct ValueKind {
    pub(crate) number: Option<usize>,
    pub(crate) text: TextTarget,
    pub(crate) list: Option<usize>,
    pub(crate) numeric_strings: NumericStrings,
}

/// Whether a number in a string is a number.
#[derive(Debug, Clone)]
pub(crate) enum NumericStrings {
    Always,
    Never,
    /// Where one of these slots has one of these texts.
    Any(Vec<(usize, Vec<Box<str>>)>),
}

/// A list of name and value.
#[derive(Debug)]
pub(crate) struct PairsKind {
    pub(crate) name_key: Box<str>,
    pub(crate) value_key: Box<str>,
    pub(crate) names: usize,
    pub(crate) values: usize,
    /// The column of the values, for quality.
    pub(crate) values_name: Box<str>,
}

/// A step in making a row.
#[derive(Debug)]
pub(crate) enum Op {
    /// A leaf that shares no column.
    One(usize),
    /// Leaves that share columns: of two for one column, the last in the text fills its own.
    Shared { leaves: Vec<usize>, targets: Vec<Target> },
    /// The key of the row's entry; the leaves fill the column where there is no such key.
    Key { dictionary: usize, leaves: Vec<usize> },
}

/// Row-major numbers.
#[derive(Debug)]
pub(crate) struct Block {
    /// Position of the counter in each row of numbers.
    pub(crate) counter: Option<usize>,
    pub(crate) period: Option<i64>,
    pub(crate) signals: Vec<Box<str>>,
    pub(crate) columns: BlockColumns,
    /// The name of the samples column.
    pub(crate) name: Box<str>,
}

/// The columns of a block's rows.
#[derive(Debug, Default)]
pub(crate) struct BlockColumns {
    pub(crate) index: Option<usize>,
    pub(crate) signal: Option<usize>,
    pub(crate) first: Option<usize>,
    pub(crate) count: Option<usize>,
    pub(crate) period: Option<usize>,
    pub(crate) gap: Option<usize>,
    pub(crate) samples: usize,
}

/// FNV-1a, for tables whose keys come from the schema and so cannot be chosen by a sender.
#[derive(Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
