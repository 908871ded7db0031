//! What the live page shows: one snapshot a second, made once and sent to all who look on.
//!
//! # Memory
//! Bounded: the last snapshot, five minutes of a few numbers, and of partitions the first few hundred. Whoever
//! reads slowly gets the newest snapshot when they can, and misses those between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use situs_ingest::{Control, Flushed, ShadowReport, Standing, Stands};
use situs_model::invariant::Invariant;
use situs_model::{ContentVersion, StoreIdentity};
use situs_observe::{Metrics, label};
use tokio::sync::watch;

use super::ready::{self, Readiness};

/// Points of the charts: five minutes.
const HISTORY: usize = 300;
/// Partitions that are shown; those that are not well and those that lag most come first.
const PARTITIONS: usize = 200;
/// Flushes that are shown.
const FLUSHES: usize = 40;
const SECOND: Duration = Duration::from_secs(1);

/// What does not change while the process runs.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) site: String,
    pub(crate) zone: String,
    pub(crate) group: String,
    pub(crate) pipelines: Vec<String>,
    pub(crate) stores: Vec<StoreIdentity>,
    pub(crate) started_with: ContentVersion,
    pub(crate) config: ContentVersion,
}

/// Makes the snapshots.
#[derive(Debug)]
pub(crate) struct Live {
    facts: Facts,
    metrics: Arc<Metrics>,
    control: Arc<Control>,
    shadow: Option<Arc<ShadowReport>>,
    readiness: Arc<Readiness>,
    /// Tells this process from the one before.
    instance: String,
    started: Instant,
    state: Mutex<State>,
    sender: watch::Sender<Arc<str>>,
}

#[derive(Debug)]
struct State {
    at: Instant,
    read: u64,
    bytes: u64,
    rows: u64,
    history: VecDeque<Value>,
}

impl Live {
    pub(crate) fn new(
        facts: Facts,
        metrics: Arc<Metrics>,
        control: Arc<Control>,
        shadow: Option<Arc<ShadowReport>>,
        readiness: Arc<Readiness>,
    ) -> Self {
        let started = Instant::now();
        let state = State { at: started, read: 0, bytes: 0, rows: 0, history: VecDeque::new() };
        let (sender, _) = watch::channel("".into());
        Self {
            facts,
            metrics,
            control,
            shadow,
            readiness,
            instance: uuid::Uuid::now_v7().simple().to_string(),
            started,
            state: Mutex::new(state),
            sender,
        }
    }

    /// Makes a snapshot each second, until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut second = tokio::time::interval(SECOND);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let snapshot = self.snapshot().to_string();
            self.sender.send_replace(snapshot.into());
        }
    }

    /// The snapshots from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<str>> {
        self.sender.subscribe()
    }

    /// What somebody who comes anew must know: which process this is, and the charts until now.
    pub(crate) fn hello(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Facts { site, zone, group, pipelines, config, .. } = &self.facts;
        json!({
            "instance": self.instance,
            "version": env!("CARGO_PKG_VERSION"),
            "config": config.as_str(),
            "site": site,
            "zone": zone,
            "group": group,
            "pipelines": pipelines,
            "history": state.history,
        })
        .to_string()
    }

    fn snapshot(&self) -> Value {
        let metrics = &*self.metrics;
        let now_ms = chrono::Utc::now().timestamp_millis();
        let lag = self.control.lag();
        let age = ready::oldest(&self.control).as_secs_f64();
        let (read, bytes) = (Metrics::sum(&metrics.messages_read), Metrics::sum(&metrics.bytes_read));
        let rows = Metrics::sum(&metrics.rows_stored);
        let buffered = metrics.buffered_bytes.get();
        let rates = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let seconds = state.at.elapsed().as_secs_f64().max(1e-3);
            let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round();
            let rates = [rate(read, state.read), rate(bytes, state.bytes), rate(rows, state.rows)];
            (state.at, state.read, state.bytes, state.rows) = (Instant::now(), read, bytes, rows);
            if state.history.len() >= HISTORY {
                state.history.pop_front();
            }
            state.history.push_back(json!([now_ms, rates[0], rates[1], rates[2], lag, age, buffered]));
            rates
        };
        let problems = self.readiness.look(metrics, &self.control);
        let by_path = Metrics::by_label(&metrics.rows_decoded, label::PATH);
        json!({
            "at": now_ms,
            "uptime": self.started.elapsed().as_secs(),
            "ready": problems.is_empty(),
            "not_ready": ready::as_json(&problems),
            "rates": { "messages": rates[0], "bytes": rates[1], "rows": rates[2] },
            "totals": {
                "messages": read,
                "bytes": bytes,
                "rows": rows,
                "quarantined": Metrics::sum(&metrics.messages_quarantined),
                "without_rows": Metrics::sum(&metrics.messages_without_rows),
                "flushes": Metrics::sum(&metrics.flushes),
            },
            "lag": { "messages": lag, "seconds": age },
            "paths": by_path,
            "memory": {
                "buffered": buffered,
                "limit": metrics.buffered_bytes_limit.get(),
                "paused": metrics.paused.get() > 0,
            },
            "zones": self.zones(),
            "quarantine": Metrics::by_label(&metrics.messages_quarantined, label::REASON),
            "pipelines": self.pipelines(),
            "flushes": self.flushes(),
            "partitions": self.partitions(),
            "stores": self.stores(),
            "policy": self.policy(),
            "invariants": self.invariants(),
            "permits_refused": Metrics::sum(&metrics.permits_refused),
            "kafka": self.kafka(),
        })
    }

    fn zones(&self) -> Value {
        let messages = Metrics::by_label(&self.metrics.messages_stored, label::ZONE);
        let rows = Metrics::by_label(&self.metrics.rows_stored, label::ZONE);
        let zone = |(zone, rows): (&String, &u64)| json!({ "zone": zone, "rows": rows, "messages": messages.get(zone).copied().unwrap_or(0) });
        rows.iter().map(zone).collect()
    }

    fn pipelines(&self) -> Value {
        let read = Metrics::by_label(&self.metrics.messages_read, label::PIPELINE);
        let rows = Metrics::by_label(&self.metrics.rows_stored, label::PIPELINE);
        let quarantined = Metrics::by_label(&self.metrics.messages_quarantined, label::PIPELINE);
        let through: BTreeMap<String, f64> = Metrics::samples(&self.metrics.valid_through)
            .iter()
            .map(|sample| (sample.label(label::PIPELINE).to_owned(), sample.value))
            .collect();
        let of = |counts: &BTreeMap<String, u64>, name: &String| counts.get(name).copied().unwrap_or(0);
        let pipeline = |name: &String| {
            json!({
                "pipeline": name,
                "messages": of(&read, name),
                "rows": of(&rows, name),
                "quarantined": of(&quarantined, name),
                "valid_through": through.get(name),
            })
        };
        self.facts.pipelines.iter().map(pipeline).collect()
    }

    fn flushes(&self) -> Value {
        let flushes = self.control.flushes();
        let flush = |flush: &Flushed| {
            let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
            json!({
                "number": flush.number,
                "pipeline": flush.pipeline,
                "start": flush.ended_us / 1000 - i64::try_from(flush.took.as_millis()).unwrap_or(0),
                "encode": ms(flush.encode),
                "commit": ms(flush.commit),
                "receipt": ms(flush.receipt),
                "total": ms(flush.took),
                "messages": flush.messages,
                "rows": flush.rows,
            })
        };
        flushes[flushes.len().saturating_sub(FLUSHES)..].iter().map(flush).collect()
    }

    fn partitions(&self) -> Value {
        let standings = self.control.standings();
        let mut shown: Vec<&Standing> = standings.iter().collect();
        if shown.len() > PARTITIONS {
            let lag = |standing: &Standing| std::cmp::Reverse(standing.lag.unwrap_or(u64::MAX));
            shown.sort_by_key(|standing| (std::cmp::Reverse(standing.stands), lag(standing)));
            shown.truncate(PARTITIONS);
            shown.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        }
        let partition = |standing: &&Standing| {
            json!({
                "topic": &*standing.topic,
                "partition": standing.partition,
                "stands": standing.stands.as_str(),
                "lag": standing.lag,
                "seconds": standing.age.as_secs_f64(),
                "settled": standing.settled,
            })
        };
        let count = |stands| standings.iter().filter(|standing| standing.stands == stands).count();
        json!({
            "owned": count(Stands::Owned),
            "waiting": count(Stands::Waiting),
            "refused": count(Stands::Refused),
            "more": standings.len() - shown.len(),
            "shown": shown.iter().map(partition).collect::<Vec<_>>(),
        })
    }

    fn stores(&self) -> Value {
        let metrics = &*self.metrics;
        let tables = |zone: &str| -> Vec<Value> {
            let bytes = Metrics::samples(&metrics.table_bytes);
            let is_of = |sample: &&situs_observe::Sample| sample.label(label::ZONE) == zone;
            let table = |files: &situs_observe::Sample| {
                let name = files.label(label::TABLE);
                let bytes = bytes.iter().filter(is_of).find(|bytes| bytes.label(label::TABLE) == name);
                json!({ "table": name, "files": files.value, "bytes": bytes.map(|bytes| bytes.value) })
            };
            Metrics::samples(&metrics.table_files).iter().filter(is_of).map(table).collect()
        };
        let store = |store: &StoreIdentity| {
            let zone = [store.zone.as_str()];
            json!({
                "zone": zone[0],
                "id": store.store_id.to_string(),
                "writable": metrics.store_writable.with_label_values(&zone).get() > 0,
                "free": metrics.store_free_bytes.with_label_values(&zone).get(),
                "size": metrics.store_size_bytes.with_label_values(&zone).get(),
                "tables": tables(zone[0]),
            })
        };
        self.facts.stores.iter().map(store).collect()
    }

    fn policy(&self) -> Value {
        let in_force = self.control.policy_in_force();
        let in_force = in_force.as_ref().unwrap_or(&self.facts.started_with);
        let shadow = self.shadow.as_ref().map(|report| {
            let records = Metrics::by_label(&self.metrics.shadow_records, label::KIND);
            json!({ "version": report.version().as_str(), "records": records })
        });
        // JSON knows no infinity.
        let expiry = Some(self.metrics.policy_basis_expiry.get()).filter(|at| at.is_finite() && *at > 0.0);
        json!({
            "version": in_force.as_str(),
            "waiting": self.metrics.policy_waiting.get() > 0,
            "rejected": self.metrics.policy_rejected.get() > 0,
            "expiry": expiry,
            "shadow": shadow,
        })
    }

    fn invariants(&self) -> Value {
        let broken = Metrics::by_label(&self.metrics.invariant_violations, label::INVARIANT);
        let invariant = |(word, _): &(&str, Invariant)| json!({ "invariant": word, "violations": broken.get(*word).copied().unwrap_or(0) });
        Invariant::WORDS.iter().map(invariant).collect()
    }

    fn kafka(&self) -> Value {
        let rtt = Metrics::samples(&self.metrics.kafka_rtt_seconds);
        let broker = |up: &situs_observe::Sample| {
            let id = up.label(label::BROKER);
            let of = |kind: &str| {
                let is_it = |rtt: &&situs_observe::Sample| {
                    rtt.label(label::BROKER) == id && rtt.label(label::KIND) == kind
                };
                rtt.iter().find(is_it).map(|rtt| rtt.value)
            };
            json!({ "broker": id, "up": up.value > 0.0, "rtt": of("average"), "rtt_p99": of("p99") })
        };
        let brokers: Vec<Value> =
            Metrics::samples(&self.metrics.kafka_broker_up).iter().map(broker).collect();
        json!({
            "brokers": brokers,
            "fetched_messages": self.metrics.kafka_fetch_queue_messages.get(),
            "fetched_bytes": self.metrics.kafka_fetch_queue_bytes.get(),
        })
    }
}
