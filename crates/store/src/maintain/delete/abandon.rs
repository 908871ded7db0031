//! Dropping a plan by which nothing was done yet.

use super::super::live::Live;
use super::Work;
use super::plan::{self, Plan};
use crate::entry::{self, DeletionCommits};
use crate::error::Fault;
use crate::{durable, names, tables};

/// What came of dropping a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// There is none.
    None,
    /// It is dropped, and nothing was done by it.
    Dropped,
    /// Rows went by it, so it must be finished.
    Begun,
}

impl Work {
    /// Drops a plan that no entry of a log names. Its coordinates stay: they may be those of a deletion that
    /// the ledger tells of, whose id somebody gave to another plan.
    pub(super) fn abandon(&mut self, id: &str) -> Result<Abandoned, Fault> {
        if !plan::ids(&self.root)?.iter().any(|known| known == id) {
            return Ok(Abandoned::None);
        }
        let bytes = durable::read(&names::deletion_plan(&self.root, id))?.unwrap_or_default();
        let read: Option<Plan> = serde_json::from_slice(&bytes).ok();
        for name in tables::list(&self.root)? {
            self.alive()?;
            let place = self.place(&name);
            let mut versions: Vec<u64> = durable::list(&names::log(&place.folder))?
                .iter()
                .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
                .collect();
            versions.sort_unstable();
            let mut commits = DeletionCommits::default();
            for version in &versions {
                let Some(bytes) = durable::read(&names::log_entry(&place.folder, *version))? else {
                    continue;
                };
                if !bytes.windows(id.len()).any(|part| part == id.as_bytes()) {
                    continue;
                }
                entry::note_deletion(&bytes, *version, id, &mut commits).ok_or_else(|| {
                    Fault::stop(format!("table `{name}`: entry {version} of the log cannot be understood"))
                })?;
            }
            if !commits.versions.is_empty() {
                return Ok(Abandoned::Begun);
            }
            let planned =
                read.iter().flat_map(|plan| &plan.tables).find(|table| table.table == name.as_str());
            let Some(planned) = planned else { continue };
            let Some(live) = Live::load(&place.folder, place.day())? else { continue };
            let since = planned.version.saturating_add(1)..=live.version;
            if since.into_iter().any(|version| versions.binary_search(&version).is_err()) {
                return Err(Fault::stop(format!(
                    "table `{name}`: entries of its log since version {} are gone, so it cannot be told whether deletion {id} was begun",
                    planned.version
                )));
            }
        }
        plan::forget(&self.root, id)?;
        Ok(Abandoned::Dropped)
    }
}
