//! Situs beside a producer that goes on: freshness at several loads, and a soak.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use super::broker::Broker;
use super::dataset::{Dataset, Ring, Shape};
use super::home::Home;
use super::{process, systems};
use crate::decode::Options;

/// The age that homes set here.
const AGE: Duration = Duration::from_secs(5);
/// Share of the most that was reached.
const LOADS: [f64; 3] = [0.1, 0.5, 0.9];

/// Freshness: for every row the time from its production to the commit that makes it visible.
///
/// # Errors
/// If a process fails, or rows are missing.
pub(crate) fn freshness(options: &Options) -> anyhow::Result<()> {
    let seconds = if options.quick { 8 } else { 40 };
    let broker = Broker::start()?;
    let most = maximum(&broker, if options.quick { 6 } else { 20 })?;
    if !options.json {
        println!("at most {most:.0} messages/s with the producer on the same cores");
        println!(
            "{:<10} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}",
            "load", "messages/s", "p50 s", "p99 s", "p99.9 s", "max s", "RSS MiB", "files"
        );
    }
    for load in LOADS {
        let name = format!("bench-live-{}", (load * 100.0) as u32);
        let home = Live::start(&broker, &name)?;
        let producer = Producer::start(&broker, &name, Some(most * load));
        std::thread::sleep(Duration::from_secs(seconds));
        let produced = producer.stop()?;
        std::thread::sleep(AGE + Duration::from_secs(2));
        let (folder, peak) = home.stop()?;
        let histogram = Histogram::of(&folder.path().join("data"))?;
        ensure!(histogram.rows == produced, "{} of {produced} messages are in the stores", histogram.rows);
        let rate = produced as f64 / seconds as f64;
        let of = |share: f64| histogram.quantile(share).as_secs_f64();
        let rss = peak as f64 / 1024.0;
        if options.json {
            println!(
                "{}",
                json!({
                    "case": format!("freshness {load}"), "system": "situs", "messages_s": rate.round(),
                    "p50_s": of(0.5), "p99_s": of(0.99), "p999_s": of(0.999), "max_s": of(1.0),
                    "peak_rss_mib": rss, "files": histogram.files,
                })
            );
        } else {
            println!(
                "{:<10} {rate:>11.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {rss:>9.0} {:>6}",
                format!("{:.0} %", load * 100.0),
                of(0.5),
                of(0.99),
                of(0.999),
                of(1.0),
                histogram.files
            );
        }
    }
    Ok(())
}

/// Runs at four fifths of the maximum for so many minutes, and prints a line for each of thirty parts.
///
/// # Errors
/// If a process fails, or rows are missing.
pub(crate) fn soak(options: &Options, minutes: u64) -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let most = maximum(&broker, 20)?;
    let home = Live::start(&broker, "bench-soak")?;
    let producer = Producer::start(&broker, "bench-soak", Some(most * 0.8));
    let (parts, part) = (30_u32, Duration::from_secs(minutes * 2));
    let started = Instant::now();
    let mut before = (0_u64, Duration::ZERO, (0.0, 0.0));
    if !options.json {
        println!(
            "{:>8} {:>11} {:>9} {:>9} {:>7} {:>10} {:>9}",
            "minute", "messages/s", "cpu s/M", "RSS MiB", "files", "commit ms", "lag"
        );
    }
    for number in 1..=parts {
        std::thread::sleep((part * number).saturating_sub(started.elapsed()));
        let (settled, files) = home.settled()?;
        let cpu = process::cpu_of(home.child.0.id())?;
        let messages = settled - before.0;
        let per_million = (cpu - before.1).as_secs_f64() / messages as f64 * 1e6;
        let rate = messages as f64 / part.as_secs_f64();
        let rss = process::tree_rss_kib(home.child.0.id()) as f64 / 1024.0;
        let lag = producer.sent.load(Ordering::Relaxed).saturating_sub(settled);
        let commits = home.commits()?;
        let commit_ms = (commits.1 - before.2.1) / (commits.0 - before.2.0) * 1e3;
        before = (settled, cpu, commits);
        let minute = started.elapsed().as_secs_f64() / 60.0;
        if options.json {
            println!(
                "{}",
                json!({ "case": "soak", "system": "situs", "minute": minute, "messages_s": rate,
                        "cpu_s_per_million": per_million, "peak_rss_mib": rss, "files": files,
                        "commit_ms": commit_ms, "lag": lag })
            );
        } else {
            println!(
                "{minute:>8.1} {rate:>11.0} {per_million:>9.2} {rss:>9.0} {files:>7} {commit_ms:>10.1} {lag:>9}"
            );
        }
    }
    let produced = producer.stop()?;
    std::thread::sleep(AGE + Duration::from_secs(5));
    let (folder, _) = home.stop()?;
    let rows = systems::rows_of(&folder.path().join("data"))?;
    ensure!(rows == produced, "{rows} of {produced} messages are in the stores");
    Ok(())
}

/// Messages per second that Situs settles while a producer on the same cores sends as many as it can.
fn maximum(broker: &Broker, seconds: u64) -> anyhow::Result<f64> {
    let home = Live::start(broker, "bench-most")?;
    let producer = Producer::start(broker, "bench-most", None);
    // Behind the first flush, before which nothing is settled.
    std::thread::sleep(AGE * 2);
    let (before, started) = (home.settled()?.0, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds).max(AGE * 2));
    let (after, elapsed) = (home.settled()?.0, started.elapsed());
    let produced = producer.stop()?;
    home.stop()?;
    ensure!(after > before && produced >= after, "nothing was settled");
    Ok((after - before) as f64 / elapsed.as_secs_f64())
}

/// The file in which the process says where it listens.
const ADDRESS: &str = "http-address";

/// A process of Situs that reads a topic.
struct Live {
    child: Running,
    folder: tempfile::TempDir,
    watch: JoinHandle<u64>,
}

/// A child that ends with this program, whatever that ends by but a signal.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Live {
    fn start(broker: &Broker, topic: &str) -> anyhow::Result<Self> {
        let dataset = Dataset { shape: Shape::State, messages: 0, partitions: 8, devices: 100 };
        // What was read long ago is deleted, or half an hour would fill the disk.
        broker.topic_with(
            topic,
            dataset.partitions,
            &["retention.bytes=536870912", "segment.bytes=67108864"],
        )?;
        let folder = tempfile::tempdir()?;
        let home = Home {
            topics: vec![topic.to_owned()],
            settings: format!("flush: {{ age: {}s }}\nhttp: {{ listen: 127.0.0.1:0 }}", AGE.as_secs()),
            ..Home::new(dataset)
        };
        let site = home.write(folder.path(), &broker.bootstrap, topic)?;
        let (binary, verb) = systems::situs_binary()?;
        let child = Command::new(binary)
            .args(verb)
            .args(["run", "--init-stores", "--config"])
            .arg(site)
            .arg("--http-address-file")
            .arg(folder.path().join(ADDRESS))
            .spawn()?;
        let id = child.id();
        let watch = std::thread::spawn(move || {
            let mut peak = 0;
            loop {
                match process::tree_rss_kib(id) {
                    0 => return peak,
                    now => peak = peak.max(now),
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // Time to join the group.
        std::thread::sleep(Duration::from_secs(3));
        Ok(Self { child: Running(child), folder, watch })
    }

    /// Rows and files in the stores.
    fn settled(&self) -> anyhow::Result<(u64, usize)> {
        let data = self.folder.path().join("data");
        let mut files = 0;
        systems::for_each_file(&data, &mut |path| {
            files += usize::from(path.extension().is_some_and(|extension| extension == "parquet"));
            Ok(())
        })?;
        Ok((systems::rows_of(&data)?, files))
    }

    /// Commits so far, and the seconds that all of them took, by its metrics.
    fn commits(&self) -> anyhow::Result<(f64, f64)> {
        let address = std::fs::read_to_string(self.folder.path().join(ADDRESS))?;
        let mut connection = std::net::TcpStream::connect(address.trim())?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        // A series of which nothing was observed yet is not there.
        let value = |series: &str| -> anyhow::Result<f64> {
            let line = answer.lines().find_map(|line| line.strip_prefix(series));
            Ok(line.map_or(Ok(0.0), |value| value.trim().parse())?)
        };
        Ok((
            value("situs_flush_seconds_count{step=\"commit\"}")?,
            value("situs_flush_seconds_sum{step=\"commit\"}")?,
        ))
    }

    /// Asks it to drain and end; its folder, and the largest resident memory that was seen, in KiB.
    fn stop(mut self) -> anyhow::Result<(tempfile::TempDir, u64)> {
        Command::new("kill").args(["-TERM", &self.child.0.id().to_string()]).status()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.0.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.child.0.kill()?;
                bail!("situs did not drain within a minute");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "situs ended with {status}");
        let peak = self.watch.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?;
        Ok((self.folder, peak))
    }
}

/// A thread that sends messages over and over, made beforehand so that it takes little of the cores.
struct Producer {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<u64>>,
}

impl Producer {
    fn start(broker: &Broker, topic: &str, rate: Option<f64>) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, sent) = (stop.clone(), sent.clone());
            let (bootstrap, topic) = (broker.bootstrap.clone(), topic.to_owned());
            std::thread::spawn(move || {
                let dataset = Dataset { shape: Shape::State, messages: 50_000, partitions: 8, devices: 100 };
                Ring::new(dataset).send(&bootstrap, &topic, rate, &stop, &sent)
            })
        };
        Self { stop, sent, thread }
    }

    /// Ends; the messages that were delivered.
    fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the producer panicked"))?
    }
}

/// How old rows were when they became visible, to the millisecond.
#[derive(Debug, Default)]
struct Histogram {
    millis: Vec<u64>,
    rows: u64,
    files: usize,
}

impl Histogram {
    /// From all commits of the bench's tables: a row was produced at its `_broker_time`, and is visible
    /// since its commit's entry got its name.
    fn of(data: &Path) -> anyhow::Result<Self> {
        let mut histogram = Self::default();
        let mut entries: Vec<PathBuf> = Vec::new();
        systems::for_each_file(data, &mut |path| {
            let text = path.to_string_lossy();
            if text.contains("/bench_0/_delta_log/") && text.ends_with(".json") {
                entries.push(path.to_owned());
            }
            Ok(())
        })?;
        for entry in entries {
            let metadata = entry.metadata()?;
            let visible_us = metadata.ctime() * 1_000_000 + metadata.ctime_nsec() / 1_000;
            let table = entry.parent().and_then(Path::parent).context("the table's folder")?;
            for line in std::fs::read_to_string(&entry)?.lines() {
                let action: serde_json::Value = serde_json::from_str(line)?;
                if let Some(path) = action["add"]["path"].as_str() {
                    histogram.add_file(&table.join(path), visible_us)?;
                }
            }
        }
        Ok(histogram)
    }

    fn add_file(&mut self, path: &Path, visible_us: i64) -> anyhow::Result<()> {
        use arrow_array::cast::AsArray as _;
        use arrow_array::types::TimestampMicrosecondType;
        self.files += 1;
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), ["_broker_time"]);
        for batch in reader.with_projection(mask).build()? {
            let batch = batch?;
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            for time in times.values() {
                let millis = usize::try_from((visible_us - time) / 1000).unwrap_or(0);
                if millis >= self.millis.len() {
                    self.millis.resize(millis + 1, 0);
                }
                self.millis[millis] += 1;
                self.rows += 1;
            }
        }
        Ok(())
    }

    /// The age that this share of the rows did not exceed.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.rows as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (millis, rows) in self.millis.iter().enumerate() {
            seen += rows;
            if seen >= wanted {
                return Duration::from_millis(millis as u64);
            }
        }
        Duration::from_millis(self.millis.len() as u64)
    }
}
