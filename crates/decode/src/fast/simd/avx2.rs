//! What x86-64 processors have since 2013.
#![allow(unsafe_code, reason = "intrinsics are unsafe where the processor may lack them")]

// SAFETY, of all blocks in this module: the intrinsics work on values and touch no memory; they are
// unsafe only since they need SSSE3 and SSE4.1. Methods of `Avx2` run only below the functions of
// `crate::fast::entry` that enable AVX2, which includes both, and those are called only when
// `Level::best` has found it (or, in tests, the same test was made).
use std::arch::x86_64::{
    _mm_cvtsi128_si64, _mm_madd_epi16, _mm_maddubs_epi16, _mm_packus_epi32, _mm_set1_epi8, _mm_set1_epi16,
    _mm_set1_epi32, _mm_shuffle_epi8, _mm_sub_epi8, _mm_subs_epu8, _mm_testz_si128,
};

use super::sse2::{Sse2, load};
use super::{Simd, Window};

/// AVX2, of which only the instructions for sixteen bytes are used: values are short.
#[derive(Debug, Clone, Copy)]
pub(in crate::fast) struct Avx2;

/// By a number's length and the place of its point, 16 for none: where each byte comes from when the
/// last digit goes to the last byte and the point is closed up. The bytes before become zero.
const ALIGN: [[Window; 17]; 17] = {
    let mut tables = [[[0x80; 16]; 17]; 17];
    let mut len = 0;
    while len <= 16 {
        let mut point = 0;
        while point <= 16 {
            let mut to = 16;
            let mut from = len;
            while from > 0 {
                from -= 1;
                if from != point {
                    to -= 1;
                    tables[len][point][to] = from as u8;
                }
            }
            point += 1;
        }
        len += 1;
    }
    tables
};

impl Simd for Avx2 {
    #[inline(always)]
    fn equal(one: &Window, other: &Window) -> u32 {
        Sse2::equal(one, other)
    }

    #[inline(always)]
    fn string_stops(window: &Window) -> u32 {
        Sse2::string_stops(window)
    }

    #[inline(always)]
    fn scalar_stops(window: &Window) -> u32 {
        Sse2::scalar_stops(window)
    }

    #[inline(always)]
    fn beyond_ascii(window: &Window) -> u32 {
        Sse2::beyond_ascii(window)
    }

    #[inline(always)]
    fn places(window: &Window, byte: u8) -> u32 {
        Sse2::places(window, byte)
    }

    /// Digits are joined to pairs, these to fours and those to eights, two eights side by side
    /// (W. Muła, "SIMD-ized parsing of unsigned integers").
    #[inline(always)]
    fn digits(window: &Window, len: usize, point: usize) -> (bool, u64) {
        // SAFETY: above.
        let (are_digits, both) = unsafe {
            let digits = _mm_sub_epi8(load(window), _mm_set1_epi8(b'0' as i8));
            let digits = _mm_shuffle_epi8(digits, load(&ALIGN[len][point]));
            let beyond = _mm_subs_epu8(digits, _mm_set1_epi8(9));
            let pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010a));
            let fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x0001_0064));
            let fours = _mm_packus_epi32(fours, fours);
            let eights = _mm_madd_epi16(fours, _mm_set1_epi32(0x0001_2710));
            (_mm_testz_si128(beyond, beyond) == 1, _mm_cvtsi128_si64(eights) as u64)
        };
        (are_digits, (both & 0xffff_ffff) * 100_000_000 + (both >> 32))
    }
}
