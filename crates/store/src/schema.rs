//! From the columns of rows to the columns of a table.

use std::collections::{BTreeMap, HashMap};

use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::kernel::{MetadataValue, StructField, StructType};

use crate::error::Fault;

/// The columns of a table that takes rows like these: dictionaries become text, since how text is
/// encoded is a file's own business; unit and class stay with the column.
///
/// # Errors
/// Stops at types that other engines cannot read (DESIGN section 4, question 8).
pub(crate) fn table_schema(rows: &Schema) -> Result<StructType, Fault> {
    let mut fields: Vec<StructField> = Vec::with_capacity(rows.fields().len());
    for field in rows.fields() {
        fields.push(table_field(field)?);
    }
    StructType::try_new(fields).map_err(|_| Fault::stop("two columns of the rows have the same name"))
}

/// What a table's columns must become so that these rows fit; `None` if they fit as they are.
///
/// Unit and classes of a column become those of the new rows. New columns are added as nullable, since the files that are there lack them; a column that may be
/// missing or null in the new rows becomes nullable.
///
/// # Errors
/// Stops at a column whose type differs, naming it.
pub(crate) fn widened(table: &StructType, rows: &Schema) -> Result<Option<StructType>, Fault> {
    let new = table_schema(rows)?;
    let mut changed = false;
    let mut fields: Vec<StructField> = Vec::new();
    for field in table.fields() {
        let mut field = field.clone();
        let nullable = match new.field(field.name()) {
            None => true,
            Some(new) if new.data_type() == field.data_type() => new.is_nullable(),
            Some(_) => {
                return Err(Fault::stop(format!("column `{}` of the table has another type", field.name())));
            }
        };
        if nullable && !field.is_nullable() {
            field.nullable = true;
            changed = true;
        }
        // What a column is classed as may change with the schema.
        let news = new.field(field.name()).map(|new| &new.metadata);
        if let Some(news) = news
            && ours(news).ne(ours(&field.metadata))
        {
            field.metadata.retain(|key, _| !key.starts_with(OURS));
            field.metadata.extend(ours(news).map(|(key, value)| (key.clone(), value.clone())));
            changed = true;
        }
        fields.push(field);
    }
    for field in new.fields() {
        if table.field(field.name()).is_none() {
            let mut field = field.clone();
            field.nullable = true;
            fields.push(field);
            changed = true;
        }
    }
    if !changed {
        return Ok(None);
    }
    let schema = StructType::try_new(fields)
        .map_err(|_| Fault::stop("a column of the rows and one of the table differ in case only"))?;
    Ok(Some(schema))
}

/// Begins the keys of metadata that say what a column is to Situs.
const OURS: &str = "situs.";

/// These keys, in order.
fn ours(metadata: &HashMap<String, MetadataValue>) -> impl Iterator<Item = (&String, &MetadataValue)> {
    let ours: BTreeMap<_, _> = metadata.iter().filter(|(key, _)| key.starts_with(OURS)).collect();
    ours.into_iter()
}

fn table_field(field: &FieldRef) -> Result<StructField, Fault> {
    let refused = || Fault::stop(format!("column `{}` has a type that tables do not hold", field.name()));
    let data_type = plain(field.data_type()).ok_or_else(refused)?;
    // Keys with a meaning to Parquet or Delta would change what the table is.
    let metadata: HashMap<String, String> = field
        .metadata()
        .iter()
        .filter(|(key, _)| !key.starts_with("delta.") && !key.to_ascii_lowercase().starts_with("parquet"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let field = Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata);
    (&field).try_into_kernel().map_err(|_| refused())
}

/// The type without dictionaries; `None` for types that some engine would read as another type.
fn plain(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32 => data_type.clone(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => data_type.clone(),
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => DataType::Utf8,
        DataType::Dictionary(_, values) if matches!(**values, DataType::List(_)) => plain(values)?,
        DataType::List(element) => {
            let inner = plain(element.data_type())?;
            DataType::List(Field::new("element", inner, element.is_nullable()).into())
        }
        DataType::Struct(fields) => {
            let mut inner: Vec<Field> = Vec::with_capacity(fields.len());
            for field in fields {
                inner.push(Field::new(field.name(), plain(field.data_type())?, field.is_nullable()));
            }
            DataType::Struct(inner.into())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
