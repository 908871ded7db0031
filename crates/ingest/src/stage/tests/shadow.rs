//! A second policy is compared, and changes nothing.

use std::collections::HashSet;

use situs_observe::Metrics;

use super::*;
use crate::shadow::{Shadow, ShadowCounts, ShadowReport};

/// What a second policy finds in a batch of [`waveforms`], which must come out as without it.
fn shadowed(policy: &str, raw: &RawBatch) -> (ShadowCounts, Arc<Metrics>) {
    let (plain, second) = (read("pipelines/policy.yaml"), stage("cnc-waveform", policy));
    let expected = seen(stage("cnc-waveform", &plain).turn(raw.part(0..raw.len()), &zones()).unwrap().0);
    let metrics = Arc::new(Metrics::new().unwrap());
    let registered: HashSet<Arc<str>> = ["nn-cnc-001".into()].into();
    let version = second.policy_version().clone();
    let in_force = stage("cnc-waveform", &plain).policy_version().clone();
    let report = Arc::new(ShadowReport::new(version, in_force, registered, metrics.clone()));
    let device = second.schema.arrow_schema().index_of(second.schema.device_column().unwrap()).unwrap();
    let shadow = Shadow::new(second.judge, Some(device), report.clone());
    let mut stage = stage("cnc-waveform", &plain).with_shadow(Some(shadow));
    assert_eq!(seen(stage.turn(raw.part(0..raw.len()), &zones()).unwrap().0), expected);
    (report.counts(), metrics)
}

fn count(metrics: &Metrics, kind: &str) -> u64 {
    metrics.shadow_records.with_label_values(&["cnc-waveform", kind]).get()
}

#[test]
fn a_second_policy_is_compared_by_rule_site_zone_and_device_and_changes_nothing() {
    let raw = waveforms(90);
    let plain = read("pipelines/policy.yaml");
    let (counts, metrics) = shadowed(&plain, &raw);
    assert!(counts.records > 0 && counts.changes.is_empty() && counts.moved.is_empty());
    assert_eq!(count(&metrics, "equal"), counts.records);

    // The rule of important records in CN is called otherwise, and those of Germany lie nowhere any more.
    let other = plain.replacen("id: cn-important", "id: cn-secret", 1);
    let other =
        other.replacen("jurisdictions: [EEA@2020-02-01]\n    when", "jurisdictions: [FR]\n    when", 1);
    let other = other.replacen(
        "jurisdictions: [EEA@2020-02-01]\n    zone: EU\n    basis: contract\n    reference: Data licence",
        "jurisdictions: [FR]\n    zone: EU\n    basis: contract\n    reference: Data licence",
        1,
    );
    let (counts, metrics) = shadowed(&other, &raw);
    let told: Vec<String> = counts
        .changes
        .iter()
        .map(|(change, count)| {
            format!(
                "{} {:?} {}/{:?} to {}/{:?} {count} {}",
                change.pipeline,
                change.site.as_deref().unwrap_or("-"),
                change.before.place,
                change.before.rule.as_deref().unwrap_or("-"),
                change.after.place,
                change.after.rule.as_deref().unwrap_or("-"),
                change.moves()
            )
        })
        .collect();
    // Ten messages of each nine are of a kind, and a block has two rows.
    assert_eq!(
        told,
        [
            r#"cnc-waveform "nanning-1" CN/"cn-important" to CN/"cn-secret" 100 false"#,
            r#"cnc-waveform "stuttgart-1" EU/"eu-important" to no-rule/"-" 20 true"#,
        ]
    );
    // This device is in no registry that the report was told of.
    assert_eq!(counts.moved, [(None, 20)].into());
    let found = ["equal", "other-tags", "moved", "not-judged"].map(|kind| count(&metrics, kind));
    assert_eq!(found, [counts.records - 120, 100, 20, 0]);
}

#[test]
fn a_second_policy_that_panics_harms_nobody() {
    let rule =
        "rules:\n  - id: padded\n    when: lpad(device, line) = 'x'\n    zone: CN\n    basis: voluntary\n";
    let policy = read("pipelines/policy.yaml").replacen("rules:\n", rule, 1);
    // This pipeline has no column `line`; its blocks have two samples.
    let policy = policy.replace("lpad(device, line)", "lpad(device, -sample_count)");
    let (counts, metrics) = shadowed(&policy, &waveforms(30));
    assert_eq!(counts.records, 0);
    assert_eq!(count(&metrics, "not-judged"), counts.not_judged);
    assert!(counts.not_judged > 0);
}
