//! What `verify` says of deletions, and of what somebody did to hide one or to undo it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use situs_model::{LedgerFact, LedgerKind};

use super::super::*;
use super::support::*;
use super::verify::Plant;
use crate::maintain::Vacuum;
use crate::maintain::delete::{Criterion, Decided, DeletionBody, DeletionRequest, Hold, Plan};
use crate::reader::StoreReader;
use crate::verify::Kind;

fn offsets(from: i64, to: i64) -> Criterion {
    Criterion {
        topic: Some("cnc.state".to_owned()),
        partition: Some(0),
        from_offset: Some(from),
        to_offset: Some(to),
        ..Criterion::default()
    }
}

fn request(plant: &Plant, store: &DeltaStore, criterion: Criterion) -> DeletionRequest {
    let home = StoreReader::open(&plant.root("EU")).unwrap();
    let settled = home.settled(&"kafka".parse().unwrap()).unwrap();
    assert_eq!(settled[&("cnc.state".to_owned(), 0)], 31);
    DeletionRequest {
        id: format!("0199d7a0-0000-7000-8000-{:012x}", store.identity().zone.as_str().len() + settled.len()),
        criterion,
        by: "somebody".to_owned(),
        reason: "asked for".to_owned(),
        policy: ContentVersion::of(b"policy").to_string(),
        settled,
        device_columns: BTreeMap::new(),
        holds: Vec::new(),
        floors: Vec::new(),
        despite_minimum: None,
        leave_held: false,
        ledgers_keep: "184d".parse().unwrap(),
    }
}

async fn begin(plant: &Plant, store: &DeltaStore, criterion: Criterion) -> (Maintenance, Plan) {
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    let decided = maintenance.decide_deletion(&request(plant, store, criterion), true).await.unwrap();
    let Decided::Planned(plan) = decided else { panic!("{decided:?}") };
    (maintenance, *plan)
}

async fn delete(plant: &Plant, store: &DeltaStore, criterion: Criterion) -> DeletionBody {
    let (maintenance, plan) = begin(plant, store, criterion).await;
    store.finish_deletion(&maintenance, &plan).await.unwrap()
}

/// The figure of a check.
fn figure(plant: &Plant, kind: Kind, name: &str) -> u64 {
    let report = plant.verify();
    let check = report.checks.iter().find(|check| check.check == kind).unwrap();
    check.figures.get(name).copied().unwrap_or(0)
}

/// A hold on a few rows.
fn claim() -> Hold {
    Hold {
        id: "case-7".to_owned(),
        criterion: offsets(5, 8),
        by: "counsel".to_owned(),
        reason: "a claim".to_owned(),
        at_us: MARCH,
    }
}

#[tokio::test]
async fn rows_that_a_deletion_names_are_accounted_for() {
    let plant = Plant::filled().await;
    plant.assert_found(&[]);
    // Of offsets 3 to 20: in CN 3, 6, 9, 12, 15 and 18, two rows each.
    let body = delete(&plant, &plant.cn, offsets(3, 20)).await;
    assert_eq!((body.deleted(), body.coordinates.rows), (12, 12));
    plant.assert_found(&[]);
    assert_eq!(figure(&plant, Kind::Deletions, "deletions"), 1);
    assert_eq!(figure(&plant, Kind::Deletions, "rows and messages deleted"), 12);
    assert!(figure(&plant, Kind::Files, "removed by deletions") > 0);
    assert!(figure(&plant, Kind::Files, "written by deletions") > 0);
    assert_eq!(figure(&plant, Kind::Counts, "receipts not compared"), 0);

    // The home store's deletion takes the zone's rows and quarantine's messages.
    let body = delete(&plant, &plant.eu, offsets(3, 20)).await;
    let of = |name: &str| body.tables.iter().find(|table| table.table == name).unwrap().deleted();
    assert_eq!((of("cnc_state"), of("quarantine")), (12, 5));
    plant.assert_found(&[]);

    // Compaction and vacuum change nothing of it, nor do further flushes.
    plant.flush("f5", 0, 31, 40).await;
    for store in [&plant.cn, &plant.eu] {
        let maintenance = store.begin_maintenance().await.unwrap().unwrap();
        for table in maintenance.tables().unwrap() {
            maintenance.optimize(&table, &super::compaction::at_once()).await.unwrap();
            // A checkpoint tells of what was removed as the entries do, or it does not get its name.
            maintenance.checkpoint(&table, 1).await.unwrap();
        }
    }
    plant.assert_found(&[]);
    for store in [&plant.cn, &plant.eu] {
        let maintenance = store.begin_maintenance().await.unwrap().unwrap();
        let at_once = Vacuum { retention: std::time::Duration::ZERO, ..Vacuum::default() };
        let erased = store.erase_deleted(&maintenance, &at_once).await.unwrap();
        assert_eq!(erased.len(), 1);
        assert!(!erased[0].1.removed.is_empty() && erased[0].1.left.is_empty(), "{erased:?}");
        assert!(store.erase_deleted(&maintenance, &at_once).await.unwrap().is_empty(), "it is told once");
    }
    plant.assert_found(&[]);
    assert_eq!(figure(&plant, Kind::Deletions, "of which the bytes are gone"), 2);

    let reader = StoreReader::open(&plant.root("CN")).unwrap();
    let record = "cnc.state/0/6".parse().unwrap();
    let found = reader.find_deleted(&record).await.unwrap();
    assert_eq!((found.len(), &found[0].rows[..], found[0].by.as_str()), (1, &[0, 1][..], "somebody"));
    assert!(found[0].bytes_gone_us.is_some());
    assert!(reader.find_deleted(&"cnc.state/0/21".parse().unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_deletion_that_is_not_finished_is_found_and_nothing_else() {
    let plant = Plant::filled().await;
    let (maintenance, plan) = begin(&plant, &plant.cn, offsets(3, 20)).await;
    plant.assert_found(&[(Kind::Deletions, "was begun and is not finished")]);
    maintenance.carry_out_deletion(&plan).await.unwrap();
    plant.assert_found(&[(Kind::Deletions, "was begun and is not finished")]);
    plant.cn.finish_deletion(&maintenance, &plan).await.unwrap();
    plant.assert_found(&[]);
}

#[tokio::test]
async fn changed_coordinates_are_found() {
    let plant = Plant::filled().await;
    let body = delete(&plant, &plant.cn, offsets(3, 20)).await;
    let path = plant.root("CN").join(&body.coordinates.path);
    let bytes = fs::read(&path).unwrap();
    let mut changed = bytes.clone();
    changed[10] ^= 1;
    fs::write(&path, changed).unwrap();
    plant.assert_found(&[(Kind::Deletions, "its SHA-256 is not the one that was noted")]);
    let reader = StoreReader::open(&plant.root("CN")).unwrap();
    assert!(reader.find_deleted(&"cnc.state/0/6".parse().unwrap()).await.is_err());
    fs::remove_file(&path).unwrap();
    plant.assert_found(&[(Kind::Deletions, "is missing")]);
    fs::write(&path, bytes).unwrap();
    plant.assert_found(&[]);
}

/// Somebody puts a file with deleted rows back into the table.
#[tokio::test]
async fn a_deleted_row_that_is_there_again_is_found() {
    let plant = Plant::filled().await;
    let before = plant.files("CN", "cnc_state");
    let adds: Vec<_> = before.iter().map(|file| plant.add("CN", "cnc_state", file)).collect();
    let body = delete(&plant, &plant.cn, offsets(0, 10)).await;
    // Of the flush of offsets 0 to 9 nothing is left, so its file comes back and no other row is double.
    let [gone] = &body.tables[0].removed[..] else { panic!("{body:?}") };
    let add = adds.iter().find(|add| add["add"]["path"] == gone.path.as_str()).unwrap();
    plant.commit("CN", "cnc_state", std::slice::from_ref(add));
    plant.assert_found(&[(Kind::Deletions, "8 rows are there of which a deletion says that they are gone")]);
}

/// Rows are removed with no deletion that says so.
#[tokio::test]
async fn rows_that_no_deletion_names_are_missing() {
    let plant = Plant::filled().await;
    let (maintenance, plan) = begin(&plant, &plant.cn, offsets(3, 20)).await;
    maintenance.carry_out_deletion(&plan).await.unwrap();
    // The traces of the deletion are removed too.
    fs::remove_dir_all(crate::names::deletions(&plant.root("CN"))).unwrap();
    let report = plant.verify();
    assert!(!report.holds());
    let of = |kind: Kind| report.checks.iter().find(|check| check.check == kind).unwrap().violations;
    assert!(of(Kind::Files) > 0, "{report:#?}");
}

#[tokio::test]
async fn receipts_and_ledgers_are_not_deleted() {
    let plant = Plant::filled().await;
    let maintenance = plant.eu.begin_maintenance().await.unwrap().unwrap();
    // Without a table, tables of pipelines and quarantine are meant.
    let everything = request(&plant, &plant.eu, Criterion::default());
    let Decided::Planned(plan) = maintenance.decide_deletion(&everything, false).await.unwrap() else {
        panic!()
    };
    let tables: Vec<&str> = plan.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(tables, ["cnc_state", "quarantine"]);
    for name in ["receipts", "releases", "ledger"] {
        let criterion = Criterion { tables: BTreeSet::from([name.parse().unwrap()]), ..Criterion::default() };
        let refused =
            maintenance.decide_deletion(&request(&plant, &plant.eu, criterion), true).await.unwrap_err();
        assert!(refused.message.contains("is kept for at least 184d"), "{refused}");
    }
    plant.assert_found(&[]);
}

#[tokio::test]
async fn holds_stand_in_the_ledger_until_they_are_lifted() {
    let plant = Plant::filled().await;
    let policy = ContentVersion::of(b"policy");
    let hold = claim();
    plant.cn.set_hold(&hold, &policy).await.unwrap();
    assert_eq!(plant.cn.holds().await.unwrap(), std::slice::from_ref(&hold));
    let again = plant.cn.set_hold(&hold, &policy).await.unwrap_err();
    assert!(again.message.contains("there was a hold `case-7` before"), "{again}");
    assert!(plant.cn.lift_hold("case-8", "counsel", "x", &policy).await.is_err());

    let asked = DeletionRequest { holds: vec![hold], ..request(&plant, &plant.cn, offsets(3, 20)) };
    let maintenance = plant.cn.begin_maintenance().await.unwrap().unwrap();
    let Decided::Refused(refusals) = maintenance.decide_deletion(&asked, true).await.unwrap() else {
        panic!()
    };
    assert_eq!(refusals.len(), 1);
    drop(maintenance);
    plant.cn.lift_hold("case-7", "counsel", "settled", &policy).await.unwrap();
    assert!(plant.cn.holds().await.unwrap().is_empty());
    plant.assert_found(&[]);

    // A hold comes too late for a deletion that was decided before.
    let (maintenance, plan) = begin(&plant, &plant.cn, offsets(3, 20)).await;
    let late = Hold { id: "case-9".to_owned(), ..asked.holds[0].clone() };
    let refused = plant.cn.set_hold(&late, &policy).await.unwrap_err();
    assert!(refused.message.contains("not finished"), "{refused}");
    plant.cn.finish_deletion(&maintenance, &plan).await.unwrap();
    plant.cn.set_hold(&late, &policy).await.unwrap();
    plant.assert_found(&[]);
}

/// A hold is set after a deletion has read the ledger and before there is its plan.
#[tokio::test]
async fn a_hold_that_is_set_while_a_deletion_is_decided_stands_in_its_way() {
    let plant = Plant::filled().await;
    let policy = ContentVersion::of(b"policy");
    let hold = claim();
    plant.cn.set_hold(&hold, &policy).await.unwrap();
    let (maintenance, plan) = begin(&plant, &plant.cn, offsets(3, 20)).await;
    let refused = plant.cn.finish_deletion(&maintenance, &plan).await.unwrap_err();
    assert!(refused.message.contains("a hold was set"), "{refused}");
    assert!(plant.cn.deletions_under_way().unwrap().is_empty());
    plant.assert_found(&[]);
}

/// Somebody who may write the store, but has no key, enters that a hold is lifted.
#[tokio::test]
async fn an_entry_that_is_not_signed_lifts_no_hold_where_entries_are_signed() {
    let plant = Plant::filled().await;
    let policy = ContentVersion::of(b"policy");
    let hold = claim();
    plant.cn.set_hold(&hold, &policy).await.unwrap();
    let forger = DeltaStore::open(&plant.root("CN"), &zone("CN"), metrics()).await.unwrap();
    forger.lift_hold("case-7", "counsel", "settled", &policy).await.unwrap();
    assert_eq!(plant.cn.holds().await.unwrap(), std::slice::from_ref(&hold));
    let reader = StoreReader::open(&plant.root("CN")).unwrap();
    assert_eq!(reader.holds(true).await.unwrap().len(), 1);
    plant.cn.lift_hold("case-7", "counsel", "settled", &policy).await.unwrap();
    assert!(plant.cn.holds().await.unwrap().is_empty());
}

/// An entry may say what it likes; it is compared with its coordinates.
#[tokio::test]
async fn what_an_entry_says_is_compared_with_its_coordinates() {
    type Change = fn(&mut DeletionBody);
    let cases: [(Change, &str); 4] = [
        (|body| body.criterion = offsets(3, 10), "that the deletion's criterion does not mean"),
        (|body| body.tables[0].partitions[0].after = 0, "went and 0 are left"),
        (|body| body.tables[0].partitions[0].partition = 1, "its coordinates name 0"),
        (|body| body.tables[0].partitions.clear(), "says 0 rows of table cnc_state"),
    ];
    for (change, what) in cases {
        let plant = Plant::filled().await;
        let (maintenance, plan) = begin(&plant, &plant.cn, offsets(3, 20)).await;
        let mut body = maintenance.carry_out_deletion(&plan).await.unwrap();
        change(&mut body);
        let fact = LedgerFact {
            kind: LedgerKind::Deleted,
            subject: plan.id.clone(),
            policy: ContentVersion::of(b"policy"),
            said_by: "somebody".to_owned(),
            at_us: MARCH,
            body: serde_json::to_value(&body).unwrap().to_string(),
        };
        plant.cn.enter_once(&[fact]).await.unwrap();
        maintenance.end_deletion(&plan.id).await.unwrap();
        let report = plant.verify();
        let check = report.checks.iter().find(|check| check.check == Kind::Deletions).unwrap();
        assert!(check.violations > 0, "{what}: {report:#?}");
        assert!(format!("{check:?}").contains(what), "{what}: {check:#?}");
    }
}
