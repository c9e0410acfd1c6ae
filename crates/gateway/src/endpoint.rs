//! What there is to be had, by path: the calls, the list of models, and whether the gateway lives and is ready. Anything
//! else is refused by name.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_interaction::Dialect;
use tollgate_provider::dialect::{self, Endpoint};

use crate::error::{CallError, own};
use crate::readiness::Readiness;
use crate::relay::Body;
use crate::{Gateway, answer, feedback, realtime, stages};

/// For the message of a 404.
pub(crate) const SERVED: &str = "`POST /v1/chat/completions`, `POST /v1/responses`, `POST /v1/messages`, `POST /v1/embeddings`, \
    `POST /v1beta/models/MODEL:generateContent`, `POST /v1beta/models/MODEL:streamGenerateContent`, \
    `POST /model/MODEL/converse`, `POST /model/MODEL/converse-stream`, `POST /model/MODEL/invoke`, \
    `POST /model/MODEL/invoke-with-response-stream`, `POST /v1/completions`, `POST /v1/moderations`, \
    `POST /v1/images/generations|edits|variations`, `POST /v1/audio/speech|transcriptions|translations`, \
    `POST /v1/rerank`, `POST /v2/rerank`, `POST /v1/messages/count_tokens`, `POST /v1/responses/input_tokens`, \
    `POST /v1beta/models/MODEL:countTokens|embedContent|batchEmbedContents`, `POST /model/MODEL/count-tokens`, \
    `/v1/files`, `/v1/batches`, `/v1/messages/batches`, `GET /v1/realtime`, `POST /v1/feedback`, `GET /v1/models`, `GET /v1beta/models`, \
    `GET /health/live` and `GET /health/ready`";

/// Answers one request.
pub(crate) async fn answer(gateway: &Arc<Gateway>, request: Request<Incoming>) -> Response<Body> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if path == realtime::PATH && request.method() == Method::GET {
        return realtime::conduct(gateway, request).await;
    }
    if path == feedback::PATH && request.method() == Method::POST {
        return feedback::take(gateway, request).await;
    }
    let endpoint = match *request.method() {
        Method::POST => Endpoint::of_post(path, query),
        Method::GET => Endpoint::of_get(path, query, dialect_of(request.headers())),
        Method::DELETE => Endpoint::of_delete(path, query),
        _ => None,
    };
    if let Some(endpoint) = endpoint.map(|endpoint| endpoint.for_caller(dialect_of(request.headers()))) {
        return stages::conduct(gateway, endpoint, request).await;
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/health/live") => live(),
        (&Method::GET | &Method::HEAD, "/health/ready") => ready(&gateway.readiness()),
        (method, path) => refuse(method, path, request.headers()),
    }
}

/// The list of models and files have the same paths in both dialects; Anthropic's clients always state their version.
pub(crate) fn dialect_of(headers: &HeaderMap) -> Dialect {
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
        "/health/live" | "/health/ready" | realtime::PATH => Some("`GET`"),
        feedback::PATH => Some("`POST`"),
        path if Endpoint::of_post(path, "").is_some() => Some("`POST`"),
        path if Endpoint::of_get(path, "", Dialect::Openai).is_some() => Some("`GET`"),
        _ => None,
    };
    let error = match allowed {
        Some(allowed) => CallError::MethodNotAllowed { path: shown, method: method.to_string(), allowed },
        None => CallError::NotFound { path: shown },
    };
    answer::no_call(dialect_of(headers), &error)
}

/// The list of models, or the one called `name`.
///
/// # Errors
/// [`CallError::ModelUnknown`] if there is none of that name.
pub(crate) fn models(gateway: &Gateway, dialect: Dialect, name: &str) -> Result<Bytes, CallError> {
    let listed = gateway.routes.listed(&gateway.control.load().bundle);
    if name.is_empty() {
        return Ok(dialect::models_list(dialect, &listed).into());
    }
    let Some(model) = listed.iter().find(|model| model.id == name) else {
        return Err(gateway.routes.unknown(name));
    };
    // One model looks the same as in the list.
    let list = dialect::models_list(dialect, std::slice::from_ref(model));
    let only = serde_json::from_slice::<OneModel<'_>>(&list).map_err(|_| CallError::Internal)?;
    Ok(Bytes::copy_from_slice(only.models.0.get().as_bytes()))
}

#[derive(Deserialize)]
struct OneModel<'a> {
    #[serde(borrow, alias = "data")]
    models: (&'a RawValue,),
}
