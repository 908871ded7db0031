//! Pipelines as they once were, from the texts that the home store keeps.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use situs_decode::Schema;
use situs_evidence::Judgement;
use situs_ingest::{Past, Stage};
use situs_model::store::{HomeStore, Text, Versions};
use situs_model::{ClusterName, ContentVersion, KeyRing, Pipeline, PipelineName, Source, ZoneId};
use situs_policy::Policy;
use situs_store::{Content, DeltaStore, QuarantineEntry, StoreReader};
use tokio::runtime::Handle;

use crate::catalog::{Catalog, Loaded, Texts};
use crate::release::{Judged, judge};

/// Today's definitions, for what was written before definitions were noted.
type Today = HashMap<PipelineName, String>;

fn today(pipelines: &[Loaded]) -> Today {
    let text = |loaded: &Loaded| (loaded.pipeline.name.clone(), loaded.texts.pipeline.clone());
    pipelines.iter().map(text).collect()
}

/// A pipeline and the policy by texts of these versions, which `archived` finds.
fn load(
    name: &PipelineName,
    versions: &Versions,
    today: &Today,
    archived: impl Fn(Text, &ContentVersion) -> Result<Option<String>, String>,
) -> Result<(Loaded, Arc<Policy>), String> {
    let text = |kind: Text, version: &ContentVersion| {
        let missing = || format!("the home store keeps no {kind} of version {version}");
        archived(kind, version)?.ok_or_else(missing)
    };
    let pipeline = match &versions.definition {
        Some(version) => text(Text::Pipeline, version)?,
        None => today.get(name).cloned().ok_or_else(|| format!("there is no pipeline `{name}`"))?,
    };
    let texts = Texts { pipeline, schema: text(Text::Schema, &versions.schema)? };
    let policy = text(Text::Policy, &versions.policy)?;
    let invalid = |problems: situs_model::doc::Diagnostics| problems.to_string();
    let file = |kind: Text, version: &str| format!("{kind} {version}");
    let pipeline = Pipeline::parse(&file(Text::Pipeline, name.as_str()), &texts.pipeline).map_err(invalid)?;
    let schema =
        Schema::parse(&file(Text::Schema, versions.schema.as_str()), &texts.schema, &pipeline.device)
            .map_err(invalid)?;
    let policy = Policy::parse(&file(Text::Policy, versions.policy.as_str()), &policy).map_err(invalid)?;
    let loaded = Loaded { folder: name.to_string(), pipeline, schema: Arc::new(schema), texts };
    Ok((loaded, Arc::new(policy)))
}

/// Reads the archive of the home store that a process writes.
#[derive(Debug)]
pub(crate) struct HomePast {
    home: Arc<DeltaStore>,
    today: Today,
    keys: Arc<KeyRing>,
    runtime: Handle,
}

impl HomePast {
    pub(crate) fn new(home: Arc<DeltaStore>, catalog: &Catalog, keys: Arc<KeyRing>, runtime: Handle) -> Self {
        Self { home, today: today(&catalog.pipelines), keys, runtime }
    }
}

impl Past for HomePast {
    /// Blocks; not to be called from within the runtime.
    fn stage(&self, name: &PipelineName, versions: &Versions) -> Result<Stage, String> {
        let archived = |kind, version: &ContentVersion| {
            self.runtime.block_on(self.home.archived(kind, version)).map_err(|error| error.to_string())
        };
        let (loaded, policy) = load(name, versions, &self.today, archived)?;
        loaded.stage(&policy, &self.keys).map_err(|problems| problems.to_string())
    }
}

/// Reads the archive of a home store without the right to write it.
#[derive(Debug)]
pub(crate) struct Archive {
    home: StoreReader,
    today: Today,
    cluster: ClusterName,
    /// The zones that have a store at this home.
    zones: BTreeSet<ZoneId>,
}

impl Archive {
    /// Of a pipeline that is not among today's, what was written before definitions were noted cannot be judged
    /// again.
    pub(crate) fn new(
        home: StoreReader,
        pipelines: &[Loaded],
        cluster: ClusterName,
        zones: BTreeSet<ZoneId>,
    ) -> Self {
        Self { home, today: today(pipelines), cluster, zones }
    }

    fn load(&self, name: &PipelineName, versions: &Versions) -> Result<(Loaded, Arc<Policy>), String> {
        let archived = |kind, version: &ContentVersion| {
            self.home.archived_text(kind, version).map_err(|error| error.to_string())
        };
        load(name, versions, &self.today, archived)
    }
}

impl situs_evidence::Past for Archive {
    fn judgement(&self, pipeline: &PipelineName, versions: &Versions) -> Result<Judgement, String> {
        let (loaded, policy) = self.load(pipeline, versions)?;
        Ok(Judgement { policy, facts: loaded.facts() })
    }

    fn reason(
        &self,
        entry: &QuarantineEntry,
        content: &Content,
        versions: &Versions,
    ) -> Result<Option<String>, String> {
        let name = entry.pipeline.parse().map_err(|_| "its pipeline has no name".to_owned())?;
        let (loaded, policy) = self.load(&name, versions)?;
        // Only the reason is asked for; the rows, if there are any, are thrown away.
        let keys = Arc::new(KeyRing::trial());
        let mut stage = loaded.stage(&policy, &keys).map_err(|problems| problems.to_string())?;
        let record = &entry.record;
        let source = Source {
            cluster: self.cluster.clone(),
            topic: record.topic.clone(),
            partition: record.partition,
        };
        match judge(&mut stage, source, entry, content, &self.zones) {
            Ok(Judged::Stays(reason)) => Ok(Some(reason)),
            Ok(Judged::Placed(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}
