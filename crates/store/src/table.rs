//! One table and its one committer.

mod append;
mod owners;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use situs_model::planted::{self, Bug};
use situs_model::{NextOffset, StoreIdentity, TableName};
use situs_observe::Metrics;
use tokio::sync::Mutex;

use crate::error::Fault;
use crate::lease::{Leases, Staging};
use crate::log::{self, Fate, Freshness, Partitions, TableState};
use crate::work::Layout;
use crate::{disk, durable, entry, names, root, schema};

/// How often a commit is tried when others come between before the caller is told to wait.
const TRIES: u64 = 10;

/// A table of a store. Appends to it wait for each other.
#[derive(Debug)]
pub(crate) struct Table {
    name: TableName,
    root: PathBuf,
    folder: PathBuf,
    identity: StoreIdentity,
    metrics: Arc<Metrics>,
    leases: Arc<Leases>,
    /// The table as it was after the last look; `None` if it must be loaded, or does not exist.
    state: Mutex<Option<TableState>>,
    /// What shall go wrong with the next commit, for tests.
    #[cfg(test)]
    pub(crate) mishap: std::sync::Mutex<Option<Mishap>>,
}

/// What can go wrong with a commit that no file system does on request.
#[cfg(test)]
pub(crate) struct Mishap {
    pub(crate) kind: MishapKind,
    /// What happens before the log is looked at again.
    pub(crate) meanwhile: situs_model::store::BoxFuture<'static, ()>,
}

/// See [`Mishap`].
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MishapKind {
    /// The entry is written, but the answer is an error.
    LostAnswer,
    /// The entry is not written.
    Refused,
    /// Others act between the look that found no table and its creation.
    Outrun,
    /// Others act between the staging of the files and the commit, as if this process were stopped.
    Stopped,
}

#[cfg(test)]
impl std::fmt::Debug for Mishap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

/// What a try to commit came to.
enum Outcome {
    Committed(u64),
    Conflict,
    /// It failed and certainly is not in the log.
    Failed(Fault),
    /// Whether it is in the log could not be found out.
    Unknown(Fault),
}

impl Table {
    pub(crate) fn new(
        root: &Path,
        name: TableName,
        identity: StoreIdentity,
        metrics: Arc<Metrics>,
        leases: Arc<Leases>,
    ) -> Self {
        Self {
            leases,
            root: root.to_owned(),
            folder: names::table(root, &name),
            name,
            identity,
            metrics,
            state: Mutex::new(None),
            #[cfg(test)]
            mishap: std::sync::Mutex::default(),
        }
    }

    fn crowded(&self) -> Fault {
        Fault::retry(format!("table `{}`: others commit all the time", self.name))
    }

    fn vanished(&self) -> Fault {
        Fault::retry(format!("table `{}` has vanished", self.name))
    }

    /// The offsets that partitions have reached, of those that have one.
    pub(crate) async fn progress(&self, app_ids: &[String]) -> Result<Vec<Option<NextOffset>>, Fault> {
        let mut state = self.state.lock().await;
        self.freshen(&mut state).await?;
        let next = |id: &String| Some(state.as_ref()?.partitions.progress(id)?.next);
        Ok(app_ids.iter().map(next).collect())
    }

    /// Brings the state to the newest version, and makes sure that it is still this store's (RES-8).
    async fn freshen(&self, state: &mut Option<TableState>) -> Result<(), Fault> {
        // Taken out, so that nothing half refreshed stays if this fails or is dropped.
        if let Some(mut current) = state.take() {
            let folder = self.folder.clone();
            let (current, freshness) = disk::blocking(move || {
                let freshness = current.refresh(&folder);
                (current, freshness)
            })
            .await?;
            if freshness? == Freshness::Fresh {
                self.expect_store().await?;
                *state = Some(current);
                return Ok(());
            }
        }
        let loaded = log::load(&self.folder).await?;
        // Afterwards, since what was read counts only if this store was there: no table, above all.
        self.expect_store().await?;
        *state = loaded;
        Ok(())
    }

    async fn expect_store(&self) -> Result<(), Fault> {
        let (root, identity) = (self.root.clone(), self.identity.clone());
        disk::blocking(move || root::expect_store(&root, &identity)).await?
    }

    /// Creates the table; that another was faster is no error.
    async fn create(&self, columns: &SchemaRef, layout: Layout) -> Result<(), Fault> {
        #[cfg(test)]
        let outrun = self.mishap.lock().unwrap().take_if(|mishap| mishap.kind == MishapKind::Outrun);
        #[cfg(test)]
        if let Some(outrun) = outrun {
            outrun.meanwhile.await;
        }
        let bytes = entry::create(&self.name, &schema::table_schema(columns)?, layout)?;
        let (root, folder, identity) = (self.root.clone(), self.folder.clone(), self.identity.clone());
        disk::blocking(move || {
            root::expect_store(&root, &identity)?;
            durable::ensure_folder(&folder)?;
            durable::ensure_folder(&names::log(&folder))?;
            durable::create(&names::log_entry(&folder, 0), &bytes)?;
            Ok(())
        })
        .await?
    }

    /// Makes the entry the next version after the state that it was decided on, or finds that another
    /// commit is that version. Whatever the error, the log is asked for that very entry.
    async fn commit(
        &self,
        state: &mut Option<TableState>,
        bytes: Vec<u8>,
        changes_table: bool,
        staging: Arc<Staging>,
        apply: impl FnOnce(&mut Partitions, u64),
    ) -> Outcome {
        let Some(current) = state.as_mut() else { return Outcome::Failed(Fault::retry("no state")) };
        let version = current.version + 1;
        let target = names::log_entry(&self.folder, version);
        #[cfg(test)]
        let mishap = self.mishap.lock().unwrap().take();
        #[cfg(test)]
        let refused = mishap.as_ref().is_some_and(|mishap| mishap.kind == MishapKind::Refused);
        #[cfg(test)]
        let target = if refused { self.folder.join("no/entry") } else { target };
        #[cfg(test)]
        let mishap = match mishap {
            Some(Mishap { kind: MishapKind::Stopped, meanwhile }) => {
                meanwhile.await;
                None
            }
            other => other,
        };
        let bytes: Arc<[u8]> = bytes.into();
        let entry = bytes.clone();
        // The staging goes along: it lasts until the commit is decided, whoever still waits for it.
        let created = disk::blocking(move || durable::create_if(&target, &entry, || staging.check())).await;
        #[cfg(test)]
        let created = match mishap {
            Some(mishap) => {
                mishap.meanwhile.await;
                let timeout = std::io::Error::from(std::io::ErrorKind::TimedOut);
                let lost = || Ok(Err(durable::FileError::new("sync", &self.folder)(timeout)));
                if matches!(created, Ok(Ok(true))) { lost() } else { created }
            }
            None => created,
        };
        let fault: Fault = match created {
            // On a network's file system even this can be the answer to a creation that was repeated.
            Ok(Ok(false)) => Fault::retry(format!("table `{}`: entry {version} is there", self.name)),
            Ok(Ok(true)) => {
                current.version = version;
                apply(&mut current.partitions, version);
                if changes_table {
                    // The new columns are best known from the log.
                    *state = None;
                }
                return Outcome::Committed(version);
            }
            Ok(Err(error)) => error.into(),
            Err(error) => error,
        };
        if planted::is(Bug::TimeoutAsFailure) {
            return self.failed(version, &bytes, fault);
        }
        // The state stays at the version before: the next look takes in whatever is there now.
        match self.fate(version, bytes.clone()).await {
            Ok(Fate::Landed) => Outcome::Committed(version),
            Ok(Fate::Taken) => Outcome::Conflict,
            Ok(Fate::Absent) => self.failed(version, &bytes, fault),
            Err(unread) => Outcome::Unknown(fault.then(unread)),
        }
    }

    /// Says that an entry certainly is not in the log. A simulation, which can look past its own faults,
    /// holds it to that.
    #[cfg_attr(not(test), expect(unused_variables, clippy::unused_self, reason = "only a simulation looks"))]
    fn failed(&self, version: u64, bytes: &[u8], fault: Fault) -> Outcome {
        #[cfg(test)]
        crate::simulation::told_failed(&names::log_entry(&self.folder, version), bytes);
        Outcome::Failed(fault)
    }

    /// What became of an entry, provided that the log is still this store's.
    async fn fate(&self, version: u64, bytes: Arc<[u8]>) -> Result<Fate, Fault> {
        let (root, folder, identity) = (self.root.clone(), self.folder.clone(), self.identity.clone());
        disk::blocking(move || {
            let fate = log::fate(&folder, version, &bytes)?;
            root::expect_store(&root, &identity)?;
            Ok(fate)
        })
        .await?
    }
}

/// A pause that grows with the number of conflicts and differs between those who wait.
fn pause(conflicts: u64) -> Duration {
    let most = 1_u64 << conflicts.min(7);
    let random = uuid::Uuid::now_v7().as_u128() as u64;
    Duration::from_micros(500 * most + random % (1000 * most))
}
