//! The floor under every reader of Kafka: a consumer that counts bytes and does nothing else.

use std::time::{Duration, Instant};

use anyhow::bail;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Reads so many messages from the beginning of a topic; the bytes of their payloads.
///
/// # Errors
/// If nothing comes for 30 s.
pub(crate) fn consume(bootstrap: &str, topic: &str, partitions: i32, messages: u64) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.min.bytes", "65536")
        // As Situs sets them, so that the difference is not one of settings.
        .set("fetch.message.max.bytes", "1048576")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "100000")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut count, mut bytes) = (0, 0);
    let mut last = Instant::now();
    while count < messages {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                count += 1;
                bytes += message.payload_len() as u64;
                if count % 1024 == 0 {
                    last = Instant::now();
                }
            }
            Some(Err(error)) => bail!("{error}"),
            None if last.elapsed() > Duration::from_secs(30) => bail!("nothing came for 30 s"),
            None => {}
        }
    }
    Ok(bytes)
}
