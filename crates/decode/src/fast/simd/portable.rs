//! Plain code, eight bytes at a time where it pays.

use super::super::digits::{are_digits, eight};
#[cfg(any(test, not(target_arch = "x86_64")))]
use super::Simd;
use super::Window;

/// No special instructions.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[derive(Debug, Clone, Copy)]
pub(in crate::fast) struct Portable;

#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn bits(window: &Window, is: impl Fn(usize, u8) -> bool) -> u32 {
    window.iter().enumerate().fold(0, |mask, (i, byte)| mask | u32::from(is(i, *byte)) << i)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Simd for Portable {
    #[inline(always)]
    fn equal(one: &Window, other: &Window) -> u32 {
        bits(one, |i, byte| byte == other[i])
    }

    #[inline(always)]
    fn string_stops(window: &Window) -> u32 {
        bits(window, |_, byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..))
    }

    #[inline(always)]
    fn scalar_stops(window: &Window) -> u32 {
        bits(window, |_, byte| matches!(byte, b',' | b']' | b'}' | 0..0x21 | 0x80..))
    }

    #[inline(always)]
    fn beyond_ascii(window: &Window) -> u32 {
        bits(window, |_, byte| byte >= 0x80)
    }

    #[inline(always)]
    fn places(window: &Window, byte: u8) -> u32 {
        bits(window, |_, other| byte == other)
    }

    #[inline(always)]
    fn digits(window: &Window, len: usize, point: usize) -> (bool, u64) {
        swar(window, len, point)
    }
}

/// The last bytes of a window, by their count.
const LAST: [u128; 17] = {
    let mut masks = [0; 17];
    let mut count = 1;
    while count <= 16 {
        masks[count] = u128::MAX << (8 * (16 - count));
        count += 1;
    }
    masks
};

/// The bytes before a point at this place, and those after it; without a point all are after it.
const AROUND: [(u128, u128); 17] = {
    let mut masks = [(0, u128::MAX); 17];
    let mut place = 0;
    while place < 16 {
        let after = if place == 15 { 0 } else { u128::MAX << (8 * (place + 1)) };
        masks[place] = ((1 << (8 * place)) - 1, after);
        place += 1;
    }
    masks
};

/// [`Simd::digits`](super::Simd::digits) within two registers of eight bytes.
#[inline(always)]
pub(super) fn swar(window: &Window, len: usize, point: usize) -> (bool, u64) {
    let digits = u128::from_le_bytes(*window) ^ 0x3030_3030_3030_3030_3030_3030_3030_3030;
    // The last digit goes to the last byte.
    let digits = digits.checked_shl(8 * (16 - len as u32)).unwrap_or(0) & LAST[len];
    let (before, after) = AROUND[if point == 16 { 16 } else { point + 16 - len }];
    // The point is closed up: the digits before it move by one.
    let digits = (digits & before) << 8 | digits & after;
    let (first, second) = (digits as u64, (digits >> 64) as u64);
    (are_digits(first) & are_digits(second), eight(first) * 100_000_000 + eight(second))
}
