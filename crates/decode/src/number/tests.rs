use super::*;

#[test]
fn the_grammar_of_rfc_8259() {
    for text in ["0", "-0", "10", "1234567890123456789012345678901234567890"] {
        assert_eq!(written(text.as_bytes()), Some(Written::Whole), "{text}");
    }
    for text in ["0.0", "-1.5", "1e3", "1E+3", "1.28E-4", "0e0", "5e-324"] {
        assert_eq!(written(text.as_bytes()), Some(Written::Decimal), "{text}");
    }
    for text in
        ["", "-", "+1", "01", "-01", ".5", "5.", "1.e3", "1e", "1e+", " 1", "1 ", "0x1", "NaN", "1_0", "١"]
    {
        assert_eq!(written(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn doubles_hold_whole_numbers_exactly_or_not_at_all() {
    let double = |text: &str| super::double(text, written(text.as_bytes()).unwrap());
    assert_eq!(double("9007199254740992"), Some(9_007_199_254_740_992.0));
    assert_eq!(double("9007199254740993"), None);
    assert_eq!(double("9007199254740994"), Some(9_007_199_254_740_994.0));
    assert_eq!(double("9223372036854775808"), Some(9_223_372_036_854_775_808.0));
    assert_eq!(double("9223372036854775807"), None);
    assert_eq!(double("-9223372036854775808"), Some(-9_223_372_036_854_775_808.0));
    assert_eq!(double("18446744073709551615"), None);
    assert_eq!(double("18446744073709551616"), None);
    assert_eq!(double("9007199254740993.0"), Some(9_007_199_254_740_992.0));
    assert_eq!(double("1e400"), None);
    assert_eq!(double("1e-400"), Some(0.0));
    assert_eq!(double("5e-324"), Some(5e-324));
    assert!(double("-0").is_some_and(|zero| zero.is_sign_negative()));
    assert!(double("-0.0").is_some_and(|zero| zero.is_sign_negative()));
}

#[test]
fn integers_are_decided_on_the_text() {
    for (text, value) in [
        ("3.0", 3),
        ("1e3", 1000),
        ("-1.5e1", -15),
        ("0.003e3", 3),
        ("-0.0", 0),
        ("0e99999999999999999999", 0),
        ("100e-2", 1),
        ("9223372036854775807.0", i64::MAX),
        ("-9.223372036854775808e18", i64::MIN),
    ] {
        assert_eq!(integer(text), Some(value), "{text}");
    }
    for text in
        ["3.5", "0.99999999999999999999999", "9223372036854775808", "1e19", "1e-1", "1e99999999999999999999"]
    {
        assert_eq!(integer(text), None, "{text}");
    }
}

#[test]
fn scaling_rounds_down() {
    assert_eq!(scaled("1659966694.7167146", 9, false), Some(1_659_966_694_716_714_600));
    assert_eq!(scaled("-0.5", 0, false), Some(-1));
    assert_eq!(scaled("-1", 3, false), Some(-1000));
    assert_eq!(scaled("1e-9", 9, false), Some(1));
    assert_eq!(scaled("1.9e-9", 9, false), Some(1));
    assert_eq!(scaled("1e31", 0, false), None);
    assert_eq!(scaled("0.1", 0, true), None);
}
