//! Sixteen bytes at a time, by the instructions that the processor has.
//!
//! [`Level`] is chosen when a decoder is made; the code of the fast path is written once, over
//! [`Simd`], and built for each level. All levels are tested to agree.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(super) use sse2::Sse2;

/// Sixteen bytes of a text.
pub(super) type Window = [u8; 16];

/// The window that begins at `at`, if the text goes on that long.
#[inline(always)]
pub(super) fn window(text: &[u8], at: usize) -> Option<&Window> {
    text.get(at..).and_then(|rest| rest.first_chunk())
}

/// What the fast path asks of sixteen bytes. Which bytes are meant is told by bits, the first lowest.
pub(super) trait Simd {
    /// Where two windows agree.
    fn equal(one: &Window, other: &Window) -> u32;

    /// What a plain run of a string's characters ends at: a quote, a backslash, a control character,
    /// and a byte that is not ASCII.
    fn string_stops(window: &Window) -> u32;

    /// What a number or a literal ends at: a comma, a closing bracket, a blank or a control
    /// character, and a byte that is not ASCII.
    fn scalar_stops(window: &Window) -> u32;

    /// What is not ASCII.
    fn beyond_ascii(window: &Window) -> u32;

    /// Where a byte stands.
    fn places(window: &Window, byte: u8) -> u32;

    /// Whether the first `len` bytes, but for that at `point`, are digits, and the number that they
    /// write. Without a point it is 16. Both are at most 16.
    fn digits(window: &Window, len: usize, point: usize) -> (bool, u64);
}

/// Which instructions are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// AVX2 and the bit manipulation that came with it (x86-64, since 2013).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// SSE2, which every x86-64 processor has; elsewhere plain code.
    Base,
}

impl Level {
    /// The best that this processor has.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("lzcnt")
            && std::arch::is_x86_feature_detected!("popcnt")
        {
            return Self::Avx2;
        }
        Self::Base
    }
}

/// The level that is always there.
#[cfg(target_arch = "x86_64")]
pub(super) type Base = Sse2;
/// The level that is always there.
#[cfg(not(target_arch = "x86_64"))]
pub(super) type Base = Portable;
