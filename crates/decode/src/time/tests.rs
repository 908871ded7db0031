use super::*;

fn rfc3339(text: &str) -> Option<i64> {
    TimeFormat::Rfc3339.read(text).and_then(|(instant, _)| instant.nanoseconds())
}

#[test]
fn rfc_3339_with_any_offset_and_fraction() {
    let base = 1_659_966_694_000_000_000;
    for (text, fraction) in [
        ("2022-08-08T13:51:34Z", 0),
        ("2022-08-08t13:51:34z", 0),
        ("2022-08-08T13:51:34.7Z", 700_000_000),
        ("2022-08-08T13:51:34.716Z", 716_000_000),
        ("2022-08-08T13:51:34.7167146Z", 716_714_600),
        ("2022-08-08T13:51:34.123456789Z", 123_456_789),
        ("2022-08-08T15:51:34.000000001+02:00", 1),
        ("2022-08-08T03:21:34-10:30", 0),
        ("2022-08-08T13:51:34-00:00", 0),
        ("2022-08-09T13:50:34+23:59", 0),
    ] {
        assert_eq!(rfc3339(text), Some(base + fraction), "{text}");
    }
}

#[test]
fn what_is_no_time() {
    for text in [
        "",
        "2022-08-08",
        "2022-08-08T13:51Z",
        "2022-08-08T13:51:34",
        "2022-08-08 13:51:34Z",
        "2022-08-08T13:51:34.Z",
        "2022-08-08T13:51:34.1234567890Z",
        "2022-08-08T13:51:34+0200",
        "2022-08-08T13:51:34+02",
        "2022-08-08T13:51:34+24:00",
        "2022-08-08T13:51:34+02:60",
        "2022-08-08T13:51:34ZZ",
        "2022-08-08T24:00:00Z",
        "2022-08-08T13:60:00Z",
        "2022-08-08T13:51:61Z",
        "2022-13-08T13:51:34Z",
        "2022-00-08T13:51:34Z",
        "2022-02-29T13:51:34Z",
        "1900-02-29T00:00:00Z",
        "2022-04-31T13:51:34Z",
        "2022-08-00T13:51:34Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "+022-08-08T13:51:34Z",
        "2022/08/08T13:51:34Z",
        "２022-08-08T13:51:34Z",
        "2022-08-08T13:51:34é",
    ] {
        assert_eq!(TimeFormat::Rfc3339.read(text), None, "{text}");
    }
    // A multi-byte character across the cut after 19 bytes.
    assert_eq!(TimeFormat::Rfc3339.read("2022-08-08T13:51:3é"), None);
}

#[test]
fn leap_days_and_leap_seconds() {
    assert_eq!(rfc3339("2000-02-29T00:00:00Z"), Some(951_782_400_000_000_000));
    assert_eq!(rfc3339("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000_000));
    let last = Some(1_483_228_799_999_999_999);
    assert_eq!(rfc3339("2016-12-31T23:59:60Z"), last);
    assert_eq!(rfc3339("2016-12-31T23:59:60.5Z"), last);
    assert_eq!(rfc3339("2017-01-01T00:59:60+01:00"), last);
    assert_eq!(rfc3339("2016-12-31T23:58:60Z"), None);
    assert_eq!(rfc3339("2017-01-01T12:59:60Z"), None);
}

#[test]
fn local_times_are_read_as_utc_and_say_so() {
    let read = |text| TimeFormat::Iso8601Local.read(text).map(|(i, local)| (i.microseconds(), local));
    assert_eq!(read("2022-08-08T13:51:34.5"), Some((1_659_966_694_500_000, true)));
    assert_eq!(read("2022-08-08 13:51:34"), Some((1_659_966_694_000_000, true)));
    assert_eq!(read("2022-08-08 15:51:34+02:00"), Some((1_659_966_694_000_000, false)));
}

#[test]
fn epochs_as_number_and_as_text() {
    let format = |word: &str| TimeFormat::WORDS.iter().find(|(w, _)| *w == word).unwrap().1;
    for (word, text) in [
        ("epoch-s", "1659966694.716"),
        ("epoch-ms", "1659966694716"),
        ("epoch-ms", "1.659966694716E12"),
        ("epoch-us", "1659966694716000"),
        ("epoch-ns", "1659966694716000999"),
    ] {
        let (instant, _) = format(word).read(text).unwrap();
        assert_eq!(instant.microseconds(), 1_659_966_694_716_000, "{word} {text}");
    }
    assert_eq!(format("epoch-ms").read_integer(-1).unwrap().microseconds(), -1000);
    assert_eq!(format("epoch-ns").read_integer(-1).unwrap().microseconds(), -1);
    // Nanoseconds where milliseconds belong are 50 million years, not a time.
    assert_eq!(format("epoch-ms").read_integer(1_659_966_694_716_000_000), None);
    assert_eq!(format("epoch-s").read_integer(i128::from(u64::MAX)), None);
    for text in ["", "x", " 1", "0x1", "1e400", "NaN", "٣"] {
        assert_eq!(format("epoch-s").read(text), None, "{text}");
    }
}

#[test]
fn the_ends_of_the_range() {
    let first = TimeFormat::Rfc3339.read("0001-01-01T00:00:00Z").unwrap().0;
    assert_eq!((first.microseconds(), first.nanoseconds()), (-62_135_596_800_000_000, None));
    let last = TimeFormat::Rfc3339.read("9999-12-31T23:59:59.999999999Z").unwrap().0;
    assert_eq!((last.microseconds(), last.nanoseconds()), (253_402_300_799_999_999, None));
    assert_eq!((day(-1), day(0), day(86_399_999_999), day(86_400_000_000)), (-1, 0, 0, 1));
    assert_eq!(day(last.microseconds()), 2_932_896);
}

#[test]
fn days_agree_with_counting() {
    let mut expected = -719_162;
    for year in 1..=2400 {
        for month in 1..=12 {
            for day in 1..=days_in_month(year, month) {
                assert_eq!(Date::of(year as i32, month, day).days(), expected);
                expected += 1;
            }
        }
    }
}
