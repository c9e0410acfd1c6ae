//! The JSON twins of the pages, under `/api/v1`. They return the reports as they are; nothing is worded for people.

pub mod budgets;
pub mod cache;
pub mod control;
pub mod costs;
pub mod derived;
pub mod experiments;
pub mod integrity;
pub mod interactions;
pub mod keys;
pub mod models;
pub mod openapi;
pub mod overview;
pub mod people;
pub mod policies;
pub mod prices;
pub mod replicas;
pub mod reports;
pub mod search;
pub mod setup;
pub mod sql;
pub mod tail;
mod tar;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A body that a browser saves under `file_name`, which must be plain ASCII without quotation marks.
pub(crate) fn download(content_type: &'static str, file_name: &str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file_name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// Whether the caller's `Accept` names `kind`.
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.split(';').next().unwrap_or_default().trim() == kind)
}

/// A value as one field of CSV (RFC 4180). A text that a spreadsheet would run as a formula gets an apostrophe first.
pub(crate) fn csv_field(text: &str) -> String {
    let is_number = text.parse::<f64>().is_ok();
    let text = match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') if !is_number => format!("'{text}"),
        _ => text.to_owned(),
    };
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}
