//! Devices of a site from a file: CSV with the columns `device` and, if it likes, `line`; and the rows of
//! such files behind the text of a policy, so that it is whole without them.

use std::fmt::Write as _;

use situs_model::doc::{Diagnostic, Diagnostics, list, nearest, whole_file};

/// Begins each line behind a policy's text that holds a row of a file; YAML takes it for a comment.
pub(crate) const MARK: &str = "#@";
/// Begins the first line of a file behind a policy's text, after the mark.
const HEAD: &str = "devices-file ";
/// Longest device id, in bytes. Kafka headers and payloads may carry longer texts; ids are not.
pub(crate) const MAX_DEVICE_ID: usize = 256;

/// The devices of a site, from a file that it names with `devices-file`.
///
/// ```
/// use situs_policy::{DevicesFile, Policy};
/// let text = "
/// zones: { CN: { jurisdictions: [CN] } }
/// sites: { nanning-1: { jurisdiction: CN, devices-file: nanning.csv } }
/// rules: [ { id: cn-resident, zone: CN, basis: law } ]
/// ";
/// assert_eq!(Policy::devices_files(text), ["nanning.csv"]);
/// let file = DevicesFile::csv("nanning.csv", "device,line\nnn-cnc-001,line-1\n").unwrap();
/// let policy = Policy::parse_with("policy.yaml", text, vec![file]).unwrap();
/// assert_eq!(policy.sites().next().unwrap().lines[0].0.as_str(), "line-1");
/// // What is kept needs no file.
/// assert_eq!(Policy::parse("kept", policy.text()).unwrap().version(), policy.version());
/// ```
#[derive(Debug, Clone)]
pub struct DevicesFile {
    /// Its name as the policy has it.
    pub(crate) name: String,
    pub(crate) rows: Vec<DeviceRow>,
}

/// A row of a file of devices.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRow {
    pub(crate) device: String,
    /// The line as text; none if it is empty.
    pub(crate) line: Option<String>,
    /// The line of the file that it stands on, or its number in a file that has no lines.
    pub(crate) at: u32,
}

impl DevicesFile {
    /// Reads CSV (RFC 4180). `name` is the file's name as the policy has it.
    ///
    /// # Errors
    /// Every problem of its form, with its place.
    pub fn csv(name: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::read(name, text, 1)
    }

    /// Takes rows that were read from a file of another form: each a device and, if it is on one, its line.
    pub fn of_rows(name: &str, rows: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let row = |(at, (device, line)): (u32, (String, Option<String>))| DeviceRow {
            device,
            line: line.filter(|line| !line.is_empty()),
            at,
        };
        Self { name: name.to_owned(), rows: (1..).zip(rows).map(row).collect() }
    }

    /// About the bytes of its rows.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.iter().map(|row| row.device.len() + row.line.as_ref().map_or(0, String::len) + 2).sum()
    }

    fn read(name: &str, text: &str, first_line: u32) -> Result<Self, Diagnostics> {
        let mut problems = Vec::new();
        let records = Csv { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: first_line };
        let problem = |line: u32, column: u32, message: String| Diagnostic {
            line,
            column,
            ..whole_file(name, message)
        };
        let mut columns: Option<(usize, Option<usize>, usize)> = None;
        let mut rows = Vec::new();
        for (at, record) in records {
            let fields = match record {
                Ok(fields) => fields,
                Err(message) => {
                    // What follows cannot be told apart any more.
                    problems.push(problem(at, 1, message));
                    break;
                }
            };
            let Some((device, line, width)) = columns else {
                for (index, column) in fields.iter().enumerate() {
                    let before = fields[..index].contains(column);
                    if before || !["device", "line"].contains(&column.as_str()) {
                        let shown: String = column.chars().take(60).collect();
                        let message = if before {
                            format!("column `{shown}` is given twice")
                        } else {
                            format!("expected the columns {}, found `{shown}`", list(&["device", "line"]))
                        };
                        let suggestion = nearest(column, ["device", "line"]).filter(|_| !before);
                        problems.push(Diagnostic { suggestion, ..problem(at, 1, message) });
                    }
                }
                let place = |wanted: &str| fields.iter().position(|column| column == wanted);
                let Some(device) = place("device") else {
                    if problems.is_empty() {
                        problems.push(problem(at, 1, "there is no column `device`".to_owned()));
                    }
                    break;
                };
                columns = Some((device, place("line"), fields.len()));
                continue;
            };
            if fields.len() != width {
                problems.push(problem(at, 1, format!("expected {width} fields, found {}", fields.len())));
                continue;
            }
            let text = |index: usize| fields.get(index).cloned().unwrap_or_default();
            let line = line.map(text).filter(|line| !line.is_empty());
            rows.push(DeviceRow { device: text(device), line, at });
        }
        if columns.is_none() && problems.is_empty() {
            problems
                .push(whole_file(name, "the file is empty; its first line names the columns `device,line`"));
        }
        if problems.is_empty() {
            Ok(Self { name: name.to_owned(), rows })
        } else {
            Err(Diagnostics(problems))
        }
    }

    /// Appends the rows to a policy's text, sorted, so that neither the order of a file nor its form
    /// matters to the version.
    pub(crate) fn append_to(&self, text: &mut String) {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut rows: Vec<(&str, &str)> = self
            .rows
            .iter()
            .map(|row| (row.device.as_str(), row.line.as_deref().unwrap_or_default()))
            .collect();
        rows.sort_unstable();
        text.push_str(MARK);
        text.push_str(HEAD);
        text.push_str(&self.name);
        text.push_str(&format!("\n{MARK}device,line\n"));
        for (device, line) in rows {
            // Writing to a `String` cannot fail.
            writeln!(text, "{MARK}{},{}", quoted(device), quoted(line)).ok();
        }
    }
}

/// The text of the policy proper, and the files whose rows stand behind it.
///
/// # Errors
/// What is wrong with the rows; `file` is the text's name.
pub(crate) fn split(file: &str, text: &str) -> Result<(usize, Vec<DevicesFile>), Diagnostics> {
    let Some(end) = appendix(text) else { return Ok((text.len(), Vec::new())) };
    let first = text[..end].matches('\n').count() as u32 + 1;
    let mut files: Vec<(String, u32, String)> = Vec::new();
    let mut problems = Vec::new();
    for (at, line) in (first..).zip(text[end..].lines()) {
        let row = line.strip_prefix(MARK);
        match (row.and_then(|row| row.strip_prefix(HEAD)), row, files.last_mut()) {
            (Some(name), ..) => files.push((name.to_owned(), at + 1, String::new())),
            (None, Some(row), Some((_, _, csv))) => {
                csv.push_str(row);
                csv.push('\n');
            }
            _ => {
                let message = format!(
                    "expected `{MARK}{HEAD}NAME`, or a row of such a file: lines that begin with `{MARK}` hold the files of a policy that was kept, and nothing follows them"
                );
                problems.push(Diagnostic { line: at, column: 1, ..whole_file(file, message) });
                break;
            }
        }
    }
    let mut read = Vec::new();
    for (name, first, csv) in files {
        match DevicesFile::read(&name, &csv, first) {
            Ok(file) => read.push(file),
            Err(more) => problems.extend(more.0),
        }
    }
    if problems.is_empty() { Ok((end, read)) } else { Err(Diagnostics(problems)) }
}

/// Where the rows of files begin in a policy's text.
pub(crate) fn appendix(text: &str) -> Option<usize> {
    if text.starts_with(MARK) { Some(0) } else { text.find("\n#@").map(|at| at + 1) }
}

/// A field as CSV.
fn quoted(text: &str) -> String {
    let plain = |c: char| !matches!(c, ',' | '"');
    if text.chars().all(plain) { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// Records of CSV, each with the line that it begins on; empty lines are left out.
struct Csv<'t> {
    rest: &'t str,
    line: u32,
}

impl Iterator for Csv<'_> {
    type Item = (u32, Result<Vec<String>, String>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let at = self.line;
            let record = self.record();
            match &record {
                Ok(fields) if matches!(fields.as_slice(), [only] if only.is_empty()) => {}
                _ => return Some((at, record)),
            }
        }
    }
}

impl Csv<'_> {
    fn record(&mut self) -> Result<Vec<String>, String> {
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
            let rest = rest.strip_prefix('\n').or(rest.is_empty().then_some(rest));
            self.rest = rest.ok_or("expected `,` or the end of the line behind a field in quotes")?;
            self.line += 1;
            return Ok(fields);
        }
    }

    fn field(&mut self) -> Result<String, String> {
        let Some(inner) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n', '"']).unwrap_or(self.rest.len());
            if self.rest[end..].starts_with('"') {
                return Err("a field with a `\"` stands in quotes, and the quote in it is doubled".to_owned());
            }
            let (field, rest) = self.rest.split_at(end);
            // The end of a line may be that of Windows.
            let field = if rest.starts_with(',') { field } else { field.strip_suffix('\r').unwrap_or(field) };
            self.rest = rest;
            return Ok(field.to_owned());
        };
        let mut text = String::new();
        let mut rest = inner;
        loop {
            let Some(end) = rest.find('"') else { return Err("a quote is not closed".to_owned()) };
            text.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(more) => {
                    text.push('"');
                    rest = more;
                }
                None => break,
            }
        }
        self.line += text.matches('\n').count() as u32;
        self.rest = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
