//! What a second policy would change, in words and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use situs_ingest::{Change, Decision, ShadowReport};

/// Devices that are named at most.
const DEVICES: usize = 20;

/// For people.
pub(crate) fn in_words(report: &ShadowReport) -> String {
    let counts = report.counts();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |what: String| {
        let _ = writeln!(text, "{what}");
    };
    line(format!("policy {} against {}, which decided nothing", report.in_force(), report.version()));
    let of = |moves: bool| counts.changes.iter().filter(move |(change, _)| change.moves() == moves);
    let sum = |moves: bool| of(moves).map(|(_, count)| count).sum::<u64>();
    line(format!(
        "{} records judged by both: {} would lie elsewhere, {} would have other tags; {} could not be judged",
        counts.records,
        sum(true),
        sum(false),
        counts.not_judged
    ));
    for (change, count) in of(true).chain(of(false)) {
        let site = change.site.as_deref().unwrap_or("no site");
        line(format!("  {count:>10}  {}, {site}: {}", change.pipeline, difference(change)));
    }
    if !counts.moved.is_empty() {
        line("records that would lie elsewhere, by device:".to_owned());
        let mut devices: Vec<_> = counts.moved.iter().collect();
        devices.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        for (device, count) in devices.iter().take(DEVICES) {
            line(format!(
                "  {count:>10}  {}",
                device.as_deref().unwrap_or("devices that no policy registers")
            ));
        }
        if devices.len() > DEVICES {
            line(format!("  and of {} more devices", devices.len() - DEVICES));
        }
    }
    text
}

/// What is otherwise, and only that.
fn difference(change: &Change) -> String {
    let Change { before, after, .. } = change;
    let mut parts = Vec::new();
    let mut part = |what: &str, before: &str, after: &str| {
        if before != after {
            let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
            parts.push(format!("{what} {} → {}", shown(before), shown(after)));
        }
    };
    part("place", &before.place, &after.place);
    part("rule", before.rule.as_deref().unwrap_or(""), after.rule.as_deref().unwrap_or(""));
    part("class", &before.class, &after.class);
    part("training", &before.training, &after.training);
    part("models", &before.models, &after.models);
    parts.join(", ")
}

/// For programs.
pub(crate) fn as_json(report: &ShadowReport) -> Value {
    let counts = report.counts();
    let decision = |of: &Decision| {
        json!({
            "place": of.place,
            "rule": of.rule,
            "class": of.class,
            "training": of.training,
            "models": of.models,
        })
    };
    let changes = counts.changes.iter().map(|(change, count)| {
        json!({
            "pipeline": change.pipeline,
            "site": change.site,
            "moves": change.moves(),
            "before": decision(&change.before),
            "after": decision(&change.after),
            "records": count,
        })
    });
    let devices = counts.moved.iter().map(|(device, count)| json!({ "device": device, "records": count }));
    json!({
        "policy": report.version().as_str(),
        "policy_in_force": report.in_force().as_str(),
        "records": counts.records,
        "not_judged": counts.not_judged,
        "changes": changes.collect::<Vec<_>>(),
        "moved_devices": devices.collect::<Vec<_>>(),
    })
}
