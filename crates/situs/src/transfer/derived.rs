//! Something that was made of rows leaves: what it is stands in both ledgers, and nothing is copied.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray as _;
use arrow_schema::{DataType, Field};
use serde_json::{Value, json};
use situs_model::columns::names;
use situs_model::store::ZoneStore as _;
use situs_model::transfer::{Cargo, Measured, Route, decide};
use situs_model::{Class, LedgerKind, PipelineName, TableName, Training, ZoneId};
use situs_store::sha256_of;

use super::carry::word;
use super::{Answer, Request, Transfers, body_of, declared, defined, store_json};

/// Something that was made of rows, and left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The transfer.
    pub id: String,
    /// The file's name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// The strictest class of the rows that it was made of; `None` if there are none.
    pub highest: Option<Class>,
}

/// A table that something was made of, as it was measured.
struct Source {
    table: TableName,
    version: Option<u64>,
    classes: BTreeMap<Class, u64>,
    trainings: BTreeMap<Training, u64>,
}

impl Transfers<'_> {
    /// Enters in both ledgers that a file leaves which was made of rows, if it may. The file is read for its
    /// hash and goes nowhere by this.
    ///
    /// # Errors
    /// If nobody requested the transfer, it is of rows, the file cannot be read or another one left by this
    /// transfer, or a store cannot be read or written.
    pub async fn run_derived(&self, id: &str, by: &str, artifact: &Path) -> anyhow::Result<Answer<Sent>> {
        let (from, request) = self.requested(id).await?;
        if request.part("derived").is_none() {
            bail!("transfer {id} is of rows, and takes no --artifact");
        }
        let to: ZoneId = request.part("to").unwrap_or_default().parse()?;
        self.leased(&[&from, &to], self.enter_derived(id, by, artifact, &request, &to)).await
    }

    async fn enter_derived(
        &self,
        id: &str,
        by: &str,
        artifact: &Path,
        request: &Request,
        to: &ZoneId,
    ) -> anyhow::Result<Answer<Sent>> {
        let from = &request.from;
        let name = artifact.file_name().and_then(|name| name.to_str());
        let name = name.filter(|name| !name.chars().any(char::is_control));
        let name =
            name.with_context(|| format!("{} has no name that can be told", artifact.display()))?.to_owned();
        let cannot = || format!("{} cannot be read", artifact.display());
        let bytes = std::fs::metadata(artifact).with_context(cannot)?.len();
        let sha256 = sha256_of(artifact).with_context(cannot)?;

        let (source, target) = (self.store(from)?, self.target_of(id, request, to)?);
        let (source_ledger, target_ledger) = (source.zone_ledger().await?, target.zone_ledger().await?);
        let standing = self.standing_of(&source_ledger, id, request)?;
        // What one ledger tells already is told by the other too, whatever the policy says today.
        let begun = target_ledger.find(LedgerKind::DerivedReceived, id);
        let body = if let Some(entry) = begun.or_else(|| source_ledger.find(LedgerKind::DerivedSent, id)) {
            self.expect_trusted(entry)?;
            Self::expect_approved(id, request, &standing)?;
            let body = body_of(entry);
            if body["artifact"]["sha256"] != sha256.as_str() {
                bail!("another file left by transfer {id}: request it anew for this one");
            }
            body
        } else {
            let transfer = match defined(self.catalog, request) {
                Ok(transfer) => transfer,
                Err(why) => return self.refuse(from, id, by, why).await,
            };
            let Cargo::Derived { pipelines } = &transfer.cargo else {
                bail!("transfer {id} is of rows in today's policy");
            };
            let route = Route { from: source.identity(), to: target.identity() };
            let today = self.today();
            if let Err(why) = decide(id, transfer, route, &standing, today, &Measured::Nothing) {
                return self.refuse(from, id, by, why).await;
            }
            let sources = self.measure(from, pipelines).await?;
            let highest = sources.iter().filter_map(|source| source.classes.keys().max()).max().copied();
            let lowest = sources.iter().filter_map(|source| source.trainings.keys().min()).min().copied();
            let measured = Measured::MadeOf(highest.zip(lowest));
            if let Err(why) = decide(id, transfer, route, &standing, today, &measured) {
                return self.refuse(from, id, by, why).await;
            }
            let mut body = declared(request, &standing);
            let of_table = |source: &Source| {
                let classes: BTreeMap<&str, u64> =
                    source.classes.iter().map(|(class, rows)| (class.as_str(), *rows)).collect();
                let trainings: BTreeMap<&str, u64> =
                    source.trainings.iter().map(|(training, rows)| (training.as_str(), *rows)).collect();
                json!({
                    "table": source.table.as_str(),
                    "version": source.version,
                    "classes": classes,
                    "trainings": trainings,
                })
            };
            body.insert("artifact".to_owned(), json!({ "name": name, "bytes": bytes, "sha256": sha256 }));
            body.insert("sources".to_owned(), sources.iter().map(of_table).collect());
            body.insert("highest".to_owned(), json!(highest.map(Class::as_str)));
            body.insert("from".to_owned(), store_json(source.identity()));
            body.insert("to".to_owned(), store_json(target.identity()));
            Value::Object(body)
        };
        self.archive_policy().await?;
        // Another process may enter another file, or another measure of the same tables: the first is told by both.
        let same = ["definition", "from", "to", "artifact"];
        let body = self.enter_same(target, LedgerKind::DerivedReceived, id, by, &body, &same).await?;
        self.enter_same(source, LedgerKind::DerivedSent, id, by, &body, &same).await?;
        let highest = body["highest"].as_str();
        let highest = highest.and_then(|word| Class::WORDS.iter().find(|(known, _)| *known == word));
        let highest = highest.map(|(_, class)| *class);
        Ok(Answer::Done(Sent { id: id.to_owned(), name, bytes, sha256, highest }))
    }

    /// Reads the class and training of all rows of the tables that something was made of: nobody can tell from which of
    /// them.
    async fn measure(&self, from: &ZoneId, pipelines: &[PipelineName]) -> anyhow::Result<Vec<Source>> {
        let reader = self.reader(from)?;
        let there = reader.tables()?;
        let mut sources = Vec::new();
        for pipeline in pipelines {
            let table = TableName::of(pipeline);
            if !there.contains(&table) {
                sources.push(Source {
                    table,
                    version: None,
                    classes: BTreeMap::new(),
                    trainings: BTreeMap::new(),
                });
                continue;
            }
            let snapshot = reader.snapshot(&table).await?;
            let (mut classes, mut trainings) = (BTreeMap::new(), BTreeMap::new());
            let column = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
            let columns = vec![column(names::CLASS), column(names::TRAINING)];
            for batch in reader.rows(&table, &snapshot, columns) {
                let batch = batch?;
                let texts = |at: usize, name: &str| {
                    let words = batch.column(at).as_string_opt::<i32>();
                    words.with_context(|| format!("table {table} has no column `{name}`"))
                };
                let (of_class, of_training) = (texts(0, names::CLASS)?, texts(1, names::TRAINING)?);
                // A word that nobody knows is of the strictest class, and nobody may learn from it.
                for row in 0..batch.num_rows() {
                    let class = word(Class::WORDS, of_class, row).unwrap_or(Class::Unclassified);
                    *classes.entry(class).or_default() += 1;
                    let training = word(Training::WORDS, of_training, row).unwrap_or(Training::Prohibited);
                    *trainings.entry(training).or_default() += 1;
                }
            }
            sources.push(Source { table, version: Some(snapshot.version), classes, trainings });
        }
        Ok(sources)
    }
}
