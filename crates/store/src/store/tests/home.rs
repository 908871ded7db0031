//! Quarantine, receipts and the archive of policies.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use situs_model::store::Share;
use situs_model::{
    Counts, Decision, Epoch, FileFact, QuarantineReason, Quarantined, RejectCode, StoreReceipt,
    UndeterminedReason, ZoneCount,
};

use super::super::*;
use super::support::*;

pub(super) fn message(offset: i64) -> Quarantined {
    let reject = offset % 2 == 0;
    Quarantined {
        source: source(0),
        offset,
        broker_time_ms: Some(1_772_323_200_123),
        received_us: MARCH,
        key: reject.then(|| vec![0, 255, 10]),
        headers: if reject {
            vec![(b"device".to_vec(), Some(vec![0xff, 0])), (vec![0xfe], None)]
        } else {
            Vec::new()
        },
        payload: (offset != 3).then(|| (0..=255).cycle().take(700 + offset as usize).collect()),
        reason: if reject {
            QuarantineReason::Rejected(RejectCode::InvalidJson)
        } else {
            QuarantineReason::Undetermined(UndeterminedReason::UnknownDevice)
        },
        pointer: reject.then(|| "/a/b".to_owned()),
        byte: reject.then_some(17),
        rows: if reject { 0 } else { 2 },
    }
}

pub(crate) fn quarantine(flush: &str, start: i64, end: i64, offsets: &[i64]) -> AppendQuarantine {
    AppendQuarantine {
        shares: vec![Share {
            source: source(0),
            range: range(start, end),
            settled: Some(NextOffset(start)),
            epoch: Epoch::default(),
            topic_id: None,
        }],
        messages: offsets.iter().map(|offset| message(*offset)).collect(),
        facts: facts(flush),
    }
}

#[tokio::test]
async fn quarantine_keeps_messages_byte_for_byte_and_once() {
    let (dir, store) = fresh().await;
    store.quarantine(&quarantine("f1", 0, 5, &[1, 2, 3])).await.unwrap();
    let again = store.quarantine(&quarantine("f1", 0, 5, &[1, 2, 3])).await.unwrap();
    assert_eq!(again.decisions, [(source(0), Decision::AlreadyCommitted)]);
    store.quarantine(&quarantine("f2", 0, 9, &[1, 2, 3, 6])).await.unwrap();

    let mut seen = Vec::new();
    for (_, batch) in read(dir.path(), "quarantine").await {
        let bytes = |name: &str, row: usize| {
            let column = batch.column_by_name(name).unwrap().as_binary::<i32>();
            column.is_valid(row).then(|| column.value(row).to_vec())
        };
        let word = |name: &str, row: usize| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            let offset = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>().value(row);
            let original = message(offset);
            assert_eq!(bytes("payload", row), original.payload);
            assert_eq!(bytes("key", row), original.key);
            assert_eq!(word("reason", row).unwrap(), original.reason.as_str());
            assert_eq!(word("pointer", row), original.pointer);
            assert_eq!(word("pipeline", row).unwrap(), "cnc-state");
            let rows = batch.column_by_name("rows").unwrap().as_primitive::<Int32Type>().value(row);
            assert_eq!(rows, original.rows as i32);
            let headers = batch.column_by_name("headers").unwrap().as_list::<i32>().value(row);
            let headers = headers.as_struct();
            let (keys, values) = (headers.column(0).as_binary::<i32>(), headers.column(1).as_binary::<i32>());
            let headers: Vec<_> = (0..headers.len())
                .map(|i| (keys.value(i).to_vec(), values.is_valid(i).then(|| values.value(i).to_vec())))
                .collect();
            assert_eq!(headers, original.headers);
            seen.push(offset);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 6]);
}

pub(super) fn receipt(store: &DeltaStore, flush: &str, partition: i32, start: i64, end: i64) -> Receipt {
    let counts = Counts {
        messages: 10,
        decoded: 9,
        rejected: 1,
        rows: 18,
        stored: [(zone("CN"), ZoneCount { messages: 8, rows: 16 })].into(),
        quarantined: [
            (QuarantineReason::Rejected(RejectCode::Empty), 1),
            (QuarantineReason::Undetermined(UndeterminedReason::NoRule), 1),
        ]
        .into(),
        quarantined_rows: 2,
        ..Counts::default()
    };
    let file = FileFact {
        path: "event_date=2026-03-01/f-0.parquet".into(),
        rows: 16,
        bytes: 9,
        sha256: "ab".into(),
    };
    Receipt {
        flush_id: flush.to_owned(),
        source: source(partition),
        epoch: Epoch::default(),
        topic_id: None,
        range: range(start, end),
        pipeline: "cnc-state".parse().unwrap(),
        policy: ContentVersion::of(b"policy"),
        schema: ContentVersion::of(b"schema"),
        definition: ContentVersion::of(b"definition"),
        counts,
        stores: vec![StoreReceipt { store: store.identity().clone(), version: Some(3), files: vec![file] }],
        quarantine: None,
        created_us: MARCH,
    }
}

#[tokio::test]
async fn receipts_settle_without_gap_or_repeat() {
    let (dir, store) = fresh().await;
    let sources = [source(0), source(1), source(2)];
    assert!(store.settled(&sources).await.unwrap().is_empty());
    store.settle(&[receipt(&store, "f1", 0, 5, 15), receipt(&store, "f1", 1, 0, 3)]).await.unwrap();
    let other = open(&dir).await;
    let settled = HashMap::from([(source(0), NextOffset(15)), (source(1), NextOffset(3))]);
    assert_eq!(store.settled(&sources).await.unwrap(), settled);
    assert_eq!(other.settled(&sources).await.unwrap(), settled);

    // The same flush again: its answer was lost.
    let again = other.settle(&[receipt(&store, "f1", 0, 5, 15)]).await.unwrap();
    assert_eq!((again.version, again.decisions[0].1), (None, Decision::AlreadyCommitted));
    // Another flush over the same range is another process's.
    let zombie = other.settle(&[receipt(&store, "f2", 0, 5, 15)]).await.unwrap_err();
    assert_eq!(zombie.advice, Advice::Yield);
    let gap = other.settle(&[receipt(&store, "f2", 0, 16, 20)]).await.unwrap_err();
    assert_eq!(gap.advice, Advice::Stop);
    // One refused partition keeps the whole flush out.
    let mixed = [receipt(&store, "f3", 0, 15, 20), receipt(&store, "f3", 1, 0, 9)];
    assert_eq!(store.settle(&mixed).await.unwrap_err().advice, Advice::Yield);
    assert_eq!(store.settled(&sources).await.unwrap(), settled);

    other.settle(&[receipt(&store, "f4", 0, 15, 20)]).await.unwrap();
    assert_eq!(
        store.settled(&sources).await.unwrap()[&source(0)],
        NextOffset(20),
        "foreign commits are seen"
    );

    let mut found = Vec::new();
    for (_, batch) in read(dir.path(), "receipts").await {
        let number =
            |name: &str, row| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(row);
        let json = |name: &str, row| -> serde_json::Value {
            serde_json::from_str(batch.column_by_name(name).unwrap().as_string::<i32>().value(row)).unwrap()
        };
        for row in 0..batch.num_rows() {
            let partition = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>().value(row);
            found.push((partition, number("start_offset", row), number("end_offset", row)));
            assert_eq!(
                number("messages", row),
                number("stored_messages", row) + number("quarantined_messages", row)
            );
            assert_eq!(json("zones", row)["CN"]["rows"], 16);
            assert_eq!(json("quarantine", row)["no-rule"], 1);
            assert_eq!(json("stores", row)[0]["files"][0]["sha256"], "ab");
            assert_eq!(json("stores", row)[0]["store"], store.identity().store_id);
        }
    }
    found.sort_unstable();
    assert_eq!(found, [(0, 5, 15), (0, 15, 20), (1, 0, 3)]);
}

#[tokio::test]
async fn policies_are_archived_once_and_never_changed() {
    let (dir, store) = fresh().await;
    let version = ContentVersion::of(b"zones: {}");
    store.archive(Text::Policy, &version, "zones: {}").await.unwrap();
    store.archive(Text::Policy, &version, "zones: {}").await.unwrap();
    let path = dir.path().join(format!("_situs_policies/{version}.yaml"));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "zones: {}");
    assert_eq!(store.archive(Text::Policy, &version, "zones: []").await.unwrap_err().advice, Advice::Stop);
    assert!(crate::reader::StoreReader::open(dir.path()).unwrap().tables().unwrap().is_empty());
}
