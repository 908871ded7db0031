//! Over real connections, since the bounds are those of connections.

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

struct Served {
    address: std::net::SocketAddr,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve_with(limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, control) = (Arc::new(Metrics::new().unwrap()), Arc::new(Control::default()));
    let readiness = Arc::new(Readiness::new(None));
    let version = ContentVersion::of(b"");
    let facts = Facts {
        site: "nanning-1".to_owned(),
        zone: "CN".to_owned(),
        group: "situs".to_owned(),
        pipelines: vec!["cnc-state".to_owned()],
        stores: vec![StoreIdentity { zone: "CN".parse().unwrap(), store_id: "an-id".to_owned() }],
        started_with: version.clone(),
        config: version.clone(),
    };
    let live = Live::new(facts, metrics.clone(), control.clone(), None, readiness.clone());
    let live = Arc::new(live);
    let shared = Shared {
        metrics: metrics.clone(),
        control,
        shadow: None,
        readiness,
        live: live.clone(),
        watchers: Arc::new(Semaphore::new(2)),
        config: version,
    };
    let task = server::serve(listener, router(shared), limits, live.run()).unwrap();
    Served { address, metrics, task }
}

impl Served {
    /// Sends this and reads until the other side closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is reset has said what it had to say.
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str, accept: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        self.raw(&request).await
    }

    /// Begins to look on, and reads until this stands in what came.
    async fn watch(&self, until: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut text = String::new();
        let mut buffer = vec![0; 16 << 10];
        while !text.contains(until) {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        (stream, text)
    }
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

#[tokio::test]
async fn browsers_get_a_page_and_others_a_text() {
    let served = serve_with(Limits::default()).await;
    let page = served.get("/", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert!(is(&page, 200) && page.contains("<!doctype html>"));
    assert!(page.contains("content-security-policy: default-src 'none'; script-src 'self'"));
    for accept in ["*/*", "text/plain"] {
        let text = served.get("/", accept).await;
        assert!(text.contains("/metrics  Prometheus metrics") && !text.contains("<html"));
    }
    assert!(served.get("/page.js", "*/*").await.contains("EventSource"));
    assert!(served.get("/page.css", "*/*").await.contains("prefers-color-scheme"));
}

/// What the page loads comes from here: a policy that forbade it would leave it blank.
#[test]
fn the_page_names_nothing_from_elsewhere() {
    for text in [PAGE, SCRIPT, STYLE] {
        for (at, _) in text.match_indices("//") {
            let line = text[..at].rsplit('\n').next().unwrap().trim();
            assert!(line.is_empty() || text[at..].starts_with("//www.w3.org/2000/svg"), "{line}");
        }
        assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("innerHTML"));
        assert!(!text.contains("url("));
    }
}

#[tokio::test]
async fn metrics_come_as_they_are_asked_for() {
    let served = serve_with(Limits::default()).await;
    served.metrics.messages_read.with_label_values(&["cnc-state"]).inc_by(3);
    let text = served.get("/metrics", "*/*").await;
    assert!(text.contains("content-type: text/plain; version=0.0.4"));
    assert!(text.contains("# TYPE situs_messages_read_total counter"));
    let open = served.get("/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.contains("# TYPE situs_messages_read counter") && open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_shortly() {
    let served = serve_with(Limits::default()).await;
    let ask = |head: &str| format!("{head}\r\nHost: h\r\nConnection: close\r\n");
    assert!(is(&served.get("/nothing", "*/*").await, 404));
    let post = served.raw(&format!("{}Content-Length: 2\r\n\r\n{{}}", ask("POST /metrics HTTP/1.1"))).await;
    assert!(is(&post, 405) && post.contains("allow: GET, HEAD"), "{post}");
    let large = format!("{}Content-Length: 5000\r\n\r\n", ask("POST /metrics HTTP/1.1"));
    assert!(is(&served.raw(&large).await, 413));
    let chunked = format!("{}Transfer-Encoding: chunked\r\n\r\n", ask("POST /metrics HTTP/1.1"));
    assert!(is(&served.raw(&chunked).await, 411));
    let long = format!("{}X-Long: {}\r\n\r\n", ask("GET / HTTP/1.1"), "x".repeat(40_000));
    assert!(is(&served.raw(&long).await, 431));
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert!(is(&served.raw(&format!("{}{many}\r\n", ask("GET / HTTP/1.1"))).await, 431));
    assert!(is(&served.raw("nonsense\r\n\r\n").await, 400));
    assert!(is(&served.raw(&format!("{}\r\n", ask("HEAD /healthz HTTP/1.1"))).await, 200));
}

#[tokio::test]
async fn a_slow_head_and_too_many_connections_end() {
    let head = Duration::from_millis(300);
    let served = serve_with(Limits { connections: 2, head, ..Limits::default() }).await;
    let started = Instant::now();
    assert!(!is(&served.raw("GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ").await, 200));
    assert!(started.elapsed() < Duration::from_secs(5));

    let (_first, _) = served.watch("event: snapshot").await;
    let (_second, _) = served.watch("event: snapshot").await;
    let refused = served.get("/healthz", "*/*").await;
    assert!(refused.is_empty() || is(&refused, 503), "{refused}");
}

#[tokio::test]
async fn who_looks_on_is_told_what_there_is_and_only_so_many_are() {
    let served = serve_with(Limits::default()).await;
    served.metrics.rows_stored.with_label_values(&["cnc-state", "CN"]).inc_by(41);
    let (first, text) = served.watch("event: snapshot").await;
    assert!(text.contains("content-type: text/event-stream"));
    let hello = text.find("event: hello").unwrap();
    assert!(text[hello..].contains("\"site\":\"nanning-1\""));
    let (_second, text) = served.watch("\"permits_refused\"").await;
    assert!(text.contains("\"rows\":41"), "{text}");
    assert!(is(&served.get("/events", "*/*").await, 503));
    // A place that is left is free again.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    while is(&served.get("/nothing", "*/*").await, 404) && Instant::now() < deadline {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        if &start == b"HTTP/1.1 200 OK" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the place stays taken");
}

/// Somebody who reads nothing is dropped, and their place is free again.
#[tokio::test]
async fn who_reads_nothing_is_dropped() {
    let served = serve_with(Limits { stall: Duration::from_millis(500), ..Limits::default() }).await;
    // Makes snapshots that fill any buffer soon.
    for n in 0..3000 {
        let reason = format!("reason-{n}-{}", "x".repeat(400));
        served.metrics.messages_quarantined.with_label_values(&["cnc-state", reason.as_str()]).inc();
    }
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        streams.push(stream);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "they keep their places");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        if &start == b"HTTP/1.1 200 OK" {
            return;
        }
    }
}

#[tokio::test]
async fn readiness_and_version_tell_what_they_know() {
    let served = serve_with(Limits::default()).await;
    let ready = served.get("/readyz", "*/*").await;
    assert!(is(&ready, 503));
    let body: serde_json::Value = serde_json::from_str(ready.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["ready"], &body["assigned"]), (&json!(false), &json!(false)));
    assert_eq!(body["not_ready"][0]["part"], "brokers");
    let since = body["not_ready"][0]["since"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(since).is_ok(), "{since}");
    let version = served.get("/version", "*/*").await;
    let body: serde_json::Value = serde_json::from_str(version.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert!(body["dependencies"]["rdkafka"].is_string() && body["rustc"].as_str().unwrap().contains("rustc"));
}
