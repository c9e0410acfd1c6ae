//! A ledger kept by slices: the control plane lends this gateway a part of what is left of every cap, and calls are let through by
//! what is free of it, without asking anybody. See [`tollgate_policy::ledger::lease`].
//!
//! While the control plane does not answer, calls spend what is left of the slices until the term ends, and the row of every such
//! call says so; then it is the operator's choice ([`OnLedgerDown`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_policy::ledger::lease::{Grant, LeaseAnswer, LeaseRequest, Want};
use tollgate_policy::ledger::{Account, Amounts, Cap, Posting, Reading, Slices, Tally};

use super::{Answer, Incarnation};
use crate::clock;
use crate::settings::{LeaseSettings, OnLedgerDown};

/// How often slices are renewed, and what is idle is given back.
const BEAT: Duration = Duration::from_secs(1);
/// How long the control plane may take to answer while calls wait.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Calls that wait for a slice. Beyond that they are told that the ledger is behind.
const QUEUE: usize = 4_096;
const MOST_AT_ONCE: usize = 512;

/// Where slices come from.
pub trait LeaseOffice: Send + Sync + std::fmt::Debug {
    /// Carries one exchange to whoever lends, and the answer back.
    fn exchange(&self, request: LeaseRequest) -> Pin<Box<dyn Future<Output = Result<LeaseAnswer, LeaseError>> + Send>>;
}

/// Why an exchange has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Another session has to be opened.
    #[error("the control plane does not know this gateway's slices")]
    UnknownSession,
    /// It did not answer as it should.
    #[error("the control plane lends no slices of budgets: {0}")]
    Failed(String),
}

/// The slices of this process, and the task that keeps them.
#[derive(Debug)]
pub(crate) struct LeasedLedger {
    office: Arc<dyn LeaseOffice>,
    on_down: OnLedgerDown,
    slices: Mutex<Slices>,
    /// When slices end unless they are renewed.
    valid_until: Mutex<Option<Instant>>,
    calls: mpsc::Sender<Waiting>,
    trouble: ArcSwap<Option<String>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// A call that waits for a slice.
struct Waiting {
    tallies: Arc<[Tally]>,
    want: Want,
    answer: oneshot::Sender<Result<Granted, String>>,
}

/// What the control plane said to a call. Given back when it is dropped, unless the call goes on with it.
struct Granted {
    ledger: Arc<LeasedLedger>,
    tallies: Arc<[Tally]>,
    accounts: Vec<Account>,
    held: Option<Amounts>,
    readings: Vec<Reading>,
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.ledger.slices.lock().end(&self.tallies, &self.accounts, &held, None);
        }
    }
}

impl LeasedLedger {
    /// A ledger with no slices yet, for the gateway whose log is at `position`, and the task that keeps it.
    pub(crate) fn start(settings: &LeaseSettings, position: &str) -> Arc<LeasedLedger> {
        let (calls, queue) = mpsc::channel(QUEUE);
        let ledger = Arc::new(LeasedLedger {
            office: Arc::clone(&settings.office),
            on_down: settings.on_down,
            slices: Mutex::new(Slices::new(position.to_owned())),
            valid_until: Mutex::new(None),
            calls,
            trouble: ArcSwap::from_pointee(None),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        ledger.tasks.spawn(Arc::clone(&ledger).keep(queue));
        ledger
    }

    /// Gives back what is held and says what was spent.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn on_down(&self) -> OnLedgerDown {
        self.on_down
    }

    /// Why the control plane does not lend; `None` while it does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_ref().clone()
    }

    /// Takes `amounts` of this gateway's slices of every account, or of none; if they do not suffice, asks for more.
    ///
    /// # Errors
    /// Why the control plane does not lend.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        tallies: &Arc<[Tally]>,
        want: Want,
        local: &[Reading],
        now_us: i64,
    ) -> Result<Answer, String> {
        let left = self.left();
        if let Some(left) = left
            && let Some(readings) = self.take(tallies, &want.accounts, want.amounts, &want.caps, now_us)
        {
            let note = self.trouble().map(|trouble| {
                format!("{trouble}; spending what is left of this gateway's slices, which end in {} s", left.as_secs())
            });
            return Ok(Answer { held_as: Some(Incarnation::SLICE), readings: aged(readings, local), note });
        }
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { tallies: Arc::clone(tallies), want, answer };
        if self.calls.try_send(waiting).is_err() {
            return Err(format!("more than {QUEUE} calls wait for slices of budgets"));
        }
        let mut granted = answered.await.map_err(|_| "the process is ending".to_owned())??;
        let held_as = granted.held.take().map(|_| Incarnation::SLICE);
        Ok(Answer { held_as, readings: aged(std::mem::take(&mut granted.readings), local), note: None })
    }

    /// Gives back what a call held in its accounts, and enters what it used up, with the number of its row.
    pub(crate) fn end(
        &self,
        tallies: &[Tally],
        accounts: &[Account],
        held: &Amounts,
        used: Option<(u64, &Posting<'_>)>,
    ) {
        self.slices.lock().end(tallies, accounts, held, used);
    }

    fn take(
        &self,
        tallies: &[Tally],
        accounts: &[Account],
        amounts: Amounts,
        caps: &[Cap],
        now_us: i64,
    ) -> Option<Vec<Reading>> {
        self.slices.lock().take(tallies, accounts, amounts, caps, now_us)
    }

    /// How long slices may still be spent from; `None` if they have ended, or never begun.
    fn left(&self) -> Option<Duration> {
        let until = (*self.valid_until.lock())?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    async fn keep(self: Arc<Self>, mut queue: mpsc::Receiver<Waiting>) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = None;
        loop {
            // A call of another bundle than those before it waits for the next exchange.
            let first = match next.take() {
                Some(first) => Some(first),
                None => tokio::select! {
                    biased;
                    () = self.stopping.cancelled() => return self.leave().await,
                    _ = beat.tick() => None,
                    first = queue.recv() => first,
                },
            };
            let is_round = first.is_none();
            let mut calls: Vec<Waiting> = first.into_iter().collect();
            while calls.len() < MOST_AT_ONCE
                && let Ok(waiting) = queue.try_recv()
            {
                if calls.first().is_some_and(|first| !Arc::ptr_eq(&first.tallies, &waiting.tallies)) {
                    next = Some(waiting);
                    break;
                }
                calls.push(waiting);
            }
            self.serve(calls, is_round).await;
        }
    }

    /// One round: whoever waits is answered.
    async fn serve(self: &Arc<Self>, mut calls: Vec<Waiting>, is_round: bool) {
        // An answer may have come since with enough for some of them.
        if self.left().is_some() {
            let now_us = clock::now_us();
            calls = calls.into_iter().filter_map(|waiting| self.serve_here(waiting, now_us)).collect();
        }
        if calls.is_empty() && !is_round {
            return;
        }
        match self.exchange(&calls, is_round).await {
            Ok(answered) => {
                let waiting = answered.waiting.clone();
                let grants = self.slices.lock().accept(&answered, clock::now_us());
                for (call, grant) in calls.into_iter().zip(grants) {
                    let outcome = match grant {
                        Some(grant) => Ok(self.granted(&call, grant)),
                        None => Err(waiting.clone().unwrap_or_else(|| "the control plane left a call out".to_owned())),
                    };
                    // Whoever has left gives it back: see `Granted`.
                    drop(call.answer.send(outcome));
                }
                match waiting {
                    Some(waiting) => self.is_down(waiting),
                    None => self.is_up(),
                }
            }
            Err(trouble) => {
                self.is_down(trouble.clone());
                calls.into_iter().for_each(|call| drop(call.answer.send(Err(trouble.clone()))));
            }
        }
    }

    /// From what is free by now; the call comes back if that does not suffice.
    fn serve_here(self: &Arc<Self>, call: Waiting, now_us: i64) -> Option<Waiting> {
        let Want { accounts, amounts, caps, .. } = &call.want;
        let Some(readings) = self.take(&call.tallies, accounts, *amounts, caps, now_us) else { return Some(call) };
        let granted = self.granted(&call, Grant { times: 1, readings });
        drop(call.answer.send(Ok(granted)));
        None
    }

    fn granted(self: &Arc<Self>, call: &Waiting, grant: Grant) -> Granted {
        let Want { accounts, amounts, .. } = &call.want;
        let held = (grant.times > 0).then_some(*amounts);
        // What the call holds itself is not what others have used.
        let others = |reading: &Reading| match held {
            Some(held) => Reading { reserved: reading.reserved.without(&held.least(&reading.reserved)), ..*reading },
            None => *reading,
        };
        let readings = grant.readings.iter().map(others).collect();
        Granted {
            ledger: Arc::clone(self),
            tallies: Arc::clone(&call.tallies),
            accounts: accounts.clone(),
            held,
            readings,
        }
    }

    /// Sends what was not answered before, then what is to be said now.
    async fn exchange(self: &Arc<Self>, calls: &[Waiting], is_round: bool) -> Result<LeaseAnswer, String> {
        if self.left().is_none() && self.valid_until.lock().take().is_some() {
            self.slices.lock().begin_anew(false);
        }
        let before = self.slices.lock().pending();
        if let Some(before) = before {
            let wants = before.wants.clone();
            let tallies = before.tallies.clone();
            match self.send(before).await {
                Ok(answer) => {
                    let mut slices = self.slices.lock();
                    let grants = slices.accept(&answer, clock::now_us());
                    // Nobody waits for these any more.
                    for (want, _) in wants.iter().zip(grants).filter(|(_, grant)| is_granted(grant.as_ref())) {
                        slices.end(&tallies, &want.accounts, &want.amounts, None);
                    }
                }
                Err(LeaseError::UnknownSession) => self.slices.lock().begin_anew(self.left().is_some()),
                Err(error) => return Err(error.to_string()),
            }
        }
        for _ in 0..2 {
            let wants: Vec<Want> = calls.iter().map(|call| call.want.clone()).collect();
            let tallies: &[Tally] = calls.first().map_or(&[], |call| &call.tallies);
            let request = self.slices.lock().request(tallies, wants, is_round);
            match self.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(LeaseError::UnknownSession) => self.slices.lock().begin_anew(self.left().is_some()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(LeaseError::UnknownSession.to_string())
    }

    async fn send(&self, request: LeaseRequest) -> Result<LeaseAnswer, LeaseError> {
        let sent_at = Instant::now();
        let answer = tokio::time::timeout(ANSWER_WAIT, self.office.exchange(request)).await;
        let answer = answer
            .unwrap_or_else(|_| Err(LeaseError::Failed(format!("no answer within {} s", ANSWER_WAIT.as_secs()))))?;
        *self.valid_until.lock() = sent_at.checked_add(Duration::from_millis(answer.term_ms));
        Ok(answer)
    }

    async fn leave(&self) {
        if self.slices.lock().pending().is_some() {
            // What it asks for was or was not granted: the term ends it.
            return;
        }
        let request = self.slices.lock().farewell();
        if let Err(error) = self.send(request).await {
            tracing::debug!(%error, "the control plane was not told that this process ends: its slices end with their term");
        }
    }

    fn is_down(&self, trouble: String) {
        if self.trouble.load().is_none() {
            let (error, mode) = (trouble.as_str(), self.on_down.as_str());
            tracing::error!(error, mode, "the control plane lends no slices of budgets");
        }
        self.trouble.store(Arc::new(Some(trouble)));
    }

    fn is_up(&self) {
        if self.trouble.swap(Arc::new(None)).is_some() {
            tracing::info!("the control plane lends slices of budgets again");
        }
    }
}

fn is_granted(grant: Option<&Grant>) -> bool {
    grant.is_some_and(|grant| grant.times > 0)
}

/// A slice says how an account stands now, if the log has been counted for it at all.
fn aged(readings: Vec<Reading>, local: &[Reading]) -> Vec<Reading> {
    let aged = |(reading, local): (Reading, &Reading)| Reading {
        age_s: local.age_s.map(|_| 0),
        frees_at_us: reading.frees_at_us.or(local.frees_at_us),
        logged: local.logged,
        ..reading
    };
    readings.into_iter().zip(local).map(aged).collect()
}
