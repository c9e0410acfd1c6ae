//! Back-tests: what a proposed policy bundle would have decided about the calls that are in the log. Each call is put to the
//! very functions that decide and route live calls (`policy::decide`, `policy::route`), with the facts that its row kept of the
//! moment of its decision; nothing is sampled and nothing is fitted.
//!
//! What the log does not tell is not made up. Of a route it is the first target that is found: further attempts, hedges and
//! copies depend on how targets answer. A choice that rests on what a row does not keep stays as it was, and is counted. What
//! a call would have cost or taken elsewhere is an estimate, by the price catalogue and by how that target did in the same
//! period, and is marked as one. What guardrails did is left as it was in every decision, because that depends on texts which
//! the facts do not hold; they can be tried again on the texts of some calls, apart from the rest. Calls that no bundle decided
//! are counted and left out.

mod choice;
mod course;
mod guards;
mod history;
mod known;
mod ledger;
mod limits;
mod logged;
mod replay;
mod report;
mod row;
mod rows;
mod sql;
mod tally;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use tollgate_interaction::{Usage, Usd};
use tollgate_policy::Bundle;
use tollgate_policy::control::Principal;
use tollgate_policy::route::{Offer, Way, WhenAllRest};

pub use limits::{Finding, Limits, ParseLimitError, Percent};
pub use report::{
    ArmCount, BacktestReport, Change, CostChange, DecisionCount, DenialCount, GuardCount, GuardReplay, LatencyChange,
    RouteCount, Routing, SampleRow, TeamCount, Unlogged,
};

use self::course::Courses;
use self::history::History;
use self::ledger::Ledger;
use self::replay::Replay;
use self::rows::Rows;
use self::tally::Tally;
use crate::error::ReportError;
use crate::report::{ReportFuture, TimeRange};
use crate::view::Reading;

const REPORT: &str = "back-test";
/// Batches that are worked on at the same time.
const AT_ONCE: usize = 2;

/// What the log does not hold and a back-test needs: what names stand for, what targets offer, and prices.
pub trait Market: Send + Sync {
    /// What `usage` costs at a target at a time (microseconds since 1970, UTC); `None` if that is not known.
    fn cost(&self, provider: &str, model: &str, usage: &Usage, at_us: i64) -> Option<Usd>;
    /// A model at a provider; `None` if that provider is not configured.
    fn offer(&self, provider: &str, model: &str) -> Option<Arc<dyn Offer>>;
    /// What callers reach who write `name` as the model, if no bundle says otherwise; `None` if that is nothing.
    fn stands_for(&self, name: &str) -> Option<Way<Arc<dyn Offer>>>;
    /// What is done when every target of a route rests that does not say.
    fn when_all_rest(&self) -> WhenAllRest;
}

/// What is to be tried on which calls.
#[derive(Clone)]
pub struct Trial {
    /// The proposed bundle.
    pub bundle: Arc<Bundle>,
    /// Starts of the calls.
    pub range: TimeRange,
    /// Only calls that this bundle decided, by its hash.
    pub decided_by: Option<String>,
    /// Rows to look at, at most, of each kind of change.
    pub sample: usize,
    /// Calls on whose texts guardrails are tried again, at most; none leaves what they did as it was.
    pub guard_sample: usize,
    /// Keys as they are now, by their id: what a row does not keep of its caller.
    pub keys: Arc<HashMap<String, Principal>>,
    /// The configuration as it is now.
    pub market: Arc<dyn Market>,
}

impl Trial {
    /// The statement that reads exactly the columns and rows that a back-test of it reads, for comparing its time with theirs.
    #[must_use]
    pub fn scan(&self) -> String {
        sql::query(self, self.range.from_us, false)
    }
}

impl Reading {
    /// Puts the calls of a trial to its bundle.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read.
    pub fn backtest(&self, trial: Trial) -> ReportFuture<BacktestReport> {
        let reading = self.clone();
        async move {
            let engine = Arc::clone(&reading.engine);
            // On the engine's threads: deciding is work, and the sockets have theirs.
            let tried = engine.run(async move { reading.tried(&trial).await }).await;
            tried.unwrap_or(Err(ReportError::Abandoned { report: REPORT }))
        }
        .boxed()
    }

    async fn tried(&self, trial: &Trial) -> Result<BacktestReport, ReportError> {
        let history = Arc::new(History::of(self, trial.range).await?);
        let is_its_own = self.decided_only_by(trial).await?;
        // Another bundle's calls spend otherwise, which changes what its budgets stand at: then calls go in their order.
        let mut ledger = (!is_its_own).then(|| Ledger::new(&trial.bundle, trial.range)).flatten();
        let from_us = ledger.as_ref().map_or(trial.range.from_us, Ledger::counts_from_us);
        let sql = sql::query(trial, from_us, ledger.is_some());
        let mut batches = self.stream(REPORT, &sql);
        let courses = Courses::of(trial);
        let unknown_targets = courses.unknown();
        let replay = Arc::new(Replay { trial: trial.clone(), history, courses });
        let mut tally = Tally::new(trial);
        if let Some(ledger) = &mut ledger {
            while let Some(batch) = batches.next().await {
                replay.in_order(&Rows::of(&batch?)?, ledger, &mut tally);
            }
        } else {
            let mut parts = batches
                .map(|batch| {
                    let replay = Arc::clone(&replay);
                    let work = move || -> Result<Tally, ReportError> {
                        let mut part = Tally::new(&replay.trial);
                        replay.as_recorded(&Rows::of(&batch?)?, &mut part);
                        Ok(part)
                    };
                    async move {
                        let abandoned = |_| ReportError::Abandoned { report: REPORT };
                        tokio::task::spawn_blocking(work).await.map_err(abandoned)?
                    }
                })
                .buffer_unordered(AT_ONCE);
            while let Some(part) = parts.next().await {
                tally.add(part?);
            }
        }
        let guardrails = match trial.guard_sample {
            0 => None,
            _ => Some(guards::replay(self, &replay, tally.chosen_for_texts()).await?),
        };
        Ok(tally.report(trial, unknown_targets, guardrails, is_its_own, self.as_of()))
    }

    /// Whether every call of the trial that a bundle decided was decided by the proposed one.
    async fn decided_only_by(&self, trial: &Trial) -> Result<bool, ReportError> {
        if trial.decided_by.as_deref() == Some(trial.bundle.hash.as_str()) {
            return Ok(true);
        }
        let sql = sql::deciders(trial);
        let mut batches = self.stream(REPORT, &sql);
        while let Some(batch) = batches.next().await {
            if rows::texts(&batch?, "policy_bundle_hash")?.iter().flatten().any(|hash| *hash != trial.bundle.hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
