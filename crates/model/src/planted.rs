//! Bugs that are planted on purpose, to see whether the simulations find them.
//!
//! Normal builds have none: without the feature `planted`, [`is`] is a constant `false` and whatever depends
//! on it is compiled away. With it, one build serves all bugs, of which at most one is on at a time.

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Bug {
    /// A range is appended though it does not continue what was settled, or is there already.
    SkipOffsetCheck = 1,
    /// Of a range that overlaps with what is there, one offset too many is dropped.
    OffByOne,
    /// What is under way goes on after the partition was taken away.
    IgnoreRevocation,
    /// A commit whose answer was lost is taken for failed, without a look into the log.
    TimeoutAsFailure,
    /// After a conflict, what was decided on an older snapshot is committed on top of a newer one.
    FreshSnapshot,
    /// The rows of two zones are exchanged.
    SwapZones,
    /// A message of which no zone is known goes to some zone instead of quarantine.
    DefaultZone,
    /// A new version of the policy takes effect in the middle of what an older one began.
    NoBarrier,
    /// The group's offset is moved before the receipt.
    GroupOffsetFirst,
    /// A message that cannot be decoded is dropped.
    DropReject,
    /// A topic is taken for the one that had its name before.
    TrustTopicNames,
    /// A new version of the policy takes effect, and what a flush that was cut off has left is not looked for.
    ReloadInPlace,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SkipOffsetCheck,
        Self::OffByOne,
        Self::IgnoreRevocation,
        Self::TimeoutAsFailure,
        Self::FreshSnapshot,
        Self::SwapZones,
        Self::DefaultZone,
        Self::NoBarrier,
        Self::GroupOffsetFirst,
        Self::DropReject,
        Self::TrustTopicNames,
        Self::ReloadInPlace,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SkipOffsetCheck => "skip-offset-check",
            Self::OffByOne => "off-by-one",
            Self::IgnoreRevocation => "ignore-revocation",
            Self::TimeoutAsFailure => "timeout-as-failure",
            Self::FreshSnapshot => "fresh-snapshot",
            Self::SwapZones => "swap-zones",
            Self::DefaultZone => "default-zone",
            Self::NoBarrier => "no-barrier",
            Self::GroupOffsetFirst => "group-offset-first",
            Self::DropReject => "drop-reject",
            Self::TrustTopicNames => "trust-topic-names",
            Self::ReloadInPlace => "reload-in-place",
        }
    }

    /// The bug of a word; `None` if it is none's.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.as_str() == word)
    }
}

#[cfg(feature = "planted")]
pub use switch::{is, set};

/// Whether this bug is on.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    /// The bug that is on; 0 if none is.
    static ON: AtomicU8 = AtomicU8::new(0);

    /// Turns this bug on, and every other off.
    pub fn set(bug: Option<Bug>) {
        ON.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
    }

    /// Whether this bug is on.
    pub fn is(bug: Bug) -> bool {
        ON.load(Ordering::SeqCst) == bug as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_word_of_its_own() {
        for bug in Bug::ALL {
            assert_eq!(Bug::of(bug.as_str()), Some(bug));
        }
        assert_eq!(Bug::of("default"), None);
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn a_normal_build_has_none() {
        const NONE: bool = is(Bug::SkipOffsetCheck);
        assert!(!NONE && !Bug::ALL.into_iter().any(is));
    }
}
