//! Releases from quarantine: each record once, whatever crashes, races or is answered.

use std::collections::BTreeSet;

use situs_model::{ClusterName, Coordinates, Ledger, Release, ReleaseEntry, ReleaseState};

use super::super::release::{LedgerStep, Placed};
use super::super::*;
use super::home::{message, quarantine};
use super::support::*;
use crate::quarantine::read::{QuarantineEntry, QuarantineFilter};
use crate::reader::StoreReader;
use crate::root::init;
use crate::table::{Mishap, MishapKind};

fn record(offset: i64) -> Coordinates {
    Coordinates { topic: "cnc.state".into(), partition: 0, offset }
}

fn cluster() -> ClusterName {
    source(0).cluster
}

/// A home of `CN` with a second store of `EU`.
struct Pair {
    cn: tempfile::TempDir,
    eu: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { cn: tempfile::tempdir().unwrap(), eu: tempfile::tempdir().unwrap() };
        init(pair.cn.path(), &zone("CN")).unwrap();
        init(pair.eu.path(), &zone("EU")).unwrap();
        pair
    }

    /// The stores as a process that has just started opens them, home first.
    async fn open(&self) -> [DeltaStore; 2] {
        let store = |dir: &tempfile::TempDir, name| {
            let (root, zone) = (dir.path().to_owned(), zone(name));
            async move { DeltaStore::open(&root, &zone, metrics()).await.unwrap() }
        };
        [store(&self.cn, "CN").await, store(&self.eu, "EU").await]
    }
}

/// A release of these offsets, each with two rows for each of these stores.
fn release(id: &str, offsets: &[i64], stores: &[&DeltaStore]) -> Release {
    let entry = |store: &&DeltaStore, offset: &i64| ReleaseEntry {
        record: record(*offset),
        reason: "unknown-device".to_owned(),
        target: store.identity().clone(),
        rows: 2,
    };
    Release {
        id: id.to_owned(),
        pipeline: "cnc-state".parse().unwrap(),
        policy: "p".to_owned(),
        schema: "s".to_owned(),
        by: "somebody".to_owned(),
        begun_us: MARCH,
        entries: stores
            .iter()
            .flat_map(|store| offsets.iter().map(move |offset| entry(store, offset)))
            .collect(),
        done_us: None,
    }
}

/// The rows that a release has for a store, encoded.
fn rows_of(release: &Release, store: &DeltaStore) -> EncodedRows {
    let identity = store.identity();
    let of_store = release.entries.iter().filter(|entry| entry.target == *identity);
    let batches = of_store.map(|entry| {
        let offset = entry.record.offset;
        permitted(0, rows(0, offset..offset + 1, identity.zone.as_str()), identity)
    });
    encoded(identity, &release.id, batches.collect())
}

async fn place(release: &Release, store: &DeltaStore) -> Placed {
    store.append_released(release, &cluster(), &rows_of(release, store), &facts(&release.id)).await.unwrap()
}

/// Finishes a release from whatever the ledger and the stores say.
async fn finish(id: &str, [cn, eu]: &[DeltaStore; 2]) {
    loop {
        let ledger = cn.ledger().await.unwrap();
        let release = ledger.release(id).unwrap().clone();
        let mut placed = Vec::new();
        for store in [cn, eu] {
            if release.targets().contains(store.identity()) {
                placed.push(place(&release, store).await);
            }
        }
        let step = cn.end_release(&ledger, &release, &placed, MARCH + 1, &facts(id)).await.unwrap();
        if step == LedgerStep::Written {
            return;
        }
    }
}

fn twice(offsets: &[i64]) -> Vec<(i32, i64, i32)> {
    offsets.iter().flat_map(|offset| [(0, *offset, 0), (0, *offset, 1)]).collect()
}

fn ids(ledger: &Ledger) -> Vec<String> {
    ledger.unfinished().map(|release| release.id.clone()).collect()
}

/// A process dies after any number of the steps; the next one finishes what the ledger names.
#[tokio::test]
async fn a_release_is_done_once_wherever_it_was_cut_off() {
    for steps in 0..=4 {
        let pair = Pair::new();
        {
            let [cn, eu] = pair.open().await;
            let release = release("r1", &[3, 7], &[&cn, &eu]);
            let mut placed = Vec::new();
            if steps >= 1 {
                let begun = cn.begin_release(&Ledger::default(), &release, &facts("r1")).await.unwrap();
                assert_eq!(begun, LedgerStep::Written);
            }
            if steps >= 2 {
                placed.push(place(&release, &cn).await);
                assert_eq!(placed[0].version(), Some(1));
            }
            if steps >= 3 {
                placed.push(place(&release, &eu).await);
            }
            if steps >= 4 {
                let ledger = cn.ledger().await.unwrap();
                cn.end_release(&ledger, &release, &placed, MARCH, &facts("r1")).await.unwrap();
            }
        }
        let stores = pair.open().await;
        let ledger = stores[0].ledger().await.unwrap();
        match steps {
            0 => {
                assert_eq!(ledger.state(&record(3)), ReleaseState::Held);
                let release = release("r1", &[3, 7], &[&stores[0], &stores[1]]);
                stores[0].begin_release(&ledger, &release, &facts("r1")).await.unwrap();
                finish("r1", &stores).await;
            }
            4 => assert_eq!(ids(&ledger), Vec::<String>::new()),
            _ => {
                assert_eq!(ids(&ledger), ["r1"]);
                finish("r1", &stores).await;
            }
        }
        // Once more changes nothing.
        finish("r1", &pair.open().await).await;
        for dir in [&pair.cn, &pair.eu] {
            assert_eq!(keys(dir.path()).await, twice(&[3, 7]), "after {steps} steps");
            assert_eq!(parquet_files(&dir.path().join("cnc_state")), 1);
        }
        let ledger = stores[0].ledger().await.unwrap();
        let [cn, eu] = &stores;
        let late = release("r1", &[3, 7], &[cn, eu]);
        let placed = [place(&late, cn).await, place(&late, eu).await];
        let step = cn.end_release(&ledger, &late, &placed, MARCH, &facts("r1")).await.unwrap();
        assert_eq!(step, LedgerStep::Written, "whoever did not know that it is done is told so");
        let ledger = stores[0].ledger().await.unwrap();
        assert_eq!((ledger.next(), ledger.released().count()), (2, 4));
        assert!(matches!(ledger.state(&record(7)), ReleaseState::Released(release) if release.id == "r1"));
    }
}

/// What one process began, no other can take; one that did not look again is told so.
#[tokio::test]
async fn a_record_is_released_by_one_of_two() {
    let pair = Pair::new();
    let [first, _] = pair.open().await;
    let [second, _] = pair.open().await;
    let seen = second.ledger().await.unwrap();
    let one = release("r1", &[3], &[&first]);
    first.begin_release(&first.ledger().await.unwrap(), &one, &facts("r1")).await.unwrap();
    for offset in [3, 4] {
        let other = release("r2", &[offset], &[&second]);
        let step = second.begin_release(&seen, &other, &facts("r2")).await.unwrap();
        assert_eq!(step, LedgerStep::Outdated);
    }
    let ledger = second.ledger().await.unwrap();
    let refused =
        second.begin_release(&ledger, &release("r2", &[3], &[&second]), &facts("r2")).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    assert!(refused.to_string().contains("cnc.state/0/3 was released before"), "{refused}");
    let step = second.begin_release(&ledger, &release("r2", &[4], &[&second]), &facts("r2")).await.unwrap();
    assert_eq!(step, LedgerStep::Written);
    assert_eq!(ids(&first.ledger().await.unwrap()), ["r1", "r2"]);
}

/// Two processes release the same records, one by one and at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_race_and_every_record_is_there_once() {
    let pair = Pair::new();
    let mut tasks = Vec::new();
    for who in 0..2 {
        let stores = pair.open().await;
        tasks.push(tokio::spawn(async move {
            for offset in 0..8 {
                let id = format!("r{who}-{offset}");
                loop {
                    let ledger = stores[0].ledger().await.unwrap();
                    let id = match ledger.state(&record(offset)) {
                        ReleaseState::Released(_) => break,
                        ReleaseState::Begun(other) => other.id.clone(),
                        ReleaseState::Held => {
                            let release = release(&id, &[offset], &[&stores[0], &stores[1]]);
                            match stores[0].begin_release(&ledger, &release, &facts(&id)).await {
                                Ok(LedgerStep::Written) => id.clone(),
                                Ok(LedgerStep::Outdated) => continue,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    };
                    finish(&id, &stores).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let offsets: Vec<i64> = (0..8).collect();
    assert_eq!(keys(pair.cn.path()).await, twice(&offsets));
    assert_eq!(keys(pair.eu.path()).await, twice(&offsets));
    let ledger = pair.open().await[0].ledger().await.unwrap();
    assert_eq!((ledger.released().count(), ledger.next()), (16, 16), "eight releases of two steps each");
}

/// The commits land but their answers are lost.
#[tokio::test]
async fn a_lost_answer_is_found_in_the_ledger_and_in_the_zone() {
    let pair = Pair::new();
    let stores = pair.open().await;
    let lose = |table: TableName| {
        let mishap = Mishap { kind: MishapKind::LostAnswer, meanwhile: Box::pin(async {}) };
        stores[0].table(&table).mishap.lock().unwrap().replace(mishap);
    };
    let release = release("r1", &[3], &[&stores[0]]);
    lose(TableName::releases());
    let step = stores[0].begin_release(&Ledger::default(), &release, &facts("r1")).await.unwrap();
    assert_eq!(step, LedgerStep::Written);
    lose("cnc_state".parse().unwrap());
    let placed = place(&release, &stores[0]).await;
    assert_eq!(placed.version(), Some(1));
    lose(TableName::releases());
    let ledger = stores[0].ledger().await.unwrap();
    let step = stores[0].end_release(&ledger, &release, &[placed], MARCH, &facts("r1")).await.unwrap();
    assert_eq!(step, LedgerStep::Written);
    assert_eq!(keys(pair.cn.path()).await, twice(&[3]));
    assert_eq!(stores[0].ledger().await.unwrap().next(), 2);
}

/// A release neither moves the partition's offset nor is moved by it.
#[tokio::test]
async fn the_partitions_own_offset_stays() {
    let pair = Pair::new();
    let stores = pair.open().await;
    stores[0].append(&append(stores[0].identity(), "f1", 0, 10, 15)).await.unwrap();
    let release = release("r1", &[3, 20], &[&stores[0]]);
    stores[0].begin_release(&Ledger::default(), &release, &facts("r1")).await.unwrap();
    finish("r1", &stores).await;
    let table = stores[0].table(&"cnc_state".parse().unwrap());
    assert_eq!(table.progress(&[source(0).app_id()]).await.unwrap(), [Some(NextOffset(15))]);
    stores[0].append(&append(stores[0].identity(), "f2", 0, 15, 17)).await.unwrap();
    assert_eq!(keys(pair.cn.path()).await, [twice(&[3]), expected(0, 10..17), twice(&[20])].concat());

    // The rows stay there once, also where only a checkpoint remembers the release.
    stores[0].maintain(1).await.unwrap();
    for version in 0..3 {
        std::fs::remove_file(names::log_entry(&pair.cn.path().join("cnc_state"), version)).unwrap();
    }
    let again = place(&release, &pair.open().await[0]).await;
    assert_eq!(again.version(), None);
    assert_eq!(keys(pair.cn.path()).await.len(), 18);
}

#[tokio::test]
async fn a_release_ends_only_with_its_rows_in_place() {
    let pair = Pair::new();
    let [cn, eu] = pair.open().await;
    let one = release("r1", &[3], &[&cn, &eu]);
    let advice = |error: StoreError| error.advice;
    let empty = release("r0", &[], &[&cn]);
    assert_eq!(
        cn.begin_release(&Ledger::default(), &empty, &facts("r0")).await.map_err(advice),
        Err(Advice::Stop)
    );
    cn.begin_release(&Ledger::default(), &one, &facts("r1")).await.unwrap();
    let ledger = cn.ledger().await.unwrap();
    let placed = [place(&one, &cn).await];
    let early = cn.end_release(&ledger, &one, &placed, MARCH, &facts("r1")).await;
    assert_eq!(early.map_err(advice), Err(Advice::Stop));

    // Other rows than the release names, or another store's.
    let more = rows_of(&release("r1", &[3, 4], &[&eu]), &eu);
    let result = eu.append_released(&one, &cluster(), &more, &facts("r1")).await;
    assert_eq!(result.map(drop).map_err(advice), Err(Advice::Stop));
    let foreign = rows_of(&one, &cn);
    let result = eu.append_released(&one, &cluster(), &foreign, &facts("r1")).await;
    assert_eq!(result.map(drop).map_err(advice), Err(Advice::Stop));
    let other_offset = rows_of(&release("r1", &[9], &[&eu]), &eu);
    let result = eu.append_released(&one, &cluster(), &other_offset, &facts("r1")).await;
    assert_eq!(result.map(drop).map_err(advice), Err(Advice::Stop));
    assert!(!pair.eu.path().join("cnc_state").exists());
}

async fn scan(dir: &tempfile::TempDir, filter: QuarantineFilter) -> Vec<QuarantineEntry> {
    let reader = StoreReader::open(dir.path()).unwrap();
    let mut scan = reader.quarantine(filter, false).await.unwrap();
    let mut found = Vec::new();
    while let Some(batch) = scan.next_batch().unwrap() {
        found.extend(batch.into_iter().map(|(entry, _)| entry));
    }
    found.sort_by_key(|entry| entry.record.offset);
    found
}

#[tokio::test]
async fn quarantine_is_read_as_it_was_written() {
    let (dir, store) = fresh().await;
    assert!(scan(&dir, QuarantineFilter::default()).await.is_empty(), "no table yet");
    store.quarantine(&quarantine("f1", 0, 5, &[1, 2, 3])).await.unwrap();
    store.quarantine(&quarantine("f2", 5, 9, &[6])).await.unwrap();
    let reader = StoreReader::open(dir.path()).unwrap();
    let mut whole = reader.quarantine(QuarantineFilter::default(), true).await.unwrap();
    let mut seen = 0;
    while let Some(batch) = whole.next_batch().unwrap() {
        for (entry, content) in batch {
            let original = message(entry.record.offset);
            assert_eq!((content.key, content.payload), (original.key, original.payload.clone()));
            assert_eq!(content.headers, original.headers);
            assert_eq!(entry.reason, original.reason.as_str());
            assert_eq!(
                (entry.pointer, entry.byte),
                (original.pointer, original.byte.map(|byte| byte as i64))
            );
            assert_eq!(entry.payload_bytes, original.payload.map(|payload| payload.len()));
            assert_eq!(entry.broker_time_us, Some(1_772_323_200_123_000));
            assert_eq!((entry.ingest_time_us, entry.rows), (MARCH, original.rows as i32));
            seen += 1;
        }
    }
    assert_eq!(seen, 4);

    let offsets = async |filter| -> Vec<i64> {
        scan(&dir, filter).await.iter().map(|entry| entry.record.offset).collect()
    };
    let all = QuarantineFilter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(offsets(QuarantineFilter { reason: text("unknown-device"), ..all() }).await, [1, 3]);
    assert_eq!(offsets(QuarantineFilter { topic: text("other"), ..all() }).await, Vec::<i64>::new());
    assert_eq!(offsets(QuarantineFilter { partition: Some(0), ..all() }).await, [1, 2, 3, 6]);
    assert_eq!(offsets(QuarantineFilter { pipeline: text("x"), ..all() }).await, Vec::<i64>::new());
    let records = BTreeSet::from([record(3), record(6), record(99)]);
    assert_eq!(offsets(QuarantineFilter { records, ..all() }).await, [3, 6]);
    let now = crate::columns::now_us();
    assert_eq!(offsets(QuarantineFilter { since_us: Some(now - DAY), ..all() }).await.len(), 4);
    assert_eq!(offsets(QuarantineFilter { since_us: Some(now + 2 * DAY), ..all() }).await.len(), 0);
}

#[tokio::test]
async fn schemas_are_archived_beside_policies() {
    let (dir, store) = fresh().await;
    let version = ContentVersion::of(b"{}");
    store.archive(Text::Schema, &version, "{}").await.unwrap();
    store.archive(Text::Schema, &version, "{}").await.unwrap();
    assert_eq!(store.archive(Text::Schema, &version, "{ }").await.unwrap_err().advice, Advice::Stop);
    assert_eq!(store.archived(Text::Schema, &version).await.unwrap().as_deref(), Some("{}"));
    assert_eq!(store.archived(Text::Policy, &version).await.unwrap(), None);
    // What lies there must be the text of that version.
    std::fs::write(names::archived(dir.path(), Text::Schema, &version), "{ }").unwrap();
    assert_eq!(store.archived(Text::Schema, &version).await.unwrap_err().advice, Advice::Stop);
}

/// The ledger's commit lands, but nobody can look: it is tried again, and is found to be this release's own.
#[tokio::test]
async fn a_step_whose_outcome_was_unknown_can_be_tried_again() {
    let pair = Pair::new();
    let [cn, _] = pair.open().await;
    let first = release("r0", &[1], &[&cn]);
    cn.begin_release(&Ledger::default(), &first, &facts("r0")).await.unwrap();
    let ledger = cn.ledger().await.unwrap();
    let log = pair.cn.path().join("releases/_delta_log");
    let aside = pair.cn.path().join("releases/_aside");
    let (from, to) = (log.clone(), aside.clone());
    let meanwhile = Box::pin(async move { std::fs::rename(from, to).unwrap() });
    let table = cn.table(&TableName::releases());
    table.mishap.lock().unwrap().replace(Mishap { kind: MishapKind::LostAnswer, meanwhile });
    let one = release("r1", &[3], &[&cn]);
    let unknown = cn.begin_release(&ledger, &one, &facts("r1")).await.unwrap_err();
    assert_eq!(unknown.advice, Advice::Retry);
    std::fs::rename(aside, log).unwrap();
    let step = cn.begin_release(&ledger, &one, &facts("r1")).await.unwrap();
    assert_eq!(step, LedgerStep::Written);
    let other = release("r2", &[4], &[&cn]);
    let step = cn.begin_release(&ledger, &other, &facts("r2")).await.unwrap();
    assert_eq!(step, LedgerStep::Outdated);
    assert_eq!(ids(&cn.ledger().await.unwrap()), ["r0", "r1"]);
    assert_eq!(cn.ledger().await.unwrap().next(), 2);
}
