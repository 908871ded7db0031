//! The oracle: what stores hold at the end, against what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use situs_model::TopicId;
use situs_model::invariant::Invariant;

use super::Plant;
use crate::cluster::{Log, Place, Topic};
use crate::plant::{Fate, TABLES, TOPICS, ZONES};

impl Plant {
    /// The topics that something is stored of a place from, each by its id.
    fn stored_of(&self, place: &Place) -> BTreeSet<TopicId> {
        let mut ids = BTreeSet::new();
        let fates = self.fates.borrow();
        // Topics of the name, from the newest.
        let topics: BTreeSet<(i64, TopicId)> =
            fates.keys().filter(|(of, ..)| of.0 == place.0).map(|(_, t, _)| (t.born_ms, t.id)).collect();
        let of_time =
            |time_ms: i64| topics.iter().rev().find(|(born, _)| *born <= time_ms).map(|(_, id)| *id);
        for disk in &self.disks {
            for table in disk.borrow().tables.values() {
                let (first, last) =
                    ((place.0.clone(), place.1, 0, 0), (place.0.clone(), place.1, i64::MAX, i32::MAX));
                let rows = table.rows.range(first..=last).flat_map(|(_, rows)| rows);
                ids.extend(rows.filter_map(|row| of_time(row.time_ms)));
                let (first, last) = ((place.0.clone(), place.1, 0), (place.0.clone(), place.1, i64::MAX));
                let messages = table.quarantined.range(first..=last).flat_map(|(_, messages)| messages);
                ids.extend(messages.filter_map(|(_, time_ms)| of_time(*time_ms)));
                let receipts = table.receipts.iter();
                let mine = receipts.filter(|(of, ..)| *of.topic == *place.0 && of.partition == place.1);
                ids.extend(mine.filter_map(|(.., id)| *id));
            }
        }
        ids
    }

    /// Whether what is stored of a place is of another topic than the one that is there now.
    pub(super) fn is_another(&self, place: &Place, log: &Log) -> bool {
        self.stored_of(place).iter().any(|id| *id != log.topic.id)
    }

    /// How many partitions must be refused, since something of another topic is stored of them. One that has just
    /// as many offsets as were settled need not be: there is nothing to read of it by which it is noticed.
    pub(super) fn others(&self) -> RangeInclusive<i64> {
        let settled = self.settled();
        let cluster = self.cluster.borrow();
        let others: Vec<_> = cluster.logs.iter().filter(|(place, log)| self.is_another(place, log)).collect();
        let quiet = others.iter().filter(|(place, log)| settled.get(*place) == Some(&log.end())).count();
        (others.len() - quiet) as i64..=others.len() as i64
    }

    /// Partitions that processes refuse.
    pub(super) fn refused(&self) -> i64 {
        let processes = self.replicas.iter().filter_map(|replica| replica.process.as_ref());
        processes.map(|process| process.metrics.refused_partitions.get()).sum()
    }

    pub(super) fn settled(&self) -> BTreeMap<Place, i64> {
        let disk = self.disks[0].borrow();
        let mut settled = BTreeMap::new();
        if let Some(table) = disk.tables.get("receipts") {
            for (source, range, _) in &table.receipts {
                settled.insert((source.topic.to_string(), source.partition), range.end.0);
            }
        }
        settled
    }

    pub(super) fn is_settled(&self) -> bool {
        let settled = self.settled();
        let cluster = self.cluster.borrow();
        let reached = |place: &Place| settled.get(place).copied().unwrap_or(0);
        let is_done =
            |(place, log): (&Place, &Log)| reached(place) >= last_record(log) || self.is_another(place, log);
        cluster.logs.iter().all(is_done) && self.others().contains(&self.refused())
    }

    /// Everything is in the one place that is right for it.
    pub(super) fn check(&mut self) {
        let mut found = Vec::new();
        let settled = self.settled();
        let places: BTreeSet<Place> = self.fates.borrow().keys().map(|(place, ..)| place.clone()).collect();
        let mut stored = BTreeMap::new();
        for place in places {
            let ids = self.stored_of(&place);
            if ids.len() > 1 {
                found.push(format!("{}/{} is mixed of {} topics", place.0, place.1, ids.len()));
            }
            // Of a topic without rows or quarantined messages there may be a receipt that names no id.
            stored.insert(place, ids.into_iter().next());
        }
        let is_stored = |place: &Place, topic: &Topic| match stored.get(place) {
            Some(Some(id)) => *id == topic.id,
            _ => true,
        };
        // What was deleted before the first receipt was never anybody's.
        let mut firsts: BTreeMap<Place, i64> = BTreeMap::new();
        if let Some(receipts) = self.disks[0].borrow().tables.get("receipts") {
            for (source, range, _) in &receipts.receipts {
                firsts.entry((source.topic.to_string(), source.partition)).or_insert(range.start.0);
            }
        }
        let mut missing: BTreeMap<String, u64> = BTreeMap::new();
        for ((place, topic, offset), fate) in &*self.fates.borrow() {
            if *offset >= settled.get(place).copied().unwrap_or(0) || !is_stored(place, topic) {
                continue;
            }
            let Some(problem) = self.look_at(place, *offset, *fate) else { continue };
            let deleted = self.deleted.contains(&(place.clone(), *topic, *offset));
            if deleted && self.look_at(place, *offset, Fate::Nothing).is_none() {
                let known = firsts.get(place).is_some_and(|first| first <= offset);
                *missing.entry(place.0.clone()).or_default() += u64::from(known);
            } else {
                found.push(format!("{}/{} {offset} {fate:?}: {problem}", place.0, place.1));
            }
        }
        for (topic, missing) in missing {
            let told =
                self.ended.iter().map(|m| m.deleted_offsets.with_label_values(&[topic.as_str()]).get());
            let told: u64 = told.sum();
            if told < missing {
                found.push(format!("{topic}: {missing} records were deleted, {told} were told of"));
            }
        }
        let known: BTreeSet<(Place, i64)> = {
            let fates = self.fates.borrow();
            let kept = fates.keys().filter(|(place, topic, _)| is_stored(place, topic));
            kept.map(|(place, _, offset)| (place.clone(), *offset)).collect()
        };
        for (zone, disk) in ZONES.iter().zip(&self.disks) {
            for table in disk.borrow().tables.values() {
                let strays = table.rows.keys().filter(|id| !known.contains(&((id.0.clone(), id.1), id.2)));
                found.extend(strays.map(|id| format!("{zone} has a row of {id:?}, which nobody sent")));
            }
        }
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
        let reasons: Vec<&str> = reasons.into_iter().flatten().map(|(reason, _)| reason.as_str()).collect();
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
pub(super) fn last_record(log: &Log) -> i64 {
    log.records.iter().rposition(Option::is_some).map_or(0, |at| at as i64 + 1)
}
