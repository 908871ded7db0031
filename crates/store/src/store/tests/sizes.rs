//! The gauges of a table's files say what the list of its files says, from entries and from checkpoints.

use super::super::size::Size;
use super::super::*;
use super::compaction::{at_once, table};
use super::support::*;
use crate::maintain::live::Live;

/// By the list of files, which other code makes.
fn listed(folder: &Path) -> Size {
    let live = Live::load(folder, LAYOUT.day).unwrap().unwrap();
    let bytes: u64 = live.files.values().map(|file| file.size).sum();
    Size { files: i64::try_from(live.files.len()).unwrap(), bytes: i64::try_from(bytes).unwrap() }
}

#[tokio::test]
async fn the_size_of_a_table_is_that_of_its_files() {
    let (dir, store) = fresh().await;
    let folder = names::table(&store.root, &table());
    assert_eq!(Size::of(&folder).unwrap(), None);
    for n in 0..6 {
        store.append(&append(store.identity(), &format!("f{n}"), 0, n * 100, n * 100 + 100)).await.unwrap();
    }
    let before = Size::of(&folder).unwrap().unwrap();
    assert!(before.files >= 6 && before.bytes > 0);
    assert_eq!(before, listed(&folder));

    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    assert!(maintenance.optimize(&table(), &at_once()).await.unwrap().replaced.files > 0);
    let after = Size::of(&folder).unwrap().unwrap();
    assert!(after.files < before.files);
    assert_eq!(after, listed(&folder));

    assert!(maintenance.checkpoint(&table(), 1).await.unwrap().is_some());
    assert_eq!(Size::of(&folder).unwrap().unwrap(), after);
    store.append(&append(store.identity(), "last", 0, 600, 700)).await.unwrap();
    assert_eq!(Size::of(&folder).unwrap().unwrap(), listed(&folder));

    store.measure_tables().await.unwrap();
    store.measure_space().await.unwrap();
    let labels = ["CN", "cnc_state"];
    assert_eq!(store.metrics.table_files.with_label_values(&labels).get(), listed(&folder).files);
    assert_eq!(store.metrics.table_bytes.with_label_values(&labels).get(), listed(&folder).bytes);
    let free = store.metrics.store_free_bytes.with_label_values(&["CN"]).get();
    assert!(free > 0 && free <= store.metrics.store_size_bytes.with_label_values(&["CN"]).get());
    drop(dir);
}
