//! Compaction: the small files of the flushes become few large ones, first those of a quarter of an hour, then of an hour,
//! then of a day, each once its time is over; the parts of a day then until there is one, or they are large. A file belongs
//! to one window. The rows stay what they are, so no proof is
//! touched. The new files are written first, then one commit takes the old ones out of the table and puts the new ones in; a
//! crash before that leaves files that nobody looks at, for [`crate::vacuum`]. The old files stay for those who read them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake_core::kernel::{Action, Add, Remove};
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode};
use parquet::arrow::ArrowWriter;
use tollgate_flush::inbox;
use tollgate_flush::parquet_file::{self, Written, day_text};
use tollgate_flush::statistics::Statistics;
use tollgate_interaction::schema::{DAY, Table};

use crate::commit;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::merge::{self, Merge, Order};
use crate::snapshot::DataFile;

const MINUTE_US: i64 = 60_000_000;
/// Lengths of the windows, level by level from 1.
const WINDOWS_US: [i64; 3] = [15 * MINUTE_US, 60 * MINUTE_US, 24 * 60 * MINUTE_US];
/// Rows that come late must have come before a window is closed.
const SETTLED_AFTER_US: i64 = 2 * MINUTE_US;
/// Uncompressed bytes that are sorted in memory at once, and one file more at most.
const SORTED_BYTES: u64 = 64 << 20;
/// Bytes of a batch of an ordered file.
const MERGED_BATCH_BYTES: usize = 2 << 20;
/// A file of this size is large enough; it is not merged any further.
const LARGE_BYTES: u64 = 64 << 20;
/// Room for a file whose last row group ends after it has become large.
const FILE_CAPACITY_BYTES: usize = LARGE_BYTES as usize + (32 << 20);
/// Ordered files merged at once, at most: each takes a row group as it is stored, a page of every column and a batch in
/// memory, together some 70 MB where one call is 10 MB (`benches`, suite `memory`).
const FILES_AT_ONCE: usize = 4;
/// Rows of a file of facts, at most.
const MOST_ROWS: usize = 1 << 20;
/// Commits lost to other processes before one compaction gives up.
const ATTEMPTS: u32 = 10;

/// What compactions did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CompactReport {
    /// Commits made.
    pub commits: u64,
    /// Files taken out of the tables.
    pub files_before: u64,
    /// Files put in instead.
    pub files_after: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Their bytes.
    pub bytes_after: u64,
    /// Rows in them.
    pub rows: u64,
}

impl CompactReport {
    fn add(&mut self, other: CompactReport) {
        self.commits += other.commits;
        self.files_before += other.files_before;
        self.files_after += other.files_after;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.rows += other.rows;
    }
}

/// Files of one table that become one sequence of files.
#[derive(Clone, Debug, PartialEq)]
struct Task {
    table: Table,
    level: u8,
    day: i32,
    window_start_us: i64,
    files: Vec<Arc<DataFile>>,
}

impl Lake {
    /// Compacts what is due, one task after the other, until nothing is or `most` tasks are done.
    ///
    /// # Errors
    /// [`LakeError`]; what was committed before stays, and what was not is as it was.
    pub fn compact(&self, now_us: i64, most: usize) -> BoxFuture<'_, Result<CompactReport, LakeError>> {
        async move {
            let mut report = CompactReport::default();
            // A task that lost its files to another process is not tried twice in a row.
            let mut given_up: HashSet<String> = HashSet::new();
            for _ in 0..most {
                let snapshot = self.snapshot();
                let mut due = Table::ALL.into_iter().filter_map(|table| {
                    let files: Vec<Arc<DataFile>> = snapshot
                        .files(table)
                        .files
                        .iter()
                        .filter(|file| !given_up.contains(&file.path))
                        .cloned()
                        .collect();
                    next_task(table, &files, now_us)
                });
                let Some(task) = due.next() else { break };
                match self.compact_task(&task).await? {
                    Some(done) => report.add(done),
                    None => given_up.extend(task.files.iter().map(|file| file.path.clone())),
                }
            }
            Ok(report)
        }
        .boxed()
    }

    async fn compact_task(&self, task: &Task) -> Result<Option<CompactReport>, LakeError> {
        let mut merge = Merge::new(Order::of(task.table).map_err(|source| LakeError::Merge { source })?);
        let (mut fresh, mut fresh_bytes) = (Vec::new(), 0);
        let mut files = Vec::with_capacity(task.files.len());
        for file in &task.files {
            if level_of(file) > 0 {
                merge.add(self.read_columns_at_most(file, None, MERGED_BATCH_BYTES).await?).await?;
            } else if fresh_bytes < SORTED_BYTES {
                // How far a file expands is known when it has expanded: a prompt that repeats compresses a hundredfold.
                let batches = self.read_columns(file, None).await?.try_collect::<Vec<RecordBatch>>().await?;
                fresh_bytes += batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum::<u64>();
                fresh.extend(batches);
            } else {
                continue;
            }
            files.push(Arc::clone(file));
        }
        if !fresh.is_empty() {
            let sorted = merge::sorted(merge.order(), fresh)?;
            merge.add(sorted).await?;
        }
        let mut output = Output::of(task.table, task.level, task.day, task.window_start_us);
        let mut written = Vec::new();
        while let Some(batch) = merge.next().await? {
            if let Some(file) = output.write(&batch)? {
                written.push(self.put(file).await?);
            }
        }
        if let Some(file) = output.finish()? {
            written.push(self.put(file).await?);
        }
        let rows = |files: &[Arc<DataFile>]| files.iter().map(|file| file.rows).sum::<u64>();
        let (before, after) = (rows(&files), written.iter().map(|file| file.rows).sum::<u64>());
        if before != after {
            return Err(LakeError::RowsDiffer { table: task.table.folder(), before, after });
        }
        if !self.replace(task.table, &files, &written, false, "OPTIMIZE").await? {
            return Ok(None);
        }
        Ok(Some(CompactReport {
            commits: 1,
            files_before: files.len() as u64,
            files_after: written.len() as u64,
            bytes_before: files.iter().map(|file| file.size_bytes).sum(),
            bytes_after: written.iter().map(|file| file.size_bytes).sum(),
            rows: after,
        }))
    }

    pub(crate) async fn put(&self, file: WrittenFile) -> Result<WrittenFile, LakeError> {
        let path = Path::from(file.path.as_str());
        let content = file.content.clone();
        let put = self.store().object_store.put_opts(&path, content.into(), PutMode::Create.into()).await;
        match put {
            // Its name tells its content: an earlier attempt wrote the same.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {
                Ok(WrittenFile { content: bytes::Bytes::new(), ..file })
            }
            Err(source) => Err(LakeError::Io { path: file.path.clone(), source }),
        }
    }

    /// Commits that some files stand in the place of others. False if one of those is not in the table any more.
    pub(crate) async fn replace(
        &self,
        table: Table,
        before: &[Arc<DataFile>],
        after: &[WrittenFile],
        data_change: bool,
        operation: &str,
    ) -> Result<bool, LakeError> {
        let mut tables = self.lock_tables().await;
        for _ in 0..ATTEMPTS {
            let Some(log) = tables.of_mut(table) else { return Ok(false) };
            let live: HashSet<&str> = log.files.files.iter().map(|file| file.path.as_str()).collect();
            if !before.iter().all(|file| live.contains(file.path.as_str())) {
                return Ok(false);
            }
            let now_ms = chrono::Utc::now().timestamp_millis();
            let mut info = commit::commit_info(operation, now_ms, log.files.version);
            info.is_blind_append = Some(false);
            let mut actions = vec![Action::CommitInfo(info)];
            actions.extend(before.iter().map(|file| Action::Remove(remove_of(table, file, now_ms, data_change))));
            actions.extend(after.iter().map(|file| Action::Add(file.add(now_ms, data_change))));
            if log.commit(actions).await? {
                self.publish(&tables);
                return Ok(true);
            }
        }
        Err(LakeError::Contended { table: table.folder(), attempts: ATTEMPTS })
    }
}

fn remove_of(table: Table, file: &DataFile, now_ms: i64, data_change: bool) -> Remove {
    let path = file.path.strip_prefix(table.folder()).map_or(file.path.as_str(), |path| path.trim_start_matches('/'));
    Remove {
        path: path.to_owned(),
        data_change,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some([(DAY.to_owned(), Some(day_text(file.day)))].into()),
        size: i64::try_from(file.size_bytes).ok(),
        ..Remove::default()
    }
}

/// Level of a file: 0 for a flush's, else that of the window it was made for.
#[must_use]
pub fn level_of(file: &DataFile) -> u8 {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let level = name.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next());
    level.and_then(|level| level.parse().ok()).unwrap_or(0)
}

/// Beginning of the name of a file that a compaction wrote. `range_of_file` reads no range from such a name.
const PREFIX: &str = "compacted.";

fn file_stem(level: u8, window_start_us: i64) -> String {
    format!("{PREFIX}{level}.{}", window_start_us / 1_000_000)
}

/// The first task that is due, small windows first: their files are what there is most of.
fn next_task(table: Table, files: &[Arc<DataFile>], now_us: i64) -> Option<Task> {
    for (level, window_us) in (1..).zip(WINDOWS_US) {
        let mut windows: BTreeMap<(i32, i64), Vec<Arc<DataFile>>> = BTreeMap::new();
        // No later window brings the parts of a day together, of which some were too many to be merged at once.
        let is_last = usize::from(level) == WINDOWS_US.len();
        for file in files.iter().filter(|file| (level_of(file) < level || is_last) && !is_large(file)) {
            let Some(earliest_us) = file.min_started_at_us else { continue };
            let start_us = earliest_us.div_euclid(window_us) * window_us;
            if start_us + window_us + SETTLED_AFTER_US <= now_us {
                windows.entry((file.day, start_us)).or_default().push(Arc::clone(file));
            }
        }
        for ((day, window_start_us), mut files) in windows {
            // Least merged first: each row is then written a logarithmic number of times.
            files.sort_by_key(|file| (level_of(file), file.min_started_at_us));
            let all = files.len();
            bound(&mut files);
            // One file alone gains an order at most, which a later window gives it too. Unless there are others, and it alone
            // is as much as can be sorted: it has to be in order before it can be merged with them.
            let is_alone = files.len() == 1 && all > 1 && files.iter().all(|file| level_of(file) == 0);
            if files.len() > 1 || is_alone {
                return Some(Task { table, level, day, window_start_us, files });
            }
        }
    }
    None
}

/// Leaves as many files as are merged at once; those of flushes are sorted in memory, some 64 MiB of them.
fn bound(files: &mut Vec<Arc<DataFile>>) {
    // How much a compressed byte becomes in memory: prompts compress three- to eightfold.
    const EXPANSION: u64 = 6;
    let mut in_memory = 0;
    let mut merged = 0;
    files.retain(|file| {
        if level_of(file) == 0 {
            in_memory += file.size_bytes * EXPANSION;
            in_memory <= SORTED_BYTES || in_memory == file.size_bytes * EXPANSION
        } else {
            merged += 1;
            merged <= FILES_AT_ONCE
        }
    });
}

fn is_large(file: &DataFile) -> bool {
    level_of(file) > 0 && (file.size_bytes >= LARGE_BYTES / 2 || file.rows >= MOST_ROWS as u64)
}

/// A file that is in the store and not in the table yet.
#[derive(Clone, Debug)]
pub(crate) struct WrittenFile {
    /// Relative to the root of the store.
    pub(crate) path: String,
    table: Table,
    day: i32,
    pub(crate) rows: u64,
    pub(crate) size_bytes: u64,
    stats: serde_json::Value,
    content: bytes::Bytes,
}

impl WrittenFile {
    fn add(&self, now_ms: i64, data_change: bool) -> Add {
        let path = self.path.strip_prefix(self.table.folder()).map_or("", |path| path.trim_start_matches('/'));
        Add {
            path: path.to_owned(),
            partition_values: [(DAY.to_owned(), Some(day_text(self.day)))].into(),
            size: i64::try_from(self.size_bytes).unwrap_or(i64::MAX),
            modification_time: now_ms,
            data_change,
            stats: Some(self.stats.to_string()),
            ..Add::default()
        }
    }
}

/// Writes rows into files, a new one when one is large.
pub(crate) struct Output {
    table: Table,
    level: u8,
    day: i32,
    window_start_us: i64,
    schema: SchemaRef,
    open: Option<(ArrowWriter<Vec<u8>>, Statistics)>,
}

impl Output {
    pub(crate) fn of(table: Table, level: u8, day: i32, window_start_us: i64) -> Output {
        let stored = table.schema().fields().iter().filter(|field| field.name() != DAY).cloned().collect::<Fields>();
        Output { table, level, day, window_start_us, schema: Arc::new(Schema::new(stored)), open: None }
    }

    /// Takes rows; gives the file that they filled, if they did.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Option<WrittenFile>, LakeError> {
        let stored: Vec<usize> =
            (0..batch.num_columns()).filter(|at| batch.schema_ref().field(*at).name() != DAY).collect();
        let batch = batch.project(&stored).map_err(|source| LakeError::Merge { source })?;
        let failed = |source| LakeError::Parquet { path: format!("{}/a new file", self.table.folder()), source };
        let (writer, statistics) = match &mut self.open {
            Some(open) => open,
            None => {
                let properties = parquet_file::properties(self.table, &self.schema, MOST_ROWS, Written::ByCompaction)
                    .map_err(failed)?;
                // Address space alone until it is written to; growing step by step would copy a large file to twice its size.
                let content = Vec::with_capacity(FILE_CAPACITY_BYTES);
                let writer =
                    ArrowWriter::try_new(content, Arc::clone(&self.schema), Some(properties)).map_err(failed)?;
                self.open.insert((writer, Statistics::new(&self.schema)))
            }
        };
        writer.write(&batch).map_err(failed)?;
        statistics.add(&batch);
        let large = (writer.bytes_written() + writer.in_progress_size()) as u64 >= LARGE_BYTES;
        if large || statistics.rows() >= MOST_ROWS { self.finish() } else { Ok(None) }
    }

    /// Gives the last file, if there are rows that are in none.
    pub(crate) fn finish(&mut self) -> Result<Option<WrittenFile>, LakeError> {
        let Some((writer, statistics)) = self.open.take() else { return Ok(None) };
        let stem = file_stem(self.level, self.window_start_us);
        let folder = format!("{}/{DAY}={}", self.table.folder(), day_text(self.day));
        let failed = |source| LakeError::Parquet { path: format!("{folder}/{stem}"), source };
        let content = writer.into_inner().map_err(failed)?;
        let path = format!("{folder}/{}", inbox::file_name(&stem, &parquet_file::sha256(&content)));
        Ok(Some(WrittenFile {
            path,
            table: self.table,
            day: self.day,
            rows: statistics.rows() as u64,
            size_bytes: content.len() as u64,
            stats: statistics.finish(),
            content: content.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_US: i64 = 1_795_435_200_000_000;

    fn file(name: &str, earliest_us: i64, size_bytes: u64) -> Arc<DataFile> {
        Arc::new(DataFile {
            path: format!("interactions/day=2026-11-23/{name}"),
            size_bytes,
            rows: 10,
            day: 20_780,
            range: None,
            min_started_at_us: Some(earliest_us),
            max_started_at_us: Some(earliest_us + 10),
            stats: None,
        })
    }

    #[test]
    fn a_window_is_compacted_once_it_is_over_and_its_files_only_there() {
        let files = [file("gw.1.1.2.x.parquet", NOON_US, 5), file("gw.1.3.4.x.parquet", NOON_US + 1, 5)];
        assert_eq!(next_task(Table::Interactions, &files, NOON_US + 14 * MINUTE_US), None);
        let task = next_task(Table::Interactions, &files, NOON_US + 17 * MINUTE_US).unwrap();
        assert_eq!((task.level, task.files.len(), task.window_start_us), (1, 2, NOON_US));
        assert_eq!(next_task(Table::Interactions, &files[..1], NOON_US + 30 * MINUTE_US), None);
    }

    #[test]
    fn what_was_compacted_is_merged_again_only_by_a_longer_window() {
        let quarter = |start| file(&format!("{}.x.parquet", file_stem(1, start)), start, 5);
        let files = [quarter(NOON_US), quarter(NOON_US + 15 * MINUTE_US)];
        assert_eq!(level_of(&files[0]), 1);
        assert_eq!(tollgate_flush::inbox::range_of_file(&files[0].path), None);
        assert_eq!(next_task(Table::Interactions, &files, NOON_US + 40 * MINUTE_US), None);
        let task = next_task(Table::Interactions, &files, NOON_US + 62 * MINUTE_US).unwrap();
        assert_eq!((task.level, task.files.len()), (2, 2));
    }

    #[test]
    fn the_parts_of_a_day_are_merged_until_one_is_left() {
        let hours = (0..23).map(|hour| {
            let start_us = NOON_US - 12 * 60 * MINUTE_US + hour * 60 * MINUTE_US;
            file(&format!("{}.x.parquet", file_stem(2, start_us)), start_us, 5)
        });
        let mut files: Vec<_> = hours.collect();
        let (mut tasks, mut rewritten) = (0, 0);
        while let Some(task) = next_task(Table::Payloads, &files, NOON_US + 24 * 60 * MINUTE_US) {
            assert_eq!(task.level, 3);
            files.retain(|file| !task.files.contains(file));
            let size_bytes = task.files.iter().map(|file| file.size_bytes).sum();
            files.push(file(&format!("{}.{tasks}.parquet", file_stem(3, task.window_start_us)), NOON_US, size_bytes));
            (tasks, rewritten) = (tasks + 1, rewritten + size_bytes);
        }
        assert_eq!((files.len(), tasks), (1, 8));
        assert!(rewritten <= 3 * files[0].size_bytes, "{rewritten}");
    }

    #[test]
    fn large_files_are_left_alone_and_the_memory_of_a_task_is_bounded() {
        let large = file(&format!("{}.x.parquet", file_stem(1, NOON_US)), NOON_US, LARGE_BYTES);
        let later = NOON_US + 17 * MINUTE_US;
        assert_eq!(next_task(Table::Interactions, &[Arc::clone(&large), large], later), None);
        let fresh: Vec<_> = (0..10).map(|n| file(&format!("gw.1.{n}.{n}.x.parquet"), NOON_US + n, 4 << 20)).collect();
        let task = next_task(Table::Payloads, &fresh, later).unwrap();
        assert_eq!(task.files.len(), 2, "of 24 MiB each in memory");
    }
}
