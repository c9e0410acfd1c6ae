//! Calls targets, one after the other, until one answers: bounded, and only as long as not a byte of an answer has been
//! seen. What a provider says about the request itself is final; what it says about itself is a reason to try the next.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use tollgate_provider::{RequestHead, dialect, failure};

use crate::call::{Call, HeadError};
use crate::error::{CallError, UpstreamVerdict};
use crate::random;
use crate::route::{Provider, Target};
use crate::sandbox::Play;
use crate::upstream::{self, AnswerHead, ExchangeError, Lease, Pool, Upstream};

/// Longest body of an error that is read. Providers' errors have a few hundred bytes.
const MAX_ERROR_BYTES: u64 = 1024 * 1024;

/// What is sent, whoever it is sent to.
pub(crate) struct Outbound<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) body: Bytes,
    pub(crate) passed_on: Vec<(&'a HeaderName, &'a HeaderValue)>,
}

/// Why no target answered.
pub(crate) enum Failure {
    /// In the gateway's words.
    Own(CallError),
    /// In the provider's words, which the caller may read.
    Theirs(TheirError),
}

/// An error as a provider wrote it.
pub(crate) struct TheirError {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) class: &'static str,
}

/// Calls `targets` in order.
///
/// # Errors
/// The [`Failure`] of the last one tried.
pub(crate) async fn call_first(
    call: &mut Call,
    outbound: &Outbound<'_>,
    targets: &[Arc<Target>],
) -> Result<AnswerHead, Failure> {
    let mut last = Failure::Own(CallError::Internal);
    for target in targets.iter().take(call.gateway.settings.limits.attempts.max(1)) {
        call.begin_attempt(target);
        let (failure, is_final) = match head_of(call, outbound, target).await {
            Ok(head) => match UpstreamVerdict::of(head.status) {
                UpstreamVerdict::Answered => {
                    target.health.succeeded();
                    return Ok(head);
                }
                verdict => refused(call, target, head, verdict).await,
            },
            Err(error) => {
                target.health.failed(call.now_us());
                call.note_attempt(None, Some(error.code()));
                (Failure::Own(error), false)
            }
        };
        call.forget_answer();
        last = failure;
        if is_final {
            break;
        }
    }
    Err(last)
}

/// Sends the request to `target` and waits for the head of its answer.
async fn head_of(call: &mut Call, outbound: &Outbound<'_>, target: &Target) -> Result<AnswerHead, CallError> {
    let body = dialect::with_model(&outbound.body, outbound.head, &target.model);
    let Some(pool) = &target.provider.pool else {
        let (dialect, operation, now_us) = (call.record.dialect, call.record.operation, call.now_us());
        call.upstream = Some(Upstream::Sandbox(Play::start(dialect, operation, &body, random::number(), now_us)));
        return head(call).await.map_err(of_head);
    };
    if let Some(lease) = pool.idle() {
        let request = build(call, outbound, &target.provider, body.clone());
        call.upstream = Some(Upstream::Http(lease.send(request)));
        match head(call).await {
            Err(HeadError::Stale) => {}
            answered => return answered.map_err(of_head),
        }
    }
    // Seldom enough to keep it out of every call's state.
    let wait = call.gateway.settings.timeouts.connect;
    let lease = Box::pin(connect(call.provider_name(), wait, pool)).await?;
    call.upstream = Some(Upstream::Http(lease.send(build(call, outbound, &target.provider, body))));
    head(call).await.map_err(of_head)
}

async fn head(call: &mut Call) -> Result<AnswerHead, HeadError> {
    call.expect_within(call.gateway.settings.timeouts.first_byte);
    poll_fn(|cx| call.poll_head(cx)).await
}

fn of_head(error: HeadError) -> CallError {
    match error {
        HeadError::Call(error) => error,
        // A fresh connection is never stale.
        HeadError::Stale => CallError::Internal,
    }
}

/// A new connection, in time.
async fn connect(provider: String, wait: Duration, pool: &Arc<Pool>) -> Result<Lease, CallError> {
    match tokio::time::timeout(wait, pool.connect()).await {
        Ok(Ok(lease)) => Ok(lease),
        Ok(Err(error)) => {
            let cause = if let ExchangeError::Connect(cause) = &error { cause.to_string() } else { error.to_string() };
            tracing::warn!(%provider, %cause, "provider `{provider}` cannot be reached");
            Err(CallError::UpstreamUnreachable { provider })
        }
        Err(_) => {
            let (what, waited_ms, setting) = ("accept a connection", wait.as_millis(), "connect");
            Err(CallError::UpstreamTimeout { provider, what, waited_ms, setting })
        }
    }
}

fn build(call: &Call, outbound: &Outbound<'_>, provider: &Provider, body: Bytes) -> Request<Full<Bytes>> {
    let mut headers = provider.headers();
    for (name, value) in &outbound.passed_on {
        if provider.is_local || !name.as_str().starts_with("x-mock-") {
            headers.insert((*name).clone(), (*value).clone());
        }
    }
    upstream::request(provider.path(call.record.dialect, call.record.operation), headers, body)
}

/// Reads an answer that is not one, and says whether it is the last word.
async fn refused(call: &mut Call, target: &Target, head: AnswerHead, verdict: UpstreamVerdict) -> (Failure, bool) {
    let body = error_body(call).await;
    let class = failure::classify(head.status.as_u16(), &body);
    let class = if class.is_empty() { "upstream_error" } else { class };
    call.note_attempt(Some(head.status.as_u16()), Some(class));
    match verdict {
        UpstreamVerdict::Throttled => target.health.throttled(call.now_us(), retry_after(&head.headers)),
        UpstreamVerdict::TryNext | UpstreamVerdict::Credentials => target.health.failed(call.now_us()),
        UpstreamVerdict::Refused | UpstreamVerdict::Answered => target.health.succeeded(),
    }
    let provider = call.provider_name();
    if verdict == UpstreamVerdict::Credentials {
        tracing::error!(%provider, status = head.status.as_u16(), "provider `{provider}` refuses the gateway's credentials");
        return (Failure::Own(CallError::UpstreamCredentials { provider }), false);
    }
    let is_final = verdict == UpstreamVerdict::Refused;
    if !is_readable(&body) {
        return (Failure::Own(CallError::UpstreamStatus { provider, status: head.status.as_u16() }), is_final);
    }
    (Failure::Theirs(TheirError { status: head.status, headers: head.headers, body, class }), is_final)
}

async fn error_body(call: &mut Call) -> Bytes {
    while call.recording.received_bytes() < MAX_ERROR_BYTES {
        if !matches!(poll_fn(|cx| call.poll_chunk(cx)).await, Ok(Some(_))) {
            return call.recording.take();
        }
    }
    call.upstream = None;
    // Nothing a client library could read, then.
    Bytes::new()
}

/// Whether a client library of either dialect will find an error in it.
fn is_readable(body: &[u8]) -> bool {
    let starts = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    starts
        && memchr::memmem::find(body, b"\"error\"").is_some()
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// How long the provider wants to be left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    failure::retry_after_ms(text("retry-after-ms"), text("retry-after")).map(Duration::from_millis)
}
