//! Recomputes what Situs promises from the stores alone: no broker, no process, no metrics.
//!
//! The receipts are read first, then every table, so that what is committed meanwhile is seen as not settled
//! yet and never as lost. Every byte of the data is read once for its hash and the columns of the coordinates
//! once more, so the cost is linear in the data. What lies in a root is never changed.
//!
//! # Memory
//! One bit for each message in each place and one for each row (`seen`), some hundred bytes for each receipt, and a name and
//! a hash for each file (`ledger`). Rows are read in batches, one file after the other.

mod deleted;
mod files;
mod ledger;
mod ranges;
mod received;
mod released;
mod report;
mod retagged;
mod roots;
mod rows;
pub(crate) mod seen;
mod sign;
mod zone_ledgers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use situs_model::{Ledger as Releases, TableName, ZoneId};

pub use files::sha256_of;

use crate::key::PublicKey;
use deleted::Deletions;
use ledger::Ledger;
use received::Received;
use released::Released;
pub use report::{Check, Finding, Kind, Report};
use retagged::Retags;
use rows::Rows;
use sign::Keys;
use zone_ledgers::ZoneLedgers;

/// What is verified.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The root of each zone's store.
    pub stores: BTreeMap<ZoneId, PathBuf>,
    /// The zone whose store keeps quarantine and receipts.
    pub home: ZoneId,
    /// Whether each root must lie on a device of its own.
    pub separate_devices: bool,
    /// Whether receipts without a signature are no violation.
    pub allow_unsigned: bool,
    /// The keys that may have signed; those that the home store has archived if none is given.
    pub public_keys: Vec<PublicKey>,
    /// The releases from the home store's quarantine
    /// ([`StoreReader::ledger`](crate::StoreReader::ledger)): a released message is in quarantine and in its
    /// zone's table, and that is one place.
    pub releases: Releases,
}

/// Verifies stores. Takes CPU time and reads files: call it where blocking is allowed.
pub fn verify(subject: &Subject) -> Report {
    let mut report = Report::default();
    let stores = roots::look(&subject.stores, subject.separate_devices, &mut report);
    let zones: Vec<String> = stores.iter().map(|store| store.zone.as_str().to_owned()).collect();
    let home = subject.stores.get(&subject.home).map(PathBuf::as_path);
    let keys = Keys::new(&subject.public_keys, home, subject.allow_unsigned, &mut report);
    let mut ledger = Ledger::read(&stores, &subject.home, &keys, &mut report);
    ranges::check(&mut ledger, &mut report);
    let zone_ledgers = ZoneLedgers::read(&stores, &keys, &mut report);
    zone_ledgers.check(&stores, &mut report);

    let deletions = Deletions::read(&stores, &zone_ledgers, &mut ledger, &mut report);
    let mut retags = Retags::read(&stores, &zone_ledgers, &mut report);
    files::check_missing_tables(&stores, &mut ledger, &mut report);
    let mut received = Received::default();
    let mut tables = Vec::new();
    for (index, store) in stores.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        for name in store.tables.iter().filter(|name| **name != TableName::receipts()) {
            let table = files::check(store, name, &mut ledger, &deletions, &mut retags, &mut report);
            if name.is_received() {
                let zone = store.zone.as_str();
                let of_table = (zone.to_owned(), name.as_str().to_owned());
                if table.is_none() || ledger.damaged_tables.contains(&of_table) {
                    received.damage(zone, name.as_str());
                }
                table.iter().for_each(|table| received.table(table, &mut report));
                continue;
            }
            // Other tables that Situs keeps itself hold no rows of messages.
            let holds_messages = !name.is_reserved() || *name == TableName::quarantine();
            let table = table.filter(|_| holds_messages);
            table.iter().for_each(|table| retags.recount(table, &mut report));
            tables.extend(table.map(|table| (table, index)));
        }
    }
    let released = Released::new(&subject.releases);
    let mut rows = Rows::new(&mut ledger, &mut report, &zones, released, &retags);
    // Quarantine first: a message that is there must not be in any zone's table. What went is taken in before
    // what is there, so that what is there again is found.
    for quarantine in [true, false] {
        for deletion in &deletions.sound {
            let store = &stores[deletion.store];
            rows.deleted(deletion, store, store.zone == subject.home, quarantine);
        }
        for (table, zone) in &tables {
            if (table.name == TableName::quarantine()) == quarantine {
                rows.table(table, *zone);
            }
        }
    }
    let policies = rows.finish();
    policies.compare(&retags, &deletions, &ledger, &mut report);
    received.check(&stores, &zone_ledgers, &mut report);
    rows::compare(&ledger, &zones, &mut report);
    report
}
