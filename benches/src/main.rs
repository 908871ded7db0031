//! Benchmarks of Situs. `benches/README.md` says what each measures, in which units and against whom.

#![allow(clippy::print_stdout, reason = "results go to standard output")]

mod corpus;
mod decode;
mod pipeline;

use std::process::ExitCode;

use anyhow::bail;

/// As in the binary that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: benches/run decode|pipeline [--json] [--quick]

decode     situs-decode against arrow-json, one thread, per corpus
pipeline   from the embedded broker to committed tables in two zones, per message size
--json     one JSON object per line instead of a table
--quick    fewer and shorter runs: to see that it works, not to quote";

/// How to run and what to print.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// JSON lines instead of a table.
    pub(crate) json: bool,
    /// Fewer and shorter runs.
    pub(crate) quick: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut options = Options::default();
    let mut bench = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => options.json = true,
            "--quick" => options.quick = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            word if bench.is_none() && !word.starts_with('-') => bench = Some(word.to_owned()),
            other => bail!("unexpected argument `{other}`\n{USAGE}"),
        }
    }
    match bench.as_deref() {
        Some("decode") => decode::run(options)?,
        Some("pipeline") => pipeline::run(options)?,
        Some(other) => bail!("no benchmark `{other}`\n{USAGE}"),
        None => bail!("which benchmark?\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
