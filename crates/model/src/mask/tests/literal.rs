//! Masks against docs/schemas.md read literally, one value after the other.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int64Array, StringArray};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

fn zone(name: &str) -> ZoneId {
    name.parse().unwrap()
}

/// Zones WORLD, in it EU, in it GERMANY.
fn outside() -> Outside {
    let of = |codes: &[(&str, &str)]| {
        codes.iter().map(|(code, plant)| (code.parse().unwrap(), zone(plant))).collect()
    };
    Outside::from([
        (zone("EU"), of(&[("DE", "GERMANY")])),
        (zone("WORLD"), of(&[("DE", "GERMANY"), ("FR", "EU")])),
    ])
}

fn key_of(zone: &str) -> [u8; 32] {
    Sha256::digest(format!("key of {zone}")).into()
}

fn keys() -> KeyRing {
    KeyRing::new(["GERMANY", "EU", "WORLD"].map(|name| (zone(name), FieldKey::new(key_of(name)))).into())
}

/// RFC 2104, word for word, cut to 32 digits.
fn hmac(key: &[u8; 32], text: &str) -> String {
    let padded = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).unwrap_or(&0) ^ pad).collect() };
    let inner = Sha256::digest([&padded(0x36)[..], text.as_bytes()].concat());
    let code = Sha256::digest([&padded(0x5c)[..], &inner[..]].concat());
    code.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..32].to_owned()
}

/// A row of the test's table.
#[derive(Debug, Clone)]
struct Row {
    jurisdiction: &'static str,
    kind: Option<&'static str>,
    text: Option<String>,
    number: Option<i64>,
}

/// How a column is classed.
#[derive(Debug, Clone, Copy)]
enum Classed {
    No,
    Always(FieldClass),
    /// `USER` is personal, `BLOCK` a trade secret.
    ByKind,
}

fn class(classed: Classed, kind: Option<&str>) -> Option<FieldClass> {
    match (classed, kind) {
        (Classed::No, _) => None,
        (Classed::Always(class), _) => Some(class),
        (Classed::ByKind, None | Some("USER")) => Some(FieldClass::Personal),
        (Classed::ByKind, Some("BLOCK")) => Some(FieldClass::TradeSecret),
        (Classed::ByKind, Some(_)) => Some(FieldClass::Process),
    }
}

/// The plant's zone, from the list of zones above.
fn plant(jurisdiction: &str) -> &'static str {
    match jurisdiction {
        "DE" => "GERMANY",
        "FR" => "EU",
        _ => "WORLD",
    }
}

fn expected_text(row: &Row, column: &str, classed: Classed, pseudonym: bool, zone: &str) -> Option<String> {
    let value = row.text.clone()?;
    match class(classed, row.kind) {
        Some(FieldClass::Personal) if pseudonym => {
            Some(hmac(&key_of(zone), &format!("situs-pseudonym/1\n{column}\n{value}")))
        }
        Some(FieldClass::Personal) => None,
        Some(FieldClass::TradeSecret) if plant(row.jurisdiction) != zone => {
            let key = key_of(plant(row.jurisdiction));
            Some(format!("hmac-sha256:{}", hmac(&key, &format!("situs-secret/1\n{column}\n{value}"))))
        }
        _ => Some(value),
    }
}

fn expected_number(row: &Row, classed: Classed, zone: &str) -> Option<i64> {
    match class(classed, row.kind) {
        Some(FieldClass::Personal) => None,
        Some(FieldClass::TradeSecret) if plant(row.jurisdiction) != zone => None,
        _ => row.number,
    }
}

fn field(name: &str, data_type: DataType, classed: Classed, pseudonym: bool) -> Field {
    let by = ClassBy {
        column: "kind".to_owned(),
        words: [("USER", FieldClass::Personal), ("BLOCK", FieldClass::TradeSecret)]
            .map(|(word, class)| (word.to_owned(), class))
            .into(),
    };
    let metadata = match classed {
        Classed::No => vec![],
        Classed::Always(class) => vec![(CLASS_METADATA, class.to_string())],
        Classed::ByKind => vec![
            (CLASS_METADATA, "personal".to_owned()),
            (CLASS_BY_METADATA, by.to_text()),
            (CLASS_ELSE_METADATA, "process".to_owned()),
        ],
    };
    let pseudonym = pseudonym.then(|| (PSEUDONYM_METADATA, "true".to_owned()));
    let metadata = metadata.into_iter().chain(pseudonym).map(|(key, value)| (key.to_owned(), value));
    Field::new(name, data_type, true).with_metadata(metadata.collect())
}

fn classed() -> impl Strategy<Value = Classed> {
    prop_oneof![
        Just(Classed::No),
        Just(Classed::ByKind),
        prop::sample::select(FieldClass::WORDS).prop_map(|(_, class)| Classed::Always(class)),
    ]
}

fn row(jurisdictions: &'static [&'static str]) -> impl Strategy<Value = Row> {
    (
        prop::sample::select(jurisdictions),
        prop::option::of(prop::sample::select(&["USER", "BLOCK", "LOAD"][..])),
        prop::option::of(prop::sample::select(&["", "a", "b", "王芳", "G1 X1\nY2"][..])),
        prop::option::of(0..3_i64),
    )
        .prop_map(|(jurisdiction, kind, text, number)| Row {
            jurisdiction,
            kind,
            text: text.map(str::to_owned),
            number,
        })
}

fn cases() -> impl Strategy<Value = (&'static str, Vec<Row>)> {
    let of = |zone: &'static str, codes: &'static [&'static str]| {
        prop::collection::vec(row(codes), 0..12).prop_map(move |rows| (zone, rows))
    };
    prop_oneof![of("WORLD", &["DE", "FR", "CN"]), of("EU", &["DE", "FR"]), of("GERMANY", &["DE"])]
}

/// The texts of a dictionary column, row by row, and what its dictionary holds.
fn words_of(column: &ArrayRef) -> (Vec<Option<String>>, Vec<String>) {
    let words = column.as_dictionary::<Int32Type>();
    let values = words.values().as_string::<i32>();
    let of_row = words.keys().iter().map(|key| key.map(|key| values.value(key as usize).to_owned()));
    (of_row.collect(), values.iter().flatten().map(str::to_owned).collect())
}

proptest! {
    #[test]
    fn masks_agree_with_the_document_read_literally(
        (zone_name, rows) in cases(),
        classes in [classed(), classed(), classed()],
        pseudonyms in any::<[bool; 3]>(),
    ) {
        let fields = vec![
            Field::new("kind", dictionary_type(), true),
            Field::new(names::JURISDICTION, dictionary_type(), true),
            field("word", dictionary_type(), classes[0], pseudonyms[0]),
            field("text", DataType::Utf8, classes[1], pseudonyms[1]),
            field("number", DataType::Int64, classes[2], pseudonyms[2]),
        ];
        let texts = || rows.iter().map(|row| row.text.as_deref());
        let kinds: DictionaryArray<Int32Type> = rows.iter().map(|row| row.kind).collect();
        let jurisdictions: DictionaryArray<Int32Type> =
            rows.iter().map(|row| Some(row.jurisdiction)).collect();
        let words: DictionaryArray<Int32Type> = texts().collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(kinds),
            Arc::new(jurisdictions),
            Arc::new(words),
            Arc::new(texts().collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.number).collect::<Int64Array>()),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let masks = Masks::new(batch.schema(), outside(), Arc::new(keys()));
        let masked = masks.apply(&batch, &zone(zone_name)).unwrap();

        let (words, dictionary) = words_of(masked.column(2));
        let plain = masked.column(3).as_string::<i32>();
        let numbers = masked.column(4).as_primitive::<Int64Type>();
        for (at, row) in rows.iter().enumerate() {
            let expected = expected_text(row, "word", classes[0], pseudonyms[0], zone_name);
            prop_assert_eq!(&words[at], &expected);
            let text = plain.is_valid(at).then(|| plain.value(at).to_owned());
            prop_assert_eq!(text, expected_text(row, "text", classes[1], pseudonyms[1], zone_name));
            let number = numbers.is_valid(at).then(|| numbers.value(at));
            prop_assert_eq!(number, expected_number(row, classes[2], zone_name));
        }
        // A value that no row has any more is in no dictionary either.
        if !matches!(classes[0], Classed::No | Classed::Always(FieldClass::Process | FieldClass::AssetIdentity)) {
            prop_assert!(zone_name == "GERMANY" || dictionary.iter().all(|value| words.contains(&Some(value.clone())))
                || words.iter().zip(texts()).all(|(word, text)| word.as_deref() == text));
        }
    }
}

fn people(names: &[&str]) -> RecordBatch {
    let words: DictionaryArray<Int32Type> = names.iter().copied().collect();
    let field = field("operator", dictionary_type(), Classed::Always(FieldClass::Personal), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(words)]).unwrap()
}

fn masked(names: &[&str], keys: KeyRing, zone_name: &str) -> Vec<String> {
    let batch = people(names);
    let masks = Masks::new(batch.schema(), Outside::new(), Arc::new(keys));
    let masked = masks.apply(&batch, &zone(zone_name)).unwrap();
    words_of(masked.column(0)).0.into_iter().map(Option::unwrap).collect()
}

#[test]
fn a_person_has_one_pseudonym_in_a_zone_and_another_in_each_zone() {
    let one = masked(&["Li", "Wang", "Li"], keys(), "EU");
    assert_eq!(one[0], one[2]);
    assert_ne!(one[0], one[1]);
    // In another batch, after another start.
    assert_eq!(masked(&["Wang"], keys(), "EU"), [one[1].clone()]);
    let other = masked(&["Li", "Wang", "Li"], keys(), "GERMANY");
    assert!(one.iter().all(|word| word.len() == HASH_DIGITS && !other.contains(word)));
}

/// Rows that went to other zones leave their values in the dictionary that the rows share.
#[test]
fn a_masked_dictionary_holds_nothing_that_no_row_names() {
    let batch = people(&["Li", "Wang"]).slice(0, 1);
    let masks = Masks::new(batch.schema(), Outside::new(), Arc::new(keys()));
    let (words, dictionary) = words_of(masks.apply(&batch, &zone("EU")).unwrap().column(0));
    assert_eq!(words, [Some(dictionary[0].clone())]);
    assert_eq!(dictionary.len(), 1);
}

#[test]
fn a_zone_without_a_key_is_told_before_and_stores_nothing() {
    let batch = people(&["Li"]);
    let masks = Masks::new(batch.schema(), Outside::new(), Arc::new(keys()));
    let stores = BTreeSet::from([zone("EU"), zone("CN")]);
    assert_eq!(masks.zones_without_keys(&stores), BTreeSet::from([zone("CN")]));
    let error = masks.apply(&batch, &zone("CN")).unwrap_err().to_string();
    assert!(error.contains("column `operator`") && error.contains("zone CN"), "{error}");
    assert!(!error.contains("Li"), "{error}");
}

#[test]
fn masks_of_other_columns_do_not_fit() {
    let batch = people(&["Li"]);
    let plain = Arc::new(Schema::new(vec![Field::new("operator", dictionary_type(), true)]));
    let masks = Masks::new(plain, Outside::new(), Arc::new(keys()));
    assert!(!masks.fit(&batch.schema()));
    assert!(masks.is_empty());
}
