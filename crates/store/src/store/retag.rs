//! Re-tagging in the ledger of a store (docs/retagging.md).

use situs_model::store::StoreError;
use situs_model::{ContentVersion, LedgerKind, TableName, ZoneLedger};

use super::DeltaStore;
use crate::error::Fault;
use crate::history::History;
use crate::maintain::Maintenance;
use crate::maintain::delete::Hold;
use crate::maintain::retag::{JudgeAgain, RetagBody, RetagRequest, Retagging};
use crate::reader::StoreReader;
use crate::{disk, names};

/// A re-tagging that a ledger tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retag {
    /// Its id.
    pub id: String,
    /// Who is said to have asked for it: declared, and not authenticated.
    pub by: String,
    /// When, µs since the epoch.
    pub at_us: i64,
    /// Version of the policy that gave the tags.
    pub policy: ContentVersion,
    /// What it did.
    pub body: RetagBody,
}

/// What came of a re-tagging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retagged {
    /// No tag changes, or it was only looked.
    Looked(Box<Retagging>),
    /// Tags were changed, and the ledger tells of it.
    Done(Box<Retag>),
}

impl Retagged {
    /// The rows.
    pub fn found(&self) -> &Retagging {
        match self {
            Self::Looked(found) => found,
            Self::Done(retag) => &retag.body.found,
        }
    }
}

/// The re-taggings that a ledger tells of, in its order.
fn retags_of(ledger: &ZoneLedger) -> Result<Vec<Retag>, Fault> {
    let told = ledger.entries().iter().filter(|entry| entry.fact.kind == LedgerKind::Retagged);
    told.map(|entry| {
        let fact = &entry.fact;
        let bad = || {
            Fault::stop(format!(
                "the ledger's entry `{}` of {} cannot be understood",
                fact.kind, fact.subject
            ))
        };
        Ok(Retag {
            id: fact.subject.clone(),
            by: fact.said_by.clone(),
            at_us: fact.at_us,
            policy: fact.policy.clone(),
            body: serde_json::from_str(&fact.body).map_err(|_| bad())?,
        })
    })
    .collect()
}

impl StoreReader {
    /// The re-taggings that the store's ledger tells of.
    ///
    /// # Errors
    /// If the ledger cannot be read or understood.
    pub async fn retags(&self) -> Result<Vec<Retag>, StoreError> {
        let ledger = self.zone_ledger().await?;
        retags_of(&ledger).map_err(|fault| fault.at(self.identity()))
    }

    /// Whether a commit after this version of a table gave rows other tags, whether or not the ledger tells of it.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn retagged_since(&self, table: &TableName, version: u64) -> Result<bool, StoreError> {
        let folder = names::table(self.root(), table);
        let history = disk::blocking(move || History::read(&folder)).await.flatten();
        let history = history.map_err(|fault| fault.at(self.identity()))?;
        Ok(history.retags.iter().any(|(of, _)| *of > version))
    }
}

impl DeltaStore {
    /// Enters the re-taggings that were committed and of which the ledger does not tell, since their process died
    /// between. Returns them.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). Stops at a commit that this store has not made, where commits
    /// are signed, once all others are entered: entering it would vouch for it.
    pub async fn finish_retags(&self, maintenance: &Maintenance) -> Result<Vec<Retag>, StoreError> {
        let at = |fault: Fault| fault.at(&self.identity);
        let (mut facts, mut refused) = (Vec::new(), None);
        // The logs first: whatever they tell of was entered before the ledger is read, or is missing in it.
        let commits = maintenance.retag_commits().await?;
        let ledger = self.zone_ledger().await?;
        for (table, version, commit) in commits {
            if ledger.find(LedgerKind::Retagged, &commit.id).is_some() {
                continue;
            }
            let key = self.receipt_key.as_deref();
            if let Some(fault) = commit.fault(table.as_str(), version, &self.identity, key) {
                refused.get_or_insert_with(|| {
                    at(Fault::stop(format!(
                        "table `{table}`: version {version} says that it is a re-tagging, but {fault}; it is not entered in the ledger, and `situs store verify` tells more"
                    )))
                });
                continue;
            }
            facts.push(commit.fact().map_err(at)?);
        }
        if facts.is_empty() {
            return refused.map_or_else(|| Ok(Vec::new()), Err);
        }
        let ledger = self.enter_once(&facts).await?;
        let mut told = retags_of(&ledger).map_err(at)?;
        told.retain(|retag| facts.iter().any(|fact| fact.subject == retag.id));
        refused.map_or(Ok(told), Err)
    }

    /// Refuses while there is a plan of a deletion: it was decided by the tags of today, by which rows are held or
    /// too young.
    fn expect_no_deletion(&self) -> Result<(), StoreError> {
        match self.deletions_under_way()?.first() {
            None => Ok(()),
            Some(id) => Err(Fault::stop(format!(
                "deletion {id} was decided before and is not finished: finish it first"
            ))
            .at(&self.identity)),
        }
    }

    /// Gives the rows of a table the tags that `judge` gives them now, in one commit, and enters that in the
    /// ledger. With `looks` nothing is written. What an earlier process left must be
    /// [finished](Self::finish_retags) before.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice); `Stop` if a file does not hold what the log says, or what was
    /// written differs in more than tags. If it fails after the commit, the next process enters it.
    pub async fn retag(
        &self,
        maintenance: &Maintenance,
        request: &RetagRequest,
        mut judge: Box<dyn JudgeAgain>,
        looks: bool,
    ) -> Result<Retagged, StoreError> {
        let mut request = request.clone();
        if !looks {
            self.expect_no_deletion()?;
        }
        for _ in 0..Maintenance::RETAG_PASSES {
            request.holds = self.holds().await?;
            let (prepared, again) = maintenance.prepare_retag(&request, judge, !looks).await?;
            judge = again;
            if looks || prepared.found.retagged == 0 {
                return Ok(Retagged::Looked(Box::new(prepared.found.clone())));
            }
            // Decided while files were written.
            self.expect_no_deletion()?;
            // A hold that was set while files were written would lose rows by it.
            if by_tags(&self.holds().await?, &request) != by_tags(&request.holds, &request) {
                continue;
            }
            if let Some(commit) = maintenance.commit_retag(&request, prepared).await? {
                let at = |fault: Fault| fault.at(&self.identity);
                let ledger = self.enter_once(&[commit.fact().map_err(at)?]).await?;
                let told = retags_of(&ledger).map_err(at)?.into_iter().find(|retag| retag.id == commit.id);
                let missing = || at(Fault::retry("the ledger does not tell of what was entered"));
                return Ok(Retagged::Done(Box::new(told.ok_or_else(missing)?)));
            }
        }
        Err(Fault::retry(format!("table `{}`: others rewrite its files all the time", request.table))
            .at(&self.identity))
    }
}

/// The holds that other tags could take rows from.
fn by_tags(holds: &[Hold], request: &RetagRequest) -> Vec<Hold> {
    let request = RetagRequest { holds: holds.to_vec(), ..request.clone() };
    request.holds_by_tags(&request.table).cloned().collect()
}
