//! Sends generated messages to a broker, no further ahead of the consumer than the broker keeps.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::generator::{Expect, Generator, Message};

/// Messages of a partition that may be sent but not consumed.
pub const AHEAD_MESSAGES: i64 = 30_000;

/// Stored bytes of a partition that may be sent but not consumed. The embedded broker keeps 5 MiB, drops
/// whole batches (of up to [`BATCH_BYTES`]), and needs room for the batch that is arriving.
pub const AHEAD_BYTES: u64 = 3 << 20;

/// Bytes of a batch at most.
pub const BATCH_BYTES: u64 = 256 << 10;

/// Bytes that a record takes in a batch beside key and value, at most.
const RECORD_OVERHEAD: u64 = 32;

/// Messages after which the place of a partition's bytes is noted.
const MARK_EVERY: i64 = 32;

/// How long the thread sleeps when it may not send.
const NAP: Duration = Duration::from_millis(1);

/// How long the last messages may take to be delivered.
const FLUSH: Duration = Duration::from_secs(30);

/// The next offset that the consumer will read of a topic's partition; negative if it has none yet.
pub type Consumed = Arc<dyn Fn(&str, i32) -> i64 + Send + Sync>;

/// What a feed has sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Produced {
    /// Messages that were delivered.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages per topic and partition: also the offset after the last one, since topics begin empty.
    pub per_topic_partition: BTreeMap<(String, i32), u64>,
    /// Messages by what they must come to.
    pub expected: BTreeMap<Expect, u64>,
    /// Messages whose delivery failed or stayed unknown. They may or may not be in the topic, so nothing can
    /// be said of the sums above unless this is 0.
    pub failed: u64,
    /// The first error, if the feed ended for one.
    pub error: Option<String>,
}

/// Something that makes messages without end.
pub trait Telemetry: Send + 'static {
    /// Writes the next message into `out`, whose buffers are reused.
    fn next(&mut self, out: &mut Message);
}

impl Telemetry for Generator {
    fn next(&mut self, out: &mut Message) {
        Self::next(self, out);
    }
}

/// A thread that sends what a generator makes.
#[derive(Debug)]
pub struct Feed;

impl Feed {
    /// Starts to send to topics, which must be empty, until
    /// `stop` is set or something fails. The thread's result comes when all that was sent has been delivered.
    ///
    /// `consumed` gives the next offset that the consumer will read; it is asked about every millisecond per
    /// partition at most. No partition gets more than [`AHEAD_MESSAGES`] or [`AHEAD_BYTES`] ahead of it. Since
    /// messages are sent in the order in which they are made, the slowest partition holds back all.
    /// `rate` is in messages per second; with `None` only the consumer holds back.
    pub fn start(
        bootstrap: String,
        generator: impl Telemetry,
        consumed: Consumed,
        rate: Option<u64>,
        stop: Arc<AtomicBool>,
    ) -> JoinHandle<Produced> {
        std::thread::spawn(move || {
            let producer = match producer(&bootstrap) {
                Ok(producer) => producer,
                Err(error) => return Produced { error: Some(error.to_string()), ..Produced::default() },
            };
            let mut sender = Sender {
                producer,
                consumed,
                pace: rate.map(Pace::new),
                stop,
                lanes: Vec::new(),
                bytes: 0,
                expected: Vec::new(),
                error: None,
            };
            sender.run(generator);
            sender.finish()
        })
    }
}

fn producer(bootstrap: &str) -> Result<BaseProducer<Deliveries>, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "1")
        // A message that was sent twice would spoil the count of what was sent.
        .set("retries", "0")
        .set("linger.ms", "20")
        .set("batch.size", BATCH_BYTES.to_string())
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        // Measured: lz4 takes 0.35 µs of CPU more per message than it saves on the loopback interface.
        .set("compression.type", "none")
        // Successes are known from the flush; a report for each takes 0.9 µs beside the 2.0 µs of a message.
        .set("delivery.report.only.error", "true")
        .create_with_context(Deliveries::default())
}

/// Counts what could not be delivered.
#[derive(Debug, Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(code = ?error.rdkafka_error_code(), "a generated message was not delivered");
        }
    }
}

/// One partition.
#[derive(Debug)]
struct Lane {
    topic: &'static str,
    partition: i32,
    sent: i64,
    sent_bytes: u64,
    /// Offsets, increasing, with the stored bytes before them.
    marks: VecDeque<(i64, u64)>,
    /// What was consumed when last asked.
    consumed: i64,
    consumed_bytes: u64,
}

impl Lane {
    fn new(topic: &'static str, partition: i32) -> Self {
        Self {
            topic,
            partition,
            sent: 0,
            sent_bytes: 0,
            marks: VecDeque::new(),
            consumed: 0,
            consumed_bytes: 0,
        }
    }

    /// Whether a message with these stored bytes may be sent. A partition that is consumed to its end
    /// takes any message.
    fn has_room(&self, bytes: u64) -> bool {
        let ahead = self.sent_bytes - self.consumed_bytes + bytes;
        self.sent == self.consumed || (self.sent - self.consumed < AHEAD_MESSAGES && ahead <= AHEAD_BYTES)
    }

    fn sent(&mut self, bytes: u64) {
        if self.sent % MARK_EVERY == 0 {
            self.marks.push_back((self.sent, self.sent_bytes));
        }
        self.sent += 1;
        self.sent_bytes += bytes;
    }

    fn consumed_to(&mut self, offset: i64) {
        self.consumed = offset.clamp(self.consumed, self.sent);
        while let Some((mark, bytes)) = self.marks.front().copied()
            && mark <= self.consumed
        {
            // Exact at marks, and less than what was consumed between them.
            self.consumed_bytes = bytes;
            self.marks.pop_front();
        }
        if self.consumed == self.sent {
            self.consumed_bytes = self.sent_bytes;
        }
    }
}

/// Holds a rate.
#[derive(Debug)]
struct Pace {
    rate: u64,
    since: Instant,
    taken: u64,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self { rate, since: Instant::now(), taken: 0 }
    }

    /// Whether another message may be sent now. What was missed for longer than a second is not made up for.
    fn take(&mut self) -> bool {
        let elapsed = self.since.elapsed();
        let due = (elapsed.as_secs_f64() * self.rate as f64) as u64;
        if due > self.taken + self.rate {
            (self.since, self.taken) = (Instant::now(), 0);
        }
        let may = due > self.taken;
        self.taken += u64::from(may);
        may
    }
}

struct Sender {
    producer: BaseProducer<Deliveries>,
    consumed: Consumed,
    pace: Option<Pace>,
    stop: Arc<AtomicBool>,
    lanes: Vec<Lane>,
    bytes: u64,
    expected: Vec<(Expect, u64)>,
    error: Option<String>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl Sender {
    fn run(&mut self, mut generator: impl Telemetry) {
        let mut message = Message::new();
        let mut turn = 0_u32;
        while !self.stop.load(Ordering::Relaxed) {
            generator.next(&mut message);
            let lane = self.lane(&message);
            let bytes = (message.key.len() + message.payload.len()) as u64 + RECORD_OVERHEAD;
            if !self.wait(lane, bytes) || !self.send(&message) {
                return;
            }
            self.lanes[lane].sent(bytes);
            self.bytes += message.payload.len() as u64;
            self.count(message.expect);
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(1_024) {
                self.producer.poll(Duration::ZERO);
                if self.producer.context().failed.load(Ordering::Relaxed) > 0 {
                    return;
                }
            }
        }
    }

    /// The place of the message's partition. There are a few dozen, so they are looked through.
    fn lane(&mut self, message: &Message) -> usize {
        let is_it = |lane: &Lane| lane.partition == message.partition && lane.topic == message.topic;
        self.lanes.iter().position(is_it).unwrap_or_else(|| {
            self.lanes.push(Lane::new(message.topic, message.partition));
            self.lanes.len() - 1
        })
    }

    /// Waits until the message may be sent; false if the feed is to end before.
    fn wait(&mut self, lane: usize, bytes: u64) -> bool {
        while !self.lanes[lane].has_room(bytes) {
            let Lane { topic, partition, .. } = self.lanes[lane];
            let consumed = (self.consumed)(topic, partition);
            self.lanes[lane].consumed_to(consumed);
            if self.lanes[lane].has_room(bytes) {
                break;
            }
            if !self.nap() {
                return false;
            }
        }
        while self.pace.as_mut().is_some_and(|pace| !pace.take()) {
            if !self.nap() {
                return false;
            }
        }
        true
    }

    /// Sleeps a little; false if the feed is to end.
    fn nap(&self) -> bool {
        self.producer.poll(Duration::ZERO);
        std::thread::sleep(NAP);
        !self.stop.load(Ordering::Relaxed) && self.producer.context().failed.load(Ordering::Relaxed) == 0
    }

    /// Hands a message to the client; false if the feed is to end.
    fn send(&mut self, message: &Message) -> bool {
        loop {
            // Messages may be made faster than by one second a second. With this process's time on them, the
            // clocks of all machines would soon be ahead.
            let mut record = BaseRecord::<[u8], [u8]>::to(message.topic)
                .partition(message.partition)
                .timestamp(message.time_ms)
                .key(&message.key);
            if let Some(payload) = message.payload() {
                record = record.payload(payload);
            }
            match self.producer.send(record) {
                Ok(()) => return true,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    if !self.nap() {
                        return false;
                    }
                }
                Err((error, _)) => {
                    self.error.get_or_insert_with(|| error.to_string());
                    return false;
                }
            }
        }
    }

    fn count(&mut self, expect: Expect) {
        match self.expected.iter_mut().find(|(known, _)| *known == expect) {
            Some((_, count)) => *count += 1,
            None => self.expected.push((expect, 1)),
        }
    }

    /// Waits for the last deliveries and sums up.
    fn finish(mut self) -> Produced {
        if let Err(error) = self.producer.flush(FLUSH) {
            self.error.get_or_insert_with(|| error.to_string());
        }
        let unknown = u64::try_from(self.producer.in_flight_count()).unwrap_or(0);
        let failed = self.producer.context().failed.load(Ordering::Relaxed) + unknown;
        if failed > 0 {
            self.error.get_or_insert_with(|| format!("{failed} messages were not delivered"));
        }
        let sent: u64 = self.lanes.iter().map(|lane| lane.sent.unsigned_abs()).sum();
        Produced {
            messages: sent.saturating_sub(failed),
            bytes: self.bytes,
            per_topic_partition: self
                .lanes
                .iter()
                .map(|lane| ((lane.topic.to_owned(), lane.partition), lane.sent.unsigned_abs()))
                .collect(),
            expected: self.expected.into_iter().collect(),
            failed,
            error: self.error,
        }
    }
}

#[cfg(test)]
mod tests;
