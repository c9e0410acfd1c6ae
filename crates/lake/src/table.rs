//! One Delta table on our own store handle: created, opened, checkpointed through `deltalake-core`, never through a
//! query engine.

use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::PROTOCOL;
use deltalake_core::kernel::{Action, Metadata, MetadataExt, StructField, StructType};
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef, StorageConfig, default_logstore, get_actions};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableError, checkpoints};
use object_store::prefix::PrefixStore;
use tollgate_flush::statistics;
use tollgate_flush::store::Store;
use tollgate_interaction::schema::{DAY, Table};

use crate::error::LakeError;

/// Commits between two checkpoints: a reader replays at most this many. The library reads all of them at once to write
/// the next, with buffers of some 5 MB for each: a hundred were half a gigabyte.
pub(crate) const CHECKPOINT_EVERY: u64 = 20;

/// Access to the log of one table.
#[derive(Clone)]
pub(crate) struct DeltaLog {
    pub(crate) table: Table,
    pub(crate) log_store: LogStoreRef,
}

/// What became of writing a version.
pub(crate) enum Written {
    /// The version is ours.
    Ours,
    /// Another process wrote this version.
    Theirs(Bytes),
}

impl DeltaLog {
    pub(crate) fn new(store: &Store, table: Table) -> DeltaLog {
        let in_table = PrefixStore::new(Arc::clone(&store.object_store), table.folder());
        let url = store.url_of(table.folder());
        let log_store = default_logstore(Arc::new(in_table), Arc::clone(&store.root), &url, &StorageConfig::default());
        DeltaLog { table, log_store }
    }

    pub(crate) fn failed(&self, doing: &'static str) -> impl FnOnce(DeltaTableError) -> LakeError {
        let table = self.table.folder();
        move |source| LakeError::Delta { table, doing, source: Box::new(source) }
    }

    pub(crate) async fn exists(&self) -> Result<bool, LakeError> {
        self.log_store.is_delta_table_location().await.map_err(self.failed("looking for it"))
    }

    /// Creates the table unless it is there.
    pub(crate) async fn create(&self) -> Result<(), LakeError> {
        if self.exists().await? {
            return Ok(());
        }
        let kernel = self.kernel_schema()?;
        let created = CreateBuilder::new()
            .with_log_store(Arc::clone(&self.log_store))
            .with_table_name(self.table.folder())
            .with_save_mode(SaveMode::Ignore)
            .with_columns(kernel.fields().cloned())
            .with_partition_columns([DAY])
            .with_raise_if_key_not_exists(false)
            .with_configuration(properties(&self.table.schema()))
            .await;
        match created {
            Ok(_) => Ok(()),
            // Another process was faster; what it made is read and checked like any other table.
            Err(_) if self.exists().await? => Ok(()),
            Err(error) => Err(self.failed("creating it")(error)),
        }
    }

    /// Loads the newest version through the library.
    pub(crate) async fn load(&self) -> Result<DeltaTable, LakeError> {
        let mut table = DeltaTable::new(Arc::clone(&self.log_store));
        table.load().await.map_err(self.failed("reading it"))?;
        Ok(table)
    }

    /// Refuses a table that asks more of a writer than the library can do.
    pub(crate) fn check_writable(&self, table: &DeltaTable) -> Result<(), LakeError> {
        let state = table.snapshot().map_err(self.failed("reading it"))?;
        PROTOCOL.can_write_to(state).map_err(|error| LakeError::Unsupported {
            table: self.table.folder(),
            problem: format!("needs a newer writer ({error})"),
        })
    }

    fn kernel_schema(&self) -> Result<StructType, LakeError> {
        let translated = self.table.schema().as_ref().try_into_kernel();
        translated.map_err(|source| self.failed("translating its schema")(DeltaTableError::Arrow { source }))
    }

    /// The metadata that a table of an earlier version needs to have our columns too; `None` if it has them.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] for a table that a newer version wrote: committing to it could lose what it knows.
    pub(crate) fn evolved(&self, table: &DeltaTable) -> Result<Option<Metadata>, LakeError> {
        let state = table.snapshot().map_err(self.failed("reading it"))?;
        let retired = self.table.retired();
        let found = state.schema();
        // What an earlier version wrote stays a column of its files, and is absent from ours.
        let kept = found.fields().filter(|field| retired.contains(&field.name().as_str())).map(|field| {
            let metadata = field.metadata.clone();
            StructField::nullable(field.name(), field.data_type().clone()).with_metadata(metadata)
        });
        let ours = StructType::try_new(self.kernel_schema()?.into_fields().chain(kept));
        let ours = ours.map_err(|error| self.failed("adding columns to it")(error.into()))?;
        if let Some(unknown) = found.fields().find(|field| ours.field(field.name()).is_none()) {
            return Err(LakeError::Unsupported {
                table: self.table.folder(),
                problem: format!(
                    "has the column `{}`, which a newer version of Tollgate wrote; upgrade this one",
                    unknown.name()
                ),
            });
        }
        let fits = |field: &StructField| {
            found.field(field.name()).is_some_and(|found| found.is_nullable() || !field.is_nullable())
        };
        if ours.fields().all(fits) {
            return Ok(None);
        }
        let metadata = state.metadata().clone().with_schema(&ours);
        metadata.map(Some).map_err(|source| self.failed("adding columns to it")(DeltaTableError::Kernel { source }))
    }

    /// The actions of one version, if there is such a version.
    pub(crate) async fn actions_of(&self, version: u64) -> Result<Option<Vec<Action>>, LakeError> {
        match self.commit_of(version).await? {
            Some(content) => self.parse(version, &content).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn parse(&self, version: u64, content: &Bytes) -> Result<Vec<Action>, LakeError> {
        get_actions(version, content).map_err(self.failed("reading a commit"))
    }

    pub(crate) async fn commit_of(&self, version: u64) -> Result<Option<Bytes>, LakeError> {
        self.log_store.read_commit_entry(version).await.map_err(self.failed("reading a commit"))
    }

    /// Writes a version if it does not exist. Whatever the store answers, the version is read back before it is believed
    /// to be another's: S3 says "already exists" also of a put that raced with its own retry, and a timeout says nothing.
    pub(crate) async fn write(&self, version: u64, content: Bytes) -> Result<Written, LakeError> {
        let put = CommitOrBytes::LogBytes(content.clone());
        let Err(error) = self.log_store.write_commit_entry(version, put, uuid::Uuid::nil()).await else {
            return Ok(Written::Ours);
        };
        match self.commit_of(version).await? {
            Some(found) if found == content => Ok(Written::Ours),
            Some(found) => Ok(Written::Theirs(found)),
            None => Err(self.failed("committing to it")(error.into())),
        }
    }

    /// Writes a checkpoint of the newest version and removes log files that are past their retention.
    pub(crate) async fn checkpoint(&self) -> Result<u64, LakeError> {
        let table = self.load().await?;
        let version = table.version().unwrap_or_default();
        checkpoints::create_checkpoint(&table, None).await.map_err(self.failed("writing a checkpoint"))?;
        checkpoints::cleanup_metadata(&table, None).await.map_err(self.failed("removing old log files"))?;
        Ok(version)
    }
}

fn properties(schema: &Schema) -> Vec<(String, Option<String>)> {
    let own = |key: &str, value: String| (format!("delta.{key}"), Some(value));
    vec![
        // Nothing textual or personal may enter the log, which outlives an erasure.
        own("dataSkippingStatsColumns", statistics::columns(schema).join(",")),
        own("checkpointInterval", CHECKPOINT_EVERY.to_string()),
        own("logRetentionDuration", "interval 30 days".to_owned()),
        own("enableExpiredLogCleanup", "true".to_owned()),
    ]
}
