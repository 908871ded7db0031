//! `situs store verify` and `situs store key`, through the built binary.

use std::process::Output;

use serde_json::Value;

use crate::home::{Home, project, situs, state};

fn figure(report: &Value, check: &str, name: &str) -> u64 {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|found| found["check"] == check).expect("the check");
    found["figures"][name].as_u64().unwrap_or(0)
}

#[test]
fn what_was_run_is_verified_from_the_stores_alone() {
    let home = Home::new(&["cnc-state"], &[("cnc.state", 2)]);
    let device = |n: usize| ["nn-cnc-001", "st-cnc-001", "who-knows"][n % 3];
    for partition in 0..2 {
        let messages: Vec<_> = (0..900).map(|n| Some(state(device(n), n))).collect();
        home.send("cnc.state", partition, &messages);
    }
    home.catch_up();
    let report = home.verify();
    assert_eq!(figure(&report, "ranges", "offsets"), 1_800);
    assert_eq!(figure(&report, "ranges", "partitions"), 2);
    assert_eq!(figure(&report, "once", "rows"), 1_200);
    assert_eq!(figure(&report, "once", "quarantined messages"), 600);
    assert_eq!(figure(&report, "signatures", "signed"), figure(&report, "chain", "receipts"));

    // A second life continues the chain of the first.
    home.send("cnc.state", 0, &[Some(state("st-cnc-001", 1))]);
    home.catch_up();
    let report = home.verify();
    assert_eq!(figure(&report, "once", "rows"), 1_201);
    let links = figure(&report, "chain", "receipts") - figure(&report, "ranges", "partitions");
    assert_eq!(figure(&report, "chain", "links"), links);

    // Somebody deletes a file.
    let day = home.data().join("eu/cnc_state/event_date=2026-03-01");
    let file = std::fs::read_dir(&day).expect("a day").next().expect("a file").expect("a file").path();
    std::fs::remove_file(&file).expect("removed");
    let output = situs().args(["store", "verify", "--config"]).arg(home.site()).output().expect("situs runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(
        text.contains(&format!("violation of files: EU/cnc_state/event_date=2026-03-01/{name}: is missing")),
        "{text}"
    );
    assert!(text.ends_with("verdict: broken; 12 of 13 checks held, 1 violations\n"), "{text}");
}

fn key(folder: &std::path::Path, name: &str) -> Output {
    situs().args(["store", "key", name]).current_dir(folder).output().expect("situs runs")
}

#[test]
fn a_key_is_made_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    situs::library::write_shipped(folder.path()).expect("written");
    let site = "home: { site: stuttgart-1, zone: EU }\n\
                kafka: { brokers: \"127.0.0.1:9092\", group: situs }\n\
                stores: { EU: data/eu }\n\
                receipts: { signing-key: receipts-key.pem }\n";
    std::fs::write(folder.path().join("site.yaml"), site).expect("written");
    let check = || {
        let check = situs().args(["check", "--config", "site.yaml"]).current_dir(folder.path()).output();
        let check = check.expect("situs runs");
        (check.status.code(), String::from_utf8_lossy(&check.stdout).into_owned())
    };
    let (code, text) = check();
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("site.yaml:4:26: `signing-key` in receipts: receipts-key.pem: cannot read: "),
        "{text}"
    );

    let made = key(folder.path(), "receipts-key.pem");
    let text = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(text.starts_with("receipts-key.pem: key ") && text.contains("BEGIN PUBLIC KEY"), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
    assert_eq!(check().0, Some(0));
    assert_eq!(key(folder.path(), "receipts-key.pem").status.code(), Some(1), "a key is never overwritten");

    let path = folder.path().join("receipts-key.pem");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&path, mode).expect("changed");
    let (code, text) = check();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("group or others may use it (mode 0644), expected 0600 or 0400"), "{text}");
}

/// Whoever reads docs/stores.md can recompute the chain without Situs: here with the reader of another engine
/// and the few lines that stand there.
#[test]
fn the_documented_form_is_the_one_that_is_hashed() {
    let docs = std::fs::read_to_string(project().join("docs/stores.md")).expect("docs/stores.md");
    let home = Home::new(&["cnc-state"], &[("cnc.state", 1)]);
    let messages: Vec<_> = (0..50).map(|n| Some(state("st-cnc-001", n))).collect();
    home.send("cnc.state", 0, &messages);
    home.catch_up();
    let rows = home.sql("select *, cast(created_at as bigint) as micros from receipts");
    assert!(!rows.is_empty());
    for row in rows {
        let mut text = String::from("situs-receipt/1\n");
        for (name, value) in row.iter().collect::<std::collections::BTreeMap<_, _>>() {
            let value = match (name.as_str(), value) {
                ("hash" | "signature" | "created_date" | "micros", _) | (_, Value::Null) => continue,
                ("created_at", _) => row["micros"].to_string(),
                (_, Value::String(text)) => text.clone(),
                (_, value) => value.to_string(),
            };
            text.push_str(&format!("{name}:{}:{value}\n", value.len()));
        }
        assert_eq!(row["hash"], situs_model::sha256_hex(text.as_bytes()).as_str(), "{text}");
    }
    assert!(docs.contains("situs-receipt/1"), "the form is documented");
}

/// Both stores lie in one temporary folder.
#[test]
fn two_zones_on_one_device_are_refused_where_the_site_asks_for_two() {
    let home = Home::new(&["cnc-state"], &[("cnc.state", 1)]);
    assert_eq!(figure(&home.verify(), "roots", "devices"), 1);
    let site = std::fs::read_to_string(home.site()).expect("a site");
    std::fs::write(home.site(), format!("{site}separate-devices: true\n")).expect("written");
    let line = site.lines().count() + 1;
    let checked = format!("site.yaml:{line}:19: `separate-devices`: zones CN and EU");
    let zones = "zones CN and EU have their roots on the same device";
    for (verb, code, part) in [
        (&["check"][..], 2, checked.as_str()),
        (&["run", "--init-stores", "--until-caught-up"], 1, zones),
        (&["store", "verify"], 1, zones),
        (&["store", "vacuum"], 1, zones),
        (&["store", "hold", "set", "--id", "h", "--by", "x", "--reason", "y"], 1, zones),
        (&["quarantine", "release", "--all", "--by", "x"], 1, zones),
        (&["transfer", "list"], 1, zones),
    ] {
        let output = situs().args(verb).arg("--config").arg(home.site()).output().expect("situs runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{verb:?}: {text}");
        assert!(text.contains(part), "{verb:?}: {text}");
    }
}
