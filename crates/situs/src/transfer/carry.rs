//! Carrying rows: decided before a byte moves, written once, entered in both ledgers.
//!
//! No commit is atomic across stores, so there are three: the rows in the target store, under an application id
//! of the transfer's own; the entry in the target's ledger; the entry in the source's. After a crash between two
//! of them the rows lie in the target, and whoever runs the transfer again only finishes it: what the entries
//! tell is measured on the files that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, BooleanArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, FieldRef};
use arrow_select::filter::filter_record_batch;
use serde_json::{Map, Value, json};
use situs_model::columns::{names, seen_codes};
use situs_model::store::{FlushFacts, ZoneStore as _};
use situs_model::transfer::{
    Cargo, Measured, Refusal, Route, Standing, Stays, Transfer, TransferPermit, decide, field_stays,
};
use situs_model::{Class, FieldClass, LedgerKind, PipelineName, TableName, Training, ZoneId};
use situs_policy::RowFilter;
use situs_store::{Arrived, StoreReader, TableSnapshot, transferred_columns};

use super::{Answer, Request, Transfers, declared, defined, store_json};
use crate::catalog::Loaded;

/// The steps of a transfer of rows, each a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The rows lie in the target store.
    Rows,
    /// The target's ledger tells that they were received.
    Received,
    /// The source's ledger tells that they were sent.
    Sent,
}

/// Rows that the transfer asks for and that did not go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Their class is stricter than the ceiling.
    pub class: u64,
    /// No model outside of their zone may learn from them.
    pub training: u64,
    /// The transfer's condition has no answer for them.
    pub unanswered: u64,
}

/// A transfer that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its id.
    pub id: String,
    /// Where the rows live.
    pub from: ZoneId,
    /// Where they went.
    pub to: ZoneId,
    /// The table there.
    pub table: TableName,
    /// How many.
    pub rows: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Of each class.
    pub classes: BTreeMap<Class, u64>,
    /// What did not go; `None` if the rows had gone before, so that it was not counted now.
    pub left_out: Option<LeftOut>,
}

/// What is read of the source.
struct Plan<'c> {
    reader: StoreReader,
    loaded: &'c Loaded,
    table: TableName,
    snapshot: TableSnapshot,
    filter: RowFilter,
    /// The columns that go, as the table holds them.
    columns: Vec<FieldRef>,
    /// How many entries the source's ledger had when it was decided.
    decided_at: i64,
}

impl Transfers<'_> {
    /// Carries an approved transfer out, or finishes one that was cut off.
    ///
    /// # Errors
    /// If nobody requested it, or a store cannot be read or written. It can be tried again: nothing is moved twice.
    pub async fn run(&self, id: &str, by: &str) -> anyhow::Result<Answer<Carried>> {
        self.run_to(id, by, Step::Sent).await
    }

    /// The same up to a step and no further, as if the process had ended behind it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_to(&self, id: &str, by: &str, last: Step) -> anyhow::Result<Answer<Carried>> {
        let (from, request) = self.requested(id).await?;
        let part = |name: &str| {
            let unread = || format!("the request of transfer {id} in the ledger lacks its `{name}`");
            request.part(name).with_context(unread)
        };
        if request.part("derived").is_some() {
            bail!("transfer {id} is of something that was made of rows: name its file with --artifact");
        }
        let to: ZoneId = part("to")?.parse()?;
        let pipeline: PipelineName = part("pipeline")?.parse()?;
        self.leased(&[&from, &to], self.carry_to(id, by, last, &request, &to, &pipeline)).await
    }

    async fn carry_to(
        &self,
        id: &str,
        by: &str,
        last: Step,
        request: &Request,
        to: &ZoneId,
        pipeline: &PipelineName,
    ) -> anyhow::Result<Answer<Carried>> {
        let from = &request.from;
        let (source_store, target_store) = (self.store(from)?, self.target_of(id, request, to)?);
        let table = TableName::received(pipeline);
        let target = self.reader(to)?;
        let mut left_out = None;
        // Before it is looked for the rows: they come first, so that whoever runs it beside is not taken for
        // somebody who took them away.
        let (sent, received) = (source_store.zone_ledger().await?, target_store.zone_ledger().await?);
        let mut arrived = target.arrived(&table, id).await?;
        if arrived.is_none() {
            for (ledger, kind) in
                [(&sent, LedgerKind::TransferSent), (&received, LedgerKind::TransferReceived)]
            {
                if ledger.find(kind, id).is_some() {
                    bail!(
                        "the ledger of zone {} tells that transfer {id} was carried out, but its rows are not in the \
                         store of zone {to}: nothing is moved twice; `situs store verify` tells more",
                        ledger.store().zone
                    );
                }
            }
            // What has begun is finished whatever the policy says today; what has not is decided now.
            let decided = self.decide_rows(id, request).await?;
            let (permit, plan, left) = match decided {
                Ok(decided) => decided,
                Err(why) => return self.refuse(from, id, by, why).await,
            };
            self.archive_policy().await?;
            self.carry(&permit, &plan).await?;
            left_out = Some(left);
            arrived = target.arrived(&table, id).await?;
        }
        let arrived = arrived.with_context(|| format!("transfer {id}: its rows are not where they went"))?;
        if arrived.definition != request.voice.definition {
            bail!("the rows of transfer {id} went by another definition than was requested");
        }
        let carried = Carried {
            id: id.to_owned(),
            from: from.clone(),
            to: to.clone(),
            table,
            rows: arrived.rows(),
            bytes: arrived.bytes(),
            classes: arrived.classes.clone(),
            left_out,
        };
        let standing = self.standing_of(&source_store.zone_ledger().await?, id, request)?;
        Self::expect_approved(id, request, &standing)?;
        let measured = Value::Object(self.body(request, &standing, to, &arrived)?);
        if last >= Step::Received {
            let same = ["definition", "from", "to", "table", "rows", "files"];
            let body = self.enter_same(target_store, LedgerKind::TransferReceived, id, by, &measured, &same);
            let body = body.await?;
            if last >= Step::Sent {
                self.enter_same(source_store, LedgerKind::TransferSent, id, by, &body, &same).await?;
            }
        }
        Ok(Answer::Done(carried))
    }

    /// Decides whether the rows of a transfer go, after counting them.
    async fn decide_rows(
        &self,
        id: &str,
        request: &Request,
    ) -> anyhow::Result<Result<(TransferPermit, Plan<'_>, LeftOut), Refusal>> {
        let transfer = match defined(self.catalog, request) {
            Ok(transfer) => transfer,
            Err(why) => return Ok(Err(why)),
        };
        let (source, target) = (self.store(&transfer.from)?, self.store(&transfer.to)?);
        let route = Route { from: source.identity(), to: target.identity() };
        let ledger = source.zone_ledger().await?;
        let standing = self.standing_of(&ledger, id, request)?;
        let today = self.today();
        // Before anything is read.
        if let Err(why) = decide(id, transfer, route, &standing, today, &Measured::Nothing) {
            return Ok(Err(why));
        }
        let Cargo::Rows { pipeline, columns, .. } = &transfer.cargo else {
            bail!("transfer {id} is of something that was made of rows: name its file with --artifact");
        };
        let loaded = self.catalog.pipeline(pipeline.as_str())?;
        if let Some(why) = column_that_stays(loaded, columns) {
            return Ok(Err(why));
        }
        let Some(plan) = self.plan(transfer, loaded, columns, ledger.next()).await? else {
            return Ok(Err(Refusal::Nothing));
        };
        let (rows, left_out, plan) = count(transfer, plan).await?;
        let permit = decide(id, transfer, route, &standing, today, &Measured::Rows(rows));
        Ok(permit.map(|permit| (permit, plan, left_out)))
    }

    /// What is read of the source; `None` if there is no table.
    async fn plan<'c>(
        &self,
        transfer: &Transfer,
        loaded: &'c Loaded,
        columns: &[String],
        decided_at: i64,
    ) -> anyhow::Result<Option<Plan<'c>>> {
        let reader = self.reader(&transfer.from)?;
        let table = TableName::of(&loaded.pipeline.name);
        if !reader.tables()?.contains(&table) {
            return Ok(None);
        }
        let facts = loaded.facts();
        let filter = self.catalog.policy.row_filter(transfer.id.as_str(), &facts)?;
        let snapshot = reader.snapshot(&table).await?;
        let mut going: Vec<FieldRef> = Vec::new();
        for column in columns {
            let stored =
                snapshot.schema.field_with_name(column).or_else(|_| facts.schema.field_with_name(column));
            let field = stored.with_context(|| format!("table {table} has no column `{column}`"))?;
            going.push(plain(field));
        }
        for own in transferred_columns() {
            let claims = own.name() == names::CLAIMED && !filter.claims_go();
            if let Ok(field) = snapshot.schema.field_with_name(own.name())
                && !claims
            {
                going.push(plain(field));
            }
        }
        Ok(Some(Plan { reader, loaded, table, snapshot, filter, columns: going, decided_at }))
    }

    /// Moves the rows. Nothing is written before all of them were read and looked at once more.
    async fn carry(&self, permit: &TransferPermit, plan: &Plan<'_>) -> anyhow::Result<()> {
        let target = self.store(&permit.to().zone)?.clone();
        let mut receiving = target.receiving(permit)?;
        let (columns, transfer) = (plan.columns.clone(), permit.transfer().clone());
        let mut left_out = LeftOut::default();
        for batch in plan.reader.rows(&plan.table, &plan.snapshot, plan.read_columns()) {
            let batch = batch?;
            let kept = filter_record_batch(&batch, &plan.chosen(&transfer, &batch, &mut left_out)?)?;
            if kept.num_rows() > 0 {
                let indices: Vec<usize> = (0..columns.len()).collect();
                receiving.add(&with_own_codes(&kept.project(&indices)?)?)?;
            }
        }
        let facts = FlushFacts {
            flush_id: permit.id().to_owned(),
            pipeline: plan.loaded.pipeline.name.clone(),
            policy: self.catalog.policy.version().clone(),
            schema: plan.loaded.schema.version().clone(),
            definition: plan.loaded.pipeline.version.clone(),
        };
        self.expect_unchanged(permit, plan).await?;
        target.receive(receiving, &facts, plan.snapshot.version).await?;
        Ok(())
    }

    /// The rows were read as they were when it was decided, and some of them may have been deleted since, or got
    /// other tags.
    async fn expect_unchanged(&self, permit: &TransferPermit, plan: &Plan<'_>) -> anyhow::Result<()> {
        // In this order: a deletion's plan is there until the ledger tells of it.
        let under_way = plan.reader.deletion_is_under_way().await?;
        let ledger = self.store(&permit.from().zone)?.zone_ledger().await?;
        let since = ledger.entries().iter().filter(|entry| entry.number >= plan.decided_at);
        if under_way || since.into_iter().any(|entry| entry.fact.kind == LedgerKind::Deleted) {
            bail!(
                "transfer {}: rows of zone {} were or are being deleted since it was decided, and nothing was \
                 moved: run it again when the deletion is over",
                permit.id(),
                permit.from().zone
            );
        }
        if plan.reader.retagged_since(&plan.table, plan.snapshot.version).await? {
            bail!(
                "transfer {}: rows of zone {} got other tags since they were read, and nothing was moved: run it \
                 again, so that they are looked at with these",
                permit.id(),
                permit.from().zone
            );
        }
        Ok(())
    }

    /// What both ledgers tell of the transfer: the same in both.
    fn body(
        &self,
        request: &Request,
        standing: &Standing,
        to: &ZoneId,
        arrived: &Arrived,
    ) -> anyhow::Result<Map<String, Value>> {
        let mut body = declared(request, standing);
        let classes: BTreeMap<&str, u64> =
            arrived.classes.iter().map(|(class, rows)| (class.as_str(), *rows)).collect();
        let files: Vec<Value> = arrived
            .files
            .iter()
            .map(|file| json!({ "path": file.path, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256 }))
            .collect();
        let pipeline: PipelineName = request.part("pipeline").unwrap_or_default().parse()?;
        let measured = json!({
            "from": store_json(self.store(&request.from)?.identity()),
            "to": store_json(self.store(to)?.identity()),
            "source_table": TableName::of(&pipeline).as_str(),
            "source_version": arrived.source_version,
            "table": arrived.table.as_str(),
            "columns": arrived.columns,
            "rows": arrived.rows(),
            "bytes": arrived.bytes(),
            "classes": classes,
            "files": files,
        });
        if let Value::Object(measured) = measured {
            body.extend(measured);
        }
        Ok(body)
    }
}

impl Plan<'_> {
    /// The columns that go, and behind them those that the condition looks at beside.
    fn read_columns(&self) -> Vec<FieldRef> {
        let mut columns = self.columns.clone();
        for field in self.filter.columns() {
            if !columns.iter().any(|known| known.name() == field.name()) {
                columns.push(field.clone());
            }
        }
        columns
    }

    /// Which rows of a batch go, and how many of those that were asked for stay.
    fn chosen(
        &self,
        transfer: &Transfer,
        batch: &RecordBatch,
        left_out: &mut LeftOut,
    ) -> anyhow::Result<BooleanArray> {
        let texts = |name: &str| -> anyhow::Result<&StringArray> {
            let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.with_context(|| format!("table {} has no column `{name}`", self.table))
        };
        let (classes, trainings) = (texts(names::CLASS)?, texts(names::TRAINING)?);
        let goes = |(row, answer): (usize, Option<bool>)| match answer {
            None => {
                left_out.unanswered += 1;
                false
            }
            Some(false) => false,
            // A word that nobody knows is of the strictest class, and nobody may learn from it.
            Some(true) => match transfer.lets(
                word(Class::WORDS, classes, row).unwrap_or(Class::Unclassified),
                word(Training::WORDS, trainings, row).unwrap_or(Training::Prohibited),
            ) {
                Ok(()) => true,
                Err(Stays::Class) => {
                    left_out.class += 1;
                    false
                }
                Err(Stays::Training) => {
                    left_out.training += 1;
                    false
                }
            },
        };
        Ok(self.filter.ask(batch).into_iter().enumerate().map(goes).map(Some).collect())
    }
}

/// Counts the rows that would go.
async fn count<'c>(transfer: &Transfer, plan: Plan<'c>) -> anyhow::Result<(u64, LeftOut, Plan<'c>)> {
    let (mut rows, mut left_out) = (0_u64, LeftOut::default());
    let mut columns: Vec<FieldRef> = plan.filter.columns().to_vec();
    for name in [names::CLASS, names::TRAINING] {
        if !columns.iter().any(|field| field.name() == name) {
            columns.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        }
    }
    for batch in plan.reader.rows(&plan.table, &plan.snapshot, columns) {
        rows += plan.chosen(transfer, &batch?, &mut left_out)?.true_count() as u64;
    }
    Ok((rows, left_out, plan))
}

/// The rows without codes of quality of columns that do not go.
fn with_own_codes(rows: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = rows.schema();
    let Ok(at) = schema.index_of(names::QUALITY) else { return Ok(rows.clone()) };
    let notes = rows.column(at).as_string_opt::<i32>();
    let notes = notes.with_context(|| format!("column `{}` is no text", names::QUALITY))?;
    let goes = |column: &str| schema.index_of(column).is_ok();
    let kept: StringArray = notes.iter().map(|notes| seen_codes(notes?, goes)).collect();
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(kept);
    Ok(RecordBatch::try_new(schema, columns)?)
}

pub(super) fn word<T: Copy>(words: &[(&str, T)], column: &StringArray, row: usize) -> Option<T> {
    let text = column.is_valid(row).then(|| column.value(row))?;
    words.iter().find(|(known, _)| *known == text).map(|(_, value)| *value)
}

/// A column as files hold it: text that was a dictionary in memory is text.
fn plain(field: &Field) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

/// The first of the columns that never leaves its zone. `check` refuses it too; a schema may have changed since.
fn column_that_stays(loaded: &Loaded, columns: &[String]) -> Option<Refusal> {
    let schema = loaded.schema.arrow_schema();
    columns.iter().find_map(|column| {
        let field = schema.field_with_name(column).ok()?;
        let class = field.metadata().get(situs_decode::CLASS_METADATA)?;
        let (_, class) = FieldClass::WORDS.iter().find(|(known, _)| known == class)?;
        field_stays(*class).then(|| Refusal::Column { column: column.clone(), class: *class })
    })
}
