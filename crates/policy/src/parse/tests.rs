use std::time::Instant;

use situs_model::{BasisKind, Training};

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
            "policy.yaml:12:5: rule `cn-resident` is never reached: rule `cn-resident` before it is for all records",
            "policy.yaml:12:11: id `cn-resident` is given twice",
            "policy.yaml:12:30: `when` in rule `cn-resident`: not valid SQL: Expected: an expression, found: EOF",
            "policy.yaml:12:44: `zone` in rule `cn-resident`: there is no zone `EUU`; did you mean `EU`?",
            "policy.yaml:13:5: a rule is never reached: rule `cn-resident` before it is for all records",
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
        (15, 5, "rule `eu` is never reached: rule `all` before it is for all records"),
        (16, 5, "rule `us` is never reached: rule `all` before it is for all records"),
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
fn groups_stand_for_their_members() {
    let text = POLICY
        .replace("[DE, NO]", "[EEA@2020-02-01, CH]")
        .replace("when: \"_jurisdiction IN ('DE', 'NO')\"", "jurisdictions: [EU27@2020-02-01, 'NO']");
    let policy = Policy::parse("p", &text).unwrap();
    let zone = policy.zones().nth(1).unwrap();
    assert_eq!(zone.jurisdictions.len(), 31);
    let rule = policy.rule("eu-resident").unwrap();
    for (code, inside) in [("DE", true), ("NO", true), ("IS", false), ("CN", false), ("GB", false)] {
        assert_eq!(rule.is_for(code.parse().unwrap()), inside, "{code}");
    }
    // What is not China is not China.
    assert!(policy.rule("cn-resident").unwrap().is_for("HK".parse().unwrap()));
    let hong_kong = text.replace("{ jurisdictions: [CN] }", "{ jurisdictions: [CN, HK, MO, TW] }");
    assert_eq!(Policy::parse("p", &hong_kong).unwrap().zones().next().unwrap().jurisdictions.len(), 4);
}

#[test]
fn groups_that_are_none() {
    let text = POLICY
        .replace("[DE, NO]", "[EEA@2020-02-01, DE, EAE@2020-02-01, EEA]")
        .replace("when: _jurisdiction = 'CN'", "jurisdictions: [EU28@2020-02-01, CHN, []]")
        .replace("when: \"_jurisdiction IN ('DE', 'NO')\"", "jurisdictions: []");
    assert_eq!(
        problems(&text),
        [
            "policy.yaml:4:41: jurisdiction `DE` is given twice in zone `EU`",
            "policy.yaml:4:45: an entry of `jurisdictions`: expected one of the groups `EU`, `EU27` and so on, or `EEA`, found `EAE@2020-02-01`; did you mean `EEA@2020-02-01`?",
            "policy.yaml:4:61: an entry of `jurisdictions`: a group needs a day, such as `EEA@2020-02-01`, found `EEA`; did you mean `EEA@2020-02-01`?",
            "policy.yaml:18:40: an entry of `jurisdictions`: the EU had 27 members on 2020-02-01, not 28; did you mean `EU27@2020-02-01`?",
            "policy.yaml:18:57: an entry of `jurisdictions`: expected an ISO 3166-1 alpha-2 code in capitals, such as `CN` or `DE`, or a group on a day, such as `EEA@2020-02-01`, found `CHN`",
            "policy.yaml:18:62: an entry of `jurisdictions` in rule `cn-resident`: expected text, found a list",
            "policy.yaml:19:39: `jurisdictions`: expected at least one entry",
        ]
    );
}

#[test]
fn the_plants_zone_is_the_innermost() {
    let with = |rules: &str| {
        let text = format!(
            "zones:
  CN: {{ jurisdictions: [CN] }}
  EU: {{ jurisdictions: [DE, FR, 'NO'] }}
  DE: {{ within: EU, jurisdictions: [DE] }}
  X: {{ within: DE, jurisdictions: [DE] }}
sites: {{ a: {{ jurisdiction: DE, devices: [a] }} }}
rules:
  - {{ id: x, when: load > 1, zone: X, basis: law }}
  - {{ id: de, when: load > 2, zone: DE, basis: law }}
{rules}
  - {{ id: inner, when: load > 3, zone: innermost, basis: law }}
  - {{ id: cn, jurisdictions: [CN], zone: CN, basis: law }}
"
        );
        let outside = Policy::parse("p", &text).unwrap().outside();
        let of_zone = outside.into_iter().map(|(zone, plants)| {
            let plants: Vec<String> =
                plants.iter().map(|(jurisdiction, plant)| format!("{jurisdiction} of {plant}")).collect();
            format!("{zone}: {}", plants.join(", "))
        });
        of_zone.collect::<Vec<_>>()
    };
    let eu = "  - { id: eu, when: load > 4, jurisdictions: [DE, FR], zone: EU, basis: law }";
    assert_eq!(with(eu), ["DE: DE of X", "EU: DE of X"]);
    // Where no rule places the plant's records in the zone around, no key is needed for it.
    assert_eq!(with(&eu.replace("[DE, FR]", "[FR, 'NO']")), ["DE: DE of X"]);
    assert!(Policy::parse("p", POLICY).unwrap().outside().is_empty());
}

#[test]
fn zones_in_zones() {
    let nested = |more: &str| POLICY.replace("\nsites:", &format!("\n{more}\nsites:"));
    let inner = "  DE: { within: EU, jurisdictions: [DE] }";
    let rule = "rules:\n  - { id: german, jurisdictions: [DE], zone: innermost, basis: law }";
    let text = nested(inner).replace("rules:", rule);
    let policy = Policy::parse("p", &text).unwrap();
    assert_eq!(policy.zones().nth(2).unwrap().within.as_ref().unwrap().as_str(), "EU");
    assert_eq!(
        (policy.rule("german").unwrap().zone.as_ref(), policy.rule("german").unwrap().zone_name()),
        (None, "innermost")
    );
    let innermost =
        |code: &str| policy.innermost(code.parse().unwrap()).map(|zone| policy.zones[zone].zone.id.as_str());
    assert_eq!(["CN", "DE", "NO", "FR"].map(innermost), [Some("CN"), Some("DE"), Some("EU"), None]);

    // Every zone needs a rule.
    assert_eq!(
        problems(&nested(inner)),
        ["policy.yaml:5:3: no rule gives zone `DE`, so no record can live there"]
    );
    let broken = nested(
        "  DE: { within: UE, jurisdictions: [DE] }
  A: { within: B, jurisdictions: [SE] }
  B: { within: A, jurisdictions: [SE] }
  C: { within: B, jurisdictions: [SE] }
  EU2: { within: EU, jurisdictions: [DE, FR] }
  EU3: { within: EU, jurisdictions: ['NO'] }
  EU4: { within: EU3, jurisdictions: ['NO', CN] }",
    )
    .replace("rules:", rule);
    assert_eq!(
        problems(&broken),
        [
            "policy.yaml:5:17: `within` in zone `DE`: there is no zone `UE`; did you mean `EU`?",
            "policy.yaml:5:37: jurisdiction `DE` is in zone `EU` too: zones are disjoint, unless one is `within` the other",
            "policy.yaml:6:16: `within` in zone `A`: a zone cannot be within itself",
            "policy.yaml:7:16: `within` in zone `B`: a zone cannot be within itself",
            "policy.yaml:7:35: jurisdiction `SE` is in zone `A` too: zones are disjoint, unless one is `within` the other",
            "policy.yaml:8:35: jurisdiction `SE` is in zone `A` too: zones are disjoint, unless one is `within` the other",
            "policy.yaml:9:38: jurisdiction `DE` is in zone `DE` too: zones are disjoint, unless one is `within` the other",
            "policy.yaml:9:42: zone `EU2` is within `EU`, which does not have jurisdiction `FR`",
            "policy.yaml:11:45: jurisdiction `CN` is in zone `CN` too: zones are disjoint, unless one is `within` the other",
            "policy.yaml:11:45: zone `EU4` is within `EU3`, which does not have jurisdiction `CN`",
        ]
    );
}

#[test]
fn days_and_classes() {
    let text = POLICY
        .replace("zone: CN, basis", "from: 2026-01-01, until: 2026-12-31, class: important, zone: CN, basis")
        .replace("load > 10,", "load > 10, until: 2027-06-30,");
    let policy = Policy::parse("p", &text).unwrap();
    let rule = policy.rule("cn-resident").unwrap();
    assert_eq!(format!("{:?} {:?}", rule.from.unwrap(), rule.until.unwrap()), "2026-01-01 2026-12-31");
    assert_eq!(rule.class, Some(situs_model::Class::Important));
    assert_eq!(policy.models().next().unwrap().until.unwrap().to_string(), "2027-06-30");
    let text = POLICY
        .replace("zone: CN, basis", "from: 2026-02-30, until: tomorrow, class: secret, zone: CN, basis")
        .replace("zone: EU, basis", "from: 2026-02-01, until: 2026-01-31, zone: EU, basis")
        .replace("load > 10,", "load > 10, untill: 2027-06-30,");
    assert_eq!(
        problems(&text),
        [
            "policy.yaml:18:58: `from` in rule `cn-resident`: expected a day such as `2026-12-31`, found `2026-02-30`",
            "policy.yaml:18:77: `until` in rule `cn-resident`: expected a day such as `2026-12-31`, found `tomorrow`",
            "policy.yaml:18:94: `class` in rule `cn-resident`: expected one of `general`, `important`, `core` or `unclassified`, found `secret`",
            "policy.yaml:19:88: rule `eu-resident` ends on 2026-01-31, before it begins on 2026-02-01",
            "policy.yaml:21:73: unknown key `untill` in model `wear`; did you mean `until`?",
        ]
    );
}

#[test]
fn a_rule_with_days_or_jurisdictions_is_not_for_all_records() {
    for key in ["until: 2030-01-01", "from: 2020-01-01", "jurisdictions: [CN]", "when: count > 1"] {
        let text = POLICY.replace("when: _jurisdiction = 'CN'", key);
        assert!(Policy::parse("p", &text).is_ok(), "{key}");
    }
    let text = POLICY.replace("when: _jurisdiction = 'CN'", "class: core");
    assert_eq!(
        problems(&text),
        [
            "policy.yaml:19:5: rule `eu-resident` is never reached: rule `cn-resident` before it is for all records"
        ]
    );
}

#[test]
fn sites_with_all_their_parts() {
    let text = POLICY.replace(
        "    jurisdiction: DE",
        "    jurisdiction: DE\n    subdivision: DE-BW\n    cluster: kafka-st\n    lines: { hall-1: [st-2, st-3], hall-2: [] }",
    );
    let policy = Policy::parse("p", &text).unwrap();
    let site = policy.sites().nth(1).unwrap();
    assert_eq!(site.subdivision.as_ref().unwrap().as_str(), "DE-BW");
    assert_eq!(site.cluster.as_ref().unwrap().as_str(), "kafka-st");
    assert_eq!((site.lines.len(), site.all_devices().count()), (2, 3));
    let text = POLICY.replace(
        "    jurisdiction: DE",
        "    jurisdiction: DE\n    subdivision: CN-GX\n    cluster: Kafka\n    lines: { Hall: [x], hall-1: [st-1, nn-1], hall-1: [], hall-2: ['', y] }\n    device-file: a.csv",
    );
    assert_eq!(
        problems(&text),
        [
            "policy.yaml:12:18: `subdivision` in site `stuttgart-2`: `CN-GX` is no part of `DE`",
            "policy.yaml:13:14: `cluster` in site `stuttgart-2`: expected a cluster name of lower-case letters, digits or `-`, beginning with a letter, found `Kafka`",
            "policy.yaml:14:14: a name in `lines` in site `stuttgart-2`: expected a line name of lower-case letters, digits or `-`, beginning with a letter, found `Hall`",
            "policy.yaml:14:34: device `st-1` is given twice in site `stuttgart-2`",
            "policy.yaml:14:40: device `nn-1` is registered at site `nanning-1` too",
            "policy.yaml:14:47: key `hall-1` is given twice in `lines` in site `stuttgart-2`",
            "policy.yaml:14:68: `hall-2` in site `stuttgart-2`: a device id has 1 to 256 bytes",
            "policy.yaml:15:5: unknown key `device-file` in site `stuttgart-2`; did you mean `devices-file`?",
        ]
    );
    let hong_kong = POLICY.replace("    jurisdiction: CN", "    jurisdiction: CN\n    subdivision: CN-HK");
    assert!(problems(&hong_kong)[0].contains("`HK` is a jurisdiction, not a part of `CN`"));
}

#[test]
fn sites_and_topics_that_answer_twice() {
    let found = broken("devices: [st-1]", "topics: [edge.halden]\n    any-device: true\n    devices: [nn-2]");
    assert_eq!(
        found,
        [
            "policy.yaml:14:15: device `nn-2` is registered at site `nanning-1` too",
            "policy.yaml:17:14: topic `edge.halden` alone already says `stuttgart-2`: only one site with `any-device` may have it, unless each names a cluster of its own",
        ]
    );
    // Clusters tell them apart.
    let two = |a: &str, b: &str| {
        POLICY.replace("devices: [st-1]", &format!("topics: [edge.halden]\n    any-device: true{a}")).replace(
            "topics: [edge.halden]\n    any-device: true\nrules",
            &format!("topics: [edge.halden]\n    any-device: true{b}\nrules"),
        )
    };
    assert!(Policy::parse("p", &two("\n    cluster: a", "\n    cluster: b")).is_ok());
    for (a, b) in
        [("", "\n    cluster: b"), ("\n    cluster: a", ""), ("\n    cluster: a", "\n    cluster: a")]
    {
        assert!(problems(&two(a, b))[0].contains("alone already says"), "{a} {b}");
    }
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
fn retention_is_a_minimum_and_a_maximum() {
    let with = |entries: &str| format!("{}\nretention:\n{entries}", POLICY.trim_end());
    let text = with(
        "  - { pipelines: [cnc-state], class: core, at-least: 184d, at-most: 3y }\n  - { at-least: 30d }\n",
    );
    let policy = Policy::parse("policy.yaml", &text).unwrap();
    let all: Vec<_> =
        policy.retention().map(|(one, _)| (one.pipelines.len(), one.at_least, one.at_most)).collect();
    use situs_model::Age::{Days, Years};
    assert_eq!(all, [(1, Some(Days(184)), Some(Years(3))), (0, Some(Days(30)), None)]);

    let lines = POLICY.trim_end().lines().count();
    for (entries, line, what) in [
        (
            "  - { at-leest: 3d }\n",
            2,
            "unknown key `at-leest` in an entry of `retention`; did you mean `at-least`?",
        ),
        ("  - { at-least: 3w }\n", 2, "expected days such as `184d`, or years such as `3y`"),
        ("  - { class: cor, at-most: 3d }\n", 2, "did you mean `core`?"),
        ("  - { pipelines: [cnc-state] }\n", 2, "needs `at-least`, `at-most` or both"),
        (
            "  - { at-least: 1y, at-most: 365d }\n",
            2,
            "keeps rows at least 1y and at most 365d, which is less",
        ),
        (
            "  - { pipelines: [a, b], at-least: 2y }\n  - { class: core, pipelines: [b], at-most: 1y }\n",
            3,
            "contradict each other: the first keeps rows at least 2y, the other keeps some of them at most 1y",
        ),
    ] {
        let found = problems(&with(entries));
        let place = format!("policy.yaml:{}:", lines + line);
        assert!(
            found.iter().any(|found| found.starts_with(&place) && found.contains(what)),
            "{what}: {found:#?}"
        );
    }
    // Entries for other rows do not contradict each other.
    for other in ["pipelines: [c]", "pipelines: [a], class: general"] {
        let entries = format!(
            "  - {{ pipelines: [a, b], class: core, at-least: 2y }}\n  - {{ {other}, at-most: 1y }}\n"
        );
        assert!(Policy::parse("policy.yaml", &with(&entries)).is_ok(), "{other}");
    }
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
    assert_eq!((policy.zones().count(), policy.sites().count(), policy.rules().count()), (2, 2, 3));
}
