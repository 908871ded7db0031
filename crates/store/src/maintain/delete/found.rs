//! Rows that would go, and what stands in their way.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use situs_model::columns::names::CLASS;
use situs_model::{Class, Date, TableName};

use super::super::Shape;
use super::coordinates::{Doomed, Writer};
use super::criterion::Criterion;
use super::holds::{Floor, Hold, held_by};
use super::keys::Keys;
use crate::error::Fault;
use crate::scan::{self, Rows};

/// What stands in the way, by what: how many rows.
#[derive(Debug, Default)]
pub(super) struct InTheWay {
    pub(super) holds: BTreeMap<String, u64>,
    pub(super) floors: BTreeMap<usize, u64>,
}

/// Rows of a batch that would go.
pub(super) struct Found<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) rows: &'a Rows<'a>,
    pub(super) keys: &'a Keys,
    pub(super) goes: Vec<bool>,
    pub(super) day: Option<Date>,
}

impl Found<'_> {
    pub(super) fn going(&self) -> impl Iterator<Item = usize> {
        self.goes.iter().enumerate().filter(|(_, goes)| **goes).map(|(row, _)| row)
    }

    /// Which rows of the batch each hold is on.
    fn held<'h>(
        &self,
        holds: &[&'h Hold],
        device_column: &str,
        shape: &Shape,
    ) -> Result<Vec<(&'h str, Vec<bool>)>, Fault> {
        let means =
            |criterion: &Criterion| criterion.means(self.batch, self.rows, self.keys, device_column, shape);
        held_by(holds, |criterion| {
            if !criterion.may_mean_day(self.day) {
                return Ok(None);
            }
            let mut held = means(criterion)?;
            if criterion.class.is_some() {
                // A row whose class nobody has said may be of this one.
                let class = Some(Class::Unclassified.to_string());
                let unclassified = means(&Criterion { class, ..criterion.clone() })?;
                held.iter_mut().zip(unclassified).for_each(|(held, of)| *held |= of);
            }
            Ok(Some(held))
        })
    }

    /// Leaves rows under a hold where they are: how many.
    pub(super) fn leave_held(
        &mut self,
        holds: &[&Hold],
        device_column: &str,
        shape: &Shape,
    ) -> Result<u64, Fault> {
        let mut left = 0;
        for (_, held) in self.held(holds, device_column, shape)? {
            for (goes, held) in self.goes.iter_mut().zip(held) {
                left += u64::from(*goes && held);
                *goes &= !held;
            }
        }
        Ok(left)
    }

    pub(super) fn note_holds(
        &self,
        holds: &[&Hold],
        device_column: &str,
        shape: &Shape,
        in_the_way: &mut InTheWay,
    ) -> Result<(), Fault> {
        for (id, held) in self.held(holds, device_column, shape)? {
            let rows = self.going().filter(|row| held[*row]).count() as u64;
            if rows > 0 {
                *in_the_way.holds.entry(id.to_owned()).or_default() += rows;
            }
        }
        Ok(())
    }

    pub(super) fn note_floors(
        &self,
        floors: &[(usize, &Floor)],
        in_the_way: &mut InTheWay,
    ) -> Result<(), Fault> {
        for (at, floor) in floors {
            // Rows of no day are of an age that is not known.
            if self.day.is_some_and(|day| day < floor.keep_from) {
                continue;
            }
            let rows = match &floor.class {
                None => self.going().count(),
                Some(class) => {
                    let classes = self.rows.texts(CLASS)?;
                    // A row whose class nobody has said may be of this one.
                    let may_be = |word: Option<&str>| {
                        word.is_none_or(|word| word == class || word == Class::Unclassified.as_str())
                    };
                    self.going().filter(|row| may_be(scan::text(&classes, *row))).count()
                }
            };
            if rows > 0 {
                *in_the_way.floors.entry(*at).or_default() += rows as u64;
            }
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        table: &TableName,
        quarantine: bool,
        writer: &mut Writer,
    ) -> Result<(), Fault> {
        let quarantined = match quarantine {
            true => Some((self.rows.texts("reason")?, self.rows.ints("rows")?)),
            false => None,
        };
        for row in self.going() {
            let quarantined = quarantined.as_ref().map(|(reasons, rows)| (reasons.value(row), rows[row]));
            writer.add(&Doomed { table: table.as_str(), key: self.keys.at(row), quarantined })?;
        }
        Ok(())
    }
}
