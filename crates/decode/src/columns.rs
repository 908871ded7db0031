//! Columns being built: plain vectors that can be cut back to an earlier row.
//!
//! Arrow's own builders only grow. Here a message that fails in its last row must leave nothing
//! behind, so every builder has `truncate`.

mod dictionary;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, BooleanArray, ListArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};

pub(crate) use dictionary::Dictionary;

/// A builder has no room left: Arrow's 32-bit offsets end at 2 GiB of text per column and batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The most that 32-bit offsets can count.
const MAX_OFFSET: usize = i32::MAX as usize;

/// Adds `len` rows, at most 64; those whose bit is not set are null.
#[inline]
fn append_bits(valid: &mut NullBufferBuilder, bits: u64, len: usize) {
    if bits.count_ones() as usize == len {
        valid.append_n_non_nulls(len);
    } else if bits == 0 {
        valid.append_n_nulls(len);
    } else {
        let rows: [bool; 64] = std::array::from_fn(|row| bits >> row & 1 == 1);
        valid.append_slice(&rows[..len]);
    }
}

fn validity(capacity: usize) -> NullBufferBuilder {
    NullBufferBuilder::new(capacity)
}

/// Numbers, and times as numbers.
#[derive(Debug)]
pub(crate) struct Prim<T> {
    values: Vec<T>,
    valid: NullBufferBuilder,
}

impl<T: Copy + Default + arrow_buffer::ArrowNativeType> Prim<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), valid: validity(capacity) }
    }

    pub(crate) fn push(&mut self, value: T) {
        self.values.push(value);
        self.valid.append_non_null();
    }

    pub(crate) fn null(&mut self) {
        self.values.push(T::default());
        self.valid.append_null();
    }

    /// Adds rows; those whose bit in `valid` is not set are null.
    #[inline]
    pub(crate) fn extend(&mut self, values: &[T], valid: u64) {
        self.values.extend_from_slice(values);
        append_bits(&mut self.valid, valid, values.len());
    }

    pub(crate) fn nulls(&mut self, count: usize) {
        self.values.extend(std::iter::repeat_n(T::default(), count));
        self.valid.append_n_nulls(count);
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.valid.truncate(len);
    }

    /// The values as an array of `data_type`, leaving the builder empty with room for as many.
    pub(crate) fn finish<A>(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError>
    where
        A: ArrowPrimitiveType<Native = T>,
    {
        let Self { values, mut valid } = std::mem::replace(self, Self::with_capacity(self.values.len()));
        let array = PrimitiveArray::<A>::try_new(ScalarBuffer::from(values), valid.finish())?;
        Ok(Arc::new(array.with_data_type(data_type.clone())))
    }
}

/// True and false.
#[derive(Debug)]
pub(crate) struct Bools {
    values: BooleanBufferBuilder,
    valid: NullBufferBuilder,
}

impl Bools {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { values: BooleanBufferBuilder::new(capacity), valid: validity(capacity) }
    }

    pub(crate) fn push(&mut self, value: bool) {
        self.values.append(value);
        self.valid.append_non_null();
    }

    pub(crate) fn null(&mut self) {
        self.values.append(false);
        self.valid.append_null();
    }

    /// Adds rows; those whose bit in `valid` is not set are null.
    pub(crate) fn extend(&mut self, values: &[bool], valid: u64) {
        self.values.append_slice(values);
        append_bits(&mut self.valid, valid, values.len());
    }

    pub(crate) fn nulls(&mut self, count: usize) {
        self.values.append_n(count, false);
        self.valid.append_n_nulls(count);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.values.len() {
            self.values.truncate(len);
        }
        self.valid.truncate(len);
    }

    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let Self { mut values, mut valid } = std::mem::replace(self, Self::with_capacity(self.values.len()));
        Ok(Arc::new(BooleanArray::new(values.finish(), valid.finish())))
    }
}

/// Texts one after the other, without nulls: the store under text columns, dictionaries and lists.
#[derive(Debug)]
pub(crate) struct Texts {
    offsets: Vec<i32>,
    data: Vec<u8>,
}

impl Texts {
    fn with_capacity(len: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(len + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(bytes) }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }

    fn push(&mut self, text: &[u8]) -> Result<(), Full> {
        let end = self.data.len() + text.len();
        let offset = i32::try_from(end).map_err(|_| Full)?;
        self.data.extend_from_slice(text);
        self.offsets.push(offset);
        Ok(())
    }

    fn push_empty(&mut self, count: usize) {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.extend(std::iter::repeat_n(end, count));
    }

    /// Adds `text[start..end]`.
    #[inline(always)]
    fn push_part(&mut self, text: &[u8], start: usize, end: usize) -> Result<(), Full> {
        let len = end - start;
        let Some(window) = text.get(start..).and_then(|rest| rest.first_chunk::<16>()).filter(|_| len <= 16)
        else {
            return self.push(&text[start..end]);
        };
        // Sixteen bytes are copied without a call, whatever of them counts.
        let new_len = self.data.len() + len;
        let offset = i32::try_from(new_len).map_err(|_| Full)?;
        self.data.extend_from_slice(window);
        self.data.truncate(new_len);
        self.offsets.push(offset);
        Ok(())
    }

    fn get(&self, index: usize) -> &[u8] {
        // Offsets are never negative.
        &self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        if let Some(end) = self.offsets.last() {
            self.data.truncate(*end as usize);
        }
    }

    /// A copy of the texts.
    fn to_array(&self) -> Result<StringArray, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        StringArray::try_new(offsets, self.data.clone().into(), None)
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        let empty = Self::with_capacity(self.len(), self.data.len());
        let Self { offsets, data } = std::mem::replace(self, empty);
        StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), data.into(), nulls)
    }
}

/// A column of text.
#[derive(Debug)]
pub(crate) struct Text {
    texts: Texts,
    valid: NullBufferBuilder,
}

impl Text {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { texts: Texts::with_capacity(capacity, capacity * 8), valid: validity(capacity) }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<(), Full> {
        self.texts.push(text.as_bytes())?;
        self.valid.append_non_null();
        Ok(())
    }

    /// Adds `text[start..end]`, which must be UTF-8.
    #[inline]
    pub(crate) fn push_part(&mut self, text: &[u8], start: usize, end: usize) -> Result<(), Full> {
        self.put_part(text, start, end)?;
        self.valid.append_non_null();
        Ok(())
    }

    /// The same without saying that it is no null: [`extend_validity`](Self::extend_validity) does.
    #[inline(always)]
    pub(crate) fn put_part(&mut self, text: &[u8], start: usize, end: usize) -> Result<(), Full> {
        self.texts.push_part(text, start, end)
    }

    /// Says which of the last rows are null: those whose bit in `valid` is not set.
    pub(crate) fn extend_validity(&mut self, valid: u64, rows: usize) {
        append_bits(&mut self.valid, valid, rows);
    }

    pub(crate) fn nulls(&mut self, count: usize) {
        self.texts.push_empty(count);
        self.valid.append_n_nulls(count);
    }

    pub(crate) fn null(&mut self) -> Result<(), Full> {
        self.texts.push(b"")?;
        self.valid.append_null();
        Ok(())
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.texts.truncate(len);
        self.valid.truncate(len);
    }

    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let len = self.texts.len();
        let nulls = std::mem::replace(&mut self.valid, validity(len)).finish();
        Ok(Arc::new(self.texts.finish(nulls)?))
    }
}

/// Where the lists of a list column end, and which are null.
#[derive(Debug)]
struct Ends {
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Ends {
    fn with_capacity(capacity: usize) -> Self {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Self { offsets, valid: validity(capacity) }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn end(&mut self, elements: usize, valid: bool) -> Result<(), Full> {
        self.offsets.push(i32::try_from(elements).map_err(|_| Full)?);
        self.valid.append(valid);
        Ok(())
    }

    fn nulls(&mut self, count: usize) {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.extend(std::iter::repeat_n(end, count));
        self.valid.append_n_nulls(count);
    }

    /// Cuts to `len` lists; gives the number of elements that they hold.
    fn truncate(&mut self, len: usize) -> usize {
        self.offsets.truncate(len + 1);
        self.valid.truncate(len);
        self.offsets.last().map_or(0, |end| *end as usize)
    }

    fn finish(&mut self, elements: ArrayRef) -> Result<ArrayRef, ArrowError> {
        let Self { offsets, mut valid } = std::mem::replace(self, Self::with_capacity(self.len()));
        let field = Arc::new(Field::new("element", elements.data_type().clone(), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(field, offsets, elements, valid.finish())?))
    }
}

/// A column of lists of numbers: elements first, then the end of the list.
#[derive(Debug)]
pub(crate) struct NumberLists {
    elements: Prim<f64>,
    ends: Ends,
}

impl NumberLists {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { elements: Prim::with_capacity(capacity * 4), ends: Ends::with_capacity(capacity) }
    }

    pub(crate) fn push(&mut self, element: f64) {
        self.elements.push(element);
    }

    pub(crate) fn push_null(&mut self) {
        self.elements.null();
    }

    /// Lets `add` add elements, and gives what it gives.
    pub(crate) fn extend<T>(&mut self, add: impl FnOnce(&mut Vec<f64>) -> T) -> T {
        let before = self.elements.values.len();
        let given = add(&mut self.elements.values);
        self.elements.valid.append_n_non_nulls(self.elements.values.len() - before);
        given
    }

    /// Ends a list of the elements pushed since the last end.
    pub(crate) fn end(&mut self) -> Result<(), Full> {
        self.ends.end(self.elements.len(), true)
    }

    /// A null instead of a list; elements pushed since the last end are dropped.
    pub(crate) fn null(&mut self) -> Result<(), Full> {
        let len = self.ends.len();
        self.truncate(len);
        self.ends.end(self.elements.len(), false)
    }

    /// Nulls, after dropping elements pushed since the last end.
    pub(crate) fn nulls(&mut self, count: usize) {
        let len = self.ends.len();
        self.truncate(len);
        self.ends.nulls(count);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        let elements = self.ends.truncate(len);
        self.elements.truncate(elements);
    }

    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let elements = self.elements.finish::<arrow_array::types::Float64Type>(&DataType::Float64)?;
        self.ends.finish(elements)
    }
}

/// A column of lists of texts.
#[derive(Debug)]
pub(crate) struct TextLists {
    elements: Text,
    ends: Ends,
}

impl TextLists {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { elements: Text::with_capacity(capacity * 4), ends: Ends::with_capacity(capacity) }
    }

    pub(crate) fn push(&mut self, element: &str) -> Result<(), Full> {
        self.elements.push(element)
    }

    /// Adds `text[start..end]`, which must be UTF-8.
    pub(crate) fn push_part(&mut self, text: &[u8], start: usize, end: usize) -> Result<(), Full> {
        self.elements.push_part(text, start, end)
    }

    pub(crate) fn push_null(&mut self) -> Result<(), Full> {
        self.elements.null()
    }

    /// Ends a list of the elements pushed since the last end.
    pub(crate) fn end(&mut self) -> Result<(), Full> {
        self.ends.end(self.elements.texts.len(), true)
    }

    /// A null instead of a list; elements pushed since the last end are dropped.
    pub(crate) fn null(&mut self) -> Result<(), Full> {
        let len = self.ends.len();
        self.truncate(len);
        self.ends.end(self.elements.texts.len(), false)
    }

    /// Nulls, after dropping elements pushed since the last end.
    pub(crate) fn nulls(&mut self, count: usize) {
        let len = self.ends.len();
        self.truncate(len);
        self.ends.nulls(count);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        let elements = self.ends.truncate(len);
        self.elements.truncate(elements);
    }

    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let elements = self.elements.finish()?;
        self.ends.finish(elements)
    }
}
