//! Running a pipeline's cases: a message and what is expected of it (docs/pipelines.md).

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use situs_model::Verdict;

use crate::catalog::Catalog;
use crate::inspect::{Fate, Inspector, Message};
use crate::library::Library;

/// A case that did not turn out as expected.
#[derive(Debug)]
pub struct Failure {
    /// The case's file.
    pub file: String,
    /// What was expected and what came.
    pub message: String,
}

/// Runs all cases of all pipelines; the number of cases, and the failures.
///
/// # Errors
/// If the cases cannot be read.
pub fn run_all(library: &Library, catalog: &Catalog) -> anyhow::Result<(usize, Vec<Failure>)> {
    let mut count = 0;
    let mut failures = Vec::new();
    for loaded in &catalog.pipelines {
        // Compiling the policy for a pipeline takes longer than a case, and a judge remembers nothing.
        let mut inspector = Inspector::new(loaded, &catalog.policy)?;
        for text in library.cases(&loaded.folder).map_err(|problem| anyhow::anyhow!("{problem}"))? {
            count += 1;
            inspector.reset();
            if let Err(error) = run_one(&mut inspector, &text.text) {
                failures.push(Failure { file: text.name, message: format!("{error:#}") });
            }
        }
    }
    Ok((count, failures))
}

/// A case as it stands in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    #[serde(rename = "description")]
    _description: String,
    cluster: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    broker_time: Option<DateTime<Utc>>,
    /// The text as it stands, so that the order of keys and the spelling of numbers are kept.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    text: Option<String>,
    base64: Option<String>,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    rows: Option<Vec<Map<String, Value>>>,
    zone: Option<String>,
    without_rows: Option<String>,
    reject: Option<ExpectedReject>,
    quarantine: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedReject {
    code: String,
    pointer: Option<String>,
    byte: Option<u64>,
}

fn run_one(inspector: &mut Inspector, text: &str) -> anyhow::Result<()> {
    let case: Case<'_> = serde_json::from_str(text)?;
    let expect = &case.expect;
    let ways = [
        expect.rows.is_some() || expect.quarantine.is_some(),
        expect.without_rows.is_some(),
        expect.reject.is_some(),
    ];
    ensure!(
        ways.iter().filter(|given| **given).count() == 1,
        "`expect` needs exactly one of `rows`, `without_rows` and `reject`, or `quarantine` alone or with `rows`"
    );
    ensure!(
        expect.zone.is_none() || expect.quarantine.is_none(),
        "`zone` and `quarantine` contradict each other"
    );
    let fate = inspector.look(&message_of(&case)?)?;
    compare(&fate, expect)
}

fn message_of(case: &Case<'_>) -> anyhow::Result<Message> {
    let payload = match (case.message, &case.text, &case.base64) {
        (Some(message), None, None) => Some(message.get().as_bytes().to_vec()),
        (None, Some(text), None) => Some(text.as_bytes().to_vec()),
        (None, None, Some(encoded)) => {
            Some(base64::engine::general_purpose::STANDARD.decode(encoded).context("`base64`")?)
        }
        (None, None, None) => None,
        _ => bail!("at most one of `message`, `text` and `base64` may be given"),
    };
    Ok(Message {
        cluster: case.cluster.as_deref().map(str::parse).transpose().context("`cluster`")?,
        topic: case.topic.clone(),
        key: case.key.as_ref().map(|key| key.as_bytes().to_vec()),
        headers: case.headers.iter().map(|(name, value)| (name.clone(), value.as_bytes().to_vec())).collect(),
        payload,
        broker_time_ms: case.broker_time.map(|time| time.timestamp_millis()),
    })
}

fn compare(fate: &Fate, expect: &Expect) -> anyhow::Result<()> {
    match fate {
        Fate::Rejected(reject) => {
            let Some(expected) = &expect.reject else {
                bail!("rejected as {} at {:?}, byte {:?}", reject.code, reject.pointer, reject.byte);
            };
            ensure!(
                expected.code == reject.code.as_str(),
                "rejected as {}, expected {}",
                reject.code,
                expected.code
            );
            if expected.pointer.is_some() {
                ensure!(
                    expected.pointer == reject.pointer,
                    "the reject points at {:?}, expected {:?}",
                    reject.pointer,
                    expected.pointer
                );
            }
            if expected.byte.is_some() {
                ensure!(
                    expected.byte == reject.byte,
                    "the reject is at byte {:?}, expected {:?}",
                    reject.byte,
                    expected.byte
                );
            }
            Ok(())
        }
        Fate::WithoutRows(kind) => {
            ensure!(expect.without_rows.as_ref() == Some(kind), "gives no row and is counted as {kind}");
            Ok(())
        }
        Fate::Rows(rows) => compare_rows(rows, expect),
    }
}

fn compare_rows(rows: &[(Map<String, Value>, Verdict)], expect: &Expect) -> anyhow::Result<()> {
    let undetermined = rows.iter().find_map(|(_, verdict)| match verdict {
        Verdict::Undetermined(reason) => Some(reason.as_str()),
        Verdict::Resident(_) => None,
    });
    ensure!(
        expect.rows.is_some() || expect.quarantine.is_some(),
        "gives {} rows, which was not expected",
        rows.len()
    );
    ensure!(
        undetermined == expect.quarantine.as_deref(),
        "undetermined: {undetermined:?}, expected {:?}",
        expect.quarantine
    );
    if let Some(zone) = &expect.zone {
        for (index, (_, verdict)) in rows.iter().enumerate() {
            let resident = matches!(verdict, Verdict::Resident(id) if id.as_str() == zone);
            ensure!(resident, "row {index}: {verdict:?}, expected zone {zone}");
        }
    }
    let Some(expected) = &expect.rows else { return Ok(()) };
    ensure!(rows.len() == expected.len(), "gives {} rows, expected {}", rows.len(), expected.len());
    for (index, ((row, _), expected)) in rows.iter().zip(expected).enumerate() {
        for (column, value) in expected {
            let Some(found) = row.get(column) else { bail!("row {index}: there is no column `{column}`") };
            ensure!(same(found, value), "row {index}: `{column}` is {found}, expected {value}");
        }
    }
    Ok(())
}

/// Equal values; numbers by value, and times by instant, however they are written.
fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.as_i64().is_none() || b.as_i64().is_none()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::String(a), Value::String(b)) => {
            a == b
                || matches!(
                    (a.parse::<DateTime<Utc>>(), b.parse::<DateTime<Utc>>()),
                    (Ok(a), Ok(b)) if a == b
                )
        }
        _ => found == expected,
    }
}
