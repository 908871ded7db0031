//! Results, as a table or as JSON, a line each.

use std::time::Duration;

use serde_json::json;

/// One run of one system in one case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) messages: u64,
    /// Bytes of payload.
    pub(crate) bytes: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_rss_kib: u64,
    pub(crate) bytes_on_disk: u64,
}

impl Run {
    fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }

    /// CPU seconds per million messages.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() / self.messages as f64 * 1e6
    }
}

/// All runs of one system in one case.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) system: String,
    pub(crate) runs: Vec<Run>,
}

impl Row {
    pub(crate) fn new(case: &str, system: &str) -> Self {
        Self { case: case.to_owned(), system: system.to_owned(), runs: Vec::new() }
    }

    /// The run with the median rate.
    pub(crate) fn median(&self) -> Option<Run> {
        let mut runs = self.runs.clone();
        runs.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        runs.get(runs.len() / 2).copied()
    }

    /// The median of the CPU seconds per million messages.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(Run::cpu_per_million).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Prints rows. `ratio_to_situs` is the rate of Situs in the same case by that of the row.
pub(crate) fn print(rows: &[Row], as_json: bool) {
    if !as_json {
        println!(
            "{:<22} {:<24} {:>10} {:>8} {:>10} {:>9} {:>9} {:>9} {:>7}",
            "case", "system", "messages/s", "MB/s", "cpu s/M", "RSS MiB", "B/message", "to situs", "spread"
        );
    }
    for row in rows {
        let Some(run) = row.median() else { continue };
        let situs = rows
            .iter()
            .find(|other| other.case == row.case && other.system == "situs")
            .and_then(Row::median)
            .map(|situs| situs.rate() / run.rate());
        let rates = || row.runs.iter().map(Run::rate);
        let spread = rates().fold(0.0, f64::max) / rates().fold(f64::INFINITY, f64::min);
        let (cpu, rss) = (row.cpu_per_million(), run.peak_rss_kib as f64 / 1024.0);
        let mb_s = run.bytes as f64 / run.wall.as_secs_f64() / 1e6;
        if as_json {
            println!(
                "{}",
                json!({
                    "case": row.case, "system": row.system, "messages_s": run.rate().round(), "mb_s": mb_s,
                    "cpu_s_per_million": cpu, "peak_rss_mib": rss, "bytes_on_disk": run.bytes_on_disk,
                    "ratio_to_situs": situs, "messages": run.messages, "runs": row.runs.len(), "spread": spread,
                })
            );
        } else {
            println!(
                "{:<22} {:<24} {:>10.0} {mb_s:>8.1} {cpu:>10.2} {rss:>9.0} {:>9.1} {:>9} {:>6.0}%",
                row.case,
                row.system,
                run.rate(),
                run.bytes_on_disk as f64 / run.messages as f64,
                situs.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
                (spread - 1.0) * 100.0
            );
        }
    }
}
