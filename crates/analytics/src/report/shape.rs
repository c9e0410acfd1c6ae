//! The shapes that reports are handed out in: plain structs that a page renders and the JSON API returns unchanged.
//! Money is a string in JSON, times are microseconds since 1970 (UTC), an unknown figure is `null` and never zero.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tollgate_interaction::{InteractionId, Usd};

use super::recorded::RecordedCall;

/// Microseconds in a day.
pub(crate) const US_PER_DAY: i64 = 86_400_000_000;

/// A span of time, the end not included. Microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// First microsecond that belongs to it.
    pub from_us: i64,
    /// First microsecond that no longer does.
    pub to_us: i64,
}

impl TimeRange {
    /// From `from_us` up to `to_us`.
    #[must_use]
    pub const fn new(from_us: i64, to_us: i64) -> Self {
        TimeRange { from_us, to_us }
    }

    /// The span of `length_us` that ends at `to_us`.
    #[must_use]
    pub const fn last(length_us: i64, to_us: i64) -> Self {
        TimeRange { from_us: to_us.saturating_sub(length_us), to_us }
    }

    /// Its length in microseconds; zero for a range that ends before it starts.
    #[must_use]
    pub const fn length_us(self) -> i64 {
        let length = self.to_us.saturating_sub(self.from_us);
        if length < 0 { 0 } else { length }
    }

    /// The span of the same length that ends where this one starts.
    #[must_use]
    pub const fn previous(self) -> Self {
        TimeRange::last(self.length_us(), self.from_us)
    }
}

/// Width of the steps of a time series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// Sixty seconds.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// Fifteen minutes.
    QuarterHour,
    /// Sixty minutes.
    Hour,
    /// Six hours, from midnight UTC.
    SixHours,
    /// A day, from midnight UTC.
    Day,
}

impl Bucket {
    /// Every width, narrowest first.
    pub const ALL: &[Bucket] =
        &[Bucket::Minute, Bucket::FiveMinutes, Bucket::QuarterHour, Bucket::Hour, Bucket::SixHours, Bucket::Day];

    /// Its width in microseconds.
    #[must_use]
    pub const fn width_us(self) -> i64 {
        const US_PER_MINUTE: i64 = 60_000_000;
        match self {
            Bucket::Minute => US_PER_MINUTE,
            Bucket::FiveMinutes => 5 * US_PER_MINUTE,
            Bucket::QuarterHour => 15 * US_PER_MINUTE,
            Bucket::Hour => 60 * US_PER_MINUTE,
            Bucket::SixHours => 360 * US_PER_MINUTE,
            Bucket::Day => US_PER_DAY,
        }
    }

    /// The narrowest width that cuts `range` into at most 120 steps (a chart of 700 pixels shows no more).
    #[must_use]
    pub fn fitting(range: TimeRange) -> Bucket {
        const STEPS: i64 = 120;
        let fits = |bucket: &&Bucket| range.length_us() / bucket.width_us() <= STEPS;
        Bucket::ALL.iter().find(fits).copied().unwrap_or(Bucket::Day)
    }
}

/// What a report was computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// Version of the `interactions` table in the lake.
    pub lake_version: u64,
    /// Rows read from memory because that version does not hold them yet.
    pub hot_rows: u64,
}

/// Sums and quantiles over a set of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Calls of every outcome.
    pub calls: u64,
    /// The caller received all of the answer.
    pub success: u64,
    /// Policy refused.
    pub denied: u64,
    /// An error reached the caller.
    pub failed: u64,
    /// The caller hung up.
    pub cancelled: u64,
    /// The gateway stopped while the call was in flight.
    pub interrupted: u64,
    /// Answered without a provider.
    pub cached: u64,
    /// Sum of the known costs, of every outcome.
    pub cost_usd: Usd,
    /// Calls that reached a provider and whose cost is unknown: they are missing from `cost_usd`.
    pub unpriced: u64,
    /// Tokens read, cached ones included; calls without a count add nothing.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Part of the input read from the provider's cache.
    pub cache_read_input_tokens: u64,
    /// Median latency of the calls that reached a provider; `None` without such calls.
    pub latency_p50_us: Option<u64>,
    /// Latency that 95 % of them did not exceed.
    pub latency_p95_us: Option<u64>,
    /// Median time to the first content, where it was measured.
    pub ttft_p50_us: Option<u64>,
    /// Time to the first content that 95 % did not exceed.
    pub ttft_p95_us: Option<u64>,
    /// Median of what the gateway itself added before the provider was called.
    pub overhead_p50_us: Option<u64>,
    /// What it added at most in 95 % of the calls.
    pub overhead_p95_us: Option<u64>,
}

impl Totals {
    /// Calls that ended in an error or were cut off: neither the caller's doing nor policy's.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.failed + self.interrupted
    }

    /// Share of [`Totals::errors`] among the calls that policy let through; `None` without such calls.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        let admitted = self.calls.saturating_sub(self.denied);
        (admitted > 0).then(|| self.errors() as f64 / admitted as f64)
    }
}

/// One step of a time series. Steps without a call are present, with zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// Start of the step.
    pub at_us: i64,
    /// Calls that started in it.
    pub calls: u64,
    /// Failed and interrupted ones.
    pub errors: u64,
    /// Refused by policy.
    pub denied: u64,
    /// Sum of the known costs.
    pub cost_usd: Usd,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Median latency of the calls that reached a provider.
    pub latency_p50_us: Option<u64>,
    /// Its 95th percentile.
    pub latency_p95_us: Option<u64>,
}

/// The calls that share one value of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// That value; empty for calls where it is unknown.
    pub key: String,
    /// Their sums.
    pub totals: Totals,
}

/// The first page: what happened in a range, against the range before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The range.
    pub range: TimeRange,
    /// Width of the steps of `series`.
    pub bucket: Bucket,
    /// Everything in the range.
    pub totals: Totals,
    /// Everything in the range of the same length before it.
    pub previous: Totals,
    /// Step by step, oldest first, without holes.
    pub series: Vec<SeriesPoint>,
    /// By model served (as requested where none was), most calls first, at most 20.
    pub by_model: Vec<Group>,
    /// By team, most calls first, at most 20.
    pub by_team: Vec<Group>,
    /// By provider, most calls first, at most 20.
    pub by_provider: Vec<Group>,
    /// What it was computed from.
    pub as_of: AsOf,
}

/// Which calls to list. Fields that are `None` do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InteractionFilter {
    /// Started in this range.
    pub range: Option<TimeRange>,
    /// Of this team.
    pub team: Option<String>,
    /// With this model, requested or served.
    pub model: Option<String>,
    /// Answered by this provider.
    pub provider: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Whose id starts with this text.
    pub id: Option<String>,
    /// In this wire format, as its caller wrote it.
    pub dialect: Option<String>,
    /// For which this was asked: `chat`, `embeddings`, …
    pub operation: Option<String>,
    /// With this virtual key.
    pub api_key_id: Option<String>,
    /// Of this conversation.
    pub conversation_id: Option<String>,
    /// Only those that may have cost something and whose cost is not known.
    pub unpriced: bool,
}

/// A place in the list of calls: that of the last row already seen. As text: `started_at_us.interaction_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Start of that call.
    pub started_at_us: i64,
    /// Its id, which orders calls of the same microsecond.
    pub interaction_id: InteractionId,
}

/// A text that is not a cursor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a cursor; leave it out to start with the newest call, or pass on `next` of the page before")]
pub struct ParseCursorError {
    /// What was given.
    pub text: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_at_us, self.interaction_id)
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseCursorError { text: text.to_owned() };
        let (time, id) = text.split_once('.').ok_or_else(refuse)?;
        Ok(Cursor {
            started_at_us: time.parse().map_err(|_| refuse())?,
            interaction_id: id.parse().map_err(|_| refuse())?,
        })
    }
}

/// Which part of the list of calls, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows wanted; at most 1000 are given.
    pub limit: usize,
    /// Only calls older than this one.
    pub after: Option<Cursor>,
}

impl Default for Page {
    fn default() -> Self {
        Page { limit: 50, after: None }
    }
}

/// One line of the list of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractionRow {
    /// Its id.
    pub interaction_id: InteractionId,
    /// When it started.
    pub started_at_us: i64,
    /// Organisation of the key.
    pub tenant: String,
    /// Team of the key; empty if the caller was never identified.
    pub team: String,
    /// Project of the key.
    pub project: Option<String>,
    /// Id of the virtual key.
    pub api_key_id: Option<String>,
    /// What was asked for.
    pub operation: String,
    /// Wire format of the caller.
    pub dialect: String,
    /// Wire format spoken with the provider; `None` if none was called, or before that was recorded.
    pub upstream_dialect: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// As the caller wrote it.
    pub model_requested: String,
    /// As the provider reported it.
    pub model_served: Option<String>,
    /// Who answered.
    pub provider: Option<String>,
    /// What policy said.
    pub decision: String,
    /// How it ended.
    pub outcome: String,
    /// Status sent to the caller.
    pub http_status: Option<u16>,
    /// Code of the error.
    pub error_type: Option<String>,
    /// From the first byte in to the last byte out.
    pub latency_us: u64,
    /// Until the first content.
    pub ttft_us: Option<u64>,
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// What it cost.
    pub cost_usd: Option<Usd>,
}

/// A part of the list of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractionPage {
    /// Newest first.
    pub rows: Vec<InteractionRow>,
    /// Text of the [`Cursor`] that continues the list; `None` at its end.
    pub next: Option<String>,
    /// What it was read from.
    pub as_of: AsOf,
}

/// One message of a conversation, as normalised for search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, …
    pub role: String,
    /// Its text; tool calls are written out as text.
    pub content: String,
}

/// A body as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Its media type; empty if there was none.
    pub content_type: String,
    /// Its length.
    pub size_bytes: u64,
    /// The bytes. In JSON they are left out: `text` holds them if they are UTF-8, else `base64` has them.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// The bytes as text, if they are UTF-8.
    pub text: Option<String>,
    /// The bytes in base64, if they are not UTF-8.
    pub base64: Option<String>,
}

/// One reason behind a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasonView {
    /// Id of the rule.
    pub rule: String,
    /// What it did.
    pub effect: String,
    /// One sentence with the figures that decided.
    pub detail: String,
}

/// A target that routing looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CandidateView {
    /// Provider's name.
    pub provider: String,
    /// Model at that provider.
    pub model: String,
    /// Why it was not used.
    pub rejected_because: Option<String>,
}

/// One upstream call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptView {
    /// Provider's name.
    pub provider: String,
    /// Model asked of it.
    pub model: String,
    /// Status it answered with.
    pub http_status: Option<u16>,
    /// Class of what went wrong.
    pub error_class: Option<String>,
    /// When it began: ISO 8601, UTC.
    pub started_at: Option<String>,
    /// How long it took.
    pub duration_us: Option<u64>,
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// What it cost.
    pub cost_usd: Option<Usd>,
}

/// What a call costs by a later price catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionView {
    /// When it was corrected.
    pub at_us: i64,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What counted before.
    pub old_cost_usd: Option<Usd>,
    /// What counts since; `None` if the correction states none, and what was recorded counts.
    pub new_cost_usd: Option<Usd>,
    /// Row of the price catalogue.
    pub price_id: String,
}

/// One call, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InteractionDetail {
    /// The line it has in the list.
    pub row: InteractionRow,
    /// Every column by name, in the order of the table, as the JSON output writes them.
    pub columns: serde_json::Map<String, serde_json::Value>,
    /// Why policy decided as it did.
    pub reasons: Vec<ReasonView>,
    /// Targets considered.
    pub candidates: Vec<CandidateView>,
    /// Upstream calls made.
    pub attempts: Vec<AttemptView>,
    /// The caller's own labels.
    pub tags: Vec<(String, String)>,
    /// Corrections of its cost, the last one last; the other fields say what was recorded.
    pub corrections: Vec<CorrectionView>,
    /// The conversation; empty if the payload is no longer kept or could not be read.
    pub messages: Vec<Message>,
    /// What the caller sent; `None` if it is not (or no longer) kept.
    pub request: Option<Body>,
    /// What the caller was sent.
    pub response: Option<Body>,
    /// Whether it was read from memory because the lake does not hold it yet.
    pub hot: bool,
}

/// By what to split costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostGroup {
    /// Team of the key.
    Team,
    /// Model served, or requested where none was.
    Model,
    /// Provider that answered.
    Provider,
    /// UTC day of the start.
    Day,
    /// Virtual key.
    Key,
    /// Project of the key.
    Project,
}

impl CostGroup {
    /// Every way to split, in the order a page offers them.
    pub const ALL: &[CostGroup] =
        &[CostGroup::Team, CostGroup::Model, CostGroup::Provider, CostGroup::Day, CostGroup::Key, CostGroup::Project];

    /// The word for it in an address: `team`, `model`, `provider`, `day`, `key`, `project`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CostGroup::Team => "team",
            CostGroup::Model => "model",
            CostGroup::Provider => "provider",
            CostGroup::Day => "day",
            CostGroup::Key => "key",
            CostGroup::Project => "project",
        }
    }

    /// The way to split with this word, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        CostGroup::ALL.iter().find(|group| group.as_str() == text).copied()
    }
}

/// What one group of calls cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostRow {
    /// Value of the column; empty where it is unknown; `2026-11-23` for a day.
    pub key: String,
    /// Calls of every outcome.
    pub calls: u64,
    /// Sum of the known costs.
    pub cost_usd: Usd,
    /// Calls whose cost is known, those that cost nothing included: what `cost_usd` is the sum over.
    pub priced: u64,
    /// Tokens that those read and wrote.
    pub priced_tokens: u64,
    /// Calls that reached a provider and whose cost is unknown.
    pub unpriced: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Part of them read from the provider's cache.
    pub cache_read_input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Calls answered from the cache, without a provider.
    pub cached: u64,
    /// What those would have cost, as far as that is known.
    pub saved_usd: Usd,
    /// Sum of the known costs of the same group in the range before; zero when split by day.
    pub previous_cost_usd: Usd,
    /// Share of the total in parts per ten thousand, rounded down; 0 if nothing was spent.
    pub share_basis_points: i64,
}

/// One UTC day of spend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostDay {
    /// `2026-11-23`.
    pub day: String,
    /// Its midnight, UTC.
    pub at_us: i64,
    /// Calls of every outcome.
    pub calls: u64,
    /// Sum of the known costs.
    pub cost_usd: Usd,
    /// Calls whose cost is unknown.
    pub unpriced: u64,
}

/// Calls without a known cost that share what a price is looked up by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpricedRow {
    /// Provider that was called.
    pub provider: String,
    /// Model that answered, or else the one that the provider was asked for.
    pub model: String,
    /// Region of the provider, if one is configured.
    pub region: Option<String>,
    /// Tier of service, if the provider stated one.
    pub service_tier: Option<String>,
    /// Such calls.
    pub calls: u64,
    /// Those of them whose tokens nobody counted, so that no price would help: all or none, for the two stand apart.
    pub uncounted: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Why the newest of them has no cost. Entered by whoever knows prices, which a report does not.
    pub reason: Option<String>,
    /// The newest of them, as a price is looked up for it.
    #[serde(skip)]
    pub newest: Option<RecordedCall>,
}

/// Calls for which both the catalogue and the provider state a cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconciliationRow {
    /// The provider.
    pub provider: String,
    /// Such calls.
    pub calls: u64,
    /// Those of them for which the two differ.
    pub differing: u64,
    /// Sum by the catalogue.
    pub catalog_usd: Usd,
    /// Sum by the provider's own statements.
    pub provider_usd: Usd,
}

/// Calls whose cost was corrected after they were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrections {
    /// Such calls.
    pub calls: u64,
    /// Those of them that were recorded without a cost.
    pub priced_since: u64,
    /// Sum of what was recorded.
    pub recorded_usd: Usd,
    /// Sum of what counts now, which the other sums of the report hold.
    pub corrected_usd: Usd,
}

/// What a range cost, split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// The range.
    pub range: TimeRange,
    /// How it is split.
    pub group_by: CostGroup,
    /// Everything in the range.
    pub total: CostRow,
    /// Every group, most expensive first (by day: oldest first).
    pub rows: Vec<CostRow>,
    /// Day by day, oldest first, without holes.
    pub days: Vec<CostDay>,
    /// Calls without a known cost, most calls first, at most 50 lines.
    pub unpriced: Vec<UnpricedRow>,
    /// The catalogue's costs beside the providers' own, where both are known, by provider.
    pub reconciliation: Vec<ReconciliationRow>,
    /// What corrections changed.
    pub corrections: Corrections,
    /// What it was computed from.
    pub as_of: AsOf,
}

/// Values that occur in a range, for the choices of a filter. Each sorted, at most 200.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterValues {
    /// Teams.
    pub teams: Vec<String>,
    /// Models, requested and served.
    pub models: Vec<String>,
    /// Providers.
    pub providers: Vec<String>,
    /// Outcomes.
    pub outcomes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written() {
        let cursor = Cursor { started_at_us: 1_795_000_000_000_123, interaction_id: InteractionId::new(1, &[3; 10]) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("yesterday".parse::<Cursor>(), Err(ParseCursorError { text: "yesterday".to_owned() }));
    }

    #[test]
    fn a_series_never_has_more_steps_than_a_chart_shows() {
        for (hours, bucket) in [(1, Bucket::Minute), (24, Bucket::QuarterHour), (24 * 30, Bucket::SixHours)] {
            assert_eq!(Bucket::fitting(TimeRange::last(hours * 3_600_000_000, 1_795_000_000_000_000)), bucket);
        }
    }

    #[test]
    fn denied_calls_do_not_improve_the_error_rate() {
        let totals = Totals { calls: 10, denied: 5, failed: 1, ..Totals::default() };
        assert_eq!(totals.error_rate(), Some(0.2));
        assert_eq!(Totals::default().error_rate(), None);
    }
}
