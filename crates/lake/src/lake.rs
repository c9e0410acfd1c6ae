//! The lake as a handle: open it, look at its newest snapshot, follow it, commit to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, Date32Array, new_null_array};
use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::SchemaDescriptor;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_flush::store::{self, Store};
use tollgate_flush::{Watermarks, committed_seq, error_chain};
use tollgate_interaction::WriterId;
use tollgate_interaction::schema::{DAY, Table};

use crate::commit::{self, Received};
use crate::error::LakeError;
use crate::gaps::Gaps;
use crate::lease::Lease;
use crate::log::{LogPosition, TableLog};
use crate::parquet_reader::StoredFile;
use crate::proof::{self, ProofError, ProofSettings, ProofStatus, Prover};
use crate::snapshot::{DataFile, LakeSnapshot, TableFiles};
use crate::table::{CHECKPOINT_EVERY, DeltaLog};
use crate::trouble::{self, Files, Trouble};
use crate::witnessing::{Answers, Asking};

/// Commits lost to other processes before one run gives up.
const ATTEMPTS: u32 = 10;
/// How often, and how far apart, a store that answers with errors of its own is asked at the start.
const START_ATTEMPTS: u32 = 30;
const START_PAUSE: Duration = Duration::from_secs(1);
/// Rows of a batch read from a file, at most.
const READ_ROWS: usize = 1_024;
/// Bytes of a batch read from a file, uncompressed, as far as its rows are of average size.
const READ_BYTES: usize = 16 << 20;
/// How long the last commit may take when the process stops.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked at what was rejected.
const REJECTED_EVERY: Duration = Duration::from_secs(30);

/// What a process does with the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads what others commit.
    ReadOnly,
    /// Creates the tables and commits the inbox, if it has the lease. Two that commit at once waste work but do no harm.
    Committer,
}

/// What one run over the inbox did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// Manifests committed.
    pub manifests: u64,
    /// Calls committed.
    pub rows: u64,
    /// Manifests that were in the lake already and were deleted.
    pub repeated: u64,
    /// Manifests that could not be used and were moved to `inbox/rejected/`.
    pub rejected: u64,
}

/// The tables of the lake, and the proof over them.
pub struct Lake {
    store: Store,
    mode: Mode,
    /// As the lease last stood.
    commits: AtomicBool,
    /// Locked for the length of a commit or a refresh; readers never wait for it.
    tables: Mutex<Tables>,
    published: watch::Sender<Arc<LakeSnapshot>>,
    watermarks: watch::Sender<Option<Arc<Watermarks>>>,
    /// Keeps the proof's log; only a committer that has been given keys.
    prover: Option<Mutex<Prover>>,
    proof: watch::Sender<ProofStatus>,
    trouble: watch::Sender<Trouble>,
}

pub(crate) struct Tables {
    pub(crate) interactions: TableLog,
    /// The other tables, in the order of [`Table::ALL`]. A table that a lake of an earlier version does not have is left
    /// out, and is looked for again at every refresh of a reader.
    others: Vec<TableLog>,
    absent: Vec<DeltaLog>,
    gaps: Gaps,
}

impl Lake {
    /// Opens the lake. A committer tests that the store honours create-if-absent and creates the tables.
    ///
    /// # Errors
    /// [`LakeError`], among them [`LakeError::NoTable`] for a reader that came before the first committer.
    #[must_use]
    pub fn open(store: Store, mode: Mode) -> BoxFuture<'static, Result<Arc<Lake>, LakeError>> {
        Lake::open_with(store, mode, None)
    }

    /// Opens the lake as [`Lake::open`] does, and keeps its proof with these keys.
    ///
    /// # Errors
    /// As [`Lake::open`]; a key that cannot be used is [`LakeError::Key`].
    #[must_use]
    pub fn open_proven(store: Store, proof: ProofSettings) -> BoxFuture<'static, Result<Arc<Lake>, LakeError>> {
        Lake::open_with(store, Mode::Committer, Some(proof))
    }

    fn open_with(
        store: Store,
        mode: Mode,
        proof: Option<ProofSettings>,
    ) -> BoxFuture<'static, Result<Arc<Lake>, LakeError>> {
        async move {
            let prover = proof.map(Prover::new).transpose()?;
            let tables = open_patiently(&store, mode).await?;
            let snapshot = Arc::new(tables.snapshot());
            let watermarks = watch::Sender::new(Some(Arc::new(snapshot.watermarks.clone())));
            let published = watch::Sender::new(snapshot);
            let commits = AtomicBool::new(mode == Mode::Committer);
            // The key and the witnesses are known before the first checkpoint.
            let status = prover.as_ref().map(|prover| prover.status(&tables.interactions.proof));
            let proof = watch::Sender::new(status.unwrap_or_default());
            let trouble = watch::Sender::default();
            let prover = prover.map(Mutex::new);
            let tables = Mutex::new(tables);
            Ok(Arc::new(Lake { store, mode, commits, tables, published, watermarks, prover, proof, trouble }))
        }
        .boxed()
    }

    /// How the proof is doing. A reader knows nothing of it.
    #[must_use]
    pub fn proof(&self) -> watch::Receiver<ProofStatus> {
        self.proof.subscribe()
    }

    /// What stands between rows and the table, as the last run over the inbox found it.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Trouble> {
        self.trouble.subscribe()
    }

    /// Publishes a checkpoint over everything that has been committed, unless the last one covers it, with the cosignatures of
    /// its witnesses. What stands in the way is in [`Lake::proof`] and in the log; commits never wait for it.
    pub fn publish_checkpoint(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Some(asking) = self.sign_checkpoint().await {
                self.publish_cosigned(asking.await).await;
            }
        }
        .boxed()
    }

    /// Signs a checkpoint and publishes it; if witnesses must be asked first, says how, and [`Lake::publish_cosigned`] is to
    /// follow. Asking holds no lock.
    async fn sign_checkpoint(&self) -> Option<Asking> {
        let mut prover = self.prover.as_ref()?.lock().await;
        if prover.is_waiting() {
            return None;
        }
        let signed = self.sign_with(&mut prover).await;
        self.tell(&mut prover, signed).await?
    }

    async fn publish_cosigned(&self, answers: Answers) {
        let Some(prover) = &self.prover else { return };
        let mut prover = prover.lock().await;
        let done = prover.publish_cosigned(&self.store, answers).await;
        self.tell(&mut prover, done).await;
    }

    /// Tells readers how the proof is doing after a step of publishing.
    async fn tell<Done>(&self, prover: &mut Prover, done: Result<Done, ProofError>) -> Option<Done> {
        let done = done.map_err(|error| {
            let error = proof::described(&error);
            tracing::error!(error, "no checkpoint of the proof was published; commits go on");
            prover.problem(error);
        });
        let mut tables = self.tables.lock().await;
        tables.interactions.proof.published_until(prover.published_size());
        self.proof.send_replace(prover.status(&tables.interactions.proof));
        done.ok()
    }

    async fn sign_with(&self, prover: &mut Prover) -> Result<Option<Asking>, ProofError> {
        let position = self.tables.lock().await.interactions.proof.clone();
        prover.look(&self.store, &position).await?;
        if let Some(note) = prover.key_note()? {
            self.append_entry(note).await?;
        }
        let Some(wanted) = prover.next_entry() else { return Ok(None) };
        let entries = self.tables.lock().await.interactions.entries_from(wanted).await?;
        prover.publish(&self.store, entries).await
    }

    /// Commits an entry of the proof's log that belongs to no batch.
    async fn append_entry(&self, entry: String) -> Result<(), LakeError> {
        let mut tables = self.tables.lock().await;
        for _ in 0..ATTEMPTS {
            let actions = commit::entry_actions(&entry, &tables.interactions);
            if tables.interactions.commit(actions).await? {
                self.publish(&tables);
                return Ok(());
            }
        }
        Err(LakeError::Contended { table: Table::Interactions.folder(), attempts: ATTEMPTS })
    }

    /// What the facts' commits say of the proof's log.
    pub(crate) async fn log_position(&self) -> LogPosition {
        self.tables.lock().await.interactions.proof.clone()
    }

    /// The entries of the proof's log from `place` on, as the facts' commits carry them.
    pub(crate) async fn committed_entries(&self, place: u64) -> Result<Vec<(u64, String)>, LakeError> {
        self.tables.lock().await.interactions.entries_from(place).await
    }

    /// Where the lake is, and how to read its files.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the lake holds, as far as this process knows.
    #[must_use]
    pub fn snapshot(&self) -> Arc<LakeSnapshot> {
        Arc::clone(&self.published.borrow())
    }

    /// Follows the snapshots.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<LakeSnapshot>> {
        self.published.subscribe()
    }

    /// Follows the watermarks of the published snapshots, each after its snapshot: what the flusher forgets rows by.
    #[must_use]
    pub fn watermarks(&self) -> watch::Receiver<Option<Arc<Watermarks>>> {
        self.watermarks.subscribe()
    }

    /// Takes in what other processes have committed and publishes it.
    pub fn refresh(&self) -> BoxFuture<'_, Result<Arc<LakeSnapshot>, LakeError>> {
        async move {
            let mut tables = self.tables.lock().await;
            tables.refresh().await?;
            self.publish(&tables);
            Ok(self.snapshot())
        }
        .boxed()
    }

    /// Commits what is in the inbox: one commit per table, however many manifests there are (up to 500; the rest is left
    /// for the next run). Safe to repeat at any point after a crash.
    ///
    /// # Errors
    /// [`LakeError`]; whatever was not committed is still in the inbox.
    pub fn commit_inbox(&self) -> BoxFuture<'_, Result<CommitReport, LakeError>> {
        async move {
            if self.mode == Mode::ReadOnly {
                return Err(LakeError::ReadOnly { url: self.store.url.to_string() });
            }
            let mut tables = self.tables.lock().await;
            let version_before = tables.interactions.files.version;
            let Tables { interactions, gaps, .. } = &mut *tables;
            let inbox = gaps.read_inbox(&self.store, interactions, Instant::now()).await?;
            let mut report = CommitReport::default();
            let newer = Files::of(inbox.newer);
            self.trouble.send_if_modified(|trouble| std::mem::replace(&mut trouble.newer, newer.clone()) != newer);
            for (path, why) in &inbox.rejected {
                commit::reject(&self.store, path, why).await?;
                report.rejected += 1;
            }
            self.commit_received(&mut tables, &inbox.received, version_before, &mut report).await?;
            Ok(report)
        }
        .boxed()
    }

    async fn commit_received(
        &self,
        tables: &mut Tables,
        received: &[Received],
        version_before: u64,
        report: &mut CommitReport,
    ) -> Result<(), LakeError> {
        let mut incomplete = None;
        for _ in 0..ATTEMPTS {
            let sorted = commit::sort(received, &tables.interactions.watermarks);
            let incomplete = match &incomplete {
                Some(known) => known,
                None => incomplete.insert(commit::missing_files(&self.store, &sorted.fresh).await?),
            };
            let mut fresh = sorted.fresh;
            fresh.retain(|each| !incomplete.contains_key(&each.path));
            if !tables.add(&fresh).await? {
                continue;
            }
            if tables.interactions.files.version > version_before + u64::from(!fresh.is_empty()) {
                // Facts of another process were taken in; their payloads were committed before them and must not be missed.
                tables.refresh_others().await?;
            }
            self.publish(tables);
            let broken = incomplete.iter().map(|(path, why)| (path, why.clone()));
            for (path, why) in sorted.rejected.into_iter().chain(broken) {
                commit::reject(&self.store, path, &why).await?;
                report.rejected += 1;
            }
            let done = sorted.repeated.iter().chain(&fresh).map(|done| done.path.clone()).collect();
            commit::delete_all(&self.store, done).await?;
            report.repeated += sorted.repeated.len() as u64;
            report.manifests += fresh.len() as u64;
            report.rows += fresh.iter().map(|each| each.manifest.rows()).sum::<u64>();
            return Ok(());
        }
        Err(LakeError::Contended { table: Table::Interactions.folder(), attempts: ATTEMPTS })
    }

    pub(crate) async fn lock_tables(&self) -> tokio::sync::MutexGuard<'_, Tables> {
        self.tables.lock().await
    }

    /// Publishes the tables if they have moved, by our own commits or by those of others.
    pub(crate) fn publish(&self, tables: &Tables) {
        let is_as_published = {
            let published = self.published.borrow();
            tables.all().all(|log| published.files(log.delta.table).version == log.files.version)
        };
        if is_as_published {
            return;
        }
        let snapshot = Arc::new(tables.snapshot());
        let watermarks = Arc::new(snapshot.watermarks.clone());
        self.published.send_replace(snapshot);
        self.watermarks.send_replace(Some(watermarks));
    }

    /// Whether this process is the one that commits: it holds the lease, or nobody can tell who does.
    #[must_use]
    pub fn commits(&self) -> bool {
        self.commits.load(Ordering::Relaxed)
    }

    /// Commits whenever notified and at least every `poll`, until `shutdown`; then once more. Writes checkpoints when they
    /// are due, after the commit has been published. In [`Mode::ReadOnly`], and while another process than `holder` has the
    /// lease (`lease.rs`), it refreshes instead. `poll` is to be a few seconds, so that the lease is renewed in time.
    #[must_use]
    pub fn run_committer(
        self: Arc<Self>,
        holder: WriterId,
        notify: Arc<Notify>,
        poll: Duration,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        async move {
            let interval = match &self.prover {
                Some(prover) => prover.lock().await.interval(),
                None => Duration::MAX,
            };
            let mut checked_at: Option<Instant> = None;
            // Witnesses are asked beside the commits: at most one task, which ends with this one.
            let mut asking: JoinSet<Answers> = JoinSet::new();
            let mut looked_at: Option<Instant> = None;
            let mut lease = Lease::new(&self.store, holder);
            while !shutdown.is_cancelled() {
                if self.mode == Mode::Committer {
                    self.commits.store(lease.may_commit(Instant::now()).await, Ordering::Relaxed);
                }
                let rejected = self.run_once().await;
                if rejected > 0 || looked_at.is_none_or(|at| at.elapsed() >= REJECTED_EVERY) {
                    self.look_at_rejected().await;
                    looked_at = Some(Instant::now());
                }
                if self.commits() && asking.is_empty() && checked_at.is_none_or(|at| at.elapsed() >= interval) {
                    if let Some(ask) = self.sign_checkpoint().await {
                        asking.spawn(ask);
                    }
                    checked_at = Some(Instant::now());
                }
                tokio::select! {
                    Some(answers) = asking.join_next() => match answers {
                        Ok(answers) => self.publish_cosigned(answers).await,
                        Err(error) => {
                            tracing::error!(%error, "asking the witnesses was stopped; the checkpoint is published without them");
                            self.publish_cosigned(Answers::default()).await;
                        }
                    },
                    () = notify.notified() => {}
                    () = tokio::time::sleep(poll) => {}
                    () = shutdown.cancelled() => {}
                }
            }
            let last = async {
                self.run_once().await;
                if !asking.is_empty() {
                    // Whoever has not answered by now is asked once more below; waiting twice would take too long.
                    asking.abort_all();
                    self.publish_cosigned(Answers::new()).await;
                }
                if self.commits() {
                    self.publish_checkpoint().await;
                }
            };
            if tokio::time::timeout(LAST_COMMIT_TIMEOUT, last).await.is_err() {
                tracing::warn!(
                    "the last commit did not finish in time; the next committer finds its manifests in the inbox"
                );
            }
            lease.release().await;
        }
        .boxed()
    }

    /// Somebody may have repaired them and moved them back.
    async fn look_at_rejected(&self) {
        match trouble::rejected(&self.store).await {
            Ok(rejected) => self.trouble.send_modify(|trouble| trouble.rejected = rejected),
            Err(error) => {
                let error = error_chain(&error);
                tracing::debug!(error, "what was rejected cannot be listed; it will be tried again");
            }
        }
    }

    /// Gives the number of manifests that were rejected.
    async fn run_once(&self) -> u64 {
        let done = match self.mode {
            Mode::Committer if self.commits() => self.commit_inbox().await,
            Mode::Committer | Mode::ReadOnly => self.refresh().await.map(|_| CommitReport::default()),
        };
        let error = done.as_ref().err().map(|error| error_chain(error));
        self.trouble.send_if_modified(|trouble| std::mem::replace(&mut trouble.error, error.clone()) != error);
        match done {
            Ok(report) if report.manifests > 0 => {
                tracing::debug!(report.manifests, report.rows, "committed {} calls", report.rows);
                self.checkpoint_if_due().await;
                report.rejected
            }
            Ok(report) => report.rejected,
            Err(_) => {
                let error = error.unwrap_or_default();
                tracing::warn!(error, "the lake could not be brought up to date; it will be tried again");
                0
            }
        }
    }

    /// Writes the checkpoints that are due. Commits and readers go on meanwhile.
    async fn checkpoint_if_due(&self) {
        let due: Vec<DeltaLog> = {
            let tables = self.tables.lock().await;
            let due = tables.all().filter(|log| log.files.version >= log.checkpointed + CHECKPOINT_EVERY);
            due.map(|log| log.delta.clone()).collect()
        };
        for delta in due {
            match delta.checkpoint().await {
                Ok(version) => {
                    let mut tables = self.tables.lock().await;
                    if let Some(log) = tables.of_mut(delta.table) {
                        log.checkpointed = version;
                    }
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(error, "no checkpoint was written; readers replay more of the log until one is");
                }
            }
        }
    }

    /// The bytes of a file; `None` if it is not there.
    pub(crate) async fn content(&self, file: &DataFile) -> Result<Option<Bytes>, LakeError> {
        let failed = |source| LakeError::Io { path: file.path.clone(), source };
        match self.store.object_store.get(&Path::from(file.path.as_str())).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Reads some columns of a file, or all of the table's, `day` included, in batches that stay small however large the
    /// bodies in them are.
    ///
    /// # Errors
    /// [`LakeError::Parquet`] if the file cannot be read, now or later on.
    pub fn read_columns<'a>(
        &'a self,
        file: &'a DataFile,
        columns: Option<&'a [&'a str]>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError>> {
        self.read_columns_at_most(file, columns, READ_BYTES)
    }

    /// The same with batches of about `batch_bytes` at most.
    pub(crate) fn read_columns_at_most<'a>(
        &'a self,
        file: &'a DataFile,
        columns: Option<&'a [&'a str]>,
        batch_bytes: usize,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError>> {
        async move {
            let failed = |source| LakeError::Parquet { path: file.path.clone(), source };
            let mut schema = Table::of_path(&file.path).unwrap_or(Table::Interactions).schema();
            let reader = StoredFile {
                store: Arc::clone(&self.store.object_store),
                path: Path::from(file.path.as_str()),
                size_bytes: file.size_bytes,
            };
            let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
            let rows = rows_at_once(builder.metadata(), batch_bytes);
            if let Some(columns) = columns {
                schema = some_of(&schema, columns);
            }
            let mask = mask(builder.parquet_schema(), &schema);
            let builder = builder.with_projection(mask);
            let batches = builder.with_batch_size(rows).build().map_err(failed)?;
            let (path, day) = (file.path.clone(), file.day);
            let completed = batches.map(move |batch| {
                let completed = batch.and_then(|batch| Ok(with_all_columns(&batch, &schema, day)?));
                completed.map_err(|source| LakeError::Parquet { path: path.clone(), source })
            });
            Ok(completed.boxed())
        }
        .boxed()
    }
}

/// The batches of a file that is in memory, with some of its columns or all of its table's, `day` included.
pub(crate) fn batches_of(
    file: &DataFile,
    content: Bytes,
    columns: Option<&[&str]>,
) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>>, LakeError> {
    let path = file.path.clone();
    let failed = move |source| LakeError::Parquet { path: path.clone(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(content).map_err(&failed)?;
    let mut schema = Table::of_path(&file.path).unwrap_or(Table::Interactions).schema();
    let rows = rows_at_once(builder.metadata(), READ_BYTES);
    if let Some(columns) = columns {
        schema = some_of(&schema, columns);
    }
    let mask = mask(builder.parquet_schema(), &schema);
    let builder = builder.with_projection(mask);
    let day = file.day;
    let batches = builder.with_batch_size(rows).build().map_err(&failed)?;
    Ok(batches.map(move |batch| {
        let completed = batch.and_then(|batch| with_all_columns(&batch, &schema, day));
        completed.map_err(|source| failed(source.into()))
    }))
}

fn some_of(schema: &SchemaRef, columns: &[&str]) -> SchemaRef {
    let wanted = |field: &&FieldRef| columns.contains(&field.name().as_str());
    Arc::new(Schema::new(schema.fields().iter().filter(wanted).cloned().collect::<Fields>()))
}

/// The columns of a file that `schema` has: an older file has others too.
fn mask(file: &SchemaDescriptor, schema: &SchemaRef) -> ProjectionMask {
    ProjectionMask::columns(file, schema.fields().iter().map(|field| field.name().as_str()))
}

fn rows_at_once(metadata: &ParquetMetaData, batch_bytes: usize) -> usize {
    let sum = |of: fn(&RowGroupMetaData) -> i64| metadata.row_groups().iter().map(of).sum::<i64>();
    let rows = usize::try_from(sum(RowGroupMetaData::num_rows)).unwrap_or(1).max(1);
    let bytes = usize::try_from(sum(RowGroupMetaData::total_byte_size)).unwrap_or(usize::MAX);
    (batch_bytes / (bytes / rows).max(1)).clamp(1, READ_ROWS)
}

/// Columns that the file does not have are NULL (it is older than they are) or, for `day`, stand in its path.
fn with_all_columns(
    batch: &RecordBatch,
    schema: &SchemaRef,
    day: i32,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
            Some(column) => arrow::compute::cast(column, field.data_type())?,
            None if field.name() == DAY => Arc::new(Date32Array::from_value(day, rows)),
            None => new_null_array(field.data_type(), rows),
        });
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// Opens the tables. A store that has just come back answers with errors of its own for some seconds, and its client has
/// given up after a fraction of one: a committer, which would not start, asks again.
async fn open_patiently(store: &Store, mode: Mode) -> Result<Tables, LakeError> {
    let mut attempt = 1;
    loop {
        match open_tables(store, mode).await {
            Err(error)
                if mode == Mode::Committer
                    && attempt < START_ATTEMPTS
                    && error_chain(&error).contains("non-2xx status code: 5") =>
            {
                tracing::warn!(error = %error_chain(&error), "the store is not ready yet; it is asked again");
                tokio::time::sleep(START_PAUSE).await;
                attempt += 1;
            }
            opened => return opened,
        }
    }
}

async fn open_tables(store: &Store, mode: Mode) -> Result<Tables, LakeError> {
    if mode == Mode::Committer {
        check_known(store).await?;
        let probed = store::probe_create_if_absent(store).await;
        probed.map_err(|source| LakeError::Store { url: store.url.to_string(), source: Box::new(source) })?;
    }
    Tables::open(store, mode).await
}

/// Refuses a lake that a newer version wrote, before anything is written to it.
async fn check_known(store: &Store) -> Result<(), LakeError> {
    for table in Table::ALL {
        let delta = DeltaLog::new(store, table);
        if delta.exists().await? {
            let table = delta.load().await?;
            delta.check_writable(&table)?;
            delta.evolved(&table)?;
        }
    }
    Ok(())
}

async fn open_table(delta: DeltaLog, mode: Mode, url: &str) -> Result<TableLog, LakeError> {
    match mode {
        Mode::Committer => {
            delta.create().await?;
            let table = delta.load().await?;
            delta.check_writable(&table)?;
            let evolved = delta.evolved(&table)?;
            let mut log = TableLog::open(delta).await?;
            if let Some(metadata) = evolved
                && !log.evolve(metadata).await?
                && log.delta.evolved(&log.delta.load().await?)?.is_some()
            {
                return Err(LakeError::Contended { table: log.delta.table.folder(), attempts: 1 });
            }
            Ok(log)
        }
        Mode::ReadOnly if !delta.exists().await? => {
            Err(LakeError::NoTable { table: delta.table.folder(), url: url.to_owned() })
        }
        Mode::ReadOnly => TableLog::open(delta).await,
    }
}

impl Tables {
    async fn open(store: &Store, mode: Mode) -> Result<Tables, LakeError> {
        let url = store.url.to_string();
        // Facts first: the others, read after them, are then complete for every watermark.
        let interactions = open_table(DeltaLog::new(store, Table::Interactions), mode, &url).await?;
        let (mut others, mut absent) = (Vec::new(), Vec::new());
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Interactions) {
            let delta = DeltaLog::new(store, table);
            let may_be_absent = mode == Mode::ReadOnly && table != Table::Payloads;
            if may_be_absent && !delta.exists().await? {
                absent.push(delta);
            } else {
                others.push(open_table(delta, mode, &url).await?);
            }
        }
        Ok(Tables { interactions, others, absent, gaps: Gaps::default() })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &TableLog> {
        self.others.iter().chain([&self.interactions])
    }

    pub(crate) fn of_mut(&mut self, table: Table) -> Option<&mut TableLog> {
        self.others.iter_mut().chain([&mut self.interactions]).find(|log| log.delta.table == table)
    }

    async fn refresh(&mut self) -> Result<(), LakeError> {
        self.interactions.refresh().await?;
        self.refresh_others().await
    }

    async fn refresh_others(&mut self) -> Result<(), LakeError> {
        for log in &mut self.others {
            log.refresh().await?;
        }
        let mut absent = Vec::new();
        for delta in std::mem::take(&mut self.absent) {
            if delta.exists().await? {
                self.others.push(TableLog::open(delta).await?);
            } else {
                absent.push(delta);
            }
        }
        self.absent = absent;
        Ok(())
    }

    /// Adds the files of these manifests to every table, the facts last. False if another process committed in between:
    /// what it wrote has been taken in, and everything must be judged again.
    async fn add(&mut self, fresh: &[&Received]) -> Result<bool, LakeError> {
        for log in self.others.iter_mut().chain([&mut self.interactions]) {
            let Some(actions) = commit::actions(log.delta.table, fresh, log) else { continue };
            if !log.commit(actions).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn snapshot(&self) -> LakeSnapshot {
        let watermarks = self.interactions.watermarks.clone();
        let mut snapshot = LakeSnapshot { log_size: self.interactions.proof.size, ..LakeSnapshot::default() };
        for log in self.all() {
            let mut files = log.files.clone();
            if log.watermarks != watermarks {
                hide_uncommitted(&mut files, &watermarks);
            }
            *snapshot.files_mut(log.delta.table) = files;
        }
        snapshot.watermarks = watermarks;
        snapshot
    }
}

/// Other tables are committed before the facts; until the facts are in, the rows are still in the hot tail of their writer.
fn hide_uncommitted(table: &mut TableFiles, watermarks: &Watermarks) {
    table.files.retain(|file| {
        let range = file.range.as_ref();
        range.is_none_or(|range| range.last_seq <= committed_seq(watermarks, &range.writer, range.epoch))
    });
}
