//! The rows of the ledger of releases, and the right to write the next ones.

use std::sync::Arc;

use arrow_array::{Int32Array, Int64Array, RecordBatch};
use situs_model::store::{FlushFacts, StoreError};
use situs_model::{
    Coordinates, Ledger, LedgerRow, NextOffset, OffsetRange, Release, ReleaseEntry, ReleaseStep, Source,
    StoreIdentity, TableName,
};

use crate::columns::{Columns, is_plain_time};
use crate::error::Fault;
use crate::reader::StoreReader;
use crate::scan::{self, Rows};
use crate::work::{Claim, Layout, Rows as WorkRows, Settled, Work};
use crate::{names, tables};

/// Where the ledger keeps its number and the day.
pub(crate) const LAYOUT: Layout = Layout { offset: "number", day: "created_date" };
/// Keeps the number of the ledger's next commit. No partition's id: those have three more parts.
const APP_ID: &str = "situs/releases";
/// Columns that the ledger is read from.
const COLUMNS: &[&str] = &[
    "number",
    "release_id",
    "step",
    "topic",
    "partition",
    "offset",
    "pipeline",
    "reason",
    "zone",
    "store",
    "rows",
    "policy",
    "schema",
    "released_by",
    "at",
];

/// A table's version after the rows of a release were appended, by store.
pub(crate) type Versions = Vec<(StoreIdentity, Option<u64>)>;

/// The append of a step of a release to the ledger. It can be carried out only if `number` is the next
/// one, as whoever decided it saw: the ledger's own offset is compared and set like a partition's.
pub(crate) fn work(
    release: &Release,
    step: ReleaseStep,
    number: i64,
    at_us: i64,
    versions: &Versions,
    facts: &FlushFacts,
) -> Result<Work, Fault> {
    if release.entries.is_empty() {
        return Err(Fault::stop("a release without records"));
    }
    if !is_plain_time(at_us) {
        return Err(Fault::stop(format!("release {}: its time is absurd", release.id)));
    }
    let source = ledger_source()?;
    let rows = rows(release, step, number, at_us, versions)?;
    let claim = Claim {
        app_id: APP_ID.to_owned(),
        source: source.clone(),
        range: OffsetRange::new(NextOffset(number), NextOffset(number + 1)),
        settled: Settled::Here,
        epoch: None,
        topic_id: None,
    };
    // What tells a commit whose answer was lost from another's.
    let facts = FlushFacts { flush_id: format!("{}-{step}", release.id), ..facts.clone() };
    Ok(Work { layout: LAYOUT, claims: vec![claim], rows: WorkRows::Batches(vec![(source, rows)]), facts })
}

/// Stands where a partition would.
fn ledger_source() -> Result<Source, Fault> {
    let cluster = "ledger".parse().map_err(|_| Fault::stop("the ledger has no name"))?;
    Ok(Source { cluster, topic: "releases".into(), partition: 0 })
}

fn rows(
    release: &Release,
    step: ReleaseStep,
    number: i64,
    at_us: i64,
    versions: &Versions,
) -> Result<RecordBatch, Fault> {
    let each = || release.entries.iter();
    let table = release.table();
    let version = |entry: &ReleaseEntry| {
        let (_, version) = versions.iter().find(|(store, _)| *store == entry.target)?;
        version.and_then(|version| i64::try_from(version).ok())
    };
    let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    let mut columns = Columns::default();
    columns
        .add("number", false, Arc::new(each().map(|_| Some(number)).collect::<Int64Array>()))
        .words("release_id", each().map(|_| release.id.as_str()))?
        .words("step", each().map(|_| step.as_str()))?
        .words("topic", each().map(|entry| &*entry.record.topic))?
        .add("partition", false, Arc::new(each().map(|e| Some(e.record.partition)).collect::<Int32Array>()))
        .add("offset", false, Arc::new(each().map(|e| Some(e.record.offset)).collect::<Int64Array>()))
        .words("pipeline", each().map(|_| release.pipeline.as_str()))?
        .words("reason", each().map(|entry| entry.reason.as_str()))?
        .words("zone", each().map(|entry| entry.target.zone.as_str()))?
        .words("store", each().map(|entry| entry.target.store_id.as_str()))?
        .words("table", each().map(|_| table.as_str()))?
        .add("version", true, Arc::new(each().map(version).collect::<Int64Array>()))
        .add("rows", false, Arc::new(each().map(|e| Some(count(e.rows))).collect::<Int64Array>()))
        .words("policy", each().map(|_| release.policy.as_str()))?
        .words("schema", each().map(|_| release.schema.as_str()))?
        .words("released_by", each().map(|_| release.by.as_str()))?
        .times("at", false, each().map(|_| Some(at_us)))
        .days("created_date", each().map(|_| at_us));
    columns.build()
}

impl StoreReader {
    /// The releases from quarantine of a home store, as they are now.
    ///
    /// # Errors
    /// If the ledger is there but cannot be read.
    pub async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.read_ledger().await.map_err(|fault| fault.at(self.identity()))
    }

    async fn read_ledger(&self) -> Result<Ledger, Fault> {
        let table = TableName::releases();
        let folder = names::table(self.root(), &table);
        if !tables::exists(&folder)? {
            return Ok(Ledger::default());
        }
        let snapshot = self.read(&table).await?;
        tokio::task::spawn_blocking(move || {
            let mut ledger = Ledger::default();
            for file in &snapshot.files {
                let path = folder.join(&file.path);
                for batch in scan::open(&path, COLUMNS)? {
                    let batch = batch.map_err(|_| scan::unreadable(&path))?;
                    take_in(&mut ledger, &Rows::new(&path, &batch), batch.num_rows())?;
                }
            }
            Ok(ledger)
        })
        .await?
    }
}

fn take_in(ledger: &mut Ledger, rows: &Rows<'_>, count: usize) -> Result<(), Fault> {
    let (numbers, ids, steps) = (rows.longs("number")?, rows.texts("release_id")?, rows.texts("step")?);
    let (topics, partitions, offsets) =
        (rows.texts("topic")?, rows.ints("partition")?, rows.longs("offset")?);
    let (pipelines, reasons) = (rows.texts("pipeline")?, rows.texts("reason")?);
    let (zones, stores, row_counts) = (rows.texts("zone")?, rows.texts("store")?, rows.longs("rows")?);
    let (policies, schemas) = (rows.texts("policy")?, rows.texts("schema")?);
    let (names, times) = (rows.texts("released_by")?, rows.times("at")?);
    for row in 0..count {
        let bad = |column: &str| {
            Fault::stop(format!("the ledger of releases has a row whose `{column}` cannot be understood"))
        };
        let step = ReleaseStep::WORDS.iter().find(|(word, _)| *word == steps.value(row));
        let (_, step) = step.ok_or_else(|| bad("step"))?;
        let record = Coordinates {
            topic: topics.value(row).into(),
            partition: partitions[row],
            offset: offsets[row].ok_or_else(|| bad("offset"))?,
        };
        let target = StoreIdentity {
            zone: zones.value(row).parse().map_err(|_| bad("zone"))?,
            store_id: stores.value(row).to_owned(),
        };
        let taken = row_counts[row].and_then(|rows| u64::try_from(rows).ok());
        ledger.add(LedgerRow {
            number: numbers[row].ok_or_else(|| bad("number"))?,
            release_id: ids.value(row).to_owned(),
            step: *step,
            entry: ReleaseEntry {
                record,
                reason: reasons.value(row).to_owned(),
                target,
                rows: taken.ok_or_else(|| bad("rows"))?,
            },
            pipeline: pipelines.value(row).parse().map_err(|_| bad("pipeline"))?,
            policy: policies.value(row).to_owned(),
            schema: schemas.value(row).to_owned(),
            by: names.value(row).to_owned(),
            at_us: times[row].ok_or_else(|| bad("at"))?,
        });
    }
    Ok(())
}
