//! `situs store`.

use std::process::ExitCode;

use serde_json::json;
use situs_model::ZoneId;
use situs_query::{Permit, Session};
use situs_store::ReceiptKey;

use crate::cli::StoreCommand;

pub(super) fn store(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    match command {
        StoreCommand::Optimize(args) => return super::maintain::optimize(args),
        StoreCommand::Vacuum(args) => return super::maintain::vacuum(args),
        StoreCommand::Delete(args) => return super::delete::delete(args),
        StoreCommand::Hold(command) => return super::hold::hold(command),
        StoreCommand::Retain(args) => return super::delete::retain(args),
        StoreCommand::Init { zone, root } => {
            let zone: ZoneId = zone.parse().map_err(|error| super::Usage(format!("--zone: {error}")))?;
            let identity = situs_store::init(root, &zone)?;
            println!("{}: store of zone {identity}", root.display());
        }
        StoreCommand::Key { file } => {
            let key = ReceiptKey::create(file)?;
            println!("{}: key {}\n{}", file.display(), key.public().id(), key.public().pem().trim_end());
        }
        StoreCommand::Verify(args) => return super::verify::verify(args),
        StoreCommand::List { data, json } => {
            let roots = situs_query::find_stores(data)?;
            let tables = super::runtime()?
                .block_on(async { Session::open(&Permit::new(roots)).await?.describe().await })?;
            if !*json {
                println!("{:<28} {:>8} {:>8} {:>14} {:>16}", "table", "version", "files", "rows", "bytes");
            }
            for table in tables {
                if *json {
                    println!(
                        "{}",
                        json!({ "table": table.name, "version": table.version, "files": table.files,
                                "rows": table.rows, "bytes": table.bytes })
                    );
                } else {
                    let rows = table.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
                    println!(
                        "{:<28} {:>8} {:>8} {:>14} {:>16}",
                        table.name, table.version, table.files, rows, table.bytes
                    );
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
