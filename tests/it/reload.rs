//! A policy that changes while a home runs, and one that is only compared.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Home, project, situs, state};

const TOPIC: &str = "cnc.state";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home that runs, with a policy of its own.
struct Running {
    child: Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Running {
    /// Starts with the policy that ships; its file may be written.
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let folder = home.site().parent().expect("a folder").to_owned();
        let shipped = std::fs::read_to_string(project().join("pipelines/policy.yaml")).expect("a policy");
        std::fs::write(folder.join("policy.yaml"), shipped).expect("written");
        let site = std::fs::read_to_string(home.site()).expect("a site");
        let at = site.find("policy: ").expect("a policy");
        let end = at + site[at..].find('\n').expect("a line");
        let site = format!("{}policy: policy.yaml{}", &site[..at], &site[end..]);
        std::fs::write(home.site(), site.replace("filter: warn", "filter: info")).expect("written");
        let log = File::create(folder.join("log")).expect("a log");
        let child = situs()
            .args(["run", "--config", "site.yaml", "--http-address-file", "http"])
            .args(arguments)
            .current_dir(&folder)
            .stdout(File::create(folder.join("out")).expect("a file"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("situs starts");
        Self { child, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    fn policy(&self) -> String {
        std::fs::read_to_string(self.folder.join("policy.yaml")).expect("a policy")
    }

    fn write(&self, policy: &str) {
        std::fs::write(self.folder.join("policy.yaml"), policy).expect("written");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = std::process::Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    /// The values of a metric, by their lines.
    fn get(&self, path: &str) -> String {
        let address = std::fs::read_to_string(self.folder.join("http")).expect("an address");
        http_get(&address, path)
    }

    /// Asks half a question and goes.
    fn break_off(&self) {
        use std::io::Write as _;
        let address = std::fs::read_to_string(self.folder.join("http")).expect("an address");
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHos").expect("asked");
    }

    fn stop(mut self) -> String {
        self.signal("-TERM");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", self.log());
        std::fs::read_to_string(self.folder.join("out")).expect("an output")
    }
}

fn http_get(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: situs\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

fn send(home: &Home, from: usize) {
    for partition in 0..2 {
        let device = |n: usize| ["nn-cnc-001", "st-cnc-001"][n % 2];
        let messages: Vec<_> = (from..from + 1_000).map(|n| Some(state(device(n), n))).collect();
        home.send(TOPIC, partition, &messages);
    }
}

fn rows(home: &Home) -> i64 {
    let tables: Vec<&str> = ["cn/cnc_state", "eu/cnc_state"]
        .into_iter()
        .filter(|table| home.data().join(table).join("_delta_log/00000000000000000000.json").is_file())
        .collect();
    tables.iter().map(|table| home.number(&format!("select count(*) from {}", table.replace('/', ".")))).sum()
}

#[test]
fn a_policy_that_changes_takes_effect_at_a_barrier_without_a_restart() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 2)]);
    let running = Running::start(&home, &[]);
    send(&home, 0);
    until("the first are stored", || rows(&home) == 2_000);
    let before = home.sql("select distinct _policy from eu.cnc_state");

    // A policy with an error changes nothing, and says so with its place.
    let good = running.policy();
    running.write(&good.replacen("zone: EU", "zone: EV", 1));
    until("the error is told", || running.log().contains("policy-rejected"));
    assert!(running.log().contains("did you mean `EU`?"), "{}", running.log());
    assert!(running.get("/metrics").contains("situs_policy_rejected 1"));
    send(&home, 1_000);
    until("it goes on", || rows(&home) == 4_000);
    assert_eq!(home.sql("select distinct _policy from eu.cnc_state"), before);

    // The device moves to another site, and so to another zone: from the barrier on.
    let moved = good.replacen("nn-cnc-001, ", "", 1).replacen(
        "devices:\n      [st-",
        "devices:\n      [nn-cnc-001, st-",
        1,
    );
    assert_ne!(moved, good);
    running.write(&moved);
    running.signal("-HUP");
    until("it changes", || running.log().contains("policy-changed"));
    assert!(running.get("/metrics").contains("situs_policy_rejected 0"));
    send(&home, 2_000);
    until("the last are stored", || rows(&home) == 6_000);
    // What ships is in force again, by itself: the file is watched.
    running.write(&good);
    until("it changes back", || running.log().matches("policy-changed").count() == 2);
    send(&home, 3_000);
    until("those too", || rows(&home) == 8_000);
    running.stop();

    let by_zone = |zone: &str| {
        home.number(&format!("select count(*) from {zone}.cnc_state where device = 'nn-cnc-001'"))
    };
    assert_eq!((by_zone("cn"), by_zone("eu")), (3_000, 1_000));
    let policies = "select count(distinct _policy) from eu.cnc_state";
    assert_eq!(home.number(policies), 2);
    let first = "select count(*) from eu.cnc_state where device = 'nn-cnc-001' \
                 and (_offset < 2000 or _offset >= 3000)";
    assert_eq!(home.number(first), 0);
    home.verify();
}

#[test]
fn a_second_policy_tells_what_it_would_move_and_writes_nothing() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 2)]);
    let shipped = std::fs::read_to_string(project().join("pipelines/policy.yaml")).expect("a policy");
    let moved = shipped.replacen("nn-cnc-001, ", "", 1).replacen(
        "devices:\n      [st-",
        "devices:\n      [nn-cnc-001, st-",
        1,
    );
    std::fs::write(home.site().with_file_name("second.yaml"), moved).expect("written");
    let running = Running::start(&home, &["--shadow-policy", "second.yaml"]);
    send(&home, 0);
    until("all are stored", || rows(&home) == 2_000);
    let report: Value = serde_json::from_str(&running.get("/shadow")).expect("JSON");
    assert_eq!(report["records"], 2_000);
    let changes = report["changes"].as_array().expect("a list");
    assert_eq!(changes.len(), 1, "{report:#}");
    assert_eq!(changes[0]["before"]["place"], "CN");
    assert_eq!(changes[0]["after"]["place"], "EU");
    assert_eq!(changes[0]["records"], 1_000);
    assert_eq!(report["moved_devices"], serde_json::json!([{ "device": "nn-cnc-001", "records": 1_000 }]));
    assert!(
        running
            .get("/metrics")
            .contains("situs_shadow_records_total{kind=\"moved\",pipeline=\"cnc-state\"} 1000")
    );
    let told = running.stop();
    assert!(
        told.contains("2000 records judged by both: 1000 would lie elsewhere, 0 would have other tags"),
        "{told}"
    );
    assert!(told.contains("1000  nn-cnc-001"), "{told}");
    assert_eq!(home.number("select count(*) from cn.cnc_state where device = 'nn-cnc-001'"), 1_000);
    home.verify();
}

#[test]
fn a_second_policy_with_an_error_is_refused_with_its_place() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let second = home.site().with_file_name("second.yaml");
    std::fs::write(
        &second,
        "zones: { CN: { jurisdictions: [CN] } }\nrules: [ { id: a, zone: CM, basis: law } ]\n",
    )
    .expect("written");
    let output = situs()
        .args(["run", "--config"])
        .arg(home.site())
        .arg("--shadow-policy")
        .arg(&second)
        .output()
        .expect("situs runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("second.yaml:2:") && told.contains("did you mean `CN`?"), "{told}");
}

#[test]
fn sighup_takes_the_filter_of_the_log_and_names_what_needs_a_restart() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let running = Running::start(&home, &[]);
    until("it listens", || running.folder.join("http").exists());
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let hup = |site: &str| {
        std::fs::write(home.site(), site).expect("written");
        running.signal("-HUP");
    };
    until("it is quiet at first", || running.log().contains("receipts are signed"));
    assert!(!running.log().contains("DEBUG"), "{}", running.log());

    // An error changes nothing, and has its place.
    hup(&site.replace("filter: info", "filter: \"info,=x=\""));
    until("the error is told", || running.log().contains("site-rejected"));
    assert!(
        running.log().contains("site.yaml:11:17: `filter` in logs: expected a filter"),
        "{}",
        running.log()
    );

    let changed = site
        .replace("filter: info", "filter: \"info,situs_ingest=debug,rdkafka=debug,situs=debug\"")
        .replace("session.timeout.ms: \"6000\"", "session.timeout.ms: \"7000\", sasl.password: hunter2")
        .replace("age: 300ms", "age: 400ms");
    assert_ne!(changed, site);
    hup(&changed);
    until("the filter changes", || running.log().contains("log-filter-changed"));
    until("the rest is named", || running.log().contains("needs-a-restart"));
    let log = running.log();
    let expected = "keys=\"flush.age kafka.properties.sasl.password kafka.properties.session.timeout.ms\"";
    assert!(log.contains(expected), "{log}");
    assert!(!log.contains("hunter2") && !log.contains("7000"), "{log}");
    // A connection that breaks off is told by a line of that level.
    until("more is logged", || {
        running.break_off();
        running.log().contains("DEBUG")
    });

    // As it was: nothing is named any more.
    hup(&site);
    until("it changes back", || running.log().matches("log-filter-changed").count() == 2);
    assert_eq!(running.log().matches("needs-a-restart").count(), 1, "{}", running.log());
    running.stop();
}
