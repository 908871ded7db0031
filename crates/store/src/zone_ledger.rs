//! The rows of a store's ledger: what was done with its rows beside taking them in. The ledger of releases from
//! quarantine is another table (`releases`).

use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use situs_model::store::{FlushFacts, StoreError};
use situs_model::{
    LedgerEntry, LedgerFact, LedgerKind, NextOffset, OffsetRange, Source, TableName, ZoneLedger,
};

use crate::chain::{self, Canonical, Chained};
use crate::columns::{Columns, is_plain_time, no_facts};
use crate::durable::FileError;
use crate::error::Fault;
use crate::history::History;
use crate::key::{PublicKey, ReceiptKey, SignatureState};
use crate::reader::{StoreReader, is_inside};
use crate::scan::{self, Rows};
use crate::work::{Claim, Layout, Rows as WorkRows, Settled, Work};
use crate::{disk, names, tables};

/// Where the ledger keeps its number and the day.
pub(crate) const LAYOUT: Layout = Layout { offset: "number", day: chain::DAY };
/// Keeps the number of the ledger's next entry. No partition's id: those have two more parts.
pub(crate) const APP_ID: &str = "situs/ledger";

/// The append of entries to a ledger as it was read. It can be carried out only if nothing was entered since:
/// the number of the next entry is compared and set like a partition's offset, so the entry that the first
/// of these continues is the newest.
pub(crate) fn work(
    ledger: &ZoneLedger,
    facts: &[LedgerFact],
    key: Option<&ReceiptKey>,
) -> Result<Work, Fault> {
    let first = facts.first().ok_or_else(|| Fault::stop("nothing is to be entered in the ledger"))?;
    let source = source()?;
    let mut rows = Vec::with_capacity(facts.len());
    let mut previous: Option<chain::Hash> = ledger.head().map(Into::into);
    for (number, fact) in (ledger.next()..).zip(facts) {
        let row = row(number, fact)?;
        let (row, hash) = chain::link(Chained::Ledger, &row, previous.as_deref(), key)?;
        rows.push((source.clone(), row));
        previous = Some(hash);
    }
    let end = ledger.next().saturating_add(i64::try_from(facts.len()).unwrap_or(i64::MAX));
    let claim = Claim {
        app_id: APP_ID.to_owned(),
        source,
        range: OffsetRange::new(NextOffset(ledger.next()), NextOffset(end)),
        settled: Settled::Here,
        epoch: None,
        topic_id: None,
    };
    // What tells a commit whose answer was lost from another's: the hash is of all that is entered, and of
    // all before it.
    let flush_id = format!("ledger-{}", previous.as_deref().unwrap_or_default());
    let facts = FlushFacts { flush_id, policy: first.policy.clone(), ..no_facts()? };
    Ok(Work { layout: LAYOUT, claims: vec![claim], rows: WorkRows::Batches(rows), facts })
}

/// Stands where a partition would.
fn source() -> Result<Source, Fault> {
    let cluster = "ledger".parse().map_err(|_| Fault::stop("the ledger has no name"))?;
    Ok(Source { cluster, topic: "ledger".into(), partition: 0 })
}

fn row(number: i64, fact: &LedgerFact) -> Result<RecordBatch, Fault> {
    if !is_plain_time(fact.at_us) {
        return Err(Fault::stop(format!("{} {}: its time is absurd", fact.kind, fact.subject)));
    }
    let text = |value: &str| Arc::new(StringArray::from(vec![value]));
    let mut columns = Columns::default();
    columns
        .add("number", false, Arc::new(Int64Array::from(vec![number])))
        .words("kind", std::iter::once(fact.kind.as_str()))?
        .add("subject", false, text(&fact.subject))
        .words("policy", std::iter::once(fact.policy.as_str()))?
        .add("said_by", false, text(&fact.said_by))
        .times("at", false, std::iter::once(Some(fact.at_us)))
        .add("body", false, text(&fact.body))
        .days(chain::DAY, std::iter::once(fact.at_us));
    columns.build()
}

impl StoreReader {
    /// The store's ledger, as it is now; without entries if nothing was ever entered.
    ///
    /// # Errors
    /// If it is there but cannot be read, an entry is missing in it or not what was hashed, or its signature is not
    /// that of a key in the archive: nothing may be decided on it then.
    pub async fn zone_ledger(&self) -> Result<ZoneLedger, StoreError> {
        self.zone_ledger_by(&[]).await
    }

    /// The same, where these keys are known beside those in the archive, and before them: whoever may write
    /// the archive cannot put another key in the place of one of these.
    ///
    /// # Errors
    /// As [`zone_ledger`](Self::zone_ledger).
    pub async fn zone_ledger_by(&self, trusted: &[PublicKey]) -> Result<ZoneLedger, StoreError> {
        self.read_zone_ledger(trusted).await.map_err(|fault| fault.at(self.identity()))
    }

    async fn read_zone_ledger(&self, trusted: &[PublicKey]) -> Result<ZoneLedger, Fault> {
        let table = TableName::ledger();
        let folder = names::table(self.root(), &table);
        let (mut read, mut counted) = (Vec::new(), 0);
        if tables::exists(&folder)? {
            let mut keys = trusted.to_vec();
            keys.extend(self.archived_keys()?);
            (read, counted) = tokio::task::spawn_blocking(move || {
                // Of one look at the log, so that its count is that of the files.
                let history = History::read(&folder)?;
                let counted = history.offsets.get(APP_ID).copied().unwrap_or(0);
                let mut entries = Vec::new();
                for file in history.files.keys() {
                    if !is_inside(file) {
                        return Err(Fault::stop("the ledger names a file outside of its table"));
                    }
                    let path = folder.join(file);
                    let opened = disk::open(&path).map_err(FileError::new("open", &path))?;
                    for batch in scan::columns(opened, &[]).map_err(|_| scan::unreadable(&path))? {
                        let batch = batch.map_err(|_| scan::unreadable(&path))?;
                        take_in(&mut entries, &path, &batch, &keys)?;
                    }
                }
                Ok::<_, Fault>((entries, counted))
            })
            .await??;
        }
        read.sort_by_key(|(entry, _): &(LedgerEntry, Option<String>)| entry.number);
        let mut before: Option<&str> = None;
        for (entry, previous) in &read {
            if previous.as_deref() != before {
                return Err(broken(entry.number, "does not continue the entry before it"));
            }
            before = Some(&entry.hash);
        }
        let entries: Vec<LedgerEntry> = read.into_iter().map(|(entry, _)| entry).collect();
        if i64::try_from(entries.len()) != Ok(counted) {
            let what =
                format!("the log counts {counted} entries of the ledger, and there are {}", entries.len());
            return Err(Fault::stop(format!("{what}; `situs store verify` tells more")));
        }
        ZoneLedger::new(self.identity().clone(), entries)
            .map_err(|gap| Fault::stop(format!("{gap}; `situs store verify` tells more")))
    }
}

fn broken(number: i64, what: &str) -> Fault {
    Fault::stop(format!("entry {number} of the ledger {what}; `situs store verify` tells more"))
}

/// Takes entries in, each with the hash of the one before it. What is not what was hashed, or is signed by a
/// key that nobody knows, is not taken: deeds are decided by it.
fn take_in(
    entries: &mut Vec<(LedgerEntry, Option<String>)>,
    path: &Path,
    batch: &RecordBatch,
    keys: &[PublicKey],
) -> Result<(), Fault> {
    let canonical = Canonical::new(Chained::Ledger, batch)?;
    let rows = Rows::new(path, batch);
    let (numbers, kinds, subjects) = (rows.longs("number")?, rows.texts("kind")?, rows.texts("subject")?);
    let (policies, names, times) = (rows.texts("policy")?, rows.texts("said_by")?, rows.times("at")?);
    let (bodies, hashes, links) =
        (rows.texts("body")?, rows.texts(chain::HASH)?, rows.texts(chain::PREVIOUS)?);
    let (key_ids, signatures) = (rows.texts(chain::KEY_ID)?, rows.texts(chain::SIGNATURE)?);
    for row in 0..batch.num_rows() {
        let bad = |column: &str| {
            Fault::stop(format!("the ledger has an entry whose `{column}` cannot be understood"))
        };
        let text = |column: &StringArray, name: &str| {
            scan::text(column, row).map(str::to_owned).ok_or_else(|| bad(name))
        };
        let number = numbers[row].ok_or_else(|| bad("number"))?;
        let hash = text(&hashes, chain::HASH)?;
        if canonical.hash(row) != hash {
            return Err(broken(number, "is not what was hashed"));
        }
        let (key_id, signature) = (scan::text(&key_ids, row), scan::text(&signatures, row));
        let digest = chain::unhex::<32>(&hash);
        let known = |id: &str| keys.iter().find(|key| key.id() == id);
        let signed_by = match SignatureState::of(digest.as_ref(), key_id, signature, known) {
            SignatureState::Unsigned => None,
            SignatureState::Holds(id) => Some(id),
            SignatureState::UnknownKey(id) => {
                return Err(broken(number, &format!("is signed with key {id}, which is not in the archive")));
            }
            SignatureState::Broken(id) => {
                return Err(broken(number, &format!("has a signature that is not that of key {id}")));
            }
        };
        let word = text(&kinds, "kind")?;
        let kind = LedgerKind::WORDS.iter().find(|(known, _)| *known == word);
        let entry = LedgerEntry {
            number,
            fact: LedgerFact {
                kind: kind.map(|(_, kind)| *kind).ok_or_else(|| bad("kind"))?,
                subject: text(&subjects, "subject")?,
                policy: text(&policies, "policy")?.parse().map_err(|_| bad("policy"))?,
                said_by: text(&names, "said_by")?,
                at_us: times[row].ok_or_else(|| bad("at"))?,
                body: text(&bodies, "body")?,
            },
            hash,
            signed_by,
        };
        entries.push((entry, scan::text(&links, row).map(str::to_owned)));
    }
    Ok(())
}
