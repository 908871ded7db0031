//! Columns of 64-bit floating-point numbers.
//!
//! Sensors have a resolution, so the values of a signal repeat: a dictionary is both smaller and faster to
//! write than numbers that zstd has to look through (benches/README.md has figures). A signal whose values
//! do not repeat is written as bytes of equal rank together (BYTE_STREAM_SPLIT) or as it is, whichever its
//! first page shows to be smaller.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{Array as _, ArrayRef, Float64Array};
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Dictionary, Levels, Pages, ROWS_OF_A_PAGE, compress, put_indices, unfit};

/// Values of a dictionary, after which numbers are written without. The table of twice as many slots is
/// what the caches near a core hold.
const VALUES_OF_A_DICTIONARY: usize = 1 << 17;
/// A first page of which a larger share is distinct promises more values than a dictionary may have: of
/// 2^17 values that are equally frequent 88 % are distinct in a page.
const DISTINCT: f64 = 0.9;

/// Writes a column chunk of numbers.
#[derive(Debug)]
pub(super) struct NumbersWriter {
    pages: Pages,
    form: Form,
    table: Table,
    rows: usize,
    levels: Levels,
    /// Indices into the table, as long as numbers are written with it.
    indices: Vec<u32>,
    /// Numbers as they are, afterwards.
    plain: Vec<f64>,
    bounds: Option<(f64, f64)>,
}

/// How the page that is being filled will be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Dictionary,
    /// Without a dictionary; how is not known yet.
    Undecided,
    Split,
    Plain,
}

impl NumbersWriter {
    /// A writer for a top-level column of type `Float64`.
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self {
            pages: Pages::new(column),
            form: Form::Dictionary,
            table: Table::default(),
            rows: 0,
            levels: Levels::default(),
            indices: Vec::new(),
            plain: Vec::new(),
            bounds: None,
        }
    }

    /// Takes rows in.
    pub(super) fn write(&mut self, array: &ArrayRef) -> Result<(), ParquetError> {
        let numbers = array.as_primitive_opt::<Float64Type>().ok_or_else(unfit)?;
        if numbers.null_count() > 0 && self.pages.column.max_def_level() == 0 {
            return Err(ParquetError::General("a required column has a null".to_owned()));
        }
        let mut at = 0;
        while at < numbers.len() {
            let count = (ROWS_OF_A_PAGE - self.rows).min(numbers.len() - at);
            self.put(&numbers.slice(at, count));
            at += count;
            if self.rows >= ROWS_OF_A_PAGE {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn put(&mut self, numbers: &Float64Array) {
        self.levels.note(numbers.len(), numbers.nulls());
        self.pages.nulls += numbers.null_count();
        self.rows += numbers.len();
        match (self.form, numbers.null_count()) {
            (Form::Dictionary, 0) => {
                let Self { indices, table, .. } = self;
                indices.extend(numbers.values().iter().map(|number| table.index(*number)));
            }
            (Form::Dictionary, _) => {
                let Self { indices, table, .. } = self;
                indices.extend(numbers.iter().flatten().map(|number| table.index(number)));
            }
            (_, 0) => self.plain.extend(numbers.values()),
            (_, _) => self.plain.extend(numbers.iter().flatten()),
        }
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        if self.rows > 0 {
            if self.form == Form::Dictionary && self.pages.is_empty() && self.is_not_worth_it() {
                self.plain = self.indices.iter().map(|index| self.table.values[*index as usize]).collect();
                self.table = Table::default();
                self.form = Form::Undecided;
            }
            self.write_page()?;
        }
        if self.form == Form::Dictionary && self.table.values.len() >= VALUES_OF_A_DICTIONARY {
            self.form = Form::Undecided;
        }
        self.rows = 0;
        self.levels.clear();
        self.indices.clear();
        self.plain.clear();
        Ok(())
    }

    /// Whether the first page shows that a dictionary saves nothing: too many of its values are distinct,
    /// or, if it is the only one, the dictionary and the indices would take as much room.
    fn is_not_worth_it(&self) -> bool {
        let (distinct, all) = (self.table.values.len() as f64, self.indices.len() as f64);
        let most = if self.rows < ROWS_OF_A_PAGE { 0.3 } else { DISTINCT };
        // Few values are cheap either way.
        all > 64.0 && distinct > all * most
    }

    fn write_page(&mut self) -> Result<(), ParquetError> {
        let (rows, levels, plain) = (self.rows, &self.levels, &self.plain);
        if self.form == Form::Dictionary && !self.indices.is_empty() {
            let (indices, values) = (&self.indices, self.table.values.len());
            return self.pages.add(rows, levels, Encoding::RLE_DICTIONARY, |out| {
                put_indices(indices, values, out);
            });
        }
        if self.form == Form::Undecided {
            self.form = if split_is_smaller(plain)? { Form::Split } else { Form::Plain };
        }
        for number in plain {
            widen(&mut self.bounds, *number);
        }
        if self.form == Form::Split {
            self.pages.add(rows, levels, Encoding::BYTE_STREAM_SPLIT, |out| put_split(plain, out))
        } else {
            self.pages.add(rows, levels, Encoding::PLAIN, |out| put_plain(plain, out))
        }
    }

    /// What it holds in memory, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        let table = self.table.slots.capacity() * 4 + self.table.values.capacity() * 8;
        let page = self.levels.memory_size() + self.indices.capacity() * 4 + self.plain.capacity() * 8;
        self.pages.size() + table + page
    }

    /// The bytes that are ready to be written.
    pub(super) fn encoded_size(&self) -> usize {
        self.pages.size() + self.table.values.len() * 8
    }

    /// Ends the column chunk: its bytes, and what the file says of it.
    pub(super) fn close(mut self) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        self.end_page()?;
        let values = &self.table.values;
        for number in values {
            widen(&mut self.bounds, *number);
        }
        // Zero has two signs of which readers may ask for either (parquet.thrift, `ColumnOrder`).
        let low = self.bounds.map(|(low, _)| if low == 0.0 { -0.0 } else { low });
        let high = self.bounds.map(|(_, high)| if high == 0.0 { 0.0 } else { high });
        let statistics = Statistics::double(low, high, None, Some(self.pages.nulls as u64), false);
        let mut bytes = Vec::new();
        put_plain(values, &mut bytes);
        let dictionary = (!values.is_empty()).then_some(Dictionary { bytes, values: values.len() });
        self.pages.finish(dictionary, statistics)
    }
}

fn widen(bounds: &mut Option<(f64, f64)>, number: f64) {
    // What is no number is in no order.
    if !number.is_nan() {
        let (low, high) = bounds.get_or_insert((number, number));
        (*low, *high) = (low.min(number), high.max(number));
    }
}

fn put_plain(numbers: &[f64], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The first bytes of all numbers, then the second ones, and so on.
fn put_split(numbers: &[f64], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + numbers.len() * 8, 0);
    if numbers.is_empty() {
        return;
    }
    for (rank, stream) in out[start..].chunks_exact_mut(numbers.len()).enumerate() {
        for (byte, number) in stream.iter_mut().zip(numbers) {
            *byte = (number.to_bits() >> (8 * rank)) as u8;
        }
    }
}

/// Whether numbers are smaller split than as they are, once they are compressed.
fn split_is_smaller(numbers: &[f64]) -> Result<bool, ParquetError> {
    let size = |put: fn(&[f64], &mut Vec<u8>)| {
        let mut bytes = Vec::new();
        put(numbers, &mut bytes);
        compress(&bytes).map(|bytes| bytes.len())
    };
    Ok(size(put_split)? < size(put_plain)?)
}

/// The distinct numbers of a chunk, by their bits, in the order in which they came.
#[derive(Debug, Default)]
struct Table {
    values: Vec<f64>,
    /// Indices of values, or [`FREE`]. Open addressing; at most half are taken.
    slots: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl Table {
    /// The index of a number, which may be new.
    #[inline]
    fn index(&mut self, number: f64) -> u32 {
        let bits = number.to_bits();
        let mut at = place(bits, self.slots.len());
        while let Some(index) = self.slots.get(at).copied().filter(|index| *index != FREE) {
            if self.values[index as usize].to_bits() == bits {
                return index;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.insert(number)
    }

    #[cold]
    fn insert(&mut self, number: f64) -> u32 {
        if (self.values.len() + 1) * 2 > self.slots.len() {
            self.slots = vec![FREE; (self.slots.len() * 2).max(1 << 8)];
            for index in 0..self.values.len() {
                self.take_slot(self.values[index].to_bits(), index as u32);
            }
        }
        let index = u32::try_from(self.values.len()).unwrap_or(FREE - 1);
        self.values.push(number);
        self.take_slot(number.to_bits(), index);
        index
    }

    fn take_slot(&mut self, bits: u64, index: u32) {
        let mut at = place(bits, self.slots.len());
        while self.slots[at] != FREE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = index;
    }
}

/// Where to look first. Short decimal numbers differ in all of their bits, integers in the upper ones
/// only: the product carries both to the top.
#[inline]
fn place(bits: u64, slots: usize) -> usize {
    let mixed = (bits ^ (bits >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The number of slots is 0 or a power of two.
    (mixed >> (64 - slots.trailing_zeros().min(63))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_index() {
        let mut table = Table::default();
        let numbers: Vec<f64> = (0..50_000).map(|n| f64::from(n % 7_000) / 10.0 - 300.0).collect();
        let indices: Vec<u32> = numbers.iter().map(|number| table.index(*number)).collect();
        assert_eq!(table.values.len(), 7_000);
        for (number, index) in numbers.iter().zip(indices) {
            assert_eq!(table.values[index as usize].to_bits(), number.to_bits());
        }
        assert_ne!(table.index(0.0), table.index(-0.0), "they are told apart by their bits");
        assert_eq!(table.index(f64::NAN), table.index(f64::NAN));
    }
}
