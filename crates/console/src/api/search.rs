//! `GET /api/v1/search`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use tollgate_search::SearchResult;

use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::pages::search::{find, query};
use crate::params::Params;
use crate::state::ConsoleState;

/// Calls found by the words of their prompts and answers, newest first.
///
/// # Errors
/// `search_query_invalid` if the query cannot be understood.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<SearchResult>, ConsoleError> {
    let found = find(&state, &reader, query(&params)?).await?;
    let (asked, rows) = (params.text("q"), found.hits.len() as u64);
    state.record_access(&reader, "search", asked, purpose(&headers, &params), Some(rows)).await?;
    Ok(Json(found))
}
