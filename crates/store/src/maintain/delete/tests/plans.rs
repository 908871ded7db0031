//! Plans that are refused, dropped, or not the store's own.

use super::*;

#[tokio::test]
async fn coordinates_that_were_changed_are_not_followed() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let plan = planned(&maintenance, &request(offsets())).await;
    let path = dir.path().join(&plan.coordinates.path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = maintenance.carry_out_deletion(&plan).await.unwrap_err();
    assert!(refused.message.contains("SHA-256"), "{refused}");
    assert_eq!(keys(dir.path()).await.len(), 1120);
}

/// The topic was read again under another alias of its cluster, so coordinates are there twice.
#[tokio::test]
async fn rows_that_share_their_coordinates_with_others_are_refused_before_there_is_a_plan() {
    let (dir, store) = filled().await;
    let mut alias = append(store.identity(), "again", 1, 90, 100);
    let source = Source { cluster: "alias".parse().unwrap(), ..source(1) };
    let rows = permitted_of(source.clone(), rows(1, 90..100, "CN"), store.identity());
    alias.rows = encoded(store.identity(), "again", vec![rows]);
    alias.shares[0].source = source;
    alias.shares[0].settled = None;
    store.append(&alias).await.unwrap();
    let maintenance = maintenance(&store).await;
    for writes in [false, true] {
        let refused = maintenance.decide_deletion(&request(offsets()), writes).await.unwrap_err();
        assert_eq!(refused.advice, Advice::Stop, "{refused}");
        assert!(refused.message.contains("it cannot be told which would go"), "{refused}");
    }
    // Those that differ in something else are not told apart by coordinates either.
    let of_alias = Criterion { from_offset: Some(90), to_offset: Some(100), ..offsets() };
    assert!(maintenance.decide_deletion(&request(of_alias), true).await.is_err());
    assert!(maintenance.unfinished_deletions().await.unwrap().is_empty());
    let beside = Criterion { to_offset: Some(90), ..offsets() };
    assert_eq!(planned(&maintenance, &request(beside)).await.tables[0].deleted(), 120);
    assert_eq!(keys(dir.path()).await.len(), 1140);
}

#[tokio::test]
async fn a_plan_is_dropped_while_no_row_went_by_it() {
    let (dir, store) = filled().await;
    let maintenance = maintenance(&store).await;
    let plan = planned(&maintenance, &request(offsets())).await;
    assert_eq!(maintenance.abandon_deletion("another").await.unwrap(), Abandoned::None);
    // What it says does not matter: it may be anybody's.
    let path = crate::names::deletion_plan(dir.path(), &plan.id);
    std::fs::write(&path, b"no plan").unwrap();
    let refused = maintenance.unfinished_deletions().await.unwrap_err();
    assert!(refused.message.contains("--abandon"), "{refused}");
    assert_eq!(maintenance.abandon_deletion(&plan.id).await.unwrap(), Abandoned::Dropped);
    let plan = planned(&maintenance, &request(offsets())).await;
    maintenance.carry_out_deletion(&plan).await.unwrap();
    assert_eq!(maintenance.abandon_deletion(&plan.id).await.unwrap(), Abandoned::Begun);
    assert_eq!(maintenance.unfinished_deletions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_plan_that_the_store_has_not_made_is_not_carried_out() {
    let (dir, store) = filled().await;
    let key = |name: &str| {
        let path = dir.path().parent().unwrap().join(format!("{name}-{}.pem", uuid::Uuid::now_v7()));
        let key = crate::key::ReceiptKey::create(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Arc::new(key)
    };
    let store = store.with_receipt_key(key("own"));
    let maintenance = maintenance(&store).await;
    let plan = planned(&maintenance, &request(offsets())).await;
    let refused = async |plan: &Plan, what: &str| {
        let refused = maintenance.carry_out_deletion(plan).await.unwrap_err();
        assert!(refused.message.contains(what), "{what}: {refused}");
    };
    refused(&Plan { signed: None, ..plan.clone() }, "is not signed").await;
    refused(&Plan { by: "other".to_owned(), ..plan.clone() }, "has a signature that is not").await;
    refused(&Plan { zone: "XX".to_owned(), ..plan.clone() }, "is of another zone").await;
    let mut foreign = plan.clone();
    foreign.signed.as_mut().unwrap().key = "0123456789abcdef".to_owned();
    refused(&foreign, "is signed by another key").await;
    // Signed, but its coordinates name more than it lists.
    let mut fewer = plan.clone();
    fewer.tables.clear();
    crate::durable::remove(&crate::names::deletion_plan(dir.path(), &plan.id)).unwrap();
    plan::write(dir.path(), store.identity(), &mut fewer, maintenance.receipt_key.as_deref()).unwrap();
    refused(&fewer, "its coordinates name other rows").await;
    assert_eq!(keys(dir.path()).await.len(), 1120);
    maintenance.carry_out_deletion(&plan).await.unwrap();
}
