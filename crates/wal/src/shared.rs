//! What appenders, the sync thread and cursors share. Locks are taken in the order `segment_writer`, `queue`,
//! `segments`; only the first is held over I/O, and never over an fsync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tollgate_interaction::WriterId;

use crate::disk::{self, Disk};
use crate::queue::{Limits, Queue};
use crate::segment::{self, SegmentList};
use crate::segment_writer::SegmentWriter;

/// See the module.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) writer: WriterId,
    pub(crate) epoch: u64,
    pub(crate) limits: Limits,
    pub(crate) segment_writer: Mutex<SegmentWriter>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) segments: Mutex<SegmentList>,
    /// Wakes the sync thread; goes with `queue`.
    pub(crate) wake: Condvar,
    /// Wakes cursors when frames have reached the operating system.
    pub(crate) readable: Notify,
    durable_seq: AtomicU64,
    disk_bytes: AtomicU64,
    ended: AtomicBool,
    disk_full: AtomicBool,
    /// When it was last tried whether the disk has room again.
    room_tried_at: Mutex<Option<Instant>>,
}

/// What must fit on a disk that was full before it counts as having room: many events of ordinary size.
const ROOM_BYTES: usize = 64 << 10;

/// How often that is tried, at most.
const ROOM_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        (dir, writer, epoch): (PathBuf, WriterId, u64),
        limits: Limits,
        segment_writer: SegmentWriter,
        segments: SegmentList,
    ) -> Arc<Self> {
        let disk_bytes = segments.iter().map(|segment| segment.readable_end()).sum();
        Arc::new(Shared {
            disk,
            dir,
            writer,
            epoch,
            limits,
            segment_writer: Mutex::new(segment_writer),
            queue: Mutex::new(Queue::new(limits)),
            segments: Mutex::new(segments),
            wake: Condvar::new(),
            readable: Notify::new(),
            durable_seq: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(disk_bytes),
            ended: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            room_tried_at: Mutex::new(None),
        })
    }

    /// Last number known to be on the disk.
    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable_seq(&self, seq: u64) {
        self.durable_seq.fetch_max(seq, Ordering::AcqRel);
    }

    /// Bytes of all segments.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_disk_bytes(&self, bytes: u64) {
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sub_disk_bytes(&self, bytes: u64) {
        self.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes that the disk had no room for an event.
    pub(crate) fn note_disk_full(&self) {
        self.disk_full.store(true, Ordering::Relaxed);
    }

    /// Whether the disk is full. Once it was, this tries it: a small event may still fit where ordinary ones do not, and a
    /// gateway that is not ready gets no calls, so that no event would ever find out. Blocks on the disk then.
    pub(crate) fn is_disk_full(&self) -> bool {
        if !self.disk_full.load(Ordering::Relaxed) {
            return false;
        }
        let Some(mut tried_at) = self.room_tried_at.try_lock() else { return true };
        if tried_at.is_none_or(|at| at.elapsed() >= ROOM_EVERY) {
            *tried_at = Some(Instant::now());
            self.disk_full.store(!self.has_room(), Ordering::Relaxed);
        }
        self.disk_full.load(Ordering::Relaxed)
    }

    fn has_room(&self) -> bool {
        // Opening the log deletes what it finds under such a name.
        let path = segment::temporary(&self.dir.join("room"));
        let written = self.disk.create(&path).and_then(|file| disk::write_all_at(&*file, &[0; ROOM_BYTES], 0));
        let removed = self.disk.remove(&path);
        written.is_ok() && removed.is_ok()
    }

    /// Whether nothing will be appended any more and everything taken has been written.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Says so, to cursors too.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.readable.notify_waiters();
    }
}
