//! From an embedded broker to the stores, through the built binary.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::home::{Home, situs, state};

const TOPIC: &str = "cnc.state";

fn text<'a>(row: &'a serde_json::Map<String, Value>, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

#[test]
fn one_malformed_message_harms_no_neighbour() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let broken = br#"{"device":"st-cnc-001","timestamp":"2026-03-01T12:00:00Z","line":17"#.to_vec();
    let mut messages: Vec<_> = (0..200).map(|n| Some(state("st-cnc-001", n))).collect();
    messages[77] = Some(broken.clone());
    home.send(TOPIC, 0, &messages);
    home.catch_up();

    assert_eq!(home.number("select count(*) from eu.cnc_state"), 199);
    assert_eq!(home.number("select count(*) from eu.cnc_state where _offset = 77"), 0);
    let quarantined = home.sql(
        "select \"offset\", reason, encode(payload, 'hex') as payload, byte_position, encode(key, 'hex') as key from quarantine",
    );
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0]["offset"], 77);
    assert_eq!(quarantined[0]["reason"], "invalid-json");
    let hex: String = broken.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(quarantined[0]["payload"], hex.as_str());
    assert_eq!(quarantined[0]["key"], "6b");
}

#[test]
fn every_strange_message_has_a_counted_outcome() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let good = state("nn-cnc-001", 5);
    let with = |text: &str| {
        Some(format!(r#"{{"device":"nn-cnc-001","timestamp":"2026-03-01T12:00:00Z",{text}}}"#).into_bytes())
    };
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(&good);
    let mut bad_utf8 = good.clone();
    let at = bad_utf8.windows(6).position(|window| window == b"ACTIVE").expect("there");
    bad_utf8[at] = 0xff;
    let cases: Vec<(Option<Vec<u8>>, &str)> = vec![
        (None, "tombstone"),
        (Some(Vec::new()), "empty"),
        (Some(bom), "stored"),
        (Some(bad_utf8), "invalid-utf8"),
        (Some(deep.clone().into_bytes()), "too-deep"),
        (with(&format!(r#""unknown":{deep}"#)), "too-deep"),
        (with(r#""line":1,"line":2"#), "stored"),
        (with(r#""device":"nn-cnc-002""#), "duplicate-key"),
        (with(r#""line":9223372036854775807"#), "stored"),
        (with(r#""line":9223372036854775808"#), "number-out-of-range"),
        (with(r#""spindleLoad":1e400"#), "number-out-of-range"),
        (with(&format!(r#""block":"{}""#, "x".repeat(2 << 20))), "too-large"),
        (Some(good.clone()), "stored"),
        (Some(b"{\"device\":\"nn-cnc-001\"}".to_vec()), "missing-field"),
        (Some(state("who-knows", 1)), "unknown-device"),
        (with(r#""country":"DE""#), "claim-contradicts-registry"),
        (with(r#""country":"CN""#), "stored"),
    ];
    let messages: Vec<_> = cases.iter().map(|(message, _)| message.clone()).collect();
    home.send(TOPIC, 0, &messages);
    home.catch_up();

    let stored: BTreeSet<i64> = home
        .sql("select _offset from cn.cnc_state")
        .iter()
        .filter_map(|row| row["_offset"].as_i64())
        .collect();
    let quarantined =
        home.sql("select \"offset\", reason, payload is null as no_payload from quarantine order by 1");
    for (offset, (message, expected)) in cases.iter().enumerate() {
        let offset = offset as i64;
        let found = quarantined.iter().find(|row| row["offset"] == offset);
        let outcome = found.map_or_else(
            || if stored.contains(&offset) { "stored" } else { "lost" },
            |row| text(row, "reason"),
        );
        assert_eq!(outcome, *expected, "offset {offset}");
        assert!(found.is_none() || !stored.contains(&offset), "offset {offset} lies in two places");
        if let Some(row) = found {
            assert_eq!(row["no_payload"], message.is_none());
        }
    }
    // The last of two equal keys wins.
    assert_eq!(home.number("select line from cn.cnc_state where _offset = 6"), 2);
    let receipts = home.sql(
        "select sum(messages) as m, sum(stored_messages) as s, sum(quarantined_messages) as q from receipts",
    );
    assert_eq!(receipts[0]["m"], cases.len() as i64);
    assert_eq!(receipts[0]["s"].as_i64(), Some(stored.len() as i64));
    assert_eq!(receipts[0]["q"].as_i64(), Some(quarantined.len() as i64));
}

#[test]
fn rows_lie_only_in_the_store_of_their_zone() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 2)]);
    let messages: Vec<_> = (0..100).map(|n| Some(state(["nn-cnc-001", "st-cnc-001"][n % 2], n))).collect();
    home.send(TOPIC, 0, &messages);
    home.send(TOPIC, 1, &messages);
    home.catch_up();
    for (schema, zone, jurisdiction) in [("cn", "CN", "CN"), ("eu", "EU", "DE")] {
        let rows = home.sql(&format!(
            "select _zone, _jurisdiction, count(*) as n from {schema}.cnc_state group by 1, 2"
        ));
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((text(&rows[0], "_zone"), text(&rows[0], "_jurisdiction")), (zone, jurisdiction));
        assert_eq!(rows[0]["n"], 100);
    }
    // Not a byte of the other zone's devices, either, in file names, the log or statistics.
    for (folder, foreign) in [("cn", "st-cnc-001"), ("eu", "nn-cnc-001")] {
        for path in files_below(&home.data().join(folder)) {
            // The archived policy names all devices of the registry; it is configuration, not telemetry.
            if path.parent().is_some_and(|parent| parent.ends_with("_situs_policies")) {
                continue;
            }
            let bytes = std::fs::read(&path).expect("readable");
            let found = bytes.windows(foreign.len()).any(|window| window == foreign.as_bytes());
            assert!(!found, "{} holds {foreign}", path.display());
        }
    }
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn start(home: &Home) -> Child {
    situs()
        .args(["run", "--config"])
        .arg(home.site())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("situs starts")
}

/// Every offset of `0..count` of every partition is exactly once in the stores.
fn assert_exactly_once(home: &Home, partitions: i64, count: i64) {
    let all = "(select _partition, _offset, _row from cn.cnc_state union all select _partition, _offset, _row from eu.cnc_state)";
    assert_eq!(home.number(&format!("select count(*) from {all}")), partitions * count, "rows");
    let distinct =
        home.number(&format!("select count(*) from (select distinct _partition, _offset, _row from {all})"));
    assert_eq!(distinct, partitions * count, "distinct rows");
    let receipts = home.sql("select partition, start_offset, end_offset from receipts order by 1, 2");
    let mut next = std::collections::BTreeMap::new();
    for receipt in receipts {
        let partition = receipt["partition"].as_i64().expect("a number");
        let expected = next.insert(partition, receipt["end_offset"].as_i64().expect("a number"));
        assert_eq!(receipt["start_offset"].as_i64(), Some(expected.unwrap_or(0)), "receipts are contiguous");
    }
    assert!(next.values().all(|end| *end == count), "{next:?}");
}

/// Regression guard for the order commit - receipt - group offset: killed anywhere, nothing is lost
/// and nothing is stored twice.
#[test]
fn kill_minus_nine_at_any_moment_loses_and_doubles_nothing() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 2)]);
    let device = |n: usize| ["nn-cnc-001", "st-cnc-001", "st-cnc-002"][n % 3];
    let mut sent = 0;
    // The embedded group takes 3 s to form, so the moments lie around the first flushes after it.
    for delay_ms in [3_300, 3_450, 3_700] {
        for partition in 0..2 {
            let messages: Vec<_> = (sent..sent + 3_000).map(|n| Some(state(device(n), n))).collect();
            home.send(TOPIC, partition, &messages);
        }
        sent += 3_000;
        let mut child = start(&home);
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    home.catch_up();
    assert_exactly_once(&home, 2, sent as i64);
    home.catch_up();
    assert_exactly_once(&home, 2, sent as i64);
    home.verify();
}

#[test]
fn sigterm_drains_and_the_next_start_goes_on() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 2)]);
    let send = |from: usize| {
        for partition in 0..2 {
            let messages: Vec<_> = (from..from + 2_000).map(|n| Some(state("st-cnc-001", n))).collect();
            home.send(TOPIC, partition, &messages);
        }
    };
    send(0);
    let mut child = start(&home);
    std::thread::sleep(Duration::from_millis(3_600));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    send(2_000);
    home.catch_up();
    // No cn rows were sent, so the table does not exist there.
    let rows = home.number("select count(*) from eu.cnc_state");
    assert_eq!(rows, 8_000);
    assert_eq!(
        home.number("select count(*) from (select distinct _partition, _offset, _row from eu.cnc_state)"),
        8_000
    );
}

#[test]
fn a_start_waits_for_a_home_store_that_cannot_be_written() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let waiting = || {
        let mut child = situs()
            .args(["run", "--until-caught-up", "--config"])
            .arg(home.site())
            .stderr(Stdio::piped())
            .spawn()
            .expect("situs runs");
        let mut log = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("start-waits") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("text"), 0, "it ended without that line");
        }
        assert!(line.contains("_situs_policies"), "{line}");
        (child, log)
    };
    home.send(TOPIC, 0, &[Some(state("st-cnc-001", 1))]);
    let in_the_way = home.data().join("eu/_situs_policies");
    std::fs::write(&in_the_way, "").expect("a file where a folder must be");

    // It can be told to end.
    let (mut child, _log) = waiting();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");

    // And goes on by itself.
    let (mut child, _log) = waiting();
    std::fs::remove_file(&in_the_way).expect("removed");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 1);
    home.verify();
}
