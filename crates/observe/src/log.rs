//! Logs: human or JSON lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
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

/// Starts logging for the whole process. A second call changes nothing.
///
/// # Errors
/// If the filter cannot be parsed.
pub fn init_logs(settings: &LogSettings) -> Result<(), tracing_subscriber::filter::ParseError> {
    // The Delta libraries tell of every snapshot that they build; that is nobody's news. A filter that
    // names them wins.
    let quiet = "deltalake_core=warn,delta_kernel=warn,buoyant_kernel=warn,buoyant_kernel_engine=warn";
    let filter = EnvFilter::try_new(format!("{quiet},{}", settings.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Reporting a failed write would panic, inside a callback from C for instance, when standard
        // error has been closed.
        .log_internal_errors(false);
    let result = match settings.format {
        LogFormat::Human => builder.with_target(false).compact().finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    // Only a subscriber that is already there makes this fail, as in tests.
    drop(result);
    Ok(())
}
