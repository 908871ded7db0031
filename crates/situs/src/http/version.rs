//! What this build is, and by which configuration it runs.

use serde_json::{Map, Value, json};
use situs_model::ContentVersion;

use crate::catalog::Catalog;
use crate::site::Site;

/// A hash of the settings and of the pipelines and schemas that they lead to, with the policy of the start:
/// two processes of one build that give the same run by the same. Secrets are left out, since whoever knows
/// everything else could find a weak one by its hash.
pub(crate) fn config_hash(site: &Site, catalog: &Catalog) -> ContentVersion {
    // Every key, with secrets masked.
    let mut text = format!("{}\n{}\n", site.effective(), catalog.policy.version());
    for loaded in &catalog.pipelines {
        let (pipeline, schema) = (&loaded.pipeline.version, loaded.schema.version());
        text.push_str(&format!("{} {pipeline} {schema}\n", loaded.pipeline.name));
    }
    ContentVersion::of(text.as_bytes())
}

/// As programs read it.
pub(crate) fn as_json(config: &ContentVersion) -> Value {
    let dependencies: Map<String, Value> = env!("SITUS_DEPENDENCIES")
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, version)| (name.to_owned(), json!(version)))
        .collect();
    let commit = Some(env!("SITUS_COMMIT")).filter(|commit| !commit.is_empty());
    json!({
        "name": "situs",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": commit,
        "rustc": env!("SITUS_RUSTC"),
        "dependencies": dependencies,
        "config": config.as_str(),
    })
}
