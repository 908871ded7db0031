//! Judges a record again by the texts of the time, and compares.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use situs_model::columns::{names, tag_fields};
use situs_model::store::Versions;
use situs_model::{ClusterName, Coordinates, PipelineName, RejectCode, ZoneId};
use situs_policy::Policy;
use situs_store::{Content, Place, QuarantineEntry, Retag};

use super::report::{Explanation, ModelPart, QuarantinedMessage, RetagPart, RowGroup, RulePart, time_text};
use super::{Past, Stored};
use crate::rejudge::{Judgement, Rejudge};

/// The word for a message that can be placed.
const PLACED: &str = "placed";
/// Tags of a row by column.
type Tags = BTreeMap<String, Option<String>>;

/// By which texts a record is judged again.
pub(super) struct Texts<'a> {
    /// Those of its receipt or its release, with its pipeline.
    pub(super) versions: Option<(&'a PipelineName, Versions)>,
    /// The re-taggings of each store.
    pub(super) retags: &'a BTreeMap<ZoneId, Vec<Retag>>,
    pub(super) past: &'a dyn Past,
    pub(super) cluster: &'a ClusterName,
}

/// One of the ways in which rows may have got their tags.
struct Way {
    policy: String,
    judgement: Judgement,
    /// The tags that come out now; `None` if the rows cannot be judged.
    again: Option<Vec<Tags>>,
    /// The re-tagging, if it is not that of the receipt or the release.
    retag: Option<RetagPart>,
}

impl Texts<'_> {
    /// The ways in which the rows of a file may have got the policies that they name: by their receipt or
    /// release, or by a re-tagging of their table, the newest first.
    fn ways(
        &self,
        part: &Stored,
        tags: &[Tags],
        record: &Coordinates,
        explanation: &mut Explanation,
    ) -> Vec<Way> {
        let Some((pipeline, versions)) = &self.versions else { return Vec::new() };
        let named: BTreeSet<&str> =
            tags.iter().filter_map(|tags| tags.get(names::POLICY)?.as_deref()).collect();
        let mut ways: Vec<Way> = Vec::new();
        let mut known = vec![versions.clone()];
        let mut add = |versions: &Versions, retag: Option<RetagPart>| {
            let what =
                retag.as_ref().map_or_else(String::new, |retag| format!("by re-tagging {}, ", retag.id));
            let judgement = match self.past.judgement(pipeline, versions) {
                Ok(judgement) => judgement,
                Err(why) => {
                    explanation.flag(format!("{what}it cannot be judged again: {why}"));
                    return;
                }
            };
            let again = judge(&judgement, part, self.cluster, record);
            let again = again.map_err(|why| {
                explanation.flag(format!("zone {}: {what}its rows cannot be judged again: {why}", part.zone));
            });
            let policy = versions.policy.to_string();
            ways.push(Way { policy, judgement, again: again.ok(), retag });
        };
        add(versions, None);
        let of_zone = self.retags.get(&part.zone).into_iter().flatten().rev();
        let of_table = of_zone.filter(|retag| {
            retag.body.found.table == part.table.as_str() && named.contains(retag.policy.as_str())
        });
        for retag in of_table {
            let (Ok(schema), Ok(definition)) = (retag.body.schema.parse(), retag.body.definition.parse())
            else {
                continue;
            };
            let by = Versions { policy: retag.policy.clone(), schema, definition: Some(definition) };
            // The same texts say the same again.
            if !known.contains(&by) {
                add(&by, Some(RetagPart::new(retag, &versions.policy)));
                known.push(by);
            }
        }
        ways
    }
}

/// Tells of the stored rows, and judges them again.
pub(super) fn rows(
    stored: &[Stored],
    only: Option<i32>,
    texts: &Texts<'_>,
    record: &Coordinates,
    explanation: &mut Explanation,
) {
    if stored.is_empty() {
        return;
    }
    if texts.versions.is_none() {
        explanation.not_assessed.push("by which texts it was judged: no receipt says so yet".to_owned());
    }
    for part in stored {
        let tags = tags_of(&part.found.rows);
        let ways = texts.ways(part, &tags, record, explanation);
        for (at, number) in part.numbers.iter().enumerate() {
            if only.is_some_and(|only| only != *number) {
                continue;
            }
            let stored = tags.get(at).cloned().unwrap_or_default();
            let again = |way: &Way| way.again.as_ref().and_then(|again| again.get(at).cloned());
            let policy = stored.get(names::POLICY).and_then(Option::as_deref);
            let mut of_policy = ways.iter().filter(|way| Some(way.policy.as_str()) == policy);
            let equal = of_policy.clone().find(|way| again(way).as_ref() == Some(&stored));
            let way = equal.or_else(|| of_policy.next()).or(ways.first());
            let recomputed = way.and_then(again);
            compare(part, *number, &stored, recomputed.as_ref(), way, explanation);
            let judgement = way.map(|way| &way.judgement);
            let device = judgement.and_then(|judgement| {
                let column = part.found.rows.column_by_name(judgement.facts.device_column.as_deref()?)?;
                let device = self::texts(&column.slice(at, 1)).pop().flatten()?;
                registered(&judgement.policy, &device, &stored)
            });
            let retagged = way.and_then(|way| way.retag.clone());
            let position = part.found.positions.get(at).copied().unwrap_or_default();
            let (zone, table) = (part.zone.to_string(), part.table.to_string());
            let same = explanation.rows.iter_mut().find(|group| {
                group.zone == zone
                    && group.table == table
                    && group.file == part.found.file
                    && group.tags == stored
                    && group.device == device
                    && group.retagged == retagged
                    && group.recomputed == recomputed
            });
            if let Some(group) = same {
                group.rows.push(*number);
                group.positions.push(position);
                continue;
            }
            let policy = judgement.map(|judgement| &*judgement.policy);
            let hashed = explanation.hashed.get(&(part.zone.clone(), part.found.file.clone())).copied();
            explanation.rows.push(RowGroup {
                rows: vec![*number],
                zone,
                table,
                file: part.found.file.clone(),
                positions: vec![position],
                hash_holds: hashed,
                device,
                rule: policy.and_then(|policy| rule(policy, &stored)),
                models: policy.map(|policy| models(policy, &stored)).unwrap_or_default(),
                tags: stored,
                retagged,
                recomputed,
            });
        }
    }
}

/// Flags what a row's tags contradict: where it lies, what its receipt says, and what comes out now.
fn compare(
    part: &Stored,
    number: i32,
    stored: &Tags,
    recomputed: Option<&Tags>,
    way: Option<&Way>,
    explanation: &mut Explanation,
) {
    let shown = |value: Option<&Option<String>>| {
        value.cloned().flatten().map_or_else(|| "null".to_owned(), |value| format!("`{value}`"))
    };
    let tag = |name: &str| stored.get(name).and_then(Option::as_deref);
    if tag(names::ZONE) != Some(part.zone.as_str()) {
        let zone = shown(stored.get(names::ZONE));
        explanation.flag(format!("row {number} lies in zone {}, its _zone is {zone}", part.zone));
    }
    if let Some(way) = way
        && tag(names::POLICY) != Some(way.policy.as_str())
    {
        let policy = shown(stored.get(names::POLICY));
        explanation.flag(format!(
            "row {number}: _policy is {policy}, not `{}`, and no re-tagging tells of it",
            way.policy
        ));
    }
    for (name, again) in recomputed.into_iter().flatten() {
        // The claim is payload: that it differs is told, not how.
        if stored.get(name) == Some(again) {
        } else if name == names::CLAIMED {
            explanation.flag(format!("row {number}: {name} is otherwise when judged again"));
        } else {
            let (before, now) = (shown(stored.get(name)), shown(Some(again)));
            explanation.flag(format!("row {number}: {name} is {before}, judged again it is {now}"));
        }
    }
}

/// Tells of a message in quarantine, and judges it again.
pub(super) fn quarantined(
    place: &Place,
    entry: &QuarantineEntry,
    content: &Content,
    versions: Option<Versions>,
    past: &dyn Past,
    explanation: &mut Explanation,
) {
    let mut recomputed = None;
    if let Some(versions) = versions {
        if entry.policy != versions.policy.as_str() {
            explanation.flag(format!("in quarantine by policy {}, not by its receipt's", entry.policy));
        }
        match past.reason(entry, content, &versions) {
            Ok(reason) => {
                let reason = reason.unwrap_or_else(|| PLACED.to_owned());
                if reason == entry.reason {
                    recomputed = Some(reason);
                } else if entry.reason == RejectCode::Poison.as_str() {
                    let why = "poison is told of by code, not by texts: this version does not fail on it";
                    explanation.not_assessed.push(why.to_owned());
                } else {
                    explanation
                        .flag(format!("in quarantine for `{}`, judged again it is `{reason}`", entry.reason));
                    recomputed = Some(reason);
                }
            }
            Err(why) => explanation.flag(format!("it cannot be judged again: {why}")),
        }
    } else {
        explanation.not_assessed.push("by which texts it was judged: no receipt says so yet".to_owned());
    }
    explanation.quarantine.push(QuarantinedMessage {
        file: place.file.clone(),
        position: place.position,
        quarantined_at: time_text(entry.quarantined_us),
        reason: entry.reason.clone(),
        rows: entry.rows,
        policy: entry.policy.clone(),
        recomputed,
    });
}

/// The tags that the policy gives these rows now.
fn judge(
    judgement: &Judgement,
    part: &Stored,
    cluster: &ClusterName,
    record: &Coordinates,
) -> Result<Vec<Tags>, String> {
    let mut rejudge = Rejudge::new(judgement, cluster)?;
    let tagged = rejudge.judge(&part.found.rows, &record.topic, record.partition)?;
    Ok(tags_of(&tagged.decoded.rows))
}

/// The tag columns of each row. A column that is missing is null.
fn tags_of(rows: &RecordBatch) -> Vec<Tags> {
    let mut tags = vec![Tags::new(); rows.num_rows()];
    for field in tag_fields() {
        let texts = rows.column_by_name(field.name()).map(texts).unwrap_or_default();
        for (row, tags) in tags.iter_mut().enumerate() {
            tags.insert(field.name().clone(), texts.get(row).cloned().flatten());
        }
    }
    tags
}

/// A column of text, or of lists of text, as texts.
fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    let plain = match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values).unwrap_or_else(|_| column.clone()),
        _ => column.clone(),
    };
    let joined = |entry: ArrayRef| {
        let words = cast(&entry, &DataType::Utf8).ok();
        let words = words.as_ref().and_then(|words| words.as_string_opt::<i32>());
        words.map(|words| words.iter().flatten().collect::<Vec<_>>().join(",")).unwrap_or_default()
    };
    if let Some(lists) = plain.as_list_opt::<i32>() {
        return (0..lists.len()).map(|row| lists.is_valid(row).then(|| joined(lists.value(row)))).collect();
    }
    let text = cast(&plain, &DataType::Utf8).ok();
    let text = text.as_ref().and_then(|text| text.as_string_opt::<i32>());
    let value = |text: &StringArray, row| text.is_valid(row).then(|| text.value(row).to_owned());
    text.map(|text| (0..text.len()).map(|row| value(text, row)).collect()).unwrap_or_default()
}

fn words(tags: &Tags, name: &str) -> Vec<String> {
    let text = tags.get(name).and_then(Option::as_deref).unwrap_or_default();
    text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn rule(policy: &Policy, tags: &Tags) -> Option<RulePart> {
    let rule = policy.rule(tags.get(names::RULE)?.as_deref()?)?;
    Some(RulePart {
        id: rule.id.to_string(),
        basis: rule.basis.to_string(),
        reference: rule.reference.clone(),
        when: rule.when.clone(),
    })
}

fn models(policy: &Policy, tags: &Tags) -> Vec<ModelPart> {
    let fed = words(tags, names::MODELS);
    let fed = policy.models().filter(|model| fed.iter().any(|id| id == model.id.as_str()));
    fed.map(|model| ModelPart {
        id: model.id.to_string(),
        version: model.version.clone(),
        owner: model.owner.clone(),
        purpose: model.purpose.clone(),
        markets: model.markets.iter().map(ToString::to_string).collect(),
    })
    .collect()
}

/// The device of a row, if the registry names it at the row's site.
fn registered(policy: &Policy, device: &str, tags: &Tags) -> Option<String> {
    let site = tags.get(names::SITE)?.as_deref()?;
    let site = policy.sites().find(|known| known.id.as_str() == site)?;
    site.all_devices().any(|(_, known)| **known == *device).then(|| device.to_owned())
}

#[cfg(test)]
mod tests;
