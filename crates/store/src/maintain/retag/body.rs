//! What is told of a re-tagging, before and after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::delete::{GoneFile, WrittenFile};

/// Rows by the values of their tags. A row counts for each of its models and markets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagCounts(pub BTreeMap<String, BTreeMap<String, u64>>);

impl TagCounts {
    /// Adds rows of a value of a tag.
    pub(super) fn add(&mut self, tag: &str, value: &str, rows: u64) {
        if rows == 0 {
            return;
        }
        let values = match self.0.get_mut(tag) {
            Some(values) => values,
            None => self.0.entry(tag.to_owned()).or_default(),
        };
        match values.get_mut(value) {
            Some(count) => *count += rows,
            None => {
                values.insert(value.to_owned(), rows);
            }
        }
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: &Self) {
        for (tag, values) in &other.0 {
            for (value, rows) in values {
                self.add(tag, value, *rows);
            }
        }
    }

    /// Rows whose tag has this value.
    pub fn of(&self, tag: &str, value: &str) -> u64 {
        self.0.get(tag).and_then(|values| values.get(value)).copied().unwrap_or(0)
    }

    /// The values of a tag.
    pub fn values(&self, tag: &str) -> impl Iterator<Item = (&str, u64)> {
        self.0.get(tag).into_iter().flatten().map(|(value, rows)| (value.as_str(), *rows))
    }

    /// The rows, by a tag that each of them has once.
    pub(crate) fn rows(&self, tag: &str) -> u64 {
        self.values(tag).fold(0, |sum, (_, rows)| sum.saturating_add(rows))
    }
}

/// Rows that keep their tags, by why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stays {
    /// The policy gives them the tags that they have.
    pub same: u64,
    /// They were tagged by this policy already.
    pub already: u64,
    /// The policy would place them in another zone.
    pub moves: BTreeMap<String, u64>,
    /// The policy cannot say where they must live, by reason.
    pub quarantine: BTreeMap<String, u64>,
    /// They would change, but another row of their message would go to quarantine and take them along.
    pub with_message: u64,
    /// A hold by site or class is on them, which would not be on them any more.
    pub held: u64,
    /// They are not settled yet.
    pub unsettled: u64,
    /// They cannot be judged by what the table holds of them.
    pub not_judged: u64,
}

impl Stays {
    pub(super) fn merge(&mut self, other: &Self) {
        self.same += other.same;
        self.already += other.already;
        for (zone, rows) in &other.moves {
            *self.moves.entry(zone.clone()).or_default() += rows;
        }
        for (reason, rows) in &other.quarantine {
            *self.quarantine.entry(reason.clone()).or_default() += rows;
        }
        self.with_message += other.with_message;
        self.held += other.held;
        self.unsettled += other.unsettled;
        self.not_judged += other.not_judged;
    }
}

/// What re-tagging a table comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retagging {
    /// The pipeline.
    pub pipeline: String,
    /// Its table.
    pub table: String,
    /// The rows of the table that were judged again.
    pub looked: u64,
    /// Rows whose tags change.
    pub retagged: u64,
    /// All rows of the files that are written again.
    pub rows: u64,
    /// These rows by their tags, before.
    pub before: TagCounts,
    /// The same rows by their tags, afterwards.
    pub after: TagCounts,
    /// Rows of the table that keep their tags.
    pub stays: Stays,
}

/// What the ledger says of a re-tagging: the body of its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetagBody {
    /// Why, as it was said.
    pub reason: String,
    /// Version of the schema that it was judged with.
    pub schema: String,
    /// Version of the pipeline's definition that it was judged with.
    pub definition: String,
    /// The version of the table that has the new tags.
    pub version: u64,
    /// The rows.
    #[serde(flatten)]
    pub found: Retagging,
    /// The files that held the rows.
    pub removed: Vec<GoneFile>,
    /// The files that hold them now.
    pub written: Vec<WrittenFile>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_tag_and_value() {
        let mut counts = TagCounts::default();
        counts.add("_class", "general", 2);
        counts.add("_class", "core", 1);
        counts.add("_models", "wear", 0);
        let mut sum = counts.clone();
        sum.merge(&counts);
        assert_eq!((sum.of("_class", "general"), sum.of("_class", "important")), (4, 0));
        assert_eq!((sum.rows("_class"), sum.rows("_models")), (6, 0));
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text, r#"{"_class":{"core":1,"general":2}}"#);
    }
}
