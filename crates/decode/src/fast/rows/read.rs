//! Values, one by one.

use super::Given;
use crate::decoder::read::{Code, may_be_missing, not_finite, sentinel};
use crate::fast::clock::{Accepts, Clock};
use crate::fast::digits;
use crate::fast::simd::Base;
use crate::fast::span::{Kind, Span};
use crate::number::{Written, written};
use crate::plan::Leaf;
use crate::time::{Instant, TimeFormat};

/// What a value is as far as a column of one type is concerned.
pub(super) enum Value<T> {
    Some(T),
    Absent,
    Missing(Code),
    /// The general path knows.
    Odd,
}

/// Where a text stands.
pub(super) type Place = (usize, usize);

/// A way to read values for a column.
pub(super) trait Read {
    type Item: Copy + Default;

    /// The plain strings are the values, but for those that mean that there is none.
    const IS_TEXT: bool = false;

    fn read(given: Given<'_>, leaf: Option<&Leaf>, span: Span) -> Value<Self::Item>;
}

/// Doubles.
pub(super) struct Double;
/// 64-bit integers.
pub(super) struct Long;
/// 32-bit integers.
pub(super) struct Int;
/// Booleans.
pub(super) struct Truth;
/// Texts.
pub(super) struct Text;
/// Any JSON as it was sent.
pub(super) struct AsSent;
/// The device id of a key or a header.
pub(super) struct OutsideDevice;

impl Read for Double {
    type Item = f64;

    #[inline(always)]
    fn read(given: Given<'_>, leaf: Option<&Leaf>, span: Span) -> Value<f64> {
        number(given, leaf, span, digits::double::<Base>)
    }
}

impl Read for Long {
    type Item = i64;

    #[inline(always)]
    fn read(given: Given<'_>, leaf: Option<&Leaf>, span: Span) -> Value<i64> {
        number(given, leaf, span, digits::integer::<Base>)
    }
}

impl Read for Int {
    type Item = i32;

    #[inline(always)]
    fn read(given: Given<'_>, leaf: Option<&Leaf>, span: Span) -> Value<i32> {
        match Long::read(given, leaf, span) {
            Value::Some(value) => i32::try_from(value).map_or(Value::Odd, Value::Some),
            Value::Missing(code) => Value::Missing(code),
            Value::Absent => Value::Absent,
            Value::Odd => Value::Odd,
        }
    }
}

impl Read for Truth {
    type Item = bool;

    #[inline(always)]
    fn read(given: Given<'_>, leaf: Option<&Leaf>, span: Span) -> Value<bool> {
        match span.kind() {
            Kind::Boolean => Value::Some(given.text[span.start()] == b't'),
            Kind::Absent => Value::Absent,
            Kind::Null => Value::Missing(Code::Null),
            Kind::String => leaf
                .zip(given.str(span))
                .and_then(|(leaf, text)| sentinel(leaf, text))
                .map_or(Value::Odd, Value::Missing),
            _ => Value::Odd,
        }
    }
}

impl Read for Text {
    type Item = Place;
    const IS_TEXT: bool = true;

    #[inline(always)]
    fn read(given: Given<'_>, leaf: Option<&Leaf>, span: Span) -> Value<Place> {
        let Some(leaf) = leaf else { return Value::Odd };
        let place = (span.start(), span.end());
        if span.is(Kind::String) {
            return match missing_text(given, leaf, span) {
                Some(code) => Value::Missing(code),
                None => Value::Some(place),
            };
        }
        match span.kind() {
            Kind::Absent => Value::Absent,
            Kind::Null => Value::Missing(Code::Null),
            Kind::Boolean if leaf.takes_booleans => Value::Some(place),
            // Checked as a number of some column would be.
            Kind::Number
                if leaf.takes_numbers
                    && digits::double::<Base>(given.text, span.start(), span.end()).is_some() =>
            {
                Value::Some(place)
            }
            _ => Value::Odd,
        }
    }
}

impl Read for AsSent {
    type Item = Place;

    #[inline(always)]
    fn read(_: Given<'_>, _: Option<&Leaf>, span: Span) -> Value<Place> {
        match span.kind() {
            Kind::Json => Value::Some((span.start(), span.end())),
            Kind::Null => Value::Missing(Code::Null),
            Kind::Absent => Value::Absent,
            _ => Value::Odd,
        }
    }
}

impl Read for OutsideDevice {
    type Item = Place;
    // What is known came this way, so it is UTF-8.
    const IS_TEXT: bool = true;

    #[inline(always)]
    fn read(given: Given<'_>, _: Option<&Leaf>, span: Span) -> Value<Place> {
        match span.kind() {
            Kind::String if given.is_short_ascii(span) || given.str(span).is_some() => {
                Value::Some((span.start(), span.end()))
            }
            _ => Value::Missing(Code::Null),
        }
    }
}

/// A number, be it in a string, as `read` reads it.
#[inline(always)]
fn number<T>(
    given: Given<'_>,
    leaf: Option<&Leaf>,
    span: Span,
    read: impl Fn(&[u8], usize, usize) -> Option<T>,
) -> Value<T> {
    match span.kind() {
        Kind::Number => read(given.text, span.start(), span.end()).map_or(Value::Odd, Value::Some),
        Kind::Absent => Value::Absent,
        _ => in_string(given, leaf, span, read),
    }
}

/// A number in a string, or why there is none.
#[inline(never)]
fn in_string<T>(
    given: Given<'_>,
    leaf: Option<&Leaf>,
    span: Span,
    read: impl Fn(&[u8], usize, usize) -> Option<T>,
) -> Value<T> {
    match (span.kind(), leaf) {
        (Kind::Null, _) => Value::Missing(Code::Null),
        (Kind::String, Some(leaf)) => {
            let Some(text) = given.str(span) else { return Value::Odd };
            if let Some(code) = sentinel(leaf, text) {
                return Value::Missing(code);
            }
            match read(given.text, span.start(), span.end()) {
                Some(value) => Value::Some(value),
                None => not_finite(text).map_or(Value::Odd, Value::Missing),
            }
        }
        _ => Value::Odd,
    }
}

/// [`sentinel`] of a span.
#[inline(always)]
pub(super) fn missing_text(given: Given<'_>, leaf: &Leaf, span: Span) -> Option<Code> {
    let len = span.end() - span.start();
    if leaf.sentinels.is_empty() & !may_be_missing(len) {
        return None;
    }
    rare_missing_text(given, leaf, span)
}

#[inline(never)]
fn rare_missing_text(given: Given<'_>, leaf: &Leaf, span: Span) -> Option<Code> {
    sentinel(leaf, given.str(span)?)
}

/// A time, and whether its zone was assumed.
#[inline(always)]
pub(super) fn time(
    given: Given<'_>,
    leaf: &Leaf,
    formats: &[TimeFormat],
    accepts: Accepts,
    clock: &mut Clock,
    span: Span,
) -> Value<(Instant, bool)> {
    match span.kind() {
        Kind::String => {
            if !leaf.sentinels.is_empty()
                && let Some(code) = given.str(span).and_then(|text| sentinel(leaf, text))
            {
                return Value::Missing(code);
            }
            match clock.read::<Base>(given.text, span.start(), span.end(), accepts, formats) {
                Some(reading) => Value::Some(reading),
                None => given
                    .str(span)
                    .and_then(|text| sentinel(leaf, text).or_else(|| not_finite(text)))
                    .map_or(Value::Odd, Value::Missing),
            }
        }
        Kind::Number => {
            // Decimals are left to the general path, which reads them exactly.
            let text = given.str(span).unwrap_or_default();
            let is_whole = written(text.as_bytes()) == Some(Written::Whole);
            let value = if is_whole { text.parse().ok() } else { None };
            value
                .and_then(|value| formats.iter().find_map(|format| format.read_whole(value)))
                .map_or(Value::Odd, |instant| Value::Some((instant, false)))
        }
        Kind::Null => Value::Missing(Code::Null),
        Kind::Absent => Value::Absent,
        _ => Value::Odd,
    }
}
