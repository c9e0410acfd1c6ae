//! Conversations over a WebSocket (`GET /v1/realtime`). They are admitted, routed and recorded like any call; once a provider
//! has agreed to one, its handshake is the caller's answer and the two connections become one ([`session`]). The proof that
//! the provider understood is passed back as it is, so it is the caller who checks it. No extension of the protocol is passed
//! on: frames could not be read in passing if they were compressed.

mod session;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tollgate_interaction::{Dialect, Operation, Payload};
use tollgate_provider::dialect::{self, Endpoint};
use tollgate_provider::translate::Address;

use crate::attempt::{self, Failure, Outbound, Upgrade};
use crate::call::Call;
use crate::error::{CallError, own};
use crate::intake::Intake;
use crate::listener::Place;
use crate::relay::Body;
use crate::upstream::{AnswerHead, Switched, Upstream};
use crate::{Gateway, admission, answer, auth, dispatch, guard, provider, stages};

pub(crate) const PATH: &str = "/v1/realtime";

/// A browser cannot send headers with a WebSocket; OpenAI's page libraries put the key here
/// (<https://platform.openai.com/docs/guides/realtime-websocket>, 2026-11-26).
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
/// What else such a page says of the account it would use, which is the operator's to say.
const ACCOUNT_PROTOCOLS: [&str; 2] = ["openai-organization.", "openai-project."];

/// Headers of a handshake that the provider gets as the caller sent them.
static HANDSHAKE: [HeaderName; 2] = [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION];

/// Answers a request for a conversation, which goes on behind the answer.
pub(crate) async fn conduct(gateway: &Arc<Gateway>, mut request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let mut call = Call::begin(gateway, Dialect::Openai, Operation::Realtime);
    call.peer = Some(peer);
    let (upgrade, place) = (hyper::upgrade::on(&mut request), request.extensions_mut().remove::<Place>());
    let (parts, _) = request.into_parts();
    let joined = Box::pin(join(&mut call, &parts)).await;
    match joined {
        Ok(Joined { answer, switched }) => begin(call, upgrade, place, answer, switched),
        Err(Failure::Own(error)) => Box::pin(stages::refuse(&mut call, error)).await,
        Err(Failure::Theirs(error)) => Box::pin(stages::pass_on(&mut call, error)).await,
    }
}

/// A provider that has agreed.
struct Joined {
    answer: AnswerHead,
    switched: Switched,
}

/// Admits the call and finds a provider for it.
async fn join(call: &mut Call, parts: &Parts) -> Result<Joined, Failure> {
    let gateway = Arc::clone(&call.gateway);
    let mut intake = stages::read_headers(call, parts)?;
    let protocols = Protocols::read(&parts.headers);
    intake.key = intake.key.or(protocols.key);
    let control = gateway.control.load_full();
    let principal = auth::principal(&gateway, &control, intake.key).await?;
    call.identify(&principal, intake.user);
    call.describe(&mut intake);
    auth::admit(call, &principal, &parts.headers)?;
    let (model, query) = read_query(parts.uri.query().unwrap_or_default());
    // The query is all that a caller asks with.
    call.request = Payload { content_type: "application/x-www-form-urlencoded".to_owned(), body: kept_query(parts) };
    let head =
        dialect::parse_head_at(call.dialect, call.record.operation, Address { model: &model, stream: true }, &[])
            .map_err(CallError::Request)?;
    call.read(&head);
    call.record.stream = true;
    if model.is_empty() {
        let expected = "name a model, such as `/v1/realtime?model=openai/gpt-realtime`";
        return Err(CallError::QueryMissing { name: "model", expected }.into());
    }
    auth::admit_model(call, &principal, &head.model)?;
    let headers = handshake(parts, &protocols)?;
    let course = dispatch::course(call, &control, &principal, &head, &[], intake.provider)?;
    let admitted = admission::admit(call, &control, &principal, &head, &course).await?;
    guard::conversation(call, &control.bundle, &principal, &head, &course)?;
    let ordered = dispatch::order(call, &control, &principal, &course, &admitted, &head)?;
    call.open().await?;
    let (dialect, operation) = (call.dialect, call.record.operation);
    let endpoint =
        Endpoint { dialect, operation, model, stream: true, events: true, method: Cow::Borrowed(provider::REALTIME) };
    let outbound = Outbound {
        head: &head,
        endpoint: &endpoint,
        verb: &parts.method,
        content_type: None,
        body: bytes::Bytes::new(),
        on_unsupported: ordered.resolved.on_unsupported,
        passed_on: without_bodys(intake),
        upgrade: Some(Upgrade { headers, query }),
    };
    let attempts = dispatch::attempts(call, &ordered, &admitted);
    let answer = attempt::call_first(call, &outbound, &attempts).await?;
    call.note_attempt(Some(answer.status.as_u16()), None);
    let switched = match call.upstream.take() {
        Some(Upstream::Http(exchange)) if answer.status == own::SWITCHED => {
            let wait = call.waits.per_try;
            tokio::time::timeout(wait, exchange.into_switched()).await.ok().flatten()
        }
        _ => None,
    };
    let provider = call.provider_name();
    switched
        .map(|switched| Joined { answer, switched })
        .ok_or_else(|| CallError::UpstreamInvalid { provider, expected: "a WebSocket", came: String::new() }.into())
}

/// Headers to pass on, less those that only say how to send a body twice.
fn without_bodys<'a>(intake: Intake<'a>) -> Vec<(&'a HeaderName, &'a HeaderValue)> {
    intake.passed_on.into_iter().filter(|(name, _)| name.as_str() != "idempotency-key").collect()
}

/// Sends the provider's handshake back and lets the two talk.
fn begin(
    mut call: Box<Call>,
    upgrade: OnUpgrade,
    place: Option<Place>,
    answer: AnswerHead,
    switched: Switched,
) -> Response<Body> {
    let gateway = Arc::clone(&call.gateway);
    call.status_sent = Some(answer.status.as_u16());
    let mut response = answer::head(&call, answer, None, None);
    let headers = response.headers_mut();
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    gateway.tasks.spawn(session::converse(call, upgrade, switched, place));
    response.map(|()| Body::whole(bytes::Bytes::new()))
}

/// What a handshake asks of the provider.
fn handshake(parts: &Parts, protocols: &Protocols<'_>) -> Result<HeaderMap, CallError> {
    let asks = |name: HeaderName, word: &str| {
        let values = parts.headers.get_all(name);
        values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
    };
    if !asks(header::UPGRADE, "websocket") || !asks(header::CONNECTION, "upgrade") {
        return Err(CallError::UpgradeRequired);
    }
    if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(CallError::Header { header: "sec-websocket-version", expected: "send 13" });
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    for name in &HANDSHAKE {
        let Some(value) = parts.headers.get(name) else {
            return Err(CallError::Header {
                header: "sec-websocket-key",
                expected: "send a nonce of 16 bytes in base64",
            });
        };
        headers.insert(name.clone(), value.clone());
    }
    if let Ok(offered) = HeaderValue::try_from(protocols.offered.join(", "))
        && !offered.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
    }
    Ok(headers)
}

/// The subprotocols that a caller offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Protocols<'a> {
    /// A virtual key among them.
    key: Option<&'a str>,
    /// Those for the provider.
    offered: Vec<&'a str>,
}

impl<'a> Protocols<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let mut protocols = Protocols::default();
        for protocol in values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
            if let Some(key) = protocol.strip_prefix(KEY_PROTOCOL) {
                protocols.key = Some(key);
            } else if !ACCOUNT_PROTOCOLS.iter().any(|account| protocol.starts_with(account)) {
                protocols.offered.push(protocol);
            }
        }
        protocols
    }
}

/// The model, and the rest of the query as it goes to the provider, each part with `&` before it. Which API is spoken, and
/// where, is the operator's to say.
fn read_query(query: &str) -> (String, String) {
    let (mut model, mut rest) = (String::new(), String::new());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "model" => model = dialect::unescape(&value.replace('+', " ")),
            "deployment" | "api-version" | "api-key" => {}
            _ => {
                rest.push('&');
                rest.push_str(part);
            }
        }
    }
    (model, rest)
}

/// The query for the record, without what may be a key.
fn kept_query(parts: &Parts) -> bytes::Bytes {
    let query = parts.uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|part| !part.starts_with("api-key="));
    kept.collect::<Vec<_>>().join("&").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_among_the_subprotocols_is_found_and_not_passed_on() {
        let mut headers = HeaderMap::new();
        let offered = "realtime, openai-insecure-api-key.tg-1, openai-organization.org-1,openai-beta.realtime-v1";
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
        let read = Protocols::read(&headers);
        assert_eq!(read, Protocols { key: Some("tg-1"), offered: vec!["realtime", "openai-beta.realtime-v1"] });
    }

    #[test]
    fn the_model_is_taken_out_of_the_query_and_the_rest_is_kept() {
        let (model, rest) = read_query("model=openai%2Fgpt-realtime&intent=transcription&api-version=1&&x");
        assert_eq!((model.as_str(), rest.as_str()), ("openai/gpt-realtime", "&intent=transcription&x"));
        assert_eq!(read_query(""), (String::new(), String::new()));
    }
}
