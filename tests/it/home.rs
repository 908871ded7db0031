//! A home in a temporary folder, on an embedded broker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
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
pub fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The `situs` binary of the profile under test, built once.
pub fn situs() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BINARY.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "-p", "situs"]).current_dir(project());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the binary builds");
        // The test binary lies in target/<profile>/deps.
        let this = std::env::current_exe().expect("a path");
        this.ancestors().nth(2).expect("target/<profile>").join("situs")
    }))
}

/// A broker with topics, two initialised stores, and a site.yaml.
pub struct Home {
    folder: TempDir,
    broker: EmbeddedBroker,
}

impl Home {
    /// A home for these pipelines, which read these topics (name and partitions).
    pub fn new(pipelines: &[&str], topics: &[(&str, i32)]) -> Self {
        let home = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            broker: EmbeddedBroker::start(topics).expect("the embedded broker starts"),
        };
        let library = project().join("pipelines").canonicalize().expect("pipelines");
        let schemas = project().join("schemas").canonicalize().expect("schemas");
        let site = format!(
            "home: {{ site: stuttgart-1, zone: EU }}\n\
             kafka: {{ brokers: \"{}\", group: test }}\n\
             pipelines: {}\nschemas: {}\npolicy: {}\n\
             enabled: [{}]\n\
             stores: {{ CN: data/cn, EU: data/eu }}\n\
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
        for (zone, name) in [("CN", "cn"), ("EU", "eu")] {
            situs_store::init(&home.data().join(name), &zone.parse().expect("a zone")).expect("a store");
        }
        home
    }

    pub fn site(&self) -> PathBuf {
        self.folder.path().join("site.yaml")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn producer(&self) -> BaseProducer {
        ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .set("message.max.bytes", "20000000")
            .set("linger.ms", "5")
            .create()
            .expect("a producer")
    }

    /// Sends messages to a partition and waits until the broker has them.
    pub fn send(&self, topic: &str, partition: i32, messages: &[Option<Vec<u8>>]) {
        let producer = self.producer();
        for message in messages {
            let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("t-1") });
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(b"k").headers(headers);
            if let Some(payload) = message {
                record = record.payload(payload);
            }
            producer.send(record).map_err(|(error, _)| error).expect("queued");
            producer.poll(Duration::ZERO);
        }
        producer.flush(Duration::from_secs(20)).expect("delivered");
    }

    /// Runs the binary until everything that is in the topics is settled.
    pub fn catch_up(&self) {
        let output = situs()
            .args(["run", "--until-caught-up", "--config"])
            .arg(self.site())
            .output()
            .expect("situs runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The rows of a query as JSON objects.
    pub fn sql(&self, statement: &str) -> Vec<Map<String, Value>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let batches: Vec<RecordBatch> = runtime.block_on(async {
            let roots = find_stores(&self.data()).expect("stores");
            let session = Session::open(&Permit::new(roots)).await.expect("a session");
            session.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}")).batches
        });
        batches.iter().flat_map(|batch| situs::inspect::rows_as_json(batch).expect("JSON")).collect()
    }

    /// The only number of a query.
    pub fn number(&self, statement: &str) -> i64 {
        let rows = self.sql(statement);
        rows[0].values().next().and_then(Value::as_i64).unwrap_or_else(|| panic!("{statement}: {rows:?}"))
    }
}

/// A message of `cnc.state`.
pub fn state(device: &str, n: usize) -> Vec<u8> {
    format!(
        r#"{{"device":"{device}","timestamp":"2026-03-01T12:{:02}:{:02}.125Z","execution":"ACTIVE","line":{n},"spindleSpeed":{}.5}}"#,
        n / 60 % 60,
        n % 60,
        n % 9000
    )
    .into_bytes()
}
