//! `situs store hold`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::json;
use situs_evidence::TraceSubject;
use situs_model::ZoneId;
use situs_policy::Policy;
use situs_store::{Criterion, Hold, StoreReader};

use super::Usage;
use super::delete::{Home, criterion};
use crate::cli::{HoldCommand, HoldSetArgs};

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
                for zone in zones(&home, args).await? {
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

/// The zones in whose ledgers a hold is entered. A device is named only where its rows may lie: in the zones that have
/// the jurisdiction of its site, and in stores that hold rows of it all the same. Its id is a fact of one zone, and
/// an entry in another's ledger would tell it there for ever.
async fn zones(home: &Home, args: &HoldSetArgs) -> anyhow::Result<Vec<ZoneId>> {
    let all = home.zones(args.zone.as_ref())?;
    let Some(device) = args.criterion.device.as_ref().filter(|_| args.zone.is_none()) else { return Ok(all) };
    let registered = zones_of_device(&home.catalog.policy, device);
    let (mut wanted, others): (Vec<ZoneId>, Vec<ZoneId>) = match &registered {
        Some(zones) => all.into_iter().partition(|zone| zones.contains(zone)),
        None => (Vec::new(), all),
    };
    let subject = TraceSubject {
        stores: home.site.stores.clone().into_iter().filter(|(zone, _)| others.contains(zone)).collect(),
        device_columns: home.device_columns(),
        criterion: Criterion { device: Some(device.clone()), ..Criterion::default() },
        signed: home.signed()?,
    };
    let found: BTreeSet<String> =
        situs_evidence::trace(&subject).await?.tables.into_iter().map(|table| table.zone).collect();
    if registered.is_none() {
        // Any site with `any-device` may send it tomorrow, or a new policy register it anywhere.
        let lies = match found.is_empty() {
            true => "no store has a row of it".to_owned(),
            false => format!("rows of it lie in {}", found.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let message = format!(
            "--device: the policy registers no such device, so it cannot be told in which zones its rows may lie, and \
             its id must not stand in the ledgers of others: name the zone with `--zone` ({lies})"
        );
        return Err(Usage(message).into());
    }
    let (with_rows, without): (Vec<ZoneId>, Vec<ZoneId>) =
        others.into_iter().partition(|zone| found.contains(zone.as_str()));
    wanted.extend(with_rows);
    wanted.sort();
    if wanted.is_empty() {
        let message = "--device: its records live in zones of which this site has no store, and no store has a row of it";
        return Err(Usage(message.to_owned()).into());
    }
    for zone in without {
        println!(
            "{zone}: not asked: the device's records live elsewhere by the policy, and no row of it is there"
        );
    }
    Ok(wanted)
}

/// The zones in which records of a device may live by the policy: those that have the jurisdiction of its site. `None`
/// if no site registers it.
fn zones_of_device(policy: &Policy, device: &str) -> Option<BTreeSet<ZoneId>> {
    let site = policy.sites().find(|site| site.all_devices().any(|(_, id)| **id == *device))?;
    let zones = policy.zones().filter(|zone| zone.jurisdictions.contains(&site.jurisdiction));
    Some(zones.map(|zone| zone.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_lie_in_all_zones_that_have_its_jurisdiction() {
        let text = "
zones: { CN: { jurisdictions: [CN] }, EU: { jurisdictions: [DE, FR] }, GERMANY: { jurisdictions: [DE], within: EU } }
sites:
  a: { jurisdiction: CN, devices: [one], lines: { line-1: [two] } }
  b: { jurisdiction: DE, devices: [three] }
  c: { jurisdiction: FR, topics: [t], any-device: true }
rules: [ { id: all, zone: innermost, basis: law } ]
";
        let policy = Policy::parse("policy.yaml", text).unwrap();
        let zones = |device: &str| {
            let zones = zones_of_device(&policy, device)?;
            Some(zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(zones("one").as_deref(), Some("CN"));
        assert_eq!(zones("two").as_deref(), Some("CN"), "devices of a line too");
        assert_eq!(zones("three").as_deref(), Some("EU GERMANY"), "the zone around may hold it too");
        assert_eq!(zones("One"), None, "ids are compared byte for byte");
        assert_eq!(zones("four"), None, "`any-device` says nothing of where one is");
    }
}
