//! Frames that have a number and no place in a file yet. Here an event is taken or refused, and here alone dropped
//! events are counted. Never held over I/O: whoever appends waits for memory, not for a disk.

use std::sync::Arc;

use tokio::sync::oneshot;
use tollgate_interaction::EventKind;

use crate::appender::{AppendError, DropCause};
use crate::frame::{DropCount, Frame, Subject};
use crate::settings::OnFull;

/// Unsynced bytes above which no call may start: a disk this far behind is not keeping up.
const STALLED_ABOVE_BYTES: u64 = 64 << 20;

/// Unsynced bytes above which not even calls under way are recorded.
const STALLED_HARD_ABOVE_BYTES: u64 = 256 << 20;

/// Told once: the event is durable, or it is not in the log.
pub(crate) type Waiter = oneshot::Sender<Result<(), AppendError>>;

/// A frame with its number.
pub(crate) struct Numbered {
    pub(crate) seq: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) subject: Subject,
    /// Whoever waits for it to be durable.
    pub(crate) waiter: Option<Waiter>,
}

/// How much room an event may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// For calls that could still be refused.
    Ordinary,
    /// For calls under way: one more segment than the quota.
    Reserve,
}

/// Limits that do not change while the log is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) segment_bytes: u64,
    pub(crate) quota_bytes: u64,
    pub(crate) on_full: OnFull,
    pub(crate) salt: u32,
}

/// See the module.
pub(crate) struct Queue {
    /// The log is being closed.
    pub(crate) closing: bool,
    /// Why the log takes nothing any more.
    pub(crate) failure: Option<Arc<str>>,
    pub(crate) frames: Vec<Numbered>,
    /// Last number given out.
    pub(crate) last_seq: u64,
    /// Bytes of `frames`.
    pub(crate) queued_bytes: u64,
    /// Bytes taken and not known to be on the disk: `frames`, and what was written since the last fsync.
    pub(crate) unsynced_bytes: u64,
    /// Somebody waits for an fsync.
    pub(crate) urgent: bool,
    /// Something wants an fsync soon, and nobody waits for it.
    pub(crate) lazy: bool,
    /// Events dropped since the log was opened.
    pub(crate) dropped: u64,
    /// Bytes of the last event that found no room in the quota; zero once another was taken.
    pub(crate) wanted_bytes: u64,
    unnoted_drops: DropCount,
    limits: Limits,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Queue {
            closing: false,
            failure: None,
            frames: Vec::new(),
            last_seq: 0,
            queued_bytes: 0,
            unsynced_bytes: 0,
            urgent: false,
            lazy: false,
            dropped: 0,
            wanted_bytes: 0,
            unnoted_drops: DropCount::default(),
            limits,
        }
    }

    /// Takes the event in `frame` and numbers it. `disk_bytes` is what all segments hold by now.
    pub(crate) fn take(
        &mut self,
        frame: Frame,
        waiter: Option<Waiter>,
        room: Room,
        disk_bytes: u64,
    ) -> Result<u64, AppendError> {
        let frame_bytes = frame.bytes.len() as u64;
        if let Err(cause) = self.check(frame_bytes, room, disk_bytes) {
            if matches!(cause, Refusal::Full) {
                self.wanted_bytes = frame_bytes;
            }
            return Err(self.refuse(frame.subject, cause));
        }
        if room == Room::Ordinary {
            self.wanted_bytes = 0;
        }
        self.take_note();
        Ok(self.push(frame, waiter))
    }

    /// Takes the note of dropped events, if there is one to be taken and the log takes anything.
    pub(crate) fn take_note(&mut self) {
        if self.failure.is_none() && !self.unnoted_drops.is_empty() {
            let drops = std::mem::take(&mut self.unnoted_drops);
            self.push(Frame::of_drops(drops), None);
        }
    }

    fn push(&mut self, mut frame: Frame, waiter: Option<Waiter>) -> u64 {
        self.last_seq += 1;
        frame.number(self.last_seq, self.limits.salt);
        self.queued_bytes += frame.bytes.len() as u64;
        self.unsynced_bytes += frame.bytes.len() as u64;
        self.frames.push(Numbered { seq: self.last_seq, bytes: frame.bytes, subject: frame.subject, waiter });
        self.last_seq
    }

    fn check(&self, frame_bytes: u64, room: Room, disk_bytes: u64) -> Result<(), Refusal> {
        if self.closing {
            return Err(Refusal::Closed);
        }
        if let Some(reason) = &self.failure {
            return Err(Refusal::Failed(reason.clone()));
        }
        let (reserve_bytes, stalled_bytes) = match room {
            Room::Ordinary => (0, STALLED_ABOVE_BYTES),
            Room::Reserve => (self.limits.segment_bytes, STALLED_HARD_ABOVE_BYTES),
        };
        if disk_bytes + self.queued_bytes + frame_bytes > self.limits.quota_bytes + reserve_bytes {
            return Err(Refusal::Full);
        }
        if self.unsynced_bytes > stalled_bytes {
            return Err(Refusal::Stalled);
        }
        Ok(())
    }

    /// The error for an event that is not taken; counts it if the operator chose to go on without it.
    pub(crate) fn refuse(&mut self, subject: Subject, refusal: Refusal) -> AppendError {
        let kind = match subject {
            Subject::Event(kind) => kind,
            Subject::Drops(drops) => {
                self.unnoted_drops.add_all(drops);
                return refusal.into_error();
            }
        };
        match (self.limits.on_full, refusal.drop_cause()) {
            (OnFull::FailOpen, Some(cause)) => {
                self.count_drop(kind);
                AppendError::Dropped { cause }
            }
            _ => refusal.into_error(),
        }
    }

    fn count_drop(&mut self, kind: EventKind) {
        if self.dropped == 0 {
            tracing::error!("the log takes no events: calls go on without a record, as `on_full: fail_open` says");
        }
        self.dropped += 1;
        self.unnoted_drops.add(kind);
    }

    /// Takes back frames that could not be written, with everything numbered after them. The numbers are free again:
    /// nobody has been told them. Returns the error of the last of `frames`.
    pub(crate) fn take_back(&mut self, frames: Vec<Numbered>, refusal: &Refusal) -> Option<AppendError> {
        let first_seq = frames.first()?.seq;
        let mut last_error = None;
        for frame in frames {
            last_error = Some(self.refuse_numbered(frame, refusal.clone()));
        }
        for frame in std::mem::take(&mut self.frames) {
            self.refuse_numbered(frame, refusal.clone());
        }
        self.queued_bytes = 0;
        self.last_seq = first_seq - 1;
        last_error
    }

    fn refuse_numbered(&mut self, frame: Numbered, refusal: Refusal) -> AppendError {
        self.unsynced_bytes = self.unsynced_bytes.saturating_sub(frame.bytes.len() as u64);
        let error = self.refuse(frame.subject, refusal);
        if let Some(waiter) = frame.waiter {
            // Whoever waited may have gone.
            let _ = waiter.send(Err(error.clone()));
        }
        error
    }

    /// The log has failed: nothing is taken any more, and everybody who waits for one of `written` or for a queued
    /// frame is told. Written frames that nobody waits for had been promised to the operating system only.
    pub(crate) fn fail(&mut self, written: impl Iterator<Item = Numbered>, reason: &Arc<str>) {
        self.failure = Some(reason.clone());
        let queued = std::mem::take(&mut self.frames);
        for frame in written.chain(queued).filter(|frame| frame.waiter.is_some()) {
            self.refuse_numbered(frame, Refusal::Failed(reason.clone()));
        }
        self.queued_bytes = 0;
        self.unsynced_bytes = 0;
    }

    /// Why no call may start at the moment, if that can pass. `disk_bytes` is what all segments hold by now.
    pub(crate) fn no_room(&self, disk_bytes: u64, disk_is_full: bool) -> Option<NoRoom> {
        if disk_bytes + self.queued_bytes + self.wanted_bytes.max(1) > self.limits.quota_bytes {
            Some(NoRoom::Quota)
        } else if disk_is_full {
            Some(NoRoom::Disk)
        } else if self.unsynced_bytes > STALLED_ABOVE_BYTES {
            Some(NoRoom::Stalled)
        } else {
            None
        }
    }

    /// Drops that no note in the log names yet.
    pub(crate) fn unnoted_drops(&self) -> DropCount {
        self.unnoted_drops
    }
}

/// Why no call may start, though the log is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The quota is used up: what is in the log has not reached the store.
    Quota,
    /// The disk is full.
    Disk,
    /// The disk does not keep up.
    Stalled,
}

/// Why an event is not taken.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Full,
    Stalled,
    Failed(Arc<str>),
    Closed,
}

impl Refusal {
    fn drop_cause(&self) -> Option<DropCause> {
        match self {
            Refusal::Full => Some(DropCause::Full),
            Refusal::Stalled => Some(DropCause::Stalled),
            Refusal::Failed(_) => Some(DropCause::Failed),
            Refusal::Closed => None,
        }
    }

    fn into_error(self) -> AppendError {
        match self {
            Refusal::Full => AppendError::Full,
            Refusal::Stalled => AppendError::Stalled,
            Refusal::Failed(reason) => AppendError::Failed { reason },
            Refusal::Closed => AppendError::Closed,
        }
    }
}
