//! Deletions and holds in the ledger of a store (docs/retention.md).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use situs_model::store::StoreError;
use situs_model::{ClusterName, ContentVersion, Coordinates, LedgerFact, LedgerKind, TableName, ZoneLedger};

use super::DeltaStore;
use crate::columns::now_us;
use crate::error::Fault;
use crate::history::History;
use crate::maintain::delete::{Abandoned, BytesGoneBody, Criterion, DeletionBody, Erased, Hold, Plan, plan};
use crate::maintain::{Maintenance, Vacuum};
use crate::reader::StoreReader;
use crate::{disk, names};

/// How often it is tried to enter that a hold is lifted.
const LIFTS: u32 = 10;

/// A deletion that a ledger tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Its id.
    pub id: String,
    /// Who is said to have asked for it: declared, and not authenticated.
    pub by: String,
    /// When the ledger was told, µs since the epoch.
    pub at_us: i64,
    /// Version of the policy at the time.
    pub policy: ContentVersion,
    /// What it did.
    pub body: DeletionBody,
    /// When it was told that the bytes are gone, µs since the epoch; `None` if they may be there.
    pub bytes_gone_us: Option<i64>,
}

/// Rows of one record that a deletion took from a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDeleted {
    /// The deletion.
    pub id: String,
    /// Who is said to have asked for it.
    pub by: String,
    /// When, µs since the epoch.
    pub at_us: i64,
    /// Why, as it was said.
    pub reason: String,
    /// The table.
    pub table: String,
    /// The numbers of the rows within the message; 0 for a message of quarantine.
    pub rows: Vec<i32>,
    /// When it was told that the bytes are gone, µs since the epoch.
    pub bytes_gone_us: Option<i64>,
}

/// The JSON text of an entry's facts.
fn json_text(body: &impl Serialize) -> Result<String, Fault> {
    // By way of a `Value`, so that what has no JSON form is an error here.
    let value = serde_json::to_value(body).map_err(|_| Fault::stop("an entry has no JSON form"))?;
    Ok(value.to_string())
}

fn bad_body(kind: LedgerKind, subject: &str) -> Fault {
    Fault::stop(format!("the ledger's entry `{kind}` of {subject} cannot be understood"))
}

/// The deletions that a ledger tells of, in its order.
fn deletions_of(ledger: &ZoneLedger) -> Result<Vec<Deletion>, Fault> {
    let told = ledger.entries().iter().filter(|entry| entry.fact.kind == LedgerKind::Deleted);
    told.map(|entry| {
        let fact = &entry.fact;
        let body = serde_json::from_str(&fact.body).map_err(|_| bad_body(fact.kind, &fact.subject))?;
        let gone = ledger.find(LedgerKind::BytesGone, &fact.subject);
        Ok(Deletion {
            id: fact.subject.clone(),
            by: fact.said_by.clone(),
            at_us: fact.at_us,
            policy: fact.policy.clone(),
            body,
            bytes_gone_us: gone.map(|entry| entry.fact.at_us),
        })
    })
    .collect()
}

/// The holds that a ledger tells of and that were not lifted, in its order. Where entries are `signed`, a hold is
/// not lifted by one that is not: whoever may write the store could have written it. One that was set counts
/// signed or not, since then rows stay.
fn holds_of(ledger: &ZoneLedger, signed: bool) -> Result<Vec<Hold>, Fault> {
    let lifted = |id: &str| {
        let mut told = ledger.of_subject(id).filter(|entry| entry.fact.kind == LedgerKind::HoldLifted);
        told.any(|entry| !signed || entry.signed_by.is_some())
    };
    let mut known = BTreeSet::new();
    let set = ledger.entries().iter().filter(|entry| entry.fact.kind == LedgerKind::HoldSet);
    let stands = set.filter(|entry| known.insert(&entry.fact.subject) && !lifted(&entry.fact.subject));
    stands
        .map(|entry| {
            let fact = &entry.fact;
            let body: HoldBody =
                serde_json::from_str(&fact.body).map_err(|_| bad_body(fact.kind, &fact.subject))?;
            Ok(Hold {
                id: fact.subject.clone(),
                criterion: body.criterion,
                by: fact.said_by.clone(),
                reason: body.reason,
                at_us: fact.at_us,
            })
        })
        .collect()
}

/// What the ledger says of a hold that is set.
#[derive(Debug, Serialize, serde::Deserialize)]
struct HoldBody {
    criterion: Criterion,
    reason: String,
}

/// What the ledger says of a hold that is lifted.
#[derive(Debug, Serialize)]
struct LiftBody<'a> {
    reason: &'a str,
}

impl StoreReader {
    /// Whether a deletion of this store was begun of which its ledger need not tell yet.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn deletion_is_under_way(&self) -> Result<bool, StoreError> {
        let root = self.root().to_owned();
        let look = disk::blocking(move || plan::unfinished(&root)).await.flatten();
        look.map(|plans| !plans.is_empty()).map_err(|fault| fault.at(self.identity()))
    }

    /// The deletions that the store's ledger tells of.
    ///
    /// # Errors
    /// If the ledger cannot be read or understood.
    pub async fn deletions(&self) -> Result<Vec<Deletion>, StoreError> {
        let ledger = self.zone_ledger().await?;
        deletions_of(&ledger).map_err(|fault| fault.at(self.identity()))
    }

    /// The holds on the store; where its entries are `signed`, one that is not lifts none.
    ///
    /// # Errors
    /// If the ledger cannot be read or understood.
    pub async fn holds(&self, signed: bool) -> Result<Vec<Hold>, StoreError> {
        let ledger = self.zone_ledger().await?;
        holds_of(&ledger, signed).map_err(|fault| fault.at(self.identity()))
    }

    /// Those of these records of which a deletion took rows from a table of a pipeline. Reads the coordinates of
    /// every deletion.
    ///
    /// # Errors
    /// As [`find_deleted`](Self::find_deleted).
    pub async fn deleted_among(
        &self,
        records: &BTreeSet<Coordinates>,
    ) -> Result<BTreeSet<Coordinates>, StoreError> {
        let mut found = BTreeSet::new();
        for deletion in self.deletions().await? {
            let read = deletion.body.coordinates.read(self.root(), |doomed| {
                let key = &doomed.key;
                let record =
                    Coordinates { topic: key.topic.into(), partition: key.partition, offset: key.offset };
                if doomed.quarantined.is_none() && records.contains(&record) {
                    found.insert(record);
                }
                Ok(())
            });
            read.map_err(|fault| fault.at(self.identity()))?;
        }
        Ok(found)
    }

    /// The settled offset of each partition of a cluster, as this home store says.
    ///
    /// # Errors
    /// If the log of the receipts cannot be read.
    pub fn settled(&self, cluster: &ClusterName) -> Result<BTreeMap<(String, i32), i64>, StoreError> {
        let folder = names::table(self.root(), &TableName::receipts());
        let history = History::read(&folder).map_err(|fault| fault.at(self.identity()))?;
        let prefix = format!("situs/{cluster}/");
        let of_cluster = history.offsets.into_iter().filter_map(|(id, offset)| {
            let (topic, partition) = id.strip_prefix(&prefix)?.split_once('/')?;
            Some(((topic.to_owned(), partition.parse().ok()?), offset))
        });
        Ok(of_cluster.collect())
    }

    /// What deletions took of a record. Reads the coordinates of every deletion.
    ///
    /// # Errors
    /// If the ledger or coordinates cannot be read, or coordinates are not what the ledger says.
    pub async fn find_deleted(&self, record: &Coordinates) -> Result<Vec<FoundDeleted>, StoreError> {
        let mut found: Vec<FoundDeleted> = Vec::new();
        for deletion in self.deletions().await? {
            let before = found.len();
            let read = deletion.body.coordinates.read(self.root(), |doomed| {
                let key = &doomed.key;
                let is_it = key.offset == record.offset
                    && key.partition == record.partition
                    && *key.topic == *record.topic;
                if !is_it {
                    return Ok(());
                }
                match found[before..].iter_mut().find(|found| found.table == doomed.table) {
                    Some(found) => found.rows.push(key.row),
                    None => found.push(FoundDeleted {
                        id: deletion.id.clone(),
                        by: deletion.by.clone(),
                        at_us: deletion.at_us,
                        reason: deletion.body.reason.clone(),
                        table: doomed.table.to_owned(),
                        rows: vec![key.row],
                        bytes_gone_us: deletion.bytes_gone_us,
                    }),
                }
                Ok(())
            });
            read.map_err(|fault| fault.at(self.identity()))?;
        }
        Ok(found)
    }
}

impl DeltaStore {
    /// The holds on this store.
    ///
    /// # Errors
    /// If the ledger cannot be read or understood.
    pub async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        let ledger = self.zone_ledger().await?;
        holds_of(&ledger, self.receipt_key.is_some()).map_err(|fault| fault.at(&self.identity))
    }

    /// Puts rows under a hold. An id is used once, also after the hold was lifted.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). Stops if there was a hold of this id, or a deletion is not
    /// finished, which was decided without it.
    pub async fn set_hold(&self, hold: &Hold, policy: &ContentVersion) -> Result<(), StoreError> {
        let at = |fault: Fault| fault.at(&self.identity);
        let ledger = self.zone_ledger().await?;
        if ledger.find(LedgerKind::HoldSet, &hold.id).is_some() {
            return Err(at(Fault::stop(format!("there was a hold `{}` before: choose another id", hold.id))));
        }
        if let Some(id) = plan::ids(&self.root).map_err(at)?.first() {
            let what = format!("deletion {id} was decided before and is not finished: finish it first");
            return Err(at(Fault::stop(what)));
        }
        let body = HoldBody { criterion: hold.criterion.clone(), reason: hold.reason.clone() };
        let fact = LedgerFact {
            kind: LedgerKind::HoldSet,
            subject: hold.id.clone(),
            policy: policy.clone(),
            said_by: hold.by.clone(),
            at_us: hold.at_us,
            body: json_text(&body).map_err(at)?,
        };
        let ledger = self.enter_once(std::slice::from_ref(&fact)).await?;
        if ledger.find(fact.kind, &fact.subject).is_none_or(|entry| entry.fact.body != fact.body) {
            let what = format!("another hold `{}` was set at the same time: choose another id", hold.id);
            return Err(at(Fault::stop(what)));
        }
        // Whoever decides a deletion writes its plan and then reads the ledger. So either it finds this hold, or
        // its plan is found here.
        if let Some(id) = plan::ids(&self.root).map_err(at)?.first() {
            let what = format!(
                "hold `{}` is set, but deletion {id} was decided at the same time and may take rows that it is on",
                hold.id
            );
            return Err(at(Fault::stop(what)));
        }
        Ok(())
    }

    /// The deletions of this store of which there is a plan.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn deletions_under_way(&self) -> Result<Vec<String>, StoreError> {
        plan::ids(&self.root).map_err(|fault| fault.at(&self.identity))
    }

    /// Reads the ledger after a plan was written: if a hold was set that it was decided without, and nothing was
    /// done yet, the plan is dropped. Whether it may be carried out.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). It may be tried again.
    pub async fn confirm_deletion(&self, maintenance: &Maintenance, plan: &Plan) -> Result<bool, StoreError> {
        let new = self.holds().await?.into_iter().any(|hold| !plan.holds.contains(&hold.id));
        Ok(!new || maintenance.abandon_deletion(&plan.id).await? == Abandoned::Begun)
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). Stops if there is no such hold.
    pub async fn lift_hold(
        &self,
        id: &str,
        by: &str,
        reason: &str,
        policy: &ContentVersion,
    ) -> Result<(), StoreError> {
        let at = |fault: Fault| fault.at(&self.identity);
        if !self.holds().await?.iter().any(|hold| hold.id == id) {
            return Err(at(Fault::stop(format!("there is no hold `{id}`"))));
        }
        let fact = LedgerFact {
            kind: LedgerKind::HoldLifted,
            subject: id.to_owned(),
            policy: policy.clone(),
            said_by: by.to_owned(),
            at_us: now_us(),
            body: json_text(&LiftBody { reason }).map_err(at)?,
        };
        // An entry that is not signed may be there already and lift nothing.
        for _ in 0..LIFTS {
            let ledger = self.zone_ledger().await?;
            let holds = holds_of(&ledger, self.receipt_key.is_some()).map_err(at)?;
            if !holds.iter().any(|hold| hold.id == id) {
                return Ok(());
            }
            self.append_to_ledger(&ledger, std::slice::from_ref(&fact)).await?;
        }
        Err(at(Fault::retry("others write to the ledger all the time")))
    }

    /// Carries a deletion out from wherever it stands: its rows go, the ledger tells of it, the plan goes.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). It may be tried again. If a hold was set meanwhile and nothing
    /// was done yet, the plan is dropped.
    pub async fn finish_deletion(
        &self,
        maintenance: &Maintenance,
        plan: &Plan,
    ) -> Result<DeletionBody, StoreError> {
        let at = |fault: Fault| fault.at(&self.identity);
        if !self.confirm_deletion(maintenance, plan).await? {
            let what = format!("deletion {} is dropped: a hold was set when it was decided", plan.id);
            return Err(at(Fault::retry(what)));
        }
        let body = maintenance.carry_out_deletion(plan).await?;
        let policy = plan.policy.parse();
        let fact = LedgerFact {
            kind: LedgerKind::Deleted,
            subject: plan.id.clone(),
            policy: policy.map_err(|_| at(Fault::stop("the plan names no policy")))?,
            said_by: plan.by.clone(),
            at_us: now_us(),
            body: json_text(&body).map_err(at)?,
        };
        self.enter_once(&[fact]).await?;
        maintenance.end_deletion(&plan.id).await?;
        Ok(body)
    }

    /// Looks for the bytes of what deletions took, removes files that hold some if readers had their time
    /// (`settings.retention`), and tells the ledger of each deletion of which none is left. Those of which it
    /// tells that already are not looked at. What came of each.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). It may be tried again.
    pub async fn erase_deleted(
        &self,
        maintenance: &Maintenance,
        settings: &Vacuum,
    ) -> Result<Vec<(Deletion, Erased)>, StoreError> {
        let at = |fault: Fault| fault.at(&self.identity);
        let ledger = self.zone_ledger().await?;
        let mut all = Vec::new();
        for deletion in deletions_of(&ledger).map_err(at)? {
            if deletion.bytes_gone_us.is_some() {
                continue;
            }
            let deleted = time_of(deletion.at_us);
            let erased = maintenance.erase_deleted(&deletion.body, settings, deleted).await?;
            if erased.left.is_empty() && !settings.dry_run {
                let body =
                    BytesGoneBody { looked_files: erased.looked, found: 0, removed: erased.removed.clone() };
                let fact = LedgerFact {
                    kind: LedgerKind::BytesGone,
                    subject: deletion.id.clone(),
                    policy: deletion.policy.clone(),
                    // Nobody said so: it was looked for.
                    said_by: "situs".to_owned(),
                    at_us: now_us(),
                    body: json_text(&body).map_err(at)?,
                };
                self.enter_once(&[fact]).await?;
            }
            all.push((deletion, erased));
        }
        Ok(all)
    }
}

fn time_of(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
