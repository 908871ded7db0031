//! RES-8 while a store is in use: volumes that go away, and others that come in their place.

use std::fs;

use super::super::*;
use super::support::*;
use crate::root::init;

/// Everything that a store can be asked for.
async fn asked(store: &DeltaStore) -> Vec<StoreError> {
    let policy = ContentVersion::of(b"zones: {}");
    vec![
        store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap_err(),
        store.settle(&[super::home::receipt(store, "f1", 0, 5, 9)]).await.unwrap_err(),
        store.settled(&[source(0)]).await.unwrap_err(),
        store.archive(Text::Policy, &policy, "zones: {}").await.unwrap_err(),
        store.maintain(1).await.unwrap_err(),
    ]
}

async fn in_use() -> (tempfile::TempDir, PathBuf, DeltaStore) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cn");
    init(&root, &zone("CN")).unwrap();
    let store = DeltaStore::open(&root, &zone("CN"), metrics()).await.unwrap();
    store.append(&append(store.identity(), "f0", 0, 0, 5)).await.unwrap();
    store.settle(&[super::home::receipt(&store, "f0", 0, 0, 5)]).await.unwrap();
    (dir, root, store)
}

#[tokio::test]
async fn an_empty_mount_point_is_no_store_without_tables() {
    let (dir, root, store) = in_use().await;
    let volume = dir.path().join("volume");
    fs::rename(&root, &volume).unwrap();
    fs::create_dir(&root).unwrap();
    let unused = table_unknown(&store);
    for error in asked(&store).await.into_iter().chain([unused.await]) {
        assert_eq!(error.advice, Advice::Retry, "{error}");
        assert!(error.to_string().contains("is the volume mounted?"), "{error}");
    }
    assert_eq!(store.metrics.store_writable.with_label_values(&["CN"]).get(), 0);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "nothing is written to the mount point");

    // It is mounted again, and nothing was lost or forgotten.
    fs::remove_dir(&root).unwrap();
    fs::rename(&volume, &root).unwrap();
    let settled = store.settled(&[source(0)]).await.unwrap();
    assert_eq!(settled, HashMap::from([(source(0), NextOffset(5))]));
    store.append(&append(store.identity(), "f1", 0, 5, 9)).await.unwrap();
    assert_eq!(keys(&root).await, expected(0, 0..9));
}

/// An append to a table that the store has not seen yet.
async fn table_unknown(store: &DeltaStore) -> StoreError {
    let mut first = append(store.identity(), "f1", 0, 0, 5);
    first.table = "another".parse().unwrap();
    store.append(&first).await.unwrap_err()
}

/// Also where the other volume has tables of the same names, or copies of the very same ones.
#[tokio::test]
async fn another_volume_in_its_place_stops() {
    for name in ["EU", "CN"] {
        let (dir, root, store) = in_use().await;
        let other = dir.path().join("other");
        init(&other, &zone(name)).unwrap();
        let before = parquet_files(&root);
        fs::copy(names::marker(&other), names::marker(&root)).unwrap();
        for error in asked(&store).await.into_iter().chain([table_unknown(&store).await]) {
            assert_eq!(error.advice, Advice::Stop, "{name}: {error}");
        }
        assert_eq!(parquet_files(&root), before);

        fs::rename(&root, dir.path().join("volume")).unwrap();
        fs::rename(&other, &root).unwrap();
        for error in asked(&store).await {
            assert_eq!(error.advice, Advice::Stop, "{name}: {error}");
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "only the marker");
    }
}
