use situs_model::Class;

use crate::PipelineFacts;
use crate::testing::{POLICY, facts, policy};

/// Two pipelines; the second is of class `core` and has no column `load`.
fn pipelines() -> [PipelineFacts; 2] {
    let mut poses = facts();
    poses.name = "ar-pose".parse().unwrap();
    poses.class = Class::Core;
    let fields = poses.schema.fields().iter().filter(|field| field.name() != "load").cloned();
    poses.schema = std::sync::Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()));
    [facts(), poses]
}

fn warnings(text: &str) -> Vec<String> {
    let policy = policy(text);
    let found = policy.lint(&pipelines(), "2026-06-01".parse().unwrap());
    found.iter().map(ToString::to_string).collect()
}

/// The small installation with rules before its own.
fn with(rules: &str) -> String {
    POLICY.replace("rules:", &format!("rules:\n{rules}"))
}

#[test]
fn a_good_policy_has_no_warnings() {
    assert_eq!(warnings(POLICY), [""; 0]);
    let foresight =
        with("  - { id: core, jurisdictions: [CN], when: _class = 'core', zone: CN, basis: law }");
    assert_eq!(warnings(&foresight), [""; 0]);
    // Without pipelines nothing can be said of records.
    assert!(policy(POLICY).lint(&[], "2026-06-01".parse().unwrap()).is_empty());
}

#[test]
fn rules_that_are_never_reached() {
    let never = |rules: &str| {
        let found = warnings(&with(rules));
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    // An earlier one that is always true, in whatever words.
    assert_eq!(
        never("  - { id: a, jurisdictions: [CN], zone: CN, basis: law }"),
        "policy.yaml:19:5: rule `cn-resident` is never reached: all its records are matched by `a` before it"
    );
    assert!(
        never("  - { id: a, when: \"_jurisdiction IN ('CN', 'CN') OR 1 = 2\", zone: CN, basis: law }")
            .contains("by `a` before it")
    );
    // Two that together take all.
    let two = "  - { id: a, when: \"_jurisdiction = 'CN' AND _class = 'core'\", zone: CN, basis: law }
  - { id: b, when: \"_jurisdiction = 'CN' AND _class <> 'core'\", zone: CN, basis: law }";
    assert!(
        never(two).contains(
            "rule `cn-resident` is never reached: all its records are matched by `a`, `b` before it"
        )
    );
    // The same condition, though nobody knows when it holds.
    let same =
        "  - { id: a, jurisdictions: [CN, DE], when: load > 3 AND count=1, zone: innermost, basis: law }
  - { id: b, jurisdictions: [CN], when: \"load  >  3 and count = 1\", zone: CN, basis: law }";
    assert!(never(same).contains("rule `b` is never reached: all its records are matched by `a`"));
    // On other days, or for fewer jurisdictions, it is reached.
    for earlier in ["until: 2030-01-01", "from: 2020-01-01"] {
        assert_eq!(
            warnings(&with(&format!(
                "  - {{ id: a, jurisdictions: [CN], {earlier}, zone: CN, basis: law }}"
            ))),
            [""; 0]
        );
    }
    let within = "  - { id: a, jurisdictions: [CN], from: 2026-01-01, zone: CN, basis: law }
  - { id: b, jurisdictions: [CN], from: 2026-02-01, until: 2026-12-31, when: count = 1, zone: CN, basis: law }";
    assert!(never(within).contains("rule `b` is never reached"));
    let fewer = "  - { id: a, jurisdictions: [DE], when: load > 3, zone: EU, basis: law }
  - { id: b, jurisdictions: [DE, 'NO'], when: load > 3, zone: EU, basis: law }";
    assert_eq!(warnings(&with(fewer)), [""; 0]);
    let none = "  - { id: a, jurisdictions: [CN], when: _scenario = 'ar-calibration', zone: CN, basis: law }";
    assert_eq!(
        never(none),
        "policy.yaml:18:5: rule `a` matches no record, whatever the jurisdiction, class and pipeline (24 were tried)"
    );
}

#[test]
fn rules_that_place_the_same_records_differently() {
    let rules = "  - { id: a, when: load > 3, zone: CN, basis: law }
  - { id: b, when: _site LIKE 'st%', zone: EU, basis: law }";
    assert_eq!(
        warnings(&with(rules)),
        [
            "policy.yaml:18:5: rule `a` may match records that its zone `CN` does not have, and they go to quarantine; such as _jurisdiction `DE`, _class `general`, _pipeline `cnc-state`",
            "policy.yaml:19:5: rules `a` and `b` may match the same records, and the order decides where they live; such as _jurisdiction `CN`, _class `general`, _pipeline `cnc-state`: zone `CN` by the first, quarantine by the second",
            "policy.yaml:20:5: rules `b` and `cn-resident` may match the same records, and the order decides where they live; such as _jurisdiction `CN`, _class `general`, _pipeline `cnc-state`: quarantine by the first, zone `CN` by the second",
            "policy.yaml:21:5: rules `a` and `eu-resident` may match the same records, and the order decides where they live; such as _jurisdiction `DE`, _class `general`, _pipeline `cnc-state`: quarantine by the first, zone `EU` by the second",
        ]
    );
    // What can never be of the same day does not overlap.
    let rules =
        "  - { id: a, when: load > 3, jurisdictions: [DE], until: 2026-05-31, zone: GERMANY, basis: law }
  - { id: b, when: count > 3, jurisdictions: [DE], from: 2026-06-01, zone: EU, basis: law }";
    let nested = with(rules).replace("sites:", "  GERMANY: { jurisdictions: [DE], within: EU }\nsites:");
    assert_eq!(
        warnings(&nested),
        [
            "policy.yaml:19:5: rule `a` ended on 2026-05-31: records of later days go on to the next rule",
            "policy.yaml:20:5: rule `b` places records of jurisdiction `DE` in zone `EU`, though zone `GERMANY` within it has them; write `zone: innermost` if they shall live there",
            "policy.yaml:22:5: rule `eu-resident` places records of jurisdiction `DE` in zone `EU`, though zone `GERMANY` within it has them; write `zone: innermost` if they shall live there",
            "policy.yaml:22:5: rules `a` and `eu-resident` may match the same records, and the order decides where they live; such as _jurisdiction `DE`, _class `general`, _pipeline `cnc-state`: zone `GERMANY` by the first, zone `EU` by the second",
        ]
    );
}

#[test]
fn what_has_ended_and_what_nothing_covers() {
    let text = POLICY
        .replace("when: _jurisdiction = 'CN'", "jurisdictions: [CN], until: 2026-05-31")
        .replace("load > 10,", "load > 10, until: 2026-05-31,")
        .replace("devices: [st-1]", "devices: []")
        .replace(
            "when: \"_jurisdiction IN ('DE', 'NO')\"",
            "when: \"_jurisdiction IN ('DE', 'NO') AND _class <> 'core'\"",
        );
    assert_eq!(
        warnings(&text),
        [
            "policy.yaml: on pipeline `ar-pose`, of class `core`, no rule matches records of `CN`, `DE`, `NO` today: they go to quarantine",
            "policy.yaml: on pipeline `cnc-state`, of class `general`, no rule matches records of `CN` today: they go to quarantine",
            "policy.yaml:11:19: site `stuttgart-2` has no device and no `any-device`, so no record is from there",
            "policy.yaml:18:5: rule `cn-resident` ended on 2026-05-31: records of later days go on to the next rule",
            "policy.yaml:21:5: model `wear` ended on 2026-05-31: no record of later days feeds it",
        ]
    );
    let on_its_last_day = text.replace("2026-05-31", "2026-06-01");
    assert!(warnings(&on_its_last_day).iter().all(|warning| !warning.contains("ended")));
    // A rule that begins tomorrow covers nothing today.
    let later = text.replace("[CN], until: 2026-05-31", "[CN], from: 2026-06-02");
    assert!(warnings(&later).iter().any(|warning| warning.contains("records of `CN` today")));
}
