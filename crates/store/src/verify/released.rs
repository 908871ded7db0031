//! Rows that releases from quarantine have put into zones' tables. Their messages are in quarantine too, and
//! that is one place: the ledger of releases says so.

use std::collections::{BTreeMap, BTreeSet};

use situs_model::{Ledger, Release, ReleaseEntry};

/// What the ledger says, and what was found of it.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// By topic, partition and offset.
    targets: BTreeMap<(String, i32, i64), Vec<Target>>,
}

/// The rows of a released message in one zone.
#[derive(Debug)]
struct Target {
    zone: String,
    rows: u64,
    /// Whether the ledger says that they are there; else they may be.
    done: bool,
    policy: String,
    seen: BTreeSet<i32>,
}

/// A released message of which another number of rows was found than the ledger says.
#[derive(Debug)]
pub(super) struct Short {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) what: String,
}

impl Released {
    pub(super) fn new(ledger: &Ledger) -> Self {
        let mut released = Self::default();
        for release in ledger.releases() {
            release.entries.iter().for_each(|entry| released.add(entry, release));
        }
        released
    }

    fn add(&mut self, entry: &ReleaseEntry, release: &Release) {
        let record = &entry.record;
        let key = (record.topic.to_string(), record.partition, record.offset);
        let zone = entry.target.zone.to_string();
        self.targets.entry(key).or_default().push(Target {
            zone,
            rows: entry.rows,
            done: release.done_us.is_some(),
            policy: release.policy.clone(),
            seen: BTreeSet::new(),
        });
    }

    /// The policy by which a row was placed.
    pub(super) fn policy(&self, topic: &str, partition: i32, offset: i64, zone: &str) -> Option<&str> {
        let targets = self.targets.get(&(topic.to_owned(), partition, offset))?;
        targets.iter().find(|target| target.zone == zone).map(|target| target.policy.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes a row of a zone's table in: `None` if no release put it there, `Some(false)` if it is there twice.
    pub(super) fn take(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        zone: &str,
        row: i32,
    ) -> Option<bool> {
        let targets = self.targets.get_mut(&(topic.to_owned(), partition, offset))?;
        let target = targets.iter_mut().find(|target| target.zone == zone)?;
        Some(target.seen.insert(row))
    }

    /// What the ledger says and the tables do not hold.
    pub(super) fn short(&self) -> impl Iterator<Item = Short> {
        self.targets.iter().flat_map(|((topic, partition, offset), targets)| {
            targets.iter().filter_map(|target| {
                let found = target.seen.len() as u64;
                let whole = found == target.rows || !target.done && found == 0;
                (!whole).then(|| Short {
                    topic: topic.clone(),
                    partition: *partition,
                    offset: *offset,
                    what: format!(
                        "its release gave zone {} {} rows, the table holds {found}",
                        target.zone, target.rows
                    ),
                })
            })
        })
    }
}
