//! The sync thread: the only caller of `fdatasync`. A durable append is synced at once, and those that arrive during an
//! fsync share the next one. Nothing waits for company: spacing fsyncs saved 5 to 10 µs of CPU per call under full load and
//! made 99 of 100 records wait up to five times as long as a bare `fdatasync` takes, instead of less than three
//! (`benches/load/suite/wal.rs`, 2026-11-26). It sleeps while nothing is appended.

use std::io;
use std::time::{Duration, Instant};

use crate::appender;
use crate::queue::{Numbered, Queue};
use crate::segment_writer::Unsynced;
use crate::shared::Shared;

/// At most this much waits for one fsync, so that a burst does not make its first event wait for its last.
const GROUP_BYTES: usize = 1 << 20;

/// How long a written event waits for others, if nobody waits for the disk.
const LAZY: Duration = Duration::from_millis(10);

/// Runs until the log is closed; then everything taken is on the disk, or the log has failed.
pub(crate) fn run(shared: &Shared) {
    while !wait(shared) {
        sync_group(shared);
    }
    finish(shared);
}

/// Brings everything taken to the disk, as far as it can be, and says that this was the end.
pub(crate) fn finish(shared: &Shared) {
    shared.queue.lock().take_note();
    while sync_group(shared) {}
    let unnoted = shared.queue.lock().unnoted_drops();
    if !unnoted.is_empty() {
        let (opened, settled) = (unnoted.opened, unnoted.settled);
        tracing::error!(opened, settled, "closing the log without a note of the last dropped events: it has no room");
    }
    shared.end();
}

/// Waits until there is something to sync; says whether the log is being closed.
fn wait(shared: &Shared) -> bool {
    let mut queue = shared.queue.lock();
    let mut lazy_until = None;
    loop {
        let is_due = queue.urgent || lazy_until.is_some_and(|until| Instant::now() >= until);
        if queue.closing || is_due {
            queue.urgent = false;
            queue.lazy = false;
            return queue.closing;
        }
        if queue.lazy {
            let until = *lazy_until.get_or_insert_with(|| Instant::now() + LAZY);
            shared.wake.wait_until(&mut queue, until);
        } else {
            shared.wake.wait(&mut queue);
        }
    }
}

/// Writes and syncs one group; false if there was nothing to sync.
pub(crate) fn sync_group(shared: &Shared) -> bool {
    let unsynced = {
        let mut writer = shared.segment_writer.lock();
        let group = writer.batch();
        let group = take_group(&mut shared.queue.lock(), group);
        // A frame that cannot be written has been refused, and whoever waits for it told so.
        let _ = writer.write(shared, group);
        writer.unsynced()
    };
    let Some(unsynced) = unsynced else { return false };
    match sync_files(shared, &unsynced) {
        Ok(()) => acknowledge(shared, &unsynced),
        Err(failure) => give_up_files(shared, &unsynced, &failure),
    }
    true
}

fn take_group(queue: &mut Queue, mut group: Vec<Numbered>) -> Vec<Numbered> {
    let mut bytes = 0;
    let has_room = |frame: &&Numbered| {
        let has_room = bytes < GROUP_BYTES;
        bytes += frame.bytes.len();
        has_room
    };
    let count = queue.frames.iter().take_while(has_room).count();
    group.extend(queue.frames.drain(..count));
    queue.queued_bytes -= group.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
    queue.urgent |= !queue.frames.is_empty();
    group
}

/// What an fsync failed for.
enum NotSynced {
    File(io::Error),
    Names(io::Error),
}

fn sync_files(shared: &Shared, unsynced: &Unsynced) -> Result<(), NotSynced> {
    for open in &unsynced.segments {
        open.file.sync_data().map_err(NotSynced::File)?;
    }
    if unsynced.names {
        shared.disk.sync_dir(&shared.dir).map_err(NotSynced::Names)?;
    }
    Ok(())
}

fn acknowledge(shared: &Shared, unsynced: &Unsynced) {
    let durable = shared.segment_writer.lock().synced(unsynced);
    let bytes: u64 = durable.iter().map(|frame| frame.bytes.len() as u64).sum();
    if let Some(last) = durable.last() {
        shared.set_durable_seq(last.seq);
    }
    {
        let mut queue = shared.queue.lock();
        queue.unsynced_bytes = queue.unsynced_bytes.saturating_sub(bytes);
        // They have been rewritten meanwhile: their new segment comes next.
        queue.urgent |= durable.is_empty();
    }
    appender::acknowledge(durable);
}

fn give_up_files(shared: &Shared, unsynced: &Unsynced, failure: &NotSynced) {
    let mut writer = shared.segment_writer.lock();
    let (error, is_concerned) = match failure {
        // If not, a failed write has already moved the frames elsewhere.
        NotSynced::File(error) => (error, writer.depends_on(unsynced)),
        // Wherever the frames are by now, it is in this directory, which may have lost the name.
        NotSynced::Names(error) => (error, writer.unsynced().is_some()),
    };
    if is_concerned {
        // If that fails too, everybody has been told.
        let _ = writer.replace(shared, error);
    }
    shared.queue.lock().urgent = true;
}
