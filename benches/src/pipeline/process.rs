//! Runs a child process and tells what it took: Linux, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// What a process and its descendants took.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// From start to end.
    pub(crate) wall: Duration,
    /// User and system time, in steps of 10 ms.
    pub(crate) cpu: Duration,
    /// The largest sum of resident memory that was seen, in KiB.
    pub(crate) peak_rss_kib: u64,
    /// What it printed to standard output.
    pub(crate) output: String,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started, or ends with another status than 0, or takes longer than `limit`.
pub(crate) fn run(mut command: Command, limit: Duration) -> anyhow::Result<Usage> {
    let shown = format!("{command:?}");
    // Children that ended and were waited for are counted, so nothing else may end meanwhile.
    let before = children_cpu()?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let mut stdout = child.stdout.take().context("standard output was piped")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let (status, peak_rss_kib) = watch(&mut child, started + limit)?;
    let wall = started.elapsed();
    let output = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(Usage { wall, cpu: children_cpu()?.saturating_sub(before), peak_rss_kib, output })
}

fn watch(child: &mut Child, deadline: Instant) -> anyhow::Result<(std::process::ExitStatus, u64)> {
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, peak));
        }
        peak = peak.max(tree_rss_kib(child.id()));
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("the child took too long");
        }
        std::thread::sleep(SAMPLE);
    }
}

/// CPU time of a process that runs, without its children.
pub(crate) fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(ticks(&stat, [11, 12]))
}

/// CPU time of all children of this process that have ended and been waited for, and of theirs.
fn children_cpu() -> anyhow::Result<Duration> {
    Ok(ticks(&fs::read_to_string("/proc/self/stat")?, [13, 14]))
}

/// The sum of two fields of `/proc/PID/stat`, counted after the name, in ticks of 10 ms.
fn ticks(stat: &str, fields: [usize; 2]) -> Duration {
    let values: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let value = |index: usize| values.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(fields.into_iter().map(value).sum::<u64>() * 10)
}

/// Resident memory of a process and its descendants.
pub(crate) fn tree_rss_kib(root: u32) -> u64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut sum, mut pending) = (0, vec![root]);
    while let Some(process) = pending.pop() {
        sum += rss_kib(process);
        pending.extend(children.remove(&process).unwrap_or_default());
    }
    sum
}

fn rss_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
