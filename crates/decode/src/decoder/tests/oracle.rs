//! Flat schemas against a slow and obvious decoder on top of serde_json.

use super::hostile::Random;
use super::*;

const FIELDS: [(&str, &str); 8] = [
    ("f1", "float64"),
    ("i1", "int64"),
    ("i2", "int32"),
    ("b1", "boolean"),
    ("t1", "utf8"),
    ("d1", "dictionary"),
    ("l1", "list<float64>"),
    ("l2", "list<utf8>"),
];

/// What a field must give: a value, or nothing at all if the message must be rejected.
fn expected(arrow: &str, value: &Value) -> Option<Value> {
    let missing = |text: &str| matches!(text, "" | "UNAVAILABLE");
    let number = |value: &Value| -> Option<Value> {
        match value {
            Value::Null => Some(Value::Null),
            Value::String(text) if missing(text) => Some(Value::Null),
            Value::String(text) => {
                let number: serde_json::Number = serde_json::from_str(text).ok()?;
                Some(Value::Number(number))
            }
            Value::Number(_) => Some(value.clone()),
            _ => None,
        }
    };
    let float = |value: &Value| -> Option<Value> {
        let value = number(value)?;
        match (value.as_i64(), value.as_u64(), value.as_f64()) {
            (Some(whole), _, Some(float)) if float as i128 != i128::from(whole) => None,
            (None, Some(whole), Some(float)) if float as i128 != i128::from(whole) => None,
            (_, _, Some(float)) => Some(json!(float)),
            _ => Some(Value::Null),
        }
    };
    let text = |value: &Value| match value {
        Value::Null => Some(Value::Null),
        Value::String(text) if missing(text) => Some(Value::Null),
        Value::String(_) => Some(value.clone()),
        _ => None,
    };
    let integer = |value: &Value| -> Option<Value> {
        let value = number(value)?;
        if value.is_null() || value.is_i64() {
            return Some(value);
        }
        // The generator writes decimals with few digits, so that doubles hold them exactly.
        let float = value.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then(|| json!(float as i64))
    };
    match arrow {
        "float64" => float(value),
        "int64" => integer(value),
        "int32" => {
            let value = integer(value)?;
            value.as_i64().is_none_or(|v| i32::try_from(v).is_ok()).then_some(value)
        }
        "boolean" => match value {
            Value::String(text) if missing(text) => Some(Value::Null),
            Value::Null | Value::Bool(_) => Some(value.clone()),
            _ => None,
        },
        "utf8" | "dictionary" => text(value),
        _ => match value {
            Value::Null => Some(Value::Null),
            Value::String(text) if missing(text) => Some(Value::Null),
            Value::Array(items) => items
                .iter()
                .map(|item| if arrow == "list<utf8>" { text(item) } else { float(item) })
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
            _ => None,
        },
    }
}

fn scalar(random: &mut Random) -> String {
    match random.below(12) {
        0 => "null".into(),
        1 => "true".into(),
        2 => "\"\"".into(),
        3 => "\"UNAVAILABLE\"".into(),
        4 => format!("\"{}\"", ["x", "é\\n\\u00e9", "\\ud83d\\ude00", "a\\\"b\\\\"][random.below(4)]),
        5 => format!("\"{}\"", random.below(1000)),
        6 => format!("{}", random.next()),
        7 => format!("{}", random.next() as i64),
        8 => format!("{}.{}", random.below(100), random.below(100)),
        9 => format!("-{}E-{}", random.below(1000), random.below(20)),
        10 => format!("{}.0", random.below(1 << 40)),
        _ => format!("{}", random.below(1000)),
    }
}

#[test]
fn flat_messages_agree_with_serde_json() {
    let properties: serde_json::Map<String, Value> =
        FIELDS.iter().map(|(name, arrow)| ((*name).to_owned(), json!({"x-situs": {"arrow": arrow}, "type": if arrow.starts_with("list") {json!("array")} else {json!(["string", "number"])}, "items": {"type": "string"}}))).collect();
    let mut properties = Value::Object(properties);
    properties["t1"]["type"] = json!("string");
    properties["d1"]["type"] = json!("string");
    let schema = schema(json!({}), properties);
    let mut random = Random(7);
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..3000 {
        let mut text = String::from("{");
        let mut order: Vec<usize> = (0..FIELDS.len()).collect();
        if random.below(2) == 0 {
            order.swap(random.below(FIELDS.len()), random.below(FIELDS.len()));
        }
        for field in order {
            let (name, arrow) = FIELDS[field];
            let value = match random.below(8) {
                0 => continue,
                1 => scalar(&mut random),
                _ => match arrow {
                    "boolean" => ["true", "false"][random.below(2)].into(),
                    "utf8" | "dictionary" => format!("\"v{}\"", random.below(5)),
                    "list<utf8>" => format!("[\"a\",\"b{}\"]", random.below(9)),
                    "list<float64>" => format!("[{},{}.5]", random.below(9), random.below(9)),
                    _ => format!("{}", random.below(100)),
                },
            };
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&format!("\"{name}\":{value}"));
        }
        text.push('}');
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let expected: Option<Vec<(&str, Value)>> = FIELDS
            .iter()
            .map(|(name, arrow)| Some((*name, expected(arrow, parsed.get(*name).unwrap_or(&Value::Null))?)))
            .collect();
        let decoded = decode(&schema, &[text.as_bytes()]);
        match expected {
            Some(values) => {
                assert_eq!(decoded.rejects, [], "{text}");
                for (name, value) in values {
                    assert_eq!(column(&decoded.rows, name), [value], "{name} of {text}");
                }
                accepted += 1;
            }
            None => {
                assert_eq!(decoded.rejects.len(), 1, "{text}");
                rejected += 1;
            }
        }
    }
    assert!(accepted > 1000 && rejected > 100, "{accepted} {rejected}");
}

/// simd-json's doubles against those of the standard library, which are correctly rounded.
#[test]
fn doubles_are_rounded_correctly() {
    let schema = schema(json!({}), json!({"v": {"type": "array", "items": {"type": "number"}}}));
    let mut random = Random(11);
    let mut numbers = Vec::new();
    for _ in 0..20_000 {
        numbers.push(match random.below(5) {
            0 => f64::from_bits(random.next()),
            1 => (random.next() as i64) as f64 / 1e6,
            _ => 0.0,
        });
        let last = numbers.len() - 1;
        if !numbers[last].is_finite() {
            numbers[last] = 0.0;
        }
    }
    let mut texts: Vec<String> = numbers.iter().map(|number| format!("{number:e}")).collect();
    for _ in 0..20_000 {
        let digits: String =
            (0..=random.below(30)).map(|_| char::from(b'0' + random.below(10) as u8)).collect();
        texts.push(format!("0.{digits}e{}", random.below(600) as i64 - 300));
        texts.push(format!("1{digits}.{digits}E-{}", random.below(330)));
    }
    // Halfway between two doubles, and a little more.
    texts.extend(
        [
            "9007199254740993.0",
            "9007199254740993.00000000000000000000000000000001",
            "1.00000000000000011102230246251565404236316680908203125",
            "2.2250738585072011e-308",
            "4.9406564584124654e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
        ]
        .map(str::to_owned),
    );
    let text = format!("{{\"v\":[{}]}}", texts.join(","));
    let decoded = Decoder::new(schema, 64 << 20).decode(batch(&[text.as_bytes()]));
    let list = decoded.rows.column(0).as_list::<i32>().value(0);
    let list = list.as_primitive::<Float64Type>();
    for (text, value) in texts.iter().zip(list.values()) {
        assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
    }
}
