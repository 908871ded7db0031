//! Logs: human or JSON lines on standard error.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What to log and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Format of the lines.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing-subscriber`, such as `info` or `situs_ingest=debug`.
    pub filter: String,
}

/// Changes the filter of the log that this process writes.
type Change = Box<dyn Fn(EnvFilter) + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// A filter in the syntax of `tracing-subscriber`.
///
/// # Errors
/// If it cannot be parsed.
pub fn check_log_filter(filter: &str) -> Result<(), ParseError> {
    parsed(filter).map(drop)
}

fn parsed(filter: &str) -> Result<EnvFilter, ParseError> {
    // The Delta libraries tell of every snapshot that they build; that is nobody's news. A filter that
    // names them wins.
    let quiet = "deltalake_core=warn,delta_kernel=warn,buoyant_kernel=warn,buoyant_kernel_engine=warn";
    EnvFilter::try_new(format!("{quiet},{filter}"))
}

/// Starts logging for the whole process. A second call changes nothing.
///
/// # Errors
/// If the filter cannot be parsed.
pub fn init_logs(settings: &LogSettings) -> Result<(), ParseError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed(&settings.filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Reporting a failed write would panic, inside a callback from C for instance, when standard
        // error has been closed.
        .log_internal_errors(false);
    let (result, change): (_, Change) = match settings.format {
        LogFormat::Human => {
            let builder = builder.with_target(false).compact().with_filter_reloading();
            let handle = builder.reload_handle();
            // What fails is that there is no log any more.
            (builder.finish().try_init(), Box::new(move |filter| drop(handle.reload(filter))))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.finish().try_init(), Box::new(move |filter| drop(handle.reload(filter))))
        }
    };
    // Only a subscriber that is already there makes this fail, as in tests.
    if result.is_ok() {
        CHANGE.set(change).ok();
    }
    Ok(())
}

/// Changes what is logged from now on; nothing without [`init_logs`].
///
/// # Errors
/// If the filter cannot be parsed: then all stays as it was.
pub fn change_log_filter(filter: &str) -> Result<(), ParseError> {
    let filter = parsed(filter)?;
    if let Some(change) = CHANGE.get() {
        change(filter);
    }
    Ok(())
}
