//! The rows of the receipts table.

use std::sync::Arc;

use arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Map, Value, json};
use situs_model::store::FlushFacts;
use situs_model::{Receipt, StoreReceipt};

use crate::columns::{Columns, is_plain_time};
use crate::error::Fault;
use crate::work::{Claim, Layout, Rows, Settled, Work};

/// Where receipts keep offset and day.
pub(crate) const LAYOUT: Layout = Layout { offset: "start_offset", day: "created_date" };

/// The append that settles these receipts.
pub(crate) fn work(receipts: &[Receipt]) -> Result<Work, Fault> {
    let first = receipts.first().ok_or_else(|| Fault::stop("a flush without receipts cannot settle"))?;
    let mut claims = Vec::with_capacity(receipts.len());
    let mut rows = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        if receipt.flush_id != first.flush_id {
            return Err(Fault::stop("receipts of two flushes cannot settle in one commit"));
        }
        if receipt.range.is_empty() {
            return Err(Fault::stop(format!("{}: a receipt covers no offset", receipt.source)));
        }
        if !is_plain_time(receipt.created_us) {
            return Err(Fault::stop(format!("{}: a receipt's time is absurd", receipt.source)));
        }
        rows.push((receipt.source.clone(), row(receipt)?));
        claims.push(Claim {
            app_id: receipt.source.app_id(),
            source: receipt.source.clone(),
            range: receipt.range,
            settled: Settled::Here,
        });
    }
    let facts = FlushFacts {
        flush_id: first.flush_id.clone(),
        pipeline: first.pipeline.clone(),
        policy: first.policy.clone(),
        schema: first.schema.clone(),
    };
    Ok(Work { layout: LAYOUT, claims, rows: Rows::Batches(rows), facts })
}

fn row(receipt: &Receipt) -> Result<RecordBatch, Fault> {
    let counts = &receipt.counts;
    let number = |value: u64| -> Arc<Int64Array> {
        Arc::new(Int64Array::from(vec![i64::try_from(value).unwrap_or(i64::MAX)]))
    };
    let text = |value: String| Arc::new(StringArray::from(vec![value]));
    let zones: Map<String, Value> = counts
        .stored
        .iter()
        .map(|(zone, count)| (zone.to_string(), json!({ "messages": count.messages, "rows": count.rows })))
        .collect();
    let quarantine: Map<String, Value> =
        counts.quarantined.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
    let stores: Vec<Value> = receipt.stores.iter().map(store).collect();
    let quarantine_store = receipt.quarantine.as_ref().map(|receipt| store(receipt).to_string());

    let mut columns = Columns::default();
    columns
        .add("flush_id", false, text(receipt.flush_id.clone()))
        .words("topic", std::iter::once(&*receipt.source.topic))?
        .add("partition", false, Arc::new(Int32Array::from(vec![receipt.source.partition])))
        .add("start_offset", false, Arc::new(Int64Array::from(vec![receipt.range.start.0])))
        .add("end_offset", false, Arc::new(Int64Array::from(vec![receipt.range.end.0])))
        .words("pipeline", std::iter::once(receipt.pipeline.as_str()))?
        .words("policy", std::iter::once(receipt.policy.as_str()))?
        .words("schema", std::iter::once(receipt.schema.as_str()))?
        .add("messages", false, number(counts.messages))
        .add("decoded", false, number(counts.decoded))
        .add("without_rows", false, number(counts.without_rows))
        .add("rejected", false, number(counts.rejected))
        .add("rows", false, number(counts.rows))
        .add("stored_messages", false, number(counts.stored_messages()))
        .add("stored_rows", false, number(counts.stored_rows()))
        .add("quarantined_messages", false, number(counts.quarantined_messages()))
        .add("quarantined_rows", false, number(counts.quarantined_rows))
        .add("zones", false, text(Value::Object(zones).to_string()))
        .add("quarantine", false, text(Value::Object(quarantine).to_string()))
        .add("stores", false, text(Value::Array(stores).to_string()))
        .add("quarantine_store", true, Arc::new(StringArray::from(vec![quarantine_store])))
        .times("created_at", false, std::iter::once(Some(receipt.created_us)))
        .days("created_date", std::iter::once(receipt.created_us));
    columns.build()
}

fn store(receipt: &StoreReceipt) -> Value {
    let files: Vec<Value> = receipt
        .files
        .iter()
        .map(|file| json!({ "path": file.path, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256 }))
        .collect();
    json!({
        "zone": receipt.store.zone.as_str(),
        "store": receipt.store.store_id,
        "version": receipt.version,
        "files": files,
    })
}
