use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{BinaryViewArray, DictionaryArray, Float64Array, Int64Array, ListArray, StringViewArray};
use arrow_schema::TimeUnit;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::*;

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let mut models = ListBuilder::new(StringBuilder::new());
    models.append_value([Some("wear"), None]);
    models.append_null();
    vec![
        ("offset", Arc::new(Int64Array::from(vec![7, 8]))),
        ("device", Arc::new(["m-1", "m-1"].into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("note", Arc::new(StringViewArray::from(vec![Some("a,\"b\"\n\u{1b}[2J"), None]))),
        ("payload", Arc::new(BinaryViewArray::from(vec![Some(&b"{\"a\":1}\x00"[..]), Some(b"\xff\xfe")]))),
        ("load", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("models", Arc::new(models.finish())),
        (
            "samples",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
                Some(vec![Some(1.5), None]),
                Some(vec![Some(0.25); 100]),
            ])),
        ),
        (
            "time",
            Arc::new(
                arrow_array::TimestampMicrosecondArray::from(vec![Some(1_750_000_000_000_123), None])
                    .with_timezone("UTC"),
            ),
        ),
    ]
}

fn result() -> QueryResult {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns().into_iter().map(|(name, values)| (name, values, true)),
    )
    .unwrap();
    QueryResult { schema: batch.schema(), batches: vec![batch] }
}

fn empty() -> QueryResult {
    QueryResult { batches: Vec::new(), ..result() }
}

fn text(result: &QueryResult, format: Format) -> String {
    let mut out = Vec::new();
    write(result, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn words() {
    for (word, format) in Format::WORDS {
        assert_eq!(word.parse::<Format>().unwrap(), *format);
        assert_eq!(format.as_str(), *word);
    }
    assert!("xlsx".parse::<Format>().is_err());
}

#[test]
fn a_table_does_not_steer_the_terminal() {
    let table = text(&result(), Format::Table);
    assert!(!table.contains('\u{1b}') && !table.contains('\0'), "{table}");
    assert!(table.contains("\\u{1b}[2J"), "{table}");
    assert!(table.contains("| {\"a\":1}\\u{0} "), "{table}");
    assert!(table.contains("| \\xff\\xfe "), "{table}");
    assert!(table.contains("| 2025-06-15T15:06:40.000123Z |"), "{table}");
    assert!(table.contains("[0.25, 0.25,") && table.contains('…'), "lists are cut: {table}");
    let longest = table.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 260, "{longest}");
    let trick = QueryResult {
        schema: Arc::new(Schema::new(vec![Field::new("a\u{202e}b", DataType::Int64, true)])),
        batches: Vec::new(),
    };
    assert!(text(&trick, Format::Table).contains("a\\u{202e}b"));
}

#[test]
fn bytes_are_cut_in_a_table() {
    let bytes: ArrayRef = Arc::new(BinaryViewArray::from(vec![
        "x".repeat(60).as_bytes(),
        "é".repeat(100).as_bytes(),
        &[0xff; 100],
    ]));
    let cells = cells::for_people(&bytes).unwrap();
    let cells: Vec<_> = cells.as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(cells[0], "x".repeat(60));
    assert_eq!(cells[1], "é".repeat(59) + "…");
    assert_eq!(cells[2].chars().count(), 60);
}

#[test]
fn csv_keeps_everything() {
    let csv = text(&result(), Format::Csv);
    let expected = "offset,device,note,payload,load,models,samples,time\n\
        7,m-1,\"a,\"\"b\"\"\n\u{1b}[2J\",eyJhIjoxfQA=,0.1,\"[\"\"wear\"\",null]\",\"[1.5,null]\",2025-06-15T15:06:40.000123Z\n\
        8,m-1,,//4=,,,\"[0.25,";
    assert!(csv.starts_with(expected), "{csv}");
}

#[test]
fn json_keeps_everything() {
    let json = text(&result(), Format::Json);
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((lines[0], lines[3]), ("[", "]"));
    assert_eq!(
        lines[1],
        "{\"offset\":7,\"device\":\"m-1\",\"note\":\"a,\\\"b\\\"\\n\\u001b[2J\",\"payload\":\"eyJhIjoxfQA=\",\
         \"load\":0.1,\"models\":[\"wear\",null],\"samples\":[1.5,null],\"time\":\"2025-06-15T15:06:40.000123Z\"},"
    );
    assert!(lines[2].contains("\"note\":null") && lines[2].contains("\"payload\":\"//4=\""));
}

#[test]
fn parquet_comes_back_as_it_was() {
    let mut out = Vec::new();
    write(&result(), Format::Parquet, &mut out).unwrap();
    let mut reader = ParquetRecordBatchReader::try_new(bytes::Bytes::from(out), 100).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 2);
    assert_eq!(batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>().values(), &[7, 8]);
    assert_eq!(batch.column_by_name("payload").unwrap().as_binary::<i32>().value(1), b"\xff\xfe");
    assert_eq!(batch.column_by_name("note").unwrap().as_string::<i32>().value(0), "a,\"b\"\n\u{1b}[2J");
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(batch.column_by_name("time").unwrap().data_type(), &utc);
    let samples = batch.column_by_name("samples").unwrap().as_list::<i32>().value(1);
    assert_eq!(samples.len(), 100);
}

#[test]
fn nothing_is_still_a_result() {
    let table = text(&empty(), Format::Table);
    assert!(table.lines().count() == 4 && table.contains("| offset | device |"), "{table}");
    assert_eq!(text(&empty(), Format::Csv), "offset,device,note,payload,load,models,samples,time\n");
    assert_eq!(text(&empty(), Format::Json), "[]\n");
    let mut out = Vec::new();
    write(&empty(), Format::Parquet, &mut out).unwrap();
    let mut reader = ParquetRecordBatchReader::try_new(bytes::Bytes::from(out), 100).unwrap();
    assert_eq!(arrow_array::RecordBatchReader::schema(&reader).fields().len(), 8);
    assert!(reader.next().is_none());
}

#[test]
fn names_that_repeat_get_numbers() {
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let fields: Vec<Field> =
        ["x", "x", "x_2", "x"].into_iter().map(|name| Field::new(name, DataType::Int64, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), vec![one; 4]).unwrap();
    let result = QueryResult { schema, batches: vec![batch] };
    assert_eq!(text(&result, Format::Json), "[\n{\"x\":1,\"x_3\":1,\"x_2\":1,\"x_4\":1}\n]\n");
}

#[test]
fn a_full_disk_is_an_error_of_writing() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for (_, format) in Format::WORDS {
        let error = write(&result(), *format, &mut Full).unwrap_err();
        assert!(matches!(error, QueryError::Write(_)), "{format}: {error}");
    }
}
