//! One range on its way into the bucket: payload files, fact files, then the manifest that makes them count. Everything up
//! to the manifest can be repeated at will, because nobody looks at a file that no manifest names.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use tollgate_interaction::schema::SCHEMA_VERSION;

use crate::flusher::Shared;
use crate::inbox::{self, Manifest};
use crate::parquet_file::{self, BuildError, BuiltFile, Table};
use crate::plan::{LastBatch, NotesError, Plan};
use crate::seal::{self, SealError};
use crate::store::Store;

/// Files of a range put at the same time.
const PUTS_AT_ONCE: usize = 4;

/// Why a range was not handed over. It will be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOverError {
    #[error("the flusher's notes could not be written")]
    Notes(#[from] NotesError),
    #[error("the files of a range could not be built")]
    Build(#[from] BuildError),
    #[error("the batch could not be sealed")]
    Seal(#[from] SealError),
    #[error("the work of building files was stopped")]
    Stopped(#[from] tokio::task::JoinError),
    #[error("`{path}` could not be put into the store")]
    Put {
        path: String,
        #[source]
        source: object_store::Error,
    },
    #[error(
        "the manifest `{path}` is in the store already, and this process did not write it: another process uses the name of this \
         writer, probably with a copy of its log folder; stop one and delete its `writer` file"
    )]
    OtherWriter { path: String },
    #[error(
        "{rows} rows from {epoch}/{first_seq} on could not be turned into Arrow; this is a defect of Tollgate, report it (the log keeps \
         the rows)"
    )]
    Defect { rows: usize, epoch: u64, first_seq: u64 },
    #[error("the store took longer than {seconds} s for one range")]
    TooSlow { seconds: u64 },
}

/// A range whose files have been built.
pub(crate) struct Attempt {
    pub(crate) plan: Plan,
    manifest: Manifest,
    /// In the order in which they are put: the facts last.
    files: Vec<(Table, Vec<BuiltFile>)>,
}

impl Attempt {
    /// Builds the files of the plan's records, and their batch's header, on the blocking pool.
    pub(crate) async fn build(
        shared: &Arc<Shared>,
        plan: Plan,
        last_batch: Option<LastBatch>,
    ) -> Result<Attempt, HandOverError> {
        let shared = Arc::clone(shared);
        tokio::task::spawn_blocking(move || Attempt::build_now(&shared, plan, last_batch.as_ref())).await?
    }

    fn build_now(shared: &Shared, plan: Plan, last_batch: Option<&LastBatch>) -> Result<Attempt, HandOverError> {
        let mut of_tables: Vec<(Table, Vec<RecordBatch>)> = Table::ALL.map(|table| (table, Vec::new())).into();
        for chunk in shared.hot.chunks_between(plan.epoch, plan.first_seq, plan.last_seq) {
            let batches = chunk.batches();
            let calls = batches.interactions.num_rows();
            if batches.records() != chunk.rows || batches.payloads.num_rows() != calls {
                return Err(HandOverError::Defect { rows: chunk.rows, epoch: plan.epoch, first_seq: chunk.first_seq });
            }
            for (table, of_table) in &mut of_tables {
                let rows = rows_between(batches.of(*table), &plan);
                if rows.num_rows() > 0 {
                    of_table.push(rows);
                }
            }
        }
        let writer = shared.wal.writer();
        let stem = inbox::file_stem(writer, plan.epoch, plan.first_seq, plan.last_seq);
        let created_at_us = chrono::Utc::now().timestamp_micros();
        let header = seal::header(shared, &plan, last_batch, &of_tables, created_at_us)?;
        let mut files = Vec::with_capacity(of_tables.len());
        for (table, batches) in of_tables {
            files.push((table, parquet_file::build(table, &batches, &stem)?));
        }
        let listed = |wanted: Table| {
            let of_table = files.iter().filter(|(table, _)| *table == wanted).flat_map(|(_, files)| files);
            of_table.map(|file| file.listed.clone()).collect()
        };
        let manifest = Manifest {
            format: inbox::FORMAT,
            nonce: plan.nonce.clone(),
            writer: writer.clone(),
            epoch: plan.epoch,
            first_seq: plan.first_seq,
            last_seq: plan.last_seq,
            created_at_us,
            schema_version: SCHEMA_VERSION,
            interactions: listed(Table::Interactions),
            payloads: listed(Table::Payloads),
            control_events: listed(Table::ControlEvents),
            access_events: listed(Table::AccessEvents),
            log_gaps: listed(Table::LogGaps),
            price_corrections: listed(Table::PriceCorrections),
            feedback: listed(Table::Feedback),
            header,
        };
        Ok(Attempt { plan, manifest, files })
    }

    pub(crate) fn header(&self) -> Option<&str> {
        self.manifest.header.as_deref()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.manifest.rows()
    }

    /// Puts the files and then the manifest. A range without rows (the power failed before its last events reached the
    /// disk, and a plan for them did) has nothing to put.
    pub(crate) fn hand_over<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<(), HandOverError>> {
        async move {
            if self.manifest.records() == 0 || self.is_there(store).await? {
                return Ok(());
            }
            for (table, files) in &self.files {
                self.put_files(store, *table, files).await?;
            }
            self.put_manifest(store).await
        }
        .boxed()
    }

    async fn put_files(&self, store: &Store, table: Table, files: &[BuiltFile]) -> Result<(), HandOverError> {
        let mut puts = Vec::with_capacity(files.len());
        for file in files {
            let path = Path::from(format!("{}/{}", table.folder(), file.listed.path));
            let content = file.content.clone();
            puts.push(async move {
                let put = store.object_store.put(&path, content.into()).await;
                put.map_err(|source| HandOverError::Put { path: path.to_string(), source })
            });
        }
        futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }

    async fn put_manifest(&self, store: &Store) -> Result<(), HandOverError> {
        let path = self.manifest.path();
        let failed = |source| HandOverError::Put { path: path.to_string(), source };
        let content = serde_json::to_vec(&self.manifest)
            .map_err(|error| failed(object_store::Error::Generic { store: "manifest", source: error.into() }))?;
        match store.object_store.put_opts(&path, content.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            // Ours from an earlier attempt, or a rival's; a sidecar that may not read takes it for its own.
            Err(object_store::Error::AlreadyExists { .. }) => self.is_there(store).await.map(|_| ()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Whether an earlier attempt put this manifest. A sidecar without the right to read, and a committer that has
    /// already deleted it, both lead to `false`: putting it again is refused by the store or dropped by the committer.
    async fn is_there(&self, store: &Store) -> Result<bool, HandOverError> {
        let path = self.manifest.path();
        let Ok(found) = store.object_store.get(&path).await else { return Ok(false) };
        let Ok(content) = found.bytes().await else { return Ok(false) };
        match serde_json::from_slice::<Manifest>(&content) {
            Ok(manifest) if manifest.nonce == self.plan.nonce => Ok(true),
            _ => Err(HandOverError::OtherWriter { path: path.to_string() }),
        }
    }
}

/// The rows of a batch, ordered by `seq`, that the plan covers.
fn rows_between(batch: &RecordBatch, plan: &Plan) -> RecordBatch {
    let Some(column) = batch.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>()) else {
        return batch.slice(0, 0);
    };
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let from = column.values().partition_point(|seq| *seq < bound(plan.first_seq));
    let to = column.values().partition_point(|seq| *seq <= bound(plan.last_seq));
    batch.slice(from, to - from)
}
