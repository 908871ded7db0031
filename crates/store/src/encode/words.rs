//! Columns of text that repeats: from Arrow's dictionaries to Parquet's without looking at each value.
//!
//! parquet's own writer hashes and compares the text of every row again. Here a dictionary's values are
//! looked up once per batch, and not at all while batches share the same one; a row costs the
//! translation of its number. Constant columns cost next to nothing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, ListArray, StringArray};
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

/// Writes a column chunk of text, or of lists of texts.
#[derive(Debug)]
pub(super) struct WordsWriter {
    column: ColumnDescPtr,
    compressor: Compressor,
    /// The number of each value.
    numbers: HashMap<Box<[u8]>, u32>,
    /// The dictionary as it is written.
    dictionary: Vec<u8>,
    /// The texts of the last batch's dictionary, and their numbers here.
    last: Option<(ArrayRef, Vec<u32>)>,
    /// The page that is being filled.
    page: OpenPage,
    pages: Vec<DonePage>,
    rows: usize,
    /// Values, nulls and empty lists.
    entries: usize,
    nulls: usize,
    bounds: Option<(Box<[u8]>, Box<[u8]>)>,
}

#[derive(Debug, Default)]
struct OpenPage {
    rows: usize,
    /// Values, nulls and empty lists.
    entries: usize,
    /// For each entry 1 if it goes on with a list, 0 if it begins a row; lists only.
    repetition: Vec<u32>,
    /// For each entry how much of it is there; empty as long as all are whole, where there are no lists.
    definition: Vec<u32>,
    /// Numbers of values.
    numbers: Vec<u32>,
    /// Values as they are, once the dictionary is full.
    plain: Option<Vec<u8>>,
}

#[derive(Debug)]
struct DonePage {
    rows: usize,
    entries: usize,
    encoding: Encoding,
    bytes: Bytes,
    uncompressed: usize,
}

impl WordsWriter {
    /// A writer for a top-level column of type `Dictionary(Int32, Utf8)` or `Dictionary(Int32, List(Utf8))`.
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
            entries: 0,
            nulls: 0,
            bounds: None,
        }
    }

    /// Takes rows in.
    pub(super) fn write(&mut self, array: &ArrayRef) -> Result<(), ParquetError> {
        let words = array.as_dictionary_opt::<Int32Type>().ok_or_else(unfit)?;
        let lists = words.values().as_list_opt::<i32>();
        let texts = lists.map_or(words.values(), ListArray::values);
        let values = texts.as_string_opt::<i32>().ok_or_else(unfit)?;
        if lists.is_some() != (self.column.max_rep_level() > 0) {
            return Err(unfit());
        }
        let known = match self.last.take() {
            Some((last, known)) if same_array(&last, texts) => known,
            _ => vec![UNKNOWN; values.len()],
        };
        let mut texts_known = Texts { values, known };
        let keys = words.keys();
        if keys.null_count() > 0 && self.column.max_def_level() == 0 {
            return Err(ParquetError::General("a required column has a null".to_owned()));
        }
        let mut at = 0;
        while at < keys.len() {
            let count = (ROWS_OF_A_PAGE - self.page.rows).min(keys.len() - at);
            let slice = keys.slice(at, count);
            match lists {
                None => self.put_texts(&slice, &mut texts_known),
                Some(lists) => self.put_lists(&slice, lists, &mut texts_known)?,
            }
            self.page.rows += count;
            at += count;
            let plain = self.page.plain.as_ref().map_or(0, Vec::len);
            if self.page.rows >= ROWS_OF_A_PAGE || plain >= BYTES_OF_A_PAGE {
                self.end_page()?;
            }
        }
        self.rows += keys.len();
        self.last = Some((texts.clone(), texts_known.known));
        Ok(())
    }

    /// The number of a text, which may be new.
    fn number(&mut self, index: usize, texts: &mut Texts<'_>) -> u32 {
        let place = &mut texts.known[index];
        if *place == UNKNOWN {
            let value = texts.values.value(index).as_bytes();
            *place = match self.numbers.get(value) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(self.numbers.len()).unwrap_or(UNKNOWN - 1);
                    put_value(value, &mut self.dictionary);
                    self.numbers.insert(value.into(), number);
                    number
                }
            };
        }
        *place
    }

    /// Adds a value to the page.
    fn put(&mut self, index: usize, texts: &mut Texts<'_>) {
        match &mut self.page.plain {
            Some(plain) => {
                let value = texts.values.value(index).as_bytes();
                put_value(value, plain);
                widen(&mut self.bounds, value);
            }
            None => {
                let number = self.number(index, texts);
                self.page.numbers.push(number);
            }
        }
    }

    fn put_texts(&mut self, keys: &Int32Array, texts: &mut Texts<'_>) {
        self.page.note_valid(keys);
        self.page.entries += keys.len();
        self.nulls += keys.null_count();
        if keys.null_count() > 0 {
            keys.iter().flatten().for_each(|key| self.put(key as usize, texts));
        } else if let ([first, ..], 1, None) = (&keys.values()[..], texts.values.len(), &self.page.plain) {
            let number = self.number(*first as usize, texts);
            self.page.numbers.resize(self.page.numbers.len() + keys.len(), number);
        } else {
            self.page.numbers.reserve(keys.len());
            keys.values().iter().for_each(|key| self.put(*key as usize, texts));
        }
    }

    /// Levels by Dremel's rules: an entry of which less is there has a lower definition level.
    fn put_lists(
        &mut self,
        keys: &Int32Array,
        lists: &ListArray,
        texts: &mut Texts<'_>,
    ) -> Result<(), ParquetError> {
        if texts.values.null_count() > 0 {
            return Err(unfit());
        }
        let whole = self.column.max_def_level() as u32;
        // A list that has an element, then an element that is no null, if it may be null.
        let nullable_element = self.column.self_type().is_optional();
        let empty = whole - 1 - u32::from(nullable_element);
        let offsets = lists.value_offsets();
        for row in 0..keys.len() {
            let key = keys.value(row) as usize;
            if keys.is_null(row) || lists.is_null(key) {
                self.page.entry(0, 0);
                self.nulls += 1;
                continue;
            }
            let elements = offsets[key] as usize..offsets[key + 1] as usize;
            if elements.is_empty() {
                self.page.entry(0, empty);
                self.nulls += 1;
            }
            for (place, index) in elements.enumerate() {
                self.page.entry(u32::from(place > 0), whole);
                self.put(index, texts);
            }
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        let plain = self.page.plain.is_some() || self.dictionary.len() >= BYTES_OF_A_DICTIONARY;
        let mut page = std::mem::take(&mut self.page);
        if page.rows > 0 {
            let mut bytes = Vec::with_capacity(page.numbers.len() / 2 + 64);
            if self.column.max_rep_level() > 0 {
                put_levels(&page.repetition, page.entries, 1, &mut bytes);
            }
            let whole = self.column.max_def_level();
            if whole > 0 {
                put_levels(&page.definition, page.entries, whole as u32, &mut bytes);
            }
            let encoding = match &page.plain {
                Some(plain) => {
                    bytes.extend_from_slice(plain);
                    Encoding::PLAIN
                }
                // Of no value there is nothing to look up, and there may be no dictionary.
                None if page.numbers.is_empty() => Encoding::PLAIN,
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
            self.entries += page.entries;
            let (rows, entries) = (page.rows, page.entries);
            self.pages.push(DonePage { rows, entries, encoding, bytes, uncompressed });
        }
        page.restart(plain);
        self.page = page;
        Ok(())
    }

    /// What it holds in memory, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        let OpenPage { repetition, definition, numbers, plain, .. } = &self.page;
        let page = (repetition.capacity() + definition.capacity() + numbers.capacity()) * 4
            + plain.as_ref().map_or(0, Vec::capacity);
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
                    num_values: u32::try_from(page.entries).unwrap_or(u32::MAX),
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
            .set_num_values(i64::try_from(self.entries).unwrap_or(i64::MAX))
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

/// The texts of a batch's dictionary, and their numbers as far as they are known.
struct Texts<'a> {
    values: &'a StringArray,
    known: Vec<u32>,
}

impl OpenPage {
    /// Notes which of the rows have a value, before they are counted.
    fn note_valid(&mut self, keys: &Int32Array) {
        match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
            None if self.definition.is_empty() => {}
            None => self.definition.resize(self.entries + keys.len(), 1),
            Some(nulls) => {
                self.definition.resize(self.entries, 1);
                self.definition.extend(nulls.iter().map(u32::from));
            }
        }
    }

    /// Adds an entry of a list.
    fn entry(&mut self, repetition: u32, definition: u32) {
        self.repetition.push(repetition);
        self.definition.push(definition);
        self.entries += 1;
    }

    /// Begins a page, with the room that there is.
    fn restart(&mut self, plain: bool) {
        (self.rows, self.entries) = (0, 0);
        self.repetition.clear();
        self.definition.clear();
        self.numbers.clear();
        self.plain = plain.then(|| {
            let mut room = self.plain.take().unwrap_or_default();
            room.clear();
            room
        });
    }
}

/// Levels of a page, up to `most`, after their length; none means that all are `most`.
fn put_levels(levels: &[u32], entries: usize, most: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let width = hybrid::width_of(most);
    match levels {
        [] => hybrid::put_run(most, entries, width, out),
        levels => hybrid::encode(levels, width, out),
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn unfit() -> ParquetError {
    ParquetError::General("a column of words is of another type".to_owned())
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
