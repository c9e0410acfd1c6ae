//! Rows of payloads in the lake with the facts that belong to them. A file of payloads that compaction wrote has a day's
//! calls, and so may a file of facts: only the facts of calls that are wanted are held, and of those a bounded number.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use tollgate_lake::{DataFile, Lake, LakeError, LakeSnapshot};

use crate::cells::{self, FACT_COLUMNS, Facts, KEY_COLUMNS, PAYLOAD_COLUMNS};
use crate::error::SearchError;

/// Rows of payloads whose facts are held at once: some forty bytes each.
const SLICE_ROWS: usize = 262_144;

/// The rows of a file of payloads, batch by batch. `wanted` says for a writer and an epoch after which number and up to
/// which rows are wanted; a batch comes with the facts of those at least.
pub(crate) struct Rows<'a, Wanted> {
    lake: &'a Lake,
    snapshot: &'a LakeSnapshot,
    file: &'a DataFile,
    wanted: Wanted,
    batches: Option<BoxStream<'static, Result<RecordBatch, LakeError>>>,
    /// Rows handed out.
    at: usize,
    facts: Arc<Facts>,
    /// Rows whose facts are held; from the first on.
    covered: usize,
}

impl<'a, Wanted: Fn(&str, u64) -> (u64, u64)> Rows<'a, Wanted> {
    /// The rows of `file`. Nothing is read yet.
    pub(crate) fn new(lake: &'a Lake, snapshot: &'a LakeSnapshot, file: &'a DataFile, wanted: Wanted) -> Self {
        Rows { lake, snapshot, file, wanted, batches: None, at: 0, facts: Arc::default(), covered: 0 }
    }

    /// The next batch with its facts; `None` at the end, or as soon as it is known that no more rows are wanted.
    pub(crate) async fn next(&mut self) -> Result<Option<(RecordBatch, Arc<Facts>)>, SearchError> {
        if self.batches.is_none() {
            if !self.cover(0).await? && self.file.rows <= SLICE_ROWS as u64 {
                return Ok(None);
            }
            self.batches = Some(self.lake.read_columns(self.file, Some(PAYLOAD_COLUMNS)).await?);
        }
        let Some(batches) = &mut self.batches else { return Ok(None) };
        let Some(batch) = batches.try_next().await? else { return Ok(None) };
        if self.at + batch.num_rows() > self.covered {
            self.cover(batch.num_rows()).await?;
        }
        self.at += batch.num_rows();
        Ok(Some((batch, Arc::clone(&self.facts))))
    }

    /// Reads the facts of the next rows, at least `rows` of them, and says whether any of them is wanted.
    async fn cover(&mut self, rows: usize) -> Result<bool, SearchError> {
        let slice = self.at..self.at + rows.max(SLICE_ROWS);
        self.covered = slice.end;
        let ids = self.wanted_in(slice).await?;
        let mut facts = Facts::default();
        if !ids.is_empty() {
            for file in self.snapshot.interactions.files.iter().filter(|file| overlap(file, self.file)) {
                let mut batches = self.lake.read_columns(file, Some(FACT_COLUMNS)).await?;
                while let Some(batch) = batches.try_next().await? {
                    cells::add_facts(&batch, &file.path, Some(&ids), &mut facts)?;
                }
            }
        }
        self.facts = Arc::new(facts);
        Ok(!ids.is_empty())
    }

    /// The calls of the wanted rows among those at the places `slice` of the file.
    async fn wanted_in(
        &mut self,
        slice: Range<usize>,
    ) -> Result<HashSet<tollgate_interaction::InteractionId>, SearchError> {
        let mut ids = HashSet::new();
        let mut batches = self.lake.read_columns(self.file, Some(KEY_COLUMNS)).await?;
        let mut at = 0;
        while let Some(batch) = batches.try_next().await? {
            let rows = batch.num_rows();
            let (from, to) = (slice.start.saturating_sub(at).min(rows), slice.end.saturating_sub(at).min(rows));
            cells::add_wanted(&batch, &self.file.path, from..to, &self.wanted, &mut ids)?;
            at += rows;
            if at >= slice.end {
                break;
            }
        }
        Ok(ids)
    }
}

/// Whether a file of facts may hold those of a file of payloads: it has the same part of the log, or the same day if either
/// was merged from several.
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
