//! Columns of text of a Parquet file that is no table of a store, such as a list of devices.

use std::fs::File;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_cast::cast;
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Why columns of text cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// The file is not there, or is no Parquet.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It has a column that was not asked for.
    #[error("there is a column `{0}` that has no meaning here")]
    Unknown(String),
    /// A column is of another type.
    #[error("the column `{column}` must be text, found {found}")]
    NoText {
        /// Its name.
        column: String,
        /// Its type.
        found: DataType,
    },
}

fn unreadable(error: impl std::fmt::Display) -> TextsError {
    TextsError::Unreadable(error.to_string())
}

/// The values of these columns of a Parquet file, row by row; `None` for a column that the file does not
/// have. Any of Arrow's types for text is taken. The file has no other columns.
///
/// # Memory
/// All values are held.
///
/// # Errors
/// [`TextsError`].
pub fn read_texts<const N: usize>(
    path: &Path,
    columns: [&str; N],
) -> Result<[Option<Vec<Option<String>>>; N], TextsError> {
    let file = File::open(path).map_err(unreadable)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    let schema = builder.schema().clone();
    for field in schema.fields() {
        if !columns.contains(&field.name().as_str()) {
            return Err(TextsError::Unknown(field.name().clone()));
        }
        let text = match field.data_type() {
            DataType::Dictionary(_, value) => value.is_string(),
            other => other.is_string(),
        };
        if !text {
            return Err(TextsError::NoText {
                column: field.name().clone(),
                found: field.data_type().clone(),
            });
        }
    }
    let mut values = columns.map(|column| schema.column_with_name(column).map(|_| Vec::new()));
    for batch in builder.build().map_err(unreadable)? {
        let batch: RecordBatch = batch.map_err(unreadable)?;
        for (column, values) in columns.iter().zip(&mut values) {
            let Some((array, values)) = batch.column_by_name(column).zip(values.as_mut()) else { continue };
            let array = cast(array, &DataType::Utf8).map_err(unreadable)?;
            values.extend(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, LargeStringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    #[test]
    fn text_of_all_types_is_read_in_the_order_that_was_asked_for() {
        let devices: ArrayRef = Arc::new(LargeStringArray::from(vec!["nn-1", "nn-2"]));
        let lines: DictionaryArray<Int32Type> = [Some("l-1"), None].into_iter().collect();
        let file = written(vec![("line", Arc::new(lines)), ("device", devices)]);
        let [device, line, other] = read_texts(file.path(), ["device", "line", "other"]).unwrap();
        let owned = |text: &str| Some(text.to_owned());
        assert_eq!(device, Some(vec![owned("nn-1"), owned("nn-2")]));
        assert_eq!(line, Some(vec![owned("l-1"), None]));
        assert_eq!(other, None);
    }

    #[test]
    fn what_is_not_as_expected_is_refused() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let file = written(vec![("device", numbers.clone())]);
        let error = read_texts(file.path(), ["device"]).unwrap_err().to_string();
        assert_eq!(error, "the column `device` must be text, found Int64");
        let file = written(vec![("devise", numbers)]);
        assert!(
            matches!(read_texts(file.path(), ["device"]), Err(TextsError::Unknown(name)) if name == "devise")
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "device\n").unwrap();
        assert!(matches!(read_texts(file.path(), ["device"]), Err(TextsError::Unreadable(_))));
    }
}
