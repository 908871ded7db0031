//! An explanation for people: a line for each statement, with its mark.

use std::fmt;

use situs_model::columns::names;

use super::report::{
    DeletionPart, Explanation, Mark, QuarantinedMessage, ReceiptPart, ReleasePart, RetagPart, RowGroup,
};

/// Width of the names of statements.
const WIDTH: usize = 14;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, Mark::Measured, "record", &format!("{}: {}", self.record, self.state.as_str()))?;
        if let Some(settled) = self.settled {
            line(f, Mark::Measured, "settled", &format!("below {settled}"))?;
        }
        if let Some(receipt) = &self.receipt {
            print_receipt(f, receipt)?;
        }
        for message in &self.quarantine {
            print_quarantined(f, message)?;
        }
        if let Some(release) = &self.release {
            print_release(f, release)?;
        }
        for deletion in &self.deletions {
            print_deletion(f, deletion)?;
        }
        for group in &self.rows {
            print_rows(f, group)?;
        }
        if !self.rows.is_empty() {
            line(f, Mark::NotAssessed, "training sets", "Situs keeps no training sets yet")?;
        }
        for what in &self.not_assessed {
            line(f, Mark::NotAssessed, "", what)?;
        }
        for finding in &self.findings {
            line(f, Mark::Measured, "finding", finding)?;
        }
        write!(f, "verdict: {}; {} findings", self.verdict.as_str(), self.findings.len())
    }
}

/// A statement. Text that came from a machine must not steer a terminal.
fn line(f: &mut fmt::Formatter<'_>, mark: Mark, name: &str, text: &str) -> fmt::Result {
    write!(f, "{:<13} {name:<WIDTH$} ", mark.as_str())?;
    for c in text.chars() {
        if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
    }
    writeln!(f)
}

fn print_receipt(f: &mut fmt::Formatter<'_>, receipt: &ReceiptPart) -> fmt::Result {
    let ReceiptPart { flush_id, start_offset, end_offset, created_at, .. } = receipt;
    line(
        f,
        Mark::Measured,
        "receipt",
        &format!("{start_offset}..{end_offset}, flush {flush_id}, made {created_at}"),
    )?;
    let texts = format!(
        "pipeline {}, policy {}, schema {}, definition {}",
        receipt.pipeline,
        receipt.policy,
        receipt.schema,
        receipt.definition.as_deref().unwrap_or("not noted")
    );
    line(f, Mark::Measured, "judged by", &texts)?;
    let hash = match (&receipt.hash, receipt.hash_holds) {
        (None, _) => "none, from before the chain".to_owned(),
        (Some(hash), true) => format!("{hash}, recomputed and equal"),
        (Some(hash), false) => format!("{hash}, not that of its content"),
    };
    line(f, Mark::Measured, "hash", &hash)?;
    let signature = match (&receipt.key, receipt.signature_holds) {
        (None, _) => "none".to_owned(),
        (Some(key), Some(true)) => format!("that of key {key}"),
        (Some(key), Some(false)) => format!("not that of key {key}"),
        (Some(key), None) => format!("key {key} is not known"),
    };
    line(f, Mark::Measured, "signature", &signature)
}

fn print_quarantined(f: &mut fmt::Formatter<'_>, message: &QuarantinedMessage) -> fmt::Result {
    let QuarantinedMessage { file, position, quarantined_at, reason, rows, policy, recomputed } = message;
    line(f, Mark::Measured, "place", &format!("the home zone's quarantine, {file}, row {position}"))?;
    line(
        f,
        Mark::Measured,
        "reason",
        &format!("{reason}, at {quarantined_at}, by policy {policy}; {rows} rows decoded"),
    )?;
    match recomputed {
        Some(again) if again == reason => line(f, Mark::Measured, "judged again", "equal"),
        Some(again) => line(f, Mark::Measured, "judged again", again),
        None => Ok(()),
    }
}

fn print_release(f: &mut fmt::Formatter<'_>, release: &ReleasePart) -> fmt::Result {
    let zones: Vec<String> =
        release.zones.iter().map(|(zone, rows)| format!("{zone} ({rows} rows)")).collect();
    let done = release.done_at.as_ref().map_or_else(|| "not done".to_owned(), |done| format!("done {done}"));
    let text = format!(
        "{} by {} to {}, begun {}, {done}; policy {}, schema {}",
        release.id,
        release.by,
        zones.join(" and "),
        release.begun_at,
        release.policy,
        release.schema
    );
    line(f, Mark::Measured, "release", &text)
}

fn print_deletion(f: &mut fmt::Formatter<'_>, deletion: &DeletionPart) -> fmt::Result {
    let DeletionPart { id, zone, table, rows, by, reason, at, bytes_gone_at } = deletion;
    let text = format!("{id} took rows {} from zone {zone}, table {table}, at {at}", numbers(rows));
    line(f, Mark::Measured, "deletion", &text)?;
    line(f, Mark::Declared, "asked for by", &format!("{by}: {reason}"))?;
    match bytes_gone_at {
        Some(at) => line(f, Mark::Measured, "bytes", &format!("gone, looked for at {at}")),
        None => line(f, Mark::NotAssessed, "bytes", "files of older versions may hold them still"),
    }
}

fn print_rows(f: &mut fmt::Formatter<'_>, group: &RowGroup) -> fmt::Result {
    let tag = |name: &str| group.tags.get(name).cloned().flatten();
    let told = |name: &str| tag(name).unwrap_or_else(|| "none".to_owned());
    line(f, Mark::Measured, "rows", &numbers(&group.rows))?;
    line(
        f,
        Mark::Measured,
        "place",
        &format!(
            "zone {}, table {}, {}, row {}",
            group.zone,
            group.table,
            group.file,
            numbers(&group.positions)
        ),
    )?;
    let hash = match group.hash_holds {
        Some(true) => "SHA-256 recomputed, that of the receipt",
        Some(false) => "SHA-256 recomputed, not that of the receipt",
        None => "not named by the receipt: rewritten, re-tagged, released, or committed before a crash",
    };
    line(f, Mark::Measured, "file", hash)?;
    if let Some(retag) = &group.retagged {
        let RetagPart { id, at, policy, before, version, .. } = retag;
        let text = format!(
            "by {id} at {at}, in version {version} of the table: policy {policy}, judged by {before} before"
        );
        line(f, Mark::Measured, "re-tagged", &text)?;
        line(f, Mark::Declared, "asked for by", &format!("{}: {}", retag.by, retag.reason))?;
    }
    let device = group.device.as_deref().unwrap_or("none that the registry names");
    line(
        f,
        Mark::Measured,
        "facts",
        &format!("jurisdiction {}, site {}, device {device}", told(names::JURISDICTION), told(names::SITE)),
    )?;
    line(f, Mark::Declared, "claim", &told(names::CLAIMED))?;
    line(f, Mark::Measured, "decision", &format!("zone {}, rule {}", told(names::ZONE), told(names::RULE)))?;
    if let Some(rule) = &group.rule {
        let reference = rule.reference.as_deref().unwrap_or("no reference");
        line(f, Mark::Declared, "basis", &format!("{}: {reference}", rule.basis))?;
        line(f, Mark::Declared, "condition", rule.when.as_deref().unwrap_or("always"))?;
    }
    line(f, Mark::Declared, "class", &format!("{}, training {}", told(names::CLASS), told(names::TRAINING)))?;
    if group.models.is_empty() {
        line(f, Mark::Measured, "models", &told(names::MODELS))?;
    }
    for model in &group.models {
        let text = format!(
            "{} {}, deployed in {}; {}",
            model.id,
            model.version,
            model.markets.join(", "),
            model.purpose.as_deref().unwrap_or("no purpose named")
        );
        line(f, Mark::Declared, "model", &text)?;
    }
    match &group.recomputed {
        Some(again) if *again == group.tags => line(f, Mark::Measured, "judged again", "equal"),
        Some(_) => line(f, Mark::Measured, "judged again", "differs"),
        None => Ok(()),
    }
}

/// Numbers that ascend, with runs as `a-b`.
fn numbers<T: Copy + Into<i128>>(numbers: &[T]) -> String {
    let mut runs: Vec<(i128, i128)> = Vec::new();
    for number in numbers.iter().map(|number| (*number).into()) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let text = |(first, last): &(i128, i128)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn runs_are_told_as_runs() {
        assert_eq!(numbers(&[0_i32, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(numbers(&[3_u64]), "3");
        assert_eq!(numbers::<i32>(&[]), "");
    }
}
