//! Reading some columns of a Parquet file, whoever wrote it.

use std::fs::File;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

/// Rows of a batch.
const BATCH: usize = 8192;

/// Reads the columns of these names, or all if none is named; a column that the file lacks is left out.
///
/// The types are those that the Parquet schema says, whatever an engine notes about its own: text is always
/// `Utf8`.
pub(crate) fn columns(file: File, names: &[&str]) -> Result<ParquetRecordBatchReader, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?.with_batch_size(BATCH);
    if names.is_empty() {
        return builder.build();
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    builder.with_projection(mask).build()
}
