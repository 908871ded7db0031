//! One append, whatever the table: which partitions move how far, with which rows.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use situs_model::store::{Advice, EncodedRows, FlushFacts, Share};
use situs_model::{Decision, Epoch, NextOffset, OffsetRange, Source, Standing, TopicId, decide};

use crate::encode::Encoded;
use crate::error::Fault;
use crate::log::Progress;
use crate::receipts::Unlinked;

/// Where in the rows the store finds what it decides by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// The column of offsets.
    pub(crate) offset: &'static str,
    /// The column of days by which the table is partitioned.
    pub(crate) day: &'static str,
}

/// Against what a range must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The settled offset as the caller knows it.
    Told(Option<NextOffset>),
    /// This table is what settles: its own offset.
    Here,
}

/// A partition that moves with a commit.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) app_id: String,
    pub(crate) source: Source,
    pub(crate) range: OffsetRange,
    pub(crate) settled: Settled,
    /// In which epoch the caller owns the partition; `None` if whoever owns it does not matter.
    pub(crate) epoch: Option<Epoch>,
    /// The topic that the offsets are of, as far as anybody has told.
    pub(crate) topic_id: Option<TopicId>,
}

/// An append.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) layout: Layout,
    pub(crate) claims: Vec<Claim>,
    pub(crate) rows: Rows,
    pub(crate) facts: FlushFacts,
}

/// The rows of an append.
#[derive(Debug)]
pub(crate) enum Rows {
    /// As an encoder left them.
    Encoded(EncodedRows),
    /// Few, and not encoded yet, each batch with its partition.
    Batches(Vec<(Source, RecordBatch)>),
    /// Receipts, which are encoded once it is known what they continue.
    Receipts(Unlinked),
}

/// Which rows of a claim are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    All,
    From(NextOffset),
    Nothing,
}

impl From<Decision> for Keep {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Append => Self::All,
            Decision::Overlap { keep_from } => Self::From(keep_from),
            Decision::AlreadyCommitted
            | Decision::Gap { .. }
            | Decision::Fenced { .. }
            | Decision::Superseded { .. } => Self::Nothing,
        }
    }
}

impl Claim {
    /// A claim of a share.
    pub(crate) fn of(share: &Share) -> Self {
        Self {
            app_id: share.source.app_id(),
            source: share.source.clone(),
            range: share.range,
            settled: Settled::Told(share.settled),
            epoch: Some(share.epoch),
            topic_id: share.topic_id,
        }
    }

    /// Decides by what the table says of the partition.
    ///
    /// Where the table itself settles, a receipt that is already there would look like another
    /// process's; it is taken for this flush's own only if its commit says so.
    pub(crate) fn decide(&self, progress: Option<&Progress>, epoch: Epoch, flush_id: &str) -> Decision {
        let committed = progress.map(|progress| progress.next);
        let standing = Standing { committed, epoch };
        let mine = self.epoch.unwrap_or(epoch);
        match self.settled {
            Settled::Told(settled) => decide(standing, mine, settled, self.range),
            Settled::Here if self.landed(progress, flush_id) => Decision::AlreadyCommitted,
            Settled::Here => decide(standing, mine, committed, self.range),
        }
    }

    /// Whether a commit of this flush has moved the partition to the end of the range.
    pub(crate) fn landed(&self, progress: Option<&Progress>, flush_id: &str) -> bool {
        progress.is_some_and(|progress| {
            let flush = progress.commit.as_ref().and_then(|commit| commit.flush.as_deref());
            progress.next == self.range.end && flush == Some(flush_id)
        })
    }
}

impl Work {
    /// The ids of the topics of those partitions of which they are known, by the partitions' application ids.
    pub(crate) fn topic_ids(&self) -> impl Iterator<Item = (&str, TopicId)> {
        self.claims.iter().filter_map(|claim| Some((claim.app_id.as_str(), claim.topic_id?)))
    }

    /// Checks what the types cannot: partitions are claimed once, and all rows that are encoded lie in
    /// their partition's range.
    pub(crate) fn check(&self, rows: Option<&Encoded>) -> Result<(), Fault> {
        let mut claims: HashMap<&Source, OffsetRange> = HashMap::new();
        for claim in &self.claims {
            if claims.insert(&claim.source, claim.range).is_some() {
                return Err(Fault::stop(format!("{} is claimed twice in a flush", claim.source)));
            }
        }
        for (source, low, high) in rows.map_or(&[][..], |rows| &rows.sources) {
            let Some(range) = claims.get(source) else {
                return Err(Fault::stop(format!("{source}: rows without a share")));
            };
            if !range.contains(*low) || !range.contains(*high) {
                return Err(Fault::stop(format!("a row of {source} lies outside of {range}")));
            }
        }
        Ok(())
    }
}

/// What a refused decision means for the caller; `None` if it is not refused.
pub(crate) fn refusal(source: &Source, range: OffsetRange, decision: Decision) -> Option<Fault> {
    match decision {
        Decision::Gap { missing } => {
            Some(Fault::stop(format!("{source}: nobody accounts for {missing}, which lies before {range}")))
        }
        Decision::Fenced { settled } => Some(Fault {
            advice: Advice::Yield,
            message: format!("{source}: settled at {settled} by another process, so {range} is not ours"),
        }),
        Decision::Superseded { by } => Some(superseded(source, by)),
        Decision::Append | Decision::AlreadyCommitted | Decision::Overlap { .. } => None,
    }
}

/// Another process has taken the partition over.
pub(crate) fn superseded(source: &Source, by: Epoch) -> Fault {
    Fault { advice: Advice::Yield, message: format!("{source}: taken over by another process in epoch {by}") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::CommitId;

    fn claim(settled: Settled, start: i64, end: i64) -> Claim {
        let source = Source { cluster: "k".parse().unwrap(), topic: "t".into(), partition: 0 };
        let range = OffsetRange::new(NextOffset(start), NextOffset(end));
        Claim { app_id: source.app_id(), source, range, settled, epoch: Some(Epoch(1)), topic_id: None }
    }

    fn at(next: i64, flush: Option<&str>) -> Progress {
        let commit = flush.map(|flush| CommitId {
            version: 1,
            flush: Some(flush.into()),
            versions: None,
            topic_ids: Arc::default(),
        });
        Progress { next: NextOffset(next), commit }
    }

    #[test]
    fn a_receipt_that_is_there_is_ours_only_if_its_commit_says_so() {
        let claim = claim(Settled::Here, 5, 9);
        let fenced = Decision::Fenced { settled: NextOffset(9) };
        let decide = |progress: Option<Progress>| claim.decide(progress.as_ref(), Epoch(1), "f");
        assert_eq!(decide(None), Decision::Append);
        assert_eq!(decide(Some(at(5, Some("e")))), Decision::Append);
        assert_eq!(decide(Some(at(9, Some("f")))), Decision::AlreadyCommitted);
        assert_eq!(decide(Some(at(9, Some("g")))), fenced);
        assert_eq!(decide(Some(at(9, None))), fenced);
        assert_eq!(decide(Some(at(7, Some("f")))), Decision::Fenced { settled: NextOffset(7) });
        assert!(matches!(decide(Some(at(3, None))), Decision::Gap { .. }));
        // Whoever came later has read what is there.
        let later = |progress: Progress| claim.decide(Some(&progress), Epoch(2), "f");
        assert_eq!(later(at(5, Some("e"))), Decision::Superseded { by: Epoch(2) });
        assert_eq!(later(at(9, Some("f"))), Decision::AlreadyCommitted);
    }
}
