//! Every metric, label and log field name, in one place.
//!
//! Labels carry coordinates and codes only: topics, partitions, pipelines, zones, reasons. Never a
//! value of a payload (RES-5), and nothing of unbounded cardinality such as device ids.

mod log;
mod metrics;
mod openmetrics;
mod panic;
mod syncs;

pub use log::{LogFormat, LogSettings, change_log_filter, check_log_filter, init_logs};
pub use metrics::{Metrics, Sample, label};
pub use openmetrics::{OPENMETRICS, TEXT, prefers_openmetrics};
pub use panic::{Panicked, catch, hide_panic_texts};
pub use prometheus::IntCounterVec as CounterVec;
pub use syncs::{Synced, Syncs, observe_sync};
