//! The fast path, the general path and an oracle on top of `serde_json` agree on every message: on
//! what is taken, on every value to its last bit, and on every reject, its pointer and its byte.

mod generate;
#[allow(unreachable_pub, missing_docs, reason = "the fuzz target uses it too")]
mod support;

use proptest::prelude::*;
use support::{compare, schemas};

fn check(schema: usize, messages: &[Vec<u8>]) -> u64 {
    let (name, schema) = &schemas()[schema];
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    compare(schema, *name == "flat", &messages)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_of_few_shapes(seed in any::<u64>(), schema in 0..6_usize, count in 1..160_usize, odd in 0..4_usize) {
        let name = schemas()[schema].0;
        check(schema, &generate::messages(seed, name, count, [0, 0, 100, 12][odd]));
    }

    #[test]
    fn any_bytes(
        schema in 0..6_usize,
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
    ) {
        check(schema, &messages);
    }

    #[test]
    fn any_characters_of_json(
        schema in 0..6_usize,
        messages in prop::collection::vec("\\{(\"(f1|id|v|device)\":[-0-9.eE\"a\\\\\\[\\], ]{0,12},?){0,3}\\}?", 1..20),
    ) {
        let messages: Vec<Vec<u8>> = messages.into_iter().map(String::into_bytes).collect();
        check(schema, &messages);
    }
}

/// What a neighbour leaves open, or closes, is its own affair.
#[test]
fn a_hostile_neighbour_changes_nothing() {
    let good = br#"{"f1":1.5,"i1":7,"t1":"text","d1":"d"}"#.to_vec();
    let hostile = [
        r#"{"f1":1.5,"i1":7,"t1":"text"#,
        r#"{"f1":1.5,"i1":7,"t1":"text\"#,
        r#"{"f1":1.5,"i1":"#,
        r#"{"f1":1.5,"i1":-"#,
        r#"{"f1":1.5,"i1":7"#,
        r#"{"f1":1.5"#,
        r#"{"f1":1."#,
        "{",
        "}",
        "],[",
        "[",
        r#"{"f1":[1,2"#,
        r#"{"l1":[1,2"#,
        r#"{"l1":["#,
        r#"{"l2":["a"#,
        r#"{"l2":["a","#,
        "\"",
        "\\",
        r#"{"f1":1.5,"i1":7,"t1":"text","d1":"d""#,
        r#"{"f1":1.5,"i1":7,"t1":"text","d1":"d"#,
        r#"{"f1":1.5,"i1":7,"t1":"text","d1":"d"}}"#,
        r#"{"f1":1.5,"i1":7,"t1":"text","d1":"d"},"#,
        r#"{"f1":1.5,"i1":7,"t1":"text","d1":"d"}{"#,
    ];
    let mut messages = vec![good.clone(); 4];
    for text in hostile {
        messages.push(text.as_bytes().to_vec());
        messages.extend(vec![good.clone(); 6]);
    }
    // Half a code point, and nothing.
    messages.extend([
        b"{\"t1\":\"\xc3".to_vec(),
        good.clone(),
        b"{\"t1\":\"\xe2\x82".to_vec(),
        good.clone(),
        Vec::new(),
        good,
    ]);
    assert!(check(0, &messages) > 300);
}

/// The fast path is what decodes the messages that machines send: else its tests would test nothing.
#[test]
fn messages_of_machines_take_the_fast_path() {
    for (number, (name, _)) in schemas().iter().enumerate().take(5) {
        let messages = generate::messages(5, name, 400, 200);
        let rows = check(number, &messages);
        assert!(rows > 900, "{name}: {rows} of {}", 3 * messages.len());
    }
    // And some of their clocks are off, so that what is compared has flags.
    let (name, schema) = &schemas()[3];
    let decoded = support::decode(schema, &generate::messages(5, name, 400, 200));
    assert!(
        decoded.notes.clocks_off > 100,
        "{name}: {} of {}",
        decoded.notes.clocks_off,
        decoded.rows.num_rows()
    );
}

/// The inputs that fuzzing began with, and those that once failed.
#[test]
fn seeds_of_the_fuzz_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of seeds") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("a file");
        support::fuzz(&schemas(), &data);
        files += 1;
    }
    assert!(files > 5);
}

/// Schemas and messages in which the two paths once differed, or the fast one lost itself.
#[test]
fn what_reviews_have_found() {
    let compare = |schema: &str, messages: &[&str]| {
        let schema =
            situs_decode::Schema::parse("t", schema, &situs_model::DeviceSource::Payload).expect("a schema");
        let messages: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
        support::compare(&std::sync::Arc::new(schema), false, &messages)
    };
    // Lists are a level of their own.
    let shallow = r#"{"type":"object","x-situs":{"max-depth":1},"properties":{"l":{"type":"array","items":{"type":"number"}}}}"#;
    compare(shallow, &[r#"{"l":[1]}"#, r#"{"l":null}"#]);
    let deeper = r#"{"type":"object","x-situs":{"max-depth":2},"properties":{"p":{"type":"object","properties":{"l":{"type":"array","items":{"type":"number"}}}}}}"#;
    compare(deeper, &[r#"{"p":{"l":[1]}}"#, r#"{"p":{"l":null}}"#]);
    // A column that reads a block's container gets it as it was sent.
    let raw = r#"{"type":"object","x-situs":{"rows":[{"at":"/HFData","block":{"counter":0,"columns":{"samples":"s"}}}]},"properties":{
        "HFData":{"type":"array","items":{"type":"array","items":{"type":"number"}},"x-situs":{"column":false}},
        "raw":{"x-situs":{"source":"/HFData","arrow":"json"}}}}"#;
    compare(raw, &[r#"{"HFData":[[1,2],[2,3]]}"#; 3]);
    // One null in the place of an object does not spoil the others.
    let nested = r#"{"type":"object","properties":{"id":{"type":"string"},"pos":{"type":"object","properties":{"x":{"type":"number"}}}}}"#;
    let mut messages = vec![r#"{"id":"a","pos":null}"#];
    messages.extend([r#"{"id":"b","pos":{"x":1.5}}"#, r#"{"id":"b","pos": {"x":1.5}}"#].repeat(40));
    assert_eq!(compare(nested, &messages), 3 * 81);
    // Nanoseconds have nineteen digits.
    let nanoseconds = r#"{"type":"object","properties":{"t":{"type":"integer","x-situs":{"role":"event-time","time":["epoch-ns"]}}}}"#;
    assert_eq!(compare(nanoseconds, &[r#"{"t":1659966694716123456}"#; 20]), 60);
    // Keys that nobody knows may be long, and many.
    let long = format!("{{\"{}\":1,\"id\":\"a\"}}", "k".repeat(1000));
    let many = format!("{{{}\"id\":\"a\"}}", "\"x\":1,".repeat(3000));
    compare(nested, &[&long, &many, &long, &many]);
}

/// A message that goes on and on costs what it weighs, whoever comes after it.
#[test]
fn nothing_is_quadratic() {
    let schemas = schemas();
    let waveform = &schemas[5].1;
    let good = br#"{"HFData":[[1,2.5],[2,3.5]]}"#.to_vec();
    let endless = format!("{{\"HFData\":[[{}", "1".repeat(230)).into_bytes();
    let mut messages = vec![good];
    messages.extend(vec![endless; 16_000]);
    let accents: String = (0..200).map(|i| format!("\"k{i}\":\"é\",")).collect();
    let accents = format!("{{{accents}\"f1\":1.5,\"t1\":\"{}\"}}", "x".repeat(500_000)).into_bytes();
    let start = std::time::Instant::now();
    for (schema, messages) in [(waveform, &messages), (&schemas[0].1, &vec![accents; 8])] {
        support::decode(schema, messages);
    }
    // A second in debug builds; quadratic work took minutes.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Each line of the tables in docs/json.md, by both paths and after messages from which the fast path
/// has learned.
#[test]
fn what_the_documentation_says_of_json() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md");
    let text = std::fs::read_to_string(path).expect("docs/json.md");
    let schema = r#"{"type": "object", "properties": {
        "n": {"type": "number"}, "i": {"type": "integer"}, "s": {"type": "string"},
        "l": {"type": "array", "items": {"type": "number"}}
    }}"#;
    let schema =
        situs_decode::Schema::parse("t", schema, &situs_model::DeviceSource::Payload).expect("a schema");
    let schema = std::sync::Arc::new(schema);
    let mut lines = 0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("| `") else { continue };
        let (message, rest) = rest.rsplit_once("` |").expect("a table");
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        let message = bytes_of(message);
        support::compare(
            &schema,
            false,
            &[br#"{"n":1,"s":"a"}"#, br#"{"x":1,"n":1}"#, br#"{"i":7}"#, &message],
        );
        let (reject, value) = support::outcome(&schema, &message);
        assert_eq!(reject.as_deref().unwrap_or("taken"), cells[0], "{line}");
        if let Some(expected) = cells.get(1).filter(|cell| reject.is_none() && !cell.is_empty()) {
            assert_eq!(value.as_deref(), Some(*expected), "{line}");
        }
        lines += 1;
    }
    assert!(lines > 80, "{lines}");
}

/// `<hh>` is a byte.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        bytes.extend(rest[..at].bytes());
        bytes.push(u8::from_str_radix(&rest[at + 1..at + 3], 16).expect("a byte"));
        rest = &rest[at + 4..];
    }
    bytes.extend(rest.bytes());
    bytes
}

/// Writes the seeds anew: `cargo test -p situs-decode --test differential -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_seeds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
    std::fs::create_dir_all(folder).expect("the folder of seeds");
    for (number, (name, _)) in schemas().iter().enumerate() {
        for (kind, odd) in [("plain", 0), ("some", 40), ("wild", 6)] {
            let mut data = vec![number as u8];
            data.extend(generate::messages(number as u64, name, 8, odd).join(&b'\n'));
            std::fs::write(format!("{folder}/{name}-{kind}"), data).expect("a file");
        }
    }
}
