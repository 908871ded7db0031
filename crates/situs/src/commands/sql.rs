//! `situs sql`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use situs_model::ZoneId;
use situs_model::doc::nearest;
use situs_query::{Format, Permit, Session};

use crate::cli::{SqlArgs, SqlFormat};
use crate::site::Site;

/// What is logged unless `SITUS_LOG` says otherwise. That somebody reads as a reader is told.
const LOGS: &str = "warn,situs=info";

pub(super) fn sql(args: &SqlArgs) -> anyhow::Result<ExitCode> {
    super::default_logs(if args.reader.reader.is_some() { LOGS } else { "warn" });
    let site = args.reader.config.as_deref().map(super::load_site).transpose()?;
    let stores = stores(args, site.as_ref())?;
    let permit = match (&args.reader.reader, &args.reader.purpose, &site) {
        (Some(reader), Some(purpose), Some(site)) => permit_of_reader(reader, purpose, site, stores)?,
        _ => Permit::new(stores.into_iter().map(|(_, root)| root)),
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

/// The stores that are asked for, each with its zone: those of the site or of the data directory.
fn stores(args: &SqlArgs, site: Option<&Site>) -> anyhow::Result<Vec<(ZoneId, PathBuf)>> {
    let (mut stores, place) = match site {
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
    };
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
fn permit_of_reader(
    reader: &str,
    purpose: &str,
    site: &Site,
    stores: Vec<(ZoneId, PathBuf)>,
) -> anyhow::Result<Permit> {
    let permitted = super::permits::ask(&site.library, reader, purpose)?;
    let grants: Vec<_> = permitted
        .grants()
        .into_iter()
        .filter(|grant| stores.iter().any(|(zone, _)| *zone == grant.zone))
        .collect();
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
    let granted = stores.into_iter().filter(|(zone, _)| grants.iter().any(|grant| grant.zone == *zone));
    let roots: Vec<PathBuf> = granted.map(|(_, root)| root).collect();
    Ok(Permit::of_reader(roots, grants))
}
