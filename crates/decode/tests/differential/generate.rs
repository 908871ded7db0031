//! Messages as sources write them, and as nobody should.

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * bound as u128) >> 64) as usize
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }
}

/// Numbers at the edges of what types hold, in every way to write them.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "0.0",
    "1",
    "12",
    "-7",
    "3.0",
    "1e3",
    "1E+2",
    "2.5e-3",
    "123456.789",
    "-0.001",
    "100.0",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "2147483647",
    "2147483648",
    "1e400",
    "-1e400",
    "5e-324",
    "4.9e-324",
    "1e-400",
    "0.10000000000000000000000000000000000000000000000000000000000001",
    "0.1234567890123456789",
    "1234567890123456",
    "12345678901234567",
    "123456789012345.6",
    "0.30000000000000004",
    "1.7976931348623157e308",
    "2.2250738585072014e-308",
    "1e22",
    "1e23",
    "01",
    "-",
    "1.",
    ".5",
    "+1",
    "1e",
    "0x1",
    "1_000",
    "NaN",
    "Infinity",
    "-Infinity",
    "00",
    "-01",
    "1.5.2",
    "1e5.5",
    "--1",
];

const STRINGS: &[&str] = &[
    "\"\"",
    "\"UNAVAILABLE\"",
    "\"a\"",
    "\"ACTIVE\"",
    "\"SAMPLE\"",
    "\"COUNT\"",
    "\"off\"",
    "\"never\"",
    "\"-999\"",
    "\"five\"",
    "\"a text of more than sixteen bytes\"",
    "\"exactly sixteen!\"",
    "\"é\"",
    "\"G01 X1.5 Y2,3 ]}\"",
    "\"\\u00e9\\n\\\"\\\\\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\q\"",
    "\"\t\"",
    "\"\u{7f}\"",
    "\"日本\"",
    "\"NaN\"",
    "\"-inf\"",
    "\"Infinity\"",
    "\"5\"",
    "\"5.25\"",
    "\"-0\"",
    "\"1e3\"",
    "\"007\"",
    "\" 1\"",
    "\"+1\"",
    "\"1 2 3\"",
    "\"2022-08-08T13:51:34Z\"",
    "\"2022-08-08T13:51:34.123456789+02:00\"",
    "\"2022-08-08 13:51:34\"",
    "\"2022-08-08T13:51:34.12345678Z\"",
    "\"2024-02-29T23:59:60Z\"",
    "\"2023-02-29T00:00:00Z\"",
    "\"1659966694716\"",
    "'single'",
    "\"unterminated",
    "\"\\",
];

const OTHERS: &[&str] = &[
    "null",
    "true",
    "false",
    "nul",
    "True",
    "{}",
    "[]",
    "[ ]",
    "{\"a\":1}",
    "[[1]]",
    "[1,2.5,-3]",
    "[1, 2 ,3 ]",
    "[1,]",
    "[1,null]",
    "[null,null]",
    "[,1]",
    "[\"X\",\"Y\"]",
    "[\"X\" , \"\"]",
    "[\"]\"]",
    "[1,\"2\"]",
    "[\"a\\n\"]",
    "[01]",
    "{\"x\":1,\"y\":2.5}",
    "{\"x\":1.5,\"deep\":{\"z\":3,\"name\":\"n\"}}",
    "{\"x\":\"-999\"}",
    "{\"x\":1,\"x\":2}",
    "{\"y\":1}",
    "[[[[[[[[[1]]]]]]]]]",
    "],[",
    "}",
    "]",
    "[[1,2],[2,3]]",
    "[[1,2.5],[3,4.5],[4,null]]",
];

/// A value; mostly of the kind that the key asks for, but for one in `odd` (0 is never).
fn value(random: &mut Random, key: &str, odd: usize) -> String {
    let number = |random: &mut Random| match random.below(4) {
        0 => random.below(100_000).to_string(),
        1 => format!("-{}.{}", random.below(1000), random.below(100)),
        _ => format!("{}.{:03}", random.below(500), random.below(1000)),
    };
    let is_odd = odd > 0 && random.below(odd) == 0;
    match if is_odd { random.below(3) } else { 3 } {
        0 => random.one(NUMBERS).to_owned(),
        1 => random.one(STRINGS).to_owned(),
        2 => random.one(OTHERS).to_owned(),
        _ => match key {
            "b1" => random.one(&["true", "false"]).to_owned(),
            "i1" | "i2" | "line" | "partCount" | "sequence" | "z" => random.below(100_000).to_string(),
            "t1" | "d1" | "id" | "claim" | "kind" | "device" | "execution" | "mode" | "tool"
            | "dataItemId" | "name" | "type" | "category" | "level" | "w" | "program" | "block"
            | "country" => {
                format!(
                    "\"{}\"",
                    random.one(&[
                        "a",
                        "st-cnc-001",
                        "ACTIVE",
                        "SAMPLE",
                        "EVENT",
                        "PART_COUNT",
                        "a longer text, of words"
                    ])
                )
            }
            "l1" | "positions" | "loads" => {
                format!("[{}]", (0..random.below(5)).map(|_| number(random)).collect::<Vec<_>>().join(","))
            }
            "l2" | "axes" => "[\"X\",\"Y\"]".to_owned(),
            "t" | "u" | "timestamp" => match random.below(if key == "timestamp" { 1 } else { 4 })
                + 4 * usize::from(key == "timestamp")
            {
                0 => format!("\"{}\"", 1_659_966_694_716_u64 + random.below(1000) as u64),
                1 => (1_659_966_694_716_u64 + random.below(1000) as u64).to_string(),
                _ => format!(
                    "\"2022-08-0{}T13:51:{:02}.{}Z\"",
                    1 + random.below(9),
                    random.below(60),
                    random.below(1_000_000)
                ),
            },
            "pos" => format!("{{\"x\":{},\"y\":{}}}", number(random), number(random)),
            "result" => format!("\"{}\"", number(random)),
            "HFData" => {
                let first = random.below(1000);
                let row = |i: usize, random: &mut Random| {
                    format!("[{},{},{}]", first + i, number(random), number(random))
                };
                format!("[{}]", (0..random.below(4)).map(|i| row(i, random)).collect::<Vec<_>>().join(","))
            }
            "raw" | "unused" => random
                .one(&["null", "true", "{}", "[]", "{\"a\":[1,{}]}", "[1,2.5,-3]", "\"x\"", "-0.5"])
                .to_owned(),
            _ => number(random),
        },
    }
}

const KEYS: &[(&str, &[&str])] = &[
    ("flat", &["f1", "i1", "i2", "b1", "t1", "d1", "l1", "l2"]),
    ("nested", &["id", "t", "u", "pos", "raw", "unused", "claim"]),
    ("values", &["kind", "v", "w", "x", "t"]),
    (
        "state",
        &[
            "device",
            "timestamp",
            "country",
            "execution",
            "line",
            "axes",
            "positions",
            "feed",
            "tool",
            "power",
            "block",
        ],
    ),
    ("observation", &["dataItemId", "name", "type", "category", "timestamp", "result", "sequence", "level"]),
    ("waveform", &["HFData", "other"]),
];

/// Texts that damage a message where they are put.
const STRAY: &[&str] = &[
    "\"", "\\", "{", "}", "[", "]", ",", ":", "],[", "\u{0}", "\n", " ", "0", "-", ".", "e", "\u{e9}",
    "null", "\u{feff}", "}{", "\"a\":1,",
];

/// Messages of a schema as one topic may carry them: few shapes, many messages, some of them damaged.
pub(crate) fn messages(seed: u64, schema: &str, count: usize, odd: usize) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let keys = KEYS.iter().find(|(name, _)| *name == schema).map_or(KEYS[0].1, |(_, keys)| keys);
    let shapes: Vec<(Vec<&str>, &str, &str)> = (0..1 + random.below(3))
        .map(|_| {
            let mut keys: Vec<&str> = keys.to_vec();
            if random.below(2) == 0 {
                for last in (1..keys.len()).rev() {
                    keys.swap(last, random.below(last + 1));
                }
            }
            if random.below(2) == 0 {
                let benign = ["extra", "späť", "a key of many many bytes, more than there is room for"];
                let strange = ["e\\u0078", keys[0], "x"];
                let extra = if odd == 0 || odd > 50 || random.below(2) == 0 { &benign } else { &strange };
                keys.insert(random.below(keys.len() + 1), extra[random.below(3)]);
            }
            let colon = random.one(&[":", ": ", " : ", ":"]);
            let comma = random.one(&[",", ", ", ",\n  ", ","]);
            (keys, colon, comma)
        })
        .collect();
    (0..count)
        .map(|_| {
            let (keys, colon, comma) = &shapes[random.below(shapes.len())];
            let optional = random.below(4) == 0;
            let mut fields: Vec<String> = Vec::new();
            for key in keys {
                let is_required = matches!(*key, "id" | "pos" | "device" | "timestamp" | "dataItemId");
                if !optional || is_required || random.below(4) > 0 {
                    fields.push(format!("\"{key}\"{colon}{}", value(&mut random, key, odd)));
                }
            }
            let mut text = format!("{{{}}}", fields.join(comma)).into_bytes();
            if odd > 0 && random.below(odd) == 0 {
                damage(&mut random, &mut text);
            }
            text
        })
        .collect()
}

fn damage(random: &mut Random, text: &mut Vec<u8>) {
    for _ in 0..1 + random.below(3) {
        if text.is_empty() {
            return;
        }
        let at = random.below(text.len());
        match random.below(7) {
            0 => text[at] ^= 1 << random.below(8),
            1 => drop(text.remove(at)),
            2 => text.truncate(at),
            3 => text[at] = random.below(256) as u8,
            4 => {
                let to = (at + random.below(12)).min(text.len());
                let part = text[at..to].to_vec();
                text.splice(at..at, part);
            }
            5 => text.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            _ => text.splice(at..at, random.one(STRAY).bytes()).for_each(drop),
        }
    }
}
