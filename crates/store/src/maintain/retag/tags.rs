//! Tags of a batch as numbers, whatever columns they come in: the same tag is the same number, so they are
//! compared, counted and written without their texts.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use situs_model::columns::{dictionary_type, names};

use super::body::TagCounts;
use crate::error::Fault;

/// The tags that re-tagging may change. Zone and claim are not among them: a row of another zone would have to
/// move, and the claim is what the payload says.
pub(super) const CHANGES: [&str; 7] = [
    names::JURISDICTION,
    names::SITE,
    names::RULE,
    names::CLASS,
    names::TRAINING,
    names::MODELS,
    names::MARKETS,
];
/// The tags that are written: those, and the policy that gave them.
pub(super) const WRITTEN: [&str; 8] =
    [CHANGES[0], CHANGES[1], CHANGES[2], CHANGES[3], CHANGES[4], CHANGES[5], CHANGES[6], names::POLICY];

/// A tag column before and after.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: &'static str,
    /// The values, each once. A text is a list of one.
    values: Vec<Vec<String>>,
    numbers: HashMap<Vec<String>, u32>,
    /// For each row the number of its value; `None` is null.
    pub(super) old: Vec<Option<u32>>,
    pub(super) new: Vec<Option<u32>>,
}

impl Tag {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, values: Vec::new(), numbers: HashMap::new(), old: Vec::new(), new: Vec::new() }
    }

    /// Appends a column to what is.
    pub(super) fn push_old(&mut self, column: &ArrayRef) -> Result<(), Fault> {
        let numbers = self.numbers_of(column)?;
        self.old.extend(numbers);
        Ok(())
    }

    /// Appends a column to what shall be.
    pub(super) fn push_new(&mut self, column: &ArrayRef) -> Result<(), Fault> {
        let numbers = self.numbers_of(column)?;
        self.new.extend(numbers);
        Ok(())
    }

    /// What shall be is what is, in all rows of which nothing else was said.
    pub(super) fn keep(&mut self, rows: usize) {
        let from = self.new.len();
        self.new.extend_from_slice(&self.old[from..from + rows]);
    }

    pub(super) fn number(&mut self, value: Vec<String>) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    /// The text of a value that is one text.
    pub(super) fn text(&self, number: Option<u32>) -> Option<&str> {
        self.values.get(number? as usize)?.first().map(String::as_str)
    }

    fn numbers_of(&mut self, column: &ArrayRef) -> Result<Vec<Option<u32>>, Fault> {
        let Some(words) = column.as_dictionary_opt::<Int32Type>() else {
            return (0..column.len()).map(|row| self.number_at(column, row)).collect();
        };
        let mut known: Vec<Option<Option<u32>>> = vec![None; words.values().len()];
        let mut numbers = Vec::with_capacity(words.len());
        for key in words.keys() {
            let Some(key) = key.and_then(|key| usize::try_from(key).ok()) else {
                numbers.push(None);
                continue;
            };
            let number = match known[key] {
                Some(number) => number,
                None => {
                    let number = self.number_at(words.values(), key)?;
                    known[key] = Some(number);
                    number
                }
            };
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn number_at(&mut self, values: &ArrayRef, row: usize) -> Result<Option<u32>, Fault> {
        let odd = || Fault::stop(format!("column `{}` is of another type", self.name));
        if values.is_null(row) {
            return Ok(None);
        }
        let value = if let Some(texts) = values.as_string_opt::<i32>() {
            vec![texts.value(row).to_owned()]
        } else {
            let list = values.as_list_opt::<i32>().ok_or_else(odd)?.value(row);
            let texts: &StringArray = list.as_string_opt::<i32>().ok_or_else(odd)?;
            texts.iter().flatten().map(str::to_owned).collect()
        };
        Ok(Some(self.number(value)))
    }

    /// Adds how many rows have which value.
    pub(super) fn count(&self, numbers: &[Option<u32>], counts: &mut TagCounts) {
        let mut rows = vec![0_u64; self.values.len()];
        for number in numbers.iter().flatten() {
            rows[*number as usize] += 1;
        }
        for (value, rows) in self.values.iter().zip(rows) {
            for text in value {
                counts.add(self.name, text, rows);
            }
        }
    }

    /// The column as it shall be, of this type.
    pub(super) fn column(&self, of: &DataType) -> Result<ArrayRef, Fault> {
        let odd = || Fault::stop(format!("column `{}` cannot be put together", self.name));
        // Only what rows have: a dictionary that names what no row has would be written like that.
        let mut places: Vec<Option<i32>> = vec![None; self.values.len()];
        let mut used: Vec<&Vec<String>> = Vec::new();
        let mut keys: Vec<Option<i32>> = Vec::with_capacity(self.new.len());
        for number in &self.new {
            let Some(number) = number.map(|number| number as usize) else {
                keys.push(None);
                continue;
            };
            if places[number].is_none() {
                places[number] = i32::try_from(used.len()).ok();
                used.push(&self.values[number]);
            }
            keys.push(places[number]);
        }
        let values: ArrayRef = if *of == dictionary_type() {
            Arc::new(used.iter().map(|value| value.first().map(String::as_str)).collect::<StringArray>())
        } else {
            let DataType::Dictionary(_, list) = of else { return Err(odd()) };
            let DataType::List(element) = &**list else { return Err(odd()) };
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(element.clone());
            for value in used {
                value.iter().for_each(|text| lists.values().append_value(text));
                lists.append(true);
            }
            Arc::new(lists.finish())
        };
        let column = DictionaryArray::try_new(Int32Array::from(keys), values).map_err(|_| odd())?;
        if column.data_type() == of { Ok(Arc::new(column)) } else { Err(odd()) }
    }
}

/// The columns of a batch that are written, as they are.
pub(super) fn of_batch(batch: &RecordBatch) -> Result<Vec<Tag>, Fault> {
    WRITTEN
        .iter()
        .map(|name| {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Fault::stop(format!("column `{name}` is missing in a file")))?;
            let mut tag = Tag::new(name);
            tag.push_old(column)?;
            Ok(tag)
        })
        .collect()
}

/// Whether a tag is a list of texts.
pub(super) fn is_list(name: &str) -> bool {
    name == names::MODELS || name == names::MARKETS
}

#[cfg(test)]
mod tests {
    use situs_model::columns::text_list_type;

    use super::*;

    fn words(words: &[Option<&str>]) -> ArrayRef {
        Arc::new(words.iter().copied().collect::<DictionaryArray<Int32Type>>())
    }

    #[test]
    fn equal_tags_are_equal_numbers_however_they_are_encoded() {
        let mut tag = Tag::new(names::CLASS);
        tag.push_old(&words(&[Some("general"), None, Some("core")])).unwrap();
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("core"), None, Some("core")]));
        tag.push_new(&plain).unwrap();
        assert_ne!(tag.old[0], tag.new[0]);
        assert_eq!((tag.old[1], tag.old[2]), (tag.new[1], tag.new[2]));
        let mut counts = TagCounts::default();
        tag.count(&tag.new, &mut counts);
        assert_eq!((counts.of("_class", "core"), counts.of("_class", "general")), (2, 0));
        let column = tag.column(&dictionary_type()).unwrap();
        let written = column.as_dictionary::<Int32Type>();
        assert_eq!(written.values().len(), 1, "what no row has is not written");
        assert!(column.is_null(1));
    }

    #[test]
    fn lists_stay_lists() {
        let mut tag = Tag::new(names::MODELS);
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), Some("b")]);
        lists.append_null();
        let column: ArrayRef = Arc::new(lists.finish());
        tag.push_old(&column).unwrap();
        tag.keep(2);
        let of = DataType::Dictionary(Box::new(DataType::Int32), Box::new(text_list_type()));
        let column = tag.column(&of).unwrap();
        let written = column.as_dictionary::<Int32Type>();
        assert_eq!(written.values().as_list::<i32>().value(0).len(), 2);
        assert!(column.is_null(1) && !column.is_null(0));
        let mut counts = TagCounts::default();
        tag.count(&tag.new, &mut counts);
        assert_eq!((counts.of("_models", "a"), counts.of("_models", "b")), (1, 1));
    }
}
