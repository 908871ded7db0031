//! What every x86-64 processor has.
#![allow(unsafe_code, reason = "intrinsics are unsafe where the processor may lack them")]

// SAFETY, of all blocks in this module: the intrinsics need SSE2, and that belongs to every x86-64
// processor (it is a baseline feature of the target, and the assertion keeps it so). But for `load`
// they work on values and touch no memory.
const _: () = assert!(cfg!(target_feature = "sse2"));

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
};

use super::{Simd, Window, portable};

/// SSE2.
#[derive(Debug, Clone, Copy)]
pub(in crate::fast) struct Sse2;

#[inline(always)]
pub(super) fn load(window: &Window) -> __m128i {
    // SAFETY: above; and the pointer is that of sixteen bytes, which need no alignment here.
    unsafe { _mm_loadu_si128(window.as_ptr().cast()) }
}

#[inline(always)]
fn all(byte: u8) -> __m128i {
    // SAFETY: above.
    unsafe { _mm_set1_epi8(byte as i8) }
}

#[inline(always)]
fn is(window: __m128i, byte: u8) -> __m128i {
    // SAFETY: above.
    unsafe { _mm_cmpeq_epi8(window, all(byte)) }
}

/// Bytes below `bound` and bytes from 0x80 on, which are negative here.
#[inline(always)]
fn below(window: __m128i, bound: u8) -> __m128i {
    // SAFETY: above.
    unsafe { _mm_cmplt_epi8(window, all(bound)) }
}

#[inline(always)]
fn or(one: __m128i, other: __m128i) -> __m128i {
    // SAFETY: above.
    unsafe { _mm_or_si128(one, other) }
}

#[inline(always)]
fn bits(mask: __m128i) -> u32 {
    // SAFETY: above.
    unsafe { _mm_movemask_epi8(mask) as u32 }
}

impl Simd for Sse2 {
    #[inline(always)]
    fn equal(one: &Window, other: &Window) -> u32 {
        // SAFETY: above.
        bits(unsafe { _mm_cmpeq_epi8(load(one), load(other)) })
    }

    #[inline(always)]
    fn string_stops(window: &Window) -> u32 {
        let window = load(window);
        bits(or(or(is(window, b'"'), is(window, b'\\')), below(window, 0x20)))
    }

    #[inline(always)]
    fn scalar_stops(window: &Window) -> u32 {
        let window = load(window);
        // `]` and `}` differ in one bit.
        let closing = is(or(window, all(0x20)), b'}');
        bits(or(or(is(window, b','), closing), below(window, 0x21)))
    }

    #[inline(always)]
    fn beyond_ascii(window: &Window) -> u32 {
        bits(load(window))
    }

    #[inline(always)]
    fn places(window: &Window, byte: u8) -> u32 {
        bits(is(load(window), byte))
    }

    #[inline(always)]
    fn digits(window: &Window, len: usize, point: usize) -> (bool, u64) {
        portable::swar(window, len, point)
    }
}
