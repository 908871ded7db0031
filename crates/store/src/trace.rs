//! Where the rows of a source lie, and what they feed by their tags.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use situs_model::TableName;
use situs_model::columns::names::{MARKETS, MODELS, SITE};
use situs_model::store::StoreError;

use crate::error::Fault;
use crate::maintain::delete::{Criterion, keys};
use crate::maintain::{Place, Shape};
use crate::names;
use crate::reader::StoreReader;
use crate::scan::{self, Rows};

/// Rows of a table that a criterion means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    /// The version of the table.
    pub version: u64,
    /// The files that hold some, in the order of their paths.
    pub files: Vec<TracedFile>,
    /// Rows by topic and partition, with their smallest and greatest offset.
    pub partitions: BTreeMap<(String, i32), (u64, i64, i64)>,
    /// Rows by `_site`; empty text is null.
    pub sites: BTreeMap<String, u64>,
    /// Rows by each model in `_models`.
    pub models: BTreeMap<String, u64>,
    /// Rows by each jurisdiction in `_markets`.
    pub markets: BTreeMap<String, u64>,
}

impl Traced {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// A file that holds rows which are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedFile {
    /// Its path, relative to the table.
    pub path: String,
    /// Its day; `None` for rows of no day.
    pub day: Option<String>,
    /// How many.
    pub rows: u64,
}

impl StoreReader {
    /// Looks for the rows that a criterion means in a table. `device_column` is the column of devices; none is
    /// `device`. Reads the coordinates and tags of every row. No table gives no rows.
    ///
    /// # Errors
    /// If the table's log or one of its files cannot be read.
    pub async fn trace(
        &self,
        table: &TableName,
        criterion: &Criterion,
        device_column: Option<&str>,
    ) -> Result<Traced, StoreError> {
        self.try_trace(table, criterion, device_column.unwrap_or("device"))
            .await
            .map_err(|fault| fault.at(self.identity()))
    }

    async fn try_trace(
        &self,
        table: &TableName,
        criterion: &Criterion,
        device_column: &str,
    ) -> Result<Traced, Fault> {
        if !criterion.may_mean_table(table) || !self.has_table(table)? {
            return Ok(Traced::default());
        }
        let snapshot = self.read(table).await?;
        let shape = Place::new(self.root(), self.identity(), table).shape_of_messages();
        let folder = names::table(self.root(), table);
        let (criterion, device_column) = (criterion.clone(), device_column.to_owned());
        tokio::task::spawn_blocking(move || {
            let mut traced = Traced { version: snapshot.version, ..Traced::default() };
            let mut columns = keys::columns(&shape);
            columns.extend(criterion.columns(&device_column));
            columns.extend([SITE, MODELS, MARKETS]);
            let may = |day| criterion.may_mean_day(day);
            scan::survey(&folder, &snapshot.files, &columns, may, |surveyed, batch| {
                let rows = take_in(&mut traced, surveyed.path, batch, &shape, &criterion, &device_column)?;
                match traced.files.last_mut().filter(|last| last.path == surveyed.file.path) {
                    Some(last) => last.rows += rows,
                    None if rows > 0 => traced.files.push(TracedFile {
                        path: surveyed.file.path.clone(),
                        day: surveyed.day.map(str::to_owned),
                        rows,
                    }),
                    None => {}
                }
                Ok(())
            })?;
            Ok(traced)
        })
        .await?
    }
}

/// Takes the rows of a batch in that are meant; how many they are.
fn take_in(
    traced: &mut Traced,
    path: &Path,
    batch: &RecordBatch,
    shape: &Shape,
    criterion: &Criterion,
    device_column: &str,
) -> Result<u64, Fault> {
    let rows = Rows::new(path, batch);
    let keys = keys::Keys::of(path, batch, shape)?;
    let meant = criterion.means(batch, &rows, &keys, device_column, shape)?;
    let sites = batch.column_by_name(SITE).map(|_| rows.texts(SITE)).transpose()?;
    for (row, _) in meant.iter().enumerate().filter(|(_, meant)| **meant) {
        let key = keys.at(row);
        let seen =
            traced.partitions.entry((key.topic.to_owned(), key.partition)).or_insert((0, i64::MAX, i64::MIN));
        *seen = (seen.0 + 1, seen.1.min(key.offset), seen.2.max(key.offset));
        if let Some(sites) = &sites {
            *traced.sites.entry(scan::text(sites, row).unwrap_or_default().to_owned()).or_default() += 1;
        }
        count_words(batch, MODELS, row, &mut traced.models);
        count_words(batch, MARKETS, row, &mut traced.markets);
    }
    Ok(meant.iter().filter(|meant| **meant).count() as u64)
}

/// Counts each text of a row's list.
fn count_words(batch: &RecordBatch, column: &str, row: usize, counts: &mut BTreeMap<String, u64>) {
    let Some(lists) = batch.column_by_name(column).and_then(|column| column.as_list_opt::<i32>()) else {
        return;
    };
    if lists.is_null(row) {
        return;
    }
    let words = lists.value(row);
    for word in words.as_string_opt::<i32>().into_iter().flatten().flatten() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
}
