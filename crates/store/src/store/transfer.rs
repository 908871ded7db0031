//! Taking in the rows of a transfer, exactly once (docs/transfers.md).

use situs_model::store::{Advice, FlushFacts, StoreError};
use situs_model::transfer::TransferPermit;

use super::DeltaStore;
use crate::received::{Arrival, Receiving};

impl DeltaStore {
    /// Begins to take in the rows of a transfer that goes to this store. It takes the permit that only the
    /// decision makes, before the first row.
    ///
    /// # Errors
    /// If the permit is for another store.
    pub fn receiving(&self, permit: &TransferPermit) -> Result<Receiving, StoreError> {
        Receiving::new(permit, &self.identity).map_err(|fault| fault.at(&self.identity))
    }

    /// Writes all rows of a transfer in one commit, unless rows of it are there: the transfer has an
    /// application id of its own, which is compared and set.
    ///
    /// # Errors
    /// See [`Advice`]. After an error it must be looked for what [arrived](crate::StoreReader::arrived)
    /// before anything else.
    pub async fn receive(
        &self,
        receiving: Receiving,
        facts: &FlushFacts,
        source_version: u64,
    ) -> Result<Arrival, StoreError> {
        let (table, work) =
            receiving.work(facts, source_version).map_err(|fault| fault.at(&self.identity))?;
        match self.carry_out(&table, Ok(work)).await {
            Ok(_) => Ok(Arrival::Now),
            Err(error) if error.advice == Advice::Yield => Ok(Arrival::Before),
            Err(error) => Err(error),
        }
    }
}
