//! `/interactions/{id}`: one call, whole. The decision and why, what was tried and when, tokens and cost, and, for those
//! who may read it, what was said.

mod translation;
mod usage;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Html;
use serde_json::{Map, Value};
use tollgate_analytics::report::{
    AttemptView, Body, CandidateView, CorrectionView, InteractionDetail, InteractionRow, Message, ReasonView,
};
use tollgate_interaction::{CacheKind, InteractionId, Usd};
use tollgate_metastore::Permission;

use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::format::{self, UNKNOWN};
use crate::params::Params;
use crate::shell::Shell;
use crate::state::ConsoleState;
use crate::unpriced::Why;
use translation::Translation;
use usage::TokenLine;

/// Answers `GET /interactions/{id}`.
///
/// # Errors
/// `interaction_not_found` for an id that is not in the log; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let detail = find(&state, &reader, &id).await?;
    if reader.may(Permission::ReadContent) {
        let id = detail.row.interaction_id.to_string();
        state.record_access(&reader, "view", id, purpose(&headers, &params), Some(1)).await?;
    }
    let unpriced = if detail.is_unpriced() { detail.recorded() } else { None };
    let why = unpriced.map(|call| state.explainer().why(&call));
    let page = InteractionPage::new(reader.shell(&state, "Interaction", "/interactions"), detail, why);
    Ok(Html(page.render()?))
}

/// The call with this id, as far as it exists for the reader.
///
/// # Errors
/// `interaction_not_found` if there is none, or the text is not an id.
pub async fn find(state: &ConsoleState, reader: &Reader, id: &str) -> Result<InteractionDetail, ConsoleError> {
    let not_found = || ConsoleError::NoSuchCall { id: id.chars().take(64).collect() };
    let parsed: InteractionId = id.parse().map_err(|_| not_found())?;
    reader.ledger(state).interaction(parsed).await?.ok_or_else(not_found)
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/interaction.html")]
pub struct InteractionPage {
    shell: Shell,
    row: InteractionRow,
    /// What it costs by the last word on it.
    cost: Option<Usd>,
    cost_note: String,
    cost_exact: String,
    /// Why there is none.
    why: Option<Why>,
    usage_note: String,
    counted_by: &'static str,
    provider_cost: Option<String>,
    translation: Option<Translation>,
    answer_note: String,
    error_message: Option<String>,
    stamp: (&'static str, &'static str),
    reasons: Vec<ReasonView>,
    decision_facts: Vec<Fact>,
    candidates: Vec<CandidateLine>,
    timeline: Vec<Step>,
    tokens: Vec<TokenLine>,
    entry: Vec<Fact>,
    tags: Vec<(String, String)>,
    corrections: Vec<CorrectionView>,
    hot: bool,
    messages: Vec<Message>,
    no_messages: &'static str,
    bodies: Vec<RawBody>,
}

#[derive(Debug)]
struct Fact {
    name: &'static str,
    value: String,
    mono: bool,
    href: Option<String>,
}

#[derive(Debug)]
struct CandidateLine {
    target: String,
    class: &'static str,
    note: String,
}

#[derive(Debug)]
struct Step {
    label: String,
    note: String,
    is_bad: bool,
    track: String,
    took: String,
}

#[derive(Debug)]
struct RawBody {
    id: &'static str,
    title: &'static str,
    content_type: String,
    size_bytes: u64,
    text: String,
    is_cut: bool,
    href: String,
}

/// Class and words of the stamp on a decision.
fn stamp(detail: &InteractionDetail) -> (&'static str, &'static str) {
    match detail.row.decision.as_str() {
        "deny" => ("deny", "Denied"),
        // The call ended before a rule was asked, so nothing was allowed either.
        _ if detail.reasons.is_empty() => ("none", "Not asked"),
        _ => ("allow", "Allowed"),
    }
}

impl InteractionPage {
    /// Words `detail` for people; `why` says why it has no cost. Content is left out unless the shell says that the reader
    /// may see it.
    #[must_use]
    pub fn new(shell: Shell, detail: InteractionDetail, why: Option<Why>) -> Self {
        let columns = &detail.columns;
        let row = &detail.row;
        let may_read = shell.may_read_content;
        InteractionPage {
            cost: detail.corrections.last().and_then(|last| last.new_cost_usd).or(row.cost_usd),
            cost_note: usage::cost_note(&detail, why.as_ref()),
            cost_exact: row.cost_usd.map_or_else(|| UNKNOWN.to_owned(), format::exact),
            why,
            usage_note: if row.stream { "streamed" } else { "in one piece" }.to_owned(),
            counted_by: usage::counted_by(text(columns, "usage_source").as_deref()),
            provider_cost: usage::provider_cost(columns).map(format::exact),
            translation: Translation::of(columns),
            answer_note: answer_note(row, columns),
            error_message: text(columns, "error_message"),
            stamp: stamp(&detail),
            decision_facts: decision_facts(columns),
            candidates: candidates(&detail),
            timeline: timeline(&detail),
            tokens: usage::tokens(row, columns),
            entry: entry(row, columns),
            bodies: if may_read { bodies(&detail) } else { Vec::new() },
            no_messages: no_messages(&detail),
            messages: if may_read { detail.messages } else { Vec::new() },
            reasons: detail.reasons,
            tags: detail.tags,
            corrections: detail.corrections,
            hot: detail.hot,
            row: detail.row,
            shell,
        }
    }
}

/// A column as text; `None` for NULL.
fn text(columns: &Map<String, Value>, name: &str) -> Option<String> {
    match columns.get(name)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn number(columns: &Map<String, Value>, name: &str) -> Option<u64> {
    columns.get(name)?.as_u64()
}

fn answer_note(row: &InteractionRow, columns: &Map<String, Value>) -> String {
    if let Some(code) = &row.error_type {
        return code.clone();
    }
    let reasons = columns.get("finish_reasons").and_then(Value::as_array);
    let reasons: Vec<&str> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    if reasons.is_empty() { row.operation.clone() } else { format!("finished: {}", reasons.join(", ")) }
}

fn fact(name: &'static str, value: Option<String>) -> Option<Fact> {
    value.map(|value| Fact { name, value, mono: true, href: None })
}

fn decision_facts(columns: &Map<String, Value>) -> Vec<Fact> {
    [
        fact("Policy bundle", text(columns, "policy_bundle_hash")),
        fact("Signals", text(columns, "signals_id")),
        fact("Alias", text(columns, "route_id")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn candidates(detail: &InteractionDetail) -> Vec<CandidateLine> {
    detail.candidates.iter().map(|candidate| candidate_line(detail, candidate)).collect()
}

fn candidate_line(detail: &InteractionDetail, candidate: &CandidateView) -> CandidateLine {
    let is_same = |attempt: &&AttemptView| attempt.provider == candidate.provider && attempt.model == candidate.model;
    let last_try = detail.attempts.iter().rev().find(is_same);
    let (class, note) = match (last_try, &candidate.rejected_because) {
        (Some(AttemptView { error_class: Some(error), .. }), _) => ("tried", format!("tried: {error}")),
        (Some(_), _) => ("chosen", "answered".to_owned()),
        (None, Some(why)) => ("rejected", why.clone()),
        (None, None) if crate::pages::call::was_interrupted(&detail.row) => {
            ("ready", "not known to have been called".to_owned())
        }
        (None, None) => ("ready", "stood ready".to_owned()),
    };
    CandidateLine { target: format!("{}/{}", candidate.provider, candidate.model), class, note }
}

/// A bar from `start` to `end` (shares of the call), with a mark.
fn track(start: f64, end: f64, class: &str) -> String {
    let (x, width) = (start.clamp(0.0, 1.0) * 100.0, (end - start).clamp(0.0, 1.0) * 100.0);
    let width = width.max(0.4);
    format!(
        r#"<svg class="lane" aria-hidden="true"><line class="grid" x1="0" x2="100%" y1="50%" y2="50%"/><rect class="{class}" x="{x:.2}%" y="25%" width="{width:.2}%" height="50%"/></svg>"#
    )
}

fn timeline(detail: &InteractionDetail) -> Vec<Step> {
    let row = &detail.row;
    let whole = row.latency_us.max(1) as f64;
    let mut steps = Vec::new();
    if let Some(overhead_us) = number(&detail.columns, "gateway_overhead_us") {
        steps.push(Step {
            label: "Gateway".to_owned(),
            note: "read, decide, route, record".to_owned(),
            is_bad: false,
            track: track(0.0, overhead_us as f64 / whole, "t-rest"),
            took: format::duration_us(overhead_us),
        });
    }
    for (index, attempt) in detail.attempts.iter().enumerate() {
        steps.push(attempt_step(index, attempt, row, whole));
    }
    if let Some(ttft_us) = row.ttft_us {
        let at = ttft_us as f64 / whole;
        steps.push(Step {
            label: "First content".to_owned(),
            note: String::new(),
            is_bad: false,
            track: track(at, at, "t-2"),
            took: format::duration_us(ttft_us),
        });
    }
    if let Some(left_us) = left_after_us(&detail.tags) {
        let at = left_us as f64 / whole;
        steps.push(Step {
            label: "Caller left".to_owned(),
            note: "the answer was read on, so that its tokens are the provider's own count".to_owned(),
            is_bad: false,
            track: track(at, at, "t-bad"),
            took: format::duration_us(left_us),
        });
    }
    steps
}

/// When the caller left a call whose answer was read on: the gateway labels it so, in whole milliseconds.
fn left_after_us(tags: &[(String, String)]) -> Option<u64> {
    let (_, after_ms) = tags.iter().find(|(name, _)| name == "tollgate.caller_left_after_ms")?;
    after_ms.parse::<u64>().ok()?.checked_mul(1_000)
}

fn attempt_step(index: usize, attempt: &AttemptView, row: &InteractionRow, whole: f64) -> Step {
    let started_us = attempt.started_at.as_deref().and_then(parse_us).unwrap_or(row.started_at_us);
    let start = (started_us - row.started_at_us).max(0) as f64 / whole;
    let length = attempt.duration_us.unwrap_or(0) as f64 / whole;
    let is_bad = attempt.error_class.is_some();
    let status = attempt.http_status.map(|status| status.to_string());
    let note = match (&attempt.error_class, status) {
        (Some(class), Some(status)) => format!("{class}, {status}"),
        (Some(class), None) => class.clone(),
        (None, Some(status)) => format!("{status}, {}", attempt.model),
        (None, None) => attempt.model.clone(),
    };
    Step {
        label: format!("{}. {}", index + 1, attempt.provider),
        note,
        is_bad,
        track: track(start, start + length, if is_bad { "t-bad" } else { "t-good" }),
        took: format::duration_us_or_unknown(attempt.duration_us),
    }
}

/// Microseconds since 1970 of an ISO 8601 text; a text without a zone is UTC.
fn parse_us(text: &str) -> Option<i64> {
    let zoned = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
    zoned.ok().or_else(|| text.parse::<chrono::NaiveDateTime>().ok().map(|time| time.and_utc().timestamp_micros()))
}

fn entry(row: &InteractionRow, columns: &Map<String, Value>) -> Vec<Fact> {
    let place = match (text(columns, "writer"), number(columns, "epoch"), number(columns, "seq")) {
        (Some(writer), Some(epoch), Some(seq)) => Some(format!("{writer} / {epoch} / {seq}")),
        _ => None,
    };
    let plain = |name, value: Option<String>| value.map(|value| Fact { name, value, mono: false, href: None });
    let linked = |name, value: Option<String>, by: &str| {
        value.map(|value| {
            let href = Some(format!("/interactions?range=30d{}", crate::range::parameter(by, &value)));
            Fact { name, value, mono: by != "team", href }
        })
    };
    [
        fact("Place in the log", place),
        fact("Started", Some(format!("{} UTC", format::timestamp(row.started_at_us)))),
        linked("Team", (!row.team.is_empty()).then(|| row.team.clone()), "team"),
        plain("Project", row.project.clone()),
        plain("Tenant", Some(row.tenant.clone()).filter(|tenant| !tenant.is_empty())),
        linked("Key", row.api_key_id.clone(), "key"),
        linked("Conversation", text(columns, "conversation_id"), "conversation"),
        fact("End user", text(columns, "user_ref")),
        plain("Source", text(columns, "source")),
        plain("Format", text(columns, "dialect").map(|dialect| translation::format_name(&dialect).to_owned())),
        plain("Model asked for", Some(row.model_requested.clone()).filter(|model| !model.is_empty())),
        plain("Provider", row.provider.clone()),
        plain("Answered from", cached(columns)),
        first_given(columns),
        plain("Saved", text(columns, "cost_saved_usd").and_then(|saved| saved.parse::<Usd>().ok()).map(format::exact)),
        plain("Region", text(columns, "region")),
        plain("Tier of service", text(columns, "service_tier")),
        fact("Price", text(columns, "price_id")),
        fact("Trace", text(columns, "trace_id")),
        fact("Commitment", text(columns, "record_commitment")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How the call was answered without a provider, if it was.
fn cached(columns: &Map<String, Value>) -> Option<String> {
    let kind = text(columns, "cache_kind")?;
    let similarity = text(columns, "cache_similarity").and_then(|text| text.parse::<f64>().ok());
    Some(match (CacheKind::from_text(&kind), similarity) {
        (Some(CacheKind::Semantic), Some(similarity)) => {
            format!("the cache: the question was {similarity} near to another")
        }
        (Some(CacheKind::Semantic), None) => "the cache: the question was near to another".to_owned(),
        (Some(CacheKind::Exact), _) => "the cache: the same had been asked".to_owned(),
        (None, _) => format!("the cache ({kind})"),
    })
}

/// The call whose answer was given again.
fn first_given(columns: &Map<String, Value>) -> Option<Fact> {
    let id = text(columns, "cached_from")?;
    let href = Some(format!("/interactions/{id}"));
    Some(Fact { name: "First given to", value: id, mono: true, href })
}

fn no_messages(detail: &InteractionDetail) -> &'static str {
    match detail.request {
        Some(_) => "The bytes below could not be read as a conversation.",
        None => "What was said is not kept, or no longer.",
    }
}

fn bodies(detail: &InteractionDetail) -> Vec<RawBody> {
    let id = detail.row.interaction_id;
    let body = |element: &'static str, title, part, body: &Option<Body>| {
        body.as_ref().map(|body| raw_body(element, title, format!("/api/v1/interactions/{id}/{part}"), body))
    };
    [
        body("raw-request", "Request", "request", &detail.request),
        body("raw-response", "Response", "response", &detail.response),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn raw_body(id: &'static str, title: &'static str, href: String, body: &Body) -> RawBody {
    /// More than this is downloaded, not shown.
    const SHOWN_BYTES: usize = 256 * 1024;
    let shown = &body.bytes[..body.bytes.len().min(SHOWN_BYTES)];
    RawBody {
        id,
        title,
        content_type: if body.content_type.is_empty() { "no media type".to_owned() } else { body.content_type.clone() },
        size_bytes: body.size_bytes,
        text: String::from_utf8_lossy(shown).into_owned(),
        is_cut: body.bytes.len() > SHOWN_BYTES,
        href,
    }
}
