//! Appending from many tasks at once. Encoding, compression and checksums happen before any lock is taken.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tollgate_interaction::Event;

use crate::frame::{Frame, MAX_BODY_BYTES};
use crate::queue::{Numbered, Room};
use crate::shared::Shared;

/// Why an event had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// The quota is used up, or the disk is full.
    Full,
    /// The disk is too far behind.
    Stalled,
    /// The log has failed for good.
    Failed,
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropCause::Full => "full",
            DropCause::Stalled => "not keeping up",
            DropCause::Failed => "broken",
        })
    }
}

/// Why an event is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It was dropped and counted, because the operator chose so: go on without it.
    #[error("the log is {cause} and `on_full` is `fail_open`: the event was dropped and counted")]
    Dropped {
        /// Why there was no room.
        cause: DropCause,
    },
    /// No room until events are released or the disk has space again.
    #[error(
        "the log has reached its quota or its disk is full; let `flush` catch up, free disk space or raise `quota_bytes`"
    )]
    Full,
    /// Too many bytes wait for the disk.
    #[error("the log's disk does not keep up; retry, and look at the disk's write latency")]
    Stalled,
    /// Writing failed on two segments in a row. The log stays closed until the process is restarted.
    #[error("the log failed and takes no more events: {reason}; repair the disk and restart")]
    Failed {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// Larger than a frame can be.
    #[error(
        "an event of `{size_bytes}` bytes is larger than a frame may be (`{MAX_BODY_BYTES}`); lower the body limits"
    )]
    TooLarge {
        /// Size of the encoded event.
        size_bytes: usize,
    },
    /// The log was closed.
    #[error("the log is closed; append before `close`")]
    Closed,
}

impl AppendError {
    /// Whether the operator allowed to go on without a record of this event (which has been counted).
    #[must_use]
    pub fn may_proceed(&self) -> bool {
        matches!(self, AppendError::Dropped { .. })
    }
}

/// Appends events. Cheap to clone, one for every task.
#[derive(Clone)]
pub struct Appender {
    shared: Arc<Shared>,
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("writer", &self.shared.writer).field("epoch", &self.shared.epoch).finish()
    }
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Appender { shared }
    }

    /// Appends `event` and returns its sequence number once it is on the disk. Appends that arrive during an fsync
    /// share the next one. If the returned future is dropped after its first poll, the event may still be in the log.
    ///
    /// # Errors
    /// [`AppendError`]: the event is not in the log, or nobody can say that it is.
    pub async fn append_durable(&self, event: &Event) -> Result<u64, AppendError> {
        let (seq, done) = {
            let frame = Frame::of_event(event).map_err(|size_bytes| AppendError::TooLarge { size_bytes })?;
            let (waiter, done) = oneshot::channel();
            (self.enqueue(frame, waiter)?, done)
        };
        match done.await {
            Ok(result) => result.map(|()| seq),
            Err(_) => Err(AppendError::Closed),
        }
    }

    fn enqueue(&self, frame: Frame, waiter: oneshot::Sender<Result<(), AppendError>>) -> Result<u64, AppendError> {
        let mut queue = self.shared.queue.lock();
        let seq = queue.take(frame, Some(waiter), Room::Ordinary, self.shared.disk_bytes())?;
        let was_urgent = std::mem::replace(&mut queue.urgent, true);
        drop(queue);
        if !was_urgent {
            self.shared.wake.notify_one();
        }
        Ok(seq)
    }

    /// Appends `event` and returns its sequence number once the operating system has it, so that it survives the death
    /// of this process. It reaches the disk with the next group. Never waits for an fsync.
    ///
    /// # Errors
    /// [`AppendError`]: the event is not in the log.
    pub fn append_written(&self, event: &Event) -> Result<u64, AppendError> {
        let frame = Frame::of_event(event).map_err(|size_bytes| AppendError::TooLarge { size_bytes })?;
        let mut writer = self.shared.segment_writer.lock();
        let mut frames = writer.batch();
        let (seq, was_awake) = {
            let mut queue = self.shared.queue.lock();
            let seq = queue.take(frame, None, Room::Reserve, self.shared.disk_bytes())?;
            std::mem::swap(&mut queue.frames, &mut frames);
            queue.queued_bytes = 0;
            (seq, std::mem::replace(&mut queue.lazy, true) || queue.urgent)
        };
        let written = writer.write(&self.shared, frames);
        drop(writer);
        if !was_awake {
            self.shared.wake.notify_one();
        }
        written.map(|()| seq)
    }
}

/// Tells everybody who waits for one of `frames` that it is durable.
pub(crate) fn acknowledge(frames: Vec<Numbered>) {
    for waiter in frames.into_iter().filter_map(|frame| frame.waiter) {
        // Whoever waited may have gone.
        drop(waiter.send(Ok(())));
    }
}
