//! A worker: a thread that owns partitions from the fetched message to encoded rows.
//!
//! Workers share nothing but the stores and the gauges of memory. Each has a queue into which its
//! partitions deliver, and decoders and judges of its own; what it has encoded waits until the intake
//! takes it for a flush.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use situs_model::{NextOffset, RawBatch, Source, ZoneId};
use situs_policy::Judge;

use crate::buffer::Buffer;
use crate::client::{BAD_MESSAGE, Message, Queue, Reader as _};
use crate::error::IngestError;
use crate::flush::Flusher;
use crate::held::Held;
use crate::partition::{self, Index, look_for_deleted};
use crate::stage::Stage;
use crate::turn::{Coming, turn};

/// A raw batch is decoded when it has this many messages or bytes, or is this old. Many partitions share
/// what a worker may hold as raw bytes, so their batches are smaller.
const BATCH_MESSAGES: usize = 16_384;
const BATCH_BYTES: std::ops::RangeInclusive<usize> = 128 << 10..=2 << 20;
const RAW_BYTES: usize = 32 << 20;
const BATCH_AGE: Duration = Duration::from_millis(100);
/// How long a read waits for a full batch of messages: what an idle worker sleeps at a time.
const READ_WAIT: Duration = Duration::from_millis(20);
/// How long a worker sleeps that may not read.
const FULL_WAIT: Duration = Duration::from_millis(5);
/// Buffers of raw batches that are kept for the next ones.
const SPARE: usize = 4;

/// A partition as a worker takes it up.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) source: Source,
    pub(crate) stage: usize,
    /// Where it begins, and where the worker notes how far it has come.
    pub(crate) position: Arc<Position>,
}

/// How far a partition was read, as its worker notes it.
#[derive(Debug)]
pub(crate) struct Position {
    /// The offset to read next; negative while nothing has come and nothing is settled.
    next: AtomicI64,
    /// A message came since it was taken up.
    pub(crate) begun: AtomicBool,
    /// An error came after the last message. The client counts it as if it were the message that is still
    /// to come, so its own position is not to be believed.
    pub(crate) unsure: AtomicBool,
    /// An offset that came though a later one was to come next; negative if none did.
    went_back: AtomicI64,
    /// First offset and broker time (ms since the epoch) of each batch that is not settled, in order: they
    /// tell how old the oldest message is. A flush takes whole batches.
    marks: Mutex<VecDeque<(i64, i64)>>,
}

impl Position {
    /// Marks that are kept at most. Of a partition that has more, what settles is told a little younger than
    /// it is for a while.
    const MARKS: usize = 1024;

    fn marks(&self) -> MutexGuard<'_, VecDeque<(i64, i64)>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch begins with this offset.
    pub(crate) fn mark(&self, offset: i64, broker_ms: i64) {
        let mut marks = self.marks();
        if marks.len() < Self::MARKS {
            marks.push_back((offset, broker_ms));
        }
    }

    /// The broker time of the oldest message that was read and is not settled, in ms since the epoch.
    pub(crate) fn oldest(&self, settled: Option<NextOffset>) -> Option<i64> {
        let mut marks = self.marks();
        while let Some((offset, _)) = marks.front()
            && settled.is_some_and(|settled| *offset < settled.0)
        {
            marks.pop_front();
        }
        marks.front().map(|(_, time)| *time)
    }

    /// Of a partition that begins at its settled offset, if it has one.
    pub(crate) fn new(settled: Option<NextOffset>) -> Self {
        Self {
            next: AtomicI64::new(settled.map_or(-1, |settled| settled.0)),
            begun: AtomicBool::new(false),
            unsure: AtomicBool::new(false),
            went_back: AtomicI64::new(-1),
            marks: Mutex::default(),
        }
    }

    /// An offset that came though a later one was to come next. Nothing is read of the partition since.
    pub(crate) fn went_back(&self) -> Option<i64> {
        Some(self.went_back.load(Ordering::Relaxed)).filter(|offset| *offset >= 0)
    }

    /// The offset to read next; `None` until the first message of a partition without receipts.
    pub(crate) fn next(&self) -> Option<i64> {
        Some(self.next.load(Ordering::Relaxed)).filter(|next| *next >= 0)
    }
}

/// What the intake asks of a worker. Each answer says that it was done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take partitions up.
    Adopt(Vec<Adopted>, Sender<()>),
    /// Read nothing until told to go on.
    Hold(Sender<()>),
    /// Read again.
    Go,
    /// Forget partitions. Answers with those others of which buffered rows had to go with them: what is
    /// encoded cannot be divided.
    Drop(Vec<Source>, Sender<Vec<Source>>),
    /// Hand over what there is of a pipeline.
    Take(usize, Sender<Buffer>),
    /// Judge each pipeline by another policy.
    JudgeBy(Vec<Judge>, Sender<()>),
}

/// A partition that is owned.
#[derive(Debug)]
struct Partition {
    source: Source,
    stage: usize,
    raw: Option<RawBatch>,
    raw_since: Instant,
    newest_broker_ms: Option<i64>,
    position: Arc<Position>,
}

/// The state of a worker; its thread owns it.
#[derive(Debug)]
pub(crate) struct Worker<Q> {
    number: usize,
    stages: Vec<Stage>,
    zones: BTreeSet<ZoneId>,
    queue: Arc<Q>,
    flusher: Arc<Flusher>,
    held: Arc<Held>,
    commands: Receiver<Command>,
    partitions: Vec<Partition>,
    index: Index,
    buffers: Vec<Buffer>,
    spare: Vec<RawBatch>,
    holding: bool,
    /// Bytes of a raw batch at most.
    batch_bytes: usize,
}

impl<Q: Queue> Worker<Q> {
    pub(crate) fn new(
        number: usize,
        stages: Vec<Stage>,
        queue: Arc<Q>,
        flusher: Arc<Flusher>,
        held: Arc<Held>,
        commands: Receiver<Command>,
    ) -> Self {
        Self {
            number,
            buffers: stages.iter().map(|_| Buffer::default()).collect(),
            stages,
            zones: flusher.stores.zone_ids(),
            queue,
            flusher,
            held,
            commands,
            partitions: Vec::new(),
            index: Index::new(),
            spare: Vec::new(),
            holding: false,
            batch_bytes: *BATCH_BYTES.end(),
        }
    }

    /// Sets what depends on which partitions there are.
    fn partitions_changed(&mut self) {
        self.index = partition::index(self.partitions.iter().map(|partition| &partition.source));
        let share = RAW_BYTES / self.partitions.len().max(1);
        self.batch_bytes = share.clamp(*BATCH_BYTES.start(), *BATCH_BYTES.end());
    }

    /// Works until the intake is gone.
    ///
    /// # Errors
    /// The first thing that went wrong. What was not flushed is read again after the next start.
    pub(crate) fn run(mut self) -> Result<(), IngestError> {
        let mut reader = self.queue.reader();
        let host = self.flusher.host.clone();
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.obey(command)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            if self.holding || self.held.is_full() || self.held.is_abandoned() {
                // What waits to be decoded must not wait for room.
                self.turn_those(|_| true)?;
                match host.receive(&self.commands, FULL_WAIT) {
                    Ok(command) => self.obey(command)?,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                continue;
            }
            self.take(reader.read(READ_WAIT))?;
            reader.clear();
            self.turn_those(|partition| host.since(partition.raw_since) >= BATCH_AGE)?;
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), IngestError> {
        // Whoever asked may be gone; then the answer is of no use.
        match command {
            Command::Adopt(partitions, done) => {
                self.adopt(partitions);
                done.send(()).ok();
            }
            Command::Hold(done) => {
                self.holding = true;
                done.send(()).ok();
            }
            Command::Go => self.holding = false,
            Command::Drop(sources, done) => {
                let others = self.forget(&sources);
                done.send(others).ok();
            }
            Command::Take(stage, done) => {
                self.turn_those(|partition| partition.stage == stage)?;
                let buffer = std::mem::take(&mut self.buffers[stage]);
                self.publish(stage);
                done.send(buffer).ok();
            }
            Command::JudgeBy(judges, done) => {
                // It comes at a barrier: everything that was read has been handed over.
                self.stages.iter_mut().zip(judges).for_each(|(stage, judge)| stage.judge_by(judge));
                done.send(()).ok();
            }
        }
        Ok(())
    }

    fn adopt(&mut self, partitions: Vec<Adopted>) {
        for Adopted { source, stage, position } in partitions {
            self.partitions.push(Partition {
                source,
                stage,
                raw: None,
                raw_since: self.flusher.host.now(),
                newest_broker_ms: None,
                position,
            });
        }
        self.partitions_changed();
    }

    /// Forgets partitions and drops what is buffered of them, and of the others of their pipelines.
    fn forget(&mut self, sources: &[Source]) -> Vec<Source> {
        let mut others = Vec::new();
        for source in sources {
            let Some(place) = self.partitions.iter().position(|partition| partition.source == *source) else {
                continue;
            };
            let partition = self.partitions.swap_remove(place);
            self.stages[partition.stage].forget(source);
            if let Some(raw) = &partition.raw {
                self.held.add_raw(-(raw.payload_bytes() as i64));
            }
            if self.buffers[partition.stage].shares.contains_key(source) {
                let dropped = std::mem::take(&mut self.buffers[partition.stage]);
                others.extend(dropped.shares.into_keys().filter(|other| !sources.contains(other)));
                self.publish(partition.stage);
            }
        }
        self.partitions_changed();
        others
    }

    /// Copies messages into their partitions' raw batches, and decodes those that are full.
    fn take(&mut self, messages: &[impl Message]) -> Result<(), IngestError> {
        // Messages come in runs of a partition.
        let mut run: Option<(usize, i32, Option<usize>)> = None;
        for message in messages {
            if let Some(code) = message.error() {
                self.note_error(code, message)?;
                continue;
            }
            let (handle, number) = (message.topic_handle(), message.partition());
            let place = match run {
                Some((of, partition, place)) if of == handle && partition == number => place,
                _ => {
                    let place = self.index.get(&(message.topic().into(), number)).copied();
                    run = Some((handle, number, place));
                    place
                }
            };
            // Without a place: of a partition that was just given up; whoever owns it now reads it.
            let Some(place) = place else { continue };
            if self.take_one(place, message)? {
                self.turn(place)?;
            }
        }
        Ok(())
    }

    /// The client goes on by itself after most errors; what it cannot get over comes as a fatal error of
    /// its own.
    fn note_error(&mut self, code: i32, message: &impl Message) -> Result<(), IngestError> {
        let (topic, number) = (message.topic(), message.partition());
        self.queue.note_error(code, topic, number);
        let Some(place) = self.index.get(&(topic.into(), number)) else { return Ok(()) };
        let partition = &self.partitions[*place];
        partition.position.unsure.store(true, Ordering::Relaxed);
        if code == BAD_MESSAGE {
            // The client goes on behind the batch: its records would be lost without a trace.
            return Err(IngestError::Corrupt(partition.source.clone()));
        }
        Ok(())
    }

    /// Copies a message into its partition's raw batch; whether that is full.
    fn take_one(&mut self, place: usize, message: &impl Message) -> Result<bool, IngestError> {
        let partition = &mut self.partitions[place];
        let offset = message.offset();
        let position = &partition.position;
        let next = NextOffset(position.next().unwrap_or(offset));
        position.begun.store(true, Ordering::Relaxed);
        look_for_deleted(&*self.queue, &self.flusher.metrics, &partition.source, next, offset);
        if offset < next.0 {
            // The intake sees it, and takes the partition away from here.
            position.went_back.store(offset, Ordering::Relaxed);
        }
        if position.went_back().is_some() {
            return Ok(false);
        }
        let (spare, host) = (&mut self.spare, &self.flusher.host);
        let raw = partition.raw.get_or_insert_with(|| {
            partition.raw_since = host.now();
            let mut raw = spare.pop().unwrap_or_else(|| RawBatch::new(partition.source.clone(), next, 0));
            raw.restart(partition.source.clone(), next, host.now_us());
            raw
        });
        let before = raw.payload_bytes();
        let time = message.timestamp_ms();
        if raw.is_empty() {
            // A producer's clock may be ahead, but no message comes before it was sent.
            let now = host.now_us() / 1000;
            let sent = time.filter(|sent| *sent > 0).map_or(now, |sent| sent.min(now));
            partition.position.mark(offset, sent);
        }
        raw.push(offset, time, message.key(), message.payload(), message.headers());
        self.held.add_raw((raw.payload_bytes() - before) as i64);
        partition.newest_broker_ms = partition.newest_broker_ms.max(time);
        partition.position.next.store(offset + 1, Ordering::Relaxed);
        partition.position.unsure.store(false, Ordering::Relaxed);
        Ok(raw.len() >= BATCH_MESSAGES || raw.payload_bytes() >= self.batch_bytes)
    }

    /// Decodes, judges, divides by zone and encodes what a partition has collected.
    fn turn(&mut self, place: usize) -> Result<(), IngestError> {
        let partition = &mut self.partitions[place];
        let Some(raw) = partition.raw.take() else { return Ok(()) };
        let index = partition.stage;
        let bytes = raw.payload_bytes();
        let coming =
            Coming { raw, since: partition.raw_since, newest_broker_ms: partition.newest_broker_ms.take() };
        let buffer = &mut self.buffers[index];
        let raw = turn(&self.flusher, &mut self.stages[index], &self.zones, coming, buffer)?;
        if self.spare.len() < SPARE {
            self.spare.extend(raw);
        }
        self.held.add_raw(-(bytes as i64));
        self.publish(index);
        Ok(())
    }

    /// Turns what such partitions have collected.
    fn turn_those(&mut self, wanted: impl Fn(&Partition) -> bool) -> Result<(), IngestError> {
        for place in 0..self.partitions.len() {
            let partition = &self.partitions[place];
            if partition.raw.is_some() && wanted(partition) {
                self.turn(place)?;
            }
        }
        Ok(())
    }

    /// Tells the intake what is buffered of a pipeline.
    fn publish(&self, stage: usize) {
        self.held.set(self.number, stage, &self.buffers[stage]);
    }
}
