//! What lies in a topic, and putting it there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::corpus::random::Random;
use crate::corpus::shapes::{Machine, write_block, write_value};

/// The kinds of messages, by the size that results are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `{"timestamp_ms","value"}`: 46 bytes.
    Value,
    /// A machine's state, 21 fields: 440 bytes.
    State,
    /// A block of 45 rows with 61 numbers: 30 kB.
    Block,
}

impl Shape {
    /// The word that names it on command lines and in topics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Value => "46B",
            Self::State => "440B",
            Self::Block => "30kB",
        }
    }

    /// Rows that a message gives.
    pub(crate) fn rows(self) -> u64 {
        if self == Self::Block { 60 } else { 1 }
    }
}

/// Jurisdiction and site of the devices, which take turns.
pub(crate) const SITES: [(&str, &str); 4] =
    [("CN", "nanning-1"), ("DE", "stuttgart-1"), ("JP", "nagoya-1"), ("US", "akron-1")];

/// The messages of one topic; the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dataset {
    pub(crate) shape: Shape,
    pub(crate) messages: u64,
    pub(crate) partitions: i32,
    pub(crate) devices: u64,
}

impl Dataset {
    /// The topic, named after what lies in it.
    pub(crate) fn topic(&self) -> String {
        let Self { shape, messages, partitions, devices } = self;
        format!("bench-{}-{messages}-{partitions}p-{devices}d", shape.as_str())
    }

    /// The id of a device, and where it stands as an index into [`SITES`].
    pub(crate) fn device(number: u64) -> (String, usize) {
        (format!("m-{number:08}"), (number % SITES.len() as u64) as usize)
    }
}

/// Makes messages one after the other.
#[derive(Debug)]
pub(crate) struct Generator {
    dataset: Dataset,
    random: Random,
    index: u64,
    /// Key, that is the device, of the last message.
    pub(crate) key: String,
    /// The last message.
    pub(crate) payload: String,
    /// Its partition: that of its device.
    pub(crate) partition: i32,
}

impl Generator {
    /// At the first message of a topic.
    pub(crate) fn new(dataset: Dataset) -> Self {
        Self {
            dataset,
            random: Random(0x5eed),
            index: 0,
            key: String::new(),
            payload: String::new(),
            partition: 0,
        }
    }

    /// Goes on to the next message.
    pub(crate) fn advance(&mut self) {
        let Dataset { shape, devices, partitions, .. } = self.dataset;
        let number = self.random.below(devices as usize) as u64;
        let (id, site) = Dataset::device(number);
        // So that each partition holds devices of all sites.
        self.partition = (number / SITES.len() as u64 % partitions as u64) as i32;
        self.key.clone_from(&id);
        self.payload.clear();
        // 10 million messages are most of a day.
        let (index, ms) = (self.index, self.index * 4);
        self.index += 1;
        let (out, random) = (&mut self.payload, &mut self.random);
        // Writing to a `String` cannot fail.
        let _ = match shape {
            Shape::Value => write_value(out, random, ms),
            Shape::State => {
                Machine { id, country: SITES[site].0, number }.write_state(out, random, index, ms)
            }
            Shape::Block => write_block(out, random, index),
        };
    }
}

/// Sends the messages of a dataset to a topic, as fast as it goes; the bytes of their payloads.
///
/// # Errors
/// If a message could not be delivered.
pub(crate) fn fill(bootstrap: &str, topic: &str, dataset: Dataset) -> anyhow::Result<u64> {
    let producer = producer(bootstrap, "50")?;
    let mut generator = Generator::new(dataset);
    let mut bytes = 0;
    for _ in 0..dataset.messages {
        generator.advance();
        bytes += generator.payload.len() as u64;
        send(&producer, topic, generator.partition, &generator.key, &generator.payload)?;
    }
    producer.flush(Duration::from_secs(120)).context("the last messages were not delivered")?;
    Ok(bytes)
}

/// Messages made beforehand, to be sent over and over.
#[derive(Debug)]
pub(crate) struct Ring {
    messages: Vec<(i32, String, String)>,
}

impl Ring {
    /// The messages of a dataset.
    pub(crate) fn new(dataset: Dataset) -> Self {
        let mut generator = Generator::new(dataset);
        let message = |_| {
            generator.advance();
            (generator.partition, generator.key.clone(), generator.payload.clone())
        };
        Self { messages: (0..dataset.messages).map(message).collect() }
    }

    /// Sends until told to stop, as fast as it goes or at a rate in messages per second; how many were
    /// delivered.
    ///
    /// # Errors
    /// If a message could not be delivered.
    pub(crate) fn send(
        &self,
        bootstrap: &str,
        topic: &str,
        rate: Option<f64>,
        stop: &AtomicBool,
        sent: &AtomicU64,
    ) -> anyhow::Result<u64> {
        let producer = producer(bootstrap, "5")?;
        let started = Instant::now();
        let mut count = 0_u64;
        for (partition, key, payload) in self.messages.iter().cycle() {
            if count.is_multiple_of(64) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                sent.store(count, Ordering::Relaxed);
                let due = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(count as f64 / rate));
                let early = due.saturating_sub(started.elapsed());
                if early >= Duration::from_millis(1) {
                    producer.poll(Duration::ZERO);
                    std::thread::sleep(early);
                }
            }
            send(&producer, topic, *partition, key, payload)?;
            count += 1;
        }
        producer.flush(Duration::from_secs(120)).context("the last messages were not delivered")?;
        Ok(count)
    }
}

fn producer(bootstrap: &str, linger_ms: &str) -> anyhow::Result<BaseProducer> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", linger_ms)
        .set("batch.size", "1048576")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("compression.type", "none")
        .set("delivery.report.only.error", "true")
        .create()?;
    Ok(producer)
}

fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    key: &str,
    payload: &str,
) -> anyhow::Result<()> {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(payload);
    while let Err((error, back)) = producer.send(record) {
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => record = back,
            error => bail!("a message was refused: {error}"),
        }
        producer.poll(Duration::from_millis(5));
    }
    Ok(())
}
