//! Feeding the index: first what the lake has and the index has not, then the rows in memory. Documents become visible
//! in one step with the note of how far the index has come, so a crash neither loses nor repeats any. The index is paced
//! by its own cost: it may never take the processor from the calls it is about.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tollgate_flush::committed_seq;
use tollgate_flush::hot::{HotBuffer, HotSnapshot};
use tollgate_lake::{DataFile, Lake, LakeSnapshot};

use crate::cells::{self, Facts};
use crate::error::SearchError;
use crate::index::{Opened, Search};
use crate::lake_rows::Rows;
use crate::progress::Progress;

/// Shortest pause between two passes. With the time a commit takes, a call is found well within a second.
const PAUSE_SHORTEST: Duration = Duration::from_millis(300);
/// Longest pause, which only a gateway under full load reaches. Rows that have gone to the lake by then must be fetched from
/// it: below some 12 MB of bodies a second none has.
const PAUSE_LONGEST: Duration = Duration::from_secs(4);
/// A pause is this many times as long as the pass before it. A commit has a fixed cost (a segment, with tables of a
/// megabyte for each field, and its share of merges) that a call a millisecond would otherwise pay three times a second.
const PAUSE_PER_PASS: u32 = 19;
/// Wait after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a pass over the log added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Calls added from files of the lake.
    pub from_lake: u64,
    /// Calls added from memory.
    pub from_memory: u64,
}

/// How documents enter the index.
#[derive(Clone, Copy)]
enum Entry {
    /// Their calls are not in it.
    New,
    /// Their calls may be in it.
    Replacing,
}

impl Search {
    /// Keeps the index up to date until `shutdown`. A damaged index is started anew and rebuilt from the lake.
    pub fn run_indexer(
        self: &Arc<Self>,
        hot: Option<Arc<HotBuffer>>,
        lake: Arc<Lake>,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let search = Arc::clone(self);
        async move {
            let work = search.follow(hot, lake);
            if shutdown.run_until_cancelled(work).await.is_none() {
                tracing::debug!("the search index is closed");
            }
        }
        .boxed()
    }

    /// Adds everything that the lake and `hot` have and the index has not.
    ///
    /// # Errors
    /// [`SearchError`] if the lake cannot be read or the index cannot be written. What was committed stays.
    pub fn catch_up(
        self: &Arc<Self>,
        hot: Option<Arc<HotBuffer>>,
        lake: Arc<Lake>,
    ) -> BoxFuture<'static, Result<CaughtUp, SearchError>> {
        let search = Arc::clone(self);
        async move {
            // Memory first, the lake second: see `tollgate_flush::hot`.
            let memory = hot.map(|hot| hot.snapshot()).unwrap_or_default();
            let snapshot = lake.snapshot();
            let memory = memory.after(&snapshot.watermarks);
            let done = search.pass(&lake, &snapshot, &memory).await;
            if done.is_err() {
                search.opened().roll_back();
            }
            done
        }
        .boxed()
    }

    async fn follow(self: Arc<Self>, hot: Option<Arc<HotBuffer>>, lake: Arc<Lake>) {
        let mut memory_changed = hot.as_ref().map(|hot| hot.changed());
        let mut lake_changed = lake.watch();
        loop {
            let begun = Instant::now();
            if let Err(error) = self.catch_up(hot.clone(), Arc::clone(&lake)).await {
                tracing::warn!(error = %chain(&error), "the search index could not be brought up to date; trying again");
                if matches!(error, SearchError::Index(_)) {
                    self.replace_damaged();
                }
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
            tokio::time::sleep((begun.elapsed() * PAUSE_PER_PASS).clamp(PAUSE_SHORTEST, PAUSE_LONGEST)).await;
            let memory = async {
                match &mut memory_changed {
                    Some(changed) => changed.changed().await,
                    None => std::future::pending().await,
                }
            };
            let closed = tokio::select! {
                changed = memory => changed.is_err(),
                changed = lake_changed.changed() => changed.is_err(),
            };
            if closed {
                return;
            }
        }
    }

    fn replace_damaged(&self) {
        if let Err(error) = self.start_anew() {
            tracing::error!(error = %chain(&error), "the search index could not be started anew");
        }
    }

    async fn pass(
        self: &Arc<Self>,
        lake: &Lake,
        snapshot: &LakeSnapshot,
        memory: &HotSnapshot,
    ) -> Result<CaughtUp, SearchError> {
        let opened = self.opened();
        let mut progress = opened.progress();
        let before = progress.clone();
        let mut caught_up = CaughtUp::default();
        let (new, live) = files_to_read(snapshot, &progress);
        for file in new {
            // A compaction wrote it from rows that are all in the index: there is nothing to read.
            if file.range.is_none() && progress.has_reached(&snapshot.watermarks) {
                progress.add_file(&file.path);
                continue;
            }
            // It may hold rows of files that an interrupted catch-up has indexed, and whose names are gone with them.
            let entry = if file.range.is_none() && before.is_catching_up() { Entry::Replacing } else { Entry::New };
            let mut added = 0;
            let wanted = |writer: &str, epoch| (before.last_seq(writer, epoch), u64::MAX);
            let mut rows = Rows::new(lake, snapshot, &file, wanted);
            while let Some((batch, facts)) = rows.next().await? {
                added += self.add(&opened, entry, (batch, &file.path), facts, before.clone()).await?;
            }
            progress.add_file(&file.path);
            if added > 0 {
                self.commit(&opened, progress.clone()).await?;
            }
            caught_up.from_lake += added;
        }
        progress.reached(&snapshot.watermarks, live);
        for chunk in &memory.after(&progress.among(memory)).chunks {
            let mut facts = Facts::default();
            cells::add_facts(&chunk.batches.interactions, "memory", None, &mut facts)?;
            let payloads = (chunk.batches.payloads.clone(), "memory");
            let added = self.add(&opened, Entry::New, payloads, Arc::new(facts), progress.clone());
            caught_up.from_memory += added.await?;
            progress.reached_seq(&chunk.writer, chunk.epoch, chunk.last_seq);
        }
        if progress != opened.progress() {
            self.commit(&opened, progress).await?;
        }
        Ok(caught_up)
    }

    async fn add(
        self: &Arc<Self>,
        opened: &Arc<Opened>,
        entry: Entry,
        (payloads, path): (arrow::array::RecordBatch, &str),
        facts: Arc<Facts>,
        done: Progress,
    ) -> Result<u64, SearchError> {
        let (search, opened, path) = (Arc::clone(self), Arc::clone(opened), path.to_owned());
        blocking(move || {
            let documents = cells::documents(
                &payloads,
                &path,
                &facts,
                |of, epoch| (done.last_seq(of, epoch), u64::MAX),
                search.transcribe,
                &opened.fields,
            )?;
            let count = documents.len() as u64;
            if count > 0 {
                match entry {
                    Entry::New => opened.add(documents, search.folder())?,
                    Entry::Replacing => opened.replace(documents, search.folder())?,
                }
            }
            Ok(count)
        })
        .await
    }

    async fn commit(&self, opened: &Arc<Opened>, progress: Progress) -> Result<(), SearchError> {
        let opened = Arc::clone(opened);
        blocking(move || opened.commit(progress)).await
    }
}

/// The payload files that are not indexed yet, oldest first, and a test for the files to remember afterwards.
fn files_to_read(snapshot: &LakeSnapshot, progress: &Progress) -> (Vec<Arc<DataFile>>, impl Fn(&str) -> bool + use<>) {
    let new = |file: &&Arc<DataFile>| {
        let is_indexed = match &file.range {
            Some(range) => {
                // Payloads are committed before their facts: what is beyond the watermark is still in memory.
                let complete = range.last_seq <= committed_seq(&snapshot.watermarks, &range.writer, range.epoch);
                !complete || progress.last_seq(range.writer.as_str(), range.epoch) >= range.last_seq
            }
            None => false,
        };
        !is_indexed && !progress.has_file(&file.path)
    };
    let merged = snapshot.payloads.files.iter().filter(|file| file.range.is_none());
    let merged: std::collections::HashSet<String> = merged.map(|file| file.path.clone()).collect();
    let mut files: Vec<Arc<DataFile>> = snapshot.payloads.files.iter().filter(new).cloned().collect();
    files.sort_by_key(|file| (file.day, file.range.as_ref().map(|range| range.first_seq)));
    (files, move |path: &str| merged.contains(path))
}

/// Work that holds a thread for longer than async code may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, SearchError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SearchError::Closed)?
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
