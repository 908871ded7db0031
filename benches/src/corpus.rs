//! The messages that benchmarks work on: the same bytes in every run, in the shapes and sizes of real ones.

pub(crate) mod random;
pub(crate) mod shapes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use situs_decode::Schema;
use situs_model::DeviceSource;

/// Messages of one kind.
#[derive(Debug)]
pub(crate) struct Corpus {
    /// Its name in results.
    pub(crate) name: String,
    /// The schema's file.
    pub(crate) schema: PathBuf,
    /// Where the device id comes from.
    pub(crate) device: DeviceSource,
    /// The payloads.
    pub(crate) messages: Vec<Vec<u8>>,
    /// How many of them are malformed, where that is known.
    pub(crate) malformed: Option<usize>,
}

/// The key of every message.
pub(crate) const KEY: &str = "st-cnc-001";

/// The bytes of a corpus: as many as a partition's batch holds in a busy plant, and more than the caches.
const BYTES: usize = 4 << 20;

impl Corpus {
    /// All corpora that are made here.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::state(),
            Self::value(),
            Self::reading(),
            Self::shapes(),
            Self::random_order(),
            Self::observation(),
            Self::block(),
            Self::series(),
            Self::malformed(),
            Self::state_lists(),
        ]
    }

    /// The lines of a file, with a schema; without ids in the payload the key gives the device.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn of_file(file: &Path, schema: &Path) -> anyhow::Result<Self> {
        let shown = || file.display().to_string();
        let text = std::fs::read(file).with_context(shown)?;
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        let lines: Vec<Vec<u8>> = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        // A small file is repeated, so that a pass is more than the cost of starting it.
        let bytes: usize = lines.iter().map(Vec::len).sum();
        anyhow::ensure!(bytes > 0, "{}: no message", shown());
        let messages = lines.iter().cycle().take(lines.len() * (BYTES / bytes).max(1)).cloned().collect();
        let schema_text = std::fs::read_to_string(schema).with_context(|| schema.display().to_string())?;
        let compiled = Schema::parse(&schema.display().to_string(), &schema_text, &DeviceSource::Payload)?;
        Ok(Self {
            name: file.file_name().map_or_else(shown, |name| name.to_string_lossy().into_owned()),
            schema: schema.to_owned(),
            device: if compiled.device_column().is_some() {
                DeviceSource::Payload
            } else {
                DeviceSource::Key
            },
            messages,
            malformed: None,
        })
    }

    /// Whether it is made here, so that it is known what becomes of its messages.
    pub(crate) fn is_made(&self) -> bool {
        self.schema.starts_with(env!("CARGO_MANIFEST_DIR"))
    }

    /// The bytes of all payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.iter().map(Vec::len).sum()
    }

    /// The schema's text.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn schema_text(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.schema).with_context(|| self.schema.display().to_string())
    }

    /// The compiled schema.
    ///
    /// # Errors
    /// If the file cannot be read or has problems.
    pub(crate) fn compiled(&self) -> anyhow::Result<Arc<Schema>> {
        let file = self.schema.display().to_string();
        Ok(Arc::new(Schema::parse(&file, &self.schema_text()?, &self.device)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora_are_what_they_say() {
        let sizes = [
            430..450,
            44..48,
            130..150,
            300..450,
            430..450,
            165..195,
            28_000..32_000,
            50_000..54_000,
            430..450,
            430..450,
        ];
        for (corpus, size) in Corpus::all().iter().zip(sizes) {
            let mean = corpus.bytes() / corpus.messages.len();
            assert!(size.contains(&mean), "{}: {mean}", corpus.name);
            let is_json = |text: &&Vec<u8>| serde_json::from_slice::<serde_json::Value>(text).is_ok();
            let malformed = corpus.messages.len() - corpus.messages.iter().filter(is_json).count();
            assert_eq!(malformed, corpus.malformed.unwrap_or(0), "{}", corpus.name);
            assert!(corpus.compiled().is_ok());
        }
        assert_eq!(Corpus::state().messages, Corpus::state().messages);
    }
}
