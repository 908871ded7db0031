//! Rules and models.

use situs_model::doc::{Map, Node};
use situs_model::{BasisKind, Class, Date, Jurisdiction, ModelId, RuleId, Training};

use super::{Reader, names_in, place};
use crate::policy::{INNERMOST, Model, ModelEntry, Rule, RuleEntry, ZoneEntry};

/// Keys of a rule.
const RULE_KEYS: &[&str] =
    &["id", "when", "jurisdictions", "from", "until", "zone", "class", "basis", "reference", "training"];
/// Keys of a model.
const MODEL_KEYS: &[&str] = &["id", "version", "owner", "purpose", "pipelines", "where", "until", "markets"];

impl<'d> Reader<'d> {
    pub(super) fn rules(&self, map: &Map<'d>, zones: &[ZoneEntry]) -> Vec<RuleEntry> {
        // All names as they stand in the text, so that a zone with a fault inside is not also
        // reported as unknown.
        let zone_names: Vec<&str> = map.optional("zones").map(names_in).unwrap_or_default();
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
            let Some(map) = self.doc.map(item, &what, RULE_KEYS) else { continue };
            let id = self.id::<RuleId>(&map, &mut ids);
            if let Some(last) = &last {
                self.doc.report(
                    item,
                    format!("{what} is never reached: rule `{last}` before it is for all records"),
                );
            }
            let when = self.condition(&map, "when", &what);
            let jurisdictions = map.optional("jurisdictions").map(|_| {
                let list = self.jurisdictions(&map, "jurisdictions", &what);
                let mut list: Vec<Jurisdiction> = list.into_iter().map(|(_, code)| code).collect();
                list.sort();
                list
            });
            let (from, until) = self.dates(&map, &what);
            let conditions = ["when", "jurisdictions", "from", "until"];
            if conditions.iter().all(|key| map.optional(key).is_none()) && last.is_none() {
                last.clone_from(&id);
            }
            // `None` is a name with a problem, `Some(None)` the innermost zone.
            let zone = map.string("zone").and_then(|name| {
                if name == INNERMOST {
                    used.extend(zone_names.iter().map(|name| (*name).to_owned()));
                    return Some(None);
                }
                if !zone_names.contains(&name.as_str()) {
                    let node = map.optional("zone")?;
                    let message = format!("`zone` in {what}: there is no zone `{}`", node.shown());
                    self.doc.report_word(node, message, &name, zone_names.iter().copied().chain([INNERMOST]));
                    return None;
                }
                let index = zones.iter().position(|entry| entry.zone.id.as_str() == name);
                used.push(name);
                index.map(Some)
            });
            let basis = map.word("basis", BasisKind::WORDS);
            let class = map.optional_word("class", Class::WORDS);
            let reference = map.optional_string("reference");
            let training = map.optional_word("training", Training::WORDS).unwrap_or(Training::Prohibited);
            if let (Some(id), Some(zone), Some(basis)) = (id, zone, basis) {
                let (text, when) = when.unzip();
                let rule = Rule {
                    id,
                    zone: zone.map(|zone| zones[zone].zone.id.clone()),
                    jurisdictions,
                    from,
                    until,
                    class,
                    basis,
                    reference,
                    training,
                    when: text,
                };
                rules.push(RuleEntry { rule, place: place(item), when, zone });
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

    pub(super) fn models(&self, map: &Map<'d>) -> Vec<ModelEntry> {
        let mut ids: Vec<ModelId> = Vec::new();
        let Some(list) = map.optional("models") else { return Vec::new() };
        let model = |item: &'d Node| {
            let what = self.title(item, "model");
            let map = self.doc.map(item, &what, MODEL_KEYS)?;
            let id = self.id::<ModelId>(&map, &mut ids);
            let version = map.string("version");
            let owner = map.optional_string("owner");
            let purpose = map.optional_string("purpose");
            map.required("pipelines");
            let (nodes, pipelines): (Vec<&Node>, Vec<_>) =
                self.list(&map, "pipelines", false).into_iter().unzip();
            let (text, filter) = self.condition(&map, "where", &what).unzip();
            let until = map.optional_parsed::<Date>("until");
            let markets = self.list::<Jurisdiction>(&map, "markets", true);
            let mut markets: Vec<Jurisdiction> = markets.into_iter().map(|(_, market)| market).collect();
            markets.sort();
            markets.dedup();
            let model =
                Model { id: id?, version: version?, owner, purpose, pipelines, filter: text, until, markets };
            let pipeline_places = nodes.into_iter().map(place).collect();
            Some(ModelEntry { model, place: place(item), filter, pipeline_places })
        };
        self.doc.items(list, "`models` in the policy").iter().filter_map(model).collect()
    }

    /// The first and the last day of a rule.
    fn dates(&self, map: &Map<'d>, what: &str) -> (Option<Date>, Option<Date>) {
        let from = map.optional_parsed::<Date>("from");
        let until = map.optional_parsed::<Date>("until");
        if let (Some(from), Some(until), Some(node)) = (from, until, map.optional("until"))
            && until < from
        {
            self.doc.report(node, format!("{what} ends on {until}, before it begins on {from}"));
        }
        (from, until)
    }
}
