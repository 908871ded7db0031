//! Where the level is chosen: each function is built once for each, with all that it calls.

use super::rows::{Given, Maker, Odd, Rows};
use super::simd::{Base, Level};
use super::Filling;
use crate::builders::Builders;

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

/// [`Maker::make`].
pub(super) fn make(
    level: Level,
    maker: &mut Maker,
    given: Given<'_>,
    builders: &mut Builders,
    rows: Rows,
) -> Result<(), Odd> {
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::make(maker, given, builders, rows) },
        Level::Base => maker.make::<Base>(given, builders, rows),
    }
}

/// [`Simd::plain`](super::simd::Simd::plain) by the best level, for tests.
#[cfg(test)]
pub(super) fn plain(text: &[u8], start: usize, end: usize) -> Option<super::digits::Plain> {
    use super::simd::Simd as _;
    match Level::best() {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the features are there")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::plain(text, start, end) },
        Level::Base => Base::plain(text, start, end),
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
    pub(super) fn make(maker: &mut Maker, given: Given<'_>, builders: &mut Builders, rows: Rows) -> Result<(), Odd> {
        maker.make::<Avx2>(given, builders, rows)
    }

    #[cfg(test)]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn plain(text: &[u8], start: usize, end: usize) -> Option<super::super::digits::Plain> {
        use super::super::simd::Simd as _;
        Avx2::plain(text, start, end)
    }
}
