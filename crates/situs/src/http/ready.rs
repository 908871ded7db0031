//! Whether the process is ready to work, and if not, which part is not and since when.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use situs_ingest::Control;
use situs_observe::Metrics;

/// The parts that must be well, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Nobody has asked to stop.
    Running,
    /// A broker is reached.
    Brokers,
    /// The group has given an answer.
    Assignment,
    /// No partition is refused.
    Partitions,
    /// Every store could be written at the last attempt.
    Stores,
    /// The lag is below the bound.
    Lag,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Brokers => "brokers",
            Self::Assignment => "assignment",
            Self::Partitions => "partitions",
            Self::Stores => "stores",
            Self::Lag => "lag",
        }
    }
}

/// A part that is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) part: Part,
    pub(crate) since: DateTime<Utc>,
    pub(crate) why: String,
}

/// Remembers since when parts are not ready.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    /// The age that the oldest message that is not settled may have.
    bound: Option<Duration>,
    since: Mutex<BTreeMap<Part, DateTime<Utc>>>,
}

impl Readiness {
    pub(crate) fn new(bound: Option<Duration>) -> Self {
        Self { bound, since: Mutex::default() }
    }

    /// What is not ready now; nothing if all is. Looked at every second, so that each has its beginning.
    pub(crate) fn look(&self, metrics: &Metrics, control: &Control) -> Vec<Problem> {
        let mut found = Vec::new();
        if control.is_stopping() {
            found.push((Part::Running, "it was asked to stop".to_owned()));
        }
        if metrics.kafka_brokers_up.get() == 0 {
            found.push((Part::Brokers, "no broker is connected".to_owned()));
        }
        if !control.is_assigned() {
            found.push((Part::Assignment, "the group has assigned nothing".to_owned()));
        }
        let refused = metrics.refused_partitions.get();
        if refused > 0 {
            found.push((Part::Partitions, format!("{refused} partitions are refused")));
        }
        let unwritable = metrics.unwritable_stores();
        if !unwritable.is_empty() {
            found.push((Part::Stores, format!("cannot be written: {}", unwritable.join(", "))));
        }
        let age = oldest(control);
        if let Some(bound) = self.bound.filter(|bound| age > *bound) {
            let (age, bound) = (age.as_secs(), bound.as_secs());
            found.push((Part::Lag, format!("the oldest message waits for {age} s, more than {bound} s")));
        }
        let now = Utc::now();
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|part, _| found.iter().any(|(found, _)| found == part));
        let problem = |(part, why)| Problem { part, since: *since.entry(part).or_insert(now), why };
        found.into_iter().map(problem).collect()
    }
}

/// The age of the oldest message that is not settled, of all partitions.
pub(crate) fn oldest(control: &Control) -> Duration {
    control.standings().iter().map(|standing| standing.age).max().unwrap_or_default()
}

/// As programs read it.
pub(crate) fn as_json(problems: &[Problem]) -> Value {
    let problem = |problem: &Problem| {
        json!({
            "part": problem.part.as_str(),
            "since": problem.since.to_rfc3339_opts(SecondsFormat::Secs, true),
            "why": problem.why,
        })
    };
    problems.iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_told_with_its_beginning() {
        let (metrics, control) = (Metrics::new().unwrap(), Control::default());
        let readiness = Readiness::new(None);
        let first = readiness.look(&metrics, &control);
        let parts: Vec<Part> = first.iter().map(|problem| problem.part).collect();
        assert_eq!(parts, [Part::Brokers, Part::Assignment]);
        metrics.kafka_brokers_up.set(1);
        metrics.store_writable.with_label_values(&["CN"]).set(0);
        let second = readiness.look(&metrics, &control);
        assert_eq!(second[0], first[1], "it began then and not now");
        assert_eq!((second[1].part, second[1].why.as_str()), (Part::Stores, "cannot be written: CN"));
        metrics.store_writable.with_label_values(&["CN"]).set(1);
        assert_eq!(readiness.look(&metrics, &control).len(), 1);
    }
}
