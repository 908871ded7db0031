//! All columns of a batch under construction.

use std::sync::Arc;

use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use situs_model::RawBatch;
use situs_model::columns::timestamp_type;

use crate::columns::{Bools, Dictionary, Full, NumberLists, Prim, Text, TextLists};
use crate::drift::Drift;
use crate::plan::{Program, Target, TextTarget};
use crate::time;

/// Room for this many rows is made at the start; later batches are as large as the one before.
const ROWS: usize = 1024;

/// The columns, each list by the index that a [`Target`] carries.
#[derive(Debug)]
pub(crate) struct Builders {
    pub(crate) float64: Vec<Prim<f64>>,
    pub(crate) int64: Vec<Prim<i64>>,
    pub(crate) int32: Vec<Prim<i32>>,
    pub(crate) boolean: Vec<Bools>,
    pub(crate) timestamp: Vec<Prim<i64>>,
    pub(crate) utf8: Vec<Text>,
    pub(crate) dictionary: Vec<Dictionary>,
    pub(crate) numbers: Vec<NumberLists>,
    pub(crate) texts: Vec<TextLists>,
    pub(crate) extra: Option<Text>,
    pub(crate) event_time_ns: Option<Prim<i64>>,
    pub(crate) quality: Dictionary,
    event_time: Vec<i64>,
    message: Vec<u32>,
    row: Vec<i32>,
}

impl Builders {
    pub(crate) fn new(program: &Program) -> Self {
        let count = |kind: fn(&Target) -> bool| program.columns.iter().filter(|target| kind(target)).count();
        fn make<T>(count: usize, new: fn(usize) -> T) -> Vec<T> {
            (0..count).map(|_| new(ROWS)).collect()
        }
        Self {
            float64: make(count(|t| matches!(t, Target::Float64(_))), Prim::with_capacity),
            int64: make(count(|t| matches!(t, Target::Int64(_))), Prim::with_capacity),
            int32: make(count(|t| matches!(t, Target::Int32(_))), Prim::with_capacity),
            boolean: make(count(|t| matches!(t, Target::Boolean(_))), Bools::with_capacity),
            timestamp: make(count(|t| matches!(t, Target::Timestamp(_))), Prim::with_capacity),
            utf8: make(count(|t| matches!(t, Target::Utf8(_))), Text::with_capacity),
            dictionary: make(count(|t| matches!(t, Target::Dictionary(_))), Dictionary::with_capacity),
            numbers: make(count(|t| matches!(t, Target::Numbers(_))), NumberLists::with_capacity),
            texts: make(count(|t| matches!(t, Target::Texts(_))), TextLists::with_capacity),
            extra: program.keep_unknown.then(|| Text::with_capacity(ROWS)),
            event_time_ns: program.nanoseconds.then(|| Prim::with_capacity(ROWS)),
            quality: Dictionary::with_capacity(ROWS),
            event_time: Vec::with_capacity(ROWS),
            message: Vec::with_capacity(ROWS),
            row: Vec::with_capacity(ROWS),
        }
    }

    /// The number of whole rows.
    pub(crate) fn rows(&self) -> usize {
        self.message.len()
    }

    pub(crate) fn null(&mut self, target: Target) -> Result<(), Full> {
        match target {
            Target::Float64(at) => self.float64[at].null(),
            Target::Int64(at) => self.int64[at].null(),
            Target::Int32(at) => self.int32[at].null(),
            Target::Boolean(at) => self.boolean[at].null(),
            Target::Timestamp(at) => self.timestamp[at].null(),
            Target::Utf8(at) => self.utf8[at].null()?,
            Target::Dictionary(at) => self.dictionary[at].null(),
            Target::Numbers(at) => self.numbers[at].null()?,
            Target::Texts(at) => self.texts[at].null()?,
        }
        Ok(())
    }

    /// Adds so many nulls.
    pub(crate) fn nulls(&mut self, target: Target, count: usize) {
        match target {
            Target::Float64(at) => self.float64[at].nulls(count),
            Target::Int64(at) => self.int64[at].nulls(count),
            Target::Int32(at) => self.int32[at].nulls(count),
            Target::Timestamp(at) => self.timestamp[at].nulls(count),
            Target::Dictionary(at) => self.dictionary[at].nulls(count),
            Target::Utf8(at) => self.utf8[at].nulls(count),
            Target::Boolean(at) => self.boolean[at].nulls(count),
            Target::Numbers(at) => self.numbers[at].nulls(count),
            Target::Texts(at) => self.texts[at].nulls(count),
        }
    }

    pub(crate) fn text_null(&mut self, target: TextTarget) -> Result<(), Full> {
        match target {
            TextTarget::Utf8(at) => self.utf8[at].null()?,
            TextTarget::Dictionary(at) => self.dictionary[at].null(),
        }
        Ok(())
    }

    /// Ends a row: the columns that every row has.
    pub(crate) fn end_row(&mut self, event_time: i64, message: u32, row: i32) {
        self.event_time.push(event_time);
        self.message.push(message);
        self.row.push(row);
    }

    /// Ends rows of one message each.
    pub(crate) fn end_rows(&mut self, event_times: &[i64], messages: &[u32]) {
        self.event_time.extend_from_slice(event_times);
        self.message.extend_from_slice(messages);
        self.row.extend(std::iter::repeat_n(0, messages.len()));
    }

    /// Says that what is built so far stays.
    pub(crate) fn mark(&mut self) {
        self.dictionary.iter_mut().for_each(Dictionary::mark);
        self.quality.mark();
    }

    /// Takes back every row after the first `rows`, whole or in part: those that came after the mark.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.float64.iter_mut().for_each(|column| column.truncate(rows));
        self.int64.iter_mut().for_each(|column| column.truncate(rows));
        self.int32.iter_mut().for_each(|column| column.truncate(rows));
        self.boolean.iter_mut().for_each(|column| column.truncate(rows));
        self.timestamp.iter_mut().for_each(|column| column.truncate(rows));
        self.utf8.iter_mut().for_each(|column| column.truncate(rows));
        self.dictionary.iter_mut().for_each(|column| column.truncate(rows));
        self.numbers.iter_mut().for_each(|column| column.truncate(rows));
        self.texts.iter_mut().for_each(|column| column.truncate(rows));
        self.extra.iter_mut().for_each(|column| column.truncate(rows));
        self.event_time_ns.iter_mut().for_each(|column| column.truncate(rows));
        self.quality.truncate(rows);
        self.event_time.truncate(rows);
        self.message.truncate(rows);
        self.row.truncate(rows);
    }

    /// The rows with their identity and time columns, the message of each row, and the number of rows whose
    /// time lies further from the broker's than `drift` allows.
    pub(crate) fn finish(
        &mut self,
        schema: &SchemaRef,
        program: &Program,
        raw: &RawBatch,
        drift: Option<Drift>,
    ) -> Result<(RecordBatch, Vec<u32>, u64), ArrowError> {
        let rows = self.rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for target in &program.columns {
            arrays.push(match *target {
                Target::Float64(at) => self.float64[at].finish::<Float64Type>(&DataType::Float64)?,
                Target::Int64(at) => self.int64[at].finish::<Int64Type>(&DataType::Int64)?,
                Target::Int32(at) => self.int32[at].finish::<Int32Type>(&DataType::Int32)?,
                Target::Boolean(at) => self.boolean[at].finish()?,
                Target::Timestamp(at) => {
                    self.timestamp[at].finish::<TimestampMicrosecondType>(&timestamp_type())?
                }
                Target::Utf8(at) => self.utf8[at].finish()?,
                Target::Dictionary(at) => self.dictionary[at].finish()?,
                Target::Numbers(at) => self.numbers[at].finish()?,
                Target::Texts(at) => self.texts[at].finish()?,
            });
        }
        if let Some(extra) = &mut self.extra {
            arrays.push(extra.finish()?);
        }

        let message = std::mem::replace(&mut self.message, Vec::with_capacity(rows));
        let row = std::mem::replace(&mut self.row, Vec::with_capacity(rows));
        let event_time = std::mem::replace(&mut self.event_time, Vec::with_capacity(rows));
        let topic = StringArray::from_iter_values([raw.source().topic.as_ref()]);
        let topics = DictionaryArray::<Int32Type>::try_new(Int32Array::from(vec![0; rows]), Arc::new(topic))?;
        let offsets = Int64Array::from_iter_values(message.iter().map(|m| raw.offset(*m as usize)));
        let broker = broker_times(raw, &message);
        let ingest = PrimitiveArray::<TimestampMicrosecondType>::from(vec![raw.received_us(); rows]);
        let days = PrimitiveArray::<Date32Type>::from_iter_values(event_time.iter().map(|us| time::day(*us)));
        let times = PrimitiveArray::<TimestampMicrosecondType>::from(event_time);
        let mut quality = self.quality.finish()?;
        let mut clocks_off = 0;
        if let Some(drift) = drift {
            (quality, clocks_off) = drift.flag(times.values(), &broker, quality)?;
        }
        arrays.extend([
            Arc::new(topics) as ArrayRef,
            Arc::new(Int32Array::from(vec![raw.source().partition; rows])),
            Arc::new(offsets),
            Arc::new(Int32Array::from(row)),
            Arc::new(broker.with_data_type(timestamp_type())),
            Arc::new(ingest.with_data_type(timestamp_type())),
            Arc::new(times.with_data_type(timestamp_type())),
            Arc::new(days),
        ]);
        if let Some(ns) = &mut self.event_time_ns {
            arrays.push(ns.finish::<Int64Type>(&DataType::Int64)?);
        }
        arrays.push(quality);
        Ok((RecordBatch::try_new(schema.clone(), arrays)?, message, clocks_off))
    }
}

/// The broker's time of each row in microseconds, null where it gave none.
fn broker_times(raw: &RawBatch, message: &[u32]) -> PrimitiveArray<TimestampMicrosecondType> {
    let time = |message: &u32| raw.broker_time_ms(*message as usize).and_then(|ms| ms.checked_mul(1000));
    let mut all = true;
    let times: Vec<i64> = message
        .iter()
        .map(|message| {
            let time = time(message);
            all &= time.is_some();
            time.unwrap_or(0)
        })
        .collect();
    if all { times.into() } else { message.iter().map(time).collect() }
}
