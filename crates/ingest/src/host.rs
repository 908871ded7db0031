//! What the intake needs of the place where it runs: a clock, threads and tasks.
//!
//! Everything in this crate that waits, starts something or asks for the time does so by a [`Host`].
//! [`Process`] is the real one. A simulation has another, with a clock of its own and one thread for
//! everything, so that a seed decides who runs when.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use futures::future::{Either, select};
use situs_model::store::BoxFuture;
use tokio::runtime::Handle;
use uuid::Uuid;

/// Something that a thread does.
pub type Work = Box<dyn FnOnce() + Send>;

/// A clock, threads and tasks.
pub trait Host: Send + Sync + fmt::Debug {
    /// Now, as differences are measured.
    fn now(&self) -> Instant;

    /// Now, in µs since the epoch.
    fn now_us(&self) -> i64;

    /// A new id (UUID v7), different from all others.
    fn id(&self) -> Uuid;

    /// Blocks the thread for so long.
    fn pause(&self, time: Duration);

    /// Blocks the thread until `attempt` says that it is done, or for `limit` at most. Each attempt is told
    /// how long it may block by itself.
    fn wait(&self, limit: Duration, attempt: &mut dyn FnMut(Duration) -> bool);

    /// Ready after so long.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Blocks the thread until a future is ready.
    fn drive(&self, future: Pin<&mut dyn Future<Output = ()>>);

    /// Runs a future beside.
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Task>;

    /// Does work that takes CPU time, beside tasks; ready when it is done. If it panics, it is not.
    fn compute(&self, work: Work) -> BoxFuture<'static, ()>;

    /// Starts a thread.
    ///
    /// # Errors
    /// If the system gives none.
    fn start(&self, name: String, work: Work) -> io::Result<Box<dyn Thread>>;
}

/// A future that runs beside.
pub trait Task: Send + fmt::Debug {
    /// Whether it has come to its end, or was ended.
    fn is_finished(&self) -> bool;

    /// Ends it at the next point where it waits, and blocks until it has ended.
    fn end(&mut self);
}

/// A thread.
pub trait Thread: Send + fmt::Debug {
    /// Whether its work is over.
    fn is_finished(&self) -> bool;

    /// Blocks until it is; false if the work panicked.
    fn join(self: Box<Self>) -> bool;
}

impl dyn Host + '_ {
    /// Blocks the thread until a future is ready; what it gave.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut output = None;
        self.drive(pin!(async { output = Some(future.await) }));
        output.expect("a future that was driven to its end")
    }

    /// What a future gives, unless it takes longer than `limit`.
    pub(crate) async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        match select(pin!(future), self.sleep(limit)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// Blocks the thread until something comes, or for `limit` at most.
    pub(crate) fn receive<T>(&self, from: &Receiver<T>, limit: Duration) -> Result<T, RecvTimeoutError> {
        let mut result = Err(RecvTimeoutError::Timeout);
        self.wait(limit, &mut |limit| {
            result = from.recv_timeout(limit);
            !matches!(result, Err(RecvTimeoutError::Timeout))
        });
        result
    }

    /// How long ago that was.
    pub(crate) fn since(&self, then: Instant) -> Duration {
        self.now().saturating_duration_since(then)
    }

    /// Between 0 and 1, 1 excluded.
    pub(crate) fn random(&self) -> f64 {
        f64::from(self.id().as_u128() as u16) / 65_536.0
    }
}

/// This process: its threads, the system's clock and a multi-threaded runtime.
#[derive(Debug, Clone)]
pub struct Process {
    runtime: Handle,
}

impl Process {
    /// With a runtime for tasks.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Host for Process {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn now_us(&self) -> i64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn wait(&self, limit: Duration, attempt: &mut dyn FnMut(Duration) -> bool) {
        attempt(limit);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        // The timer needs the runtime when it is made, wherever that is.
        let _within = self.runtime.enter();
        Box::pin(tokio::time::sleep(time))
    }

    fn drive(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        self.runtime.block_on(future);
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Task> {
        let handle = self.runtime.spawn(future);
        Box::new(Spawned { runtime: self.runtime.clone(), handle })
    }

    fn compute(&self, work: Work) -> BoxFuture<'static, ()> {
        let handle = self.runtime.spawn_blocking(work);
        // A panic has been told of by the panic hook, and is noticed by what the work did not leave.
        Box::pin(async move { drop(handle.await) })
    }

    fn start(&self, name: String, work: Work) -> io::Result<Box<dyn Thread>> {
        let handle = std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Box::new(Started { handle }))
    }
}

#[derive(Debug)]
struct Spawned {
    runtime: Handle,
    handle: tokio::task::JoinHandle<()>,
}

impl Task for Spawned {
    fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    fn end(&mut self) {
        self.handle.abort();
        self.runtime.block_on(async {
            // A handle that has given its outcome must not be asked again.
            while !self.handle.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

#[derive(Debug)]
struct Started {
    handle: JoinHandle<()>,
}

impl Thread for Started {
    fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    fn join(self: Box<Self>) -> bool {
        self.handle.join().is_ok()
    }
}
