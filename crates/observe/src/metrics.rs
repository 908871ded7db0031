//! The metrics. Names follow the Prometheus conventions: base units, `_total` for counters.

use prometheus::{
    Encoder as _, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::openmetrics;
use crate::syncs::Syncs;

/// Names of labels.
pub mod label {
    /// A pipeline's name.
    pub const PIPELINE: &str = "pipeline";
    /// A topic's name.
    pub const TOPIC: &str = "topic";
    /// A partition's number.
    pub const PARTITION: &str = "partition";
    /// A zone.
    pub const ZONE: &str = "zone";
    /// A table.
    pub const TABLE: &str = "table";
    /// A reason or kind: a word of a closed set.
    pub const REASON: &str = "reason";
    /// An invariant's number.
    pub const INVARIANT: &str = "invariant";
    /// A step of a flush or of maintenance.
    pub const STEP: &str = "step";
    /// What a librdkafka event was.
    pub const KIND: &str = "kind";
    /// A path through the decoder.
    pub const PATH: &str = "path";
    /// The number of a Kafka broker.
    pub const BROKER: &str = "broker";
    /// A version.
    pub const VERSION: &str = "version";
}

/// Bounds of the latency histograms, in seconds: from a local commit to a stalled object store.
pub(crate) const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Declares the metrics: the struct, its registration, and the list of names for the reference.
macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident: $kind:ident = $name:literal, $help:literal, [$($label:expr),*];)+) => {
        /// All metrics of the process, registered in one registry.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[$doc])* pub $field: $kind,)+
        }

        impl Metrics {
            /// Name, help and labels of every metric, in order.
            pub const REFERENCE: &'static [(&'static str, &'static str, &'static [&'static str])] =
                &[$(($name, $help, &[$($label),*]),)+];

            /// Type of every metric, in the same order.
            #[cfg(test)]
            const KINDS: &'static [&'static str] = &[$(stringify!($kind),)+];

            /// Makes and registers all metrics.
            ///
            /// # Errors
            /// Only if two metrics have the same name, which would be a bug that the first test finds.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field = $kind::make($name, $help, &[$($label),*])?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Self { registry, $($field,)+ })
            }
        }
    };
}

/// A value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    labels: std::collections::BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty if it has none of this name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Lets the macro make every kind of metric the same way.
pub(crate) trait Make: Sized {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error>;
}

impl Make for IntCounter {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(name, help)
    }
}

impl Make for IntGauge {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(name, help)
    }
}

impl Make for Gauge {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(name, help)
    }
}

impl Make for IntCounterVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Make for IntGaugeVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Make for GaugeVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Make for HistogramVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()), labels)
    }
}

metrics! {
    /// Version of this build; always 1.
    build_info: IntGaugeVec = "situs_build_info", "Version of this build; always 1.", [label::VERSION];
    /// Version of the policy in force; always 1.
    policy_info: IntGaugeVec = "situs_policy_info", "Version of the policy in force; always 1.", [label::VERSION];
    /// 1 while the policy on disk is not taken for its errors.
    policy_rejected: IntGauge = "situs_policy_rejected", "1 while the policy on disk has errors and the one before stays in force.", [];
    /// When the next basis in the policy ends.
    policy_basis_expiry: Gauge = "situs_policy_basis_expiry_timestamp_seconds", "The moment at which the next rule, model or transfer of the policy in force ends that has an `until`; infinite if none does.", [];
    /// 1 while a new policy waits for its barrier.
    policy_waiting: IntGauge = "situs_policy_waiting", "1 while a new policy has been read and the one before is still in force.", [];
    /// Records that a second policy has judged.
    shadow_records: IntCounterVec = "situs_shadow_records_total", "Records that the policy of --shadow-policy has judged too, by what it says: equal, other-tags, moved, not-judged.", [label::PIPELINE, label::KIND];
    /// Messages taken from Kafka.
    messages_read: IntCounterVec = "situs_messages_read_total", "Messages taken from Kafka.", [label::PIPELINE];
    /// Bytes of the payloads taken from Kafka.
    bytes_read: IntCounterVec = "situs_read_bytes_total", "Bytes of the payloads taken from Kafka.", [label::PIPELINE];
    /// Messages decoded into rows.
    messages_decoded: IntCounterVec = "situs_messages_decoded_total", "Messages decoded into rows.", [label::PIPELINE];
    /// Rows that the decoder made, by its path.
    rows_decoded: IntCounterVec = "situs_rows_decoded_total", "Rows decoded, by the path that they took through the decoder: fast, general.", [label::PIPELINE, label::PATH];
    /// Messages that give no row by design.
    messages_without_rows: IntCounterVec = "situs_messages_without_rows_total", "Messages that give no row by design, by kind.", [label::PIPELINE, label::KIND];
    /// Messages rejected by the decoder.
    messages_rejected: IntCounterVec = "situs_messages_rejected_total", "Messages rejected by the decoder, by reason.", [label::PIPELINE, label::REASON];
    /// Messages settled in a zone.
    messages_stored: IntCounterVec = "situs_messages_stored_total", "Messages settled in a zone; a message counts in the zone of its first row.", [label::PIPELINE, label::ZONE];
    /// Messages settled in quarantine.
    messages_quarantined: IntCounterVec = "situs_messages_quarantined_total", "Messages settled in quarantine, by reason; rejects are among them.", [label::PIPELINE, label::REASON];
    /// Rows settled in a zone.
    rows_stored: IntCounterVec = "situs_rows_stored_total", "Rows settled in a zone.", [label::PIPELINE, label::ZONE];
    /// Fields that no schema knows.
    unknown_fields: IntCounterVec = "situs_unknown_fields_total", "Fields of messages that the schema does not know.", [label::PIPELINE];
    /// Keys given twice where the last one won.
    duplicate_keys: IntCounterVec = "situs_duplicate_keys_total", "Keys given twice in an object, where the last one won.", [label::PIPELINE];
    /// Byte order marks stripped.
    boms: IntCounterVec = "situs_byte_order_marks_total", "Byte order marks stripped from messages.", [label::PIPELINE];
    /// Values that became null with a quality code.
    sentinels: IntCounterVec = "situs_missing_values_total", "Values such as UNAVAILABLE or NaN that became null with a quality code.", [label::PIPELINE];
    /// Rows whose time is far from the broker's.
    clocks_off: IntCounterVec = "situs_clocks_off_total", "Rows whose event time lies further from the broker's than the pipeline's clock allows.", [label::PIPELINE];
    /// Bytes held for rows that are not settled yet.
    buffered_bytes: IntGauge = "situs_buffered_bytes", "Bytes held for messages that are not settled yet.", [];
    /// The bound on buffered bytes.
    buffered_bytes_limit: IntGauge = "situs_buffered_bytes_limit", "The bound on buffered bytes.", [];
    /// Whether consumption is paused at the bound.
    paused: IntGauge = "situs_paused", "1 while consumption is paused at the bound on buffered bytes.", [];
    /// Partitions assigned to this process.
    assigned_partitions: IntGauge = "situs_assigned_partitions", "Partitions assigned to this process.", [];
    /// Rebalances seen.
    rebalances: IntCounterVec = "situs_rebalances_total", "Rebalances of the consumer group, by kind.", [label::KIND];
    /// Partitions that wait to be taken over.
    waiting_partitions: IntGauge = "situs_waiting_partitions", "Partitions that the group has given to this process and that it cannot take over yet: a store cannot be written, or another process owns them still.", [];
    /// Partitions that are refused.
    refused_partitions: IntGauge = "situs_refused_partitions", "Partitions that the group has given to this process and that are not read: their topic was deleted and created again, or the broker has lost records of them.", [];
    /// Messages between the settled offset and the end of the partition.
    lag: IntGaugeVec = "situs_lag_messages", "Messages between the settled offset and the end of the partition.", [label::TOPIC, label::PARTITION];
    /// Age of the oldest message that is not settled.
    lag_seconds: GaugeVec = "situs_lag_seconds", "Age of the oldest message of a partition that is not settled, by the broker's time; 0 when there is none.", [label::TOPIC, label::PARTITION];
    /// The settled offset.
    settled_offset: IntGaugeVec = "situs_settled_offset", "The settled offset of a partition.", [label::TOPIC, label::PARTITION];
    /// Offsets that held no message.
    skipped_offsets: IntCounterVec = "situs_skipped_offsets_total", "Offsets that held no message (compaction, transactions, deleted segments).", [label::TOPIC];
    /// Offsets that an owner before left unfinished.
    replayed_offsets: IntCounterVec = "situs_replayed_offsets_total", "Offsets that an owner before left unfinished and that were finished by the texts that began them.", [label::PIPELINE];
    /// Offsets that the broker had deleted before they were settled.
    deleted_offsets: IntCounterVec = "situs_deleted_offsets_total", "Offsets that the broker had deleted before they were settled; each is a loss that retention caused.", [label::TOPIC];
    /// Flushes settled.
    flushes: IntCounterVec = "situs_flushes_total", "Flushes settled.", [label::PIPELINE];
    /// Duration of the steps of a flush.
    flush_seconds: HistogramVec = "situs_flush_seconds", "Duration of the steps of a flush: encode, commit, receipt, total.", [label::STEP];
    /// Duration of what makes files and names durable.
    fsync_seconds: Syncs = "situs_fsync_seconds", "Duration of the calls that make a store's files durable, by what was synced: file, folder.", [label::KIND];
    /// Flush steps that failed and are tried again.
    flush_retries: IntCounterVec = "situs_flush_retries_total", "Steps of a flush that failed and were tried again, by zone.", [label::ZONE];
    /// Commits by others that came between.
    commit_conflicts: IntCounterVec = "situs_commit_conflicts_total", "Commits by other writers that came between a check and a commit.", [label::ZONE];
    /// Files written.
    files_written: IntCounterVec = "situs_files_written_total", "Parquet files written.", [label::ZONE, label::TABLE];
    /// Bytes of the files written.
    file_bytes_written: IntCounterVec = "situs_file_written_bytes_total", "Bytes of the Parquet files written.", [label::ZONE, label::TABLE];
    /// 1 if the store could be written at the last attempt.
    store_writable: IntGaugeVec = "situs_store_writable", "1 if the zone's store could be written at the last attempt.", [label::ZONE];
    /// Files of a table.
    table_files: IntGaugeVec = "situs_table_files", "Parquet files that a table consists of, at the last look.", [label::ZONE, label::TABLE];
    /// Bytes of a table's files.
    table_bytes: IntGaugeVec = "situs_table_bytes", "Bytes of the Parquet files that a table consists of, at the last look.", [label::ZONE, label::TABLE];
    /// Space that is left for a store.
    store_free_bytes: IntGaugeVec = "situs_store_free_bytes", "Bytes that are free for a zone's store in its file system.", [label::ZONE];
    /// Space of a store's file system.
    store_size_bytes: IntGaugeVec = "situs_store_size_bytes", "Bytes of the file system of a zone's store.", [label::ZONE];
    /// Entries of the ledgers.
    ledger_entries: IntGaugeVec = "situs_ledger_entries", "Entries of a zone's ledger, by kind, at the last look; transfer-sent are the transfers that were carried out.", [label::ZONE, label::KIND];
    /// Steps of maintenance done.
    maintenance_steps: IntCounterVec = "situs_maintenance_steps_total", "Steps of the maintenance of a table that were done.", [label::ZONE, label::STEP];
    /// Steps of maintenance that failed.
    maintenance_failures: IntCounterVec = "situs_maintenance_failures_total", "Steps of the maintenance of a table that failed; intake goes on.", [label::ZONE, label::STEP];
    /// Files replaced by larger ones.
    files_compacted: IntCounterVec = "situs_files_compacted_total", "Parquet files that compaction replaced by larger ones.", [label::ZONE, label::TABLE];
    /// Files removed by vacuum.
    files_removed: IntCounterVec = "situs_files_removed_total", "Parquet files that vacuum removed.", [label::ZONE, label::TABLE];
    /// Bytes of the files removed by vacuum.
    file_bytes_removed: IntCounterVec = "situs_file_removed_bytes_total", "Bytes of the Parquet files that vacuum removed.", [label::ZONE, label::TABLE];
    /// Log entries removed.
    log_entries_removed: IntCounterVec = "situs_log_entries_removed_total", "Entries of the Delta log that log clean-up removed.", [label::ZONE, label::TABLE];
    /// Latest broker time settled.
    valid_through: GaugeVec = "situs_valid_through_timestamp_seconds", "Latest broker time of the messages settled in a table.", [label::PIPELINE];
    /// Errors that librdkafka reported.
    kafka_errors: IntCounterVec = "situs_kafka_errors_total", "Errors that the Kafka client reported, by code.", [label::KIND];
    /// Brokers that are connected.
    kafka_brokers_up: IntGauge = "situs_kafka_brokers_up", "Brokers to which the Kafka client has a connection.", [];
    /// Whether a broker is connected.
    kafka_broker_up: IntGaugeVec = "situs_kafka_broker_up", "1 while the Kafka client has a connection to a broker; one that it does not need it does not open.", [label::BROKER];
    /// How long a broker takes to answer.
    kafka_rtt_seconds: GaugeVec = "situs_kafka_rtt_seconds", "Round trip of the requests to a broker in the last second or so: average, p99. Fetches wait at the broker for data.", [label::BROKER, label::KIND];
    /// Requests that wait to be sent.
    kafka_requests_waiting: IntGaugeVec = "situs_kafka_requests_waiting", "Requests to a broker that wait to be sent.", [label::BROKER];
    /// Requests that wait for an answer.
    kafka_requests_in_flight: IntGaugeVec = "situs_kafka_requests_in_flight", "Requests to a broker that wait for an answer.", [label::BROKER];
    /// Requests sent again.
    kafka_retries: IntCounterVec = "situs_kafka_request_retries_total", "Requests to a broker that were sent again.", [label::BROKER];
    /// Requests without an answer.
    kafka_timeouts: IntCounterVec = "situs_kafka_request_timeouts_total", "Requests to a broker that got no answer in time.", [label::BROKER];
    /// Bytes sent to a broker.
    kafka_sent_bytes: IntCounterVec = "situs_kafka_sent_bytes_total", "Bytes sent to a broker.", [label::BROKER];
    /// Bytes received from a broker.
    kafka_received_bytes: IntCounterVec = "situs_kafka_received_bytes_total", "Bytes received from a broker, compressed as they are there.", [label::BROKER];
    /// Messages that the client has fetched ahead.
    kafka_fetch_queue_messages: IntGauge = "situs_kafka_fetch_queue_messages", "Messages that the Kafka client has fetched and no worker has taken.", [];
    /// Bytes that the client has fetched ahead.
    kafka_fetch_queue_bytes: IntGauge = "situs_kafka_fetch_queue_bytes", "Bytes of the messages that the Kafka client has fetched and no worker has taken.", [];
    /// Broken invariants; must stay 0.
    invariant_violations: IntCounterVec = "situs_invariant_violations_total", "Times that an invariant was found broken; must stay 0.", [label::INVARIANT];
    /// Writes refused for want of a permit.
    permits_refused: IntCounterVec = "situs_permits_refused_total", "Writes refused because a batch was not of the store's zone.", [label::ZONE];
}

impl Metrics {
    /// The text exposition format, as Prometheus scrapes it.
    ///
    /// # Errors
    /// Only if a metric has an invalid name, which would be a bug that the first test finds.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// The same as OpenMetrics 1.0.
    pub fn render_openmetrics(&self) -> String {
        openmetrics::render(&self.registry.gather())
    }

    /// The values of a counter or gauge, each with its labels.
    pub fn samples(of: &impl prometheus::core::Collector) -> Vec<Sample> {
        let sample = |metric: &prometheus::proto::Metric| {
            let labels = metric.get_label().iter();
            let labels = labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
            Sample { labels, value: metric.get_counter().get_value() + metric.get_gauge().get_value() }
        };
        of.collect().iter().flat_map(|family| family.get_metric()).map(sample).collect()
    }

    /// Zones whose store could not be written at the last attempt.
    pub fn unwritable_stores(&self) -> Vec<String> {
        use prometheus::core::Collector as _;
        self.store_writable
            .collect()
            .iter()
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_gauge().get_value() < 1.0)
            .filter_map(|metric| metric.get_label().first().map(|label| label.value().to_owned()))
            .collect()
    }

    /// A counter's values by one of its labels, summed over the others.
    pub fn by_label(counter: &IntCounterVec, label: &str) -> std::collections::BTreeMap<String, u64> {
        use prometheus::core::Collector as _;
        let mut sums = std::collections::BTreeMap::new();
        for family in counter.collect() {
            for metric in family.get_metric() {
                let value = metric.get_label().iter().find(|pair| pair.name() == label);
                if let Some(value) = value {
                    *sums.entry(value.value().to_owned()).or_default() +=
                        metric.get_counter().get_value() as u64;
                }
            }
        }
        sums
    }

    /// Sums a counter over all its labels.
    pub fn sum(counter: &IntCounterVec) -> u64 {
        use prometheus::core::Collector as _;
        counter
            .collect()
            .iter()
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let metrics = Metrics::new().unwrap();
        metrics.messages_read.with_label_values(&["cnc-state"]).inc_by(3);
        assert_eq!(Metrics::sum(&metrics.messages_read), 3);
        assert!(metrics.render().unwrap().contains("situs_messages_read_total{pipeline=\"cnc-state\"} 3"));
        for (name, help, _) in Metrics::REFERENCE {
            assert!(name.starts_with("situs_"), "{name}");
            assert!(help.ends_with('.'), "{name}: help is a sentence");
        }
    }

    /// The rows of the table in docs/metrics.md.
    fn table() -> Vec<String> {
        let row = |(name, help, labels): &(&str, &str, &[&str])| {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {} | {help} |", labels.join(", "))
        };
        Metrics::REFERENCE.iter().map(row).collect()
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let text = std::fs::read_to_string(path).unwrap();
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("| `situs_")).collect();
        let expected = table();
        assert!(
            found == expected,
            "the rows of docs/metrics.md's table should be:\n{}\n",
            expected.join("\n")
        );
    }

    /// As docs/metrics.md says.
    #[test]
    fn a_name_shows_the_kind() {
        for ((name, _, _), kind) in Metrics::REFERENCE.iter().zip(Metrics::KINDS) {
            assert_eq!(kind.contains("Counter"), name.ends_with("_total"), "{name}");
            let histogram = ["situs_flush_seconds", "situs_fsync_seconds"].contains(name);
            assert_eq!(kind.contains("Histogram") || *kind == "Syncs", histogram, "{name}");
        }
    }
}
