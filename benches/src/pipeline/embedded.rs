//! From an embedded broker to committed tables: the whole of `situs run`, with the broker and the
//! producer in the same process and on the same cores.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use situs::catalog::Catalog;
use situs::demo::broker::EmbeddedBroker;
use situs::demo::feed::{Feed, Telemetry};
use situs::demo::generator::{Expect, Message};
use situs::run;
use situs::site::Site;
use situs_model::DeviceSource;

use crate::corpus::Corpus;
use crate::decode::Options;

/// Partitions of the topic.
const PARTITIONS: i32 = 8;
/// Runs of each case.
const RUNS: usize = 3;
/// How long a run feeds.
const SECONDS: u64 = 10;

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Measured {
    messages: u64,
    bytes: u64,
    seconds: f64,
    cpu_seconds: f64,
    disk_bytes: u64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}

/// Runs all cases, by turns, and prints the median run of each.
///
/// # Errors
/// If a run fails, or does not account for every message.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (runs, seconds) = if options.quick { (1, 2) } else { (RUNS, SECONDS) };
    let corpora: Vec<Corpus> =
        Corpus::all().into_iter().filter(|corpus| case_name(corpus).is_some()).collect();
    let mut results: Vec<Vec<Measured>> = corpora.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (corpus, results) in corpora.iter().zip(&mut results) {
            results.push(measure(corpus, seconds)?);
        }
    }
    if !options.json {
        println!(
            "{:<8} {:>12} {:>10} {:>22} {:>8} {:>16}",
            "case", "messages/s", "MB/s", "cpu s per M messages", "spread", "disk / payload"
        );
    }
    for (corpus, results) in corpora.iter().zip(&mut results) {
        results.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        let median = results[results.len() / 2];
        let spread = results[results.len() - 1].rate() / results[0].rate();
        let case = case_name(corpus).unwrap_or_default();
        let mb_s = median.bytes as f64 / median.seconds / 1e6;
        let cpu = median.cpu_seconds / median.messages as f64 * 1e6;
        let disk = median.disk_bytes as f64 / median.bytes as f64;
        if options.json {
            println!(
                "{}",
                json!({ "case": case, "system": "situs", "messages_s": median.rate(), "mb_s": mb_s,
                        "cpu_s_per_million": cpu, "bytes_on_disk": median.disk_bytes, "spread": spread })
            );
        } else {
            println!(
                "{case:<8} {:>12.0} {mb_s:>10.1} {cpu:>22.2} {:>7.0}% {:>15.1}%",
                median.rate(),
                (spread - 1.0) * 100.0,
                disk * 100.0
            );
        }
    }
    Ok(())
}

/// The corpora that are run, by the size that the table shows.
fn case_name(corpus: &Corpus) -> Option<&'static str> {
    match corpus.name.as_str() {
        "value" => Some("46 B"),
        "state" => Some("440 B"),
        "block" => Some("30 kB"),
        _ => None,
    }
}

/// Messages of a corpus over and over: every other device in Nanning, the others in Stuttgart.
struct Cycle {
    messages: Vec<Vec<u8>>,
    in_payload: bool,
    topic: &'static str,
    next: usize,
}

impl Telemetry for Cycle {
    fn next(&mut self, out: &mut Message) {
        let text = &self.messages[self.next % self.messages.len()];
        let partition = self.next % PARTITIONS as usize;
        self.next += 1;
        let chinese = partition.is_multiple_of(2);
        out.topic = self.topic;
        out.partition = i32::try_from(partition).unwrap_or_default();
        out.key.clear();
        out.key.extend_from_slice(if chinese { b"nn-cnc-001" } else { b"st-cnc-001" });
        out.payload.clear();
        out.payload.extend_from_slice(text);
        if chinese && self.in_payload {
            replace(&mut out.payload, b"\"st-cnc-", b"\"nn-cnc-");
            replace(&mut out.payload, b"\"country\":\"DE\"", b"\"country\":\"CN\"");
        }
        out.tombstone = false;
        out.expect = Expect::Stored { zone: if chinese { "CN" } else { "EU" } };
    }
}

/// Replaces the first occurrence, near the beginning, by a text of the same length.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    if let Some(at) = bytes.windows(from.len()).take(128).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

fn measure(corpus: &Corpus, seconds: u64) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    situs::library::write_shipped(folder.path())?;
    let topic = write_pipeline(folder.path(), corpus)?;
    let broker = EmbeddedBroker::start(&[(topic, PARTITIONS)])?;
    let site_file = folder.path().join("site.yaml");
    std::fs::write(
        &site_file,
        format!(
            "home: {{ site: stuttgart-1, zone: EU }}\nkafka: {{ brokers: \"{}\", group: bench }}\n\
             enabled: [{}]\nstores: {{ CN: data/cn, EU: data/eu }}\nflush: {{ age: 5s }}\n",
            broker.bootstrap(),
            pipeline_of(corpus)
        ),
    )?;
    let site = Site::parse(&site_file, &std::fs::read_to_string(&site_file)?)?;
    let catalog = Catalog::load(&site.library)?;
    for (zone, root) in &site.stores {
        situs_store::init(root, zone)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let service = run::start(&site, &catalog, false).await?;
        let control = service.control.clone();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !control.is_assigned() {
            ensure!(Instant::now() < deadline && !service.is_finished(), "no assignment within 30 s");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let cycle = Cycle {
            messages: corpus.messages.clone(),
            in_payload: corpus.device == DeviceSource::Payload,
            topic,
            next: 0,
        };
        let positions = control.clone();
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let feed = Feed::start(
            broker.bootstrap(),
            cycle,
            Arc::new(move |topic: &str, partition| positions.position(topic, partition)),
            None,
            stop.clone(),
        );
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
        let produced = tokio::task::spawn_blocking(move || feed.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the feed panicked"))?;
        if let Some(error) = produced.error {
            bail!("the feed failed: {error}");
        }
        // Stopping drains: everything read is settled when the service has ended.
        let deadline = Instant::now() + Duration::from_secs(30);
        while total_read(&service.metrics) < produced.messages && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.stop();
        let summary = service.wait().await?;
        let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        ensure!(
            summary.counts.stored_messages() == produced.messages && summary.counts.stored.len() == 2,
            "{} of {} messages were stored",
            summary.counts.stored_messages(),
            produced.messages
        );
        Ok(Measured {
            messages: produced.messages,
            bytes: produced.bytes,
            seconds: elapsed,
            cpu_seconds: cpu,
            disk_bytes: size_of(&folder.path().join("data"))?,
        })
    })
}

fn total_read(metrics: &situs_observe::Metrics) -> u64 {
    situs_observe::Metrics::sum(&metrics.messages_read)
}

fn pipeline_of(corpus: &Corpus) -> &'static str {
    match corpus.name.as_str() {
        "value" => "bench-value",
        "block" => "cnc-waveform",
        _ => "cnc-state",
    }
}

/// The topic of a corpus; the smallest messages get a pipeline of their own, beside those that ship.
fn write_pipeline(folder: &Path, corpus: &Corpus) -> anyhow::Result<&'static str> {
    match corpus.name.as_str() {
        "state" => return Ok("cnc.state"),
        "block" => return Ok("cnc.waveform"),
        _ => {}
    }
    let pipeline = folder.join("pipelines/bench-value");
    std::fs::create_dir_all(&pipeline)?;
    std::fs::write(
        pipeline.join("pipeline.yaml"),
        "name: bench-value\nscenario: process-optimization\ntopics: [bench.value]\nschema: bench.value/v1\n\
         class: general\ndevice: key\n",
    )?;
    let schema = folder.join("schemas/bench.value");
    std::fs::create_dir_all(&schema)?;
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/value.json"), schema.join("v1.json"))?;
    let policy = folder.join("pipelines/policy.yaml");
    let text = std::fs::read_to_string(&policy)?;
    let changed = text.replace("topics: [cnc.state,", "topics: [bench.value, cnc.state,");
    ensure!(changed != text, "the policy that ships lists topics in another form");
    std::fs::write(policy, changed)?;
    Ok("bench.value")
}

/// CPU time of this process so far, all threads, user and system (Linux: /proc/self/stat, in ticks
/// of 10 ms).
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

/// The bytes of all files below a folder.
fn size_of(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { size_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
