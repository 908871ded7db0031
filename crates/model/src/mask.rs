//! What a field's class does to its value before it can reach a store (docs/schemas.md, ADR 16).
//!
//! Personal values become pseudonyms or null; trade secrets that leave the plant's zone become hashes or
//! null. [`split`](crate::batch::split) asks for the [`Masks`] of the rows, so no
//! [`ResidentBatch`](crate::ResidentBatch) can be made without them.

mod apply;
mod key;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use crate::columns::{
    CLASS_BY_METADATA, CLASS_ELSE_METADATA, CLASS_METADATA, PSEUDONYM_METADATA, dictionary_type, names,
};
use crate::words::{FieldClass, Jurisdiction, ZoneId};

pub use key::{BadKey, FieldKey, KeyRing};

/// Begins the hash that stands for a trade secret outside of the plant's zone.
pub const SECRET_PREFIX: &str = "hmac-sha256:";
/// Hexadecimal digits of a pseudonym and of a trade secret's hash: 128 bits, so that two of a thousand
/// million values have the same one with a probability of about 10⁻²¹.
pub const HASH_DIGITS: usize = 32;

/// Per zone, its jurisdictions whose plants have a zone of their own within it: what lies in the zone and was
/// collected there has left the plant's zone. Zones without such jurisdictions are left out.
pub type Outside = BTreeMap<ZoneId, BTreeMap<Jurisdiction, ZoneId>>;

/// That a field has another class in some rows, by the word in a column beside it.
///
/// Where that column is null, the strictest of the classes holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassBy {
    /// The column of text that decides.
    pub column: String,
    /// The class of each word. Words that are not here leave the field the class that it has otherwise.
    pub words: BTreeMap<String, FieldClass>,
}

impl ClassBy {
    /// The text that the column's metadata keeps: the column, then a line `class:word` for each word. Neither
    /// holds a line feed.
    pub fn to_text(&self) -> String {
        let lines = self.words.iter().map(|(word, class)| format!("\n{class}:{word}"));
        std::iter::once(self.column.clone()).chain(lines).collect()
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let column = lines.next()?.to_owned();
        let word = |line: &str| {
            let (class, word) = line.split_once(':')?;
            Some((word.to_owned(), FieldClass::from_word(class)?))
        };
        Some(Self { column, words: lines.map(word).collect::<Option<_>>()? })
    }

    /// The strictest of its classes.
    pub fn strictest(&self) -> Option<FieldClass> {
        self.words.values().min().copied()
    }
}

/// A column of which some values must not be stored as they come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Masked {
    name: String,
    /// The class that its values have unless `by` says otherwise.
    class: Option<FieldClass>,
    by: Option<ClassBy>,
    /// Whether personal values become pseudonyms; else null.
    pseudonym: bool,
    /// Whether it can hold a hash.
    text: bool,
}

impl Masked {
    fn of(field: &Field) -> Option<Self> {
        let metadata = field.metadata();
        if metadata.is_empty() {
            return None;
        }
        let strictest = metadata.get(CLASS_METADATA).and_then(|word| FieldClass::from_word(word));
        if !strictest.is_some_and(FieldClass::is_guarded) {
            return None;
        }
        // Metadata that cannot be understood leaves the strictest class to all values.
        let by = metadata.get(CLASS_BY_METADATA).and_then(|text| ClassBy::from_text(text));
        let class = match &by {
            Some(_) => metadata.get(CLASS_ELSE_METADATA).and_then(|w| FieldClass::from_word(w)),
            None => strictest,
        };
        let text = [DataType::Utf8, dictionary_type()].contains(field.data_type());
        let pseudonym = text && metadata.get(PSEUDONYM_METADATA).is_some_and(|word| word == "true");
        Some(Self { name: field.name().clone(), class, by, pseudonym, text })
    }

    fn has(&self, class: FieldClass) -> bool {
        self.class == Some(class) || self.by.as_ref().is_some_and(|by| by.words.values().any(|c| *c == class))
    }
}

/// What is done to the rows of one pipeline, by the classes of its columns and the keys of the zones.
///
/// # Memory
/// A few names. While a batch is masked, one text for each distinct value of a masked column.
#[derive(Debug, Clone)]
pub struct Masks {
    /// The columns that they were made for.
    schema: SchemaRef,
    columns: Vec<Masked>,
    outside: Outside,
    keys: Arc<KeyRing>,
}

impl Masks {
    /// The masks of rows with these columns, whose metadata gives their classes. `outside` comes from the
    /// policy.
    pub fn new(schema: SchemaRef, outside: Outside, keys: Arc<KeyRing>) -> Self {
        let columns = columns_of(&schema);
        Self { schema, columns, outside, keys }
    }

    /// Whether no column is masked.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The zones whose keys are needed where `stores` are the zones that have a store.
    pub fn zones_that_need_keys(&self, stores: &BTreeSet<ZoneId>) -> BTreeSet<ZoneId> {
        let mut zones = BTreeSet::new();
        for column in &self.columns {
            if column.pseudonym && column.has(FieldClass::Personal) {
                zones.extend(stores.iter().cloned());
            }
            if column.text && column.has(FieldClass::TradeSecret) {
                let plants = stores.iter().filter_map(|zone| self.outside.get(zone));
                zones.extend(plants.flat_map(BTreeMap::values).cloned());
            }
        }
        zones
    }

    /// Those of them that have none.
    pub fn zones_without_keys(&self, stores: &BTreeSet<ZoneId>) -> BTreeSet<ZoneId> {
        if self.columns.is_empty() {
            return BTreeSet::new();
        }
        let mut zones = self.zones_that_need_keys(stores);
        zones.retain(|zone| !self.keys.has(zone));
        zones
    }

    /// Whether these are the masks of rows with these columns.
    pub(crate) fn fit(&self, schema: &SchemaRef) -> bool {
        Arc::ptr_eq(&self.schema, schema) || columns_of(schema) == self.columns
    }

    /// The rows as they may lie in a zone. It is the zone that they are placed in: what they become in
    /// another differs.
    ///
    /// # Errors
    /// If a zone has no key, or a column is of another type than it was. The texts hold no value.
    pub fn apply(&self, rows: &RecordBatch, zone: &ZoneId) -> Result<RecordBatch, ArrowError> {
        if self.columns.is_empty() {
            return Ok(rows.clone());
        }
        apply::apply(&self.columns, self.outside.get(zone), &self.keys, rows, zone)
    }

    /// Whether rows that it changed must not be stored: the keys are no secret.
    pub(crate) fn on_trial(&self) -> bool {
        !self.columns.is_empty() && self.keys.on_trial()
    }
}

fn columns_of(schema: &Schema) -> Vec<Masked> {
    schema.fields().iter().filter_map(|field| Masked::of(field)).collect()
}

/// Whether a column may be told of in statistics, which stand in the log and in footers: not if its class is
/// guarded, and not what is kept unread.
pub fn may_have_statistics(field: &Field) -> bool {
    let class = field.metadata().get(CLASS_METADATA).and_then(|word| FieldClass::from_word(word));
    field.name() != names::EXTRA && !class.is_some_and(FieldClass::is_guarded)
}
