use super::*;

/// The files of a policy, written for the `n`th time.
fn written(n: u64) -> Stamps {
    Stamps(vec![(PathBuf::from("policy.yaml"), Some((n, n, (0, 0), (0, 0))))])
}

fn files(watched: bool) -> Files {
    Files { watched, ..Files::default() }
}

/// The bug: a SIGHUP whose read met files that moved was forgotten where nothing else looks at them
/// (`policy-reload: false`), so that the policy that was asked for did not come until somebody asked again.
#[test]
fn what_was_asked_for_while_files_move_is_read_once_they_rest() {
    let mut files = files(false);
    assert!(!files.may_be_due(), "nobody looks until somebody asks");
    assert_eq!(files.look(&written(1), true), Some(true), "what is asked for is read at once");
    files.moved(true);
    assert!(files.may_be_due(), "it is looked again without being asked");
    assert_eq!(files.look(&written(2), false), None, "they have not rested");
    assert_eq!(files.look(&written(3), false), None);
    assert_eq!(
        files.look(&written(3), false),
        Some(true),
        "they rest, and it is told as to somebody who asked"
    );
    // They move once more while they are read, and rest at last.
    files.moved(true);
    assert_eq!(files.look(&written(4), false), None);
    assert_eq!(files.look(&written(4), false), Some(true));
    files.took(written(4));
    assert!(!files.may_be_due(), "what was asked for was read");
    assert_eq!(files.look(&written(5), false), None, "a change alone is no reason to read");
}

/// They move back to what was read last: whoever asked is told so.
#[test]
fn what_was_asked_for_is_read_though_it_is_what_was_taken() {
    let mut files = files(true);
    assert_eq!(files.look(&written(1), true), Some(true));
    files.took(written(1));
    assert_eq!(files.look(&written(2), true), Some(true));
    files.moved(true);
    assert_eq!(files.look(&written(1), false), None);
    assert_eq!(files.look(&written(1), false), Some(true));
}

#[test]
fn a_change_is_read_after_it_has_rested_for_one_look() {
    let mut files = files(true);
    // At the first look nothing is known of them, so they count as changed once they have rested.
    assert_eq!(files.look(&written(1), false), None);
    assert_eq!(files.look(&written(1), false), Some(false));
    files.took(written(1));
    assert_eq!(files.look(&written(1), false), None);
    assert_eq!(files.look(&written(2), false), None);
    assert_eq!(files.look(&written(2), false), Some(false));
    // It moved while it was read, and nobody had asked: it is looked at as before.
    files.moved(false);
    assert!(!files.owed);
    assert_eq!(files.look(&written(3), false), None);
    assert_eq!(files.look(&written(3), false), Some(false));
}
