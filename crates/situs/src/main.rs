//! `situs`: see `situs --help`.

use std::process::ExitCode;

use clap::Parser as _;
use situs::cli::Cli;

// Arrow batches come and go by the hundred megabytes; mimalloc gives the pages back and is faster
// at it than the system's allocator (benches/README.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    situs::commands::execute(Cli::parse())
}
