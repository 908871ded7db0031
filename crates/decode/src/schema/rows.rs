//! The annotations at the top of a schema: which part of a message becomes rows.

use situs_model::FieldClass;
use situs_model::doc::{Document, Map, Node};

use super::columns::Type;
use super::object::known_keywords;
use super::tree::Tree;
use super::{Classes, Compiler, field};
use crate::plan::{Block, BlockColumns, Kind, Level, Op, Plan, Target};

/// `x-situs` at the top.
pub(super) struct Options<'d> {
    pub(super) keep_unknown: bool,
    pub(super) extra_class: Option<FieldClass>,
    pub(super) nanoseconds: bool,
    pub(super) batch: bool,
    pub(super) max_rows: usize,
    pub(super) max_depth: usize,
    pub(super) alternatives: Vec<RowsAt<'d>>,
}

/// One alternative of `rows`, as it is written.
pub(super) struct RowsAt<'d> {
    pub(super) condition: Option<(Box<str>, Option<Box<str>>)>,
    pub(super) none: Option<String>,
    /// The pointer, cut at each `*`: the way to each container. Empty: the message is one row.
    segments: Vec<Vec<String>>,
    key: Option<(&'d Node, String)>,
    /// The class of the key's column, and where that is said.
    key_class: Option<(&'d Node, FieldClass)>,
    block: Option<&'d Node>,
}

/// Depth to which the walk may go; beyond it a message is `too-deep` at the latest.
const MAX_DEPTH: u64 = 512;

impl<'d> Options<'d> {
    pub(super) fn read(doc: &'d Document, root: &'d Node) -> Option<Self> {
        known_keywords(doc, root, "the schema");
        let mut options = Self {
            keep_unknown: false,
            extra_class: None,
            nanoseconds: false,
            batch: false,
            max_rows: 100_000,
            max_depth: 64,
            alternatives: Vec::new(),
        };
        if let Some(kind) = root.get("type")
            && kind.text() != Some("object")
        {
            doc.report(kind, "a message is an object: `type` at the top must be `object` (for arrays of messages there is `batch`)");
        }
        if let Some(notes) = root.get("x-situs") {
            let keys = ["unknown", "extra-class", "event-time-ns", "batch", "rows", "max-rows", "max-depth"];
            let map = doc.map(notes, "`x-situs` at the top", &keys)?;
            options.keep_unknown =
                map.optional_word("unknown", &[("count", false), ("keep", true)]).unwrap_or(false);
            options.extra_class = map.optional_word("extra-class", FieldClass::WORDS);
            if let Some(class) = map.optional("extra-class") {
                if !options.keep_unknown {
                    doc.report(class, "`extra-class` is the class of `_extra`: it needs `unknown: keep`");
                } else if options.extra_class == Some(FieldClass::Personal) {
                    doc.report(class, "what is personal is not kept in `_extra`: write `unknown: count`");
                }
            }
            options.nanoseconds = map.optional_bool("event-time-ns").unwrap_or(false);
            options.batch = map.optional_bool("batch").unwrap_or(false);
            if let Some(rows) = map.optional_integer("max-rows", 1..=10_000_000) {
                options.max_rows = rows as usize;
            }
            if let Some(depth) = map.optional_integer("max-depth", 1..=MAX_DEPTH) {
                options.max_depth = depth as usize;
            }
            if let Some(rows) = map.optional("rows") {
                let items = doc.items(rows, "`rows`");
                if items.is_empty() {
                    doc.report(rows, "`rows` needs an alternative at least");
                }
                options.alternatives = items.iter().filter_map(|item| RowsAt::read(doc, item)).collect();
                return Some(options);
            }
        }
        options.alternatives.push(RowsAt {
            condition: None,
            none: None,
            segments: Vec::new(),
            key: None,
            key_class: None,
            block: None,
        });
        Some(options)
    }
}

impl<'d> RowsAt<'d> {
    fn read(doc: &'d Document, node: &'d Node) -> Option<Self> {
        let map = doc.map(node, "`rows`", &["if", "if-equals", "at", "key", "key-class", "none", "block"])?;
        let none = map.optional_string("none");
        let at = map.optional("at").and_then(|at| Some((at, doc.text(at, "`at` in `rows`")?)));
        let pointer = match at {
            Some((at, text)) => field::pointer(doc, at, text)?,
            None => Vec::new(),
        };
        if none.is_none() && at.is_none() {
            doc.report(node, "an alternative of `rows` needs `at` or `none`");
        }
        if let Some(word) = &none {
            let valid = !word.is_empty()
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            if !valid {
                doc.report(map.required("none")?, "`none` is a word of lower-case letters, digits and `-`");
            }
            for key in ["at", "key", "key-class", "block"] {
                if let Some(other) = map.optional(key) {
                    doc.report(other, format!("`{key}` has no meaning beside `none`"));
                }
            }
        }
        let field = map.optional_string("if").or_else(|| pointer.first().cloned());
        let equals = map.optional_string("if-equals");
        if equals.is_some() && field.is_none() {
            doc.report(node, "`if-equals` needs `if`: the name of the field");
        }
        let mut segments: Vec<Vec<String>> = Vec::new();
        if !pointer.is_empty() {
            segments = pointer.split(|token| token == "*").map(<[String]>::to_vec).collect();
            if segments.iter().any(Vec::is_empty) {
                doc.report(node, "in `at` every `*` stands between names");
                return None;
            }
        }
        let key = match map.optional("key") {
            Some(key) => Some((key, doc.text(key, "`key` in `rows`")?.to_owned())),
            None => None,
        };
        let key_class = row_class(doc, &map, "key-class");
        if let (Some((node, _)), None) = (key_class, &key) {
            doc.report(node, "`key-class` is the class of the column for `key`, which is not here");
        }
        let block = map.optional("block");
        for (name, node) in [("key", key.as_ref().map(|(node, _)| *node)), ("block", block)] {
            if let Some(node) = node
                && segments.is_empty()
            {
                doc.report(node, format!("`{name}` needs an `at` that leads to entries"));
            }
        }
        let condition = field.map(|field| (field.into(), equals.map(Into::into)));
        Some(Self { condition, none, segments, key, key_class, block })
    }

    /// The classes that it gives to what its containers hold: the pointer of each, where that is said, and
    /// the class.
    pub(super) fn classes(&self) -> Vec<(Vec<String>, &'d Node, FieldClass)> {
        let of_block = self.block.and_then(|block| block.get("class"));
        let of_block = of_block.and_then(|word| Some((word, FieldClass::from_word(word.text()?)?)));
        let given = self.key_class.into_iter().chain(of_block);
        let of = |(node, class)| self.containers().into_iter().map(move |at| (at, node, class));
        given.flat_map(of).collect()
    }

    /// The pointers to the containers on the way, the last being that of the rows.
    pub(super) fn containers(&self) -> Vec<Vec<String>> {
        (1..=self.segments.len()).map(|count| self.segments[..count].join(&"*".to_owned())).collect()
    }
}

impl<'d> Compiler<'d> {
    /// Compiles an alternative that gives rows.
    pub(super) fn plan(&mut self, rows: &RowsAt<'d>) -> Option<Plan> {
        let mut plan = Plan::default();
        let key = match &rows.key {
            Some((node, name)) => {
                let classes = Classes { class: rows.key_class.map(|(_, class)| class), ..Classes::default() };
                let target = self.columns.declare(node, name, Type::Dictionary, None, &classes)?;
                Some((*node, target))
            }
            None => None,
        };
        let mut node = self.root;
        let mut path = Vec::new();
        for (number, segment) in rows.segments.iter().enumerate() {
            let mut tree = Tree::default();
            let entry = if number == 0 {
                self.object(&mut plan, &mut tree, node, segment, &path)
            } else {
                self.entry(&mut plan, &mut tree, node, segment, &path)
            };
            path.extend(segment.iter().cloned());
            path.push("*".to_owned());
            self.level(&mut plan, tree, true);
            // The problem is reported already.
            node = entry?;
        }
        match rows.block {
            Some(block) => {
                self.unread_in_block(node);
                plan.block = Some(self.block(block)?);
            }
            None => {
                let mut tree = Tree::default();
                if rows.segments.is_empty() {
                    self.object(&mut plan, &mut tree, node, &[], &path);
                } else {
                    self.entry(&mut plan, &mut tree, node, &[], &path);
                }
                self.level(&mut plan, tree, false);
            }
        }
        plan.event_times.sort_by_key(|(rank, _)| *rank);
        self.ops(&mut plan, key);
        Some(plan)
    }

    fn level(&mut self, plan: &mut Plan, mut tree: Tree<'d>, has_container: bool) {
        let start = plan.slots;
        let value = tree.or_value.map(|leaf| {
            plan.leaves[leaf].slot = plan.slots;
            plan.slots += 1;
            plan.slots - 1
        });
        let shape = tree.declared.then(|| tree.flatten(self.doc, plan, ""));
        let container = tree.container_slot();
        debug_assert!(!has_container || container.is_some() || !self.doc.problems().is_empty());
        plan.levels.push(Level { shape, value, slots: start..plan.slots, container });
    }

    fn block(&mut self, node: &'d Node) -> Option<Block> {
        let map = self.doc.map(node, "`block`", &["counter", "period-ns", "signals", "class", "columns"])?;
        let class = row_class(self.doc, &map, "class").map(|(_, class)| class);
        let classes = Classes { class, ..Classes::default() };
        let counter = map.optional_integer("counter", 0..=1_000_000).map(|counter| counter as usize);
        let period =
            map.optional_integer("period-ns", 1..=i64::MAX as u64).and_then(|ns| i64::try_from(ns).ok());
        let signals = map.optional_strings("signals").into_iter().map(|(_, name)| name.into()).collect();
        let keys = ["index", "signal", "first", "count", "period", "gap", "samples"];
        let names = self.doc.map(map.required("columns")?, "`columns` in `block`", &keys)?;
        let mut columns = BlockColumns::default();
        let mut samples_name = None;
        for key in keys {
            let Some(node) = names.optional(key) else { continue };
            let Some(name) = self.doc.text(node, &format!("`{key}` in `columns`")) else { continue };
            let needs = match key {
                "first" | "gap" => counter.is_none().then_some("counter"),
                "period" => period.is_none().then_some("period-ns"),
                _ => None,
            };
            if let Some(needs) = needs {
                self.doc.report(node, format!("the column for `{key}` needs `{needs}` in `block`"));
            }
            let kind = match key {
                "signal" => Type::Dictionary,
                "index" | "count" => Type::Int32,
                "samples" => Type::Numbers,
                _ => Type::Int64,
            };
            match (key, self.columns.declare(node, name, kind, None, &classes)) {
                ("index", Some(Target::Int32(at))) => columns.index = Some(at),
                ("count", Some(Target::Int32(at))) => columns.count = Some(at),
                ("signal", Some(Target::Dictionary(at))) => columns.signal = Some(at),
                ("first", Some(Target::Int64(at))) => columns.first = Some(at),
                ("period", Some(Target::Int64(at))) => columns.period = Some(at),
                ("gap", Some(Target::Int64(at))) => columns.gap = Some(at),
                ("samples", Some(Target::Numbers(at))) => {
                    columns.samples = at;
                    samples_name = Some(name.into());
                }
                _ => {}
            }
        }
        names.required("samples");
        Some(Block { counter, period, signals, columns, name: samples_name? })
    }

    /// Decides how the columns are filled: leaves that share columns are taken together.
    fn ops(&mut self, plan: &mut Plan, key: Option<(&'d Node, Target)>) {
        let mut groups: Vec<(Vec<usize>, Vec<Target>)> = Vec::new();
        for (number, leaf) in plan.leaves.iter().enumerate() {
            let mut leaves = vec![number];
            let mut targets = leaf.targets.clone();
            groups.retain(|(other_leaves, other_targets)| {
                let apart = !other_targets.iter().any(|target| targets.contains(target));
                if !apart {
                    leaves.extend(other_leaves);
                    targets.extend(other_targets.iter().filter(|t| !leaf.targets.contains(t)));
                }
                apart
            });
            leaves.sort_unstable();
            groups.push((leaves, targets));
        }
        let of_block = plan.block.as_ref().map(block_targets).unwrap_or_default();
        let mut placed: Vec<(usize, Op)> = Vec::new();
        let mut key_leaves = Vec::new();
        for (leaves, targets) in groups {
            for target in targets.iter().filter(|target| of_block.contains(target)) {
                let name = self.columns.name(*target).to_owned();
                let node = self.columns.place(&name).unwrap_or(self.root);
                self.doc.report(node, format!("the column `{name}` is filled by the block and by a field"));
            }
            if let Some((node, key)) = key
                && targets.contains(&key)
            {
                if leaves.iter().any(|leaf| !matches!(plan.leaves[*leaf].kind, Kind::Text(_))) {
                    self.doc.report(node, "only `dictionary` fields can share the column of the entry's key");
                }
                key_leaves = leaves;
                continue;
            }
            let at = targets.iter().map(|target| self.columns.position(*target)).min().unwrap_or(usize::MAX);
            let op = match leaves.as_slice() {
                [leaf] => Op::One(*leaf),
                _ => Op::Shared { leaves, targets },
            };
            placed.push((at, op));
        }
        if let Some((_, target @ Target::Dictionary(dictionary))) = key {
            let op = Op::Key { dictionary, leaves: key_leaves };
            placed.push((self.columns.position(target), op));
        }
        placed.sort_by_key(|(at, _)| *at);
        plan.ops = placed.into_iter().map(|(_, op)| op).collect();
    }
}

/// A class of what rows are made of, and where that is said. The columns are always there, so they cannot be
/// dropped.
fn row_class<'d>(doc: &Document, map: &Map<'d>, key: &str) -> Option<(&'d Node, FieldClass)> {
    let class = map.optional_word(key, FieldClass::WORDS)?;
    let node = map.optional(key)?;
    if class == FieldClass::Personal {
        doc.report(node, format!("what is personal cannot be dropped here: `{key}` is of other classes"));
    }
    Some((node, class))
}

fn block_targets(block: &Block) -> Vec<Target> {
    let BlockColumns { index, signal, first, count, period, gap, samples } = &block.columns;
    let int32 = [index, count].into_iter().flatten().map(|at| Target::Int32(*at));
    let int64 = [first, period, gap].into_iter().flatten().map(|at| Target::Int64(*at));
    let signal = signal.iter().map(|at| Target::Dictionary(*at));
    int32.chain(int64).chain(signal).chain([Target::Numbers(*samples)]).collect()
}

/// The columns that a plan leaves null.
pub(super) fn empty(plan: &Plan, columns: &[Target], outside_device: Option<usize>) -> Vec<Target> {
    let mut filled = plan.block.as_ref().map(block_targets).unwrap_or_default();
    filled.extend(outside_device.map(Target::Dictionary));
    for op in &plan.ops {
        match op {
            Op::One(leaf) => filled.extend(&plan.leaves[*leaf].targets),
            Op::Shared { targets, .. } => filled.extend(targets),
            Op::Key { dictionary, .. } => filled.push(Target::Dictionary(*dictionary)),
        }
    }
    columns.iter().filter(|column| !filled.contains(column)).copied().collect()
}
