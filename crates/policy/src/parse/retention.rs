//! How long rows are kept.

use situs_model::doc::{Map, Node};
use situs_model::{Age, Class};

use super::{Reader, place};
use crate::policy::{Retention, RetentionEntry};

const KEYS: &[&str] = &["pipelines", "class", "at-least", "at-most"];

impl<'d> Reader<'d> {
    pub(super) fn retention(&self, map: &Map<'d>) -> Vec<RetentionEntry> {
        let Some(list) = map.optional("retention") else { return Vec::new() };
        let entry = |item: &'d Node| {
            let map = self.doc.map(item, "an entry of `retention`", KEYS)?;
            let (nodes, pipelines): (Vec<&Node>, Vec<_>) =
                self.list(&map, "pipelines", false).into_iter().unzip();
            let at_least = map.optional_parsed::<Age>("at-least");
            let at_most = map.optional_parsed::<Age>("at-most");
            if map.optional("at-least").is_none() && map.optional("at-most").is_none() {
                self.doc.report(item, "an entry of `retention` needs `at-least`, `at-most` or both");
            }
            if let (Some(least), Some(most), Some(node)) = (at_least, at_most, map.optional("at-most"))
                && least > most
            {
                let message = format!(
                    "an entry of `retention` keeps rows at least {least} and at most {most}, which is less"
                );
                self.doc.report(node, message);
            }
            let class = map.optional_word("class", Class::WORDS);
            let retention = Retention { pipelines, class, at_least, at_most };
            Some(RetentionEntry {
                retention,
                place: place(item),
                pipeline_places: nodes.into_iter().map(place).collect(),
            })
        };
        let entries: Vec<RetentionEntry> =
            self.doc.items(list, "`retention` in the policy").iter().filter_map(entry).collect();
        self.contradictions(list, &entries);
        entries
    }

    /// Entries that are for the same rows, of which one keeps them longer than the other lets them stay.
    fn contradictions(&self, list: &'d Node, entries: &[RetentionEntry]) {
        let items = self.doc.items(list, "`retention` in the policy");
        let node_of = |entry: &RetentionEntry| items.iter().find(|item| place(item) == entry.place);
        for (at, one) in entries.iter().enumerate() {
            for (of, other) in entries.iter().enumerate().filter(|(of, _)| *of != at) {
                let (keeps, drops) = (&one.retention, &other.retention);
                if let (Some(least), Some(most)) = (keeps.at_least, drops.at_most)
                    && least > most
                    && keeps.overlaps(drops)
                    && let Some(node) = node_of(if of > at { other } else { one })
                {
                    let message = format!(
                        "entries of `retention` in lines {} and {} contradict each other: the first keeps rows at least {least}, the other keeps some of them at most {most}",
                        one.place.line, other.place.line
                    );
                    self.doc.report(node, message);
                }
            }
        }
    }
}
