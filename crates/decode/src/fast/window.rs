//! Sixteen bytes at a time: which of them are what is looked for, as bits, the first byte lowest.
//!
//! On x86-64 by SSE2, which every such processor has; elsewhere by plain code. Both are tested to agree.

/// Sixteen bytes of a text.
pub(super) type Window = [u8; 16];

/// The window that begins at `at`, if the text goes on that long.
#[inline(always)]
pub(super) fn at(text: &[u8], at: usize) -> Option<&Window> {
    text.get(at..).and_then(|rest| rest.first_chunk())
}

#[cfg(target_arch = "x86_64")]
pub(super) use sse2::*;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use plain::*;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics are unsafe where the processor may lack them")]
mod sse2 {
    // SAFETY, of all blocks in this module: the intrinsics work on values and touch no memory; they
    // are unsafe only since they need SSE2, and that belongs to every x86-64 processor (it is a
    // baseline feature of the target, and the assertion below keeps it so).
    const _: () = assert!(cfg!(target_feature = "sse2"));

    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };

    use super::Window;

    #[inline(always)]
    fn load(window: &Window) -> __m128i {
        let value = u128::from_le_bytes(*window);
        // SAFETY: above.
        unsafe { _mm_set_epi64x((value >> 64) as i64, value as i64) }
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

    /// Where two windows agree.
    #[inline(always)]
    pub(in crate::fast) fn equal(one: &Window, other: &Window) -> u32 {
        // SAFETY: above.
        bits(unsafe { _mm_cmpeq_epi8(load(one), load(other)) })
    }

    /// What a plain run of a string's characters ends at: a quote, a backslash, a control character,
    /// and a byte that is not ASCII.
    #[inline(always)]
    pub(in crate::fast) fn string_stops(window: &Window) -> u32 {
        let window = load(window);
        bits(or(or(is(window, b'"'), is(window, b'\\')), below(window, 0x20)))
    }

    /// What a number or a literal ends at: a comma, a closing bracket, a blank or a control
    /// character, and a byte that is not ASCII.
    #[inline(always)]
    pub(in crate::fast) fn scalar_stops(window: &Window) -> u32 {
        let window = load(window);
        // `]` and `}` differ in one bit.
        let closing = is(or(window, all(0x20)), b'}');
        bits(or(or(is(window, b','), closing), below(window, 0x21)))
    }

    /// Where a byte stands.
    #[inline(always)]
    pub(in crate::fast) fn places(window: &Window, byte: u8) -> u32 {
        bits(is(load(window), byte))
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain {
    use super::Window;

    #[inline(always)]
    fn bits(window: &Window, is: impl Fn(usize, u8) -> bool) -> u32 {
        window.iter().enumerate().fold(0, |mask, (i, byte)| mask | u32::from(is(i, *byte)) << i)
    }

    #[inline(always)]
    pub(in crate::fast) fn equal(one: &Window, other: &Window) -> u32 {
        bits(one, |i, byte| byte == other[i])
    }

    #[inline(always)]
    pub(in crate::fast) fn string_stops(window: &Window) -> u32 {
        bits(window, |_, byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..))
    }

    #[inline(always)]
    pub(in crate::fast) fn scalar_stops(window: &Window) -> u32 {
        bits(window, |_, byte| matches!(byte, b',' | b']' | b'}' | 0..0x21 | 0x80..))
    }

    #[inline(always)]
    pub(in crate::fast) fn places(window: &Window, byte: u8) -> u32 {
        bits(window, |_, other| byte == other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree_on_every_byte_and_place() {
        for byte in 0..=u8::MAX {
            for place in 0..16 {
                let mut window = [b'x'; 16];
                window[place] = byte;
                let other: Window = std::array::from_fn(|i| window[i] ^ u8::from(i % 3 == 0));
                assert_eq!(super::equal(&window, &other), plain::equal(&window, &other));
                assert_eq!(super::string_stops(&window), plain::string_stops(&window), "{byte} {place}");
                assert_eq!(super::scalar_stops(&window), plain::scalar_stops(&window), "{byte} {place}");
                for looked_for in [b'.', byte, b'x'] {
                    assert_eq!(super::places(&window, looked_for), plain::places(&window, looked_for));
                }
            }
        }
    }
}
