//! Builds the tag columns from the few distinct tags of a batch.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder as _, Int32Builder, ListBuilder, StringBuilder, StringDictionaryBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int32Array};
use arrow_schema::{ArrowError, DataType, Field};
use arrow_select::take::take;

/// A dictionary column with these values.
pub(crate) fn dictionary<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for value in values {
        builder.append_option(value);
    }
    Arc::new(builder.finish())
}

/// A dictionary column of lists of texts; `None` is null.
pub(crate) fn lists<'a, L>(lists: impl IntoIterator<Item = Option<L>>) -> Result<ArrayRef, ArrowError>
where
    L: IntoIterator<Item = &'a str>,
{
    let field = Field::new("element", DataType::Utf8, true);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field);
    let mut keys = Int32Builder::new();
    for list in lists {
        let Some(texts) = list else {
            keys.append_null();
            continue;
        };
        keys.append_value(i32::try_from(builder.len()).map_err(|_| ArrowError::DictionaryKeyOverflowError)?);
        texts.into_iter().for_each(|text| builder.values().append_value(text));
        builder.append(true);
    }
    let column = DictionaryArray::try_new(keys.finish(), Arc::new(builder.finish()))?;
    Ok(Arc::new(column))
}

/// Spreads the values of distinct tags over the rows.
///
/// Columns whose values change between the same tags share their keys: the site, its jurisdiction and its zone
/// are often told apart by the same records.
#[derive(Debug)]
pub(crate) struct Spread {
    /// For each row the index of its tag.
    of_row: Int32Array,
    tags: usize,
    /// The keys of tags, and those of the rows that they became.
    known: Vec<(Int32Array, Int32Array)>,
}

impl Spread {
    /// `tag_of_row` are indices below `tags`, which are no more than rows.
    pub(crate) fn new(tag_of_row: &[u32], tags: usize) -> Self {
        // Rows of a batch are counted by 32 bits, and half of them are never reached.
        let of_row = tag_of_row.iter().map(|tag| *tag as i32).collect::<Vec<_>>().into();
        Self { of_row, tags, known: Vec::new() }
    }

    /// A dictionary column with the value of each row's tag; `values` has one per tag.
    pub(crate) fn column(&mut self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let dictionary = values.as_any().downcast_ref::<DictionaryArray<Int32Type>>();
        let Some(dictionary) = dictionary.filter(|values| values.len() == self.tags) else {
            return Err(ArrowError::InvalidArgumentError("a value is missing".to_owned()));
        };
        let keys = dictionary.keys();
        let known = self.known.iter().find(|(of_tags, _)| of_tags == keys);
        let of_rows = match known {
            Some((_, of_rows)) => of_rows.clone(),
            None => {
                let of_rows = self.of_rows(keys)?;
                self.known.push((keys.clone(), of_rows.clone()));
                of_rows
            }
        };
        Ok(Arc::new(DictionaryArray::try_new(of_rows, dictionary.values().clone())?))
    }

    /// For each row the key of its tag.
    fn of_rows(&self, keys: &Int32Array) -> Result<Int32Array, ArrowError> {
        let rows = self.of_row.len();
        let alike = keys.values().windows(2).all(|pair| pair[0] == pair[1]);
        match (keys.nulls(), keys.values().first()) {
            (None, Some(key)) if alike => Ok(vec![*key; rows].into()),
            // Each tag has a value of its own.
            (None, _) if keys.values().iter().enumerate().all(|(tag, key)| *key as usize == tag) => {
                Ok(self.of_row.clone())
            }
            (None, _) => {
                let key = |tag: &i32| keys.values().get(*tag as usize).copied();
                let keys = self.of_row.values().iter().map(key).collect::<Option<Vec<_>>>();
                keys.map(Into::into).ok_or(ArrowError::DictionaryKeyOverflowError)
            }
            (Some(_), _) if keys.null_count() == keys.len() => Ok(Int32Array::new_null(rows)),
            (Some(_), _) => Ok(take(keys, &self.of_row, None)?.as_primitive::<Int32Type>().clone()),
        }
    }
}
