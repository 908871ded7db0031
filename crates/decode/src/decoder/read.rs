//! Reading one value as what its column holds.

use simd_json::{Node, StaticNode};
use situs_model::RejectCode;

use super::{State, Step, fault};
use crate::number::{self, Written};
use crate::plan::Leaf;
use crate::tape::Message;
use crate::time::Instant;

/// Why a value is missing, or what is doubtful about it: the codes of `_quality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Null,
    Empty,
    Unavailable,
    Nan,
    Infinite,
    Sentinel,
    ZoneAssumed,
    Broker,
    Ingest,
    ClockAhead,
    ClockBehind,
}

impl Code {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Empty => "empty",
            Self::Unavailable => "unavailable",
            Self::Nan => "nan",
            Self::Infinite => "infinite",
            Self::Sentinel => "sentinel",
            Self::ZoneAssumed => "zone-assumed",
            Self::Broker => "broker",
            Self::Ingest => "ingest",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBehind => "clock-behind",
        }
    }
}

/// A value, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading<T> {
    Value(T),
    Missing(Code),
}

/// A time, and whether its zone was assumed.
pub(crate) type TimeReading = Reading<(Instant, bool)>;

impl TimeReading {
    pub(crate) const NONE: Self = Self::Missing(Code::Null);
}

/// What sources write where they have no value.
const UNAVAILABLE: &str = "UNAVAILABLE";

/// Whether a text of this length may mean that there is no value, whatever the field.
#[inline(always)]
pub(crate) const fn may_be_missing(len: usize) -> bool {
    (len == 0) | (len == UNAVAILABLE.len())
}

/// Whether a text means that there is no value, wherever it stands.
pub(crate) fn sentinel(leaf: &Leaf, text: &str) -> Option<Code> {
    match text.len() {
        0 => Some(Code::Empty),
        len if may_be_missing(len) && text == UNAVAILABLE => Some(Code::Unavailable),
        _ if !leaf.sentinels.is_empty() && leaf.sentinels.iter().any(|known| **known == *text) => {
            Some(Code::Sentinel)
        }
        _ => None,
    }
}

/// Adds a note to a row's quality.
pub(crate) fn add_note(quality: &mut String, name: &str, code: Code) {
    if !quality.is_empty() {
        quality.push(';');
    }
    quality.push_str(name);
    quality.push(':');
    quality.push_str(code.word());
}

/// The time of a row whose source gives none: the broker's, else that at which the message was taken.
pub(crate) fn outside_time(broker_ms: Option<i64>, received_us: i64) -> (Option<Instant>, Code) {
    let broker = broker_ms.and_then(|ms| ms.checked_mul(1000)).and_then(Instant::from_microseconds);
    match broker {
        Some(time) => (Some(time), Code::Broker),
        None => (Instant::from_microseconds(received_us), Code::Ingest),
    }
}

/// Whether a text means that a number is none.
pub(crate) fn not_finite(text: &str) -> Option<Code> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is = |word: &str| unsigned.eq_ignore_ascii_case(word);
    if is("nan") {
        Some(Code::Nan)
    } else if is("inf") || is("infinity") {
        Some(Code::Infinite)
    } else {
        None
    }
}

/// A text where a number or a time belongs: a sentinel, or how the number is written.
fn number_text(leaf: &Leaf, text: &str) -> Result<Option<Written>, Code> {
    match sentinel(leaf, text) {
        Some(code) => Err(code),
        None => match number::written(text.as_bytes()) {
            Some(written) => Ok(Some(written)),
            None => not_finite(text).map_or(Ok(None), Err),
        },
    }
}

/// A number as a double. Decimals are rounded to the nearest, whole numbers must fit exactly.
#[inline]
pub(super) fn double(leaf: &Leaf, message: &Message<'_, '_>, at: usize) -> Step<Reading<f64>> {
    let value = match message.node(at) {
        Node::Static(StaticNode::F64(value)) => Some(value),
        Node::Static(StaticNode::U64(value)) => number::double_of_u64(value),
        Node::Static(StaticNode::I64(value)) => number::double_of_negative(value),
        Node::Static(StaticNode::Null) => return Ok(Reading::Missing(Code::Null)),
        Node::String(text) => match number_text(leaf, text) {
            Err(code) => return Ok(Reading::Missing(code)),
            Ok(None) => return fault(RejectCode::BadNumber, at),
            Ok(Some(written)) => number::double(text, written),
        },
        _ => return fault(RejectCode::WrongType, at),
    };
    match value {
        Some(value) => Ok(Reading::Value(value)),
        None => fault(RejectCode::NumberOutOfRange, at),
    }
}

/// A whole number of 64 bits.
pub(super) fn integer(leaf: &Leaf, message: &mut Message<'_, '_>, at: usize) -> Step<Reading<i64>> {
    let value = match message.node(at) {
        Node::Static(StaticNode::U64(value)) => i64::try_from(value).ok(),
        Node::Static(StaticNode::I64(value)) => Some(value),
        // A double may have been rounded to a whole number; the text knows.
        Node::Static(StaticNode::F64(_)) => number::integer(message.source(at)),
        Node::Static(StaticNode::Null) => return Ok(Reading::Missing(Code::Null)),
        Node::String(text) => match number_text(leaf, text) {
            Err(code) => return Ok(Reading::Missing(code)),
            Ok(None) => return fault(RejectCode::BadNumber, at),
            Ok(Some(_)) => number::integer(text),
        },
        _ => return fault(RejectCode::WrongType, at),
    };
    match value {
        Some(value) => Ok(Reading::Value(value)),
        None => fault(RejectCode::NumberOutOfRange, at),
    }
}

/// True or false.
pub(super) fn boolean(leaf: &Leaf, message: &Message<'_, '_>, at: usize) -> Step<Reading<bool>> {
    match message.node(at) {
        Node::Static(StaticNode::Bool(value)) => Ok(Reading::Value(value)),
        Node::Static(StaticNode::Null) => Ok(Reading::Missing(Code::Null)),
        Node::String(text) => match sentinel(leaf, text) {
            Some(code) => Ok(Reading::Missing(code)),
            None => fault(RejectCode::WrongType, at),
        },
        _ => fault(RejectCode::WrongType, at),
    }
}

/// A text; a number or a boolean as it is written, where `type` lists them.
#[inline]
pub(super) fn text<'t, 'm: 't, 'n: 't>(
    leaf: &Leaf,
    message: &mut Message<'m, 'n>,
    at: usize,
) -> Step<Reading<&'t str>> {
    match message.node(at) {
        Node::String(text) => Ok(match sentinel(leaf, text) {
            Some(code) => Reading::Missing(code),
            None => Reading::Value(text),
        }),
        Node::Static(StaticNode::Null) => Ok(Reading::Missing(Code::Null)),
        Node::Static(StaticNode::Bool(_)) if leaf.takes_booleans => Ok(Reading::Value(message.source(at))),
        Node::Static(StaticNode::F64(_) | StaticNode::U64(_) | StaticNode::I64(_)) if leaf.takes_numbers => {
            Ok(Reading::Value(message.source(at)))
        }
        _ => fault(RejectCode::WrongType, at),
    }
}

impl State {
    /// The time of a leaf; read once, however many rows repeat it.
    pub(super) fn time(
        &mut self,
        leaf: &Leaf,
        message: &mut Message<'_, '_>,
        at: usize,
    ) -> Step<TimeReading> {
        let Some((formats, number)) = &leaf.time else { return Ok(TimeReading::NONE) };
        if self.times[*number].0 == at as u32 {
            return Ok(self.times[*number].1);
        }
        let value = match message.node(at) {
            Node::String(text) => {
                let known = sentinel(leaf, text).or_else(|| not_finite(text));
                match known {
                    Some(code) => Some(Reading::Missing(code)),
                    None => formats.iter().find_map(|format| format.read(text)).map(Reading::Value),
                }
            }
            Node::Static(StaticNode::U64(value)) => formats
                .iter()
                .find_map(|f| f.read_integer(i128::from(value)))
                .map(|i| Reading::Value((i, false))),
            Node::Static(StaticNode::I64(value)) => formats
                .iter()
                .find_map(|f| f.read_integer(i128::from(value)))
                .map(|i| Reading::Value((i, false))),
            Node::Static(StaticNode::F64(_)) => {
                let text = message.source(at);
                formats.iter().find_map(|f| f.read_number(text)).map(|i| Reading::Value((i, false)))
            }
            Node::Static(StaticNode::Null) => Some(Reading::Missing(Code::Null)),
            _ => return fault(RejectCode::WrongType, at),
        };
        match value {
            Some(value) => {
                self.times[*number] = (at as u32, value);
                Ok(value)
            }
            None => fault(RejectCode::BadTime, at),
        }
    }
}
