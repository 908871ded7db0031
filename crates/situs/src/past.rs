//! Pipelines as they once were, from the texts that the home store keeps.

use std::collections::HashMap;
use std::sync::Arc;

use situs_decode::Schema;
use situs_ingest::{Past, Stage};
use situs_model::store::{HomeStore, Text, Versions};
use situs_model::{ContentVersion, Pipeline, PipelineName};
use situs_policy::Policy;
use situs_store::DeltaStore;
use tokio::runtime::Handle;

use crate::catalog::{Catalog, Loaded, Texts};

/// Reads the home store's archive.
#[derive(Debug)]
pub(crate) struct HomePast {
    home: Arc<DeltaStore>,
    /// Today's definitions, for commits of a release that did not note them.
    today: HashMap<PipelineName, String>,
    runtime: Handle,
}

impl HomePast {
    pub(crate) fn new(home: Arc<DeltaStore>, catalog: &Catalog, runtime: Handle) -> Self {
        let text = |loaded: &Loaded| (loaded.pipeline.name.clone(), loaded.texts.pipeline.clone());
        Self { home, today: catalog.pipelines.iter().map(text).collect(), runtime }
    }

    fn text(&self, kind: Text, version: &ContentVersion) -> Result<String, String> {
        match self.runtime.block_on(self.home.archived(kind, version)) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(format!("the home store keeps no {kind} of version {version}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Past for HomePast {
    /// Blocks; not to be called from within the runtime.
    fn stage(&self, name: &PipelineName, versions: &Versions) -> Result<Stage, String> {
        let pipeline = match &versions.definition {
            Some(version) => self.text(Text::Pipeline, version)?,
            None => self.today.get(name).cloned().ok_or_else(|| format!("there is no pipeline `{name}`"))?,
        };
        let texts = Texts { pipeline, schema: self.text(Text::Schema, &versions.schema)? };
        let policy = self.text(Text::Policy, &versions.policy)?;
        let invalid = |problems: situs_model::doc::Diagnostics| problems.to_string();
        let file = |kind: Text, version: &str| format!("{kind} {version}");
        let pipeline =
            Pipeline::parse(&file(Text::Pipeline, name.as_str()), &texts.pipeline).map_err(invalid)?;
        let schema =
            Schema::parse(&file(Text::Schema, versions.schema.as_str()), &texts.schema, &pipeline.device)
                .map_err(invalid)?;
        let policy =
            Policy::parse(&file(Text::Policy, versions.policy.as_str()), &policy).map_err(invalid)?;
        let loaded = Loaded { folder: name.to_string(), pipeline, schema: Arc::new(schema), texts };
        loaded.stage(&Arc::new(policy)).map_err(invalid)
    }
}
