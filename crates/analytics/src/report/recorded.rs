//! Calls as a price is looked up for them: who served what, where, in which tier, and what was used. It knows no prices.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tollgate_interaction::{InteractionId, Usage, Usd};

use super::rows::Answer;
use super::shape::TimeRange;
use crate::error::ReportError;
use crate::view::Reading;

const REPORT: &str = "recorded calls";

/// Labels of the gateway's own for what is used beside tokens, in the order of [`RecordedCall::beside`].
const BESIDE: [&str; 3] = ["audio_seconds", "images", "characters"];

/// A call that used something, and what it costs by the last word on it.
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
    /// What it costs: by the last correction, or as recorded; `None` if that is not known.
    pub cost_usd: Option<Usd>,
    /// Row of the catalogue that this is from, if it is from one.
    pub price_id: Option<String>,
}

/// The calls of `range` that used something, in no order, some thousand at a time.
pub fn recorded_calls(
    reading: &Reading,
    range: TimeRange,
) -> BoxStream<'static, Result<Vec<RecordedCall>, ReportError>> {
    // A stream takes no parameters; these are numbers of ours.
    let moment = |time_us: i64| format!("arrow_cast({time_us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
    let labelled = |label: &str| format!("get_field(tags, 'tollgate.{label}')");
    let beside = BESIDE.map(|label| format!("{} AS {label}", labelled(label))).join(", ");
    let has_beside = BESIDE.map(|label| format!("{} IS NOT NULL", labelled(label))).join(" OR ");
    let sql = format!(
        "SELECT interaction_id, started_at, tenant, team, provider, model_served, region, service_tier, \
         coalesce(get_field(array_element(attempts, -1), 'model'), \
                  substr(model_requested, strpos(model_requested, '/') + 1)) AS model_asked, \
         input_tokens, output_tokens, cache_read_input_tokens, cache_write_5m_input_tokens, \
         cache_write_1h_input_tokens, reasoning_output_tokens, audio_input_tokens, audio_output_tokens, \
         image_input_tokens, image_output_tokens, web_search_calls, other_tool_calls, cost_usd, price_id, {beside} \
         FROM costs WHERE started_at >= {} AND started_at < {} AND provider IS NOT NULL AND (input_tokens IS NOT NULL \
         OR output_tokens IS NOT NULL OR web_search_calls IS NOT NULL OR other_tool_calls IS NOT NULL OR {has_beside})",
        moment(range.from_us),
        moment(range.to_us)
    );
    reading.stream(REPORT, &sql).map(|batch| calls(&Answer::new(REPORT, vec![batch?]))).boxed()
}

fn calls(answer: &Answer) -> Result<Vec<RecordedCall>, ReportError> {
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
            cost_usd: costs[at],
            price_id: price_ids[at].clone(),
        });
    }
    Ok(calls)
}

/// Where a count goes.
type FieldOf = fn(&mut Usage) -> &mut Option<u64>;

fn usages(answer: &Answer) -> Result<Vec<Usage>, ReportError> {
    let columns: [(&str, FieldOf); 12] = [
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
    let mut usages: Vec<Usage> = Vec::new();
    for (name, field) in columns {
        let counts = answer.counts(name)?;
        usages.resize(counts.len(), Usage::default());
        for (usage, count) in usages.iter_mut().zip(counts) {
            *field(usage) = count;
        }
    }
    Ok(usages)
}
