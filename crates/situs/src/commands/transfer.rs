//! `situs transfer`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use situs_evidence::time_text;
use situs_model::doc::nearest;
use situs_model::transfer::is_unseen;
use situs_model::{LedgerEntry, LedgerKind, ZoneId};

use super::Usage;
use crate::catalog::Catalog;
use crate::cli::{
    TransferApproveArgs, TransferCommand, TransferListArgs, TransferRequestArgs, TransferRunArgs,
    TransferShowArgs,
};
use crate::site::Site;
use crate::transfer::{Answer, Carried, LeftOut, Sent, Told, Transfers};

pub(super) fn transfer(command: &TransferCommand) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    match command {
        TransferCommand::Request(args) => request(args),
        TransferCommand::Approve(args) => approve(args),
        TransferCommand::Run(args) => run(args),
        TransferCommand::List(args) => list(args),
        TransferCommand::Show(args) => show(args),
    }
}

/// Does something with the transfers of a home.
fn with<T>(config: &Path, what: impl AsyncFnOnce(&Transfers<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (site, catalog) = load(config)?;
    super::runtime()?.block_on(async {
        let transfers = Transfers::open(&site, &catalog).await?;
        what(&transfers).await
    })
}

fn load(config: &Path) -> anyhow::Result<(Site, Catalog)> {
    let site = super::load_site(config)?;
    let catalog = Catalog::load(&site.library)?;
    Ok((site, catalog))
}

/// A name that a ledger can keep.
fn name_of(by: &str) -> anyhow::Result<&str> {
    let by = by.trim();
    if by.is_empty() || by.chars().count() > 200 || by.chars().any(is_unseen) {
        let message =
            "--by: expected the name of a person, of at most 200 characters, each of which can be seen";
        return Err(Usage(message.to_owned()).into());
    }
    Ok(by)
}

/// Says that something was refused; the exit code.
fn refused(id: &str, why: &situs_model::transfer::Refusal, json: bool) -> ExitCode {
    if json {
        let value = json!({ "id": id, "outcome": "refused", "code": why.code(), "why": why.to_string() });
        println!("{value}");
    } else {
        println!("{id}: refused: {why}");
    }
    ExitCode::from(super::EXIT_FAILED)
}

fn request(args: &TransferRequestArgs) -> anyhow::Result<ExitCode> {
    let by = name_of(&args.by)?;
    let (site, catalog) = load(&args.config)?;
    if catalog.policy.transfer(&args.transfer).is_none() {
        let names: Vec<&str> = catalog.policy.transfers().map(|transfer| transfer.id.as_str()).collect();
        let hint = nearest(&args.transfer, names.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!("the policy defines no transfer `{}` (there are {there}){hint}", args.transfer);
        return Err(Usage(message).into());
    }
    let answer = super::runtime()?.block_on(async {
        let transfers = Transfers::open(&site, &catalog).await?;
        transfers.request(&args.transfer, by).await
    })?;
    Ok(match answer {
        Answer::Refused { id, why } => refused(&id, &why, args.json),
        Answer::Done(id) => {
            if args.json {
                println!("{}", json!({ "id": id, "outcome": "requested" }));
            } else {
                println!("{id}: requested by {by} (declared); somebody else approves it with");
                println!("  situs transfer approve --config {} {id} --by NAME", args.config.display());
            }
            ExitCode::SUCCESS
        }
    })
}

fn approve(args: &TransferApproveArgs) -> anyhow::Result<ExitCode> {
    let by = name_of(&args.by)?;
    let answer = with(&args.config, async |transfers| transfers.approve(&args.id, by).await)?;
    Ok(match answer {
        Answer::Refused { id, why } => refused(&id, &why, args.json),
        Answer::Done(()) => {
            if args.json {
                println!("{}", json!({ "id": args.id, "outcome": "approved" }));
            } else {
                println!("{}: approved by {by} (declared)", args.id);
            }
            ExitCode::SUCCESS
        }
    })
}

fn run(args: &TransferRunArgs) -> anyhow::Result<ExitCode> {
    let by = name_of(&args.by)?;
    if let Some(artifact) = &args.artifact {
        let answer =
            with(&args.config, async |transfers| transfers.run_derived(&args.id, by, artifact).await)?;
        return Ok(match answer {
            Answer::Refused { id, why } => refused(&id, &why, args.json),
            Answer::Done(sent) => {
                println!("{}", if args.json { sent_json(&sent).to_string() } else { sent_text(&sent) });
                ExitCode::SUCCESS
            }
        });
    }
    let answer = with(&args.config, async |transfers| transfers.run(&args.id, by).await)?;
    Ok(match answer {
        Answer::Refused { id, why } => refused(&id, &why, args.json),
        Answer::Done(carried) => {
            println!(
                "{}",
                if args.json { carried_json(&carried).to_string() } else { carried_text(&carried) }
            );
            ExitCode::SUCCESS
        }
    })
}

fn carried_text(carried: &Carried) -> String {
    let Carried { id, from, to, table, rows, bytes, classes, left_out } = carried;
    let classes: Vec<String> = classes.iter().map(|(class, rows)| format!("{rows} {class}")).collect();
    let left = match left_out {
        None => "; the rows were there already".to_owned(),
        Some(LeftOut { class, training, unanswered }) => format!(
            "; left out: {class} of a stricter class, {training} not to be learned from, {unanswered} without an answer"
        ),
    };
    format!(
        "{id}: sent; {rows} rows ({}), {bytes} bytes, from {from} to {to}, table {}.{table}{left}",
        classes.join(", "),
        to.schema_name()
    )
}

fn carried_json(carried: &Carried) -> Value {
    let Carried { id, from, to, table, rows, bytes, classes, left_out } = carried;
    let classes: BTreeMap<&str, u64> = classes.iter().map(|(class, rows)| (class.as_str(), *rows)).collect();
    let left_out = left_out.map(|LeftOut { class, training, unanswered }| {
        json!({ "class": class, "training": training, "unanswered": unanswered })
    });
    json!({
        "id": id,
        "outcome": "sent",
        "from": from.as_str(),
        "to": to.as_str(),
        "table": table.as_str(),
        "rows": rows,
        "bytes": bytes,
        "classes": classes,
        "left_out": left_out,
    })
}

fn sent_text(sent: &Sent) -> String {
    let Sent { id, name, bytes, sha256, highest } = sent;
    let made_of = match highest {
        Some(class) => format!("made of rows of class {class} at most"),
        None => "made of no rows".to_owned(),
    };
    format!("{id}: entered; {name}, {bytes} bytes, SHA-256 {sha256}, {made_of}; nothing was copied")
}

fn sent_json(sent: &Sent) -> Value {
    let Sent { id, name, bytes, sha256, highest } = sent;
    let highest = highest.map(situs_model::Class::as_str);
    json!({ "id": id, "outcome": "sent", "artifact": { "name": name, "bytes": bytes, "sha256": sha256 }, "highest": highest })
}

fn list(args: &TransferListArgs) -> anyhow::Result<ExitCode> {
    let list = with(&args.config, async |transfers| transfers.list().await)?;
    if !args.json {
        println!(
            "{:<40} {:<10} {:<22} {:<22} {:<26} last refusal",
            "transfer", "state", "requested by", "approved by", "last entry"
        );
    }
    for told in &list {
        println!("{}", if args.json { told_json(told).to_string() } else { line(told) });
    }
    if !args.json {
        println!("{} transfers; names are declared, and authenticated by nobody", list.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Who said it, if anybody did.
fn said(told: &Told, kind: LedgerKind) -> Option<&LedgerEntry> {
    told.entries.iter().map(|(_, entry)| entry).find(|entry| entry.fact.kind == kind)
}

fn line(told: &Told) -> String {
    let by = |kind| said(told, kind).map_or("-", |entry| entry.fact.said_by.as_str());
    let refusals = told.entries.iter().rev().map(|(_, entry)| entry);
    let refusal = refusals
        .filter(|entry| entry.fact.kind == LedgerKind::TransferRefused)
        .find_map(|entry| Some(body_of(entry)["code"].as_str()?.to_owned()));
    let last = told.entries.last().map_or_else(String::new, |(_, entry)| time_text(entry.fact.at_us));
    format!(
        "{:<40} {:<10} {:<22} {:<22} {last:<26} {}",
        told.id,
        told.state.as_str(),
        by(LedgerKind::TransferRequested),
        by(LedgerKind::TransferApproved),
        refusal.unwrap_or_else(|| "-".to_owned())
    )
}

fn body_of(entry: &LedgerEntry) -> Value {
    serde_json::from_str(&entry.fact.body).unwrap_or_default()
}

fn entry_json(zone: &ZoneId, entry: &LedgerEntry) -> Value {
    json!({
        "zone": zone.as_str(),
        "number": entry.number,
        "kind": entry.fact.kind.as_str(),
        "said_by": entry.fact.said_by,
        "at": time_text(entry.fact.at_us),
        "policy": entry.fact.policy.as_str(),
        "hash": entry.hash,
        "body": body_of(entry),
    })
}

fn told_json(told: &Told) -> Value {
    let entries: Vec<Value> = told.entries.iter().map(|(zone, entry)| entry_json(zone, entry)).collect();
    json!({ "id": told.id, "state": told.state.as_str(), "entries": entries })
}

fn show(args: &TransferShowArgs) -> anyhow::Result<ExitCode> {
    let told = with(&args.config, async |transfers| transfers.show(&args.id).await)?;
    if args.json {
        println!("{}", told_json(&told));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}: {}", told.id, told.state.as_str());
    for (zone, entry) in &told.entries {
        println!(
            "{} {} in the ledger of {zone}, entry {}; said by {} (declared); policy {}",
            time_text(entry.fact.at_us),
            entry.fact.kind,
            entry.number,
            entry.fact.said_by,
            entry.fact.policy
        );
        let Value::Object(body) = body_of(entry) else { continue };
        for (name, value) in &body {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            println!("    {name:<16} {text}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
