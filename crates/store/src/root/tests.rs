use std::os::unix::fs::{PermissionsExt as _, symlink};

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
