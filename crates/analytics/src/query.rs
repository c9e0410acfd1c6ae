//! Running one statement within limits. What does not fit is left out and said to be, never silently.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::{ReportError, SqlError};
use crate::report::AsOf;
use crate::session::Profile;
use crate::statement;
use crate::view::Reading;

/// Bounds of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Rows returned at most.
    pub max_rows: usize,
    /// Bytes returned at most, as the engine holds them in memory.
    pub max_bytes: usize,
    /// Time after which the query is stopped.
    pub timeout: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits { max_rows: 10_000, max_bytes: 64 * 1024 * 1024, timeout: Duration::from_secs(30) }
    }
}

/// The answer to one statement.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// Columns of the answer.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    /// Number of rows in `batches`.
    pub rows: usize,
    /// Whether there were more rows or bytes than the limits let through.
    pub truncated: bool,
    /// How long it took.
    pub elapsed_ms: u64,
    /// What it was read from.
    pub as_of: AsOf,
}

impl Reading {
    /// Answers one statement that reads.
    ///
    /// # Errors
    /// [`SqlError`] says why there is no answer.
    pub fn sql(&self, sql: &str, limits: QueryLimits) -> BoxFuture<'static, Result<QueryResult, SqlError>> {
        let (reading, sql) = (self.clone(), sql.to_owned());
        async move {
            if reading.tables.visibility.teams().is_some() {
                return Err(SqlError::Bounded);
            }
            let statement = statement::read_only(&sql)?;
            // A plan tells of files and rows that do not exist for this reader.
            if reading.tables.visibility.tenant().is_some() && statement::explains(&statement) {
                return Err(SqlError::Tells);
            }
            let engine = Arc::clone(&reading.engine);
            let turn = async {
                let _turn = engine.statements.acquire().await.ok()?;
                engine.run(answer(reading, statement, limits)).await
            };
            match tokio::time::timeout(limits.timeout, turn).await {
                Ok(Some(result)) => result,
                Ok(None) => Err(SqlError::Abandoned),
                Err(_) => Err(SqlError::TimedOut { limit: limits.timeout }),
            }
        }
        .boxed()
    }

    /// The rows of a statement of ours, batch by batch, however many there are. Not for statements that users write.
    pub fn stream(&self, report: &'static str, sql: &str) -> BoxStream<'static, Result<RecordBatch, ReportError>> {
        let (reading, sql) = (self.clone(), sql.to_owned());
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        let task = self.engine.start(async move {
            let mut batches = match rows(&reading, Profile::Aggregate, &sql, Vec::new()).await {
                Ok(batches) => batches,
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            };
            while let Some(batch) = batches.next().await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        // The task stops with the stream because it lives in its state.
        futures::stream::unfold((receiver, task), move |(mut receiver, task)| async move {
            let batch: EngineResult<RecordBatch> = receiver.recv().await?;
            Some((batch.map_err(|source| ReportError::Engine { report, source }), (receiver, task)))
        })
        .boxed()
    }

    /// All rows of a statement of ours.
    pub(crate) async fn ask(
        &self,
        report: &'static str,
        profile: Profile,
        sql: String,
        parameters: Vec<(&'static str, ScalarValue)>,
    ) -> Result<Vec<RecordBatch>, ReportError> {
        let reading = self.clone();
        let work = async move { rows(&reading, profile, &sql, parameters).await?.try_collect::<Vec<_>>().await };
        let limit = self.engine.report_timeout;
        match tokio::time::timeout(limit, self.engine.run(work)).await {
            Ok(Some(rows)) => rows.map_err(|source| ReportError::Engine { report, source }),
            Ok(None) => Err(ReportError::Abandoned { report }),
            Err(_) => Err(ReportError::TimedOut { limit }),
        }
    }
}

async fn rows(
    reading: &Reading,
    profile: Profile,
    sql: &str,
    parameters: Vec<(&'static str, ScalarValue)>,
) -> EngineResult<BoxStream<'static, EngineResult<RecordBatch>>> {
    let state = reading.engine.session(profile, &reading.tables)?;
    let plan = state.create_logical_plan(sql).await?.with_param_values(parameters)?;
    let plan = state.create_physical_plan(&plan).await?;
    Ok(execute_stream(plan, state.task_ctx())?.boxed())
}

async fn answer(reading: Reading, statement: Statement, limits: QueryLimits) -> Result<QueryResult, SqlError> {
    let begun = Instant::now();
    let state = reading.engine.session(Profile::Needle, &reading.tables).map_err(SqlError::of_planning)?;
    let stream = planned(state, statement).await?;
    let schema = stream.schema();
    let kept = within(stream, limits).await.map_err(SqlError::of_execution)?;
    Ok(QueryResult {
        schema,
        rows: kept.rows,
        batches: kept.batches,
        truncated: kept.truncated,
        elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        as_of: reading.as_of(),
    })
}

/// Plans a statement and refuses, a second time and by its plan, whatever would write.
async fn planned(state: SessionState, statement: Statement) -> Result<SendableRecordBatchStream, SqlError> {
    let plan = state.statement_to_plan(statement).await.map_err(SqlError::of_planning)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    if let Err(error) = read_only.verify_plan(&plan) {
        return Err(SqlError::Refused { statement: last_word(&error) });
    }
    let context = SessionContext::new_with_state(state);
    let rows = context.execute_logical_plan(plan).await.map_err(SqlError::of_planning)?;
    rows.execute_stream().await.map_err(SqlError::of_execution)
}

/// The engine ends its refusals with the name of the statement.
fn last_word(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    text.rsplit(": ").next().unwrap_or("this statement").to_uppercase()
}

struct Kept {
    batches: Vec<RecordBatch>,
    rows: usize,
    truncated: bool,
}

async fn within(mut stream: SendableRecordBatchStream, limits: QueryLimits) -> EngineResult<Kept> {
    let mut kept = Kept { batches: Vec::new(), rows: 0, truncated: false };
    let mut bytes = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let fitting = fitting_rows(&batch, limits.max_rows - kept.rows, limits.max_bytes - bytes, kept.rows == 0);
        if fitting > 0 {
            let part = batch.slice(0, fitting);
            bytes = (bytes + size_of(&part)).min(limits.max_bytes);
            kept.rows += fitting;
            kept.batches.push(part);
        }
        if fitting < batch.num_rows() {
            kept.truncated = true;
            break;
        }
    }
    Ok(kept)
}

/// How many rows from the start of `batch` fit. A first row that alone exceeds the bytes is let through.
fn fitting_rows(batch: &RecordBatch, max_rows: usize, max_bytes: usize, is_first: bool) -> usize {
    let mut rows = batch.num_rows().min(max_rows);
    while rows > 0 && size_of(&batch.slice(0, rows)) > max_bytes {
        if rows == 1 && is_first {
            return 1;
        }
        rows /= 2;
    }
    rows
}

fn size_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
