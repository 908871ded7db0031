//! Violations are planted as far as the stores let themselves be told wrong things, and by hand in the folders
//! where they do not.
//!
//! Not planted: RES-6 (a session that resolves more than its permit cannot be made from outside of `query`) and
//! the counters of EO-1, EO-2, EO-3 and EO-7 other than by raising them.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Date32Array, DictionaryArray, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use rdkafka::consumer::CommitMode;
use situs_model::Masks;
use situs_model::columns::{dictionary_type, names};
use situs_model::mask::Outside;
use situs_model::store::{Append, AppendQuarantine, FlushFacts, HomeStore as _, Share, ZoneStore as _};
use situs_model::{
    Counts, DecodeNotes, DecodedBatch, Epoch, OffsetRange, QuarantineReason, Quarantined, RawBatch, Receipt,
    RejectCode, Source, TableName, TaggedBatch, Verdict, permit, split,
};
use situs_query::Permit;
use situs_store::{DeltaStore, init};

use super::*;
use crate::demo::broker::EmbeddedBroker;

const TOPIC: &str = "cnc.state";
const GROUP: &str = "audited";

fn zone(name: &str) -> ZoneId {
    name.parse().unwrap()
}

fn source() -> Source {
    Source { cluster: "demo".parse().unwrap(), topic: TOPIC.into(), partition: 0 }
}

fn range(start: i64, end: i64) -> OffsetRange {
    OffsetRange::new(NextOffset(start), NextOffset(end))
}

fn policy() -> ContentVersion {
    ContentVersion::of(b"policy")
}

/// One row for each of these offsets, tagged for a zone under a policy.
fn rows(offsets: &[i64], zone: &ZoneId, policy: &ContentVersion) -> RecordBatch {
    let word = |text: &str| -> ArrayRef {
        Arc::new(offsets.iter().map(|_| text).collect::<DictionaryArray<Int32Type>>())
    };
    let columns: [(&str, ArrayRef); 7] = [
        (names::TOPIC, word(TOPIC)),
        (names::PARTITION, Arc::new(offsets.iter().map(|_| Some(0)).collect::<Int32Array>())),
        (names::OFFSET, Arc::new(Int64Array::from(offsets.to_vec()))),
        (names::ROW, Arc::new(offsets.iter().map(|_| Some(0)).collect::<Int32Array>())),
        (names::EVENT_DATE, Arc::new(offsets.iter().map(|_| Some(20_000)).collect::<Date32Array>())),
        (names::ZONE, word(zone.as_str())),
        (names::POLICY, word(policy.as_str())),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| {
            Field::new(*name, array.data_type().clone(), array.data_type() == &dictionary_type())
        })
        .collect();
    assert_eq!(fields[2].data_type(), &DataType::Int64);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
        .unwrap()
}

/// Two stores, `EU` being the home's, and a broker to which nothing was sent.
struct Home {
    dir: tempfile::TempDir,
    stores: BTreeMap<ZoneId, PathBuf>,
    broker: EmbeddedBroker,
    metrics: Arc<Metrics>,
    produced: Produced,
    flushes: u32,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stores: BTreeMap<ZoneId, PathBuf> =
            ["CN", "EU"].map(|name| (zone(name), dir.path().join(name.to_lowercase()))).into();
        for (zone, root) in &stores {
            init(root, zone).unwrap();
        }
        Self {
            dir,
            stores,
            broker: EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap(),
            metrics: Arc::new(Metrics::new().unwrap()),
            produced: Produced::default(),
            flushes: 0,
        }
    }

    /// Ten messages: 0 to 3 in `CN`, 4 to 7 in `EU`, 8 in quarantine, 9 without rows; two flushes.
    async fn sound() -> Self {
        let mut home = Self::new();
        home.append("CN", &[0, 1, 2, 3], 0..5, &policy()).await;
        home.append("EU", &[4], 0..5, &policy()).await;
        home.settle(0..5, 0, &policy()).await;
        home.append("EU", &[5, 6, 7], 5..10, &policy()).await;
        home.quarantine("EU", &[8], 5..10, &policy()).await;
        home.settle(5..10, 1, &policy()).await;
        home.sent(10);
        home.commit(10);
        home
    }

    fn sent(&mut self, messages: u64) {
        self.produced.messages = messages;
        self.produced.per_topic_partition = BTreeMap::from([((TOPIC.to_owned(), 0), messages)]);
    }

    fn root(&self, name: &str) -> &PathBuf {
        &self.stores[&zone(name)]
    }

    async fn store(&self, name: &str) -> DeltaStore {
        DeltaStore::open(self.root(name), &zone(name), self.metrics.clone()).await.unwrap()
    }

    fn flush(&mut self, offsets: &Range<i64>, policy: &ContentVersion) -> (Vec<Share>, FlushFacts) {
        self.flushes += 1;
        let share = Share {
            source: source(),
            range: range(offsets.start, offsets.end),
            settled: Some(NextOffset(offsets.start)),
            epoch: Epoch::default(),
            topic_id: None,
        };
        let facts = FlushFacts {
            flush_id: format!("flush-{}", self.flushes),
            pipeline: "cnc-state".parse().unwrap(),
            policy: policy.clone(),
            schema: ContentVersion::of(b"schema"),
            definition: ContentVersion::of(b"definition"),
        };
        (vec![share], facts)
    }

    async fn append(&mut self, name: &str, offsets: &[i64], covered: Range<i64>, policy: &ContentVersion) {
        let (shares, facts) = self.flush(&covered, policy);
        let store = self.store(name).await;
        let zone = zone(name);
        let mut raw = RawBatch::new(source(), NextOffset(covered.start), 0);
        for offset in covered {
            raw.push(offset, None, None, Some(b"{}"), std::iter::empty());
        }
        // To which message a row belongs is of no matter here.
        let tagged = TaggedBatch {
            verdicts: vec![Verdict::Resident(zone.clone())],
            verdict_of_row: vec![0; offsets.len()],
            decoded: DecodedBatch {
                raw: Arc::new(raw),
                rows: rows(offsets, &zone, policy),
                message_of_row: vec![0; offsets.len()],
                rejects: Vec::new(),
                notes: DecodeNotes::default(),
            },
        };
        let mut encoder = store.encoder();
        let masks = Masks::new(tagged.decoded.rows.schema(), Outside::new(), Arc::default());
        for batch in split(tagged, &BTreeSet::from([zone]), &masks).unwrap().resident {
            encoder.write(permit(batch, store.identity()).unwrap()).unwrap();
        }
        let rows = store.finish(vec![encoder], &facts).unwrap();
        let table = TableName::of(&facts.pipeline);
        store.append(&Append { table, shares, rows, facts }).await.unwrap();
    }

    async fn quarantine(
        &mut self,
        name: &str,
        offsets: &[i64],
        covered: Range<i64>,
        policy: &ContentVersion,
    ) {
        let (shares, facts) = self.flush(&covered, policy);
        let messages = offsets.iter().map(|offset| Quarantined {
            source: source(),
            offset: *offset,
            broker_time_ms: None,
            received_us: 0,
            key: None,
            headers: Vec::new(),
            payload: Some(b"{".to_vec()),
            reason: QuarantineReason::Rejected(RejectCode::InvalidJson),
            pointer: None,
            byte: None,
            rows: 0,
        });
        let append = AppendQuarantine { shares, messages: messages.collect(), facts };
        self.store(name).await.quarantine(&append).await.unwrap();
    }

    async fn settle(&mut self, covered: Range<i64>, without_rows: u64, policy: &ContentVersion) {
        let (_, facts) = self.flush(&covered, policy);
        let receipt = Receipt {
            flush_id: facts.flush_id,
            source: source(),
            epoch: Epoch::default(),
            topic_id: None,
            range: range(covered.start, covered.end),
            pipeline: facts.pipeline,
            policy: facts.policy,
            schema: facts.schema,
            definition: facts.definition,
            counts: Counts { without_rows, ..Counts::default() },
            stores: Vec::new(),
            quarantine: None,
            created_us: 1_772_323_200_000_000,
        };
        self.store("EU").await.settle(&[receipt]).await.unwrap();
    }

    /// Commits an offset for the group.
    fn commit(&self, offset: i64) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .set("group.id", GROUP)
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Offset(offset)).unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    async fn audit(&self) -> BTreeMap<&'static str, Result<u64, NotAssessed>> {
        let session = Session::open(&Permit::new(self.stores.values().cloned())).await.unwrap();
        let subject = Subject {
            stores: &self.stores,
            home: &zone("EU"),
            policy: &policy(),
            session: &session,
            metrics: &self.metrics,
            produced: &self.produced,
            bootstrap: self.broker.bootstrap(),
            group: GROUP.to_owned(),
            words: &BTreeSet::from(["nn-cnc-001".to_owned()]),
        };
        audit(&subject)
            .await
            .into_iter()
            .map(|finding| (finding.invariant.as_str(), finding.broken))
            .collect()
    }

    /// The invariants that are not found whole.
    async fn broken(&self) -> BTreeMap<&'static str, Result<u64, NotAssessed>> {
        let mut findings = self.audit().await;
        assert_eq!(findings.len(), Invariant::WORDS.len());
        findings.retain(|_, found| *found != Ok(0));
        findings
    }
}

fn only<const N: usize>(
    expected: [(&'static str, u64); N],
) -> BTreeMap<&'static str, Result<u64, NotAssessed>> {
    expected.into_iter().map(|(word, count)| (word, Ok(count))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_home_has_every_invariant_assessed_and_whole() {
    assert_eq!(Home::sound().await.broken().await, only([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_twice_is_found_in_a_table_over_zones_and_in_quarantine() {
    let mut home = Home::sound().await;
    home.append("CN", &[10, 10, 11], 10..13, &policy()).await;
    home.append("EU", &[11, 12], 10..13, &policy()).await;
    home.quarantine("EU", &[12], 10..13, &policy()).await;
    home.settle(10..13, 0, &policy()).await;
    home.sent(13);
    // 10 twice in one table, 11 in two zones, 12 in a table and in quarantine.
    assert_eq!(home.broken().await, only([("EO-4", 3)]));
}

/// However few offsets are looked at in one statement, no message is counted twice or left out.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_offsets_change_nothing() {
    let mut home = Home::sound().await;
    home.append("CN", &[10, 10, 11, 12], 10..13, &policy()).await;
    home.quarantine("EU", &[12], 10..13, &policy()).await;
    let session = Session::open(&Permit::new(home.stores.values().cloned())).await.unwrap();
    let eu = zone("EU");
    let rows = Rows::new(&session, &eu).await.unwrap();
    let place = Place { messages: 12, repeated: 1, in_both: 1, offsets: Some((0, 12)) };
    for rows_at_a_time in [1, 3, 100] {
        // Offsets beyond the highest that was told are looked at too.
        for highest in [0, 5, 13, 1000] {
            let places = rows.places(highest, rows_at_a_time).await.unwrap();
            assert_eq!(
                places,
                BTreeMap::from([((TOPIC.to_owned(), 0), place)]),
                "{rows_at_a_time} {highest}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_too_much_is_found() {
    let mut home = Home::sound().await;
    home.sent(11);
    // One message is nowhere, and the receipts end before it.
    assert_eq!(home.broken().await, only([("EO-5", 2)]));

    home.sent(9);
    // One message more than were sent; receipts that end too late; an offset is outside only from 9 on.
    assert_eq!(home.broken().await, only([("EO-5", 2)]));

    home.sent(10);
    home.produced.failed = 1;
    assert!(matches!(home.broken().await["EO-5"], Err(NotAssessed(_))));
}

#[test]
fn receipts_must_run_from_0_to_the_end() {
    let runs = |ranges: &[(i64, i64)]| -> Vec<Run> {
        ranges.iter().map(|(start, end)| Run { start: *start, end: *end, without_rows: 0 }).collect()
    };
    assert_eq!(breaks(&runs(&[]), 0), 0);
    assert_eq!(breaks(&runs(&[(3, 9), (0, 3)]), 9), 0);
    assert_eq!(breaks(&runs(&[(0, 3), (4, 9)]), 9), 1);
    assert_eq!(breaks(&runs(&[(0, 5), (3, 9)]), 9), 1);
    assert_eq!(breaks(&runs(&[(1, 9)]), 9), 1);
    assert_eq!(breaks(&runs(&[(0, 3), (0, 3)]), 3), 1);
    assert_eq!(breaks(&runs(&[(0, 3)]), 4), 1);
    assert_eq!(breaks(&runs(&[]), 1), 1);
}

/// A message that nobody sent does not make good for one that is missing.
#[test]
fn an_offset_beyond_the_end_is_found_where_the_numbers_agree() {
    let lane = (TOPIC.to_owned(), 0);
    let produced = Produced {
        messages: 3,
        per_topic_partition: BTreeMap::from([(lane.clone(), 3)]),
        ..Produced::default()
    };
    let runs = BTreeMap::from([(lane.clone(), vec![Run { start: 0, end: 3, without_rows: 0 }])]);
    let found = |offsets| {
        let place = Place { messages: 3, offsets: Some(offsets), ..Place::default() };
        accounted(&produced, &BTreeMap::from([(lane.clone(), place)]), &runs)
    };
    assert_eq!(found((0, 2)), Ok(0));
    assert_eq!(found((0, 3)), Ok(1));
    assert_eq!(found((-1, 2)), Ok(1));
    let stranger = BTreeMap::from([(("other".to_owned(), 0), Place { messages: 3, ..Place::default() })]);
    assert_eq!(accounted(&produced, &stranger, &runs), Ok(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_ahead_is_found() {
    let home = Home::sound().await;
    home.commit(11);
    assert_eq!(home.broken().await, only([("EO-6", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_offsets_is_not_assessed() {
    let mut home = Home::new();
    home.append("CN", &[0], 0..1, &policy()).await;
    home.settle(0..1, 0, &policy()).await;
    home.sent(1);
    let broken = home.broken().await;
    assert_eq!(broken.keys().collect::<Vec<_>>(), [&"EO-6"]);
    assert!(matches!(broken["EO-6"], Err(NotAssessed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_is_found() {
    let mut home = Home::sound().await;
    let other = ContentVersion::of(b"other");
    home.append("CN", &[10], 10..11, &other).await;
    home.settle(10..11, 0, &ContentVersion::of(b"third")).await;
    home.sent(11);
    assert_eq!(home.broken().await, only([("RES-7", 2)]));
}

/// No code can write a row of one zone to another's store, so a folder is carried over by hand.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_another_zones_store_are_found() {
    let home = Home::sound().await;
    fs::rename(home.root("CN").join("cnc_state"), home.root("EU").join("strays")).unwrap();
    assert_eq!(home.broken().await, only([("RES-1", 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_away_from_home_is_found() {
    let mut home = Home::sound().await;
    home.quarantine("CN", &[10], 10..11, &policy()).await;
    home.settle(10..11, 0, &policy()).await;
    home.sent(11);
    assert_eq!(home.broken().await, only([("RES-4", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_words_in_metrics_are_found() {
    let home = Home::sound().await;
    home.metrics.invariant_violations.with_label_values(&["EO-7"]).inc();
    home.metrics.permits_refused.with_label_values(&["CN"]).inc_by(2);
    home.metrics.messages_read.with_label_values(&["nn-cnc-001"]).inc();
    assert_eq!(home.broken().await, only([("EO-7", 1), ("RES-3", 2), ("RES-5", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_of_other_zones_are_found() {
    let mut home = Home::sound().await;
    let (cn, eu) = (home.root("CN").clone(), home.root("EU").clone());
    home.stores = BTreeMap::from([(zone("CN"), eu), (zone("EU"), cn)]);
    let broken = home.broken().await;
    assert_eq!(broken["RES-8"], Ok(2));
}

#[test]
fn paths_that_lead_out_are_found() {
    let home = Home::new();
    let found = |stores: &BTreeMap<ZoneId, PathBuf>| roots::paths(stores);
    assert_eq!(found(&home.stores), Ok(0));

    let log = home.root("CN").join("t/_delta_log");
    fs::create_dir_all(&log).unwrap();
    let entries: Vec<String> =
        ["a=1/x.parquet", "../../eu/x", "/etc/x", "file:///x", "%2E%2e/x", "a/%2e%2E%2fx"]
            .iter()
            .map(|path| serde_json::json!({ "add": { "path": path } }).to_string())
            .chain([r#"{"commitInfo":{}}"#.to_owned()])
            .collect();
    fs::write(log.join("00000000000000000000.json"), entries.join("\n")).unwrap();
    assert_eq!(found(&home.stores), Ok(5));

    symlink(home.root("EU"), home.root("CN").join("t/elsewhere")).unwrap();
    symlink("nowhere", home.root("CN").join("t/nowhere")).unwrap();
    symlink("_delta_log", home.root("CN").join("t/inside")).unwrap();
    assert_eq!(found(&home.stores), Ok(7));

    let nested =
        BTreeMap::from([(zone("EU"), home.dir.path().to_owned()), (zone("CN"), home.root("EU").clone())]);
    assert!(found(&nested).is_ok_and(|broken| broken > 0));
}

#[test]
fn words_are_those_that_only_a_payload_can_hold() {
    let words = payload_words(Generator::new(1, 1_700_000_000_000), 1_000);
    assert!(words.contains("nn-cnc-001") && words.contains("st-ar-01"));
    assert!(words.iter().any(|word| !word.is_ascii()), "names of operators");
    let metrics = Metrics::new().unwrap();
    for (topic, _) in crate::demo::generator::TOPICS {
        metrics.skipped_offsets.with_label_values(&[topic]).inc();
    }
    let text = metrics.render().unwrap();
    assert!(words.iter().all(|word| !text.contains(word.as_str())));
}
