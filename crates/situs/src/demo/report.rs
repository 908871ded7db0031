//! The table at the end of the demo.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use situs_ingest::Summary;
use situs_observe::Metrics;
use situs_query::TableInfo;

use super::audit::{Finding, NotAssessed};
use super::feed::Produced;
use super::generator::Expect;

/// Everything that the demo measured.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) data: PathBuf,
    pub(super) elapsed: Duration,
    pub(super) produced: Produced,
    pub(super) summary: Summary,
    pub(super) skipped: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) tables: Vec<TableInfo>,
}

/// Rows settled so far, by zone.
pub(super) fn rows_by_zone(metrics: &Metrics) -> BTreeMap<String, u64> {
    Metrics::by_label(&metrics.rows_stored, situs_observe::label::ZONE)
}

impl Report {
    /// What does not add up; empty if all is well.
    pub(super) fn problems(&self) -> Vec<String> {
        let counts = &self.summary.counts;
        let mut problems = Vec::new();
        let placed = counts.stored_messages() + counts.quarantined_messages() + counts.without_rows;
        if placed != self.produced.messages {
            problems.push(format!(
                "{} messages were produced, but {placed} are accounted for",
                self.produced.messages
            ));
        }
        if self.skipped > 0 {
            problems
                .push(format!("the embedded broker dropped {} messages before they were read", self.skipped));
        }
        for Finding { invariant, broken, .. } in &self.findings {
            if let Ok(count @ 1..) = broken {
                problems.push(format!("invariant {invariant} was found broken {count} times"));
            }
        }
        for (expect, expected) in &self.produced.expected {
            let found = self.found(expect);
            if found != *expected {
                problems.push(format!("{expect:?}: {expected} messages were generated so, {found} ended so"));
            }
        }
        problems
    }

    fn found(&self, expect: &Expect) -> u64 {
        let counts = &self.summary.counts;
        match expect {
            Expect::Stored { zone } => counts
                .stored
                .iter()
                .filter(|(id, _)| id.as_str() == *zone)
                .map(|(_, count)| count.messages)
                .sum(),
            Expect::WithoutRows => counts.without_rows,
            Expect::Quarantined { reason } => counts
                .quarantined
                .iter()
                .filter(|(word, _)| word.as_str() == *reason)
                .map(|(_, count)| *count)
                .sum(),
        }
    }

    /// Files and bytes of the tables for which `wanted` holds.
    fn on_disk(&self, wanted: impl Fn(&TableInfo) -> bool) -> (u64, u64) {
        self.tables
            .iter()
            .filter(|table| wanted(table))
            .fold((0, 0), |(files, bytes), table| (files + table.files, bytes + table.bytes))
    }

    /// The report for programs.
    pub(super) fn as_json(&self) -> Value {
        let counts = &self.summary.counts;
        let seconds = self.elapsed.as_secs_f64();
        let zones: serde_json::Map<String, Value> = counts
            .stored
            .iter()
            .map(|(zone, count)| {
                let (files, bytes) = self.on_disk(|table| table.zone == *zone && !is_own(table));
                let value =
                    json!({ "messages": count.messages, "rows": count.rows, "files": files, "bytes": bytes });
                (zone.to_string(), value)
            })
            .collect();
        let quarantined: BTreeMap<&str, u64> =
            counts.quarantined.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        json!({
            "seconds": seconds,
            "messages_produced": self.produced.messages,
            "messages_read": counts.messages,
            "bytes_read": self.produced.bytes,
            "messages_s": counts.messages as f64 / seconds,
            "mb_s": self.produced.bytes as f64 / seconds / 1e6,
            "zones": zones,
            "quarantined": quarantined,
            "without_rows": counts.without_rows,
            "invariants": self.findings.iter().map(finding_as_json).collect::<serde_json::Map<_, _>>(),
            "ok": self.problems().is_empty(),
        })
    }
}

/// A finding for programs: its invariant's number, and what was found.
fn finding_as_json(finding: &Finding) -> (String, Value) {
    let Finding { invariant, broken, by } = finding;
    let value = match broken {
        Ok(count) => json!({ "status": "measured", "violations": count, "by": by }),
        Err(NotAssessed(reason)) => {
            json!({ "status": "not assessed", "violations": null, "by": by, "reason": reason })
        }
    };
    (invariant.to_string(), value)
}

/// Whether a table is one that Situs keeps for itself.
fn is_own(table: &TableInfo) -> bool {
    table.name.ends_with("quarantine") || table.name.ends_with("receipts")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.summary.counts;
        let seconds = self.elapsed.as_secs_f64();
        let mb = self.produced.bytes as f64 / 1e6;
        writeln!(f)?;
        writeln!(
            f,
            "{} messages of {mb:.1} MB in {seconds:.1} s: {:.0} messages/s, {:.1} MB/s",
            grouped(counts.messages),
            counts.messages as f64 / seconds,
            mb / seconds
        )?;
        writeln!(f)?;
        writeln!(f, "{:<34} {:>14} {:>14} {:>7} {:>15}", "", "messages", "rows", "files", "bytes on disk")?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, cells: [Option<u64>; 4]| {
            let [messages, rows, files, bytes] = cells.map(|cell| cell.map_or_else(String::new, grouped));
            writeln!(f, "{name:<34} {messages:>14} {rows:>14} {files:>7} {bytes:>15}")
        };
        line(f, "read", [Some(counts.messages), None, None, None])?;
        for (zone, count) in &counts.stored {
            let (files, bytes) = self.on_disk(|table| table.zone == *zone && !is_own(table));
            let name = format!("  stored in zone {zone}");
            line(f, &name, [Some(count.messages), Some(count.rows), Some(files), Some(bytes)])?;
        }
        let (files, bytes) = self.on_disk(|table| table.name.ends_with("quarantine"));
        let quarantined = counts.quarantined_messages();
        line(f, "  quarantined", [Some(quarantined), None, Some(files), Some(bytes)])?;
        for (reason, count) in &counts.quarantined {
            line(f, &format!("    {reason}"), [Some(*count), None, None, None])?;
        }
        line(f, "  no row by design (key-alives, …)", [Some(counts.without_rows), None, None, None])?;
        let placed = counts.stored_messages() + quarantined + counts.without_rows;
        let sign = if placed == self.produced.messages && placed == counts.messages { "=" } else { "≠" };
        writeln!(
            f,
            "\nproduced {} {sign} stored {} + quarantined {} + no row by design {}",
            grouped(self.produced.messages),
            grouped(counts.stored_messages()),
            grouped(quarantined),
            grouped(counts.without_rows)
        )?;
        writeln!(f, "\ninvariants, and how often each was found broken:")?;
        for Finding { invariant, broken, by } in &self.findings {
            let invariant = invariant.as_str();
            match broken {
                Ok(count) => writeln!(f, "  {invariant:<6} {count:>8}  measured: {by}")?,
                Err(NotAssessed(reason)) => {
                    writeln!(f, "  {invariant:<6} {:>8}  not assessed: {reason}", "-")?
                }
            }
        }
        let data = self.data.display();
        let arg =
            if self.data.as_os_str() == "situs-data" { String::new() } else { format!(" --data {data}") };
        // As it was started, so that the lines can be pasted.
        let me = std::env::args().next().unwrap_or_else(|| "situs".to_owned());
        writeln!(f, "\nnext:")?;
        writeln!(f, "  {me} sql{arg} \"show tables\"")?;
        writeln!(f, "  {me} sql{arg} \"select _zone, count(*) from eu.cnc_state group by _zone\"")?;
        writeln!(
            f,
            "  {me} sql{arg} \"select reason, count(*) from quarantine group by reason order by 2 desc\""
        )?;
        writeln!(
            f,
            "  {me} sql{arg} \"select topic, partition, start_offset, end_offset, messages from receipts limit 5\""
        )?;
        writeln!(f, "  {me} store list{arg}")?;
        writeln!(f, "  {me} store verify --config {data}/config/site.yaml")?;
        writeln!(f, "  {me} check --config {data}/config/site.yaml")
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }
}
