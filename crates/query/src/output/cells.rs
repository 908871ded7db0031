//! Cells for people.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};

/// Characters shown of bytes and of lists.
const LIMIT: usize = 60;

/// Whether a cell of this type is one short value that Arrow knows how to print.
pub(super) fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_plain(values),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            false
        }
        other => !other.is_nested(),
    }
}

/// A column as text that is safe to print. Text keeps its line breaks (plans of EXPLAIN have them).
pub(super) fn for_people(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let cells: StringArray = match column.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let bytes = cast(column, &DataType::BinaryView)?;
            bytes.as_binary_view().iter().map(|value| value.map(visible_bytes)).collect()
        }
        other => {
            let options = FormatOptions::default().with_display_error(true);
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
            let nested = other.is_nested();
            (0..column.len())
                .map(|row| {
                    let text = || formatter.value(row).to_string();
                    (!column.is_null(row)).then(|| {
                        if nested { shorten(visible(&text(), false).chars()) } else { visible(&text(), true) }
                    })
                })
                .collect()
        }
    };
    Ok(Arc::new(cells))
}

/// Text with everything escaped that would steer a terminal: control characters, and those that turn
/// the direction of writing.
pub(super) fn visible(text: &str, keep_lines: bool) -> String {
    let steers = |c: char| {
        (c.is_control() && !(keep_lines && c == '\n'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Bytes as text: what is UTF-8 as such, the other bytes as `\xNN`.
fn visible_bytes(bytes: &[u8]) -> String {
    // More than is shown need not be looked at; a character has at most four bytes.
    let head = bytes.get(..4 * LIMIT + 4).unwrap_or(bytes);
    let mut text = String::new();
    for chunk in head.utf8_chunks() {
        text.push_str(&visible(chunk.valid(), false));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    shorten(text.chars())
}

fn shorten(mut chars: impl Iterator<Item = char> + Clone) -> String {
    if chars.clone().nth(LIMIT).is_none() {
        return chars.collect();
    }
    let mut text: String = chars.by_ref().take(LIMIT - 1).collect();
    text.push('…');
    text
}
