//! `situs explain` through the built binary, over stores that a run has filled.

use std::process::Output;

use serde_json::Value;

use crate::home::{Home, situs};

/// Stands in payloads and must stand in no explanation.
const CANARY: &str = "canary-5e0c";
/// A message without rows, by design.
const ALIVE: &str = r#"{"MessageId":"7","MessageType":"ua-data","PublisherId":"urn:example:gateway:1","Messages":[{"DataSetWriterId":1,"DataSetWriterName":"D","SequenceNumber":66,"MetaDataVersion":{"MajorVersion":1,"MinorVersion":0},"MessageType":"ua-keepalive","Timestamp":"2026-03-01T12:00:00.1414213Z"}]}"#;

fn explain(home: &Home, arguments: &[&str]) -> Output {
    let mut command = situs();
    command.args(["explain", "--config"]).arg(home.site()).args(arguments);
    command.output().expect("situs runs")
}

/// What is told, and the exit code. Whatever is told, it quotes no payload.
fn told(home: &Home, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = explain(home, &[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let people = explain(home, arguments);
    let people = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(!text.contains(CANARY) && !people.contains(CANARY), "{text}{people}");
    let value = serde_json::from_str(&text);
    (
        value.unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))),
        output.status.code(),
    )
}

fn with(device: &str, more: &str) -> Option<Vec<u8>> {
    let text = format!(
        r#"{{"device":"{device}","timestamp":"2026-03-01T12:00:00Z","execution":"ACTIVE","spindleSpeed":7,"program":"{CANARY}"{more}}}"#
    );
    Some(text.into_bytes())
}

/// Lets the site name another policy: the one that ships, changed.
pub(crate) fn change_policy(home: &Home, change: impl FnOnce(&str) -> String) {
    let policy = home.site().with_file_name("policy.yaml");
    let text =
        std::fs::read_to_string(crate::home::project().join("pipelines/policy.yaml")).expect("a policy");
    let changed = change(&text);
    assert_ne!(changed, text);
    std::fs::write(&policy, changed).expect("written");
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let site: Vec<String> = site
        .lines()
        .map(|line| {
            if line.starts_with("policy: ") {
                format!("policy: {}", policy.display())
            } else {
                line.to_owned()
            }
        })
        .collect();
    std::fs::write(home.site(), site.join("\n")).expect("written");
}

fn filled() -> Home {
    let home = Home::new(&["cnc-state", "opcua-pubsub"], &[("cnc.state", 1), ("opcua.pubsub", 1)]);
    home.send(
        "cnc.state",
        0,
        &[
            with("nn-cnc-001", ""),
            with("st-cnc-001", r#","country":"DE""#),
            with("who-knows", ""),
            with("st-cnc-001", r#","country":"CN""#),
            Some(CANARY.as_bytes().to_vec()),
            None,
        ],
    );
    home.send("opcua.pubsub", 0, &[Some(ALIVE.as_bytes().to_vec())]);
    home.catch_up();
    home
}

#[test]
fn every_record_is_explained_and_judged_again() {
    let home = filled();
    let (cn, code) = told(&home, &["cnc.state/0/0"]);
    assert_eq!((code, &cn["verdict"], &cn["state"]), (Some(0), &"equal".into(), &"stored".into()), "{cn:#}");
    let row = &cn["rows"][0];
    assert_eq!((&row["zone"], &row["table"]), (&"CN".into(), &"cnc_state".into()));
    assert_eq!(row["hash_holds"], true, "{cn:#}");
    assert_eq!(row["tags"]["_jurisdiction"], "CN");
    assert_eq!((&row["tags"]["_site"], &row["device"]), (&"nanning-1".into(), &"nn-cnc-001".into()));
    assert_eq!((&row["rule"]["id"], &row["rule"]["basis"]), (&"cn-general".into(), &"contract".into()));
    assert!(row["rule"]["reference"].as_str().expect("a text").starts_with("Service agreement"));
    assert_eq!(row["models"][0]["id"], "spindle-wear");
    assert_eq!(row["models"][0]["markets"], serde_json::json!(["CN", "DE"]));
    // A model that is deployed in DE holds a record of CN in its zone, whatever the rule allows.
    assert_eq!(row["tags"]["_training"], "in-zone");
    assert_eq!(row["tags"], row["recomputed"]);
    let receipt = &cn["receipt"];
    assert_eq!((&receipt["hash_holds"], &receipt["signature_holds"]), (&true.into(), &true.into()), "{cn:#}");
    let path = home.data().join("cn/cnc_state").join(row["file"].as_str().expect("a file"));
    assert!(path.is_file(), "{}", path.display());

    let (eu, code) = told(&home, &["cnc.state/0/1", "--row", "0"]);
    assert_eq!(
        (code, &eu["rows"][0]["zone"], &eu["rows"][0]["tags"]["_claimed"]),
        (Some(0), &"EU".into(), &"DE".into())
    );
    assert_eq!(explain(&home, &["cnc.state/0/1", "--row", "1"]).status.code(), Some(1), "it has one row");

    for (offset, reason) in
        [(2, "unknown-device"), (3, "claim-contradicts-registry"), (4, "invalid-json"), (5, "tombstone")]
    {
        let (told, code) = told(&home, &[&format!("cnc.state/0/{offset}")]);
        assert_eq!(
            (code, &told["state"], &told["verdict"]),
            (Some(0), &"quarantined".into(), &"equal".into()),
            "{told:#}"
        );
        let message = &told["quarantine"][0];
        assert_eq!((&message["reason"], &message["recomputed"]), (&reason.into(), &reason.into()));
    }
    let (alive, code) = told(&home, &["opcua.pubsub/0/0"]);
    assert_eq!(
        (code, &alive["state"], &alive["verdict"]),
        (Some(0), &"no-rows".into(), &"nothing-to-compare".into())
    );
    let (later, code) = told(&home, &["cnc.state/0/6"]);
    assert_eq!((code, &later["state"]), (Some(1), &"not-settled".into()), "{later:#}");
    let (other, code) = told(&home, &["cnc.waveform/0/0"]);
    assert_eq!((code, &other["state"]), (Some(1), &"not-settled".into()), "{other:#}");
    assert_eq!(explain(&home, &["cnc.state/0"]).status.code(), Some(2));
}

/// Today's policy does not matter: the record is judged by the one that was in force.
#[test]
fn the_archived_policy_counts_and_not_todays() {
    let home = filled();
    change_policy(&home, |text| {
        text.replace("nn-cnc-001, ", "").replace("[st-cnc-001,", "[nn-cnc-001, st-cnc-001,")
    });
    let (cn, code) = told(&home, &["cnc.state/0/0"]);
    assert_eq!((code, &cn["verdict"]), (Some(0), &"equal".into()), "{cn:#}");
    assert_eq!(cn["rows"][0]["tags"]["_site"], "nanning-1");
}

#[test]
fn what_was_tampered_with_is_flagged() {
    let home = filled();
    let archive = home.data().join("eu/_situs_policies");
    let policy = std::fs::read_dir(&archive).expect("an archive").next().expect("one").expect("one").path();
    let text = std::fs::read_to_string(&policy).expect("a policy");
    std::fs::write(&policy, text.replace("basis: law", "basis: voluntary")).expect("written");
    let (cn, code) = told(&home, &["cnc.state/0/0"]);
    assert_eq!((code, &cn["verdict"]), (Some(1), &"flagged".into()));
    assert!(cn["findings"][0].as_str().expect("a text").contains("not the text of that version"), "{cn:#}");
    std::fs::remove_file(&policy).expect("removed");
    let (unknown, code) = told(&home, &["cnc.state/0/2"]);
    assert_eq!(code, Some(1));
    assert!(unknown["findings"][0].as_str().expect("a text").contains("keeps no policy"), "{unknown:#}");
    std::fs::write(&policy, &text).expect("written");

    // A byte at the end of a data file, where Parquet's own footer stays readable.
    let (cn, _) = told(&home, &["cnc.state/0/0"]);
    let file = home.data().join("cn/cnc_state").join(cn["rows"][0]["file"].as_str().expect("a file"));
    let mut bytes = std::fs::read(&file).expect("a file");
    // The first byte of the magic number in front, which no reader looks at.
    bytes[0] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    let (cn, code) = told(&home, &["cnc.state/0/0"]);
    assert_eq!(code, Some(1), "{cn:#}");
    assert!(cn["findings"][0].as_str().expect("a text").contains("SHA-256"), "{cn:#}");

    // The table is gone: its receipt counts a record that is nowhere.
    std::fs::rename(home.data().join("cn/cnc_state"), home.data().join("away")).expect("moved");
    let (cn, code) = told(&home, &["cnc.state/0/0"]);
    assert_eq!((code, &cn["state"]), (Some(1), &"missing".into()), "{cn:#}");
}

#[test]
fn a_release_is_told_with_who_and_by_which_policy() {
    let home = filled();
    change_policy(&home, |text| text.replacen("[st-cnc-001,", "[who-knows, st-cnc-001,", 1));
    let mut release = situs();
    release.args(["quarantine", "release", "--config"]).arg(home.site());
    let output = release.args(["cnc.state/0/2", "--by", "J. Doe"]).output().expect("situs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (told, code) = told(&home, &["cnc.state/0/2"]);
    assert_eq!(
        (code, &told["state"], &told["verdict"]),
        (Some(0), &"released".into(), &"equal".into()),
        "{told:#}"
    );
    assert_eq!((&told["release"]["by"], &told["release"]["zones"]["EU"]), (&"J. Doe".into(), &1.into()));
    assert_eq!(told["quarantine"][0]["recomputed"], "unknown-device", "by the policy of then");
    assert_eq!(told["rows"][0]["tags"]["_policy"], told["release"]["policy"]);
    assert_ne!(told["release"]["policy"], told["receipt"]["policy"]);
}
