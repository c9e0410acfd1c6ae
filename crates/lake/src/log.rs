//! What the log of one table adds up to: its live files and its transactions, kept in memory and moved forward commit by
//! commit. Opening reads the newest checkpoint; after that a commit costs one object, however many files there are.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StructArray};
use arrow::datatypes::Int64Type;
use deltalake_core::kernel::{Action, Add, CommitInfo, LogicalFileView, Metadata, Protocol};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use tollgate_flush::inbox::range_of_file;
use tollgate_flush::parquet_file::day_from_text;
use tollgate_flush::{Watermarks, statistics};
use tollgate_interaction::schema::DAY;

use crate::commit;
use crate::error::LakeError;
use crate::parquet_reader::StoredFile;
use crate::snapshot::{DataFile, TableFiles};
use crate::table::{DeltaLog, Written};

/// Prefix of the application id of a writer's transaction: `w/{writer}/{epoch}`.
const APP_ID_PREFIX: &str = "w/";
/// Application id whose version is the size of the proof's log with this commit's entries.
pub(crate) const LOG_APP_ID: &str = "tlog";
/// Application id whose version is the size of the checkpoint that had been published before this commit.
pub(crate) const CHECKPOINT_APP_ID: &str = "tlog/checkpoint";
/// Member of `commitInfo` with the entries that a commit appends to the proof's log.
pub(crate) const LOG_INFO: &str = "tollgateLog";

/// One table, at the newest version this process knows.
pub(crate) struct TableLog {
    pub(crate) delta: DeltaLog,
    pub(crate) files: TableFiles,
    pub(crate) watermarks: Watermarks,
    /// Newest checkpoint this process knows of.
    pub(crate) checkpointed: u64,
    /// What the commits say of the proof's log.
    pub(crate) proof: LogPosition,
    /// What the table asks of those who read and write it.
    protocol: Protocol,
}

/// How far the proof's log has come, as the commits of the facts tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// Entries in all.
    pub(crate) size: u64,
    /// Size of a checkpoint that has been published; there may be a newer one.
    pub(crate) published: u64,
    /// The newest entries with their places, as far back as `published` or as this process has read commits.
    pub(crate) recent: VecDeque<(u64, String)>,
}

/// [`LOG_INFO`].
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct LogInfo {
    pub(crate) size: u64,
    pub(crate) entries: Vec<String>,
}

impl LogInfo {
    fn of(info: &CommitInfo) -> Option<LogInfo> {
        serde_json::from_value(info.info.get(LOG_INFO)?.clone()).ok()
    }

    /// The entries with their places.
    fn placed(self) -> impl DoubleEndedIterator<Item = (u64, String)> {
        let first = self.size.saturating_sub(self.entries.len() as u64);
        self.entries.into_iter().enumerate().map(move |(at, entry)| (first + at as u64, entry))
    }
}

impl LogPosition {
    fn take_of(&mut self, info: &CommitInfo) {
        if let Some(info) = LogInfo::of(info) {
            self.take(info);
        }
    }

    fn take(&mut self, info: LogInfo) {
        for (place, entry) in info.placed() {
            if self.recent.back().is_none_or(|(last, _)| *last < place) {
                self.recent.push_back((place, entry));
            }
        }
        self.forget();
    }

    /// A checkpoint of this size has been published.
    pub(crate) fn published_until(&mut self, size: u64) {
        self.published = self.published.max(size);
        self.forget();
    }

    /// What has been published need not be kept.
    fn forget(&mut self) {
        while self.recent.front().is_some_and(|(place, _)| *place < self.published) {
            self.recent.pop_front();
        }
    }
}

/// The application id under which the progress of one epoch is recorded.
pub(crate) fn app_id(writer: &str, epoch: u64) -> String {
    format!("{APP_ID_PREFIX}{writer}/{epoch}")
}

impl TableLog {
    /// Reads the table as it stands.
    pub(crate) async fn open(delta: DeltaLog) -> Result<TableLog, LakeError> {
        let table = delta.load().await?;
        let state = table.snapshot().map_err(delta.failed("reading it"))?;
        let files = state.snapshot().log_data();
        let mut adds: Vec<Add> = files.iter().map(|file| add_of(&file)).collect();
        adds.sort_by(|one, other| (one.modification_time, &one.path).cmp(&(other.modification_time, &other.path)));
        let checkpointed = newest_checkpoint(&delta).await?;
        let mut log = TableLog {
            files: TableFiles { version: state.version(), files: Vec::with_capacity(adds.len()) },
            watermarks: Watermarks::new(),
            checkpointed: checkpointed.unwrap_or(0),
            proof: LogPosition::default(),
            protocol: state.protocol().clone(),
            delta,
        };
        for add in &adds {
            log.add(add);
        }
        if let Some(version) = checkpointed {
            log.read_transactions_of_checkpoint(version).await?;
        }
        for version in checkpointed.map_or(0, |version| version + 1)..=log.files.version {
            for action in log.delta.actions_of(version).await?.unwrap_or_default() {
                match action {
                    Action::Txn(transaction) => log.transaction(&transaction.app_id, transaction.version),
                    Action::CommitInfo(info) => log.proof.take_of(&info),
                    _ => {}
                }
            }
        }
        Ok(log)
    }

    /// Applies what others have committed since.
    pub(crate) async fn refresh(&mut self) -> Result<(), LakeError> {
        while let Some(actions) = self.delta.actions_of(self.files.version + 1).await? {
            self.apply(&actions)?;
        }
        Ok(())
    }

    /// Gives the table the columns of this version; false if another process changed it first.
    pub(crate) async fn evolve(&mut self, metadata: Metadata) -> Result<bool, LakeError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let info = commit::commit_info("ADD COLUMNS", now_ms, self.files.version);
        self.commit(vec![Action::CommitInfo(info), Action::Metadata(metadata)]).await
    }

    /// Writes the next version, or learns that another process did and applies what it wrote.
    pub(crate) async fn commit(&mut self, actions: Vec<Action>) -> Result<bool, LakeError> {
        let mut content = Vec::new();
        for action in &actions {
            let line = serde_json::to_vec(action).map_err(|json_err| {
                let error = deltalake_core::DeltaTableError::SerializeLogJson { json_err };
                self.delta.failed("writing a commit")(error)
            })?;
            content.extend_from_slice(&line);
            content.push(b'\n');
        }
        self.check_newest().await?;
        let version = self.files.version + 1;
        match self.delta.write(version, content.into()).await? {
            Written::Ours => self.apply(&actions).map(|()| true),
            Written::Theirs(found) => {
                let theirs = self.delta.parse(version, &found)?;
                self.apply(&theirs)?;
                self.refresh().await?;
                Ok(false)
            }
        }
    }

    /// Refuses to commit after a version that is not there any more: no reader could read the table then, and nobody would
    /// be told until one tried.
    async fn check_newest(&self) -> Result<(), LakeError> {
        let version = self.files.version;
        if self.delta.commit_of(version).await?.is_none() && newest_checkpoint(&self.delta).await? != Some(version) {
            return Err(LakeError::VersionMissing { table: self.delta.table.folder(), version });
        }
        Ok(())
    }

    fn apply(&mut self, actions: &[Action]) -> Result<(), LakeError> {
        for action in actions {
            match action {
                Action::Add(add) => self.add(add),
                Action::Remove(remove) => {
                    let path = self.full_path(&remove.path);
                    self.files.files.retain(|file| file.path != path);
                }
                Action::Txn(transaction) => self.transaction(&transaction.app_id, transaction.version),
                // Of two that create a table at once, the later one says again in the next version what the first one said.
                Action::Protocol(protocol) if *protocol == self.protocol => {}
                Action::Protocol(_) => {
                    return Err(LakeError::Unsupported {
                        table: self.delta.table.folder(),
                        problem: "was upgraded to another Delta protocol while this process ran; restart it".to_owned(),
                    });
                }
                Action::CommitInfo(info) => self.proof.take_of(info),
                Action::Metadata(_) | Action::Cdc(_) | Action::DomainMetadata(_) => {}
            }
        }
        self.files.version += 1;
        Ok(())
    }

    fn full_path(&self, path: &str) -> String {
        format!("{}/{path}", self.delta.table.folder())
    }

    fn add(&mut self, add: &Add) {
        let stats: Option<serde_json::Value> = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
        let times = stats.as_ref().and_then(statistics::time_range);
        let rows = stats.as_ref().and_then(|stats| stats.get("numRecords")?.as_u64()).unwrap_or(0);
        let day = add.partition_values.get(DAY).and_then(Option::as_deref).and_then(day_from_text).unwrap_or(0);
        self.files.files.push(Arc::new(DataFile {
            path: self.full_path(&add.path),
            size_bytes: u64::try_from(add.size).unwrap_or(0),
            rows,
            day,
            range: range_of_file(&add.path),
            min_started_at_us: times.map(|(earliest, _)| earliest),
            max_started_at_us: times.map(|(_, latest)| latest),
            stats: add.stats.clone(),
        }));
    }

    /// The entries from `place` on, with their places: from memory or, if they were committed before this process began to
    /// follow the table, from the commits.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] if commits that are needed have been removed.
    pub(crate) async fn entries_from(&self, place: u64) -> Result<Vec<(u64, String)>, LakeError> {
        let mut entries: VecDeque<(u64, String)> =
            self.proof.recent.iter().filter(|(at, _)| *at >= place).cloned().collect();
        let mut version = self.files.version;
        while entries.front().map_or(self.proof.size, |(first, _)| *first) > place {
            let Some(actions) = self.delta.actions_of(version).await? else {
                return Err(LakeError::Unsupported {
                    table: self.delta.table.folder(),
                    problem: format!("no longer has the commits with entries {place} and on of the proof's log"),
                });
            };
            for action in &actions {
                let Action::CommitInfo(info) = action else { continue };
                for (at, entry) in LogInfo::of(info).into_iter().flat_map(LogInfo::placed).rev() {
                    if at >= place && entries.front().is_none_or(|(first, _)| at < *first) {
                        entries.push_front((at, entry));
                    }
                }
            }
            version = version.saturating_sub(1);
            if version == 0 {
                break;
            }
        }
        Ok(entries.into())
    }

    /// Transactions of other applications are none of ours.
    fn transaction(&mut self, app_id: &str, version: i64) {
        let size = u64::try_from(version).unwrap_or(0);
        match app_id {
            LOG_APP_ID => self.proof.size = self.proof.size.max(size),
            CHECKPOINT_APP_ID => {
                self.proof.published = self.proof.published.max(size);
                self.proof.forget();
            }
            _ => {}
        }
        let Some((writer, epoch)) = app_id.strip_prefix(APP_ID_PREFIX).and_then(|rest| rest.rsplit_once('/')) else {
            return;
        };
        let (Ok(writer), Ok(epoch), Ok(seq)) = (writer.parse(), epoch.parse(), u64::try_from(version)) else { return };
        let committed = self.watermarks.entry((writer, epoch)).or_insert(0);
        *committed = (*committed).max(seq);
    }

    /// The library answers for one application id at a time and has no list of them, so the column is read here.
    async fn read_transactions_of_checkpoint(&mut self, version: u64) -> Result<(), LakeError> {
        let path = Path::from(format!("_delta_log/{version:020}.checkpoint.parquet"));
        let shown = self.full_path(path.as_ref());
        let failed = |source| LakeError::Parquet { path: shown.clone(), source };
        let store = self.delta.log_store.object_store(None);
        let found = store.head(&path).await.map_err(|source| LakeError::Io { path: shown.clone(), source })?;
        let reader = StoredFile { store, path, size_bytes: found.size };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let txn = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
        let mut batches = builder.with_projection(txn).build().map_err(failed)?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            let Some(column) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else { continue };
            self.read_transactions(column);
        }
        Ok(())
    }

    fn read_transactions(&mut self, column: &StructArray) {
        let Some(app_ids) = column.column_by_name("appId").and_then(|ids| ids.as_string_opt::<i32>()) else { return };
        let versions = column.column_by_name("version").and_then(|versions| versions.as_primitive_opt::<Int64Type>());
        let Some(versions) = versions else { return };
        for row in 0..column.len() {
            if column.is_valid(row) && app_ids.is_valid(row) && versions.is_valid(row) {
                self.transaction(app_ids.value(row), versions.value(row));
            }
        }
    }
}

fn add_of(file: &LogicalFileView) -> Add {
    Add {
        path: file.path().into_owned(),
        partition_values: file.partition_values_map(),
        size: file.size(),
        modification_time: file.modification_time(),
        stats: file.stats(),
        ..Add::default()
    }
}

/// Version of the newest checkpoint, if there is one.
async fn newest_checkpoint(delta: &DeltaLog) -> Result<Option<u64>, LakeError> {
    #[derive(serde::Deserialize)]
    struct LastCheckpoint {
        version: u64,
    }
    let path = Path::from("_delta_log/_last_checkpoint");
    let failed = |source| LakeError::Io { path: format!("{}/{path}", delta.table.folder()), source };
    let content = match delta.log_store.object_store(None).get(&path).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    // A hint that cannot be read is no hint: the whole log is read instead, as the protocol has it.
    Ok(serde_json::from_slice::<LastCheckpoint>(&content).ok().map(|hint| hint.version))
}
