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
use tokio_util::sync::CancellationToken;
use tollgate_interaction::{Event, GapEvent, Governance, WriterId};
use tollgate_wal::{EventPlace, GapReason, LogGap, Tail, TailError, TailItem, Wal};

use crate::flushing::{self, Flushing};
use crate::hot::HotBuffer;
use crate::keys::{self, KeyError, KeySource, Keys};
use crate::plan::{Notes, NotesError};
use crate::recovery::Fold;
use crate::store::Store;
use crate::{Watermarks, error_chain, is_committed};

/// Items taken from the log before the hot tail is locked and readers are woken.
const READ_BATCH: usize = 512;
/// Bytes of bodies after which no more are taken at once.
const READ_BYTES: usize = 4 << 20;
/// A request of this size is not kept in memory while its call is in flight; reading it again costs less than what is
/// done with it afterwards.
const LARGE_REQUEST_BYTES: usize = 1 << 20;
/// Pause after the log's end was reached, so that a busy log is read in batches: part of the second within which a
/// call becomes visible.
const READ_PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked whether a full hot tail has room again.
const ROOM_POLL: Duration = Duration::from_millis(250);
/// Wait after the disk refused to give the log.
const READ_RETRY: Duration = Duration::from_secs(1);

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
    /// Bytes of bodies and facts in the hot tail at which the log is not read any further. At least twice
    /// [`FlushSettings::max_bytes`].
    pub hot_max_bytes: usize,
    /// How long the last hand-over may take when the process stops.
    pub shutdown_timeout: Duration,
    /// Sign the batches; named like the writer.
    pub keys: KeySource,
}

impl FlushSettings {
    /// Every ten seconds or 48 MiB, 96 MiB of hot tail: with what is being built it stays within 512 MiB.
    #[must_use]
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        let spool_dir = spool_dir.into();
        FlushSettings {
            keys: KeySource::File(spool_dir.join("writer.key")),
            spool_dir,
            interval: Duration::from_secs(10),
            max_rows: 200_000,
            max_bytes: 48 << 20,
            hot_max_bytes: 96 << 20,
            shutdown_timeout: Duration::from_secs(20),
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
    /// Whether everything that earlier processes logged is in the hot tail or in the lake.
    pub history_read: bool,
    /// When something was last handed over. Microseconds since 1970, UTC.
    pub last_handed_over_at_us: Option<i64>,
}

/// Why the flusher cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// Its notes cannot be used.
    #[error("the flusher cannot start")]
    Notes(#[from] NotesError),
    /// Its signing key cannot be used.
    #[error("the flusher cannot sign its batches")]
    Key(#[from] KeyError),
}

/// One log's way into the bucket. Made, asked for its hot tail, then run.
pub struct Flusher {
    shared: Arc<Shared>,
    notes: Notes,
}

pub(crate) struct Shared {
    pub(crate) settings: FlushSettings,
    pub(crate) keys: Keys,
    pub(crate) wal: Arc<Wal>,
    pub(crate) store: Store,
    pub(crate) hot: Arc<HotBuffer>,
    pub(crate) committed: Committed,
    /// What [`Committed::HandedOver`] goes by: the notes as they were when this process started.
    handed_over_before: Watermarks,
    /// End of the range that an earlier process had begun; its rows are read however full the hot tail is.
    begun_before: (u64, u64),
    pub(crate) fold: Mutex<Fold>,
    pub(crate) history_read: AtomicBool,
    /// The lake holds nothing of this epoch that we did not hand over: what it is said to hold may be forgotten.
    pub(crate) epoch_is_ours: AtomicBool,
    /// The hot tail has shrunk.
    pub(crate) freed: Notify,
    /// Nothing more will be read from the log.
    pub(crate) drained: CancellationToken,
    /// Nothing more is handed over, so that there will be no more room than there is.
    pub(crate) finished: CancellationToken,
    pub(crate) status: watch::Sender<FlushStatus>,
    pub(crate) committer: Arc<Notify>,
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
        let name = wal.writer().as_str();
        let keys = settings.keys.load(Some(name), || keys::generate(name))?;
        let handed_over_before = watermarks_of(&notes, &wal);
        let shared = Shared {
            hot: HotBuffer::new(),
            settings,
            keys,
            wal,
            store,
            committed,
            handed_over_before,
            begun_before: notes.plan().map_or((0, 0), |plan| (plan.epoch, plan.last_seq)),
            fold: Mutex::default(),
            history_read: AtomicBool::new(false),
            epoch_is_ours: AtomicBool::new(false),
            freed: Notify::new(),
            drained: CancellationToken::new(),
            finished: CancellationToken::new(),
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
    let mut items: Vec<Found> = Vec::with_capacity(READ_BATCH);
    loop {
        if !wait_for_room(&shared).await {
            break;
        }
        let read = read_available(&shared, &mut tail, &mut items);
        // Without its request a row would not be whole.
        let incomplete = items.pop_if(|found| found.request_in_log.is_some());
        let found = items.len();
        shared.take(&mut items);
        items.extend(incomplete);
        match read {
            Err(TailError::Closed) => break,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "the log cannot be read; it will be tried again in {READ_RETRY:?}");
                tokio::select! {
                    () = tokio::time::sleep(READ_RETRY) => {}
                    () = shutdown.cancelled() => break,
                }
            }
            Ok(Available::More) => tokio::task::yield_now().await,
            Ok(Available::Nothing) if shutdown.is_cancelled() && found == 0 => break,
            Ok(Available::Nothing) if shutdown.is_cancelled() => {}
            Ok(Available::Nothing) if found > 0 => tokio::time::sleep(READ_PAUSE).await,
            Ok(Available::Nothing) => tokio::select! {
                // What it says comes again with the next attempt to read, or is the next item.
                next = tail.next() => if let Ok(item) = next {
                    items.push(shared.found(item, &tail));
                },
                () = shutdown.cancelled() => {}
            },
        }
    }
    shared.drained.cancel();
}

/// An item of the log on its way into the hot tail.
struct Found {
    item: TailItem,
    /// Of a large request: where it stands.
    place: Option<EventPlace>,
    /// Of a call that has settled: where its request is to be read first.
    request_in_log: Option<EventPlace>,
}

/// What there is to be read beyond what was.
enum Available {
    Nothing,
    More,
}

fn read_available(shared: &Shared, tail: &mut Tail, items: &mut Vec<Found>) -> Result<Available, TailError> {
    let mut bytes = 0;
    if let Some(incomplete) = items.last_mut() {
        bytes += shared.complete(incomplete)?;
    }
    while items.len() < READ_BATCH && bytes < READ_BYTES {
        let Some(item) = tail.try_next()? else { return Ok(Available::Nothing) };
        items.push(shared.found(item, tail));
        if let Some(last) = items.last_mut() {
            bytes += shared.complete(last)?;
        }
    }
    Ok(Available::More)
}

/// Waits while the hot tail is full. False if there will be no more room.
async fn wait_for_room(shared: &Shared) -> bool {
    let mut published = shared.published();
    while shared.hot.bytes() >= shared.settings.hot_max_bytes {
        // While the next range is on its way, the one before may have been published.
        if shared.drop_published() {
            continue;
        }
        let history_read = shared.history_read.load(Ordering::Acquire);
        if !history_read && shared.fold.lock().read_to() < shared.begun_before {
            return true;
        }
        tokio::select! {
            () = shared.freed.notified() => {}
            () = flushing::published(&mut published) => {}
            () = tokio::time::sleep(ROOM_POLL) => {}
            () = shared.finished.cancelled() => return false,
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

    /// Where the lake says what it holds; nothing for a sidecar.
    pub(crate) fn published(&self) -> Option<watch::Receiver<Option<Arc<Watermarks>>>> {
        match &self.committed {
            Committed::InLake(published) => Some(published.clone()),
            Committed::HandedOver => None,
        }
    }

    /// Drops from the hot tail what a published snapshot of the lake holds of this epoch. False if that is nothing. Rows of
    /// an earlier one stay until they are handed over: the range that its process had begun, and may have put, is built
    /// again to get the same header, and has to be whole for that.
    fn drop_published(&self) -> bool {
        let Committed::InLake(published) = &self.committed else { return false };
        if !self.epoch_is_ours.load(Ordering::Acquire) {
            return false;
        }
        let epoch = (self.wal.writer().clone(), self.wal.epoch());
        let Some(seq) = published.borrow().as_ref().and_then(|watermarks| watermarks.get(&epoch).copied()) else {
            return false;
        };
        let before = self.hot.bytes();
        self.hot.drop_committed(&Watermarks::from([(epoch, seq)]));
        self.hot.bytes() < before
    }

    fn found(&self, item: TailItem, tail: &Tail) -> Found {
        let (mut place, mut request_in_log) = (None, None);
        match &item {
            TailItem::Event { event: Event::Opened(opened), .. }
                if opened.request.body.len() >= LARGE_REQUEST_BYTES =>
            {
                place = tail.place().cloned();
            }
            TailItem::Event { event: Event::Settled(settled), .. } if settled.request.is_none() => {
                request_in_log = self.fold.lock().request_in_log(&settled.interaction.interaction_id);
            }
            _ => {}
        }
        Found { item, place, request_in_log }
    }

    /// Reads the request that a settled call is still without; gives the bytes of the item's bodies.
    fn complete(&self, found: &mut Found) -> Result<usize, TailError> {
        match &mut found.item {
            TailItem::Event { event: Event::Opened(opened), .. } => Ok(opened.request.body.len()),
            TailItem::Event { id, event: Event::Settled(settled) } => {
                if let Some(place) = &found.request_in_log {
                    match self.wal.event_at(place)? {
                        Some(Event::Opened(opened)) => settled.request = Some(opened.request),
                        _ => {
                            tracing::error!(
                                event.seq = id.seq,
                                event.epoch = id.epoch,
                                "the request of a call was intact when its call began and cannot be read any more; its row is without it"
                            );
                            self.fold.lock().gap_met(request_lost(self.wal.writer(), place));
                            self.status.send_modify(|status| status.gaps += 1);
                        }
                    }
                    found.request_in_log = None;
                }
                let request = settled.request.as_ref().map_or(0, |request| request.body.len());
                Ok(request + settled.response.body.len())
            }
            TailItem::Event { .. } | TailItem::EndOfHistory | TailItem::Gap(_) => Ok(0),
        }
    }

    fn take(&self, items: &mut Vec<Found>) {
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
        let mut large = Vec::new();
        // Held while rows move from the fold to the hot tail: whoever asks what the log is still needed for looks at
        // both, and must find a row in one of them.
        let mut fold = self.fold.lock();
        for Found { item, place, .. } in items.drain(..) {
            match item {
                TailItem::Event { id, event } => {
                    large.extend(event.interaction_id().zip(place));
                    rows.extend(fold.apply(id, event));
                }
                TailItem::EndOfHistory => history_ends = true,
                TailItem::Gap(gap) => {
                    fold.gap_met(gap_event(&gap));
                    tracing::error!(
                        writer.id = %gap.writer, gap.epoch, gap.first_seq, gap.last_seq,
                        "the log has a gap: events {}–{} of epoch {} could not be read", gap.first_seq, gap.last_seq, gap.epoch
                    );
                    self.status.send_modify(|status| status.gaps += 1);
                }
            }
        }
        // Not before: its `Settled` may have been among these.
        for (id, place) in large {
            fold.leave_request_in_log(&id, place);
        }
        rows.retain(|row| row.id().epoch == self.wal.epoch() || !is_committed(committed, row.id()));
        if !rows.is_empty() {
            self.hot.push(rows);
        }
        drop(fold);
        if history_ends {
            self.history_read.store(true, Ordering::Release);
            self.settle_orphans();
            self.tell_of_gaps();
            self.status.send_modify(|status| status.history_read = true);
        }
    }

    /// Appends an event for every loss that no event tells of yet.
    pub(crate) fn tell_of_gaps(&self) {
        let appender = self.wal.appender();
        // Taken out first: in the head of the loop the lock would be held to its end, and is taken within.
        let untold = self.fold.lock().untold_gaps();
        for gap in untold {
            if let Err(error) = appender.append_written(&Governance::Gap(gap.clone()).into()) {
                tracing::warn!(%error, "a gap of the log cannot be recorded yet; it will be tried again");
                return;
            }
            self.fold.lock().gap_told(&gap);
        }
    }

    /// Appends an `interrupted` for every call that an earlier process left open.
    pub(crate) fn settle_orphans(&self) {
        let orphans = self.fold.lock().orphans(self.wal.epoch());
        let appender = self.wal.appender();
        let mut settled = 0;
        for orphan in &orphans {
            if let Err(error) = appender.append_written(orphan) {
                tracing::warn!(%error, "calls of an earlier process cannot be settled as interrupted yet; it will be tried again");
                break;
            }
            if let Some(id) = orphan.interaction_id() {
                self.fold.lock().orphan_appended(&id);
            }
            settled += 1;
        }
        if settled > 0 {
            tracing::info!(
                settled,
                "{settled} calls were in flight when an earlier process stopped; settled as interrupted"
            );
            self.status.send_modify(|status| status.interrupted += settled);
        }
    }
}

/// The beginning of a call was read once, and its request could not be read a second time.
fn request_lost(writer: &WriterId, place: &EventPlace) -> GapEvent {
    GapEvent {
        at_us: chrono::Utc::now().timestamp_micros(),
        writer: writer.clone(),
        epoch: place.epoch(),
        first_seq: place.seq(),
        last_seq: place.seq(),
        more_may_be_missing: false,
        reason: GapReason::Unreadable.as_str().to_owned(),
        dropped_opened: None,
        dropped_settled: None,
    }
}

fn gap_event(gap: &LogGap) -> GapEvent {
    let (dropped_opened, dropped_settled) = match gap.reason {
        GapReason::Dropped { opened, settled } => (Some(opened), Some(settled)),
        _ => (None, None),
    };
    GapEvent {
        at_us: chrono::Utc::now().timestamp_micros(),
        writer: gap.writer.clone(),
        epoch: gap.epoch,
        first_seq: gap.first_seq,
        last_seq: gap.last_seq,
        more_may_be_missing: gap.more_may_be_missing,
        reason: gap.reason.as_str().to_owned(),
        dropped_opened,
        dropped_settled,
    }
}
