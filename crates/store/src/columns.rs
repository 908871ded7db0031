//! Building the rows of the tables that Situs keeps itself.

use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Date32Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{Field, Schema};
use chrono::DateTime;
use situs_model::ContentVersion;
use situs_model::columns::dictionary_type;
use situs_model::store::FlushFacts;

use crate::error::Fault;

/// Columns with their fields, in order.
#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    /// Adds a column of the array's own type.
    pub(crate) fn add(&mut self, name: &str, nullable: bool, array: ArrayRef) -> &mut Self {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }

    /// Adds text of few distinct values.
    pub(crate) fn words<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = &'a str>,
    ) -> Result<&mut Self, Fault> {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for value in values {
            builder.append(value).map_err(|_| Fault::stop(format!("column `{name}` has too many values")))?;
        }
        self.fields.push(Field::new(name, dictionary_type(), false));
        self.arrays.push(Arc::new(builder.finish()));
        Ok(self)
    }

    /// Adds times in µs since the epoch.
    pub(crate) fn times(
        &mut self,
        name: &str,
        nullable: bool,
        values: impl Iterator<Item = Option<i64>>,
    ) -> &mut Self {
        let array: TimestampMicrosecondArray = values.collect();
        self.add(name, nullable, Arc::new(array.with_timezone("UTC")))
    }

    /// Adds the days of times in µs since the epoch.
    pub(crate) fn days(&mut self, name: &str, micros: impl Iterator<Item = i64>) -> &mut Self {
        let array: Date32Array = micros.map(|micros| Some(day_of(micros))).collect();
        self.add(name, false, Arc::new(array))
    }

    /// The rows.
    pub(crate) fn build(self) -> Result<RecordBatch, Fault> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
            .map_err(|_| Fault::stop("the columns of a table of Situs do not fit together"))
    }
}

/// Facts of no flush, for the columns of rows that are not there.
pub(crate) fn no_facts() -> Result<FlushFacts, Fault> {
    let none = ContentVersion::of(b"");
    Ok(FlushFacts {
        flush_id: String::new(),
        pipeline: "none".parse().map_err(|_| Fault::stop("`none` is no name of a pipeline"))?,
        policy: none.clone(),
        schema: none.clone(),
        definition: none,
    })
}

/// The UTC day of a time.
pub(crate) fn day_of(micros: i64) -> i32 {
    const DAY: i64 = 86_400_000_000;
    i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// Now, in µs since the epoch.
pub(crate) fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Whether a time can stand in a table whose days have four-digit years.
pub(crate) fn is_plain_time(micros: i64) -> bool {
    use chrono::Datelike as _;
    DateTime::from_timestamp_micros(micros).is_some_and(|time| (1..=9999).contains(&time.year()))
}
