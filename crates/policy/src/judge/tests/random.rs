//! Judging compared with docs/policy.md read literally, one record at a time, for random policies
//! and random records.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::testing::{Row, Tags, batch, facts, policy, tags};

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

const TOPICS: [&str; 3] = ["cnc.state", "edge.halden", "other"];
const ZONES: [(&str, &[&str]); 3] = [("CN", &["CN"]), ("EU", &["DE", "FR"]), ("US", &["US"])];
/// `NO` is in no zone.
const JURISDICTIONS: [&str; 5] = ["CN", "DE", "FR", "US", "NO"];
const TRAINING: [&str; 4] = ["prohibited", "in-zone", "with-approval", "allowed"];

/// A condition simple enough to be evaluated by hand.
#[derive(Debug, Clone)]
enum Test {
    Fact(&'static str, bool, String),
    Load(bool, f64),
    LoadIsNull,
    Ratio(i64),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Lacking,
}

/// Of three-valued logic: `Ok(None)` is NULL, `Err` is a failure.
type Truth = Result<Option<bool>, ()>;

struct Known<'a> {
    topic: &'a str,
    jurisdiction: Option<&'a str>,
    site: Option<&'a str>,
    claimed: Option<&'a str>,
}

impl Test {
    fn random(random: &mut Random, depth: usize) -> Self {
        let inner = |random: &mut Random| Box::new(Self::random(random, depth - 1));
        match random.below(if depth == 0 { 9 } else { 13 }) {
            0..=2 => Self::Fact("_jurisdiction", random.one_in(4), random.pick(&JURISDICTIONS).to_owned()),
            3 => Self::Fact("_site", random.one_in(4), format!("site-{}", random.below(5))),
            4 => Self::Fact("_topic", random.one_in(4), random.pick(&TOPICS).to_owned()),
            5 => Self::Fact("_claimed", random.one_in(4), random.pick(&JURISDICTIONS).to_owned()),
            6 => Self::Load(random.one_in(2), random.below(5) as f64),
            7 if random.one_in(3) => Self::Lacking,
            7 => Self::LoadIsNull,
            8 => Self::Ratio(random.below(4) as i64),
            9 | 10 => Self::And(inner(random), inner(random)),
            11 => Self::Or(inner(random), inner(random)),
            _ => Self::Not(inner(random)),
        }
    }

    fn sql(&self) -> String {
        match self {
            Self::Fact(name, false, text) => format!("{name} = '{text}'"),
            Self::Fact(name, true, text) => format!("{name} <> '{text}'"),
            Self::Load(true, limit) => format!("load > {limit}"),
            Self::Load(false, limit) => format!("load <= {limit}"),
            Self::LoadIsNull => "load IS NULL".to_owned(),
            Self::Ratio(limit) => format!("10 / count > {limit}"),
            Self::And(a, b) => format!("({} AND {})", a.sql(), b.sql()),
            Self::Or(a, b) => format!("({} OR {})", a.sql(), b.sql()),
            Self::Not(a) => format!("(NOT {})", a.sql()),
            Self::Lacking => "no_such_column = 1".to_owned(),
        }
    }

    /// Whether the condition names a column that the pipeline lacks.
    fn lacks(&self) -> bool {
        match self {
            Self::Lacking => true,
            Self::And(a, b) | Self::Or(a, b) => a.lacks() || b.lacks(),
            Self::Not(a) => a.lacks(),
            _ => false,
        }
    }

    /// Whether the condition may fail: SQL does not say in which order `AND` and `OR` are worked
    /// out, so a failure is only predictable where it stands alone.
    fn may_fail(&self) -> bool {
        match self {
            Self::Ratio(_) => true,
            Self::And(a, b) | Self::Or(a, b) => a.may_fail() || b.may_fail(),
            Self::Not(a) => a.may_fail(),
            _ => false,
        }
    }

    fn truth(&self, row: &Row, known: &Known<'_>) -> Truth {
        match self {
            Self::Fact(name, negated, text) => {
                let value = match *name {
                    "_jurisdiction" => known.jurisdiction,
                    "_site" => known.site,
                    "_claimed" => known.claimed,
                    _ => Some(known.topic),
                };
                Ok(value.map(|value| (value == text) != *negated))
            }
            Self::Load(above, limit) => Ok(row.load.map(|load| (load > *limit) == *above)),
            Self::LoadIsNull => Ok(Some(row.load.is_none())),
            Self::Ratio(limit) => match row.count {
                None => Ok(None),
                Some(0) => Err(()),
                Some(count) => Ok(Some(10 / count > *limit)),
            },
            Self::And(a, b) => Ok(match (a.truth(row, known)?, b.truth(row, known)?) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }),
            Self::Or(a, b) => Ok(match (a.truth(row, known)?, b.truth(row, known)?) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }),
            Self::Not(a) => Ok(a.truth(row, known)?.map(|truth| !truth)),
            Self::Lacking => Ok(None),
        }
    }
}

/// A random condition; unless `wild`, one whose failures are predictable.
fn condition(random: &mut Random, wild: bool) -> Test {
    let test = Test::random(random, 2);
    match &test {
        Test::Ratio(_) => test,
        _ if test.may_fail() && !wild => condition(random, wild),
        _ => test,
    }
}

struct RandomSite {
    jurisdiction: &'static str,
    topics: Option<Vec<&'static str>>,
    devices: Vec<String>,
    any_device: bool,
}

struct RandomRule {
    when: Option<Test>,
    zone: usize,
    training: usize,
}

struct RandomModel {
    filter: Option<Test>,
    markets: BTreeSet<&'static str>,
    here: bool,
}

struct RandomPolicy {
    sites: Vec<RandomSite>,
    rules: Vec<RandomRule>,
    models: Vec<RandomModel>,
}

impl RandomPolicy {
    fn new(random: &mut Random, wild: bool) -> Self {
        let mut free = TOPICS.to_vec();
        let sites = (0..random.below(5) + 1)
            .map(|site| {
                let any_device = !free.is_empty() && random.one_in(3);
                let topics = if any_device {
                    Some(vec![free.swap_remove(random.below(free.len()))])
                } else {
                    random.one_in(2).then(|| vec![random.pick(&TOPICS)])
                };
                let devices = (0..random.below(3)).map(|device| format!("d-{site}-{device}")).collect();
                RandomSite { jurisdiction: random.pick(&JURISDICTIONS), topics, devices, any_device }
            })
            .collect();
        let mut rules: Vec<RandomRule> = (0..random.below(5))
            .map(|_| RandomRule {
                when: Some(condition(random, wild)),
                zone: random.below(ZONES.len()),
                training: random.below(4),
            })
            .collect();
        // Every zone needs a rule; the last rule may match always.
        for (zone, (_, jurisdictions)) in ZONES.iter().enumerate() {
            let text = jurisdictions[0].to_owned();
            let when = Some(Test::Fact("_jurisdiction", false, text));
            rules.push(RandomRule { when, zone, training: random.below(4) });
        }
        if random.one_in(3) {
            rules.push(RandomRule { when: None, zone: random.below(ZONES.len()), training: 3 });
        }
        let models = (0..random.below(4))
            .map(|_| {
                let here = !random.one_in(4);
                let filter = (!random.one_in(4))
                    .then(|| condition(random, wild))
                    .filter(|test| !here || !test.lacks());
                let markets = (0..random.below(3)).map(|_| random.pick(&JURISDICTIONS)).collect();
                RandomModel { filter, markets, here }
            })
            .collect();
        Self { sites, rules, models }
    }

    fn yaml(&self) -> String {
        let mut text = String::from("zones:\n");
        for (zone, jurisdictions) in ZONES {
            writeln!(text, "  {zone}: {{ jurisdictions: [{}] }}", jurisdictions.join(", ")).unwrap();
        }
        text.push_str("sites:\n");
        for (i, site) in self.sites.iter().enumerate() {
            writeln!(text, "  site-{i}:\n    jurisdiction: {}", site.jurisdiction).unwrap();
            writeln!(text, "    devices: [{}]\n    any-device: {}", site.devices.join(", "), site.any_device)
                .unwrap();
            if let Some(topics) = &site.topics {
                writeln!(text, "    topics: [{}]", topics.join(", ")).unwrap();
            }
        }
        text.push_str("rules:\n");
        for (i, rule) in self.rules.iter().enumerate() {
            let zone = ZONES[rule.zone].0;
            writeln!(text, "  - id: rule-{i}\n    zone: {zone}\n    basis: law").unwrap();
            writeln!(text, "    training: {}", TRAINING[rule.training]).unwrap();
            if let Some(when) = &rule.when {
                writeln!(text, "    when: \"{}\"", when.sql()).unwrap();
            }
        }
        text.push_str(if self.models.is_empty() { "" } else { "models:\n" });
        for (i, model) in self.models.iter().enumerate() {
            let pipeline = if model.here { "cnc-state" } else { "another" };
            writeln!(text, "  - id: model-{i}\n    version: 1\n    pipelines: [{pipeline}]").unwrap();
            let markets: Vec<&str> = model.markets.iter().copied().collect();
            writeln!(text, "    markets: [{}]", markets.join(", ")).unwrap();
            if let Some(filter) = &model.filter {
                writeln!(text, "    where: \"{}\"", filter.sql()).unwrap();
            }
        }
        text
    }

    /// docs/policy.md, "How a record is judged", step by step.
    fn judge(&self, topic: &str, row: &Row) -> Tags {
        let claims: Vec<&str> =
            [&row.country, &row.plant].into_iter().flatten().map(String::as_str).collect();
        let claimed = (!claims.is_empty()).then(|| claims.join(","));
        let undetermined = |reason: &str, site: Option<usize>| Tags {
            verdict: reason.to_owned(),
            jurisdiction: site.map(|site| self.sites[site].jurisdiction.to_owned()),
            site: site.map(|site| format!("site-{site}")),
            claimed: claimed.clone(),
            training: "prohibited".to_owned(),
            ..Tags::default()
        };
        // 1. Where it comes from.
        let sends = |site: &RandomSite| site.topics.as_ref().is_none_or(|topics| topics.contains(&topic));
        let registered =
            self.sites.iter().position(|site| row.device.as_ref().is_some_and(|d| site.devices.contains(d)));
        let site = match registered {
            Some(site) if sends(&self.sites[site]) => site,
            Some(_) => return undetermined("foreign-topic", None),
            None => match self.sites.iter().position(|site| site.any_device && sends(site)) {
                Some(site) => site,
                None => return undetermined("unknown-device", None),
            },
        };
        // 2. What it claims.
        let jurisdiction = self.sites[site].jurisdiction;
        let site_name = format!("site-{site}");
        if claims.iter().any(|claim| *claim != jurisdiction && *claim != site_name) {
            return undetermined("claim-contradicts-registry", Some(site));
        }
        // 3. The first rule that is true.
        let known = Known {
            topic,
            jurisdiction: Some(jurisdiction),
            site: Some(&site_name),
            claimed: claimed.as_deref(),
        };
        let mut found = None;
        for (i, rule) in self.rules.iter().enumerate() {
            let truth = match &rule.when {
                None => Ok(Some(true)),
                Some(when) if when.lacks() => Ok(None),
                Some(when) => when.truth(row, &known),
            };
            match truth {
                Err(()) => return undetermined("condition-failed", Some(site)),
                Ok(Some(true)) => {
                    found = Some(i);
                    break;
                }
                Ok(_) => {}
            }
        }
        let Some(rule) = found else { return undetermined("no-rule", Some(site)) };
        let (zone, inside) = ZONES[self.rules[rule].zone];
        if !inside.contains(&jurisdiction) {
            return undetermined("jurisdiction-outside-zone", Some(site));
        }
        // 4. The models that it feeds.
        let mut training = self.rules[rule].training;
        let (mut models, mut markets) = (Vec::new(), BTreeSet::new());
        for (i, model) in self.models.iter().enumerate().filter(|(_, model)| model.here && training > 0) {
            let truth = model.filter.as_ref().map_or(Ok(Some(true)), |filter| filter.truth(row, &known));
            match truth {
                Err(()) => return undetermined("condition-failed", Some(site)),
                Ok(Some(true)) => {
                    models.push(format!("model-{i}"));
                    markets.extend(model.markets.iter().map(|market| (*market).to_owned()));
                }
                Ok(_) => {}
            }
        }
        // 5. What training may use it.
        if markets.iter().any(|market| !inside.contains(&market.as_str())) {
            training = training.min(1);
        }
        let fed = !models.is_empty();
        Tags {
            verdict: zone.to_owned(),
            jurisdiction: Some(jurisdiction.to_owned()),
            site: Some(site_name),
            claimed,
            zone: Some(zone.to_owned()),
            rule: Some(format!("rule-{rule}")),
            training: TRAINING[training].to_owned(),
            models: fed.then_some(models),
            markets: fed.then(|| markets.into_iter().collect()),
        }
    }
}

fn random_row(random: &mut Random) -> Row {
    let claim = |random: &mut Random| {
        random.one_in(4).then(|| match random.below(4) {
            0 => format!("site-{}", random.below(5)),
            1 => random.pick(&["cn", "CN ", "\u{421}N", "", "XX"]).to_owned(),
            _ => random.pick(&JURISDICTIONS).to_owned(),
        })
    };
    Row {
        device: (!random.one_in(6)).then(|| format!("d-{}-{}", random.below(5), random.below(3))),
        country: claim(random),
        plant: claim(random),
        load: (!random.one_in(4)).then(|| random.below(6) as f64),
        count: (!random.one_in(4)).then(|| random.pick(&[0, 0, 1, 3, 5])),
        text: None,
    }
}

#[test]
fn judging_agrees_with_the_document_read_literally() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let mut random = Random(seed);
        let document = RandomPolicy::new(&mut random, false);
        let yaml = document.yaml();
        let mut judge = policy(&yaml).judge(&facts()).unwrap();
        for _ in 0..3 {
            let topic = random.pick(&TOPICS);
            let rows: Vec<Row> = (0..random.below(60)).map(|_| random_row(&mut random)).collect();
            let found = tags(&judge.judge(batch(topic, &rows)).unwrap());
            assert_eq!(found.len(), rows.len());
            for (found, row) in found.iter().zip(&rows) {
                let expected = document.judge(topic, row);
                assert_eq!(*found, expected, "seed {seed}, topic {topic}, {row:?}\n{yaml}");
                seen.insert((found.verdict.clone(), found.training.clone(), found.models.is_some()));
            }
        }
    }
    // The random policies reach every outcome.
    let verdicts: BTreeSet<&str> = seen.iter().map(|(verdict, ..)| verdict.as_str()).collect();
    let all = [
        "CN",
        "EU",
        "US",
        "claim-contradicts-registry",
        "condition-failed",
        "foreign-topic",
        "jurisdiction-outside-zone",
        "no-rule",
        "unknown-device",
    ];
    assert_eq!(verdicts, all.into());
    assert!(seen.iter().any(|(_, training, fed)| training == "allowed" && *fed));
}

/// A batch that is replayed may be cut otherwise, and must come out the same (RES-7).
#[test]
fn a_verdict_does_not_depend_on_the_other_records_of_the_batch() {
    let mut failed = 0;
    for seed in 0..300 {
        let mut random = Random(1000 + seed);
        let yaml = RandomPolicy::new(&mut random, true).yaml();
        let topic = random.pick(&TOPICS);
        let rows: Vec<Row> = (0..30).map(|_| random_row(&mut random)).collect();
        let mut judge = policy(&yaml).judge(&facts()).unwrap();
        let mut judged = |rows: &[Row]| tags(&judge.judge(batch(topic, rows)).unwrap());
        let whole = judged(&rows);
        let (first, second) = rows.split_at(random.below(rows.len()));
        assert_eq!(whole, [judged(first), judged(second)].concat(), "seed {seed}\n{yaml}");
        let alone: Vec<Tags> = rows.iter().flat_map(|row| judged(std::slice::from_ref(row))).collect();
        assert_eq!(whole, alone, "seed {seed}\n{yaml}");
        failed += whole.iter().filter(|tags| tags.verdict == "condition-failed").count();
    }
    assert!(failed > 50, "{failed}");
}
