//! A home in a temporary folder, on an embedded broker.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use arrow_array::RecordBatch;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Map, Value};
use situs::demo::broker::EmbeddedBroker;
use situs_query::{Permit, Session, find_stores};
use tempfile::TempDir;

/// The project's root.
pub(crate) fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The `situs` binary of the profile under test. `cargo test --workspace` builds it before any test
/// runs; building it here, with the features of one package alone, would build most dependencies anew.
pub(crate) fn situs() -> Command {
    // The test binary lies in target/<profile>/deps.
    let this = std::env::current_exe().expect("a path");
    let binary = this.ancestors().nth(2).expect("target/<profile>").join("situs");
    assert!(binary.is_file(), "{} is missing: run `cargo test --workspace`", binary.display());
    Command::new(binary)
}

/// A broker with topics, two initialised stores, and a site.yaml.
pub(crate) struct Home {
    folder: TempDir,
    broker: EmbeddedBroker,
}

impl Home {
    /// A home for these pipelines, which read these topics (name and partitions).
    pub(crate) fn new(pipelines: &[&str], topics: &[(&str, i32)]) -> Self {
        let home = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            broker: EmbeddedBroker::start(topics).expect("the embedded broker starts"),
        };
        let library = project().join("pipelines").canonicalize().expect("pipelines");
        let schemas = project().join("schemas").canonicalize().expect("schemas");
        let site = format!(
            "home: {{ site: stuttgart-1, zone: EU }}\n\
             kafka: {{ brokers: \"{}\", group: test, properties: {{ session.timeout.ms: \"6000\" }} }}\n\
             pipelines: {}\nschemas: {}\npolicy: {}\n\
             enabled: [{}]\n\
             stores: {{ CN: data/cn, EU: data/eu }}\n\
             receipts: {{ signing-key: receipts-key.pem }}\n\
             flush: {{ age: 300ms }}\n\
             http: {{ listen: 127.0.0.1:0 }}\n\
             logs: {{ filter: warn }}\n",
            home.broker.bootstrap(),
            library.display(),
            schemas.display(),
            library.join("policy.yaml").display(),
            pipelines.join(", ")
        );
        std::fs::write(home.site(), site).expect("site.yaml is written");
        situs_store::ReceiptKey::create(&home.folder.path().join("receipts-key.pem")).expect("a key");
        for (zone, name) in [("CN", "cn"), ("EU", "eu")] {
            situs_store::init(&home.data().join(name), &zone.parse().expect("a zone")).expect("a store");
        }
        home
    }

    pub(crate) fn site(&self) -> PathBuf {
        self.folder.path().join("site.yaml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn producer(&self) -> BaseProducer {
        ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .set("message.max.bytes", "20000000")
            .set("linger.ms", "5")
            .create()
            .expect("a producer")
    }

    /// Sends messages to a partition and waits until the broker has them.
    pub(crate) fn send(&self, topic: &str, partition: i32, messages: &[Option<Vec<u8>>]) {
        let producer = self.producer();
        for message in messages {
            let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("t-1") });
            let mut record =
                BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(b"k").headers(headers);
            if let Some(payload) = message {
                record = record.payload(payload);
            }
            producer.send(record).map_err(|(error, _)| error).expect("queued");
            producer.poll(Duration::ZERO);
        }
        producer.flush(Duration::from_secs(20)).expect("delivered");
    }

    /// Runs the binary until everything that is in the topics is settled.
    pub(crate) fn catch_up(&self) {
        let output = situs()
            .args(["run", "--until-caught-up", "--config"])
            .arg(self.site())
            .output()
            .expect("situs runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `situs store verify` says, which must be that everything holds.
    pub(crate) fn verify(&self) -> Value {
        let output = situs()
            .args(["store", "verify", "--json", "--config"])
            .arg(self.site())
            .output()
            .expect("situs runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(report["verdict"], "ok", "{report:#}");
        report
    }

    /// The rows of a query as JSON objects.
    pub(crate) fn sql(&self, statement: &str) -> Vec<Map<String, Value>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let batches: Vec<RecordBatch> = runtime.block_on(async {
            let roots = find_stores(&self.data()).expect("stores");
            let session = Session::open(&Permit::new(roots)).await.expect("a session");
            session.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}")).batches
        });
        batches.iter().flat_map(|batch| situs::inspect::rows_as_json(batch).expect("JSON")).collect()
    }

    /// The only number of a query.
    pub(crate) fn number(&self, statement: &str) -> i64 {
        let rows = self.sql(statement);
        rows[0].values().next().and_then(Value::as_i64).unwrap_or_else(|| panic!("{statement}: {rows:?}"))
    }
}

/// A message of `cnc.state`.
pub(crate) fn state(device: &str, n: usize) -> Vec<u8> {
    format!(
        r#"{{"device":"{device}","timestamp":"2026-03-01T12:{:02}:{:02}.125Z","execution":"ACTIVE","line":{n},"spindleSpeed":{}.5}}"#,
        n / 60 % 60,
        n % 60,
        n % 9000
    )
    .into_bytes()
}

/// Runs the binary with the home's configuration.
pub(crate) fn run(home: &Home, arguments: &[&str]) -> Output {
    let mut command = situs();
    command.args(arguments).arg("--config").arg(home.site());
    command.output().expect("situs runs")
}

/// All that it printed.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The objects that it printed with `--json`, one a line.
pub(crate) fn objects(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", text(output))))
        .collect()
}

/// What `situs explain` says of a record, and its exit code.
pub(crate) fn explained(home: &Home, record: &str) -> (Value, Option<i32>) {
    let output = run(home, &["explain", record, "--json"]);
    (
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output))),
        output.status.code(),
    )
}
