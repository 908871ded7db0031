//! A real Apache Kafka on loopback, by the script of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::dataset::Dataset;

/// A broker with its data in a folder; both go when it is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    folder: tempfile::TempDir,
    /// `HOST:PORT`.
    pub(crate) bootstrap: String,
}

impl Broker {
    /// Fetches Kafka if need be, and starts it.
    ///
    /// # Errors
    /// With what the script says.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let bootstrap = script(folder.path(), &["start"])?.trim().to_owned();
        Ok(Self { folder, bootstrap })
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// With what the script says.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        self.topic_with(name, partitions, &[])
    }

    /// Creates a topic with settings of its own, each `KEY=VALUE`.
    ///
    /// # Errors
    /// With what the script says.
    pub(crate) fn topic_with(&self, name: &str, partitions: i32, settings: &[&str]) -> anyhow::Result<()> {
        let partitions = partitions.to_string();
        let words = [&["topic", name, &partitions], settings].concat();
        script(self.folder.path(), &words).map(drop)
    }

    /// Creates the topic of a dataset and fills it; the bytes of the payloads.
    ///
    /// # Errors
    /// If a message could not be delivered.
    pub(crate) fn fill(&self, dataset: Dataset) -> anyhow::Result<u64> {
        let topic = dataset.topic();
        self.topic(&topic, dataset.partitions)?;
        super::dataset::fill(&self.bootstrap, &topic, dataset)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What cannot be stopped is named by the script; there is nobody to tell.
        let _ = script(self.folder.path(), &["stop"]);
    }
}

fn script(folder: &Path, words: &[&str]) -> anyhow::Result<String> {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kafka/broker");
    let output = Command::new(&script)
        .args(words)
        .arg("--dir")
        .arg(folder)
        .output()
        .with_context(|| script.display().to_string())?;
    if !output.status.success() {
        bail!("{} {}: {}", script.display(), words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
