//! What there is to be had, by path: the calls, the list of models, and whether the gateway lives and is ready. Anything
//! else is refused by name.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::dialect;

use crate::error::{CallError, own};
use crate::readiness::Readiness;
use crate::relay::Body;
use crate::{Gateway, answer, stages};

/// For the message of a 404.
pub(crate) const SERVED: &str = "`POST /v1/chat/completions`, `POST /v1/embeddings`, `POST /v1/messages`, `GET /v1/models`, `GET /health/live` and `GET /health/ready`";

const MODELS: &str = "/v1/models";

/// Answers one request.
pub(crate) async fn answer(gateway: &Arc<Gateway>, request: Request<Incoming>) -> Response<Body> {
    let (dialect, operation) = match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1/chat/completions") => (Dialect::Openai, Operation::Chat),
        (&Method::POST, "/v1/messages") => (Dialect::Anthropic, Operation::Chat),
        (&Method::POST, "/v1/embeddings") => (Dialect::Openai, Operation::Embeddings),
        (&Method::GET, path) if is_models(path) => (dialect_of(request.headers()), Operation::Models),
        (&Method::GET | &Method::HEAD, "/health/live") => return live(),
        (&Method::GET | &Method::HEAD, "/health/ready") => return ready(&gateway.readiness()),
        (method, path) => return refuse(method, path, request.headers()),
    };
    stages::conduct(gateway, dialect, operation, request).await
}

fn is_models(path: &str) -> bool {
    path.strip_prefix(MODELS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The list of models has the same path in both dialects; Anthropic's clients always state their version.
fn dialect_of(headers: &HeaderMap) -> Dialect {
    if headers.contains_key("anthropic-version") { Dialect::Anthropic } else { Dialect::Openai }
}

fn live() -> Response<Body> {
    answer::plain(own::OK, HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from_static(b"ok\n"))
}

fn ready(told: &Readiness) -> Response<Body> {
    let status = if told.ready { own::OK } else { own::NOT_READY };
    // Two plain fields always have a JSON form.
    let body = serde_json::to_vec(told).unwrap_or_default();
    answer::plain(status, HeaderValue::from_static("application/json"), body.into())
}

fn refuse(method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
    const MAX_SHOWN: usize = 200;
    let shown: String = path.chars().take(MAX_SHOWN).collect();
    let allowed = match path {
        "/v1/chat/completions" | "/v1/messages" | "/v1/embeddings" => Some("`POST`"),
        "/health/live" | "/health/ready" => Some("`GET`"),
        path if is_models(path) => Some("`GET`"),
        _ => None,
    };
    let error = match allowed {
        Some(allowed) => CallError::MethodNotAllowed { path: shown, method: method.to_string(), allowed },
        None => CallError::NotFound { path: shown },
    };
    answer::no_call(dialect_of(headers), &error)
}

/// The list of models, or the one that `path` names.
///
/// # Errors
/// [`CallError::ModelUnknown`] if there is none of that name.
pub(crate) fn models(gateway: &Gateway, dialect: Dialect, path: &str) -> Result<Bytes, CallError> {
    let listed = gateway.routes.listed();
    let name = path.strip_prefix(MODELS).unwrap_or_default().trim_matches('/');
    if name.is_empty() {
        return Ok(dialect::models_list(dialect, listed).into());
    }
    let name = unescape(name);
    let Some(model) = listed.iter().find(|model| model.id == name) else {
        return Err(gateway.routes.unknown(&name));
    };
    // One model looks the same as in the list.
    let list = dialect::models_list(dialect, std::slice::from_ref(model));
    let only = serde_json::from_slice::<OneModel<'_>>(&list).map_err(|_| CallError::Internal)?;
    Ok(Bytes::copy_from_slice(only.data.0.get().as_bytes()))
}

#[derive(Deserialize)]
struct OneModel<'a> {
    #[serde(borrow)]
    data: (&'a RawValue,),
}

/// Undoes percent-encoding (RFC 3986 §2.1); client libraries encode the slash of `provider/model`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_can_be_named_with_an_encoded_slash() {
        assert_eq!(unescape("sandbox%2Fsmall"), "sandbox/small");
        assert_eq!(unescape("100%/%2"), "100%/%2");
    }
}
