//! A Kafka cluster with one consumer group, as a member of the group sees it.
//!
//! What it does is what the protocol allows and librdkafka does, at its worst: a member learns late that it
//! was expelled, positions are wrong after errors and rebalances, a partition that was just assigned cannot
//! be moved yet.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use situs_ingest::client::{Rebalance, Told};
use situs_model::TopicId;

use crate::world::world;

/// A partition: topic and number.
pub(crate) type Place = (String, i32);

/// A record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its key.
    pub(crate) key: Vec<u8>,
    /// Its value.
    pub(crate) payload: Option<Vec<u8>>,
    /// When it came, ms since the epoch.
    pub(crate) time_ms: i64,
}

/// The log of a partition.
#[derive(Debug)]
pub(crate) struct Log {
    /// The topic that it belongs to.
    pub(crate) topic: Topic,
    /// The first offset that is there.
    pub(crate) start: i64,
    /// What lies at each offset; `None` where a transaction or compaction left a hole.
    pub(crate) records: Vec<Option<Record>>,
}

/// A topic, from its creation to its deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Topic {
    /// Its id.
    pub(crate) id: TopicId,
    /// When it was created, ms since the epoch. Its records are not older, and those of the topics of its name
    /// before it are.
    pub(crate) born_ms: i64,
}

impl Log {
    /// An empty log.
    pub(crate) fn new(topic: Topic) -> Self {
        Self { topic, start: 0, records: Vec::new() }
    }

    /// Deletes all records below an offset, as retention does.
    pub(crate) fn truncate(&mut self, start: i64) {
        self.start = start.clamp(self.start, self.end());
        self.records.iter_mut().take(self.start as usize).for_each(|record| *record = None);
    }

    /// The offset after the last one.
    pub(crate) fn end(&self) -> i64 {
        self.records.len() as i64
    }
}

/// A member of the group, as the coordinator and its own client know it.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Whose it is.
    pub(crate) process: usize,
    heard: Duration,
    owned: BTreeSet<Place>,
    /// Changes that its client has not handed over yet.
    pub(crate) events: VecDeque<(Rebalance, bool)>,
    /// Changes that it has not answered.
    unanswered: usize,
    /// It was expelled and does not know it.
    expelled: bool,
    /// Its network is gone.
    pub(crate) isolated: bool,
    /// Its process is dead.
    pub(crate) dead: bool,
}

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Whether the broker is there.
    pub(crate) up: bool,
    /// All partitions.
    pub(crate) logs: BTreeMap<Place, Log>,
    /// Whether it tells the ids of topics.
    pub(crate) tells_ids: bool,
    /// The group's members by number.
    pub(crate) members: BTreeMap<u64, Member>,
    owners: BTreeMap<Place, u64>,
    /// Whether the group is cooperative.
    pub(crate) cooperative: bool,
    /// How long the coordinator waits for a member.
    pub(crate) session: Duration,
    dirty: bool,
    /// An eager group takes everything from everybody first.
    clearing: bool,
    /// Rebalances begun.
    pub(crate) rebalances: u64,
}

/// How often the coordinator looks at its members.
const LOOK: Duration = Duration::from_millis(50);

/// A cluster that others hold too.
pub(crate) type Shared = Rc<RefCell<Cluster>>;

/// Lets the coordinator work, as long as the world lasts.
pub(crate) fn coordinate(cluster: &Shared) {
    let again = cluster.clone();
    world().after(LOOK, move || {
        again.borrow_mut().look();
        coordinate(&again);
    });
}

impl Cluster {
    /// A broker that is there, without topics.
    pub(crate) fn new(session: Duration, cooperative: bool) -> Self {
        Self { up: true, session, cooperative, ..Self::default() }
    }

    /// Whether a member can reach the broker now.
    pub(crate) fn reaches(&self, member: u64) -> bool {
        let there = self.members.get(&member);
        self.up
            && there
                .is_some_and(|member| !member.isolated && !member.dead && !world().is_frozen(member.process))
    }

    /// Lets a process join.
    pub(crate) fn join(&mut self, member: u64, process: usize) {
        let heard = world().now();
        self.members.insert(member, Member { process, heard, ..Member::default() });
        self.dirty = true;
    }

    /// A member leaves, or its process is dead and the session over.
    pub(crate) fn leave(&mut self, member: u64) {
        if self.members.remove(&member).is_some() {
            self.owners.retain(|_, owner| *owner != member);
            self.dirty = true;
        }
    }

    /// What it says of the topic that has a name now.
    pub(crate) fn told(&self, name: &str) -> Told {
        match self.topic(name) {
            None => Told::NoTopic,
            Some(topic) if self.tells_ids => Told::Id(topic.id),
            Some(_) => Told::NoId,
        }
    }

    /// The topic that has a name now.
    pub(crate) fn topic(&self, name: &str) -> Option<Topic> {
        self.logs.iter().find(|((topic, _), _)| topic == name).map(|(_, log)| log.topic)
    }

    /// Partitions came, or went.
    pub(crate) fn grown(&mut self) {
        self.dirty = true;
    }

    /// A member has answered a change of its assignment.
    pub(crate) fn answered(&mut self, member: u64, gone: &[Place]) {
        let Some(there) = self.members.get_mut(&member) else { return };
        there.unanswered = there.unanswered.saturating_sub(1);
        for place in gone {
            there.owned.remove(place);
            if self.owners.get(place) == Some(&member) {
                self.owners.remove(place);
            }
        }
        self.dirty = true;
    }

    /// Whether no change is under way for a member.
    pub(crate) fn is_steady(&self, member: u64) -> bool {
        let quiet = |member: &Member| member.events.is_empty() && member.unanswered == 0 && !member.expelled;
        self.reaches(member) && !self.dirty && self.members.get(&member).is_some_and(quiet)
    }

    fn look(&mut self) {
        let now = world().now();
        if !self.up {
            self.members.values_mut().for_each(|member| member.heard = now);
            return;
        }
        let numbers: Vec<u64> = self.members.keys().copied().collect();
        for number in numbers {
            let reaches = self.reaches(number);
            let session = self.session;
            let Some(member) = self.members.get_mut(&number) else { continue };
            if reaches {
                member.heard = now;
                if member.expelled && world().chance(30) {
                    // It hears that it is none any more, and joins again as another.
                    member.expelled = false;
                    // What its client has handed over it answers yet, as if nothing had happened.
                    member.unanswered = member.unanswered.saturating_sub(member.events.len());
                    member.events.clear();
                    let all: Vec<Place> = std::mem::take(&mut member.owned).into_iter().collect();
                    if !all.is_empty() {
                        member.events.push_back((Rebalance::Revoke(all), true));
                        member.unanswered += 1;
                    }
                    self.dirty = true;
                }
            } else if now.saturating_sub(member.heard) > session && !member.expelled {
                member.expelled = true;
                let dead = member.dead;
                self.owners.retain(|_, owner| *owner != number);
                self.dirty = true;
                if dead {
                    self.members.remove(&number);
                }
            }
        }
        if self.dirty && world().chance(50) {
            self.rebalance();
        }
    }

    fn rebalance(&mut self) {
        self.dirty = false;
        let numbers: Vec<u64> =
            self.members.iter().filter(|(_, member)| !member.expelled).map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            return;
        }
        if !self.cooperative {
            self.rebalance_eagerly(&numbers);
            return;
        }
        // Sticky: whoever has a partition keeps it, as far as all have about as many.
        let most = self.logs.len().div_ceil(numbers.len());
        let mut target: BTreeMap<u64, BTreeSet<Place>> =
            numbers.iter().map(|number| (*number, BTreeSet::new())).collect();
        let mut homeless = Vec::new();
        for place in self.logs.keys() {
            let owner = self.owners.get(place).and_then(|owner| target.get_mut(owner));
            match owner.filter(|owned| owned.len() < most) {
                Some(owned) => drop(owned.insert(place.clone())),
                None => homeless.push(place.clone()),
            }
        }
        for place in homeless {
            let least = numbers.iter().copied().min_by_key(|number| (target[number].len(), *number));
            if let Some(least) = least {
                target.entry(least).or_default().insert(place);
            }
        }
        let mut changed = false;
        for number in numbers {
            let Some(member) = self.members.get_mut(&number) else { continue };
            if member.unanswered > 0 || !member.events.is_empty() {
                self.dirty = true;
                continue;
            }
            let wanted = &target[&number];
            let gone: Vec<Place> = member.owned.difference(wanted).cloned().collect();
            if !gone.is_empty() {
                member.unanswered += 1;
                member.events.push_back((Rebalance::Revoke(gone), false));
                changed = true;
                continue;
            }
            let free = |place: &&Place| !self.owners.contains_key(*place);
            let come: Vec<Place> = wanted.difference(&member.owned).filter(free).cloned().collect();
            let missing = wanted.difference(&member.owned).count() > come.len();
            self.dirty |= missing;
            if !come.is_empty() {
                for place in &come {
                    member.owned.insert(place.clone());
                    self.owners.insert(place.clone(), number);
                }
                member.unanswered += 1;
                member.events.push_back((Rebalance::Assign(come), false));
                changed = true;
            }
        }
        self.rebalances += u64::from(changed);
    }

    fn rebalance_eagerly(&mut self, numbers: &[u64]) {
        if numbers.iter().any(|number| self.members[number].unanswered > 0) {
            self.dirty = true;
            return;
        }
        if !self.clearing && numbers.iter().any(|number| !self.members[number].owned.is_empty()) {
            for number in numbers {
                let Some(member) = self.members.get_mut(number) else { continue };
                if !member.owned.is_empty() {
                    let all = member.owned.iter().cloned().collect();
                    member.unanswered += 1;
                    member.events.push_back((Rebalance::Revoke(all), false));
                }
            }
            self.clearing = true;
            self.dirty = true;
            return;
        }
        self.clearing = false;
        self.rebalances += 1;
        let places: Vec<Place> = self.logs.keys().cloned().collect();
        for (at, number) in numbers.iter().enumerate() {
            let mine: Vec<Place> = places.iter().skip(at).step_by(numbers.len()).cloned().collect();
            for place in &mine {
                self.owners.insert(place.clone(), *number);
            }
            let Some(member) = self.members.get_mut(number) else { continue };
            member.owned = mine.iter().cloned().collect();
            member.unanswered += 1;
            member.events.push_back((Rebalance::Assign(mine), false));
        }
    }
}
