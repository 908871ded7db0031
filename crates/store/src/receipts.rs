//! The rows of the receipts table.

use std::sync::Arc;

use arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use situs_model::store::FlushFacts;
use situs_model::{Counts, Epoch, NextOffset, OffsetRange, Receipt, Source, StoreReceipt};

use crate::chain::{self, Chained, Hash, linked_schema};
use crate::columns::{Columns, is_plain_time, no_facts};
use crate::error::Fault;
use crate::key::ReceiptKey;
use crate::work::{Claim, Layout, Rows, Settled, Work};

/// Where receipts keep offset and day.
pub(crate) const LAYOUT: Layout = Layout { offset: "start_offset", day: "created_date" };

/// Receipts that do not name the receipts before them yet, since another process may settle between.
#[derive(Debug)]
pub(crate) struct Unlinked {
    /// A row for each claim of the append, in their order.
    rows: Vec<(Source, RecordBatch)>,
    /// Signs them.
    key: Option<Arc<ReceiptKey>>,
}

/// Receipts as they are committed.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) rows: Vec<(Source, RecordBatch)>,
    /// The hash of each.
    pub(crate) hashes: Vec<Hash>,
}

impl Unlinked {
    /// The columns that they will have; `None` without receipts.
    pub(crate) fn columns(&self) -> Option<SchemaRef> {
        self.rows.first().map(|(_, row)| linked_schema(row))
    }

    /// Lets each continue the receipt with the given hash, and signs it.
    pub(crate) fn link(&self, previous: &[Option<Hash>]) -> Result<Linked, Fault> {
        let mut linked = Linked { rows: Vec::new(), hashes: Vec::new() };
        for (at, (source, row)) in self.rows.iter().enumerate() {
            let previous = previous.get(at).and_then(Option::as_deref);
            let (row, hash) = chain::link(Chained::Receipts, row, previous, self.key.as_deref())?;
            linked.rows.push((source.clone(), row));
            linked.hashes.push(hash);
        }
        Ok(linked)
    }
}

/// The append that settles these receipts, signed with a key if there is one.
pub(crate) fn work(receipts: &[Receipt], key: Option<Arc<ReceiptKey>>) -> Result<Work, Fault> {
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
            epoch: Some(receipt.epoch),
            topic_id: receipt.topic_id,
        });
    }
    let facts = FlushFacts {
        flush_id: first.flush_id.clone(),
        pipeline: first.pipeline.clone(),
        policy: first.policy.clone(),
        schema: first.schema.clone(),
        definition: first.definition.clone(),
    };
    Ok(Work { layout: LAYOUT, claims, rows: Rows::Receipts(Unlinked { rows, key }), facts })
}

/// The columns of the table.
pub(crate) fn columns() -> Result<SchemaRef, Fault> {
    let facts = no_facts()?;
    let cluster = "none".parse().map_err(|_| Fault::stop("`none` is no name of a cluster"))?;
    let receipt = Receipt {
        flush_id: facts.flush_id,
        source: Source { cluster, topic: "".into(), partition: 0 },
        topic_id: None,
        epoch: Epoch::default(),
        range: OffsetRange::new(NextOffset(0), NextOffset(0)),
        pipeline: facts.pipeline,
        policy: facts.policy,
        schema: facts.schema,
        definition: facts.definition,
        counts: Counts::default(),
        stores: Vec::new(),
        quarantine: None,
        created_us: 0,
    };
    Ok(linked_schema(&row(&receipt)?))
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

    let topic_id = receipt.topic_id.map(|id| id.to_string());

    let mut columns = Columns::default();
    columns
        .add("flush_id", false, text(receipt.flush_id.clone()))
        .words("cluster", std::iter::once(receipt.source.cluster.as_str()))?
        .words("topic", std::iter::once(&*receipt.source.topic))?
        .add("partition", false, Arc::new(Int32Array::from(vec![receipt.source.partition])))
        .add("start_offset", false, Arc::new(Int64Array::from(vec![receipt.range.start.0])))
        .add("end_offset", false, Arc::new(Int64Array::from(vec![receipt.range.end.0])))
        .words("pipeline", std::iter::once(receipt.pipeline.as_str()))?
        .words("policy", std::iter::once(receipt.policy.as_str()))?
        .words("schema", std::iter::once(receipt.schema.as_str()))?
        .words("definition", std::iter::once(receipt.definition.as_str()))?
        .add("epoch", false, Arc::new(Int64Array::from(vec![receipt.epoch.0])))
        .add(chain::TOPIC_ID, true, Arc::new(StringArray::from(vec![topic_id])))
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

/// What `zones` holds of a zone, as JSON.
#[derive(Deserialize)]
pub(crate) struct ZoneText {
    pub(crate) messages: u64,
    pub(crate) rows: u64,
}

/// What `stores` holds of each store, and `quarantine_store` of quarantine, as JSON.
#[derive(Deserialize)]
pub(crate) struct StoreText {
    pub(crate) zone: String,
    pub(crate) store: String,
    pub(crate) files: Vec<FileText>,
}

/// A file of a store, as JSON.
#[derive(Deserialize)]
pub(crate) struct FileText {
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
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
