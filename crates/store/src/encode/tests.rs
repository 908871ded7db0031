//! What is encoded is what a Parquet reader finds.

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder};
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{
    Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use situs_model::columns::{dictionary_of_lists_type, dictionary_type, number_list_type};

use super::*;
use crate::work::Keep;

const LAYOUT: Layout = Layout { offset: "_offset", day: "event_date" };

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A row as it goes in and as it must come out.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    offset: i64,
    day: i32,
    always: String,
    sometimes: Option<String>,
    list: Option<Vec<String>>,
    reading: Option<f64>,
    samples: Vec<f64>,
}

/// A reading with a resolution, or one whose values hardly repeat.
fn reading(random: &mut Random, repeats: bool) -> f64 {
    if repeats { random.below(900) as f64 / 10.0 - 20.0 } else { random.below(1 << 30) as f64 * 1.1e-7 }
}

/// Makes rows whose texts are of `kinds` kinds, each with a long tail of `padding` letters.
fn rows(
    random: &mut Random,
    offsets: std::ops::Range<i64>,
    days: u64,
    kinds: u64,
    padding: usize,
) -> Vec<Row> {
    let text = |random: &mut Random| format!("{:05}{}", random.below(kinds), "x".repeat(padding));
    offsets
        .map(|offset| Row {
            offset,
            day: random.below(days) as i32,
            always: text(random),
            sometimes: (random.below(3) > 0).then(|| text(random)),
            list: (random.below(4) > 0).then(|| (0..random.below(3)).map(|_| text(random)).collect()),
            reading: (random.below(5) > 0).then(|| reading(random, kinds < 50)),
            samples: (0..random.below(4)).map(|_| reading(random, kinds > 50)).collect(),
        })
        .collect()
}

/// The rows as a batch. Dictionaries hold values that no row has, values twice, and null lists.
fn batch(rows: &[Row]) -> RecordBatch {
    let words = |values: Vec<Option<&str>>| -> ArrayRef {
        let mut texts: Vec<&str> = values.iter().flatten().copied().chain(["unused"]).collect();
        texts.sort_unstable();
        let keys: Int32Array = values
            .iter()
            .map(|value| value.map(|value| texts.iter().rposition(|text| *text == value).unwrap() as i32))
            .collect();
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from(texts))).unwrap())
    };
    let mut lists =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for row in rows {
        match &row.list {
            Some(list) => lists.append_value(list.iter().map(Some)),
            None => lists.append_null(),
        }
    }
    let element = Field::new("element", DataType::Float64, true);
    let mut samples = ListBuilder::new(Float64Builder::new()).with_field(element);
    for row in rows {
        samples.append_value(row.samples.iter().copied().map(Some));
    }
    let keys = Int32Array::from_iter_values(0..rows.len() as i32);
    let lists = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(lists.finish())).unwrap();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("_offset", DataType::Int64, false),
            Arc::new(rows.iter().map(|row| row.offset).collect::<Int64Array>()),
        ),
        (
            Field::new("event_date", DataType::Date32, false),
            Arc::new(rows.iter().map(|row| Some(row.day)).collect::<Date32Array>()),
        ),
        (
            Field::new("always", dictionary_type(), false),
            words(rows.iter().map(|row| Some(row.always.as_str())).collect()),
        ),
        (
            Field::new("sometimes", dictionary_type(), true),
            words(rows.iter().map(|row| row.sometimes.as_deref()).collect()),
        ),
        (Field::new("list", dictionary_of_lists_type(), true), Arc::new(lists)),
        (
            Field::new("reading", DataType::Float64, true),
            Arc::new(rows.iter().map(|row| row.reading).collect::<Float64Array>()),
        ),
        (Field::new("samples", number_list_type(), false), Arc::new(samples.finish())),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn store() -> StoreIdentity {
    StoreIdentity { zone: "CN".parse().unwrap(), store_id: "s".to_owned() }
}

fn source(partition: i32) -> Source {
    Source { cluster: "k".parse().unwrap(), topic: "t".into(), partition }
}

fn encoder(parts: &[(i32, &[Row])]) -> Box<dyn RowEncoder> {
    let mut encoder = Encoder::new(store(), LAYOUT);
    for (partition, rows) in parts {
        encoder.add(&source(*partition), &batch(rows)).unwrap();
    }
    Box::new(encoder)
}

/// The rows of all files, day by day.
fn read(encoded: &Encoded) -> Vec<Row> {
    let mut rows = Vec::new();
    for image in &encoded.images {
        // With page indexes, so that a wrong one is found.
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let reader =
            ParquetRecordBatchReaderBuilder::try_new_with_options(image.bytes.clone(), options).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let lists: ListArray = batch.column_by_name("list").unwrap().as_list().clone();
            let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().clone();
            let (always, sometimes) = (text("always"), text("sometimes"));
            let readings = batch.column_by_name("reading").unwrap().as_primitive::<Float64Type>().clone();
            let samples: ListArray = batch.column_by_name("samples").unwrap().as_list().clone();
            for row in 0..batch.num_rows() {
                let list = lists.is_valid(row).then(|| lists.value(row));
                rows.push(Row {
                    offset: offsets.value(row),
                    day: image.day,
                    always: always.value(row).to_owned(),
                    sometimes: sometimes.is_valid(row).then(|| sometimes.value(row).to_owned()),
                    list: list.map(|list| {
                        list.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
                    }),
                    reading: readings.is_valid(row).then(|| readings.value(row)),
                    samples: samples.value(row).as_primitive::<Float64Type>().values().to_vec(),
                });
            }
        }
    }
    rows
}

fn by_day(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.day);
    rows
}

#[test]
fn what_is_encoded_is_read() {
    let mut random = Random(7);
    // Few words; more than a page of rows; so many and so long that the dictionary is given up; more
    // days than may be open.
    for (count, days, kinds, padding) in
        [(500, 1, 3, 0), (80_000, 1, 40, 0), (9_000, 2, 3_000, 2_000), (5_000, 30, 10, 3), (40, 1, 1, 80)]
    {
        let all = rows(&mut random, 0..count, days, kinds, padding);
        let chunks: Vec<(i32, &[Row])> =
            all.chunks(777).enumerate().map(|(number, rows)| (number as i32 % 3, rows)).collect();
        let encoded = finish(&store(), vec![encoder(&chunks)], &[]).unwrap();
        assert!(read(&encoded) == by_day(all), "{count} rows of {days} days, {kinds} words");
    }
}

#[test]
fn columns_without_values_are_read() {
    let nothing = |offset| Row {
        offset,
        day: 0,
        always: String::new(),
        sometimes: None,
        list: None,
        reading: None,
        samples: Vec::new(),
    };
    let mut all: Vec<Row> = (0..70_000).map(nothing).collect();
    all[40_000].list = Some(Vec::new());
    let encoded = finish(&store(), vec![encoder(&[(0, &all)])], &[]).unwrap();
    assert!(read(&encoded) == all);
    // A page without values, and then one with some.
    all[69_000].sometimes = Some("late".to_owned());
    all[69_000].reading = Some(1.5);
    all[69_500].list = Some(vec!["late".to_owned(), String::new()]);
    let encoded = finish(&store(), vec![encoder(&[(0, &all)])], &[]).unwrap();
    assert!(read(&encoded) == all);
}

#[test]
fn readings_get_the_encoding_that_suits_them() {
    let mut random = Random(3);
    let mut encodings = |numbers: &dyn Fn(&mut Random, usize) -> f64, count: usize| {
        let rows: Vec<Row> = (0..count)
            .map(|n| Row {
                reading: Some(numbers(&mut random, n)),
                ..rows(&mut Random(1), 0..1, 1, 1, 0).remove(0)
            })
            .enumerate()
            .map(|(offset, row)| Row { offset: offset as i64, ..row })
            .collect();
        let encoded = finish(&store(), vec![encoder(&[(0, &rows)])], &[]).unwrap();
        assert!(read(&encoded) == rows);
        let reader = ParquetRecordBatchReaderBuilder::try_new(encoded.images[0].bytes.clone()).unwrap();
        let columns = reader.metadata().row_group(0).columns();
        let column = columns.iter().find(|column| column.column_path().string() == "reading").unwrap();
        let mut encodings: Vec<Encoding> = column.encodings().collect();
        encodings.retain(|encoding| *encoding != Encoding::RLE);
        encodings
    };
    use parquet::basic::Encoding;
    let tenths = |random: &mut Random, _| random.below(2000) as f64 / 10.0;
    assert_eq!(encodings(&tenths, 40_000), [Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
    let walk = |random: &mut Random, _| 1.0 + random.below(1 << 31) as f64 / (1_u64 << 32) as f64;
    assert_eq!(encodings(&walk, 40_000), [Encoding::PLAIN]);
    // Few of many: a dictionary would be half of it.
    assert!(!encodings(&tenths, 300).contains(&Encoding::RLE_DICTIONARY));
    // A dictionary that fills up after some pages.
    let many = |random: &mut Random, n| if n < 33_000 { 1.0 } else { random.below(1 << 30) as f64 };
    let both = encodings(&many, 300_000);
    assert_eq!(both, [Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
}

#[test]
fn encoders_are_put_together_and_rows_are_cut() {
    let mut random = Random(11);
    let parts: Vec<Vec<Row>> =
        (0..4).map(|part| rows(&mut random, part * 1000..part * 1000 + 1000, 12, 5, 2)).collect();
    let encoders = || {
        let (a, b) = ([(0, &parts[0][..]), (1, &parts[1][..])], [(2, &parts[2][..]), (3, &parts[3][..])]);
        vec![encoder(&a), encoder(&b)]
    };
    let encoded = finish(&store(), encoders(), &[]).unwrap();
    assert_eq!(encoded.images.len(), 12, "a file per day");
    assert!(read(&encoded) == by_day(parts.concat()));

    let keep_of = |source: &Source| match source.partition {
        0 => Keep::Nothing,
        1 => Keep::From(situs_model::NextOffset(1600)),
        _ => Keep::All,
    };
    let kept = encoded.kept(keep_of, LAYOUT, &store(), &[]).unwrap();
    let expected = parts.concat().into_iter().filter(|row| row.offset >= 1600).collect();
    assert!(read(&kept) == by_day(expected));
    let all = encoded.kept(|_| Keep::All, LAYOUT, &store(), &[]).unwrap();
    assert!(matches!(all, std::borrow::Cow::Borrowed(_)), "nothing is encoded twice without need");
    assert!(encoded.kept(|_| Keep::Nothing, LAYOUT, &store(), &[]).unwrap().images.is_empty());
}

#[test]
fn statistics_are_those_of_the_values() {
    let row = |offset, text: &str| Row {
        offset,
        day: 0,
        always: text.to_owned(),
        sometimes: (offset > 0).then(|| text.to_owned()),
        list: None,
        reading: [None, Some(0.0), Some(-7.5), Some(0.25)][offset as usize],
        samples: Vec::new(),
    };
    let rows = [row(0, "m"), row(1, "b"), row(2, "z"), row(3, "b")];
    let encoded = finish(&store(), vec![encoder(&[(0, &rows)])], &[]).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(encoded.images[0].bytes.clone()).unwrap();
    let group = reader.metadata().row_group(0);
    let of = |name: &str| {
        let column = group.columns().iter().find(|column| column.column_path().string() == name).unwrap();
        let statistics = column.statistics().unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        (text(statistics.min_bytes_opt()), text(statistics.max_bytes_opt()), statistics.null_count_opt())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of("always"), (some("b"), some("z"), Some(0)));
    assert_eq!(of("sometimes"), (some("b"), some("z"), Some(1)));
    assert_eq!(of("list.list.element"), (None, None, Some(4)));
    let reading = group.columns().iter().find(|column| column.column_path().string() == "reading").unwrap();
    let parquet::file::statistics::Statistics::Double(reading) = reading.statistics().unwrap() else {
        panic!("statistics of another type");
    };
    assert_eq!((reading.min_opt(), reading.max_opt()), (Some(&-7.5), Some(&0.25)));
    assert_eq!(reading.null_count_opt(), Some(1));
}

#[test]
fn batches_that_differ_in_their_columns_are_refused() {
    let rows = rows(&mut Random(1), 0..5, 1, 2, 0);
    let mut encoder = Encoder::new(store(), LAYOUT);
    encoder.add(&source(0), &batch(&rows)).unwrap();
    let mut other = batch(&rows);
    other.remove_column(4);
    let refused = encoder.add(&source(0), &other).unwrap_err();
    assert!(refused.message.contains("t/0") && refused.message.contains("columns"), "{}", refused.message);
}
