//! Which calls there are to judge. The gateway remembers the last calls it took itself, in a ring that costs a call two
//! stores; of older ones, and of those that other gateways took, it has no record, and asks the process it runs in, which may
//! read the log. A process that cannot (a sidecar) leaves it open.

use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tollgate_interaction::InteractionId;

/// Calls remembered.
const REMEMBERED: usize = 1 << 16;
/// How long the log is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many ask it at once.
const AT_ONCE: usize = 4;
/// How much later than it began a call may be identified: its head has to come first.
const SLACK_MS: u64 = 60_000;
/// A call that began longer ago than this has ended, and is in the log if it is anywhere.
const LONGEST_CALL_MS: u64 = 2 * 3_600_000;

/// Whether there is such a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is.
    Known,
    /// There is none of this organisation.
    Unknown,
    /// Nobody here can say: another gateway may have taken it and not handed it over yet, or the log cannot be read now.
    Unsure,
}

/// The answer of whoever reads the log.
pub type StandingFuture = Pin<Box<dyn Future<Output = Standing> + Send>>;

type Book = Box<dyn Fn(&str, InteractionId) -> StandingFuture + Send + Sync>;

/// See the module.
pub(crate) struct KnownCalls {
    recent: Recent,
    book: OnceLock<Book>,
    turn: Semaphore,
}

impl KnownCalls {
    pub(crate) fn new() -> Self {
        KnownCalls { recent: Recent::of(REMEMBERED), book: OnceLock::new(), turn: Semaphore::new(AT_ONCE) }
    }

    /// Remembers a call of an organisation.
    pub(crate) fn note(&self, tenant: &str, id: InteractionId) {
        self.recent.note(tenant, id);
    }

    /// Whoever comes second is not asked: a process has one log.
    pub(crate) fn ask(&self, book: Book) {
        if self.book.set(book).is_err() {
            tracing::warn!("a second reader of the log was given to judge calls by and is left out");
        }
    }

    /// Whether the organisation has such a call.
    pub(crate) async fn standing(&self, tenant: &str, id: InteractionId, now_ms: u64) -> Standing {
        if self.recent.holds(tenant, id) {
            return Standing::Known;
        }
        let Some(book) = self.book.get() else { return Standing::Unsure };
        let asked = async {
            // Never closed.
            let _turn = self.turn.acquire().await.ok();
            book(tenant, id).await
        };
        let found = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Standing::Unsure);
        let has_ended = id.unix_ms().saturating_add(LONGEST_CALL_MS) < now_ms;
        match found {
            // It may be under way here, and so many others began since that the ring has lost it.
            Standing::Unknown if !has_ended && !self.recent.reaches_back_to(id) => Standing::Unsure,
            found => found,
        }
    }
}

impl fmt::Debug for KnownCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCalls").finish_non_exhaustive()
    }
}

/// The last calls, without a lock: a slot that is read while it is written tells of neither call, and the log is asked.
struct Recent {
    slots: Box<[Slot]>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    /// Of the organisation and the id; nothing while it is empty.
    key: AtomicU64,
    /// When the call began, by its id.
    at_ms: AtomicU64,
}

impl Recent {
    fn of(slots: usize) -> Recent {
        Recent { slots: (0..slots).map(|_| Slot::default()).collect(), next: AtomicUsize::new(0) }
    }

    fn note(&self, tenant: &str, id: InteractionId) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        if let Some(slot) = self.slots.get(at) {
            slot.at_ms.store(id.unix_ms(), Ordering::Relaxed);
            slot.key.store(key(tenant, id), Ordering::Release);
        }
    }

    fn holds(&self, tenant: &str, id: InteractionId) -> bool {
        let wanted = key(tenant, id);
        self.slots.iter().any(|slot| slot.key.load(Ordering::Acquire) == wanted)
    }

    /// Whether it would still hold a call that began when this one did.
    fn reaches_back_to(&self, id: InteractionId) -> bool {
        let oldest = self.slots.get(self.next.load(Ordering::Relaxed) % self.slots.len());
        let oldest_ms = oldest.map_or(u64::MAX, |slot| slot.at_ms.load(Ordering::Relaxed));
        // Nothing was ever lost while the next slot is empty.
        oldest_ms == 0 || oldest_ms.saturating_add(SLACK_MS) < id.unix_ms()
    }
}

fn key(tenant: &str, id: InteractionId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant, id).hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn id(at_ms: u64, seed: u8) -> InteractionId {
        InteractionId::new(at_ms, &[seed; 10])
    }

    fn told(standing: Standing) -> KnownCalls {
        let calls = KnownCalls { recent: Recent::of(4), ..KnownCalls::new() };
        calls.ask(Box::new(move |_, _| Box::pin(async move { standing })));
        calls
    }

    #[tokio::test]
    async fn a_call_taken_here_is_known_to_its_own_organisation_before_the_log_has_it() {
        let calls = told(Standing::Unknown);
        calls.note("acme", id(NOW_MS, 1));
        assert_eq!(calls.standing("acme", id(NOW_MS, 1), NOW_MS).await, Standing::Known);
        assert_eq!(calls.standing("globex", id(NOW_MS, 1), NOW_MS).await, Standing::Unknown);
        assert_eq!(calls.standing("acme", id(NOW_MS, 2), NOW_MS).await, Standing::Unknown);
    }

    #[tokio::test]
    async fn what_nobody_can_look_up_is_left_open() {
        assert_eq!(KnownCalls::new().standing("acme", id(NOW_MS, 1), NOW_MS).await, Standing::Unsure);
        assert_eq!(told(Standing::Unsure).standing("acme", id(NOW_MS, 1), NOW_MS).await, Standing::Unsure);
        assert_eq!(told(Standing::Known).standing("acme", id(NOW_MS, 1), NOW_MS).await, Standing::Known);
    }

    #[tokio::test]
    async fn a_call_that_may_still_be_under_way_is_not_denied_once_others_took_its_place() {
        let calls = told(Standing::Unknown);
        (0..5).for_each(|seed| calls.note("acme", id(NOW_MS, seed)));
        assert_eq!(calls.standing("acme", id(NOW_MS, 0), NOW_MS).await, Standing::Unsure, "it was the first of five");
        let long_ago = NOW_MS - LONGEST_CALL_MS - 1;
        assert_eq!(calls.standing("acme", id(long_ago, 9), NOW_MS).await, Standing::Unknown, "such a call has ended");
        let later = NOW_MS + 2 * SLACK_MS;
        assert_eq!(calls.standing("acme", id(later, 9), later).await, Standing::Unknown, "the ring goes back further");
    }
}
