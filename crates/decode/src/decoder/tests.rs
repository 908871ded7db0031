//! Tests of whole messages. Rows are compared as JSON values.

mod fields;
mod hostile;
mod oracle;
mod outcomes;
mod rows;

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Value, json};
use situs_model::{NextOffset, invariant};

use super::*;

/// The time at which the broker of these tests takes every message, in ms.
const BROKER_MS: i64 = 1_700_000_000_123;

fn source(partition: i32) -> Source {
    Source { cluster: "kafka".parse().unwrap(), topic: "t".into(), partition }
}

fn compile(text: &str, device: &DeviceSource) -> Arc<Schema> {
    match Schema::parse("s.json", text, device) {
        Ok(schema) => Arc::new(schema),
        Err(problems) => panic!("{problems}"),
    }
}

/// A schema with these `properties`, and `x-situs` at its top.
fn schema(top: Value, properties: Value) -> Arc<Schema> {
    schema_requiring(top, properties, json!([]))
}

fn schema_requiring(top: Value, properties: Value, required: Value) -> Arc<Schema> {
    let text = json!({"type": "object", "x-situs": top, "properties": properties, "required": required});
    compile(&text.to_string(), &DeviceSource::Payload)
}

fn batch(payloads: &[&[u8]]) -> Arc<RawBatch> {
    let mut raw = RawBatch::new(source(0), NextOffset(10), 1_700_000_001_000_000);
    for (i, payload) in payloads.iter().enumerate() {
        raw.push(10 + i as i64, Some(BROKER_MS), None, Some(payload), std::iter::empty());
    }
    Arc::new(raw)
}

fn decoder(schema: &Arc<Schema>) -> Decoder {
    Decoder::new(schema.clone(), 1 << 20)
}

/// Decodes messages and checks what must hold of every batch.
fn decode(schema: &Arc<Schema>, payloads: &[&[u8]]) -> DecodedBatch {
    let decoded = decoder(schema).decode(batch(payloads));
    check(schema, &decoded);
    decoded
}

/// EO-1, and that the columns are what the schema says.
fn check(schema: &Schema, decoded: &DecodedBatch) {
    assert_eq!(&decoded.rows.schema(), schema.arrow_schema());
    assert_eq!(decoded.rows.num_rows(), decoded.message_of_row.len());
    assert!(decoded.message_of_row.is_sorted());
    let counts = situs_model::Counts {
        messages: decoded.raw.len() as u64,
        decoded: decoded.messages_with_rows(),
        without_rows: decoded.notes.messages_without_rows(),
        rejected: decoded.rejects.len() as u64,
        ..Default::default()
    };
    assert!(invariant::eo1(&counts), "EO-1: {counts:?}");
    for reject in &decoded.rejects {
        assert!(!decoded.message_of_row.contains(&reject.message), "a reject left rows");
        if let (Some(byte), Some(payload)) = (reject.byte, decoded.raw.get(reject.message as usize).payload) {
            assert!(byte <= payload.len() as u64);
        }
    }
    let rows = decoded.rows.column_by_name("_row").unwrap().as_primitive::<Int32Type>();
    let mut expected = 0;
    for (i, message) in decoded.message_of_row.iter().enumerate() {
        let same = i > 0 && decoded.message_of_row[i - 1] == *message;
        expected = if same { expected + 1 } else { 0 };
        assert_eq!(rows.value(i), expected);
    }
}

/// A value of a column as JSON; lists and dictionaries as what they stand for.
fn cell(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value(row)),
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Timestamp(..) => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Dictionary(..) => {
            let array = array.as_dictionary::<Int32Type>();
            cell(array.values(), array.keys().value(row) as usize)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            (0..list.len()).map(|i| cell(&list, i)).collect()
        }
        other => panic!("{other}"),
    }
}

/// The row as JSON, with the columns of the payload, `event_time` and `_quality` that are not null.
fn row(batch: &RecordBatch, row: usize) -> Value {
    let shown = |name: &str| !name.starts_with('_') && name != "event_date" && name != "event_time";
    let columns: BTreeMap<String, Value> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| shown(field.name()) || matches!(field.name().as_str(), "_quality" | "_extra"))
        .map(|(field, column)| (field.name().clone(), cell(column, row)))
        .filter(|(name, value)| !(value.is_null() || (name == "_quality" && value == "event_time:broker")))
        .collect();
    json!(columns)
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Value> {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("{name}"));
    (0..batch.num_rows()).map(|row| cell(column, row)).collect()
}

/// The rows that one message gives.
fn rows_of(schema: &Arc<Schema>, payload: &str) -> Vec<Value> {
    let decoded = decode(schema, &[payload.as_bytes()]);
    assert_eq!(decoded.rejects, [], "{payload:.200}");
    (0..decoded.rows.num_rows()).map(|i| row(&decoded.rows, i)).collect()
}

/// Code and pointer of the reject that one message gives.
fn reject_of(schema: &Arc<Schema>, payload: &str) -> (RejectCode, String) {
    let decoded = decode(schema, &[payload.as_bytes()]);
    assert_eq!(decoded.rejects.len(), 1, "{payload:.200}");
    let reject = &decoded.rejects[0];
    (reject.code, reject.pointer.clone().unwrap_or_default())
}
