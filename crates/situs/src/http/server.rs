//! The listener: a thread of its own, and bounds on what anybody can ask of it.
//!
//! Whoever can reach the port may be slow, broken or many. None of that reaches intake, which runs on other
//! threads, and none of it takes more memory or connections than these bounds say.

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// How long the head of a request may take, and how long a connection may rest between two.
    pub(crate) head: Duration,
    /// How long somebody may read nothing of what is sent to them.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 128, head: Duration::from_secs(10), stall: Duration::from_secs(10) }
    }
}

/// The head of a request at most, in bytes.
const HEAD: usize = 16 << 10;
/// Headers of a request at most.
const HEADERS: usize = 64;

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 21\r\nRetry-After: 5\r\nConnection: close\r\n\r\ntoo many connections\n";

/// Serves on a thread of its own until the returned task is aborted, or the runtime that it is of ends.
/// `background` runs there as long.
pub(crate) fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    background: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::Builder::new().name("situs-http".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::spawn(background);
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(event = "http-failed", "{error}"),
            };
            tokio::select! {
                // Also if the sender is gone.
                _ = stopped => {}
                () = accept(listener, router, limits) => {}
            }
        });
        // Connections that are open end here.
        runtime.shutdown_background();
    })?;
    Ok(tokio::spawn(async move {
        let _stops_when_dropped = stop;
        std::future::pending().await
    }))
}

async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files: it gets better, or somebody sees it here.
                tracing::warn!(event = "http-accept", "{error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            if let Ok(mut stream) = stream.into_std() {
                // Who cannot take even this at once goes without.
                stream.write_all(FULL).ok();
            }
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(HEAD)
                .max_headers(HEADERS)
                .serve_connection(
                    TokioIo::new(Guarded::new(stream, limits.stall)),
                    TowerToHyperService::new(router),
                )
                .await;
            if let Err(error) = served {
                tracing::debug!(event = "http-connection", "{error}");
            }
        });
    }
}

/// A connection that breaks if the other side takes nothing for a while.
struct Guarded {
    stream: TcpStream,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, stalled: None }
    }

    /// What to answer where nothing can be written now.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(result) => {
                self.stalled = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
