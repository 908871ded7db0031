mod plant;
mod readers;

use std::path::Path;

use arrow_array::cast::AsArray as _;
use tempfile::TempDir;

use super::*;
use crate::{Format, find_stores, write};
use plant::{NEW_YEAR, Plant, Row, row};

/// A store of `CN` with two days in two flushes, quarantine and a receipt; one of `EU`, whose files have
/// the same names, since one flush wrote both.
async fn plants() -> (TempDir, Plant, Plant) {
    let data = tempfile::tempdir().unwrap();
    let cn = Plant::new(data.path(), "CN").await;
    let first = [row("m-1", 10.0, NEW_YEAR), row("m-2", 20.0, NEW_YEAR), row("m-1", 30.0, NEW_YEAR + 1)];
    cn.append("cnc_state", "flush-1", 0, &first).await;
    let second = [row("m-3", 40.0, NEW_YEAR + 1), Row { device: "m-3", load: None, day: NEW_YEAR + 2 }];
    cn.append("cnc_state", "flush-2", 3, &second).await;
    cn.quarantine(b"{\"a\":\x1b]0;").await;
    cn.settle().await;
    let eu = Plant::new(data.path(), "EU").await;
    eu.append("cnc_state", "flush-1", 0, &[row("m-1", 1000.0, NEW_YEAR)]).await;
    (data, cn, eu)
}

async fn open(data: &Path) -> Session {
    Session::open(&Permit::new(find_stores(data).unwrap())).await.unwrap()
}

async fn csv(session: &Session, sql: &str) -> String {
    let result = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut out = Vec::new();
    write(&result, Format::Csv, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The lines below the header, joined by blanks.
async fn rows(session: &Session, sql: &str) -> String {
    csv(session, sql).await.lines().skip(1).collect::<Vec<_>>().join(" ")
}

async fn refusal(session: &Session, sql: &str) -> QueryError {
    match session.sql(sql).await {
        Ok(result) => panic!("{sql}: gave {} batches", result.batches.len()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn tables_and_their_facts() {
    let (data, cn, _eu) = plants().await;
    let session = open(data.path()).await;
    assert_eq!(session.tables(), ["cn.cnc_state", "eu.cnc_state", "quarantine", "receipts"]);
    let facts = session.describe().await.unwrap();
    let on_disk: u64 = cn.files("cnc_state").iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!((facts[0].files, facts[0].rows, facts[0].bytes), (4, Some(5), on_disk));
    assert_eq!((facts[0].name.as_str(), facts[0].zone.as_str()), ("cn.cnc_state", "CN"));
    assert_eq!((facts[2].rows, facts[2].zone.as_str()), (Some(1), "CN"));

    let listed = "_home,quarantine _home,receipts cn,cnc_state cn,quarantine cn,receipts eu,cnc_state";
    assert_eq!(rows(&session, "show tables").await, listed);
    assert_eq!(csv(&session, "SHOW TABLES;").await.lines().next(), Some("zone,table"));
    let columns = rows(&session, "describe cn.cnc_state").await;
    assert!(columns.starts_with("device,Utf8View,NO load,Float64,YES samples,"), "{columns}");
    assert!(columns.contains("event_date,Date32,NO"), "{columns}");
    assert!(rows(&session, "show columns from eu.cnc_state").await.contains("situs,eu,cnc_state,load"));
}

#[tokio::test]
async fn counts_come_from_the_log() {
    let (data, _cn, _eu) = plants().await;
    let session = open(data.path()).await;
    assert_eq!(rows(&session, "select count(*) from cn.cnc_state").await, "5");
    assert_eq!(rows(&session, "select count(*) from CN.CNC_STATE").await, "5");
    assert_eq!(rows(&session, "select count(load) from cn.cnc_state").await, "4");
    let plan = csv(&session, "explain select count(*) from cn.cnc_state").await;
    assert!(!plan.contains("DataSourceExec"), "no file is opened: {plan}");
    let of_a_day = "select count(*) from cn.cnc_state where event_date = '2026-01-02'";
    assert_eq!(rows(&session, of_a_day).await, "2");
    assert!(!csv(&session, &format!("explain {of_a_day}")).await.contains("DataSourceExec"));

    for (sql, count) in [
        ("select count(*) from (select 1 from cn.cnc_state limit 3)", "3"),
        ("select count(*) from (select * from cn.cnc_state where load > 15 limit 2)", "2"),
        ("select count(*) from cn.cnc_state where device = 'm-1'", "2"),
        ("select count(*) from cn.cnc_state where event_date = '2026-01-01' and load > 15", "1"),
        ("select count(*) from cn.cnc_state where event_date = '2026-01-01' or load > 35", "3"),
        ("select count(*) from cn.cnc_state where event_date > '2030-01-01'", "0"),
        ("select count(*) from cn.cnc_state where event_date is null", "0"),
        ("select count(*) from cn.cnc_state where false", "0"),
    ] {
        assert_eq!(rows(&session, sql).await, count, "{sql}");
    }
}

#[tokio::test]
async fn filters_on_days_and_columns() {
    let (data, _cn, _eu) = plants().await;
    let session = open(data.path()).await;
    for (filter, offsets) in [
        ("event_date = '2026-01-01'", "0 1"),
        ("event_date between '2026-01-02' and '2026-01-03'", "2 3 4"),
        ("event_date in ('2026-01-01', '2026-01-03')", "0 1 4"),
        ("date_part('day', event_date) = 3", "4"),
        ("event_date = (select max(event_date) from cn.cnc_state)", "4"),
        ("event_date in (select event_date from eu.cnc_state)", "0 1"),
        ("event_date <> '2026-01-01' and device = 'm-1'", "2"),
        ("device like 'm-%' and load >= 20 and load < 40", "1 2"),
        ("load is null", "4"),
        ("samples[1] = 30", "2"),
        ("event_time >= '2026-01-02T00:00:00Z' and event_time < '2026-01-03T00:00:00Z'", "2 3"),
        ("_zone = 'CN' and _offset > 2", "3 4"),
    ] {
        let sql = format!("select _offset from cn.cnc_state where {filter} order by _offset");
        assert_eq!(rows(&session, &sql).await, offsets, "{filter}");
    }
    let plan = csv(&session, "explain select load from cn.cnc_state where event_date = '2026-01-01'").await;
    assert_eq!(plan.matches(".parquet").count(), 1, "the other days' files are not in the plan: {plan}");
    // The table's own order of columns, though the partition column is not in the files.
    let header = csv(&session, "select * from cn.cnc_state limit 0").await;
    assert!(
        header.starts_with("device,load,samples,_topic") && header.contains(",event_date,_zone"),
        "{header}"
    );
    let values = "2026-01-02,CN,30.0,m-1";
    assert_eq!(
        rows(&session, "select event_date, _zone, load, device from cn.cnc_state where load = 30").await,
        values
    );
}

/// One flush writes files of the same name into several zones. The first session over both read one
/// zone's file where the other's was meant, if anything in between knew files by their path alone.
#[tokio::test]
async fn a_join_of_two_zones_with_files_of_the_same_name() {
    let (data, cn, eu) = plants().await;
    let name = |plant: &Plant| plant.files("cnc_state")[0].strip_prefix(&plant.root).unwrap().to_owned();
    assert_eq!(name(&cn), name(&eu));
    let session = open(data.path()).await;
    let sql = "select cn.device, cn._zone, eu._zone, cn.load, eu.load from cn.cnc_state cn \
               join eu.cnc_state eu on cn.device = eu.device order by cn._offset";
    for _ in 0..2 {
        assert_eq!(rows(&session, sql).await, "m-1,CN,EU,10.0,1000.0 m-1,CN,EU,30.0,1000.0");
    }
    let union = "select _zone, sum(load) from (select * from cn.cnc_state union all select * from eu.cnc_state) \
                 group by _zone order by _zone";
    assert_eq!(rows(&session, union).await, "CN,100.0 EU,1000.0");
    let result = session.sql(sql).await.unwrap();
    let mut json = Vec::new();
    write(&result, Format::Json, &mut json).unwrap();
    let first =
        "[\n{\"device\":\"m-1\",\"_zone\":\"CN\",\"_zone_2\":\"EU\",\"load\":10.0,\"load_2\":1000.0},\n";
    assert!(String::from_utf8(json).unwrap().starts_with(first));
}

#[tokio::test]
async fn another_zone_is_unknown() {
    let (_data, cn, eu) = plants().await;
    let session = Session::open(&Permit::new([cn.root.clone()])).await.unwrap();
    assert_eq!(session.tables(), ["cn.cnc_state", "quarantine", "receipts"]);
    for sql in [
        "select * from eu.cnc_state",
        "select * from situs.eu.cnc_state",
        "describe eu.cnc_state",
        "explain select 1 from eu.cnc_state",
        "with x as (select * from eu.cnc_state) select * from x",
        "select 1 where exists (select 1 from eu.cnc_state)",
    ] {
        let error = refusal(&session, sql).await;
        assert!(matches!(error, QueryError::UnknownTable { .. }), "{sql}: {error}");
        assert!(!error.to_string().contains(&*eu.root.to_string_lossy()), "{error}");
    }
    let error = refusal(&session, "select * from eu.cnc_state").await.to_string();
    let expected = "unknown table `eu.cnc_state`, did you mean `cn.cnc_state`?; this session has: cn.cnc_state, quarantine, receipts";
    assert_eq!(error, expected);
    let error = refusal(&session, "select * from cnc_state").await.to_string();
    assert!(error.contains("did you mean `cn.cnc_state`?"), "{error}");
}

/// RES-6: nothing that a statement can say, and nothing that code over the session's engine could say,
/// leads to a file outside of the permit.
#[tokio::test]
async fn nothing_else_resolves() {
    let (data, cn, eu) = plants().await;
    let session = Session::open(&Permit::new([cn.root.clone()])).await.unwrap();
    let foreign = eu.files("cnc_state")[0].to_string_lossy().into_owned();
    let own = cn.files("cnc_state")[0].to_string_lossy().into_owned();
    for place in ["/etc/passwd", &foreign, &own, &format!("file://{foreign}"), "situs://eu/cnc_state"] {
        let error = refusal(&session, &format!("select * from '{place}'")).await;
        assert!(matches!(error, QueryError::UnknownTable { .. }), "{place}: {error}");
        for function in [
            "read_parquet",
            "parquet_scan",
            "read_csv",
            "read_csv_auto",
            "read_json",
            "glob",
            "parquet_metadata",
        ] {
            let error = refusal(&session, &format!("select * from {function}('{place}')")).await;
            assert!(matches!(error, QueryError::UnknownTable { .. } | QueryError::Statement(_)), "{error}");
        }
    }
    let context = &session.reader.context;
    for place in [&foreign, &own, "/etc"] {
        let url = url::Url::from_file_path(place).unwrap();
        assert!(
            context
                .runtime_env()
                .object_store(datafusion::execution::object_store::ObjectStoreUrl::local_filesystem())
                .is_err()
        );
        assert!(context.read_parquet(place, Default::default()).await.is_err());
        assert!(context.read_csv(url.as_str(), Default::default()).await.is_err());
    }
    assert!(context.state().table_factories().is_empty());
    assert!(!context.runtime_env().disk_manager.tmp_files_enabled());
    let functions = context.state();
    let mut functions: Vec<&str> = functions.table_functions().keys().map(String::as_str).collect();
    functions.sort_unstable();
    assert_eq!(functions, ["generate_series", "range"], "a new table function must be looked at");
    drop(data);
}

#[tokio::test]
async fn only_reading_statements() {
    let (data, cn, _eu) = plants().await;
    let session = open(data.path()).await;
    let target = data.path().join("out.parquet");
    let target = target.to_string_lossy();
    for (sql, word) in [
        ("create table t as select 1".to_owned(), "CREATE"),
        ("create view v as select 1".to_owned(), "CREATE"),
        (format!("create external table t stored as parquet location '{target}'"), "CREATE"),
        ("create function f() returns int return 1".to_owned(), "CREATE"),
        ("create schema s".to_owned(), "CREATE"),
        ("drop table cn.cnc_state".to_owned(), "DROP"),
        ("insert into cn.cnc_state select * from cn.cnc_state".to_owned(), "INSERT"),
        ("update cn.cnc_state set load = 0".to_owned(), "UPDATE"),
        ("delete from cn.cnc_state".to_owned(), "DELETE"),
        ("truncate table cn.cnc_state".to_owned(), "TRUNCATE"),
        (format!("copy cn.cnc_state to '{target}'"), "COPY"),
        (format!("copy (select 1) to '{target}' stored as csv"), "COPY"),
        (format!("explain copy (select 1) to '{target}'"), "COPY"),
        ("explain analyze insert into cn.cnc_state select * from cn.cnc_state".to_owned(), "INSERT"),
        ("set datafusion.execution.batch_size = 1".to_owned(), "SET"),
        ("reset datafusion.execution.batch_size".to_owned(), "RESET"),
        ("prepare p as select 1".to_owned(), "PREPARE"),
        ("execute p".to_owned(), "EXECUTE"),
        ("begin".to_owned(), "BEGIN"),
        ("select * into t from cn.cnc_state".to_owned(), "a statement that changes something"),
    ] {
        match refusal(&session, &sql).await {
            QueryError::Refused { statement } => assert_eq!(statement, word, "{sql}"),
            error => panic!("{sql}: {error}"),
        }
    }
    assert!(!data.path().join("out.parquet").exists());
    assert_eq!(cn.files("cnc_state").len(), 4);
    assert_eq!(session.tables().len(), 4);
    for sql in [
        "select 1",
        "values (1)",
        "explain analyze select * from cn.cnc_state",
        "show all",
        "with a as (select 1) select * from a",
    ] {
        session.sql(sql).await.unwrap();
    }
}

#[tokio::test]
async fn quarantine_needs_no_zone_where_one_store_has_it() {
    let (data, _cn, eu) = plants().await;
    let session = open(data.path()).await;
    let sql = "select reason, payload, byte_position, headers from quarantine";
    assert_eq!(
        rows(&session, sql).await,
        "invalid-json,eyJhIjobXTA7,3,\"[{\"\"key\"\":\"\"aA==\"\",\"\"value\"\":null}]\""
    );
    assert_eq!(rows(&session, "select count(*) from cn.quarantine").await, "1");
    assert_eq!(rows(&session, "select count(*) from receipts").await, "1");
    let result = session.sql(sql).await.unwrap();
    let mut table = Vec::new();
    write(&result, Format::Table, &mut table).unwrap();
    assert!(String::from_utf8(table).unwrap().contains("| {\"a\":\\u{1b}]0; "));

    eu.quarantine(b"x").await;
    // The session reads what it found when it was opened; a new one sees the second quarantine.
    assert_eq!(rows(&session, "select count(*) from quarantine").await, "1");
    let session = open(data.path()).await;
    assert_eq!(
        session.tables(),
        ["cn.cnc_state", "cn.quarantine", "eu.cnc_state", "eu.quarantine", "receipts"]
    );
    let error = refusal(&session, "select * from quarantine").await.to_string();
    assert!(error.contains("did you mean `cn.quarantine`?"), "{error}");
}

#[tokio::test]
async fn errors_are_readable() {
    let (data, cn, _eu) = plants().await;
    let session = open(data.path()).await;
    let error = refusal(&session, "select lode from cn.cnc_state").await.to_string();
    assert!(error.contains("No field named lode. Did you mean") && error.contains("load"), "{error}");
    let error = refusal(&session, "select 1 form cn.cnc_state").await.to_string();
    assert!(error.contains("Expected") && error.contains("Line: 1, Column:"), "{error}");
    assert!(matches!(refusal(&session, "selekt 1").await, QueryError::Statement(_)));
    assert!(matches!(refusal(&session, "select 1; select 2").await, QueryError::NotOneStatement { .. }));
    for nothing in ["", " ", ";", "-- nothing"] {
        assert!(
            matches!(refusal(&session, nothing).await, QueryError::NotOneStatement { .. }),
            "{nothing:?}"
        );
    }
    assert!(matches!(refusal(&session, "select 1 / 0").await, QueryError::Run(_)));
    let deep = format!("select {}1{}", "(".repeat(500), ")".repeat(500));
    assert!(matches!(refusal(&session, &deep).await, QueryError::Statement(_)));

    // A file that is gone, or that has become a link to another zone's.
    let files = cn.files("cnc_state");
    std::fs::remove_file(&files[0]).unwrap();
    let error = refusal(&session, "select sum(load) from cn.cnc_state").await;
    assert!(matches!(&error, QueryError::Run(text) if text.contains("not found")), "{error}");
    std::os::unix::fs::symlink(
        data.path().join("eu/cnc_state").join(files[0].strip_prefix(cn.root.join("cnc_state")).unwrap()),
        &files[0],
    )
    .unwrap();
    let error = refusal(&session, "select sum(load) from cn.cnc_state").await;
    assert!(matches!(&error, QueryError::Run(text) if text.contains("leads out of its store")), "{error}");
}

#[tokio::test]
async fn permits_that_cannot_be_opened() {
    let (data, cn, _eu) = plants().await;
    assert!(matches!(
        Session::open(&Permit::new([data.path().join("none")])).await,
        Err(QueryError::Root(_))
    ));
    assert!(matches!(Session::open(&Permit::new([data.path().to_owned()])).await, Err(QueryError::Root(_))));
    let other = tempfile::tempdir().unwrap();
    let second = Plant::new(other.path(), "CN").await;
    let two = Permit::new([cn.root.clone(), second.root.clone()]);
    assert!(matches!(Session::open(&two).await, Err(QueryError::TwoStores { .. })));
    // The same store by two paths is one store.
    let link = other.path().join("link");
    std::os::unix::fs::symlink(&cn.root, &link).unwrap();
    let session = Session::open(&Permit::new([cn.root.clone(), link])).await.unwrap();
    assert_eq!(rows(&session, "select count(*) from cn.cnc_state").await, "5");
    // No store at all: a session that can calculate, and nothing else.
    let session = Session::open(&Permit::new([])).await.unwrap();
    assert_eq!(rows(&session, "select 1 + 1").await, "2");
    assert!(session.tables().is_empty());
}

#[tokio::test]
async fn results_come_back_from_parquet() {
    let (data, _cn, _eu) = plants().await;
    let session = open(data.path()).await;
    let result = session
        .sql("select device, load, samples, event_date from cn.cnc_state order by _offset")
        .await
        .unwrap();
    let mut file = Vec::new();
    write(&result, Format::Parquet, &mut file).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(file), 100)
            .unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    let devices: Vec<_> = batches[0].column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(devices, ["m-1", "m-2", "m-1", "m-3", "m-3"]);
    let days = batches[0].column(3).as_primitive::<arrow_array::types::Date32Type>();
    assert_eq!(days.values()[4], NEW_YEAR + 2);
}

/// The examples of docs/sql.md, on these tables.
#[tokio::test]
async fn the_examples_of_the_manual() {
    let (data, _cn, _eu) = plants().await;
    let session = open(data.path()).await;
    for (sql, answer) in [
        (
            "select device, last_value(load order by event_time) from cn.cnc_state where event_date >= '2026-01-01' \
             group by device order by device",
            "m-1,30.0 m-2,20.0 m-3,",
        ),
        ("select device from cn.cnc_state where event_date = current_date group by device", ""),
        (
            "select reason, count(*), min(\"offset\"), max(\"offset\") from quarantine group by reason",
            "invalid-json,1,5,5",
        ),
        ("select length(cast(payload as varchar)) from quarantine", "9"),
        ("select device, unnest(samples) from cn.cnc_state where load = 20", "m-2,20.0 m-2,20.0 m-2,20.0"),
        ("select arrow_typeof(payload) from quarantine", "BinaryView"),
    ] {
        assert_eq!(rows(&session, sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn a_zone_may_be_called_like_a_word_of_sql() {
    let data = tempfile::tempdir().unwrap();
    let plant = Plant::new(data.path(), "IN").await;
    plant.append("cnc_state", "flush-1", 0, &[row("m-1", 1.0, NEW_YEAR)]).await;
    let session = open(data.path()).await;
    assert_eq!(rows(&session, "select count(*) from \"in\".cnc_state").await, "1");
}

/// A sum of two hundred terms once overflowed the stack of the caller's thread and ended the process.
#[tokio::test]
async fn long_statements_are_answered_or_refused() {
    let (data, _cn, _eu) = plants().await;
    let session = open(data.path()).await;
    let many = |count: usize, part: &str, between: &str| vec![part; count].join(between);
    let cast = format!("select 1{}", "::int".repeat(900));
    assert_eq!(rows(&session, &cast).await, "1");
    for (sql, answer) in [
        (format!("select {} from cn.cnc_state where load = 20", many(300, "load", " + ")), "6000.0"),
        (format!("select count(*) from cn.cnc_state where {}", many(490, "load = 10", " or ")), "1"),
        (format!("select count(*) from ({})", many(200, "select 1", " union all ")), "200"),
        (format!("select count(*) from cn.cnc_state where _offset in (3{})", ",7".repeat(20_000)), "1"),
    ] {
        assert_eq!(rows(&session, &sql).await, answer);
    }
    // What the parser counts itself.
    for sql in [
        format!("select {} true", many(900, "not", " ")),
        format!("select {} load from cn.cnc_state", many(900, "-", " ")),
        format!("select {}load{} from cn.cnc_state", "(".repeat(500), ")".repeat(500)),
        format!("select {}'a'{}", "upper(".repeat(500), ")".repeat(500)),
        format!("{} 1 {}", "select * from (select ".repeat(300), ")".repeat(300)),
    ] {
        assert!(matches!(refusal(&session, &sql).await, QueryError::Statement(_)));
    }
    for sql in [many(2000, "select 1", " union "), format!("select 1 {}", "+ 1".repeat(2000))] {
        assert!(matches!(refusal(&session, &sql).await, QueryError::TooLarge { .. }));
    }
}
