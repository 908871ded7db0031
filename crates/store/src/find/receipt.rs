//! The receipts that cover an offset.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::{RecordBatch, StringArray};
use situs_model::store::{StoreError, Versions};
use situs_model::{
    ContentVersion, Coordinates, FileFact, PipelineName, StoreIdentity, TableName, ZoneCount, app_id,
};

use crate::chain::{self, Canonical, Chained};
use crate::error::Fault;
use crate::history::History;
use crate::key::{PublicKey, SignatureState};
use crate::reader::StoreReader;
use crate::receipts::{FileText, StoreText, ZoneText};
use crate::scan::{self, Rows};
use crate::{disk, durable, names, tables};

/// What a receipt says that one store did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOfReceipt {
    /// Which store.
    pub store: StoreIdentity,
    /// The files that it wrote.
    pub files: Vec<FileFact>,
}

/// A receipt that covers an offset, as its table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundReceipt {
    /// The flush.
    pub flush_id: String,
    /// The first offset covered.
    pub start: i64,
    /// The offset after the last one covered.
    pub end: i64,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The texts by which its messages became rows.
    pub versions: Versions,
    /// When it was made, µs since the epoch.
    pub created_us: i64,
    /// Messages read.
    pub messages: u64,
    /// Messages that give no row by design.
    pub without_rows: u64,
    /// What each zone got.
    pub zones: BTreeMap<String, ZoneCount>,
    /// Messages quarantined, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// What each zone's store wrote.
    pub stores: Vec<StoreOfReceipt>,
    /// What quarantine wrote.
    pub quarantine: Option<StoreOfReceipt>,
    /// Its hash; `None` if it was written before receipts were chained.
    pub hash: Option<String>,
    /// Whether the hash is that of its content.
    pub hash_holds: bool,
    /// What its signature is worth.
    pub signature: SignatureState,
}

/// What the receipts say of an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Those that cover it: one if all is well, none if it is not settled.
    pub receipts: Vec<FoundReceipt>,
    /// The settled offset of the partition; `None` before its first receipt.
    pub settled: Option<i64>,
}

impl StoreText {
    fn parsed(self) -> Option<StoreOfReceipt> {
        let fact = |FileText { path, rows, bytes, sha256 }| FileFact { path, rows, bytes, sha256 };
        Some(StoreOfReceipt {
            store: StoreIdentity { zone: self.zone.parse().ok()?, store_id: self.store },
            files: self.files.into_iter().map(fact).collect(),
        })
    }
}

impl StoreReader {
    /// The receipts of a home store that cover a record's offset. Its signature is checked with the given
    /// keys, or with those that the store has archived if none is given. Takes CPU time and reads files.
    ///
    /// # Errors
    /// If the receipts cannot be read.
    pub fn find_receipts(
        &self,
        cluster: &str,
        record: &Coordinates,
        keys: &[PublicKey],
    ) -> Result<Coverage, StoreError> {
        self.coverage(cluster, record, keys).map_err(|fault| fault.at(self.identity()))
    }

    fn coverage(&self, cluster: &str, record: &Coordinates, pinned: &[PublicKey]) -> Result<Coverage, Fault> {
        let folder = names::table(self.root(), &TableName::receipts());
        if !tables::exists(&folder)? {
            return Ok(Coverage::default());
        }
        let history = History::read(&folder)?;
        let id = app_id(cluster, &record.topic, record.partition);
        let mut coverage = Coverage { settled: history.offsets.get(&id).copied(), ..Coverage::default() };
        let archived = if pinned.is_empty() { self.archived_keys()? } else { Vec::new() };
        let keys = if pinned.is_empty() { &archived } else { pinned };
        // A receipt that covers the offset ends behind it.
        let may_hold = |ends: Option<(i64, i64)>| ends.is_none_or(|(_, highest)| highest > record.offset);
        let mut files: Vec<&String> =
            history.files.iter().filter(|(_, file)| may_hold(file.ends)).map(|(path, _)| path).collect();
        files.sort_unstable();
        for file in files {
            let path = folder.join(file);
            let opened = disk::open(&path).map_err(durable::FileError::new("open", &path))?;
            for batch in scan::columns(opened, &[]).map_err(|_| scan::unreadable(&path))? {
                let batch = batch.map_err(|_| scan::unreadable(&path))?;
                coverage.receipts.extend(receipts(&path, &batch, cluster, record, keys)?);
            }
        }
        coverage.receipts.sort_by_key(|receipt| (receipt.start, receipt.end));
        Ok(coverage)
    }

    /// The public keys that the store has archived, each under its own name.
    pub(crate) fn archived_keys(&self) -> Result<Vec<PublicKey>, Fault> {
        let folder = names::keys(self.root());
        let mut keys = Vec::new();
        for name in durable::list(&folder)? {
            let text = durable::read(&folder.join(&name))?.unwrap_or_default();
            let key = String::from_utf8(text).ok().and_then(|text| PublicKey::parse(&text));
            keys.extend(key.filter(|key| names::key(self.root(), key.id()).ends_with(&name)));
        }
        Ok(keys)
    }
}

/// The receipts of a batch that cover the record's offset.
fn receipts(
    path: &Path,
    batch: &RecordBatch,
    cluster: &str,
    record: &Coordinates,
    keys: &[PublicKey],
) -> Result<Vec<FoundReceipt>, Fault> {
    let bad = || Fault::stop(format!("{} cannot be read as receipts", path.display()));
    let columns = Rows::new(path, batch);
    let (topics, partitions) = (columns.texts("topic")?, columns.ints("partition")?);
    let (starts, ends) = (columns.longs("start_offset")?, columns.longs("end_offset")?);
    // Receipts of the first stores lack some columns.
    let optional = |name: &str| columns.texts(name).ok();
    let value = |column: &Option<StringArray>, row: usize| {
        column.as_ref().and_then(|column| scan::text(column, row)).map(str::to_owned)
    };
    let (clusters, definitions) = (optional("cluster"), optional("definition"));
    let (hashes, key_ids, signatures) =
        (optional(chain::HASH), optional(chain::KEY_ID), optional(chain::SIGNATURE));
    let mut found = Vec::new();
    let mut canonical = None;
    for row in 0..batch.num_rows() {
        let (Some(start), Some(end)) = (starts[row], ends[row]) else { return Err(bad()) };
        let covers = scan::text(&topics, row) == Some(&*record.topic)
            && partitions[row] == record.partition
            && (start..end).contains(&record.offset)
            && value(&clusters, row).is_none_or(|named| named == cluster);
        if !covers {
            continue;
        }
        let canonical: &Canonical<'_> = match &canonical {
            Some(canonical) => canonical,
            None => canonical.insert(Canonical::new(Chained::Receipts, batch)?),
        };
        let text = |name: &str| -> Result<String, Fault> {
            let column = columns.texts(name)?;
            scan::text(&column, row).map(str::to_owned).ok_or_else(bad)
        };
        let count = |name: &str| -> Result<u64, Fault> {
            columns.longs(name)?[row].and_then(|number| u64::try_from(number).ok()).ok_or_else(bad)
        };
        let version = |text: String| text.parse::<ContentVersion>().map_err(|_| bad());
        let hash = value(&hashes, row);
        let zones: BTreeMap<String, ZoneText> = serde_json::from_str(&text("zones")?).map_err(|_| bad())?;
        let stores: Vec<StoreText> = serde_json::from_str(&text("stores")?).map_err(|_| bad())?;
        let quarantine_store = columns.texts("quarantine_store")?;
        let quarantine =
            scan::text(&quarantine_store, row).map(serde_json::from_str::<StoreText>).transpose();
        found.push(FoundReceipt {
            flush_id: text("flush_id")?,
            start,
            end,
            pipeline: text("pipeline")?.parse().map_err(|_| bad())?,
            versions: Versions {
                policy: version(text("policy")?)?,
                schema: version(text("schema")?)?,
                definition: value(&definitions, row).map(version).transpose()?,
            },
            created_us: columns.times("created_at")?[row].ok_or_else(bad)?,
            messages: count("messages")?,
            without_rows: count("without_rows")?,
            zones: zones
                .into_iter()
                .map(|(zone, ZoneText { messages, rows })| (zone, ZoneCount { messages, rows }))
                .collect(),
            quarantined: serde_json::from_str(&text("quarantine")?).map_err(|_| bad())?,
            stores: stores.into_iter().map(StoreText::parsed).collect::<Option<_>>().ok_or_else(bad)?,
            quarantine: quarantine
                .map_err(|_| bad())?
                .map(|text| text.parsed().ok_or_else(bad))
                .transpose()?,
            hash_holds: hash.as_ref().is_some_and(|hash| canonical.hash(row) == *hash),
            signature: SignatureState::of(
                hash.as_deref().and_then(chain::unhex::<32>).as_ref(),
                value(&key_ids, row).as_deref(),
                value(&signatures, row).as_deref(),
                |id| keys.iter().find(|key| key.id() == id),
            ),
            hash,
        });
    }
    Ok(found)
}
