//! Which schemas the fast path takes, and what it needs to know of them.

use super::simd::{Window, window};
use crate::plan::{Kind, Op, Outcome, Plan, Program};

/// What is done with the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// A field: a scalar, or a flat list where its column holds one.
    Value { slot: u32, lists: bool, has_child: bool },
    /// A field that takes any JSON, or whose value nobody looks at.
    Checked { slot: u32 },
    /// The schema reads an object here, so that a value can only be null.
    Object { slot: u32 },
    /// The schema does not know the key.
    Unknown,
    /// Before the first key there is no value.
    Nowhere,
}

impl Taken {
    /// Whether a value that begins so is an object of the schema, whose keys come next.
    #[inline(always)]
    pub(super) fn is_entered(self, first: u8) -> bool {
        matches!(self, Self::Object { .. } | Self::Value { has_child: true, .. }) && first == b'{'
    }
}

/// A key of the schema.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: Box<[u8]>,
    /// Its first sixteen bytes.
    begin: u128,
    /// The shape of the object it is in.
    pub(super) shape: u16,
    pub(super) slot: u32,
    /// The shape of the object that it holds.
    pub(super) child: Option<u16>,
    pub(super) taken: Taken,
}

/// The keys of a schema all of whose messages give one row.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) keys: Vec<Key>,
    /// For each shape the one around it; the message is its own.
    pub(super) parents: Vec<u16>,
    /// For each shape the way to it, for `_extra`.
    pub(super) paths: Vec<String>,
    /// Slots that must have a value, if the object in the other slot is there.
    pub(super) required: Vec<(Option<u32>, u32)>,
    /// How deep a value may be nested, wherever it stands.
    pub(super) max_depth: usize,
    pub(super) slots: usize,
    /// The keys by their hash: open addressing, [`NO_KEY`] where there is none.
    table: Vec<u16>,
}

const NO_KEY: u16 = u16::MAX;

impl Layout {
    /// `None` if the messages may give several rows or none, or if their fields are not found by
    /// their keys alone.
    pub(super) fn new(program: &Program) -> Option<Self> {
        let [alternative] = program.alternatives.as_slice() else { return None };
        let Outcome::Rows(plan) = &alternative.outcome else { return None };
        let [level] = plan.levels.as_slice() else { return None };
        let is_plain = alternative.condition.is_none()
            && level.value.is_none()
            && level.container.is_none()
            && plan.block.is_none()
            && program.max_rows > 0
            && plan.ops.iter().all(|op| matches!(op, Op::One(_)))
            // The times of other columns are read only where they are the best.
            && plan.event_times.iter().all(|(_, leaf)| {
                matches!(plan.leaves[*leaf].kind, Kind::Timestamp(_) | Kind::Nothing)
            })
            && plan.leaves.iter().all(|leaf| !matches!(leaf.kind, Kind::Pairs(_)))
            && plan.shapes.iter().all(|shape| {
                shape.positions.is_empty() && shape.keys.iter().all(|key| key.or_value.is_none())
            });
        if !is_plain {
            return None;
        }
        let root = level.shape?;
        let mut layout = Self {
            keys: Vec::new(),
            parents: Vec::new(),
            paths: Vec::new(),
            required: Vec::new(),
            max_depth: 0,
            slots: plan.slots,
            table: Vec::new(),
        };
        let depth = layout.shape(plan, root, 0, None)?;
        layout.max_depth = program.max_depth.checked_sub(depth)?;
        layout.table = vec![NO_KEY; (layout.keys.len() * 4).next_power_of_two()];
        for number in 0..layout.keys.len() {
            let key = &layout.keys[number];
            let mut place = layout.home(key.shape, key.begin, key.name.len());
            while layout.table[place] != NO_KEY {
                place = (place + 1) & (layout.table.len() - 1);
            }
            layout.table[place] = number as u16;
        }
        Some(layout)
    }

    /// The scanner's node of a key.
    pub(super) fn node(key: usize) -> u16 {
        // There are fewer keys than half of these numbers.
        key as u16 + 1
    }

    /// Whether a node's value is an object of the schema, by its first byte.
    #[inline(always)]
    pub(super) fn is_entered(&self, node: u16, first: impl FnOnce() -> Option<u8>) -> bool {
        let key = usize::from(node).checked_sub(1).and_then(|key| self.keys.get(key));
        key.is_some_and(|key| key.child.is_some() && first().is_some_and(|first| key.taken.is_entered(first)))
    }

    /// Adds a shape and those below it; gives the number of objects that are open in the deepest.
    fn shape(&mut self, plan: &Plan, number: usize, parent: u16, object: Option<u32>) -> Option<usize> {
        let shape = plan.shapes.get(number)?;
        let own = u16::try_from(self.parents.len()).ok()?;
        self.parents.push(parent);
        self.paths.push(shape.path.clone());
        self.required.extend(shape.required.iter().map(|(slot, _)| (object, *slot as u32)));
        let mut depth = 1;
        for key in &shape.keys {
            let slot = key.slot as u32;
            // One node per key, and none of them may be the numbers that mean something else.
            if self.keys.len() > usize::from(u16::MAX) / 2 {
                return None;
            }
            let place = self.keys.len();
            let leaf = plan.leaves.iter().filter(|leaf| leaf.slot == key.slot);
            let kinds: Vec<&Kind> = leaf.map(|leaf| &leaf.kind).collect();
            let taken = match kinds.as_slice() {
                [] if key.child.is_some() => Taken::Object { slot },
                [] | [Kind::Json(_)] => Taken::Checked { slot },
                [kind] => Taken::Value {
                    slot,
                    has_child: key.child.is_some(),
                    lists: key.child.is_none()
                        && matches!(kind, Kind::Numbers(_) | Kind::Texts(_) | Kind::Value(_)),
                },
                // Several fields read the same value.
                _ => return None,
            };
            // Such a list is one level deeper than its object.
            if matches!(taken, Taken::Value { lists: true, .. }) {
                depth = depth.max(2);
            }
            // Text of any form beside an object of the schema: which of them it is, the general path knows.
            if key.child.is_some() && matches!(taken, Taken::Checked { .. }) {
                return None;
            }
            self.keys.push(Key {
                name: key.name.as_bytes().into(),
                begin: begin(key.name.as_bytes()),
                shape: own,
                slot,
                child: None,
                taken,
            });
            if let Some(child) = key.child {
                self.keys[place].child = Some(u16::try_from(self.parents.len()).ok()?);
                depth = depth.max(1 + self.shape(plan, child, own, Some(slot))?);
            }
        }
        Some(depth)
    }

    /// Names come from the schema, so nobody can choose them to collide.
    #[inline(always)]
    fn home(&self, shape: u16, begin: u128, len: usize) -> usize {
        let word = begin as u64
            ^ ((begin >> 64) as u64).rotate_left(32)
            ^ (len as u64) << 7
            ^ u64::from(shape) << 17;
        let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 40) as usize & (self.table.len() - 1)
    }

    /// The key of the name `text[start..end]` in a shape.
    #[inline(always)]
    pub(super) fn find(&self, shape: u16, text: &[u8], start: usize, end: usize) -> Option<usize> {
        let window: &Window = window(text, start)?;
        let begin = u128::from_le_bytes(*window) & mask(end - start);
        let mut place = self.home(shape, begin, end - start);
        loop {
            let number = self.table[place];
            if number == NO_KEY {
                return None;
            }
            let key = &self.keys[usize::from(number)];
            let same = (key.begin == begin) & (key.name.len() == end - start) & (key.shape == shape);
            if same && (end - start <= 16 || *key.name == text[start..end]) {
                return Some(usize::from(number));
            }
            place = (place + 1) & (self.table.len() - 1);
        }
    }
}

/// The first bytes of sixteen, by their count.
#[inline(always)]
fn mask(len: usize) -> u128 {
    if len >= 16 { u128::MAX } else { (1 << (8 * len)) - 1 }
}

/// The first sixteen bytes of a name.
fn begin(name: &[u8]) -> u128 {
    let mut window = [0; 16];
    let len = name.len().min(16);
    window[..len].copy_from_slice(&name[..len]);
    u128::from_le_bytes(window)
}
