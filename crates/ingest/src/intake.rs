//! The loop that owns the consumer: it follows the group's assignments, starts flushes and keeps count
//! of what is settled. Messages go to the workers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use situs_model::invariant::Invariant;
use situs_model::planted::{self, Bug};
use situs_model::store::{Share, Tenure};
use situs_model::{ContentVersion, Counts, NextOffset, Source};
use situs_observe::Metrics;
use tokio::runtime::Handle;

use crate::client::{Client, Polled, TopicIds};
use crate::config::{Config, Stores};
use crate::definition::Definition;
use crate::error::IngestError;
use crate::flush::{Ended, Flusher, Outcome};
use crate::held::Held;
use crate::host::{Host, Process, Task};
use crate::kafka::Kafka;
use crate::lag::{Flushed, Series, Standing};
use crate::pace::Pace;
use crate::partition::Index;
use crate::reload::{self, NextPolicy};
use crate::stage::Stage;
use crate::takeover::Waiting;
use crate::worker::Position;
use crate::workers::Workers;

/// How long the loop waits for news of the group before it looks at everything else.
const TICK: Duration = Duration::from_millis(10);

/// How far each partition was read, by topic and number.
type Positions = HashMap<(Arc<str>, i32), Arc<Position>>;

/// Lets others stop a running intake and see how it does.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    pub(crate) assigned: AtomicBool,
    pub(crate) lag: RwLock<Option<u64>>,
    pub(crate) standings: RwLock<Arc<[Standing]>>,
    pub(crate) flushes: Mutex<VecDeque<Flushed>>,
    pub(crate) next_policy: Mutex<Option<NextPolicy>>,
    pub(crate) policy_in_force: Mutex<Option<ContentVersion>>,
    pub(crate) positions: RwLock<Positions>,
}

impl Control {
    /// Asks the intake to drain, flush, leave the group and return.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the group has answered with an assignment (even an empty one).
    pub fn is_assigned(&self) -> bool {
        self.assigned.load(Ordering::Relaxed)
    }

    /// Messages between the settled offsets and the ends of the assigned partitions; `None` until
    /// the broker has told the ends.
    pub fn lag(&self) -> Option<u64> {
        *self.lag.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset of a partition to read next; 0 while it is not assigned or nothing has come.
    /// A producer that must not run ahead of an in-memory broker's retention looks here.
    pub fn position(&self, topic: &str, partition: i32) -> i64 {
        let positions = self.positions.read().unwrap_or_else(PoisonError::into_inner);
        positions.get(&(topic.into(), partition)).and_then(|position| position.next()).unwrap_or(0)
    }
}

/// What a run did, counted from settled flushes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where every message and row went.
    pub counts: Counts,
    /// The settled offset of every partition that this process owned, at the end.
    pub settled: Vec<(Source, NextOffset)>,
}

/// An assigned partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) source: Source,
    pub(crate) stage: usize,
    /// The worker that owns it.
    pub(crate) worker: usize,
    pub(crate) tenure: Tenure,
    /// How far it was read.
    pub(crate) position: Arc<Position>,
    /// With `until_caught_up`: where the partition ended at the assignment.
    pub(crate) target: Option<i64>,
    /// Since when there is something to read of which nothing came, as far as is known.
    pub(crate) unread: Option<Instant>,
}

/// The intake's state; one thread owns it.
pub(crate) struct Intake<'a, C: Client> {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) config: &'a Config,
    pub(crate) definitions: Vec<Definition>,
    pub(crate) stage_of_topic: HashMap<Arc<str>, usize>,
    pub(crate) workers: Workers<C::Queue>,
    pub(crate) held: Arc<Held>,
    pub(crate) flushing: Vec<bool>,
    pub(crate) pace: Vec<Pace>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) index: Index,
    pub(crate) waiting: Vec<Waiting>,
    /// Partitions that are assigned and will not be read, and why.
    pub(crate) refused: BTreeMap<Source, IngestError>,
    /// Topics of which it has been told that the broker gives no ids.
    pub(crate) without_ids: BTreeSet<Arc<str>>,
    /// How long partitions that waited lately wait the next time.
    pub(crate) pauses: HashMap<Source, Duration>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) client: Arc<C>,
    pub(crate) ended_sender: Sender<Ended>,
    pub(crate) ended: Receiver<Ended>,
    pub(crate) tasks: BTreeMap<usize, (Box<dyn Task>, u64)>,
    pub(crate) lag_at: Instant,
    pub(crate) series: Series,
    /// When a new policy may be tried.
    pub(crate) change_at: Instant,
    /// How long it waits then if it cannot be had.
    pub(crate) change_pause: Duration,
    pub(crate) summary: Summary,
    pub(crate) control: &'a Control,
    pub(crate) metrics: Arc<Metrics>,
}

/// Reads until told to stop (or, if so configured, until caught up), then drains.
///
/// Each element of `workers` holds the stages of all pipelines, in the same order, for one worker: one
/// thread that reads, decodes, judges and encodes. Blocks its own thread; flushes run on `runtime`, which
/// must be a multi-threaded one.
///
/// # Errors
/// [`IngestError`] says why it ended early. Whatever was not settled is read again after the next
/// start; nothing is lost and nothing is stored twice.
///
/// # Panics
/// Without workers.
pub fn run(
    config: &Config,
    workers: Vec<Vec<Stage>>,
    stores: Stores,
    metrics: Arc<Metrics>,
    control: &Control,
    runtime: &Handle,
) -> Result<Summary, IngestError> {
    let client = Kafka::new(config, workers.len(), metrics.clone())?;
    run_with(Arc::new(Process::new(runtime.clone())), client, config, workers, stores, metrics, control)
}

/// [`run`] with a client, on a host. The client has the place for so many workers.
///
/// # Errors
/// As there.
///
/// # Panics
/// Without workers.
pub fn run_with<C: Client>(
    host: Arc<dyn Host>,
    client: C,
    config: &Config,
    workers: Vec<Vec<Stage>>,
    stores: Stores,
    metrics: Arc<Metrics>,
    control: &Control,
) -> Result<Summary, IngestError> {
    assert!(!workers.is_empty(), "an intake needs a worker");
    let definitions: Vec<Definition> = workers[0].iter().map(Definition::of).collect();
    let client = Arc::new(client);
    let topics: Vec<Arc<str>> =
        definitions.iter().flat_map(|definition| definition.pipeline.topics.iter().cloned()).collect();
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    client.subscribe(&names)?;
    tracing::info!(
        event = "subscribed",
        group = config.group,
        topics = names.join(","),
        workers = workers.len(),
        "joining the group"
    );
    metrics.buffered_bytes_limit.set(i64::try_from(config.memory_bytes).unwrap_or(i64::MAX));
    for zone in stores.zones.keys() {
        metrics.store_writable.with_label_values(&[zone.as_str()]).set(1);
    }
    for (word, _) in Invariant::WORDS {
        metrics.invariant_violations.with_label_values(&[word]);
    }

    let stage_of_topic = definitions
        .iter()
        .enumerate()
        .flat_map(|(index, definition)| {
            definition.pipeline.topics.iter().map(move |topic| (topic.clone(), index))
        })
        .collect();
    let (ended_sender, ended) = channel();
    let held = Arc::new(Held::new(host.clone(), config.memory_bytes, workers.len(), definitions.len()));
    let flusher = Arc::new(Flusher {
        host: host.clone(),
        stores,
        metrics: metrics.clone(),
        topics: Arc::downgrade(&client) as Weak<dyn TopicIds>,
        give_up: AtomicBool::new(false),
    });
    let (lag_at, change_at) = (host.now(), host.now());
    let mut intake = Intake {
        host,
        config,
        workers: Workers::start(workers, &client, &flusher, &held)?,
        held,
        stage_of_topic,
        flushing: vec![false; definitions.len()],
        pace: vec![Pace::default(); definitions.len()],
        definitions,
        partitions: Vec::new(),
        index: Index::new(),
        waiting: Vec::new(),
        refused: BTreeMap::new(),
        without_ids: BTreeSet::new(),
        pauses: HashMap::new(),
        flusher,
        client,
        ended_sender,
        ended,
        tasks: BTreeMap::new(),
        lag_at,
        series: Series::new(config.partition_series, metrics.clone()),
        change_at,
        change_pause: reload::AGAIN.0,
        summary: Summary::default(),
        control,
        metrics,
    };
    let result = intake.main_loop();
    let drained = match result {
        Ok(()) => intake.shut_down(),
        Err(error) => {
            // Flushes under way may finish; nothing new begins.
            intake.flusher.give_up.store(true, Ordering::Relaxed);
            let deadline = intake.host.now() + config.drain_timeout;
            intake.wait_for_flushes(deadline).ok();
            Err(error)
        }
    };
    let Intake { workers, client, summary, .. } = intake;
    workers.stop();
    // Dropping the client, of which this is the last reference now, leaves the group.
    client.close();
    drop(client);
    drained.map(|()| summary)
}

impl<C: Client> Intake<'_, C> {
    fn main_loop(&mut self) -> Result<(), IngestError> {
        loop {
            if self.control.is_stopping() {
                return Ok(());
            }
            self.held.beat();
            self.poll()?;
            self.carry_out_rebalances()?;
            self.take_over_waiting()?;
            self.change_policy()?;
            self.workers.check()?;
            self.look_at_flushes()?;
            self.look_for_regressions()?;
            self.start_due_flushes()?;
            self.update_lag();
            if let Some(reason) = self.client.fatal() {
                return Err(IngestError::KafkaFatal(reason));
            }
            if self.config.until_caught_up && self.caught_up() {
                return Ok(());
            }
        }
    }

    /// Waits a moment for news of the group; statistics and errors come by the context.
    fn poll(&mut self) -> Result<(), IngestError> {
        match self.client.poll(TICK) {
            Polled::Nothing => Ok(()),
            Polled::Fatal(reason) => Err(IngestError::KafkaFatal(reason)),
            Polled::Message(topic, partition) => {
                let source = self.source(&topic, partition);
                // One of a partition that was given up is another's now.
                if self.place(&source).is_some() { Err(IngestError::Misdelivered(source)) } else { Ok(()) }
            }
        }
    }

    fn look_at_flushes(&mut self) -> Result<(), IngestError> {
        // A task sends its outcome before it finishes, so one that has finished now is in the channel
        // unless it panicked.
        let finished: Vec<usize> =
            self.tasks.iter().filter(|(_, (task, _))| task.is_finished()).map(|(stage, _)| *stage).collect();
        while let Ok(ended) = self.ended.try_recv() {
            self.on_ended(ended)?;
        }
        match finished
            .into_iter()
            .find(|stage| self.tasks.get(stage).is_some_and(|(task, _)| task.is_finished()))
        {
            None => Ok(()),
            Some(stage) => Err(IngestError::Flush {
                pipeline: self.definitions[stage].pipeline.name.to_string(),
                reason: "the flush panicked".to_owned(),
            }),
        }
    }

    /// Starts the flushes that are due, or all if there is no room to wait for more.
    fn start_due_flushes(&mut self) -> Result<(), IngestError> {
        let full = self.held.is_full();
        self.metrics.buffered_bytes.set(i64::try_from(self.held.bytes()).unwrap_or(i64::MAX));
        self.metrics.paused.set(i64::from(full));
        for stage in 0..self.definitions.len() {
            if self.flushing[stage] {
                continue;
            }
            let there = self.held.of_stage(stage);
            if there.age.is_some_and(|age| full || self.pace[stage].is_due(&self.config.flush, &there, age)) {
                self.start_flush(stage)?;
            }
        }
        Ok(())
    }

    /// Starts a flush of every pipeline that has none under way.
    fn start_all_flushes(&mut self) -> Result<(), IngestError> {
        for stage in 0..self.definitions.len() {
            if !self.flushing[stage] {
                self.start_flush(stage)?;
            }
        }
        Ok(())
    }

    pub(crate) fn start_flush(&mut self, stage: usize) -> Result<(), IngestError> {
        let buffer = self.workers.take(stage)?;
        if buffer.is_empty() {
            return Ok(());
        }
        let job = self.definitions[stage].job(buffer, self.host.id(), |source| {
            // What is buffered of a partition is dropped when the partition is given up.
            self.place(source).map_or_else(Tenure::default, |place| self.partitions[place].tenure)
        });
        let bytes = job.bytes;
        if planted::is(Bug::GroupOffsetFirst) {
            let ends = job.shares.iter().map(|(share, ..)| (share.source.clone(), share.range.end));
            self.tell_group(&ends.collect::<Vec<_>>(), false);
        }
        self.flushing[stage] = true;
        self.held.flushing.fetch_add(bytes, Ordering::Relaxed);
        let (flusher, sender) = (self.flusher.clone(), self.ended_sender.clone());
        let task = self.host.spawn(Box::pin(async move {
            let ended = flusher.run(stage, job).await;
            // The receiver is gone only when the intake itself has ended.
            sender.send(ended).ok();
        }));
        self.tasks.insert(stage, (task, bytes));
        Ok(())
    }

    pub(crate) fn on_ended(&mut self, ended: Ended) -> Result<(), IngestError> {
        let Ended { stage, shares, counts, bytes, took, steps, outcome } = ended;
        self.flushing[stage] = false;
        self.pace[stage].took(took);
        self.tasks.remove(&stage);
        self.held.flushing.fetch_sub(bytes, Ordering::Relaxed);
        let pipeline = self.definitions[stage].pipeline.name.to_string();
        match outcome {
            Outcome::Settled => {
                self.note_flush(&pipeline, &counts, took, steps);
                self.summary.counts.add(&counts);
                self.on_settled(&shares);
                Ok(())
            }
            Outcome::Yielded(reason) => {
                tracing::warn!(event = "flush-yielded", pipeline, "{reason}");
                let sources: Vec<Source> = shares.into_iter().map(|share| share.source).collect();
                self.give_up(&sources)
            }
            Outcome::OtherTopics(topics) => {
                tracing::warn!(
                    event = "flush-dropped",
                    pipeline,
                    topics = topics.join(","),
                    "the topics are not those any more that were read; what was read of them is not stored"
                );
                let is_theirs = |source: &Source| topics.contains(&source.topic);
                // All partitions of these topics, also those of which nothing was flushed.
                let owned = self.partitions.iter().map(|partition| &partition.source);
                let theirs: Vec<Source> = owned.filter(|source| is_theirs(source)).cloned().collect();
                let others = shares.into_iter().map(|share| share.source);
                let others: Vec<Source> = others.filter(|source| !is_theirs(source)).collect();
                self.give_up(&theirs)?;
                self.rewind(&others)
            }
            Outcome::Stopped(reason) => Err(IngestError::Flush { pipeline, reason }),
        }
    }

    /// Advances the settled offsets, and the group's offsets for lag tools.
    fn on_settled(&mut self, shares: &[Share]) {
        let mut settled = Vec::with_capacity(shares.len());
        for share in shares {
            let Some(place) = self.place(&share.source) else {
                // A revocation waits for the flushes under way or ends them, so this cannot be.
                self.flusher.broken(Invariant::Eo7);
                continue;
            };
            self.partitions[place].tenure.settled = Some(share.range.end);
            self.series.settled(&share.source, share.range.end);
            self.pauses.remove(&share.source);
            settled.push((share.source.clone(), share.range.end));
        }
        self.tell_group(&settled, false);
    }

    /// Commits offsets to the Kafka group, for lag tools only: a failure is no loss.
    ///
    /// Not while the coordinator is away or the group is rebalanced, unless this is the end: the client keeps
    /// what it cannot send, and sends it under a member id that a static member has no more once it has
    /// joined again. The broker takes that for a second process of its name and fences it for good.
    pub(crate) fn tell_group(&self, settled: &[(Source, NextOffset)], at_end: bool) {
        if !at_end && !self.client.is_steady() {
            return;
        }
        let offsets: Vec<(Source, i64)> =
            settled.iter().map(|(source, next)| (source.clone(), next.0)).collect();
        if !offsets.is_empty()
            && let Err(error) = self.client.tell_group(&offsets, at_end)
        {
            tracing::debug!(event = "group-commit-failed", "{error}");
        }
    }

    pub(crate) fn place(&self, source: &Source) -> Option<usize> {
        self.index.get(&(source.topic.clone(), source.partition)).copied()
    }

    /// A partition of this cluster by its name.
    pub(crate) fn source(&self, topic: &str, partition: i32) -> Source {
        let known = self.stage_of_topic.get_key_value(topic);
        let topic = known.map_or_else(|| topic.into(), |(topic, _)| topic.clone());
        Source { cluster: self.config.cluster.clone(), topic, partition }
    }

    /// Flushes all buffers and waits; whether everything was settled before the deadline.
    pub(crate) fn flush_all(&mut self, deadline: Instant) -> Result<bool, IngestError> {
        loop {
            self.start_all_flushes()?;
            if !self.flushing.contains(&true) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(self.host.now());
            match self.host.receive(&self.ended, left) {
                Ok(ended) => self.on_ended(ended)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Waits for the flushes under way without starting new ones.
    fn wait_for_flushes(&mut self, deadline: Instant) -> Result<(), IngestError> {
        let mut first = Ok(());
        while self.flushing.contains(&true) {
            let left = deadline.saturating_duration_since(self.host.now());
            match self.host.receive(&self.ended, left) {
                Ok(ended) => {
                    let result = self.on_ended(ended);
                    first = first.and(result);
                }
                Err(_) => break,
            }
        }
        first
    }

    /// Drains, flushes and commits the group's offsets.
    fn shut_down(&mut self) -> Result<(), IngestError> {
        tracing::info!(event = "draining", "stopping: flushing what is buffered");
        // What is read from here on would only be dropped.
        self.workers.hold()?;
        if !self.flush_all(self.host.now() + self.config.drain_timeout)? {
            self.flusher.give_up.store(true, Ordering::Relaxed);
            // Retries notice within moments that they must end; their outcome says what was wrong.
            self.wait_for_flushes(self.host.now() + Duration::from_secs(5))?;
        }
        let left = |stage: &usize| self.flushing[*stage] || self.held.of_stage(*stage).age.is_some();
        if let Some(stage) = (0..self.definitions.len()).find(left) {
            return Err(IngestError::Flush {
                pipeline: self.definitions[stage].pipeline.name.to_string(),
                reason: "the drain time is over; what is left is read again after the next start".to_owned(),
            });
        }
        if self.config.until_caught_up && !self.control.is_stopping() {
            if !self.caught_up() {
                return Err(IngestError::Interrupted);
            }
            // All others are settled.
            if let Some((_, refusal)) = self.refused.pop_first() {
                return Err(refusal);
            }
        }
        self.summary.settled = self
            .partitions
            .iter()
            .filter_map(|partition| Some((partition.source.clone(), partition.tenure.settled?)))
            .collect();
        self.summary.settled.sort();
        self.tell_group(&self.summary.settled, true);
        self.metrics.buffered_bytes.set(0);
        Ok(())
    }

    /// Where the client itself stands in each partition.
    pub(crate) fn client_positions(&self) -> Vec<Option<i64>> {
        let sources: Vec<Source> = self.partitions.iter().map(|partition| partition.source.clone()).collect();
        self.client.positions(&sources)
    }

    /// Whether everything that was there at the assignment has been read.
    fn caught_up(&self) -> bool {
        if !self.control.is_assigned() || !self.waiting.is_empty() {
            return false;
        }
        // The last offsets may hold no message (transaction markers), so the client's own position
        // counts, not only the messages that came.
        self.partitions.iter().zip(self.client_positions()).all(|(partition, client)| {
            let sure = !partition.position.unsure.load(Ordering::Relaxed);
            let client = client.filter(|_| sure);
            let read = partition.position.next().max(client).unwrap_or(0);
            partition.target.is_some_and(|target| read >= target)
        })
    }
}
