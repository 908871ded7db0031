//! `situs demo`: the whole of Situs in one process, on an embedded broker.
//!
//! The pipeline is the one that `situs run` runs, with the configuration that it leaves behind in
//! the data directory; only the broker and the telemetry are made up.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what commands do")]

mod audit;
pub mod broker;
pub mod feed;
pub mod generator;
mod report;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use situs_observe::Metrics;
use situs_query::{Permit, Session};
use tokio::signal::unix::{SignalKind, signal};

use crate::catalog::Catalog;
use crate::cli::DemoArgs;
use crate::commands::{default_logs, runtime};
use crate::run::{self, Service};
use crate::site::Site;
use broker::EmbeddedBroker;
use feed::Feed;
use generator::Generator;
use report::Report;

/// A file in the data directory that says that a demo made it, so that the next demo may replace it.
const MARKER: &str = "situs-demo.txt";
/// The key that signs the demo's receipts, beside its configuration.
const KEY: &str = "receipts-key.pem";
/// How long the last messages may take from the producer to their receipts.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages whose words the audit looks for where they must not be.
const AUDITED_MESSAGES: u64 = 2_000;

/// Runs the demo.
///
/// # Errors
/// If a part cannot be started, or something failed on the way.
pub fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    default_logs("warn");
    prepare_folder(&args.data)?;
    let runtime = runtime()?;
    let result = runtime.block_on(run_demo(args));
    runtime.shutdown_timeout(Duration::from_secs(30));
    result
}

async fn run_demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let config = args.data.join("config");
    crate::library::write_shipped(&config).with_context(|| format!("writing {}", config.display()))?;
    let broker = EmbeddedBroker::start(&generator::TOPICS)?;
    situs_store::ReceiptKey::create(&config.join(KEY))?;
    let site_file = config.join("site.yaml");
    std::fs::write(&site_file, site_yaml(&broker.bootstrap(), args))?;
    let site = Site::parse(&site_file, &std::fs::read_to_string(&site_file)?)?;
    let catalog = Catalog::load(&site.library)?;
    for (zone, root) in &site.stores {
        situs_store::init(root, zone)?;
    }
    let service = run::start(&site, &catalog, None, false).await?;
    if !args.json {
        println!("broker {} (embedded), policy {}", broker.bootstrap(), catalog.policy.version());
        if let Some(address) = service.http {
            println!("live page http://{address}/, metrics http://{address}/metrics");
        }
        println!("stores {}", args.data.display());
    }

    let stop_feed = Arc::new(AtomicBool::new(false));
    let control = service.control.clone();
    let start_ms = chrono::Utc::now().timestamp_millis();
    // The group needs some seconds to form; only what comes after counts for the rate.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !control.is_assigned() && Instant::now() < deadline && !service.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let started = Instant::now();
    let positions = control.clone();
    let feed = Feed::start(
        broker.bootstrap(),
        Generator::new(args.seed, start_ms),
        Arc::new(move |topic: &str, partition| positions.position(topic, partition)),
        args.rate,
        stop_feed.clone(),
    );

    let mut progress = Progress::new(args.json);
    let end = started + Duration::from_secs(args.seconds);
    let mut asked = false;
    while Instant::now() < end && !asked && !service.is_finished() {
        tokio::select! {
            () = tokio::time::sleep_until(end.min(Instant::now() + Duration::from_secs(1)).into()) => {}
            _ = interrupt.recv() => asked = true,
            _ = terminate.recv() => asked = true,
        }
        progress.print(&service, started);
    }
    stop_feed.store(true, Ordering::Relaxed);
    let produced = tokio::task::spawn_blocking(move || feed.join())
        .await?
        .map_err(|_| anyhow::anyhow!("the generator's thread panicked"))?;
    if let Some(error) = &produced.error {
        bail!("the generator's producer failed: {error}");
    }
    let settle_by = Instant::now() + SETTLE_TIMEOUT;
    while settled(&service.metrics) < produced.messages
        && Instant::now() < settle_by
        && !service.is_finished()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let elapsed = started.elapsed();
    progress.finish();

    let metrics = service.metrics.clone();
    service.control.stop();
    let summary = service.wait().await?;
    let session = Session::open(&Permit::new(situs_query::find_stores(&args.data)?)).await?;
    let words =
        audit::payload_words(Generator::new(args.seed, start_ms), produced.messages.min(AUDITED_MESSAGES));
    let findings = audit::audit(&audit::Subject {
        stores: &site.stores,
        home: &site.home_zone,
        policy: catalog.policy.version(),
        session: &session,
        metrics: &metrics,
        produced: &produced,
        bootstrap: broker.bootstrap(),
        group: site.kafka.group.clone(),
        words: &words,
    })
    .await;
    let report = Report {
        data: args.data.clone(),
        elapsed,
        produced,
        summary,
        skipped: Metrics::sum(&metrics.skipped_offsets),
        findings,
        tables: session.describe().await?,
    };
    if args.json {
        println!("{}", report.as_json());
    } else {
        print!("{report}");
    }
    let problems = report.problems();
    for problem in &problems {
        eprintln!("situs: {problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(crate::commands::EXIT_FAILED) })
}

/// Makes room for a new demo: replaces what an earlier one left, and nothing else.
fn prepare_folder(data: &Path) -> anyhow::Result<()> {
    if data.exists() {
        let empty = std::fs::read_dir(data).with_context(|| format!("{}", data.display()))?.next().is_none();
        if !empty && !data.join(MARKER).is_file() {
            bail!(
                "{} is not empty and no demo made it; choose another directory with --data",
                data.display()
            );
        }
        for name in ["cn", "eu", "config"] {
            let path: PathBuf = data.join(name);
            if path.exists() {
                std::fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
    }
    std::fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
    std::fs::write(data.join(MARKER), "Made by `situs demo`; the next demo replaces cn/, eu/ and config/.\n")
        .with_context(|| format!("writing into {}", data.display()))?;
    Ok(())
}

fn site_yaml(bootstrap: &str, args: &DemoArgs) -> String {
    format!(
        "# Written by `situs demo`. The broker was embedded and is gone; everything else can be used again.\n\
         home: {{ site: stuttgart-1, zone: EU }}\n\
         kafka:\n  cluster: demo\n  brokers: \"{bootstrap}\"\n  group: situs-demo\n\
         pipelines: pipelines\nschemas: schemas\npolicy: pipelines/policy.yaml\n\
         stores:\n  CN: ../cn\n  EU: ../eu\n\
         receipts: {{ signing-key: {KEY} }}\n\
         flush: {{ age: 2s }}\n\
         http: {{ listen: \"{}\" }}\n\
         logs: {{ filter: warn }}\n",
        args.listen
    )
}

/// Messages that are in their final place.
fn settled(metrics: &Metrics) -> u64 {
    Metrics::sum(&metrics.messages_stored)
        + Metrics::sum(&metrics.messages_quarantined)
        + Metrics::sum(&metrics.messages_without_rows)
}

/// A line a second while the demo runs.
struct Progress {
    quiet: bool,
    overwrite: bool,
    last: (Instant, u64, u64),
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { quiet, overwrite: std::io::stdout().is_terminal(), last: (Instant::now(), 0, 0) }
    }

    fn print(&mut self, service: &Service, started: Instant) {
        if self.quiet {
            return;
        }
        let metrics = &service.metrics;
        let (read, bytes) = (Metrics::sum(&metrics.messages_read), Metrics::sum(&metrics.bytes_read));
        let seconds = self.last.0.elapsed().as_secs_f64().max(1e-3);
        let rate = (read - self.last.1) as f64 / seconds;
        let mb_rate = (bytes - self.last.2) as f64 / seconds / 1e6;
        self.last = (Instant::now(), read, bytes);
        let zones: Vec<String> =
            report::rows_by_zone(metrics).into_iter().map(|(zone, rows)| format!("{zone} {rows}")).collect();
        let line = format!(
            "{:>4.0} s  {rate:>9.0} msg/s  {mb_rate:>6.1} MB/s  lag {:>8}  rows {}  quarantined {}",
            started.elapsed().as_secs_f64(),
            service.control.lag().map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
            if zones.is_empty() { "-".to_owned() } else { zones.join("  ") },
            Metrics::sum(&metrics.messages_quarantined),
        );
        if self.overwrite {
            print!("\r\x1b[2K{line}");
            std::io::stdout().flush().ok();
        } else {
            println!("{line}");
        }
    }

    fn finish(&self) {
        if self.overwrite && !self.quiet {
            println!();
        }
    }
}
