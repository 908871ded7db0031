//! `pseudonym-keys` in `site.yaml`: the secret keys of zones, with which classed fields are masked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use situs_model::doc::{Diagnostics, Document, Map};
use situs_model::{KeyRing, ZoneId};
use situs_store::SecretAccess;

use super::place::Place;
use super::{KeyFile, Site};
use crate::catalog::{Catalog, Loaded};

/// The files of the zones' keys, and where the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PseudonymKeys {
    files: BTreeMap<ZoneId, KeyFile>,
    /// Where a key that is missing is told: at `pseudonym-keys`, or else at `stores`.
    place: Place,
}

impl PseudonymKeys {
    /// Reads `pseudonym-keys` of the site.
    pub(super) fn read(doc: &Document, site: &Map<'_>, folder: &Path, access: SecretAccess) -> Self {
        let node = site.optional("pseudonym-keys");
        let mut files = BTreeMap::new();
        for (key, value) in node.iter().flat_map(|node| doc.entries(node, "pseudonym-keys")) {
            let zone = doc.parsed::<ZoneId>(key, "a key of `pseudonym-keys`");
            let path = doc
                .text(value, "the file of a key")
                .map(|path| KeyFile::new(doc, value, folder.join(path), access));
            files.extend(zone.zip(path));
        }
        let place = node.or_else(|| site.optional("stores")).unwrap_or(site.node());
        Self { files, place: Place::of(doc, place) }
    }

    /// The zones that have a key, with its file.
    pub(super) fn files(&self) -> impl Iterator<Item = (&ZoneId, &KeyFile)> {
        self.files.iter()
    }

    /// The zones that have a key.
    pub fn zones(&self) -> impl Iterator<Item = &ZoneId> {
        self.files.keys()
    }
}

impl Site {
    /// The pipelines of a catalog that run here.
    pub(crate) fn running<'a>(&self, catalog: &'a Catalog) -> impl Iterator<Item = &'a Loaded> {
        let runs = |name| self.enabled.is_empty() || self.enabled.contains(name);
        catalog.pipelines.iter().filter(move |loaded| runs(&loaded.pipeline.name))
    }

    /// Reads the keys of all zones that have one. No two may have the same: a person would have the same pseudonym
    /// in both.
    ///
    /// # Errors
    /// What is wrong with a file, at the place that names it, and each key that a pipeline which runs here
    /// needs and that is not named.
    pub fn key_ring(&self, catalog: &Catalog) -> Result<Arc<KeyRing>, Diagnostics> {
        let (mut keys, mut problems) = (BTreeMap::new(), Vec::new());
        for (zone, file) in &self.pseudonym_keys.files {
            match situs_store::read_field_key(&file.path, file.access) {
                Ok(key) => {
                    if let Some((other, _)) = keys.iter().find(|(_, known)| **known == key) {
                        problems.push(file.place.problem(format!(
                            "`{zone}` in pseudonym-keys has the key of `{other}`: each zone needs one of its own, \
                             which `situs store pseudonym-key FILE` makes"
                        )));
                    }
                    keys.insert(zone.clone(), key);
                }
                Err(error) => {
                    let why = file.told(&error);
                    problems.push(file.place.problem(format!("`{zone}` in pseudonym-keys: {why}")))
                }
            }
        }
        let stores: BTreeSet<ZoneId> = self.stores.keys().cloned().collect();
        let mut missing: BTreeMap<ZoneId, Vec<&str>> = BTreeMap::new();
        for loaded in self.running(catalog) {
            let masks = catalog.policy.masks(loaded.schema.arrow_schema().clone(), Arc::default());
            for zone in masks.zones_that_need_keys(&stores) {
                if !self.pseudonym_keys.files.contains_key(&zone) {
                    missing.entry(zone).or_default().push(loaded.pipeline.name.as_str());
                }
            }
        }
        for (zone, pipelines) in missing {
            problems.push(self.pseudonym_keys.place.problem(format!(
                "`pseudonym-keys` needs a key `{zone}`, a file that `situs store pseudonym-key FILE` makes: \
                 fields of {} are masked with it",
                pipelines.join(", ")
            )));
        }
        if problems.is_empty() { Ok(Arc::new(KeyRing::new(keys))) } else { Err(Diagnostics(problems)) }
    }
}
