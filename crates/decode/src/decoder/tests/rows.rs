//! Which part of a message becomes rows.

use super::*;

/// The shape of an OPC UA PubSub network message.
fn pubsub() -> Arc<Schema> {
    let data_value = json!({
        "type": "object",
        "properties": {
            "Value": {"x-situs": {"value": {"number": "value", "text": "value_text"}}},
            "StatusCode": {
                "type": "object",
                "properties": {
                    "Code": {"type": "integer", "x-situs": {"column": "status_code"}},
                    "Symbol": {"type": "string", "x-situs": {"column": "status_symbol"}}}},
            "SourceTimestamp": {"type": "string", "x-situs": {
                "column": "source_time", "role": "event-time", "time": ["rfc3339"]}},
        },
        "x-situs": {"or-value": {"number": "value", "text": "value_text"}},
    });
    schema(
        json!({
            "batch": true,
            "unknown": "keep",
            "rows": [
                {"if": "MessageType", "if-equals": "ua-metadata", "none": "metadata"},
                {"at": "/Messages/*/Payload", "key": "field"},
                {"if": "NodeId", "at": ""},
            ],
        }),
        json!({
            "MessageId": {"type": "string", "x-situs": {"column": "message_id", "arrow": "dictionary"}},
            "Messages": {"type": "array", "items": {"type": "object", "properties": {
                "Writer": {"type": ["integer", "string"], "x-situs": {"column": "writer", "arrow": "dictionary"}},
                "Timestamp": {"type": "string", "x-situs": {
                    "column": false, "role": "event-time", "rank": 1, "time": ["rfc3339"]}},
                "Payload": {"type": "object", "additionalProperties": data_value},
            }}},
            "NodeId": {"type": "string", "x-situs": {"column": "field", "arrow": "dictionary"}},
            "Value": data_value,
        }),
    )
}

#[test]
fn entries_of_nested_containers_with_what_is_around_them() {
    let text = r#"{"Messages":[
        {"Payload":{"a":{"Value":1,"SourceTimestamp":"1970-01-01T00:00:01Z"},"b c":{"Value":"x","extra":[1]},"d":true},
         "Timestamp":"1970-01-01T00:00:02Z","Writer":1},
        {"Writer":"w","Payload":{"e":{"StatusCode":{"Symbol":"Bad","Code":2150694912}}}},
        {"Writer":"keep-alive"}],
        "MessageId":"m1","unknown":0}"#;
    let decoded = decode(&pubsub(), &[text.as_bytes()]);
    let rows: Vec<Value> = (0..decoded.rows.num_rows()).map(|i| row(&decoded.rows, i)).collect();
    let extra = r#"{"unknown":0}"#;
    assert_eq!(
        rows,
        [
            json!({"message_id": "m1", "writer": "1", "field": "a", "value": 1.0, "source_time": 1_000_000, "_extra": extra}),
            json!({"message_id": "m1", "writer": "1", "field": "b c", "value_text": "x", "_extra": r#"{"unknown":0,"extra":[1]}"#}),
            json!({"message_id": "m1", "writer": "1", "field": "d", "value": 1.0, "value_text": "true", "_extra": extra}),
            json!({"message_id": "m1", "writer": "w", "field": "e", "status_code": 2_150_694_912_i64, "status_symbol": "Bad", "_extra": extra}),
        ]
    );
    assert_eq!(column(&decoded.rows, "event_time"), [1_000_000, 2_000_000, 2_000_000, BROKER_MS * 1000]);
    assert_eq!(column(&decoded.rows, "_row"), [0, 1, 2, 3]);
    assert_eq!(decoded.notes.unknown_fields, 2);
}

#[test]
fn alternatives_and_batches() {
    let schema = pubsub();
    assert_eq!(
        rows_of(&schema, r#"[{"NodeId":"n1","Value":{"Value":5}},{"NodeId":"n2","Value":"raw"}]"#),
        [json!({"field": "n1", "value": 5.0}), json!({"field": "n2", "value_text": "raw"})]
    );
    let words = |payloads: &[&[u8]]| {
        let decoded = decode(&schema, payloads);
        assert_eq!(decoded.rows.num_rows(), 0);
        decoded.notes.without_rows.iter().map(|(k, v)| (k.to_string(), *v)).collect::<Vec<_>>()
    };
    assert_eq!(
        words(&[
            br#"{"MessageType":"ua-metadata","Messages":"whatever"}"#,
            br#"{"MessageType":"ua-data","Messages":[{"Writer":1}]}"#,
            br#"{"Messages":[]}"#,
            br#"{"Messages":null}"#,
            br#"{"Messages":[{"Payload":{}}]}"#,
            b"[]",
            br#"[{"MessageType":"ua-metadata"},{"Messages":[]}]"#,
        ]),
        [("metadata".to_owned(), 2), ("no-entries".to_owned(), 5)]
    );
    // In a batch, what gives no row does not hide what does.
    assert_eq!(rows_of(&schema, r#"[{"MessageType":"ua-metadata"},{"NodeId":"n"}]"#).len(), 1);
    for (text, code, pointer) in [
        (r#"{"MessageType":"ua-data"}"#, RejectCode::NoRows, ""),
        (r#"[{"NodeId":"n"},{"x":1}]"#, RejectCode::NoRows, "/1"),
        (r#"[{"NodeId":"n"},7]"#, RejectCode::WrongType, "/1"),
        (r#"[[{"NodeId":"n"}]]"#, RejectCode::WrongType, "/0"),
        (r#"{"Messages":5}"#, RejectCode::WrongType, "/Messages"),
        (r#"{"Messages":[5]}"#, RejectCode::WrongType, "/Messages/0"),
        (r#"{"Messages":[{"Payload":5}]}"#, RejectCode::WrongType, "/Messages/0/Payload"),
        (
            r#"{"Messages":[{"Payload":{"a":1,"b~/":{"SourceTimestamp":"x"}}}]}"#,
            RejectCode::BadTime,
            "/Messages/0/Payload/b~0~1/SourceTimestamp",
        ),
        (r#"{"Messages":[],"Messages":[]}"#, RejectCode::DuplicateKey, "/Messages"),
    ] {
        assert_eq!(reject_of(&schema, text), (code, pointer.to_owned()), "{text}");
    }
}

#[test]
fn rows_of_values_and_of_objects_without_keys() {
    let values = schema(
        json!({"rows": [{"at": "/v", "key": "k"}]}),
        json!({"v": {"type": "array", "items": {"type": "number", "x-situs": {"column": "x"}}}, "n": {"type": "integer"}}),
    );
    assert_eq!(
        rows_of(&values, r#"{"v":[1,2],"n":3}"#),
        [json!({"x": 1.0, "n": 3}), json!({"x": 2.0, "n": 3})]
    );
    // The same container as an object: its keys are the rows' keys.
    assert_eq!(rows_of(&values, r#"{"v":{"a":1}}"#), [json!({"x": 1.0, "k": "a"})]);
    assert_eq!(reject_of(&values, r#"{"v":[1,{}]}"#), (RejectCode::WrongType, "/v/1".into()));
    assert_eq!(reject_of(&values, r#"{"n":1}"#), (RejectCode::NoRows, String::new()));
}

#[test]
fn a_bad_row_takes_back_the_rows_before_it() {
    let schema = schema(
        json!({"rows": [{"at": "/v"}]}),
        json!({"v": {"type": "array", "items": {"type": "object", "properties": {
            "f": {"type": "number"}, "d": {"type": "string", "x-situs": {"arrow": "dictionary"}},
            "l": {"type": "array", "items": {"type": "number"}}, "b": {"type": "boolean"},
            "t": {"type": "string"}, "i": {"type": "integer", "x-situs": {"arrow": "int32"}}}}}}),
    );
    let good = r#"{"v":[{"f":1,"d":"x","l":[1],"b":true,"t":"t","i":1},{}]}"#;
    let bad = r#"{"v":[{"f":2,"d":"secret","l":[2,3],"b":false,"t":"secret","i":2},{"f":3,"d":"y","l":[1],"b":true,"t":"u","i":"x"}]}"#;
    let decoded = decode(&schema, &[good.as_bytes(), bad.as_bytes(), good.as_bytes()]);
    assert_eq!(decoded.message_of_row, [0, 0, 2, 2]);
    let first = row(&decoded.rows, 0);
    assert_eq!(first, json!({"f": 1.0, "d": "x", "l": [1.0], "b": true, "t": "t", "i": 1}));
    assert_eq!((row(&decoded.rows, 2), row(&decoded.rows, 3)), (first, json!({})));
    assert_eq!(decoded.rejects[0].pointer.as_deref(), Some("/v/1/i"));
    assert_eq!(decoded.rows.column_by_name("d").unwrap().as_dictionary::<Int32Type>().values().len(), 1);
}

#[test]
fn rows_of_a_message_are_bounded() {
    let items = json!({"v": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}}});
    let schema = schema(json!({"max-rows": 3, "rows": [{"at": "/v"}]}), items);
    assert_eq!(rows_of(&schema, r#"{"v":[{},{},{}]}"#).len(), 3);
    assert_eq!(reject_of(&schema, r#"{"v":[{},{},{},{}]}"#), (RejectCode::TooManyRows, "/v".into()));
}

/// A large text around many rows would be repeated in each, or looked at for each.
#[test]
fn a_small_message_cannot_ask_for_endless_work() {
    let around = |field: Value| {
        schema(
            json!({"rows": [{"at": "/v"}]}),
            json!({"big": field, "v": {"type": "array", "items": {"type": "object", "properties": {}}}}),
        )
    };
    let value = |arrow: &str| json!({"x-situs": {"arrow": arrow, "value": {"number": "n", "text": "t", "numeric-strings": true}}});
    let rows = format!("[{}{{}}]", "{},".repeat(1000));
    let text = format!("{{\"v\":{rows},\"big\":\"{}\"}}", "x".repeat(200_000));
    let number = format!("{{\"v\":{rows},\"big\":\"1.{}\"}}", "0".repeat(200_000));
    let list = format!("{{\"v\":{rows},\"big\":[{}0]}}", "0,".repeat(100_000));
    for (field, message) in [
        (json!({"type": "string"}), &text),
        (json!({"type": "number"}), &number),
        (json!({"x-situs": {"arrow": "json"}}), &list),
        (json!({"type": "array", "items": {"type": "number"}}), &list),
        (value("utf8"), &text),
        (value("dictionary"), &number),
    ] {
        assert_eq!(reject_of(&around(field.clone()), message).0, RejectCode::TooManyRows, "{field}");
    }
    // In a dictionary it costs nothing.
    for (field, message) in [
        (json!({"type": "string", "x-situs": {"arrow": "dictionary"}}), &text),
        (value("dictionary"), &text),
        (value("dictionary"), &list),
    ] {
        assert_eq!(rows_of(&around(field), message).len(), 1001);
    }
}

#[test]
fn what_is_around_rows_is_the_same_in_each() {
    let value =
        json!({"x-situs": {"arrow": "dictionary", "value": {"number": "n", "text": "t", "list": "l"}}});
    let schema = schema(
        json!({"rows": [{"at": "/v"}]}),
        json!({"a": value, "d": {"type": "string", "x-situs": {"arrow": "dictionary"}},
            "v": {"type": "array", "items": {"type": "integer", "x-situs": {"column": "i"}}}}),
    );
    for (text, expected) in [
        ("true", json!({"n": 1.0, "t": "true"})),
        ("\"x\"", json!({"t": "x"})),
        ("1", json!({"n": 1.0})),
        ("[1]", json!({"l": [1.0]})),
        ("[{}]", json!({"t": "[{}]"})),
    ] {
        for (i, row) in
            rows_of(&schema, &format!("{{\"v\":[0,1,2],\"a\":{text},\"d\":\"e\"}}")).iter().enumerate()
        {
            let mut expected = expected.clone();
            expected["i"] = json!(i);
            expected["d"] = json!("e");
            assert_eq!(*row, expected);
        }
    }
}

/// The shape of a Sinumerik Edge payload event.
fn waveform() -> Arc<Schema> {
    let columns = json!({"index": "i", "signal": "s", "first": "first", "count": "n", "period": "p", "gap": "gap", "samples": "x"});
    schema(
        json!({"rows": [
            {"at": "/HFData", "block": {"counter": 1, "period-ns": 2_000_000, "signals": ["A"], "columns": columns}},
            {"if": "HFBlockEvent", "none": "block-event"},
        ]}),
        json!({
            "HFData": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            "HFBlockEvent": {"type": "object", "x-situs": {"column": false}},
            "Machine": {"type": "string", "x-situs": {"column": "machine", "role": "device", "arrow": "dictionary"}},
        }),
    )
}

#[test]
fn blocks_are_transposed_cut_at_jumps_and_know_the_gap_before() {
    let schema = waveform();
    let mut decoder = decoder(&schema);
    let mut rows = |payload: &str| {
        let decoded = decoder.decode(batch(&[payload.as_bytes()]));
        check(&schema, &decoded);
        assert_eq!(decoded.rejects, []);
        (0..decoded.rows.num_rows()).map(|i| row(&decoded.rows, i)).collect::<Vec<_>>()
    };
    let expected = |machine: Option<&str>, i: usize, first: i64, gap: Option<i64>, x: &[f64]| {
        let mut row = json!({"i": i, "first": first, "n": x.len(), "p": 2_000_000, "x": x});
        if i == 0 {
            row["s"] = json!("A");
        }
        if let Some(gap) = gap {
            row["gap"] = json!(gap);
        }
        if let Some(machine) = machine {
            row["machine"] = json!(machine);
        }
        row
    };
    let m = Some("m");
    assert_eq!(
        rows(r#"{"HFData":[[1.5,100,-1],[2.5,101,-2],[3.5,110,-3]],"Machine":"m"}"#),
        [
            expected(m, 0, 100, None, &[1.5, 2.5]),
            expected(m, 1, 100, None, &[-1.0, -2.0]),
            expected(m, 0, 110, Some(8), &[3.5]),
            expected(m, 1, 110, Some(8), &[-3.0]),
        ]
    );
    assert_eq!(rows(r#"{"Machine":"m","HFData":[[4,111]]}"#), [expected(m, 0, 111, Some(0), &[4.0])]);
    // Another device, or none, is counted apart.
    assert_eq!(rows(r#"{"HFData":[[4,5]]}"#), [expected(None, 0, 5, None, &[4.0])]);
    assert_eq!(rows(r#"{"HFData":[[4,8.0]]}"#), [expected(None, 0, 8, Some(2), &[4.0])]);
    // A counter that goes back starts anew.
    assert_eq!(rows(r#"{"Machine":"m","HFData":[[4,7]]}"#), [expected(m, 0, 7, None, &[4.0])]);
    decoder.forget(&source(0));
    let decoded = decoder.decode(batch(&[br#"{"Machine":"m","HFData":[[4,8]]}"#]));
    assert_eq!(column(&decoded.rows, "gap"), [Value::Null]);
}

#[test]
fn a_rejected_block_does_not_move_the_counter() {
    let schema = waveform();
    let decoded = decode(
        &schema,
        &[br#"{"HFData":[[1,1]]}"#, br#"{"HFData":[[1,2],["x",3]]}"#, br#"{"HFData":[[1,4]]}"#],
    );
    assert_eq!(decoded.rejects[0].code, RejectCode::BadNumber);
    assert_eq!(column(&decoded.rows, "gap"), [Value::Null, json!(2)]);
}

#[test]
fn blocks_that_are_none() {
    let schema = waveform();
    for (text, code, pointer) in [
        (r#"{"HFData":[[1,1,1],[1,2]]}"#, RejectCode::RaggedBlock, "/HFData/1"),
        (r#"{"HFData":[[1]]}"#, RejectCode::RaggedBlock, "/HFData/0"),
        (r#"{"HFData":[[1,[2]]]}"#, RejectCode::WrongType, "/HFData/0"),
        (r#"{"HFData":[5]}"#, RejectCode::WrongType, "/HFData/0"),
        (r#"{"HFData":[[1,null]]}"#, RejectCode::BadNumber, "/HFData/0/1"),
        (r#"{"HFData":[[1,1.5]]}"#, RejectCode::NumberOutOfRange, "/HFData/0/1"),
        (r#"{"HFData":[[true,1]]}"#, RejectCode::WrongType, "/HFData/0/0"),
        (r#"{"HFOther":{}}"#, RejectCode::NoRows, ""),
    ] {
        assert_eq!(reject_of(&schema, text), (code, pointer.to_owned()), "{text}");
    }
    let decoded = decode(&schema, &[br#"{"HFData":[]}"#, br#"{"HFBlockEvent":{"x":1}}"#]);
    assert_eq!(decoded.notes.messages_without_rows(), 2);
    let rows = rows_of(&schema, r#"{"HFData":[[null,1],["NaN",2]]}"#);
    assert_eq!(rows[0]["_quality"], "x:null;x:nan;event_time:broker");
    assert_eq!(rows[0]["x"], json!([null, null]));
}
