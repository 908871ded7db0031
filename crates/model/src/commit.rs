//! The one decision about a commit, as a pure function over the facts read from a store.

use crate::offset::{NextOffset, OffsetRange};

/// What to do with a range of a partition at one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The store has nothing of the range: append it.
    Append,
    /// The store has all of it, committed before a crash or by a lost answer: append nothing.
    AlreadyCommitted,
    /// The store has its beginning: append only what lies at or after this offset.
    Overlap {
        /// The store's own next offset.
        keep_from: NextOffset,
    },
    /// The range begins after the settled offset: something would be lost. Refuse.
    Gap {
        /// The offsets that nobody accounts for.
        missing: OffsetRange,
    },
    /// The partition was settled past the range's start by another process: this one is a zombie.
    /// Refuse.
    Fenced {
        /// The settled offset.
        settled: NextOffset,
    },
}

/// Decides what to do with `range` at a store.
///
/// | committed at the store | settled in the home zone | decision |
/// |---|---|---|
/// | any | after the range's start | `Fenced` |
/// | any | before the range's start | `Gap` |
/// | none, or at or before the start | at the start, or none yet | `Append` |
/// | inside the range | same | `Overlap` |
/// | at or after the end | same | `AlreadyCommitted` |
///
/// A store's committed offset may lie before the range's start: flushes that had no rows for the
/// store's zone committed nothing there, and the receipts say so. So the settled offset, not the
/// store's, is what the range must continue (docs/adr/0004).
pub fn decide(committed: Option<NextOffset>, settled: Option<NextOffset>, range: OffsetRange) -> Decision {
    match settled {
        Some(settled) if settled > range.start => return Decision::Fenced { settled },
        Some(settled) if settled < range.start => {
            return Decision::Gap { missing: OffsetRange::new(settled, range.start) };
        }
        _ => {}
    }
    match committed {
        Some(committed) if committed >= range.end => Decision::AlreadyCommitted,
        Some(committed) if committed > range.start => Decision::Overlap { keep_from: committed },
        _ => Decision::Append,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange::new(NextOffset(start), NextOffset(end))
    }

    /// Over all small inputs: whatever is decided, no offset is stored twice and none is lost.
    #[test]
    fn no_duplicate_and_no_loss_over_all_small_inputs() {
        for committed in 0..8 {
            for settled in 0..8 {
                for start in 0..7 {
                    for end in start + 1..8 {
                        let range = range(start, end);
                        let decision = decide(Some(NextOffset(committed)), Some(NextOffset(settled)), range);
                        let appended = match decision {
                            Decision::Append => range,
                            Decision::AlreadyCommitted => OffsetRange::new(range.end, range.end),
                            Decision::Overlap { keep_from } => OffsetRange::new(keep_from, range.end),
                            Decision::Gap { .. } => {
                                assert!(settled < start);
                                continue;
                            }
                            Decision::Fenced { .. } => {
                                assert!(settled > start);
                                continue;
                            }
                        };
                        assert_eq!(settled, start);
                        for offset in start..end {
                            // A store holds what it committed of everything from its settled offset on.
                            let had = offset < committed;
                            assert_ne!(
                                had,
                                appended.contains(offset),
                                "{committed} {settled} {range} {offset}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_new_partition_appends() {
        assert_eq!(decide(None, None, range(5, 9)), Decision::Append);
        assert_eq!(decide(Some(NextOffset(9)), None, range(5, 9)), Decision::AlreadyCommitted);
        assert_eq!(
            decide(Some(NextOffset(7)), None, range(5, 9)),
            Decision::Overlap { keep_from: NextOffset(7) }
        );
    }
}
