//! Answers given again: a call whose route keeps answers (`cache`) and that asks what has been asked before gets the answer of
//! then, byte for byte, and no provider is called. It is a row all the same, with what it saved.
//!
//! The stage stands behind everything that may refuse a call (key, policy, residency, guardrails on the request) and before
//! the route is taken: whoever may not make a call gets no answer either. The store may be deleted at any time; nothing is
//! known only there (ADR 0014).

mod disk;
mod entry;
mod flight;
mod forgotten;
mod index;
mod keep;
mod key;
mod replay;
mod semantic;
mod shelf;
mod stage;
mod store;
mod trouble;
mod vector;
mod wish;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use keep::Keeping;
pub(crate) use replay::{Hit, Replay, replay};
pub use shelf::ShelfError;
pub(crate) use stage::{Asked, Label, look};

use entry::Card;
use flight::Flights;
use shelf::Shelf;
use store::{State, Store};

use crate::clock;

/// Where answers are kept, and how many.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Directory of the cache alone. It holds what was said, in the clear.
    pub folder: PathBuf,
    /// What all answers may take together. In bytes.
    pub max_bytes: u64,
    /// Longest answer that is kept. In bytes.
    pub max_entry_bytes: usize,
    /// How long a call waits for the disk before it goes to its provider.
    pub patience: Duration,
}

impl CacheSettings {
    /// The patience where nobody says otherwise.
    pub const PATIENCE: Duration = Duration::from_millis(500);
}

/// Which answers are to be forgotten: those for which everything holds that is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purge {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// First given to a call of this team.
    pub team: Option<String>,
    /// First given to this end user (by the reference that stands in the log) or this virtual key (by its id).
    pub subject: Option<String>,
    /// Asked for under this name of a model or alias.
    pub model: Option<String>,
    /// First given to the call with this id (`cached_from` of those who got it again).
    pub interaction: Option<String>,
}

impl Purge {
    fn is_about(&self, card: &Card) -> bool {
        let holds = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        // What cannot be told to be another's goes as well.
        let is_call = |wanted: &String| card.from.is_none_or(|from| from.to_string() == *wanted);
        let is_subjects =
            |wanted: &String| card.user_ref.as_ref() == Some(wanted) || (card.key_id == *wanted && !wanted.is_empty());
        holds(&self.tenant, &card.tenant)
            && holds(&self.team, &card.team)
            && holds(&self.model, &card.model)
            && self.interaction.as_ref().is_none_or(is_call)
            && self.subject.as_ref().is_none_or(is_subjects)
    }
}

/// How the cache stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CacheStats {
    /// Whether answers can be given again just now.
    pub is_usable: bool,
    /// Whether the disk has no room: what is there is given again, and nothing is added.
    pub is_full: bool,
    /// What went wrong, in words, until it is over: the file can be opened again or, where it could not be written, an answer
    /// has been.
    pub trouble: Option<String>,
    /// Answers there are.
    pub entries: u64,
    /// What they take, as it is counted against the bound. In bytes.
    pub taken_bytes: u64,
    /// Size of the file. In bytes.
    pub file_bytes: u64,
    /// The bound. In bytes.
    pub max_bytes: u64,
    /// Since the start: calls answered because the very same had been asked.
    pub exact_hits: u64,
    /// Calls answered because nearly the same had been asked.
    pub semantic_hits: u64,
    /// Calls whose route keeps answers and for which there was none.
    pub misses: u64,
    /// Calls whose route keeps answers and that could not or did not want to be answered from them.
    pub bypassed: u64,
    /// Answers written down.
    pub stored: u64,
    /// Answers that made room for others.
    pub evicted: u64,
    /// Answers that could not be kept because the disk did not keep up or could not be used.
    pub not_stored: u64,
    /// Answers and files that were found damaged and thrown away.
    pub damaged: u64,
    /// Times that the disk failed or took too long.
    pub failures: u64,
    /// Questions whose meaning could not be had from the embedding model.
    pub embedding_failures: u64,
}

/// The gateway's answers.
#[derive(Debug)]
pub(crate) struct Cache {
    settings: Option<CacheSettings>,
    /// Opened when the first call needs it, or at the start if there is a file.
    store: Mutex<Option<Arc<Store>>>,
    flights: Arc<Flights>,
    exact_hits: AtomicU64,
    semantic_hits: AtomicU64,
    misses: AtomicU64,
    bypassed: AtomicU64,
    embedding_failures: AtomicU64,
}

impl Cache {
    pub(crate) fn new(settings: Option<CacheSettings>) -> Cache {
        let has_file = settings.as_ref().filter(|settings| Shelf::exists(&settings.folder));
        let store = has_file.map(|settings| Arc::new(Store::start(settings)));
        Cache {
            store: Mutex::new(store),
            settings,
            flights: Arc::default(),
            exact_hits: AtomicU64::new(0),
            semantic_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            bypassed: AtomicU64::new(0),
            embedding_failures: AtomicU64::new(0),
        }
    }

    /// The store; `None` if this gateway has no place for one.
    fn store(&self) -> Option<Arc<Store>> {
        let settings = self.settings.as_ref()?;
        let mut store = self.store.lock();
        Some(Arc::clone(store.get_or_insert_with(|| Arc::new(Store::start(settings)))))
    }

    fn max_entry_bytes(&self) -> usize {
        self.settings.as_ref().map_or(0, |settings| settings.max_entry_bytes)
    }

    /// Writes what waits, and closes the file.
    pub(crate) async fn stop(&self) {
        let Some(store) = self.store.lock().take() else { return };
        // Where the runtime is ending too, the thread that writes ends by itself.
        let _ = tokio::task::spawn_blocking(move || store.stop()).await;
    }

    /// Forgets answers, and returns how many there were.
    pub(crate) async fn purge(&self, purge: Purge) -> Result<u64, ShelfError> {
        let has_file = self.settings.as_ref().is_some_and(|settings| Shelf::exists(&settings.folder));
        let store = self.store.lock().clone();
        match store.or_else(|| if has_file { self.store() } else { None }) {
            Some(store) => store.purge(purge, clock::now_us()).await,
            None => Ok(0),
        }
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = CacheStats {
            is_usable: self.settings.is_some(),
            max_bytes: self.settings.as_ref().map_or(0, |settings| settings.max_bytes),
            exact_hits: count(&self.exact_hits),
            semantic_hits: count(&self.semantic_hits),
            misses: count(&self.misses),
            bypassed: count(&self.bypassed),
            embedding_failures: count(&self.embedding_failures),
            ..CacheStats::default()
        };
        if let Some(store) = self.store.lock().as_deref() {
            let shared = store.shared();
            {
                let index = shared.index.lock();
                (stats.entries, stats.taken_bytes) = (index.len() as u64, index.taken());
            }
            let tallies = &shared.tallies;
            let state = *shared.state.borrow();
            (stats.is_usable, stats.is_full) = (state != State::Away, state == State::Full);
            stats.trouble = shared.trouble();
            stats.file_bytes = Shelf::file_bytes(&shared.folder);
            stats.stored = count(&tallies.stored);
            stats.evicted = count(&tallies.evicted);
            stats.not_stored = count(&tallies.not_stored);
            stats.damaged = count(&tallies.damaged);
            stats.failures = count(&tallies.failures);
        }
        stats
    }
}

/// How a cache in `folder` stands that no gateway has open.
///
/// # Errors
/// [`ShelfError`] if it cannot be read, as while a gateway has it open.
pub fn look_at(folder: &std::path::Path) -> Result<CacheStats, ShelfError> {
    let mut stats = CacheStats { is_usable: true, file_bytes: Shelf::file_bytes(folder), ..CacheStats::default() };
    if Shelf::exists(folder) {
        Shelf::open(folder)?.cards(|_, card| match card {
            Some(card) => {
                stats.entries += 1;
                stats.taken_bytes += card.footprint;
            }
            None => stats.damaged += 1,
        })?;
    }
    Ok(stats)
}

/// Forgets answers of a cache in `folder` that no gateway has open, and returns how many there were. If the file cannot be
/// rewritten without them, as on a full disk, all answers are forgotten.
///
/// # Errors
/// [`ShelfError`] if it can neither be rewritten nor removed, as while a gateway has it open.
pub fn purge_at(folder: &std::path::Path, purge: &Purge) -> Result<u64, ShelfError> {
    if !Shelf::exists(folder) {
        return Ok(0);
    }
    let shelf = Shelf::open(folder)?;
    let (mut purged, mut all) = (0, 0);
    shelf.cards(|_, card| {
        all += 1;
        purged += u64::from(card.is_none_or(|card| purge.is_about(&card)));
    })?;
    let Err(trouble) = shelf.rewritten(folder, |card| !purge.is_about(card)) else { return Ok(purged) };
    // What has to be forgotten goes all the same.
    Shelf::discard(folder)?;
    tracing::warn!(
        error = &trouble as &dyn std::error::Error,
        "the cache could not be rewritten: all of it is forgotten"
    );
    Ok(all)
}
