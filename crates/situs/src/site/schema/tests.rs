use std::path::{Path, PathBuf};

use regex::Regex;
use situs_model::doc::{Document, Kind, Node, Variable};

use super::*;
use crate::site::Site;

/// What a text is to an editor: YAML's numbers, booleans and nulls where the text is not quoted.
fn value_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => Value::Null,
        Kind::Scalar { text, quoted: false } => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            _ => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(number), _) => json!(number),
                (_, Ok(number)) if !text.contains(|c: char| c.is_alphabetic()) => json!(number),
                _ => json!(text),
            },
        },
        Kind::Scalar { text, .. } => json!(text),
        Kind::Sequence(items) => items.iter().map(value_of).collect(),
        Kind::Mapping(entries) => {
            let entry =
                |(key, value): &(Node, Node)| (key.text().unwrap_or_default().to_owned(), value_of(value));
            Value::Object(entries.iter().map(entry).collect())
        }
    }
}

fn yaml(text: &str) -> Value {
    let doc = Document::parse("site.yaml", text);
    value_of(doc.root().unwrap_or_else(|| panic!("{:?}\n{text}", doc.problems())))
}

/// As much of JSON Schema as the schema of a site uses; anything else in it is an error of the test.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(keywords) = schema else { return schema != &json!(false) };
    keywords.iter().all(|(keyword, argument)| match (keyword.as_str(), value) {
        ("$schema" | "title" | "description" | "definitions", _) => true,
        ("$ref", _) => {
            let pointer =
                argument.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
            accepts(root, root.pointer(pointer).expect("a definition"), value)
        }
        ("anyOf", _) => argument.as_array().unwrap().iter().any(|one| accepts(root, one, value)),
        ("not", _) => !accepts(root, argument, value),
        ("enum", _) => argument.as_array().unwrap().contains(value),
        ("type", _) => {
            let is = |name: &Value| match name.as_str().unwrap() {
                "string" => value.is_string(),
                "number" => value.is_number(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                "object" => value.is_object(),
                "array" => value.is_array(),
                other => panic!("{other} is not known to this test"),
            };
            argument.as_array().map_or_else(|| is(argument), |names| names.iter().any(is))
        }
        ("pattern", Value::String(text)) => Regex::new(argument.as_str().unwrap()).unwrap().is_match(text),
        ("minLength", Value::String(text)) => text.chars().count() as u64 >= argument.as_u64().unwrap(),
        ("minimum", Value::Number(number)) => number.as_f64() >= argument.as_f64(),
        ("maximum", Value::Number(number)) => number.as_f64() <= argument.as_f64(),
        ("required", Value::Object(entries)) => {
            argument.as_array().unwrap().iter().all(|key| entries.contains_key(key.as_str().unwrap()))
        }
        ("properties", Value::Object(entries)) => entries
            .iter()
            .all(|(key, value)| argument.get(key).is_none_or(|schema| accepts(root, schema, value))),
        ("additionalProperties", Value::Object(entries)) => {
            let named = schema.get("properties");
            entries.iter().all(|(key, value)| {
                named.is_some_and(|named| named.get(key).is_some()) || accepts(root, argument, value)
            })
        }
        ("propertyNames", Value::Object(entries)) => {
            entries.keys().all(|key| accepts(root, argument, &json!(key)))
        }
        ("items", Value::Array(items)) => items.iter().all(|item| accepts(root, argument, item)),
        ("pattern" | "minLength" | "minimum" | "maximum" | "required" | "properties", _)
        | ("additionalProperties" | "propertyNames" | "items", _) => true,
        (other, _) => panic!("`{other}` is not known to this test"),
    })
}

fn accepted(text: &str) -> bool {
    let schema = json_schema();
    accepts(&schema, &schema, &yaml(text))
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = project().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of a text between two marks, the first time it is there.
fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from}")) + from.len();
    let end = text[start..].find(to).unwrap_or_else(|| panic!("no {to}"));
    &text[start..start + end]
}

#[test]
fn the_page_has_the_table_of_the_keys() {
    let page = read("docs/config.md");
    let found = between(&page, "<!-- keys: made by `situs config reference` -->\n", "<!-- end of keys -->");
    assert!(found == table(), "docs/config.md: put what `situs config reference` prints between the marks");
}

#[test]
fn the_schema_that_is_kept_is_that_of_the_keys() {
    let kept = read("docs/site.schema.json");
    let made = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    assert!(kept == made, "make it anew: situs config schema > docs/site.schema.json");
}

/// Texts of `site.yaml` in the documentation, the chart's renderings and the tests' scripts.
fn examples() -> Vec<(String, String)> {
    let mut examples = Vec::new();
    for page in ["docs/config.md", "README.md", "docs/retention.md", "docs/stores.md"] {
        let text = read(page);
        let blocks = text.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next());
        let sites = blocks.filter(|block| block.contains("home:") && block.contains("stores:"));
        examples.extend(sites.map(|block| (page.to_owned(), block.to_owned())));
    }
    for golden in std::fs::read_dir(project().join("tests/ops/golden")).unwrap() {
        let path = golden.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(indent) = line.strip_suffix("site.yaml: |") else { continue };
            let inner = format!("{indent}  ");
            let site: String = lines
                .by_ref()
                .take_while(|line| line.is_empty() || line.starts_with(&inner))
                .map(|line| format!("{}\n", line.strip_prefix(&inner).unwrap_or_default()))
                .collect();
            examples.push((path.display().to_string(), site));
        }
    }
    for script in ["tests/kafka/run", "tests/real/run", "tests/residency/canaries"] {
        let text = read(script);
        let site = text.split("/site.yaml\" <<").nth(1).and_then(|part| {
            let (mark, rest) = part.split_once('\n')?;
            rest.split_once(&format!("\n{}", mark.trim_matches('\''))).map(|(site, _)| format!("{site}\n"))
        });
        // What the shell puts in.
        let site = site.map(|site| site.replace("age: $1", "age: 1s"));
        examples.extend(site.map(|site| (script.to_owned(), site)));
    }
    examples.push(("the site of the other tests".to_owned(), super::super::tests::GOOD.to_owned()));
    examples
}

#[test]
fn the_schema_takes_what_the_parser_takes() {
    let examples = examples();
    let from = |name: &str| examples.iter().filter(|(place, _)| place.contains(name)).count();
    assert!(
        from("config.md") >= 5 && from("README") >= 1 && from("golden") >= 5 && from("tests/kafka/run") == 1
    );
    let set = |name: &str| Variable::Is(name.to_lowercase());
    for (place, text) in examples {
        if !place.starts_with("tests/") {
            Site::parse_with(Path::new("site.yaml"), &text, &set)
                .unwrap_or_else(|problems| panic!("{place}: {problems}\n{text}"));
        }
        assert!(accepted(&text), "{place}:\n{text}");
    }
}

#[test]
fn what_a_process_takes_is_taken_when_it_is_shown() {
    let site = Site::parse(Path::new("site.yaml"), super::super::tests::GOOD).unwrap();
    let schema = json_schema();
    assert!(accepts(&schema, &schema, &site.effective()));
}

#[test]
fn variables_are_taken_in_every_value() {
    let text = super::super::tests::GOOD
        .replace("age: 2s", "age: \"${AGE}\", rows: \"${ROWS:-5}\"")
        .replace("vacuum: false", "vacuum: \"${VACUUM}\"")
        .replace("listen: 127.0.0.1:9464", "listen: \"${IP}:9464\"");
    assert!(text.matches("${").count() == 4 && accepted(&text), "{text}");
}

/// Both refuse these.
#[test]
fn the_schema_refuses_what_is_wrong() {
    let good = super::super::tests::GOOD;
    assert!(accepted(good));
    for (right, wrong) in [
        ("home: { site: stuttgart-1, zone: EU }\n", ""),
        ("zone: EU }", "zone: eu }"),
        ("site: stuttgart-1", "site: Stuttgart"),
        ("site: stuttgart-1, ", ""),
        ("kafka:", "kafak:"),
        ("  group: situs\n", ""),
        ("brokers: 127.0.0.1:9092", "brokers: [a, b]"),
        ("{ security.protocol: ssl }", "{ group.id: x }"),
        ("{ security.protocol: ssl }", "{ security.protocol: [ssl] }"),
        ("{ security.protocol: ssl }", "{}\n  secrets: { enable.auto.commit: x }"),
        ("stores: { EU: stores/eu, CN: /data/cn }\n", ""),
        ("CN: /data/cn", "cn: /data/cn"),
        ("receipts: { signing-key: receipts-key.pem }\n", ""),
        ("{ signing-key: receipts-key.pem }", "{}"),
        ("{ signing-key: receipts-key.pem }", "{ signing-kye: x }"),
        ("{ signing-key: receipts-key.pem }", "{ allow-unsigned: maybe }"),
        ("age: 2s", "age: 2"),
        ("age: 2s", "age: 0s"),
        ("age: 2s", "age: 5 sec"),
        ("age: 2s", "rows: 0"),
        ("age: 2s", "bytes: 12 Mib"),
        ("listen: 127.0.0.1:9464", "listen: localhost"),
        ("listen: 127.0.0.1:9464", "port: 9464"),
        ("vacuum: false", "vacuum: maybe"),
        ("vacuum: false", "vacum: false"),
        ("every: 5m", "workers: 5"),
        ("flush: { age: 2s }", "workers: 257"),
        ("flush: { age: 2s }", "logs: { format: jsn }"),
        ("flush: { age: 2s }", "ledgers: { keep: 90d }"),
        ("flush: { age: 2s }", "enabled: [CNC]"),
        ("flush: { age: 2s }", "key-files: { group-readable: 1 }"),
        ("flush: { age: 2s }", "pseudonym-keys: [eu.key]"),
    ] {
        let text = good.replacen(right, wrong, 1);
        assert_ne!(text, good, "{right}");
        assert!(!accepted(&text), "the schema takes {wrong} for {right}");
        assert!(Site::parse(Path::new("site.yaml"), &text).is_err(), "the parser takes {wrong} for {right}");
    }
}
