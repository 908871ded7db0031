//! Why a query gave no answer.

use std::path::PathBuf;

use arrow_schema::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use parquet::errors::ParquetError;
use situs_model::ZoneId;
use situs_model::store::StoreError;
use situs_store::RootError;

/// Why a query gave no answer.
///
/// An error is part of the answer to its reader: it may repeat the statement, and
/// [`Run`](QueryError::Run) may quote a value of the rows that the reader may see. Show it to the
/// reader and keep it out of logs (RES-5).
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A directory cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no store where one was looked for.
    #[error("no store in {}: a store is a directory with a marker file of Situs; `situs store init` makes one", path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A permit names two stores of one zone, so that `zone.table` could mean either.
    #[error("zone {zone} has two stores: {} and {}; a session can read one of them", first.display(), second.display())]
    TwoStores {
        /// The zone.
        zone: ZoneId,
        /// One root.
        first: PathBuf,
        /// The other root.
        second: PathBuf,
    },
    /// A root is not a store, or another's.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table's files are not as its log should say.
    #[error("table {table}: {problem}")]
    Table {
        /// The table, as `zone.table`.
        table: String,
        /// What is wrong.
        problem: String,
    },
    /// A statement that does more than read.
    #[error("{statement} is refused: a session only reads; use SELECT, EXPLAIN, SHOW or DESCRIBE")]
    Refused {
        /// Its first word, or what it is.
        statement: String,
    },
    /// `EXPLAIN` in the session of a reader.
    #[error("EXPLAIN is refused to readers: a plan tells of files and rows that they may not see")]
    ExplainRefused,
    /// A statement that might be nested too deeply.
    #[error("the statement is too large: it has more than {limit} words, operators and brackets")]
    TooLarge {
        /// How many it may have; values and commas do not count.
        limit: usize,
    },
    /// More or less than one statement.
    #[error("expected one statement, found {found}")]
    NotOneStatement {
        /// How many there are.
        found: &'static str,
    },
    /// A table that the session does not have, whether or not it exists elsewhere.
    #[error("unknown table `{table}`{}; this session has: {}", did_you_mean(nearest.as_deref()), known.join(", "))]
    UnknownTable {
        /// The table, as written.
        table: String,
        /// The nearest name, where one is near.
        nearest: Option<String>,
        /// The session's tables.
        known: Vec<String>,
    },
    /// The statement is not understood.
    #[error("{0}")]
    Statement(String),
    /// The statement failed while it ran.
    #[error("{0}")]
    Run(String),
    /// The result cannot be written in this format.
    #[error("the result cannot be written in this format: {0}")]
    Encode(String),
    /// The result cannot be written there.
    #[error("writing the result: {0}")]
    Write(#[from] std::io::Error),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

impl QueryError {
    /// A statement that could not be parsed or planned.
    pub(crate) fn statement(error: &DataFusionError) -> Self {
        Self::Statement(readable(error))
    }

    /// A statement that failed while it ran.
    pub(crate) fn run(error: &DataFusionError) -> Self {
        Self::Run(readable(error))
    }
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, source) => Self::Write(source),
            other => Self::Encode(other.to_string()),
        }
    }
}

impl From<ParquetError> for QueryError {
    fn from(error: ParquetError) -> Self {
        Self::Encode(error.to_string())
    }
}

/// The sentence of an error, without the wrappings that only say which part of the engine passed it on.
fn readable(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        },
        DataFusionError::SchemaError(error, _) => error.to_string(),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text) => without_backtrace(text),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => readable(inner),
        DataFusionError::Shared(inner) => readable(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => {
            errors.iter().map(readable).collect::<Vec<_>>().join("\n")
        }
        other => other.strip_backtrace(),
    }
}

fn without_backtrace(text: &str) -> String {
    text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(text).to_owned()
}
