//! Where the level is chosen: each function is built once for each, with all that it calls.

use super::matrix::Matrix;
use super::scan::ROWS;
use super::simd::{Base, Level};
use super::span::Span;
use super::{Filling, digits, list};

/// [`Filling::fill`].
pub(super) fn fill(level: Level, filling: Filling<'_>, from: usize) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: `Level::Avx2` is made only by `Level::best`, when the processor has all features
        // that the function enables.
        Level::Avx2 => unsafe { avx2::fill(filling, from) },
        Level::Base => filling.fill::<Base>(from),
    }
}

/// [`digits::doubles`].
pub(super) fn doubles(
    level: Level,
    text: &[u8],
    spans: &[Span],
    in_strings: bool,
    values: &mut [f64; ROWS],
) -> u64 {
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::doubles(text, spans, in_strings, values) },
        Level::Base => digits::doubles::<Base>(text, spans, in_strings, values),
    }
}

/// [`digits::integers`].
pub(super) fn integers(level: Level, text: &[u8], spans: &[Span], values: &mut [i64; ROWS]) -> u64 {
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::integers(text, spans, values) },
        Level::Base => digits::integers::<Base>(text, spans, values),
    }
}

/// [`list::numbers`].
pub(super) fn numbers(
    level: Level,
    text: &[u8],
    start: usize,
    end: usize,
    values: &mut Vec<f64>,
) -> Option<usize> {
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::numbers(text, start, end, values) },
        Level::Base => list::numbers::<Base>(text, start, end, values),
    }
}

/// [`Matrix::read`].
pub(super) fn matrix(
    level: Level,
    matrix: &mut Matrix,
    text: &[u8],
    start: usize,
    counter: Option<usize>,
) -> Option<usize> {
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::matrix(matrix, text, start, counter) },
        Level::Base => matrix.read::<Base>(text, start, counter),
    }
}

/// [`digits::plain`] by the best level, for tests.
#[cfg(test)]
pub(super) fn plain(text: &[u8], start: usize, end: usize) -> Option<digits::Plain> {
    match Level::best() {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::plain(text, start, end) },
        Level::Base => digits::plain::<Base>(text, start, end),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::simd::Avx2;
    use super::*;

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn fill(filling: Filling<'_>, from: usize) -> usize {
        filling.fill::<Avx2>(from)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn doubles(text: &[u8], spans: &[Span], in_strings: bool, values: &mut [f64; ROWS]) -> u64 {
        digits::doubles::<Avx2>(text, spans, in_strings, values)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn integers(text: &[u8], spans: &[Span], values: &mut [i64; ROWS]) -> u64 {
        digits::integers::<Avx2>(text, spans, values)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn numbers(text: &[u8], start: usize, end: usize, values: &mut Vec<f64>) -> Option<usize> {
        list::numbers::<Avx2>(text, start, end, values)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn matrix(
        matrix: &mut Matrix,
        text: &[u8],
        start: usize,
        counter: Option<usize>,
    ) -> Option<usize> {
        matrix.read::<Avx2>(text, start, counter)
    }

    #[cfg(test)]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn plain(text: &[u8], start: usize, end: usize) -> Option<digits::Plain> {
        digits::plain::<Avx2>(text, start, end)
    }
}
