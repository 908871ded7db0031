//! JSON, with bytes as base64.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::base64::{BASE64_STANDARD, Engine as _};
use arrow_json::writer::{
    Encoder, EncoderFactory, EncoderOptions, JsonFormat, NullableEncoder, WriterBuilder, make_encoder,
};
use arrow_schema::{ArrowError, DataType, FieldRef, SchemaRef};

/// Writes an array of objects, one per line; of no rows the empty array.
pub(super) fn write(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    out: &mut dyn Write,
) -> Result<(), ArrowError> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        out.write_all(b"[]\n")?;
        return Ok(());
    }
    let batches = super::convert(batches, schema, |_, column| Ok(column.clone()))?;
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(Base64Bytes))
        .build::<_, RowsOnLines>(out);
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.finish()
}

/// A column as text: lists and structs as JSON, bytes as base64.
pub(super) fn as_text(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options =
        EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(Base64Bytes));
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut buffer = Vec::new();
    let cells = (0..column.len())
        .map(|row| {
            if encoder.is_null(row) {
                return Ok(None);
            }
            buffer.clear();
            encoder.encode(row, &mut buffer);
            let text = std::str::from_utf8(&buffer)
                .map_err(|_| ArrowError::JsonError("JSON that is no UTF-8".to_owned()))?;
            // Base64 stands alone in its cell, so it needs no quotes.
            let bare = if column.data_type().is_nested() { text } else { text.trim_matches('"') };
            Ok(Some(bare.to_owned()))
        })
        .collect::<Result<StringArray, ArrowError>>()?;
    Ok(Arc::new(cells))
}

/// `[`, one object per line, `]`.
#[derive(Debug, Default)]
struct RowsOnLines;

impl JsonFormat for RowsOnLines {
    fn start_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        writer.write_all(b"[")?;
        Ok(())
    }

    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        writer.write_all(if is_first_row { b"\n" } else { b",\n" })?;
        Ok(())
    }

    fn end_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        writer.write_all(b"\n]\n")?;
        Ok(())
    }
}

/// Bytes as base64 wherever they stand, also within lists; Arrow's own choice would be hexadecimal.
#[derive(Debug)]
struct Base64Bytes;

impl EncoderFactory for Base64Bytes {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let nulls = array.nulls().cloned();
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Binary => {
                let bytes = array.as_binary::<i32>();
                Box::new(Base64(|row| bytes.value(row)))
            }
            DataType::LargeBinary => {
                let bytes = array.as_binary::<i64>();
                Box::new(Base64(|row| bytes.value(row)))
            }
            DataType::BinaryView => {
                let bytes = array.as_binary_view();
                Box::new(Base64(|row| bytes.value(row)))
            }
            DataType::FixedSizeBinary(_) => {
                let bytes = array.as_fixed_size_binary();
                Box::new(Base64(|row| bytes.value(row)))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, nulls)))
    }
}

struct Base64<F>(F);

impl<'a, F: Fn(usize) -> &'a [u8]> Encoder for Base64<F> {
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(BASE64_STANDARD.encode((self.0)(idx)).as_bytes());
        out.push(b'"');
    }
}
