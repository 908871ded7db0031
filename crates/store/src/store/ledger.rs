//! Entering what was done in a store's ledger (docs/stores.md).

use situs_model::store::{Advice, StoreError};
use situs_model::{LedgerFact, TableName, ZoneLedger};

use super::DeltaStore;
use super::release::LedgerStep;
use crate::error::Fault;
use crate::reader::StoreReader;
use crate::zone_ledger;

impl DeltaStore {
    /// The ledger of this store, as it is now.
    ///
    /// # Errors
    /// If it cannot be read, or an entry is missing in it.
    pub async fn zone_ledger(&self) -> Result<ZoneLedger, StoreError> {
        let reader = StoreReader::open(&self.root).map_err(|error| Fault::from(error).at(&self.identity))?;
        let own: Vec<_> = self.receipt_key.iter().map(|key| key.public().clone()).collect();
        reader.zone_ledger_by(&[own.as_slice(), &self.trusted].concat()).await
    }

    /// Enters facts, as decided on `ledger`, in one commit: all of them or none. Whoever reads the ledger and
    /// decides by it what to enter is sure that nothing was entered between.
    ///
    /// # Errors
    /// See [`Advice`]. After an error the ledger must be read before anything else, since they may stand there.
    pub async fn append_to_ledger(
        &self,
        ledger: &ZoneLedger,
        facts: &[LedgerFact],
    ) -> Result<LedgerStep, StoreError> {
        if *ledger.store() != self.identity {
            let message = format!("the ledger is that of {}", ledger.store());
            return Err(Fault::stop(message).at(&self.identity));
        }
        self.archive_key().await.map_err(|fault| fault.at(&self.identity))?;
        let work = zone_ledger::work(ledger, facts, self.receipt_key.as_deref());
        match self.carry_out(&TableName::ledger(), work).await {
            Ok(_) => Ok(LedgerStep::Written),
            // The number was taken by another process.
            Err(error) if error.advice == Advice::Yield => Ok(LedgerStep::Outdated),
            Err(error) => Err(error),
        }
    }

    /// Enters those facts of which the ledger tells nothing yet: one of the same kind and subject is not
    /// entered again, so this may be repeated after a crash. Returns the ledger with all of them.
    ///
    /// # Errors
    /// See [`Advice`]. It may be tried again.
    pub async fn enter_once(&self, facts: &[LedgerFact]) -> Result<ZoneLedger, StoreError> {
        let mut outdated_at = None;
        loop {
            let ledger = self.zone_ledger().await?;
            let missing = facts.iter().filter(|fact| ledger.find(fact.kind, &fact.subject).is_none());
            let missing: Vec<LedgerFact> = missing.cloned().collect();
            if missing.is_empty() {
                return Ok(ledger);
            }
            if outdated_at == Some(ledger.next()) {
                // Its log counts more entries than there are, and nothing must be built upon that.
                let message = format!(
                    "the ledger has no entry {}, which its log says was written; `situs store verify` tells more",
                    ledger.next()
                );
                return Err(Fault::stop(message).at(&self.identity));
            }
            if self.append_to_ledger(&ledger, &missing).await? == LedgerStep::Outdated {
                outdated_at = Some(ledger.next());
            }
        }
    }
}
