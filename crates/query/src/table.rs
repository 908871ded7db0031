//! One version of one table as DataFusion reads it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;
use object_store::path::Path as ObjectPath;
use situs_model::ReadGrant;
use situs_model::columns::names;
use situs_store::{DataFile, TableSnapshot};

use crate::permit::Part;
use crate::permitted::{Limits, PermittedExec};

/// The files of one version of a table. It never changes, so what a session answers does not
/// depend on when it is asked.
#[derive(Debug)]
pub(crate) struct ZoneTable {
    /// The columns as the reader sees them, in the table's order.
    schema: SchemaRef,
    /// The same columns in the order of a scan: those in the files, then the partition columns.
    scan: TableSchema,
    /// For each column of `schema` its index in `scan`.
    scan_index: Vec<usize>,
    files: Vec<ScanFile>,
    objects: ObjectStoreUrl,
    /// What a reader may see of the table; `None` if it is all of it.
    limits: Option<ReaderLimits>,
}

/// What a reader may see of a table.
#[derive(Debug)]
struct ReaderLimits {
    grant: Arc<ReadGrant>,
    /// The columns that are seen.
    seen: Arc<BTreeSet<String>>,
    /// Whether there are others.
    hides_columns: bool,
}

#[derive(Debug, Clone)]
struct ScanFile {
    file: PartitionedFile,
    rows: Option<u64>,
}

impl ZoneTable {
    /// The table in `directory` at this snapshot, its files below `objects`, as far as `part` goes.
    ///
    /// # Errors
    /// What is wrong with the log: a file that does not lie below the table, or a partition column
    /// that the schema does not have or whose value is not of its type.
    pub(crate) fn new(
        objects: ObjectStoreUrl,
        directory: &ObjectPath,
        snapshot: &TableSnapshot,
        part: Part,
    ) -> std::result::Result<Self, String> {
        let is_partition = |field: &Field| snapshot.partition_columns.contains(field.name());
        let fields: Vec<FieldRef> = snapshot
            .schema
            .fields()
            .iter()
            .map(|field| if is_partition(field) { field.clone() } else { as_view(field) })
            .collect();
        let partitions = snapshot
            .partition_columns
            .iter()
            .map(|name| {
                let found = fields.iter().find(|field| field.name() == name).cloned();
                found.ok_or_else(|| format!("the partition column `{name}` is not in its schema"))
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let in_files: Vec<FieldRef> = fields.iter().filter(|field| !is_partition(field)).cloned().collect();
        let scan = TableSchema::builder(Arc::new(Schema::new(in_files)))
            .with_table_partition_cols(partitions.clone())
            .build();
        let (grant, seen): (_, Vec<FieldRef>) = match part {
            Part::Whole => (None, fields),
            Part::Granted(grant) => {
                let seen = fields.iter().filter(|field| grant.sees_column(field)).cloned().collect();
                (Some((grant, fields.len())), seen)
            }
        };
        let limits = grant.map(|(grant, all)| ReaderLimits {
            grant,
            seen: Arc::new(seen.iter().map(|field| field.name().clone()).collect()),
            hides_columns: seen.len() < all,
        });
        let scan_index = seen
            .iter()
            .map(|field| scan.table_schema().index_of(field.name()).map_err(|error| error.to_string()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let files = snapshot
            .files
            .iter()
            .map(|file| scan_file(file, directory, &partitions))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self { schema: Arc::new(Schema::new(seen)), scan, scan_index, files, objects, limits })
    }

    /// Whether some rows are not for the reader.
    fn limits_rows(&self) -> bool {
        self.limits.as_ref().is_some_and(|limits| !limits.grant.is_of_all_rows())
    }

    /// The columns to scan for these of the reader's, and what is to be done with what comes. `None` if no
    /// row may be seen, whatever it holds.
    fn limited(&self, mut columns: Vec<usize>) -> Option<(Vec<usize>, Option<Limits>)> {
        let Some(reader) = &self.limits else { return Some((columns, None)) };
        let index = |name| self.scan.table_schema().index_of(name).ok();
        let passed = columns.len();
        let mut class = None;
        if self.limits_rows() {
            match index(names::CLASS) {
                Some(column) => {
                    class = Some(columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                        columns.push(column);
                        passed
                    }));
                }
                None if reader.grant.sees_rows_of(None) => {}
                None => return None,
            }
        }
        let quality = index(names::QUALITY)
            .filter(|_| reader.hides_columns)
            .and_then(|column| columns[..passed].iter().position(|known| *known == column));
        let limits = (class.is_some() || quality.is_some()).then(|| Limits {
            grant: reader.grant.clone(),
            class,
            passed,
            quality,
            seen: reader.seen.clone(),
        });
        Some((columns, limits))
    }

    fn partition_names(&self) -> Vec<&str> {
        self.scan.table_partition_cols().iter().map(|field| field.name().as_str()).collect()
    }

    /// Whether a filter is decided by the partition values alone, so that it keeps or drops whole files.
    fn keeps_whole_files(&self, filter: &Expr) -> bool {
        let needs_more = |expr: &Expr| {
            matches!(
                expr,
                Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(_, _)
                    | Expr::ScalarVariable(_, _)
            )
        };
        let names = self.partition_names();
        !names.is_empty()
            && expr_applicable_for_cols(&names, filter)
            && !filter.exists(|expr| Ok(needs_more(expr))).unwrap_or(true)
    }

    /// The files that hold rows for which `filters`, which name partition columns only, are true.
    fn prune(&self, state: &dyn Session, filters: Vec<Expr>) -> Result<Vec<&ScanFile>> {
        let Some(filter) = conjunction(filters) else { return Ok(self.files.iter().collect()) };
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let schema = Arc::new(Schema::new(self.scan.table_partition_cols().clone()));
        let values = (0..schema.fields().len())
            .map(|column| {
                ScalarValue::iter_to_array(
                    self.files.iter().filter_map(|file| file.file.partition_values.get(column).cloned()),
                )
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let batch = RecordBatch::try_new(schema.clone(), values)?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let verdicts = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
        let verdicts = verdicts
            .as_boolean_opt()
            .ok_or_else(|| DataFusionError::Plan("a filter that is neither true nor false".to_owned()))?;
        let kept = |index: usize| verdicts.is_valid(index) && verdicts.value(index);
        Ok(self.files.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, file)| file).collect())
    }
}

/// Text and bytes are read as views: no copy is made from the dictionaries that the files hold.
fn as_view(field: &FieldRef) -> FieldRef {
    let view = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        _ => return field.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(view))
}

fn scan_file(
    file: &DataFile,
    directory: &ObjectPath,
    partitions: &[FieldRef],
) -> std::result::Result<ScanFile, String> {
    // `parse` refuses `..` and absolute paths, which a log of ours never holds.
    let path = ObjectPath::parse(&file.path)
        .map_err(|_| format!("the file `{}` does not lie below the table", file.path))?;
    let location: ObjectPath = directory.parts().chain(path.parts()).collect();
    let values = partitions
        .iter()
        .map(|field| {
            let value = file
                .partition_values
                .iter()
                .find(|(name, _)| name == field.name())
                .and_then(|(_, value)| value.as_deref())
                // Delta writes null as the empty text.
                .filter(|value| !value.is_empty());
            let parsed = match value {
                None => ScalarValue::try_new_null(field.data_type()),
                Some(value) => ScalarValue::try_from_string(value.to_owned(), field.data_type()),
            };
            parsed.map_err(|_| {
                format!("a value of the partition column `{}` is no {}", field.name(), field.data_type())
            })
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut scanned = PartitionedFile::new("", file.size);
    scanned.object_meta.location = location;
    Ok(ScanFile { file: scanned.with_partition_values(values), rows: file.rows })
}

#[async_trait]
impl TableProvider for ZoneTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| {
                if self.keeps_whole_files(filter) && !self.limits_rows() {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Inexact
                }
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let whole_files = filters.iter().filter(|filter| self.keeps_whole_files(filter)).cloned().collect();
        let files = match self.prune(state, whole_files) {
            // An error on the day of a file would tell that it is there, though the reader may see no row of it.
            Err(_) if self.limits_rows() => self.files.iter().collect(),
            files => files?,
        };
        let columns = match projection {
            None => self.scan_index.clone(),
            Some(projection) => {
                projection.iter().filter_map(|index| self.scan_index.get(*index)).copied().collect()
            }
        };
        let Some((columns, limits)) = self.limited(columns).filter(|_| !files.is_empty()) else {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        };

        let mut statistics = Statistics::new_unknown(self.scan.table_schema());
        let rows: Option<u64> = files.iter().map(|file| file.rows).sum();
        if let Some(rows) = rows.and_then(|rows| usize::try_from(rows).ok()) {
            statistics.num_rows = Precision::Exact(rows);
        }
        let files = files.into_iter().map(|file| file.file.clone()).collect();
        let source = ParquetSource::new(self.scan.clone())
            .with_table_parquet_options(state.default_table_options().parquet);
        let config = FileScanConfigBuilder::new(self.objects.clone(), Arc::new(source))
            .with_file_groups(FileGroup::new(files).split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(Some(columns))?
            // A limit counts rows that are seen.
            .with_limit(limit.filter(|_| limits.as_ref().is_none_or(|limits| limits.class.is_none())))
            .build();
        let files = DataSourceExec::from_data_source(config);
        match limits {
            None => Ok(files),
            Some(limits) => Ok(Arc::new(PermittedExec::new(files, limits)?)),
        }
    }
}
