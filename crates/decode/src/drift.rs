//! Rows whose time lies far from the broker's.
//!
//! This is told after the columns are made, of the columns, so that it is the same whichever path made
//! them, and each row's flag depends on that row alone.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, PrimitiveArray, StringArray};
use arrow_schema::ArrowError;
use situs_model::ClockBounds;

use crate::decoder::read::{Code, add_note};
use crate::time::{FIRST_MICROSECOND, LAST_MICROSECOND};

/// The name under which it is noted, as other things about the row's time are.
const NAME: &str = "event_time";

/// No two times are further apart.
const SPAN: i64 = LAST_MICROSECOND - FIRST_MICROSECOND;

/// How far event times may lie from the broker's, in microseconds; [`SPAN`] where there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drift {
    ahead: i64,
    behind: i64,
}

impl Drift {
    /// `None` if nothing is ever flagged.
    pub(crate) fn new(bounds: ClockBounds) -> Option<Self> {
        let us = |bound: Option<Duration>| {
            bound.map_or(SPAN, |bound| i64::try_from(bound.as_micros()).unwrap_or(SPAN).min(SPAN))
        };
        let drift = Self { ahead: us(bounds.ahead), behind: us(bounds.behind) };
        ((drift.ahead, drift.behind) != (SPAN, SPAN)).then_some(drift)
    }

    /// What is to be said of a row's time. A broker's time outside of the years 1 to 9999 is none: a row
    /// without a time of its own has not taken it either.
    fn code(self, event: i64, broker: i64) -> Option<Code> {
        if !(FIRST_MICROSECOND..=LAST_MICROSECOND).contains(&broker) {
            return None;
        }
        let ahead = event.saturating_sub(broker);
        if ahead > self.ahead {
            Some(Code::ClockAhead)
        } else if ahead < -self.behind {
            Some(Code::ClockBehind)
        } else {
            None
        }
    }

    /// Whether [`code`](Self::code) may say something of one of the rows. A quarter of a nanosecond per row,
    /// which is all that a batch costs where the clocks are right.
    fn may_be_off(self, events: &[i64], brokers: &[i64]) -> bool {
        // With `behind` added, the distances that are allowed are those from 0 to `window`. Below 2^63, the
        // top bit says whether a number is beyond either end. Of times within the years no step wraps.
        let window = (self.ahead + self.behind) as u64;
        let beyond = events.iter().zip(brokers).fold(0, |beyond, (event, broker)| {
            let distance = event.wrapping_sub(*broker).wrapping_add(self.behind) as u64;
            beyond | distance | window.wrapping_sub(distance)
        });
        beyond >> 63 != 0
    }

    /// The quality with a code for each row whose time is off, and how many these are.
    ///
    /// # Errors
    /// If the codes of a batch come to more than 2 GiB.
    pub(crate) fn flag(
        self,
        events: &[i64],
        brokers: &PrimitiveArray<TimestampMicrosecondType>,
        quality: ArrayRef,
    ) -> Result<(ArrayRef, u64), ArrowError> {
        if brokers.null_count() == brokers.len() || !self.may_be_off(events, brokers.values()) {
            return Ok((quality, 0));
        }
        let codes: Vec<Option<Code>> = events
            .iter()
            .zip(brokers)
            .map(|(event, broker)| broker.and_then(|broker| self.code(*event, broker)))
            .collect();
        match codes.iter().flatten().count() {
            // Where the broker gave no time, the first look saw a time that is none.
            0 => Ok((quality, 0)),
            count => Ok((with_codes(&quality, &codes)?, count as u64)),
        }
    }
}

/// A new dictionary, since the texts of the one that is there are shared with other batches.
fn with_codes(quality: &ArrayRef, codes: &[Option<Code>]) -> Result<ArrayRef, ArrowError> {
    let no_text = || ArrowError::SchemaError("the quality is no dictionary of texts".to_owned());
    let quality = quality.as_dictionary_opt::<Int32Type>().ok_or_else(no_text)?;
    let values = quality.values().as_string_opt::<i32>().ok_or_else(no_text)?;
    // For each text that was there, and for none, the new key without a code and with each of both.
    let mut known = vec![[None; 3]; values.len() + 1];
    let mut texts: Vec<String> = Vec::new();
    let mut bytes = 0_usize;
    let mut keys = Vec::with_capacity(codes.len());
    for (old, code) in quality.keys().iter().zip(codes) {
        if old.is_none() && code.is_none() {
            keys.push(None);
            continue;
        }
        let old = old.map(|key| key as usize);
        let which = match code {
            None => 0,
            Some(Code::ClockAhead) => 1,
            Some(_) => 2,
        };
        let key = &mut known[old.unwrap_or(values.len())][which];
        if key.is_none() {
            let mut text = old.map_or("", |old| values.value(old)).to_owned();
            if let Some(code) = code {
                add_note(&mut text, NAME, *code);
            }
            bytes += text.len();
            i32::try_from(bytes).map_err(|_| ArrowError::OffsetOverflowError(bytes))?;
            // Not more than there are rows.
            *key = Some(texts.len() as i32);
            texts.push(text);
        }
        keys.push(*key);
    }
    let texts = Arc::new(StringArray::from_iter_values(texts));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), texts)?))
}
