//! Personal fields and trade secrets from end to end, under a policy with nested zones: the plant in
//! Stuttgart has a zone of its own, GERMANY, and its records are placed in the zone around it, EU.

use std::path::Path;
use std::process::Output;

use serde_json::{Map, Value};

use crate::home::{Home, situs};

const PIPELINE: &str = "name: milling
scenario: process-optimization
topics: [milling]
schema: milling/v1
class: important
";

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "device": { "type": "string", "x-situs": { "role": "device", "arrow": "dictionary", "class": "asset-identity" } },
    "time": { "type": "string", "x-situs": { "column": false, "role": "event-time", "time": ["rfc3339"] } },
    "worker": { "type": "string", "x-situs": { "arrow": "dictionary", "class": "personal", "personal": "pseudonym" } },
    "badge": { "type": ["integer", "null"], "x-situs": { "class": "personal" } },
    "program": { "type": "string", "x-situs": { "class": "trade-secret" } },
    "offset_mm": { "type": ["number", "null"], "x-situs": { "class": "trade-secret" } },
    "load": { "type": "number", "x-situs": { "class": "process" } }
  }
}
"#;

const POLICY: &str = "zones:
  CN: { jurisdictions: [CN] }
  EU: { jurisdictions: [DE, FR] }
  GERMANY: { jurisdictions: [DE], within: EU }
sites:
  nanning-1: { jurisdiction: CN, topics: [milling], devices: [nn-1] }
  stuttgart-1: { jurisdiction: DE, topics: [milling], devices: [st-1] }
  lyon-1: { jurisdiction: FR, topics: [milling], devices: [ly-1] }
rules:
  - { id: cn, jurisdictions: [CN], zone: CN, basis: law, training: in-zone }
  - { id: hot, jurisdictions: [DE, FR], when: load > 90, zone: EU, class: core, basis: contract, training: prohibited }
  - { id: eu, jurisdictions: [DE, FR], zone: EU, basis: contract, training: allowed }
  - { id: german, jurisdictions: [DE], zone: GERMANY, basis: contract }
models:
  - { id: wear, version: '1', pipelines: [milling], where: load > 10, markets: [DE] }
";

/// Values that no table may hold.
const WORKER: &str = "w-4711-canary";
const BADGE: &str = "8675309";
const PROGRAM: &str = "O1000-canary";
/// As the site's places of values: whole and exact in binary, so that they would be seen as text in a log.
const SECRET_NUMBER: &str = "31337.5";

fn message(device: &str, load: u32) -> Option<Vec<u8>> {
    let text = format!(
        r#"{{"device":"{device}","time":"2026-03-01T12:00:00Z","worker":"{WORKER}","badge":{BADGE},"program":"{PROGRAM}","offset_mm":{SECRET_NUMBER},"load":{load}}}"#
    );
    Some(text.into_bytes())
}

fn run(home: &Home, arguments: &[&str]) -> Output {
    let mut command = situs();
    command.args(arguments).arg("--config").arg(home.site());
    command.output().expect("situs runs")
}

fn write(home: &Home, name: &str, text: &str) {
    let path = home.site().with_file_name(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("written");
}

/// Lets the site read these definitions, with the line `keys` for keys.
fn configure(home: &Home, policy: &str, keys: &str) {
    write(home, "lib/milling/pipeline.yaml", PIPELINE);
    write(home, "schemas/milling/v1.json", SCHEMA);
    write(home, "lib/policy.yaml", policy);
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let site: Vec<String> = site
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("pseudonym-keys"))
        .map(|line| match line.split(':').next() {
            Some("pipelines") => "pipelines: lib".to_owned(),
            Some("schemas") => "schemas: schemas".to_owned(),
            Some("policy") => "policy: lib/policy.yaml".to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(home.site(), format!("{}\n{keys}\n", site.join("\n"))).expect("written");
}

const KEYS: &str = "pseudonym-keys: { CN: cn.key, EU: eu.key, GERMANY: germany.key }";

fn home() -> Home {
    let home = Home::new(&["milling"], &[("milling", 1)]);
    for name in ["cn.key", "eu.key", "germany.key"] {
        let path = home.site().with_file_name(name);
        let output = situs().args(["store", "pseudonym-key"]).arg(&path).output().expect("situs runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(": key "), "{text}");
        let secret = std::fs::read_to_string(&path).expect("a key");
        assert!(!text.contains(secret.trim()), "the key itself is not shown");
    }
    configure(&home, POLICY, KEYS);
    home
}

fn row(home: &Home, table: &str, offset: i64) -> Map<String, Value> {
    let rows = home.sql(&format!("select * from {table} where _offset = {offset}"));
    assert_eq!(rows.len(), 1, "{table} {offset}");
    rows[0].clone()
}

/// Every byte of every file below, and what Parquet files hold.
fn bytes_below(folder: &Path, each: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            bytes_below(&path, each)
        } else {
            each(&path, &std::fs::read(&path).expect("a file"))
        }
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|part| part == word)
}

#[test]
fn personal_fields_and_trade_secrets_are_masked_before_a_table_holds_them() {
    let home = home();
    home.send(
        "milling",
        0,
        &[message("st-1", 95), message("ly-1", 20), message("nn-1", 5), message("who", 1)],
    );
    home.catch_up();
    // A second start, another file.
    home.send("milling", 0, &[message("st-1", 20), message("nn-1", 50)]);
    home.catch_up();

    let (german, french, chinese) =
        (row(&home, "eu.milling", 0), row(&home, "eu.milling", 1), row(&home, "cn.milling", 2));
    for row in [&german, &french, &chinese] {
        assert!(!row.contains_key("badge"), "a personal field that is dropped has no column: {row:?}");
        let worker = row["worker"].as_str().expect("a pseudonym");
        assert!(worker.len() == 32 && worker.bytes().all(|byte| byte.is_ascii_hexdigit()), "{worker}");
    }
    assert_eq!(german["worker"], french["worker"], "one zone, one pseudonym");
    assert_ne!(german["worker"], chinese["worker"], "another zone, another pseudonym");
    assert_eq!(row(&home, "eu.milling", 4)["worker"], german["worker"], "the same after a start");
    assert_eq!(row(&home, "cn.milling", 5)["worker"], chinese["worker"]);

    // France and China have no zone within that of their records; the plant in Stuttgart has one.
    assert_eq!((&french["program"], &french["offset_mm"]), (&PROGRAM.into(), &31337.5.into()));
    assert_eq!(chinese["program"], PROGRAM);
    let hash = german["program"].as_str().expect("a hash");
    assert!(hash.len() == 44 && hash.starts_with("hmac-sha256:"), "{hash}");
    assert_eq!(german["offset_mm"], Value::Null, "a number holds no hash");
    assert_eq!(row(&home, "eu.milling", 4)["program"], german["program"]);

    // What decides is stored as it came, so the decision comes out again.
    for offset in [0, 1, 2, 3, 4, 5] {
        let output = run(&home, &["explain", "--json", &format!("milling/0/{offset}")]);
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((output.status.code(), &told["verdict"]), (Some(0), &"equal".into()), "{told:#}");
    }
    home.verify();

    // Of a message in quarantine everything is kept, in the home zone; nowhere else is a person named.
    let output = run(&home, &["quarantine", "show", "--payload", "milling/0/3"]);
    assert_eq!(Some(output.stdout), message("who", 1));
    for table in ["eu.milling", "cn.milling", "receipts"] {
        let rows = format!("{:?}", home.sql(&format!("select * from {table}")));
        assert!(rows.len() > 100 && !rows.contains(WORKER) && !rows.contains(BADGE), "{table}");
    }
    bytes_below(&home.data(), &mut |path, bytes| {
        let text = path.to_string_lossy();
        if text.contains("/eu/quarantine/quarantine_date=") {
            return;
        }
        assert!(!contains(bytes, WORKER.as_bytes()) && !contains(bytes, BADGE.as_bytes()), "{text}");
        // Statistics stand in logs as text, and in footers as they are.
        if text.contains("/_delta_log/") {
            for secret in [PROGRAM, SECRET_NUMBER] {
                assert!(!contains(bytes, secret.as_bytes()), "{secret} in {text}");
            }
        }
    });
    let secret = 31337.5_f64.to_le_bytes();
    let footers = |zone: &str| {
        let mut found = 0;
        bytes_below(&home.data().join(zone).join("milling"), &mut |path, bytes| {
            if path.extension().is_some_and(|end| end == "parquet") {
                let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().expect("4 bytes"));
                let footer = &bytes[bytes.len() - 8 - length as usize..];
                let told = contains(footer, PROGRAM.as_bytes()) || contains(footer, &secret);
                assert!(!told, "statistics of {}", path.display());
                // What may be told is there, so that this test sees statistics at all.
                found += usize::from(
                    contains(footer, &20_f64.to_le_bytes()) || contains(footer, &50_f64.to_le_bytes()),
                );
            }
        });
        found
    };
    assert!(footers("eu") > 0 && footers("cn") > 0);

    // A release goes through the same masks.
    configure(&home, &POLICY.replace("devices: [st-1]", "devices: [st-1, who]"), KEYS);
    let output = run(&home, &["quarantine", "release", "--by", "J. Doe", "--all"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let released = row(&home, "eu.milling", 3);
    assert_eq!((&released["worker"], &released["program"]), (&german["worker"], &german["program"]));
    home.verify();
}

#[test]
fn a_file_and_a_table_take_the_highest_class_of_their_rows() {
    let home = home();
    home.send("milling", 0, &[message("ly-1", 20), message("nn-1", 5)]);
    home.catch_up();
    home.send("milling", 0, &[message("st-1", 95), message("ly-1", 20)]);
    home.catch_up();
    let output = situs().args(["store", "list", "--json", "--data"]).arg(home.data()).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let class = |name: &str| {
        let of = |line: &str| -> Value { serde_json::from_str(line).expect("JSON") };
        let table = text.lines().map(of).find(|table| table["table"] == name);
        table.unwrap_or_else(|| panic!("no {name} in {text}"))["class"].clone()
    };
    assert_eq!((class("cn.milling"), class("eu.milling")), ("important".into(), "core".into()));
    assert_eq!(class("receipts"), Value::Null, "{text}");
    home.verify();
}

#[test]
fn without_a_key_nothing_runs_and_the_place_is_told() {
    let home = home();
    configure(&home, POLICY, "pseudonym-keys: { CN: cn.key }");
    let check = |expected: &[&str]| {
        for arguments in
            [&["check"][..], &["run", "--until-caught-up"], &["quarantine", "release", "--all", "--dry-run"]]
        {
            let output = run(&home, arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
            for expected in expected {
                assert!(text.contains(expected), "{arguments:?}: no `{expected}` in {text}");
            }
        }
    };
    check(&[
        "site.yaml:12:17: `pseudonym-keys` needs a key `EU`",
        "`pseudonym-keys` needs a key `GERMANY`",
        "fields of milling are masked with it",
    ]);
    configure(&home, POLICY, "");
    check(&["site.yaml:7:9: `pseudonym-keys` needs a key `CN`"]);
    configure(&home, POLICY, &KEYS.replace("eu.key", "receipts-key.pem"));
    check(&[
        "site.yaml:12:35: `EU` in pseudonym-keys: ",
        "expected a key of 64 hexadecimal digits, found PEM",
    ]);
    // A person would have one pseudonym in both zones.
    let key = |name: &str| home.site().with_file_name(name);
    std::fs::copy(key("cn.key"), key("copy.key")).expect("copied");
    configure(&home, POLICY, &KEYS.replace("eu.key", "copy.key"));
    check(&["site.yaml:12:35: `EU` in pseudonym-keys has the key of `CN`: each zone needs one of its own"]);
}

#[test]
fn conditions_may_not_name_what_is_not_stored_as_it_comes() {
    let home = home();
    for (column, class) in [("worker", "personal"), ("badge", "personal"), ("program", "trade-secret")] {
        let policy = POLICY.replace("when: load > 90", &format!("when: {column} IS NOT NULL"));
        configure(&home, &policy, KEYS);
        let output = run(&home, &["check"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let expected = format!("`when` in rule `hot`, on pipeline `milling`: column `{column}` is `{class}`");
        assert!(text.contains("policy.yaml:11:") && text.contains(&expected), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let policy = POLICY.replace("where: load > 10", "where: worker = 'w'");
    configure(&home, &policy, KEYS);
    let output = run(&home, &["check"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("`where` in model `wear`, on pipeline `milling`: column `worker` is `personal`"),
        "{text}"
    );
}
