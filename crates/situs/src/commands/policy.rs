//! `situs policy`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use situs_model::doc::Diagnostics;
use situs_policy::{Policy, PolicyDiff};

use crate::catalog::{Loaded, load_pipelines};
use crate::cli::{PolicyCommand, PolicyDiffArgs};
use crate::library::{Library, read_policy};

pub(super) fn policy(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Diff(args) => diff(args),
        PolicyCommand::Permits(args) => super::permits::permits(args),
    }
}

fn diff(args: &PolicyDiffArgs) -> anyhow::Result<ExitCode> {
    let library = Library::choose(args.pipelines.as_deref(), args.schemas.as_deref(), None);
    let (pipelines, mut problems) = load_pipelines(&library);
    let facts: Vec<_> = pipelines.iter().map(Loaded::facts).collect();
    let mut read = |path: &Path| match read_policy(path) {
        Ok(policy) => Some(policy),
        Err(more) => {
            problems.extend(more.0);
            None
        }
    };
    let (old, new) = (read(&args.old), read(&args.new));
    let (Some(old), Some(new), true) = (old, new, problems.is_empty()) else {
        problems.sort();
        problems.dedup();
        return Err(Diagnostics(problems).into());
    };
    let found = old.diff(&new, &facts);
    if args.json {
        println!("{}", as_json(&old, &new, &found));
        return Ok(ExitCode::SUCCESS);
    }
    println!("policy {} → {}", old.version(), new.version());
    if found.is_empty() {
        println!("no difference that means anything to a record");
    } else {
        println!("{found}");
        match found.effects.len() {
            0 => println!("no record lives elsewhere or serves other training, but for devices that moved"),
            n => println!("kinds of records that live elsewhere or serve other training than before: {n}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(old: &Policy, new: &Policy, diff: &PolicyDiff) -> Value {
    let changes = diff.changes.iter().map(|change| {
        json!({ "of": change.of, "name": change.name, "kind": change.kind.as_str(), "text": change.text })
    });
    let devices = diff.devices.iter().map(
        |moved| json!({ "from": moved.from, "to": moved.to, "count": moved.count, "names": moved.names }),
    );
    let effects = diff.effects.iter().map(|effect| {
        json!({
            "jurisdictions": effect.jurisdictions.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "class": effect.class.as_str(),
            "pipelines": effect.pipelines,
            "before": effect.before,
            "after": effect.after,
        })
    });
    json!({
        "old": old.version().as_str(),
        "new": new.version().as_str(),
        "changes": changes.collect::<Vec<_>>(),
        "devices": devices.collect::<Vec<_>>(),
        "effects": effects.collect::<Vec<_>>(),
    })
}
