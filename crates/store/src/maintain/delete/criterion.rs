//! Which rows are meant: by source, by age, by class.

use std::collections::BTreeSet;
use std::fmt;

use arrow_array::{Array as _, RecordBatch, StringArray};
use serde::{Deserialize, Serialize};
use situs_model::columns::names::{CLASS, SITE};
use situs_model::{Date, TableName};

use super::super::Shape;
use super::keys::{Key, Keys};
use crate::error::Fault;
use crate::scan::Rows;

/// Which rows are meant: those for which everything that is given holds.
///
/// A row of quarantine has no site, device or class, so a criterion that gives one means none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Criterion {
    /// `_site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The column that holds the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The first offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_offset: Option<i64>,
    /// The offset after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_offset: Option<i64>,
    /// Days before this one: of `event_date`, and in quarantine of `quarantine_date`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day")]
    pub before: Option<Date>,
    /// `_class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Only these messages, `TOPIC/PARTITION/OFFSET`; all if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub records: BTreeSet<String>,
    /// Only these tables; all if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "tables")]
    pub tables: BTreeSet<TableName>,
}

impl Criterion {
    /// Whether it may mean rows of this table.
    pub(crate) fn may_mean_table(&self, table: &TableName) -> bool {
        let of_rows_only = self.site.is_some() || self.device.is_some() || self.class.is_some();
        (self.tables.is_empty() || self.tables.contains(table))
            && !(of_rows_only && *table == TableName::quarantine())
    }

    /// Whether it may mean a row by its table and coordinates.
    pub(crate) fn may_mean(&self, table: &str, key: &Key<'_>) -> bool {
        table.parse().is_ok_and(|table| self.may_mean_table(&table)) && self.is_of(key)
    }

    fn is_of(&self, key: &Key<'_>) -> bool {
        self.topic.as_deref().is_none_or(|topic| topic == key.topic)
            && self.partition.is_none_or(|partition| partition == key.partition)
            && self.from_offset.is_none_or(|from| key.offset >= from)
            && self.to_offset.is_none_or(|to| key.offset < to)
            && (self.records.is_empty() || self.records.contains(&key.record()))
    }

    /// Whether it may mean rows of this day.
    pub(crate) fn may_mean_day(&self, day: Option<Date>) -> bool {
        self.before.is_none_or(|before| day.is_some_and(|day| day < before))
    }

    /// Columns beside the coordinates that it is decided on.
    pub(crate) fn columns<'a>(&self, device_column: &'a str) -> Vec<&'a str> {
        let mut columns = Vec::new();
        columns.extend(self.site.as_ref().map(|_| SITE));
        columns.extend(self.device.as_ref().map(|_| device_column));
        columns.extend(self.class.as_ref().map(|_| CLASS));
        columns
    }

    /// Which rows of a batch are meant, where table and day may be.
    pub(crate) fn means(
        &self,
        batch: &RecordBatch,
        rows: &Rows<'_>,
        keys: &Keys,
        device_column: &str,
        shape: &Shape,
    ) -> Result<Vec<bool>, Fault> {
        let count = batch.num_rows();
        if !shape.zoned && (self.site.is_some() || self.device.is_some() || self.class.is_some()) {
            return Ok(vec![false; count]);
        }
        let text = |wanted: &Option<String>, column: &str| -> Result<Option<Option<StringArray>>, Fault> {
            // A column that a file lacks is null in all its rows.
            let found = batch.column_by_name(column).map(|_| rows.texts(column)).transpose();
            wanted.as_ref().map(|_| found).transpose()
        };
        let site = text(&self.site, SITE)?;
        let device = text(&self.device, device_column)?;
        let class = text(&self.class, CLASS)?;
        let is = |column: &Option<Option<StringArray>>, wanted: &Option<String>, row: usize| match column {
            None => true,
            Some(None) => false,
            Some(Some(texts)) => texts.is_valid(row) && Some(texts.value(row)) == wanted.as_deref(),
        };
        Ok((0..count)
            .map(|row| {
                self.is_of(&keys.at(row))
                    && is(&site, &self.site, row)
                    && is(&device, &self.device, row)
                    && is(&class, &self.class, row)
            })
            .collect())
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.site.as_ref().map(|site| format!("site {site}")));
        parts.extend(self.device.as_ref().map(|device| format!("device {device}")));
        if let Some(topic) = &self.topic {
            let partition = self.partition.map(|partition| format!("/{partition}")).unwrap_or_default();
            parts.push(format!("topic {topic}{partition}"));
        }
        parts.extend(self.from_offset.map(|from| format!("offsets from {from}")));
        parts.extend(self.to_offset.map(|to| format!("offsets before {to}")));
        parts.extend(self.before.map(|before| format!("days before {before}")));
        parts.extend(self.class.as_ref().map(|class| format!("class {class}")));
        if !self.records.is_empty() {
            parts.push(format!("{} messages by their coordinates", self.records.len()));
        }
        if !self.tables.is_empty() {
            let names: Vec<&str> = self.tables.iter().map(TableName::as_str).collect();
            parts.push(format!("table {}", names.join(" or ")));
        }
        if parts.is_empty() { f.write_str("every row") } else { f.write_str(&parts.join(", ")) }
    }
}

/// A day as text.
mod day {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use situs_model::Date;

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(day: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
        match day {
            Some(day) => serializer.collect_str(day),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(|_| de::Error::custom("expected a day"))).transpose()
    }
}

/// Names of tables as texts.
mod tables {
    use std::collections::BTreeSet;

    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use situs_model::TableName;

    pub(super) fn serialize<S: Serializer>(
        tables: &BTreeSet<TableName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tables.iter().map(TableName::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<TableName>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(|_| de::Error::custom("expected a table"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_criterion_is_the_same_after_it_was_written_and_read() {
        let criterion = Criterion {
            site: Some("nanning-1".to_owned()),
            before: Some("2026-03-02".parse().unwrap()),
            tables: BTreeSet::from(["cnc_state".parse().unwrap()]),
            ..Criterion::default()
        };
        let text = serde_json::to_string(&criterion).unwrap();
        assert_eq!(text, r#"{"site":"nanning-1","before":"2026-03-02","tables":["cnc_state"]}"#);
        assert_eq!(serde_json::from_str::<Criterion>(&text).unwrap(), criterion);
        assert_eq!(criterion.to_string(), "site nanning-1, days before 2026-03-02, table cnc_state");
        assert!(serde_json::from_str::<Criterion>(r#"{"sites":"x"}"#).is_err());
    }

    #[test]
    fn quarantine_has_no_sites_and_a_day_that_is_not_known_is_not_old() {
        let of_site = Criterion { site: Some("x".to_owned()), ..Criterion::default() };
        assert!(!of_site.may_mean_table(&TableName::quarantine()));
        assert!(Criterion::default().may_mean_table(&TableName::quarantine()));
        let old = Criterion { before: Some("2026-03-02".parse().unwrap()), ..Criterion::default() };
        assert!(old.may_mean_day("2026-03-01".parse().ok()));
        assert!(!old.may_mean_day("2026-03-02".parse().ok()) && !old.may_mean_day(None));
    }
}
