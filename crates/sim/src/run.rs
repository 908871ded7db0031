//! One course of events: faults first, then calm, then everything must be in its one place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use situs_ingest::{Config, Control, FlushLimits, IngestError, Stores, run_with};
use situs_model::invariant::Invariant;
use situs_model::store::{HomeStore, ZoneStore};
use situs_observe::Metrics;

use crate::client::{self, SimClient};
use crate::cluster::{Cluster, Place, Shared, coordinate};
use crate::host::SimHost;
use crate::plant::{self, Fate, SimPast, TABLES, TOPICS, ZONES};
use crate::store::{self, Disk, Health, SimStore};
use crate::world::World;

/// How long there are faults, and how long calm may last until all is settled.
const CHAOS: Duration = Duration::from_secs(12);
const CALM: Duration = Duration::from_secs(240);
const SESSION: Duration = Duration::from_secs(3);
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
    ended: Vec<Arc<Metrics>>,
    violations: Vec<String>,
    figures: BTreeMap<&'static str, u64>,
    next_process: usize,
}

/// Fates of all records, by place and offset.
type Fates = Rc<RefCell<BTreeMap<(Place, i64), Fate>>>;

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

    /// Appends a few records to a partition; some offsets stay empty, as those of control records do.
    fn send(&self) {
        let world = &self.world;
        let mut cluster = self.cluster.borrow_mut();
        let places: Vec<Place> = cluster.logs.keys().cloned().collect();
        let place = places[world.below(places.len() as u64) as usize].clone();
        let topic = usize::from(place.0 == TOPICS[1]);
        let time_ms = 1_772_323_200_000 + world.now().as_millis() as i64;
        let Some(log) = cluster.logs.get_mut(&place) else { return };
        for _ in 0..1 + world.below(12) {
            if world.chance(4) {
                log.records.push(None);
                continue;
            }
            let (record, fate) = plant::record(world, topic, time_ms);
            self.fates.borrow_mut().insert((place.clone(), log.end()), fate);
            log.records.push(Some(record));
        }
    }
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
        for topic in TOPICS {
            for partition in 0..1 + world.below(3) as i32 {
                cluster.logs.insert((topic.to_owned(), partition), crate::cluster::Log::default());
            }
        }
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
                if at < last_record(log) {
                    self.violations.push(format!("{}/{} settled at {at} of {}", place.0, place.1, log.end()));
                }
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
        match (self.world.below(12), number) {
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
                self.world.after(long, move || disk.borrow_mut().health.refuses = false);
            }
            (7, _) => {
                self.note("a store is slow");
                self.count("stores slow");
                disk.borrow_mut().health.slow = self.world.between(Duration::ZERO, Duration::from_secs(2));
                self.world.after(long, move || disk.borrow_mut().health.slow = Duration::ZERO);
            }
            (8, _) => {
                self.policy = 1 - self.policy;
                self.note(&format!("policy {}", self.policy));
                self.count("policies");
                for at in 0..self.replicas.len() {
                    if self.world.chance(50) {
                        self.kill(at)
                    } else {
                        self.stop(at)
                    }
                    if self.world.chance(50) {
                        self.pass(Duration::from_millis(300));
                    }
                }
            }
            (9, _) => {
                let topic = TOPICS[self.world.below(2) as usize];
                let mut cluster = self.cluster.borrow_mut();
                let next = cluster.logs.keys().filter(|(name, _)| name == topic).count() as i32;
                if next < 4 {
                    cluster.logs.insert((topic.to_owned(), next), crate::cluster::Log::default());
                    cluster.grown();
                }
            }
            _ => {
                for at in 0..self.replicas.len() {
                    if self.replicas[at].process.is_none() {
                        self.start(at);
                    }
                }
            }
        }
    }

    fn settled(&self) -> BTreeMap<Place, i64> {
        let disk = self.disks[0].borrow();
        let mut settled = BTreeMap::new();
        if let Some(table) = disk.tables.get("receipts") {
            for (source, range, _) in &table.receipts {
                settled.insert((source.topic.to_string(), source.partition), range.end.0);
            }
        }
        settled
    }

    fn is_settled(&self) -> bool {
        let settled = self.settled();
        let cluster = self.cluster.borrow();
        cluster.logs.iter().all(|(place, log)| settled.get(place).copied().unwrap_or(0) >= last_record(log))
    }

    /// Everything is in the one place that is right for it.
    fn check(&mut self) {
        let mut found = Vec::new();
        let settled = self.settled();
        for ((place, offset), fate) in &*self.fates.borrow() {
            if *offset >= settled.get(place).copied().unwrap_or(0) {
                continue;
            }
            if let Some(problem) = self.look_at(place, *offset, *fate) {
                found.push(format!("{}/{} {offset} {fate:?}: {problem}", place.0, place.1));
            }
        }
        let known = self.fates.borrow();
        for (zone, disk) in ZONES.iter().zip(&self.disks) {
            for table in disk.borrow().tables.values() {
                let strays =
                    table.rows.keys().filter(|id| !known.contains_key(&((id.0.clone(), id.1), id.2)));
                found.extend(strays.map(|id| format!("{zone} has a row of {id:?}, which nobody sent")));
            }
        }
        drop(known);
        let mut next: BTreeMap<Place, i64> = BTreeMap::new();
        if let Some(receipts) = self.disks[0].borrow().tables.get("receipts") {
            for (source, range, _) in &receipts.receipts {
                let place = (source.topic.to_string(), source.partition);
                // The first receipt begins where the first record lay.
                let before = next.insert(place, range.end.0);
                if before.is_some_and(|before| before != range.start.0) {
                    found.push(format!("{source}: a receipt of {range} after {before:?}"));
                }
            }
        }
        for metrics in &self.ended {
            for (word, _) in Invariant::WORDS {
                let count = metrics.invariant_violations.with_label_values(&[word]).get();
                if count > 0 {
                    found.push(format!("invariant {word} was broken {count} times"));
                }
            }
        }
        found.truncate(8);
        self.violations.extend(found);
    }

    fn look_at(&self, place: &Place, offset: i64, fate: Fate) -> Option<String> {
        let table = TABLES[usize::from(place.0 == TOPICS[1])];
        // Zone, policy and tag of each copy of each row.
        type Copies<'a> = Vec<(&'a str, String, Option<String>)>;
        let mut rows: BTreeMap<i32, Copies<'_>> = BTreeMap::new();
        for (zone, disk) in ZONES.iter().zip(&self.disks) {
            let disk = disk.borrow();
            let Some(table) = disk.tables.get(table) else { continue };
            let (first, last) =
                ((place.0.clone(), place.1, offset, 0), (place.0.clone(), place.1, offset, i32::MAX));
            for (id, copies) in table.rows.range(first..=last) {
                let copies = copies.iter().map(|row| (*zone, row.policy.clone(), row.zone.clone()));
                rows.entry(id.3).or_default().extend(copies);
            }
        }
        let home = self.disks[0].borrow();
        let key = (place.0.clone(), place.1, offset);
        let reasons = home.tables.get("quarantine").and_then(|table| table.quarantined.get(&key));
        let reasons: Vec<&str> = reasons.into_iter().flatten().map(|reason| reason.as_str()).collect();
        let copies: usize = rows.values().map(Vec::len).sum();
        match fate {
            Fate::Stored { rows: wanted, .. } => {
                if !reasons.is_empty() {
                    return Some(format!("in quarantine as {reasons:?}, with {copies} rows in tables"));
                }
                if copies != wanted as usize || rows.len() != wanted as usize {
                    return Some(format!("{copies} rows: {rows:?}"));
                }
                let mut places: Vec<_> = rows.values().flatten().collect();
                places.dedup();
                if places.len() > 1 {
                    return Some(format!("divided: {rows:?}"));
                }
                let (zone, policy, tag) = places.first()?;
                let right = fate.allows(zone, policy) && tag.as_deref() == Some(*zone);
                (!right).then(|| format!("in {zone}, tagged {tag:?} by policy {policy}"))
            }
            Fate::Quarantined(reason) => (copies > 0 || reasons != [reason])
                .then(|| format!("{copies} rows, in quarantine as {reasons:?}")),
            Fate::Nothing => (copies > 0 || !reasons.is_empty())
                .then(|| format!("{copies} rows, in quarantine as {reasons:?}")),
        }
    }
}

/// The offset after the last one at which there is a record.
fn last_record(log: &crate::cluster::Log) -> i64 {
    log.records.iter().rposition(Option::is_some).map_or(0, |at| at as i64 + 1)
}
