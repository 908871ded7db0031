use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::offset::NextOffset;

fn zone(name: &str) -> ZoneId {
    name.parse().unwrap()
}

/// A tagged batch of `messages` messages; `rows` gives (message, verdict) of each row.
fn tagged(messages: usize, rows: &[(u32, u16)], verdicts: Vec<Verdict>, rejects: Vec<Reject>) -> TaggedBatch {
    let source = Source { cluster: "kafka".parse().unwrap(), topic: "t".into(), partition: 3 };
    let mut raw = RawBatch::new(source, NextOffset(100), 7);
    for i in 0..messages {
        let header = (&b"h"[..], Some(&b"v"[..]));
        raw.push(
            100 + i as i64,
            Some(5),
            Some(b"k"),
            Some(format!("payload {i}").as_bytes()),
            [header].into_iter(),
        );
    }
    let ids: ArrayRef = Arc::new((0..rows.len() as i64).collect::<Int64Array>());
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    TaggedBatch {
        decoded: DecodedBatch {
            raw: Arc::new(raw),
            rows: RecordBatch::try_new(Arc::new(schema), vec![ids]).unwrap(),
            message_of_row: rows.iter().map(|(message, _)| *message).collect(),
            rejects,
            notes: DecodeNotes::default(),
        },
        verdicts,
        verdict_of_row: rows.iter().map(|(_, verdict)| *verdict).collect(),
    }
}

/// The masks of rows without classes.
fn no_masks(tagged: &TaggedBatch) -> Masks {
    Masks::new(tagged.decoded.rows.schema(), crate::mask::Outside::new(), Arc::default())
}

fn ids(batch: &ResidentBatch) -> Vec<i64> {
    use arrow_array::cast::AsArray as _;
    batch.rows().column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
}

#[test]
fn one_undetermined_row_takes_its_message_and_no_other() {
    let verdicts = vec![
        Verdict::Resident(zone("CN")),
        Verdict::Resident(zone("EU")),
        Verdict::Undetermined(UndeterminedReason::UnknownDevice),
    ];
    let rows = [(0, 0), (1, 0), (1, 2), (1, 1), (2, 1), (4, 0), (4, 1)];
    let reject = Reject { message: 3, code: RejectCode::InvalidJson, pointer: None, byte: Some(4) };
    let stores = BTreeSet::from([zone("CN"), zone("EU")]);
    let tagged = tagged(5, &rows, verdicts, vec![reject]);
    let masks = no_masks(&tagged);
    let split = split(tagged, &stores, &masks).unwrap();

    assert_eq!(split.resident.len(), 2);
    assert_eq!((split.resident[0].zone().as_str(), ids(&split.resident[0])), ("CN", vec![0, 5]));
    assert_eq!((split.resident[1].zone().as_str(), ids(&split.resident[1])), ("EU", vec![4, 6]));
    let quarantined: Vec<_> = split
        .quarantined
        .iter()
        .map(|q| (q.offset, q.reason.as_str(), q.rows, q.payload.clone().unwrap()))
        .collect();
    assert_eq!(
        quarantined,
        [(101, "unknown-device", 3, b"payload 1".to_vec()), (103, "invalid-json", 0, b"payload 3".to_vec()),]
    );
    assert_eq!(split.quarantined[1].byte, Some(4));
    assert_eq!(split.quarantined[0].headers, [(b"h".to_vec(), Some(b"v".to_vec()))]);
    let counts = &split.counts;
    assert_eq!((counts.messages, counts.decoded, counts.rejected), (5, 4, 1));
    assert_eq!((counts.stored_messages(), counts.stored_rows()), (3, 4));
    assert_eq!((counts.quarantined_messages(), counts.quarantined_rows), (2, 3));
    assert!(crate::invariant::eo1(counts) && crate::invariant::eo2(counts));
}

#[test]
fn a_zone_without_a_store_is_quarantined_never_moved() {
    let verdicts = vec![Verdict::Resident(zone("CN")), Verdict::Resident(zone("EU"))];
    let stores = BTreeSet::from([zone("EU")]);
    let tagged = tagged(2, &[(0, 0), (1, 1)], verdicts, vec![]);
    let masks = no_masks(&tagged);
    let split = split(tagged, &stores, &masks).unwrap();
    assert_eq!(split.resident.len(), 1);
    assert_eq!(split.resident[0].zone().as_str(), "EU");
    assert_eq!(split.quarantined[0].reason.as_str(), "zone-without-store");
}

#[test]
fn an_empty_batch_splits_into_nothing() {
    let tagged = tagged(0, &[], vec![], vec![]);
    let masks = no_masks(&tagged);
    let split = split(tagged, &BTreeSet::new(), &masks).unwrap();
    assert!(split.resident.is_empty() && split.quarantined.is_empty());
    assert_eq!(split.counts, Counts::default());
}

#[test]
fn rows_are_selected_as_arrow_filters_them_whatever_is_alike() {
    use arrow_array::types::Float64Type;
    use arrow_array::{DictionaryArray, Float64Array, Int32Array, ListArray, StringArray};
    use arrow_select::filter::filter_record_batch;

    const ROWS: usize = 200;
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("b")]));
    let dictionary = |key: &dyn Fn(usize) -> Option<i32>| -> ArrayRef {
        let keys: Int32Array = (0..ROWS).map(key).collect();
        Arc::new(DictionaryArray::try_new(keys, values.clone()).unwrap())
    };
    let list = |length: &dyn Fn(usize) -> Option<usize>| -> ArrayRef {
        let lists = (0..ROWS).map(|row| length(row).map(|length| vec![Some(row as f64); length]));
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..ROWS as i64)),
        Arc::new(Int64Array::from(vec![7; ROWS])),
        // Only the last one differs.
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| i64::from(row == ROWS - 1)))),
        Arc::new(Int32Array::from(vec![7; ROWS])),
        Arc::new((0..ROWS).map(|row| (row % 3 > 0).then_some(7)).collect::<Int32Array>()),
        Arc::new(Int32Array::new_null(ROWS)),
        Arc::new(Float64Array::from(vec![f64::NAN; ROWS])),
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| "x".repeat(row % 5)))),
        dictionary(&|_| Some(2)),
        dictionary(&|_| Some(1)),
        dictionary(&|row| Some(row as i32 % 4)),
        dictionary(&|row| (row % 2 == 0).then_some(0)),
        dictionary(&|_| None),
        list(&|row| Some(row % 4)),
        list(&|_| None),
        list(&|_| Some(2)),
    ];
    let named = columns.into_iter().enumerate().map(|(n, column)| (format!("c{n}"), column));
    let rows = RecordBatch::try_from_iter(named).unwrap();
    let masks: [&dyn Fn(usize) -> bool; 6] = [
        &|row| row % 2 == 0,
        &|row| row == 3,
        &|row| row != 3,
        &|row| row > 150,
        &|row| row == ROWS - 1,
        &|_| true,
    ];
    for mask in masks {
        let mask = BooleanBuffer::collect_bool(ROWS, mask);
        let count = mask.count_set_bits();
        let expected = filter_record_batch(&rows, &BooleanArray::new(mask.clone(), None)).unwrap();
        assert_eq!(select(&rows, mask, count).unwrap(), expected);
    }
}
