use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, TimestampMicrosecondArray};

use situs_model::store::ZoneStore as _;

use super::*;
use crate::store::tests::support::*;

fn list(lists: &[Option<&[&str]>]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in lists {
        match list {
            Some(words) => builder.append_value(words.iter().map(Some)),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn words(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>())
}

/// Counted row by row and without any of the shortcuts.
fn naive(batches: &[RecordBatch]) -> BTreeMap<Tags, (u64, Option<(i64, i64)>)> {
    let mut counted = BTreeMap::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let one = batch.slice(row, 1);
            let columns = Columns::of(Path::new("a batch"), &one).unwrap();
            let time = columns.times.as_ref().and_then(|times| times[0]);
            let entry: &mut (u64, Option<(i64, i64)>) = counted.entry(columns.tags(0)).or_default();
            entry.0 += 1;
            if let Some(time) = time {
                let span = entry.1.get_or_insert((time, time));
                *span = (span.0.min(time), span.1.max(time));
            }
        }
    }
    counted
}

#[test]
fn rows_are_counted_by_their_tags_with_the_span_of_their_times() {
    let batch = |shift: i64| {
        let times: TimestampMicrosecondArray =
            [Some(shift), None, Some(shift - 7), Some(3), None].into_iter().collect();
        RecordBatch::try_from_iter([
            (ZONE, words(&[Some("CN"), Some("CN"), Some("CN"), Some("EU"), None])),
            (JURISDICTION, words(&[Some("CN"), Some("CN"), Some("CN"), Some("DE"), None])),
            (SITE, words(&[Some("a"), Some("b"), Some("a"), Some("a"), None])),
            (CLASS, words(&[Some("general"); 5])),
            (TRAINING, words(&[Some("in-zone"), Some("in-zone"), Some("in-zone"), None, Some("prohibited")])),
            (POLICY, words(&[Some("p1"), Some("p1"), Some("p1"), Some("p2"), None])),
            // `[m, n]` is not `[m]` and `[n]` of markets.
            (MODELS, list(&[Some(&["m", "n"]), Some(&["m"]), Some(&["m", "n"]), Some(&[]), None])),
            (MARKETS, list(&[None, Some(&["n"]), None, None, None])),
            (EVENT_TIME, Arc::new(times.with_timezone("UTC")) as ArrayRef),
        ])
        .unwrap()
    };
    // Later files may have columns that earlier ones lack.
    let bare =
        RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
    let batches = [batch(100), bare, batch(50)];
    let mut tally = Tally::default();
    for batch in &batches {
        tally.take(Path::new("a file"), batch).unwrap();
    }
    let counted = tally.finish(7);
    assert_eq!((counted.version, counted.rows()), (7, 12));
    let by_tags: BTreeMap<_, _> =
        counted.tagged.iter().map(|one| (one.tags.clone(), (one.rows, one.span_us))).collect();
    assert_eq!(by_tags, naive(&batches));
    assert_eq!(by_tags.len(), counted.tagged.len());
    // An empty list and none are both no model, and differ in nothing else than `_policy` and so on.
    let most = counted.tagged.iter().find(|one| one.tags.models == ["m", "n"]).unwrap();
    assert_eq!((most.rows, most.span_us), (4, Some((43, 100))));
    let nothing = counted.tagged.iter().find(|one| one.tags == Tags::default()).unwrap();
    assert_eq!((nothing.rows, nothing.span_us), (2, None), "{counted:#?}");
}

#[test]
fn tags_of_another_type_are_not_taken_for_none() {
    let numbers = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    for name in [MODELS, MARKETS, SITE, EVENT_TIME] {
        let batch = RecordBatch::try_from_iter([(name, numbers())]).unwrap();
        let refused = Tally::default().take(Path::new("a file"), &batch).unwrap_err();
        assert!(refused.message.contains(&format!("column `{name}` is")), "{}", refused.message);
    }
}

#[tokio::test]
async fn a_table_is_read_whole_at_its_newest_version() {
    let (dir, store) = fresh().await;
    for (n, start) in (0..).zip([0, 40]) {
        let flush = format!("f{n}");
        store.append(&append(store.identity(), &flush, 0, start, start + 40)).await.unwrap();
    }
    let reader = StoreReader::open(dir.path()).unwrap();
    let table: TableName = "cnc_state".parse().unwrap();
    let counted = reader.tagged_rows(&table).await.unwrap();
    assert_eq!(counted.version, reader.snapshot(&table).await.unwrap().version);
    let [tagged] = &counted.tagged[..] else { panic!("{counted:#?}") };
    assert_eq!((tagged.rows, tagged.span_us), (160, Some((time_of(0), time_of(79)))));
    let tags = &tagged.tags;
    let texts = [&tags.zone, &tags.jurisdiction, &tags.site, &tags.class, &tags.policy];
    let policy = situs_model::ContentVersion::of(b"policy");
    assert_eq!(texts, ["CN", "CN", "nanning-1", "general", policy.as_str()]);
    assert_eq!((&tags.models[..], &tags.markets[..]), (&[][..], &["EU".to_owned()][..]));
    assert!(reader.tagged_rows(&"nothing".parse().unwrap()).await.is_err());
}
