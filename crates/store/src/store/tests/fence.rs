//! Owners of partitions: what a table takes from whom, and what one finds of the owner before.

use situs_model::Epoch;
use situs_model::store::{Tenure, Unsettled};

use super::super::*;
use super::home::receipt;
use super::support::*;

fn columns() -> SchemaRef {
    rows(0, 0..1, "CN").schema()
}

fn table() -> TableName {
    "cnc_state".parse().unwrap()
}

async fn take_over(store: &DeltaStore, partition: i32) -> Tenure {
    store.take_over(&[source(partition)]).await.unwrap()[&source(partition)]
}

async fn fence(store: &DeltaStore, partition: i32, tenure: Tenure) -> Option<Unsettled> {
    let found = store.fence(&table(), &columns(), &[(source(partition), tenure)]).await.unwrap();
    found.get(&source(partition)).cloned()
}

/// An append of an owner.
fn of(tenure: Tenure, store: &DeltaStore, flush: &str, start: i64, end: i64) -> Append {
    let settled = tenure.settled.map(|settled| settled.0);
    let mut append = append_settled(store.identity(), flush, 0, start, end, settled);
    append.shares[0].epoch = tenure.epoch;
    append
}

#[tokio::test]
async fn each_owner_has_an_epoch_after_those_before() {
    let (dir, store) = fresh().await;
    assert_eq!(take_over(&store, 0).await, Tenure { epoch: Epoch(1), settled: None, topic_id: None });
    store.settle(&[Receipt { epoch: Epoch(1), ..receipt(&store, "f", 0, 5, 9) }]).await.unwrap();
    let other = open(&dir).await;
    assert_eq!(
        take_over(&other, 0).await,
        Tenure { epoch: Epoch(2), settled: Some(NextOffset(9)), topic_id: None }
    );
    assert_eq!(take_over(&other, 1).await.epoch, Epoch(1), "partitions have epochs of their own");
    assert_eq!(take_over(&store, 0).await.epoch, Epoch(3));
    // Epochs survive a checkpoint, and a process that knows nothing.
    store.maintain(1).await.unwrap();
    assert_eq!(take_over(&open(&dir).await, 0).await.epoch, Epoch(4));
}

/// delta-rs#2580: no transaction that is in a table keeps a writer out that read it before.
#[tokio::test]
async fn a_zombie_cannot_append_after_its_successor_asked() {
    let (dir, zombie) = fresh().await;
    let before = take_over(&zombie, 0).await;
    assert_eq!(fence(&zombie, 0, before).await, None);

    // The zombie has read 0..7 and sleeps; another process takes over.
    let asleep = of(before, &zombie, "f1", 0, 7);
    let store = open(&dir).await;
    let now = take_over(&store, 0).await;
    assert_eq!(fence(&store, 0, now).await, None, "it has appended nothing");

    let error = zombie.append(&asleep).await.unwrap_err();
    assert_eq!(error.advice, Advice::Yield);
    assert!(error.message.contains("taken over by another process in epoch 2"), "{error}");
    let late = Receipt { epoch: before.epoch, ..receipt(&zombie, "f1", 0, 0, 7) };
    assert_eq!(zombie.settle(&[late]).await.unwrap_err().advice, Advice::Yield);
    store.append(&of(now, &store, "f2", 0, 5)).await.unwrap();
    assert_eq!(keys(dir.path()).await, expected(0, 0..5));
}

/// A zombie that has found no table must not make it later, behind its successor's back.
#[tokio::test]
async fn a_table_is_there_once_its_owner_asked() {
    let (dir, zombie) = fresh().await;
    let before = take_over(&zombie, 0).await;
    let store = open(&dir).await;
    let now = take_over(&store, 0).await;
    fence(&store, 0, now).await;
    assert_eq!(zombie.append(&of(before, &zombie, "f1", 0, 7)).await.unwrap_err().advice, Advice::Yield);
    assert_eq!(
        zombie.fence(&table(), &columns(), &[(source(0), before)]).await.unwrap_err().advice,
        Advice::Yield
    );
    assert!(keys(dir.path()).await.is_empty());
}

#[tokio::test]
async fn what_was_not_settled_is_found_with_the_texts_that_made_it() {
    let (dir, store) = fresh().await;
    let before = take_over(&store, 0).await;
    fence(&store, 0, before).await;
    let mut unfinished = of(before, &store, "f1", 0, 7);
    unfinished.facts.policy = ContentVersion::of(b"an earlier policy");
    store.append(&unfinished).await.unwrap();

    let expected = Unsettled { until: NextOffset(7), versions: unfinished.facts.versions(), topic_id: None };
    let other = open(&dir).await;
    let now = take_over(&other, 0).await;
    assert_eq!(fence(&other, 0, now).await, Some(expected.clone()));
    // Asking twice changes nothing, and neither does a checkpoint, which does not know texts.
    assert_eq!(fence(&other, 0, now).await, Some(expected.clone()));
    other.maintain(1).await.unwrap();
    let third = open(&dir).await;
    assert_eq!(fence(&third, 0, take_over(&third, 0).await).await, Some(expected));

    let epoch = take_over(&third, 0).await.epoch;
    third.settle(&[Receipt { epoch, ..receipt(&third, "f2", 0, 0, 7) }]).await.unwrap();
    let settled = take_over(&third, 0).await;
    assert_eq!((settled.settled, fence(&third, 0, settled).await), (Some(NextOffset(7)), None));
}

/// Without the entry nobody can say how to go on, so nobody does.
#[tokio::test]
async fn what_cannot_be_told_of_unsettled_rows_stops() {
    let (dir, store) = fresh().await;
    let before = take_over(&store, 0).await;
    fence(&store, 0, before).await;
    store.append(&of(before, &store, "f1", 0, 7)).await.unwrap();
    store.maintain(1).await.unwrap();
    let log = names::log(&names::table(dir.path(), &table()));
    for version in 0..=2 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).ok();
    }
    let other = open(&dir).await;
    let now = take_over(&other, 0).await;
    let error = other.fence(&table(), &columns(), &[(source(0), now)]).await.unwrap_err();
    assert_eq!(error.advice, Advice::Stop);
    assert!(error.message.contains("the log does not say any more by which policy"), "{error}");
}

#[tokio::test]
async fn many_owners_at_once_get_one_epoch_each() {
    let (dir, _) = fresh().await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = open(&dir).await;
        tasks.push(tokio::spawn(async move {
            loop {
                match store.take_over(&[source(0)]).await {
                    Ok(tenures) => return tenures[&source(0)].epoch,
                    Err(error) => assert_eq!(error.advice, Advice::Retry),
                }
            }
        }));
    }
    let mut epochs = Vec::new();
    for task in tasks {
        epochs.push(task.await.unwrap());
    }
    epochs.sort();
    assert_eq!(epochs, (1..=8).map(Epoch).collect::<Vec<_>>());
}
