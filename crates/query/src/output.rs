//! Results as text and files.

mod cells;
mod json;

use std::collections::HashSet;
use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_cast::pretty::pretty_format_batches_with_schema;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use situs_model::InvalidWord;

use crate::error::QueryError;
use crate::session::QueryResult;

/// How a result is written.
///
/// | format | bytes | lists | no rows |
/// |---|---|---|---|
/// | `table` | text, at most 60 characters | at most 60 characters | the header |
/// | `csv` | base64 | JSON text | the header |
/// | `json` | base64 | arrays | `[]` |
/// | `parquet` | as they are | as they are | a file without rows |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people: a box of columns. Control characters are shown escaped, since what a machine
    /// sent must not steer a terminal.
    Table,
    /// RFC 4180 with a header. Null is an empty field.
    Csv,
    /// An array with one object per line. Null is written; a column's name that repeats gets a
    /// number.
    Json,
    /// One Parquet file, compressed with zstd. A column's name that repeats gets a number.
    Parquet,
}

impl Format {
    /// Every word with its value.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("table", Self::Table), ("csv", Self::Csv), ("json", Self::Json), ("parquet", Self::Parquet)];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, format)| *format).ok_or_else(|| {
            InvalidWord {
                expected: "`table`, `csv`, `json` or `parquet`",
                found: text.chars().take(60).collect(),
            }
        })
    }
}

/// Writes a whole result. A result without rows still shows its columns, except in JSON.
///
/// # Errors
/// [`QueryError::Write`] if `out` fails, [`QueryError::Encode`] if the format has no way to write a
/// column's type.
pub fn write(result: &QueryResult, format: Format, out: &mut dyn Write) -> Result<(), QueryError> {
    match format {
        Format::Table => write_table(result, out)?,
        Format::Csv => write_csv(result, out)?,
        Format::Json => json::write(&unique_names(&result.schema), &result.batches, out)?,
        Format::Parquet => write_parquet(result, out)?,
    }
    out.flush()?;
    Ok(())
}

fn write_table(result: &QueryResult, out: &mut dyn Write) -> Result<(), QueryError> {
    let fields: Vec<Field> = result
        .schema
        .fields()
        .iter()
        .map(|field| Field::new(cells::visible(field.name(), false), DataType::Utf8, true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batches = convert(&result.batches, &schema, |_, column| cells::for_people(column))?;
    writeln!(out, "{}", pretty_format_batches_with_schema(schema, &batches)?)?;
    Ok(())
}

fn write_csv(result: &QueryResult, out: &mut dyn Write) -> Result<(), QueryError> {
    let fields: Vec<Field> = result
        .schema
        .fields()
        .iter()
        .map(|field| {
            let data_type =
                if cells::is_plain(field.data_type()) { field.data_type() } else { &DataType::Utf8 };
            Field::new(field.name(), data_type.clone(), true)
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batches = convert(&result.batches, &schema, |index, column| {
        if cells::is_plain(column.data_type()) {
            Ok(column.clone())
        } else {
            json::as_text(&result.schema.fields()[index], column)
        }
    })?;
    let mut writer = arrow_csv::Writer::new(out);
    // The header is written with the first batch, so there must be one.
    writer.write(&RecordBatch::new_empty(schema))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    Ok(())
}

fn write_parquet(result: &QueryResult, out: &mut dyn Write) -> Result<(), QueryError> {
    let named = unique_names(&result.schema);
    // Views are this engine's affair; the file says what every reader knows.
    let fields: Vec<Field> = named
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Utf8View => DataType::Utf8,
                DataType::BinaryView => DataType::Binary,
                other => other.clone(),
            };
            field.as_ref().clone().with_data_type(data_type)
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batches =
        convert(&result.batches, &schema, |index, column| cast(column, schema.field(index).data_type()))?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    out.write_all(&writer.into_inner()?)?;
    Ok(())
}

/// The batches with other columns, made one by one from theirs.
fn convert(
    batches: &[RecordBatch],
    schema: &SchemaRef,
    column: impl Fn(usize, &ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    batches
        .iter()
        .map(|batch| {
            let columns = batch
                .columns()
                .iter()
                .enumerate()
                .map(|(index, values)| column(index, values))
                .collect::<Result<Vec<_>, _>>()?;
            // Without columns (`select` of nothing) the number of rows must be said.
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        })
        .collect()
}

/// The schema with every name once: the second `x` becomes `x_2`.
fn unique_names(schema: &SchemaRef) -> SchemaRef {
    let all: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if all.len() == schema.fields().len() {
        return schema.clone();
    }
    let mut used: HashSet<String> = HashSet::new();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = field.name().clone();
            let mut number = 2;
            while used.contains(&name) || (number > 2 && all.contains(name.as_str())) {
                name = format!("{}_{number}", field.name());
                number += 1;
            }
            used.insert(name.clone());
            field.as_ref().clone().with_name(name)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests;
