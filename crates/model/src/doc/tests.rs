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
