use std::time::Instant;

use super::*;
use crate::testing::POLICY;

fn problems(text: &str) -> Vec<String> {
    let problems = Policy::parse("policy.yaml", text).expect_err("is broken");
    problems.0.iter().map(ToString::to_string).collect()
}

/// The small installation with one part of its text replaced.
fn broken(from: &str, to: &str) -> Vec<String> {
    assert!(POLICY.contains(from), "{from}");
    problems(&POLICY.replacen(from, to, 1))
}

#[test]
fn a_whole_policy() {
    let policy = Policy::parse("policy.yaml", POLICY).unwrap();
    assert_eq!(policy.text(), POLICY);
    assert_eq!(*policy.version(), ContentVersion::of(POLICY.as_bytes()));
    let zones: Vec<String> =
        policy.zones().map(|zone| format!("{} {:?}", zone.id, zone.jurisdictions)).collect();
    assert_eq!(zones, ["CN [CN]", "EU [DE, NO]"]);
    let halden = policy.sites().nth(2).unwrap();
    assert!(halden.any_device && halden.devices.is_empty());
    assert_eq!(policy.sites().next().unwrap().devices.len(), 2);
    let rule = policy.rule("cn-resident").unwrap();
    assert_eq!(rule.when.as_deref(), Some("_jurisdiction = 'CN'"));
    assert_eq!((rule.basis, rule.training), (BasisKind::Law, Training::WithApproval));
    assert_eq!(rule.reference.as_deref(), Some("text"));
    assert!(policy.rule("cn").is_none());
    let model = policy.models().next().unwrap();
    assert_eq!((model.version.as_str(), model.filter.as_deref()), ("3", Some("load > 10")));
    assert_eq!(format!("{:?}", model.markets), "[CN, DE]");
}

#[test]
fn training_is_prohibited_unless_a_rule_says_otherwise() {
    let text = POLICY.replace(", training: with-approval", "");
    assert_eq!(
        Policy::parse("p", &text).unwrap().rule("cn-resident").unwrap().training,
        Training::Prohibited
    );
}

#[test]
fn every_slip_of_a_name_is_reported_with_the_nearest_word() {
    let text = "
zone:
  XX: {}
zones:
  CN: { jurisdictions: [CN], jurisdiction: CN }
  EU: { jurisdiction: [DE] }
sites:
  nanning-1: { jurisdiction: CN, topic: [a], device: [x] }
  Stuttgart: { jurisdiction: DE }
rules:
  - { id: cn-resident, whn: true, zone: CM, basis: lex, training: in_zone }
  - { id: cn-resident, when: load >, zone: EUU, basis: contract }
  - { zone: CN, basis: law }
model: []
";
    assert_eq!(
        problems(text),
        [
            "policy.yaml:2:1: unknown key `zone` in the policy; did you mean `zones`?",
            "policy.yaml:5:30: unknown key `jurisdiction` in zone `CN`; did you mean `jurisdictions`?",
            "policy.yaml:6:3: no rule gives zone `EU`, so no record can live there",
            "policy.yaml:6:7: zone `EU` needs a key `jurisdictions`",
            "policy.yaml:6:9: unknown key `jurisdiction` in zone `EU`; did you mean `jurisdictions`?",
            "policy.yaml:8:34: unknown key `topic` in site `nanning-1`; did you mean `topics`?",
            "policy.yaml:8:46: unknown key `device` in site `nanning-1`; did you mean `devices`?",
            "policy.yaml:9:3: a name in `sites`: expected a site name of lower-case letters, digits or `-`, beginning with a letter, found `Stuttgart`",
            "policy.yaml:11:24: unknown key `whn` in rule `cn-resident`; did you mean `when`?",
            "policy.yaml:11:41: `zone` in rule `cn-resident`: there is no zone `CM`; did you mean `CN`?",
            "policy.yaml:11:52: `basis` in rule `cn-resident`: expected one of `law`, `contract` or `voluntary`, found `lex`",
            "policy.yaml:11:67: `training` in rule `cn-resident`: expected one of `prohibited`, `in-zone`, `with-approval` or `allowed`, found `in_zone`; did you mean `in-zone`?",
            "policy.yaml:12:5: rule `cn-resident` is never reached: rule `cn-resident` before it has no `when`",
            "policy.yaml:12:11: id `cn-resident` is given twice",
            "policy.yaml:12:30: `when` in rule `cn-resident`: not valid SQL: Expected: an expression, found: EOF",
            "policy.yaml:12:44: `zone` in rule `cn-resident`: there is no zone `EUU`; did you mean `EU`?",
            "policy.yaml:13:5: a rule is never reached: rule `cn-resident` before it has no `when`",
            "policy.yaml:13:5: a rule needs a key `id`",
            "policy.yaml:14:1: unknown key `model` in the policy; did you mean `models`?",
        ]
    );
}

#[test]
fn codes_that_are_no_jurisdictions() {
    let text = "
zones:
  CN: { jurisdictions: [CN, \u{421}N, cn, 'CN ', EU, UK, '', ~, [DE]] }
  EU: { jurisdictions: [DE, CN, DE] }
  eu: { jurisdictions: [FR] }
  '': { jurisdictions: [SE] }
  US: { jurisdictions: [] }
sites:
  a: { jurisdiction: CHN, devices: ['', x, y, x], topics: [] }
  b: { devices: [y] }
  c: { jurisdiction: DE, any-device: true }
  d: { jurisdiction: DE, any-device: yes, topics: [a/b, ok, ok] }
rules:
  - { id: all, zone: CN, basis: law }
  - { id: eu, when: \"true\", zone: EU, basis: law }
  - { id: us, when: \"true\", zone: US, basis: law }
";
    let found = problems(text);
    let expected = [
        (3, 29, "found `\u{421}N`"),
        (3, 33, "found `cn`"),
        (3, 37, "found `CN `"),
        (3, 44, "found `EU`"),
        (3, 48, "found `UK`"),
        (3, 52, "found ``"),
        (3, 56, "expected text, found nothing"),
        (3, 59, "expected text, found a list"),
        (4, 29, "jurisdiction `CN` is in zone `CN` too: zones are disjoint"),
        (4, 33, "jurisdiction `DE` is given twice in zone `EU`"),
        (5, 3, "expected a zone name"),
        (5, 3, "no rule gives zone `eu`"),
        (6, 3, "expected a zone name"),
        (6, 3, "no rule gives zone ``"),
        (7, 24, "expected at least one entry"),
        (9, 8, "found `CHN`"),
        (9, 37, "a device id has 1 to 256 bytes"),
        (9, 47, "device `x` is given twice in site `a`"),
        (9, 59, "expected at least one topic"),
        (10, 6, "site `b` needs a key `jurisdiction`"),
        (10, 18, "device `y` is registered at site `a` too"),
        (11, 6, "site `c` has `any-device`, so it needs a key `topics`"),
        (12, 38, "expected one of `true` or `false`, found `yes`"),
        (12, 52, "a topic name has"),
        (12, 61, "topic `ok` is given twice in site `d`"),
        (15, 5, "rule `eu` is never reached: rule `all` before it has no `when`"),
        (16, 5, "rule `us` is never reached: rule `all` before it has no `when`"),
    ];
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
    for (found, (line, column, text)) in found.iter().zip(expected) {
        let column = format!("policy.yaml:{line}:{column}: ");
        // Columns of the registry's line 9 depend on where the value stands, not its key.
        assert!(found.starts_with(&column) || line == 9, "{found}\nexpected {column}{text}");
        assert!(found.contains(text), "{found}\nexpected {column}{text}");
    }
}

#[test]
fn sites_and_topics_that_answer_twice() {
    let found = broken("devices: [st-1]", "topics: [edge.halden]\n    any-device: true\n    devices: [nn-2]");
    assert_eq!(
        found,
        [
            "policy.yaml:14:15: device `nn-2` is registered at site `nanning-1` too",
            "policy.yaml:17:14: topic `edge.halden` alone already says `stuttgart-2`: only one site with `any-device` may have it",
        ]
    );
}

#[test]
fn models_need_their_parts() {
    let found = broken(
        "- { id: wear, version: \"3\", pipelines: [cnc-state], where: load > 10, markets: [DE, CN] }",
        "- { id: Wear, pipelins: [cnc-state], where: [load], markets: [D] }\n  - { id: b, version: 1, pipelines: [], where: (load, markets: [] }",
    );
    assert_eq!(
        found,
        [
            "policy.yaml:21:5: model `Wear` needs a key `pipelines`",
            "policy.yaml:21:5: model `Wear` needs a key `version`",
            "policy.yaml:21:11: `id` in model `Wear`: expected a model id of lower-case letters, digits or `-`, beginning with a letter, found `Wear`",
            "policy.yaml:21:17: unknown key `pipelins` in model `Wear`; did you mean `pipelines`?",
            "policy.yaml:21:47: `where` in model `Wear`: expected text, found a list",
            "policy.yaml:21:65: an entry of `markets`: expected an ISO 3166-1 alpha-2 code in capitals, such as `CN` or `DE`, found `D`",
            "policy.yaml:22:37: `pipelines`: expected at least one entry",
            "policy.yaml:22:48: `where` in model `b`: not valid SQL: Expected: ), found: EOF",
        ]
    );
}

#[test]
fn what_is_no_policy_at_all() {
    for text in
        ["", "[]", "zones", "zones: 1\nsites: 2\nrules: 3", "zones: {}\nsites: {}\nrules: []", "{", "a: *b"]
    {
        assert!(!problems(text).is_empty(), "{text}");
    }
    assert_eq!(problems("zones: {}\nsites: {}\nrules: []").len(), 2);
}

#[test]
fn a_hundred_thousand_devices() {
    use std::fmt::Write as _;
    let mut text = POLICY.to_owned();
    let mut list = String::from("devices: [nn-1");
    for i in 0..100_000 {
        write!(list, ", device-{i:06}").unwrap();
    }
    text = text.replace("devices: [nn-1", &list);
    let start = Instant::now();
    let policy = Policy::parse("policy.yaml", &text).unwrap();
    assert_eq!(policy.sites().next().unwrap().devices.len(), 100_002);
    // Quadratic reading would take minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn the_example_of_the_document_is_a_policy() {
    let document = include_str!("../../../../docs/policy.md");
    let (_, rest) = document.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let policy = Policy::parse("docs/policy.md", example).unwrap();
    assert_eq!((policy.zones().count(), policy.sites().count(), policy.rules().count()), (2, 2, 2));
}
