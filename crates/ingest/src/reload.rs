//! A new policy while the intake runs.
//!
//! It takes effect at a barrier (RES-7): nothing more is read, everything that was read is settled, and then
//! all workers judge by it. Afterwards every partition is taken over again, as if it came from another
//! process: a flush that was cut off at a rebalance may have left rows of a range in one store that no
//! receipt settles, and only a take-over finds those and finishes them by the policy that began them.

use std::sync::PoisonError;
use std::time::Duration;

use situs_model::planted::{self, Bug};
use situs_model::{ContentVersion, Source};
use situs_policy::Judge;

use crate::client::Client;
use crate::error::IngestError;
use crate::intake::{Control, Intake};

/// Pause before a barrier that was not reached is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// A policy to change to.
#[derive(Debug)]
pub(crate) struct NextPolicy {
    version: ContentVersion,
    /// For each worker those of all pipelines.
    judges: Vec<Vec<Judge>>,
}

impl Control {
    /// Asks the intake to judge by another policy from the next barrier on. The home store must keep its text
    /// already. `judges` has an element for each worker, with a judge for each pipeline in the order of the
    /// stages. One that is asked for before the barrier takes the place of the one before.
    pub fn change_policy(&self, version: ContentVersion, judges: Vec<Vec<Judge>>) {
        let next = NextPolicy { version, judges };
        *self.next_policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    fn awaits_policy(&self) -> bool {
        self.next_policy.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take_policy(&self) -> Option<NextPolicy> {
        self.next_policy.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<C: Client> Intake<'_, C> {
    /// Changes to a new policy, if there is one and everything by the one before can be settled.
    pub(crate) fn change_policy(&mut self) -> Result<(), IngestError> {
        if !self.control.awaits_policy() || self.host.now() < self.change_at {
            return Ok(());
        }
        // A store that takes nothing now would only make all others wait.
        let unwritable = self.metrics.unwritable_stores();
        if !unwritable.is_empty() {
            self.policy_waits(&format!("the stores of {} cannot be written", unwritable.join(", ")));
            return Ok(());
        }
        self.workers.hold()?;
        if !planted::is(Bug::NoBarrier) && !self.flush_all(self.host.now() + self.config.drain_timeout)? {
            self.policy_waits("not everything that was read is settled within the drain time");
            self.workers.go();
            return Ok(());
        }
        let Some(next) = self.control.take_policy() else {
            self.workers.go();
            return Ok(());
        };
        let fits = |judges: &Vec<Judge>| {
            judges.len() == self.definitions.len()
                && self.definitions.iter().zip(judges).all(|(definition, judge)| definition.fits(judge))
        };
        if !next.judges.iter().all(fits) || next.judges.len() != self.workers.count() {
            self.workers.go();
            return Err(IngestError::Worker("was given a policy for other pipelines"));
        }
        let all: Vec<Source> = match planted::is(Bug::ReloadInPlace) {
            true => Vec::new(),
            false => self.partitions.iter().map(|partition| partition.source.clone()).collect(),
        };
        self.drop_partitions(&all)?;
        self.workers.judge_by(next.judges)?;
        for definition in &mut self.definitions {
            definition.judged_by(next.version.clone());
        }
        self.metrics.policy_info.reset();
        self.metrics.policy_info.with_label_values(&[next.version.as_str()]).set(1);
        tracing::info!(
            event = "policy-changed",
            policy = next.version.as_str(),
            partitions = all.len(),
            "everything before is settled; from here on records are judged by this policy"
        );
        self.let_wait_a_moment(&all);
        self.pause(&all)?;
        self.workers.go();
        self.take_over_waiting()
    }

    fn policy_waits(&mut self, why: &str) {
        self.change_at = self.host.now() + AGAIN;
        tracing::warn!(event = "policy-waits", "the policy before stays in force for now: {why}");
    }
}
