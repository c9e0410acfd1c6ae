//! `GET /api/v1/derived`: what this process has derived from the log, for `tollgate rebuild --check`, which compares it with
//! what the lake alone gives. Figures and digests; no content.

use axum::Json;
use axum::extract::State;

use crate::error::ConsoleError;
use crate::ledger::DerivedState;
use crate::params::Params;
use crate::state::ConsoleState;

/// Signals and search index as of now; `day` (a UTC day) lists the calls of that day in the index one by one.
///
/// # Errors
/// `log_unreadable` or `search_index_unusable` if one of them cannot be read.
pub async fn show(State(state): State<ConsoleState>, params: Params) -> Result<Json<DerivedState>, ConsoleError> {
    state.ledger.derived(state.now_us(), params.owned("day")).await.map(Json)
}
