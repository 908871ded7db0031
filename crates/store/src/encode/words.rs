//! Columns of text that repeats: from Arrow's dictionaries to Parquet's without looking at each value.
//!
//! parquet's own writer hashes and compares the text of every row again. Here a dictionary's values are
//! looked up once per batch, and not at all while batches share the same one; a row costs the
//! translation of its number. Constant columns cost next to nothing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, StringArray};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, EncodingMask, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;

/// Rows of a page.
const ROWS_OF_A_PAGE: usize = 1 << 15;
/// Bytes of the dictionary, after which values are written as they are.
const BYTES_OF_A_DICTIONARY: usize = 4 << 20;
/// Bytes of a page of values that are written as they are.
const BYTES_OF_A_PAGE: usize = 1 << 20;
/// Statistics give no longer bounds than parquet's own writer does.
const LONGEST_BOUND: usize = 64;
/// A number that was not translated yet.
const UNKNOWN: u32 = u32::MAX;

/// Writes a column chunk of text.
#[derive(Debug)]
pub(super) struct WordsWriter {
    column: ColumnDescPtr,
    compressor: Compressor,
    /// The number of each value.
    numbers: HashMap<Box<[u8]>, u32>,
    /// The dictionary as it is written.
    dictionary: Vec<u8>,
    /// The values of the last batch's dictionary, and their numbers here.
    last: Option<(ArrayRef, Vec<u32>)>,
    /// The page that is being filled.
    page: OpenPage,
    pages: Vec<DonePage>,
    rows: usize,
    nulls: usize,
    bounds: Option<(Box<[u8]>, Box<[u8]>)>,
}

#[derive(Debug, Default)]
struct OpenPage {
    rows: usize,
    /// For each row whether it has a value; empty as long as all have.
    valid: Vec<u32>,
    /// Numbers of values.
    numbers: Vec<u32>,
    /// Values as they are, once the dictionary is full.
    plain: Option<Vec<u8>>,
}

#[derive(Debug)]
struct DonePage {
    rows: usize,
    encoding: Encoding,
    bytes: Bytes,
    uncompressed: usize,
}

impl WordsWriter {
    /// A writer for a column of type `Dictionary(Int32, Utf8)`, which is not nested.
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self {
            column,
            compressor: Compressor::default(),
            numbers: HashMap::new(),
            dictionary: Vec::new(),
            last: None,
            page: OpenPage::default(),
            pages: Vec::new(),
            rows: 0,
            nulls: 0,
            bounds: None,
        }
    }

    /// Takes rows in.
    pub(super) fn write(&mut self, array: &ArrayRef) -> Result<(), ParquetError> {
        let unfit = || ParquetError::General("a column of words is of another type".to_owned());
        let words = array.as_dictionary_opt::<Int32Type>().ok_or_else(unfit)?;
        let values = words.values().as_string_opt::<i32>().ok_or_else(unfit)?;
        let mut known = match self.last.take() {
            Some((last, known)) if same_array(&last, words.values()) => known,
            _ => vec![UNKNOWN; values.len()],
        };
        let keys = words.keys();
        if keys.null_count() > 0 && self.column.max_def_level() == 0 {
            return Err(ParquetError::General("a required column has a null".to_owned()));
        }
        let mut at = 0;
        while at < keys.len() {
            let count = (ROWS_OF_A_PAGE - self.page.rows).min(keys.len() - at);
            if self.page.plain.is_none() {
                self.put_numbers(&keys.slice(at, count), values, &mut known);
            } else {
                self.put_plain(&keys.slice(at, count), values);
            }
            at += count;
            let plain = self.page.plain.as_ref().map_or(0, Vec::len);
            if self.page.rows >= ROWS_OF_A_PAGE || plain >= BYTES_OF_A_PAGE {
                self.end_page()?;
            }
        }
        self.rows += keys.len();
        self.last = Some((words.values().clone(), known));
        Ok(())
    }

    fn put_numbers(
        &mut self,
        keys: &arrow_array::PrimitiveArray<Int32Type>,
        values: &StringArray,
        known: &mut [u32],
    ) {
        let page = &mut self.page;
        page.note_valid(keys);
        self.nulls += keys.null_count();
        let (numbers, dictionary) = (&mut self.numbers, &mut self.dictionary);
        let mut number = |key: i32| {
            let place = &mut known[key as usize];
            if *place == UNKNOWN {
                *place = number_of(values.value(key as usize).as_bytes(), numbers, dictionary);
            }
            *place
        };
        if keys.null_count() > 0 {
            page.numbers.extend(keys.iter().flatten().map(number));
        } else if let ([first, ..], 1) = (&keys.values()[..], values.len()) {
            let number = number(*first);
            page.numbers.resize(page.numbers.len() + keys.len(), number);
        } else {
            page.numbers.extend(keys.values().iter().map(|key| number(*key)));
        }
        page.rows += keys.len();
    }

    fn put_plain(&mut self, keys: &arrow_array::PrimitiveArray<Int32Type>, values: &StringArray) {
        self.page.note_valid(keys);
        self.nulls += keys.null_count();
        for key in keys.iter().flatten() {
            let value = values.value(key as usize).as_bytes();
            if let Some(plain) = &mut self.page.plain {
                put_value(value, plain);
            }
            widen(&mut self.bounds, value);
        }
        self.page.rows += keys.len();
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        let plain = self.page.plain.is_some() || self.dictionary.len() >= BYTES_OF_A_DICTIONARY;
        let page = std::mem::take(&mut self.page);
        if page.rows > 0 {
            let mut bytes = Vec::with_capacity(page.numbers.len() / 2 + 64);
            if self.column.max_def_level() > 0 {
                bytes.extend_from_slice(&[0; 4]);
                match page.valid.as_slice() {
                    [] => hybrid::put_run(1, page.rows, 1, &mut bytes),
                    valid => hybrid::encode(valid, 1, &mut bytes),
                }
                let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
                bytes[..4].copy_from_slice(&length.to_le_bytes());
            }
            let encoding = match &page.plain {
                Some(plain) => {
                    bytes.extend_from_slice(plain);
                    Encoding::PLAIN
                }
                None => {
                    let most = u32::try_from(self.numbers.len().saturating_sub(1)).unwrap_or(u32::MAX);
                    let width = hybrid::width_of(most);
                    bytes.push(width as u8);
                    hybrid::encode(&page.numbers, width, &mut bytes);
                    Encoding::RLE_DICTIONARY
                }
            };
            let uncompressed = bytes.len();
            let bytes = self.compressor.compress(bytes)?;
            self.pages.push(DonePage { rows: page.rows, encoding, bytes, uncompressed });
        }
        // The vectors' room is used again.
        let OpenPage { mut valid, mut numbers, plain: last, .. } = page;
        valid.clear();
        numbers.clear();
        let plain = plain.then(|| {
            last.map_or_else(Vec::new, |mut last| {
                last.clear();
                last
            })
        });
        self.page = OpenPage { rows: 0, valid, numbers, plain };
        Ok(())
    }

    /// What it holds in memory, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        let page = (self.page.valid.capacity() + self.page.numbers.capacity()) * 4
            + self.page.plain.as_ref().map_or(0, Vec::capacity);
        // A value stands in the dictionary and in the map, whose entries are of 24 bytes.
        self.encoded_size() + page + self.dictionary.len() + self.numbers.len() * 32
    }

    /// The bytes that are ready to be written.
    pub(super) fn encoded_size(&self) -> usize {
        self.pages.iter().map(|page| page.bytes.len()).sum::<usize>() + self.dictionary.len()
    }

    /// Ends the column chunk: its bytes, and what the file says of it.
    pub(super) fn close(mut self) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        self.end_page()?;
        for value in self.numbers.keys() {
            widen(&mut self.bounds, value);
        }
        let mut sink = TrackedWrite::new(Vec::with_capacity(self.encoded_size() + self.pages.len() * 64));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut uncompressed, mut dictionary_offset, mut data_offset) = (0, None, None);
        let mut encodings = EncodingMask::new_from_encodings([Encoding::RLE].iter());
        if !self.numbers.is_empty() {
            let length = self.dictionary.len();
            let page = Page::DictionaryPage {
                buf: self.compressor.compress(self.dictionary)?,
                num_values: u32::try_from(self.numbers.len()).unwrap_or(u32::MAX),
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let spec = writer.write_page(CompressedPage::new(page, length))?;
            dictionary_offset = i64::try_from(spec.offset).ok();
            uncompressed += spec.uncompressed_size;
            encodings.insert(Encoding::PLAIN);
        }
        let mut index = OffsetIndexBuilder::new();
        for page in self.pages {
            encodings.insert(page.encoding);
            let rows = page.rows;
            let page = CompressedPage::new(
                Page::DataPage {
                    buf: page.bytes,
                    num_values: u32::try_from(rows).unwrap_or(u32::MAX),
                    encoding: page.encoding,
                    def_level_encoding: Encoding::RLE,
                    rep_level_encoding: Encoding::RLE,
                    statistics: None,
                },
                page.uncompressed,
            );
            let spec = writer.write_page(page)?;
            let offset = i64::try_from(spec.offset).unwrap_or(i64::MAX);
            data_offset.get_or_insert(offset);
            uncompressed += spec.uncompressed_size;
            index.append_row_count(i64::try_from(rows).unwrap_or(i64::MAX));
            index.append_offset_and_size(offset, i32::try_from(spec.compressed_size).unwrap_or(i32::MAX));
        }
        drop(writer);
        let bytes = Bytes::from(sink.into_inner()?);
        let short = |value: &[u8]| value.len() <= LONGEST_BOUND;
        let bounds = self.bounds.filter(|(low, high)| short(low) && short(high));
        let (low, high) = bounds
            .map(|(low, high)| (ByteArray::from(Vec::from(low)), ByteArray::from(Vec::from(high))))
            .unzip();
        let metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(self.compressor.codec()?)
            .set_encodings_mask(encodings)
            .set_total_compressed_size(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .set_total_uncompressed_size(i64::try_from(uncompressed).unwrap_or(i64::MAX))
            .set_num_values(i64::try_from(self.rows).unwrap_or(i64::MAX))
            .set_dictionary_page_offset(dictionary_offset)
            .set_data_page_offset(data_offset.unwrap_or(0))
            .set_statistics(Statistics::byte_array(low, high, None, Some(self.nulls as u64), false))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(index.build()),
        };
        Ok((bytes, close))
    }
}

impl OpenPage {
    /// Notes which of the rows have a value, before they are counted.
    fn note_valid(&mut self, keys: &arrow_array::PrimitiveArray<Int32Type>) {
        match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
            None if self.valid.is_empty() => {}
            None => self.valid.resize(self.rows + keys.len(), 1),
            Some(nulls) => {
                self.valid.resize(self.rows, 1);
                self.valid.extend(nulls.iter().map(u32::from));
            }
        }
    }
}

/// The number of a value, which may be new.
fn number_of(value: &[u8], numbers: &mut HashMap<Box<[u8]>, u32>, dictionary: &mut Vec<u8>) -> u32 {
    if let Some(number) = numbers.get(value) {
        return *number;
    }
    let number = u32::try_from(numbers.len()).unwrap_or(UNKNOWN - 1);
    put_value(value, dictionary);
    numbers.insert(value.into(), number);
    number
}

/// A value as Parquet's plain encoding has it.
fn put_value(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

fn widen(bounds: &mut Option<(Box<[u8]>, Box<[u8]>)>, value: &[u8]) {
    match bounds {
        None => *bounds = Some((value.into(), value.into())),
        Some((low, _)) if value < &**low => *low = value.into(),
        Some((_, high)) if value > &**high => *high = value.into(),
        Some(_) => {}
    }
}

/// Whether two arrays are the same one. Both are alive, so the same address means the same values.
fn same_array(a: &ArrayRef, b: &ArrayRef) -> bool {
    if Arc::ptr_eq(a, b) {
        return true;
    }
    match (a.as_string_opt::<i32>(), b.as_string_opt::<i32>()) {
        (Some(a), Some(b)) => {
            std::ptr::eq(a.value_data(), b.value_data())
                && std::ptr::eq(a.value_offsets(), b.value_offsets())
                && a.null_count() == 0
                && b.null_count() == 0
        }
        _ => false,
    }
}

/// Compresses pages if that pays, which the first page shows: a chunk has one codec.
#[derive(Default)]
struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    decided: Option<bool>,
}

/// zstd's level: each one above costs twice the time for a few per cent.
const LEVEL: i32 = 1;
/// A page of fewer bytes shows nothing, and is not worth a look either way.
const TELLING: usize = 512;

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("decided", &self.decided).finish_non_exhaustive()
    }
}

impl Compressor {
    fn compress(&mut self, bytes: Vec<u8>) -> Result<Bytes, ParquetError> {
        if self.decided == Some(false) {
            return Ok(bytes.into());
        }
        let failed = |_| ParquetError::General("zstd failed".to_owned());
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL).map_err(failed)?),
        };
        let compressed = zstd.compress(&bytes).map_err(failed)?;
        if self.decided.is_none() {
            // A tenth must be saved, or readers would unpack for nothing.
            let pays = bytes.len() >= TELLING && compressed.len() < bytes.len() / 10 * 9;
            self.decided = Some(pays);
            if !pays {
                return Ok(bytes.into());
            }
        }
        Ok(compressed.into())
    }

    fn codec(&self) -> Result<Compression, ParquetError> {
        Ok(match self.decided {
            Some(true) => Compression::ZSTD(ZstdLevel::try_new(LEVEL)?),
            _ => Compression::UNCOMPRESSED,
        })
    }
}
