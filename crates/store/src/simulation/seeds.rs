//! Seeds: several processes over the same two stores, a process that maintains them, and everything that can
//! go wrong; then calm, in which all must be settled; and then every row must be in its one place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use situs_model::store::Advice;
use situs_model::{NextOffset, OffsetRange};
use tokio::runtime::{Builder, Runtime};

use super::chance::Chance;
use super::plant::{POLICIES, Plant, ZONES};
use super::process::{Ended, Process, Unfinished};
use super::watched;
use super::world::{Report, Turns, World};
use crate::maintain::{Optimize, Vacuum};

/// Messages that a partition gets at most.
const MOST: i64 = 30;
/// How far time goes on at once, when it does: longer than any limit of maintenance.
const LEAP: Duration = Duration::from_secs(26 * 60 * 60);
/// What is older than this is old, to log clean-up and vacuum.
const OLD: Duration = Duration::from_secs(60 * 60);

/// What Kafka knows: who has which partition, and how far they go.
#[derive(Debug)]
struct Group {
    /// By partition, the process that it is assigned to.
    owners: Vec<usize>,
    ends: Vec<i64>,
    /// By partition, the furthest offset that somebody was told is settled.
    settled: Vec<i64>,
    /// Partitions of which a flush has begun and was not seen to settle.
    begun: BTreeSet<i32>,
    /// Whether everything that was in the logs before the last leap of time was settled then.
    quiet_leap: bool,
}

struct Scene<'a> {
    world: &'a World,
    plant: &'a Plant,
    group: Mutex<Group>,
    processes: usize,
}

impl Scene<'_> {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is left to do, or it is of no use to go on.
    fn is_done(&self) -> bool {
        if self.world.is_over() {
            return true;
        }
        let group = self.group();
        self.world.is_calm() && group.ends == group.settled
    }

    /// Messages come, and partitions change hands.
    fn go_on(&self) {
        if self.world.is_calm() {
            return;
        }
        let mut group = self.group();
        let partition = self.world.below(group.ends.len() as u64) as usize;
        let most = self.plant.first(partition as i32) + MOST;
        group.ends[partition] = most.min(group.ends[partition] + self.world.below(6) as i64);
        if self.world.happens(120) {
            let partition = self.world.below(group.owners.len() as u64) as usize;
            group.owners[partition] = self.world.below(self.processes as u64) as usize;
        }
    }

    /// A process, from one start to the next, until all is done.
    async fn process(&self, me: usize) {
        let mut lives = 0;
        while !self.is_done() {
            self.world.rises(me);
            lives += 1;
            let policy = self.world.below(POLICIES);
            self.world.note(me, &format!("starts with policy {policy}"));
            let tries = 1 + self.world.below(4);
            match Process::start(self.plant, &format!("p{me}-{lives}"), policy, tries).await {
                Some(process) => self.live(me, process).await,
                None => {
                    super::rest();
                }
            }
            self.world.count("lives", 1);
        }
    }

    /// One life.
    async fn live(&self, me: usize, mut process: Process<'_>) {
        if process.archive().await.is_err() {
            return;
        }
        let mut deaf = 0;
        while !self.is_done() {
            if self.world.is_dead(me) {
                return;
            }
            // Without a fresh lease nothing is committed, so the process tries on.
            if process.renew().await.is_err() {
                super::rest();
                continue;
            }
            self.go_on();
            // A process that does not hear the group is a zombie.
            deaf = if deaf > 0 { deaf - 1 } else { u64::from(self.world.happens(80)) * 4 };
            let mine = |group: &Group, partition: i32| group.owners[partition as usize] == me;
            let assigned: Vec<i32> = {
                let group = self.group();
                self.plant.partitions().filter(|partition| mine(&group, *partition)).collect()
            };
            if deaf == 0 {
                process.owned().into_iter().filter(|p| !assigned.contains(p)).for_each(|p| process.forget(p));
            }
            let owned = process.owned();
            let new: Vec<i32> = assigned.into_iter().filter(|partition| !owned.contains(partition)).collect();
            let ended = match self.take_over(me, &mut process, &new).await {
                Ended::Settled => self.flush_some(me, &mut process).await,
                other => other,
            };
            match ended {
                Ended::Settled => {}
                // It asks again what is settled, once the group says that the partitions are its own.
                Ended::Yielded => process.owned().into_iter().for_each(|partition| process.forget(partition)),
                Ended::GaveUp => return,
                Ended::Stopped(reason) => {
                    if !self.world.is_dead(me) {
                        self.world.violation(format!("process {me} stopped: {reason}"));
                    }
                    return;
                }
            }
        }
    }

    async fn take_over(&self, me: usize, process: &mut Process<'_>, new: &[i32]) -> Ended {
        if new.is_empty() {
            return Ended::Settled;
        }
        let unfinished = process.take_over(new).await;
        self.world.note(me, &format!("takes {new:?} over: {unfinished:?}"));
        let unfinished = match unfinished {
            Ok(unfinished) => unfinished,
            Err(ended) => return ended,
        };
        self.world.count("take-overs", 1);
        for partition in new {
            self.settled(*partition, process.next(*partition));
        }
        for Unfinished { partition, range, policy } in unfinished {
            if policy == process.policy {
                continue;
            }
            self.world.count("replays", 1);
            match self.flush(me, process, &[(partition, range)], policy).await {
                Ended::Settled => {}
                other => return other,
            }
        }
        Ended::Settled
    }

    /// Flushes parts of some of the partitions that a process owns.
    async fn flush_some(&self, me: usize, process: &mut Process<'_>) -> Ended {
        let ends = self.group().ends.clone();
        let mut ranges = process.ranges_to(&ends);
        if !self.world.is_calm() {
            ranges.retain(|_| self.world.below(4) > 0);
            for (_, range) in &mut ranges {
                let length = 1 + self.world.below(range.len()) as i64;
                *range = OffsetRange::new(range.start, NextOffset(range.start.0 + length));
            }
        }
        if ranges.is_empty() {
            super::rest();
            return Ended::Settled;
        }
        self.flush(me, process, &ranges, process.policy).await
    }

    async fn flush(
        &self,
        me: usize,
        process: &mut Process<'_>,
        ranges: &[(i32, OffsetRange)],
        policy: u64,
    ) -> Ended {
        self.group().begun.extend(ranges.iter().map(|(partition, _)| *partition));
        let ended = process.flush(ranges, policy).await;
        let name = match &ended {
            Ended::Settled => "flushes settled",
            Ended::Yielded => "flushes yielded",
            Ended::GaveUp => "flushes given up",
            Ended::Stopped(_) => "flushes stopped",
        };
        self.world.count(name, 1);
        process.seen().into_iter().for_each(|(name, number)| self.world.count(name, number));
        self.world.note(me, &format!("{name}: {ranges:?}"));
        if ended == Ended::Settled {
            for (partition, range) in ranges {
                self.settled(*partition, Some(range.end));
                self.group().begun.remove(partition);
            }
            let quiet = self.group().begun.is_empty();
            if quiet && self.world.happens(150) {
                self.leap(me);
            }
        }
        ended
    }

    fn settled(&self, partition: i32, next: Option<NextOffset>) {
        let mut group = self.group();
        let settled = &mut group.settled[partition as usize];
        *settled = next.map_or(*settled, |next| next.0.max(*settled));
    }

    /// A process that maintains both stores: checkpoints, compaction, log clean-up, vacuum; and time, which
    /// goes on by leaps.
    async fn maintainer(&self, me: usize) {
        while !self.is_done() {
            self.world.rises(me);
            for _ in 0..self.world.below(8) {
                super::rest();
            }
            if self.world.happens(150) {
                self.leap(me);
            }
            let zone = ZONES[self.world.below(2) as usize];
            let Ok(store) = self.plant.open(zone).await else { continue };
            let right = match store.begin_maintenance().await {
                Ok(Some(right)) => right,
                Ok(None) => continue,
                Err(error) => {
                    self.judge(me, "begin", error.advice, &error.message);
                    continue;
                }
            };
            let Ok(tables) = right.tables() else { continue };
            for table in tables {
                let every = 1 + self.world.below(6);
                let may_clean = self.group().quiet_leap;
                let (name, result) = match self.world.below(6) {
                    0 | 1 => {
                        ("checkpoints", right.checkpoint(&table, every).await.map(|done| done.is_some()))
                    }
                    2 => (
                        "compactions",
                        right.optimize(&table, &optimize()).await.map(|o| o.replaced.files > 0),
                    ),
                    3 | 4 if may_clean => {
                        ("log clean-ups", right.clean_up(&table, OLD).await.map(|done| done.entries > 0))
                    }
                    _ => ("vacuums", right.vacuum(&table, &vacuum()).await.map(|v| !v.paths.is_empty())),
                };
                match result {
                    Ok(done) => {
                        self.world.count(name, u64::from(done));
                        self.world.note(me, &format!("{name} of {zone}/{table}: {done}"));
                    }
                    Err(error) => self.judge(me, name, error.advice, &error.message),
                }
            }
        }
    }

    fn judge(&self, me: usize, step: &str, advice: Advice, message: &str) {
        self.world.note(me, &format!("{step}: {advice:?}"));
        if advice != Advice::Retry && !self.world.is_dead(me) {
            self.world.violation(format!("maintenance stopped at {step}: {message}"));
        }
    }

    /// Time goes on while all processes sleep: every file is older then, leases too.
    fn leap(&self, me: usize) {
        self.world.note(me, "time goes on");
        self.world.count("leaps", 1);
        let mut group = self.group();
        // Log clean-up must not take what says by which policy a flush was begun: that is what the log's
        // retention is for, and here it would be over.
        group.quiet_leap = group.begun.is_empty();
        ZONES.iter().for_each(|zone| age(&self.plant.root(zone)));
    }
}

fn age(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            age(&entry.path());
        } else {
            let earlier: SystemTime = metadata.modified().unwrap() - LEAP;
            std::fs::File::open(entry.path()).unwrap().set_modified(earlier).unwrap();
        }
    }
}

/// Runs a seed.
fn run(runtime: &Runtime, seed: u64, keep_course: bool) -> Report {
    let mut chance = Chance::new(!seed);
    let (partitions, processes) = (2 + chance.below(2) as usize, 2 + chance.below(2) as usize);
    let threads = processes + usize::from(chance.below(4) > 0);
    let plant = Plant::new(seed, partitions);
    let world = World::new(seed, plant.folder(), threads, keep_course);
    let firsts: Vec<i64> = plant.partitions().map(|partition| plant.first(partition)).collect();
    let group = Group {
        owners: (0..partitions).map(|_| chance.below(processes as u64) as usize).collect(),
        ends: firsts.iter().map(|first| first + 3).collect(),
        settled: firsts,
        begun: BTreeSet::new(),
        quiet_leap: false,
    };
    let scene = Scene { world: &world, plant: &plant, group: Mutex::new(group), processes };
    std::thread::scope(|scope| {
        for me in 0..threads {
            let (scene, world) = (&scene, world.clone());
            scope.spawn(move || {
                world.enter(me);
                let watch = Arc::new(Turns { world: world.clone(), me });
                let life = || {
                    watched(watch, || {
                        runtime.block_on(async {
                            if me < processes { scene.process(me).await } else { scene.maintainer(me).await }
                        });
                    });
                };
                if catch_unwind(AssertUnwindSafe(life)).is_err() {
                    world.violation(format!("thread {me} panicked"));
                }
                world.leave(me);
            });
        }
    });
    let mut report = world.report();
    let mut ends = scene.group().ends.clone();
    report.violations.extend(runtime.block_on(plant.check(&ends)));
    if seed.is_multiple_of(4) && report.violations.is_empty() {
        let swept = runtime.block_on(sweep_up(&plant, &mut ends));
        report.violations.extend(swept.into_iter().map(|wrong| format!("after maintenance: {wrong}")));
    }
    let offsets: i64 =
        plant.partitions().zip(&ends).map(|(partition, end)| end - plant.first(partition)).sum();
    report.figures.insert("offsets", offsets as u64);
    report
}

/// When all is done, maintains everything once more, and lets a last process go on from there: what the faults
/// left behind must be of no use to anybody, and nothing else may go. What does not hold.
async fn sweep_up(plant: &Plant, ends: &mut [i64]) -> Vec<String> {
    let mut wrong = Vec::new();
    for zone in ZONES {
        let store = plant.open(zone).await.expect("a store that can be opened");
        for turn in 0..2 {
            // What is checkpointed in the first turn is old in the second one.
            age(&plant.root(zone));
            let right = store.begin_maintenance().await.ok().flatten().expect("nobody else maintains");
            for table in right.tables().expect("tables") {
                let done = async {
                    right.checkpoint(&table, 1).await?;
                    right.optimize(&table, &optimize()).await?;
                    right.clean_up(&table, OLD).await?;
                    right.vacuum(&table, &vacuum()).await
                };
                wrong.extend(done.await.err().map(|error| format!("turn {turn}: {error}")));
            }
        }
    }
    ends.iter_mut().for_each(|end| *end += 4);
    match Process::start(plant, "last", 0, 1).await {
        Some(mut process) => wrong.extend(process.bring(ends).await.err()),
        None => wrong.push("a store cannot be opened".to_owned()),
    }
    wrong.extend(plant.check(ends).await);
    wrong
}

fn optimize() -> Optimize {
    Optimize { sealed_after: Duration::ZERO, ..Optimize::default() }
}

fn vacuum() -> Vacuum {
    Vacuum { retention: Duration::ZERO, orphans_after: OLD, dead_after: OLD, ..Vacuum::default() }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

/// Runs seeds on all CPUs; the reports in order.
fn run_all(from: u64, seeds: u64, twice: bool) -> Vec<(u64, Report)> {
    let runtime = runtime();
    let (next, reports) = (AtomicU64::new(from), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + seeds {
                        return;
                    }
                    let mut report = run(&runtime, seed, false);
                    if twice && run(&runtime, seed, false).hash != report.hash {
                        report.violations.push("another course of events the second time".to_owned());
                    }
                    reports.lock().unwrap().insert(seed, report);
                }
            });
        }
    });
    reports.into_inner().unwrap().into_iter().collect()
}

/// A line for each thing that did not hold, and one of verdict and figures; whether all held.
fn told(reports: &[(u64, Report)], took: Duration) -> (String, bool) {
    let mut text = String::new();
    let mut figures: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    for (seed, report) in reports {
        for violation in &report.violations {
            let _ = writeln!(text, "seed {seed}: {violation}");
        }
        failed.extend((!report.violations.is_empty()).then_some(*seed));
        for (name, figure) in &report.figures {
            *figures.entry(name).or_default() += figure;
        }
    }
    let figures: Vec<String> = figures.iter().map(|(name, figure)| format!("{name} {figure}")).collect();
    let _ = write!(
        text,
        "stores: {}, seeds {} to {}: {} failed{}; {}; {:.1} s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        reports.first().map_or(0, |(seed, _)| *seed),
        reports.last().map_or(0, |(seed, _)| *seed),
        failed.len(),
        if failed.is_empty() { String::new() } else { format!(" ({:?})", &failed[..failed.len().min(10)]) },
        figures.join(", "),
        took.as_secs_f64()
    );
    (text, failed.is_empty())
}

#[test]
fn whatever_fails_every_row_is_there_once() {
    let began = Instant::now();
    let reports = run_all(1, 12, false);
    let (text, held) = told(&reports, began.elapsed());
    assert!(held, "{text}");
}

#[test]
fn a_seed_gives_one_course_of_events() {
    let runtime = runtime();
    for seed in 1..4 {
        let (one, other) = (run(&runtime, seed, true), run(&runtime, seed, true));
        for (line, (one, other)) in one.course.lines().zip(other.course.lines()).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!((one.hash, &one.violations), (other.hash, &other.violations), "seed {seed}");
    }
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// `tests/sim/run` runs it, with numbers from the environment: `SITUS_SIM_SEEDS`, `SITUS_SIM_FROM`;
/// `SITUS_SIM_TWICE` and `SITUS_SIM_COURSE` if they are set.
#[test]
#[ignore = "a script chooses the seeds"]
#[allow(clippy::print_stdout, reason = "a script shows it")]
fn seeds() {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let (from, seeds) = (number("SITUS_SIM_FROM", 1), number("SITUS_SIM_SEEDS", 20));
    if is_set("SITUS_SIM_COURSE") {
        let runtime = runtime();
        (from..from + seeds).for_each(|seed| print!("{}", run(&runtime, seed, true).course));
    }
    let began = Instant::now();
    let reports = run_all(from, seeds, is_set("SITUS_SIM_TWICE"));
    let (text, held) = told(&reports, began.elapsed());
    println!("{text}");
    assert!(held, "not everything held");
}

/// `tests/sim/planted` runs it: bugs of the store's own code are switched on, one after the other, and each
/// must be found by so many seeds.
#[cfg(feature = "planted")]
#[test]
#[ignore = "it switches bugs on for the whole process"]
#[allow(clippy::print_stdout, reason = "a script shows it")]
fn planted() {
    use situs_model::planted::{Bug, set};

    let (seeds, mut missed) = (number("SITUS_SIM_SEEDS", 100), 0);
    for bug in [Bug::TimeoutAsFailure, Bug::FreshSnapshot] {
        set(Some(bug));
        let runtime = runtime();
        let first = (1..=seeds).find_map(|seed| {
            let violation = run(&runtime, seed, false).violations.into_iter().next()?;
            Some((seed, violation))
        });
        match first {
            Some((seed, violation)) => println!("{:20} found by {seed} seeds: {violation}", bug.as_str()),
            None => {
                println!("{:20} NOT FOUND by {seeds} seeds", bug.as_str());
                missed += 1;
            }
        }
    }
    set(None);
    assert_eq!(missed, 0, "not every bug was found");
}
