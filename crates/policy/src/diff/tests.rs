use super::*;
use crate::testing::{POLICY, facts, policy};

fn diff(old: &str, new: &str) -> PolicyDiff {
    policy(old).diff(&policy(new), &[facts()])
}

fn told(old: &str, new: &str) -> Vec<String> {
    diff(old, new).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn what_means_the_same_does_not_differ() {
    let same = POLICY
        .replace("[DE, NO]", "[NO, DE]")
        .replace("zones:", "# A comment.\nzones:")
        .replace("nn-1, nn-2", "nn-2, nn-1");
    assert!(diff(POLICY, &same).is_empty());
    assert_eq!(diff(POLICY, &same).to_string(), "");
}

#[test]
fn everything_at_once() {
    let new = POLICY
        .replace("[DE, NO]", "[DE, 'NO', SE]")
        .replace("sites:", "  VN: { jurisdictions: [VN] }\nsites:")
        .replace("devices: [nn-1, nn-2]", "lines: { l-1: [nn-1] }\n    devices: [st-1, x-1]")
        .replace("devices: [st-1]", "subdivision: DE-BW\n    devices: []")
        .replace("'DE', 'NO'", "'DE', 'NO', 'SE'")
        .replace(
            "rules:",
            "rules:\n  - { id: vn, jurisdictions: [VN], zone: VN, basis: law, until: 2027-01-01 }",
        )
        .replace("training: with-approval", "training: in-zone, class: important")
        .replace("load > 10", "load > 20, until: 2028-01-01")
        .replace("version: \"3\"", "version: \"4\"");
    assert_eq!(
        told(POLICY, &new),
        [
            "zone `EU` changed: jurisdictions: DE NO → DE NO SE",
            "zone `VN` added: jurisdictions VN",
            "site `stuttgart-2` changed: subdivision: none → DE-BW",
            "rule `vn` added: jurisdictions VN; until 2027-01-01; zone VN; training prohibited; basis law",
            "rule `cn-resident` changed: class: none → important; training: with-approval → in-zone",
            "rule `eu-resident` changed: when: _jurisdiction IN ('DE', 'NO') → _jurisdiction IN ('DE', 'NO', 'SE')",
            "model `wear` changed: version: 3 → 4; where: load > 10 → load > 20; until: none → 2028-01-01",
            "1 device registered at nanning-1: x-1",
            "1 device no longer registered (was nanning-1): nn-2",
            "1 device moved from nanning-1 to nanning-1/l-1: nn-1",
            "1 device moved from stuttgart-2 to nanning-1: st-1",
            "records of SE of class `general` on cnc-state:",
            "    before: quarantine, as no rule matches",
            "    after:  zone EU, training allowed",
            "records of VN of class `general` on cnc-state:",
            "    before: quarantine, as no rule matches",
            "    after:  zone VN, training prohibited until 2027-01-01; otherwise quarantine, as no rule matches",
            "records of CN of class `general` on cnc-state:",
            "    before: zone CN, training with-approval",
            "    after:  zone CN, training in-zone, class important",
        ]
    );
}

#[test]
fn rules_that_moved_are_told_apart_from_those_they_moved_past() {
    let rule = |id: &str, when: &str| {
        format!("  - {{ id: {id}, when: {when}, zone: CN, basis: law, training: allowed }}\n")
    };
    let (a, b, c) = (rule("a", "load > 1"), rule("b", "load > 2"), rule("c", "load > 3"));
    let with = |rules: &[&String]| {
        let rules: String = rules.iter().map(|rule| rule.as_str()).collect();
        POLICY.replace("rules:\n", &format!("rules:\n{rules}"))
    };
    assert_eq!(
        told(&with(&[&a, &b, &c]), &with(&[&c, &a, &b])),
        [
            "rule `c` moved: it stood behind `b`, and stands first",
            "records of DE, NO of class `general` on cnc-state:",
            "    before: quarantine where `load > 1`; otherwise quarantine where `load > 2`; otherwise quarantine where `load > 3`; otherwise zone EU, training allowed",
            "    after:  quarantine where `load > 3`; otherwise quarantine where `load > 1`; otherwise quarantine where `load > 2`; otherwise zone EU, training allowed",
            "records of CN of class `general` on cnc-state:",
            "    before: zone CN, training allowed where `load > 1`; otherwise zone CN, training allowed where `load > 2`; otherwise zone CN, training allowed where `load > 3`; otherwise zone CN, training with-approval",
            "    after:  zone CN, training allowed where `load > 3`; otherwise zone CN, training allowed where `load > 1`; otherwise zone CN, training allowed where `load > 2`; otherwise zone CN, training with-approval",
        ]
    );
    // Another name alone means nothing to records.
    let renamed = POLICY.replace("id: cn-resident", "id: cn");
    let found = diff(POLICY, &renamed);
    let kinds: Vec<(&str, ChangeKind)> = found.changes.iter().map(|c| (c.name.as_str(), c.kind)).collect();
    assert_eq!(kinds, [("cn-resident", ChangeKind::Removed), ("cn", ChangeKind::Added)]);
    assert!(found.effects.is_empty());
}

#[test]
fn ten_devices_are_named_of_many() {
    let many = |prefix: &str| (0..200).map(|i| format!("{prefix}-{i:03}")).collect::<Vec<_>>().join(", ");
    let old = POLICY.replace("[nn-1, nn-2]", &format!("[{}]", many("d")));
    let new = POLICY.replace("[st-1]", &format!("[st-1, {}]", many("d")));
    let found = diff(&old, &new);
    let moved = found.devices.iter().find(|moved| moved.from.as_deref() == Some("nanning-1")).unwrap();
    assert_eq!((moved.to.as_deref(), moved.count, moved.names.len()), (Some("stuttgart-2"), 200, 10));
    assert!(found.to_string().contains("200 devices moved from nanning-1 to stuttgart-2: d-000, d-001"));
}
