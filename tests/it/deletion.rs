//! Deletion, holds and retention through the built binary, over stores that a run has filled.

use std::process::Output;

use serde_json::Value;

use crate::home::{Home, explained, objects, project, run, situs, state, text};

const TOPIC: &str = "cnc.state";
/// A row of 2026-03-01, of a device in the EU zone.
const EU: &str = "st-cnc-001";
/// The same in the CN zone.
const CN: &str = "nn-cnc-001";

fn hold(home: &Home, verb: &str, rest: &[&str]) -> Output {
    let mut command = situs();
    command.args(["store", "hold", verb, "--config"]).arg(home.site()).args(rest);
    command.output().expect("situs runs")
}

/// A home whose topic has, by turns, messages of two devices of EU, one of CN, and one that cannot be read.
fn filled() -> Home {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let messages: Vec<_> = (0..40)
        .map(|n| {
            Some(match n % 4 {
                0 => state(EU, n),
                1 => state("st-cnc-002", n),
                2 => state(CN, n),
                _ => b"{".to_vec(),
            })
        })
        .collect();
    home.send(TOPIC, 0, &messages);
    home.catch_up();
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 20);
    assert_eq!(home.number("select count(*) from cn.cnc_state"), 10);
    home
}

/// Gives a home a policy of its own with a part more.
fn add_to_policy(home: &Home, part: &str) {
    let path = home.site().with_file_name("policy.yaml");
    let policy = std::fs::read_to_string(project().join("pipelines/policy.yaml")).expect("a policy");
    std::fs::write(&path, format!("{}\n{part}", policy.trim_end())).expect("written");
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let line = |line: &str| match line.starts_with("policy: ") {
        true => format!("policy: {}\n", path.display()),
        false => format!("{line}\n"),
    };
    std::fs::write(home.site(), site.lines().map(line).collect::<String>()).expect("written");
}

#[test]
fn a_device_is_deleted_proven_and_does_not_come_back() {
    let home = filled();
    let asked = ["store", "delete", "--device", EU, "--by", "J. Doe", "--reason", "the machine was sold"];

    let dry = run(&home, &[&asked[..], &["--dry-run"]].concat());
    assert!(dry.status.success(), "{}", text(&dry));
    assert!(text(&dry).contains("20 rows before, 10 would go"), "{}", text(&dry));
    assert!(text(&dry).contains("CN: no row to delete"), "{}", text(&dry));
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 20);

    let done = run(&home, &[&asked[..], &["--json"]].concat());
    assert!(done.status.success(), "{}", text(&done));
    let of_eu = objects(&done).into_iter().find(|of| of["zone"] == "EU").expect("EU");
    let partition = &of_eu["body"]["tables"][0]["partitions"][0];
    let counts = ["before", "deleted", "after"].map(|name| partition[name].as_u64());
    assert_eq!(counts, [Some(20), Some(10), Some(10)]);
    assert_eq!(of_eu["body"]["tables"][0]["found"], 0);
    let id = of_eu["deletion"].as_str().expect("an id").to_owned();

    // The rows are gone, and no other is; nothing of it is a violation.
    assert_eq!(home.number("select count(*) from eu.cnc_state where device = 'st-cnc-002'"), 10);
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 10);
    assert_eq!(home.number("select count(*) from cn.cnc_state"), 10);
    home.verify();
    let entries = home.sql("select kind, subject, said_by, body from eu.ledger");
    assert_eq!((&entries[0]["kind"], &entries[0]["subject"]), (&"deleted".into(), &id.as_str().into()));
    assert!(entries[0]["body"].as_str().expect("text").contains("the machine was sold"));
    assert!(entries[0]["said_by"] == "J. Doe");

    // A deleted record is explained as such; another is as before.
    let (gone, code) = explained(&home, "cnc.state/0/4");
    assert_eq!((&gone["state"], code), (&"deleted".into(), Some(0)), "{gone:#}");
    assert_eq!(gone["deletions"][0]["id"], id.as_str());
    assert_eq!(
        (&gone["deletions"][0]["by"], &gone["deletions"][0]["bytes_gone_at"]),
        (&"J. Doe".into(), &Value::Null)
    );
    let (there, code) = explained(&home, "cnc.state/0/5");
    assert_eq!((&there["state"], code), (&"stored".into(), Some(0)), "{there:#}");

    // The next run does not bring it back, and goes on.
    home.send(TOPIC, 0, &[Some(state("st-cnc-002", 40))]);
    home.catch_up();
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 11);

    // The bytes go when it is asked for, and that is told once.
    let finished = run(&home, &["store", "delete", "--finish", "--now"]);
    assert!(text(&finished).contains("the bytes are gone"), "{}", text(&finished));
    assert_eq!(home.sql("select kind from eu.ledger where kind = 'bytes-gone'").len(), 1);
    let again = run(&home, &["store", "delete", "--finish", "--now"]);
    assert!(!text(&again).contains("bytes"), "{}", text(&again));
    home.verify();
    let (gone, _) = explained(&home, "cnc.state/0/4");
    assert!(gone["deletions"][0]["bytes_gone_at"].is_string(), "{gone:#}");
    let repeated = run(&home, &asked);
    assert!(text(&repeated).contains("EU: no row to delete"), "{}", text(&repeated));
}

#[test]
fn a_hold_refuses_a_deletion_until_it_is_lifted() {
    let home = filled();
    let held =
        hold(&home, "set", &["--id", "case-7", "--topic", TOPIC, "--by", "counsel", "--reason", "claim 7"]);
    assert!(held.status.success(), "{}", text(&held));
    let listed = hold(&home, "list", &[]);
    assert!(text(&listed).contains("EU: hold `case-7` on topic cnc.state"), "{}", text(&listed));

    let asked = ["store", "delete", "--topic", TOPIC, "--by", "J. Doe", "--reason", "done with it"];
    let refused = run(&home, &asked);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("refused: hold `case-7` is on"), "{}", text(&refused));
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 20);
    home.verify();

    let lifted = hold(&home, "lift", &["--id", "case-7", "--by", "counsel", "--reason", "settled"]);
    assert!(lifted.status.success(), "{}", text(&lifted));
    assert_eq!(hold(&home, "lift", &["--id", "case-7", "--by", "c", "--reason", "r"]).status.code(), Some(2));
    let done = run(&home, &asked);
    assert!(done.status.success(), "{}", text(&done));
    // A topic's messages in quarantine go too.
    for table in ["eu.cnc_state", "cn.cnc_state", "quarantine"] {
        assert_eq!(home.number(&format!("select count(*) from {table}")), 0, "{table}");
    }
    home.verify();
    let (gone, code) = explained(&home, "cnc.state/0/3");
    assert_eq!((&gone["state"], code), (&"deleted".into(), Some(0)), "{gone:#}");
    assert_eq!(gone["deletions"][0]["table"], "quarantine");
}

/// The id of a device is told in no ledger of a zone that has nothing to do with it.
#[test]
fn a_hold_on_a_device_is_entered_only_where_its_rows_may_lie() {
    let home = filled();
    let set = |id: &str, rest: &[&str]| {
        let output =
            hold(&home, "set", &[&["--id", id, "--by", "counsel", "--reason", "claim 7"], rest].concat());
        (output.status.code(), text(&output))
    };
    let holds = |zone: &str| -> Vec<String> {
        let folder = home.data().join(zone).join("ledger");
        let rows = match folder.exists() {
            true => {
                home.sql(&format!("select subject from {zone}.ledger where kind = 'hold-set' order by 1"))
            }
            false => Vec::new(),
        };
        rows.iter().map(|row| row["subject"].as_str().expect("a name").to_owned()).collect()
    };
    let (code, told) = set("case-1", &["--device", EU]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("EU: hold `case-1` is on device st-cnc-001") && told.contains("CN: not asked"),
        "{told}"
    );
    assert_eq!((holds("eu"), holds("cn")), (vec!["case-1".to_owned()], Vec::new()));
    assert_eq!(set("case-2", &["--device", CN]).0, Some(0));
    assert_eq!((holds("eu").len(), holds("cn")), (1, vec!["case-2".to_owned()]));

    // Nobody knows where such a device may be; whoever asks can say.
    let (code, told) = set("case-3", &["--device", "who-knows"]);
    assert!(
        code == Some(2) && told.contains("no store has a row of it") && told.contains("`--zone`"),
        "{told}"
    );
    assert_eq!((holds("eu").len(), holds("cn").len()), (1, 1));
    assert_eq!(set("case-3", &["--device", "who-knows", "--zone", "EU"]).0, Some(0));
    assert_eq!((holds("eu").len(), holds("cn").len()), (2, 1));

    // It is moved to another zone: it may lie there now, and its rows lie here still.
    add_to_policy(&home, "");
    let path = home.site().with_file_name("policy.yaml");
    let policy = std::fs::read_to_string(&path).expect("a policy");
    let moved = policy.replacen("nn-cnc-001, ", "", 1).replacen("[st-", "[nn-cnc-001, st-", 1);
    assert_ne!(moved, policy);
    std::fs::write(&path, &moved).expect("written");
    assert_eq!(set("case-4", &["--device", CN]).0, Some(0));
    let at = |zone: &str| holds(zone).contains(&"case-4".to_owned());
    assert!(at("eu") && at("cn"), "{:?} {:?}", holds("eu"), holds("cn"));
    // It is registered no more, and only its rows tell of it.
    std::fs::write(&path, policy.replacen("nn-cnc-001, ", "", 1)).expect("written");
    let (code, told) = set("case-5", &["--device", CN]);
    assert!(code == Some(2) && told.contains("(rows of it lie in CN)"), "{told}");
    // What has no device is on every store, as before.
    assert_eq!(set("case-6", &["--topic", TOPIC]).0, Some(0));
    assert!(holds("eu").contains(&"case-6".to_owned()) && holds("cn").contains(&"case-6".to_owned()));
    home.verify();
}

#[test]
fn retention_keeps_what_is_young_and_deletes_what_is_old() {
    let home = filled();
    // All rows are of 2026-03-01.
    add_to_policy(&home, "retention:\n  - { pipelines: [cnc-state], at-least: 90y }\n");
    let asked = ["store", "delete", "--device", CN, "--by", "J. Doe", "--reason", "a person's wish"];
    let refused = run(&home, &asked);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("(at-least 90y) keeps them"), "{}", text(&refused));
    let nothing = run(&home, &["store", "retain", "--by", "J. Doe"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", text(&nothing));

    let despite = run(&home, &[&asked[..], &["--despite-minimum", "a legal duty", "--json"]].concat());
    assert!(despite.status.success(), "{}", text(&despite));
    let of_cn = objects(&despite).into_iter().find(|of| of["zone"] == "CN").expect("CN");
    assert_eq!(of_cn["body"]["despite_minimum"]["rows"], 10);
    assert_eq!(home.number("select count(*) from cn.cnc_state"), 0);

    add_to_policy(
        &home,
        "retention:\n  - { pipelines: [cnc-state], class: core, at-most: 1d }\n  - { pipelines: [cnc-state], at-most: 2d }\n",
    );
    let dry = run(&home, &["store", "retain", "--by", "J. Doe", "--dry-run"]);
    assert!(text(&dry).contains("20 rows before, 20 would go"), "{}", text(&dry));
    let done = run(&home, &["store", "retain", "--by", "J. Doe"]);
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 0);
    // Messages of quarantine are of no pipeline.
    assert_eq!(home.number("select count(*) from quarantine"), 10);
    home.verify();

    add_to_policy(&home, "retention:\n  - { pipelines: [cnc-stat], at-least: 2y, at-most: 30d }\n");
    let broken = run(&home, &["store", "retain", "--by", "J. Doe"]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(text(&broken).contains("keeps rows at least 2y and at most 30d"), "{}", text(&broken));
}

/// Neither by name nor by a criterion that would be true of their rows.
#[test]
fn nothing_deletes_from_receipts_and_ledgers() {
    let home = filled();
    for table in ["receipts", "releases", "ledger", "cnc_state_received"] {
        let asked = ["--topic", "cnc.state", "--table", table, "--by", "J. Doe", "--reason", "r"];
        let output = run(&home, &[&["store", "delete"], asked.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("`{table}` is Situs's own, and nothing deletes from it")), "{said}");
    }
    let receipts = home.number("select count(*) from receipts");
    let output = run(&home, &["store", "delete", "--topic", "cnc.state", "--by", "J. Doe", "--reason", "r"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(home.number("select count(*) from receipts"), receipts);
    home.verify();
}

#[test]
fn what_is_asked_must_be_whole() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let by = ["--by", "x", "--reason", "y"];
    for (arguments, what) in [
        (&["store", "delete"][..], "what shall be deleted"),
        (&["store", "delete", "--site", "x", "--class", "secret"][..], "--class: expected one of"),
        (&["store", "delete", "--before", "yesterday"][..], "a day such as"),
        (&["store", "delete", "--site", "x", "--zone", "US"][..], "no store of zone `US`"),
    ] {
        let output = run(&home, &[arguments, &by].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(what), "{}", text(&output));
    }
    let nothing = run(&home, &[&["store", "delete", "--site", "x"], &by[..]].concat());
    assert!(nothing.status.success() && text(&nothing).contains("no row to delete"), "{}", text(&nothing));
}

#[test]
fn a_revoked_source_is_traced_before_and_after_its_deletion() {
    let home = filled();
    let trace = |arguments: &[&str]| {
        let output = run(&home, &[&["evidence", "trace"], arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("one JSON object")
    };
    let marks = |trace: &Value, about: &str| -> Vec<String> {
        let statements = trace["statements"].as_array().expect("statements").iter();
        let of_it = statements.filter(|statement| statement["about"] == about);
        of_it.map(|statement| statement["mark"].as_str().expect("a mark").to_owned()).collect()
    };
    let before = trace(&["--device", EU]);
    let [table] = &before["tables"].as_array().expect("tables")[..] else { panic!("{before:#}") };
    assert_eq!(
        (&table["zone"], &table["table"], &table["rows"]),
        (&"EU".into(), &"cnc_state".into(), &10.into())
    );
    assert_eq!(table["days"]["2026-03-01"], 10);
    assert_eq!(table["partitions"]["cnc.state/0"], 10);
    let by_tags = home.sql(
        "select m, count(*) as n from (select unnest(_models) as m from eu.cnc_state where device = 'st-cnc-001') group by 1",
    );
    for row in &by_tags {
        assert_eq!(table["models"][row["m"].as_str().expect("a model")], row["n"], "{table:#}");
    }
    assert_eq!(table["models"].as_object().expect("models").len(), by_tags.len());
    assert_eq!(marks(&before, "quarantine"), ["not-assessed"]);
    assert!(marks(&before, "deletion").is_empty());
    assert_eq!(marks(&before, "training"), ["not-assessed"]);

    let deleted = run(&home, &["store", "delete", "--device", EU, "--by", "J. Doe", "--reason", "revoked"]);
    assert!(deleted.status.success(), "{}", text(&deleted));
    let after = trace(&["--device", EU]);
    assert_eq!(after["tables"], Value::Array(Vec::new()));
    assert_eq!(marks(&after, "deletion"), ["measured"]);
    // Another device's trace cannot know whose rows that deletion took.
    let other = trace(&["--device", "st-cnc-002"]);
    assert_eq!(
        (&other["tables"][0]["rows"], &marks(&other, "deletion")[..]),
        (&10.into(), &["not-assessed".to_owned()][..])
    );
    // By topic, quarantine is looked at.
    let topic = trace(&["--topic", TOPIC]);
    let rows: Vec<_> =
        topic["tables"].as_array().expect("tables").iter().map(|table| &table["rows"]).collect();
    assert_eq!(rows, [10, 10, 10], "{topic:#}");
    let people = run(&home, &["evidence", "trace", "--topic", TOPIC]);
    assert!(text(&people).ends_with("topic cnc.state: 30 rows in 3 tables\n"), "{}", text(&people));
}

/// A message that came before its device was registered lies in quarantine, whole, after its release too.
#[test]
fn a_released_message_goes_with_its_rows() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    home.send(TOPIC, 0, &[Some(state(EU, 0)), Some(state("st-new-001", 1)), Some(state("who-knows", 2))]);
    home.catch_up();
    let path = home.site().with_file_name("policy.yaml");
    add_to_policy(&home, "");
    let policy = std::fs::read_to_string(&path).expect("a policy");
    let registered = policy.replacen("[st-cnc-001,", "[st-new-001, st-cnc-001,", 1);
    assert_ne!(registered, policy);
    std::fs::write(&path, registered).expect("written");
    let released = run(&home, &["quarantine", "release", "--all", "--by", "somebody"]);
    assert!(released.status.success(), "{}", text(&released));
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 2);
    assert_eq!(home.number("select count(*) from quarantine"), 2);
    home.verify();

    let deleted =
        run(&home, &["store", "delete", "--device", "st-new-001", "--by", "J. Doe", "--reason", "sold"]);
    assert!(deleted.status.success(), "{}", text(&deleted));
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 1);
    let left = home.sql("select \"offset\" from quarantine");
    assert_eq!(left.iter().map(|row| row["offset"].as_i64()).collect::<Vec<_>>(), [Some(2)]);
    home.verify();
    let (gone, code) = explained(&home, "cnc.state/0/1");
    assert_eq!((&gone["state"], code), (&"deleted".into(), Some(0)), "{gone:#}");
    assert_eq!(gone["deletions"].as_array().map(Vec::len), Some(2));
}
