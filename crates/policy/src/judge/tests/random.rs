//! Judging compared with docs/policy.md read literally, one record at a time, for random policies
//! and random records.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use situs_model::{Class, Date};

use crate::PipelineFacts;
use crate::testing::{Random, Row, Tags, batch, batch_of, facts, policy, tags};

const TOPICS: [&str; 3] = ["cnc.state", "edge.halden", "other"];
const CLUSTERS: [&str; 2] = ["kafka", "other"];
/// The zones, and the jurisdictions that they have among those used here. `GERMANY` is within `EU`.
const ZONES: [(&str, &[&str]); 4] =
    [("CN", &["CN"]), ("EU", &["DE", "FR"]), ("US", &["US"]), ("GERMANY", &["DE"])];
/// How they are written.
const ZONES_YAML: &str = "zones:
  CN: { jurisdictions: [CN] }
  EU: { jurisdictions: [EU27@2020-02-01] }
  US: { jurisdictions: [US] }
  GERMANY: { jurisdictions: [DE], within: EU }
";
/// `zone: innermost`, beside the indices of zones.
const INNERMOST: usize = ZONES.len();
/// Texts for the jurisdictions of a rule, and which of those used here they are.
const LISTS: [(&str, &[&str]); 5] = [
    ("EEA@2020-02-01", &["DE", "FR", "NO"]),
    ("EU@2020-02-01, 'NO', CN", &["CN", "DE", "FR", "NO"]),
    ("CN, US", &["CN", "US"]),
    ("DE", &["DE"]),
    ("HK", &[]),
];
/// Days on which rules and models begin and end; records are of these days and of one before and after.
const DAYS: [&str; 3] = ["2026-01-02", "2026-01-03", "2026-01-05"];
const CLASSES: [Class; 4] = [Class::General, Class::Important, Class::Core, Class::Unclassified];
/// `NO` is in no zone.
const JURISDICTIONS: [&str; 5] = ["CN", "DE", "FR", "US", "NO"];
const TRAINING: [&str; 4] = ["prohibited", "in-zone", "with-approval", "allowed"];

/// A condition simple enough to be evaluated by hand.
#[derive(Debug, Clone)]
enum Test {
    Fact(&'static str, bool, String),
    Load(bool, f64),
    LoadIsNull,
    /// Of a dictionary.
    Device(bool, String),
    DeviceIsNull,
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
    line: Option<&'a str>,
    subdivision: Option<&'a str>,
}

impl Test {
    fn random(random: &mut Random, depth: usize) -> Self {
        let inner = |random: &mut Random| Box::new(Self::random(random, depth - 1));
        match random.below(if depth == 0 { 13 } else { 17 }) {
            0..=2 => Self::Fact("_jurisdiction", random.one_in(4), random.pick(&JURISDICTIONS).to_owned()),
            3 => Self::Fact("_site", random.one_in(4), format!("site-{}", random.below(5))),
            4 => Self::Fact("_topic", random.one_in(4), random.pick(&TOPICS).to_owned()),
            5 => Self::Fact("_claimed", random.one_in(4), random.pick(&JURISDICTIONS).to_owned()),
            6 => Self::Load(random.one_in(2), random.below(5) as f64),
            7 if random.one_in(3) => Self::Lacking,
            7 => Self::LoadIsNull,
            8 => Self::Ratio(random.below(4) as i64),
            9 => Self::Fact("_line", random.one_in(4), random.pick(&["line-1", "line-2"]).to_owned()),
            10 => Self::Fact("_subdivision", random.one_in(4), random.pick(&["CN-GX", "DE-GX"]).to_owned()),
            11 => Self::Device(random.one_in(4), format!("d-{}-{}", random.below(3), random.below(2))),
            12 => Self::DeviceIsNull,
            13 | 14 => Self::And(inner(random), inner(random)),
            15 => Self::Or(inner(random), inner(random)),
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
            Self::Device(false, text) => format!("device = '{text}'"),
            Self::Device(true, text) => format!("device <> '{text}'"),
            Self::DeviceIsNull => "device IS NULL".to_owned(),
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
                    "_line" => known.line,
                    "_subdivision" => known.subdivision,
                    _ => Some(known.topic),
                };
                Ok(value.map(|value| (value == text) != *negated))
            }
            Self::Load(above, limit) => Ok(row.load.map(|load| (load > *limit) == *above)),
            Self::LoadIsNull => Ok(Some(row.load.is_none())),
            Self::Device(negated, text) => Ok(row.device.as_ref().map(|device| (device == text) != *negated)),
            Self::DeviceIsNull => Ok(Some(row.device.is_none())),
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
    /// With the line that it is on, if it is on one.
    devices: Vec<(String, Option<&'static str>)>,
    any_device: bool,
    cluster: Option<&'static str>,
    subdivision: Option<String>,
}

#[derive(Default)]
struct RandomRule {
    when: Option<Test>,
    list: Option<usize>,
    from: Option<&'static str>,
    until: Option<&'static str>,
    class: Option<Class>,
    zone: usize,
    training: usize,
}

struct RandomModel {
    filter: Option<Test>,
    until: Option<&'static str>,
    markets: BTreeSet<&'static str>,
    here: bool,
}

/// Whether a record of this day, or of none, is among the days.
fn among(day: Option<Date>, from: Option<&str>, until: Option<&str>) -> Result<bool, ()> {
    if from.is_none() && until.is_none() {
        return Ok(true);
    }
    let day = day.ok_or(())?.to_string();
    Ok(from.is_none_or(|from| day.as_str() >= from) && until.is_none_or(|until| day.as_str() <= until))
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
                let mut line = || random.one_in(2).then(|| random.pick(&["line-1", "line-2"]));
                let lines = [line(), line(), line()];
                let devices = (0..random.below(3))
                    .map(|device| (format!("d-{site}-{device}"), lines[device]))
                    .collect();
                let cluster = random.one_in(4).then(|| random.pick(&CLUSTERS));
                let jurisdiction = random.pick(&JURISDICTIONS);
                let subdivision = random.one_in(2).then(|| format!("{jurisdiction}-GX"));
                RandomSite { jurisdiction, topics, devices, any_device, cluster, subdivision }
            })
            .collect();
        let mut rules: Vec<RandomRule> = (0..random.below(5))
            .map(|_| RandomRule {
                when: (!random.one_in(5)).then(|| condition(random, wild)),
                // One key at least, for a rule for all records ends the list.
                list: Some(random.below(LISTS.len() + 3)).filter(|list| *list < LISTS.len()),
                from: random.one_in(5).then(|| DAYS[0]),
                until: random.one_in(5).then(|| random.pick(&DAYS)),
                class: random.one_in(4).then(|| random.pick(&CLASSES)),
                zone: random.below(ZONES.len() + 1),
                training: random.below(4),
            })
            .map(|rule| RandomRule { list: rule.list.or((rule.when.is_none()).then_some(0)), ..rule })
            .collect();
        // Every zone needs a rule; the last rule may match always.
        for (zone, (_, jurisdictions)) in ZONES.iter().enumerate() {
            let text = jurisdictions[0].to_owned();
            let when = Some(Test::Fact("_jurisdiction", false, text));
            rules.push(RandomRule { when, zone, training: random.below(4), ..RandomRule::default() });
        }
        if random.one_in(3) {
            let zone = random.below(ZONES.len() + 1);
            rules.push(RandomRule { zone, training: 3, ..RandomRule::default() });
        }
        // They are judged 64 at a time.
        let count = if random.one_in(12) { 60 + random.below(80) } else { random.below(4) };
        let models = (0..count)
            .map(|_| {
                let here = !random.one_in(4);
                let filter = (!random.one_in(4))
                    .then(|| condition(random, wild))
                    .filter(|test| !here || !test.lacks());
                let markets = (0..random.below(3)).map(|_| random.pick(&JURISDICTIONS)).collect();
                let until = random.one_in(4).then(|| random.pick(&DAYS));
                RandomModel { filter, until, markets, here }
            })
            .collect();
        Self { sites, rules, models }
    }

    fn yaml(&self) -> String {
        let mut text = String::from(ZONES_YAML);
        text.push_str("sites:\n");
        for (i, site) in self.sites.iter().enumerate() {
            writeln!(text, "  site-{i}:\n    jurisdiction: {}", site.jurisdiction).unwrap();
            let on = |line: Option<&str>| {
                let devices = site.devices.iter().filter(|(_, of)| *of == line);
                devices.map(|(device, _)| device.as_str()).collect::<Vec<_>>().join(", ")
            };
            writeln!(text, "    devices: [{}]\n    any-device: {}", on(None), site.any_device).unwrap();
            let (first, second) = (on(Some("line-1")), on(Some("line-2")));
            writeln!(text, "    lines: {{ line-1: [{first}], line-2: [{second}] }}").unwrap();
            if let Some(cluster) = site.cluster {
                writeln!(text, "    cluster: {cluster}").unwrap();
            }
            if let Some(subdivision) = &site.subdivision {
                writeln!(text, "    subdivision: {subdivision}").unwrap();
            }
            if let Some(topics) = &site.topics {
                writeln!(text, "    topics: [{}]", topics.join(", ")).unwrap();
            }
        }
        text.push_str("rules:\n");
        for (i, rule) in self.rules.iter().enumerate() {
            let zone = ZONES.get(rule.zone).map_or("innermost", |zone| zone.0);
            writeln!(text, "  - id: rule-{i}\n    zone: {zone}\n    basis: law").unwrap();
            writeln!(text, "    training: {}", TRAINING[rule.training]).unwrap();
            if let Some(list) = rule.list {
                writeln!(text, "    jurisdictions: [{}]", LISTS[list].0).unwrap();
            }
            for (key, day) in [("from", rule.from), ("until", rule.until)] {
                if let Some(day) = day {
                    writeln!(text, "    {key}: {day}").unwrap();
                }
            }
            if let Some(class) = rule.class {
                writeln!(text, "    class: {class}").unwrap();
            }
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
            if let Some(until) = model.until {
                writeln!(text, "    until: {until}").unwrap();
            }
            if let Some(filter) = &model.filter {
                writeln!(text, "    where: \"{}\"", filter.sql()).unwrap();
            }
        }
        text
    }

    /// docs/policy.md, "How a record is judged", step by step.
    fn judge(&self, cluster: &str, topic: &str, of_pipeline: Class, row: &Row) -> Tags {
        let claims: Vec<&str> =
            [&row.country, &row.plant].into_iter().flatten().map(String::as_str).collect();
        let claimed = (!claims.is_empty()).then(|| claims.join(","));
        let undetermined = |reason: &str, site: Option<usize>| Tags {
            verdict: reason.to_owned(),
            jurisdiction: site.map(|site| self.sites[site].jurisdiction.to_owned()),
            site: site.map(|site| format!("site-{site}")),
            claimed: claimed.clone(),
            class: of_pipeline.to_string(),
            training: "prohibited".to_owned(),
            ..Tags::default()
        };
        // 1. Where it comes from.
        let by = |site: &RandomSite| site.cluster.is_none_or(|of| of == cluster);
        let sends = |site: &RandomSite| site.topics.as_ref().is_none_or(|topics| topics.contains(&topic));
        let has = |site: &RandomSite| site.devices.iter().position(|(id, _)| Some(id) == row.device.as_ref());
        let registered = self.sites.iter().position(|site| has(site).is_some());
        let site = match registered {
            Some(site) if !by(&self.sites[site]) => return undetermined("foreign-cluster", None),
            Some(site) if !sends(&self.sites[site]) => return undetermined("foreign-topic", None),
            Some(site) => site,
            None => match self.sites.iter().position(|site| site.any_device && by(site) && sends(site)) {
                Some(site) => site,
                None => return undetermined("unknown-device", None),
            },
        };
        let line = has(&self.sites[site]).and_then(|device| self.sites[site].devices[device].1);
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
            line,
            subdivision: self.sites[site].subdivision.as_deref(),
        };
        let day = row.time.map(Date::of_us);
        let mut found = None;
        for (i, rule) in self.rules.iter().enumerate() {
            let lacks = rule.when.as_ref().is_some_and(Test::lacks);
            if lacks || rule.list.is_some_and(|list| !LISTS[list].1.contains(&jurisdiction)) {
                continue;
            }
            let truth = match (among(day, rule.from, rule.until), &rule.when) {
                (Err(()), _) => Err(()),
                (Ok(false), _) => Ok(Some(false)),
                (Ok(true), None) => Ok(Some(true)),
                (Ok(true), Some(when)) => when.truth(row, &known),
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
        let named = match self.rules[rule].zone {
            // The one that has it and is within all others that have it.
            INNERMOST => ZONES.iter().rev().find(|(_, inside)| inside.contains(&jurisdiction)),
            zone => ZONES.get(zone).filter(|(_, inside)| inside.contains(&jurisdiction)),
        };
        let Some((zone, inside)) = named.copied() else {
            return undetermined("jurisdiction-outside-zone", Some(site));
        };
        // 4. The models that it feeds.
        let mut training = self.rules[rule].training;
        let (mut models, mut markets) = (Vec::new(), BTreeSet::new());
        for (i, model) in self.models.iter().enumerate().filter(|(_, model)| model.here && training > 0) {
            let truth = match among(day, None, model.until) {
                Err(()) => Err(()),
                Ok(false) => Ok(Some(false)),
                Ok(true) => model.filter.as_ref().map_or(Ok(Some(true)), |filter| filter.truth(row, &known)),
            };
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
            class: self.rules[rule].class.map_or(of_pipeline, |class| class.max(of_pipeline)).to_string(),
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
        time: (!random.one_in(8)).then(|| {
            let start = Date::of(2026, 1, 1).start_us() + 86_400_000_000 * random.below(7) as i64;
            start + random.pick(&[0, 43_200_000_000, 86_399_999_999])
        }),
    }
}

#[test]
fn judging_agrees_with_the_document_read_literally() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let mut random = Random(seed);
        let document = RandomPolicy::new(&mut random, false);
        let yaml = document.yaml();
        let class = random.pick(&CLASSES);
        let mut judge = policy(&yaml).judge(&PipelineFacts { class, ..facts() }).unwrap();
        for _ in 0..3 {
            let (cluster, topic) = (random.pick(&CLUSTERS), random.pick(&TOPICS));
            let rows: Vec<Row> = (0..random.below(60)).map(|_| random_row(&mut random)).collect();
            let found = tags(&judge.judge(batch_of(cluster, topic, &rows)).unwrap());
            assert_eq!(found.len(), rows.len());
            for (found, row) in found.iter().zip(&rows) {
                let expected = document.judge(cluster, topic, class, row);
                assert_eq!(*found, expected, "seed {seed}, {cluster} {topic} {class}, {row:?}\n{yaml}");
                seen.insert((found.verdict.clone(), found.training.clone(), found.models.is_some()));
            }
        }
    }
    // The random policies reach every outcome.
    let verdicts: BTreeSet<&str> = seen.iter().map(|(verdict, ..)| verdict.as_str()).collect();
    let all = [
        "CN",
        "EU",
        "GERMANY",
        "US",
        "claim-contradicts-registry",
        "condition-failed",
        "foreign-cluster",
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
