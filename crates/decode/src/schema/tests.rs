use super::*;

/// The schemas that ship with the project, and those of real messages, are read without a problem.
#[test]
fn shipped_schemas_compile() {
    let roots = ["/../../schemas", "/../../tests/real/schemas"]
        .map(|root| std::fs::read_dir(env!("CARGO_MANIFEST_DIR").to_owned() + root).unwrap());
    let mut problems = Vec::new();
    for topic in roots.into_iter().flatten().flatten() {
        for file in std::fs::read_dir(topic.path()).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let name = file.path().display().to_string();
            if let Err(found) = Schema::parse(&name, &text, &DeviceSource::Payload) {
                problems.push(found.to_string());
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn problems(text: &str) -> Vec<String> {
    match Schema::parse("s.json", text, &DeviceSource::Payload) {
        Ok(_) => Vec::new(),
        Err(Diagnostics(problems)) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The problem of a schema with this one property.
fn problem_of(property: &str) -> String {
    let text = format!("{{\"type\":\"object\",\n\"properties\":{{\n{property}\n}}}}");
    let problems = problems(&text);
    assert_eq!(problems.len(), 1, "{property}: {problems:#?}");
    problems[0].strip_prefix("s.json:3:").unwrap_or(&problems[0]).to_owned()
}

#[test]
fn columns_with_units_and_classes_in_order() {
    let text = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x", "title": "T", "x-other": 1,
        "type": "object",
        "x-situs": {"unknown": "keep", "event-time-ns": true},
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "x-situs": {"arrow": "dictionary", "role": "device", "class": "asset-identity"}},
            "b": {"type": ["number", "null"], "minimum": 0, "x-situs": {"unit": "PERCENT", "class": "process"}},
            "c": {"type": "integer"},
            "d": {"type": "boolean"},
            "e": {"type": "array", "items": {"type": "number"}},
            "f": {"type": "array", "items": {"$ref": "#/$defs/word"}},
            "g": {"type": "string", "x-situs": {"time": ["rfc3339"]}},
            "h": {"type": "object", "x-situs": {"arrow": "json"}},
            "i": {"type": "object", "properties": {"j": {"type": "string", "x-situs": {"role": "claim"}}}},
            "k": {"$ref": "#/$defs/text", "description": "D"}
        },
        "$defs": {"text": {"type": "string", "x-situs": {"column": "text", "class": "personal", "personal": "pseudonym"}},
            "word": {"type": "string"}}
    }"##;
    let schema = Schema::parse("s.json", text, &DeviceSource::Payload).unwrap();
    let shown: Vec<String> = schema
        .columns()
        .iter()
        .map(|c| {
            format!("{} {} {:?} {:?}", c.name, c.data_type, c.unit.as_deref().unwrap_or(""), c.classes.class)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "a Dictionary(Int32, Utf8) \"\" Some(AssetIdentity)",
            "b Float64 \"PERCENT\" Some(Process)",
            "c Int64 \"\" None",
            "d Boolean \"\" None",
            "e List(Float64, field: 'element') \"\" None",
            "f List(Utf8, field: 'element') \"\" None",
            "g Timestamp(µs, \"UTC\") \"\" None",
            "h Utf8 \"\" None",
            "j Utf8 \"\" None",
            "text Utf8 \"\" Some(Personal)",
        ]
    );
    let names: Vec<&str> = schema.arrow_schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names[10], "_extra");
    assert_eq!(
        names[11..],
        [
            "_topic",
            "_partition",
            "_offset",
            "_row",
            "_broker_time",
            "_ingest_time",
            "event_time",
            "event_date",
            "_event_time_ns",
            "_quality"
        ]
    );
    let b = schema.arrow_schema().field(1);
    assert_eq!(b.metadata()[UNIT_METADATA], "PERCENT");
    assert_eq!(b.metadata()[CLASS_METADATA], "process");
    assert_eq!((schema.device_column(), schema.claim_columns()), (Some("a"), &["j".to_owned()][..]));
    assert_eq!(schema.version(), &ContentVersion::of(text.as_bytes()));
}

#[test]
fn all_problems_at_once_with_places_and_words() {
    let text = r#"{
  "type": "object",
  "x-situs": { "unknwon": "keep", "batch": "yes" },
  "required": ["devise"],
  "propertis": {},
  "properties": {
    "device": { "type": "strin", "x-situs": { "rolle": "device" } },
    "Load": { "type": "number" },
    "time": { "x-situs": { "arrow": "timestmp", "time": ["rfc3338"] } },
    "event_time": { "type": "string" },
    "a": { "allOf": [] , "x-situs": { "arrow": "json" } },
    "b": { "x-situs": { "class": "personel", "arrow": "json" } }
  }
}"#;
    let shown = problems(text);
    let expected = [
        "s.json:3:16: unknown key `unknwon` in `x-situs` at the top; did you mean `unknown`?",
        "s.json:3:44: `batch` in `x-situs` at the top: expected one of `true` or `false`, found `yes`",
        "s.json:4:16: `devise` is required but is no property here; did you mean `device`?",
        "s.json:5:3: unknown keyword `propertis` in the schema; did you mean `properties`?",
        "s.json:7:25: `type`: expected one of",
        "s.json:7:47: unknown key `rolle` in `x-situs` of `device`; did you mean `role`?",
        "s.json:8:5: `Load` is no name for a column: give one with `column`",
        "s.json:9:37: `arrow` in `x-situs` of `time`: expected one of",
        "s.json:9:58: `time`: expected one of",
        "s.json:10:5: `event_time` is a column that Situs adds; give this one another name",
        "s.json:11:12: `allOf` in `a` is not read",
        "s.json:12:34: `class` in `x-situs` of `b`: expected one of",
    ];
    for expected in expected {
        assert!(shown.iter().any(|problem| problem.starts_with(expected)), "no {expected} in {shown:#?}");
    }
    assert!(shown.iter().any(|p| p.ends_with("did you mean `timestamp`?")), "{shown:#?}");
    assert!(shown.iter().any(|p| p.ends_with("did you mean `rfc3339`?")), "{shown:#?}");
    assert!(shown.iter().any(|p| p.ends_with("did you mean `personal`?")), "{shown:#?}");
}

#[test]
fn fields_that_say_too_little_or_too_much() {
    for (property, problem) in [
        (
            r#""a": {}"#,
            "say with `arrow` what becomes of this field (`json` keeps any value as text): its `type` does not say",
        ),
        (r#""a": {"type": ["string", "number"]}"#, "say with `arrow`"),
        (r#""a": {"type": "object"}"#, "say with `arrow`"),
        (r#""a": {"type": "array", "items": {"type": "object", "properties": {}}}"#, "say with `arrow`"),
        (
            r#""a": {"type": "string", "x-situs": {"role": "event-time"}}"#,
            "the role `event-time` needs `time`",
        ),
        (r#""a": {"x-situs": {"arrow": "timestamp"}}"#, "a `timestamp` needs `time`"),
        (
            r#""a": {"type": "string", "x-situs": {"role": "device", "column": false}}"#,
            "a field with this role needs a column",
        ),
        (r#""a": {"type": "integer", "x-situs": {"role": "device"}}"#, "a field with this role is text"),
        (r#""a": {"type": "string", "x-situs": {"column": "_x"}}"#, "`_x` is a column that Situs adds"),
        (r#""a": {"type": "string", "x-situs": {"column": "9x"}}"#, "`9x` is no name for a column"),
        (r#""a": {"type": "string", "x-situs": {"source": "x/y"}}"#, "`x/y` is no pointer"),
        (r#""a": {"type": "string", "x-situs": {"source": ""}}"#, "an empty `source` is the object itself"),
        (r#""a": {"type": "string", "x-situs": {"rank": 1}}"#, "`rank` belongs to the role `event-time`"),
        (r#""a": {"x-situs": {"value": {"number": "n"}}}"#, "`value` needs a key `text`"),
        (
            r#""a": {"x-situs": {"value": {"text": "t", "numeric-strings": {"any": [{"field": "b", "in": ["x"]}]}}}}"#,
            "this field is not read where the value is",
        ),
        (
            r#""a": {"x-situs": {"pairs": {"name": "n", "value": "v", "columns": ["x"]}}}"#,
            "`columns` in `pairs` are two",
        ),
        (
            r#""a": {"x-situs": {"or-value": {"text": "t"}, "arrow": "json"}}"#,
            "`or-value` belongs on an object",
        ),
        (r##""a": {"$ref": "#/$defs/x"}"##, "`#/$defs/x` leads nowhere"),
        (
            r#""a": {"type": "string"}, "b": {"type": "number", "x-situs": {"column": "a"}}"#,
            "the column `a` is `float64` here and `utf8` in line 3",
        ),
        (
            r#""a": {"type": "number", "x-situs": {"unit": "m"}}, "b": {"type": "number", "x-situs": {"column": "a", "unit": "mm"}}"#,
            "the column `a` has the unit `mm` here and `m` in line 3",
        ),
        (
            r#""a": {"x-situ": {}, "type": "string"}"#,
            "unknown keyword `x-situ` in `a`; did you mean `x-situs`?",
        ),
    ] {
        let found = problem_of(property);
        let (column, message) = found.split_once(": ").unwrap();
        assert!(message.starts_with(problem), "{property}: {found}");
        // The place is a key, a name or a value that the problem is about.
        let column: usize = column.parse().unwrap();
        assert!(matches!(property.as_bytes()[column - 1], b'"' | b'{' | b'f' | b'1'), "{property}: {found}");
    }
}

fn columns_of(properties: &str) -> (Vec<String>, Schema) {
    let text = format!(
        r#"{{"type":"object","x-situs":{{"unknown":"keep","extra-class":"trade-secret"}},"properties":{{{properties}}}}}"#
    );
    let schema = Schema::parse("s.json", &text, &DeviceSource::Payload).unwrap();
    (schema.columns().iter().map(|column| column.name.clone()).collect(), schema)
}

#[test]
fn personal_fields_have_no_column_unless_they_become_pseudonyms() {
    let (columns, schema) = columns_of(
        r#""a": {"type": "string", "x-situs": {"class": "personal"}},
           "b": {"type": "number", "x-situs": {"class": "personal", "personal": "drop", "column": "bee"}},
           "c": {"x-situs": {"class": "personal", "value": {"text": "t", "number": "n"}}},
           "d": {"x-situs": {"class": "personal", "pairs": {"name": "n", "value": "v", "columns": ["x", "y"]}}},
           "e": {"type": "integer", "x-situs": {"arrow": "dictionary", "class": "personal", "personal": "pseudonym"}},
           "f": {"x-situs": {"class": "personal", "personal": "pseudonym", "value": {"text": "ft", "number": "fn"}}},
           "g": {"type": "string", "x-situs": {"class": "process"}},
           "h": {"type": "number", "x-situs": {"class": "process",
                "class-by": {"column": "g", "classes": {"personal": ["USER"], "trade-secret": ["BLOCK"]}}}}"#,
    );
    assert_eq!(columns, ["e", "fn", "ft", "g", "h"]);
    let arrow = schema.arrow_schema();
    assert_eq!(arrow.metadata()[DROPPED_METADATA], "a,bee,n,t,x,y");
    let metadata = |name: &str, key: &str| {
        arrow
            .field_with_name(name)
            .unwrap()
            .metadata()
            .get(key)
            .map(String::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    for (name, class, pseudonym) in
        [("e", "personal", "true"), ("ft", "personal", "true"), ("fn", "personal", ""), ("g", "process", "")]
    {
        assert_eq!(
            (metadata(name, CLASS_METADATA), metadata(name, PSEUDONYM_METADATA)),
            (class.into(), pseudonym.into())
        );
    }
    assert_eq!(metadata("h", CLASS_METADATA), "personal");
    assert_eq!(metadata("h", CLASS_ELSE_METADATA), "process");
    assert_eq!(metadata("h", CLASS_BY_METADATA), "g\ntrade-secret:BLOCK\npersonal:USER");
    assert_eq!(metadata("_extra", CLASS_METADATA), "trade-secret");
}

#[test]
fn classes_that_contradict() {
    for (property, problem) in [
        (
            r#""a": {"type": "number", "x-situs": {"class": "personal", "personal": "pseudonym"}}"#,
            "only a text can become a pseudonym",
        ),
        (
            r#""a": {"x-situs": {"arrow": "json", "class": "personal", "personal": "pseudonym"}}"#,
            "only a text can become a pseudonym",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"personal": "pseudonym"}}"#,
            "`personal` belongs to the class `personal`",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"class": "personal", "personal": "pseudonim"}}"#,
            "`personal` in `x-situs` of `a`: expected one of",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"role": "device", "class": "personal"}}"#,
            "a field with a role cannot be `personal`",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"role": "claim", "class": "trade-secret"}}"#,
            "a field with a role cannot be `trade-secret`",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"role": "event-time", "time": "rfc3339", "class": "personal"}}"#,
            "a field with a role cannot be `personal`",
        ),
        (
            r#""a": {"type": "string"}, "b": {"type": "string", "x-situs": {"column": "a", "class": "personal"}}"#,
            "the column `a` is `personal` and dropped here, and filled in line 3",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"class-by": {"column": "b", "classes": {"personal": ["x"]}}}}"#,
            "there is no column `b` to tell classes by",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"class-by": {"column": "a", "classes": {"personal": ["x"]}}}}"#,
            "`a` is not stored as it comes, so classes cannot be told by it",
        ),
        (
            r#""n": {"type": "number"}, "a": {"type": "string", "x-situs": {"class-by": {"column": "n", "classes": {"personal": ["x"]}}}}"#,
            "classes are told by a column of text; `n` is none",
        ),
        (
            r#""n": {"type": "string"}, "a": {"type": "string", "x-situs": {"class-by": {"column": "n", "classes": {"personal": ["x"], "process": ["x"]}}}}"#,
            "`x` has two classes",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"class": "trade-secret"}}, "b": {"type": "string", "x-situs": {"column": "a", "class": "process"}}"#,
            "the column `a` is `process` here and `trade-secret` in line 3",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"class": "personal", "personal": "pseudonym"}}, "b": {"type": "string", "x-situs": {"column": "a", "class": "process", "class-by": {"column": "c", "classes": {"personal": ["x"]}}}}, "c": {"type": "string"}"#,
            "the column `a` is `process` here and `personal` in line 3",
        ),
        // The class of another field that fills the column.
        (
            r#""a": {"type": "string", "x-situs": {"role": "device"}}, "b": {"type": "string", "x-situs": {"column": "a", "class": "trade-secret"}}"#,
            "the column `a` has the role `device` or `claim` and is `trade-secret` by another field",
        ),
        (
            r#""a": {"type": "string", "x-situs": {"role": "claim"}}, "b": {"type": "string", "x-situs": {"column": "a", "class": "personal", "personal": "pseudonym"}}"#,
            "the column `a` has the role `device` or `claim` and is `personal` by another field",
        ),
        (
            r#""a": {"type": "object", "properties": {"x": {"type": "string"}}, "x-situs": {"class": "personal", "or-value": {"text": "t"}}}"#,
            "a value in place of an object cannot be dropped",
        ),
    ] {
        let found = problem_of(property);
        let (_, message) = found.split_once(": ").unwrap();
        assert!(message.starts_with(problem), "{property}: {found}");
    }
    let extra = |words: &str| problems(&format!(r#"{{"type":"object","x-situs":{{{words}}}}}"#));
    assert!(extra(r#""extra-class": "process""#)[0].contains("it needs `unknown: keep`"));
    assert!(extra(r#""unknown": "keep", "extra-class": "personal""#)[0].contains("write `unknown: count`"));
}

/// Classes of what is no field of its own were passed over, so that the values were stored as they came.
#[test]
fn a_class_that_is_that_of_no_value_is_told() {
    let name = r#""properties": {"name": {"type": "string"}}"#;
    let walked = "what is walked into has no class: give one to each field in it";
    let whole = "`x-situs` is not read here: the field around is taken as a whole, and so is its class";
    let unknown = "`x-situs` is not read here: only `properties` are, and the rest is unknown";
    let secret = r#""x-situs": {"class": "personal"}"#;
    for (property, problem) in [
        (format!(r#""a": {{"type": "object", {secret}, {name}}}"#), walked),
        (
            format!(
                r#""a": {{"type": "object", "x-situs": {{"class-by": {{"column": "name", "classes": {{"personal": ["x"]}}}}}}, {name}}}"#
            ),
            walked,
        ),
        (format!(r#""a": {{"type": "array", "items": {{"type": "string", {secret}}}}}"#), whole),
        (
            format!(
                r#""a": {{"x-situs": {{"arrow": "json"}}, "properties": {{"b": {{"items": {{{secret}}}}}}}}}"#
            ),
            whole,
        ),
        (
            format!(
                r#""a": {{"type": "array", "x-situs": {{"pairs": {{"name": "n", "value": "v", "columns": ["x", "y"]}}}}, "items": {{"properties": {{"n": {{{secret}}}}}}}}}"#
            ),
            whole,
        ),
        (format!(r#""a": {{"type": "string", "x-situs": {{"column": false}}, "not": {{{secret}}}}}"#), whole),
        (format!(r#""a": {{"type": "object", "additionalProperties": {{{secret}}}, {name}}}"#), unknown),
    ] {
        let found = problem_of(&property);
        let (_, message) = found.split_once(": ").unwrap();
        assert_eq!(message, problem, "{property}");
    }
    // The class is that of the value that may stand there.
    let or_value = r#"{"type":"object","properties":{"a":{"type":"object","properties":{"x":{"type":"string"}},
        "x-situs":{"class":"trade-secret","or-value":{"text":"t"}}}}}"#;
    assert_eq!(problems(or_value), [""; 0]);

    let with = |rows: &str, rest: &str| {
        let text = format!(
            r##"{{"type":"object","x-situs":{{"rows":[{rows}]}},{rest},"$defs":{{"e":{{{name}}}}}}}"##
        );
        problems(&text).iter().map(|p| p.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let list = |more: &str| format!(r#""properties":{{"l":{{"type":"array",{more}}}}}"#);
    let at = r#"{"at":"/l"}"#;
    assert_eq!(with(at, &list(&format!(r#""items":{{{name}}},{secret}"#))), [walked]);
    assert_eq!(with(at, &list(&format!(r#""items":{{{name},{secret}}}"#))), [walked]);
    let nested = format!(r#""items":{{"properties":{{"m":{{"items":{{{name}}},{secret}}}}}}}"#);
    assert_eq!(with(r#"{"at":"/l/*/m"}"#, &list(&nested)), [walked]);
    let both = r##""items":{"$ref":"#/$defs/e"},"additionalProperties":{"$ref":"#/$defs/e"}"##;
    assert_eq!(with(at, &list(both)), [""; 0]);
    let other = format!(r#""items":{{{name}}},"additionalProperties":{{{secret}}}"#);
    assert_eq!(with(at, &list(&other)), ["`x-situs` is not read here: `items` says what the entries are"]);
    let block = r#"{"at":"/l","block":{"columns":{"samples":"s"}}}"#;
    assert_eq!(
        with(block, &list(&format!(r#""items":{{"type":"array","items":{{{secret}}}}}"#))),
        ["`x-situs` is not read here: `block` says what becomes of these entries"]
    );
    let top = with(r#"{"at":""}"#, &format!(r#""properties":{{}},"additionalProperties":{{{secret}}}"#));
    assert_eq!(top, [unknown]);
}

/// The row container of another alternative is unknown, and came whole into `_extra`.
#[test]
fn what_is_kept_unread_holds_no_guarded_rows() {
    let with = |top: &str, class: &str, key: &str, block: &str| {
        problems(&format!(
            r##"{{"type":"object","x-situs":{{{top},"rows":[{{"at":"/l"}},
                {{"at":"/m","key":"k"{key}}},{{"at":"/b","block":{{"columns":{{"samples":"s"}}{block}}}}}]}},
              "properties":{{
                "l":{{"type":"array","items":{{"properties":{{"x":{{"type":"number"}}}}}}}},
                "m":{{"type":"object","additionalProperties":{{"$ref":"#/$defs/e"}}}},
                "b":{{"type":"array","items":{{"type":"array"}}}}}},
              "$defs":{{"e":{{"properties":{{"w":{{"type":"string","x-situs":{{{class}}}}}}}}}}}}}"##
        ))
    };
    let keep = r#""unknown":"keep""#;
    let secret = r#""class":"trade-secret""#;
    assert_eq!(with(keep, r#""class":"process""#, "", ""), [""; 0]);
    assert_eq!(with(r#""unknown":"count""#, secret, "", ""), [""; 0]);
    assert_eq!(with(r#""unknown":"keep","extra-class":"trade-secret""#, secret, "", ""), [""; 0]);
    for (class, key, block, expected) in [
        (secret, "", "", "it is `trade-secret`: write `unknown: count`, or `extra-class: trade-secret`"),
        (r#""class":"personal""#, "", "", "it is `personal`: write `unknown: count`"),
        (
            r#""class-by":{"column":"k","classes":{"personal":["USER"]}}"#,
            "",
            "",
            "it is `personal`: write `unknown: count`",
        ),
        ("", r#","key-class":"trade-secret""#, "", "it is `trade-secret`: write `unknown: count`, or"),
        ("", "", r#","class":"trade-secret""#, "it is `trade-secret`: write `unknown: count`, or"),
    ] {
        let found = with(keep, class, key, block);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(&format!("this is kept in `_extra`, and {expected}")), "{found:#?}");
        assert_eq!(with(r#""unknown":"count""#, class, key, block), [""; 0]);
    }
}

#[test]
fn keys_of_entries_and_blocks_have_classes() {
    let with = |rows: &str| {
        let text = format!(
            r##"{{"type":"object","x-situs":{{"rows":[{rows}]}},"properties":{{
                "m":{{"type":"object","additionalProperties":{{"properties":{{"x":{{"type":"number"}}}}}}}},
                "b":{{"type":"array","items":{{"type":"array"}}}}}}}}"##
        );
        Schema::parse("s.json", &text, &DeviceSource::Payload)
    };
    let schema = with(
        r#"{"at":"/m","key":"k","key-class":"asset-identity"},
           {"at":"/b","block":{"class":"trade-secret","columns":{"signal":"signal","samples":"s"}}}"#,
    )
    .unwrap();
    let class = |name: &str| {
        let field = schema.arrow_schema().field_with_name(name).unwrap();
        field.metadata().get(CLASS_METADATA).cloned()
    };
    assert_eq!(class("k").as_deref(), Some("asset-identity"));
    assert_eq!(class("signal").as_deref(), Some("trade-secret"));
    assert_eq!(class("s").as_deref(), Some("trade-secret"));
    assert_eq!(class("x"), None);
    for (rows, problem) in [
        (
            r#"{"at":"/m","key":"k","key-class":"personal"}"#,
            "what is personal cannot be dropped here: `key-class` is of other classes",
        ),
        (
            r#"{"at":"/b","block":{"class":"personal","columns":{"samples":"s"}}}"#,
            "what is personal cannot be dropped here: `class` is of other classes",
        ),
        (r#"{"at":"/m","key-class":"process"}"#, "`key-class` is the class of the column for `key`"),
        (r#"{"none":"x","key-class":"process"}"#, "`key-class` has no meaning beside `none`"),
    ] {
        let found = with(rows).unwrap_err().to_string();
        assert!(found.contains(problem), "{rows}: {found}");
    }
}

#[test]
fn ways_to_rows_that_lead_nowhere() {
    let with = |rows: &str, properties: &str| {
        problems(&format!(
            "{{\"type\":\"object\",\"x-situs\":{{\"rows\":[{rows}]}},\"properties\":{{{properties}}}}}"
        ))
    };
    let list =
        r#""list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}}"#;
    assert_eq!(with(r#"{"at": "/list"}"#, list), [""; 0]);
    for (rows, properties, problem) in [
        (
            r#"{"at": "/lst"}"#,
            list,
            "`at` leads through `lst`, which is no property here; did you mean `list`?",
        ),
        (r#"{"at": "list"}"#, list, "is no pointer"),
        (r#"{"at": "/list/*"}"#, list, "in `at` every `*` stands between names"),
        (r#"{"at": "/list/*/a"}"#, list, "the entries of `a` become rows: describe them"),
        (r#"{}"#, list, "an alternative of `rows` needs `at` or `none`"),
        (r#"{"none": "Meta data"}"#, "", "`none` is a word"),
        (r#"{"none": "x", "at": "/list"}"#, list, "`at` has no meaning beside `none`"),
        (r#"{"at": "", "key": "k"}"#, "", "`key` needs an `at` that leads to entries"),
        (r#"{"at": "", "if-equals": "x"}"#, "", "`if-equals` needs `if`"),
        (r#"{"at": "/list"}"#, r#""list": {"type": "array"}"#, "describe them under `items`"),
        (
            r#"{"at": "/list", "block": {"columns": {"first": "f", "samples": "s"}}}"#,
            list,
            "the column for `first` needs `counter`",
        ),
        (r#"{"at": "/list", "block": {"columns": {}}}"#, list, "needs a key `samples`"),
        (
            r#"{"at": "/list", "block": {"columns": {"samples": "s"}}}"#,
            &format!(r#"{list}, "s": {{"type": "array", "items": {{"type": "number"}}}}"#),
            "the column `s` is filled by the block and by a field",
        ),
        (r#"{"at": "/list", "key": "a"}"#, list, "the column `a` is `int64` here and `dictionary` in line 1"),
    ] {
        let found = with(rows, properties);
        assert!(found.iter().any(|p| p.contains(problem)), "{rows}: {found:#?}");
    }
    assert!(problems(r#"{"type":"object","x-situs":{"rows":[]}}"#)[0].contains("needs an alternative"));
    assert!(problems(r#"{"type":"array"}"#)[0].contains("`type` at the top must be `object`"));
    assert!(problems("{").len() == 1 && problems("").len() == 1 && problems("[]").len() == 1);
}

#[test]
fn references_in_a_circle_end() {
    let text = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},
        "$defs":{"x":{"type":"object","properties":{"b":{"$ref":"#/$defs/x"}}}}}"##;
    assert!(problems(text)[0].contains("nested too deep"));
    let text =
        r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"$ref":"#/$defs/x"}}}"##;
    assert!(problems(text)[0].contains("in a circle"));
    let text = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/x","x-situs":{}}},"$defs":{"x":{"type":"string"}}}"##;
    assert!(problems(text)[0].contains("`x-situs` beside `$ref` is not read"));
}

#[test]
fn the_device_column_is_one_and_its_name_is_free() {
    let two = r#"{"type":"object","properties":{
        "a":{"type":"string","x-situs":{"role":"device"}},"b":{"type":"string","x-situs":{"role":"device"}}}}"#;
    assert!(problems(two)[0].contains("the device id already has the column `a`"));
    let taken = r#"{"type":"object","properties":{"device":{"type":"string"}}}"#;
    assert_eq!(problems(taken), [""; 0]);
    let found = Schema::parse("s.json", taken, &DeviceSource::Key).unwrap_err().to_string();
    assert!(
        found.contains("the column `device` is taken: the pipeline fills it from the message's key"),
        "{found}"
    );
}
