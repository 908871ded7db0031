//! The answers compared with docs/readers.md read literally, for random policies.

use std::fmt::Write as _;

use super::*;
use crate::testing::Random;

/// The readers of the tests above: name, zone, organisation, roles.
const PEOPLE: [(&str, &str, Option<&str>, &[&str]); 3] = [
    ("ana", "EU", Some("plant-stuttgart"), &["data-science", "service"]),
    ("bo", "CN", None, &["data-science"]),
    ("cy", "EU", None, &[]),
];
const PURPOSES: [&str; 2] = ["maintenance", "training"];
const CLASSES: [&str; 4] = ["general", "important", "core", "unclassified"];
const FIELDS: [&str; 4] = ["personal", "trade-secret", "asset-identity", "process"];
/// A table: name, zone, and the pipeline and its scenario.
type Table = (&'static str, &'static str, Option<(&'static str, &'static str)>);

const TABLES: [Table; 12] = [
    ("cn.cnc_state", "CN", Some(("cnc-state", "remote-maintenance"))),
    ("cn.ar_pose", "CN", Some(("ar-pose", "ar-calibration"))),
    ("cn.quarantine", "CN", None),
    ("cn.receipts", "CN", None),
    ("cn.releases", "CN", None),
    ("cn.ledger", "CN", None),
    ("eu.cnc_state", "EU", Some(("cnc-state", "remote-maintenance"))),
    ("eu.ar_pose", "EU", Some(("ar-pose", "ar-calibration"))),
    ("eu.quarantine", "EU", None),
    ("eu.receipts", "EU", None),
    ("eu.releases", "EU", None),
    ("eu.ledger", "EU", None),
];

#[derive(Clone, Copy)]
enum Who {
    Anybody,
    Reader(&'static str),
    Role(&'static str),
    Organisation(&'static str),
}

#[derive(Clone, Copy)]
enum What {
    Anything,
    Zone(&'static str),
    Pipeline(&'static str),
    Scenario(&'static str),
    Table(&'static str),
    Kind(&'static str),
}

/// A policy of the family.
struct Rule {
    forbids: bool,
    who: Who,
    /// `None` is both actions.
    action: Option<&'static str>,
    what: What,
    at_home: bool,
    purpose: Option<&'static str>,
    /// For policies about reading: the ceiling.
    ceiling: Option<&'static str>,
    /// For policies about seeing.
    field: Option<&'static str>,
}

fn rule(random: &mut Random) -> Rule {
    let action = random.pick(&[None, Some("read"), Some("read"), Some("see"), Some("see")]);
    let who = match random.below(4) {
        0 => Who::Anybody,
        1 => Who::Reader(random.pick(&["ana", "bo", "cy"])),
        2 => Who::Role(random.pick(&["data-science", "service"])),
        _ => Who::Organisation("plant-stuttgart"),
    };
    let mut what = match random.below(6) {
        0 | 1 => What::Anything,
        2 => What::Zone(random.pick(&["EU", "CN"])),
        3 => What::Pipeline(random.pick(&["cnc-state", "ar-pose"])),
        4 => What::Scenario(random.pick(&["remote-maintenance", "ar-calibration"])),
        _ => What::Table(random.pick(&["eu.cnc_state", "cn.ar_pose"])),
    };
    if action == Some("read") && random.below(4) == 0 {
        what = What::Kind(random.pick(&["quarantine", "receipts", "releases", "ledger"]));
    }
    Rule {
        forbids: random.below(3) == 0,
        who,
        action,
        what,
        at_home: random.below(2) == 0,
        purpose: random.maybe(&PURPOSES),
        ceiling: random.maybe(&CLASSES).filter(|_| action == Some("read")),
        field: random.maybe(&FIELDS).filter(|_| action == Some("see")),
    }
}

fn write(rules: &[Rule]) -> String {
    let mut text = String::new();
    for (index, rule) in rules.iter().enumerate() {
        let effect = if rule.forbids { "forbid" } else { "permit" };
        let who = match rule.who {
            Who::Anybody => "principal".to_owned(),
            Who::Reader(name) => format!("principal == Situs::Reader::\"{name}\""),
            Who::Role(name) => format!("principal in Situs::Role::\"{name}\""),
            Who::Organisation(name) => format!("principal in Situs::Organisation::\"{name}\""),
        };
        let action =
            rule.action.map_or("action".to_owned(), |name| format!("action == Situs::Action::\"{name}\""));
        let what = match rule.what {
            What::Anything => "resource".to_owned(),
            What::Zone(name) => format!("resource in Situs::Zone::\"{name}\""),
            What::Pipeline(name) => format!("resource in Situs::Pipeline::\"{name}\""),
            What::Scenario(name) => format!("resource in Situs::Scenario::\"{name}\""),
            What::Table(name) => format!("resource == Situs::Table::\"{name}\""),
            What::Kind(name) => format!("resource in Situs::Kind::\"{name}\""),
        };
        let conditions: Vec<String> = [
            rule.at_home.then(|| "resource.zone == principal.zone".to_owned()),
            rule.purpose.map(|name| format!("context.purpose == Situs::Purpose::\"{name}\"")),
            rule.ceiling.map(|name| format!("context.class in Situs::Class::\"{name}\"")),
            rule.field.map(|name| format!("context.field == Situs::FieldClass::\"{name}\"")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let when = if conditions.is_empty() {
            String::new()
        } else {
            format!(" when {{ {} }}", conditions.join(" && "))
        };
        writeln!(text, "@id(\"p{index}\") {effect} ({who}, {action}, {what}){when};").unwrap();
    }
    text
}

/// Whether a rule applies to a question, as the document says it.
fn applies(
    rule: &Rule,
    (name, zone, organisation, roles): (&str, &str, Option<&str>, &[&str]),
    purpose: &str,
    (table, table_zone, pipeline): Table,
    (action, class): (&str, &str),
) -> bool {
    let who = match rule.who {
        Who::Anybody => true,
        Who::Reader(wanted) => name == wanted,
        Who::Role(role) => roles.contains(&role),
        Who::Organisation(wanted) => organisation == Some(wanted),
    };
    let what = match rule.what {
        What::Anything => true,
        What::Zone(wanted) => pipeline.is_some() && table_zone == wanted,
        What::Pipeline(wanted) => pipeline.is_some_and(|(name, _)| name == wanted),
        What::Scenario(wanted) => pipeline.is_some_and(|(_, scenario)| scenario == wanted),
        What::Table(wanted) => table == wanted,
        What::Kind(kind) => pipeline.is_none() && table.ends_with(&format!(".{kind}")),
    };
    let rank = |class: &str| CLASSES.iter().position(|known| *known == class).unwrap();
    who && what
        && rule.action.is_none_or(|wanted| wanted == action)
        && (!rule.at_home || zone == table_zone)
        && rule.purpose.is_none_or(|wanted| wanted == purpose)
        && rule.ceiling.is_none_or(|ceiling| rank(class) <= rank(ceiling))
        && rule.field.is_none_or(|wanted| wanted == class)
}

#[test]
fn answers_agree_with_the_document_read_literally() {
    let tables = TableFacts::all(&policy(), &pipelines());
    let names: Vec<String> = tables.iter().map(TableFacts::full_name).collect();
    assert_eq!(names, TABLES.map(|(name, _, _)| name));
    let (mut allowed, mut denied) = (0, 0);
    for seed in 0..120 {
        let mut random = Random(seed);
        let rules: Vec<Rule> = (0..1 + random.below(7)).map(|_| rule(&mut random)).collect();
        let text = write(&rules);
        let readers = parsed(&text);
        for person in PEOPLE {
            for purpose in PURPOSES {
                let permitted = readers.permit(person.0, purpose, &tables).unwrap();
                for (answer, table) in permitted.tables.iter().zip(TABLES) {
                    let expected = |action: &str, class: &str| {
                        let deciding = |forbids: bool| -> Vec<String> {
                            let hit = |(_, rule): &(usize, &Rule)| {
                                rule.forbids == forbids
                                    && applies(rule, person, purpose, table, (action, class))
                            };
                            rules.iter().enumerate().filter(hit).map(|(n, _)| format!("p{n}")).collect()
                        };
                        let (permits, forbids) = (deciding(false), deciding(true));
                        if forbids.is_empty() { (!permits.is_empty(), permits) } else { (false, forbids) }
                    };
                    for row in &answer.rows {
                        let found = (row.allowed, row.policies.clone());
                        assert_eq!(
                            found,
                            expected("read", row.of.as_str()),
                            "seed {seed} {person:?} {purpose} {table:?} {}\n{text}",
                            row.of
                        );
                        if row.allowed { allowed += 1 } else { denied += 1 }
                    }
                    for field in &answer.fields {
                        let found = (field.allowed, field.policies.clone());
                        assert_eq!(
                            found,
                            expected("see", field.of.as_str()),
                            "seed {seed} {person:?} {purpose} {table:?} {}\n{text}",
                            field.of
                        );
                    }
                    let rows = if table.2.is_some() { 4 } else { 1 };
                    assert_eq!(answer.rows.len(), rows);
                }
            }
        }
    }
    assert!(allowed > 1000 && denied > 1000, "{allowed} {denied}");
}
