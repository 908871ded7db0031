//! Where one record lies, why, and whether the archived policy says so still (docs/explain.md).

mod print;
mod recompute;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use situs_model::columns::names;
use situs_model::store::{Advice, StoreError, Versions};
use situs_model::{ClusterName, Coordinates, PipelineName, ReleaseState, TableName, ZoneId};
use situs_store::{
    Content, Coverage, FoundReceipt, FoundRows, PublicKey, QuarantineEntry, Retag, RootError, SignatureState,
    StoreReader,
};

use crate::rejudge::Judgement;

pub use report::{
    DeletionPart, Explanation, Mark, QuarantinedMessage, ReceiptPart, ReleasePart, RetagPart, RowGroup,
    State, Verdict, time_text,
};

/// The stores of a home.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The root of each zone's store.
    pub stores: BTreeMap<ZoneId, PathBuf>,
    /// The zone whose store keeps quarantine, receipts and the archive.
    pub home: ZoneId,
    /// The alias of the Kafka cluster that the records came from.
    pub cluster: ClusterName,
    /// Keys that may have signed; those that the home store has archived if none is given.
    pub public_keys: Vec<PublicKey>,
    /// Whether an unsigned receipt is nothing to be flagged.
    pub allow_unsigned: bool,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The record.
    pub record: Coordinates,
    /// Only this row of it; all if absent.
    pub row: Option<i32>,
}

/// Texts as they were when a record was judged.
pub trait Past: fmt::Debug {
    /// Policy and pipeline by these texts.
    ///
    /// # Errors
    /// What is missing or does not fit, for a person.
    fn judgement(&self, pipeline: &PipelineName, versions: &Versions) -> Result<Judgement, String>;

    /// What a message of quarantine becomes by these texts, alone: the reason why it cannot be placed, or
    /// `None` if it can.
    ///
    /// # Errors
    /// As above.
    fn reason(
        &self,
        entry: &QuarantineEntry,
        content: &Content,
        versions: &Versions,
    ) -> Result<Option<String>, String>;
}

/// Why nothing could be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// A root cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no store for the home zone.
    #[error("the home zone `{0}` has no store")]
    NoHome(ZoneId),
    /// The message has other rows.
    #[error("{record} has no row {row}; it has {count}")]
    NoSuchRow {
        /// The record.
        record: Coordinates,
        /// The row that was asked for.
        row: i32,
        /// How many it has.
        count: usize,
    },
}

/// The rows of the record in one file.
struct Stored {
    zone: ZoneId,
    table: TableName,
    found: FoundRows,
    /// `_row` of each.
    numbers: Vec<i32>,
}

/// Looks for a record in every table of every store, tells what the texts of the time say of it, and judges it
/// again. Takes CPU time and reads files.
///
/// # Errors
/// If a store cannot be read. That something does not hold is no error but a finding.
pub async fn explain(
    subject: &Subject,
    request: &Request,
    past: &dyn Past,
) -> Result<Explanation, ExplainError> {
    let record = &request.record;
    let home = subject.stores.get(&subject.home).ok_or_else(|| ExplainError::NoHome(subject.home.clone()))?;
    let home = StoreReader::open(home)?;
    // The receipts first: what is committed meanwhile is then not settled yet, and never lost.
    let coverage = home.find_receipts(subject.cluster.as_str(), record, &subject.public_keys)?;
    let ledger = home.ledger().await?;
    let mut stored = Vec::new();
    let mut readers = BTreeMap::new();
    for (zone, root) in &subject.stores {
        let reader = StoreReader::open(root)?;
        for table in reader.tables()?.into_iter().filter(|table| !table.is_reserved()) {
            for found in reader.find_rows(&table, record).await? {
                let column = found.rows.column_by_name(names::ROW);
                let numbers = column.and_then(|column| column.as_primitive_opt::<Int32Type>());
                let numbers = numbers.map(|column| column.values().to_vec()).unwrap_or_default();
                stored.push(Stored { zone: zone.clone(), table: table.clone(), found, numbers });
            }
        }
        readers.insert(zone.clone(), reader);
    }
    let quarantined = home.find_quarantined(record).await?;

    let mut explanation = Explanation::new(record, &coverage);
    find_deletions(record, &readers, &mut explanation).await?;
    let receipt = coverage.receipts.first();
    check_receipts(subject, &coverage, &mut explanation);
    check_places(&stored, receipt, &readers, &mut explanation)?;
    if let Some(row) = request.row
        && !stored.is_empty()
    {
        let count: usize = stored.iter().map(|stored| stored.numbers.len()).sum();
        if !stored.iter().any(|stored| stored.numbers.contains(&row)) {
            return Err(ExplainError::NoSuchRow { record: record.clone(), row, count });
        }
    }
    let release = match ledger.state(record) {
        ReleaseState::Held => None,
        ReleaseState::Begun(release) | ReleaseState::Released(release) => Some(release),
    };
    explanation.release = release.map(|release| ReleasePart::new(release, record));
    explanation.state = state(&coverage, record, &stored, !quarantined.is_empty(), &explanation);
    let versions = match (release, receipt) {
        // The rows of a release were made by the texts that its ledger names.
        (Some(release), _) => release
            .policy
            .parse()
            .ok()
            .zip(release.schema.parse().ok())
            .map(|(policy, schema)| (&release.pipeline, Versions { policy, schema, definition: None })),
        (None, Some(receipt)) => Some((&receipt.pipeline, receipt.versions.clone())),
        (None, None) => None,
    };
    let retags = find_retags(&readers, &mut explanation).await?;
    let texts = recompute::Texts { versions, retags: &retags, past, cluster: &subject.cluster };
    recompute::rows(&stored, request.row, &texts, record, &mut explanation);
    if quarantined.len() > 1 {
        explanation.flag(format!("it is in quarantine {} times", quarantined.len()));
    }
    for (place, entry, content) in &quarantined {
        let versions = receipt.map(|receipt| receipt.versions.clone());
        recompute::quarantined(place, entry, content, versions, past, &mut explanation);
    }
    check_state(&coverage, &mut explanation);
    explanation.conclude();
    Ok(explanation)
}

fn state(
    coverage: &Coverage,
    record: &Coordinates,
    stored: &[Stored],
    quarantined: bool,
    explanation: &Explanation,
) -> State {
    let settled = coverage.settled.is_some_and(|settled| record.offset < settled);
    let Some(receipt) = coverage.receipts.first() else {
        return if settled { State::NotCovered } else { State::NotSettled };
    };
    match (stored.is_empty(), quarantined) {
        (false, true) if explanation.release.as_ref().is_some_and(|release| release.done_at.is_none()) => {
            State::ReleaseUnfinished
        }
        (false, true) => State::Released,
        (false, false) => State::Stored,
        (true, true) => State::Quarantined,
        (true, false) if !explanation.deletions.is_empty() => State::Deleted,
        (true, false) => {
            let length = u64::try_from(receipt.end - receipt.start).unwrap_or(0);
            match (receipt.without_rows > 0, receipt.messages < length) {
                (true, false) => State::NoRows,
                (false, true) => State::NoMessage,
                (true, true) => State::NoRowsOrNoMessage,
                (false, false) => State::Missing,
            }
        }
    }
}

/// What deletions took of the record, as the ledgers of all stores say.
async fn find_deletions(
    record: &Coordinates,
    readers: &BTreeMap<ZoneId, StoreReader>,
    explanation: &mut Explanation,
) -> Result<(), ExplainError> {
    for (zone, reader) in readers {
        let found = match reader.find_deleted(record).await {
            Ok(found) => found,
            Err(error) if error.advice == Advice::Stop => {
                explanation
                    .flag(format!("zone {zone}: what deletions took cannot be told: {}", error.message));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        explanation.deletions.extend(found.into_iter().map(|found| DeletionPart {
            id: found.id,
            zone: zone.to_string(),
            table: found.table,
            rows: found.rows,
            by: found.by,
            reason: found.reason,
            at: time_text(found.at_us),
            bytes_gone_at: found.bytes_gone_us.map(time_text),
        }));
    }
    Ok(())
}

/// The re-taggings that the ledgers of all stores tell of.
async fn find_retags(
    readers: &BTreeMap<ZoneId, StoreReader>,
    explanation: &mut Explanation,
) -> Result<BTreeMap<ZoneId, Vec<Retag>>, ExplainError> {
    let mut retags = BTreeMap::new();
    for (zone, reader) in readers {
        match reader.retags().await {
            Ok(found) => {
                retags.insert(zone.clone(), found);
            }
            Err(error) if error.advice == Advice::Stop => {
                let why = format!("zone {zone}: what re-taggings did cannot be told: {}", error.message);
                explanation.flag(why);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(retags)
}

/// What does not hold of the receipts that cover the record.
fn check_receipts(subject: &Subject, coverage: &Coverage, explanation: &mut Explanation) {
    if coverage.receipts.len() > 1 {
        explanation.flag(format!("{} receipts cover its offset", coverage.receipts.len()));
    }
    let Some(receipt) = coverage.receipts.first() else { return };
    if receipt.hash.is_some() && !receipt.hash_holds {
        explanation.flag("the receipt's hash is not that of its content");
    }
    match &receipt.signature {
        SignatureState::Holds(_) => {}
        SignatureState::Unsigned if subject.allow_unsigned || receipt.hash.is_none() => {}
        SignatureState::Unsigned => explanation.flag("the receipt is not signed"),
        SignatureState::UnknownKey(id) => {
            explanation.flag(format!("the receipt is signed with key {id}, which is not known"));
        }
        SignatureState::Broken(id) => {
            explanation.flag(format!("the receipt's signature is not that of key {id}"));
        }
    }
}

/// What does not hold of the places where its rows lie.
fn check_places(
    stored: &[Stored],
    receipt: Option<&FoundReceipt>,
    readers: &BTreeMap<ZoneId, StoreReader>,
    explanation: &mut Explanation,
) -> Result<(), ExplainError> {
    let quarantine = TableName::quarantine();
    let of_tables = explanation.deletions.iter().filter(|deletion| deletion.table != quarantine.as_str());
    let deleted: BTreeSet<i32> = of_tables.flat_map(|deletion| deletion.rows.iter().copied()).collect();
    let mut seen = deleted.clone();
    for part in stored {
        for number in &part.numbers {
            if deleted.contains(number) {
                explanation.flag(format!("row {number} is there, and a deletion says that it is gone"));
            } else if !seen.insert(*number) {
                explanation.flag(format!("row {number} is stored more than once"));
            }
        }
        let Some(receipt) = receipt else { continue };
        if explanation.release.is_none() && part.table != TableName::of(&receipt.pipeline) {
            explanation.flag(format!(
                "zone {}: it lies in table {}, its receipt is that of pipeline {}",
                part.zone, part.table, receipt.pipeline
            ));
        }
        let named = receipt.stores.iter().filter(|store| store.store.zone == part.zone);
        let named = named.flat_map(|store| &store.files).find(|file| file.path == part.found.file);
        let hash = readers
            .get(&part.zone)
            .zip(named)
            .map(|(reader, _)| reader.sha256_of_file(&part.table, &part.found.file))
            .transpose()?
            .flatten();
        let Some(named) = named else { continue };
        let holds = hash.is_some_and(|hash| hash == named.sha256);
        if !holds {
            let (zone, table, file) = (&part.zone, &part.table, &part.found.file);
            explanation
                .flag(format!("zone {zone}: the SHA-256 of {table}/{file} is not that of its receipt"));
        }
        explanation.hashed.insert((part.zone.clone(), part.found.file.clone()), holds);
    }
    let last = seen.last().copied().unwrap_or(-1);
    if seen.len() as i64 != i64::from(last) + 1 {
        explanation.flag(format!("it has rows up to number {last}, but {} of them are there", seen.len()));
    }
    Ok(())
}

/// What does not hold of where it is found, all together.
fn check_state(coverage: &Coverage, explanation: &mut Explanation) {
    let settled = coverage.settled;
    match explanation.state {
        State::Missing => explanation.flag("its receipt covers it, but it is in no table"),
        State::Released if explanation.release.is_none() => {
            explanation.flag("it is in quarantine and in a zone's table, and no release says so");
        }
        State::NotCovered => {
            let settled = settled.map_or_else(|| "nothing".to_owned(), |settled| settled.to_string());
            explanation.flag(format!("the partition is settled up to {settled}, but no receipt covers it"));
        }
        _ => {}
    }
}
