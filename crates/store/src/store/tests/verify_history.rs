//! `verify` of stores that have lived: older receipts, new keys, compaction, files that were left behind.

use std::fs;

use serde_json::json;

use super::super::*;
use super::support::*;
use super::verify::{Plant, with_text};
use crate::key::ReceiptKey;
use crate::verify::Kind;

#[tokio::test]
async fn receipts_from_before_the_chain_begin_it() {
    let mut plant = Plant::new().await;
    plant.flush("f1", 0, 0, 10).await;
    plant.flush("f2", 0, 10, 25).await;
    plant.rewrite_receipts(|batch| {
        ["previous", "hash", "key_id", "signature"]
            .iter()
            .fold(batch, |batch, name| with_text(&batch, name, 0, None))
    });
    plant.assert_found(&[]);
    // A process that was started anew.
    let eu = DeltaStore::open(&plant.root("EU"), &zone("EU"), metrics()).await.unwrap();
    plant.eu = eu.with_receipt_key(plant.key.clone());
    plant.flush("f3", 0, 25, 31).await;
    plant.flush("f4", 0, 31, 33).await;
    plant.assert_found(&[]);
    let report = plant.verify();
    let chain = report.checks.iter().find(|check| check.check == Kind::Chain).unwrap();
    assert_eq!(chain.notes.len(), 1);
    assert_eq!(chain.notes[0].to_string(), "cnc.state/0/25, receipt of flush f3: chain begins at offset 25");
    assert_eq!((chain.figures["receipts"], chain.figures["receipts from before the chain"]), (2, 2));
}

#[tokio::test]
async fn a_receipt_that_lost_its_hash_is_found() {
    let plant = Plant::filled().await;
    plant.rewrite_receipts(|batch| {
        let flushes = arrow_array::cast::AsArray::as_string::<i32>(batch.column_by_name("flush_id").unwrap());
        if flushes.value(0) != "f4" {
            return batch;
        }
        ["previous", "hash", "key_id", "signature"]
            .iter()
            .fold(batch.clone(), |batch, name| with_text(&batch, name, 0, None))
    });
    let what = "cnc.state/0/25, receipt of flush f4: it has no hash, but the receipt before it has";
    plant.assert_found(&[(Kind::Chain, what)]);
}

#[tokio::test]
async fn keys_change_and_can_be_pinned() {
    let mut plant = Plant::filled().await;
    let first = plant.key.public().clone();
    let second = Arc::new(ReceiptKey::create(&plant.dir.path().join("second.pem")).unwrap());
    let eu = DeltaStore::open(&plant.root("EU"), &zone("EU"), metrics()).await.unwrap();
    plant.eu = eu.with_receipt_key(second.clone());
    plant.flush("f5", 0, 31, 40).await;
    plant.assert_found(&[]);

    plant.pinned = vec![first.clone()];
    let unknown =
        format!("receipt of flush f5: it is signed with key {}, which is not known", second.public().id());
    plant.assert_found(&[(Kind::Signatures, &unknown)]);
    plant.pinned = vec![first, second.public().clone()];
    plant.assert_found(&[]);
}

#[tokio::test]
async fn a_key_in_the_archive_under_another_name_is_found() {
    let plant = Plant::filled().await;
    let archive = names::keys(&plant.root("EU"));
    let other = ReceiptKey::create(&plant.dir.path().join("other.pem")).unwrap();
    fs::write(archive.join("0123456789abcdef.pem"), other.public().pem()).unwrap();
    plant.assert_found(&[(
        Kind::Signatures,
        "_situs_keys/0123456789abcdef.pem: is the public key of another id",
    )]);
}

#[tokio::test]
async fn receipts_are_unsigned_only_where_that_is_allowed() {
    let mut plant = Plant::filled().await;
    plant.eu = DeltaStore::open(&plant.root("EU"), &zone("EU"), metrics()).await.unwrap();
    plant.flush("f5", 0, 31, 40).await;
    plant.assert_found(&[(Kind::Signatures, "cnc.state/0/31, receipt of flush f5: it is not signed")]);
    plant.allow_unsigned = true;
    plant.assert_found(&[]);
}

/// Compaction writes the rows of several files into one, and says that no data changed.
#[tokio::test]
async fn files_that_compaction_replaced_are_accepted_and_their_rows_counted() {
    let plant = Plant::filled().await;
    let file = plant.files("CN", "cnc_state").remove(0);
    let mut add = plant.add("CN", "cnc_state", &file);
    let compacted = file.replace("f1-0", "compacted");
    let folder = plant.root("CN").join("cnc_state");
    fs::rename(folder.join(&file), folder.join(&compacted)).unwrap();
    add["add"]["path"] = compacted.as_str().into();
    add["add"]["dataChange"] = false.into();
    let remove =
        |change: bool| json!({ "remove": { "path": file, "dataChange": change, "deletionTimestamp": 1 } });
    plant.commit("CN", "cnc_state", &[remove(false), add.clone()]);
    plant.assert_found(&[]);
    let figures = |name: &str| {
        let report = plant.verify();
        report.checks.iter().find(|check| check.check == Kind::Files).unwrap().figures[name]
    };
    assert_eq!((figures("replaced"), figures("rewritten")), (1, 1));

    // Rows that went missing on the way are missed.
    fs::remove_file(folder.join(&compacted)).unwrap();
    plant.assert_found(&[(Kind::Files, &format!("CN/cnc_state/{compacted}: is missing"))]);
    plant.commit("CN", "cnc_state", &[json!({ "remove": { "path": compacted, "dataChange": false } })]);
    let counts =
        "receipt of flush f1: it counts 4 messages with 8 rows in zone CN, the tables hold 0 with 0 rows";
    plant.assert_found(&[(Kind::Counts, counts)]);
}

#[tokio::test]
async fn a_file_removed_as_data_is_found() {
    let plant = Plant::filled().await;
    let file = plant.files("EU", "cnc_state").remove(0);
    plant.commit("EU", "cnc_state", &[json!({ "remove": { "path": file, "dataChange": true } })]);
    let what = format!("EU/cnc_state/{file}: was removed by a commit that changes the table's data");
    plant.assert_found(&[(Kind::Files, &what)]);
}

#[tokio::test]
async fn what_writers_left_behind_is_counted_and_no_violation() {
    let plant = Plant::filled().await;
    let day = plant.root("CN").join("cnc_state/event_date=2026-03-01");
    fs::write(day.join("_tmp_1"), b"x").unwrap();
    fs::write(day.join("f7-0.parquet"), b"xyz").unwrap();
    let old = fs::File::create(day.join("f6-0.parquet")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    plant.assert_found(&[]);
    let report = plant.verify();
    let files = report.checks.iter().find(|check| check.check == Kind::Files).unwrap();
    assert_eq!(
        (files.figures["orphans"], files.figures["bytes of orphans"], files.figures["temporary"]),
        (2, 3, 1)
    );
    assert_eq!(files.notes.len(), 1);
    assert!(files.notes[0].to_string().contains("f6-0.parquet: no commit names it"), "{}", files.notes[0]);
}

/// After log clean-up the checkpoint has to do.
#[tokio::test]
async fn a_log_that_begins_with_a_checkpoint_is_enough() {
    let plant = Plant::filled().await;
    for store in [&plant.cn, &plant.eu] {
        store.maintain(1).await.unwrap();
    }
    for table in ["CN/cnc_state", "EU/cnc_state", "EU/quarantine", "EU/receipts"] {
        for version in 0..=4 {
            fs::remove_file(names::log_entry(&plant.dir.path().join(table), version)).unwrap();
        }
    }
    plant.assert_found(&[]);
    plant.flush("f5", 0, 31, 40).await;
    plant.assert_found(&[]);
}
