//! Answers by their keys: an index in memory, the shelf on the disk, and a thread of its own that writes to it. A call asks the
//! index; only an answer that is there is read from the disk, in a thread that may wait, and not for long. Whatever goes wrong
//! with the disk is counted, and the call goes on as if there had been no answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::disk::{Disk, LocalDisk};
use super::entry::Entry;
use super::forgotten::Forgotten;
use super::index::{Index, Place};
use super::key::Key;
use super::shelf::{Shelf, ShelfError};
use super::trouble::Trouble;
use super::vector::{self, Near, Vector};
use super::{CacheSettings, Purge, worker};

/// Answers that wait for the disk at most, in bytes; beyond that none is taken in.
const WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// How many times as long the first calls wait for the file to be opened, which takes long only after a crash.
const OPENING: u32 = 4;

/// What the store is asked to do with the file.
pub(super) enum Job {
    Put {
        key: Key,
        entry: Arc<Entry>,
        vector: Option<(Key, Vector)>,
    },
    Remove {
        key: Key,
    },
    Purge {
        purge: Purge,
        done: oneshot::Sender<Result<u64, ShelfError>>,
    },
    /// A reader met something that must not be: the file is opened anew, if it is this one still.
    Doubt {
        shelf: Weak<Shelf>,
        trouble: ShelfError,
    },
}

/// Whether the file can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Opening,
    Open,
    /// What is in it is given; there is no room for more.
    Full,
    /// It is tried again later.
    Away,
}

/// What happened to the store since the start.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) stored: AtomicU64,
    pub(super) evicted: AtomicU64,
    /// Not taken in because the disk did not keep up or could not be used.
    pub(super) not_stored: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// How often something is done that nobody asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Answers that are too old are removed.
    pub(super) sweep: Duration,
    /// A file that cannot be used is tried again; the wait doubles up to `longest_pause` where that does not help.
    pub(super) pause: Duration,
    pub(super) longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let seconds = Duration::from_secs;
        Pace { sweep: seconds(300), pause: seconds(10), longest_pause: seconds(300) }
    }
}

/// What the calls and the thread that writes have in common.
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) index: Mutex<Index>,
    /// Questions that are not on the disk yet: surroundings, key of the answer, vector.
    pub(super) questions: Mutex<Vec<(Key, Key, Vector)>>,
    pub(super) shelf: ArcSwapOption<Shelf>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) pace: Pace,
    /// How long a call waits for the disk before it goes on without.
    patience: Duration,
    /// The bound of what all answers take.
    pub(super) max_bytes: u64,
    pub(super) state: watch::Sender<State>,
    /// What went wrong, until an answer has been written down again.
    pub(super) trouble: Mutex<Option<Trouble>>,
    pub(super) waiting_bytes: AtomicU64,
    pub(super) tallies: Tallies,
}

/// The store.
pub(super) struct Store {
    shared: Arc<Shared>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// What was purged lately: calls that began before are not kept when they end.
    forgotten: Mutex<Forgotten>,
}

impl Store {
    /// Begins to open the file.
    pub(super) fn start(settings: &CacheSettings) -> Store {
        Store::start_on(Arc::new(LocalDisk), settings, Pace::default())
    }

    pub(super) fn start_on(disk: Arc<dyn Disk>, settings: &CacheSettings, pace: Pace) -> Store {
        let shared = Arc::new(Shared {
            folder: settings.folder.clone(),
            index: Mutex::new(Index::new(settings.max_bytes)),
            questions: Mutex::default(),
            shelf: ArcSwapOption::empty(),
            disk,
            pace,
            patience: settings.patience,
            max_bytes: settings.max_bytes,
            state: watch::Sender::new(State::Opening),
            trouble: Mutex::new(None),
            waiting_bytes: AtomicU64::new(0),
            tallies: Tallies::default(),
        });
        let (jobs, received) = mpsc::channel();
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("answer-cache".to_owned())
            .spawn(move || worker::run(&worker, &received))
            .inspect_err(|error| tracing::error!(%error, "the cache has no thread to write in: nothing is kept"))
            .ok();
        if thread.is_none() {
            shared.state.send_replace(State::Away);
        }
        let forgotten = Mutex::new(Forgotten::default());
        Store { shared, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(thread), forgotten }
    }

    /// The answer that `key` names, as far as there is one.
    pub(super) async fn get(&self, key: &Key, now_us: i64) -> Option<Arc<Entry>> {
        self.opened().await;
        let place = self.shared.index.lock().find(key, now_us);
        match place? {
            Place::Memory(entry) => Some(entry),
            Place::Disk => self.read(*key).await,
        }
    }

    async fn read(&self, key: Key) -> Option<Arc<Entry>> {
        let shelf = self.shared.shelf.load_full()?;
        let found = self.at_the_shelf(shelf, move |shelf| shelf.get(&key)).await?;
        if found.is_none() && self.shared.index.lock().has(&key) {
            self.shared.tallies.damaged.fetch_add(1, Ordering::Relaxed);
            self.remove(key);
        }
        found.map(Arc::new)
    }

    /// The questions in `surroundings` nearest to `asked`, nearest first.
    pub(super) async fn nearest(&self, surroundings: Key, asked: Vector) -> Vec<Near> {
        let Some(shelf) = self.shared.shelf.load_full() else { return Vec::new() };
        let mut near: Vec<Near> = {
            let questions = self.shared.questions.lock();
            let waiting = questions.iter().filter(|(around, ..)| *around == surroundings);
            let near = |(_, key, vector): &(Key, Key, Vector)| {
                Some(Near { key: *key, similarity: vector::similarity(&asked, &vector.bytes())? })
            };
            waiting.filter_map(near).collect()
        };
        let kept = self.at_the_shelf(shelf, move |shelf| shelf.nearest(&surroundings, &asked)).await;
        // One may have been written down meanwhile.
        let kept: Vec<Near> = kept.unwrap_or_default().into_iter().filter(|kept| !is_among(&near, kept)).collect();
        near.extend(kept);
        near.sort_by_key(|near| std::cmp::Reverse(near.similarity));
        near
    }

    /// Reads in a thread that may wait for the disk; `None` if that took too long or failed, which is counted.
    async fn at_the_shelf<T: Send + 'static>(
        &self,
        shelf: Arc<Shelf>,
        read: impl FnOnce(&Shelf) -> Result<T, ShelfError> + Send + 'static,
    ) -> Option<T> {
        let of = Arc::downgrade(&shelf);
        let reading = tokio::task::spawn_blocking(move || read(&shelf));
        let trouble = match tokio::time::timeout(self.shared.patience, reading).await {
            Ok(Ok(Ok(read))) => return Some(read),
            Ok(Ok(Err(trouble))) => trouble,
            Ok(Err(_)) => ShelfError::BrokeOff,
            Err(_) => {
                self.shared.tallies.failures.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        self.send(Job::Doubt { shelf: of, trouble });
        None
    }

    /// Keeps the answer to a call that began at `began_us`. It can be had at once, and is on the disk soon.
    pub(super) fn put(&self, key: Key, entry: Entry, vector: Option<(Key, Vector)>, began_us: i64) {
        let (shared, bytes) = (&self.shared, entry.body.len() as u64);
        // Held until the job is sent: a purge comes before it, and is known here, or after it, and finds the answer.
        let forgotten = self.forgotten.lock();
        if forgotten.is_about(&entry.card, began_us) {
            return;
        }
        let is_away = matches!(*shared.state.borrow(), State::Away | State::Full);
        if is_away || shared.waiting_bytes.load(Ordering::Relaxed) + bytes > WAITING_BYTES {
            shared.tallies.not_stored.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let entry = Arc::new(entry);
        let Some(gone) = shared.index.lock().put(key, &entry) else {
            shared.tallies.not_stored.fetch_add(1, Ordering::Relaxed);
            return;
        };
        shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some((surroundings, vector)) = &vector {
            shared.questions.lock().push((*surroundings, key, vector.clone()));
        }
        self.send(Job::Put { key, entry, vector });
        shared.tallies.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
        gone.into_iter().for_each(|key| self.send(Job::Remove { key }));
    }

    /// Forgets an answer.
    pub(super) fn remove(&self, key: Key) {
        self.shared.index.lock().remove(&key);
        self.send(Job::Remove { key });
    }

    /// Forgets all answers that `purge` is about, and leaves no byte of them; returns how many there were.
    ///
    /// # Errors
    /// [`ShelfError`] if the file cannot be rewritten: then they may still be there.
    pub(super) async fn purge(&self, purge: Purge, now_us: i64) -> Result<u64, ShelfError> {
        self.opened().await;
        let (done, answer) = oneshot::channel();
        {
            let mut forgotten = self.forgotten.lock();
            forgotten.add(purge.clone(), now_us);
            self.send(Job::Purge { purge, done });
        }
        answer.await.unwrap_or(Err(ShelfError::BrokeOff))
    }

    /// Writes what waits, and closes the file. Waits for the disk.
    pub(super) fn stop(&self) {
        self.jobs.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            // A thread that broke off has said so.
            let _ = thread.join();
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn send(&self, job: Job) {
        if let Some(jobs) = self.jobs.lock().as_ref() {
            // Without a thread there is no file either, and nothing in it.
            let _ = jobs.send(job);
        }
    }

    /// Waits until the file has been opened, or could not be, and not for long.
    async fn opened(&self) {
        if *self.shared.state.borrow() != State::Opening {
            return;
        }
        let mut state = self.shared.state.subscribe();
        let _ = tokio::time::timeout(self.shared.patience * OPENING, state.wait_for(|state| *state != State::Opening))
            .await;
    }
}

fn is_among(near: &[Near], one: &Near) -> bool {
    near.iter().any(|near| near.key == one.key)
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs.lock().take();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}
