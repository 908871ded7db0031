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
       benches/run pipeline|scaling|freshness [--json] [--quick] [--only NAME]...
       benches/run policy [--json] [--quick] [--only NAME]...
       benches/run soak [--json] [--minutes N]

decode     situs-decode against arrow-json and a bare simd-json, one thread, per corpus
pipeline   from a real Kafka to committed tables in two zones, against a bare consumer and rivals;
           parts: limit, 46B, 440B, 30kB, rivals, backlog
scaling    one thing varied: workers, replicas, partitions, zones, devices, pipelines, history
policy     what judging and splitting cost, of a worker's steps and of a run; axes: devices, rules, models
freshness  time from production to commit at 10, 50 and 90 % of the maximum
soak       at 80 % of the maximum for 30 minutes
--json     one JSON object per line instead of a table
--quick    fewer and shorter runs: to see that it works, not to quote
--only     a corpus or a part by its name
--passes   Situs alone, so many times over the corpus: for a profiler
--corpus   messages of a file, one a line, with the schema of --schema";

fn main() -> anyhow::Result<ExitCode> {
    let mut options = decode::Options::default();
    if let Some(code) = pipeline::child()? {
        return Ok(code);
    }
    let (mut bench, mut corpus, mut schema, mut minutes) = (None, None, None, 30);
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
            "--minutes" => minutes = value()?.parse().context("`--minutes` is a number")?,
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
        Some("policy") => pipeline::policy(&options)?,
        Some("scaling") => pipeline::scaling(&options)?,
        Some("freshness") => pipeline::freshness(&options)?,
        Some("soak") => pipeline::soak(&options, minutes)?,
        Some(other) => bail!("no benchmark `{other}`\n{USAGE}"),
        None => bail!("which benchmark?\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
