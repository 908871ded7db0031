use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::BaseRecord;

use super::*;

#[test]
fn null_and_empty_payloads_pass_through() {
    let broker = EmbeddedBroker::start(&[("t", 2)]).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    let record = || BaseRecord::<[u8], [u8]>::to("t").partition(1).key(b"device");
    for record in [record(), record().payload(b""), record().payload(b"{}")] {
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "g")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some("t"), Duration::from_secs(10)).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 2);
    let mut assignment = rdkafka::TopicPartitionList::new();
    assignment.add_partition_offset("t", 1, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut payloads = Vec::new();
    while payloads.len() < 3 {
        if let Some(message) = consumer.poll(Duration::from_secs(10)) {
            payloads.push(message.unwrap().payload().map(<[u8]>::to_vec));
        }
    }
    assert_eq!(payloads, [None, Some(Vec::new()), Some(b"{}".to_vec())]);
}

#[test]
fn impossible_topics_are_errors() {
    assert!(EmbeddedBroker::start(&[("t", 0)]).is_err());
    assert!(EmbeddedBroker::start(&[("t", 1), ("t", 2)]).is_err());
}

#[test]
fn it_can_be_handed_to_another_thread() {
    fn sendable<T: Send + Sync>() {}
    sendable::<EmbeddedBroker>();
}
