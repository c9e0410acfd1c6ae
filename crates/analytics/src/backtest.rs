//! Back-tests: what a proposed policy bundle would have decided about the calls that are in the log. Each call is put to the
//! very functions that decide live calls (`policy::decide`, `policy::residency::eligible`), with the facts that its row kept
//! of the moment of its decision; nothing is sampled and nothing is fitted.
//!
//! What the log does not tell is not made up. What a call would have cost or taken elsewhere is an estimate, by the price
//! catalogue and by how that target did in the same period, and is marked as one; what guardrails would have done is left as
//! it was, because that depends on texts which the facts do not hold; calls that no bundle decided are counted and left out.

mod history;
mod ledger;
mod limits;
mod replay;
mod report;
mod row;
mod tally;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use tollgate_interaction::{Usage, Usd};
use tollgate_policy::Bundle;
use tollgate_policy::control::Principal;
use tollgate_policy::residency::Places;

pub use limits::{Finding, Limits, ParseLimitError, Percent};
pub use report::{
    BacktestReport, Change, CostChange, DecisionCount, DenialCount, LatencyChange, RouteCount, SampleRow, TeamCount,
};

use self::history::History;
use self::ledger::Ledger;
use self::replay::Replay;
use self::row::Rows;
use self::tally::Tally;
use crate::error::ReportError;
use crate::report::{ReportFuture, TimeRange};
use crate::view::Reading;

const REPORT: &str = "back-test";
/// Batches that are worked on at the same time.
const AT_ONCE: usize = 2;

/// What the log does not hold and a back-test needs: prices, and where targets are.
pub trait Market: Send + Sync {
    /// What `usage` costs at a target at a time (microseconds since 1970, UTC); `None` if that is not known.
    fn cost(&self, provider: &str, model: &str, usage: &Usage, at_us: i64) -> Option<Usd>;
    /// What residency rules ask of a target; `None` for one whose provider is not configured.
    fn whereabouts(&self, provider: &str, model: &str) -> Option<Arc<Whereabouts>>;
}

/// A target as residency rules see it.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// Its labels.
    pub tags: Vec<String>,
    /// Where it is.
    pub places: Places,
    /// Whether it runs on machines of whoever runs this gateway.
    pub self_hosted: bool,
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
    /// Keys as they are now, by their id: what a row does not keep of its caller.
    pub keys: Arc<HashMap<String, Principal>>,
    /// Prices and places.
    pub market: Arc<dyn Market>,
}

impl Trial {
    /// The statement that reads exactly the columns and rows that a back-test of it reads, for comparing its time with theirs.
    #[must_use]
    pub fn scan(&self) -> String {
        row::query(self, self.range.from_us, false)
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
        let from_us = ledger.as_ref().map_or(trial.range.from_us, Ledger::from_us);
        let sql = row::query(trial, from_us, ledger.is_some());
        let mut batches = self.stream(REPORT, &sql);
        let replay = Arc::new(Replay { trial: trial.clone(), history });
        let mut tally = Tally::new(trial.sample);
        if let Some(ledger) = &mut ledger {
            while let Some(batch) = batches.next().await {
                replay.in_order(&Rows::of(&batch?)?, ledger, &mut tally);
            }
        } else {
            let mut parts = batches
                .map(|batch| {
                    let replay = Arc::clone(&replay);
                    let work = move || -> Result<Tally, ReportError> {
                        let mut part = Tally::new(replay.trial.sample);
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
        Ok(tally.report(trial, is_its_own, self.as_of()))
    }

    /// Whether every call of the trial that a bundle decided was decided by the proposed one.
    async fn decided_only_by(&self, trial: &Trial) -> Result<bool, ReportError> {
        if trial.decided_by.as_deref() == Some(trial.bundle.hash.as_str()) {
            return Ok(true);
        }
        let sql = row::deciders(trial);
        let mut batches = self.stream(REPORT, &sql);
        while let Some(batch) = batches.next().await {
            if row::texts(&batch?, "policy_bundle_hash")?.iter().flatten().any(|hash| *hash != trial.bundle.hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
