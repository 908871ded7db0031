//! How long the system takes to make files durable.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramVec, histogram_opts};

use crate::metrics::{LATENCY_BUCKETS, Make};

/// Those of the whole process: files are synced far below whoever knows a registry, so all registries show
/// the same ones.
static SYNCS: OnceLock<HistogramVec> = OnceLock::new();

/// The histogram of the process, as a registry takes it.
#[derive(Debug, Clone)]
pub struct Syncs(HistogramVec);

impl Make for Syncs {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let opts = histogram_opts!(name, help, LATENCY_BUCKETS.to_vec(), HashMap::new());
        let made = HistogramVec::new(opts, labels)?;
        Ok(Self(SYNCS.get_or_init(|| made).clone()))
    }
}

impl Collector for Syncs {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

/// What was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// The bytes of a file.
    File,
    /// The names in a folder.
    Folder,
}

impl Synced {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
        }
    }
}

/// Notes how long a sync took. Without a registry in the process nobody asks for it.
pub fn observe_sync(what: Synced, took: Duration) {
    if let Some(syncs) = SYNCS.get() {
        syncs.with_label_values(&[what.as_str()]).observe(took.as_secs_f64());
    }
}
