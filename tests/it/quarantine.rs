//! Quarantine from end to end: poison, and the verbs that list, show and release.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::home::{Home, project, situs, state};

const TOPIC: &str = "cnc.state";

/// What the policy needs to know of a device that came before its registration.
fn register(home: &Home, device: &str) {
    edit_policy(home, "devices:\n      [st-cnc-001,", &format!("devices:\n      [{device}, st-cnc-001,"));
}

/// Gives a home a policy of its own, with a change.
fn edit_policy(home: &Home, right: &str, changed: &str) {
    let path = home.site().with_file_name("policy.yaml");
    let from = if path.exists() { path.clone() } else { project().join("pipelines/policy.yaml") };
    let text = std::fs::read_to_string(from).expect("a policy");
    assert!(text.contains(right), "no `{right}` to change");
    std::fs::write(&path, text.replacen(right, changed, 1)).expect("written");
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let site: Vec<String> = site
        .lines()
        .map(|line| {
            if line.starts_with("policy: ") { format!("policy: {}", path.display()) } else { line.to_owned() }
        })
        .collect();
    std::fs::write(home.site(), site.join("\n") + "\n").expect("written");
}

fn quarantine(home: &Home, arguments: &[&str]) -> Output {
    let (verb, rest) = arguments.split_first().expect("a verb");
    let mut command = situs();
    command.args(["quarantine", verb, "--config"]).arg(home.site()).args(rest);
    command.output().expect("situs runs")
}

/// The lines of a command that went well.
fn lines(home: &Home, arguments: &[&str]) -> Vec<String> {
    let output = quarantine(home, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

fn objects(home: &Home, arguments: &[&str]) -> Vec<Value> {
    let text = lines(home, &[arguments, &["--json"]].concat());
    text.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// DataFusion's `lpad` panics at a negative length, so with this rule a message of line -1 is poison.
#[test]
fn poison_is_quarantined_and_its_neighbours_go_on() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let rule =
        "rules:\n  - id: padded\n    when: lpad(device, line) = 'x'\n    zone: CN\n    basis: voluntary\n";
    edit_policy(&home, "rules:\n", rule);
    let poison =
        br#"{"device":"st-cnc-001","timestamp":"2026-03-01T12:00:00Z","line":-1,"program":"canary-7421"}"#;
    let mut messages: Vec<_> = (0..300).map(|n| Some(state("st-cnc-001", n))).collect();
    for at in [0, 150, 151, 299] {
        messages[at] = Some(poison.to_vec());
    }
    home.send(TOPIC, 0, &messages);
    let output =
        situs().args(["run", "--until-caught-up", "--config"]).arg(home.site()).output().expect("runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    // RES-5: the log names the message and where the step panicked, and quotes nothing.
    assert!(log.contains("poison") && log.contains("panicked at"), "{log}");
    assert!(!log.contains("canary-7421") && !log.contains("st-cnc-001"), "{log}");
    assert!(!log.contains("failed to round"), "the text of the panic: {log}");

    assert_eq!(home.number("select count(*) from eu.cnc_state"), 296);
    let distinct = "select count(*) from (select distinct _offset from eu.cnc_state where _offset not in (0, 150, 151, 299))";
    assert_eq!(home.number(distinct), 296);
    let found = home.sql("select \"offset\", reason, rows from quarantine order by 1");
    let offsets: Vec<_> = found.iter().map(|row| row["offset"].as_i64().expect("a number")).collect();
    assert_eq!(offsets, [0, 150, 151, 299]);
    assert!(found.iter().all(|row| row["reason"] == "poison" && row["rows"] == 0), "{found:?}");
    let receipts = home.sql(
        "select sum(messages) as m, sum(decoded) as d, sum(rejected) as r, sum(stored_messages) as s, sum(quarantined_messages) as q from receipts",
    );
    let count = |name: &str| receipts[0][name].as_i64().expect("a number");
    assert_eq!(
        ["m", "d", "r", "s", "q"].map(count),
        [300, 296, 4, 296, 4],
        "EO-1 and EO-2 hold with poison among the rejects"
    );

    // Under today's policy, without the rule, they are no poison.
    edit_policy(&home, rule, "rules:\n");
    let released = lines(&home, &["release", "--reason", "poison", "--by", "somebody"]);
    assert_eq!(
        released.last().expect("a summary"),
        "4 messages released with 4 rows, 0 stay, 0 were released before"
    );
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 300);
    home.verify();
}

#[test]
fn a_message_of_an_unknown_device_is_released_once_it_is_registered() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 2)]);
    let broken = br#"{"device":"st-new-001","timestamp":"#.to_vec();
    home.send(
        TOPIC,
        0,
        &[
            Some(state("st-cnc-001", 0)),
            Some(state("st-new-001", 1)),
            Some(state("who-knows", 2)),
            Some(broken),
            Some(state("st-new-001", 4)),
            None,
        ],
    );
    home.send(TOPIC, 1, &[Some(state("st-new-001", 0))]);
    home.catch_up();

    let listed = lines(&home, &["list"]);
    assert_eq!(listed.last().expect("a summary"), "6 of 6 messages");
    assert!(listed.iter().any(|line| line.starts_with("cnc.state/0/1 ") && line.contains("unknown-device")));
    assert!(!listed.concat().contains("st-new-001"), "a list never shows payload");
    let of = |arguments: &[&str]| -> Vec<i64> {
        let mut offsets: Vec<i64> =
            objects(&home, arguments).iter().map(|line| line["offset"].as_i64().expect("a number")).collect();
        offsets.sort_unstable();
        offsets
    };
    assert_eq!(of(&["list", "--reason", "unknown-device", "--partition", "0"]), [1, 2, 4]);
    assert_eq!(of(&["list", "--topic", "cnc.state", "--reason", "tombstone"]), [5]);
    assert_eq!(of(&["list", "--pipeline", "cnc-waveform"]), Vec::<i64>::new());
    assert_eq!(of(&["list", "--since", "2000-01-01", "--limit", "2"]).len(), 2);
    assert_eq!(of(&["list", "--since", "2999-01-01"]), Vec::<i64>::new());

    let shown = lines(&home, &["show", "cnc.state/0/1"]).join("\n");
    assert!(shown.contains("unknown-device") && shown.contains("held"), "{shown}");
    assert!(!shown.contains("st-new-001") && !shown.contains("t-1"), "{shown}");
    assert!(lines(&home, &["show", "cnc.state/0/1", "--headers"]).join("\n").contains("t-1"));
    let payload = quarantine(&home, &["show", "cnc.state/0/1", "--payload"]);
    assert_eq!(payload.stdout, state("st-new-001", 1));
    assert_eq!(quarantine(&home, &["show", "cnc.state/0/0"]).status.code(), Some(1));
    assert_eq!(quarantine(&home, &["list", "--reason", "unknown-devise"]).status.code(), Some(2));
    assert_eq!(quarantine(&home, &["release", "--all"]).status.code(), Some(2), "--by is missing");

    // Nothing can be placed yet.
    let before = objects(&home, &["release", "--all", "--dry-run"]);
    assert_eq!(before.len(), 6);
    assert!(
        before.iter().all(|line| line["outcome"] == "stays" && line["why"] == line["reason"]),
        "{before:?}"
    );
    register(&home, "st-new-001");
    let dry = objects(&home, &["release", "--reason", "unknown-device", "--dry-run"]);
    let would: Vec<_> = dry.iter().filter(|line| line["outcome"] == "would-release").collect();
    assert_eq!((dry.len(), would.len()), (4, 3));
    assert!(would.iter().all(|line| line["zones"]["EU"] == 1));
    let tables = names(&home.data().join("eu"));
    assert!(!tables.contains(&"releases".to_owned()), "telling changes nothing: {tables:?}");
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 1);

    let by = ["--by", "j.doe"];
    let one = lines(&home, &[&["release", "cnc.state/0/4"], &by[..]].concat());
    assert!(
        one[0].starts_with("cnc.state/0/4 unknown-device: released to EU (1 row) by release-"),
        "{one:?}"
    );
    let all = lines(&home, &[&["release", "--all"], &by[..]].concat());
    assert_eq!(
        all.last().expect("a summary"),
        "2 messages released with 2 rows, 3 stay, 1 were released before"
    );
    let again = objects(&home, &[&["release", "cnc.state/0/1", "cnc.state/0/4"], &by[..]].concat());
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|line| line["outcome"] == "already-released"), "{again:?}");

    // Each is in its zone once, with its coordinates and times, and is shown as released.
    let rows = home.sql(
        "select t._partition, t._offset, t._row, t._topic, q.broker_time = t._broker_time as broker, \
         q.ingest_time = t._ingest_time as ingest, t._zone, t._policy = r.policy as policy, r.released_by, r.version \
         from eu.cnc_state t join quarantine q on q.\"offset\" = t._offset and q.\"partition\" = t._partition \
         join releases r on r.\"offset\" = t._offset and r.\"partition\" = t._partition and r.step = 'done' order by 1, 2",
    );
    let keys: Vec<_> = rows.iter().map(|row| (row["_partition"].as_i64(), row["_offset"].as_i64())).collect();
    assert_eq!(keys, [(Some(0), Some(1)), (Some(0), Some(4)), (Some(1), Some(0))]);
    for row in &rows {
        assert_eq!((&row["_row"], &row["_topic"], &row["_zone"]), (&0.into(), &TOPIC.into(), &"EU".into()));
        assert!(row["broker"] == true && row["ingest"] == true && row["policy"] == true, "{row:?}");
        assert!(row["released_by"] == "j.doe" && row["version"].as_i64() > Some(1), "{row:?}");
    }
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 4);
    assert_eq!(home.number("select count(*) from quarantine"), 6);
    assert_eq!(home.number("select count(*) from releases"), 6, "begun and done of each");
    let shown = objects(&home, &["show", "cnc.state/1/0"]);
    assert_eq!((&shown[0]["state"], &shown[0]["release"]["by"]), (&"released".into(), &"j.doe".into()));

    // The partition goes on where it was.
    home.send(TOPIC, 0, &[Some(state("st-new-001", 6))]);
    home.catch_up();
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 5);
    assert_eq!(lines(&home, &["release", "--resume"]), ["0 releases finished"]);
    home.verify();
}

/// Two commands at once, each for all messages.
#[test]
fn two_commands_release_each_message_once() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let messages: Vec<_> = (0..60).map(|n| Some(state("st-new-001", n))).collect();
    home.send(TOPIC, 0, &messages);
    home.catch_up();
    register(&home, "st-new-001");
    let start = || {
        let mut command = situs();
        command.args(["quarantine", "release", "--all", "--by", "x", "--config"]).arg(home.site());
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("starts")
    };
    for child in [start(), start()] {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(home.number("select count(*) from eu.cnc_state"), 60);
    assert_eq!(home.number("select count(distinct _offset) from eu.cnc_state"), 60);
    assert_eq!(home.number("select count(*) from releases"), 120);
    home.verify();
}

/// A process that died after the ledger's first commit, or after the zone's: what it began is finished under
/// the policy that it began with, whatever today's says.
#[test]
fn a_release_that_was_cut_off_is_finished_under_its_own_policy() {
    for zone_has_the_rows in [false, true] {
        let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
        home.send(TOPIC, 0, &[Some(state("st-cnc-001", 0)), Some(state("st-new-001", 1))]);
        home.catch_up();
        register(&home, "st-new-001");
        lines(&home, &["release", "--all", "--by", "j.doe"]);
        let policy = home.sql("select distinct policy from releases")[0]["policy"].clone();
        // Without the last entries all is as the process left it.
        let log = |table: &str| {
            let folder = home.data().join("eu").join(table).join("_delta_log");
            let entries = names(&folder).into_iter().filter(|name| name.ends_with(".json"));
            folder.join(entries.max().expect("an entry"))
        };
        std::fs::remove_file(log("releases")).expect("the ledger says that it was done");
        if !zone_has_the_rows {
            std::fs::remove_file(log("cnc_state")).expect("the rows were appended");
        }
        edit_policy(&home, "[st-new-001, st-cnc-001,", "[st-cnc-001,");
        let shown = objects(&home, &["show", "cnc.state/0/1"]);
        assert_eq!(shown[0]["state"], "unfinished");
        let dry = objects(&home, &["release", "--all", "--dry-run"]);
        assert_eq!(dry[0]["outcome"], "unfinished");

        let finished = lines(&home, &["release", "--resume"]);
        assert_eq!(finished.last().expect("a summary"), "1 releases finished");
        let rows = home.sql("select _offset, _policy from eu.cnc_state order by 1");
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!((&rows[1]["_offset"], &rows[1]["_policy"]), (&1.into(), &policy));
        let done = home.sql("select version from releases where step = 'done'");
        assert_eq!(done.len(), 1);
        assert_eq!(done[0]["version"].is_null(), zone_has_the_rows, "{done:?}");
        let again = lines(&home, &["release", "--all", "--by", "j.doe"]);
        assert!(again[0].contains("already released by release-"), "{again:?}");
        assert_eq!(home.number("select count(*) from eu.cnc_state"), 2);
        home.verify();
    }
}
