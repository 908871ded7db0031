//! Whom a table takes anything from: the owners of partitions, as it was told of them.

use std::collections::HashMap;

use arrow_schema::SchemaRef;
use situs_model::store::{Tenure, Unsettled};
use situs_model::{Epoch, Source};

use super::{Outcome, TRIES, Table, pause};
use crate::error::Fault;
use crate::log::{self, Partitions, Progress, TableState};
use crate::work::{Layout, superseded};
use crate::{disk, entry};

impl Table {
    /// Makes a process the owner of partitions, each in an epoch after all those before, in a table that
    /// settles; in which epoch, and what was settled.
    pub(crate) async fn take_over(
        &self,
        layout: Layout,
        columns: &SchemaRef,
        sources: &[Source],
    ) -> Result<Vec<Tenure>, Fault> {
        let mut state = self.state.lock().await;
        let next =
            |state: &TableState| sources.iter().map(|s| (s, state.partitions.epoch(s).next())).collect();
        let owners = self.tell(&mut state, layout, columns, next).await?;
        let Some(state) = state.as_mut() else { return Err(self.vanished()) };
        self.find_heads(state, sources.iter()).await?;
        let tenure = |(source, epoch): (&Source, Epoch)| {
            let app_id = source.app_id();
            Tenure {
                epoch,
                settled: state.partitions.progress(&app_id).map(|progress| progress.next),
                topic_id: state.head(&app_id).and_then(|head| head.topic_id),
            }
        };
        Ok(owners.into_iter().map(tenure).collect())
    }

    /// Tells the table who owns partitions; what it has of them beyond their settled offsets.
    pub(crate) async fn fence(
        &self,
        layout: Layout,
        columns: &SchemaRef,
        tenures: &[(Source, Tenure)],
    ) -> Result<HashMap<Source, Unsettled>, Fault> {
        let mut state = self.state.lock().await;
        let owners = |_: &TableState| tenures.iter().map(|(source, tenure)| (source, tenure.epoch)).collect();
        self.tell(&mut state, layout, columns, owners).await?;
        let Some(state) = state.as_ref() else { return Err(self.vanished()) };
        let mut unsettled = HashMap::new();
        for (source, tenure) in tenures {
            let Some(progress) = state.partitions.progress(&source.app_id()) else { continue };
            if tenure.settled.is_some_and(|settled| progress.next <= settled) {
                continue;
            }
            unsettled.insert(source.clone(), self.unsettled(state, source, progress).await?);
        }
        Ok(unsettled)
    }

    /// By which texts a partition was brought to where it is, and from which topic.
    async fn unsettled(
        &self,
        state: &TableState,
        source: &Source,
        progress: &Progress,
    ) -> Result<Unsettled, Fault> {
        let (app_id, mut commit) = (source.app_id(), progress.commit.clone());
        if commit.is_none() {
            let (folder, version, id) = (self.folder.clone(), state.version, app_id.clone());
            commit = disk::blocking(move || log::commit_of(&folder, version, &id)).await??;
        }
        let topic_id = commit.as_ref().and_then(|commit| commit.topic_ids.get(&app_id).copied());
        let versions = commit.and_then(|commit| commit.versions);
        let versions = versions.map(|versions| versions.as_ref().clone()).ok_or_else(|| {
            Fault::stop(format!(
                "table `{}`: {source} is at {} here, which no receipt settles, and the log does not say any \
                 more by which policy it was written",
                self.name, progress.next
            ))
        })?;
        Ok(Unsettled { until: progress.next, versions, topic_id })
    }

    /// Tells the table of owners, unless it knows of them; who they are, by the state that it was told on.
    async fn tell<'a>(
        &self,
        state: &mut Option<TableState>,
        layout: Layout,
        columns: &SchemaRef,
        owners: impl Fn(&TableState) -> Vec<(&'a Source, Epoch)>,
    ) -> Result<Vec<(&'a Source, Epoch)>, Fault> {
        let result = self.try_to_tell(state, layout, columns, owners).await;
        if result.is_err() {
            *state = None;
        }
        result
    }

    async fn try_to_tell<'a>(
        &self,
        state: &mut Option<TableState>,
        layout: Layout,
        columns: &SchemaRef,
        owners: impl Fn(&TableState) -> Vec<(&'a Source, Epoch)>,
    ) -> Result<Vec<(&'a Source, Epoch)>, Fault> {
        for conflicts in 0..TRIES {
            if conflicts > 0 {
                self.metrics.commit_conflicts.with_label_values(&[self.identity.zone.as_str()]).inc();
                disk::pause(pause(conflicts)).await;
            }
            self.freshen(state).await?;
            if state.is_none() {
                self.create(columns, layout).await?;
                self.freshen(state).await?;
            }
            let Some(current) = state.as_ref() else { return Err(self.vanished()) };
            let owners = owners(current);
            let mut news = Vec::new();
            for (source, epoch) in &owners {
                let known = current.partitions.epoch(source);
                if known > *epoch {
                    return Err(superseded(source, known));
                }
                if known < *epoch {
                    news.push((*source, *epoch));
                }
            }
            if news.is_empty() {
                return Ok(owners);
            }
            let bytes = entry::fence(current, layout, &news)?;
            let apply = |partitions: &mut Partitions, _| {
                news.iter().for_each(|(source, epoch)| partitions.take(&source.epoch_id(), epoch.0, None));
            };
            match self.commit(state, bytes, false, self.leases.stage(), apply).await {
                Outcome::Committed(_) => return Ok(owners),
                Outcome::Conflict => {}
                Outcome::Failed(fault) | Outcome::Unknown(fault) => return Err(fault),
            }
        }
        Err(self.crowded())
    }
}
