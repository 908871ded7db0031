//! Pipelines, schemas and policy, loaded and checked against each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use situs_decode::Schema;
use situs_ingest::Stage;
use situs_model::doc::{Diagnostic, Diagnostics, nearest, whole_file};
use situs_model::store::Text;
use situs_model::{ContentVersion, Date, KeyRing, Pipeline};
use situs_policy::{PipelineFacts, Policy, Readers, TableFacts};

use crate::library::Library;

/// A pipeline with its schema.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The folder's name in the library.
    pub folder: String,
    /// The definition.
    pub pipeline: Pipeline,
    /// Its schema.
    pub schema: Arc<Schema>,
    /// The texts that both were read from.
    pub texts: Texts,
}

/// The texts of a pipeline.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Of its definition.
    pub pipeline: String,
    /// Of its schema.
    pub schema: String,
}

impl Loaded {
    /// What the policy needs to know of the pipeline.
    pub fn facts(&self) -> PipelineFacts {
        PipelineFacts {
            name: self.pipeline.name.clone(),
            scenario: self.pipeline.scenario,
            class: self.pipeline.class,
            topics: self.pipeline.topics.clone(),
            schema: self.schema.arrow_schema().clone(),
            device_column: self.schema.device_column().map(str::to_owned),
            claim_columns: self.schema.claim_columns().to_vec(),
        }
    }

    /// The pipeline ready to run under `policy`, with the keys that its fields are masked with.
    ///
    /// # Errors
    /// If the policy's expressions do not fit the pipeline's columns.
    pub fn stage(&self, policy: &Arc<Policy>, keys: &Arc<KeyRing>) -> Result<Stage, Diagnostics> {
        let judge = policy.judge(&self.facts())?;
        Ok(Stage::new(self.pipeline.clone(), self.schema.clone(), judge, keys.clone()))
    }
}

/// Everything that a library holds, valid together.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The pipelines, by folder.
    pub pipelines: Vec<Loaded>,
    /// The policy.
    pub policy: Arc<Policy>,
    /// Who may read; `None` if nobody but the owner of the files does.
    pub readers: Option<Arc<Readers>>,
}

impl Catalog {
    /// Loads everything and checks it. Every problem is reported, not only the first.
    ///
    /// # Errors
    /// All problems, by file and place.
    pub fn load(library: &Library) -> Result<Self, Diagnostics> {
        let (pipelines, mut problems) = load_pipelines(library);
        let readers = library.readers().unwrap_or_else(|more| {
            problems.extend(more.0);
            None
        });
        match library.policy() {
            Ok(policy) => Self::together(pipelines, policy, readers.map(Arc::new), problems),
            Err(more) => Err(sorted(problems.into_iter().chain(more.0).collect())),
        }
    }

    /// The same with another policy.
    ///
    /// # Errors
    /// All problems of the policy with the pipelines and readers.
    pub fn with_policy(&self, policy: Policy) -> Result<Self, Diagnostics> {
        Self::together(self.pipelines.clone(), policy, self.readers.clone(), Vec::new())
    }

    fn together(
        pipelines: Vec<Loaded>,
        policy: Policy,
        readers: Option<Arc<Readers>>,
        mut problems: Vec<Diagnostic>,
    ) -> Result<Self, Diagnostics> {
        let policy = Arc::new(policy);
        let facts: Vec<PipelineFacts> = pipelines.iter().map(Loaded::facts).collect();
        problems.extend(readers.iter().flat_map(|readers| readers.check(&policy, &facts)));
        problems.extend(policy.check(&facts));
        if problems.is_empty() {
            for facts in &facts {
                if let Err(more) = policy.judge(facts) {
                    problems.extend(more.0);
                }
            }
        }
        if problems.is_empty() { Ok(Self { pipelines, policy, readers }) } else { Err(sorted(problems)) }
    }

    /// What is allowed in the policy and hardly meant, on this day.
    pub fn lint(&self, today: Date) -> Vec<Diagnostic> {
        let facts: Vec<PipelineFacts> = self.pipelines.iter().map(Loaded::facts).collect();
        let mut warnings = self.policy.lint(&facts, today);
        warnings.extend(self.readers.iter().flat_map(|readers| readers.lint(&self.policy, &facts)));
        warnings
    }

    /// Every table that may be in a store, as the policies of readers see them.
    pub fn tables(&self) -> Vec<TableFacts> {
        let facts: Vec<PipelineFacts> = self.pipelines.iter().map(Loaded::facts).collect();
        TableFacts::all(&self.policy, &facts)
    }

    /// All texts by their versions.
    pub fn texts(&self) -> impl Iterator<Item = (Text, &ContentVersion, &str)> {
        let policy = (Text::Policy, self.policy.version(), self.policy.text());
        let of_pipelines = self.pipelines.iter().flat_map(|loaded| {
            [
                (Text::Pipeline, &loaded.pipeline.version, loaded.texts.pipeline.as_str()),
                (Text::Schema, loaded.schema.version(), loaded.texts.schema.as_str()),
            ]
        });
        let readers = self.readers.iter().map(|readers| (Text::Readers, readers.version(), readers.text()));
        std::iter::once(policy).chain(of_pipelines).chain(readers)
    }

    /// The pipeline of this name.
    ///
    /// # Errors
    /// A text that lists the names and suggests the nearest.
    pub fn pipeline(&self, name: &str) -> anyhow::Result<&Loaded> {
        self.pipelines.iter().find(|loaded| loaded.pipeline.name.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> =
                self.pipelines.iter().map(|loaded| loaded.pipeline.name.as_str()).collect();
            let hint = nearest(name, names.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            anyhow::anyhow!("there is no pipeline `{name}` (there are {}){hint}", names.join(", "))
        })
    }
}

fn sorted(mut problems: Vec<Diagnostic>) -> Diagnostics {
    problems.sort();
    problems.dedup();
    Diagnostics(problems)
}

/// All pipelines of a library that can be read, by folder, and the problems of the others.
pub(crate) fn load_pipelines(library: &Library) -> (Vec<Loaded>, Vec<Diagnostic>) {
    let (mut pipelines, mut problems) = (Vec::new(), Vec::new());
    match library.pipeline_folders() {
        Ok(folders) => {
            if folders.is_empty() {
                problems.push(whole_file("pipelines", "no folder in it holds a pipeline.yaml"));
            }
            for folder in folders {
                match load_pipeline(library, &folder) {
                    Ok(loaded) => pipelines.push(loaded),
                    Err(more) => problems.extend(more),
                }
            }
        }
        Err(problem) => problems.push(problem),
    }
    problems.extend(topics_read_twice(&pipelines));
    (pipelines, problems)
}

fn load_pipeline(library: &Library, folder: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let text = library.pipeline(folder).map_err(|problem| vec![problem])?;
    let pipeline = Pipeline::parse(&text.name, &text.text).map_err(|problems| problems.0)?;
    if pipeline.name.as_str() != folder {
        return Err(vec![whole_file(
            &text.name,
            format!(
                "the pipeline's name is `{}` but its folder is `{folder}`; they must agree",
                pipeline.name
            ),
        )]);
    }
    let schema = library.schema(&pipeline.schema).map_err(|problem| vec![problem])?;
    let texts = Texts { pipeline: text.text, schema: schema.text };
    let schema =
        Schema::parse(&schema.name, &texts.schema, &pipeline.device).map_err(|problems| problems.0)?;
    Ok(Loaded { folder: folder.to_owned(), pipeline, schema: Arc::new(schema), texts })
}

fn topics_read_twice(pipelines: &[Loaded]) -> Vec<Diagnostic> {
    let mut readers: BTreeMap<&str, Vec<&Loaded>> = BTreeMap::new();
    for loaded in pipelines {
        for topic in &loaded.pipeline.topics {
            readers.entry(topic).or_default().push(loaded);
        }
    }
    readers
        .into_iter()
        .filter(|(_, readers)| readers.len() > 1)
        .map(|(topic, readers)| {
            let names: Vec<&str> = readers.iter().map(|loaded| loaded.pipeline.name.as_str()).collect();
            whole_file(
                &format!("pipelines/{}/pipeline.yaml", readers[1].folder),
                format!("topic `{topic}` is read by {}; a topic has one pipeline", names.join(" and ")),
            )
        })
        .collect()
}
