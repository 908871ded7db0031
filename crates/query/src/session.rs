//! A session: the tables of the permitted stores, and statements over them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::TableReference;
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use situs_model::doc::nearest;
use situs_model::{TableName, ZoneId};
use situs_store::{StoreReader, TableSnapshot};

use crate::engine::Engine;
use crate::error::QueryError;
use crate::objects::{PermittedObjects, store_url};
use crate::permit::{Part, Permit};
use crate::statement::{check_reads, check_size, is_explain, is_show_tables};
use crate::table::ZoneTable;

/// The one catalog.
const CATALOG: &str = "situs";
/// The schema of the tables that need no zone's name. No zone can be called like this.
const HOME_SCHEMA: &str = "_home";
/// What operators may hold in memory together, in bytes; rows that are collected as the result
/// come on top. Nothing is spilled to disk: a temporary file of rows would lie outside their zone.
const MEMORY_LIMIT: usize = 2 << 30;
/// `SHOW TABLES`, without the engine's own tables.
const SHOW_TABLES: &str = "select table_schema as zone, table_name as \"table\" from information_schema.tables \
                           where table_schema <> 'information_schema' order by 1, 2";

/// Facts about a table at the version that a session reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name as a statement would write it, such as `cn.cnc_state` or `quarantine`.
    pub name: String,
    /// The zone whose store holds it.
    pub zone: ZoneId,
    /// The version of the table.
    pub version: u64,
    /// The number of files.
    pub files: u64,
    /// The number of rows; `None` if the log does not say it for every file, or if the session's reader may
    /// not see all rows.
    pub rows: Option<u64>,
    /// The size of the files together, in bytes.
    pub bytes: u64,
}

/// The answer to a statement.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The columns. Names can repeat, as in `select a.x, b.x`.
    pub schema: SchemaRef,
    /// The rows; no batch at all if there are none.
    pub batches: Vec<RecordBatch>,
}

/// The tables of the permitted stores, as they were when the session was opened.
///
/// Tables are named `zone.table`, the zone in lower case. `quarantine` and `receipts` also go
/// without a zone if exactly one of the stores has them.
///
/// # Memory
/// A session keeps the lists of files, a few hundred bytes per file. A statement may hold up to
/// 2 GiB while it runs and fails beyond that; its result is held whole.
///
/// # Limits
/// What was written after the session was opened is not seen; open another one. Files that were
/// vacuumed since cannot be read any more.
pub struct Session {
    reader: Arc<Reader>,
    engine: Engine,
}

/// What a statement needs of a session.
struct Reader {
    context: SessionContext,
    tables: Vec<TableInfo>,
    /// Whether the permit is a reader's.
    limited: bool,
}

/// A table on its way into a session.
struct Found {
    zone: ZoneId,
    name: TableName,
    info: TableInfo,
    provider: Arc<dyn TableProvider>,
}

impl Session {
    /// Opens the stores that `permit` names and reads the logs of their tables.
    ///
    /// # Errors
    /// If a root is not a readable store, if two of them are of one zone, or if the log of a table cannot be
    /// read.
    pub async fn open(permit: &Permit) -> Result<Self, QueryError> {
        let mut stores: BTreeMap<ZoneId, StoreReader> = BTreeMap::new();
        for root in permit.roots() {
            let reader = StoreReader::open(root)?;
            let zone = reader.identity().zone.clone();
            match stores.get(&zone) {
                // The same store by another path.
                Some(first) if first.identity() == reader.identity() => {}
                Some(first) => {
                    return Err(QueryError::TwoStores {
                        zone,
                        first: first.root().to_owned(),
                        second: root.to_owned(),
                    });
                }
                None => {
                    stores.insert(zone, reader);
                }
            }
        }

        let mut objects = PermittedObjects::default();
        let mut found = Vec::new();
        for reader in stores.values() {
            found.extend(read_store(reader, permit, &mut objects).await?);
        }
        let context = build(objects).map_err(|error| QueryError::run(&error))?;
        let tables = register(&context, found).map_err(|error| QueryError::run(&error))?;
        Ok(Self {
            reader: Arc::new(Reader { context, tables, limited: permit.is_of_reader() }),
            engine: Engine::start()?,
        })
    }

    /// The names of the tables, in order, such as `cn.cnc_state` or `quarantine`.
    pub fn tables(&self) -> Vec<String> {
        self.reader.names()
    }

    /// Facts about the tables, in the order of their names.
    ///
    /// # Errors
    /// None as long as a session reads what it found when it was opened.
    pub async fn describe(&self) -> Result<Vec<TableInfo>, QueryError> {
        Ok(self.reader.tables.clone())
    }

    /// Runs one read-only statement: `SELECT` (with `WITH`, `VALUES` and the like), `EXPLAIN`,
    /// `SHOW` or `DESCRIBE`.
    ///
    /// # Errors
    /// [`QueryError::Refused`] for every other statement, and for `EXPLAIN` in a reader's session, since plans
    /// tell of files and rows that the reader may not see; [`QueryError::UnknownTable`] for a table
    /// outside the permit, and what goes wrong while the statement is read or runs.
    pub async fn sql(&self, text: &str) -> Result<QueryResult, QueryError> {
        let (reader, text) = (self.reader.clone(), text.to_owned());
        self.engine.run(async move { reader.run(&text).await }).await
    }
}

impl Reader {
    fn names(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.name.clone()).collect()
    }

    async fn run(&self, text: &str) -> Result<QueryResult, QueryError> {
        check_size(text)?;
        let state = self.context.state();
        let parse = |text: &str| state.sql_to_statement(text, &Dialect::Generic);
        let mut statement = parse(text).map_err(|error| match error {
            DataFusionError::NotImplemented(_) => QueryError::NotOneStatement { found: "several" },
            DataFusionError::Plan(_) => QueryError::NotOneStatement { found: "none" },
            error => QueryError::statement(&error),
        })?;
        check_reads(&statement)?;
        if self.limited && is_explain(&statement) {
            return Err(QueryError::ExplainRefused);
        }
        if is_show_tables(&statement) {
            statement = parse(SHOW_TABLES).map_err(|error| QueryError::statement(&error))?;
        }

        let references = state.resolve_table_references(&statement).unwrap_or_default();
        let plan = state.statement_to_plan(statement).await.map_err(|error| {
            self.unknown_table(references).unwrap_or_else(|| QueryError::statement(&error))
        })?;
        // What `check_reads` does not see from outside, such as SELECT INTO.
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|_| QueryError::Refused {
                statement: "a statement that changes something".to_owned(),
            })?;

        // Not `SessionContext::execute_logical_plan`: that would carry out what changes something.
        let frame = DataFrame::new(state, plan);
        let task = Arc::new(frame.task_ctx());
        let run = |error| QueryError::run(&error);
        let plan = frame.create_physical_plan().await.map_err(run)?;
        let stream = execute_stream(plan, task).map_err(run)?;
        let schema = stream.schema();
        let batches = stream.try_collect::<Vec<_>>().await.map_err(run)?;
        Ok(QueryResult {
            schema,
            batches: batches.into_iter().filter(|batch| batch.num_rows() > 0).collect(),
        })
    }

    /// The error for the first of these tables that the session does not have.
    fn unknown_table(&self, references: Vec<TableReference>) -> Option<QueryError> {
        let state = self.context.state();
        let unknown = references.into_iter().find(|reference| {
            let resolved = reference.clone().resolve(CATALOG, HOME_SCHEMA);
            !state.schema_for_ref(resolved.clone()).is_ok_and(|schema| schema.table_exist(&resolved.table))
        })?;
        let table = unknown.to_string();
        let known = self.names();
        // The last part alone may be what was meant: `cnc_state` for `cn.cnc_state`.
        let nearest = nearest(&table, known.iter().map(String::as_str)).or_else(|| {
            known.iter().find(|name| name.split('.').next_back() == Some(unknown.table())).cloned()
        });
        Some(QueryError::UnknownTable { table, nearest, known })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("tables", &self.reader.tables).finish_non_exhaustive()
    }
}

/// Reads the logs of a store's tables and makes its objects reachable.
async fn read_store(
    reader: &StoreReader,
    permit: &Permit,
    objects: &mut PermittedObjects,
) -> Result<Vec<Found>, QueryError> {
    let zone = &reader.identity().zone;
    let at = |table: &str, problem: String| QueryError::Table {
        table: format!("{}.{table}", zone.schema_name()),
        problem,
    };
    let url = store_url(reader.identity()).map_err(|error| at("*", error.strip_backtrace()))?;
    objects.add(&url, reader.root()).map_err(|error| at("*", error.to_string()))?;
    // The logs of other tables are not even read: nothing of them can become part of an error.
    let parts: Vec<(TableName, Part)> = reader
        .tables()?
        .into_iter()
        .filter_map(|name| permit.part(zone, &name).map(|part| (name, part)))
        .collect();
    let snapshots = try_join_all(parts.iter().map(|(name, _)| reader.snapshot(name))).await?;
    parts
        .into_iter()
        .zip(snapshots)
        .map(|((name, part), snapshot)| {
            let mut info = describe(zone, &name, &snapshot);
            if matches!(&part, Part::Granted(grant) if !grant.is_of_all_rows()) {
                info.rows = None;
            }
            let directory = name.as_str().into();
            let provider = ZoneTable::new(url.clone(), &directory, &snapshot, part)
                .map_err(|problem| at(name.as_str(), problem))?;
            Ok(Found { zone: zone.clone(), name, info, provider: Arc::new(provider) })
        })
        .collect()
}

fn describe(zone: &ZoneId, name: &TableName, snapshot: &TableSnapshot) -> TableInfo {
    TableInfo {
        name: format!("{}.{name}", zone.schema_name()),
        zone: zone.clone(),
        version: snapshot.version,
        files: snapshot.files.len() as u64,
        rows: snapshot.files.iter().map(|file| file.rows).sum(),
        bytes: snapshot.files.iter().map(|file| file.size).sum(),
    }
}

/// An engine that can reach `objects` and nothing else: no files, no formats to read files with, no
/// makers of external tables, no temporary files.
fn build(objects: PermittedObjects) -> Result<SessionContext, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(objects))
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_LIMIT)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    let config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, HOME_SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    let state = SessionStateBuilder::new_with_default_features()
        .with_table_factories(HashMap::new())
        .with_file_formats(Vec::new())
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    Ok(SessionContext::new_with_state(state))
}

/// Gives every table its names, and says which name is the one to show.
fn register(context: &SessionContext, found: Vec<Found>) -> Result<Vec<TableInfo>, DataFusionError> {
    let catalog = MemoryCatalogProvider::new();
    let home = Arc::new(MemorySchemaProvider::new());
    let mut zones: BTreeMap<ZoneId, Arc<MemorySchemaProvider>> = BTreeMap::new();
    let mut holders: BTreeMap<TableName, usize> = BTreeMap::new();
    for table in &found {
        *holders.entry(table.name.clone()).or_default() += 1;
    }
    let mut tables = Vec::new();
    for Found { zone, name, mut info, provider } in found {
        if name.is_of_home() && holders.get(&name) == Some(&1) {
            home.register_table(name.to_string(), provider.clone())?;
            info.name = name.to_string();
        }
        zones.entry(zone).or_default().register_table(name.to_string(), provider)?;
        tables.push(info);
    }
    for (zone, schema) in zones {
        catalog.register_schema(&zone.schema_name(), schema)?;
    }
    catalog.register_schema(HOME_SCHEMA, home)?;
    context.register_catalog(CATALOG, Arc::new(catalog));
    // Tables of zones first, then those without.
    tables.sort_by_key(|table| (!table.name.contains('.'), table.name.clone()));
    Ok(tables)
}

#[cfg(test)]
mod tests;
