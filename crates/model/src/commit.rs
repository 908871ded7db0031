//! The one decision about a commit, as a pure function over the facts read from a store.

use crate::offset::{Epoch, NextOffset, OffsetRange};
use crate::planted::{self, Bug};

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
    /// The table was told of a later owner of the partition: this one is a zombie. Refuse.
    Superseded {
        /// The later owner's epoch.
        by: Epoch,
    },
}

/// What a table says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The offset that it has next.
    pub committed: Option<NextOffset>,
    /// The newest owner of which it was told.
    pub epoch: Epoch,
}

/// Decides what to do with `range`, of an owner of this `epoch`, at a table.
///
/// | committed at the table | settled in the home zone | decision |
/// |---|---|---|
/// | any, told of a later owner | any | `Superseded` |
/// | any | after the range's start | `Fenced` |
/// | any | before the range's start | `Gap` |
/// | none, or at or before the start | at the start, or none yet | `Append` |
/// | inside the range | same | `Overlap` |
/// | at or after the end | same | `AlreadyCommitted` |
///
/// A table's committed offset may lie before the range's start: flushes that had no rows for the
/// store's zone committed nothing there, and the receipts say so. So the settled offset, not the
/// store's, is what the range must continue (docs/adr/0004).
pub fn decide(standing: Standing, epoch: Epoch, settled: Option<NextOffset>, range: OffsetRange) -> Decision {
    if standing.epoch > epoch {
        return Decision::Superseded { by: standing.epoch };
    }
    if planted::is(Bug::SkipOffsetCheck) {
        return Decision::Append;
    }
    match settled {
        Some(settled) if settled > range.start => return Decision::Fenced { settled },
        Some(settled) if settled < range.start => {
            return Decision::Gap { missing: OffsetRange::new(settled, range.start) };
        }
        _ => {}
    }
    match standing.committed {
        Some(committed) if committed >= range.end => Decision::AlreadyCommitted,
        Some(committed) if committed > range.start => {
            let dropped_too_many = i64::from(planted::is(Bug::OffByOne));
            Decision::Overlap { keep_from: NextOffset(committed.0 + dropped_too_many) }
        }
        _ => Decision::Append,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Epoch = Epoch(3);

    fn at(committed: Option<i64>) -> Standing {
        Standing { committed: committed.map(NextOffset), epoch: MINE }
    }

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
                        let decision = decide(at(Some(committed)), MINE, Some(NextOffset(settled)), range);
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
                            Decision::Superseded { .. } => panic!("there is no later owner"),
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
        let decide = |committed| decide(at(committed), MINE, None, range(5, 9));
        assert_eq!(decide(None), Decision::Append);
        assert_eq!(decide(Some(9)), Decision::AlreadyCommitted);
        assert_eq!(decide(Some(7)), Decision::Overlap { keep_from: NextOffset(7) });
    }

    #[test]
    fn nothing_is_taken_from_an_owner_before_the_last() {
        for committed in [None, Some(5), Some(7), Some(9)] {
            for settled in [None, Some(4), Some(5), Some(6)] {
                let standing = Standing { epoch: MINE.next(), ..at(committed) };
                let decision = decide(standing, MINE, settled.map(NextOffset), range(5, 9));
                assert_eq!(decision, Decision::Superseded { by: MINE.next() });
            }
        }
    }
}
