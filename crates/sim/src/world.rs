//! One clock and one thread for everything: fibers that run by turns, and events that come at their time.
//!
//! Code under test blocks its thread; here each such thread is a fiber, which gives the word back when it
//! waits. Who runs next is drawn from the seed, so a seed gives one course of events and no other.
#![allow(unsafe_code, reason = "a fiber finds its yielder by a pointer")]

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Bytes of a fiber's stack.
const STACK: usize = 1 << 20;

/// Whether events are told as they happen.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// Tells events as they happen, to standard error.
pub(crate) fn tell_at_once() {
    AT_ONCE.store(true, Ordering::Relaxed);
}

type Body = Coroutine<(), (), Fate>;
type Event = Box<dyn FnOnce()>;

/// How a fiber ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its work came to its end.
    Done,
    /// It was killed.
    Killed,
    /// Its work panicked.
    Panicked,
}

/// What a killed fiber unwinds with.
struct Killed;

struct Fiber {
    process: usize,
    body: Option<Body>,
    wake_at: Option<Duration>,
    woken: bool,
    die: bool,
}

/// Wakes a fiber. Only ever used on the world's own thread, which the types cannot say.
struct FiberWaker {
    fiber: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for FiberWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.fiber);
    }
}

/// Time, chance and fibers.
pub(crate) struct World {
    now: Cell<Duration>,
    random: Cell<u64>,
    sequence: Cell<u64>,
    fibers: RefCell<BTreeMap<usize, Fiber>>,
    fates: RefCell<BTreeMap<usize, Fate>>,
    events: RefCell<BinaryHeap<Reverse<(Duration, u64)>>>,
    event_bodies: RefCell<BTreeMap<u64, Event>>,
    woken: Arc<Mutex<Vec<usize>>>,
    frozen: RefCell<Vec<usize>>,
    current: Cell<Option<usize>>,
    yielder: Cell<*const Yielder<(), ()>>,
    stacks: RefCell<Vec<DefaultStack>>,
    course: RefCell<String>,
    violations: RefCell<Vec<String>>,
    hash: Cell<u64>,
    turns: Cell<u64>,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The world of this thread.
///
/// # Panics
/// If there is none.
pub(crate) fn world() -> Rc<World> {
    WORLD.with_borrow(|world| world.clone().expect("a world"))
}

impl World {
    /// Makes a world for this thread, instead of the one before.
    pub(crate) fn begin(seed: u64) -> Rc<Self> {
        let world = Rc::new(Self {
            now: Cell::new(Duration::from_secs(1)),
            random: Cell::new(seed ^ 0x9e37_79b9_7f4a_7c15),
            sequence: Cell::new(0),
            fibers: RefCell::default(),
            fates: RefCell::default(),
            events: RefCell::default(),
            event_bodies: RefCell::default(),
            woken: Arc::default(),
            frozen: RefCell::default(),
            current: Cell::new(None),
            yielder: Cell::new(std::ptr::null()),
            stacks: RefCell::default(),
            course: RefCell::default(),
            violations: RefCell::default(),
            hash: Cell::new(0xcbf2_9ce4_8422_2325),
            turns: Cell::new(0),
        });
        WORLD.with_borrow_mut(|there| *there = Some(world.clone()));
        world
    }

    /// Ends everything that still runs, and the world.
    pub(crate) fn end(self: Rc<Self>) {
        let processes: Vec<usize> = self.fibers.borrow().values().map(|fiber| fiber.process).collect();
        processes.into_iter().for_each(|process| self.kill(process));
        self.frozen.borrow_mut().clear();
        self.run(self.now(), |_| false);
        let events = std::mem::take(&mut *self.event_bodies.borrow_mut());
        drop(events);
        WORLD.with_borrow_mut(|there| *there = None);
    }

    /// Time since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// How many turns fibers have had.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// Chance (splitmix64).
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random() % bound.max(1)
    }

    /// Whether something of this many percent happens.
    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time between two.
    pub(crate) fn between(&self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_micros() as u64;
        low + Duration::from_micros(self.below(span + 1))
    }

    /// A number that no other call gives.
    pub(crate) fn unique(&self) -> u64 {
        self.sequence.set(self.sequence.get() + 1);
        self.sequence.get()
    }

    /// Writes a line of the course of events.
    pub(crate) fn note(&self, text: &str) {
        let line = format!("{:9.4} {text}\n", self.now().as_secs_f64());
        let mut hash = self.hash.get();
        for byte in line.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.hash.set(hash);
        if AT_ONCE.load(Ordering::Relaxed) {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        let _ = self.course.borrow_mut().write_str(&line);
    }

    /// Tells what is too much for the course of events, if they are told as they happen.
    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if AT_ONCE.load(Ordering::Relaxed) {
            let line = format!("{:9.4}   {}\n", self.now().as_secs_f64(), text());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// Notes that something does not hold.
    pub(crate) fn violation(&self, text: String) {
        self.note(&text);
        self.violations.borrow_mut().push(text);
    }

    /// What did not hold so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }

    /// The course of events so far, and a hash of it.
    pub(crate) fn course(&self) -> (String, u64) {
        (self.course.borrow().clone(), self.hash.get())
    }

    /// Lets something happen after a while, whoever lives then.
    pub(crate) fn after(&self, time: Duration, event: impl FnOnce() + 'static) {
        let number = self.unique();
        self.events.borrow_mut().push(Reverse((self.now() + time, number)));
        self.event_bodies.borrow_mut().insert(number, Box::new(event));
    }

    /// Starts a fiber of a process; its number.
    pub(crate) fn spawn(&self, process: usize, work: impl FnOnce() + 'static) -> usize {
        let stack = self.stacks.borrow_mut().pop();
        let stack = stack.unwrap_or_else(|| DefaultStack::new(STACK).expect("room for a stack"));
        let number = self.unique() as usize;
        let body = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            let world = world();
            world.yielder.set(yielder);
            if world.must_die() {
                return Fate::Killed;
            }
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(()) => Fate::Done,
                Err(payload) if payload.is::<Killed>() => Fate::Killed,
                Err(_) => Fate::Panicked,
            }
        });
        let fiber = Fiber { process, body: Some(body), wake_at: Some(self.now()), woken: true, die: false };
        self.fibers.borrow_mut().insert(number, fiber);
        number
    }

    /// How a fiber ended; `None` while it lives.
    pub(crate) fn fate(&self, fiber: usize) -> Option<Fate> {
        self.fates.borrow().get(&fiber).copied()
    }

    /// Kills a fiber at the point where it waits, when it is its turn.
    pub(crate) fn kill_fiber(&self, number: usize) {
        if let Some(fiber) = self.fibers.borrow_mut().get_mut(&number) {
            fiber.die = true;
            fiber.woken = true;
        }
    }

    /// Kills all fibers of a process, frozen or not.
    pub(crate) fn kill(&self, process: usize) {
        self.thaw(process);
        for fiber in self.fibers.borrow_mut().values_mut().filter(|fiber| fiber.process == process) {
            fiber.die = true;
            fiber.woken = true;
        }
    }

    /// Stops a process, which does nothing until it is thawed.
    pub(crate) fn freeze(&self, process: usize) {
        self.frozen.borrow_mut().push(process);
    }

    /// Lets a stopped process go on.
    pub(crate) fn thaw(&self, process: usize) {
        self.frozen.borrow_mut().retain(|frozen| *frozen != process);
    }

    /// Whether a process is stopped.
    pub(crate) fn is_frozen(&self, process: usize) -> bool {
        self.frozen.borrow().contains(&process)
    }

    fn must_die(&self) -> bool {
        let current = self.current.get();
        current.is_some_and(|current| self.fibers.borrow().get(&current).is_some_and(|fiber| fiber.die))
    }

    /// A waker of the fiber that runs.
    pub(crate) fn waker(&self) -> Waker {
        let fiber = self.current.get().expect("a fiber runs");
        Arc::new(FiberWaker { fiber, woken: self.woken.clone() }).into()
    }

    /// Lets the others run until this time, or until this fiber is woken.
    pub(crate) fn block(&self, until: Option<Duration>) {
        // What is dropped while a killed fiber unwinds must not wait.
        if std::thread::panicking() {
            return;
        }
        let current = self.current.get().expect("a fiber runs");
        if let Some(fiber) = self.fibers.borrow_mut().get_mut(&current) {
            fiber.wake_at = until;
            fiber.woken = false;
        }
        let yielder = self.yielder.get();
        // SAFETY: the yielder of the fiber that runs lives on that fiber's stack below this frame; `step` sets
        // the pointer each time that it resumes a fiber, and only one runs at a time.
        unsafe { &*yielder }.suspend(());
        self.yielder.set(yielder);
        if self.must_die() {
            resume_unwind(Box::new(Killed));
        }
    }

    /// Lets everything run until a time, or until `is_over` says so, which is asked at each event.
    pub(crate) fn run(&self, until: Duration, is_over: impl Fn(&Self) -> bool) {
        loop {
            if self.step() {
                continue;
            }
            if is_over(self) {
                return;
            }
            // Nobody can run now: on to the next time at which something happens.
            let event = self.events.borrow().peek().map(|Reverse((time, _))| *time);
            let fiber = {
                let frozen = self.frozen.borrow();
                let fibers = self.fibers.borrow();
                let awake = fibers.values().filter(|f| f.body.is_some() && !frozen.contains(&f.process));
                awake.filter_map(|fiber| fiber.wake_at).min()
            };
            let Some(next) = event.into_iter().chain(fiber).min().filter(|next| *next <= until) else {
                self.now.set(until.max(self.now()));
                return;
            };
            self.now.set(next.max(self.now()));
            let due = matches!(event, Some(time) if time <= self.now());
            if due {
                // The event may plan others.
                let number = self.events.borrow_mut().pop().map(|Reverse((_, number))| number);
                let event = number.and_then(|number| self.event_bodies.borrow_mut().remove(&number));
                if let Some(event) = event {
                    event();
                }
            }
        }
    }

    /// Lets one fiber that can run do so; whether there was one.
    fn step(&self) -> bool {
        for number in std::mem::take(&mut *self.woken.lock().unwrap()) {
            if let Some(fiber) = self.fibers.borrow_mut().get_mut(&number) {
                fiber.woken = true;
            }
        }
        let now = self.now();
        let ready: Vec<usize> = {
            let frozen = self.frozen.borrow();
            let is_ready = |fiber: &Fiber| {
                let due = fiber.woken || fiber.wake_at.is_some_and(|at| at <= now);
                fiber.body.is_some() && due && !frozen.contains(&fiber.process)
            };
            let fibers = self.fibers.borrow();
            fibers.iter().filter(|(_, fiber)| is_ready(fiber)).map(|(number, _)| *number).collect()
        };
        if ready.is_empty() {
            return false;
        }
        let number = ready[self.below(ready.len() as u64) as usize];
        let taken = {
            let mut fibers = self.fibers.borrow_mut();
            let fiber = fibers.get_mut(&number).expect("a fiber that is ready");
            fiber.woken = false;
            fiber.wake_at = None;
            fiber.body.take()
        };
        let Some(mut body) = taken else { return true };
        self.turns.set(self.turns.get() + 1);
        self.current.set(Some(number));
        let result = body.resume(());
        self.current.set(None);
        let mut fibers = self.fibers.borrow_mut();
        match result {
            CoroutineResult::Yield(()) => {
                if let Some(fiber) = fibers.get_mut(&number) {
                    fiber.body = Some(body);
                }
            }
            CoroutineResult::Return(fate) => {
                self.stacks.borrow_mut().push(body.into_stack());
                fibers.remove(&number);
                self.fates.borrow_mut().insert(number, fate);
            }
        }
        true
    }
}
