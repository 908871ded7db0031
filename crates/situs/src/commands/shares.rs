//! `situs evidence shares`.

use std::process::ExitCode;

use anyhow::Context as _;
use situs_evidence::{SharesError, SharesSubject};
use situs_model::doc::nearest;
use situs_model::{PipelineName, TableName};
use situs_store::StoreReader;

use super::Usage;
use super::delete::Home;
use crate::cli::SharesArgs;

pub(super) fn shares(args: &SharesArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let home = Home::load(&args.config)?;
    args.pipelines.iter().try_for_each(|name| expect_pipeline(&home, name))?;
    let subject = SharesSubject {
        stores: home.site.stores,
        home: home.site.home_zone,
        policy: home.catalog.policy,
        pipelines: args.pipelines.clone(),
        model: args.model.clone(),
        market: args.market,
    };
    let shares = match super::runtime()?.block_on(situs_evidence::shares(&subject)) {
        Err(error @ SharesError::NoModel { .. }) => return Err(Usage(format!("--model: {error}")).into()),
        shares => shares?,
    };
    if args.json {
        println!("{}", serde_json::to_string(&shares).context("writing the result")?);
    } else {
        println!("{shares}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A pipeline that is no more has left its tables.
fn expect_pipeline(home: &Home, name: &PipelineName) -> anyhow::Result<()> {
    let known: Vec<&str> =
        home.catalog.pipelines.iter().map(|loaded| loaded.pipeline.name.as_str()).collect();
    if known.contains(&name.as_str()) {
        return Ok(());
    }
    let table = TableName::of(name);
    for root in home.site.stores.values() {
        if StoreReader::open(root)?.tables()?.contains(&table) {
            return Ok(());
        }
    }
    let hint =
        nearest(name.as_str(), known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(Usage(format!("--pipeline: there is no pipeline `{name}`, and no store has its table{hint}")).into())
}
