//! When something in a policy ends.

use situs_model::Date;

use crate::policy::Policy;

impl Policy {
    /// The first last day, not before `today`, of a rule, a model or a transfer; `None` if none of them ends.
    pub fn next_end(&self, today: Date) -> Option<Date> {
        let rules = self.rules().filter_map(|rule| rule.until);
        let models = self.models().filter_map(|model| model.until);
        let transfers = self.transfers.iter().filter_map(|entry| entry.transfer.until);
        rules.chain(models).chain(transfers).filter(|until| *until >= today).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_end_is_that_of_what_has_not_ended() {
        let text = "
zones: { CN: { jurisdictions: [CN] } }
sites: { nanning-1: { jurisdiction: CN, devices: [nn-cnc-001] } }
rules:
  - { id: a, when: _jurisdiction = 'CN', zone: CN, basis: law, training: in-zone, until: 2026-01-31 }
  - { id: b, when: _jurisdiction = 'CN', zone: CN, basis: law, training: in-zone, until: 2026-03-31 }
  - { id: c, when: _jurisdiction = 'CN', zone: CN, basis: law, training: in-zone }
";
        let policy = Policy::parse("policy.yaml", text).unwrap();
        let end = |month, day| policy.next_end(Date::of(2026, month, day));
        assert_eq!(end(1, 1), Some(Date::of(2026, 1, 31)));
        assert_eq!(end(1, 31), Some(Date::of(2026, 1, 31)));
        assert_eq!(end(2, 1), Some(Date::of(2026, 3, 31)));
        assert_eq!(end(4, 1), None);
    }
}
