//! `situs store verify`.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use situs_model::Ledger;
use situs_store::verify::{Check, Report};
use situs_store::{StoreReader, Subject};

use crate::cli::VerifyArgs;
use crate::site::Receipts;

/// Findings of a check that are printed; `--json` has more.
const PRINTED: usize = 20;

pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.config)?;
    let public_keys = super::public_keys(&args.public_keys)?;
    let home = site.stores.get(&site.home_zone).context("the home zone has no store")?;
    // A root that is no store has no ledger; what is wrong with it is a finding.
    let releases = match StoreReader::open(home) {
        Ok(reader) => super::runtime()?.block_on(reader.ledger())?,
        Err(_) => Ledger::default(),
    };
    let report = situs_store::verify(&Subject {
        stores: site.stores,
        home: site.home_zone,
        separate_devices: site.separate_devices.asked(),
        allow_unsigned: site.receipts == Receipts::AllowUnsigned,
        public_keys,
        releases,
    });
    if args.json {
        println!(
            "{}",
            json!({ "verdict": verdict(&report), "violations": report.violations(), "checks": report.checks })
        );
    } else {
        print(&report);
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_FAILED) })
}

fn verdict(report: &Report) -> &'static str {
    if report.holds() { "ok" } else { "broken" }
}

fn print(report: &Report) {
    println!("{:<11} {:<15} {:>10}  measured", "check", "invariants", "violations");
    for check in &report.checks {
        println!(
            "{:<11} {:<15} {:>10}  {}",
            check.check.as_str(),
            check.invariants,
            check.violations,
            figures(check)
        );
    }
    for check in &report.checks {
        for finding in check.found.iter().take(PRINTED) {
            println!("violation of {}: {finding}", check.check.as_str());
        }
        let more = check.violations.saturating_sub(PRINTED as u64);
        if more > 0 {
            println!("violation of {}: {more} more", check.check.as_str());
        }
        for note in check.notes.iter().take(PRINTED) {
            println!("note on {}: {note}", check.check.as_str());
        }
    }
    let held = report.checks.iter().filter(|check| check.violations == 0).count();
    println!(
        "verdict: {}; {held} of {} checks held, {} violations",
        verdict(report),
        report.checks.len(),
        report.violations()
    );
}

fn figures(check: &Check) -> String {
    let figures: Vec<String> =
        check.figures.iter().map(|(what, number)| format!("{what} {number}")).collect();
    if figures.is_empty() { "nothing".to_owned() } else { figures.join(", ") }
}
