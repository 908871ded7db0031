use super::key::Hasher;
use super::*;

mod literal;

/// RFC 4231, test cases 1 and 2.
#[test]
fn codes_are_those_of_the_rfc() {
    let hex = |code: [u8; 32]| code.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        hex(Hasher::new(&[0x0b; 20], b"").code(b"Hi There")),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hex(Hasher::new(b"Jefe", b"").code(b"what do ya want for nothing?")), expected);
    assert_eq!(hex(Hasher::new(b"Jefe", b"what do ya ").code(b"want for nothing?")), expected);
}

#[test]
fn keys_are_read_as_they_are_written_and_not_shown() {
    let key = FieldKey::new(std::array::from_fn(|at| at as u8));
    let text = key.secret_text();
    assert_eq!(text.len(), 65);
    assert_eq!(FieldKey::parse(&text), Ok(key.clone()));
    assert_eq!(FieldKey::parse(&text.trim_end().to_uppercase()), Ok(key.clone()));
    assert!(!format!("{key:?}").contains("0102"), "{key:?}");
    for text in ["", "00", &text[..63], &text.replace('0', "x"), &format!("{text}0"), "ä".repeat(32).as_str()]
    {
        assert_eq!(FieldKey::parse(text), Err(BadKey), "{text:?}");
    }
}

#[test]
fn what_metadata_keeps_of_a_class_is_read_again() {
    let words = [("USER", FieldClass::Personal), ("a:b", FieldClass::TradeSecret)];
    let by = ClassBy {
        column: "type".to_owned(),
        words: words.into_iter().map(|(word, class)| (word.to_owned(), class)).collect(),
    };
    assert_eq!(ClassBy::from_text(&by.to_text()), Some(by.clone()));
    assert_eq!(by.strictest(), Some(FieldClass::Personal));
    assert_eq!(ClassBy::from_text("type\nno-class:x"), None);
}
