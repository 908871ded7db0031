//! The threads that statements run on.

use std::future::Future;

use datafusion::common::runtime::SpawnedTask;
use tokio::runtime::{Builder, Runtime};

use crate::error::QueryError;

/// Stack of each thread, in bytes: enough for a statement of [`statement::LIMIT`](crate::statement::LIMIT)
/// parts that all stand inside each other, with room to spare. Only what is used is ever backed by memory.
const STACK: usize = 128 << 20;

/// Threads of a session's own: a statement that calculates does not hold up whoever asked, one that
/// nests deeply has the stack for it, and one that meets a bug of the engine ends alone.
#[derive(Debug)]
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Engine {
    /// Starts the threads, one per processor.
    pub(crate) fn start() -> Result<Self, QueryError> {
        let runtime = Builder::new_multi_thread()
            .thread_name("situs-query")
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| {
                QueryError::Run(format!("the threads of a session cannot be started: {error}"))
            })?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` there; it is given up if the caller stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let task = {
            let _inside = self.runtime.as_ref().map(Runtime::enter);
            SpawnedTask::spawn(work)
        };
        task.await.unwrap_or_else(|_| {
            Err(QueryError::Run("the engine failed on this statement; this is a bug in it".to_owned()))
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Waiting for the threads would block, which a caller that is itself async must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
