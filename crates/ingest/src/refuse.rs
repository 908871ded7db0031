//! Topics that are not those any more that they were: what is assigned of them is refused, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use situs_model::planted::{self, Bug};
use situs_model::store::{Tenure, Unsettled};
use situs_model::{NextOffset, Source};

use crate::client::{Client, ClientError, IDS_TIMEOUT, Told};
use crate::error::IngestError;
use crate::intake::Intake;

impl<C: Client> Intake<'_, C> {
    /// Reads nothing of a partition that is assigned, as long as it is. All others go on.
    pub(crate) fn refuse(&mut self, source: Source, reason: IngestError) {
        tracing::error!(
            event = "partition-refused",
            topic = &*source.topic,
            partition = source.partition,
            "{reason}"
        );
        self.wait_no_more(std::slice::from_ref(&source));
        self.refused.insert(source, reason);
        self.count_refused();
    }

    /// Forgets that partitions were refused, which were taken away.
    pub(crate) fn refuse_no_more(&mut self, gone: impl Fn(&Source) -> bool) {
        self.refused.retain(|source, _| !gone(source));
        self.count_refused();
    }

    fn count_refused(&self) {
        self.metrics.refused_partitions.set(i64::try_from(self.refused.len()).unwrap_or(i64::MAX));
    }

    /// What the broker says of the topics of partitions.
    pub(crate) fn ids_of(&mut self, sources: &[Source]) -> Result<BTreeMap<Arc<str>, Told>, ClientError> {
        let names: BTreeSet<Arc<str>> = sources.iter().map(|source| source.topic.clone()).collect();
        let names = Vec::from_iter(names);
        let told = self.client.topic_ids(&names, IDS_TIMEOUT)?;
        for (name, told) in names.iter().zip(&told) {
            match told {
                Told::NoId if self.without_ids.insert(name.clone()) => tracing::warn!(
                    event = "no-topic-id",
                    topic = &**name,
                    "the broker does not tell the topic's id: that the topic was deleted and created again is \
                     noticed only if its offsets go back"
                ),
                Told::NoId | Told::NoTopic => {}
                Told::Id(_) => drop(self.without_ids.remove(name)),
            }
        }
        Ok(names.into_iter().zip(told).collect())
    }

    /// Refuses partitions of which something is stored that is of another topic than the broker has now. The
    /// tenures of the others get the id of the topic that they are about to read.
    pub(crate) fn compare_ids(
        &mut self,
        told: &BTreeMap<Arc<str>, Told>,
        tenures: &mut BTreeMap<Source, Tenure>,
        unsettled: &[(Source, Unsettled)],
    ) {
        let mut refusals = Vec::new();
        tenures.retain(|source, tenure| {
            // Otherwise what was known before is all that is known.
            let Some(Told::Id(now)) = told.get(&source.topic).copied() else { return true };
            let unsettled = unsettled.iter().filter(|(of, _)| of == source);
            let mut stored = unsettled.filter_map(|(_, found)| found.topic_id).chain(tenure.topic_id);
            if let Some(before) = stored.find(|id| *id != now && !planted::is(Bug::TrustTopicNames)) {
                refusals.push((source.clone(), before, now));
                return false;
            }
            tenure.topic_id = tenure.topic_id.or(Some(now));
            true
        });
        for (source, before, now) in refusals {
            self.refuse(source.clone(), IngestError::Recreated { partition: source, before, now });
        }
    }

    /// Looks for partitions whose offsets have gone back: their topics were deleted and created again, or the
    /// broker has lost records. Nothing is given up of which a flush is under way: it may settle yet.
    pub(crate) fn look_for_regressions(&mut self) -> Result<(), IngestError> {
        let went_back = self.partitions.iter().filter_map(|partition| {
            let offset = partition.position.went_back().filter(|_| !self.flushing[partition.stage])?;
            let next = NextOffset(partition.position.next().unwrap_or_default());
            Some((partition.source.clone(), partition.tenure.topic_id.is_some(), offset, next))
        });
        for (partition, has_id, offset, next) in Vec::from_iter(went_back) {
            let known = has_id && !self.without_ids.contains(&partition.topic);
            // It is taken over again after a while, and then its topic's id tells what it is.
            self.give_up(std::slice::from_ref(&partition))?;
            let reason = IngestError::OffsetRegression { partition: partition.clone(), offset, next };
            if known {
                tracing::warn!(event = "offsets-went-back", "{reason}");
            } else {
                self.refuse(partition, reason);
            }
        }
        Ok(())
    }
}
