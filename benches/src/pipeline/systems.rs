//! What is run against a topic, each in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::broker::Broker;
use super::dataset::Dataset;
use super::home::Home;
use super::process;
use super::table::Run;

/// Longer takes nothing that is worth to be waited for.
const LIMIT: Duration = Duration::from_secs(900);

/// This program, for what it does as a child.
fn myself(words: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words);
    Ok(command)
}

/// Situs: this program, or another build of it to compare with, which `SITUS_BINARY` names.
///
/// # Errors
/// If this program has no path.
pub(crate) fn situs_binary() -> anyhow::Result<(PathBuf, Option<&'static str>)> {
    Ok(match std::env::var_os("SITUS_BINARY") {
        Some(path) => (path.into(), None),
        None => (std::env::current_exe()?, Some("situs")),
    })
}

/// `situs run` until everything is in the stores.
///
/// # Errors
/// If it fails, or not all messages are in the stores.
pub(crate) fn situs(broker: &Broker, home: &Home, bytes: u64) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    situs_in(broker, home, bytes, folder.path(), 1)
}

/// The same in a folder whose stores may hold something, by several processes of one group.
///
/// # Errors
/// If one fails, or not all messages are in the stores.
pub(crate) fn situs_in(
    broker: &Broker,
    home: &Home,
    bytes: u64,
    folder: &Path,
    replicas: usize,
) -> anyhow::Result<Run> {
    let site = home.write(folder, &broker.bootstrap, &format!("situs-{}", std::process::id()))?;
    let site = site.to_str().context("the folder's name")?;
    let (binary, verb) = situs_binary()?;
    let words = ["run", "--config", site, "--until-caught-up", "--init-stores"];
    let data = folder.join("data");
    let (bytes_before, rows_before) = (size_of(&data)?, rows_of(&data)?);
    let usage = match replicas {
        1 => {
            let mut command = Command::new(binary);
            command.args(verb).args(words);
            process::run(command, LIMIT)?
        }
        _ => {
            // The stores are made first, so that the processes do not do it both.
            let mut shell = Command::new("sh");
            let run = format!("{binary:?} {} {}", verb.unwrap_or_default(), words.join(" "));
            let all = vec![format!("{run} &"); replicas].join(" ");
            shell.arg("-c").arg(format!("{all} wait"));
            process::run(shell, LIMIT)?
        }
    };
    let rows = rows_of(&data)? - rows_before;
    let messages = home.dataset.messages * home.topics.len() as u64;
    let expected = messages * home.dataset.shape.rows();
    ensure!(rows == expected, "{rows} rows of {expected} are in the stores");
    Ok(Run {
        messages,
        bytes,
        wall: usage.wall,
        cpu: usage.cpu,
        peak_rss_kib: usage.peak_rss_kib,
        bytes_on_disk: size_of(&data)?.saturating_sub(bytes_before),
    })
}

/// A consumer that counts bytes.
///
/// # Errors
/// If it fails.
pub(crate) fn bare(broker: &Broker, dataset: Dataset) -> anyhow::Result<Run> {
    let (topic, partitions, messages) =
        (dataset.topic(), dataset.partitions.to_string(), dataset.messages.to_string());
    let usage =
        process::run(myself(&["child-consume", &broker.bootstrap, &topic, &partitions, &messages])?, LIMIT)?;
    Ok(Run {
        messages: dataset.messages,
        bytes: usage.output.trim().parse().context("the consumer's answer")?,
        wall: usage.wall,
        cpu: usage.cpu,
        peak_rss_kib: usage.peak_rss_kib,
        bytes_on_disk: 0,
    })
}

/// The rivals that there are, by the names of their scripts.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn rivals() -> anyhow::Result<Vec<String>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(rivals_folder())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

fn rivals_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals")
}

fn rival_command(name: &str, verb: &str) -> anyhow::Result<Command> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let cache = std::env::var_os("SITUS_CACHE").map_or_else(|| home.join(".cache/situs"), PathBuf::from);
    let mut command = Command::new(rivals_folder().join(name));
    command.arg(verb).env("CACHE", cache.join("rivals"));
    Ok(command)
}

/// Installs what a rival needs; whether it can be had here.
///
/// # Errors
/// If its script fails for another reason than that.
pub(crate) fn prepare(name: &str) -> anyhow::Result<bool> {
    let mut command = rival_command(name, "prepare")?;
    for variable in ["BOOTSTRAP", "TOPIC", "PARTITIONS", "MESSAGES", "OUT"] {
        command.env(variable, "0");
    }
    let status = command.status().with_context(|| name.to_owned())?;
    ensure!(status.success() || status.code() == Some(3), "{name} prepare ended with {status}");
    Ok(status.success())
}

/// A rival, until it has written all messages.
///
/// # Errors
/// If it fails or says another number of rows.
pub(crate) fn rival(broker: &Broker, name: &str, dataset: Dataset, bytes: u64) -> anyhow::Result<Run> {
    let out = tempfile::tempdir()?;
    let mut command = rival_command(name, "run")?;
    command
        .env("BOOTSTRAP", &broker.bootstrap)
        .env("TOPIC", dataset.topic())
        .env("PARTITIONS", dataset.partitions.to_string())
        .env("MESSAGES", dataset.messages.to_string())
        .env("OUT", out.path())
        .stderr(std::process::Stdio::null());
    let usage = process::run(command, LIMIT)?;
    let last = usage.output.lines().last().unwrap_or_default();
    ensure!(last == format!("rows={}", dataset.messages), "{name} says `{last}`");
    Ok(Run {
        messages: dataset.messages,
        bytes,
        wall: usage.wall,
        cpu: usage.cpu,
        peak_rss_kib: usage.peak_rss_kib,
        bytes_on_disk: size_of(out.path())?,
    })
}

/// The bytes of all files below a folder, if it is there.
///
/// # Errors
/// If something in it cannot be read.
pub(crate) fn size_of(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for_each_file(folder, &mut |path| {
        sum += path.metadata()?.len();
        Ok(())
    })?;
    Ok(sum)
}

/// The rows of the bench's pipelines' tables, counted from the logs' statistics.
///
/// # Errors
/// If a log cannot be read.
pub(crate) fn rows_of(data: &Path) -> anyhow::Result<u64> {
    let mut rows = 0;
    for_each_file(data, &mut |path| {
        let is_entry = path.extension().is_some_and(|extension| extension == "json")
            && path.to_str().is_some_and(|path| path.contains("/bench_") && path.contains("/_delta_log/"));
        if !is_entry {
            return Ok(());
        }
        for line in std::fs::read_to_string(path)?.lines() {
            let action: serde_json::Value = serde_json::from_str(line)?;
            if let Some(statistics) = action["add"]["stats"].as_str() {
                let statistics: serde_json::Value = serde_json::from_str(statistics)?;
                rows += statistics["numRecords"].as_u64().unwrap_or(0);
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

pub(crate) fn for_each_file(
    folder: &Path,
    each: &mut dyn FnMut(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            for_each_file(&entry.path(), each)?;
        } else {
            each(&entry.path())?;
        }
    }
    Ok(())
}
