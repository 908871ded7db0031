//! Vacuum: what goes, and what a writer may still commit.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::super::*;
use super::compaction::{at_once, table};
use super::support::*;
use crate::maintain::Vacuum;
use crate::table::{Mishap, MishapKind};

/// Everything that may go does so at once.
fn eager() -> Vacuum {
    Vacuum { retention: Duration::ZERO, orphans_after: Duration::ZERO, ..Vacuum::default() }
}

async fn vacuum(store: &DeltaStore, settings: &Vacuum) -> crate::Vacuumed {
    store.begin_maintenance().await.unwrap().unwrap().vacuum(&table(), settings).await.unwrap()
}

fn age(path: &Path, by: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

/// A file that somebody staged and never committed.
fn abandon(dir: &tempfile::TempDir, name: &str, by: Duration) -> PathBuf {
    let path = dir.path().join("cnc_state/event_date=2026-03-01").join(name);
    fs::write(&path, "rows").unwrap();
    age(&path, by);
    path
}

/// A store whose next commit is stopped between staging and commit for as long as `meanwhile` takes.
async fn stopped(
    meanwhile: impl FnOnce(PathBuf, DeltaStore) -> BoxFuture<'static, ()>,
) -> (tempfile::TempDir, DeltaStore) {
    let (dir, store) = fresh().await;
    store.renew_lease().await.unwrap();
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let meanwhile = meanwhile(store.root.clone(), open(&dir).await);
    let kind = MishapKind::Stopped;
    store.table(&table()).mishap.lock().unwrap().replace(Mishap { kind, meanwhile });
    (dir, store)
}

/// delta-rs#3645: a full vacuum removed files that a writer had staged and then committed.
#[tokio::test]
async fn vacuum_leaves_what_a_live_writer_has_staged() {
    let (dir, store) = stopped(|_, other| {
        Box::pin(async move {
            let vacuumed = vacuum(&other, &eager()).await;
            assert_eq!((vacuumed.orphans.files, vacuumed.staged), (0, 1));
        })
    })
    .await;
    store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    assert_eq!(keys(dir.path()).await, expected(0, 0..9));
}

/// A writer without a lease has only the age of its files to protect them.
#[tokio::test]
async fn vacuum_leaves_young_files_of_writers_without_a_lease() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let day = Duration::from_secs(86_400);
    let (young, old) = (abandon(&dir, "young-0.parquet", day / 2), abandon(&dir, "old-0.parquet", day * 2));
    let vacuumed = vacuum(&store, &Vacuum::default()).await;
    assert_eq!((vacuumed.orphans.files, vacuumed.orphans.bytes, vacuumed.staged), (1, 4, 1));
    assert!(young.exists() && !old.exists());
}

/// Files of dead processes go although others live, and live long.
#[tokio::test]
async fn vacuum_removes_an_abandoned_file_although_others_write() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let other = open(&dir).await;
    other.renew_lease().await.unwrap();
    let abandoned = abandon(&dir, "dead-0.parquet", Duration::from_secs(600));
    assert_eq!(vacuum(&store, &eager()).await.orphans.files, 1, "older than any lease");
    assert!(!abandoned.exists());
    let staged = abandon(&dir, "staged-0.parquet", Duration::ZERO);
    assert_eq!(vacuum(&store, &eager()).await.staged, 1);
    assert!(staged.exists());
    other.release_lease().await.unwrap();
    assert_eq!(vacuum(&store, &eager()).await.orphans.files, 1);
    assert_eq!(keys(dir.path()).await, expected(0, 0..5));
}

/// A process that was stopped for hours wakes up after its files were removed: it must not commit them.
#[tokio::test]
async fn a_zombie_whose_lease_was_revoked_commits_nothing() {
    let (dir, store) = stopped(|root, other| {
        Box::pin(async move {
            for name in durable::list(&names::leases(&root)).unwrap() {
                age(&names::leases(&root).join(name), Duration::from_secs(2 * 3600));
            }
            let vacuumed = vacuum(&other, &Vacuum { dry_run: true, ..eager() }).await;
            assert_eq!(vacuumed.orphans.files, 1);
            assert_eq!(durable::list(&names::leases(&root)).unwrap().len(), 1, "nothing is revoked to look");
            assert_eq!(vacuum(&other, &eager()).await.orphans.files, 1);
        })
    })
    .await;
    let next = append(store.identity(), "f1", 0, 5, 9);
    let refused = store.append(&next).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Retry);
    assert!(refused.to_string().contains("the lease is not held"), "{refused}");
    assert_eq!(keys(dir.path()).await, expected(0, 0..5), "every file that the log names is there");
    // Nothing is committed before there is a new lease.
    assert_eq!(store.append(&next).await.unwrap_err().advice, Advice::Retry);
    assert_eq!(store.renew_lease().await.unwrap(), crate::Renewal::Taken);
    store.append(&next).await.unwrap();
    assert_eq!(keys(dir.path()).await, expected(0, 0..9));
}

#[tokio::test]
async fn replaced_files_go_after_their_retention_unless_they_are_protected() {
    let (dir, store) = fresh().await;
    for i in 0..3 {
        store.append(&append(store.identity(), &format!("f{i}"), 0, i, i + 1)).await.unwrap();
    }
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    assert_eq!(parquet_files(dir.path()), 4);
    let kept = maintenance.vacuum(&table(), &Vacuum::default()).await.unwrap();
    assert_eq!((kept.replaced.files, kept.paths.len()), (0, 0), "readers of older versions need them");

    let folder = "cnc_state/event_date=2026-03-01";
    let protected = [format!("{folder}/f1-0.parquet")].into();
    let mut settings = Vacuum { protected, dry_run: true, ..eager() };
    let would = maintenance.vacuum(&table(), &settings).await.unwrap();
    let paths = [format!("{folder}/f0-0.parquet"), format!("{folder}/f2-0.parquet")];
    assert_eq!((would.replaced.files, would.protected, would.paths.as_slice()), (2, 1, paths.as_slice()));
    assert_eq!(parquet_files(dir.path()), 4);
    assert_eq!(Metrics::sum(&store.metrics.files_removed), 0);

    settings.dry_run = false;
    assert_eq!(maintenance.vacuum(&table(), &settings).await.unwrap(), would);
    assert_eq!(parquet_files(dir.path()), 2);
    assert!(dir.path().join(folder).join("f1-0.parquet").exists());
    assert_eq!(Metrics::sum(&store.metrics.files_removed), 2);
    assert_eq!(Metrics::sum(&store.metrics.file_bytes_removed), would.replaced.bytes);
    assert_eq!(keys(dir.path()).await, expected(0, 0..3));
}

/// delta-rs#3644: once a checkpoint has forgotten a removal, a vacuum did not find the file any more. Here the
/// entry is asked if the retention is long, and without it the file counts as one that nobody names.
#[tokio::test]
async fn removals_that_the_log_has_forgotten_are_found() {
    let (dir, store) = fresh().await;
    for i in 0..3 {
        store.append(&append(store.identity(), &format!("f{i}"), 0, i, i + 1)).await.unwrap();
    }
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    // As if it had happened long ago: delta-rs leaves such removals out of checkpoints.
    let path = names::log_entry(&dir.path().join("cnc_state"), 4);
    let text = fs::read_to_string(&path).unwrap();
    let long_ago: String = text
        .lines()
        .map(|line| {
            let mut action: serde_json::Value = serde_json::from_str(line).unwrap();
            if action["remove"].is_object() {
                action["remove"]["deletionTimestamp"] = serde_json::json!(1_000_000_000_000_i64);
            }
            format!("{action}\n")
        })
        .collect();
    fs::write(&path, long_ago).unwrap();
    maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    let day = Duration::from_secs(86_400);
    for (retention, replaced, orphans) in [(8 * day, 3, 0), (7 * day, 0, 3)] {
        let dry = Vacuum { dry_run: true, retention, ..eager() };
        let would = maintenance.vacuum(&table(), &dry).await.unwrap();
        assert_eq!((would.replaced.files, would.orphans.files), (replaced, orphans));
    }
    store.append(&append(store.identity(), "f3", 0, 3, 4)).await.unwrap();
    maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    maintenance.clean_up(&table(), Duration::ZERO).await.unwrap();
    assert_eq!(maintenance.vacuum(&table(), &eager()).await.unwrap().orphans.files, 3);
    assert_eq!(keys(dir.path()).await, expected(0, 0..4));
}

/// What is not this store's any more is not vacuumed (RES-8).
#[tokio::test]
async fn nothing_is_maintained_where_the_marker_is_missing() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    let abandoned = abandon(&dir, "dead-0.parquet", Duration::from_secs(600));
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    fs::remove_file(names::marker(dir.path())).unwrap();
    assert_eq!(maintenance.vacuum(&table(), &eager()).await.unwrap_err().advice, Advice::Retry);
    assert!(maintenance.optimize(&table(), &at_once()).await.is_err());
    drop(maintenance);
    assert!(store.begin_maintenance().await.is_err() && store.renew_lease().await.is_err());
    assert!(abandoned.exists());
}
