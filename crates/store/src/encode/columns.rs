//! How each column is written.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use situs_model::columns::names;
use situs_model::mask::may_have_statistics;

use crate::error::Fault;

/// How parquet's own writers write. Text that is no dictionary hardly repeats as a whole, so a dictionary
/// would be given up; whole numbers and times differ little from one row to the next. Statistics per page only
/// where queries cut: time and offset.
pub(super) fn properties(schema: &Schema) -> Result<WriterProperties, Fault> {
    let level = ZstdLevel::try_new(1).map_err(|_| Fault::stop("zstd has no level 1"))?;
    let mut properties = WriterProperties::builder()
        // In the form that other readers parse; some distrust statistics of writers they cannot parse.
        .set_created_by(concat!("situs version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_coerce_types(true);
    for column in [names::EVENT_TIME, names::OFFSET] {
        properties =
            properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Page);
    }
    for field in schema.fields() {
        properties = column(properties, field);
    }
    for field in schema.fields().iter().filter(|field| !may_have_statistics(field)) {
        for leaf in leaves(field) {
            properties = properties.set_column_statistics_enabled(leaf, EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

/// The paths of a column's leaves, as they may be.
fn leaves(field: &Field) -> [ColumnPath; 2] {
    let path = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    [path(&[field.name()]), path(&[field.name(), "list", "element"])]
}

/// Who writes a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// [`WordsWriter`](super::words::WordsWriter).
    Words,
    /// [`NumbersWriter`](super::numbers::NumbersWriter).
    Numbers,
    /// parquet's own writers.
    Other,
}

/// Who writes a top-level column of this type.
pub(super) fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Float64 => Kind::Numbers,
        DataType::Dictionary(key, value) if **key == DataType::Int32 => match value.as_ref() {
            DataType::Utf8 => Kind::Words,
            DataType::List(element) if *element.data_type() == DataType::Utf8 => Kind::Words,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

/// Whether it is a dictionary of lists.
fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(_, value) if matches!(**value, DataType::List(_)))
}

/// The columns as parquet's own writers shall see them, which know no dictionaries of lists.
pub(super) fn for_parquet(columns: &Schema) -> Schema {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Dictionary(_, value) if is_list(field.data_type()) => {
            Arc::new(field.as_ref().clone().with_data_type(value.as_ref().clone()))
        }
        _ => field.clone(),
    };
    Schema::new(columns.fields().iter().map(field).collect::<Vec<_>>())
}

fn column(properties: WriterPropertiesBuilder, field: &Field) -> WriterPropertiesBuilder {
    let path = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    let whole = path(&[field.name()]);
    match field.data_type() {
        // parquet makes a writer for these columns too, which is not used; let it have no codec.
        data_type if kind(data_type) != Kind::Other => {
            let leaf = if is_list(data_type) { path(&[field.name(), "list", "element"]) } else { whole };
            properties.set_column_compression(leaf, Compression::UNCOMPRESSED)
        }
        DataType::List(element) if *element.data_type() == DataType::Utf8 => {
            properties.set_column_dictionary_enabled(path(&[field.name(), "list", "element"]), true)
        }
        // Text that is no dictionary often begins as the one before did.
        DataType::Utf8 => properties.set_column_encoding(whole, Encoding::DELTA_BYTE_ARRAY),
        // Differences of whole numbers are packed to the bit, which leaves zstd next to nothing; those of
        // times have patterns.
        DataType::Int32 | DataType::Int64 => properties
            .set_column_encoding(whole.clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(whole, Compression::UNCOMPRESSED),
        DataType::Timestamp(..) => properties.set_column_encoding(whole, Encoding::DELTA_BINARY_PACKED),
        _ => properties,
    }
}
