//! The text of log entries.

use std::collections::HashMap;

use deltalake::kernel::{
    Action, Add, CommitInfo, MetadataExt as _, Protocol, Remove, StructType, Transaction, new_metadata,
};
use serde_json::{Value, json};
use situs_model::store::FlushFacts;
use situs_model::{Class, Epoch, FileFact, OffsetRange, Source, StoreIdentity, TableName};

use crate::encode::CLASS;
use crate::encode::files::Written;
use crate::error::Fault;
use crate::log::{self, TableState};
use crate::maintain::retag::commit::RetagCommit;
use crate::work::{Keep, Layout, Work};

/// Says who wrote a commit or a file.
const ENGINE: &str = concat!("situs/", env!("CARGO_PKG_VERSION"));
/// The tag by which the log gives the hash of a compacted file, of which no receipt tells.
const SHA256: &str = "situs.sha256";
/// The tag by which the log gives the number of rows of a file that a deletion removed.
const ROWS: &str = "situs.rows";
/// Names the deletion that a commit belongs to.
const DELETION: &str = "situs.deletion";

/// The entry that creates a table.
pub(crate) fn create(name: &TableName, schema: &StructType, layout: Layout) -> Result<Vec<u8>, Fault> {
    let refused = |_| Fault::stop("delta-rs does not take the table's columns");
    let configuration: HashMap<String, String> = HashMap::new();
    let metadata = new_metadata(schema, [layout.day], configuration)
        .and_then(|metadata| metadata.with_name(name.as_str().to_owned()))
        .map_err(refused)?;
    let protocol: Protocol = serde_json::from_value(json!({
        "minReaderVersion": log::READER_VERSION,
        "minWriterVersion": log::WRITER_VERSION,
    }))
    .map_err(|_| Fault::stop("delta-rs does not take the table's protocol"))?;
    let info = commit_info("CREATE TABLE", None, layout, HashMap::new());
    lines(&[info, Action::Protocol(protocol), Action::Metadata(metadata)])
}

/// The entry that tells `table` of new owners of partitions.
pub(crate) fn fence(
    table: &TableState,
    layout: Layout,
    owners: &[(&Source, Epoch)],
) -> Result<Vec<u8>, Fault> {
    let now = chrono::Utc::now().timestamp_millis();
    // Two processes may say the same in the same millisecond; each must be able to tell its own entry.
    let info = HashMap::from([("situs.fence".to_owned(), json!(uuid::Uuid::now_v7().to_string()))]);
    let mut actions = vec![commit_info("FENCE", Some(table.version), layout, info)];
    for (source, epoch) in owners {
        actions.push(Action::Txn(Transaction::new_with_last_update(source.epoch_id(), epoch.0, Some(now))));
    }
    lines(&actions)
}

/// The entry of an append to `table`.
pub(crate) fn append(
    table: &TableState,
    widened: Option<&StructType>,
    work: &Work,
    keeps: &[Keep],
    files: &[Written],
) -> Result<Vec<u8>, Fault> {
    let now = chrono::Utc::now().timestamp_millis();
    let moved: Vec<(&str, OffsetRange)> = work
        .claims
        .iter()
        .zip(keeps)
        .filter_map(|(claim, keep)| {
            let start = match keep {
                Keep::All => claim.range.start,
                Keep::From(from) => *from,
                Keep::Nothing => return None,
            };
            Some((claim.app_id.as_str(), OffsetRange::new(start, claim.range.end)))
        })
        .collect();
    let topic_ids: serde_json::Map<String, Value> =
        work.topic_ids().map(|(id, topic)| (id.to_owned(), json!(topic.to_string()))).collect();
    let ranges: serde_json::Map<String, Value> =
        moved.iter().map(|(id, range)| ((*id).to_owned(), json!([range.start.0, range.end.0]))).collect();
    let info = HashMap::from([
        ("situs.pipeline".to_owned(), json!(work.facts.pipeline.as_str())),
        ("situs.policy".to_owned(), json!(work.facts.policy.as_str())),
        ("situs.schema".to_owned(), json!(work.facts.schema.as_str())),
        ("situs.definition".to_owned(), json!(work.facts.definition.as_str())),
        (log::FLUSH.to_owned(), json!(work.facts.flush_id)),
        ("situs.ranges".to_owned(), Value::Object(ranges)),
        (log::TOPIC_IDS.to_owned(), Value::Object(topic_ids)),
    ]);
    let mut actions = vec![commit_info("WRITE", Some(table.version), work.layout, info)];
    if let Some(schema) = widened {
        let metadata = table
            .metadata
            .clone()
            .with_schema(schema)
            .map_err(|_| Fault::stop("delta-rs does not take the table's new columns"))?;
        actions.push(Action::Metadata(metadata));
    }
    for file in files {
        let size = i64::try_from(file.fact.bytes).map_err(|_| Fault::stop("a file is too large"))?;
        actions.push(Action::Add(Add {
            path: file.fact.path.clone(),
            partition_values: HashMap::from([(work.layout.day.to_owned(), Some(file.date.clone()))]),
            size,
            modification_time: now,
            data_change: true,
            stats: Some(file.statistics.clone()),
            tags: file.class.map(class_tag),
            ..Add::default()
        }));
    }
    for (id, range) in moved {
        actions.push(Action::Txn(Transaction::new_with_last_update(id, range.end.0, Some(now))));
    }
    lines(&actions)
}

/// The entry that puts files in the place of others which held the same rows.
pub(crate) fn compaction<'a>(
    version: u64,
    layout: Layout,
    removed: impl Iterator<Item = (&'a str, &'a str, u64)>,
    added: &Written,
) -> Result<Vec<u8>, Fault> {
    let now = chrono::Utc::now().timestamp_millis();
    let too_large = |_| Fault::stop("a file is too large");
    let of_day = |date: &str| HashMap::from([(layout.day.to_owned(), Some(date.to_owned()))]);
    let info = CommitInfo {
        timestamp: Some(now),
        operation: Some("OPTIMIZE".to_owned()),
        operation_parameters: Some(HashMap::from([("predicate".to_owned(), json!("[]"))])),
        // The version that it is decided on.
        read_version: version.checked_sub(1),
        is_blind_append: Some(false),
        engine_info: Some(ENGINE.to_owned()),
        ..CommitInfo::default()
    };
    let mut actions = vec![Action::CommitInfo(info)];
    for (path, date, bytes) in removed {
        actions.push(Action::Remove(Remove {
            path: path.to_owned(),
            data_change: false,
            deletion_timestamp: Some(now),
            extended_file_metadata: Some(true),
            partition_values: Some(of_day(date)),
            size: Some(i64::try_from(bytes).map_err(too_large)?),
            ..Remove::default()
        }));
    }
    actions.push(Action::Add(Add {
        path: added.fact.path.clone(),
        partition_values: of_day(&added.date),
        size: i64::try_from(added.fact.bytes).map_err(too_large)?,
        modification_time: now,
        data_change: false,
        stats: Some(added.statistics.clone()),
        tags: Some(added_tags(added)),
        ..Add::default()
    }));
    lines(&actions)
}

/// A file that a deletion or a re-tagging removes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone<'a> {
    pub(crate) path: &'a str,
    pub(crate) day: &'a str,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) sha256: &'a str,
}

/// The entry that removes rows: files that held them go, files with their other rows come. It says itself
/// which deletion it belongs to and what the hashes are, so that whoever finishes the deletion need not
/// have begun it.
pub(crate) fn deletion<'a>(
    version: u64,
    layout: Layout,
    id: &str,
    removed: impl Iterator<Item = Gone<'a>>,
    added: &[Written],
) -> Result<Vec<u8>, Fault> {
    change(version, layout, "DELETE", HashMap::from([(DELETION.to_owned(), json!(id))]), removed, added)
}

/// The entry of a change of data: files go, and files come.
fn change<'a>(
    version: u64,
    layout: Layout,
    operation: &str,
    info: HashMap<String, Value>,
    removed: impl Iterator<Item = Gone<'a>>,
    added: &[Written],
) -> Result<Vec<u8>, Fault> {
    let now = chrono::Utc::now().timestamp_millis();
    let too_large = |_| Fault::stop("a file is too large");
    let of_day = |date: &str| HashMap::from([(layout.day.to_owned(), Some(date.to_owned()))]);
    let tags = |gone: &Gone<'_>| {
        HashMap::from([
            (SHA256.to_owned(), Some(gone.sha256.to_owned())),
            (ROWS.to_owned(), Some(gone.rows.to_string())),
        ])
    };
    let info = CommitInfo {
        timestamp: Some(now),
        operation: Some(operation.to_owned()),
        // What was asked for stands in the ledger, not here.
        operation_parameters: Some(HashMap::from([("predicate".to_owned(), json!("[]"))])),
        read_version: version.checked_sub(1),
        is_blind_append: Some(false),
        engine_info: Some(ENGINE.to_owned()),
        info,
        ..CommitInfo::default()
    };
    let mut actions = vec![Action::CommitInfo(info)];
    for gone in removed {
        actions.push(Action::Remove(Remove {
            path: gone.path.to_owned(),
            data_change: true,
            deletion_timestamp: Some(now),
            extended_file_metadata: Some(true),
            partition_values: Some(of_day(gone.day)),
            size: Some(i64::try_from(gone.bytes).map_err(too_large)?),
            tags: Some(tags(&gone)),
            ..Remove::default()
        }));
    }
    for file in added {
        actions.push(Action::Add(Add {
            path: file.fact.path.clone(),
            partition_values: of_day(&file.date),
            size: i64::try_from(file.fact.bytes).map_err(too_large)?,
            modification_time: now,
            data_change: true,
            stats: Some(file.statistics.clone()),
            tags: Some(added_tags(file)),
            ..Add::default()
        }));
    }
    lines(&actions)
}

/// The entry that gives rows other tags: the files that held them go, files with the same rows come. It says all
/// that the ledger will.
pub(crate) fn retag<'a>(
    version: u64,
    layout: Layout,
    commit: &RetagCommit,
    removed: impl Iterator<Item = Gone<'a>>,
    added: &[Written],
) -> Result<Vec<u8>, Fault> {
    let said = serde_json::to_value(commit).map_err(|_| Fault::stop("a commit has no JSON form"))?;
    change(version, layout, "UPDATE", HashMap::from([(log::RETAG.to_owned(), said)]), removed, added)
}

/// What the commits of a deletion did to a table, as their entries say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletionCommits {
    /// Their versions.
    pub(crate) versions: Vec<u64>,
    pub(crate) removed: Vec<FileFact>,
    pub(crate) written: Vec<FileFact>,
    /// Whether each says how many rows the files had that it removed.
    pub(crate) tells_rows: bool,
}

impl Default for DeletionCommits {
    fn default() -> Self {
        Self { versions: Vec::new(), removed: Vec::new(), written: Vec::new(), tells_rows: true }
    }
}

/// Takes an entry in if it belongs to the deletion; `None` if it cannot be understood.
pub(crate) fn note_deletion(
    entry: &[u8],
    version: u64,
    id: &str,
    commits: &mut DeletionCommits,
) -> Option<()> {
    let lines: Vec<Value> = entry
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .ok()?;
    if !lines.iter().any(|line| line["commitInfo"][DELETION] == id) {
        return Some(());
    }
    commits.versions.push(version);
    let fact = |action: &Value| {
        let rows = action["stats"].as_str().and_then(|stats| serde_json::from_str::<Value>(stats).ok());
        Some(FileFact {
            path: action["path"].as_str()?.to_owned(),
            rows: rows.and_then(|stats| stats["numRecords"].as_u64()).unwrap_or_default(),
            bytes: action["size"].as_u64()?,
            sha256: action["tags"][SHA256].as_str()?.to_owned(),
        })
    };
    for line in &lines {
        if line["remove"].is_object() {
            let rows = line["remove"]["tags"][ROWS].as_str().and_then(|rows| rows.parse().ok());
            commits.tells_rows &= rows.is_some();
            commits.removed.push(FileFact { rows: rows.unwrap_or_default(), ..fact(&line["remove"])? });
        }
        if line["add"].is_object() {
            commits.written.push(fact(&line["add"])?);
        }
    }
    Some(())
}

/// The tags of a file that was made of others: its hash, and the highest class of its rows.
fn added_tags(added: &Written) -> HashMap<String, Option<String>> {
    let mut tags = added.class.map(class_tag).unwrap_or_default();
    tags.insert(SHA256.to_owned(), Some(added.fact.sha256.clone()));
    tags
}

fn class_tag(class: Class) -> HashMap<String, Option<String>> {
    HashMap::from([(CLASS.to_owned(), Some(class.to_string()))])
}

/// The facts that a file carries itself.
pub(crate) fn file_facts(store: &StoreIdentity, facts: &FlushFacts) -> Vec<(String, String)> {
    [
        ("situs.zone", store.zone.as_str()),
        ("situs.store", &store.store_id),
        (log::FLUSH, &facts.flush_id),
        ("situs.pipeline", facts.pipeline.as_str()),
        ("situs.policy", facts.policy.as_str()),
        ("situs.schema", facts.schema.as_str()),
        ("situs.definition", facts.definition.as_str()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

fn commit_info(
    operation: &str,
    read_version: Option<u64>,
    layout: Layout,
    info: HashMap<String, Value>,
) -> Action {
    let parameters = HashMap::from([
        ("mode".to_owned(), json!("Append")),
        ("partitionBy".to_owned(), json!(json!([layout.day]).to_string())),
    ]);
    Action::CommitInfo(CommitInfo {
        timestamp: Some(chrono::Utc::now().timestamp_millis()),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(parameters),
        read_version,
        is_blind_append: Some(true),
        engine_info: Some(ENGINE.to_owned()),
        info,
        ..CommitInfo::default()
    })
}

fn lines(actions: &[Action]) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action).map_err(|_| Fault::stop("an action has no JSON form"))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
