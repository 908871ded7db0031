//! The ledger of a zone's store: entered once, in order, chained and signed; and whoever tampers with it is found.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use situs_model::{LedgerFact, LedgerKind};

use super::super::release::LedgerStep;
use super::super::*;
use super::support::*;
use super::verify::{Plant, with_text};
use crate::chain::{self, Canonical, Chained, unhex};
use crate::maintain::{Optimize, Vacuum};
use crate::table::{Mishap, MishapKind};
use crate::verify::Kind;

fn fact(kind: LedgerKind, subject: &str) -> LedgerFact {
    LedgerFact {
        kind,
        subject: subject.to_owned(),
        policy: ContentVersion::of(b"policy"),
        said_by: "Li Wei".to_owned(),
        at_us: MARCH,
        body: r#"{"rows":3}"#.to_owned(),
    }
}

async fn rows_of_ledger(root: &Path) -> RecordBatch {
    let batches: Vec<RecordBatch> = read(root, "ledger").await.into_iter().map(|(_, batch)| batch).collect();
    concat_batches(batches[0].schema_ref(), &batches).unwrap()
}

#[tokio::test]
async fn entries_are_numbered_chained_and_signed() {
    let plant = Plant::new().await;
    let cn = DeltaStore::open(&plant.root("CN"), &zone("CN"), metrics()).await.unwrap();
    let cn = cn.with_receipt_key(plant.key.clone());
    assert_eq!(cn.zone_ledger().await.unwrap().next(), 0);
    cn.enter_once(&[fact(LedgerKind::HoldSet, "h1"), fact(LedgerKind::Deleted, "d1")]).await.unwrap();
    let ledger = cn.enter_once(&[fact(LedgerKind::HoldLifted, "h1")]).await.unwrap();
    let told: Vec<_> =
        ledger.entries().iter().map(|entry| (entry.number, entry.fact.kind.as_str())).collect();
    assert_eq!(told, [(0, "hold-set"), (1, "deleted"), (2, "hold-lifted")]);
    assert_eq!(ledger.entries()[1].fact, fact(LedgerKind::Deleted, "d1"));

    let batch = rows_of_ledger(&plant.root("CN")).await;
    let canonical = Canonical::new(Chained::Ledger, &batch).unwrap();
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let numbers = batch.column_by_name("number").unwrap().as_primitive::<Int64Type>();
    assert_eq!(batch.num_rows(), 3);
    for row in 0..batch.num_rows() {
        let hash = text(chain::HASH, row).unwrap();
        assert_eq!(canonical.hash(row), hash);
        let before = (0..3).find(|other| numbers.value(*other) == numbers.value(row) - 1);
        assert_eq!(text(chain::PREVIOUS, row), before.and_then(|before| text(chain::HASH, before)));
        let signature = unhex(&text(chain::SIGNATURE, row).unwrap()).unwrap();
        assert!(plant.key.public().verifies(&unhex::<32>(&hash).unwrap(), &signature));
    }
    let archived = plant.root("CN").join(format!("_situs_keys/{}.pem", plant.key.public().id()));
    assert_eq!(std::fs::read_to_string(archived).unwrap(), plant.key.public().pem());
}

/// The text in docs/stores.md.
#[test]
fn the_canonical_text_of_an_entry_is_the_documented_one() {
    let dir = tempfile::tempdir().unwrap();
    crate::root::init(dir.path(), &zone("CN")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let batch = runtime.block_on(async {
        let store = open(&dir).await;
        store.enter_once(&[fact(LedgerKind::Deleted, "d1")]).await.unwrap();
        rows_of_ledger(dir.path()).await
    });
    let policy = ContentVersion::of(b"policy");
    assert_eq!(
        Canonical::new(Chained::Ledger, &batch).unwrap().text(0),
        format!(
            "situs-ledger/1\nat:16:{MARCH}\nbody:10:{{\"rows\":3}}\nkind:7:deleted\nnumber:1:0\npolicy:16:{policy}\n\
             said_by:6:Li Wei\nsubject:2:d1\n"
        )
    );
}

/// Whoever decided on a ledger that has moved on since is told, and nothing is written.
#[tokio::test]
async fn an_entry_is_decided_on_the_newest_ledger_or_not_written() {
    let (dir, store) = fresh().await;
    let other = open(&dir).await;
    let old = other.zone_ledger().await.unwrap();
    store.enter_once(&[fact(LedgerKind::HoldSet, "h1")]).await.unwrap();
    let facts = [fact(LedgerKind::Deleted, "d1")];
    assert_eq!(other.append_to_ledger(&old, &facts).await.unwrap(), LedgerStep::Outdated);
    let ledger = other.zone_ledger().await.unwrap();
    assert_eq!(ledger.next(), 1);
    assert_eq!(other.append_to_ledger(&ledger, &facts).await.unwrap(), LedgerStep::Written);
    assert_eq!(other.zone_ledger().await.unwrap().next(), 2);

    let elsewhere = tempfile::tempdir().unwrap();
    crate::root::init(elsewhere.path(), &zone("CN")).unwrap();
    let elsewhere = open(&elsewhere).await;
    let refused = elsewhere.append_to_ledger(&ledger, &facts).await.unwrap_err();
    assert!(refused.message.starts_with("the ledger is that of CN ("), "{refused}");
}

/// After a crash nobody knows whether it was entered, so it is entered again: once.
#[tokio::test]
async fn a_fact_is_entered_once_however_often_it_is_told() {
    let (dir, store) = fresh().await;
    let told = fact(LedgerKind::Deleted, "d1");
    store.enter_once(std::slice::from_ref(&told)).await.unwrap();
    // Later, by a process that knows nothing, with another time and another body.
    let again = LedgerFact { at_us: MARCH + 1, body: "{}".to_owned(), ..told.clone() };
    let ledger = open(&dir).await.enter_once(&[again, fact(LedgerKind::HoldSet, "d1")]).await.unwrap();
    assert_eq!(ledger.next(), 2);
    assert_eq!(ledger.find(LedgerKind::Deleted, "d1").unwrap().fact, told);
}

#[tokio::test]
async fn an_entry_whose_answer_was_lost_is_there_once() {
    let (dir, store) = fresh().await;
    store.enter_once(&[fact(LedgerKind::HoldSet, "h1")]).await.unwrap();
    for (kind, subject) in [(MishapKind::LostAnswer, "d1"), (MishapKind::Refused, "d2")] {
        let other = open(&dir).await;
        let entered = format!("{subject}-other");
        // Meanwhile another process enters something.
        let meanwhile = Box::pin(async move {
            other.enter_once(&[fact(LedgerKind::Deleted, &entered)]).await.unwrap();
        });
        let table = store.table(&TableName::ledger());
        table.mishap.lock().unwrap().replace(Mishap { kind, meanwhile });
        store.enter_once(&[fact(LedgerKind::Deleted, subject)]).await.unwrap();
    }
    let ledger = store.zone_ledger().await.unwrap();
    let mut subjects: Vec<_> = ledger.entries().iter().map(|entry| entry.fact.subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["d1", "d1-other", "d2", "d2-other", "h1"]);
}

/// Entries are decided one after the other, by however many processes.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_enter_at_once_make_one_chain() {
    let plant = Plant::new().await;
    let mut tasks = Vec::new();
    for process in 0..4 {
        let (root, key) = (plant.root("CN"), plant.key.clone());
        tasks.push(tokio::spawn(async move {
            let store = DeltaStore::open(&root, &zone("CN"), metrics()).await.unwrap().with_receipt_key(key);
            for n in 0..5 {
                store.enter_once(&[fact(LedgerKind::HoldLifted, &format!("{process}-{n}"))]).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(plant.cn.zone_ledger().await.unwrap().next(), 20);
    plant.assert_found(&[]);
}

#[tokio::test]
async fn maintenance_leaves_a_ledger_as_it_is() {
    let (dir, store) = fresh().await;
    for n in 0..4 {
        store.enter_once(&[fact(LedgerKind::HoldLifted, &format!("d{n}"))]).await.unwrap();
    }
    let before = rows_of_ledger(dir.path()).await;
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    let table = TableName::ledger();
    assert!(maintenance.checkpoint(&table, 1).await.unwrap().is_some());
    let at_once = Optimize { sealed_after: std::time::Duration::ZERO, ..Optimize::default() };
    assert_eq!(maintenance.optimize(&table, &at_once).await.unwrap().written.files, 0);
    let at_once = std::time::Duration::ZERO;
    let vacuum = Vacuum { retention: at_once, orphans_after: at_once, ..Vacuum::default() };
    maintenance.vacuum(&table, &vacuum).await.unwrap();
    assert_eq!(rows_of_ledger(dir.path()).await, before);
    assert_eq!(open(&dir).await.enter_once(&[fact(LedgerKind::HoldSet, "h")]).await.unwrap().next(), 5);
}

/// Another program removes all rows from the table, and waits for a vacuum to remove the bytes.
#[tokio::test]
async fn vacuum_keeps_what_somebody_removed_from_a_ledger_as_long_as_it_is_to_be_kept() {
    let plant = with_ledger().await;
    let receipts = plant.files("EU", "receipts");
    assert!(!receipts.is_empty());
    for (zone, table) in [("CN", "ledger"), ("EU", "receipts")] {
        for file in plant.files(zone, table) {
            let day = file.trim_start_matches("created_date=").split('/').next().unwrap().to_owned();
            let remove = serde_json::json!({ "remove": {
                "path": file, "dataChange": true, "deletionTimestamp": 1, "partitionValues": { "created_date": day },
            } });
            plant.commit(zone, table, &[remove]);
        }
    }
    let age = situs_model::Age::Years;
    let vacuum = async |store: &DeltaStore, table: TableName, keep_ledgers: situs_model::Age| {
        let at_once = std::time::Duration::ZERO;
        let settings =
            Vacuum { retention: at_once, orphans_after: at_once, keep_ledgers, ..Vacuum::default() };
        let maintenance = store.begin_maintenance().await.unwrap().unwrap();
        maintenance.vacuum(&table, &settings).await.unwrap()
    };
    // The entries are of March 2026, so a hundred years are not over.
    for (store, table, files) in
        [(&plant.cn, TableName::ledger(), 4), (&plant.eu, TableName::receipts(), receipts.len() as u64)]
    {
        let vacuumed = vacuum(store, table.clone(), age(100)).await;
        assert_eq!((vacuumed.replaced.files, vacuumed.protected), (0, files), "{table}");
        let vacuumed = vacuum(store, table.clone(), situs_model::Age::Days(1)).await;
        assert_eq!((vacuumed.replaced.files, vacuumed.protected), (files, 0), "{table}");
    }
}

/// A plant whose zone CN has a ledger of four entries in four files.
async fn with_ledger() -> Plant {
    let mut plant = Plant::new().await;
    plant.flush("f1", 0, 0, 10).await;
    let cn = DeltaStore::open(&plant.root("CN"), &zone("CN"), metrics()).await.unwrap();
    plant.cn = cn.with_receipt_key(plant.key.clone());
    for n in 0..4 {
        plant.cn.enter_once(&[fact(LedgerKind::HoldLifted, &format!("d{n}"))]).await.unwrap();
    }
    plant.assert_found(&[]);
    plant
}

fn number_of(batch: &RecordBatch) -> i64 {
    batch.column_by_name("number").unwrap().as_primitive::<Int64Type>().value(0)
}

/// Signs an entry anew, or not, so that its hash is that of its content.
fn rehashed(batch: &RecordBatch) -> RecordBatch {
    let hash = Canonical::new(Chained::Ledger, batch).unwrap().hash(0);
    with_text(batch, chain::HASH, 0, Some(&hash))
}

#[tokio::test]
async fn a_changed_entry_is_found() {
    let plant = with_ledger().await;
    plant.rewrite("CN", "ledger", |batch| match number_of(&batch) {
        1 => with_text(&batch, "body", 0, Some(r#"{"rows":2}"#)),
        _ => batch,
    });
    plant.assert_found(&[(Kind::Ledgers, "CN/ledger: entry 1: its hash is not that of its content")]);
    // Nothing is decided on it either.
    let refused = plant.cn.zone_ledger().await.unwrap_err();
    assert!(refused.message.starts_with("entry 1 of the ledger is not what was hashed"), "{refused}");

    // Somebody who knows how it is hashed, and has no key.
    let plant = with_ledger().await;
    plant.rewrite("CN", "ledger", |batch| match number_of(&batch) {
        1 => rehashed(&with_text(&batch, "said_by", 0, Some("somebody else"))),
        _ => batch,
    });
    plant.assert_found(&[
        (Kind::Signatures, "CN/ledger: entry 1: its signature is not that of key"),
        (Kind::Ledgers, "CN/ledger: entry 2 does not continue the entry before it"),
    ]);
    let refused = plant.cn.zone_ledger().await.unwrap_err();
    assert!(
        refused.message.starts_with("entry 1 of the ledger has a signature that is not that"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_removed_entry_is_found() {
    for (number, expected) in [
        (0, "CN/ledger: entry 0 is missing"),
        (2, "CN/ledger: entry 2 is missing"),
        (3, "CN/ledger: the log counts 4 entries, but there is none from 3 on"),
    ] {
        let plant = with_ledger().await;
        plant.rewrite("CN", "ledger", |batch| {
            let keep = number_of(&batch) != number;
            filter_record_batch(&batch, &BooleanArray::from(vec![keep; batch.num_rows()])).unwrap()
        });
        plant.assert_found(&[(Kind::Ledgers, expected)]);
        // Nothing is decided on it, and nothing built upon it.
        if number == 3 {
            let refused = plant.cn.zone_ledger().await.unwrap_err();
            let expected = "the log counts 4 entries of the ledger, and there are 3";
            assert!(refused.message.starts_with(expected), "{refused}");
        }
        let refused = plant.cn.enter_once(&[fact(LedgerKind::HoldLifted, "d9")]).await.unwrap_err();
        assert_eq!(refused.advice, Advice::Stop, "{refused}");
    }
}

#[tokio::test]
async fn an_added_entry_is_found() {
    let plant = with_ledger().await;
    // Continues the newest, without the key.
    let unsigned = DeltaStore::open(&plant.root("CN"), &zone("CN"), metrics()).await.unwrap();
    unsigned.enter_once(&[fact(LedgerKind::HoldLifted, "forged")]).await.unwrap();
    plant.assert_found(&[(Kind::Signatures, "CN/ledger: entry 4: it is not signed")]);

    // Twice the same, and one that the log does not count.
    let plant = with_ledger().await;
    plant.rewrite("CN", "ledger", |batch| match number_of(&batch) {
        3 => concat_batches(batch.schema_ref(), [&batch, &batch]).unwrap(),
        _ => batch,
    });
    plant.assert_found(&[(Kind::Ledgers, "CN/ledger: entry 3: it is there twice")]);
}

/// Another key, whose public half lies in no archive, or is not pinned.
#[tokio::test]
async fn an_entry_of_an_unknown_key_is_found() {
    let mut plant = with_ledger().await;
    plant.pinned = vec![plant.key.public().clone()];
    plant.assert_found(&[]);
    let other = Arc::new(ReceiptKey::create(&plant.dir.path().join("other.pem")).unwrap());
    let forger = DeltaStore::open(&plant.root("CN"), &zone("CN"), metrics()).await.unwrap();
    let forger = forger.with_receipt_key(other);
    forger.enter_once(&[fact(LedgerKind::HoldLifted, "forged")]).await.unwrap();
    plant.assert_found(&[(Kind::Signatures, "CN/ledger: entry 4: it is signed with key")]);
}
