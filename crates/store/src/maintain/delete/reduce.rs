//! A file becomes one without the rows that go: read in a stream, written, and compared row by row with what
//! it replaces before a commit names it.

use std::collections::BTreeSet;
use std::path::Path;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use super::super::Place;
use super::super::compact::{self, Replaced};
use super::super::live::{Live, LiveFile};
use super::super::rewrite::{FACTS, READ, REPLACES, check_zone, guard};
use super::super::source::survey;
use super::keys::{self, KeySet, Keys};
use crate::encode::files::{self, Written};
use crate::encode::stream::Streamed;
use crate::error::Fault;
use crate::lease::Staging;
use crate::verify::sha256_of;
use crate::{durable, entry, names, scan};

/// A file that goes, and what holds its other rows.
#[derive(Debug)]
pub(super) struct Reduced {
    /// Its path in the table.
    path: String,
    day: String,
    bytes: u64,
    rows: u64,
    sha256: String,
    /// `None` if it held nothing else.
    written: Option<Written>,
}

impl Reduced {
    /// The file that holds its other rows.
    pub(super) fn written(&self) -> Option<Written> {
        self.written.clone()
    }
}

/// How many rows of a file are in the set, and how many it has.
pub(super) fn count(path: &Path, place: &Place, set: &mut KeySet) -> Result<(u64, u64), Fault> {
    let (mut found, mut rows) = (0, 0);
    for batch in keys::open(path, &place.shape, &[])? {
        let batch = batch.map_err(|_| scan::unreadable(path))?;
        let keys = Keys::of(path, &batch, &place.shape)?;
        found += (0..keys.len()).filter(|row| set.contains(&keys.at(*row))).count() as u64;
        rows += keys.len() as u64;
    }
    Ok((found, rows))
}

/// Writes the rows of a file that stay. `None` if none of its rows goes.
///
/// # Errors
/// If it cannot be read, has other rows than the log says, a row is of another zone (RES-1), or what was
/// written is not what stays. Nothing is left behind then.
pub(super) fn reduce(
    place: &Place,
    path: &str,
    file: &LiveFile,
    set: &mut KeySet,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Option<Reduced>, Fault> {
    let on_disk = place.folder.join(path);
    let (going, rows) = count(&on_disk, place, set)?;
    if let Some(told) = file.rows.filter(|told| *told != rows) {
        return Err(Fault::stop(format!(
            "table `{}`: {path} has {rows} rows, but the log says {told}",
            place.table
        )));
    }
    if going == 0 {
        return Ok(None);
    }
    let day = file.day.clone().ok_or_else(|| {
        Fault::stop(format!("table `{}`: {path} is of no day, which Situs never writes", place.table))
    })?;
    let sha256 = sha256_of(&on_disk).map_err(durable::FileError::new("read", &on_disk))?;
    let mut reduced = Reduced { path: path.to_owned(), day, bytes: file.size, rows, sha256, written: None };
    if going < rows {
        let written = rest(place, &reduced, set, alive)?;
        let same = match written.fact.rows == rows - going {
            true => compare(place, path, &written.fact.path, set, alive),
            false => Err(differs(place, path, "it has another number of rows")),
        };
        if let Err(fault) = same {
            files::discard(&place.folder, &[written]);
            return Err(fault);
        }
        reduced.written = Some(written);
    }
    Ok(Some(reduced))
}

/// The rows of a batch that stay.
fn staying(place: &Place, path: &Path, rows: &RecordBatch, set: &mut KeySet) -> Result<RecordBatch, Fault> {
    let keys = Keys::of(path, rows, &place.shape)?;
    let mask: BooleanArray = (0..keys.len()).map(|row| Some(!set.contains(&keys.at(row)))).collect();
    filter_record_batch(rows, &mask).map_err(|_| Fault::stop("rows could not be cut"))
}

fn rest(
    place: &Place,
    old: &Reduced,
    set: &mut KeySet,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Written, Fault> {
    let on_disk = place.folder.join(&old.path);
    let (inputs, mut columns) = survey(vec![on_disk.clone()], &READ)?;
    guard(&inputs, &mut columns);
    let in_table = names::partition_folder(place.day(), &old.day);
    let mut output = Streamed::create(&place.folder.join(&in_table), &columns.schema)?;
    for input in &inputs {
        input.read(&columns, |rows| {
            alive()?;
            check_zone(place, &rows)?;
            let rest = staying(place, &on_disk, &rows, set)?;
            if rest.num_rows() > 0 { output.write(&rest) } else { Ok(()) }
        })?;
    }
    let mut replaces: Vec<&str> = Vec::new();
    let mut facts = vec![
        ("situs.zone".to_owned(), place.identity.zone.to_string()),
        ("situs.store".to_owned(), place.identity.store_id.clone()),
    ];
    for input in &inputs {
        replaces.extend(input.facts[0].iter().flat_map(|names| names.lines()));
        for (key, value) in FACTS.iter().zip(&input.facts).skip(1) {
            facts.extend(value.clone().map(|value| ((*key).to_owned(), value)));
        }
    }
    replaces.extend(old.path.rsplit('/').next());
    facts.push((REPLACES.to_owned(), replaces.join("\n")));
    let id = uuid::Uuid::now_v7().to_string();
    output.finish(&place.folder, &in_table, &old.day, &id, &facts)
}

fn differs(place: &Place, path: &str, what: &str) -> Fault {
    Fault::stop(format!(
        "table `{}`: what was written of {path} is not what stays of it: {what}",
        place.table
    ))
}

/// Reads both files side by side: what stays of the old one must be the new one, column for column and
/// bit for bit, in the same order.
pub(super) fn compare(
    place: &Place,
    old: &str,
    new: &str,
    set: &mut KeySet,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let on_disk = place.folder.join(old);
    let (inputs, columns) = survey(vec![on_disk.clone(), place.folder.join(new)], &[])?;
    let [before, after] = &inputs[..] else { return Err(differs(place, old, "it cannot be read")) };
    let mut after = after.batches(&columns)?;
    let mut there: Option<RecordBatch> = None;
    for rows in before.batches(&columns)? {
        alive()?;
        let mut stays = staying(place, &on_disk, &rows?, set)?;
        while stays.num_rows() > 0 {
            let batch = match there.take().filter(|batch| batch.num_rows() > 0) {
                Some(batch) => batch,
                None => after.next().transpose()?.ok_or_else(|| differs(place, old, "rows are missing"))?,
            };
            let count = batch.num_rows().min(stays.num_rows());
            if batch.slice(0, count) != stays.slice(0, count) {
                return Err(differs(place, old, "a row is another one"));
            }
            there = Some(batch.slice(count, batch.num_rows() - count));
            stays = stays.slice(count, stays.num_rows() - count);
        }
    }
    let more = there.is_some_and(|batch| batch.num_rows() > 0) || after.next().is_some();
    if more { Err(differs(place, old, "it has further rows")) } else { Ok(()) }
}

/// Puts what stays in the place of these files, in one commit on the newest version.
///
/// # Errors
/// As [`compact::replace`].
pub(super) fn commit(
    place: &Place,
    live: &mut Live,
    id: &str,
    reduced: &[Reduced],
    staging: &Staging,
) -> Result<Replaced, Fault> {
    let written: Vec<Written> = reduced.iter().filter_map(|file| file.written.clone()).collect();
    let discard = || files::discard(&place.folder, &written);
    let decide = |live: &Live| {
        let there = |file: &Reduced| live.files.get(&file.path).is_some_and(|found| found.size == file.bytes);
        if !reduced.iter().all(there) {
            return Ok(None);
        }
        let removed = reduced.iter().map(|file| entry::Gone {
            path: &file.path,
            day: &file.day,
            bytes: file.bytes,
            rows: file.rows,
            sha256: &file.sha256,
        });
        entry::deletion(live.version + 1, place.shape.layout, id, removed, &written).map(Some)
    };
    compact::commit(place, live, staging, decide, discard)
}

/// The days that a deletion looks at.
pub(super) fn is_of_days(days: &BTreeSet<Option<String>>, file: &LiveFile) -> bool {
    days.contains(&file.day)
}
