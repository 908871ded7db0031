//! Walking through the objects of a schema.

use situs_model::doc::{Document, Kind as NodeKind, Map, Node, nearest};

use super::Compiler;
use super::field::{self, Annotations};
use super::tree::Tree;
use crate::plan::Plan;

/// Keywords of JSON Schema that Situs reads, or that do not change the structure.
const KEYWORDS: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalProperties",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "pattern",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "title",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
    "x-situs",
];

/// Keywords that would change the structure and that Situs does not read.
const UNREAD: &[&str] = &[
    "$dynamicRef",
    "allOf",
    "anyOf",
    "dependentSchemas",
    "else",
    "if",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "then",
];

/// Reports keywords that are unknown, or that would say something about the structure in vain.
pub(super) fn known_keywords(doc: &Document, node: &Node, what: &str) {
    for (key, _) in doc.entries(node, what) {
        let word = key.text().unwrap_or_default();
        if KEYWORDS.contains(&word) {
            continue;
        }
        if UNREAD.contains(&word) {
            doc.report(
                key,
                format!("`{word}` in {what} is not read; write the fields under `properties`, or keep the value with `arrow: json`"),
            );
        } else if !word.starts_with("x-") || nearest(word, ["x-situs"]).is_some_and(|_| word.len() < 10) {
            doc.report_word(
                key,
                format!("unknown keyword `{}` in {what}", key.shown()),
                word,
                KEYWORDS.iter().copied(),
            );
        }
    }
}

impl<'d> Compiler<'d> {
    /// Follows `$ref` within the document.
    pub(super) fn resolve(&self, node: &'d Node) -> Option<&'d Node> {
        let mut at = node;
        for _ in 0..32 {
            let Some(reference) = at.get("$ref") else { return Some(at) };
            for (key, _) in self.doc.entries(at, "a `$ref`") {
                if !matches!(key.text(), Some("$ref" | "title" | "description" | "$comment")) {
                    self.doc.report(
                        key,
                        format!("`{}` beside `$ref` is not read; write it where that leads", key.shown()),
                    );
                }
            }
            let text = self.doc.text(reference, "`$ref`")?;
            let target = text.strip_prefix('#').and_then(|pointer| {
                let tokens = field::pointer(self.doc, reference, pointer)?;
                tokens.iter().try_fold(self.root, |node, token| node.get(token))
            });
            let Some(target) = target else {
                self.doc.report(
                    reference,
                    format!("`{text}` leads nowhere in this document (`#/$defs/NAME` would)"),
                );
                return None;
            };
            at = target;
        }
        self.doc.report(node, "`$ref` leads in a circle");
        None
    }

    /// Reads the fields of an object. `way` is the rest of the way to the container of the rows;
    /// the schema of its entries is the answer.
    pub(super) fn object(
        &mut self,
        plan: &mut Plan,
        tree: &mut Tree<'d>,
        node: &'d Node,
        way: &[String],
        path: &[String],
    ) -> Option<&'d Node> {
        tree.declared = true;
        if path.len() > 60 {
            self.doc.report(node, "nested too deep; does a `$ref` lead back to where it stands?");
            return None;
        }
        self.unread_in_object(node);
        let properties = node.get("properties").map_or(&[][..], |p| self.doc.entries(p, "`properties`"));
        if properties.len() > usize::from(u16::MAX) {
            self.doc.report(node, "an object may have 65535 properties at most");
            return None;
        }
        let mut entry = None;
        for (key, property) in properties {
            let name = key.text().unwrap_or_default();
            if let Some(found) = self.property(plan, tree, (key, name), property, way, path) {
                entry = Some(found);
            }
        }
        if let Some(first) = way.first()
            && !properties.iter().any(|(key, _)| key.text() == Some(first))
        {
            self.doc.report_word(
                node.get("properties").unwrap_or(node),
                format!("`at` leads through `{first}`, which is no property here"),
                first,
                properties.iter().filter_map(|(key, _)| key.text()),
            );
        }
        if let Some(required) = node.get("required") {
            for item in self.doc.items(required, "`required`") {
                let Some(name) = self.doc.text(item, "an entry of `required`") else { continue };
                match self.pointer_of(properties, name) {
                    Some(pointer) => tree.required.push((name.to_owned(), pointer)),
                    None => self.doc.report_word(
                        item,
                        format!("`{name}` is required but is no property here"),
                        name,
                        properties.iter().filter_map(|(key, _)| key.text()),
                    ),
                }
            }
        }
        entry
    }

    /// Where the value of a property stands, from its object.
    pub(super) fn pointer_of(&self, properties: &'d [(Node, Node)], name: &str) -> Option<Vec<String>> {
        let (_, property) = properties.iter().find(|(key, _)| key.text() == Some(name))?;
        let source = self.resolve(property)?.get("x-situs").and_then(|notes| notes.get("source"));
        match source.and_then(|source| Some((source, source.text()?))) {
            Some((node, text)) => field::pointer(self.doc, node, text),
            None => Some(vec![name.to_owned()]),
        }
    }

    fn property(
        &mut self,
        plan: &mut Plan,
        tree: &mut Tree<'d>,
        (key, name): (&'d Node, &'d str),
        property: &'d Node,
        way: &[String],
        path: &[String],
    ) -> Option<&'d Node> {
        let node = self.resolve(property)?;
        known_keywords(self.doc, node, &format!("`{}`", key.shown()));
        let notes = Annotations::read(self.doc, node, key)?;
        let mut here = path.to_vec();
        here.push(name.to_owned());
        if let Some((first, rest)) = way.split_first()
            && first == name
        {
            if notes.makes_column() {
                self.doc.report(key, format!("`{name}` lies on the way to the rows and cannot be a column"));
            }
            self.no_class(&notes);
            let child = tree.child(name);
            if rest.is_empty() {
                child.container = true;
                return self.entry_schema(key, node);
            }
            return self.object(plan, child, node, rest, &here);
        }
        if self.containers.contains(&here) {
            // The rows of another alternative: where such a message is read by this one, the field
            // counts as unknown.
            self.kept_whole(&here, node);
            return None;
        }
        let pointer = match &notes.source {
            Some(pointer) => pointer.clone(),
            None => vec![name.to_owned()],
        };
        if node.get("properties").is_some() && !notes.makes_column() {
            let or_value = self.or_value(plan, &notes);
            let child = tree.at(&pointer);
            child.or_value = or_value;
            self.object(plan, child, node, &[], &here);
            return None;
        }
        if let Some(node) = notes.or_value {
            self.doc.report(node, "`or-value` belongs on an object with `properties`");
        }
        let leaf = self.leaf(plan, node, &notes, Some((key, name)), &mut tree.conditions);
        tree.at(&pointer).leaves.extend(leaf);
        None
    }

    /// The schema of the entries of a container.
    fn entry_schema(&self, key: &'d Node, node: &'d Node) -> Option<&'d Node> {
        let entries = node.get("items").or_else(|| {
            node.get("additionalProperties").filter(|entry| matches!(entry.kind, NodeKind::Mapping(_)))
        });
        if entries.is_none() {
            self.doc.report(
                key,
                format!(
                    "the entries of `{}` become rows: describe them under `items` or `additionalProperties`",
                    key.shown()
                ),
            );
        }
        if let Some(properties) = node.get("properties") {
            self.doc.report(
                properties,
                "every entry of a row container is a row; describe all of them under `additionalProperties`",
            );
        }
        let entries = self.resolve(entries?)?;
        if let Some(items) = node.get("items") {
            // What it says beside them is read for objects only.
            self.unread_in_container(node, [items, entries]);
        }
        Some(entries)
    }

    /// The leaf for a value that stands where an object is walked into.
    fn or_value(&mut self, plan: &mut Plan, notes: &Annotations<'d>) -> Option<usize> {
        let Some(value) = notes.or_value else {
            self.no_class(notes);
            return None;
        };
        if notes.drops() {
            self.doc.report(
                value,
                "a value in place of an object cannot be dropped: write `personal: pseudonym`",
            );
            return None;
        }
        self.value_leaf(plan, notes, value, None)
    }

    /// Reads the schema of the entries of a container.
    pub(super) fn entry(
        &mut self,
        plan: &mut Plan,
        tree: &mut Tree<'d>,
        node: &'d Node,
        way: &[String],
        path: &[String],
    ) -> Option<&'d Node> {
        known_keywords(self.doc, node, "the entries");
        let notes = Annotations::read(self.doc, node, node)?;
        if node.get("properties").is_some() && !notes.makes_column() {
            tree.or_value = self.or_value(plan, &notes);
            return self.object(plan, tree, node, way, path);
        }
        if !way.is_empty() {
            self.doc.report(node, "`at` leads through these entries: they need `properties`");
            return None;
        }
        tree.or_value = self.leaf(plan, node, &notes, None, &mut Vec::new());
        None
    }
}

/// Opens the annotations of a field.
pub(super) fn annotations<'d>(doc: &'d Document, node: &'d Node, key: &Node) -> Option<Option<Map<'d>>> {
    let keys = [
        "column",
        "source",
        "arrow",
        "unit",
        "class",
        "class-by",
        "personal",
        "role",
        "rank",
        "time",
        "sentinels",
        "scalar-as-list",
        "value",
        "or-value",
        "pairs",
    ];
    match node.get("x-situs") {
        None => Some(None),
        Some(notes) => {
            let what = match key.text() {
                Some(_) => format!("`x-situs` of `{}`", key.shown()),
                None => "`x-situs` of the entries".to_owned(),
            };
            doc.map(notes, &what, &keys).map(Some)
        }
    }
}
