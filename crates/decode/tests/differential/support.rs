//! What the tests and the fuzz target share: schemas, and the comparison of the fast path with the
//! general one, with each message alone, and with an oracle on top of `serde_json`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use serde_json::value::RawValue;
use situs_decode::{Decoder, Schema};
use situs_model::{ClockBounds, DecodedBatch, DeviceSource, NextOffset, RawBatch, RejectCode, Source};

/// The fields of the schema that the oracle knows, and their types.
pub const FIELDS: [(&str, &str); 8] = [
    ("f1", "float64"),
    ("i1", "int64"),
    ("i2", "int32"),
    ("b1", "boolean"),
    ("t1", "utf8"),
    ("d1", "dictionary"),
    ("l1", "list<float64>"),
    ("l2", "list<utf8>"),
];

const FLAT: &str = r#"{"type": "object", "properties": {
    "f1": {"type": ["number", "string"], "x-situs": {"arrow": "float64"}},
    "i1": {"type": ["number", "string"], "x-situs": {"arrow": "int64"}},
    "i2": {"type": ["number", "string"], "x-situs": {"arrow": "int32"}},
    "b1": {"type": "boolean"},
    "t1": {"type": "string"},
    "d1": {"type": "string", "x-situs": {"arrow": "dictionary"}},
    "l1": {"type": "array", "items": {"type": "number"}},
    "l2": {"type": "array", "items": {"type": "string"}}
}}"#;

const NESTED: &str = r#"{"type": "object", "x-situs": {"unknown": "keep", "max-depth": 8}, "required": ["id", "pos"], "properties": {
    "id": {"type": "string", "x-situs": {"role": "device", "arrow": "dictionary"}},
    "t": {"type": ["string", "integer"], "x-situs": {"column": "at", "role": "event-time", "time": ["rfc3339", "iso8601-local", "epoch-ms"], "sentinels": ["never"]}},
    "u": {"type": "string", "x-situs": {"column": false, "role": "event-time", "rank": 1, "time": ["epoch-ns", "rfc3339"]}},
    "pos": {"type": "object", "required": ["x"], "properties": {
        "x": {"type": "number"}, "y": {"type": "number", "x-situs": {"sentinels": ["-999"]}},
        "deep": {"type": "object", "properties": {"z": {"type": "integer"}, "name": {"type": ["string", "number", "boolean"], "x-situs": {"arrow": "utf8"}}}}
    }},
    "raw": {"x-situs": {"arrow": "json"}},
    "unused": {"x-situs": {"column": false}},
    "claim": {"type": "string", "x-situs": {"role": "claim"}}
}}"#;

const VALUES: &str = r#"{"type": "object", "x-situs": {"event-time-ns": true}, "properties": {
    "kind": {"type": "string", "x-situs": {"column": false}},
    "v": {"x-situs": {"value": {"number": "n", "text": "s", "list": "l", "numeric-strings": {"any": [{"field": "kind", "in": ["SAMPLE", "COUNT"]}]}}, "sentinels": ["off"]}},
    "w": {"x-situs": {"arrow": "dictionary", "value": {"text": "ws", "numeric-strings": true}}},
    "x": {"x-situs": {"value": {"number": "xn", "text": "xs", "numeric-strings": true}}},
    "t": {"type": ["number", "string"], "x-situs": {"column": "at", "time": ["epoch-us", "epoch-s", "rfc3339"], "role": "event-time"}}
}}"#;

/// The schemas, and where each takes the device id from.
pub fn schemas() -> Vec<(&'static str, Arc<Schema>)> {
    let repository = |path: &str| {
        let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        // The fuzz target's manifest lies one folder deeper.
        let deeper = path.replace("/fuzz/../../", "/fuzz/../../../");
        std::fs::read_to_string(&path)
            .or_else(|_| std::fs::read_to_string(deeper))
            .expect("a schema of this repository")
    };
    let header = DeviceSource::Header("dev".to_owned());
    let all = [
        ("flat", FLAT.to_owned(), DeviceSource::Payload),
        ("nested", NESTED.to_owned(), DeviceSource::Payload),
        ("values", VALUES.to_owned(), DeviceSource::Key),
        ("state", repository("schemas/cnc.state/v1.json"), DeviceSource::Payload),
        ("observation", repository("schemas/cnc.observation/v1.json"), header),
        ("waveform", repository("schemas/cnc.waveform/v1.json"), DeviceSource::Key),
    ];
    all.into_iter()
        .map(|(name, text, device)| match Schema::parse(name, &text, &device) {
            Ok(schema) => (name, Arc::new(schema)),
            Err(problems) => panic!("{problems}"),
        })
        .collect()
}

/// A batch of messages; some come with a key or a header, some without.
fn batch(messages: &[(i64, &[u8])]) -> Arc<RawBatch> {
    let source = Source { cluster: "kafka".parse().expect("a name"), topic: "t".into(), partition: 0 };
    let mut raw = RawBatch::new(source, NextOffset(0), 1_700_000_001_000_000);
    for (offset, payload) in messages {
        let id = ["dev-1", "dev-2", "a device with a long name", "d\u{e9}v"][*offset as usize % 4].as_bytes();
        let bytes = if offset % 11 == 10 { &b"\xff"[..] } else { id };
        let key = (offset % 7 != 6).then_some(bytes);
        let header = (offset % 5 != 4).then_some((&b"dev"[..], Some(bytes)));
        let time = (offset % 13 != 12).then_some(1_700_000_000_123 + offset);
        raw.push(*offset, time, key, Some(payload), header.into_iter());
    }
    Arc::new(raw)
}

/// A decoder that flags times: the batches' messages have them on both sides of these bounds.
fn decoder(schema: &Arc<Schema>) -> Decoder {
    let bounds =
        ClockBounds { ahead: Some(Duration::from_secs(300)), behind: Some(Duration::from_secs(86_400)) };
    Decoder::new(schema.clone(), 1 << 20).with_clock(bounds)
}

/// Compares all ways to decode messages. Gives the rows that came by the fast path.
pub fn compare(schema: &Arc<Schema>, is_flat: bool, messages: &[&[u8]]) -> u64 {
    let mut fast = decoder(schema);
    let mut general = decoder(schema).without_fast_path();
    // Three times: what the fast path learns shows later. The last time in smaller batches.
    let numbered: Vec<(i64, &[u8])> =
        (0..).zip(messages.iter().copied().cycle().take(3 * messages.len())).collect();
    let (twice, third) = numbered.split_at(2 * messages.len());
    let mut batches = vec![twice];
    batches.extend(third.chunks(third.len().div_ceil(3).max(1)));
    let mut last = Vec::new();
    for part in batches {
        let raw = batch(part);
        let (one, other) = (fast.decode(raw.clone()), general.decode(raw));
        assert_eq!(one.rejects, other.rejects);
        assert_eq!(one.notes, other.notes);
        assert_eq!(one.message_of_row, other.message_of_row);
        same_rows(&one.rows, &other.rows);
        last = vec![(part, other)];
    }
    // A message alone is what it is among others. (Blocks know of the blocks before them.)
    for (part, decoded) in last {
        for (index, message) in part.iter().enumerate() {
            let alone = decoder(schema).without_fast_path().decode(batch(&[*message]));
            same_as_alone(&decoded, index as u32, &alone);
            judged(message.1, &alone);
            if is_flat {
                flat(message.1, &alone);
            }
        }
    }
    fast.fast_rows()
}

fn same_rows(one: &RecordBatch, other: &RecordBatch) {
    assert_eq!(one.num_rows(), other.num_rows());
    for ((field, one), other) in one.schema().fields().iter().zip(one.columns()).zip(other.columns()) {
        for row in 0..one.len() {
            let (left, right) = (one.slice(row, 1), other.slice(row, 1));
            assert_eq!(left.to_data(), right.to_data(), "column {} in row {row}", field.name());
        }
    }
}

fn same_as_alone(decoded: &DecodedBatch, index: u32, alone: &DecodedBatch) {
    let reject = decoded.rejects.iter().find(|reject| reject.message == index);
    let place = |reject: &situs_model::Reject| (reject.code, reject.pointer.clone(), reject.byte);
    assert_eq!(reject.map(place), alone.rejects.first().map(place));
    let first = decoded.message_of_row.partition_point(|message| *message < index);
    let rows = decoded.message_of_row.iter().filter(|message| **message == index).count();
    assert_eq!(rows, alone.rows.num_rows());
    if rows > 0 {
        let without_gap = |batch: &RecordBatch| -> Vec<_> {
            let fields = batch.schema();
            let columns = fields.fields().iter().zip(batch.columns());
            columns
                .filter(|(field, _)| field.name() != "gap_before")
                .map(|(_, column)| column.to_data())
                .collect()
        };
        assert_eq!(without_gap(&decoded.rows.slice(first, rows)), without_gap(&alone.rows));
    }
}

/// The text without the mark that is stripped.
fn unmarked(payload: &[u8]) -> &[u8] {
    payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload)
}

/// Whether a text is JSON, as `serde_json` sees it.
fn judged(payload: &[u8], decoded: &DecodedBatch) {
    use RejectCode::{Empty, InvalidJson, InvalidUtf8, NumberOutOfRange, TooDeep};
    let code = decoded.rejects.first().map(|reject| reject.code);
    match serde_json::from_slice::<serde_json::Value>(unmarked(payload)) {
        Ok(_) => assert!(!matches!(code, Some(Empty | InvalidJson | InvalidUtf8)), "{code:?}"),
        Err(_) => assert!(
            matches!(code, Some(Empty | InvalidJson | InvalidUtf8 | NumberOutOfRange | TooDeep)),
            "{code:?}"
        ),
    }
}

/// A value of a column.
#[derive(Debug, PartialEq)]
enum Cell {
    Null,
    Double(u64),
    Whole(i64),
    Truth(bool),
    Text(String),
    List(Vec<Cell>),
}

/// What the flat schema makes of a message, computed without any of our code.
fn flat(payload: &[u8], decoded: &DecodedBatch) {
    let Ok(text) = std::str::from_utf8(unmarked(payload)) else { return };
    // The value as a whole has been judged; here its fields as they are written.
    if serde_json::from_str::<serde_json::Value>(text).is_err() {
        return;
    }
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text) else {
        assert_eq!(decoded.rejects.len(), 1, "no object");
        return;
    };
    let cells: Option<Vec<Cell>> = FIELDS
        .iter()
        .map(|(name, arrow)| fields.get(*name).map_or(Some(Cell::Null), |raw| expected(arrow, raw.get())))
        .collect();
    let reject = decoded.rejects.first().map(|reject| reject.code);
    // Numbers that no 64 bits hold are refused wherever they stand, and so is depth.
    if matches!(reject, Some(RejectCode::NumberOutOfRange)) && holds_huge(text)
        || matches!(reject, Some(RejectCode::TooDeep))
    {
        return;
    }
    match cells {
        None => assert!(reject.is_some(), "taken"),
        Some(cells) => {
            assert_eq!(reject, None);
            for ((name, _), expected) in FIELDS.iter().zip(cells) {
                let column = decoded.rows.column_by_name(name).expect("a column");
                assert_eq!(cell(column, 0), expected, "{name}");
            }
        }
    }
}

/// Whether a whole number beyond 64 bits stands in a JSON text.
fn holds_huge(text: &str) -> bool {
    let (mut in_string, mut escaped, mut word) = (false, false, String::new());
    let is_huge = |word: &str| {
        !word.is_empty()
            && !word.contains(['.', 'e', 'E'])
            && word.parse::<u64>().is_err()
            && word.parse::<i64>().is_err()
    };
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_digit() || "+-.eE".contains(c) && !(word.is_empty() && c != '-') {
            word.push(c);
        } else {
            if is_huge(&word) {
                return true;
            }
            word.clear();
            in_string = c == '"';
        }
    }
    is_huge(&word)
}

fn expected(arrow: &str, raw: &str) -> Option<Cell> {
    let string = serde_json::from_str::<String>(raw).ok();
    if raw == "null" || string.as_deref().is_some_and(|text| matches!(text, "" | "UNAVAILABLE")) {
        return Some(Cell::Null);
    }
    let number = |raw: &str| -> Option<Option<String>> {
        match serde_json::from_str::<String>(raw) {
            Ok(text) => {
                let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text).to_ascii_lowercase();
                if matches!(unsigned.as_str(), "nan" | "inf" | "infinity") {
                    return Some(None);
                }
                // A number in a string is written as JSON writes numbers, with nothing around it.
                let is_number = !text.contains(|c: char| c.is_whitespace())
                    && !text.starts_with(['"', '[', '{', 't', 'f', 'n'])
                    && (serde_json::from_str::<Box<RawValue>>(&text).is_ok());
                is_number.then_some(Some(text))
            }
            Err(_) => raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| Some(raw.to_owned())),
        }
    };
    match arrow {
        "float64" => match number(raw)? {
            None => Some(Cell::Null),
            Some(text) => double(&text).map(Cell::Double),
        },
        "int64" | "int32" => match number(raw)? {
            None => Some(Cell::Null),
            Some(text) => {
                let value = whole(&text)?;
                (arrow == "int64" || i32::try_from(value).is_ok()).then_some(Cell::Whole(value))
            }
        },
        "boolean" => raw.parse().ok().map(Cell::Truth),
        "utf8" | "dictionary" => string.map(Cell::Text),
        _ => {
            let entries = serde_json::from_str::<Vec<Box<RawValue>>>(raw).ok()?;
            let of = if arrow == "list<utf8>" { "utf8" } else { "float64" };
            entries.iter().map(|raw| expected(of, raw.get())).collect::<Option<Vec<_>>>().map(Cell::List)
        }
    }
}

/// The bits of a number as a double: decimals rounded to the nearest, whole numbers only if they fit.
fn double(text: &str) -> Option<u64> {
    if text.contains(['.', 'e', 'E']) {
        return text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::to_bits);
    }
    if text == "-0" {
        return Some((-0.0_f64).to_bits());
    }
    let value: i128 = text.parse().ok()?;
    let fits =
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value) && (value as f64) as i128 == value;
    fits.then_some((value as f64).to_bits())
}

/// A number that is whole and fits 64 bits, by its digits.
fn whole(text: &str) -> Option<i64> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{after}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let shift = exponent.checked_sub(after.len() as i64)?;
    let kept = digits.trim_end_matches('0');
    let zeros = (digits.len() - kept.len()) as i64 + shift;
    if zeros < 0 || kept.len() as i64 + zeros > 19 {
        return None;
    }
    let value: i128 = format!("{kept}{}", "0".repeat(zeros as usize)).parse().ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

fn cell(array: &dyn Array, row: usize) -> Cell {
    use arrow_schema::DataType;
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Int64 => Cell::Whole(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Cell::Whole(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Boolean => Cell::Truth(array.as_boolean().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Dictionary(..) => {
            let array = array.as_dictionary::<Int32Type>();
            cell(array.values(), array.keys().value(row) as usize)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            Cell::List((0..list.len()).map(|i| cell(&list, i)).collect())
        }
        other => panic!("{other}"),
    }
}

/// Decodes a batch by both paths together.
pub fn decode(schema: &Arc<Schema>, messages: &[Vec<u8>]) -> DecodedBatch {
    let messages: Vec<(i64, &[u8])> = (0..).zip(messages.iter().map(Vec::as_slice)).collect();
    decoder(schema).decode(batch(&messages))
}

/// What becomes of one message: the code of its reject, and its number, be it in `n` or in `i`.
pub fn outcome(schema: &Arc<Schema>, message: &[u8]) -> (Option<String>, Option<String>) {
    let decoded = decoder(schema).decode(batch(&[(0, message)]));
    let reject = decoded.rejects.first().map(|reject| reject.code.as_str().to_owned());
    let column =
        |name: &str| decoded.rows.column_by_name(name).filter(|column| column.len() > column.null_count());
    let value = match (column("n"), column("i")) {
        (Some(n), _) => Some(format!("{:?}", n.as_primitive::<Float64Type>().value(0))),
        (_, Some(i)) => Some(i.as_primitive::<Int64Type>().value(0).to_string()),
        _ => None,
    };
    (reject, value.map(|value| value.strip_suffix(".0").map_or(value.clone(), str::to_owned)))
}

/// An input of the fuzz target: the schema's number, then messages, one a line.
pub fn fuzz(schemas: &[(&'static str, Arc<Schema>)], data: &[u8]) {
    let Some((schema, text)) = data.split_first() else { return };
    let (name, schema) = &schemas[usize::from(*schema) % schemas.len()];
    let messages: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(64).collect();
    compare(schema, *name == "flat", &messages);
}
