//! `situs store optimize` and `situs store vacuum`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use situs_model::{TableName, ZoneId};
use situs_observe::Metrics;
use situs_store::{DeltaStore, Maintenance, Optimize, Optimized, Tally, Vacuum, Vacuumed};

use super::Usage;
use crate::cli::{OptimizeArgs, StoresArgs, VacuumArgs};
use crate::site::Site;
use crate::upkeep;

/// After this many commits without a checkpoint, `optimize` makes one.
const COMMITS: u64 = 1;

pub(super) fn optimize(args: &OptimizeArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.stores.config)?;
    // No intake shares this process's CPUs.
    let settings = Optimize { rest: false, ..site.maintenance.optimize.clone() };
    for_each_table(&site, &args.stores, async |maintenance, table| {
        let optimized = maintenance.optimize(table, &settings).await?;
        if optimized.replaced.files > 0 {
            maintenance.checkpoint(table, COMMITS).await?;
        }
        let zone = &maintenance.identity().zone;
        println!(
            "{}",
            if args.stores.json {
                optimized_json(zone, table, &optimized).to_string()
            } else {
                optimized_text(zone, table, &optimized)
            }
        );
        Ok(())
    })
}

pub(super) fn vacuum(args: &VacuumArgs) -> anyhow::Result<ExitCode> {
    let site = super::load_site(&args.stores.config)?;
    let mut settings = Vacuum { dry_run: args.dry_run, ..site.maintenance.vacuum.clone() };
    if let Some(retention) = &args.retention {
        settings.retention = duration(retention).ok_or_else(|| {
            Usage(format!("--retention: expected a duration such as `7d` or `12h`, found `{retention}`"))
        })?;
    }
    for_each_table(&site, &args.stores, async |maintenance, table| {
        let vacuumed = maintenance.vacuum(table, &settings).await?;
        let zone = &maintenance.identity().zone;
        if args.stores.json {
            println!("{}", vacuumed_json(zone, table, &vacuumed, args.dry_run));
            return Ok(());
        }
        if args.dry_run {
            vacuumed.paths.iter().for_each(|path| println!("{path}"));
        }
        println!("{}", vacuumed_text(zone, table, &vacuumed, args.dry_run));
        Ok(())
    })
}

/// Maintains the stores that were asked for, table by table.
fn for_each_table(
    site: &Site,
    args: &StoresArgs,
    mut each: impl AsyncFnMut(&Maintenance, &TableName) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let zone = args.zone.as_deref().map(|zone| parsed::<ZoneId>("--zone", zone)).transpose()?;
    let table = args.table.as_deref().map(|table| parsed::<TableName>("--table", table)).transpose()?;
    if let Some(zone) = zone.as_ref().filter(|zone| !site.stores.contains_key(zone)) {
        return Err(Usage(format!("--zone: the site has no store of zone `{zone}`")).into());
    }
    site.check_roots()?;
    let metrics = Arc::new(Metrics::new()?);
    let mut found = false;
    super::runtime()?.block_on(async {
        for (of, root) in site.stores.iter().filter(|(of, _)| zone.as_ref().is_none_or(|zone| zone == *of)) {
            let stores = [Arc::new(DeltaStore::open(root, of, metrics.clone()).await?)];
            let store = &stores[0];
            let Some(maintenance) = store.begin_maintenance().await? else {
                anyhow::bail!(
                    "store {}: another process maintains it now; try again later",
                    store_name(store)
                );
            };
            store.renew_lease().await?;
            let work = async {
                for name in maintenance.tables()? {
                    if table.as_ref().is_none_or(|table| *table == name) {
                        found = true;
                        each(&maintenance, &name).await?;
                    }
                }
                anyhow::Ok(())
            };
            let done = tokio::select! {
                done = work => done,
                () = upkeep::keep_leases(&stores) => Ok(()),
            };
            store.release_lease().await?;
            done?;
        }
        anyhow::Ok(())
    })?;
    if let Some(table) = table.filter(|_| !found) {
        return Err(Usage(format!("--table: no store has a table `{table}`")).into());
    }
    Ok(ExitCode::SUCCESS)
}

fn store_name(store: &DeltaStore) -> String {
    use situs_model::store::ZoneStore as _;
    store.identity().to_string()
}

fn parsed<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, Usage>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Usage(format!("{option}: {error}")))
}

/// A whole number and a unit, as in `site.yaml`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let scale = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(text[..digits].parse::<u64>().ok()?.checked_mul(scale)?))
}

fn optimized_text(zone: &ZoneId, table: &TableName, done: &Optimized) -> String {
    if done.replaced.files == 0 {
        return format!("{zone} {table}: nothing to put together");
    }
    let Optimized { replaced, written, rows, sorted, .. } = done;
    format!(
        "{zone} {table}: {} files ({} bytes) became {} ({} bytes) with {rows} rows; {sorted} of {} sorted by device and time",
        replaced.files, replaced.bytes, written.files, written.bytes, written.files
    )
}

fn optimized_json(zone: &ZoneId, table: &TableName, done: &Optimized) -> Value {
    json!({
        "zone": zone.as_str(), "table": table.as_str(), "replaced": tally(done.replaced),
        "written": tally(done.written), "rows": done.rows, "sorted": done.sorted, "outdated": done.outdated,
    })
}

fn vacuumed_text(zone: &ZoneId, table: &TableName, done: &Vacuumed, dry_run: bool) -> String {
    let Vacuumed { replaced, orphans, staged, protected, .. } = done;
    let verb = if dry_run { "would remove" } else { "removed" };
    format!(
        "{zone} {table}: {verb} {} replaced files ({} bytes) and {} orphans ({} bytes); kept {staged} that a writer may commit, {protected} protected",
        replaced.files, replaced.bytes, orphans.files, orphans.bytes
    )
}

fn vacuumed_json(zone: &ZoneId, table: &TableName, done: &Vacuumed, dry_run: bool) -> Value {
    json!({
        "zone": zone.as_str(), "table": table.as_str(), "dry_run": dry_run,
        "replaced": tally(done.replaced), "orphans": tally(done.orphans),
        "staged": done.staged, "protected": done.protected, "paths": done.paths,
    })
}

fn tally(tally: Tally) -> Value {
    json!({ "files": tally.files, "bytes": tally.bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_site() {
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for text in ["7", "d", "7 d", "-1d", "7w", "", "99999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
