//! Builds the tag columns from the few distinct tags of a batch.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder as _, Int32Builder, ListBuilder, StringBuilder, StringDictionaryBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int32Array, UInt32Array};
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
#[derive(Debug)]
pub(crate) enum Spread {
    /// All rows have the one tag; the keys of every dictionary column are these zeros.
    One { zeros: Int32Array, indices: UInt32Array },
    /// For each row the index of its tag.
    Many(UInt32Array),
}

impl Spread {
    /// `tag_of_row` are indices below `tags`.
    pub(crate) fn new(tag_of_row: Vec<u32>, tags: usize) -> Self {
        if tags == 1 {
            Self::One { zeros: vec![0; tag_of_row.len()].into(), indices: tag_of_row.into() }
        } else {
            Self::Many(tag_of_row.into())
        }
    }

    /// A column with the value of each row's tag; `values` has one per tag.
    pub(crate) fn column(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Many(indices) => take(values, indices, None),
            Self::One { zeros, indices } => {
                match values.as_any().downcast_ref::<DictionaryArray<Int32Type>>() {
                    Some(one) if one.null_count() == 0 => {
                        let column = DictionaryArray::try_new(zeros.clone(), one.values().clone())?;
                        Ok(Arc::new(column))
                    }
                    _ if values.is_null(0) => {
                        Ok(arrow_array::new_null_array(values.data_type(), indices.len()))
                    }
                    _ => take(values, indices, None),
                }
            }
        }
    }
}
