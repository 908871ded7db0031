//! Flat lists.

use super::digits;
use super::simd::{Simd, window};

/// Gives each entry of a list of numbers to `put`, `None` for a null. `text[start..end]` is the list
/// from its first bracket to what may be its last. `None` if it is no list of numbers and nulls, or
/// not only; `put` may then have got some of its entries.
#[inline(always)]
pub(super) fn numbers<S: Simd>(text: &[u8], start: usize, end: usize, mut put: impl FnMut(Option<f64>)) -> Option<()> {
    // The last bracket's place.
    let last = end.checked_sub(1)?;
    let mut at = blanks(text, start + 1);
    if at == last {
        return Some(());
    }
    loop {
        let value_end = scalar::<S>(text, at)?;
        match digits::double::<S>(text, at, value_end) {
            Some(value) => put(Some(value)),
            None if text.get(at..value_end)? == b"null" => put(None),
            None => return None,
        }
        at = value_end;
        if text[at] <= b' ' {
            at = blanks(text, at);
        }
        match text.get(at)? {
            b',' => at += 1,
            b']' => return (at == last).then_some(()),
            _ => return None,
        }
        if *text.get(at)? <= b' ' {
            at = blanks(text, at);
        }
    }
}

/// Gives the place of each entry of a list of texts without escapes to `put`, which says whether to go on.
pub(super) fn texts<S: Simd>(
    text: &[u8],
    start: usize,
    end: usize,
    mut put: impl FnMut(usize, usize) -> bool,
) -> Option<()> {
    let last = end.checked_sub(1)?;
    let mut at = blanks(text, start + 1);
    if at == last {
        return Some(());
    }
    loop {
        (*text.get(at)? == b'"').then_some(())?;
        let quote = string::<S>(text, at + 1)?;
        (quote < last && put(at + 1, quote)).then_some(())?;
        at = blanks(text, quote + 1);
        match text.get(at)? {
            b',' => at = blanks(text, at + 1),
            b']' => return (at == last).then_some(()),
            _ => return None,
        }
    }
}

/// Where a number or a literal ends.
#[inline(always)]
fn scalar<S: Simd>(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let stops = S::scalar_stops(window(text, at)?);
        if stops != 0 {
            return Some(at + stops.trailing_zeros() as usize);
        }
        at += 16;
    }
}

/// Where a string of ASCII without escapes ends.
fn string<S: Simd>(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let stops = S::string_stops(window(text, at)?);
        if stops != 0 {
            at += stops.trailing_zeros() as usize;
            return (text[at] == b'"').then_some(at);
        }
        at += 16;
    }
}

fn blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}
