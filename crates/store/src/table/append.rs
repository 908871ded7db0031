//! Appending: what is decided on a state of the table is staged, and committed against that state and no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use situs_model::invariant::Invariant;
use situs_model::planted::{self, Bug};
use situs_model::store::{Appended, EncodedRows};
use situs_model::{Decision, Epoch, FileFact, Source};

use super::{Outcome, TRIES, Table, pause};
use crate::chain::{self, Hash, Head};
use crate::encode::files::{self, Written};
use crate::encode::{self, Encoded, Encoder};
use crate::error::Fault;
use crate::lease::Staging;
use crate::log::{CommitId, Partitions, TableState};
use crate::work::{Claim, Keep, Rows, Work, refusal};
use crate::{disk, entry, schema};

/// Files that were written for an outcome of the decisions.
struct Placed {
    decisions: Vec<(Source, Decision)>,
    /// What the receipts in them continue.
    previous: Vec<Option<Hash>>,
    /// The newest receipts once the files are committed, by application id.
    heads: Vec<(String, Head)>,
    files: Vec<Written>,
    /// Since before the first of the files.
    staging: Arc<Staging>,
}

impl Table {
    /// Appends rows and moves offsets in one commit, or finds that this was done before.
    pub(crate) async fn append(&self, work: &Work) -> Result<Appended, Fault> {
        let rows = match &work.rows {
            Rows::Encoded(rows) => Some(rows.clone()),
            Rows::Batches(batches) => Some(self.encode(work, batches.clone()).await?),
            Rows::Receipts(_) => None,
        };
        let encoded = match &rows {
            Some(rows) => Some(rows.inner::<Encoded>().ok_or_else(other_kind)?),
            None => None,
        };
        if let Some(encoded) = encoded
            && encoded.store != self.identity
        {
            self.metrics.permits_refused.with_label_values(&[self.identity.zone.as_str()]).inc();
            return Err(Fault::stop(format!("rows have a permit for {}", encoded.store)));
        }
        work.check(encoded)?;
        let columns = match &work.rows {
            Rows::Receipts(receipts) => receipts.columns(),
            Rows::Encoded(_) | Rows::Batches(_) => encoded.and_then(|encoded| encoded.rows.clone()),
        };
        let mut state = self.state.lock().await;
        let result = self.append_to(&mut state, work, rows.as_ref(), columns.as_ref()).await;
        if result.is_err() {
            // After an error nothing that is remembered is trusted.
            *state = None;
        }
        result
    }

    async fn append_to(
        &self,
        state: &mut Option<TableState>,
        work: &Work,
        rows: Option<&EncodedRows>,
        columns: Option<&SchemaRef>,
    ) -> Result<Appended, Fault> {
        let mut placed: Option<Placed> = None;
        let started = Instant::now();
        let mut conflicts = 0;
        loop {
            let step = self.try_once(state, work, rows, columns, &mut placed).await;
            let (decisions, outcome) = match step {
                Ok(step) => step,
                Err(fault) => {
                    self.discard(placed);
                    return Err(fault);
                }
            };
            let done = |version, files: Vec<FileFact>| Appended {
                version,
                files,
                decisions,
                conflicts,
                commit: started.elapsed(),
            };
            match outcome {
                None => {
                    self.discard(placed);
                    return Ok(done(None, Vec::new()));
                }
                Some(Outcome::Committed(version)) => {
                    let files = placed.map(|placed| placed.files).unwrap_or_default();
                    self.count(&files);
                    return Ok(done(Some(version), files.into_iter().map(|file| file.fact).collect()));
                }
                Some(Outcome::Failed(fault)) => {
                    self.discard(placed);
                    return Err(fault);
                }
                // The files stay: a commit may name them.
                Some(Outcome::Unknown(fault)) => return Err(fault),
                Some(Outcome::Conflict) => {
                    conflicts += 1;
                    self.metrics.commit_conflicts.with_label_values(&[self.identity.zone.as_str()]).inc();
                    if conflicts >= TRIES {
                        self.discard(placed);
                        return Err(self.crowded());
                    }
                    disk::pause(pause(conflicts)).await;
                }
            }
        }
    }

    /// Reads the newest state, decides on it, and commits against it and no other. `None` if there is
    /// nothing to commit.
    async fn try_once(
        &self,
        state: &mut Option<TableState>,
        work: &Work,
        rows: Option<&EncodedRows>,
        columns: Option<&SchemaRef>,
        placed: &mut Option<Placed>,
    ) -> Result<(Vec<(Source, Decision)>, Option<Outcome>), Fault> {
        self.freshen(state).await?;
        let mut decisions = match placed {
            Some(placed) if planted::is(Bug::FreshSnapshot) => placed.decisions.clone(),
            _ => self.decide(state.as_ref(), work)?,
        };
        if state.is_none() && keeps(&decisions).any(|keep| keep != Keep::Nothing) {
            let Some(columns) = columns else {
                // No rows and no table: the receipts say how far the partitions are.
                return Ok((decisions, None));
            };
            self.create(columns, work.layout).await?;
            // Ours or another's, the table is there now; and whoever made it may have committed too.
            self.freshen(state).await?;
            decisions = self.decide(state.as_ref(), work)?;
        }
        let keeps: Vec<Keep> = keeps(&decisions).collect();
        if keeps.iter().all(|keep| *keep == Keep::Nothing) {
            return Ok((decisions, None));
        }
        let previous = self.previous(state.as_mut(), work, &keeps).await?;
        let Some(current) = state.as_ref() else {
            return Err(self.vanished());
        };
        let widened = match columns {
            Some(columns) => schema::widened(&current.schema, columns)
                .map_err(|fault| Fault::stop(format!("table `{}`: {}", self.name, fault.message)))?,
            None => None,
        };
        if placed.as_ref().is_none_or(|placed| placed.decisions != decisions || placed.previous != previous) {
            self.discard(placed.take());
            *placed = Some(self.place_new(work, rows, &decisions, previous).await?);
        }
        let Some(Placed { files, staging, .. }) = placed else {
            return Err(Fault::stop("nothing was staged"));
        };
        let bytes = entry::append(current, widened.as_ref(), work, &keeps, files)?;
        let staging = staging.clone();
        let flush: Arc<str> = work.facts.flush_id.as_str().into();
        let versions = Some(Arc::new(work.facts.versions()));
        let apply = |partitions: &mut Partitions, version| {
            let topic_ids = Arc::new(work.topic_ids().map(|(id, topic)| (id.to_owned(), topic)).collect());
            let commit = CommitId { version, flush: Some(flush), versions, topic_ids };
            for (claim, keep) in work.claims.iter().zip(&keeps) {
                if *keep != Keep::Nothing {
                    partitions.take(&claim.app_id, claim.range.end.0, Some(&commit));
                }
            }
        };
        let outcome = self.commit(state, bytes, widened.is_some(), staging, apply).await;
        if let (Outcome::Committed(_), Some(state), Some(placed)) = (&outcome, state, placed) {
            state.heads.extend(placed.heads.iter().cloned());
        }
        Ok((decisions, Some(outcome)))
    }

    /// The hashes of the receipts that those of this append continue, one for each claim; empty if it
    /// appends none. Decided on the state that the commit is made against, since another process may have
    /// settled between.
    async fn previous(
        &self,
        state: Option<&mut TableState>,
        work: &Work,
        keeps: &[Keep],
    ) -> Result<Vec<Option<Hash>>, Fault> {
        let (Rows::Receipts(_), Some(state)) = (&work.rows, state) else { return Ok(Vec::new()) };
        let kept = work.claims.iter().zip(keeps).filter(|(_, keep)| **keep != Keep::Nothing);
        self.find_heads(state, kept.map(|(claim, _)| &claim.source)).await?;
        let mut previous = Vec::with_capacity(work.claims.len());
        for (claim, keep) in work.claims.iter().zip(keeps) {
            let head = state.head(&claim.app_id);
            let ids = head.and_then(|head| head.topic_id).zip(claim.topic_id);
            if let Some((before, now)) = ids.filter(|(before, now)| before != now)
                && *keep != Keep::Nothing
            {
                // Whoever takes over compares before it reads; this is the last guard.
                return Err(Fault::stop(format!(
                    "{}: what is settled is of the topic with id {before}, so a receipt of the topic with id {now} \
                     cannot continue it",
                    claim.source
                )));
            }
            previous.push(head.and_then(|head| head.hash.clone()));
        }
        Ok(previous)
    }

    /// Makes sure that the newest receipts of partitions are known, of those that have one.
    pub(super) async fn find_heads(
        &self,
        state: &mut TableState,
        sources: impl Iterator<Item = &Source>,
    ) -> Result<(), Fault> {
        let mut unknown = Vec::new();
        for source in sources {
            let app_id = source.app_id();
            if let Some(progress) = state.partitions.progress(&app_id)
                && state.head(&app_id).is_none()
            {
                let progress = progress.clone();
                unknown.push((app_id, source.clone(), progress));
            }
        }
        if !unknown.is_empty() {
            let folder = self.folder.clone();
            state.heads.extend(disk::blocking(move || chain::heads(&folder, &unknown)).await??);
        }
        Ok(())
    }

    /// Writes the files of an outcome of the decisions.
    async fn place_new(
        &self,
        work: &Work,
        rows: Option<&EncodedRows>,
        decisions: &[(Source, Decision)],
        previous: Vec<Option<Hash>>,
    ) -> Result<Placed, Fault> {
        let staging = self.leases.stage();
        let keeps: Vec<Keep> = keeps(decisions).collect();
        let (files, heads) = match (&work.rows, rows) {
            (Rows::Receipts(receipts), _) => {
                let linked = receipts.link(&previous)?;
                let rows = self.encode(work, linked.rows).await?;
                let head = |(claim, hash): (&Claim, Hash)| {
                    (
                        claim.app_id.clone(),
                        Head { end: claim.range.end, hash: Some(hash), topic_id: claim.topic_id },
                    )
                };
                let heads = work.claims.iter().zip(linked.hashes).zip(&keeps);
                let heads = heads.filter(|(_, keep)| **keep != Keep::Nothing).map(|(new, _)| head(new));
                (self.place(work, &rows, &keeps).await?, heads.collect())
            }
            (_, Some(rows)) => (self.place(work, rows, &keeps).await?, Vec::new()),
            (_, None) => return Err(other_kind()),
        };
        Ok(Placed { decisions: decisions.to_vec(), previous, heads, files, staging })
    }

    fn decide(&self, state: Option<&TableState>, work: &Work) -> Result<Vec<(Source, Decision)>, Fault> {
        let mut decisions = Vec::with_capacity(work.claims.len());
        for claim in &work.claims {
            let progress = state.and_then(|state| state.partitions.progress(&claim.app_id));
            let epoch = state.map_or_else(Epoch::default, |state| state.partitions.epoch(&claim.source));
            let decision = claim.decide(progress, epoch, &work.facts.flush_id);
            if let Some(fault) = refusal(&claim.source, claim.range, decision) {
                // A zombie that is fenced is the promise kept; only a gap would break it.
                if matches!(decision, Decision::Gap { .. }) {
                    self.metrics.invariant_violations.with_label_values(&[Invariant::Eo3.as_str()]).inc();
                }
                return Err(fault);
            }
            decisions.push((claim.source.clone(), decision));
        }
        Ok(decisions)
    }

    /// Rows of an append, encoded.
    async fn encode(&self, work: &Work, batches: Vec<(Source, RecordBatch)>) -> Result<EncodedRows, Fault> {
        let (identity, layout) = (self.identity.clone(), work.layout);
        let facts = entry::file_facts(&self.identity, &work.facts);
        disk::blocking(move || {
            let mut encoder = Encoder::new(identity.clone(), layout);
            for (source, rows) in &batches {
                encoder.add(source, rows)?;
            }
            encode::finish(&identity, vec![Box::new(encoder)], &facts).map(Encoded::into_rows)
        })
        .await?
    }

    /// Writes those rows that are to be kept into files that no commit names yet.
    async fn place(&self, work: &Work, rows: &EncodedRows, keeps: &[Keep]) -> Result<Vec<Written>, Fault> {
        let keep_of: HashMap<Source, Keep> =
            work.claims.iter().zip(keeps).map(|(claim, keep)| (claim.source.clone(), *keep)).collect();
        let keep_of = move |source: &Source| keep_of.get(source).copied().unwrap_or(Keep::Nothing);
        let facts = entry::file_facts(&self.identity, &work.facts);
        let (identity, layout, folder) = (self.identity.clone(), work.layout, self.folder.clone());
        let (rows, flush_id) = (rows.clone(), work.facts.flush_id.clone());
        disk::blocking(move || {
            let rows = rows.inner::<Encoded>().ok_or_else(other_kind)?;
            rows.kept(keep_of, layout, &identity, &facts)?.write(&folder, layout.day, &flush_id)
        })
        .await?
    }

    fn discard(&self, placed: Option<Placed>) {
        if let Some(placed) = placed {
            files::discard(&self.folder, &placed.files);
        }
    }

    fn count(&self, files: &[Written]) {
        let labels = [self.identity.zone.as_str(), self.name.as_str()];
        self.metrics.files_written.with_label_values(&labels).inc_by(files.len() as u64);
        let bytes = files.iter().map(|file| file.fact.bytes).sum();
        self.metrics.file_bytes_written.with_label_values(&labels).inc_by(bytes);
    }
}

fn other_kind() -> Fault {
    Fault::stop("the rows were encoded for another kind of store")
}

/// Which rows the decisions keep.
fn keeps(decisions: &[(Source, Decision)]) -> impl Iterator<Item = Keep> {
    decisions.iter().map(|(_, decision)| (*decision).into())
}
