//! One course of events: faults first, then calm, then everything must be in its one place.

mod oracle;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use situs_ingest::{Config, Control, FlushLimits, IngestError, Stores, run_with};
use situs_model::TopicId;
use situs_model::store::{HomeStore, ZoneStore};
use situs_observe::Metrics;

use crate::client::{self, SimClient};
use crate::cluster::{Cluster, Log, Place, Shared, Topic, coordinate};
use crate::host::SimHost;
use crate::plant::{self, Fate, SimPast, TOPICS, ZONES};
use crate::store::{self, Disk, Health, SimStore};
use crate::world::World;
use oracle::last_record;

/// How long there are faults, and how long calm may last until all is settled.
const CHAOS: Duration = Duration::from_secs(12);
const CALM: Duration = Duration::from_secs(240);
const SESSION: Duration = Duration::from_secs(3);
/// When the world began, ms since the epoch.
const BEGAN_MS: i64 = 1_772_323_200_000;
const WORKERS: usize = 2;

/// What came of a seed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    /// What did not hold.
    pub(crate) violations: Vec<String>,
    /// The course of events.
    pub(crate) course: String,
    /// A hash of it.
    pub(crate) hash: u64,
    /// Records produced.
    pub(crate) records: u64,
    /// Figures by name.
    pub(crate) figures: BTreeMap<&'static str, u64>,
}

/// A process, from its start to its end.
struct Process {
    number: usize,
    fiber: usize,
    metrics: Arc<Metrics>,
    control: Arc<Control>,
    result: Rc<RefCell<Option<Result<(), IngestError>>>>,
    ended: bool,
}

/// A place where processes run, one after another.
#[derive(Default)]
struct Replica {
    process: Option<Process>,
    /// It is started again when it has ended.
    wanted: bool,
}

struct Plant {
    world: Rc<World>,
    cluster: Shared,
    disks: Vec<Rc<RefCell<Disk>>>,
    replicas: Vec<Replica>,
    policy: usize,
    fates: Fates,
    /// Records that the broker deleted before they were settled.
    deleted: BTreeSet<Record>,
    /// How often topics may still be deleted and created again.
    recreations: u64,
    ended: Vec<Arc<Metrics>>,
    violations: Vec<String>,
    figures: BTreeMap<&'static str, u64>,
    next_process: usize,
}

/// A record: where it lies, of which topic, and its offset.
type Record = (Place, Topic, i64);

/// Fates of all records.
type Fates = Rc<RefCell<BTreeMap<Record, Fate>>>;

/// Who produces.
#[derive(Clone)]
struct Producer {
    world: Rc<World>,
    cluster: Shared,
    fates: Fates,
}

impl Producer {
    /// Produces for a while, whatever else happens.
    fn produce(self, until: Duration) {
        let pause = self.world.between(Duration::from_millis(5), Duration::from_millis(120));
        self.world.clone().after(pause, move || {
            if self.world.now() > until {
                return;
            }
            if self.cluster.borrow().up {
                self.send();
            }
            self.produce(until);
        });
    }

    /// Appends a few records to a partition.
    fn send(&self) {
        let world = &self.world;
        let mut cluster = self.cluster.borrow_mut();
        let places: Vec<Place> = cluster.logs.keys().cloned().collect();
        if places.is_empty() {
            return;
        }
        let place = places[world.below(places.len() as u64) as usize].clone();
        let Some(log) = cluster.logs.get_mut(&place) else { return };
        fill(world, &place, log, 1 + world.below(12), &self.fates);
    }
}

/// Appends records to a partition; some offsets stay empty, as those of control records do.
fn fill(world: &World, place: &Place, log: &mut Log, count: u64, fates: &Fates) {
    let topic = usize::from(place.0 == TOPICS[1]);
    let time_ms = log.topic.born_ms.max(now_ms(world));
    for _ in 0..count {
        if world.chance(4) {
            log.records.push(None);
            continue;
        }
        let (record, fate) = plant::record(world, topic, time_ms);
        fates.borrow_mut().insert((place.clone(), log.topic, log.end()), fate);
        log.records.push(Some(record));
    }
}

fn now_ms(world: &World) -> i64 {
    BEGAN_MS + world.now().as_millis() as i64
}

/// A topic that is created now, whose records are younger than all that there are.
fn create(world: &World) -> Topic {
    let id = TopicId::of_bits(u128::from(world.unique())).expect("numbers begin with 1");
    Topic { id, born_ms: now_ms(world) + 1 }
}

/// Runs a seed.
pub(crate) fn run(seed: u64) -> Report {
    let world = World::begin(seed);
    let mut plant = Plant::new(world.clone());
    plant.carry_out();
    plant.check();
    let records = plant.fates.borrow().len() as u64;
    for disk in &plant.disks {
        let disk = disk.borrow();
        *plant.figures.entry("commits").or_default() += disk.commits;
        *plant.figures.entry("conflicts").or_default() += disk.conflicts;
    }
    plant.figures.insert("rebalances", plant.cluster.borrow().rebalances);
    plant.figures.insert("turns", world.turns());
    world.note(&format!("over after {} turns: {:?}", world.turns(), plant.figures));
    let (course, hash) = world.course();
    let Plant { mut violations, figures, .. } = plant;
    violations.extend(world.violations());
    violations.truncate(8);
    world.end();
    Report { violations, course, hash, records, figures }
}

impl Plant {
    fn new(world: Rc<World>) -> Self {
        let mut cluster = Cluster::new(SESSION, world.chance(75));
        cluster.tells_ids = world.chance(85);
        for name in TOPICS {
            let topic = create(&world);
            for partition in 0..1 + world.below(3) as i32 {
                cluster.logs.insert((name.to_owned(), partition), Log::new(topic));
            }
        }
        // Without ids it is noticed only where offsets go back, which is no promise.
        let recreations = if cluster.tells_ids && world.chance(50) { 1 + world.below(2) } else { 0 };
        let cluster: Shared = Rc::new(RefCell::new(cluster));
        client::begin(&cluster);
        let disks = store::begin(ZONES.len());
        let replicas = (0..2 + world.below(2)).map(|_| Replica::default()).collect();
        Self {
            world,
            cluster,
            disks,
            replicas,
            policy: 0,
            fates: Rc::default(),
            deleted: BTreeSet::new(),
            recreations,
            ended: Vec::new(),
            violations: Vec::new(),
            figures: BTreeMap::new(),
            next_process: 1,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.figures.entry(what).or_default() += 1;
    }

    fn note(&self, text: &str) {
        self.world.note(text);
    }

    fn start(&mut self, replica: usize) {
        let process = self.next_process;
        self.next_process += 1;
        self.note(&format!("replica {replica}: process {process} starts with policy {}", self.policy));
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let control = Arc::new(Control::default());
        let result = Rc::new(RefCell::new(None));
        let policy = self.policy;
        let world = &self.world;
        let config = Config {
            cluster: "kafka".parse().expect("a cluster's name"),
            brokers: String::new(),
            group: "situs".to_owned(),
            properties: BTreeMap::new(),
            flush: FlushLimits {
                age: world.between(Duration::from_millis(100), Duration::from_millis(900)),
                rows: 20 + world.below(400),
                bytes: 1 << 20,
            },
            memory_bytes: 1 << 20,
            drain_timeout: Duration::from_millis(1500),
            partition_series: 1000,
            until_caught_up: false,
        };
        let fiber = {
            let (metrics, control, result) = (metrics.clone(), control.clone(), result.clone());
            world.spawn(process, move || {
                let store = |disk: usize| Arc::new(SimStore::new(disk, ZONES[disk]));
                let zones = (0..ZONES.len()).map(|disk| {
                    let store: Arc<dyn ZoneStore> = store(disk);
                    (store.identity().zone.clone(), store)
                });
                let home: Arc<dyn HomeStore> = store(0);
                let stores = Stores { zones: zones.collect(), home, past: Arc::new(SimPast) };
                let workers = (0..WORKERS).map(|_| plant::stages(policy)).collect();
                let host = Arc::new(SimHost { process });
                let client = SimClient::new(process, true);
                let ended = run_with(host, client, &config, workers, stores, metrics, &control);
                *result.borrow_mut() = Some(ended.map(drop));
            })
        };
        self.replicas[replica].process =
            Some(Process { number: process, fiber, metrics, control, result, ended: false });
        self.replicas[replica].wanted = true;
    }

    fn kill(&mut self, replica: usize) {
        self.replicas[replica].wanted = false;
        let Some(process) = self.replicas[replica].process.take() else { return };
        self.note(&format!("process {} is killed", process.number));
        self.count("kills");
        self.world.kill(process.number);
        for member in self.cluster.borrow_mut().members.values_mut() {
            member.dead |= member.process == process.number;
        }
        self.ended.push(process.metrics);
    }

    fn stop(&mut self, replica: usize) {
        self.replicas[replica].wanted = false;
        if let Some(process) = &self.replicas[replica].process {
            self.note(&format!("process {} is told to stop", process.number));
            process.control.stop();
        }
        self.count("drains");
    }

    /// A new policy, while a store takes nothing or little: it has to wait.
    fn reload_all_sometimes(&mut self) {
        if self.world.chance(50) {
            self.policy = 1 - self.policy;
            (0..self.replicas.len()).for_each(|at| self.reload(at));
        }
    }

    /// Lets a replica that runs change to today's policy.
    fn reload(&mut self, replica: usize) {
        let Some(process) = &self.replicas[replica].process else { return };
        self.note(&format!("process {} reloads policy {}", process.number, self.policy));
        let (version, _) = plant::judges(self.policy);
        let judges = (0..WORKERS).map(|_| plant::judges(self.policy).1).collect();
        process.control.ask_for_policy(version, judges);
        self.count("reloads");
    }

    /// Looks who has ended, and why. Whoever ends by itself is started again.
    fn look_after(&mut self) {
        for at in 0..self.replicas.len() {
            let over = self.replicas[at]
                .process
                .as_ref()
                .is_some_and(|process| !process.ended && self.world.fate(process.fiber).is_some());
            if !over {
                continue;
            }
            let Some(process) = self.replicas[at].process.take() else { continue };
            let text = match &*process.result.borrow() {
                Some(Ok(())) => "in order".to_owned(),
                Some(Err(error)) => error.to_string(),
                None => "by a panic".to_owned(),
            };
            self.note(&format!("process {} ends: {text}", process.number));
            let stopped = process.control.is_stopping();
            let expected = text == "in order" || stopped && text.contains("drain time");
            if !expected {
                self.violations.push(format!("process {} ended: {text}", process.number));
            }
            self.world.kill(process.number);
            for member in self.cluster.borrow_mut().members.values_mut() {
                member.dead |= member.process == process.number;
            }
            self.ended.push(process.metrics);
            if self.replicas[at].wanted {
                self.start(at);
            }
        }
    }

    /// Lets time go by.
    fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        while self.world.now() < until {
            let step = until.min(self.world.now() + Duration::from_millis(100));
            self.world.run(step, |_| false);
            self.look_after();
        }
    }

    fn carry_out(&mut self) {
        coordinate(&self.cluster);
        let end = self.world.now() + CHAOS;
        let (world, cluster, fates) = (self.world.clone(), self.cluster.clone(), self.fates.clone());
        Producer { world, cluster, fates }.produce(end);
        for replica in 0..self.replicas.len() {
            self.start(replica);
        }
        let always = if self.world.chance(60) { self.world.below(12) } else { 0 };
        self.disks.iter().for_each(|disk| disk.borrow_mut().health.faulty = always);
        while self.world.now() < end {
            let pause = self.world.between(Duration::from_millis(100), Duration::from_millis(2500));
            self.pass(pause);
            self.fault();
        }
        self.note("calm");
        for disk in &self.disks {
            disk.borrow_mut().health = Health::default();
        }
        {
            let mut cluster = self.cluster.borrow_mut();
            cluster.up = true;
            cluster.members.values_mut().for_each(|member| member.isolated = false);
        }
        for at in 0..self.replicas.len() {
            if let Some(process) = &self.replicas[at].process {
                self.world.thaw(process.number);
            } else {
                self.start(at);
            }
            self.replicas[at].wanted = true;
        }
        let deadline = self.world.now() + CALM;
        while !self.is_settled() && self.world.now() < deadline {
            self.pass(Duration::from_millis(500));
        }
        if !self.is_settled() {
            let settled = self.settled();
            for (place, log) in &self.cluster.borrow().logs {
                let at = settled.get(place).copied().unwrap_or(0);
                if at < last_record(log) && !self.is_another(place, log) {
                    self.violations.push(format!("{}/{} settled at {at} of {}", place.0, place.1, log.end()));
                }
            }
            let (refused, others) = (self.refused(), self.others());
            if !others.contains(&refused) {
                self.violations
                    .push(format!("{refused} partitions are refused, {others:?} are of other topics"));
            }
        }
        let took = self.world.now() + CALM - deadline;
        self.figures.insert("ms to lag 0", took.as_millis() as u64);
        for at in 0..self.replicas.len() {
            self.stop(at);
        }
        self.pass(Duration::from_secs(10));
    }

    /// One fault, or the end of one.
    fn fault(&mut self) {
        let replica = self.world.below(self.replicas.len() as u64) as usize;
        let disk = self.disks[self.world.below(self.disks.len() as u64) as usize].clone();
        let number = self.replicas[replica].process.as_ref().map(|process| process.number);
        let long = self.world.between(Duration::from_millis(500), Duration::from_secs(5));
        match (self.world.below(15), number) {
            (0 | 1, Some(_)) => self.kill(replica),
            (2, Some(number)) if !self.world.is_frozen(number) => {
                self.note(&format!("process {number} is frozen"));
                self.count("zombies");
                self.world.freeze(number);
                let world = self.world.clone();
                self.world.after(SESSION + long, move || world.thaw(number));
            }
            (3, Some(number)) => {
                self.note(&format!("process {number} is cut off"));
                self.count("cut off");
                let cluster = self.cluster.clone();
                let cut = move |off: bool| {
                    let mut cluster = cluster.borrow_mut();
                    cluster
                        .members
                        .values_mut()
                        .filter(|m| m.process == number)
                        .for_each(|m| m.isolated = off);
                };
                cut(true);
                self.world.after(SESSION + long, move || cut(false));
            }
            (4, Some(_)) => self.stop(replica),
            (5, _) => {
                self.note("the broker is away");
                self.count("broker away");
                self.cluster.borrow_mut().up = false;
                let cluster = self.cluster.clone();
                self.world.after(long, move || cluster.borrow_mut().up = true);
            }
            (6, _) => {
                self.note("a store is full");
                self.count("stores full");
                disk.borrow_mut().health.refuses = true;
                self.reload_all_sometimes();
                self.world.after(long, move || disk.borrow_mut().health.refuses = false);
            }
            (7, _) => {
                self.note("a store is slow");
                self.count("stores slow");
                disk.borrow_mut().health.slow = self.world.between(Duration::ZERO, Duration::from_secs(2));
                self.reload_all_sometimes();
                self.world.after(long, move || disk.borrow_mut().health.slow = Duration::ZERO);
            }
            (8, _) => {
                self.policy = 1 - self.policy;
                self.note(&format!("policy {}", self.policy));
                self.count("policies");
                for at in 0..self.replicas.len() {
                    match self.world.below(4) {
                        0 => self.kill(at),
                        1 => self.stop(at),
                        _ => self.reload(at),
                    }
                    if self.world.chance(50) {
                        self.pass(Duration::from_millis(300));
                    }
                }
            }
            (9, _) => {
                let name = TOPICS[self.world.below(2) as usize];
                let mut cluster = self.cluster.borrow_mut();
                let next = cluster.logs.keys().filter(|(of, _)| of == name).count() as i32;
                if let Some(topic) = cluster.topic(name).filter(|_| next < 4) {
                    cluster.logs.insert((name.to_owned(), next), Log::new(topic));
                    cluster.grown();
                }
            }
            (10, _) => self.truncate(),
            (11 | 12, _) if self.recreations > 0 => self.recreate(),
            _ => {
                for at in 0..self.replicas.len() {
                    if self.replicas[at].process.is_none() {
                        self.start(at);
                    }
                }
            }
        }
    }

    /// The broker deletes the oldest records of a partition, settled or not.
    fn truncate(&mut self) {
        let settled = self.settled();
        let mut cluster = self.cluster.borrow_mut();
        let at = self.world.below(cluster.logs.len() as u64) as usize;
        let Some((place, log)) = cluster.logs.iter_mut().nth(at) else { return };
        let start = log.start + self.world.below((log.end() - log.start) as u64 + 1) as i64;
        let from = settled.get(place).copied().unwrap_or(0).max(log.start);
        for offset in from..start {
            if log.records[offset as usize].is_some() {
                self.deleted.insert((place.clone(), log.topic, offset));
            }
        }
        log.truncate(start);
        self.world.note(&format!("{}/{} begins at {start} now, settled is {from}", place.0, place.1));
        *self.figures.entry("truncations").or_default() += 1;
    }

    /// A topic is deleted, and one of its name is created, at once or after a while.
    fn recreate(&mut self) {
        self.recreations -= 1;
        let name = TOPICS[self.world.below(2) as usize];
        let mut cluster = self.cluster.borrow_mut();
        let before: Vec<(Place, i64)> = cluster
            .logs
            .iter()
            .filter(|((of, _), _)| of == name)
            .map(|(place, log)| (place.clone(), log.end()))
            .collect();
        let (world, fates) = (self.world.clone(), self.fates.clone());
        let born = move |cluster: &mut Cluster| {
            let topic = create(&world);
            // Half of them are longer than the ones before at once.
            let longer = world.chance(50);
            for (place, end) in before {
                let mut log = Log::new(topic);
                let count = if longer { end as u64 + world.below(30) } else { world.below(30) };
                fill(&world, &place, &mut log, count, &fates);
                cluster.logs.insert(place, log);
            }
            world.note("the topic is created again");
        };
        self.world.note(&format!("{name} is deleted"));
        *self.figures.entry("recreations").or_default() += 1;
        if self.world.chance(50) {
            // Before anybody's metadata tell it.
            born(&mut cluster);
            return;
        }
        cluster.logs.retain(|(of, _), _| of != name);
        cluster.grown();
        let long = self.world.between(Duration::from_millis(100), Duration::from_secs(6));
        let again = self.cluster.clone();
        self.world.after(long, move || {
            let mut cluster = again.borrow_mut();
            born(&mut cluster);
            cluster.grown();
        });
    }
}
