//! One request, stage by stage (section 3 of the design): who, what, may it, where, record, call, answer, settle. Each
//! stage is a module; this one only puts them in order, and sees to it that every error becomes an answer and a row.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tollgate_interaction::{Dialect, Operation, Outcome, Payload};
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_policy::decide::code::KEY_EXPIRED;
use tollgate_provider::Observer;
use tollgate_provider::dialect::{self, Endpoint};
use tollgate_provider::failure;
use tollgate_provider::translate::{self, AnswerStream, EditEvents};

use crate::answer::{self, is_encoded};
use crate::attempt::{self, Failure, Outbound, TheirError};
use crate::call::Call;
use crate::error::{CallError, own};
use crate::intake::{self, Intake};
use crate::patience::Patience;
use crate::relay::{Body, Form, Relay, Rewording};
use crate::settings::AckMode;
use crate::settle::{self, Ending, Settlement};
use crate::upstream::AnswerHead;
use crate::{Gateway, admission, auth, cache, came, dispatch, guard, media, shadow};

/// Body of a refused request that is read from callers who have not shown a valid key.
const DISCARD_FROM_STRANGERS_BYTES: usize = 1024 * 1024;
/// How long a refused caller may take to finish its body.
const DISCARD_WAIT: Duration = Duration::from_secs(10);

/// An answer, or one about to come.
enum Reply {
    Whole(Response<Body>),
    Relayed { head: Response<()>, form: Form, first: Bytes, rewording: Rewording },
}

/// Answers a request.
pub(crate) async fn conduct(
    gateway: &Arc<Gateway>,
    endpoint: Endpoint,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<Body> {
    let mut call = Call::of(gateway, &endpoint);
    call.peer = Some(peer);
    let (parts, mut body) = request.into_parts();
    let answered = match endpoint.operation {
        Operation::Models => Box::pin(list_models(&mut call, &endpoint.model, &parts)).await.map_err(Failure::Own),
        _ => run(&mut call, &endpoint, &parts, &mut body).await,
    };
    match answered {
        Ok(Reply::Whole(response)) => response,
        Ok(Reply::Relayed { head, form, first, rewording }) => {
            call.status_sent = Some(head.status().as_u16());
            head.map(|()| Body::relay(Relay::new(call, form, first, rewording)))
        }
        Err(Failure::Own(error)) => {
            if !matches!(error, CallError::BodyTimeout { .. } | CallError::BodyBroken) {
                Box::pin(discard(&mut call, &parts, &mut body)).await;
            }
            Box::pin(refuse(&mut call, error)).await
        }
        Err(Failure::Theirs(error)) => Box::pin(pass_on(&mut call, error)).await,
    }
}

async fn run(call: &mut Call, endpoint: &Endpoint, parts: &Parts, body: &mut Incoming) -> Result<Reply, Failure> {
    let gateway = Arc::clone(&call.gateway);
    let mut intake = read_headers(call, parts)?;
    let control = gateway.control.load_full();
    let principal = auth::principal(&gateway, &control, intake.key).await?;
    call.identify(&principal, intake.user);
    call.describe(&mut intake);
    auth::admit(call, &principal, &parts.headers)?;
    let body = read_body(call, body).await?;
    let known = Known {
        endpoint,
        verb: &parts.method,
        headers: &parts.headers,
        content_type: intake.content_type,
        passed_on: intake.passed_on,
        provider: intake.provider,
        control: &control,
        principal: &principal,
        is_aside: false,
    };
    serve(call, known, body).await
}

/// A request whose sender is known.
struct Known<'a> {
    endpoint: &'a Endpoint,
    verb: &'a Method,
    headers: &'a HeaderMap,
    content_type: Option<&'a HeaderValue>,
    passed_on: Vec<(&'a HeaderName, &'a HeaderValue)>,
    /// For a call that names no model.
    provider: Option<&'a str>,
    control: &'a Arc<ControlSnapshot>,
    principal: &'a Arc<Principal>,
    /// Whether the gateway makes it on the caller's behalf, with a model that its operator has named.
    is_aside: bool,
}

/// The stages of a call from its body on.
async fn serve(call: &mut Call, known: Known<'_>, body: Bytes) -> Result<Reply, Failure> {
    let Known { endpoint, control, principal, .. } = known;
    let operation = call.record.operation;
    let content_type = known.content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let head = dialect::parse(endpoint, content_type, &body).map_err(|error| {
        guard::unreadable(call, &control.bundle, principal);
        call.name_model(&dialect::model_of(endpoint, &body).unwrap_or_default());
        CallError::Request(error)
    })?;
    call.read(&head);
    if !known.is_aside {
        auth::admit_model(call, principal, &head.model)?;
    }
    let course = dispatch::course(call, control, principal, &head, &body, known.provider);
    let guarded = guard::input(call, &control.bundle, principal, (&head).into(), course.as_ref().ok(), body.clone());
    let (course, head, body) = match guarded.as_ptr() == body.as_ptr() {
        true => (course?, head, body),
        false => (course?, dialect::parse(endpoint, content_type, &guarded).map_err(CallError::Request)?, guarded),
    };
    let admitted = admission::admit(call, control, principal, &head, &course).await?;
    let ordered = dispatch::order(call, control, principal, &course, &admitted, &head)?;
    guard::consult(call).await?;
    if ordered.resolved.conduct.cache.is_some() {
        let (course, ordered, admitted, head) = (&course, &ordered, &admitted, &head);
        let (headers, passed_on, body) = (known.headers, known.passed_on.as_slice(), &body);
        let asked =
            cache::Asked { control, principal, course, ordered, admitted, head, endpoint, headers, passed_on, body };
        // Boxed: calls of other routes, which are most, need no room for it.
        if let Some(hit) = Box::pin(cache::look(call, &asked)).await {
            return Ok(again(call, &hit).await);
        }
    }
    call.open().await?;
    let outbound = Outbound {
        head: &head,
        endpoint,
        verb: known.verb,
        content_type: known.content_type.filter(|_| head.is_form() || operation == Operation::Files),
        body,
        on_unsupported: ordered.resolved.on_unsupported,
        passed_on: known.passed_on,
        upgrade: None,
    };
    call.shadow =
        shadow::prepare(call, &ordered, &dispatch::asking(call, control, principal, &admitted, &head), &outbound);
    let attempts = dispatch::attempts(call, &ordered, &admitted);
    let answer = attempt::call_first(call, &outbound, &attempts).await?;
    Ok(receive(call, &outbound, answer).await?)
}

/// Ends a call with an answer that was given before.
async fn again(call: &mut Call, hit: &cache::Hit) -> Reply {
    let cache::Replay { head, body, ending } = cache::replay(call, hit);
    let sent = match ending {
        Some(ending) => [body.as_ref(), ending.as_ref()].concat().into(),
        None => body.clone(),
    };
    let content_type = head.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let ending = Ending {
        outcome: Outcome::Cached,
        http_status: Some(head.status.as_u16()),
        error: None,
        observation: None,
        received_bytes: body.len() as u64,
        response: Payload { content_type: content_type.unwrap_or_default().to_owned(), body },
        sent_bytes: sent.len() as u64,
    };
    match settle_as_set(call, ending).await {
        Ok(settlement) => {
            let head = answer::head(call, head, None, Some(settlement));
            Reply::Whole(head.map(|()| Body::whole(sent)))
        }
        Err(lost) => Reply::Whole(unrecorded(call, &lost)),
    }
}

/// Makes a call on the behalf of another, of the same sender: it is decided, routed and recorded as any other. The answer;
/// `None` if it is not a good one.
pub(crate) fn ask_aside<'a>(
    mut call: Box<Call>,
    control: &'a Arc<ControlSnapshot>,
    principal: &'a Arc<Principal>,
    body: Bytes,
) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + 'a>> {
    Box::pin(async move {
        let endpoint = Endpoint::of_post("/v1/embeddings", "")?;
        let (headers, content_type) = (HeaderMap::new(), HeaderValue::from_static("application/json"));
        call.request.content_type = "application/json".to_owned();
        call.request.body = guard::without_secrets(&mut call, &body, "request");
        call.record.request_bytes = body.len() as u64;
        let known = Known {
            endpoint: &endpoint,
            verb: &Method::POST,
            headers: &headers,
            content_type: Some(&content_type),
            passed_on: Vec::new(),
            provider: None,
            control,
            principal,
            is_aside: true,
        };
        match serve(&mut call, known, body).await {
            Ok(Reply::Whole(response)) => {
                let is_good = response.status().is_success();
                response.into_body().into_whole().filter(|_| is_good)
            }
            Ok(Reply::Relayed { .. }) => None,
            Err(Failure::Own(error)) => {
                refuse(&mut call, error).await;
                None
            }
            Err(Failure::Theirs(error)) => {
                pass_on(&mut call, error).await;
                None
            }
        }
    })
}

pub(crate) fn read_headers<'a>(call: &mut Call, parts: &'a Parts) -> Result<Intake<'a>, CallError> {
    let mut intake = intake::read_headers(&parts.headers, call.gateway.settings.limits.header_bytes)?;
    intake.key = intake.key.or_else(|| intake::google_key(&parts.uri));
    Ok(intake)
}

async fn read_body(call: &mut Call, body: &mut Incoming) -> Result<Bytes, CallError> {
    let (limit, wait) = (call.gateway.settings.limits.request_bytes, call.gateway.settings.timeouts.request_body);
    let patience = Patience::since(call.started, wait);
    let read = intake::read_body(body, limit, wait, patience, &mut call.record.request_bytes).await;
    call.body_wait = call.started.elapsed();
    let read = read?;
    call.request.body = guard::without_secrets(call, &read, "request");
    Ok(read)
}

/// Takes the answer in, or prepares to pass it on while it comes.
async fn receive(call: &mut Call, outbound: &Outbound<'_>, answer: AnswerHead) -> Result<Reply, CallError> {
    let Outbound { head: request, endpoint, .. } = *outbound;
    let is_stream = call.begin_answer(&answer);
    if is_encoded(&answer.headers) {
        return Err(invalid(call, "uncompressed, as it was asked to be"));
    }
    let guarding = guard::begin(call, request, is_stream)?;
    if is_stream {
        let reworded = match guarding {
            guard::Answer::Untouched => {
                AnswerStream::new(endpoint, call.spoken, || call.asked(request, endpoint.events))
            }
            guard::Answer::Edited(editor) => {
                Some(AnswerStream::edited(endpoint, call.spoken, call.asked(request, endpoint.events), editor))
            }
            guard::Answer::Held(editor) => return held(call, outbound, answer, editor).await,
        };
        let media_type = reworded.is_some().then(|| answer::content_type(call.dialect, true, endpoint.events));
        let rewording = match reworded {
            Some(stream) => Rewording::Reword(Box::new(stream)),
            None if request.hides_usage() && asks_for_usage(call) => Rewording::hide_usage(),
            None if call.dialect == Dialect::Bedrock => Rewording::WholeFrames(Box::default()),
            None => Rewording::None,
        };
        let form = if endpoint.events { Form::Events } else { Form::Array };
        let head = answer::head(call, answer, media_type, None);
        call.note_head(&head);
        return Ok(Reply::Relayed { head, form, first: Bytes::new(), rewording });
    }
    // Who listens wants to hear the beginning before the end is there.
    let is_sound = call.is_opaque && endpoint.operation == Operation::Speech;
    if is_sound || !collect(call).await? {
        if call.is_translated() {
            return Err(invalid(call, "short enough to be translated"));
        }
        if call.is_guarded() && !is_sound {
            return Err(invalid(call, "short enough for the guardrails of this call"));
        }
        let first = Bytes::copy_from_slice(call.recording.as_slice());
        let head = answer::head(call, answer, None, None);
        call.note_head(&head);
        return Ok(Reply::Relayed { head, form: Form::Whole, first, rewording: Rewording::None });
    }
    whole(call, outbound, answer).await
}

/// Whether the provider was asked for the usage of a stream. Where it sends that anyway, the caller sees it as well.
fn asks_for_usage(call: &Call) -> bool {
    call.target.as_ref().is_none_or(|target| target.provider.quirks.asks_for_usage())
}

/// Ends a call whose answer has been read.
async fn whole(call: &mut Call, outbound: &Outbound<'_>, answer: AnswerHead) -> Result<Reply, CallError> {
    let observation = call.observation(true);
    if !observation.terminated && observation.error.is_none() {
        let came = came::described(&call.response_type, call.recording.as_slice());
        let (provider, expected) = (call.provider_name(), media::expected(call.record.operation));
        return Err(CallError::UpstreamInvalid { provider, expected, came });
    }
    let asked = call.is_translated().then(|| call.asked(outbound.head, outbound.endpoint.events));
    let media_type = asked.as_ref().map(|asked| answer::content_type(call.dialect, false, asked.events));
    let received = call.recording.take();
    let received = match guard::answer(call, received.clone()).await {
        Ok(received) => received,
        Err(error) => {
            // It is charged for all the same.
            call.recording.push(&received);
            return Err(error);
        }
    };
    let error = settle::class_of(&observation);
    let body = match (&asked, &observation.error) {
        (None, _) => received.clone(),
        (Some(_), Some(reported)) => answer::reported(call, answer.status, reported),
        (Some(asked), None) => match translate::answer_at(outbound.endpoint, call.spoken, &received, asked) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(provider = %call.provider_name(), %error, "an answer could not be translated");
                call.recording.push(&received);
                return Err(invalid(call, "what its format promises"));
            }
        },
    };
    let body = guard::restored(call, body);
    call.note_attempt(None, None);
    let ending = Ending {
        outcome: if error.is_some() { Outcome::Failed } else { Outcome::Success },
        http_status: Some(answer.status.as_u16()),
        error,
        observation: Some(observation),
        received_bytes: received.len() as u64,
        response: Payload { content_type: std::mem::take(&mut call.response_type), body: received },
        sent_bytes: body.len() as u64,
    };
    let settlement = match settle_as_set(call, ending).await {
        Ok(settlement) => settlement,
        Err(lost) => return Ok(Reply::Whole(unrecorded(call, &lost))),
    };
    let head = answer::head(call, answer, media_type, Some(settlement));
    Ok(told(call, head, body))
}

/// A whole answer of a call that is in the log.
fn told(call: &mut Call, head: Response<()>, body: Bytes) -> Reply {
    call.note_head(&head);
    call.note_sent(&body);
    call.keep_answer();
    Reply::Whole(head.map(|()| Body::whole(body)))
}

/// Reads the answer to its end; false if it is too long to be held back.
async fn collect(call: &mut Call) -> Result<bool, CallError> {
    let limits = &call.gateway.settings.limits;
    // What is to be translated cannot be passed on in pieces.
    let buffered = if call.is_translated() || call.is_guarded() { usize::MAX } else { limits.buffered_response_bytes };
    let limit = buffered.min(limits.recorded_response_bytes) as u64;
    while std::future::poll_fn(|cx| call.poll_chunk(cx)).await?.is_some() {
        if call.upstream.as_mut().is_none_or(crate::upstream::Upstream::is_done) {
            call.upstream = None;
            return Ok(true);
        }
        if call.recording.received_bytes() > limit {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends a call whose stream waits for its end, since a guardrail may yet block it. The caller gets all its events at once.
async fn held(
    call: &mut Call,
    outbound: &Outbound<'_>,
    answer: AnswerHead,
    editor: Box<dyn EditEvents>,
) -> Result<Reply, CallError> {
    let (endpoint, operation) = (outbound.endpoint, call.record.operation);
    if !collect(call).await? {
        return Err(invalid(call, "short enough for the guardrails of this call"));
    }
    let observation = call.observation(true);
    if !observation.terminated && observation.finish_reasons.is_empty() && observation.error.is_none() {
        return Err(CallError::UpstreamIncomplete { provider: call.provider_name() });
    }
    let received = call.recording.take();
    let asked = call.asked(outbound.head, endpoint.events);
    let body = match guard::held(call, endpoint, asked, editor, &received).await {
        Ok(body) => body,
        Err(error) => {
            // It is charged for all the same.
            let mut observer = Observer::new(call.spoken, operation, true);
            observer.push(&received);
            call.observer = Some(observer);
            return Err(error);
        }
    };
    call.note_attempt(None, None);
    let error = settle::class_of(&observation);
    let ending = Ending {
        outcome: if error.is_some() { Outcome::Failed } else { Outcome::Success },
        http_status: Some(answer.status.as_u16()),
        error,
        observation: Some(observation),
        received_bytes: received.len() as u64,
        response: Payload { content_type: std::mem::take(&mut call.response_type), body: received },
        sent_bytes: body.len() as u64,
    };
    let settlement = match settle_as_set(call, ending).await {
        Ok(settlement) => settlement,
        Err(lost) => return Ok(Reply::Whole(unrecorded(call, &lost))),
    };
    let media_type = answer::content_type(call.dialect, true, endpoint.events);
    let head = answer::head(call, answer, Some(media_type), Some(settlement));
    Ok(told(call, head, body))
}

fn invalid(call: &Call, expected: &'static str) -> CallError {
    CallError::UpstreamInvalid { provider: call.provider_name(), expected, came: String::new() }
}

async fn list_models(call: &mut Call, name: &str, parts: &Parts) -> Result<Reply, CallError> {
    let gateway = Arc::clone(&call.gateway);
    let mut intake = read_headers(call, parts)?;
    let control = gateway.control.load_full();
    let principal = auth::principal(&gateway, &control, intake.key).await?;
    call.identify(&principal, intake.user);
    call.describe(&mut intake);
    auth::admit(call, &principal, &parts.headers)?;
    if principal.expires_at_us.is_some_and(|expires_at_us| expires_at_us <= call.now_us()) {
        let message = "the key has expired; ask for a new one".to_owned();
        return Err(CallError::Denied { code: KEY_EXPIRED, message, retry_after: None });
    }
    let body = crate::endpoint::models(&gateway, &principal.limits, call.dialect, name)?;
    let ending = Ending {
        outcome: Outcome::Success,
        http_status: Some(own::OK.as_u16()),
        error: None,
        observation: None,
        response: Payload { content_type: "application/json".to_owned(), body: body.clone() },
        received_bytes: body.len() as u64,
        sent_bytes: body.len() as u64,
    };
    if let Err(lost) = settle_as_set(call, ending).await {
        return Ok(Reply::Whole(unrecorded(call, &lost)));
    }
    Ok(Reply::Whole(answer::listing(call, body)))
}

async fn settle_as_set(call: &mut Call, ending: Ending) -> Result<Settlement, CallError> {
    if call.ack == AckMode::Sync {
        return settle::settle_on_disk(call, ending).await;
    }
    settle::settle(call, ending)
}

/// Ends a call in an error of the gateway's own.
pub(crate) async fn refuse(call: &mut Call, error: CallError) -> Response<Body> {
    let body = answer::error_body(call.dialect, &error, Some(call.public_id));
    let mut ending = Ending::of_error(&error, Some(error.status().as_u16()), body.clone());
    if call.has_answer_head {
        // The answer that went wrong may have been paid for.
        call.note_attempt(None, error.of_provider());
        ending.observation = Some(call.observation(false));
        if matches!(error, CallError::UpstreamInvalid { .. }) && call.recording.received_bytes() > 0 {
            // As received, whatever it is: the caller's copy of the refusal says less than the row should.
            ending.received_bytes = call.recording.received_bytes();
            let content_type = std::mem::take(&mut call.response_type);
            ending.response = Payload { content_type, body: call.recording.take() };
        }
    }
    let settled = settle_as_set(call, ending).await;
    match (settled, &error) {
        (Ok(settlement), _) => answer::refusal(call, &error, body, settlement.attempts),
        (Err(_), CallError::LogUnavailable) => answer::refusal(call, &error, body, 0),
        (Err(lost), _) => unrecorded(call, &lost),
    }
}

/// Ends a call in the words of the provider.
pub(crate) async fn pass_on(call: &mut Call, error: TheirError) -> Response<Body> {
    let TheirError { status, mut headers, body: received, class, retry_after } = error;
    if let Some(wait) = retry_after.filter(|_| !headers.contains_key(http::header::RETRY_AFTER)) {
        // Said in the body, or in headers that only clients of this provider know.
        headers.insert(http::header::RETRY_AFTER, answer::seconds(wait));
    }
    let is_reworded = call.is_translated() || !failure::is_worded(call.dialect, &received);
    let reported = is_reworded.then(|| failure::reported(status.as_u16(), &received)).flatten();
    let (body, form) = match &reported {
        Some(reported) => {
            (answer::reported(call, status, reported), Some(answer::content_type(call.dialect, false, true)))
        }
        None => (received.clone(), None),
    };
    let message = format!("provider `{}` answered with status {}", call.provider_name(), status.as_u16());
    let ending = Ending {
        outcome: Outcome::Failed,
        http_status: Some(status.as_u16()),
        error: Some((class.to_owned(), message)),
        observation: None,
        received_bytes: received.len() as u64,
        response: Payload { content_type: "application/json".to_owned(), body: received },
        sent_bytes: body.len() as u64,
    };
    match settle_as_set(call, ending).await {
        Ok(settlement) => {
            let head = AnswerHead { status, headers };
            answer::head(call, head, form, Some(settlement)).map(|()| Body::whole(body))
        }
        Err(lost) => unrecorded(call, &lost),
    }
}

/// Fails closed: what cannot be recorded is not answered.
fn unrecorded(call: &Call, error: &CallError) -> Response<Body> {
    let body = answer::error_body(call.dialect, error, Some(call.public_id));
    answer::refusal(call, error, body, 0)
}

/// Reads what is left of a refused request's body and says on the record that it was not kept.
async fn discard(call: &mut Call, parts: &Parts, body: &mut Incoming) {
    if !call.request.body.is_empty() || call.is_opened || body.is_end_stream() {
        return;
    }
    if !parts.headers.contains_key(http::header::EXPECT) {
        let is_known = call.record.api_key_id.is_some();
        let limit = if is_known { call.gateway.settings.limits.discard_bytes } else { DISCARD_FROM_STRANGERS_BYTES };
        call.record.request_bytes += intake::discard_body(body, limit, DISCARD_WAIT).await;
    }
    let kept = format!("first 0 of {} bytes", call.record.request_bytes);
    settle::label(&mut call.record, "request_recorded", kept);
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure::Own(error)
    }
}
