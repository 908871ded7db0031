//! The keys of an object as a tree, and the tree as shapes with slots.

use situs_model::doc::{Document, Node};

use crate::plan::{ABSENT, Key, Kind, NumericStrings, Plan, Shape};

/// What is known of one place in a message: its keys, and the leaves that read it.
#[derive(Default)]
pub(super) struct Tree<'d> {
    children: Vec<(String, Tree<'d>)>,
    pub(super) leaves: Vec<usize>,
    /// The leaf for a value that is not an object with these keys.
    pub(super) or_value: Option<usize>,
    /// An object is expected here, even if it has no known key.
    pub(super) declared: bool,
    /// The entries of what stands here are the next level.
    pub(super) container: bool,
    /// Pointers from here to what must be present.
    pub(super) required: Vec<(String, Vec<String>)>,
    /// For a `value` leaf, the fields that decide about numbers in strings: leaf, number of the
    /// condition, pointer from here, and where the schema says so.
    pub(super) conditions: Vec<(usize, usize, Vec<String>, &'d Node)>,
    slot: usize,
    critical: bool,
}

impl<'d> Tree<'d> {
    /// The child under `name`, made if need be.
    pub(super) fn child(&mut self, name: &str) -> &mut Self {
        let at = match self.children.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                self.children.push((name.to_owned(), Self::default()));
                self.children.len() - 1
            }
        };
        &mut self.children[at].1
    }

    /// What stands at a pointer from here, made if need be.
    pub(super) fn at(&mut self, pointer: &[String]) -> &mut Self {
        pointer.iter().fold(self, |tree, token| tree.child(token))
    }

    fn get(&self, pointer: &[String]) -> Option<&Self> {
        pointer.iter().try_fold(self, |tree, token| {
            tree.children.iter().find(|(name, _)| name == token).map(|(_, child)| child)
        })
    }

    /// The slot of the container in this object or in those in it.
    pub(super) fn container_slot(&self) -> Option<usize> {
        self.children.iter().find_map(
            |(_, child)| {
                if child.container { Some(child.slot) } else { child.container_slot() }
            },
        )
    }

    fn has_shape(&self) -> bool {
        self.declared || !self.children.is_empty()
    }

    /// Gives slots to the keys of this object and of those in it, one after the other, and adds its
    /// shape to the plan.
    pub(super) fn flatten(&mut self, doc: &Document, plan: &mut Plan, path: &str) -> usize {
        let at = plan.shapes.len();
        plan.shapes.push(Shape::default());
        let mut shape = Shape { path: path.to_owned(), base: plan.successors, ..Shape::default() };
        plan.successors += self.children.len() + 1;
        let start = plan.slots;
        for (name, child) in &mut self.children {
            child.slot = plan.slots;
            plan.slots += 1;
            let has_shape = child.has_shape();
            child.critical = child.container;
            for leaf in &child.leaves {
                let leaf = &mut plan.leaves[*leaf];
                leaf.slot = child.slot;
                leaf.scalar_only = has_shape;
                child.critical |= leaf.critical;
            }
            let or_value = child.or_value.map(|leaf| {
                plan.leaves[leaf].slot = plan.slots;
                child.critical |= plan.leaves[leaf].critical;
                plan.slots += 1;
                plan.slots - 1
            });
            let below = format!("{path}{}/", json_escaped(name));
            let shape_of_child = has_shape.then(|| child.flatten(doc, plan, &below));
            // The schema's reader keeps objects below 2^16 keys.
            let number = shape.keys.len() as u16;
            shape.index.insert(name.as_str().into(), number);
            if let Ok(position) = name.parse::<usize>() {
                shape.positions.push((position, number));
            }
            shape.keys.push(Key {
                name: name.as_str().into(),
                slot: child.slot,
                child: shape_of_child,
                or_value,
                critical: child.critical,
                has_leaf: !child.leaves.is_empty() || child.container,
            });
            self.critical |= child.critical;
        }
        shape.slots = start..plan.slots;
        for (name, pointer) in &self.required {
            if let Some(target) = self.get(pointer) {
                shape.required.push((target.slot, name.as_str().into()));
            }
        }
        for (leaf, number, pointer, node) in &self.conditions {
            let slot = match self.get(pointer) {
                Some(sibling) => sibling.slot,
                None => {
                    doc.report(
                        node,
                        "this field is not read where the value is, so it cannot decide about it",
                    );
                    ABSENT as usize
                }
            };
            if let Kind::Value(value) = &mut plan.leaves[*leaf].kind
                && let NumericStrings::Any(conditions) = &mut value.numeric_strings
            {
                conditions[*number].0 = slot;
            }
        }
        plan.shapes[at] = shape;
        at
    }
}

/// A name as it stands between the quotes of a JSON text.
fn json_escaped(name: &str) -> String {
    let quoted = serde_json::Value::from(name).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
