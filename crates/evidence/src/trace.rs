//! Where the rows of a source lie and went: what must be known of a source that is revoked (docs/retention.md).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use situs_model::{LedgerKind, TableName, ZoneId};
use situs_store::{Criterion, StoreReader, Traced};

use crate::explain::{Mark, time_text};
use crate::statement::Statement;
use crate::tables::{self, ReadError};

/// What is traced.
#[derive(Debug, Clone)]
pub struct TraceSubject {
    /// The root of each zone's store.
    pub stores: BTreeMap<ZoneId, PathBuf>,
    /// The column that holds the device, by table, where it is not `device`.
    pub device_columns: BTreeMap<TableName, String>,
    /// Which rows.
    pub criterion: Criterion,
    /// Whether entries of the ledgers are signed, so that one that is not lifts no hold.
    pub signed: bool,
}

/// Rows of the source in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableTrace {
    /// The zone.
    pub zone: String,
    /// The table.
    pub table: String,
    /// The version that was read.
    pub version: u64,
    /// Rows of the source.
    pub rows: u64,
    /// Rows by day; empty text is no day.
    pub days: BTreeMap<String, u64>,
    /// Rows by file, relative to the table.
    pub files: BTreeMap<String, u64>,
    /// Rows by topic and partition, `TOPIC/PARTITION`.
    pub partitions: BTreeMap<String, u64>,
    /// Rows by site; empty text is none.
    pub sites: BTreeMap<String, u64>,
    /// Rows by each model that they feed, by their tags.
    pub models: BTreeMap<String, u64>,
    /// Rows by each market of these models, by their tags.
    pub markets: BTreeMap<String, u64>,
}

impl TableTrace {
    fn new(zone: &ZoneId, table: &TableName, traced: Traced) -> Self {
        let mut days: BTreeMap<String, u64> = BTreeMap::new();
        for file in &traced.files {
            *days.entry(file.day.clone().unwrap_or_default()).or_default() += file.rows;
        }
        let partitions = traced.partitions.iter();
        Self {
            zone: zone.to_string(),
            table: table.to_string(),
            version: traced.version,
            rows: traced.rows(),
            days,
            partitions: partitions
                .map(|((topic, part), (rows, ..))| (format!("{topic}/{part}"), *rows))
                .collect(),
            files: traced.files.into_iter().map(|file| (file.path, file.rows)).collect(),
            sites: traced.sites,
            models: traced.models,
            markets: traced.markets,
        }
    }
}

/// Where a source's rows lie and went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The criterion, as it was given.
    pub criterion: Criterion,
    /// Tables that hold rows of it.
    pub tables: Vec<TableTrace>,
    /// What is said of it, in order.
    pub statements: Vec<Statement>,
}

impl Trace {
    fn say(&mut self, mark: Mark, zone: Option<&ZoneId>, about: &'static str, text: String) {
        let zone = zone.map(ToString::to_string);
        self.statements.push(Statement { mark, zone, about, text });
    }
}

/// Looks for the rows of a source in every table of every store, and in the ledgers for what became of others.
/// Takes CPU time and reads files.
///
/// # Errors
/// If a store cannot be read.
pub async fn trace(subject: &TraceSubject) -> Result<Trace, ReadError> {
    let criterion = &subject.criterion;
    let mut trace = Trace { criterion: criterion.clone(), tables: Vec::new(), statements: Vec::new() };
    for (zone, root) in &subject.stores {
        let reader = StoreReader::open(root)?;
        for table in reader.tables()? {
            let quarantine = table == TableName::quarantine();
            if !quarantine && !tables::holds_rows(&table) {
                continue;
            }
            if quarantine
                && (criterion.site.is_some() || criterion.device.is_some() || criterion.class.is_some())
            {
                let text = "messages in quarantine have no site, device or class, and were not looked at";
                trace.say(Mark::NotAssessed, Some(zone), "quarantine", text.to_owned());
                continue;
            }
            // Received rows have the columns of the pipeline's table.
            let column = subject.device_columns.get(&tables::of_pipeline(&table)).map(String::as_str);
            let traced = reader.trace(&table, criterion, column).await?;
            if traced.rows() > 0 {
                let found = TableTrace::new(zone, &table, traced);
                say_table(&mut trace, zone, &found);
                trace.tables.push(found);
            }
        }
        ledger(&mut trace, subject, zone, &reader).await?;
    }
    if trace.tables.is_empty() {
        trace.say(Mark::Measured, None, "rows", "none in any table of any store".to_owned());
    }
    let sets = "Situs keeps no training sets, and does not know what a model has learnt from";
    trace.say(Mark::NotAssessed, None, "training", sets.to_owned());
    let beyond = "backups, snapshots of volumes, and files of older versions of tables";
    trace.say(Mark::NotAssessed, None, "copies", beyond.to_owned());
    Ok(trace)
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let texts: Vec<String> = counts
        .iter()
        .map(|(name, rows)| format!("{} ({rows} rows)", if name.is_empty() { "none" } else { name.as_str() }))
        .collect();
    texts.join(", ")
}

fn say_table(trace: &mut Trace, zone: &ZoneId, found: &TableTrace) {
    let text = format!(
        "{} in table {}, version {}, in {} files of {} days",
        found.rows,
        found.table,
        found.version,
        found.files.len(),
        found.days.len()
    );
    trace.say(Mark::Measured, Some(zone), "rows", text);
    trace.say(Mark::Measured, Some(zone), "days", counts(&found.days));
    trace.say(Mark::Measured, Some(zone), "partitions", counts(&found.partitions));
    if found.table == TableName::quarantine().as_str() {
        return;
    }
    trace.say(Mark::Measured, Some(zone), "sites", counts(&found.sites));
    let of = |counted: &BTreeMap<String, u64>| match counted.is_empty() {
        true => "none".to_owned(),
        false => counts(counted),
    };
    // The tags are measured; that a model learns from what it is fed with is what the policy says.
    trace.say(Mark::Measured, Some(zone), "tagged models", of(&found.models));
    trace.say(Mark::Measured, Some(zone), "tagged markets", of(&found.markets));
}

/// What the ledger says of rows that are not there any more, or elsewhere too.
async fn ledger(
    trace: &mut Trace,
    subject: &TraceSubject,
    zone: &ZoneId,
    reader: &StoreReader,
) -> Result<(), ReadError> {
    let criterion = trace.criterion.clone();
    for deletion in reader.deletions().await? {
        let (id, rows, at) = (&deletion.id, deletion.body.deleted(), time_text(deletion.at_us));
        let meant = &deletion.body.criterion;
        let bytes = match deletion.bytes_gone_us {
            Some(at) => format!("the bytes are gone, looked for at {}", time_text(at)),
            None => "the bytes may be there still".to_owned(),
        };
        let same = [
            (&meant.site, &criterion.site),
            (&meant.device, &criterion.device),
            (&meant.topic, &criterion.topic),
        ]
        .iter()
        .any(|(meant, asked)| asked.is_some() && meant == asked);
        let text = format!("{id} took {rows} rows of {meant} at {at}; {bytes}");
        if same {
            trace.say(Mark::Measured, Some(zone), "deletion", text);
            let by = format!("{id}: {}: {}", deletion.by, deletion.body.reason);
            trace.say(Mark::Declared, Some(zone), "asked for by", by);
        } else {
            let text = format!("{text}; whether some were of this source is not kept");
            trace.say(Mark::NotAssessed, Some(zone), "deletion", text);
        }
    }
    for hold in reader.holds(subject.signed).await? {
        trace.say(Mark::Declared, Some(zone), "hold", format!("`{}` on {}", hold.id, hold.criterion));
    }
    for entry in reader.zone_ledger().await?.entries() {
        let fact = &entry.fact;
        let moved = match fact.kind {
            LedgerKind::TransferSent => "rows were sent to another zone by transfer",
            LedgerKind::TransferReceived => "rows came from another zone by transfer",
            LedgerKind::DerivedSent => "something that was made of this zone's rows left by transfer",
            LedgerKind::DerivedReceived => "something that was made of another zone's rows came by transfer",
            _ => continue,
        };
        let text = format!(
            "{moved} {} at {}; rows that came are told with their table, of others it is not kept whether some were of this source",
            fact.subject,
            time_text(fact.at_us)
        );
        trace.say(Mark::NotAssessed, Some(zone), "transfer", text);
    }
    Ok(())
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in &self.statements {
            writeln!(f, "{statement}")?;
        }
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        write!(f, "{}: {rows} rows in {} tables", self.criterion, self.tables.len())
    }
}
