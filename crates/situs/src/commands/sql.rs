//! `situs sql`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use situs_model::doc::nearest;
use situs_model::{ReadGrant, ZoneId};
use situs_policy::Permitted;
use situs_query::{Format, Permit, Session};

use crate::cli::{SqlArgs, SqlFormat};
use crate::site::Site;

/// What is logged unless `SITUS_LOG` says otherwise. That somebody reads as a reader is told.
const LOGS: &str = "warn,situs=info";

pub(super) fn sql(args: &SqlArgs) -> anyhow::Result<ExitCode> {
    super::default_logs(if args.reader.reader.is_some() { LOGS } else { "warn" });
    let site = args.reader.config.as_deref().map(super::load_site).transpose()?;
    let (mut stores, place) = stores(args, site.as_ref())?;
    let permit = match (&args.reader.reader, &args.reader.purpose, &site) {
        (Some(reader), Some(purpose), Some(site)) => {
            let permitted = super::permits::ask(&site.library, reader, purpose)?;
            let grants = permitted.grants();
            // For the reader there is no other store, also where one is asked for by name.
            stores.retain(|(zone, _)| grants.iter().any(|grant| grant.zone == *zone));
            permit_of_reader(&permitted, grants, wanted(args, stores, &place)?)
        }
        _ => Permit::new(wanted(args, stores, &place)?.into_iter().map(|(_, root)| root)),
    };
    let format = match args.format {
        SqlFormat::Table => Format::Table,
        SqlFormat::Csv => Format::Csv,
        SqlFormat::Json => Format::Json,
        SqlFormat::Parquet => Format::Parquet,
    };
    super::runtime()?.block_on(async {
        let session = Session::open(&permit).await?;
        let result = session.sql(&args.statement).await?;
        let mut text = Vec::new();
        situs_query::write(&result, format, &mut text)?;
        let mut out = std::io::stdout().lock();
        match out.write_all(&text).and_then(|()| out.flush()) {
            // `situs sql … | head` is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other.context("writing the result")?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Roots of stores, each with its zone.
type Stores = Vec<(ZoneId, PathBuf)>;

/// The stores of the site or of the data directory, and how this is called.
fn stores(args: &SqlArgs, site: Option<&Site>) -> anyhow::Result<(Stores, String)> {
    Ok(match site {
        Some(site) => {
            let stores = site.stores.iter().map(|(zone, root)| (zone.clone(), root.clone())).collect();
            (stores, "this site".to_owned())
        }
        None => {
            let roots = situs_query::find_stores(&args.data)?;
            let identify = |root: PathBuf| Ok((situs_store::identify(&root)?.zone, root));
            let stores = roots.into_iter().map(identify).collect::<anyhow::Result<Vec<_>>>()?;
            (stores, args.data.display().to_string())
        }
    })
}

/// Those of the stores in `place` that are asked for.
fn wanted(args: &SqlArgs, mut stores: Stores, place: &str) -> anyhow::Result<Stores> {
    let wanted = args
        .zones
        .iter()
        .map(|zone| {
            zone.to_ascii_uppercase().parse::<ZoneId>().map_err(|e| super::Usage(format!("--zone: {e}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    for zone in &wanted {
        if !stores.iter().any(|(found, _)| found == zone) {
            let found = stores.iter().map(|(zone, _)| zone.as_str());
            let hint =
                nearest(zone.as_str(), found).map_or_else(String::new, |z| format!("; did you mean `{z}`?"));
            return Err(super::Usage(format!("--zone: no store of zone `{zone}` in {place}{hint}")).into());
        }
    }
    if !wanted.is_empty() {
        stores.retain(|(zone, _)| wanted.contains(zone));
    }
    Ok(stores)
}

/// The permit of a reader, told in the log before anything is read.
fn permit_of_reader(permitted: &Permitted, mut grants: Vec<ReadGrant>, stores: Stores) -> Permit {
    grants.retain(|grant| stores.iter().any(|(zone, _)| *zone == grant.zone));
    let tables: Vec<String> =
        grants.iter().map(|grant| format!("{}.{}", grant.zone.schema_name(), grant.table)).collect();
    tracing::info!(
        event = "reader-session",
        reader = %permitted.reader.id,
        zone = %permitted.reader.zone,
        purpose = %permitted.purpose,
        readers = %permitted.version,
        tables = tables.join(","),
        "a session of a reader was opened"
    );
    // A store of which nothing may be read is not opened.
    let roots: Vec<PathBuf> = stores.into_iter().map(|(_, root)| root).collect();
    Permit::of_reader(roots, grants)
}
