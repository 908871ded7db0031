//! Races, lost answers, and file systems that refuse.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use situs_model::Decision;

use super::super::*;
use super::support::*;
use crate::log;
use crate::table::{Mishap, MishapKind};

fn mishap(kind: MishapKind, meanwhile: impl Future<Output = ()> + Send + 'static) -> Mishap {
    Mishap { kind, meanwhile: Box::pin(meanwhile) }
}

/// Two committers, eight partitions, five ranges each; every range is tried by both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_race_and_every_row_is_there_once() {
    let (dir, first) = fresh().await;
    let stores = [Arc::new(first), Arc::new(open(&dir).await)];
    let mut tasks = Vec::new();
    for partition in 0..8 {
        for (who, store) in stores.iter().enumerate() {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                for step in 0..5 {
                    let flush = format!("f{who}-{partition}-{step}");
                    let append = append(store.identity(), &flush, partition, step * 4, step * 4 + 4);
                    let mut tries = 0;
                    while let Err(error) = store.append(&append).await {
                        assert_eq!(error.advice, Advice::Retry, "{error}");
                        tries += 1;
                        assert!(tries < 50, "{error}");
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let all: Vec<_> = (0..8).flat_map(|partition| expected(partition, 0..20)).collect();
    assert_eq!(keys(dir.path()).await, all);
    // Losers left no files behind.
    assert_eq!(parquet_files(dir.path()), 40);
    let versions = log::load(&dir.path().join("cnc_state")).await.unwrap().unwrap().version;
    assert_eq!(versions, 40, "a creation and forty commits");
}

/// The commit lands but its answer is lost; the flush is tried again by the same and by another
/// process.
#[tokio::test]
async fn a_lost_answer_is_found_in_the_log() {
    let (dir, store) = fresh().await;
    let other = open(&dir).await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    other.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    for store in [&store, &other] {
        let again = store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
        assert_eq!(again.decisions, [(source(0), Decision::AlreadyCommitted)]);
    }
    assert_eq!(keys(dir.path()).await, expected(0, 0..9));
}

/// The commit lands but the file system says that it failed: the log is read before anything else.
#[tokio::test]
async fn a_commit_that_landed_is_a_success_whatever_was_answered() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let table = store.table(&"cnc_state".parse().unwrap());
    table.mishap.lock().unwrap().replace(mishap(MishapKind::LostAnswer, async {}));
    let appended = store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    assert_eq!((appended.version, appended.files.len()), (Some(2), 1));

    table.mishap.lock().unwrap().replace(mishap(MishapKind::Refused, async {}));
    let next = append(store.identity(), "f2", 0, 9, 12);
    let refused = store.append(&next).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Retry);
    assert!(refused.to_string().contains("os error 2"), "{refused}");
    assert_eq!(parquet_files(dir.path()), 2, "its file is gone, those of the others are not");
    assert_eq!(store.append(&next).await.unwrap().version, Some(3));
    assert_eq!(keys(dir.path()).await, expected(0, 0..12));

    let table = store.table(&TableName::receipts());
    table.mishap.lock().unwrap().replace(mishap(MishapKind::LostAnswer, async {}));
    let receipt = super::home::receipt(&store, "f1", 0, 0, 12);
    let settled = store.settle(std::slice::from_ref(&receipt)).await.unwrap();
    assert_eq!(settled.version, Some(1));
    assert_eq!(store.settle(&[receipt]).await.unwrap().version, None);
}

/// A disk that refuses writes: the error says where and with which code, nothing is left, and the
/// same append works later.
#[tokio::test]
async fn a_refused_write_leaves_nothing_and_can_be_tried_again() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 0, 5)).await.unwrap();
    let table = dir.path().join("cnc_state");
    // A file where the log folder was makes every write of an entry fail, whoever runs the test.
    let (log, aside) = (table.join("_delta_log"), table.join("_aside"));
    fs::rename(&log, &aside).unwrap();
    fs::write(&log, "").unwrap();
    let next = append(store.identity(), "f2", 0, 5, 9);
    let error = store.append(&next).await.unwrap_err();
    assert_eq!(error.advice, Advice::Retry);
    assert!(error.to_string().contains("_delta_log") && error.to_string().contains("os error"), "{error}");
    assert_eq!(store.metrics.store_writable.with_label_values(&["CN"]).get(), 0);
    fs::remove_file(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    assert_eq!(parquet_files(dir.path()), 1);

    // The folder of the day is a file.
    let day = table.join("event_date=2026-03-02");
    fs::write(&day, "").unwrap();
    let over_midnight = append(store.identity(), "f2", 0, 5, 300);
    assert_eq!(store.append(&over_midnight).await.unwrap_err().advice, Advice::Retry);
    fs::remove_file(&day).unwrap();
    assert_eq!(parquet_files(dir.path()), 1, "the first day's file is gone again");
    let first_day = durable::list(&table.join("event_date=2026-03-01")).unwrap();
    assert!(!first_day.iter().any(|name| names::is_temporary(name)));

    assert_eq!(store.append(&over_midnight).await.unwrap().version, Some(2));
    assert_eq!(store.metrics.store_writable.with_label_values(&["CN"]).get(), 1);
    assert_eq!(keys(dir.path()).await, expected(0, 0..300));
}

/// RES-2: a folder of the store that leads elsewhere is not written through.
#[tokio::test]
async fn symlinks_inside_a_store_are_not_followed() {
    let (dir, store) = fresh().await;
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), dir.path().join("cnc_state")).unwrap();
    store.append(&append(store.identity(), "f1", 0, 0, 5)).await.unwrap_err();
    fs::remove_file(dir.path().join("cnc_state")).unwrap();
    store.append(&append(store.identity(), "f1", 0, 0, 5)).await.unwrap();
    let day = dir.path().join("cnc_state/event_date=2026-03-02");
    symlink(elsewhere.path(), &day).unwrap();
    store.append(&append(store.identity(), "f2", 0, 5, 300)).await.unwrap_err();
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn three_hundred_commits_a_checkpoint_and_the_same_rows() {
    let (dir, store) = fresh().await;
    let commits = 300;
    for i in 0..commits {
        store.append(&append(store.identity(), &format!("f{i}"), 0, i, i + 1)).await.unwrap();
    }
    let table = dir.path().join("cnc_state");
    let before = log::replay(&table, 300).unwrap();

    assert_eq!(store.maintain(1000).await.unwrap(), 0);
    assert_eq!(store.maintain(100).await.unwrap(), 1);
    assert_eq!(store.maintain(100).await.unwrap(), 0);
    let checkpoint = names::log(&table).join(format!("{:020}.checkpoint.parquet", 300));
    assert_eq!(fs::metadata(&checkpoint).unwrap().permissions().mode() & 0o777, 0o600);

    // Only the checkpoint remembers, since the entries are cleaned up.
    for version in 0..300 {
        fs::remove_file(names::log_entry(&table, version)).unwrap();
    }
    let after = log::replay(&table, 300).unwrap();
    let next = |known: &log::Partitions| known.progress(&source(0).app_id()).unwrap().next;
    assert_eq!((next(&before), next(&after)), (NextOffset(300), NextOffset(300)));

    let store = open(&dir).await;
    assert_eq!(keys(dir.path()).await, expected(0, 0..300));
    store.append(&append(store.identity(), "late", 0, 295, 305)).await.unwrap();
    assert_eq!(keys(dir.path()).await, expected(0, 0..305));
}

/// What is replayed here is what delta-rs itself says of each partition, with entries alone and with
/// a checkpoint under them.
#[tokio::test]
async fn the_replay_agrees_with_delta_rs() {
    let (dir, store) = fresh().await;
    let table = dir.path().join("cnc_state");
    for round in 0..3 {
        for partition in 0..3 {
            let start = round * 5;
            let flush = format!("f{round}-{partition}");
            store.append(&append(store.identity(), &flush, partition, start, start + 5)).await.unwrap();
        }
        let log_store = crate::disk::log_store(&table).unwrap();
        let theirs = deltalake::kernel::EagerSnapshot::try_new(log_store.as_ref(), None).await.unwrap();
        let ours = log::load(&table).await.unwrap().unwrap();
        assert_eq!(ours.version, theirs.version());
        for partition in 0..3 {
            let id = source(partition).app_id();
            let next = theirs.transaction_version(log_store.as_ref(), &id).await.unwrap().unwrap();
            assert_eq!(ours.partitions.progress(&id).unwrap().next, NextOffset(next));
        }
        store.maintain(4).await.unwrap();
    }
}

/// A version that log clean-up removed is not created again below the ones that are there.
#[tokio::test]
async fn a_committer_that_slept_through_log_clean_up_loads_again() {
    let (dir, store) = fresh().await;
    let other = open(&dir).await;
    store.append(&append(store.identity(), "f0", 0, 0, 1)).await.unwrap();
    for i in 1..6 {
        other.append(&append(store.identity(), &format!("f{i}"), 0, i, i + 1)).await.unwrap();
    }
    other.maintain(1).await.unwrap();
    for version in 0..6 {
        fs::remove_file(names::log_entry(&dir.path().join("cnc_state"), version)).unwrap();
    }
    let appended = store.append(&append(store.identity(), "f6", 0, 6, 7)).await.unwrap();
    assert_eq!(appended.version, Some(7));
    assert_eq!(keys(dir.path()).await, expected(0, 0..7));
}
