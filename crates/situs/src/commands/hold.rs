//! `situs store hold`.

use std::process::ExitCode;

use serde_json::json;
use situs_store::{Hold, StoreReader};

use super::Usage;
use super::delete::{Home, criterion};
use crate::cli::HoldCommand;

pub(super) fn hold(command: &HoldCommand) -> anyhow::Result<ExitCode> {
    super::default_logs("warn");
    match command {
        HoldCommand::Set(args) => {
            let criterion = criterion(&args.criterion)?;
            if args.id.is_empty() || args.id.len() > 64 || args.id.chars().any(char::is_control) {
                return Err(Usage("--id: expected 1 to 64 characters".to_owned()).into());
            }
            let home = Home::load(&args.config)?;
            let hold = Hold {
                id: args.id.clone(),
                criterion,
                by: args.by.clone(),
                reason: args.reason.clone(),
                at_us: chrono::Utc::now().timestamp_micros(),
            };
            super::runtime()?.block_on(async {
                for zone in home.zones(args.zone.as_ref())? {
                    home.open(&zone).await?.set_hold(&hold, home.catalog.policy.version()).await?;
                    println!("{zone}: hold `{}` is on {}", hold.id, hold.criterion);
                }
                anyhow::Ok(())
            })?;
        }
        HoldCommand::Lift(args) => {
            let home = Home::load(&args.config)?;
            super::runtime()?.block_on(async {
                let mut found = false;
                for zone in home.zones(args.zone.as_ref())? {
                    let store = home.open(&zone).await?;
                    if !store.holds().await?.iter().any(|hold| hold.id == args.id) {
                        continue;
                    }
                    found = true;
                    store.lift_hold(&args.id, &args.by, &args.reason, home.catalog.policy.version()).await?;
                    println!("{zone}: hold `{}` is lifted", args.id);
                }
                if !found {
                    return Err(Usage(format!("--id: no store has a hold `{}`", args.id)).into());
                }
                anyhow::Ok(())
            })?;
        }
        HoldCommand::List(args) => {
            let home = Home::load(&args.config)?;
            super::runtime()?.block_on(async {
                let signed = home.signed()?;
                for zone in home.zones(args.zone.as_ref())? {
                    for hold in StoreReader::open(&home.site.stores[&zone])?.holds(signed).await? {
                        let at = situs_evidence::time_text(hold.at_us);
                        if args.json {
                            println!(
                                "{}",
                                json!({ "zone": zone.as_str(), "id": hold.id, "criterion": hold.criterion,
                                        "by": hold.by, "reason": hold.reason, "at": at })
                            );
                        } else {
                            println!(
                                "{zone}: hold `{}` on {}, set {at} by {} (declared): {}",
                                hold.id, hold.criterion, hold.by, hold.reason
                            );
                        }
                    }
                }
                anyhow::Ok(())
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
