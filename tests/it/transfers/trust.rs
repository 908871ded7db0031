//! Whose word a transfer moves by: forged, foreign and missing approvals, and transfers that went before.

use super::*;

/// Whoever may write the store can add an entry, but has no key: nothing is decided by it.
#[test]
fn a_forged_approval_moves_nothing() {
    let home = filled();
    let (id, other) = (requested(&home, "wear-study"), requested(&home, "wear-study"));
    let root = home.data().join("cn");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let metrics = std::sync::Arc::new(situs_observe::Metrics::new().expect("metrics"));
        let store =
            DeltaStore::open(&root, &"CN".parse().expect("a zone"), metrics).await.expect("the store");
        let ledger = store.zone_ledger().await.expect("the ledger");
        let request = ledger.find(LedgerKind::TransferRequested, &id).expect("the request");
        let kind = LedgerKind::TransferApproved;
        let forged = LedgerFact { kind, said_by: "Anna Berg".to_owned(), ..request.fact.clone() };
        store.enter_once(&[forged]).await.expect("entered");
    });
    let run = transfer(&home, &["run", &id, "--by", "Li Wei"]);
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(1) && text.contains("(transfer-approved) is not signed"), "{text}");
    assert_eq!(findings(&home), ["signatures: entry 2: it is not signed"]);
    // It is named, and what is signed goes on.
    assert_eq!(object(&home, &["approve", &other, "--by", "Anna Berg"]).0, Some(0));
    assert!(!home.data().join("eu/cnc_state_received").exists());
}

/// Does something with the store of a zone, as somebody may who has a key of their own, or none.
fn with_store<T>(
    home: &Home,
    zone: &str,
    key: Option<ReceiptKey>,
    what: impl AsyncFnOnce(DeltaStore) -> T,
) -> T {
    let root = home.data().join(zone.to_lowercase());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let metrics = std::sync::Arc::new(situs_observe::Metrics::new().expect("metrics"));
        let store =
            DeltaStore::open(&root, &zone.parse().expect("a zone"), metrics).await.expect("the store");
        match key {
            Some(key) => what(store.with_receipt_key(std::sync::Arc::new(key))).await,
            None => what(store).await,
        }
    })
}

fn failed_with(home: &Home, arguments: &[&str], expected: &str) {
    let output = transfer(home, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains(expected), "{text}");
}

/// Whoever may write the store can put the public half of any key into its archive.
#[test]
fn a_key_that_only_the_archive_knows_approves_nothing() {
    let home = filled();
    let id = requested(&home, "wear-study");
    let forger = ReceiptKey::create(&home.site().with_file_name("other.pem")).expect("a key");
    let public = forger.public().pem();
    with_store(&home, "CN", Some(forger), async |store| {
        let ledger = store.zone_ledger().await.expect("the ledger");
        let request = ledger.find(LedgerKind::TransferRequested, &id).expect("the request");
        let kind = LedgerKind::TransferApproved;
        let forged = LedgerFact { kind, said_by: "Anna Berg".to_owned(), ..request.fact.clone() };
        store.enter_once(&[forged]).await.expect("entered");
    });
    let expected = "which is neither this site's `signing-key` nor one of its `trusted-keys`";
    failed_with(&home, &["run", &id, "--by", "Li Wei"], expected);
    assert!(!home.data().join("eu/cnc_state_received").exists(), "not a byte was moved");

    // It counts once the site says so.
    std::fs::write(home.site().with_file_name("other.pub"), public).expect("written");
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let trusting = site.replace("receipts-key.pem }", "receipts-key.pem, trusted-keys: [other.pub] }");
    assert_ne!(site, trusting);
    std::fs::write(home.site(), trusting).expect("written");
    assert_eq!(object(&home, &["run", &id, "--by", "Li Wei"]).0, Some(0));
    home.verify();
}

/// The rows of the target vanish, or its store is made anew: they do not go again.
#[test]
fn what_went_once_does_not_go_again() {
    let home = filled();
    let (id, other) = (approved(&home, "wear-study"), approved(&home, "wear-study"));
    assert_eq!(object(&home, &["run", &id, "--by", "Li Wei"]).0, Some(0));
    let received = home.data().join("eu/cnc_state_received");
    let (aside, eu) = (home.data().join("aside"), home.data().join("eu"));
    std::fs::rename(&received, &aside).expect("moved");
    failed_with(&home, &["run", &id, "--by", "Li Wei"], "nothing is moved twice");
    std::fs::rename(&aside, &received).expect("moved");
    home.verify();

    std::fs::rename(&eu, &aside).expect("moved");
    situs_store::init(&eu, &"EU".parse().expect("a zone")).expect("a new store");
    for id in [&id, &other] {
        failed_with(&home, &["run", id, "--by", "Li Wei"], "was requested for store");
    }
    assert!(!received.exists(), "not a byte was moved");
}

/// The approval of a transfer that was cut off is taken back.
#[test]
fn what_has_begun_is_finished_only_with_an_approval() {
    let home = filled();
    let id = approved(&home, "wear-study");
    let entry = newest(&home.data().join("cn/ledger/_delta_log"));
    with(&home, async |transfers| {
        transfers.run_to(&id, "Li Wei", Step::Rows).await.expect("carried");
    });
    let text = std::fs::read(&entry).expect("read");
    std::fs::remove_file(&entry).expect("removed");
    failed_with(&home, &["run", &id, "--by", "Li Wei"], "nobody has approved it");
    assert_eq!(home.number("select count(*) from cn.ledger where kind = 'transfer-sent'"), 0);
    std::fs::write(&entry, text).expect("written");
    assert_eq!(object(&home, &["run", &id, "--by", "Li Wei"]).0, Some(0));
    home.verify();
}

/// Two processes enter different files by one transfer at once: one of them does.
#[test]
fn one_file_leaves_by_a_derived_transfer() {
    let home = filled();
    let id = approved(&home, "wear-figures");
    let files = ["one", "two", "three"].map(|name| {
        let path = home.site().with_file_name(name);
        std::fs::write(&path, name).expect("written");
        path.to_str().expect("a path").to_owned()
    });
    let runs: Vec<Output> = std::thread::scope(|scope| {
        let run = |path| transfer(&home, &["run", &id, "--artifact", path, "--by", "Li Wei"]);
        let runs: Vec<_> = files.iter().map(|path| scope.spawn(move || run(path))).collect();
        runs.into_iter().map(|run| run.join().expect("ran")).collect()
    });
    assert_eq!(runs.iter().filter(|run| run.status.success()).count(), 1, "{runs:?}");
    home.verify();
}

/// What left without a request and an approval, whoever entered it, and with whatever key.
#[test]
fn what_left_without_an_approval_is_found() {
    let home = filled();
    let id = requested(&home, "wear-figures");
    let key = load(&home).0.receipts.key().expect("a key");
    with_store(&home, "CN", key, async |store| {
        let ledger = store.zone_ledger().await.expect("the ledger");
        let request = ledger.find(LedgerKind::TransferRequested, &id).expect("the request");
        let kind = LedgerKind::DerivedSent;
        let unasked = LedgerFact { kind, subject: "wear-figures.0".to_owned(), ..request.fact.clone() };
        store.enter_once(&[LedgerFact { kind, ..request.fact.clone() }, unasked]).await.expect("entered");
    });
    let found = findings(&home);
    for expected in [
        format!("transfer {id}: nobody approved it as it was carried out"),
        "transfer wear-figures.0: nobody requested it as it was carried out".to_owned(),
    ] {
        assert!(found.iter().any(|what| what.contains(&expected)), "{expected}: {found:?}");
    }
}
