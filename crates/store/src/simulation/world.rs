//! Turns and faults from a seed: of all threads of a world one makes a step at a time, and which one comes next,
//! and what becomes of its step, is drawn.
//!
//! delta-rs reads with threads of its own, whose order nobody draws. They read while the thread that waits for
//! them has the turn, so that nothing changes under them, and whether such a read fails depends on the seed,
//! on how many steps were made before and on the file, but not on which of them comes first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::chance::{Chance, hash_of, hash_of_text};
use super::{Answer, Op, Watch};

/// Steps after which a world that should have come to rest has not.
const PATIENCE: u64 = 60_000;
/// What a file system may say.
const KINDS: [io::ErrorKind; 4] = [
    io::ErrorKind::TimedOut,
    io::ErrorKind::StorageFull,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::Other,
];

/// How often what happens, in a thousand steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// A step goes wrong.
    pub(crate) faulty: u64,
    /// A commit goes wrong beyond that, mostly so that it is done and its answer is lost.
    pub(crate) lost_commits: u64,
    /// A read of delta-rs goes wrong.
    pub(crate) delta: u64,
    /// The process dies at a step.
    pub(crate) deadly: u64,
}

const CALM: Weather = Weather { faulty: 0, lost_commits: 0, delta: 0, deadly: 0 };

#[derive(Debug, Default)]
struct Actor {
    ended: bool,
    dead: bool,
}

#[derive(Debug)]
struct State {
    chance: Chance,
    weather: Weather,
    actors: Vec<Actor>,
    current: usize,
    /// Steps until somebody else may come next.
    left: u64,
    steps: u64,
    /// Steps at which the faults stop.
    calm_at: u64,
    hash: u64,
    course: Option<String>,
    violations: Vec<String>,
    figures: BTreeMap<&'static str, u64>,
}

/// What came of a world.
#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    /// What did not hold.
    pub(crate) violations: Vec<String>,
    /// The course of events, if it was asked for.
    pub(crate) course: String,
    /// A hash of it.
    pub(crate) hash: u64,
    /// Figures by name.
    pub(crate) figures: BTreeMap<&'static str, u64>,
}

/// Threads that take turns.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    root: PathBuf,
    state: Mutex<State>,
    turns: Vec<Condvar>,
}

impl World {
    /// A world of so many threads over a folder, with faults for so many steps. The first one has the turn.
    pub(crate) fn new(seed: u64, root: &Path, threads: usize, keep_course: bool) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let weather = Weather {
            faulty: chance.of(&[0, 2, 6, 15, 40]),
            lost_commits: chance.of(&[0, 50, 200]),
            delta: chance.of(&[0, 5, 30]),
            deadly: chance.of(&[0, 1, 2, 4]),
        };
        let calm_at = 400 + chance.below(2000);
        let state = State {
            chance,
            weather,
            actors: (0..threads).map(|_| Actor::default()).collect(),
            current: 0,
            left: 1,
            steps: 0,
            calm_at,
            hash: 0xcbf2_9ce4_8422_2325,
            course: keep_course.then(String::new),
            violations: Vec::new(),
            figures: BTreeMap::new(),
        };
        let turns = (0..threads).map(|_| Condvar::new()).collect();
        // As the stores see it.
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        Arc::new(Self { seed, root, state: Mutex::new(state), turns })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first turn of a thread.
    pub(crate) fn enter(&self, me: usize) {
        drop(self.wait(self.state(), me));
    }

    /// Gives the turn up for good.
    pub(crate) fn leave(&self, me: usize) {
        let mut state = self.state();
        state.actors[me].ended = true;
        state.note(me, "leaves");
        self.pass(&mut state, me);
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>, me: usize) -> MutexGuard<'a, State> {
        while state.current != me {
            state = self.turns[me].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Draws who comes next, and for how many steps: mostly few, sometimes so many that the others sleep
    /// through whole flushes.
    fn pass(&self, state: &mut State, me: usize) {
        let there: Vec<usize> = (0..state.actors.len()).filter(|actor| !state.actors[*actor].ended).collect();
        if there.is_empty() {
            return;
        }
        state.current = state.chance.of(&there);
        state.left = match state.chance.below(10) {
            0..6 => 1 + state.chance.below(4),
            6..9 => 5 + state.chance.below(60),
            _ => 100 + state.chance.below(600),
        };
        if state.current != me {
            self.turns[state.current].notify_one();
        }
    }

    /// A number below `bound`, for the thread that has the turn.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.state().chance.below(bound)
    }

    /// Whether something happens, while there are faults, that happens so many times in a thousand.
    pub(crate) fn happens(&self, permille: u64) -> bool {
        let mut state = self.state();
        state.chance.permille(permille) && !state.is_calm()
    }

    /// Whether there are no more faults.
    pub(crate) fn is_calm(&self) -> bool {
        self.state().is_calm()
    }

    /// Whether it should have come to rest long ago.
    pub(crate) fn is_over(&self) -> bool {
        self.state().is_over()
    }

    /// The process on this thread is alive again, if it had died, and knows nothing.
    pub(crate) fn rises(&self, me: usize) {
        self.state().actors[me].dead = false;
    }

    /// Whether the process on this thread is dead.
    pub(crate) fn is_dead(&self, me: usize) -> bool {
        self.state().actors[me].dead
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, me: usize, what: &str) {
        self.state().note(me, what);
    }

    /// Counts what happened.
    pub(crate) fn count(&self, figure: &'static str, number: u64) {
        *self.state().figures.entry(figure).or_default() += number;
    }

    /// Something did not hold.
    pub(crate) fn violation(&self, what: String) {
        self.state().violations.push(what);
    }

    /// What came of it.
    pub(crate) fn report(&self) -> Report {
        let mut state = self.state();
        let steps = state.steps;
        *state.figures.entry("steps").or_default() += steps;
        if state.is_over() {
            state.violations.push(format!("not at rest after {steps} steps"));
        }
        Report {
            violations: state.violations.clone(),
            course: state.course.clone().unwrap_or_default(),
            hash: state.hash,
            figures: state.figures.clone(),
        }
    }

    /// The same for every run of a seed: no temporary folders, and nothing that is drawn by the clock.
    fn short(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        let mut short = String::new();
        for part in path.components() {
            let part = part.as_os_str().to_string_lossy();
            short.push('/');
            match part {
                part if part.starts_with("_tmp_") => short.push_str("_tmp_"),
                part if part.get(..36).is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()) => {
                    short.push_str("id");
                    short.push_str(&part[36..]);
                }
                part if part.ends_with(".pem") => short.push_str("key.pem"),
                part => short.push_str(&part),
            }
        }
        short
    }

    fn ask(&self, me: usize, op: Op, path: &Path) -> Answer {
        let mut state = self.state();
        if op == Op::Rest || state.left == 0 {
            self.pass(&mut state, me);
            state = self.wait(state, me);
        }
        state.left = state.left.saturating_sub(1);
        state.steps += 1;
        if op == Op::Rest {
            return Answer::Done;
        }
        let path = self.short(path);
        let answer = state.answer(me, op, &path);
        state.note(me, &format!("{op:?} {path} {answer:?}"));
        answer
    }
}

impl State {
    fn is_calm(&self) -> bool {
        self.steps >= self.calm_at
    }

    fn is_over(&self) -> bool {
        self.steps >= PATIENCE
    }

    fn note(&mut self, me: usize, what: &str) {
        self.hash = hash_of(&[self.hash, me as u64, hash_of_text(what)]);
        if let Some(course) = &mut self.course {
            let _ = writeln!(course, "{:6} {me} {what}", self.steps);
        }
    }

    fn answer(&mut self, me: usize, op: Op, path: &str) -> Answer {
        if self.actors[me].dead || self.is_over() {
            return Answer::Refused(io::ErrorKind::Other);
        }
        let weather = if self.is_calm() { CALM } else { self.weather };
        if self.chance.permille(weather.deadly) {
            // Before the step, after it, or in its midst.
            self.actors[me].dead = true;
            *self.figures.entry("deaths").or_default() += 1;
            let kind = io::ErrorKind::Other;
            return self.chance.of(&[Answer::Refused(kind), Answer::Lost(kind), Answer::Half(kind)]);
        }
        let commits = op == Op::Link && path.contains("/_delta_log/");
        let commit_lost = commits && self.chance.permille(weather.lost_commits);
        if !commit_lost && !self.chance.permille(weather.faulty) {
            return Answer::Done;
        }
        *self.figures.entry("faults").or_default() += 1;
        let kind = self.chance.of(&KINDS);
        match self.chance.below(if commit_lost { 6 } else { 3 }) {
            0 => Answer::Refused(kind),
            1 if matches!(op, Op::Write | Op::Overwrite) => Answer::Half(kind),
            _ => Answer::Lost(match op {
                // What a network's file system says if it repeats what it has done.
                Op::Link | Op::Create | Op::CreateFolder if self.chance.below(4) == 0 => {
                    io::ErrorKind::AlreadyExists
                }
                Op::Remove if self.chance.below(4) == 0 => io::ErrorKind::NotFound,
                _ => kind,
            }),
        }
    }
}

/// A thread of a world.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) world: Arc<World>,
    pub(crate) me: usize,
}

impl Watch for Turns {
    fn ask(&self, op: Op, path: &Path) -> Answer {
        self.world.ask(self.me, op, path)
    }

    fn ask_elsewhere(&self, op: Op, path: &Path) -> Answer {
        let path = hash_of_text(&self.world.short(path));
        let state = self.world.state();
        let weather = if state.is_calm() { CALM } else { state.weather };
        let fails = hash_of(&[self.world.seed, state.steps, op as u64, path]) % 1000 < weather.delta;
        match fails || state.actors[self.me].dead {
            true => Answer::Refused(io::ErrorKind::TimedOut),
            false => Answer::Done,
        }
    }

    fn failed_though_there(&self, entry: &Path) {
        let entry = self.world.short(entry);
        self.world.violation(format!("{entry} is in the log, and the store says that it certainly is not"));
    }
}
