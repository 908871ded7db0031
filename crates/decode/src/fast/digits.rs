//! Numbers of known length, eight digits at a time and without a branch per digit.
//!
//! What is not written plainly (an exponent, more than sixteen characters, the wrong characters) is
//! left to [`crate::number`], which knows the whole grammar.

use super::list::scalar;
use super::scan::ROWS;
use super::simd::{Simd, Window, window};
use super::span::{Kind, Span};
use crate::number;

/// The powers of ten that doubles hold exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The value of eight digits, the first in the lowest byte, each a number from 0 to 9. Neighbours
/// are joined to pairs, these to fours and those to eight (D. Lemire, "Quickly parsing eight digits").
#[inline(always)]
pub(super) fn eight(digits: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let upper = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let lower = ((pairs >> 16) & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    upper.wrapping_add(lower) >> 32
}

/// Whether each byte is from 0 to 9.
#[inline(always)]
pub(super) fn are_digits(bytes: u64) -> bool {
    (bytes.wrapping_add(0x7676_7676_7676_7676) | bytes) & 0x8080_8080_8080_8080 == 0
}

/// Where a point may stand in a number behind its sign, by the number's length: as bits, the
/// seventeenth for none. First for a number that begins with a zero, which must not lead other
/// digits, then for the rest. Neither may begin or end with its point.
const POINTS: [[u32; 17]; 2] = {
    let mut points = [[0; 17]; 2];
    let mut len = 1;
    while len <= 16 {
        points[1][len] = 1 << 16;
        let mut point = 1;
        while point + 1 < len {
            points[1][len] |= 1 << point;
            point += 1;
        }
        points[0][len] = points[1][len] & if len == 1 { 1 << 16 } else { 1 << 1 };
        len += 1;
    }
    points
};

/// A number of up to sixteen characters behind its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plain {
    negative: bool,
    mantissa: u64,
    /// Digits after the point.
    fraction: u32,
    /// There is no point.
    is_whole: bool,
}

impl Plain {
    /// The number as a double, if that is exact but for the one division, which rounds once (W. Clinger,
    /// "How to read floating point numbers accurately", 1990).
    #[inline(always)]
    fn double(self) -> Option<f64> {
        // Of 53 bits, so that the sign of its type does not matter.
        let value = self.mantissa as i64 as f64 / POWERS[self.fraction as usize & 15];
        // The sign is put on without a branch, which keeps that of -0.
        let value = f64::from_bits(value.to_bits() | u64::from(self.negative) << 63);
        if self.mantissa <= EXACT { Some(value) } else { None }
    }

    /// The number, if it is written as a whole one.
    #[inline(always)]
    fn integer(self) -> Option<i64> {
        // Sixteen digits fit.
        let value = self.mantissa as i64;
        let sign = -i64::from(self.negative);
        if self.is_whole { Some((value ^ sign) - sign) } else { None }
    }
}

/// The number that stands in `text[start..end]`, if it has up to sixteen characters behind its sign and
/// the text goes on for as long. `None` says nothing about other numbers.
#[inline(always)]
pub(super) fn plain<S: Simd>(text: &[u8], start: usize, end: usize) -> Option<Plain> {
    let negative = *text.get(start)? == b'-';
    let start = start + usize::from(negative);
    of_window::<S>(window(text, start)?, end.wrapping_sub(start), negative)
}

/// The number that begins at `start`, as [`plain`] gives it, and where it ends.
#[inline(always)]
fn leading<S: Simd>(text: &[u8], start: usize) -> Option<(Plain, usize)> {
    let negative = *text.get(start)? == b'-';
    let start = start + usize::from(negative);
    let window = window(text, start)?;
    let len = S::scalar_stops(window).trailing_zeros() as usize;
    Some((of_window::<S>(window, len, negative)?, start + len))
}

/// The number that the first `len` bytes of a window write.
#[inline(always)]
fn of_window<S: Simd>(window: &Window, len: usize, negative: bool) -> Option<Plain> {
    let allowed = *POINTS[usize::from(window[0] != b'0')].get(len)?;
    let points = S::places(window, b'.') & ((1 << len) - 1);
    let point = points.trailing_zeros().min(16);
    let (are_digits, mantissa) = S::digits(window, len, point as usize);
    if !are_digits | (allowed >> point & 1 == 0) {
        return None;
    }
    let is_whole = point == 16;
    // Of a whole number, some number below 16 that the mask makes 0.
    let fraction = (len as u32).wrapping_sub(1 + point) & u32::from(is_whole).wrapping_sub(1);
    Some(Plain { negative, mantissa, fraction, is_whole })
}

/// The doubles among up to 64 values, those in strings too if asked for: what is written plainly and
/// is exact. Gives the bits of those that were found; nothing is said of the others.
#[inline(always)]
pub(super) fn doubles<S: Simd>(
    text: &[u8],
    spans: &[Span],
    in_strings: bool,
    values: &mut [f64; ROWS],
) -> u64 {
    let mut found = 0;
    for (i, (span, place)) in spans.iter().zip(values.iter_mut()).enumerate() {
        if !(span.is(Kind::Number) | (in_strings & span.is(Kind::String))) {
            continue;
        }
        if let Some(value) = plain::<S>(text, span.start(), span.end()).and_then(Plain::double) {
            *place = value;
            found |= 1 << i;
        }
    }
    found
}

/// The same of whole numbers.
#[inline(always)]
pub(super) fn integers<S: Simd>(text: &[u8], spans: &[Span], values: &mut [i64; ROWS]) -> u64 {
    let mut found = 0;
    for (i, (span, place)) in spans.iter().zip(values.iter_mut()).enumerate() {
        if !span.is(Kind::Number) {
            continue;
        }
        if let Some(value) = plain::<S>(text, span.start(), span.end()).and_then(Plain::integer) {
            *place = value;
            found |= 1 << i;
        }
    }
    found
}

/// Doubles hold every whole number up to this one exactly.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// A number as a double, as [`number::double`] gives it: decimals rounded to the nearest, whole
/// numbers only if they fit. `None` if it is no number or does not fit.
#[inline(always)]
pub(super) fn double<S: Simd>(text: &[u8], start: usize, end: usize) -> Option<f64> {
    match plain::<S>(text, start, end).and_then(Plain::double) {
        Some(value) => Some(value),
        None => other_double::<S>(text, start, end),
    }
}

/// The double that begins at `start`, and where it ends.
#[inline(always)]
pub(super) fn leading_double<S: Simd>(text: &[u8], start: usize) -> Option<(f64, usize)> {
    if let Some((plain, end)) = leading::<S>(text, start)
        && let Some(value) = plain.double()
    {
        return Some((value, end));
    }
    let end = scalar::<S>(text, start)?;
    Some((other_double::<S>(text, start, end)?, end))
}

/// The same of a number that is not written plainly.
#[inline(always)]
fn other_double<S: Simd>(text: &[u8], start: usize, end: usize) -> Option<f64> {
    match with_exponent::<S>(text, start, end) {
        Some(value) => Some(value),
        None => any_double(&text[start..end]),
    }
}

#[inline(never)]
fn any_double(text: &[u8]) -> Option<f64> {
    number::double(std::str::from_utf8(text).ok()?, number::written(text)?)
}

/// A decimal with an exponent of up to three digits, if one multiplication or division of exact
/// numbers makes it. `None` says nothing about other numbers.
#[inline(always)]
fn with_exponent<S: Simd>(text: &[u8], start: usize, end: usize) -> Option<f64> {
    let window: &Window = text.get(end.wrapping_sub(16)..end)?.first_chunk()?;
    let marks = S::places(window, b'e') | S::places(window, b'E');
    let mark = end - 16 + (marks as usize).checked_ilog2()? as usize;
    if mark <= start {
        return None;
    }
    let (negative, digits) = match text.get(mark + 1..end)? {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let mut exponent = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        exponent = exponent * 10 + i32::from(digit);
    }
    let plain = plain::<S>(text, start, mark)?;
    let scale = if negative { -exponent } else { exponent } - plain.fraction as i32;
    let power = POWERS.get(scale.unsigned_abs() as usize)?;
    if plain.mantissa > EXACT {
        return None;
    }
    let mantissa = plain.mantissa as f64;
    let value = if scale < 0 { mantissa / power } else { mantissa * power };
    Some(if plain.negative { -value } else { value })
}

/// A whole number of 64 bits, as [`number::integer`] gives it. `None` if it is no number, or not
/// whole, or does not fit.
#[inline(always)]
pub(super) fn integer<S: Simd>(text: &[u8], start: usize, end: usize) -> Option<i64> {
    match plain::<S>(text, start, end).and_then(Plain::integer) {
        Some(value) => Some(value),
        None => any_integer(&text[start..end]),
    }
}

#[inline(never)]
fn any_integer(text: &[u8]) -> Option<i64> {
    number::written(text)?;
    number::integer(std::str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Base, Portable};
    use super::*;

    /// By the best instructions of this processor.
    fn best(text: &[u8], start: usize, end: usize) -> Option<Plain> {
        assert_eq!(plain::<Base>(text, start, end), plain::<Portable>(text, start, end));
        super::super::entry::plain(text, start, end)
    }

    /// Numbers, near-numbers and what only looks like one, by turns.
    fn texts() -> impl Iterator<Item = String> {
        let mut state = 0x5eed_u64;
        let mut below = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let fixed = [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "00",
            "01",
            "-01",
            "1.",
            ".1",
            "-.1",
            "-",
            "",
            "1..2",
            "1.2.3",
            "0.1",
            "1e5",
            "1E+5",
            "1e",
            "1e+",
            "9007199254740991",
            "9007199254740992",
            "9007199254740993",
            "9999999999999999",
            "900719925474099.3",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775808",
            "1e400",
            "5e-324",
            "1e22",
            "1e23",
            "123456789012345678",
            "0.1000000000000000055511151231257827021181583404541015625",
            "1/2",
            "1:2",
            "+1",
            " 1",
            "1 ",
            "nan",
            "\u{e9}1",
        ];
        // Miri takes its time.
        let count = if cfg!(miri) { 200 } else { 60_000 };
        let random = (0..count).map(move |_| {
            let digits = |count: u64, below: &mut dyn FnMut(u64) -> u64| -> String {
                (0..count).map(|_| char::from(b'0' + below(10) as u8)).collect()
            };
            let mut text = String::new();
            if below(3) == 0 {
                text.push('-');
            }
            let count = below(12);
            text += &digits(count, &mut below);
            if below(3) > 0 {
                text.push('.');
                let count = below(9);
                text += &digits(count, &mut below);
            }
            if below(6) == 0 {
                text += ["e", "E", "e-", "E+"][below(4) as usize];
                let count = below(4);
                text += &digits(count, &mut below);
            }
            if below(20) == 0 && !text.is_empty() {
                let at = below(text.len() as u64) as usize;
                text.replace_range(at..=at, ["x", ".", "-", "/", ":", "\"", "\u{80}"][below(7) as usize]);
            }
            text
        });
        fixed.into_iter().map(str::to_owned).chain(random)
    }

    #[test]
    fn numbers_are_what_the_grammar_says() {
        let (mut numbers, mut others) = (0, 0);
        for text in texts() {
            for before in ["................", "12345678901234567", "\"", ""] {
                let whole = format!("{before}{text},1234567890123456789");
                let (start, end) = (before.len(), before.len() + text.len());
                let written = number::written(text.as_bytes());
                let expected = written.and_then(|written| number::double(&text, written));
                let value = double::<Base>(whole.as_bytes(), start, end);
                assert_eq!(value.map(f64::to_bits), expected.map(f64::to_bits), "{text}");
                let expected = written.and_then(|_| number::integer(&text));
                assert_eq!(integer::<Base>(whole.as_bytes(), start, end), expected, "{text}");
                assert_eq!(
                    best(whole.as_bytes(), start, end),
                    plain::<Base>(whole.as_bytes(), start, end),
                    "{text}"
                );
                numbers += usize::from(written.is_some());
                others += usize::from(written.is_none());
            }
        }
        assert!(cfg!(miri) || numbers > 50_000 && others > 20_000, "{numbers} {others}");
    }
}
