//! Reading the files that a compaction replaces, as rows that all have the same columns.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array as _, ArrayRef, DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray, new_empty_array,
    new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use situs_model::columns::dictionary_type;
use situs_model::columns::names::ZONE;

use crate::disk;
use crate::durable::FileError;
use crate::error::Fault;

/// What a batch of rows takes at most, as far as the file's footer tells.
const BYTES_OF_A_BATCH: u64 = 4 << 20;
/// Rows of a batch.
const MOST_ROWS: u64 = 8192;

/// A file to read, as far as it is remembered.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    /// Its rows, as its footer says.
    pub(super) rows: u64,
    /// Those facts of its footer that were asked for, in order.
    pub(super) facts: Vec<Option<String>>,
}

/// The columns of all files, each as all of them can be read.
#[derive(Debug)]
pub(super) struct Columns {
    /// The columns of the rows, in order.
    pub(super) schema: SchemaRef,
    /// Names of the columns that are dictionaries of texts.
    words: BTreeSet<String>,
    /// Names of those that are dictionaries of lists of texts.
    lists: BTreeSet<String>,
}

/// An open file with its footer, which is large: one at a time.
struct Opened {
    file: File,
    metadata: ArrowReaderMetadata,
}

/// What several files have as columns.
#[derive(Default)]
struct Survey {
    /// Each column, and how many files have it.
    fields: Vec<(Field, usize)>,
    places: HashMap<String, usize>,
    /// Columns of text that some file does not encode as a dictionary.
    plain: BTreeSet<String>,
}

impl Opened {
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = disk::open(path).map_err(FileError::new("open", path))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
            .map_err(|_| Fault::stop(format!("{} is no Parquet file that can be read", path.display())))?;
        Ok(Self { file, metadata })
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn fact(&self, key: &str) -> Option<String> {
        let facts = self.metadata.metadata().file_metadata().key_value_metadata()?;
        facts.iter().find(|fact| fact.key == key)?.value.clone()
    }

    fn batch_size(&self) -> usize {
        let groups = self.metadata.metadata().row_groups();
        let bytes: i64 = groups.iter().map(|group| group.total_byte_size()).sum();
        let of_a_row = (u64::try_from(bytes).unwrap_or(0) / self.rows().max(1)).max(1);
        usize::try_from((BYTES_OF_A_BATCH / of_a_row).clamp(64, MOST_ROWS)).unwrap_or(64)
    }

    /// Whether a column of text is encoded as a dictionary in all of the file.
    fn is_dictionary(&self, column: &str) -> bool {
        let metadata = self.metadata.metadata();
        let leaves = metadata.file_metadata().schema_descr();
        let of_column =
            |index: &usize| leaves.column(*index).path().parts().first().is_some_and(|name| name == column);
        let indices: Vec<usize> = (0..leaves.num_columns()).filter(of_column).collect();
        let mut groups = metadata.row_groups().iter();
        groups
            .all(|group| indices.iter().all(|index| group.column(*index).dictionary_page_offset().is_some()))
    }
}

/// Looks at the footers of files: what they hold, with these facts, and the columns of their rows.
pub(super) fn survey(paths: Vec<PathBuf>, facts: &[&str]) -> Result<(Vec<Input>, Columns), Fault> {
    let mut inputs = Vec::with_capacity(paths.len());
    let mut survey = Survey::default();
    for path in paths {
        let opened = Opened::open(&path)?;
        survey.add(&opened, &path)?;
        let facts = facts.iter().map(|key| opened.fact(key)).collect();
        inputs.push(Input { path, rows: opened.rows(), facts });
    }
    let columns = survey.columns(inputs.len());
    Ok((inputs, columns))
}

impl Input {
    /// Calls `each` with all rows, batch by batch.
    pub(super) fn read(
        &self,
        columns: &Columns,
        mut each: impl FnMut(RecordBatch) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.batches(columns)?.try_for_each(|batch| each(batch?))
    }

    /// All rows, batch by batch.
    pub(super) fn batches<'a>(
        &'a self,
        columns: &'a Columns,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, Fault>> + 'a, Fault> {
        let bad = || Fault::stop(format!("{} cannot be read", self.path.display()));
        let opened = Opened::open(&self.path)?;
        let batch_size = opened.batch_size();
        let options = ArrowReaderOptions::new().with_schema(columns.asked_of(opened.metadata.schema()));
        let metadata =
            ArrowReaderMetadata::try_new(opened.metadata.metadata().clone(), options).map_err(|_| bad())?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened.file, metadata)
            .with_batch_size(batch_size)
            .build()
            .map_err(|_| bad())?;
        Ok(reader.map(move |batch| columns.align(&batch.map_err(|_| bad())?).map_err(|_| bad())))
    }
}

impl Survey {
    fn add(&mut self, opened: &Opened, path: &Path) -> Result<(), Fault> {
        for field in opened.metadata.schema().fields() {
            let name = field.name();
            match self.places.get(name) {
                None => {
                    self.places.insert(name.clone(), self.fields.len());
                    self.fields.push((field.as_ref().clone().with_metadata(HashMap::new()), 1));
                }
                Some(at) if self.fields[*at].0.data_type() == field.data_type() => {
                    let (known, files) = &mut self.fields[*at];
                    known.set_nullable(known.is_nullable() || field.is_nullable());
                    *files += 1;
                }
                Some(_) => {
                    return Err(Fault::stop(format!(
                        "{}: column `{name}` has another type than in the files before",
                        path.display()
                    )));
                }
            }
            // What was hardly repeated when it came is not made a dictionary now. The zone of every
            // row is looked at, so it is one in any case.
            if is_text(field.data_type()) && name != ZONE && !opened.is_dictionary(name) {
                self.plain.insert(name.clone());
            }
        }
        Ok(())
    }

    fn columns(self, files: usize) -> Columns {
        let (mut words, mut lists) = (BTreeSet::new(), BTreeSet::new());
        let mut fields = Vec::with_capacity(self.fields.len());
        for (mut field, found) in self.fields {
            if found < files {
                // The others lack it.
                field.set_nullable(true);
            }
            if is_text(field.data_type()) && !self.plain.contains(field.name()) {
                if *field.data_type() == DataType::Utf8 {
                    words.insert(field.name().clone());
                    field.set_data_type(dictionary_type());
                } else if field.name().starts_with('_') {
                    // Lists that Situs adds hold no null, which lists of a payload may.
                    lists.insert(field.name().clone());
                    let list = Box::new(field.data_type().clone());
                    field.set_data_type(DataType::Dictionary(Box::new(DataType::Int32), list));
                }
            }
            fields.push(field);
        }
        Columns { schema: Arc::new(Schema::new(fields)), words, lists }
    }
}

/// Text, or a list of texts.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 => true,
        DataType::List(element) => *element.data_type() == DataType::Utf8,
        _ => false,
    }
}

impl Columns {
    /// Reads these columns of text, or of lists of text where `is_list` says so, as dictionaries in any case.
    pub(super) fn as_words(&mut self, names: &[&str], is_list: impl Fn(&str) -> bool) {
        let mut field = |field: &FieldRef| {
            let (name, data_type) = (field.name().as_str(), field.data_type());
            if !names.contains(&name) || !is_text(data_type) {
                return field.clone();
            }
            let of = match is_list(name) {
                true => {
                    self.lists.insert(name.to_owned());
                    DataType::Dictionary(Box::new(DataType::Int32), Box::new(data_type.clone()))
                }
                false => {
                    self.words.insert(name.to_owned());
                    dictionary_type()
                }
            };
            Arc::new(field.as_ref().clone().with_data_type(of))
        };
        let fields: Vec<FieldRef> = self.schema.fields().iter().map(&mut field).collect();
        self.schema = Arc::new(Schema::new(fields));
    }

    /// What parquet is asked for: dictionaries of texts, but of lists it knows none.
    fn asked_of(&self, file: &Schema) -> SchemaRef {
        let field = |field: &Arc<Field>| {
            let plain = field.as_ref().clone();
            if self.words.contains(field.name()) { plain.with_data_type(dictionary_type()) } else { plain }
        };
        Arc::new(Schema::new(file.fields().iter().map(field).collect::<Vec<_>>()))
    }

    fn align(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let rows = batch.num_rows();
        let column = |field: &Arc<Field>| -> Result<ArrayRef, ArrowError> {
            match batch.column_by_name(field.name()) {
                Some(column) if self.lists.contains(field.name()) => dictionary_of_lists(column),
                Some(column) => Ok(column.clone()),
                None => match field.data_type() {
                    // The store's writers take no null among a dictionary's values.
                    DataType::Dictionary(_, values) => {
                        let keys = Int32Array::new_null(rows);
                        Ok(Arc::new(DictionaryArray::try_new(keys, new_empty_array(values))?))
                    }
                    other => Ok(new_null_array(other, rows)),
                },
            }
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

/// Lists of texts as a dictionary of the lists that differ.
fn dictionary_of_lists(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let odd = || ArrowError::CastError("a column is no list of texts".to_owned());
    let lists: &ListArray = column.as_list_opt::<i32>().ok_or_else(odd)?;
    let texts: &StringArray = lists.values().as_string_opt::<i32>().ok_or_else(odd)?;
    let mut numbers: HashMap<Vec<Option<&str>>, i32> = HashMap::new();
    let mut firsts: Vec<i32> = Vec::new();
    let mut keys: Vec<Option<i32>> = Vec::with_capacity(lists.len());
    let offsets = lists.value_offsets();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            keys.push(None);
            continue;
        }
        let entries = offsets[row] as usize..offsets[row + 1] as usize;
        let list: Vec<Option<&str>> =
            entries.map(|entry| texts.is_valid(entry).then(|| texts.value(entry))).collect();
        let next = i32::try_from(firsts.len()).map_err(|_| odd())?;
        let number = *numbers.entry(list).or_insert(next);
        if number == next {
            firsts.push(i32::try_from(row).map_err(|_| odd())?);
        }
        keys.push(Some(number));
    }
    let values = take(column.as_ref(), &Int32Array::from(firsts), None)?;
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), values)?))
}
