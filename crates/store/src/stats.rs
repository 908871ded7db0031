//! The statistics that a commit gives for a file, from what Parquet counted while writing it.

use std::collections::HashMap;

use arrow_schema::{DataType, Schema, TimeUnit};
use chrono::{DateTime, NaiveDate, TimeDelta};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use serde_json::{Map, Number, Value, json};

/// The smallest or greatest value of a column.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Bound {
    Int(i64),
    Float(f64),
}

/// What is known of a column over the row groups seen so far.
#[derive(Debug, Default)]
struct Summary {
    nulls: Option<u64>,
    range: Option<(Bound, Bound)>,
    /// A row group did not say, so nothing can be said of the file.
    unknown: bool,
}

/// Delta's statistics as JSON: the number of rows, and for numbers, times and dates at the top level
/// their extremes and their nulls. Engines skip files by them, so where a bound is not exactly known,
/// or cannot be written in the way that all engines read, none is given.
///
/// Text is left out: its bounds are often cut to a length, and they carry whole values into the log.
pub(crate) fn delta_statistics(file: &ParquetMetaData, columns: &Schema) -> String {
    let by_name: HashMap<&str, &DataType> =
        columns.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect();
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (index, column) in file.file_metadata().schema_descr().columns().iter().enumerate() {
        let [name] = column.path().parts() else { continue };
        let Some(data_type) = by_name.get(name.as_str()) else { continue };
        if !has_bounds(data_type) {
            continue;
        }
        let mut summary = Summary { nulls: Some(0), ..Summary::default() };
        for group in file.row_groups() {
            summary.add(group.column(index), group.num_rows());
        }
        if let Some(count) = summary.nulls {
            nulls.insert(name.clone(), json!(count));
        }
        if let (false, Some((low, high))) = (summary.unknown, summary.range)
            && let (Some(low), Some(high)) = (written(low, data_type), written(high, data_type))
        {
            min.insert(name.clone(), low);
            max.insert(name.clone(), high);
        }
    }
    let rows = file.file_metadata().num_rows();
    json!({ "numRecords": rows, "minValues": min, "maxValues": max, "nullCount": nulls }).to_string()
}

fn has_bounds(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int32
            | DataType::Int64
            | DataType::Float64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, Some(_))
    )
}

impl Summary {
    fn add(&mut self, chunk: &ColumnChunkMetaData, rows: i64) {
        let statistics = chunk.statistics();
        let nulls = statistics.and_then(Statistics::null_count_opt);
        self.nulls = self.nulls.zip(nulls).map(|(a, b)| a + b);
        if nulls.is_some() && nulls == u64::try_from(rows).ok() {
            return;
        }
        let range = match statistics {
            Some(Statistics::Int32(s)) => {
                s.min_opt().zip(s.max_opt()).map(|(a, b)| (Bound::Int((*a).into()), Bound::Int((*b).into())))
            }
            Some(Statistics::Int64(s)) => {
                s.min_opt().zip(s.max_opt()).map(|(a, b)| (Bound::Int(*a), Bound::Int(*b)))
            }
            Some(Statistics::Double(s)) => {
                s.min_opt().zip(s.max_opt()).map(|(a, b)| (Bound::Float(*a), Bound::Float(*b)))
            }
            _ => None,
        };
        match (range, self.range) {
            (None, _) => self.unknown = true,
            (Some(range), None) => self.range = Some(range),
            (Some((low, high)), Some((lowest, highest))) => {
                let low = if low < lowest { low } else { lowest };
                let high = if high > highest { high } else { highest };
                self.range = Some((low, high));
            }
        }
    }
}

/// A bound as Delta writes it; `None` where it has no form that all engines read.
fn written(bound: Bound, data_type: &DataType) -> Option<Value> {
    match (bound, data_type) {
        (Bound::Float(value), _) => Number::from_f64(value).map(Value::Number),
        (Bound::Int(days), DataType::Date32) => date_text(i32::try_from(days).ok()?).map(Value::String),
        (Bound::Int(micros), DataType::Timestamp(..)) => {
            let time = DateTime::from_timestamp_micros(micros)?;
            has_plain_year(&time).then(|| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into())
        }
        (Bound::Int(value), _) => Some(value.into()),
    }
}

/// A day since the epoch as `YYYY-MM-DD`, the form of partition values; `None` for years that do not
/// have four digits, which would make the table unreadable to most engines.
pub(crate) fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days.into()))?;
    has_plain_year(&date).then(|| date.format("%Y-%m-%d").to_string())
}

fn has_plain_year(date: &impl chrono::Datelike) -> bool {
    (1..=9999).contains(&date.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dates_of_four_digits_have_a_text() {
        assert_eq!(date_text(0).unwrap(), "1970-01-01");
        assert_eq!(date_text(-719_162).unwrap(), "0001-01-01");
        assert_eq!(date_text(2_932_896).unwrap(), "9999-12-31");
        for days in [-719_163, 2_932_897, i32::MIN, i32::MAX] {
            assert_eq!(date_text(days), None, "{days}");
        }
    }

    #[test]
    fn bounds_are_written_exactly_or_not_at_all() {
        let time = situs_model::columns::timestamp_type();
        let text = written(Bound::Int(1_660_000_000_123_456), &time).unwrap();
        assert_eq!(text, "2022-08-08T23:06:40.123456Z");
        assert_eq!(written(Bound::Int(i64::MAX), &time), None);
        assert_eq!(written(Bound::Float(f64::NAN), &DataType::Float64), None);
        assert_eq!(written(Bound::Float(f64::INFINITY), &DataType::Float64), None);
        assert_eq!(written(Bound::Float(0.1), &DataType::Float64).unwrap().to_string(), "0.1");
        assert_eq!(
            written(Bound::Int(i64::MIN), &DataType::Int64).unwrap().to_string(),
            i64::MIN.to_string()
        );
    }
}
