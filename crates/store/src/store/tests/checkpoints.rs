//! Checkpoints that say what the log says, and a log that is cleaned up only where they do.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use arrow_array::{Array as _, BooleanArray};
use arrow_select::filter::filter_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::*;
use super::compaction::{at_once, table};
use super::support::*;
use crate::log;
use crate::maintain::checkpoint::Expected;
use crate::maintain::live::Live;
use crate::reader::StoreReader;

const DAY_COLUMN: &str = "event_date";

/// Two partitions, `rounds` commits each, one offset a commit.
async fn filled(rounds: i64) -> (tempfile::TempDir, DeltaStore, PathBuf) {
    let (dir, store) = fresh().await;
    for round in 0..rounds {
        for partition in 0..2 {
            let flush = format!("f{partition}-{round}");
            store.append(&append(store.identity(), &flush, partition, round, round + 1)).await.unwrap();
        }
    }
    let folder = dir.path().join("cnc_state");
    (dir, store, folder)
}

/// Copies a checkpoint without its files.
fn without_files(from: &Path, to: &Path) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(from).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let mut writer = ArrowWriter::try_new(File::create(to).unwrap(), schema, None).unwrap();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let adds = batch.column_by_name("add").unwrap();
        let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(adds.is_null(row))).collect();
        writer.write(&filter_record_batch(&batch, &keep).unwrap()).unwrap();
    }
    writer.close().unwrap();
}

/// delta-rs#3049: a checkpoint made of a state without files lost all files that were there. It would not
/// get its name here, and one that another writer made is not cleaned up after.
#[tokio::test]
async fn a_checkpoint_without_files_is_not_believed() {
    let (dir, store, folder) = filled(3).await;
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    let done = maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    assert_eq!((done.version, done.files, done.rows, done.partitions), (6, 6, Some(12), 2));
    let path = names::checkpoint(&folder, 6);
    let expected = Expected::of(&folder, DAY_COLUMN, 6).unwrap();
    expected.check(&path, DAY_COLUMN).unwrap();

    let bad = dir.path().join("bad.parquet");
    without_files(&path, &bad);
    let refused = expected.check(&bad, DAY_COLUMN).unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    assert!(
        refused.message.contains("0 files with 0 rows, but the log has 6 with 12"),
        "{}",
        refused.message
    );
    // Nor one of another version, whose partitions are not as far.
    let earlier = Expected::of(&folder, DAY_COLUMN, 5).unwrap();
    assert!(earlier.check(&path, DAY_COLUMN).is_err());

    fs::rename(&bad, &path).unwrap();
    let refused = maintenance.clean_up(&table(), Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    for version in 0..=6 {
        assert!(names::log_entry(&folder, version).exists(), "{version}");
    }
    assert_eq!(Metrics::sum(&store.metrics.maintenance_failures), 1);
}

/// Every partition's offset is in the checkpoint or in an entry after it, and removals are too.
#[tokio::test]
async fn a_table_of_a_checkpoint_and_later_entries_knows_every_offset() {
    let (dir, store, folder) = filled(4).await;
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    maintenance.optimize(&table(), &at_once()).await.unwrap();
    maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    store.append(&append(store.identity(), "late", 1, 4, 6)).await.unwrap();
    let cleaned = maintenance.clean_up(&table(), Duration::ZERO).await.unwrap();
    assert_eq!((cleaned.entries, cleaned.checkpoints), (9, 0), "all but that of the checkpoint");

    let state = log::load(&folder).await.unwrap().unwrap();
    let next = |partition| state.partitions.progress(&source(partition).app_id()).unwrap().next;
    assert_eq!((next(0), next(1)), (NextOffset(4), NextOffset(6)));
    assert_eq!(Live::load(&folder, DAY_COLUMN).unwrap().unwrap().removed.len(), 8);
    assert_eq!(keys(dir.path()).await, [expected(0, 0..4), expected(1, 0..6)].concat());
}

/// What is replayed here is what delta-rs says, with and without a checkpoint.
#[tokio::test]
async fn the_files_are_those_that_delta_rs_sees() {
    let (dir, store, folder) = filled(3).await;
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    for round in 0..3 {
        let theirs = StoreReader::open(dir.path()).unwrap().snapshot(&table()).await.unwrap();
        let ours = Live::load(&folder, DAY_COLUMN).unwrap().unwrap();
        assert_eq!(ours.version, theirs.version);
        assert_eq!(ours.files.len(), theirs.files.len());
        for file in &theirs.files {
            let found = &ours.files[&file.path];
            assert_eq!((found.size, found.rows), (file.size, file.rows));
            assert_eq!(found.day, file.partition_values[0].1);
        }
        match round {
            0 => drop(maintenance.checkpoint(&table(), 1).await.unwrap().unwrap()),
            _ => assert!(maintenance.optimize(&table(), &at_once()).await.unwrap().replaced.files > 0),
        }
        store.append(&append(store.identity(), &format!("r{round}"), 0, 3 + round, 4 + round)).await.unwrap();
    }
}

/// The log's files, without their contents.
fn log_files(folder: &Path) -> BTreeSet<String> {
    durable::list(&names::log(folder)).unwrap().into_iter().collect()
}

fn age(path: &Path, by: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test]
async fn log_clean_up_takes_only_what_is_old_and_in_a_checkpoint() {
    let (dir, store, folder) = filled(2).await;
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    let month = Duration::from_secs(30 * 86_400);
    let before = log_files(&folder);
    maintenance.clean_up(&table(), Duration::ZERO).await.unwrap();
    assert_eq!(log_files(&folder), before, "no checkpoint stands for anything");

    maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    store.append(&append(store.identity(), "f", 0, 2, 3)).await.unwrap();
    let before = log_files(&folder);
    assert_eq!(maintenance.clean_up(&table(), month).await.unwrap().entries, 0);
    // The entries are old, but the checkpoint that stands for them is young.
    (0..=4).for_each(|version| age(&names::log_entry(&folder, version), 2 * month));
    assert_eq!(maintenance.clean_up(&table(), month).await.unwrap().entries, 0);
    assert_eq!(log_files(&folder), before);

    age(&names::checkpoint(&folder, 4), 2 * month);
    // Cut off in the middle, as by a crash, and gone on with.
    fs::remove_file(names::log_entry(&folder, 0)).unwrap();
    let cleaned = maintenance.clean_up(&table(), month).await.unwrap();
    assert_eq!(cleaned.entries, 3);
    assert!(names::log_entry(&folder, 4).exists() && names::log_entry(&folder, 5).exists());
    assert_eq!(keys(dir.path()).await, [expected(0, 0..3), expected(1, 0..2)].concat());
    assert_eq!(Metrics::sum(&store.metrics.log_entries_removed), 3);

    // A later checkpoint takes the earlier one's place.
    maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    let cleaned = maintenance.clean_up(&table(), Duration::ZERO).await.unwrap();
    assert_eq!((cleaned.entries, cleaned.checkpoints), (1, 1));
    assert_eq!(keys(dir.path()).await, [expected(0, 0..3), expected(1, 0..2)].concat());
}

/// A process that stands on a version which log clean-up takes does not create the next one again.
#[tokio::test]
async fn a_committer_outlives_a_real_log_clean_up() {
    let (dir, store) = fresh().await;
    let other = open(&dir).await;
    store.append(&append(store.identity(), "f0", 0, 0, 1)).await.unwrap();
    for i in 1..6 {
        other.append(&append(other.identity(), &format!("f{i}"), 0, i, i + 1)).await.unwrap();
    }
    let maintenance = other.begin_maintenance().await.unwrap().unwrap();
    maintenance.checkpoint(&table(), 1).await.unwrap().unwrap();
    assert_eq!(maintenance.clean_up(&table(), Duration::ZERO).await.unwrap().entries, 6);
    let appended = store.append(&append(store.identity(), "f6", 0, 6, 7)).await.unwrap();
    assert_eq!(appended.version, Some(7));
    assert_eq!(keys(dir.path()).await, expected(0, 0..7));
}
