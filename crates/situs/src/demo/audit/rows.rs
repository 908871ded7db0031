//! What the audit reads of the tables, as SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::DataType;
use situs_model::ZoneId;
use situs_query::{Permit, QueryError, Session, TableInfo};

use super::{Lane, NotAssessed};

/// Rows that one statement groups, about: with their keys they take some 200 bytes each, and a statement may
/// hold 2 GiB.
pub(super) const ROWS_AT_A_TIME: u64 = 2_000_000;

/// The tables as the audit asks for them.
pub(super) struct Rows<'a> {
    session: &'a Session,
    home: &'a ZoneId,
    tables: Vec<Table>,
}

/// A table.
struct Table {
    zone: ZoneId,
    /// Its name with its zone, quoted for a statement.
    name: String,
    kind: Kind,
    rows: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipeline,
    Quarantine,
    Receipts,
}

/// What the stores hold of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Distinct messages in zone tables and quarantine.
    pub(super) messages: u64,
    /// Rows beyond the first of each (offset, row).
    pub(super) repeated: u64,
    /// Messages that are in a zone's table and in quarantine.
    pub(super) in_both: u64,
    /// The first and the last offset.
    pub(super) offsets: Option<(i64, i64)>,
}

impl Place {
    /// How often EO-4 is broken.
    pub(super) fn doubles(&self) -> u64 {
        self.repeated + self.in_both
    }
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) without_rows: u64,
}

/// Rows whose tag is not what their place demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tags {
    /// Rows in a zone's tables that are tagged for another zone.
    pub(super) foreign: u64,
    /// Rows in a zone's tables that are tagged for none.
    pub(super) untagged: u64,
    /// Messages in the quarantine of a store that is not the home's; a table without any counts as one.
    pub(super) quarantined_abroad: u64,
}

impl<'a> Rows<'a> {
    /// The tables of a session.
    pub(super) async fn new(session: &'a Session, home: &'a ZoneId) -> Result<Self, NotAssessed> {
        let tables = session.describe().await.map_err(failed)?;
        Ok(Self { session, home, tables: tables.into_iter().map(Table::new).collect() })
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(move |table| table.kind == kind)
    }

    async fn ask(&self, statement: &str) -> Result<Vec<RecordBatch>, NotAssessed> {
        Ok(self.session.sql(statement).await.map_err(failed)?.batches)
    }

    /// What the zone tables and quarantine hold of each partition; `highest` is about the number of offsets of
    /// the longest, and `rows_at_a_time` is usually [`ROWS_AT_A_TIME`].
    ///
    /// All tables are grouped together, so that a row that is once in each of two zones is seen too. It is done
    /// by windows of offsets, which bounds the memory; statistics spare most files of the other windows.
    pub(super) async fn places(
        &self,
        highest: u64,
        rows_at_a_time: u64,
    ) -> Result<BTreeMap<Lane, Place>, NotAssessed> {
        let mut places: BTreeMap<Lane, Place> = BTreeMap::new();
        let rows: u64 =
            self.of(Kind::Pipeline).chain(self.of(Kind::Quarantine)).map(|table| table.rows).sum();
        let windows = rows / rows_at_a_time.max(1) + 1;
        let width = highest / windows + 1;
        for window in 0..windows {
            let from = (window > 0).then_some(window * width);
            let to = (window + 1 < windows).then_some((window + 1) * width);
            let pieces: Vec<String> = self.tables.iter().filter_map(|table| table.keys(from, to)).collect();
            if pieces.is_empty() {
                break;
            }
            // A quarantined message has the row -1.
            let statement = format!(
                "select t, p, count(*), sum(extra), sum(case when stored > 0 and quarantined > 0 then 1 else 0 end), \
                 min(o), max(o) from (\
                 select t, p, o, sum(n) - count(*) as extra, max(case when r >= 0 then 1 else 0 end) as stored, \
                 max(case when r < 0 then 1 else 0 end) as quarantined from (\
                 select t, p, o, r, count(*) as n from ({}) as keys group by t, p, o, r) as of_row \
                 group by t, p, o) as of_message group by t, p",
                pieces.join(" union all ")
            );
            for batch in self.ask(&statement).await? {
                let topics = texts(&batch, 0)?;
                let numbers: Vec<Vec<i64>> = (1..7).map(|i| integers(&batch, i)).collect::<Result<_, _>>()?;
                for (row, topic) in topics.into_iter().enumerate() {
                    let number = |column: usize| numbers[column][row];
                    let lane = (topic, i32::try_from(number(0)).map_err(|_| NOT_UNDERSTOOD)?);
                    let place = places.entry(lane).or_default();
                    place.messages += count(number(1))?;
                    place.repeated += count(number(2))?;
                    place.in_both += count(number(3))?;
                    let (first, last) = place.offsets.unwrap_or((number(4), number(5)));
                    place.offsets = Some((first.min(number(4)), last.max(number(5))));
                }
            }
        }
        Ok(places)
    }

    /// The receipts of each partition, of all stores.
    pub(super) async fn runs(&self) -> Result<BTreeMap<Lane, Vec<Run>>, NotAssessed> {
        let mut runs: BTreeMap<Lane, Vec<Run>> = BTreeMap::new();
        for table in self.of(Kind::Receipts) {
            let statement = format!(
                "select topic, \"partition\", start_offset, end_offset, without_rows from {}",
                table.name
            );
            for batch in self.ask(&statement).await? {
                let topics = texts(&batch, 0)?;
                let numbers: Vec<Vec<i64>> = (1..5).map(|i| integers(&batch, i)).collect::<Result<_, _>>()?;
                for (row, topic) in topics.into_iter().enumerate() {
                    let number = |column: usize| numbers[column][row];
                    let lane = (topic, i32::try_from(number(0)).map_err(|_| NOT_UNDERSTOOD)?);
                    let run = Run { start: number(1), end: number(2), without_rows: count(number(3))? };
                    runs.entry(lane).or_default().push(run);
                }
            }
        }
        Ok(runs)
    }

    /// The tags of the rows in zone tables, and quarantine where it should not be.
    pub(super) async fn tags(&self) -> Result<Tags, NotAssessed> {
        let mut tags = Tags::default();
        for table in self.of(Kind::Pipeline) {
            let statement = format!(
                "select count(*) filter (where _zone <> '{}'), count(*) filter (where _zone is null) from {}",
                table.zone, table.name
            );
            for batch in self.ask(&statement).await? {
                tags.foreign += count(integers(&batch, 0)?.iter().sum())?;
                tags.untagged += count(integers(&batch, 1)?.iter().sum())?;
            }
        }
        let abroad = self.of(Kind::Quarantine).filter(|table| table.zone != *self.home);
        tags.quarantined_abroad = abroad.map(|table| table.rows.max(1)).sum();
        Ok(tags)
    }

    /// The policy versions that tables, quarantine and receipts name.
    pub(super) async fn policies(&self) -> Result<BTreeSet<String>, NotAssessed> {
        let mut found = BTreeSet::new();
        for table in &self.tables {
            let column = if table.kind == Kind::Pipeline { "_policy" } else { "policy" };
            let statement = format!("select distinct {column} from {}", table.name);
            for batch in self.ask(&statement).await? {
                found.extend(texts(&batch, 0)?);
            }
        }
        Ok(found)
    }

    /// RES-6: tables of other zones that a session permitted one zone's store can resolve.
    pub(super) async fn resolved_outside(
        &self,
        stores: &BTreeMap<ZoneId, PathBuf>,
    ) -> Result<u64, NotAssessed> {
        if !self.tables.iter().any(|table| stores.keys().any(|zone| *zone != table.zone)) {
            return Err(NotAssessed("there is no table outside of a permit to ask for"));
        }
        let mut resolved = 0;
        for (zone, root) in stores {
            let session = Session::open(&Permit::new([root.clone()])).await.map_err(failed)?;
            for table in self.tables.iter().filter(|table| table.zone != *zone) {
                match session.sql(&format!("select count(*) from {}", table.name)).await {
                    Ok(_) => resolved += 1,
                    Err(QueryError::UnknownTable { .. }) => {}
                    // It was refused for another reason, which does not show that it is unknown.
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(resolved)
    }
}

impl Table {
    fn new(info: TableInfo) -> Self {
        let name = info.name.rsplit('.').next().unwrap_or(&info.name);
        let kind = match name {
            "quarantine" => Kind::Quarantine,
            "receipts" => Kind::Receipts,
            _ => Kind::Pipeline,
        };
        let name = format!("\"{}\".\"{name}\"", info.zone.schema_name());
        Self { zone: info.zone, name, kind, rows: info.rows.unwrap_or(0) }
    }

    /// The statement that gives topic, partition, offset and row of everything in a window of offsets; `None`
    /// for receipts.
    fn keys(&self, from: Option<u64>, to: Option<u64>) -> Option<String> {
        let (columns, offset) = match self.kind {
            Kind::Pipeline => ("_topic as t, _partition as p, _offset as o, _row as r", "_offset"),
            Kind::Quarantine => ("topic as t, \"partition\" as p, \"offset\" as o, -1 as r", "\"offset\""),
            Kind::Receipts => return None,
        };
        let bounds: Vec<String> = from
            .map(|from| format!("{offset} >= {from}"))
            .into_iter()
            .chain(to.map(|to| format!("{offset} < {to}")))
            .collect();
        let condition =
            if bounds.is_empty() { String::new() } else { format!(" where {}", bounds.join(" and ")) };
        Some(format!("select {columns} from {}{condition}", self.name))
    }
}

const NOT_UNDERSTOOD: NotAssessed = NotAssessed("an answer of the stores is not of the expected kind");

/// The error may quote a value, so nothing of it is kept.
fn failed(_: QueryError) -> NotAssessed {
    NotAssessed("a statement over the stores failed")
}

fn count(number: i64) -> Result<u64, NotAssessed> {
    u64::try_from(number).map_err(|_| NOT_UNDERSTOOD)
}

/// A column of whole numbers; null is refused.
fn integers(batch: &RecordBatch, column: usize) -> Result<Vec<i64>, NotAssessed> {
    let cast = batch.columns().get(column).and_then(|array| arrow_cast::cast(array, &DataType::Int64).ok());
    let cast = cast.filter(|array| array.null_count() == 0).ok_or(NOT_UNDERSTOOD)?;
    Ok(cast.as_primitive_opt::<Int64Type>().ok_or(NOT_UNDERSTOOD)?.values().to_vec())
}

/// A column of texts; null is the empty text.
fn texts(batch: &RecordBatch, column: usize) -> Result<Vec<String>, NotAssessed> {
    let cast = batch.columns().get(column).and_then(|array| arrow_cast::cast(array, &DataType::Utf8).ok());
    let cast = cast.ok_or(NOT_UNDERSTOOD)?;
    let texts = cast.as_string_opt::<i32>().ok_or(NOT_UNDERSTOOD)?;
    Ok(texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}
