//! Chains of rows, each of which names the hash of the one before it: the receipts of a partition, and the
//! entries of a store's ledger.
//!
//! What is hashed is made of the columns of the table and of nothing else, so that whoever can read
//! the table can check it (docs/stores.md).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array as _, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use situs_model::{NextOffset, Source, TopicId, sha256_hex};

use crate::durable::FileError;
use crate::error::Fault;
use crate::history::{self, History};
use crate::key::ReceiptKey;
use crate::log::Progress;
use crate::{disk, scan};

/// The column with the id of the topic that the offsets are of.
pub(crate) const TOPIC_ID: &str = "topic_id";
/// The column with the hash of the partition's receipt before.
pub(crate) const PREVIOUS: &str = "previous";
/// The columns that are known only when a row is committed, in order.
const LINKS: [&str; 4] = [PREVIOUS, KEY_ID, HASH, SIGNATURE];
/// The column with the id of the key that signed.
pub(crate) const KEY_ID: &str = "key_id";
/// The column with the receipt's own hash.
pub(crate) const HASH: &str = "hash";
/// The column with the signature of the hash.
pub(crate) const SIGNATURE: &str = "signature";
/// The column of days, which says nothing that `created_at` does not, and is not in the files.
pub(crate) const DAY: &str = "created_date";

/// Whose rows are chained. A hash of one kind is never that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chained {
    /// Receipts.
    Receipts,
    /// Entries of a store's ledger.
    Ledger,
}

impl Chained {
    /// The first line of what is hashed.
    fn header(self) -> &'static str {
        match self {
            Self::Receipts => "situs-receipt/1\n",
            Self::Ledger => "situs-ledger/1\n",
        }
    }

    /// What the rows are, for a message.
    fn as_str(self) -> &'static str {
        match self {
            Self::Receipts => "the receipts",
            Self::Ledger => "the ledger",
        }
    }
}

/// The hash of a row, in hexadecimal.
pub(crate) type Hash = Arc<str>;

/// The newest receipt of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where it ends.
    pub(crate) end: NextOffset,
    /// Its hash; `None` if it was written before receipts were chained.
    pub(crate) hash: Option<Hash>,
    /// The topic that its offsets are of; `None` if it does not say.
    pub(crate) topic_id: Option<TopicId>,
}

/// Rows as columns, for hashing.
pub(crate) struct Canonical<'a> {
    chained: Chained,
    columns: Vec<(&'a str, Values<'a>)>,
}

/// The values of a column.
enum Values<'a> {
    Text(&'a StringArray),
    Words(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Times(&'a TimestampMicrosecondArray),
}

impl<'a> Canonical<'a> {
    /// Takes rows of the table. The columns [`HASH`], [`SIGNATURE`] and [`DAY`] are not hashed.
    ///
    /// # Errors
    /// If a column is of a type that has no canonical text.
    pub(crate) fn new(chained: Chained, rows: &'a RecordBatch) -> Result<Self, Fault> {
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (field, array) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let name = field.name().as_str();
            if matches!(name, HASH | SIGNATURE | DAY) {
                continue;
            }
            let values = match field.data_type() {
                DataType::Utf8 => array.as_string_opt().map(Values::Text),
                DataType::Int32 => array.as_primitive_opt().map(Values::Int32),
                DataType::Int64 => array.as_primitive_opt().map(Values::Int64),
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    array.as_primitive_opt::<TimestampMicrosecondType>().map(Values::Times)
                }
                DataType::Dictionary(_, _) => array
                    .as_dictionary_opt::<Int32Type>()
                    .and_then(|words| Some(Values::Words(words, words.values().as_string_opt()?))),
                _ => None,
            };
            let values = values.ok_or_else(|| {
                Fault::stop(format!(
                    "column `{name}` of {} has a type that cannot be hashed",
                    chained.as_str()
                ))
            })?;
            columns.push((name, values));
        }
        columns.sort_unstable_by_key(|(name, _)| *name);
        Ok(Self { chained, columns })
    }

    /// The text of a row: a line for each column that is not null, in the order of the columns' names.
    pub(crate) fn text(&self, row: usize) -> String {
        let mut text = self.chained.header().to_owned();
        for (name, values) in &self.columns {
            let Some(value) = values.text(row) else { continue };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}:{}:{value}", value.len());
        }
        text
    }

    /// The hash of a row.
    pub(crate) fn hash(&self, row: usize) -> String {
        sha256_hex(self.text(row).as_bytes())
    }
}

impl Values<'_> {
    fn text(&self, row: usize) -> Option<String> {
        match self {
            Self::Text(array) => array.is_valid(row).then(|| array.value(row).to_owned()),
            Self::Words(array, values) => Some(values.value(array.key(row)?).to_owned()),
            Self::Int32(array) => array.is_valid(row).then(|| array.value(row).to_string()),
            Self::Int64(array) => array.is_valid(row).then(|| array.value(row).to_string()),
            Self::Times(array) => array.is_valid(row).then(|| array.value(row).to_string()),
        }
    }
}

/// The columns of rows once they are chained.
pub(crate) fn linked_schema(row: &RecordBatch) -> SchemaRef {
    let links = LINKS.map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
    Arc::new(Schema::new(row.schema_ref().fields().iter().cloned().chain(links).collect::<Vec<_>>()))
}

/// Lets a row continue the one with the given hash, and signs it if there is a key; the row as it is
/// committed, and its hash.
pub(crate) fn link(
    chained: Chained,
    row: &RecordBatch,
    previous: Option<&str>,
    key: Option<&ReceiptKey>,
) -> Result<(RecordBatch, Hash), Fault> {
    let bug = |_| Fault::stop(format!("the columns of {} do not fit together", chained.as_str()));
    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value]));
    let schema = linked_schema(row);
    let key_id = key.map(|key| key.public().id());
    let mut columns = row.columns().to_vec();
    columns.extend([text(previous) as _, text(key_id) as _, text(None) as _, text(None) as _]);
    let unsigned = RecordBatch::try_new(schema.clone(), columns.clone()).map_err(bug)?;
    let hash = Canonical::new(chained, &unsigned)?.hash(0);
    let digest = unhex::<32>(&hash).ok_or_else(|| Fault::stop("a hash is no SHA-256"))?;
    let signature = key.map(|key| hex(&key.sign(&digest)));
    columns.truncate(columns.len() - 2);
    columns.extend([text(Some(&hash)) as _, text(signature.as_deref()) as _]);
    Ok((RecordBatch::try_new(schema, columns).map_err(bug)?, hash.into()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Exactly `N` bytes from hexadecimal in lower case.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Finds the newest receipt of partitions, by application id: in the files of the commit that settled the
/// partition, and if those are gone, in the files whose statistics allow for it.
///
/// # Errors
/// Stops if a partition is settled and no receipt says so: whatever was committed next would hide that.
pub(crate) fn heads(
    folder: &Path,
    wanted: &[(String, Source, Progress)],
) -> Result<HashMap<String, Head>, Fault> {
    let mut search = Search { folder, read: HashMap::new() };
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    for (app_id, source, progress) in wanted {
        let files = match &progress.commit {
            Some(commit) => history::files_of(folder, commit.version)?,
            None => Vec::new(),
        };
        if let Some(head) = search.first(&files, source, progress.next)? {
            found.insert(app_id.clone(), head);
        } else {
            missing.push((app_id, source, progress.next));
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let history = History::read(folder)?;
    for (app_id, source, end) in missing {
        let may_hold =
            |ends: Option<(i64, i64)>| ends.is_none_or(|(low, high)| low <= end.0 && end.0 <= high);
        let mut files: Vec<String> = history
            .files
            .iter()
            .filter(|(_, file)| may_hold(file.ends))
            .map(|(path, _)| path.clone())
            .collect();
        files.sort_unstable();
        let head = search.first(&files, source, end)?.ok_or_else(|| {
            Fault::stop(format!(
                "{source}: settled at {end}, but no receipt ends there for the next to continue"
            ))
        })?;
        found.insert(app_id.clone(), head);
    }
    Ok(found)
}

/// Looks for receipts in files, and reads each file once.
struct Search<'a> {
    folder: &'a Path,
    read: HashMap<String, Vec<End>>,
}

/// The end of a receipt, its hash and its topic.
struct End {
    cluster: Option<String>,
    topic: String,
    partition: i32,
    offset: i64,
    hash: Option<Hash>,
    topic_id: Option<TopicId>,
}

impl Search<'_> {
    fn first(&mut self, files: &[String], source: &Source, end: NextOffset) -> Result<Option<Head>, Fault> {
        for file in files {
            if !self.read.contains_key(file) {
                let ends = ends(&self.folder.join(file))?;
                self.read.insert(file.clone(), ends);
            }
            let is_it = |found: &&End| {
                found.offset == end.0
                    && found.partition == source.partition
                    && found.topic == *source.topic
                    // Receipts of the first stores do not name the cluster.
                    && found.cluster.as_deref().is_none_or(|cluster| cluster == source.cluster.as_str())
            };
            if let Some(found) = self.read.get(file).and_then(|ends| ends.iter().find(is_it)) {
                return Ok(Some(Head { end, hash: found.hash.clone(), topic_id: found.topic_id }));
            }
        }
        Ok(None)
    }
}

/// The ends of the receipts in a file; none if the file is gone.
fn ends(path: &Path) -> Result<Vec<End>, Fault> {
    let bad = || Fault::retry(format!("{} cannot be read as receipts", path.display()));
    let file = match disk::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::new("open", path)(error).into()),
    };
    let columns = ["cluster", "topic", "partition", "end_offset", HASH, TOPIC_ID];
    let mut ends = Vec::new();
    for batch in scan::columns(file, &columns).map_err(|_| bad())? {
        let batch = batch.map_err(|_| bad())?;
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let topics = text("topic").ok_or_else(bad)?;
        let partitions =
            batch.column_by_name("partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let partitions = partitions.ok_or_else(bad)?;
        let offsets =
            batch.column_by_name("end_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let offsets = offsets.ok_or_else(bad)?;
        let (clusters, hashes, topic_ids) = (text("cluster"), text(HASH), text(TOPIC_ID));
        let value = |column: Option<&StringArray>, row: usize| {
            column.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            let topic_id = value(topic_ids, row).map(|id| id.parse()).transpose().map_err(|_| bad())?;
            ends.push(End {
                cluster: value(clusters, row),
                topic: topics.value(row).to_owned(),
                partition: partitions.value(row),
                offset: offsets.value(row),
                hash: value(hashes, row).map(Hash::from),
                topic_id,
            });
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use situs_model::columns::{dictionary_type, timestamp_type};

    use super::*;

    /// The text and the hash in docs/stores.md.
    #[test]
    fn the_canonical_text_is_the_documented_one() {
        let words: DictionaryArray<Int32Type> = [Some("cnc.state"), None].into_iter().collect();
        let times = TimestampMicrosecondArray::from(vec![Some(1_772_323_200_000_001), None]);
        let schema = Schema::new(vec![
            Field::new("topic", dictionary_type(), true),
            Field::new("partition", DataType::Int32, false),
            Field::new("end_offset", DataType::Int64, false),
            Field::new("created_at", timestamp_type(), true),
            Field::new("zones", DataType::Utf8, true),
            Field::new(PREVIOUS, DataType::Utf8, true),
            Field::new(HASH, DataType::Utf8, true),
        ]);
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(words),
                Arc::new(Int32Array::from(vec![3, 4])),
                Arc::new(Int64Array::from(vec![15, 16])),
                Arc::new(times.with_timezone("UTC")),
                Arc::new(StringArray::from(vec![Some("{\"é\":1}"), None])),
                Arc::new(StringArray::from(vec![None, Some("ab")])),
                Arc::new(StringArray::from(vec![None, Some("not hashed")])),
            ],
        )
        .unwrap();
        let canonical = Canonical::new(Chained::Receipts, &batch).unwrap();
        assert_eq!(
            canonical.text(0),
            "situs-receipt/1\ncreated_at:16:1772323200000001\nend_offset:2:15\npartition:1:3\ntopic:9:cnc.state\nzones:8:{\"é\":1}\n"
        );
        assert_eq!(canonical.text(1), "situs-receipt/1\nend_offset:2:16\npartition:1:4\nprevious:2:ab\n");
        assert_eq!(canonical.hash(1), sha256_hex(canonical.text(1).as_bytes()));
        // The same columns in a ledger are another text, so no receipt passes for an entry.
        let ledger = Canonical::new(Chained::Ledger, &batch).unwrap();
        assert_eq!(ledger.text(1), "situs-ledger/1\nend_offset:2:16\npartition:1:4\nprevious:2:ab\n");
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        let bytes = [0x00, 0x9a, 0xff, 0x10];
        assert_eq!(hex(&bytes), "009aff10");
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for text in ["009aff1", "009aff1g", "009AFF10", "009aff1000"] {
            assert_eq!(unhex::<4>(text), None, "{text}");
        }
    }
}
