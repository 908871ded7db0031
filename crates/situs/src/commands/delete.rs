//! `situs store delete` and `situs store retain`.

mod done;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use situs_model::store::ZoneStore as _;
use situs_model::{Class, Coordinates, Date, TableName, ZoneId};
use situs_observe::Metrics;
use situs_policy::Retention;
use situs_store::{
    Abandoned, Criterion, DeletionRequest, DeltaStore, Floor, Maintenance, StoreReader, Vacuum,
};

use self::done::Done;
use super::Usage;
use crate::catalog::Catalog;
use crate::cli::{CriterionArgs, DeleteArgs, RetainArgs};
use crate::site::Site;
use crate::upkeep;

/// A site with everything that decides what is deleted.
pub(super) struct Home {
    pub(super) site: Site,
    pub(super) catalog: Catalog,
    metrics: Arc<Metrics>,
}

impl Home {
    pub(super) fn load(config: &std::path::Path) -> anyhow::Result<Self> {
        let site = super::load_site(config)?;
        let catalog = Catalog::load(&site.library)?;
        Ok(Self { site, catalog, metrics: Arc::new(Metrics::new()?) })
    }

    /// The zones whose stores are meant.
    pub(super) fn zones(&self, only: Option<&ZoneId>) -> Result<Vec<ZoneId>, Usage> {
        if let Some(zone) = only.filter(|zone| !self.site.stores.contains_key(*zone)) {
            return Err(Usage(format!("--zone: the site has no store of zone `{zone}`")));
        }
        Ok(self.site.stores.keys().filter(|zone| only.is_none_or(|only| only == *zone)).cloned().collect())
    }

    /// Opens a zone's store; what it enters in its ledger is signed as receipts are.
    pub(super) async fn open(&self, zone: &ZoneId) -> anyhow::Result<Arc<DeltaStore>> {
        self.site.check_roots()?;
        let root = &self.site.stores[zone];
        let mut store = DeltaStore::open(root, zone, self.metrics.clone()).await?;
        if let Some(key) = self.site.receipts.key()? {
            store = store.with_receipt_key(Arc::new(key));
        }
        Ok(Arc::new(store))
    }

    /// Whether what is entered in ledgers is signed.
    pub(super) fn signed(&self) -> anyhow::Result<bool> {
        Ok(self.site.receipts.key()?.is_some())
    }

    /// Refuses while a release from quarantine is not finished: it may bring rows.
    async fn expect_no_release(&self) -> anyhow::Result<()> {
        let home = StoreReader::open(&self.site.stores[&self.site.home_zone])?;
        let releases = home.ledger().await?;
        if let Some(release) = releases.unfinished().next() {
            anyhow::bail!(
                "release {} from quarantine is not finished and may bring rows: `situs quarantine release` finishes it",
                release.id
            );
        }
        Ok(())
    }

    /// The column that holds the device, by table.
    pub(super) fn device_columns(&self) -> BTreeMap<TableName, String> {
        let columns = self.catalog.pipelines.iter().filter_map(|loaded| {
            let column = loaded.schema.device_column()?;
            Some((TableName::of(&loaded.pipeline.name), column.to_owned()))
        });
        columns.collect()
    }

    /// Whether something says which rows.
    pub(super) fn names_source(args: &CriterionArgs) -> bool {
        args.site.is_some() || args.device.is_some() || args.topic.is_some() || args.before.is_some()
    }

    /// Deletes the messages in quarantine of which a release has put rows into tables and a deletion has taken
    /// them: they hold what was deleted. By the ledgers alone, so that it is done whoever took the rows. `None`
    /// if there are none.
    async fn delete_originals(&self, vacuum: &Vacuum) -> anyhow::Result<Option<Done>> {
        let zone = &self.site.home_zone;
        let reader = StoreReader::open(&self.site.stores[zone])?;
        let released = reader.ledger().await?;
        let released: BTreeSet<_> = released.released().map(|entry| entry.record.clone()).collect();
        if released.is_empty() {
            return Ok(None);
        }
        let mut records = BTreeSet::new();
        for root in self.site.stores.values() {
            records.extend(StoreReader::open(root)?.deleted_among(&released).await?);
        }
        // The message holds all of its rows, also those that stay since they are under a hold.
        records = self.without_held(records).await?;
        let criterion = Criterion {
            records: records.iter().map(ToString::to_string).collect(),
            tables: BTreeSet::from([TableName::quarantine()]),
            ..Criterion::default()
        };
        if criterion.records.is_empty() {
            return Ok(None);
        }
        let reason = "their rows were deleted";
        let id = uuid::Uuid::now_v7().to_string();
        let request = self.request(&id, criterion, "situs", reason).await?;
        let store = self.open(zone).await?;
        let done = maintained(&store, async |maintenance| {
            let mut done = Done::new(zone, false);
            done.finish(&store, maintenance).await?;
            done.delete(self, &store, maintenance, request).await?;
            done.erase(&store, maintenance, vacuum).await?;
            Ok(done)
        })
        .await?;
        Ok(Some(done).filter(|done| done.plan.is_some() || !done.refusals.is_empty()))
    }

    /// Those of these messages of which no row is under a hold of its store.
    async fn without_held(&self, records: BTreeSet<Coordinates>) -> anyhow::Result<BTreeSet<Coordinates>> {
        let (mut free, columns) = (records, self.device_columns());
        for root in self.site.stores.values() {
            let reader = StoreReader::open(root)?;
            for hold in reader.holds(self.signed()?).await? {
                // Where a hold is on all of a message, the deletion itself is refused.
                for table in reader.tables()?.into_iter().filter(|table| !table.is_reserved()) {
                    let column = columns.get(&table).map(String::as_str);
                    let mut parts = vec![free.iter().cloned().collect::<Vec<_>>()];
                    while let Some(part) = parts.pop() {
                        let named: BTreeSet<String> = part.iter().map(ToString::to_string).collect();
                        let named = match hold.criterion.records.is_empty() {
                            true => named,
                            false => named.intersection(&hold.criterion.records).cloned().collect(),
                        };
                        // None would mean all.
                        if named.is_empty() {
                            continue;
                        }
                        let of_part = Criterion { records: named, ..hold.criterion.clone() };
                        if reader.trace(&table, &of_part, column).await?.rows() == 0 {
                            continue;
                        }
                        if let [held] = &part[..] {
                            free.remove(held);
                            continue;
                        }
                        let (left, right) = part.split_at(part.len() / 2);
                        parts.extend([left.to_vec(), right.to_vec()]);
                    }
                }
            }
        }
        Ok(free)
    }

    /// What is deleted, as far as it does not depend on the store.
    async fn request(
        &self,
        id: &str,
        criterion: Criterion,
        by: &str,
        reason: &str,
    ) -> anyhow::Result<DeletionRequest> {
        let home = StoreReader::open(&self.site.stores[&self.site.home_zone])?;
        self.expect_no_release().await?;
        let today = today();
        Ok(DeletionRequest {
            id: id.to_owned(),
            criterion,
            by: by.to_owned(),
            reason: reason.to_owned(),
            policy: self.catalog.policy.version().to_string(),
            settled: home.settled(&self.site.kafka.cluster)?,
            device_columns: self.device_columns(),
            holds: Vec::new(),
            floors: self
                .catalog
                .policy
                .retention()
                .filter_map(|(one, line)| floor(one, line, today))
                .collect(),
            despite_minimum: None,
            leave_held: false,
            ledgers_keep: self.site.ledgers_keep,
        })
    }
}

fn today() -> Date {
    Date::of_us(chrono::Utc::now().timestamp_micros())
}

fn tables(retention: &Retention) -> BTreeSet<TableName> {
    retention.pipelines.iter().map(TableName::of).collect()
}

fn floor(retention: &Retention, line: u32, today: Date) -> Option<Floor> {
    let least = retention.at_least?;
    Some(Floor {
        tables: tables(retention),
        class: retention.class.map(|class| class.to_string()),
        keep_from: least.before(today),
        rule: format!("`retention` in line {line} of the policy (at-least {least})"),
    })
}

/// What the arguments mean.
pub(super) fn criterion(args: &CriterionArgs) -> Result<Criterion, Usage> {
    if let Some(class) = &args.class
        && !Class::WORDS.iter().any(|(word, _)| word == class)
    {
        let words: Vec<&str> = Class::WORDS.iter().map(|(word, _)| *word).collect();
        return Err(Usage(format!("--class: expected one of {}, found `{class}`", words.join(", "))));
    }
    if let (Some(from), Some(to)) = (args.from_offset, args.to_offset)
        && to <= from
    {
        return Err(Usage(format!("--to-offset: expected an offset after {from}, found {to}")));
    }
    if let Some(table) =
        args.table.as_ref().filter(|table| table.is_reserved() && **table != TableName::quarantine())
    {
        let message = format!(
            "--table: `{table}` is Situs's own, and nothing deletes from it (`ledgers` in site.yaml)"
        );
        return Err(Usage(message));
    }
    Ok(Criterion {
        site: args.site.clone(),
        device: args.device.clone(),
        topic: args.topic.clone(),
        partition: args.partition,
        from_offset: args.from_offset,
        to_offset: args.to_offset,
        before: args.before,
        class: args.class.clone(),
        records: BTreeSet::new(),
        tables: args.table.iter().cloned().collect(),
    })
}

pub(super) fn delete(args: &DeleteArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let what = &args.criterion;
    let source =
        what.site.is_some() || what.device.is_some() || what.topic.is_some() || what.before.is_some();
    if !args.finish && args.abandon.is_none() && !source {
        let message = "expected `--site`, `--device`, `--topic` or `--before`: what shall be deleted?";
        return Err(Usage(message.to_owned()).into());
    }
    let criterion = criterion(what)?;
    let home = Home::load(&args.config)?;
    let zones = home.zones(args.zone.as_ref())?;
    if let Some(id) = &args.abandon {
        return super::runtime()?.block_on(abandon(&home, zones, id, args.json));
    }
    let mut vacuum = home.site.maintenance.vacuum.clone();
    if args.now {
        vacuum.retention = Duration::ZERO;
    }
    let id = uuid::Uuid::now_v7().to_string();
    super::runtime()?.block_on(async {
        let mut refused = false;
        for zone in zones {
            let store = home.open(&zone).await?;
            let done = maintained(&store, async |maintenance| {
                let mut done = Done::new(&zone, args.dry_run);
                if !args.dry_run {
                    done.finish(&store, maintenance).await?;
                }
                if !args.finish {
                    let (by, reason) = (args.by.as_deref(), args.reason.as_deref());
                    let mut request = home
                        .request(&id, criterion.clone(), by.unwrap_or_default(), reason.unwrap_or_default())
                        .await?;
                    request.despite_minimum.clone_from(&args.despite_minimum);
                    done.delete(&home, &store, maintenance, request).await?;
                }
                if !args.dry_run {
                    done.erase(&store, maintenance, &vacuum).await?;
                }
                Ok(done)
            })
            .await?;
            refused |= !done.refusals.is_empty();
            done.print(args.json);
        }
        if !args.dry_run {
            let done = home.delete_originals(&vacuum).await?;
            refused |= done.as_ref().is_some_and(|done| !done.refusals.is_empty());
            if let Some(done) = done {
                done.print(args.json);
            }
        }
        Ok(if refused { ExitCode::from(super::EXIT_FAILED) } else { ExitCode::SUCCESS })
    })
}

/// Drops the plan of a deletion by which nothing was done yet.
async fn abandon(home: &Home, zones: Vec<ZoneId>, id: &str, json: bool) -> anyhow::Result<ExitCode> {
    let (mut found, mut begun) = (false, false);
    for zone in zones {
        let store = home.open(&zone).await?;
        let came =
            maintained(&store, async |maintenance| Ok(maintenance.abandon_deletion(id).await?)).await?;
        let word = match came {
            Abandoned::None => continue,
            Abandoned::Dropped => "dropped",
            Abandoned::Begun => "begun",
        };
        found = true;
        begun |= came == Abandoned::Begun;
        if json {
            println!("{}", json!({ "zone": zone.as_str(), "deletion": id, "plan": word }));
        } else if came == Abandoned::Dropped {
            println!("{zone}: the plan of deletion {id} is dropped; no row went by it");
        } else {
            println!(
                "{zone}: refused: rows went by deletion {id}: `situs store delete --finish` finishes it"
            );
        }
    }
    if !found {
        return Err(Usage(format!("--abandon: no store has a plan of deletion `{id}`")).into());
    }
    Ok(if begun { ExitCode::from(super::EXIT_FAILED) } else { ExitCode::SUCCESS })
}

pub(super) fn retain(args: &RetainArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let home = Home::load(&args.config)?;
    let zones = home.zones(args.zone.as_ref())?;
    let today = today();
    let limits: Vec<(&Retention, u32)> =
        home.catalog.policy.retention().filter(|(one, _)| one.at_most.is_some()).collect();
    if limits.is_empty() {
        return Err(Usage("the policy's `retention` has no entry with `at-most`".to_owned()).into());
    }
    super::runtime()?.block_on(async {
        let mut refused = false;
        for zone in zones {
            let store = home.open(&zone).await?;
            let own = own_tables(&home.site.stores[&zone])?;
            for (retention, line) in &limits {
                let Some(most) = retention.at_most else { continue };
                if retention.pipelines.is_empty() && own.is_empty() {
                    continue;
                }
                let criterion = Criterion {
                    before: Some(most.before(today)),
                    class: retention.class.map(|class| class.to_string()),
                    tables: match retention.pipelines.is_empty() {
                        // Quarantine is of no pipeline. A pipeline that is no more has left its table.
                        true => own.clone(),
                        false => tables(retention),
                    },
                    ..Criterion::default()
                };
                let reason = format!("`retention` in line {line} of the policy: at-most {most}");
                let id = uuid::Uuid::now_v7().to_string();
                let done = maintained(&store, async |maintenance| {
                    let mut done = Done::new(&zone, args.dry_run);
                    if !args.dry_run {
                        done.finish(&store, maintenance).await?;
                    }
                    let mut request = home.request(&id, criterion.clone(), &args.by, &reason).await?;
                    request.leave_held = true;
                    done.delete(&home, &store, maintenance, request).await?;
                    Ok(done)
                })
                .await?;
                refused |= !done.refusals.is_empty();
                done.print(args.json);
            }
            if !args.dry_run {
                // Once for all: every file of a table is read for each deletion whose bytes may be there.
                let done = maintained(&store, async |maintenance| {
                    let mut done = Done::new(&zone, false);
                    done.erase(&store, maintenance, &home.site.maintenance.vacuum).await?;
                    Ok(done)
                })
                .await?;
                if !done.erased.is_empty() {
                    done.print(args.json);
                }
            }
        }
        if !args.dry_run
            && let Some(done) = home.delete_originals(&home.site.maintenance.vacuum).await?
        {
            refused |= !done.refusals.is_empty();
            done.print(args.json);
        }
        Ok(if refused { ExitCode::from(super::EXIT_FAILED) } else { ExitCode::SUCCESS })
    })
}

/// The tables of a store that hold rows of pipelines, known or not.
fn own_tables(root: &std::path::Path) -> anyhow::Result<BTreeSet<TableName>> {
    let tables = StoreReader::open(root)?.tables()?;
    Ok(tables.into_iter().filter(|table| !table.is_reserved()).collect())
}

/// Works with the right to maintain a store and a lease on it.
pub(super) async fn maintained<T>(
    store: &Arc<DeltaStore>,
    work: impl AsyncFnOnce(&Maintenance) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let Some(maintenance) = store.begin_maintenance().await? else {
        anyhow::bail!("store {}: another process maintains it now; try again later", store.identity());
    };
    store.renew_lease().await?;
    let stores = [store.clone()];
    let done = tokio::select! {
        done = work(&maintenance) => done,
        () = upkeep::keep_leases(&stores) => Err(anyhow::anyhow!("the lease was given up")),
    };
    store.release_lease().await?;
    done
}
