//! What a deletion will take: found by reading every table that the criterion may mean, decided before
//! anything is changed, and written down so that whoever finds it can finish it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use situs_model::columns::names::{CLASS, ZONE};
use situs_model::{Age, StoreIdentity, TableName};

use super::super::Place;
use super::super::live::Live;
use super::coordinates::{CoordinatesFile, Writer};
use super::criterion::Criterion;
use super::found::{Found, InTheWay};
use super::holds::{Floor, Hold, Refusal};
use super::keys::{self, Key, KeySet, Keys};
use super::meant;
use crate::durable;
use crate::error::Fault;
use crate::key::ReceiptKey;
use crate::scan::{self, Rows};
use crate::{chain, names};

/// The column of devices where no schema says another.
const DEVICE: &str = "device";

/// A deletion as it is asked for.
#[derive(Debug, Clone)]
pub struct DeletionRequest {
    /// Its id, the same in each store of the site.
    pub id: String,
    /// Which rows.
    pub criterion: Criterion,
    /// Who is said to have asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Version of the policy that is in force.
    pub policy: String,
    /// The settled offset of each partition. Rows from there on are not final and stay.
    pub settled: BTreeMap<(String, i32), i64>,
    /// The column that holds the device, by table, where it is not `device`.
    pub device_columns: BTreeMap<TableName, String>,
    /// The holds on this store.
    pub holds: Vec<Hold>,
    /// How long rows are kept at least.
    pub floors: Vec<Floor>,
    /// Why rows are deleted that are younger than they are kept at least.
    pub despite_minimum: Option<String>,
    /// Whether rows under a hold are left alone and counted, in place of a refusal.
    pub leave_held: bool,
    /// How long receipts and ledgers are kept at least. Nothing deletes them, so it is what a refusal says.
    pub ledgers_keep: Age,
}

impl DeletionRequest {
    pub(super) fn device_column(&self, table: &TableName) -> &str {
        self.device_columns.get(table).map_or(DEVICE, String::as_str)
    }
}

/// What a deletion takes from a store, before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The deletion.
    pub id: String,
    /// The zone.
    pub zone: String,
    /// Which rows.
    pub criterion: Criterion,
    /// Who is said to have asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Version of the policy.
    pub policy: String,
    /// When it was decided, µs since the epoch.
    pub at_us: i64,
    /// That rows are younger than they are kept at least, and why they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub despite_minimum: Option<Despite>,
    /// The holds of which it was decided with knowledge.
    #[serde(default)]
    pub holds: Vec<String>,
    /// The file that names every row.
    pub coordinates: CoordinatesFile,
    /// The tables.
    pub tables: Vec<TablePlan>,
    /// Who wrote it, where receipts are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<PlanSignature>,
}

/// The signature of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSignature {
    /// The id of the key.
    pub key: String,
    /// The signature, in hexadecimal.
    pub signature: String,
}

impl Plan {
    /// What is signed: the plan as JSON without its signature, after a line that says of which store it is a plan.
    /// It is longer than a hash, so it is never what a receipt's signature is of.
    fn signed_bytes(&self, store: &StoreIdentity) -> Result<Vec<u8>, Fault> {
        let bare = Self { signed: None, ..self.clone() };
        let mut bytes = format!("situs deletion plan of {store}\n").into_bytes();
        serde_json::to_writer(&mut bytes, &bare).map_err(|_| Fault::stop("a plan has no JSON form"))?;
        Ok(bytes)
    }

    /// Refuses a plan that this store has not made: one of another zone, or, where there is a key, one that is
    /// not signed by it. Whoever may write the folder could have written it.
    pub(super) fn expect_own(&self, store: &StoreIdentity, key: Option<&ReceiptKey>) -> Result<(), Fault> {
        let refuse = |what: &str| {
            let id = &self.id;
            Err(Fault::stop(format!(
                "the plan of deletion {id} {what}, and is not carried out; `situs store delete --abandon {id}` drops it if nothing was done by it"
            )))
        };
        if self.zone != store.zone.as_str() {
            return refuse("is of another zone");
        }
        let Some(key) = key else { return Ok(()) };
        let Some(signed) = &self.signed else { return refuse("is not signed") };
        if signed.key != key.public().id() {
            return refuse(&format!("is signed by another key than {}", key.public().id()));
        }
        let bytes = self.signed_bytes(store)?;
        match chain::unhex::<64>(&signed.signature) {
            Some(signature) if key.public().verifies(&bytes, &signature) => Ok(()),
            _ => refuse("has a signature that is not that of its key"),
        }
    }

    /// Refuses coordinates that are not those of the plan: each row of a table and partition that it lists, and as
    /// many.
    pub(super) fn expect_coordinates(&self, root: &Path) -> Result<(), Fault> {
        let mut counts: Vec<(String, String, i32, u64)> = Vec::new();
        let mut last = 0;
        self.coordinates.read(root, |doomed| {
            let key = &doomed.key;
            let is = |of: &(String, String, i32, u64)| {
                of.2 == key.partition && of.1 == key.topic && of.0 == doomed.table
            };
            if !counts.get(last).is_some_and(is) {
                last = counts.iter().position(is).unwrap_or_else(|| {
                    counts.push((doomed.table.to_owned(), key.topic.to_owned(), key.partition, 0));
                    counts.len() - 1
                });
            }
            counts[last].3 += 1;
            Ok(())
        })?;
        let mut planned = Vec::new();
        for table in &self.tables {
            let of =
                |one: &PartitionPlan| (table.table.clone(), one.topic.clone(), one.partition, one.deleted);
            planned.extend(table.partitions.iter().map(of));
        }
        counts.sort();
        planned.sort();
        if counts != planned {
            return Err(Fault::stop(format!(
                "deletion {}: its coordinates name other rows than its plan",
                self.id
            )));
        }
        Ok(())
    }
}

/// Why rows go that are younger than they are kept at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Despite {
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: u64,
}

/// What a deletion takes from a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// The table.
    pub table: String,
    /// The version that was read.
    pub version: u64,
    /// The column of devices.
    pub device_column: String,
    /// The days of the files that hold the rows; null are rows of no day.
    pub days: Vec<Option<String>>,
    /// The partitions that lose rows.
    pub partitions: Vec<PartitionPlan>,
    /// Rows that are meant and stay, since they are not settled.
    pub unsettled: u64,
    /// Rows that are meant and stay, since they are under a hold.
    #[serde(default)]
    pub held: u64,
}

impl TablePlan {
    /// Rows that go.
    pub fn deleted(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.deleted).sum()
    }
}

/// What a partition loses in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPlan {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The settled offset. Rows from there on were not counted.
    pub settled: i64,
    /// Rows, or messages of quarantine, before.
    pub before: u64,
    /// Those that go.
    pub deleted: u64,
}

/// What came of asking for a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// No row is meant; this many are that are not settled yet.
    Nothing {
        /// Rows that are meant and not settled.
        unsettled: u64,
        /// Rows that are meant and under a hold, where these are left alone.
        held: u64,
    },
    /// It would take rows that must stay.
    Refused(Vec<Refusal>),
    /// It takes these.
    Planned(Box<Plan>),
}

/// Rows of a partition, counted.
#[derive(Debug)]
struct Tally {
    topic: String,
    partition: i32,
    settled: Option<i64>,
    before: u64,
    deleted: u64,
}

/// Tallies of the partitions of a table. Neighbours are mostly of the same.
#[derive(Debug)]
struct Tallies<'a> {
    settled: &'a BTreeMap<(String, i32), i64>,
    all: Vec<Tally>,
    last: usize,
}

impl Tallies<'_> {
    fn of(&mut self, key: &Key<'_>) -> &mut Tally {
        let is = |tally: &Tally| tally.partition == key.partition && tally.topic == key.topic;
        if !self.all.get(self.last).is_some_and(is) {
            self.last = self.all.iter().position(is).unwrap_or_else(|| {
                let settled = self.settled.get(&(key.topic.to_owned(), key.partition)).copied();
                let topic = key.topic.to_owned();
                self.all.push(Tally { topic, partition: key.partition, settled, before: 0, deleted: 0 });
                self.all.len() - 1
            });
        }
        &mut self.all[self.last]
    }
}

/// Decides what a deletion takes. With `writes` the coordinates are written down, and [`write`] is for the plan;
/// else they are only counted, and the plan names a file that is not there.
///
/// # Errors
/// If a table cannot be read, the coordinates cannot be written, or what is meant cannot be deleted: better here
/// than when there is a plan that must be carried out.
pub(super) fn decide(
    root: &Path,
    places: &[Place],
    request: &DeletionRequest,
    writes: bool,
    mut alive: impl FnMut() -> Result<(), Fault>,
) -> Result<Decided, Fault> {
    let quarantine = TableName::quarantine();
    let ledger = |table: &&TableName| table.is_reserved() && **table != quarantine;
    if let Some(table) = request.criterion.tables.iter().find(ledger) {
        return Err(Fault::stop(format!(
            "table `{table}` is kept for at least {}, and nothing deletes its rows",
            request.ledgers_keep
        )));
    }
    let mut writer = writes.then(|| Writer::create(root)).transpose()?;
    let mut in_the_way = InTheWay::default();
    let (mut tables, mut unsettled, mut held, mut rows) = (Vec::new(), 0, 0, 0);
    for place in places {
        let meant = request.criterion.may_mean_table(&place.table);
        if !meant {
            continue;
        }
        let Some(live) = Live::load(&place.folder, place.day())? else { continue };
        let found = table(place, &live, request, writer.as_mut(), &mut in_the_way, &mut alive)?;
        unsettled += found.unsettled;
        held += found.held;
        rows += found.deleted();
        if !found.partitions.is_empty() {
            tables.push(found);
        }
    }
    let mut refusals: Vec<Refusal> = Vec::new();
    for (id, rows) in &in_the_way.holds {
        let hold = request.holds.iter().find(|hold| hold.id == *id);
        refusals.extend(hold.map(|hold| Refusal::Held { hold: hold.clone(), rows: *rows }));
    }
    if request.despite_minimum.is_none() {
        let floor = |(at, rows): (&usize, &u64)| Refusal::TooYoung {
            floor: request.floors[*at].clone(),
            rows: *rows,
        };
        refusals.extend(in_the_way.floors.iter().map(floor));
    }
    if !refusals.is_empty() {
        return Ok(Decided::Refused(refusals));
    }
    if tables.is_empty() {
        return Ok(Decided::Nothing { unsettled, held });
    }
    let coordinates = match writer {
        Some(writer) => writer.finish(root, &request.id)?,
        None => CoordinatesFile { path: String::new(), rows, bytes: 0, sha256: String::new() },
    };
    let young = in_the_way.floors.values().sum();
    let despite = request.despite_minimum.clone().filter(|_| young > 0);
    let plan = Plan {
        id: request.id.clone(),
        zone: places.first().map(|place| place.identity.zone.to_string()).unwrap_or_default(),
        criterion: request.criterion.clone(),
        by: request.by.clone(),
        reason: request.reason.clone(),
        policy: request.policy.clone(),
        at_us: crate::columns::now_us(),
        despite_minimum: despite.map(|reason| Despite { reason, rows: young }),
        holds: request.holds.iter().map(|hold| hold.id.clone()).collect(),
        coordinates,
        tables,
        signed: None,
    };
    Ok(Decided::Planned(Box::new(plan)))
}

/// Signs a plan and writes it down: from then on it must be carried out or dropped.
pub(super) fn write(
    root: &Path,
    store: &StoreIdentity,
    plan: &mut Plan,
    key: Option<&ReceiptKey>,
) -> Result<(), Fault> {
    if let Some(key) = key {
        let signature = key.sign(&plan.signed_bytes(store)?);
        let key = key.public().id().to_owned();
        plan.signed = Some(PlanSignature { key, signature: chain::hex(&signature) });
    }
    let text = serde_json::to_vec(&plan).map_err(|_| Fault::stop("a plan has no JSON form"))?;
    let path = names::deletion_plan(root, &plan.id);
    if !durable::create(&path, &text)? {
        return Err(Fault::stop(format!("{} is there already", path.display())));
    }
    Ok(())
}

/// Reads a table again, of which these rows go: what would stop a deletion that has begun stops it here.
/// Rows are removed by their coordinates, so all rows that have them must be those that are meant.
fn check(
    place: &Place,
    live: &Live,
    set: &mut KeySet,
    deleted: u64,
    alive: &mut impl FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let refuse = |what: String| Err(Fault::stop(format!("table `{}`: {what}", place.table)));
    let mut found = 0;
    for (path, file) in &live.files {
        alive()?;
        let on_disk = place.folder.join(path);
        let further: &[&str] = if place.shape.zoned { &[ZONE] } else { &[] };
        let (mut rows, mut going) = (0, 0);
        let mut foreign = false;
        for batch in keys::open(&on_disk, &place.shape, further)? {
            let batch = batch.map_err(|_| scan::unreadable(&on_disk))?;
            let keys = Keys::of(&on_disk, &batch, &place.shape)?;
            rows += keys.len() as u64;
            going += (0..keys.len()).filter(|row| set.contains(&keys.at(*row))).count() as u64;
            if place.shape.zoned {
                let zones = Rows::new(&on_disk, &batch).texts(ZONE)?;
                let zone = place.identity.zone.as_str();
                foreign |= (0..keys.len()).any(|row| scan::text(&zones, row) != Some(zone));
            }
        }
        found += going;
        if let Some(told) = file.rows.filter(|told| *told != rows) {
            return refuse(format!("{path} has {rows} rows, but the log says {told}"));
        }
        if going > 0 && foreign {
            return refuse(format!("{path} has a row of another zone: its rows cannot be deleted"));
        }
        if going > 0 && file.day.is_none() {
            return refuse(format!("{path} is of no day, which Situs never writes"));
        }
    }
    if found != deleted {
        return refuse(format!(
            "{deleted} rows are meant, but {found} have their coordinates (as when the topic was read under two aliases of clusters), so it cannot be told which would go"
        ));
    }
    Ok(())
}

/// Reads a table.
fn table(
    place: &Place,
    live: &Live,
    request: &DeletionRequest,
    mut writer: Option<&mut Writer>,
    in_the_way: &mut InTheWay,
    alive: &mut impl FnMut() -> Result<(), Fault>,
) -> Result<TablePlan, Fault> {
    let device_column = request.device_column(&place.table);
    let criterion = &request.criterion;
    let holds: Vec<&Hold> =
        request.holds.iter().filter(|hold| hold.criterion.may_mean_table(&place.table)).collect();
    let mut further: BTreeSet<&str> = criterion.columns(device_column).into_iter().collect();
    for hold in &holds {
        further.extend(hold.criterion.columns(device_column));
    }
    let floors: Vec<(usize, &Floor)> =
        request.floors.iter().enumerate().filter(|(_, floor)| floor.is_of(&place.table)).collect();
    further.extend(floors.iter().any(|(_, floor)| floor.class.is_some()).then_some(CLASS));
    let quarantine = place.table == TableName::quarantine();
    if quarantine {
        further.extend(["reason", "rows"]);
    }
    let further: Vec<&str> = further.into_iter().collect();
    let mut tallies = Tallies { settled: &request.settled, all: Vec::new(), last: 0 };
    let (mut days, mut unsettled, mut held) = (BTreeSet::new(), 0, 0);
    let mut set = KeySet::default();
    meant::each_batch(place, live, criterion, device_column, &further, alive, &mut |batch| {
        let meant::Batch { batch, rows, keys, meant, day, of_day } = batch;
        let mut goes = vec![false; keys.len()];
        for (row, meant) in meant.iter().enumerate() {
            let key = keys.at(row);
            let tally = tallies.of(&key);
            if tally.settled.is_none_or(|settled| key.offset >= settled) {
                unsettled += u64::from(*meant);
                continue;
            }
            tally.before += 1;
            goes[row] = *meant;
        }
        if !goes.contains(&true) {
            return Ok(());
        }
        let mut found = Found { batch, rows, keys, goes, day };
        if request.leave_held {
            held += found.leave_held(&holds, device_column, &place.shape)?;
        } else {
            found.note_holds(&holds, device_column, &place.shape, in_the_way)?;
        }
        for row in found.going() {
            let key = keys.at(row);
            tallies.of(&key).deleted += 1;
            if set.insert(&key) {
                return Err(Fault::stop(format!(
                    "table `{}`: two rows are of {}, row {}, so it cannot be told which would go",
                    place.table,
                    key.record(),
                    key.row
                )));
            }
        }
        if found.going().next().is_none() {
            return Ok(());
        }
        days.insert(of_day.map(str::to_owned));
        found.note_floors(&floors, in_the_way)?;
        match writer.as_deref_mut() {
            Some(writer) => found.write(&place.table, quarantine, writer),
            None => Ok(()),
        }
    })?;
    let deleted = set.len();
    if deleted > 0 {
        check(place, live, &mut set, deleted, alive)?;
    }
    let partitions = tallies.all.into_iter().filter(|tally| tally.deleted > 0).map(|tally| PartitionPlan {
        topic: tally.topic,
        partition: tally.partition,
        settled: tally.settled.unwrap_or_default(),
        before: tally.before,
        deleted: tally.deleted,
    });
    let mut partitions: Vec<PartitionPlan> = partitions.collect();
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(TablePlan {
        table: place.table.to_string(),
        version: live.version,
        device_column: device_column.to_owned(),
        days: days.into_iter().collect(),
        partitions,
        unsettled,
        held,
    })
}

/// The ids of the plans in a store, whatever these say.
pub(crate) fn ids(root: &Path) -> Result<Vec<String>, Fault> {
    let names = durable::list(&names::deletions(root))?;
    let plans = names.iter().filter_map(|name| names::deletion_of(name).filter(|(_, plan)| *plan));
    Ok(plans.map(|(id, _)| id.to_owned()).collect())
}

/// The plans of deletions that were begun in a store, in the order of their ids.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn unfinished(root: &Path) -> Result<Vec<Plan>, Fault> {
    let mut plans = Vec::new();
    for name in durable::list(&names::deletions(root))? {
        let Some((id, true)) = names::deletion_of(&name) else { continue };
        let path = names::deletion_plan(root, id);
        let Some(bytes) = durable::read(&path)? else { continue };
        let plan: Plan = serde_json::from_slice(&bytes)
            .map_err(|_| {
            Fault::stop(format!(
                "{} is no plan of a deletion; `situs store delete --abandon {id}` drops it if nothing was done by it",
                path.display()
            ))
        })?;
        if plan.id != id {
            return Err(Fault::stop(format!("{} is the plan of another deletion", path.display())));
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// Takes the plan of a deletion away, once the ledger tells of it.
pub(crate) fn forget(root: &Path, id: &str) -> Result<(), Fault> {
    durable::remove(&names::deletion_plan(root, id))?;
    durable::sync_folder(&names::deletions(root))?;
    Ok(())
}
