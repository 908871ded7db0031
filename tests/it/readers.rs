//! Who may read: through the built binary, over stores that it filled.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::home::{Home, situs, state};

const TOPIC: &str = "cnc.state";

/// A home whose definitions are a copy of what ships, which a test may change.
struct Readers {
    home: Home,
    library: tempfile::TempDir,
}

impl Readers {
    /// With a message of each zone and one for quarantine.
    fn new() -> Self {
        let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
        let library = tempfile::tempdir().expect("a folder");
        situs::library::write_shipped(library.path()).expect("written");
        let site = std::fs::read_to_string(home.site()).expect("site.yaml");
        let at = |line: &str| {
            let (key, _) = line.split_once(": ").unwrap_or((line, ""));
            match key {
                "pipelines" | "schemas" => format!("{key}: {}", library.path().join(key).display()),
                "policy" => format!("policy: {}", library.path().join("pipelines/policy.yaml").display()),
                _ => line.to_owned(),
            }
        };
        let site: Vec<String> = site.lines().map(at).collect();
        std::fs::write(home.site(), site.join("\n") + "\n").expect("site.yaml");
        Self { home, library }
    }

    fn fill(&self) {
        let message = |device: &str, n: usize| {
            let text = String::from_utf8(state(device, n)).expect("text");
            let more = format!(r#","operator":"token-operator-{n}","program":"token-program-{n}"}}"#);
            Some((text.trim_end_matches('}').to_owned() + &more).into_bytes())
        };
        let mut messages: Vec<_> = (0..3).map(|n| message("st-cnc-001", n)).collect();
        messages.extend((3..5).map(|n| message("nn-cnc-001", n)));
        messages.push(Some(b"{\"device\": \"token-reject".to_vec()));
        self.home.send(TOPIC, 0, &messages);
        self.home.catch_up();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.library.path().join("pipelines").join(name)
    }

    fn change(&self, name: &str, change: impl Fn(&str) -> String) {
        let text = std::fs::read_to_string(self.file(name)).expect("readable");
        let changed = change(&text);
        assert_ne!(changed, text, "{name} was not changed");
        std::fs::write(self.file(name), changed).expect("written");
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let output = situs().args(arguments).current_dir(self.library.path()).output().expect("situs runs");
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn site(&self) -> String {
        self.home.site().display().to_string()
    }

    /// `situs sql` as a reader, as CSV.
    fn sql(&self, reader: &str, purpose: &str, statement: &str) -> Said {
        let site = self.site();
        self.run(&[
            "sql",
            "--config",
            &site,
            "--reader",
            reader,
            "--purpose",
            purpose,
            "--format",
            "csv",
            statement,
        ])
    }

    fn answer(&self, reader: &str, purpose: &str, statement: &str) -> String {
        let said = self.sql(reader, purpose, statement);
        assert_eq!(said.code, Some(0), "{statement}: {}", said.err);
        said.out.lines().skip(1).collect::<Vec<_>>().join(" ")
    }
}

/// What a command said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn archived(store: &Path) -> Vec<String> {
    let folder = store.join("_situs_readers");
    std::fs::read_dir(folder)
        .expect("the archive")
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn readers_see_what_the_policies_permit_and_no_more() {
    let readers = Readers::new();
    readers.fill();
    let (service, trainer) = ("stuttgart-service", "stuttgart-trainer");
    // Each at home, for their purpose.
    assert_eq!(readers.answer(service, "maintenance", "select count(*) from eu.cnc_state"), "3");
    assert_eq!(readers.answer(trainer, "training", "select count(*) from eu.cnc_state"), "3");
    assert_eq!(readers.answer("nanning-service", "maintenance", "select count(*) from cn.cnc_state"), "2");
    assert_eq!(readers.answer(service, "maintenance", "show tables"), "eu,cnc_state");
    assert_eq!(readers.answer(service, "training", "show tables"), "");
    assert_eq!(readers.answer("stuttgart-auditor", "audit", "show tables"), "_home,receipts eu,receipts");
    assert_eq!(readers.answer("stuttgart-auditor", "audit", "select sum(messages) from receipts"), "6");

    // No row, column or table beyond that.
    let all = readers.sql(service, "maintenance", "select * from eu.cnc_state");
    assert!(all.out.contains("token-program-1") && !all.out.contains("operator"), "{}", all.out);
    let all = readers.sql(trainer, "training", "select * from eu.cnc_state");
    assert!(all.out.contains("st-cnc-001") && !all.out.contains("token-"), "{}", all.out);
    for (reader, purpose, statement) in [
        (service, "maintenance", "select * from cn.cnc_state"),
        (service, "maintenance", "select * from quarantine"),
        (service, "maintenance", "select * from eu.receipts"),
        (service, "maintenance", "select operator from eu.cnc_state"),
        (service, "maintenance", "explain select 1"),
        (trainer, "training", "select program from eu.cnc_state"),
        (trainer, "training", "select count(*) from eu.cnc_state where block = 'x'"),
        (trainer, "maintenance", "select * from eu.cnc_state"),
        ("nanning-service", "maintenance", "select * from eu.cnc_state"),
        ("stuttgart-auditor", "audit", "select payload from eu.quarantine"),
        ("stuttgart-auditor", "audit", "select * from eu.cnc_state"),
    ] {
        let said = readers.sql(reader, purpose, statement);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{reader} {statement}");
        assert!(!said.err.contains("token-"), "{}", said.err);
    }

    // That somebody reads is told, and nothing of what.
    let said = readers.sql(service, "maintenance", "select program from eu.cnc_state");
    for part in ["reader-session", service, "maintenance", "eu.cnc_state", "zone=EU"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert!(!said.err.contains("token-") && !said.err.contains("select"), "{}", said.err);

    // The owner of the files reads everything, and says so by naming no reader.
    let owner = readers.run(&[
        "sql",
        "--config",
        &readers.site(),
        "--format",
        "csv",
        "select count(program) from cn.cnc_state",
    ]);
    assert_eq!(owner.out, "count(cn.cnc_state.program)\n2\n", "{}", owner.err);
    assert!(!owner.err.contains("reader-session"));

    // Both texts are kept by their version, and a change of them is none of the policy.
    let check = |readers: &Readers| {
        let said = readers.run(&["check", "--config", &readers.site()]);
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
        let after = |word: &str| said.out.split(word).nth(1).expect("a version")[..16].to_owned();
        (after("policy "), after("readers "))
    };
    let (policy, version) = check(&readers);
    assert_eq!(archived(&readers.home.data().join("eu")), [format!("{version}.yaml")]);
    readers.change("readers.cedar", |text| text.replace("\"general\"", "\"important\""));
    let (same, other) = check(&readers);
    assert!(same == policy && other != version);
    readers.home.catch_up();
    assert_eq!(archived(&readers.home.data().join("eu")).len(), 2);
    readers.home.verify();
}

#[test]
fn what_a_reader_may_see_is_explained() {
    let readers = Readers::new();
    let arguments = ["policy", "permits", "--reader", "stuttgart-trainer", "--purpose", "training"];
    let said = readers.run(&arguments);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for line in [
        "reader stuttgart-trainer (zone EU, condition-monitoring, roles: model-trainer), purpose training, readers ",
        "cn.cnc_state                 denied   forbidden by home-only",
        "eu.cnc_state                 allowed  rows: general (by trainers-read), not important (no policy permits)",
        "fields: asset-identity (by process-is-seen), process (by process-is-seen), not personal (no policy permits)",
        "hidden columns: block, operator, program",
        "eu.quarantine                denied   no policy permits",
    ] {
        assert!(said.out.lines().any(|found| found.contains(line)), "{line}\n{}", said.out);
    }
    let said = readers.run(&[&arguments[..], &["--json", "--config", &readers.site()]].concat());
    let found: Value = serde_json::from_str(&said.out).expect("JSON");
    let tables = found["tables"].as_array().expect("tables");
    let table = |name: &str| tables.iter().find(|table| table["table"] == name).expect("the table");
    assert_eq!(table("eu.cnc_state")["rows"][0]["policies"][0], "trainers-read");
    assert_eq!(table("eu.cnc_state")["hidden_columns"], serde_json::json!(["block", "operator", "program"]));
    assert_eq!(table("cn.cnc_state")["allowed"], false);
    assert_eq!(table("cn.cnc_state")["rows"][0]["policies"][0], "home-only");
    // Where rows hold programs and, as null, persons, nobody needs to see persons.
    let values = serde_json::json!(["value", "value_list", "value_text"]);
    assert_eq!(table("eu.cnc_observation")["hidden_columns"], values);
    let service =
        ["policy", "permits", "--reader", "stuttgart-service", "--purpose", "maintenance", "--json"];
    let said = readers.run(&service);
    let found: Value = serde_json::from_str(&said.out).expect("JSON");
    let tables = found["tables"].as_array().expect("tables");
    let seen = tables.iter().find(|table| table["table"] == "eu.cnc_observation").expect("the table");
    assert_eq!((&seen["allowed"], &seen["hidden_columns"]), (&Value::Bool(true), &serde_json::json!([])));
}

/// What `--zone` said of a store told whether it exists, and which others do.
#[test]
fn stores_of_which_nothing_may_be_read_are_not_told_of() {
    let readers = Readers::new();
    readers.fill();
    let site = readers.site();
    let sql = |reader: &str, zone: &str| {
        let reader = ["--reader", reader, "--purpose", "maintenance"];
        let arguments = [&["sql", "--config", &site, "--zone", zone, "--format", "csv"], &reader[..]];
        readers.run(&[&arguments.concat()[..], &["show tables"]].concat())
    };
    let said = sql("stuttgart-service", "EU");
    assert_eq!((said.code, said.out.contains("eu,cnc_state")), (Some(0), true), "{}", said.err);
    // There is a store of CN here, and none of QQ.
    let (hidden, none) = (sql("stuttgart-service", "CN"), sql("stuttgart-service", "QQ"));
    assert_eq!((hidden.code, none.code), (Some(2), Some(2)), "{} {}", hidden.err, none.err);
    assert!(hidden.err.contains("--zone: no store of zone `CN` in this site"), "{}", hidden.err);
    assert_eq!(hidden.err.replace("`CN`", "`QQ`"), none.err);
    // The nearest word is none that is hidden.
    for (reader, told) in [("stuttgart-service", true), ("nanning-service", false)] {
        let said = sql(reader, "EV");
        assert_eq!((said.code, said.err.contains("`EU`")), (Some(2), told), "{reader}: {}", said.err);
    }
}

#[test]
fn names_that_look_like_a_reader_are_none() {
    let readers = Readers::new();
    for name in [
        "Stuttgart-service",
        "stuttgart-service ",
        "stuttgart\u{2010}service",
        "stuttg\u{430}rt-service",
        "stuttgart-servic\u{435}",
        "stuttgart-service' or '1'='1",
        "Situs::Reader::\"stuttgart-service\"",
        "../readers",
        "",
    ] {
        let said = readers.sql(name, "maintenance", "select 1");
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{name}: {}", said.err);
        assert!(said.err.starts_with("situs: --reader: there is no reader `"), "{}", said.err);
        let said = readers.sql("stuttgart-service", name, "select 1");
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{name}: {}", said.err);
        assert!(said.err.starts_with("situs: --purpose: there is no purpose `"), "{}", said.err);
    }
    // As a reader only with purpose and site: there is no way to be less than one.
    let site = readers.site();
    for arguments in [
        &["sql", "--reader", "stuttgart-service", "select 1"][..],
        &["sql", "--reader", "stuttgart-service", "--purpose", "maintenance", "select 1"],
        &["sql", "--config", &site, "--reader", "stuttgart-service", "select 1"],
        &["sql", "--config", &site, "--purpose", "maintenance", "select 1"],
        &[
            "sql",
            "--config",
            &site,
            "--reader",
            "stuttgart-service",
            "--purpose",
            "maintenance",
            "--data",
            "data",
            "select 1",
        ],
    ] {
        let said = readers.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn readers_that_are_broken_stop_everything() {
    let readers = Readers::new();
    let site = readers.site();
    let refused = |expected: &str| {
        for arguments in [
            &["check", "--config", &site][..],
            &["run", "--until-caught-up", "--config", &site],
            &[
                "sql",
                "--config",
                &site,
                "--reader",
                "stuttgart-service",
                "--purpose",
                "maintenance",
                "select 1",
            ],
            &[
                "policy",
                "permits",
                "--config",
                &site,
                "--reader",
                "stuttgart-service",
                "--purpose",
                "maintenance",
            ],
        ] {
            let said = readers.run(arguments);
            assert_eq!(said.code, Some(2), "{arguments:?}: {}{}", said.out, said.err);
            assert!((said.out + &said.err).contains(expected), "{arguments:?} {expected}");
        }
    };
    let cedar = std::fs::read_to_string(readers.file("readers.cedar")).expect("readable");
    for (right, wrong, expected) in [
        ("forbid (principal", "forbd (principal", "readers.cedar:5:1: "),
        (
            "Situs::Role::\"service\"",
            "Situs::Role::\"servise\"",
            "readers.cedar:10:18: policy `service-reads` names Situs::Role::\"servise\", which no reader has; did you mean `service`?",
        ),
        ("principal.zone", "principal.zon", "readers.cedar:6:"),
    ] {
        readers.change("readers.cedar", |text| text.replacen(right, wrong, 1));
        refused(expected);
        std::fs::write(readers.file("readers.cedar"), &cedar).expect("written");
    }
    // One without the other is a mistake, and none of both is a home without readers.
    std::fs::remove_file(readers.file("readers.cedar")).expect("removed");
    refused("readers.yaml: there is no `readers.cedar` beside it");
    std::fs::remove_file(readers.file("readers.yaml")).expect("removed");
    let said = readers.run(&["check", "--config", &site]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let said = readers.sql("stuttgart-service", "maintenance", "select 1");
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("only the owner of the files reads"), "{}", said.err);
}
