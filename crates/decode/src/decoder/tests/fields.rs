//! What becomes of single fields.

use super::*;

/// A schema with one field `v`.
fn one(field: Value) -> Arc<Schema> {
    schema(json!({}), json!({"v": field}))
}

/// The row that `{"v": value}` gives; the reject's code otherwise.
fn try_value(schema: &Arc<Schema>, value: &str) -> Value {
    let text = format!("{{\"v\":{value}}}");
    let decoded = decode(schema, &[text.as_bytes()]);
    match decoded.rejects.first() {
        Some(reject) => {
            assert_eq!(
                (reject.byte, reject.pointer.is_none()),
                (Some(5), reject.pointer.is_none()),
                "{text}"
            );
            json!(reject.code.as_str())
        }
        None => row(&decoded.rows, 0),
    }
}

#[test]
fn numbers_in_float64() {
    let schema = one(json!({"type": "number", "x-situs": {"sentinels": ["--"]}}));
    for (text, value) in [
        ("1", 1.0),
        ("-1.5e-3", -1.5e-3),
        ("1.28E-4", 1.28e-4),
        ("9007199254740991", 9_007_199_254_740_991.0),
        ("9007199254740992", 9_007_199_254_740_992.0),
        ("-9007199254740992", -9_007_199_254_740_992.0),
        ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ("9007199254740993.0", 9_007_199_254_740_992.0),
        ("5e-324", 5e-324),
        ("2e-324", 0.0),
        ("1.7976931348623157e308", f64::MAX),
        ("0.1000000000000000055511151231257827021181583404541015625000000", 0.1),
        ("0e99999999999", 0.0),
        ("\"12.5\"", 12.5),
        ("\"-0.0\"", -0.0),
        ("\"1.28E-4\"", 1.28e-4),
    ] {
        assert_eq!(try_value(&schema, text), json!({"v": value}), "{text}");
    }
    for text in ["-0.0", "-0", "\"-0\""] {
        let decoded = decode(&schema, &[format!("{{\"v\":{text}}}").as_bytes()]);
        let value = decoded.rows.column(0).as_primitive::<Float64Type>().value(0);
        assert!(value == 0.0 && value.is_sign_negative(), "{text}");
    }
    for (text, code) in [
        ("9007199254740993", "number-out-of-range"),
        ("-9007199254740993", "number-out-of-range"),
        ("9223372036854775807", "number-out-of-range"),
        ("18446744073709551615", "number-out-of-range"),
        ("18446744073709551616", "number-out-of-range"),
        ("-9223372036854775809", "number-out-of-range"),
        ("1e400", "number-out-of-range"),
        ("-1e400", "number-out-of-range"),
        ("1.8e308", "number-out-of-range"),
        ("\"1e400\"", "number-out-of-range"),
        ("\"9007199254740993\"", "number-out-of-range"),
        ("\"+1\"", "bad-number"),
        ("\" 1\"", "bad-number"),
        ("\"1,5\"", "bad-number"),
        ("\"0x10\"", "bad-number"),
        ("\"abc\"", "bad-number"),
        ("true", "wrong-type"),
        ("[1]", "wrong-type"),
        ("{}", "wrong-type"),
    ] {
        assert_eq!(try_value(&schema, text), code, "{text}");
    }
    for (text, code) in [
        ("null", "null"),
        ("\"\"", "empty"),
        ("\"UNAVAILABLE\"", "unavailable"),
        ("\"NaN\"", "nan"),
        ("\"Infinity\"", "infinite"),
        ("\"-INF\"", "infinite"),
        ("\"--\"", "sentinel"),
    ] {
        let rows = try_value(&schema, text);
        assert_eq!(rows, json!({"_quality": format!("v:{code};event_time:broker")}), "{text}");
    }
}

#[test]
fn numbers_in_integer_columns() {
    let int64 = one(json!({"type": "integer"}));
    for (text, value) in [
        ("0", 0),
        ("-0", 0),
        ("3.0", 3),
        ("1e3", 1000),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("9223372036854775807.0", i64::MAX),
        ("\"9007199254740993\"", 9_007_199_254_740_993),
        ("\"1e2\"", 100),
    ] {
        assert_eq!(try_value(&int64, text), json!({"v": value}), "{text}");
    }
    for text in
        ["9223372036854775808", "18446744073709551616", "3.5", "1e19", "0.99999999999999999999", "\"1.5\""]
    {
        assert_eq!(try_value(&int64, text), "number-out-of-range", "{text}");
    }
    let int32 = one(json!({"type": "integer", "x-situs": {"arrow": "int32"}}));
    assert_eq!(try_value(&int32, "2147483647"), json!({"v": i32::MAX}));
    assert_eq!(try_value(&int32, "-2147483648"), json!({"v": i32::MIN}));
    assert_eq!(try_value(&int32, "2147483648"), "number-out-of-range");
}

#[test]
fn texts() {
    for arrow in ["utf8", "dictionary"] {
        let schema = one(json!({"type": "string", "x-situs": {"arrow": arrow, "sentinels": ["None"]}}));
        assert_eq!(try_value(&schema, r#""a\u0000\ud83d\ude00\/é""#), json!({"v": "a\0\u{1f600}/é"}));
        assert_eq!(try_value(&schema, "\"NaN\""), json!({"v": "NaN"}));
        for (text, code) in [
            ("null", "null"),
            ("\"\"", "empty"),
            ("\"UNAVAILABLE\"", "unavailable"),
            ("\"None\"", "sentinel"),
        ] {
            let expected = json!({"_quality": format!("v:{code};event_time:broker")});
            assert_eq!(try_value(&schema, text), expected, "{text}");
        }
        for text in ["1", "true", "[]", "{}"] {
            assert_eq!(try_value(&schema, text), "wrong-type", "{text}");
        }
    }
    let mixed = one(json!({"type": ["string", "integer"], "x-situs": {"arrow": "dictionary"}}));
    assert_eq!(try_value(&mixed, "1.50"), json!({"v": "1.50"}));
    assert_eq!(try_value(&mixed, "18446744073709551615"), json!({"v": "18446744073709551615"}));
    assert_eq!(try_value(&mixed, "true"), "wrong-type");
}

#[test]
fn booleans() {
    let schema = one(json!({"type": "boolean"}));
    assert_eq!(try_value(&schema, "true"), json!({"v": true}));
    assert_eq!(try_value(&schema, "false"), json!({"v": false}));
    assert_eq!(try_value(&schema, "\"\"")["_quality"], "v:empty;event_time:broker");
    assert_eq!(try_value(&schema, "1"), "wrong-type");
    assert_eq!(try_value(&schema, "\"true\""), "wrong-type");
}

#[test]
fn any_value_as_json_text() {
    let schema = one(json!({"x-situs": {"arrow": "json"}}));
    for text in ["1.50", "\"a\\\"b\"", "{ \"a\" : [ 1 , {} ] }", "[]", "true", "-0", "[[1],[2]]", "\"\\\\\""]
    {
        assert_eq!(try_value(&schema, text), json!({"v": text}), "{text}");
    }
    assert_eq!(try_value(&schema, "null")["_quality"], "v:null;event_time:broker");
}

#[test]
fn lists() {
    let numbers = one(json!({"type": "array", "items": {"type": "number"}}));
    assert_eq!(try_value(&numbers, "[1, -0.5, \"2\"]"), json!({"v": [1.0, -0.5, 2.0]}));
    assert_eq!(try_value(&numbers, "[]"), json!({"v": []}));
    let expected = json!({"v": [1.0, null, null, null], "_quality": "v:null;v:nan;event_time:broker"});
    assert_eq!(try_value(&numbers, "[1,null,\"NaN\",null]"), expected);
    assert_eq!(try_value(&numbers, "\"UNAVAILABLE\"")["_quality"], "v:unavailable;event_time:broker");
    assert_eq!(try_value(&numbers, "1"), "wrong-type");
    assert_eq!(reject_of(&numbers, "{\"v\":[1,[2]]}"), (RejectCode::WrongType, "/v/1".into()));
    assert_eq!(
        reject_of(&numbers, "{\"v\":[9007199254740993]}"),
        (RejectCode::NumberOutOfRange, "/v/0".into())
    );

    let either = one(
        json!({"type": ["array", "number"], "items": {"type": "number"}, "x-situs": {"scalar-as-list": true}}),
    );
    assert_eq!(try_value(&either, "1"), json!({"v": [1.0]}));
    assert_eq!(try_value(&either, "[1]"), json!({"v": [1.0]}));
    assert_eq!(try_value(&either, "{}"), "wrong-type");

    let texts = one(json!({"type": "array", "items": {"type": "string"}}));
    let expected = json!({"v": ["a", null, "b"], "_quality": "v:empty;event_time:broker"});
    assert_eq!(try_value(&texts, "[\"a\",\"\",\"b\"]"), expected);
    assert_eq!(reject_of(&texts, "{\"v\":[\"a\",1]}"), (RejectCode::WrongType, "/v/1".into()));
}

#[test]
fn times() {
    let schema = one(json!({"x-situs": {"time": ["rfc3339", "epoch-ms", "iso8601-local"]}}));
    let us = 1_659_966_694_716_714_i64;
    for (text, us) in [
        ("\"2022-08-08T13:51:34.7167146Z\"", us),
        ("\"2022-08-08T14:51:34.7167146+01:00\"", us),
        ("1659966694716", us / 1000 * 1000),
        ("\"1659966694716\"", us / 1000 * 1000),
        ("1659966694716.7146", us),
        ("1.659966694716E12", us / 1000 * 1000),
        ("-1", -1000),
    ] {
        assert_eq!(try_value(&schema, text), json!({"v": us}), "{text}");
    }
    let local = try_value(&schema, "\"2022-08-08 13:51:34.7167146\"");
    assert_eq!(local, json!({"v": us, "_quality": "v:zone-assumed;event_time:broker"}));
    assert_eq!(try_value(&schema, "\"NaN\"")["_quality"], "v:nan;event_time:broker");
    for text in ["\"yesterday\"", "1e18", "18446744073709551615", "\"2022-02-30T00:00:00Z\""] {
        assert_eq!(try_value(&schema, text), "bad-time", "{text}");
    }
    assert_eq!(try_value(&schema, "[]"), "wrong-type");
    let text_only = one(json!({"x-situs": {"time": "rfc3339"}}));
    assert_eq!(try_value(&text_only, "1659966694716"), "bad-time");
}

#[test]
fn the_best_time_that_is_there_is_the_event_time() {
    let time = |rank: i64| json!({"x-situs": {"role": "event-time", "rank": rank, "time": ["epoch-s", "iso8601-local"]}});
    let schema = schema(json!({}), json!({"a": time(2), "b": time(0), "c": time(1)}));
    for (text, seconds) in
        [(r#"{"a":1,"b":2,"c":3}"#, 2), (r#"{"a":1,"c":3}"#, 3), (r#"{"a":1,"b":null,"c":"UNAVAILABLE"}"#, 1)]
    {
        let decoded = decode(&schema, &[text.as_bytes()]);
        assert_eq!(column(&decoded.rows, "event_time"), [seconds * 1_000_000], "{text}");
    }
    let decoded = decode(&schema, &[br#"{"c":"1970-01-01T00:00:05"}"#]);
    assert_eq!(column(&decoded.rows, "_quality"), ["c:zone-assumed"]);
    assert_eq!(reject_of(&schema, r#"{"a":"x","b":2}"#), (RejectCode::BadTime, "/a".into()));
}

#[test]
fn a_time_can_stay_text() {
    let schema = one(
        json!({"type": "string", "x-situs": {"arrow": "utf8", "role": "event-time", "time": ["iso8601-local"]}}),
    );
    let decoded = decode(&schema, &[br#"{"v":"1970-01-01T00:00:05"}"#]);
    assert_eq!(row(&decoded.rows, 0), json!({"v": "1970-01-01T00:00:05", "_quality": "v:zone-assumed"}));
    assert_eq!(column(&decoded.rows, "event_time"), [5_000_000]);
}

#[test]
fn required_fields() {
    let nested = json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}});
    let schema = schema_requiring(
        json!({}),
        json!({"a": {"type": "integer"}, "o": nested, "s": {"type": "integer", "x-situs": {"source": "/p/q"}}}),
        json!(["a", "s"]),
    );
    assert_eq!(rows_of(&schema, r#"{"a":1,"p":{"q":2}}"#), [json!({"a": 1, "s": 2})]);
    assert_eq!(reject_of(&schema, r#"{"p":{"q":2}}"#), (RejectCode::MissingField, "/a".into()));
    assert_eq!(reject_of(&schema, r#"{"a":null,"p":{"q":2}}"#), (RejectCode::MissingField, "/a".into()));
    assert_eq!(reject_of(&schema, r#"{"a":1,"p":{}}"#), (RejectCode::MissingField, "/s".into()));
    assert_eq!(
        reject_of(&schema, r#"{"a":1,"p":{"q":2},"o":{}}"#),
        (RejectCode::MissingField, "/o/x".into())
    );
    // A text that means "no value" is there all the same.
    assert_eq!(rows_of(&schema, r#"{"a":"UNAVAILABLE","p":{"q":2}}"#)[0]["s"], 2);
}

#[test]
fn pointers_to_nested_values_and_positions() {
    let schema = schema(
        json!({}),
        json!({
            "a": {"type": "integer", "x-situs": {"source": "/p/q~1r/0"}},
            "b": {"type": "integer", "x-situs": {"source": "/p/q~1r/2/z"}},
            "c": {"type": "integer", "x-situs": {"source": "/code/n"}},
            "code": {"type": "integer", "x-situs": {"column": "c"}},
        }),
    );
    let decoded = decode(&schema, &[br#"{"p":{"q/r":[1,5,{"z":2}]},"code":{"n":7}}"#]);
    assert_eq!(row(&decoded.rows, 0), json!({"a": 1, "b": 2, "c": 7}));
    assert_eq!(decoded.notes.unknown_fields, 1);
    assert_eq!(rows_of(&schema, r#"{"code":8,"p":null}"#), [json!({"c": 8})]);
    assert_eq!(reject_of(&schema, r#"{"p":5}"#), (RejectCode::WrongType, "/p".into()));
    assert_eq!(reject_of(&schema, r#"{"p":{"q/r":["x"]}}"#), (RejectCode::BadNumber, "/p/q~1r/0".into()));
}

#[test]
fn fields_that_share_a_column() {
    let schema = schema(
        json!({}),
        json!({
            "a": {"type": "integer", "x-situs": {"column": "n"}},
            "b": {"type": "integer", "x-situs": {"column": "n"}},
            "d": {"type": "string", "x-situs": {"column": "dev", "role": "device"}},
            "e": {"type": "string", "x-situs": {"column": "dev", "role": "device"}},
        }),
    );
    assert_eq!(schema.device_column(), Some("dev"));
    assert_eq!(rows_of(&schema, r#"{"b":2}"#), [json!({"n": 2})]);
    let decoded = decode(&schema, &[br#"{"b":2,"a":1}"#]);
    assert_eq!((row(&decoded.rows, 0), decoded.notes.duplicate_keys), (json!({"n": 1}), 1));
    assert_eq!(reject_of(&schema, r#"{"d":"x","e":"x"}"#), (RejectCode::DuplicateKey, "/d".into()));
}

#[test]
fn a_value_is_a_number_a_text_or_a_list() {
    let value = |strings: Value| json!({"x-situs": {"value": {"number": "n", "text": "t", "list": "l", "numeric-strings": strings}}});
    let always = schema(json!({}), json!({"v": value(json!(true))}));
    for (text, expected) in [
        ("1.5", json!({"n": 1.5})),
        ("\"1.5\"", json!({"n": 1.5})),
        ("\"007\"", json!({"t": "007"})),
        ("\"READY\"", json!({"t": "READY"})),
        ("true", json!({"n": 1.0, "t": "true"})),
        ("false", json!({"n": 0.0, "t": "false"})),
        ("9007199254740993", json!({"t": "9007199254740993"})),
        ("\"9007199254740993\"", json!({"t": "9007199254740993"})),
        ("\"1e400\"", json!({"t": "1e400"})),
        ("18446744073709551615", json!({"t": "18446744073709551615"})),
        ("[1,2.5]", json!({"l": [1.0, 2.5]})),
        ("[]", json!({"l": []})),
        ("[1, \"x\"]", json!({"t": "[1, \"x\"]"})),
        ("[1,[2]]", json!({"t": "[1,[2]]"})),
        ("[9007199254740993]", json!({"t": "[9007199254740993]"})),
        ("{\"a\": 1}", json!({"t": "{\"a\": 1}"})),
        ("null", json!({"_quality": "t:null;event_time:broker"})),
        ("\"UNAVAILABLE\"", json!({"_quality": "t:unavailable;event_time:broker"})),
        ("\"NaN\"", json!({"_quality": "t:nan;event_time:broker"})),
    ] {
        assert_eq!(try_value(&always, text), expected, "{text}");
    }
    let never = schema(json!({}), json!({"v": value(json!(false))}));
    assert_eq!(try_value(&never, "\"1.5\""), json!({"t": "1.5"}));
    assert_eq!(try_value(&never, "\"NaN\""), json!({"t": "NaN"}));

    let text_only =
        schema(json!({}), json!({"v": {"x-situs": {"arrow": "dictionary", "value": {"text": "t"}}}}));
    for text in ["1.50", "true", "[1,2]", "{}"] {
        assert_eq!(try_value(&text_only, text), json!({"t": text}));
    }

    let any = json!({"any": [{"field": "category", "in": ["SAMPLE"]}, {"field": "type", "in": ["PART_COUNT", "LINE"]}]});
    let by_sibling = schema(
        json!({}),
        json!({
            "v": value(any),
            "category": {"type": "string", "x-situs": {"column": false}},
            "type": {"type": "string", "x-situs": {"column": false}},
        }),
    );
    for (text, expected) in [
        (r#"{"v":"5","category":"SAMPLE"}"#, json!({"n": 5.0})),
        (r#"{"category":"EVENT","type":"LINE","v":"5"}"#, json!({"n": 5.0})),
        (r#"{"category":"EVENT","v":"5"}"#, json!({"t": "5"})),
        (r#"{"v":"5"}"#, json!({"t": "5"})),
        (r#"{"v":5}"#, json!({"n": 5.0})),
    ] {
        assert_eq!(rows_of(&by_sibling, text), [expected], "{text}");
    }
}

#[test]
fn an_object_or_a_value() {
    let or_value = json!({
        "type": "object",
        "properties": {
            "Value": {"x-situs": {"value": {"number": "n", "text": "t"}}},
            "Code": {"type": "integer", "x-situs": {"column": "code"}},
        },
        "x-situs": {"or-value": {"number": "n", "text": "t"}},
    });
    let schema = schema(json!({}), json!({"v": or_value}));
    for (text, expected) in [
        ("{\"Value\":1}", json!({"n": 1.0})),
        ("{\"Code\":5}", json!({"code": 5})),
        ("{\"x\":1,\"Code\":5}", json!({"code": 5})),
        ("2", json!({"n": 2.0})),
        ("\"on\"", json!({"t": "on"})),
        ("{\"Type\":\"a\"}", json!({"t": "{\"Type\":\"a\"}"})),
        ("{}", json!({"t": "{}"})),
        ("[1]", json!({"t": "[1]"})),
        ("null", json!({"_quality": "t:null;event_time:broker"})),
    ] {
        assert_eq!(try_value(&schema, text), expected, "{text}");
    }
    let decoded = decode(&schema, &[br#"{"v":{"Code":1},"v":3}"#]);
    assert_eq!((row(&decoded.rows, 0), decoded.notes.duplicate_keys), (json!({"n": 3.0}), 1));
    let decoded = decode(&schema, &[br#"{"v":3,"v":{"Code":1}}"#]);
    assert_eq!(row(&decoded.rows, 0), json!({"code": 1}));
}

#[test]
fn pairs_become_two_lists() {
    let schema = one(json!({"type": "array", "x-situs": {
        "pairs": {"name": "name", "value": "value", "columns": ["names", "values"]}}}));
    let text = r#"[{"name":"rms","value":1.5},{"value":"2","name":"peak","unit":"m"},{"name":"x"}]"#;
    let expected = json!({
        "names": ["rms", "peak", "x"], "values": [1.5, 2.0, null], "_quality": "values:null;event_time:broker"});
    assert_eq!(try_value(&schema, text), expected);
    assert_eq!(try_value(&schema, "[]"), json!({"names": [], "values": []}));
    assert_eq!(try_value(&schema, "{}"), "wrong-type");
    for (text, code, pointer) in [
        ("{\"v\":[{\"value\":1}]}", RejectCode::MissingField, "/v/0/name"),
        ("{\"v\":[{\"name\":1}]}", RejectCode::WrongType, "/v/0/name"),
        ("{\"v\":[{\"name\":\"a\",\"value\":[]}]}", RejectCode::WrongType, "/v/0/value"),
        ("{\"v\":[1]}", RejectCode::WrongType, "/v/0"),
    ] {
        assert_eq!(reject_of(&schema, text), (code, pointer.to_owned()), "{text}");
    }
}
