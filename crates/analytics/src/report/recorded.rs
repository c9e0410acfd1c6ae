//! Calls as a price is looked up for them: who served what, where, in which tier, and what was used. It knows no prices.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Decimal128Type;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::Value;
use tollgate_interaction::{InteractionId, Usage, Usd};

use super::rows::{Answer, IN_RANGE, MODEL_ASKED, range_parameters};
use super::shape::{InteractionDetail, TimeRange};
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "recorded calls";

/// Labels of the gateway's own for what is used beside tokens, in the order of [`RecordedCall::beside`].
const BESIDE: [&str; 3] = ["audio_seconds", "images", "characters"];

/// A call, and what it costs by the last word on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    /// Its id.
    pub interaction_id: InteractionId,
    /// When it started. Microseconds since 1970, UTC.
    pub started_at_us: i64,
    /// Organisation of the key.
    pub tenant: String,
    /// Team of the key.
    pub team: String,
    /// Who answered.
    pub provider: String,
    /// The model that provider was asked for; the caller's word for it if nothing was tried.
    pub model_asked: String,
    /// As the provider reported it.
    pub model_served: Option<String>,
    /// Region of the provider.
    pub region: Option<String>,
    /// Tier of service that answered.
    pub service_tier: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// What was used beside tokens, as the record's own labels say: seconds of sound, pictures, characters.
    pub beside: [Option<String>; 3],
    /// What the attempts before the last cost, which is contained in its cost; `usage` is that of the last.
    pub earlier_usd: Usd,
    /// What it costs: by the last correction, or as recorded; `None` if that is not known.
    pub cost_usd: Option<Usd>,
    /// Row of the catalogue that this is from, if it is from one.
    pub price_id: Option<String>,
}

const COLUMNS: &str = "interaction_id, started_at, tenant, team, provider, model_served, region, service_tier, \
    input_tokens, output_tokens, cache_read_input_tokens, cache_write_5m_input_tokens, cache_write_1h_input_tokens, \
    reasoning_output_tokens, audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, \
    web_search_calls, other_tool_calls, cost_usd, price_id, attempts";

fn labelled(label: &str) -> String {
    format!("get_field(tags, 'tollgate.{label}')")
}

/// [`COLUMNS`], and one for each of [`BESIDE`].
fn columns() -> String {
    let beside = BESIDE.map(|label| format!("{} AS {label}", labelled(label)));
    format!("{COLUMNS}, {}", beside.join(", "))
}

/// The calls of `range` with these ids, in no order.
pub(super) async fn with_ids(
    reading: &Reading,
    range: TimeRange,
    ids: &[InteractionId],
) -> Result<Vec<RecordedCall>, ReportError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let sql = format!(
        "SELECT {}, {MODEL_ASKED} AS model_asked FROM costs WHERE {IN_RANGE} AND interaction_id IN ({})",
        columns(),
        ids.join(", ")
    );
    calls(reading.ask(REPORT, Profile::Needle, sql, range_parameters(range)).await?)
}

/// Operations for which providers ask nothing by themselves.
const FREE: [&str; 4] = ["moderations", "count_tokens", "files", "batches"];

impl InteractionDetail {
    /// Whether the call may have cost something and its cost is unknown: what `UNPRICED` counts.
    #[must_use]
    pub fn is_unpriced(&self) -> bool {
        let Some(recorded) = self.recorded() else { return false };
        recorded.cost_usd.is_none() && !self.is_free_of_charge()
    }

    /// Whether nobody counted what the call used, and it failed or is of a kind that costs nothing by itself.
    #[must_use]
    pub fn is_free_of_charge(&self) -> bool {
        let is_uncounted = self.columns.get("usage_source").and_then(Value::as_str) == Some("none");
        is_uncounted && (self.row.outcome == "failed" || FREE.contains(&self.row.operation.as_str()))
    }

    /// The call as a price is looked up for it; `None` if no provider was called.
    #[must_use]
    pub fn recorded(&self) -> Option<RecordedCall> {
        let text = |name: &str| self.columns.get(name).and_then(Value::as_str).map(str::to_owned);
        let row = &self.row;
        let without_provider = || row.model_requested.split_once('/').map_or(&*row.model_requested, |(_, model)| model);
        let mut usage = Usage::default();
        for (name, field) in USAGE {
            *field(&mut usage) = self.columns.get(name).and_then(Value::as_u64);
        }
        let tags = self.columns.get("tags");
        let correction = self.corrections.last();
        Some(RecordedCall {
            interaction_id: row.interaction_id,
            started_at_us: row.started_at_us,
            tenant: row.tenant.clone(),
            team: row.team.clone(),
            provider: row.provider.clone()?,
            model_asked: self.attempts.last().map_or_else(without_provider, |attempt| &attempt.model).to_owned(),
            model_served: row.model_served.clone(),
            region: text("region"),
            service_tier: text("service_tier"),
            usage,
            beside: BESIDE
                .map(|label| tags.and_then(|tags| tags.get(format!("tollgate.{label}"))?.as_str().map(str::to_owned))),
            earlier_usd: self.attempts.iter().rev().skip(1).filter_map(|attempt| attempt.cost_usd).sum(),
            cost_usd: correction.and_then(|correction| correction.new_cost_usd).or(row.cost_usd),
            price_id: correction.map(|correction| correction.price_id.clone()).or_else(|| text("price_id")),
        })
    }
}

/// The calls of `range` that used something, in no order, some thousand at a time.
pub fn recorded_calls(
    reading: &Reading,
    range: TimeRange,
) -> BoxStream<'static, Result<Vec<RecordedCall>, ReportError>> {
    // A stream takes no parameters; these are numbers of ours.
    let moment = |time_us: i64| format!("arrow_cast({time_us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
    let has_beside = BESIDE.map(|label| format!("{} IS NOT NULL", labelled(label))).join(" OR ");
    let sql = format!(
        "SELECT {}, {MODEL_ASKED} AS model_asked \
         FROM costs WHERE started_at >= {} AND started_at < {} AND provider IS NOT NULL AND (input_tokens IS NOT NULL \
         OR output_tokens IS NOT NULL OR web_search_calls IS NOT NULL OR other_tool_calls IS NOT NULL OR {has_beside})",
        columns(),
        moment(range.from_us),
        moment(range.to_us)
    );
    reading.stream(REPORT, &sql).map(|batch| calls(vec![batch?])).boxed()
}

/// What the attempts before the last cost, by row.
fn earlier(batch: &RecordBatch) -> Result<Vec<Usd>, ReportError> {
    let unusable = || ReportError::Column { report: REPORT, column: "attempts".to_owned() };
    let lists = batch.column_by_name("attempts").and_then(|column| column.as_list_opt::<i32>()).ok_or_else(unusable)?;
    let attempts = lists.values().as_struct_opt().ok_or_else(unusable)?;
    let costs = attempts.column_by_name("cost_usd").and_then(|column| column.as_primitive_opt::<Decimal128Type>());
    let costs = costs.ok_or_else(unusable)?;
    let row = |row: usize| -> Option<Usd> {
        let range = lists.offsets().get(row..row + 2).filter(|_| !lists.is_null(row))?;
        let (first, last) = (usize::try_from(range[0]).ok()?, usize::try_from(range[1]).ok()?);
        let known = (first..last.saturating_sub(1)).filter(|at| !costs.is_null(*at));
        Some(known.map(|at| Usd::new(costs.value(at))).sum())
    };
    Ok((0..lists.len()).map(|at| row(at).unwrap_or(Usd::ZERO)).collect())
}

fn calls(batches: Vec<RecordBatch>) -> Result<Vec<RecordedCall>, ReportError> {
    let earlier: Vec<Vec<Usd>> = batches.iter().map(earlier).collect::<Result<_, _>>()?;
    let earlier = earlier.concat();
    let answer = &Answer::new(REPORT, batches);
    let ids = answer.texts_or_empty("interaction_id")?;
    let started = answer.times_us("started_at")?;
    let (tenants, teams) = (answer.texts_or_empty("tenant")?, answer.texts_or_empty("team")?);
    let providers = answer.texts_or_empty("provider")?;
    let (asked, served) = (answer.texts_or_empty("model_asked")?, answer.texts("model_served")?);
    let (regions, tiers) = (answer.texts("region")?, answer.texts("service_tier")?);
    let usages = usages(answer)?;
    let [seconds, images, characters] = BESIDE.map(|label| answer.texts(label));
    let (seconds, images, characters) = (seconds?, images?, characters?);
    let (costs, price_ids) = (answer.dollars("cost_usd")?, answer.texts("price_id")?);
    let unusable = |_| ReportError::Column { report: REPORT, column: "interaction_id".to_owned() };
    let mut calls = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        calls.push(RecordedCall {
            interaction_id: id.parse().map_err(unusable)?,
            started_at_us: started[at],
            tenant: tenants[at].clone(),
            team: teams[at].clone(),
            provider: providers[at].clone(),
            model_asked: asked[at].clone(),
            model_served: served[at].clone(),
            region: regions[at].clone(),
            service_tier: tiers[at].clone(),
            usage: usages[at],
            beside: [seconds[at].clone(), images[at].clone(), characters[at].clone()],
            earlier_usd: earlier[at],
            cost_usd: costs[at],
            price_id: price_ids[at].clone(),
        });
    }
    Ok(calls)
}

/// Where a count goes.
type FieldOf = fn(&mut Usage) -> &mut Option<u64>;

/// Columns of what was used.
const USAGE: [(&str, FieldOf); 12] = [
    ("input_tokens", |usage| &mut usage.input_tokens),
    ("output_tokens", |usage| &mut usage.output_tokens),
    ("cache_read_input_tokens", |usage| &mut usage.cache_read_input_tokens),
    ("cache_write_5m_input_tokens", |usage| &mut usage.cache_write_5m_input_tokens),
    ("cache_write_1h_input_tokens", |usage| &mut usage.cache_write_1h_input_tokens),
    ("reasoning_output_tokens", |usage| &mut usage.reasoning_output_tokens),
    ("audio_input_tokens", |usage| &mut usage.audio_input_tokens),
    ("audio_output_tokens", |usage| &mut usage.audio_output_tokens),
    ("image_input_tokens", |usage| &mut usage.image_input_tokens),
    ("image_output_tokens", |usage| &mut usage.image_output_tokens),
    ("web_search_calls", |usage| &mut usage.web_search_calls),
    ("other_tool_calls", |usage| &mut usage.other_tool_calls),
];

fn usages(answer: &Answer) -> Result<Vec<Usage>, ReportError> {
    let mut usages: Vec<Usage> = Vec::new();
    for (name, field) in USAGE {
        let counts = answer.counts(name)?;
        usages.resize(counts.len(), Usage::default());
        for (usage, count) in usages.iter_mut().zip(counts) {
            *field(usage) = count;
        }
    }
    Ok(usages)
}
