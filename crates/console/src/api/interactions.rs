//! `GET /api/v1/interactions`, one call, and the bytes of its request and response.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Json};
use tollgate_analytics::report::{InteractionDetail, InteractionFilter, InteractionPage, Page};
use tollgate_metastore::Permission;

use super::download;
use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::pages::interaction::find;
use crate::params::Params;
use crate::range::Range;
use crate::state::ConsoleState;

/// Calls that pass the filter, newest first; `next` continues the list.
///
/// # Errors
/// `parameter_invalid` for a parameter that means nothing; a report error if the log could not be read.
pub async fn list(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Json<InteractionPage>, ConsoleError> {
    let span = params.span(Range::Day, state.now_us())?;
    let filter = InteractionFilter { range: Some(span), ..params.filter() };
    let limit = params.number("limit")?.unwrap_or(Page::default().limit);
    Ok(Json(reader.ledger(&state).interactions(&filter, Page { limit, after: params.after()? }).await?))
}

/// One call, whole; without what was said if the reader may not see that.
///
/// # Errors
/// `interaction_not_found` for an id that is not in the log.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<InteractionDetail>, ConsoleError> {
    let mut detail = find(&state, &reader, &id).await?;
    if reader.may(Permission::ReadContent) {
        let id = detail.row.interaction_id.to_string();
        state.record_access(&reader, "view", id, purpose(&headers, &params), Some(1)).await?;
    } else {
        detail.messages.clear();
        (detail.request, detail.response) = (None, None);
    }
    Ok(Json(detail))
}

/// The request, byte for byte.
///
/// # Errors
/// `payload_not_kept` if the log does not have it (any more).
pub async fn request(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    let detail = find(&state, &reader, &id).await?;
    let body = detail.request.ok_or(ConsoleError::NoSuchBody { id, part: "request" })?;
    let id = detail.row.interaction_id.to_string();
    state.record_access(&reader, "view", format!("{id}/request"), purpose(&headers, &params), Some(1)).await?;
    Ok(raw(id, "request", body.bytes))
}

/// The response, byte for byte.
///
/// # Errors
/// `payload_not_kept` if the log does not have it (any more).
pub async fn response(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    let detail = find(&state, &reader, &id).await?;
    let body = detail.response.ok_or(ConsoleError::NoSuchBody { id, part: "response" })?;
    let id = detail.row.interaction_id.to_string();
    state.record_access(&reader, "view", format!("{id}/response"), purpose(&headers, &params), Some(1)).await?;
    Ok(raw(id, "response", body.bytes))
}

/// Never under the media type that came with it: what a model wrote must not run in a browser.
fn raw(id: String, part: &str, bytes: Vec<u8>) -> Response {
    download("application/octet-stream", &format!("{id}.{part}"), bytes)
}
