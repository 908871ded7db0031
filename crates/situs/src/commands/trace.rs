//! `situs evidence trace`.

use std::process::ExitCode;

use anyhow::Context as _;
use situs_evidence::TraceSubject;

use super::Usage;
use super::delete::{Home, criterion};
use crate::cli::TraceArgs;

pub(super) fn trace(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    if !Home::names_source(&args.criterion) {
        let message = "expected `--site`, `--device`, `--topic` or `--before`: what shall be traced?";
        return Err(Usage(message.to_owned()).into());
    }
    let criterion = criterion(&args.criterion)?;
    let home = Home::load(&args.config)?;
    let zones = home.zones(args.zone.as_ref())?;
    let device_columns = home.device_columns();
    let signed = home.signed()?;
    let stores = home.site.stores.into_iter().filter(|(zone, _)| zones.contains(zone)).collect();
    let subject = TraceSubject { stores, device_columns, criterion, signed };
    let trace = super::runtime()?.block_on(situs_evidence::trace(&subject))?;
    if args.json {
        println!("{}", serde_json::to_string(&trace).context("writing the result")?);
    } else {
        println!("{trace}");
    }
    Ok(ExitCode::SUCCESS)
}
