use object_store::ObjectStoreExt as _;

use super::*;

fn identity(zone: &str, id: &str) -> StoreIdentity {
    StoreIdentity { zone: zone.parse().unwrap(), store_id: id.to_owned() }
}

#[tokio::test]
async fn only_what_was_added_resolves() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"abc").unwrap();
    let url = store_url(&identity("CN", "1")).unwrap();
    let mut objects = PermittedObjects::default();
    objects.add(&url, folder.path()).unwrap();

    let found = objects.get_store(url.as_ref()).unwrap();
    assert_eq!(found.get(&"a".into()).await.unwrap().bytes().await.unwrap(), "abc");

    let elsewhere: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    let file = Url::parse("file:///etc/passwd").unwrap();
    assert!(objects.register_store(&file, elsewhere).is_none());
    for text in
        ["file:///etc/passwd", "situs://eu-1/", "situs://cn-2/", "s3://cn-1/", "http://cn-1/", "situs:/a"]
    {
        assert!(objects.get_store(&Url::parse(text).unwrap()).is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_link_does_not_lead_out() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"eu").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("t")).unwrap();
    std::fs::write(folder.path().join("t/a"), b"abc").unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("t/link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("u")).unwrap();
    std::os::unix::fs::symlink("a", folder.path().join("t/inside")).unwrap();
    let root = ReadOnlyRoot::open(folder.path()).unwrap();

    for good in ["t/a", "t/inside"] {
        assert_eq!(root.get_range(&good.into(), 1..3).await.unwrap(), "bc");
        assert_eq!(root.head(&good.into()).await.unwrap().size, 3);
    }
    for bad in ["t/link", "u/secret"] {
        let bad: ObjectPath = bad.into();
        for error in [
            root.get(&bad).await.unwrap_err(),
            root.get_ranges(&bad, &[0..1, 1..2]).await.unwrap_err(),
            root.head(&bad).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("leads out of its store"), "{error}");
        }
    }
    assert!(matches!(root.get(&"t/none".into()).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn nothing_is_written_or_listed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"abc").unwrap();
    let root = ReadOnlyRoot::open(folder.path()).unwrap();
    let (a, b) = (ObjectPath::from("a"), ObjectPath::from("b"));
    assert!(root.put(&b, PutPayload::from_static(b"x")).await.is_err());
    assert!(root.put_multipart(&b).await.is_err());
    assert!(root.copy(&a, &b).await.is_err());
    assert!(root.rename(&a, &b).await.is_err());
    assert!(root.delete(&a).await.is_err());
    assert!(root.list_with_delimiter(None).await.is_err());
    assert!(root.list(None).next().await.unwrap().is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
