//! `situs run`.

use std::process::ExitCode;

use anyhow::Context as _;
use situs_observe::init_logs;
use tokio::signal::unix::{SignalKind, signal};

use crate::catalog::Catalog;
use crate::cli::RunArgs;
use crate::library::read_policy;
use crate::{run, shadow};

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.config)?;
    init_logs(&site.logs).map_err(|error| super::Usage(format!("`filter` in logs: {error}")))?;
    let catalog = Catalog::load(&site.library)?;
    let shadow = match &args.shadow_policy {
        Some(path) => Some(catalog.with_policy(read_policy(path)?)?.policy),
        None => None,
    };
    if args.init_stores {
        // Before there is anything: a store that was made in the wrong place would have to be removed again.
        site.check_roots()?;
        for (zone, root) in &site.stores {
            situs_store::init(root, zone)?;
        }
    }
    let runtime = super::runtime()?;
    let result = runtime.block_on(async {
        // Before anything else is started, so that a signal can never be missed.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Before this, SIGHUP ends the process, as it does any other.
        let mut reload = signal(SignalKind::hangup())?;
        let service = tokio::select! {
            service = run::start(&site, &catalog, shadow, args.until_caught_up) => service?,
            // Nothing has been read yet, so there is nothing to drain.
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        };
        let asked = service.reload.clone();
        tokio::spawn(async move {
            while reload.recv().await.is_some() {
                asked.notify_one();
            }
        });
        let report = service.shadow.clone();
        let told = match (&args.http_address_file, service.http) {
            (Some(file), Some(address)) => {
                std::fs::write(file, address.to_string()).with_context(|| format!("{}", file.display()))
            }
            _ => Ok(()),
        };
        if told.is_err() {
            service.control.stop();
        }
        let control = service.control.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            control.stop();
            // A second signal means: now. What is not settled is read again after the next start.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!(event = "killed", "second signal: stopping at once");
            std::process::exit(i32::from(super::EXIT_FAILED));
        });
        let summary = service.wait().await;
        told?;
        let summary = summary?;
        if let Some(report) = report {
            print!("{}", shadow::in_words(&report));
        }
        let counts = &summary.counts;
        tracing::info!(
            event = "stopped",
            messages = counts.messages,
            stored = counts.stored_messages(),
            quarantined = counts.quarantined_messages(),
            without_rows = counts.without_rows,
            "stopped; everything read is settled"
        );
        Ok(ExitCode::SUCCESS)
    });
    // Nothing runs any more that the process's end could harm. To shut the runtime down would let threads of
    // delta-rs panic that are still reading.
    std::mem::forget(runtime);
    result
}
