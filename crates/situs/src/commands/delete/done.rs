//! What was done in a store: its steps, and how they are told.

use serde_json::{Value, json};
use situs_model::ZoneId;
use situs_store::{
    Decided, Deletion, DeletionBody, DeletionRequest, DeltaStore, Erased, Maintenance, Plan, Refusal, Vacuum,
};

use super::Home;

/// Paths of files that are shown; `--json` has all.
const SHOWN: usize = 10;
/// How often a deletion is decided anew since holds were set meanwhile.
const DECISIONS: u32 = 5;

/// What was done in a store.
pub(super) struct Done {
    zone: ZoneId,
    dry_run: bool,
    /// Deletions that were cut off before.
    finished: Vec<(Plan, DeletionBody)>,
    /// Those that were cut off before a row went, and that a hold stands in the way of now.
    dropped: Vec<Plan>,
    pub(super) plan: Option<Plan>,
    body: Option<DeletionBody>,
    pub(super) refusals: Vec<Refusal>,
    unsettled: u64,
    held: u64,
    pub(super) erased: Vec<(Deletion, Erased)>,
}

impl Done {
    pub(super) fn new(zone: &ZoneId, dry_run: bool) -> Self {
        Self {
            zone: zone.clone(),
            dry_run,
            finished: Vec::new(),
            dropped: Vec::new(),
            plan: None,
            body: None,
            refusals: Vec::new(),
            unsettled: 0,
            held: 0,
            erased: Vec::new(),
        }
    }

    pub(super) async fn finish(
        &mut self,
        store: &DeltaStore,
        maintenance: &Maintenance,
    ) -> anyhow::Result<()> {
        for plan in maintenance.unfinished_deletions().await? {
            if !store.confirm_deletion(maintenance, &plan).await? {
                self.dropped.push(plan);
                continue;
            }
            let body = store.finish_deletion(maintenance, &plan).await?;
            self.finished.push((plan, body));
        }
        Ok(())
    }

    pub(super) async fn delete(
        &mut self,
        home: &Home,
        store: &DeltaStore,
        maintenance: &Maintenance,
        mut request: DeletionRequest,
    ) -> anyhow::Result<()> {
        for _ in 0..DECISIONS {
            request.holds = store.holds().await?;
            match maintenance.decide_deletion(&request, !self.dry_run).await? {
                Decided::Nothing { unsettled, held } => (self.unsettled, self.held) = (unsettled, held),
                Decided::Refused(refusals) => self.refusals = refusals,
                Decided::Planned(plan) => {
                    if !self.dry_run {
                        // Whoever begins a release looks for plans before and after, so one of both sees the other.
                        if let Err(error) = home.expect_no_release().await {
                            maintenance.abandon_deletion(&plan.id).await?;
                            return Err(error);
                        }
                        if !store.confirm_deletion(maintenance, &plan).await? {
                            // Its coordinates have the name of its id.
                            request.id = uuid::Uuid::now_v7().to_string();
                            continue;
                        }
                        self.body = Some(store.finish_deletion(maintenance, &plan).await?);
                    }
                    self.unsettled = plan.tables.iter().map(|table| table.unsettled).sum();
                    self.held = plan.tables.iter().map(|table| table.held).sum();
                    self.plan = Some(*plan);
                }
            }
            return Ok(());
        }
        anyhow::bail!("holds are set all the time; try again later")
    }

    pub(super) async fn erase(
        &mut self,
        store: &DeltaStore,
        maintenance: &Maintenance,
        settings: &Vacuum,
    ) -> anyhow::Result<()> {
        self.erased = store.erase_deleted(maintenance, settings).await?;
        Ok(())
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            println!("{}", self.json());
            return;
        }
        let zone = &self.zone;
        for (plan, body) in &self.finished {
            println!(
                "{zone}: finished deletion {} ({}): {} rows gone",
                plan.id,
                plan.criterion,
                body.deleted()
            );
        }
        for plan in &self.dropped {
            println!(
                "{zone}: dropped deletion {} ({}), which had taken no row: a hold was set since it was decided",
                plan.id, plan.criterion
            );
        }
        for refusal in &self.refusals {
            println!("{zone}: refused: {refusal}");
        }
        if let Some(plan) = &self.plan {
            let verb = if self.dry_run { "would delete" } else { "deleted" };
            println!("{zone}: {verb} {}", plan.criterion);
            for table in &plan.tables {
                for one in &table.partitions {
                    let after = self.after(&table.table, &one.topic, one.partition);
                    let after =
                        after.map_or_else(String::new, |after| format!(", {after} counted afterwards"));
                    println!(
                        "  {} {}/{}: {} rows before, {} {}{after}",
                        table.table,
                        one.topic,
                        one.partition,
                        one.before,
                        one.deleted,
                        if self.dry_run { "would go" } else { "gone" }
                    );
                }
            }
        }
        if let (Some(plan), Some(body)) = (&self.plan, &self.body) {
            println!(
                "  deletion {}: coordinates {} (SHA-256 {}), entered in the ledger of {zone}",
                plan.id, body.coordinates.path, body.coordinates.sha256
            );
        } else if self.plan.is_none()
            && self.refusals.is_empty()
            && self.finished.is_empty()
            && self.erased.is_empty()
        {
            println!("{zone}: no row to delete");
        }
        if self.unsettled > 0 {
            println!("{zone}: {} rows are not settled yet and stay", self.unsettled);
        }
        if self.held > 0 {
            println!("{zone}: {} rows are under a hold and stay", self.held);
        }
        for (deletion, erased) in &self.erased {
            let (removed, left) = (erased.removed.len(), erased.left.len());
            match left {
                0 => println!(
                    "{zone}: deletion {}: the bytes are gone; {} files read, {removed} removed now",
                    deletion.id, erased.looked
                ),
                _ => {
                    println!(
                        "{zone}: deletion {}: {left} files hold its rows still, for readers of older versions; {removed} removed now",
                        deletion.id
                    );
                    erased.left.iter().take(SHOWN).for_each(|path| println!("  {path}"));
                }
            }
        }
    }

    fn after(&self, table: &str, topic: &str, partition: i32) -> Option<u64> {
        let tables = self.body.as_ref()?.tables.iter().find(|of| of.table == table)?;
        let one = tables.partitions.iter().find(|one| one.topic == topic && one.partition == partition)?;
        Some(one.after)
    }

    fn json(&self) -> Value {
        let erased = self.erased.iter().map(|(deletion, erased)| {
            json!({ "deletion": deletion.id, "looked_files": erased.looked, "removed": erased.removed,
                    "left": erased.left })
        });
        let finished = self.finished.iter().map(|(plan, body)| json!({ "deletion": plan.id, "body": body }));
        json!({
            "zone": self.zone.as_str(),
            "dry_run": self.dry_run,
            "deletion": self.plan.as_ref().map(|plan| &plan.id),
            "plan": self.plan,
            "body": self.body,
            "refused": self.refusals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unsettled": self.unsettled,
            "held": self.held,
            "dropped": self.dropped.iter().map(|plan| &plan.id).collect::<Vec<_>>(),
            "finished": finished.collect::<Vec<_>>(),
            "erased": erased.collect::<Vec<_>>(),
        })
    }
}
