//! `GET /api/v1/search`.

use axum::Json;
use axum::extract::State;
use tollgate_search::SearchResult;

use crate::error::ConsoleError;
use crate::pages::search::{find, query};
use crate::params::Params;
use crate::state::ConsoleState;

/// Calls found by the words of their prompts and answers, newest first.
///
/// # Errors
/// `search_query_invalid` if the query cannot be understood.
pub async fn show(State(state): State<ConsoleState>, params: Params) -> Result<Json<SearchResult>, ConsoleError> {
    Ok(Json(find(&state, query(&params)?).await?))
}
