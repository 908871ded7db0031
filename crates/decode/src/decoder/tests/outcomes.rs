//! What becomes of messages as a whole.

use super::*;

fn simple() -> Arc<Schema> {
    schema(
        json!({}),
        json!({
            "device": {"type": "string", "x-situs": {"role": "device", "arrow": "dictionary"}},
            "site": {"type": "string", "x-situs": {"role": "claim", "arrow": "dictionary"}},
            "time": {"type": "string", "x-situs": {"role": "event-time", "time": ["rfc3339"]}},
            "load": {"type": "number"},
        }),
    )
}

#[test]
fn one_bad_message_takes_no_good_one_with_it() {
    let messages: [&[u8]; 12] = [
        br#"{"device":"a","load":1}"#,
        br#"{"device":"secret","load":"x"}"#,
        b"",
        b"{\"device\":\"a\",\"load\":2",
        b"\xef\xbb\xbf{\"device\":\"b\",\"load\":3}",
        b"{\"device\":\"\xff\"}",
        b"{\"load\":18446744073709551616}",
        br#"{"device":"a","load":4}{"device":"a"}"#,
        b"{'device': 'a', 'load': None}",
        br#"[{"device":"a"}]"#,
        b"\xef\xbb\xbf",
        br#"{"device":"c","load":5}"#,
    ];
    let schema = simple();
    let decoded = decode(&schema, &messages);
    let rejects: Vec<_> =
        decoded.rejects.iter().map(|r| (r.message, r.code.as_str(), r.pointer.as_deref(), r.byte)).collect();
    assert_eq!(
        rejects,
        [
            (1, "bad-number", Some("/load"), Some(26)),
            (2, "empty", None, None),
            (3, "invalid-json", None, Some(22)),
            (5, "invalid-utf8", None, Some(11)),
            (6, "number-out-of-range", None, Some(8)),
            (7, "invalid-json", None, Some(23)),
            (8, "invalid-json", None, Some(1)),
            (9, "wrong-type", Some(""), Some(0)),
            (10, "empty", None, None),
        ]
    );
    assert_eq!(decoded.message_of_row, [0, 4, 11]);
    assert_eq!(column(&decoded.rows, "load"), [1.0, 3.0, 5.0]);
    assert_eq!(column(&decoded.rows, "_offset"), [10, 14, 21]);
    assert_eq!(decoded.notes.boms, 2);
    // A rejected message leaves no text behind.
    let devices = decoded.rows.column(0).as_dictionary::<Int32Type>().values();
    assert_eq!((0..devices.len()).map(|i| cell(devices, i)).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn positions_behind_a_byte_order_mark_count_it() {
    let decoded = decode(&simple(), &[b"\xef\xbb\xbf{\"load\":\"x\"}", b"\xef\xbb\xbf{x}"]);
    assert_eq!((decoded.rejects[0].byte, decoded.rejects[1].byte), (Some(11), Some(4)));
}

#[test]
fn tombstones_and_large_messages() {
    let schema = simple();
    let mut raw = RawBatch::new(source(0), NextOffset(0), 0);
    raw.push(0, None, None, None, std::iter::empty());
    let large = format!("{{\"device\":\"{}\"}}", "x".repeat(1000));
    raw.push(1, None, None, Some(large.as_bytes()), std::iter::empty());
    let exact = &large[..100];
    raw.push(2, None, None, Some(exact.as_bytes()), std::iter::empty());
    let decoded = Decoder::new(schema.clone(), 100).decode(Arc::new(raw));
    check(&schema, &decoded);
    let codes: Vec<_> = decoded.rejects.iter().map(|r| r.code).collect();
    assert_eq!(codes, [RejectCode::Tombstone, RejectCode::TooLarge, RejectCode::InvalidJson]);
}

#[test]
fn twenty_megabytes_and_back() {
    let schema =
        schema(json!({"unknown": "keep"}), json!({"a": {"type": "array", "items": {"type": "number"}}}));
    let mut text = String::from("{\"a\":[0");
    while text.len() < 20_000_000 {
        text.push_str(",0");
    }
    text.push_str("]}");
    let mut decoder = Decoder::new(schema.clone(), 64 << 20);
    let decoded = decoder.decode(batch(&[text.as_bytes(), b"{\"a\":[1]}"]));
    check(&schema, &decoded);
    assert_eq!(decoded.rows.num_rows(), 2);
    let decoded = decoder.decode(batch(&[b"{\"a\":[2]}"]));
    assert_eq!(row(&decoded.rows, 0), json!({"a": [2.0]}));
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let schema = simple();
    let deep = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(rows_of(&schema, &deep(64)).len(), 1);
    let open = "[".repeat(10_000);
    let objects = "{\"a\":".repeat(10_000);
    for (text, byte) in [(&deep(65), 68), (&deep(10_000), 68), (&open, 64), (&objects, 320)] {
        let decoded = decode(&schema, &[text.as_bytes()]);
        assert_eq!((decoded.rejects[0].code, decoded.rejects[0].byte), (RejectCode::TooDeep, Some(byte)));
    }
    let shallow = super::schema(json!({"max-depth": 1}), json!({"a": {"x-situs": {"arrow": "json"}}}));
    assert_eq!(rows_of(&shallow, "{\"a\":1}"), [json!({"a": "1"})]);
    assert_eq!(reject_of(&shallow, "{\"a\":[]}").0, RejectCode::TooDeep);
}

#[test]
fn keys_given_twice() {
    let schema = simple();
    for (text, pointer) in [
        (r#"{"device":"a","device":"a"}"#, "/device"),
        (r#"{"site":"DE","load":1,"site":"CN"}"#, "/site"),
        (r#"{"time":"2022-01-01T00:00:00Z","time":null}"#, "/time"),
        (r#"{"device":"a","dev\u0069ce":"b"}"#, "/device"),
    ] {
        let (code, at) = reject_of(&schema, text);
        assert_eq!((code, at.as_str()), (RejectCode::DuplicateKey, pointer), "{text}");
    }
    let decoded = decode(&schema, &[br#"{"load":1,"x":1,"load":2,"x":2}"#]);
    assert_eq!(row(&decoded.rows, 0), json!({"load": 2.0}));
    assert_eq!((decoded.notes.duplicate_keys, decoded.notes.unknown_fields), (1, 2));
}

#[test]
fn an_object_given_twice_is_taken_once() {
    let nested = json!({"o": {"type": "object", "properties": {
        "a": {"type": "integer"}, "b": {"type": "integer"}}}});
    let schema = schema(json!({}), nested);
    assert_eq!(rows_of(&schema, r#"{"o":{"a":1,"b":2},"o":{"b":3}}"#), [json!({"b": 3})]);
    let critical = json!({"o": {"type": "object", "properties": {
        "d": {"type": "string", "x-situs": {"role": "device"}}}}});
    let schema = super::schema(json!({}), critical);
    assert_eq!(reject_of(&schema, r#"{"o":{"d":"a"},"o":{"d":"b"}}"#).0, RejectCode::DuplicateKey);
}

#[test]
fn identity_and_time_columns() {
    let schema = schema(
        json!({"event-time-ns": true}),
        json!({"t": {"type": "string", "x-situs": {"column": false, "role": "event-time", "time": ["rfc3339"]}}}),
    );
    let decoded = decode(&schema, &[b"{\"t\":\"1969-12-31T23:59:59.123456789Z\"}", b"{}", b"{\"t\":\"\"}"]);
    let rows = &decoded.rows;
    assert_eq!(column(rows, "_topic"), ["t", "t", "t"]);
    assert_eq!(column(rows, "_partition"), [0, 0, 0]);
    assert_eq!(column(rows, "_offset"), [10, 11, 12]);
    assert_eq!(column(rows, "_row"), [0, 0, 0]);
    assert_eq!(column(rows, "_broker_time"), [BROKER_MS * 1000, BROKER_MS * 1000, BROKER_MS * 1000]);
    assert_eq!(column(rows, "_ingest_time")[0], 1_700_000_001_000_000_i64);
    assert_eq!(column(rows, "event_time"), [-876_544, BROKER_MS * 1000, BROKER_MS * 1000]);
    assert_eq!(column(rows, "_event_time_ns"), [-876_543_211, BROKER_MS * 1_000_000, BROKER_MS * 1_000_000]);
    assert_eq!(column(rows, "event_date"), [-1, 19_675, 19_675]);
    let quality = [json!(null), json!("event_time:broker"), json!("event_time:empty;event_time:broker")];
    assert_eq!(column(rows, "_quality"), quality);
    assert_eq!((decoded.notes.times_from_broker, decoded.notes.sentinels), (2, 1));

    let mut raw = RawBatch::new(source(0), NextOffset(0), 5_000_000);
    raw.push(0, None, None, Some(b"{}"), std::iter::empty());
    raw.push(1, Some(i64::MIN), None, Some(b"{}"), std::iter::empty());
    let decoded = decoder(&schema).decode(Arc::new(raw));
    assert_eq!(column(&decoded.rows, "event_time"), [5_000_000, 5_000_000]);
    assert_eq!(column(&decoded.rows, "_broker_time"), [json!(null), json!(null)]);
    assert_eq!(column(&decoded.rows, "_quality"), ["event_time:ingest", "event_time:ingest"]);
}

#[test]
fn the_device_of_the_key_or_a_header() {
    let text = r#"{"type":"object","properties":{"load":{"type":"number"}}}"#;
    for device in [DeviceSource::Key, DeviceSource::Header("dev".into())] {
        let schema = compile(text, &device);
        assert_eq!(schema.device_column(), Some("device"));
        assert_eq!(schema.columns().last().unwrap().name, "device");
        let mut raw = RawBatch::new(source(0), NextOffset(0), 0);
        for (i, id) in [&b"d1"[..], b"d1", b"", b"\xff"].into_iter().enumerate() {
            let (key, header) = match device {
                DeviceSource::Key => (Some(id), None),
                _ => (None, Some((&b"dev"[..], Some(id)))),
            };
            raw.push(i as i64, Some(0), key, Some(b"{\"load\":1}"), header.into_iter());
        }
        raw.push(9, Some(0), None, Some(b"{\"load\":1}"), std::iter::empty());
        let decoded = decoder(&schema).decode(Arc::new(raw));
        check(&schema, &decoded);
        let devices = column(&decoded.rows, "device");
        assert_eq!(devices, [json!("d1"), json!("d1"), Value::Null, Value::Null, Value::Null]);
        let quality = column(&decoded.rows, "_quality");
        assert_eq!(quality[1], "event_time:broker");
        assert_eq!(quality[4], "device:null;event_time:broker");
    }
}

#[test]
fn an_empty_batch_has_no_rows() {
    let decoded = decode(&simple(), &[]);
    assert_eq!(decoded.rows.num_rows(), 0);
}

#[test]
fn unknown_fields_are_counted_or_kept_as_sent() {
    let nested =
        json!({"a": {"type": "integer"}, "o": {"type": "object", "properties": {"b": {"type": "integer"}}}});
    let text = r#" {"x y" : { "k" : [1.50, 1e2 , "a\"]}"] } ,"a":1,"o":{"é\n":18446744073709551615,"b":2},"z":"\u00e9" } "#;
    let decoded = decode(&schema(json!({}), nested.clone()), &[text.as_bytes()]);
    assert_eq!(decoded.notes.unknown_fields, 3);
    let kept = schema(json!({"unknown": "keep"}), nested);
    let rows = rows_of(&kept, text);
    let extra = r#"{"x y":{ "k" : [1.50, 1e2 , "a\"]}"] },"o/é\n":18446744073709551615,"z":"\u00e9"}"#;
    assert_eq!(rows[0]["_extra"], extra);
    assert!(serde_json::from_str::<Value>(extra).is_ok());
    assert_eq!(rows_of(&kept, r#"{"a":1}"#), [json!({"a": 1})]);
}

#[test]
fn partitions_do_not_disturb_each_other() {
    let schema = simple();
    let mut decoder = decoder(&schema);
    for partition in [0, 1, 0] {
        let mut raw = RawBatch::new(source(partition), NextOffset(0), 0);
        raw.push(0, Some(0), None, Some(b"{\"device\":\"a\"}"), std::iter::empty());
        let decoded = decoder.decode(Arc::new(raw));
        assert_eq!(column(&decoded.rows, "_partition"), [partition]);
        assert_eq!(column(&decoded.rows, "device"), ["a"]);
    }
}

#[test]
fn a_decoder_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Decoder>();
    is_send::<Arc<Schema>>();
}
