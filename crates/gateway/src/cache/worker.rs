//! The thread that writes answers down: it opens the file, takes up what is there, and from then on puts everything that has
//! come in since the last time into one transaction. A file that is damaged is thrown away; one that cannot be used for the
//! moment is tried again. On a full disk, what is there is given again, and nothing is added until there is room.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::Purge;
use super::entry::{Card, Entry};
use super::key::Key;
use super::shelf::{Change, Shelf, ShelfError, put};
use super::store::{Job, Shared, State};
use crate::clock;

/// Jobs that go into one transaction.
const AT_ONCE: usize = 256;
/// Part of the bound that answers of one transaction take: what it replaces has its pages until the next one, so that the file
/// grows by as much.
const PART_AT_ONCE: u64 = 16;
/// How long a damaged file is left alone after it has been thrown away.
const BREATH: Duration = Duration::from_millis(100);
/// How long those who are reading are waited for before the file is opened anew, which it is not while they have it.
const READERS: Duration = Duration::from_secs(1);

/// Why the thread is done with the file that is open.
enum Over {
    /// There will be no more to do.
    Stopped,
    Trouble(ShelfError),
}

/// Works until nobody can ask for anything any more.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>) {
    let mut pause = shared.pace.pause;
    // Whether the disk had no room a moment ago. Then what is there is given, and there is time before the next is added.
    let mut is_full = false;
    loop {
        let opened = guarded(|| open(shared)).and_then(|shelf| take_up(shared, &shelf, is_full).map(|()| shelf));
        let (trouble, was_open) = match opened {
            Ok(shelf) => {
                shared.shelf.store(Some(Arc::new(shelf)));
                shared.state.send_replace(if is_full { State::Full } else { State::Open });
                shared.is_opened();
                match serve(shared, jobs, is_full.then_some(pause)) {
                    Over::Stopped => {
                        shared.shelf.store(None);
                        return;
                    }
                    Over::Trouble(trouble) => (trouble, true),
                }
            }
            Err(trouble) => (trouble, false),
        };
        let is_new = give_up(shared, &trouble);
        pause = if is_new { shared.pace.pause } else { (pause * 2).min(shared.pace.longest_pause) };
        // What is there can be read, as a rule. If it cannot even be opened, it is left alone for a while.
        is_full = matches!(trouble, ShelfError::Full(_)) && (was_open || !is_full);
        if !is_full && !leave_alone(shared, jobs, &trouble, pause) {
            return;
        }
        shared.state.send_replace(State::Opening);
    }
}

/// Lets time pass before a file is opened that cannot be used; false if there will be nothing more to do.
fn leave_alone(shared: &Shared, jobs: &Receiver<Job>, trouble: &ShelfError, pause: Duration) -> bool {
    let is_damaged = matches!(trouble, ShelfError::Damaged(_) | ShelfError::BrokeOff);
    if is_damaged && let Err(error) = Shelf::discard(&shared.folder) {
        tracing::warn!(error = &error as &dyn std::error::Error, "a damaged cache could not be thrown away");
    }
    wait(shared, jobs, if is_damaged { BREATH } else { pause })
}

/// Opens the file; one that is damaged makes room for a new one.
fn open(shared: &Shared) -> Result<Shelf, ShelfError> {
    let open = || Shelf::open_on(Arc::clone(&shared.disk), &shared.folder);
    match guarded(open) {
        Err(trouble @ (ShelfError::Damaged(_) | ShelfError::BrokeOff)) => {
            shared.tallies.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(error = &trouble as &dyn std::error::Error, "the cache is damaged: it begins anew, empty");
            Shelf::discard(&shared.folder)?;
            open()
        }
        opened => opened,
    }
}

/// The library breaks off where a damaged file contradicts itself.
fn guarded<T>(work: impl FnOnce() -> Result<T, ShelfError>) -> Result<T, ShelfError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(ShelfError::BrokeOff))
}

/// Enters into the index what is on the shelf, and takes from it what is not good any more or has no room. Where the disk
/// `is_full`, that waits: it takes room to remove something.
fn take_up(shared: &Shared, shelf: &Shelf, is_full: bool) -> Result<(), ShelfError> {
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
    if is_full { Ok(()) } else { remove(shelf, &gone) }
}

fn remove(shelf: &Shelf, keys: &[Key]) -> Result<(), ShelfError> {
    for some in keys.chunks(AT_ONCE) {
        let changes: Vec<Change> = some.iter().map(|key| Change::Remove { key: *key }).collect();
        guarded(|| shelf.apply(&changes))?;
    }
    Ok(())
}

/// Does what comes in, until that ends or goes wrong. If the disk is full, nothing is written for as long as `full_for`.
fn serve(shared: &Shared, jobs: &Receiver<Job>, full_for: Option<Duration>) -> Over {
    let sweep_every = shared.pace.sweep;
    let mut swept = Instant::now();
    let mut full_since = full_for.map(|_| Instant::now());
    loop {
        let (since, rest) = match (full_since, full_for) {
            (Some(since), Some(rest)) => (since, rest),
            _ => (swept, sweep_every),
        };
        let mut batch = Vec::new();
        match jobs.recv_timeout(rest.saturating_sub(since.elapsed())) {
            Ok(job) => batch.push(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Over::Stopped,
        }
        while batch.len() < AT_ONCE && bytes_of(&batch) < shared.max_bytes / PART_AT_ONCE {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let Some(shelf) = shared.shelf.load_full() else { return Over::Trouble(ShelfError::BrokeOff) };
        if let Err(trouble) = work_off(shared, &shelf, batch, full_since.is_some()) {
            return Over::Trouble(trouble);
        }
        if since.elapsed() < rest {
            continue;
        }
        if full_since.is_some() {
            if shared.disk.try_room(&shared.folder).is_err() {
                full_since = Some(Instant::now());
                continue;
            }
            full_since = None;
            shared.state.send_replace(State::Open);
        }
        swept = Instant::now();
        // A purge may have put another in its place.
        let swept = shared.shelf.load_full().ok_or(ShelfError::BrokeOff).and_then(|shelf| sweep(shared, &shelf));
        if let Err(trouble) = swept {
            return Over::Trouble(trouble);
        }
    }
}

fn bytes_of(batch: &[Job]) -> u64 {
    let bytes = |job: &Job| if let Job::Put { entry, .. } = job { entry.card.footprint } else { 0 };
    batch.iter().map(bytes).sum()
}

/// One batch. Purges come in their place: what was kept before them is on the shelf when they begin. Where the disk `is_full`,
/// only they are tried.
fn work_off(shared: &Shared, shelf: &Arc<Shelf>, batch: Vec<Job>, is_full: bool) -> Result<(), ShelfError> {
    let mut shelf = Arc::clone(shelf);
    let mut writing = Writing::default();
    for job in batch {
        match job {
            Job::Put { key, entry, vector } => {
                shared.waiting_bytes.fetch_sub(entry.body.len() as u64, Ordering::Relaxed);
                if is_full {
                    shared.index.lock().remove(&key);
                    shared.tallies.not_stored.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                writing.changes.extend(put(key, &entry, vector));
                writing.entries.push((key, entry));
            }
            // What is not removed now is not in the index, and is seen again at the next start.
            Job::Remove { .. } if is_full => {}
            Job::Remove { key } => writing.changes.push(Change::Remove { key }),
            Job::Purge { purge, done } => {
                std::mem::take(&mut writing).finish(shared, &shelf)?;
                match forget(shared, &shelf, &purge).or_else(|trouble| forget_all(shared, &trouble)) {
                    Ok((new, purged)) => {
                        shelf = Arc::new(new);
                        shared.shelf.store(Some(Arc::clone(&shelf)));
                        let _ = done.send(Ok(purged));
                    }
                    Err(trouble) => {
                        let _ = done.send(Err(ShelfError::Away { path: Shelf::path(&shared.folder) }));
                        return Err(trouble);
                    }
                }
            }
            Job::Doubt { shelf: of, trouble } => {
                // One that has been opened anew since then is beyond that doubt.
                if of.ptr_eq(&Arc::downgrade(&shelf)) {
                    return Err(trouble);
                }
            }
        }
    }
    writing.finish(shared, &shelf)
}

/// The file without what `purge` is about, and how many answers that was.
fn forget(shared: &Shared, shelf: &Shelf, purge: &Purge) -> Result<(Shelf, u64), ShelfError> {
    let mut purged = Vec::new();
    let new = guarded(|| {
        shelf.cards(|key, card| {
            // What cannot be told to be another's goes as well.
            if card.is_none_or(|card| purge.is_about(&card)) {
                purged.push(key);
            }
        })?;
        shelf.rewritten(&shared.folder, |card| !purge.is_about(card))
    })?;
    let mut index = shared.index.lock();
    purged.iter().for_each(|key| index.is_removed(key));
    Ok((new, purged.len() as u64))
}

/// What has to be forgotten goes although the file cannot be rewritten, as on a full disk: all of it goes. The file that takes
/// its place, and how many answers that was.
fn forget_all(shared: &Shared, trouble: &ShelfError) -> Result<(Shelf, u64), ShelfError> {
    Shelf::discard(&shared.folder)?;
    tracing::warn!(
        error = trouble as &dyn std::error::Error,
        "the cache could not be rewritten without what was to be forgotten: all of it has been forgotten"
    );
    let all = {
        let mut index = shared.index.lock();
        let all = index.len() as u64;
        index.clear();
        all
    };
    Ok((guarded(|| open(shared))?, all))
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
        drop(index);
        shared.questions.lock().retain(|(_, question, _)| !self.entries.iter().any(|(key, _)| key == question));
        if !self.entries.is_empty() {
            shared.is_written();
        }
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

/// Nothing can be given again or kept until the file has been opened anew. Whether that is news.
fn give_up(shared: &Shared, trouble: &ShelfError) -> bool {
    shared.state.send_replace(State::Away);
    let shelf = shared.shelf.swap(None);
    shared.index.lock().clear();
    shared.questions.lock().clear();
    shared.tallies.failures.fetch_add(1, Ordering::Relaxed);
    let until = Instant::now() + READERS;
    while shelf.as_ref().is_some_and(|shelf| Arc::strong_count(shelf) > 1) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    shared.is_in_trouble(trouble)
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
                let _ = done.send(Err(ShelfError::Away { path: Shelf::path(&shared.folder) }));
            }
            Ok(Job::Remove { .. } | Job::Doubt { .. }) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
