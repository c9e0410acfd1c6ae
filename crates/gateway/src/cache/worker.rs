//! The thread that writes answers down: it opens the file, takes up what is there, and from then on puts everything that has
//! come in since the last time into one transaction. A file that is damaged is thrown away; one that cannot be used for the
//! moment, as on a full disk, is tried again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::entry::{Card, Entry};
use super::key::Key;
use super::shelf::{Change, Shelf, ShelfError, put};
use super::store::{Job, Shared, State};
use crate::clock;

/// Jobs that go into one transaction.
const AT_ONCE: usize = 256;
/// How often answers that are too old are removed.
const SWEEP: Duration = Duration::from_secs(300);
/// How long a file that cannot be used is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// Why the thread is done with the file that is open.
enum Over {
    /// There will be no more to do.
    Stopped,
    Trouble(ShelfError),
}

/// Works until nobody can ask for anything any more.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>) {
    loop {
        let opened = guarded(|| open(shared)).and_then(|shelf| take_up(shared, &shelf).map(|()| shelf));
        let trouble = match opened {
            Ok(shelf) => {
                shared.shelf.store(Some(Arc::new(shelf)));
                shared.state.send_replace(State::Open);
                match serve(shared, jobs) {
                    Over::Stopped => {
                        shared.shelf.store(None);
                        return;
                    }
                    Over::Trouble(trouble) => trouble,
                }
            }
            Err(trouble) => trouble,
        };
        give_up(shared, &trouble);
        let is_damaged = matches!(trouble, ShelfError::Damaged(_) | ShelfError::BrokeOff);
        if is_damaged && let Err(error) = Shelf::discard(&shared.folder) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a damaged cache could not be thrown away");
        }
        if !wait(shared, jobs, if is_damaged { Duration::from_millis(100) } else { PAUSE }) {
            return;
        }
        shared.state.send_replace(State::Opening);
    }
}

/// Opens the file; one that is damaged makes room for a new one.
fn open(shared: &Shared) -> Result<Shelf, ShelfError> {
    match guarded(|| Shelf::open(&shared.folder)) {
        Err(trouble @ (ShelfError::Damaged(_) | ShelfError::BrokeOff)) => {
            shared.tallies.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(error = &trouble as &dyn std::error::Error, "the cache is damaged: it begins anew, empty");
            Shelf::discard(&shared.folder)?;
            Shelf::open(&shared.folder)
        }
        opened => opened,
    }
}

/// The library breaks off where a damaged file contradicts itself.
fn guarded<T>(work: impl FnOnce() -> Result<T, ShelfError>) -> Result<T, ShelfError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(ShelfError::BrokeOff))
}

/// Enters into the index what is on the shelf, and takes from it what is not good any more or has no room.
fn take_up(shared: &Shared, shelf: &Shelf) -> Result<(), ShelfError> {
    let now_us = clock::now_us();
    let mut gone = Vec::new();
    guarded(|| {
        shelf.cards(|key, card| match card {
            Some(Card { footprint, expires_at_us, .. }) if expires_at_us > now_us => {
                match shared.index.lock().know(key, footprint, expires_at_us) {
                    Some(others) => gone.extend(others),
                    None => gone.push(key),
                }
            }
            _ => gone.push(key),
        })
    })?;
    remove(shelf, &gone)
}

fn remove(shelf: &Shelf, keys: &[Key]) -> Result<(), ShelfError> {
    for some in keys.chunks(AT_ONCE) {
        let changes: Vec<Change> = some.iter().map(|key| Change::Remove { key: *key }).collect();
        guarded(|| shelf.apply(&changes))?;
    }
    Ok(())
}

/// Does what comes in, until that ends or goes wrong.
fn serve(shared: &Shared, jobs: &Receiver<Job>) -> Over {
    let mut swept = Instant::now();
    loop {
        let mut batch = Vec::new();
        match jobs.recv_timeout(SWEEP.saturating_sub(swept.elapsed())) {
            Ok(job) => batch.push(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Over::Stopped,
        }
        while batch.len() < AT_ONCE {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let Some(shelf) = shared.shelf.load_full() else { return Over::Trouble(ShelfError::BrokeOff) };
        if let Err(trouble) = work_off(shared, &shelf, batch) {
            return Over::Trouble(trouble);
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            if let Err(trouble) = sweep(shared, &shelf) {
                return Over::Trouble(trouble);
            }
        }
    }
}

/// One batch. Purges come in their place: what was kept before them is on the shelf when they begin.
fn work_off(shared: &Shared, shelf: &Arc<Shelf>, batch: Vec<Job>) -> Result<(), ShelfError> {
    let mut shelf = Arc::clone(shelf);
    let mut writing = Writing::default();
    for job in batch {
        match job {
            Job::Put { key, entry, vector } => {
                shared.waiting_bytes.fetch_sub(entry.body.len() as u64, Ordering::Relaxed);
                writing.changes.extend(put(key, &entry, vector));
                writing.entries.push((key, entry));
            }
            Job::Remove { key } => writing.changes.push(Change::Remove { key }),
            Job::Purge { purge, done } => {
                std::mem::take(&mut writing).finish(shared, &shelf)?;
                let mut purged = Vec::new();
                let rewritten = guarded(|| {
                    shelf.cards(|key, card| {
                        // What cannot be told to be another's goes as well.
                        if card.is_none_or(|card| purge.is_about(&card)) {
                            purged.push(key);
                        }
                    })?;
                    shelf.rewritten(&shared.folder, |card| !purge.is_about(card))
                });
                match rewritten {
                    Ok(new) => {
                        shelf = Arc::new(new);
                        shared.shelf.store(Some(Arc::clone(&shelf)));
                        let mut index = shared.index.lock();
                        purged.iter().for_each(|key| index.is_removed(key));
                        drop(index);
                        let _ = done.send(Ok(purged.len() as u64));
                    }
                    Err(trouble) => {
                        let _ = done.send(Err(trouble));
                        return Err(ShelfError::BrokeOff);
                    }
                }
            }
            Job::Doubt { trouble } => return Err(trouble),
        }
    }
    writing.finish(shared, &shelf)
}

/// Changes on their way into one transaction, and the answers among them.
#[derive(Default)]
struct Writing {
    changes: Vec<Change>,
    entries: Vec<(Key, Arc<Entry>)>,
}

impl Writing {
    fn finish(self, shared: &Shared, shelf: &Shelf) -> Result<(), ShelfError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        guarded(|| shelf.apply(&self.changes))?;
        shared.tallies.stored.fetch_add(self.entries.len() as u64, Ordering::Relaxed);
        let mut index = shared.index.lock();
        self.entries.iter().for_each(|(key, entry)| index.is_written(key, entry));
        Ok(())
    }
}

/// Removes what is too old.
fn sweep(shared: &Shared, shelf: &Shelf) -> Result<(), ShelfError> {
    let now_us = clock::now_us();
    let mut gone = Vec::new();
    guarded(|| {
        shelf.cards(|key, card| {
            if card.is_none_or(|card| card.expires_at_us <= now_us) {
                gone.push(key);
            }
        })
    })?;
    let mut index = shared.index.lock();
    gone.iter().for_each(|key| index.is_removed(key));
    drop(index);
    remove(shelf, &gone)
}

/// Nothing can be given again or kept until the file has been opened anew.
fn give_up(shared: &Shared, trouble: &ShelfError) {
    tracing::warn!(
        error = trouble as &dyn std::error::Error,
        "the cache cannot be used: calls go to their providers until it can be opened again"
    );
    shared.state.send_replace(State::Away);
    shared.shelf.store(None);
    shared.index.lock().clear();
    shared.tallies.failures.fetch_add(1, Ordering::Relaxed);
}

/// Lets time pass, and what comes in meanwhile; false if there will be nothing more to do.
fn wait(shared: &Shared, jobs: &Receiver<Job>, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    loop {
        match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Job::Put { entry, .. }) => {
                shared.waiting_bytes.fetch_sub(entry.body.len() as u64, Ordering::Relaxed);
                shared.tallies.not_stored.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Job::Purge { done, .. }) => {
                let _ = done.send(Err(ShelfError::BrokeOff));
            }
            Ok(Job::Remove { .. } | Job::Doubt { .. }) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}
