//! Reports: fixed questions with typed answers. Each can be asked of [`Analytics`] (then it takes a fresh view) or of a
//! [`Reading`](crate::Reading), so that several answers agree with each other.

mod costs;
mod detail;
mod experiments;
mod judged;
mod judgements;
mod list;
mod overview;
mod recorded;
mod residency;
mod rows;
pub mod shape;
mod values;
mod whereabouts;

use futures::FutureExt;
use futures::future::BoxFuture;
use tollgate_interaction::InteractionId;

pub use experiments::{Arm, Experiment, Experiments, Metric, MetricKind, Verdict};
pub(crate) use judged::judged_targets;
pub use judgements::Judgements;
pub use recorded::{RecordedCall, recorded_calls};
pub use residency::{Blocked, Judges, Leak, PlacedTarget, ResidencyReport, residency};
pub use shape::{
    AsOf, AttemptView, Body, Bucket, CandidateView, CorrectionView, Corrections, CostDay, CostGroup, CostRow, Costs,
    Cursor, FilterValues, Group, InteractionDetail, InteractionFilter, InteractionPage, InteractionRow, Message,
    Overview, Page, ParseCursorError, ReasonView, ReconciliationRow, SeriesPoint, TimeRange, Totals, UnpricedRow,
};

pub use whereabouts::Whereabouts;

use crate::error::ReportError;
use crate::session::Analytics;

/// The future of a report.
pub type ReportFuture<T> = BoxFuture<'static, Result<T, ReportError>>;

impl Analytics {
    /// What happened in `range`, against the range before it.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn overview(&self, range: TimeRange, bucket: Bucket) -> ReportFuture<Overview> {
        self.reading().overview(range, bucket)
    }

    /// Calls that pass `filter`, newest first.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn interactions(&self, filter: &InteractionFilter, page: Page) -> ReportFuture<InteractionPage> {
        self.reading().interactions(filter, page)
    }

    /// One call with everything that was said; `None` if the log has no such call.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn interaction(&self, id: InteractionId) -> ReportFuture<Option<InteractionDetail>> {
        self.reading().interaction(id)
    }

    /// What `range` cost, split by `group_by`.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn costs(&self, range: TimeRange, group_by: CostGroup) -> ReportFuture<Costs> {
        self.reading().costs(range, group_by)
    }

    /// Every experiment that calls of `range` took part in.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn experiments(&self, range: TimeRange) -> ReportFuture<Experiments> {
        self.reading().experiments(range)
    }

    /// Values that occur in `range`, for the choices of a filter.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn filter_values(&self, range: TimeRange) -> ReportFuture<FilterValues> {
        self.reading().filter_values(range)
    }
}

impl crate::view::Reading {
    /// See [`Analytics::overview`].
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn overview(&self, range: TimeRange, bucket: Bucket) -> ReportFuture<Overview> {
        let reading = self.clone();
        async move { overview::overview(&reading, range, bucket).await }.boxed()
    }

    /// See [`Analytics::interactions`].
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn interactions(&self, filter: &InteractionFilter, page: Page) -> ReportFuture<InteractionPage> {
        let (reading, filter) = (self.clone(), filter.clone());
        async move { list::interactions(&reading, &filter, page).await }.boxed()
    }

    /// See [`Analytics::interaction`].
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn interaction(&self, id: InteractionId) -> ReportFuture<Option<InteractionDetail>> {
        let reading = self.clone();
        async move { detail::interaction(&reading, id).await }.boxed()
    }

    /// See [`Analytics::costs`].
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn costs(&self, range: TimeRange, group_by: CostGroup) -> ReportFuture<Costs> {
        let reading = self.clone();
        async move { costs::costs(&reading, range, group_by).await }.boxed()
    }

    /// See [`Analytics::experiments`].
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn experiments(&self, range: TimeRange) -> ReportFuture<Experiments> {
        let reading = self.clone();
        async move { experiments::experiments(&reading, range).await }.boxed()
    }

    /// Where the call of this id is, if it is one of `tenant`; `own` names the log of this process.
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn whereabouts(&self, id: InteractionId, tenant: &str, own: &str, now_us: i64) -> ReportFuture<Whereabouts> {
        let (reading, tenant, own) = (self.clone(), tenant.to_owned(), own.to_owned());
        async move { whereabouts::whereabouts(&reading, id, &tenant, &own, now_us).await }.boxed()
    }

    /// See [`Analytics::filter_values`].
    ///
    /// # Errors
    /// [`ReportError`] if the log could not be read in time.
    pub fn filter_values(&self, range: TimeRange) -> ReportFuture<FilterValues> {
        let reading = self.clone();
        async move { values::filter_values(&reading, range).await }.boxed()
    }
}
