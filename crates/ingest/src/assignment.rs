//! What happens when the group gives partitions and takes them away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use situs_model::Source;
use situs_model::planted::{self, Bug};
use situs_model::store::{Advice, Tenure};

use crate::client::{Begin, Client, ClientError, Rebalance, Start};
use crate::error::IngestError;
use crate::intake::{Intake, Partition};
use crate::partition;
use crate::takeover::{DISPUTE_PAUSE, PATIENCE};
use crate::worker::{Adopted, Position};

/// How long a partition may take to be moved.
const SEEK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the broker may take to tell where partitions end, all together. The group waits meanwhile, and
/// the broker fences a static member that does not answer it while it comes back (docs/chaos.md).
const ENDS_TIMEOUT: Duration = Duration::from_secs(3);
/// The same if nothing can go on without.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(30);

impl<C: Client> Intake<'_, C> {
    /// Starts partitions again at their settled offsets, dropping what is buffered of them (and of others
    /// of the same pipeline, which start again too).
    pub(crate) fn rewind(&mut self, sources: &[Source]) -> Result<(), IngestError> {
        let mut again: Vec<Source> =
            sources.iter().filter(|source| self.place(source).is_some()).cloned().collect();
        if again.is_empty() {
            return Ok(());
        }
        // No worker may read between the moment in which it forgets a partition and the one in which
        // messages come from the new position.
        let held = self.workers.are_held();
        self.workers.hold()?;
        let others = self.workers.forget(&again)?;
        // One more turn: those others have nothing buffered any more, but they have positions.
        again.extend(others);
        self.workers.forget(&again)?;
        let tenures = self.settled_again(&again)?;
        self.remove(&again);
        match tenures {
            Some(tenures) => {
                let list = self.adopt(&tenures)?;
                self.start_at(&list)?;
                let refused = again.iter().filter(|source| self.refused.contains_key(*source));
                self.pause(&Vec::from_iter(refused.cloned()))?;
            }
            None => self.stand_by(&again)?,
        }
        if !held {
            self.workers.go();
        }
        Ok(())
    }

    /// Lets partitions go that another process may own now, though the group has not said so: they wait.
    pub(crate) fn give_up(&mut self, sources: &[Source]) -> Result<(), IngestError> {
        let ours = |source: &&Source| self.place(source).is_some();
        let leaving: Vec<Source> = sources.iter().filter(ours).cloned().collect();
        if leaving.is_empty() {
            return Ok(());
        }
        let held = self.workers.are_held();
        self.workers.hold()?;
        let others = self.drop_partitions(&leaving)?;
        self.stand_by(&leaving)?;
        self.rewind(&others)?;
        if !held {
            self.workers.go();
        }
        Ok(())
    }

    /// Reads nothing of partitions that are assigned, until they can be taken over.
    fn stand_by(&mut self, sources: &[Source]) -> Result<(), IngestError> {
        self.let_wait(sources, DISPUTE_PAUSE);
        self.pause(sources)
    }

    pub(crate) fn pause(&self, sources: &[Source]) -> Result<(), IngestError> {
        if !sources.is_empty() {
            self.client.pause(sources)?;
        }
        Ok(())
    }

    /// The settled offsets of partitions that are owned already; `None` if the store does not tell for long.
    fn settled_again(&self, sources: &[Source]) -> Result<Option<BTreeMap<Source, Tenure>>, IngestError> {
        let deadline = self.host.now() + PATIENCE;
        let settled = loop {
            match self.host.block_on(self.flusher.stores.home.settled(sources)) {
                Ok(settled) => break settled,
                Err(error) if error.advice == Advice::Stop => return Err(error.into()),
                Err(error) => tracing::warn!(event = "store-retry", "{error}"),
            }
            if self.host.now() > deadline || self.control.is_stopping() {
                return Ok(None);
            }
            self.host.pause(Duration::from_millis(200));
        };
        let tenure = |source: &Source| {
            let tenure = self.partitions[self.place(source)?].tenure;
            Some((source.clone(), Tenure { settled: settled.get(source).copied(), ..tenure }))
        };
        Ok(Some(sources.iter().filter_map(tenure).collect()))
    }

    /// Moves partitions to where they begin.
    pub(crate) fn start_at(&self, list: &[Begin]) -> Result<(), IngestError> {
        list.iter().try_for_each(|(source, start)| self.seek(source, *start))
    }

    /// Moves a partition, which may have been assigned a moment ago: then the client says that it cannot
    /// yet.
    fn seek(&self, source: &Source, to: Start) -> Result<(), IngestError> {
        let deadline = self.host.now() + SEEK_TIMEOUT;
        loop {
            match self.client.seek(source, to, SEEK_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error) if self.host.now() > deadline => return Err(error.into()),
                Err(_) => self.host.pause(Duration::from_millis(50)),
            }
        }
    }

    /// Sets the client's position of all partitions but these to what their workers have read.
    ///
    /// At each cooperative rebalance the client stops all partitions and starts them again at its own idea of
    /// what was read, which is wrong in two cases: an error counts as the message in whose place it came, and
    /// a read that is under way counts nothing.
    fn put_right(&self, but: &[(String, i32)]) -> Result<(), IngestError> {
        for partition in &self.partitions {
            let Source { topic, partition: number, .. } = &partition.source;
            if but.iter().any(|(name, of)| **name == **topic && of == number) {
                continue;
            }
            let to = partition.position.next().map_or(Start::Beginning, Start::At);
            if partition.position.begun.load(Ordering::Relaxed) {
                self.seek(&partition.source, to)?;
            } else if let Err(error) = self.client.seek(&partition.source, to, SEEK_TIMEOUT) {
                // The client has not begun with it, and will at the offset that it was assigned with.
                tracing::debug!(event = "seek-failed", topic = &**topic, partition = number, "{error}");
            }
        }
        Ok(())
    }

    pub(crate) fn carry_out_rebalances(&mut self) -> Result<(), IngestError> {
        while let Some(rebalance) = self.client.next_rebalance() {
            match rebalance {
                Rebalance::Assign(list) => self.assign(&list)?,
                Rebalance::Revoke(list) => self.revoke(&list)?,
            }
        }
        Ok(())
    }

    fn assign(&mut self, list: &[(String, i32)]) -> Result<(), IngestError> {
        self.metrics.rebalances.with_label_values(&["assign"]).inc();
        let cooperative = self.client.is_cooperative();
        // The group waits for an answer, whatever happens here; without one the consumer cannot even
        // be closed.
        let (assignment, result) = match self.prepare(list, cooperative) {
            Ok(assignment) => (assignment, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        self.client.assign(&assignment)?;
        result?;
        let waiting = self.waiting.iter().map(|waiting| &waiting.source);
        self.pause(&Vec::from_iter(waiting.chain(self.refused.keys()).cloned()))?;
        if cooperative {
            self.put_right(list)?;
        }
        self.workers.go();
        self.control.assigned.store(true, Ordering::Relaxed);
        tracing::info!(event = "assigned", partitions = list.len(), "partitions assigned");
        Ok(())
    }

    /// Makes everything ready for partitions that come; the list to assign.
    fn prepare(&mut self, list: &[(String, i32)], cooperative: bool) -> Result<Vec<Begin>, IngestError> {
        self.workers.hold()?;
        if !cooperative {
            let all: Vec<Source> = self.partitions.iter().map(|p| p.source.clone()).collect();
            self.drop_partitions(&all)?;
            self.waiting.clear();
            self.refuse_no_more(|_| true);
        }
        let sources: Vec<Source> =
            list.iter().map(|(topic, partition)| self.source(topic, *partition)).collect();
        let tenures = self.take_over(&sources, PATIENCE)?;
        let mut list = self.adopt(&tenures)?;
        // The group must not wait any longer. The others are assigned too, but nothing is read of them.
        let others = sources.into_iter().filter(|source| self.place(source).is_none());
        list.extend(Vec::from_iter(others.map(|source| (source, Start::End))));
        Ok(list)
    }

    /// The offset after the last one that a partition has now.
    pub(crate) fn end_of(&self, source: &Source, deadline: Instant) -> Result<i64, ClientError> {
        loop {
            let left = deadline.saturating_duration_since(self.host.now()).max(Duration::from_millis(100));
            match self.client.end_of(source, left) {
                Ok(end) => return Ok(end),
                Err(error) if self.host.now() > deadline => return Err(error),
                Err(_) => self.host.pause(Duration::from_millis(100)),
            }
        }
    }

    /// Takes partitions up at their settled offsets; the list to assign or to seek to. Those that are shorter
    /// than that are refused, and not in it.
    pub(crate) fn adopt(&mut self, tenures: &BTreeMap<Source, Tenure>) -> Result<Vec<Begin>, IngestError> {
        let mut assignment = Vec::new();
        let mut adopted: BTreeMap<usize, Vec<Adopted>> = BTreeMap::new();
        let needed = self.config.until_caught_up;
        let deadline = self.host.now() + if needed { END_TIMEOUT } else { ENDS_TIMEOUT };
        let mut away = false;
        for (source, tenure) in tenures {
            let (source, tenure) = (source.clone(), *tenure);
            let Some(stage) = self.stage_of_topic.get(&source.topic).copied() else { continue };
            let settled = tenure.settled;
            let start = settled.map_or(Start::Beginning, |settled| Start::At(settled.0));
            let end = match (!away).then(|| self.end_of(&source, deadline)).transpose() {
                Ok(end) => end,
                Err(error) if needed => return Err(error.into()),
                // The broker is away; it is read when it is back. A partition that became shorter is found
                // then too: it goes back.
                Err(error) => {
                    away = true;
                    tracing::warn!(
                        event = "end-unknown",
                        topic = &*source.topic,
                        partition = source.partition,
                        "{error}"
                    );
                    None
                }
            };
            let target = end.filter(|_| needed);
            if let Some(settled) = settled
                && let Some(end) = end.filter(|end| *end < settled.0)
            {
                let reason = IngestError::Shrunk { partition: source.clone(), end, next: settled };
                self.refuse(source, reason);
                continue;
            }
            assignment.push((source.clone(), start));
            let position = Arc::new(Position::new(settled));
            self.control
                .positions
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert((source.topic.clone(), source.partition), position.clone());
            let worker = self.workers.choose();
            let taken = Adopted { source: source.clone(), stage, position: position.clone() };
            adopted.entry(worker).or_default().push(taken);
            self.partitions.push(Partition { source, stage, worker, tenure, position, target, unread: None });
        }
        self.partitions_changed();
        // Before anything is fetched, so that no message comes by another way.
        for (worker, partitions) in adopted {
            self.workers.adopt(worker, partitions)?;
        }
        Ok(assignment)
    }

    /// Flushes what is buffered of revoked partitions, within the drain time, and gives them up.
    fn revoke(&mut self, list: &[(String, i32)]) -> Result<(), IngestError> {
        let lost = self.client.has_lost();
        let kind = if lost { "lost" } else { "revoke" };
        self.metrics.rebalances.with_label_values(&[kind]).inc();
        tracing::info!(event = "revoked", partitions = list.len(), lost, "partitions revoked");
        if planted::is(Bug::IgnoreRevocation) {
            let sources: Vec<Source> =
                list.iter().map(|(topic, number)| self.source(topic, *number)).collect();
            return Ok(self.client.unassign(&sources)?);
        }
        // Nothing more is read until the answer was given; and nobody reads what is not to be flushed.
        let held = self.workers.hold();
        // The group waits for an answer, whatever happens here.
        let sources: Vec<Source> =
            list.iter().map(|(topic, partition)| self.source(topic, *partition)).collect();
        let result = self.let_go(&sources, lost);
        let dropped = self.drop_partitions(&sources);
        self.wait_no_more(&sources);
        self.refuse_no_more(|source| sources.contains(source));
        self.client.unassign(&sources)?;
        self.control.assigned.store(!self.partitions.is_empty(), Ordering::Relaxed);
        if self.partitions.is_empty() && self.waiting.is_empty() {
            // Nothing is left that would try again and find a store writable.
            for zone in self.flusher.stores.zones.keys() {
                self.flusher.note_writable(zone, true);
            }
        }
        held.and(result)?;
        // What was buffered of others of the same pipelines went with them.
        self.rewind(&dropped?)?;
        self.put_right(&[])?;
        self.workers.go();
        Ok(())
    }

    /// Settles what can be settled of partitions before they are given up, and ends what is still
    /// under way then. An attempt that has reached the disk may still land after it was ended here;
    /// the next owner then finds it committed and stores nothing twice (`model::decide`).
    fn let_go(&mut self, leaving: &[Source], lost: bool) -> Result<(), IngestError> {
        if !lost {
            let deadline = self.host.now() + self.config.drain_timeout;
            if !self.flush_all(deadline)? {
                tracing::warn!(event = "drain-timeout", "not everything was flushed before the revocation");
            }
        }
        let stages: BTreeSet<usize> =
            leaving.iter().filter_map(|source| self.stage_of_topic.get(&source.topic).copied()).collect();
        for stage in &stages {
            if let Some((task, _)) = self.tasks.get_mut(stage) {
                task.end();
            }
        }
        // Those that ended before they were told to are in the channel.
        while let Ok(ended) = self.ended.try_recv() {
            self.on_ended(ended)?;
        }
        for stage in stages {
            let Some((_, bytes)) = self.tasks.remove(&stage) else { continue };
            self.flushing[stage] = false;
            self.held.flushing.fetch_sub(bytes, Ordering::Relaxed);
            // Its partitions that stay assigned have to be read again from their settled offsets.
            let staying: Vec<Source> = self
                .partitions
                .iter()
                .filter(|partition| partition.stage == stage && !leaving.contains(&partition.source))
                .map(|partition| partition.source.clone())
                .collect();
            self.rewind(&staying)?;
        }
        Ok(())
    }

    /// Forgets partitions and drops what is buffered of them. The others of which something buffered had
    /// to be dropped too: they have to be read again.
    pub(crate) fn drop_partitions(&mut self, sources: &[Source]) -> Result<Vec<Source>, IngestError> {
        let others = self.workers.forget(sources);
        self.remove(sources);
        others
    }

    /// Takes partitions out of the lists.
    fn remove(&mut self, sources: &[Source]) {
        for source in sources {
            let Some(place) = self.partitions.iter().position(|p| p.source == *source) else { continue };
            let partition = self.partitions.swap_remove(place);
            self.workers.release(partition.worker);
        }
        self.partitions_changed();
    }

    /// Partitions come and go between rebalances too: those that wait, and those that are given up.
    fn partitions_changed(&mut self) {
        self.index = partition::index(self.partitions.iter().map(|partition| &partition.source));
        self.metrics.assigned_partitions.set(i64::try_from(self.partitions.len()).unwrap_or(i64::MAX));
        self.series
            .choose(self.partitions.iter().map(|partition| (&partition.source, partition.tenure.settled)));
    }
}
