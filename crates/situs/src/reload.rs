//! Changing to a new policy without a restart: when its file or a file of devices changes, or on SIGHUP.
//!
//! What is read here is checked as at the start, by the same code. A policy with a problem changes nothing:
//! the problems are logged, and the one before stays in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use situs_ingest::Control;
use situs_model::ContentVersion;
use situs_model::doc::Diagnostics;
use situs_model::store::{HomeStore as _, Text};
use situs_observe::Metrics;
use situs_policy::{Judge, Policy};
use situs_store::DeltaStore;
use tokio::sync::Notify;

use crate::catalog::{Catalog, Loaded, load_pipelines};
use crate::run;
use crate::site::Site;

/// How often it is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(5);

/// What is needed to change the policy of a home that runs.
pub(crate) struct Reload {
    pub(crate) site: Site,
    pub(crate) catalog: Catalog,
    pub(crate) home: Arc<DeltaStore>,
    pub(crate) control: Arc<Control>,
    pub(crate) metrics: Arc<Metrics>,
    /// Told when somebody asks for it.
    pub(crate) asked: Arc<Notify>,
}

/// A policy that was read, with its judges for each worker.
struct Read {
    policy: Arc<Policy>,
    judges: Vec<Vec<Judge>>,
}

/// When a file was changed, and its size; `None` if it is not there.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Reload {
    /// Watches until it is dropped.
    pub(crate) async fn watch(mut self) {
        let mut stamp = self.stamp();
        let mut told: Option<Diagnostics> = None;
        loop {
            let asked = tokio::select! {
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK), if self.site.policy_reload => false,
            };
            let now = self.stamp();
            if !asked && now == stamp {
                continue;
            }
            if asked {
                self.name_what_needs_a_restart();
            }
            let (site, pipelines) = (self.site.clone(), self.catalog.pipelines.clone());
            // Reading a hundred thousand devices takes a moment.
            let read = tokio::task::spawn_blocking(move || read(&site, &pipelines)).await;
            match read {
                Ok(Ok(read)) => {
                    self.metrics.policy_rejected.set(0);
                    told = None;
                    if self.take(read, asked).await {
                        stamp = now;
                    }
                }
                Ok(Err(problems)) => {
                    self.metrics.policy_rejected.set(1);
                    if asked || told.as_ref() != Some(&problems) {
                        for problem in &problems.0 {
                            tracing::error!(
                                event = "policy-rejected",
                                in_force = self.catalog.policy.version().as_str(),
                                "{problem}"
                            );
                        }
                    }
                    told = Some(problems);
                    stamp = now;
                }
                // Its panic has been logged.
                Err(_) => stamp = now,
            }
        }
    }

    /// Asks the intake to change to what was read; whether that is done.
    async fn take(&mut self, read: Read, asked: bool) -> bool {
        let Read { policy, judges } = read;
        let version: ContentVersion = policy.version().clone();
        if version == *self.catalog.policy.version() {
            if asked {
                tracing::info!(
                    event = "policy-unchanged",
                    policy = version.as_str(),
                    "it is in force already"
                );
            }
            return true;
        }
        // Before anything is judged by it: whoever finishes what this process began needs the text.
        if let Err(error) = self.home.archive(Text::Policy, &version, policy.text()).await {
            tracing::warn!(event = "policy-waits", "{error}");
            return false;
        }
        tracing::info!(
            event = "policy-read",
            policy = version.as_str(),
            in_force = self.catalog.policy.version().as_str(),
            "a new policy takes effect once everything that was read is settled"
        );
        self.control.change_policy(version, judges);
        self.catalog.policy = policy;
        true
    }

    fn name_what_needs_a_restart(&self) {
        let (now, problems) = load_pipelines(&self.site.library);
        let texts = |pipelines: &[Loaded]| -> Vec<(String, String, String)> {
            let text = |loaded: &Loaded| {
                (loaded.folder.clone(), loaded.texts.pipeline.clone(), loaded.texts.schema.clone())
            };
            pipelines.iter().map(text).collect()
        };
        if !problems.is_empty() || texts(&now) != texts(&self.catalog.pipelines) {
            tracing::warn!(
                event = "needs-a-restart",
                "pipelines or schemas have changed: only the policy is read again while it runs"
            );
        }
    }

    fn stamp(&self) -> Stamp {
        let files = self.site.library.policy_files();
        let of = |path: &PathBuf| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        };
        files.into_iter().map(|path| (path.clone(), of(&path))).collect()
    }
}

/// Reads the policy and makes it ready for every worker.
fn read(site: &Site, pipelines: &[Loaded]) -> Result<Read, Diagnostics> {
    let catalog = Catalog::with_policy(pipelines.to_vec(), site.library.policy()?)?;
    run::check_zones(site, &catalog.policy)?;
    let judges = (0..site.workers).map(|_| run::judges(site, &catalog)).collect::<Result<_, _>>()?;
    Ok(Read { policy: catalog.policy, judges })
}
