//! What the log shows right now: what budgets and limits have used up, and how each target did in the last quarter of an
//! hour. Taken about every second, so it reads each file of the lake once: a file's rows are folded into the partial sums
//! of its day, and only files that are new since the last call are opened. Rows in memory go through the same fold. Files
//! that vanish (compaction, retention) make their day be folded again.
//!
//! All of this is derived: [`Analytics::rebuilt_signals`](crate::Analytics::rebuilt_signals) folds the same rows from the
//! lake alone, and the two states are equal to the byte ([`SignalsState`]).

mod budgets;
mod fold;
mod quality;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_err;
use datafusion::error::Result as EngineResult;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tollgate_interaction::WriterId;
use tollgate_interaction::interaction::day_of;
use tollgate_interaction::schema::Table;
use tollgate_lake::DataFile;
use tollgate_policy::ledger::{Sums, Tally};
use tollgate_policy::signals::SignalsSnapshot;

use self::budgets::BudgetsCache;
use self::fold::{Fold, LONGEST_CALL_US, US_PER_MINUTE};
pub(crate) use self::quality::Judged;
use self::quality::QualityCache;
use crate::error::ReportError;
use crate::session::Profile;
use crate::table::LogTable;
use crate::view::Reading;

const REPORT: &str = "signals";
/// Where a row stands in its writer's log.
const PLACE_COLUMNS: &[&str] = &["writer", "epoch", "seq"];
/// How far back targets are looked at.
const WINDOW_US: i64 = 15 * 60_000_000;

/// What was learnt from files and chunks already read.
pub(crate) struct SignalsCache {
    known: Mutex<Known>,
    budgets: Mutex<BudgetsCache>,
    /// What budgets of the active bundle add up.
    tallies: ArcSwap<Arc<[Tally]>>,
    quality: QualityCache,
}

#[derive(Default)]
struct Known {
    days: BTreeMap<i32, Day>,
    chunks: HashMap<ChunkKey, Arc<Fold>>,
}

/// The files of one day that have been folded.
#[derive(Default)]
struct Day {
    files: HashSet<String>,
    fold: Fold,
}

/// Names the rows of a chunk: they never change.
type ChunkKey = (WriterId, u64, u64, u64);

/// Everything that signals are made of, in a form that can be compared: equal rows give equal lines, whichever way they
/// came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalsState {
    /// As of when: it decides which minutes and which windows count. Microseconds since 1970, UTC.
    pub taken_at_us: i64,
    /// Last sequence number included, by `writer/epoch`.
    pub watermarks: BTreeMap<String, u64>,
    /// The sums as JSON, sorted: `["target", minute, target, calls, errors, usd, priced, latencies]` for each minute of the
    /// last quarter of an hour, and `["budget", tally, scope, bucket, usd,
    /// tokens, calls]` for each bucket of each account that budgets and limits count. Money is exact.
    pub lines: Vec<String>,
    /// What budgets and limits add up, as of the bundle that was active.
    #[serde(default)]
    pub tallies: Vec<Tally>,
}

impl Default for SignalsCache {
    fn default() -> Self {
        let tallies = ArcSwap::from_pointee(Arc::from([]));
        SignalsCache { known: Mutex::default(), budgets: Mutex::default(), tallies, quality: QualityCache::default() }
    }
}

impl SignalsCache {
    /// The signals of `reading`.
    pub(crate) async fn take(&self, reading: &Reading, now_us: i64) -> Result<SignalsSnapshot, ReportError> {
        let sum = self.sum(reading, now_us).await?;
        let budgets = self.budgets(reading, now_us).await?;
        Ok(SignalsSnapshot {
            id: format!("sig-{now_us:x}"),
            taken_at_us: now_us,
            watermarks: watermarks(reading),
            targets: {
                let mut targets = sum.targets();
                self.quality.enter(reading, now_us, &mut targets);
                targets
            },
            budgets,
        })
    }

    /// What the signals of `reading` are made of.
    pub(crate) async fn state(&self, reading: &Reading, now_us: i64) -> Result<SignalsState, ReportError> {
        let mut lines = self.sum(reading, now_us).await?.lines();
        lines.extend(fold::budget_lines(&self.budgets(reading, now_us).await?));
        let tallies = self.followed().to_vec();
        Ok(SignalsState { taken_at_us: now_us, watermarks: watermarks(reading), lines, tallies })
    }

    /// Counts these from now on.
    pub(crate) fn follow(&self, tallies: &Arc<[Tally]>) {
        self.tallies.store(Arc::new(Arc::clone(tallies)));
    }

    /// What is counted.
    pub(crate) fn followed(&self) -> Arc<[Tally]> {
        Arc::clone(&self.tallies.load())
    }

    async fn budgets(&self, reading: &Reading, now_us: i64) -> Result<Sums, ReportError> {
        let tallies = self.followed();
        self.budgets.lock().await.take(reading, &tallies, now_us).await
    }

    async fn sum(&self, reading: &Reading, now_us: i64) -> Result<Fold, ReportError> {
        // Whole minutes: that is how finely attempts are told apart.
        let since_us = now_us.saturating_sub(WINDOW_US).div_euclid(US_PER_MINUTE) * US_PER_MINUTE;
        let first_day = day_of(since_us.saturating_sub(LONGEST_CALL_US));
        let mut known = self.known.lock().await;
        known.read_new_files(reading, first_day, since_us).await?;
        known.fold_chunks(reading);
        let mut sum = Fold::default();
        for partial in known.days.values() {
            sum.add_targets(&partial.fold, since_us);
        }
        for chunk in known.chunks.values() {
            sum.add_targets(chunk, since_us);
        }
        Ok(sum)
    }
}

fn watermarks(reading: &Reading) -> BTreeMap<String, u64> {
    let named = |((writer, epoch), seq)| (format!("{writer}/{epoch}"), seq);
    reading.watermarks().into_iter().map(named).collect()
}

impl Known {
    /// Folds the files that were not there before. What is known stays as it was if a file cannot be read.
    async fn read_new_files(&mut self, reading: &Reading, first_day: i32, since_us: i64) -> Result<(), ReportError> {
        let by_day = by_day(reading.lake.interactions.files.clone(), first_day);
        self.days.retain(|day, _| by_day.contains_key(day));
        for (day, files) in by_day {
            let mut partial = self.days.remove(&day).unwrap_or_default();
            partial.fold.forget_targets_before(since_us);
            let live: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            if !partial.files.iter().all(|path| live.contains(path.as_str())) {
                partial = Day::default();
            }
            let new: Vec<_> = files.iter().filter(|file| !partial.files.contains(&file.path)).cloned().collect();
            let read = if new.is_empty() { Ok(Fold::default()) } else { read(reading, &new, since_us).await };
            if let Ok(fold) = &read {
                partial.fold.add_targets(fold, i64::MIN);
                partial.files.extend(new.into_iter().map(|file| file.path.clone()));
            }
            self.days.insert(day, partial);
            read?;
        }
        Ok(())
    }

    /// Folds the chunks in memory that were not there before and forgets those that are gone.
    fn fold_chunks(&mut self, reading: &Reading) {
        let mut chunks = HashMap::with_capacity(reading.hot.chunks.len());
        for chunk in &reading.hot.chunks {
            let key = (chunk.writer.clone(), chunk.epoch, chunk.first_seq, chunk.last_seq);
            let folded = self.chunks.remove(&key).unwrap_or_else(|| {
                let mut fold = Fold::default();
                fold.rows(&chunk.batches.interactions);
                Arc::new(fold)
            });
            chunks.insert(key, folded);
        }
        self.chunks = chunks;
    }
}

fn by_day(files: Vec<Arc<DataFile>>, first_day: i32) -> BTreeMap<i32, Vec<Arc<DataFile>>> {
    let mut by_day: BTreeMap<i32, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.day >= first_day) {
        by_day.entry(file.day).or_default().push(file);
    }
    by_day
}

/// Folds those of the files that may have recent rows.
async fn read(reading: &Reading, files: &[Arc<DataFile>], since_us: i64) -> Result<Fold, ReportError> {
    let from_us = since_us.saturating_sub(LONGEST_CALL_US);
    let is_recent = |file: &&Arc<DataFile>| file.max_started_at_us.is_none_or(|last_us| last_us >= from_us);
    let recent: Vec<_> = files.iter().filter(is_recent).cloned().collect();
    let mut fold = Fold::default();
    if !recent.is_empty() {
        fold = scan(reading, Table::Interactions, recent, fold::COLUMNS.to_vec(), Fold::rows).await?;
    }
    fold.forget_targets_before(since_us);
    Ok(fold)
}

/// Folds the rows of files, of which these columns are read.
async fn scan<Folded: Default + Send + 'static>(
    reading: &Reading,
    table: Table,
    files: Vec<Arc<DataFile>>,
    columns: Vec<&'static str>,
    fold_rows: impl Fn(&mut Folded, &RecordBatch) + Send + 'static,
) -> Result<Folded, ReportError> {
    let engine = Arc::clone(&reading.engine);
    let names = table.schema();
    let table = LogTable::new(table, files, Vec::new(), &engine.place);
    let state = engine.bare_session(Profile::Aggregate);
    let up_to = reading.up_to.clone();
    let work = async move {
        let places: &[&str] = if up_to.is_some() { PLACE_COLUMNS } else { &[] };
        let wanted = columns.iter().chain(places);
        let projection: EngineResult<Vec<usize>> = wanted.map(|name| Ok(names.index_of(name)?)).collect();
        let plan = table.scan(&state, Some(&projection?), &[], None).await?;
        let mut rows = execute_stream(plan, state.task_ctx())?;
        let mut fold = Folded::default();
        while let Some(batch) = rows.try_next().await? {
            match &up_to {
                Some(up_to) => fold_rows(&mut fold, &rows_up_to(&batch, up_to)?),
                None => fold_rows(&mut fold, &batch),
            }
        }
        Ok(fold)
    };
    match engine.run(work).await {
        Some(fold) => fold.map_err(|source| ReportError::Engine { report: REPORT, source }),
        None => Err(ReportError::Abandoned { report: REPORT }),
    }
}

/// The rows of a batch with [`PLACE_COLUMNS`] that these watermarks cover.
fn rows_up_to(batch: &RecordBatch, up_to: &BTreeMap<String, u64>) -> EngineResult<RecordBatch> {
    let column = |name: &str| batch.column_by_name(name);
    let writers = column("writer").and_then(|column| column.as_string_opt::<i32>());
    let epochs = column("epoch").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let seqs = column("seq").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(writers), Some(epochs), Some(seqs)) = (writers, epochs, seqs) else {
        return exec_err!("the columns that say where rows stand in the log are not of the expected types");
    };
    let is_covered = |row: usize| {
        let last = up_to.get(&format!("{}/{}", writers.value(row), epochs.value(row)));
        last.is_some_and(|last| u64::try_from(seqs.value(row)).is_ok_and(|seq| seq <= *last))
    };
    let covered: BooleanArray = (0..batch.num_rows()).map(|row| Some(is_covered(row))).collect();
    Ok(arrow::compute::filter_record_batch(batch, &covered)?)
}
