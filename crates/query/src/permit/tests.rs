use std::fs;

use super::*;

#[test]
fn stores_are_found_at_three_depths_and_not_below_another() {
    let data = tempfile::tempdir().unwrap();
    assert!(matches!(find_stores(data.path()), Err(QueryError::NoStore { .. })));
    assert!(matches!(find_stores(&data.path().join("none")), Err(QueryError::Io { .. })));

    let zone = |name: &str| name.parse().unwrap();
    situs_store::init(&data.path().join("stores/eu"), &zone("EU")).unwrap();
    situs_store::init(&data.path().join("cn"), &zone("CN")).unwrap();
    situs_store::init(&data.path().join("a/b/too-deep"), &zone("US")).unwrap();
    fs::create_dir_all(data.path().join("cn/cnc_state/_delta_log")).unwrap();
    fs::write(data.path().join("note.txt"), "").unwrap();
    let found = find_stores(data.path()).unwrap();
    assert_eq!(found, [data.path().join("cn"), data.path().join("stores/eu")]);

    let itself = data.path().join("cn");
    assert_eq!(find_stores(&itself).unwrap(), [itself]);
}

#[test]
fn links_are_not_followed() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    situs_store::init(&elsewhere.path().join("eu"), &"EU".parse().unwrap()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("eu"), data.path().join("eu")).unwrap();
    assert!(matches!(find_stores(data.path()), Err(QueryError::NoStore { .. })));
}

#[test]
fn a_spoilt_marker_is_found_so_that_opening_it_says_so() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("cn")).unwrap();
    fs::write(data.path().join("cn/_situs_store.json"), "{").unwrap();
    assert_eq!(find_stores(data.path()).unwrap(), [data.path().join("cn")]);
}
