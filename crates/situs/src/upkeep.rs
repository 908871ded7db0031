//! Looking after the stores while a home runs: leases, checkpoints, log clean-up, compaction, vacuum.
//!
//! All of it runs beside the commit path. What fails is logged and counted, and tried again at the next
//! turn; it never stops intake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use situs_model::TableName;
use situs_model::store::StoreError;
use situs_store::{DeltaStore, Maintenance, Optimize, Renewal, Vacuum};

/// How often leases are renewed; far less than the time after which one is revoked.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long it takes until a lease that could not be taken or renewed is tried again: without one nothing is
/// committed, so this is how long a process that began with a broken store lags behind its repair.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether a table is due for a checkpoint.
const CHECKPOINTS: Duration = Duration::from_secs(30);
/// After how many commits a table gets a checkpoint.
const COMMITS: u64 = 100;

/// The settings of maintenance, as `site.yaml` gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceSettings {
    /// How often the steps below are carried out.
    pub every: Duration,
    /// Whether small files are put together.
    pub optimizes: bool,
    /// How.
    pub optimize: Optimize,
    /// Whether files that nobody needs are removed.
    pub vacuums: bool,
    /// Which.
    pub vacuum: Vacuum,
    /// How long entries of the log are kept.
    pub log_retention: Duration,
}

impl Default for MaintenanceSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10 * 60),
            // A home that runs has better use for its CPUs.
            optimizes: true,
            optimize: Optimize { rest: true, ..Optimize::default() },
            vacuums: true,
            vacuum: Vacuum::default(),
            log_retention: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// Keeps the leases of the stores renewed, until it is dropped.
pub async fn keep_leases(stores: &[Arc<DeltaStore>]) {
    let mut pause = RENEWAL;
    let mut warned: Option<Instant> = None;
    loop {
        tokio::time::sleep(pause).await;
        pause = RENEWAL;
        for store in stores {
            match store.renew_lease().await {
                Ok(Renewal::Renewed) => {}
                Ok(Renewal::Taken) => {
                    tracing::warn!(
                        event = "lease-taken-anew",
                        "the lease on a store was lost; this is a new one"
                    );
                }
                Err(error) => {
                    pause = AGAIN;
                    if warned.is_none_or(|last| last.elapsed() >= RENEWAL) {
                        warned = Some(Instant::now());
                        tracing::warn!(event = "lease-not-renewed", "{error}");
                    }
                }
            }
        }
    }
}

/// Maintains the stores, one after the other, until it is dropped.
pub async fn maintain(stores: &[Arc<DeltaStore>], settings: &MaintenanceSettings) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(CHECKPOINTS.min(settings.every)).await;
        let whole = last.elapsed() >= settings.every;
        for store in stores {
            match store.begin_maintenance().await {
                Ok(Some(maintenance)) => turn(&maintenance, whole.then_some(settings)).await,
                // Another replica does it.
                Ok(None) => {}
                Err(error) => tracing::warn!(event = "maintenance-failed", "{error}"),
            }
        }
        if whole {
            last = Instant::now();
        }
    }
}

/// One turn over all tables of a store: checkpoints, and all that is due less often.
async fn turn(maintenance: &Maintenance, whole: Option<&MaintenanceSettings>) {
    let tables = match maintenance.tables() {
        Ok(tables) => tables,
        Err(error) => return tracing::warn!(event = "maintenance-failed", "{error}"),
    };
    for table in tables {
        note(&table, "checkpoint", maintenance.checkpoint(&table, COMMITS).await, |done| done.is_some());
        let Some(settings) = whole else { continue };
        if settings.optimizes {
            let done = maintenance.optimize(&table, &settings.optimize).await;
            note(&table, "optimize", done, |done| done.replaced.files > 0);
        }
        // Vacuum learns from the log how long ago a file was removed.
        let log_retention = settings.log_retention.max(settings.vacuum.retention);
        let done = maintenance.clean_up(&table, log_retention).await;
        note(&table, "log-clean-up", done, |done| done.entries + done.checkpoints > 0);
        if settings.vacuums {
            let done =
                maintenance.vacuum(&table, &settings.vacuum).await.map(|done| (done.replaced, done.orphans));
            note(&table, "vacuum", done, |(replaced, orphans)| replaced.files + orphans.files > 0);
        }
    }
}

/// Logs what a step did, if it did something, or why it failed.
fn note<T: std::fmt::Debug>(
    table: &TableName,
    step: &str,
    done: Result<T, StoreError>,
    did_something: impl FnOnce(&T) -> bool,
) {
    match done {
        Ok(done) if did_something(&done) => {
            tracing::info!(event = "maintained", table = %table, step, "{done:?}");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(event = "maintenance-failed", table = %table, step, "{error}"),
    }
}
