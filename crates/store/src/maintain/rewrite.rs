//! Many files of a day become one, which holds the same rows: read in a stream, checked row by row, sorted
//! if they fit, written, and counted again as they lie there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{FieldRef, Schema};
use arrow_select::interleave::interleave_record_batch;
use situs_model::FieldClass;
use situs_model::columns::CLASS_METADATA;
use situs_model::columns::names::{EVENT_TIME, ZONE};
use situs_model::permit::all_rows_of;

use super::count::Census;
use super::live::Live;
use super::seal::Bin;
use super::source::{Columns, Input, survey};
use super::{Optimize, Place};
use crate::encode::GUARDED;
use crate::encode::files::{self, Written};
use crate::encode::stream::Streamed;
use crate::error::Fault;
use crate::names;

/// The column by which rows are sorted before time, where a schema calls it so.
const DEVICE: &str = "device";
/// Rows that are written at once when they are sorted.
const ROWS_OF_A_BATCH: usize = 8192;
/// In a compacted file's footer: the names of the files whose rows it holds, in order, with those that they
/// had replaced themselves.
pub(crate) const REPLACES: &str = "situs.replaces";
/// Facts of files that live on in the file that replaces them.
pub(super) const FACTS: [&str; 4] = [REPLACES, "situs.pipeline", "situs.policy", "situs.schema"];
/// What else is read of their footers.
pub(super) const READ: [&str; 5] = [FACTS[0], FACTS[1], FACTS[2], FACTS[3], GUARDED];

/// A file that holds the rows of others, and that no commit names yet.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) written: Written,
    /// The paths of the files whose rows it holds.
    pub(crate) replaced: Vec<String>,
    /// Whether it is sorted by device and time.
    pub(crate) sorted: bool,
}

/// Writes the rows of a bin into one file.
///
/// # Errors
/// If a file cannot be read, its rows are not as many as the log says, a row is of another zone (RES-1), or
/// what was written does not hold the rows that were read. Nothing is left behind then.
pub(crate) fn rewrite(
    place: &Place,
    live: &Live,
    bin: &Bin,
    settings: &Optimize,
    stop: &AtomicBool,
) -> Result<Rewritten, Fault> {
    let paths = bin.files.iter().map(|path| place.folder.join(path)).collect();
    let (inputs, mut columns) = survey(paths, &READ)?;
    guard(&inputs, &mut columns);
    for (input, path) in inputs.iter().zip(&bin.files) {
        let told = live.files.get(path).and_then(|file| file.rows);
        if let Some(told) = told.filter(|told| *told != input.rows) {
            return Err(Fault::stop(format!(
                "table `{}`: {path} has {} rows, but the log says {told}",
                place.table, input.rows
            )));
        }
    }
    let in_table = names::partition_folder(place.shape.layout.day, &bin.day);
    let mut output = Output {
        file: Streamed::create(&place.folder.join(&in_table), &columns.schema)?,
        waiting: Some(Vec::new()),
        bytes: 0,
        most: usize::try_from(settings.memory).unwrap_or(usize::MAX),
        sorts: has_order(&columns),
        pace: Pace::new(settings.rest),
    };
    let mut before = Census::default();
    for (input, path) in inputs.iter().zip(&bin.files) {
        input
            .read(&columns, |rows| {
                if stop.load(Ordering::Relaxed) {
                    return Err(Fault::retry("the process is stopping"));
                }
                check_zone(place, &rows)?;
                before.add(&rows, &place.shape)?;
                output.take(rows)
            })
            .map_err(|fault| Fault { message: format!("{path}: {}", fault.message), ..fault })?;
    }
    let (file, sorted) = output.end()?;
    let facts = facts(place, &inputs, bin);
    let id = uuid::Uuid::now_v7().to_string();
    let written = file.finish(&place.folder, &in_table, &bin.day, &id, &facts)?;
    let told = inputs.iter().map(|input| input.rows).sum();
    match verify(&before, told, place.folder.join(&written.fact.path), place) {
        Ok(()) => Ok(Rewritten { written, replaced: bin.files.clone(), sorted }),
        Err(fault) => {
            files::discard(&place.folder, &[written]);
            Err(fault)
        }
    }
}

/// Statistics that one of the files must not give, the new one must not give either.
pub(super) fn guard(inputs: &[Input], columns: &mut Columns) {
    let guarded: BTreeSet<&str> = inputs
        .iter()
        .filter_map(|input| input.facts.get(FACTS.len())?.as_deref())
        .flat_map(|names| names.split(','))
        .collect();
    let field = |field: &FieldRef| {
        if !guarded.contains(field.name().as_str()) {
            return field.clone();
        }
        let class = (CLASS_METADATA.to_owned(), FieldClass::Personal.to_string());
        Arc::new(field.as_ref().clone().with_metadata([class].into()))
    };
    columns.schema = Arc::new(Schema::new(columns.schema.fields().iter().map(field).collect::<Vec<_>>()));
}

/// Reads the new file and compares it with what was read and with what the old files' footers said.
fn verify(before: &Census, told: u64, path: PathBuf, place: &Place) -> Result<(), Fault> {
    let after = Census::of_file(&path, &place.shape)?;
    let differs = |what: String| {
        Fault::stop(format!(
            "table `{}`: {} does not hold the rows of the files that it replaces: {what}",
            place.table,
            path.display()
        ))
    };
    match before.difference(&after) {
        Some(what) => Err(differs(what)),
        None if after.rows() != told => Err(differs(format!("{} rows, not {told}", after.rows()))),
        None => Ok(()),
    }
}

/// RES-1, on every row, although these rows lie in this store already.
pub(super) fn check_zone(place: &Place, rows: &RecordBatch) -> Result<(), Fault> {
    if !place.shape.zoned || all_rows_of(rows, &place.identity.zone) {
        return Ok(());
    }
    Err(Fault::stop(format!("a row's `{ZONE}` is not {}, the store's zone", place.identity.zone)))
}

/// What the new file says of itself: the constant facts of those that it replaces, each value once.
fn facts(place: &Place, inputs: &[Input], bin: &Bin) -> Vec<(String, String)> {
    let mut replaces: Vec<&str> = Vec::new();
    for (input, path) in inputs.iter().zip(&bin.files) {
        replaces.extend(input.facts[0].iter().flat_map(|names| names.lines()));
        replaces.extend(path.rsplit('/').next());
    }
    let mut facts = vec![
        ("situs.zone".to_owned(), place.identity.zone.to_string()),
        ("situs.store".to_owned(), place.identity.store_id.clone()),
        (REPLACES.to_owned(), replaces.join("\n")),
    ];
    for (at, key) in FACTS.iter().enumerate().skip(1) {
        let values: BTreeSet<&str> = inputs
            .iter()
            .filter_map(|input| input.facts[at].as_deref())
            .flat_map(|text| text.split(','))
            .collect();
        if !values.is_empty() {
            facts.push(((*key).to_owned(), values.into_iter().collect::<Vec<_>>().join(",")));
        }
    }
    facts
}

/// Rows on their way into the file: held back as long as they may be sorted.
struct Output {
    file: Streamed,
    /// `None` once there were too many.
    waiting: Option<Vec<RecordBatch>>,
    bytes: usize,
    most: usize,
    sorts: bool,
    pace: Pace,
}

impl Output {
    fn take(&mut self, rows: RecordBatch) -> Result<(), Fault> {
        self.pace.rest();
        // What the batch holds, and its place in the order.
        self.bytes += rows.get_array_memory_size() + rows.num_rows() * size_of::<Key>();
        if self.sorts
            && self.bytes <= self.most
            && let Some(waiting) = &mut self.waiting
        {
            waiting.push(rows);
            return Ok(());
        }
        for waiting in self.waiting.take().into_iter().flatten() {
            self.file.write(&waiting)?;
        }
        self.file.write(&rows)
    }

    /// Writes what waits; the file, and whether its rows are sorted.
    fn end(mut self) -> Result<(Streamed, bool), Fault> {
        let Some(waiting) = self.waiting.take() else { return Ok((self.file, false)) };
        let Some(order) = order(&waiting) else {
            for rows in &waiting {
                self.file.write(rows)?;
            }
            return Ok((self.file, false));
        };
        let batches: Vec<&RecordBatch> = waiting.iter().collect();
        for rows in order.chunks(ROWS_OF_A_BATCH) {
            self.pace.rest();
            let rows = interleave_record_batch(&batches, rows)
                .map_err(|_| Fault::stop("rows could not be sorted"))?;
            self.file.write(&rows)?;
        }
        Ok((self.file, true))
    }
}

/// Device, time, batch and row.
type Key = (u32, i64, u32, u32);

fn has_order(columns: &Columns) -> bool {
    let is = |name: &str, fits: fn(&arrow_schema::DataType) -> bool| {
        columns.schema.field_with_name(name).is_ok_and(|field| fits(field.data_type()))
    };
    is(EVENT_TIME, |kind| *kind == situs_model::columns::timestamp_type())
        && is(DEVICE, |kind| *kind == situs_model::columns::dictionary_type())
}

/// The rows in the order of device and time; rows that are equal in both stay in the order in which they
/// came. `None` if there are no such columns.
fn order(batches: &[RecordBatch]) -> Option<Vec<(usize, usize)>> {
    let mut devices: BTreeMap<&str, u32> = BTreeMap::new();
    for rows in batches {
        let words = rows.column_by_name(DEVICE)?.as_dictionary_opt::<Int32Type>()?;
        devices.extend(words.values().as_string_opt::<i32>()?.iter().flatten().map(|device| (device, 0)));
    }
    // 0 is for rows without.
    (1..).zip(devices.values_mut()).for_each(|(rank, device)| *device = rank);
    let mut keys: Vec<Key> = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (batch, rows) in (0..).zip(batches) {
        let words = rows.column_by_name(DEVICE)?.as_dictionary_opt::<Int32Type>()?;
        let texts = words.values().as_string_opt::<i32>()?;
        let ranks: Vec<u32> =
            texts.iter().map(|text| text.and_then(|text| devices.get(text).copied()).unwrap_or(0)).collect();
        let times = rows.column_by_name(EVENT_TIME)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        for (row, key) in (0..).zip(words.keys().iter()) {
            let rank = key.and_then(|key| ranks.get(key as usize).copied()).unwrap_or(0);
            let time = if times.is_valid(row) { times.value(row) } else { i64::MIN };
            keys.push((rank, time, batch, u32::try_from(row).ok()?));
        }
    }
    keys.sort_unstable();
    Some(keys.into_iter().map(|(.., batch, row)| (batch as usize, row as usize)).collect())
}

/// Leaves the CPU to others: rests as long as it worked, if it shall.
struct Pace {
    rests: bool,
    since: Instant,
}

impl Pace {
    /// The longest rest; a stalled disk is no work.
    const MOST: Duration = Duration::from_millis(200);

    fn new(rests: bool) -> Self {
        Self { rests, since: Instant::now() }
    }

    fn rest(&mut self) {
        if self.rests {
            std::thread::sleep(self.since.elapsed().min(Self::MOST));
            self.since = Instant::now();
        }
    }
}
