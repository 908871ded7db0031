//! A home for a benchmark: pipelines, schemas, a policy and a site's configuration in a folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::dataset::{Dataset, SITES, Shape};

/// What is varied.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) dataset: Dataset,
    /// Topics; a pipeline of the same schema reads each.
    pub(crate) topics: Vec<String>,
    /// Zones among which the sites are divided: 1, 2 or 4.
    pub(crate) zones: usize,
    /// Lines of `site.yaml` beyond those that every home has.
    pub(crate) settings: String,
    /// Rules before the two of each site, none of which matches; one in six reads a column.
    pub(crate) more_rules: usize,
    /// Models beside the one that every home has, each with a condition on a column of machines' states.
    pub(crate) more_models: usize,
}

impl Home {
    /// A home as users have it: two zones, nothing set that has a default.
    pub(crate) fn new(dataset: Dataset) -> Self {
        Self {
            topics: vec![dataset.topic()],
            dataset,
            zones: 2,
            settings: String::new(),
            more_rules: 0,
            more_models: 0,
        }
    }

    /// The zone of a site, both by number.
    fn zone(&self, site: usize) -> usize {
        site * self.zones / SITES.len()
    }

    /// Writes all files into a folder; the site's configuration.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write(&self, folder: &Path, bootstrap: &str, group: &str) -> anyhow::Result<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (schema, file, device, model) = match self.dataset.shape {
            Shape::Value => ("bench.value", "benches/schemas/value.json", "device: key", "value > 0"),
            Shape::State => {
                ("cnc.state", "schemas/cnc.state/v1.json", "", "execution = 'ACTIVE' AND spindle_speed > 0")
            }
            Shape::Block => {
                ("cnc.waveform", "schemas/cnc.waveform/v1.json", "device: key", "sample_count >= 50")
            }
        };
        let schemas = folder.join("schemas").join(schema);
        fs::create_dir_all(&schemas)?;
        fs::copy(root.join(file), schemas.join("v1.json")).context(file)?;
        let mut names = Vec::new();
        for (number, topic) in self.topics.iter().enumerate() {
            let name = format!("bench-{number}");
            let pipeline = folder.join("pipelines").join(&name);
            fs::create_dir_all(&pipeline)?;
            fs::write(
                pipeline.join("pipeline.yaml"),
                format!(
                    "name: {name}\nscenario: process-optimization\ntopics: [{topic}]\nschema: {schema}/v1\n\
                     class: general\n{device}\n"
                ),
            )?;
            names.push(name);
        }
        fs::write(folder.join("pipelines/policy.yaml"), self.policy(&names, model)?)?;
        let key = folder.join("receipts-key.pem");
        if !key.exists() {
            situs_store::ReceiptKey::create(&key)?;
        }
        let site = folder.join("site.yaml");
        let stores: Vec<String> = (0..self.zones).map(|zone| format!("Z{zone}: data/z{zone}")).collect();
        fs::write(
            &site,
            format!(
                "home: {{ site: stuttgart-1, zone: Z{} }}\nkafka: {{ brokers: \"{bootstrap}\", group: {group} }}\n\
                 stores: {{ {} }}\nreceipts: {{ signing-key: receipts-key.pem }}\nlogs: {{ filter: warn }}\n{}\n",
                self.zone(1),
                stores.join(", "),
                self.settings
            ),
        )?;
        Ok(site)
    }

    fn policy(&self, pipelines: &[String], model: &str) -> Result<String, std::fmt::Error> {
        let mut text = String::from("zones:\n");
        let sites_of = |zone: usize| (0..SITES.len()).filter(move |site| self.zone(*site) == zone);
        for zone in 0..self.zones {
            let members: Vec<&str> = sites_of(zone).map(|site| SITES[site].0).collect();
            writeln!(text, "  Z{zone}: {{ jurisdictions: [{}] }}", members.join(", "))?;
        }
        writeln!(text, "sites:")?;
        for (site, (jurisdiction, id)) in SITES.iter().enumerate() {
            let topics = self.topics.join(", ");
            let devices: Vec<String> = (0..self.dataset.devices)
                .map(Dataset::device)
                .filter(|(_, at)| *at == site)
                .map(|(device, _)| device)
                .collect();
            writeln!(text, "  {id}:\n    jurisdiction: {jurisdiction}\n    topics: [{topics}]")?;
            writeln!(text, "    devices: [{}]", devices.join(", "))?;
        }
        writeln!(text, "rules:")?;
        for number in 0..self.more_rules {
            let site = number % SITES.len();
            let when = match number % 6 {
                0 => format!("when: _line = 'line-{number}'"),
                1 => format!("when: _site IN ('nowhere-{number}', 'nowhere')"),
                2 => "when: _class = 'core'".to_owned(),
                3 => format!("when: starts_with(_claimed, 'Z{number}')"),
                4 => "until: 2020-12-31".to_owned(),
                _ => format!("when: spindle_speed > {}", 1_000_000 + number),
            };
            writeln!(
                text,
                "  - id: more-{number}\n    jurisdictions: [{}]\n    {when}\n    zone: Z{}\n    basis: contract\n    \
                     reference: A reference.\n    training: in-zone",
                SITES[site].0,
                self.zone(site)
            )?;
        }
        for (site, (jurisdiction, _)) in SITES.iter().enumerate() {
            let zone = self.zone(site);
            let name = jurisdiction.to_lowercase();
            writeln!(
                text,
                "  - id: {name}-important\n    when: _jurisdiction = '{jurisdiction}' AND _class IN ('important', 'core', 'unclassified')\n    \
                     zone: Z{zone}\n    basis: law\n    reference: A reference.\n    training: in-zone\n  \
                 - id: {name}-general\n    when: _jurisdiction = '{jurisdiction}'\n    \
                     zone: Z{zone}\n    basis: contract\n    reference: A reference.\n    training: with-approval"
            )?;
        }
        writeln!(
            text,
            "models:\n  - id: wear\n    version: 1.0.0\n    owner: bench\n    purpose: Feeds on some of the records.\n    \
             pipelines: [{}]\n    where: {model}\n    markets: [CN, DE]",
            pipelines.join(", ")
        )?;
        for number in 0..self.more_models {
            writeln!(
                text,
                "  - id: more-{number}\n    version: 1.0.0\n    pipelines: [{}]\n    \
                     where: execution = 'ACTIVE' AND spindle_speed > {}\n    markets: [{}]",
                pipelines.join(", "),
                number * 500,
                SITES[number % SITES.len()].0
            )?;
        }
        Ok(text)
    }
}
