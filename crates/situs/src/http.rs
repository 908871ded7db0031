//! The HTTP endpoints: the live page at `/`, `/events`, `/metrics`, `/healthz`, `/readyz`, `/version`, `/shadow`.

mod live;
mod ready;
mod server;
mod version;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures::stream::{self, StreamExt as _};
use serde_json::json;
use situs_ingest::{Control, ShadowReport};
use situs_model::{ContentVersion, StoreIdentity};
use situs_observe::{Metrics, OPENMETRICS, TEXT, prefers_openmetrics};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::shadow;
use crate::site::Site;
use live::{Facts, Live};
use ready::Readiness;
use server::Limits;

/// Who may look on at a time; far fewer than there may be connections, so that scrapes find room.
const WATCHERS: usize = 32;
/// A body at most, in bytes. Nothing reads one, but some clients send an empty object.
const BODY: u64 = 4 << 10;
/// How long a page waits until it tries to connect again.
const RETRY: Duration = Duration::from_secs(2);

const PAGE: &str = include_str!("http/page.html");
const SCRIPT: &str = include_str!("http/page.js");
const STYLE: &str = include_str!("http/page.css");
const ICON: &str = include_str!("http/icon.svg");

/// Everything that the page needs comes from here, and nothing else may be loaded by it or put around it.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = "situs\n
/         this text; a browser gets a page that shows how the process does
/events   what the page shows, once a second (server-sent events)
/metrics  Prometheus metrics
/healthz  alive
/readyz   ready to work, and if not, why and since when
/version  version of the build, and a hash of the configuration
/shadow   what a second policy would change
";

/// The parts that the endpoints tell of.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) site: &'a Site,
    pub(crate) catalog: &'a Catalog,
    pub(crate) stores: Vec<StoreIdentity>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) control: Arc<Control>,
    pub(crate) shadow: Option<Arc<ShadowReport>>,
}

#[derive(Debug, Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    control: Arc<Control>,
    shadow: Option<Arc<ShadowReport>>,
    readiness: Arc<Readiness>,
    live: Arc<Live>,
    watchers: Arc<Semaphore>,
    config: ContentVersion,
}

/// Serves until the task is aborted.
///
/// # Errors
/// If the thread cannot be had.
pub(crate) fn serve(listener: TcpListener, parts: Parts<'_>) -> io::Result<JoinHandle<()>> {
    let Parts { site, catalog, stores, metrics, control, shadow } = parts;
    let readiness = Arc::new(Readiness::new(site.ready_lag));
    let config = version::config_hash(site, catalog);
    let facts = Facts {
        site: site.home_site.to_string(),
        zone: site.home_zone.to_string(),
        group: site.kafka.group.clone(),
        pipelines: site.running(catalog).map(|loaded| loaded.pipeline.name.to_string()).collect(),
        stores,
        started_with: catalog.policy.version().clone(),
        config: config.clone(),
    };
    let live = Live::new(facts, metrics.clone(), control.clone(), shadow.clone(), readiness.clone());
    let live = Arc::new(live);
    let watchers = Arc::new(Semaphore::new(WATCHERS));
    let shared = Shared { metrics, control, shadow, readiness, live: live.clone(), watchers, config };
    server::serve(listener, router(shared), Limits::default(), live.run())
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/page.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/page.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .route("/events", get(events))
        .route("/metrics", get(render))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/shadow", get(shadowed))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here; / lists what there is\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "only GET and HEAD\n")
        })
        .layer(axum::middleware::from_fn(guard))
        .with_state(shared)
}

/// Refuses bodies, and says of every answer how it may be used.
async fn guard(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.map_or(Some(0), |length| length.parse::<u64>().ok());
    let mut response = match length {
        // Nobody reads it, so the connection ends with the answer.
        None | Some(BODY..) => {
            (StatusCode::PAYLOAD_TOO_LARGE, [(header::CONNECTION, "close")], "no bodies are read\n")
                .into_response()
        }
        Some(_) if request.headers().contains_key(header::TRANSFER_ENCODING) => {
            (StatusCode::LENGTH_REQUIRED, [(header::CONNECTION, "close")], "no bodies are read\n")
                .into_response()
        }
        Some(_) => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn accept(headers: &HeaderMap) -> String {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    all.collect::<Vec<_>>().join(",")
}

/// Browsers name HTML; whoever does not gets the text.
async fn index(headers: HeaderMap) -> Response {
    let mut response = match accept(&headers).to_ascii_lowercase().contains("text/html") {
        true => asset("text/html; charset=utf-8", PAGE),
        false => INDEX.into_response(),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Which process this is and the charts until now, then a snapshot a second.
async fn events(State(shared): State<Shared>) -> Response {
    let Ok(place) = shared.watchers.clone().try_acquire_owned() else {
        let retry = [(header::RETRY_AFTER, "10")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "too many look on already\n").into_response();
    };
    let mut receiver = shared.live.subscribe();
    // What is there now is not missed by somebody who comes between two seconds.
    receiver.mark_changed();
    let hello = Event::default().event("hello").retry(RETRY).data(shared.live.hello());
    let snapshots = stream::unfold((receiver, place), |(mut receiver, place)| async move {
        let mut snapshot: Arc<str> = "".into();
        // In its first moments the process has none.
        while snapshot.is_empty() {
            receiver.changed().await.ok()?;
            snapshot = receiver.borrow_and_update().clone();
        }
        Some((Event::default().event("snapshot").data(&*snapshot), (receiver, place)))
    });
    let all = stream::once(async { hello }).chain(snapshots).map(Ok::<_, Infallible>);
    Sse::new(all).keep_alive(KeepAlive::default()).into_response()
}

async fn render(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let vary = (header::VARY, "accept");
    if prefers_openmetrics(&accept(&headers)) {
        let text = shared.metrics.render_openmetrics();
        return ([(header::CONTENT_TYPE, OPENMETRICS), vary], text).into_response();
    }
    match shared.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT), vary], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Ready: see [`ready::Part`].
async fn ready(State(shared): State<Shared>) -> Response {
    let problems = shared.readiness.look(&shared.metrics, &shared.control);
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": problems.is_empty(),
        "assigned": shared.control.is_assigned(),
        "stopping": shared.control.is_stopping(),
        "brokers_connected": shared.metrics.kafka_brokers_up.get(),
        "stores_not_writable": shared.metrics.unwritable_stores(),
        "partitions_refused": shared.metrics.refused_partitions.get(),
        "lag_messages": shared.control.lag(),
        "lag_seconds": ready::oldest(&shared.control).as_secs_f64(),
        "not_ready": ready::as_json(&problems),
    });
    (status, Json(body)).into_response()
}

async fn shadowed(State(shared): State<Shared>) -> Response {
    match &shared.shadow {
        Some(report) => Json(shadow::as_json(report)).into_response(),
        None => {
            (StatusCode::NOT_FOUND, "no second policy: see `situs run --shadow-policy`\n").into_response()
        }
    }
}

async fn version(State(shared): State<Shared>) -> Response {
    Json(version::as_json(&shared.config)).into_response()
}

#[cfg(test)]
mod tests;
