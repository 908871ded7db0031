//! Clocks of machines that are off: flagged in `_quality`, never corrected.

use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer as _};
use serde_json::Value;

use crate::home::{Home, situs};

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "device": { "type": "string", "x-situs": { "role": "device", "arrow": "dictionary", "class": "asset-identity" } },
    "time": { "type": "string", "x-situs": { "column": false, "role": "event-time", "time": ["rfc3339", "iso8601-local"] } },
    "load": { "type": ["number", "null"], "x-situs": { "class": "process" } }
  }
}
"#;

const PIPELINE: &str = "scenario: process-optimization\nschema: milling/v1\nclass: general\n";

const POLICY: &str = "zones:
  CN: { jurisdictions: [CN] }
  EU: { jurisdictions: [DE] }
sites:
  nanning-1: { jurisdiction: CN, topics: [milling, late], devices: [nn-1] }
  stuttgart-1: { jurisdiction: DE, topics: [milling, late], devices: [st-1] }
rules:
  - { id: cn, jurisdictions: [CN], zone: CN, basis: law, training: in-zone }
  - { id: eu, jurisdictions: [DE], zone: EU, basis: contract, training: allowed }
";

/// 2026-03-01T12:00:00Z.
const BROKER_MS: i64 = 1_772_366_400_000;

/// Two pipelines: `milling` has the bounds that hold without a word, `late` has others.
fn home() -> Home {
    let home = Home::new(&["milling", "late"], &[("milling", 1), ("late", 1)]);
    let write = |name: &str, text: &str| {
        let path = home.site().with_file_name(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    };
    write("lib/milling/pipeline.yaml", &format!("name: milling\ntopics: [milling]\n{PIPELINE}"));
    let clock = "clock: { ahead: off, behind: 1d }";
    write("lib/late/pipeline.yaml", &format!("name: late\ntopics: [late]\n{PIPELINE}{clock}\n"));
    write("schemas/milling/v1.json", SCHEMA);
    write("lib/policy.yaml", POLICY);
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let site = site.lines().map(|line| match line.split(':').next() {
        Some("pipelines") => "pipelines: lib",
        Some("schemas") => "schemas: schemas",
        Some("policy") => "policy: lib/policy.yaml",
        _ => line,
    });
    write("site.yaml", &site.collect::<Vec<_>>().join("\n"));
    home
}

/// Messages that the broker took at noon, with what the machine says of its time.
const MESSAGES: [&str; 8] = [
    r#"{"device":"st-1","load":1,"time":"2026-03-01T12:00:00Z"}"#,
    r#"{"device":"st-1","load":2,"time":"2026-03-01T12:05:00Z"}"#,
    r#"{"device":"st-1","load":3,"time":"2026-03-01T12:05:00.000001Z"}"#,
    r#"{"device":"st-1","load":null,"time":"2026-03-01T20:00:00"}"#,
    r#"{"device":"st-1","load":5,"time":"2026-02-28T12:00:00Z"}"#,
    r#"{"device":"st-1","load":6,"time":"2026-02-28T11:59:59.999999Z"}"#,
    r#"{"device":"st-1","load":7,"time":"1970-01-01T00:00:00Z"}"#,
    r#"{"device":"st-1","load":8}"#,
];

fn sql(home: &Home, statement: &str) -> Vec<Value> {
    let mut command = situs();
    let output = command.args(["sql", "--format", "json", statement, "--config"]).arg(home.site()).output();
    let output = output.expect("situs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of objects")
}

#[test]
fn clocks_that_are_off_are_flagged_and_their_times_stay() {
    let home = home();
    let producer = home.producer();
    for topic in ["milling", "late"] {
        for message in MESSAGES {
            let record = BaseRecord::to(topic).partition(0).timestamp(BROKER_MS).key("k").payload(message);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
    }
    producer.flush(Duration::from_secs(20)).expect("delivered");
    home.catch_up();

    let counts = |table: &str| -> Vec<(String, i64)> {
        let counted =
            format!("select _quality, count(*) as n from eu.{table} group by 1 order by 1 nulls first");
        let rows = sql(&home, &counted).into_iter();
        rows.map(|row| {
            (row["_quality"].as_str().unwrap_or("").to_owned(), row["n"].as_i64().expect("a number"))
        })
        .collect()
    };
    let expected = |rows: &[(&str, i64)]| -> Vec<(String, i64)> {
        rows.iter().map(|(quality, count)| ((*quality).to_owned(), *count)).collect()
    };
    assert_eq!(
        counts("milling"),
        expected(&[
            ("", 5),
            ("event_time:broker", 1),
            ("event_time:clock-ahead", 1),
            ("load:null;event_time:zone-assumed;event_time:clock-ahead", 1),
        ])
    );
    assert_eq!(
        counts("late"),
        expected(&[
            ("", 4),
            ("event_time:broker", 1),
            ("event_time:clock-behind", 2),
            ("load:null;event_time:zone-assumed", 1),
        ])
    );

    // Both times are what they were, for all that they are flagged for.
    for table in ["milling", "late"] {
        let times = sql(
            &home,
            &format!(
                "select arrow_cast(event_time, 'Int64') as t, arrow_cast(_broker_time, 'Int64') as b from eu.{table} order by _offset"
            ),
        );
        let noon = BROKER_MS * 1000;
        let day = 86_400_000_000;
        let own = [
            noon,
            noon + 300_000_000,
            noon + 300_000_001,
            noon + day / 3,
            noon - day,
            noon - day - 1,
            0,
            noon,
        ];
        let found: Vec<(i64, i64)> = times
            .iter()
            .map(|row| (row["t"].as_i64().expect("a time"), row["b"].as_i64().expect("a time")))
            .collect();
        assert_eq!(found, own.map(|time| (time, noon)), "{table}");
    }
    home.verify();

    // What is read again says the same of itself.
    for place in ["milling/0/2", "late/0/6"] {
        let output = situs().args(["explain", "--json", place, "--config"]).arg(home.site()).output();
        let told: Value = serde_json::from_slice(&output.expect("situs runs").stdout).expect("JSON");
        assert_eq!(told["verdict"], "equal", "{told:#}");
    }
}
