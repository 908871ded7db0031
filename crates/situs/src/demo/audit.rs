//! The audit at the end of the demo: every invariant, measured over the stores, the broker and the metrics.
//!
//! A counter that nobody can raise says nothing. So each finding is a measurement of its own or a counter that
//! the code raises where the promise could break; what could not be measured is *not assessed*, never 0.

mod roots;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use situs_model::invariant::{Invariant, eo6};
use situs_model::{ContentVersion, NextOffset, ZoneId};
use situs_observe::Metrics;
use situs_query::Session;

use super::feed::Produced;
use super::generator::{Generator, Message};
use rows::{Place, ROWS_AT_A_TIME, Rows, Run};

/// How long the broker may take to tell the group's offsets.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic and a partition.
type Lane = (String, i32);

/// Why something was not assessed, in words that quote nothing of what was read (RES-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAssessed(pub(super) &'static str);

/// What was found of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Which invariant.
    pub(super) invariant: Invariant,
    /// How often it was found broken.
    pub(super) broken: Result<u64, NotAssessed>,
    /// What was measured.
    pub(super) by: &'static str,
}

/// What is audited.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The stores that there should be.
    pub(super) stores: &'a BTreeMap<ZoneId, PathBuf>,
    /// The zone whose store keeps quarantine and receipts.
    pub(super) home: &'a ZoneId,
    /// The policy in force from the first message to the last.
    pub(super) policy: &'a ContentVersion,
    /// A session over all stores, opened after the last commit.
    pub(super) session: &'a Session,
    /// The metrics of the process.
    pub(super) metrics: &'a Metrics,
    /// What was sent.
    pub(super) produced: &'a Produced,
    /// The broker's address.
    pub(super) bootstrap: String,
    /// The consumer group.
    pub(super) group: String,
    /// Words of payloads and keys, as [`payload_words`] finds them.
    pub(super) words: &'a BTreeSet<String>,
}

/// Measures every invariant, in their order.
pub(super) async fn audit(subject: &Subject<'_>) -> Vec<Finding> {
    let measured = measure(subject).await;
    Invariant::WORDS
        .iter()
        .map(|(word, invariant)| {
            let counted = subject.metrics.invariant_violations.with_label_values(&[word]).get();
            let by = described(*invariant);
            let broken = match measured.get(invariant) {
                None => Ok(counted),
                Some(Ok(found)) => Ok(counted.saturating_add(*found)),
                // A counter that was raised is a finding, whatever else could not be seen.
                Some(Err(_)) if counted > 0 => Ok(counted),
                Some(Err(reason)) => Err(*reason),
            };
            Finding { invariant: *invariant, broken, by }
        })
        .collect()
}

/// What is measured of an invariant.
fn described(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::Eo1 => "sums of every batch read (counter)",
        Invariant::Eo2 => "sums of every batch split (counter)",
        Invariant::Eo3 => "start of every commit against the settled offset (counter)",
        Invariant::Eo4 => "rows twice in zone tables or quarantine, messages in both",
        Invariant::Eo5 => "messages produced against those in the stores, chain of receipts, per partition",
        Invariant::Eo6 => "offsets of the group at the broker against the receipts",
        Invariant::Eo7 => "flushes that settled after their partition was given up (counter)",
        Invariant::Res1 => "_zone of every row against the store's zone",
        Invariant::Res2 => "roots apart, symlinks below them, paths in the tables' logs",
        Invariant::Res3 => "writes refused for want of a permit (counter)",
        Invariant::Res4 => "rows without _zone in zone tables, quarantine in stores other than home's",
        Invariant::Res5 => "words of payloads and keys in the text of /metrics; logs are not read",
        Invariant::Res6 => "tables of the other zones resolved by a session permitted one zone",
        Invariant::Res7 => "distinct policy versions in tables, quarantine and receipts",
        Invariant::Res8 => "markers against the expected zones",
    }
}

/// The measurements beside the counters.
async fn measure(subject: &Subject<'_>) -> BTreeMap<Invariant, Result<u64, NotAssessed>> {
    let rows = Rows::new(subject.session, subject.home).await;
    let places = match &rows {
        Ok(rows) => rows.places(highest(subject.produced), ROWS_AT_A_TIME).await,
        Err(reason) => Err(*reason),
    };
    let runs = match &rows {
        Ok(rows) => rows.runs().await,
        Err(reason) => Err(*reason),
    };
    let tags = match &rows {
        Ok(rows) => rows.tags().await,
        Err(reason) => Err(*reason),
    };
    let policies = match &rows {
        Ok(rows) => rows.policies().await,
        Err(reason) => Err(*reason),
    };
    let resolved = match &rows {
        Ok(rows) => rows.resolved_outside(subject.stores).await,
        Err(reason) => Err(*reason),
    };
    let stores = subject.stores.clone();
    let (paths, markers) =
        tokio::task::spawn_blocking(move || (roots::paths(&stores), roots::markers(&stores)))
            .await
            .unwrap_or((Err(NotAssessed("the audit of the roots panicked")), 0));

    let eo4 =
        places.as_ref().map_err(|reason| *reason).map(|places| places.values().map(Place::doubles).sum());
    let eo5 = match (&places, &runs) {
        (Ok(places), Ok(runs)) => accounted(subject.produced, places, runs),
        (Err(reason), _) | (_, Err(reason)) => Err(*reason),
    };
    let eo6 = match &runs {
        Ok(runs) => group_ahead(subject, runs).await,
        Err(reason) => Err(*reason),
    };
    BTreeMap::from([
        (Invariant::Eo4, eo4),
        (Invariant::Eo5, eo5),
        (Invariant::Eo6, eo6),
        (Invariant::Res1, tags.map(|tags| tags.foreign)),
        (Invariant::Res2, paths),
        (Invariant::Res3, Ok(Metrics::sum(&subject.metrics.permits_refused))),
        (Invariant::Res4, tags.map(|tags| tags.untagged + tags.quarantined_abroad)),
        (Invariant::Res5, words_shown(subject)),
        (Invariant::Res6, resolved),
        (Invariant::Res7, policies.map(|found| more_than_one(found, subject.policy))),
        (Invariant::Res8, Ok(markers)),
    ])
}

/// The offset after the last message of the longest partition.
fn highest(produced: &Produced) -> u64 {
    produced.per_topic_partition.values().copied().max().unwrap_or(0)
}

/// EO-5: messages that are missing or too many, and breaks in the chains of receipts.
fn accounted(
    produced: &Produced,
    places: &BTreeMap<Lane, Place>,
    runs: &BTreeMap<Lane, Vec<Run>>,
) -> Result<u64, NotAssessed> {
    if produced.failed > 0 {
        return Err(NotAssessed("the producer does not know what was delivered"));
    }
    let lanes: BTreeSet<&Lane> =
        produced.per_topic_partition.keys().chain(places.keys()).chain(runs.keys()).collect();
    let nothing = Place::default();
    let broken = lanes.into_iter().map(|lane| {
        let sent = produced.per_topic_partition.get(lane).copied().unwrap_or(0);
        let place = places.get(lane).unwrap_or(&nothing);
        let runs = runs.get(lane).map_or(&[][..], Vec::as_slice);
        let without_rows: u64 = runs.iter().map(|run| run.without_rows).sum();
        // Without this, a message that nobody sent would make good for one that is missing.
        let outside = place
            .offsets
            .is_some_and(|(first, last)| first < 0 || u64::try_from(last).is_ok_and(|last| last >= sent));
        sent.abs_diff(place.messages + without_rows) + breaks(runs, sent) + u64::from(outside)
    });
    Ok(broken.sum())
}

/// Gaps and overlaps of ranges that should cover 0 up to `end`.
fn breaks(runs: &[Run], end: u64) -> u64 {
    let mut ranges: Vec<(i64, i64)> = runs.iter().map(|run| (run.start, run.end)).collect();
    ranges.sort_unstable();
    let mut next = 0;
    let mut breaks = 0;
    for (start, end) in ranges {
        breaks += u64::from(start != next || end <= start);
        next = next.max(end);
    }
    breaks + u64::from(u64::try_from(next) != Ok(end))
}

/// EO-6: partitions whose group offset at the broker exceeds the settled offset.
async fn group_ahead(subject: &Subject<'_>, runs: &BTreeMap<Lane, Vec<Run>>) -> Result<u64, NotAssessed> {
    let lanes: Vec<Lane> = subject.produced.per_topic_partition.keys().cloned().collect();
    let (bootstrap, group) = (subject.bootstrap.clone(), subject.group.clone());
    let committed = tokio::task::spawn_blocking(move || group_offsets(&bootstrap, &group, &lanes))
        .await
        .map_err(|_| NotAssessed("the client that asks the broker panicked"))??;
    if committed.is_empty() && subject.produced.messages > 0 {
        return Err(NotAssessed("the broker has no offset of the group"));
    }
    let ahead = committed.iter().filter(|(lane, offset)| {
        let settled = runs.get(*lane).and_then(|runs| runs.iter().map(|run| run.end).max()).unwrap_or(0);
        !eo6(NextOffset(**offset), NextOffset(settled))
    });
    Ok(ahead.count() as u64)
}

/// The group's offsets as the broker knows them; partitions without one are left out.
fn group_offsets(bootstrap: &str, group: &str, lanes: &[Lane]) -> Result<BTreeMap<Lane, i64>, NotAssessed> {
    let unanswered = |_| NotAssessed("the broker did not tell the group's offsets");
    // It neither subscribes nor is assigned anything, so it never joins the group.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .create()
        .map_err(unanswered)?;
    let mut list = TopicPartitionList::new();
    for (topic, partition) in lanes {
        list.add_partition(topic, *partition);
    }
    let answer = consumer.committed_offsets(list, BROKER_TIMEOUT).map_err(unanswered)?;
    let mut offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error().map_err(unanswered)?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert((element.topic().to_owned(), element.partition()), offset);
        }
    }
    Ok(offsets)
}

/// RES-5: words of the payloads that the metrics show.
fn words_shown(subject: &Subject<'_>) -> Result<u64, NotAssessed> {
    if subject.words.is_empty() {
        return Err(NotAssessed("no words of payloads are known"));
    }
    let text = subject.metrics.render().map_err(|_| NotAssessed("the metrics could not be rendered"))?;
    Ok(subject.words.iter().filter(|word| text.contains(word.as_str())).count() as u64)
}

/// RES-7: versions beyond the one in force.
fn more_than_one(mut found: BTreeSet<String>, in_force: &ContentVersion) -> u64 {
    found.remove(in_force.as_str());
    found.len() as u64
}

/// Words of the first `messages` messages of a generator that could come from nowhere but a payload or a key:
/// ids of devices, names of operators and programs, serial numbers.
///
/// Plain words and numbers are left out, since metrics may have the same of their own.
pub(super) fn payload_words(mut generator: Generator, messages: u64) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut message = Message::new();
    for _ in 0..messages {
        generator.next(&mut message);
        if let Ok(key) = std::str::from_utf8(&message.key) {
            collect(&Value::from(key), &mut words);
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&message.payload) {
            collect(&value, &mut words);
        }
    }
    words
}

fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let telling = |c: char| c.is_ascii_digit() || c == ' ' || !c.is_ascii();
            // Times begin with a digit, and are told apart from other times by nothing that matters here.
            if text.len() >= 5 && text.starts_with(char::is_alphabetic) && text.contains(telling) {
                words.insert(text.clone());
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, words)),
        Value::Object(entries) => entries.values().for_each(|value| collect(value, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
