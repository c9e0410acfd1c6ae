//! What the console reads from the log: one door to analytics, search and evidence, so that a page can be tested with
//! made-up answers.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tollgate_analytics::report::{
    Bucket, CostGroup, Costs, FilterValues, InteractionDetail, InteractionFilter, InteractionPage, Overview, Page,
    ReportFuture, TimeRange,
};
use tollgate_analytics::{Analytics, QueryLimits, QueryResult, SqlError};
use tollgate_evidence::{EvidenceError, PackSummary, RecordKeepingRequest};
use tollgate_interaction::InteractionId;
use tollgate_search::{Search, SearchError, SearchQuery, SearchResult};

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
    /// Changes whenever there are rows that were not there before.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// The log of this process.
pub struct LiveLedger {
    analytics: Arc<Analytics>,
    search: Arc<Search>,
    changed: watch::Receiver<u64>,
}

impl LiveLedger {
    /// Reads through `analytics` and `search`; `changed` is the hot buffer's.
    #[must_use]
    pub fn new(analytics: Arc<Analytics>, search: Arc<Search>, changed: watch::Receiver<u64>) -> Self {
        LiveLedger { analytics, search, changed }
    }
}

impl Ledger for LiveLedger {
    fn overview(&self, range: TimeRange, bucket: Bucket) -> ReportFuture<Overview> {
        self.analytics.overview(range, bucket)
    }

    fn interactions(&self, filter: &InteractionFilter, page: Page) -> ReportFuture<InteractionPage> {
        self.analytics.interactions(filter, page)
    }

    fn interaction(&self, id: InteractionId) -> ReportFuture<Option<InteractionDetail>> {
        self.analytics.interaction(id)
    }

    fn costs(&self, range: TimeRange, group_by: CostGroup) -> ReportFuture<Costs> {
        self.analytics.costs(range, group_by)
    }

    fn filter_values(&self, range: TimeRange) -> ReportFuture<FilterValues> {
        self.analytics.filter_values(range)
    }

    fn sql(&self, query: &str, limits: QueryLimits) -> BoxFuture<'static, Result<QueryResult, SqlError>> {
        self.analytics.sql(query, limits)
    }

    fn record_keeping(
        &self,
        request: RecordKeepingRequest,
        out_dir: &Path,
    ) -> BoxFuture<'static, Result<PackSummary, EvidenceError>> {
        tollgate_evidence::record_keeping(&self.analytics, request, out_dir)
    }

    fn search(&self, query: &SearchQuery) -> Result<SearchResult, SearchError> {
        self.search.find(query)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}
