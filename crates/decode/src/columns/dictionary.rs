//! Text of few distinct values.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array};
use arrow_buffer::{NullBufferBuilder, ScalarBuffer};
use arrow_schema::ArrowError;

use super::{Full, MAX_OFFSET, Texts, validity};

/// No value in a place of the table.
const EMPTY: u32 = u32::MAX;

/// A dictionary column. Values are looked up in the last value first, then in a hash table.
///
/// The hash is keyed at random, since values come from outside.
///
/// # Memory
/// Each distinct value of the batch is held once. The table is emptied with each batch, so that no
/// value of one batch stands in the dictionary of another.
#[derive(Debug)]
pub(crate) struct Dictionary {
    keys: Vec<i32>,
    valid: NullBufferBuilder,
    values: Texts,
    last: i32,
    /// Open addressing with linear probing; its length is a power of two.
    table: Vec<u32>,
    hasher: RandomState,
}

impl Dictionary {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            keys: Vec::with_capacity(capacity),
            valid: validity(capacity),
            values: Texts::with_capacity(16, 256),
            last: 0,
            table: vec![EMPTY; 32],
            hasher: RandomState::new(),
        }
    }

    /// Adds a row; gives the value's key, good until the batch is finished.
    pub(crate) fn push(&mut self, text: &str) -> Result<i32, Full> {
        let key = self.intern(text)?;
        self.push_key(key);
        Ok(key)
    }

    /// Adds a row with a value that [`push`](Self::push) gave the key of.
    pub(crate) fn push_key(&mut self, key: i32) {
        self.keys.push(key);
        self.valid.append_non_null();
    }

    pub(crate) fn null(&mut self) {
        self.keys.push(0);
        self.valid.append_null();
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
        self.valid.truncate(len);
    }

    fn intern(&mut self, text: &str) -> Result<i32, Full> {
        let last = self.last as usize;
        if last < self.values.len() && self.values.get(last) == text.as_bytes() {
            return Ok(self.last);
        }
        let mut place = self.home(text.as_bytes());
        loop {
            let value = self.table[place];
            if value == EMPTY {
                break;
            }
            if self.values.get(value as usize) == text.as_bytes() {
                self.last = value as i32;
                return Ok(self.last);
            }
            place = (place + 1) & (self.table.len() - 1);
        }
        if self.values.len() >= MAX_OFFSET {
            return Err(Full);
        }
        let value = self.values.len() as u32;
        self.values.push(text)?;
        self.table[place] = value;
        self.last = value as i32;
        if self.values.len() * 2 > self.table.len() {
            self.rehash(self.table.len() * 2);
        }
        Ok(self.last)
    }

    fn home(&self, bytes: &[u8]) -> usize {
        self.hasher.hash_one(bytes) as usize & (self.table.len() - 1)
    }

    fn rehash(&mut self, len: usize) {
        self.table.clear();
        self.table.resize(len, EMPTY);
        for value in 0..self.values.len() {
            let mut place = self.home(self.values.get(value));
            while self.table[place] != EMPTY {
                place = (place + 1) & (len - 1);
            }
            self.table[place] = value as u32;
        }
    }

    /// Drops values that no row uses, which rejected messages may have left.
    fn compact(&mut self) -> Result<(), Full> {
        let mut new_keys = vec![-1_i32; self.values.len()];
        let mut values = Texts::with_capacity(self.values.len(), self.values.data.len());
        for (row, key) in self.keys.iter_mut().enumerate() {
            if !self.valid.is_valid(row) {
                *key = 0;
                continue;
            }
            let new_key = &mut new_keys[*key as usize];
            if *new_key < 0 {
                *new_key = values.len() as i32;
                let bytes = self.values.get(*key as usize);
                // The bytes came from a `str`.
                values.push(std::str::from_utf8(bytes).map_err(|_| Full)?)?;
            }
            *key = *new_key;
        }
        self.values = values;
        Ok(())
    }

    /// The column, leaving the builder empty. `compact` says whether rows were taken back.
    pub(crate) fn finish(&mut self, compact: bool) -> Result<ArrayRef, ArrowError> {
        if compact {
            self.compact().map_err(|Full| ArrowError::DictionaryKeyOverflowError)?;
        }
        let len = self.keys.len();
        let keys = std::mem::replace(&mut self.keys, Vec::with_capacity(len));
        let nulls = std::mem::replace(&mut self.valid, validity(len)).finish();
        let values = self.values.finish(None)?;
        self.last = 0;
        self.table.fill(EMPTY);
        let keys = Int32Array::try_new(ScalarBuffer::from(keys), nulls)?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values))?))
    }
}
