//! Where definitions come from: folders on disk, or the ones that ship inside the binary.

mod devices;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use situs_model::doc::{Diagnostic, Diagnostics, whole_file};
use situs_policy::{DevicesFile, Policy, Readers};

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// A set of pipelines, schemas and a policy.
#[derive(Debug, Clone)]
pub enum Library {
    /// Folders and a file.
    Disk {
        /// Holds one folder per pipeline.
        pipelines: PathBuf,
        /// Holds one folder per topic.
        schemas: PathBuf,
        /// The policy.
        policy: PathBuf,
    },
    /// The definitions that ship.
    Shipped,
}

/// A text and the name to show for it.
#[derive(Debug, Clone)]
pub struct Text {
    /// Path as the user may find it.
    pub name: String,
    /// The content.
    pub text: String,
}

impl Library {
    /// The folders named by the user; without them `./pipelines` and `./schemas` if they exist, else
    /// what ships.
    pub fn choose(pipelines: Option<&Path>, schemas: Option<&Path>, policy: Option<&Path>) -> Self {
        let here = Path::new("pipelines").is_dir() && Path::new("schemas").is_dir();
        if !here && pipelines.is_none() && schemas.is_none() && policy.is_none() {
            return Self::Shipped;
        }
        let pipelines = pipelines.map_or_else(|| PathBuf::from("pipelines"), Path::to_path_buf);
        Self::Disk {
            schemas: schemas.map_or_else(
                || pipelines.parent().unwrap_or(Path::new("")).join("schemas"),
                Path::to_path_buf,
            ),
            policy: policy.map_or_else(|| pipelines.join("policy.yaml"), Path::to_path_buf),
            pipelines,
        }
    }

    /// Names of the pipelines' folders, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn pipeline_folders(&self) -> Result<Vec<String>, Diagnostic> {
        let mut names = BTreeSet::new();
        match self {
            Self::Disk { pipelines, .. } => {
                for entry in read_dir(pipelines)? {
                    if entry.join("pipeline.yaml").is_file() {
                        names.extend(entry.file_name().map(|name| name.to_string_lossy().into_owned()));
                    }
                }
            }
            Self::Shipped => names.extend(FILES.iter().filter_map(|(path, _)| {
                Some(path.strip_prefix("pipelines/")?.strip_suffix("/pipeline.yaml")?.to_owned())
            })),
        }
        Ok(names.into_iter().collect())
    }

    /// The definition of a pipeline.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pipeline(&self, folder: &str) -> Result<Text, Diagnostic> {
        match self {
            Self::Disk { pipelines, .. } => read(&pipelines.join(folder).join("pipeline.yaml")),
            Self::Shipped => shipped(&format!("pipelines/{folder}/pipeline.yaml")),
        }
    }

    /// A pipeline's cases, sorted by name.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn cases(&self, folder: &str) -> Result<Vec<Text>, Diagnostic> {
        match self {
            Self::Disk { pipelines, .. } => {
                let folder = pipelines.join(folder).join("cases");
                if !folder.is_dir() {
                    return Ok(Vec::new());
                }
                let paths = read_dir(&folder)?;
                paths
                    .iter()
                    .filter(|path| path.extension().is_some_and(|e| e == "json"))
                    .map(|p| read(p))
                    .collect()
            }
            Self::Shipped => {
                let prefix = format!("pipelines/{folder}/cases/");
                FILES
                    .iter()
                    .filter(|(path, _)| path.starts_with(&prefix))
                    .map(|(path, _)| shipped(path))
                    .collect()
            }
        }
    }

    /// A schema, by its path without ending such as `cnc.state/v1`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn schema(&self, path: &str) -> Result<Text, Diagnostic> {
        match self {
            Self::Disk { schemas, .. } => read(&schemas.join(format!("{path}.json"))),
            Self::Shipped => shipped(&format!("schemas/{path}.json")),
        }
    }

    /// The files that the policy is read from; none if it is the one that ships.
    pub(crate) fn policy_files(&self) -> Vec<PathBuf> {
        let Self::Disk { policy, .. } = self else { return Vec::new() };
        let folder = policy.parent().unwrap_or(Path::new(""));
        let named = fs::read_to_string(policy).map(|text| Policy::devices_files(&text)).unwrap_or_default();
        std::iter::once(policy.clone()).chain(named.iter().map(|name| folder.join(name))).collect()
    }

    /// The policy, with the files of devices that it names.
    ///
    /// # Errors
    /// If one of them cannot be read, and every problem in them that can be seen without the pipelines.
    pub fn policy(&self) -> Result<Policy, Diagnostics> {
        match self {
            Self::Disk { policy, .. } => read_policy(policy),
            Self::Shipped => {
                let text = shipped("pipelines/policy.yaml").map_err(|problem| Diagnostics(vec![problem]))?;
                with_files(&text, |name| {
                    let file = shipped(&format!("pipelines/{name}"))
                        .map_err(|problem| Diagnostics(vec![problem]))?;
                    DevicesFile::csv(name, &file.text)
                })
            }
        }
    }

    /// The readers with their policies; `None` if there are no such files, and so nobody but the owner of the
    /// files reads.
    ///
    /// # Errors
    /// If one of the files is there and the other not, or cannot be read, and every problem in them that can
    /// be seen without policy and pipelines.
    pub fn readers(&self) -> Result<Option<Readers>, Diagnostics> {
        let texts = READERS.map(|name| match self {
            Self::Disk { policy, .. } => {
                let path = policy.parent().unwrap_or(Path::new("")).join(name);
                // A link that leads nowhere is a file that cannot be read, not one that is not there.
                path.symlink_metadata().is_ok().then(|| read(&path))
            }
            Self::Shipped => Some(shipped(&format!("pipelines/{name}"))),
        });
        match texts {
            [None, None] => Ok(None),
            [Some(readers), Some(cedar)] => match (readers, cedar) {
                (Ok(readers), Ok(cedar)) => {
                    Readers::parse_files(&readers.name, &readers.text, &cedar.name, &cedar.text).map(Some)
                }
                (readers, cedar) => Err(Diagnostics(readers.err().into_iter().chain(cedar.err()).collect())),
            },
            [Some(there), None] | [None, Some(there)] => {
                let there = there.map_err(|problem| Diagnostics(vec![problem]))?;
                let [yaml, cedar] = READERS;
                let absent = if there.name.ends_with(yaml) { cedar } else { yaml };
                let message =
                    format!("there is no `{absent}` beside it: readers and their policies go together");
                Err(Diagnostics(vec![whole_file(&there.name, message)]))
            }
        }
    }
}

/// The names of the files of readers, beside the policy.
const READERS: [&str; 2] = ["readers.yaml", "readers.cedar"];

/// Reads a policy from a file, and the files of devices that it names from below its folder.
///
/// # Errors
/// As [`Library::policy`].
pub fn read_policy(path: &Path) -> Result<Policy, Diagnostics> {
    let text = read(path).map_err(|problem| Diagnostics(vec![problem]))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    with_files(&text, |name| devices::read(folder, name))
}

fn with_files(
    text: &Text,
    read: impl Fn(&str) -> Result<DevicesFile, Diagnostics>,
) -> Result<Policy, Diagnostics> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for name in Policy::devices_files(&text.text) {
        match read(&name) {
            Ok(file) => files.push(file),
            Err(more) => problems.extend(more.0),
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    Policy::parse_with(&text.name, &text.text, files)
}

/// Writes the definitions that ship into `folder`, where they are not there yet.
///
/// # Errors
/// If a file cannot be written.
pub fn write_shipped(folder: &Path) -> std::io::Result<()> {
    for (path, text) in FILES {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        if !path.exists() {
            fs::write(path, text)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Text, Diagnostic> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Text { name, text }),
        Err(error) => Err(whole_file(&name, format!("cannot be read: {error}"))),
    }
}

fn read_dir(folder: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let entries = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>());
    let mut paths = entries
        .map_err(|error| whole_file(&folder.display().to_string(), format!("cannot be read: {error}")))?;
    paths.sort();
    Ok(paths)
}

fn shipped(path: &str) -> Result<Text, Diagnostic> {
    FILES
        .iter()
        .find(|(name, _)| *name == path)
        .map(|(name, text)| Text { name: (*name).to_owned(), text: (*text).to_owned() })
        .ok_or_else(|| whole_file(path, "does not ship with this build"))
}
