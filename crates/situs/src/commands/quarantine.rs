//! `situs quarantine`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};
use situs_evidence::time_text;
use situs_model::doc::nearest;
use situs_model::{Coordinates, Ledger, RejectCode, ReleaseState, UndeterminedReason};
use situs_store::{Content, QuarantineEntry, QuarantineFilter, StoreReader};

use crate::catalog::Catalog;
use crate::cli::{
    QuarantineCommand, QuarantineFilterArgs, QuarantineListArgs, QuarantineReleaseArgs, QuarantineShowArgs,
};
use crate::release::{Fate, Outcome, Releaser, Request, Tally};
use crate::site::Site;

/// Characters of a pointer that a list shows.
const POINTER: usize = 40;

pub(super) fn quarantine(command: &QuarantineCommand) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    match command {
        QuarantineCommand::List(args) => list(args),
        QuarantineCommand::Show(args) => show(args),
        QuarantineCommand::Release(args) => release(args),
    }
}

fn home_reader(site: &Site) -> anyhow::Result<StoreReader> {
    let root = site.stores.get(&site.home_zone);
    let root = root.with_context(|| format!("the home zone `{}` has no store", site.home_zone))?;
    Ok(StoreReader::open(root)?)
}

fn filter_of(args: &QuarantineFilterArgs) -> anyhow::Result<QuarantineFilter> {
    if let Some(reason) = &args.reason {
        let rejects = RejectCode::WORDS.iter().map(|(word, _)| *word);
        let known: Vec<&str> =
            rejects.chain(UndeterminedReason::WORDS.iter().map(|(word, _)| *word)).collect();
        if !known.contains(&reason.as_str()) {
            let hint = nearest(reason, known.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!("--reason: there is no reason `{reason}` ({}){hint}", known.join(", "));
            return Err(super::Usage(message).into());
        }
    }
    let since_us = match &args.since {
        None => None,
        Some(text) => Some(time_of(text).ok_or_else(|| {
            super::Usage(format!(
                "--since: expected a time such as `2026-03-01T12:00:00Z` or a day such as `2026-03-01`, found `{text}`"
            ))
        })?),
    };
    Ok(QuarantineFilter {
        pipeline: args.pipeline.clone(),
        topic: args.topic.clone(),
        partition: args.partition,
        reason: args.reason.clone(),
        since_us,
        ..QuarantineFilter::default()
    })
}

/// A time in µs since the epoch.
fn time_of(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

/// Text that a machine sent, so that it cannot steer a terminal.
fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(most) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn list(args: &QuarantineListArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.config)?;
    let filter = filter_of(&args.filter)?;
    let reader = home_reader(&site)?;
    let (newest, count, ledger) = super::runtime()?.block_on(async {
        let ledger = reader.ledger().await?;
        let mut scan = reader.quarantine(filter, false).await?;
        let (mut newest, mut count) = (BTreeMap::new(), 0_u64);
        while let Some(messages) = scan.next_batch()? {
            for (entry, _) in messages {
                count += 1;
                let key = (Reverse(entry.quarantined_us), entry.record.clone(), entry.flush_id.clone());
                newest.insert(key, entry);
                if newest.len() > args.limit {
                    newest.pop_last();
                }
            }
        }
        anyhow::Ok((newest, count, ledger))
    })?;
    let mut lines = Vec::new();
    for entry in newest.values() {
        if args.json {
            lines.push(as_json(entry, &ledger).to_string());
        } else {
            lines.push(line(entry, &ledger));
        }
    }
    if !args.json {
        lines.insert(0, heading());
        lines.push(format!("{} of {count} messages", newest.len()));
    }
    print(&lines)
}

fn heading() -> String {
    format!(
        "{:<32} {:<26} {:<24} {:>9}  {:<16}  {:<10} {}",
        "message", "reason", "quarantined at", "bytes", "policy", "state", "at"
    )
}

fn line(entry: &QuarantineEntry, ledger: &Ledger) -> String {
    let bytes = entry.payload_bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
    let place = match (&entry.pointer, entry.byte) {
        (Some(pointer), Some(byte)) => format!("{} (byte {byte})", shown(pointer, POINTER)),
        (Some(pointer), None) => shown(pointer, POINTER),
        (None, Some(byte)) => format!("byte {byte}"),
        (None, None) => String::new(),
    };
    let text = format!(
        "{:<32} {:<26} {:<24} {bytes:>9}  {:<16}  {:<10} {place}",
        entry.record.to_string(),
        entry.reason,
        time_text(entry.quarantined_us),
        entry.policy,
        state_word(ledger, &entry.record),
    );
    text.trim_end().to_owned()
}

fn state_word(ledger: &Ledger, record: &Coordinates) -> &'static str {
    match ledger.state(record) {
        ReleaseState::Held => "held",
        ReleaseState::Begun(_) => "unfinished",
        ReleaseState::Released(_) => "released",
    }
}

fn as_json(entry: &QuarantineEntry, ledger: &Ledger) -> Value {
    let release = match ledger.state(&entry.record) {
        ReleaseState::Held => None,
        ReleaseState::Begun(release) | ReleaseState::Released(release) => Some(release),
    };
    json!({
        "topic": &*entry.record.topic,
        "partition": entry.record.partition,
        "offset": entry.record.offset,
        "reason": entry.reason,
        "pointer": entry.pointer,
        "byte_position": entry.byte,
        "rows": entry.rows,
        "payload_bytes": entry.payload_bytes,
        "pipeline": entry.pipeline,
        "policy": entry.policy,
        "schema": entry.schema,
        "flush_id": entry.flush_id,
        "broker_time": entry.broker_time_us.map(time_text),
        "ingest_time": time_text(entry.ingest_time_us),
        "quarantined_at": time_text(entry.quarantined_us),
        "state": state_word(ledger, &entry.record),
        "release": release.map(|release| json!({
            "id": release.id,
            "by": release.by,
            "policy": release.policy,
            "schema": release.schema,
            "begun_at": time_text(release.begun_us),
            "done_at": release.done_us.map(time_text),
            "zones": zones_of(release, &entry.record),
        })),
    })
}

fn zones_of(release: &situs_model::Release, record: &Coordinates) -> BTreeMap<String, u64> {
    let entries = release.entries.iter().filter(|entry| entry.record == *record);
    entries.map(|entry| (entry.target.zone.to_string(), entry.rows)).collect()
}

fn show(args: &QuarantineShowArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.config)?;
    let reader = home_reader(&site)?;
    let filter = QuarantineFilter { records: [args.record.clone()].into(), ..QuarantineFilter::default() };
    let (found, ledger) = super::runtime()?.block_on(async {
        let ledger = reader.ledger().await?;
        let mut scan = reader.quarantine(filter, true).await?;
        let mut found = Vec::new();
        while let Some(messages) = scan.next_batch()? {
            found.extend(messages);
        }
        anyhow::Ok((found, ledger))
    })?;
    if found.is_empty() {
        bail!("{}: no message in quarantine has these coordinates", args.record);
    }
    if args.payload {
        let [(_, content)] = found.as_slice() else {
            bail!("{}: {} messages in quarantine have these coordinates", args.record, found.len());
        };
        let payload = content.payload.as_ref();
        let payload = payload.with_context(|| format!("{}: a tombstone has no payload", args.record))?;
        return write(payload);
    }
    let mut lines = Vec::new();
    for (entry, content) in &found {
        let mut value = as_json(entry, &ledger);
        add_content(&mut value, content, args.headers);
        if args.json {
            lines.push(value.to_string());
        } else {
            let fields = value.as_object().into_iter().flatten();
            lines.extend(fields.map(|(name, value)| format!("{name:<16} {}", plain(value))));
        }
    }
    print(&lines)
}

/// Adds key and headers, or how large they are.
fn add_content(value: &mut Value, content: &Content, whole: bool) {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    value["key_bytes"] = json!(content.key.as_ref().map(Vec::len));
    value["headers"] = json!(content.headers.len());
    if whole {
        value["key"] = json!(content.key.as_ref().map(text));
        let header = |(name, value): &situs_store::Header| json!({ "name": text(name), "value": value.as_ref().map(text) });
        value["headers"] = content.headers.iter().map(header).collect();
    }
}

/// A value for people: text without quotes, nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => shown(text, usize::MAX),
        // JSON escapes control characters itself.
        other => other.to_string(),
    }
}

fn release(args: &QuarantineReleaseArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.config)?;
    let mut filter = filter_of(&args.filter)?;
    filter.records = args.records.iter().cloned().collect();
    let by = args.by.clone().filter(|_| !args.dry_run);
    if by.as_ref().is_some_and(|by| by.trim().is_empty() || by.chars().any(char::is_control)) {
        return Err(super::Usage("--by: expected the name of whoever releases".to_owned()).into());
    }
    let catalog = Catalog::load(&site.library)?;
    super::runtime()?.block_on(async {
        let mut releaser = Releaser::open(&site, &catalog).await?;
        if by.is_some() || args.resume {
            let count = releaser
                .resume(|id, entries| {
                    if args.json {
                        println!("{}", json!({ "finished": id, "entries": entries }));
                    } else {
                        println!("{id} was cut off: finished, {entries} entries");
                    }
                })
                .await?;
            if args.resume {
                if !args.json {
                    println!("{count} releases finished");
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
        let request = Request { filter, limit: args.limit, by };
        let tally = releaser
            .release(&request, |outcome| {
                println!(
                    "{}",
                    if args.json { outcome_json(outcome).to_string() } else { outcome_line(outcome) }
                );
            })
            .await?;
        if !args.json {
            let Tally { released, rows, stay, earlier } = tally;
            let verb = if args.dry_run { "would be released" } else { "released" };
            println!(
                "{released} messages {verb} with {rows} rows, {stay} stay, {earlier} were released before"
            );
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn outcome_line(outcome: &Outcome) -> String {
    let Outcome { record, reason, fate } = outcome;
    let what = match fate {
        Fate::Released { zones, release } => {
            let zones: Vec<String> = zones
                .iter()
                .map(|(zone, rows)| format!("{zone} ({rows} row{})", if *rows == 1 { "" } else { "s" }))
                .collect();
            let zones = zones.join(" and ");
            match release {
                Some(id) => format!("released to {zones} by {id}"),
                None => format!("would go to {zones}"),
            }
        }
        Fate::Stays(now) if now == reason => format!("stays, still {now}"),
        Fate::Stays(now) => format!("stays, now {now}"),
        Fate::Earlier(id) => format!("already released by {id}"),
        Fate::Begun(id) => format!("taken by {id}, which is not finished"),
        Fate::Refused(why) => format!("stays: {why}"),
    };
    format!("{record} {reason}: {what}")
}

fn outcome_json(outcome: &Outcome) -> Value {
    let Outcome { record, reason, fate } = outcome;
    let (word, release, zones, why) = match fate {
        Fate::Released { zones, release: None } => ("would-release", None, Some(zones), None),
        Fate::Released { zones, release } => ("released", release.as_ref(), Some(zones), None),
        Fate::Stays(now) => ("stays", None, None, Some(now.as_str())),
        Fate::Earlier(id) => ("already-released", Some(id), None, None),
        Fate::Begun(id) => ("unfinished", Some(id), None, None),
        Fate::Refused(why) => ("refused", None, None, Some(*why)),
    };
    let zones: Option<BTreeMap<&str, u64>> =
        zones.map(|zones| zones.iter().map(|(zone, rows)| (zone.as_str(), *rows)).collect());
    json!({
        "topic": &*record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "reason": reason,
        "outcome": word,
        "why": why,
        "zones": zones,
        "release": release,
    })
}

fn print(lines: &[String]) -> anyhow::Result<ExitCode> {
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // `situs quarantine list | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        other => other.context("writing the result")?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_instants() {
        assert_eq!(time_of("2026-03-01"), Some(1_772_323_200_000_000));
        assert_eq!(time_of("2026-03-01T01:00:00.5+01:00"), Some(1_772_323_200_500_000));
        assert_eq!(time_of("yesterday"), None);
        assert_eq!(time_text(1_772_323_200_500_000), "2026-03-01T00:00:00.500Z");
    }

    #[test]
    fn what_a_machine_sent_does_not_steer_a_terminal() {
        assert_eq!(shown("/a\u{1b}[2J\n/é", 40), "/a\\u{1b}[2J\\n/é");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
