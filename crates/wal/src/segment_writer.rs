//! Writes frames into segments, in the order of their numbers, and starts new segments. Keeps every frame until it is
//! known to be on the disk: after a failed fsync the pages may be gone from the cache, so the frames are written again,
//! to another file. An fsync that failed is never repeated (PostgreSQL's lesson of 2018, <https://lwn.net/Articles/752063/>).

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::appender::AppendError;
use crate::disk::{self, Disk, SegmentFile};
use crate::queue::{Numbered, Refusal};
use crate::segment::{self, FRAMES_START, Previous, Segment, SegmentHeader};
use crate::shared::Shared;

/// A burst may grow the buffer beyond this; it is given back then.
const KEEP_SCRATCH_BYTES: usize = 4 << 20;

/// A segment that is being written.
#[derive(Clone)]
pub(crate) struct OpenSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn SegmentFile>,
    end: u64,
}

/// What one group fsync has to cover.
pub(crate) struct Unsynced {
    /// Last number that will be durable.
    pub(crate) last_seq: u64,
    /// Files to sync, oldest first.
    pub(crate) segments: Vec<OpenSegment>,
    /// Whether files were created or renamed.
    pub(crate) names: bool,
}

/// See the module.
pub(crate) struct SegmentWriter {
    current: OpenSegment,
    /// Written, and not known to be on the disk.
    unsynced: VecDeque<Numbered>,
    /// Segments that hold them, oldest first.
    dirty: Vec<OpenSegment>,
    /// The directory has changed since it was last synced.
    names_changed: bool,
    /// The frames are being written a second time; if that fails too, the log has failed.
    second_try: bool,
    spare: Vec<Numbered>,
    scratch: Vec<u8>,
}

/// Creates the file of a segment, with its header and `frames`. It gets its name `path` when all of it is written, so
/// that what is left of a failure cannot pass for a segment.
fn create(disk: &dyn Disk, path: &Path, header: &SegmentHeader, frames: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
    let temporary = segment::temporary(path);
    let file = disk.create(&temporary)?;
    let written = disk::write_all_at(&*file, &header.to_bytes(), 0)
        .and_then(|()| disk::write_all_at(&*file, frames, FRAMES_START))
        .and_then(|()| disk.rename(&temporary, path));
    match written {
        Ok(()) => Ok(file),
        Err(error) => {
            // Best effort: opening deletes what it finds under such a name.
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}

/// The first segment of an epoch, on the disk before this returns.
pub(crate) fn start(
    disk: &dyn Disk,
    dir: &Path,
    header: SegmentHeader,
    ordinal: u64,
) -> io::Result<(SegmentWriter, Arc<Segment>)> {
    let path = dir.join(segment::file_name(header.epoch, header.first_seq));
    let file = create(disk, &path, &header, &[])?;
    file.sync_data()?;
    disk.sync_dir(dir)?;
    let numbers = (header.epoch, header.first_seq);
    let segment = Arc::new(Segment::new(path, numbers, ordinal, Some(header), FRAMES_START));
    let writer = SegmentWriter {
        current: OpenSegment { segment: segment.clone(), file, end: FRAMES_START },
        unsynced: VecDeque::new(),
        dirty: Vec::new(),
        names_changed: false,
        second_try: false,
        spare: Vec::new(),
        scratch: Vec::new(),
    };
    Ok((writer, segment))
}

impl SegmentWriter {
    /// An empty vector with capacity, to collect frames for [`SegmentWriter::write`].
    pub(crate) fn batch(&mut self) -> Vec<Numbered> {
        std::mem::take(&mut self.spare)
    }

    /// Hands `frames` to the operating system. The error is that of the last frame.
    pub(crate) fn write(&mut self, shared: &Shared, mut frames: Vec<Numbered>) -> Result<(), AppendError> {
        while !frames.is_empty() {
            if let Err(error) = self.write_run(shared, &mut frames) {
                return self.recover_from(shared, &error, frames);
            }
        }
        self.spare = frames;
        Ok(())
    }

    /// Writes as many of `frames` as go into one segment, with one system call, and takes them out.
    fn write_run(&mut self, shared: &Shared, frames: &mut Vec<Numbered>) -> io::Result<()> {
        let Some(first) = frames.first() else { return Ok(()) };
        let room = shared.limits.segment_bytes.saturating_sub(self.current.end);
        if self.current.end > FRAMES_START && first.bytes.len() as u64 > room {
            return self.rotate(shared, first.seq);
        }
        let mut total = 0;
        let fits = |frame: &&Numbered| {
            total += frame.bytes.len() as u64;
            total <= room
        };
        let count = frames.iter().take_while(fits).count().max(1);
        let bytes = match &frames[..count] {
            [only] => &only.bytes,
            several => {
                self.scratch.clear();
                several.iter().for_each(|frame| self.scratch.extend_from_slice(&frame.bytes));
                &self.scratch
            }
        };
        disk::write_all_at(&*self.current.file, bytes, self.current.end)?;
        let written = bytes.len() as u64;
        self.accept(shared, written, frames.drain(..count));
        if self.scratch.capacity() > KEEP_SCRATCH_BYTES {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    fn accept(&mut self, shared: &Shared, written: u64, frames: impl Iterator<Item = Numbered>) {
        self.unsynced.extend(frames);
        self.current.end += written;
        self.current.segment.set_readable_end(self.current.end);
        if self.dirty.last().is_none_or(|last| last.segment.ordinal != self.current.segment.ordinal) {
            self.dirty.push(self.current.clone());
        }
        shared.add_disk_bytes(written);
        shared.readable.notify_waiters();
    }

    /// Goes on in a new segment. Its header and its name become durable with its first frames.
    fn rotate(&mut self, shared: &Shared, first_seq: u64) -> io::Result<()> {
        let header = next_header(shared, first_seq);
        let path = path_of(shared, &header);
        let file = create(&*shared.disk, &path, &header, &[])?;
        self.make_current(shared, path, header, file, FRAMES_START);
        Ok(())
    }

    /// Puts the new segment into the list first, then closes the old one: a reader at the end of a closed segment
    /// finds the next.
    fn make_current(
        &mut self,
        shared: &Shared,
        path: PathBuf,
        header: SegmentHeader,
        file: Arc<dyn SegmentFile>,
        end: u64,
    ) {
        let segment = {
            let mut segments = shared.segments.lock();
            let numbers = (header.epoch, header.first_seq);
            let segment = Arc::new(Segment::new(path, numbers, segments.next_ordinal(), Some(header), end));
            segments.push(segment.clone());
            segment
        };
        self.current.segment.close();
        self.current = OpenSegment { segment, file, end };
        self.names_changed = true;
        shared.add_disk_bytes(end);
    }

    /// Writing `frames` failed. If the disk is full they are refused and the log stays as it was; if it is broken, a
    /// new segment is tried.
    fn recover_from(&mut self, shared: &Shared, error: &io::Error, frames: Vec<Numbered>) -> Result<(), AppendError> {
        // Whatever part of them arrived must not be found by a later reader: their numbers will be given out again.
        if disk::is_full(error) && self.current.file.set_len(self.current.end).is_ok() {
            tracing::error!(%error, "no room for events in `{}`", shared.dir.display());
            shared.note_disk_full();
            let refused = shared.queue.lock().take_back(frames, &Refusal::Full);
            return refused.map_or(Ok(()), Err);
        }
        let last = frames.last().map(|frame| (frame.subject, frame.waiter.is_none()));
        self.unsynced.extend(frames);
        let Err(reason) = self.replace(shared, error) else { return Ok(()) };
        match last {
            Some((subject, true)) => Err(shared.queue.lock().refuse(subject, Refusal::Failed(reason))),
            _ => Err(AppendError::Failed { reason }),
        }
    }

    /// Writes everything that is not known to be on the disk to a new segment, because the current one cannot be
    /// trusted any more. `Err` says why the log has failed.
    pub(crate) fn replace(&mut self, shared: &Shared, error: &io::Error) -> Result<(), Arc<str>> {
        let path = self.current.segment.path.display();
        tracing::error!(%error, "cannot write `{path}`; writing its last events to a new segment");
        if std::mem::replace(&mut self.second_try, true) {
            return Err(self.fail(shared, error));
        }
        self.rewrite(shared).map_err(|error| self.fail(shared, &error))
    }

    fn rewrite(&mut self, shared: &Shared) -> io::Result<()> {
        let Some(first_seq) = self.unsynced.front().map(|frame| frame.seq) else { return Ok(()) };
        let header = next_header(shared, first_seq);
        let path = path_of(shared, &header);
        let mut frames = Vec::new();
        self.unsynced.iter().for_each(|frame| frames.extend_from_slice(&frame.bytes));
        let file = create(&*shared.disk, &path, &header, &frames)?;
        let superseded = shared.segments.lock().take_superseded(shared.epoch, first_seq);
        self.make_current(shared, path, header, file, FRAMES_START + frames.len() as u64);
        self.dirty = vec![self.current.clone()];
        for old in superseded {
            shared.sub_disk_bytes(old.readable_end());
            if old.path != self.current.segment.path {
                shared.disk.remove(&old.path)?;
            }
        }
        shared.readable.notify_waiters();
        Ok(())
    }

    /// The log has failed: nothing is taken any more, and everybody who waits is told.
    fn fail(&mut self, shared: &Shared, error: &io::Error) -> Arc<str> {
        let reason: Arc<str> = format!("cannot write in `{}`: {error}", shared.dir.display()).into();
        tracing::error!("the log takes no more events: {reason}");
        shared.queue.lock().fail(self.unsynced.drain(..), &reason);
        self.dirty.clear();
        reason
    }

    /// What the next fsync has to cover; `None` if everything is on the disk.
    pub(crate) fn unsynced(&self) -> Option<Unsynced> {
        let last_seq = self.unsynced.back()?.seq;
        Some(Unsynced { last_seq, segments: self.dirty.clone(), names: self.names_changed })
    }

    /// The fsync succeeded: returns the frames that are on the disk now. None, if they have been rewritten meanwhile: the
    /// files that were synced may have been deleted, and the new one has not been synced.
    pub(crate) fn synced(&mut self, synced: &Unsynced) -> Vec<Numbered> {
        let Some((newest, complete)) = synced.segments.split_last().filter(|_| self.depends_on(synced)) else {
            return Vec::new();
        };
        self.second_try = false;
        if newest.segment.ordinal == self.current.segment.ordinal {
            // No file was created since, so the directory is as it was when it was synced.
            self.names_changed = false;
        }
        // Not the newest of them: frames may have been written to it since, even if it is closed by now.
        self.dirty.retain(|open| !contains(complete, open));
        let durable = self.unsynced.iter().take_while(|frame| frame.seq <= synced.last_seq).count();
        self.unsynced.drain(..durable).collect()
    }

    /// Whether an fsync was about files that still count.
    pub(crate) fn depends_on(&self, fsync: &Unsynced) -> bool {
        self.dirty.iter().any(|open| contains(&fsync.segments, open))
    }
}

fn contains(segments: &[OpenSegment], open: &OpenSegment) -> bool {
    segments.iter().any(|other| other.segment.ordinal == open.segment.ordinal)
}

fn path_of(shared: &Shared, header: &SegmentHeader) -> PathBuf {
    shared.dir.join(segment::file_name(header.epoch, header.first_seq))
}

/// The header of a segment that starts with `first_seq`. If it replaces one, it has the same link to what was before.
fn next_header(shared: &Shared, first_seq: u64) -> SegmentHeader {
    let (epoch, salt) = (shared.epoch, shared.limits.salt);
    let replaced = shared.segments.lock().starting_at(epoch, first_seq);
    let previous = match replaced.and_then(|segment| segment.header.as_ref().map(|header| header.previous)) {
        Some(previous) => previous,
        None => Previous { epoch, seq: first_seq - 1, tail_damaged: false },
    };
    SegmentHeader { epoch, first_seq, previous, salt, writer: shared.writer.clone() }
}
