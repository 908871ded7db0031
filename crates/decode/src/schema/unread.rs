//! Annotations that nothing reads: a class there would be that of no value, and the values be stored as they
//! come.

use std::collections::BTreeSet;

use situs_model::FieldClass;
use situs_model::doc::{Kind, Node};

use super::Compiler;
use super::field::Annotations;

/// Keywords under which schemas stand that say what is in a value, beside `properties`.
const WITHIN: [&str; 8] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "items",
    "not",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// The schemas of what is in a value, but for its properties.
fn within(node: &Node) -> impl Iterator<Item = &Node> {
    WITHIN.iter().filter_map(|word| node.get(word))
}

/// The schemas of what is in a value.
fn all_within(node: &Node) -> impl Iterator<Item = &Node> {
    let properties = match node.get("properties").map(|properties| &properties.kind) {
        Some(Kind::Mapping(properties)) => properties.as_slice(),
        _ => &[],
    };
    within(node).chain(properties.iter().map(|(_, property)| property))
}

impl<'d> Compiler<'d> {
    /// Reports the class of an object that is walked into, or of a list on the way to the rows: it has no
    /// value that could have a class.
    pub(super) fn no_class(&self, notes: &Annotations<'d>) {
        if let Some(node) = notes.class_at {
            self.doc.report(node, "what is walked into has no class: give one to each field in it");
        }
    }

    /// Reports the annotations of what is in a field that is not walked into.
    pub(super) fn unread_in_leaf(&self, node: &'d Node) {
        for notes in self.annotations(all_within(node), &[]) {
            self.doc.report(
                notes,
                "`x-situs` is not read here: the field around is taken as a whole, and so is its class",
            );
        }
    }

    /// Reports the annotations of what is in an object beside its properties.
    pub(super) fn unread_in_object(&self, node: &'d Node) {
        for notes in self.annotations(within(node), &[]) {
            self.doc
                .report(notes, "`x-situs` is not read here: only `properties` are, and the rest is unknown");
        }
    }

    /// Reports the annotations in a row container that are not those of its `entries`.
    pub(super) fn unread_in_container(&self, node: &'d Node, entries: [&'d Node; 2]) {
        for notes in self.annotations(within(node), &entries) {
            self.doc.report(notes, "`x-situs` is not read here: `items` says what the entries are");
        }
    }

    /// Reports the annotations of entries that a block takes.
    pub(super) fn unread_in_block(&self, entries: &'d Node) {
        for notes in self.annotations(std::iter::once(entries), &[]) {
            self.doc.report(notes, "`x-situs` is not read here: `block` says what becomes of these entries");
        }
    }

    /// Reports what is in the row container `here` of another alternative and may not be in `_extra`, where
    /// the container comes whole if a message has both.
    pub(super) fn kept_whole(&self, here: &[String], node: &'d Node) {
        if !self.keep_unknown {
            return;
        }
        let of_fields = self.annotations(std::iter::once(node), &[]).into_iter().flat_map(classes);
        let of_rows =
            self.row_classes.iter().filter(|(at, ..)| at == here).map(|(_, node, class)| (*node, *class));
        for (place, class) in of_fields.chain(of_rows) {
            if class.is_guarded() && !(class == FieldClass::TradeSecret && self.extra_class == Some(class)) {
                let or = match class {
                    FieldClass::TradeSecret => ", or `extra-class: trade-secret`",
                    _ => "",
                };
                self.doc.report(
                    place,
                    format!(
                        "where a message gives other rows, this is kept in `_extra`, and it is `{class}`: write `unknown: count`{or}"
                    ),
                );
            }
        }
    }

    /// The annotations in these schemas and in what is in them, each once. `known` is left out.
    fn annotations(&self, of: impl Iterator<Item = &'d Node>, known: &[&'d Node]) -> Vec<&'d Node> {
        let mut open: Vec<&'d Node> = of.collect();
        // The schema itself may be meant by a reference.
        let mut seen: BTreeSet<*const Node> = BTreeSet::from([std::ptr::from_ref(self.root)]);
        seen.extend(known.iter().map(|node| std::ptr::from_ref(*node)));
        let mut found = Vec::new();
        while let Some(node) = open.pop() {
            if !seen.insert(std::ptr::from_ref(node)) {
                continue;
            }
            found.extend(node.get("x-situs"));
            open.extend(all_within(node));
            open.extend(node.get("$ref").and_then(|reference| self.referred(reference)));
        }
        found
    }

    /// Where a reference leads; one that leads nowhere is no problem where nothing is read.
    fn referred(&self, reference: &'d Node) -> Option<&'d Node> {
        let mut tokens = reference.text()?.strip_prefix("#/")?.split('/');
        tokens.try_fold(self.root, |node, token| node.get(&token.replace("~1", "/").replace("~0", "~")))
    }
}

/// The classes that annotations give, each with its place.
fn classes(notes: &Node) -> Vec<(&Node, FieldClass)> {
    let by = match notes.get("class-by").and_then(|by| by.get("classes")).map(|classes| &classes.kind) {
        Some(Kind::Mapping(classes)) => classes.as_slice(),
        _ => &[],
    };
    let words = notes.get("class").into_iter().chain(by.iter().map(|(word, _)| word));
    words.filter_map(|word| Some((word, FieldClass::from_word(word.text()?)?))).collect()
}
