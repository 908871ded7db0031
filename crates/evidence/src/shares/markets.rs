//! Where models are deployed: as the policy says today, and as those said that judged the rows.

use std::collections::{BTreeMap, BTreeSet};

use situs_policy::Policy;
use situs_store::Tags;

/// Markets by model, as one policy declares them.
pub(super) type Declared = BTreeMap<String, BTreeSet<String>>;

/// What a policy declares.
pub(super) fn declared(policy: &Policy) -> Declared {
    let of = |model: &situs_policy::Model| {
        let markets = model.markets.iter().map(ToString::to_string).collect();
        (model.id.to_string(), markets)
    };
    policy.models().map(of).collect()
}

/// What is known of the markets of models.
#[derive(Debug, Default)]
pub(super) struct Markets {
    /// By today's policy.
    pub(super) today: Declared,
    /// By the policies that judged rows, by version. `None` if the text of one is not kept.
    pub(super) past: BTreeMap<String, Option<Declared>>,
}

impl Markets {
    /// Where a model was deployed when rows with these tags were judged. Without the text of the policy, or where it
    /// does not know the model, that is all that the rows' own tags say: of all models together that they feed, so
    /// rather too many markets than too few.
    fn when_judged(&self, model: &str, tags: &Tags) -> BTreeSet<String> {
        let known = self.past.get(&tags.policy).and_then(Option::as_ref).and_then(|of| of.get(model));
        known.cloned().unwrap_or_else(|| tags.markets.iter().cloned().collect())
    }

    /// All markets of a model: those of today, and those in which it was when rows were judged that feed it.
    pub(super) fn of<'a>(
        &self,
        model: &str,
        rows: impl Iterator<Item = &'a Tags>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let today = self.today.get(model).cloned().unwrap_or_default();
        let mut before = BTreeSet::new();
        for tags in rows.filter(|tags| tags.models.iter().any(|one| one == model)) {
            before.extend(self.when_judged(model, tags));
        }
        before.retain(|market| !today.contains(market));
        (today, before)
    }
}
