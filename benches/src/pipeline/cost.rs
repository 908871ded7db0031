//! What the policy costs: judging and splitting as shares of the steps of a worker, and how both grow with
//! devices, rules and models.

use serde_json::json;

use super::dataset::{Dataset, Shape};
use super::home::Home;
use super::steps;
use super::table::Row;
use crate::decode::Options;

/// What the issue of the policy allows, of the CPU time of a whole run.
const LIMIT_PERCENT: f64 = 8.0;
/// CPU seconds that `situs run` takes per million such messages, from `benches/run pipeline` (README.md).
const RUN_CPU_PER_MILLION: f64 = 2.10;

/// An installation to measure.
#[derive(Debug, Clone, Copy)]
struct Case {
    devices: u64,
    rules: usize,
    models: usize,
}

/// The one that the limit is for.
const BASE: Case = Case { devices: 100_000, rules: 50, models: 20 };

/// Measures the base and its neighbours along each axis.
///
/// # Errors
/// If a home cannot be made or a step fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let messages = if options.quick { 100_000 } else { 1_000_000 };
    let passes = if options.quick { 1 } else { 5 };
    let wanted = |axis: &str| options.names.is_empty() || options.names.iter().any(|only| only == axis);
    let mut cases = Vec::new();
    let mut axis = |name: &'static str, along: [Case; 3]| {
        if wanted(name) {
            cases.extend(along.map(|case| (name, case)));
        }
    };
    axis("devices", [100, 10_000, 100_000].map(|devices| Case { devices, ..BASE }));
    // Two rules per site and one model are there always.
    axis("rules", [8, 50, 200].map(|rules| Case { rules, ..BASE }));
    axis("models", [1, 20, 80].map(|models| Case { models, ..BASE }));
    if !options.json {
        println!(
            "{:<8} {:>8} {:>6} {:>7} {:>11} {:>11} {:>11} {:>10} {:>10}",
            "axis",
            "devices",
            "rules",
            "models",
            "judge s/M",
            "split s/M",
            "steps s/M",
            "of steps",
            "of a run"
        );
    }
    for (axis, case) in cases {
        let dataset = Dataset { shape: Shape::State, messages, partitions: 8, devices: case.devices };
        let home = Home { more_rules: case.rules - 8, more_models: case.models - 1, ..Home::new(dataset) };
        let rows = steps::measure_home("policy", &home, passes)?;
        print(axis, case, &rows, options.json);
    }
    Ok(())
}

fn print(axis: &str, case: Case, rows: &[Row], as_json: bool) {
    let of = |step: &str| {
        let row = rows.iter().find(|row| row.system == format!("step: {step}"));
        row.map_or(f64::NAN, Row::cpu_per_million)
    };
    let (judge, split) = (of("judge"), of("split"));
    let steps: f64 = rows.iter().map(Row::cpu_per_million).sum();
    // The client, the log and the start of a run cost the same whatever the policy says.
    let run = (judge + split) / (RUN_CPU_PER_MILLION.max(steps)) * 100.0;
    let share = (judge + split) / steps * 100.0;
    let Case { devices, rules, models } = case;
    if as_json {
        println!(
            "{}",
            json!({
                "axis": axis, "devices": devices, "rules": rules, "models": models,
                "judge_s_per_million": judge, "split_s_per_million": split, "steps_s_per_million": steps,
                "percent_of_steps": share, "percent_of_run": run, "limit_percent_of_run": LIMIT_PERCENT,
            })
        );
    } else {
        println!(
            "{axis:<8} {devices:>8} {rules:>6} {models:>7} {judge:>11.3} {split:>11.3} {steps:>11.3} {share:>9.1}% {run:>9.1}%"
        );
    }
}
