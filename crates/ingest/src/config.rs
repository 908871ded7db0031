//! Settings as plain data; the parts are built from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use situs_model::store::{HomeStore, Versions, ZoneStore};
use situs_model::{ClusterName, PipelineName, ZoneId};

use crate::stage::Stage;

/// When buffered rows become files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushLimits {
    /// The age that a message may reach before it is committed. A flush begins early enough for that,
    /// and no earlier; while a backlog is read, which is old anyway, it may begin later.
    pub age: Duration,
    /// Buffered rows of a pipeline at most.
    pub rows: u64,
    /// Buffered bytes of a pipeline at most, encoded.
    pub bytes: u64,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self { age: Duration::from_secs(5), rows: 10_000_000, bytes: 64 << 20 }
    }
}

/// Everything that [`run`](crate::run) needs to know about Kafka and about buffering. Its debug text shows no value
/// of a property: some are secret.
#[derive(Clone)]
pub struct Config {
    /// Alias of the cluster; part of the application ids in the stores.
    pub cluster: ClusterName,
    /// `bootstrap.servers`.
    pub brokers: String,
    /// `group.id`.
    pub group: String,
    /// Further librdkafka properties (security, tuning). They win over the defaults, except for
    /// those that exactly-once rests on.
    pub properties: BTreeMap<String, String>,
    /// When to flush.
    pub flush: FlushLimits,
    /// Bound on the bytes held for messages that are not settled yet. Consumption pauses above it.
    pub memory_bytes: u64,
    /// How long a revocation or a shutdown may take to flush what is buffered.
    pub drain_timeout: Duration,
    /// Partitions that have series of their own in the metrics, at most; all others of a topic share one.
    pub partition_series: usize,
    /// Stop by itself once everything that was in the topics at the assignment is settled.
    pub until_caught_up: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("cluster", &self.cluster)
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("properties", &self.properties.keys())
            .field("flush", &self.flush)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

/// The stores of this home.
#[derive(Debug, Clone)]
pub struct Stores {
    /// One store per zone.
    pub zones: BTreeMap<ZoneId, Arc<dyn ZoneStore>>,
    /// The home zone's store, which also keeps quarantine and receipts.
    pub home: Arc<dyn HomeStore>,
    /// Pipelines as they once were.
    pub past: Arc<dyn Past>,
}

/// Builds the stages of pipelines as they once were, from the texts that the home store keeps.
pub trait Past: Send + Sync + fmt::Debug {
    /// The stage of a pipeline by texts of these versions.
    ///
    /// # Errors
    /// What is missing or does not fit, for a person.
    fn stage(&self, pipeline: &PipelineName, versions: &Versions) -> Result<Stage, String>;
}

impl Stores {
    /// The zones that have a store here.
    pub fn zone_ids(&self) -> BTreeSet<ZoneId> {
        self.zones.keys().cloned().collect()
    }
}
