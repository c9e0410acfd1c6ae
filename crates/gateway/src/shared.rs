//! A ledger that several processes share, on a Redis or Valkey server: what each has spent since the log was last read and
//! what each holds back for calls in flight. The log stays the truth: a server that has lost its data, or has just begun,
//! is brought up to what the log says by the next call, and never below.
//!
//! While the server does not answer, what happens is the operator's choice ([`OnLedgerDown`]); either way it is said on the
//! row of every call concerned, in the log of the process, and on the console.

mod encryption;
pub(crate) mod leased;
mod server;
pub(crate) mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_interaction::Usd;
use tollgate_policy::ledger::{Account, Amounts, Cap, Posting, Reading, Tally, Unit};

use crate::settings::{GatewaySettings, LedgerSettings, OnLedgerDown};
use leased::LeasedLedger;
use server::Server;

pub use leased::{LeaseError, LeaseOffice};
pub use server::ServerError;

/// Trillionths of a dollar in the unit the server counts in: whole numbers there end at 2⁵³.
const TRILLIONTHS_PER_NANO: i128 = 1_000;
/// Endings of calls on their way to the server. What does not fit is made good by the next reading of the log.
const QUEUE: usize = 16_384;
/// How often the server is told that this process lives.
const BEAT: Duration = Duration::from_secs(1);

/// The shared ledger as this process sees it.
#[derive(Debug)]
pub(crate) struct SharedLedger {
    server: Server,
    on_down: OnLedgerDown,
    endings: mpsc::Sender<Ended>,
    /// Why it cannot be reached; `None` while it can.
    trouble: ArcSwap<Option<String>>,
    incarnation: AtomicU64,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// What the server said to a reservation.
pub(crate) struct Answer {
    /// Under which name the amount is held back now; `None` if there was no room.
    pub(crate) held_as: Option<Incarnation>,
    /// Of each account, all processes together, this call not included.
    pub(crate) readings: Vec<Reading>,
    /// What the row has to say of how it was reserved.
    pub(crate) note: Option<String>,
}

/// What several processes keep their budgets by.
#[derive(Clone, Debug)]
pub(crate) enum Shared {
    /// A server that every call asks.
    Server(Arc<SharedLedger>),
    /// Slices that the control plane lends.
    Slices(Arc<LeasedLedger>),
}

impl Shared {
    /// As the settings say; `None` if this process keeps its own.
    ///
    /// # Errors
    /// [`ServerError`] if the server of the settings cannot be used.
    pub(crate) fn start(settings: &GatewaySettings) -> Result<Option<Shared>, ServerError> {
        let position = &settings.log_position;
        if let Some(leases) = &settings.leases {
            return Ok(Some(Shared::Slices(LeasedLedger::start(leases, position))));
        }
        let Some(ledger) = &settings.ledger else { return Ok(None) };
        Ok(Some(Shared::Server(SharedLedger::start(ledger, position)?)))
    }

    pub(crate) async fn stop(&self) {
        match self {
            Shared::Server(server) => server.stop().await,
            Shared::Slices(slices) => slices.stop().await,
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Shared::Server(server) => server.trouble(),
            Shared::Slices(slices) => slices.trouble(),
        }
    }

    pub(crate) fn on_down(&self) -> OnLedgerDown {
        match self {
            Shared::Server(server) => server.on_down(),
            Shared::Slices(slices) => slices.on_down(),
        }
    }

    /// Ends a call: what it held is given back, and what it used up is entered with the number of its row.
    pub(crate) fn end(
        &self,
        tallies: &[Tally],
        accounts: &[Account],
        held: &Amounts,
        held_as: Option<Incarnation>,
        used: Option<(u64, &Posting<'_>)>,
    ) {
        // Nothing is held there, but something may have been spent.
        let (accounts, held) = if held_as.is_some() { (accounts, *held) } else { (&[][..], Amounts::ZERO) };
        match self {
            Shared::Slices(slices) => slices.end(tallies, accounts, &held, used),
            Shared::Server(server) => {
                let held_as = held_as.unwrap_or_else(|| server.incarnation());
                server.end(tallies, accounts, &held, held_as, used.map(|(_, posting)| posting));
            }
        }
    }
}

/// This process between two interruptions. After one it holds under a new name, and what stood under the old one lapses
/// with it: nobody can tell which of the endings lost in between would have given it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    /// Of what is held in slices, which outlive an interruption.
    const SLICE: Incarnation = Incarnation(0);
}

/// One account of one call, as the server is asked about it.
#[derive(Clone, Debug)]
struct Asked {
    key: String,
    /// The window begins here; the bucket of now begins there. Microseconds.
    from_us: i64,
    bucket_us: i64,
    /// When the server may forget the account. Seconds since 1970.
    expires_s: i64,
    /// What the log says was spent at least.
    floor: [i64; 3],
    caps: Vec<Cap>,
}

/// A call that gives back what it held, and says what it used up.
#[derive(Debug)]
struct Ended {
    held_as: Incarnation,
    held: [i64; 3],
    accounts: Vec<String>,
    used: [i64; 3],
    /// Key and bucket.
    entries: Vec<(String, i64)>,
}

impl SharedLedger {
    /// A ledger on the server of `settings`, with the tasks that keep it. `replica` names this process.
    ///
    /// # Errors
    /// [`ServerError`] if the URL is none.
    pub(crate) fn start(settings: &LedgerSettings, replica: &str) -> Result<Arc<SharedLedger>, ServerError> {
        let (endings, queue) = mpsc::channel(QUEUE);
        let ledger = Arc::new(SharedLedger {
            server: Server::new(settings, replica)?,
            on_down: settings.on_down,
            endings,
            trouble: ArcSwap::from_pointee(None),
            incarnation: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        ledger.tasks.spawn(Arc::clone(&ledger).keep(queue));
        Ok(ledger)
    }

    /// Carries what is left to the server, and tells it that this process ends.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The name that this process holds under now.
    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    pub(crate) fn on_down(&self) -> OnLedgerDown {
        self.on_down
    }

    /// Why the server cannot be reached; `None` while it can.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_ref().clone()
    }

    /// Holds `amounts` back in every account, or in none. If the caller does not wait for the answer, nothing stays held.
    ///
    /// # Errors
    /// Why the server does not answer.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and the one caller has them apart")]
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        tallies: &Arc<[Tally]>,
        accounts: &[Account],
        local: &[Reading],
        floors: &[Amounts],
        amounts: Amounts,
        caps: &[Cap],
        now_us: i64,
    ) -> Result<Answer, String> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let asked: Vec<Asked> = accounts
            .iter()
            .zip(floors)
            .enumerate()
            .filter_map(|(place, (account, floor))| {
                let tally = tallies.get(account.tally)?;
                let bucket_us = tally.window.bucket(now_us).from_us.max(0);
                let caps = caps.iter().filter(|cap| cap.account == place).copied().collect();
                Some(Asked {
                    key: self.key(tally, &account.scope),
                    from_us: tally.window.at(now_us).from_us.max(0),
                    bucket_us,
                    expires_s: expiry_s(tally, now_us),
                    floor: whole_units(floor),
                    caps,
                })
            })
            .collect();
        let (answer, answered) = oneshot::channel();
        let (ledger, tallies, drawn) = (Arc::clone(self), Arc::clone(tallies), accounts.to_vec());
        let held_as = self.incarnation();
        self.tasks.spawn(async move {
            let reserved = ledger.server.reserve(&asked, whole_units(&amounts), held_as.0).await;
            let reserved = reserved.map_err(|error| ledger.is_down(&error));
            // The caller has left.
            if let Err(Ok((true, _))) = answer.send(reserved) {
                ledger.end(&tallies, &drawn, &amounts, held_as, None);
            }
        });
        let (has_room, figures) = answered.await.map_err(|_| "the process is ending".to_owned())??;
        let readings = local.iter().zip(figures).map(|(local, [spent, held])| Reading {
            settled: amounts_of(spent),
            reserved: amounts_of(held),
            age_s: local.age_s.map(|_| 0),
            frees_at_us: local.frees_at_us,
            logged: local.logged,
        });
        Ok(Answer { held_as: has_room.then_some(held_as), readings: readings.collect(), note: None })
    }

    /// Gives back what a call held in its accounts, and enters what it used up.
    pub(crate) fn end(
        &self,
        tallies: &[Tally],
        accounts: &[Account],
        held: &Amounts,
        held_as: Incarnation,
        used: Option<&Posting<'_>>,
    ) {
        let named = |account: &Account| Some(self.key(tallies.get(account.tally)?, &account.scope));
        let entries = used.into_iter().flat_map(|posting| {
            tallies.iter().filter_map(move |tally| {
                let (scope, bucket_us) = tally.entry(posting)?;
                Some((self.key(tally, &scope), bucket_us))
            })
        });
        let ended = Ended {
            held_as,
            held: whole_units(held),
            accounts: accounts.iter().filter_map(named).collect(),
            used: whole_units(&used.map_or(Amounts::ZERO, |posting| posting.amounts)),
            entries: entries.collect(),
        };
        if self.endings.try_send(ended).is_err() {
            tracing::warn!("the shared ledger is behind: a call's end reaches it with the next reading of the log");
        }
    }

    fn key(&self, tally: &Tally, scope: &str) -> String {
        self.server.key(&format!("{}|{scope}", tally.id))
    }

    /// Notes that the server does not answer, once.
    fn is_down(&self, error: &ServerError) -> String {
        let trouble = error.to_string();
        if self.trouble.load().is_none() {
            tracing::error!(%error, mode = self.on_down.as_str(), "the shared ledger cannot be reached");
        }
        self.trouble.store(Arc::new(Some(trouble.clone())));
        trouble
    }

    /// Carries endings to the server and tells it that this process lives, until it is time to stop and all are carried.
    async fn keep(self: Arc<Self>, mut queue: mpsc::Receiver<Ended>) {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                biased;
                ended = queue.recv() => match ended {
                    Some(ended) => self.carry(ended, &mut queue).await,
                    None => return,
                },
                () = self.stopping.cancelled() => {
                    self.server.leave(self.incarnation.load(Ordering::Acquire)).await;
                    return;
                }
                _ = beat.tick() => self.beat().await,
            }
        }
    }

    async fn carry(&self, first: Ended, queue: &mut mpsc::Receiver<Ended>) {
        const MOST_AT_ONCE: usize = 256;
        let mut batch = vec![first];
        while batch.len() < MOST_AT_ONCE
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        // What is lost here is in the log, which every reservation brings the server up to.
        if self.trouble.load().is_some() {
            return;
        }
        if let Err(error) = self.server.end(&batch).await {
            self.is_down(&error);
        }
    }

    async fn beat(&self) {
        let was_down = self.trouble.load().is_some();
        let next = self.incarnation.load(Ordering::Acquire) + u64::from(was_down);
        match self.server.beat(next, was_down).await {
            Ok(()) => {
                self.incarnation.store(next, Ordering::Release);
                if self.trouble.swap(Arc::new(None)).is_some() {
                    tracing::info!("the shared ledger answers again");
                }
            }
            Err(error) => {
                self.is_down(&error);
            }
        }
    }
}

/// A day after nothing that is entered now counts any more.
fn expiry_s(tally: &Tally, now_us: i64) -> i64 {
    const DAY_S: i64 = 86_400;
    const LONGEST_S: i64 = 800 * DAY_S;
    let forgotten_s = tally.window.forgets_at(tally.window.bucket(now_us).from_us) / 1_000_000;
    (forgotten_s + DAY_S).min(now_us / 1_000_000 + LONGEST_S)
}

/// Amounts as the server counts them; money is rounded up.
fn whole_units(amounts: &Amounts) -> [i64; 3] {
    let trillionths = amounts.usd.get();
    let nanos =
        trillionths.div_euclid(TRILLIONTHS_PER_NANO) + i128::from(trillionths.rem_euclid(TRILLIONTHS_PER_NANO) > 0);
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    [i64::try_from(nanos).unwrap_or(i64::MAX), count(amounts.tokens), count(amounts.calls)]
}

fn amounts_of([nanos, tokens, calls]: [i64; 3]) -> Amounts {
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    Amounts { usd: Usd::new(i128::from(nanos) * TRILLIONTHS_PER_NANO), tokens: count(tokens), calls: count(calls) }
}

/// A cap in the units of the server: unit, ceiling, whether the call has to fit, whether only calls in flight count.
fn cap_words(cap: &Cap) -> [String; 4] {
    let (unit, ceiling) = match cap.unit {
        Unit::Usd => (1, cap.ceiling.div_euclid(TRILLIONTHS_PER_NANO)),
        Unit::Tokens => (2, cap.ceiling),
        Unit::Calls | Unit::Concurrency => (3, cap.ceiling),
    };
    let flag = |is: bool| u8::from(is).to_string();
    [unit.to_string(), ceiling.to_string(), flag(cap.fits), flag(cap.unit == Unit::Concurrency)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_up_to_what_the_server_counts_in() {
        let amounts = Amounts { usd: Usd::new(1_000_001), tokens: 3, calls: 1 };
        assert_eq!(whole_units(&amounts), [1_001, 3, 1]);
        assert_eq!(amounts_of([1_001, 3, 1]).usd, Usd::new(1_001_000));
        assert_eq!(whole_units(&Amounts { usd: Usd::new(-1_500), ..Amounts::ZERO })[0], -1);
    }
}
