//! situs-decode against arrow-json on the same messages, and against a bare simd-json.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use arrow_json::ReaderBuilder;
use serde_json::json;
use situs_decode::Decoder;
use situs_model::{NextOffset, RawBatch, Source};

use crate::allocations;
use crate::corpus::{Corpus, KEY};
use crate::rival::{Tape, arrow_schema};

/// Runs of each side, by turns; the median counts.
const RUNS: usize = 11;
const QUICK_RUNS: usize = 5;
/// How long a run takes at least.
const RUN: Duration = Duration::from_millis(300);
const QUICK_RUN: Duration = Duration::from_millis(40);

/// What to run and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// JSON lines instead of a table.
    pub(crate) json: bool,
    /// Fewer and shorter runs.
    pub(crate) quick: bool,
    /// Only the corpora of these names.
    pub(crate) names: Vec<String>,
    /// A file of messages and its schema instead of the corpora.
    pub(crate) file: Option<(PathBuf, PathBuf)>,
    /// So many passes of Situs alone, for a profiler or an instruction counter.
    pub(crate) passes: Option<u32>,
}

/// A side of the comparison: its times per pass.
#[derive(Debug, Default)]
struct Side {
    seconds: Vec<f64>,
}

impl Side {
    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// How far the slowest run lies above the fastest.
    fn spread(&self) -> f64 {
        let (fastest, slowest) =
            self.seconds.iter().fold((f64::MAX, 0_f64), |(low, high), s| (low.min(*s), high.max(*s)));
        slowest / fastest - 1.0
    }
}

/// What was measured on one corpus.
#[derive(Debug, Default)]
struct Result {
    situs: Side,
    general: Side,
    arrow_json: Side,
    tape: Side,
    allocations: u64,
    /// Rows by the fast path of all rows.
    fast_share: f64,
}

/// Runs the benchmark and prints its results.
///
/// # Errors
/// If a corpus does not pass through one of the decoders as it should.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let corpora = match &options.file {
        Some((file, schema)) => vec![Corpus::of_file(file, schema)?],
        None => Corpus::all(),
    };
    let is_wanted = |corpus: &Corpus| options.names.is_empty() || options.names.contains(&corpus.name);
    let corpora: Vec<Corpus> = corpora.into_iter().filter(is_wanted).collect();
    ensure!(!corpora.is_empty(), "no corpus of this name");
    if let Some(passes) = options.passes {
        return corpora.iter().try_for_each(|corpus| only(corpus, passes));
    }
    if !options.json {
        println!(
            "{:<14} {:>9} {:>8} {:>11} {:>11} {:>8} {:>9} {:>6} {:>11} {:>7}",
            "corpus",
            "B/message",
            "MB/s",
            "messages/s",
            "arrow-json",
            "tape",
            "general",
            "fast",
            "allocs/1000",
            "spread"
        );
    }
    let (runs, at_least) = if options.quick { (QUICK_RUNS, QUICK_RUN) } else { (RUNS, RUN) };
    for corpus in corpora {
        let result = measure(&corpus, runs, at_least).with_context(|| format!("corpus {}", corpus.name))?;
        result.print(&corpus, options.json);
    }
    Ok(())
}

/// Passes of Situs alone.
fn only(corpus: &Corpus, passes: u32) -> anyhow::Result<()> {
    let mut decoder = Decoder::new(corpus.compiled()?, MAX_MESSAGE);
    let raw = Arc::new(raw_batch(corpus)?);
    for _ in 0..passes {
        black_box(decoder.decode(raw.clone()).rows);
    }
    println!("{}", json!({"corpus": corpus.name, "passes": passes, "bytes": corpus.bytes()}));
    Ok(())
}

/// The largest message that is taken.
const MAX_MESSAGE: usize = 1 << 20;

fn measure(corpus: &Corpus, runs: usize, at_least: Duration) -> anyhow::Result<Result> {
    let schema = corpus.compiled()?;
    let raw = Arc::new(raw_batch(corpus)?);
    let mut decoder = Decoder::new(schema.clone(), MAX_MESSAGE);
    let mut general = Decoder::new(schema, MAX_MESSAGE).without_fast_path();
    let pass = |decoder: &mut Decoder| {
        let decoded = decoder.decode(raw.clone());
        if let Some(malformed) = corpus.malformed.or(Some(0).filter(|_| corpus.is_made())) {
            ensure!(decoded.rejects.len() == malformed, "rejected: {} messages", decoded.rejects.len());
            ensure!(decoded.messages_with_rows() == (raw.len() - malformed) as u64, "messages without rows");
        }
        Ok(black_box(decoded.rows).num_rows() as u64)
    };
    let mut rival = Rival::new(corpus)?;
    let mut tape = Tape::new();
    let mut tape_pass = || {
        for message in &corpus.messages {
            // What it refuses, it has read up to there.
            let _ = black_box(tape.fill(message));
        }
        Ok(())
    };

    let mut result = Result::default();
    for _ in 0..3 {
        pass(&mut decoder)?;
    }
    let (before, fast_before) = (allocations::so_far(), decoder.fast_rows());
    let rows = pass(&mut decoder)?;
    result.allocations = allocations::so_far() - before;
    result.fast_share = (decoder.fast_rows() - fast_before) as f64 / rows.max(1) as f64;
    pass(&mut general)?;
    // Its own words would show what the messages hold.
    let mut rival_works = rival.pass().is_ok();
    if !rival_works {
        eprintln!("{}: arrow-json does not read it", corpus.name);
    }
    tape_pass()?;
    for _ in 0..runs {
        result.situs.seconds.push(timed(&mut || pass(&mut decoder).map(drop), at_least)?);
        if rival_works {
            match timed(&mut || rival.pass(), at_least) {
                Ok(seconds) => result.arrow_json.seconds.push(seconds),
                Err(_) => rival_works = false,
            }
        }
        result.tape.seconds.push(timed(&mut tape_pass, at_least)?);
        result.general.seconds.push(timed(&mut || pass(&mut general).map(drop), at_least)?);
    }
    Ok(result)
}

/// arrow-json, which gets its messages as it likes them best: as one text, one message per line.
struct Rival {
    decoder: arrow_json::reader::Decoder,
    lines: Vec<u8>,
    messages: usize,
}

impl Rival {
    fn new(corpus: &Corpus) -> anyhow::Result<Self> {
        // One malformed message would end its batch, so it gets the corpus without any.
        let clean = |message: &&Vec<u8>| {
            corpus.malformed.is_none() || serde_json::from_slice::<serde_json::Value>(message).is_ok()
        };
        let messages: Vec<&Vec<u8>> = corpus.messages.iter().filter(clean).collect();
        let lines = messages.iter().flat_map(|message| message.iter().chain(b"\n")).copied().collect();
        let decoder = ReaderBuilder::new(arrow_schema(&corpus.schema_text()?)?)
            .with_batch_size(messages.len())
            .with_coerce_primitive(true)
            .build_decoder()?;
        Ok(Self { decoder, lines, messages: messages.len() })
    }

    fn pass(&mut self) -> anyhow::Result<()> {
        let (mut text, mut rows) = (self.lines.as_slice(), 0);
        while rows < self.messages {
            text = &text[self.decoder.decode(text).context("arrow-json")?..];
            let batch = self.decoder.flush().context("arrow-json")?.context("arrow-json made no batch")?;
            rows += batch.num_rows();
            black_box(&batch);
        }
        ensure!(rows == self.messages, "arrow-json made {rows} rows");
        Ok(())
    }
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
    let source = Source { cluster: "bench".parse()?, topic: corpus.name.as_str().into(), partition: 0 };
    let mut raw = RawBatch::new(source, NextOffset(0), 1_660_000_000_000_000);
    for (offset, message) in (0..).zip(&corpus.messages) {
        raw.push(offset, Some(1_660_000_000_000), Some(KEY.as_bytes()), Some(message), std::iter::empty());
    }
    Ok(raw)
}

impl Result {
    fn print(&self, corpus: &Corpus, as_json: bool) {
        let (bytes, messages) = (corpus.bytes() as f64, corpus.messages.len() as f64);
        let situs = self.situs.median();
        let ratio = |side: &Side| if side.seconds.is_empty() { None } else { Some(side.median() / situs) };
        let allocations = self.allocations as f64 / messages * 1000.0;
        if as_json {
            let round = |value: f64, to: f64| (value * to).round() / to;
            let ratio = |side: &Side| ratio(side).map(|ratio| round(ratio, 100.0));
            let line = json!({
                "bench": "decode",
                "corpus": corpus.name,
                "message_bytes": round(bytes / messages, 1.0),
                "mb_s": round(bytes / situs / 1e6, 10.0),
                "messages_s": round(messages / situs, 1.0),
                "ratio_arrow_json": ratio(&self.arrow_json),
                "ratio_tape": ratio(&self.tape),
                "ratio_general": ratio(&self.general),
                "fast_share": round(self.fast_share, 1e4),
                "allocs_per_1000": round(allocations, 100.0),
                "spread": round(self.situs.spread(), 1_000.0),
                "runs": self.situs.seconds.len(),
            });
            println!("{line}");
        } else {
            let shown = |side: &Side| ratio(side).map_or("-".to_owned(), |ratio| format!("{ratio:.2}x"));
            println!(
                "{:<14} {:>9.0} {:>8.1} {:>11.0} {:>11} {:>8} {:>9} {:>5.0}% {:>11.2} {:>6.0}%",
                corpus.name,
                bytes / messages,
                bytes / situs / 1e6,
                messages / situs,
                shown(&self.arrow_json),
                shown(&self.tape),
                shown(&self.general),
                self.fast_share * 100.0,
                allocations,
                self.situs.spread() * 100.0
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_takes_every_corpus() {
        for corpus in Corpus::all() {
            let name = &corpus.name;
            let result =
                measure(&corpus, 1, Duration::ZERO).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let sides = [&result.situs, &result.general, &result.arrow_json, &result.tape];
            assert!(sides.iter().all(|side| side.seconds.len() == 1), "{name}");
        }
    }

    /// In the steady state a batch costs the allocations of its columns, and its messages none.
    #[test]
    fn messages_cost_no_allocation() {
        for corpus in Corpus::all() {
            let result = measure(&corpus, 1, Duration::ZERO).unwrap();
            if ["state", "value", "reading", "shapes", "observation", "state-lists"].contains(&&*corpus.name)
            {
                let columns = corpus.compiled().unwrap().arrow_schema().fields().len() as u64;
                assert!(result.allocations < 10 * columns, "{}: {}", corpus.name, result.allocations);
                assert!(result.fast_share > 0.99, "{}: {}", corpus.name, result.fast_share);
            }
        }
    }
}
