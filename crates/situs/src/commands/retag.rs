//! `situs store retag`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::json;
use situs_evidence::{Judgement, Rejudge};
use situs_model::columns::names;
use situs_model::store::HomeStore as _;
use situs_model::{ClusterName, TableName, TaggedBatch, ZoneId};
use situs_observe::catch;
use situs_store::{
    DeltaStore, JudgeAgain, NotJudged, Retag, RetagRequest, Retagged, Retagging, StoreReader, TagCounts,
};

use super::Usage;
use super::delete::{Home, maintained};
use crate::catalog::Loaded;
use crate::cli::RetagArgs;

/// Tags whose counts are told, by the names of their columns.
const TOLD: [(&str, &str); 8] = [
    (names::CLASS, "class"),
    (names::TRAINING, "training"),
    (names::MODELS, "model"),
    (names::MARKETS, "market"),
    (names::RULE, "rule"),
    (names::SITE, "site"),
    (names::JURISDICTION, "jurisdiction"),
    (names::POLICY, "policy"),
];

/// Judges the rows of a pipeline's tables by today's policy.
struct Today {
    judgement: Judgement,
    cluster: ClusterName,
    rejudge: Rejudge,
}

impl Today {
    fn new(judgement: Judgement, cluster: &ClusterName) -> anyhow::Result<Self> {
        let rejudge = Rejudge::new(&judgement, cluster).map_err(anyhow::Error::msg)?;
        Ok(Self { judgement, cluster: cluster.clone(), rejudge })
    }
}

impl JudgeAgain for Today {
    fn judge(&mut self, rows: &RecordBatch, topic: &str, partition: i32) -> Result<TaggedBatch, NotJudged> {
        // A function of a condition may panic on a record; whatever it says may hold payload.
        match catch(|| self.rejudge.judge(rows, topic, partition)) {
            Ok(Ok(tagged)) => Ok(tagged),
            Ok(Err(_)) => Err(NotJudged::Unfit),
            Err(_) => {
                // What panicked may be half changed.
                self.rejudge = Rejudge::new(&self.judgement, &self.cluster).map_err(|_| NotJudged::Unfit)?;
                Err(NotJudged::Failed)
            }
        }
    }
}

pub(super) fn retag(args: &RetagArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let home = Home::load(&args.config)?;
    let mut zones = home.zones(None)?;
    for zone in &args.zones {
        home.zones(Some(zone))?;
    }
    zones.retain(|zone| args.zones.is_empty() || args.zones.contains(zone));
    for name in &args.pipelines {
        home.catalog.pipeline(name.as_str()).map_err(|error| Usage(format!("--pipeline: {error}")))?;
    }
    let meant =
        |loaded: &&Loaded| args.pipelines.is_empty() || args.pipelines.contains(&loaded.pipeline.name);
    let pipelines: Vec<&Loaded> = home.catalog.pipelines.iter().filter(meant).collect();
    super::runtime()?.block_on(async {
        if !args.finish && !args.dry_run {
            archive(&home).await?;
        }
        for zone in zones {
            let store = home.open(&zone).await?;
            if !args.dry_run {
                let finished =
                    maintained(&store, async |maintenance| Ok(store.finish_retags(maintenance).await?))
                        .await?;
                finished.iter().for_each(|retag| print_finished(&zone, retag, args.json));
            }
            if args.finish {
                continue;
            }
            let mut tables = StoreReader::open(&home.site.stores[&zone])?.tables()?;
            tables.retain(|table| !table.is_reserved());
            for loaded in &pipelines {
                let table = TableName::of(&loaded.pipeline.name);
                if tables.contains(&table) {
                    of_table(&home, args, &zone, &store, loaded).await?;
                }
            }
            for table in tables.iter().filter(|table| {
                let is = |loaded: &Loaded| TableName::of(&loaded.pipeline.name) == **table;
                args.pipelines.is_empty() && !home.catalog.pipelines.iter().any(is)
            }) {
                // On the other stream than what `--json` prints.
                eprintln!("{zone}: table {table} is of no pipeline of today: its rows keep their tags");
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Keeps the texts by which rows are judged in the home store, so that they can be judged by them again.
async fn archive(home: &Home) -> anyhow::Result<()> {
    let store = home.open(&home.site.home_zone).await?;
    for (kind, version, text) in home.catalog.texts() {
        store.archive(kind, version, text).await?;
    }
    Ok(())
}

async fn of_table(
    home: &Home,
    args: &RetagArgs,
    zone: &ZoneId,
    store: &Arc<DeltaStore>,
    loaded: &Loaded,
) -> anyhow::Result<()> {
    let judgement = Judgement { policy: home.catalog.policy.clone(), facts: loaded.facts() };
    let today = Today::new(judgement, &home.site.kafka.cluster)?;
    let reader = StoreReader::open(&home.site.stores[&home.site.home_zone])?;
    let request = RetagRequest {
        table: TableName::of(&loaded.pipeline.name),
        pipeline: loaded.pipeline.name.to_string(),
        policy: home.catalog.policy.version().clone(),
        schema: loaded.schema.version().clone(),
        definition: loaded.pipeline.version.clone(),
        by: args.by.clone().unwrap_or_default(),
        reason: args.reason.clone().unwrap_or_default(),
        settled: reader.settled(&home.site.kafka.cluster)?,
        holds: Vec::new(),
        device_column: loaded.schema.device_column().unwrap_or("device").to_owned(),
    };
    let retagged = maintained(store, async |maintenance| {
        Ok(store.retag(maintenance, &request, Box::new(today), args.dry_run).await?)
    })
    .await?;
    if args.json {
        println!("{}", as_json(zone, &request, &retagged, args.dry_run));
    } else {
        print(zone, &request, &retagged, args.dry_run);
    }
    Ok(())
}

fn print_finished(zone: &ZoneId, retag: &Retag, json: bool) {
    if json {
        let body = json!(retag.body);
        println!("{}", json!({ "zone": zone.as_str(), "finished": retag.id, "body": body }));
        return;
    }
    println!(
        "{zone}: finished re-tagging {} of {}: {} rows have the tags of policy {} since version {}",
        retag.id, retag.body.found.table, retag.body.found.retagged, retag.policy, retag.body.version
    );
}

fn as_json(zone: &ZoneId, request: &RetagRequest, retagged: &Retagged, dry_run: bool) -> serde_json::Value {
    let (id, body) = match retagged {
        Retagged::Done(retag) => (Some(&retag.id), Some(&retag.body)),
        Retagged::Looked(_) => (None, None),
    };
    json!({
        "zone": zone.as_str(),
        "dry_run": dry_run,
        "policy": request.policy.as_str(),
        "retag": id,
        "found": retagged.found(),
        "body": body,
    })
}

fn print(zone: &ZoneId, request: &RetagRequest, retagged: &Retagged, dry_run: bool) {
    let found = retagged.found();
    let Retagging { table, looked, retagged: changed, rows, stays, .. } = found;
    let verb = if dry_run { "would tag again" } else { "tagged again" };
    match changed {
        0 => println!("{zone}: {table}: no row of {looked} has other tags by policy {}", request.policy),
        _ => println!("{zone}: {table}: {verb} {changed} of {looked} rows by policy {}", request.policy),
    }
    if *changed > 0 {
        println!("  of the {rows} rows of the files that are written again:");
        for (tag, name) in TOLD {
            print_counts(name, tag, &found.before, &found.after);
        }
    }
    let mut left: Vec<(u64, String)> = Vec::new();
    for (other, rows) in &stays.moves {
        left.push((*rows, format!("would live in zone {other} and stay where they are")));
    }
    for (reason, rows) in &stays.quarantine {
        left.push((*rows, format!("would go to quarantine ({reason}) and stay where they are")));
    }
    left.push((stays.with_message, "would go to quarantine with another row of their message".to_owned()));
    left.push((stays.held, "are under a hold by site or class".to_owned()));
    left.push((stays.unsettled, "are not settled yet".to_owned()));
    left.push((stays.not_judged, "cannot be judged by what the table holds of them".to_owned()));
    for (rows, why) in left.iter().filter(|(rows, _)| *rows > 0) {
        println!("  {rows} rows keep their tags: they {why}");
    }
    if let Retagged::Done(retag) = retagged {
        println!(
            "  re-tagging {}: {} files for {} others in version {} of the table, entered in the ledger of {zone}",
            retag.id,
            retag.body.written.len(),
            retag.body.removed.len(),
            retag.body.version
        );
    }
}

/// The values of a tag that other numbers of rows have afterwards.
fn print_counts(name: &str, tag: &str, before: &TagCounts, after: &TagCounts) {
    let mut values: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (value, rows) in before.values(tag) {
        values.entry(value).or_default().0 = rows;
    }
    for (value, rows) in after.values(tag) {
        values.entry(value).or_default().1 = rows;
    }
    for (value, (before, after)) in values.into_iter().filter(|(_, (before, after))| before != after) {
        println!("    {name} {value}: {before} before, {after} afterwards");
    }
}
