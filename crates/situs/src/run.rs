//! Building the parts of a home and running them until told to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use situs_ingest::{Config, Control, IngestError, Stage, Stores, Summary};
use situs_model::doc::nearest;
use situs_model::store::{HomeStore as _, ZoneStore};
use situs_model::{KeyRing, ZoneId};
use situs_observe::Metrics;
use situs_store::DeltaStore;
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::http;
use crate::past::HomePast;
use crate::site::Site;
use crate::upkeep;

/// How long a step of maintenance may take to end, at the end.
const MAINTENANCE_ENDS: Duration = Duration::from_secs(5);

/// A home that runs.
#[derive(Debug)]
pub struct Service {
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// Stops it, and tells how it does.
    pub control: Arc<Control>,
    /// Where the HTTP endpoints listen.
    pub http: Option<SocketAddr>,
    intake: JoinHandle<Result<Summary, IngestError>>,
    helpers: Vec<JoinHandle<()>>,
    /// The stores on which it has leases.
    leased: Vec<Arc<DeltaStore>>,
}

/// Opens the stores, joins the group and starts to read.
///
/// # Errors
/// If a store cannot be opened, the listener cannot be bound, or settings contradict each other.
pub async fn start(site: &Site, catalog: &Catalog, until_caught_up: bool) -> anyhow::Result<Service> {
    let metrics = Arc::new(Metrics::new()?);
    metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    metrics.policy_info.with_label_values(&[catalog.policy.version().as_str()]).set(1);
    let keys = site.key_ring(catalog)?;
    let workers =
        (0..site.workers).map(|_| stages(site, catalog, &keys)).collect::<anyhow::Result<Vec<_>>>()?;
    let (stores, tables) = open_stores(site, catalog, keys, &metrics).await?;

    let control = Arc::new(Control::default());
    let mut helpers = Vec::new();
    let http = match site.http {
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .with_context(|| format!("http: cannot listen on {address}"))?;
            let bound = listener.local_addr()?;
            helpers.push(http::serve(listener, metrics.clone(), control.clone()));
            tracing::info!(event = "http", address = %bound, "serving /metrics, /healthz, /readyz and /version");
            Some(bound)
        }
        None => None,
    };
    // Before the first file is staged. A store that cannot be written now may be so later.
    for store in &tables {
        if let Err(error) = store.renew_lease().await {
            tracing::warn!(event = "lease-not-renewed", "{error}");
        }
    }
    let leased = tables.clone();
    helpers.push({
        let stores = tables.clone();
        tokio::spawn(async move { upkeep::keep_leases(&stores).await })
    });
    let settings = site.maintenance.clone();
    helpers.push(tokio::spawn(async move { upkeep::maintain(&tables, &settings).await }));

    let config = Config {
        cluster: site.kafka.cluster.clone(),
        brokers: site.kafka.brokers.clone(),
        group: site.kafka.group.clone(),
        properties: site.kafka.properties.clone(),
        flush: site.flush.clone(),
        memory_bytes: site.memory,
        drain_timeout: site.drain_timeout,
        until_caught_up,
    };
    let runtime = tokio::runtime::Handle::current();
    let intake = {
        let (metrics, control) = (metrics.clone(), control.clone());
        tokio::task::spawn_blocking(move || {
            situs_ingest::run(&config, workers, stores, metrics, &control, &runtime)
        })
    };
    Ok(Service { metrics, control, http, intake, helpers, leased })
}

impl Service {
    /// Whether the intake has ended, by itself or because it was told to.
    pub fn is_finished(&self) -> bool {
        self.intake.is_finished()
    }

    /// Waits for the intake's end.
    ///
    /// # Errors
    /// Why it ended early.
    pub async fn wait(mut self) -> anyhow::Result<Summary> {
        let result = (&mut self.intake).await.context("the intake thread panicked");
        self.helpers.iter().for_each(JoinHandle::abort);
        for store in &self.leased {
            // Whatever a step has staged, it tidies up.
            if tokio::time::timeout(MAINTENANCE_ENDS, store.maintenance_over()).await.is_err() {
                tracing::warn!(event = "maintenance-cut-off", store = %store.identity(), "it does not end in time");
            }
            if let Err(error) = store.release_lease().await {
                tracing::warn!(event = "lease-not-released", "{error}");
            }
        }
        Ok(result??)
    }
}

impl Drop for Service {
    /// Whoever drops a service that still runs has met an error: it drains and ends.
    fn drop(&mut self) {
        self.control.stop();
        self.helpers.iter().for_each(JoinHandle::abort);
    }
}

fn stages(site: &Site, catalog: &Catalog, keys: &Arc<KeyRing>) -> anyhow::Result<Vec<Stage>> {
    for name in &site.enabled {
        catalog.pipeline(name.as_str()).context("`enabled` in the site")?;
    }
    let enabled = |name| site.enabled.is_empty() || site.enabled.iter().any(|enabled| enabled == name);
    let stages: Vec<Stage> = catalog
        .pipelines
        .iter()
        .filter(|loaded| enabled(&loaded.pipeline.name))
        .map(|loaded| loaded.stage(&catalog.policy, keys))
        .collect::<Result<_, _>>()?;
    Ok(stages)
}

/// Checks the roots and opens every store; the home zone's also as the home store.
async fn open_stores(
    site: &Site,
    catalog: &Catalog,
    keys: Arc<KeyRing>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Stores, Vec<Arc<DeltaStore>>)> {
    let known: Vec<&str> = catalog.policy.zones().map(|zone| zone.id.as_str()).collect();
    for zone in site.stores.keys() {
        if !known.contains(&zone.as_str()) {
            let hint = nearest(zone.as_str(), known.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            bail!("`stores` in the site names zone `{zone}`, which the policy does not know{hint}");
        }
    }
    let roots: Vec<(ZoneId, PathBuf)> =
        site.stores.iter().map(|(zone, root)| (zone.clone(), root.clone())).collect();
    situs_store::check_disjoint(&roots)?;
    let mut opened = BTreeMap::new();
    let mut key = site.receipts.key()?;
    match &key {
        Some(key) => tracing::info!(event = "receipt-key", key = key.public().id(), "receipts are signed"),
        None => tracing::warn!(event = "unsigned-receipts", "receipts are not signed, as the site allows"),
    }
    for (zone, root) in &roots {
        let mut store = DeltaStore::open(root, zone, metrics.clone()).await?;
        if *zone == site.home_zone
            && let Some(key) = key.take()
        {
            store = store.with_receipt_key(Arc::new(key));
        }
        opened.insert(zone.clone(), Arc::new(store));
    }
    let home = opened
        .get(&site.home_zone)
        .cloned()
        .with_context(|| format!("the home zone `{}` has no store", site.home_zone))?;
    for (kind, version, text) in catalog.texts() {
        home.archive(kind, version, text).await?;
    }
    let all = opened.values().cloned().collect();
    let zones = opened.into_iter().map(|(zone, store)| (zone, store as Arc<dyn ZoneStore>)).collect();
    let past = Arc::new(HomePast::new(home.clone(), catalog, keys, tokio::runtime::Handle::current()));
    Ok((Stores { zones, home, past }, all))
}
