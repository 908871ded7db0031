use std::collections::HashMap;
use std::sync::Mutex;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::demo::broker::{EmbeddedBroker, KEPT_BYTES};
use crate::demo::generator::TOPICS;

/// Reads all partitions of [`TOPICS`] from the beginning and knows the next offset of each.
struct Reader {
    consumer: BaseConsumer,
    next: Arc<Mutex<HashMap<(String, i32), i64>>>,
    messages: u64,
    bytes: HashMap<(String, i32), u64>,
}

impl Reader {
    fn new(broker: &EmbeddedBroker) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("group.id", "reader")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "256")
            .set("fetch.queue.backoff.ms", "5")
            .create()
            .unwrap();
        let mut assignment = rdkafka::TopicPartitionList::new();
        for (topic, partitions) in TOPICS {
            for partition in 0..partitions {
                assignment.add_partition_offset(topic, partition, rdkafka::Offset::Offset(0)).unwrap();
            }
        }
        consumer.assign(&assignment).unwrap();
        Self { consumer, next: Arc::default(), messages: 0, bytes: HashMap::new() }
    }

    fn consumed(&self) -> Consumed {
        let next = self.next.clone();
        Arc::new(move |topic, partition| {
            next.lock().unwrap().get(&(topic.to_owned(), partition)).copied().unwrap_or(-1)
        })
    }

    /// Reads one message; false if none comes for long. Fails if an offset was skipped, which is how
    /// a message that the broker dropped is noticed.
    fn read(&mut self) -> bool {
        // The client also returns without a message when it had something else to do.
        let deadline = Instant::now() + Duration::from_secs(30);
        let message = loop {
            match self.consumer.poll(Duration::from_secs(1)) {
                Some(message) => break message,
                None if Instant::now() > deadline => return false,
                None => {}
            }
        };
        let message = message.unwrap();
        let lane = (message.topic().to_owned(), message.partition());
        let mut next = self.next.lock().unwrap();
        let expected = next.entry(lane.clone()).or_insert(0);
        assert_eq!(message.offset(), *expected, "{lane:?}");
        *expected += 1;
        self.messages += 1;
        *self.bytes.entry(lane).or_insert(0) += message.payload().map_or(0, <[u8]>::len) as u64;
        true
    }
}

#[test]
fn a_slow_consumer_holds_the_feed_back_and_nothing_is_dropped() {
    let broker = EmbeddedBroker::start(&TOPICS).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut reader = Reader::new(&broker);
    let generator = Generator::new(1, 1_764_000_000_000);
    let feed = Feed::start(broker.bootstrap(), generator, reader.consumed(), None, stop.clone());
    // Nobody reads, so the feed fills the partitions and waits.
    std::thread::sleep(Duration::from_secs(2));
    // Then a consumer that is slower than the feed, until more has gone through a partition than the broker
    // keeps: without being held back, the feed would have made it drop some.
    while reader.bytes.values().max().is_none_or(|bytes| *bytes < KEPT_BYTES * 3 / 2) {
        assert!(reader.read(), "after {} messages", reader.messages);
        if reader.messages.is_multiple_of(2_000) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let produced = feed.join().unwrap();
    assert_eq!((produced.failed, &produced.error), (0, &None));
    assert!(produced.messages > reader.messages, "the feed was ahead");
    while reader.messages < produced.messages {
        assert!(reader.read(), "after {} messages", reader.messages);
    }

    assert_eq!(reader.bytes.values().sum::<u64>(), produced.bytes);
    let next = reader.next.lock().unwrap();
    let read: BTreeMap<(String, i32), u64> =
        next.iter().map(|(lane, next)| (lane.clone(), next.unsigned_abs())).collect();
    assert_eq!(read, produced.per_topic_partition);
    assert_eq!(produced.expected.values().sum::<u64>(), produced.messages);
}

#[test]
fn without_a_consumer_the_feed_stays_within_its_bounds() {
    let broker = EmbeddedBroker::start(&TOPICS).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let feed = Feed::start(
        broker.bootstrap(),
        Generator::new(2, 1_764_000_000_000),
        Arc::new(|_, _| -1),
        None,
        stop.clone(),
    );
    std::thread::sleep(Duration::from_secs(3));
    stop.store(true, Ordering::Relaxed);
    let produced = feed.join().unwrap();
    assert_eq!(produced.error, None);
    assert!(produced.per_topic_partition.values().all(|sent| *sent <= AHEAD_MESSAGES.unsigned_abs()));
    assert!(produced.bytes < AHEAD_BYTES * 23);
}

#[test]
fn a_rate_is_held() {
    let broker = EmbeddedBroker::start(&TOPICS).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let feed = Feed::start(
        broker.bootstrap(),
        Generator::new(3, 1_764_000_000_000),
        Arc::new(|_, _| i64::MAX),
        Some(2_000),
        stop.clone(),
    );
    std::thread::sleep(Duration::from_secs(2));
    stop.store(true, Ordering::Relaxed);
    let produced = feed.join().unwrap();
    assert!((2_500..=4_500).contains(&produced.messages), "{}", produced.messages);
}

#[test]
fn a_failed_delivery_is_reported_and_ends_the_feed() {
    let cluster = MockCluster::new(1).unwrap();
    for (topic, partitions) in TOPICS {
        cluster.create_topic(topic, partitions, 1).unwrap();
    }
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_MSG]);
    let produced = Feed::start(
        cluster.bootstrap_servers(),
        Generator::new(4, 1_764_000_000_000),
        Arc::new(|_, _| i64::MAX),
        Some(20_000),
        Arc::new(AtomicBool::new(false)),
    )
    .join()
    .unwrap();
    assert!(produced.failed > 0 && produced.error.is_some(), "{produced:?}");
    let sent: u64 = produced.per_topic_partition.values().sum();
    assert_eq!(produced.messages + produced.failed, sent);
}

#[test]
fn a_partition_that_does_not_exist_ends_the_feed() {
    let broker = EmbeddedBroker::start(&[("cnc.state", 1)]).unwrap();
    let produced = Feed::start(
        broker.bootstrap(),
        Generator::new(4, 1_764_000_000_000),
        Arc::new(|_, _| i64::MAX),
        Some(1_000),
        Arc::new(AtomicBool::new(false)),
    )
    .join()
    .unwrap();
    assert!(produced.error.is_some(), "{produced:?}");
}

#[test]
fn lanes_count_bytes_at_marks() {
    let mut lane = Lane::new("t", 0);
    assert!(lane.has_room(u64::MAX / 2), "an empty partition takes any message");
    for _ in 0..100 {
        lane.sent(10);
    }
    assert_eq!((lane.sent, lane.sent_bytes), (100, 1_000));
    lane.consumed_to(70);
    assert_eq!((lane.consumed, lane.consumed_bytes), (70, 640));
    lane.consumed_to(-1);
    assert_eq!(lane.consumed, 70, "never backwards");
    assert!(lane.has_room(AHEAD_BYTES - 360) && !lane.has_room(AHEAD_BYTES - 359));
    lane.consumed_to(1_000);
    assert_eq!((lane.consumed, lane.consumed_bytes), (100, 1_000), "never beyond what was sent");
    for _ in 0..AHEAD_MESSAGES {
        lane.sent(1);
    }
    assert!(!lane.has_room(1));
}
