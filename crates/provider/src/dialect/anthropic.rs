//! Anthropic's own words: the bodies of errors and of the list of models; requests, answers and streams, read and written,
//! are in the modules below.
//! Sources: <https://platform.claude.com/docs/en/api/errors>, <https://platform.claude.com/docs/en/api/models-list>
//! (2026-11-23).

pub(crate) mod answer;
mod citation;
mod models;
pub(crate) mod request;
mod stop;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
mod usage;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{ErrorKind, ErrorShape, ModelEntry};

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    error: Error<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    r#type: &'static str,
    message: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
}

/// Anthropic's word for a kind of error, as <https://platform.claude.com/docs/en/api/errors> maps them to statuses.
fn error_type(error: &ErrorShape) -> &'static str {
    match error.kind {
        ErrorKind::Invalid => "invalid_request_error",
        ErrorKind::Unauthenticated => "authentication_error",
        ErrorKind::Denied => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::TooLarge => "request_too_large",
        ErrorKind::Throttled => "rate_limit_error",
        ErrorKind::Spent => "billing_error",
        ErrorKind::Overloaded => "overloaded_error",
        ErrorKind::Late => "timeout_error",
        ErrorKind::Unavailable | ErrorKind::Internal => "api_error",
    }
}

pub(super) fn error_body(error: &ErrorShape) -> Vec<u8> {
    let body = ErrorBody {
        r#type: "error",
        error: Error {
            r#type: error_type(error),
            message: &error.message,
            code: &error.code,
            param: error.param.as_deref(),
        },
        request_id: &error.interaction_id,
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Whether Claude, as `model` names it wherever it runs, takes messages of the system in the middle of a conversation.
pub(super) fn takes_system_midway(model: &str) -> bool {
    model.find("claude-").is_some_and(|at| models::Model::of(&model[at..]).system_midway)
}

/// An object of `fields`, which are moved into it where `json!` would copy them.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Model<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Model<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
}

impl<'a> From<&'a ModelEntry> for Model<'a> {
    fn from(entry: &'a ModelEntry) -> Self {
        let created_at = rfc3339(entry.created_at_s);
        Model { r#type: "model", id: &entry.id, display_name: &entry.id, created_at }
    }
}

pub(super) fn models_list(models: &[ModelEntry]) -> Vec<u8> {
    let list = List {
        data: models.iter().map(Model::from).collect(),
        has_more: false,
        first_id: models.first().map(|entry| entry.id.as_str()),
        last_id: models.last().map(|entry| entry.id.as_str()),
    };
    serde_json::to_vec(&list).unwrap_or_default()
}

/// Seconds since 1970 as RFC 3339 in UTC.
fn rfc3339(unix_s: i64) -> String {
    const SECONDS_PER_DAY: i64 = 86_400;
    let (year, month, day) = crate::price::civil_date(unix_s.div_euclid(SECONDS_PER_DAY));
    let second = unix_s.rem_euclid(SECONDS_PER_DAY);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}
