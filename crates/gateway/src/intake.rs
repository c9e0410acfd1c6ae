//! What the caller sent around and in the request: headers the gateway acts on, headers it passes on, and the body. Sizes
//! and times are bounded here; what the body says is [`tollgate_provider::dialect`]'s.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body::Body;
use hyper::body::Incoming;

use crate::error::CallError;
use crate::patience::Patience;

/// Labels a caller can attach to one call.
const MAX_LABELS: usize = 32;
/// Longest conversation id and user name. In bytes.
const MAX_NAME_BYTES: usize = 256;
/// Names of labels that the gateway itself writes.
pub(crate) const OWN_LABELS: &str = "tollgate.";
/// First room for a body whose length the caller did not state.
const FIRST_ROOM_BYTES: usize = 16 * 1024;

/// The headers the gateway acts on.
#[derive(Debug, Default)]
pub(crate) struct Intake<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) conversation: Option<String>,
    /// Sorted by name, each name once.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) trace: Option<Trace>,
    /// Whether the caller waits to be asked for the body.
    pub(crate) expects_continue: bool,
    pub(crate) content_type: Option<&'a HeaderValue>,
    /// The provider for a call that names no model.
    pub(crate) provider: Option<&'a str>,
    /// To be passed on to the provider.
    pub(crate) passed_on: Vec<(&'a HeaderName, &'a HeaderValue)>,
}

/// The caller's place in a trace (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
}

/// Reads the headers in one pass.
///
/// # Errors
/// [`CallError`] if they are too many bytes together or one of the gateway's own does not make sense.
pub(crate) fn read_headers(headers: &HeaderMap, limit: usize) -> Result<Intake<'_>, CallError> {
    let mut intake = Intake::default();
    let mut bytes = 0;
    for (name, value) in headers {
        bytes += name.as_str().len() + value.len() + 4;
        match name.as_str() {
            "authorization" => intake.key = intake.key.or_else(|| bearer(value)),
            "x-api-key" | "x-goog-api-key" | "api-key" => {
                intake.key = value.to_str().ok().map(str::trim).filter(|key| !key.is_empty()).or(intake.key)
            }
            "content-type" => intake.content_type = Some(value),
            "expect" => intake.expects_continue = true,
            "traceparent" => {
                intake.trace = value.to_str().ok().and_then(Trace::parse);
                intake.passed_on.push((name, value));
            }
            "x-tollgate-provider" => intake.provider = Some(text("x-tollgate-provider", value)?),
            "x-tollgate-metadata" => intake.labels = labels(value)?,
            "x-tollgate-user" => intake.user = Some(text("x-tollgate-user", value)?),
            "x-tollgate-conversation" => {
                intake.conversation = Some(text("x-tollgate-conversation", value)?.to_owned());
            }
            name_text if is_passed_on(name_text) => intake.passed_on.push((name, value)),
            _ => {}
        }
    }
    if bytes > limit {
        return Err(CallError::HeadersTooLarge { bytes, limit });
    }
    Ok(intake)
}

/// The key in the query, where clients of Google's API put it. The query of these paths is read here and for `alt` only: it is
/// neither logged nor recorded nor sent on.
pub(crate) fn google_key(uri: &Uri) -> Option<&str> {
    let query = uri.query().filter(|_| uri.path().starts_with("/v1beta/"))?;
    query.split('&').find_map(|part| part.strip_prefix("key=")).filter(|key| !key.is_empty())
}

/// Whether a provider has a use for a header of the caller. A closed list: everything else, the caller's key first of all,
/// stays here. `x-mock-` steers scripted providers and goes to providers on this machine only.
fn is_passed_on(name: &str) -> bool {
    matches!(name, "tracestate" | "idempotency-key" | "x-client-request-id")
        || ["anthropic-version", "anthropic-beta", "openai-beta", "x-amzn-bedrock-", "x-mock-"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// The key in `authorization`: a bearer's, or what an Amazon client takes for its access key id. Such a client signs its
/// requests with a secret nobody here knows; the key alone says who calls, as a bearer's does.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let key = match scheme {
        "AWS4-HMAC-SHA256" => rest.split("Credential=").nth(1)?.split('/').next()?,
        _ if scheme.eq_ignore_ascii_case("bearer") => rest,
        _ => return None,
    };
    Some(key.trim()).filter(|key| !key.is_empty())
}

fn text<'a>(header: &'static str, value: &'a HeaderValue) -> Result<&'a str, CallError> {
    let text = std::str::from_utf8(value.as_bytes()).ok().map(str::trim);
    let expected = "send a text of 1 to 256 bytes";
    text.filter(|text| !text.is_empty() && text.len() <= MAX_NAME_BYTES).ok_or(CallError::Header { header, expected })
}

fn labels(value: &HeaderValue) -> Result<Vec<(String, String)>, CallError> {
    let refuse = |expected| CallError::Header { header: "x-tollgate-metadata", expected };
    let labels: BTreeMap<String, String> = serde_json::from_slice(value.as_bytes())
        .map_err(|_| refuse("send a JSON object whose values are strings, such as `{\"priority\":\"critical\"}`"))?;
    if labels.len() > MAX_LABELS {
        return Err(refuse("send at most 32 labels"));
    }
    if labels.keys().any(|name| name.is_empty() || name.starts_with(OWN_LABELS)) {
        return Err(refuse("a name may not be empty, and those that start with `tollgate.` are the gateway's own"));
    }
    Ok(labels.into_iter().collect())
}

impl Trace {
    /// Reads `00-<32 hex digits>-<16 hex digits>-<flags>`; anything else counts as absent, as the standard wants.
    fn parse(text: &str) -> Option<Trace> {
        let mut parts = text.trim().split('-');
        let (version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, digits: usize| {
            text.len() == digits
                && text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
                && text.bytes().any(|digit| digit != b'0')
        };
        let known = version.len() == 2 && version != "ff" && hex(trace_id, 32) && hex(span_id, 16);
        known.then(|| Trace { trace_id: trace_id.to_owned(), span_id: span_id.to_owned() })
    }
}

/// Reads the body whole. A body that came in one piece is not copied.
///
/// # Errors
/// [`CallError`] if it is longer than `limit`, slower than `patience` (which is `wait` long), or breaks off. `received` says how much had come.
pub(crate) async fn read_body(
    body: &mut Incoming,
    limit: usize,
    wait: Duration,
    mut patience: Patience,
    received: &mut u64,
) -> Result<Bytes, CallError> {
    let too_large = CallError::BodyTooLarge { limit };
    let stated = body.size_hint();
    if stated.lower() > limit as u64 {
        return Err(too_large);
    }
    let Some(first) = next_piece(body, &mut patience, wait).await? else { return Ok(Bytes::new()) };
    *received = first.len() as u64;
    if body.is_end_stream() && first.len() <= limit {
        return Ok(first);
    }
    let room = usize::try_from(stated.exact().unwrap_or(0))
        .unwrap_or(limit)
        .clamp(FIRST_ROOM_BYTES, limit.max(FIRST_ROOM_BYTES));
    let mut whole = BytesMut::with_capacity(room.max(first.len()));
    whole.extend_from_slice(&first);
    while let Some(piece) = next_piece(body, &mut patience, wait).await? {
        *received += piece.len() as u64;
        if whole.len() + piece.len() > limit {
            return Err(too_large);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn next_piece(body: &mut Incoming, patience: &mut Patience, wait: Duration) -> Result<Option<Bytes>, CallError> {
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(CallError::BodyBroken)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {
                    let waited_ms = wait.as_millis();
                    return patience.poll(cx).map(|()| Err(CallError::BodyTimeout { waited_ms }));
                }
            }
        }
    })
    .await
}

/// Reads and forgets the rest of the body of a refused request, so that a caller who sends before it reads gets to see
/// the refusal instead of a broken connection. Bounded: beyond `limit` or `wait` the connection breaks after all.
pub(crate) async fn discard_body(body: &mut Incoming, limit: usize, wait: Duration) -> u64 {
    let mut patience = Patience::new(wait);
    let mut discarded = 0;
    while discarded <= limit as u64 {
        match next_piece(body, &mut patience, wait).await {
            Ok(Some(piece)) => discarded += piece.len() as u64,
            Ok(None) | Err(_) => break,
        }
    }
    discarded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_each_client_library_puts_it() {
        let found = |text: &'static str| bearer(&HeaderValue::from_static(text)).map(str::to_owned);
        assert_eq!(found("Bearer tg-1"), Some("tg-1".to_owned()));
        assert_eq!(found("bearer  tg-1 "), Some("tg-1".to_owned()));
        let signed = "AWS4-HMAC-SHA256 Credential=tg-1/20261126/eu-central-1/bedrock/aws4_request, SignedHeaders=host, Signature=ab";
        assert_eq!(found(signed), Some("tg-1".to_owned()));
        assert_eq!(found("Basic dGc="), None);
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_key_is_read_from_either_header() {
        for lines in [[("authorization", "bearer tg-1")], [("x-api-key", "tg-1")]] {
            assert_eq!(read_headers(&headers(&lines), 1_000).unwrap().key, Some("tg-1"));
        }
        assert_eq!(read_headers(&headers(&[("authorization", "Basic tg-1")]), 1_000).unwrap().key, None);
    }

    #[test]
    fn labels_come_sorted_and_must_be_texts() {
        let sent = headers(&[("x-tollgate-metadata", r#"{"b":"2","a":"1"}"#)]);
        let labels = read_headers(&sent, 1_000).unwrap().labels;
        assert_eq!(labels, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        for wrong in [r#"{"a":1}"#, "[]", "{", r#"{"tollgate.x":"1"}"#] {
            let sent = headers(&[("x-tollgate-metadata", wrong)]);
            assert_eq!(read_headers(&sent, 1_000).unwrap_err().code(), "invalid_header", "{wrong}");
        }
    }

    #[test]
    fn the_callers_key_and_cookies_are_never_passed_on() {
        let sent = headers(&[
            ("authorization", "Bearer tg-1"),
            ("x-api-key", "tg-1"),
            ("cookie", "a"),
            ("anthropic-beta", "b"),
        ]);
        let names: Vec<_> =
            read_headers(&sent, 1_000).unwrap().passed_on.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["anthropic-beta"]);
    }

    #[test]
    fn a_malformed_traceparent_counts_as_absent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Trace::parse(good).unwrap().span_id, "00f067aa0ba902b7");
        for wrong in ["", "00-0-0-0", &good.to_uppercase(), &good.replace('4', "g"), &good.replacen("00", "ff", 1)] {
            assert_eq!(Trace::parse(wrong), None, "{wrong}");
        }
    }
}
