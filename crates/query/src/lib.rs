//! Answers SQL within a reader's permit.
//!
//! A [`Permit`] names the stores that may be read; a [`Session`] over it sees their tables and
//! nothing else. What a session can resolve is decided by what was registered in it, not by what a
//! statement is allowed to say: its runtime knows one object store per permitted root, and no file
//! system (RES-6).
//!
//! A permit is the owner's, who can read the files anyway, or a reader's: then rows, columns and tables that
//! the reader may not see behave as if they did not exist.
//!
//! There is no write path here: no statement that changes anything is planned, and the objects
//! under a session refuse to be written.
//!
//! ```no_run
//! # async fn run() -> Result<(), situs_query::QueryError> {
//! use situs_query::{Format, Permit, Session, find_stores, write};
//! let permit = Permit::new(find_stores(std::path::Path::new("situs-data"))?);
//! let session = Session::open(&permit).await?;
//! let result = session.sql("select _zone, count(*) from cn.cnc_state group by _zone").await?;
//! write(&result, Format::Table, &mut std::io::stdout())?;
//! # Ok(())
//! # }
//! ```

mod engine;
mod error;
mod objects;
mod output;
mod permit;
mod permitted;
mod session;
mod statement;
mod table;
mod texts;

pub use error::QueryError;
pub use output::{Format, write};
pub use permit::{Permit, find_stores};
pub use session::{QueryResult, Session, TableInfo};
pub use texts::{TextsError, read_texts};
