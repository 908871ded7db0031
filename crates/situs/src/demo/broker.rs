//! A Kafka broker inside the process, so that the demonstration and the tests need no other.

use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

/// A mock cluster of librdkafka with one broker, reachable over TCP at [`bootstrap`](Self::bootstrap)
/// by this and by other processes of the machine. It ends when the value is dropped.
///
/// # Limits
/// * A partition keeps its newest [`KEPT_BYTES`] (as they arrived: compressed, if the producer
///   compressed) or [`KEPT_BATCHES`] batches of messages. Older batches are dropped **silently**, whether
///   they were consumed or not, so a producer must be held back by what has been consumed, as
///   [`Feed`](super::feed::Feed) is.
/// * Finding an offset walks through all batches of the partition: few large batches are cheap, many
///   small ones are not.
/// * Everything is in memory and gone at the end: offsets begin at 0 each time.
/// * Topics are made here only, not over the wire; a topic that nobody made is made with 4
///   partitions when a producer asks for it.
/// * The first join of a consumer group takes about 3 s, as with a real broker's default.
///
/// # Memory
/// Up to [`KEPT_BYTES`] per partition.
pub struct EmbeddedBroker {
    /// The client that owns the cluster. A `MockCluster` of its own would not be `Send`.
    owner: BaseProducer,
}

/// The stored bytes that a partition keeps.
pub const KEPT_BYTES: u64 = 5 << 20;

/// The batches of messages that a partition keeps.
pub const KEPT_BATCHES: u64 = 100_000;

impl EmbeddedBroker {
    /// Starts a broker with these topics and numbers of partitions.
    ///
    /// # Errors
    /// If the client or a listener on the loopback interface cannot be made, or a topic is given
    /// twice or has no partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaError> {
        let owner: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "1").create()?;
        let broker = Self { owner };
        let Some(cluster) = broker.owner.client().mock_cluster() else {
            return Err(KafkaError::ClientCreation("the client made no mock cluster".to_owned()));
        };
        for (topic, partitions) in topics {
            if *partitions < 1 {
                return Err(KafkaError::MockCluster(RDKafkaErrorCode::InvalidPartitions));
            }
            cluster.create_topic(topic, *partitions, 1)?;
        }
        drop(cluster);
        Ok(broker)
    }

    /// The address for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        // The cluster lives as long as its owner, so the empty case cannot be seen.
        self.owner.client().mock_cluster().map(|cluster| cluster.bootstrap_servers()).unwrap_or_default()
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker").field("bootstrap", &self.bootstrap()).finish()
    }
}

#[cfg(test)]
mod tests;
