//! The flusher: follows the log into the hot tail and hands the hot tail over to the bucket, range by range.
//!
//! It refuses to hurry past a store that does not answer: it waits longer and longer, the hot tail fills up to its
//! limit, then the log is simply not read any further and keeps the rest on disk. Nothing here ever slows a call down.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tollgate_wal::{Tail, TailError, TailItem, Wal};

use crate::hand_over::{Attempt, HandOverError};
use crate::hot::{HotBuffer, Transcribe};
use crate::plan::{Notes, NotesError, Plan};
use crate::recovery::Fold;
use crate::store::Store;
use crate::{Watermarks, committed_seq, error_chain, is_committed};

/// Items taken from the log before the hot tail is locked and readers are woken.
const READ_BATCH: usize = 512;
/// Pause after the log's end was reached, so that a busy log is read in batches: part of the second within which a
/// call becomes visible.
const READ_PAUSE: Duration = Duration::from_millis(20);
/// Wait after the disk refused to give the log.
const READ_RETRY: Duration = Duration::from_secs(1);
/// How often it is checked whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// First wait after the store failed.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait after the store failed.
const BACKOFF_LONGEST: Duration = Duration::from_secs(15);
/// No single hand-over may take longer; the next attempt continues with the same plan.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(300);

/// What the operator decides about flushing.
#[derive(Clone, Debug)]
pub struct FlushSettings {
    /// Folder for the flusher's own notes; on the same disk as the log.
    pub spool_dir: PathBuf,
    /// Longest time between a call's end and its hand-over, while the store answers.
    pub interval: Duration,
    /// Rows of one hand-over, at most (a chunk of 2 048 is never split).
    pub max_rows: usize,
    /// Bytes of one hand-over before compression, at most (at least one chunk).
    pub max_bytes: usize,
    /// Memory of the hot tail at which the log is not read any further. At least twice [`FlushSettings::max_bytes`].
    pub hot_max_bytes: usize,
    /// How long the last hand-over may take when the process stops.
    pub shutdown_timeout: Duration,
    /// Turns bodies into messages.
    pub transcribe: Transcribe,
}

impl FlushSettings {
    /// Every ten seconds or 64 MiB, 512 MiB of hot tail.
    #[must_use]
    pub fn new(spool_dir: impl Into<PathBuf>, transcribe: Transcribe) -> Self {
        FlushSettings {
            spool_dir: spool_dir.into(),
            interval: Duration::from_secs(10),
            max_rows: 200_000,
            max_bytes: 64 << 20,
            hot_max_bytes: 512 << 20,
            shutdown_timeout: Duration::from_secs(20),
            transcribe,
        }
    }
}

/// When a row may be forgotten by this process.
#[derive(Clone, Debug)]
pub enum Committed {
    /// In the all-in-one: when a published snapshot of the lake holds it. `None` until the lake has been opened; nothing
    /// is handed over before that.
    InLake(watch::Receiver<Option<Arc<Watermarks>>>),
    /// In a sidecar, which cannot read the bucket: when its manifest has been put.
    HandedOver,
}

/// How the flusher is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushStatus {
    /// Manifests put since the start.
    pub manifests: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows not handed over yet.
    pub waiting_rows: u64,
    /// Why the last attempt failed; `None` once one has succeeded again.
    pub last_error: Option<String>,
    /// Calls of earlier processes that were settled as `interrupted`.
    pub interrupted: u64,
    /// Places in the log that could not be read.
    pub gaps: u64,
    /// When something was last handed over. Microseconds since 1970, UTC.
    pub last_handed_over_at_us: Option<i64>,
}

/// Why the flusher cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// Its notes cannot be used.
    #[error("the flusher cannot start")]
    Notes(#[from] NotesError),
}

/// One log's way into the bucket. Made, asked for its hot tail, then run.
pub struct Flusher {
    shared: Arc<Shared>,
    notes: Notes,
}

pub(crate) struct Shared {
    pub(crate) settings: FlushSettings,
    pub(crate) wal: Arc<Wal>,
    pub(crate) store: Store,
    pub(crate) hot: Arc<HotBuffer>,
    committed: Committed,
    /// What [`Committed::HandedOver`] goes by: the notes as they were when this process started.
    handed_over_before: Watermarks,
    /// End of the range that an earlier process had begun; its rows are read however full the hot tail is.
    begun_before: (u64, u64),
    fold: Mutex<Fold>,
    history_read: AtomicBool,
    /// The hot tail has shrunk.
    freed: Notify,
    /// Nothing more will be read from the log.
    drained: CancellationToken,
    status: watch::Sender<FlushStatus>,
    committer: Arc<Notify>,
}

impl Flusher {
    /// Reads the notes; starts nothing. `committer` is notified after every manifest.
    ///
    /// # Errors
    /// [`FlushError`] if the notes cannot be used.
    pub fn new(
        settings: FlushSettings,
        wal: Arc<Wal>,
        store: Store,
        committed: Committed,
        committer: Arc<Notify>,
    ) -> Result<Flusher, FlushError> {
        let notes = Notes::open(&settings.spool_dir, wal.writer())?;
        let handed_over_before = watermarks_of(&notes, &wal);
        let shared = Shared {
            hot: HotBuffer::new(settings.transcribe),
            settings,
            wal,
            store,
            committed,
            handed_over_before,
            begun_before: notes.plan().map_or((0, 0), |plan| (plan.epoch, plan.last_seq)),
            fold: Mutex::default(),
            history_read: AtomicBool::new(false),
            freed: Notify::new(),
            drained: CancellationToken::new(),
            status: watch::Sender::new(FlushStatus::default()),
            committer,
        };
        Ok(Flusher { shared: Arc::new(shared), notes })
    }

    /// The hot tail, to be shared with readers.
    #[must_use]
    pub fn hot(&self) -> Arc<HotBuffer> {
        Arc::clone(&self.shared.hot)
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<FlushStatus> {
        self.shared.status.subscribe()
    }

    /// Runs until `shutdown`, then reads the rest of the log and hands it over if that takes no longer than
    /// [`FlushSettings::shutdown_timeout`]; what it cannot hand over stays in the log. Cancel only when nobody appends.
    #[must_use]
    pub fn run(self, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        async move {
            let tail = self.shared.wal.tail();
            let reading = read(Arc::clone(&self.shared), tail, shutdown.clone());
            let flushing = Flushing::new(self.shared, self.notes).run(shutdown);
            futures::future::join(reading, flushing).await;
        }
        .boxed()
    }
}

fn watermarks_of(notes: &Notes, wal: &Wal) -> Watermarks {
    notes.all_handed_over().iter().map(|(epoch, seq)| ((wal.writer().clone(), *epoch), *seq)).collect()
}

async fn read(shared: Arc<Shared>, mut tail: Tail, shutdown: CancellationToken) {
    let mut items = Vec::with_capacity(READ_BATCH);
    loop {
        if !wait_for_room(&shared, &shutdown).await {
            break;
        }
        let read = read_available(&mut tail, &mut items);
        let found = items.len();
        shared.take(&mut items);
        match read {
            Err(TailError::Closed) => break,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "the log cannot be read; it will be tried again in {READ_RETRY:?}");
                tokio::select! {
                    () = tokio::time::sleep(READ_RETRY) => {}
                    () = shutdown.cancelled() => break,
                }
            }
            Ok(()) if found == READ_BATCH => tokio::task::yield_now().await,
            Ok(()) if shutdown.is_cancelled() && found == 0 => break,
            Ok(()) if shutdown.is_cancelled() => {}
            Ok(()) if found > 0 => tokio::time::sleep(READ_PAUSE).await,
            Ok(()) => tokio::select! {
                // What it says comes again with the next attempt to read, or is the next item.
                next = tail.next() => if let Ok(item) = next {
                    items.push(item);
                    shared.take(&mut items);
                },
                () = shutdown.cancelled() => {}
            },
        }
    }
    shared.drained.cancel();
}

fn read_available(tail: &mut Tail, items: &mut Vec<TailItem>) -> Result<(), TailError> {
    while items.len() < READ_BATCH {
        match tail.try_next()? {
            Some(item) => items.push(item),
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Waits while the hot tail is full. False if the process stops meanwhile.
async fn wait_for_room(shared: &Shared, shutdown: &CancellationToken) -> bool {
    while shared.hot.bytes() >= shared.settings.hot_max_bytes {
        let history_read = shared.history_read.load(Ordering::Acquire);
        if !history_read && shared.fold.lock().read_to() < shared.begun_before {
            return true;
        }
        tokio::select! {
            () = shared.freed.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = shutdown.cancelled() => return false,
        }
    }
    true
}

impl Shared {
    /// What is in the lake, as far as this process can know; `None` if it cannot know yet.
    pub(crate) fn watermarks(&self, notes: &Notes) -> Option<Arc<Watermarks>> {
        match &self.committed {
            Committed::InLake(published) => published.borrow().clone(),
            Committed::HandedOver => Some(Arc::new(watermarks_of(notes, &self.wal))),
        }
    }

    fn take(&self, items: &mut Vec<TailItem>) {
        if items.is_empty() {
            return;
        }
        let committed = match &self.committed {
            Committed::InLake(published) => published.borrow().clone(),
            Committed::HandedOver => None,
        };
        let committed = committed.as_deref().unwrap_or(&self.handed_over_before);
        let mut rows = Vec::with_capacity(items.len());
        let mut history_ends = false;
        // Held while rows move from the fold to the hot tail: whoever asks what the log is still needed for looks at
        // both, and must find a row in one of them.
        let mut fold = self.fold.lock();
        for item in items.drain(..) {
            match item {
                TailItem::Event { id, event } => rows.extend(fold.apply(id, event)),
                TailItem::EndOfHistory => history_ends = true,
                TailItem::Gap(gap) => {
                    tracing::error!(
                        writer.id = %gap.writer, gap.epoch, gap.first_seq, gap.last_seq,
                        "the log has a gap: events {}–{} of epoch {} could not be read", gap.first_seq, gap.last_seq, gap.epoch
                    );
                    self.status.send_modify(|status| status.gaps += 1);
                }
            }
        }
        rows.retain(|row| row.id.epoch == self.wal.epoch() || !is_committed(committed, &row.id));
        if !rows.is_empty() {
            self.hot.push(rows);
        }
        drop(fold);
        if history_ends {
            self.history_read.store(true, Ordering::Release);
            self.settle_orphans();
        }
    }

    /// Appends an `interrupted` for every call that an earlier process left open.
    fn settle_orphans(&self) {
        let orphans = self.fold.lock().orphans(self.wal.epoch());
        let appender = self.wal.appender();
        let mut settled = 0;
        for orphan in &orphans {
            if let Err(error) = appender.append_written(orphan) {
                tracing::warn!(%error, "calls of an earlier process cannot be settled as interrupted yet; it will be tried again");
                break;
            }
            self.fold.lock().orphan_appended(&orphan.interaction_id());
            settled += 1;
        }
        if settled > 0 {
            tracing::info!(settled, "{settled} calls were in flight when an earlier process stopped; settled as interrupted");
            self.status.send_modify(|status| status.interrupted += settled);
        }
    }
}

/// The half that hands over.
struct Flushing {
    shared: Arc<Shared>,
    notes: Notes,
    /// Built and not handed over yet: a second attempt does not build it again.
    attempt: Option<Attempt>,
    backoff: Option<Duration>,
    next_at: Instant,
    released_before: (u64, u64),
    /// Whether the lake has been asked about this epoch.
    epoch: EpochCheck,
}

/// An epoch is begun once. If the lake has rows of this one before we handed any over, the log's folder was restored from
/// a backup or copied: its sequence numbers are taken, and rows under them would be dropped as repetitions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EpochCheck {
    Unknown,
    Ours,
    Taken,
}

impl Flushing {
    fn new(shared: Arc<Shared>, notes: Notes) -> Self {
        let next_at = Instant::now() + shared.settings.interval;
        let epoch = EpochCheck::Unknown;
        Flushing { shared, notes, attempt: None, backoff: None, next_at, released_before: (0, 0), epoch }
    }

    async fn run(mut self, shutdown: CancellationToken) {
        let tick = TICK.min(self.shared.settings.interval);
        let mut snapshots = match &self.shared.committed {
            Committed::InLake(published) => Some(published.clone()),
            Committed::HandedOver => None,
        };
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                () = published(&mut snapshots) => {}
                () = shutdown.cancelled() => break,
            }
            self.forget_committed();
            if self.shared.history_read.load(Ordering::Acquire) {
                self.shared.settle_orphans();
            }
            if self.is_due() {
                tokio::select! {
                    () = self.hand_over_all() => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
        self.finish().await;
    }

    async fn finish(&mut self) {
        let patience = self.shared.settings.shutdown_timeout;
        let last = async {
            self.shared.drained.cancelled().await;
            self.hand_over_all().await;
        };
        if tokio::time::timeout(patience, last).await.is_err() {
            tracing::warn!("the last rows were not handed over within {patience:?}; they stay in the log for the next start");
        }
        self.forget_committed();
    }

    fn done_seq(&self, watermarks: &Watermarks, epoch: u64) -> u64 {
        self.notes.handed_over(epoch).max(committed_seq(watermarks, self.shared.wal.writer(), epoch))
    }

    fn check_epoch(&mut self, watermarks: &Watermarks) -> EpochCheck {
        if self.epoch == EpochCheck::Unknown {
            let (writer, epoch) = (self.shared.wal.writer(), self.shared.wal.epoch());
            let begun = self.notes.plan().filter(|plan| plan.epoch == epoch).map_or(0, |plan| plan.last_seq);
            let known = self.notes.handed_over(epoch).max(begun);
            let is_ours = committed_seq(watermarks, writer, epoch) <= known;
            self.epoch = if is_ours { EpochCheck::Ours } else { EpochCheck::Taken };
            if self.epoch == EpochCheck::Taken {
                let error = format!(
                    "the lake already holds rows of epoch {epoch} of writer `{writer}`: this log folder was copied or restored from a \
                     backup; stop, delete its `writer` file and start again (nothing is handed over, the log keeps all rows)"
                );
                tracing::error!("{error}");
                self.shared.status.send_modify(|status| status.last_error = Some(error));
            }
        }
        self.epoch
    }

    fn is_due(&mut self) -> bool {
        let Some(watermarks) = self.shared.watermarks(&self.notes) else { return false };
        if self.check_epoch(&watermarks) == EpochCheck::Taken {
            return false;
        }
        let (rows, bytes) = self.shared.hot.waiting(|epoch| self.done_seq(&watermarks, epoch));
        self.shared.status.send_if_modified(|status| {
            let before = std::mem::replace(&mut status.waiting_rows, rows as u64);
            before != rows as u64
        });
        let settings = &self.shared.settings;
        let full = rows >= settings.max_rows || bytes >= settings.max_bytes;
        let waited = Instant::now() >= self.next_at;
        let begun = self.notes.plan().is_some();
        if self.backoff.is_some() { waited } else { (rows > 0 && (full || waited)) || begun }
    }

    /// Hands over everything there is, or stops at the first failure.
    async fn hand_over_all(&mut self) {
        loop {
            let outcome = match self.hand_over_next().await {
                Ok(true) => {
                    self.backoff = None;
                    continue;
                }
                Ok(false) => {
                    self.backoff = None;
                    self.shared.settings.interval
                }
                Err(error) => self.failed(&error),
            };
            self.next_at = Instant::now() + outcome;
            return;
        }
    }

    fn failed(&mut self, error: &HandOverError) -> Duration {
        let wait = self.backoff.map_or(BACKOFF_FIRST, |waited| (waited * 2).min(BACKOFF_LONGEST));
        self.backoff = Some(wait);
        let cause = error_chain(error);
        tracing::warn!(error = %cause, "rows could not be handed over; next attempt in {wait:?}, the log keeps them meanwhile");
        self.shared.status.send_modify(|status| status.last_error = Some(cause));
        wait
    }

    /// Hands one range over. False if there is nothing to hand over, or not yet.
    async fn hand_over_next(&mut self) -> Result<bool, HandOverError> {
        let Some(watermarks) = self.shared.watermarks(&self.notes) else { return Ok(false) };
        if self.check_epoch(&watermarks) == EpochCheck::Taken {
            return Ok(false);
        }
        let plan = match self.notes.plan().cloned() {
            Some(plan) => plan,
            None => match self.next_plan(&watermarks) {
                Some(plan) => {
                    self.notes.begin(plan.clone())?;
                    plan
                }
                None => return Ok(false),
            },
        };
        if !self.rows_are_read(&plan) {
            return Ok(false);
        }
        let committed = committed_seq(&watermarks, self.shared.wal.writer(), plan.epoch);
        let mut rows = 0;
        if plan.last_seq > committed || matches!(self.shared.committed, Committed::HandedOver) {
            let attempt = match self.attempt.take().filter(|attempt| attempt.plan == plan) {
                Some(attempt) => attempt,
                None => Attempt::build(&self.shared, plan).await?,
            };
            rows = attempt.rows();
            let attempt = self.attempt.insert(attempt);
            let handed_over = tokio::time::timeout(HAND_OVER_TIMEOUT, attempt.hand_over(&self.shared.store)).await;
            handed_over.map_err(|_| HandOverError::TooSlow { seconds: HAND_OVER_TIMEOUT.as_secs() })??;
            self.attempt = None;
        }
        self.notes.finish()?;
        self.shared.committer.notify_one();
        self.shared.status.send_modify(|status| {
            status.manifests += 1;
            status.rows += rows;
            status.last_error = None;
            status.last_handed_over_at_us = Some(chrono::Utc::now().timestamp_micros());
        });
        self.forget_committed();
        Ok(true)
    }

    /// Whether every row of the range has come out of the log again after a restart.
    fn rows_are_read(&self, plan: &Plan) -> bool {
        self.shared.history_read.load(Ordering::Acquire)
            || self.shared.fold.lock().read_to() >= (plan.epoch, plan.last_seq)
    }

    fn next_plan(&self, watermarks: &Watermarks) -> Option<Plan> {
        let settings = &self.shared.settings;
        let mut plan: Option<Plan> = None;
        let (mut rows, mut bytes) = (0, 0);
        for chunk in self.shared.hot.close() {
            let done = self.done_seq(watermarks, chunk.epoch);
            if chunk.last_seq <= done {
                continue;
            }
            rows += chunk.rows;
            bytes += chunk.bytes;
            match &mut plan {
                None => {
                    let nonce = uuid::Uuid::now_v7().simple().to_string();
                    plan = Some(Plan { epoch: chunk.epoch, first_seq: done + 1, last_seq: chunk.last_seq, nonce });
                }
                Some(plan) if plan.epoch == chunk.epoch && rows <= settings.max_rows && bytes <= settings.max_bytes => {
                    plan.last_seq = chunk.last_seq;
                }
                Some(_) => break,
            }
        }
        plan
    }

    /// Drops from the hot tail what a published snapshot holds, and from the log what nothing needs any more.
    fn forget_committed(&mut self) {
        let Some(watermarks) = self.shared.watermarks(&self.notes) else { return };
        if self.check_epoch(&watermarks) == EpochCheck::Taken {
            return;
        }
        self.shared.hot.drop_committed(&watermarks);
        self.shared.freed.notify_waiters();
        let needed_from = {
            let fold = self.shared.fold.lock();
            let in_flight = fold.needs_log_from();
            self.shared.hot.needs_log_from().map_or(in_flight, |hot| hot.min(in_flight))
        };
        if needed_from <= self.released_before {
            return;
        }
        match self.shared.wal.release_before(needed_from.0, needed_from.1) {
            Ok(()) => {
                self.released_before = needed_from;
                self.notes.forget_before(needed_from.0);
            }
            Err(error) => tracing::warn!(error = %error_chain(&error), "segments of the log could not be released"),
        }
    }
}

/// Resolves when the lake has published something new; never for a sidecar.
async fn published(snapshots: &mut Option<watch::Receiver<Option<Arc<Watermarks>>>>) {
    if let Some(receiver) = snapshots {
        if receiver.changed().await.is_ok() {
            return;
        }
        *snapshots = None;
    }
    std::future::pending().await
}
