//! The gateway as the binaries see it: built from settings and the snapshots it reads, it serves a listener until it is
//! told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_interaction::{InteractionId, Outcome};
use tollgate_policy::Bundle;
use tollgate_policy::bundle::BundleError;
use tollgate_policy::control::ControlSnapshot;
use tollgate_policy::ledger::lease::{Holder, LeaseAnswer, LeaseRequest};
use tollgate_policy::ledger::{Account, Reading, Tally};
use tollgate_policy::route::ModelsSnapshot;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_provider::Catalog;
use tollgate_wal::Appender;

use crate::auth::UserHasher;
use crate::cache::{Cache, CacheStats, Purge, ShelfError};
use crate::clock;
use crate::guard::Adapters;
use crate::jwt::Issuers;
use crate::known::{KnownCalls, StandingFuture};
use crate::listener::{self, ServeError};
use crate::models;
use crate::readiness::{Readiness, Ready};
use crate::route::{Prices, RouteBook, RouteError, RouteTable};
use crate::settings::{GatewaySettings, OnLedgerDown};
use crate::shared::watch::watch;
use crate::shared::{LeaseError, Shared};
use crate::signals::SpendLedger;
use crate::upstream::Connector;

/// The proxy.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) settings: GatewaySettings,
    pub(crate) appender: Appender,
    pub(crate) control: Arc<ArcSwap<ControlSnapshot>>,
    pub(crate) prices: Prices,
    pub(crate) ledger: SpendLedger,
    /// What other processes have spent too, if they share a ledger.
    pub(crate) shared: Option<Shared>,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) users: UserHasher,
    /// Guardrails behind HTTP.
    pub(crate) adapters: Adapters,
    /// Answers given again.
    pub(crate) cache: Cache,
    pub(crate) issuers: Issuers,
    pub(crate) counters: Counters,
    /// Calls that can be judged.
    pub(crate) known: KnownCalls,
    /// Connections, and answers read to their end after their callers have left.
    pub(crate) tasks: TaskTracker,
    /// Time is up: whatever is still going on ends now.
    pub(crate) abort: CancellationToken,
    /// One for each copy of a call that may be under way.
    pub(crate) shadows: Arc<tokio::sync::Semaphore>,
    ready: Ready,
}

/// What the gateway has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayStats {
    /// Connections from callers that are open now.
    pub connections: u64,
    /// Calls that have begun and not been settled.
    pub calls_in_flight: u64,
    /// Calls settled.
    pub calls_settled: u64,
    /// Of those, by outcome, in the order of [`Outcome::ALL`].
    pub calls_by_outcome: [u64; Outcome::ALL.len()],
    /// Of those, such as reached a provider and have no known cost.
    pub calls_unpriced: u64,
    /// Copies of calls that were not made because too many were under way.
    pub shadows_left_out: u64,
    /// Judgements kept of calls that are known.
    pub feedback_known: u64,
    /// Judgements kept of calls of which nobody here can say whether they exist.
    pub feedback_unsure: u64,
    /// Judgements refused because there is no such call.
    pub feedback_refused: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    begun: AtomicU64,
    by_outcome: [AtomicU64; Outcome::ALL.len()],
    pub(crate) unpriced: AtomicU64,
    pub(crate) shadows_left_out: AtomicU64,
    pub(crate) feedback_known: AtomicU64,
    pub(crate) feedback_unsure: AtomicU64,
    pub(crate) feedback_refused: AtomicU64,
}

impl Counters {
    pub(crate) fn started(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn settled(&self, outcome: Outcome) {
        let place = Outcome::ALL.iter().position(|known| *known == outcome);
        if let Some(counter) = place.and_then(|place| self.by_outcome.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Gateway {
    /// Builds a gateway that appends to the log behind `appender` and reads its keys, policy and signals from the given
    /// snapshots, whatever they are at the moment of each call. It is ready at once; see [`Gateway::set_ready`].
    ///
    /// # Errors
    /// [`RouteError`] if the providers and models in `settings` make no sense.
    pub fn new(
        settings: GatewaySettings,
        appender: Appender,
        control: Arc<ArcSwap<ControlSnapshot>>,
        signals: Arc<ArcSwap<SignalsSnapshot>>,
        catalog: Arc<Catalog>,
    ) -> Result<Arc<Self>, RouteError> {
        let prices: Prices = Arc::new(ArcSwap::new(catalog));
        let routes = Arc::new(RouteTable::new(&settings, Arc::clone(&prices))?);
        if !routes.has_providers() {
            tracing::warn!("no provider is configured; every call will be refused");
        }
        let shared = Shared::start(&settings).map_err(|source| RouteError::Ledger { source })?;
        Ok(Arc::new(Gateway {
            shared,
            appender,
            control,
            prices,
            ledger: SpendLedger::new(settings.log_position.clone(), signals),
            routes,
            issuers: Issuers::new(&settings.jwt, &Connector::new(None)?)?,
            users: UserHasher::new(&settings.user_hash_key),
            adapters: Adapters::default(),
            cache: Cache::new(settings.cache.clone()),
            counters: Counters::default(),
            known: KnownCalls::new(),
            tasks: TaskTracker::new(),
            abort: CancellationToken::new(),
            shadows: Arc::new(tokio::sync::Semaphore::new(settings.limits.shadow_calls)),
            ready: Ready::new(),
            settings,
        }))
    }

    /// Serves `listener` until `shutdown`. Then it takes no more connections, lets calls finish for `drain_timeout`, and
    /// settles those that have not as interrupted.
    ///
    /// # Errors
    /// [`ServeError`] if the listener fails for good.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: CancellationToken,
        drain_timeout: Duration,
    ) -> Result<(), ServeError> {
        let shared = self.shared.clone();
        self.tasks.spawn(watch(Arc::clone(&self), shutdown.clone()));
        let gateway = Arc::clone(&self);
        let served = listener::serve(self, listener, shutdown, drain_timeout).await;
        gateway.cache.stop().await;
        if let Some(shared) = shared {
            shared.stop().await;
        }
        served
    }

    /// Names the log that this gateway writes to: `writer/epoch`.
    #[must_use]
    pub fn log_position(&self) -> &str {
        &self.settings.log_position
    }

    /// Whether the gateway is past its start and not stopping yet.
    pub fn set_ready(&self, is_ready: bool) {
        self.ready.set_serving(is_ready);
    }

    /// Where the process says how it is doing; asked at every `GET /health/ready`. Give it once.
    pub fn ask_readiness(&self, source: impl Fn() -> Readiness + Send + Sync + 'static) {
        self.ready.ask(Box::new(source));
    }

    /// Where the process looks up calls that this gateway does not remember, by their organisation and id; asked when one of
    /// them is judged. Without it such judgements are kept unseen. Give it once.
    pub fn ask_calls(&self, book: impl Fn(&str, InteractionId) -> StandingFuture + Send + Sync + 'static) {
        self.known.ask(Box::new(book));
    }

    /// What `/health/ready` says.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.ready.tell()
    }

    /// Whether calls are taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().ready
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        let mut calls_by_outcome = [0; Outcome::ALL.len()];
        for (count, counter) in calls_by_outcome.iter_mut().zip(&self.counters.by_outcome) {
            *count = counter.load(Ordering::Relaxed);
        }
        let calls_settled = calls_by_outcome.iter().sum();
        let begun = self.counters.begun.load(Ordering::Relaxed);
        GatewayStats {
            connections: self.counters.connections.load(Ordering::Relaxed),
            calls_in_flight: begun.saturating_sub(calls_settled),
            calls_settled,
            calls_by_outcome,
            calls_unpriced: self.counters.unpriced.load(Ordering::Relaxed),
            shadows_left_out: self.counters.shadows_left_out.load(Ordering::Relaxed),
            feedback_known: self.counters.feedback_known.load(Ordering::Relaxed),
            feedback_unsure: self.counters.feedback_unsure.load(Ordering::Relaxed),
            feedback_refused: self.counters.feedback_refused.load(Ordering::Relaxed),
        }
    }

    /// Prices calls by another catalogue from now on. What was recorded stays as it is.
    pub fn use_prices(&self, catalog: Arc<Catalog>) {
        self.routes.prepare(&catalog);
        self.prices.store(catalog);
    }

    /// The catalogue that calls are priced by.
    #[must_use]
    pub fn prices(&self) -> Arc<Catalog> {
        self.prices.load_full()
    }

    /// Under which name the catalogue knows each provider, by the provider's name in the settings.
    #[must_use]
    pub fn price_names(&self) -> BTreeMap<String, String> {
        self.routes.price_names()
    }

    /// Whether every target that `bundle` names is served here. A bundle that fails this must not be put in force.
    ///
    /// # Errors
    /// [`BundleError`] with line and column at the first target that is not, or that leads in a circle.
    pub fn check_bundle(&self, bundle: &Bundle) -> Result<(), BundleError> {
        self.routes.check_bundle(bundle)
    }

    /// Where calls can go, for whoever asks about calls that are not made.
    #[must_use]
    pub fn route_book(&self) -> RouteBook {
        RouteBook::of(Arc::clone(&self.routes), Arc::clone(&self.prices), self.settings.when_all_rest)
    }

    /// Every route and how its targets are doing.
    #[must_use]
    pub fn models(&self) -> ModelsSnapshot {
        models::look(self, clock::now_us())
    }

    /// What the books say of an account of the active bundle, as the next call would be judged by it: the reading of the
    /// log, what was settled here since, and the reservations of calls in flight.
    #[must_use]
    pub fn reading(&self, tally: &Tally, scope: &str) -> Reading {
        self.ledger.reading_of(&self.control.load().bundle, tally, scope, clock::now_us())
    }

    /// Why the shared ledger cannot be reached, and what calls do meanwhile; `None` while it can, or if there is none.
    #[must_use]
    pub fn ledger_trouble(&self) -> Option<(String, OnLedgerDown)> {
        match &self.shared {
            Some(shared) => Some((shared.trouble()?, shared.on_down())),
            None => Some((self.ledger.waiting()?, self.settings.on_ledger_down)),
        }
    }

    /// Lends slices of budgets and limits to another gateway.
    ///
    /// # Errors
    /// [`LeaseError`] if the gateway has to open another session, or if this one keeps no books to lend from.
    pub fn lend(&self, request: &LeaseRequest) -> Result<LeaseAnswer, LeaseError> {
        if self.shared.is_some() {
            let why = "it shares its own ledger (`ledger` in its configuration); give this gateway the same one";
            return Err(LeaseError::Failed(why.to_owned()));
        }
        let bundle = self.bundle();
        self.ledger.lend(&bundle, request, clock::now_us()).map_err(|_| LeaseError::UnknownSession)
    }

    /// Which gateways hold slices, or may hold some that were lent before this process started.
    #[must_use]
    pub fn lease_holders(&self) -> Vec<Holder> {
        self.ledger.holders()
    }

    /// Lends and decides nothing by budgets until these gateways have said what they hold, or their slices have ended.
    pub fn await_lease_holders(&self, positions: Vec<String>) {
        self.ledger.await_holders(positions);
    }

    /// How the cache of answers stands.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Forgets answers that are kept to be given again, and returns how many there were. Those of calls that are under way are
    /// not kept when these end. Where the file cannot be rewritten, as on a full disk, all answers are forgotten.
    ///
    /// # Errors
    /// [`ShelfError`] if the file can neither be rewritten nor removed: then they may still be there.
    pub async fn purge_cache(&self, purge: Purge) -> Result<u64, ShelfError> {
        self.cache.purge(purge).await
    }

    /// The bundle that decides at the moment.
    #[must_use]
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.control.load().bundle)
    }

    /// The accounts of the active bundle's budgets and limits that are in use, each with what the books say.
    #[must_use]
    pub fn readings(&self) -> Vec<(Account, Reading)> {
        let bundle = self.bundle();
        let accounts = self.ledger.accounts(&bundle);
        let readings = self.ledger.read(&bundle, &accounts, clock::now_us()).readings;
        accounts.into_iter().zip(readings).collect()
    }
}
