//! Finding the messages that make a step fail, by halves, and letting all others through.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use situs_model::{RawBatch, Split, ZoneId};
use situs_policy::JudgeError;

use super::{Fault, Stage, StageError};

/// More poison than this in a row, with no message between that became rows, is no longer taken for the
/// messages' fault: a bug that hits them all must not move a stream into quarantine.
pub(super) const MOST_IN_A_ROW: u32 = 100;

/// The poison of a batch, for the log.
#[derive(Default)]
struct Found {
    count: u64,
    /// The first one's offset, and what happened.
    first: Option<(i64, String)>,
}

impl Stage {
    /// Does the steps of a batch that failed as a whole in parts, until the messages that make them fail
    /// stand alone. The decoder must be as it was before the batch.
    ///
    /// A poisonous message costs two attempts for each time that the batch can be halved, and each attempt
    /// copies its messages. A batch without poison never comes here.
    pub(super) fn isolate(
        &mut self,
        raw: &RawBatch,
        fault: Fault,
        stores: &BTreeSet<ZoneId>,
    ) -> Result<Split, StageError> {
        // Columns that do not fit the policy fit it with no message, and what fails without messages fails
        // because of none.
        if raw.is_empty() || matches!(fault, Fault::Judge(JudgeError::Columns { .. })) {
            return Err(fault.at(raw));
        }
        self.attempt(Arc::new(raw.part(0..0)), stores).map_err(|fault| fault.at(raw))?;
        let (mut whole, mut found) = (Split::default(), Found::default());
        self.halve(raw, 0..raw.len(), fault, stores, &mut whole, &mut found)?;
        if let Some((offset, fault)) = found.first {
            let source = raw.source();
            tracing::warn!(
                event = "poison",
                pipeline = self.pipeline.name.as_str(),
                topic = &*source.topic,
                partition = source.partition,
                offset,
                messages = found.count,
                "messages that make a step fail go to quarantine; the first: {fault}"
            );
        }
        Ok(whole)
    }

    /// Does the steps of messages that failed together with `fault`.
    fn halve(
        &mut self,
        raw: &RawBatch,
        messages: Range<usize>,
        fault: Fault,
        stores: &BTreeSet<ZoneId>,
        whole: &mut Split,
        found: &mut Found,
    ) -> Result<(), StageError> {
        if messages.len() == 1 {
            return self.poison(&raw.part(messages), fault, whole, found);
        }
        let middle = messages.start + messages.len() / 2;
        for half in [messages.start..middle, middle..messages.end] {
            let before = self.decoder.remembered(raw.source());
            match self.attempt(Arc::new(raw.part(half.clone())), stores) {
                Ok(split) => whole.add(split),
                Err(fault) => {
                    self.decoder.renew(raw.source(), before);
                    self.halve(raw, half, fault, stores, whole, found)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a batch of one message to quarantine.
    fn poison(
        &mut self,
        message: &RawBatch,
        fault: Fault,
        whole: &mut Split,
        found: &mut Found,
    ) -> Result<(), StageError> {
        self.poison_in_a_row += 1;
        if self.poison_in_a_row > MOST_IN_A_ROW {
            let place = Box::new((message.source().clone(), message.range()));
            return Err(StageError::TooMuchPoison { place, count: self.poison_in_a_row, fault });
        }
        found.count += 1;
        found.first.get_or_insert_with(|| (message.offset(0), fault.to_string()));
        whole.add(Split::poison(message));
        Ok(())
    }
}
