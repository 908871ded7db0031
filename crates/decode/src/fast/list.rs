//! Flat lists.

use super::digits;
use super::simd::{Simd, window};

/// Adds the entries of a list of numbers to `values`, as far as they are numbers. `text[start..end]` is
/// the list from its first bracket to what may be its last. Gives the place of the first entry that
/// is no plain number, or the end; `None` if it is no list.
#[inline(always)]
pub(super) fn numbers<S: Simd>(
    text: &[u8],
    start: usize,
    end: usize,
    values: &mut Vec<f64>,
) -> Option<usize> {
    // The last bracket's place.
    let last = end.checked_sub(1)?;
    let mut at = start;
    loop {
        match digits::leading_double::<S>(text, at) {
            Some((value, behind)) => {
                values.push(value);
                at = behind;
            }
            None => return Some(at),
        }
        if *text.get(at)? == b',' {
            at += 1;
        } else {
            at = blanks(text, at);
            match text.get(at)? {
                b',' => at += 1,
                b']' => return (at == last).then_some(end),
                _ => return None,
            }
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
pub(super) fn scalar<S: Simd>(text: &[u8], mut at: usize) -> Option<usize> {
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

pub(super) fn blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}
