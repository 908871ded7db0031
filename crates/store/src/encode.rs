//! From rows to the bytes of Parquet files, while the rows are warm.
//!
//! Rows are encoded batch by batch into the column chunks of an open row group for each day. What is
//! held until the flush is a tenth of what the rows held as Arrow arrays, and the arrays' memory is
//! free for the next batch at once. [`finish`] makes the files' bytes; [`files`] writes them.

mod chunk;
mod columns;
pub(crate) mod files;
mod hybrid;
mod numbers;
pub(crate) mod stream;
mod words;

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, ColumnPath, SchemaDescriptor, TypePtr};
use situs_model::columns::highest_class;
use situs_model::mask::may_have_statistics;
use situs_model::store::{RowEncoder, StoreError};
use situs_model::{Class, PermittedBatch, Source, StoreIdentity};

use crate::error::Fault;
use crate::work::Layout;
use columns::Kind;
use files::Image;
use numbers::NumbersWriter;
use words::WordsWriter;

/// In a file's footer and in the log: the highest class of its rows.
pub(crate) const CLASS: &str = "situs.class";
/// In a file's footer: the columns of which neither it nor the log gives statistics, with commas between.
pub(crate) const GUARDED: &str = "situs.guarded";
/// Rows of a row group: what an engine reads at once.
const ROWS_OF_A_GROUP: usize = 1 << 20;
/// Encoded bytes of a row group.
const BYTES_OF_A_GROUP: usize = 128 << 20;
/// What a writer of parquet's holds for zstd once it has compressed a page, which it does not count itself
/// (measured: twelve pipelines took 900 MiB more than they counted).
const BYTES_OF_A_CODEC: usize = 768 << 10;
/// Rows after which all of these writers have compressed a page: parquet's own limit.
const ROWS_OF_A_COMPRESSED_PAGE: usize = 20_000;
/// Days whose rows are encoded as they come. Rows of further days (old data that comes late) wait as
/// they are, since an open row group holds some buffers for each column.
const OPEN_DAYS: usize = 8;

/// Rows of one table on their way into files, one file per day.
#[derive(Debug)]
pub(crate) struct Encoder {
    store: StoreIdentity,
    layout: Layout,
    form: Option<Arc<Form>>,
    /// The partitions of which rows came, each with the smallest and the greatest offset.
    pub(crate) sources: Vec<(Source, i64, i64)>,
    days: BTreeMap<i32, Day>,
    rows: u64,
}

/// What all files of a table have in common.
struct Form {
    /// The columns of the rows as they come, with the column of days.
    rows: SchemaRef,
    /// The columns of the files.
    columns: SchemaRef,
    parquet: TypePtr,
    properties: WriterPropertiesPtr,
    factory: ArrowRowGroupWriterFactory,
    /// Columns that parquet's own writers compress.
    codecs: usize,
    /// Columns of which no statistics are given, since their class forbids it.
    guarded: Vec<String>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// The rows of a day.
#[derive(Debug, Default)]
struct Day {
    /// Row groups that are full.
    groups: Vec<Vec<Chunk>>,
    open: Option<Group>,
    /// Rows that wait, without the column of days.
    waiting: Vec<RecordBatch>,
    /// About what they hold in memory, in bytes.
    waiting_bytes: usize,
    /// Whose rows they are, in order: an index into the encoder's sources, and a number of rows.
    runs: Vec<(u32, usize)>,
    /// The highest class of the rows; `None` if they have none.
    class: Option<Class>,
}

/// A row group that takes rows.
#[derive(Debug)]
struct Group {
    writers: Vec<Writer>,
    rows: usize,
}

/// Takes the values of a leaf column.
#[derive(Debug)]
enum Writer {
    Words(Box<WordsWriter>),
    Numbers(Box<NumbersWriter>),
    Other(Box<ArrowColumnWriter>),
}

/// An encoded column chunk.
#[derive(Debug)]
enum Chunk {
    Done(Bytes, Box<ColumnCloseResult>),
    Other(Box<ArrowColumnChunk>),
}

impl Writer {
    fn close(self) -> Result<Chunk, ParquetError> {
        let (bytes, close) = match self {
            Self::Words(writer) => writer.close()?,
            Self::Numbers(writer) => writer.close()?,
            Self::Other(writer) => return Ok(Chunk::Other(Box::new(writer.close()?))),
        };
        Ok(Chunk::Done(bytes, Box::new(close)))
    }

    fn memory_size(&self) -> usize {
        match self {
            Self::Words(writer) => writer.memory_size(),
            Self::Numbers(writer) => writer.memory_size(),
            Self::Other(writer) => writer.memory_size(),
        }
    }

    fn encoded_size(&self) -> usize {
        match self {
            Self::Words(writer) => writer.encoded_size(),
            Self::Numbers(writer) => writer.encoded_size(),
            Self::Other(writer) => writer.get_estimated_total_bytes(),
        }
    }
}

impl Chunk {
    fn bytes(&self) -> usize {
        match self {
            Self::Done(bytes, _) => bytes.len(),
            Self::Other(chunk) => usize::try_from(chunk.close().bytes_written).unwrap_or(usize::MAX),
        }
    }

    fn append<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        match self {
            Self::Done(bytes, close) => group.append_column(&bytes, *close),
            Self::Other(chunk) => chunk.append_to_row_group(group),
        }
    }
}

impl Encoder {
    pub(crate) fn new(store: StoreIdentity, layout: Layout) -> Self {
        Self { store, layout, form: None, sources: Vec::new(), days: BTreeMap::new(), rows: 0 }
    }

    /// Takes rows of a partition in.
    pub(crate) fn add(&mut self, source: &Source, rows: &RecordBatch) -> Result<(), Fault> {
        let form = match &self.form {
            Some(form) => form.clone(),
            None => self.form.insert(Arc::new(Form::new(rows.schema_ref(), self.layout)?)).clone(),
        };
        if !same_columns(&form.rows, rows.schema_ref()) {
            return Err(Fault::stop(format!("batches of {source} differ in their columns")));
        }
        let Some(source) = self.note_offsets(source, rows)? else { return Ok(()) };
        // Divided rows share their dictionaries, so each gets its share of the whole.
        let bytes_of_a_row = rows.get_array_memory_size() / rows.num_rows().max(1);
        for (day, rows) in divide(rows, self.layout.day)? {
            let open = self.days.values().filter(|day| day.open.is_some()).count();
            let day = self.days.entry(day).or_default();
            day.runs.push((source, rows.num_rows()));
            day.waiting_bytes += bytes_of_a_row * rows.num_rows();
            day.class = day.class.max(highest_class(&rows));
            day.waiting.push(rows);
            if day.open.is_some() || open < OPEN_DAYS {
                day.write_waiting(&form)?;
            }
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Notes which offsets came of a partition; its index. `None` without rows.
    fn note_offsets(&mut self, source: &Source, rows: &RecordBatch) -> Result<Option<u32>, Fault> {
        let name = self.layout.offset;
        let offsets = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let Some(offsets) = offsets else {
            return Err(Fault::stop(format!("column `{name}` is missing or is no 64-bit integer")));
        };
        let (Some(low), Some(high)) = (offsets.values().iter().min(), offsets.values().iter().max()) else {
            return Ok(None);
        };
        let index = self.sources.iter().position(|(known, ..)| known == source);
        let index = match index {
            Some(index) => index,
            None => {
                self.sources.push((source.clone(), *low, *high));
                self.sources.len() - 1
            }
        };
        let (_, lowest, highest) = &mut self.sources[index];
        (*lowest, *highest) = ((*lowest).min(*low), (*highest).max(*high));
        Ok(u32::try_from(index).ok())
    }

    fn of_any(encoder: Box<dyn Any + Send>) -> Result<Self, Fault> {
        let encoder = encoder.downcast::<Self>();
        encoder.map(|encoder| *encoder).map_err(|_| Fault::stop("an encoder is another kind of store's"))
    }
}

impl RowEncoder for Encoder {
    fn write(&mut self, batch: PermittedBatch) -> Result<(), StoreError> {
        // RES-3: rows are taken only with a permit for this very store.
        let result = if batch.store() == &self.store {
            self.add(batch.batch().source(), batch.batch().rows())
        } else {
            Err(Fault::stop(format!("a batch has a permit for {}", batch.store())))
        };
        result.map_err(|fault| fault.at(&self.store))
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn memory_size(&self) -> u64 {
        let codecs = self.form.as_ref().map_or(0, |form| form.codecs);
        self.days.values().map(|day| day.memory_size(codecs) as u64).sum()
    }

    fn encoded_size(&self) -> u64 {
        self.days.values().map(|day| day.encoded_size() as u64).sum()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// The files' bytes of what encoders of one table have taken in: one file per day.
pub(crate) fn finish(
    store: &StoreIdentity,
    encoders: Vec<Box<dyn RowEncoder>>,
    facts: &[(String, String)],
) -> Result<Encoded, Fault> {
    let mut whole = Whole { store: store.clone(), form: None, sources: Vec::new(), days: BTreeMap::new() };
    for encoder in encoders {
        let encoder = Encoder::of_any(encoder.into_any())?;
        if encoder.store != *store {
            return Err(Fault::stop(format!("rows were encoded for {}", encoder.store)));
        }
        whole.add(encoder)?;
    }
    whole.finish(facts)
}

/// Encoded rows that no commit names yet.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// The store for which they have a permit.
    pub(crate) store: StoreIdentity,
    /// The columns of the rows, with the column of days; `None` without rows.
    pub(crate) rows: Option<SchemaRef>,
    /// The partitions of which there are rows, each with the smallest and the greatest offset.
    pub(crate) sources: Vec<(Source, i64, i64)>,
    /// One file per day.
    pub(crate) images: Vec<Image>,
}

/// What several encoders have taken in, put together.
#[derive(Debug)]
struct Whole {
    store: StoreIdentity,
    form: Option<Arc<Form>>,
    sources: Vec<(Source, i64, i64)>,
    days: BTreeMap<i32, Day>,
}

impl Whole {
    fn add(&mut self, encoder: Encoder) -> Result<(), Fault> {
        let Some(form) = encoder.form else { return Ok(()) };
        match &self.form {
            None => self.form = Some(form.clone()),
            Some(known) if same_columns(&known.rows, &form.rows) => {}
            Some(_) => return Err(Fault::stop("encoders of a table differ in their columns")),
        }
        let first = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.sources.extend(encoder.sources);
        for (number, mut day) in encoder.days {
            day.close(&form)?;
            day.runs.iter_mut().for_each(|(source, _)| *source += first);
            match self.days.entry(number) {
                Entry::Vacant(entry) => {
                    entry.insert(day);
                }
                Entry::Occupied(mut entry) => {
                    let there = entry.get_mut();
                    there.groups.extend(day.groups);
                    there.runs.extend(day.runs);
                    there.class = there.class.max(day.class);
                }
            }
        }
        Ok(())
    }

    fn finish(self, facts: &[(String, String)]) -> Result<Encoded, Fault> {
        let Self { store, form, sources, days } = self;
        let mut images = Vec::with_capacity(days.len());
        if let Some(form) = &form {
            for (number, day) in days {
                images.push(day.image(number, form, facts)?);
            }
        }
        Ok(Encoded { store, rows: form.map(|form| form.rows.clone()), sources, images })
    }
}

impl Form {
    fn new(rows: &SchemaRef, layout: Layout) -> Result<Self, Fault> {
        let index = day_index(rows, layout.day)?;
        let fields: Vec<_> = rows
            .fields()
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != index)
            .map(|(_, field)| field.clone())
            .collect();
        Self::of(rows.clone(), Arc::new(Schema::new(fields)))
    }

    /// The form of files with these columns.
    fn of(rows: SchemaRef, columns: SchemaRef) -> Result<Self, Fault> {
        let unfit = |_| Fault::stop("the rows have columns that Parquet cannot hold");
        let properties = Arc::new(columns::properties(&columns)?);
        let plain = Arc::new(columns::for_parquet(&columns));
        let parquet = ArrowSchemaConverter::new()
            // Lists get the names that the Parquet format prescribes.
            .with_coerce_types(properties.coerce_types())
            .schema_root("schema")
            .convert(&plain)
            .map_err(unfit)?
            .root_schema_ptr();
        // Only a writer can make the factory; this one writes nothing.
        let writer =
            SerializedFileWriter::new(Vec::new(), parquet.clone(), properties.clone()).map_err(unfit)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, plain);
        let compressed = |field: &&Arc<Field>| {
            columns::kind(field.data_type()) == Kind::Other
                && properties.compression(&ColumnPath::from(field.name().as_str()))
                    != Compression::UNCOMPRESSED
        };
        let codecs = columns.fields().iter().filter(compressed).count();
        let guarded = columns.fields().iter().filter(|field| !may_have_statistics(field));
        let guarded = guarded.map(|field| field.name().clone()).collect();
        Ok(Self { rows, columns, parquet, properties, factory, codecs, guarded })
    }

    /// What a file says of itself: these facts, the highest class of its rows, and the columns of which it gives
    /// no statistics.
    fn facts(&self, facts: &[(String, String)], class: Option<Class>) -> Vec<KeyValue> {
        let class = class.map(|class| (CLASS.to_owned(), class.to_string()));
        let guarded = (!self.guarded.is_empty()).then(|| (GUARDED.to_owned(), self.guarded.join(",")));
        let all = facts.iter().cloned().chain(class).chain(guarded);
        all.map(|(key, value)| KeyValue::new(key, value)).collect()
    }

    /// The writers of a row group's leaf columns, in order.
    fn writers(&self, group: usize) -> Result<Vec<Writer>, ParquetError> {
        let others = self.factory.create_column_writers(group)?;
        let leaves = SchemaDescriptor::new(self.parquet.clone());
        let kind = |path: &ColumnPath| {
            let field = path.parts().first().and_then(|name| self.columns.field_with_name(name).ok());
            field.map_or(Kind::Other, |field| columns::kind(field.data_type()))
        };
        let bounds =
            |path: &ColumnPath| !path.parts().first().is_some_and(|name| self.guarded.contains(name));
        let writer = |(other, leaf): (ArrowColumnWriter, &ColumnDescPtr)| match kind(leaf.path()) {
            Kind::Words => Writer::Words(Box::new(WordsWriter::new(leaf.clone(), bounds(leaf.path())))),
            Kind::Numbers => Writer::Numbers(Box::new(NumbersWriter::new(leaf.clone(), bounds(leaf.path())))),
            Kind::Other => Writer::Other(Box::new(other)),
        };
        Ok(others.into_iter().zip(leaves.columns()).map(writer).collect())
    }
}

/// Writes a column to the writers of its leaves.
fn write_column<'a>(
    field: &Field,
    column: &ArrayRef,
    writers: &mut impl Iterator<Item = &'a mut Writer>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("a column has no writer".to_owned());
    // A column of a kind of its own has one leaf; others may have several, or none.
    match columns::kind(field.data_type()) {
        Kind::Words | Kind::Numbers => match writers.next().ok_or_else(missing)? {
            Writer::Words(writer) => writer.write(column),
            Writer::Numbers(writer) => writer.write(column),
            Writer::Other(_) => Err(missing()),
        },
        Kind::Other => {
            for leaf in compute_leaves(field, column)? {
                match writers.next().ok_or_else(missing)? {
                    Writer::Other(writer) => writer.write(&leaf)?,
                    Writer::Words(_) | Writer::Numbers(_) => return Err(missing()),
                }
            }
            Ok(())
        }
    }
}

fn unencodable(_: ParquetError) -> Fault {
    Fault::stop("rows cannot be encoded as Parquet")
}

impl Group {
    /// The `number`-th row group of a file.
    fn new(form: &Form, number: usize) -> Result<Self, Fault> {
        Ok(Self { writers: form.writers(number).map_err(unencodable)?, rows: 0 })
    }

    fn write(&mut self, form: &Form, rows: &RecordBatch) -> Result<(), Fault> {
        let mut writers = self.writers.iter_mut();
        for (field, column) in form.columns.fields().iter().zip(rows.columns()) {
            write_column(field, column, &mut writers).map_err(unencodable)?;
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    /// Whether it has as many rows, or encoded bytes, as a row group shall have.
    fn is_full(&self, bytes: usize) -> bool {
        self.rows >= ROWS_OF_A_GROUP || self.writers.iter().map(Writer::encoded_size).sum::<usize>() >= bytes
    }

    fn close(self) -> Result<Vec<Chunk>, Fault> {
        self.writers.into_iter().map(Writer::close).collect::<Result<_, _>>().map_err(unencodable)
    }
}

impl Day {
    fn write(&mut self, form: &Form, rows: &RecordBatch) -> Result<(), Fault> {
        let group = match &mut self.open {
            Some(group) => group,
            none => none.insert(Group::new(form, self.groups.len())?),
        };
        group.write(form, rows)?;
        if group.is_full(BYTES_OF_A_GROUP) { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), Fault> {
        self.groups.extend(self.open.take().map(Group::close).transpose()?);
        Ok(())
    }

    /// Encodes what waits, in order.
    fn write_waiting(&mut self, form: &Form) -> Result<(), Fault> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting).iter().try_for_each(|rows| self.write(form, rows))
    }

    /// Encodes what waits, and closes the row group.
    fn close(&mut self, form: &Form) -> Result<(), Fault> {
        self.write_waiting(form)?;
        self.close_group()
    }

    /// What the rows hold in memory, of which so many columns are compressed by parquet.
    fn memory_size(&self, codecs: usize) -> usize {
        let closed = self.groups.iter().flatten().map(Chunk::bytes);
        let open = self.open.iter().flat_map(|group| &group.writers).map(Writer::memory_size);
        let compressing = self.open.as_ref().is_some_and(|group| group.rows >= ROWS_OF_A_COMPRESSED_PAGE);
        let codecs = if compressing { BYTES_OF_A_CODEC * codecs } else { 0 };
        closed.sum::<usize>() + open.sum::<usize>() + codecs + self.waiting_bytes
    }

    fn encoded_size(&self) -> usize {
        let closed = self.groups.iter().flatten().map(Chunk::bytes);
        let open = self.open.iter().flat_map(|group| &group.writers).map(Writer::encoded_size);
        closed.sum::<usize>() + open.sum::<usize>()
    }

    fn image(self, day: i32, form: &Form, facts: &[(String, String)]) -> Result<Image, Fault> {
        let failed = |_| Fault::stop("encoded rows do not make a Parquet file");
        let bytes = self.groups.iter().flatten().map(Chunk::bytes).sum::<usize>();
        let bytes = Vec::with_capacity(bytes + (64 << 10));
        let mut writer = SerializedFileWriter::new(bytes, form.parquet.clone(), form.properties.clone())
            .map_err(failed)?;
        for group in self.groups {
            let mut row_group = writer.next_row_group().map_err(failed)?;
            for chunk in group {
                chunk.append(&mut row_group).map_err(failed)?;
            }
            row_group.close().map_err(failed)?;
        }
        for fact in form.facts(facts, self.class) {
            writer.append_key_value_metadata(fact);
        }
        let metadata = writer.finish().map_err(failed)?;
        let bytes = std::mem::take(writer.inner_mut());
        Image::new(day, bytes, &metadata, &form.columns, self.runs, self.class)
    }
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    std::ptr::eq(a, b)
        || (a.fields().len() == b.fields().len()
            && a.fields()
                .iter()
                .zip(b.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type()))
}

fn day_index(schema: &Schema, column: &str) -> Result<usize, Fault> {
    schema.index_of(column).map_err(|_| Fault::stop(format!("column `{column}` is missing")))
}

/// The rows of each day, without the column of days itself.
fn divide(batch: &RecordBatch, column: &'static str) -> Result<Vec<(i32, RecordBatch)>, Fault> {
    let bug = |what: &str| Fault::stop(format!("column `{column}` {what}"));
    let index = day_index(batch.schema_ref(), column)?;
    let days = batch.column(index).as_primitive_opt::<Date32Type>().ok_or_else(|| bug("is no date"))?.clone();
    if days.null_count() > 0 {
        return Err(bug("has a null"));
    }
    let mut batch = batch.clone();
    batch.remove_column(index);
    let Some(first) = days.values().first() else { return Ok(Vec::new()) };
    // By far the commonest case: all rows of a batch are of one day.
    if days.values().iter().all(|day| day == first) {
        return Ok(vec![(*first, batch)]);
    }
    let mut rows_of: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    for (row, day) in (0u32..).zip(days.values()) {
        rows_of.entry(*day).or_default().push(row);
    }
    rows_of
        .into_iter()
        .map(|(day, rows)| {
            let rows = take_record_batch(&batch, &UInt32Array::from(rows))
                .map_err(|_| bug("could not divide the rows by day"))?;
            Ok((day, rows))
        })
        .collect()
}

#[cfg(test)]
mod tests;
