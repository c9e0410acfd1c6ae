//! Turns what a provider or the gateway has to say into the response the caller gets. Headers that concern the connection,
//! or the operator's account, stay behind; the gateway's own say which record the call became.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tollgate_interaction::{Dialect, InteractionId, Usd};
use tollgate_provider::observe::StreamError;
use tollgate_provider::{ErrorShape, dialect, failure};

use crate::call::Call;
use tollgate_policy::decide::code::RATE_LIMITED;

use crate::error::{CallError, own};
use crate::media;
use crate::relay::Body;
use crate::settle::Settlement;
use crate::spending::LEDGER_UNAVAILABLE;
use crate::upstream::AnswerHead;

const INTERACTION_ID: HeaderName = HeaderName::from_static("x-tollgate-interaction-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-tollgate-provider");
const MODEL: HeaderName = HeaderName::from_static("x-tollgate-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");
const CACHE: HeaderName = HeaderName::from_static("x-tollgate-cache");
const COST: HeaderName = HeaderName::from_static("x-tollgate-cost-usd");
const DROPPED: HeaderName = HeaderName::from_static("x-tollgate-dropped");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that nearly every answer has and that end here.
static LEFT_BEHIND: [HeaderName; 3] = [header::CONTENT_LENGTH, header::DATE, header::TRANSFER_ENCODING];

/// Headers that few answers have and that end here too.
fn is_left_behind(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "server"
            | "set-cookie"
            | "alt-svc"
            | "openai-organization"
            | "anthropic-organization-id"
    )
}

/// Media type of an answer in `dialect`.
pub(crate) fn content_type(dialect: Dialect, is_stream: bool, events: bool) -> HeaderValue {
    match (is_stream, dialect) {
        (true, Dialect::Bedrock) => HeaderValue::from_static(media::AMAZON_EVENTS),
        (true, Dialect::Gemini) if !events => JSON,
        (true, _) => HeaderValue::from_static("text/event-stream; charset=utf-8"),
        (false, _) => JSON,
    }
}

/// An error of a provider that speaks another format than the caller, in the caller's.
pub(crate) fn reported(call: &Call, status: StatusCode, error: &StreamError) -> Bytes {
    let class = failure::classify_error(status.as_u16(), error);
    let shape = ErrorShape {
        code: error.code.clone().unwrap_or_else(|| class.to_owned()),
        message: error.message.clone(),
        // A field of a body that the caller did not send.
        param: None,
        kind: failure::kind_of(class),
        http_status: status.as_u16(),
        interaction_id: call.public_id.to_string(),
    };
    dialect::error_body(call.dialect, &shape).into()
}

/// Whether the body has an encoding that cannot be read in passing, although none was asked for.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The head of an answer by a provider, on the provider's own headers. `form` is the media type of a translated answer.
pub(crate) fn head(
    call: &Call,
    answer: AnswerHead,
    form: Option<HeaderValue>,
    settlement: Option<Settlement>,
) -> Response<()> {
    let AnswerHead { status, mut headers } = answer;
    if let Some(form) = form {
        headers.insert(header::CONTENT_TYPE, form);
    }
    for name in &LEFT_BEHIND {
        headers.remove(name);
    }
    while let Some(name) = headers.keys().find(|name| is_left_behind(name)).cloned() {
        headers.remove(name);
    }
    let attempts = settlement.map_or(call.record.attempts.len(), |settlement| settlement.attempts);
    mark(&mut headers, call, attempts);
    if let Some(cost) = settlement.and_then(|settlement| settlement.cost) {
        headers.insert(COST, cost_value(cost));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn mark(headers: &mut HeaderMap, call: &Call, attempts: usize) {
    headers.insert(INTERACTION_ID, id_value(call.public_id));
    if let Some(target) = &call.target {
        headers.insert(PROVIDER, target.provider.shown_as());
        if !target.model.is_empty() {
            headers.insert(MODEL, target.shown_as.clone());
        }
    }
    if attempts > 0 {
        headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    }
    if let Some(label) = call.cache_label {
        headers.insert(CACHE, label.header());
    }
    if let Some(dropped) = call.dropped.clone().or_else(|| dropped_value(&call.record.dropped)) {
        headers.insert(DROPPED, dropped);
    }
}

/// The first paths of what was left out, separated by commas; `None` if that is nothing. Names are the caller's, so a letter
/// that a header cannot hold, or a comma, is written as `?`; the row has all of them as they are.
pub(crate) fn dropped_value(paths: &[String]) -> Option<HeaderValue> {
    const MAX_PATHS: usize = 10;
    const MAX_PATH_CHARS: usize = 100;
    if paths.is_empty() {
        return None;
    }
    let plain = |letter: char| if (letter == ' ' || letter.is_ascii_graphic()) && letter != ',' { letter } else { '?' };
    let path = |path: &String| path.chars().take(MAX_PATH_CHARS).map(plain).collect::<String>();
    let mut listed = paths.iter().take(MAX_PATHS).map(path).collect::<Vec<_>>().join(", ");
    if paths.len() > MAX_PATHS {
        // In letters that every client reads.
        listed.push_str(", ...");
    }
    HeaderValue::try_from(listed).ok()
}

fn id_value(id: InteractionId) -> HeaderValue {
    let mut text = [0; 36];
    HeaderValue::from_str(id.write_into(&mut text)).unwrap_or(HeaderValue::from_static(""))
}

fn cost_value(cost: Usd) -> HeaderValue {
    HeaderValue::try_from(cost.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// The body of an error, in the caller's dialect.
pub(crate) fn error_body(dialect: Dialect, error: &CallError, id: Option<InteractionId>) -> Bytes {
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    dialect::error_body(dialect, &error.shape(id)).into()
}

/// The response to a call that ended in an error of the gateway's own.
pub(crate) fn refusal(call: &Call, error: &CallError, body: Bytes, attempts: usize) -> Response<Body> {
    let mut response = plain(error.status(), JSON, body);
    let headers = response.headers_mut();
    mark(headers, call, attempts);
    // Where each client library looks for the id that it shows with an error.
    let request_id = match call.dialect {
        Dialect::Openai | Dialect::Responses | Dialect::Gemini => HeaderName::from_static("x-request-id"),
        Dialect::Anthropic => HeaderName::from_static("request-id"),
        Dialect::Bedrock => HeaderName::from_static("x-amzn-requestid"),
    };
    headers.insert(request_id, id_value(call.public_id));
    if matches!(error, CallError::UpgradeRequired) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds(wait));
    }
    if matches!(error, CallError::Denied { code, .. } if *code != RATE_LIMITED && *code != LEDGER_UNAVAILABLE) {
        // Both official client libraries would otherwise try a 429 again, which a spent budget does not deserve.
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// Whole seconds, rounded up: `retry-after` knows no others (RFC 9110 §10.2.3).
pub(crate) fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1_000).min(u128::from(u32::MAX)) as u64)
}

/// The response to a request for the list of models.
pub(crate) fn listing(call: &Call, body: Bytes) -> Response<Body> {
    let mut response = plain(own::OK, JSON, body);
    response.headers_mut().insert(INTERACTION_ID, id_value(call.public_id));
    response
}

/// The response to a request that is no call.
pub(crate) fn no_call(dialect: Dialect, error: &CallError) -> Response<Body> {
    plain(error.status(), JSON, error_body(dialect, error, None))
}

/// A response of the gateway's own.
pub(crate) fn plain(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
