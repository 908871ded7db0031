//! The simulation's clock, threads and tasks.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use situs_ingest::host::{Host, Task, Thread, Work};
use situs_model::store::BoxFuture;
use uuid::Uuid;

use crate::world::{Fate, world};

/// When all worlds began, as this process's clock counts.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The same in µs since the epoch: 2026-03-01.
const BEGAN_US: i64 = 1_772_323_200_000_000;
/// First and longest time after which somebody who waits looks again.
const LOOK: (Duration, Duration) = (Duration::from_micros(300), Duration::from_millis(10));

/// A process of the simulation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimHost {
    /// Its number.
    pub(crate) process: usize,
}

/// Ready at a time.
struct Sleep {
    until: Duration,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = world();
        if world.now() >= self.until {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            let waker = context.waker().clone();
            world.after(self.until - world.now(), move || waker.wake());
        }
        Poll::Pending
    }
}

/// A future that is ready after so long.
pub(crate) fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
    Sleep { until: world().now() + time, armed: false }
}

/// A future that is ready after a time between two.
pub(crate) fn nap(low: Duration, high: Duration) -> impl Future<Output = ()> + Send {
    sleep(world().between(low, high))
}

/// Blocks the fiber until a future is ready.
fn drive(mut future: Pin<&mut dyn Future<Output = ()>>) {
    let world = world();
    let waker = world.waker();
    let mut context = Context::from_waker(&waker);
    while future.as_mut().poll(&mut context).is_pending() {
        world.block(None);
    }
}

impl Host for SimHost {
    fn now(&self) -> Instant {
        *BEGAN + world().now()
    }

    fn now_us(&self) -> i64 {
        BEGAN_US + i64::try_from(world().now().as_micros()).unwrap_or(i64::MAX)
    }

    fn id(&self) -> Uuid {
        let world = world();
        let (high, low) = (world.unique(), world.random());
        Uuid::from_u64_pair(high, low)
    }

    fn pause(&self, time: Duration) {
        let world = world();
        world.block(Some(world.now() + time));
    }

    fn wait(&self, limit: Duration, attempt: &mut dyn FnMut(Duration) -> bool) {
        let world = world();
        let deadline = world.now() + limit;
        let mut look = LOOK.0;
        while !attempt(Duration::ZERO) && world.now() < deadline {
            world.block(Some(deadline.min(world.now() + look)));
            look = (look * 2).min(LOOK.1);
        }
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(sleep(time))
    }

    fn drive(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        drive(future);
    }

    fn spawn(&self, mut future: BoxFuture<'static, ()>) -> Box<dyn Task> {
        let fiber = world().spawn(self.process, move || drive(future.as_mut()));
        Box::new(SimTask { fiber })
    }

    fn compute(&self, work: Work) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            work();
            nap(Duration::ZERO, Duration::from_millis(2)).await;
        })
    }

    fn start(&self, _: String, work: Work) -> io::Result<Box<dyn Thread>> {
        let fiber = world().spawn(self.process, work);
        Ok(Box::new(SimTask { fiber }))
    }
}

#[derive(Debug)]
struct SimTask {
    fiber: usize,
}

impl SimTask {
    fn wait(&self) -> Option<Fate> {
        let world = world();
        while world.fate(self.fiber).is_none() && !std::thread::panicking() {
            world.block(Some(world.now() + LOOK.0));
        }
        world.fate(self.fiber)
    }
}

impl Task for SimTask {
    fn is_finished(&self) -> bool {
        world().fate(self.fiber).is_some()
    }

    fn end(&mut self) {
        world().kill_fiber(self.fiber);
        self.wait();
    }
}

impl Thread for SimTask {
    fn is_finished(&self) -> bool {
        world().fate(self.fiber).is_some()
    }

    fn join(self: Box<Self>) -> bool {
        self.wait() != Some(Fate::Panicked)
    }
}
