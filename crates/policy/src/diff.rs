//! What differs between two policies, in words, and what that means for records.

mod effects;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use situs_model::Jurisdiction;
use situs_model::transfer::Transfer;

pub use effects::Effect;

use crate::facts::PipelineFacts;
use crate::parse::transfers::TRANSFER_KEYS;
use crate::policy::{Model, Policy, Rule, Site, Zone};

/// How many devices are named of those that moved alike.
const NAMED: usize = 10;

/// What happened to a zone, site, rule, model or transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new policy has it.
    Added,
    /// Only the old policy has it.
    Removed,
    /// Of rules: it stands before or behind others than it did.
    Moved,
    /// Both have it, and they differ.
    Changed,
}

impl ChangeKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Moved => "moved",
            Self::Changed => "changed",
        }
    }
}

/// A zone, site, rule, model or transfer that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `zone`, `site`, `rule`, `model` or `transfer`.
    pub of: &'static str,
    /// Its name.
    pub name: String,
    /// What happened.
    pub kind: ChangeKind,
    /// What it says, or what of it differs.
    pub text: String,
}

/// Devices that went the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where they were registered, `site` or `site/line`; `None`: nowhere.
    pub from: Option<String>,
    /// Where they are registered now.
    pub to: Option<String>,
    /// How many.
    pub count: usize,
    /// The first ten of them in the order of the alphabet.
    pub names: Vec<String>,
}

/// What differs between two policies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyDiff {
    /// Zones, sites, rules, models and transfers, in this order.
    pub changes: Vec<Change>,
    /// Devices.
    pub devices: Vec<Moved>,
    /// What it means for records.
    pub effects: Vec<Effect>,
}

impl PolicyDiff {
    /// From the old policy to the new one, for records of these pipelines.
    pub(crate) fn between(old: &Policy, new: &Policy, pipelines: &[PipelineFacts]) -> Self {
        let mut changes = Vec::new();
        named("zone", old.zones(), new.zones(), |zone| zone.id.as_str(), zone_parts, &mut changes);
        named("site", old.sites(), new.sites(), |site| site.id.as_str(), site_parts, &mut changes);
        named("rule", old.rules(), new.rules(), |rule| rule.id.as_str(), rule_parts, &mut changes);
        moved_rules(old, new, &mut changes);
        named("model", old.models(), new.models(), |model| model.id.as_str(), model_parts, &mut changes);
        let (before, now) = (old.transfers(), new.transfers());
        named("transfer", before, now, |transfer| transfer.id.as_str(), transfer_parts, &mut changes);
        Self { changes, devices: devices(old, new), effects: effects::effects(old, new, pipelines) }
    }

    /// Whether nothing differs that means anything; texts, comments and orders without meaning may.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.devices.is_empty() && self.effects.is_empty()
    }
}

/// The parts of an entry, each with its name, in words.
type Parts = Vec<(&'static str, String)>;

/// Compares entries by their names.
fn named<'a, T: 'a>(
    of: &'static str,
    old: impl Iterator<Item = &'a T>,
    new: impl Iterator<Item = &'a T>,
    name: impl Fn(&T) -> &str,
    parts: impl Fn(&T) -> Parts,
    changes: &mut Vec<Change>,
) {
    let old: Vec<&T> = old.collect();
    let new: Vec<&T> = new.collect();
    let mut push = |name: &str, kind: ChangeKind, text: String| {
        changes.push(Change { of, name: name.to_owned(), kind, text });
    };
    let whole = |entry: &T| {
        let shown = parts(entry).into_iter().filter(|(_, text)| !text.is_empty());
        shown.map(|(part, text)| format!("{part} {text}")).collect::<Vec<_>>().join("; ")
    };
    for entry in old.iter().filter(|entry| !new.iter().any(|other| name(other) == name(entry))) {
        push(name(entry), ChangeKind::Removed, whole(entry));
    }
    for entry in &new {
        let Some(before) = old.iter().find(|before| name(before) == name(entry)) else {
            push(name(entry), ChangeKind::Added, whole(entry));
            continue;
        };
        let differ = parts(before).into_iter().zip(parts(entry)).filter(|(a, b)| a != b);
        let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let texts: Vec<String> =
            differ.map(|((part, a), (_, b))| format!("{part}: {} → {}", shown(&a), shown(&b))).collect();
        if !texts.is_empty() {
            push(name(entry), ChangeKind::Changed, texts.join("; "));
        }
    }
}

fn codes(list: &[Jurisdiction]) -> String {
    let mut codes: Vec<&str> = list.iter().map(Jurisdiction::as_str).collect();
    codes.sort_unstable();
    codes.join(" ")
}

/// The text of an optional part, empty if there is none.
fn text<T: ToString>(part: Option<&T>) -> String {
    part.map(ToString::to_string).unwrap_or_default()
}

/// A condition on one line, however it is laid out; empty if there is none.
fn condition(part: Option<&String>) -> String {
    part.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

fn zone_parts(zone: &Zone) -> Parts {
    vec![("jurisdictions", codes(&zone.jurisdictions)), ("within", text(zone.within.as_ref()))]
}

fn site_parts(site: &Site) -> Parts {
    let mut topics: Vec<&str> = site.topics.iter().flatten().map(AsRef::as_ref).collect();
    topics.sort_unstable();
    let any = if site.any_device { "yes" } else { "no" };
    vec![
        ("jurisdiction", site.jurisdiction.to_string()),
        ("subdivision", text(site.subdivision.as_ref())),
        ("cluster", text(site.cluster.as_ref())),
        ("topics", topics.join(" ")),
        ("any device", any.to_owned()),
    ]
}

fn rule_parts(rule: &Rule) -> Parts {
    vec![
        ("jurisdictions", rule.jurisdictions.as_deref().map(codes).unwrap_or_default()),
        ("when", condition(rule.when.as_ref())),
        ("from", text(rule.from.as_ref())),
        ("until", text(rule.until.as_ref())),
        ("zone", rule.zone_name().to_owned()),
        ("class", text(rule.class.as_ref())),
        ("training", rule.training.to_string()),
        ("basis", rule.basis.to_string()),
        ("reference", text(rule.reference.as_ref())),
    ]
}

fn model_parts(model: &Model) -> Parts {
    let mut pipelines: Vec<&str> = model.pipelines.iter().map(|name| name.as_str()).collect();
    pipelines.sort_unstable();
    vec![
        ("version", model.version.clone()),
        ("owner", text(model.owner.as_ref())),
        ("purpose", text(model.purpose.as_ref())),
        ("pipelines", pipelines.join(" ")),
        ("where", condition(model.filter.as_ref())),
        ("until", text(model.until.as_ref())),
        ("markets", codes(&model.markets)),
    ]
}

fn transfer_parts(transfer: &Transfer) -> Parts {
    let parts = transfer.parts();
    let part = |key: &&'static str| {
        let found = parts.iter().find(|(name, _)| name == key);
        (*key, found.map(|(_, text)| text.clone()).unwrap_or_default())
    };
    TRANSFER_KEYS.iter().filter(|key| **key != "id").map(part).collect()
}

/// Rules that both policies have, and that are not in the longest part of them that kept its order.
fn moved_rules(old: &Policy, new: &Policy, changes: &mut Vec<Change>) {
    let place = |rule: &Rule| old.rules().position(|before| before.id == rule.id);
    let common: Vec<(&Rule, usize)> = new.rules().filter_map(|rule| Some((rule, place(rule)?))).collect();
    let kept = longest_rising(&common.iter().map(|(_, place)| *place).collect::<Vec<_>>());
    for (index, (rule, place)) in common.iter().enumerate().filter(|(index, _)| !kept.contains(index)) {
        let behind =
            |policy: &Policy, at: usize| match at.checked_sub(1).and_then(|at| policy.rules().nth(at)) {
                Some(before) => format!("behind `{}`", before.id),
                None => "first".to_owned(),
            };
        let now = new.rules().position(|other| other.id == rule.id).unwrap_or(index);
        let text = format!("it stood {}, and stands {}", behind(old, *place), behind(new, now));
        changes.push(Change { of: "rule", name: rule.id.to_string(), kind: ChangeKind::Moved, text });
    }
}

/// The indices of a longest part of distinct numbers that rises.
fn longest_rising(numbers: &[usize]) -> Vec<usize> {
    // For each number the length of the longest such part that ends with it, and the index before.
    let mut best: Vec<(usize, Option<usize>)> = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let before =
            (0..index).filter(|before| numbers[*before] < *number).max_by_key(|before| best[*before].0);
        best.push((before.map_or(0, |before| best[before].0) + 1, before));
    }
    let mut kept = Vec::new();
    let mut next = (0..numbers.len()).max_by_key(|index| best[*index].0);
    while let Some(index) = next {
        kept.push(index);
        next = best[index].1;
    }
    kept
}

/// The devices that are registered elsewhere than they were.
fn devices(old: &Policy, new: &Policy) -> Vec<Moved> {
    let registered = |policy: &Policy| -> BTreeMap<String, String> {
        let spot = |site: &Site, line: Option<&situs_model::LineId>| match line {
            Some(line) => format!("{}/{line}", site.id),
            None => site.id.to_string(),
        };
        let of_site = |site: &Site| {
            site.all_devices().map(|(line, id)| (id.to_string(), spot(site, line))).collect::<Vec<_>>()
        };
        policy.sites().flat_map(of_site).collect()
    };
    let (old, new) = (registered(old), registered(new));
    let mut ways: BTreeMap<(Option<&String>, Option<&String>), Vec<&String>> = BTreeMap::new();
    for (device, from) in &old {
        let to = new.get(device);
        if to != Some(from) {
            ways.entry((Some(from), to)).or_default().push(device);
        }
    }
    for (device, to) in new.iter().filter(|(device, _)| !old.contains_key(*device)) {
        ways.entry((None, Some(to))).or_default().push(device);
    }
    let moved = |((from, to), mut devices): ((Option<&String>, Option<&String>), Vec<&String>)| {
        devices.sort();
        let names = devices.iter().take(NAMED).map(|device| (*device).clone()).collect();
        Moved { from: from.cloned(), to: to.cloned(), count: devices.len(), names }
    };
    ways.into_iter().map(moved).collect()
}

impl std::fmt::Display for PolicyDiff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for Change { of, name, kind, text: what } in &self.changes {
            writeln!(text, "{of} `{name}` {}: {what}", kind.as_str())?;
        }
        for Moved { from, to, count, names } in &self.devices {
            let devices = if *count == 1 { "device" } else { "devices" };
            let way = match (from, to) {
                (None, Some(to)) => format!("registered at {to}"),
                (Some(from), None) => format!("no longer registered (was {from})"),
                (Some(from), Some(to)) => format!("moved from {from} to {to}"),
                (None, None) => "unchanged".to_owned(),
            };
            let more = if *count > names.len() { ", ..." } else { "" };
            writeln!(text, "{count} {devices} {way}: {}{more}", names.join(", "))?;
        }
        for effect in &self.effects {
            writeln!(text, "{effect}")?;
        }
        f.write_str(text.trim_end())
    }
}

#[cfg(test)]
mod tests;
