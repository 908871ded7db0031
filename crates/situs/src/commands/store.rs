//! `situs store`.

use std::process::ExitCode;

use serde_json::json;
use situs_model::{Class, ZoneId};
use situs_query::{Permit, Session, TableInfo};
use situs_store::{ReceiptKey, StoreReader};

use crate::cli::StoreCommand;

pub(super) fn store(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    match command {
        StoreCommand::Optimize(args) => return super::maintain::optimize(args),
        StoreCommand::Vacuum(args) => return super::maintain::vacuum(args),
        StoreCommand::Delete(args) => return super::delete::delete(args),
        StoreCommand::Hold(command) => return super::hold::hold(command),
        StoreCommand::Retain(args) => return super::delete::retain(args),
        StoreCommand::Retag(args) => return super::retag::retag(args),
        StoreCommand::Init { zone, root } => {
            let zone: ZoneId = zone.parse().map_err(|error| super::Usage(format!("--zone: {error}")))?;
            let identity = situs_store::init(root, &zone)?;
            println!("{}: store of zone {identity}", root.display());
        }
        StoreCommand::Key { file } => {
            let key = ReceiptKey::create(file)?;
            println!("{}: key {}\n{}", file.display(), key.public().id(), key.public().pem().trim_end());
        }
        StoreCommand::PseudonymKey { file } => {
            let key = situs_store::create_field_key(file)?;
            println!("{}: key {}", file.display(), key.id());
        }
        StoreCommand::Verify(args) => return super::verify::verify(args),
        StoreCommand::List { data, json } => {
            let roots = situs_query::find_stores(data)?;
            let readers = roots.iter().map(|root| StoreReader::open(root)).collect::<Result<Vec<_>, _>>()?;
            let tables = super::runtime()?
                .block_on(async { Session::open(&Permit::new(roots)).await?.describe().await })?;
            if !*json {
                println!(
                    "{:<28} {:>8} {:>8} {:>14} {:>16}  class",
                    "table", "version", "files", "rows", "bytes"
                );
            }
            for table in tables {
                let class = class_of(&readers, &table)?;
                if *json {
                    println!(
                        "{}",
                        json!({ "table": table.name, "version": table.version, "files": table.files,
                                "rows": table.rows, "bytes": table.bytes, "class": class.map(Class::as_str) })
                    );
                } else {
                    let rows = table.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
                    println!(
                        "{:<28} {:>8} {:>8} {:>14} {:>16}  {}",
                        table.name,
                        table.version,
                        table.files,
                        rows,
                        table.bytes,
                        class.map_or("-", Class::as_str)
                    );
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The highest class of a table's rows.
fn class_of(readers: &[StoreReader], table: &TableInfo) -> anyhow::Result<Option<Class>> {
    let Some(reader) = readers.iter().find(|reader| reader.identity().zone == table.zone) else {
        return Ok(None);
    };
    // The name of a table that every store has stands alone where only one is shown.
    let name = table.name.rsplit('.').next().unwrap_or(&table.name);
    Ok(reader.class(&name.parse()?)?)
}
