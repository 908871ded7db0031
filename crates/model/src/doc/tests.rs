use std::time::Duration;

use super::*;

#[test]
fn norway_is_a_country() {
    let doc = Document::parse("p.yaml", "jurisdictions: [NO, DE]\n");
    let map = doc.map(doc.root().unwrap(), "zone", &["jurisdictions"]).unwrap();
    let words: Vec<String> = map.optional_strings("jurisdictions").into_iter().map(|(_, w)| w).collect();
    assert_eq!(words, ["NO", "DE"]);
}

#[test]
fn json_is_read_with_tabs_and_escapes() {
    let doc = Document::parse(
        "s.json",
        "{\n\t\"a\": {\"b\": [1, 2.5e3, null, \"x\\/\\u00e9\"]},\n\t\"c\": true\n}\n",
    );
    let b = doc.root().expect("parses").get("a").unwrap().get("b").unwrap();
    let Kind::Sequence(items) = &b.kind else { panic!("{b:?}") };
    assert_eq!(items[1].text(), Some("2.5e3"));
    assert!(items[2].is_null());
    assert_eq!(items[3].text(), Some("x/é"));
    assert_eq!((items[0].line, items[0].column), (2, 14));
}

#[test]
fn every_problem_is_reported_in_the_order_of_the_text() {
    let doc = Document::parse(
        "site.yaml",
        "flush:\n  agee: 5s\n  rows: many\n  bytes: 12 Mib\nmemory: 1GiB\nmemory: 2GiB\n",
    );
    let root = doc.map(doc.root().unwrap(), "the site", &["flush", "memory"]).unwrap();
    let flush = doc.map(root.required("flush").unwrap(), "flush", &["age", "rows", "bytes"]).unwrap();
    assert_eq!(flush.optional_integer("rows", 1..=10), None);
    assert_eq!(flush.optional_bytes("bytes"), None);
    assert_eq!(flush.optional_duration("age"), None);
    let shown: Vec<String> = doc.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "site.yaml:2:3: unknown key `agee` in flush; did you mean `age`?",
            "site.yaml:3:9: `rows` in flush: expected a whole number from 1 to 10, found `many`",
            "site.yaml:4:10: `bytes` in flush: expected a size such as `64KiB`, `512MiB` or `2GiB`, found `12 Mib`; did you mean `MiB`?",
            "site.yaml:6:1: key `memory` is given twice in the site",
        ]
    );
}

#[test]
fn quantities() {
    let doc = Document::parse("q.yaml", "a: 1500ms\nb: 2m\nc: 512MiB\nd: 17\n");
    let map = doc.map(doc.root().unwrap(), "q", &["a", "b", "c", "d"]).unwrap();
    assert_eq!(map.optional_duration("a"), Some(Duration::from_millis(1500)));
    assert_eq!(map.optional_duration("b"), Some(Duration::from_secs(120)));
    assert_eq!(map.optional_bytes("c"), Some(512 << 20));
    assert_eq!(map.optional_bytes("d"), Some(17));
    assert!(doc.problems().is_empty());
}

#[test]
fn syntax_errors_have_a_place() {
    let doc = Document::parse("x.yaml", "a: [1, 2\nb: 3\n");
    assert!(doc.root().is_none());
    let problems = doc.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].line >= 1, "{}", problems[0]);
}

#[test]
fn aliases_are_refused() {
    let doc = Document::parse("x.yaml", "a: &b 1\nc: *b\n");
    assert!(doc.problems()[0].message.contains("anchors"));
}

#[test]
fn strict_json_knows_what_yaml_does_not() {
    let key = "k".repeat(5000);
    let text = format!(
        "\u{feff}{{\t\"{key}\":1,\n\"s\":\"\\ud83d\\ude00\\t\\u00e9\",\"n\":[null,\"null\",-1.5E+3]}}"
    );
    let doc = Document::parse_json("s.json", &text);
    let root = doc.root().unwrap_or_else(|| panic!("{:?}", doc.problems()));
    assert_eq!(root.get(&key).and_then(Node::text), Some("1"));
    let s = root.get("s").unwrap();
    assert_eq!((s.text(), s.line, s.column), (Some("\u{1f600}\t\u{e9}"), 2, 5));
    let Some(Kind::Sequence(items)) = root.get("n").map(|n| &n.kind) else { panic!() };
    assert!(items[0].is_null() && !items[1].is_null());
    assert_eq!(items[2].text(), Some("-1.5E+3"));
}

#[test]
fn strict_json_refuses_what_a_registry_would() {
    let cases = [
        ("{\"a\": 1,\n}", "2:1", "expected `\"`"),
        ("{\"a\": 1 // no\n}", "1:9", "expected `,` or `}`"),
        ("{a: 1}", "1:2", "expected `\"`"),
        ("[01]", "1:2", "expected a JSON value, found `01`"),
        ("[\"\\ud800\"]", "1:9", "half of a surrogate pair"),
        ("[\"a\tb\"]", "1:4", "control character"),
        ("[1] [2]", "1:5", "found more"),
        ("", "1:1", "the end of the text"),
        ("[\"\\x\"]", "1:5", "is no escape"),
    ];
    for (text, place, message) in cases {
        let problems = Document::parse_json("s.json", text).problems();
        let shown = problems[0].to_string();
        assert!(
            shown.starts_with(&format!("s.json:{place}: ")) && shown.contains(message),
            "{text}: {shown}"
        );
    }
    let deep = "[".repeat(10_000);
    assert!(Document::parse_json("s.json", &deep).problems()[0].message.contains("nested deeper"));
}
