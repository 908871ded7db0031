//! From what went wrong to what the caller should do about it. Texts carry paths and codes only.

use deltalake::{DeltaTableError, ObjectStoreError};
use situs_model::StoreIdentity;
use situs_model::store::{Advice, StoreError};

use crate::durable::FileError;

/// Why a step failed, before the store puts its name to it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) advice: Advice,
    pub(crate) message: String,
}

impl Fault {
    /// The world is to blame and may get better.
    pub(crate) fn retry(message: impl Into<String>) -> Self {
        Self { advice: Advice::Retry, message: message.into() }
    }

    /// Going on would break a promise.
    pub(crate) fn stop(message: impl Into<String>) -> Self {
        Self { advice: Advice::Stop, message: message.into() }
    }

    /// Names the store.
    pub(crate) fn at(self, store: &StoreIdentity) -> StoreError {
        StoreError { advice: self.advice, store: store.clone(), message: self.message }
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::retry(error.to_string())
    }
}

impl From<tokio::task::JoinError> for Fault {
    fn from(error: tokio::task::JoinError) -> Self {
        // A panic's text could hold anything, so it is not repeated.
        let what = if error.is_panic() { "panicked" } else { "was cancelled" };
        Self::retry(format!("a step of the store {what}"))
    }
}

/// What delta-rs was asked to do and how it failed. Most of its errors quote what they choked on,
/// which may be a statistic, that is a value; so only the kind of error is told, except for those of
/// the file system.
pub(crate) fn delta(action: &str) -> impl FnOnce(DeltaTableError) -> Fault {
    let action = action.to_owned();
    move |error| match &error {
        DeltaTableError::ObjectStore { source: ObjectStoreError::NotFound { path, .. } } => {
            Fault::retry(format!("cannot {action}: {path} is missing"))
        }
        _ => Fault::retry(format!("cannot {action}: delta-rs says {}", kind(&error))),
    }
}

/// The variant's name: the first word of an error's debug text.
fn kind(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_delta_do_not_quote() {
        let error = DeltaTableError::Generic("a value of the payload".to_owned());
        let fault = delta("read the log")(error);
        assert_eq!(fault.message, "cannot read the log: delta-rs says Generic");
    }
}
