//! Releases from quarantine: their ledger, and what it says of a record (docs/quarantine.md).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::permit::StoreIdentity;
use crate::pipeline::is_topic_name;
use crate::words::{InvalidWord, PipelineName, TableName, words};

/// Where a record lies in Kafka, and in which words people name it: `TOPIC/PARTITION/OFFSET`.
///
/// ```
/// use situs_model::Coordinates;
/// let record: Coordinates = "cnc.state/3/1742".parse().unwrap();
/// assert_eq!((&*record.topic, record.partition, record.offset), ("cnc.state", 3, 1742));
/// assert_eq!(record.to_string(), "cnc.state/3/1742");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinates {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
}

impl FromStr for Coordinates {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let parse = || {
            let (rest, offset) = text.rsplit_once('/')?;
            let (topic, partition) = rest.rsplit_once('/')?;
            // By way of unsigned numbers, since offsets and partitions are never negative.
            let partition = i32::try_from(partition.parse::<u32>().ok()?).ok()?;
            let offset = i64::try_from(offset.parse::<u64>().ok()?).ok()?;
            is_topic_name(topic).then(|| Self { topic: topic.into(), partition, offset })
        };
        parse().ok_or_else(|| InvalidWord {
            expected: "the coordinates of a record, TOPIC/PARTITION/OFFSET, such as `cnc.state/0/1742`",
            found: text.chars().take(60).collect(),
        })
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

words! {
    /// What a row of the ledger says of a release.
    ReleaseStep {
        /// It was decided which records go where. Their rows may be there or not.
        Begun = "begun",
        /// All its rows are where they shall be.
        Done = "done",
    }
}

/// A record and one zone that it goes to. A record whose rows live in several zones has an entry for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEntry {
    /// The record.
    pub record: Coordinates,
    /// Why it was in quarantine, as that table says.
    pub reason: String,
    /// The store that takes its rows.
    pub target: StoreIdentity,
    /// How many rows that store takes.
    pub rows: u64,
}

/// Records of one pipeline that are released together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its id.
    pub id: String,
    /// The pipeline that the records went through, which names the table too.
    pub pipeline: PipelineName,
    /// Version of the policy that placed them.
    pub policy: String,
    /// Version of the schema that decoded them.
    pub schema: String,
    /// Who released them.
    pub by: String,
    /// When it began, µs since the epoch.
    pub begun_us: i64,
    /// The records.
    pub entries: Vec<ReleaseEntry>,
    /// When all was done, µs since the epoch.
    pub done_us: Option<i64>,
}

impl Release {
    /// The table that takes the rows, in each zone.
    pub fn table(&self) -> TableName {
        TableName::of(&self.pipeline)
    }

    /// The stores that take rows, each once.
    pub fn targets(&self) -> Vec<StoreIdentity> {
        let mut targets: Vec<StoreIdentity> = Vec::new();
        for entry in &self.entries {
            if !targets.contains(&entry.target) {
                targets.push(entry.target.clone());
            }
        }
        targets
    }
}

/// A row of the ledger's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The number of the commit that wrote it, from 0 and without a gap.
    pub number: i64,
    /// The release's id.
    pub release_id: String,
    /// What the row says.
    pub step: ReleaseStep,
    /// The record and its target.
    pub entry: ReleaseEntry,
    /// See [`Release::pipeline`].
    pub pipeline: PipelineName,
    /// See [`Release::policy`].
    pub policy: String,
    /// See [`Release::schema`].
    pub schema: String,
    /// See [`Release::by`].
    pub by: String,
    /// When, µs since the epoch.
    pub at_us: i64,
}

/// What the ledger says of a record in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseState<'a> {
    /// It was never released: a release may begin.
    Held,
    /// A release began and was not finished. Its rows may be in their zones or not, so the record must not
    /// be placed anew: that release must be finished.
    Begun(&'a Release),
    /// It was released.
    Released(&'a Release),
}

/// All releases of a home, at one version of the ledger's table.
///
/// # Memory
/// About 200 bytes per record that was ever released.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    next: i64,
    releases: BTreeMap<String, Release>,
    of_record: HashMap<Coordinates, String>,
}

impl Ledger {
    /// Takes a row in. The rows of a version may come in any order.
    pub fn add(&mut self, row: LedgerRow) {
        let LedgerRow { number, release_id, step, entry, pipeline, policy, schema, by, at_us } = row;
        self.next = self.next.max(number + 1);
        let release = self.releases.entry(release_id.clone()).or_insert_with(|| Release {
            id: release_id.clone(),
            pipeline,
            policy,
            schema,
            by,
            begun_us: at_us,
            entries: Vec::new(),
            done_us: None,
        });
        match step {
            ReleaseStep::Begun => {
                release.begun_us = at_us;
                self.of_record.insert(entry.record.clone(), release_id);
                release.entries.push(entry);
            }
            ReleaseStep::Done => release.done_us = Some(at_us),
        }
    }

    /// The number of the commit that comes next. Whoever commits under it decided on this version: if
    /// another was faster, the number is taken.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// What it says of a record.
    pub fn state(&self, record: &Coordinates) -> ReleaseState<'_> {
        match self.of_record.get(record).and_then(|id| self.releases.get(id)) {
            None => ReleaseState::Held,
            Some(release) if release.done_us.is_none() => ReleaseState::Begun(release),
            Some(release) => ReleaseState::Released(release),
        }
    }

    /// A release by its id.
    pub fn release(&self, id: &str) -> Option<&Release> {
        self.releases.get(id)
    }

    /// All releases.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.releases.values()
    }

    /// The releases that began and were not finished.
    pub fn unfinished(&self) -> impl Iterator<Item = &Release> {
        self.releases.values().filter(|release| release.done_us.is_none())
    }

    /// The records that were released, with their targets. Each of them is in quarantine and, with these
    /// rows, in the tables of its targets, and that is one place (EO-5).
    pub fn released(&self) -> impl Iterator<Item = &ReleaseEntry> {
        self.releases
            .values()
            .filter(|release| release.done_us.is_some())
            .flat_map(|release| &release.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64) -> Coordinates {
        Coordinates { topic: "t".into(), partition: 0, offset }
    }

    fn row(number: i64, id: &str, step: ReleaseStep, offset: i64, zone: &str) -> LedgerRow {
        LedgerRow {
            number,
            release_id: id.to_owned(),
            step,
            entry: ReleaseEntry {
                record: record(offset),
                reason: "no-rule".to_owned(),
                target: StoreIdentity { zone: zone.parse().unwrap(), store_id: "s".to_owned() },
                rows: 1,
            },
            pipeline: "p".parse().unwrap(),
            policy: "a".to_owned(),
            schema: "b".to_owned(),
            by: "somebody".to_owned(),
            at_us: number,
        }
    }

    /// In whatever order the rows of a version are read.
    #[test]
    fn the_ledger_does_not_depend_on_the_order_of_its_rows() {
        use ReleaseStep::{Begun, Done};
        let rows = [
            row(0, "r1", Begun, 5, "CN"),
            row(0, "r1", Begun, 5, "EU"),
            row(0, "r1", Begun, 6, "CN"),
            row(1, "r2", Begun, 7, "CN"),
            row(2, "r1", Done, 5, "CN"),
            row(2, "r1", Done, 5, "EU"),
            row(2, "r1", Done, 6, "CN"),
        ];
        for start in 0..rows.len() {
            for reverse in [false, true] {
                let mut order: Vec<_> = rows.iter().cycle().skip(start).take(rows.len()).cloned().collect();
                if reverse {
                    order.reverse();
                }
                let mut ledger = Ledger::default();
                order.into_iter().for_each(|row| ledger.add(row));
                assert_eq!(ledger.next(), 3);
                assert!(
                    matches!(ledger.state(&record(5)), ReleaseState::Released(r) if r.id == "r1" && r.begun_us == 0)
                );
                assert!(matches!(ledger.state(&record(7)), ReleaseState::Begun(r) if r.id == "r2"));
                assert_eq!(ledger.state(&record(8)), ReleaseState::Held);
                assert_eq!(ledger.unfinished().map(|release| &*release.id).collect::<Vec<_>>(), ["r2"]);
                let mut released: Vec<_> = ledger
                    .released()
                    .map(|entry| (entry.record.offset, entry.target.zone.to_string()))
                    .collect();
                released.sort();
                assert_eq!(released, [(5, "CN".to_owned()), (5, "EU".to_owned()), (6, "CN".to_owned())]);
                assert_eq!(ledger.release("r1").unwrap().targets().len(), 2);
            }
        }
    }

    #[test]
    fn coordinates_that_are_none() {
        for text in
            ["", "t", "t/0", "t/0/x", "t/-1/5", "t/0/-5", "a/b/0/5", "/0/5", "../0/5", "t/2147483648/5"]
        {
            assert!(text.parse::<Coordinates>().is_err(), "{text:?}");
        }
    }
}
