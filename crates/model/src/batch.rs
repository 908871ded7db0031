//! The stages of a batch as types: decoded, tagged, resident. Only the last can reach a store, and
//! only [`split`] makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, DataType};
use arrow_select::filter::FilterBuilder;

use crate::mask::Masks;
use crate::offset::Source;
use crate::planted::{self, Bug};
use crate::raw::{RawBatch, RawMessage};
use crate::words::{ZoneId, words};

words! {
    /// Why a message could not be decoded.
    RejectCode {
        /// The payload is null.
        Tombstone = "tombstone",
        /// The payload has no byte.
        Empty = "empty",
        /// Longer than the pipeline allows.
        TooLarge = "too-large",
        /// Nested deeper than allowed.
        TooDeep = "too-deep",
        /// Not UTF-8.
        InvalidUtf8 = "invalid-utf8",
        /// Not JSON (RFC 8259).
        InvalidJson = "invalid-json",
        /// JSON of another type than the schema says.
        WrongType = "wrong-type",
        /// A required field is missing or null.
        MissingField = "missing-field",
        /// A number that its column cannot hold exactly.
        NumberOutOfRange = "number-out-of-range",
        /// Text that is no number where the schema says number.
        BadNumber = "bad-number",
        /// A time in none of the formats that the schema lists.
        BadTime = "bad-time",
        /// A field that identifies or tags the record is given twice.
        DuplicateKey = "duplicate-key",
        /// None of the schema's row shapes fits the message.
        NoRows = "no-rows",
        /// A block whose rows do not have the same length.
        RaggedBlock = "ragged-block",
        /// More rows than a message may have.
        TooManyRows = "too-many-rows",
        /// A step failed on this message for a reason of its own.
        Poison = "poison",
    }
}

words! {
    /// Why the policy gives no zone for a record.
    UndeterminedReason {
        /// No site of the registry has this device, and the topic alone names no site.
        UnknownDevice = "unknown-device",
        /// The device is registered at a site that sends to another cluster.
        ForeignCluster = "foreign-cluster",
        /// The device is registered at a site that does not send on this topic.
        ForeignTopic = "foreign-topic",
        /// The payload claims another origin than the registry knows.
        ClaimContradictsRegistry = "claim-contradicts-registry",
        /// No rule matches.
        NoRule = "no-rule",
        /// The rule's zone does not hold the record's jurisdiction.
        OutsideZone = "jurisdiction-outside-zone",
        /// A condition of the policy has no answer for the record, such as a division by zero.
        ConditionFailed = "condition-failed",
        /// The zone has no store at this home.
        ZoneWithoutStore = "zone-without-store",
    }
}

/// A message that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Index of the message in its [`RawBatch`].
    pub message: u32,
    /// Why.
    pub code: RejectCode,
    /// RFC 6901 pointer to the value at fault, where known. It may contain text of the payload, so
    /// it goes to quarantine and nowhere else.
    pub pointer: Option<String>,
    /// Byte position of the fault in the payload, where known.
    pub byte: Option<u64>,
}

/// What was seen while decoding, beyond rows and rejects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodeNotes {
    /// Messages that give no row by design (key-alives, metadata), by kind.
    pub without_rows: BTreeMap<Arc<str>, u64>,
    /// Fields that the schema does not know.
    pub unknown_fields: u64,
    /// Keys given twice where the last one won.
    pub duplicate_keys: u64,
    /// Byte order marks stripped.
    pub boms: u64,
    /// Values that became null with a quality code.
    pub sentinels: u64,
    /// Rows whose time is the broker's, since the source gave none.
    pub times_from_broker: u64,
    /// Rows whose time lies further from the broker's than the pipeline allows.
    pub clocks_off: u64,
    /// Rows that took the fast path through the decoder. Nothing of them is otherwise.
    pub fast_rows: u64,
}

impl DecodeNotes {
    /// The number of messages that give no row by design.
    pub fn messages_without_rows(&self) -> u64 {
        self.without_rows.values().sum()
    }

    /// Adds another batch's notes.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.without_rows {
            *self.without_rows.entry(kind.clone()).or_default() += count;
        }
        self.unknown_fields += other.unknown_fields;
        self.duplicate_keys += other.duplicate_keys;
        self.boms += other.boms;
        self.sentinels += other.sentinels;
        self.times_from_broker += other.times_from_broker;
        self.clocks_off += other.clocks_off;
        self.fast_rows += other.fast_rows;
    }
}

/// A raw batch as rows, and the messages that gave none.
///
/// Every message has one or more rows, or is rejected, or gives no row by design (EO-1).
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    /// The batch that was decoded.
    pub raw: Arc<RawBatch>,
    /// The schema's columns, then [`identity_fields`](crate::columns::identity_fields) and
    /// [`time_fields`](crate::columns::time_fields).
    pub rows: RecordBatch,
    /// For each row the index of its message; never decreasing.
    pub message_of_row: Vec<u32>,
    /// Messages that could not be decoded, in order.
    pub rejects: Vec<Reject>,
    /// What else was seen.
    pub notes: DecodeNotes,
}

impl DecodedBatch {
    /// The number of messages that have rows.
    pub fn messages_with_rows(&self) -> u64 {
        count_runs(&self.message_of_row)
    }
}

/// The number of runs of equal values.
fn count_runs(values: &[u32]) -> u64 {
    let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
    changes + u64::from(!values.is_empty())
}

/// What the policy says of one record. There is no default zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It must live in this zone.
    Resident(ZoneId),
    /// The policy cannot say where it must live.
    Undetermined(UndeterminedReason),
}

/// A decoded batch with its tag columns and a verdict for every row.
#[derive(Debug, Clone)]
pub struct TaggedBatch {
    /// The batch, its rows now followed by [`tag_fields`](crate::columns::tag_fields).
    pub decoded: DecodedBatch,
    /// The distinct verdicts.
    pub verdicts: Vec<Verdict>,
    /// For each row an index into `verdicts`.
    pub verdict_of_row: Vec<u16>,
}

/// Why a message is in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuarantineReason {
    /// It could not be decoded.
    Rejected(RejectCode),
    /// It could not be placed.
    Undetermined(UndeterminedReason),
}

impl QuarantineReason {
    /// The reason's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected(code) => code.as_str(),
            Self::Undetermined(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A whole message on its way to quarantine, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its partition.
    pub source: Source,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp, ms since the epoch.
    pub broker_time_ms: Option<i64>,
    /// When this process took it, µs since the epoch.
    pub received_us: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Its payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Why it is here.
    pub reason: QuarantineReason,
    /// Pointer to the value at fault, where known.
    pub pointer: Option<String>,
    /// Byte position of the fault, where known.
    pub byte: Option<u64>,
    /// The number of rows it was decoded into; 0 for rejects.
    pub rows: u32,
}

impl Quarantined {
    fn new(raw: &RawBatch, message: u32, reason: QuarantineReason, rows: u32) -> Self {
        let RawMessage { offset, broker_time_ms, key, payload, .. } = raw.get(message as usize);
        Self {
            source: raw.source().clone(),
            offset,
            broker_time_ms,
            received_us: raw.received_us(),
            key: key.map(<[u8]>::to_vec),
            headers: raw
                .get(message as usize)
                .headers()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect(),
            payload: payload.map(<[u8]>::to_vec),
            reason,
            pointer: None,
            byte: None,
            rows,
        }
    }

    /// What the message holds in memory, in bytes.
    pub fn memory_size(&self) -> usize {
        size_of::<Self>()
            + self.key.as_ref().map_or(0, Vec::len)
            + self.payload.as_ref().map_or(0, Vec::len)
            + self.headers.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum::<usize>()
    }
}

/// Rows that live in one zone. The fields are private and [`split`] is the only maker, so no code
/// can hand an untagged batch, or one of another zone, to a store.
#[derive(Debug, Clone)]
pub struct ResidentBatch {
    source: Source,
    zone: ZoneId,
    rows: RecordBatch,
    /// Its values were masked with keys that are no secret.
    on_trial: bool,
}

impl ResidentBatch {
    /// The partition that the rows came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The zone of every row.
    pub fn zone(&self) -> &ZoneId {
        &self.zone
    }

    /// The rows, with all system columns, masked as their zone asks.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Whether its values were masked with the keys of [`KeyRing::trial`](crate::KeyRing::trial), so that it
    /// must not be stored.
    pub fn on_trial(&self) -> bool {
        self.on_trial
    }
}

/// Messages and rows of one zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZoneCount {
    /// Messages whose first row lies in the zone.
    pub messages: u64,
    /// Rows.
    pub rows: u64,
}

/// Where everything of a batch went: the two sides of EO-1 and EO-2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages read.
    pub messages: u64,
    /// Messages that were decoded into rows.
    pub decoded: u64,
    /// Messages that give no row by design.
    pub without_rows: u64,
    /// Messages rejected by the decoder.
    pub rejected: u64,
    /// Rows that were tagged.
    pub rows: u64,
    /// What each zone got.
    pub stored: BTreeMap<ZoneId, ZoneCount>,
    /// Messages quarantined, by reason; rejects are among them.
    pub quarantined: BTreeMap<QuarantineReason, u64>,
    /// Rows that were tagged but quarantined with their message.
    pub quarantined_rows: u64,
}

impl Counts {
    /// Messages in some zone.
    pub fn stored_messages(&self) -> u64 {
        self.stored.values().map(|zone| zone.messages).sum()
    }

    /// Rows in some zone.
    pub fn stored_rows(&self) -> u64 {
        self.stored.values().map(|zone| zone.rows).sum()
    }

    /// Messages in quarantine.
    pub fn quarantined_messages(&self) -> u64 {
        self.quarantined.values().sum()
    }

    /// Adds another batch's counts.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.decoded += other.decoded;
        self.without_rows += other.without_rows;
        self.rejected += other.rejected;
        self.rows += other.rows;
        self.quarantined_rows += other.quarantined_rows;
        for (zone, count) in &other.stored {
            let sum = self.stored.entry(zone.clone()).or_default();
            sum.messages += count.messages;
            sum.rows += count.rows;
        }
        for (reason, count) in &other.quarantined {
            *self.quarantined.entry(*reason).or_default() += count;
        }
    }
}

/// A tagged batch divided by zone.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// One batch per zone that has rows; several, in order, if the messages were judged in parts.
    pub resident: Vec<ResidentBatch>,
    /// Whole messages that go to quarantine.
    pub quarantined: Vec<Quarantined>,
    /// Where everything went.
    pub counts: Counts,
    /// What the decoder noticed.
    pub notes: DecodeNotes,
}

impl Split {
    /// Sends every message of a batch to quarantine, since a step fails on each of them.
    pub fn poison(raw: &RawBatch) -> Self {
        let reason = QuarantineReason::Rejected(RejectCode::Poison);
        let quarantined: Vec<Quarantined> =
            (0u32..).take(raw.len()).map(|message| Quarantined::new(raw, message, reason, 0)).collect();
        let messages = quarantined.len() as u64;
        let by_reason = (messages > 0).then_some((reason, messages));
        let counts = Counts {
            messages,
            rejected: messages,
            quarantined: by_reason.into_iter().collect(),
            ..Counts::default()
        };
        Self { resident: Vec::new(), quarantined, counts, notes: DecodeNotes::default() }
    }

    /// Adds what became of the messages that follow in the partition.
    pub fn add(&mut self, later: Self) {
        self.resident.extend(later.resident);
        self.quarantined.extend(later.quarantined);
        self.counts.add(&later.counts);
        self.notes.add(&later.notes);
    }
}

/// Of a row that goes to quarantine, in place of an index of a verdict.
const NOWHERE: u16 = u16::MAX;

/// Divides a tagged batch by zone.
///
/// A message is placed whole or not at all: if one of its rows is undetermined, the message goes to
/// quarantine with all its rows, since quarantine keeps messages whole and a record must not be in
/// two places (EO-5). A zone without a store at this home counts as undetermined; its rows never go
/// to another zone. The rows of each zone are masked before anybody gets them.
///
/// # Errors
/// If the masks are of other columns, a zone has no key that they need, or Arrow cannot filter the rows: all
/// of these are bugs, since masks are made with the pipeline and its keys are looked for before.
pub fn split(tagged: TaggedBatch, stores: &BTreeSet<ZoneId>, masks: &Masks) -> Result<Split, ArrowError> {
    let TaggedBatch { decoded, verdicts, verdict_of_row } = tagged;
    let DecodedBatch { raw, rows, message_of_row, rejects, notes } = decoded;
    if !masks.fit(rows.schema_ref()) {
        return Err(ArrowError::SchemaError("the masks are those of other columns".to_owned()));
    }
    let placed: Vec<Result<&ZoneId, UndeterminedReason>> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Resident(zone) if stores.contains(zone) => Ok(zone),
            Verdict::Resident(_) => Err(UndeterminedReason::ZoneWithoutStore),
            Verdict::Undetermined(reason) if planted::is(Bug::DefaultZone) => stores.first().ok_or(*reason),
            Verdict::Undetermined(reason) => Err(*reason),
        })
        .collect();

    let mut counts = Counts {
        messages: raw.len() as u64,
        without_rows: notes.messages_without_rows(),
        rejected: rejects.len() as u64,
        rows: rows.num_rows() as u64,
        ..Counts::default()
    };
    let mut quarantined: Vec<Quarantined> = rejects
        .into_iter()
        .map(|reject| Quarantined {
            pointer: reject.pointer,
            byte: reject.byte,
            ..Quarantined::new(&raw, reject.message, QuarantineReason::Rejected(reject.code), 0)
        })
        .collect();

    // The zone that each row goes to, as an index into `verdicts`; `NOWHERE` is quarantine.
    let mut destination = verdict_of_row;
    // Messages by the verdict on their first row.
    let mut messages_of = vec![0u64; placed.len()];
    let all_placed = placed.iter().all(Result::is_ok);
    let mut start = 0;
    while start < message_of_row.len() {
        let message = message_of_row[start];
        let end = start + message_of_row[start..].iter().take_while(|m| **m == message).count();
        counts.decoded += 1;
        let reason = |verdict: &u16| placed[usize::from(*verdict)].err();
        let undetermined = if all_placed { None } else { destination[start..end].iter().find_map(reason) };
        if let Some(reason) = undetermined {
            destination[start..end].fill(NOWHERE);
            let rows = u32::try_from(end - start).unwrap_or(u32::MAX);
            counts.quarantined_rows += u64::from(rows);
            quarantined.push(Quarantined::new(&raw, message, QuarantineReason::Undetermined(reason), rows));
        } else {
            messages_of[usize::from(destination[start])] += 1;
        }
        start = end;
    }
    for (place, messages) in placed.iter().zip(messages_of).filter(|(_, messages)| *messages > 0) {
        if let Ok(zone) = place {
            counts.stored.entry((*zone).clone()).or_default().messages += messages;
        }
    }
    if planted::is(Bug::DropReject) {
        quarantined.pop();
    }
    quarantined.sort_by_key(|message| message.offset);
    for message in &quarantined {
        *counts.quarantined.entry(message.reason).or_default() += 1;
    }

    // Distinct verdicts may name the same zone, so rows are gathered by zone.
    let mut resident = Vec::new();
    let zones: BTreeSet<&ZoneId> = placed.iter().filter_map(|place| place.ok()).collect();
    for zone in zones {
        let here: Vec<bool> = placed.iter().map(|place| *place == Ok(zone)).collect();
        let is_here = |row: usize| here.get(usize::from(destination[row])).copied().unwrap_or(false);
        let mask = BooleanBuffer::collect_bool(destination.len(), is_here);
        let count = mask.count_set_bits();
        if count == 0 {
            continue;
        }
        counts.stored.entry(zone.clone()).or_default().rows += count as u64;
        let rows = if count == rows.num_rows() { rows.clone() } else { select(&rows, mask, count)? };
        let rows = if masks.is_empty() { rows } else { masks.apply(&rows, zone)? };
        let swapped = stores.iter().find(|other| planted::is(Bug::SwapZones) && *other != zone);
        let zone = swapped.unwrap_or(zone).clone();
        let (source, on_trial) = (raw.source().clone(), masks.on_trial());
        resident.push(ResidentBatch { source, zone, rows, on_trial });
    }
    Ok(Split { resident, quarantined, counts, notes })
}

/// The rows of a mask, of which there are `count`.
///
/// Many columns are alike in all rows of a batch, such as the topic or the policy's version. Of these a slice is
/// as good, and costs nothing, unless it keeps the memory of many rows for the sake of a few.
fn select(rows: &RecordBatch, mask: BooleanBuffer, count: usize) -> Result<RecordBatch, ArrowError> {
    let filter = FilterBuilder::new(&BooleanArray::new(mask, None)).optimize().build();
    let slices = count >= rows.num_rows() / 4;
    let select = |column: &ArrayRef| {
        if slices && is_alike(column) { Ok(column.slice(0, count)) } else { filter.filter(column) }
    };
    let columns = rows.columns().iter().map(select).collect::<Result<_, _>>()?;
    RecordBatch::try_new(rows.schema(), columns)
}

/// Whether all rows of a column are seen to be alike.
fn is_alike(column: &ArrayRef) -> bool {
    fn all<T: PartialEq + Copy>(values: &[T]) -> bool {
        // By blocks, so that many values are compared at once and a difference is found soon.
        values
            .first()
            .is_none_or(|first| values.chunks(64).all(|block| block.iter().all(|value| value == first)))
    }
    if column.null_count() == column.len() {
        return true;
    }
    if column.null_count() > 0 {
        return false;
    }
    if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
        return dictionary.values().len() == 1 || all(dictionary.keys().values());
    }
    match column.data_type() {
        DataType::Int32 => column.as_primitive_opt::<Int32Type>().is_some_and(|column| all(column.values())),
        DataType::Int64 => column.as_primitive_opt::<Int64Type>().is_some_and(|column| all(column.values())),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
