//! `situs`: see `situs --help`.

use std::process::ExitCode;

use clap::Parser as _;
use situs::cli::Cli;

// Arrow batches come and go by the hundred megabytes, on one thread and another; jemalloc gives their
// pages back, and is as fast at it as others (benches/README.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    situs::commands::execute(Cli::parse())
}
