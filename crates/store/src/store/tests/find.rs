//! One record among many: its rows, its message in quarantine, its receipt.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use situs_model::Coordinates;

use super::super::*;
use super::support::*;
use crate::SignatureState;
use crate::key::ReceiptKey;
use crate::reader::StoreReader;

fn at(partition: i32, offset: i64) -> Coordinates {
    Coordinates { topic: "cnc.state".into(), partition, offset }
}

/// Two partitions over two days, so that each flush has several files.
#[tokio::test]
async fn rows_are_found_by_their_own_coordinates() {
    let (dir, store) = fresh().await;
    store.append(&append(store.identity(), "f1", 0, 0, 400)).await.unwrap();
    store.append(&append(store.identity(), "f2", 1, 0, 400)).await.unwrap();
    store.append(&append(store.identity(), "f3", 0, 400, 420)).await.unwrap();
    let reader = StoreReader::open(dir.path()).unwrap();
    let table: TableName = "cnc_state".parse().unwrap();
    let files = read(dir.path(), "cnc_state").await;
    for (partition, offset) in [(0, 0), (0, 287), (0, 288), (1, 288), (0, 399), (0, 400), (1, 17)] {
        let found = reader.find_rows(&table, &at(partition, offset)).await.unwrap();
        let [found] = found.as_slice() else { panic!("{partition}/{offset}: {} files", found.len()) };
        let numbers = found.rows.column_by_name("_row").unwrap().as_primitive::<Int32Type>();
        assert_eq!(numbers.values(), &[0, 1]);
        assert!(found.rows.column_by_name("event_date").is_some());
        // What lies there in the file is what was found.
        let (_, whole) = files.iter().find(|(file, _)| file.path == found.file).unwrap();
        for position in &found.positions {
            let position = usize::try_from(*position).unwrap();
            let value = |name: &str| whole.column_by_name(name).unwrap().slice(position, 1);
            assert_eq!(value("_offset").as_primitive::<Int64Type>().value(0), offset);
            assert_eq!(value("_partition").as_primitive::<Int32Type>().value(0), partition);
        }
        assert_eq!(found.positions.len(), 2);
    }
    for record in [at(0, 420), at(1, 400), at(2, 0), Coordinates { topic: "other".into(), ..at(0, 0) }] {
        assert!(reader.find_rows(&table, &record).await.unwrap().is_empty(), "{record}");
    }
    let none: TableName = "none".parse().unwrap();
    assert!(reader.find_rows(&none, &at(0, 0)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_in_quarantine_is_found_with_its_place() {
    let (dir, store) = fresh().await;
    store.quarantine(&super::home::quarantine("f1", 0, 5, &[1, 2, 3])).await.unwrap();
    store.quarantine(&super::home::quarantine("f2", 5, 9, &[6])).await.unwrap();
    let reader = StoreReader::open(dir.path()).unwrap();
    let found = reader.find_quarantined(&at(0, 2)).await.unwrap();
    let [(place, entry, content)] = found.as_slice() else { panic!("{} messages", found.len()) };
    assert_eq!((place.position, &*entry.reason, &*entry.flush_id), (1, "invalid-json", "f1"));
    assert!(place.file.starts_with("quarantine_date="), "{}", place.file);
    assert_eq!(content.payload, super::home::message(2).payload);
    assert!(reader.find_quarantined(&at(0, 4)).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_receipt_that_covers_an_offset_is_found_and_checked() {
    let (dir, store) = fresh().await;
    let key = Arc::new(ReceiptKey::create(&dir.path().join("_tmp_key")).unwrap());
    let id = key.public().id().to_owned();
    let store = store.with_receipt_key(key);
    store.settle(&[super::home::receipt(&store, "f1", 0, 0, 5)]).await.unwrap();
    store.settle(&[super::home::receipt(&store, "f2", 0, 5, 9)]).await.unwrap();
    let reader = StoreReader::open(dir.path()).unwrap();
    let find = |record: &Coordinates| reader.find_receipts("kafka", record, &[]).unwrap();
    for (offset, flush) in [(0, "f1"), (4, "f1"), (5, "f2"), (8, "f2")] {
        let coverage = find(&at(0, offset));
        assert_eq!(coverage.settled, Some(9));
        let [receipt] = coverage.receipts.as_slice() else { panic!("{offset}: {coverage:?}") };
        assert_eq!(receipt.flush_id, flush);
        assert!(receipt.hash_holds && (receipt.start..receipt.end).contains(&offset), "{receipt:?}");
        assert_eq!(receipt.signature, SignatureState::Holds(id.clone()));
        assert_eq!(receipt.versions, facts(flush).versions());
    }
    assert!(find(&at(0, 9)).receipts.is_empty());
    assert_eq!(find(&at(1, 0)), crate::Coverage::default());
    let elsewhere = reader.find_receipts("another", &at(0, 0), &[]).unwrap();
    assert_eq!(elsewhere, crate::Coverage::default());
    // A key that is pinned and is another: nothing can be said.
    let other = ReceiptKey::create(&dir.path().join("_tmp_other")).unwrap();
    let pinned = reader.find_receipts("kafka", &at(0, 0), &[other.public().clone()]).unwrap();
    assert_eq!(pinned.receipts[0].signature, SignatureState::UnknownKey(id));
}
