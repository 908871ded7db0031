//! The columns that Situs adds (docs/columns.md). They begin with `_`, except the two that every
//! reader of a time series expects.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::words::Class;

/// Key of a field's metadata in the Arrow schema: its unit.
pub const UNIT_METADATA: &str = "situs.unit";
/// Key of a field's metadata in the Arrow schema: its class, a word of [`FieldClass`](crate::FieldClass); the
/// strictest one where it varies.
pub const CLASS_METADATA: &str = "situs.class";
/// Key of a field's metadata in the Arrow schema: by which column its class varies, as
/// [`ClassBy`](crate::mask::ClassBy) has it.
pub const CLASS_BY_METADATA: &str = "situs.class-by";
/// Key of a field's metadata in the Arrow schema, where its class varies: the class that it has otherwise.
pub const CLASS_ELSE_METADATA: &str = "situs.class-else";
/// Key of a field's metadata in the Arrow schema: `true` where personal values become pseudonyms.
pub const PSEUDONYM_METADATA: &str = "situs.pseudonym";

/// Key of the Arrow schema's own metadata: the columns that are dropped since their fields are personal, with
/// commas between.
pub const DROPPED_METADATA: &str = "situs.dropped";

/// Names of the system columns.
pub mod names {
    /// Kafka topic.
    pub const TOPIC: &str = "_topic";
    /// Kafka partition.
    pub const PARTITION: &str = "_partition";
    /// Kafka offset of the message.
    pub const OFFSET: &str = "_offset";
    /// Index of the row within its message.
    pub const ROW: &str = "_row";
    /// The broker's (or producer's) timestamp of the message.
    pub const BROKER_TIME: &str = "_broker_time";
    /// When this process took the message.
    pub const INGEST_TIME: &str = "_ingest_time";
    /// When the thing happened, by the source's clock.
    pub const EVENT_TIME: &str = "event_time";
    /// UTC day of `event_time`; the tables' partition column.
    pub const EVENT_DATE: &str = "event_date";
    /// Exact nanoseconds since the epoch, where the source is finer than a microsecond.
    pub const EVENT_TIME_NS: &str = "_event_time_ns";
    /// Which values are missing and why: `column:code` joined by `;`, null if all is well.
    pub const QUALITY: &str = "_quality";
    /// Unknown fields as JSON text, where the schema keeps them.
    pub const EXTRA: &str = "_extra";
    /// Where the record was collected, by the registry.
    pub const JURISDICTION: &str = "_jurisdiction";
    /// The site it was collected at, by the registry.
    pub const SITE: &str = "_site";
    /// What the payload said of its own origin.
    pub const CLAIMED: &str = "_claimed";
    /// The zone it must live in.
    pub const ZONE: &str = "_zone";
    /// The rule that said so.
    pub const RULE: &str = "_rule";
    /// The version of the policy that held the rule.
    pub const POLICY: &str = "_policy";
    /// The record's class.
    pub const CLASS: &str = "_class";
    /// Whether models may learn from it.
    pub const TRAINING: &str = "_training";
    /// The registered models it feeds.
    pub const MODELS: &str = "_models";
    /// The markets these models are deployed in.
    pub const MARKETS: &str = "_markets";
    /// The transfer by which a row came from another zone; in tables of received rows only.
    pub const TRANSFER: &str = "_transfer";
    /// The number of a row within its transfer, from 0.
    pub const TRANSFER_ROW: &str = "_transfer_row";
}

/// Text of few distinct values: a dictionary in memory and in Parquet, a string to every reader.
pub fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// UTC microseconds: what every reader of Delta tables agrees on.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The identity columns, in order. `decode` adds them.
pub fn identity_fields() -> Vec<Field> {
    vec![
        Field::new(names::TOPIC, dictionary_type(), false),
        Field::new(names::PARTITION, DataType::Int32, false),
        Field::new(names::OFFSET, DataType::Int64, false),
        Field::new(names::ROW, DataType::Int32, false),
        Field::new(names::BROKER_TIME, timestamp_type(), true),
        Field::new(names::INGEST_TIME, timestamp_type(), false),
    ]
}

/// The time columns, in order; `with_ns` where the schema asks for nanoseconds. `decode` adds them.
pub fn time_fields(with_ns: bool) -> Vec<Field> {
    let mut fields = vec![
        Field::new(names::EVENT_TIME, timestamp_type(), false),
        Field::new(names::EVENT_DATE, DataType::Date32, false),
    ];
    if with_ns {
        fields.push(Field::new(names::EVENT_TIME_NS, DataType::Int64, true));
    }
    fields.push(Field::new(names::QUALITY, dictionary_type(), true));
    fields
}

/// A list of short texts, such as the ids of models.
pub fn text_list_type() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))
}

/// Lists of short texts of which few are distinct: a dictionary in memory, a list to every reader.
pub fn dictionary_of_lists_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(text_list_type()))
}

/// A list of numbers, such as the samples of a block.
pub fn number_list_type() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Float64, true)))
}

/// The tag columns, in order. `policy` adds them.
pub fn tag_fields() -> Vec<Field> {
    vec![
        Field::new(names::JURISDICTION, dictionary_type(), true),
        Field::new(names::SITE, dictionary_type(), true),
        Field::new(names::CLAIMED, dictionary_type(), true),
        Field::new(names::ZONE, dictionary_type(), true),
        Field::new(names::RULE, dictionary_type(), true),
        Field::new(names::POLICY, dictionary_type(), false),
        Field::new(names::CLASS, dictionary_type(), false),
        Field::new(names::TRAINING, dictionary_type(), false),
        Field::new(names::MODELS, dictionary_of_lists_type(), true),
        Field::new(names::MARKETS, dictionary_of_lists_type(), true),
    ]
}

/// The highest class of rows, by their `_class`: that of a file or of a selection that holds them. A row without
/// a class that can be read counts as the strictest. `None` if there is no such column, or no row.
pub fn highest_class(rows: &RecordBatch) -> Option<Class> {
    let column = rows.column_by_name(names::CLASS)?;
    let class = |word: Option<&str>| word.and_then(Class::from_word).unwrap_or(Class::Unclassified);
    if let Some(words) = column.as_dictionary_opt::<Int32Type>() {
        let Some(values) = words.values().as_string_opt::<i32>() else { return Some(Class::Unclassified) };
        let of_value: Vec<Class> = values.iter().map(class).collect();
        let of_key = |key: Option<i32>| {
            let known = key.and_then(|key| of_value.get(usize::try_from(key).ok()?));
            known.copied().unwrap_or(Class::Unclassified)
        };
        // By far the commonest case: all rows have the one class.
        if let ([one], 0) = (of_value.as_slice(), words.null_count()) {
            return (rows.num_rows() > 0).then_some(*one);
        }
        return words.keys().iter().map(of_key).max();
    }
    match column.as_string_opt::<i32>() {
        Some(texts) => texts.iter().map(class).max(),
        None => (rows.num_rows() > 0).then_some(Class::Unclassified),
    }
}

/// The codes of quality of those columns that are seen; `None` if none is left. A code of a column that is not
/// seen would tell what is in it.
pub fn seen_codes(notes: &str, seen: impl Fn(&str) -> bool) -> Option<String> {
    let of_seen = |note: &&str| seen(note.rsplit_once(':').map_or(*note, |(column, _)| column));
    let kept: Vec<&str> = notes.split(';').filter(of_seen).collect();
    Some(kept.join(";")).filter(|kept| !kept.is_empty())
}

/// Whether a schema may not name a column of its own like this.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_') || name == names::EVENT_TIME || name == names::EVENT_DATE
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, DictionaryArray, StringArray};

    use super::*;

    fn of(column: ArrayRef) -> Option<Class> {
        highest_class(&RecordBatch::try_from_iter_with_nullable([(names::CLASS, column, true)]).unwrap())
    }

    #[test]
    fn the_highest_class_is_that_of_the_strictest_row() {
        let words = |words: &[Option<&str>]| -> ArrayRef {
            Arc::new(words.iter().copied().collect::<DictionaryArray<Int32Type>>())
        };
        assert_eq!(of(words(&[Some("general"), Some("general")])), Some(Class::General));
        assert_eq!(of(words(&[Some("general"), Some("core"), Some("important")])), Some(Class::Core));
        assert_eq!(of(words(&[Some("core"), Some("unclassified")])), Some(Class::Unclassified));
        assert_eq!(of(words(&[Some("general"), None])), Some(Class::Unclassified));
        assert_eq!(of(words(&[Some("secret")])), Some(Class::Unclassified));
        assert_eq!(of(words(&[])), None);
        // Of the dictionary only what rows name counts.
        assert_eq!(of(words(&[Some("general"), Some("core")]).slice(0, 1)), Some(Class::General));
        assert_eq!(of(Arc::new(StringArray::from(vec!["general", "important"]))), Some(Class::Important));
        let other: ArrayRef = Arc::new(arrow_array::Int32Array::from(vec![1]));
        assert_eq!(of(other.clone()), Some(Class::Unclassified));
        assert_eq!(highest_class(&RecordBatch::try_from_iter([("a", other)]).unwrap()), None);
    }
}
