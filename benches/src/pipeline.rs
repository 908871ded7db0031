//! From a real Kafka to committed tables: Situs, the floor under it, and its rivals.

mod broker;
mod consume;
mod cost;
mod dataset;
mod home;
mod live;
mod process;
mod scaling;
mod steps;
mod systems;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::decode::Options;
use broker::Broker;
pub(crate) use cost::run as policy;
use dataset::{Dataset, Shape};
use home::Home;
pub(crate) use live::{freshness, soak};
pub(crate) use scaling::run as scaling;
use table::Row;

/// What the benchmark's own child processes do; `None` if this is no child.
///
/// # Errors
/// If the child's work fails.
pub(crate) fn child() -> anyhow::Result<Option<ExitCode>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = |index: usize| arguments.get(index).map(String::as_str).context("too few arguments");
    match arguments.first().map(String::as_str) {
        // The whole command, as users run it, without linking it once more.
        Some("situs") => {
            let cli = situs::cli::Cli::parse_from(&arguments);
            return Ok(Some(situs::commands::execute(cli)));
        }
        Some("child-consume") => {
            let bytes = consume::consume(at(1)?, at(2)?, at(3)?.parse()?, at(4)?.parse()?)?;
            println!("{bytes}");
        }
        Some("child-steps") => {
            let messages = at(1)?.parse()?;
            let dataset = Dataset { shape: Shape::State, messages, partitions: 8, devices: 100 };
            steps::measure("guard", dataset, 1)?;
        }
        _ => return Ok(None),
    }
    Ok(Some(ExitCode::SUCCESS))
}

/// Messages of each shape for the comparison with rivals, and of the large backlog.
fn datasets(quick: bool) -> [Dataset; 3] {
    let size = |full: u64| if quick { full / 20 } else { full };
    let dataset = |shape, messages| Dataset { shape, messages: size(messages), partitions: 8, devices: 100 };
    [dataset(Shape::Value, 4_000_000), dataset(Shape::State, 2_000_000), dataset(Shape::Block, 40_000)]
}

/// Runs all cases, by turns, and prints the median run of each system.
///
/// # Errors
/// If a run fails, or does not account for every message.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|only| only == name);
    let runs = if options.quick { 1 } else { 5 };
    let mut rows = Vec::new();
    if wanted("limit") {
        eprintln!("memory: one thread copies {:.1} GB/s", steps::memory_bandwidth() / 1e9);
        for dataset in datasets(options.quick) {
            let messages = dataset.messages / 4;
            rows.extend(steps::measure(dataset.shape.as_str(), Dataset { messages, ..dataset }, runs)?);
        }
    }
    let broker = Broker::start()?;
    for dataset in datasets(options.quick) {
        let case = dataset.shape.as_str();
        let with_rivals = wanted("rivals") && dataset.shape == Shape::State;
        if !wanted(case) && !with_rivals {
            continue;
        }
        let mut rivals = Vec::new();
        if with_rivals {
            for name in systems::rivals()? {
                if systems::prepare(&name)? {
                    rivals.push(Row::new(case, &name));
                }
            }
        }
        eprintln!("{case}: filling the topic");
        let bytes = broker.fill(dataset)?;
        let (mut situs, mut bare) = (Row::new(case, "situs"), Row::new(case, "bare consumer"));
        let home = Home::new(dataset);
        for _ in 0..runs {
            bare.runs.push(systems::bare(&broker, dataset)?);
            situs.runs.push(systems::situs(&broker, &home, bytes)?);
            for rival in &mut rivals {
                match systems::rival(&broker, &rival.system, dataset, bytes) {
                    Ok(run) => rival.runs.push(run),
                    Err(error) => eprintln!("{}: {error:#}", rival.system),
                }
            }
        }
        rows.push(bare);
        rows.push(situs);
        rows.extend(rivals);
    }
    if wanted("backlog") {
        let messages = if options.quick { 500_000 } else { 10_000_000 };
        let dataset = Dataset { shape: Shape::State, messages, partitions: 8, devices: 100 };
        eprintln!("backlog: filling the topic");
        let bytes = broker.fill(dataset)?;
        let (mut situs, mut bare) =
            (Row::new("backlog 440B", "situs"), Row::new("backlog 440B", "bare consumer"));
        for _ in 0..runs {
            bare.runs.push(systems::bare(&broker, dataset)?);
            situs.runs.push(systems::situs(&broker, &Home::new(dataset), bytes)?);
        }
        rows.push(bare);
        rows.push(situs);
    }
    table::print(&rows, options.json);
    Ok(())
}
