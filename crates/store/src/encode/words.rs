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
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Dictionary, Levels, Pages, ROWS_OF_A_PAGE, put_indices, unfit};

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
    pages: Pages,
    /// The number of each value.
    numbers: HashMap<Box<[u8]>, u32>,
    /// The dictionary as it is written.
    dictionary: Vec<u8>,
    /// The texts of the last batch's dictionary, and their numbers here.
    last: Option<(ArrayRef, Vec<u32>)>,
    page: OpenPage,
    bounds: Option<Bounds>,
    /// Whether they may be told.
    tells: bool,
}

/// The smallest and the greatest value.
type Bounds = (Box<[u8]>, Box<[u8]>);

/// The page that is being filled.
#[derive(Debug, Default)]
struct OpenPage {
    rows: usize,
    levels: Levels,
    /// Numbers of values.
    numbers: Vec<u32>,
    /// Values as they are, once the dictionary is full.
    plain: Option<Vec<u8>>,
}

/// The texts of a batch's dictionary, and their numbers as far as they are known.
struct Texts<'a> {
    values: &'a StringArray,
    known: Vec<u32>,
}

impl WordsWriter {
    /// A writer for a top-level column of type `Dictionary(Int32, Utf8)` or `Dictionary(Int32, List(Utf8))`.
    /// `tells` is whether statistics may tell of the values.
    pub(super) fn new(column: ColumnDescPtr, tells: bool) -> Self {
        Self {
            pages: Pages::new(column),
            numbers: HashMap::new(),
            dictionary: Vec::new(),
            last: None,
            page: OpenPage::default(),
            bounds: None,
            tells,
        }
    }

    /// Takes rows in.
    pub(super) fn write(&mut self, array: &ArrayRef) -> Result<(), ParquetError> {
        let words = array.as_dictionary_opt::<Int32Type>().ok_or_else(unfit)?;
        let lists = words.values().as_list_opt::<i32>();
        let texts = lists.map_or(words.values(), ListArray::values);
        let values = texts.as_string_opt::<i32>().ok_or_else(unfit)?;
        if lists.is_some() != (self.pages.column.max_rep_level() > 0) {
            return Err(unfit());
        }
        let known = match self.last.take() {
            Some((last, known)) if same_array(&last, texts) => known,
            _ => vec![UNKNOWN; values.len()],
        };
        let mut known_texts = Texts { values, known };
        let keys = words.keys();
        if values.null_count() > 0 {
            return Err(unfit());
        }
        if keys.null_count() > 0 && self.pages.column.max_def_level() == 0 {
            return Err(ParquetError::General("a required column has a null".to_owned()));
        }
        let longest = values.offsets().lengths().max().unwrap_or(0).max(1);
        let mut at = 0;
        while at < keys.len() {
            let mut count = (ROWS_OF_A_PAGE - self.page.rows).min(keys.len() - at);
            if self.page.plain.is_some() {
                // No page shall become much larger than it may be, whatever the texts.
                count = count.min((BYTES_OF_A_PAGE / longest).max(1));
            }
            let slice = keys.slice(at, count);
            match lists {
                None => self.put_texts(&slice, &mut known_texts),
                Some(lists) => self.put_lists(&slice, lists, &mut known_texts)?,
            }
            self.page.rows += count;
            at += count;
            let plain = self.page.plain.as_ref().map_or(0, Vec::len);
            if self.page.rows >= ROWS_OF_A_PAGE || plain >= BYTES_OF_A_PAGE {
                self.end_page()?;
            }
        }
        if self.page.plain.is_none() && self.dictionary.len() >= BYTES_OF_A_DICTIONARY {
            self.end_page()?;
        }
        self.last = Some((texts.clone(), known_texts.known));
        Ok(())
    }

    /// The number of a text, which may be new.
    #[inline]
    fn number(&mut self, index: usize, texts: &mut Texts<'_>) -> u32 {
        match texts.known[index] {
            UNKNOWN => {
                let number = self.look_up(texts.values.value(index).as_bytes());
                texts.known[index] = number;
                number
            }
            number => number,
        }
    }

    #[cold]
    fn look_up(&mut self, value: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(UNKNOWN - 1);
        put_value(value, &mut self.dictionary);
        self.numbers.insert(value.into(), number);
        number
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
        self.page.levels.note(keys.len(), keys.nulls());
        self.pages.nulls += keys.null_count();
        if keys.null_count() > 0 || self.page.plain.is_some() {
            keys.iter().flatten().for_each(|key| self.put(key as usize, texts));
            return;
        }
        let mut numbers = std::mem::take(&mut self.page.numbers);
        if let ([first, ..], 1) = (&keys.values()[..], texts.values.len()) {
            let number = self.number(*first as usize, texts);
            numbers.resize(numbers.len() + keys.len(), number);
        } else {
            numbers.extend(keys.values().iter().map(|key| self.number(*key as usize, texts)));
        }
        self.page.numbers = numbers;
    }

    /// Levels by Dremel's rules: an entry of which less is there has a lower definition level.
    fn put_lists(
        &mut self,
        keys: &Int32Array,
        lists: &ListArray,
        texts: &mut Texts<'_>,
    ) -> Result<(), ParquetError> {
        let whole = u32::from(self.pages.column.max_def_level().unsigned_abs());
        // A list that has an element, then an element that is no null, if it may be null.
        let empty = whole - 1 - u32::from(self.pages.column.self_type().is_optional());
        let offsets = lists.value_offsets();
        for row in 0..keys.len() {
            let key = keys.value(row) as usize;
            if keys.is_null(row) || lists.is_null(key) {
                if empty == 0 {
                    return Err(ParquetError::General("a required column has a null".to_owned()));
                }
                self.page.levels.entry(0, 0);
                self.pages.nulls += 1;
                continue;
            }
            let elements = offsets[key] as usize..offsets[key + 1] as usize;
            if elements.is_empty() {
                self.page.levels.entry(0, empty);
                self.pages.nulls += 1;
            }
            for (place, index) in elements.enumerate() {
                self.page.levels.entry(u32::from(place > 0), whole);
                self.put(index, texts);
            }
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        let values = self.numbers.len();
        let OpenPage { rows, levels, numbers, plain } = &self.page;
        if *rows > 0 {
            self.pages.expect_dictionary(self.dictionary.len())?;
            match plain {
                Some(plain) => self.pages.add(*rows, levels, Encoding::PLAIN, |out| out.extend(plain))?,
                // Of no value there is nothing to look up, and there may be no dictionary.
                None if numbers.is_empty() => self.pages.add(*rows, levels, Encoding::PLAIN, |_| {})?,
                None => self.pages.add(*rows, levels, Encoding::RLE_DICTIONARY, |out| {
                    put_indices(numbers, values, out);
                })?,
            }
        }
        let full = self.dictionary.len() >= BYTES_OF_A_DICTIONARY;
        let page = &mut self.page;
        page.rows = 0;
        page.levels.clear();
        page.numbers.clear();
        match &mut page.plain {
            Some(plain) => plain.clear(),
            None => page.plain = full.then(Vec::new),
        }
        Ok(())
    }

    /// What it holds in memory, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        let OpenPage { levels, numbers, plain, .. } = &self.page;
        let page = levels.memory_size() + numbers.capacity() * 4 + plain.as_ref().map_or(0, Vec::capacity);
        // A value stands in the dictionary and in the map, whose entries are of 24 bytes.
        self.encoded_size() + page + self.dictionary.len() + self.numbers.len() * 32
    }

    /// The bytes that are ready to be written.
    pub(super) fn encoded_size(&self) -> usize {
        self.pages.size() + self.dictionary.len()
    }

    /// Ends the column chunk: its bytes, and what the file says of it.
    pub(super) fn close(mut self) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        self.end_page()?;
        for value in self.numbers.keys() {
            widen(&mut self.bounds, value);
        }
        let short = |value: &[u8]| value.len() <= LONGEST_BOUND;
        let bounds = self.bounds.filter(|(low, high)| self.tells && short(low) && short(high));
        let (low, high) = bounds.map(|(low, high)| (bytes_of(low), bytes_of(high))).unzip();
        let statistics = Statistics::byte_array(low, high, None, Some(self.pages.nulls as u64), false);
        let values = self.numbers.len();
        let dictionary = (values > 0).then_some(Dictionary { bytes: self.dictionary, values });
        self.pages.finish(dictionary, statistics)
    }
}

fn bytes_of(value: Box<[u8]>) -> ByteArray {
    ByteArray::from(Vec::from(value))
}

/// A value as Parquet's plain encoding has it.
fn put_value(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

fn widen(bounds: &mut Option<Bounds>, value: &[u8]) {
    match bounds {
        None => *bounds = Some((value.into(), value.into())),
        Some((low, _)) if value < &**low => *low = value.into(),
        Some((_, high)) if value > &**high => *high = value.into(),
        Some(_) => {}
    }
}

/// Whether two arrays of text are the same one. Both are alive, so the same address means the same
/// values.
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
