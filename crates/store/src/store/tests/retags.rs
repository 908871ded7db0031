//! What `verify` says of re-taggings, and of tags that somebody changed without one.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::StringArray;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use situs_model::LedgerFact;

use super::super::*;
use super::support::*;
use super::verify::Plant;
use crate::maintain::Vacuum;
use crate::maintain::retag::tests::{ByRule, all, mixed, policy};
use crate::maintain::retag::{RetagBody, RetagRequest};
use crate::reader::StoreReader;
use crate::store::retag::{Retag, Retagged};
use crate::verify::Kind;

fn request(plant: &Plant) -> RetagRequest {
    let home = StoreReader::open(&plant.root("EU")).unwrap();
    RetagRequest {
        table: "cnc_state".parse().unwrap(),
        pipeline: "cnc-state".to_owned(),
        policy: policy(),
        schema: ContentVersion::of(b"schema"),
        definition: ContentVersion::of(b"definition"),
        by: "somebody".to_owned(),
        reason: "a new law".to_owned(),
        settled: home.settled(&"kafka".parse().unwrap()).unwrap(),
        holds: Vec::new(),
        device_column: "device".to_owned(),
    }
}

async fn retag(plant: &Plant) -> Retag {
    let maintenance = plant.cn.begin_maintenance().await.unwrap().unwrap();
    let done = plant.cn.retag(&maintenance, &request(plant), Box::new(ByRule(mixed)), false).await.unwrap();
    let Retagged::Done(done) = done else { panic!("{done:?}") };
    *done
}

/// Commits without telling the ledger, as a process does that dies; the body of the entry that is missing.
async fn cut_off(plant: &Plant) -> LedgerFact {
    let maintenance = plant.cn.begin_maintenance().await.unwrap().unwrap();
    let request = request(plant);
    let (prepared, _) = maintenance.prepare_retag(&request, Box::new(ByRule(mixed)), true).await.unwrap();
    maintenance.commit_retag(&request, prepared).await.unwrap().unwrap().fact().unwrap()
}

/// The figure of a check.
fn figure(plant: &Plant, kind: Kind, name: &str) -> u64 {
    let report = plant.verify();
    let check = report.checks.iter().find(|check| check.check == kind).unwrap();
    check.figures.get(name).copied().unwrap_or(0)
}

/// Puts a file with another text in one column of every row in the place of a file, as any tool could.
fn replace(plant: &Plant, file: &str, column: &str, value: &str, data_change: bool) {
    let folder = plant.root("CN").join("cnc_state");
    let opened = fs::File::open(folder.join(file)).unwrap();
    let batches: Vec<RecordBatch> = crate::scan::columns(opened, &[]).unwrap().map(Result::unwrap).collect();
    let change = |batch: &RecordBatch| {
        let mut columns = batch.columns().to_vec();
        let words: StringArray = (0..batch.num_rows()).map(|_| Some(value)).collect();
        columns[batch.schema_ref().index_of(column).unwrap()] = Arc::new(words);
        RecordBatch::try_new(batch.schema(), columns).unwrap()
    };
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    let mut rows = 0;
    for batch in &batches {
        rows += batch.num_rows();
        writer.write(&change(batch)).unwrap();
    }
    let bytes = writer.into_inner().unwrap();
    let new = file.replace(".parquet", "-x.parquet");
    fs::write(folder.join(&new), &bytes).unwrap();
    let stats = json!({ "numRecords": rows }).to_string();
    let day = file.split(['=', '/']).nth(1).unwrap();
    plant.commit(
        "CN",
        "cnc_state",
        &[
            json!({ "remove": { "path": file, "dataChange": data_change, "deletionTimestamp": 0 } }),
            json!({ "add": { "path": new, "size": bytes.len(), "dataChange": data_change, "stats": stats,
                             "modificationTime": 0, "partitionValues": { "event_date": day } } }),
        ],
    );
}

#[tokio::test]
async fn rows_that_were_tagged_again_are_accounted_for() {
    let plant = Plant::filled().await;
    plant.assert_found(&[]);
    let retag = retag(&plant).await;
    plant.assert_found(&[]);
    assert_eq!(figure(&plant, Kind::Retags, "re-taggings"), 1);
    assert_eq!(figure(&plant, Kind::Retags, "rows tagged again"), retag.body.found.retagged);
    assert_eq!(figure(&plant, Kind::Retags, "counts checked afterwards"), 1);
    assert_eq!(figure(&plant, Kind::Retags, "counts checked before"), 1);
    assert_eq!(figure(&plant, Kind::Retags, "tables whose policies were counted"), 1);
    assert!(figure(&plant, Kind::Files, "removed by re-taggings") > 0);
    assert!(figure(&plant, Kind::Files, "written by re-taggings") > 0);
    assert_eq!(figure(&plant, Kind::Counts, "receipts not compared"), 0);

    // Further flushes, a compaction and a vacuum change nothing of it, nor does another re-tagging.
    plant.flush("f5", 0, 31, 40).await;
    let maintenance = plant.cn.begin_maintenance().await.unwrap().unwrap();
    let table: TableName = "cnc_state".parse().unwrap();
    maintenance.optimize(&table, &super::compaction::at_once()).await.unwrap();
    maintenance.checkpoint(&table, 1).await.unwrap();
    plant.assert_found(&[]);
    let at_once = Vacuum { retention: std::time::Duration::ZERO, ..Vacuum::default() };
    maintenance.vacuum(&table, &at_once).await.unwrap();
    plant.assert_found(&[]);
    assert_eq!(figure(&plant, Kind::Retags, "counts checked before"), 0, "the files are gone");
    let done = plant.cn.retag(&maintenance, &request(&plant), Box::new(ByRule(all)), false).await.unwrap();
    assert!(done.found().retagged > 0);
    plant.assert_found(&[]);
    assert_eq!(figure(&plant, Kind::Retags, "re-taggings"), 2);
    let reader = StoreReader::open(&plant.root("CN")).unwrap();
    let told = reader.retags().await.unwrap();
    assert_eq!((told.len(), told[0].by.as_str(), &told[0].policy), (2, "somebody", &policy()));
}

#[tokio::test]
async fn a_retagging_that_no_ledger_tells_of_is_found_until_it_is_finished() {
    let plant = Plant::filled().await;
    cut_off(&plant).await;
    plant.assert_found(&[(Kind::Retags, "of which the ledger does not tell; `situs store retag --finish`")]);
    let maintenance = plant.cn.begin_maintenance().await.unwrap().unwrap();
    assert_eq!(plant.cn.finish_retags(&maintenance).await.unwrap().len(), 1);
    plant.assert_found(&[]);
}

#[tokio::test]
async fn tags_that_somebody_changed_are_found() {
    // By a commit that says that it changes data, as every engine's does, whatever file it was.
    let plant = Plant::filled().await;
    let file = plant.files("CN", "cnc_state").remove(0);
    replace(&plant, &file, "_class", "core", true);
    plant.assert_found(&[(Kind::Files, "was removed by a commit that changes the table's data")]);
    let plant = Plant::filled().await;
    let retag_of = retag(&plant).await;
    replace(&plant, &retag_of.body.written[0].path, "_class", "general", true);
    plant.assert_found(&[(Kind::Files, "of which no ledger tells")]);

    // By one that looks like a compaction: with a policy that nobody told of.
    let plant = Plant::filled().await;
    let file = plant.files("CN", "cnc_state").remove(0);
    replace(&plant, &file, "_policy", "0123456789abcdef", false);
    plant.assert_found(&[(Kind::Retags, "which neither their receipt nor a re-tagging says")]);
    // With one that a re-tagging gave to other rows.
    let plant = Plant::filled().await;
    let retag_of = retag(&plant).await;
    replace(&plant, &retag_of.body.written[0].path, "_policy", policy().as_str(), false);
    plant.assert_found(&[(Kind::Retags, "more rows have policy")]);
}

/// The file of before lies there until vacuum takes it, and a commit that claims to compact could take it back.
#[tokio::test]
async fn a_file_that_was_retagged_away_may_not_come_back() {
    let plant = Plant::filled().await;
    let retag_of = retag(&plant).await;
    let (removed, written) = (&retag_of.body.removed[0], &retag_of.body.written[0]);
    let folder = plant.root("CN").join("cnc_state");
    let size = fs::metadata(folder.join(&removed.path)).unwrap().len();
    let day = removed.path.split(['=', '/']).nth(1).unwrap();
    let stats = json!({ "numRecords": removed.rows }).to_string();
    plant.commit(
        "CN",
        "cnc_state",
        &[
            json!({ "remove": { "path": written.path, "dataChange": false, "deletionTimestamp": 0 } }),
            json!({ "add": { "path": removed.path, "size": size, "dataChange": false, "stats": stats,
                             "modificationTime": 0, "partitionValues": { "event_date": day } } }),
        ],
    );
    let found = plant.verify();
    assert!(
        found
            .to_string()
            .contains("a re-tagging says that it removed this file, and it is part of the table")
    );
    // Whoever asks the table itself sees it, too.
    let reader = StoreReader::open(&plant.root("CN")).unwrap();
    let table: TableName = "cnc_state".parse().unwrap();
    assert!(reader.retagged_since(&table, retag_of.body.version - 1).await.unwrap());
    assert!(!reader.retagged_since(&table, retag_of.body.version).await.unwrap());
}

/// An entry may say what it likes: it is compared with the log, with itself and with the rows.
#[tokio::test]
async fn an_entry_with_wrong_counts_is_found() {
    type Change = fn(&mut RetagBody);
    let cases: [(Change, &str); 6] = [
        (|body| body.found.retagged += 1, "another number of rows have its policy"),
        (|body| body.found.rows += 1, "its counts are not of all rows of its files"),
        (|body| body.written[0].rows += 1, "its counts are not of all rows of its files"),
        (|body| body.version += 1, "tells otherwise of re-tagging"),
        (|body| swap(&mut body.found.after.0, "_class", "general", "core"), "counts other tags afterwards"),
        (|body| swap(&mut body.found.before.0, "_markets", "EU", "CN"), "counts other tags before"),
    ];
    for (change, what) in cases {
        let plant = Plant::filled().await;
        let mut fact = cut_off(&plant).await;
        let mut body: RetagBody = serde_json::from_str(&fact.body).unwrap();
        change(&mut body);
        fact.body = serde_json::to_value(&body).unwrap().to_string();
        plant.cn.enter_once(&[fact]).await.unwrap();
        let report = plant.verify();
        let check = report.checks.iter().find(|check| check.check == Kind::Retags).unwrap();
        assert!(format!("{check:?}").contains(what), "{what}: {check:#?}");
        assert!(format!("{check:?}").contains("tells otherwise of re-tagging"), "{check:#?}");
    }
    // An entry of a re-tagging that never was.
    let plant = Plant::filled().await;
    let retag = retag(&plant).await;
    let fact = LedgerFact {
        kind: situs_model::LedgerKind::Retagged,
        subject: "another".to_owned(),
        policy: policy(),
        said_by: "somebody".to_owned(),
        at_us: MARCH,
        body: serde_json::to_value(&retag.body).unwrap().to_string(),
    };
    plant.cn.enter_once(&[fact]).await.unwrap();
    let report = plant.verify();
    let check = report.checks.iter().find(|check| check.check == Kind::Retags).unwrap();
    assert!(format!("{check:?}").contains("that version is none"), "{check:#?}");
}

/// Lets a row count for another value.
fn swap(counts: &mut BTreeMap<String, BTreeMap<String, u64>>, tag: &str, from: &str, to: &str) {
    let of_tag = counts.get_mut(tag).unwrap();
    *of_tag.get_mut(from).unwrap() -= 1;
    *of_tag.entry(to.to_owned()).or_default() += 1;
}

/// What the log says of itself names nobody's payload.
#[tokio::test]
async fn the_commit_names_itself_and_carries_the_entry() {
    let plant = Plant::filled().await;
    let retag = retag(&plant).await;
    let folder = plant.root("CN").join("cnc_state");
    let text = fs::read_to_string(names::log_entry(&folder, retag.body.version)).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let info = &lines[0]["commitInfo"];
    assert_eq!(
        (&info["operation"], &info["situs.retag"]["id"]),
        (&"UPDATE".into(), &retag.id.as_str().into())
    );
    assert!(info["situs.retag"]["signature"].is_string());
    assert!(lines.iter().all(|line| line["txn"].is_null()), "offsets stay where they are");
    let adds: Vec<&Value> = lines.iter().filter(|line| line["add"].is_object()).collect();
    assert_eq!(adds.len(), retag.body.written.len());
    assert!(
        adds.iter()
            .all(|add| add["add"]["dataChange"] == true && add["add"]["tags"]["situs.class"] == "core")
    );
    let entry = StoreReader::open(&plant.root("CN")).unwrap().zone_ledger().await.unwrap();
    assert_eq!(Some(entry.entries()[0].fact.body.as_str()), info["situs.retag"]["body"].as_str());
    let read = read(&plant.root("CN"), "cnc_state").await;
    let rows: usize = read.iter().map(|(_, batch)| batch.num_rows()).sum();
    assert_eq!(rows, 24, "two of each of the zone's messages");
}
