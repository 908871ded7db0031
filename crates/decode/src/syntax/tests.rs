use super::*;
use crate::tape::Workspace;

/// What simd-json says, through the same door as the decoder.
fn simd(text: &[u8]) -> bool {
    Workspace::new(64).parse(text, |_| ()).is_ok()
}

/// Texts that RFC 8259 allows and that we hold.
const ACCEPT: &[&str] = &[
    "{}",
    "[]",
    "[[]   ]",
    "[\"\"]",
    "[\"a\"]",
    "\"\"",
    "\" \"",
    "0",
    "-0",
    "-1",
    "123",
    "[0e+1]",
    "[0e1]",
    "[1E22]",
    "[1E-2]",
    "[1E+2]",
    "[123e45]",
    "[123.456e78]",
    "[1.5]",
    "[-0.0]",
    "[-123]",
    "true",
    "false",
    "null",
    " [1] ",
    "\t[\n1\r]\t",
    "{\"a\":1}",
    "{\"a\":1,\"a\":2}",
    "{\"\":0}",
    "{\"a\\u0000b\":1}",
    "[\"\\u0060\\u012a\\u12AB\"]",
    "[\"\\uD801\\udc37\"]",
    "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"\\\\u0000\"]",
    "[\"\u{7f}\"]",
    "[\"é€𝄞\"]",
    "[\"\u{2028}\"]",
    "[\"\\uffff\"]",
    "[\"\\u0000\"]",
    "[1,null,true,false,{}]",
    "[\"asd\\\\\"]",
    "[0.1e1]",
    "[9223372036854775807]",
    "[18446744073709551615]",
    "[-9223372036854775808]",
    "[2e-324]",
    "[1e-400]",
    "[0.00000000000000000000000000000000000000000001]",
    "{\"a\":[{\"b\":{}}]}",
];

/// Texts that RFC 8259 does not allow.
const REJECT: &[&str] = &[
    " ",
    "[1 true]",
    "[a]",
    "[\"\": 1]",
    "[\"\"],",
    "[,1]",
    "[1,,2]",
    "[\"x\",,]",
    "[\"x\"]]",
    "[\"\",]",
    "[\"x\"",
    "[x",
    "[3[4]]",
    "[1:2]",
    "[,]",
    "[-]",
    "[   , \"\"]",
    "[\"a\",\n4\n,1,",
    "[1,]",
    "[*]",
    "[1,\n1\n,1",
    "[{}",
    "[fals]",
    "[nul]",
    "[tru]",
    "[++1234]",
    "[+1]",
    "[+Inf]",
    "[-01]",
    "[-1.0.]",
    "[-2.]",
    "[-NaN]",
    "[.-1]",
    "[.2e-3]",
    "[0.1.2]",
    "[0.3e+]",
    "[0.3e]",
    "[0.e1]",
    "[0e+]",
    "[0e]",
    "[0E]",
    "[1.0e+]",
    "[1.0e-]",
    "[1.0e]",
    "[1 000.0]",
    "[1eE2]",
    "[2.e+3]",
    "[2.e-3]",
    "[2.e3]",
    "[9.e+]",
    "[Inf]",
    "[NaN]",
    "[１]",
    "[1+2]",
    "[0x1]",
    "[0x42]",
    "[Infinity]",
    "[0e+-1]",
    "[-123.123foo]",
    "[-Infinity]",
    "[-foo]",
    "[- 1]",
    "[-012]",
    "[-.123]",
    "[-1x]",
    "[1ea]",
    "[1.]",
    "[.123]",
    "[1.2a-3]",
    "[1.8011670033376514H-308]",
    "[012]",
    "{\"x\", null}",
    "{\"x\"::\"b\"}",
    "{🇨🇭}",
    "{\"a\":\"a\" 123}",
    "{key: 'value'}",
    "{\"a\" b}",
    "{:\"b\"}",
    "{\"a\" \"b\"}",
    "{\"a\":",
    "{\"a\"",
    "{1:1}",
    "{9999E9999:1}",
    "{null:null,null:null}",
    "{\"id\":0,,,,,}",
    "{'a':0}",
    "{\"id\":0,}",
    "{\"a\":\"b\"}/**/",
    "{\"a\":\"b\"}//",
    "{\"a\":/*comment*/\"b\"}",
    "{\"a\":\"b\",,\"c\":\"d\"}",
    "{a: \"b\"}",
    "{\"a\":\"a",
    "{ \"foo\" : \"bar\", \"a\" }",
    "{\"a\":\"b\"}#",
    "[\"\\uD800\\u\"]",
    "[\"\\uD800\\u1\"]",
    "[\"\\uD800\\u1x\"]",
    "[é]",
    "[\"\\\u{0}\"]",
    "[\"\\x00\"]",
    "[\"\\\\\\\"]",
    "[\"\\\t\"]",
    "[\"\\🌀\"]",
    "[\"\\\"]",
    "[\"\\u00A\"]",
    "[\"\\uD834\\uDd\"]",
    "[\"\\a\"]",
    "[\"\\uqqqq\"]",
    "[\\u0020\"asd\"]",
    "[\\n]",
    "\"",
    "['single quote']",
    "abc",
    "[\"\\",
    "[\"new\nline\"]",
    "[\"\t\"]",
    "\"\\UA66D\"",
    "<.>",
    "[<null>]",
    "[1]x",
    "[1]]",
    "[\"asd]",
    "aå",
    "[True]",
    "1]",
    "{\"x\": true,",
    "[][]",
    "]",
    "{}}",
    "{\"\":",
    "{\"a\":/*c*/\"b\"",
    "[",
    "{",
    "[\u{c}]",
    "[\u{2060}]",
    "\u{feff}",
    "[1\u{0}]",
    "1\u{0}",
    "{}\u{0}",
    "\u{b}1",
    "1\u{a0}",
    "nulll",
    "truefalse",
    "[1}",
    "{\"a\":1]",
    "[\"a\":1]",
    "{\"a\",1}",
    "-",
    "--1",
    "[1 2]",
    "\"a\"\"b\"",
    "\"a\" \"b\"",
    "1 2",
    "{\"a\":1}{\"a\":1}",
    "{'a': None}",
    // Half a surrogate pair stands for no character; no UTF-8 text can hold it.
    "[\"\\ud800\"]",
    "[\"\\udc00\"]",
    "[\"\\ud800\\ud800\"]",
    "[\"\\uDFAA\"]",
    "[\"\\ud800abc\"]",
    "[\"\\uDd1e\\uD834\"]",
];

#[test]
fn rfc_8259() {
    for text in ACCEPT {
        assert_eq!(check(text.as_bytes(), 64), Verdict::Valid, "{text}");
        assert!(simd(text.as_bytes()), "simd-json refuses {text}");
        assert!(
            text.contains("18446744073709551616") || serde_json::from_str::<serde_json::Value>(text).is_ok(),
            "{text}"
        );
    }
    for text in REJECT {
        assert!(matches!(check(text.as_bytes(), 64), Verdict::Invalid(at) if at <= text.len()), "{text}");
        assert!(!simd(text.as_bytes()), "simd-json accepts {text}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
    }
}

/// Every byte at every place of a text with all kinds of token, and across simd-json's blocks of 64
/// bytes: simd-json and this checker agree.
#[test]
fn simd_json_and_the_checker_agree_on_every_byte_everywhere() {
    let text =
        br#"{"a":[1,-2.5e+3,true,false,null,"\n\u00e9"],"b" : {"c":0} , "d":"0123456789012345678901234"}"#;
    let mut padded = vec![b' '; 40];
    padded.extend_from_slice(text);
    for base in [&text[..], &padded] {
        for at in 0..base.len() {
            for byte in 0..=255_u8 {
                let mut changed = base.to_vec();
                changed[at] = byte;
                let expected = std::str::from_utf8(&changed).is_ok() && check(&changed, 64) == Verdict::Valid;
                assert_eq!(simd(&changed), expected, "{byte:#x} at {at}");
            }
        }
    }
}

#[test]
fn the_place_of_the_fault() {
    for (text, place) in [
        ("{\"a\":1,}", 7),
        ("{\"a\":tru}", 5),
        ("[1,2", 4),
        ("[\"abc", 1),
        ("[\"a\u{1}\"]", 3),
        ("[\"a\\x\"]", 3),
        ("[1] x", 4),
        ("{\"a\" 1}", 5),
        ("", 0),
    ] {
        assert_eq!(check(text.as_bytes(), 64), Verdict::Invalid(place), "{text}");
    }
    assert_eq!(check(b"[[[1]]]", 2), Verdict::TooDeep(2));
    assert_eq!(check(b"[1,18446744073709551616,1e999]", 2), Verdict::TooLarge(3));
    assert_eq!(check(b"[-9223372036854775809]", 2), Verdict::TooLarge(1));
    assert_eq!(check(b"[1e999", 2), Verdict::Invalid(6));
}
