//! The store of one zone, as `ingest` sees it.

pub(crate) mod deletion;
pub(crate) mod ledger;
pub(crate) mod release;
pub(crate) mod retag;
pub(crate) mod size;
pub(crate) mod transfer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use situs_model::store::{
    Advice, Append, AppendQuarantine, Appended, BoxFuture, EncodedRows, FlushFacts, HomeStore, RowEncoder,
    StoreError, Tenure, Text, Unsettled, ZoneStore,
};
use situs_model::{ContentVersion, NextOffset, Receipt, Source, StoreIdentity, TableName, ZoneId};
use situs_observe::Metrics;
use tokio::sync::{OnceCell, RwLock};

use crate::encode::{self, Encoded, Encoder};
use crate::error::Fault;
use crate::key::{PublicKey, ReceiptKey};
use crate::lease::{Leases, Renewal};
use crate::maintain::Maintenance;
use crate::root::{self, RootError};
use crate::table::Table;
use crate::work::{Claim, Layout, Rows, Work};
use crate::{disk, durable, entry, find, maintain, names, quarantine, receipts};

/// Where the tables of pipelines keep offset and day.
pub(crate) const LAYOUT: Layout =
    Layout { offset: situs_model::columns::names::OFFSET, day: situs_model::columns::names::EVENT_DATE };

/// The store of one zone in a folder.
///
/// # Memory
/// Of each table that was appended to, the columns and one offset per partition are kept; nothing that
/// grows with files or commits.
///
/// # Limits
/// Several processes may append to the same store: each commit is decided on the newest version and
/// becomes the version after that, or is decided anew.
pub struct DeltaStore {
    root: PathBuf,
    identity: StoreIdentity,
    metrics: Arc<Metrics>,
    leases: Arc<Leases>,
    /// Held, to be read, by each step of maintenance for as long as it works.
    maintained: Arc<RwLock<()>>,
    tables: Mutex<HashMap<TableName, Arc<Table>>>,
    /// Signs receipts.
    receipt_key: Option<Arc<ReceiptKey>>,
    /// Keys beside it whose entries of a ledger are known, whatever the archive holds.
    trusted: Vec<PublicKey>,
    /// Set once the key's public half lies in the archive.
    key_archived: OnceCell<()>,
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
    /// If the root's marker is missing or names another zone (RES-8), or others than the owner may use it.
    pub async fn open(root: &Path, zone: &ZoneId, metrics: Arc<Metrics>) -> Result<Self, RootError> {
        let root = root::canonical(root)?;
        let identity = root::expect_zone(&root, zone)?;
        root::expect_closed(&root)?;
        let leases = Arc::new(Leases::new(&root));
        Ok(Self {
            root,
            identity,
            metrics,
            leases,
            maintained: Arc::default(),
            tables: Mutex::default(),
            receipt_key: None,
            trusted: Vec::new(),
            key_archived: OnceCell::new(),
        })
    }

    /// Signs the receipts that this store settles from now on. Its public half is archived before the
    /// first of them is committed.
    #[must_use]
    pub fn with_receipt_key(mut self, key: Arc<ReceiptKey>) -> Self {
        self.receipt_key = Some(key);
        self.key_archived = OnceCell::new();
        self
    }

    /// Knows these keys when it reads the ledger, whatever the store's archive holds.
    #[must_use]
    pub fn with_trusted_keys(mut self, keys: Vec<PublicKey>) -> Self {
        self.trusted = keys;
        self
    }

    /// Takes this process's lease on the store, or renews it: what it has staged is then safe from every
    /// vacuum. A process that lives long calls this every few seconds; once it has, nothing is committed
    /// without the lease.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn renew_lease(&self) -> Result<Renewal, StoreError> {
        let (root, identity, leases) = (self.root.clone(), self.identity.clone(), self.leases.clone());
        leases.require();
        let renewed = disk::blocking(move || {
            root::expect_store(&root, &identity)?;
            Ok::<_, Fault>(leases.renew()?)
        });
        renewed.await.flatten().map_err(|fault| fault.at(&self.identity))
    }

    /// Gives the lease up, when nothing more will be written.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice). The lease expires then.
    pub async fn release_lease(&self) -> Result<(), StoreError> {
        let leases = self.leases.clone();
        let released = disk::blocking(move || leases.release()).await;
        let released = released.and_then(|released| Ok(released?));
        released.map_err(|fault| fault.at(&self.identity))
    }

    /// Takes the right to maintain the store; `None` if another process has it.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn begin_maintenance(&self) -> Result<Option<Maintenance>, StoreError> {
        let (leases, maintained) = (self.leases.clone(), self.maintained.clone());
        let (metrics, key) = (self.metrics.clone(), self.receipt_key.clone());
        Maintenance::begin(&self.root, &self.identity, leases, maintained, metrics, key)
            .await
            .map_err(|fault| fault.at(&self.identity))
    }

    /// Waits until no step of maintenance works any more: one that nobody waits for ends soon, but not at once.
    pub async fn maintenance_over(&self) {
        drop(self.maintained.write().await);
    }

    /// Checkpoints tables that have had `every` commits since their last checkpoint. Outside the
    /// commit path. Returns how many were checkpointed.
    ///
    /// # Errors
    /// See [`Advice`](situs_model::store::Advice).
    pub async fn maintain(&self, every: u64) -> Result<u64, StoreError> {
        maintain::maintain(&self.root, &self.identity, every).await.map_err(|fault| fault.at(&self.identity))
    }

    fn table(&self, name: &TableName) -> Arc<Table> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let (identity, metrics) = (self.identity.clone(), self.metrics.clone());
            Table::new(&self.root, name.clone(), identity, metrics, self.leases.clone())
        };
        tables.entry(name.clone()).or_insert_with(|| Arc::new(new())).clone()
    }

    /// Its leases, to play a step of maintenance.
    #[cfg(test)]
    pub(crate) fn leases_for_tests(&self) -> &Arc<Leases> {
        &self.leases
    }

    fn work_of(append: &Append) -> Result<Work, Fault> {
        if append.table.is_reserved() {
            return Err(Fault::stop(format!("`{}` is Situs's own table", append.table)));
        }
        Ok(Work {
            layout: LAYOUT,
            claims: append.shares.iter().map(Claim::of).collect(),
            rows: Rows::Encoded(append.rows.clone()),
            facts: append.facts.clone(),
        })
    }

    async fn carry_out(&self, table: &TableName, work: Result<Work, Fault>) -> Result<Appended, StoreError> {
        let result = match work {
            Ok(work) => self.table(table).append(&work).await,
            Err(fault) => Err(fault),
        };
        let writable = self.metrics.store_writable.with_label_values(&[self.identity.zone.as_str()]);
        match &result {
            Ok(_) => writable.set(1),
            Err(fault) if fault.advice == Advice::Retry => writable.set(0),
            // The store is well; what it was asked to do is not.
            Err(_) => {}
        }
        result.map_err(|fault| fault.at(&self.identity))
    }

    async fn archive_key(&self) -> Result<(), Fault> {
        let Some(key) = &self.receipt_key else { return Ok(()) };
        let (public, path) = (key.public(), names::key(&self.root, key.public().id()));
        self.key_archived.get_or_try_init(|| self.keep_text(path, public.pem())).await.copied()
    }

    /// Keeps a text under a name that belongs to it.
    async fn keep_text(&self, path: PathBuf, text: String) -> Result<(), Fault> {
        let (root, identity) = (self.root.clone(), self.identity.clone());
        disk::blocking(move || {
            root::expect_store(&root, &identity)?;
            let folder = path.parent().unwrap_or(&root);
            // A store that is full or read-only has nothing to be written that is there.
            if durable::read(&path)?.is_none() {
                durable::ensure_folder(folder)?;
                if durable::create(&path, text.as_bytes())? {
                    return Ok(());
                }
            }
            // Whoever wrote it may not have lived to sync the name.
            durable::sync_folder(folder)?;
            match durable::read(&path)? {
                Some(there) if there == text.as_bytes() => Ok(()),
                _ => Err(Fault::stop(format!("{} has another text", path.display()))),
            }
        })
        .await?
    }

    async fn kept_text(&self, kind: Text, version: &ContentVersion) -> Result<Option<String>, Fault> {
        let (root, version) = (self.root.clone(), version.clone());
        let identity = self.identity.clone();
        disk::blocking(move || {
            let path = names::archived(&root, kind, &version);
            let text = durable::read(&path)?;
            // Afterwards, since that it is missing counts only if this store was there.
            root::expect_store(&root, &identity)?;
            let Some(bytes) = text else { return Ok(None) };
            find::text_of_version(&path, bytes, &version).map(Some)
        })
        .await?
    }
}

impl ZoneStore for DeltaStore {
    fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    fn fence<'a>(
        &'a self,
        table: &'a TableName,
        columns: &'a SchemaRef,
        tenures: &'a [(Source, Tenure)],
    ) -> BoxFuture<'a, Result<HashMap<Source, Unsettled>, StoreError>> {
        Box::pin(async move {
            let result = match table.is_reserved() {
                true => Err(Fault::stop(format!("`{table}` is Situs's own table"))),
                false => self.table(table).fence(LAYOUT, columns, tenures).await,
            };
            result.map_err(|fault| fault.at(&self.identity))
        })
    }

    fn encoder(&self) -> Box<dyn RowEncoder> {
        Box::new(Encoder::new(self.identity.clone(), LAYOUT))
    }

    fn finish(
        &self,
        encoders: Vec<Box<dyn RowEncoder>>,
        facts: &FlushFacts,
    ) -> Result<EncodedRows, StoreError> {
        encode::finish(&self.identity, encoders, &entry::file_facts(&self.identity, facts))
            .map(Encoded::into_rows)
            .map_err(|fault| fault.at(&self.identity))
    }

    fn append<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<Appended, StoreError>> {
        Box::pin(async move { self.carry_out(&append.table, Self::work_of(append)).await })
    }
}

impl HomeStore for DeltaStore {
    fn settled<'a>(
        &'a self,
        sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, NextOffset>, StoreError>> {
        Box::pin(async move {
            let ids: Vec<String> = sources.iter().map(Source::app_id).collect();
            let next = self
                .table(&TableName::receipts())
                .progress(&ids)
                .await
                .map_err(|fault| fault.at(&self.identity))?;
            let known = sources.iter().zip(next).filter_map(|(source, next)| Some((source.clone(), next?)));
            Ok(known.collect())
        })
    }

    fn take_over<'a>(
        &'a self,
        sources: &'a [Source],
    ) -> BoxFuture<'a, Result<HashMap<Source, Tenure>, StoreError>> {
        let result = async move {
            let columns = receipts::columns()?;
            let table = self.table(&TableName::receipts());
            let tenures = table.take_over(receipts::LAYOUT, &columns, sources).await?;
            Ok(sources.iter().cloned().zip(tenures).collect())
        };
        Box::pin(async move { result.await.map_err(|fault: Fault| fault.at(&self.identity)) })
    }

    fn fence_quarantine<'a>(
        &'a self,
        tenures: &'a [(Source, Tenure)],
    ) -> BoxFuture<'a, Result<HashMap<Source, Unsettled>, StoreError>> {
        let result = async move {
            let columns = quarantine::columns()?;
            self.table(&TableName::quarantine()).fence(quarantine::LAYOUT, &columns, tenures).await
        };
        Box::pin(async move { result.await.map_err(|fault: Fault| fault.at(&self.identity)) })
    }

    fn quarantine<'a>(&'a self, append: &'a AppendQuarantine) -> BoxFuture<'a, Result<Appended, StoreError>> {
        Box::pin(async move { self.carry_out(&TableName::quarantine(), quarantine::work(append)).await })
    }

    fn settle<'a>(&'a self, receipts: &'a [Receipt]) -> BoxFuture<'a, Result<Appended, StoreError>> {
        Box::pin(async move {
            self.archive_key().await.map_err(|fault| fault.at(&self.identity))?;
            let work = receipts::work(receipts, self.receipt_key.clone());
            self.carry_out(&TableName::receipts(), work).await
        })
    }

    fn archive<'a>(
        &'a self,
        kind: Text,
        version: &'a ContentVersion,
        text: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let path = names::archived(&self.root, kind, version);
        let result = async move { self.keep_text(path, text.to_owned()).await };
        Box::pin(async move { result.await.map_err(|fault| fault.at(&self.identity)) })
    }

    fn archived<'a>(
        &'a self,
        kind: Text,
        version: &'a ContentVersion,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let result = async move { self.kept_text(kind, version).await };
        Box::pin(async move { result.await.map_err(|fault| fault.at(&self.identity)) })
    }
}

#[cfg(test)]
pub(crate) mod tests;
