//! Shares for a person.

use std::fmt;

use super::{Collected, ModelShares, Shares, TableTotal};
use crate::statement::Shown;

/// A cell: text, or a word for none of it, so that it cannot steer a terminal.
fn cell(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { Shown(text).to_string() }
}

fn share(rows: u64, percent: f64) -> String {
    // What is there must not look as if it were not.
    if rows > 0 && percent == 0.0 { "<0.01%".to_owned() } else { format!("{percent:.2}%") }
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| cell(word)).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn span(first: Option<&String>, last: Option<&String>) -> String {
    match (first, last) {
        (Some(first), Some(last)) => format!("{first}  {last}"),
        _ => format!("{:<24}  {:<24}", "none", "none"),
    }
}

fn row(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    class: &str,
    (rows, percent): (u64, f64),
    span: &str,
    end: &str,
) -> fmt::Result {
    let line = format!("{what:<30} {class:<12} {rows:>12} {:>8}  {span}  {end}", share(rows, percent));
    writeln!(f, "{}", line.trim_end())
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.received {
            true => format!("  {}, received in {}", cell(&self.jurisdiction), cell(&self.lies_in)),
            false => format!("  {}, zone {}", cell(&self.jurisdiction), cell(&self.zone)),
        };
        let scope = match (self.other_markets.is_empty(), self.in_scope) {
            (true, _) => String::new(),
            (false, true) => format!("{}: in scope", list(&self.other_markets)),
            (false, false) => format!("{}, of the same zone", list(&self.other_markets)),
        };
        row(
            f,
            &place,
            "",
            (self.rows, self.percent),
            &span(self.first.as_ref(), self.last.as_ref()),
            &scope,
        )?;
        for part in &self.parts {
            let times = span(part.first.as_ref(), part.last.as_ref());
            let training: Vec<String> =
                part.training.iter().map(|(word, rows)| format!("{} {rows}", cell(word))).collect();
            let site = format!("    {}", cell(&part.site));
            let figures = (part.rows, part.percent);
            row(f, &site, &cell(&part.class), figures, &times, &format!("training {}", training.join(", ")))?;
        }
        Ok(())
    }
}

impl fmt::Display for ModelShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_ref().map_or_else(
            || "not registered today".to_owned(),
            |version| format!("version {}", cell(version)),
        );
        write!(f, "model {}, {version}, deployed in {}", cell(&self.model), list(&self.markets))?;
        if !self.markets_before.is_empty() {
            write!(f, ", before also in {}", list(&self.markets_before))?;
        }
        write!(f, ": {} rows feed it, {} of them in scope", self.rows, self.rows_in_scope)?;
        if self.received_rows > 0 {
            write!(f, "; {} received rows name it", self.received_rows)?;
        }
        writeln!(f)?;
        if !self.collected.is_empty() {
            let head = format!(
                "  {:<28} {:<12} {:>12} {:>8}  {:<24}  {:<24}  deployed elsewhere",
                "collected in", "class", "rows", "share", "from", "to"
            );
            writeln!(f, "{head}")?;
        }
        self.collected.iter().try_for_each(|one| write!(f, "{one}"))
    }
}

impl fmt::Display for TableTotal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.zone, self.table, if self.received { " (received)" } else { "" })?;
        write!(f, ", version {}: {} rows, {} feed a model, ", self.version, self.rows, self.feeding)?;
        write!(f, "{} feed none, {} are prohibited", self.without_model, self.prohibited)?;
        for one in &self.jurisdictions {
            write!(f, "; {} {}", cell(&one.jurisdiction), share(one.rows, one.percent))?;
        }
        Ok(())
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for model in &self.models {
            writeln!(f, "{model}")?;
        }
        if self.models.is_empty() {
            writeln!(f, "no model that was asked for\n")?;
        }
        for table in &self.tables {
            writeln!(f, "table {table}")?;
        }
        if !self.tables.is_empty() {
            writeln!(f)?;
        }
        for (n, statement) in self.statements.iter().enumerate() {
            write!(f, "{}{statement}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
