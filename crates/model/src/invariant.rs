//! The numbered promises (docs/invariants.md): one predicate each, used by tests, by the simulation
//! and by the counters that must stay 0 in production.

use crate::batch::Counts;
use crate::offset::{NextOffset, OffsetRange};
use crate::words::words;

words! {
    /// The invariants by number.
    Invariant {
        /// Messages decoded + without rows by design + rejected = messages read.
        Eo1 = "EO-1",
        /// Rows over all zones + rows quarantined = rows tagged; messages likewise.
        Eo2 = "EO-2",
        /// A commit starts at the settled offset; a gap only where the broker had deleted records.
        Eo3 = "EO-3",
        /// A (topic, partition, offset, row) is at most once in a store and in at most one store.
        Eo4 = "EO-4",
        /// Every record below the settled offset is in exactly one place.
        Eo5 = "EO-5",
        /// The Kafka group offset never exceeds the settled offset.
        Eo6 = "EO-6",
        /// Nothing of a revoked assignment is committed after the revocation was acknowledged.
        Eo7 = "EO-7",
        /// Every row of a resident batch is of its zone.
        Res1 = "RES-1",
        /// Every object written lies under its zone's root, and no root lies in another.
        Res2 = "RES-2",
        /// Nothing is written without a permit for that batch and root.
        Res3 = "RES-3",
        /// Undetermined records exist only in the home quarantine.
        Res4 = "RES-4",
        /// No payload byte in logs, errors, labels or traces.
        Res5 = "RES-5",
        /// A query session can resolve no object outside its permit.
        Res6 = "RES-6",
        /// The policy version changes only at a barrier.
        Res7 = "RES-7",
        /// A root's marker names the zone and store that the process expects.
        Res8 = "RES-8",
    }
}

/// EO-1: every message read was decoded, rejected, or gives no row by design.
pub fn eo1(counts: &Counts) -> bool {
    counts.decoded + counts.without_rows + counts.rejected == counts.messages
}

/// EO-2: every tagged row, and every message, is in a zone or in quarantine.
pub fn eo2(counts: &Counts) -> bool {
    counts.stored_rows() + counts.quarantined_rows == counts.rows
        && counts.stored_messages() + counts.quarantined_messages() + counts.without_rows == counts.messages
}

/// EO-3: a range starts at the settled offset.
pub fn eo3(settled: Option<NextOffset>, range: OffsetRange) -> bool {
    settled.is_none_or(|settled| settled == range.start)
}

/// EO-6: what is committed to the Kafka group does not exceed what is settled.
pub fn eo6(group: NextOffset, settled: NextOffset) -> bool {
    group <= settled
}
