//! The cluster's client, as the intake sees it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use situs_ingest::client::{
    Begin, Client, ClientError, Message, Polled, Queue, Reader, Rebalance, Start, Told, TopicIds,
};
use situs_model::Source;

use crate::cluster::{Place, Record, Shared};
use crate::world::world;

/// Messages that one read gives at most.
const MESSAGES: u64 = 40;
/// An error of the transport, as librdkafka numbers them (`RD_KAFKA_RESP_ERR__TRANSPORT`).
const TRANSPORT: i32 = -195;

/// How a client stands in a partition.
#[derive(Debug, Default)]
struct Standing {
    /// What is fetched next.
    next: i64,
    /// What the client believes to have handed over, and 1.
    own: Option<i64>,
    paused: bool,
    /// From when on it can be moved.
    movable: Duration,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<Place, Standing>,
    queues: BTreeMap<Place, u64>,
    rebalances: Vec<(Rebalance, bool)>,
    lost: bool,
    told_at: Duration,
    bounds: BTreeMap<Place, (i64, i64)>,
    steady: bool,
    closed: bool,
    woken: bool,
}

thread_local! {
    /// All clients of the world, by number.
    static CLIENTS: RefCell<BTreeMap<u64, Rc<RefCell<State>>>> = const { RefCell::new(BTreeMap::new()) };
    static CLUSTER: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// Sets the cluster of all clients of this thread.
pub(crate) fn begin(cluster: &Shared) {
    CLIENTS.with_borrow_mut(BTreeMap::clear);
    CLUSTER.with_borrow_mut(|there| *there = Some(cluster.clone()));
}

fn cluster() -> Shared {
    CLUSTER.with_borrow(|cluster| cluster.clone().expect("a cluster"))
}

/// A client.
#[derive(Debug)]
pub(crate) struct SimClient {
    number: u64,
    process: usize,
    in_group: bool,
}

fn place_of(source: &Source) -> Place {
    (source.topic.to_string(), source.partition)
}

impl SimClient {
    /// A client of a process, in the group or in none.
    pub(crate) fn new(process: usize, in_group: bool) -> Self {
        let number = world().unique();
        CLIENTS.with_borrow_mut(|clients| clients.insert(number, Rc::default()));
        Self { number, process, in_group }
    }

    fn state(&self) -> Rc<RefCell<State>> {
        state(self.number)
    }

    fn reaches(&self) -> bool {
        reaches(self.number, self.process, self.in_group)
    }
}

fn state(client: u64) -> Rc<RefCell<State>> {
    CLIENTS.with_borrow(|clients| clients[&client].clone())
}

fn reaches(client: u64, process: usize, in_group: bool) -> bool {
    let cluster = cluster();
    let cluster = cluster.borrow();
    if in_group {
        cluster.reaches(client)
    } else {
        cluster.up && !cluster.members.values().any(|member| member.process == process && member.isolated)
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        // A process that was killed says good-bye to nobody; its session ends by itself.
        if self.in_group && !std::thread::panicking() && self.reaches() {
            cluster().borrow_mut().leave(self.number);
        }
    }
}

impl TopicIds for SimClient {
    fn topic_ids(&self, topics: &[Arc<str>], limit: Duration) -> Result<Vec<Told>, ClientError> {
        let world = world();
        if !self.reaches() {
            world.block(Some(world.now() + limit));
            return Err(ClientError("timed out".to_owned()));
        }
        world.block(Some(world.now() + world.between(Duration::ZERO, Duration::from_millis(5))));
        let cluster = cluster();
        let cluster = cluster.borrow();
        Ok(topics.iter().map(|topic| cluster.told(topic)).collect())
    }
}

impl Client for SimClient {
    type Queue = SimQueue;

    fn subscribe(&self, _: &[&str]) -> Result<(), ClientError> {
        cluster().borrow_mut().join(self.number, self.process);
        Ok(())
    }

    fn poll(&self, limit: Duration) -> Polled {
        let world = world();
        if !limit.is_zero() {
            world.block(Some(world.now() + limit));
        }
        let state = self.state();
        let cluster = cluster();
        let mut cluster = cluster.borrow_mut();
        let reaches = self.in_group && cluster.reaches(self.number);
        let mut state = state.borrow_mut();
        if let Some(member) = cluster.members.get_mut(&self.number)
            && (reaches || member.events.iter().any(|(_, lost)| *lost))
            && let Some(event) = member.events.pop_front()
        {
            state.steady = false;
            state.rebalances.push(event);
        }
        if self.in_group && reaches && world.now() >= state.told_at + Duration::from_millis(300) {
            state.told_at = world.now();
            state.bounds =
                cluster.logs.iter().map(|(place, log)| (place.clone(), (log.start, log.end()))).collect();
            state.steady = cluster.is_steady(self.number);
        }
        if !cluster.up {
            state.steady = false;
        }
        Polled::Nothing
    }

    fn next_rebalance(&self) -> Option<Rebalance> {
        let state = self.state();
        let mut state = state.borrow_mut();
        if state.rebalances.is_empty() {
            return None;
        }
        let (event, lost) = state.rebalances.remove(0);
        state.lost = lost;
        Some(event)
    }

    fn is_cooperative(&self) -> bool {
        cluster().borrow().cooperative
    }

    fn has_lost(&self) -> bool {
        self.state().borrow().lost
    }

    fn assign(&self, partitions: &[Begin]) -> Result<(), ClientError> {
        let world = world();
        world.tell(|| format!("process {} assigns {partitions:?}", self.process));
        let state = self.state();
        let mut state = state.borrow_mut();
        if self.in_group && !self.is_cooperative() {
            state.partitions.clear();
        }
        restart(&mut state);
        for (source, start) in partitions {
            let place = place_of(source);
            let movable = world.now() + world.between(Duration::ZERO, Duration::from_millis(60));
            let next = resolve(&place, *start);
            state.partitions.insert(place, Standing { next, own: None, paused: false, movable });
        }
        if self.in_group {
            cluster().borrow_mut().answered(self.number, &[]);
        }
        Ok(())
    }

    fn unassign(&self, partitions: &[Source]) -> Result<(), ClientError> {
        let gone: Vec<Place> = partitions.iter().map(place_of).collect();
        world().tell(|| format!("process {} unassigns {gone:?}", self.process));
        let state = self.state();
        let mut state = state.borrow_mut();
        if self.is_cooperative() {
            restart(&mut state);
            state.partitions.retain(|place, _| !gone.contains(place));
        } else {
            state.partitions.clear();
        }
        cluster().borrow_mut().answered(self.number, &gone);
        Ok(())
    }

    fn pause(&self, partitions: &[Source]) -> Result<(), ClientError> {
        self.set_paused(partitions, true)
    }

    fn resume(&self, partitions: &[Source]) -> Result<(), ClientError> {
        self.set_paused(partitions, false)
    }

    fn seek(&self, partition: &Source, to: Start, _: Duration) -> Result<(), ClientError> {
        let place = place_of(partition);
        let next = resolve(&place, to);
        world().tell(|| format!("process {} seeks {}/{} to {next}", self.process, place.0, place.1));
        let state = self.state();
        let mut state = state.borrow_mut();
        match state.partitions.get_mut(&place) {
            Some(standing) if world().now() >= standing.movable => {
                standing.next = next;
                standing.own = None;
                Ok(())
            }
            _ => Err(ClientError("erroneous state".to_owned())),
        }
    }

    fn end_of(&self, partition: &Source, limit: Duration) -> Result<i64, ClientError> {
        let world = world();
        if !self.reaches() {
            world.block(Some(world.now() + limit));
            return Err(ClientError("timed out".to_owned()));
        }
        world.block(Some(world.now() + world.between(Duration::ZERO, Duration::from_millis(5))));
        let end = cluster().borrow().logs.get(&place_of(partition)).map(crate::cluster::Log::end);
        end.ok_or_else(|| ClientError("unknown partition".to_owned()))
    }

    fn bounds(&self, partition: &Source) -> Option<(i64, i64)> {
        self.state().borrow().bounds.get(&place_of(partition)).copied()
    }

    fn positions(&self, partitions: &[Source]) -> Vec<Option<i64>> {
        let state = self.state();
        let state = state.borrow();
        partitions.iter().map(|source| state.partitions.get(&place_of(source))?.own).collect()
    }

    fn tell_group(&self, offsets: &[(Source, i64)], _: bool) -> Result<(), ClientError> {
        if !self.reaches() {
            return Err(ClientError("not there".to_owned()));
        }
        for (source, offset) in offsets {
            let settled = crate::store::settled_offset(source);
            if *offset > settled {
                world()
                    .violation(format!("EO-6: the group is told {offset} of {source}, settled is {settled}"));
            }
        }
        Ok(())
    }

    fn fatal(&self) -> Option<String> {
        None
    }

    fn is_steady(&self) -> bool {
        self.state().borrow().steady
    }

    fn queue(self: &Arc<Self>) -> Option<SimQueue> {
        let number = world().unique();
        Some(SimQueue { number, client: self.clone() })
    }

    fn reader(&self) -> Result<Arc<Self>, ClientError> {
        Ok(Arc::new(Self::new(self.process, false)))
    }

    fn close(&self) {
        self.state().borrow_mut().closed = true;
    }
}

impl SimClient {
    fn set_paused(&self, partitions: &[Source], paused: bool) -> Result<(), ClientError> {
        let state = self.state();
        let mut state = state.borrow_mut();
        for source in partitions {
            if let Some(standing) = state.partitions.get_mut(&place_of(source)) {
                standing.paused = paused;
            }
        }
        Ok(())
    }
}

/// At each change of its assignment librdkafka stops all partitions and starts them at its own idea of what
/// was read.
fn restart(state: &mut State) {
    for standing in state.partitions.values_mut() {
        standing.next = standing.own.unwrap_or(standing.next);
    }
}

fn resolve(place: &Place, start: Start) -> i64 {
    let cluster = cluster();
    let cluster = cluster.borrow();
    let bounds = cluster.logs.get(place).map_or((0, 0), |log| (log.start, log.end()));
    match start {
        Start::Beginning => bounds.0,
        Start::At(offset) => offset,
        Start::End => bounds.1,
    }
}

/// A queue.
#[derive(Debug)]
pub(crate) struct SimQueue {
    number: u64,
    client: Arc<SimClient>,
}

impl Queue for SimQueue {
    type Reader = SimReader;

    fn take_over(&self, partition: &Source) -> bool {
        self.client.state().borrow_mut().queues.insert(place_of(partition), self.number);
        true
    }

    fn start_of(&self, partition: &Source) -> Option<i64> {
        cluster().borrow().logs.get(&place_of(partition)).map(|log| log.start)
    }

    fn wake(&self) {
        self.client.state().borrow_mut().woken = true;
    }

    fn note_error(&self, _: i32, _: &str, _: i32) {}

    fn reader(self: &Arc<Self>) -> SimReader {
        SimReader { queue: self.clone(), messages: Vec::new() }
    }
}

/// Reads a queue.
#[derive(Debug)]
pub(crate) struct SimReader {
    queue: Arc<SimQueue>,
    messages: Vec<SimMessage>,
}

/// A message or an error.
#[derive(Debug)]
pub(crate) struct SimMessage {
    place: Place,
    offset: i64,
    record: Option<Record>,
}

impl Reader for SimReader {
    type Message = SimMessage;

    fn read(&mut self, limit: Duration) -> &[SimMessage] {
        let world = world();
        self.messages.clear();
        self.fill();
        if self.messages.is_empty() {
            world.block(Some(world.now() + world.between(limit / 4, limit)));
            self.fill();
        }
        &self.messages
    }

    fn clear(&mut self) {
        self.messages.clear();
    }
}

impl SimReader {
    fn fill(&mut self) {
        let SimQueue { number, client } = &*self.queue;
        if !reaches(client.number, client.process, client.in_group) {
            return;
        }
        let world = world();
        let cluster = cluster();
        let cluster = cluster.borrow();
        let state = client.state();
        let mut state = state.borrow_mut();
        let State { partitions, queues, .. } = &mut *state;
        for (place, standing) in partitions {
            if standing.paused || queues.get(place) != Some(number) {
                continue;
            }
            let Some(log) = cluster.logs.get(place) else { continue };
            // An offset that is no more: from the first one that is.
            if standing.next < log.start || standing.next > log.end() {
                standing.next = log.start;
            }
            if world.chance(1) {
                // It counts as if it were the message in whose place it comes.
                standing.own = Some(standing.next + 1);
                self.messages.push(SimMessage { place: place.clone(), offset: -1, record: None });
                continue;
            }
            let most = 1 + world.below(MESSAGES) as usize;
            let (before, first) = (self.messages.len(), standing.next);
            while self.messages.len() < before + most && standing.next < log.end() {
                let offset = standing.next;
                standing.next += 1;
                standing.own = Some(standing.next);
                if let Some(record) = &log.records[offset as usize] {
                    let record = Some(record.clone());
                    self.messages.push(SimMessage { place: place.clone(), offset, record });
                }
            }
            if standing.next > first {
                let (process, next) = (client.process, standing.next);
                world.tell(|| format!("process {process} reads {}/{} {first}..{next}", place.0, place.1));
            }
        }
    }
}

impl Message for SimMessage {
    fn error(&self) -> Option<i32> {
        self.record.is_none().then_some(TRANSPORT)
    }

    fn topic_handle(&self) -> usize {
        self.place.0.len()
    }

    fn topic(&self) -> &str {
        &self.place.0
    }

    fn partition(&self) -> i32 {
        self.place.1
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn key(&self) -> Option<&[u8]> {
        self.record.as_ref().map(|record| record.key.as_slice())
    }

    fn payload(&self) -> Option<&[u8]> {
        self.record.as_ref()?.payload.as_deref()
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.record.as_ref().map(|record| record.time_ms)
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        std::iter::empty()
    }
}
