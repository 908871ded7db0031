//! The rows of the quarantine table: whole messages, byte for byte.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, ListBuilder, StructBuilder};
use arrow_array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Fields};
use situs_model::Quarantined;
use situs_model::store::{AppendQuarantine, FlushFacts};

use crate::columns::{Columns, now_us};
use crate::error::Fault;
use crate::work::{Claim, Layout, Rows, Work};

/// Where quarantine keeps offset and day.
pub(crate) const LAYOUT: Layout = Layout { offset: "offset", day: "quarantine_date" };

/// Bytes of a batch: below what one Arrow column of bytes can hold, whatever the messages' size.
const BYTES_OF_A_BATCH: usize = 256 << 20;

/// The append of these messages.
pub(crate) fn work(append: &AppendQuarantine) -> Result<Work, Fault> {
    let now = now_us();
    let claims: Vec<Claim> = append.shares.iter().map(Claim::of).collect();
    let mut of_claim: Vec<Vec<&Quarantined>> = vec![Vec::new(); claims.len()];
    for message in &append.messages {
        let claim = claims.iter().position(|claim| claim.source == message.source);
        let claim =
            claim.ok_or_else(|| Fault::stop(format!("{}: messages without a share", message.source)))?;
        of_claim[claim].push(message);
    }
    let mut batches = Vec::new();
    for (claim, messages) in claims.iter().zip(&of_claim) {
        let rows = rows(messages, &append.facts, now)?;
        batches.extend(rows.into_iter().map(|rows| (claim.source.clone(), rows)));
    }
    Ok(Work { layout: LAYOUT, claims, rows: Rows::Batches(batches), facts: append.facts.clone() })
}

/// The messages as rows, in batches of bounded size.
fn rows(messages: &[&Quarantined], facts: &FlushFacts, now_us: i64) -> Result<Vec<RecordBatch>, Fault> {
    let mut batches = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |message: &&&Quarantined| {
            bytes += message.memory_size();
            bytes <= BYTES_OF_A_BATCH
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (batch, later) = rest.split_at(count);
        batches.push(batch_of(batch, facts, now_us)?);
        rest = later;
    }
    Ok(batches)
}

fn batch_of(messages: &[&Quarantined], facts: &FlushFacts, now_us: i64) -> Result<RecordBatch, Fault> {
    let each = || messages.iter().copied();
    let mut columns = Columns::default();
    columns
        .words("topic", each().map(|m| &*m.source.topic))?
        .add("partition", false, Arc::new(each().map(|m| Some(m.source.partition)).collect::<Int32Array>()))
        .add("offset", false, Arc::new(each().map(|m| Some(m.offset)).collect::<Int64Array>()))
        .times("broker_time", true, each().map(|m| m.broker_time_ms.and_then(|ms| ms.checked_mul(1000))))
        .times("ingest_time", false, each().map(|m| Some(m.received_us)))
        .times("quarantined_at", false, each().map(|_| Some(now_us)))
        .days("quarantine_date", each().map(|_| now_us))
        .words("pipeline", each().map(|_| facts.pipeline.as_str()))?
        .words("reason", each().map(|m| m.reason.as_str()))?
        .add("pointer", true, Arc::new(each().map(|m| m.pointer.as_deref()).collect::<StringArray>()))
        .add("byte_position", true, Arc::new(each().map(|m| m.byte.and_then(signed)).collect::<Int64Array>()))
        .add(
            "rows",
            false,
            Arc::new(each().map(|m| i32::try_from(m.rows).ok().or(Some(i32::MAX))).collect::<Int32Array>()),
        )
        .add("key", true, Arc::new(each().map(|m| m.key.as_deref()).collect::<BinaryArray>()))
        .add("headers", false, headers(messages))
        .add("payload", true, Arc::new(each().map(|m| m.payload.as_deref()).collect::<BinaryArray>()))
        .words("policy", each().map(|_| facts.policy.as_str()))?
        .words("schema", each().map(|_| facts.schema.as_str()))?
        .words("flush_id", each().map(|_| facts.flush_id.as_str()))?;
    columns.build()
}

fn signed(value: u64) -> Option<i64> {
    i64::try_from(value).ok()
}

/// The headers as a list of key and value, both as bytes: Kafka does not promise that keys are text.
fn headers(messages: &[&Quarantined]) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("key", DataType::Binary, false),
        Field::new("value", DataType::Binary, true),
    ]);
    let entry = StructBuilder::new(
        fields.clone(),
        vec![Box::new(BinaryBuilder::new()), Box::new(BinaryBuilder::new())],
    );
    let element = Field::new("element", DataType::Struct(fields), false);
    let mut list = ListBuilder::new(entry).with_field(element);
    for message in messages {
        let entries = list.values();
        for (key, value) in &message.headers {
            if let Some(keys) = entries.field_builder::<BinaryBuilder>(0) {
                keys.append_value(key);
            }
            if let Some(values) = entries.field_builder::<BinaryBuilder>(1) {
                values.append_option(value.as_deref());
            }
            entries.append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}
