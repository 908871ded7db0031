//! The days on which rules and models begin and end, as the periods between them.
//!
//! Within a period nothing begins or ends, so a record's period is a fact like its site: what depends on
//! days is worked out once per period, and rows only say which one they are of.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef};
use situs_model::Date;

use crate::condition::Answer;
use crate::policy::Policy;

/// The periods of a policy.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// The first days of all periods but the first one, in order.
    begins: Vec<Date>,
}

/// For each period whether it is among the days of a rule or model; `None` is all days.
pub(super) type Days = Option<Vec<bool>>;

impl Calendar {
    /// The periods between the days that the policy names.
    pub(super) fn new(policy: &Policy) -> Self {
        let of_rules = policy.rules().flat_map(|rule| [rule.from, rule.until.map(Date::next)]);
        let of_models = policy.models().map(|model| model.until.map(Date::next));
        let mut begins: Vec<Date> = of_rules.chain(of_models).flatten().collect();
        begins.sort();
        begins.dedup();
        Self { begins }
    }

    /// Whether all days are alike.
    pub(super) fn is_empty(&self) -> bool {
        self.begins.is_empty()
    }

    /// The periods from a first to a last day, both of which the policy names.
    pub(super) fn days(&self, from: Option<Date>, until: Option<Date>) -> Days {
        if from.is_none() && until.is_none() {
            return None;
        }
        let begins = std::iter::once(None).chain(self.begins.iter().copied().map(Some));
        let within = |begin: Option<Date>| {
            // The first period has no begin: it lies before all days that are named.
            from.is_none_or(|from| begin.is_some_and(|begin| begin >= from))
                && until.is_none_or(|until| begin.is_none_or(|begin| begin <= until))
        };
        Some(begins.map(within).collect())
    }

    /// For each row 0 if it has no time, otherwise one more than its period. `None` if the column holds no
    /// times.
    pub(super) fn periods(&self, times: &ArrayRef) -> Option<Vec<u32>> {
        let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
        // Neighbours are mostly of the same period.
        let (mut first, mut end, mut period) = (i64::MAX, i64::MIN, 0);
        let mut of_time = |us: i64| {
            if !(first..end).contains(&us) {
                let after = self.begins.partition_point(|begin| begin.start_us() <= us);
                first = after.checked_sub(1).map_or(i64::MIN, |before| self.begins[before].start_us());
                end = self.begins.get(after).map_or(i64::MAX, |begin| begin.start_us());
                // There are fewer days than rules and models.
                period = after as u32 + 1;
            }
            period
        };
        Some(match times.nulls() {
            None => times.values().iter().map(|us| of_time(*us)).collect(),
            Some(_) => times.iter().map(|us| us.map_or(0, &mut of_time)).collect(),
        })
    }
}

/// Whether a period is among the days. A record without a time has no answer.
pub(super) fn among(days: &Days, period: Option<usize>) -> Answer {
    match (days, period) {
        (None, _) => Answer::Yes,
        (Some(_), None) => Answer::Failed,
        (Some(days), Some(period)) if days.get(period) == Some(&true) => Answer::Yes,
        (Some(_), Some(_)) => Answer::No,
    }
}
