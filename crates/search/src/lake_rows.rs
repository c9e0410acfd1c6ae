//! Reading the few columns of the lake's files that the index needs: never the raw bodies.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tollgate_lake::{DataFile, LakeSnapshot};

use crate::cells::{self, FACT_COLUMNS, Facts};
use crate::error::SearchError;

/// Rows per batch: their texts may be long.
const BATCH_ROWS: usize = 256;

/// The batches of a file, with some of its columns.
pub(crate) async fn batches(
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
    columns: &[&str],
) -> Result<BoxStream<'static, Result<RecordBatch, SearchError>>, SearchError> {
    let path = file.path.clone();
    let failed = move |source: ParquetError| SearchError::LakeFile { path: path.clone(), source };
    let location = Path::from(file.path.as_str());
    let reader = StoredFile { store: Arc::clone(store), location, size_bytes: file.size_bytes };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(&failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(&failed)?;
    Ok(stream.map_err(failed).boxed())
}

/// The facts of the calls that may stand in a payload file: those of the fact files with the same part of the log, or of
/// the same day if the file was merged from several.
pub(crate) async fn facts_for(
    store: &Arc<dyn ObjectStore>,
    snapshot: &LakeSnapshot,
    payload: &DataFile,
) -> Result<Facts, SearchError> {
    let mut facts = Facts::new();
    for file in snapshot.interactions.files.iter().filter(|file| overlap(file, payload)) {
        let mut rows = batches(store, file, FACT_COLUMNS).await?;
        while let Some(batch) = rows.try_next().await? {
            cells::add_facts(&batch, &file.path, &mut facts)?;
        }
    }
    Ok(facts)
}

fn overlap(facts: &DataFile, payload: &DataFile) -> bool {
    if facts.day != payload.day {
        return false;
    }
    match (&facts.range, &payload.range) {
        (Some(facts), Some(payload)) => {
            facts.writer == payload.writer
                && facts.epoch == payload.epoch
                && facts.first_seq <= payload.last_seq
                && payload.first_seq <= facts.last_seq
        }
        _ => true,
    }
}

/// A file of the store of which only parts are fetched.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size_bytes: u64,
}

fn unreadable(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.store.get_range(&self.location, range).map_err(unreadable).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.location, &ranges).await.map_err(unreadable) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size_bytes = self.size_bytes;
            let metadata = ParquetMetaDataReader::new().load_and_finish(self, size_bytes).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
