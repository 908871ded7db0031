//! Re-tagging against a naive look: rows read, judged one by one, and compared column by column.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, DictionaryArray, Int32Array};
use arrow_schema::Schema;
use situs_model::columns::{names, tag_fields};
use situs_model::store::{Advice, ZoneStore as _};
use situs_model::{
    DecodeNotes, DecodedBatch, LedgerKind, NextOffset, RawBatch, Source, UndeterminedReason, Verdict,
};

use super::super::Vacuum;
use super::super::delete::{Criterion, Decided, DeletionRequest};
use super::*;
use crate::simulation::{Watch, watched};
use crate::store::DeltaStore;
use crate::store::retag::Retagged;
use crate::store::tests::compaction::{at_once, contents, table};
use crate::store::tests::dies::Dies;
use crate::store::tests::support::*;

/// What the made-up policy says of a row, by its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// The tags that it has.
    Same,
    /// Other tags.
    Other,
    /// Another zone.
    Moves,
    /// No zone.
    Nowhere,
    /// It panics, as it were.
    Fails,
}

pub(crate) type Rule = fn(i64, i32) -> Says;

/// Says something else of every kind.
pub(crate) fn mixed(offset: i64, row: i32) -> Says {
    match (offset % 7, row) {
        (0 | 1, _) => Says::Other,
        // Only of its second row: the first one stays with it.
        (2, 0) => Says::Other,
        (2, _) => Says::Nowhere,
        (3, _) => Says::Moves,
        (4, 1) if offset % 2 == 0 => Says::Fails,
        _ => Says::Same,
    }
}

/// Gives every row other tags.
pub(crate) fn all(_: i64, _: i32) -> Says {
    Says::Other
}

/// Judges by such a rule.
pub(crate) struct ByRule(pub(crate) Rule);

impl JudgeAgain for ByRule {
    fn judge(&mut self, rows: &RecordBatch, topic: &str, partition: i32) -> Result<TaggedBatch, NotJudged> {
        let offsets = rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
        let numbers = rows.column_by_name("_row").unwrap().as_primitive::<Int32Type>();
        assert!(rows.column_by_name("event_date").is_some(), "conditions may name it");
        let says: Vec<Says> =
            offsets.values().iter().zip(numbers.values()).map(|(o, r)| (self.0)(*o, *r)).collect();
        if says.contains(&Says::Fails) {
            return Err(NotJudged::Failed);
        }
        let word = |of: &dyn Fn(Says) -> &'static str| -> ArrayRef {
            Arc::new(says.iter().map(|says| of(*says)).collect::<DictionaryArray<Int32Type>>())
        };
        let other = |one: &'static str, other: &'static str| {
            word(&|says| if says == Says::Other { other } else { one })
        };
        let list = |of: &dyn Fn(Says) -> Option<Vec<&'static str>>| -> ArrayRef {
            let field = arrow_schema::Field::new("element", arrow_schema::DataType::Utf8, true);
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(field);
            says.iter().for_each(|says| match of(*says) {
                None => lists.append_null(),
                Some(texts) => lists.append_value(texts.into_iter().map(Some)),
            });
            let keys = Int32Array::from_iter_values(0..i32::try_from(says.len()).unwrap());
            Arc::new(DictionaryArray::try_new(keys, Arc::new(lists.finish())).unwrap())
        };
        let mut fields: Vec<arrow_schema::FieldRef> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in tag_fields() {
            columns.push(match field.name().as_str() {
                names::SITE => other("nanning-1", "nanning-2"),
                names::RULE => other("cn", "cn-2"),
                names::POLICY => word(&|_| "new"),
                names::CLASS => other("general", "core"),
                names::TRAINING => other("in-zone", "allowed"),
                names::MODELS => list(&|says| (says == Says::Other).then(|| vec!["a", "b"])),
                names::MARKETS => {
                    list(&|says| Some(if says == Says::Other { vec!["CN"] } else { vec!["EU"] }))
                }
                _ => word(&|_| "CN"),
            });
            fields.push(Arc::new(field.with_nullable(true)));
        }
        let verdicts = vec![
            Verdict::Resident("CN".parse().unwrap()),
            Verdict::Resident("EU".parse().unwrap()),
            Verdict::Undetermined(UndeterminedReason::UnknownDevice),
        ];
        let verdict = |says: &Says| match says {
            Says::Moves => 1,
            Says::Nowhere => 2,
            _ => 0,
        };
        let source = Source { cluster: "kafka".parse().unwrap(), topic: topic.into(), partition };
        Ok(TaggedBatch {
            decoded: DecodedBatch {
                raw: Arc::new(RawBatch::new(source, NextOffset(0), 0)),
                message_of_row: vec![0; rows.num_rows()],
                rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(),
                rejects: Vec::new(),
                notes: DecodeNotes::default(),
            },
            verdict_of_row: says.iter().map(verdict).collect(),
            verdicts,
        })
    }
}

/// The version of the made-up policy.
pub(crate) fn policy() -> ContentVersion {
    ContentVersion::of(b"new policy")
}

/// Seven flushes of two partitions over two days; both settled at 270.
async fn filled() -> (tempfile::TempDir, DeltaStore) {
    let (dir, store) = fresh().await;
    for (n, start) in (0..).zip([0, 40, 80, 120, 160, 200, 240]) {
        for partition in 0..2 {
            let flush = format!("f{n}-{partition}");
            store.append(&append(store.identity(), &flush, partition, start, start + 40)).await.unwrap();
        }
    }
    (dir, store)
}

fn request() -> RetagRequest {
    RetagRequest {
        table: table(),
        pipeline: "cnc-state".to_owned(),
        policy: policy(),
        schema: ContentVersion::of(b"schema"),
        definition: ContentVersion::of(b"definition"),
        by: "somebody".to_owned(),
        reason: "a new law".to_owned(),
        settled: [(("cnc.state".to_owned(), 0), 270), (("cnc.state".to_owned(), 1), 270)].into(),
        holds: Vec::new(),
        device_column: "device".to_owned(),
    }
}

async fn maintenance(store: &DeltaStore) -> Maintenance {
    store.begin_maintenance().await.unwrap().unwrap()
}

async fn retag(store: &DeltaStore, maintenance: &Maintenance, rule: Rule) -> Retagged {
    store.retag(maintenance, &request(), Box::new(ByRule(rule)), false).await.unwrap()
}

/// Whether a row, as text, gets other tags by the rule.
fn naive(text: &str, rule: Rule) -> bool {
    let number = |column: &str| -> i64 {
        let rest = text.split(&format!("{column}=PrimitiveArray<")).nth(1).unwrap();
        rest.split("[\n  ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
    };
    let (offset, row) = (number("_offset"), i32::try_from(number("_row")).unwrap());
    let torn = (0..2).any(|row| rule(offset, row) == Says::Nowhere);
    offset < 270 && rule(offset, row) == Says::Other && !torn
}

/// The rows without their tags, and whether their policy is the new one, in order.
async fn parts(root: &Path) -> Vec<(String, String, bool)> {
    let tags: BTreeSet<String> = tag_fields().iter().map(|field| field.name().clone()).collect();
    let mut rows = Vec::new();
    for (file, batch) in read(root, "cnc_state").await {
        let schema = batch.schema();
        let text_of = |tag: bool, row: usize| {
            let mut columns: Vec<String> = (0..batch.num_columns())
                .filter(|at| tags.contains(schema.field(*at).name()) == tag)
                .map(|at| format!("{}={:?}", schema.field(at).name(), batch.column(at).slice(row, 1)))
                .collect();
            columns.sort();
            columns.join(" ")
        };
        for row in 0..batch.num_rows() {
            let told = text_of(true, row);
            let new = told.contains(policy().as_str());
            rows.push((format!("{:?} {}", file.partition_values, text_of(false, row)), told, new));
        }
    }
    rows.sort();
    rows
}

fn rows_of_rule(rule: Rule) -> usize {
    let torn = |offset| (0..2).any(|row| rule(offset, row) == Says::Nowhere);
    let of = |offset: i64| (0..2).filter(|row| rule(offset, *row) == Says::Other && !torn(offset)).count();
    2 * (0..270).map(of).sum::<usize>()
}

/// What the ledger and the logs say must be what lies there.
async fn assert_told(dir: &tempfile::TempDir, store: &DeltaStore, retags: usize) {
    let ledger = store.zone_ledger().await.unwrap();
    let told: Vec<_> =
        ledger.entries().iter().filter(|entry| entry.fact.kind == LedgerKind::Retagged).collect();
    assert_eq!(told.len(), retags, "{told:?}");
    let history = History::read(&names_of(dir.path())).unwrap();
    assert_eq!(history.retags.len(), retags);
    for (entry, (version, commit)) in told.iter().zip(&history.retags) {
        assert_eq!(entry.fact.body, commit.body);
        let body: RetagBody = serde_json::from_str(&commit.body).unwrap();
        assert_eq!(body.version, *version);
        for file in &body.written {
            let path = names_of(dir.path()).join(&file.path);
            if path.exists() {
                assert_eq!(crate::encode::files::hash_of(&path), file.sha256);
            }
        }
    }
}

fn names_of(root: &Path) -> std::path::PathBuf {
    crate::names::table(root, &table())
}

#[tokio::test]
async fn rows_get_the_tags_that_a_naive_look_gives_them_and_nothing_else_changes() {
    let (dir, store) = filled().await;
    let before = parts(dir.path()).await;
    let texts = contents(dir.path(), "cnc_state").await;
    let expected = texts.iter().filter(|text| naive(text, mixed)).count();
    assert_eq!(expected, rows_of_rule(mixed));
    let maintenance = maintenance(&store).await;

    let looked = store.retag(&maintenance, &request(), Box::new(ByRule(mixed)), true).await.unwrap();
    let Retagged::Looked(looked) = looked else { panic!("{looked:?}") };
    assert_eq!(parts(dir.path()).await, before, "nothing is written by looking");
    let files = parquet_files(dir.path());

    let done = retag(&store, &maintenance, mixed).await;
    let Retagged::Done(done) = done else { panic!("{done:?}") };
    assert_eq!(done.body.found, *looked, "looking says what is done");
    let after = parts(dir.path()).await;
    assert_eq!(after.len(), before.len());
    let mut changed = 0;
    for ((data, old, _), (again, new, retagged)) in before.iter().zip(&after) {
        assert_eq!(data, again, "no column but the tags");
        assert_eq!(*retagged, naive(data, mixed), "{data}");
        if *retagged {
            changed += 1;
            for part in ["core", "allowed", "cn-2", "nanning-2"] {
                assert!(new.contains(part), "{new}");
            }
        } else {
            assert_eq!(old, new, "a row keeps all of its tags, or none");
        }
    }
    assert_eq!(changed, expected);
    let found = &done.body.found;
    assert_eq!(found.retagged, changed as u64);
    assert_eq!(found.looked, 1120);
    assert_eq!(found.stays.unsettled, 40);
    assert!(found.stays.with_message > 0 && found.stays.not_judged > 0 && found.stays.same > 0);
    assert_eq!(found.stays.moves.keys().collect::<Vec<_>>(), ["EU"]);
    assert_eq!(found.stays.quarantine.keys().collect::<Vec<_>>(), ["unknown-device"]);
    let stays = &found.stays;
    let sum = stays.same
        + stays.already
        + stays.moves.values().sum::<u64>()
        + stays.quarantine.values().sum::<u64>()
        + stays.with_message
        + stays.held
        + stays.unsettled
        + stays.not_judged;
    assert_eq!(found.retagged + sum, found.looked);
    assert_eq!((found.before.of("_class", "core"), found.after.of("_class", "core")), (0, changed as u64));
    assert_eq!(found.before.of("_class", "general"), found.rows);
    assert_eq!(
        (found.after.of("_models", "a"), found.after.of("_models", "b")),
        (changed as u64, changed as u64)
    );
    assert_eq!(done.body.removed.len(), done.body.written.len());
    assert_eq!(parquet_files(dir.path()), files + done.body.written.len() + 1, "and the ledger's");
    assert_told(&dir, &store, 1).await;
    // The highest class is that of the rows, in the log and in footers.
    let reader = crate::reader::StoreReader::open(dir.path()).unwrap();
    assert_eq!(reader.class(&table()).unwrap().unwrap().as_str(), "core");

    // Again there is nothing to do, and nothing is written.
    let again = retag(&store, &maintenance, mixed).await;
    let Retagged::Looked(again) = again else { panic!("{again:?}") };
    assert_eq!((again.retagged, again.stays.already), (0, changed as u64));
    assert_told(&dir, &store, 1).await;

    // Compaction and vacuum afterwards keep what is there; what is brought again brings nothing back.
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    let at_once = Vacuum { retention: std::time::Duration::ZERO, ..Vacuum::default() };
    maintenance.vacuum(&table(), &at_once).await.unwrap();
    assert_eq!(parts(dir.path()).await, after);
    store.append(&append(store.identity(), "again", 1, 40, 80)).await.unwrap();
    assert_eq!(parts(dir.path()).await, after);
}

/// Says what a hash of the coordinates gives.
fn hashed<const SEED: i64>(offset: i64, row: i32) -> Says {
    let bits = (offset * 31 + i64::from(row) * 17 + SEED).wrapping_mul(6_364_136_223_846_793_005) >> 40;
    match bits.rem_euclid(16) {
        0..7 => Says::Other,
        7 => Says::Moves,
        8 => Says::Nowhere,
        9 => Says::Fails,
        _ => Says::Same,
    }
}

fn none(_: i64, _: i32) -> Says {
    Says::Same
}

/// Whatever a policy says, of flushes as they came and of compacted ones.
#[tokio::test]
async fn a_naive_look_agrees_whatever_the_policy_says() {
    let rules: [Rule; 6] = [hashed::<1>, hashed::<2>, hashed::<3>, hashed::<4>, all, none];
    for (n, rule) in rules.into_iter().enumerate() {
        let (dir, store) = filled().await;
        let maintenance = maintenance(&store).await;
        if n % 2 == 0 {
            maintenance.optimize(&table(), &at_once()).await.unwrap();
        }
        let before = parts(dir.path()).await;
        let done = retag(&store, &maintenance, rule).await;
        let after = parts(dir.path()).await;
        assert_eq!(before.len(), after.len());
        for ((data, old, _), (again, new, retagged)) in before.iter().zip(&after) {
            assert_eq!((data, *retagged), (again, naive(data, rule)), "rule {n}");
            assert_eq!(old == new, !*retagged, "rule {n}");
        }
        let changed = after.iter().filter(|row| row.2).count();
        assert_eq!((done.found().retagged, changed), (changed as u64, rows_of_rule(rule)), "rule {n}");
        assert_eq!(matches!(done, Retagged::Done(_)), changed > 0);
        assert_told(&dir, &store, usize::from(changed > 0)).await;
    }
}

#[tokio::test]
async fn compacted_files_are_tagged_again_in_their_order() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    let before = parts(dir.path()).await;
    let done = retag(&store, &maintenance, mixed).await;
    let Retagged::Done(done) = done else { panic!("{done:?}") };
    assert_eq!((done.body.removed.len(), done.body.found.rows), (1, 1120));
    let after = parts(dir.path()).await;
    assert_eq!(after.iter().filter(|row| row.2).count(), rows_of_rule(mixed));
    let data = |rows: &[(String, String, bool)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    assert_eq!(data(&after), data(&before));
}

/// A hold by class or site would lose the rows; any other is on them whatever their tags.
#[tokio::test]
async fn rows_that_a_hold_would_lose_keep_their_tags() {
    let (_dir, store) = filled().await;
    let hold = |id: &str, criterion: Criterion| Hold {
        id: id.to_owned(),
        criterion,
        by: "counsel".to_owned(),
        reason: "a claim".to_owned(),
        at_us: MARCH,
    };
    let of_class = Criterion {
        class: Some("general".to_owned()),
        topic: Some("cnc.state".to_owned()),
        partition: Some(1),
        to_offset: Some(100),
        ..Criterion::default()
    };
    let of_offsets = Criterion { class: None, partition: Some(0), ..of_class.clone() };
    store.set_hold(&hold("case-7", of_class), &policy()).await.unwrap();
    store.set_hold(&hold("case-8", of_offsets), &policy()).await.unwrap();
    let maintenance = maintenance(&store).await;
    let done = retag(&store, &maintenance, all).await;
    assert_eq!((done.found().stays.held, done.found().retagged), (200, 1080 - 200));
    store.lift_hold("case-7", "counsel", "settled", &policy()).await.unwrap();
    assert_eq!(retag(&store, &maintenance, all).await.found().retagged, 200);
}

/// A table of two files.
async fn small() -> (tempfile::TempDir, DeltaStore) {
    let (dir, store) = fresh().await;
    for (flush, start) in [("f0", 0), ("f1", 20)] {
        store.append(&append(store.identity(), flush, 0, start, start + 20)).await.unwrap();
    }
    (dir, store)
}

/// Every step of a re-tagging, one after the other, is the last one of its process; the next process finishes it.
#[test]
fn whatever_step_was_the_last_a_retagging_is_whole_or_not_there() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut at, mut cases, mut cut_off, mut before_commit) = (0, 0, 0, 0);
    loop {
        at += 1;
        let (dir, store) = runtime.block_on(small());
        let data = runtime.block_on(parts(dir.path()));
        let dies = Dies::at(at);
        let watch: Arc<dyn Watch> = dies.clone();
        watched(watch, || {
            runtime.block_on(async {
                let Ok(Some(maintenance)) = store.begin_maintenance().await else { return };
                let _ = store.retag(&maintenance, &request(), Box::new(ByRule(mixed)), false).await;
            });
        });
        assert!(!dies.lies.load(Ordering::SeqCst), "step {at}: a commit that landed is told to have failed");
        if !dies.dead.load(Ordering::SeqCst) {
            break;
        }
        cases += 1;
        runtime.block_on(async {
            // The right of the dead process expires; here it is taken away.
            let _ = std::fs::remove_dir_all(crate::names::leases(dir.path()));
            let next = open(&dir).await;
            let maintenance = maintenance(&next).await;
            let committed = History::read(&names_of(dir.path())).unwrap().retags.len();
            let told = next.zone_ledger().await.unwrap().entries().len();
            assert!(told <= committed, "step {at}: an entry never tells of what is not");
            let finished = next.finish_retags(&maintenance).await.unwrap();
            assert_eq!(finished.len(), committed - told, "step {at}");
            cut_off += finished.len();
            before_commit += usize::from(committed == 0);
            let after = parts(dir.path()).await;
            let retagged = after.iter().filter(|row| row.2).count();
            assert_eq!(after.len(), data.len(), "step {at}: nothing lost, nothing doubled");
            assert_eq!(retagged > 0, committed == 1, "step {at}: all of the table or nothing");
            let again = retag(&next, &maintenance, mixed).await;
            assert_eq!(matches!(again, Retagged::Done(_)), committed == 0, "step {at}");
            let end = parts(dir.path()).await;
            let data_of =
                |rows: &[(String, String, bool)]| rows.iter().map(|r| r.0.clone()).collect::<Vec<_>>();
            assert_eq!(data_of(&end), data_of(&data), "step {at}");
            assert_told(&dir, &next, 1).await;
            assert!(next.finish_retags(&maintenance).await.unwrap().is_empty(), "step {at}: it is told once");
        });
    }
    assert!(cases > 40 && cut_off > 3 && before_commit > 20, "{cases} {cut_off} {before_commit}");
}

#[tokio::test]
async fn what_is_appended_meanwhile_keeps_its_tags_and_is_not_lost() {
    let (dir, store) = filled().await;
    let writer = open(&dir).await;
    writer.renew_lease().await.unwrap();
    store.renew_lease().await.unwrap();
    let running = Arc::new(AtomicBool::new(true));
    let goes_on = running.clone();
    let writing = tokio::spawn(async move {
        let mut next = 280;
        while goes_on.load(Ordering::SeqCst) || next < 300 {
            let append = append(writer.identity(), &format!("w{next}"), 1, next, next + 2);
            match writer.append(&append).await {
                Ok(_) => next += 2,
                Err(error) => assert_eq!(error.advice, Advice::Retry, "{error}"),
            }
        }
        next
    });
    let maintenance = maintenance(&store).await;
    let done = retag(&store, &maintenance, mixed).await;
    running.store(false, Ordering::SeqCst);
    let end = writing.await.unwrap();
    assert!(matches!(done, Retagged::Done(_)));
    assert_eq!(keys(dir.path()).await, [expected(0, 0..280), expected(1, 0..end)].concat());
    let retagged = parts(dir.path()).await.iter().filter(|row| row.2).count();
    assert_eq!(retagged, rows_of_rule(mixed));
    assert_told(&dir, &store, 1).await;
}

/// Two processes that maintain at once break nothing, though they may waste work.
#[tokio::test]
async fn files_that_others_replaced_meanwhile_are_read_anew() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let (prepared, _) = maintenance.prepare_retag(&request(), Box::new(ByRule(mixed)), true).await.unwrap();
    let files = parquet_files(dir.path());
    let written = prepared.files.len();
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    assert!(maintenance.commit_retag(&request(), prepared).await.unwrap().is_none());
    assert_eq!(parquet_files(dir.path()), files - written + 1, "what was written is gone; one is compacted");
    assert!(matches!(retag(&store, &maintenance, mixed).await, Retagged::Done(_)));
    assert_told(&dir, &store, 1).await;
    // And two re-taggings of which one comes too late.
    let (late, _) = maintenance.prepare_retag(&request(), Box::new(ByRule(all)), true).await.unwrap();
    assert!(matches!(retag(&store, &maintenance, all).await, Retagged::Done(_)));
    assert!(maintenance.commit_retag(&request(), late).await.unwrap().is_none());
    assert_eq!(keys(dir.path()).await.len(), 1120);
    assert_told(&dir, &store, 2).await;
}

/// A deletion was decided by the tags that rows had then: which of them are held, and which too young.
#[tokio::test]
async fn nothing_is_tagged_again_while_a_deletion_is_under_way() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let asked = DeletionRequest {
        id: uuid::Uuid::now_v7().to_string(),
        criterion: Criterion {
            class: Some("general".to_owned()),
            topic: Some("cnc.state".to_owned()),
            partition: Some(1),
            from_offset: Some(30),
            to_offset: Some(130),
            ..Criterion::default()
        },
        by: "somebody".to_owned(),
        reason: "asked for".to_owned(),
        policy: policy().to_string(),
        settled: request().settled,
        device_columns: std::collections::BTreeMap::new(),
        holds: Vec::new(),
        floors: Vec::new(),
        despite_minimum: None,
        leave_held: false,
        ledgers_keep: "184d".parse().unwrap(),
    };
    let Decided::Planned(plan) = maintenance.decide_deletion(&asked, true).await.unwrap() else { panic!() };
    let refused = store.retag(&maintenance, &request(), Box::new(ByRule(all)), false).await.unwrap_err();
    assert!(refused.message.contains("finish it first"), "{refused}");
    let body = store.finish_deletion(&maintenance, &plan).await.unwrap();
    assert_eq!(body.deleted(), 200);
    assert!(matches!(retag(&store, &maintenance, all).await, Retagged::Done(_)));
    let left = [expected(0, 0..280), expected(1, 0..30), expected(1, 130..280)].concat();
    assert_eq!(keys(dir.path()).await, left);
}

/// A commit that somebody else made says that it is a re-tagging: it is not vouched for.
#[tokio::test]
async fn a_commit_that_the_store_has_not_signed_is_not_entered() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let (prepared, _) = maintenance.prepare_retag(&request(), Box::new(ByRule(mixed)), true).await.unwrap();
    maintenance.commit_retag(&request(), prepared).await.unwrap().unwrap();
    drop(maintenance);
    let path = dir.path().parent().unwrap().join(format!("key-{}.pem", uuid::Uuid::now_v7()));
    let key = crate::key::ReceiptKey::create(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let signing = open(&dir).await.with_receipt_key(Arc::new(key));
    let with_key = signing.begin_maintenance().await.unwrap().unwrap();
    let refused = signing.finish_retags(&with_key).await.unwrap_err();
    assert!(refused.message.contains("it is not signed"), "{refused}");
    drop(with_key);
    // Where nothing is signed it is what a process left that died.
    let plain = store.begin_maintenance().await.unwrap().unwrap();
    assert_eq!(store.finish_retags(&plain).await.unwrap().len(), 1);
}
