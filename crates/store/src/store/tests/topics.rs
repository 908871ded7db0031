//! Which topic a partition's offsets are of: receipts and commits say so, and no receipt of another topic
//! continues them.

use situs_model::store::{Tenure, Unsettled};
use situs_model::{Epoch, TopicId};

use super::super::*;
use super::home::receipt;
use super::support::*;
use super::verify::{Plant, row_of, with_hash, with_text};
use crate::verify::Kind;

fn id(number: u128) -> Option<TopicId> {
    TopicId::of_bits(number)
}

async fn take_over(store: &DeltaStore) -> Tenure {
    store.take_over(&[source(0)]).await.unwrap()[&source(0)]
}

fn receipt_of(store: &DeltaStore, flush: &str, start: i64, end: i64, topic_id: Option<TopicId>) -> Receipt {
    Receipt { epoch: Epoch(9), topic_id, ..receipt(store, flush, 0, start, end) }
}

#[tokio::test]
async fn whoever_takes_over_is_told_of_which_topic_the_last_receipt_is() {
    let (dir, store) = fresh().await;
    // As releases before wrote them.
    store.settle(&[receipt_of(&store, "f1", 0, 5, None)]).await.unwrap();
    assert_eq!(take_over(&store).await.topic_id, None);
    store.settle(&[receipt_of(&store, "f2", 5, 9, id(7))]).await.unwrap();
    let expected = |epoch| Tenure { epoch: Epoch(epoch), settled: Some(NextOffset(9)), topic_id: id(7) };
    assert_eq!(take_over(&store).await, expected(2));
    // By the file alone, and where only a checkpoint remembers the offset.
    assert_eq!(take_over(&open(&dir).await).await, expected(3));
    store.maintain(1).await.unwrap();
    assert_eq!(take_over(&open(&dir).await).await, expected(4));
}

#[tokio::test]
async fn no_receipt_of_another_topic_continues_a_partition() {
    let (dir, store) = fresh().await;
    store.settle(&[receipt_of(&store, "f1", 0, 5, id(7))]).await.unwrap();
    for store in [&store, &open(&dir).await] {
        let error = store.settle(&[receipt_of(store, "f2", 5, 9, id(8))]).await.unwrap_err();
        assert_eq!(error.advice, Advice::Stop);
        let ids =
            "topic with id AAAAAAAAAAAAAAAAAAAABw, so a receipt of the topic with id AAAAAAAAAAAAAAAAAAAACA";
        assert!(error.message.contains(ids), "{error}");
    }
    store.settle(&[receipt_of(&store, "f3", 5, 9, id(7))]).await.unwrap();
}

#[tokio::test]
async fn what_was_not_settled_is_found_with_the_topic_that_it_is_of() {
    let (dir, store) = fresh().await;
    let tenure = take_over(&store).await;
    let mut unfinished = append_settled(store.identity(), "f1", 0, 0, 7, None);
    unfinished.shares[0].epoch = tenure.epoch;
    unfinished.shares[0].topic_id = id(7);
    store.append(&unfinished).await.unwrap();
    for store in [&store, &open(&dir).await] {
        let tenures = [(source(0), take_over(store).await)];
        let found = store.fence(&unfinished.table, &rows(0, 0..1, "CN").schema(), &tenures).await.unwrap();
        let versions = unfinished.facts.versions();
        let expected = Unsettled { until: NextOffset(7), versions, topic_id: id(7) };
        assert_eq!(found.get(&source(0)), Some(&expected));
    }
}

#[tokio::test]
async fn a_chain_whose_receipts_are_of_two_topics_is_found() {
    let mut plant = Plant::new().await;
    plant.flush("f1", 0, 0, 10).await;
    plant.topic_id = id(7);
    plant.flush("f2", 0, 10, 25).await;
    plant.flush("f3", 0, 25, 31).await;
    // Receipts of before name no topic, and that is no fault.
    plant.assert_found(&[]);
    plant.allow_unsigned = true;
    plant.rewrite_receipts(|batch| match row_of(&batch, 25) {
        Some(row) => {
            let batch = with_text(&batch, "topic_id", row, Some("AAAAAAAAAAAAAAAAAAAACA"));
            let batch = with_text(&with_text(&batch, "key_id", row, None), "signature", row, None);
            with_hash(&batch, row)
        }
        None => batch,
    });
    let found = "its offsets are of the topic with id AAAAAAAAAAAAAAAAAAAACA, those before it of the one with id \
                 AAAAAAAAAAAAAAAAAAAABw";
    plant.assert_found(&[(Kind::Chain, found)]);
}

/// The hash covers the topic, so nobody can exchange it.
#[tokio::test]
async fn a_topic_that_was_exchanged_in_a_receipt_is_found() {
    let mut plant = Plant::new().await;
    plant.topic_id = id(7);
    plant.flush("f1", 0, 0, 10).await;
    plant.rewrite_receipts(|batch| with_text(&batch, "topic_id", 0, Some("AAAAAAAAAAAAAAAAAAAACA")));
    plant.assert_found(&[(Kind::Chain, "its hash is not that of its content")]);
}
