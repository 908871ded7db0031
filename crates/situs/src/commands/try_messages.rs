//! `situs try`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use situs_model::Verdict;
use situs_model::columns::names;
use situs_policy::Policy;

use crate::catalog::Catalog;
use crate::cli::TryArgs;
use crate::inspect::{Fate, Inspector, Message};

pub(super) fn try_messages(args: &TryArgs) -> anyhow::Result<ExitCode> {
    let library = super::library_of(&args.library);
    let catalog = Catalog::load(&library)?;
    let loaded = catalog.pipeline(&args.pipeline).map_err(|error| super::Usage(error.to_string()))?;
    let mut inspector = Inspector::new(loaded, &catalog.policy)?;
    let headers: Vec<(String, Vec<u8>)> = super::pairs("--header", &args.headers)?
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect();
    let cluster = args.cluster.as_deref().map(str::parse).transpose();
    let cluster = cluster.map_err(|error| super::Usage(format!("--cluster: {error}")))?;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let mut tally = Tally::default();
    super::for_each_message(args.file.as_deref(), args.whole, |number, bytes| {
        let fate = inspector.look(&Message {
            cluster: cluster.clone(),
            topic: args.topic.clone(),
            key: args.key.clone().map(String::into_bytes),
            headers: headers.clone(),
            payload: Some(bytes.to_vec()),
            broker_time_ms: Some(now_ms),
        })?;
        tally.add(&fate);
        if args.json {
            println!("{}", as_json(number, &fate));
        } else if !args.summary || matches!(fate, Fate::Rejected(_)) {
            print_fate(number, bytes.len(), &fate, &catalog.policy);
        }
        Ok(())
    })?;
    if !args.json {
        print!("{tally}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What became of all messages together.
#[derive(Debug, Default)]
struct Tally {
    messages: u64,
    rows: u64,
    fates: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, fate: &Fate) {
        self.messages += 1;
        let word = match fate {
            Fate::Rejected(reject) => format!("quarantined: {}", reject.code),
            Fate::WithoutRows(kind) => format!("without rows: {kind}"),
            Fate::Rows(rows) => {
                self.rows += rows.len() as u64;
                let undetermined = rows.iter().find_map(|(_, verdict)| match verdict {
                    Verdict::Undetermined(reason) => Some(format!("quarantined: {reason}")),
                    Verdict::Resident(_) => None,
                });
                undetermined.unwrap_or_else(|| match rows.first() {
                    Some((_, Verdict::Resident(zone))) => format!("stored in {zone}"),
                    _ => "without rows".to_owned(),
                })
            }
        };
        *self.fates.entry(word).or_default() += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} messages, {} rows", self.messages, self.rows)?;
        for (word, count) in &self.fates {
            writeln!(f, "{count:>10}  {word}")?;
        }
        Ok(())
    }
}

fn print_fate(number: u64, bytes: usize, fate: &Fate, policy: &Policy) {
    print!("message {number} ({bytes} bytes): ");
    match fate {
        Fate::Rejected(reject) => {
            print!("rejected as {}", reject.code);
            if let Some(pointer) = &reject.pointer {
                print!(" at {}", if pointer.is_empty() { "the top" } else { pointer });
            }
            if let Some(byte) = reject.byte {
                print!(" (byte {byte})");
            }
            println!(" -> quarantine");
        }
        Fate::WithoutRows(kind) => println!("no row by design, counted as {kind}"),
        Fate::Rows(rows) => {
            println!("{} row{}", rows.len(), if rows.len() == 1 { "" } else { "s" });
            for (index, (row, verdict)) in rows.iter().enumerate() {
                println!("  row {index}: {}", why(row, verdict, policy));
                println!("    {}", columns(row, |name| !name.starts_with('_')));
                println!("    {}", columns(row, |name| name.starts_with('_')));
            }
        }
    }
}

/// The verdict in words.
fn why(row: &Map<String, Value>, verdict: &Verdict, policy: &Policy) -> String {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    match verdict {
        Verdict::Undetermined(reason) => format!("undetermined: {reason} -> quarantine"),
        Verdict::Resident(zone) => {
            let site = text(names::SITE).unwrap_or("?");
            let jurisdiction = text(names::JURISDICTION).unwrap_or("?");
            let rule = text(names::RULE).unwrap_or("?");
            let basis = policy.rule(rule).map_or_else(String::new, |rule| match &rule.reference {
                Some(reference) => format!(" ({}: {reference})", rule.basis),
                None => format!(" ({})", rule.basis),
            });
            format!("site {site} in {jurisdiction} -> zone {zone} by rule {rule}{basis}")
        }
    }
}

fn columns(row: &Map<String, Value>, wanted: impl Fn(&str) -> bool) -> String {
    let shown: Vec<String> = row
        .iter()
        .filter(|(name, value)| wanted(name) && !value.is_null())
        .map(|(name, value)| match value {
            Value::Array(items) if items.len() > 8 => format!("{name}=[{} values]", items.len()),
            _ => format!("{name}={value}"),
        })
        .collect();
    shown.join(" ")
}

fn as_json(number: u64, fate: &Fate) -> Value {
    match fate {
        Fate::Rejected(reject) => json!({
            "message": number,
            "rejected": reject.code.as_str(),
            "pointer": reject.pointer,
            "byte": reject.byte,
        }),
        Fate::WithoutRows(kind) => json!({ "message": number, "without_rows": kind }),
        Fate::Rows(rows) => {
            let rows: Vec<Value> = rows
                .iter()
                .map(|(row, verdict)| match verdict {
                    Verdict::Resident(zone) => json!({ "zone": zone.as_str(), "columns": row }),
                    Verdict::Undetermined(reason) => json!({ "quarantine": reason.as_str(), "columns": row }),
                })
                .collect();
            json!({ "message": number, "rows": rows })
        }
    }
}
