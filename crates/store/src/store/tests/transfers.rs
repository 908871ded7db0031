//! Rows of a transfer: taken in once, and none that must not go.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use situs_model::transfer::{
    Cargo, Measured, Route, Standing, Transfer, TransferBasis, TransferPermit, TransferUse, Voice, decide,
};
use situs_model::{Class, StoreIdentity, TableName, Training};

use super::super::*;
use super::support::*;
use super::verify::Plant;
use crate::reader::StoreReader;
use crate::received::{Arrival, transferred_columns};
use crate::table::{Mishap, MishapKind};

fn definition(ceiling: Class, usage: TransferUse) -> Transfer {
    Transfer {
        id: "wear".parse().unwrap(),
        from: zone("CN"),
        to: zone("EU"),
        cargo: Cargo::Rows {
            pipeline: "cnc-state".parse().unwrap(),
            columns: vec!["x".to_owned(), "samples".to_owned()],
            filter: None,
            max_rows: 1000,
        },
        ceiling,
        purpose: "p".to_owned(),
        usage,
        recipient: "r".to_owned(),
        basis: TransferBasis::Contract,
        reference: Some("no. 1".to_owned()),
        until: Some("2099-12-31".parse().unwrap()),
    }
}

fn permit(plant: &Plant, transfer: &Transfer, rows: u64) -> TransferPermit {
    permit_between(transfer, plant.cn.identity(), plant.eu.identity(), rows)
}

fn permit_between(
    transfer: &Transfer,
    from: &StoreIdentity,
    to: &StoreIdentity,
    rows: u64,
) -> TransferPermit {
    let voice = |by: &str| Some(Voice { by: by.to_owned(), definition: transfer.definition() });
    let standing = Standing { requested: voice("a"), approved: voice("b") };
    let today = "2026-03-01".parse().unwrap();
    decide("wear.1", transfer, Route { from, to }, &standing, today, &Measured::Rows(rows)).unwrap()
}

/// The rows of the source as they are read for a transfer: these columns and those of Situs.
async fn source_rows(plant: &Plant, columns: &[&str]) -> Vec<RecordBatch> {
    let reader = StoreReader::open(&plant.root("CN")).unwrap();
    let table: TableName = "cnc_state".parse().unwrap();
    let snapshot = reader.snapshot(&table).await.unwrap();
    let own = transferred_columns();
    let names = columns.iter().copied().chain(own.iter().map(|field| field.name().as_str()));
    let fields = names.filter_map(|name| snapshot.schema.field_with_name(name).ok().cloned()).map(Arc::new);
    reader.rows(&table, &snapshot, fields.collect()).map(Result::unwrap).collect()
}

fn with_text(batch: &RecordBatch, name: &str, text: &str) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let texts = StringArray::from(vec![text; batch.num_rows()]);
    columns[batch.schema_ref().index_of(name).unwrap()] = Arc::new(texts);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

async fn filled() -> (Plant, Vec<RecordBatch>, u64) {
    let plant = Plant::filled().await;
    let rows = source_rows(&plant, &["x", "samples"]).await;
    let count = rows.iter().map(|batch| batch.num_rows() as u64).sum();
    (plant, rows, count)
}

#[tokio::test]
async fn rows_of_a_transfer_arrive_once_with_all_their_tags() {
    let (plant, rows, count) = filled().await;
    assert!(count > 20);
    let permit = permit(&plant, &definition(Class::General, TransferUse::Operation), count);
    let receive = async |store: &DeltaStore| {
        let mut receiving = store.receiving(&permit).unwrap();
        rows.iter().for_each(|batch| receiving.add(batch).unwrap());
        store.receive(receiving, &facts("f"), 7).await
    };
    let table = TableName::received(&"cnc-state".parse().unwrap());
    let reader = StoreReader::open(&plant.root("EU")).unwrap();
    assert_eq!(reader.arrived(&table, "wear.1").await.unwrap(), None);

    // The answer is lost: the rows are there, and found.
    let mishap = Mishap { kind: MishapKind::LostAnswer, meanwhile: Box::pin(async {}) };
    plant.eu.table(&table).mishap.lock().unwrap().replace(mishap);
    assert_eq!(receive(&plant.eu).await.unwrap(), Arrival::Now);
    // Another process, or this one after a crash.
    let other = DeltaStore::open(&plant.root("EU"), &zone("EU"), metrics()).await.unwrap();
    assert_eq!(receive(&other).await.unwrap(), Arrival::Before);
    assert_eq!(receive(&plant.eu).await.unwrap(), Arrival::Before);

    let arrived = reader.arrived(&table, "wear.1").await.unwrap().unwrap();
    assert_eq!((arrived.rows(), arrived.source_version), (count, 7));
    assert_eq!(arrived.classes, [(Class::General, count)].into());
    assert_eq!(arrived.definition, permit.transfer().definition());
    assert_eq!(reader.arrived(&table, "wear.2").await.unwrap(), None);
    assert_eq!(
        parquet_files(&plant.root("EU").join(table.as_str())),
        arrived.files.len(),
        "nothing was left behind"
    );

    // Column by column what the source has, lists too.
    let there = read(&plant.root("EU"), table.as_str()).await;
    let texts = |batches: Vec<RecordBatch>, name: &str| -> Vec<String> {
        let each = |batch: &RecordBatch| {
            let column = batch.column_by_name(name).unwrap().clone();
            let plain = match column.data_type() {
                DataType::Dictionary(_, _) => {
                    let words = column.as_any_dictionary();
                    arrow_select::take::take(words.values(), words.keys(), None).unwrap()
                }
                _ => column,
            };
            (0..plain.len()).map(|row| format!("{:?}", plain.slice(row, 1))).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = batches.iter().flat_map(each).collect();
        all.sort();
        all
    };
    for name in ["x", "samples", "_offset", "_row", "_zone", "_rule", "_training", "_markets", "event_time"] {
        let batches = there.iter().map(|(_, batch)| batch.clone()).collect();
        let (found, expected) = (texts(batches, name), texts(rows.clone(), name));
        assert_eq!(found, expected, "{name}");
    }
}

/// The last guard, whatever whoever decides and reads may have overlooked.
#[tokio::test]
async fn rows_that_must_not_go_are_refused_by_the_store_too() {
    let (plant, rows, count) = filled().await;
    let general = definition(Class::General, TransferUse::Operation);
    let refused = |transfer: &Transfer, batch: &RecordBatch, rows: u64| {
        let mut receiving = plant.eu.receiving(&permit(&plant, transfer, rows)).unwrap();
        receiving.add(batch).unwrap_err().message
    };
    let first = &rows[0];
    for class in ["important", "core", "unclassified", "no word"] {
        let what = refused(&general, &with_text(first, "_class", class), count);
        assert!(what.contains("a row is of a class or training that does not go"), "{class}: {what}");
    }
    let important = definition(Class::Important, TransferUse::Operation);
    for class in ["core", "unclassified"] {
        assert!(
            refused(&important, &with_text(first, "_class", class), count).contains("does not go"),
            "{class}"
        );
    }
    let training = definition(Class::General, TransferUse::Training);
    for (word, may) in Training::WORDS.iter().filter(|(_, may)| *may < Training::WithApproval) {
        let what = refused(&training, &with_text(first, "_training", word), count);
        assert!(what.contains("does not go"), "{may}: {what}");
    }
    let what = refused(&general, &with_text(first, "_zone", "EU"), count);
    assert!(what.contains("a row's `_zone` is not the source's zone"), "{what}");
    // Fewer were counted.
    let what = refused(&general, first, first.num_rows() as u64 - 1);
    assert!(what.contains("there are more rows than were counted"), "{what}");
    // A column that the transfer does not name.
    let more = source_rows(&plant, &["x", "samples", "word"]).await.remove(0);
    assert!(refused(&general, &more, count).contains("column `word` does not go"));
    let mut fields: Vec<Field> =
        first.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("_extra", DataType::Utf8, true));
    let mut columns = first.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["{}"; first.num_rows()])));
    let extra = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    assert!(refused(&general, &extra, count).contains("column `_extra` does not go"));

    // More were counted than came; and a permit is for one store.
    let permit = permit(&plant, &general, count);
    let mut receiving = plant.eu.receiving(&permit).unwrap();
    receiving.add(first).unwrap();
    let short = plant.eu.receive(receiving, &facts("f"), 1).await;
    assert!(first.num_rows() as u64 == count || short.unwrap_err().message.contains("were counted"));
    let elsewhere = plant.cn.receiving(&permit).unwrap_err();
    assert!(elsewhere.message.contains("goes to EU"), "{elsewhere}");
    let backwards = permit_between(&general, plant.eu.identity(), plant.cn.identity(), count);
    let mut receiving = plant.cn.receiving(&backwards).unwrap();
    assert!(receiving.add(first).unwrap_err().message.contains("is not the source's zone"));
    assert!(!plant.root("EU").join("cnc_state_received").exists(), "nothing was written");
}

/// What nobody entered in a ledger, whoever wrote it.
#[tokio::test]
async fn received_rows_that_no_ledger_tells_of_are_found() {
    let (mut plant, rows, count) = filled().await;
    plant.eu = DeltaStore::open(&plant.root("EU"), &zone("EU"), metrics()).await.unwrap();
    plant.assert_found(&[]);
    let permit = permit(&plant, &definition(Class::General, TransferUse::Operation), count);
    let mut receiving = plant.eu.receiving(&permit).unwrap();
    rows.iter().for_each(|batch| receiving.add(batch).unwrap());
    plant.eu.receive(receiving, &facts("f"), 7).await.unwrap();
    let expected =
        format!("transfer wear.1: {count} rows are of it, and the ledger here does not tell of it");
    plant.assert_found(&[(crate::verify::Kind::Transfers, &expected)]);
}

/// What an entry tells of classes and use is held against the rows.
#[tokio::test]
async fn rows_that_the_entry_would_not_let_go_are_found() {
    let (mut plant, rows, count) = filled().await;
    let eu = DeltaStore::open(&plant.root("EU"), &zone("EU"), metrics()).await.unwrap();
    plant.eu = eu.with_receipt_key(plant.key.clone());
    let definition = definition(Class::Important, TransferUse::Operation);
    let permit = permit(&plant, &definition, count);
    let mut receiving = plant.eu.receiving(&permit).unwrap();
    for batch in &rows {
        let important = with_text(&with_text(batch, "_class", "important"), "_training", "prohibited");
        receiving.add(&important).unwrap();
    }
    plant.eu.receive(receiving, &facts("f"), 7).await.unwrap();
    let table = TableName::received(&"cnc-state".parse().unwrap());
    let arrived =
        StoreReader::open(&plant.root("EU")).unwrap().arrived(&table, "wear.1").await.unwrap().unwrap();
    let files: Vec<_> = arrived
        .files
        .iter()
        .map(|file| serde_json::json!({ "path": file.path, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256 }))
        .collect();
    // Of a store that is not here, so that nothing is asked of its ledger.
    let body = serde_json::json!({
        "from": { "zone": "CN", "store": "elsewhere" }, "to": { "zone": "EU", "store": plant.eu.identity().store_id },
        "table": table.as_str(), "definition": arrived.definition, "ceiling": "general", "use": "training",
        "rows": count, "bytes": arrived.bytes(), "columns": arrived.columns, "classes": { "general": count },
        "source_version": 7, "files": files,
    });
    let received = situs_model::LedgerFact {
        kind: situs_model::LedgerKind::TransferReceived,
        subject: "wear.1".to_owned(),
        policy: ContentVersion::of(b"policy"),
        said_by: "a".to_owned(),
        at_us: MARCH,
        body: body.to_string(),
    };
    plant.eu.enter_once(&[received]).await.unwrap();
    let stricter =
        format!("transfer wear.1: {count} rows are of a stricter class than `general`, its ceiling");
    let unlearned =
        format!("transfer wear.1: it is for `training`, and {count} rows must not be learned from");
    plant.assert_found(&[
        (
            crate::verify::Kind::Transfers,
            "transfer wear.1: its rows are of other classes than the ledger tells",
        ),
        (crate::verify::Kind::Transfers, &stricter),
        (crate::verify::Kind::Transfers, &unlearned),
    ]);
}
