//! Transfers.

use situs_model::doc::{Map, Node};
use situs_model::transfer::{Cargo, Transfer, TransferBasis, TransferUse};
use situs_model::{Class, Date, PipelineName, TransferName, ZoneId};

use super::{Reader, names_in, place};
use crate::policy::{Place, TransferEntry};

/// Keys of every transfer.
const COMMON: [&str; 11] =
    ["id", "from", "to", "ceiling", "purpose", "use", "recipient", "basis", "reference", "until", "derived"];
/// Keys of a transfer of rows.
const OF_ROWS: [&str; 4] = ["pipeline", "columns", "where", "max-rows"];
/// Keys of a transfer of something that is made of rows.
const OF_DERIVED: [&str; 1] = ["pipelines"];
/// As many rows as any transfer may have.
const MOST_ROWS: u64 = 1_000_000_000_000;

/// The keys that a transfer may have, for texts that compare transfers.
pub(crate) const TRANSFER_KEYS: [&str; 16] = [
    "from",
    "to",
    "derived",
    "pipeline",
    "pipelines",
    "columns",
    "where",
    "max-rows",
    "ceiling",
    "use",
    "purpose",
    "recipient",
    "basis",
    "reference",
    "until",
    "id",
];

impl<'d> Reader<'d> {
    pub(super) fn transfers(&self, map: &Map<'d>) -> Vec<TransferEntry> {
        let zones: Vec<&str> = map.optional("zones").map(names_in).unwrap_or_default();
        let mut ids: Vec<TransferName> = Vec::new();
        let Some(list) = map.optional("transfers") else { return Vec::new() };
        let items = self.doc.items(list, "`transfers` in the policy").iter();
        items.filter_map(|item| self.transfer(item, &zones, &mut ids)).collect()
    }

    fn transfer(&self, item: &'d Node, zones: &[&str], ids: &mut Vec<TransferName>) -> Option<TransferEntry> {
        let what = self.title(item, "transfer");
        // Which keys are allowed depends on one of them; what it is instead of `true` is reported below.
        let derived = item.get("derived").and_then(Node::text) == Some("true");
        let of_kind: &[&str] = if derived { &OF_DERIVED } else { &OF_ROWS };
        let keys: Vec<&str> = COMMON.iter().chain(of_kind).copied().collect();
        let map = self.doc.map(item, &what, &keys)?;
        let id = self.id::<TransferName>(&map, ids);
        let from = self.zone_of(&map, "from", &what, zones);
        let to = self.zone_of(&map, "to", &what, zones);
        if let (Some(from), Some(to), Some(node)) = (&from, &to, map.optional("to"))
            && from == to
        {
            self.doc.report(node, format!("{what} goes from zone `{from}` to itself"));
        }
        let ceiling = map.word("ceiling", Class::WORDS);
        let purpose = self.words_of(&map, "purpose", &what);
        let usage = map.word("use", TransferUse::WORDS);
        let recipient = self.words_of(&map, "recipient", &what);
        let basis = map.word("basis", TransferBasis::WORDS);
        let reference = map.optional("reference").and_then(|_| self.words_of(&map, "reference", &what));
        let until = map.optional_parsed::<Date>("until");
        self.ceiling(&map, &what, ceiling);
        map.optional_bool("derived");
        let mut column_places = Vec::new();
        let mut condition = None;
        let mut pipeline_places = Vec::new();
        let cargo = if derived {
            map.required("pipelines");
            let (nodes, pipelines): (Vec<&Node>, Vec<PipelineName>) =
                self.list(&map, "pipelines", false).into_iter().unzip();
            pipeline_places = nodes.into_iter().map(place).collect();
            Some(Cargo::Derived { pipelines })
        } else {
            let pipeline = map.parsed::<PipelineName>("pipeline");
            pipeline_places.extend(map.optional("pipeline").map(place));
            let columns = self.columns_of(&map, &what, &mut column_places);
            let (filter, parsed) = self.condition(&map, "where", &what).unzip();
            condition = parsed;
            map.required("max-rows");
            let max_rows = map.optional_integer("max-rows", 1..=MOST_ROWS);
            pipeline.zip(max_rows).map(|(pipeline, max_rows)| Cargo::Rows {
                pipeline,
                columns,
                filter,
                max_rows,
            })
        };
        let transfer = Transfer {
            id: id?,
            from: from?,
            to: to?,
            cargo: cargo?,
            ceiling: ceiling?,
            purpose: purpose?,
            usage: usage?,
            recipient: recipient?,
            basis: basis?,
            reference,
            until,
        };
        Some(TransferEntry { transfer, place: place(item), condition, pipeline_places, column_places })
    }

    fn zone_of(&self, map: &Map<'d>, key: &str, what: &str, zones: &[&str]) -> Option<ZoneId> {
        let name = map.string(key)?;
        if !zones.contains(&name.as_str()) {
            let node = map.optional(key)?;
            let message = format!("`{key}` in {what}: there is no zone `{}`", node.shown());
            self.doc.report_word(node, message, &name, zones.iter().copied());
            return None;
        }
        map.parsed(key)
    }

    /// A text that says something, on one line.
    fn words_of(&self, map: &Map<'d>, key: &str, what: &str) -> Option<String> {
        let text = map.string(key)?;
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            let node = map.optional(key)?;
            self.doc.report(node, format!("`{key}` in {what}: expected words on one line"));
            return None;
        }
        Some(text)
    }

    /// What the ceiling is, and what it asks for.
    fn ceiling(&self, map: &Map<'d>, what: &str, ceiling: Option<Class>) {
        let Some(node) = map.optional("ceiling") else { return };
        match ceiling {
            Some(strict @ (Class::Core | Class::Unclassified)) => {
                let message = format!(
                    "`ceiling` in {what}: class `{strict}` never leaves its zone; expected `general` or `important`"
                );
                self.doc.report(node, message);
            }
            Some(Class::Important) => {
                for key in ["reference", "until"] {
                    if map.optional(key).is_none() {
                        let message = format!(
                            "{what}: class `important` leaves its zone only with a `reference` and an `until`; `{key}` is missing"
                        );
                        self.doc.report(node, message);
                    }
                }
            }
            Some(Class::General) | None => {}
        }
    }

    /// The columns that go, each once; those of Situs go anyway.
    fn columns_of(&self, map: &Map<'d>, what: &str, places: &mut Vec<Place>) -> Vec<String> {
        map.required("columns");
        let mut columns: Vec<String> = Vec::new();
        for (node, column) in self.strings(map, "columns", "an entry of `columns`", false) {
            if columns.contains(&column) {
                self.doc.report(node, format!("`columns` in {what}: column `{column}` is given twice"));
                continue;
            }
            columns.push(column);
            places.push(place(node));
        }
        columns
    }
}
