//! Zones and how they are nested.

use situs_model::doc::{Map, Node};
use situs_model::{Jurisdiction, ZoneId};

use super::{Reader, place};
use crate::policy::{Zone, ZoneEntry};

/// A zone with the nodes that its parts stand at.
struct Draft<'d> {
    id: ZoneId,
    jurisdictions: Vec<(&'d Node, Jurisdiction)>,
    within: Option<(&'d Node, String)>,
}

impl<'d> Reader<'d> {
    pub(super) fn zones(&self, map: &Map<'d>) -> Vec<ZoneEntry> {
        let entries = self.named(map, "zones");
        if let (Some(node), []) = (map.optional("zones"), entries) {
            self.doc.report(node, "`zones` in the policy: expected at least one zone");
        }
        let draft = |(key, value): &'d (Node, Node)| {
            let id = self.doc.parsed::<ZoneId>(key, "a name in `zones`")?;
            let what = format!("zone `{id}`");
            let map = self.doc.map(value, &what, &["jurisdictions", "within"])?;
            map.required("jurisdictions");
            let within = map.optional("within").zip(map.optional_string("within"));
            Some(Draft { id, jurisdictions: self.jurisdictions(&map, "jurisdictions", &what), within })
        };
        let drafts: Vec<Draft<'d>> = entries.iter().filter_map(draft).collect();
        let parents: Vec<Option<usize>> = drafts.iter().map(|draft| self.parent(draft, &drafts)).collect();
        let around: Vec<Vec<usize>> =
            (0..drafts.len()).map(|zone| self.around(zone, &drafts, &parents)).collect();
        self.nested(&drafts, &parents);
        self.disjoint(&drafts, &around);
        let entry = |(draft, around): (Draft<'d>, Vec<usize>)| {
            let within = draft.within.and_then(|(_, name)| name.parse().ok());
            let places = draft.jurisdictions.iter().map(|(node, _)| place(node)).collect();
            let jurisdictions = draft.jurisdictions.into_iter().map(|(_, code)| code).collect();
            ZoneEntry { zone: Zone { id: draft.id, jurisdictions, within }, places, around }
        };
        drafts.into_iter().zip(around).map(entry).collect()
    }

    /// The index of the zone that a zone is directly within.
    fn parent(&self, draft: &Draft<'d>, drafts: &[Draft<'d>]) -> Option<usize> {
        let (node, name) = draft.within.as_ref()?;
        let parent = drafts.iter().position(|other| other.id.as_str() == name);
        if parent.is_none() {
            let message = format!("`within` in zone `{}`: there is no zone `{}`", draft.id, node.shown());
            self.doc.report_word(node, message, name, drafts.iter().map(|other| other.id.as_str()));
        }
        parent
    }

    /// The indices of all zones around a zone, from the inside out.
    fn around(&self, zone: usize, drafts: &[Draft<'d>], parents: &[Option<usize>]) -> Vec<usize> {
        let mut around = Vec::new();
        let mut next = parents[zone];
        while let Some(parent) = next {
            if parent == zone {
                if let Some((node, _)) = &drafts[zone].within {
                    let message =
                        format!("`within` in zone `{}`: a zone cannot be within itself", drafts[zone].id);
                    self.doc.report(node, message);
                }
                return Vec::new();
            }
            if around.contains(&parent) {
                // Reported for the zones that go round.
                return Vec::new();
            }
            around.push(parent);
            next = parents[parent];
        }
        around
    }

    /// A nested zone has no jurisdiction that its parent lacks.
    fn nested(&self, drafts: &[Draft<'d>], parents: &[Option<usize>]) {
        for (draft, parent) in drafts.iter().zip(parents) {
            let Some(parent) = parent.map(|parent| &drafts[parent]) else { continue };
            for (node, code) in &draft.jurisdictions {
                if !parent.jurisdictions.iter().any(|(_, other)| other == code) {
                    let message = format!(
                        "zone `{}` is within `{}`, which does not have jurisdiction `{code}`",
                        draft.id, parent.id
                    );
                    self.doc.report(node, message);
                }
            }
        }
    }

    /// Zones of which neither is around the other have no jurisdiction in common.
    fn disjoint(&self, drafts: &[Draft<'d>], around: &[Vec<usize>]) {
        for (zone, draft) in drafts.iter().enumerate() {
            for (node, code) in &draft.jurisdictions {
                let other = drafts[..zone].iter().enumerate().find(|(other, candidate)| {
                    let related = around[zone].contains(other) || around[*other].contains(&zone);
                    !related && candidate.jurisdictions.iter().any(|(_, theirs)| theirs == code)
                });
                if let Some((_, other)) = other {
                    let message = format!(
                        "jurisdiction `{code}` is in zone `{}` too: zones are disjoint, unless one is `within` the other",
                        other.id
                    );
                    self.doc.report(node, message);
                }
            }
        }
    }
}
