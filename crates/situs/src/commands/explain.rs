//! `situs explain`.

use std::process::ExitCode;

use anyhow::Context as _;
use situs_evidence::{Request, State, Subject, Verdict};
use situs_store::StoreReader;

use crate::catalog::load_pipelines;
use crate::cli::ExplainArgs;
use crate::past::Archive;
use crate::site::Receipts;

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let site = super::load_site(&args.config)?;
    let public_keys = super::public_keys(&args.public_keys)?;
    let home = site.stores.get(&site.home_zone).context("the home zone has no store")?;
    // Today's definitions are wanted for old receipts only, and may be in the middle of an edit.
    let (today, _) = load_pipelines(&site.library);
    let zones = site.stores.keys().cloned().collect();
    let archive = Archive::new(StoreReader::open(home)?, &today, site.kafka.cluster.clone(), zones);
    let subject = Subject {
        cluster: site.kafka.cluster,
        home: site.home_zone,
        public_keys,
        allow_unsigned: site.receipts == Receipts::AllowUnsigned,
        stores: site.stores,
    };
    let request = Request { record: args.record.clone(), row: args.row };
    let explanation = super::runtime()?.block_on(situs_evidence::explain(&subject, &request, &archive))?;
    if args.json {
        println!("{}", serde_json::to_string(&explanation).context("writing the result")?);
    } else {
        println!("{explanation}");
    }
    let good = explanation.verdict != Verdict::Flagged && explanation.state != State::NotSettled;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_FAILED) })
}
