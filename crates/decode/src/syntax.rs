//! Why a text is not JSON: a plain reading of RFC 8259 that gives the place of the first fault.
//!
//! Used only when simd-json has refused a message, and in tests as its opposite number.

#[cfg(test)]
mod tests;

use crate::number;

/// What is wrong with a text, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Invalid(usize),
    TooDeep(usize),
    /// JSON, but a number that neither 64-bit integers nor doubles hold.
    TooLarge(usize),
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    CommaOrEnd,
}

/// Checks a text that is UTF-8. Iterative, so that depth costs no stack.
pub(crate) fn check(text: &[u8], max_depth: usize) -> Verdict {
    match walk(text, max_depth, false) {
        Ok((_, None)) => Verdict::Valid,
        Ok((_, Some(place))) => Verdict::TooLarge(place),
        Err(verdict) => verdict,
    }
}

/// The length of the value that a text begins with, without blanks before it; what comes after is not
/// looked at. `None` if it is not valid, too deep or holds a number that is too large.
pub(crate) fn first_value(text: &[u8], max_depth: usize) -> Option<usize> {
    match walk(text, max_depth, true) {
        Ok((end, None)) => Some(end),
        _ => None,
    }
}

/// Gives the end of the value, and the place of the first number that is too large. `first` asks for
/// the first value only, else blanks alone may follow it.
fn walk(text: &[u8], max_depth: usize, first: bool) -> Result<(usize, Option<usize>), Verdict> {
    let mut open: Vec<u8> = Vec::new();
    let mut expect = Expect::Value;
    let mut too_large = None;
    let mut at = 0;
    loop {
        if first && open.is_empty() && expect == Expect::CommaOrEnd {
            return Ok((at, too_large));
        }
        at += space(&text[at..]);
        if open.is_empty() && expect == Expect::CommaOrEnd {
            return if at == text.len() { Ok((at, too_large)) } else { Err(Verdict::Invalid(at)) };
        }
        let Some(byte) = text.get(at).copied() else { return Err(Verdict::Invalid(text.len())) };
        match (expect, byte) {
            (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => {
                if open.len() >= max_depth {
                    return Err(Verdict::TooDeep(at));
                }
                open.push(byte + 2);
                expect = if byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
                at += 1;
            }
            (Expect::Value | Expect::ValueOrEnd, b'"') => {
                at = string(text, at)?;
                expect = Expect::CommaOrEnd;
            }
            (Expect::ValueOrEnd | Expect::KeyOrEnd | Expect::CommaOrEnd, b']' | b'}')
                if open.last() == Some(&byte) =>
            {
                open.pop();
                expect = Expect::CommaOrEnd;
                at += 1;
            }
            (Expect::Value | Expect::ValueOrEnd, _) => {
                let (end, fits) = word(text, at)?;
                if !fits && too_large.is_none() {
                    too_large = Some(at);
                }
                at = end;
                expect = Expect::CommaOrEnd;
            }
            (Expect::Key | Expect::KeyOrEnd, b'"') => {
                at = string(text, at)?;
                at += space(&text[at..]);
                if text.get(at) != Some(&b':') {
                    return Err(Verdict::Invalid(at));
                }
                at += 1;
                expect = Expect::Value;
            }
            (Expect::CommaOrEnd, b',') => {
                expect = if open.last() == Some(&b'}') { Expect::Key } else { Expect::Value };
                at += 1;
            }
            _ => return Err(Verdict::Invalid(at)),
        }
    }
}

fn space(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// The place after a string that begins at `at`.
fn string(text: &[u8], start: usize) -> Result<usize, Verdict> {
    let mut at = start + 1;
    loop {
        match text.get(at) {
            None => return Err(Verdict::Invalid(start)),
            Some(b'"') => return Ok(at + 1),
            Some(0..0x20) => return Err(Verdict::Invalid(at)),
            Some(b'\\') => match text.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => at = unicode(text, at).ok_or(Verdict::Invalid(at))?,
                _ => return Err(Verdict::Invalid(at)),
            },
            Some(_) => at += 1,
        }
    }
}

/// The place after a `\u` escape or a surrogate pair of them. Half a pair stands for no character,
/// and so for no text.
fn unicode(text: &[u8], at: usize) -> Option<usize> {
    match hex(text, at)? {
        0xd800..=0xdbff => (text.get(at + 6..at + 8)? == b"\\u"
            && (0xdc00..=0xdfff).contains(&hex(text, at + 6)?))
        .then_some(at + 12),
        0xdc00..=0xdfff => None,
        _ => Some(at + 6),
    }
}

fn hex(text: &[u8], at: usize) -> Option<u32> {
    text.get(at + 2..at + 6)?
        .iter()
        .try_fold(0, |code, byte| Some(code << 4 | char::from(*byte).to_digit(16)?))
}

/// The place after a number or a literal, and whether it is of a size that we hold.
fn word(text: &[u8], start: usize) -> Result<(usize, bool), Verdict> {
    let len = text[start..]
        .iter()
        .take_while(|byte| {
            !matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{' | b' ' | b'\t' | b'\n' | b'\r')
        })
        .count();
    let word = &text[start..start + len];
    if matches!(word, b"true" | b"false" | b"null") {
        return Ok((start + len, true));
    }
    let Some(written) = number::written(word) else { return Err(Verdict::Invalid(start)) };
    let word = std::str::from_utf8(word).unwrap_or_default();
    let fits = match written {
        number::Written::Whole => word.parse::<u64>().is_ok() || word.parse::<i64>().is_ok(),
        number::Written::Decimal => word.parse::<f64>().is_ok_and(f64::is_finite),
    };
    Ok((start + len, fits))
}
