//! What a reader may see: `situs policy permits`, and the permit of `situs sql --reader`.

use std::process::ExitCode;

use serde_json::{Value, json};
use situs_policy::{Answer, PermitError, Permitted, TableAnswer};

use crate::catalog::Catalog;
use crate::cli::PolicyPermitsArgs;
use crate::library::Library;

/// Asks the policies of a library what a reader may see for a purpose.
///
/// # Errors
/// Every problem of the library; a [`Usage`](super::Usage) if it has no readers, or not this one or this purpose.
pub(super) fn ask(library: &Library, reader: &str, purpose: &str) -> anyhow::Result<Permitted> {
    let catalog = Catalog::load(library)?;
    let Some(readers) = &catalog.readers else {
        let message = "--reader: there are no readers.yaml and readers.cedar beside the policy, so only the owner of the files reads";
        return Err(super::Usage(message.to_owned()).into());
    };
    readers.permit(reader, purpose, &catalog.tables()).map_err(|error| match error {
        PermitError::UnknownReader { .. } => super::Usage(format!("--reader: {error}")).into(),
        PermitError::UnknownPurpose { .. } => super::Usage(format!("--purpose: {error}")).into(),
        PermitError::Engine(_) => error.into(),
    })
}

pub(super) fn permits(args: &PolicyPermitsArgs) -> anyhow::Result<ExitCode> {
    let library = match &args.config {
        Some(path) => super::load_site(path)?.library,
        None => super::library_of(&args.library),
    };
    let permitted = ask(&library, &args.reader, &args.purpose)?;
    if args.json {
        println!("{}", as_json(&permitted));
    } else {
        print(&permitted);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(permitted: &Permitted) {
    let reader = &permitted.reader;
    let roles: Vec<&str> = reader.roles.iter().map(|role| role.as_str()).collect();
    let organisation = reader.organisation.as_ref().map_or("no organisation", |name| name.as_str());
    println!(
        "reader {} (zone {}, {organisation}, roles: {}), purpose {}, readers {}",
        reader.id,
        reader.zone,
        if roles.is_empty() { "none".to_owned() } else { roles.join(", ") },
        permitted.purpose,
        permitted.version
    );
    for table in &permitted.tables {
        let name = table.table.full_name();
        if !table.is_allowed() {
            println!("{name:<28} denied   {}", by(&table.rows));
            continue;
        }
        println!("{name:<28} allowed  rows: {}", classes(&table.rows));
        if table.table.pipeline.is_some() {
            println!("{:<28}          fields: {}", "", classes(&table.fields));
            let hidden = table.hidden_columns();
            if !hidden.is_empty() {
                println!("{:<28}          hidden columns: {}", "", hidden.join(", "));
            }
        }
    }
}

/// The classes that are permitted, each with the policies that say so, then those that are not.
fn classes<T: std::fmt::Display>(answers: &[Answer<T>]) -> String {
    let one = |answer: &Answer<T>| {
        let word = if answer.allowed { "" } else { "not " };
        format!("{word}{} ({})", answer.of, why(answer))
    };
    let (allowed, denied): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.allowed);
    allowed.into_iter().chain(denied).map(one).collect::<Vec<_>>().join(", ")
}

/// Why nothing of a table is permitted.
fn by<T>(answers: &[Answer<T>]) -> String {
    let mut reasons: Vec<String> = answers.iter().map(why).collect();
    reasons.dedup();
    reasons.join("; ")
}

fn why<T>(answer: &Answer<T>) -> String {
    if !answer.failed.is_empty() {
        format!("failed: {}", answer.failed.join(", "))
    } else if answer.policies.is_empty() {
        "no policy permits".to_owned()
    } else if answer.allowed {
        format!("by {}", answer.policies.join(", "))
    } else {
        format!("forbidden by {}", answer.policies.join(", "))
    }
}

fn as_json(permitted: &Permitted) -> Value {
    let reader = &permitted.reader;
    json!({
        "reader": reader.id.as_str(),
        "zone": reader.zone.as_str(),
        "organisation": reader.organisation.as_ref().map(|name| name.as_str()),
        "roles": reader.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        "purpose": permitted.purpose.as_str(),
        "readers": permitted.version.as_str(),
        "tables": permitted.tables.iter().map(table_json).collect::<Vec<_>>(),
    })
}

fn table_json(table: &TableAnswer) -> Value {
    json!({
        "table": table.table.full_name(),
        "zone": table.table.zone.as_str(),
        "allowed": table.is_allowed(),
        "rows": answers_json(&table.rows),
        "fields": answers_json(&table.fields),
        "hidden_columns": table.hidden_columns(),
    })
}

fn answers_json<T: std::fmt::Display>(answers: &[Answer<T>]) -> Value {
    let one = |answer: &Answer<T>| {
        json!({ "class": answer.of.to_string(), "allowed": answer.allowed,
                "policies": answer.policies, "failed": answer.failed })
    };
    Value::Array(answers.iter().map(one).collect())
}
