//! Text of few distinct values.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow_buffer::{NullBufferBuilder, ScalarBuffer};
use arrow_schema::ArrowError;

use super::{Full, MAX_OFFSET, Texts, append_bits, validity};

/// More values than these, or more bytes of them, are not kept for the next batch.
const KEPT_VALUES: usize = 4096;
const KEPT_BYTES: usize = 64 << 10;

/// So many batches are built plainly after one in which most rows had a value of their own.
const PLAIN_BATCHES: u32 = 15;

/// The size of the table at first.
const TABLE: usize = 32;

/// A value in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// The text itself, if it has up to sixteen bytes, else its hash.
    word: u128,
    len: u32,
    key: u32,
}

/// No value has this length.
const EMPTY: Entry = Entry { word: 0, len: u32::MAX, key: u32::MAX };

/// The first bytes of sixteen, by their count.
const FIRST: [u128; 17] = {
    let mut masks = [0; 17];
    let mut count = 1;
    while count <= 16 {
        masks[count] = u128::MAX >> (8 * (16 - count));
        count += 1;
    }
    masks
};

/// A dictionary column. Values are looked up in the last value first, then in a hash table.
///
/// The hash is keyed at random, since values come from outside.
///
/// # Memory
/// Values are kept from batch to batch while they are few, so that a batch without new ones shares
/// those of the batch before it: up to 4096 values and 64 KiB. Beyond, the dictionary begins anew
/// with each batch; and if most rows had a value of their own, the next batches do not look for equal
/// values at all, which makes it a plain column with keys that count up.
#[derive(Debug)]
pub(crate) struct Dictionary {
    keys: Vec<i32>,
    valid: NullBufferBuilder,
    values: Texts,
    /// The values as the last batch got them.
    shared: Option<Arc<StringArray>>,
    last: Entry,
    /// Open addressing with linear probing; its length is a power of two.
    table: Vec<Entry>,
    hasher: RandomState,
    secret: [u64; 2],
    /// The number of values that are there for good: those after it go with the rows that brought them.
    marked: usize,
    /// Batches that are still to be built plainly.
    plain: u32,
}

impl Dictionary {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            keys: Vec::with_capacity(capacity),
            valid: validity(capacity),
            values: Texts::with_capacity(16, 256),
            shared: None,
            last: EMPTY,
            table: vec![EMPTY; TABLE],
            secret: [hasher.hash_one(0), hasher.hash_one(1)],
            hasher,
            marked: 0,
            plain: 0,
        }
    }

    /// Adds a row; gives the value's key, good until the batch is finished.
    pub(crate) fn push(&mut self, text: &str) -> Result<i32, Full> {
        let key = self.any(text.as_bytes())?;
        self.push_key(key);
        Ok(key)
    }

    /// The key of the value `text[start..end]`, which must be UTF-8; it is good until the batch is
    /// finished, and makes no row.
    #[inline(always)]
    pub(crate) fn key(&mut self, text: &[u8], start: usize, end: usize) -> Result<i32, Full> {
        let len = end - start;
        if let Some(mask) = FIRST.get(len)
            && let Some(window) = text.get(start..).and_then(|rest| rest.first_chunk())
        {
            let word = u128::from_le_bytes(*window) & mask;
            if self.last.word == word && self.last.len as usize == len {
                return Ok(self.last.key as i32);
            }
            return self.short(word, &text[start..end]);
        }
        self.any(&text[start..end])
    }

    /// The keys of short values that are known already, by start and length in `text`. Gives the bits of
    /// those that were found; a length of 0 is passed over.
    #[inline(always)]
    pub(crate) fn known_keys(
        &mut self,
        text: &[u8],
        values: impl Iterator<Item = (usize, usize)>,
        keys: &mut [i32],
    ) -> u64 {
        let mut found = 0;
        let mut last = self.last;
        if self.plain > 0 {
            return 0;
        }
        for (i, ((start, len), key)) in values.zip(keys.iter_mut()).enumerate() {
            let Some(window) = text.get(start..).and_then(|rest| rest.first_chunk()) else { continue };
            let word = u128::from_le_bytes(*window) & FIRST.get(len).unwrap_or(&0);
            if (last.word != word) | (last.len as usize != len) {
                let mut place = self.home(word, len as u32);
                last = loop {
                    let entry = self.table[place];
                    if (entry.word == word && entry.len as usize == len) || entry.key == EMPTY.key {
                        break entry;
                    }
                    place = (place + 1) & (self.table.len() - 1);
                };
            }
            let is_known = (last.key != EMPTY.key) & (len > 0);
            *key = if is_known { last.key as i32 } else { 0 };
            found |= u64::from(is_known) << i;
        }
        if last.key != EMPTY.key {
            self.last = last;
        }
        found
    }

    /// Adds a row with a value that [`push`](Self::push) or [`key`](Self::key) gave the key of.
    pub(crate) fn push_key(&mut self, key: i32) {
        self.keys.push(key);
        self.valid.append_non_null();
    }

    /// Adds rows; those whose bit in `valid` is not set are null.
    pub(crate) fn extend(&mut self, keys: &[i32], valid: u64) {
        self.keys.extend_from_slice(keys);
        append_bits(&mut self.valid, valid, keys.len());
    }

    pub(crate) fn null(&mut self) {
        self.nulls(1);
    }

    pub(crate) fn nulls(&mut self, count: usize) {
        self.keys.extend(std::iter::repeat_n(0, count));
        self.valid.append_n_nulls(count);
    }

    /// Says that all values so far are there for good.
    pub(crate) fn mark(&mut self) {
        self.marked = self.values.len();
    }

    /// Takes back rows, and the values that came after the mark. No row that stays may have one.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
        self.valid.truncate(len);
        if self.plain == 0 {
            // The last to come are the first to go, so no search for another value led past them.
            for value in (self.marked..self.values.len()).rev() {
                let Entry { word, len, .. } = self.entry(value);
                let mut place = self.home(word, len);
                while self.table[place].key != value as u32 {
                    place = (place + 1) & (self.table.len() - 1);
                }
                self.table[place] = EMPTY;
            }
        }
        if self.last.key as usize >= self.marked {
            self.last = EMPTY;
        }
        self.values.truncate(self.marked);
    }

    /// The word of a text of up to sixteen bytes.
    fn word(bytes: &[u8]) -> Option<u128> {
        let mut window = [0; 16];
        window.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u128::from_le_bytes(window))
    }

    /// The entry of a value.
    fn entry(&self, value: usize) -> Entry {
        let bytes = self.values.get(value);
        let word = Self::word(bytes).unwrap_or_else(|| self.hash(bytes));
        Entry { word, len: bytes.len() as u32, key: value as u32 }
    }

    fn hash(&self, bytes: &[u8]) -> u128 {
        u128::from(self.hasher.hash_one(bytes))
    }

    #[inline(always)]
    fn short(&mut self, word: u128, bytes: &[u8]) -> Result<i32, Full> {
        self.find(word, bytes, |_, _| true)
    }

    #[inline(never)]
    fn any(&mut self, bytes: &[u8]) -> Result<i32, Full> {
        match Self::word(bytes) {
            Some(word) => self.short(word, bytes),
            None => {
                let last = self.last;
                if last.len as usize == bytes.len() && self.values.get(last.key as usize) == bytes {
                    return Ok(last.key as i32);
                }
                self.find(self.hash(bytes), bytes, |values, key| values.get(key) == bytes)
            }
        }
    }

    /// The key of a value, which is added if it is new. Entries of the same word and length are of
    /// the same text if `is_same` says so.
    #[inline(always)]
    fn find(
        &mut self,
        word: u128,
        bytes: &[u8],
        is_same: impl Fn(&Texts, usize) -> bool,
    ) -> Result<i32, Full> {
        let len = bytes.len() as u32;
        let is = |entry: &Entry, values: &Texts| {
            entry.word == word && entry.len == len && is_same(values, entry.key as usize)
        };
        if is(&self.last, &self.values) {
            return Ok(self.last.key as i32);
        }
        let mut place = 0;
        if self.plain == 0 {
            place = self.home(word, len);
            loop {
                let entry = self.table[place];
                if is(&entry, &self.values) {
                    self.last = entry;
                    return Ok(entry.key as i32);
                }
                if entry.key == EMPTY.key {
                    break;
                }
                place = (place + 1) & (self.table.len() - 1);
            }
        }
        self.add(place, word, bytes)
    }

    #[inline(never)]
    fn add(&mut self, place: usize, word: u128, bytes: &[u8]) -> Result<i32, Full> {
        if self.values.len() >= MAX_OFFSET {
            return Err(Full);
        }
        let entry = Entry { word, len: bytes.len() as u32, key: self.values.len() as u32 };
        self.values.push(bytes)?;
        self.last = entry;
        if self.plain == 0 {
            self.table[place] = entry;
            if self.values.len() * 2 > self.table.len() {
                self.grow();
            }
        }
        Ok(entry.key as i32)
    }

    /// Where the search for a value begins: both halves of its word are mixed by one multiplication
    /// of 64 by 64 bits, whose halves are folded.
    #[inline(always)]
    fn home(&self, word: u128, len: u32) -> usize {
        let low = word as u64 ^ self.secret[0];
        let high = (word >> 64) as u64 ^ self.secret[1] ^ u64::from(len).rotate_left(32);
        let product = u128::from(low) * u128::from(high);
        (product as u64 ^ (product >> 64) as u64) as usize & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        self.table = vec![EMPTY; self.table.len() * 2];
        for value in 0..self.values.len() {
            let entry = self.entry(value);
            let mut place = self.home(entry.word, entry.len);
            while self.table[place].key != EMPTY.key {
                place = (place + 1) & (self.table.len() - 1);
            }
            self.table[place] = entry;
        }
    }

    /// The column, leaving the builder without rows.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let len = self.keys.len();
        let keys = std::mem::replace(&mut self.keys, Vec::with_capacity(len));
        let nulls = std::mem::replace(&mut self.valid, validity(len)).finish();
        let known = self.shared.as_ref().map_or(0, |shared| shared.len());
        let values = match &self.shared {
            Some(shared) if known == self.values.len() => shared.clone(),
            _ => Arc::new(self.values.to_array()?),
        };
        let is_large = self.values.len() > KEPT_VALUES || self.values.bytes() > KEPT_BYTES;
        if self.plain > 0 || is_large {
            self.plain = match self.plain {
                0 if (self.values.len() - known) * 2 > len => PLAIN_BATCHES,
                plain => plain.saturating_sub(1),
            };
            self.values.truncate(0);
            self.table = vec![EMPTY; TABLE];
            self.last = EMPTY;
            self.shared = None;
        } else {
            self.shared = Some(values.clone());
        }
        self.mark();
        let keys = Int32Array::try_new(ScalarBuffer::from(keys), nulls)?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
    }
}
