//! Changing to a new policy without a restart: when its file or a file of devices changes, or on SIGHUP. Then the
//! site is read again too.
//!
//! What is read here is checked as at the start, by the same code. A policy with a problem changes nothing:
//! the problems are logged, and the one before stays in force.

mod site;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use situs_ingest::{Control, ShadowReport};
use situs_model::ContentVersion;
use situs_model::doc::Diagnostics;
use situs_model::store::{HomeStore as _, StoreError, Text};
use situs_observe::Metrics;
use situs_policy::{Judge, Policy};
use situs_store::DeltaStore;
use tokio::sync::Notify;

use crate::catalog::{Catalog, Loaded, load_pipelines};
use crate::gauges::CurrentPolicy;
use crate::library::Library;
use crate::run;
use crate::site::Site;

/// How often it is looked whether a file has changed, and how long one must have rested.
const LOOK: Duration = Duration::from_secs(5);

/// What is needed to change the policy of a home that runs.
pub(crate) struct Reload {
    pub(crate) site: Site,
    /// With the policy that was asked for last.
    pub(crate) catalog: Catalog,
    pub(crate) home: Arc<DeltaStore>,
    /// All stores.
    pub(crate) stores: Vec<Arc<DeltaStore>>,
    pub(crate) control: Arc<Control>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shadow: Option<Arc<ShadowReport>>,
    /// The policy that was in force at the start.
    pub(crate) started_with: ContentVersion,
    /// Told when somebody asks for it.
    pub(crate) asked: Arc<Notify>,
    /// Where others look which policy was asked for last.
    pub(crate) policy: CurrentPolicy,
}

/// A policy that was read, with its judges for each worker.
struct Ready {
    policy: Arc<Policy>,
    judges: Vec<Vec<Judge>>,
}

/// The files of a policy as they are; nothing of a file that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// What changes when a file does: inode, size, times of content and of inode in s and ns.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

impl Stamps {
    async fn of(library: &Library) -> Self {
        let library = library.clone();
        let look = move || {
            let stamp = |path: &PathBuf| {
                let facts = std::fs::metadata(path).ok()?;
                let times = ((facts.mtime(), facts.mtime_nsec()), (facts.ctime(), facts.ctime_nsec()));
                Some((facts.ino(), facts.size(), times.0, times.1))
            };
            library.policy_files().into_iter().map(|path| (path.clone(), stamp(&path))).collect()
        };
        // A folder of a network's file system may take its time.
        Self(tokio::task::spawn_blocking(look).await.unwrap_or_default())
    }
}

/// What is known of the files of a policy: when they are read, and for whom.
#[derive(Debug, Default)]
struct Files {
    /// Whether a change alone is a reason to read them.
    watched: bool,
    /// As they were when they were read. At first nothing is known: what has changed since the start read them is
    /// found at the first look.
    taken: Stamps,
    /// As they were at the last look.
    last: Stamps,
    /// Somebody asked for them, and they moved while they were read: whoever asked is not told again, so it is
    /// looked until they rest.
    owed: bool,
}

impl Files {
    /// Whether a look may be a reason to read them, though nobody asks.
    fn may_be_due(&self) -> bool {
        self.watched || self.owed
    }

    /// Looks at the files, `asked` by somebody or by itself. If they are to be read: whether it is since somebody
    /// has asked, now or before.
    fn look(&mut self, now: &Stamps, asked: bool) -> Option<bool> {
        // One that was written a moment ago may be half of what it is to become.
        let rested = *now == self.last;
        self.last = now.clone();
        let owed = self.owed && rested;
        let changed = self.watched && rested && *now != self.taken;
        (asked || owed || changed).then_some(asked || self.owed)
    }

    /// They changed while they were read.
    fn moved(&mut self, asked: bool) {
        self.owed |= asked;
    }

    /// They were read, as they were at that look.
    fn took(&mut self, now: Stamps) {
        self.taken = now;
        self.owed = false;
    }
}

/// What became of the files of a policy.
enum Outcome {
    /// It is in force already.
    Same,
    Rejected(Diagnostics),
    Ready(Ready),
    /// They changed while they were read.
    Moving,
}

impl Reload {
    /// Watches until it is dropped.
    pub(crate) async fn watch(mut self) {
        let mut files = Files { watched: self.site.policy_reload, ..Files::default() };
        let mut waiting: Option<Ready> = None;
        let mut told: Option<Diagnostics> = None;
        loop {
            let looks = files.may_be_due() || waiting.is_some();
            let asked = tokio::select! {
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK), if looks => false,
            };
            let now = Stamps::of(&self.site.library).await;
            if asked {
                self.read_site().await;
                self.name_what_needs_a_restart().await;
            }
            if let Some(asked) = files.look(&now, asked) {
                match self.read(&now).await {
                    Outcome::Moving => {
                        files.moved(asked);
                        continue;
                    }
                    Outcome::Rejected(problems) => {
                        self.reject(&problems, asked || told.as_ref() != Some(&problems));
                        told = Some(problems);
                    }
                    Outcome::Same => {
                        (told, waiting) = (None, None);
                        self.metrics.policy_rejected.set(0);
                        if asked {
                            let policy = self.catalog.policy.version().as_str();
                            tracing::info!(event = "policy-unchanged", policy, "it is what was read last");
                        }
                    }
                    Outcome::Ready(ready) => {
                        (told, waiting) = (None, Some(ready));
                        self.metrics.policy_rejected.set(0);
                    }
                }
                files.took(now);
            }
            let Some(ready) = waiting.take() else { continue };
            match self.prepare(&ready).await {
                Ok(()) => self.ask(ready),
                Err(error) => {
                    tracing::warn!(event = "policy-waits", "{error}");
                    waiting = Some(ready);
                }
            }
        }
    }

    async fn read(&self, stamps: &Stamps) -> Outcome {
        let (site, catalog) = (self.site.clone(), self.catalog.clone());
        // Reading a hundred thousand devices takes a moment.
        let read = tokio::task::spawn_blocking(move || read(&site, &catalog)).await;
        // Its panic has been logged.
        let Ok(read) = read else { return Outcome::Same };
        if Stamps::of(&self.site.library).await != *stamps {
            return Outcome::Moving;
        }
        match read {
            Ok(None) => Outcome::Same,
            Ok(Some(ready)) => Outcome::Ready(ready),
            Err(problems) => Outcome::Rejected(problems),
        }
    }

    fn reject(&self, problems: &Diagnostics, tells: bool) {
        self.metrics.policy_rejected.set(1);
        if tells {
            for problem in &problems.0 {
                tracing::error!(event = "policy-rejected", "{problem}");
            }
        }
    }

    /// Does what must be done before anything is judged by a policy: its text is kept, since whoever finishes
    /// what this process began needs it, and every store is seen to take something, since all are told when
    /// partitions are taken over again.
    async fn prepare(&self, ready: &Ready) -> Result<(), StoreError> {
        for store in &self.stores {
            store.renew_lease().await?;
        }
        self.home.archive(Text::Policy, ready.policy.version(), ready.policy.text()).await
    }

    /// Asks the intake to change to what was read.
    fn ask(&mut self, ready: Ready) {
        let Ready { policy, judges } = ready;
        let before = self.control.policy_in_force();
        let before = before.unwrap_or_else(|| self.started_with.clone());
        tracing::info!(
            event = "policy-read",
            policy = policy.version().as_str(),
            before = before.as_str(),
            "a new policy takes effect once everything that was read is settled"
        );
        if let Some(shadow) = &self.shadow {
            shadow.may_name(run::registered(&policy));
        }
        self.control.ask_for_policy(policy.version().clone(), judges);
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy.clone();
        self.catalog.policy = policy;
    }

    async fn name_what_needs_a_restart(&self) {
        let library = self.site.library.clone();
        let read = tokio::task::spawn_blocking(move || load_pipelines(&library)).await;
        let Ok((now, problems)) = read else { return };
        let texts = |pipelines: &[Loaded]| -> Vec<(String, String, String)> {
            let text = |loaded: &Loaded| {
                (loaded.folder.clone(), loaded.texts.pipeline.clone(), loaded.texts.schema.clone())
            };
            pipelines.iter().map(text).collect()
        };
        if !problems.is_empty() || texts(&now) != texts(&self.catalog.pipelines) {
            tracing::warn!(
                event = "needs-a-restart",
                "pipelines or schemas have changed: they take effect at the next start"
            );
        }
    }
}

/// Reads the policy and makes it ready for every worker; `None` if it is that of the catalog.
fn read(site: &Site, catalog: &Catalog) -> Result<Option<Ready>, Diagnostics> {
    let policy = site.library.policy()?;
    if policy.version() == catalog.policy.version() {
        return Ok(None);
    }
    let catalog = catalog.with_policy(policy)?;
    run::check_zones(site, &catalog.policy)?;
    // Its zones may need keys that nobody has named.
    site.key_ring(&catalog)?;
    let judges = (0..site.workers).map(|_| run::judges(site, &catalog)).collect::<Result<_, _>>()?;
    Ok(Some(Ready { policy: catalog.policy, judges }))
}

#[cfg(test)]
mod tests;
