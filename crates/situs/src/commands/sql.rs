//! `situs sql`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use situs_model::ZoneId;
use situs_model::doc::nearest;
use situs_query::{Format, Permit, Session};

use crate::cli::{SqlArgs, SqlFormat};

pub(super) fn sql(args: &SqlArgs) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    let mut roots = situs_query::find_stores(&args.data)?;
    if !args.zones.is_empty() {
        let wanted = args
            .zones
            .iter()
            .map(|zone| {
                zone.to_ascii_uppercase().parse::<ZoneId>().map_err(|e| super::Usage(format!("--zone: {e}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let identities = roots
            .into_iter()
            .map(|root| Ok((situs_store::identify(&root)?.zone, root)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for zone in &wanted {
            if !identities.iter().any(|(found, _)| found == zone) {
                let found = identities.iter().map(|(zone, _)| zone.as_str());
                let hint = nearest(zone.as_str(), found)
                    .map_or_else(String::new, |z| format!("; did you mean `{z}`?"));
                let message = format!("--zone: no store of zone `{zone}` in {}{hint}", args.data.display());
                return Err(super::Usage(message).into());
            }
        }
        roots =
            identities.into_iter().filter(|(zone, _)| wanted.contains(zone)).map(|(_, root)| root).collect();
    }
    let format = match args.format {
        SqlFormat::Table => Format::Table,
        SqlFormat::Csv => Format::Csv,
        SqlFormat::Json => Format::Json,
        SqlFormat::Parquet => Format::Parquet,
    };
    super::runtime()?.block_on(async {
        let session = Session::open(&Permit::new(roots)).await?;
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
