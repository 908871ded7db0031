//! Metrics that are there from the start, and gauges that somebody has to go and look at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use situs_model::store::{StoreError, ZoneStore as _};
use situs_model::{Date, LedgerKind, RejectCode, UndeterminedReason};
use situs_observe::Metrics;
use situs_policy::Policy;
use situs_store::DeltaStore;

use crate::catalog::Catalog;
use crate::site::Site;

/// How often the room of the stores is looked at, which costs a system call.
const ROOM: Duration = Duration::from_secs(5);
/// Each how manieth of these looks is also one at the tables and ledgers, which reads files.
const LOOKS_A_TABLE: u64 = 12;
/// The same in the beginning, when there may be no tables yet.
const LOOKS_A_TABLE_AT_FIRST: u64 = 2;

/// The policy that is in force or will be at the next barrier.
pub(crate) type CurrentPolicy = Arc<Mutex<Arc<Policy>>>;

/// Makes the series whose labels are known from the configuration, at 0: an alert on a series that is not
/// there sees nothing.
pub(crate) fn from_the_start(metrics: &Metrics, site: &Site, catalog: &Catalog, shadow: bool) {
    for (word, _) in situs_model::invariant::Invariant::WORDS {
        metrics.invariant_violations.with_label_values(&[word]);
    }
    for zone in site.stores.keys() {
        let zone = [zone.as_str()];
        metrics.permits_refused.with_label_values(&zone);
        metrics.flush_retries.with_label_values(&zone);
        metrics.commit_conflicts.with_label_values(&zone);
        metrics.store_writable.with_label_values(&zone).set(1);
        for step in ["checkpoint", "optimize", "log-clean-up", "vacuum"] {
            metrics.maintenance_steps.with_label_values(&[zone[0], step]);
            metrics.maintenance_failures.with_label_values(&[zone[0], step]);
        }
        for (kind, _) in LedgerKind::WORDS {
            metrics.ledger_entries.with_label_values(&[zone[0], kind]);
        }
    }
    for kind in ["assign", "revoke", "lost"] {
        metrics.rebalances.with_label_values(&[kind]);
    }
    for step in ["encode", "commit", "receipt", "total"] {
        metrics.flush_seconds.with_label_values(&[step]);
    }
    for loaded in site.running(catalog) {
        of_pipeline(metrics, loaded.pipeline.name.as_str(), site, shadow);
        for topic in &loaded.pipeline.topics {
            metrics.skipped_offsets.with_label_values(&[topic]);
            metrics.deleted_offsets.with_label_values(&[topic]);
        }
    }
}

fn of_pipeline(metrics: &Metrics, name: &str, site: &Site, shadow: bool) {
    let pipeline = [name];
    for counter in [
        &metrics.messages_read,
        &metrics.bytes_read,
        &metrics.messages_decoded,
        &metrics.unknown_fields,
        &metrics.duplicate_keys,
        &metrics.boms,
        &metrics.sentinels,
        &metrics.clocks_off,
        &metrics.flushes,
        &metrics.replayed_offsets,
    ] {
        counter.with_label_values(&pipeline);
    }
    for zone in site.stores.keys() {
        metrics.messages_stored.with_label_values(&[name, zone.as_str()]);
        metrics.rows_stored.with_label_values(&[name, zone.as_str()]);
    }
    for path in ["fast", "general"] {
        metrics.rows_decoded.with_label_values(&[name, path]);
    }
    for (reason, _) in RejectCode::WORDS {
        metrics.messages_rejected.with_label_values(&[name, reason]);
        metrics.messages_quarantined.with_label_values(&[name, reason]);
    }
    for (reason, _) in UndeterminedReason::WORDS {
        metrics.messages_quarantined.with_label_values(&[name, reason]);
    }
    if shadow {
        for kind in ["equal", "other-tags", "moved", "not-judged"] {
            metrics.shadow_records.with_label_values(&[name, kind]);
        }
    }
}

/// Looks at the stores and at the policy's calendar, until it is dropped.
pub(crate) async fn look(stores: &[Arc<DeltaStore>], policy: &CurrentPolicy, metrics: &Metrics) {
    let mut looks = 0_u64;
    loop {
        note_expiry(policy, metrics);
        for store in stores {
            let every = if looks < LOOKS_A_TABLE { LOOKS_A_TABLE_AT_FIRST } else { LOOKS_A_TABLE };
            let tables = looks.is_multiple_of(every);
            // What is wrong with a store whoever writes to it tells; a gauge that stands still is no news.
            if let Err(error) = look_at(store, tables, metrics).await {
                tracing::debug!(event = "not-measured", "{error}");
            }
        }
        looks += 1;
        tokio::time::sleep(ROOM).await;
    }
}

async fn look_at(store: &DeltaStore, tables: bool, metrics: &Metrics) -> Result<(), StoreError> {
    store.measure_space().await?;
    if !tables {
        return Ok(());
    }
    store.measure_tables().await?;
    let ledger = store.zone_ledger().await?;
    for (word, kind) in LedgerKind::WORDS {
        let count = ledger.entries().iter().filter(|entry| entry.fact.kind == *kind).count();
        let labels = [store.identity().zone.as_str(), word];
        metrics.ledger_entries.with_label_values(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    Ok(())
}

/// Days are UTC, and the last one is whole.
fn note_expiry(policy: &CurrentPolicy, metrics: &Metrics) {
    let policy = policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let today = Date::of_us(chrono::Utc::now().timestamp_micros());
    let end = policy.next_end(today).map(|last| last.next().start_us() as f64 / 1e6);
    metrics.policy_basis_expiry.set(end.unwrap_or(f64::INFINITY));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_configuration_tells_is_there_at_0() {
        let folder = tempfile::tempdir().unwrap();
        crate::library::write_shipped(folder.path()).unwrap();
        let text = "home: { site: stuttgart-1, zone: EU }\nkafka: { brokers: b, group: g }\n\
            enabled: [cnc-state]\nstores: { EU: eu, CN: cn }\nreceipts: { allow-unsigned: true }\n";
        let site = Site::parse(&folder.path().join("site.yaml"), text).unwrap();
        let catalog = Catalog::load(&site.library).unwrap();
        let metrics = Metrics::new().unwrap();
        from_the_start(&metrics, &site, &catalog, true);
        let text = metrics.render().unwrap();
        for series in [
            "situs_invariant_violations_total{invariant=\"EO-1\"} 0",
            "situs_invariant_violations_total{invariant=\"RES-8\"} 0",
            "situs_permits_refused_total{zone=\"CN\"} 0",
            "situs_rows_stored_total{pipeline=\"cnc-state\",zone=\"EU\"} 0",
            "situs_messages_rejected_total{pipeline=\"cnc-state\",reason=\"poison\"} 0",
            "situs_messages_quarantined_total{pipeline=\"cnc-state\",reason=\"unknown-device\"} 0",
            "situs_deleted_offsets_total{topic=\"cnc.state\"} 0",
            "situs_maintenance_failures_total{step=\"vacuum\",zone=\"EU\"} 0",
            "situs_shadow_records_total{kind=\"moved\",pipeline=\"cnc-state\"} 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series}");
        }
        // Of pipelines that do not run here there is nothing.
        assert!(!text.contains("cnc-waveform"));
        let told = |line: &&str| !line.starts_with('#') && !line.starts_with("situs_fsync_seconds");
        let mut counters = text.lines().filter(told).filter(|line| line.contains("_total{"));
        assert!(counters.all(|line| line.ends_with(" 0")));
    }

    #[test]
    fn the_next_end_is_the_end_of_its_day() {
        let policy = "zones: { CN: { jurisdictions: [CN] } }\n\
            sites: { nanning-1: { jurisdiction: CN, devices: [nn-cnc-001] } }\n\
            rules: [ { id: r, zone: CN, basis: law, training: in-zone, until: 2999-12-31 } ]\n";
        let policy = Arc::new(Policy::parse("policy.yaml", policy).unwrap());
        let metrics = Metrics::new().unwrap();
        note_expiry(&Arc::new(Mutex::new(policy)), &metrics);
        let end = Date::of(3000, 1, 1).start_us() as f64 / 1e6;
        assert!((metrics.policy_basis_expiry.get() - end).abs() < 1e-6);
    }
}
