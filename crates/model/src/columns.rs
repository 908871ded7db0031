//! The columns that Situs adds (docs/columns.md). They begin with `_`, except the two that every
//! reader of a time series expects.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

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

/// Whether a schema may not name a column of its own like this.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_') || name == names::EVENT_TIME || name == names::EVENT_DATE
}
