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

/// First and longest pause before a barrier that was not reached is tried again.
pub(crate) const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// How long a step of a barrier waits before it looks whether the process is to stop.
const STEP: Duration = Duration::from_millis(500);

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
    pub fn ask_for_policy(&self, version: ContentVersion, judges: Vec<Vec<Judge>>) {
        let next = NextPolicy { version, judges };
        *self.next_policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    /// The policy that the intake has changed to; `None` if it judges by the one that it began with.
    pub fn policy_in_force(&self) -> Option<ContentVersion> {
        self.policy_in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let awaits = self.control.awaits_policy();
        self.metrics.policy_waiting.set(i64::from(awaits));
        // While the group is rebalanced nothing could be taken over again.
        if !awaits || self.host.now() < self.change_at || !self.client.is_steady() {
            return Ok(());
        }
        // A flush that a store does not take now would only make all others wait.
        let unwritable = self.metrics.unwritable_stores();
        if !unwritable.is_empty() && self.flushing.contains(&true) {
            self.policy_waits(&format!("the stores of {} cannot be written", unwritable.join(", ")));
            return Ok(());
        }
        self.workers.hold()?;
        if !planted::is(Bug::NoBarrier) && !self.settle_all()? {
            self.policy_waits("not everything that was read is settled within the drain time");
            self.workers.go();
            return Ok(());
        }
        // Of a topic that began again only its partitions' notes tell, which go with them.
        self.look_for_regressions()?;
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
        self.change_pause = AGAIN.0;
        *self.control.policy_in_force.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(next.version.clone());
        self.metrics.policy_waiting.set(0);
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

    /// Settles everything that was read, within the drain time and unless the process is to stop.
    fn settle_all(&mut self) -> Result<bool, IngestError> {
        let deadline = self.host.now() + self.config.drain_timeout;
        loop {
            let now = self.host.now();
            if self.flush_all(deadline.min(now + STEP))? {
                return Ok(true);
            }
            if self.control.is_stopping() || self.host.now() >= deadline {
                return Ok(false);
            }
        }
    }

    fn policy_waits(&mut self, why: &str) {
        self.change_at = self.host.now() + self.change_pause;
        self.change_pause = (self.change_pause * 2).min(AGAIN.1);
        tracing::warn!(event = "policy-waits", "the policy before stays in force for now: {why}");
    }
}
