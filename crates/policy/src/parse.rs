//! Reads `policy.yaml`, reporting every problem that can be seen without the pipelines.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use situs_model::doc::{Diagnostics, Document, Map, Node};
use situs_model::pipeline::is_topic_name;
use situs_model::{BasisKind, ContentVersion, Jurisdiction, ModelId, RuleId, SiteId, Training, ZoneId};

use crate::condition::{Condition, Fault};
use crate::policy::{Model, ModelEntry, Place, Policy, Rule, RuleEntry, Site, SiteEntry, Zone, ZoneEntry};
use crate::registry::Registry;

/// Longest device id, in bytes. Kafka headers and payloads may carry longer texts; ids are not.
const MAX_DEVICE_ID: usize = 256;

/// Reads a policy.
pub(crate) fn parse(file: &str, text: &str) -> Result<Policy, Diagnostics> {
    let doc = Document::parse(file, text);
    let reader = Reader { doc: &doc };
    let policy = doc.root().and_then(|root| {
        let map = doc.map(root, "the policy", &["description", "zones", "sites", "rules", "models"])?;
        map.optional_string("description");
        let zones = reader.zones(&map);
        let sites = reader.sites(&map);
        let rules = reader.rules(&map, &zones);
        let models = reader.models(&map);
        let registry = Registry::new(&sites);
        Some(Policy {
            file: doc.file().clone(),
            text: text.to_owned(),
            version: ContentVersion::of(text.as_bytes()),
            zones,
            sites,
            rules,
            models,
            registry,
        })
    });
    doc.finish(policy)
}

fn place(node: &Node) -> Place {
    Place { line: node.line, column: node.column }
}

/// Reads the parts. What has a problem is reported and left out; the policy is not used then.
struct Reader<'d> {
    doc: &'d Document,
}

impl<'d> Reader<'d> {
    fn zones(&self, map: &Map<'d>) -> Vec<ZoneEntry> {
        let mut zone_of: HashMap<Jurisdiction, ZoneId> = HashMap::new();
        let entries = self.named(map, "zones");
        if let (Some(node), []) = (map.optional("zones"), entries) {
            self.doc.report(node, "`zones` in the policy: expected at least one zone");
        }
        let zone = |(key, value): &'d (Node, Node)| {
            let id = self.doc.parsed::<ZoneId>(key, "a name in `zones`")?;
            let map = self.doc.map(value, &format!("zone `{id}`"), &["jurisdictions"])?;
            map.required("jurisdictions");
            let (mut jurisdictions, mut places) = (Vec::new(), Vec::new());
            for (node, jurisdiction) in self.list::<Jurisdiction>(&map, "jurisdictions") {
                match zone_of.insert(jurisdiction, id.clone()) {
                    Some(other) if other == id => {
                        self.doc.report(
                            node,
                            format!("jurisdiction `{jurisdiction}` is given twice in zone `{id}`"),
                        );
                    }
                    Some(other) => {
                        self.doc.report(
                            node,
                            format!(
                                "jurisdiction `{jurisdiction}` is in zone `{other}` too: zones are disjoint"
                            ),
                        );
                    }
                    None => {}
                }
                jurisdictions.push(jurisdiction);
                places.push(place(node));
            }
            Some(ZoneEntry { zone: Zone { id, jurisdictions }, places })
        };
        entries.iter().filter_map(zone).collect()
    }

    fn sites(&self, map: &Map<'d>) -> Vec<SiteEntry> {
        let mut site_of_device: HashMap<Arc<str>, SiteId> = HashMap::new();
        let mut site_of_topic: HashMap<Arc<str>, SiteId> = HashMap::new();
        let site = |(key, value): &'d (Node, Node)| {
            let id = self.doc.parsed::<SiteId>(key, "a name in `sites`")?;
            let what = format!("site `{id}`");
            let map = self.doc.map(value, &what, &["jurisdiction", "topics", "devices", "any-device"])?;
            let any_device = map.optional_bool("any-device").unwrap_or(false);
            let mut devices: Vec<Arc<str>> = Vec::new();
            for (node, device) in map.optional_strings("devices") {
                if device.is_empty() || device.len() > MAX_DEVICE_ID {
                    let message = format!("`devices` in {what}: a device id has 1 to {MAX_DEVICE_ID} bytes");
                    self.doc.report(node, message);
                    continue;
                }
                let device: Arc<str> = device.into();
                if let Some(other) = site_of_device.insert(device.clone(), id.clone()) {
                    let message = if other == id {
                        format!("device `{}` is given twice in {what}", node.shown())
                    } else {
                        format!("device `{}` is registered at site `{other}` too", node.shown())
                    };
                    self.doc.report(node, message);
                }
                devices.push(device);
            }
            let (mut topics, mut topic_places) = (Vec::new(), Vec::new());
            for (node, topic) in map.optional_strings("topics") {
                if !is_topic_name(&topic) {
                    self.doc.report(node, "a topic name has 1 to 249 letters, digits, `.`, `_` or `-`");
                    continue;
                }
                let topic: Arc<str> = topic.into();
                if topics.contains(&topic) {
                    self.doc.report(node, format!("topic `{topic}` is given twice in {what}"));
                } else if any_device && let Some(other) = site_of_topic.insert(topic.clone(), id.clone()) {
                    let message = format!(
                        "topic `{topic}` alone already says `{other}`: only one site with `any-device` may have it"
                    );
                    self.doc.report(node, message);
                }
                topics.push(topic);
                topic_places.push(place(node));
            }
            let topics = match map.optional("topics") {
                None if any_device => {
                    self.doc
                        .report(map.node(), format!("{what} has `any-device`, so it needs a key `topics`"));
                    None
                }
                None => None,
                Some(node) => {
                    if node.text().is_none()
                        && self.doc.items(node, &format!("`topics` in {what}")).is_empty()
                    {
                        self.doc.report(node, format!("`topics` in {what}: expected at least one topic"));
                    }
                    Some(topics)
                }
            };
            let jurisdiction = map.parsed::<Jurisdiction>("jurisdiction")?;
            let place = place(map.optional("jurisdiction")?);
            Some(SiteEntry {
                site: Site { id, jurisdiction, topics, devices, any_device },
                place,
                topic_places,
            })
        };
        self.named(map, "sites").iter().filter_map(site).collect()
    }

    fn rules(&self, map: &Map<'d>, zones: &[ZoneEntry]) -> Vec<RuleEntry> {
        // All names as they stand in the text, so that a zone with a fault inside is not also
        // reported as unknown.
        let zone_names: Vec<&str> =
            map.optional("zones").map(names_in).unwrap_or_default().into_iter().collect();
        let mut used: Vec<String> = Vec::new();
        let mut ids: Vec<RuleId> = Vec::new();
        let mut rules: Vec<RuleEntry> = Vec::new();
        let mut last: Option<RuleId> = None;
        let Some(list) = map.required("rules") else { return rules };
        let items = self.doc.items(list, "`rules` in the policy");
        if items.is_empty() {
            self.doc.report(list, "`rules` in the policy: expected at least one rule");
        }
        for item in items {
            let what = self.title(item, "rule");
            let keys = ["id", "when", "zone", "basis", "reference", "training"];
            let Some(map) = self.doc.map(item, &what, &keys) else { continue };
            let id = self.id::<RuleId>(&map, &mut ids);
            if let Some(last) = &last {
                self.doc
                    .report(item, format!("{what} is never reached: rule `{last}` before it has no `when`"));
            }
            let when = self.condition(&map, "when", &what);
            if map.optional("when").is_none() && last.is_none() {
                last.clone_from(&id);
            }
            let zone = map.string("zone").and_then(|name| {
                if !zone_names.contains(&name.as_str()) {
                    let node = map.optional("zone")?;
                    let message = format!("`zone` in {what}: there is no zone `{}`", node.shown());
                    self.doc.report_word(node, message, &name, zone_names.iter().copied());
                    return None;
                }
                let index = zones.iter().position(|entry| entry.zone.id.as_str() == name);
                used.push(name);
                index
            });
            let basis = map.word("basis", BasisKind::WORDS);
            let reference = map.optional_string("reference");
            let training = map.optional_word("training", Training::WORDS).unwrap_or(Training::Prohibited);
            if let (Some(id), Some(zone), Some(basis)) = (id, zone, basis) {
                let (text, when) = when.unzip();
                let zone_id = zones[zone].zone.id.clone();
                let rule = Rule { id, zone: zone_id, basis, reference, training, when: text };
                rules.push(RuleEntry { rule, when, zone });
            }
        }
        for (key, _) in self.named(map, "zones") {
            if let Some(name) = key.text()
                && !used.iter().any(|zone| zone == name)
            {
                self.doc.report(
                    key,
                    format!("no rule gives zone `{}`, so no record can live there", key.shown()),
                );
            }
        }
        rules
    }

    fn models(&self, map: &Map<'d>) -> Vec<ModelEntry> {
        let mut ids: Vec<ModelId> = Vec::new();
        let Some(list) = map.optional("models") else { return Vec::new() };
        let model = |item: &'d Node| {
            let what = self.title(item, "model");
            let keys = ["id", "version", "owner", "purpose", "pipelines", "where", "markets"];
            let map = self.doc.map(item, &what, &keys)?;
            let id = self.id::<ModelId>(&map, &mut ids);
            let version = map.string("version");
            let owner = map.optional_string("owner");
            let purpose = map.optional_string("purpose");
            map.required("pipelines");
            let (nodes, pipelines): (Vec<&Node>, Vec<_>) = self.list(&map, "pipelines").into_iter().unzip();
            let (text, filter) = self.condition(&map, "where", &what).unzip();
            let markets = self.list::<Jurisdiction>(&map, "markets");
            let mut markets: Vec<Jurisdiction> = markets.into_iter().map(|(_, market)| market).collect();
            markets.sort();
            markets.dedup();
            let model =
                Model { id: id?, version: version?, owner, purpose, pipelines, filter: text, markets };
            let pipeline_places = nodes.into_iter().map(place).collect();
            Some(ModelEntry { model, filter, pipeline_places })
        };
        self.doc.items(list, "`models` in the policy").iter().filter_map(model).collect()
    }

    /// The entries of a required mapping whose keys are names.
    fn named(&self, map: &Map<'d>, key: &str) -> &'d [(Node, Node)] {
        match map.required(key) {
            Some(node) => self.doc.entries(node, &format!("`{key}` in the policy")),
            None => &[],
        }
    }

    /// What to call an item of a list in messages: by its id if it has one.
    fn title(&self, item: &Node, kind: &str) -> String {
        match item.get("id") {
            Some(id) if id.text().is_some() => format!("{kind} `{}`", id.shown()),
            _ => format!("a {kind}"),
        }
    }

    /// The required id of an item, which no item before it has.
    fn id<T>(&self, map: &Map<'d>, seen: &mut Vec<T>) -> Option<T>
    where
        T: FromStr + Clone + PartialEq + fmt::Display,
        T::Err: fmt::Display,
    {
        let id = map.parsed::<T>("id")?;
        if seen.contains(&id) {
            self.doc.report(map.optional("id")?, format!("id `{id}` is given twice"));
        }
        seen.push(id.clone());
        Some(id)
    }

    /// A list of values that parse.
    fn list<T>(&self, map: &Map<'d>, key: &str) -> Vec<(&'d Node, T)>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let what = format!("an entry of `{key}`");
        let strings = map.optional_strings(key);
        if let (Some(node), true) = (map.optional(key), strings.is_empty())
            && node.text().is_none()
            && self.doc.items(node, &what).is_empty()
            && key != "markets"
        {
            self.doc.report(node, format!("`{key}`: expected at least one entry"));
        }
        strings.into_iter().filter_map(|(node, _)| Some((node, self.doc.parsed::<T>(node, &what)?))).collect()
    }

    /// An optional condition with its text.
    fn condition(&self, map: &Map<'d>, key: &str, what: &str) -> Option<(String, Condition)> {
        let node = map.optional(key)?;
        let text = self.doc.text(node, &format!("`{key}` in {what}"))?;
        match Condition::parse(text, place(node)) {
            Ok(condition) => Some((text.to_owned(), condition)),
            Err(Fault { message, suggestion }) => {
                let word = suggestion.as_deref().unwrap_or_default();
                self.doc.report_word(
                    node,
                    format!("`{key}` in {what}: {message}"),
                    word,
                    suggestion.as_deref(),
                );
                None
            }
        }
    }
}

/// The keys of a mapping.
fn names_in(node: &Node) -> Vec<&str> {
    match &node.kind {
        situs_model::doc::Kind::Mapping(entries) => {
            entries.iter().filter_map(|(key, _)| key.text()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
