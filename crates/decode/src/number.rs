//! Numbers as text: what a double or an integer would lose is decided here, exactly.

#[cfg(test)]
mod tests;

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// Digits only: a whole number that is meant as one.
    Whole,
    /// With a fraction or an exponent.
    Decimal,
}

/// How `text` is written, if it is a number by the grammar of RFC 8259.
pub(crate) fn written(text: &[u8]) -> Option<Written> {
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let mut kind = Written::Whole;
    rest = match rest {
        [b'0', rest @ ..] => rest,
        _ => digits(rest)?,
    };
    if let [b'.', fraction @ ..] = rest {
        kind = Written::Decimal;
        rest = digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        kind = Written::Decimal;
        rest = digits(match exponent {
            [b'+' | b'-', rest @ ..] => rest,
            rest => rest,
        })?;
    }
    rest.is_empty().then_some(kind)
}

/// What follows the digits that `text` begins with, of which there must be one.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

/// Whether a double holds this whole number exactly.
pub(crate) fn fits_double(value: u64) -> bool {
    value == 0 || (value >> value.trailing_zeros()) < 1 << f64::MANTISSA_DIGITS
}

/// A whole number of 64 bits as a double, if that holds it exactly.
pub(crate) fn double_of_u64(value: u64) -> Option<f64> {
    fits_double(value).then_some(value as f64)
}

/// A negative whole number as a double, if that holds it exactly. JSON's `-0` comes as 0 and keeps
/// its sign.
pub(crate) fn double_of_negative(value: i64) -> Option<f64> {
    if value == 0 { Some(-0.0) } else { fits_double(value.unsigned_abs()).then_some(value as f64) }
}

/// A number in text as a double: the nearest for decimals, exactly for whole numbers. `None` is out
/// of range; `text` must be [`written`] so.
pub(crate) fn double(text: &str, kind: Written) -> Option<f64> {
    if kind == Written::Whole {
        return match text.strip_prefix('-') {
            Some(_) => double_of_negative(text.parse().ok()?),
            None => double_of_u64(text.parse().ok()?),
        };
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// `text` times ten to the `power` as a whole number, rounded down; `exact` refuses to round.
/// `None` if it is far beyond 64 bits, or not exact. `text` must be a number by [`written`].
pub(crate) fn scaled(text: &str, power: i64, exact: bool) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let significant = || whole.bytes().chain(fraction.bytes()).skip_while(|byte| *byte == b'0');
    let count = significant().count() as i64;
    // The value is the significant digits times ten to the `shift`.
    let shift = exponent.saturating_add(power).saturating_sub(fraction.len() as i64);
    let kept = count.saturating_add(shift.min(0)).max(0);
    if count == 0 {
        return Some(0);
    }
    if count.saturating_add(shift) > 30 {
        return None;
    }
    let mut value: i128 = 0;
    let mut inexact = false;
    for (i, byte) in significant().enumerate() {
        if (i as i64) < kept {
            value = value * 10 + i128::from(byte - b'0');
        } else {
            inexact |= byte != b'0';
        }
    }
    for _ in 0..shift.max(0) {
        value *= 10;
    }
    if exact && inexact {
        return None;
    }
    if negative {
        value = -value - i128::from(inexact);
    }
    Some(value)
}

/// The exponent, held at a size that is far out of any range.
fn exponent(text: &str) -> i64 {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = digits.iter().fold(0_i64, |value, byte| {
        (value * 10 + i64::from(byte.saturating_sub(b'0'))).min(1_000_000_000_000)
    });
    if negative { -value } else { value }
}

/// A number in text as an integer, if it is whole (`3.0` and `1e3` are) and fits.
pub(crate) fn integer(text: &str) -> Option<i64> {
    scaled(text, 0, true).and_then(|value| i64::try_from(value).ok())
}
