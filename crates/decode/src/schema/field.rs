//! The annotations of a field, and the leaf that they describe.

use std::collections::BTreeMap;

use situs_model::doc::{Document, Kind as NodeKind, Map, Node};
use situs_model::{ClassBy, FieldClass};

use super::columns::{Arrow, Type, is_column_name};
use super::object;
use super::{Classes, Compiler};
use crate::plan::{ABSENT, Kind, Leaf, NumericStrings, PairsKind, Plan, Target, TextTarget, ValueKind};
use crate::time::TimeFormat;

/// Roles of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Device,
    Claim,
    EventTime,
}

/// Why a pseudonym is refused.
const NO_PSEUDONYM: &str = "only a text can become a pseudonym: `arrow` must be `dictionary` or `utf8` (or drop it, with `personal: drop`)";

/// `x-situs` of a field.
#[derive(Default)]
pub(super) struct Annotations<'d> {
    /// A column's name; `None` inside is `false`.
    column: Option<(&'d Node, Option<String>)>,
    pub(super) source: Option<Vec<String>>,
    arrow: Option<Arrow>,
    unit: Option<String>,
    classes: Classes,
    /// Where its class is said.
    pub(super) class_at: Option<&'d Node>,
    deciding: Option<(String, &'d Node)>,
    role: Option<Role>,
    rank: i64,
    time: Option<Vec<TimeFormat>>,
    sentinels: Vec<Box<str>>,
    scalar_as_list: bool,
    value: Option<&'d Node>,
    pub(super) or_value: Option<&'d Node>,
    pairs: Option<&'d Node>,
}

impl<'d> Annotations<'d> {
    /// Reads the annotations of the field `key`.
    pub(super) fn read(doc: &'d Document, node: &'d Node, key: &Node) -> Option<Self> {
        let Some(map) = object::annotations(doc, node, key)? else { return Some(Self::default()) };
        let column = map.optional("column").and_then(|column| match &column.kind {
            NodeKind::Scalar { text, quoted: false } if text == "false" => Some((column, None)),
            _ => Some((column, Some(doc.text(column, "`column`")?.to_owned()))),
        });
        let roles = [("device", Role::Device), ("claim", Role::Claim), ("event-time", Role::EventTime)];
        let role = map.optional_word("role", &roles);
        if let (Some(rank), None | Some(Role::Device | Role::Claim)) = (map.optional("rank"), role) {
            doc.report(rank, "`rank` belongs to the role `event-time`");
        }
        let time = map.optional("time").map(|time| {
            let words = match &time.kind {
                NodeKind::Scalar { .. } => std::slice::from_ref(time),
                _ => doc.items(time, "`time`"),
            };
            words.iter().filter_map(|word| doc.word(word, "`time`", TimeFormat::WORDS)).collect::<Vec<_>>()
        });
        if let (Some(time), Some(node)) = (&time, map.optional("time"))
            && time.is_empty()
        {
            doc.report(node, "`time` needs a format at least");
        }
        Some(Self {
            column,
            source: match map.optional("source") {
                Some(source) => {
                    let text = doc.text(source, "`source`")?;
                    if text.is_empty() {
                        doc.report(
                            source,
                            "an empty `source` is the object itself; it must lead to a field in it",
                        );
                        return None;
                    }
                    Some(pointer(doc, source, text)?)
                }
                None => None,
            },
            arrow: map.optional_word("arrow", Arrow::WORDS),
            unit: map.optional_string("unit"),
            class_at: map.optional("class").or_else(|| map.optional("class-by")),
            deciding: map.optional("class-by").and_then(|node| {
                let column = node.get("column")?;
                Some((column.text()?.to_owned(), column))
            }),
            classes: classes(doc, &map),
            role,
            rank: map
                .optional_integer("rank", 0..=1_000_000)
                .and_then(|rank| i64::try_from(rank).ok())
                .unwrap_or(0),
            time,
            sentinels: texts(doc, &map, "sentinels"),
            scalar_as_list: map.optional_bool("scalar-as-list").unwrap_or(false),
            value: map.optional("value"),
            or_value: map.optional("or-value"),
            pairs: map.optional("pairs"),
        })
    }

    /// Whether the field is a column (or more) of its own, whatever its type.
    pub(super) fn makes_column(&self) -> bool {
        self.arrow.is_some() || self.value.is_some() || self.pairs.is_some()
    }

    /// Whether all values are personal, and none is kept.
    pub(super) fn drops(&self) -> bool {
        let Classes { class, by, pseudonym } = &self.classes;
        *class == Some(FieldClass::Personal) && by.is_none() && !pseudonym
    }
}

/// `class`, `class-by` and `personal`.
fn classes(doc: &Document, map: &Map<'_>) -> Classes {
    let class = map.optional_word("class", FieldClass::WORDS);
    let by = map.optional("class-by").and_then(|node| class_by(doc, node));
    let pseudonym = map.optional_word("personal", &[("drop", false), ("pseudonym", true)]);
    let classes = Classes { class, by, pseudonym: pseudonym == Some(true) };
    if let Some(node) = map.optional("personal")
        && classes.strictest() != Some(FieldClass::Personal)
    {
        doc.report(node, "`personal` belongs to the class `personal`");
    }
    classes
}

/// `class-by`.
fn class_by(doc: &Document, node: &Node) -> Option<ClassBy> {
    let map = doc.map(node, "`class-by`", &["column", "classes"])?;
    let column = map.string("column");
    let mut words = BTreeMap::new();
    for (key, list) in doc.entries(map.required("classes")?, "`classes` in `class-by`") {
        let class = doc.word(key, "a key of `classes`", FieldClass::WORDS);
        for item in doc.items(list, "a class in `class-by`") {
            let Some((class, word)) = class.zip(doc.text(item, "an entry of a class in `class-by`")) else {
                continue;
            };
            if word.contains('\n') {
                doc.report(item, "a word in `class-by` may not have a line feed");
            } else if words.insert(word.to_owned(), class).is_some_and(|other| other != class) {
                doc.report(item, format!("`{}` has two classes", item.shown()));
            }
        }
    }
    if words.is_empty() {
        doc.report(node, "`class-by` needs a word at least");
    }
    Some(ClassBy { column: column?, words })
}

/// A list of texts, which may be empty ones.
fn texts(doc: &Document, map: &Map<'_>, key: &str) -> Vec<Box<str>> {
    let Some(node) = map.optional(key) else { return Vec::new() };
    doc.items(node, &format!("`{key}`"))
        .iter()
        .filter_map(|item| doc.text(item, &format!("an entry of `{key}`")).map(Into::into))
        .collect()
}

/// The tokens of an RFC 6901 pointer.
pub(super) fn pointer(doc: &Document, node: &Node, text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let Some(rest) = text.strip_prefix('/') else {
        doc.report(node, format!("`{}` is no pointer: it begins with `/` (RFC 6901)", node.shown()));
        return None;
    };
    Some(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

/// What `type` allows.
#[derive(Default)]
struct Types<'d> {
    words: Vec<&'d str>,
}

impl Types<'_> {
    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// Without `type`, everything is allowed.
    fn allows(&self, word: &str) -> bool {
        self.words.is_empty() || self.has(word)
    }
}

/// Conditions that wait for the slots of their fields.
pub(super) type Conditions<'d> = Vec<(usize, usize, Vec<String>, &'d Node)>;

impl<'d> Compiler<'d> {
    fn types(&self, node: &'d Node) -> Types<'d> {
        let Some(kind) = node.get("type") else { return Types::default() };
        let known =
            ["string", "number", "integer", "boolean", "null", "object", "array"].map(|word| (word, word));
        let items = match &kind.kind {
            NodeKind::Sequence(items) => items,
            _ => std::slice::from_ref(kind),
        };
        // `null` stands unquoted in no schema, but `"null"` does.
        Types { words: items.iter().filter_map(|item| self.doc.word(item, "`type`", &known)).collect() }
    }

    /// The type of a column where `arrow` does not say it.
    fn default_type(&self, key: &Node, node: &'d Node, notes: &Annotations<'d>) -> Option<Arrow> {
        if notes.time.is_some() {
            return Some(Arrow::Type(Type::Timestamp));
        }
        let types = self.types(node);
        let mut words: Vec<&str> = types.words.iter().copied().filter(|word| *word != "null").collect();
        if words.contains(&"array") && notes.scalar_as_list {
            words.retain(|word| matches!(*word, "array" | "object"));
        }
        let of_items = || {
            let items = self.resolve(node.get("items")?)?;
            let words = self.types(items).words;
            match words.iter().filter(|word| **word != "null").copied().collect::<Vec<_>>().as_slice() {
                ["number" | "integer"] | ["number", "integer"] | ["integer", "number"] => Some(Type::Numbers),
                ["string"] => Some(Type::Texts),
                _ => None,
            }
        };
        let kind = match words.as_slice() {
            ["string"] => Some(Type::Utf8),
            ["number"] => Some(Type::Float64),
            ["integer"] => Some(Type::Int64),
            ["boolean"] => Some(Type::Boolean),
            ["array"] => of_items(),
            _ => None,
        };
        if kind.is_none() {
            let what = match words.as_slice() {
                [] => "its `type` does not say".to_owned(),
                ["array"] => {
                    "it is a list, but not of numbers or texts, and not on the way to rows".to_owned()
                }
                ["object"] => "it is an object without `properties`".to_owned(),
                words => format!("its `type` is `{}`", words.join("`, `")),
            };
            self.doc.report(
                key,
                format!(
                    "say with `arrow` what becomes of this field (`json` keeps any value as text): {what}"
                ),
            );
        }
        kind.map(Arrow::Type)
    }

    /// Makes the leaf of a field that is not walked into. `key` is absent for entries.
    pub(super) fn leaf(
        &mut self,
        plan: &mut Plan,
        node: &'d Node,
        notes: &Annotations<'d>,
        key: Option<(&'d Node, &'d str)>,
        conditions: &mut Conditions<'d>,
    ) -> Option<usize> {
        self.unread_in_leaf(node);
        let place = key.map_or(node, |(key, _)| key);
        let column = match (&notes.column, key) {
            (Some((_, None)), _) => None,
            (Some((_, name)), _) => name.as_deref(),
            (None, key) => key.map(|(_, name)| name),
        };
        if self.is_dropped(notes, column) {
            return None;
        }
        if notes.role == Some(Role::EventTime) && notes.time.is_none() {
            self.doc.report(place, "the role `event-time` needs `time`: the formats it is written in");
        }
        if let Some(value) = notes.value {
            if let Some(node) = notes.pairs {
                self.doc.report(node, "`pairs` and `value` exclude each other");
            }
            return self.value_leaf(plan, notes, value, key.map(|_| conditions));
        }
        if let Some(pairs) = notes.pairs {
            return self.pairs_leaf(plan, notes, pairs);
        }
        if let Some((column, None)) = notes.column {
            match notes.role {
                None => return None,
                Some(Role::Device | Role::Claim) => {
                    self.doc
                        .report(column, "a field with this role needs a column: the policy reads it there");
                    return None;
                }
                Some(Role::EventTime) => {
                    return Some(self.add(plan, notes, Kind::Nothing, Vec::new(), "event_time", node));
                }
            }
        }
        let arrow = match notes.arrow {
            Some(arrow) => arrow,
            None => self.default_type(place, node, notes)?,
        };
        let (place, name) = match (&notes.column, key) {
            (Some((place, Some(name))), _) => (*place, name.as_str()),
            (_, Some((key, name))) => {
                if !is_column_name(name) {
                    self.doc.report(
                        key,
                        format!("`{}` is no name for a column: give one with `column`", key.shown()),
                    );
                    return None;
                }
                (key, name)
            }
            (_, None) => {
                self.doc.report(node, "entries that are values need a `column`");
                return None;
            }
        };
        if let Some(node) = notes.class_at
            && notes.classes.pseudonym
            && !matches!(arrow, Arrow::Type(Type::Utf8 | Type::Dictionary))
        {
            self.doc.report(node, NO_PSEUDONYM);
        }
        let kind = match arrow {
            Arrow::Type(kind) => kind,
            Arrow::Json => Type::Utf8,
        };
        if kind == Type::Timestamp && notes.time.is_none() {
            self.doc.report(place, "a `timestamp` needs `time`: the formats it is written in");
        }
        let target = self.columns.declare(place, name, kind, notes.unit.as_deref(), &notes.classes)?;
        self.deciding.extend(notes.deciding.clone());
        match notes.role {
            // This is told already.
            _ if notes.classes.strictest().is_some_and(FieldClass::is_guarded) => {}
            Some(Role::Device) => self.devices.push((name.to_owned(), place)),
            Some(Role::Claim) if !self.claims.iter().any(|claim| claim == name) => {
                self.claims.push(name.to_owned());
            }
            _ => {}
        }
        if matches!(notes.role, Some(Role::Device | Role::Claim))
            && !matches!(kind, Type::Utf8 | Type::Dictionary)
        {
            self.doc.report(place, "a field with this role is text: `arrow` must be `dictionary` or `utf8`");
        }
        let kind = match (arrow, target) {
            (Arrow::Json, Target::Utf8(at)) => Kind::Json(TextTarget::Utf8(at)),
            (_, Target::Utf8(at)) => Kind::Text(TextTarget::Utf8(at)),
            (_, Target::Dictionary(at)) => Kind::Text(TextTarget::Dictionary(at)),
            (_, Target::Float64(at)) => Kind::Float64(at),
            (_, Target::Int64(at)) => Kind::Int64(at),
            (_, Target::Int32(at)) => Kind::Int32(at),
            (_, Target::Boolean(at)) => Kind::Boolean(at),
            (_, Target::Timestamp(at)) => Kind::Timestamp(at),
            (_, Target::Numbers(at)) => Kind::Numbers(at),
            (_, Target::Texts(at)) => Kind::Texts(at),
        };
        let name = name.to_owned();
        Some(self.add(plan, notes, kind, vec![target], &name, node))
    }

    /// Whether a field is personal and dropped, so that it is not read at all. `column` is the one that it
    /// would have.
    fn is_dropped(&mut self, notes: &Annotations<'d>, column: Option<&str>) -> bool {
        let Some(node) = notes.class_at else { return false };
        let strictest = notes.classes.strictest().filter(|class| class.is_guarded());
        if let (Some(_), Some(class)) = (notes.role, strictest) {
            self.doc.report(
                node,
                format!("a field with a role cannot be `{class}`: what is decided by it must be seen in what is stored"),
            );
            return false;
        }
        let dropped = notes.drops();
        if dropped {
            let of_value = |value: &'d Node| ["number", "text", "list"].map(|key| value.get(key)?.text());
            let of_pairs = |pairs: &'d Node| match pairs.get("columns").map(|columns| &columns.kind) {
                Some(NodeKind::Sequence(columns)) => columns.iter().map(Node::text).collect(),
                _ => Vec::new(),
            };
            let columns = match (notes.value, notes.pairs) {
                (Some(value), _) => of_value(value).to_vec(),
                (None, Some(pairs)) => of_pairs(pairs),
                (None, None) => vec![column],
            };
            self.dropped.extend(columns.into_iter().flatten().map(|name| (name.to_owned(), node)));
        }
        dropped
    }

    /// Adds a leaf to the plan.
    fn add(
        &self,
        plan: &mut Plan,
        notes: &Annotations<'d>,
        kind: Kind,
        targets: Vec<Target>,
        name: &str,
        node: &'d Node,
    ) -> usize {
        let types = match kind {
            Kind::Texts(_) => node.get("items").map(|items| self.types(items)).unwrap_or_default(),
            _ => self.types(node),
        };
        let is_time = matches!(kind, Kind::Timestamp(_)) || notes.role == Some(Role::EventTime);
        let time = notes.time.clone().filter(|_| is_time).map(|formats| {
            plan.times += 1;
            (formats, plan.times - 1)
        });
        let leaf = plan.leaves.len();
        match notes.role {
            Some(Role::EventTime) => plan.event_times.push((notes.rank, leaf)),
            Some(Role::Device) => plan.devices.push(leaf),
            _ => {}
        }
        plan.leaves.push(Leaf {
            number: leaf,
            slot: ABSENT as usize,
            kind,
            targets,
            name: name.into(),
            sentinels: notes.sentinels.clone(),
            time,
            scalar_as_list: notes.scalar_as_list,
            takes_numbers: types.allows("number") || types.has("integer"),
            takes_booleans: types.allows("boolean"),
            scalar_only: false,
            critical: notes.role.is_some(),
        });
        leaf
    }

    /// The leaf of a field that holds a number or a text.
    pub(super) fn value_leaf(
        &mut self,
        plan: &mut Plan,
        notes: &Annotations<'d>,
        node: &'d Node,
        conditions: Option<&mut Conditions<'d>>,
    ) -> Option<usize> {
        let map = self.doc.map(node, "`value`", &["number", "text", "list", "numeric-strings"])?;
        if let Some((column, _)) = notes.column {
            self.doc.report(column, "`value` names the columns; `column` has no meaning beside it");
        }
        if let Some(role) = notes.role {
            self.doc.report(node, format!("a `value` cannot have the role `{role:?}`"));
        }
        let text_type = match notes.arrow {
            Some(Arrow::Type(kind @ (Type::Utf8 | Type::Dictionary))) => kind,
            None => Type::Utf8,
            Some(_) => {
                self.doc.report(
                    node,
                    "beside `value`, `arrow` says the type of the text column: `utf8` or `dictionary`",
                );
                return None;
            }
        };
        let of_others = Classes { pseudonym: false, ..notes.classes.clone() };
        let mut column = |key: &str, kind: Type, unit: Option<&str>| {
            let name = map.optional(key)?;
            let text = self.doc.text(name, &format!("`{key}` in `value`"))?;
            let classes = if key == "text" { &notes.classes } else { &of_others };
            self.columns.declare(name, text, kind, unit, classes)
        };
        let number = column("number", Type::Float64, notes.unit.as_deref());
        let text = column("text", text_type, None);
        let list = column("list", Type::Numbers, notes.unit.as_deref());
        self.deciding.extend(notes.deciding.clone());
        map.required("text");
        let name = map.optional("text").and_then(Node::text)?;
        let numeric_strings = match map.optional("numeric-strings") {
            None => NumericStrings::Never,
            Some(node) if matches!(node.kind, NodeKind::Scalar { .. }) => {
                if self.doc.word(node, "`numeric-strings`", &[("true", true), ("false", false)])? {
                    NumericStrings::Always
                } else {
                    NumericStrings::Never
                }
            }
            Some(node) => NumericStrings::Any(self.numeric_conditions(plan, node, conditions)?),
        };
        let text = match text? {
            Target::Dictionary(at) => TextTarget::Dictionary(at),
            Target::Utf8(at) => TextTarget::Utf8(at),
            _ => return None,
        };
        let text_target = match text {
            TextTarget::Dictionary(at) => Target::Dictionary(at),
            TextTarget::Utf8(at) => Target::Utf8(at),
        };
        let at = |target| match target {
            Some(Target::Float64(at) | Target::Numbers(at)) => Some(at),
            _ => None,
        };
        let targets = [number, Some(text_target), list].into_iter().flatten().collect();
        let kind = ValueKind { number: at(number), text, list: at(list), numeric_strings };
        Some(self.add(plan, notes, Kind::Value(Box::new(kind)), targets, name, node))
    }

    fn numeric_conditions(
        &self,
        plan: &Plan,
        node: &'d Node,
        conditions: Option<&mut Conditions<'d>>,
    ) -> Option<Vec<(usize, Vec<Box<str>>)>> {
        let map = self.doc.map(node, "`numeric-strings`", &["any"])?;
        let any = map.required("any")?;
        let Some(conditions) = conditions else {
            self.doc.report(any, "there are no sibling fields here; use `true` or `false`");
            return None;
        };
        let mut list = Vec::new();
        for item in self.doc.items(any, "`any`") {
            let map = self.doc.map(item, "`any`", &["field", "in"])?;
            let field = map.required("field")?;
            let name = self.doc.text(field, "`field` in `any`")?;
            map.required("in");
            let words = texts(self.doc, &map, "in");
            conditions.push((plan.leaves.len(), list.len(), vec![name.to_owned()], field));
            list.push((ABSENT as usize, words));
        }
        Some(list)
    }

    /// The leaf of a field that is a list of names and values.
    fn pairs_leaf(&mut self, plan: &mut Plan, notes: &Annotations<'d>, node: &'d Node) -> Option<usize> {
        let map = self.doc.map(node, "`pairs`", &["name", "value", "columns"])?;
        if let Some((column, _)) = notes.column {
            self.doc.report(column, "`pairs` names the columns; `column` has no meaning beside it");
        }
        let columns = self.doc.items(map.required("columns")?, "`columns` in `pairs`");
        let [names_node, values_node] = columns else {
            self.doc.report(node, "`columns` in `pairs` are two: that of the names and that of the values");
            return None;
        };
        let names_name = self.doc.text(names_node, "a column of `pairs`")?;
        let values_name = self.doc.text(values_node, "a column of `pairs`")?;
        if let Some(node) = notes.class_at
            && notes.classes.pseudonym
        {
            self.doc.report(node, NO_PSEUDONYM);
        }
        self.deciding.extend(notes.deciding.clone());
        let names = self.columns.declare(names_node, names_name, Type::Texts, None, &notes.classes)?;
        let unit = notes.unit.as_deref();
        let values = self.columns.declare(values_node, values_name, Type::Numbers, unit, &notes.classes)?;
        let (Target::Texts(names_at), Target::Numbers(values_at)) = (names, values) else { return None };
        let kind = PairsKind {
            name_key: map.string("name")?.into(),
            value_key: map.string("value")?.into(),
            names: names_at,
            values: values_at,
            values_name: values_name.into(),
        };
        Some(self.add(plan, notes, Kind::Pairs(Box::new(kind)), vec![names, values], names_name, node))
    }
}
