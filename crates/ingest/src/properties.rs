//! The properties of the client: those that Situs gives it, and what librdkafka says of the others.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, DefaultConsumerContext};
use rdkafka::error::{IsError as _, KafkaError};
use rdkafka::types::RDKafkaConfRes;

/// What librdkafka has against a property, or against all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyProblem {
    /// The property, if it is one's.
    pub property: Option<String>,
    /// What it says. It may name a file, but no value of a property that could not be set.
    pub what: String,
}

/// The settings of a client but for its brokers and its group. `properties` win over what Situs finds sensible, and
/// what exactly-once rests on wins over `properties`.
pub(crate) fn settings(
    properties: &BTreeMap<String, String>,
    memory_bytes: u64,
    workers: usize,
) -> ClientConfig {
    let mut client = ClientConfig::new();
    // The client's own queues, one per worker, hold payloads too, and about 300 bytes more per message.
    // 16 MiB hide the broker's latency; more was no faster and took more memory (benches/README.md).
    let queue_kib = (memory_bytes / 16 / 1024 / workers as u64).clamp(1024, 16_384);
    client
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("fetch.min.bytes", "65536")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.message.max.bytes", "1048576")
        // A response stays in memory until its last message was read.
        .set("fetch.max.bytes", "16777216")
        .set("queued.max.messages.kbytes", queue_kib.to_string())
        .set("queued.min.messages", "100000")
        // By default the client waits for a second when its queue is full, which a fast reader empties
        // in a fraction of that.
        .set("fetch.queue.backoff.ms", "5")
        .set("session.timeout.ms", "45000")
        .set("allow.auto.create.topics", "false");
    for (key, value) in properties {
        if key == "max.partition.fetch.bytes" {
            // Two names of one property; which one would win is not defined.
            client.remove("fetch.message.max.bytes");
        }
        client.set(key, value);
    }
    // What exactly-once and the intake itself rest on cannot be set otherwise: Situs starts every partition
    // at its settled offset, and commits to the group itself, afterwards.
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        // Lag, readiness and the state of the group come by it.
        .set("statistics.interval.ms", "1000")
        .set("auto.offset.reset", "earliest");
    client
}

/// Asks librdkafka whether it knows these properties and takes their values, one by one and all together, with the
/// files that they name. A client is made for that which has no broker, so nothing is connected to.
pub fn check_properties(properties: &BTreeMap<String, String>) -> Vec<PropertyProblem> {
    let mut problems = Vec::new();
    for (name, value) in properties {
        let alone = ClientConfig::from_iter([(name.clone(), value.clone())]).create_native_config();
        problems.extend(alone.err().map(|error| problem(&error, properties)));
    }
    if !problems.is_empty() {
        return problems;
    }
    let client: Result<BaseConsumer<_>, _> =
        settings(properties, 512 << 20, 1).create_with_context(DefaultConsumerContext);
    client.err().map(|error| problem(&error, properties)).into_iter().collect()
}

/// What an error says, without the value that it may be about.
fn problem(error: &KafkaError, properties: &BTreeMap<String, String>) -> PropertyProblem {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => PropertyProblem {
            property: Some(name.clone()),
            what: "librdkafka knows no such property".to_owned(),
        },
        KafkaError::ClientConfig(_, what, name, value) => {
            PropertyProblem { property: Some(name.clone()), what: without(what, value) }
        }
        KafkaError::Nul(_) => {
            PropertyProblem { property: None, what: "a NUL character in a property".to_owned() }
        }
        // That files cannot be used, or that properties contradict each other: it names one of them, and maybe a
        // longer one whose name begins in the same way.
        KafkaError::ClientCreation(what) => {
            let named = properties.keys().filter(|name| what.contains(*name)).max_by_key(|name| name.len());
            // Of this one it gives the value alone.
            let mechanism = || properties.keys().find(|name| name.starts_with("sasl.mechanism"));
            let property = named.or_else(|| what.contains("SASL mechanism").then(mechanism).flatten());
            PropertyProblem { property: property.cloned(), what: what.clone() }
        }
        other => PropertyProblem { property: None, what: other.to_string() },
    }
}

/// A text of librdkafka's without the value that it quotes.
fn without(what: &str, value: &str) -> String {
    what.replace(&format!("\"{value}\""), "")
        .replace(&format!(" value {value} "), " value ")
        .replace("  ", " ")
}

/// What a client could not be made for, without the value of a property.
pub(crate) fn told(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(code, ..) if code.is_error() => {
            let found = problem(error, &BTreeMap::new());
            format!("`{}`: {}", found.property.unwrap_or_default(), found.what)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &[(&str, &str)]) -> Vec<(Option<String>, String)> {
        let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        check_properties(&properties).into_iter().map(|problem| (problem.property, problem.what)).collect()
    }

    #[test]
    fn good_properties_are_taken_and_nothing_is_connected_to() {
        for good in [
            &[][..],
            &[("client.id", "x"), ("session.timeout.ms", "10000"), ("group.instance.id", "pod-0")],
            &[("max.partition.fetch.bytes", "1000000")],
            &[
                ("security.protocol", "sasl_ssl"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.username", "u"),
                ("sasl.password", "hunter2"),
            ],
        ] {
            assert_eq!(check(good), [], "{good:?}");
        }
    }

    #[test]
    fn a_bad_property_is_named_and_its_value_is_not() {
        for (bad, property, part) in [
            (&[("sesion.timeout.ms", "10000")][..], "sesion.timeout.ms", "knows no such property"),
            (&[("session.timeout.ms", "hunter2")], "session.timeout.ms", "Invalid value"),
            (&[("session.timeout.ms", "7777777777")], "session.timeout.ms", "outside"),
            (&[("security.protocol", "hunter2")], "security.protocol", "Invalid value"),
            (
                &[("enable.ssl.certificate.verification", "hunter2")],
                "enable.ssl.certificate.verification",
                "Expected bool",
            ),
            // Valid one by one, and not together.
            (
                &[("session.timeout.ms", "50000"), ("max.poll.interval.ms", "40000")],
                "max.poll.interval.ms",
                ">= `session.timeout.ms`",
            ),
            (
                &[("security.protocol", "ssl"), ("ssl.ca.location", "/no/such/ca.pem")],
                "ssl.ca.location",
                "ssl.ca.location failed",
            ),
            (&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "GSSAPI")], "sasl.mechanism", "GSSAPI"),
        ] {
            let problems = check(bad);
            assert_eq!(problems.len(), 1, "{problems:?}");
            let (found, what) = &problems[0];
            assert_eq!(found.as_deref(), Some(property), "{what}");
            assert!(what.contains(part) && !what.contains("hunter2"), "{what}");
        }
        // All that can be found at once.
        assert_eq!(check(&[("a", "1"), ("b", "2"), ("client.id", "x")]).len(), 2);
    }

    #[test]
    fn an_error_of_a_client_does_not_show_the_value() {
        let mut client = ClientConfig::new();
        client.set("ssl.key.password", "x").set("sasl.mechanism", "x").set("log_level", "hunter2");
        let error = client.create_native_config().err().unwrap();
        assert!(error.to_string().contains("hunter2"), "if it says no value any more, this is not needed");
        assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    }
}
