//! How far a source's clock may be from the broker's before a row is flagged.

use std::time::Duration;

use crate::doc::Map;

/// How far `event_time` may lie from `_broker_time` before the row says so in `_quality`. No time is changed.
///
/// Nothing happens after it has arrived, so a time ahead of the broker's is a clock that is wrong, but for
/// what clocks that are set by one source differ by. A time behind it may be a clock that is wrong, or a
/// gateway that was offline, or a recording that is played again: only who runs the pipeline knows which.
/// So `ahead` has a bound unless it is switched off, and `behind` has none unless it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockBounds {
    /// The farthest ahead of the broker's time that is not flagged.
    pub ahead: Option<Duration>,
    /// The farthest behind the broker's time that is not flagged.
    pub behind: Option<Duration>,
}

impl ClockBounds {
    /// Flags nothing.
    pub const OFF: Self = Self { ahead: None, behind: None };

    /// What holds where a bound is not given.
    pub const DEFAULT: Self = Self { ahead: Some(Duration::from_secs(300)), behind: None };

    /// Reads the bounds of a mapping with the keys [`KEYS`](Self::KEYS); problems are reported there.
    pub(crate) fn read(map: &Map<'_>) -> Self {
        Self {
            ahead: map.optional_duration_or_off("ahead").unwrap_or(Self::DEFAULT.ahead),
            behind: map.optional_duration_or_off("behind").unwrap_or(Self::DEFAULT.behind),
        }
    }

    /// The keys of the bounds.
    pub(crate) const KEYS: [&'static str; 2] = ["ahead", "behind"];
}

impl Default for ClockBounds {
    fn default() -> Self {
        Self::DEFAULT
    }
}
