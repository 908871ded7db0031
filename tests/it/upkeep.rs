//! Maintenance through the built binary: the verbs, and the scheduler of `situs run`.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Home, situs, state};

const TOPIC: &str = "cnc.state";
const ROWS: &str = "select count(*) from eu.cnc_state";

/// A home with three files of one day that is long over, whose site says this of maintenance.
fn three_files(maintenance: &str) -> Home {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let site = fs::read_to_string(home.site()).expect("site.yaml");
    // Unless a turn is asked for, none comes while the files are made.
    fs::write(home.site(), format!("{site}maintenance: {{ every: 1h }}\n")).expect("site.yaml");
    for round in 0..3 {
        let messages: Vec<_> = (0..20).map(|n| Some(state("st-cnc-001", round * 20 + n))).collect();
        home.send(TOPIC, 0, &messages);
        home.catch_up();
    }
    fs::write(home.site(), format!("{site}maintenance: {maintenance}\n")).expect("site.yaml");
    assert_eq!(files(&home), 3);
    assert_eq!(leases(&home), 0, "a process that has ended holds none");
    home
}

/// The files of the day that all messages are of.
fn files(home: &Home) -> usize {
    fs::read_dir(home.data().join("eu/cnc_state/event_date=2026-03-01")).expect("the day").count()
}

fn leases(home: &Home) -> usize {
    fs::read_dir(home.data().join("eu/_situs_leases")).expect("the leases").count()
}

/// Runs `situs store`; its lines.
fn store(home: &Home, arguments: &[&str]) -> Vec<String> {
    let (verb, options) = arguments.split_first().expect("a verb");
    let output = situs()
        .args(["store", verb, "--config"])
        .arg(home.site())
        .args(options)
        .output()
        .expect("situs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_verbs_put_files_together_and_remove_the_old_ones() {
    let home = three_files("{ sealed-after: 1ms }");
    let only = ["--zone", "EU", "--table", "cnc_state"];
    let lines = store(&home, &[&["optimize", "--json"], &only[..]].concat());
    let done: Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!(
        (lines.len(), &done["replaced"]["files"], &done["written"]["files"]),
        (1, &3.into(), &1.into())
    );
    assert_eq!((&done["rows"], &done["sorted"]), (&60.into(), &1.into()));
    assert_eq!((home.number(ROWS), files(&home)), (60, 4));
    assert_eq!(store(&home, &[&["optimize"], &only[..]].concat()), ["EU cnc_state: nothing to put together"]);

    // The site keeps files for a week.
    let lines = store(&home, &[&["vacuum"], &only[..]].concat());
    assert!(lines[0].starts_with("EU cnc_state: removed 0 replaced files"), "{lines:?}");
    let lines = store(&home, &[&["vacuum", "--dry-run", "--retention", "0s"], &only[..]].concat());
    assert_eq!((lines.len(), files(&home)), (4, 4));
    assert!(lines[0].starts_with("cnc_state/event_date=2026-03-01/"), "{lines:?}");
    assert!(lines[3].starts_with("EU cnc_state: would remove 3 replaced files"), "{lines:?}");
    store(&home, &["vacuum", "--retention", "0s"]);
    assert_eq!((home.number(ROWS), files(&home), leases(&home)), (60, 1, 0));

    // Intake goes on where it was.
    home.send(TOPIC, 0, &[Some(state("st-cnc-001", 60))]);
    home.catch_up();
    assert_eq!(home.number(ROWS), 61);
}

#[test]
fn what_cannot_be_maintained_is_refused() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    for (options, expected) in [
        (&["--zone", "US"][..], "no store of zone `US`"),
        (&["--table", "nothing"], "no store has a table `nothing`"),
        (&["--retention", "a week"], "expected a duration"),
    ] {
        let output = situs()
            .args(["store", "vacuum", "--config"])
            .arg(home.site())
            .args(options)
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_home_that_runs_looks_after_its_stores() {
    let home = three_files("{ every: 300ms, sealed-after: 1ms, retention: 1ms }");
    let mut child = situs()
        .args(["run", "--config"])
        .arg(home.site())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("situs starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while files(&home) > 1 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = files(&home);
    // What comes meanwhile is stored all the same.
    home.send(TOPIC, 0, &[Some(state("st-cnc-001", 60))]);
    while home.number(ROWS) < 61 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!((after, home.number(ROWS)), (1, 61));
    assert!(leases(&home) > 0, "a process that was killed gives nothing back");
}
