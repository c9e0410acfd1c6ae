//! What the console reads from the log: one door to analytics, search and evidence, so that a page can be tested with
//! made-up answers.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tollgate_analytics::backtest::{BacktestReport, Trial};
use tollgate_analytics::report::{
    Bucket, CostGroup, Costs, Experiments, FilterValues, InteractionDetail, InteractionFilter, InteractionPage,
    Overview, Page, ReportFuture, TimeRange,
};
use tollgate_analytics::{Analytics, QueryLimits, QueryResult, Reading, SignalsState, SqlError, Visibility};
use tollgate_evidence::{EvidenceError, PackSummary, RecordKeepingRequest};
use tollgate_interaction::InteractionId;
use tollgate_search::{IndexState, Search, SearchError, SearchQuery, SearchResult};

use crate::error::ConsoleError;

/// The log, to be read.
pub trait Ledger: Send + Sync {
    /// See [`Analytics::overview`].
    fn overview(&self, range: TimeRange, bucket: Bucket) -> ReportFuture<Overview>;
    /// See [`Analytics::interactions`].
    fn interactions(&self, filter: &InteractionFilter, page: Page) -> ReportFuture<InteractionPage>;
    /// See [`Analytics::interaction`].
    fn interaction(&self, id: InteractionId) -> ReportFuture<Option<InteractionDetail>>;
    /// See [`Analytics::costs`].
    fn costs(&self, range: TimeRange, group_by: CostGroup) -> ReportFuture<Costs>;
    /// See [`tollgate_analytics::Reading::backtest`].
    fn backtest(&self, trial: Trial) -> ReportFuture<BacktestReport>;
    /// See [`Analytics::experiments`].
    fn experiments(&self, range: TimeRange) -> ReportFuture<Experiments>;
    /// See [`Analytics::filter_values`].
    fn filter_values(&self, range: TimeRange) -> ReportFuture<FilterValues>;
    /// See [`Analytics::sql`].
    fn sql(&self, query: &str, limits: QueryLimits) -> BoxFuture<'static, Result<QueryResult, SqlError>>;
    /// See [`tollgate_evidence::record_keeping()`].
    fn record_keeping(
        &self,
        request: RecordKeepingRequest,
        out_dir: &Path,
    ) -> BoxFuture<'static, Result<PackSummary, EvidenceError>>;
    /// See [`Search::find`]. Takes its time on the calling thread.
    ///
    /// # Errors
    /// [`SearchError`] if the query cannot be understood or the index cannot be read.
    fn search(&self, query: &SearchQuery) -> Result<SearchResult, SearchError>;
    /// What this process has derived from the log, as of `now_us`, and of one UTC day of the search index, or of all. See
    /// [`Analytics::signals_state`] and [`Search::state`].
    fn derived(&self, now_us: i64, day: Option<String>) -> BoxFuture<'static, Result<DerivedState, ConsoleError>>;
    /// The same log for a reader for whom only some rows exist. Its reports, its search, its choices and, for a reader of one
    /// organisation, SQL are of those alone; back-tests, evidence and derived state, which are about everybody, are refused by
    /// the table of routes before they get here.
    fn only(&self, visibility: Visibility) -> Arc<dyn Ledger>;
    /// Changes whenever there are rows that were not there before.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// Everything that is derived from the log and can be thrown away, in a form that can be compared with what a rebuild
/// from the lake gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedState {
    /// Spend of every team and day of the month, and how targets did lately.
    pub signals: SignalsState,
    /// What the search index holds; `None` while it is catching up with the lake.
    pub search: Option<IndexState>,
}

/// The log of this process.
pub struct LiveLedger {
    analytics: Arc<Analytics>,
    search: Arc<Search>,
    changed: watch::Receiver<u64>,
    known_values: Arc<Mutex<Vec<KnownValues>>>,
    visibility: Visibility,
}

/// Choices of a filter, kept for a while: they take five passes over the range and hardly ever change.
struct KnownValues {
    range: TimeRange,
    values: FilterValues,
}

impl KnownValues {
    /// Whether they do for `range`: one of the same length that ends less than a minute later.
    fn serve(&self, range: TimeRange) -> bool {
        const KEPT_US: i64 = 60_000_000;
        let age_us = range.to_us - self.range.to_us;
        self.range.length_us() == range.length_us() && (0..KEPT_US).contains(&age_us)
    }
}

impl LiveLedger {
    /// Reads through `analytics` and `search`; `changed` is the hot buffer's.
    #[must_use]
    pub fn new(analytics: Arc<Analytics>, search: Arc<Search>, changed: watch::Receiver<u64>) -> Self {
        LiveLedger { analytics, search, changed, known_values: Arc::default(), visibility: Visibility::everything() }
    }
}

impl LiveLedger {
    fn reading(&self) -> Reading {
        self.analytics.reading().seen_by(self.visibility.clone())
    }

    fn known(&self, range: TimeRange) -> Option<FilterValues> {
        let known = self.known_values.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|known| known.serve(range)).map(|known| known.values.clone())
    }
}

impl Ledger for LiveLedger {
    fn overview(&self, range: TimeRange, bucket: Bucket) -> ReportFuture<Overview> {
        self.reading().overview(range, bucket)
    }

    fn interactions(&self, filter: &InteractionFilter, page: Page) -> ReportFuture<InteractionPage> {
        self.reading().interactions(filter, page)
    }

    fn interaction(&self, id: InteractionId) -> ReportFuture<Option<InteractionDetail>> {
        self.reading().interaction(id)
    }

    fn costs(&self, range: TimeRange, group_by: CostGroup) -> ReportFuture<Costs> {
        self.reading().costs(range, group_by)
    }

    fn backtest(&self, trial: Trial) -> ReportFuture<BacktestReport> {
        self.analytics.reading().backtest(trial)
    }

    fn experiments(&self, range: TimeRange) -> ReportFuture<Experiments> {
        self.reading().experiments(range)
    }

    fn filter_values(&self, range: TimeRange) -> ReportFuture<FilterValues> {
        if let Some(values) = self.known(range) {
            return async move { Ok(values) }.boxed();
        }
        let (asked, known) = (self.reading().filter_values(range), Arc::clone(&self.known_values));
        async move {
            let values = asked.await?;
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|old| old.range.length_us() != range.length_us());
            // Ranges of any length can be asked for; a few are enough.
            known.truncate(8);
            known.insert(0, KnownValues { range, values: values.clone() });
            Ok(values)
        }
        .boxed()
    }

    fn sql(&self, query: &str, limits: QueryLimits) -> BoxFuture<'static, Result<QueryResult, SqlError>> {
        self.reading().sql(query, limits)
    }

    fn record_keeping(
        &self,
        request: RecordKeepingRequest,
        out_dir: &Path,
    ) -> BoxFuture<'static, Result<PackSummary, EvidenceError>> {
        tollgate_evidence::record_keeping(&self.analytics, request, out_dir)
    }

    fn search(&self, query: &SearchQuery) -> Result<SearchResult, SearchError> {
        let only_teams = self.visibility.teams().map(<[_]>::to_vec);
        let only_tenant = self.visibility.tenant().map(str::to_owned);
        self.search.find(&SearchQuery { only_teams, only_tenant, ..query.clone() })
    }

    fn derived(&self, now_us: i64, day: Option<String>) -> BoxFuture<'static, Result<DerivedState, ConsoleError>> {
        let (signals, search) = (self.analytics.signals_state(now_us), Arc::clone(&self.search));
        async move {
            let signals = signals.await?;
            // Reads every document.
            let read = tokio::task::spawn_blocking(move || search.state(day.as_deref())).await;
            let search = read.map_err(|_| SearchError::Closed)??;
            Ok(DerivedState { signals, search })
        }
        .boxed()
    }

    fn only(&self, visibility: Visibility) -> Arc<dyn Ledger> {
        Arc::new(LiveLedger {
            analytics: Arc::clone(&self.analytics),
            search: Arc::clone(&self.search),
            changed: self.changed.clone(),
            // What others may choose from is not for this reader to see.
            known_values: Arc::default(),
            visibility,
        })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_kept_for_a_minute_and_only_for_the_same_length() {
        let known = KnownValues { range: TimeRange::new(0, 1_000_000_000), values: FilterValues::default() };
        assert!(known.serve(TimeRange::new(59_999_999, 1_059_999_999)));
        assert!(!known.serve(TimeRange::new(60_000_000, 1_060_000_000)));
        assert!(!known.serve(TimeRange::new(1, 1_059_999_999)));
        assert!(!known.serve(TimeRange::new(-1, 999_999_999)), "a range that ends earlier may hold other values");
    }
}
