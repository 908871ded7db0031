//! What a reader's session answers: what is not permitted behaves as if it did not exist.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray};
use arrow_schema::Field;
use situs_model::columns::{CLASS_METADATA, dictionary_type, names};
use situs_model::{Class, FieldClass, ReadGrant};

use super::plant::columns;
use super::*;

/// Rows of a table: load, day, class and codes of quality. The loads are also the operators' names.
const ROWS: [(f64, i32, Option<&str>, Option<&str>); 6] = [
    (10.0, NEW_YEAR, Some("general"), None),
    (20.0, NEW_YEAR, Some("important"), Some("operator:empty;load:nan")),
    (30.0, NEW_YEAR + 1, Some("general"), Some("operator:empty")),
    (40.0, NEW_YEAR + 2, Some("core"), None),
    (50.0, NEW_YEAR + 1, None, None),
    (60.0, NEW_YEAR + 1, Some("unclassified"), Some("event_time:broker")),
];

/// Appends those of [`ROWS`] that `keep` wants, with or without the column of operators.
async fn append(plant: &Plant, with_operator: bool, keep: fn(Option<&str>) -> bool) {
    let kept: Vec<_> = ROWS.iter().filter(|(_, _, class, _)| keep(*class)).collect();
    let rows: Vec<Row> = kept.iter().map(|(load, day, _, _)| row("m-1", *load, *day)).collect();
    let batch = columns(&"CN".parse().unwrap(), 0, &rows);
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut arrays = batch.columns().to_vec();
    let mut add = |at: usize, field: Field, values: Vec<Option<String>>| {
        let values: DictionaryArray<Int32Type> = values.iter().map(Option::as_deref).collect();
        fields.insert(at, field);
        arrays.insert(at, Arc::new(values) as ArrayRef);
    };
    if with_operator {
        let class = HashMap::from([(CLASS_METADATA.to_owned(), "trade-secret".to_owned())]);
        let field = Field::new("operator", dictionary_type(), true).with_metadata(class);
        add(1, field, kept.iter().map(|(load, ..)| Some(format!("op-{load}"))).collect());
    }
    let text = |text: Option<&str>| text.map(str::to_owned);
    let codes = |codes: Option<&str>| match codes {
        Some(codes) if !with_operator => {
            let rest: Vec<&str> = codes.split(';').filter(|code| !code.starts_with("operator:")).collect();
            (!rest.is_empty()).then(|| rest.join(";"))
        }
        codes => text(codes),
    };
    add(
        1,
        Field::new(names::QUALITY, dictionary_type(), true),
        kept.iter().map(|row| codes(row.3)).collect(),
    );
    add(1, Field::new(names::CLASS, dictionary_type(), true), kept.iter().map(|row| text(row.2)).collect());
    let batch = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), arrays).unwrap();
    plant.append_columns("cnc_state", "flush-1", 0, batch).await;
}

fn grant(zone: &str, table: &str, classes: &[Class], fields: &[FieldClass]) -> ReadGrant {
    ReadGrant {
        zone: zone.parse().unwrap(),
        table: table.parse().unwrap(),
        classes: classes.iter().copied().collect::<BTreeSet<_>>(),
        fields: fields.iter().copied().collect::<BTreeSet<_>>(),
        columns: BTreeMap::new(),
    }
}

const ALL_CLASSES: [Class; 4] = [Class::General, Class::Important, Class::Core, Class::Unclassified];
const ALL_FIELDS: [FieldClass; 4] =
    [FieldClass::TradeSecret, FieldClass::Personal, FieldClass::AssetIdentity, FieldClass::Process];

async fn open_as_reader(data: &Path, grants: Vec<ReadGrant>) -> Session {
    Session::open(&Permit::of_reader(find_stores(data).unwrap(), grants)).await.unwrap()
}

/// A store of `CN` with all rows, quarantine and a receipt, and one of `EU`.
async fn plants() -> (TempDir, Plant, Plant) {
    let data = tempfile::tempdir().unwrap();
    let cn = Plant::new(data.path(), "CN").await;
    append(&cn, true, |_| true).await;
    cn.quarantine(b"secret").await;
    cn.settle().await;
    let eu = Plant::new(data.path(), "EU").await;
    eu.append("cnc_state", "flush-1", 0, &[row("m-9", 1000.0, NEW_YEAR)]).await;
    (data, cn, eu)
}

/// What a statement gives: its rows with their header, or its error.
async fn told(session: &Session, sql: &str) -> String {
    match session.sql(sql).await {
        Ok(result) => {
            let mut out = Vec::new();
            write(&result, Format::Csv, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        }
        Err(error) => format!("error: {error}"),
    }
}

/// RES-6: a session whose reader may see a part answers like one over stores in which there is no more.
#[tokio::test]
async fn a_part_behaves_like_a_whole_that_has_no_more() {
    let (data, _cn, _eu) = plants().await;
    let important = [Class::General, Class::Important];
    let hiding =
        open_as_reader(data.path(), vec![grant("CN", "cnc_state", &important, &[FieldClass::Process])]).await;
    // Less is there, and whoever reads owns it.
    let lesser = tempfile::tempdir().unwrap();
    let cn = Plant::new(lesser.path(), "CN").await;
    append(&cn, false, |class| matches!(class, Some("general" | "important"))).await;
    let without = open(lesser.path()).await;
    assert_eq!(hiding.tables(), ["cn.cnc_state"]);
    assert_eq!(without.tables(), hiding.tables());

    for sql in [
        // Tables.
        "show tables",
        "select * from eu.cnc_state",
        "select * from quarantine",
        "select * from cn.quarantine",
        "select * from cn.receipts",
        "select * from cn.nothing",
        "select * from cnc_state",
        "describe eu.cnc_state",
        "describe cn.receipts",
        "show columns from cn.quarantine",
        "select table_schema, table_name from information_schema.tables where table_schema <> 'information_schema'",
        "select schema_name from information_schema.schemata order by 1",
        "select table_name, column_name, data_type, is_nullable from information_schema.columns",
        "select 1 where exists (select 1 from eu.cnc_state)",
        "with x as (select * from cn.receipts) select * from x",
        // Columns.
        "describe cn.cnc_state",
        "show columns from cn.cnc_state",
        "select * from cn.cnc_state order by load",
        "select * exclude (load) from cn.cnc_state order by load",
        "select operator from cn.cnc_state",
        "select operatr from cn.cnc_state",
        "select \"OPERATOR\" from cn.cnc_state",
        "select c.operator from cn.cnc_state c",
        "select count(operator) from cn.cnc_state",
        "select load from cn.cnc_state where operator = 'op-10'",
        "select load from cn.cnc_state order by operator",
        "select load from cn.cnc_state group by operator, load",
        "select max(operator) over () from cn.cnc_state",
        "select * exclude (operator) from cn.cnc_state",
        "select a.load from cn.cnc_state a join cn.cnc_state b using (operator)",
        "select a.load from cn.cnc_state a natural join cn.cnc_state b",
        "select lode from cn.cnc_state",
        "select count(*) from cn.cnc_state where _quality like '%operator%'",
        "select _quality, count(*) from cn.cnc_state group by 1 order by 1",
        "select count(*) from cn.cnc_state where _quality is null",
        "select load, _quality from cn.cnc_state where _quality is not null",
        // Rows.
        "select count(*) from cn.cnc_state",
        "select count(1), count(load), min(load), max(load), sum(load) from cn.cnc_state",
        "select count(*) from cn.cnc_state where event_date >= '2026-01-02'",
        "select count(*) from cn.cnc_state where event_date = '2026-01-03'",
        "select event_date, count(*) from cn.cnc_state group by 1 order by 1",
        "select _class, count(*) from cn.cnc_state group by 1 order by 1",
        "select _class from cn.cnc_state where _class = 'core' or _class is null",
        "select load from cn.cnc_state order by load desc limit 1",
        "select count(*) from (select 1 from cn.cnc_state limit 5)",
        "select count(*) from (select load from cn.cnc_state limit 4 offset 2)",
        "select 1 where exists (select 1 from cn.cnc_state where load > 35)",
        "select (select max(load) from cn.cnc_state)",
        "select a.load, b.load from cn.cnc_state a join cn.cnc_state b on a._class = b._class order by 1, 2",
        "select load from cn.cnc_state where _offset > 1",
        // Conditions and columns that fail on rows that are not seen.
        "select count(*) from cn.cnc_state where 1 / (cast(load as int) - 40) > -5",
        "select sum(1 / (cast(load as int) - 40)) from cn.cnc_state",
        "select 1 / (cast(load as int) - 30) from cn.cnc_state",
        "select count(*) from cn.cnc_state where 1 / (date_part('day', event_date) - 3) < 5",
        "select count(*) from cn.cnc_state where cast(_class as int) = 1 and _class not in ('general', 'important')",
    ] {
        assert_eq!(told(&hiding, sql).await, told(&without, sql).await, "{sql}");
    }
    // The comparison is not one of nothing with nothing.
    assert_eq!(rows(&hiding, "select count(*) from cn.cnc_state").await, "3");
    assert_eq!(rows(&hiding, "select load from cn.cnc_state order by load").await, "10.0 20.0 30.0");
    let owner = open(data.path()).await;
    assert_eq!(rows(&owner, "select count(*) from cn.cnc_state").await, "6");
    assert!(
        told(&owner, "select sum(1 / (cast(load as int) - 40)) from cn.cnc_state")
            .await
            .starts_with("error: ")
    );
    assert!(told(&owner, "select operator from cn.cnc_state").await.contains("op-40"));
    assert!(told(&hiding, "select operator from cn.cnc_state").await.starts_with("error: "));
    assert_eq!(
        rows(&hiding, "select load, _quality from cn.cnc_state where _quality <> ''").await,
        "20.0,load:nan"
    );
}

#[tokio::test]
async fn every_set_of_classes_gives_its_rows() {
    let (data, _cn, _eu) = plants().await;
    for bits in 0..16_u32 {
        let classes: Vec<Class> = ALL_CLASSES
            .iter()
            .enumerate()
            .filter(|(n, _)| bits & (1 << n) != 0)
            .map(|(_, class)| *class)
            .collect();
        let session =
            open_as_reader(data.path(), vec![grant("CN", "cnc_state", &classes, &ALL_FIELDS)]).await;
        let expected: Vec<String> = ROWS
            .iter()
            .filter(|(_, _, class, _)| {
                classes.iter().any(|known| known.as_str() == class.unwrap_or("unclassified"))
            })
            .map(|(load, ..)| format!("{load}.0"))
            .collect();
        let found = rows(&session, "select load from cn.cnc_state order by load").await;
        assert_eq!(found, expected.join(" "), "{classes:?}");
        for count in [
            "select count(*) from cn.cnc_state",
            "select count(operator) from cn.cnc_state",
            "select count(*) from (select _class, operator from cn.cnc_state)",
        ] {
            assert_eq!(rows(&session, count).await, expected.len().to_string(), "{classes:?} {count}");
        }
        // A limit counts rows that are seen.
        let limited = "select count(*) from (select load from cn.cnc_state limit 2)";
        assert_eq!(rows(&session, limited).await, expected.len().min(2).to_string(), "{classes:?}");
        let told = session.describe().await.unwrap();
        assert_eq!(told[0].rows, (bits == 15).then_some(6));
    }
}

#[tokio::test]
async fn a_table_without_classes_is_unclassified() {
    let (data, _cn, _eu) = plants().await;
    let below = [Class::General, Class::Important, Class::Core];
    for (classes, count) in [(&below[..], "0"), (&[Class::Unclassified][..], "1")] {
        let session = open_as_reader(data.path(), vec![grant("EU", "cnc_state", classes, &[])]).await;
        assert_eq!(session.tables(), ["eu.cnc_state"]);
        assert_eq!(rows(&session, "select count(*) from eu.cnc_state").await, count);
        assert_eq!(rows(&session, "select count(device) from eu.cnc_state").await, count);
    }
}

#[tokio::test]
async fn plans_are_not_for_readers() {
    let (data, _cn, _eu) = plants().await;
    let session =
        open_as_reader(data.path(), vec![grant("CN", "cnc_state", &[Class::General], &ALL_FIELDS)]).await;
    for sql in [
        "explain select count(*) from cn.cnc_state",
        "explain verbose select count(*) from cn.cnc_state",
        "explain analyze select count(*) from cn.cnc_state",
        "explain format tree select 1 from cn.cnc_state",
        "EXPLAIN EXPLAIN select 1",
    ] {
        let error = refusal(&session, sql).await;
        assert!(matches!(error, QueryError::ExplainRefused | QueryError::Statement(_)), "{sql}: {error}");
    }
    assert!(matches!(refusal(&session, "explain select 1").await, QueryError::ExplainRefused));
    // No part of a plan may count or prune by rows that are not seen: conditions stay above what hides them.
    let limited = &session.reader.context;
    let frame =
        limited.sql("select load from cn.cnc_state where load > 15 and _class <> 'x' limit 1").await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let plan = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    let (above, below) = plan.split_once("PermittedExec").expect("the rows are limited");
    assert!(above.contains("load@") && !below.contains("predicate") && !below.contains("limit="), "{plan}");
}

#[tokio::test]
async fn a_grant_of_all_reads_like_the_owner_and_no_other_tables() {
    let (data, _cn, _eu) = plants().await;
    let grants = vec![
        grant("CN", "cnc_state", &ALL_CLASSES, &ALL_FIELDS),
        grant("CN", "receipts", &ALL_CLASSES, &ALL_FIELDS),
        // A table that is not there.
        grant("EU", "ar_pose", &ALL_CLASSES, &ALL_FIELDS),
    ];
    let session = open_as_reader(data.path(), grants).await;
    let owner = open(data.path()).await;
    assert_eq!(session.tables(), ["cn.cnc_state", "receipts"]);
    for sql in [
        "select * from cn.cnc_state order by load",
        "select count(*) from cn.cnc_state",
        "select count(*) from receipts",
        "describe cn.cnc_state",
    ] {
        assert_eq!(told(&session, sql).await, told(&owner, sql).await, "{sql}");
    }
    // Nothing hides behind a name that only one permitted store has.
    let error = refusal(&session, "select * from quarantine").await.to_string();
    assert_eq!(error, "unknown table `quarantine`; this session has: cn.cnc_state, receipts");
}

/// A log that cannot be read says so to its owner, and nothing to those for whom its table does not exist.
#[tokio::test]
async fn a_broken_table_that_is_not_permitted_is_not_told() {
    let (data, cn, _eu) = plants().await;
    let log = cn.root.join("quarantine/_delta_log");
    for entry in std::fs::read_dir(&log).unwrap() {
        std::fs::write(entry.unwrap().path(), "no log").unwrap();
    }
    assert!(Session::open(&Permit::new(find_stores(data.path()).unwrap())).await.is_err());
    let session =
        open_as_reader(data.path(), vec![grant("CN", "cnc_state", &ALL_CLASSES, &ALL_FIELDS)]).await;
    assert_eq!(rows(&session, "select count(*) from cn.cnc_state").await, "6");
}
