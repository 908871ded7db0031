//! Input that nobody meant.

use super::*;

/// A small generator (SplitMix64), so that a failure can be repeated.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A schema that uses every feature.
fn everything() -> Arc<Schema> {
    let value = json!({"number": "n", "text": "t", "list": "l", "numeric-strings": true});
    let columns =
        json!({"index": "i", "signal": "s", "first": "first", "count": "c", "gap": "gap", "samples": "x"});
    schema_requiring(
        json!({
            "unknown": "keep", "event-time-ns": true, "batch": true, "max-rows": 50, "max-depth": 20,
            "rows": [
                {"if": "kind", "if-equals": "none", "none": "nothing"},
                {"at": "/rows/*/items", "key": "key"},
                {"at": "/block", "block": {"counter": 0, "signals": ["A"], "columns": columns}},
                {"at": ""},
            ],
        }),
        json!({
            "kind": {"type": "string", "x-situs": {"arrow": "dictionary"}},
            "dev": {"type": "string", "x-situs": {"role": "device", "arrow": "dictionary"}},
            "time": {"x-situs": {"role": "event-time", "time": ["rfc3339", "epoch-ms", "iso8601-local"]}},
            "rows": {"type": "array", "items": {"type": "object", "properties": {
                "a": {"type": "integer"},
                "items": {"type": "object", "additionalProperties": {
                    "type": "object",
                    "properties": {"v": {"x-situs": {"value": value}}, "at": {"type": "integer", "x-situs": {"source": "/p/1"}}},
                    "x-situs": {"or-value": value}}}}}},
            "block": {"type": "array", "items": {"type": "array"}},
            "pairs": {"type": "array", "x-situs": {"pairs": {"name": "n", "value": "v", "columns": ["names", "vals"]}}},
            "json": {"x-situs": {"arrow": "json"}},
            "b": {"type": "boolean"},
            "i": {"type": "integer", "x-situs": {"arrow": "int32", "column": "i32"}},
            "texts": {"type": "array", "items": {"type": "string"}, "x-situs": {"scalar-as-list": true}},
        }),
        json!(["dev"]),
    )
}

const SEEDS: [&str; 5] = [
    r#"{"dev":"m1","kind":"x","time":"2022-08-08T13:51:34.7167146Z","rows":[{"a":1,"items":{"k":{"v":"1.5","p":[0,7]},"l":{"v":[1,2]},"m":null}},{"items":{"z":true}}],"pairs":[{"n":"f","v":1.5},{"n":"g","v":"NaN"}]}"#,
    r#"{"block":[[100,1.5,-2.25E-4],[101,2.5,0],[105,0.1,"UNAVAILABLE"]],"dev":"m2","b":true,"i":-5}"#,
    r#"{"dev":"m3","json":{"a":[1,{"b":"\u00e9\ud83d\ude00\"\\"}]},"texts":"one","time":1659966694716,"unknown":{"x":[[]]}}"#,
    r#"[{"dev":"m4","kind":"none"},{"dev":"m5","rows":[{"items":{"q":12345678901234567}}]}]"#,
    "\u{feff} {\"dev\":\"m6\",\"texts\":[\"a\",\"\",null],\"pairs\":[],\"b\":null} \n",
];

/// Decodes and checks EO-1; the good messages around must be there whatever happens.
fn survives(decoder: &mut Decoder, schema: &Schema, payloads: &[Vec<u8>]) {
    let mut all: Vec<&[u8]> = vec![SEEDS[1].as_bytes()];
    all.extend(payloads.iter().map(Vec::as_slice));
    all.push(SEEDS[2].as_bytes());
    let last = all.len() as u32 - 1;
    let decoded = decoder.decode(batch(&all));
    check(schema, &decoded);
    assert_eq!(decoded.message_of_row.first(), Some(&0));
    assert_eq!(decoded.message_of_row.last(), Some(&last));
    let rejects_are_sorted = decoded.rejects.windows(2).all(|pair| pair[0].message < pair[1].message);
    assert!(rejects_are_sorted);
    // serde_json agrees about what is JSON, but for lone surrogates, sizes and depth.
    for reject in &decoded.rejects {
        if reject.code == RejectCode::InvalidJson {
            let payload = all[reject.message as usize];
            let text = payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(payload);
            assert!(serde_json::from_slice::<Value>(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn seeds_are_good() {
    let schema = everything();
    let seeds: Vec<&[u8]> = SEEDS.iter().map(|seed| seed.as_bytes()).collect();
    let decoded = decode(&schema, &seeds);
    assert_eq!(decoded.rejects, []);
    assert_eq!(decoded.message_of_row, [0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4]);
}

#[test]
fn every_truncation() {
    let schema = everything();
    let mut decoder = decoder(&schema);
    for seed in SEEDS {
        let cuts: Vec<Vec<u8>> = (0..seed.len()).map(|end| seed.as_bytes()[..end].to_vec()).collect();
        survives(&mut decoder, &schema, &cuts);
    }
}

#[test]
fn random_bytes() {
    let schema = everything();
    let mut decoder = decoder(&schema);
    let mut random = Random(1);
    for _ in 0..50 {
        let payloads: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                let len = random.below(200);
                (0..len).map(|_| random.next() as u8).collect()
            })
            .collect();
        survives(&mut decoder, &schema, &payloads);
    }
}

#[test]
fn random_pieces_of_json() {
    let schema = everything();
    let mut decoder = decoder(&schema);
    let mut random = Random(2);
    const PIECES: [&str; 28] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"dev\"",
        "\"rows\"",
        "\"items\"",
        "\"block\"",
        "\"pairs\"",
        "\"v\"",
        "\"time\"",
        "\"json\"",
        "\"a\\\"b\"",
        "\"\"",
        "null",
        "true",
        "1",
        "-1.5e3",
        "18446744073709551616",
        "1e999",
        "\"NaN\"",
        " ",
        "\"\\ud800\"",
        "\"kind\":\"none\"",
        "\"dev\":\"x\",",
        "\\",
    ];
    for _ in 0..200 {
        let payloads: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                let mut text = String::new();
                for _ in 0..random.below(25) {
                    text.push_str(PIECES[random.below(PIECES.len())]);
                }
                text.into_bytes()
            })
            .collect();
        survives(&mut decoder, &schema, &payloads);
    }
}

#[test]
fn mutated_messages() {
    let schema = everything();
    let mut decoder = decoder(&schema);
    let mut random = Random(3);
    const BYTES: &[u8] = b"{}[],:\"\\0123456789.eE+-ntf\x00\x1f\x80\xff \n";
    for _ in 0..300 {
        let payloads: Vec<Vec<u8>> = (0..30)
            .map(|_| {
                let mut payload = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
                for _ in 0..=random.below(3) {
                    let at = random.below(payload.len());
                    match random.below(4) {
                        0 => payload[at] = BYTES[random.below(BYTES.len())],
                        1 => payload.insert(at, BYTES[random.below(BYTES.len())]),
                        2 => drop(payload.remove(at)),
                        _ => {
                            // A piece of the message again, somewhere else.
                            let from = random.below(payload.len());
                            let end = (from + random.below(20)).min(payload.len());
                            let piece = payload[from..end].to_vec();
                            payload.splice(at..at, piece);
                        }
                    }
                }
                payload
            })
            .collect();
        survives(&mut decoder, &schema, &payloads);
    }
}

#[test]
fn decoding_is_the_same_each_time() {
    let schema = everything();
    let seeds: Vec<&[u8]> = SEEDS.iter().map(|seed| seed.as_bytes()).collect();
    let mut decoder = decoder(&schema);
    let first = decoder.decode(batch(&seeds));
    decoder.forget(&source(0));
    let second = decoder.decode(batch(&seeds));
    assert_eq!(first.rows, second.rows);
}
