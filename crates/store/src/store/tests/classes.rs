//! Files have the highest class of their rows, and tell nothing of guarded columns.

use std::fs;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch};
use arrow_schema::Schema;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;
use situs_model::Class;
use situs_model::columns::{CLASS_METADATA, names as columns};
use situs_model::store::Share;

use super::super::*;
use super::compaction::{at_once, table};
use super::support::*;
use super::verify::Plant;
use crate::encode::{CLASS, GUARDED};
use crate::verify::Kind;

/// Columns that the rows of these tests have as guarded, each with values that would be seen.
const GUARDED_COLUMNS: [&str; 3] = ["n", "word", "x"];

/// Rows with these classes in turn, and guarded columns.
fn classed(partition: i32, offsets: std::ops::Range<i64>, classes: &[&str]) -> RecordBatch {
    let rows = rows(partition, offsets, "CN");
    let mut arrays = rows.columns().to_vec();
    let words: DictionaryArray<Int32Type> =
        (0..rows.num_rows()).map(|row| Some(classes[row % classes.len()])).collect();
    arrays[rows.schema_ref().index_of(columns::CLASS).unwrap()] = Arc::new(words) as ArrayRef;
    let fields: Vec<_> = rows
        .schema_ref()
        .fields()
        .iter()
        .map(|field| {
            let class = if field.name() == "word" { "personal" } else { "trade-secret" };
            let metadata = [(CLASS_METADATA.to_owned(), class.to_owned())].into();
            let guarded = GUARDED_COLUMNS.contains(&field.name().as_str());
            Arc::new(if guarded { field.as_ref().clone().with_metadata(metadata) } else { (**field).clone() })
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn append_classed(store: &StoreIdentity, flush: &str, start: i64, end: i64, classes: &[&str]) -> Append {
    // As if they were masked already: what becomes of values is another test's business.
    let rows = classed(0, start..end, classes);
    let mut encoder = crate::encode::Encoder::new(store.clone(), LAYOUT);
    encoder.add(&source(0), &rows).unwrap();
    let rows = crate::encode::finish(store, vec![Box::new(encoder)], &[]).unwrap().into_rows();
    let range = range(start, end);
    let settled = Some(NextOffset(start));
    let share =
        Share { source: source(0), range, settled, epoch: situs_model::Epoch::default(), topic_id: None };
    Append { table: table(), shares: vec![share], rows, facts: facts(flush) }
}

/// All `add` actions of a table's log.
fn adds(root: &Path) -> Vec<Value> {
    let log = names::log(&root.join("cnc_state"));
    let entries = crate::durable::list(&log).unwrap();
    let lines = entries.iter().map(|name| fs::read_to_string(log.join(name)).unwrap());
    let actions = lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let add = |line: String| serde_json::from_str::<Value>(&line).unwrap()["add"].clone();
    actions.map(add).filter(Value::is_object).collect()
}

/// What a file's footer says of itself, and of which columns it gives bounds.
fn footer(path: &Path) -> (Option<String>, Option<String>, Vec<String>) {
    let file = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let metadata = file.metadata();
    let facts = metadata.file_metadata().key_value_metadata().unwrap().clone();
    let fact = |key: &str| facts.iter().find(|fact| fact.key == key).and_then(|fact| fact.value.clone());
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let bounded = chunks.filter(|chunk| {
        chunk.statistics().is_some_and(|s| s.min_bytes_opt().is_some() || s.max_bytes_opt().is_some())
    });
    (fact(CLASS), fact(GUARDED), bounded.map(|chunk| chunk.column_path().string()).collect())
}

fn assert_tells_nothing(root: &Path, add: &Value) {
    let path = root.join("cnc_state").join(add["path"].as_str().unwrap());
    let (_, guarded, bounded) = footer(&path);
    assert_eq!(guarded.as_deref(), Some("x,n,word"));
    assert!(bounded.iter().any(|name| name == "_offset"), "{bounded:?}");
    assert!(!bounded.iter().any(|name| GUARDED_COLUMNS.contains(&name.as_str())), "{bounded:?}");
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    for bounds in ["minValues", "maxValues"] {
        assert!(stats[bounds]["_offset"].is_number(), "{stats}");
        for column in GUARDED_COLUMNS {
            assert!(stats[bounds][column].is_null(), "{stats}");
        }
    }
}

#[tokio::test]
async fn what_is_guarded_is_in_no_statistics() {
    let (dir, store) = fresh().await;
    store.append(&append_classed(store.identity(), "f1", 0, 10, &["general"])).await.unwrap();
    // After a crash a part is written again: it is read back and encoded anew.
    store.append(&append_classed(store.identity(), "f2", 5, 20, &["general"])).await.unwrap();
    let adds = adds(dir.path());
    assert_eq!(adds.len(), 2);
    assert_eq!(keys(dir.path()).await, expected(0, 0..20));
    adds.iter().for_each(|add| assert_tells_nothing(dir.path(), add));
    // `n` is `i64::MAX - offset`, which would be seen in the log as it is.
    let log = fs::read_to_string(names::log_entry(&dir.path().join("cnc_state"), 1)).unwrap();
    assert!(!log.contains("922337203685477"), "{log}");
}

#[tokio::test]
async fn a_compacted_file_has_the_highest_class_and_no_statistics_that_its_files_had_not() {
    let (dir, store) = fresh().await;
    for (flush, start, class) in [("f1", 0, "general"), ("f2", 10, "core"), ("f3", 20, "important")] {
        let classes = ["general", class];
        store.append(&append_classed(store.identity(), flush, start, start + 10, &classes)).await.unwrap();
    }
    let told = |add: &Value| add["tags"][CLASS].as_str().unwrap().to_owned();
    assert_eq!(adds(dir.path()).iter().map(told).collect::<Vec<_>>(), ["general", "core", "important"]);
    let maintenance = store.begin_maintenance().await.unwrap().unwrap();
    let done = maintenance.optimize(&table(), &at_once()).await.unwrap();
    assert_eq!((done.replaced.files, done.written.files), (3, 1));
    let last = adds(dir.path()).pop().unwrap();
    assert_eq!(told(&last), "core");
    assert_eq!(footer(&dir.path().join("cnc_state").join(last["path"].as_str().unwrap())).0.unwrap(), "core");
    assert_tells_nothing(dir.path(), &last);
    let reader = crate::StoreReader::open(dir.path()).unwrap();
    assert_eq!(reader.class(&table()).unwrap(), Some(Class::Core));
    assert_eq!(reader.class(&TableName::quarantine()).unwrap(), None);
    // A checkpoint remembers the class.
    maintenance.checkpoint(&table(), 0).await.unwrap();
    for version in 0..4 {
        fs::remove_file(names::log_entry(&dir.path().join("cnc_state"), version)).unwrap();
    }
    assert_eq!(reader.class(&table()).unwrap(), Some(Class::Core));
}

#[tokio::test]
async fn a_file_with_another_class_than_its_rows_is_found() {
    let plant = Plant::filled().await;
    plant.assert_found(&[]);
    let store = plant.cn.identity().clone();
    let batch = |start, classes: &[&str]| {
        let rows = classed(0, start..start + 3, classes);
        let fields: Vec<_> = rows
            .schema_ref()
            .fields()
            .iter()
            .map(|field| (**field).clone().with_metadata([].into()))
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.columns().to_vec()).unwrap()
    };
    // Beyond the settled offset, so that no receipt tells of it.
    let mut append = append(&store, "f5", 0, 31, 34);
    append.rows = encoded(&store, "f5", vec![permitted(0, batch(31, &["general", "important"]), &store)]);
    plant.cn.append(&append).await.unwrap();
    plant.assert_found(&[]);

    let folder = plant.root("CN").join("cnc_state");
    let log = names::log(&folder);
    let name = crate::durable::list(&log).unwrap().pop().unwrap();
    let text = fs::read_to_string(log.join(&name)).unwrap();
    let tag = r#""situs.class":"important""#;
    assert!(text.contains(tag), "{text}");
    for (changed, told) in [
        (r#""situs.class":"general""#, "its class is general by the log, that of its rows is important"),
        (r#""situs.class":"core""#, "its class is core by the log, that of its rows is important"),
        (r#""situs.other":"core""#, "its class is none by the log, that of its rows is important"),
    ] {
        fs::write(log.join(&name), text.replace(tag, changed)).unwrap();
        plant.assert_found(&[(Kind::Files, told)]);
    }
}
