use arrow_array::types::ArrowDictionaryKeyType;
use proptest::prelude::*;

use super::*;

const BROKER: i64 = 1_700_000_000_123_000;
const SECOND: Duration = Duration::from_secs(1);

fn bounds(ahead: Option<Duration>, behind: Option<Duration>) -> Drift {
    Drift::new(ClockBounds { ahead, behind }).unwrap()
}

fn brokers(times: &[Option<i64>]) -> PrimitiveArray<TimestampMicrosecondType> {
    times.iter().copied().collect()
}

fn dictionary(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>())
}

fn texts(quality: &ArrayRef) -> Vec<Option<String>> {
    fn of<K: ArrowDictionaryKeyType>(quality: &ArrayRef) -> Vec<Option<String>> {
        let quality = quality.as_dictionary::<K>();
        let typed = quality.downcast_dict::<StringArray>().unwrap();
        typed.into_iter().map(|text| text.map(str::to_owned)).collect()
    }
    of::<Int32Type>(quality)
}

/// The code of one row, by the whole way.
fn one(drift: Drift, event: i64, broker: Option<i64>) -> Option<String> {
    let (quality, count) = drift.flag(&[event], &brokers(&[broker]), dictionary(&[None])).unwrap();
    let text = texts(&quality).remove(0);
    assert_eq!(count, u64::from(text.is_some()));
    text
}

#[test]
fn a_bound_is_met_to_the_microsecond() {
    let ahead = Some("event_time:clock-ahead".to_owned());
    let behind = Some("event_time:clock-behind".to_owned());
    let both = bounds(Some(SECOND), Some(2 * SECOND));
    for (distance, expected) in [
        (0, &None),
        (1_000_000, &None),
        (1_000_001, &ahead),
        (-2_000_000, &None),
        (-2_000_001, &behind),
        (i64::from(i32::MAX) * 1_000_000, &ahead),
    ] {
        // On both sides of the epoch.
        for broker in [BROKER, 0, -BROKER] {
            assert_eq!(one(both, broker + distance, Some(broker)), *expected, "{distance} from {broker}");
        }
        assert_eq!(one(both, BROKER + distance, None), None);
    }
    let only_ahead = bounds(Some(SECOND), None);
    assert_eq!(one(only_ahead, BROKER + 1_000_001, Some(BROKER)), ahead);
    assert_eq!(one(only_ahead, FIRST_MICROSECOND, Some(LAST_MICROSECOND)), None);
    let only_behind = bounds(None, Some(SECOND));
    assert_eq!(one(only_behind, BROKER - 1_000_001, Some(BROKER)), behind);
    assert_eq!(one(only_behind, LAST_MICROSECOND, Some(FIRST_MICROSECOND)), None);
}

#[test]
fn the_ends_of_time_and_beyond() {
    let drift = bounds(Some(SECOND), Some(SECOND));
    let code = |event, broker| {
        one(drift, event, Some(broker)).map(|text| text["event_time:clock-".len()..].to_owned())
    };
    assert_eq!(code(LAST_MICROSECOND, FIRST_MICROSECOND).as_deref(), Some("ahead"));
    assert_eq!(code(FIRST_MICROSECOND, LAST_MICROSECOND).as_deref(), Some("behind"));
    assert_eq!(code(LAST_MICROSECOND, LAST_MICROSECOND), None);
    for broker in [i64::MIN, i64::MIN + 807, FIRST_MICROSECOND - 1, LAST_MICROSECOND + 1, i64::MAX] {
        for event in [FIRST_MICROSECOND, 0, BROKER, LAST_MICROSECOND] {
            assert_eq!(code(event, broker), None, "{event} from {broker}");
        }
    }
    // Bounds that nothing reaches are none.
    assert_eq!(Drift::new(ClockBounds::OFF), None);
    let years = Some(Duration::from_secs(10_000 * 366 * 86_400));
    assert_eq!(Drift::new(ClockBounds { ahead: years, behind: Some(Duration::MAX) }), None);
    let far = bounds(years, Some(SECOND));
    assert_eq!(one(far, LAST_MICROSECOND, Some(FIRST_MICROSECOND)), None);
    assert!(one(far, FIRST_MICROSECOND, Some(LAST_MICROSECOND)).is_some());
}

#[test]
fn codes_come_last_and_what_was_there_stays() {
    let old =
        [None, Some("a:null"), Some("a:null"), Some("b:nan;event_time:zone-assumed"), None, Some("a:null")];
    let off = 10_000_000;
    let events = [BROKER + off, BROKER + off, BROKER, BROKER - off, BROKER, BROKER - off];
    let drift = bounds(Some(SECOND), Some(SECOND));
    let quality = dictionary(&old);
    let (flagged, count) = drift.flag(&events, &brokers(&[Some(BROKER); 6]), quality.clone()).unwrap();
    assert_eq!(count, 4);
    let expected = [
        Some("event_time:clock-ahead"),
        Some("a:null;event_time:clock-ahead"),
        Some("a:null"),
        Some("b:nan;event_time:zone-assumed;event_time:clock-behind"),
        None,
        Some("a:null;event_time:clock-behind"),
    ];
    assert_eq!(texts(&flagged), expected.map(|text| text.map(str::to_owned)));
    assert_eq!(texts(&quality), old.map(|text| text.map(str::to_owned)), "it may be shared");
}

#[test]
fn a_batch_without_such_rows_keeps_its_quality_as_it_is() {
    let drift = bounds(Some(SECOND), Some(SECOND));
    let quality = dictionary(&[Some("a:null"), None, None]);
    for brokers in
        [brokers(&[Some(BROKER); 3]), brokers(&[None; 3]), brokers(&[Some(BROKER), None, Some(i64::MAX)])]
    {
        let (same, count) = drift.flag(&[BROKER; 3], &brokers, quality.clone()).unwrap();
        assert!(count == 0 && Arc::ptr_eq(&same, &quality));
    }
    let none = dictionary(&[]);
    assert_eq!(drift.flag(&[], &brokers(&[]), none).unwrap().1, 0);
}

/// Times near the bounds, near the ends and anywhere.
fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -3_000_i64..3_000,
        2 => prop_oneof![Just(1_000), Just(1_001), Just(-2_000), Just(-2_001)],
        1 => any::<i64>(),
    ]
}

fn broker() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        8 => (-10_i64..10).prop_map(|ms| Some(BROKER + ms * 1_000)),
        2 => Just(None),
        1 => any::<i64>().prop_map(Some),
        1 => prop_oneof![Just(Some(FIRST_MICROSECOND)), Just(Some(LAST_MICROSECOND))],
    ]
}

proptest! {
    /// In numbers that cannot overflow, one row at a time, as it is documented.
    #[test]
    fn the_rows_flagged_are_those_that_a_naive_look_finds(
        rows in prop::collection::vec((broker(), distance(), 0..4_usize), 0..80),
        ahead in prop::option::of(Just(1_000_u64)),
        behind in prop::option::of(Just(2_000_u64)),
    ) {
        let words = [None, Some("a:null"), Some("a:null;b:nan"), Some("event_time:zone-assumed")];
        let us = |bound: Option<u64>| bound.map(Duration::from_micros);
        let within = FIRST_MICROSECOND..=LAST_MICROSECOND;
        let events: Vec<i64> = rows
            .iter()
            .map(|(broker, distance, _)| {
                let event = broker.unwrap_or(0).saturating_add(*distance);
                event.clamp(FIRST_MICROSECOND, LAST_MICROSECOND)
            })
            .collect();
        let times: Vec<Option<i64>> = rows.iter().map(|(broker, ..)| *broker).collect();
        let old: Vec<Option<&str>> = rows.iter().map(|(.., word)| words[*word]).collect();

        let expected: Vec<Option<String>> = (0..rows.len())
            .map(|row| {
                let code = times[row].filter(|broker| within.contains(broker)).and_then(|broker| {
                    let distance = i128::from(events[row]) - i128::from(broker);
                    let is_ahead = ahead.is_some_and(|ahead| distance > i128::from(ahead));
                    let is_behind = behind.is_some_and(|behind| -distance > i128::from(behind));
                    is_ahead.then_some("event_time:clock-ahead").or(is_behind.then_some("event_time:clock-behind"))
                });
                let all: Vec<&str> = old[row].into_iter().chain(code).collect();
                (!all.is_empty()).then(|| all.join(";"))
            })
            .collect();

        let quality = dictionary(&old);
        let (flagged, count) = match Drift::new(ClockBounds { ahead: us(ahead), behind: us(behind) }) {
            Some(drift) => drift.flag(&events, &brokers(&times), quality).unwrap(),
            None => (quality, 0),
        };
        prop_assert_eq!(texts(&flagged), expected.clone());
        let changed = expected.iter().zip(&old).filter(|(new, old)| new.as_deref() != **old).count();
        prop_assert_eq!(count, changed as u64);
    }
}
