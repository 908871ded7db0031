//! `situs run`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use situs_observe::init_logs;
use tokio::signal::unix::{SignalKind, signal};

use crate::catalog::Catalog;
use crate::cli::RunArgs;
use crate::run;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.config)?;
    init_logs(&site.logs).map_err(|error| super::Usage(format!("`filter` in logs: {error}")))?;
    let catalog = Catalog::load(&site.library)?;
    if args.init_stores {
        for (zone, root) in &site.stores {
            situs_store::init(root, zone)?;
        }
    }
    let runtime = super::runtime()?;
    let result = runtime.block_on(async {
        // Before anything else is started, so that a signal can never be missed.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let service = run::start(&site, &catalog, args.until_caught_up).await?;
        if let (Some(file), Some(address)) = (&args.http_address_file, service.http) {
            std::fs::write(file, address.to_string()).with_context(|| format!("{}", file.display()))?;
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
        let summary = service.wait().await?;
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
    // After an error the intake may still be draining; it gets its drain time and no more.
    runtime.shutdown_timeout(site.drain_timeout + Duration::from_secs(10));
    result
}
