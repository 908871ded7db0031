//! When a pipeline's rows are due: large files under load, fresh rows when it is quiet.

use std::time::Duration;

use crate::config::FlushLimits;
use crate::held::OfStage;

/// How much longer rows may wait while a backlog is read. They are old already, and what is read faster
/// is fresh sooner.
const PATIENCE: u32 = 4;

/// How fast a pipeline is read and flushed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// About what a flush takes.
    flush: Duration,
    /// Messages at the broker that were not read yet.
    pub(crate) unread: u64,
}

impl Pace {
    /// A flush took so long.
    pub(crate) fn took(&mut self, time: Duration) {
        // Up at once and down by and by, since to be late is worse than to be early.
        self.flush = time.max((self.flush * 7 + time) / 8);
    }

    /// Whether rows of which the oldest has this age are to be flushed now.
    pub(crate) fn is_due(&self, limits: &FlushLimits, there: &OfStage, age: Duration) -> bool {
        if there.rows >= limits.rows || there.encoded >= limits.bytes {
            return true;
        }
        // The limit is for the commit, not for its beginning; but half of it is for collecting.
        let flush = self.flush.min(limits.age / 2);
        let target = if self.is_behind(limits, there, age) { limits.age * PATIENCE } else { limits.age };
        age + flush >= target
    }

    /// Whether it takes longer than the limit to read what is unread, at the speed at which what is
    /// there was read.
    fn is_behind(&self, limits: &FlushLimits, there: &OfStage, age: Duration) -> bool {
        self.unread as f64 * age.as_secs_f64() > there.offsets as f64 * limits.age.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(4);

    fn due(pace: Pace, rows: u64, millis: u64) -> bool {
        let limits = FlushLimits { age: AGE, rows: 1000, bytes: 1000 };
        let age = Duration::from_millis(millis);
        pace.is_due(&limits, &OfStage { rows, encoded: rows / 2, age: Some(age), offsets: rows }, age)
    }

    #[test]
    fn rows_are_due_early_enough_to_be_committed_in_time() {
        let mut pace = Pace::default();
        assert!(!due(pace, 10, 3999) && due(pace, 10, 4000));
        pace.took(Duration::from_millis(500));
        assert!(!due(pace, 10, 3499) && due(pace, 10, 3500));
        // It forgets a slow flush by and by, and never leaves less than half of the time to collect.
        pace.took(Duration::from_secs(60));
        assert!(!due(pace, 10, 1999) && due(pace, 10, 2000));
        (0..100).for_each(|_| pace.took(Duration::from_millis(100)));
        assert!(!due(pace, 10, 3800) && due(pace, 10, 3900));
    }

    #[test]
    fn many_rows_are_due_at_once() {
        assert!(due(Pace::default(), 1000, 1) && !due(Pace::default(), 999, 1));
    }

    #[test]
    fn a_backlog_makes_large_files() {
        // 500 offsets in 4 s: 500 more are read in the next 4 s, 501 are not.
        let pace = |unread| Pace { unread, ..Pace::default() };
        assert!(due(pace(500), 500, 4000) && !due(pace(501), 500, 4000));
        assert!(!due(pace(1_000_000), 500, 15_999) && due(pace(1_000_000), 500, 16_000));
    }
}
