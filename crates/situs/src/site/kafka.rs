//! `kafka` in `site.yaml`: where it is, and the properties of its client.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use situs_ingest::{PropertyProblem, check_properties};
use situs_model::ClusterName;
use situs_model::doc::{Diagnostic, Diagnostics, Document, Map};
use situs_store::{SecretAccess, read_secret};

use super::key_file::KeyFile;
use super::place::Place;

/// Stands for a value that is not shown.
pub(crate) const MASK: &str = "********";

/// Settings of the Kafka client. Its debug text shows no value of a property.
#[derive(Clone)]
pub struct KafkaSettings {
    /// Alias of the cluster, part of every offset's name in the stores.
    pub cluster: ClusterName,
    /// `bootstrap.servers`.
    pub brokers: String,
    /// `group.id`.
    pub group: String,
    /// Any further property of librdkafka, as the site has it.
    pub properties: BTreeMap<String, String>,
    /// Properties whose values are in files.
    pub secrets: BTreeMap<String, KeyFile>,
    /// Where each of both is named.
    places: BTreeMap<String, Place>,
    /// Those of `properties` that are secret, and stand in the site itself.
    plain: Vec<String>,
    /// `kafka` itself.
    pub(super) place: Place,
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("cluster", &self.cluster)
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("properties", &self.properties.keys())
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// Properties that Situs sets itself, since exactly-once or the intake itself rests on them.
pub(super) const FIXED_PROPERTIES: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "isolation.level",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "statistics.interval.ms",
];

/// Parts of the names of properties whose values are secret. Rather one too many: all that follows is that a value
/// is not shown, and that it is said where it might stand better.
const SECRET_PARTS: &[&str] =
    &["password", "passphrase", "secret", "token", "jaas", "key.pem", "private.key"];

/// Whether the value of a property is secret, by its name.
pub(crate) fn is_secret(property: &str) -> bool {
    SECRET_PARTS.iter().any(|part| property.contains(part))
}

impl KafkaSettings {
    pub(super) fn read(doc: &Document, map: &Map<'_>, folder: &Path, access: SecretAccess) -> Option<Self> {
        let brokers = map.string("brokers");
        let group = map.string("group");
        let cluster = match map.optional("cluster") {
            Some(_) => map.parsed::<ClusterName>("cluster"),
            None => "kafka".parse().ok(),
        };
        let (mut properties, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        let (mut places, mut plain) = (BTreeMap::new(), Vec::new());
        for section in ["properties", "secrets"] {
            let Some(node) = map.optional(section) else { continue };
            for (key, value) in doc.entries(node, section) {
                let name = key.text().unwrap_or_default();
                if FIXED_PROPERTIES.contains(&name) {
                    doc.report(key, format!("`{name}` is set by Situs itself and cannot be changed here"));
                }
                let what =
                    if section == "secrets" { "the file of a secret" } else { "the value of a property" };
                let Some(text) = doc.text(value, what) else { continue };
                if section == "secrets" {
                    if properties.contains_key(name) {
                        doc.report(key, format!("`{name}` in secrets: it is in `properties` already"));
                    }
                    secrets.insert(name.to_owned(), KeyFile::new(doc, value, folder.join(text), access));
                } else {
                    properties.insert(name.to_owned(), text.to_owned());
                    // From the environment it is not in the file.
                    if is_secret(name) && value.written.is_none() {
                        plain.push(name.to_owned());
                    }
                }
                places.insert(name.to_owned(), Place::of(doc, key));
            }
        }
        let place = Place::of(doc, map.node());
        Some(Self {
            cluster: cluster?,
            brokers: brokers?,
            group: group?,
            properties,
            secrets,
            places,
            plain,
            place,
        })
    }

    /// All properties, those in files among them.
    ///
    /// # Errors
    /// What is wrong with a file, at the place that names it; nothing of what it holds is told.
    fn all_properties(&self) -> Result<BTreeMap<String, String>, Diagnostics> {
        let (mut properties, mut problems) = (self.properties.clone(), Vec::new());
        for (name, file) in &self.secrets {
            match secret_of(file) {
                Ok(value) => {
                    properties.insert(name.clone(), value);
                }
                Err(why) => problems.push(file.place.problem(format!("`{name}` in secrets: {why}"))),
            }
        }
        if problems.is_empty() { Ok(properties) } else { Err(Diagnostics(problems)) }
    }

    /// All properties, and that librdkafka knows them, takes their values and can use the files that they name.
    /// Nothing is connected to.
    ///
    /// # Errors
    /// What it has against a property, at its name; no value is told.
    pub fn checked_properties(&self) -> Result<BTreeMap<String, String>, Diagnostics> {
        let properties = self.all_properties()?;
        let told = |PropertyProblem { property, what }| {
            let Some(name) = property else { return self.place.problem(format!("kafka: {what}")) };
            let value = properties.get(&name).filter(|value| !value.is_empty());
            // librdkafka may quote what it refuses.
            let quotes = is_secret(&name) && value.is_some_and(|value| what.contains(value.as_str()));
            let what = if quotes { "librdkafka refuses its value" } else { &*what };
            self.place_of(&name).problem(format!("`{name}` in kafka: {what}"))
        };
        let problems: Vec<Diagnostic> = check_properties(&properties).into_iter().map(told).collect();
        if problems.is_empty() { Ok(properties) } else { Err(Diagnostics(problems)) }
    }

    /// Secrets that everybody reads who may read the site.
    pub(crate) fn warnings(&self) -> Vec<Diagnostic> {
        let warn = |name: &String| {
            self.place_of(name).problem(format!(
                "`{name}` stands in plain text in the site: name a file that holds it in `kafka.secrets`"
            ))
        };
        self.plain.iter().map(warn).collect()
    }

    /// Where a property is named.
    pub(super) fn place_of(&self, property: &str) -> &Place {
        self.places.get(property).unwrap_or(&self.place)
    }
}

/// What a file holds, without the end of its last line.
fn secret_of(file: &KeyFile) -> Result<String, String> {
    let bytes = read_secret(&file.path, file.access).map_err(|error| file.told(&error))?;
    let path = file.path.display();
    let mut text = String::from_utf8(bytes).map_err(|_| format!("{path}: it is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(format!("{path}: it is empty"));
    }
    if text.contains('\0') {
        return Err(format!("{path}: it holds a NUL character, which no property can have"));
    }
    Ok(text)
}
