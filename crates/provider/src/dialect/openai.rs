//! OpenAI's own words: the bodies of errors and of the list of models.
//! Sources: <https://platform.openai.com/docs/guides/error-codes/api-errors>,
//! <https://platform.openai.com/docs/api-reference/models/list> (2026-11-23).

pub(crate) mod answer;
pub(super) mod models;
pub(crate) mod request;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
mod thoughts;
mod tokens;
mod wire;

use serde::Serialize;

use super::{ErrorKind, ErrorShape, ModelEntry};

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    interaction_id: &'a str,
}

/// OpenAI's word for a kind of error; its client libraries choose their exception by status, people read this.
pub(super) fn error_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::TooLarge | ErrorKind::Unauthenticated => {
            "invalid_request_error"
        }
        ErrorKind::Denied => "permission_error",
        ErrorKind::Throttled => "rate_limit_error",
        ErrorKind::Spent => "insufficient_quota",
        ErrorKind::Unavailable | ErrorKind::Overloaded => "service_unavailable_error",
        ErrorKind::Late | ErrorKind::Internal => "server_error",
    }
}

pub(super) fn error_body(error: &ErrorShape) -> Vec<u8> {
    let body = ErrorBody {
        error: Error {
            message: &error.message,
            r#type: error_type(error.kind),
            param: error.param.as_deref(),
            code: &error.code,
            interaction_id: &error.interaction_id,
        },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

impl<'a> From<&'a ModelEntry> for Model<'a> {
    fn from(entry: &'a ModelEntry) -> Self {
        Model { id: &entry.id, object: "model", created: entry.created_at_s, owned_by: &entry.owned_by }
    }
}

pub(super) fn models_list(models: &[ModelEntry]) -> Vec<u8> {
    let list = List { object: "list", data: models.iter().map(Model::from).collect() };
    serde_json::to_vec(&list).unwrap_or_default()
}
