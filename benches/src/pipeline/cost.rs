//! What the policy costs: judging and splitting as shares of the steps of a worker, and how both grow with
//! devices, rules and models.

use anyhow::Context as _;
use serde_json::json;

use super::broker::Broker;
use super::dataset::{Dataset, Shape};
use super::home::Home;
use super::table::Row;
use super::{steps, systems};
use crate::decode::Options;

/// What the issue of the policy allows, of the CPU time of a whole run.
const LIMIT_PERCENT: f64 = 8.0;
/// How many times as many messages the longer one of two runs has, whose difference is a run without its start:
/// reading a policy of 100,000 devices takes as long as some hundred thousand messages.
const LONGER: u64 = 3;

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
            "{:<8} {:>8} {:>6} {:>7} {:>11} {:>11} {:>11} {:>9} {:>10} {:>10}",
            "axis",
            "devices",
            "rules",
            "models",
            "judge s/M",
            "split s/M",
            "steps s/M",
            "run s/M",
            "of steps",
            "of a run"
        );
    }
    let mut broker = None;
    for (axis, case) in cases {
        let dataset = Dataset { shape: Shape::State, messages, partitions: 8, devices: case.devices };
        let home = Home { more_rules: case.rules - 8, more_models: case.models - 1, ..Home::new(dataset) };
        let rows = steps::measure_home("policy", &home, passes)?;
        let run = run_per_million(&mut broker, &home, passes)?;
        print(axis, case, &rows, run, options.json);
    }
    Ok(())
}

/// CPU seconds of whole runs of `situs run` per million messages: client, log, commits and files too.
///
/// One topic has the messages of the shorter run and another all; both are filled once for each number of
/// devices.
fn run_per_million(filled: &mut Option<(u64, Broker)>, home: &Home, runs: usize) -> anyhow::Result<f64> {
    let short = home.dataset;
    let long = Dataset { messages: short.messages * LONGER, ..short };
    if filled.as_ref().is_none_or(|(devices, _)| *devices != short.devices) {
        let broker = Broker::start()?;
        broker.fill(short)?;
        broker.fill(long)?;
        *filled = Some((short.devices, broker));
    }
    let (_, broker) = filled.as_ref().context("a broker")?;
    let cpu = |dataset: Dataset| -> anyhow::Result<f64> {
        let home = Home { dataset, topics: vec![dataset.topic()], ..home.clone() };
        let mut row = Row::new("policy", "situs");
        for _ in 0..runs {
            row.runs.push(systems::situs(broker, &home, 0)?);
        }
        Ok(row.cpu_per_million() * dataset.messages as f64)
    };
    Ok((cpu(long)? - cpu(short)?) / (long.messages - short.messages) as f64)
}

fn print(axis: &str, case: Case, rows: &[Row], run: f64, as_json: bool) {
    let of = |step: &str| {
        let row = rows.iter().find(|row| row.system == format!("step: {step}"));
        row.map_or(f64::NAN, Row::cpu_per_million)
    };
    let (judge, split) = (of("judge"), of("split"));
    let steps: f64 = rows.iter().map(Row::cpu_per_million).sum();
    let of_run = (judge + split) / run * 100.0;
    let share = (judge + split) / steps * 100.0;
    let Case { devices, rules, models } = case;
    if as_json {
        println!(
            "{}",
            json!({
                "axis": axis, "devices": devices, "rules": rules, "models": models,
                "judge_s_per_million": judge, "split_s_per_million": split, "steps_s_per_million": steps,
                "run_s_per_million": run, "percent_of_steps": share, "percent_of_run": of_run, "limit_percent_of_run": LIMIT_PERCENT,
            })
        );
    } else {
        println!(
            "{axis:<8} {devices:>8} {rules:>6} {models:>7} {judge:>11.3} {split:>11.3} {steps:>11.3} {run:>9.3} {share:>9.1}% {of_run:>9.1}%"
        );
    }
}
