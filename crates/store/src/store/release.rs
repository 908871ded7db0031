//! Releasing records from quarantine exactly once (docs/quarantine.md).
//!
//! No commit is atomic across tables, so a release has three: it begins in the ledger, which decides that
//! no other release may ever take these records; each zone's rows are appended under an id of the release's
//! own; and the ledger says that it is done. After a crash between two of them the ledger names the
//! release, and whoever finishes it appends only what is not there.

use situs_model::store::{Advice, EncodedRows, FlushFacts, StoreError};
use situs_model::{
    ClusterName, Ledger, NextOffset, OffsetRange, Release, ReleaseState, ReleaseStep, Source, StoreIdentity,
    TableName,
};

use super::{DeltaStore, LAYOUT};
use crate::encode::Encoded;
use crate::error::Fault;
use crate::reader::StoreReader;
use crate::releases;
use crate::work::{Claim, Rows, Settled, Work};

/// What became of a step in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerStep {
    /// It stands there.
    Written,
    /// Another process wrote to the ledger since it was read: read it again and decide anew.
    Outdated,
}

/// The rows of a release are in one of its stores. Only the append that put or found them there makes it.
#[derive(Debug)]
pub struct Placed {
    release_id: String,
    store: StoreIdentity,
    version: Option<u64>,
}

impl Placed {
    /// The table's version after the append; `None` if the rows were there already.
    pub fn version(&self) -> Option<u64> {
        self.version
    }
}

impl DeltaStore {
    /// The ledger of this home store, as it is now.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn ledger(&self) -> Result<Ledger, StoreError> {
        let reader = StoreReader::open(&self.root).map_err(|error| Fault::from(error).at(&self.identity))?;
        reader.ledger().await
    }

    /// Begins a release, as decided on `ledger`. Once it is written, its records are taken: no other release
    /// can begin with one of them, and this one must be finished.
    ///
    /// # Errors
    /// See [`Advice`]. After an error the ledger must be read before anything else, since it may have begun.
    /// Stops if the ledger says that one of the records was released.
    pub async fn begin_release(
        &self,
        ledger: &Ledger,
        release: &Release,
        facts: &FlushFacts,
    ) -> Result<LedgerStep, StoreError> {
        let taken = release.entries.iter().find(|e| ledger.state(&e.record) != ReleaseState::Held);
        if let Some(taken) = taken {
            let message = format!("{} was released before", taken.record);
            return Err(Fault::stop(message).at(&self.identity));
        }
        let versions = Vec::new();
        let work =
            releases::work(release, ReleaseStep::Begun, ledger.next(), release.begun_us, &versions, facts);
        self.write_step(work).await
    }

    /// Appends the rows of a release that live in this store, unless they are there. `rows` are those of all
    /// its entries for this store, encoded by it.
    ///
    /// # Errors
    /// See [`Advice`]. Stops if the rows are not those that the release names. It may be tried again.
    pub async fn append_released(
        &self,
        release: &Release,
        cluster: &ClusterName,
        rows: &EncodedRows,
        facts: &FlushFacts,
    ) -> Result<Placed, StoreError> {
        let work = self.work_of_release(release, cluster, rows, facts);
        let appended = self.carry_out(&release.table(), work).await?;
        Ok(Placed { release_id: release.id.clone(), store: self.identity.clone(), version: appended.version })
    }

    fn work_of_release(
        &self,
        release: &Release,
        cluster: &ClusterName,
        rows: &EncodedRows,
        facts: &FlushFacts,
    ) -> Result<Work, Fault> {
        let encoded = rows.inner::<Encoded>();
        let encoded =
            encoded.ok_or_else(|| Fault::stop("the rows were encoded for another kind of store"))?;
        let mut claims: Vec<Claim> = Vec::new();
        let mut expected = 0;
        for entry in release.entries.iter().filter(|entry| entry.target == self.identity) {
            expected += entry.rows;
            let record = &entry.record;
            let range = OffsetRange::new(NextOffset(record.offset), NextOffset(record.offset + 1));
            let same = |claim: &&mut Claim| {
                claim.source.topic == record.topic && claim.source.partition == record.partition
            };
            match claims.iter_mut().find(same) {
                Some(claim) => {
                    let (start, end) = (claim.range.start.min(range.start), claim.range.end.max(range.end));
                    claim.range = OffsetRange::new(start, end);
                }
                None => claims.push(Claim {
                    // Of this release alone, so that the partition's own offset, which lies after these
                    // records, stays where it is. A partition's id has one part less.
                    app_id: format!("situs/release/{}/{}/{}", release.id, record.topic, record.partition),
                    source: Source {
                        cluster: cluster.clone(),
                        topic: record.topic.clone(),
                        partition: record.partition,
                    },
                    range,
                    settled: Settled::Told(None),
                    epoch: None,
                    topic_id: None,
                }),
            }
        }
        if encoded.row_count() != expected || expected == 0 {
            return Err(Fault::stop(format!(
                "release {} has {expected} rows for this store, but {} were made of its records",
                release.id,
                encoded.row_count()
            )));
        }
        Ok(Work { layout: LAYOUT, claims, rows: Rows::Encoded(rows.clone()), facts: facts.clone() })
    }

    /// Says in the ledger that a release is done, which takes proof that its rows are in all its stores.
    ///
    /// # Errors
    /// See [`Advice`]. Stops if a proof is missing.
    pub async fn end_release(
        &self,
        ledger: &Ledger,
        release: &Release,
        placed: &[Placed],
        at_us: i64,
        facts: &FlushFacts,
    ) -> Result<LedgerStep, StoreError> {
        let versions: releases::Versions = placed
            .iter()
            .filter(|placed| placed.release_id == release.id)
            .map(|placed| (placed.store.clone(), placed.version))
            .collect();
        let missing =
            release.targets().into_iter().find(|target| versions.iter().all(|(store, _)| store != target));
        if let Some(target) = missing {
            let message = format!("release {}: its rows are not in store {target} yet", release.id);
            return Err(Fault::stop(message).at(&self.identity));
        }
        match ledger.release(&release.id) {
            Some(known) if known.done_us.is_some() => return Ok(LedgerStep::Written),
            Some(known) if known.entries.len() == release.entries.len() => {}
            _ => {
                let message = format!("release {} did not begin as it ends", release.id);
                return Err(Fault::stop(message).at(&self.identity));
            }
        }
        self.write_step(releases::work(release, ReleaseStep::Done, ledger.next(), at_us, &versions, facts))
            .await
    }

    async fn write_step(&self, work: Result<Work, Fault>) -> Result<LedgerStep, StoreError> {
        match self.carry_out(&TableName::releases(), work).await {
            Ok(_) => Ok(LedgerStep::Written),
            // The number was taken by another process.
            Err(error) if error.advice == Advice::Yield => Ok(LedgerStep::Outdated),
            Err(error) => Err(error),
        }
    }
}
