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
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    const MINE: Epoch = Epoch(3);

    fn at(committed: Option<i64>) -> Standing {
        Standing { committed: committed.map(NextOffset), epoch: MINE }
    }

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange::new(NextOffset(start), NextOffset(end))
    }

    /// What should be done, reckoned with sets of offsets and with no comparison of ends.
    #[derive(Debug, PartialEq, Eq)]
    enum Wanted {
        /// These offsets are written, and no others.
        Write(BTreeSet<i64>),
        /// These would be lost.
        Lost(BTreeSet<i64>),
        /// These were settled by somebody else.
        Settled(BTreeSet<i64>),
        /// Another owner came.
        Superseded(Epoch),
    }

    const OFFSETS: std::ops::RangeInclusive<i64> = 0..=5;

    /// The offsets that lie before one.
    fn before(next: i64) -> BTreeSet<i64> {
        OFFSETS.filter(|offset| *offset < next).collect()
    }

    fn wanted(standing: Standing, epoch: Epoch, settled: Option<i64>, range: OffsetRange) -> Wanted {
        if standing.epoch > epoch {
            return Wanted::Superseded(standing.epoch);
        }
        let mine: BTreeSet<i64> = OFFSETS.filter(|offset| range.contains(*offset)).collect();
        let earlier = before(range.start.0);
        if let Some(settled) = settled {
            let accounted = before(settled);
            let by_others = &accounted - &earlier;
            if !by_others.is_empty() {
                return Wanted::Settled(by_others);
            }
            let lost = &earlier - &accounted;
            if !lost.is_empty() {
                return Wanted::Lost(lost);
            }
        }
        let had = standing.committed.map(|next| before(next.0)).unwrap_or_default();
        Wanted::Write(&mine - &had)
    }

    /// What a decision does to the offsets.
    fn done(decision: Decision, range: OffsetRange) -> Wanted {
        let of = |range: OffsetRange| OFFSETS.filter(|offset| range.contains(*offset)).collect();
        match decision {
            Decision::Append => Wanted::Write(of(range)),
            Decision::AlreadyCommitted => Wanted::Write(BTreeSet::new()),
            Decision::Overlap { keep_from } => Wanted::Write(of(OffsetRange::new(keep_from, range.end))),
            Decision::Gap { missing } => Wanted::Lost(of(missing)),
            Decision::Fenced { settled } => Wanted::Settled(of(OffsetRange::new(range.start, settled))),
            Decision::Superseded { by } => Wanted::Superseded(by),
        }
    }

    /// Over all small inputs: exactly those offsets are written that are wanted and not there, nothing is
    /// passed over, and nothing is taken of whoever is not the owner any more.
    #[test]
    fn no_duplicate_and_no_loss_over_all_small_inputs() {
        let places = || std::iter::once(None).chain(OFFSETS.map(Some));
        let mut cases = 0;
        let mut seen = HashSet::new();
        for (committed, settled) in places().flat_map(|one| places().map(move |other| (one, other))) {
            for (start, end) in (0..=6).flat_map(|start| (start..=6).map(move |end| (start, end))) {
                for epoch in [Epoch(MINE.0 - 1), MINE, MINE.next()] {
                    let range = range(start, end);
                    let standing = Standing { epoch, ..at(committed) };
                    let decision = decide(standing, MINE, settled.map(NextOffset), range);
                    assert_eq!(
                        done(decision, range),
                        wanted(standing, MINE, settled, range),
                        "{decision:?} of {range} at {standing:?}, settled {settled:?}"
                    );
                    // A cut is told from all and from nothing: only it encodes rows anew.
                    if let Decision::Overlap { keep_from } = decision {
                        assert!(range.start < keep_from && keep_from < range.end, "{decision:?} of {range}");
                    }
                    seen.insert(std::mem::discriminant(&decision));
                    cases += 1;
                }
            }
        }
        assert_eq!((cases, seen.len()), (7 * 7 * 28 * 3, 6), "all inputs, and each decision at least once");
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
