//! What is the same in all workers' stages of a pipeline, and the flushes that are made by it.

use arrow_schema::SchemaRef;
use situs_model::store::{FlushFacts, Share, Tenure, Versions};
use situs_model::{ContentVersion, Pipeline, Source};
use situs_policy::Judge;
use uuid::Uuid;

use crate::buffer::Buffer;
use crate::flush::Job;
use crate::stage::Stage;

/// What is the same in all workers' stages of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) pipeline: Pipeline,
    policy: ContentVersion,
    schema: ContentVersion,
    /// Those of its rows.
    pub(crate) columns: SchemaRef,
}

impl Definition {
    pub(crate) fn of(stage: &Stage) -> Self {
        Self {
            pipeline: stage.pipeline().clone(),
            policy: stage.policy_version().clone(),
            schema: stage.schema_version().clone(),
            columns: stage.columns().clone(),
        }
    }

    /// Whether a judge gives the rows that this pipeline writes.
    pub(crate) fn fits(&self, judge: &Judge) -> bool {
        *judge.pipeline() == self.pipeline.name && judge.schema() == &self.columns
    }

    /// From now on rows are judged by this policy.
    pub(crate) fn judged_by(&mut self, policy: ContentVersion) {
        self.policy = policy;
    }

    /// A flush with this id of what there is, each partition's share by its owner.
    pub(crate) fn job(&self, buffer: Buffer, id: Uuid, tenure: impl Fn(&Source) -> Tenure) -> Job {
        let bytes = buffer.bytes();
        let shares = buffer.shares.into_iter().map(|(source, share)| {
            let Tenure { epoch, settled, topic_id } = tenure(&source);
            (Share { source, range: share.range, settled, epoch, topic_id }, share.counts, share.notes)
        });
        Job {
            facts: FlushFacts {
                flush_id: id.to_string(),
                pipeline: self.pipeline.name.clone(),
                policy: self.policy.clone(),
                schema: self.schema.clone(),
                definition: self.pipeline.version.clone(),
            },
            table: self.pipeline.table(),
            shares: shares.collect(),
            resident: buffer.resident,
            quarantined: buffer.quarantined,
            bytes,
            newest_broker_ms: buffer.newest_broker_ms,
        }
    }

    /// Whether rows that were made by these texts are the same as this pipeline's today.
    pub(crate) fn is_of(&self, versions: &Versions) -> bool {
        versions.may_be(&Versions {
            policy: self.policy.clone(),
            schema: self.schema.clone(),
            definition: Some(self.pipeline.version.clone()),
        })
    }
}
