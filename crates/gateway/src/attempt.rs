//! Calls targets, one after the other, until one answers: bounded, and only as long as not a byte of an answer has been
//! seen. What a provider says about the request itself is final; what it says about itself is a reason to try the next.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use tollgate_interaction::{Candidate, Dialect, Operation};
use tollgate_policy::route::{Hedge, Retries};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_provider::chat;
use tollgate_provider::dialect::{self, Endpoint};
use tollgate_provider::sandbox::Sent;
use tollgate_provider::translate::{
    self, Address, OnUnsupported, Remedy, TranslateError, Translated, Unsupported, UnsupportedField,
};
use tollgate_provider::{RequestError, RequestHead, failure};

use crate::call::{Call, HeadError};
use crate::charge;
use crate::error::{CallError, UpstreamVerdict, is_unpaid};
use crate::health::Permit;
use crate::provider::Provider;
use crate::route::Target;
use crate::sandbox::Play;
use crate::settings::ProviderKind;
use crate::upstream::{self, AnswerHead, ExchangeError, Lease, Pool, Upstream};
use crate::{hedge, random};

/// Longest body of an error that is read. Providers' errors have a few hundred bytes.
const MAX_ERROR_BYTES: u64 = 1024 * 1024;

/// Why-not of a target that another call is just trying.
const RESTING: &str = "resting";

const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// What is sent, whoever it is sent to.
pub(crate) struct Outbound<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) verb: &'a Method,
    /// Of a body that is not JSON.
    pub(crate) content_type: Option<&'a HeaderValue>,
    pub(crate) body: Bytes,
    pub(crate) on_unsupported: OnUnsupported,
    pub(crate) passed_on: Vec<(&'a HeaderName, &'a HeaderValue)>,
    /// There if the call is a conversation over a WebSocket.
    pub(crate) upgrade: Option<Upgrade>,
}

/// What is asked of a provider that is to speak another protocol.
pub(crate) struct Upgrade {
    pub(crate) headers: HeaderMap,
    /// The caller's query, but for what names the model; each with `&` before it.
    pub(crate) query: String,
}

/// The caller's request as a translation reads it: once, however many targets are tried.
#[derive(Default)]
struct Reading(Option<Result<chat::Request, RequestError>>);

impl Reading {
    /// Whether a request to `endpoint` is a conversation as its own format has it: what else is translated is read together
    /// with what it is written for.
    fn serves(endpoint: &Endpoint) -> bool {
        endpoint.operation == Operation::Chat && !endpoint.is_invoke()
    }

    /// The request, to be written in a provider's words. Whoever `is_last` to ask gets it without a copy.
    fn take(&mut self, outbound: &Outbound<'_>, is_last: bool) -> Result<chat::Request, RequestError> {
        let endpoint = outbound.endpoint;
        let read = || translate::read(endpoint.dialect, &outbound.body, endpoint.address());
        let read = self.0.take().unwrap_or_else(read);
        if !is_last {
            self.0 = Some(read.clone());
        }
        read
    }
}

/// A request in the words of one target's provider.
pub(crate) struct Worded {
    pub(super) spoken: Dialect,
    path: Uri,
    body: Bytes,
    /// For the header `anthropic-beta`, where the body named them; else empty.
    betas: String,
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
    /// How long it wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

/// What may be called, and how.
pub(crate) struct Order<'a> {
    pub(crate) targets: &'a [Arc<Target>],
    /// Whether they are called although they rest.
    pub(crate) is_last_resort: bool,
    pub(crate) retries: Retries,
    pub(crate) hedge: Option<Hedge>,
    pub(crate) signals: &'a SignalsSnapshot,
}

/// How often, and until when, a target is still worth a try.
pub(crate) struct Again {
    /// From when on; `None` if another try would meet the same.
    at: Option<Instant>,
}

/// What goes on from one target to the next.
pub(crate) struct Progress {
    pub(super) last: Failure,
    reading: Reading,
    pub(super) attempts_left: usize,
    again: Vec<Again>,
    /// What the last target said of the request holds for every other.
    pub(super) is_final: bool,
}

/// Calls targets in order, and again after a pause where all have failed in a way that may pass. One that is passed over
/// because it cannot say what is asked is no attempt.
///
/// # Errors
/// The [`Failure`] of the last one tried.
pub(crate) async fn call_first(
    call: &mut Call,
    outbound: &Outbound<'_>,
    order: &Order<'_>,
) -> Result<AnswerHead, Failure> {
    let rounds = order.retries.max.saturating_add(1);
    let attempts = call.gateway.settings.limits.attempts.max(1);
    let mut progress = Progress {
        last: Failure::Own(CallError::out_of_time(order.targets.first(), call.waits.total)),
        reading: Reading::default(),
        attempts_left: attempts.saturating_mul(rounds as usize),
        again: order.targets.iter().map(|_| Again { at: Some(call.started) }).collect(),
        is_final: false,
    };
    for round in 0..rounds {
        if round > 0 && !pause(call.deadline(), order, &progress, round).await {
            break;
        }
        progress.attempts_left = progress.attempts_left.min(attempts.saturating_mul((rounds - round) as usize));
        let mut left_in_round = attempts.min(progress.attempts_left);
        let mut place = 0;
        while place < order.targets.len() && left_in_round > 0 && call.deadline() > Instant::now() {
            let before = progress.attempts_left;
            match one(call, outbound, order, place, &mut progress).await {
                Tried::Answered(head) => return Ok(head),
                Tried::Failed { places } => place += places,
            }
            left_in_round = left_in_round.saturating_sub(before - progress.attempts_left);
            if progress.is_final {
                return Err(progress.last);
            }
        }
    }
    Err(progress.last)
}

/// How a try went.
enum Tried {
    Answered(AnswerHead),
    /// So many targets are behind us.
    Failed {
        places: usize,
    },
}

/// Waits before the next round; false if there is nobody left to call, or no time.
async fn pause(deadline: Instant, order: &Order<'_>, progress: &Progress, round: u32) -> bool {
    let Some(soonest) = progress.again.iter().filter_map(|again| again.at).min() else { return false };
    let drawn = order.retries.longest_pause(round).mul_f64(random::share().to_f64());
    let until = (Instant::now() + drawn).max(soonest);
    // Whoever would have to wait longer than the call may take is told at once.
    if until >= deadline {
        return false;
    }
    tokio::time::sleep_until(until.into()).await;
    true
}

/// Calls the target at `place`, and perhaps further ones beside it.
async fn one(
    call: &mut Call,
    outbound: &Outbound<'_>,
    order: &Order<'_>,
    place: usize,
    progress: &mut Progress,
) -> Tried {
    let passed_over = Tried::Failed { places: 1 };
    let Some(target) = order.targets.get(place) else { return passed_over };
    if progress.again.get(place).and_then(|again| again.at).is_none_or(|at| at > Instant::now()) {
        return passed_over;
    }
    let Some(worded) = prepare(call, outbound, order, place, progress) else { return passed_over };
    let may_hedge = outbound.upgrade.is_none() && place + 1 < order.targets.len();
    if let Some(wait) = hedge::delay(order, target).filter(|_| may_hedge) {
        let places = hedge::race(call, outbound, order, (place, worded, wait), progress).await;
        return places.map_or_else(|places| Tried::Failed { places }, Tried::Answered);
    }
    let outcome = head_of(call, outbound, target, worded).await;
    match judge(call, order, place, outcome, progress).await {
        Some(head) => Tried::Answered(head),
        None => passed_over,
    }
}

/// Takes the right to call the target at `place`, words the request for it and begins the attempt; `None` if it is passed over.
pub(super) fn prepare(
    call: &mut Call,
    outbound: &Outbound<'_>,
    order: &Order<'_>,
    place: usize,
    progress: &mut Progress,
) -> Option<Worded> {
    let target = order.targets.get(place)?;
    let Some(permit) = Permit::take(target, call.now_us(), order.is_last_resort) else {
        // Another call has found out meanwhile, or is finding out just now.
        note_refusal(call, target, target.health.rest(call.now_us()).1.map_or(RESTING, |(why, _)| why.code()));
        if call.record.attempts.is_empty() {
            progress.last = Failure::Own(CallError::all_rest(&target.name));
        }
        return None;
    };
    let is_last = place + 1 == order.targets.len() && order.retries.max == 0;
    let worded = match word(call, outbound, &mut progress.reading, target, is_last) {
        Ok(worded) => worded,
        Err(error) => {
            // Another target's provider may be able to say it. What a provider that was called said is better news.
            note_refusal(call, target, error.code());
            if call.record.attempts.is_empty() {
                progress.last = Failure::Own(error);
            }
            if let Some(again) = progress.again.get_mut(place) {
                again.at = None;
            }
            return None;
        }
    };
    call.permit = Some(permit);
    call.begin_attempt(target, worded.spoken);
    progress.attempts_left = progress.attempts_left.saturating_sub(1);
    Some(worded)
}

/// What the outcome of the present attempt means: an answer, or a failure that goes into `progress`.
pub(super) async fn judge(
    call: &mut Call,
    order: &Order<'_>,
    place: usize,
    outcome: Result<AnswerHead, CallError>,
    progress: &mut Progress,
) -> Option<AnswerHead> {
    let target = order.targets.get(place)?;
    let (failure, is_final, wait) = match outcome {
        Ok(head) => match UpstreamVerdict::of(head.status) {
            UpstreamVerdict::Answered => {
                target.health.succeeded(call.now_us(), call.attempt_lasts());
                return Some(head);
            }
            verdict => refused(call, target, head, verdict).await,
        },
        Err(error) => {
            target.health.failed(call.now_us());
            call.note_attempt(None, Some(error.code()));
            call.lost = charge::of_silence(call, &error);
            (Failure::Own(error), false, Some(Duration::ZERO))
        }
    };
    call.forget_answer();
    call.permit = None;
    (progress.last, progress.is_final) = (failure, is_final);
    if let Some(again) = progress.again.get_mut(place) {
        again.at = wait.map(|wait| Instant::now() + wait);
    }
    None
}

/// Puts the request into the words of `target`'s provider: the caller's own bytes with the model's name in its place or, if
/// it speaks another format, a translation.
fn word(
    call: &mut Call,
    outbound: &Outbound<'_>,
    reading: &mut Reading,
    target: &Target,
    is_last: bool,
) -> Result<Worded, CallError> {
    let (operation, provider) = (call.record.operation, &target.provider);
    let Some(spoken) = provider.spoken(call.dialect, operation, &target.model) else {
        return Err(CallError::Internal);
    };
    // Of a target that was tried before.
    call.record.dropped.clear();
    if provider.embeds_in_its_own_words(operation) {
        return embeddings_at_vertex(call, outbound, target, spoken);
    }
    let method = outbound.endpoint.method_at(spoken, outbound.head.stream);
    let path = provider.path(spoken, &target.model, method, outbound.head.stream)?;
    if let Some(upgrade) = &outbound.upgrade {
        let path = format!("{path}{}", upgrade.query).parse().map_err(|_| CallError::Internal)?;
        return Ok(Worded { spoken, path, body: Bytes::new(), betas: String::new() });
    }
    if spoken == call.dialect {
        let body = if is_claude_on_vertex(provider, spoken) {
            for_vertex(&outbound.body, outbound.head, operation, &target.model)
        } else {
            dialect::forwarded(&outbound.body, outbound.head, &target.model, &provider.quirks)
        };
        return Ok(Worded { spoken, path, body, betas: String::new() });
    }
    let translated = if Reading::serves(outbound.endpoint) {
        let request = reading.take(outbound, is_last).map_err(TranslateError::from);
        request.and_then(|request| {
            let (quirks, caller) = (&provider.quirks, call.dialect);
            translate::write(quirks, caller, spoken, request, &target.model, outbound.on_unsupported)
        })
    } else {
        let (model, stream) = (&target.model, outbound.head.stream);
        translate::request_at(outbound.endpoint, spoken, &outbound.body, model, stream, outbound.on_unsupported)
    };
    match translated.and_then(|translated| Ok((translated, guardrails(outbound, spoken)?))) {
        Ok((Translated { body, mut dropped, betas }, guardrails)) => {
            dropped.extend(guardrails);
            call.record.dropped = dropped;
            let body =
                if is_claude_on_vertex(provider, spoken) { rewritten(&body, operation, &target.model)? } else { body };
            Ok(Worded { spoken, path, body, betas })
        }
        Err(error) => Err(untold(call, error, target)),
    }
}

/// Why a request was not put into the words of `target`'s provider.
fn untold(call: &Call, error: TranslateError, target: &Target) -> CallError {
    match error {
        TranslateError::Request(error) => CallError::Request(error),
        TranslateError::Unsupported(mut source) => {
            if call.record.route_id.is_none() && source.remedy == Remedy::Route {
                source.remedy = Remedy::Alias;
            }
            let (model, provider) = (target.model.clone(), target.provider.name.clone());
            CallError::Unsupported { model, provider, source }
        }
    }
}

/// A request for vectors in Vertex AI's words, which depend on the model and on how many texts there are.
fn embeddings_at_vertex(
    call: &mut Call,
    outbound: &Outbound<'_>,
    target: &Target,
    spoken: Dialect,
) -> Result<Worded, CallError> {
    let told = translate::vertex_embeddings(call.dialect, &outbound.body, &target.model, outbound.on_unsupported);
    let (Translated { body, dropped, betas }, method) = told.map_err(|error| untold(call, error, target))?;
    call.record.dropped = dropped;
    let path = target.provider.path(spoken, &target.model, method, false)?;
    Ok(Worded { spoken, path, body, betas })
}

/// Amazon's own guardrails, which a caller of InvokeModel asks for in headers and nobody else has: refused, or dropped by
/// name.
fn guardrails(outbound: &Outbound<'_>, spoken: Dialect) -> Result<Vec<String>, Unsupported> {
    let names = outbound.passed_on.iter().map(|(name, _)| name.as_str());
    let guardrails: Vec<String> =
        names.filter(|name| name.starts_with("x-amzn-bedrock-guardrail")).map(str::to_owned).collect();
    if guardrails.is_empty() || outbound.on_unsupported == OnUnsupported::Drop {
        return Ok(guardrails);
    }
    let what = "a guardrail of Amazon's".to_owned();
    let fields = guardrails.into_iter().map(|field| UnsupportedField { field, what: what.clone() }).collect();
    Err(Unsupported { fields, target: spoken, remedy: Remedy::default() })
}

/// Whether the path names the model of a request of the Messages API, which otherwise does itself.
fn is_claude_on_vertex(provider: &Provider, spoken: Dialect) -> bool {
    provider.kind == ProviderKind::Vertex && spoken == Dialect::Anthropic
}

/// A request of the Messages API, as Vertex AI wants it: only where tokens are counted does the body name the model.
fn for_vertex(body: &Bytes, head: &RequestHead, operation: Operation, model: &str) -> Bytes {
    match operation {
        Operation::CountTokens => dialect::for_vertex_count(body, head, model),
        _ => dialect::for_vertex(body, head),
    }
}

/// A request that the gateway has written, as Vertex AI wants it.
fn rewritten(body: &Bytes, operation: Operation, model: &str) -> Result<Bytes, CallError> {
    let head = dialect::parse_head(Dialect::Anthropic, operation, body).map_err(CallError::Request)?;
    Ok(for_vertex(body, &head, operation, model))
}

/// Says on the record why a target was passed over.
fn note_refusal(call: &mut Call, target: &Target, why: &str) {
    let is_it =
        |candidate: &&mut Candidate| candidate.provider == target.provider.name && candidate.model == target.model;
    if let Some(candidate) = call.record.candidates.iter_mut().find(is_it) {
        candidate.rejected_because = Some(why.to_owned());
    }
}

/// Sends the request to `target` and waits for the head of its answer.
async fn head_of(
    call: &mut Call,
    outbound: &Outbound<'_>,
    target: &Target,
    worded: Worded,
) -> Result<AnswerHead, CallError> {
    let Some(pool) = &target.provider.pool else {
        (call.upstream, call.is_sent) = (Some(play(outbound, target, &worded, call.now_us())), true);
        return head(call).await.map_err(of_head);
    };
    // Seldom enough to keep it out of every call's state, as is a new connection.
    let bearer =
        if target.provider.wants_token() { Box::pin(target.provider.bearer(call.now_us())).await? } else { None };
    if let Some(lease) = pool.idle() {
        let request = build(outbound, &target.provider, &worded, bearer.as_ref(), call.now_us());
        (call.upstream, call.is_sent) = (Some(Upstream::Http(lease.send(request))), true);
        match head(call).await {
            Err(HeadError::Stale) => {}
            answered => return answered.map_err(of_head),
        }
    }
    let wait = call.gateway.settings.timeouts.connect.min(call.deadline().saturating_duration_since(Instant::now()));
    let lease = Box::pin(connect(call.provider_name(), wait, pool)).await?;
    let request = build(outbound, &target.provider, &worded, bearer.as_ref(), call.now_us());
    (call.upstream, call.is_sent) = (Some(Upstream::Http(lease.send(request))), true);
    head(call).await.map_err(of_head)
}

/// Asks the sandbox.
pub(crate) fn play(outbound: &Outbound<'_>, target: &Target, worded: &Worded, now_us: i64) -> Upstream {
    let sent = Sent {
        dialect: worded.spoken,
        operation: outbound.endpoint.operation,
        verb: outbound.verb.as_str(),
        method: outbound.endpoint.method_at(worded.spoken, outbound.head.stream),
        address: Address { model: &target.model, stream: outbound.head.stream },
        content_type: outbound.content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default(),
        body: &worded.body,
    };
    Upstream::Sandbox(Play::start(&sent, random::number(), now_us))
}

async fn head(call: &mut Call) -> Result<AnswerHead, HeadError> {
    call.expect_within(call.waits.per_try);
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
pub(super) async fn connect(provider: String, wait: Duration, pool: &Arc<Pool>) -> Result<Lease, CallError> {
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

pub(super) fn build(
    outbound: &Outbound<'_>,
    provider: &Provider,
    worded: &Worded,
    bearer: Option<&HeaderValue>,
    now_us: i64,
) -> Request<Full<Bytes>> {
    let mut headers = provider.headers();
    if let Some(bearer) = bearer {
        headers.insert(header::AUTHORIZATION, bearer.clone());
    }
    for (name, value) in &outbound.passed_on {
        if is_meant_for(name.as_str(), provider, worded.spoken) {
            headers.insert((*name).clone(), (*value).clone());
        }
    }
    if let Some(content_type) = outbound.content_type {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    if let (false, Ok(betas)) = (worded.betas.is_empty(), HeaderValue::from_str(&worded.betas)) {
        headers.append(ANTHROPIC_BETA, betas);
    }
    provider.sign(&worded.path, &mut headers, &worded.body, now_us);
    if let Some(upgrade) = &outbound.upgrade {
        headers.remove(header::CONTENT_TYPE);
        headers.extend(upgrade.headers.clone());
    }
    upstream::request(outbound.verb.clone(), worded.path.clone(), headers, worded.body.clone())
}

/// Whether a header of the caller means something to a provider spoken to in the format `spoken`.
fn is_meant_for(name: &str, provider: &Provider, spoken: Dialect) -> bool {
    if name.starts_with("x-mock-") {
        return provider.is_local;
    }
    if name.starts_with("anthropic-") {
        return spoken == Dialect::Anthropic;
    }
    if name.starts_with("x-amzn-") {
        return spoken == Dialect::Bedrock;
    }
    !name.starts_with("openai-") || matches!(spoken, Dialect::Openai | Dialect::Responses)
}

/// Reads an answer that is not one, and says whether it is the last word and, if not, after what time another try may meet
/// something else; `None` if none will.
async fn refused(
    call: &mut Call,
    target: &Target,
    head: AnswerHead,
    verdict: UpstreamVerdict,
) -> (Failure, bool, Option<Duration>) {
    call.note_attempt(Some(head.status.as_u16()), None);
    call.is_refused = true;
    let body = error_body(call).await;
    call.lost = charge::of_refusal(call, &body);
    let amazons = head.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let class = failure::classify_named(head.status.as_u16(), amazons, &body);
    let class = if class.is_empty() { "upstream_error" } else { class };
    // Some say with a status of 400 that they do not know the gateway's key.
    let verdict = if class == failure::UNAUTHORIZED { UpstreamVerdict::Credentials } else { verdict };
    let status = head.status.as_u16();
    call.note_attempt(Some(status), Some(class));
    let now_us = call.now_us();
    let wait = wait(&head.headers, &body, now_us);
    match (verdict, wait) {
        (UpstreamVerdict::Throttled, wait) => target.health.throttled(now_us, wait),
        (UpstreamVerdict::TryNext, Some(wait)) if head.headers.contains_key(header::RETRY_AFTER) => {
            target.health.throttled(now_us, Some(wait));
        }
        (UpstreamVerdict::TryNext | UpstreamVerdict::Misled, _) => target.health.failed(now_us),
        (UpstreamVerdict::Credentials, _) => target.health.refused_credentials(now_us),
        (UpstreamVerdict::Refused | UpstreamVerdict::Answered, _) => {
            target.health.succeeded(now_us, call.attempt_lasts());
        }
    }
    let provider = call.provider_name();
    if verdict == UpstreamVerdict::Credentials {
        target.provider.was_not_recognised();
        tracing::error!(%provider, status, "provider `{provider}` refuses the gateway's credentials");
        return (Failure::Own(CallError::UpstreamCredentials { provider }), false, None);
    }
    if verdict == UpstreamVerdict::Misled {
        return (Failure::Own(CallError::UpstreamRedirect { provider, status: head.status.as_u16() }), false, None);
    }
    let is_final = verdict == UpstreamVerdict::Refused;
    let retry_after = wait.filter(|_| !is_final);
    // An empty account stays empty.
    let may_pass = !is_final && !is_unpaid(head.status);
    let again = may_pass.then(|| wait.unwrap_or(Duration::ZERO));
    if !is_readable(status, &body) {
        return (Failure::Own(CallError::UpstreamStatus { provider, status, retry_after }), is_final, again);
    }
    let theirs = TheirError { status: head.status, headers: head.headers, body, class, retry_after };
    (Failure::Theirs(theirs), is_final, again)
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
fn is_readable(http_status: u16, body: &[u8]) -> bool {
    failure::reported(http_status, body).is_some()
}

/// How long the provider wants to be left alone.
fn wait(headers: &HeaderMap, body: &[u8], now_us: i64) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let stated = failure::wait_by_headers_ms(text, now_us);
    stated.or_else(|| failure::wait_by_body_ms(body)).map(Duration::from_millis)
}
