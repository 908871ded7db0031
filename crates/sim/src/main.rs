//! The whole intake over a fake cluster, faulty stores and a clock of its own, all from a seed.
//!
//! `situs-sim --seeds N [--from S] [--twice] [--course]` runs seeds S to S+N, each once, or twice to see that
//! both courses of events are the same; `--course` prints them. It ends with one line of verdict and figures,
//! and with exit code 0 only if everything held for every seed.

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

struct Arguments {
    seeds: u64,
    from: u64,
    twice: bool,
    course: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { seeds: 200, from: 1, twice: false, course: false };
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
            _ => {
                return Err(format!(
                    "`{word}` is not known; there are --seeds N, --from S, --twice and --course"
                ));
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
