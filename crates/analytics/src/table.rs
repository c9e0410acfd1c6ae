//! A table of the log as the engine sees it: the Parquet files of one lake snapshot and, after them, the rows in
//! memory that the snapshot does not hold. Both parts come from one view taken before planning, so no row is missed
//! and none is seen twice. The scan is made of plain Parquet and memory sources only.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{ColumnStatistics, DFSchema, Result, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use object_store::ObjectStore;
use tollgate_interaction::schema::{self, Table};
use tollgate_lake::DataFile;

use crate::conversation::is_conversation;
use crate::prune::{self, STARTED_AT};

/// Rows per batch when bodies are read: they may be megabytes each.
const PAYLOAD_BATCH_ROWS: usize = 128;

/// Files that bounds are handed to the engine for. It takes bounds for every column of every file, some 15 KB each, so
/// beyond this many they cost more than they save; files have been chosen by day and time before.
const MAX_FILES_WITH_BOUNDS: usize = 2_000;

/// One of the tables at one moment.
#[derive(Debug)]
pub(crate) struct LogTable {
    schema: SchemaRef,
    files: Vec<Arc<DataFile>>,
    hot: Vec<RecordBatch>,
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
    batch_rows: Option<usize>,
}

impl LogTable {
    /// A table over `files` and the batches in memory.
    pub(crate) fn new(table: Table, files: Vec<Arc<DataFile>>, hot: Vec<RecordBatch>, place: &StorePlace) -> Self {
        let hot = hot.into_iter().filter(|batch| batch.num_rows() > 0).collect();
        LogTable {
            schema: table.schema(),
            files,
            hot,
            store: Arc::clone(&place.store),
            store_url: place.url.clone(),
            batch_rows: (table == Table::Payloads).then_some(PAYLOAD_BATCH_ROWS),
        }
    }

    /// Whether it has no rows at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.hot.is_empty()
    }

    /// The part in files.
    fn cold(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
        predicate: Option<Arc<dyn PhysicalExpr>>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(Arc::clone(&self.store), footers);
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let mut source = ParquetSource::new(self.table_schema())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader));
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let scan = FileScanConfigBuilder::new(self.store_url.clone(), Arc::new(source))
            .with_file_groups(self.groups(files, state.config().target_partitions()))
            .with_statistics(self.statistics(files))
            .with_batch_size(self.batch_rows)
            .with_limit(limit)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }

    /// The columns that stand in the files, and the partition column after them.
    fn table_schema(&self) -> TableSchema {
        let (in_path, in_file): (Vec<FieldRef>, Vec<FieldRef>) =
            self.schema.fields().iter().cloned().partition(|field| field.name() == schema::DAY);
        TableSchema::builder(Arc::new(Schema::new(in_file))).with_table_partition_cols(in_path).build()
    }

    /// The files newest first, dealt out over the partitions, so that a search for the newest rows can stop early.
    fn groups(&self, files: &[Arc<DataFile>], partitions: usize) -> Vec<FileGroup> {
        let mut files = files.to_vec();
        files.sort_by_key(|file| std::cmp::Reverse((file.day, file.max_started_at_us)));
        let mut groups = vec![Vec::new(); partitions.clamp(1, files.len().max(1))];
        let count = groups.len();
        for (position, file) in files.iter().enumerate() {
            let file = if files.len() > MAX_FILES_WITH_BOUNDS { plain(file) } else { self.bounded(file) };
            groups[position % count].push(file);
        }
        groups.into_iter().map(FileGroup::new).collect()
    }

    /// The file with the bounds of its times.
    fn bounded(&self, file: &DataFile) -> PartitionedFile {
        let columns = self.schema.fields().iter().filter(|field| field.name() != schema::DAY);
        // The engine passes over files by exact bounds only. These may be wider than the rows are, which is all that
        // passing over needs; the statistics of the whole table, which answers are taken from, stay inexact.
        let column_statistics = columns.map(|field| match prune::bounds_us(file) {
            Some((lowest, highest)) if field.name() == STARTED_AT => ColumnStatistics::new_unknown()
                .with_min_value(Precision::Exact(time(lowest)))
                .with_max_value(Precision::Exact(time(highest)))
                .with_null_count(Precision::Exact(0)),
            _ => ColumnStatistics::new_unknown(),
        });
        let statistics = Statistics {
            num_rows: rows_in(file),
            total_byte_size: Precision::Absent,
            column_statistics: column_statistics.collect(),
        };
        plain(file).with_statistics(Arc::new(statistics))
    }

    fn statistics(&self, files: &[Arc<DataFile>]) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows =
            files.iter().map(|file| rows_in(file)).reduce(|sum, rows| sum.add(&rows)).unwrap_or_default();
        statistics
    }
}

/// The file with its day, which it does not hold itself.
fn plain(file: &DataFile) -> PartitionedFile {
    let day = ScalarValue::Date32(Some(file.day));
    PartitionedFile::new(file.path.clone(), file.size_bytes).with_partition_values(vec![day])
}

fn rows_in(file: &DataFile) -> Precision<usize> {
    usize::try_from(file.rows).map_or(Precision::Absent, Precision::Exact)
}

fn time(time_us: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(time_us), Some("UTC".into()))
}

/// Where the files are: the lake's own store, under a name that stands for nothing else.
#[derive(Clone, Debug)]
pub(crate) struct StorePlace {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) url: ObjectStoreUrl,
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Telling a conversation takes longer than reading it: above the scan it is told once a row, below it twice.
        let tells = |filter: &Expr| filter.exists(|part| Ok(is_conversation(part)));
        let of = |filter: &Expr| match tells(filter)? {
            true => Ok(TableProviderFilterPushDown::Unsupported),
            false => Ok(TableProviderFilterPushDown::Inexact),
        };
        filters.iter().copied().map(of).collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = match conjunction(filters.to_vec()) {
            Some(condition) => {
                let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(condition, &columns)?)
            }
            None => None,
        };
        let files = prune::concerned(&self.files, predicate.as_ref(), &self.schema);
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(2);
        if !files.is_empty() {
            parts.push(self.cold(state, &files, predicate, projection, limit)?);
        }
        if !self.hot.is_empty() {
            let rows = vec![self.hot.clone()];
            parts.push(MemorySourceConfig::try_new_exec(&rows, Arc::clone(&self.schema), projection.cloned())?);
        }
        if parts.len() == 2 {
            return UnionExec::try_new(parts);
        }
        if let Some(part) = parts.pop() {
            return Ok(part);
        }
        let columns = match projection {
            Some(indices) => Arc::new(self.schema.project(indices)?),
            None => Arc::clone(&self.schema),
        };
        Ok(Arc::new(EmptyExec::new(columns)))
    }
}
