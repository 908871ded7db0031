//! The store of one zone, as `ingest` sees it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use situs_model::store::{Append, AppendQuarantine, Appended, BoxFuture, HomeStore, StoreError, ZoneStore};
use situs_model::{ContentVersion, NextOffset, Receipt, Source, StoreIdentity, ZoneId};
use situs_observe::Metrics;

use crate::error::Fault;
use crate::root::{self, RootError};

/// The store of one zone in a folder.
pub struct DeltaStore {
    root: PathBuf,
    identity: StoreIdentity,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for DeltaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaStore").field("identity", &self.identity).field("root", &self.root).finish()
    }
}

impl DeltaStore {
    /// Opens the store of `zone`.
    ///
    /// # Errors
    /// If the root's marker is missing or names another zone (RES-8).
    pub async fn open(root: &Path, zone: &ZoneId, metrics: Arc<Metrics>) -> Result<Self, RootError> {
        let root = root::canonical(root)?;
        let identity = root::expect_zone(&root, zone)?;
        Ok(Self { root, identity, metrics })
    }

    /// Checkpoints tables that have had `every` commits since their last checkpoint. Outside the
    /// commit path. Returns how many were checkpointed.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn maintain(&self, _every: u64) -> Result<u64, StoreError> {
        let _ = &self.metrics;
        Err(Fault::stop("not yet").at(&self.identity))
    }
}

impl ZoneStore for DeltaStore {
    fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    fn append<'a>(&'a self, _append: &'a Append) -> BoxFuture<'a, Result<Appended, StoreError>> {
        Box::pin(async { Err(Fault::stop("not yet").at(&self.identity)) })
    }
}

impl HomeStore for DeltaStore {
    fn settled<'a>(
        &'a self,
        _sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, NextOffset>, StoreError>> {
        Box::pin(async { Err(Fault::stop("not yet").at(&self.identity)) })
    }

    fn quarantine<'a>(
        &'a self,
        _append: &'a AppendQuarantine,
    ) -> BoxFuture<'a, Result<Appended, StoreError>> {
        Box::pin(async { Err(Fault::stop("not yet").at(&self.identity)) })
    }

    fn settle<'a>(&'a self, _receipts: &'a [Receipt]) -> BoxFuture<'a, Result<Appended, StoreError>> {
        Box::pin(async { Err(Fault::stop("not yet").at(&self.identity)) })
    }

    fn archive_policy<'a>(
        &'a self,
        _version: &'a ContentVersion,
        _text: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(Fault::stop("not yet").at(&self.identity)) })
    }
}
