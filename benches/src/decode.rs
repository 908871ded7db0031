//! situs-decode against arrow-json on the same messages.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use arrow_json::ReaderBuilder;
use serde_json::json;
use situs_decode::Decoder;
use situs_model::{NextOffset, RawBatch, Source};

use crate::Options;
use crate::corpus::Corpus;

/// Runs of each side, by turns; the median counts.
const RUNS: usize = 11;
const QUICK_RUNS: usize = 5;
/// How long a run takes at least.
const RUN: Duration = Duration::from_millis(400);
const QUICK_RUN: Duration = Duration::from_millis(60);

/// What was measured on one corpus.
struct Result {
    corpus: Corpus,
    /// Seconds per pass over the corpus, sorted.
    situs: Vec<f64>,
    arrow_json: Vec<f64>,
}

/// Runs the benchmark and prints its results.
///
/// # Errors
/// If a corpus does not pass through one of the decoders whole.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    if !options.json {
        println!(
            "{:<12} {:>9} {:>9} {:>12} {:>15} {:>11} {:>8}",
            "corpus", "B/message", "MB/s", "messages/s", "arrow-json MB/s", "ratio", "spread"
        );
    }
    let (runs, at_least) = if options.quick { (QUICK_RUNS, QUICK_RUN) } else { (RUNS, RUN) };
    for corpus in Corpus::all() {
        let name = corpus.name;
        measure(corpus, runs, at_least).with_context(|| format!("corpus {name}"))?.print(options);
    }
    Ok(())
}

fn measure(corpus: Corpus, runs: usize, at_least: Duration) -> anyhow::Result<Result> {
    let schema = corpus.compiled()?;
    let raw = Arc::new(raw_batch(&corpus)?);
    let mut decoder = Decoder::new(schema, 1 << 20);
    // arrow-json gets its messages as it likes them best: as one text, one message per line.
    let lines: String = corpus.messages.iter().flat_map(|message| [message, "\n"]).collect();
    let mut rival =
        ReaderBuilder::new(corpus.arrow.clone()).with_batch_size(corpus.messages.len()).build_decoder()?;

    let mut situs_pass = || {
        let decoded = decoder.decode(raw.clone());
        ensure!(decoded.rejects.is_empty(), "rejected: {:?}", decoded.rejects[0].code);
        ensure!(decoded.messages_with_rows() == raw.len() as u64, "messages without rows");
        black_box(&decoded.rows);
        Ok(())
    };
    let mut rival_pass = || {
        let (mut text, mut rows) = (lines.as_bytes(), 0);
        while rows < corpus.messages.len() {
            text = &text[rival.decode(text)?..];
            let batch = rival.flush()?.context("arrow-json made no batch")?;
            rows += batch.num_rows();
            black_box(&batch);
        }
        ensure!(rows == corpus.messages.len(), "arrow-json made {rows} rows");
        Ok(())
    };
    timed(&mut situs_pass, Duration::ZERO)?;
    timed(&mut rival_pass, Duration::ZERO)?;
    let (mut situs, mut arrow_json) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        situs.push(timed(&mut situs_pass, at_least)?);
        arrow_json.push(timed(&mut rival_pass, at_least)?);
    }
    situs.sort_by(f64::total_cmp);
    arrow_json.sort_by(f64::total_cmp);
    Ok(Result { corpus, situs, arrow_json })
}

/// Seconds per pass, over as many passes as fill the time.
fn timed(pass: &mut impl FnMut() -> anyhow::Result<()>, at_least: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut passes = 0;
    loop {
        pass()?;
        passes += 1;
        if start.elapsed() >= at_least {
            return Ok(start.elapsed().as_secs_f64() / f64::from(passes));
        }
    }
}

fn raw_batch(corpus: &Corpus) -> anyhow::Result<RawBatch> {
    let source = Source { cluster: "bench".parse()?, topic: corpus.name.into(), partition: 0 };
    let mut raw = RawBatch::new(source, NextOffset(0), 1_660_000_000_000_000);
    for (offset, message) in (0..).zip(&corpus.messages) {
        let key = Some(corpus.key.as_bytes());
        raw.push(offset, Some(1_660_000_000_000), key, Some(message.as_bytes()), std::iter::empty());
    }
    Ok(raw)
}

impl Result {
    fn print(&self, options: Options) {
        let median = |seconds: &[f64]| seconds[seconds.len() / 2];
        let bytes = self.corpus.bytes() as f64;
        let messages = self.corpus.messages.len() as f64;
        let (situs, arrow_json) = (median(&self.situs), median(&self.arrow_json));
        let ratio = arrow_json / situs;
        // How far the slowest run lies above the fastest.
        let spread = self.situs[self.situs.len() - 1] / self.situs[0] - 1.0;
        if options.json {
            let round = |value: f64, to: f64| (value * to).round() / to;
            let line = json!({
                "bench": "decode",
                "corpus": self.corpus.name,
                "message_bytes": round(bytes / messages, 1.0),
                "mb_s": round(bytes / situs / 1e6, 10.0),
                "messages_s": round(messages / situs, 1.0),
                "arrow_json_mb_s": round(bytes / arrow_json / 1e6, 10.0),
                "ratio_arrow_json": round(ratio, 100.0),
                "spread": round(spread, 1_000.0),
                "runs": self.situs.len(),
            });
            println!("{line}");
        } else {
            println!(
                "{:<12} {:>9.0} {:>9.1} {:>12.0} {:>15.1} {:>10.2}x {:>7.0}%",
                self.corpus.name,
                bytes / messages,
                bytes / situs / 1e6,
                messages / situs,
                bytes / arrow_json / 1e6,
                ratio,
                spread * 100.0
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_decoders_take_every_corpus() {
        for corpus in Corpus::all() {
            let name = corpus.name;
            let result =
                measure(corpus, 1, Duration::ZERO).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert!(result.situs.len() == 1 && result.arrow_json.len() == 1);
        }
    }
}
