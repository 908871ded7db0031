//! Finishing what an owner before began by other texts than today's.
//!
//! If a process dies between the commits of a flush, one zone's table may have rows of a range that others
//! lack, and no receipt settles it. By another policy a record of it could belong to another zone, and
//! would come to lie in both; by another schema it could become other rows. So that range, and no more, is
//! read again and finished by the texts that its commit names, before the partition goes on by today's
//! (RES-7: the policy changes only at a barrier).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use situs_model::store::{Tenure, Versions};
use situs_model::{NextOffset, RawBatch, Source, ZoneId};

use crate::assignment::END_TIMEOUT;
use crate::buffer::Buffer;
use crate::client::{BAD_MESSAGE, Client, Message, Polled, Queue, Reader as _, Start};
use crate::definition::Definition;
use crate::error::IngestError;
use crate::flush::{Ended, Flusher, Job, Outcome};
use crate::intake::Intake;
use crate::partition::look_for_deleted;
use crate::stage::Stage;
use crate::turn::{Coming, turn};

/// How long the broker may take to give something.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a read waits.
const READ_WAIT: Duration = Duration::from_millis(100);
/// A raw batch is decoded when it has so many messages or bytes.
const BATCH: (usize, usize) = (16_384, 2 << 20);

/// A range of a partition that is to be finished: from its settled offset on.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) source: Source,
    pub(crate) tenure: Tenure,
    pub(crate) until: NextOffset,
}

impl Range {
    fn unfinished(&self, reason: String) -> IngestError {
        IngestError::Replay { partition: self.source.clone(), until: self.until, reason }
    }
}

/// A range that is being read.
#[derive(Debug)]
struct Reading<'a> {
    range: &'a Range,
    /// The offset to read next; `None` before the first message of a partition without receipts.
    next: Option<NextOffset>,
    raw: Option<RawBatch>,
    since: Instant,
    newest_broker_ms: Option<i64>,
    /// An error came after the last message. The client counts it as if it were the message that is still
    /// to come, so its own position is not to be believed.
    unsure: bool,
    done: bool,
}

/// How a replay ended.
#[derive(Debug)]
pub(crate) enum Replayed {
    /// It is settled, but for these partitions, of which nothing was there any more.
    But(Vec<Source>),
    /// It could not be done now: broker or store are away, or another owner came.
    NotNow(String),
}

impl<C: Client> Intake<'_, C> {
    /// Reads ranges of a pipeline again, and settles them by texts of these versions.
    ///
    /// # Panics
    /// Without ranges.
    pub(crate) fn replay(
        &mut self,
        pipeline: usize,
        versions: &Versions,
        ranges: &[Range],
    ) -> Result<Replayed, IngestError> {
        let name = self.definitions[pipeline].pipeline.name.clone();
        tracing::warn!(
            event = "replay",
            pipeline = name.as_str(),
            policy = versions.policy.as_str(),
            schema = versions.schema.as_str(),
            partitions = ranges.len(),
            "finishing by earlier texts what was begun by them"
        );
        let mut stage =
            self.flusher.stores.past.stage(&name, versions).map_err(|reason| ranges[0].unfinished(reason))?;
        let definition = Definition::of(&stage);
        let Some(buffer) = self.read_again(&mut stage, ranges)? else {
            return Ok(Replayed::NotNow("the broker does not give what is to be replayed".to_owned()));
        };
        let offsets = buffer.offsets();
        let sources = ranges.iter().map(|range| &range.source);
        let without: Vec<Source> =
            sources.filter(|source| !buffer.shares.contains_key(*source)).cloned().collect();
        if buffer.is_empty() {
            return Ok(Replayed::But(without));
        }
        let tenures: HashMap<&Source, Tenure> = ranges.iter().map(|r| (&r.source, r.tenure)).collect();
        let job =
            definition.job(buffer, self.host.id(), |source| tenures.get(source).copied().unwrap_or_default());
        let Some(ended) = self.flush_now(pipeline, job) else {
            return Ok(Replayed::NotNow("a store does not take what was replayed".to_owned()));
        };
        match ended.outcome {
            Outcome::Settled => {
                self.summary.counts.add(&ended.counts);
                self.metrics.replayed_offsets.with_label_values(&[name.as_str()]).inc_by(offsets);
                let settled: Vec<_> =
                    ended.shares.iter().map(|share| (share.source.clone(), share.range.end)).collect();
                self.tell_group(&settled, false);
                Ok(Replayed::But(without))
            }
            // What it is of is looked at again when the partitions are taken over.
            Outcome::OtherTopics(topics) => {
                Ok(Replayed::NotNow(format!("another topic has the name of {}", topics.join(", "))))
            }
            // Another owner came, and finished it or will.
            Outcome::Yielded(reason) => Ok(Replayed::NotNow(reason)),
            Outcome::Stopped(reason) => Err(IngestError::Flush { pipeline: name.to_string(), reason }),
        }
    }

    /// Carries a flush out while everything else waits; `None` if it takes longer than the group would wait
    /// for, or the process is to stop.
    fn flush_now(&self, pipeline: usize, job: Job) -> Option<Ended> {
        let flusher = self.flusher.clone();
        let deadline = self.host.now() + PATIENCE;
        let (sender, ended) = channel();
        let run = async move { drop(sender.send(flusher.run(pipeline, job).await)) };
        let mut task = self.host.spawn(Box::pin(run));
        while !task.is_finished() {
            if self.host.now() > deadline || self.control.is_stopping() {
                // What has reached the disk by then is found by whoever takes over next.
                task.end();
                break;
            }
            self.host.pause(Duration::from_millis(5));
        }
        ended.try_recv().ok()
    }

    /// Reads and encodes ranges, with a client of its own that is in no group; `None` if the broker does not
    /// give them for long, or the process is to stop.
    fn read_again(&self, stage: &mut Stage, ranges: &[Range]) -> Result<Option<Buffer>, IngestError> {
        let client = self.client.reader()?;
        let queue = Arc::new(client.queue().ok_or(IngestError::Worker("has no queue"))?);
        let mut list = Vec::with_capacity(ranges.len());
        let mut readings = Vec::with_capacity(ranges.len());
        for range in ranges {
            let Range { source, tenure, until } = range;
            let Ok(end) = self.end_of(source, self.host.now() + END_TIMEOUT) else { return Ok(None) };
            if end < until.0 {
                return Err(IngestError::Shrunk { partition: source.clone(), end, next: *until });
            }
            let start = tenure.settled.map_or(Start::Beginning, |settled| Start::At(settled.0));
            list.push((source.clone(), start));
            if !queue.take_over(source) {
                return Err(IngestError::Worker("cannot take a partition over"));
            }
            readings.push(Reading {
                range,
                next: tenure.settled,
                raw: None,
                since: self.host.now(),
                newest_broker_ms: None,
                unsure: false,
                done: false,
            });
        }
        client.assign(&list)?;
        let sources: Vec<Source> = list.into_iter().map(|(source, _)| source).collect();
        let zones = self.flusher.stores.zone_ids();
        let mut buffer = Buffer::default();
        let mut reader = queue.reader();
        let mut heard = self.host.now();
        while readings.iter().any(|reading| !reading.done) {
            // Errors and statistics come this way; messages come by the queue.
            if let Polled::Message(..) = client.poll(Duration::ZERO) {
                return Err(IngestError::Misdelivered(ranges[0].source.clone()));
            }
            if let Some(reason) = client.fatal() {
                return Err(IngestError::KafkaFatal(reason));
            }
            for message in reader.read(READ_WAIT) {
                let place = readings.iter().position(|reading| reading.is_of(message));
                let Some(place) = place else { continue };
                if message.error().is_none() && !readings[place].done {
                    heard = self.host.now();
                }
                if readings[place].take(message, &*queue, &self.flusher)? {
                    readings[place].turn(stage, &self.flusher, &zones, &mut buffer)?;
                }
            }
            reader.clear();
            // The last offsets may hold no message, so the client's own position counts too.
            for (reading, position) in readings.iter_mut().zip(client.positions(&sources)) {
                let sure = position.filter(|_| !reading.unsure);
                reading.done |= sure.is_some_and(|position| position >= reading.range.until.0);
            }
            if self.host.since(heard) > PATIENCE || self.control.is_stopping() {
                return Ok(None);
            }
        }
        for reading in &mut readings {
            reading.finish(self.host.now_us());
            reading.turn(stage, &self.flusher, &zones, &mut buffer)?;
        }
        Ok(Some(buffer))
    }
}

impl Reading<'_> {
    fn is_of(&self, message: &impl Message) -> bool {
        let Source { topic, partition, .. } = &self.range.source;
        message.partition() == *partition && message.topic() == &**topic
    }

    /// Takes a message in; whether the raw batch is full.
    fn take(
        &mut self,
        message: &impl Message,
        queue: &impl Queue,
        flusher: &Flusher,
    ) -> Result<bool, IngestError> {
        let (metrics, host) = (&flusher.metrics, &flusher.host);
        let Range { source, until, .. } = self.range;
        if let Some(code) = message.error() {
            queue.note_error(code, message.topic(), message.partition());
            self.unsure = true;
            if code == BAD_MESSAGE {
                return Err(IngestError::Corrupt(source.clone()));
            }
            return Ok(false);
        }
        self.unsure = false;
        let offset = message.offset();
        let next = self.next.unwrap_or(NextOffset(offset));
        if offset >= until.0 {
            look_for_deleted(queue, metrics, source, next, until.0);
            self.done = true;
            return Ok(false);
        }
        if offset < next.0 {
            return Err(IngestError::OffsetRegression { partition: source.clone(), offset, next });
        }
        look_for_deleted(queue, metrics, source, next, offset);
        let raw = self.raw.get_or_insert_with(|| {
            self.since = host.now();
            RawBatch::new(source.clone(), next, host.now_us())
        });
        let time = message.timestamp_ms();
        raw.push(offset, time, message.key(), message.payload(), message.headers());
        self.newest_broker_ms = self.newest_broker_ms.max(time);
        self.next = Some(NextOffset(offset + 1));
        Ok(raw.len() >= BATCH.0 || raw.payload_bytes() >= BATCH.1)
    }

    /// What is left of the range holds no message.
    fn finish(&mut self, now_us: i64) {
        let Range { source, until, .. } = self.range;
        if let Some(next) = self.next.filter(|next| next < until) {
            let new = || RawBatch::new(source.clone(), next, now_us);
            self.raw.get_or_insert_with(new).extend_to(*until);
        } else if let Some(raw) = &mut self.raw {
            raw.extend_to(*until);
        }
    }

    fn turn(
        &mut self,
        stage: &mut Stage,
        flusher: &Flusher,
        zones: &BTreeSet<ZoneId>,
        buffer: &mut Buffer,
    ) -> Result<(), IngestError> {
        let Some(raw) = self.raw.take() else { return Ok(()) };
        let coming = Coming { raw, since: self.since, newest_broker_ms: self.newest_broker_ms.take() };
        turn(flusher, stage, zones, coming, buffer).map(drop)
    }
}
