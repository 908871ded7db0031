use super::*;
use std::fs::OpenOptions;

const MINUTE: Duration = Duration::from_secs(60);

fn at(minutes: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + MINUTE * minutes
}

fn lease(taken: u32, renewed: u32, staging: Option<u32>) -> WriterLease {
    WriterLease {
        path: PathBuf::new(),
        renewed: at(renewed),
        taken: Some(at(taken)),
        staging: staging.map(at),
    }
}

/// Every relation of a file's time to a lease's.
#[test]
fn a_file_is_protected_as_long_as_its_writer_may_commit_it() {
    // Taken at 10, renewed at 50, nothing under way: what is older than the renewal is nobody's.
    let idle = lease(10, 50, None);
    // An append has been under way since 30.
    let busy = lease(10, 50, Some(30));
    for (minute, by_idle, by_busy) in [
        (0, false, false),
        (8, false, false),
        (20, false, false),
        (28, false, false),
        (29, false, true),
        (40, false, true),
        (48, false, true),
        (49, true, true),
        (60, true, true),
    ] {
        assert_eq!(idle.may_have_staged(at(minute)), by_idle, "idle, {minute}");
        assert_eq!(busy.may_have_staged(at(minute)), by_busy, "busy, {minute}");
    }
    // Before the process was there nothing is its own, whatever it does.
    assert!(!lease(10, 12, Some(10)).may_have_staged(at(8)));
    // A lease that cannot be read protects everything.
    let torn = WriterLease { taken: None, staging: Some(SystemTime::UNIX_EPOCH), ..idle };
    assert!(torn.may_have_staged(at(0)));
}

#[test]
fn a_lease_tells_of_appends_that_are_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let leases = Arc::new(Leases::new(dir.path()));
    assert_eq!(leases.renew().unwrap(), Renewal::Taken);
    assert_eq!(WriterLease::list(dir.path()).unwrap()[0].staging, None);
    let (first, second) = (leases.stage(), leases.stage());
    assert_eq!(leases.renew().unwrap(), Renewal::Renewed);
    assert!(WriterLease::list(dir.path()).unwrap()[0].staging.is_some());
    drop((first, second));
    leases.renew().unwrap();
    let [lease] = &WriterLease::list(dir.path()).unwrap()[..] else { panic!("one lease") };
    assert_eq!(lease.staging, None);
    assert!(lease.taken.is_some_and(|taken| taken <= lease.renewed));

    std::fs::write(&lease.path, "{").unwrap();
    assert!(WriterLease::list(dir.path()).unwrap()[0].may_have_staged(at(0)), "half written");
    leases.release().unwrap();
    assert_eq!(WriterLease::list(dir.path()).unwrap(), []);
    assert!(leases.stage().check().is_err(), "nothing is committed any more");
}

#[test]
fn a_revoked_lease_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let leases = Arc::new(Leases::new(dir.path()));
    leases.stage().check().unwrap();
    leases.renew().unwrap();
    let staging = leases.stage();
    staging.check().unwrap();
    WriterLease::list(dir.path()).unwrap()[0].revoke().unwrap();
    assert!(staging.check().is_err());
    assert_eq!(leases.renew().unwrap(), Renewal::Taken);
    assert!(staging.check().is_err(), "what was staged before may be gone");
    leases.stage().check().unwrap();
}

/// Steps 1 to 3 against a to c, in the one order in which the check passes although the lease is revoked.
#[test]
fn a_commit_that_has_passed_the_check_fails_for_want_of_its_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let leases = Arc::new(Leases::new(dir.path()));
    leases.renew().unwrap();
    let staging = leases.stage();
    let target = dir.path().join("entry.json");
    let refused = durable::create_if(&target, b"{}", || {
        staging.check()?;
        // The process is stopped here, and goes on much later.
        WriterLease::list(dir.path())?[0].revoke()?;
        for name in durable::list(dir.path())?.iter().filter(|name| names::is_temporary(name)) {
            durable::remove(&dir.path().join(name))?;
        }
        Ok(())
    });
    assert!(refused.is_err() && !target.exists());
}

#[test]
fn there_is_one_maintainer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Maintainer::acquire(dir.path()).unwrap().unwrap();
    assert!(Maintainer::acquire(dir.path()).unwrap().is_none());
    assert!(first.renew().unwrap());

    // It is stopped for long, and two others want to take its place.
    let stale = SystemTime::now() - 2 * MAINTAINER_EXPIRES;
    OpenOptions::new().write(true).open(&first.path).unwrap().set_modified(stale).unwrap();
    let second = Maintainer::acquire(dir.path()).unwrap().unwrap();
    assert!(Maintainer::acquire(dir.path()).unwrap().is_none());
    assert!(!first.renew().unwrap(), "the first finds that it is not meant any more");
    drop(first);
    assert!(second.renew().unwrap());
    drop(second);
    assert!(Maintainer::acquire(dir.path()).unwrap().is_some());
}
