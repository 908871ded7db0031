//! A process that dies at a step of the file system, for tests of what it leaves.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::simulation::{Answer, Op, Watch};

/// Lets a process die at a step.
#[derive(Debug, Default)]
pub(crate) struct Dies {
    at: u64,
    steps: AtomicU64,
    /// Whether it has died.
    pub(crate) dead: AtomicBool,
    /// Whether a step was told to have failed, and its file was there.
    pub(crate) lies: AtomicBool,
}

impl Dies {
    /// At this step, counted from 1.
    pub(crate) fn at(at: u64) -> Arc<Self> {
        Arc::new(Self { at, ..Self::default() })
    }
}

impl Watch for Dies {
    fn ask(&self, op: Op, _: &Path) -> Answer {
        let gone = Answer::Refused(io::ErrorKind::TimedOut);
        if self.dead.load(Ordering::SeqCst) {
            return gone;
        }
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Answer::Done;
        }
        self.dead.store(true, Ordering::SeqCst);
        // Half of the deaths come after the step was made.
        let made = self.at.is_multiple_of(2) && matches!(op, Op::Link | Op::Create | Op::Remove | Op::Write);
        if made { Answer::Lost(io::ErrorKind::TimedOut) } else { gone }
    }

    fn ask_elsewhere(&self, _: Op, _: &Path) -> Answer {
        Answer::Done
    }

    fn failed_though_there(&self, _: &Path) {
        self.lies.store(true, Ordering::SeqCst);
    }
}
