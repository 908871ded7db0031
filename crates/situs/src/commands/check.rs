//! `situs check`.

use std::process::ExitCode;

use serde_json::json;
use situs_model::Date;
use situs_model::doc::{Diagnostic, Diagnostics, nearest, whole_file};

use crate::cases;
use crate::catalog::Catalog;
use crate::cli::CheckArgs;
use crate::run;
use crate::site::Site;

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut problems = Vec::new();
    let mut site = None;
    if let Some(path) = &args.config {
        match super::load_site(path) {
            Ok(loaded) => site = Some(loaded),
            Err(error) => match error.downcast::<Diagnostics>() {
                Ok(found) => problems.extend(found.0),
                Err(error) => return Err(error),
            },
        }
    }
    let library = match &site {
        Some(site) => site.library.clone(),
        None => super::library_of(&args.library),
    };
    let catalog = match Catalog::load(&library) {
        Ok(catalog) => Some(catalog),
        Err(found) => {
            problems.extend(found.0);
            None
        }
    };
    if let Some(Err(found)) = site.as_ref().map(|site| site.receipts.key()) {
        problems.extend(found.0);
    }
    if let Some(Err(found)) = site.as_ref().map(|site| site.kafka.checked_properties()) {
        problems.extend(found.0);
    }
    problems.extend(site.as_ref().and_then(Site::shared_device));
    let trusted = site.iter().flat_map(|site| &site.trusted_keys);
    problems.extend(trusted.filter_map(|key| key.public().err()).flat_map(|found| found.0));
    if let (Some(site), Some(catalog), Some(path)) = (&site, &catalog, &args.config) {
        if let Err(found) = site.key_ring(catalog) {
            problems.extend(found.0);
        }
        problems.extend(agreement(site, catalog, &path.display().to_string()));
    }
    if !problems.is_empty() {
        for problem in &problems {
            if args.json {
                println!("{}", as_json("error", problem));
            } else {
                println!("{problem}");
            }
        }
        let files: std::collections::BTreeSet<_> = problems.iter().map(|problem| &problem.file).collect();
        eprintln!("{} problems in {} files", problems.len(), files.len());
        return Ok(ExitCode::from(super::EXIT_USAGE));
    }
    let Some(catalog) = catalog else { return Ok(ExitCode::from(super::EXIT_USAGE)) };
    let mut warnings = site.as_ref().map(|site| site.kafka.warnings()).unwrap_or_default();
    warnings.extend(catalog.lint(Date::of_us(chrono::Utc::now().timestamp_micros())));
    for warning in &warnings {
        if args.json {
            println!("{}", as_json("warning", warning));
        } else {
            println!("warning: {warning}");
        }
    }
    let (count, failures) = cases::run_all(&library, &catalog)?;
    for failure in &failures {
        if args.json {
            println!("{}", json!({ "severity": "case", "file": failure.file, "message": failure.message }));
        } else {
            println!("{}: {}", failure.file, failure.message);
        }
    }
    if !args.json {
        let warned = match warnings.len() {
            0 => String::new(),
            1 => ", 1 warning".to_owned(),
            n => format!(", {n} warnings"),
        };
        println!(
            "{} pipelines, policy {}{}, {count} cases: {} passed, {} failed{warned}",
            catalog.pipelines.len(),
            catalog.policy.version(),
            catalog.readers.as_ref().map_or_else(String::new, |r| format!(", readers {}", r.version())),
            count - failures.len(),
            failures.len()
        );
    }
    Ok(if !failures.is_empty() {
        ExitCode::from(super::EXIT_CASES)
    } else if args.deny_warnings && !warnings.is_empty() {
        ExitCode::from(super::EXIT_USAGE)
    } else {
        ExitCode::SUCCESS
    })
}

/// What the site says against what the policy and the pipelines know.
fn agreement(site: &Site, catalog: &Catalog, file: &str) -> Vec<Diagnostic> {
    let policy = &catalog.policy;
    let mut problems = run::unknown_zones(file, "`stores`", site.stores.keys(), policy);
    problems.extend(run::unknown_zones(file, "`pseudonym-keys`", site.pseudonym_keys.zones(), policy));
    let mut unknown = |what: String, word: &str, valid: Vec<&str>| {
        problems.push(Diagnostic { suggestion: nearest(word, valid), ..whole_file(file, what) });
    };
    let sites: Vec<&str> = catalog.policy.sites().map(|site| site.id.as_str()).collect();
    if !sites.contains(&site.home_site.as_str()) {
        unknown(
            format!("`home` names site `{}`, which the policy's registry does not know", site.home_site),
            site.home_site.as_str(),
            sites,
        );
    }
    let pipelines: Vec<&str> = catalog.pipelines.iter().map(|loaded| loaded.pipeline.name.as_str()).collect();
    for name in &site.enabled {
        if !pipelines.contains(&name.as_str()) {
            unknown(
                format!("`enabled` names pipeline `{name}`, which does not exist"),
                name.as_str(),
                pipelines.clone(),
            );
        }
    }
    problems
}

fn as_json(severity: &str, problem: &Diagnostic) -> serde_json::Value {
    json!({
        "severity": severity,
        "file": &*problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "suggestion": problem.suggestion,
    })
}
