//! Receipts continue each other, whoever settles, and whatever the log still knows.

use std::fs;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};

use super::super::*;
use super::home::receipt;
use super::support::*;
use crate::chain::{Canonical, Chained, unhex};
use crate::table::{Mishap, MishapKind};

/// A receipt as the table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    partition: i32,
    start: i64,
    previous: Option<String>,
    hash: String,
    key_id: Option<String>,
    signature: Option<String>,
}

/// All receipts by partition and offset; each hash is that of its content.
async fn links(root: &Path) -> Vec<Link> {
    let mut links = Vec::new();
    for (_, batch) in read(root, "receipts").await {
        let text = |name: &str, row: usize| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let canonical = Canonical::new(Chained::Receipts, &batch).unwrap();
        for row in 0..batch.num_rows() {
            let hash = text("hash", row).unwrap();
            assert_eq!(canonical.hash(row), hash, "what is read back is what was hashed");
            assert_eq!(text("cluster", row).unwrap(), "kafka");
            links.push(Link {
                partition: batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>().value(row),
                start: batch.column_by_name("start_offset").unwrap().as_primitive::<Int64Type>().value(row),
                previous: text("previous", row),
                hash,
                key_id: text("key_id", row),
                signature: text("signature", row),
            });
        }
    }
    links.sort_by_key(|link| (link.partition, link.start));
    links
}

/// Every receipt names the one before it.
async fn assert_chained(root: &Path, receipts: usize) -> Vec<Link> {
    let links = links(root).await;
    assert_eq!(links.len(), receipts);
    for (at, link) in links.iter().enumerate() {
        let before =
            at.checked_sub(1).map(|at| &links[at]).filter(|before| before.partition == link.partition);
        assert_eq!(link.previous.as_ref(), before.map(|before| &before.hash), "{link:?}");
    }
    links
}

#[tokio::test]
async fn receipts_of_several_processes_are_one_chain_for_each_partition() {
    let (dir, store) = fresh().await;
    let key = Arc::new(ReceiptKey::create(&dir.path().join("../key-of-this-test.pem")).unwrap());
    fs::remove_file(dir.path().join("../key-of-this-test.pem")).unwrap();
    let store = store.with_receipt_key(key.clone());
    let other = open(&dir).await;
    store.settle(&[receipt(&store, "f1", 0, 5, 15), receipt(&store, "f1", 1, 0, 3)]).await.unwrap();
    store.settle(&[receipt(&store, "f2", 0, 15, 20)]).await.unwrap();
    other.settle(&[receipt(&store, "f3", 0, 20, 30), receipt(&store, "f3", 1, 3, 9)]).await.unwrap();
    store.settle(&[receipt(&store, "f4", 0, 30, 31), receipt(&store, "f4", 1, 9, 10)]).await.unwrap();
    let links = assert_chained(dir.path(), 7).await;
    for link in links {
        let signed = link.start != 20 && link.start != 3;
        assert_eq!(link.key_id.as_deref(), signed.then(|| key.public().id()));
        if let Some(signature) = &link.signature {
            assert!(key.public().verifies(&unhex::<32>(&link.hash).unwrap(), &unhex(signature).unwrap()));
        }
        assert_eq!(link.signature.is_some(), signed);
    }
    let archived = dir.path().join(format!("_situs_keys/{}.pem", key.public().id()));
    assert_eq!(fs::read_to_string(archived).unwrap(), key.public().pem());
}

/// Nothing of the partition is settled when the commit is decided on; then another process settles exactly
/// what lies before. The receipt still fits, but it must name the other one now.
#[tokio::test]
async fn a_receipt_that_comes_second_continues_the_first() {
    let (dir, store) = fresh().await;
    store.settle(&[receipt(&store, "f0", 1, 0, 3)]).await.unwrap();
    let other = open(&dir).await;
    let meanwhile = Box::pin(async move {
        other.settle(&[receipt(&other, "f1", 0, 0, 5)]).await.unwrap();
    });
    let table = store.table(&TableName::receipts());
    table.mishap.lock().unwrap().replace(Mishap { kind: MishapKind::Refused, meanwhile });
    let settled = store.settle(&[receipt(&store, "f2", 0, 5, 15)]).await.unwrap();
    assert_eq!((settled.version, settled.conflicts), (Some(3), 1));
    store.settle(&[receipt(&store, "f3", 0, 15, 16)]).await.unwrap();
    assert_chained(dir.path(), 4).await;
    assert_eq!(parquet_files(dir.path()), 4, "what was written for the first try is gone");
}

/// Another partition's commit in between changes nothing, and the files are used again.
#[tokio::test]
async fn a_conflict_over_another_partition_changes_no_link() {
    let (dir, store) = fresh().await;
    store.settle(&[receipt(&store, "f0", 0, 0, 3)]).await.unwrap();
    let other = open(&dir).await;
    let meanwhile = Box::pin(async move {
        other.settle(&[receipt(&other, "f1", 1, 0, 5)]).await.unwrap();
    });
    let table = store.table(&TableName::receipts());
    table.mishap.lock().unwrap().replace(Mishap { kind: MishapKind::Refused, meanwhile });
    assert_eq!(store.settle(&[receipt(&store, "f2", 0, 3, 9)]).await.unwrap().conflicts, 1);
    assert_chained(dir.path(), 3).await;
}

/// The answer is lost: the receipt that landed is the one that the next one names.
#[tokio::test]
async fn a_receipt_whose_answer_was_lost_is_continued() {
    let (dir, store) = fresh().await;
    store.settle(&[receipt(&store, "f0", 0, 0, 3)]).await.unwrap();
    let table = store.table(&TableName::receipts());
    let nothing = Box::pin(async {});
    table.mishap.lock().unwrap().replace(Mishap { kind: MishapKind::LostAnswer, meanwhile: nothing });
    store.settle(&[receipt(&store, "f1", 0, 3, 9)]).await.unwrap();
    store.settle(&[receipt(&store, "f2", 0, 9, 10)]).await.unwrap();
    assert_chained(dir.path(), 3).await;
}

/// A checkpoint knows offsets and no commits, so the file is found by its statistics.
#[tokio::test]
async fn the_newest_receipt_is_found_without_the_entry_of_its_commit() {
    let (dir, store) = fresh().await;
    for (flush, start) in [("f0", 0), ("f1", 10), ("f2", 20)] {
        let receipts = [0, 1].map(|partition| receipt(&store, flush, partition, start, start + 10));
        store.settle(&receipts).await.unwrap();
    }
    store.maintain(1).await.unwrap();
    for version in 0..=3 {
        fs::remove_file(names::log_entry(&dir.path().join("receipts"), version)).unwrap();
    }
    let store = open(&dir).await;
    let receipts = [0, 1].map(|partition| receipt(&store, "f3", partition, 30, 31));
    store.settle(&receipts).await.unwrap();
    assert_chained(dir.path(), 8).await;
}

/// To go on would hide that a receipt has vanished.
#[tokio::test]
async fn nothing_continues_a_receipt_that_is_gone() {
    let (dir, store) = fresh().await;
    store.settle(&[receipt(&store, "f0", 0, 0, 10)]).await.unwrap();
    let (file, _) = read(dir.path(), "receipts").await.remove(0);
    fs::remove_file(dir.path().join("receipts").join(file.path)).unwrap();
    // This process knows what it wrote itself.
    store.settle(&[receipt(&store, "f1", 0, 10, 11)]).await.unwrap();
    let (file, _) = read_there(dir.path()).await;
    fs::remove_file(file).unwrap();
    let store = open(&dir).await;
    let refused = store.settle(&[receipt(&store, "f2", 0, 11, 12)]).await.unwrap_err();
    assert_eq!(refused.advice, Advice::Stop);
    assert!(refused.message.contains("cnc.state/0: settled at 11, but no receipt ends there"), "{refused}");
}

/// The only file of receipts that is still there.
async fn read_there(root: &Path) -> (PathBuf, u64) {
    let reader = crate::reader::StoreReader::open(root).unwrap();
    let snapshot = reader.snapshot(&TableName::receipts()).await.unwrap();
    let mut there = snapshot.files.iter().map(|file| (root.join("receipts").join(&file.path), file.size));
    there.find(|(path, _)| path.exists()).unwrap()
}
