//! Re-tagging through the built binary, over stores that a run has filled.

use serde_json::{Value, json};

use crate::explain::change_policy;
use crate::home::{Home, explained, objects, run, situs, state, text};

const TOPIC: &str = "cnc.state";
/// A device of the EU zone whose rows get other tags.
const EU: &str = "st-cnc-001";
/// One that belongs to the other zone by the new policy.
const MOVES: &str = "st-cnc-002";
/// One of the CN zone that the new policy does not know.
const GONE: &str = "nn-cnc-001";

/// A home whose topic has, by turns, messages of the three devices; the n-th says a speed of n and a half.
fn filled() -> Home {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let devices = [EU, MOVES, GONE];
    let messages: Vec<_> = (0..30).map(|n| Some(state(devices[n % 3], n))).collect();
    home.send(TOPIC, 0, &messages);
    home.catch_up();
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 20);
    assert_eq!(home.number("select count(*) from cn.cnc_state"), 10);
    home
}

/// Fast rows of EU become important and feed no model; one device is another zone's, and one nobody's.
fn with_another_policy(home: &Home) {
    change_policy(home, |text| {
        let rule = "  - id: eu-fast\n    jurisdictions: [EEA@2020-02-01]\n    when: spindle_speed > 20\n    \
                    zone: EU\n    class: important\n    basis: contract\n  - id: eu-important\n";
        text.replace("  - id: eu-important\n", rule)
            .replace("st-cnc-002, ", "")
            .replace("[nn-cnc-001, ", "[st-cnc-002, ")
    });
}

const ASKED: [&str; 6] = ["store", "retag", "--by", "J. Doe", "--reason", "the act of March"];

#[test]
fn rows_get_the_tags_of_a_new_policy_and_the_ledger_tells_of_it() {
    let home = filled();
    let nothing = run(&home, &[&ASKED[..], &["--dry-run"]].concat());
    assert!(text(&nothing).contains("EU: cnc_state: no row of 20 has other tags"), "{}", text(&nothing));
    let before = home.sql("select * from eu.cnc_state order by _offset");
    with_another_policy(&home);

    let dry = run(&home, &[&ASKED[..], &["--dry-run"]].concat());
    assert!(dry.status.success(), "{}", text(&dry));
    for told in [
        "EU: cnc_state: would tag again 3 of 20 rows by policy",
        "    class important: 0 before, 3 afterwards",
        "    training prohibited: 0 before, 3 afterwards",
        "    model spindle-wear: 20 before, 17 afterwards",
        "  10 rows keep their tags: they would live in zone CN and stay where they are",
        "CN: cnc_state: no row of 10 has other tags",
        "  10 rows keep their tags: they would go to quarantine (unknown-device) and stay where they are",
    ] {
        assert!(text(&dry).contains(told), "{told}: {}", text(&dry));
    }
    assert_eq!(home.sql("select * from eu.cnc_state order by _offset"), before);
    home.verify();

    let done = run(&home, &[&ASKED[..], &["--json"]].concat());
    assert!(done.status.success(), "{}", text(&done));
    let of_eu = objects(&done).into_iter().find(|of| of["zone"] == "EU").expect("EU");
    let id = of_eu["retag"].as_str().expect("an id").to_owned();
    assert_eq!((&of_eu["body"]["retagged"], &of_eu["body"]["looked"]), (&3.into(), &20.into()), "{of_eu:#}");
    assert_eq!(of_eu["body"]["after"]["_class"]["important"], 3);

    // The rows are there with their data, and these three have other tags.
    let count =
        |condition: &str| home.number(&format!("select count(*) from eu.cnc_state where {condition}"));
    assert_eq!(count("_class = 'important'"), 3);
    assert_eq!(count("_class = 'important' and _training = 'prohibited' and _models is null"), 3);
    assert_eq!(count("_class = 'general' and _training = 'in-zone'"), 17);
    let policy = of_eu["policy"].as_str().expect("a version").to_owned();
    assert_eq!(count(&format!("_policy = '{policy}'")), 3);
    let tags = ["_rule", "_policy", "_class", "_training", "_models", "_markets"];
    let after = home.sql("select * from eu.cnc_state order by _offset");
    for (old, new) in before.iter().zip(&after) {
        let changes = new["device"] == EU && new["spindle_speed"].as_f64().is_some_and(|speed| speed > 20.0);
        for (column, value) in old {
            let same = *value == new[column];
            assert_eq!(same, !(changes && tags.contains(&column.as_str())), "{column}: {new:?}");
        }
    }
    assert_eq!(home.sql("select _zone, _policy from cn.cnc_state group by 1, 2").len(), 1);

    let entries = home.sql("select kind, subject, said_by, policy, body from eu.ledger order by number");
    let [entry] = entries.as_slice() else { panic!("one entry: {entries:?}") };
    assert_eq!((&entry["kind"], &entry["subject"]), (&"retagged".into(), &id.as_str().into()));
    assert_eq!((&entry["said_by"], &entry["policy"]), (&"J. Doe".into(), &policy.as_str().into()));
    let body: Value = serde_json::from_str(entry["body"].as_str().expect("a text")).expect("JSON");
    assert_eq!(body, of_eu["body"]);
    assert_eq!(body["reason"], "the act of March");
    assert_eq!((&body["before"]["_class"]["general"], &body["rows"]), (&20.into(), &20.into()));
    assert_eq!(body["stays"]["moves"], json!({ "CN": 10 }));
    assert!(!home.data().join("cn/ledger").exists(), "nothing was done there");

    let report = home.verify();
    let check = report["checks"].as_array().expect("checks").iter().find(|of| of["check"] == "retags");
    let figures = &check.expect("a check of re-taggings")["figures"];
    assert_eq!((&figures["re-taggings"], &figures["rows tagged again"]), (&1.into(), &3.into()), "{figures}");
    assert_eq!(figures["counts checked afterwards"], 1, "{figures}");

    // A re-tagged row is derived by the policy that it names, and the others as before.
    let (told, code) = explained(&home, "cnc.state/0/21");
    assert_eq!((code, &told["verdict"]), (Some(0), &"equal".into()), "{told:#}");
    let row = &told["rows"][0];
    assert_eq!((&row["retagged"]["id"], &row["retagged"]["by"]), (&id.as_str().into(), &"J. Doe".into()));
    assert_eq!(row["retagged"]["policy"], policy.as_str());
    assert_eq!(row["retagged"]["before"], told["receipt"]["policy"]);
    assert_ne!(told["receipt"]["policy"], policy.as_str());
    assert_eq!(row["rule"]["id"], "eu-fast");
    let people = text(&run(&home, &["explain", "cnc.state/0/21"]));
    assert!(people.contains(&format!("re-tagged      by {id} at ")), "{people}");
    for offset in 0..30 {
        let (told, code) = explained(&home, &format!("cnc.state/0/{offset}"));
        assert_eq!((code, &told["verdict"]), (Some(0), &"equal".into()), "{told:#}");
        let changes = offset % 3 == 0 && offset > 20;
        assert_eq!(told["rows"][0]["retagged"].is_object(), changes, "{offset}");
    }

    // Nothing is left to do; the run goes on by the new policy, and its rows have it already.
    let again = run(&home, &ASKED);
    assert!(text(&again).contains("EU: cnc_state: no row of 20 has other tags"), "{}", text(&again));
    home.send(TOPIC, 0, &[Some(state(EU, 40)), Some(state(EU, 4))]);
    home.catch_up();
    assert_eq!(count("_class = 'important'"), 4);
    let again = run(&home, &ASKED);
    assert!(text(&again).contains("EU: cnc_state: no row of 22 has other tags"), "{}", text(&again));
    home.verify();
    assert_eq!(home.sql("select kind from eu.ledger").len(), 1);
}

/// Puts all rows of a table, with other tags, into one file in the place of those that there are, as any
/// engine could.
fn change_by_hand(home: &Home, replace: &str, data_change: bool) {
    let table = home.data().join("eu/cnc_state");
    let mut command = situs();
    command.args(["sql", "--format", "parquet", "--data"]).arg(home.data());
    let columns = format!("select * exclude (event_date) replace ({replace}) from eu.cnc_state");
    let output = command.arg(&columns).output().expect("situs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = "event_date=2026-03-01/by-hand.parquet";
    std::fs::write(table.join(path), &output.stdout).expect("written");

    let log = table.join("_delta_log");
    let mut entries: Vec<_> =
        std::fs::read_dir(&log).expect("a log").map(|of| of.expect("one").path()).collect();
    entries.retain(|path| path.extension().is_some_and(|of| of == "json"));
    entries.sort();
    let mut live = std::collections::BTreeSet::new();
    for entry in &entries {
        for line in std::fs::read_to_string(entry).expect("an entry").lines() {
            let action: Value = serde_json::from_str(line).expect("JSON");
            if let Some(path) = action["remove"]["path"].as_str() {
                live.remove(path);
            }
            live.extend(action["add"]["path"].as_str().map(str::to_owned));
        }
    }
    let rows = home.number("select count(*) from eu.cnc_state");
    let mut lines = vec![json!({ "add": {
        "path": path, "size": output.stdout.len(), "dataChange": data_change, "modificationTime": 0,
        "partitionValues": { "event_date": "2026-03-01" }, "stats": json!({ "numRecords": rows }).to_string(),
    } })];
    lines.extend(live.iter().map(
        |path| json!({ "remove": { "path": path, "dataChange": data_change, "deletionTimestamp": 0 } }),
    ));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(log.join(format!("{:020}.json", entries.len())), text).expect("written");
}

#[test]
fn tags_that_were_changed_by_hand_are_found_before_and_after_a_retagging() {
    let verify = |home: &Home| {
        let output = run(home, &["store", "verify"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    let home = filled();
    change_by_hand(&home, "'allowed' as _training", true);
    assert!(verify(&home).contains("was removed by a commit that changes the table's data"));

    let home = filled();
    with_another_policy(&home);
    assert!(run(&home, &ASKED).status.success());
    home.verify();
    // A policy that a re-tagging gave, and not to these rows: it looks like a compaction.
    let policy = home.sql("select _policy from eu.cnc_state where _class = 'important'");
    let policy = policy[0]["_policy"].as_str().expect("a version").to_owned();
    change_by_hand(&home, &format!("'{policy}' as _policy"), false);
    assert!(verify(&home).contains("more rows have policy"), "{}", verify(&home));

    let home = filled();
    with_another_policy(&home);
    assert!(run(&home, &ASKED).status.success());
    change_by_hand(&home, "'allowed' as _training", false);
    // Of the tags themselves only who judges again can tell.
    let (told, code) = explained(&home, "cnc.state/0/21");
    assert_eq!((code, &told["verdict"]), (Some(1), &"flagged".into()), "{told:#}");
    let finding = "row 0: _training is `allowed`, judged again it is `prohibited`";
    assert!(told["findings"].as_array().expect("findings").contains(&finding.into()), "{told:#}");
}

#[test]
fn what_is_asked_for_a_retagging_must_be_whole() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    for (arguments, what) in [
        (&["store", "retag"][..], "--by"),
        (&["store", "retag", "--by", "x", "--reason", "y", "--zone", "US"][..], "no store of zone `US`"),
        (
            &["store", "retag", "--by", "x", "--reason", "y", "--pipeline", "cnc-stat"][..],
            "no pipeline `cnc-stat`",
        ),
        (&["store", "retag", "--finish", "--dry-run"][..], "cannot be used with"),
    ] {
        let output = run(&home, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(what), "{what}: {}", text(&output));
    }
    let nothing = run(&home, &ASKED);
    assert!(nothing.status.success() && text(&nothing).is_empty(), "{}", text(&nothing));
    assert!(run(&home, &["store", "retag", "--finish"]).status.success());
}
