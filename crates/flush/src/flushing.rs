//! When and what to hand over: what is due, which range is next, what to do when the store fails, and what the hot tail
//! and the log may forget afterwards. It decides; [`crate::hand_over`] does the work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::flusher::{Committed, Shared};
use crate::hand_over::{Attempt, HandOverError};
use crate::hot::Chunk;
use crate::plan::{Notes, Plan};
use crate::{Watermarks, committed_seq, error_chain};

/// How often it is checked whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// How often, and at most how many times, it is looked whether rows have reached the disk: the log syncs every 10 ms.
const DURABLE_POLL: Duration = Duration::from_millis(5);
const DURABLE_POLLS: u32 = 100;
/// First wait after the store failed.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait after the store failed.
const BACKOFF_LONGEST: Duration = Duration::from_secs(15);
/// No single hand-over may take longer; the next attempt continues with the same plan.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(300);

/// The half that hands over.
pub(crate) struct Flushing {
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
    pub(crate) fn new(shared: Arc<Shared>, notes: Notes) -> Self {
        let next_at = Instant::now() + shared.settings.interval;
        let epoch = EpochCheck::Unknown;
        Flushing { shared, notes, attempt: None, backoff: None, next_at, released_before: (0, 0), epoch }
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let tick = TICK.min(self.shared.settings.interval);
        let mut snapshots = self.shared.published();
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                () = published(&mut snapshots) => {}
                () = shutdown.cancelled() => break,
            }
            self.forget_committed();
            if self.shared.history_read.load(Ordering::Acquire) {
                self.shared.settle_orphans();
                self.shared.tell_of_gaps();
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
            loop {
                // A full hot tail has room for the rest of the log only once it is handed over.
                let pause = self.backoff.unwrap_or(TICK);
                let is_drained = tokio::time::timeout(pause, self.shared.drained.cancelled()).await.is_ok();
                self.hand_over_all().await;
                if is_drained {
                    break;
                }
            }
        };
        if tokio::time::timeout(patience, last).await.is_err() {
            tracing::warn!(
                "the last rows were not handed over within {patience:?}; they stay in the log for the next start"
            );
        }
        self.shared.finished.cancel();
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
            self.shared.epoch_is_ours.store(is_ours, Ordering::Release);
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

    /// Hands over everything there is now, or stops at the first failure. What comes meanwhile waits for the next time:
    /// under load it never ends, and each piece of it would be a commit of its own.
    async fn hand_over_all(&mut self) {
        let last = self.shared.hot.last();
        loop {
            let outcome = match self.hand_over_next().await {
                Ok(true) => {
                    self.backoff = None;
                    if last.as_ref().is_none_or(|last| self.notes.handed_over(last.epoch) < last.seq) {
                        continue;
                    }
                    self.shared.settings.interval
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
            None => {
                let chunks = self.shared.hot.close();
                let Some(plan) = self.next_plan(&chunks, self.durable_seq(&chunks).await, &watermarks) else {
                    return Ok(false);
                };
                self.notes.begin(plan.clone())?;
                plan
            }
        };
        if !self.rows_are_read(&plan) {
            return Ok(false);
        }
        let committed = committed_seq(&watermarks, self.shared.wal.writer(), plan.epoch);
        let mut rows = 0;
        if plan.last_seq > committed || matches!(self.shared.committed, Committed::HandedOver) {
            let attempt = match self.attempt.take().filter(|attempt| attempt.plan == plan) {
                Some(attempt) => attempt,
                None => self.build(plan).await?,
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

    /// Builds the range's files and header, and notes the header before anything is put: a second attempt after a crash
    /// puts the same one, and the batch after it refers to it.
    async fn build(&mut self, plan: Plan) -> Result<Attempt, HandOverError> {
        let attempt = Attempt::build(&self.shared, plan, self.notes.last_batch().cloned()).await?;
        if let Some(header) = attempt.header()
            && attempt.plan.header.as_deref() != Some(header)
        {
            self.notes.seal(header.to_owned())?;
        }
        Ok(attempt)
    }

    /// Whether every row of the range has come out of the log again after a restart.
    fn rows_are_read(&self, plan: &Plan) -> bool {
        self.shared.history_read.load(Ordering::Acquire)
            || self.shared.fold.lock().read_to() >= (plan.epoch, plan.last_seq)
    }

    /// How far this epoch of the log is on the disk, after waiting a moment for all of `chunks` to be. Rows that are only
    /// in the page cache are not handed over: if the power failed now, the lake would hold calls that the log has only
    /// the beginnings of, and replay would add them again as `interrupted`. A log that has failed will never be more
    /// durable than it is, so there the lake is the better place.
    async fn durable_seq(&self, chunks: &[Arc<Chunk>]) -> u64 {
        let wal = &self.shared.wal;
        let wanted = chunks.iter().filter(|chunk| chunk.epoch == wal.epoch()).map(|chunk| chunk.last_seq).max();
        for _ in 0..DURABLE_POLLS {
            let status = wal.status();
            if status.failure.is_some() {
                return u64::MAX;
            }
            if status.durable_seq >= wanted.unwrap_or(0) {
                return status.durable_seq;
            }
            tokio::time::sleep(DURABLE_POLL).await;
        }
        wal.status().durable_seq
    }

    fn next_plan(&self, chunks: &[Arc<Chunk>], durable_seq: u64, watermarks: &Watermarks) -> Option<Plan> {
        let settings = &self.shared.settings;
        let mut plan: Option<Plan> = None;
        let (mut rows, mut bytes) = (0, 0);
        for chunk in chunks {
            let done = self.done_seq(watermarks, chunk.epoch);
            if chunk.last_seq <= done {
                continue;
            }
            if chunk.epoch == self.shared.wal.epoch() && chunk.last_seq > durable_seq {
                break;
            }
            rows += chunk.rows;
            bytes += chunk.bytes;
            match &mut plan {
                None => {
                    let nonce = uuid::Uuid::now_v7().simple().to_string();
                    plan = Some(Plan {
                        epoch: chunk.epoch,
                        first_seq: done + 1,
                        last_seq: chunk.last_seq,
                        nonce,
                        header: None,
                    });
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
pub(crate) async fn published(snapshots: &mut Option<watch::Receiver<Option<Arc<Watermarks>>>>) {
    if let Some(receiver) = snapshots {
        if receiver.changed().await.is_ok() {
            return;
        }
        *snapshots = None;
    }
    std::future::pending().await
}
