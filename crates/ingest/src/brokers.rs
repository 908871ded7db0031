//! librdkafka's statistics of the brokers as metrics: a bounded set of them, by the brokers' numbers.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::statistics::{Broker, Statistics};
use situs_observe::Metrics;

/// Brokers that have series of their own, at most.
const BROKERS: usize = 256;

/// What librdkafka has counted of a broker since the client began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counted {
    sent: u64,
    received: u64,
    retries: u64,
    timeouts: u64,
}

/// What was told before: counters go on by the differences.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    before: BTreeMap<i32, Counted>,
    /// The brokers that have gauges.
    shown: BTreeSet<i32>,
}

impl Brokers {
    /// Takes statistics in. Of a client that is not the intake's own only what adds up counts: gauges would
    /// jump between two clients.
    pub(crate) fn take(&mut self, statistics: &Statistics, is_main: bool, metrics: &Metrics) {
        // Addresses that were not asked yet have no number, and the coordinator stands there twice.
        let real =
            |broker: &&Broker| broker.nodeid >= 0 && !matches!(&*broker.source, "logical" | "internal");
        let brokers: BTreeMap<i32, &Broker> =
            statistics.brokers.values().filter(real).map(|broker| (broker.nodeid, broker)).collect();
        let own: BTreeMap<i32, &Broker> = brokers.iter().take(BROKERS).map(|(id, of)| (*id, *of)).collect();
        for (id, broker) in &own {
            self.count(*id, broker, metrics);
        }
        if !is_main {
            return;
        }
        for gone in self.shown.iter().filter(|id| !own.contains_key(id)) {
            hide(*gone, metrics);
        }
        self.shown = own.keys().copied().collect();
        for (id, broker) in &own {
            show(*id, broker, metrics);
        }
        let up = brokers.values().filter(|broker| is_up(broker)).count();
        metrics.kafka_brokers_up.set(clamped(up as u64));
        let partitions = || statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let messages: i64 = partitions().map(|partition| partition.fetchq_cnt).sum();
        metrics.kafka_fetch_queue_messages.set(messages);
        metrics
            .kafka_fetch_queue_bytes
            .set(clamped(partitions().map(|partition| partition.fetchq_size).sum()));
    }

    fn count(&mut self, id: i32, broker: &Broker, metrics: &Metrics) {
        let now = Counted {
            sent: broker.txbytes,
            received: broker.rxbytes,
            retries: broker.txretries,
            timeouts: broker.req_timeouts,
        };
        let before = self.before.insert(id, now).unwrap_or_default();
        let id = id.to_string();
        let labels = [id.as_str()];
        let add = |counter: &situs_observe::CounterVec, now: u64, before: u64| {
            counter.with_label_values(&labels).inc_by(now.saturating_sub(before));
        };
        add(&metrics.kafka_sent_bytes, now.sent, before.sent);
        add(&metrics.kafka_received_bytes, now.received, before.received);
        add(&metrics.kafka_retries, now.retries, before.retries);
        add(&metrics.kafka_timeouts, now.timeouts, before.timeouts);
    }
}

fn is_up(broker: &Broker) -> bool {
    matches!(&*broker.state, "UP" | "UPDATE")
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn show(id: i32, broker: &Broker, metrics: &Metrics) {
    let id = id.to_string();
    let labels = [id.as_str()];
    metrics.kafka_broker_up.with_label_values(&labels).set(i64::from(is_up(broker)));
    metrics.kafka_requests_waiting.with_label_values(&labels).set(broker.outbuf_cnt);
    metrics.kafka_requests_in_flight.with_label_values(&labels).set(broker.waitresp_cnt);
    if let Some(rtt) = broker.rtt.as_ref().filter(|rtt| rtt.cnt > 0) {
        let set = |kind: &str, us: i64| {
            metrics.kafka_rtt_seconds.with_label_values(&[id.as_str(), kind]).set(us as f64 / 1e6);
        };
        set("average", rtt.avg);
        set("p99", rtt.p99);
    }
}

fn hide(id: i32, metrics: &Metrics) {
    let id = id.to_string();
    let labels = [id.as_str()];
    metrics.kafka_broker_up.remove_label_values(&labels).ok();
    metrics.kafka_requests_waiting.remove_label_values(&labels).ok();
    metrics.kafka_requests_in_flight.remove_label_values(&labels).ok();
    for kind in ["average", "p99"] {
        metrics.kafka_rtt_seconds.remove_label_values(&[id.as_str(), kind]).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(nodeid: i32, source: &str, state: &str, txbytes: u64) -> (String, Broker) {
        let broker = Broker {
            nodeid,
            source: source.to_owned(),
            state: state.to_owned(),
            txbytes,
            ..Broker::default()
        };
        (format!("{source}/{nodeid}"), broker)
    }

    #[test]
    fn brokers_are_told_by_number_and_counters_go_on() {
        let metrics = Metrics::new().unwrap();
        let mut brokers = Brokers::default();
        let statistics = |bytes| Statistics {
            brokers: [
                broker(1, "learned", "UP", bytes),
                broker(2, "configured", "DOWN", 5),
                broker(-1, "configured", "UP", 7),
                broker(1, "logical", "UP", 9),
            ]
            .into(),
            ..Statistics::default()
        };
        brokers.take(&statistics(100), true, &metrics);
        brokers.take(&statistics(130), true, &metrics);
        // Another client counts from the beginning.
        Brokers::default().take(&statistics(30), false, &metrics);
        assert_eq!(metrics.kafka_brokers_up.get(), 1);
        assert_eq!(metrics.kafka_sent_bytes.with_label_values(&["1"]).get(), 160);
        assert_eq!(metrics.kafka_broker_up.with_label_values(&["2"]).get(), 0);
        brokers.take(&Statistics::default(), true, &metrics);
        assert_eq!(metrics.kafka_brokers_up.get(), 0);
        assert!(!metrics.render().unwrap().contains("situs_kafka_broker_up"));
    }
}
