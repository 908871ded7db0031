//! The shares of jurisdictions in what models may learn from (docs/evidence.md).

mod markets;
mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use situs_model::doc::nearest;
use situs_model::store::Text;
use situs_model::{ContentVersion, Jurisdiction, PipelineName, TableName, Training, ZoneId};
use situs_policy::Policy;
use situs_store::{StoreReader, Tagged, TaggedRows, Tags};

use self::markets::{Markets, declared};
use crate::explain::{Mark, time_text};
use crate::statement::Statement;
use crate::tables::{self, ReadError};

/// Whose shares are asked for.
#[derive(Debug, Clone)]
pub struct SharesSubject {
    /// The root of each zone's store.
    pub stores: BTreeMap<ZoneId, PathBuf>,
    /// The zone whose store keeps the texts of policies.
    pub home: ZoneId,
    /// Today's policy.
    pub policy: Arc<Policy>,
    /// Only the tables of these pipelines; all if empty.
    pub pipelines: Vec<PipelineName>,
    /// Only this model.
    pub model: Option<String>,
    /// Only models that are or were deployed here.
    pub market: Option<Jurisdiction>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharesError {
    /// A store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Neither the policy nor a row knows the model.
    #[error("neither the policy nor a row knows a model `{model}`{}", did_you_mean(nearest.as_deref()))]
    NoModel {
        /// The name that was asked for.
        model: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Rows of a site and class among those that feed a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// `_site`; empty text is none.
    pub site: String,
    /// `_class`; empty text is none.
    pub class: String,
    /// How many.
    pub rows: u64,
    /// Their share, in percent, of what [`Collected::percent`] is of.
    pub percent: f64,
    /// The first `event_time`.
    pub first: Option<String>,
    /// The last one.
    pub last: Option<String>,
    /// Rows by `_training`.
    pub training: BTreeMap<String, u64>,
}

/// Rows that were collected in a jurisdiction and feed a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Collected {
    /// `_jurisdiction`; empty text is none.
    pub jurisdiction: String,
    /// `_zone`: where the rows must live.
    pub zone: String,
    /// The zone in whose store they lie: another one for received rows.
    pub lies_in: String,
    /// Whether they came from another zone by a transfer, so that they are copies.
    pub received: bool,
    /// How many.
    pub rows: u64,
    /// Their share, in percent, of all rows that feed the model; of received rows, of all received rows that do.
    pub percent: f64,
    /// The first `event_time`.
    pub first: Option<String>,
    /// The last one.
    pub last: Option<String>,
    /// The markets of the model that are not the jurisdiction in which they were collected.
    pub other_markets: Vec<String>,
    /// Whether one of them lies outside of the rows' zone: then they are in scope, even if anonymized
    /// (docs/policy.md).
    pub in_scope: bool,
    /// By site and class, most rows first.
    pub parts: Vec<Part>,
}

/// What a model may learn from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelShares {
    /// Its id.
    pub model: String,
    /// Its version by today's policy; `None` if that does not register it.
    pub version: Option<String>,
    /// Where it is deployed, by today's policy.
    pub markets: Vec<String>,
    /// Where else it was deployed when rows were judged that feed it.
    pub markets_before: Vec<String>,
    /// Rows that feed it, without received ones.
    pub rows: u64,
    /// How many of them are in scope.
    pub rows_in_scope: u64,
    /// Received rows that have its name in their tags.
    pub received_rows: u64,
    /// By where they were collected, most rows first, received ones last.
    pub collected: Vec<Collected>,
}

/// Rows of a table that were collected in a jurisdiction, whatever they feed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Jurisdictional {
    /// `_jurisdiction`; empty text is none.
    pub jurisdiction: String,
    /// How many.
    pub rows: u64,
    /// Their share, in percent, of the table's rows.
    pub percent: f64,
}

/// All rows of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableTotal {
    /// The zone in whose store it lies.
    pub zone: String,
    /// Its name.
    pub table: String,
    /// Whether it holds rows that came from another zone by a transfer.
    pub received: bool,
    /// The version that was read.
    pub version: u64,
    /// All rows.
    pub rows: u64,
    /// Rows that feed a model.
    pub feeding: u64,
    /// Rows that may be learned from, but feed no model.
    pub without_model: u64,
    /// Rows whose training is prohibited: they feed nothing.
    pub prohibited: u64,
    /// The first `event_time`.
    pub first: Option<String>,
    /// The last one.
    pub last: Option<String>,
    /// By where they were collected, most rows first.
    pub jurisdictions: Vec<Jurisdictional>,
}

/// The shares of jurisdictions in what models may learn from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shares {
    /// The policy of today.
    pub policy: String,
    /// The models that were asked for, in the order of their names.
    pub models: Vec<ModelShares>,
    /// The tables that were read, whatever model was asked for.
    pub tables: Vec<TableTotal>,
    /// What is said of it, in order.
    pub statements: Vec<Statement>,
}

/// A table that was read.
#[derive(Debug)]
struct Table {
    zone: ZoneId,
    name: TableName,
    counted: TaggedRows,
}

/// Counts by tags what every table of every store holds, and says what that means for models. Takes CPU time and
/// reads files.
///
/// # Memory
/// What [`TaggedRows`] takes for each table, and of the policies that judged the rows one text at a time.
///
/// # Errors
/// If a store cannot be read, or nobody knows the model that was asked for.
pub async fn shares(subject: &SharesSubject) -> Result<Shares, SharesError> {
    let (tables, past) = read(subject).await?;
    let markets = Markets { today: declared(&subject.policy), past };
    let shares = report(subject, &markets, &tables);
    if let Some(model) = &subject.model
        && !markets.today.contains_key(model)
        && !models(&tables).contains(model)
    {
        let known: BTreeSet<String> = models(&tables).into_iter().chain(markets.today.into_keys()).collect();
        let nearest = nearest(model, known.iter().map(String::as_str));
        return Err(SharesError::NoModel { model: model.clone(), nearest });
    }
    Ok(shares)
}

async fn read(
    subject: &SharesSubject,
) -> Result<(Vec<Table>, BTreeMap<String, Option<markets::Declared>>), ReadError> {
    let asked: BTreeSet<TableName> = subject.pipelines.iter().map(TableName::of).collect();
    let mut found = Vec::new();
    for (zone, root) in &subject.stores {
        let reader = StoreReader::open(root)?;
        for name in reader.tables()?.into_iter().filter(tables::holds_rows) {
            if asked.is_empty() || asked.contains(&tables::of_pipeline(&name)) {
                let counted = reader.tagged_rows(&name).await?;
                found.push(Table { zone: zone.clone(), name, counted });
            }
        }
    }
    let mut past = BTreeMap::new();
    if let Some(root) = subject.stores.get(&subject.home) {
        let home = StoreReader::open(root)?;
        for tags in feeding(&found).map(|(_, one)| &one.tags) {
            if !past.contains_key(&tags.policy) {
                past.insert(tags.policy.clone(), archived(&subject.policy, &home, &tags.policy)?);
            }
        }
    }
    Ok((found, past))
}

/// What the policy of a version declares; `None` if it is not kept.
fn archived(
    today: &Policy,
    home: &StoreReader,
    version: &str,
) -> Result<Option<markets::Declared>, ReadError> {
    if version == today.version().as_str() {
        return Ok(Some(declared(today)));
    }
    // What is no version was never one.
    let Ok(version) = version.parse::<ContentVersion>() else { return Ok(None) };
    let text = home.archived_text(Text::Policy, &version)?;
    // A text that an older version of Situs read and this one does not is as good as none.
    let policy = text.and_then(|text| Policy::parse(version.as_str(), &text).ok());
    Ok(policy.as_ref().map(declared))
}

fn prohibited(tags: &Tags) -> bool {
    tags.training == Training::Prohibited.as_str()
}

/// The rows that feed models, with their table.
fn feeding(tables: &[Table]) -> impl Iterator<Item = (&Table, &Tagged)> {
    let rows = tables.iter().flat_map(|table| table.counted.tagged.iter().map(move |one| (table, one)));
    rows.filter(|(_, one)| !one.tags.models.is_empty() && !prohibited(&one.tags))
}

fn models(tables: &[Table]) -> BTreeSet<String> {
    feeding(tables).flat_map(|(_, one)| one.tags.models.iter().cloned()).collect()
}

/// A share in percent, with two decimals.
fn percent(rows: u64, of: u64) -> f64 {
    let (rows, of) = (u128::from(rows), u128::from(of.max(1)));
    f64::from(u32::try_from((rows * 10_000 + of / 2) / of).unwrap_or(u32::MAX)) / 100.0
}

/// Rows that are counted together.
#[derive(Debug, Clone, Default)]
struct Count {
    rows: u64,
    span: Option<(i64, i64)>,
}

impl Count {
    fn add(&mut self, rows: u64, span: Option<(i64, i64)>) {
        self.rows += rows;
        self.span = match (self.span, span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (one, other) => one.or(other),
        };
    }

    fn first(&self) -> Option<String> {
        self.span.map(|(first, _)| time_text(first))
    }

    fn last(&self) -> Option<String> {
        self.span.map(|(_, last)| time_text(last))
    }
}

fn report(subject: &SharesSubject, markets: &Markets, tables: &[Table]) -> Shares {
    let registered = subject.policy.models().filter(|model| {
        subject.pipelines.is_empty() || model.pipelines.iter().any(|of| subject.pipelines.contains(of))
    });
    let mut names = models(tables);
    names.extend(registered.map(|model| model.id.to_string()));
    let mut found = Vec::new();
    for name in names.iter().filter(|name| subject.model.as_ref().is_none_or(|model| model == *name)) {
        let rows: Vec<(&Table, &Tagged)> =
            feeding(tables).filter(|(_, one)| one.tags.models.contains(name)).collect();
        let (today, before) = markets.of(name, rows.iter().map(|(_, one)| &one.tags));
        let wanted =
            |market: &Jurisdiction| today.contains(market.as_str()) || before.contains(market.as_str());
        if subject.market.as_ref().is_none_or(wanted) {
            found.push(of_model(&subject.policy, name, &today, &before, &rows));
        }
    }
    let mut shares = Shares {
        policy: subject.policy.version().to_string(),
        models: found,
        tables: tables.iter().map(total).collect(),
        statements: Vec::new(),
    };
    say(&mut shares, subject, markets, tables);
    shares
}

/// Rows by site and class: all, and by `_training`.
type Parts<'a> = BTreeMap<(&'a str, &'a str), (Count, BTreeMap<String, u64>)>;

fn of_model(
    policy: &Policy,
    name: &str,
    today: &BTreeSet<String>,
    before: &BTreeSet<String>,
    rows: &[(&Table, &Tagged)],
) -> ModelShares {
    let mut groups: BTreeMap<(bool, &str, &str, &str), Parts<'_>> = BTreeMap::new();
    let (mut own, mut received) = (0, 0);
    for (table, one) in rows {
        let (copies, tags) = (table.name.is_received(), &one.tags);
        *if copies { &mut received } else { &mut own } += one.rows;
        let place = (copies, tags.jurisdiction.as_str(), tags.zone.as_str(), table.zone.as_str());
        let parts = groups.entry(place).or_default();
        let (count, training) = parts.entry((&tags.site, &tags.class)).or_default();
        count.add(one.rows, one.span_us);
        *training.entry(tags.training.clone()).or_default() += one.rows;
    }
    let collected = groups.into_iter().map(|((copies, jurisdiction, zone, lies_in), parts)| {
        let of = if copies { received } else { own };
        let mut all = Count::default();
        parts.values().for_each(|(count, _)| all.add(count.rows, count.span));
        let mut parts: Vec<Part> = parts
            .into_iter()
            .map(|((site, class), (count, training))| Part {
                site: site.to_owned(),
                class: class.to_owned(),
                rows: count.rows,
                percent: percent(count.rows, of),
                first: count.first(),
                last: count.last(),
                training,
            })
            .collect();
        // Stable, so that what is equal stays in the order of its names.
        parts.sort_by_key(|part| std::cmp::Reverse(part.rows));
        let elsewhere = |market: &&String| *market != jurisdiction;
        let other_markets: Vec<String> = today.union(before).filter(elsewhere).cloned().collect();
        Collected {
            in_scope: other_markets.iter().any(|market| !is_within(policy, zone, market)),
            jurisdiction: jurisdiction.to_owned(),
            zone: zone.to_owned(),
            lies_in: lies_in.to_owned(),
            received: copies,
            rows: all.rows,
            percent: percent(all.rows, of),
            first: all.first(),
            last: all.last(),
            other_markets,
            parts,
        }
    });
    let mut collected: Vec<Collected> = collected.collect();
    collected.sort_by_key(|one| (one.received, std::cmp::Reverse(one.rows)));
    let in_scope = collected.iter().filter(|one| one.in_scope && !one.received);
    ModelShares {
        model: name.to_owned(),
        version: policy.models().find(|model| model.id.as_str() == name).map(|model| model.version.clone()),
        markets: today.iter().cloned().collect(),
        markets_before: before.iter().cloned().collect(),
        rows: own,
        rows_in_scope: in_scope.map(|one| one.rows).sum(),
        received_rows: received,
        collected,
    }
}

/// Whether a market is one of a zone's jurisdictions. A zone that today's policy does not know has none: rather too
/// much is in scope than too little.
fn is_within(policy: &Policy, zone: &str, market: &str) -> bool {
    let zone = policy.zones().find(|one| one.id.as_str() == zone);
    zone.is_some_and(|zone| zone.jurisdictions.iter().any(|one| one.as_str() == market))
}

fn total(table: &Table) -> TableTotal {
    let (mut all, mut feeding, mut prohibited_rows) = (Count::default(), 0, 0);
    let mut jurisdictions: BTreeMap<&str, u64> = BTreeMap::new();
    for one in &table.counted.tagged {
        all.add(one.rows, one.span_us);
        *jurisdictions.entry(&one.tags.jurisdiction).or_default() += one.rows;
        match (prohibited(&one.tags), one.tags.models.is_empty()) {
            (true, _) => prohibited_rows += one.rows,
            (false, false) => feeding += one.rows,
            (false, true) => {}
        }
    }
    let of = |(jurisdiction, rows): (&str, u64)| Jurisdictional {
        jurisdiction: jurisdiction.to_owned(),
        rows,
        percent: percent(rows, all.rows),
    };
    let mut jurisdictions: Vec<Jurisdictional> = jurisdictions.into_iter().map(of).collect();
    jurisdictions.sort_by_key(|one| std::cmp::Reverse(one.rows));
    TableTotal {
        zone: table.zone.to_string(),
        table: table.name.to_string(),
        received: table.name.is_received(),
        version: table.counted.version,
        rows: all.rows,
        feeding,
        without_model: all.rows - feeding - prohibited_rows,
        prohibited: prohibited_rows,
        first: all.first(),
        last: all.last(),
        jurisdictions,
    }
}

fn say(shares: &mut Shares, subject: &SharesSubject, markets: &Markets, tables: &[Table]) {
    let mut say = |mark, about, text: String| {
        shares.statements.push(Statement { mark, zone: None, about, text });
    };
    let own = || tables.iter().filter(|table| !table.name.is_received());
    let rows: u64 = own().map(|table| table.counted.rows()).sum();
    say(Mark::Measured, "rows", format!("{rows} in {} tables, by the tags that each row has", own().count()));
    let received: u64 =
        tables.iter().filter(|table| table.name.is_received()).map(|table| table.counted.rows()).sum();
    if received > 0 {
        let text = format!(
            "{received} rows more came from another zone by a transfer: copies, whose shares are of copies alone"
        );
        say(Mark::Measured, "received", text);
    }
    let odd: u64 = tables
        .iter()
        .flat_map(|table| &table.counted.tagged)
        .filter(|one| prohibited(&one.tags) && !one.tags.models.is_empty())
        .map(|one| one.rows)
        .sum();
    if odd > 0 {
        let text = format!(
            "{odd} rows name models though their training is prohibited; they are counted as prohibited"
        );
        say(Mark::Measured, "contradiction", text);
    }
    let text = format!("of models, by policy {} and by those that judged the rows", subject.policy.version());
    say(Mark::Declared, "markets", text);
    let lost: Vec<&str> = markets
        .past
        .iter()
        .filter(|(_, declared)| declared.is_none())
        .map(|(version, _)| if version.is_empty() { "none" } else { version.as_str() })
        .collect();
    if !lost.is_empty() {
        let text = format!(
            "of policies that are not kept ({}): what the rows say of all their models together is taken for each",
            lost.join(", ")
        );
        say(Mark::NotAssessed, "markets", text);
    }
    let unknown: BTreeSet<&str> = feeding(tables)
        .map(|(_, one)| one.tags.zone.as_str())
        .filter(|zone| !subject.policy.zones().any(|known| known.id.as_str() == *zone))
        .collect();
    if !unknown.is_empty() {
        let names: Vec<&str> =
            unknown.into_iter().map(|zone| if zone.is_empty() { "none" } else { zone }).collect();
        let text = format!(
            "zones that policy {} does not know ({}): every market counts as outside",
            subject.policy.version(),
            names.join(", ")
        );
        say(Mark::NotAssessed, "scope", text);
    }
    say(Mark::Declared, "times", "are `event_time`, by the clocks of machines".to_owned());
    let elsewhere: Vec<&str> = subject
        .policy
        .zones()
        .filter(|zone| !subject.stores.contains_key(&zone.id))
        .map(|zone| zone.id.as_str())
        .collect();
    if !elsewhere.is_empty() {
        let text = format!("stores of zones that this site has none of: {}", elsewhere.join(", "));
        say(Mark::NotAssessed, "other stores", text);
    }
    let text = "messages in quarantine feed no model, and were not looked at";
    say(Mark::NotAssessed, "quarantine", text.to_owned());
    let text = "Situs keeps no training sets: these are the rows that a model may learn from, not those that it has learnt from";
    say(Mark::NotAssessed, "training", text.to_owned());
    let text = "rows that were deleted, and what was made of rows and left by a transfer";
    say(Mark::NotAssessed, "before", text.to_owned());
}

#[cfg(test)]
mod tests;
