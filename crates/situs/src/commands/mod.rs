//! The verbs. Each module does one; standard output is theirs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what commands do")]

mod check;
mod config;
mod delete;
mod explain;
mod hold;
mod maintain;
mod permits;
mod policy;
mod produce;
mod quarantine;
mod retag;
mod run;
mod shares;
mod sql;
mod store;
mod trace;
mod transfer;
mod try_messages;
mod verify;

use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use situs_model::doc::Diagnostics;
use situs_observe::{LogFormat, LogSettings, hide_panic_texts, init_logs};
use situs_store::PublicKey;

use crate::cli::{Cli, Command, EvidenceCommand, LibraryArgs};
use crate::library::Library;
use crate::site::Site;

/// Something failed while running.
pub const EXIT_FAILED: u8 = 1;
/// The arguments or the configuration are wrong.
pub const EXIT_USAGE: u8 = 2;
/// A case does not hold.
pub const EXIT_CASES: u8 = 3;

/// Carries out the command; the process's exit code.
pub fn execute(cli: Cli) -> ExitCode {
    hide_panic_texts();
    if let Err(error) = crate::process::forbid_core_dumps() {
        eprintln!("situs: core dumps cannot be forbidden, and would hold payload: {error}");
    }
    let result = match cli.command {
        Command::Demo(args) => crate::demo::demo(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Config(command) => config::config(&command),
        Command::Try(args) => try_messages::try_messages(&args),
        Command::Policy(command) => policy::policy(&command),
        Command::Sql(args) => sql::sql(&args),
        Command::Produce(args) => produce::produce(&args),
        Command::Store(command) => store::store(&command),
        Command::Quarantine(command) => quarantine::quarantine(&command),
        Command::Transfer(command) => transfer::transfer(&command),
        Command::Explain(args) => explain::explain(&args),
        Command::Evidence(EvidenceCommand::Trace(args)) => trace::trace(&args),
        Command::Evidence(EvidenceCommand::Shares(args)) => shares::shares(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            match error.downcast_ref::<Diagnostics>() {
                Some(problems) => eprintln!("{problems}"),
                None => eprintln!("situs: {}", chain(&error)),
            }
            let wrong_input = error.is::<Diagnostics>() || error.is::<Usage>();
            ExitCode::from(if wrong_input { EXIT_USAGE } else { EXIT_FAILED })
        }
    }
}

/// An error and its causes; a cause that the text before it already ends with is not repeated.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        _ if text.ends_with(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

/// Arguments that cannot be right.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The keys of `--public-key`.
fn public_keys(files: &[PathBuf]) -> anyhow::Result<Vec<PublicKey>> {
    let read =
        |file: &PathBuf| PublicKey::read(file).map_err(|error| Usage(format!("--public-key: {error}")));
    Ok(files.iter().map(read).collect::<Result<_, _>>()?)
}

/// The runtime for commands that wait for I/O.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

/// Logs for commands without a site.
pub(crate) fn default_logs(filter: &str) {
    let filter = std::env::var("SITUS_LOG").unwrap_or_else(|_| filter.to_owned());
    if let Err(error) = init_logs(&LogSettings { format: LogFormat::Human, filter }) {
        eprintln!("situs: SITUS_LOG: {error}");
    }
}

/// Reads and parses a site's configuration.
pub(crate) fn load_site(path: &Path) -> anyhow::Result<Site> {
    let text = fs::read_to_string(path)
        .map_err(|error| Usage(format!("{}: cannot be read: {error}", path.display())))?;
    Ok(Site::parse(path, &text)?)
}

pub(crate) fn library_of(args: &LibraryArgs) -> Library {
    Library::choose(args.pipelines.as_deref(), args.schemas.as_deref(), args.policy.as_deref())
}

/// `NAME=VALUE` arguments.
pub(crate) fn pairs(what: &str, list: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    list.iter()
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Usage(format!("{what}: expected NAME=VALUE, found `{pair}`")))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Calls `each` with every message of a file or of standard input: its lines without their ends
/// (empty lines are skipped), or the whole as one.
pub(crate) fn for_each_message(
    file: Option<&Path>,
    whole: bool,
    mut each: impl FnMut(u64, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut input: Box<dyn BufRead> = match file {
        Some(path) => {
            let file = fs::File::open(path)
                .map_err(|error| Usage(format!("{}: cannot be opened: {error}", path.display())))?;
            Box::new(BufReader::with_capacity(1 << 20, file))
        }
        None => Box::new(std::io::stdin().lock()),
    };
    let mut message = Vec::new();
    if whole {
        input.read_to_end(&mut message).context("reading the message")?;
        return each(1, &message);
    }
    let mut number = 0;
    loop {
        message.clear();
        if input.read_until(b'\n', &mut message).context("reading a line")? == 0 {
            return Ok(());
        }
        number += 1;
        while message.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            message.pop();
        }
        if !message.is_empty() {
            each(number, &message)?;
        }
    }
}
