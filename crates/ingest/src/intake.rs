//! The loop that owns the consumer and everything that is not yet in a flush.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use situs_model::invariant::{self, Invariant};
use situs_model::store::{FlushFacts, Share, StoreError};
use situs_model::{Counts, NextOffset, Source, ZoneId};
use situs_observe::Metrics;
use tokio::runtime::Handle;

use crate::buffer::Buffer;
use crate::config::{Config, Stores};
use crate::flush::{Ended, Flusher, Job, Outcome};
use crate::kafka::{self, Context};
use crate::partition::{Partition, client_position, find, look_for_deleted, take};
use crate::stage::{Stage, StageError};

/// A raw batch is decoded when it has this many messages or bytes, or is this old.
const BATCH_MESSAGES: usize = 16_384;
const BATCH_BYTES: usize = 4 << 20;
const BATCH_AGE: Duration = Duration::from_millis(100);
/// How long an idle poll waits.
const IDLE_POLL: Duration = Duration::from_millis(20);
/// Messages between two looks at timers and at ended flushes.
const HOUSEKEEPING_MESSAGES: u32 = 1024;

/// Lets others stop a running intake and see how it does.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    pub(crate) assigned: AtomicBool,
    lag: RwLock<Option<u64>>,
    positions: RwLock<HashMap<(Arc<str>, i32), i64>>,
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
        positions.get(&(topic.into(), partition)).copied().unwrap_or(0)
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

/// Why the intake ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The Kafka client refused something.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The Kafka client can do nothing more.
    #[error("kafka: fatal: {0}")]
    KafkaFatal(String),
    /// A step failed on a batch as a whole.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A store could not be read at an assignment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A flush could not be settled; what it held is read again after the next start.
    #[error("flush of {pipeline} not settled: {reason}")]
    Flush {
        /// The pipeline.
        pipeline: String,
        /// Why.
        reason: String,
    },
    /// Partitions went to another process while catching up.
    #[error("not caught up: partitions were given up to another process of the group")]
    Interrupted,
    /// A partition's offsets went back.
    #[error(
        "{partition}: the broker sent offset {offset}, but {next} was to come next: was the topic deleted and created again? \
         Use a new topic name or a new cluster alias; nothing was mixed"
    )]
    OffsetRegression {
        /// The partition.
        partition: Source,
        /// The offset that came.
        offset: i64,
        /// The offset that was expected, or a later one.
        next: NextOffset,
    },
}

/// The intake's state; one thread owns it.
pub(crate) struct Intake<'a> {
    pub(crate) config: &'a Config,
    pub(crate) stages: Vec<Stage>,
    pub(crate) stage_of_topic: HashMap<Arc<str>, usize>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) flushing: Vec<bool>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) index: HashMap<(Arc<str>, i32), usize>,
    pub(crate) last: usize,
    pub(crate) zones: BTreeSet<ZoneId>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) consumer: BaseConsumer<Context>,
    pub(crate) runtime: Handle,
    pub(crate) ended_sender: Sender<Ended>,
    pub(crate) ended: Receiver<Ended>,
    pub(crate) tasks: HashMap<usize, (tokio::task::JoinHandle<()>, u64)>,
    pub(crate) flushing_bytes: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) paused: bool,
    pub(crate) lag_at: Instant,
    pub(crate) summary: Summary,
    pub(crate) control: &'a Control,
    pub(crate) metrics: Arc<Metrics>,
}

/// Reads until told to stop (or, if so configured, until caught up), then drains.
///
/// Blocks its thread; flushes run on `runtime`, which must be a multi-threaded one.
///
/// # Errors
/// [`IngestError`] says why it ended early. Whatever was not settled is read again after the next
/// start; nothing is lost and nothing is stored twice.
pub fn run(
    config: &Config,
    stages: Vec<Stage>,
    stores: Stores,
    metrics: Arc<Metrics>,
    control: &Control,
    runtime: &Handle,
) -> Result<Summary, IngestError> {
    let consumer = kafka::consumer(config, Context::new(metrics.clone()))?;
    let topics: Vec<Arc<str>> =
        stages.iter().flat_map(|stage| stage.pipeline().topics.iter().cloned()).collect();
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    consumer.subscribe(&names)?;
    tracing::info!(event = "subscribed", group = config.group, topics = names.join(","), "joining the group");
    metrics.buffered_bytes_limit.set(i64::try_from(config.memory_bytes).unwrap_or(i64::MAX));
    for zone in stores.zones.keys() {
        metrics.store_writable.with_label_values(&[zone.as_str()]).set(1);
    }
    for (word, _) in Invariant::WORDS {
        metrics.invariant_violations.with_label_values(&[word]);
    }

    let stage_of_topic = stages
        .iter()
        .enumerate()
        .flat_map(|(index, stage)| stage.pipeline().topics.iter().map(move |topic| (topic.clone(), index)))
        .collect();
    let (ended_sender, ended) = channel();
    let count = stages.len();
    let mut intake = Intake {
        config,
        stages,
        stage_of_topic,
        buffers: (0..count).map(|_| Buffer::default()).collect(),
        flushing: vec![false; count],
        partitions: Vec::new(),
        index: HashMap::new(),
        last: 0,
        zones: stores.zone_ids(),
        flusher: Arc::new(Flusher { stores, metrics: metrics.clone(), give_up: AtomicBool::new(false) }),
        consumer,
        runtime: runtime.clone(),
        ended_sender,
        ended,
        tasks: HashMap::new(),
        flushing_bytes: 0,
        raw_bytes: 0,
        paused: false,
        lag_at: Instant::now(),
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
            intake.wait_for_flushes(Instant::now() + config.drain_timeout).ok();
            Err(error)
        }
    };
    // Dropping the consumer leaves the group.
    intake.consumer.context().close();
    drained.map(|()| intake.summary)
}

impl Intake<'_> {
    fn main_loop(&mut self) -> Result<(), IngestError> {
        loop {
            if self.control.is_stopping() {
                return Ok(());
            }
            self.read_some()?;
            self.carry_out_rebalances()?;
            self.turn_old_batches()?;
            self.look_at_flushes()?;
            self.start_due_flushes();
            self.publish_positions();
            self.keep_the_bound()?;
            self.update_lag();
            if let Some(reason) = self.consumer.context().fatal() {
                return Err(IngestError::KafkaFatal(reason));
            }
            if self.config.until_caught_up && self.caught_up() {
                return Ok(());
            }
        }
    }

    /// Polls until nothing more is there, or until it is time to look at everything else.
    fn read_some(&mut self) -> Result<(), IngestError> {
        let (mut messages, mut bytes) = (0, 0);
        let mut timeout = IDLE_POLL;
        while messages < HOUSEKEEPING_MESSAGES && bytes < BATCH_BYTES as u64 {
            let Some(more) = self.poll(timeout)? else { break };
            messages += 1;
            bytes += more;
            timeout = Duration::ZERO;
        }
        Ok(())
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
                pipeline: self.stages[stage].pipeline().name.to_string(),
                reason: "the flush panicked".to_owned(),
            }),
        }
    }

    /// Polls once; the bytes of the message that came.
    fn poll(&mut self, timeout: Duration) -> Result<Option<u64>, IngestError> {
        // The message borrows the consumer, so the fields that `take` needs are borrowed one by one.
        let Self { consumer, partitions, index, last, raw_bytes, metrics, .. } = self;
        let (place, bytes) = match consumer.poll(timeout) {
            None => return Ok(None),
            // The context has counted and logged it.
            Some(Err(error)) => {
                tracing::debug!(event = "poll-error", "{error}");
                return Ok(None);
            }
            Some(Ok(message)) => {
                let Some(place) = find(partitions, index, *last, &message) else {
                    // A message of a partition that was just given up; whoever owns it now reads it.
                    return Ok(Some(0));
                };
                *last = place;
                let partition = &mut partitions[place];
                if std::mem::take(&mut partition.fresh) {
                    look_for_deleted(consumer, metrics, partition, &message);
                }
                let bytes = take(partition, &message)?;
                *raw_bytes += bytes;
                (place, bytes)
            }
        };
        let full = self.partitions[place]
            .raw
            .as_ref()
            .is_some_and(|raw| raw.len() >= BATCH_MESSAGES || raw.payload_bytes() >= BATCH_BYTES);
        if full {
            self.turn(place)?;
        }
        Ok(Some(bytes))
    }

    /// Decodes, judges and splits what a partition has collected.
    fn turn(&mut self, place: usize) -> Result<(), IngestError> {
        let partition = &mut self.partitions[place];
        let Some(raw) = partition.raw.take() else { return Ok(()) };
        let stage = &mut self.stages[partition.stage];
        let pipeline = stage.pipeline().name.as_str();
        let bytes = raw.payload_bytes() as u64;
        self.raw_bytes = self.raw_bytes.saturating_sub(bytes);
        self.metrics.messages_read.with_label_values(&[pipeline]).inc_by(raw.len() as u64);
        self.metrics.bytes_read.with_label_values(&[pipeline]).inc_by(bytes);
        let range = raw.range();
        let skipped = range.len() - raw.len() as u64;
        if skipped > 0 {
            self.metrics.skipped_offsets.with_label_values(&[&*partition.source.topic]).inc_by(skipped);
        }
        let split = stage.turn(raw, &self.zones)?;
        if !invariant::eo1(&split.counts) {
            self.flusher.broken(Invariant::Eo1);
        }
        if !invariant::eo2(&split.counts) {
            self.flusher.broken(Invariant::Eo2);
        }
        self.buffers[partition.stage].add(
            &partition.source,
            range,
            split,
            partition.raw_since,
            partition.newest_broker_ms.take(),
        );
        Ok(())
    }

    fn turn_old_batches(&mut self) -> Result<(), IngestError> {
        for place in 0..self.partitions.len() {
            let partition = &self.partitions[place];
            if partition.raw.is_some() && (self.paused || partition.raw_since.elapsed() >= BATCH_AGE) {
                self.turn(place)?;
            }
        }
        Ok(())
    }

    pub(crate) fn turn_all(&mut self) -> Result<(), IngestError> {
        (0..self.partitions.len()).try_for_each(|place| self.turn(place))
    }

    fn start_due_flushes(&mut self) {
        let limits = &self.config.flush;
        let due: Vec<usize> = (0..self.buffers.len())
            .filter(|stage| {
                let buffer = &self.buffers[*stage];
                !self.flushing[*stage]
                    && (buffer.rows >= limits.rows
                        || buffer.bytes >= limits.bytes
                        || buffer.since.is_some_and(|since| since.elapsed() >= limits.age))
            })
            .collect();
        due.into_iter().for_each(|stage| self.start_flush(stage));
    }

    /// Starts a flush of every pipeline that has none under way.
    fn start_all_flushes(&mut self) {
        for stage in 0..self.buffers.len() {
            if !self.flushing[stage] {
                self.start_flush(stage);
            }
        }
    }

    pub(crate) fn start_flush(&mut self, stage: usize) {
        let buffer = std::mem::take(&mut self.buffers[stage]);
        if buffer.is_empty() {
            return;
        }
        let definition = &self.stages[stage];
        let shares = buffer
            .shares
            .into_iter()
            .map(|(source, share)| {
                let settled = self
                    .index
                    .get(&(source.topic.clone(), source.partition))
                    .and_then(|place| self.partitions[*place].settled);
                (Share { source, range: share.range, settled }, share.counts, share.notes)
            })
            .collect();
        let job = Job {
            facts: FlushFacts {
                flush_id: uuid::Uuid::now_v7().to_string(),
                pipeline: definition.pipeline().name.clone(),
                policy: definition.policy_version().clone(),
                schema: definition.schema_version().clone(),
            },
            table: definition.pipeline().table(),
            shares,
            resident: buffer.resident,
            quarantined: buffer.quarantined,
            bytes: buffer.bytes,
            newest_broker_ms: buffer.newest_broker_ms,
        };
        self.flushing[stage] = true;
        let bytes = job.bytes;
        self.flushing_bytes += bytes;
        let (flusher, sender) = (self.flusher.clone(), self.ended_sender.clone());
        let task = self.runtime.spawn(async move {
            let ended = flusher.run(stage, job).await;
            // The receiver is gone only when the intake itself has ended.
            sender.send(ended).ok();
        });
        self.tasks.insert(stage, (task, bytes));
    }

    pub(crate) fn on_ended(&mut self, ended: Ended) -> Result<(), IngestError> {
        let Ended { stage, shares, counts, bytes, outcome } = ended;
        self.flushing[stage] = false;
        self.tasks.remove(&stage);
        self.flushing_bytes = self.flushing_bytes.saturating_sub(bytes);
        let pipeline = self.stages[stage].pipeline().name.to_string();
        match outcome {
            Outcome::Settled => {
                self.summary.counts.add(&counts);
                self.on_settled(&shares);
                Ok(())
            }
            Outcome::Yielded(reason) => {
                tracing::warn!(event = "flush-yielded", pipeline, "{reason}");
                let sources: Vec<Source> = shares.into_iter().map(|share| share.source).collect();
                self.rewind(&sources)
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
            self.partitions[place].settled = Some(share.range.end);
            settled.push((share.source.clone(), share.range.end));
        }
        self.tell_group(&settled, CommitMode::Async);
    }

    /// Commits offsets to the Kafka group, for lag tools only: a failure is no loss.
    fn tell_group(&self, settled: &[(Source, NextOffset)], mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        for (source, next) in settled {
            list.add_partition_offset(&source.topic, source.partition, Offset::Offset(next.0)).ok();
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, mode)
        {
            tracing::debug!(event = "group-commit-failed", "{error}");
        }
    }

    pub(crate) fn place(&self, source: &Source) -> Option<usize> {
        self.index.get(&(source.topic.clone(), source.partition)).copied()
    }

    /// Flushes all buffers and waits; whether everything was settled before the deadline.
    pub(crate) fn flush_all(&mut self, deadline: Instant) -> Result<bool, IngestError> {
        loop {
            self.start_all_flushes();
            if !self.flushing.contains(&true) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ended.recv_timeout(left) {
                Ok(ended) => self.on_ended(ended)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Waits for the flushes under way without starting new ones.
    fn wait_for_flushes(&mut self, deadline: Instant) -> Result<(), IngestError> {
        let mut first = Ok(());
        while self.flushing.contains(&true) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ended.recv_timeout(left) {
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
        self.turn_all()?;
        if !self.flush_all(Instant::now() + self.config.drain_timeout)? {
            self.flusher.give_up.store(true, Ordering::Relaxed);
            // Retries notice within moments that they must end; their outcome says what was wrong.
            self.wait_for_flushes(Instant::now() + Duration::from_secs(5))?;
        }
        if let Some(stage) =
            (0..self.buffers.len()).find(|stage| self.flushing[*stage] || !self.buffers[*stage].is_empty())
        {
            return Err(IngestError::Flush {
                pipeline: self.stages[stage].pipeline().name.to_string(),
                reason: "the drain time is over; what is left is read again after the next start".to_owned(),
            });
        }
        if self.config.until_caught_up && !self.control.is_stopping() && !self.caught_up() {
            return Err(IngestError::Interrupted);
        }
        self.summary.settled = self
            .partitions
            .iter()
            .filter_map(|partition| Some((partition.source.clone(), partition.settled?)))
            .collect();
        self.summary.settled.sort();
        self.tell_group(&self.summary.settled, CommitMode::Sync);
        self.metrics.buffered_bytes.set(0);
        Ok(())
    }

    /// Pauses consumption above the bound and resumes it below three quarters of it.
    fn keep_the_bound(&mut self) -> Result<(), IngestError> {
        let buffered = self.raw_bytes
            + self.flushing_bytes
            + self.buffers.iter().map(|buffer| buffer.bytes).sum::<u64>();
        self.metrics.buffered_bytes.set(i64::try_from(buffered).unwrap_or(i64::MAX));
        let bound = self.config.memory_bytes;
        if !self.paused && buffered >= bound {
            self.consumer.pause(&self.consumer.assignment()?)?;
            self.paused = true;
        } else if self.paused && buffered < bound / 4 * 3 {
            self.consumer.resume(&self.consumer.assignment()?)?;
            self.paused = false;
        }
        if self.paused {
            // Nothing more comes, so waiting for a limit would wait for ever.
            self.start_all_flushes();
        }
        self.metrics.paused.set(i64::from(self.paused));
        Ok(())
    }

    fn publish_positions(&self) {
        let mut positions = self.control.positions.write().unwrap_or_else(PoisonError::into_inner);
        for partition in &self.partitions {
            if let Some(next) = partition.next {
                positions.insert((partition.source.topic.clone(), partition.source.partition), next.0);
            }
        }
    }

    fn update_lag(&mut self) {
        if self.lag_at.elapsed() < Duration::from_millis(500) {
            return;
        }
        self.lag_at = Instant::now();
        let ends = self.consumer.context().ends();
        let positions = self.consumer.position().ok();
        let mut sum = Some(0_u64);
        for partition in &self.partitions {
            let (topic, number) = (&partition.source.topic, partition.source.partition);
            let Some((start, end)) = ends.get(&(topic.to_string(), number)).copied() else {
                sum = None;
                continue;
            };
            let settled = partition.settled.map_or(start, |settled| settled.0.max(start));
            // Offsets at the end may hold no message (transaction markers): all is settled that the
            // client has gone past, if nothing waits.
            let read = client_position(positions.as_ref(), partition);
            let idle = partition.next.is_none_or(|next| partition.settled == Some(next));
            let from = if idle { settled.max(read.unwrap_or(settled)) } else { settled };
            let lag = u64::try_from(end - from).unwrap_or(0);
            sum = sum.map(|sum| sum + lag);
            let number = partition.source.partition.to_string();
            self.metrics
                .lag
                .with_label_values(&[&*partition.source.topic, number.as_str()])
                .set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
        *self.control.lag.write().unwrap_or_else(PoisonError::into_inner) = sum;
    }

    /// Whether everything that was there at the assignment has been read.
    fn caught_up(&self) -> bool {
        if !self.control.is_assigned() {
            return false;
        }
        // The last offsets may hold no message (transaction markers), so the client's own position
        // counts, not only the messages that came.
        let positions = self.consumer.position().ok();
        self.partitions.iter().all(|partition| {
            let client = client_position(positions.as_ref(), partition);
            let read = partition.next.map(|next| next.0).max(client).unwrap_or(0);
            partition.target.is_some_and(|target| read >= target)
        })
    }
}
