//! Deletion against its promises: these rows and no others, whatever is cut off or done meanwhile.

mod plans;

use std::collections::{BTreeMap, BTreeSet};

use situs_model::store::{Advice, HomeStore as _, ZoneStore as _};
use situs_model::{Decision, Source};

use super::*;
use crate::simulation::{Watch, watched};
use crate::store::DeltaStore;
use crate::store::tests::compaction::{at_once, contents, table};
use crate::store::tests::dies::Dies;
use crate::store::tests::home;
use crate::store::tests::support::*;

/// Seven flushes of two partitions over two days; both settled at 250.
async fn filled() -> (tempfile::TempDir, DeltaStore) {
    let (dir, store) = fresh().await;
    for (n, start) in (0..).zip([0, 40, 80, 120, 160, 200, 240]) {
        for partition in 0..2 {
            let flush = format!("f{n}-{partition}");
            let append = append(store.identity(), &flush, partition, start, start + 40);
            store.append(&append).await.unwrap();
        }
    }
    (dir, store)
}

fn settled() -> BTreeMap<(String, i32), i64> {
    [(("cnc.state".to_owned(), 0), 250), (("cnc.state".to_owned(), 1), 250)].into()
}

fn request(criterion: Criterion) -> DeletionRequest {
    DeletionRequest {
        id: uuid::Uuid::now_v7().to_string(),
        criterion,
        by: "somebody".to_owned(),
        reason: "asked for".to_owned(),
        policy: "p".to_owned(),
        settled: settled(),
        device_columns: BTreeMap::new(),
        holds: Vec::new(),
        floors: Vec::new(),
        despite_minimum: None,
        leave_held: false,
        ledgers_keep: "184d".parse().unwrap(),
    }
}

/// The offsets 30..130 and what is beyond of partition 1.
fn offsets() -> Criterion {
    Criterion {
        topic: Some("cnc.state".to_owned()),
        partition: Some(1),
        from_offset: Some(30),
        to_offset: Some(130),
        ..Criterion::default()
    }
}

async fn maintenance(store: &DeltaStore) -> Maintenance {
    store.begin_maintenance().await.unwrap().unwrap()
}

async fn planned(maintenance: &Maintenance, request: &DeletionRequest) -> Plan {
    match maintenance.decide_deletion(request, true).await.unwrap() {
        Decided::Planned(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

/// What is left after [`offsets`] went.
fn left() -> Vec<(i32, i64, i32)> {
    [expected(0, 0..280), expected(1, 0..30), expected(1, 130..280)].concat()
}

fn is_gone(text: &str) -> bool {
    let partition = text.contains("_partition=PrimitiveArray<Int32>\n[\n  1,\n]");
    let offset =
        text.split("_offset=PrimitiveArray<Int64>\n[\n  ").nth(1).unwrap().split(',').next().unwrap();
    partition && (30..130).contains(&offset.parse::<i64>().unwrap())
}

#[tokio::test]
async fn a_deletion_removes_these_rows_and_leaves_all_others_as_they_were() {
    let (dir, store) = filled().await;
    let before = contents(dir.path(), "cnc_state").await;
    let maintenance = maintenance(&store).await;
    let request = request(offsets());

    let Decided::Planned(dry) = maintenance.decide_deletion(&request, false).await.unwrap() else { panic!() };
    assert_eq!(dry.tables[0].deleted(), 200);
    assert!(!dir.path().join("_situs_deletions").exists(), "nothing is written by looking");

    let plan = planned(&maintenance, &request).await;
    assert_eq!(maintenance.unfinished_deletions().await.unwrap(), std::slice::from_ref(&plan));
    let body = maintenance.carry_out_deletion(&plan).await.unwrap();
    maintenance.end_deletion(&plan.id).await.unwrap();
    assert!(maintenance.unfinished_deletions().await.unwrap().is_empty());

    let rest: Vec<String> = before.iter().filter(|row| !is_gone(row)).cloned().collect();
    assert_eq!(before.len() - rest.len(), 200);
    assert_eq!(contents(dir.path(), "cnc_state").await, rest);
    let of_table = &body.tables[0];
    // 250 offsets of each partition are settled, two rows each.
    assert_eq!(
        of_table.partitions,
        [PartitionDeleted {
            topic: "cnc.state".to_owned(),
            partition: 1,
            settled: 250,
            before: 500,
            deleted: 200,
            after: 300
        }]
    );
    // Offsets 30..130 lie in four files, of which two are gone as a whole.
    assert_eq!((of_table.removed.len(), of_table.written.len()), (4, 2));
    assert_eq!((of_table.found, of_table.came_later, of_table.looked_rows), (0, 0, 920));
    assert_eq!(body.coordinates.rows, 200);
    assert_eq!(body.coordinates.fault(dir.path()).unwrap(), None);
    for file in &of_table.written {
        let path = dir.path().join("cnc_state").join(&file.path);
        assert_eq!(crate::encode::files::hash_of(&path), file.sha256);
    }
    // What was removed is there still, and is what the entry says.
    for file in &of_table.removed {
        let path = dir.path().join("cnc_state").join(&file.path);
        assert_eq!(crate::encode::files::hash_of(&path), file.sha256);
    }

    // Offsets stay settled, so that a range that is brought again brings nothing back.
    let again = append(store.identity(), "again", 1, 40, 80);
    assert_eq!(store.append(&again).await.unwrap().decisions, [(source(1), Decision::AlreadyCommitted)]);
    // And compaction afterwards keeps what is there.
    let compacted = maintenance.optimize(&table(), &at_once()).await.unwrap();
    assert!(compacted.replaced.files > 0);
    assert_eq!(contents(dir.path(), "cnc_state").await, rest);
    assert_eq!(
        maintenance.decide_deletion(&request, false).await.unwrap(),
        Decided::Nothing { unsettled: 0, held: 0 }
    );
}

#[tokio::test]
async fn rows_that_are_not_settled_stay() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let criterion = Criterion { from_offset: Some(240), ..Criterion::default() };
    let plan = planned(&maintenance, &request(criterion)).await;
    assert_eq!((plan.tables[0].deleted(), plan.tables[0].unsettled), (40, 120));
    maintenance.carry_out_deletion(&plan).await.unwrap();
    let all: Vec<_> = (0..2).flat_map(|p| [expected(p, 0..240), expected(p, 250..280)].concat()).collect();
    assert_eq!(keys(dir.path()).await, all);
    // A partition of which nothing is settled loses nothing.
    let unknown = DeletionRequest { settled: BTreeMap::new(), ..request(Criterion::default()) };
    maintenance.end_deletion(&plan.id).await.unwrap();
    let decided = maintenance.decide_deletion(&unknown, true).await.unwrap();
    assert_eq!(decided, Decided::Nothing { unsettled: 1080, held: 0 });
}

#[tokio::test]
async fn rows_are_found_by_site_day_and_class() {
    let (_dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let deleted = async |criterion: Criterion| match maintenance
        .decide_deletion(&request(criterion), false)
        .await
        .unwrap()
    {
        Decided::Planned(plan) => plan.tables.iter().map(TablePlan::deleted).sum(),
        Decided::Nothing { .. } => 0,
        Decided::Refused(refused) => panic!("{refused:?}"),
    };
    let with = |change: fn(&mut Criterion)| {
        let mut criterion = Criterion::default();
        change(&mut criterion);
        criterion
    };
    assert_eq!(deleted(with(|c| c.site = Some("nanning-1".to_owned()))).await, 1000);
    assert_eq!(deleted(with(|c| c.site = Some("nanning-2".to_owned()))).await, 0);
    assert_eq!(deleted(with(|c| c.class = Some("general".to_owned()))).await, 1000);
    assert_eq!(deleted(with(|c| c.class = Some("core".to_owned()))).await, 0);
    // 288 offsets are of the first day, so all that is settled is.
    assert_eq!(deleted(with(|c| c.before = "2026-03-02".parse().ok())).await, 1000);
    assert_eq!(deleted(with(|c| c.before = "2026-03-01".parse().ok())).await, 0);
    // There is no column `device`: no row is of that device.
    assert_eq!(deleted(with(|c| c.device = Some("x".to_owned()))).await, 0);
}

#[tokio::test]
async fn what_is_held_or_too_young_is_refused_before_anything_is_written() {
    let (dir, store) = filled().await;
    let before = keys(dir.path()).await;
    let maintenance = maintenance(&store).await;
    let hold = |id: &str, criterion: Criterion| Hold {
        id: id.to_owned(),
        criterion,
        by: "counsel".to_owned(),
        reason: "a claim".to_owned(),
        at_us: 0,
    };
    let on_it = Criterion { to_offset: Some(31), ..offsets() };
    let beside = Criterion { partition: Some(0), ..offsets() };
    let floor = |day: &str, class: Option<&str>| Floor {
        tables: BTreeSet::from([table()]),
        class: class.map(str::to_owned),
        keep_from: day.parse().unwrap(),
        rule: "a rule".to_owned(),
    };
    let mut asked = DeletionRequest {
        holds: vec![hold("case-7", on_it), hold("case-8", beside)],
        floors: vec![floor("2026-03-01", None), floor("2026-03-02", None), floor("2026-03-01", Some("core"))],
        ..request(offsets())
    };
    let Decided::Refused(refusals) = maintenance.decide_deletion(&asked, true).await.unwrap() else {
        panic!()
    };
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("hold `case-7` is on 2 of these rows"), "{texts:?}");
    assert!(texts[1].starts_with("200 of these rows are of 2026-03-01 or later"), "{texts:?}");
    assert!(crate::durable::list(&crate::names::deletions(dir.path())).unwrap().is_empty());
    assert_eq!(keys(dir.path()).await, before);

    // A minimum can be overridden, and that is said; a hold cannot.
    asked.despite_minimum = Some("a court's order".to_owned());
    let Decided::Refused(refusals) = maintenance.decide_deletion(&asked, true).await.unwrap() else {
        panic!()
    };
    assert_eq!(refusals.len(), 1);
    asked.holds.clear();
    let plan = planned(&maintenance, &asked).await;
    assert_eq!(plan.despite_minimum, Some(Despite { reason: "a court's order".to_owned(), rows: 200 }));
}

/// The process dies between any two commits, and before the ledger tells of it.
#[tokio::test]
async fn a_deletion_that_was_cut_off_is_finished_by_whoever_finds_it() {
    let (dir, store) = filled().await;
    let first = maintenance(&store).await;
    let request = request(offsets());
    let plan = planned(&first, &request).await;
    // One file of four, in a commit of its own.
    let place = Place::new(dir.path(), store.identity(), &table());
    let mut set = KeySet::default();
    let add = |doomed: &coordinates::Doomed<'_>| {
        set.insert(&doomed.key);
        Ok(())
    };
    plan.coordinates.read(dir.path(), add).unwrap();
    let mut live = Live::load(&place.folder, place.day()).unwrap().unwrap();
    let files: Vec<_> = live.files.iter().map(|(path, file)| (path.clone(), file.clone())).collect();
    let reduced = files
        .iter()
        .find_map(|(path, file)| reduce::reduce(&place, path, file, &mut set, &mut || Ok(())).unwrap())
        .unwrap();
    let staging = store.leases_for_tests().stage();
    let done = reduce::commit(&place, &mut live, &plan.id, &[reduced], &staging).unwrap();
    assert!(matches!(done, Replaced::Committed(_)));
    drop((first, staging));

    let second = open(&dir).await;
    let second = maintenance(&second).await;
    let refused = second.decide_deletion(&request, true).await.unwrap_err();
    assert!(refused.message.contains("not finished"), "{refused}");
    let [found] = &second.unfinished_deletions().await.unwrap()[..] else { panic!("one plan") };
    let body = second.carry_out_deletion(found).await.unwrap();
    assert_eq!(keys(dir.path()).await, left());
    let of_table = &body.tables[0];
    assert_eq!((of_table.removed.len(), of_table.written.len()), (4, 2));
    assert!(of_table.versions.len() >= 2, "{:?}", of_table.versions);
    // It died again before the ledger was told: nothing is left to do, and the same is said.
    let again = second.carry_out_deletion(found).await.unwrap();
    assert_eq!(
        (&again.tables[0].removed, &again.tables[0].partitions),
        (&of_table.removed, &of_table.partitions)
    );
    second.end_deletion(&found.id).await.unwrap();
}

/// Every second step of a deletion is the last one of its process; the next process finishes it.
#[test]
fn whatever_step_was_the_last_a_deletion_can_be_finished() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut at, mut cases, mut begun) = (0, 0, 0);
    loop {
        at += 2 + u64::from(cases % 2 == 0);
        let (dir, store) = runtime.block_on(filled());
        let dies = Dies::at(at);
        let watch: Arc<dyn Watch> = dies.clone();
        let asked = request(offsets());
        watched(watch, || {
            runtime.block_on(async {
                let Ok(Some(maintenance)) = store.begin_maintenance().await else { return };
                let Ok(Decided::Planned(plan)) = maintenance.decide_deletion(&asked, true).await else {
                    return;
                };
                if maintenance.carry_out_deletion(&plan).await.is_ok() {
                    let _ = maintenance.end_deletion(&plan.id).await;
                }
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
            let plans = maintenance.unfinished_deletions().await.unwrap();
            begun += u64::from(!plans.is_empty());
            match &plans[..] {
                [] if keys(dir.path()).await.len() == 1120 => {
                    let plan = planned(&maintenance, &request(offsets())).await;
                    maintenance.carry_out_deletion(&plan).await.unwrap();
                }
                // The plan went, so all else was done.
                [] => {}
                [plan] => {
                    let body = maintenance.carry_out_deletion(plan).await.unwrap();
                    assert_eq!(body.tables[0].removed.len(), 4, "step {at}");
                    maintenance.end_deletion(&plan.id).await.unwrap();
                }
                more => panic!("step {at}: {} plans", more.len()),
            }
            assert_eq!(keys(dir.path()).await, left(), "step {at}");
        });
    }
    assert!(cases > 50 && begun > 20, "{cases} cases, {begun} had begun");
}

/// Appends and compaction go on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_meanwhile_is_not_lost() {
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
    let plan = planned(&maintenance, &request(offsets())).await;
    let body = maintenance.carry_out_deletion(&plan).await.unwrap();
    running.store(false, Ordering::SeqCst);
    let end = writing.await.unwrap();
    assert_eq!((body.tables[0].partitions[0].after, body.tables[0].came_later), (300, 0));
    let all = [expected(0, 0..280), expected(1, 0..30), expected(1, 130..end)].concat();
    assert_eq!(keys(dir.path()).await, all);
}

/// Files that a compaction had replaced hold the rows too.
#[tokio::test]
async fn the_bytes_go_from_every_file_that_holds_them() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    let files = parquet_files(dir.path());
    let plan = planned(&maintenance, &request(offsets())).await;
    let body = maintenance.carry_out_deletion(&plan).await.unwrap();
    assert_eq!(body.tables[0].removed.len(), 1, "the compacted file");
    // The one that was written instead, and the coordinates.
    assert_eq!(parquet_files(dir.path()), files + 2);

    let now = SystemTime::now();
    let week = Vacuum::default();
    let waits = maintenance.erase_deleted(&body, &week, now).await.unwrap();
    assert!(waits.removed.is_empty());
    // The four files that were appended, and the one into which they were put.
    assert_eq!(waits.left.len(), 5, "{waits:?}");
    let protected = Vacuum {
        retention: Duration::ZERO,
        protected: BTreeSet::from([waits.left[0].clone()]),
        ..Vacuum::default()
    };
    let erased = maintenance.erase_deleted(&body, &protected, now).await.unwrap();
    assert_eq!((erased.removed.len(), erased.left.len()), (4, 1));
    let at_once = Vacuum { retention: Duration::ZERO, ..Vacuum::default() };
    let erased = maintenance.erase_deleted(&body, &at_once, now).await.unwrap();
    assert_eq!((erased.removed.len(), erased.left.len()), (1, 0));
    assert_eq!(keys(dir.path()).await, left());

    // A file that is half written may hold them until it is gone.
    let of_day = dir.path().join("cnc_state/event_date=2026-03-01");
    let half = crate::names::temporary(&of_day);
    std::fs::write(&half, b"PAR1").unwrap();
    assert_eq!(maintenance.erase_deleted(&body, &at_once, now).await.unwrap().left.len(), 1);
    std::fs::remove_file(&half).unwrap();
    assert!(maintenance.erase_deleted(&body, &at_once, now).await.unwrap().left.is_empty());
}

#[tokio::test]
async fn messages_of_quarantine_go_by_their_offsets() {
    let (dir, store) = fresh().await;
    store.quarantine(&home::quarantine("q1", 0, 10, &[1, 2, 3])).await.unwrap();
    let maintenance = maintenance(&store).await;
    let criterion = Criterion { from_offset: Some(2), ..Criterion::default() };
    let plan = planned(&maintenance, &request(criterion)).await;
    assert_eq!((plan.tables[0].table.as_str(), plan.tables[0].deleted()), ("quarantine", 2));
    let mut named = Vec::new();
    plan.coordinates
        .read(dir.path(), |doomed| {
            let (reason, rows) = doomed.quarantined.unwrap();
            named.push((doomed.key.offset, reason.to_owned(), rows));
            Ok(())
        })
        .unwrap();
    assert_eq!(named, [(2, "invalid-json".to_owned(), 0), (3, "unknown-device".to_owned(), 2)]);
    maintenance.carry_out_deletion(&plan).await.unwrap();
    let [(_, batch)] = &read(dir.path(), "quarantine").await[..] else { panic!("one file") };
    assert_eq!(batch.num_rows(), 1);
    let again = home::quarantine("q1", 0, 10, &[1, 2, 3]);
    assert_eq!(store.quarantine(&again).await.unwrap().decisions, [(source(0), Decision::AlreadyCommitted)]);
}

/// What is read back must be what stays, and not only as many rows.
#[tokio::test]
async fn a_file_with_other_rows_is_not_what_stays() {
    let (dir, store) = filled().await;
    let place = Place::new(dir.path(), store.identity(), &table());
    let live = Live::load(&place.folder, place.day()).unwrap().unwrap();
    let files: Vec<&String> = live.files.keys().collect();
    let mut none = KeySet::default();
    let mut same = |old: &str, new: &str| reduce::compare(&place, old, new, &mut none, &mut || Ok(()));
    same(files[0], files[0]).unwrap();
    let other = same(files[0], files[1]).unwrap_err();
    assert!(other.message.contains("a row is another one"), "{}", other.message);
}

#[tokio::test]
async fn what_is_held_is_left_and_counted_where_that_is_asked_for() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let hold = Hold {
        id: "case-7".to_owned(),
        criterion: Criterion { to_offset: Some(40), ..offsets() },
        by: "counsel".to_owned(),
        reason: "a claim".to_owned(),
        at_us: 0,
    };
    let asked = DeletionRequest { holds: vec![hold], leave_held: true, ..request(offsets()) };
    let plan = planned(&maintenance, &asked).await;
    assert_eq!((plan.tables[0].deleted(), plan.tables[0].held), (180, 20));
    let body = maintenance.carry_out_deletion(&plan).await.unwrap();
    assert_eq!((body.deleted(), body.tables[0].held, body.tables[0].came_later), (180, 20, 0));
    maintenance.end_deletion(&plan.id).await.unwrap();
    assert_eq!(keys(dir.path()).await.len(), 940);
    let again = DeletionRequest { id: uuid::Uuid::now_v7().to_string(), ..asked };
    let nothing = maintenance.decide_deletion(&again, true).await.unwrap();
    assert_eq!(nothing, Decided::Nothing { unsettled: 0, held: 20 });
}

#[tokio::test]
async fn without_a_log_nothing_is_said_of_bytes() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let plan = planned(&maintenance, &request(offsets())).await;
    let body = maintenance.carry_out_deletion(&plan).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("cnc_state/_delta_log")).unwrap();
    let at_once = Vacuum { retention: Duration::ZERO, ..Vacuum::default() };
    let refused = maintenance.erase_deleted(&body, &at_once, SystemTime::now()).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Retry, "{refused}");
}
