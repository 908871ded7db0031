//! The whole intake over a fake cluster, faulty stores and a clock of its own, all from a seed.
//!
//! `situs-sim --seeds N [--from S] [--twice] [--course]` runs seeds S to S+N, each once, or twice to see that
//! both courses of events are the same; `--course` prints them, and `--log` does so at once, to standard error,
//! among all that the processes log. It ends with one line of verdict and figures,
//! and with exit code 0 only if everything held for every seed.
//!
//! `situs-sim --planted [--seeds N]`, in a build with the feature `planted`, switches bugs on, one after
//! another, and looks by how many seeds each is found, N at most.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

mod client;
mod cluster;
mod host;
mod plant;
mod run;
mod store;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use situs_observe::{LogFormat, LogSettings};

#[cfg(feature = "planted")]
use situs_model::planted::Bug;

struct Arguments {
    seeds: u64,
    from: u64,
    twice: bool,
    course: bool,
    log: bool,
    planted: bool,
}

#[cfg(feature = "planted")]
/// Bugs of the store's own code, which this simulation's stores do not have: the second tier finds them.
const OF_THE_STORE: [Bug; 2] = [Bug::TimeoutAsFailure, Bug::FreshSnapshot];

fn arguments() -> Result<Arguments, String> {
    let mut arguments =
        Arguments { seeds: 200, from: 1, twice: false, course: false, log: false, planted: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("`{word}` takes a number"))?;
            text.parse::<u64>().map_err(|_| format!("`{word} {text}`: not a number"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--twice" => arguments.twice = true,
            "--course" => arguments.course = true,
            "--log" => arguments.log = true,
            "--planted" if cfg!(feature = "planted") => arguments.planted = true,
            "--planted" => return Err("`--planted` needs a build with the feature `planted`".to_owned()),
            _ => {
                let known = "--seeds N, --from S, --twice, --course, --log and --planted";
                return Err(format!("`{word}` is not known; there are {known}"));
            }
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("situs-sim: {problem}");
            return ExitCode::from(2);
        }
    };
    situs_observe::hide_panic_texts();
    if arguments.log {
        let settings = LogSettings { format: LogFormat::Human, filter: "debug".to_owned() };
        if let Err(problem) = situs_observe::init_logs(&settings) {
            eprintln!("situs-sim: {problem}");
        }
        world::tell_at_once();
    }
    if arguments.planted {
        return planted(&arguments);
    }
    let began = Instant::now();
    let (mut failed, mut records) = (Vec::new(), 0);
    let mut figures: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in arguments.from..arguments.from + arguments.seeds {
        let mut report = run::run(seed);
        if arguments.twice && run::run(seed).hash != report.hash {
            report.violations.push("another course of events the second time".to_owned());
        }
        if arguments.course {
            print!("{}", report.course);
        }
        for violation in &report.violations {
            println!("seed {seed}: {violation}");
        }
        if !report.violations.is_empty() {
            failed.push(seed);
        }
        records += report.records;
        for (name, figure) in report.figures {
            let sum = figures.entry(name).or_default();
            *sum = if name == "ms to lag 0" { figure.max(*sum) } else { *sum + figure };
        }
    }
    let figures: Vec<String> = figures.iter().map(|(name, figure)| format!("{name} {figure}")).collect();
    println!(
        "sim: {}, seeds {} to {}: {} failed{}; {records} records; {}; {:.1} s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        arguments.from,
        arguments.from + arguments.seeds - 1,
        failed.len(),
        if failed.is_empty() { String::new() } else { format!(" ({:?})", &failed[..failed.len().min(10)]) },
        figures.join(", "),
        began.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Not in this build.
#[cfg(not(feature = "planted"))]
fn planted(_: &Arguments) -> ExitCode {
    ExitCode::from(2)
}

/// Looks whether each bug is found.
#[cfg(feature = "planted")]
fn planted(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let (mut found, mut missed) = (0, Vec::new());
    for bug in Bug::ALL.into_iter().filter(|bug| !OF_THE_STORE.contains(bug)) {
        situs_model::planted::set(Some(bug));
        let mut seeds = arguments.from..arguments.from + arguments.seeds;
        let first = seeds.find_map(|seed| Some((seed, run::run(seed).violations.into_iter().next()?)));
        match first {
            Some((seed, violation)) => {
                println!("{:20} found by {} seeds: {violation}", bug.as_str(), seed - arguments.from + 1);
                found += 1;
            }
            None => {
                println!("{:20} NOT FOUND by {} seeds", bug.as_str(), arguments.seeds);
                missed.push(bug.as_str());
            }
        }
    }
    situs_model::planted::set(None);
    println!(
        "planted: {}, {found} found, {} missed; {:.1} s",
        if missed.is_empty() { "ok" } else { "FAILED" },
        missed.len(),
        began.elapsed().as_secs_f64()
    );
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
