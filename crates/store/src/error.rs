//! From what went wrong to what the caller should do about it. Texts carry paths and codes only.

use deltalake::{DeltaTableError, ObjectStoreError};
use situs_model::StoreIdentity;
use situs_model::store::{Advice, StoreError};

use crate::durable::FileError;
use crate::root::RootError;

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

    /// This, and what went wrong while it was looked into. If either stops, both do.
    pub(crate) fn then(self, later: Self) -> Self {
        let stops = self.advice == Advice::Stop || later.advice == Advice::Stop;
        let message = format!("{}; then: {}", self.message, later.message);
        if stops { Self::stop(message) } else { Self::retry(message) }
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

/// What a root that is in use turned out to be (RES-8).
impl From<RootError> for Fault {
    fn from(error: RootError) -> Self {
        match error {
            RootError::NoMarker { root } => {
                Self::retry(format!("{}: marker missing: is the volume mounted?", root.display()))
            }
            RootError::Io { .. } => Self::retry(error.to_string()),
            _ => Self::stop(error.to_string()),
        }
    }
}

impl From<tokio::task::JoinError> for Fault {
    fn from(error: tokio::task::JoinError) -> Self {
        if error.is_panic() {
            // A bug, which does not get better. A panic's text could hold anything, so it is not repeated.
            Self::stop("a step of the store panicked")
        } else {
            Self::retry("a step of the store was cancelled")
        }
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

    #[tokio::test]
    async fn a_panic_stops_and_is_not_quoted() {
        let panicked = tokio::task::spawn_blocking(|| panic!("a value of the payload")).await.unwrap_err();
        let fault = Fault::from(panicked);
        assert_eq!(fault.advice, Advice::Stop);
        assert_eq!(fault.message, "a step of the store panicked");
        assert_eq!(Fault::retry("sync failed").then(fault).advice, Advice::Stop);

        let sleeping = tokio::spawn(std::future::pending::<()>());
        sleeping.abort();
        assert_eq!(Fault::from(sleeping.await.unwrap_err()).advice, Advice::Retry);
    }
}
