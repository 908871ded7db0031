//! Logs: human or JSON lines on standard error.

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
    // delta-rs logs a commit that lost its race as an error; for us it is an outcome that the commit
    // loop handles and counts.
    let filter = EnvFilter::try_new(format!("deltalake_core::kernel::transaction=off,{}", settings.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr)
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
