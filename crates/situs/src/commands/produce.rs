//! `situs produce`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::cli::ProduceArgs;

/// Counts what the broker acknowledged.
#[derive(Debug, Default)]
struct Deliveries {
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Clone)]
struct Context(Arc<Deliveries>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.0.acknowledged.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                if self.0.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!(event = "delivery-failed", "{error}");
                }
                0
            }
        };
    }
}

pub(super) fn produce(args: &ProduceArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let headers = super::pairs("--header", &args.headers)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("message.max.bytes", "100000000")
        .set("message.timeout.ms", "30000");
    for (name, value) in super::pairs("--property", &args.properties)? {
        config.set(name, value);
    }
    if let Some(partitions) = args.create {
        super::runtime()?.block_on(create_topic(&config, &args.topic, partitions))?;
    }
    let deliveries = Arc::new(Deliveries::default());
    let producer: ThreadedProducer<Context> =
        config.create_with_context(Context(deliveries.clone())).context("kafka")?;
    let mut sent = 0_u64;
    super::for_each_message(args.file.as_deref(), args.whole, |number, bytes| {
        let mut list = OwnedHeaders::new_with_capacity(headers.len());
        for (name, value) in &headers {
            list = list.insert(Header { key: name, value: Some(value.as_bytes()) });
        }
        let mut record = BaseRecord::<str, [u8]>::to(&args.topic).payload(bytes).headers(list);
        if let Some(key) = &args.key {
            record = record.key(key);
        }
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => bail!("line {number}: {error}"),
            }
        }
        sent += 1;
        Ok(())
    })?;
    producer.flush(Duration::from_secs(60)).context("waiting for the broker's acknowledgements")?;
    let (acknowledged, failed) =
        (deliveries.acknowledged.load(Ordering::Relaxed), deliveries.failed.load(Ordering::Relaxed));
    println!("{sent} messages sent to {}: {acknowledged} acknowledged, {failed} failed", args.topic);
    if acknowledged != sent {
        bail!("{} messages were not acknowledged", sent - acknowledged);
    }
    Ok(ExitCode::SUCCESS)
}

async fn create_topic(config: &ClientConfig, topic: &str, partitions: i32) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = config.create().context("kafka")?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for result in admin.create_topics([&new], &options).await.context("creating the topic")? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => bail!("creating topic {topic}: {code}"),
        }
    }
    Ok(())
}
