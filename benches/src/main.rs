//! Benchmarks of Situs. `benches/README.md` says what each measures, in which units and against whom.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "results go to standard output, and what a rival cannot read beside it"
)]

mod allocations;
mod corpus;
mod decode;
mod pipeline;
mod rival;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

const USAGE: &str = "usage: benches/run decode [--json] [--quick] [--only NAME]... [--passes N]
       benches/run decode --corpus FILE --schema FILE [--json] [--quick] [--passes N]
       benches/run pipeline [--json] [--quick]

decode     situs-decode against arrow-json and a bare simd-json, one thread, per corpus
pipeline   from the embedded broker to committed tables in two zones, per message size
--json     one JSON object per line instead of a table
--quick    fewer and shorter runs: to see that it works, not to quote
--only     a corpus by its name
--passes   Situs alone, so many times over the corpus: for a profiler
--corpus   messages of a file, one a line, with the schema of --schema";

fn main() -> anyhow::Result<ExitCode> {
    let mut options = decode::Options::default();
    if let Some(code) = pipeline::child()? {
        return Ok(code);
    }
    let (mut bench, mut corpus, mut schema) = (None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("`{argument}` needs a value\n{USAGE}"));
        match argument.as_str() {
            "--json" => options.json = true,
            "--quick" => options.quick = true,
            "--only" => options.names.push(value()?),
            "--passes" => options.passes = Some(value()?.parse().context("`--passes` is a number")?),
            "--corpus" => corpus = Some(value()?),
            "--schema" => schema = Some(value()?),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            word if bench.is_none() && !word.starts_with('-') => bench = Some(word.to_owned()),
            other => bail!("unexpected argument `{other}`\n{USAGE}"),
        }
    }
    options.file = match (corpus, schema) {
        (Some(corpus), Some(schema)) => Some((corpus.into(), schema.into())),
        (None, None) => None,
        _ => bail!("`--corpus` and `--schema` belong together\n{USAGE}"),
    };
    match bench.as_deref() {
        Some("decode") => decode::run(&options)?,
        Some("pipeline") => pipeline::run(&options)?,
        Some(other) => bail!("no benchmark `{other}`\n{USAGE}"),
        None => bail!("which benchmark?\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
