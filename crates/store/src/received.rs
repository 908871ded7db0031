//! Rows that came from another zone by a transfer (docs/transfers.md). They lie in a table of their own beside
//! the pipeline's, are written once, and never change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array as _, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use situs_model::columns::{dictionary_type, identity_fields, names as columns, tag_fields, time_fields};
use situs_model::store::{FlushFacts, StoreError};
use situs_model::transfer::{Cargo, TransferPermit};
use situs_model::{Class, FileFact, NextOffset, OffsetRange, Source, StoreIdentity, TableName, Training};

use crate::durable::FileError;
use crate::encode::{self, Encoder};
use crate::error::Fault;
use crate::history::History;
use crate::reader::{StoreReader, is_inside};
use crate::scan::{self, Rows};
use crate::verify::sha256_of;
use crate::work::{Claim, Layout, Rows as WorkRows, Settled, Work};
use crate::{disk, entry, names, tables};

/// Where received rows keep their number and the day.
pub(crate) const LAYOUT: Layout = Layout { offset: columns::TRANSFER_ROW, day: columns::EVENT_DATE };
/// Facts of a file of received rows.
const ID: &str = "situs.transfer";
const VERSION: &str = "situs.transfer.source-version";
const DEFINITION: &str = "situs.transfer.definition";

/// Whether rows arrived now, or were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// They were written.
    Now,
    /// Another process has written rows of this transfer.
    Before,
}

/// What lies in a store of a transfer: measured on its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The table.
    pub table: TableName,
    /// Its files.
    pub files: Vec<FileFact>,
    /// The columns, in order.
    pub columns: Vec<String>,
    /// The rows of each class.
    pub classes: BTreeMap<Class, u64>,
    /// The version of the source's table that they were read from.
    pub source_version: u64,
    /// The SHA-256 of the definition by which they were let go.
    pub definition: String,
}

impl Arrived {
    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// How large their files are.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The columns that Situs adds and that go along with every transfer. What nobody has classified does not.
pub fn transferred_columns() -> Vec<Field> {
    identity_fields().into_iter().chain(time_fields(true)).chain(tag_fields()).collect()
}

/// Rows of a transfer on their way into the store that they go to. They are encoded as they come, and nothing
/// is written before all of them are there.
#[derive(Debug)]
pub struct Receiving {
    permit: TransferPermit,
    encoder: Encoder,
    source: Source,
    allowed: BTreeSet<String>,
    next: i64,
}

impl Receiving {
    pub(crate) fn new(permit: &TransferPermit, store: &StoreIdentity) -> Result<Self, Fault> {
        let Cargo::Rows { columns, .. } = &permit.transfer().cargo else {
            return Err(Fault::stop(format!("transfer {}: no rows go by it", permit.id())));
        };
        if permit.to() != store {
            return Err(Fault::stop(format!("transfer {} goes to {}", permit.id(), permit.to())));
        }
        let own = transferred_columns().into_iter().map(|field| field.name().clone());
        Ok(Self {
            permit: permit.clone(),
            encoder: Encoder::new(store.clone(), LAYOUT),
            source: source(permit.id())?,
            allowed: own.chain(columns.iter().cloned()).collect(),
            next: 0,
        })
    }

    /// Takes rows as the source's table holds them.
    ///
    /// # Errors
    /// If one of them must not go: it is of another zone, of a class or training that the transfer does not
    /// let go, there is a column too many, or there are more rows than were counted.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<(), StoreError> {
        self.take(rows).map_err(|fault| fault.at(self.permit.to()))
    }

    fn refused(&self, why: &str) -> Fault {
        Fault::stop(format!("transfer {}: {why}", self.permit.id()))
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        if let Some(field) = batch.schema_ref().fields().iter().find(|f| !self.allowed.contains(f.name())) {
            return Err(self.refused(&format!("column `{}` does not go", field.name())));
        }
        let rows = Rows::new(Path::new("a batch of a transfer"), batch);
        let (zones, classes, trainings) =
            (rows.texts(columns::ZONE)?, rows.texts(columns::CLASS)?, rows.texts(columns::TRAINING)?);
        for row in 0..batch.num_rows() {
            if scan::text(&zones, row) != Some(self.permit.from().zone.as_str()) {
                return Err(self.refused(&format!("a row's `{}` is not the source's zone", columns::ZONE)));
            }
            let class = scan::text(&classes, row).and_then(|word| word_of(Class::WORDS, word));
            let training = scan::text(&trainings, row).and_then(|word| word_of(Training::WORDS, word));
            let may =
                class.zip(training).map(|(class, training)| self.permit.transfer().lets(class, training));
            if may != Some(Ok(())) {
                return Err(self.refused("a row is of a class or training that does not go"));
            }
        }
        let count = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        let end = self.next.saturating_add(count);
        if u64::try_from(end).unwrap_or(u64::MAX) > self.permit.rows() {
            return Err(self.refused("there are more rows than were counted"));
        }
        let numbered = self.numbered(batch)?;
        self.encoder.add(&self.source, &numbered)?;
        self.next = end;
        Ok(())
    }

    /// The rows with the transfer's id and their numbers. All columns may be null in some file.
    fn numbered(&self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let mut fields: Vec<Field> = Vec::with_capacity(batch.num_columns() + 2);
        for field in batch.schema_ref().fields() {
            fields.push(field.as_ref().clone().with_nullable(field.name() != columns::EVENT_DATE));
        }
        fields.push(Field::new(columns::TRANSFER, dictionary_type(), false));
        fields.push(Field::new(columns::TRANSFER_ROW, DataType::Int64, false));
        let unfit = |_| Fault::stop("the columns of a transfer do not fit together");
        let keys = Int32Array::from(vec![0; batch.num_rows()]);
        let ids = DictionaryArray::<Int32Type>::try_new(
            keys,
            Arc::new(StringArray::from(vec![self.permit.id().to_owned()])),
        );
        let mut arrays = batch.columns().to_vec();
        arrays.push(Arc::new(ids.map_err(unfit)?));
        let end = self.next.saturating_add(i64::try_from(batch.num_rows()).unwrap_or(0));
        arrays.push(Arc::new((self.next..end).collect::<Int64Array>()));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(unfit)
    }

    /// The append of all rows, which can be carried out once for a transfer, whoever tries.
    pub(crate) fn work(self, facts: &FlushFacts, source_version: u64) -> Result<(TableName, Work), Fault> {
        let rows = u64::try_from(self.next).unwrap_or(0);
        if rows != self.permit.rows() || rows == 0 {
            let what = format!("{rows} rows came, and {} were counted", self.permit.rows());
            return Err(self.refused(&what));
        }
        let Cargo::Rows { pipeline, .. } = &self.permit.transfer().cargo else {
            return Err(self.refused("no rows go by it"));
        };
        let table = TableName::received(pipeline);
        let id = self.permit.id();
        let facts =
            FlushFacts { flush_id: format!("transfer-{id}-{}", uuid::Uuid::now_v7()), ..facts.clone() };
        let store = self.permit.to();
        let mut told = entry::file_facts(store, &facts);
        told.push((ID.to_owned(), id.to_owned()));
        told.push((VERSION.to_owned(), source_version.to_string()));
        told.push((DEFINITION.to_owned(), self.permit.transfer().definition()));
        let encoded = encode::finish(store, vec![Box::new(self.encoder)], &told)?;
        let claim = Claim {
            app_id: app_id(id),
            source: self.source,
            range: OffsetRange::new(NextOffset(0), NextOffset(self.next)),
            settled: Settled::Here,
            epoch: None,
            topic_id: None,
        };
        let rows = WorkRows::Encoded(encoded.into_rows());
        Ok((table, Work { layout: LAYOUT, claims: vec![claim], rows, facts }))
    }
}

fn word_of<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

/// The application id of a transfer. Two parts: a partition's id has three.
fn app_id(id: &str) -> String {
    format!("situs/transfer/{id}")
}

/// Stands where a partition would.
fn source(id: &str) -> Result<Source, Fault> {
    let cluster = "transfer".parse().map_err(|_| Fault::stop("a transfer has no name"))?;
    Ok(Source { cluster, topic: id.into(), partition: 0 })
}

impl StoreReader {
    /// What lies here of a transfer; `None` if its rows have not arrived.
    ///
    /// # Errors
    /// If a file of received rows cannot be read, or there are more or fewer rows of it than the table's log
    /// says were written.
    pub async fn arrived(&self, table: &TableName, id: &str) -> Result<Option<Arrived>, StoreError> {
        let look = async {
            let folder = names::table(self.root(), table);
            if !tables::exists(&folder)? {
                return Ok(None);
            }
            let (table, id) = (table.clone(), id.to_owned());
            tokio::task::spawn_blocking(move || {
                // Of one look at the log, so that its count is that of the files.
                let history = History::read(&folder)?;
                let mut files: Vec<&String> = history.files.keys().collect();
                files.sort_unstable();
                let mut arrived: Option<Arrived> = None;
                for file in files {
                    if !is_inside(file) {
                        return Err(Fault::stop(format!("table `{table}` names a file outside of its root")));
                    }
                    take_in(&mut arrived, &table, &folder, file, &id)?;
                }
                let written = history.offsets.get(&app_id(&id)).copied().unwrap_or(0);
                let there = arrived.as_ref().map_or(0, Arrived::rows);
                if i64::try_from(there) != Ok(written) {
                    return Err(Fault::stop(format!(
                        "table `{table}` holds {there} rows of transfer {id}, and its log says that {written} were \
                         written; `situs store verify` tells more"
                    )));
                }
                Ok(arrived)
            })
            .await?
        };
        look.await.map_err(|fault: Fault| fault.at(self.identity()))
    }
}

/// Adds a file to what has arrived, if it is of this transfer.
fn take_in(
    arrived: &mut Option<Arrived>,
    table: &TableName,
    folder: &Path,
    file: &str,
    id: &str,
) -> Result<(), Fault> {
    let path = folder.join(file);
    let opened = disk::open(&path).map_err(FileError::new("open", &path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|_| scan::unreadable(&path))?;
    let footer = reader.metadata().file_metadata();
    let fact = |key: &str| {
        let facts = footer.key_value_metadata()?;
        facts.iter().find(|fact| fact.key == key)?.value.clone()
    };
    if fact(ID).as_deref() != Some(id) {
        return Ok(());
    }
    let bad = || Fault::stop(format!("{} does not say what a received file says", path.display()));
    let rows = u64::try_from(footer.num_rows()).map_err(|_| bad())?;
    let bytes = disk::look(&path).map_err(FileError::new("look at", &path))?.len();
    let sha256 = sha256_of(&path).map_err(FileError::new("read", &path))?;
    let (version, definition) = (fact(VERSION).and_then(|text| text.parse().ok()), fact(DEFINITION));
    let arrived = arrived.get_or_insert(Arrived {
        table: table.clone(),
        files: Vec::new(),
        columns: reader.schema().fields().iter().map(|field| field.name().clone()).collect(),
        classes: BTreeMap::new(),
        source_version: version.ok_or_else(bad)?,
        definition: definition.ok_or_else(bad)?,
    });
    arrived.files.push(FileFact { path: file.to_owned(), rows, bytes, sha256 });
    for batch in scan::open(&path, &[columns::CLASS])? {
        let batch = batch.map_err(|_| scan::unreadable(&path))?;
        let classes = Rows::new(&path, &batch).texts(columns::CLASS)?;
        for row in 0..classes.len() {
            let class = scan::text(&classes, row).and_then(|word| word_of(Class::WORDS, word));
            *arrived.classes.entry(class.ok_or_else(bad)?).or_default() += 1;
        }
    }
    Ok(())
}
