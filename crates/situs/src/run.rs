//! Building the parts of a home and running them until told to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use situs_ingest::{Config, Control, IngestError, Shadow, ShadowReport, Stage, Stores, Summary};
use situs_model::doc::{Diagnostic, Diagnostics, nearest, whole_file};
use situs_model::store::{Advice, HomeStore as _, StoreError, ZoneStore};
use situs_model::{KeyRing, ZoneId};
use situs_observe::Metrics;
use situs_policy::{Judge, Policy};
use situs_store::DeltaStore;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::catalog::{Catalog, Loaded};
use crate::gauges;
use crate::http;
use crate::past::HomePast;
use crate::reload::Reload;
use crate::site::Site;
use crate::upkeep;

/// How long a step of maintenance may take to end, at the end.
const MAINTENANCE_ENDS: Duration = Duration::from_secs(5);
/// How long until a text is written again that could not be written at the start.
const AGAIN: Duration = Duration::from_secs(1);
/// Each how manieth of these tries is logged.
const TRIES_A_WARNING: u32 = 10;

/// A home that runs.
#[derive(Debug)]
pub struct Service {
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// Stops it, and tells how it does.
    pub control: Arc<Control>,
    /// Where the HTTP endpoints listen.
    pub http: Option<SocketAddr>,
    /// Told, it reads the policy again.
    pub reload: Arc<Notify>,
    /// What the second policy would change, if there is one.
    pub shadow: Option<Arc<ShadowReport>>,
    intake: JoinHandle<Result<Summary, IngestError>>,
    helpers: Vec<JoinHandle<()>>,
    /// The stores on which it has leases.
    leased: Vec<Arc<DeltaStore>>,
}

/// Opens the stores, joins the group and starts to read.
///
/// # Errors
/// If a store cannot be opened, the listener cannot be bound, or settings contradict each other.
pub async fn start(
    site: &Site,
    catalog: &Catalog,
    shadow: Option<Arc<Policy>>,
    until_caught_up: bool,
) -> anyhow::Result<Service> {
    let metrics = Arc::new(Metrics::new()?);
    metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    metrics.policy_info.with_label_values(&[catalog.policy.version().as_str()]).set(1);
    gauges::from_the_start(&metrics, site, catalog, shadow.is_some());
    let keys = site.key_ring(catalog)?;
    let properties = site.kafka.checked_properties()?;
    let shadow = shadow.map(|policy| {
        let report = shadow_report(catalog, &policy, &metrics);
        (policy, report)
    });
    let workers = (0..site.workers).map(|_| stages(site, catalog, &keys, shadow.as_ref()));
    let workers = workers.collect::<anyhow::Result<Vec<_>>>()?;
    let shadow = shadow.map(|(_, report)| report);
    let (stores, tables, home) = open_stores(site, catalog, keys, &metrics).await?;

    let control = Arc::new(Control::default());
    let mut helpers = Vec::new();
    let http = match site.http {
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .with_context(|| format!("http: cannot listen on {address}"))?;
            let bound = listener.local_addr()?;
            let parts = http::Parts {
                site,
                catalog,
                stores: tables.iter().map(|store| store.identity().clone()).collect(),
                metrics: metrics.clone(),
                control: control.clone(),
                shadow: shadow.clone(),
            };
            helpers.push(http::serve(listener, parts).context("http: cannot start its thread")?);
            tracing::info!(event = "http", address = %bound, "serving the live page, /metrics, /healthz, /readyz, /version and /shadow");
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
    // With /metrics and /readyz served, so that somebody can see what it waits for.
    keep_texts(catalog, &home).await?;
    let leased = tables.clone();
    helpers.push({
        let stores = tables.clone();
        tokio::spawn(async move { upkeep::keep_leases(&stores).await })
    });
    let settings = site.maintenance.clone();
    helpers.push(tokio::spawn(async move { upkeep::maintain(&tables, &settings).await }));

    let policy: gauges::CurrentPolicy = Arc::new(Mutex::new(catalog.policy.clone()));
    helpers.push({
        let (stores, policy, metrics) = (leased.clone(), policy.clone(), metrics.clone());
        tokio::spawn(async move { gauges::look(&stores, &policy, &metrics).await })
    });

    let reload = Arc::new(Notify::new());
    let watcher = Reload {
        site: site.clone(),
        catalog: catalog.clone(),
        home,
        control: control.clone(),
        metrics: metrics.clone(),
        shadow: shadow.clone(),
        stores: leased.clone(),
        started_with: catalog.policy.version().clone(),
        asked: reload.clone(),
        policy,
    };
    helpers.push(tokio::spawn(watcher.watch()));

    let config = Config {
        cluster: site.kafka.cluster.clone(),
        brokers: site.kafka.brokers.clone(),
        group: site.kafka.group.clone(),
        properties,
        flush: site.flush.clone(),
        memory_bytes: site.memory,
        drain_timeout: site.drain_timeout,
        partition_series: site.partition_series,
        until_caught_up,
    };
    let runtime = tokio::runtime::Handle::current();
    let intake = {
        let (metrics, control) = (metrics.clone(), control.clone());
        tokio::task::spawn_blocking(move || {
            situs_ingest::run(&config, workers, stores, metrics, &control, &runtime)
        })
    };
    Ok(Service { metrics, control, http, reload, shadow, intake, helpers, leased })
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

/// Keeps the texts by which records will be judged in the home store, before the first record is. Waits
/// while they cannot be written, as intake does when a store can't: a disk may be full, or read-only, for now.
///
/// # Errors
/// What waiting does not mend.
async fn keep_texts(catalog: &Catalog, home: &DeltaStore) -> Result<(), StoreError> {
    for (kind, version, text) in catalog.texts() {
        let mut tries = 0_u32;
        while let Err(error) = home.archive(kind, version, text).await {
            if error.advice != Advice::Retry {
                return Err(error);
            }
            if tries.is_multiple_of(TRIES_A_WARNING) {
                tracing::warn!(event = "start-waits", "{error}; trying again");
            }
            tries += 1;
            tokio::time::sleep(AGAIN).await;
        }
    }
    Ok(())
}

/// The judges of a worker, in the order of its stages.
pub(crate) fn judges(site: &Site, catalog: &Catalog) -> Result<Vec<Judge>, Diagnostics> {
    site.running(catalog).map(|loaded| catalog.policy.judge(&loaded.facts())).collect()
}

/// The stages of a worker.
fn stages(
    site: &Site,
    catalog: &Catalog,
    keys: &Arc<KeyRing>,
    shadow: Option<&(Arc<Policy>, Arc<ShadowReport>)>,
) -> anyhow::Result<Vec<Stage>> {
    for name in &site.enabled {
        catalog.pipeline(name.as_str()).context("`enabled` in the site")?;
    }
    let stage = |loaded: &Loaded| -> Result<Stage, Diagnostics> {
        let shadow = shadow.map(|(policy, report)| {
            let facts = loaded.facts();
            let device = facts.device_column.as_ref().and_then(|name| facts.schema.index_of(name).ok());
            Ok(Shadow::new(policy.judge(&facts)?, device, report.clone()))
        });
        Ok(loaded.stage(&catalog.policy, keys)?.with_shadow(shadow.transpose()?))
    };
    Ok(site.running(catalog).map(stage).collect::<Result<_, _>>()?)
}

/// The devices that a policy lists.
pub(crate) fn registered(policy: &Policy) -> impl Iterator<Item = Arc<str>> {
    policy.sites().flat_map(|site| site.all_devices().map(|(_, device)| device.clone()))
}

/// What a second policy finds: nothing yet.
fn shadow_report(catalog: &Catalog, shadow: &Policy, metrics: &Arc<Metrics>) -> Arc<ShadowReport> {
    let registered = registered(&catalog.policy).chain(registered(shadow)).collect();
    let in_force = catalog.policy.version().clone();
    Arc::new(ShadowReport::new(shadow.version().clone(), in_force, registered, metrics.clone()))
}

/// Whether the policy knows the zones of all stores.
///
/// # Errors
/// One problem for each that it does not know, with the nearest.
pub(crate) fn check_zones(site: &Site, policy: &Policy) -> Result<(), Diagnostics> {
    let problems = unknown_zones("policy", "`stores` in the site", site.stores.keys(), policy);
    if problems.is_empty() { Ok(()) } else { Err(Diagnostics(problems)) }
}

/// A problem in `file` for each zone that `what` names and the policy does not know, with the nearest.
pub(crate) fn unknown_zones<'a>(
    file: &str,
    what: &str,
    named: impl Iterator<Item = &'a ZoneId>,
    policy: &Policy,
) -> Vec<Diagnostic> {
    let known: Vec<&str> = policy.zones().map(|zone| zone.id.as_str()).collect();
    let unknown = named.filter(|zone| !known.contains(&zone.as_str()));
    let problem = |zone: &ZoneId| Diagnostic {
        suggestion: nearest(zone.as_str(), known.iter().copied()),
        ..whole_file(file, format!("{what} names zone `{zone}`, which the policy does not know"))
    };
    unknown.map(problem).collect()
}

/// Checks the roots and opens every store; the home zone's also as the home store.
async fn open_stores(
    site: &Site,
    catalog: &Catalog,
    keys: Arc<KeyRing>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Stores, Vec<Arc<DeltaStore>>, Arc<DeltaStore>)> {
    check_zones(site, &catalog.policy)?;
    site.check_roots()?;
    let mut opened = BTreeMap::new();
    let mut key = site.receipts.key()?;
    match &key {
        Some(key) => tracing::info!(event = "receipt-key", key = key.public().id(), "receipts are signed"),
        None => tracing::warn!(event = "unsigned-receipts", "receipts are not signed, as the site allows"),
    }
    for (zone, root) in &site.stores {
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
    let all = opened.values().cloned().collect();
    let zones = opened.into_iter().map(|(zone, store)| (zone, store as Arc<dyn ZoneStore>)).collect();
    let past = Arc::new(HomePast::new(home.clone(), catalog, keys, tokio::runtime::Handle::current()));
    Ok((Stores { zones, home: home.clone(), past }, all, home))
}
