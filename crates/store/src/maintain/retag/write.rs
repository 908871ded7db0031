//! A file becomes one with other tags: the same rows in the same order, and compared with the old one before a
//! commit names it.

use std::collections::BTreeSet;
use std::path::Path;

use arrow_array::RecordBatch;
use situs_model::columns::names;

use super::super::Place;
use super::super::live::LiveFile;
use super::super::rewrite::{FACTS, READ, REPLACES, guard};
use super::super::source::{Columns, Input, survey};
use super::body::Retagging;
use super::look::{Judged, Look};
use super::tags::{self, Tag, WRITTEN, is_list};
use crate::encode::files::{self, Written};
use crate::encode::stream::Streamed;
use crate::error::Fault;
use crate::verify::sha256_of;
use crate::{durable, names as paths};

/// In the footer of a file whose rows were tagged again: the re-tagging that wrote it.
const RETAG: &str = "situs.retag";

/// A file that goes, and the one that holds its rows with other tags.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) path: String,
    pub(super) day: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) sha256: String,
    pub(super) written: Written,
}

/// What a file comes to.
pub(super) struct OfFile {
    pub(super) found: Retagging,
    /// `None` if nothing was to be written.
    pub(super) rewritten: Option<Rewritten>,
}

/// The columns of a file, the tags as dictionaries.
fn columns_of(path: &Path) -> Result<(Vec<Input>, Columns), Fault> {
    let (inputs, mut columns) = survey(vec![path.to_owned()], &READ)?;
    guard(&inputs, &mut columns);
    columns.as_words(&WRITTEN, is_list);
    Ok((inputs, columns))
}

/// Reads a file and counts what would become of its rows. With `writes`, an id, it is written again if a row's
/// tags change.
///
/// # Errors
/// If it cannot be read, has other rows than the log says, a row is of another zone (RES-1), or what was
/// written differs in more than tags. Nothing is left behind then.
pub(super) fn file(
    look: &mut Look<'_>,
    path: &str,
    live: &LiveFile,
    writes: Option<&str>,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<OfFile, Fault> {
    let place = look.place;
    let on_disk = place.folder.join(path);
    let day = live.day.clone().ok_or_else(|| {
        Fault::stop(format!("table `{}`: {path} is of no day, which Situs never writes", place.table))
    })?;
    let (inputs, columns) = columns_of(&on_disk)?;
    let rows: u64 = inputs.iter().map(|input| input.rows).sum();
    if let Some(told) = live.rows.filter(|told| *told != rows) {
        return Err(Fault::stop(format!(
            "table `{}`: {path} has {rows} rows, but the log says {told}",
            place.table
        )));
    }
    let in_table = paths::partition_folder(place.day(), &day);
    let mut output = match writes {
        Some(_) => Some(Streamed::create(&place.folder.join(&in_table), &columns.schema)?),
        None => None,
    };
    let mut found = Retagging { rows, ..Retagging::default() };
    for input in &inputs {
        input.read(&columns, |rows| {
            alive()?;
            let judged = look.batch(&on_disk, &day, &rows)?;
            found.looked += rows.num_rows() as u64;
            found.retagged += judged.retag.iter().filter(|retag| **retag).count() as u64;
            found.stays.merge(&judged.stays);
            for tag in &judged.tags {
                tag.count(&tag.old, &mut found.before);
                tag.count(&tag.new, &mut found.after);
            }
            match &mut output {
                Some(output) => output.write(&tagged(&rows, &judged)?),
                None => Ok(()),
            }
        })?;
    }
    let rewritten = match (output, writes) {
        // Its rows keep their tags after all: what was written goes with `output`.
        (Some(output), Some(id)) if found.retagged > 0 => {
            let facts = facts(place, &inputs, path, id, &found);
            let id = uuid::Uuid::now_v7().to_string();
            let sha256 = sha256_of(&on_disk).map_err(durable::FileError::new("read", &on_disk))?;
            let written = output.finish(&place.folder, &in_table, &day, &id, &facts)?;
            if let Err(fault) = compare(place, path, &written.fact.path, &found, look, alive) {
                files::discard(&place.folder, &[written]);
                return Err(fault);
            }
            Some(Rewritten { path: path.to_owned(), day, bytes: live.size, rows, sha256, written })
        }
        _ => None,
    };
    Ok(OfFile { found, rewritten })
}

/// The rows with their tags as they shall be.
fn tagged(rows: &RecordBatch, judged: &Judged) -> Result<RecordBatch, Fault> {
    let odd = || Fault::stop("rows with their tags cannot be put together");
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    for tag in &judged.tags {
        let at = schema.index_of(tag.name).map_err(|_| odd())?;
        columns[at] = tag.column(schema.field(at).data_type())?;
    }
    RecordBatch::try_new(schema, columns).map_err(|_| odd())
}

/// What the new file says of itself: as its rows are now, and which files it stands for.
fn facts(place: &Place, inputs: &[Input], path: &str, id: &str, found: &Retagging) -> Vec<(String, String)> {
    let mut replaces: Vec<&str> = Vec::new();
    let mut facts = vec![
        ("situs.zone".to_owned(), place.identity.zone.to_string()),
        ("situs.store".to_owned(), place.identity.store_id.clone()),
        (RETAG.to_owned(), id.to_owned()),
    ];
    let policies: BTreeSet<&str> = found.after.values(names::POLICY).map(|(policy, _)| policy).collect();
    for input in inputs {
        replaces.extend(input.facts[0].iter().flat_map(|names| names.lines()));
        for (key, value) in FACTS.iter().zip(&input.facts).skip(1) {
            let value = match *key {
                "situs.policy" => Some(policies.iter().copied().collect::<Vec<_>>().join(",")),
                _ => value.clone(),
            };
            facts.extend(value.map(|value| ((*key).to_owned(), value)));
        }
    }
    replaces.extend(path.rsplit('/').next());
    facts.push((REPLACES.to_owned(), replaces.join("\n")));
    facts
}

fn differs(place: &Place, path: &str, what: &str) -> Fault {
    Fault::stop(format!("table `{}`: what was written of {path} does not hold its rows: {what}", place.table))
}

/// Reads both files side by side. Row by row, in the same order, every column must be the same, bit for bit,
/// except the tags that are written; and these differ only in rows that have the new policy, as many as were
/// meant, and are those that were counted.
fn compare(
    place: &Place,
    old: &str,
    new: &str,
    found: &Retagging,
    look: &Look<'_>,
    alive: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (old_path, new_path) = (place.folder.join(old), place.folder.join(new));
    let (inputs, mut columns) = survey(vec![old_path, new_path], &[])?;
    columns.as_words(&WRITTEN, is_list);
    let [before, after] = &inputs[..] else { return Err(differs(place, old, "it cannot be read")) };
    let mut after = after.batches(&columns)?;
    let mut there: Option<RecordBatch> = None;
    let mut again = Retagging::default();
    for rows in before.batches(&columns)? {
        alive()?;
        let mut rows = rows?;
        while rows.num_rows() > 0 {
            let batch = match there.take().filter(|batch| batch.num_rows() > 0) {
                Some(batch) => batch,
                None => after.next().transpose()?.ok_or_else(|| differs(place, old, "rows are missing"))?,
            };
            let count = batch.num_rows().min(rows.num_rows());
            let (one, other) = (rows.slice(0, count), batch.slice(0, count));
            compare_slices(place, old, &one, &other, look, &mut again)?;
            there = Some(batch.slice(count, batch.num_rows() - count));
            rows = rows.slice(count, rows.num_rows() - count);
        }
    }
    if there.is_some_and(|batch| batch.num_rows() > 0) || after.next().is_some() {
        return Err(differs(place, old, "it has further rows"));
    }
    if (again.retagged, &again.before, &again.after) != (found.retagged, &found.before, &found.after) {
        return Err(differs(place, old, "its tags are others than were counted"));
    }
    Ok(())
}

fn compare_slices(
    place: &Place,
    path: &str,
    old: &RecordBatch,
    new: &RecordBatch,
    look: &Look<'_>,
    again: &mut Retagging,
) -> Result<(), Fault> {
    for (field, (one, other)) in old.schema_ref().fields().iter().zip(old.columns().iter().zip(new.columns()))
    {
        if !WRITTEN.contains(&field.name().as_str()) && one != other {
            return Err(differs(place, path, "a row is another one"));
        }
    }
    let mut tags: Vec<Tag> = tags::of_batch(old)?;
    for tag in &mut tags {
        let column = new.column_by_name(tag.name);
        tag.push_new(column.ok_or_else(|| differs(place, path, "a column of tags is missing"))?)?;
    }
    let policies = tags.iter().find(|tag| tag.name == names::POLICY);
    let today = Some(look.request.policy.as_str());
    for row in 0..old.num_rows() {
        if tags.iter().all(|tag| tag.old[row] == tag.new[row]) {
            continue;
        }
        let of_today =
            policies.is_some_and(|tag| tag.text(tag.new[row]) == today && tag.text(tag.old[row]) != today);
        if !of_today {
            return Err(differs(place, path, "a row has other tags and not the new policy"));
        }
        again.retagged += 1;
    }
    for tag in &tags {
        tag.count(&tag.old, &mut again.before);
        tag.count(&tag.new, &mut again.after);
    }
    Ok(())
}
