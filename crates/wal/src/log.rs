//! The log as a whole: opening, closing, releasing what is no longer needed.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tollgate_interaction::id::ParseWriterIdError;
use tollgate_interaction::{Event, WriterId};

use crate::again::{self, EventPlace};
use crate::appender::Appender;
use crate::directory;
use crate::disk::{Disk, LocalDisk};
use crate::queue::{Limits, NoRoom};
use crate::segment::{FRAMES_START, SegmentHeader};
use crate::segment_writer;
use crate::settings::{OnFull, WalSettings};
use crate::shared::Shared;
use crate::sync;
use crate::tail::{Tail, TailError};

/// Why a log could not be opened, cleaned up or closed.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The system refused.
    #[error("cannot {action} `{path}`; check that the disk has room and the directory belongs to this user")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the log open.
    #[error("`{dir}` is in use by another process; stop that one, or give this one a directory of its own")]
    InUse {
        /// Directory of the log.
        dir: PathBuf,
    },
    /// The boot counter is gone or unreadable. Counting anew would give two events the same id.
    #[error(
        "`{path}` does not hold the log's boot counter; restore it, or write a number above every epoch this writer ever had"
    )]
    Epoch {
        /// The counter's file.
        path: PathBuf,
    },
    /// The writer's name is unreadable.
    #[error("`{path}` does not name the log's writer; restore it")]
    Writer {
        /// The name's file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ParseWriterIdError,
    },
    /// The directory belongs to another writer.
    #[error(
        "`{dir}` is the log of `{kept}`, not of `{wanted}`; use another directory, or drop the name from the settings"
    )]
    OtherWriter {
        /// Directory of the log.
        dir: PathBuf,
        /// Whose it is.
        kept: WriterId,
        /// Who asked for it.
        wanted: WriterId,
    },
    /// The quota leaves no room for a segment to be closed and another to be written.
    #[error("`quota_bytes` is `{quota_bytes}`; make it at least twice `segment_bytes` (`{segment_bytes}`)")]
    Quota {
        /// As given.
        quota_bytes: u64,
        /// As given.
        segment_bytes: u64,
    },
    /// The system has no randomness.
    #[error("cannot draw a random number; check that the system provides `getrandom`")]
    Random {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log failed while it was open: the last events may not be on the disk.
    #[error("the log failed: {reason}; repair the disk and restart")]
    Failed {
        /// What went wrong.
        reason: Arc<str>,
    },
}

impl WalError {
    /// Names what was tried on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalError + use<> {
        let path = path.to_owned();
        move |source| WalError::Io { action, path, source }
    }
}

/// How a log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalStatus {
    /// Number of segment files.
    pub segments: usize,
    /// Bytes of all segments, counting what is about to be written.
    pub size_bytes: u64,
    /// As in the settings.
    pub quota_bytes: u64,
    /// Last sequence number given out in this epoch; 0 if none.
    pub appended_seq: u64,
    /// Last sequence number of this epoch that is on the disk; 0 if none.
    pub durable_seq: u64,
    /// Bytes that are taken and not known to be on the disk.
    pub unsynced_bytes: u64,
    /// Events dropped since the log was opened.
    pub dropped: u64,
    /// Why the log takes no more events, if it has failed for good.
    pub failure: Option<String>,
    /// Why no call can be recorded at the moment, if that can pass.
    pub no_room: Option<NoRoom>,
    /// As in the settings.
    pub on_full: OnFull,
}

impl WalStatus {
    /// Whether calls are taken: recorded, or let through without a record because the operator chose so.
    #[must_use]
    pub fn takes_calls(&self) -> bool {
        (self.failure.is_none() && self.no_room.is_none()) || self.on_full == OnFull::FailOpen
    }

    /// Why calls cannot be recorded, and what is being done about it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let meanwhile = match self.on_full {
            OnFull::FailClosed => "calls are refused",
            OnFull::FailOpen => "calls go on without a record and are counted as lost, as `on_full: fail_open` says",
        };
        let why = match (&self.failure, self.no_room) {
            (Some(failure), _) => format!(
                "the write-ahead log has failed ({failure}): {meanwhile} until the disk is repaired and the process restarted"
            ),
            (None, Some(NoRoom::Quota)) => format!(
                "the write-ahead log has used its quota of {} bytes: {meanwhile} until the store takes what is in it, or `log.quota_bytes` is raised",
                self.quota_bytes
            ),
            (None, Some(NoRoom::Disk)) => {
                format!(
                    "the disk of the write-ahead log is full: {meanwhile} until it has room again, which is tried every second"
                )
            }
            (None, Some(NoRoom::Stalled)) => {
                format!("the disk of the write-ahead log does not keep up: {meanwhile} until it does")
            }
            (None, None) => return None,
        };
        Some(why)
    }
}

/// An open log. Only one process at a time has it open.
pub struct Wal {
    pub(crate) shared: Arc<Shared>,
    sync_thread: Mutex<Option<JoinHandle<()>>>,
    /// Held for the lock on it.
    directory: File,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("writer", self.writer()).field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl Wal {
    /// Opens the log, creating its directory if need be, cuts the torn end of the last run and starts a new epoch.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`WalError`], by name.
    pub fn open(settings: WalSettings) -> Result<Wal, WalError> {
        Wal::open_on(Arc::new(LocalDisk), settings)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, settings: WalSettings) -> Result<Wal, WalError> {
        let wal = Wal::open_without_thread(disk, settings)?;
        let shared = wal.shared.clone();
        let sync_thread = std::thread::Builder::new()
            .name("wal-sync".into())
            .spawn(move || sync::run(&shared))
            .map_err(WalError::io("start the sync thread of", &wal.shared.dir))?;
        *wal.sync_thread.lock() = Some(sync_thread);
        Ok(wal)
    }

    /// A log that syncs when it is told to: a test takes the steps of the sync thread itself, in an order it can repeat.
    pub(crate) fn open_without_thread(disk: Arc<dyn Disk>, settings: WalSettings) -> Result<Wal, WalError> {
        let WalSettings { dir, writer, segment_bytes, quota_bytes, on_full } = settings;
        if quota_bytes / 2 < segment_bytes || segment_bytes <= FRAMES_START {
            return Err(WalError::Quota { quota_bytes, segment_bytes });
        }
        let directory = directory::lock(&dir)?;
        let mut segments = directory::list(&*disk, &dir)?;
        let (last_epoch, writer) = directory::identity(&dir, writer, &segments)?;
        let (previous, empty) = directory::recover(&*disk, &mut segments)?;
        let epoch = last_epoch + 1;
        directory::keep_epoch(&dir, epoch)?;
        let salt = directory::draw_salt()?;
        let header = SegmentHeader { epoch, first_seq: 1, previous, salt, writer: writer.clone() };
        let (segment_writer, segment) = segment_writer::start(&*disk, &dir, header, segments.next_ordinal())
            .map_err(WalError::io("create a segment in", &dir))?;
        segments.push(segment);
        for empty in &empty {
            disk.remove(empty).map_err(WalError::io("delete", empty))?;
        }
        if !empty.is_empty() {
            // A loss of power must not bring them back: once this epoch has events, what they claim to hold would count.
            disk.sync_dir(&dir).map_err(WalError::io("sync", &dir))?;
        }
        let limits = Limits { segment_bytes, quota_bytes, on_full, salt };
        let shared = Shared::new(disk, (dir, writer, epoch), limits, segment_writer, segments);
        Ok(Wal { shared, sync_thread: Mutex::new(None), directory })
    }

    /// The log's name.
    #[must_use]
    pub fn writer(&self) -> &WriterId {
        &self.shared.writer
    }

    /// Boot counter: this log has been opened so many times.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// A handle to append with.
    #[must_use]
    pub fn appender(&self) -> Appender {
        Appender::new(self.shared.clone())
    }

    /// A cursor before the oldest event that is still kept, of whatever epoch.
    #[must_use]
    pub fn tail(&self) -> Tail {
        Tail::new(self.shared.clone())
    }

    /// Reads an event again that a cursor has handed out; `None` if it was damaged or released since. Blocks on the disk.
    ///
    /// # Errors
    /// [`TailError::Read`] if the disk refuses.
    pub fn event_at(&self, place: &EventPlace) -> Result<Option<Event>, TailError> {
        again::read(&self.shared, place)
    }

    /// Deletes the segments that hold only events before `seq` of `epoch`, oldest first. The segment that is being
    /// written stays. A loss of power may bring back the last ones. Blocks on the disk.
    ///
    /// # Errors
    /// [`WalError::Io`] if a segment cannot be deleted; it and those behind it stay, and the next call tries again.
    pub fn release_before(&self, epoch: u64, seq: u64) -> Result<(), WalError> {
        loop {
            let Some(segment) = self.shared.segments.lock().release_oldest(epoch, seq) else { break };
            let path = &segment.path;
            match self.shared.disk.remove(path) {
                // Somebody else did it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    // Deleting those behind it would leave a hole, and a hole reads as a loss.
                    self.shared.segments.lock().put_back_oldest(segment.clone());
                    return Err(WalError::io("delete", path)(error));
                }
                Ok(()) => {}
            }
            self.shared.sub_disk_bytes(segment.readable_end());
        }
        Ok(())
    }

    /// How the log is doing. Tries the disk if it was full.
    #[must_use]
    pub fn status(&self) -> WalStatus {
        let is_disk_full = self.shared.is_disk_full();
        let queue = self.shared.queue.lock();
        WalStatus {
            segments: self.shared.segments.lock().len(),
            size_bytes: self.shared.disk_bytes() + queue.queued_bytes,
            quota_bytes: self.shared.limits.quota_bytes,
            appended_seq: queue.last_seq,
            durable_seq: self.shared.durable_seq(),
            unsynced_bytes: queue.unsynced_bytes,
            dropped: queue.dropped,
            failure: queue.failure.as_ref().map(ToString::to_string),
            no_room: queue.no_room(self.shared.disk_bytes(), is_disk_full),
            on_full: self.shared.limits.on_full,
        }
    }

    /// Takes no more events, brings those taken to the disk, and lets another process have the log. Cursors can still
    /// read to the end. Blocks on the disk; calling it again does nothing.
    ///
    /// # Errors
    /// [`WalError::Failed`] if the log failed while it was open.
    pub fn close(&self) -> Result<(), WalError> {
        if let Some(sync_thread) = self.sync_thread.lock().take() {
            self.shared.queue.lock().closing = true;
            self.shared.wake.notify_one();
            if sync_thread.join().is_err() {
                return Err(WalError::Failed { reason: "the sync thread panicked".into() });
            }
            self.directory.unlock().map_err(WalError::io("unlock", &self.shared.dir))?;
        }
        match &self.shared.queue.lock().failure {
            Some(reason) => Err(WalError::Failed { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the log in `{}`", self.shared.dir.display());
        }
    }
}
