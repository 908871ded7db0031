use std::os::unix::fs::symlink;

use super::*;

fn zone(name: &str) -> ZoneId {
    name.parse().unwrap()
}

#[test]
fn init_is_idempotent_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/cn");
    let identity = init(&root, &zone("CN")).unwrap();
    assert_eq!(init(&root, &zone("CN")).unwrap(), identity);
    assert_eq!(identify(&root).unwrap(), identity);
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(names::marker(&root)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(init(&dir.path().join("other"), &zone("CN")).unwrap().store_id, identity.store_id);
}

/// A folder that an administrator made, under whatever umask.
#[tokio::test]
async fn a_root_is_closed_to_others_when_it_is_made_and_refused_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cn");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    init(&root, &zone("CN")).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o700);
    let open = async || {
        let metrics = std::sync::Arc::new(situs_observe::Metrics::new().unwrap());
        crate::DeltaStore::open(&root, &zone("CN"), metrics).await
    };
    assert!(open().await.is_ok());
    for mode in [0o701, 0o710, 0o750, 0o755, 0o2770] {
        fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
        let refused = open().await.unwrap_err();
        assert!(matches!(&refused, RootError::Exposed { mode: found, .. } if *found == mode), "{refused}");
    }
}

#[test]
fn init_refuses_what_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cn");
    init(&root, &zone("CN")).unwrap();
    assert!(matches!(init(&root, &zone("EU")), Err(RootError::OtherZone { .. })));
    assert!(matches!(init(&root.join("eu"), &zone("EU")), Err(RootError::Nested { .. })));

    let used = dir.path().join("used");
    fs::create_dir(&used).unwrap();
    fs::write(used.join("file"), "x").unwrap();
    assert!(matches!(init(&used, &zone("CN")), Err(RootError::NotEmpty { .. })));

    let volume = dir.path().join("volume");
    fs::create_dir_all(volume.join("lost+found")).unwrap();
    assert!(init(&volume, &zone("CN")).is_ok());
}

#[test]
fn markers_are_read_strictly() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(identify(dir.path()), Err(RootError::NoMarker { .. })));
    for text in [
        "",
        "{}",
        r#"{"format":2,"zone":"CN","store_id":"x","created":""}"#,
        r#"{"format":1,"zone":"cn","store_id":"x","created":""}"#,
    ] {
        fs::write(names::marker(dir.path()), text).unwrap();
        assert!(matches!(identify(dir.path()), Err(RootError::BadMarker { .. })), "{text}");
    }
}

#[test]
fn roots_must_be_disjoint_behind_symlinks_too() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("cn/inside")).unwrap();
    fs::create_dir(at("eu")).unwrap();
    symlink(at("cn"), at("alias")).unwrap();
    symlink(at("cn/inside"), at("deep-alias")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    let check = |a: &str, b: &str| check_disjoint(&[(zone("CN"), at(a)), (zone("EU"), at(b))]);

    assert!(check("cn", "eu").is_ok());
    assert!(check("cn", "cn-2").is_ok(), "a common beginning of the name is no nesting");
    assert!(check("new/cn", "new/eu").is_ok());
    assert!(matches!(check("cn", "cn"), Err(RootError::SameRoot { .. })));
    assert!(matches!(check("cn", "alias"), Err(RootError::SameRoot { .. })));
    assert!(matches!(check("cn", "cn/inside"), Err(RootError::Nested { .. })));
    assert!(matches!(check("cn/inside", "cn"), Err(RootError::Nested { .. })));
    assert!(matches!(check("cn", "deep-alias"), Err(RootError::Nested { .. })));
    assert!(matches!(check("cn", "alias/not/yet"), Err(RootError::Nested { .. })));
    assert!(matches!(check("new", "new/eu"), Err(RootError::Nested { .. })));
    assert!(check("cn", "new/../cn").is_err());
    assert!(check("cn", "dangling").is_err());
}
