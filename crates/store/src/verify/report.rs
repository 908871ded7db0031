//! What was found, in a form that is printed or written as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Findings of a check that are kept one by one; more are counted only.
const KEPT: usize = 100;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// RES-8: each root has the marker of its zone, and receipts name that store.
    Markers,
    /// RES-2: roots lie apart, without symlinks; logs name files inside of their table only.
    Roots,
    /// RES-1: every row's `_zone` is its store's zone.
    Zones,
    /// EO-4: every row, and every quarantined message, is in one place and once.
    Once,
    /// EO-5: per partition, receipts cover every offset once, up to the settled offset.
    Ranges,
    /// EO-1, EO-2, EO-5: what receipts count adds up and is what the tables hold.
    Counts,
    /// The files are those that commits and receipts name, byte for byte.
    Files,
    /// Every receipt's hash is that of its content, and names the receipt before it.
    Chain,
    /// Every receipt and every entry of a ledger is signed by a known key.
    Signatures,
    /// The entries of each store's ledger are numbered without a gap; the hash of each is that of its content,
    /// and it names the entry before it.
    Ledgers,
    /// Rows of transfers are there exactly as the ledgers of both stores tell.
    Transfers,
    /// What deletions say went is gone; their coordinates are those that were noted, and name what receipts count.
    Deletions,
    /// Rows have the policy that their receipt says, or one that a re-tagging in the ledger gave them, and these
    /// count what lies there.
    Retags,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Markers,
        Self::Roots,
        Self::Zones,
        Self::Once,
        Self::Ranges,
        Self::Counts,
        Self::Files,
        Self::Chain,
        Self::Signatures,
        Self::Ledgers,
        Self::Transfers,
        Self::Deletions,
        Self::Retags,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Markers => "markers",
            Self::Roots => "roots",
            Self::Zones => "zones",
            Self::Once => "once",
            Self::Ranges => "ranges",
            Self::Counts => "counts",
            Self::Files => "files",
            Self::Chain => "chain",
            Self::Signatures => "signatures",
            Self::Ledgers => "ledgers",
            Self::Transfers => "transfers",
            Self::Deletions => "deletions",
            Self::Retags => "retags",
        }
    }

    /// The invariants that it measures; empty if they have no number.
    pub fn invariants(self) -> &'static str {
        match self {
            Self::Markers => "RES-8",
            Self::Roots => "RES-2",
            Self::Zones => "RES-1",
            Self::Once => "EO-4",
            Self::Ranges => "EO-5",
            Self::Counts => "EO-1 EO-2 EO-5",
            Self::Files
            | Self::Chain
            | Self::Signatures
            | Self::Ledgers
            | Self::Transfers
            | Self::Deletions
            | Self::Retags => "",
        }
    }
}

/// Something that was found, and where. Carries coordinates, never a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The zone of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The file, relative to the table or to the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The first offset that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The flush of the receipt that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// What was found.
    pub what: String,
}

impl Finding {
    /// Something of the whole.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Something of a zone's store.
    pub(super) fn in_zone(zone: &str, what: impl Into<String>) -> Self {
        Self { zone: Some(zone.to_owned()), ..Self::new(what) }
    }

    /// Something of a file.
    pub(super) fn in_file(zone: &str, table: &str, file: &str, what: impl Into<String>) -> Self {
        Self { table: Some(table.to_owned()), file: Some(file.to_owned()), ..Self::in_zone(zone, what) }
    }

    /// Names a place in a partition.
    pub(super) fn at(mut self, topic: &str, partition: i32, offset: i64) -> Self {
        (self.topic, self.partition, self.offset) = (Some(topic.to_owned()), Some(partition), Some(offset));
        self
    }

    /// Names the flush of a receipt.
    pub(super) fn receipt(mut self, flush: &str) -> Self {
        self.receipt = Some(flush.to_owned());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = [&self.zone, &self.table, &self.file].map(|part| part.as_deref().unwrap_or_default());
        let file: Vec<&str> = file.into_iter().filter(|part| !part.is_empty()).collect();
        let mut places = Vec::new();
        if !file.is_empty() {
            places.push(file.join("/"));
        }
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            let offset = self.offset.map_or_else(String::new, |offset| format!("/{offset}"));
            places.push(format!("{topic}/{partition}{offset}"));
        }
        if let Some(flush) = &self.receipt {
            places.push(format!("receipt of flush {flush}"));
        }
        if !places.is_empty() {
            write!(f, "{}: ", places.join(", "))?;
        }
        f.write_str(&self.what)
    }
}

/// A check and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: Kind,
    /// The numbered invariants that it measures.
    pub invariants: &'static str,
    /// What was looked at, in numbers.
    pub figures: BTreeMap<&'static str, u64>,
    /// How many violations were found.
    pub violations: u64,
    /// The first hundred of them.
    pub found: Vec<Finding>,
    /// What is no violation but should be known; a hundred at most.
    pub notes: Vec<Finding>,
}

/// The outcome of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks, in the order of [`Kind::ALL`].
    pub checks: Vec<Check>,
}

impl Default for Report {
    fn default() -> Self {
        let check = |kind: Kind| Check {
            check: kind,
            invariants: kind.invariants(),
            figures: BTreeMap::new(),
            violations: 0,
            found: Vec::new(),
            notes: Vec::new(),
        };
        Self { checks: Kind::ALL.map(check).into() }
    }
}

impl Report {
    /// Whether all checks held.
    pub fn holds(&self) -> bool {
        self.violations() == 0
    }

    /// Violations over all checks.
    pub fn violations(&self) -> u64 {
        self.checks.iter().map(|check| check.violations).sum()
    }

    fn check(&mut self, kind: Kind) -> Option<&mut Check> {
        self.checks.iter_mut().find(|check| check.check == kind)
    }

    pub(super) fn violation(&mut self, kind: Kind, finding: Finding) {
        if let Some(check) = self.check(kind) {
            check.violations += 1;
            if check.found.len() < KEPT {
                check.found.push(finding);
            }
        }
    }

    pub(super) fn note(&mut self, kind: Kind, finding: Finding) {
        if let Some(check) = self.check(kind)
            && check.notes.len() < KEPT
        {
            check.notes.push(finding);
        }
    }

    /// Adds to a figure.
    pub(super) fn count(&mut self, kind: Kind, figure: &'static str, number: u64) {
        if let Some(check) = self.check(kind) {
            *check.figures.entry(figure).or_default() += number;
        }
    }
}
