//! Row-major blocks of samples, transposed to one row per signal.

use std::collections::HashMap;

use simd_json::Node;
use situs_model::RejectCode;

use super::read::{self, Reading};
use super::{Context, State, Step, fault};
use crate::fast::Matrix;
use crate::plan::{ABSENT, Block, Kind, Leaf};
use crate::tape::Message;

/// More devices than this on one partition are not remembered apart; the count starts anew.
const MAX_DEVICES: usize = 10_000;

/// The counters that the next blocks of a partition should begin with, by device.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    by_device: HashMap<Box<str>, i64>,
    without_device: Option<i64>,
}

impl Counters {
    fn get(&self, device: Option<&str>) -> Option<i64> {
        match device {
            Some(device) => self.by_device.get(device).copied(),
            None => self.without_device,
        }
    }

    /// Takes over the counters after a message's blocks.
    pub(super) fn apply(&mut self, pending: impl Iterator<Item = (Option<Box<str>>, i64)>) {
        for (device, next) in pending {
            match device {
                Some(device) => {
                    if self.by_device.len() >= MAX_DEVICES && !self.by_device.contains_key(&device) {
                        self.by_device.clear();
                    }
                    self.by_device.insert(device, next);
                }
                None => self.without_device = Some(next),
            }
        }
    }
}

/// One signal of a run of samples without a gap.
pub(super) struct BlockRow<'b> {
    pub(super) block: &'b Block,
    /// A leaf without sentinels of its own, to read samples by.
    pub(super) leaf: &'b Leaf,
    /// For each row of numbers, where its first entry stands on the tape (or the row's number, if the
    /// block was read without it), and its counter.
    pub(super) rows: &'b [(u32, i64)],
    /// The block's numbers, if it was read without the tape.
    pub(super) matrix: Option<&'b Matrix>,
    /// Position in the row of numbers.
    pub(super) column: usize,
    /// Position among the signals.
    pub(super) index: usize,
    pub(super) first: i64,
    /// Samples missing before it; `None` where nothing came before it, or the counter went back.
    pub(super) gap: Option<i64>,
}

impl State {
    /// Makes the rows of a block: one for each signal of each run of samples.
    pub(super) fn block(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        block: &Block,
        at: usize,
    ) -> Step {
        let leaf = sample_leaf(&block.name);
        // Taken out for the time, so that rows can be made while it is read.
        let mut rows = std::mem::take(&mut self.block_rows);
        rows.clear();
        let place = message.place(at);
        let made = if self.shortened.is_at(place) {
            self.shortened.is_used = true;
            let matrix = std::mem::take(&mut self.shortened.matrix);
            rows.extend((0..).zip(matrix.counters.iter().copied()));
            let made = self.runs(context, message, block, &leaf, (&rows, matrix.width, Some(&matrix)), at);
            self.shortened.matrix = matrix;
            made
        } else {
            if !self.shortened.is_ready {
                self.shortened.place = place;
            }
            match read_rows(message, block, &leaf, at, &mut rows) {
                Ok(width) => self.runs(context, message, block, &leaf, (&rows, width, None), at),
                Err(fault) => Err(fault),
            }
        };
        self.block_rows = rows;
        made
    }

    fn runs(
        &mut self,
        context: &Context<'_>,
        message: &mut Message<'_, '_>,
        block: &Block,
        leaf: &Leaf,
        (rows, width, matrix): (&[(u32, i64)], usize, Option<&Matrix>),
        at: usize,
    ) -> Step {
        // A row that is there has an entry at the position of the counter.
        let signals = width.saturating_sub(usize::from(block.counter.is_some()));
        if signals == 0 {
            return Ok(());
        }
        let device = self.device(context, message);
        let device = device.as_deref();
        let known = self.pending.iter().rev().find(|(known, _)| known.as_deref() == device);
        let mut expected = match known {
            Some((_, next)) => Some(*next),
            None => context.envelope.counters.and_then(|counters| counters.get(device)),
        };
        let follows = |one: i64, next: i64| one.checked_add(1) == Some(next);
        let runs = rows.chunk_by(|one, next| block.counter.is_none() || follows(one.1, next.1));
        for run in runs {
            let (first, last) = match run {
                [(_, first), .., (_, last)] => (*first, *last),
                [(_, only)] => (*only, *only),
                [] => continue,
            };
            if self.rows_of_message + signals > context.program.max_rows {
                return fault(RejectCode::TooManyRows, at);
            }
            let gap = expected.and_then(|expected| first.checked_sub(expected)).filter(|gap| *gap >= 0);
            let columns = (0..width).filter(|column| block.counter != Some(*column));
            for (index, column) in columns.enumerate() {
                let row = BlockRow { block, leaf, rows: run, matrix, column, index, first, gap };
                self.row(context, message, None, Some(&row))?;
            }
            expected = last.checked_add(1);
        }
        if let (Some(_), Some(next)) = (block.counter, expected) {
            self.pending.push((device.map(Into::into), next));
        }
        Ok(())
    }

    /// The device id of the present row, if it has one.
    fn device(&self, context: &Context<'_>, message: &Message<'_, '_>) -> Option<Box<str>> {
        if context.program.outside_device.is_some() {
            return context.envelope.device.map(Into::into);
        }
        context.plan.devices.iter().find_map(|leaf| {
            let at = self.slots[context.plan.leaves[*leaf].slot];
            if at == ABSENT { None } else { message.text(at as usize).map(Into::into) }
        })
    }
}

/// Finds the rows of numbers; gives the number of entries that each of them has.
fn read_rows(
    message: &mut Message<'_, '_>,
    block: &Block,
    leaf: &Leaf,
    at: usize,
    rows: &mut Vec<(u32, i64)>,
) -> Step<usize> {
    let end = message.after(at);
    let is_object = matches!(message.node(at), Node::Object { .. });
    let mut width = None;
    let mut entry = at + 1;
    while entry < end {
        let value = entry + usize::from(is_object);
        let Node::Array { len, count } = message.node(value) else {
            return fault(RejectCode::WrongType, value);
        };
        if len != count {
            return fault(RejectCode::WrongType, value);
        }
        if *width.get_or_insert(len) != len || block.counter.is_some_and(|counter| counter >= len) {
            return fault(RejectCode::RaggedBlock, value);
        }
        let counter = match block.counter {
            Some(counter) => match read::integer(leaf, message, value + 1 + counter)? {
                Reading::Value(counter) => counter,
                Reading::Missing(_) => return fault(RejectCode::BadNumber, value + 1 + counter),
            },
            None => 0,
        };
        rows.push((value as u32 + 1, counter));
        entry = message.after(value);
    }
    Ok(width.unwrap_or(0))
}

/// How samples are read: as the field of a number without annotations.
fn sample_leaf(name: &str) -> Leaf {
    Leaf {
        number: 0,
        slot: 0,
        kind: Kind::Nothing,
        targets: Vec::new(),
        name: name.into(),
        sentinels: Vec::new(),
        time: None,
        scalar_as_list: false,
        takes_numbers: true,
        takes_booleans: false,
        scalar_only: false,
        critical: false,
    }
}
