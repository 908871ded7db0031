//! Chance from a seed, the same on every machine.

/// SplitMix64: one multiplication chain per number and no bad seeds.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if the bound is 0.
    #[inline]
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u32
    }

    /// True once in `n` times.
    #[inline]
    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// A number from `-width` to `width`; those near 0 are likelier.
    #[inline]
    pub(super) fn noise(&mut self, width: u32) -> i64 {
        i64::from(self.below(width + 1)) - i64::from(self.below(width + 1))
    }

    /// A number of a range, which must not be empty.
    #[inline]
    pub(super) fn within(&mut self, range: std::ops::Range<u32>) -> i64 {
        i64::from(range.start) + i64::from(self.below(range.end.saturating_sub(range.start)))
    }

    /// One of several; they must not be none.
    #[inline]
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}
