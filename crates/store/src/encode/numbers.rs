//! Columns of 64-bit floating-point numbers.
//!
//! Sensors have a resolution, so the values of a signal repeat: a dictionary is both smaller and faster to
//! write than numbers that zstd has to look through (ADR 10 has figures). A signal whose values do not
//! repeat is written as it is. BYTE_STREAM_SPLIT would often be smaller, but Spark cannot read it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::LazyLock;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{Array as _, ArrayRef, Float64Array};
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Dictionary, Levels, Pages, ROWS_OF_A_PAGE, put_indices, unfit};

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
    /// Whether numbers are written by the dictionary.
    by_dictionary: bool,
    /// Whether a page has shown that the dictionary is worth it.
    proven: bool,
    table: Table,
    rows: usize,
    levels: Levels,
    /// Indices into the table, as long as numbers are written with it.
    indices: Vec<u32>,
    /// Numbers as they are, afterwards.
    plain: Vec<f64>,
    bounds: Option<(f64, f64)>,
    /// Whether they may be told.
    tells: bool,
}

impl NumbersWriter {
    /// A writer for a top-level column of type `Float64`.
    /// `tells` is whether statistics may tell of the values.
    pub(super) fn new(column: ColumnDescPtr, tells: bool) -> Self {
        Self {
            pages: Pages::new(column),
            by_dictionary: true,
            proven: false,
            table: Table::default(),
            rows: 0,
            levels: Levels::default(),
            indices: Vec::new(),
            plain: Vec::new(),
            bounds: None,
            tells,
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
        match (self.by_dictionary, numbers.null_count()) {
            (true, 0) => {
                let Self { indices, table, .. } = self;
                indices.extend(numbers.values().iter().map(|number| table.index(*number)));
            }
            (true, _) => {
                let Self { indices, table, .. } = self;
                indices.extend(numbers.iter().flatten().map(|number| table.index(number)));
            }
            (_, 0) => self.plain.extend(numbers.values()),
            (_, _) => self.plain.extend(numbers.iter().flatten()),
        }
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        if self.rows > 0 {
            if self.by_dictionary && !self.proven && !self.indices.is_empty() {
                if self.is_not_worth_it() {
                    let values = &self.table.values;
                    self.plain.extend(self.indices.drain(..).map(|index| values[index as usize]));
                    self.table = Table::default();
                    self.by_dictionary = false;
                }
                self.proven = true;
            }
            self.write_page()?;
        }
        if self.table.values.len() >= VALUES_OF_A_DICTIONARY {
            self.by_dictionary = false;
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
        if !self.indices.is_empty() {
            let (indices, values) = (&self.indices, self.table.values.len());
            self.pages.expect_dictionary(values * 8)?;
            return self.pages.add(rows, levels, Encoding::RLE_DICTIONARY, |out| {
                put_indices(indices, values, out);
            });
        }
        for number in plain {
            widen(&mut self.bounds, *number);
        }
        self.pages.add(rows, levels, Encoding::PLAIN, |out| put_plain(plain, out))
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
        let bounds = self.bounds.filter(|_| self.tells);
        let low = bounds.map(|(low, _)| if low == 0.0 { -0.0 } else { low });
        let high = bounds.map(|(_, high)| if high == 0.0 { 0.0 } else { high });
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

/// The distinct numbers of a chunk, by their bits, in the order in which they came.
#[derive(Debug)]
struct Table {
    secret: u64,
    values: Vec<f64>,
    /// Indices of values, or [`FREE`]. Open addressing; at most half are taken.
    slots: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl Default for Table {
    fn default() -> Self {
        Self { secret: *SECRET, values: Vec::new(), slots: Vec::new() }
    }
}

impl Table {
    /// The index of a number, which may be new.
    #[inline]
    fn index(&mut self, number: f64) -> u32 {
        let bits = number.to_bits();
        let mut at = place(bits, self.slots.len(), self.secret);
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
        let mut at = place(bits, self.slots.len(), self.secret);
        while self.slots[at] != FREE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = index;
    }
}

/// Mixed into every place, so that nobody can send numbers that all belong into one.
static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish() | 1);

/// Where to look first: both halves of a product that depends on all bits of number and secret.
#[inline]
fn place(bits: u64, slots: usize, secret: u64) -> usize {
    let product = u128::from(bits ^ secret) * u128::from(secret.rotate_left(32) | 1);
    let mixed = (product as u64 ^ (product >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
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
