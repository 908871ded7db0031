//! Sets of rows as bits.

/// Takes the lowest bit out of a set.
#[inline(always)]
pub(super) fn next(set: &mut u64) -> Option<usize> {
    if *set == 0 {
        return None;
    }
    let place = set.trailing_zeros() as usize;
    *set &= *set - 1;
    Some(place)
}

/// The lowest `count` bits; there must be one at least.
#[inline(always)]
pub(super) fn first(count: usize) -> u64 {
    u64::MAX >> (64 - count)
}
