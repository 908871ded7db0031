//! A table's rows, each with whether a criterion means it: read before a deletion, to plan it, and after it, to
//! prove it.

use arrow_array::RecordBatch;
use situs_model::Date;

use super::super::Place;
use super::super::live::Live;
use super::criterion::Criterion;
use super::keys::{self, Keys};
use crate::error::Fault;
use crate::reader;
use crate::scan::{self, Rows};

/// Rows of a file.
pub(super) struct Batch<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) rows: &'a Rows<'a>,
    pub(super) keys: &'a Keys,
    /// Whether the criterion means each.
    pub(super) meant: Vec<bool>,
    /// The day of the file.
    pub(super) day: Option<Date>,
    /// The same as the log has it.
    pub(super) of_day: Option<&'a str>,
}

/// Reads the coordinates of every row, and of days that the criterion may mean the `further` columns.
///
/// # Errors
/// Stops if a file lies outside of the table or cannot be understood; what `alive` and `each` say.
pub(super) fn each_batch(
    place: &Place,
    live: &Live,
    criterion: &Criterion,
    device_column: &str,
    further: &[&str],
    alive: &mut dyn FnMut() -> Result<(), Fault>,
    each: &mut dyn FnMut(Batch<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for (path, file) in &live.files {
        if !reader::is_inside(path) {
            return Err(Fault::stop(format!("table `{}` names a file outside of its root", place.table)));
        }
        alive()?;
        let of_day = file.day.as_deref();
        let day: Option<Date> = of_day.and_then(|day| day.parse().ok());
        let may = criterion.may_mean_day(day);
        let on_disk = place.folder.join(path);
        for batch in keys::open(&on_disk, &place.shape, if may { further } else { &[] })? {
            let batch = batch.map_err(|_| scan::unreadable(&on_disk))?;
            let keys = Keys::of(&on_disk, &batch, &place.shape)?;
            let rows = Rows::new(&on_disk, &batch);
            let meant = match may {
                true => criterion.means(&batch, &rows, &keys, device_column, &place.shape)?,
                false => vec![false; keys.len()],
            };
            each(Batch { batch: &batch, rows: &rows, keys: &keys, meant, day, of_day })?;
        }
    }
    Ok(())
}
