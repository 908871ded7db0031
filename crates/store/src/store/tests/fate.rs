//! What becomes of a commit's files when the file system says that the commit failed.

use std::fs;

use situs_model::Decision;

use super::super::*;
use super::support::*;
use crate::table::{Mishap, MishapKind};

/// A table with offsets 0 to 5 at version 1, whose next commit goes wrong in this way.
async fn about_to_fail(
    kind: MishapKind,
    meanwhile: impl FnOnce(PathBuf, DeltaStore) -> BoxFuture<'static, ()>,
) -> (tempfile::TempDir, DeltaStore) {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let meanwhile = meanwhile(store.root.clone(), open(&dir).await);
    let table = store.table(&"cnc_state".parse().unwrap());
    table.mishap.lock().unwrap().replace(Mishap { kind, meanwhile });
    (dir, store)
}

/// The answer is lost and another process moves the same partition on: the newest state no longer
/// names our flush, but our entry is in the log and its files must stay.
#[tokio::test]
async fn a_commit_that_landed_below_anothers_keeps_its_files() {
    let (dir, store) = about_to_fail(MishapKind::LostAnswer, |_, other| {
        Box::pin(async move {
            other.append(&append(other.identity(), "f2", 0, 9, 12)).await.unwrap();
        })
    })
    .await;
    let appended = store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    assert_eq!((appended.version, appended.files.len()), (Some(2), 1));
    assert_eq!(keys(dir.path()).await, expected(0, 0..12));
    assert_eq!(store.append(&append(store.identity(), "f3", 0, 12, 13)).await.unwrap().version, Some(4));
    assert_eq!(keys(dir.path()).await, expected(0, 0..13));
}

/// A checkpoint knows offsets but no flushes.
#[tokio::test]
async fn a_commit_that_landed_and_was_checkpointed_keeps_its_files() {
    let (dir, store) = about_to_fail(MishapKind::LostAnswer, |_, other| {
        Box::pin(async move { assert_eq!(other.maintain(1).await.unwrap(), 1) })
    })
    .await;
    let appended = store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    assert_eq!((appended.version, appended.files.len()), (Some(2), 1));
    assert_eq!(keys(dir.path()).await, expected(0, 0..9));
}

/// Log clean-up took the entry: nobody can tell any more, so the files stay; the next try finds the
/// offsets in the checkpoint.
#[tokio::test]
async fn a_commit_whose_entry_was_cleaned_up_keeps_its_files() {
    let (dir, store) = about_to_fail(MishapKind::LostAnswer, |root, other| {
        Box::pin(async move {
            other.maintain(1).await.unwrap();
            for version in 0..=2 {
                fs::remove_file(names::log_entry(&root.join("cnc_state"), version)).unwrap();
            }
        })
    })
    .await;
    let next = append(store.identity(), "f1", 0, 5, 9);
    assert_eq!(store.append(&next).await.unwrap_err().advice, Advice::Retry);
    assert_eq!(keys(dir.path()).await, expected(0, 0..9));
    assert_eq!(store.append(&next).await.unwrap().decisions, [(source(0), Decision::AlreadyCommitted)]);
    assert_eq!(keys(dir.path()).await, expected(0, 0..9));
}

/// The entry was not created, and another process's is that version: a conflict, and the files are
/// used for the next try.
#[tokio::test]
async fn a_commit_that_failed_behind_anothers_is_a_conflict() {
    let (dir, store) = about_to_fail(MishapKind::Refused, |_, other| {
        Box::pin(async move {
            other.append(&append(other.identity(), "f2", 1, 0, 3)).await.unwrap();
        })
    })
    .await;
    let appended = store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    assert_eq!((appended.version, appended.conflicts), (Some(3), 1));
    assert_eq!(parquet_files(dir.path()), 3);
    assert_eq!(keys(dir.path()).await, [expected(0, 0..9), expected(1, 0..3)].concat());
}

/// Whether the entry is there cannot be told while the log folder or the marker is away.
#[tokio::test]
async fn a_commit_that_nobody_can_look_up_keeps_its_files() {
    for kind in [MishapKind::LostAnswer, MishapKind::Refused] {
        for away in ["cnc_state/_delta_log", "_situs_store.json"] {
            let (dir, store) = about_to_fail(kind, |root, _| {
                Box::pin(async move { fs::rename(root.join(away), root.join("away")).unwrap() })
            })
            .await;
            let next = append(store.identity(), "f1", 0, 5, 9);
            assert_eq!(store.append(&next).await.unwrap_err().advice, Advice::Retry);
            assert_eq!(parquet_files(dir.path()), 2, "{kind:?}, {away}");
            fs::rename(dir.path().join("away"), dir.path().join(away)).unwrap();
            store.append(&next).await.unwrap();
            assert_eq!(keys(dir.path()).await, expected(0, 0..9));
        }
    }
}

/// Two processes make the table at once; the slower one decides on what the faster one committed.
#[tokio::test]
async fn whoever_comes_second_to_a_new_table_decides_again() {
    let (dir, store) = fresh().await;
    let other = open(&dir).await;
    let meanwhile = Box::pin(async move {
        other.append(&append(other.identity(), "f2", 0, 0, 3)).await.unwrap();
    });
    let table = store.table(&"cnc_state".parse().unwrap());
    table.mishap.lock().unwrap().replace(Mishap { kind: MishapKind::Outrun, meanwhile });
    let appended = store.append(&append(store.identity(), "f1", 0, 0, 3)).await.unwrap();
    assert_eq!(appended.decisions, [(source(0), Decision::AlreadyCommitted)]);
    assert_eq!(keys(dir.path()).await, expected(0, 0..3));
}
