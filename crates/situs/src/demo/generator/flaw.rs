//! What goes wrong with one message in a hundred.

use situs_model::RejectCode;

use super::Message;
use super::random::Random;

/// A way in which a message is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    /// Cut off somewhere.
    Truncated,
    /// Two documents run together.
    TwoDocuments,
    /// Printed with the quotes of a Python dict.
    PythonQuotes,
    /// A letter in ISO 8859-1.
    Latin1,
    /// No payload.
    Tombstone,
    /// A payload without a byte.
    Empty,
    /// A field nested 100 deep.
    TooDeep,
    /// The device is given twice.
    DuplicateKey,
    /// A field of another type.
    WrongType,
    /// A required field is missing.
    MissingField,
    /// Text that is no number.
    BadNumber,
    /// A time as a person would write it.
    BadTime,
    /// A number beyond its column's range.
    OutOfRange,
    /// A message of no known shape.
    NoRows,
    /// A block with a row that is too short.
    RaggedBlock,
}

use Flaw::{
    BadNumber, BadTime, DuplicateKey, Empty, Latin1, MissingField, NoRows, OutOfRange, PythonQuotes,
    RaggedBlock, Tombstone, TooDeep, Truncated, TwoDocuments, WrongType,
};

/// What can be wrong with a state or a calibration, whose device stands in the payload.
pub(super) const STATE: &[Flaw] = &[
    Truncated,
    TwoDocuments,
    PythonQuotes,
    Latin1,
    Tombstone,
    Empty,
    TooDeep,
    DuplicateKey,
    WrongType,
    MissingField,
    BadNumber,
    BadTime,
    OutOfRange,
];
/// What can be wrong with an observation.
pub(super) const OBSERVATION: &[Flaw] = &[
    Truncated,
    TwoDocuments,
    PythonQuotes,
    Latin1,
    Tombstone,
    Empty,
    TooDeep,
    WrongType,
    MissingField,
    BadTime,
    OutOfRange,
];
/// What can be wrong with a process window.
pub(super) const WINDOW: &[Flaw] = &[
    Truncated,
    TwoDocuments,
    PythonQuotes,
    Latin1,
    Tombstone,
    Empty,
    TooDeep,
    DuplicateKey,
    WrongType,
    MissingField,
    BadNumber,
    BadTime,
];
/// What can be wrong with a network message.
pub(super) const PUBSUB: &[Flaw] = &[
    Truncated,
    TwoDocuments,
    PythonQuotes,
    Latin1,
    Tombstone,
    Empty,
    TooDeep,
    WrongType,
    BadTime,
    OutOfRange,
    NoRows,
];
/// What can be wrong with a small event of a recording.
pub(super) const EVENT: &[Flaw] =
    &[Truncated, TwoDocuments, PythonQuotes, Latin1, Tombstone, Empty, TooDeep, NoRows];
/// What can be wrong with a block of samples.
pub(super) const BLOCK: &[Flaw] =
    &[Truncated, TwoDocuments, PythonQuotes, Latin1, Tombstone, Empty, TooDeep, RaggedBlock];
/// What can be wrong with a calibration or a pose.
pub(super) const AR: &[Flaw] = &[
    Truncated,
    TwoDocuments,
    PythonQuotes,
    Latin1,
    Tombstone,
    Empty,
    TooDeep,
    DuplicateKey,
    WrongType,
    MissingField,
    BadTime,
    OutOfRange,
];

impl Flaw {
    /// The code that the decoder must reject the message with.
    pub(super) fn code(self) -> RejectCode {
        match self {
            Truncated | TwoDocuments | PythonQuotes => RejectCode::InvalidJson,
            Latin1 => RejectCode::InvalidUtf8,
            Tombstone => RejectCode::Tombstone,
            Empty => RejectCode::Empty,
            TooDeep => RejectCode::TooDeep,
            DuplicateKey => RejectCode::DuplicateKey,
            WrongType => RejectCode::WrongType,
            MissingField => RejectCode::MissingField,
            BadNumber => RejectCode::BadNumber,
            BadTime => RejectCode::BadTime,
            OutOfRange => RejectCode::NumberOutOfRange,
            NoRows => RejectCode::NoRows,
            RaggedBlock => RejectCode::RaggedBlock,
        }
    }

    /// Whether any JSON parser must refuse the bytes.
    #[cfg(test)]
    pub(super) fn is_not_json(self) -> bool {
        matches!(self, Truncated | TwoDocuments | PythonQuotes | Latin1 | Empty)
    }

    /// Spoils a finished message where the flaw lies in its bytes; the writers see to the others.
    pub(super) fn spoil(self, message: &mut Message, random: &mut Random) {
        let payload = &mut message.payload;
        match self {
            Truncated => {
                let mut cut = 1 + random.below(payload.len().saturating_sub(1) as u32) as usize;
                // Not inside a letter, which would be another flaw.
                while cut > 1 && payload.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    cut -= 1;
                }
                payload.truncate(cut);
            }
            TwoDocuments => payload.extend_from_within(..),
            PythonQuotes => {
                for byte in payload.iter_mut().filter(|byte| **byte == b'"') {
                    *byte = b'\'';
                }
            }
            Latin1 => {
                let place = letter_of_a_text(payload, random);
                if let Some(byte) = payload.get_mut(place) {
                    *byte = 0xfc;
                }
            }
            Tombstone => {
                payload.clear();
                message.tombstone = true;
            }
            Empty => payload.clear(),
            TooDeep => insert_first(payload, &[b"\"trace\":", &[b'['; 100][..], &[b']'; 100][..], b","]),
            DuplicateKey => insert_first(payload, &[b"\"device\":\"gateway\","]),
            WrongType | MissingField | BadNumber | BadTime | OutOfRange | NoRows | RaggedBlock => {}
        }
    }
}

/// The place of the first letter of some text value, or else of the first key.
fn letter_of_a_text(payload: &[u8], random: &mut Random) -> usize {
    let start = random.below(payload.len() as u32) as usize;
    let found = |from: usize| {
        payload[from..]
            .windows(4)
            .position(|bytes| bytes.starts_with(b"\":\"") && bytes[3].is_ascii_alphanumeric())
            .map(|at| from + at + 3)
    };
    found(start).or_else(|| found(0)).unwrap_or(2)
}

/// Inserts fields right after the opening brace.
fn insert_first(payload: &mut Vec<u8>, parts: &[&[u8]]) {
    let old = payload.len();
    for part in parts {
        payload.extend_from_slice(part);
    }
    let added = payload.len() - old;
    payload[1..].rotate_right(added);
}
