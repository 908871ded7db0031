//! How throughput grows, and what it does not depend on.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::broker::Broker;
use super::dataset::{Dataset, Shape};
use super::home::Home;
use super::systems;
use super::table::{self, Row, Run};
use crate::decode::Options;

/// Commits of the table with a history; as many days as a month has.
const HISTORY: (u64, u64) = (5_000, 30);

/// Varies one thing at a time.
///
/// # Errors
/// If a run fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let messages = if options.quick { 200_000 } else { 2_000_000 };
    let runs = if options.quick { 1 } else { 5 };
    let base = Dataset { shape: Shape::State, messages, partitions: 8, devices: 100 };
    let wanted = |axis: &str| options.names.is_empty() || options.names.iter().any(|only| only == axis);
    let broker = Broker::start()?;
    let bytes = broker.fill(base)?;
    let mut rows = Vec::new();

    if wanted("workers") {
        let homes = [1, 2].map(|workers| {
            (
                format!("workers {workers}"),
                Home { settings: format!("workers: {workers}"), ..Home::new(base) },
            )
        });
        rows.extend(compare(&homes, runs, |home| systems::situs(&broker, home, bytes))?);
    }
    if wanted("replicas") {
        let mut of_replicas: Vec<Row> =
            [1, 2, 3].iter().map(|replicas| Row::new(&format!("replicas {replicas}"), "situs")).collect();
        for _ in 0..runs {
            for (row, replicas) in of_replicas.iter_mut().zip(1..) {
                let folder = tempfile::tempdir()?;
                row.runs.push(systems::situs_in(&broker, &Home::new(base), bytes, folder.path(), replicas)?);
            }
        }
        rows.extend(of_replicas);
    }
    if wanted("partitions") {
        let homes =
            filled(&broker, [1, 8, 64].map(|partitions| Dataset { partitions, ..base }), base, |d| {
                format!("partitions {}", d.partitions)
            })?;
        rows.extend(compare(&homes, runs, |home| systems::situs(&broker, home, bytes))?);
    }
    if wanted("zones") {
        let homes = [1, 2, 4].map(|zones| (format!("zones {zones}"), Home { zones, ..Home::new(base) }));
        rows.extend(compare(&homes, runs, |home| systems::situs(&broker, home, bytes))?);
    }
    if wanted("devices") {
        let homes =
            filled(&broker, [10, 1_000, 100_000].map(|devices| Dataset { devices, ..base }), base, |d| {
                format!("devices {}", d.devices)
            })?;
        rows.extend(compare(&homes, runs, |home| systems::situs(&broker, home, bytes))?);
    }
    if wanted("pipelines") {
        let small = Dataset { messages: messages / 12, ..base };
        let mut topics = Vec::new();
        for number in 0..12 {
            let topic = format!("bench-of-twelve-{number}");
            broker.topic(&topic, small.partitions)?;
            super::dataset::fill(&broker.bootstrap, &topic, small)?;
            topics.push(topic);
        }
        let homes = [
            ("pipelines 1".to_owned(), Home::new(base)),
            ("pipelines 12".to_owned(), Home { topics, ..Home::new(small) }),
        ];
        rows.extend(compare(&homes, runs, |home| systems::situs(&broker, home, bytes))?);
    }
    if wanted("history") {
        let mut of_history = [Row::new("commits 0", "situs"), Row::new("commits 5000", "situs")];
        for _ in 0..runs {
            for (row, commits) in of_history.iter_mut().zip([0, HISTORY.0]) {
                let folder = tempfile::tempdir()?;
                let home = Home::new(base);
                if commits > 0 {
                    // Another topic of the same pipeline made the table that is there.
                    let small = Dataset { messages: 1_000, ..base };
                    let topic = format!("bench-history-{}", row.runs.len());
                    broker.topic(&topic, small.partitions)?;
                    super::dataset::fill(&broker.bootstrap, &topic, small)?;
                    let before = Home { topics: vec![topic], ..Home::new(small) };
                    systems::situs_in(&broker, &before, 0, folder.path(), 1)?;
                    lengthen(&folder.path().join("data"), commits)?;
                    checkpoint(&folder.path().join("data"))?;
                }
                row.runs.push(systems::situs_in(&broker, &home, bytes, folder.path(), 1)?);
            }
        }
        rows.extend(of_history);
    }
    table::print(&rows, options.json);
    Ok(())
}

/// Fills the topics of datasets, but for the one that is there.
fn filled(
    broker: &Broker,
    datasets: [Dataset; 3],
    there: Dataset,
    name: impl Fn(&Dataset) -> String,
) -> anyhow::Result<Vec<(String, Home)>> {
    let mut homes = Vec::new();
    for dataset in datasets {
        if dataset != there {
            broker.fill(dataset)?;
        }
        homes.push((name(&dataset), Home::new(dataset)));
    }
    Ok(homes)
}

fn compare(
    homes: &[(String, Home)],
    runs: usize,
    measure: impl Fn(&Home) -> anyhow::Result<Run>,
) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = homes.iter().map(|(name, _)| Row::new(name, "situs")).collect();
    for _ in 0..runs {
        for ((name, home), row) in homes.iter().zip(&mut rows) {
            row.runs.push(measure(home).with_context(|| name.clone())?);
        }
    }
    Ok(rows)
}

fn checkpoint(data: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let metrics = std::sync::Arc::new(situs_observe::Metrics::new()?);
    for zone in ["Z0", "Z1"] {
        let (root, zone) = (data.join(zone.to_lowercase()), zone.parse()?);
        let store = runtime.block_on(situs_store::DeltaStore::open(&root, &zone, metrics.clone()))?;
        runtime.block_on(store.maintain(100))?;
    }
    Ok(())
}

/// Gives the bench's tables so many commits, each of a file on one of thirty days, by repeating the last
/// entry of their logs with other names, and a checkpoint, as a process that runs makes after every hundred
/// commits. The files are not there; nobody reads them here.
fn lengthen(data: &Path, commits: u64) -> anyhow::Result<()> {
    let mut logs = Vec::new();
    systems::for_each_file(data, &mut |path| {
        if path.to_str().is_some_and(|path| path.contains("/bench_0/_delta_log/0")) {
            logs.extend(path.parent().map(Path::to_owned));
        }
        Ok(())
    })?;
    logs.sort();
    logs.dedup();
    for log in logs {
        let last = fs::read_dir(&log)?.count() as u64 - 1;
        // Others tell the table of its writers.
        let entries =
            (0..=last).rev().map(|version| fs::read_to_string(log.join(format!("{version:020}.json"))));
        let entry = entries.filter_map(Result::ok).find(|entry| entry.contains("event_date="));
        let entry = entry.context("a commit with rows")?;
        let date = entry.split("event_date=").nth(1).and_then(|rest| rest.get(..10)).context("a day")?;
        for version in last + 1..=commits {
            let day = format!("2026-04-{:02}", 1 + version % HISTORY.1);
            let text = entry.replace(date, &day).replace(".parquet", &format!("-{version}.parquet"));
            fs::write(log.join(format!("{version:020}.json")), text)?;
        }
    }
    Ok(())
}
