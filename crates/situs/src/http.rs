//! The HTTP endpoints: `/metrics`, `/healthz`, `/readyz`, `/version`, `/shadow`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use situs_ingest::{Control, ShadowReport};
use situs_observe::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::shadow;

#[derive(Debug, Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    control: Arc<Control>,
    shadow: Option<Arc<ShadowReport>>,
}

/// Serves until the task is aborted.
pub(crate) fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    control: Arc<Control>,
    shadow: Option<Arc<ShadowReport>>,
) -> JoinHandle<()> {
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(render))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/shadow", get(shadowed))
        .with_state(Shared { metrics, control, shadow });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(event = "http-failed", "{error}");
        }
    })
}

async fn index() -> &'static str {
    "situs\n\n/metrics  Prometheus metrics\n/healthz  alive\n/readyz   ready to work, and if not, why\n/version  version of the build\n/shadow   what a second policy would change\n"
}

async fn render(State(shared): State<Shared>) -> Response {
    match shared.metrics.render() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Ready: partitions were assigned and none of them is refused, every store could be written at the last
/// attempt, and nobody has asked to stop.
async fn ready(State(shared): State<Shared>) -> Response {
    let unwritable = shared.metrics.unwritable_stores();
    let assigned = shared.control.is_assigned();
    let stopping = shared.control.is_stopping();
    let refused = shared.metrics.refused_partitions.get();
    let ready = assigned && refused == 0 && unwritable.is_empty() && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready,
        "assigned": assigned,
        "stopping": stopping,
        "stores_not_writable": unwritable,
        "partitions_refused": refused,
        "lag_messages": shared.control.lag(),
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

async fn version() -> Response {
    Json(json!({ "name": "situs", "version": env!("CARGO_PKG_VERSION") })).into_response()
}
