use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::{Metrics, Synced, observe_sync};

#[test]
fn a_counter_is_named_without_its_suffix_and_the_text_ends() {
    let metrics = Metrics::new().unwrap();
    metrics.messages_read.with_label_values(&["cnc-state"]).inc_by(3);
    metrics.policy_basis_expiry.set(f64::INFINITY);
    metrics.flush_seconds.with_label_values(&["total"]).observe(0.5);
    let text = metrics.render_openmetrics();
    assert!(text.contains("# TYPE situs_messages_read counter\n"), "{text}");
    assert!(text.contains("\nsitus_messages_read_total{pipeline=\"cnc-state\"} 3\n"), "{text}");
    assert!(text.contains("\nsitus_policy_basis_expiry_timestamp_seconds +Inf\n"), "{text}");
    assert!(text.contains("\nsitus_flush_seconds_bucket{step=\"total\",le=\"1.0\"} 1\n"), "{text}");
    assert!(text.contains("\nsitus_flush_seconds_bucket{step=\"total\",le=\"+Inf\"} 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    assert!(!text.contains("\n\n"));
}

/// A family must not have the name of a sample of another.
#[test]
fn families_do_not_clash() {
    let base = |name: &&str| name.strip_suffix("_total").unwrap_or(name).to_owned();
    let names: Vec<&str> = Metrics::REFERENCE.iter().map(|(name, ..)| *name).collect();
    let families: BTreeSet<String> = names.iter().map(base).collect();
    assert_eq!(families.len(), names.len());
    for name in &families {
        for suffix in ["_total", "_created", "_bucket", "_sum", "_count"] {
            assert!(!families.contains(&format!("{name}{suffix}")), "{name}{suffix}");
        }
    }
}

#[test]
fn labels_are_escaped() {
    assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
}

#[test]
fn the_weights_of_accept_decide() {
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    assert!(prefers_openmetrics(prometheus));
    assert!(prefers_openmetrics("application/openmetrics-text"));
    assert!(prefers_openmetrics("Application/OpenMetrics-Text; Version=\"1.0.0\"; q=0.5, text/plain; q=0.4"));
    assert!(prefers_openmetrics("application/openmetrics-text, text/plain"));
    for text in [
        "",
        "*/*",
        "application/*, text/*",
        "text/plain",
        "text/html,*/*;q=0.8",
        "application/openmetrics-text; q=0.4, text/plain; q=0.5",
        "application/openmetrics-text; q=0",
        "application/openmetrics-text; q=2",
        "application/openmetrics-text; version=2.0.0",
        "nonsense",
    ] {
        assert!(!prefers_openmetrics(text), "{text}");
    }
}

#[test]
fn syncs_are_seen_in_every_registry() {
    let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
    observe_sync(Synced::Folder, Duration::from_millis(3));
    for metrics in [one, other] {
        assert!(metrics.render().unwrap().contains("situs_fsync_seconds_count{kind=\"folder\"}"));
    }
}
