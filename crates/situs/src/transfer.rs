//! Transfers from one zone to another: requested, approved, carried out exactly once, and entered in the ledgers
//! of both stores (docs/transfers.md).

mod carry;
mod derived;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use situs_model::store::{HomeStore as _, Text, ZoneStore as _};
use situs_model::transfer::{Refusal, Standing, Transfer, Voice, approvable, requestable, same_person};
use situs_model::{Date, LedgerEntry, LedgerFact, LedgerKind, StoreIdentity, ZoneId, ZoneLedger};
use situs_observe::Metrics;
use situs_store::{DeltaStore, LedgerStep, PublicKey, StoreReader};

use crate::catalog::Catalog;
use crate::site::{KeyFile, Site};
use crate::upkeep::keep_leases;

pub use carry::{Carried, LeftOut, Step};
pub use derived::Sent;

/// How often an entry is decided anew when others enter something between.
const TRIES: u32 = 20;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is done.
    Done(T),
    /// It was refused, and the ledger of the zone that the rows live in says so.
    Refused {
        /// The transfer.
        id: String,
        /// Why.
        why: Refusal,
    },
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It was refused before it was requested.
    Refused,
    /// Somebody asked for it.
    Requested,
    /// Somebody else approved it.
    Approved,
    /// It is done.
    Sent,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Sent => "sent",
        }
    }
}

/// A transfer as the ledger of the zone that its rows live in tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// How far it has come.
    pub state: State,
    /// What the ledgers of this home's stores tell of it: zone and entry, in the order of the times.
    pub entries: Vec<(ZoneId, LedgerEntry)>,
}

/// A request as it stands in the ledger.
#[derive(Debug, Clone)]
struct Request {
    /// The transfer of the policy.
    name: String,
    from: ZoneId,
    voice: Voice,
    /// The id of the store that they shall go to.
    target: String,
    /// The parts of the definition that was requested.
    parts: Map<String, Value>,
}

impl Request {
    fn part(&self, name: &str) -> Option<&str> {
        self.parts.get(name).and_then(Value::as_str)
    }
}

/// Carries transfers of a home out.
#[derive(Debug)]
pub struct Transfers<'a> {
    site: &'a Site,
    catalog: &'a Catalog,
    stores: BTreeMap<ZoneId, Arc<DeltaStore>>,
    /// The keys by one of which must be signed what is decided by; `None` if nothing is signed here.
    trusted: Option<Vec<PublicKey>>,
    /// The time, where it is not now.
    now_us: Option<i64>,
}

impl<'a> Transfers<'a> {
    /// Opens the stores of a home. What is entered in their ledgers is signed with the key that signs receipts.
    ///
    /// # Errors
    /// If one of them is not there, or is not what the site says, or the key cannot be read.
    pub async fn open(site: &'a Site, catalog: &'a Catalog) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        site.check_roots()?;
        let key = site.receipts.key()?.map(Arc::new);
        let others: Vec<PublicKey> =
            site.trusted_keys.iter().map(KeyFile::public).collect::<Result<_, _>>()?;
        let trusted = key.as_ref().map(|key| {
            let own = std::iter::once(key.public().clone());
            own.chain(others.iter().cloned()).collect()
        });
        let mut stores = BTreeMap::new();
        for (zone, root) in &site.stores {
            let store = DeltaStore::open(root, zone, metrics.clone()).await?;
            let mut store = store.with_trusted_keys(others.clone());
            if let Some(key) = &key {
                store = store.with_receipt_key(key.clone());
            }
            stores.insert(zone.clone(), Arc::new(store));
        }
        Ok(Self { site, catalog, stores, trusted, now_us: None })
    }

    /// Decides as of this moment, in µs since the epoch, and not as of now.
    #[must_use]
    pub fn at(mut self, now_us: i64) -> Self {
        self.now_us = Some(now_us);
        self
    }

    fn now(&self) -> i64 {
        self.now_us.unwrap_or_else(|| chrono::Utc::now().timestamp_micros())
    }

    fn today(&self) -> Date {
        Date::of_us(self.now())
    }

    fn store(&self, zone: &ZoneId) -> anyhow::Result<&Arc<DeltaStore>> {
        self.stores.get(zone).with_context(|| format!("zone {zone} has no store at this home"))
    }

    fn reader(&self, zone: &ZoneId) -> anyhow::Result<StoreReader> {
        let root = self.site.stores.get(zone);
        let root = root.with_context(|| format!("zone {zone} has no store at this home"))?;
        Ok(StoreReader::open(root)?)
    }

    fn fact(&self, kind: LedgerKind, id: &str, by: &str, body: &Value) -> LedgerFact {
        LedgerFact {
            kind,
            subject: id.to_owned(),
            policy: self.catalog.policy.version().clone(),
            said_by: by.to_owned(),
            at_us: self.now(),
            body: body.to_string(),
        }
    }

    /// Asks for a transfer of the policy. Returns its id, which is that of this one time only.
    ///
    /// # Errors
    /// If the policy has no such transfer, or a store cannot be read or written.
    pub async fn request(&self, name: &str, by: &str) -> anyhow::Result<Answer<String>> {
        let transfer = self.catalog.policy.transfer(name);
        let transfer = transfer.with_context(|| format!("the policy defines no transfer `{name}`"))?;
        self.leased(&[&transfer.from], self.enter_request(name, transfer, by)).await
    }

    async fn enter_request(
        &self,
        name: &str,
        transfer: &Transfer,
        by: &str,
    ) -> anyhow::Result<Answer<String>> {
        // Both must be here before anything is entered.
        let (source, target) = (self.store(&transfer.from)?, self.store(&transfer.to)?);
        let random = uuid::Uuid::now_v7().simple().to_string();
        let id = format!("{name}.{}", &random[random.len() - 12..]);
        if let Err(why) = requestable(transfer, self.today()) {
            return self.refuse(&transfer.from, &id, by, why).await;
        }
        self.archive_policy().await?;
        let parts: Map<String, Value> =
            transfer.parts().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let body = json!({
            "definition": transfer.definition(),
            "transfer": parts,
            "from": store_json(source.identity()),
            "to": store_json(target.identity()),
        });
        source.enter_once(&[self.fact(LedgerKind::TransferRequested, &id, by, &body)]).await?;
        Ok(Answer::Done(id))
    }

    /// Approves a transfer that somebody else requested.
    ///
    /// # Errors
    /// If nobody requested it, or a store cannot be read or written.
    pub async fn approve(&self, id: &str, by: &str) -> anyhow::Result<Answer<()>> {
        let (from, _) = self.requested(id).await?;
        self.leased(&[&from], self.enter_approval(&from, id, by)).await
    }

    async fn enter_approval(&self, from: &ZoneId, id: &str, by: &str) -> anyhow::Result<Answer<()>> {
        let source = self.store(from)?;
        for _ in 0..TRIES {
            let ledger = source.zone_ledger().await?;
            let request = self.request_of(&ledger, id)?;
            let decided = match self.catalog.policy.transfer(&request.name) {
                Some(transfer) => approvable(transfer, &request.voice, by, self.today()),
                None => Err(Refusal::Undefined(request.name.clone())),
            };
            if let Err(why) = decided {
                return self.refuse(from, id, by, why).await;
            }
            if let Some(entry) = ledger.find(LedgerKind::TransferApproved, id) {
                bail!("transfer {id} was approved by `{}` before", entry.fact.said_by);
            }
            self.archive_policy().await?;
            let body = json!({ "definition": request.voice.definition, "requested_by": request.voice.by });
            let fact = self.fact(LedgerKind::TransferApproved, id, by, &body);
            if source.append_to_ledger(&ledger, &[fact]).await? == LedgerStep::Written {
                return Ok(Answer::Done(()));
            }
        }
        bail!(crowded(from))
    }

    /// All transfers that the ledgers of this home's stores tell of, in the order in which they were requested.
    ///
    /// # Errors
    /// If a ledger cannot be read.
    pub async fn list(&self) -> anyhow::Result<Vec<Told>> {
        let mut all: BTreeMap<String, Vec<(ZoneId, LedgerEntry)>> = BTreeMap::new();
        for (zone, store) in &self.stores {
            for entry in store.zone_ledger().await?.entries() {
                if is_of_transfers(entry.fact.kind) {
                    let told = all.entry(entry.fact.subject.clone()).or_default();
                    told.push((zone.clone(), entry.clone()));
                }
            }
        }
        let mut list: Vec<Told> = all.into_iter().map(|(id, entries)| told(id, entries)).collect();
        list.sort_by_key(|told| told.entries.first().map(|(_, entry)| entry.fact.at_us));
        Ok(list)
    }

    /// What the ledgers tell of one transfer.
    ///
    /// # Errors
    /// If none tells of it, or one cannot be read.
    pub async fn show(&self, id: &str) -> anyhow::Result<Told> {
        let found = self.list().await?.into_iter().find(|told| told.id == id);
        found.with_context(|| format!("no ledger of this home tells of a transfer `{id}`"))
    }

    /// Where a transfer goes from, and its request.
    async fn requested(&self, id: &str) -> anyhow::Result<(ZoneId, Request)> {
        for (zone, store) in &self.stores {
            let ledger = store.zone_ledger().await?;
            if ledger.find(LedgerKind::TransferRequested, id).is_some() {
                return Ok((zone.clone(), self.request_of(&ledger, id)?));
            }
        }
        bail!("nobody has requested a transfer `{id}` (`situs transfer list` shows them)")
    }

    /// The request of a transfer in the ledger of the zone that its rows live in.
    fn request_of(&self, ledger: &ZoneLedger, id: &str) -> anyhow::Result<Request> {
        let entry = ledger.find(LedgerKind::TransferRequested, id);
        let entry = entry.with_context(|| format!("nobody has requested a transfer `{id}`"))?;
        self.expect_trusted(entry)?;
        let (fact, body) = (&entry.fact, body_of(entry));
        // A zone's store may have been made anew, or site.yaml names another.
        if body["from"] != store_json(ledger.store()) {
            bail!("transfer {id} was requested of another store than {}: request it anew", ledger.store());
        }
        let read = || {
            let parts = body["transfer"].as_object()?.clone();
            let target = body["to"]["store"].as_str()?.to_owned();
            let name = parts.get("id")?.as_str()?.to_owned();
            let definition = body["definition"].as_str()?.to_owned();
            let from = ledger.store().zone.clone();
            Some(Request { name, from, voice: Voice { by: fact.said_by.clone(), definition }, target, parts })
        };
        read().with_context(|| format!("the request of transfer {id} in the ledger cannot be understood"))
    }

    /// What the ledger tells of a transfer before it is carried out.
    fn standing_of(&self, ledger: &ZoneLedger, id: &str, request: &Request) -> anyhow::Result<Standing> {
        let requested = Some(request.voice.clone());
        let Some(entry) = ledger.find(LedgerKind::TransferApproved, id) else {
            return Ok(Standing { requested, approved: None });
        };
        self.expect_trusted(entry)?;
        let definition = body_of(entry)["definition"].as_str().map(str::to_owned);
        let definition = definition
            .with_context(|| format!("the approval of transfer {id} in the ledger cannot be understood"))?;
        let approved = Some(Voice { by: entry.fact.said_by.clone(), definition });
        Ok(Standing { requested, approved })
    }

    /// Where entries are signed, nothing is decided by one that is not, or with a key that only the store's own
    /// archive knows: whoever may write the store could have written both.
    fn expect_trusted(&self, entry: &LedgerEntry) -> anyhow::Result<()> {
        let Some(trusted) = &self.trusted else { return Ok(()) };
        let (number, kind) = (entry.number, entry.fact.kind);
        match &entry.signed_by {
            None => bail!("entry {number} of the ledger ({kind}) is not signed"),
            Some(id) if trusted.iter().any(|key| key.id() == id) => Ok(()),
            Some(id) => bail!(
                "entry {number} of the ledger ({kind}) is signed with key {id}, which is neither this site's \
                 `signing-key` nor one of its `trusted-keys`"
            ),
        }
    }

    /// What has begun is finished whatever the policy says today, but only if another person approved it.
    fn expect_approved(id: &str, request: &Request, standing: &Standing) -> anyhow::Result<()> {
        let Some(approved) = &standing.approved else {
            bail!("transfer {id} has begun, but nobody has approved it; `situs store verify` tells more");
        };
        if approved.definition != request.voice.definition || same_person(&approved.by, &request.voice.by) {
            bail!(
                "transfer {id} has begun, but was not approved by another person as it was requested; `situs store \
                 verify` tells more"
            );
        }
        Ok(())
    }

    /// The store that it was requested for.
    fn target_of(&self, id: &str, request: &Request, to: &ZoneId) -> anyhow::Result<&Arc<DeltaStore>> {
        let store = self.store(to)?;
        if store.identity().store_id != request.target {
            bail!(
                "transfer {id} was requested for store {} of zone {to}, and here is {}: request it anew",
                request.target,
                store.identity()
            );
        }
        Ok(store)
    }

    /// Works under leases on the stores of these zones, so that no vacuum takes what is staged.
    async fn leased<T>(
        &self,
        zones: &[&ZoneId],
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let stores = zones.iter().map(|zone| self.store(zone).cloned());
        let stores: Vec<Arc<DeltaStore>> = stores.collect::<Result<_, _>>()?;
        for store in &stores {
            store.renew_lease().await?;
        }
        let done = tokio::select! {
            done = work => done,
            () = keep_leases(&stores) => Err(anyhow::anyhow!("the leases were given up")),
        };
        for store in &stores {
            store.release_lease().await?;
        }
        done
    }

    /// Enters a body once, and returns that which stands there then: another process may have entered one before.
    ///
    /// # Errors
    /// If one of the parts that must be the same differs in it, or it is not signed as it should be.
    async fn enter_same(
        &self,
        store: &DeltaStore,
        kind: LedgerKind,
        id: &str,
        by: &str,
        body: &Value,
        same: &[&str],
    ) -> anyhow::Result<Value> {
        let ledger = store.enter_once(&[self.fact(kind, id, by, body)]).await?;
        let entry = ledger.find(kind, id);
        let entry = entry.with_context(|| format!("the ledger of {} lost an entry", store.identity()))?;
        self.expect_trusted(entry)?;
        let stands = body_of(entry);
        if let Some(part) = same.iter().find(|part| stands[**part] != body[**part]) {
            let zone = &store.identity().zone;
            bail!(
                "the ledger of zone {zone} tells otherwise of transfer {id} (`{part}`); `situs store verify` tells more"
            );
        }
        Ok(stands)
    }

    async fn archive_policy(&self) -> anyhow::Result<()> {
        let policy = &self.catalog.policy;
        let home = self.store(&self.site.home_zone)?;
        Ok(home.archive(Text::Policy, policy.version(), policy.text()).await?)
    }

    /// Enters a refusal in the ledger of the zone that the rows live in. A transfer may be refused often.
    async fn refuse<T>(&self, from: &ZoneId, id: &str, by: &str, why: Refusal) -> anyhow::Result<Answer<T>> {
        let source = self.store(from)?;
        self.archive_policy().await?;
        let body = json!({ "code": why.code(), "why": why.to_string() });
        let fact = self.fact(LedgerKind::TransferRefused, id, by, &body);
        for _ in 0..TRIES {
            let ledger = source.zone_ledger().await?;
            if source.append_to_ledger(&ledger, std::slice::from_ref(&fact)).await? == LedgerStep::Written {
                return Ok(Answer::Refused { id: id.to_owned(), why });
            }
        }
        bail!(crowded(from))
    }
}

fn crowded(zone: &ZoneId) -> String {
    format!("others enter in the ledger of zone {zone} all the time; try again")
}

fn body_of(entry: &LedgerEntry) -> Value {
    serde_json::from_str(&entry.fact.body).unwrap_or_default()
}

/// Whether an entry is of a transfer.
fn is_of_transfers(kind: LedgerKind) -> bool {
    use LedgerKind as K;
    match kind {
        K::TransferRequested
        | K::TransferApproved
        | K::TransferSent
        | K::TransferReceived
        | K::TransferRefused
        | K::DerivedSent
        | K::DerivedReceived => true,
        K::Deleted | K::BytesGone | K::HoldSet | K::HoldLifted | K::Retagged => false,
    }
}

fn told(id: String, mut entries: Vec<(ZoneId, LedgerEntry)>) -> Told {
    entries.sort_by_key(|(zone, entry)| (entry.fact.at_us, entry.fact.kind, zone.clone(), entry.number));
    let state = entries.iter().map(|(_, entry)| match entry.fact.kind {
        LedgerKind::TransferSent | LedgerKind::DerivedSent => State::Sent,
        LedgerKind::TransferApproved => State::Approved,
        LedgerKind::TransferRequested => State::Requested,
        _ => State::Refused,
    });
    Told { state: state.max().unwrap_or(State::Refused), id, entries }
}

fn store_json(store: &StoreIdentity) -> Value {
    json!({ "zone": store.zone.as_str(), "store": store.store_id })
}

/// What both ledgers tell of every transfer that was carried out: who, why and on what it rests. It is taken
/// from the request, since that is what was approved.
fn declared(request: &Request, standing: &Standing) -> Map<String, Value> {
    let mut body = Map::new();
    for part in ["purpose", "use", "recipient", "basis", "reference", "until", "ceiling", "where"] {
        body.insert(part.to_owned(), json!(request.part(part)));
    }
    body.insert("transfer".to_owned(), json!(request.name));
    body.insert("definition".to_owned(), json!(request.voice.definition));
    body.insert("requested_by".to_owned(), json!(request.voice.by));
    body.insert("approved_by".to_owned(), json!(standing.approved.as_ref().map(|voice| &voice.by)));
    body
}

/// The transfer as today's policy defines it.
fn defined<'c>(catalog: &'c Catalog, request: &Request) -> Result<&'c Transfer, Refusal> {
    catalog.policy.transfer(&request.name).ok_or_else(|| Refusal::Undefined(request.name.clone()))
}
