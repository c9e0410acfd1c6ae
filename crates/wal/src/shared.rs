//! What appenders, the sync thread and cursors share. Locks are taken in the order `segment_writer`, `queue`,
//! `segments`; only the first is held over I/O, and never over an fsync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tollgate_interaction::WriterId;

use crate::disk::Disk;
use crate::queue::{Limits, Queue};
use crate::segment::SegmentList;
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
}

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
