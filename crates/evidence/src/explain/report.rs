//! What is told of a record.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use situs_model::{ContentVersion, Coordinates, Release, ZoneId};
use situs_store::{Coverage, FoundReceipt, Retag, SignatureState};

/// Where a statement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Read from a store, or recomputed from what was read.
    Measured,
    /// Somebody wrote it into the policy, or a machine into its payload.
    Declared,
    /// Nothing was looked at.
    NotAssessed,
}

impl Mark {
    /// The words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Declared => "declared",
            Self::NotAssessed => "not assessed",
        }
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In tables of zones.
    Stored,
    /// In the home zone's quarantine.
    Quarantined,
    /// In quarantine, and by a release in tables of zones: that is one place.
    Released,
    /// The same, but the release was cut off.
    ReleaseUnfinished,
    /// Its receipt counts messages that give no row by design, and this is one of them.
    NoRows,
    /// There is no message at this offset: it holds a transaction's mark, or was compacted away.
    NoMessage,
    /// One of these two; the receipt counts both.
    NoRowsOrNoMessage,
    /// At or beyond the settled offset: its receipt is still to come.
    NotSettled,
    /// Before the settled offset, but no receipt covers it.
    NotCovered,
    /// A deletion took it.
    Deleted,
    /// Its receipt counts it, and it is nowhere.
    Missing,
}

impl State {
    /// The words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Quarantined => "in quarantine",
            Self::Released => "released from quarantine",
            Self::ReleaseUnfinished => "in quarantine, and a release of it is unfinished",
            Self::NoRows => "gives no row, by design",
            Self::NoMessage => "there is no message at this offset",
            Self::NoRowsOrNoMessage => "gives no row by design, or there is no message at this offset",
            Self::NotSettled => "not settled yet",
            Self::NotCovered => "no receipt covers it",
            Self::Deleted => "deleted",
            Self::Missing => "missing",
        }
    }
}

/// What came of judging it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The archived texts say the same again, and nothing else was found.
    Equal,
    /// There is nothing that could be judged again, and nothing was found.
    NothingToCompare,
    /// Something is otherwise than it should be; the findings say what.
    Flagged,
}

impl Verdict {
    /// The words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NothingToCompare => "nothing to compare",
            Self::Flagged => "flagged",
        }
    }
}

/// What the receipt says that covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiptPart {
    /// The flush.
    pub flush_id: String,
    /// The first offset covered.
    pub start_offset: i64,
    /// The offset after the last one covered.
    pub end_offset: i64,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// The pipeline.
    pub pipeline: String,
    /// Version of the policy.
    pub policy: String,
    /// Version of the schema.
    pub schema: String,
    /// Version of the pipeline's definition; `None` if it was not noted.
    pub definition: Option<String>,
    /// Its hash; `None` if it was written before receipts were chained.
    pub hash: Option<String>,
    /// Whether the hash is that of its content.
    pub hash_holds: bool,
    /// The key that signed it, if it is signed.
    pub key: Option<String>,
    /// Whether the signature is that key's; `None` if it is not signed or the key is not known.
    pub signature_holds: Option<bool>,
}

impl ReceiptPart {
    fn new(receipt: &FoundReceipt) -> Self {
        let (key, signature_holds) = match &receipt.signature {
            SignatureState::Unsigned => (None, None),
            SignatureState::Holds(key) => (Some(key.clone()), Some(true)),
            SignatureState::UnknownKey(key) => (Some(key.clone()), None),
            SignatureState::Broken(key) => (Some(key.clone()), Some(false)),
        };
        Self {
            flush_id: receipt.flush_id.clone(),
            start_offset: receipt.start,
            end_offset: receipt.end,
            created_at: time_text(receipt.created_us),
            pipeline: receipt.pipeline.to_string(),
            policy: receipt.versions.policy.to_string(),
            schema: receipt.versions.schema.to_string(),
            definition: receipt.versions.definition.as_ref().map(ToString::to_string),
            hash: receipt.hash.clone(),
            hash_holds: receipt.hash_holds,
            key,
            signature_holds,
        }
    }
}

/// Who released it from quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleasePart {
    /// The release.
    pub id: String,
    /// Who.
    pub by: String,
    /// Version of the policy that placed it.
    pub policy: String,
    /// Version of the schema that decoded it.
    pub schema: String,
    /// When it began, RFC 3339.
    pub begun_at: String,
    /// When it was done; `None` if it was cut off.
    pub done_at: Option<String>,
    /// Rows by zone, as the ledger says.
    pub zones: BTreeMap<String, u64>,
}

impl ReleasePart {
    pub(super) fn new(release: &Release, record: &Coordinates) -> Self {
        let entries = release.entries.iter().filter(|entry| entry.record == *record);
        Self {
            id: release.id.clone(),
            by: release.by.clone(),
            policy: release.policy.clone(),
            schema: release.schema.clone(),
            begun_at: time_text(release.begun_us),
            done_at: release.done_us.map(time_text),
            zones: entries.map(|entry| (entry.target.zone.to_string(), entry.rows)).collect(),
        }
    }
}

/// A deletion that took rows of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletionPart {
    /// The deletion.
    pub id: String,
    /// The zone of the store.
    pub zone: String,
    /// The table.
    pub table: String,
    /// The numbers of the rows within the message; of quarantine the message as a whole.
    pub rows: Vec<i32>,
    /// Who is said to have asked for it.
    pub by: String,
    /// Why, as it was said.
    pub reason: String,
    /// When the ledger was told, RFC 3339.
    pub at: String,
    /// When it was told that the bytes are gone; `None` if files may hold them still.
    pub bytes_gone_at: Option<String>,
}

/// The re-tagging that gave rows their tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetagPart {
    /// The re-tagging: the subject of the entry in the ledger of the store.
    pub id: String,
    /// Who is said to have asked for it.
    pub by: String,
    /// Why, as it was said.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// The version of the table that has the tags.
    pub version: u64,
    /// Version of the policy that gave them.
    pub policy: String,
    /// Version of the policy that the receipt or the release names.
    pub before: String,
}

impl RetagPart {
    pub(super) fn new(retag: &Retag, before: &ContentVersion) -> Self {
        Self {
            id: retag.id.clone(),
            by: retag.by.clone(),
            reason: retag.body.reason.clone(),
            at: time_text(retag.at_us),
            version: retag.body.version,
            policy: retag.policy.to_string(),
            before: before.to_string(),
        }
    }
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulePart {
    /// Its name.
    pub id: String,
    /// What it rests on.
    pub basis: String,
    /// The law or contract, as the policy says.
    pub reference: Option<String>,
    /// Its condition; `None` is always.
    pub when: Option<String>,
}

/// A model that a record feeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelPart {
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Where it is deployed.
    pub markets: Vec<String>,
}

/// Rows of the record that lie in one file and have the same tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowGroup {
    /// Their numbers within the message.
    pub rows: Vec<i32>,
    /// The zone of the store where they lie.
    pub zone: String,
    /// The table.
    pub table: String,
    /// The file, relative to the table's folder.
    pub file: String,
    /// Their numbers in the file, from 0.
    pub positions: Vec<u64>,
    /// Whether the receipt names the file and its SHA-256 is the one that it says.
    pub hash_holds: Option<bool>,
    /// The tag columns by name, as stored. Lists are joined by `,`.
    pub tags: BTreeMap<String, Option<String>>,
    /// The device, if the registry of the policy names it; other ids are payload.
    pub device: Option<String>,
    /// The rule, as the archived policy has it.
    pub rule: Option<RulePart>,
    /// The models, as the archived policy has them.
    pub models: Vec<ModelPart>,
    /// The re-tagging that gave them their tags; `None` if they have those of their receipt or release.
    pub retagged: Option<RetagPart>,
    /// The tags that come out of judging them again; `None` if they could not be judged.
    pub recomputed: Option<BTreeMap<String, Option<String>>>,
}

/// The record as it lies in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuarantinedMessage {
    /// The file, relative to the table's folder.
    pub file: String,
    /// Its number in the file, from 0.
    pub position: u64,
    /// When, RFC 3339.
    pub quarantined_at: String,
    /// Why.
    pub reason: String,
    /// Rows that it was decoded into.
    pub rows: i32,
    /// Version of the policy.
    pub policy: String,
    /// The reason that comes out of judging it again, `placed` if it can be placed; `None` if it could not be
    /// judged.
    pub recomputed: Option<String>,
}

/// Everything that is told of a record. It holds no payload.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The record, `TOPIC/PARTITION/OFFSET`.
    #[serde(serialize_with = "as_text")]
    pub record: Coordinates,
    /// Where it is.
    pub state: State,
    /// The settled offset of its partition.
    pub settled: Option<i64>,
    /// The receipt that covers it.
    pub receipt: Option<ReceiptPart>,
    /// Its rows.
    pub rows: Vec<RowGroup>,
    /// Where it lies in quarantine.
    pub quarantine: Vec<QuarantinedMessage>,
    /// The release that took it out.
    pub release: Option<ReleasePart>,
    /// The deletions that took rows of it.
    pub deletions: Vec<DeletionPart>,
    /// What is otherwise than it should be.
    pub findings: Vec<String>,
    /// What was not looked at, or could not be.
    pub not_assessed: Vec<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// Files that the receipt names, and whether their SHA-256 is the one that it says.
    #[serde(skip)]
    pub(super) hashed: BTreeMap<(ZoneId, String), bool>,
}

fn as_text<S: Serializer>(record: &Coordinates, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(record)
}

impl Explanation {
    pub(super) fn new(record: &Coordinates, coverage: &Coverage) -> Self {
        Self {
            record: record.clone(),
            state: State::NotSettled,
            settled: coverage.settled,
            receipt: coverage.receipts.first().map(ReceiptPart::new),
            rows: Vec::new(),
            quarantine: Vec::new(),
            release: None,
            deletions: Vec::new(),
            findings: Vec::new(),
            not_assessed: Vec::new(),
            verdict: Verdict::NothingToCompare,
            hashed: BTreeMap::new(),
        }
    }

    pub(super) fn flag(&mut self, finding: impl Into<String>) {
        let finding = finding.into();
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Draws the conclusion from what was compared and found.
    pub(super) fn conclude(&mut self) {
        let compared = self.rows.iter().any(|rows| rows.recomputed.is_some())
            || self.quarantine.iter().any(|message| message.recomputed.is_some());
        self.verdict = match (self.findings.is_empty(), compared) {
            (false, _) => Verdict::Flagged,
            (true, true) => Verdict::Equal,
            (true, false) => Verdict::NothingToCompare,
        };
    }
}

/// A time, given in µs since the epoch, in RFC 3339 with milliseconds; the number itself if there is no such time.
pub fn time_text(micros: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
