use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type};

use super::*;

fn dictionary(array: &ArrayRef) -> (Vec<Option<&str>>, usize) {
    let array = array.as_dictionary::<Int32Type>();
    let values = array.values().as_string::<i32>();
    (array.keys().iter().map(|key| key.map(|key| values.value(key as usize))).collect(), values.len())
}

#[test]
fn a_dictionary_holds_each_value_once_and_forgets_what_was_taken_back() {
    let mut column = Dictionary::with_capacity(0);
    for i in 0..1000 {
        column.push(&format!("v{}", i % 100)).unwrap();
    }
    column.null();
    column.mark();
    for text in ["secret of a rejected message", "another, too long for a word", "short", "v5"] {
        column.push(text).unwrap();
    }
    column.truncate(1001);
    column.push("short").unwrap();
    column.truncate(1001);
    let first = column.finish().unwrap();
    let (rows, values) = dictionary(&first);
    assert_eq!((rows.len(), values), (1001, 100));
    assert_eq!((rows[0], rows[99], rows[100], rows[1000]), (Some("v0"), Some("v99"), Some("v0"), None));

    // The next batch shares the values, as the same memory while there are no new ones.
    column.push("v5").unwrap();
    let second = column.finish().unwrap();
    assert_eq!(dictionary(&second), (vec![Some("v5")], 100));
    let values =
        |array: &ArrayRef| array.as_dictionary::<Int32Type>().values().as_string::<i32>().values().as_ptr();
    assert_eq!(values(&first), values(&second));
    column.push("new").unwrap();
    assert_eq!(dictionary(&column.finish().unwrap()), (vec![Some("new")], 101));
    assert_eq!(dictionary(&column.finish().unwrap()), (vec![], 101));
}

#[test]
fn a_dictionary_that_grows_becomes_plain_and_comes_back() {
    let mut column = Dictionary::with_capacity(0);
    let mut next = 0;
    for batch in 0..20 {
        for row in 0..5000 {
            column.mark();
            column.push(&format!("value {next}")).unwrap();
            next += 1;
            column.push("again").unwrap();
            column.push(&format!("value {next}")).unwrap();
            next += 1;
            column.mark();
            column.push("rejected").unwrap();
            column.truncate(3 * row + 3);
        }
        let array = column.finish().unwrap();
        let (rows, values) = dictionary(&array);
        let plain = batch % 16 != 0;
        assert_eq!(values, if plain { 15_000 } else { 10_001 }, "{batch}");
        let [one, other] = [next - 2, next - 1].map(|value| format!("value {value}"));
        assert_eq!(rows[14_997..], [Some(one.as_str()), Some("again"), Some(&other)]);
    }
    // All rows are of one value again: nothing of the former ones stays.
    for _ in 0..20 {
        column.push("one").unwrap();
        column.finish().unwrap();
    }
    column.push("one").unwrap();
    assert_eq!(dictionary(&column.finish().unwrap()), (vec![Some("one")], 1));
}

#[test]
fn keys_of_parts_of_a_text_are_those_of_the_texts() {
    let text = "aéxyz and sixteen bytes, and many more than sixteen";
    let mut column = Dictionary::with_capacity(0);
    for start in 0..text.len() {
        for end in start..=text.len() {
            if let Some(part) = text.get(start..end) {
                let key = column.key(text.as_bytes(), start, end).unwrap();
                assert_eq!(column.push(part).unwrap(), key, "{part}");
            }
        }
    }
}

#[test]
fn lists_are_cut_back_with_their_elements() {
    let mut lists = NumberLists::with_capacity(0);
    lists.push(1.0);
    lists.push_null();
    lists.end().unwrap();
    lists.push(7.0);
    lists.null().unwrap();
    lists.push(3.0);
    lists.end().unwrap();
    lists.push(4.0);
    lists.truncate(2);
    lists.end().unwrap();
    let array = lists.finish().unwrap();
    let array = array.as_list::<i32>();
    let list = |i: usize| array.value(i).as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
    assert_eq!(list(0), [Some(1.0), None]);
    assert!(array.is_null(1));
    assert_eq!(list(2), []);

    let mut texts = TextLists::with_capacity(0);
    texts.push("a").unwrap();
    texts.push_null().unwrap();
    texts.end().unwrap();
    texts.push("b").unwrap();
    texts.truncate(0);
    texts.null().unwrap();
    let array = texts.finish().unwrap();
    assert_eq!(array.len(), 1);
    assert!(array.is_null(0));
}

#[test]
fn nulls_survive_truncation() {
    let mut column = Prim::<f64>::with_capacity(0);
    column.push(1.0);
    column.null();
    column.push(2.0);
    column.truncate(2);
    column.null();
    column.push(-0.0);
    let array = column.finish::<Float64Type>(&DataType::Float64).unwrap();
    let values: Vec<_> = array.as_primitive::<Float64Type>().iter().collect();
    assert_eq!(values, [Some(1.0), None, None, Some(-0.0)]);

    let mut bools = Bools::with_capacity(0);
    bools.push(true);
    bools.null();
    bools.push(false);
    bools.truncate(1);
    bools.push(true);
    let array = bools.finish().unwrap();
    assert_eq!(array.as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(true)]);

    let mut texts = Text::with_capacity(0);
    texts.push("ä").unwrap();
    texts.null().unwrap();
    texts.push("x").unwrap();
    texts.truncate(2);
    let array = texts.finish().unwrap();
    assert_eq!(array.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("ä"), None]);
}
